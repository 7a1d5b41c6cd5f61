/* How far ahead, in how many steps and in how many streams the products read while answering: found by trying. The best way depends
 * on the memory, its load, the kernels and how long they compute for what they read, and no answer depends on it, so the first
 * passes of a session over one token are the experiment, those over two tokens another, and so on: they try each way in turn, some
 * rounds of it, and the one with the fastest pass stays. */
#ifndef HEARTH_ENGINE_PREFETCH_H
#define HEARTH_ENGINE_PREFETCH_H

#include "kernels.h"
#include <stddef.h>
#include <stdint.h>

#define HEARTH_PREFETCH_TOKENS 16u /* for more, products do not care */
#define HEARTH_PREFETCH_WAYS 6u
#define HEARTH_PREFETCH_ROUNDS 3u

struct hearth_prefetch_search {
    uint32_t passes;                      /* timed so far; all zero at the beginning */
    double fastest[HEARTH_PREFETCH_WAYS]; /* seconds */
};

static inline uint32_t hearth_prefetch_choice(const struct hearth_prefetch_search *s)
{
    if (s->passes < HEARTH_PREFETCH_ROUNDS * HEARTH_PREFETCH_WAYS)
        return s->passes % HEARTH_PREFETCH_WAYS;
    uint32_t best = 0;
    for (uint32_t i = 1; i < HEARTH_PREFETCH_WAYS; i++)
        if (s->fastest[i] < s->fastest[best])
            best = i;
    return best;
}

/* Way i, as the products take it. */
static inline size_t hearth_prefetch_way(uint32_t i)
{
    enum { IN_STEPS = HEARTH_PREFETCH_IN_STEPS, TWO_STREAMS = HEARTH_PREFETCH_TWO_STREAMS };
    static const size_t ways[HEARTH_PREFETCH_WAYS] = {
        8192, 4096, 0, 16384 + IN_STEPS, 4096 + IN_STEPS, 3072 + IN_STEPS + TWO_STREAMS,
    };
    return ways[i];
}

/* That of the next pass. */
static inline size_t hearth_prefetch_bytes(const struct hearth_prefetch_search *s)
{
    return hearth_prefetch_way(hearth_prefetch_choice(s));
}

/* A pass with it took so long. */
static inline void hearth_prefetch_record(struct hearth_prefetch_search *s, double seconds)
{
    if (s->passes >= HEARTH_PREFETCH_ROUNDS * HEARTH_PREFETCH_WAYS)
        return;
    const uint32_t i = s->passes++ % HEARTH_PREFETCH_WAYS;
    if (s->passes <= HEARTH_PREFETCH_WAYS || seconds < s->fastest[i])
        s->fastest[i] = seconds;
}

#endif
