/* The search for the way of software prefetch. */
#include "prefetch.h"
#include <criterion/criterion.h>

/* A search: passes take `seconds[i]` in the i-th way, and longer in the first round. The way found. */
static uint32_t find(struct hearth_prefetch_search *search, const double seconds[HEARTH_PREFETCH_WAYS])
{
    bool tried[HEARTH_PREFETCH_WAYS] = {false};
    for (uint32_t pass = 0; pass < HEARTH_PREFETCH_ROUNDS * HEARTH_PREFETCH_WAYS; pass++) {
        const uint32_t i = hearth_prefetch_choice(search);
        tried[i] = true;
        hearth_prefetch_record(search, i, pass < HEARTH_PREFETCH_WAYS ? 100.0 - pass : seconds[i]);
    }
    for (uint32_t i = 0; i < HEARTH_PREFETCH_WAYS; i++)
        cr_expect(tried[i], "way %u was tried", i);
    return hearth_prefetch_choice(search);
}

/* The passes between a search and the next, which change nothing, however fast they seem. */
static void stay(struct hearth_prefetch_search *search, uint32_t found)
{
    for (uint32_t pass = HEARTH_PREFETCH_ROUNDS * HEARTH_PREFETCH_WAYS; pass < HEARTH_PREFETCH_PERIOD; pass++) {
        cr_expect_eq(hearth_prefetch_choice(search), found);
        hearth_prefetch_record(search, (found + 1) % HEARTH_PREFETCH_WAYS, 0.5);
    }
}

/* Sessions that run at the same time may leave ways out. */
Test(prefetch, a_way_that_was_not_timed_is_not_taken)
{
    for (uint32_t only = 0; only < HEARTH_PREFETCH_WAYS; only++) {
        struct hearth_prefetch_search search = {0};
        for (uint32_t pass = 0; pass < HEARTH_PREFETCH_ROUNDS * HEARTH_PREFETCH_WAYS; pass++)
            hearth_prefetch_record(&search, only, 1.0);
        cr_expect_eq(hearth_prefetch_choice(&search), only);
    }
}

static void fill_seconds(double seconds[HEARTH_PREFETCH_WAYS], uint32_t best, double slowest)
{
    for (uint32_t i = 0; i < HEARTH_PREFETCH_WAYS; i++)
        seconds[i] = i == best ? slowest / 1.5 : slowest;
}

Test(prefetch, the_fastest_way_stays)
{
    size_t found[HEARTH_PREFETCH_WAYS];
    for (uint32_t best = 0; best < HEARTH_PREFETCH_WAYS; best++) {
        struct hearth_prefetch_search fresh = {0};
        double seconds[HEARTH_PREFETCH_WAYS];
        fill_seconds(seconds, best, 1.5);
        const uint32_t way = find(&fresh, seconds);
        cr_expect_eq(way, best);
        stay(&fresh, way);
        found[best] = hearth_prefetch_way(way);
        for (uint32_t i = 0; i < best; i++)
            cr_expect_neq(found[i], found[best], "another winner is another way");
    }
}

/* Memory that has become slower makes everything slower than the first search saw. */
Test(prefetch, a_later_search_may_find_another_way)
{
    struct hearth_prefetch_search again = {0};
    for (uint32_t best = 0; best < HEARTH_PREFETCH_WAYS; best++) {
        double seconds[HEARTH_PREFETCH_WAYS];
        fill_seconds(seconds, best, 3.0 + best);
        const uint32_t way = find(&again, seconds);
        cr_expect_eq(way, best);
        stay(&again, way);
    }
}
