/* What the formats with blocks of 32 share: where codes lie in a block, encoding by the range of the block, and rows by search. */
#ifndef HEARTH_ENCODE_BLOCK32_H
#define HEARTH_ENCODE_BLOCK32_H

#include "encode/search.h"

/* Elements 0 … 15 in the low nibbles, 16 … 31 in the high ones. */
HEARTH_ALWAYS_INLINE void pack_nibbles(uint8_t qs[16], const uint8_t codes[32])
{
    for (int i = 0; i < 16; i++)
        qs[i] = (uint8_t)((codes[i] & 15) | (codes[16 + i] & 15) << 4);
}

HEARTH_ALWAYS_INLINE void pack_fifth_bits(uint8_t qh[4], const uint8_t codes[32])
{
    uint32_t bits = 0;
    for (int i = 0; i < 32; i++)
        bits |= (uint32_t)(codes[i] >> 4) << i;
    memcpy(qh, &bits, sizeof bits);
}

/* ---- Without importance: the scale comes from the block's range ------------------------------------------------------ */

/* The first element of the largest magnitude. */
HEARTH_ALWAYS_INLINE float peak_of(const float *x, int n)
{
    uint32_t largest = 0;
    for (int i = 0; i < n; i++) {
        const uint32_t bits = hearth_f32_bits(x[i]) & 0x7fffffffu;
        largest = bits > largest ? bits : largest;
    }
    if (largest == 0)
        return 0.0f;
    int i = 0;
    while ((hearth_f32_bits(x[i]) & 0x7fffffffu) != largest)
        i++;
    return x[i];
}

/* Codes 0 … 2 bound - 1 around `bound`; the peak becomes code 0, on the longer side. The codes are of the scale before it is
 * rounded.
 */
HEARTH_ALWAYS_INLINE float encode_around(uint8_t codes[32], const float *x, int bound)
{
    const float d = peak_of(x, 32) / -(float)bound;
    const float r = inverse(d);
    for (int i = 0; i < 32; i++)
        codes[i] = (uint8_t)clampf(x[i] * r + ((float)bound + 0.5f), 0.0f, (float)(2 * bound - 1));
    return d;
}

/* Codes 0 … most from the smallest to the largest element. */
HEARTH_ALWAYS_INLINE float encode_between(uint8_t codes[32], float *low, const float *x, int most)
{
    float smallest = x[0], largest = x[0];
    for (int i = 1; i < 32; i++) {
        smallest = x[i] < smallest ? x[i] : smallest;
        largest = x[i] > largest ? x[i] : largest;
    }
    const float d = (largest - smallest) / (float)most;
    const float r = inverse(d);
    for (int i = 0; i < 32; i++)
        codes[i] = (uint8_t)clampf((x[i] - smallest) * r + 0.5f, 0.0f, (float)most);
    *low = smallest;
    return d;
}

/* ---- With importance: LANES blocks of a row at a time ----------------------------------------------------------------- */

struct search32 {
    struct lanes x, w, codes;
    vec scale, low; /* x ~ scale * code + low; with a bound instead of `low` where codes stand around it */
};

/* Blocks 0 … n-1, n <= LANES, and zeros in the other lanes. An element weighs its importance times sqrt(variance + x^2). */
HEARTH_ALWAYS_INLINE void gather32(struct search32 *s, const float *x, const float *importance, float variance, size_t n)
{
    float values[LANES] = {0.0f}, weights[LANES] = {0.0f};
    for (size_t i = 0; i < 32; i++) {
        for (size_t l = 0; l < n; l++) {
            const float value = x[32 * l + i];
            values[l] = value;
            weights[l] = importance[32 * l + i] * sqrtf(variance + value * value);
        }
        s->x.e[i] = _mm_loadu_ps(values);
        s->w.e[i] = _mm_loadu_ps(weights);
    }
}

/* The rows of a format: `search` fills codes, scale and low of LANES blocks; `store` writes a block. */
typedef void search32_fn(struct search32 *s);
typedef bool store32_fn(uint8_t *block, const uint8_t codes[32], float scale, float low);

HEARTH_ALWAYS_INLINE bool encode_by_search(uint8_t *row, const float *x, const float *importance, size_t k, size_t block_bytes,
                                           search32_fn *search, store32_fn *store)
{
    const float variance = sum_of_squares(x, k) / (float)k;
    bool fits = true;
    for (size_t b = 0; b < k / 32; b += LANES) {
        const size_t n = k / 32 - b < LANES ? k / 32 - b : LANES;
        struct search32 s;
        float scale[LANES], low[LANES];
        uint8_t codes[LANES * 32];
        gather32(&s, x + 32 * b, importance + 32 * b, variance, n);
        search(&s);
        _mm_storeu_ps(scale, s.scale);
        _mm_storeu_ps(low, s.low);
        codes_by_block(codes, &s.codes, 32);
        for (size_t l = 0; l < n; l++)
            fits &= store(row + (b + l) * block_bytes, codes + 32 * l, scale[l], low[l]);
    }
    return fits;
}

/* Without importance, codes around `bound`: the scale from the largest element of each block. */
HEARTH_ALWAYS_INLINE bool encode_all_around(uint8_t *row, const float *x, size_t k, size_t block_bytes, int bound,
                                            store32_fn *store)
{
    bool fits = true;
    uint8_t codes[32];
    for (size_t b = 0; b < k / 32; b++) {
        const float d = encode_around(codes, x + 32 * b, bound);
        fits &= store(row + b * block_bytes, codes, d, 0.0f);
    }
    return fits;
}

/* Without importance, codes 0 ... `most` above a minimum: both from the range of each block. */
HEARTH_ALWAYS_INLINE bool encode_all_between(uint8_t *row, const float *x, size_t k, size_t block_bytes, int most,
                                             store32_fn *store)
{
    bool fits = true;
    uint8_t codes[32];
    for (size_t b = 0; b < k / 32; b++) {
        float low;
        const float d = encode_between(codes, &low, x + 32 * b, most);
        fits &= store(row + b * block_bytes, codes, d, low);
    }
    return fits;
}

#endif
