/* Products of weights in super-blocks of 256 with Q8_256 activations where there is a dot instruction for bytes: a template. The
 * including file has included its level's kquant_scales.h and defines
 *   KERNEL(operation)  the name of a function,
 *   TILE_BYTES         the function that tells the bytes of a tile, if not KERNEL(tile_bytes),
 *   SUB_BLOCKS         scales in a super-block, 8 or 16,
 *   OFFSET             what the format takes away from its codes; 0: it has mins instead,
 *   SHORT_SPAN         the largest span of activations (over as many as a sub-block has) with which its dots fit 16 bits; 0 where
 *                      that is too small to happen,
 *   SUPER_BYTES        bytes of a super-block of a tile (without halves that several share),
 *   super_block_at     its byte offset in a tile of k,
 *   read_scales        of a super-block,
 *   read_weights       of 32 k of a super-block: 8 vectors of unsigned codes.
 *
 * The integer chain of a sub-block begins at -OFFSET * (sum of q), so that it ends at the sum of (code - OFFSET) * q; no partial
 * sum is above 128 * 4064 + 255 * 127 * 32, far inside int32. Scaled chains are added as int32: every step is exact, so that the
 * one rounding is that of the whole sum, as in the contract.
 *
 * Scaling a chain for itself costs an eighth of the dots (a fourth with 16 sub-blocks). Activations that come from floats are
 * mostly far from 127, so that the chains fit 16 bits: then two are joined and scaled at once, but for the fewest tokens. Without
 * mins |sum of (code - OFFSET) * q| <= most * span of 16, most being the largest |code - OFFSET|; with mins, in sub-blocks of 32,
 * where no code is negative, <= most * span of 32, because positive and negative products cancel. */

#ifndef TILE_BYTES
#define TILE_BYTES KERNEL(tile_bytes)
#endif

enum {
    DOTS = 64 / SUB_BLOCKS,                         /* dot instructions of a sub-block, 4 k each */
    STEPS_OF_TWO = 16 / SUB_BLOCKS,                 /* steps of 32 k that two sub-blocks are */
    FETCH_BYTES = (SUPER_BYTES / 8 + 63) / 64 * 64, /* for a step; whole lines, so that halves before the next one are among them */
};

HEARTH_ALWAYS_INLINE vecf add_super_block(vecf acc, veci sum, const struct super_scales *scales, const struct hearth_q8_256 *x)
{
    return OFFSET != 0 ? add_without_mins(acc, sum, scales, x) : add_with_mins(acc, sum, scales, x, SUB_BLOCKS);
}

/* Where the chains of a super-block begin, for one token; zeros, and never written, in a format with mins. */
struct starts {
    int32_t of[SUB_BLOCKS];
};

HEARTH_ALWAYS_INLINE void find_starts(struct starts *out, const struct hearth_q8_256 *x)
{
    if (OFFSET != 0) {
        const int16_t *of = SUB_BLOCKS == 8 ? x->sums32 : x->sums16;
        UNROLL
        for (size_t j = 0; j < SUB_BLOCKS; j += 8) {
            const __m256i sums = _mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i *)(const void *)(of + j)));
            const __m256i starts = _mm256_mullo_epi32(sums, _mm256_set1_epi32(-OFFSET));
            _mm256_storeu_si256((__m256i *)(void *)(out->of + j), starts);
        }
    }
}

HEARTH_ALWAYS_INLINE veci start_of_chain(const struct starts *starts, size_t j)
{
    return OFFSET != 0 ? veci_set1(starts->of[j]) : veci_zero();
}

/* Whether every dot of a super-block with these tokens fits 16 bits. */
HEARTH_ALWAYS_INLINE bool dots_are_short(const struct hearth_q8_256 *x, size_t tokens)
{
    if (SHORT_SPAN == 0 || SHORT_SPAN >= 127 * 256 / SUB_BLOCKS) /* never, and always */
        return SHORT_SPAN != 0;
    return spans_are_within(x, tokens, 256 / SUB_BLOCKS, SHORT_SPAN);
}

/* dot[t] = sub-block j, of these codes, times token t. */
HEARTH_ALWAYS_INLINE void dot_codes(veci dot[FEW_TOKENS], const veci codes[DOTS], const struct starts *starts,
                                    const struct hearth_q8_256 *x, size_t j, size_t tokens)
{
    UNROLL
    for (size_t t = 0; t < tokens; t++)
        dot[t] = start_of_chain(&starts[t], j);
    UNROLL
    for (size_t n = 0; n < DOTS; n++) {
        UNROLL
        for (size_t t = 0; t < tokens; t++)
            dot[t] = add_dot(dot[t], codes[n], broadcast_dword(x[t].q + 4 * (j * DOTS + n)));
    }
}

/* sum[t] += the products of 32 k with token t, scaled. */
HEARTH_ALWAYS_INLINE void add_step(veci sum[FEW_TOKENS], const uint8_t *super, const struct super_scales *scales,
                                   const struct starts *starts, const struct hearth_q8_256 *x, size_t step, size_t tokens)
{
    veci codes[8], dot[FEW_TOKENS];
    read_weights(codes, super, step);
    UNROLL
    for (size_t j = 0; j < SUB_BLOCKS / 8; j++) {
        const size_t sub_block = step * (SUB_BLOCKS / 8) + j;
        dot_codes(dot, codes + j * DOTS, starts, x, sub_block, tokens);
        UNROLL
        for (size_t t = 0; t < tokens; t++)
            sum[t] = veci_add(sum[t], veci_mul(dot[t], scales->scale[sub_block]));
    }
}

/* sum[t] += sub-blocks 2j and 2j + 1 times token t, scaled by one instruction, as their dots are known to fit 16 bits. */
HEARTH_ALWAYS_INLINE void add_two_short(veci sum[FEW_TOKENS], const uint8_t *super, const struct super_scales *scales,
                                        const struct starts *starts, const struct hearth_q8_256 *x, size_t j, size_t tokens)
{
    const veci scale_pair = blend16(scales->scale[2 * j], veci_to_upper(scales->scale[2 * j + 1]));
    veci codes[2 * DOTS], even[FEW_TOKENS], odd[FEW_TOKENS];
    read_weights(codes, super, j * STEPS_OF_TWO);
    dot_codes(even, codes, starts, x, 2 * j, tokens);
    if (STEPS_OF_TWO == 2)
        read_weights(codes + DOTS, super, j * STEPS_OF_TWO + 1);
    dot_codes(odd, codes + DOTS, starts, x, 2 * j + 1, tokens);
    UNROLL
    for (size_t t = 0; t < tokens; t++)
        sum[t] = add_dot16(sum[t], blend16(even[t], veci_to_upper(odd[t])), scale_pair);
}

HEARTH_ALWAYS_INLINE void tiles_times_tokens(float *y, size_t y_stride, const struct tiles *w, const struct activations *x,
                                             size_t k, size_t tiles, size_t tokens, size_t prefetch_bytes)
{
    vecf acc[2][FEW_TOKENS];
    UNROLL
    for (size_t t = 0; t < tokens; t++)
        acc[0][t] = acc[1][t] = vecf_zero();
    for (size_t s = 0; s < k / 256; s++) {
        const uint8_t *super = w->first + super_block_at(s, k);
        const struct hearth_q8_256 *units = units_at(x, s);
        struct super_scales scales[2];
        struct starts starts[FEW_TOKENS];
        veci sum[2][FEW_TOKENS];
        UNROLL
        for (size_t t = 0; t < tokens; t++)
            find_starts(&starts[t], &units[t]);
        UNROLL
        for (size_t i = 0; i < tiles; i++) {
            read_scales(&scales[i], w->first + i * w->bytes_apart, s, k);
            UNROLL
            for (size_t t = 0; t < tokens; t++)
                sum[i][t] = veci_zero();
        }
        const bool are_short = tokens >= JOINED_TOKENS && dots_are_short(units, tokens);
        for (size_t step = 0; step < 8; step += are_short ? STEPS_OF_TWO : 1) {
            UNROLL
            for (size_t i = 0; i < tiles; i++) {
                const uint8_t *from = super + i * w->bytes_apart;
                if (are_short) {
                    prefetch_ahead(from + FETCH_BYTES * step, STEPS_OF_TWO * FETCH_BYTES, prefetch_bytes);
                    add_two_short(sum[i], from, &scales[i], starts, units, step / STEPS_OF_TWO, tokens);
                } else {
                    prefetch_ahead(from + FETCH_BYTES * step, FETCH_BYTES, prefetch_bytes);
                    add_step(sum[i], from, &scales[i], starts, units, step, tokens);
                }
            }
        }
        UNROLL
        for (size_t i = 0; i < tiles; i++) {
            UNROLL
            for (size_t t = 0; t < tokens; t++)
                acc[i][t] = add_super_block(acc[i][t], sum[i][t], &scales[i], &units[t]);
        }
    }
    store_few(y, y_stride, acc, w, tiles, tokens);
}

struct panel {
    veci w[64];
    struct super_scales scales;
    veci scale_pair[SUB_BLOCKS / 2]; /* two scales of 16 bits in each lane, the even one low */
};

static void fill_panel(struct panel *out, const uint8_t *tile, size_t s, size_t k)
{
    const uint8_t *super = tile + super_block_at(s, k);
    read_scales(&out->scales, tile, s, k);
    UNROLL
    for (size_t j = 0; j < SUB_BLOCKS / 2; j++)
        out->scale_pair[j] = blend16(out->scales.scale[2 * j], veci_to_upper(out->scales.scale[2 * j + 1]));
    for (size_t step = 0; step < 8; step++)
        read_weights(out->w + 8 * step, super, step);
}

/* dot[i][t] = sub-block j of panel i times token t. */
HEARTH_ALWAYS_INLINE void dot_sub_block(veci dot[2][GROUP_TOKENS], const struct panel panels[2], const struct starts *starts,
                                        const struct hearth_q8_256 *x, size_t j, size_t tokens)
{
    UNROLL
    for (size_t t = 0; t < tokens; t++)
        dot[0][t] = dot[1][t] = start_of_chain(&starts[t], j);
    UNROLL
    for (size_t n = 0; n < DOTS; n++) {
        UNROLL
        for (size_t t = 0; t < tokens; t++) {
            const veci q = broadcast_dword(x[t].q + 4 * (j * DOTS + n));
            UNROLL
            for (size_t i = 0; i < 2; i++)
                dot[i][t] = add_dot(dot[i][t], panels[i].w[j * DOTS + n], q);
        }
    }
}

/* sum[i][t] += scaled sub-block j of panel i times token t. */
HEARTH_ALWAYS_INLINE void add_sub_block(veci sum[2][GROUP_TOKENS], const struct panel panels[2], const struct starts *starts,
                                        const struct hearth_q8_256 *x, size_t j, size_t tokens)
{
    veci dot[2][GROUP_TOKENS];
    dot_sub_block(dot, panels, starts, x, j, tokens);
    UNROLL
    for (size_t i = 0; i < 2; i++) {
        UNROLL
        for (size_t t = 0; t < tokens; t++)
            sum[i][t] = veci_add(sum[i][t], veci_mul(dot[i][t], panels[i].scales.scale[j]));
    }
}

/* The same for sub-blocks 2j and 2j + 1, whose dots are known to fit 16 bits: one instruction scales both. */
HEARTH_ALWAYS_INLINE void add_two_sub_blocks(veci sum[2][GROUP_TOKENS], const struct panel panels[2], const struct starts *starts,
                                             const struct hearth_q8_256 *x, size_t j, size_t tokens)
{
    veci odd[2][GROUP_TOKENS], even[2][GROUP_TOKENS];
    dot_sub_block(odd, panels, starts, x, 2 * j + 1, tokens);
    UNROLL
    for (size_t t = 0; t < tokens; t++) { /* moved now, while they are in registers: there are not enough for both */
        UNROLL
        for (size_t i = 0; i < 2; i++)
            odd[i][t] = veci_to_upper(odd[i][t]);
    }
    dot_sub_block(even, panels, starts, x, 2 * j, tokens);
    UNROLL
    for (size_t i = 0; i < 2; i++) {
        UNROLL
        for (size_t t = 0; t < tokens; t++)
            sum[i][t] = add_dot16(sum[i][t], blend16(even[i][t], odd[i][t]), panels[i].scale_pair[j]);
    }
}

/* acc[t][16 i + r] += panel i, row r, times unit t, for two panels and `tokens` <= GROUP_TOKENS. */
HEARTH_ALWAYS_INLINE void panels_times_tokens(float (*acc)[PAIR_ROWS], const struct panel panels[2], const void *units,
                                              size_t tokens)
{
    const struct hearth_q8_256 *x = units;
    struct starts starts[GROUP_TOKENS];
    veci sum[2][GROUP_TOKENS];
    UNROLL
    for (size_t t = 0; t < tokens; t++) {
        find_starts(&starts[t], &x[t]);
        sum[0][t] = sum[1][t] = veci_zero();
    }
    if (dots_are_short(x, tokens))
        for (size_t j = 0; j < SUB_BLOCKS / 2; j++)
            add_two_sub_blocks(sum, panels, starts, x, j, tokens);
    else
        for (size_t j = 0; j < SUB_BLOCKS; j++)
            add_sub_block(sum, panels, starts, x, j, tokens);
    UNROLL
    for (size_t t = 0; t < tokens; t++) {
        UNROLL
        for (size_t i = 0; i < 2; i++) {
            float *to = acc[t] + TILE_ROWS * i;
            const vecf before = vecf_load(to);
            vecf_store(to, add_super_block(before, sum[i][t], &panels[i].scales, &x[t]));
        }
    }
}

#include "template/dot_tokens.h"
