/* Products of weights in super-blocks of 256 with Q8_256 activations: a template. The including file defines, besides the names of
 * matmul_panel.h and KERNEL(operation), the name of a function,
 *   HEAD_BYTES, WEIGHTS_BYTES  of a super-block of 8 rows before the weights, and of the weights of 32 k,
 *   super_block_at             its byte offset in a tile,
 *   read_head                  what all tokens need of it, a struct super_block,
 *   fold                       the float end of the arithmetic. */
#include "avx2/matmul_few.h"

#define TILE_BYTES KERNEL(tile_bytes)

/* Scale vectors of 32 k, and where the first of them is among a super-block's. */
#define SCALES (8 / SCALE_GROUPS)

HEARTH_ALWAYS_INLINE void scales_of(__m256i scales[SCALES], const struct super_block *block, size_t j)
{
    UNROLL
    for (size_t i = 0; i < SCALES; i++)
        scales[i] = scale_pairs(block->scales, SCALES * j + i, SCALES * j + i);
}

/* One tile or two times few tokens. */
HEARTH_ALWAYS_INLINE void tiles_times_tokens(float *y, size_t y_stride, const struct tiles *w, const struct activations *x,
                                             size_t k, size_t tiles, size_t tokens, size_t prefetch_bytes)
{
    __m256 acc[2][FEW_TOKENS];
    __m256i sum[2][FEW_TOKENS];
    UNROLL
    for (size_t t = 0; t < tokens; t++)
        acc[0][t] = acc[1][t] = _mm256_setzero_ps();
    for (size_t b = 0; b < k / 256; b++) {
        const struct hearth_q8_256 *units = units_at(x, b);
        const uint8_t *packed[2];
        struct super_block block[2];
        uint8_t room[2][ROOM_BYTES];
        UNROLL
        for (size_t i = 0; i < tiles; i++) {
            packed[i] = w->first + i * w->bytes_apart + super_block_at(b, k);
            prefetch_ahead(packed[i], HEAD_BYTES, prefetch_bytes);
            read_head(&block[i], room[i], w->first + i * w->bytes_apart, b, k);
            packed[i] += HEAD_BYTES;
            UNROLL
            for (size_t t = 0; t < tokens; t++)
                sum[i][t] = _mm256_setzero_si256();
        }
        for (size_t j = 0; j < 8; j++) {
            __m256i scales[2][SCALES];
            UNROLL
            for (size_t i = 0; i < tiles; i++) {
                prefetch_ahead(packed[i], WEIGHTS_BYTES, prefetch_bytes);
                scales_of(scales[i], &block[i], j);
            }
            add_few(sum, packed, units->q + 32 * j, (const __m256i(*)[SCALES])scales, tiles, tokens);
            UNROLL
            for (size_t i = 0; i < tiles; i++)
                packed[i] += WEIGHTS_BYTES;
        }
        UNROLL
        for (size_t i = 0; i < tiles; i++) {
            UNROLL
            for (size_t t = 0; t < tokens; t++)
                acc[i][t] = fold(acc[i][t], sum[i][t], &block[i], &units[t]);
        }
    }
    store_few(y, y_stride, acc, w, tiles, tokens);
}

/* A super-block of a tile. */
struct panel {
    struct panel_codes codes;
    __m256i scales[8 * SCALES];
    __m256i start; /* of the sums */
    struct super_block block;
};

static void fill_panel(struct panel *out, const uint8_t *w, size_t b, size_t k)
{
    const uint8_t *packed = w + super_block_at(b, k);
    uint8_t room[ROOM_BYTES];
    read_head(&out->block, room, w, b, k);
    packed += HEAD_BYTES;
    out->start = _mm256_setzero_si256();
    for (size_t j = 0; j < 8; j++, packed += WEIGHTS_BYTES) {
        __m256i codes[8], values[8];
        scales_of(out->scales + SCALES * j, &out->block, j);
        decode(codes, values, packed);
#if SIGNED
        out->start = _mm256_add_epi32(out->start, store_signed(&out->codes, 8 * j, codes, values, out->scales[j]));
#else
        store_codes(out->codes.w + 8 * j, codes);
#endif
    }
}

/* acc[t][8 i + r] += panel i, row r, times unit t. */
HEARTH_ALWAYS_INLINE void panels_times_units(float (*acc)[PAIR_ROWS], const struct panel panels[2], const struct hearth_q8_256 *x,
                                             size_t tokens, const bool small)
{
    const struct panel_codes *const codes[2] = {&panels[0].codes, &panels[1].codes};
    __m256i sum[2][GROUP_TOKENS];
    UNROLL
    for (size_t t = 0; t < tokens; t++) {
        sum[0][t] = panels[0].start;
        sum[1][t] = panels[1].start;
    }
    for (size_t j = 0; j < 8; j++) {
        const __m256i *const scales[2] = {panels[0].scales + SCALES * j, panels[1].scales + SCALES * j};
        const int8_t *q[GROUP_TOKENS];
        UNROLL
        for (size_t t = 0; t < tokens; t++)
            q[t] = x[t].q + 32 * j;
        add_products(sum, codes, 8 * j, scales, q, tokens, small);
    }
    UNROLL
    for (size_t t = 0; t < tokens; t++) {
        UNROLL
        for (size_t i = 0; i < 2; i++) {
            const __m256 before = _mm256_loadu_ps(acc[t] + TILE_ROWS * i);
            _mm256_storeu_ps(acc[t] + TILE_ROWS * i, fold(before, sum[i][t], &panels[i].block, &x[t]));
        }
    }
}

HEARTH_ALWAYS_INLINE void panels_times_tokens(float (*acc)[PAIR_ROWS], const struct panel panels[2], const void *units,
                                              size_t tokens)
{
    if (LANE_SPAN == 0 || spans_are_within(units, tokens, SCALE_GROUPS == 8 ? 32 : 8, LANE_SPAN))
        panels_times_units(acc, panels, units, tokens, true);
    else
        panels_times_units(acc, panels, units, tokens, false);
}

#include "avx2/matmul_tiles.h"
