/* What the templates of products with a dot instruction for bytes share: sizes, activations, loads. The including file has defined
 * their vocabulary, TILE_ROWS, and what depends on the number of registers:
 *   MANY_TOKENS    from how many tokens on panels are better,
 *   JOINED_TOKENS  from how many on, of few, it is better to ask whether two chains may be joined (dot_super.h). */
#ifndef HEARTH_TEMPLATE_DOT_H
#define HEARTH_TEMPLATE_DOT_H

#include "template/prefetch.h"
#include "template/product.h"

/* With 32 registers: 8 weights, 8 chains, 8 sums in flight for few tokens; 12 chains and 12 sums, 2 weights, 1 broadcast for many.
 * With 16 the sums go to the stack once in 32 k. */
enum {
    FEW_TOKENS = 8,
    ONE_TILE_TOKENS = 8,
    TWO_TILES_ALWAYS = 0,
    GROUP_TOKENS = 6,
};

HEARTH_ALWAYS_INLINE veci broadcast_dword(const void *p)
{
    int32_t dword;
    memcpy(&dword, p, sizeof dword);
    return veci_set1(dword);
}

#include "template/store_few.h"

/* Scales of a block of a tile; m is 0 and never used in a format without. */
struct scales {
    vecf d, m;
};

#endif
