/* IQ4_XS weights times Q8_256 activations. A super-block of 8 rows is 8 halves d, the scales' upper bits as [2][8] bytes and their
 * lower ones as [4][8], then 8 sub-blocks of 128 bytes of nibbles: 1088 bytes, 17 lines. A nibble stands for a value of a table,
 * -127 ... 113, found by vpshufb.
 *
 * A 16-bit lane takes one pair of products, at most 2 * 127 * 127 = 32 258; vpmaddwd then scales, by at most 32, and widens in one.
 * A super-block's sum is at most 32 * 127 * 127 * 256 = 132 128 768. */
#include "avx2/matmul_kquant.h"

#define SCALES_H_OFFSET 16
#define SCALES_L_OFFSET 32
#define HEAD_BYTES 64
#define WEIGHTS_BYTES 128
#define BLOCK_BYTES (HEAD_BYTES + 8 * WEIGHTS_BYTES)

/* The eight scales of all rows. Byte i of scales_l has the lower four bits of scale 2i low and of 2i + 1 high,
 * byte i of scales_h the upper two of scales 4i + 0 ... 3, lowest first. */
HEARTH_ALWAYS_INLINE void decode_scales(uint8_t scales[64], const uint8_t *p)
{
    const __m256i two = _mm256_set1_epi8(48);
    const __m256i offset = _mm256_set1_epi8(32);
    const __m256i lower = load32(p + SCALES_L_OFFSET);
    const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(p + SCALES_H_OFFSET));
    /* scales_h as bytes 0, 0, 1, 1 of all rows, so moved that the bits of scales 0, 2, 4, 6 are at bit 4 */
    const __m256i spread = _mm256_permute4x64_epi64(_mm256_castsi128_si256(bytes), 0x50);
    const __m256i upper = _mm256_sllv_epi64(spread, _mm256_setr_epi64x(4, 0, 4, 0));
    const __m256i even = _mm256_or_si256(low_nibbles(lower), _mm256_and_si256(upper, two));
    const __m256i odd = _mm256_or_si256(high_nibbles(lower), _mm256_and_si256(_mm256_srli_epi16(upper, 2), two));
    const __m256i first = _mm256_sub_epi8(even, offset);       /* scales 0 2 4 6 */
    const __m256i second = _mm256_sub_epi8(odd, offset);       /* scales 1 3 5 7 */
    const __m256i low = _mm256_unpacklo_epi64(first, second);  /* 0 1 | 4 5 */
    const __m256i high = _mm256_unpackhi_epi64(first, second); /* 2 3 | 6 7 */
    store32(scales, _mm256_permute2x128_si256(low, high, 0x20));
    store32(scales + 32, _mm256_permute2x128_si256(low, high, 0x31));
}

HEARTH_ALWAYS_INLINE size_t super_block_at(size_t b, size_t k)
{
    (void)k;
    return b * BLOCK_BYTES;
}

HEARTH_ALWAYS_INLINE void read_head(struct super_block *out, uint8_t room[ROOM_BYTES], const uint8_t *w, size_t b, size_t k)
{
    const uint8_t *p = w + super_block_at(b, k);
    decode_scales(room, p);
    out->scales = room;
    out->d = load8_halves(p);
}

HEARTH_ALWAYS_INLINE void decode_two(__m256i absolute[2], __m256i values[2], const uint8_t *p, size_t v)
{
    decode_iq4(absolute, values, p, v);
}

HEARTH_ALWAYS_INLINE __m256 fold(__m256 acc, __m256i sum, const struct super_block *block, const struct hearth_q8_256 *x)
{
    return fold_plain(acc, sum, block, x);
}

#define KERNEL(operation) hearth_##operation##_iq4_xs_avx2
#define SIGNED 1
#define LANE_GROUPS 1
#define SCALE_GROUPS 8
#define LANE_SPAN 0
#include "avx2/matmul_super.h"

size_t hearth_tile_bytes_iq4_xs_avx2(size_t k)
{
    return k / 256 * BLOCK_BYTES;
}

void hearth_pack_iq4_xs_avx2(void *tile, const void *file_rows, size_t rows, size_t k)
{
    const struct hearth_block_iq4_xs *in = file_rows;
    memset(tile, 0, hearth_tile_bytes_iq4_xs_avx2(k));
    for (size_t r = 0; r < rows; r++)
        for (size_t b = 0; b < k / 256; b++, in++) {
            uint8_t *out = (uint8_t *)tile + b * BLOCK_BYTES;
            pack_half(out, r, in->d);
            for (size_t i = 0; i < 2; i++)
                out[SCALES_H_OFFSET + 8 * i + r] = in->scales_h[i];
            for (size_t i = 0; i < 4; i++)
                out[SCALES_L_OFFSET + 8 * i + r] = in->scales_l[i];
            for (size_t j = 0; j < 8; j++)
                pack_nibbles(out + HEAD_BYTES + j * WEIGHTS_BYTES, r, file_codes(in->qs + 16 * j));
        }
}

void hearth_unpack_iq4_xs_avx2(void *file_row, const void *tile, size_t row, size_t k)
{
    struct hearth_block_iq4_xs *out = file_row;
    for (size_t b = 0; b < k / 256; b++, out++) {
        const uint8_t *in = (const uint8_t *)tile + b * BLOCK_BYTES;
        memcpy(out->d, in + 2 * row, 2);
        for (size_t i = 0; i < 2; i++)
            out->scales_h[i] = in[SCALES_H_OFFSET + 8 * i + row];
        for (size_t i = 0; i < 4; i++)
            out->scales_l[i] = in[SCALES_L_OFFSET + 8 * i + row];
        for (size_t j = 0; j < 8; j++) {
            uint8_t codes[32];
            unpack_nibbles(codes, in + HEAD_BYTES + j * WEIGHTS_BYTES, row);
            for (size_t i = 0; i < 16; i++)
                out->qs[16 * j + i] = (uint8_t)(codes[i] | codes[i + 16] << 4);
        }
    }
}
