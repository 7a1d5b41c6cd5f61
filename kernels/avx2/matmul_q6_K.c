/* Q6_K weights times Q8_256 activations. A tile begins with the scales d of all its super-blocks, 8 halves each, rounded up to
 * whole lines; then each super-block has 128 bytes of sub-block scales, scale j of row r at 8 * j + r, and 8 times, for 32 k each,
 * twice three vectors: 1664 bytes, 26 lines. The three have in their lower six bits the codes of groups 0, 1 and 2 of four; their
 * upper two are the bits 4-5, 2-3 and 0-1 of group 3.
 *
 * The code of a weight is unsigned, 0 ... 63; its offset of 32 is taken off through the sums of the activations. A 16-bit lane
 * takes 4 products, at most 4 * 63 * 127 = 32 004; all 8 of a sub-block where the positive and the negative activations of each
 * lane add up to no more than 520: 63 * 520 = 32 760. vpmaddwd then scales and widens in one. Sums in int32: products at most
 * 128 * 63 * 127 * 256 = 262 176 768, offsets 128 * 32 * 127 * 256 = 133 169 152, their difference 133 169 152. */
#include "avx2/matmul_kquant16.h"

#define D_BYTES 16
#define HEAD_BYTES 128
#define HALF_BYTES 96 /* four groups */
#define WEIGHTS_BYTES (2 * HALF_BYTES)
#define BLOCK_BYTES (HEAD_BYTES + 8 * WEIGHTS_BYTES)

static inline size_t all_d_bytes(size_t k)
{
    return (k / 256 * D_BYTES + 63) & ~(size_t)63;
}

/* Groups 2v and 2v + 1, 0 ... 63. Shifts of 16-bit lanes: nothing crosses a byte's border, for only the upper two bits are left. */
HEARTH_ALWAYS_INLINE void decode_codes(__m256i w[2], const uint8_t *p, size_t v)
{
    const __m256i six = _mm256_set1_epi8(63);
    const uint8_t *half = p + v / 2 * HALF_BYTES;
    const __m256i a = load32(half);
    const __m256i b = load32(half + 32);
    const __m256i c = load32(half + 64);
    if (v % 2 == 0) {
        w[0] = _mm256_and_si256(a, six);
        w[1] = _mm256_and_si256(b, six);
        return;
    }
    const __m256i ab = _mm256_or_si256(_mm256_andnot_si256(six, a), _mm256_srli_epi16(_mm256_andnot_si256(six, b), 2));
    const __m256i abc = _mm256_or_si256(ab, _mm256_srli_epi16(_mm256_andnot_si256(six, c), 4));
    w[0] = _mm256_and_si256(c, six);
    w[1] = _mm256_srli_epi16(abc, 2);
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

HEARTH_ALWAYS_INLINE __m256 fold(__m256 acc, __m256i sum, const struct super_block *block, const struct hearth_q8_256 *x)
{
    return fold_offset(acc, sum, block, 5, x);
}

#define KERNEL(operation) hearth_##operation##_q6_K_avx2
#define SIGNED 0
#define LANE_GROUPS 2
#define SCALE_GROUPS 4
#define LANE_SPAN 520
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
    uint32_t group[8];
    store32(group, _mm256_or_si256(low, _mm256_slli_epi16(two_bits(upper_bytes, p), 4)));
    for (size_t n = 0; n < 8; n += 4, packed += HALF_BYTES)
        for (size_t i = 0; i < 3; i++) {
            const uint32_t bytes = group[n + i] | (group[n + 3] << (2 + 2 * i) & 0xc0c0c0c0u);
            memcpy(packed + 32 * i + 4 * r, &bytes, 4);
        }
}

static void unpack_plane(uint8_t low_bytes[32], uint8_t upper_bytes[32], const uint8_t *packed, size_t r, int p)
{
    uint32_t group[8] = {0};
    uint8_t codes[32];
    for (size_t n = 0; n < 8; n += 4, packed += HALF_BYTES)
        for (size_t i = 0; i < 3; i++) {
            uint32_t bytes;
            memcpy(&bytes, packed + 32 * i + 4 * r, 4);
            group[n + i] = bytes & 0x3f3f3f3fu;
            group[n + 3] |= (bytes & 0xc0c0c0c0u) >> (2 + 2 * i);
        }
    memcpy(codes, group, sizeof codes);
    for (size_t k = 0; k < 32; k++) {
        low_bytes[k] |= (uint8_t)((codes[k] & 15) << (p / 2 * 4));
        upper_bytes[k] |= (uint8_t)(codes[k] >> 4 << (2 * p));
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
