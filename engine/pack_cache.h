/* Packed weights kept in a file, so that the next start maps them instead of packing again.
 *
 * The file holds the weights' part of a model's arena as it stands, behind a header with a checksum for each piece of 4 MiB. It is
 * mapped read-only and shared: processes that run one model hold one copy, which belongs to the page cache and is no private
 * memory. It serves only the model, the kernels and the layouts it was written for (pack_cache.c says how that is known), only
 * after every piece has met its checksum, and only when it is this user's own and nobody else may write to it.
 *
 * Nothing here makes opening a model fail: what goes wrong is a warning in the engine's log, and the weights are packed as ever. */
#ifndef HEARTH_ENGINE_PACK_CACHE_H
#define HEARTH_ENGINE_PACK_CACHE_H

#include "engine.h"
#include "pack.h"

/* Look for the file of this model in the engine's folder, where it has one: *out tells whether there is one, and what to write if
 * not. Reads the file's header only. `d` has not been laid out yet. */
void hearth_pack_cache_find(struct hearth_pack_cache *out, struct hearth_engine *engine, const struct hearth_source *source,
                            const struct hearth_description *d);

/* Check every piece of a file that was found, where the engine verifies all it opens. A damaged one is closed, with a warning.
 * E_CANCELLED when progress says so. */
hearth_status hearth_pack_cache_verify(struct hearth_pack_cache *cache, struct hearth_engine *engine,
                                       const struct hearth_source *source, const hearth_model_options *options, hearth_error *err);

/* Before the weights are used: the same for an engine that verifies lazily, but a damaged one is E_IO, now and whenever asked
 * again. */
hearth_status hearth_pack_cache_verify_late(struct hearth_pack_cache *cache, struct hearth_engine *engine, hearth_error *err);

/* Bytes that hearth_pack_cache_write() will tell its progress of; 0: nothing will be written. */
uint64_t hearth_pack_cache_bytes_to_write(const struct hearth_pack_cache *cache);

/* Write the packed weights of a description that has been loaded, and the identity of the model. `table` is memory for the file's
 * header. E_CANCELLED when progress says so; then no file is left. */
hearth_status hearth_pack_cache_write(const struct hearth_pack_cache *cache, struct hearth_engine *engine,
                                      const struct hearth_source *source, const struct hearth_description *d,
                                      struct hearth_hash model, uint8_t *table, uint64_t table_bytes,
                                      const struct hearth_progress *progress, hearth_error *err);

/* The mapped weights as an arena to be laid out over, read-only; without a map, zeros. */
struct hearth_arena hearth_pack_cache_arena(const struct hearth_pack_cache *cache);

/* Unmap. A zeroed struct, or closing twice, is allowed. */
void hearth_pack_cache_close(struct hearth_pack_cache *cache);

#endif
