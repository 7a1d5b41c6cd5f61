/* Q5_K weights times Q8_256 activations. A super-block of 8 rows is a head of 128 bytes (matmul_kquant_head.h) and 8 sub-blocks of
 * 160 bytes of codes of five bits (matmul.h): 1408 bytes, 22 lines. A 16-bit lane takes 8 products, half a sub-block: at
 * most 8 * 31 * 127 = 31 496; all 16 of activations whose positive and whose negative ones add up to no more than 1057 in the
 * sub-block: 31 * 1057 = 32 767. vpmaddwd then scales and widens in one. */
#include "avx2/matmul_kquant_head.h"

#define WEIGHTS_BYTES FIVE_BITS_BYTES
#define BLOCK_BYTES (HEAD_BYTES + 8 * WEIGHTS_BYTES)

HEARTH_ALWAYS_INLINE size_t super_block_at(size_t b, size_t k)
{
    (void)k;
    return b * BLOCK_BYTES;
}

HEARTH_ALWAYS_INLINE void read_head(struct super_block *out, uint8_t room[ROOM_BYTES], const uint8_t *w, size_t b, size_t k)
{
    decode_head(out, room, w + super_block_at(b, k));
}

HEARTH_ALWAYS_INLINE void decode_two(__m256i codes[2], __m256i values[2], const uint8_t *p, size_t v)
{
    (void)values;
    decode_five_bits(codes, p, v);
}

#define KERNEL(operation) hearth_##operation##_q5_K_avx2
#define SIGNED 0
#define LANE_GROUPS 4
#define SCALE_GROUPS 8
#define LANE_SPAN 1057
#include "avx2/matmul_super.h"

size_t hearth_tile_bytes_q5_K_avx2(size_t k)
{
    return k / 256 * BLOCK_BYTES;
}

void hearth_pack_q5_K_avx2(void *tile, const void *file_rows, size_t rows, size_t k)
{
    const struct hearth_block_q5_K *in = file_rows;
    memset(tile, 0, hearth_tile_bytes_q5_K_avx2(k));
    for (size_t r = 0; r < rows; r++)
        for (size_t b = 0; b < k / 256; b++, in++) {
            uint8_t *out = (uint8_t *)tile + b * BLOCK_BYTES;
            uint8_t *packed = out + HEAD_BYTES;
            pack_head(out, r, in->d, in->dmin, in->scales);
            for (int j = 0; j < 8; j += 2, packed += 2 * WEIGHTS_BYTES) {
                const __m256i qs = load32(in->qs + 16 * j);
                pack_five_bits(packed, r, low_nibbles(qs), file_bits(in->qh, j));
                pack_five_bits(packed + WEIGHTS_BYTES, r, high_nibbles(qs), file_bits(in->qh, j + 1));
            }
        }
}

void hearth_unpack_q5_K_avx2(void *file_row, const void *tile, size_t row, size_t k)
{
    struct hearth_block_q5_K *out = file_row;
    for (size_t b = 0; b < k / 256; b++, out++) {
        const uint8_t *in = (const uint8_t *)tile + b * BLOCK_BYTES;
        unpack_head(out->d, out->dmin, out->scales, in, row);
        memset(out->qh, 0, sizeof out->qh);
        for (size_t j = 0; j < 8; j += 2) {
            const uint8_t *packed = in + HEAD_BYTES + j * WEIGHTS_BYTES;
            uint8_t low[32], high[32];
            const uint32_t bits_low = unpack_five_bits(low, packed, row);
            const uint32_t bits_high = unpack_five_bits(high, packed + WEIGHTS_BYTES, row);
            join_nibbles(out->qs + 16 * j, low, high);
            for (size_t i = 0; i < 32; i++)
                out->qh[i] |= (uint8_t)((bits_low >> i & 1) << j | (bits_high >> i & 1) << (j + 1));
        }
    }
}
