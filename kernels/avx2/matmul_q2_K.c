/* Q2_K weights times Q8_256 activations. A super-block of 8 rows is 8 halves d, 8 halves dmin, the file's 16 bytes of scales (low)
 * and mins (high), byte j of row r at 8 * j + r, and 8 times 64 bytes of two-bit codes (matmul_kquant16.h): 672 bytes. The tile's
 * end is rounded up to a whole line.
 *
 * A 16-bit lane takes 8 products, half a sub-block, at most 8 * 3 * 127 = 3048; vpmaddwd then scales and widens in one. Sums in
 * int32, and exact in f32: products at most 15 * 3 * 127 * 256 = 1 463 040, mins 15 * 127 * 256 = 487 680. */
#include "avx2/matmul_kquant16.h"

#define DMIN_OFFSET 16
#define FIELD_OFFSET 32
#define HEAD_BYTES (FIELD_OFFSET + 128)
#define BLOCK_BYTES (HEAD_BYTES + 8 * TWO_BITS_BYTES)

/* Sixteen scales and mins of each row. */
HEARTH_ALWAYS_INLINE void decode_scales(uint8_t scales[128], uint8_t mins[128], const uint8_t *p)
{
    UNROLL
    for (size_t i = 0; i < 4; i++) {
        const __m256i both = load32(p + 32 * i);
        _mm256_storeu_si256((__m256i *)(void *)(scales + 32 * i), low_nibbles(both));
        _mm256_storeu_si256((__m256i *)(void *)(mins + 32 * i), high_nibbles(both));
    }
}

HEARTH_ALWAYS_INLINE void multiply(float *y, size_t y_stride, const uint8_t *w, const uint8_t *x, size_t x_stride, size_t rows,
                                   size_t k, size_t tokens, size_t prefetch_bytes)
{
    __m256 acc[TOKENS_MAX];
    __m256i sum[TOKENS_MAX];
    for (size_t t = 0; t < tokens; t++)
        acc[t] = _mm256_setzero_ps();
    for (size_t b = 0; b < k / 256; b++, w += BLOCK_BYTES) {
        uint8_t scales[128], mins[128];
        prefetch(w, HEAD_BYTES, prefetch_bytes);
        decode_scales(scales, mins, w + FIELD_OFFSET);
        for (size_t t = 0; t < tokens; t++)
            sum[t] = _mm256_setzero_si256();
        for (size_t j = 0; j < 8; j++) {
            const uint8_t *packed = w + HEAD_BYTES + j * TWO_BITS_BYTES;
            const __m256i scale0 = scale_pairs(scales, 2 * j, 2 * j);
            const __m256i scale1 = scale_pairs(scales, 2 * j + 1, 2 * j + 1);
            __m256i codes[8];
            prefetch(packed, TWO_BITS_BYTES, prefetch_bytes);
            decode_two_bits(codes, packed);
            for (size_t t = 0; t < tokens; t++) {
                const int8_t *q = (const int8_t *)x + t * x_stride + 256 * b + 32 * j;
                sum[t] = _mm256_add_epi32(sum[t], small_products(codes, q, scale0, scale1));
            }
        }
        const __m256 d = load8_halves(w);
        const __m256 dmin = load8_halves(w + DMIN_OFFSET);
        __m256i pairs[8];
        all_pairs(pairs, mins);
        for (size_t t = 0; t < tokens; t++)
            acc[t] = fold_mins(acc[t], sum[t], pairs, d, dmin, x + t * x_stride, k, b);
    }
    for (size_t t = 0; t < tokens; t++)
        store_rows(y + t * y_stride, acc[t], rows);
}

#define KERNEL(operation) hearth_##operation##_q2_K_avx2
#include "avx2/matmul_tiles.h"

size_t hearth_tile_bytes_q2_K_avx2(size_t k)
{
    return (k / 256 * BLOCK_BYTES + 63) & ~(size_t)63;
}

void hearth_pack_q2_K_avx2(void *tile, const void *file_rows, size_t rows, size_t k)
{
    const struct hearth_block_q2_K *in = file_rows;
    memset(tile, 0, hearth_tile_bytes_q2_K_avx2(k));
    for (size_t r = 0; r < rows; r++)
        for (size_t b = 0; b < k / 256; b++, in++) {
            uint8_t *out = (uint8_t *)tile + b * BLOCK_BYTES;
            pack_half(out, r, in->d);
            pack_half(out + DMIN_OFFSET, r, in->dmin);
            for (size_t j = 0; j < 16; j++)
                out[FIELD_OFFSET + 8 * j + r] = in->scales[j];
            for (int j = 0; j < 8; j++) /* plane j % 4 of half j / 4 */
                pack_two_bits(out + HEAD_BYTES + j * TWO_BITS_BYTES, r, two_bits(in->qs + j / 4 * 32, j % 4));
        }
}

void hearth_unpack_q2_K_avx2(void *file_row, const void *tile, size_t row, size_t k)
{
    struct hearth_block_q2_K *out = file_row;
    memset(out, 0, k / 256 * sizeof *out);
    for (size_t b = 0; b < k / 256; b++, out++) {
        const uint8_t *in = (const uint8_t *)tile + b * BLOCK_BYTES;
        memcpy(out->d, in + 2 * row, 2);
        memcpy(out->dmin, in + DMIN_OFFSET + 2 * row, 2);
        for (size_t j = 0; j < 16; j++)
            out->scales[j] = in[FIELD_OFFSET + 8 * j + row];
        for (size_t j = 0; j < 8; j++)
            for (size_t i = 0; i < 32; i++)
                out->qs[j / 4 * 32 + i] |= (uint8_t)(unpack_two_bits(in + HEAD_BYTES + j * TWO_BITS_BYTES, row, i) << (j % 4 * 2));
    }
}
