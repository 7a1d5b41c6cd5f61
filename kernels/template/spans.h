/* The spans of 256 codes (kernels.h), for the quantizations that have vectors of 32 bytes. */
#ifndef HEARTH_TEMPLATE_SPANS_H
#define HEARTH_TEMPLATE_SPANS_H

#include "common/attributes.h"
#include "kernels.h"
#include <immintrin.h>

HEARTH_ALWAYS_INLINE uint16_t larger_of(uint32_t a, uint32_t b)
{
    return (uint16_t)(a > b ? a : b);
}

/* Sums stand as pairs of 32 bits: of |q| low, of positive q high. */
HEARTH_ALWAYS_INLINE struct hearth_spans spans_of(const void *codes)
{
    const __m256i zero = _mm256_setzero_si256();
    __m256i most16 = zero, most32 = zero;
    for (size_t j = 0; j < 8; j++) {
        const __m256i q = _mm256_loadu_si256((const __m256i *)codes + j);
        const __m256i positive = _mm256_sad_epu8(_mm256_max_epi8(q, zero), zero);
        const __m256i of8 = _mm256_or_si256(_mm256_sad_epu8(_mm256_abs_epi8(q), zero), _mm256_slli_epi64(positive, 32));
        const __m256i of16 = _mm256_add_epi32(of8, _mm256_shuffle_epi32(of8, 0x4e));
        const __m256i of32 = _mm256_add_epi32(of16, _mm256_permute2x128_si256(of16, of16, 1));
        most16 = _mm256_max_epu32(most16, of16);
        most32 = _mm256_max_epu32(most32, _mm256_sub_epi32(of32, _mm256_srli_epi64(of32, 32))); /* negative low, positive high */
    }
    const uint64_t of32 = (uint64_t)_mm256_extract_epi64(most32, 0);
    return (struct hearth_spans){
        .of32 = larger_of((uint32_t)of32, (uint32_t)(of32 >> 32)),
        .of16 = larger_of((uint32_t)_mm256_extract_epi32(most16, 0), (uint32_t)_mm256_extract_epi32(most16, 4)),
    };
}

#endif
