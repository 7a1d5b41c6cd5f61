/* Products with Q6_K weights. Super-blocks of 16 rows come in pairs after a line of 2 x 16 half scales; an odd last one has a line
 * of its own. A super-block: scales [16][16] as int8, then for each 32 k 4 vectors of nibbles (matmul.h) and 2 vectors of upper
 * bits: byte 4r + b of vector h holds those of k = 16h + 4i + b of row r at bits 2i: 3328 bytes, with the halves 3360, as in the
 * file.
 *
 * Codes are 0 ... 63 and stand for -32 ... 31. A chain ends at no more than 32 * 127 * 16 = 65 024, times a scale of at most 128,
 * times 16 sub-blocks: 133 169 152, int32 holds it. */
#include "avx512/codes.h"
#include "avx512/kquant_scales.h"

enum { UPPER_BITS = 256, STEP_BYTES = UPPER_BITS + 128, CODES = 256, SUPER_BYTES = CODES + 8 * STEP_BYTES };
enum { PAIR_BYTES = 64 + 2 * SUPER_BYTES };
enum { OFFSET = 32, SHORT_SPAN = 32767 / 32 };
#define SUB_BLOCKS 16
#define KERNEL(operation) hearth_##operation##_q6_K_avx512

size_t KERNEL(tile_bytes)(size_t k)
{
    return k / 512 * PAIR_BYTES + k / 256 % 2 * (64 + SUPER_BYTES);
}

HEARTH_ALWAYS_INLINE size_t super_block_at(size_t s, size_t k)
{
    (void)k;
    return s / 2 * PAIR_BYTES + 64 + s % 2 * SUPER_BYTES;
}

HEARTH_ALWAYS_INLINE size_t halves_at(size_t s)
{
    return s / 2 * PAIR_BYTES + s % 2 * 32;
}

HEARTH_ALWAYS_INLINE void read_scales(struct super_scales *out, const uint8_t *tile, size_t s, size_t k)
{
    widen_signed_scales(out, tile + super_block_at(s, k));
    out->d = load_halves(tile + halves_at(s));
}

/* The four 2-bit fields of each byte of v to bits 4 and 5 of w[0 ... 3]. */
HEARTH_ALWAYS_INLINE void add_upper_bits(__m512i w[4], __m512i v)
{
    const __m512i upper = _mm512_set1_epi8(0x30);
    w[0] = _mm512_or_si512(w[0], _mm512_and_si512(_mm512_slli_epi16(v, 4), upper));
    w[1] = _mm512_or_si512(w[1], _mm512_and_si512(_mm512_slli_epi16(v, 2), upper));
    w[2] = _mm512_or_si512(w[2], _mm512_and_si512(v, upper));
    w[3] = _mm512_or_si512(w[3], _mm512_and_si512(_mm512_srli_epi16(v, 2), upper));
}

/* Where 32 k of a super-block begin. */
HEARTH_ALWAYS_INLINE size_t step_at(size_t step)
{
    return CODES + STEP_BYTES * step;
}

HEARTH_ALWAYS_INLINE void read_weights(veci w[8], const uint8_t *super, size_t step)
{
    const uint8_t *codes = super + step_at(step);
    UNROLL
    for (size_t v = 0; v < 4; v++)
        split_nibbles(w + 2 * v, codes + 64 * v);
    UNROLL
    for (size_t h = 0; h < 2; h++)
        add_upper_bits(w + 4 * h, load512(codes + UPPER_BITS + 64 * h));
}

#include "template/dot_super.h"

void KERNEL(pack)(void *tile, const void *file_rows, size_t rows, size_t k)
{
    const struct hearth_block_q6_K *block = file_rows;
    memset(tile, 0, KERNEL(tile_bytes)(k));
    for (size_t r = 0; r < rows; r++)
        for (size_t s = 0; s < k / 256; s++, block++) {
            uint8_t codes[256];
            codes_of_q6_K(codes, block);
            uint8_t *to = (uint8_t *)tile + super_block_at(s, k);
            memcpy((uint8_t *)tile + halves_at(s) + 2 * r, block->d, 2);
            for (size_t j = 0; j < 16; j++)
                to[16 * j + r] = (uint8_t)block->scales[j];
            for (size_t j = 0; j < 8; j++) {
                put_nibbles(to + step_at(j), codes + 32 * j, 32, r);
                put_two_bits(to + step_at(j) + UPPER_BITS, codes + 32 * j, 32, 4, r);
            }
        }
}

void KERNEL(unpack)(void *file_row, const void *tile, size_t row, size_t k)
{
    struct hearth_block_q6_K *block = file_row;
    for (size_t s = 0; s < k / 256; s++, block++) {
        uint8_t codes[256];
        const uint8_t *from = (const uint8_t *)tile + super_block_at(s, k);
        memcpy(block->d, (const uint8_t *)tile + halves_at(s) + 2 * row, 2);
        for (size_t j = 0; j < 16; j++)
            block->scales[j] = (int8_t)from[16 * j + row];
        for (size_t j = 0; j < 8; j++) {
            get_nibbles(codes + 32 * j, from + step_at(j), 32, row);
            get_two_bits(codes + 32 * j, from + step_at(j) + UPPER_BITS, 32, 4, row);
        }
        q6_K_of_codes(block, codes);
    }
}
