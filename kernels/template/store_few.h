/* The results of one tile or two for few tokens, the end of tiles_times_tokens at all levels. The including file has defined
 *   vecf         floats, a lane for each row of a tile,
 *   store_rows   those of the rows that exist,
 *   FEW_TOKENS   the most tokens. */
#ifndef HEARTH_TEMPLATE_STORE_FEW_H
#define HEARTH_TEMPLATE_STORE_FEW_H

#include "template/product.h"
#include "template/unroll.h"

HEARTH_ALWAYS_INLINE void store_few(float *y, size_t y_stride, vecf acc[2][FEW_TOKENS], const struct tiles *w, size_t tiles,
                                    size_t tokens)
{
    UNROLL
    for (size_t t = 0; t < tokens; t++) {
        UNROLL
        for (size_t i = 0; i < tiles; i++)
            store_rows(y + t * y_stride + i * w->rows_apart, acc[i][t], i + 1 < tiles ? TILE_ROWS : w->rows);
    }
}

#endif
