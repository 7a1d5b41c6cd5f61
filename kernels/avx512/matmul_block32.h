/* Products of weights in blocks of 32 with Q8_32 activations: a template. The including file has included matmul.h and defines
 *   KERNEL(operation)     the name of a function,
 *   BLOCK                 the file's block,
 *   BLOCK_BYTES           bytes of a block of 16 rows without its scales and mins,
 *   OFFSET                what the format takes away from its codes,
 *   HAS_MIN               1 where the value of a code is code * d + m and the file's block has a field m, else 0,
 *   read_weights          8 vectors of unsigned codes of a block,
 *   put_block, get_block  one row's codes in and out of a block.
 *
 * A tile is lines of 32 half floats, each before the blocks it serves: 16 scales and 16 mins of one block, or, without mins, the
 * scales of two blocks; an odd last block has a line of its own. The integer chain of a block begins at -OFFSET * bsum, so that it
 * ends at the sum of (code - OFFSET) * q, at most 128 * 127 * 32 = 520 192; no partial sum is above 128 * 4064 + 255 * 127 * 32,
 * far inside int32. */

enum { BLOCKS_PER_LINE = HAS_MIN ? 1 : 2, MINS = 32, GROUP_BYTES = 64 + BLOCKS_PER_LINE * BLOCK_BYTES };

/* Byte offsets in a tile of block j, and of its half scales; its mins are MINS behind these. */
HEARTH_ALWAYS_INLINE size_t block_at(size_t j)
{
    return j / BLOCKS_PER_LINE * GROUP_BYTES + 64 + j % BLOCKS_PER_LINE * BLOCK_BYTES;
}

HEARTH_ALWAYS_INLINE size_t halves_at(size_t j)
{
    return j / BLOCKS_PER_LINE * GROUP_BYTES + j % BLOCKS_PER_LINE * 32;
}

size_t KERNEL(tile_bytes)(size_t k)
{
    const size_t blocks = k / 32;
    return blocks / BLOCKS_PER_LINE * GROUP_BYTES + blocks % BLOCKS_PER_LINE * (64 + BLOCK_BYTES);
}

void KERNEL(pack)(void *tile, const void *file_rows, size_t rows, size_t k)
{
    uint8_t *to = tile;
    const BLOCK *block = file_rows;
    memset(to, 0, KERNEL(tile_bytes)(k));
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < k / 32; j++, block++) {
            memcpy(to + halves_at(j) + 2 * r, block->d, 2);
#if HAS_MIN
            memcpy(to + halves_at(j) + MINS + 2 * r, block->m, 2);
#endif
            put_block(to + block_at(j), block, r);
        }
}

void KERNEL(unpack)(void *file_row, const void *tile, size_t row, size_t k)
{
    const uint8_t *from = tile;
    BLOCK *block = file_row;
    for (size_t j = 0; j < k / 32; j++, block++) {
        memcpy(block->d, from + halves_at(j) + 2 * row, 2);
#if HAS_MIN
        memcpy(block->m, from + halves_at(j) + MINS + 2 * row, 2);
#endif
        get_block(block, from + block_at(j), row);
    }
}

static inline struct activations activations_of(const void *x, size_t x_stride, size_t k)
{
    return (struct activations){x, x_stride, hearth_q8_32_scales(k), hearth_q8_32_sums(k)};
}

/* Of 16 rows; m is 0 and never used in a format without. */
struct scales {
    __m512 d, m;
};

HEARTH_ALWAYS_INLINE struct scales load_scales(const uint8_t *tile, size_t j)
{
    const uint8_t *halves = tile + halves_at(j);
    return (struct scales){load_halves(halves), HAS_MIN ? load_halves(halves + MINS) : _mm512_setzero_ps()};
}

/* Where a block's chain begins, and how its end enters the accumulator; `row` is the token's. */
HEARTH_ALWAYS_INLINE __m512i start_of_chain(const uint8_t *row, const struct activations *x, size_t j)
{
    return _mm512_mullo_epi32(broadcast_dword(row + x->sums + 4 * j), _mm512_set1_epi32(-OFFSET));
}

HEARTH_ALWAYS_INLINE __m512 add_block(__m512 acc, __m512i dot, const struct scales *w, const uint8_t *row,
                                      const struct activations *x, size_t j)
{
    const __m512 s = broadcast_float(row + x->scales + 4 * j);
    acc = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), _mm512_mul_ps(w->d, s), acc);
    if (HAS_MIN) {
        const __m512 sum = _mm512_cvtepi32_ps(broadcast_dword(row + x->sums + 4 * j));
        acc = _mm512_fmadd_ps(w->m, _mm512_mul_ps(sum, s), acc);
    }
    return acc;
}

HEARTH_ALWAYS_INLINE void tile_times_tokens(float *y, size_t y_stride, const uint8_t *tile, const struct activations *x, size_t k,
                                            __mmask16 mask, size_t tokens, size_t prefetch_bytes)
{
    __m512 acc[FEW_TOKENS];
    UNROLL
    for (size_t t = 0; t < tokens; t++)
        acc[t] = _mm512_setzero_ps();
    for (size_t j = 0; j < k / 32; j++) {
        const uint8_t *block = tile + block_at(j);
        prefetch_ahead(block, BLOCK_BYTES + 64 / BLOCKS_PER_LINE, prefetch_bytes);
        const struct scales scales = load_scales(tile, j);
        __m512i w[8];
        read_weights(w, block);
        UNROLL
        for (size_t t = 0; t < tokens; t++) {
            const uint8_t *row = x->rows + t * x->stride;
            __m512i dot = start_of_chain(row, x, j);
            UNROLL
            for (size_t n = 0; n < 8; n++)
                dot = add_dot(dot, w[n], broadcast_dword(row + 32 * j + 4 * n));
            acc[t] = add_block(acc[t], dot, &scales, row, x, j);
        }
    }
    UNROLL
    for (size_t t = 0; t < tokens; t++)
        _mm512_mask_storeu_ps(y + t * y_stride, mask, acc[t]);
}

/* Up to 8 blocks of a tile. */
struct panel {
    __m512i w[64];
    struct scales scales[8];
    size_t blocks;
};

static void fill_panel(struct panel *out, const uint8_t *tile, size_t c, size_t k, size_t prefetch_bytes)
{
    const size_t left = k / 32 - 8 * c;
    out->blocks = left < 8 ? left : 8;
    for (size_t j = 0; j < out->blocks; j++) {
        const uint8_t *block = tile + block_at(8 * c + j);
        prefetch_ahead(block, BLOCK_BYTES + 64 / BLOCKS_PER_LINE, prefetch_bytes);
        out->scales[j] = load_scales(tile, 8 * c + j);
        read_weights(out->w + 8 * j, block);
    }
}

/* What a token brings to the 8 blocks of a panel: where the chains begin, and bsum * s where there are mins. */
struct token_blocks {
    int32_t start[8];
    float min_part[8];
};

/* Sums and scales are there up to a whole 64 bytes, so that the last panel's may be loaded whole. */
HEARTH_ALWAYS_INLINE void find_token_blocks(struct token_blocks *out, const uint8_t *row, const struct activations *x, size_t c)
{
    const __m256i sums = load32(row + x->sums + 32 * c);
    if (OFFSET != 0)
        store32((uint8_t *)out->start, _mm256_mullo_epi32(sums, _mm256_set1_epi32(-OFFSET)));
    if (HAS_MIN) {
        const __m256 s = _mm256_loadu_ps((const float *)(const void *)(row + x->scales + 32 * c));
        _mm256_storeu_ps(out->min_part, _mm256_mul_ps(_mm256_cvtepi32_ps(sums), s));
    }
}

/* acc[t][16 i + r] += the 256 k of panel i, row r, times token t, for two panels and `tokens` <= GROUP_TOKENS. */
HEARTH_ALWAYS_INLINE void panels_times_tokens(float (*acc)[PAIR_ROWS], const struct panel panels[2], const struct activations *x,
                                              size_t c, size_t tokens)
{
    struct token_blocks token[GROUP_TOKENS];
    __m512 a[2][GROUP_TOKENS];
    UNROLL
    for (size_t t = 0; t < tokens; t++)
        find_token_blocks(&token[t], x->rows + t * x->stride, x, c);
    UNROLL
    for (size_t i = 0; i < 2 * tokens; i++)
        a[i % 2][i / 2] = _mm512_loadu_ps(acc[i / 2] + TILE_ROWS * (i % 2));
    for (size_t j = 0; j < panels[0].blocks; j++) {
        __m512i dot[2][GROUP_TOKENS];
        UNROLL
        for (size_t i = 0; i < 2 * tokens; i++)
            dot[i % 2][i / 2] = OFFSET != 0 ? _mm512_set1_epi32(token[i / 2].start[j]) : _mm512_setzero_si512();
        UNROLL
        for (size_t n = 0; n < 8; n++) {
            UNROLL
            for (size_t t = 0; t < tokens; t++) {
                const __m512i q = broadcast_dword(x->rows + t * x->stride + 256 * c + 32 * j + 4 * n);
                UNROLL
                for (size_t i = 0; i < 2; i++)
                    dot[i][t] = add_dot(dot[i][t], panels[i].w[8 * j + n], q);
            }
        }
        UNROLL
        for (size_t t = 0; t < tokens; t++) {
            const __m512 s = broadcast_float(x->rows + t * x->stride + x->scales + 4 * (8 * c + j));
            UNROLL
            for (size_t i = 0; i < 2; i++) {
                const struct scales *w = &panels[i].scales[j];
                a[i][t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[i][t]), _mm512_mul_ps(w->d, s), a[i][t]);
                if (HAS_MIN)
                    a[i][t] = _mm512_fmadd_ps(w->m, _mm512_set1_ps(token[t].min_part[j]), a[i][t]);
            }
        }
    }
    UNROLL
    for (size_t i = 0; i < 2 * tokens; i++)
        _mm512_storeu_ps(acc[i / 2] + TILE_ROWS * (i % 2), a[i % 2][i / 2]);
}

#include "avx512/matmul_tokens.h"
