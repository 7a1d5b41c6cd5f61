/* The entry of a quantized product, the same for every format: a template. The including file has defined multiply(), one tile
 * times some tokens, always inline, and KERNEL(operation), the name of a function. One token is a constant there, so that its
 * accumulator stays in a register. */

static void multiply_tile(float *y, size_t y_stride, const uint8_t *w, const uint8_t *x, size_t x_stride, size_t rows, size_t k,
                          size_t tokens, size_t prefetch_bytes)
{
    if (tokens == 1)
        multiply(y, y_stride, w, x, x_stride, rows, k, 1, prefetch_bytes);
    else
        multiply(y, y_stride, w, x, x_stride, rows, k, tokens, prefetch_bytes);
}

void KERNEL(matmul)(float *y, size_t y_stride, const void *w, const void *x, size_t x_stride, size_t rows, size_t k, size_t tokens,
                    size_t prefetch_bytes)
{
    walk_tiles(multiply_tile, TILE_ROWS, KERNEL(tile_bytes)(k), y, y_stride, w, x, x_stride, rows, k, tokens, prefetch_bytes);
}
