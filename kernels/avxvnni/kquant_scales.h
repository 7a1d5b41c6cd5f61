/* Scales of a super-block of 8 rows as the products use them. */
#ifndef HEARTH_AVXVNNI_KQUANT_SCALES_H
#define HEARTH_AVXVNNI_KQUANT_SCALES_H

#include "avxvnni/matmul.h"
#include "template/super_scales.h"

/* Eight bytes, one of each row. */
HEARTH_ALWAYS_INLINE veci widen_unsigned(const uint8_t *p)
{
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p));
}

HEARTH_ALWAYS_INLINE veci widen_signed(const uint8_t *p)
{
    return _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p));
}

HEARTH_ALWAYS_INLINE void store256(uint8_t *p, veci v)
{
    _mm256_storeu_si256((__m256i *)(void *)p, v);
}

/* Of two sub-blocks as int16 pairs. */
HEARTH_ALWAYS_INLINE veci pair_mins(const uint8_t *even, const uint8_t *odd)
{
    return _mm256_or_si256(widen_unsigned(even), _mm256_slli_epi32(widen_unsigned(odd), 16));
}

/* Bytes of a tile that begins with the scales d of k / 256 super-blocks, in whole lines. */
HEARTH_ALWAYS_INLINE size_t all_halves_bytes(size_t k)
{
    return (k / 256 * 16 + 63) & ~(size_t)63;
}

/* Q4_K and Q5_K: d[8] and dmin[8] as halves, then the file's twelve bytes as [12][8]. */
enum { KQUANT_HEAD_BYTES = 128 };

HEARTH_ALWAYS_INLINE void read_scales_and_mins(struct super_scales *out, const uint8_t *p)
{
    const veci t0 = load256(p + 32); /* sc_0..3, upper bits of sc_4..7 */
    const veci t1 = load256(p + 64); /* m_0..3, upper bits of m_4..7 */
    const veci t2 = load256(p + 96); /* lower bits of sc_4..7 and m_4..7 */
    uint8_t scales[64], mins[64];
    store256(scales, low_bits(t0, 63));
    store256(scales + 32, _mm256_or_si256(low_bits(t2, 15), low_bits(_mm256_srli_epi16(t0, 2), 48)));
    store256(mins, low_bits(t1, 63));
    store256(mins + 32, _mm256_or_si256(low_bits(_mm256_srli_epi16(t2, 4), 15), low_bits(_mm256_srli_epi16(t1, 2), 48)));
    UNROLL
    for (size_t j = 0; j < 8; j++)
        out->scale[j] = widen_unsigned(scales + 8 * j);
    UNROLL
    for (size_t i = 0; i < 4; i++)
        out->pair[i] = pair_mins(mins + 16 * i, mins + 16 * i + 8);
    out->d = load_halves(p);
    out->dmin = load_halves(p + 16);
}

#endif
