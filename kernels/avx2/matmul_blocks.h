/* Products of weights in blocks of 32 with Q8_32 activations: a template. The including file defines, besides the names of
 * matmul_panel.h and KERNEL(operation), the name of a function,
 *   WEIGHTS_BYTES             of the weights of 8 rows of a block,
 *   HAS_MIN                   1 where every block has a line of scales and mins (matmul_block32.h), else 0,
 *   OFFSET_SHIFT              the codes' offset is 1 << OFFSET_SHIFT; 0: there is none. */
#define LANE_SPAN 0
#include "avx2/matmul_few.h"

#define TILE_BYTES KERNEL(tile_bytes)

HEARTH_ALWAYS_INLINE size_t scales_at(size_t j)
{
    return HAS_MIN ? j * (SCALES_BYTES + WEIGHTS_BYTES) : scales_offset(j, WEIGHTS_BYTES);
}

HEARTH_ALWAYS_INLINE size_t weights_at(size_t j)
{
    return HAS_MIN ? scales_at(j) + SCALES_BYTES : weights_offset(j, WEIGHTS_BYTES);
}

HEARTH_ALWAYS_INLINE __m256 fold(__m256 acc, __m256i sum, __m256 d, __m256 m, const struct hearth_q8_32 *x, size_t j)
{
    return HAS_MIN ? fold_block32_min(acc, sum, d, m, x, j) : fold_block32(acc, sum, d, x, j, OFFSET_SHIFT);
}

/* One tile or two times few tokens. */
HEARTH_ALWAYS_INLINE void tiles_times_tokens(float *y, size_t y_stride, const struct tiles *w, const struct activations *x,
                                             size_t k, size_t tiles, size_t tokens, size_t prefetch_bytes)
{
    const __m256i ones = _mm256_set1_epi16(1);
    const __m256i scales[2][1] = {{ones}, {ones}};
    __m256 acc[2][FEW_TOKENS];
    UNROLL
    for (size_t t = 0; t < tokens; t++)
        acc[0][t] = acc[1][t] = _mm256_setzero_ps();
    for (size_t j = 0; j < k / 32; j++) {
        const struct hearth_q8_32 *units = units_at(x, j / 8);
        const uint8_t *packed[2];
        __m256i sum[2][FEW_TOKENS];
        UNROLL
        for (size_t i = 0; i < tiles; i++) {
            packed[i] = w->first + i * w->bytes_apart + weights_at(j);
            prefetch_ahead(packed[i], WEIGHTS_BYTES + (HAS_MIN ? SCALES_BYTES : SCALES_BYTES / 2), prefetch_bytes);
            UNROLL
            for (size_t t = 0; t < tokens; t++)
                sum[i][t] = _mm256_setzero_si256();
        }
        add_few(sum, packed, units->q + 32 * (j % 8), scales, tiles, tokens);
        UNROLL
        for (size_t i = 0; i < tiles; i++) {
            const uint8_t *at = w->first + i * w->bytes_apart + scales_at(j);
            const __m256 d = load8_halves(at);
            const __m256 m = HAS_MIN ? load8_halves(at + MINS_OFFSET) : _mm256_setzero_ps();
            UNROLL
            for (size_t t = 0; t < tokens; t++)
                acc[i][t] = fold(acc[i][t], sum[i][t], d, m, &units[t], j % 8);
        }
    }
    store_few(y, y_stride, acc, w, tiles, tokens);
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
    out->blocks = left < 8 ? left : 8;
    for (size_t i = 0; i < out->blocks; i++) {
        const size_t j = 8 * c + i;
        __m256i codes[8], values[8];
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

/* acc[t][8 i + r] += panel i, row r, times unit t. */
HEARTH_ALWAYS_INLINE void panels_times_tokens(float (*acc)[PAIR_ROWS], const struct panel panels[2], const void *units,
                                              size_t tokens)
{
    const struct hearth_q8_32 *x = units;
    const struct panel_codes *const codes[2] = {&panels[0].codes, &panels[1].codes};
    const __m256i ones = _mm256_set1_epi16(1);
    const __m256i *const scales[2] = {&ones, &ones};
    for (size_t j = 0; j < panels[0].blocks; j++) {
        const int8_t *q[GROUP_TOKENS];
        __m256i sum[2][GROUP_TOKENS];
        UNROLL
        for (size_t t = 0; t < tokens; t++) {
            q[t] = x[t].q + 32 * j;
            sum[0][t] = SIGNED ? panels[0].start[j] : _mm256_setzero_si256();
            sum[1][t] = SIGNED ? panels[1].start[j] : _mm256_setzero_si256();
        }
        add_products(sum, codes, 8 * j, scales, q, tokens, true);
        UNROLL
        for (size_t t = 0; t < tokens; t++) {
            UNROLL
            for (size_t i = 0; i < 2; i++) {
                const __m256 before = _mm256_loadu_ps(acc[t] + TILE_ROWS * i);
                _mm256_storeu_ps(acc[t] + TILE_ROWS * i, fold(before, sum[i][t], panels[i].d[j], panels[i].m[j], &x[t], j));
            }
        }
    }
}

#include "avx2/matmul_tiles.h"
