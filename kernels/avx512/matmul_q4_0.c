/* Products with Q4_0 weights. A block of 16 rows is 4 vectors of nibbles
 * (matmul.h), after the half scales of its pair of blocks (matmul_block32.h). */
#include "avx512/codes.h"
#include "avx512/matmul.h"

enum { CODE_BYTES = 256, OFFSET = 8 };
#define HAS_MIN 0
#define KERNEL(operation) hearth_##operation##_q4_0_avx512
#define BLOCK struct hearth_block_q4_0

HEARTH_ALWAYS_INLINE void read_weights(__m512i w[8], const uint8_t *block)
{
    UNROLL
    for (size_t v = 0; v < 4; v++)
        split_nibbles(w + 2 * v, block + 64 * v);
}

static void put_block(uint8_t *to, const BLOCK *block, size_t r)
{
    uint8_t codes[32];
    codes_of_q4_0(codes, block);
    put_nibbles(to, codes, 32, r);
}

static void get_block(BLOCK *block, const uint8_t *from, size_t r)
{
    uint8_t codes[32] = {0};
    get_nibbles(codes, from, 32, r);
    q4_0_of_codes(block, codes);
}

#include "avx512/matmul_block32.h"
