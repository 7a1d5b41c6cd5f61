/* Q5_0 weights times Q8_32 activations. A block of 8 rows is 16 bytes of scales, then 160 bytes of codes of five bits (matmul.h;
 * matmul_block32.h). The code of a weight is unsigned, 0 ... 31; its offset of 16 is taken off through the sum of the
 * activations. A 16-bit lane takes 8 products, half a block: at most 8 * 31 * 127 = 31 496. */
#include "avx2/matmul_block32.h"

#define WEIGHTS_BYTES FIVE_BITS_BYTES

HEARTH_ALWAYS_INLINE void decode_two(__m256i codes[2], __m256i values[2], const uint8_t *p, size_t v)
{
    (void)values;
    decode_five_bits(codes, p, v);
}

#define KERNEL(operation) hearth_##operation##_q5_0_avx2
#define SIGNED 0
#define LANE_GROUPS 4
#define SCALE_GROUPS 8
#define HAS_MIN 0
#define OFFSET_SHIFT 4
#include "avx2/matmul_blocks.h"

size_t hearth_tile_bytes_q5_0_avx2(size_t k)
{
    return block32_tile_bytes(k, WEIGHTS_BYTES);
}

void hearth_pack_q5_0_avx2(void *tile, const void *file_rows, size_t rows, size_t k)
{
    uint8_t *out = tile;
    const struct hearth_block_q5_0 *in = file_rows;
    memset(tile, 0, hearth_tile_bytes_q5_0_avx2(k));
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < k / 32; j++, in++) {
            uint32_t bits;
            memcpy(&bits, in->qh, sizeof bits);
            pack_half(out + scales_offset(j, WEIGHTS_BYTES), r, in->d);
            pack_five_bits(out + weights_offset(j, WEIGHTS_BYTES), r, file_codes(in->qs), bits);
        }
}

void hearth_unpack_q5_0_avx2(void *file_row, const void *tile, size_t row, size_t k)
{
    struct hearth_block_q5_0 *out = file_row;
    const uint8_t *in = tile;
    for (size_t j = 0; j < k / 32; j++) {
        uint8_t codes[32];
        memcpy(out[j].d, in + scales_offset(j, WEIGHTS_BYTES) + 2 * row, 2);
        const uint32_t bits = unpack_five_bits(codes, in + weights_offset(j, WEIGHTS_BYTES), row);
        memcpy(out[j].qh, &bits, sizeof bits);
        for (size_t i = 0; i < 16; i++)
            out[j].qs[i] = (uint8_t)(codes[i] | codes[i + 16] << 4);
    }
}
