/* Formats in blocks of 32: the layout of their tiles and the fold of a block, which they share.
 *
 * Without a min (Q4_0, Q5_0, Q8_0, IQ4_NL), a tile is a sequence of pairs of blocks: a line of 32 bytes with the scales of both, 8
 * halves each, then the weights of the first block and those of the second, so that every vector lies on a multiple of 32. An odd
 * last block has a line of scales of its own. With one (Q4_1, Q5_1), every block has a line of its own, 8 scales and 8 mins, and
 * its weights behind that. */
#ifndef HEARTH_AVX2_MATMUL_BLOCK32_H
#define HEARTH_AVX2_MATMUL_BLOCK32_H

#include "avx2/matmul.h"
#include "common/block_format.h"

#define SCALES_BYTES 32
#define MINS_OFFSET 16 /* in the line of a block with mins */

/* Where block b of a tile has its scales and its weights; weights_bytes is that of 8 rows of a block. */
HEARTH_ALWAYS_INLINE size_t scales_offset(size_t b, size_t weights_bytes)
{
    return b / 2 * (SCALES_BYTES + 2 * weights_bytes) + b % 2 * 16;
}

HEARTH_ALWAYS_INLINE size_t weights_offset(size_t b, size_t weights_bytes)
{
    return b / 2 * (SCALES_BYTES + 2 * weights_bytes) + SCALES_BYTES + b % 2 * weights_bytes;
}

HEARTH_ALWAYS_INLINE size_t block32_tile_bytes(size_t k, size_t weights_bytes)
{
    const size_t blocks = k / 32;
    return ((blocks + 1) / 2 * SCALES_BYTES + blocks * weights_bytes + 63) & ~(size_t)63;
}

/* Block j of a unit: eight weights' scales d, and the products' sums, int32 for each row. offset is what the format subtracts
 * from its codes, as a power of two: offset * sum <= 16 * 4064. f32(i) is exact: |i| <= 128 * 127 * 32 = 520 192. */
HEARTH_ALWAYS_INLINE __m256 fold_block32(__m256 acc, __m256i sum, __m256 d, const struct hearth_q8_32 *x, size_t j,
                                         int offset_shift)
{
    if (offset_shift > 0)
        sum = _mm256_sub_epi32(sum, _mm256_slli_epi32(_mm256_set1_epi32(x->sums[j]), offset_shift));
    const __m256 scale = _mm256_mul_ps(d, _mm256_set1_ps(x->s[j]));
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), scale, acc);
}

/* The same where the format has mins m and no offset. The sum as a float is exact. */
HEARTH_ALWAYS_INLINE __m256 fold_block32_min(__m256 acc, __m256i sum, __m256 d, __m256 m, const struct hearth_q8_32 *x, size_t j)
{
    const __m256 sums = _mm256_cvtepi32_ps(_mm256_set1_epi32(x->sums[j]));
    const __m256 scale = _mm256_set1_ps(x->s[j]);
    return _mm256_fmadd_ps(m, _mm256_mul_ps(sums, scale), fold_block32(acc, sum, d, x, j, 0));
}

#endif
