/* What the quantized products of this folder share: tiles of 8 rows, each row four bytes of a 32-byte vector, against activations
 * whose next four bytes are broadcast to all rows. The vector of group n holds, in byte 4 * r + b, weight k = 4 * n + b of row r;
 * packed nibbles hold groups 2v (low) and 2v + 1 (high) in vector v.
 *
 * Few tokens: weights are decoded in registers where they are multiplied (matmul_few.h). Many: matmul_panel.h. */
#ifndef HEARTH_AVX2_MATMUL_H
#define HEARTH_AVX2_MATMUL_H

#include "avx2/avx2.h"
#include "common/attributes.h"
#include "reference/decode.h"
#include "template/unroll.h"
#include <immintrin.h>
#include <string.h>

#define TILE_ROWS 8

#include "template/prefetch.h"
#include "template/product.h"

/* ---- Loads ------------------------------------------------------------------------------------------------------- */

HEARTH_ALWAYS_INLINE __m256i load32(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

HEARTH_ALWAYS_INLINE void store32(void *p, __m256i v)
{
    _mm256_storeu_si256((__m256i *)p, v);
}

HEARTH_ALWAYS_INLINE __m256 load8_halves(const void *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}

HEARTH_ALWAYS_INLINE __m256i broadcast_i32(const void *p)
{
    int32_t i;
    memcpy(&i, p, sizeof i);
    return _mm256_set1_epi32(i);
}

HEARTH_ALWAYS_INLINE __m256 broadcast_f32(const void *p)
{
    float f;
    memcpy(&f, p, sizeof f);
    return _mm256_set1_ps(f);
}

/* ---- Decoding ---------------------------------------------------------------------------------------------------- */

/* The low nibbles of 32 bytes, and the high ones. */
HEARTH_ALWAYS_INLINE __m256i low_nibbles(__m256i bytes)
{
    return _mm256_and_si256(bytes, _mm256_set1_epi8(15));
}

HEARTH_ALWAYS_INLINE __m256i high_nibbles(__m256i bytes)
{
    return low_nibbles(_mm256_srli_epi16(bytes, 4));
}

/* Of four packed vectors, 32 weights of each row, number v: groups 2v and 2v + 1, 0 ... 15. */
HEARTH_ALWAYS_INLINE void decode_nibbles(__m256i w[2], const uint8_t *p, size_t v)
{
    w[0] = low_nibbles(load32(p + 32 * v));
    w[1] = high_nibbles(load32(p + 32 * v));
}

/* Codes of five bits: 32 k of 8 rows are five vectors. Their lower five bits are groups 0 ... 4; vectors 0 and 2 have above them
 * the bits 2-4 of groups 5 and 6, whose bits 0-1 are on top of vectors 1 and 3; vector 4 has the bits 2-4 of group 7, whose bits 1
 * and 0 are bit 5 of vectors 1 and 3. */
#define FIVE_BITS_BYTES 160

/* Groups 2v and 2v + 1 of 32 k, 0 ... 31. Shifts of 16-bit lanes: nothing crosses a byte's border, all else is masked away before.
 */
HEARTH_ALWAYS_INLINE void decode_five_bits(__m256i w[2], const uint8_t *p, size_t v)
{
    const __m256i five = _mm256_set1_epi8(31);
    const __m256i two = _mm256_set1_epi8(-64);
    const __m256i one = _mm256_set1_epi8(32);
    if (v < 2) {
        w[0] = _mm256_and_si256(load32(p + 64 * v), five);
        w[1] = _mm256_and_si256(load32(p + 64 * v + 32), five);
        return;
    }
    const __m256i last = load32(p + 128);
    const __m256i upper = _mm256_andnot_si256(five, load32(p + 64 * (v - 2)));
    const __m256i lower = _mm256_srli_epi16(_mm256_and_si256(load32(p + 64 * (v - 2) + 32), two), 3);
    const __m256i above = _mm256_srli_epi16(_mm256_or_si256(upper, lower), 3);
    w[0] = v == 2 ? _mm256_and_si256(last, five) : above;
    if (v == 2) {
        w[1] = above;
        return;
    }
    const __m256i bit1 = _mm256_srli_epi16(_mm256_and_si256(load32(p + 32), one), 1);
    const __m256i bit0 = _mm256_srli_epi16(_mm256_and_si256(load32(p + 96), one), 2);
    w[1] = _mm256_srli_epi16(_mm256_or_si256(_mm256_andnot_si256(five, last), _mm256_or_si256(bit1, bit0)), 3);
}

/* The values of IQ4_NL's and IQ4_XS's nibbles, and their absolute values: two groups of nibbles become both. */
HEARTH_ALWAYS_INLINE void decode_iq4(__m256i absolute[2], __m256i values[2], const uint8_t *p, size_t v)
{
    const __m256i table = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)hearth_iq4_values));
    const __m256i absolute_table = _mm256_abs_epi8(table);
    decode_nibbles(values, p, v);
    UNROLL
    for (size_t n = 0; n < 2; n++) {
        absolute[n] = _mm256_shuffle_epi8(absolute_table, values[n]);
        values[n] = _mm256_shuffle_epi8(table, values[n]);
    }
}

/* ---- Results ---------------------------------------------------------------------------------------------------- */

/* One token's results; the last tile of a tensor may have fewer than 8 rows. */
HEARTH_ALWAYS_INLINE void store_rows(float *y, __m256 acc, size_t rows)
{
    if (rows >= TILE_ROWS) {
        _mm256_storeu_ps(y, acc);
        return;
    }
    float all[TILE_ROWS];
    _mm256_storeu_ps(all, acc);
    memcpy(y, all, rows * sizeof *y);
}

/* ---- Packing ----------------------------------------------------------------------------------------------------- */

/* The 32 codes of one of the file's blocks of 32, and of IQ4_XS's sub-blocks, in order: the low nibbles of its 16 bytes, then the
 * high ones. */
HEARTH_ALWAYS_INLINE __m256i file_codes(const uint8_t qs[16])
{
    const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)qs);
    return low_nibbles(_mm256_setr_m128i(bytes, _mm_srli_epi16(bytes, 4)));
}

/* The four dwords in the even places of eight go to byte 4 * r of four vectors. */
HEARTH_ALWAYS_INLINE void store_even_dwords(uint8_t *block, size_t r, __m256i dwords)
{
    const __m128i above = _mm256_extracti128_si256(dwords, 1);
    const int32_t four[4] = {_mm_cvtsi128_si32(_mm256_castsi256_si128(dwords)), _mm256_extract_epi32(dwords, 2),
                             _mm_cvtsi128_si32(above), _mm_extract_epi32(above, 2)};
    UNROLL
    for (size_t v = 0; v < 4; v++)
        memcpy(block + 32 * v + 4 * r, &four[v], 4);
}

/* Places 32 codes of row r, 0 ... 15 each, into the nibbles of a block of 128 bytes. */
HEARTH_ALWAYS_INLINE void pack_nibbles(uint8_t *block, size_t r, __m256i codes)
{
    const __m256i next = _mm256_srli_epi64(codes, 32); /* the odd group of each two, below its neighbour */
    store_even_dwords(block, r, _mm256_or_si256(codes, _mm256_slli_epi32(next, 4)));
}

HEARTH_ALWAYS_INLINE void unpack_nibbles(uint8_t codes[32], const uint8_t *block, size_t r)
{
    for (size_t v = 0; v < 4; v++) {
        uint32_t both;
        memcpy(&both, block + 32 * v + 4 * r, 4);
        const uint32_t low = both & 0x0f0f0f0fu;
        const uint32_t high = (both >> 4) & 0x0f0f0f0fu;
        memcpy(codes + 8 * v, &low, 4);
        memcpy(codes + 8 * v + 4, &high, 4);
    }
}

/* Places 32 codes of row r, their lower four bits in bytes and their fifth in a word. */
HEARTH_ALWAYS_INLINE void pack_five_bits(uint8_t *block, size_t r, __m256i nibbles, uint32_t fifth)
{
    uint32_t group[8];
    store32(group, nibbles);
    for (size_t n = 0; n < 8; n++)
        group[n] |= _pdep_u32(fifth >> (4 * n), 0x10101010u);
    const uint32_t vectors[5] = {
        group[0] | (group[5] << 3 & 0xe0e0e0e0u), group[1] | (group[5] << 6 & 0xc0c0c0c0u) | (group[7] << 4 & 0x20202020u),
        group[2] | (group[6] << 3 & 0xe0e0e0e0u), group[3] | (group[6] << 6 & 0xc0c0c0c0u) | (group[7] << 5 & 0x20202020u),
        group[4] | (group[7] << 3 & 0xe0e0e0e0u),
    };
    for (size_t i = 0; i < 5; i++)
        memcpy(block + 32 * i + 4 * r, &vectors[i], 4);
}

/* The way back; returns the fifth bits. */
HEARTH_ALWAYS_INLINE uint32_t unpack_five_bits(uint8_t nibbles[32], const uint8_t *block, size_t r)
{
    uint32_t v[5];
    for (size_t i = 0; i < 5; i++)
        memcpy(&v[i], block + 32 * i + 4 * r, 4);
    const uint32_t group[8] = {
        v[0],
        v[1],
        v[2],
        v[3],
        v[4],
        (v[0] >> 3 & 0x1c1c1c1cu) | (v[1] >> 6 & 0x03030303u),
        (v[2] >> 3 & 0x1c1c1c1cu) | (v[3] >> 6 & 0x03030303u),
        (v[4] >> 3 & 0x1c1c1c1cu) | (v[1] >> 4 & 0x02020202u) | (v[3] >> 5 & 0x01010101u),
    };
    uint32_t fifth = 0;
    for (size_t n = 0; n < 8; n++) {
        const uint32_t low = group[n] & 0x0f0f0f0fu;
        memcpy(nibbles + 4 * n, &low, 4);
        fifth |= _pext_u32(group[n], 0x10101010u) << (4 * n);
    }
    return fifth;
}

/* Bit j of 32 bytes of a super-block of the file, that of byte i to bit i. */
HEARTH_ALWAYS_INLINE uint32_t file_bits(const uint8_t bytes[32], int j)
{
    const __m256i top = _mm256_sll_epi16(load32(bytes), _mm_cvtsi32_si128(7 - j)); /* bit j of each byte is its sign now */
    return (uint32_t)_mm256_movemask_epi8(top);
}

/* The half float of row r among the eight of a line. */
HEARTH_ALWAYS_INLINE void pack_half(uint8_t *line, size_t r, const uint8_t half[2])
{
    memcpy(line + 2 * r, half, 2);
}

#endif
