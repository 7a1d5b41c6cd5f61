/* Q5_0 weights times Q8_32 activations. A block of 8 rows is 16 bytes of scales, then a plane of 32 bytes of fifth bits and 128 of
 * nibbles (matmul_block32.h). The code of a weight is unsigned, 0 ... 31; its offset of 16 is taken off through the sum of the
 * activations. A 16-bit lane takes 8 products, half a block: at most 8 * 31 * 127 = 31 496. */
#include "avx2/matmul_block32.h"

#define PLANE_BYTES 32
#define WEIGHTS_BYTES (PLANE_BYTES + 128)

HEARTH_ALWAYS_INLINE void multiply(float *y, size_t y_stride, const uint8_t *w, const uint8_t *x, size_t x_stride, size_t rows,
                                   size_t k, size_t tokens, size_t prefetch_bytes)
{
    const __m256i ones = _mm256_set1_epi16(1);
    __m256 acc[TOKENS_MAX];
    for (size_t t = 0; t < tokens; t++)
        acc[t] = _mm256_setzero_ps();
    for (size_t j = 0; j < k / 32; j++) {
        const uint8_t *packed = w + weights_offset(j, WEIGHTS_BYTES);
        const __m256 d = load8_halves(w + scales_offset(j, WEIGHTS_BYTES));
        __m256i codes[8];
        prefetch(packed, WEIGHTS_BYTES + 16, prefetch_bytes);
        decode_fifth_bits(codes, packed);
        for (size_t t = 0; t < tokens; t++) {
            const uint8_t *row = x + t * x_stride;
            const int8_t *q = (const int8_t *)row + 32 * j;
            const __m256i low = _mm256_madd_epi16(products_of(codes, q, 4), ones);
            const __m256i high = _mm256_madd_epi16(products_of(codes + 4, q + 16, 4), ones);
            acc[t] = fold_block32(acc[t], _mm256_add_epi32(low, high), d, row, k, j, 4);
        }
    }
    for (size_t t = 0; t < tokens; t++)
        store_rows(y + t * y_stride, acc[t], rows);
}

#define KERNEL(operation) hearth_##operation##_q5_0_avx2
#include "avx2/matmul_tiles.h"

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
            pack_fifth_bits(out + weights_offset(j, WEIGHTS_BYTES), r, bits);
            pack_nibbles(out + weights_offset(j, WEIGHTS_BYTES) + PLANE_BYTES, r, file_codes(in->qs));
        }
}

void hearth_unpack_q5_0_avx2(void *file_row, const void *tile, size_t row, size_t k)
{
    struct hearth_block_q5_0 *out = file_row;
    const uint8_t *in = tile;
    for (size_t j = 0; j < k / 32; j++) {
        uint8_t codes[32];
        memcpy(out[j].d, in + scales_offset(j, WEIGHTS_BYTES) + 2 * row, 2);
        const uint32_t bits = unpack_fifth_bits(in + weights_offset(j, WEIGHTS_BYTES), row);
        memcpy(out[j].qh, &bits, sizeof bits);
        unpack_nibbles(codes, in + weights_offset(j, WEIGHTS_BYTES) + PLANE_BYTES, row);
        for (size_t i = 0; i < 16; i++)
            out[j].qs[i] = (uint8_t)(codes[i] | codes[i + 16] << 4);
    }
}
