/* The walk over rows and tokens, the last part of a quantized product's template. What stands before it defines, besides the names
 * of pairs.h,
 *   multiply             one tile or two times up to FEW_TOKENS tokens, both numbers constants,
 *   panels_times_tokens  two panels times up to GROUP_TOKENS tokens. */

/* Two tiles times 1 ... FEW_TOKENS tokens. */
static void multiply_few(float *y, size_t y_stride, const struct tiles *w, const struct activations *x, size_t k, size_t tokens,
                         size_t prefetch_bytes)
{
    switch (tokens) { /* constants: accumulators stay in registers */
    case 1:
        multiply(y, y_stride, w, x, k, 2, 1, prefetch_bytes);
        return;
    case 2:
        multiply(y, y_stride, w, x, k, 2, 2, prefetch_bytes);
        return;
    case 3:
        multiply(y, y_stride, w, x, k, 2, 3, prefetch_bytes);
        return;
    default:
        multiply(y, y_stride, w, x, k, 2, 4, prefetch_bytes);
        return;
    }
}

/* The tiles that two_tiles() gives times 1 ... MANY_TOKENS - 1 tokens, in even groups: after the first, the weights come from L2.
 * Returns how many rows those are. */
static size_t halves_times_few(float *y, size_t y_stride, const uint8_t *w, const struct activations *x, size_t rows, size_t k,
                               size_t tokens, size_t prefetch_bytes)
{
    const size_t half = (rows + TILE_ROWS - 1) / TILE_ROWS / 2;
    const size_t groups = (tokens + FEW_TOKENS - 1) / FEW_TOKENS;
    for (size_t i = 0; i < half; i++) {
        const struct tiles two = two_tiles(w, i, rows, TILE_BYTES(k));
        for (size_t g = 0; g < groups; g++) {
            const size_t t = tokens * g / groups;
            const struct activations group = activations_from(x, t);
            multiply_few(y + t * y_stride + i * TILE_ROWS, y_stride, &two, &group, k, tokens * (g + 1) / groups - t,
                         prefetch_bytes);
        }
    }
    return half * PAIR_ROWS < rows ? half * PAIR_ROWS : rows;
}

/* One tile by itself: the last of an odd number, or any where one token walks one. */
static void multiply_tile(float *y, size_t y_stride, const uint8_t *tile, const struct activations *x, size_t rows, size_t k,
                          size_t tokens, size_t prefetch_bytes)
{
    const struct tiles one = one_tile(tile, rows);
    for (size_t t = 0; t < tokens; t++) {
        const struct activations token = activations_from(x, t);
        multiply(y + t * y_stride, y_stride, &one, &token, k, 1, 1, prefetch_bytes);
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
    size_t done = 0;
    if (tokens >= MANY_TOKENS)
        done = pairs_times_many(y, y_stride, w, &a, rows, k, tokens);
    else if (tokens > 1 || prefetch_bytes & HEARTH_PREFETCH_TWO_STREAMS)
        done = halves_times_few(y, y_stride, w, &a, rows, k, tokens, prefetch_bytes);
    const uint8_t *tile = (const uint8_t *)w + (done + TILE_ROWS - 1) / TILE_ROWS * TILE_BYTES(k);
    for (size_t r = done; r < rows; r += TILE_ROWS, tile += TILE_BYTES(k))
        multiply_tile(y + r, y_stride, tile, &a, rows - r, k, tokens, prefetch_bytes);
}
