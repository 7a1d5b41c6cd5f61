/* IQ4_NL weights times Q8_32 activations. A block of 8 rows is 16 bytes of scales and 128 of nibbles (matmul_block32.h). A nibble
 * stands for a value of a table, -127 ... 113, found by vpshufb; its absolute value comes from a second table. A 16-bit lane takes
 * one pair of products, at most 2 * 127 * 127 = 32 258. */
#include "avx2/matmul_block32.h"

#define WEIGHTS_BYTES 128

HEARTH_ALWAYS_INLINE void decode_two(__m256i absolute[2], __m256i values[2], const uint8_t *p, size_t v)
{
    decode_iq4(absolute, values, p, v);
}

#define KERNEL(operation) hearth_##operation##_iq4_nl_avx2
#define SIGNED 1
#define LANE_GROUPS 1
#define SCALE_GROUPS 8
#define HAS_MIN 0
#define OFFSET_SHIFT 0
#include "avx2/matmul_blocks.h"

size_t hearth_tile_bytes_iq4_nl_avx2(size_t k)
{
    return block32_tile_bytes(k, WEIGHTS_BYTES);
}

void hearth_pack_iq4_nl_avx2(void *tile, const void *file_rows, size_t rows, size_t k)
{
    uint8_t *out = tile;
    const struct hearth_block_iq4_nl *in = file_rows;
    memset(tile, 0, hearth_tile_bytes_iq4_nl_avx2(k));
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < k / 32; j++, in++) {
            pack_half(out + scales_offset(j, WEIGHTS_BYTES), r, in->d);
            pack_nibbles(out + weights_offset(j, WEIGHTS_BYTES), r, file_codes(in->qs));
        }
}

void hearth_unpack_iq4_nl_avx2(void *file_row, const void *tile, size_t row, size_t k)
{
    struct hearth_block_iq4_nl *out = file_row;
    const uint8_t *in = tile;
    for (size_t j = 0; j < k / 32; j++) {
        uint8_t codes[32];
        memcpy(out[j].d, in + scales_offset(j, WEIGHTS_BYTES) + 2 * row, 2);
        unpack_nibbles(codes, in + weights_offset(j, WEIGHTS_BYTES), row);
        for (size_t i = 0; i < 16; i++)
            out[j].qs[i] = (uint8_t)(codes[i] | codes[i + 16] << 4);
    }
}
