/* Products with Q3_K weights. Super-blocks of 16 rows come in pairs after a line of 2 x 16 half scales; an odd last one has a line
 * of its own. A super-block: the file's 12 bytes of scales as [12][16], then for each 32 k 2 vectors of two-bit codes (matmul.h)
 * and 8 masks of third bits (bit 4r + b of mask n is that of k = 4n + b of row r): 1728 bytes, with the halves 1760, as in the
 * file.
 *
 * Codes are 0 ... 7 and stand for -4 ... 3. A chain ends at no more than 4 * 127 * 16 = 8128, times a scale of at most 32, times 16
 * sub-blocks: 4 161 536. */
#include "avx512/codes.h"
#include "avx512/kquant_scales.h"

enum { THIRD_BITS = 128, STEP_BYTES = THIRD_BITS + 64, CODES = 192, SUPER_BYTES = CODES + 8 * STEP_BYTES };
enum { PAIR_BYTES = 64 + 2 * SUPER_BYTES };
enum { OFFSET = 4, SHORT_SPAN = 32767 / 4 };
#define SUB_BLOCKS 16
#define KERNEL(operation) hearth_##operation##_q3_K_avx512

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

/* Bytes 0 ... 7 of the twelve hold the lower four bits of scales 0 ... 7 low and of 8 ... 15 high, bytes 8 ... 11 the upper two of
 * scales 4i + 0 ... 3 at bits 2i. */
HEARTH_ALWAYS_INLINE void read_scales(struct super_scales *out, const uint8_t *tile, size_t s, size_t k)
{
    const uint8_t *p = tile + super_block_at(s, k);
    const __m512i low[2] = {load512(p), load512(p + 64)};
    const __m512i high = load512(p + 128);
    const __m512i four = _mm512_set1_epi8(15);
    const __m512i two = _mm512_set1_epi8(48);
    const __m512i upper[4] = {_mm512_slli_epi16(high, 4), _mm512_slli_epi16(high, 2), high, _mm512_srli_epi16(high, 2)};
    uint8_t bytes[256];
    UNROLL
    for (size_t i = 0; i < 4; i++) {
        const __m512i lower = i < 2 ? low[i] : _mm512_srli_epi16(low[i - 2], 4);
        const __m512i six = _mm512_or_si512(_mm512_and_si512(lower, four), _mm512_and_si512(upper[i], two));
        _mm512_storeu_si512(bytes + 64 * i, _mm512_sub_epi8(six, _mm512_set1_epi8(32)));
    }
    widen_signed_scales(out, bytes);
    out->d = load_halves(tile + halves_at(s));
}

/* Where 32 k of a super-block begin. */
HEARTH_ALWAYS_INLINE size_t step_at(size_t step)
{
    return CODES + STEP_BYTES * step;
}

HEARTH_ALWAYS_INLINE void read_weights(veci w[8], const uint8_t *super, size_t step)
{
    const uint8_t *codes = super + step_at(step);
    const __m512i third = _mm512_set1_epi8(4);
    split_two_bits(w, codes);
    split_two_bits(w + 4, codes + 64);
    UNROLL
    for (size_t n = 0; n < 8; n++) {
        uint64_t bits;
        memcpy(&bits, codes + THIRD_BITS + 8 * n, sizeof bits);
        w[n] = _mm512_mask_add_epi8(w[n], _cvtu64_mask64(bits), w[n], third);
    }
}

#include "template/dot_super.h"

void KERNEL(pack)(void *tile, const void *file_rows, size_t rows, size_t k)
{
    const struct hearth_block_q3_K *block = file_rows;
    memset(tile, 0, KERNEL(tile_bytes)(k));
    for (size_t r = 0; r < rows; r++)
        for (size_t s = 0; s < k / 256; s++, block++) {
            uint8_t codes[256];
            codes_of_q3_K(codes, block);
            uint8_t *to = (uint8_t *)tile + super_block_at(s, k);
            memcpy((uint8_t *)tile + halves_at(s) + 2 * r, block->d, 2);
            for (size_t i = 0; i < 12; i++)
                to[16 * i + r] = block->scales[i];
            for (size_t j = 0; j < 8; j++) {
                put_two_bits(to + step_at(j), codes + 32 * j, 32, 0, r);
                put_bit(to + step_at(j) + THIRD_BITS, codes + 32 * j, 32, 2, r);
            }
        }
}

void KERNEL(unpack)(void *file_row, const void *tile, size_t row, size_t k)
{
    struct hearth_block_q3_K *block = file_row;
    for (size_t s = 0; s < k / 256; s++, block++) {
        uint8_t codes[256] = {0};
        const uint8_t *from = (const uint8_t *)tile + super_block_at(s, k);
        memcpy(block->d, (const uint8_t *)tile + halves_at(s) + 2 * row, 2);
        for (size_t i = 0; i < 12; i++)
            block->scales[i] = from[16 * i + row];
        for (size_t j = 0; j < 8; j++) {
            get_two_bits(codes + 32 * j, from + step_at(j), 32, 0, row);
            get_bit(codes + 32 * j, from + step_at(j) + THIRD_BITS, 32, 2, row);
        }
        q3_K_of_codes(block, codes);
    }
}
