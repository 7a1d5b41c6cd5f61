/* What the two quantizations of activations share (docs/arithmetic.md, "Quantized activations"). */
#ifndef HEARTH_AVX2_QUANTIZE_H
#define HEARTH_AVX2_QUANTIZE_H

#include "avx2/avx2.h"
#include "common/attributes.h"
#include "common/half.h"
#include "template/unroll.h"
#include <immintrin.h>
#include <string.h>

/* The greatest bit pattern without sign of n floats, a multiple of 8. */
HEARTH_ALWAYS_INLINE uint32_t greatest_magnitude(const float *x, size_t n)
{
    const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
    __m256i m8 = _mm256_setzero_si256();
    for (size_t i = 0; i < n; i += 8)
        m8 = _mm256_max_epu32(m8, _mm256_and_si256(_mm256_castps_si256(_mm256_loadu_ps(x + i)), magnitude));
    const __m128i m4 = _mm_max_epu32(_mm256_castsi256_si128(m8), _mm256_extracti128_si256(m8, 1));
    const __m128i m2 = _mm_max_epu32(m4, _mm_srli_si128(m4, 8));
    return (uint32_t)_mm_cvtsi128_si32(_mm_max_epu32(m2, _mm_srli_si128(m2, 4)));
}

/* Scale s of a group and the factor r of its elements; both 0 when it is (almost) zero. false: an element is not finite. */
HEARTH_ALWAYS_INLINE bool group_scales(float *s, float *r, const float *x, size_t n)
{
    const uint32_t bits = greatest_magnitude(x, n);
    if (bits > 0x7f7fffffu)
        return false;
    const float greatest = hearth_f32_from_bits(bits);
    const bool none = greatest < 0x1p-120f;
    *s = none ? 0.0f : greatest / 127.0f;
    *r = none ? 0.0f : 127.0f / greatest;
    return true;
}

/* q = rne(x * r) for 32 elements, stored and returned. |x * r| <= 127 * (1 + 2^-22), which rounds to 127 at most: no clamp. */
HEARTH_ALWAYS_INLINE __m256i quantize_32(void *q, const float *x, float r)
{
    const __m256 factor = _mm256_set1_ps(r);
    __m256i i[4];
    UNROLL
    for (size_t n = 0; n < 4; n++)
        i[n] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * n), factor));
    /* packing works in each half of a register: dwords come out as 0 2 4 6 | 1 3 5 7 */
    const __m256i mixed = _mm256_packs_epi16(_mm256_packs_epi32(i[0], i[1]), _mm256_packs_epi32(i[2], i[3]));
    const __m256i bytes = _mm256_permutevar8x32_epi32(mixed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256((__m256i *)q, bytes);
    return bytes;
}

/* The sum of 32 codes, at most 4064. */
HEARTH_ALWAYS_INLINE int32_t sum_of_32(__m256i q)
{
    const __m256i twos = _mm256_maddubs_epi16(_mm256_set1_epi8(1), q);
    const __m256i fours = _mm256_madd_epi16(twos, _mm256_set1_epi16(1));
    const __m128i eights = _mm_add_epi32(_mm256_castsi256_si128(fours), _mm256_extracti128_si256(fours, 1));
    const __m128i sixteens = _mm_add_epi32(eights, _mm_srli_si128(eights, 8));
    return _mm_cvtsi128_si32(_mm_add_epi32(sixteens, _mm_srli_si128(sixteens, 4)));
}

#endif
