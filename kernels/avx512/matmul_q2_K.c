/* Products with Q2_K weights. A super-block of 16 rows: d[16] and dmin[16] as halves, the file's scale bytes as [16][16], each with
 * the scale of a sub-block low and its min high, then 16 vectors of two-bit codes (matmul.h): 1344 bytes, as in the file.
 *
 * A sub-block's dot is at most 3 * 127 * 16 = 6096, times a scale of at most 15, times 16 sub-blocks: 1 463 040; the mins' part is
 * at most 15 * 127 * 256 = 487 680. */
#include "avx512/codes.h"
#include "avx512/kquant_scales.h"

enum { SCALES = 64, TWO_BITS = SCALES + 256, SUPER_BYTES = TWO_BITS + 1024 };
enum { OFFSET = 0, SHORT_SPAN = 32767 / 3 };
#define SUB_BLOCKS 16
#define KERNEL(operation) hearth_##operation##_q2_K_avx512

size_t KERNEL(tile_bytes)(size_t k)
{
    return k / 256 * SUPER_BYTES;
}

HEARTH_ALWAYS_INLINE size_t super_block_at(size_t s, size_t k)
{
    (void)k;
    return s * SUPER_BYTES;
}

HEARTH_ALWAYS_INLINE void read_scales(struct super_scales *out, const uint8_t *tile, size_t s, size_t k)
{
    const uint8_t *p = tile + super_block_at(s, k);
    const __m512i low = _mm512_set1_epi8(15);
    UNROLL
    for (size_t i = 0; i < 4; i++) { /* four sub-blocks at a time */
        const __m512i both = load512(p + SCALES + 64 * i);
        uint8_t bytes[2][64];
        _mm512_storeu_si512(bytes[0], _mm512_and_si512(both, low));
        _mm512_storeu_si512(bytes[1], _mm512_and_si512(_mm512_srli_epi16(both, 4), low));
        widen_scales(out->scale + 4 * i, bytes[0]);
        pair_mins(out->pair + 2 * i, bytes[1]);
    }
    out->d = load_halves(p);
    out->dmin = load_halves(p + 32);
}

HEARTH_ALWAYS_INLINE void read_weights(veci w[8], const uint8_t *super, size_t step)
{
    const uint8_t *codes = super + TWO_BITS + 128 * step;
    split_two_bits(w, codes);
    split_two_bits(w + 4, codes + 64);
}

#include "template/dot_super.h"

void KERNEL(pack)(void *tile, const void *file_rows, size_t rows, size_t k)
{
    const struct hearth_block_q2_K *block = file_rows;
    memset(tile, 0, KERNEL(tile_bytes)(k));
    for (size_t r = 0; r < rows; r++)
        for (size_t s = 0; s < k / 256; s++, block++) {
            uint8_t codes[256];
            codes_of_q2_K(codes, block);
            uint8_t *to = (uint8_t *)tile + super_block_at(s, k);
            memcpy(to + 2 * r, block->d, 2);
            memcpy(to + 32 + 2 * r, block->dmin, 2);
            for (size_t j = 0; j < 16; j++)
                to[SCALES + 16 * j + r] = block->scales[j];
            put_two_bits(to + TWO_BITS, codes, 256, 0, r);
        }
}

void KERNEL(unpack)(void *file_row, const void *tile, size_t row, size_t k)
{
    struct hearth_block_q2_K *block = file_row;
    for (size_t s = 0; s < k / 256; s++, block++) {
        uint8_t codes[256] = {0};
        const uint8_t *from = (const uint8_t *)tile + super_block_at(s, k);
        memcpy(block->d, from + 2 * row, 2);
        memcpy(block->dmin, from + 32 + 2 * row, 2);
        for (size_t j = 0; j < 16; j++)
            block->scales[j] = from[SCALES + 16 * j + row];
        get_two_bits(codes, from + TWO_BITS, 256, 0, row);
        q2_K_of_codes(block, codes);
    }
}
