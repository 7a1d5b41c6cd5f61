/* Scales of a super-block of 16 rows as the products use them, and those of Q4_K and Q5_K in and out of a tile. */
#ifndef HEARTH_AVX512_KQUANT_SCALES_H
#define HEARTH_AVX512_KQUANT_SCALES_H

#include "avx512/matmul.h"
#include "template/super_scales.h"

/* Sixteen signed scales, int8 [16][16]. */
HEARTH_ALWAYS_INLINE void widen_signed_scales(struct super_scales *out, const uint8_t bytes[256])
{
    UNROLL
    for (size_t j = 0; j < 16; j++)
        out->scale[j] = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(bytes + 16 * j)));
}

/* ---- Mins ---------------------------------------------------------------------------------------------------------- */

/* Unsigned numbers of four sub-blocks, 64 bytes [4][16]. */
HEARTH_ALWAYS_INLINE void widen_scales(__m512i scale[4], const uint8_t bytes[64])
{
    UNROLL
    for (size_t j = 0; j < 4; j++)
        scale[j] = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(bytes + 16 * j)));
}

HEARTH_ALWAYS_INLINE void pair_mins(__m512i pair[2], const uint8_t bytes[64])
{
    __m512i min[4];
    widen_scales(min, bytes);
    pair[0] = _mm512_or_si512(min[0], _mm512_slli_epi32(min[1], 16));
    pair[1] = _mm512_or_si512(min[2], _mm512_slli_epi32(min[3], 16));
}

/* ---- Q4_K and Q5_K: d[16] and dmin[16] as halves, then [12][16] bytes of 6-bit fields ------------------------------ */

HEARTH_ALWAYS_INLINE void read_scales_and_mins(struct super_scales *out, const uint8_t *p)
{
    const __m512i t0 = load512(p + 64);  /* sc_0..3, upper bits of sc_4..7 */
    const __m512i t1 = load512(p + 128); /* m_0..3, upper bits of m_4..7 */
    const __m512i t2 = load512(p + 192); /* lower bits of sc_4..7 and m_4..7 */
    const __m512i six = _mm512_set1_epi8(63);
    const __m512i four = _mm512_set1_epi8(15);
    const __m512i upper = _mm512_set1_epi8(48);
    uint8_t bytes[4][64];
    _mm512_storeu_si512(bytes[0], _mm512_and_si512(t0, six));
    _mm512_storeu_si512(bytes[1], _mm512_or_si512(_mm512_and_si512(t2, four), _mm512_and_si512(_mm512_srli_epi16(t0, 2), upper)));
    _mm512_storeu_si512(bytes[2], _mm512_and_si512(t1, six));
    _mm512_storeu_si512(bytes[3], _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi16(t2, 4), four),
                                                  _mm512_and_si512(_mm512_srli_epi16(t1, 2), upper)));
    widen_scales(out->scale, bytes[0]);
    widen_scales(out->scale + 4, bytes[1]);
    pair_mins(out->pair, bytes[2]);
    pair_mins(out->pair + 2, bytes[3]);
    out->d = load_halves(p);
    out->dmin = load_halves(p + 32);
}

static inline void put_scales_and_mins(uint8_t *to, const uint8_t d[2], const uint8_t dmin[2], const uint8_t t[12], size_t r)
{
    memcpy(to + 2 * r, d, 2);
    memcpy(to + 32 + 2 * r, dmin, 2);
    for (size_t i = 0; i < 12; i++)
        to[64 + 16 * i + r] = t[i];
}

static inline void get_scales_and_mins(uint8_t d[2], uint8_t dmin[2], uint8_t t[12], const uint8_t *from, size_t r)
{
    memcpy(d, from + 2 * r, 2);
    memcpy(dmin, from + 32 + 2 * r, 2);
    for (size_t i = 0; i < 12; i++)
        t[i] = from[64 + 16 * i + r];
}

#endif
