/* Q6_K weights times Q8_256 activations. A tile begins with the scales d of all its super-blocks, 8 halves each, rounded up to
 * whole lines; then each super-block has 128 bytes of sub-block scales, scale j of row r at 8 * j + r, and 8 times, for 32 k each,
 * two vectors of upper bits and four of nibbles: 1664 bytes, 26 lines. Bits 2i and 2i + 1 of an upper vector belong to its group i.
 *
 * The code of a weight is unsigned, 0 ... 63; its offset of 32 is taken off through the sums of the activations. A 16-bit lane
 * takes 4 products, at most 4 * 63 * 127 = 32 004; vpmaddwd then scales and widens in one. Sums in int32: products at most 128 * 63
 * * 127 * 256 = 262 176 768, offsets 128 * 32 * 127 * 256 = 133 169 152, their difference 133 169 152. */
#include "avx2/matmul_kquant16.h"

#define D_BYTES 16
#define HEAD_BYTES 128
#define UPPER_BYTES TWO_BITS_BYTES
#define WEIGHTS_BYTES (UPPER_BYTES + 128)
#define BLOCK_BYTES (HEAD_BYTES + 8 * WEIGHTS_BYTES)

static inline size_t all_d_bytes(size_t k)
{
    return (k / 256 * D_BYTES + 63) & ~(size_t)63;
}

/* Groups 2v and 2v + 1, 0 ... 63. */
HEARTH_ALWAYS_INLINE void decode_codes(__m256i w[2], const uint8_t *p, size_t v)
{
    const __m256i mask = _mm256_set1_epi8(48);
    const __m256i upper = load32(p + v / 2 * 32);
    decode_nibbles(w, p + UPPER_BYTES, v);
    UNROLL
    for (int i = 0; i < 2; i++) /* shifts of 16-bit lanes: what crosses a byte's border is masked away */
        w[i] = _mm256_or_si256(w[i], _mm256_and_si256(move_up(upper, 4 - (int)(v % 2 * 4) - 2 * i), mask));
}

HEARTH_ALWAYS_INLINE size_t super_block_at(size_t b, size_t k)
{
    return all_d_bytes(k) + b * BLOCK_BYTES;
}

HEARTH_ALWAYS_INLINE void read_head(struct super_block *out, uint8_t room[ROOM_BYTES], const uint8_t *w, size_t b, size_t k)
{
    (void)room;
    out->scales = w + super_block_at(b, k);
    all_pairs(out->pairs, out->scales, 16);
    out->d = load8_halves(w + D_BYTES * b);
}

HEARTH_ALWAYS_INLINE void decode_two(__m256i codes[2], __m256i values[2], const uint8_t *p, size_t v)
{
    (void)values;
    decode_codes(codes, p, v);
}

HEARTH_ALWAYS_INLINE __m256 fold(__m256 acc, __m256i sum, const struct super_block *block, const uint8_t *x, size_t k, size_t b)
{
    return fold_offset(acc, sum, block, 5, x, k, b);
}

#define KERNEL(operation) hearth_##operation##_q6_K_avx2
#define SIGNED 0
#define LANE_GROUPS 2
#define SCALE_GROUPS 4
#include "avx2/matmul_super.h"

size_t hearth_tile_bytes_q6_K_avx2(size_t k)
{
    return all_d_bytes(k) + k / 256 * BLOCK_BYTES;
}

/* The file's arrangement (spec, section 6.6): of half h, the 32 elements of plane p have their low bits in the low (p < 2) or high
 * nibbles of the bytes 64 * h + 32 * (p % 2), and their upper bits in the bits 2p, 2p + 1 of the bytes 32 * h of qh. */
static inline void pack_plane(uint8_t *packed, size_t r, const uint8_t low_bytes[32], const uint8_t upper_bytes[32], int p)
{
    const __m256i low = p < 2 ? low_nibbles(load32(low_bytes)) : high_nibbles(load32(low_bytes));
    pack_two_bits(packed, r, two_bits(upper_bytes, p));
    pack_nibbles(packed + UPPER_BYTES, r, low);
}

static void unpack_plane(uint8_t low_bytes[32], uint8_t upper_bytes[32], const uint8_t *packed, size_t r, int p)
{
    uint8_t low[32];
    unpack_nibbles(low, packed + UPPER_BYTES, r);
    for (size_t k = 0; k < 32; k++) {
        low_bytes[k] |= (uint8_t)(low[k] << (p / 2 * 4));
        upper_bytes[k] |= (uint8_t)(unpack_two_bits(packed, r, k) << (2 * p));
    }
}

void hearth_pack_q6_K_avx2(void *tile, const void *file_rows, size_t rows, size_t k)
{
    const struct hearth_block_q6_K *in = file_rows;
    memset(tile, 0, hearth_tile_bytes_q6_K_avx2(k));
    for (size_t r = 0; r < rows; r++)
        for (size_t b = 0; b < k / 256; b++, in++) {
            uint8_t *out = (uint8_t *)tile + all_d_bytes(k) + b * BLOCK_BYTES;
            pack_half((uint8_t *)tile + D_BYTES * b, r, in->d);
            for (size_t j = 0; j < 16; j++)
                memcpy(out + 8 * j + r, in->scales + j, 1);
            for (int j = 0; j < 8; j++) /* plane j % 4 of half j / 4 */
                pack_plane(out + HEAD_BYTES + j * WEIGHTS_BYTES, r, in->ql + j / 4 * 64 + j % 2 * 32, in->qh + j / 4 * 32, j % 4);
        }
}

void hearth_unpack_q6_K_avx2(void *file_row, const void *tile, size_t row, size_t k)
{
    struct hearth_block_q6_K *out = file_row;
    memset(out, 0, k / 256 * sizeof *out);
    for (size_t b = 0; b < k / 256; b++, out++) {
        const uint8_t *in = (const uint8_t *)tile + all_d_bytes(k) + b * BLOCK_BYTES;
        memcpy(out->d, (const uint8_t *)tile + D_BYTES * b + 2 * row, 2);
        for (size_t j = 0; j < 16; j++)
            memcpy(out->scales + j, in + 8 * j + row, 1);
        for (int j = 0; j < 8; j++)
            unpack_plane(out->ql + j / 4 * 64 + j % 2 * 32, out->qh + j / 4 * 32, in + HEAD_BYTES + j * WEIGHTS_BYTES, row, j % 4);
    }
}
