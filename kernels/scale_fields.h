/* Where the half floats of a weight block are: whoever makes blocks of random bytes must put finite numbers there. */
#ifndef HEARTH_KERNELS_SCALE_FIELDS_H
#define HEARTH_KERNELS_SCALE_FIELDS_H

#include "common/block_format.h"

/* Offsets of d and of m or dmin inside a block; -1 where there is none (floats have neither). */
struct hearth_scale_fields {
    int d, m;
};

static inline struct hearth_scale_fields hearth_scale_fields(enum hearth_format format)
{
    switch (format) {
    case HEARTH_Q4_0:
    case HEARTH_Q5_0:
    case HEARTH_Q8_0:
    case HEARTH_IQ4_NL:
    case HEARTH_IQ4_XS:
        return (struct hearth_scale_fields){0, -1};
    case HEARTH_Q4_1:
    case HEARTH_Q5_1:
    case HEARTH_Q4_K:
    case HEARTH_Q5_K:
        return (struct hearth_scale_fields){0, 2};
    case HEARTH_Q2_K:
        return (struct hearth_scale_fields){offsetof(struct hearth_block_q2_K, d), offsetof(struct hearth_block_q2_K, dmin)};
    case HEARTH_Q3_K:
        return (struct hearth_scale_fields){offsetof(struct hearth_block_q3_K, d), -1};
    case HEARTH_Q6_K:
        return (struct hearth_scale_fields){offsetof(struct hearth_block_q6_K, d), -1};
    default:
        return (struct hearth_scale_fields){-1, -1};
    }
}

#endif
