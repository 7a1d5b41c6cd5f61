/* What the templates of products with a dot instruction for bytes share: sizes, activations, loads. The including file has defined
 * their vocabulary and TILE_ROWS. */
#ifndef HEARTH_TEMPLATE_DOT_H
#define HEARTH_TEMPLATE_DOT_H

#include "template/prefetch.h"

/* With vectors of 512 bits: 8 weights, 8 accumulators, 8 sums in flight for few tokens; 12 chains and 12 sums, 2 weights, 1
 * broadcast for many, 27 of 32 registers. With 256 bits and 16 registers the sums go to the stack once in 32 k. */
enum {
    FEW_TOKENS = 8,
    PAIR_ROWS = 2 * TILE_ROWS, /* two tiles share the broadcast activations where there are many tokens */
    GROUP_TOKENS = 6,
    TOKENS_AT_ONCE = 256, /* float accumulators of 2 tiles x 256 tokens: 32 KB of stack with 16 rows, 16 with 8 */
};

HEARTH_ALWAYS_INLINE veci broadcast_dword(const void *p)
{
    int32_t dword;
    memcpy(&dword, p, sizeof dword);
    return veci_set1(dword);
}

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

/* Scales of a block of a tile; m is 0 and never used in a format without. */
struct scales {
    vecf d, m;
};

#endif
