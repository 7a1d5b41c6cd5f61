/* The walk over rows and tokens, the last part of the template of a product that has a dot instruction for bytes. What stands
 * before it defines
 *   KERNEL(operation)    the name of a function,
 *   TILE_BYTES           the function that tells the bytes of a tile, if not KERNEL(tile_bytes),
 *   tile_times_tokens    one tile times 1 ... FEW_TOKENS tokens,
 *   fill_panel           unpacks 256 k of a tile to bytes, a struct panel,
 *   panels_times_tokens  two panels times up to GROUP_TOKENS tokens.
 *
 * Few tokens: one tile at a time, weights unpacked into registers and used for all tokens. Many tokens: 256 k of two tiles are
 * unpacked to the stack (at most 8 KB of codes, they stay in the L1 cache), and groups of tokens pass over them; each broadcast
 * dword of activations serves both tiles. Packed bytes are read once for up to TOKENS_AT_ONCE tokens. */

#ifndef TILE_BYTES
#define TILE_BYTES KERNEL(tile_bytes)
#endif

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

/* Fetch part `i` of `n` of `bytes` bytes of both tiles. */
HEARTH_ALWAYS_INLINE void prefetch_part(const uint8_t *p, size_t tile_bytes, size_t bytes, size_t i, size_t n)
{
    for (size_t at = bytes * i / n & ~(size_t)63; at < bytes * (i + 1) / n; at += 64) {
        _mm_prefetch((const char *)p + at, _MM_HINT_T0);
        _mm_prefetch((const char *)p + tile_bytes + at, _MM_HINT_T0);
    }
}

/* Two tiles times FEW_TOKENS + 1 ... TOKENS_AT_ONCE tokens. The bytes of the next panels come while these are used. */
static void pair_times_tokens(float (*acc)[PAIR_ROWS], const uint8_t *w, const struct activations *x, size_t k, size_t tokens)
{
    const size_t groups = (tokens + GROUP_TOKENS - 1) / GROUP_TOKENS;
    const size_t chunks = (k + HEARTH_UNIT_ELEMS - 1) / HEARTH_UNIT_ELEMS;
    const size_t chunk_bytes = TILE_BYTES(k) / chunks;
    struct panel panels[2];
    memset(acc, 0, tokens * sizeof *acc);
    for (size_t c = 0; c < chunks; c++) {
        const uint8_t *next = c + 1 < chunks ? w + (c + 1) * chunk_bytes : w + 2 * TILE_BYTES(k);
        fill_panel(&panels[0], w, c, k);
        fill_panel(&panels[1], w + TILE_BYTES(k), c, k);
        for (size_t g = 0; g < groups; g++) {
            const size_t from = tokens * g / groups;
            const struct activations group = activations_from(x, from);
            prefetch_part(next, TILE_BYTES(k), chunk_bytes, g, groups);
            panels_times_group(acc + from, panels, units_at(&group, c), tokens * (g + 1) / groups - from);
        }
    }
}

/* Pairs of tiles times any number of tokens above FEW_TOKENS; part of the tokens after part, so that their activations are in the
 * caches for many pairs. */
static void pairs_times_many(float *y, size_t y_stride, const uint8_t *w, const struct activations *x, size_t rows, size_t k,
                             size_t tokens)
{
    float acc[TOKENS_AT_ONCE][PAIR_ROWS];
    const size_t parts = (tokens + TOKENS_AT_ONCE - 1) / TOKENS_AT_ONCE;
    for (size_t p = 0; p < parts; p++) {
        const size_t from = tokens * p / parts;
        const size_t n = tokens * (p + 1) / parts - from;
        const struct activations part = activations_from(x, from);
        const uint8_t *pair = w;
        for (size_t r = 0; r < rows; r += PAIR_ROWS, pair += 2 * TILE_BYTES(k)) {
            const size_t bytes = (rows - r < PAIR_ROWS ? rows - r : PAIR_ROWS) * sizeof(float);
            pair_times_tokens(acc, pair, &part, k, n);
            for (size_t t = 0; t < n; t++)
                memcpy(y + r + (from + t) * y_stride, acc[t], bytes);
        }
    }
}

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
    const size_t paired = tokens <= FEW_TOKENS ? 0 : rows % PAIR_ROWS > TILE_ROWS ? rows : rows - rows % PAIR_ROWS;
    const uint8_t *tile = (const uint8_t *)w + (paired + TILE_ROWS - 1) / TILE_ROWS * TILE_BYTES(k);
    if (paired > 0)
        pairs_times_many(y, y_stride, w, &a, paired, k, tokens);
    for (size_t r = paired; r < rows; r += TILE_ROWS, tile += TILE_BYTES(k))
        tile_times_many(y + r, y_stride, tile, &a, rows - r < TILE_ROWS ? rows - r : TILE_ROWS, k, tokens, prefetch_bytes);
}
