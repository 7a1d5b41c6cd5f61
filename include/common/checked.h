/* Arithmetic on sizes that come from a file or a caller: every operation says whether it fitted. */
#ifndef HEARTH_COMMON_CHECKED_H
#define HEARTH_COMMON_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Each returns true when the exact result fits in *out. */
static inline bool hearth_add_u64(uint64_t *out, uint64_t a, uint64_t b)
{
    return !__builtin_add_overflow(a, b, out);
}

static inline bool hearth_mul_u64(uint64_t *out, uint64_t a, uint64_t b)
{
    return !__builtin_mul_overflow(a, b, out);
}

/* Round up to a multiple of `step`, a power of two. */
static inline bool hearth_round_up_u64(uint64_t *out, uint64_t value, uint64_t step)
{
    if (__builtin_add_overflow(value, step - 1, out))
        return false;
    *out &= ~(step - 1);
    return true;
}

/* For sizes of our own that are known to be small. */
static inline size_t hearth_align(size_t value, size_t step)
{
    return (value + step - 1) & ~(step - 1);
}

#endif
