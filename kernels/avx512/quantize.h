/* Sixteen activations at a time to 8 bits, as arithmetic.md says: what quantize_q8_32.c and quantize_q8_256.c share. */
#ifndef HEARTH_AVX512_QUANTIZE_H
#define HEARTH_AVX512_QUANTIZE_H

#include "avx512/avx512.h"
#include "common/attributes.h"
#include "common/half.h"
#include <immintrin.h>
#include <string.h>

struct group_scale {
    float s; /* q * s is the value */
    float r; /* q = rne(x * r) */
};

/* From the n floats of a group, n a multiple of 16; false when one is not finite. */
HEARTH_ALWAYS_INLINE bool group_scale_of(struct group_scale *out, const float *x, size_t n)
{
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    __m512i max = _mm512_setzero_si512();
    for (size_t i = 0; i < n; i += 16)
        max = _mm512_max_epi32(max, _mm512_and_si512(_mm512_loadu_si512(x + i), magnitude));
    const int32_t bits = _mm512_reduce_max_epi32(max);
    if (bits > 0x7f7fffff)
        return false;
    const float largest = hearth_f32_from_bits((uint32_t)bits);
    const bool tiny = largest < 0x1p-120f;
    *out = tiny ? (struct group_scale){0.0f, 0.0f} : (struct group_scale){largest / 127.0f, 127.0f / largest};
    return true;
}

/* Sixteen codes; returns them as int32. x * r is at most 127 * (1 + 2^-22) in magnitude, so that it rounds to at most 127. With r =
 * 0 every code is 0. */
HEARTH_ALWAYS_INLINE __m512i quantize16(int8_t *q, const float *x, float r)
{
    const __m512i codes = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x), _mm512_set1_ps(r)));
    _mm_storeu_si128((__m128i *)(void *)q, _mm512_cvtepi32_epi8(codes));
    return codes;
}

#endif
