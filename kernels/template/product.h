/* What all templates of products of quantized weights share: how tiles and activations are handed on. */
#ifndef HEARTH_TEMPLATE_PRODUCT_H
#define HEARTH_TEMPLATE_PRODUCT_H

#include "common/attributes.h"
#include "kernels.h"
#include "template/unroll.h"

enum {
    TWO_TILES_TOKENS = 4, /* few tokens that may meet two tiles at once: in 16 registers, too */

    /* Where there are many tokens: */
    PAIR_ROWS = 2 * TILE_ROWS, /* two tiles share the broadcast activations, */
    ROWS_AT_ONCE = 64,         /* and two or four pairs a walk over the activations: they may lie in the third-level cache */
    PAIRS_AT_ONCE = ROWS_AT_ONCE / PAIR_ROWS,
    TOKENS_AT_ONCE = 256, /* float accumulators: 64 KB of stack */
};

/* Units of tokens, as kernels.h lays them out; the first token's units are `stride` apart. */
struct activations {
    const uint8_t *units;
    size_t stride;
};

HEARTH_ALWAYS_INLINE struct activations activations_from(const struct activations *x, size_t token)
{
    return (struct activations){x->units + token * HEARTH_UNIT_BYTES, x->stride};
}

/* Unit c of the first token; those of the next ones follow. */
HEARTH_ALWAYS_INLINE const void *units_at(const struct activations *x, size_t c)
{
    return x->units + c * x->stride;
}

/* Whether the spans of these tokens' units, of 32, of 16 or of 8 codes, are all at most `most`. */
HEARTH_ALWAYS_INLINE bool spans_are_within(const struct hearth_q8_256 *x, size_t tokens, const size_t codes, uint16_t most)
{
    uint16_t largest = 0;
    UNROLL
    for (size_t t = 0; t < tokens; t++) {
        const struct hearth_spans *spans = &x[t].spans;
        const uint16_t span = codes == 32 ? spans->of32 : codes == 16 ? spans->of16 : spans->of8;
        largest = span > largest ? span : largest;
    }
    return largest <= most;
}

/* Tiles that few tokens meet side by side: one, or two so far apart that each stream runs on from tile to tile. */
struct tiles {
    const uint8_t *first;
    size_t bytes_apart, rows_apart; /* of two */
    size_t rows;                    /* of the last; the first of two has all */
};

HEARTH_ALWAYS_INLINE struct tiles one_tile(const uint8_t *tile, size_t rows)
{
    return (struct tiles){.first = tile, .rows = rows < TILE_ROWS ? rows : TILE_ROWS};
}

/* Of `rows`, tiles i of both halves, `half` tiles each. */
HEARTH_ALWAYS_INLINE struct tiles two_tiles(const uint8_t *w, size_t i, size_t half, size_t rows, size_t tile_bytes)
{
    const size_t left = rows - (half + i) * TILE_ROWS;
    return (struct tiles){w + i * tile_bytes, half * tile_bytes, half * TILE_ROWS, left < TILE_ROWS ? left : TILE_ROWS};
}

#endif
