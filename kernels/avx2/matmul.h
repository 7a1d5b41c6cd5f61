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
#define TOKENS_AT_ONCE 128                    /* of panels; sums of 16 rows: 8 KB of stack */
#define ACTIVATION_BYTES ((size_t)384 * 1024) /* of a walk over the rows: they stay in L2 */

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

/* Asks for the lines that a single token's walk reaches a little later; hardware prefetchers stop at page borders. Beyond the tile
 * there may be nothing: a prefetch never faults. */
HEARTH_ALWAYS_INLINE void prefetch(const uint8_t *w, size_t bytes, size_t prefetch_bytes)
{
    for (size_t i = 0; i < bytes; i += 64)
        _mm_prefetch((const char *)w + prefetch_bytes + i, _MM_HINT_T0);
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

/* A word's bits moved up, or down where up < 0: `up` is a constant wherever this is inlined. */
HEARTH_ALWAYS_INLINE __m256i move_up(__m256i bits, int up)
{
    return up < 0 ? _mm256_srli_epi16(bits, -up) : _mm256_slli_epi16(bits, up);
}

/* The same with a fifth bit: 32 bytes before the nibbles, whose bit n belongs to group n. 0 ... 31. */
HEARTH_ALWAYS_INLINE void decode_fifth_bits(__m256i w[2], const uint8_t *p, size_t v)
{
    const __m256i mask = _mm256_set1_epi8(16);
    const __m256i plane = load32(p);
    decode_nibbles(w, p + 32, v);
    UNROLL
    for (int i = 0; i < 2; i++) /* shifts of 16-bit lanes: what crosses a byte's border is masked away */
        w[i] = _mm256_or_si256(w[i], _mm256_and_si256(move_up(plane, 4 - 2 * (int)v - i), mask));
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

/* ---- Walks ------------------------------------------------------------------------------------------------------- */

/* A walk over the rows takes as many tokens as stay in L2 together, in even parts; but so many at least that unpacking pays. */
static inline size_t parts_of_tokens(size_t tokens, size_t x_stride)
{
    const size_t fit = ACTIVATION_BYTES / x_stride;
    const size_t most = fit < TOKENS_AT_ONCE / 2 ? TOKENS_AT_ONCE / 2 : fit > TOKENS_AT_ONCE ? TOKENS_AT_ONCE : fit;
    return (tokens + most - 1) / most;
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

/* Bit j of 32 bytes of a super-block of the file, that of byte i to bit i. */
HEARTH_ALWAYS_INLINE uint32_t file_bits(const uint8_t bytes[32], int j)
{
    const __m256i top = _mm256_sll_epi16(load32(bytes), _mm_cvtsi32_si128(7 - j)); /* bit j of each byte is its sign now */
    return (uint32_t)_mm256_movemask_epi8(top);
}

/* Bit k of bits, the fifth bit of code k = 4n + b, becomes bit n of byte 4r + b of the plane. */
HEARTH_ALWAYS_INLINE void pack_fifth_bits(uint8_t *plane, size_t r, uint32_t bits)
{
    for (size_t b = 0; b < 4; b++)
        plane[4 * r + b] = (uint8_t)_pext_u32(bits, 0x11111111u << b);
}

HEARTH_ALWAYS_INLINE uint32_t unpack_fifth_bits(const uint8_t *plane, size_t r)
{
    uint32_t bits = 0;
    for (size_t b = 0; b < 4; b++)
        bits |= _pdep_u32(plane[4 * r + b], 0x11111111u << b);
    return bits;
}

/* The half float of row r among the eight of a line. */
HEARTH_ALWAYS_INLINE void pack_half(uint8_t *line, size_t r, const uint8_t half[2])
{
    memcpy(line + 2 * r, half, 2);
}

#endif
