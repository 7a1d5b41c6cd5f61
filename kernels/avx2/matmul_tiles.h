/* The walk over rows and tokens, the last part of a quantized product's template. What stands before it defines
 *   KERNEL(operation)    the name of a function,
 *   multiply             one tile or two times up to FEW_TOKENS tokens, both numbers constants,
 *   struct panel, fill_panel, panels_times_tokens
 *                        256 k of a tile unpacked, and two of them times up to GROUP_TOKENS tokens. */

/* `rows` of two tiles, more than those of one, times 2 ... FEW_TOKENS tokens. */
static void multiply_few(float *y, size_t y_stride, const uint8_t *w, const uint8_t *x, size_t x_stride, size_t rows, size_t k,
                         size_t tokens, size_t prefetch_bytes)
{
    switch (tokens) { /* constants: accumulators stay in registers */
    case 2:
        multiply(y, y_stride, w, x, x_stride, rows, k, 2, 2, prefetch_bytes);
        return;
    case 3:
        multiply(y, y_stride, w, x, x_stride, rows, k, 2, 3, prefetch_bytes);
        return;
    default:
        multiply(y, y_stride, w, x, x_stride, rows, k, 2, 4, prefetch_bytes);
        return;
    }
}

/* The same times 2 ... MANY_TOKENS - 1, in even groups, none of one token: after the first, the weights come from L2. */
static void multiply_groups(float *y, size_t y_stride, const uint8_t *w, const uint8_t *x, size_t x_stride, size_t rows, size_t k,
                            size_t tokens, size_t prefetch_bytes)
{
    const size_t groups = (tokens + FEW_TOKENS - 1) / FEW_TOKENS;
    for (size_t g = 0; g < groups; g++) {
        const size_t t = tokens * g / groups;
        multiply_few(y + t * y_stride, y_stride, w, x + t * HEARTH_UNIT_BYTES, x_stride, rows, k, tokens * (g + 1) / groups - t,
                     prefetch_bytes);
    }
}

/* One tile by itself: the last of an odd number, or any where there is one token. */
static void multiply_tile(float *y, size_t y_stride, const uint8_t *w, const uint8_t *x, size_t x_stride, size_t rows, size_t k,
                          size_t tokens, size_t prefetch_bytes)
{
    for (size_t t = 0; t < tokens; t++)
        multiply(y + t * y_stride, y_stride, w, x + t * HEARTH_UNIT_BYTES, x_stride, rows, k, 1, 1, prefetch_bytes);
}

/* `rows` of two tiles, more than one, times MANY_TOKENS ... TOKENS_AT_ONCE tokens. */
static void multiply_pair(float *y, size_t y_stride, const uint8_t *w, const uint8_t *x, size_t x_stride, size_t rows, size_t k,
                          size_t tokens)
{
    const size_t groups = (tokens + GROUP_TOKENS - 1) / GROUP_TOKENS;
    float acc[TOKENS_AT_ONCE][PAIR_ROWS];
    struct panel panels[2];
    memset(acc, 0, tokens * sizeof *acc);
    for (size_t c = 0; 256 * c < k; c++) {
        fill_panel(&panels[0], w, c, k);
        fill_panel(&panels[1], w + KERNEL(tile_bytes)(k), c, k);
        for (size_t g = 0; g < groups; g++) {
            const size_t t = tokens * g / groups;
            if (tokens * (g + 1) / groups - t == 4)
                panels_times_tokens(acc + t, panels, x + c * x_stride + t * HEARTH_UNIT_BYTES, 4);
            else
                panels_times_tokens(acc + t, panels, x + c * x_stride + t * HEARTH_UNIT_BYTES, 3);
        }
    }
    for (size_t t = 0; t < tokens; t++)
        memcpy(y + t * y_stride, acc[t], rows * sizeof(float));
}

void KERNEL(matmul)(float *y, size_t y_stride, const void *w, const void *x, size_t x_stride, size_t rows, size_t k, size_t tokens,
                    size_t prefetch_bytes)
{
    const size_t tile_bytes = KERNEL(tile_bytes)(k);
    const size_t parts = parts_of_tokens(tokens, k);
    for (size_t p = 0; p < parts; p++) {
        const size_t first = tokens * p / parts;
        const size_t n = tokens * (p + 1) / parts - first;
        const uint8_t *tokens_at = (const uint8_t *)x + first * HEARTH_UNIT_BYTES;
        const size_t step = n > 1 ? PAIR_ROWS : TILE_ROWS;
        const uint8_t *tile = w;
        for (size_t r = 0; r < rows; r += step, tile += step / TILE_ROWS * tile_bytes) {
            float *at = y + first * y_stride + r;
            const size_t left = rows - r < step ? rows - r : step;
            if (left <= TILE_ROWS)
                multiply_tile(at, y_stride, tile, tokens_at, x_stride, left, k, n, prefetch_bytes);
            else if (n >= MANY_TOKENS)
                multiply_pair(at, y_stride, tile, tokens_at, x_stride, left, k, n);
            else
                multiply_groups(at, y_stride, tile, tokens_at, x_stride, left, k, n, prefetch_bytes);
        }
    }
}
