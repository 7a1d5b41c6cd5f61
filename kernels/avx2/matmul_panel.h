/* Many tokens: 256 k of two tiles are unpacked to bytes once, a panel each, and groups of tokens pass over both; each broadcast
 * dword of activations meets two vectors of weights, each vector the tokens of the group. The part that counts is here, shared by
 * the frames of super-blocks and of blocks of 32. The including file has defined
 *   SIGNED        1 where a code is a signed byte (Q8_0, IQ4), else 0,
 *   LANE_GROUPS   how many groups of 4 k a 16-bit lane takes before it is widened: 8, 4 or 2; 1 where SIGNED,
 *   SCALE_GROUPS  the groups that share a scale: 8 or 4,
 *   LANE_SPAN     the span of activations up to which a lane takes all SCALE_GROUPS (kernels.h: of32, or of8 of four); else 0,
 *   decode_two    groups 2v and 2v + 1 of 32 k: unsigned codes, or absolute values and values where SIGNED.
 *
 * A signed weight is its absolute value and a mask of its sign: with s = -1 where w < 0, else 0, w * q = |w| * (q ^ s) + (|w| & s)
 * in two's complement, since ~q = -q - 1. What is not multiplied, the sum of |w| over negative w, belongs to the weights alone and
 * is where their sums start. A pair of products lies between 2 * 128 * -128 = -32 768 and 2 * 127 * 127 = 32 258: q ^ s is -128 for
 * q = 127 only, and 127 meets no |w| = 128. */
#ifndef HEARTH_AVX2_MATMUL_PANEL_H
#define HEARTH_AVX2_MATMUL_PANEL_H

#include "avx2/matmul.h"

#define MOST_GROUPS (LANE_SPAN > 0 ? SCALE_GROUPS : LANE_GROUPS)

enum {
    GROUP_TOKENS = 4,             /* x 2 tiles: 8 chains, 2 weights, a broadcast and products in flight fill 16 registers */
    MANY_TOKENS = SIGNED ? 9 : 8, /* from here on panels are faster; even groups of at most 4 have 3 or 4 tokens then */
};

/* All eight groups of 32 k. */
HEARTH_ALWAYS_INLINE void decode(__m256i codes[8], __m256i values[8], const uint8_t *p)
{
    UNROLL
    for (size_t v = 0; v < 4; v++)
        decode_two(codes + 2 * v, values + 2 * v, p, v);
}

/* Unsigned codes, or absolute values with masks of signs behind. */
struct panel_codes {
    __m256i w[64];
#if SIGNED
    __m256i sign[64];
#endif
};

/* Keeps the compiler from reordering a chain of additions: it would compute all products first, which spills them. */
HEARTH_ALWAYS_INLINE __m256i in_order(__m256i sum)
{
    __asm__("" : "+x"(sum));
    return sum;
}

#if SIGNED

/* Eight groups, and what to add to the sums of their products, scaled. |sum of |w|| in a 16-bit lane <= 16 * 128. */
HEARTH_ALWAYS_INLINE __m256i store_signed(struct panel_codes *out, size_t n, const __m256i absolute[8], const __m256i values[8],
                                          __m256i scale)
{
    __m256i negative = _mm256_setzero_si256();
    UNROLL
    for (size_t i = 0; i < 8; i++) {
        const __m256i sign = _mm256_cmpgt_epi8(_mm256_setzero_si256(), values[i]);
        out->w[n + i] = absolute[i];
        out->sign[n + i] = sign;
        negative = _mm256_add_epi16(negative, _mm256_maddubs_epi16(_mm256_and_si256(absolute[i], sign), _mm256_set1_epi8(1)));
    }
    return _mm256_madd_epi16(negative, scale);
}

#else

HEARTH_ALWAYS_INLINE void store_codes(__m256i to[8], const __m256i codes[8])
{
    UNROLL
    for (size_t i = 0; i < 8; i++)
        to[i] = codes[i];
}

#endif

#if SIGNED

/* Pairs of products are widened at once. */
HEARTH_ALWAYS_INLINE void add_pairs(__m256i sum[2][GROUP_TOKENS], const struct panel_codes *const codes[2], size_t n,
                                    const __m256i *const scales[2], const int8_t *const q[GROUP_TOKENS], size_t tokens)
{
    const __m256i scale0 = scales[0][0];
    const __m256i scale1 = scales[1][0];
    UNROLL
    for (size_t g = 0; g < 8; g++) {
        UNROLL
        for (size_t t = 0; t < tokens; t++) {
            const __m256i dword = broadcast_i32(q[t] + 4 * g);
            const __m256i pairs0 = _mm256_maddubs_epi16(codes[0]->w[n + g], _mm256_xor_si256(dword, codes[0]->sign[n + g]));
            const __m256i pairs1 = _mm256_maddubs_epi16(codes[1]->w[n + g], _mm256_xor_si256(dword, codes[1]->sign[n + g]));
            sum[0][t] = in_order(_mm256_add_epi32(sum[0][t], _mm256_madd_epi16(pairs0, scale0)));
            sum[1][t] = in_order(_mm256_add_epi32(sum[1][t], _mm256_madd_epi16(pairs1, scale1)));
        }
    }
}

#else

/* As many groups as a lane takes at most; the lanes of all tokens are in registers, so that weights are loaded once for all. */
HEARTH_ALWAYS_INLINE void add_lanes(__m256i sum[2][GROUP_TOKENS], const struct panel_codes *const codes[2], size_t n,
                                    const __m256i *const scales[2], const int8_t *const q[GROUP_TOKENS], size_t tokens)
{
    UNROLL
    for (size_t first = 0; first < 8; first += MOST_GROUPS) {
        __m256i lanes[2][GROUP_TOKENS];
        UNROLL
        for (size_t g = first; g < first + MOST_GROUPS; g++) {
            UNROLL
            for (size_t t = 0; t < tokens; t++) {
                const __m256i dword = broadcast_i32(q[t] + 4 * g);
                UNROLL
                for (size_t i = 0; i < 2; i++) {
                    const __m256i pairs = _mm256_maddubs_epi16(codes[i]->w[n + g], dword);
                    lanes[i][t] = g == first ? pairs : in_order(_mm256_add_epi16(lanes[i][t], pairs));
                }
            }
        }
        UNROLL
        for (size_t i = 0; i < 2; i++) {
            UNROLL
            for (size_t t = 0; t < tokens; t++)
                sum[i][t] = _mm256_add_epi32(sum[i][t], _mm256_madd_epi16(lanes[i][t], scales[i][first / SCALE_GROUPS]));
        }
    }
}

#if LANE_SPAN > 0

/* LANE_GROUPS, token by token, so that the sums stay in registers. */
HEARTH_ALWAYS_INLINE void add_short_lanes(__m256i sum[2][GROUP_TOKENS], const struct panel_codes *const codes[2], size_t n,
                                          const __m256i *const scales[2], const int8_t *const q[GROUP_TOKENS], size_t tokens)
{
    UNROLL
    for (size_t first = 0; first < 8; first += LANE_GROUPS) {
        UNROLL
        for (size_t t = 0; t < tokens; t++) {
            __m256i lanes[2];
            UNROLL
            for (size_t g = first; g < first + LANE_GROUPS; g++) {
                const __m256i dword = broadcast_i32(q[t] + 4 * g);
                UNROLL
                for (size_t i = 0; i < 2; i++) {
                    const __m256i pairs = _mm256_maddubs_epi16(codes[i]->w[n + g], dword);
                    lanes[i] = g == first ? pairs : _mm256_add_epi16(lanes[i], pairs);
                }
            }
            UNROLL
            for (size_t i = 0; i < 2; i++)
                sum[i][t] = in_order(_mm256_add_epi32(sum[i][t], _mm256_madd_epi16(lanes[i], scales[i][first / SCALE_GROUPS])));
        }
    }
}

#endif
#endif

/* sum[i][t] += for each row of panel i and token t, the products of 32 k, groups n ... n + 7, each times its scale; `small` where
 * the activations let a lane take MOST_GROUPS. */
HEARTH_ALWAYS_INLINE void add_products(__m256i sum[2][GROUP_TOKENS], const struct panel_codes *const codes[2], size_t n,
                                       const __m256i *const scales[2], const int8_t *const q[GROUP_TOKENS], size_t tokens,
                                       const bool small)
{
    (void)small;
#if SIGNED
    add_pairs(sum, codes, n, scales, q, tokens);
#elif LANE_SPAN > 0
    if (small)
        add_lanes(sum, codes, n, scales, q, tokens);
    else
        add_short_lanes(sum, codes, n, scales, q, tokens);
#else
    add_lanes(sum, codes, n, scales, q, tokens);
#endif
}

#endif
