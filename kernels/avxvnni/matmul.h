/* What the products of quantized weights share: the dot instruction, and packed codes.
 *
 * Tiles are avx2's, of 8 rows: the file of each format there says where things lie. A vector of 32 bytes of codes is 4 consecutive
 * k of 8 rows, byte 4r + b is k = 4n + b of row r, so that a dword of activations broadcast to all lanes meets it in one vpdpbusd
 * (weights unsigned, activations signed), without a shuffle. */
#ifndef HEARTH_AVXVNNI_MATMUL_H
#define HEARTH_AVXVNNI_MATMUL_H

#include "avx2/avx2.h"
#include "avxvnni/avxvnni.h"
#include "common/attributes.h"
#include "reference/decode.h"
#include "template/unroll.h"
#include <immintrin.h>
#include <string.h>

#ifdef __SANITIZE_ADDRESS__ /* as in avx512/matmul.h */
#undef UNROLL
#define UNROLL
#endif

enum { TILE_ROWS = 8, MANY_TOKENS = 9, JOINED_TOKENS = 9 /* never */ };

/* ---- The vocabulary of template/dot_*.h: a lane for each row of a tile -------------------------------------------------- */

typedef __m256i veci; /* int32 */
typedef __m256 vecf;

HEARTH_ALWAYS_INLINE veci veci_zero(void)
{
    return _mm256_setzero_si256();
}

HEARTH_ALWAYS_INLINE veci veci_set1(int32_t i)
{
    return _mm256_set1_epi32(i);
}

HEARTH_ALWAYS_INLINE veci veci_add(veci a, veci b)
{
    return _mm256_add_epi32(a, b);
}

HEARTH_ALWAYS_INLINE veci veci_mul(veci a, veci b)
{
    return _mm256_mullo_epi32(a, b);
}

/* The lower 16 bits of each lane as its upper ones. */
HEARTH_ALWAYS_INLINE veci veci_to_upper(veci a)
{
    return _mm256_slli_epi32(a, 16);
}

/* Of each lane, the lower 16 bits of a and the upper ones of b. */
HEARTH_ALWAYS_INLINE veci blend16(veci a, veci b)
{
    return _mm256_blend_epi16(a, b, 0xaa);
}

HEARTH_ALWAYS_INLINE vecf veci_to_f(veci a)
{
    return _mm256_cvtepi32_ps(a);
}

HEARTH_ALWAYS_INLINE vecf vecf_zero(void)
{
    return _mm256_setzero_ps();
}

HEARTH_ALWAYS_INLINE vecf vecf_set1(float x)
{
    return _mm256_set1_ps(x);
}

HEARTH_ALWAYS_INLINE vecf vecf_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

HEARTH_ALWAYS_INLINE void vecf_store(float *p, vecf a)
{
    _mm256_storeu_ps(p, a);
}

HEARTH_ALWAYS_INLINE vecf vecf_mul(vecf a, vecf b)
{
    return _mm256_mul_ps(a, b);
}

/* a * b + c, and c - a * b. */
HEARTH_ALWAYS_INLINE vecf vecf_fma(vecf a, vecf b, vecf c)
{
    return _mm256_fmadd_ps(a, b, c);
}

HEARTH_ALWAYS_INLINE vecf vecf_fnma(vecf a, vecf b, vecf c)
{
    return _mm256_fnmadd_ps(a, b, c);
}

/* ---- Arithmetic -------------------------------------------------------------------------------------------------- */

/* sum + 4 products of unsigned w and signed x in each lane, in int32 without saturation. */
HEARTH_ALWAYS_INLINE veci add_dot(veci sum, veci w, veci x)
{
    return _mm256_dpbusd_avx_epi32(sum, w, x);
}

/* The same of 2 products of signed 16-bit numbers. */
HEARTH_ALWAYS_INLINE veci add_dot16(veci sum, veci a, veci b)
{
    return _mm256_dpwssd_avx_epi32(sum, a, b);
}

/* Of a tile's results, those of the rows that exist, of `rows` left. */
HEARTH_ALWAYS_INLINE void store_rows(float *y, vecf v, size_t rows)
{
    if (rows >= TILE_ROWS) {
        vecf_store(y, v);
        return;
    }
    float all[TILE_ROWS];
    vecf_store(all, v);
    memcpy(y, all, rows * sizeof *y);
}

HEARTH_ALWAYS_INLINE vecf load_halves(const uint8_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}

#include "template/dot.h"

/* ---- Codes: 32 k of a tile, 8 vectors -------------------------------------------------------------------------------- */

HEARTH_ALWAYS_INLINE veci load256(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

HEARTH_ALWAYS_INLINE veci low_bits(veci v, int mask)
{
    return _mm256_and_si256(v, _mm256_set1_epi8((char)mask));
}

/* 128 bytes of nibbles: vector v holds 2v low and 2v + 1 high. */
HEARTH_ALWAYS_INLINE void split_nibbles(veci w[8], const uint8_t *p)
{
    UNROLL
    for (size_t v = 0; v < 4; v++) {
        const veci both = load256(p + 32 * v);
        w[2 * v] = low_bits(both, 15);
        w[2 * v + 1] = low_bits(_mm256_srli_epi16(both, 4), 15);
    }
}

/* 64 bytes of two-bit codes: bits 2i and 2i + 1 of vector h are 4h + i. */
HEARTH_ALWAYS_INLINE void split_two_bits(veci w[8], const uint8_t *p)
{
    UNROLL
    for (int n = 0; n < 8; n++)
        w[n] = low_bits(_mm256_srli_epi16(load256(p + n / 4 * 32), n % 4 * 2), 3);
}

/* 160 bytes of codes of five bits, as avx2/matmul.h has them. */
HEARTH_ALWAYS_INLINE void split_five_bits(veci w[8], const uint8_t *p)
{
    const veci five = _mm256_set1_epi8(31);
    veci upper[5], pieces[3];
    UNROLL
    for (size_t n = 0; n < 5; n++) {
        const veci all = load256(p + 32 * n);
        w[n] = _mm256_and_si256(all, five);
        upper[n] = _mm256_andnot_si256(five, all);
    }
    pieces[0] = _mm256_or_si256(upper[0], _mm256_srli_epi16(low_bits(upper[1], 192), 3));
    pieces[1] = _mm256_or_si256(upper[2], _mm256_srli_epi16(low_bits(upper[3], 192), 3));
    pieces[2] = _mm256_or_si256(_mm256_srli_epi16(low_bits(upper[1], 32), 1), _mm256_srli_epi16(low_bits(upper[3], 32), 2));
    pieces[2] = _mm256_or_si256(upper[4], pieces[2]);
    UNROLL
    for (size_t i = 0; i < 3; i++)
        w[5 + i] = _mm256_srli_epi16(pieces[i], 3);
}

/* 32 bytes, whose bit n is bit `bit` of vector n; shifts of 16 bits, for what crosses a byte's border is masked away. */
HEARTH_ALWAYS_INLINE void add_bits(veci w[8], const uint8_t *p, int bit)
{
    const veci plane = load256(p);
    UNROLL
    for (int n = 0; n < 8; n++) {
        const veci moved = n < bit ? _mm256_slli_epi16(plane, bit - n) : _mm256_srli_epi16(plane, n - bit);
        w[n] = _mm256_or_si256(w[n], low_bits(moved, 1 << bit));
    }
}

/* Nibbles become what IQ4_NL and IQ4_XS mean by them, plus 128: 1 ... 241. */
HEARTH_ALWAYS_INLINE void look_up_iq4(veci w[8])
{
    const __m128i values = _mm_loadu_si128((const __m128i *)(const void *)hearth_iq4_values);
    const veci table = _mm256_broadcastsi128_si256(_mm_xor_si128(values, _mm_set1_epi8(-128)));
    UNROLL
    for (size_t n = 0; n < 8; n++)
        w[n] = _mm256_shuffle_epi8(table, w[n]);
}

#endif
