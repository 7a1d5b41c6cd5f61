/* Products with Q4_K weights; a super-block of 8 rows is a head (kquant_scales.h) and 8 times 128 bytes of nibbles.
 * The bounds are those of avx512/matmul_q4_K.c. */
#include "avxvnni/kquant_scales.h"

enum { OFFSET = 0, SUPER_BYTES = 1152, SHORT_SPAN = 32767 / 15 };
#define SUB_BLOCKS 8
#define KERNEL(operation) hearth_##operation##_q4_K_avxvnni
#define TILE_BYTES hearth_tile_bytes_q4_K_avx2

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
    split_nibbles(w, super + KQUANT_HEAD_BYTES + 128 * step);
}

#include "template/dot_super.h"
