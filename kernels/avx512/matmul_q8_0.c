/* Products with Q8_0 weights. A block of 16 rows is 8 vectors of codes q + 128
 * (matmul.h), after the half scales of its pair of blocks (matmul_block32.h). */
#include "avx512/codes.h"
#include "avx512/matmul.h"

enum { CODE_BYTES = 512, OFFSET = 128 };
#define HAS_MIN 0
#define KERNEL(operation) hearth_##operation##_q8_0_avx512
#define BLOCK struct hearth_block_q8_0

HEARTH_ALWAYS_INLINE void read_weights(__m512i w[8], const uint8_t *block)
{
    UNROLL
    for (size_t n = 0; n < 8; n++)
        w[n] = load512(block + 64 * n);
}

static void put_block(uint8_t *to, const BLOCK *block, size_t r)
{
    uint8_t codes[32];
    codes_of_q8_0(codes, block);
    for (size_t n = 0; n < 8; n++)
        memcpy(to + 64 * n + 4 * r, codes + 4 * n, 4);
}

static void get_block(BLOCK *block, const uint8_t *from, size_t r)
{
    uint8_t codes[32] = {0};
    for (size_t n = 0; n < 8; n++)
        memcpy(codes + 4 * n, from + 64 * n + 4 * r, 4);
    q8_0_of_codes(block, codes);
}

#include "avx512/matmul_block32.h"
