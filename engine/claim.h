/* How the work of a step is divided while it runs. Each worker has a contiguous share and takes it piece by piece from the front;
 * who has finished takes pieces of the others. Undisturbed, a worker reads its own rows as one stream, the ones it has packed; when
 * a core is slower or somebody else needs it for a while, the rest do not wait for it.
 *
 * Every worker has one counter on a cache line of its own: the number of the step in the upper bits, the next piece in the lower.
 * Steps only ever count upwards, so nobody has to reset anything between them, and steps may follow each other without a barrier.
 */
#ifndef HEARTH_ENGINE_CLAIM_H
#define HEARTH_ENGINE_CLAIM_H

#include "share.h"
#include <stdatomic.h>
#include <stdbool.h>

#define HEARTH_CLAIM_BITS 24 /* things of one step: rows / 16 <= 2^20, heads * tokens <= 2^23; 2^40 steps are enough for ever */

struct hearth_claim {
    _Atomic uint64_t next;
    uint8_t rest[120]; /* of two cache lines: prefetchers fetch them in pairs */
};

/* One worker's walk over one step. */
struct hearth_claims {
    struct hearth_claim *counters; /* [workers] */
    uint64_t step;                 /* the same on all workers, larger in every step */
    uint32_t worker, workers;
    uint32_t n, piece; /* things of the step, and how many are taken at once */
    uint32_t visited;  /* shares found empty so far, our own first */
};

/* A counter of an earlier step: nothing is taken. Of a later one: its worker, or one that took from it, has found every share of
 * this step empty, else it would not have gone on. */
static inline uint32_t hearth_claim_begin(uint64_t seen, uint64_t step, struct hearth_range share)
{
    const uint64_t seen_step = seen >> HEARTH_CLAIM_BITS;
    if (seen_step < step)
        return share.begin;
    return seen_step > step ? share.end : (uint32_t)(seen & ((1u << HEARTH_CLAIM_BITS) - 1));
}

/* How many of the things left are taken: at most a piece, and fewer and fewer towards the end, where the others wait for the last.
 */
static inline uint32_t hearth_claim_size(uint32_t left, uint32_t piece)
{
    return left / 4 < 1 ? 1 : left / 4 < piece ? left / 4 : piece;
}

static inline bool hearth_claim_next(struct hearth_claims *c, struct hearth_range *out)
{
    for (; c->visited < c->workers; c->visited++) {
        const uint32_t owner = (c->worker + c->visited) % c->workers;
        const struct hearth_range share = hearth_share(c->n, owner, c->workers);
        _Atomic uint64_t *counter = &c->counters[owner].next;
        uint64_t seen =
            atomic_load_explicit(counter, memory_order_relaxed); /* the pieces are ordered by the barriers around the step */
        for (;;) {
            const uint32_t begin = hearth_claim_begin(seen, c->step, share);
            if (begin >= share.end)
                break;
            const uint32_t end = begin + hearth_claim_size(share.end - begin, c->piece);
            if (atomic_compare_exchange_weak_explicit(counter, &seen, c->step << HEARTH_CLAIM_BITS | end, memory_order_relaxed,
                                                      memory_order_relaxed)) {
                *out = (struct hearth_range){begin, end};
                return true;
            }
        }
    }
    return false;
}

#endif
