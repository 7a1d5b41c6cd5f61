/* The walk over rows and tokens, the last part of a quantized product's template. What stands before it defines, besides the names
 * of pairs.h,
 *   multiply             one tile or two times up to FEW_TOKENS tokens, both numbers constants,
 *   panels_times_tokens  two panels times up to GROUP_TOKENS tokens. */

/* `rows` of two tiles, more than those of one, times 2 ... FEW_TOKENS tokens. */
static void multiply_few(float *y, size_t y_stride, const uint8_t *w, const struct activations *x, size_t rows, size_t k,
                         size_t tokens, size_t prefetch_bytes)
{
    switch (tokens) { /* constants: accumulators stay in registers */
    case 2:
        multiply(y, y_stride, w, x, rows, k, 2, 2, prefetch_bytes);
        return;
    case 3:
        multiply(y, y_stride, w, x, rows, k, 2, 3, prefetch_bytes);
        return;
    default:
        multiply(y, y_stride, w, x, rows, k, 2, 4, prefetch_bytes);
        return;
    }
}

/* The same times 2 ... MANY_TOKENS - 1, in even groups, none of one token: after the first, the weights come from L2. */
static void multiply_groups(float *y, size_t y_stride, const uint8_t *w, const struct activations *x, size_t rows, size_t k,
                            size_t tokens, size_t prefetch_bytes)
{
    const size_t groups = (tokens + FEW_TOKENS - 1) / FEW_TOKENS;
    for (size_t g = 0; g < groups; g++) {
        const size_t t = tokens * g / groups;
        const struct activations group = activations_from(x, t);
        multiply_few(y + t * y_stride, y_stride, w, &group, rows, k, tokens * (g + 1) / groups - t, prefetch_bytes);
    }
}

/* One tile by itself: the last of an odd number, or any where there is one token. */
static void multiply_tile(float *y, size_t y_stride, const uint8_t *w, const struct activations *x, size_t rows, size_t k,
                          size_t tokens, size_t prefetch_bytes)
{
    for (size_t t = 0; t < tokens; t++) {
        const struct activations token = activations_from(x, t);
        multiply(y + t * y_stride, y_stride, w, &token, rows, k, 1, 1, prefetch_bytes);
    }
}

static void panels_times_group(float (*acc)[PAIR_ROWS], const struct panel panels[2], const void *units, size_t tokens)
{
    if (tokens == 4)
        panels_times_tokens(acc, panels, units, 4);
    else
        panels_times_tokens(acc, panels, units, 3);
}

#include "template/pairs.h"

void KERNEL(matmul)(float *y, size_t y_stride, const void *w, const void *x, size_t x_stride, size_t rows, size_t k, size_t tokens,
                    size_t prefetch_bytes)
{
    const struct activations a = {x, x_stride};
    const size_t step = tokens > 1 ? PAIR_ROWS : TILE_ROWS;
    const size_t paired = tokens < MANY_TOKENS ? 0 : whole_pairs(rows);
    const uint8_t *tile = (const uint8_t *)w + (paired + TILE_ROWS - 1) / TILE_ROWS * TILE_BYTES(k);
    pairs_times_many(y, y_stride, w, &a, paired, k, tokens);
    for (size_t r = paired; r < rows; r += step, tile += step / TILE_ROWS * TILE_BYTES(k)) {
        const size_t left = rows - r < step ? rows - r : step;
        if (left <= TILE_ROWS)
            multiply_tile(y + r, y_stride, tile, &a, left, k, tokens, prefetch_bytes);
        else
            multiply_groups(y + r, y_stride, tile, &a, left, k, tokens, prefetch_bytes);
    }
}
