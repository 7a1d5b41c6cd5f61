/* Q5_1 weights times Q8_32 activations. A block of 8 rows is a line of scales and mins, then 160 bytes of
 * codes of five bits (matmul.h; matmul_block32.h). The code of a weight is unsigned, 0 ... 31, without an offset. A 16-bit lane
 * takes 8 products, half a block: at most 8 * 31 * 127 = 31 496. */
#include "avx2/matmul_block32.h"

#define WEIGHTS_BYTES FIVE_BITS_BYTES
#define BLOCK_BYTES (SCALES_BYTES + WEIGHTS_BYTES)

HEARTH_ALWAYS_INLINE void decode_two(__m256i codes[2], __m256i values[2], const uint8_t *p, size_t v)
{
    (void)values;
    decode_five_bits(codes, p, v);
}

#define KERNEL(operation) hearth_##operation##_q5_1_avx2
#define SIGNED 0
#define LANE_GROUPS 4
#define SCALE_GROUPS 8
#define HAS_MIN 1
#define OFFSET_SHIFT 0
#include "avx2/matmul_blocks.h"

size_t hearth_tile_bytes_q5_1_avx2(size_t k)
{
    return (k / 32 * BLOCK_BYTES + 63) & ~(size_t)63;
}

void hearth_pack_q5_1_avx2(void *tile, const void *file_rows, size_t rows, size_t k)
{
    const struct hearth_block_q5_1 *in = file_rows;
    memset(tile, 0, hearth_tile_bytes_q5_1_avx2(k));
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < k / 32; j++, in++) {
            uint8_t *out = (uint8_t *)tile + j * BLOCK_BYTES;
            uint32_t bits;
            memcpy(&bits, in->qh, sizeof bits);
            pack_half(out, r, in->d);
            pack_half(out + MINS_OFFSET, r, in->m);
            pack_five_bits(out + SCALES_BYTES, r, file_codes(in->qs), bits);
        }
}

void hearth_unpack_q5_1_avx2(void *file_row, const void *tile, size_t row, size_t k)
{
    struct hearth_block_q5_1 *out = file_row;
    for (size_t j = 0; j < k / 32; j++) {
        const uint8_t *in = (const uint8_t *)tile + j * BLOCK_BYTES;
        uint8_t codes[32];
        memcpy(out[j].d, in + 2 * row, 2);
        memcpy(out[j].m, in + MINS_OFFSET + 2 * row, 2);
        const uint32_t bits = unpack_five_bits(codes, in + SCALES_BYTES, row);
        memcpy(out[j].qh, &bits, sizeof bits);
        for (size_t i = 0; i < 16; i++)
            out[j].qs[i] = (uint8_t)(codes[i] | codes[i + 16] << 4);
    }
}
