/* Q2_K weights times Q8_256 activations. A super-block of 8 rows is 8 halves d, 8 halves dmin, the file's 16 bytes of scales (low)
 * and mins (high), byte j of row r at 8 * j + r, and 8 times 64 bytes of two-bit codes (matmul_kquant16.h): 672 bytes. The tile's
 * end is rounded up to a whole line.
 *
 * A 16-bit lane takes 8 products, half a sub-block, at most 8 * 3 * 127 = 3048; vpmaddwd then scales and widens in one. Sums in
 * int32, and exact in f32: products at most 15 * 3 * 127 * 256 = 1 463 040, mins 15 * 127 * 256 = 487 680. */
#include "avx2/matmul_kquant16.h"

#define DMIN_OFFSET 16
#define FIELD_OFFSET 32
#define WEIGHTS_BYTES TWO_BITS_BYTES
#define HEAD_BYTES (FIELD_OFFSET + 128)
#define BLOCK_BYTES (HEAD_BYTES + 8 * TWO_BITS_BYTES)

HEARTH_ALWAYS_INLINE size_t super_block_at(size_t b, size_t k)
{
    (void)k;
    return b * BLOCK_BYTES;
}

HEARTH_ALWAYS_INLINE void read_head(struct super_block *out, uint8_t room[ROOM_BYTES], const uint8_t *w, size_t b, size_t k)
{
    const uint8_t *p = w + super_block_at(b, k);
    uint8_t mins[128];
    UNROLL
    for (size_t i = 0; i < 128; i += 32) {
        const __m256i both = load32(p + FIELD_OFFSET + i);
        store32(room + i, low_nibbles(both));
        store32(mins + i, high_nibbles(both));
    }
    out->scales = room;
    all_pairs(out->pairs, mins, 16);
    out->d = load8_halves(p);
    out->dmin = load8_halves(p + DMIN_OFFSET);
}

HEARTH_ALWAYS_INLINE void decode_two(__m256i codes[2], __m256i values[2], const uint8_t *p, size_t v)
{
    (void)values;
    decode_two_bits(codes, p, v);
}

HEARTH_ALWAYS_INLINE __m256 fold(__m256 acc, __m256i sum, const struct super_block *block, const struct hearth_q8_256 *x)
{
    return fold_mins(acc, sum, block, 8, x);
}

#define KERNEL(operation) hearth_##operation##_q2_K_avx2
#define SIGNED 0
#define LANE_GROUPS 4
#define SCALE_GROUPS 4
#define LANE_SPAN 0
#include "avx2/matmul_super.h"

size_t hearth_tile_bytes_q2_K_avx2(size_t k)
{
    return (k / 256 * BLOCK_BYTES + 63) & ~(size_t)63;
}

void hearth_pack_q2_K_avx2(void *tile, const void *file_rows, size_t rows, size_t k)
{
    const struct hearth_block_q2_K *in = file_rows;
    memset(tile, 0, hearth_tile_bytes_q2_K_avx2(k));
    for (size_t r = 0; r < rows; r++)
        for (size_t b = 0; b < k / 256; b++, in++) {
            uint8_t *out = (uint8_t *)tile + b * BLOCK_BYTES;
            pack_half(out, r, in->d);
            pack_half(out + DMIN_OFFSET, r, in->dmin);
            for (size_t j = 0; j < 16; j++)
                out[FIELD_OFFSET + 8 * j + r] = in->scales[j];
            for (int j = 0; j < 8; j++) /* plane j % 4 of half j / 4 */
                pack_two_bits(out + HEAD_BYTES + j * TWO_BITS_BYTES, r, two_bits(in->qs + j / 4 * 32, j % 4));
        }
}

void hearth_unpack_q2_K_avx2(void *file_row, const void *tile, size_t row, size_t k)
{
    struct hearth_block_q2_K *out = file_row;
    memset(out, 0, k / 256 * sizeof *out);
    for (size_t b = 0; b < k / 256; b++, out++) {
        const uint8_t *in = (const uint8_t *)tile + b * BLOCK_BYTES;
        memcpy(out->d, in + 2 * row, 2);
        memcpy(out->dmin, in + DMIN_OFFSET + 2 * row, 2);
        for (size_t j = 0; j < 16; j++)
            out->scales[j] = in[FIELD_OFFSET + 8 * j + row];
        for (size_t j = 0; j < 8; j++)
            for (size_t i = 0; i < 32; i++)
                out->qs[j / 4 * 32 + i] |= (uint8_t)(unpack_two_bits(in + HEAD_BYTES + j * TWO_BITS_BYTES, row, i) << (j % 4 * 2));
    }
}
