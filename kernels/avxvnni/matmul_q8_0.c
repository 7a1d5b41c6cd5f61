/* Products with Q8_0 weights; a block of 8 rows is their signed bytes, which 128 makes unsigned. */
#include "avxvnni/matmul.h"

enum { OFFSET = 128, CODE_BYTES = 256 };
#define HAS_MIN 0
#define KERNEL(operation) hearth_##operation##_q8_0_avxvnni
#define TILE_BYTES hearth_tile_bytes_q8_0_avx2

HEARTH_ALWAYS_INLINE void read_weights(veci w[8], const uint8_t *block)
{
    UNROLL
    for (size_t n = 0; n < 8; n++)
        w[n] = _mm256_xor_si256(load256(block + 32 * n), _mm256_set1_epi8(-128));
}

#include "avxvnni/matmul_block32.h"
