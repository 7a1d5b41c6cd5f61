/* Super-blocks of 256 (K-quants and IQ4_XS): what a format reads of one for 8 rows, and the fold. */
#ifndef HEARTH_AVX2_MATMUL_KQUANT_H
#define HEARTH_AVX2_MATMUL_KQUANT_H

#include "avx2/matmul.h"
#include "common/block_format.h"

#define ROOM_BYTES 128

/* Scales of sub-blocks as signed bytes, number j of row r at 8 * j + r, in the tile or in ROOM_BYTES beside, which are no part of
 * this so that the rest can stay in registers. pairs: what meets the sums of activations, as 16-bit numbers of sub-blocks 2i and
 * 2i + 1 of each row. */
struct super_block {
    const uint8_t *scales;
    __m256i pairs[8];
    __m256 d, dmin;
};

/* Bytes i and j of each row as signed 16-bit pairs. */
HEARTH_ALWAYS_INLINE __m256i scale_pairs(const uint8_t *scales, size_t i, size_t j)
{
    const __m128i a = _mm_loadl_epi64((const __m128i *)(const void *)(scales + 8 * i));
    const __m128i b = _mm_loadl_epi64((const __m128i *)(const void *)(scales + 8 * j));
    return _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(a, b));
}

/* n of them as pairs of neighbours. */
HEARTH_ALWAYS_INLINE void all_pairs(__m256i pairs[8], const uint8_t *scales, size_t n)
{
    UNROLL
    for (size_t i = 0; i < n / 2; i++)
        pairs[i] = scale_pairs(scales, 2 * i, 2 * i + 1);
}

/* The sum over the sub-blocks of a pair's number times the sum of their activations: 4 pairs against sums of 32, at most 4064, or
 * 8 against sums of 16, at most 2032. */
HEARTH_ALWAYS_INLINE __m256i pairs_times_sums(const __m256i pairs[8], size_t n, const struct hearth_q8_256 *x)
{
    const int16_t *sums = n == 4 ? x->sums32 : x->sums16;
    __m256i sum = _mm256_madd_epi16(pairs[0], broadcast_i32(sums));
    UNROLL
    for (size_t i = 1; i < n; i++)
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs[i], broadcast_i32(sums + 2 * i)));
    return sum;
}

/* A super-block and one token: acc + (f32(I) * d) * s. */
HEARTH_ALWAYS_INLINE __m256 fold_plain(__m256 acc, __m256i sum, const struct super_block *block, const struct hearth_q8_256 *x)
{
    const __m256 g = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), block->d);
    return _mm256_fmadd_ps(g, _mm256_set1_ps(x->s), acc);
}

/* The codes' offset of 1 << shift is taken off first. */
HEARTH_ALWAYS_INLINE __m256 fold_offset(__m256 acc, __m256i sum, const struct super_block *block, int shift,
                                        const struct hearth_q8_256 *x)
{
    const __m256i offset = _mm256_slli_epi32(pairs_times_sums(block->pairs, 8, x), shift);
    return fold_plain(acc, _mm256_sub_epi32(sum, offset), block, x);
}

/* Less f32(M) * dmin, with n pairs of mins. */
HEARTH_ALWAYS_INLINE __m256 fold_mins(__m256 acc, __m256i sum, const struct super_block *block, size_t n,
                                      const struct hearth_q8_256 *x)
{
    __m256 g = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), block->d);
    g = _mm256_fnmadd_ps(_mm256_cvtepi32_ps(pairs_times_sums(block->pairs, n, x)), block->dmin, g);
    return _mm256_fmadd_ps(g, _mm256_set1_ps(x->s), acc);
}

#endif
