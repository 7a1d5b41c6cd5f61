/* The vocabulary of kernels/template/ in AVX-512: a vec16 is sixteen floats, the sixteen lanes of the arithmetic contract, in one
 * register. avx2/simd.h offers the same names over two, so that one template gives the same lanes, the same tree and the same bits
 * in both folders.
 *
 * Names ending in _partial touch only the first n < 16 elements in memory; lanes beyond are zero. */
#ifndef HEARTH_AVX512_SIMD_H
#define HEARTH_AVX512_SIMD_H

#include "avx512/avx512.h"
#include "common/attributes.h"
#include "common/real.h"
#include <immintrin.h>
#include <string.h>

#define ISA(name) name##_avx512
#define VEC16_TILE 24         /* vec16 accumulators of a register tile: of 32 registers, the rest for operands */
#define VEC16_WIDENS_FREELY 1 /* vec16_load_f16 runs on other pipes than the products */

typedef __m512 vec16;

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

/* Ones for the lanes below n, n <= 16. */
HEARTH_ALWAYS_INLINE __mmask16 vec16_mask(size_t n)
{
    return (__mmask16)((1u << n) - 1);
}

HEARTH_ALWAYS_INLINE vec16 vec16_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

HEARTH_ALWAYS_INLINE vec16 vec16_load_partial(const float *p, size_t n)
{
    return _mm512_maskz_loadu_ps(vec16_mask(n), p);
}

HEARTH_ALWAYS_INLINE void vec16_store(float *p, vec16 a)
{
    _mm512_storeu_ps(p, a);
}

HEARTH_ALWAYS_INLINE void vec16_store_partial(float *p, vec16 a, size_t n)
{
    _mm512_mask_storeu_ps(p, vec16_mask(n), a);
}

/* Exact. clang 14 takes the plain form apart into scalars, gcc does not join the other one with its load. */
HEARTH_ALWAYS_INLINE vec16 vec16_from_f16(__m256i halves)
{
#ifdef __clang__
    return _mm512_cvt_roundph_ps(halves, _MM_FROUND_NO_EXC);
#else
    return _mm512_cvtph_ps(halves);
#endif
}

HEARTH_ALWAYS_INLINE vec16 vec16_load_f16(const uint16_t *p)
{
    return vec16_from_f16(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

HEARTH_ALWAYS_INLINE vec16 vec16_load_f16_partial(const uint16_t *p, size_t n)
{
    return vec16_from_f16(_mm256_maskz_loadu_epi16(vec16_mask(n), p));
}

/* Sixteen bytes, widened exactly. */
HEARTH_ALWAYS_INLINE vec16 vec16_load_s8(const int8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}

/* bfloat16: the upper halves of floats. */
HEARTH_ALWAYS_INLINE vec16 vec16_from_bf16(__m256i halves)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

HEARTH_ALWAYS_INLINE vec16 vec16_load_bf16(const uint16_t *p)
{
    return vec16_from_bf16(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

HEARTH_ALWAYS_INLINE vec16 vec16_load_bf16_partial(const uint16_t *p, size_t n)
{
    return vec16_from_bf16(_mm256_maskz_loadu_epi16(vec16_mask(n), p));
}

/* Rounds to nearest even. */
HEARTH_ALWAYS_INLINE __m256i vec16_to_f16(vec16 a)
{
    return _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

HEARTH_ALWAYS_INLINE void vec16_store_f16(uint16_t *p, vec16 a)
{
    _mm256_storeu_si256((__m256i *)(void *)p, vec16_to_f16(a));
}

HEARTH_ALWAYS_INLINE void vec16_store_f16_partial(uint16_t *p, vec16 a, size_t n)
{
    _mm256_mask_storeu_epi16(p, vec16_mask(n), vec16_to_f16(a));
}

/* Lanes 2i from even[i], lanes 2i+1 from odd[i], for i < n <= 8; zero beyond. */
HEARTH_ALWAYS_INLINE vec16 vec16_zip(const float *even, const float *odd, size_t n)
{
    const __m512i order = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    return _mm512_permutex2var_ps(vec16_load_partial(even, n), order, vec16_load_partial(odd, n));
}

/* ---- Lane by lane ------------------------------------------------------------------------------------------------ */

HEARTH_ALWAYS_INLINE vec16 vec16_set1(float x)
{
    return _mm512_set1_ps(x);
}

HEARTH_ALWAYS_INLINE vec16 vec16_zero(void)
{
    return _mm512_setzero_ps();
}

HEARTH_ALWAYS_INLINE vec16 vec16_add(vec16 a, vec16 b)
{
    return _mm512_add_ps(a, b);
}

HEARTH_ALWAYS_INLINE vec16 vec16_sub(vec16 a, vec16 b)
{
    return _mm512_sub_ps(a, b);
}

HEARTH_ALWAYS_INLINE vec16 vec16_mul(vec16 a, vec16 b)
{
    return _mm512_mul_ps(a, b);
}

HEARTH_ALWAYS_INLINE vec16 vec16_div(vec16 a, vec16 b)
{
    return _mm512_div_ps(a, b);
}

/* a > b ? a : b. */
HEARTH_ALWAYS_INLINE vec16 vec16_max(vec16 a, vec16 b)
{
    return _mm512_max_ps(a, b);
}

/* a * b + c. */
HEARTH_ALWAYS_INLINE vec16 vec16_fma(vec16 a, vec16 b, vec16 c)
{
    return _mm512_fmadd_ps(a, b, c);
}

/* a * b - c in even lanes, a * b + c in odd lanes. */
HEARTH_ALWAYS_INLINE vec16 vec16_fmaddsub(vec16 a, vec16 b, vec16 c)
{
    return _mm512_fmaddsub_ps(a, b, c);
}

/* The sign bit turned over, of NaN too. */
HEARTH_ALWAYS_INLINE vec16 vec16_negate(vec16 a)
{
    return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f));
}

/* Lanes below n of a, the others of b. */
HEARTH_ALWAYS_INLINE vec16 vec16_first(vec16 a, vec16 b, size_t n)
{
    return _mm512_mask_mov_ps(b, vec16_mask(n), a);
}

/* Every pair (x, y) as (x, x), and as (y, y). */
HEARTH_ALWAYS_INLINE vec16 vec16_even(vec16 a)
{
    return _mm512_moveldup_ps(a);
}

HEARTH_ALWAYS_INLINE vec16 vec16_odd(vec16 a)
{
    return _mm512_movehdup_ps(a);
}

/* hearth_expf of common/real.h, operation by operation, for x that is at most HEARTH_EXP_MAX or NaN; lanes outside its range
 * compute rubbish that the masks replace. */
HEARTH_ALWAYS_INLINE vec16 vec16_exp_not_great(vec16 x)
{
    const vec16 round = _mm512_set1_ps(HEARTH_EXP_ROUND);
    const vec16 one = _mm512_set1_ps(1.0f);
    const vec16 t = _mm512_fmadd_ps(x, _mm512_set1_ps(HEARTH_EXP_LOG2E), round);
    const vec16 n = _mm512_sub_ps(t, round);
    vec16 r = _mm512_fmadd_ps(n, _mm512_set1_ps(-HEARTH_EXP_LN2_HI), x);
    r = _mm512_fmadd_ps(n, _mm512_set1_ps(-HEARTH_EXP_LN2_LO), r);
    vec16 p = _mm512_fmadd_ps(_mm512_set1_ps(HEARTH_EXP_C7), r, _mm512_set1_ps(HEARTH_EXP_C6));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(HEARTH_EXP_C5));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(HEARTH_EXP_C4));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(HEARTH_EXP_C3));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(HEARTH_EXP_C2));
    p = _mm512_fmadd_ps(p, r, one);
    p = _mm512_fmadd_ps(p, r, one);
    const __m512i exponent = _mm512_slli_epi32(_mm512_castps_si512(t), 23);
    const __mmask16 not_small = _mm512_cmp_ps_mask(x, _mm512_set1_ps(HEARTH_EXP_MIN), _CMP_NLT_UQ);
    const __m512i bits = _mm512_maskz_add_epi32(not_small, _mm512_castps_si512(p), exponent);
    const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    return _mm512_castsi512_ps(_mm512_mask_mov_epi32(bits, nan, _mm512_set1_epi32(0x7fc00000)));
}

HEARTH_ALWAYS_INLINE vec16 vec16_exp(vec16 x)
{
    const __mmask16 great = _mm512_cmp_ps_mask(x, _mm512_set1_ps(HEARTH_EXP_MAX), _CMP_GT_OQ);
    return _mm512_mask_mov_ps(vec16_exp_not_great(x), great, _mm512_set1_ps(HUGE_VALF));
}

/* 2^n, where t = n + HEARTH_EXP_ROUND and |n| < 127. */
HEARTH_ALWAYS_INLINE vec16 vec16_power(vec16 t)
{
    const __m512i one = _mm512_castps_si512(_mm512_set1_ps(1.0f));
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_slli_epi32(_mm512_castps_si512(t), 23), one));
}

/* ---- Across lanes ------------------------------------------------------------------------------------------------ */

/* The tree 16 -> 8 -> 4 -> 2 -> 1, the upper half added to the lower. */
HEARTH_ALWAYS_INLINE float vec16_sum(vec16 a)
{
    const __m256 s8 = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

/* The greatest lane; no lane is NaN. */
HEARTH_ALWAYS_INLINE float vec16_greatest(vec16 a)
{
    const __m256 m8 = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    const __m128 m4 = _mm_max_ps(_mm256_castps256_ps128(m8), _mm256_extractf128_ps(m8, 1));
    const __m128 m2 = _mm_max_ps(m4, _mm_movehl_ps(m4, m4));
    return _mm_cvtss_f32(_mm_max_ss(m2, _mm_movehdup_ps(m2)));
}

#endif
