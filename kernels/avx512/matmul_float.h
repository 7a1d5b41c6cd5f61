/* Products of float weights with F32 activations: 16 lanes and one tree for each output (docs/arithmetic.md).
 *
 * A tile holds 4 rows, of each 16 k in turn 16 elements a row, so that a walk reads one stream; what is missing of the last 16 k
 * and of the last rows is zeros.
 *
 * One token: 4 chains. More tokens: a register tile is 4 rows x up to 6 tokens, 24 accumulators, 6 activations and one weight of 32
 * registers, 10 loads for 24 products. k is walked in blocks; between them the lanes lie in memory, which changes no bit. Of a
 * block, 4 rows stay in L1 for all tokens, and 24 tokens in L2 for all rows.
 *
 * A template: the including file has included matmul.h and defines
 *   KERNEL(operation)  the name of a function,
 *   ELEMENT            the type of a weight in the file,
 *   LOAD               sixteen weights as vec16. */

enum {
    ROWS = 4,
    TOKENS = 6,
    GROUP_BYTES = ROWS * 16 * sizeof(ELEMENT), /* 16 k of a tile */
    BLOCK_K = 512,                             /* 8 KB of 4 F32 rows and 12 KB of 6 tokens, in an L1 of 32 KB or more */
    BLOCK_ROWS = 32,
    BLOCK_TOKENS = 24, /* 48 KB of lanes on the stack */
};

HEARTH_ALWAYS_INLINE vec16 weights_of(const uint8_t *group, size_t row)
{
    return LOAD((const ELEMENT *)(const void *)group + 16 * row);
}

/* sum + w * x in the lanes below n; the others keep their sums, to the bit. */
HEARTH_ALWAYS_INLINE vec16 fma_first(vec16 w, vec16 x, vec16 sum, size_t n)
{
    return _mm512_mask3_fmadd_ps(w, x, sum, vec16_mask(n));
}

/* ---- One token --------------------------------------------------------------------------------------------------- */

static void multiply_one_token(float *y, const uint8_t *w, const float *x, size_t rows, size_t k, size_t prefetch_bytes)
{
    vec16 sum[ROWS] = {vec16_zero(), vec16_zero(), vec16_zero(), vec16_zero()};
    size_t i = 0;
    for (; i + 16 <= k; i += 16, w += GROUP_BYTES) {
        const vec16 v = vec16_load(x + i);
        prefetch_ahead(w, GROUP_BYTES, prefetch_bytes);
        UNROLL
        for (size_t r = 0; r < ROWS; r++)
            sum[r] = vec16_fma(weights_of(w, r), v, sum[r]);
    }
    for (size_t r = 0; r < ROWS && r < rows; r++) {
        if (i < k)
            sum[r] = fma_first(weights_of(w, r), vec16_load_partial(x + i, k - i), sum[r], k - i);
        y[r] = vec16_sum(sum[r]);
    }
}

/* ---- Many tokens ------------------------------------------------------------------------------------------------- */

/* Token rows, and the lanes of each output: those of row r and token t begin at sums[r * stride + 16 * t]. */
struct block {
    const uint8_t *x;
    size_t x_stride;
    float *sums;
    size_t stride;
};

HEARTH_ALWAYS_INLINE const float *activations_at(const struct block *b, size_t token)
{
    return (const float *)(const void *)(b->x + token * b->x_stride);
}

/* A register tile over `groups` times 16 k; the first time the lanes begin with zeros. */
HEARTH_ALWAYS_INLINE void multiply_groups(const struct block *b, const uint8_t *w, size_t groups, bool first, size_t tokens)
{
    vec16 sum[ROWS][TOKENS];
    const float *x[TOKENS];
    UNROLL
    for (size_t r = 0; r < ROWS; r++) {
        UNROLL
        for (size_t t = 0; t < tokens; t++)
            sum[r][t] = first ? vec16_zero() : vec16_load(b->sums + r * b->stride + 16 * t);
    }
    UNROLL
    for (size_t t = 0; t < tokens; t++)
        x[t] = activations_at(b, t);
    for (size_t g = 0; g < groups; g++, w += GROUP_BYTES) {
        vec16 v[TOKENS];
        UNROLL
        for (size_t t = 0; t < tokens; t++)
            v[t] = vec16_load(x[t] + 16 * g);
        UNROLL
        for (size_t r = 0; r < ROWS; r++) {
            const vec16 weights = weights_of(w, r);
            UNROLL
            for (size_t t = 0; t < tokens; t++)
                sum[r][t] = vec16_fma(weights, v[t], sum[r][t]);
        }
    }
    UNROLL
    for (size_t r = 0; r < ROWS; r++) {
        UNROLL
        for (size_t t = 0; t < tokens; t++)
            vec16_store(b->sums + r * b->stride + 16 * t, sum[r][t]);
    }
}

static void multiply_2(const struct block *b, const uint8_t *w, size_t groups, bool first)
{
    multiply_groups(b, w, groups, first, 2);
}

static void multiply_3(const struct block *b, const uint8_t *w, size_t groups, bool first)
{
    multiply_groups(b, w, groups, first, 3);
}

static void multiply_4(const struct block *b, const uint8_t *w, size_t groups, bool first)
{
    multiply_groups(b, w, groups, first, 4);
}

static void multiply_5(const struct block *b, const uint8_t *w, size_t groups, bool first)
{
    multiply_groups(b, w, groups, first, 5);
}

static void multiply_6(const struct block *b, const uint8_t *w, size_t groups, bool first)
{
    multiply_groups(b, w, groups, first, 6);
}

/* The n < 16 elements of the last group. */
static void multiply_rest(const struct block *b, const uint8_t *w, size_t n, size_t tokens)
{
    for (size_t t = 0; t < tokens; t++) {
        const vec16 v = vec16_load_partial(activations_at(b, t), n);
        for (size_t r = 0; r < ROWS; r++) {
            float *sums = b->sums + r * b->stride + 16 * t;
            vec16_store(sums, fma_first(weights_of(w, r), v, vec16_load(sums), n));
        }
    }
}

/* One row tile times all tokens of the block over n elements of k; meanwhile the bytes at `next` are asked for, a part with each
 * token tile. */
static void multiply_row_tile(const struct block *b, const uint8_t *w, const uint8_t *next, size_t n, bool first, size_t tokens)
{
    typedef void multiply_fn(const struct block *, const uint8_t *, size_t, bool);
    static multiply_fn *const multiply[TOKENS + 1] = {NULL, NULL, multiply_2, multiply_3, multiply_4, multiply_5, multiply_6};
    const size_t tiles = (tokens + TOKENS - 1) / TOKENS;
    const size_t next_lines = n / 16 * GROUP_BYTES / 64;
    for (size_t i = 0; i < tiles; i++) {
        const size_t t = i * tokens / tiles;
        const struct block tile = {b->x + t * b->x_stride, b->x_stride, b->sums + 16 * t, b->stride};
        for (size_t line = i * next_lines / tiles; line < (i + 1) * next_lines / tiles; line++)
            _mm_prefetch((const char *)next + 64 * line, _MM_HINT_T1);
        multiply[(i + 1) * tokens / tiles - t](&tile, w, n / 16, first);
    }
    if (n % 16 > 0) {
        const struct block rest = {b->x + n / 16 * 16 * sizeof(float), b->x_stride, b->sums, b->stride};
        multiply_rest(&rest, w + n / 16 * GROUP_BYTES, n % 16, tokens);
    }
}

/* At most BLOCK_ROWS rows times 2 ... BLOCK_TOKENS tokens. */
static void multiply_block(float *y, size_t y_stride, const uint8_t *w, const uint8_t *x, size_t x_stride, size_t rows, size_t k,
                           size_t tokens)
{
    _Alignas(64) float sums[BLOCK_ROWS * BLOCK_TOKENS * 16];
    const size_t tile_bytes = KERNEL(tile_bytes)(k);
    const size_t stride = 16 * tokens;
    for (size_t at = 0; at < k; at += BLOCK_K) {
        const size_t n = k - at < BLOCK_K ? k - at : BLOCK_K;
        const uint8_t *now = w + at / 16 * GROUP_BYTES;
        for (size_t r = 0; r < rows; r += ROWS) {
            const struct block b = {x + at * sizeof(float), x_stride, sums + r * stride, stride};
            const uint8_t *tile = now + r / ROWS * tile_bytes;
            multiply_row_tile(&b, tile, r + ROWS < rows ? tile + tile_bytes : now + n / 16 * GROUP_BYTES, n, at == 0, tokens);
        }
    }
    for (size_t t = 0; t < tokens; t++)
        for (size_t r = 0; r < rows; r++)
            y[t * y_stride + r] = vec16_sum(vec16_load(sums + r * stride + 16 * t));
}

/* ---- The contract ------------------------------------------------------------------------------------------------ */

void KERNEL(matmul)(float *y, size_t y_stride, const void *w, const void *x, size_t x_stride, size_t rows, size_t k, size_t tokens,
                    size_t prefetch_bytes)
{
    const size_t tile_bytes = KERNEL(tile_bytes)(k);
    const size_t blocks = (tokens + BLOCK_TOKENS - 1) / BLOCK_TOKENS;
    if (tokens == 1) {
        for (size_t r = 0; r < rows; r += ROWS)
            multiply_one_token(y + r, (const uint8_t *)w + r / ROWS * tile_bytes, x, rows - r, k, prefetch_bytes);
        return;
    }
    for (size_t i = 0; i < blocks; i++) {
        const size_t t = i * tokens / blocks;
        const size_t n = (i + 1) * tokens / blocks - t;
        const size_t at_once = n <= TOKENS ? ROWS : BLOCK_ROWS; /* few tokens: in the order in which the tiles lie */
        for (size_t r = 0; r < rows; r += at_once)
            multiply_block(y + t * y_stride + r, y_stride, (const uint8_t *)w + r / ROWS * tile_bytes,
                           (const uint8_t *)x + t * x_stride, x_stride, rows - r < at_once ? rows - r : at_once, k, n);
    }
}

size_t KERNEL(tile_bytes)(size_t k)
{
    return (k + 15) / 16 * GROUP_BYTES;
}

void KERNEL(pack)(void *tile, const void *file_rows, size_t rows, size_t k)
{
    if (rows < ROWS || k % 16 > 0)
        memset(tile, 0, KERNEL(tile_bytes)(k));
    for (size_t r = 0; r < rows; r++) {
        const uint8_t *row = (const uint8_t *)file_rows + r * k * sizeof(ELEMENT);
        uint8_t *to = (uint8_t *)tile + r * 16 * sizeof(ELEMENT);
        for (size_t g = 0; g < k / 16; g++)
            memcpy(to + g * GROUP_BYTES, row + g * 16 * sizeof(ELEMENT), 16 * sizeof(ELEMENT));
        memcpy(to + k / 16 * GROUP_BYTES, row + k / 16 * 16 * sizeof(ELEMENT), k % 16 * sizeof(ELEMENT));
    }
}

void KERNEL(unpack)(void *file_row, const void *tile, size_t row, size_t k)
{
    const uint8_t *from = (const uint8_t *)tile + row * 16 * sizeof(ELEMENT);
    uint8_t *to = file_row;
    for (size_t g = 0; g < k / 16; g++)
        memcpy(to + g * 16 * sizeof(ELEMENT), from + g * GROUP_BYTES, 16 * sizeof(ELEMENT));
    memcpy(to + k / 16 * 16 * sizeof(ELEMENT), from + k / 16 * GROUP_BYTES, k % 16 * sizeof(ELEMENT));
}
