/* Q3_K weights times Q8_256 activations. A tile begins with the scales d of all its super-blocks, 8 halves each, rounded up to
 * whole lines; then each super-block has the file's 12 bytes of sub-block scales, byte i of row r at 8 * i + r, and 8 times, for 32
 * k each, 64 bytes of two-bit codes (matmul_kquant16.h) and a plane of 32 bytes of third bits, bit n for group n: 864 bytes. The
 * end is rounded up to a whole line.
 *
 * The code of a weight is unsigned, 0 ... 7; its offset of 4 is taken off through the sums of the activations. A 16-bit lane takes
 * 8 products, half a sub-block, at most 8 * 7 * 127 = 7112; vpmaddwd then scales and widens in one. Sums in int32: products at most
 * 32
 * * 7 * 127 * 256 = 7 282 688, offsets 32 * 4 * 127 * 256 = 4 161 536; their difference is below 2^24 and exact in f32. */
#include "avx2/matmul_kquant16.h"

#define D_BYTES 16
#define HEAD_BYTES 96
#define WEIGHTS_BYTES (TWO_BITS_BYTES + 32)
#define BLOCK_BYTES (HEAD_BYTES + 8 * WEIGHTS_BYTES)

static inline size_t whole_lines(size_t bytes)
{
    return (bytes + 63) & ~(size_t)63;
}

static inline size_t all_d_bytes(size_t k)
{
    return whole_lines(k / 256 * D_BYTES);
}

/* Sixteen scales of each row. Bytes 0 ... 7 of the twelve hold the lower four bits of scales 0 ... 7 low and of 8 ... 15 high,
 * bytes 8 ... 11 the upper two of scales 4i + 0 ... 3 at bits 2i. */
HEARTH_ALWAYS_INLINE void decode_scales(uint8_t scales[128], const uint8_t *p)
{
    const __m256i high = load32(p + 64);
    const __m256i upper[4] = {_mm256_slli_epi16(high, 4), _mm256_slli_epi16(high, 2), high, _mm256_srli_epi16(high, 2)};
    UNROLL
    for (size_t i = 0; i < 4; i++) {
        const __m256i bytes = load32(p + i % 2 * 32);
        const __m256i lower = i < 2 ? low_nibbles(bytes) : high_nibbles(bytes);
        const __m256i six = _mm256_or_si256(lower, _mm256_and_si256(upper[i], _mm256_set1_epi8(48)));
        _mm256_storeu_si256((__m256i *)(void *)(scales + 32 * i), _mm256_sub_epi8(six, _mm256_set1_epi8(32)));
    }
}

/* Groups 2v and 2v + 1, 0 ... 7. */
HEARTH_ALWAYS_INLINE void decode_codes(__m256i w[2], const uint8_t *p, size_t v)
{
    const __m256i mask = _mm256_set1_epi8(4);
    const __m256i plane = load32(p + TWO_BITS_BYTES);
    decode_two_bits(w, p, v);
    UNROLL
    for (int i = 0; i < 2; i++)
        w[i] = _mm256_or_si256(w[i], _mm256_and_si256(move_up(plane, 2 - 2 * (int)v - i), mask));
}

HEARTH_ALWAYS_INLINE size_t super_block_at(size_t b, size_t k)
{
    return all_d_bytes(k) + b * BLOCK_BYTES;
}

HEARTH_ALWAYS_INLINE void read_head(struct super_block *out, uint8_t room[ROOM_BYTES], const uint8_t *w, size_t b, size_t k)
{
    decode_scales(room, w + super_block_at(b, k));
    out->scales = room;
    all_pairs(out->pairs, out->scales, 16);
    out->d = load8_halves(w + D_BYTES * b);
}

HEARTH_ALWAYS_INLINE void decode_two(__m256i codes[2], __m256i values[2], const uint8_t *p, size_t v)
{
    (void)values;
    decode_codes(codes, p, v);
}

HEARTH_ALWAYS_INLINE __m256 fold(__m256 acc, __m256i sum, const struct super_block *block, const struct hearth_q8_256 *x)
{
    return fold_offset(acc, sum, block, 2, x);
}

#define KERNEL(operation) hearth_##operation##_q3_K_avx2
#define SIGNED 0
#define LANE_GROUPS 4
#define SCALE_GROUPS 4
#define LANE_SPAN 0
#include "avx2/matmul_super.h"

size_t hearth_tile_bytes_q3_K_avx2(size_t k)
{
    return all_d_bytes(k) + whole_lines(k / 256 * BLOCK_BYTES);
}

/* Bit k of bits, the third bit of code k = 4n + b, becomes bit n of byte 4r + b of the plane. */
HEARTH_ALWAYS_INLINE void pack_third_bits(uint8_t *plane, size_t r, uint32_t bits)
{
    for (size_t b = 0; b < 4; b++)
        plane[4 * r + b] = (uint8_t)_pext_u32(bits, 0x11111111u << b);
}

HEARTH_ALWAYS_INLINE uint32_t unpack_third_bits(const uint8_t *plane, size_t r)
{
    uint32_t bits = 0;
    for (size_t b = 0; b < 4; b++)
        bits |= _pdep_u32(plane[4 * r + b], 0x11111111u << b);
    return bits;
}

void hearth_pack_q3_K_avx2(void *tile, const void *file_rows, size_t rows, size_t k)
{
    const struct hearth_block_q3_K *in = file_rows;
    memset(tile, 0, hearth_tile_bytes_q3_K_avx2(k));
    for (size_t r = 0; r < rows; r++)
        for (size_t b = 0; b < k / 256; b++, in++) {
            uint8_t *out = (uint8_t *)tile + all_d_bytes(k) + b * BLOCK_BYTES;
            pack_half((uint8_t *)tile + D_BYTES * b, r, in->d);
            for (size_t i = 0; i < 12; i++)
                out[8 * i + r] = in->scales[i];
            out += HEAD_BYTES;
            for (int j = 0; j < 8; j++, out += WEIGHTS_BYTES) { /* plane j % 4 of half j / 4 */
                pack_two_bits(out, r, two_bits(in->qs + j / 4 * 32, j % 4));
                pack_third_bits(out + TWO_BITS_BYTES, r, file_bits(in->hmask, j));
            }
        }
}

void hearth_unpack_q3_K_avx2(void *file_row, const void *tile, size_t row, size_t k)
{
    struct hearth_block_q3_K *out = file_row;
    memset(out, 0, k / 256 * sizeof *out);
    for (size_t b = 0; b < k / 256; b++, out++) {
        const uint8_t *in = (const uint8_t *)tile + all_d_bytes(k) + b * BLOCK_BYTES;
        memcpy(out->d, (const uint8_t *)tile + D_BYTES * b + 2 * row, 2);
        for (size_t i = 0; i < 12; i++)
            out->scales[i] = in[8 * i + row];
        in += HEAD_BYTES;
        for (size_t j = 0; j < 8; j++, in += WEIGHTS_BYTES) {
            const uint32_t third = unpack_third_bits(in + TWO_BITS_BYTES, row);
            for (size_t i = 0; i < 32; i++) {
                out->qs[j / 4 * 32 + i] |= (uint8_t)(unpack_two_bits(in, row, i) << (j % 4 * 2));
                out->hmask[i] |= (uint8_t)((third >> i & 1) << j);
            }
        }
    }
}
