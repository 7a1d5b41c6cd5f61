/* Numbers of tokens become constants: the last part of the template of a product that has a dot instruction for bytes, before the
 * walk. What stands before it defines, besides the names of walk.h,
 *   panels_times_tokens  two panels times up to GROUP_TOKENS tokens. */

static void one_tile_times_few(float *y, size_t y_stride, const struct tiles *w, const struct activations *x, size_t k,
                               size_t tokens, size_t prefetch_bytes)
{
    switch (tokens) {
    case 1:
        tiles_times_tokens(y, y_stride, w, x, k, 1, 1, prefetch_bytes);
        break;
    case 2:
        tiles_times_tokens(y, y_stride, w, x, k, 1, 2, prefetch_bytes);
        break;
    case 3:
        tiles_times_tokens(y, y_stride, w, x, k, 1, 3, prefetch_bytes);
        break;
    case 4:
        tiles_times_tokens(y, y_stride, w, x, k, 1, 4, prefetch_bytes);
        break;
    case 5:
        tiles_times_tokens(y, y_stride, w, x, k, 1, 5, prefetch_bytes);
        break;
    case 6:
        tiles_times_tokens(y, y_stride, w, x, k, 1, 6, prefetch_bytes);
        break;
    case 7:
        tiles_times_tokens(y, y_stride, w, x, k, 1, 7, prefetch_bytes);
        break;
    case 8:
        tiles_times_tokens(y, y_stride, w, x, k, 1, 8, prefetch_bytes);
        break;
    }
}

/* MANY_TOKENS or more in even groups of at most GROUP_TOKENS are 4, 5 or 6: 9 are 4 + 5, and from 13 on a third of 13. */
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

#include "template/walk.h"
