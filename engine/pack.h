/* Weights from the source into the arena, in the layout of the chosen kernels, by the workers that will use them. */
#ifndef HEARTH_ENGINE_PACK_H
#define HEARTH_ENGINE_PACK_H

#include "describe.h"
#include "pool.h"
#include "source.h"

struct hearth_engine;

/* Bytes of the reading buffer of each worker. */
uint64_t hearth_pack_buffer_bytes(const struct hearth_description *description);

/* Bytes of all packed weights. */
uint64_t hearth_weights_packed_bytes(const struct hearth_description *description);

/* Who is told how far a piece of work with several parts has come, and asked whether it should go on. */
struct hearth_progress {
    hearth_progress_fn *fn; /* may be NULL */
    void *user;
    struct hearth_engine *engine;
    bool asks_abort;
    uint64_t before, total; /* bytes of the parts done before, and of all */
};
/* In a model's options: nobody may stop its loading, the engine's callback for aborting is not asked either. */
bool hearth_progress_go_on(uint64_t done_bytes, uint64_t total_bytes, void *user);
/* The model's own callback where its options (may be NULL) name one, else the engine's. */
struct hearth_progress hearth_progress_begin(struct hearth_engine *engine, const hearth_model_options *options, uint64_t total);
/* E_CANCELLED when that callback, or the engine's for aborting, says so. */
hearth_status hearth_progress_tell(const struct hearth_progress *progress, uint64_t done, const char *shown, hearth_error *err);

/* Index of the first of n blocks (or elements of a float format) that no model has; n when there is none (spec quantization.md
 * section 14): with a number that is not finite, a scale of 2^15 or more, or a 32-bit or BF16 value of 2^100 or more, whose square
 * no float holds. The format is one that products take. Thread-safe. */
uint64_t hearth_first_absurd(uint32_t format, const uint8_t *bytes, uint64_t n);

/* Read, check (`verify`: see above) and pack all weights of a description that has been laid out over a reserved arena. `buffers`
 * holds one buffer for each worker. prefetch_window: bytes that the source is told ahead. `forget`: tell the source, piece by
 * piece, that it will not be read again. *identity receives the hash of the header and of every weight. Errors: E_IO, E_FORMAT
 * E_NUM, E_CANCELLED (progress returned false). */
hearth_status hearth_weights_load(struct hearth_description *description, const struct hearth_source *source,
                                  uint64_t prefetch_window, bool forget, bool verify, struct hearth_pool *pool, uint8_t *buffers,
                                  const struct hearth_progress *progress, struct hearth_hash *identity, hearth_error *err);

#endif
