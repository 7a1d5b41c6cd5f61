/* The 16 partial sums of every float reduction, and the order in which they become one: 16 -> 8 -> 4 -> 2 -> 1, each time adding
 * the upper half to the lower. */
#ifndef HEARTH_REFERENCE_LANES_H
#define HEARTH_REFERENCE_LANES_H

#include <stddef.h>

#define HEARTH_LANES 16

/* ((l0+l8)+(l4+l12)) + ..., as `lane[i] += lane[i + half]` for half = 8, 4, 2, 1. The lanes are used up. */
static inline float hearth_lanes_sum(float lane[HEARTH_LANES])
{
    for (size_t half = HEARTH_LANES / 2; half > 0; half /= 2)
        for (size_t i = 0; i < half; i++)
            lane[i] = lane[i] + lane[i + half];
    return lane[0];
}

#endif
