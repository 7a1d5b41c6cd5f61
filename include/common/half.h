/* Half floats in plain C, exactly as the hardware does it (spec/quantization.md section 4): the definition that F16C must equal. */
#ifndef HEARTH_COMMON_HALF_H
#define HEARTH_COMMON_HALF_H

#include <stdint.h>
#include <string.h>

static inline uint32_t hearth_f32_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline float hearth_f32_from_bits(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* Exact. A signalling NaN becomes quiet. */
static inline float hearth_f16_to_f32(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    const uint32_t exponent = (h >> 10) & 31u;
    const uint32_t mantissa = h & 0x3ffu;
    if (exponent == 31)
        return hearth_f32_from_bits(sign | 0x7f800000u | mantissa << 13 | (mantissa ? 0x400000u : 0));
    if (exponent != 0)
        return hearth_f32_from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
    const float value = (float)mantissa * 0x1p-24f; /* exact: at most 10 bits */
    return sign ? -value : value;
}

/* Round to nearest even; too large becomes infinity; small ones become subnormal; NaN keeps its upper payload and is quiet. */
static inline uint16_t hearth_f32_to_f16(float x)
{
    const uint32_t u = hearth_f32_bits(x);
    const uint32_t sign = (u >> 16) & 0x8000u;
    const uint32_t a = u & 0x7fffffffu;
    if (a > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | ((a >> 13) & 0x1ffu));
    if (a >= 0x477ff000u) /* 65520 and above */
        return (uint16_t)(sign | 0x7c00u);
    if (a < 0x38800000u) { /* below 2^-14: adding 0.5 puts the unit of the sum at 2^-24 and rounds there */
        const float sum = hearth_f32_from_bits(a) + 0.5f;
        return (uint16_t)(sign | (hearth_f32_bits(sum) - 0x3f000000u));
    }
    const uint32_t rounded = a + 0xfffu + ((a >> 13) & 1u);
    return (uint16_t)(sign | ((rounded - 0x38000000u) >> 13));
}

static inline float hearth_bf16_to_f32(uint16_t b)
{
    return hearth_f32_from_bits((uint32_t)b << 16);
}

#endif
