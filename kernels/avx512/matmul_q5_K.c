/* Products with Q5_K weights. A super-block of 16 rows: scales and mins (kquant_scales.h), then for each 32 k 4 vectors of nibbles
 * (matmul.h) and 8 masks of fifth bits (bit 4r + b of mask n is that of k = 4n + b of row r): 2816 bytes, as in the file.
 *
 * A sub-block's dot is at most 31 * 127 * 32 = 125 984, times a scale of at most 63, times
 * 8 sub-blocks: 63 495 936, int32 holds it. */
#include "avx512/codes.h"
#include "avx512/kquant_scales.h"

enum { FIFTH_BITS = 256, STEP_BYTES = FIFTH_BITS + 64, CODES = 256, SUPER_BYTES = CODES + 8 * STEP_BYTES };
enum { OFFSET = 0, SHORT_SPAN = 32767 / 31 };
#define SUB_BLOCKS 8
#define KERNEL(operation) hearth_##operation##_q5_K_avx512

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
    read_scales_and_mins(out, tile + super_block_at(s, k));
}

/* Where 32 k of a super-block begin. */
HEARTH_ALWAYS_INLINE size_t step_at(size_t step)
{
    return CODES + STEP_BYTES * step;
}

HEARTH_ALWAYS_INLINE void read_weights(veci w[8], const uint8_t *super, size_t step)
{
    const uint8_t *codes = super + step_at(step);
    UNROLL
    for (size_t v = 0; v < 4; v++)
        split_nibbles(w + 2 * v, codes + 64 * v);
    UNROLL
    for (size_t n = 0; n < 8; n++)
        w[n] = add_fifth_bits(w[n], codes + FIFTH_BITS + 8 * n);
}

#include "template/dot_super.h"

void KERNEL(pack)(void *tile, const void *file_rows, size_t rows, size_t k)
{
    const struct hearth_block_q5_K *block = file_rows;
    memset(tile, 0, KERNEL(tile_bytes)(k));
    for (size_t r = 0; r < rows; r++)
        for (size_t s = 0; s < k / 256; s++, block++) {
            uint8_t codes[256];
            codes_of_q5_K(codes, block);
            uint8_t *to = (uint8_t *)tile + super_block_at(s, k);
            put_scales_and_mins(to, block->d, block->dmin, block->scales, r);
            for (size_t j = 0; j < 8; j++) {
                put_nibbles(to + step_at(j), codes + 32 * j, 32, r);
                put_fifth_bits(to + step_at(j) + FIFTH_BITS, codes + 32 * j, 32, r);
            }
        }
}

void KERNEL(unpack)(void *file_row, const void *tile, size_t row, size_t k)
{
    struct hearth_block_q5_K *block = file_row;
    for (size_t s = 0; s < k / 256; s++, block++) {
        uint8_t codes[256];
        const uint8_t *from = (const uint8_t *)tile + super_block_at(s, k);
        get_scales_and_mins(block->d, block->dmin, block->scales, from, row);
        for (size_t j = 0; j < 8; j++) {
            get_nibbles(codes + 32 * j, from + step_at(j), 32, row);
            get_fifth_bits(codes + 32 * j, from + step_at(j) + FIFTH_BITS, 32, row);
        }
        q5_K_of_codes(block, codes);
    }
}
