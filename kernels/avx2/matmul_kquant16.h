/* What the formats with sub-blocks of 16 share, Q2_K, Q3_K and Q6_K: their scales and mins as bytes, number j of row r at 8 * j +
 * r, against the sums of 16 activations, and planes of two bits: of 32 k, two vectors, bits 2i and 2i + 1 of each belong to its
 * group i. */
#ifndef HEARTH_AVX2_MATMUL_KQUANT16_H
#define HEARTH_AVX2_MATMUL_KQUANT16_H

#include "avx2/matmul.h"
#include "common/block_format.h"

#define TWO_BITS_BYTES 64 /* of 32 k */

/* Scales of sub-blocks i and j as signed 16-bit pairs, one pair for each row. */
HEARTH_ALWAYS_INLINE __m256i scale_pairs(const uint8_t *scales, size_t i, size_t j)
{
    const __m128i a = _mm_loadl_epi64((const __m128i *)(const void *)(scales + 8 * i));
    const __m128i b = _mm_loadl_epi64((const __m128i *)(const void *)(scales + 8 * j));
    return _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(a, b));
}

/* All sixteen as pairs of neighbours. */
HEARTH_ALWAYS_INLINE void all_pairs(__m256i pairs[8], const uint8_t *scales)
{
    UNROLL
    for (size_t i = 0; i < 8; i++)
        pairs[i] = scale_pairs(scales, 2 * i, 2 * i + 1);
}

/* The sum of scale (or min) times sum of 16 activations, |bsum| <= 2032, of super-block b of one token. */
HEARTH_ALWAYS_INLINE __m256i pairs_times_sums(const __m256i pairs[8], const uint8_t *x, size_t k, size_t b)
{
    const uint8_t *bsum = x + hearth_q8_256_sums16(k) + 32 * b;
    __m256i sum = _mm256_madd_epi16(pairs[0], broadcast_i32(bsum));
    UNROLL
    for (size_t i = 1; i < 8; i++)
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs[i], broadcast_i32(bsum + 4 * i)));
    return sum;
}

/* Super-block b of one token: the codes' offset of 1 << shift is taken off, then scaled. */
HEARTH_ALWAYS_INLINE __m256 fold_offset(__m256 acc, __m256i sum, const __m256i pairs[8], int shift, __m256 d, const uint8_t *x,
                                        size_t k, size_t b)
{
    const __m256i i = _mm256_sub_epi32(sum, _mm256_slli_epi32(pairs_times_sums(pairs, x, k, b), shift));
    const __m256 g = _mm256_mul_ps(_mm256_cvtepi32_ps(i), d);
    return _mm256_fmadd_ps(g, broadcast_f32(x + hearth_q8_256_scales(k) + 4 * b), acc);
}

/* The same with mins instead of an offset. */
HEARTH_ALWAYS_INLINE __m256 fold_mins(__m256 acc, __m256i sum, const __m256i min_pairs[8], __m256 d, __m256 dmin, const uint8_t *x,
                                      size_t k, size_t b)
{
    __m256 g = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), d);
    g = _mm256_fnmadd_ps(_mm256_cvtepi32_ps(pairs_times_sums(min_pairs, x, k, b)), dmin, g);
    return _mm256_fmadd_ps(g, broadcast_f32(x + hearth_q8_256_scales(k) + 4 * b), acc);
}

/* Eight groups, 32 codes of each row, 0 ... 3. Shifts of 16-bit lanes: what crosses a byte's border is masked away. */
HEARTH_ALWAYS_INLINE void decode_two_bits(__m256i w[8], const uint8_t *p)
{
    const __m256i two = _mm256_set1_epi8(3);
    UNROLL
    for (int n = 0; n < 8; n++)
        w[n] = _mm256_and_si256(_mm256_srli_epi16(load32(p + n / 4 * 32), n % 4 * 2), two);
}

/* Two sub-blocks of 16 of one token whose codes are at most 16: 8 products in each lane, 8 * 16 * 127 = 16 256, then each sum times
 * its scale. */
HEARTH_ALWAYS_INLINE __m256i small_products(const __m256i codes[8], const int8_t *q, __m256i scale0, __m256i scale1)
{
    const __m256i a = _mm256_madd_epi16(products_of(codes, q, 4), scale0);
    const __m256i b = _mm256_madd_epi16(products_of(codes + 4, q + 16, 4), scale1);
    return _mm256_add_epi32(a, b);
}

/* Places 32 codes of row r, 0 ... 3 each, into two vectors. */
HEARTH_ALWAYS_INLINE void pack_two_bits(uint8_t *packed, size_t r, __m256i codes)
{
    /* group i of each four to bits 2i, then the four dwords of each half of the register to one */
    const __m256i four = _mm256_sllv_epi32(codes, _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6));
    const __m256i two = _mm256_or_si256(four, _mm256_srli_si256(four, 8));
    const __m256i one = _mm256_or_si256(two, _mm256_srli_si256(two, 4));
    const int32_t dwords[2] = {_mm_cvtsi128_si32(_mm256_castsi256_si128(one)), _mm256_extract_epi32(one, 4)};
    memcpy(packed + 4 * r, &dwords[0], 4);
    memcpy(packed + 32 + 4 * r, &dwords[1], 4);
}

/* Code k of row r. */
HEARTH_ALWAYS_INLINE uint8_t unpack_two_bits(const uint8_t *packed, size_t r, size_t k)
{
    return (uint8_t)(packed[k / 16 * 32 + 4 * r + k % 4] >> (k / 4 % 4 * 2)) & 3;
}

/* The file has plane p of 32 elements in the bits 2p and 2p + 1 of 32 bytes. */
HEARTH_ALWAYS_INLINE __m256i two_bits(const uint8_t bytes[32], int p)
{
    return _mm256_and_si256(_mm256_srl_epi16(load32(bytes), _mm_cvtsi32_si128(2 * p)), _mm256_set1_epi8(3));
}

#endif
