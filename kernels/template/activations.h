/* What all templates of products of quantized weights share: rows and tokens that are taken at once, and activations. */
#ifndef HEARTH_TEMPLATE_ACTIVATIONS_H
#define HEARTH_TEMPLATE_ACTIVATIONS_H

#include "common/attributes.h"
#include "kernels.h"

enum {
    PAIR_ROWS = 2 * TILE_ROWS, /* two tiles share the broadcast activations where there are many tokens */
    TOKENS_AT_ONCE = 256,      /* float accumulators of 2 tiles x 256 tokens: 32 KB of stack with 16 rows, 16 with 8 */
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

#endif
