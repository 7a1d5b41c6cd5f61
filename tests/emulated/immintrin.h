/* AVX-512 (F, BW, VL, DQ, VNNI) and AVX-VNNI for a CPU that has AVX2: this folder stands first in the include path when
 * tests/CMakeLists.txt compiles the unchanged kernels of those levels a second time, so that their bits are proven on machines
 * that cannot run them. It says nothing about their speed, nor that the compiler's own code for these intrinsics is right.
 *
 * Each intrinsic is written from the definition of its instruction, of vector operators, of the AVX2 intrinsic on both halves, or
 * lane by lane. Vectors keep the compiler's types. A kernel that uses an intrinsic not listed here does not compile in the
 * emulation ("target specific option mismatch", or "always_inline function requires target feature"): add it.
 *
 * With masks, memory is touched only where the mask is set, as the instructions do. Rounding modes and exceptions of the _round_
 * forms are ignored: kernels run in round to nearest. */
#ifndef HEARTH_EMULATED_IMMINTRIN_H
#define HEARTH_EMULATED_IMMINTRIN_H

#pragma GCC system_header /* it stands for one: names that a compiler has as macros are defined anew */
#include_next <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define EMULATED static inline __attribute__((always_inline))

/* ---- Lanes --------------------------------------------------------------------------------------------------------- */

union emulated {
    __m512i i;
    __m512 f;
    __m256i i256[2];
    __m256 f256[2];
    __m128i i128[4];
    __m128 f128[4];
    float f32[16];
    int8_t s8[64];
    uint8_t u8[64];
    int16_t s16[32];
    uint16_t u16[32];
    int32_t s32[16];
    uint32_t u32[16];
    int64_t s64[8];
    uint64_t u64[8];
};

union emulated256 {
    __m256i i;
    __m128i i128[2];
    int8_t s8[32];
    uint8_t u8[32];
    int16_t s16[16];
    uint16_t u16[16];
    int32_t s32[8];
    uint32_t u32[8];
};

EMULATED union emulated emulated_i(__m512i a)
{
    return (union emulated){.i = a};
}

EMULATED union emulated emulated_f(__m512 a)
{
    return (union emulated){.f = a};
}

EMULATED __m512i emulated_join(__m256i low, __m256i high)
{
    return (union emulated){.i256 = {low, high}}.i;
}

EMULATED __m512 emulated_join_ps(__m256 low, __m256 high)
{
    return (union emulated){.f256 = {low, high}}.f;
}

EMULATED __m256i emulated_half(__m512i a, int half)
{
    return emulated_i(a).i256[half];
}

EMULATED __m256 emulated_half_ps(__m512 a, int half)
{
    return emulated_f(a).f256[half];
}

/* emulated_NAME: the AVX2 intrinsic _mm256_NAME on both halves, with one to three vectors or a count of bits. Functions, so that
 * nobody's argument is evaluated twice. */
#define EMULATED_1(name, type, half, join)                                                                                         \
    EMULATED type emulated_##name(type a)                                                                                          \
    {                                                                                                                              \
        return join(_mm256_##name(half(a, 0)), _mm256_##name(half(a, 1)));                                                         \
    }
#define EMULATED_2(name, type, half, join)                                                                                         \
    EMULATED type emulated_##name(type a, type b)                                                                                  \
    {                                                                                                                              \
        return join(_mm256_##name(half(a, 0), half(b, 0)), _mm256_##name(half(a, 1), half(b, 1)));                                 \
    }
#define EMULATED_3(name, type, half, join)                                                                                         \
    EMULATED type emulated_##name(type a, type b, type c)                                                                          \
    {                                                                                                                              \
        return join(_mm256_##name(half(a, 0), half(b, 0), half(c, 0)), _mm256_##name(half(a, 1), half(b, 1), half(c, 1)));         \
    }
#define EMULATED_I1(name) EMULATED_1(name, __m512i, emulated_half, emulated_join)
#define EMULATED_I2(name) EMULATED_2(name, __m512i, emulated_half, emulated_join)
#define EMULATED_F1(name) EMULATED_1(name, __m512, emulated_half_ps, emulated_join_ps)
#define EMULATED_F2(name) EMULATED_2(name, __m512, emulated_half_ps, emulated_join_ps)
#define EMULATED_F3(name) EMULATED_3(name, __m512, emulated_half_ps, emulated_join_ps)
#define EMULATED_SHIFT(name)                                                                                                       \
    EMULATED __m512i emulated_##name(__m512i a, unsigned n)                                                                        \
    {                                                                                                                              \
        return emulated_join(_mm256_##name(emulated_half(a, 0), (int)n), _mm256_##name(emulated_half(a, 1), (int)n));              \
    }
#define EMULATED_WIDEN(name)                                                                                                       \
    EMULATED __m512i emulated_##name(__m256i a)                                                                                    \
    {                                                                                                                              \
        return emulated_join(_mm256_##name(_mm256_castsi256_si128(a)), _mm256_##name(_mm256_extracti128_si256(a, 1)));             \
    }
#define EMULATED_WIDEN8(name)                                                                                                      \
    EMULATED __m512i emulated_##name(__m128i a)                                                                                    \
    {                                                                                                                              \
        return emulated_join(_mm256_##name(a), _mm256_##name(_mm_srli_si128(a, 8)));                                               \
    }
#define EMULATED_DOT(name)                                                                                                         \
    EMULATED __m512i emulated_##name##_512(__m512i src, __m512i a, __m512i b)                                                      \
    {                                                                                                                              \
        return emulated_join(emulated_##name(emulated_half(src, 0), emulated_half(a, 0), emulated_half(b, 0)),                     \
                             emulated_##name(emulated_half(src, 1), emulated_half(a, 1), emulated_half(b, 1)));                    \
    }

/* ---- Masks --------------------------------------------------------------------------------------------------------- */

EMULATED __m512i emulated_select8(__mmask64 mask, __m512i a, __m512i b)
{
    union emulated x = emulated_i(a), y = emulated_i(b);
    for (size_t i = 0; i < 64; i++)
        y.u8[i] = mask >> i & 1 ? x.u8[i] : y.u8[i];
    return y.i;
}

EMULATED __m512i emulated_select16(__mmask32 mask, __m512i a, __m512i b)
{
    union emulated x = emulated_i(a), y = emulated_i(b);
    for (size_t i = 0; i < 32; i++)
        y.u16[i] = mask >> i & 1 ? x.u16[i] : y.u16[i];
    return y.i;
}

EMULATED __m512i emulated_select32(__mmask16 mask, __m512i a, __m512i b)
{
    union emulated x = emulated_i(a), y = emulated_i(b);
    for (size_t i = 0; i < 16; i++)
        y.u32[i] = mask >> i & 1 ? x.u32[i] : y.u32[i];
    return y.i;
}

EMULATED __m512 emulated_select_ps(__mmask16 mask, __m512 a, __m512 b)
{
    return (union emulated){.i = emulated_select32(mask, emulated_f(a).i, emulated_f(b).i)}.f;
}

EMULATED __m256i emulated_select8_256(__mmask32 mask, __m256i a, __m256i b)
{
    union emulated256 x = {.i = a}, y = {.i = b};
    for (size_t i = 0; i < 32; i++)
        y.u8[i] = mask >> i & 1 ? x.u8[i] : y.u8[i];
    return y.i;
}

#define _cvtu64_mask64(x) ((__mmask64)(x))
#define _cvtu32_mask32(x) ((__mmask32)(x))
#define _cvtu32_mask16(x) ((__mmask16)(x))
#define _cvtmask64_u64(x) ((uint64_t)(x))
#define _cvtmask32_u32(x) ((uint32_t)(x))
#define _cvtmask16_u32(x) ((uint32_t)(x))

#define _mm512_mask_mov_epi8(b, mask, a) emulated_select8(mask, a, b)
#define _mm512_mask_mov_epi32(b, mask, a) emulated_select32(mask, a, b)
#define _mm512_maskz_mov_epi32(mask, a) emulated_select32(mask, a, _mm512_setzero_si512())
#define _mm512_mask_mov_ps(b, mask, a) emulated_select_ps(mask, a, b)
#define _mm512_maskz_mov_ps(mask, a) emulated_select_ps(mask, a, _mm512_setzero_ps())
#define _mm512_mask_blend_epi8(mask, a, b) emulated_select8(mask, b, a)
#define _mm512_mask_blend_epi16(mask, a, b) emulated_select16(mask, b, a)
#define _mm512_mask_blend_epi32(mask, a, b) emulated_select32(mask, b, a)
#define _mm512_mask_blend_ps(mask, a, b) emulated_select_ps(mask, b, a)

/* ---- Constants, casts, parts --------------------------------------------------------------------------------------- */

#define _mm512_setzero_si512() emulated_join(_mm256_setzero_si256(), _mm256_setzero_si256())
#define _mm512_setzero_ps() emulated_join_ps(_mm256_setzero_ps(), _mm256_setzero_ps())
#define _mm512_setzero() _mm512_setzero_ps()

EMULATED __m512i emulated_twice(__m256i a)
{
    return emulated_join(a, a);
}

EMULATED __m512 emulated_twice_ps(__m256 a)
{
    return emulated_join_ps(a, a);
}

#define _mm512_set1_epi8(x) emulated_twice(_mm256_set1_epi8(x))
#define _mm512_set1_epi16(x) emulated_twice(_mm256_set1_epi16(x))
#define _mm512_set1_epi32(x) emulated_twice(_mm256_set1_epi32(x))
#define _mm512_set1_epi64(x) emulated_twice(_mm256_set1_epi64x(x))
#define _mm512_set1_ps(x) emulated_twice_ps(_mm256_set1_ps(x))
#define _mm512_broadcastss_ps(a) emulated_twice_ps(_mm256_broadcastss_ps(a))
#define _mm512_broadcastd_epi32(a) emulated_twice(_mm256_broadcastd_epi32(a))
#define _mm512_broadcast_i32x4(a) emulated_twice(_mm256_broadcastsi128_si256(a))
#define _mm512_broadcast_i64x4(a) emulated_twice(a)
#define _mm512_broadcast_f32x8(a) emulated_twice_ps(a)
#define _mm512_setr_epi32(x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11, x12, x13, x14, x15)                                    \
    ((union emulated){.s32 = {x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11, x12, x13, x14, x15}}.i)
#define _mm512_set_epi32(x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11, x12, x13, x14, x15)                                     \
    _mm512_setr_epi32(x15, x14, x13, x12, x11, x10, x9, x8, x7, x6, x5, x4, x3, x2, x1, x0)
#define _mm512_setr_epi64(x0, x1, x2, x3, x4, x5, x6, x7) ((union emulated){.s64 = {x0, x1, x2, x3, x4, x5, x6, x7}}.i)
#define _mm512_set_epi64(x0, x1, x2, x3, x4, x5, x6, x7) _mm512_setr_epi64(x7, x6, x5, x4, x3, x2, x1, x0)
#define _mm512_setr_ps(x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11, x12, x13, x14, x15)                                       \
    ((union emulated){.f32 = {x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11, x12, x13, x14, x15}}.f)

#define _mm512_castps_si512(a) (emulated_f(a).i)
#define _mm512_castsi512_ps(a) (emulated_i(a).f)
#define _mm512_castps512_ps256(a) emulated_half_ps(a, 0)
#define _mm512_castps512_ps128(a) (emulated_f(a).f128[0])
#define _mm512_castsi512_si256(a) emulated_half(a, 0)
#define _mm512_castsi512_si128(a) (emulated_i(a).i128[0])
/* Upper lanes are undefined; ones show who relies on them. */
#define _mm512_castsi256_si512(a) emulated_join(a, _mm256_set1_epi32(-1))
#define _mm512_castps256_ps512(a) emulated_join_ps(a, _mm256_castsi256_ps(_mm256_set1_epi32(-1)))
#define _mm512_zextsi256_si512(a) emulated_join(a, _mm256_setzero_si256())

#define _mm512_extractf32x8_ps(a, part) emulated_half_ps(a, part)
#define _mm512_extracti64x4_epi64(a, part) emulated_half(a, part)
#define _mm512_extracti32x8_epi32(a, part) emulated_half(a, part)
#define _mm512_extracti32x4_epi32(a, part) (emulated_i(a).i128[part])
#define _mm512_extractf32x4_ps(a, part) (emulated_f(a).f128[part])
#define _mm512_inserti64x4(a, b, part) emulated_insert(a, b, part)
#define _mm512_inserti32x8(a, b, part) emulated_insert(a, b, part)
#define _mm512_insertf32x8(a, b, part) (emulated_i(emulated_insert(emulated_f(a).i, _mm256_castps_si256(b), part)).f)

EMULATED __m512i emulated_insert(__m512i a, __m256i b, int part)
{
    union emulated x = emulated_i(a);
    x.i256[part] = b;
    return x.i;
}

/* ---- Memory -------------------------------------------------------------------------------------------------------- */

EMULATED __m512i emulated_load(const void *p)
{
    union emulated x;
    memcpy(&x, p, sizeof x);
    return x.i;
}

EMULATED void emulated_store(void *p, __m512i a)
{
    memcpy(p, &a, sizeof a);
}

EMULATED __m512i emulated_load_lanes(__m512i otherwise, uint64_t mask, const void *p, size_t lane)
{
    union emulated x = emulated_i(otherwise);
    for (size_t i = 0; i < 64 / lane; i++)
        if (mask >> i & 1)
            memcpy(x.u8 + lane * i, (const uint8_t *)p + lane * i, lane);
    return x.i;
}

EMULATED void emulated_store_lanes(void *p, uint64_t mask, __m512i a, size_t lane)
{
    const union emulated x = emulated_i(a);
    for (size_t i = 0; i < 64 / lane; i++)
        if (mask >> i & 1)
            memcpy((uint8_t *)p + lane * i, x.u8 + lane * i, lane);
}

#define _mm512_loadu_si512(p) emulated_load(p)
#define _mm512_loadu_epi8(p) emulated_load(p)
#define _mm512_loadu_epi16(p) emulated_load(p)
#define _mm512_loadu_epi32(p) emulated_load(p)
#define _mm512_load_si512(p) emulated_load(p)
#define _mm512_loadu_ps(p) (emulated_i(emulated_load(p)).f)
#define _mm512_load_ps(p) _mm512_loadu_ps(p)
#define _mm512_storeu_si512(p, a) emulated_store(p, a)
#define _mm512_storeu_epi8(p, a) emulated_store(p, a)
#define _mm512_storeu_epi32(p, a) emulated_store(p, a)
#define _mm512_store_si512(p, a) emulated_store(p, a)
#define _mm512_storeu_ps(p, a) emulated_store(p, emulated_f(a).i)
#define _mm512_store_ps(p, a) _mm512_storeu_ps(p, a)
#define _mm512_stream_si512(p, a) emulated_store(p, a)
#define _mm512_maskz_loadu_epi8(mask, p) emulated_load_lanes(_mm512_setzero_si512(), mask, p, 1)
#define _mm512_maskz_loadu_epi16(mask, p) emulated_load_lanes(_mm512_setzero_si512(), mask, p, 2)
#define _mm512_maskz_loadu_epi32(mask, p) emulated_load_lanes(_mm512_setzero_si512(), mask, p, 4)
#define _mm512_mask_loadu_epi32(a, mask, p) emulated_load_lanes(a, mask, p, 4)
#define _mm512_maskz_loadu_ps(mask, p) (emulated_i(_mm512_maskz_loadu_epi32(mask, p)).f)
#define _mm512_mask_loadu_ps(a, mask, p) (emulated_i(_mm512_mask_loadu_epi32(emulated_f(a).i, mask, p)).f)
#define _mm512_mask_storeu_epi8(p, mask, a) emulated_store_lanes(p, mask, a, 1)
#define _mm512_mask_storeu_epi16(p, mask, a) emulated_store_lanes(p, mask, a, 2)
#define _mm512_mask_storeu_epi32(p, mask, a) emulated_store_lanes(p, mask, a, 4)
#define _mm512_mask_storeu_ps(p, mask, a) emulated_store_lanes(p, mask, emulated_f(a).i, 4)
/* The upper lanes of a wider mask are never set. */
#define _mm256_maskz_loadu_epi8(mask, p) emulated_half(_mm512_maskz_loadu_epi8((__mmask32)(mask), p), 0)
#define _mm256_maskz_loadu_epi16(mask, p) emulated_half(_mm512_maskz_loadu_epi16((__mmask16)(mask), p), 0)
#define _mm256_maskz_loadu_epi32(mask, p) emulated_half(_mm512_maskz_loadu_epi32((__mmask8)(mask), p), 0)
#define _mm256_mask_storeu_epi8(p, mask, a) _mm512_mask_storeu_epi8(p, (__mmask32)(mask), emulated_twice(a))
#define _mm256_mask_storeu_epi16(p, mask, a) _mm512_mask_storeu_epi16(p, (__mmask16)(mask), emulated_twice(a))
#define _mm256_mask_storeu_epi32(p, mask, a) _mm512_mask_storeu_epi32(p, (__mmask8)(mask), emulated_twice(a))
#define _mm_maskz_loadu_epi8(mask, p) (emulated_i(_mm512_maskz_loadu_epi8((__mmask16)(mask), p)).i128[0])
#define _mm_mask_storeu_epi8(p, mask, a)                                                                                           \
    _mm512_mask_storeu_epi8(p, (__mmask16)(mask), emulated_twice(_mm256_broadcastsi128_si256(a)))

/* ---- Integers ------------------------------------------------------------------------------------------------------ */

#define _mm512_and_si512(a, b) ((a) & (b))
#define _mm512_or_si512(a, b) ((a) | (b))
#define _mm512_xor_si512(a, b) ((a) ^ (b))
#define _mm512_andnot_si512(a, b) (~(a) & (b))
EMULATED_I2(add_epi8)
EMULATED_I2(add_epi16)
EMULATED_I2(add_epi32)
EMULATED_I2(add_epi64)
EMULATED_I2(sub_epi8)
EMULATED_I2(sub_epi16)
EMULATED_I2(sub_epi32)
EMULATED_I2(mullo_epi16)
EMULATED_I2(mullo_epi32)
EMULATED_I2(madd_epi16)
EMULATED_I2(maddubs_epi16)
EMULATED_I2(max_epi32)
EMULATED_I2(min_epi32)
EMULATED_I2(max_epu32)
#define _mm512_add_epi8 emulated_add_epi8
#define _mm512_add_epi16 emulated_add_epi16
#define _mm512_add_epi32 emulated_add_epi32
#define _mm512_add_epi64 emulated_add_epi64
#define _mm512_sub_epi8 emulated_sub_epi8
#define _mm512_sub_epi16 emulated_sub_epi16
#define _mm512_sub_epi32 emulated_sub_epi32
#define _mm512_mullo_epi16 emulated_mullo_epi16
#define _mm512_mullo_epi32 emulated_mullo_epi32
#define _mm512_madd_epi16 emulated_madd_epi16
#define _mm512_maddubs_epi16 emulated_maddubs_epi16
#define _mm512_max_epi32 emulated_max_epi32
#define _mm512_min_epi32 emulated_min_epi32
#define _mm512_max_epu32 emulated_max_epu32
EMULATED_I1(abs_epi32)
#define _mm512_abs_epi32 emulated_abs_epi32
#define _mm512_mask_add_epi8(src, mask, a, b) emulated_select8(mask, _mm512_add_epi8(a, b), src)
#define _mm512_maskz_add_epi32(mask, a, b) emulated_select32(mask, _mm512_add_epi32(a, b), _mm512_setzero_si512())
#define _mm512_mask_or_epi32(src, mask, a, b) emulated_select32(mask, (a) | (b), src)
#define _mm512_mask_sub_epi8(src, mask, a, b) emulated_select8(mask, _mm512_sub_epi8(a, b), src)
#define _mm512_maskz_set1_epi8(mask, x) emulated_select8(mask, _mm512_set1_epi8(x), _mm512_setzero_si512())
#define _mm256_mask_add_epi8(src, mask, a, b) emulated_select8_256(mask, _mm256_add_epi8(a, b), src)
#define _mm256_maskz_set1_epi8(mask, x) emulated_select8_256(mask, _mm256_set1_epi8(x), _mm256_setzero_si256())

EMULATED_SHIFT(slli_epi16)
EMULATED_SHIFT(slli_epi32)
EMULATED_SHIFT(slli_epi64)
EMULATED_SHIFT(srli_epi16)
EMULATED_SHIFT(srli_epi32)
EMULATED_SHIFT(srli_epi64)
EMULATED_SHIFT(srai_epi16)
EMULATED_SHIFT(srai_epi32)
#define _mm512_slli_epi16 emulated_slli_epi16
#define _mm512_slli_epi32 emulated_slli_epi32
#define _mm512_slli_epi64 emulated_slli_epi64
#define _mm512_srli_epi16 emulated_srli_epi16
#define _mm512_srli_epi32 emulated_srli_epi32
#define _mm512_srli_epi64 emulated_srli_epi64
#define _mm512_srai_epi16 emulated_srai_epi16
#define _mm512_srai_epi32 emulated_srai_epi32
EMULATED_I2(sllv_epi32)
EMULATED_I2(srlv_epi32)
EMULATED_I2(srav_epi32)
EMULATED_I2(sllv_epi64)
EMULATED_I2(srlv_epi64)
#define _mm512_sllv_epi32 emulated_sllv_epi32
#define _mm512_srlv_epi32 emulated_srlv_epi32
#define _mm512_srav_epi32 emulated_srav_epi32
#define _mm512_sllv_epi64 emulated_sllv_epi64
#define _mm512_srlv_epi64 emulated_srlv_epi64

/* Four products of unsigned a and signed b in each lane, added to src; wraps. A product has 17 bits, so odd and even bytes are
 * widened first: vpmaddubsw would saturate. */
EMULATED __m256i emulated_dpbusd(__m256i src, __m256i a, __m256i b)
{
    const __m256i even_a = _mm256_and_si256(a, _mm256_set1_epi16(255)), odd_a = _mm256_srli_epi16(a, 8);
    const __m256i even_b = _mm256_srai_epi16(_mm256_slli_epi16(b, 8), 8), odd_b = _mm256_srai_epi16(b, 8);
    const __m256i even = _mm256_madd_epi16(even_a, even_b), odd = _mm256_madd_epi16(odd_a, odd_b);
    return _mm256_add_epi32(src, _mm256_add_epi32(even, odd));
}

/* Two products of signed 16-bit numbers in each lane, added to src; wraps. */
EMULATED __m256i emulated_dpwssd(__m256i src, __m256i a, __m256i b)
{
    return _mm256_add_epi32(src, _mm256_madd_epi16(a, b));
}

EMULATED_DOT(dpbusd)
EMULATED_DOT(dpwssd)
#define _mm512_dpbusd_epi32 emulated_dpbusd_512
#define _mm512_dpwssd_epi32 emulated_dpwssd_512
#define _mm256_dpbusd_epi32 emulated_dpbusd
#define _mm256_dpwssd_epi32 emulated_dpwssd
#define _mm256_dpbusd_avx_epi32 emulated_dpbusd
#define _mm256_dpwssd_avx_epi32 emulated_dpwssd

EMULATED __mmask64 emulated_test_epi8(__m512i a, __m512i b)
{
    const union emulated both = {.i = a & b};
    __mmask64 mask = 0;
    for (size_t i = 0; i < 64; i++)
        mask |= (__mmask64)(both.u8[i] != 0) << i;
    return mask;
}

#define _mm512_test_epi8_mask(a, b) emulated_test_epi8(a, b)
#define _mm256_test_epi8_mask(a, b) ((__mmask32)emulated_test_epi8(emulated_twice(a), emulated_twice(b)))

EMULATED int32_t emulated_reduce_add(__m512i a)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < 16; i++)
        sum += emulated_i(a).u32[i];
    return (int32_t)sum;
}

EMULATED int32_t emulated_reduce_max(__m512i a)
{
    int32_t max = INT32_MIN;
    for (size_t i = 0; i < 16; i++)
        max = emulated_i(a).s32[i] > max ? emulated_i(a).s32[i] : max;
    return max;
}

#define _mm512_reduce_add_epi32(a) emulated_reduce_add(a)
#define _mm512_reduce_max_epi32(a) emulated_reduce_max(a)

/* ---- Moves between lanes ------------------------------------------------------------------------------------------- */

/* In each 128 bits, as in AVX2. */
EMULATED_I2(shuffle_epi8)
EMULATED_I2(unpacklo_epi8)
EMULATED_I2(unpackhi_epi8)
EMULATED_I2(unpacklo_epi16)
EMULATED_I2(unpackhi_epi16)
EMULATED_I2(unpacklo_epi32)
EMULATED_I2(unpackhi_epi32)
EMULATED_I2(unpacklo_epi64)
EMULATED_I2(unpackhi_epi64)
EMULATED_I2(packs_epi32)
EMULATED_I2(packus_epi32)
EMULATED_I2(packs_epi16)
EMULATED_I2(packus_epi16)
#define _mm512_shuffle_epi8 emulated_shuffle_epi8
#define _mm512_unpacklo_epi8 emulated_unpacklo_epi8
#define _mm512_unpackhi_epi8 emulated_unpackhi_epi8
#define _mm512_unpacklo_epi16 emulated_unpacklo_epi16
#define _mm512_unpackhi_epi16 emulated_unpackhi_epi16
#define _mm512_unpacklo_epi32 emulated_unpacklo_epi32
#define _mm512_unpackhi_epi32 emulated_unpackhi_epi32
#define _mm512_unpacklo_epi64 emulated_unpacklo_epi64
#define _mm512_unpackhi_epi64 emulated_unpackhi_epi64
#define _mm512_packs_epi32 emulated_packs_epi32
#define _mm512_packus_epi32 emulated_packus_epi32
#define _mm512_packs_epi16 emulated_packs_epi16
#define _mm512_packus_epi16 emulated_packus_epi16
EMULATED_F1(moveldup_ps)
EMULATED_F1(movehdup_ps)
#define _mm512_moveldup_ps emulated_moveldup_ps
#define _mm512_movehdup_ps emulated_movehdup_ps
EMULATED_F2(unpacklo_ps)
EMULATED_F2(unpackhi_ps)
#define _mm512_unpacklo_ps emulated_unpacklo_ps
#define _mm512_unpackhi_ps emulated_unpackhi_ps

/* Four lanes of 128 bits: two of a, then two of b. */
EMULATED __m512i emulated_shuffle_128(__m512i a, __m512i b, int which)
{
    const union emulated x = emulated_i(a), y = emulated_i(b);
    return (union emulated){.i128 = {x.i128[which & 3], x.i128[which >> 2 & 3], y.i128[which >> 4 & 3], y.i128[which >> 6 & 3]}}.i;
}

EMULATED __m512i emulated_permute32(__m512i a, __m512i index, __m512i b)
{
    union emulated y;
    for (size_t i = 0; i < 16; i++) {
        const uint32_t at = emulated_i(index).u32[i];
        y.u32[i] = at & 16 ? emulated_i(b).u32[at & 15] : emulated_i(a).u32[at & 15];
    }
    return y.i;
}

EMULATED __m512i emulated_permute16(__m512i a, __m512i index, __m512i b)
{
    union emulated y;
    for (size_t i = 0; i < 32; i++) {
        const uint16_t at = emulated_i(index).u16[i];
        y.u16[i] = at & 32 ? emulated_i(b).u16[at & 31] : emulated_i(a).u16[at & 31];
    }
    return y.i;
}

EMULATED __m512i emulated_permute64(__m512i a, __m512i index, __m512i b)
{
    union emulated y;
    for (size_t i = 0; i < 8; i++) {
        const uint64_t at = emulated_i(index).u64[i];
        y.u64[i] = at & 8 ? emulated_i(b).u64[at & 7] : emulated_i(a).u64[at & 7];
    }
    return y.i;
}

#define _mm512_shuffle_i64x2(a, b, which) emulated_shuffle_128(a, b, which)
#define _mm512_shuffle_i32x4(a, b, which) emulated_shuffle_128(a, b, which)
#define _mm512_shuffle_f32x4(a, b, which) (emulated_i(emulated_shuffle_128(emulated_f(a).i, emulated_f(b).i, which)).f)
#define _mm512_permutex2var_epi16(a, index, b) emulated_permute16(a, index, b)
#define _mm512_permutex2var_epi32(a, index, b) emulated_permute32(a, index, b)
#define _mm512_permutex2var_epi64(a, index, b) emulated_permute64(a, index, b)
#define _mm512_permutex2var_ps(a, index, b) (emulated_i(emulated_permute32(emulated_f(a).i, index, emulated_f(b).i)).f)

EMULATED __m512i emulated_permutexvar_epi32(__m512i index, __m512i a)
{
    return emulated_permute32(a, index, a);
}

#define _mm512_permutexvar_epi32 emulated_permutexvar_epi32
#define _mm512_permutexvar_ps(index, a) (emulated_i(emulated_permutexvar_epi32(index, emulated_f(a).i)).f)

/* ---- Conversions --------------------------------------------------------------------------------------------------- */

EMULATED_WIDEN8(cvtepi8_epi32)
EMULATED_WIDEN8(cvtepu8_epi32)
#define _mm512_cvtepi8_epi32 emulated_cvtepi8_epi32
#define _mm512_cvtepu8_epi32 emulated_cvtepu8_epi32
EMULATED_WIDEN(cvtepi8_epi16)
EMULATED_WIDEN(cvtepu8_epi16)
EMULATED_WIDEN(cvtepi16_epi32)
EMULATED_WIDEN(cvtepu16_epi32)
#define _mm512_cvtepi8_epi16 emulated_cvtepi8_epi16
#define _mm512_cvtepu8_epi16 emulated_cvtepu8_epi16
#define _mm512_cvtepi16_epi32 emulated_cvtepi16_epi32
#define _mm512_cvtepu16_epi32 emulated_cvtepu16_epi32

/* The lower parts of the lanes. */
EMULATED __m128i emulated_truncate_32_8(__m512i a)
{
    union emulated y = {.i = a};
    for (size_t i = 0; i < 16; i++)
        y.u8[i] = y.u8[4 * i];
    return y.i128[0];
}

EMULATED __m256i emulated_truncate_32_16(__m512i a)
{
    union emulated y = {.i = a};
    for (size_t i = 0; i < 16; i++)
        y.u16[i] = y.u16[2 * i];
    return y.i256[0];
}

EMULATED __m256i emulated_truncate_16_8(__m512i a)
{
    union emulated y = {.i = a};
    for (size_t i = 0; i < 32; i++)
        y.u8[i] = y.u8[2 * i];
    return y.i256[0];
}

#define _mm512_cvtepi32_epi8(a) emulated_truncate_32_8(a)
#define _mm512_cvtepi32_epi16(a) emulated_truncate_32_16(a)
#define _mm512_cvtepi16_epi8(a) emulated_truncate_16_8(a)

EMULATED __m512 emulated_cvtepi32_ps(__m512i a)
{
    return emulated_join_ps(_mm256_cvtepi32_ps(emulated_half(a, 0)), _mm256_cvtepi32_ps(emulated_half(a, 1)));
}

EMULATED __m512i emulated_cvtps_epi32(__m512 a)
{
    return emulated_join(_mm256_cvtps_epi32(emulated_half_ps(a, 0)), _mm256_cvtps_epi32(emulated_half_ps(a, 1)));
}

EMULATED __m512 emulated_cvtph_ps(__m256i a)
{
    return emulated_join_ps(_mm256_cvtph_ps(_mm256_castsi256_si128(a)), _mm256_cvtph_ps(_mm256_extracti128_si256(a, 1)));
}

EMULATED __m256i emulated_cvtps_ph(__m512 a)
{
    return _mm256_set_m128i(_mm256_cvtps_ph(emulated_half_ps(a, 1), _MM_FROUND_TO_NEAREST_INT),
                            _mm256_cvtps_ph(emulated_half_ps(a, 0), _MM_FROUND_TO_NEAREST_INT));
}

#define _mm512_cvtepi32_ps emulated_cvtepi32_ps
#define _mm512_cvtps_epi32 emulated_cvtps_epi32
#define _mm512_cvtph_ps emulated_cvtph_ps
#define _mm512_cvt_roundph_ps(a, exceptions) emulated_cvtph_ps(a)
#define _mm512_cvtps_ph(a, rounding) emulated_cvtps_ph(a) /* to nearest: no kernel asks for another */

/* ---- Floats -------------------------------------------------------------------------------------------------------- */

EMULATED_F2(add_ps)
EMULATED_F2(sub_ps)
EMULATED_F2(mul_ps)
EMULATED_F2(div_ps)
EMULATED_F2(max_ps)
EMULATED_F2(min_ps)
EMULATED_F2(and_ps)
EMULATED_F2(or_ps)
EMULATED_F2(xor_ps)
#define _mm512_add_ps emulated_add_ps
#define _mm512_sub_ps emulated_sub_ps
#define _mm512_mul_ps emulated_mul_ps
#define _mm512_div_ps emulated_div_ps
#define _mm512_max_ps emulated_max_ps
#define _mm512_min_ps emulated_min_ps
#define _mm512_and_ps emulated_and_ps
#define _mm512_or_ps emulated_or_ps
#define _mm512_xor_ps emulated_xor_ps
EMULATED_F1(sqrt_ps)
#define _mm512_sqrt_ps emulated_sqrt_ps
EMULATED_F3(fmadd_ps)
EMULATED_F3(fmsub_ps)
EMULATED_F3(fnmadd_ps)
EMULATED_F3(fmaddsub_ps)
#define _mm512_fmadd_ps emulated_fmadd_ps
#define _mm512_fmsub_ps emulated_fmsub_ps
#define _mm512_fnmadd_ps emulated_fnmadd_ps
#define _mm512_fmaddsub_ps emulated_fmaddsub_ps

EMULATED __m512 emulated_mask3_fmadd_ps(__m512 a, __m512 b, __m512 c, __mmask16 mask)
{
    return emulated_select_ps(mask, emulated_fmadd_ps(a, b, c), c);
}

#define _mm512_mask3_fmadd_ps emulated_mask3_fmadd_ps
#define _mm512_mask_max_ps(src, mask, a, b) emulated_select_ps(mask, _mm512_max_ps(a, b), src)
#define _mm512_mask_add_ps(src, mask, a, b) emulated_select_ps(mask, _mm512_add_ps(a, b), src)

/* The predicate of a comparison must be a constant. */
EMULATED __mmask16 emulated_movemask(__m256 low, __m256 high)
{
    return (__mmask16)((unsigned)_mm256_movemask_ps(low) | (unsigned)_mm256_movemask_ps(high) << 8);
}

#define _mm512_cmp_ps_mask(a, b, how)                                                                                              \
    emulated_movemask(_mm256_cmp_ps(emulated_half_ps(a, 0), emulated_half_ps(b, 0), how),                                          \
                      _mm256_cmp_ps(emulated_half_ps(a, 1), emulated_half_ps(b, 1), how))

#endif
