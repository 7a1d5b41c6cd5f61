/* Products with Q6_K weights; a tile begins with all scales d; a super-block of 8 rows is 16 times 8 scales and 8 times twice three
 * vectors, whose lower six bits are groups 0, 1 and 2 of four, and whose upper two are together group 3. The bounds are those of
 * avx512/matmul_q6_K.c. */
#include "avxvnni/kquant_scales.h"

enum { OFFSET = 32, SUPER_BYTES = 1664, SHORT_SPAN = 32767 / 32 };
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
    const veci six = _mm256_set1_epi8(63);
    UNROLL
    for (size_t n = 0; n < 8; n += 4) {
        veci upper = _mm256_setzero_si256();
        UNROLL
        for (size_t i = 0; i < 3; i++) {
            const veci both = load256(codes + 24 * n + 32 * (2 - i));
            w[n + 2 - i] = _mm256_and_si256(both, six);
            upper = _mm256_or_si256(_mm256_srli_epi16(upper, 2), _mm256_andnot_si256(six, both));
        }
        w[n + 3] = _mm256_srli_epi16(upper, 2);
    }
}

#include "template/dot_super.h"
