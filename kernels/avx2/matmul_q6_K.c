/* Q6_K weights times Q8_256 activations. A tile begins with the scales d of all its super-blocks, 8 halves each, rounded up to
 * whole lines; then each super-block has 128 bytes of sub-block scales, scale j of row r at 8 * j + r, and 8 times, for 32 k each,
 * two vectors of upper bits and four of nibbles: 1664 bytes, 26 lines. Bits 2i and 2i + 1 of an upper vector belong to its group i.
 *
 * The code of a weight is unsigned, 0 ... 63; its offset of 32 is taken off through the sums of the activations. A 16-bit lane
 * takes 4 products, at most 4 * 63 * 127 = 32 004; vpmaddwd then scales and widens in one. Sums in int32: products at most 128 * 63
 * * 127 * 256 = 262 176 768, offsets 128 * 32 * 127 * 256 = 133 169 152, their difference 133 169 152. */
#include "avx2/matmul_kquant16.h"

#define D_BYTES 16
#define SCALES_BYTES 128
#define UPPER_BYTES TWO_BITS_BYTES
#define WEIGHTS_BYTES (UPPER_BYTES + 128)
#define BLOCK_BYTES (SCALES_BYTES + 8 * WEIGHTS_BYTES)

static inline size_t all_d_bytes(size_t k)
{
    return (k / 256 * D_BYTES + 63) & ~(size_t)63;
}

/* Eight groups, 32 weights of each row, 0 ... 63. */
HEARTH_ALWAYS_INLINE void decode_codes(__m256i w[8], const uint8_t *p)
{
    const __m256i mask = _mm256_set1_epi8(48);
    decode_nibbles(w, p + UPPER_BYTES);
    UNROLL
    for (size_t i = 0; i < 2; i++) { /* shifts of 16-bit lanes: what crosses a byte's border is masked away */
        const __m256i upper = load32(p + 32 * i);
        w[4 * i] = _mm256_or_si256(w[4 * i], _mm256_and_si256(_mm256_slli_epi16(upper, 4), mask));
        w[4 * i + 1] = _mm256_or_si256(w[4 * i + 1], _mm256_and_si256(_mm256_slli_epi16(upper, 2), mask));
        w[4 * i + 2] = _mm256_or_si256(w[4 * i + 2], _mm256_and_si256(upper, mask));
        w[4 * i + 3] = _mm256_or_si256(w[4 * i + 3], _mm256_and_si256(_mm256_srli_epi16(upper, 2), mask));
    }
}

/* Two sub-blocks of 16 of one token: the sums of their products, each times its scale. */
HEARTH_ALWAYS_INLINE __m256i scaled_products(const __m256i codes[8], const int8_t *q, __m256i scale0, __m256i scale1)
{
    const __m256i a = _mm256_madd_epi16(products_of(codes, q, 2), scale0);
    const __m256i b = _mm256_madd_epi16(products_of(codes + 2, q + 8, 2), scale0);
    const __m256i c = _mm256_madd_epi16(products_of(codes + 4, q + 16, 2), scale1);
    const __m256i d = _mm256_madd_epi16(products_of(codes + 6, q + 24, 2), scale1);
    return _mm256_add_epi32(_mm256_add_epi32(a, b), _mm256_add_epi32(c, d));
}

HEARTH_ALWAYS_INLINE void multiply(float *y, size_t y_stride, const uint8_t *w, const uint8_t *x, size_t x_stride, size_t rows,
                                   size_t k, size_t tokens, size_t prefetch_bytes)
{
    const uint8_t *scales = w + all_d_bytes(k);
    __m256 acc[TOKENS_MAX];
    __m256i sum[TOKENS_MAX];
    for (size_t t = 0; t < tokens; t++)
        acc[t] = _mm256_setzero_ps();
    for (size_t b = 0; b < k / 256; b++, scales += BLOCK_BYTES) {
        prefetch(scales, SCALES_BYTES, prefetch_bytes);
        for (size_t t = 0; t < tokens; t++)
            sum[t] = _mm256_setzero_si256();
        for (size_t j = 0; j < 8; j++) {
            const uint8_t *packed = scales + SCALES_BYTES + j * WEIGHTS_BYTES;
            const __m256i scale0 = scale_pairs(scales, 2 * j, 2 * j);
            const __m256i scale1 = scale_pairs(scales, 2 * j + 1, 2 * j + 1);
            __m256i codes[8];
            prefetch(packed, WEIGHTS_BYTES, prefetch_bytes);
            decode_codes(codes, packed);
            for (size_t t = 0; t < tokens; t++) {
                const int8_t *q = (const int8_t *)x + t * x_stride + 256 * b + 32 * j;
                sum[t] = _mm256_add_epi32(sum[t], scaled_products(codes, q, scale0, scale1));
            }
        }
        const __m256 d = load8_halves(w + D_BYTES * b);
        __m256i pairs[8];
        all_pairs(pairs, scales);
        for (size_t t = 0; t < tokens; t++)
            acc[t] = fold_offset(acc[t], sum[t], pairs, 5, d, x + t * x_stride, k, b);
    }
    for (size_t t = 0; t < tokens; t++)
        store_rows(y + t * y_stride, acc[t], rows);
}

#define KERNEL(operation) hearth_##operation##_q6_K_avx2
#include "avx2/matmul_tiles.h"

size_t hearth_tile_bytes_q6_K_avx2(size_t k)
{
    return all_d_bytes(k) + k / 256 * BLOCK_BYTES;
}

/* The file's arrangement (spec, section 6.6): of half h, the 32 elements of plane p have their low bits in the low (p < 2) or high
 * nibbles of the bytes 64 * h + 32 * (p % 2), and their upper bits in the bits 2p, 2p + 1 of the bytes 32 * h of qh. */
static inline void pack_plane(uint8_t *packed, size_t r, const uint8_t low_bytes[32], const uint8_t upper_bytes[32], int p)
{
    const __m256i low = p < 2 ? low_nibbles(load32(low_bytes)) : high_nibbles(load32(low_bytes));
    pack_two_bits(packed, r, two_bits(upper_bytes, p));
    pack_nibbles(packed + UPPER_BYTES, r, low);
}

static void unpack_plane(uint8_t low_bytes[32], uint8_t upper_bytes[32], const uint8_t *packed, size_t r, int p)
{
    uint8_t low[32];
    unpack_nibbles(low, packed + UPPER_BYTES, r);
    for (size_t k = 0; k < 32; k++) {
        low_bytes[k] |= (uint8_t)(low[k] << (p / 2 * 4));
        upper_bytes[k] |= (uint8_t)(unpack_two_bits(packed, r, k) << (2 * p));
    }
}

void hearth_pack_q6_K_avx2(void *tile, const void *file_rows, size_t rows, size_t k)
{
    const struct hearth_block_q6_K *in = file_rows;
    memset(tile, 0, hearth_tile_bytes_q6_K_avx2(k));
    for (size_t r = 0; r < rows; r++)
        for (size_t b = 0; b < k / 256; b++, in++) {
            uint8_t *out = (uint8_t *)tile + all_d_bytes(k) + b * BLOCK_BYTES;
            pack_half((uint8_t *)tile + D_BYTES * b, r, in->d);
            for (size_t j = 0; j < 16; j++)
                memcpy(out + 8 * j + r, in->scales + j, 1);
            for (int j = 0; j < 8; j++) /* plane j % 4 of half j / 4 */
                pack_plane(out + SCALES_BYTES + j * WEIGHTS_BYTES, r, in->ql + j / 4 * 64 + j % 2 * 32, in->qh + j / 4 * 32, j % 4);
        }
}

void hearth_unpack_q6_K_avx2(void *file_row, const void *tile, size_t row, size_t k)
{
    struct hearth_block_q6_K *out = file_row;
    memset(out, 0, k / 256 * sizeof *out);
    for (size_t b = 0; b < k / 256; b++, out++) {
        const uint8_t *in = (const uint8_t *)tile + all_d_bytes(k) + b * BLOCK_BYTES;
        memcpy(out->d, (const uint8_t *)tile + D_BYTES * b + 2 * row, 2);
        for (size_t j = 0; j < 16; j++)
            memcpy(out->scales + j, in + 8 * j + row, 1);
        for (int j = 0; j < 8; j++)
            unpack_plane(out->ql + j / 4 * 64 + j % 2 * 32, out->qh + j / 4 * 32, in + SCALES_BYTES + j * WEIGHTS_BYTES, row,
                         j % 4);
    }
}
