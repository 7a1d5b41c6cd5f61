/* Q4_K and Q5_K: the head of a super-block of 8 rows (scales, mins, their 6-bit fields), which the two share.
 *
 *   0  d, 8 halves         16  dmin, 8 halves         32  the 12 bytes of the 6-bit field, byte i of all rows at 32 + 8 * i */
#ifndef HEARTH_AVX2_MATMUL_KQUANT_HEAD_H
#define HEARTH_AVX2_MATMUL_KQUANT_HEAD_H

#include "avx2/matmul_kquant.h"

#define DMIN_OFFSET 16
#define FIELD_OFFSET 32
#define FIELD_BYTES 12
#define HEAD_BYTES (FIELD_OFFSET + FIELD_BYTES * TILE_ROWS)

/* Spec, section 6.3: of the three quarters a, b, c of the field (4 bytes of 8 rows each), the low six bits of a and b are scales
 * and mins 0 ... 3; those of 4 ... 7 have four bits in c and two on top of a and b. */
HEARTH_ALWAYS_INLINE void decode_head(struct super_block *out, uint8_t room[ROOM_BYTES], const uint8_t *p)
{
    const __m256i six = _mm256_set1_epi8(63);
    const __m256i four = _mm256_set1_epi8(15);
    const __m256i two = _mm256_set1_epi8(48);
    const __m256i a = load32(p + FIELD_OFFSET);
    const __m256i b = load32(p + FIELD_OFFSET + 32);
    const __m256i c = load32(p + FIELD_OFFSET + 64);
    const __m256i above_a = _mm256_and_si256(_mm256_srli_epi16(a, 2), two);
    const __m256i above_b = _mm256_and_si256(_mm256_srli_epi16(b, 2), two);
    const __m256i mins_high = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(c, 4), four), above_b);
    out->scales = room;
    store32(room, _mm256_and_si256(a, six));
    store32(room + 32, _mm256_or_si256(_mm256_and_si256(c, four), above_a));
    store32(room + 64, _mm256_and_si256(b, six));
    store32(room + 96, mins_high);
    all_pairs(out->pairs, room + 64, 8);
    out->d = load8_halves(p);
    out->dmin = load8_halves(p + DMIN_OFFSET);
}

/* |M| <= 8 * 63 * 4064 = 2 048 256; |I| <= 8 * 63 * 31 * 127 * 32 = 63 496 944. */
HEARTH_ALWAYS_INLINE __m256 fold(__m256 acc, __m256i sum, const struct super_block *block, const struct hearth_q8_256 *x)
{
    return fold_mins(acc, sum, block, 4, x);
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
