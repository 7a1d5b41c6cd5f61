/* Products with IQ4_NL weights; a block of 8 rows is its nibbles, which a table and 128 make unsigned codes. */
#include "avxvnni/matmul.h"

enum { OFFSET = 128, CODE_BYTES = 128 };
#define HAS_MIN 0
#define KERNEL(operation) hearth_##operation##_iq4_nl_avxvnni
#define TILE_BYTES hearth_tile_bytes_iq4_nl_avx2

HEARTH_ALWAYS_INLINE void read_weights(veci w[8], const uint8_t *block)
{
    split_nibbles(w, block);
    look_up_iq4(w);
}

#include "avxvnni/matmul_block32.h"
