/* Products with Q5_0 weights; a block of 8 rows is codes of five bits. */
#include "avxvnni/matmul.h"

enum { OFFSET = 16, CODE_BYTES = 160 };
#define HAS_MIN 0
#define KERNEL(operation) hearth_##operation##_q5_0_avxvnni
#define TILE_BYTES hearth_tile_bytes_q5_0_avx2

HEARTH_ALWAYS_INLINE void read_weights(veci w[8], const uint8_t *block)
{
    split_five_bits(w, block);
}

#include "avxvnni/matmul_block32.h"
