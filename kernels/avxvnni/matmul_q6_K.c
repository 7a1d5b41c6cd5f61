/* Products with Q6_K weights; a tile begins with all scales d; a super-block of 8 rows is 16 times 8 scales and 8 times 64 bytes of
 * upper bits and 128 of nibbles. The bounds are those of avx512/matmul_q6_K.c. */
#include "avxvnni/kquant_scales.h"

enum { OFFSET = 32, SUPER_BYTES = 1664 };
#define SUB_BLOCKS 16
#define KERNEL(operation) hearth_##operation##_q6_K_avxvnni
#define TILE_BYTES hearth_tile_bytes_q6_K_avx2

HEARTH_ALWAYS_INLINE size_t super_block_at(size_t s, size_t k)
{
    return all_halves_bytes(k) + s * SUPER_BYTES;
}

HEARTH_ALWAYS_INLINE void read_scales(struct super_scales *out, const uint8_t *tile, size_t s, size_t k)
{
    const uint8_t *p = tile + super_block_at(s, k);
    UNROLL
    for (size_t j = 0; j < 16; j++)
        out->scale[j] = widen_signed(p + 8 * j);
    out->d = load_halves(tile + 16 * s);
}

HEARTH_ALWAYS_INLINE void read_weights(veci w[8], const uint8_t *super, size_t step)
{
    const uint8_t *codes = super + 128 + 192 * step;
    veci upper[8];
    split_two_bits(upper, codes);
    split_nibbles(w, codes + 64);
    UNROLL
    for (size_t n = 0; n < 8; n++)
        w[n] = _mm256_or_si256(w[n], _mm256_slli_epi16(upper[n], 4));
}

#include "template/dot_super.h"
