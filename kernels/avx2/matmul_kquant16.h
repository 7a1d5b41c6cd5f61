/* What the formats with sub-blocks of 16 share, Q2_K, Q3_K and Q6_K: planes of two bits. Of 32 k, two vectors; bits 2i and 2i + 1
 * of each belong to its group i. */
#ifndef HEARTH_AVX2_MATMUL_KQUANT16_H
#define HEARTH_AVX2_MATMUL_KQUANT16_H

#include "avx2/matmul_kquant.h"

#define TWO_BITS_BYTES 64 /* of 32 k */

/* A word's bits moved up, or down where up < 0: `up` is a constant wherever this is inlined. */
HEARTH_ALWAYS_INLINE __m256i move_up(__m256i bits, int up)
{
    return up < 0 ? _mm256_srli_epi16(bits, -up) : _mm256_slli_epi16(bits, up);
}

/* Groups 2v and 2v + 1 of 32 k, 0 ... 3. Shifts of 16-bit lanes: what crosses a byte's border is masked away. */
HEARTH_ALWAYS_INLINE void decode_two_bits(__m256i w[2], const uint8_t *p, size_t v)
{
    const __m256i two = _mm256_set1_epi8(3);
    const __m256i bytes = load32(p + v / 2 * 32);
    UNROLL
    for (int i = 0; i < 2; i++)
        w[i] = _mm256_and_si256(move_up(bytes, -(int)(v % 2 * 4) - 2 * i), two);
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
