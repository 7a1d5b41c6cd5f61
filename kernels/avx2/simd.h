/* The vocabulary of kernels/template/ in AVX2: a vec16 is sixteen floats, the sixteen lanes of the arithmetic contract, held here
 * in two registers. avx512/simd.h offers the same names over one register, so that one template gives the same lanes, the same tree
 * and the same bits in both folders.
 *
 * Names ending in _partial touch only the first n < 16 elements in memory; lanes beyond are zero. */
#ifndef HEARTH_AVX2_SIMD_H
#define HEARTH_AVX2_SIMD_H

#include "avx2/avx2.h"
#include "common/attributes.h"
#include "common/real.h"
#include <immintrin.h>
#include <string.h>

#define ISA(name) name##_avx2
#define VEC16_TILE 6          /* vec16 accumulators of a register tile: twelve registers, four left for operands */
#define VEC16_WIDENS_FREELY 0 /* a tile is too small to hide vec16_load_f16 */

typedef struct {
    __m256 lo, hi; /* lanes 0-7 and 8-15 */
} vec16;

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

HEARTH_ALWAYS_INLINE vec16 vec16_load(const float *p)
{
    return (vec16){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}

/* Through the stack: masked loads and stores are slow on some CPUs, and emulators touch what the mask excludes. */
HEARTH_ALWAYS_INLINE vec16 vec16_load_partial(const float *p, size_t n)
{
    float all[16] = {0.0f};
    memcpy(all, p, n * sizeof *p);
    return vec16_load(all);
}

HEARTH_ALWAYS_INLINE void vec16_store(float *p, vec16 a)
{
    _mm256_storeu_ps(p, a.lo);
    _mm256_storeu_ps(p + 8, a.hi);
}

HEARTH_ALWAYS_INLINE void vec16_store_partial(float *p, vec16 a, size_t n)
{
    float all[16];
    vec16_store(all, a);
    memcpy(p, all, n * sizeof *p);
}

HEARTH_ALWAYS_INLINE vec16 vec16_load_f16(const uint16_t *p)
{
    const __m128i *q = (const __m128i *)(const void *)p;
    return (vec16){_mm256_cvtph_ps(_mm_loadu_si128(q)), _mm256_cvtph_ps(_mm_loadu_si128(q + 1))};
}

HEARTH_ALWAYS_INLINE vec16 vec16_load_f16_partial(const uint16_t *p, size_t n)
{
    uint16_t all[16] = {0};
    memcpy(all, p, n * sizeof *p);
    return vec16_load_f16(all);
}

/* Sixteen bytes, widened exactly. */
HEARTH_ALWAYS_INLINE vec16 vec16_load_s8(const int8_t *p)
{
    const __m128i *q = (const __m128i *)(const void *)p;
    const __m128i *r = (const __m128i *)(const void *)(p + 8);
    return (vec16){_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(q))),
                   _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(r)))};
}

/* The upper halves of floats. */
HEARTH_ALWAYS_INLINE vec16 vec16_load_bf16(const uint16_t *p)
{
    const __m128i *q = (const __m128i *)(const void *)p;
    return (vec16){_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(q)), 16)),
                   _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(q + 1)), 16))};
}

HEARTH_ALWAYS_INLINE vec16 vec16_load_bf16_partial(const uint16_t *p, size_t n)
{
    uint16_t all[16] = {0};
    memcpy(all, p, n * sizeof *p);
    return vec16_load_bf16(all);
}

/* Rounds to nearest even. */
HEARTH_ALWAYS_INLINE void vec16_store_f16(uint16_t *p, vec16 a)
{
    __m128i *q = (__m128i *)(void *)p;
    _mm_storeu_si128(q, _mm256_cvtps_ph(a.lo, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128(q + 1, _mm256_cvtps_ph(a.hi, _MM_FROUND_TO_NEAREST_INT));
}

HEARTH_ALWAYS_INLINE void vec16_store_f16_partial(uint16_t *p, vec16 a, size_t n)
{
    uint16_t all[16];
    vec16_store_f16(all, a);
    memcpy(p, all, n * sizeof *p);
}

/* Lanes 2i from even[i], lanes 2i+1 from odd[i], for i < n <= 8; zero beyond. */
HEARTH_ALWAYS_INLINE vec16 vec16_zip(const float *even, const float *odd, size_t n)
{
    const __m256 e = n == 8 ? _mm256_loadu_ps(even) : vec16_load_partial(even, n).lo;
    const __m256 o = n == 8 ? _mm256_loadu_ps(odd) : vec16_load_partial(odd, n).lo;
    const __m256 a = _mm256_unpacklo_ps(e, o); /* pairs 0 1 | 4 5 */
    const __m256 b = _mm256_unpackhi_ps(e, o); /* pairs 2 3 | 6 7 */
    return (vec16){_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31)};
}

/* ---- Lane by lane ------------------------------------------------------------------------------------------------ */

HEARTH_ALWAYS_INLINE vec16 vec16_set1(float x)
{
    return (vec16){_mm256_set1_ps(x), _mm256_set1_ps(x)};
}

HEARTH_ALWAYS_INLINE vec16 vec16_zero(void)
{
    return (vec16){_mm256_setzero_ps(), _mm256_setzero_ps()};
}

HEARTH_ALWAYS_INLINE vec16 vec16_add(vec16 a, vec16 b)
{
    return (vec16){_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}

HEARTH_ALWAYS_INLINE vec16 vec16_sub(vec16 a, vec16 b)
{
    return (vec16){_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}

HEARTH_ALWAYS_INLINE vec16 vec16_mul(vec16 a, vec16 b)
{
    return (vec16){_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}

HEARTH_ALWAYS_INLINE vec16 vec16_div(vec16 a, vec16 b)
{
    return (vec16){_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}

/* a > b ? a : b. */
HEARTH_ALWAYS_INLINE vec16 vec16_max(vec16 a, vec16 b)
{
    return (vec16){_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
}

/* a * b + c. */
HEARTH_ALWAYS_INLINE vec16 vec16_fma(vec16 a, vec16 b, vec16 c)
{
    return (vec16){_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}

/* a * b - c in even lanes, a * b + c in odd lanes. */
HEARTH_ALWAYS_INLINE vec16 vec16_fmaddsub(vec16 a, vec16 b, vec16 c)
{
    return (vec16){_mm256_fmaddsub_ps(a.lo, b.lo, c.lo), _mm256_fmaddsub_ps(a.hi, b.hi, c.hi)};
}

/* The sign bit turned over, of NaN too. */
HEARTH_ALWAYS_INLINE vec16 vec16_negate(vec16 a)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return (vec16){_mm256_xor_ps(a.lo, sign), _mm256_xor_ps(a.hi, sign)};
}

/* Lanes below n of a, the others of b. */
HEARTH_ALWAYS_INLINE vec16 vec16_first(vec16 a, vec16 b, size_t n)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i count = _mm256_set1_epi32((int)n);
    const __m256i lo = _mm256_cmpgt_epi32(count, lane);
    const __m256i hi = _mm256_cmpgt_epi32(count, _mm256_add_epi32(lane, _mm256_set1_epi32(8)));
    return (vec16){_mm256_blendv_ps(b.lo, a.lo, _mm256_castsi256_ps(lo)), _mm256_blendv_ps(b.hi, a.hi, _mm256_castsi256_ps(hi))};
}

/* Every pair (x, y) as (x, x), and as (y, y). */
HEARTH_ALWAYS_INLINE vec16 vec16_even(vec16 a)
{
    return (vec16){_mm256_moveldup_ps(a.lo), _mm256_moveldup_ps(a.hi)};
}

HEARTH_ALWAYS_INLINE vec16 vec16_odd(vec16 a)
{
    return (vec16){_mm256_movehdup_ps(a.lo), _mm256_movehdup_ps(a.hi)};
}

/* hearth_expf of common/real.h in eight lanes, operation by operation, for x that is at most HEARTH_EXP_MAX or NaN; lanes outside
 * its range compute rubbish that the blends replace. */
HEARTH_ALWAYS_INLINE __m256 vec8_exp_not_great(__m256 x)
{
    const __m256 round = _mm256_set1_ps(HEARTH_EXP_ROUND);
    const __m256 one = _mm256_set1_ps(1.0f);
    const __m256 t = _mm256_fmadd_ps(x, _mm256_set1_ps(HEARTH_EXP_LOG2E), round);
    const __m256 n = _mm256_sub_ps(t, round);
    __m256 r = _mm256_fmadd_ps(n, _mm256_set1_ps(-HEARTH_EXP_LN2_HI), x);
    r = _mm256_fmadd_ps(n, _mm256_set1_ps(-HEARTH_EXP_LN2_LO), r);
    __m256 p = _mm256_fmadd_ps(_mm256_set1_ps(HEARTH_EXP_C7), r, _mm256_set1_ps(HEARTH_EXP_C6));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(HEARTH_EXP_C5));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(HEARTH_EXP_C4));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(HEARTH_EXP_C3));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(HEARTH_EXP_C2));
    p = _mm256_fmadd_ps(p, r, one);
    p = _mm256_fmadd_ps(p, r, one);
    const __m256i bits = _mm256_add_epi32(_mm256_castps_si256(p), _mm256_slli_epi32(_mm256_castps_si256(t), 23));
    __m256 y = _mm256_castsi256_ps(bits);
    y = _mm256_andnot_ps(_mm256_cmp_ps(x, _mm256_set1_ps(HEARTH_EXP_MIN), _CMP_LT_OQ), y);
    const __m256 nan = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000));
    return _mm256_blendv_ps(y, nan, _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
}

HEARTH_ALWAYS_INLINE vec16 vec16_exp_not_great(vec16 a)
{
    return (vec16){vec8_exp_not_great(a.lo), vec8_exp_not_great(a.hi)};
}

HEARTH_ALWAYS_INLINE __m256 vec8_exp(__m256 x)
{
    const __m256 great = _mm256_cmp_ps(x, _mm256_set1_ps(HEARTH_EXP_MAX), _CMP_GT_OQ);
    return _mm256_blendv_ps(vec8_exp_not_great(x), _mm256_set1_ps(HUGE_VALF), great);
}

HEARTH_ALWAYS_INLINE vec16 vec16_exp(vec16 a)
{
    return (vec16){vec8_exp(a.lo), vec8_exp(a.hi)};
}

/* 2^n, where t = n + HEARTH_EXP_ROUND and |n| < 127. */
HEARTH_ALWAYS_INLINE vec16 vec16_power(vec16 t)
{
    const __m256i one = _mm256_castps_si256(_mm256_set1_ps(1.0f));
    return (vec16){_mm256_castsi256_ps(_mm256_add_epi32(_mm256_slli_epi32(_mm256_castps_si256(t.lo), 23), one)),
                   _mm256_castsi256_ps(_mm256_add_epi32(_mm256_slli_epi32(_mm256_castps_si256(t.hi), 23), one))};
}

/* ---- Across lanes ------------------------------------------------------------------------------------------------ */

/* The tree 16 -> 8 -> 4 -> 2 -> 1, the upper half added to the lower. */
HEARTH_ALWAYS_INLINE float vec16_sum(vec16 a)
{
    const __m256 s8 = _mm256_add_ps(a.lo, a.hi);
    const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

/* The greatest lane; no lane is NaN. */
HEARTH_ALWAYS_INLINE float vec16_greatest(vec16 a)
{
    const __m256 m8 = _mm256_max_ps(a.lo, a.hi);
    const __m128 m4 = _mm_max_ps(_mm256_castps256_ps128(m8), _mm256_extractf128_ps(m8, 1));
    const __m128 m2 = _mm_max_ps(m4, _mm_movehl_ps(m4, m4));
    return _mm_cvtss_f32(_mm_max_ss(m2, _mm_movehdup_ps(m2)));
}

#endif
