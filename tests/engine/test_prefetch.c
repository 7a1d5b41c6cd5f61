/* The search for the way of software prefetch. */
#include "prefetch.h"
#include <criterion/criterion.h>

/* Passes take `seconds[i]` in the i-th way, and longer in the first round. */
static size_t searched(const double seconds[HEARTH_PREFETCH_WAYS])
{
    struct hearth_prefetch_search search = {0};
    bool tried[HEARTH_PREFETCH_WAYS] = {false};
    for (uint32_t pass = 0; pass < HEARTH_PREFETCH_ROUNDS * HEARTH_PREFETCH_WAYS; pass++) {
        const uint32_t i = hearth_prefetch_choice(&search);
        tried[i] = true;
        hearth_prefetch_record(&search, i, pass < HEARTH_PREFETCH_WAYS ? 100.0 - pass : seconds[i]);
    }
    for (uint32_t i = 0; i < HEARTH_PREFETCH_WAYS; i++)
        cr_expect(tried[i], "way %u was tried", i);
    const uint32_t found = hearth_prefetch_choice(&search);
    hearth_prefetch_record(&search, (found + 1) % HEARTH_PREFETCH_WAYS, 0.5); /* later passes change nothing */
    cr_expect_eq(hearth_prefetch_choice(&search), found);
    return hearth_prefetch_way(found);
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

Test(prefetch, the_fastest_way_stays)
{
    size_t found[HEARTH_PREFETCH_WAYS];
    for (uint32_t best = 0; best < HEARTH_PREFETCH_WAYS; best++) {
        double seconds[HEARTH_PREFETCH_WAYS];
        for (uint32_t i = 0; i < HEARTH_PREFETCH_WAYS; i++)
            seconds[i] = i == best ? 1.0 : 1.5;
        found[best] = searched(seconds);
        for (uint32_t i = 0; i < best; i++)
            cr_expect_neq(found[i], found[best], "another winner is another way");
    }
}
