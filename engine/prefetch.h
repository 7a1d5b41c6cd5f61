/* How far ahead, in how many steps and in how many streams the products read while answering: found by trying. The best way depends
 * on the memory, its load, the kernels and how long they compute for what they read, and no answer depends on it, so a model's
 * first passes over one token, whichever session asks for them, are the experiment, those over two tokens another, and so on: they
 * try each way in turn, some rounds of it, and the one with the fastest pass stays for a while. Then the search begins anew, since
 * a shared memory changes its speed within minutes: a way that is 10 % slower costs 0.2 % so. Sessions that run at the same time
 * may try the same way, and so leave one untried: it is not taken. */
#ifndef HEARTH_ENGINE_PREFETCH_H
#define HEARTH_ENGINE_PREFETCH_H

#include "kernels.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEARTH_PREFETCH_TOKENS 16u /* for more, products do not care */
#define HEARTH_PREFETCH_WAYS 6u
#define HEARTH_PREFETCH_ROUNDS 3u
#define HEARTH_PREFETCH_PERIOD 1024u /* passes from a search to the next; a power of two, so that the count may wrap around */

struct hearth_prefetch_search {
    _Atomic uint32_t passes;                      /* done so far; all zero at the beginning */
    _Atomic double fastest[HEARTH_PREFETCH_WAYS]; /* seconds, of this search; 0: none yet */
};

/* Whether a pass took less than the fastest other, which may never have been timed. */
static inline bool was_faster(double seconds, double other)
{
    return seconds > 0.0 && (other == 0.0 || seconds < other);
}

/* Whether a pass of a period is one of its experiments. */
static inline bool is_experiment(uint32_t pass)
{
    return pass < HEARTH_PREFETCH_ROUNDS * HEARTH_PREFETCH_WAYS;
}

/* The way of the next pass. */
static inline uint32_t hearth_prefetch_choice(struct hearth_prefetch_search *s)
{
    const uint32_t pass = atomic_load(&s->passes) % HEARTH_PREFETCH_PERIOD;
    if (is_experiment(pass))
        return pass % HEARTH_PREFETCH_WAYS;
    uint32_t best = 0;
    for (uint32_t i = 1; i < HEARTH_PREFETCH_WAYS; i++)
        if (was_faster(atomic_load(&s->fastest[i]), atomic_load(&s->fastest[best])))
            best = i;
    return best;
}

/* Way i, as the products take it. */
static inline size_t hearth_prefetch_way(uint32_t i)
{
    enum { IN_STEPS = HEARTH_PREFETCH_IN_STEPS, TWO_STREAMS = HEARTH_PREFETCH_TWO_STREAMS };
    static const size_t ways[HEARTH_PREFETCH_WAYS] = {
        16384 + IN_STEPS, 8192, 4096, 0, 4096 + IN_STEPS, 3072 + IN_STEPS + TWO_STREAMS,
    };
    return ways[i];
}

/* A pass in way i took so long. */
static inline void hearth_prefetch_record(struct hearth_prefetch_search *s, uint32_t i, double seconds)
{
    const uint32_t pass = atomic_fetch_add(&s->passes, 1) % HEARTH_PREFETCH_PERIOD;
    if (pass == 0)
        for (uint32_t way = 0; way < HEARTH_PREFETCH_WAYS; way++)
            atomic_store(&s->fastest[way], 0.0);
    if (is_experiment(pass) && was_faster(seconds, atomic_load(&s->fastest[i])))
        atomic_store(&s->fastest[i], seconds);
}

#endif
