/* Products of float weights with F32 activations: 16 lanes and one tree for each output (docs/arithmetic.md). A tile is one row as
 * it lies in the file, rounded up to whole lines; two rows and up to three tokens are computed at once, twelve registers of lanes.
 *
 * A template: the including file defines
 *   FORMAT(op)     the name of an operation's function for this format,
 *   ELEMENT        the type of a weight in the file,
 *   ELEMENT_LOAD   a function from ELEMENT * to vec16. */
#include "avx2/matmul.h"
#include "avx2/simd.h"

#define ROWS_AT_ONCE 2
#define TOKENS_AT_ONCE 3

/* acc += w * x over the 16 elements at k, of which n are the row's; lanes beyond keep what they have, to the bit. The tile is
 * padded, so that its last vector may be loaded whole. */
HEARTH_ALWAYS_INLINE void multiply_16(vec16 *acc, const uint8_t *w, size_t w_stride, const uint8_t *x, size_t x_stride, size_t k,
                                      size_t n, size_t rows, size_t tokens, size_t prefetch_bytes)
{
    vec16 weights[ROWS_AT_ONCE];
    size_t ahead = k * sizeof(ELEMENT) + prefetch_bytes / ROWS_AT_ONCE;
    if (ahead >= w_stride) /* beyond the row: the rows in between are being read, too */
        ahead += (rows - 1) * w_stride;
    UNROLL
    for (size_t r = 0; r < rows; r++) {
        _mm_prefetch((const char *)w + r * w_stride + ahead, _MM_HINT_T0);
        weights[r] = ELEMENT_LOAD((const ELEMENT *)(const void *)(w + r * w_stride) + k);
    }
    UNROLL
    for (size_t t = 0; t < tokens; t++) {
        const float *row = (const float *)(const void *)(x + t * x_stride) + k;
        const vec16 v = n == 16 ? vec16_load(row) : vec16_load_partial(row, n);
        UNROLL
        for (size_t r = 0; r < rows; r++) {
            const vec16 sum = vec16_fma(weights[r], v, acc[r * tokens + t]);
            acc[r * tokens + t] = n == 16 ? sum : vec16_first(sum, acc[r * tokens + t], n);
        }
    }
}

HEARTH_ALWAYS_INLINE void multiply(float *y, size_t y_stride, const uint8_t *w, size_t w_stride, const uint8_t *x, size_t x_stride,
                                   size_t k, size_t rows, size_t tokens, size_t prefetch_bytes)
{
    vec16 acc[ROWS_AT_ONCE * TOKENS_AT_ONCE];
    UNROLL
    for (size_t i = 0; i < rows * tokens; i++)
        acc[i] = vec16_zero();
    const size_t whole = k / 16 * 16;
    for (size_t i = 0; i < whole; i += 16)
        multiply_16(acc, w, w_stride, x, x_stride, i, 16, rows, tokens, prefetch_bytes);
    if (whole < k)
        multiply_16(acc, w, w_stride, x, x_stride, whole, k - whole, rows, tokens, prefetch_bytes);
    UNROLL
    for (size_t r = 0; r < rows; r++) {
        UNROLL
        for (size_t t = 0; t < tokens; t++)
            y[t * y_stride + r] = vec16_sum(acc[r * tokens + t]);
    }
}

/* One row (`rows` is 1) or two times `tokens` tokens. */
HEARTH_ALWAYS_INLINE void multiply_rows(float *y, size_t y_stride, const uint8_t *w, size_t w_stride, const uint8_t *x,
                                        size_t x_stride, size_t k, size_t rows, size_t tokens, size_t prefetch_bytes)
{
    size_t t = 0;
    for (; t + 3 <= tokens; t += 3)
        multiply(y + t * y_stride, y_stride, w, w_stride, x + t * x_stride, x_stride, k, rows, 3, prefetch_bytes);
    if (tokens - t == 2)
        multiply(y + t * y_stride, y_stride, w, w_stride, x + t * x_stride, x_stride, k, rows, 2, prefetch_bytes);
    else if (tokens - t == 1)
        multiply(y + t * y_stride, y_stride, w, w_stride, x + t * x_stride, x_stride, k, rows, 1, prefetch_bytes);
}

static void multiply_tile(float *y, size_t y_stride, const uint8_t *w, const uint8_t *x, size_t x_stride, size_t rows, size_t k,
                          size_t tokens, size_t prefetch_bytes)
{
    const size_t w_stride = FORMAT(hearth_tile_bytes)(k);
    if (rows >= ROWS_AT_ONCE)
        multiply_rows(y, y_stride, w, w_stride, x, x_stride, k, ROWS_AT_ONCE, tokens, prefetch_bytes);
    else
        multiply_rows(y, y_stride, w, w_stride, x, x_stride, k, 1, tokens, prefetch_bytes);
}

void FORMAT(hearth_matmul)(float *y, size_t y_stride, const void *w, const void *x, size_t x_stride, size_t rows, size_t k,
                           size_t tokens, size_t prefetch_bytes)
{
    walk_tiles(multiply_tile, ROWS_AT_ONCE, ROWS_AT_ONCE * FORMAT(hearth_tile_bytes)(k), y, y_stride, w, x, x_stride, rows, k,
               tokens, prefetch_bytes);
}

size_t FORMAT(hearth_tile_bytes)(size_t k)
{
    return (k * sizeof(ELEMENT) + 63) & ~(size_t)63;
}

void FORMAT(hearth_pack)(void *tile, const void *file_rows, size_t rows, size_t k)
{
    memset(tile, 0, FORMAT(hearth_tile_bytes)(k));
    if (rows > 0)
        memcpy(tile, file_rows, k * sizeof(ELEMENT));
}

void FORMAT(hearth_unpack)(void *file_row, const void *tile, size_t row, size_t k)
{
    (void)row; /* there is one */
    memcpy(file_row, tile, k * sizeof(ELEMENT));
}
