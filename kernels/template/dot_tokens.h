/* The walk over rows and tokens, the last part of the template of a product that has a dot instruction for bytes. What stands
 * before it defines, besides the names of pairs.h,
 *   tile_times_tokens    one tile times 1 ... FEW_TOKENS tokens,
 *   panels_times_tokens  two panels times up to GROUP_TOKENS tokens.
 *
 * Few tokens: one tile at a time, weights unpacked into registers and used for all tokens. Many tokens: pairs of tiles. */

static void few_tokens(float *y, size_t y_stride, const uint8_t *tile, const struct activations *x, size_t k, size_t rows,
                       size_t tokens, size_t prefetch_bytes)
{
    switch (tokens) {
    case 1:
        tile_times_tokens(y, y_stride, tile, x, k, rows, 1, prefetch_bytes);
        break;
    case 2:
        tile_times_tokens(y, y_stride, tile, x, k, rows, 2, prefetch_bytes);
        break;
    case 3:
        tile_times_tokens(y, y_stride, tile, x, k, rows, 3, prefetch_bytes);
        break;
    case 4:
        tile_times_tokens(y, y_stride, tile, x, k, rows, 4, prefetch_bytes);
        break;
    case 5:
        tile_times_tokens(y, y_stride, tile, x, k, rows, 5, prefetch_bytes);
        break;
    case 6:
        tile_times_tokens(y, y_stride, tile, x, k, rows, 6, prefetch_bytes);
        break;
    case 7:
        tile_times_tokens(y, y_stride, tile, x, k, rows, 7, prefetch_bytes);
        break;
    case 8:
        tile_times_tokens(y, y_stride, tile, x, k, rows, 8, prefetch_bytes);
        break;
    }
}

/* More than FEW_TOKENS in even groups of at most GROUP_TOKENS are 4, 5 or 6: 9 are 4 + 5, and from 13 on a third of 13. */
static void panels_times_group(float (*acc)[PAIR_ROWS], const struct panel panels[2], const void *units, size_t tokens)
{
    switch (tokens) {
    case 4:
        panels_times_tokens(acc, panels, units, 4);
        break;
    case 5:
        panels_times_tokens(acc, panels, units, 5);
        break;
    case 6:
        panels_times_tokens(acc, panels, units, 6);
        break;
    }
}

#include "template/pairs.h"

/* `rows` of one tile times any number of tokens. */
static void tile_times_many(float *y, size_t y_stride, const uint8_t *tile, const struct activations *x, size_t rows, size_t k,
                            size_t tokens, size_t prefetch_bytes)
{
    for (size_t t = 0; t < tokens; t += FEW_TOKENS) {
        const struct activations some = activations_from(x, t);
        few_tokens(y + t * y_stride, y_stride, tile, &some, k, rows, tokens - t < FEW_TOKENS ? tokens - t : FEW_TOKENS,
                   prefetch_bytes);
    }
}

void KERNEL(matmul)(float *y, size_t y_stride, const void *w, const void *x, size_t x_stride, size_t rows, size_t k, size_t tokens,
                    size_t prefetch_bytes)
{
    const struct activations a = {x, x_stride};
    const size_t paired = tokens <= FEW_TOKENS ? 0 : whole_pairs(rows);
    const uint8_t *tile = (const uint8_t *)w + (paired + TILE_ROWS - 1) / TILE_ROWS * TILE_BYTES(k);
    pairs_times_many(y, y_stride, w, &a, paired, k, tokens);
    for (size_t r = paired; r < rows; r += TILE_ROWS, tile += TILE_BYTES(k))
        tile_times_many(y + r, y_stride, tile, &a, rows - r < TILE_ROWS ? rows - r : TILE_ROWS, k, tokens, prefetch_bytes);
}
