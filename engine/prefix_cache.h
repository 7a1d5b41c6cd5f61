/* Keys and values that sessions have computed and given up, kept so that a later prompt with the same beginning need not compute
 * them again.
 *
 * What is kept is units of 64 positions. A unit is found by the hash of all tokens up to its end, and taken only when it is the
 * child of the unit before, in a chain back to the first one, and has the very ids that are asked for: a collision costs a look,
 * and can never give another text's numbers. Chains share their beginnings. Where room is needed, the end of the chain goes first
 * that was used longest ago.
 *
 * One arena of the engine's, of the budget's size, reserved when the first model is opened. Nothing of a model or session is
 * referred to, so that units outlive both: they are found again by what the numbers depend on. One lock; a call copies under it.
 * Keeping and restoring are thread-safe, and never wait for the pool. */
#ifndef HEARTH_ENGINE_PREFIX_CACHE_H
#define HEARTH_ENGINE_PREFIX_CACHE_H

#include "arena.h"
#include "forward.h"
#include "hash.h"
#include <pthread.h>

#define HEARTH_PREFIX_UNIT 64u /* positions; whole blocks of keys */

/* What keys and values depend on, beside the tokens up to them. No padding: compared as bytes. */
struct hearth_prefix_scope {
    struct hearth_hash model, tokenizer, rope;
    uint64_t unit_bytes;
    uint32_t kv_format;
    uint32_t window; /* of layers that have one; 0: none has */
};

/* A session's cache, as much of it as is of interest here. */
struct hearth_prefix_view {
    struct hearth_prefix_scope scope;
    const struct hearth_kv_cache *cache;
    uint32_t n_layer, n_head_kv;
    uint64_t piece_bytes; /* of one head of one layer, keys or values: whole blocks */
};

struct hearth_prefix_entry;

struct hearth_prefix_cache {
    pthread_mutex_t lock, starting;
    struct hearth_arena counted; /* what the budget comes to, for plans */
    struct hearth_arena arena;   /* base NULL: not reserved yet, or no budget */
    uint32_t n_blocks;
    uint32_t n_free;                     /* blocks */
    uint32_t free_block, free_entry;     /* heads of lists */
    uint32_t newest, oldest;             /* entries, by use */
    uint64_t calls;                      /* so far */
    uint64_t hash_mask;                  /* all ones; tests make hashes collide */
    uint8_t *blocks;                     /* [n_blocks] */
    uint32_t *next;                      /* [n_blocks] of a unit, or free */
    uint32_t *buckets;                   /* [n_blocks] */
    struct hearth_prefix_entry *entries; /* [n_blocks], as no unit has less than a block */
};

/* `budget` bytes, or 0: nothing is ever kept. Touches no memory but the struct, which is zeros. */
void hearth_prefix_cache_init(struct hearth_prefix_cache *cache, uint64_t budget);
/* Take the memory: an arena reserved for cache->counted. Once, before anything is kept. */
void hearth_prefix_cache_start(struct hearth_prefix_cache *cache, const struct hearth_arena *arena);
void hearth_prefix_cache_close(struct hearth_prefix_cache *cache);
/* Forget everything and give its pages back to the system; they stay in the plan. Returns their bytes. */
uint64_t hearth_prefix_cache_forget(struct hearth_prefix_cache *cache);

/* Bytes of a unit, and the piece of it that one head of one layer has, keys or values. */
uint64_t hearth_prefix_piece_bytes(enum hearth_format kv_format, uint32_t head_dim);
uint64_t hearth_prefix_unit_bytes(const struct hearth_hparams *hparams, enum hearth_format kv_format);
/* E_CONFIG where a budget is too small for a single unit of so many bytes; it says what is needed. */
hearth_status hearth_prefix_cache_check(const struct hearth_prefix_cache *cache, uint64_t unit_bytes, hearth_error *err);

/* Keep the whole units of the first n positions of a session, whose tokens are `ids`. What is kept already of `next`, n_next tokens
 * that will be asked for, stays. */
void hearth_prefix_cache_keep(struct hearth_prefix_cache *cache, const struct hearth_prefix_view *view, const int32_t *ids,
                              uint32_t n, const int32_t *next, uint32_t n_next);
/* Copy what is kept of ids, n tokens, into a session that holds the first `from` of them. How many positions it holds then; at
 * least `from`, at most n. */
uint32_t hearth_prefix_cache_restore(struct hearth_prefix_cache *cache, const struct hearth_prefix_view *view, const int32_t *ids,
                                     uint32_t n, uint32_t from);

#endif
