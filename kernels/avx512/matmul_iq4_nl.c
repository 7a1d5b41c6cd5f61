/* Products with IQ4_NL weights. A block of 16 rows is 4 vectors of nibbles (matmul.h), after the half scales of its pair of blocks
 * (matmul_block32.h). A nibble stands for a value of a table; with 128 added, 1 ... 241, it is an unsigned code as of Q8_0. */
#include "avx512/codes.h"
#include "avx512/matmul.h"

enum { CODE_BYTES = 256, OFFSET = 128 };
#define HAS_MIN 0
#define KERNEL(operation) hearth_##operation##_iq4_nl_avx512
#define BLOCK struct hearth_block_iq4_nl

HEARTH_ALWAYS_INLINE void read_weights(__m512i w[8], const uint8_t *block)
{
    const __m512i table = _mm512_broadcast_i32x4(iq4_codes());
    UNROLL
    for (size_t v = 0; v < 4; v++)
        split_nibbles(w + 2 * v, block + 64 * v);
    UNROLL
    for (size_t n = 0; n < 8; n++)
        w[n] = _mm512_shuffle_epi8(table, w[n]);
}

static void put_block(uint8_t *to, const BLOCK *block, size_t r)
{
    uint8_t nibbles[32];
    store32(nibbles, nibbles32(block->qs));
    put_nibbles(to, nibbles, 32, r);
}

static void get_block(BLOCK *block, const uint8_t *from, size_t r)
{
    uint8_t nibbles[32] = {0};
    get_nibbles(nibbles, from, 32, r);
    put_nibbles32(block->qs, load32(nibbles));
}

#include "avx512/matmul_block32.h"
