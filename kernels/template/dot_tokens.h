/* The walk over rows and tokens, the last part of the template of a product that has a dot instruction for bytes. What stands
 * before it defines, besides the names of pairs.h,
 *   tiles_times_tokens   one tile or two times 1 ... FEW_TOKENS tokens,
 *   panels_times_tokens  two panels times up to GROUP_TOKENS tokens.
 *
 * Few tokens: one tile at a time, weights unpacked into registers and used for all tokens. What counts for a single one is the
 * memory; there it may be two tiles. Many tokens: pairs of tiles. */

static void few_tokens(float *y, size_t y_stride, const uint8_t *tile, const struct activations *x, size_t k, size_t rows,
                       size_t tokens, size_t prefetch_bytes)
{
    const struct tiles w = one_tile(tile, rows);
    switch (tokens) {
    case 1:
        tiles_times_tokens(y, y_stride, &w, x, k, 1, 1, prefetch_bytes);
        break;
    case 2:
        tiles_times_tokens(y, y_stride, &w, x, k, 1, 2, prefetch_bytes);
        break;
    case 3:
        tiles_times_tokens(y, y_stride, &w, x, k, 1, 3, prefetch_bytes);
        break;
    case 4:
        tiles_times_tokens(y, y_stride, &w, x, k, 1, 4, prefetch_bytes);
        break;
    case 5:
        tiles_times_tokens(y, y_stride, &w, x, k, 1, 5, prefetch_bytes);
        break;
    case 6:
        tiles_times_tokens(y, y_stride, &w, x, k, 1, 6, prefetch_bytes);
        break;
    case 7:
        tiles_times_tokens(y, y_stride, &w, x, k, 1, 7, prefetch_bytes);
        break;
    case 8:
        tiles_times_tokens(y, y_stride, &w, x, k, 1, 8, prefetch_bytes);
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

/* One token times those tiles that two_tiles() gives; how many rows that are. */
static size_t halves_times_token(float *y, const uint8_t *w, const struct activations *x, size_t rows, size_t k,
                                 size_t prefetch_bytes)
{
    const size_t half = (rows + TILE_ROWS - 1) / TILE_ROWS / 2;
    for (size_t i = 0; i < half; i++) {
        const struct tiles two = two_tiles(w, i, rows, TILE_BYTES(k));
        tiles_times_tokens(y + i * TILE_ROWS, 0, &two, x, k, 2, 1, prefetch_bytes);
    }
    return half * PAIR_ROWS < rows ? half * PAIR_ROWS : rows;
}

void KERNEL(matmul)(float *y, size_t y_stride, const void *w, const void *x, size_t x_stride, size_t rows, size_t k, size_t tokens,
                    size_t prefetch_bytes)
{
    const struct activations a = {x, x_stride};
    size_t done = 0;
    if (tokens > FEW_TOKENS)
        done = pairs_times_many(y, y_stride, w, &a, rows, k, tokens);
    else if (tokens == 1 && prefetch_bytes & HEARTH_PREFETCH_TWO_STREAMS)
        done = halves_times_token(y, w, &a, rows, k, prefetch_bytes);
    const uint8_t *tile = (const uint8_t *)w + (done + TILE_ROWS - 1) / TILE_ROWS * TILE_BYTES(k);
    for (size_t r = done; r < rows; r += TILE_ROWS, tile += TILE_BYTES(k))
        tile_times_many(y + r, y_stride, tile, &a, rows - r, k, tokens, prefetch_bytes);
}
