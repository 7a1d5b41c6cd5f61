/* Q4_K weights times Q8_256 activations. A super-block of 8 rows is a head of 128 bytes (matmul_kquant.h) and 8 sub-blocks of 128
 * bytes of nibbles: 1152 bytes, 18 lines. A 16-bit lane takes all its 16 products of a sub-block, at most 16 * 15 * 127 = 30 480;
 * vpmaddwd then scales and widens in one. */
#include "avx2/matmul_kquant.h"

#define WEIGHTS_BYTES 128
#define BLOCK_BYTES (HEAD_BYTES + 8 * WEIGHTS_BYTES)

HEARTH_ALWAYS_INLINE void multiply(float *y, size_t y_stride, const uint8_t *w, const uint8_t *x, size_t x_stride, size_t rows,
                                   size_t k, size_t tokens, size_t prefetch_bytes)
{
    __m256 acc[TOKENS_MAX];
    __m256i sum[TOKENS_MAX];
    for (size_t t = 0; t < tokens; t++)
        acc[t] = _mm256_setzero_ps();
    for (size_t b = 0; b < k / 256; b++, w += BLOCK_BYTES) {
        struct kquant_head head;
        prefetch(w, HEAD_BYTES, prefetch_bytes);
        decode_head(&head, w);
        for (size_t t = 0; t < tokens; t++)
            sum[t] = _mm256_setzero_si256();
        for (size_t j = 0; j < 8; j++) {
            const uint8_t *packed = w + HEAD_BYTES + j * WEIGHTS_BYTES;
            const __m256i scales = scale_pairs(&head, j);
            __m256i codes[8];
            prefetch(packed, WEIGHTS_BYTES, prefetch_bytes);
            decode_nibbles(codes, packed);
            for (size_t t = 0; t < tokens; t++) {
                const int8_t *q = (const int8_t *)x + t * x_stride + 256 * b + 32 * j;
                sum[t] = _mm256_add_epi32(sum[t], _mm256_madd_epi16(products_of(codes, q, 8), scales));
            }
        }
        for (size_t t = 0; t < tokens; t++)
            acc[t] = fold_kquant(acc[t], sum[t], &head, x + t * x_stride, k, b);
    }
    for (size_t t = 0; t < tokens; t++)
        store_rows(y + t * y_stride, acc[t], rows);
}

#define KERNEL(operation) hearth_##operation##_q4_K_avx2
#include "avx2/matmul_tiles.h"

size_t hearth_tile_bytes_q4_K_avx2(size_t k)
{
    return k / 256 * BLOCK_BYTES;
}

void hearth_pack_q4_K_avx2(void *tile, const void *file_rows, size_t rows, size_t k)
{
    const struct hearth_block_q4_K *in = file_rows;
    memset(tile, 0, hearth_tile_bytes_q4_K_avx2(k));
    for (size_t r = 0; r < rows; r++)
        for (size_t b = 0; b < k / 256; b++, in++) {
            uint8_t *out = (uint8_t *)tile + b * BLOCK_BYTES;
            pack_head(out, r, in->d, in->dmin, in->scales);
            for (size_t j = 0; j < 8; j += 2) {
                const __m256i qs = load32(in->qs + 16 * j);
                pack_nibbles(out + HEAD_BYTES + j * WEIGHTS_BYTES, r, low_nibbles(qs));
                pack_nibbles(out + HEAD_BYTES + (j + 1) * WEIGHTS_BYTES, r, high_nibbles(qs));
            }
        }
}

void hearth_unpack_q4_K_avx2(void *file_row, const void *tile, size_t row, size_t k)
{
    struct hearth_block_q4_K *out = file_row;
    for (size_t b = 0; b < k / 256; b++, out++) {
        const uint8_t *in = (const uint8_t *)tile + b * BLOCK_BYTES;
        unpack_head(out->d, out->dmin, out->scales, in, row);
        for (size_t j = 0; j < 8; j += 2) {
            uint8_t low[32], high[32];
            unpack_nibbles(low, in + HEAD_BYTES + j * WEIGHTS_BYTES, row);
            unpack_nibbles(high, in + HEAD_BYTES + (j + 1) * WEIGHTS_BYTES, row);
            join_nibbles(out->qs + 16 * j, low, high);
        }
    }
}
