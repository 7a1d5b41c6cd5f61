/* Products of float weights with F32 activations: a template. The including file has included matmul.h and defines
 *   KERNEL(operation)  the name of a function,
 *   ELEMENT            the type of a weight in the file,
 *   LOAD               sixteen weights as vec16.
 *
 * A tile is one row, filled with zeros to a multiple of 64 bytes. Lanes are k, as the contract says: lane l takes k = l (mod 16)
 * upwards. Four rows and four tokens at once give 16 chains, and each load serves four of them. */

enum { ROWS = 4, TOKENS = 4 };

size_t KERNEL(tile_bytes)(size_t k)
{
    return (k * sizeof(ELEMENT) + 63) & ~(size_t)63;
}

void KERNEL(pack)(void *tile, const void *file_rows, size_t rows, size_t k)
{
    memset(tile, 0, KERNEL(tile_bytes)(k));
    if (rows > 0)
        memcpy(tile, file_rows, k * sizeof(ELEMENT));
}

void KERNEL(unpack)(void *file_row, const void *tile, size_t row, size_t k)
{
    (void)row;
    memcpy(file_row, tile, k * sizeof(ELEMENT));
}

HEARTH_ALWAYS_INLINE const ELEMENT *weights_at(const uint8_t *w, size_t tile_bytes, size_t row, size_t i)
{
    return (const ELEMENT *)(const void *)(w + row * tile_bytes) + i;
}

HEARTH_ALWAYS_INLINE const float *activations_at(const uint8_t *x, size_t x_stride, size_t token, size_t i)
{
    return (const float *)(const void *)(x + token * x_stride) + i;
}

HEARTH_ALWAYS_INLINE void rows_times_tokens(float *y, size_t y_stride, const uint8_t *w, const uint8_t *x, size_t x_stride,
                                            size_t k, size_t rows, size_t tokens)
{
    const size_t tile_bytes = KERNEL(tile_bytes)(k);
    const size_t whole = k / 16 * 16;
    vec16 sum[ROWS][TOKENS];
    UNROLL
    for (size_t i = 0; i < rows * tokens; i++)
        sum[i / tokens][i % tokens] = vec16_zero();
    for (size_t i = 0; i < whole; i += 16) {
        vec16 v[TOKENS];
        UNROLL
        for (size_t t = 0; t < tokens; t++)
            v[t] = vec16_load(activations_at(x, x_stride, t, i));
        UNROLL
        for (size_t r = 0; r < rows; r++) {
            const vec16 weights = LOAD(weights_at(w, tile_bytes, r, i));
            UNROLL
            for (size_t t = 0; t < tokens; t++)
                sum[r][t] = vec16_fma(weights, v[t], sum[r][t]);
        }
    }
    if (whole < k) { /* lanes beyond k keep their sums to the bit; the tile's zeros make the whole load of weights legal */
        UNROLL
        for (size_t i = 0; i < rows * tokens; i++) {
            const size_t r = i / tokens;
            const vec16 weights = LOAD(weights_at(w, tile_bytes, r, whole));
            const vec16 v = vec16_load_partial(activations_at(x, x_stride, i % tokens, whole), k - whole);
            sum[r][i % tokens] = _mm512_mask3_fmadd_ps(weights, v, sum[r][i % tokens], vec16_mask(k - whole));
        }
    }
    UNROLL
    for (size_t i = 0; i < rows * tokens; i++)
        y[i % tokens * y_stride + i / tokens] = vec16_sum(sum[i / tokens][i % tokens]);
}

static void some_rows_times_tokens(float *y, size_t y_stride, const uint8_t *w, const uint8_t *x, size_t x_stride, size_t k,
                                   size_t rows, size_t tokens)
{
    switch ((rows == ROWS ? 8 : 0) + tokens) {
    case 1:
        rows_times_tokens(y, y_stride, w, x, x_stride, k, 1, 1);
        break;
    case 2:
        rows_times_tokens(y, y_stride, w, x, x_stride, k, 1, 2);
        break;
    case 3:
        rows_times_tokens(y, y_stride, w, x, x_stride, k, 1, 3);
        break;
    case 4:
        rows_times_tokens(y, y_stride, w, x, x_stride, k, 1, 4);
        break;
    case 8 + 1:
        rows_times_tokens(y, y_stride, w, x, x_stride, k, ROWS, 1);
        break;
    case 8 + 2:
        rows_times_tokens(y, y_stride, w, x, x_stride, k, ROWS, 2);
        break;
    case 8 + 3:
        rows_times_tokens(y, y_stride, w, x, x_stride, k, ROWS, 3);
        break;
    case 8 + 4:
        rows_times_tokens(y, y_stride, w, x, x_stride, k, ROWS, 4);
        break;
    }
}

void KERNEL(matmul)(float *y, size_t y_stride, const void *w, const void *x, size_t x_stride, size_t rows, size_t k, size_t tokens,
                    size_t prefetch_bytes)
{
    (void)prefetch_bytes;
    const size_t tile_bytes = KERNEL(tile_bytes)(k);
    size_t step;
    for (size_t r = 0; r < rows; r += step) {
        step = rows - r >= ROWS ? ROWS : 1;
        for (size_t t = 0; t < tokens; t += TOKENS) {
            const size_t n = tokens - t < TOKENS ? tokens - t : TOKENS;
            some_rows_times_tokens(y + t * y_stride + r, y_stride, (const uint8_t *)w + r * tile_bytes,
                                   (const uint8_t *)x + t * x_stride, x_stride, k, step, n);
        }
    }
}
