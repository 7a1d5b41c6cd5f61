/* Products with Q3_K weights; a tile begins with all scales d; a super-block of 8 rows is the file's 12 bytes of scales as [12][8]
 * (avx512/matmul_q3_K.c says how they are made up) and 8 times 64 bytes of two-bit codes and 32 of third bits. The bounds are those
 * of avx512/matmul_q3_K.c. */
#include "avxvnni/kquant_scales.h"

enum { OFFSET = 4, SUPER_BYTES = 864, SHORT_SPAN = 32767 / 4 };
#define SUB_BLOCKS 16
#define KERNEL(operation) hearth_##operation##_q3_K_avxvnni
#define TILE_BYTES hearth_tile_bytes_q3_K_avx2

HEARTH_ALWAYS_INLINE size_t super_block_at(size_t s, size_t k)
{
    return all_halves_bytes(k) + s * SUPER_BYTES;
}

HEARTH_ALWAYS_INLINE void read_scales(struct super_scales *out, const uint8_t *tile, size_t s, size_t k)
{
    const uint8_t *p = tile + super_block_at(s, k);
    const veci low[2] = {load256(p), load256(p + 32)};
    const veci high = load256(p + 64);
    const veci upper[4] = {_mm256_slli_epi16(high, 4), _mm256_slli_epi16(high, 2), high, _mm256_srli_epi16(high, 2)};
    uint8_t bytes[128];
    UNROLL
    for (size_t i = 0; i < 4; i++) {
        const veci lower = i < 2 ? low[i] : _mm256_srli_epi16(low[i - 2], 4);
        const veci six = _mm256_or_si256(low_bits(lower, 15), low_bits(upper[i], 48));
        store256(bytes + 32 * i, _mm256_sub_epi8(six, _mm256_set1_epi8(32)));
    }
    UNROLL
    for (size_t j = 0; j < 16; j++)
        out->scale[j] = widen_signed(bytes + 8 * j);
    out->d = load_halves(tile + 16 * s);
}

HEARTH_ALWAYS_INLINE void read_weights(veci w[8], const uint8_t *super, size_t step)
{
    const uint8_t *codes = super + 96 + 96 * step;
    split_two_bits(w, codes);
    add_bits(w, codes + 64, 2);
}

#include "template/dot_super.h"
