/* Products with Q5_K weights; a super-block of 8 rows is a head (kquant_scales.h) and 8 times 160 bytes of codes of
 * five bits. The bounds are those of avx512/matmul_q5_K.c. */
#include "avxvnni/kquant_scales.h"

enum { OFFSET = 0, SUPER_BYTES = 1408, SHORT_SPAN = 32767 / 31 };
#define SUB_BLOCKS 8
#define KERNEL(operation) hearth_##operation##_q5_K_avxvnni
#define TILE_BYTES hearth_tile_bytes_q5_K_avx2

HEARTH_ALWAYS_INLINE size_t super_block_at(size_t s, size_t k)
{
    (void)k;
    return s * SUPER_BYTES;
}

HEARTH_ALWAYS_INLINE void read_scales(struct super_scales *out, const uint8_t *tile, size_t s, size_t k)
{
    read_scales_and_mins(out, tile + super_block_at(s, k));
}

HEARTH_ALWAYS_INLINE void read_weights(veci w[8], const uint8_t *super, size_t step)
{
    split_five_bits(w, super + KQUANT_HEAD_BYTES + 160 * step);
}

#include "template/dot_super.h"
