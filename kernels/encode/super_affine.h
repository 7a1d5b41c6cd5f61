/* What Q4_K and Q5_K share: eight sub-blocks of 32, each x ~ d * scale * code - dmin * min, scales and mins of 6 bits. */
#ifndef HEARTH_ENCODE_SUPER_AFFINE_H
#define HEARTH_ENCODE_SUPER_AFFINE_H

#include "encode/search.h"

#define SCALE_MOST 63.0f

/* The head of a block, and its codes. */
struct super_affine {
    uint8_t d[2], dmin[2], scales[12], codes[256];
};

enum { GROUPS = 8 / LANES }; /* sub-block LANES g + l is in lane l of group g */

HEARTH_ALWAYS_INLINE void gather_group(struct lanes *x, const float *in)
{
    for (int i = 0; i < 32; i++)
        x->e[i] = _mm_setr_ps(in[i], in[32 + i], in[64 + i], in[96 + i]);
}

/* importance * sqrt(variance + x^2), the variance that of the super-block. */
HEARTH_ALWAYS_INLINE void weigh_by_importance(struct lanes *w, const struct lanes *x, const float *importance, float variance)
{
    gather_group(w, importance);
    for (int i = 0; i < 32; i++)
        w->e[i] = w->e[i] * _mm_sqrt_ps(vec_of(variance) + x->e[i] * x->e[i]);
}

/* sqrt(mean of x^2) + |x|, the mean over the sub-block. */
HEARTH_ALWAYS_INLINE void weigh_by_size(struct lanes *w, const struct lanes *x)
{
    vec sum = vec_of(0.0f);
    for (int i = 0; i < 32; i++)
        sum += x->e[i] * x->e[i];
    const vec mean = _mm_sqrt_ps(sum / vec_of(32.0f));
    for (int i = 0; i < 32; i++)
        w->e[i] = mean + vec_magnitude(x->e[i]);
}

/* Eight numbers >= 0 as codes 0 … 63 times one scale: the largest gets 63. */
static inline float codes_of_eight(float codes[8], const float *x)
{
    float largest = 0.0f;
    for (int j = 0; j < 8; j++)
        largest = x[j] > largest ? x[j] : largest;
    const float r = largest > 0.0f ? SCALE_MOST / largest : 0.0f;
    for (int j = 0; j < 8; j++)
        codes[j] = nearest_within(r * x[j], 0.0f, SCALE_MOST);
    return largest / SCALE_MOST;
}

static inline void pack_scales(uint8_t t[12], const float scales[8], const float mins[8])
{
    for (int j = 0; j < 4; j++) {
        const int low_scale = (int)scales[j], low_min = (int)mins[j];
        const int scale = (int)scales[4 + j], min = (int)mins[4 + j];
        t[j] = (uint8_t)(low_scale | scale >> 4 << 6);
        t[4 + j] = (uint8_t)(low_min | min >> 4 << 6);
        t[8 + j] = (uint8_t)((scale & 15) | (min & 15) << 4);
    }
}

/* The codes that fit the scales as they were stored; where a scale became 0 those of the search stay. */
HEARTH_ALWAYS_INLINE void final_codes(struct lanes *codes, const struct lanes *x, vec scale, vec min, float most)
{
    const vec is_scaled = _mm_cmpneq_ps(scale, vec_of(0.0f));
    for (int i = 0; i < 32; i++) {
        const vec code = vec_nearest_within((x->e[i] + min) / scale, vec_of(0.0f), vec_of(most));
        codes->e[i] = vec_select(is_scaled, code, codes->e[i]);
    }
}

/* What the searches found in the eight sub-blocks: x ~ scale * code - min. */
struct found_super {
    struct lanes x[GROUPS], codes[GROUPS];
    float scale[8], min[8], weight[8]; /* weight: the sum of those of the elements */
};

HEARTH_ALWAYS_INLINE void search_super(struct found_super *f, const float *in, const float *importance,
                                       const struct affine_search *search)
{
    const float variance = importance ? 2.0f * sum_of_squares(in, 256) / 256.0f : 0.0f;
    for (int g = 0; g < GROUPS; g++) {
        struct lanes w;
        gather_group(&f->x[g], in + 128 * g);
        if (importance)
            weigh_by_importance(&w, &f->x[g], importance + 128 * g, variance);
        else
            weigh_by_size(&w, &f->x[g]);
        const struct affine found = search_affine(&f->codes[g], &f->x[g], &w, 32, search);
        vec weight = vec_of(0.0f);
        for (int i = 0; i < 32; i++)
            weight += w.e[i];
        _mm_storeu_ps(f->weight + LANES * g, weight);
        _mm_storeu_ps(f->scale + LANES * g, found.scale);
        _mm_storeu_ps(f->min + LANES * g, -found.low);
    }
}

/* `plain` is the search without importance. False when a scale does not fit a half float. */
HEARTH_ALWAYS_INLINE bool encode_super(struct super_affine *out, const float *in, const float *importance,
                                       const struct affine_search *plain)
{
    struct found_super f;
    float scales[8], mins[8], d, dmin;
    const struct affine_search with = AFFINE_WITH_IMPORTANCE(plain->most);
    search_super(&f, in, importance, importance ? &with : plain);
    if (importance) {
        d = search_positive(scales, f.scale, f.weight, 8, SCALE_MOST);
        dmin = search_positive(mins, f.min, f.weight, 8, SCALE_MOST);
    } else {
        d = codes_of_eight(scales, f.scale);
        dmin = codes_of_eight(mins, f.min);
    }
    const bool d_fits = store_half(out->d, d);
    const bool dmin_fits = store_half(out->dmin, dmin);
    pack_scales(out->scales, scales, mins);
    for (int g = 0; g < GROUPS; g++) {
        const vec scale = vec_of(load_half(out->d)) * _mm_loadu_ps(scales + LANES * g);
        const vec min = vec_of(load_half(out->dmin)) * _mm_loadu_ps(mins + LANES * g);
        final_codes(&f.codes[g], &f.x[g], scale, min, plain->most);
        codes_by_block(out->codes + 128 * g, &f.codes[g], 32);
    }
    return d_fits && dmin_fits;
}

/* Byte 32 g + l: element 64 g + l in the low nibble, 64 g + 32 + l in the high one. */
HEARTH_ALWAYS_INLINE void pack_four_bits(uint8_t qs[128], const uint8_t codes[256])
{
    for (int g = 0; g < 4; g++)
        for (int l = 0; l < 32; l++)
            qs[32 * g + l] = (uint8_t)((codes[64 * g + l] & 15) | (codes[64 * g + 32 + l] & 15) << 4);
}

#endif
