/* Products of weights in blocks of 32 with Q8_32 activations where there is a dot instruction for bytes: a template. The including
 * file has included its level's matmul.h and defines
 *   KERNEL(operation)     the name of a function,
 *   TILE_BYTES            the function that tells the bytes of a tile, if not KERNEL(tile_bytes),
 *   OFFSET                what the format takes away from its codes,
 *   HAS_MIN               1 where the value of a code is code * d + m, else 0,
 *   BLOCK_BYTES           bytes of a block of a tile with its share of scales and mins, to prefetch,
 *   block_at              byte offset of a block in a tile,
 *   load_scales           of a block,
 *   read_weights          8 vectors of unsigned codes of a block.
 *
 * The integer chain of a block begins at -OFFSET * (sum of q), so that it ends at the sum of (code - OFFSET) * q, at most 128 * 127
 * * 32 = 520 192; no partial sum is above 128 * 4064 + 255 * 127 * 32, far inside int32. */

#ifndef TILE_BYTES
#define TILE_BYTES KERNEL(tile_bytes)
#endif

/* Where the chain of block j of a unit begins, and how its end enters the accumulator. */
HEARTH_ALWAYS_INLINE veci start_of_chain(const struct hearth_q8_32 *x, size_t j)
{
    return veci_mul(veci_set1(x->sums[j]), veci_set1(-OFFSET));
}

HEARTH_ALWAYS_INLINE vecf add_block(vecf acc, veci dot, const struct scales *w, const struct hearth_q8_32 *x, size_t j)
{
    const vecf s = vecf_set1(x->s[j]);
    acc = vecf_fma(veci_to_f(dot), vecf_mul(w->d, s), acc);
    if (HAS_MIN) {
        const vecf sum = veci_to_f(veci_set1(x->sums[j]));
        acc = vecf_fma(w->m, vecf_mul(sum, s), acc);
    }
    return acc;
}

HEARTH_ALWAYS_INLINE void tiles_times_tokens(float *y, size_t y_stride, const struct tiles *w, const struct activations *x,
                                             size_t k, size_t tiles, size_t tokens, size_t prefetch_bytes)
{
    vecf acc[2][FEW_TOKENS];
    UNROLL
    for (size_t t = 0; t < tokens; t++)
        acc[0][t] = acc[1][t] = vecf_zero();
    for (size_t j = 0; j < k / 32; j++) {
        const struct hearth_q8_32 *units = units_at(x, j / 8);
        UNROLL
        for (size_t i = 0; i < tiles; i++) {
            const uint8_t *block = w->first + i * w->bytes_apart + block_at(j);
            prefetch_ahead(block, BLOCK_BYTES, prefetch_bytes);
            const struct scales scales = load_scales(w->first + i * w->bytes_apart, j);
            veci codes[8];
            read_weights(codes, block);
            veci dot[FEW_TOKENS];
            UNROLL
            for (size_t t = 0; t < tokens; t++)
                dot[t] = start_of_chain(&units[t], j % 8);
            UNROLL
            for (size_t n = 0; n < 8; n++) {
                UNROLL
                for (size_t t = 0; t < tokens; t++)
                    dot[t] = add_dot(dot[t], codes[n], broadcast_dword(units[t].q + 32 * (j % 8) + 4 * n));
            }
            UNROLL
            for (size_t t = 0; t < tokens; t++)
                acc[i][t] = add_block(acc[i][t], dot[t], &scales, &units[t], j % 8);
        }
    }
    store_few(y, y_stride, acc, w, tiles, tokens);
}

/* Up to 8 blocks of a tile. */
struct panel {
    veci w[64];
    struct scales scales[8];
    size_t blocks;
};

static void fill_panel(struct panel *out, const uint8_t *tile, size_t c, size_t k)
{
    const size_t left = k / 32 - 8 * c;
    out->blocks = left < 8 ? left : 8;
    for (size_t j = 0; j < out->blocks; j++) {
        const uint8_t *block = tile + block_at(8 * c + j);
        out->scales[j] = load_scales(tile, 8 * c + j);
        read_weights(out->w + 8 * j, block);
    }
}

/* What a token brings to the 8 blocks of a panel: where the chains begin, and (sum of q) * s where there are mins. */
struct token_blocks {
    int32_t start[8];
    float min_part[8];
};

/* The last unit's are loaded whole, too. */
HEARTH_ALWAYS_INLINE void find_token_blocks(struct token_blocks *out, const struct hearth_q8_32 *x)
{
    const __m256i sums = _mm256_loadu_si256((const __m256i *)(const void *)x->sums);
    if (OFFSET != 0)
        _mm256_storeu_si256((__m256i *)(void *)out->start, _mm256_mullo_epi32(sums, _mm256_set1_epi32(-OFFSET)));
    if (HAS_MIN) {
        _mm256_storeu_ps(out->min_part, _mm256_mul_ps(_mm256_cvtepi32_ps(sums), _mm256_loadu_ps(x->s)));
    }
}

/* acc[t][16 i + r] += panel i, row r, times unit t, for two panels and `tokens` <= GROUP_TOKENS. */
HEARTH_ALWAYS_INLINE void panels_times_tokens(float (*acc)[PAIR_ROWS], const struct panel panels[2], const void *units,
                                              size_t tokens)
{
    const struct hearth_q8_32 *x = units;
    struct token_blocks token[GROUP_TOKENS];
    vecf a[2][GROUP_TOKENS];
    UNROLL
    for (size_t t = 0; t < tokens; t++)
        find_token_blocks(&token[t], &x[t]);
    UNROLL
    for (size_t i = 0; i < 2 * tokens; i++)
        a[i % 2][i / 2] = vecf_load(acc[i / 2] + TILE_ROWS * (i % 2));
    for (size_t j = 0; j < panels[0].blocks; j++) {
        veci dot[2][GROUP_TOKENS];
        UNROLL
        for (size_t i = 0; i < 2 * tokens; i++)
            dot[i % 2][i / 2] = OFFSET != 0 ? veci_set1(token[i / 2].start[j]) : veci_zero();
        UNROLL
        for (size_t n = 0; n < 8; n++) {
            UNROLL
            for (size_t t = 0; t < tokens; t++) {
                const veci q = broadcast_dword(x[t].q + 32 * j + 4 * n);
                UNROLL
                for (size_t i = 0; i < 2; i++)
                    dot[i][t] = add_dot(dot[i][t], panels[i].w[8 * j + n], q);
                if (n < 7)
                    continue;
                const vecf s = vecf_set1(x[t].s[j]);
                UNROLL
                for (size_t i = 0; i < 2; i++) {
                    const struct scales *w = &panels[i].scales[j];
                    a[i][t] = vecf_fma(veci_to_f(dot[i][t]), vecf_mul(w->d, s), a[i][t]);
                    if (HAS_MIN)
                        a[i][t] = vecf_fma(w->m, vecf_set1(token[t].min_part[j]), a[i][t]);
                }
            }
        }
    }
    UNROLL
    for (size_t i = 0; i < 2 * tokens; i++)
        vecf_store(acc[i / 2] + TILE_ROWS * (i % 2), a[i % 2][i / 2]);
}

#include "template/dot_tokens.h"
