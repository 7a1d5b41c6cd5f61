/* Products with IQ4_XS weights. A super-block of 16 rows: d[16] as halves, the scales' upper bits as [2][16] bytes, their lower
 * ones as [4][16], then 32 vectors of nibbles (matmul.h): 2176 bytes, as in the file. A nibble stands for a value of a table; with
 * 128 added, 1 ... 241, it is an unsigned code.
 *
 * A chain ends at no more than 127 * 127 * 32 = 516 128, times a scale of at most 32, times 8 sub-blocks:
 * 132 128 768, int32 holds it. */
#include "avx512/codes.h"
#include "avx512/kquant_scales.h"

enum { SCALES_H = 32, SCALES_L = 64, NIBBLES = 128, SUPER_BYTES = NIBBLES + 2048 };
enum { OFFSET = 128, SHORT_SPAN = 0 };
#define SUB_BLOCKS 8
#define KERNEL(operation) hearth_##operation##_iq4_xs_avx512

size_t KERNEL(tile_bytes)(size_t k)
{
    return k / 256 * SUPER_BYTES;
}

HEARTH_ALWAYS_INLINE size_t super_block_at(size_t s, size_t k)
{
    (void)k;
    return s * SUPER_BYTES;
}

/* Byte i of scales_l has the lower four bits of scale 2i low and of 2i + 1 high, byte i of scales_h the upper two of scales 4i + 0
 * ... 3, lowest first. */
HEARTH_ALWAYS_INLINE void read_scales(struct super_scales *out, const uint8_t *tile, size_t s, size_t k)
{
    const uint8_t *p = tile + super_block_at(s, k);
    const __m512i four = _mm512_set1_epi8(15);
    const __m512i two = _mm512_set1_epi8(48);
    const __m512i lower = load512(p + SCALES_L);
    const __m512i bytes = _mm512_castsi256_si512(load32(p + SCALES_H));
    /* scales_h as bytes 0, 0, 1, 1 of all rows, so moved that the bits of scales 0, 2, 4, 6 are at bit 4 */
    const __m512i upper = _mm512_sllv_epi64(_mm512_shuffle_i64x2(bytes, bytes, 0x50), _mm512_set_epi64(0, 0, 4, 4, 0, 0, 4, 4));
    const __m512i even = _mm512_or_si512(_mm512_and_si512(lower, four), _mm512_and_si512(upper, two));
    const __m512i odd =
        _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi16(lower, 4), four), _mm512_and_si512(_mm512_srli_epi16(upper, 2), two));
    int8_t scales[2][64];
    _mm512_storeu_si512(scales[0], _mm512_sub_epi8(even, _mm512_set1_epi8(32)));
    _mm512_storeu_si512(scales[1], _mm512_sub_epi8(odd, _mm512_set1_epi8(32)));
    UNROLL
    for (size_t j = 0; j < 8; j++)
        out->scale[j] = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(scales[j % 2] + j / 2 * 16)));
    out->d = load_halves(p);
}

HEARTH_ALWAYS_INLINE void read_weights(veci w[8], const uint8_t *super, size_t step)
{
    const uint8_t *nibbles = super + NIBBLES + 256 * step;
    const __m512i table = _mm512_broadcast_i32x4(iq4_codes());
    UNROLL
    for (size_t v = 0; v < 4; v++)
        split_nibbles(w + 2 * v, nibbles + 64 * v);
    UNROLL
    for (size_t n = 0; n < 8; n++)
        w[n] = _mm512_shuffle_epi8(table, w[n]);
}

#include "template/dot_super.h"

void KERNEL(pack)(void *tile, const void *file_rows, size_t rows, size_t k)
{
    const struct hearth_block_iq4_xs *block = file_rows;
    memset(tile, 0, KERNEL(tile_bytes)(k));
    for (size_t r = 0; r < rows; r++)
        for (size_t s = 0; s < k / 256; s++, block++) {
            uint8_t nibbles[256];
            for (size_t j = 0; j < 8; j++)
                store32(nibbles + 32 * j, nibbles32(block->qs + 16 * j));
            uint8_t *to = (uint8_t *)tile + super_block_at(s, k);
            memcpy(to + 2 * r, block->d, 2);
            for (size_t i = 0; i < 2; i++)
                to[SCALES_H + 16 * i + r] = block->scales_h[i];
            for (size_t i = 0; i < 4; i++)
                to[SCALES_L + 16 * i + r] = block->scales_l[i];
            put_nibbles(to + NIBBLES, nibbles, 256, r);
        }
}

void KERNEL(unpack)(void *file_row, const void *tile, size_t row, size_t k)
{
    struct hearth_block_iq4_xs *block = file_row;
    for (size_t s = 0; s < k / 256; s++, block++) {
        uint8_t nibbles[256];
        const uint8_t *from = (const uint8_t *)tile + super_block_at(s, k);
        memcpy(block->d, from + 2 * row, 2);
        for (size_t i = 0; i < 2; i++)
            block->scales_h[i] = from[SCALES_H + 16 * i + row];
        for (size_t i = 0; i < 4; i++)
            block->scales_l[i] = from[SCALES_L + 16 * i + row];
        get_nibbles(nibbles, from + NIBBLES, 256, row);
        for (size_t j = 0; j < 8; j++)
            put_nibbles32(block->qs + 16 * j, load32(nibbles + 32 * j));
    }
}
