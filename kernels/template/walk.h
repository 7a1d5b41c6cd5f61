/* The walk over rows and tokens, the same for all levels: the last part of the template of a product of quantized weights. What
 * stands before it defines
 *   KERNEL(operation)     the name of a function,
 *   TILE_BYTES            the function that tells the bytes of a tile,
 *   tiles_times_tokens    one tile or two times few tokens, numbers that are constants, so that accumulators stay in registers;
 *                         weights are unpacked into registers, too, where they are multiplied,
 *   one_tile_times_few    one tile times 1 ... ONE_TILE_TOKENS,
 *   TWO_TILES_ALWAYS      1 where two tiles are better for the sake of the arithmetic already, but for one token,
 *   MANY_TOKENS           from how many on panels are better,
 *   fill_panel            unpacks 256 k of a tile to bytes, a struct panel,
 *   panels_times_group    acc[t][r] += two panels, row r, times unit t, for as many as even groups of at most GROUP_TOKENS have. */

#include "template/product.h"

/* ---- Few tokens: packed bytes are read once for each group ---------------------------------------------------------- */

static void two_tiles_times_few(float *y, size_t y_stride, const struct tiles *w, const struct activations *x, size_t k,
                                size_t tokens, size_t prefetch_bytes)
{
    switch (tokens) {
    case 1:
        tiles_times_tokens(y, y_stride, w, x, k, 2, 1, prefetch_bytes);
        break;
    case 2:
        tiles_times_tokens(y, y_stride, w, x, k, 2, 2, prefetch_bytes);
        break;
    case 3:
        tiles_times_tokens(y, y_stride, w, x, k, 2, 3, prefetch_bytes);
        break;
    case 4:
        tiles_times_tokens(y, y_stride, w, x, k, 2, 4, prefetch_bytes);
        break;
    }
}

/* Both halves of the tiles side by side, but for a last one of an odd number. Returns how many rows that are. */
static size_t halves_times_few(float *y, size_t y_stride, const uint8_t *w, const struct activations *x, size_t rows, size_t k,
                               size_t tokens, size_t prefetch_bytes)
{
    const size_t half = (rows + TILE_ROWS - 1) / TILE_ROWS / 2;
    const size_t groups = (tokens + TWO_TILES_TOKENS - 1) / TWO_TILES_TOKENS;
    for (size_t i = 0; i < half; i++) {
        const struct tiles two = two_tiles(w, i, half, rows, TILE_BYTES(k));
        for (size_t g = 0; g < groups; g++) {
            const size_t t = tokens * g / groups;
            const struct activations group = activations_from(x, t);
            two_tiles_times_few(y + t * y_stride + i * TILE_ROWS, y_stride, &two, &group, k, tokens * (g + 1) / groups - t,
                                prefetch_bytes);
        }
    }
    return half * PAIR_ROWS < rows ? half * PAIR_ROWS : rows;
}

/* One tile by itself, `rows` or all of them. */
static void tile_times_tokens(float *y, size_t y_stride, const uint8_t *tile, const struct activations *x, size_t rows, size_t k,
                              size_t tokens, size_t prefetch_bytes)
{
    const struct tiles one = one_tile(tile, rows);
    const size_t groups = (tokens + ONE_TILE_TOKENS - 1) / ONE_TILE_TOKENS;
    for (size_t g = 0, t = 0; g < groups; g++) {
        const size_t end = tokens * (g + 1) / groups;
        const struct activations some = activations_from(x, t);
        one_tile_times_few(y + t * y_stride, y_stride, &one, &some, k, end - t, prefetch_bytes);
        t = end;
    }
}

static bool takes_two_tiles(size_t tokens, size_t prefetch_bytes)
{
    if (TWO_TILES_ALWAYS && tokens > 1)
        return true;
    return tokens <= TWO_TILES_TOKENS && (prefetch_bytes & HEARTH_PREFETCH_TWO_STREAMS) != 0;
}

/* ---- Many tokens: 256 k of pairs of tiles are unpacked to the stack (16 KB of codes, they stay in the L1 cache), and groups of
 * tokens pass over them; each broadcast dword of activations serves both tiles of a pair. Packed bytes are read once for up to
 * TOKENS_AT_ONCE tokens. */

/* Fetch lines of both tiles, from byte `at` to `end`. */
HEARTH_ALWAYS_INLINE void prefetch_both(const uint8_t *p, size_t tile_bytes, size_t at, size_t end)
{
    for (; at < end; at += 64) {
        _mm_prefetch((const char *)p + at, _MM_HINT_T0);
        _mm_prefetch((const char *)p + tile_bytes + at, _MM_HINT_T0);
    }
}

/* The lines of a pair's results for a token. */
HEARTH_ALWAYS_INLINE void prefetch_pair(const float *y, size_t rows)
{
    for (size_t r = 0; r < PAIR_ROWS && r < rows; r += 64 / sizeof *y)
        _mm_prefetch((const char *)(y + r), _MM_HINT_T0);
}

/* Of a pair's results for a token, those of the rows that exist, of `rows` left. */
HEARTH_ALWAYS_INLINE void store_pair(float *y, const float acc[PAIR_ROWS], size_t rows)
{
    if (rows >= PAIR_ROWS)
        memcpy(y, acc, PAIR_ROWS * sizeof *y); /* a size known here makes it a few moves */
    else
        memcpy(y, acc, rows * sizeof *y);
}

/* Pairs of tiles, `rows` <= ROWS_AT_ONCE of them all, times up to TOKENS_AT_ONCE tokens. The bytes of the next panels come while
 * these are used. The lines of the results, far apart and seldom in a cache, are fetched before a group's last product and written
 * behind it, while the next group is computed. */
static void pairs_times_tokens(float *y, size_t y_stride, const uint8_t *w, const struct activations *x, size_t rows, size_t k,
                               size_t tokens)
{
    const size_t pairs = (rows + PAIR_ROWS - 1) / PAIR_ROWS;
    const size_t groups = (tokens + GROUP_TOKENS - 1) / GROUP_TOKENS;
    const size_t small = tokens / groups, larger = tokens % groups; /* groups of one token more */
    const size_t tile_bytes = TILE_BYTES(k);
    const size_t chunks = (k + HEARTH_UNIT_ELEMS - 1) / HEARTH_UNIT_ELEMS;
    const size_t chunk_bytes = tile_bytes / chunks;
    const size_t fetched = (chunk_bytes / groups + 64) & ~(size_t)63; /* with each group */
    float acc[PAIRS_AT_ONCE][TOKENS_AT_ONCE][PAIR_ROWS];
    struct panel panels[PAIRS_AT_ONCE][2];
    for (size_t c = 0; c < chunks; c++) {
        const bool last = c + 1 == chunks;
        const uint8_t *next = last ? w + 2 * PAIRS_AT_ONCE * tile_bytes : w + (c + 1) * chunk_bytes;
        for (size_t i = 0; i < 2 * pairs; i++)
            fill_panel(&panels[i / 2][i % 2], w + i * tile_bytes, c, k);
        for (size_t g = 0, from = 0, n; g < groups; g++, from += n) {
            const struct activations group = activations_from(x, from);
            const size_t fetched_to = (g + 1) * fetched < chunk_bytes ? (g + 1) * fetched : chunk_bytes;
            n = small + (g < larger);
            for (size_t i = 0; i < pairs; i++) {
                float *out = y + from * y_stride + i * PAIR_ROWS;
                prefetch_both(next + 2 * i * tile_bytes, tile_bytes, g * fetched, fetched_to);
                if (c == 0)
                    memset(acc[i] + from, 0, n * sizeof *acc[i]);
                for (size_t t = 0; last && t < n; t++)
                    prefetch_pair(out + t * y_stride, rows - i * PAIR_ROWS);
                panels_times_group(acc[i] + from, panels[i], units_at(&group, c), n);
                for (size_t t = 0; last && t < n; t++)
                    store_pair(out + t * y_stride, acc[i][from + t], rows - i * PAIR_ROWS);
            }
        }
    }
}

/* Pairs of tiles times many tokens; part of the tokens after part, so that their activations are in the caches for many pairs.
 * Returns how many rows those are: all but those of a last tile that has no other. */
static size_t pairs_times_many(float *y, size_t y_stride, const uint8_t *w, const struct activations *x, size_t rows, size_t k,
                               size_t tokens)
{
    const size_t paired = rows % PAIR_ROWS > TILE_ROWS ? rows : rows - rows % PAIR_ROWS;
    const size_t parts = (tokens + TOKENS_AT_ONCE - 1) / TOKENS_AT_ONCE;
    for (size_t p = 0; p < parts; p++) {
        const size_t from = tokens * p / parts;
        const size_t n = tokens * (p + 1) / parts - from;
        const struct activations part = activations_from(x, from);
        const uint8_t *pair = w;
        for (size_t r = 0; r < paired; r += ROWS_AT_ONCE, pair += 2 * PAIRS_AT_ONCE * TILE_BYTES(k))
            pairs_times_tokens(y + r + from * y_stride, y_stride, pair, &part,
                               paired - r < ROWS_AT_ONCE ? paired - r : ROWS_AT_ONCE, k, n);
    }
    return paired;
}

/* ---- All ---------------------------------------------------------------------------------------------------------- */

void KERNEL(matmul)(float *y, size_t y_stride, const void *w, const void *x, size_t x_stride, size_t rows, size_t k, size_t tokens,
                    size_t prefetch_bytes)
{
    const struct activations a = {x, x_stride};
    size_t done = 0;
    if (tokens >= MANY_TOKENS)
        done = pairs_times_many(y, y_stride, w, &a, rows, k, tokens);
    else if (takes_two_tiles(tokens, prefetch_bytes))
        done = halves_times_few(y, y_stride, w, &a, rows, k, tokens, prefetch_bytes);
    const uint8_t *tile = (const uint8_t *)w + (done + TILE_ROWS - 1) / TILE_ROWS * TILE_BYTES(k);
    for (size_t r = done; r < rows; r += TILE_ROWS, tile += TILE_BYTES(k))
        tile_times_tokens(y + r, y_stride, tile, &a, rows - r, k, tokens, prefetch_bytes);
}
