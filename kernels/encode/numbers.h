/* The small steps that all encoders share: rounding, half floats, the importance of an element. */
#ifndef HEARTH_ENCODE_NUMBERS_H
#define HEARTH_ENCODE_NUMBERS_H

#include "common/attributes.h"
#include "common/block_format.h"
#include "common/half.h"
#include <math.h>
#include <stdbool.h>

/* v within [low, high]; NaN gives low. */
HEARTH_ALWAYS_INLINE float clampf(float v, float low, float high)
{
    v = v > low ? v : low;
    return v < high ? v : high;
}

/* The nearest integer, ties to even: adding 1.5 * 2^23 leaves it in a sum whose unit is 1. |v| < 2^22, so clamp first: bounds that
 * are whole numbers may as well be applied before rounding as after it. */
HEARTH_ALWAYS_INLINE float nearest(float v)
{
    return (v + 0x1.8p+23f) - 0x1.8p+23f;
}

HEARTH_ALWAYS_INLINE float nearest_within(float v, float low, float high)
{
    return nearest(clampf(v, low, high));
}

HEARTH_ALWAYS_INLINE float inverse(float d)
{
    return d != 0.0f ? 1.0f / d : 0.0f;
}

HEARTH_ALWAYS_INLINE float magnitude(float x)
{
    return hearth_f32_from_bits(hearth_f32_bits(x) & 0x7fffffffu);
}

/* Store a scale as a half float; false when it is too large for one, or NaN. */
HEARTH_ALWAYS_INLINE bool store_half(uint8_t out[2], float v)
{
    const uint16_t half = hearth_f32_to_f16(v);
    memcpy(out, &half, sizeof half);
    return (half & 0x7c00u) != 0x7c00u;
}

HEARTH_ALWAYS_INLINE float load_half(const uint8_t in[2])
{
    return hearth_f16_to_f32(hearth_load_u16(in));
}

HEARTH_ALWAYS_INLINE float sum_of_squares(const float *x, size_t n)
{
    float sum = 0.0f;
    for (size_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    return sum;
}

#endif
