/* What the templates of products with a dot instruction for bytes share: sizes, activations, loads. The including file has defined
 * their vocabulary and TILE_ROWS. */
#ifndef HEARTH_TEMPLATE_DOT_H
#define HEARTH_TEMPLATE_DOT_H

#include "template/prefetch.h"
#include "template/product.h"

/* With vectors of 512 bits: 8 weights, 8 accumulators, 8 sums in flight for few tokens; 12 chains and 12 sums, 2 weights, 1
 * broadcast for many, 27 of 32 registers. With 256 bits and 16 registers the sums go to the stack once in 32 k. */
enum {
    ONE_TILE_TOKENS = 8,
    TWO_TILES_TOKENS = 4,
    TWO_TILES_ALWAYS = 0,
    MANY_TOKENS = 9,
    GROUP_TOKENS = 6,
};

HEARTH_ALWAYS_INLINE veci broadcast_dword(const void *p)
{
    int32_t dword;
    memcpy(&dword, p, sizeof dword);
    return veci_set1(dword);
}

/* The results of one tile or two for few tokens. */
HEARTH_ALWAYS_INLINE void store_few(float *y, size_t y_stride, vecf acc[2][ONE_TILE_TOKENS], const struct tiles *w, size_t tiles,
                                    size_t tokens)
{
    UNROLL
    for (size_t t = 0; t < tokens; t++) {
        UNROLL
        for (size_t i = 0; i < tiles; i++)
            store_rows(y + t * y_stride + i * w->rows_apart, acc[i][t], i + 1 < tiles ? TILE_ROWS : w->rows);
    }
}

/* Scales of a block of a tile; m is 0 and never used in a format without. */
struct scales {
    vecf d, m;
};

#endif
