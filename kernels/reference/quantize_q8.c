/* Floats to activations of 8 bits, one scale for each group of 32 (Q8_32) or 256 (Q8_256).
 *
 * Per group: a = the largest bit pattern without its sign, compared as an integer. If a > 0x7F7FFFFF (an infinity or a NaN) return
 * false; the row is then unspecified. If the float a is below 2^-120, s = +0 and all q = 0 (so 127 / a never overflows). Else
 *     s = a / 127,  r = 127 / a,  q_k = rne(x_k * r) clamped to -127 … 127      each one rounding, r not refined, x_k not divided
 * s may be subnormal and is kept. Sums of q are exact: over 32 (|sum| <= 4064) in both layouts, over 16 as well in Q8_256.
 * Spans: as kernels.h says; at most 4064 over 32 and 2032 over 16.
 * Bytes of a unit without a use are not written. */
#include "common/half.h"
#include "reference/reference.h"
#include <stdlib.h>
#include <string.h>

/* |v| < 2^22, so adding 1.5 * 2^23 leaves rne(v) in a sum whose unit is 1; no libm needed. */
static int round_nearest_even(float v)
{
    const float shift = 0x1.8p+23f;
    const float sum = v + shift;
    return (int)(sum - shift);
}

static int8_t clamp(int q)
{
    return (int8_t)(q > 127 ? 127 : q < -127 ? -127 : q);
}

static uint32_t greatest_magnitude(const float *x, size_t n)
{
    uint32_t a = 0;
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = hearth_f32_bits(x[i]) & 0x7fffffffu;
        a = bits > a ? bits : a;
    }
    return a;
}

static bool quantize_group(int8_t *q, float *s, const float *x, size_t n)
{
    const uint32_t a = greatest_magnitude(x, n);
    if (a > 0x7f7fffffu)
        return false;
    const float largest = hearth_f32_from_bits(a);
    if (largest < 0x1p-120f) {
        *s = 0.0f;
        memset(q, 0, n);
        return true;
    }
    *s = largest / 127.0f;
    const float r = 127.0f / largest;
    for (size_t i = 0; i < n; i++)
        q[i] = clamp(round_nearest_even(x[i] * r));
    return true;
}

static int sum_of(const int8_t *q, size_t n)
{
    int sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += q[i];
    return sum;
}

static uint16_t larger(uint16_t a, uint16_t b)
{
    return a > b ? a : b;
}

static struct hearth_spans spans_of(const int8_t q[256])
{
    struct hearth_spans spans = {0};
    for (size_t j = 0; j < 8; j++) {
        uint16_t positive = 0, negative = 0;
        for (size_t half = 0; half < 2; half++) {
            uint16_t positive8[2] = {0}, negative8[2] = {0};
            for (size_t i = 0; i < 16; i++) {
                const int8_t code = q[32 * j + 16 * half + i];
                positive8[i / 2 % 2] = (uint16_t)(positive8[i / 2 % 2] + (code > 0 ? code : 0));
                negative8[i / 2 % 2] = (uint16_t)(negative8[i / 2 % 2] + (code < 0 ? -code : 0));
            }
            const uint16_t positive16 = (uint16_t)(positive8[0] + positive8[1]);
            const uint16_t negative16 = (uint16_t)(negative8[0] + negative8[1]);
            positive = (uint16_t)(positive + positive16);
            negative = (uint16_t)(negative + negative16);
            spans.of16 = larger(spans.of16, (uint16_t)(positive16 + negative16));
            for (size_t i = 0; i < 2; i++)
                spans.of8 = larger(spans.of8, larger(positive8[i], negative8[i]));
        }
        spans.of32 = larger(spans.of32, larger(positive, negative));
    }
    return spans;
}

bool hearth_quantize_q8_32_reference(void *to, size_t stride, const float *x, size_t begin, size_t end)
{
    for (size_t j = begin / 32; j < end / 32; j++) {
        struct hearth_q8_32 *unit = (struct hearth_q8_32 *)(void *)((uint8_t *)to + j / 8 * stride);
        int8_t *q = unit->q + 32 * (j % 8);
        if (!quantize_group(q, &unit->s[j % 8], x + 32 * j - begin, 32))
            return false;
        unit->sums[j % 8] = sum_of(q, 32);
    }
    return true;
}

bool hearth_quantize_q8_256_reference(void *to, size_t stride, const float *x, size_t begin, size_t end)
{
    for (size_t b = begin / 256; b < end / 256; b++) {
        struct hearth_q8_256 *unit = (struct hearth_q8_256 *)(void *)((uint8_t *)to + b * stride);
        if (!quantize_group(unit->q, &unit->s, x + 256 * b - begin, 256))
            return false;
        for (size_t j = 0; j < 16; j++)
            unit->sums16[j] = (int16_t)sum_of(unit->q + 16 * j, 16);
        for (size_t j = 0; j < 8; j++)
            unit->sums32[j] = (int16_t)sum_of(unit->q + 32 * j, 32);
        unit->spans = spans_of(unit->q);
    }
    return true;
}

/* Floats to blocks of Q8_0 as they lie in a file, for the cache. Per block of 32, with a as above: an infinity or a NaN returns
 * false; d = a / 127, rounded to half, returns false when that is infinite. When d is 0 all q = 0. Else, with d widened again,
 *     r = 1 / d,  q_k = rne(x_k * r) clamped to -127 … 127
 * so that codes fit the scale as it was rounded. |x_k * r| < 191: d is at least 2/3 of a / 127 (at worst, 1 for almost 1.5). */
bool hearth_quantize_q8_0_reference(void *row, size_t stride, const float *x, size_t begin, size_t end)
{
    uint8_t *block = (uint8_t *)row + begin / 32 * 34;
    (void)stride;
    for (size_t i = begin; i < end; i += 32, block += 34, x += 32) {
        const uint32_t a = greatest_magnitude(x, 32);
        const uint16_t half = hearth_f32_to_f16(hearth_f32_from_bits(a) / 127.0f);
        if (a > 0x7f7fffffu || half == 0x7c00u)
            return false;
        const float d = hearth_f16_to_f32(half);
        const float r = half ? 1.0f / d : 0.0f;
        memcpy(block, &half, sizeof half);
        for (size_t n = 0; n < 32; n++)
            ((int8_t *)block)[2 + n] = clamp(round_nearest_even(x[n] * r));
    }
    return true;
}
