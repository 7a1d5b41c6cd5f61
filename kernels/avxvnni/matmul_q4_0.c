/* Products with Q4_0 weights; a block of 8 rows is its nibbles. */
#include "avxvnni/matmul.h"

enum { OFFSET = 8, CODE_BYTES = 128 };
#define HAS_MIN 0
#define KERNEL(operation) hearth_##operation##_q4_0_avxvnni
#define TILE_BYTES hearth_tile_bytes_q4_0_avx2

HEARTH_ALWAYS_INLINE void read_weights(veci w[8], const uint8_t *block)
{
    split_nibbles(w, block);
}

#include "avxvnni/matmul_block32.h"
