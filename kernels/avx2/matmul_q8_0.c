/* Q8_0 weights times Q8_32 activations. A block of 8 rows is 16 bytes of scales and 256 of codes, a vector for each group of 4 k
 * (matmul_block32.h). The products are of signed weights; the code -128, which other programs may write, has the absolute value 128
 * as an unsigned byte. */
#include "avx2/matmul_block32.h"

#define WEIGHTS_BYTES 256

HEARTH_ALWAYS_INLINE void decode_two(__m256i absolute[2], __m256i values[2], const uint8_t *p, size_t v)
{
    UNROLL
    for (size_t n = 0; n < 2; n++) {
        values[n] = load32(p + 64 * v + 32 * n);
        absolute[n] = _mm256_abs_epi8(values[n]);
    }
}

#define KERNEL(operation) hearth_##operation##_q8_0_avx2
#define SIGNED 1
#define LANE_GROUPS 1
#define SCALE_GROUPS 8
#define HAS_MIN 0
#define OFFSET_SHIFT 0
#include "avx2/matmul_blocks.h"

size_t hearth_tile_bytes_q8_0_avx2(size_t k)
{
    return block32_tile_bytes(k, WEIGHTS_BYTES);
}

void hearth_pack_q8_0_avx2(void *tile, const void *file_rows, size_t rows, size_t k)
{
    uint8_t *out = tile;
    const struct hearth_block_q8_0 *in = file_rows;
    memset(tile, 0, hearth_tile_bytes_q8_0_avx2(k));
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < k / 32; j++, in++) {
            pack_half(out + scales_offset(j, WEIGHTS_BYTES), r, in->d);
            for (size_t n = 0; n < 8; n++)
                memcpy(out + weights_offset(j, WEIGHTS_BYTES) + 32 * n + 4 * r, in->qs + 4 * n, 4);
        }
}

void hearth_unpack_q8_0_avx2(void *file_row, const void *tile, size_t row, size_t k)
{
    struct hearth_block_q8_0 *out = file_row;
    const uint8_t *in = tile;
    for (size_t j = 0; j < k / 32; j++) {
        memcpy(out[j].d, in + scales_offset(j, WEIGHTS_BYTES) + 2 * row, 2);
        for (size_t n = 0; n < 8; n++)
            memcpy(out[j].qs + 4 * n, in + weights_offset(j, WEIGHTS_BYTES) + 32 * n + 4 * row, 4);
    }
}
