/* Products with Q2_K weights; a super-block of 8 rows is d[8] and dmin[8], 16 times 8 bytes of scales (low) and mins (high), and
 * 8 times 64 bytes of two-bit codes. The bounds are those of avx512/matmul_q2_K.c. */
#include "avxvnni/kquant_scales.h"

enum { OFFSET = 0, SUPER_BYTES = 672, SHORT_SPAN = 32767 / 3 };
#define SUB_BLOCKS 16
#define KERNEL(operation) hearth_##operation##_q2_K_avxvnni
#define TILE_BYTES hearth_tile_bytes_q2_K_avx2

HEARTH_ALWAYS_INLINE size_t super_block_at(size_t s, size_t k)
{
    (void)k;
    return s * SUPER_BYTES;
}

HEARTH_ALWAYS_INLINE void read_scales(struct super_scales *out, const uint8_t *tile, size_t s, size_t k)
{
    const uint8_t *p = tile + super_block_at(s, k);
    uint8_t scales[128], mins[128];
    UNROLL
    for (size_t i = 0; i < 128; i += 32) {
        const veci both = load256(p + 32 + i);
        store256(scales + i, low_bits(both, 15));
        store256(mins + i, low_bits(_mm256_srli_epi16(both, 4), 15));
    }
    UNROLL
    for (size_t j = 0; j < 16; j++)
        out->scale[j] = widen_unsigned(scales + 8 * j);
    UNROLL
    for (size_t i = 0; i < 8; i++)
        out->pair[i] = pair_mins(mins + 16 * i, mins + 16 * i + 8);
    out->d = load_halves(p);
    out->dmin = load_halves(p + 16);
}

HEARTH_ALWAYS_INLINE void read_weights(veci w[8], const uint8_t *super, size_t step)
{
    split_two_bits(w, super + 160 + 64 * step);
}

#include "template/dot_super.h"
