/* The walk over rows and tokens, the last part of a product's template. What stands before it defines
 *   KERNEL(operation)    the name of a function,
 *   activations_of       where a token's codes, scales and sums are,
 *   tile_times_tokens    one tile times 1 ... FEW_TOKENS tokens,
 *   fill_panel           unpacks 256 k of a tile to bytes, a struct panel,
 *   panels_times_tokens  one or two panels times 1 ... GROUP_TOKENS tokens.
 *
 * Few tokens: one tile at a time, weights unpacked into registers and used for all tokens. Many tokens: 256 k of two tiles are
 * unpacked to the stack (8 KB of codes, they stay in the L1 cache), and groups of tokens pass over them; each broadcast dword of
 * activations serves both tiles. Packed bytes are read once for up to TOKENS_AT_ONCE tokens; for more, the two tiles are walked
 * again, from the L2 cache. */

static void few_tokens(float *y, size_t y_stride, const uint8_t *tile, const struct activations *x, size_t k, __mmask16 mask,
                       size_t tokens)
{
    switch (tokens) {
    case 1:
        tile_times_tokens(y, y_stride, tile, x, k, mask, 1);
        break;
    case 2:
        tile_times_tokens(y, y_stride, tile, x, k, mask, 2);
        break;
    case 3:
        tile_times_tokens(y, y_stride, tile, x, k, mask, 3);
        break;
    case 4:
        tile_times_tokens(y, y_stride, tile, x, k, mask, 4);
        break;
    case 5:
        tile_times_tokens(y, y_stride, tile, x, k, mask, 5);
        break;
    case 6:
        tile_times_tokens(y, y_stride, tile, x, k, mask, 6);
        break;
    case 7:
        tile_times_tokens(y, y_stride, tile, x, k, mask, 7);
        break;
    case 8:
        tile_times_tokens(y, y_stride, tile, x, k, mask, 8);
        break;
    }
}

#define PANELS_CASE(tiles, tokens)                                                                                                 \
    case (tiles)*8 + (tokens):                                                                                                     \
        panels_times_tokens(acc, panels, x, c, tiles, tokens);                                                                     \
        break

static void panels_times_group(float (*acc)[PAIR_ROWS], const struct panel *panels, const struct activations *x, size_t c,
                               size_t tiles, size_t tokens)
{
    switch (tiles * 8 + tokens) {
        PANELS_CASE(1, 1);
        PANELS_CASE(1, 2);
        PANELS_CASE(1, 3);
        PANELS_CASE(1, 4);
        PANELS_CASE(1, 5);
        PANELS_CASE(1, 6);
        PANELS_CASE(2, 1);
        PANELS_CASE(2, 2);
        PANELS_CASE(2, 3);
        PANELS_CASE(2, 4);
        PANELS_CASE(2, 5);
        PANELS_CASE(2, 6);
    }
}

/* One or two tiles times up to TOKENS_AT_ONCE tokens, in groups of even size. */
static void tiles_times_many(float (*acc)[PAIR_ROWS], const uint8_t *w, const struct activations *x, size_t k, size_t tiles,
                             size_t tokens)
{
    const size_t groups = (tokens + GROUP_TOKENS - 1) / GROUP_TOKENS;
    struct panel panels[2];
    memset(acc, 0, tokens * sizeof *acc);
    for (size_t c = 0; c * 256 < k; c++) {
        for (size_t i = 0; i < tiles; i++)
            fill_panel(&panels[i], w + i * KERNEL(tile_bytes)(k), c, k);
        for (size_t g = 0; g < groups; g++) {
            const size_t from = tokens * g / groups;
            const struct activations group = activations_from(x, from);
            panels_times_group(acc + from, panels, &group, c, tiles, tokens * (g + 1) / groups - from);
        }
    }
}

static void pair_times_many(float *y, size_t y_stride, const uint8_t *w, const struct activations *x, size_t rows, size_t k,
                            size_t tokens)
{
    float acc[TOKENS_AT_ONCE][PAIR_ROWS];
    for (size_t t = 0; t < tokens; t += TOKENS_AT_ONCE) {
        const struct activations some = activations_from(x, t);
        const size_t n = tokens - t < TOKENS_AT_ONCE ? tokens - t : TOKENS_AT_ONCE;
        tiles_times_many(acc, w, &some, k, rows > TILE_ROWS ? 2 : 1, n);
        for (size_t i = 0; i < n; i++)
            memcpy(y + (t + i) * y_stride, acc[i], rows * sizeof(float));
    }
}

void KERNEL(matmul)(float *y, size_t y_stride, const void *w, const void *x, size_t x_stride, size_t rows, size_t k, size_t tokens)
{
    const struct activations a = activations_of(x, x_stride, k);
    const size_t step = tokens <= FEW_TOKENS ? TILE_ROWS : PAIR_ROWS;
    for (size_t r = 0; r < rows; r += step) {
        const uint8_t *tile = (const uint8_t *)w + r / TILE_ROWS * KERNEL(tile_bytes)(k);
        if (tokens <= FEW_TOKENS)
            few_tokens(y + r, y_stride, tile, &a, k, row_mask(rows - r), tokens);
        else
            pair_times_many(y + r, y_stride, tile, &a, rows - r < PAIR_ROWS ? rows - r : PAIR_ROWS, k, tokens);
    }
}
