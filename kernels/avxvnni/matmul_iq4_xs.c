/* Products with IQ4_XS weights; a super-block of 8 rows is d[8], the scales' upper bits as [2][8] bytes, their lower ones as
 * [4][8], and 8 times 128 bytes of nibbles. The bounds are those of avx512/matmul_iq4_xs.c. */
#include "avxvnni/kquant_scales.h"

enum { OFFSET = 128, SUPER_BYTES = 1088, SHORT_SPAN = 0 };
#define SUB_BLOCKS 8
#define KERNEL(operation) hearth_##operation##_iq4_xs_avxvnni
#define TILE_BYTES hearth_tile_bytes_iq4_xs_avx2

HEARTH_ALWAYS_INLINE size_t super_block_at(size_t s, size_t k)
{
    (void)k;
    return s * SUPER_BYTES;
}

HEARTH_ALWAYS_INLINE void read_scales(struct super_scales *out, const uint8_t *tile, size_t s, size_t k)
{
    const uint8_t *p = tile + super_block_at(s, k);
    UNROLL
    for (int j = 0; j < 8; j++) {
        const veci low = _mm256_srli_epi32(widen_unsigned(p + 32 + j / 2 * 8), j % 2 * 4);
        const veci high = _mm256_srli_epi32(widen_unsigned(p + 16 + j / 4 * 8), j % 4 * 2);
        const veci six = _mm256_or_si256(low_bits(low, 15), _mm256_slli_epi32(low_bits(high, 3), 4));
        out->scale[j] = _mm256_sub_epi32(six, _mm256_set1_epi32(32));
    }
    out->d = load_halves(p);
}

HEARTH_ALWAYS_INLINE void read_weights(veci w[8], const uint8_t *super, size_t step)
{
    split_nibbles(w, super + 64 + 128 * step);
    look_up_iq4(w);
}

#include "template/dot_super.h"
