/* Products of weights in blocks of 32 with Q8_32 activations: a template. The including file defines, besides the names of
 * matmul_panel.h and KERNEL(operation), the name of a function,
 *   WEIGHTS_BYTES             of the weights of 8 rows of a block,
 *   HAS_MIN                   1 where every block has a line of scales and mins (matmul_block32.h), else 0,
 *   OFFSET_SHIFT              the codes' offset is 1 << OFFSET_SHIFT; 0: there is none,
 *   decode                    a block: eight groups of unsigned codes, or of absolute values and values where SIGNED. */
#include "avx2/matmul_panel.h"

HEARTH_ALWAYS_INLINE size_t scales_at(size_t j)
{
    return HAS_MIN ? j * (SCALES_BYTES + WEIGHTS_BYTES) : scales_offset(j, WEIGHTS_BYTES);
}

HEARTH_ALWAYS_INLINE size_t weights_at(size_t j)
{
    return HAS_MIN ? scales_at(j) + SCALES_BYTES : weights_offset(j, WEIGHTS_BYTES);
}

/* One token's sums of a block. */
HEARTH_ALWAYS_INLINE __m256i block_products(const __m256i codes[8], const __m256i values[8], const int8_t *q)
{
    const __m256i ones = _mm256_set1_epi16(1);
#if SIGNED
    return signed_products(codes, values, q, ones);
#else
    (void)values;
    __m256i sum = _mm256_madd_epi16(products_of(codes, q, LANE_GROUPS), ones);
    UNROLL
    for (size_t n = LANE_GROUPS; n < 8; n += LANE_GROUPS)
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(products_of(codes + n, q + 4 * n, LANE_GROUPS), ones));
    return sum;
#endif
}

HEARTH_ALWAYS_INLINE __m256 fold(__m256 acc, __m256i sum, __m256 d, __m256 m, const uint8_t *x, size_t k, size_t j)
{
    return HAS_MIN ? fold_block32_min(acc, sum, d, m, x, k, j) : fold_block32(acc, sum, d, x, k, j, OFFSET_SHIFT);
}

HEARTH_ALWAYS_INLINE void multiply(float *y, size_t y_stride, const uint8_t *w, const uint8_t *x, size_t x_stride, size_t rows,
                                   size_t k, size_t tokens, size_t prefetch_bytes)
{
    __m256 acc[TOKENS_MAX];
    for (size_t t = 0; t < tokens; t++)
        acc[t] = _mm256_setzero_ps();
    for (size_t j = 0; j < k / 32; j++) {
        const __m256 d = load8_halves(w + scales_at(j));
        const __m256 m = HAS_MIN ? load8_halves(w + scales_at(j) + MINS_OFFSET) : _mm256_setzero_ps();
        __m256i codes[8], values[8];
        prefetch(w + weights_at(j), WEIGHTS_BYTES + (HAS_MIN ? SCALES_BYTES : SCALES_BYTES / 2), prefetch_bytes);
        decode(codes, values, w + weights_at(j));
        for (size_t t = 0; t < tokens; t++) {
            const uint8_t *row = x + t * x_stride;
            acc[t] = fold(acc[t], block_products(codes, values, (const int8_t *)row + 32 * j), d, m, row, k, j);
        }
    }
    for (size_t t = 0; t < tokens; t++)
        store_rows(y + t * y_stride, acc[t], rows);
}

/* Up to eight blocks of a tile. */
struct panel {
    struct panel_codes codes;
    __m256 d[8], m[8];
    __m256i start[8]; /* of the sums */
    size_t blocks;
};

static void fill_panel(struct panel *out, const uint8_t *w, size_t c, size_t k)
{
    const size_t left = k / 32 - 8 * c;
    const size_t next = 8 * WEIGHTS_BYTES + (HAS_MIN ? 8 : 4) * SCALES_BYTES;
    out->blocks = left < 8 ? left : 8;
    for (size_t i = 0; i < out->blocks; i++) {
        const size_t j = 8 * c + i;
        __m256i codes[8], values[8];
        prefetch(w + weights_at(j), WEIGHTS_BYTES, next);
        out->d[i] = load8_halves(w + scales_at(j));
        out->m[i] = HAS_MIN ? load8_halves(w + scales_at(j) + MINS_OFFSET) : _mm256_setzero_ps();
        decode(codes, values, w + weights_at(j));
#if SIGNED
        out->start[i] = store_signed(&out->codes, 8 * i, codes, values, _mm256_set1_epi16(1));
#else
        out->start[i] = _mm256_setzero_si256();
        store_codes(out->codes.w + 8 * i, codes);
#endif
    }
}

/* acc[t][8 i + r] += panel c of tile i, row r, times token t. */
HEARTH_ALWAYS_INLINE void panels_times_tokens(float (*acc)[PAIR_ROWS], const struct panel panels[2], const uint8_t *x,
                                              size_t x_stride, size_t k, size_t c, size_t tokens)
{
    const struct panel_codes *const codes[2] = {&panels[0].codes, &panels[1].codes};
    const __m256i ones = _mm256_set1_epi16(1);
    const __m256i *const scales[2] = {&ones, &ones};
    for (size_t j = 0; j < panels[0].blocks; j++) {
        const int8_t *q[GROUP_TOKENS];
        __m256i sum[2][GROUP_TOKENS];
        UNROLL
        for (size_t t = 0; t < tokens; t++) {
            q[t] = (const int8_t *)x + t * x_stride + 256 * c + 32 * j;
            sum[0][t] = SIGNED ? panels[0].start[j] : _mm256_setzero_si256();
            sum[1][t] = SIGNED ? panels[1].start[j] : _mm256_setzero_si256();
        }
        add_products(sum, codes, 8 * j, scales, q, tokens);
        UNROLL
        for (size_t t = 0; t < tokens; t++) {
            UNROLL
            for (size_t i = 0; i < 2; i++) {
                const __m256 before = _mm256_loadu_ps(acc[t] + TILE_ROWS * i);
                _mm256_storeu_ps(acc[t] + TILE_ROWS * i,
                                 fold(before, sum[i][t], panels[i].d[j], panels[i].m[j], x + t * x_stride, k, 8 * c + j));
            }
        }
    }
}

#include "avx2/matmul_tiles.h"
