/* Numbers of tokens become constants: the last part of a quantized product's template, before the walk. What stands before it
 * defines, besides the names of walk.h,
 *   panels_times_tokens  two panels times up to GROUP_TOKENS tokens. */

/* One token: the last tile of an odd number, or any where one token walks one. */
static void one_tile_times_few(float *y, size_t y_stride, const struct tiles *w, const struct activations *x, size_t k,
                               size_t tokens, size_t prefetch_bytes)
{
    (void)tokens;
    tiles_times_tokens(y, y_stride, w, x, k, 1, 1, prefetch_bytes);
}

static void panels_times_group(float (*acc)[PAIR_ROWS], const struct panel panels[2], const void *units, size_t tokens)
{
    if (tokens == 4)
        panels_times_tokens(acc, panels, units, 4);
    else
        panels_times_tokens(acc, panels, units, 3);
}

#include "template/walk.h"
