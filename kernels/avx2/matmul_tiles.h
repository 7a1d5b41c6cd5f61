/* Numbers of tokens become constants, so that accumulators stay in registers: the last part of a quantized product's template,
 * before the walk. What stands before it defines, besides the names of walk.h, multiply             one tile or two times few
 * tokens, panels_times_tokens  two panels times up to GROUP_TOKENS tokens. */

/* One token: the last tile of an odd number, or any where one token walks one. */
static void one_tile_times_few(float *y, size_t y_stride, const struct tiles *w, const struct activations *x, size_t k,
                               size_t tokens, size_t prefetch_bytes)
{
    (void)tokens;
    multiply(y, y_stride, w, x, k, 1, 1, prefetch_bytes);
}

static void two_tiles_times_few(float *y, size_t y_stride, const struct tiles *w, const struct activations *x, size_t k,
                                size_t tokens, size_t prefetch_bytes)
{
    switch (tokens) {
    case 1:
        multiply(y, y_stride, w, x, k, 2, 1, prefetch_bytes);
        break;
    case 2:
        multiply(y, y_stride, w, x, k, 2, 2, prefetch_bytes);
        break;
    case 3:
        multiply(y, y_stride, w, x, k, 2, 3, prefetch_bytes);
        break;
    case 4:
        multiply(y, y_stride, w, x, k, 2, 4, prefetch_bytes);
        break;
    }
}

static void panels_times_group(float (*acc)[PAIR_ROWS], const struct panel panels[2], const void *units, size_t tokens)
{
    if (tokens == 4)
        panels_times_tokens(acc, panels, units, 4);
    else
        panels_times_tokens(acc, panels, units, 3);
}

#include "template/walk.h"
