/* Q5_K weights times Q8_256 activations. A super-block of 8 rows is a head of 128 bytes (matmul_kquant.h) and 8 sub-blocks of a
 * plane of 32 bytes of fifth bits and 128 of nibbles: 1408 bytes, 22 lines. A 16-bit lane takes 8 products, half a sub-block: at
 * most 8 * 31 * 127 = 31 496; vpmaddwd then scales and widens in one. */
#include "avx2/matmul_kquant.h"

#define PLANE_BYTES 32
#define WEIGHTS_BYTES (PLANE_BYTES + 128)
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
            decode_fifth_bits(codes, packed);
            for (size_t t = 0; t < tokens; t++) {
                const int8_t *q = (const int8_t *)x + t * x_stride + 256 * b + 32 * j;
                sum[t] = _mm256_add_epi32(sum[t], _mm256_madd_epi16(products_of(codes, q, 4), scales));
                sum[t] = _mm256_add_epi32(sum[t], _mm256_madd_epi16(products_of(codes + 4, q + 16, 4), scales));
            }
        }
        for (size_t t = 0; t < tokens; t++)
            acc[t] = fold_kquant(acc[t], sum[t], &head, x + t * x_stride, k, b);
    }
    for (size_t t = 0; t < tokens; t++)
        store_rows(y + t * y_stride, acc[t], rows);
}

#define KERNEL(operation) hearth_##operation##_q5_K_avx2
#include "avx2/matmul_tiles.h"

size_t hearth_tile_bytes_q5_K_avx2(size_t k)
{
    return k / 256 * BLOCK_BYTES;
}

void hearth_pack_q5_K_avx2(void *tile, const void *file_rows, size_t rows, size_t k)
{
    const struct hearth_block_q5_K *in = file_rows;
    memset(tile, 0, hearth_tile_bytes_q5_K_avx2(k));
    for (size_t r = 0; r < rows; r++)
        for (size_t b = 0; b < k / 256; b++, in++) {
            uint8_t *out = (uint8_t *)tile + b * BLOCK_BYTES;
            uint8_t *packed = out + HEAD_BYTES;
            pack_head(out, r, in->d, in->dmin, in->scales);
            for (int j = 0; j < 8; j += 2, packed += 2 * WEIGHTS_BYTES) {
                const __m256i qs = load32(in->qs + 16 * j);
                pack_fifth_bits(packed, r, file_bits(in->qh, j));
                pack_nibbles(packed + PLANE_BYTES, r, low_nibbles(qs));
                pack_fifth_bits(packed + WEIGHTS_BYTES, r, file_bits(in->qh, j + 1));
                pack_nibbles(packed + WEIGHTS_BYTES + PLANE_BYTES, r, high_nibbles(qs));
            }
        }
}

void hearth_unpack_q5_K_avx2(void *file_row, const void *tile, size_t row, size_t k)
{
    struct hearth_block_q5_K *out = file_row;
    for (size_t b = 0; b < k / 256; b++, out++) {
        const uint8_t *in = (const uint8_t *)tile + b * BLOCK_BYTES;
        unpack_head(out->d, out->dmin, out->scales, in, row);
        memset(out->qh, 0, sizeof out->qh);
        for (size_t j = 0; j < 8; j += 2) {
            const uint8_t *packed = in + HEAD_BYTES + j * WEIGHTS_BYTES;
            const uint32_t bits_low = unpack_fifth_bits(packed, row);
            const uint32_t bits_high = unpack_fifth_bits(packed + WEIGHTS_BYTES, row);
            uint8_t low[32], high[32];
            unpack_nibbles(low, packed + PLANE_BYTES, row);
            unpack_nibbles(high, packed + WEIGHTS_BYTES + PLANE_BYTES, row);
            join_nibbles(out->qs + 16 * j, low, high);
            for (size_t i = 0; i < 32; i++)
                out->qh[i] |= (uint8_t)((bits_low >> i & 1) << j | (bits_high >> i & 1) << (j + 1));
        }
    }
}
