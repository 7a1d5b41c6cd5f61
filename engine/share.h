/* How rows are shared among workers: in units of HEARTH_ROW_UNIT rows, contiguous, the same when weights are packed (first touch)
 * and when they are used. */
#ifndef HEARTH_ENGINE_SHARE_H
#define HEARTH_ENGINE_SHARE_H

#include <stdint.h>

#define HEARTH_ROW_UNIT 32u /* a multiple of every kernel's pair of tiles, and of a cache line of outputs */

struct hearth_range {
    uint32_t begin, end;
};

/* The worker's part of n things. */
static inline struct hearth_range hearth_share(uint32_t n, uint32_t worker, uint32_t workers)
{
    return (struct hearth_range){(uint32_t)((uint64_t)n * worker / workers), (uint32_t)((uint64_t)n * (worker + 1) / workers)};
}

/* The worker's part of n rows. */
static inline struct hearth_range hearth_share_rows(uint32_t n, uint32_t worker, uint32_t workers)
{
    struct hearth_range units = hearth_share((n + HEARTH_ROW_UNIT - 1) / HEARTH_ROW_UNIT, worker, workers);
    units.begin *= HEARTH_ROW_UNIT;
    units.end = units.end * HEARTH_ROW_UNIT < n ? units.end * HEARTH_ROW_UNIT : n;
    if (units.begin > units.end)
        units.begin = units.end;
    return units;
}

#endif
