/* Weights from the source into the arena, in the layout of the chosen kernels, by the workers that will use them. */
#ifndef HEARTH_ENGINE_PACK_H
#define HEARTH_ENGINE_PACK_H

#include "describe.h"
#include "pool.h"
#include "source.h"

/* Bytes of the reading buffer of each worker. */
uint64_t hearth_pack_buffer_bytes(const struct hearth_description *description);

/* Read, check (every scale finite) and pack all weights of a description that has been laid out over a reserved arena. `buffers`
 * holds one buffer for each worker. Errors: E_IO, E_FORMAT E_NUM, E_CANCELLED (progress returned false). */
hearth_status hearth_weights_load(struct hearth_description *description, const struct hearth_source *source,
                                  struct hearth_pool *pool, uint8_t *buffers, hearth_progress_fn *progress, void *progress_user,
                                  hearth_error *err);

#endif
