/* Sums and spans of a unit of Q8_256 from its codes, for the quantizations that have vectors of 32 bytes. */
#ifndef HEARTH_TEMPLATE_SUMMARIZE_H
#define HEARTH_TEMPLATE_SUMMARIZE_H

#include "common/attributes.h"
#include "kernels.h"
#include "template/unroll.h"
#include <immintrin.h>

HEARTH_ALWAYS_INLINE uint16_t larger_of(int a, int b)
{
    return (uint16_t)(a > b ? a : b);
}

/* The eight of each 16 codes whose k % 4 is below 2 come before the other eight. Magnitudes and positive codes are added up side by
 * side, as the lower and the upper half of 64 bits; what both say of each 16 codes stands in either half of a register. */
HEARTH_ALWAYS_INLINE void summarize(struct hearth_q8_256 *unit)
{
    const __m256i zero = _mm256_setzero_si256();
    const __m256i eights = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
    __m256i most8 = zero, most16 = zero, most32 = zero;
    UNROLL
    for (size_t j = 0; j < 8; j++) {
        const __m256i q = _mm256_shuffle_epi8(_mm256_loadu_si256((const __m256i *)(const void *)unit->q + j), eights);
        const __m256i positive = _mm256_sad_epu8(_mm256_max_epi8(q, zero), zero);
        const __m256i of8 = _mm256_or_si256(_mm256_sad_epu8(_mm256_abs_epi8(q), zero), _mm256_slli_epi64(positive, 32));
        const __m256i of16 = _mm256_add_epi32(of8, _mm256_shuffle_epi32(of8, 0x4e));
        const __m256i of32 = _mm256_add_epi32(of16, _mm256_permute2x128_si256(of16, of16, 1));
        const __m256i negative16 = _mm256_sub_epi32(of16, _mm256_srli_epi64(of16, 32)); /* low; high stays positive */
        const __m256i sums = _mm256_sub_epi32(_mm256_srli_epi64(negative16, 32), negative16);
        unit->sums16[2 * j] = (int16_t)_mm256_extract_epi32(sums, 0);
        unit->sums16[2 * j + 1] = (int16_t)_mm256_extract_epi32(sums, 4);
        unit->sums32[j] = (int16_t)(unit->sums16[2 * j] + unit->sums16[2 * j + 1]);
        most8 = _mm256_max_epu32(most8, _mm256_sub_epi32(of8, _mm256_srli_epi64(of8, 32)));
        most16 = _mm256_max_epu32(most16, of16);
        most32 = _mm256_max_epu32(most32, _mm256_sub_epi32(of32, _mm256_srli_epi64(of32, 32)));
    }
    const __m128i half8 = _mm_max_epu32(_mm256_castsi256_si128(most8), _mm256_extracti128_si256(most8, 1));
    const __m128i quarter8 = _mm_max_epu32(half8, _mm_srli_si128(half8, 8));
    unit->spans.of8 = larger_of(_mm_cvtsi128_si32(quarter8), _mm_extract_epi32(quarter8, 1));
    unit->spans.of16 = larger_of(_mm256_extract_epi32(most16, 0), _mm256_extract_epi32(most16, 4));
    unit->spans.of32 = larger_of(_mm256_extract_epi32(most32, 0), _mm256_extract_epi32(most32, 1));
}

#endif
