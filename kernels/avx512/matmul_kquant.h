/* Products of weights in super-blocks of 256 with Q8_256 activations: a template. The including file has included kquant_scales.h
 * and defines
 *   KERNEL(operation)  the name of a function,
 *   SUB_BLOCKS         scales in a super-block, 8 or 16,
 *   SUPER_BYTES        bytes of a super-block of 16 rows (without a line of halves that several share),
 *   super_block_at     its byte offset in a tile,
 *   read_scales        of a super-block,
 *   read_weights       of 32 k of a super-block: 8 vectors of unsigned codes,
 *   add_super_block    the float end of the arithmetic. */

enum { DOTS = 64 / SUB_BLOCKS }; /* dot instructions of a sub-block, 4 k each */

static inline struct activations activations_of(const void *x, size_t x_stride, size_t k)
{
    const size_t sums = SUB_BLOCKS == 8 ? hearth_q8_256_sums32(k) : hearth_q8_256_sums16(k);
    return (struct activations){x, x_stride, hearth_q8_256_scales(k), sums};
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
        __m512i sum[FEW_TOKENS];
        UNROLL
        for (size_t t = 0; t < tokens; t++)
            sum[t] = _mm512_setzero_si512();
        for (size_t step = 0; step < 8; step++) {
            __m512i w[8];
            prefetch_ahead(tile + super_block_at(s) + SUPER_BYTES / 8 * step, SUPER_BYTES / 8, prefetch_bytes);
            read_weights(w, tile, s, step);
            UNROLL
            for (size_t t = 0; t < tokens; t++) {
                const uint8_t *q = x->rows + t * x->stride + 256 * s + 32 * step;
                UNROLL
                for (size_t j = 0; j < SUB_BLOCKS / 8; j++) {
                    __m512i dot = _mm512_setzero_si512();
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
    struct super_scales scales;
};

static void fill_panel(struct panel *out, const uint8_t *tile, size_t s, size_t k, size_t prefetch_bytes)
{
    (void)k;
    read_scales(&out->scales, tile, s);
    for (size_t step = 0; step < 8; step++) {
        prefetch_ahead(tile + super_block_at(s) + SUPER_BYTES / 8 * step, SUPER_BYTES / 8, prefetch_bytes);
        read_weights(out->w + 8 * step, tile, s, step);
    }
}

/* acc[t][16 i + r] += super-block s of tile i, row r, times token t, for two panels and `tokens` <= GROUP_TOKENS. */
HEARTH_ALWAYS_INLINE void panels_times_tokens(float (*acc)[PAIR_ROWS], const struct panel panels[2], const struct activations *x,
                                              size_t s, size_t tokens)
{
    __m512i sum[2][GROUP_TOKENS];
    UNROLL
    for (size_t i = 0; i < 2 * tokens; i++)
        sum[i % 2][i / 2] = _mm512_setzero_si512();
    for (size_t j = 0; j < SUB_BLOCKS; j++) {
        __m512i dot[2][GROUP_TOKENS];
        UNROLL
        for (size_t i = 0; i < 2 * tokens; i++)
            dot[i % 2][i / 2] = _mm512_setzero_si512();
        UNROLL
        for (size_t n = 0; n < DOTS; n++) {
            UNROLL
            for (size_t t = 0; t < tokens; t++) {
                const __m512i q = broadcast_dword(x->rows + t * x->stride + 256 * s + 4 * (j * DOTS + n));
                UNROLL
                for (size_t i = 0; i < 2; i++)
                    dot[i][t] = add_dot(dot[i][t], panels[i].w[j * DOTS + n], q);
            }
        }
        UNROLL
        for (size_t i = 0; i < 2; i++) {
            UNROLL
            for (size_t t = 0; t < tokens; t++)
                sum[i][t] = _mm512_add_epi32(sum[i][t], _mm512_mullo_epi32(dot[i][t], panels[i].scales.scale[j]));
        }
    }
    __m512 a[2][GROUP_TOKENS];
    UNROLL
    for (size_t i = 0; i < 2; i++) {
        UNROLL
        for (size_t t = 0; t < tokens; t++) {
            const __m512 before = _mm512_loadu_ps(acc[t] + TILE_ROWS * i);
            a[i][t] = add_super_block(before, sum[i][t], &panels[i].scales, x->rows + t * x->stride, x, s);
        }
    }
    UNROLL
    for (size_t i = 0; i < 2 * tokens; i++)
        _mm512_storeu_ps(acc[i / 2] + TILE_ROWS * (i % 2), a[i % 2][i / 2]);
}

#include "avx512/matmul_tokens.h"
