/* 1 ... FEW_TOKENS tokens, a constant wherever this is inlined: several tokens walk two tiles side by side, so that every
 * broadcast of activations meets both. One token walks one tile or two: what counts there is the memory, and which of the two
 * reaches more of it. Each vector of weights is decoded where it is multiplied. What counts is here, for super-blocks and blocks of
 * 32; the names that the including file defines are those of matmul_panel.h. */
#ifndef HEARTH_AVX2_MATMUL_FEW_H
#define HEARTH_AVX2_MATMUL_FEW_H

#include "avx2/matmul_panel.h"

enum {
    FEW_TOKENS = 4, /* x 2 tiles: 8 chains, 4 weights, 2 broadcasts and a mask in 16 registers */
    ONE_TILE_TOKENS = 1,
    TWO_TILES_ALWAYS = 1, /* every broadcast meets both */
};

/* sum[i][t] += the products of 32 k at p of tile i and of token t, the first of them at q, each times its scale. A 16-bit lane
 * takes 2 * LANE_GROUPS products, whose bounds stand in the formats' files. vpmaddubsw wants one operand unsigned: of signed
 * weights the sign moves to the activation, which is within +-127, so that changing its sign never wraps; a pair is at most 2 * 128
 * * 127 = 32 512. */
HEARTH_ALWAYS_INLINE void add_few(__m256i sum[2][FEW_TOKENS], const uint8_t *const p[2], const int8_t *q,
                                  const __m256i (*scales)[8 / SCALE_GROUPS], size_t tiles, size_t tokens)
{
    __m256i lanes[2][FEW_TOKENS];
    UNROLL
    for (size_t v = 0; v < 4; v++) {
        __m256i codes[2][2], values[2][2];
        UNROLL
        for (size_t i = 0; i < tiles; i++)
            decode_two(codes[i], values[i], p[i], v);
        UNROLL
        for (size_t t = 0; t < tokens; t++) {
            const __m256i even = broadcast_i32(q + t * HEARTH_UNIT_BYTES + 8 * v);
            const __m256i odd = broadcast_i32(q + t * HEARTH_UNIT_BYTES + 8 * v + 4);
            UNROLL
            for (size_t i = 0; i < tiles; i++) {
                const __m256i scale = scales[i][2 * v / SCALE_GROUPS];
#if SIGNED
                const __m256i pairs0 = _mm256_maddubs_epi16(codes[i][0], _mm256_sign_epi8(even, values[i][0]));
                const __m256i pairs1 = _mm256_maddubs_epi16(codes[i][1], _mm256_sign_epi8(odd, values[i][1]));
                const __m256i both = _mm256_add_epi32(_mm256_madd_epi16(pairs0, scale), _mm256_madd_epi16(pairs1, scale));
                sum[i][t] = in_order(_mm256_add_epi32(sum[i][t], both));
                (void)lanes;
#else
                const __m256i even_pairs = _mm256_maddubs_epi16(codes[i][0], even);
                const __m256i pairs = in_order(_mm256_add_epi16(even_pairs, _mm256_maddubs_epi16(codes[i][1], odd)));
                lanes[i][t] = 2 * v % LANE_GROUPS == 0 ? pairs : in_order(_mm256_add_epi16(lanes[i][t], pairs));
                if ((2 * v + 2) % LANE_GROUPS == 0)
                    sum[i][t] = in_order(_mm256_add_epi32(sum[i][t], _mm256_madd_epi16(lanes[i][t], scale)));
#endif
            }
        }
    }
}

typedef __m256 vecf;

#include "template/store_few.h"

#endif
