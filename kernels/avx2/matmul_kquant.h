/* Q4_K and Q5_K: the head of a super-block of 8 rows (scales, mins, their 6-bit fields) and the fold, which the two share.
 *
 *   0  d, 8 halves         16  dmin, 8 halves         32  the 12 bytes of the 6-bit field, byte i of all rows at 32 + 8 * i */
#ifndef HEARTH_AVX2_MATMUL_KQUANT_H
#define HEARTH_AVX2_MATMUL_KQUANT_H

#include "avx2/matmul.h"
#include "common/block_format.h"

#define DMIN_OFFSET 16
#define FIELD_OFFSET 32
#define FIELD_BYTES 12
#define HEAD_BYTES (FIELD_OFFSET + FIELD_BYTES * TILE_ROWS)

/* What all tokens need of a super-block: eight 6-bit scales for each row as [sub-block][row], and mins as 16-bit pairs, sub-blocks
 * 2i and 2i + 1 of each row in min_pairs[i]. */
struct kquant_head {
    uint8_t scales[8 * TILE_ROWS];
    __m256i min_pairs[4];
    __m256 d, dmin;
};

/* The two bytes of each row, from two rows of bytes, as 16-bit numbers. */
HEARTH_ALWAYS_INLINE __m256i unsigned_pairs(__m128i even, __m128i odd)
{
    return _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(even, odd));
}

/* Spec, section 6.3: of the three quarters a, b, c of the field (4 bytes of 8 rows each), the low six bits of a and b are scales
 * and mins 0 ... 3; those of 4 ... 7 have four bits in c and two on top of a and b. */
HEARTH_ALWAYS_INLINE void decode_head(struct kquant_head *out, const uint8_t *p)
{
    const __m256i six = _mm256_set1_epi8(63);
    const __m256i four = _mm256_set1_epi8(15);
    const __m256i two = _mm256_set1_epi8(48);
    const __m256i a = load32(p + FIELD_OFFSET);
    const __m256i b = load32(p + FIELD_OFFSET + 32);
    const __m256i c = load32(p + FIELD_OFFSET + 64);
    const __m256i above_a = _mm256_and_si256(_mm256_srli_epi16(a, 2), two);
    const __m256i above_b = _mm256_and_si256(_mm256_srli_epi16(b, 2), two);
    const __m256i scales_high = _mm256_or_si256(_mm256_and_si256(c, four), above_a);
    const __m256i mins[2] = {_mm256_and_si256(b, six), _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(c, 4), four), above_b)};
    _mm256_storeu_si256((__m256i *)(void *)out->scales, _mm256_and_si256(a, six));
    _mm256_storeu_si256((__m256i *)(void *)(out->scales + 32), scales_high);
    UNROLL
    for (size_t i = 0; i < 4; i++) {
        const __m128i two_rows = i % 2 ? _mm256_extracti128_si256(mins[i / 2], 1) : _mm256_castsi256_si128(mins[i / 2]);
        out->min_pairs[i] = unsigned_pairs(two_rows, _mm_srli_si128(two_rows, 8));
    }
    out->d = load8_halves(p);
    out->dmin = load8_halves(p + DMIN_OFFSET);
}

/* Scale j of each row twice, for vpmaddwd: it scales the two lanes of a row and adds them. */
HEARTH_ALWAYS_INLINE __m256i scale_pairs(const struct kquant_head *head, size_t j)
{
    const __m128i scales = _mm_loadl_epi64((const __m128i *)(const void *)(head->scales + 8 * j));
    return unsigned_pairs(scales, scales);
}

/* Super-block b of one token: g = f32(I) * d, less f32(M) * dmin, times the activations' scale.
 * |M| <= 8 * 63 * 4064 = 2 048 256; |I| <= 8 * 63 * 31 * 127 * 32 = 63 496 944. */
HEARTH_ALWAYS_INLINE __m256 fold_kquant(__m256 acc, __m256i sum, const struct kquant_head *head, const uint8_t *x, size_t k,
                                        size_t b)
{
    const uint8_t *bsum = x + hearth_q8_256_sums32(k) + 16 * b;
    __m256i m = _mm256_madd_epi16(head->min_pairs[0], broadcast_i32(bsum));
    UNROLL
    for (size_t i = 1; i < 4; i++)
        m = _mm256_add_epi32(m, _mm256_madd_epi16(head->min_pairs[i], broadcast_i32(bsum + 4 * i)));
    __m256 g = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), head->d);
    g = _mm256_fnmadd_ps(_mm256_cvtepi32_ps(m), head->dmin, g);
    return _mm256_fmadd_ps(g, broadcast_f32(x + hearth_q8_256_scales(k) + 4 * b), acc);
}

HEARTH_ALWAYS_INLINE void pack_head(uint8_t *out, size_t r, const uint8_t d[2], const uint8_t dmin[2],
                                    const uint8_t field[FIELD_BYTES])
{
    pack_half(out, r, d);
    pack_half(out + DMIN_OFFSET, r, dmin);
    for (size_t i = 0; i < FIELD_BYTES; i++)
        out[FIELD_OFFSET + TILE_ROWS * i + r] = field[i];
}

HEARTH_ALWAYS_INLINE void unpack_head(uint8_t d[2], uint8_t dmin[2], uint8_t field[FIELD_BYTES], const uint8_t *in, size_t r)
{
    memcpy(d, in + 2 * r, 2);
    memcpy(dmin, in + DMIN_OFFSET + 2 * r, 2);
    for (size_t i = 0; i < FIELD_BYTES; i++)
        field[i] = in[FIELD_OFFSET + TILE_ROWS * i + r];
}

/* The file has two sub-blocks in the low and the high nibbles of 32 bytes. */
HEARTH_ALWAYS_INLINE void join_nibbles(uint8_t qs[32], const uint8_t low[32], const uint8_t high[32])
{
    for (size_t i = 0; i < 32; i++)
        qs[i] = (uint8_t)(low[i] | high[i] << 4);
}

#endif
