/* Tiles of weights in blocks of 32: a template, which ends in that of their products. The including file has included matmul.h and
 * defines
 *   KERNEL(operation)     the name of a function,
 *   BLOCK                 the file's block,
 *   CODE_BYTES            bytes of a block of 16 rows without its scales and mins,
 *   OFFSET                what the format takes away from its codes,
 *   HAS_MIN               1 where the value of a code is code * d + m and the file's block has a field m, else 0,
 *   read_weights          8 vectors of unsigned codes of a block,
 *   put_block, get_block  one row's codes in and out of a block.
 *
 * A tile is lines of 32 half floats, each before the blocks it serves: 16 scales and 16 mins of one block, or, without mins, the
 * scales of two blocks; an odd last block has a line of its own. */

enum {
    BLOCKS_PER_LINE = HAS_MIN ? 1 : 2,
    MINS = 32,
    GROUP_BYTES = 64 + BLOCKS_PER_LINE * CODE_BYTES,
    BLOCK_BYTES = GROUP_BYTES / BLOCKS_PER_LINE,
};

/* Byte offsets in a tile of block j, and of its half scales; its mins are MINS behind these. */
HEARTH_ALWAYS_INLINE size_t block_at(size_t j)
{
    return j / BLOCKS_PER_LINE * GROUP_BYTES + 64 + j % BLOCKS_PER_LINE * CODE_BYTES;
}

HEARTH_ALWAYS_INLINE size_t halves_at(size_t j)
{
    return j / BLOCKS_PER_LINE * GROUP_BYTES + j % BLOCKS_PER_LINE * 32;
}

size_t KERNEL(tile_bytes)(size_t k)
{
    const size_t blocks = k / 32;
    return blocks / BLOCKS_PER_LINE * GROUP_BYTES + blocks % BLOCKS_PER_LINE * (64 + CODE_BYTES);
}

void KERNEL(pack)(void *tile, const void *file_rows, size_t rows, size_t k)
{
    uint8_t *to = tile;
    const BLOCK *block = file_rows;
    memset(to, 0, KERNEL(tile_bytes)(k));
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < k / 32; j++, block++) {
            memcpy(to + halves_at(j) + 2 * r, block->d, 2);
#if HAS_MIN
            memcpy(to + halves_at(j) + MINS + 2 * r, block->m, 2);
#endif
            put_block(to + block_at(j), block, r);
        }
}

void KERNEL(unpack)(void *file_row, const void *tile, size_t row, size_t k)
{
    const uint8_t *from = tile;
    BLOCK *block = file_row;
    for (size_t j = 0; j < k / 32; j++, block++) {
        memcpy(block->d, from + halves_at(j) + 2 * row, 2);
#if HAS_MIN
        memcpy(block->m, from + halves_at(j) + MINS + 2 * row, 2);
#endif
        get_block(block, from + block_at(j), row);
    }
}

HEARTH_ALWAYS_INLINE struct scales load_scales(const uint8_t *tile, size_t j)
{
    const uint8_t *halves = tile + halves_at(j);
    return (struct scales){load_halves(halves), HAS_MIN ? load_halves(halves + MINS) : vecf_zero()};
}

#include "template/dot_blocks.h"
