/* DRY (spec sampling.md 3.2): tokens that would continue a repetition of earlier text are made less likely, the more so the longer
 * the repetition already is. Works in the caller's memory, allocates nothing. Session-bound. */
#ifndef HEARTH_ENGINE_DRY_H
#define HEARTH_ENGINE_DRY_H

#include "tokenizer.h"

/* The last tokens of a timeline, in a ring. */
struct hearth_history {
    int32_t *ids;
    uint32_t capacity;
    uint32_t n, next; /* tokens remembered, place of the next one */
};

/* The token i < n places back; 0 is the last. */
static inline int32_t hearth_history_back(const struct hearth_history *history, uint32_t i)
{
    return history->ids[history->next > i ? history->next - 1 - i : history->next + (history->capacity - 1 - i)];
}

/* How many tokens the last `last_n` are: all that are remembered for -1. */
static inline uint32_t hearth_history_window(const struct hearth_history *history, int32_t last_n)
{
    return last_n < 0 || (uint32_t)last_n > history->n ? history->n : (uint32_t)last_n;
}

struct hearth_dry;

/* Breakers one behind the other, without NULs. */
#define HEARTH_DRY_BREAKERS_BYTES 256
struct hearth_dry_breakers {
    uint32_t n;
    uint32_t sizes[HEARTH_DRY_BREAKERS_MAX];
    char text[HEARTH_DRY_BREAKERS_BYTES];
};

/* Bytes for a vocabulary and a history of these sizes; a multiple of 64. About 24 KiB + n_vocab / 8 + 4 n_context. */
size_t hearth_dry_bytes(uint32_t n_vocab, uint32_t n_context);
/* Make one in `memory` (64-byte aligned), without breakers. `scratch` is one of the tokenizer's, used by hearth_dry_set_breakers()
 * alone. tokenizer NULL: breakers are taken, but never found. */
struct hearth_dry *hearth_dry_init(void *memory, uint32_t n_vocab, uint32_t n_context, const struct hearth_tokenizer *tokenizer,
                                   void *scratch);

/* Take the texts across which no repetition is followed; they are copied. HEARTH_E_CONFIG when there are more than
 * HEARTH_DRY_BREAKERS_MAX, or one is not of 1 … 40 bytes, or they are longer than 256 bytes together: then nothing is changed.
 * Cost: walks the texts of the vocabulary once. */
hearth_status hearth_dry_set_breakers(struct hearth_dry *dry, const char *const *breakers, uint32_t n_breakers, hearth_error *err);
/* What that would say, changing nothing; and those that were taken, zeros behind them. */
hearth_status hearth_dry_check_breakers(const char *const *breakers, uint32_t n_breakers, hearth_error *err);
void hearth_dry_get_breakers(const struct hearth_dry *dry, struct hearth_dry_breakers *out);

/* Lower values[n_vocab], whose entries are finite or -infinity, which stays. `best` [n_vocab] is scratch. O(last_n). */
void hearth_dry_apply(struct hearth_dry *dry, const hearth_sampling *options, const struct hearth_history *history, float *values,
                      uint64_t *best);

#endif
