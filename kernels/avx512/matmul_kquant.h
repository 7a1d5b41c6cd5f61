/* Products of weights in super-blocks of 256 with Q8_256 activations: a template. The including file has included kquant_scales.h
 * and defines
 *   KERNEL(operation)  the name of a function,
 *   SUB_BLOCKS         scales in a super-block, 8 or 16,
 *   OFFSET             what the format takes away from its codes; 0: it has mins instead,
 *   EXACT              how many scaled sub-blocks one after another f32 adds exactly, a divisor of SUB_BLOCKS,
 *   SUPER_BYTES        bytes of a super-block of 16 rows (without a line of halves that several share),
 *   super_block_at     its byte offset in a tile,
 *   read_scales        of a super-block,
 *   read_weights       of 32 k of a super-block: 8 vectors of unsigned codes.
 *
 * The integer chain of a sub-block begins at -OFFSET * bsum, so that it ends at the sum of (code - OFFSET) * q; no partial sum is
 * above 128 * 4064 + 255 * 127 * 32, far inside int32. Where weights serve many tokens, chains are scaled and added as floats,
 * EXACT of them, and their sums as int32: every step is exact, so that the one rounding is that of the whole sum, as in the
 * contract. A conversion and a fused multiply-add cost the units that do the dot instruction one slot; a 32-bit multiplication
 * costs them more on some CPUs. */

enum { DOTS = 64 / SUB_BLOCKS }; /* dot instructions of a sub-block, 4 k each */

static inline struct activations activations_of(const void *x, size_t x_stride, size_t k)
{
    const size_t sums = SUB_BLOCKS == 8 ? hearth_q8_256_sums32(k) : hearth_q8_256_sums16(k);
    return (struct activations){x, x_stride, hearth_q8_256_scales(k), sums};
}

HEARTH_ALWAYS_INLINE __m512 add_super_block(__m512 acc, __m512i sum, const struct super_scales *scales, const uint8_t *row,
                                            const struct activations *x, size_t s)
{
    return OFFSET != 0 ? add_without_mins(acc, sum, scales, row, x, s) : add_with_mins(acc, sum, scales, row, x, s, SUB_BLOCKS);
}

/* Where the chains of super-block s begin, for one token; zeros, and never written, in a format with mins. */
struct starts {
    int32_t of[SUB_BLOCKS];
};

HEARTH_ALWAYS_INLINE void find_starts(struct starts *out, const uint8_t *row, const struct activations *x, size_t s)
{
    const uint8_t *bsum = row + x->sums + 2 * SUB_BLOCKS * s;
    if (OFFSET != 0 && SUB_BLOCKS == 16) {
        const __m512i sums = _mm512_cvtepi16_epi32(load32(bsum));
        _mm512_storeu_si512(out->of, _mm512_mullo_epi32(sums, _mm512_set1_epi32(-OFFSET)));
    } else if (OFFSET != 0) {
        const __m256i sums = _mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i *)(const void *)bsum));
        store32((uint8_t *)out->of, _mm256_mullo_epi32(sums, _mm256_set1_epi32(-OFFSET)));
    }
}

HEARTH_ALWAYS_INLINE __m512i start_of_chain(const struct starts *starts, size_t j)
{
    return OFFSET != 0 ? _mm512_set1_epi32(starts->of[j]) : _mm512_setzero_si512();
}

HEARTH_ALWAYS_INLINE void tile_times_tokens(float *y, size_t y_stride, const uint8_t *tile, const struct activations *x, size_t k,
                                            __mmask16 mask, size_t tokens, size_t prefetch_bytes)
{
    __m512 acc[FEW_TOKENS];
    UNROLL
    for (size_t t = 0; t < tokens; t++)
        acc[t] = _mm512_setzero_ps();
    for (size_t s = 0; s < k / 256; s++) {
        struct super_scales scales;
        read_scales(&scales, tile, s);
        struct starts starts[FEW_TOKENS];
        __m512i sum[FEW_TOKENS];
        UNROLL
        for (size_t t = 0; t < tokens; t++) {
            find_starts(&starts[t], x->rows + t * x->stride, x, s);
            sum[t] = _mm512_setzero_si512();
        }
        for (size_t step = 0; step < 8; step++) {
            __m512i w[8];
            prefetch_ahead(tile + super_block_at(s) + SUPER_BYTES / 8 * step, SUPER_BYTES / 8, prefetch_bytes);
            read_weights(w, tile, s, step);
            UNROLL
            for (size_t t = 0; t < tokens; t++) {
                const uint8_t *q = x->rows + t * x->stride + 256 * s + 32 * step;
                UNROLL
                for (size_t j = 0; j < SUB_BLOCKS / 8; j++) {
                    __m512i dot = start_of_chain(&starts[t], step * (SUB_BLOCKS / 8) + j);
                    UNROLL
                    for (size_t n = j * DOTS; n < (j + 1) * DOTS; n++)
                        dot = add_dot(dot, w[n], broadcast_dword(q + 4 * n));
                    sum[t] = _mm512_add_epi32(sum[t], _mm512_mullo_epi32(dot, scales.scale[step * (SUB_BLOCKS / 8) + j]));
                }
            }
        }
        UNROLL
        for (size_t t = 0; t < tokens; t++)
            acc[t] = add_super_block(acc[t], sum[t], &scales, x->rows + t * x->stride, x, s);
    }
    UNROLL
    for (size_t t = 0; t < tokens; t++)
        _mm512_mask_storeu_ps(y + t * y_stride, mask, acc[t]);
}

struct panel {
    __m512i w[64];
    __m512 scale[SUB_BLOCKS];
    struct super_scales scales;
};

static void fill_panel(struct panel *out, const uint8_t *tile, size_t s, size_t k, size_t prefetch_bytes)
{
    (void)k;
    read_scales(&out->scales, tile, s);
    for (size_t j = 0; j < SUB_BLOCKS; j++)
        out->scale[j] = _mm512_cvtepi32_ps(out->scales.scale[j]);
    for (size_t step = 0; step < 8; step++) {
        prefetch_ahead(tile + super_block_at(s) + SUPER_BYTES / 8 * step, SUPER_BYTES / 8, prefetch_bytes);
        read_weights(out->w + 8 * step, tile, s, step);
    }
}

/* sum[i][t] += sub-blocks from ... from + EXACT - 1 of panel i times token t. */
HEARTH_ALWAYS_INLINE void add_sub_blocks(__m512i sum[2][GROUP_TOKENS], const struct panel panels[2], const struct starts *starts,
                                         const uint8_t *q, size_t stride, size_t from, size_t tokens)
{
    __m512 chain[2][GROUP_TOKENS];
    UNROLL
    for (size_t i = 0; i < 2 * tokens; i++)
        chain[i % 2][i / 2] = _mm512_setzero_ps();
    for (size_t j = from; j < from + EXACT; j++) {
        __m512i dot[2][GROUP_TOKENS];
        UNROLL
        for (size_t i = 0; i < 2 * tokens; i++)
            dot[i % 2][i / 2] = start_of_chain(&starts[i / 2], j);
        UNROLL
        for (size_t n = 0; n < DOTS; n++) {
            UNROLL
            for (size_t t = 0; t < tokens; t++) {
                const __m512i x = broadcast_dword(q + t * stride + 4 * (j * DOTS + n));
                UNROLL
                for (size_t i = 0; i < 2; i++)
                    dot[i][t] = add_dot(dot[i][t], panels[i].w[j * DOTS + n], x);
            }
        }
        UNROLL
        for (size_t i = 0; i < 2; i++) {
            UNROLL
            for (size_t t = 0; t < tokens; t++)
                chain[i][t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[i][t]), panels[i].scale[j], chain[i][t]);
        }
    }
    UNROLL
    for (size_t i = 0; i < 2 * tokens; i++)
        sum[i % 2][i / 2] = _mm512_add_epi32(sum[i % 2][i / 2], _mm512_cvtps_epi32(chain[i % 2][i / 2]));
}

/* acc[t][16 i + r] += super-block s of tile i, row r, times token t, for two panels and `tokens` <= GROUP_TOKENS. */
HEARTH_ALWAYS_INLINE void panels_times_tokens(float (*acc)[PAIR_ROWS], const struct panel panels[2], const struct activations *x,
                                              size_t s, size_t tokens)
{
    struct starts starts[GROUP_TOKENS];
    __m512i sum[2][GROUP_TOKENS];
    UNROLL
    for (size_t t = 0; t < tokens; t++) {
        find_starts(&starts[t], x->rows + t * x->stride, x, s);
        sum[0][t] = sum[1][t] = _mm512_setzero_si512();
    }
    for (size_t from = 0; from < SUB_BLOCKS; from += EXACT)
        add_sub_blocks(sum, panels, starts, x->rows + 256 * s, x->stride, from, tokens);
    UNROLL
    for (size_t t = 0; t < tokens; t++) {
        UNROLL
        for (size_t i = 0; i < 2; i++) {
            float *to = acc[t] + TILE_ROWS * i;
            const __m512 before = _mm512_loadu_ps(to);
            _mm512_storeu_ps(to, add_super_block(before, sum[i][t], &panels[i].scales, x->rows + t * x->stride, x, s));
        }
    }
}

#include "avx512/matmul_tokens.h"
