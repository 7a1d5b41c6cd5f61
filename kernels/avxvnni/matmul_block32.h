/* Avx2's tiles of weights in blocks of 32 (avx2/matmul_block32.h), and their products: a template. The including file has included
 * matmul.h and defines what template/dot_blocks.h asks for, but CODE_BYTES, bytes of a block of 8 rows without its scales and mins,
 * in place of BLOCK_BYTES, block_at and load_scales. */

enum { BLOCK_BYTES = CODE_BYTES + (HAS_MIN ? 32 : 16) };

/* Without mins: the scales of two blocks, then both. With mins: 8 scales, 8 mins, the block. */
HEARTH_ALWAYS_INLINE size_t block_at(size_t j)
{
    return HAS_MIN ? j * BLOCK_BYTES + 32 : j / 2 * 2 * BLOCK_BYTES + 32 + j % 2 * CODE_BYTES;
}

HEARTH_ALWAYS_INLINE struct scales load_scales(const uint8_t *tile, size_t j)
{
    const uint8_t *halves = tile + (HAS_MIN ? j * BLOCK_BYTES : j / 2 * 2 * BLOCK_BYTES + j % 2 * 16);
    return (struct scales){load_halves(halves), HAS_MIN ? load_halves(halves + 16) : vecf_zero()};
}

#include "template/dot_blocks.h"
