/* The searches for scales (docs/quantization.md, "Searches"). SYMMETRIC and AFFINE work on LANES blocks side by side, one in each
 * lane of a vector: the sums of a block keep their order, and the lanes come for nothing.
 *
 * Codes are whole numbers kept as floats. Weights may be infinite where elements are above 1e18; comparisons with the NaN that
 * follows are false, so the first candidate stays, and its scale is refused when it is stored. */
#ifndef HEARTH_ENCODE_SEARCH_H
#define HEARTH_ENCODE_SEARCH_H

#include "encode/numbers.h"
#include <smmintrin.h>

enum { LANES = 4, BLOCK_MAX = 32 };

typedef __m128 vec; /* + - * / of two vectors, or of a vector and vec_of(number), are those of C in each lane */

/* The elements of LANES blocks, their weights, or their codes: e[i] has element i of each. */
struct lanes {
    vec e[BLOCK_MAX];
};

#define SCALE_LEAST 1e-15f /* a block whose largest element is below it is all zero */

HEARTH_ALWAYS_INLINE vec vec_of(float x)
{
    return _mm_set1_ps(x);
}

HEARTH_ALWAYS_INLINE vec vec_magnitude(vec x)
{
    return _mm_andnot_ps(vec_of(-0.0f), x);
}

/* Lanes of `a` where the mask is set, else of b. */
HEARTH_ALWAYS_INLINE vec vec_select(vec mask, vec a, vec b)
{
    return _mm_blendv_ps(b, a, mask);
}

/* As nearest_within() in each lane. */
HEARTH_ALWAYS_INLINE vec vec_nearest_within(vec v, vec low, vec high)
{
    const vec shift = vec_of(0x1.8p+23f);
    return (_mm_min_ps(_mm_max_ps(v, low), high) + shift) - shift;
}

/* Take the candidate's codes in the lanes of the mask. */
HEARTH_ALWAYS_INLINE void take_codes(struct lanes *codes, const struct lanes *candidate, vec mask, int n)
{
    for (int i = 0; i < n; i++)
        codes->e[i] = vec_select(mask, candidate->e[i], codes->e[i]);
}

/* The blocks one after the other, out[LANES][n]. */
HEARTH_ALWAYS_INLINE void codes_by_block(uint8_t *out, const struct lanes *codes, int n)
{
    for (int i = 0; i < n; i++) {
        float code[LANES];
        _mm_storeu_ps(code, codes->e[i]);
        for (int l = 0; l < LANES; l++)
            out[n * l + i] = (uint8_t)code[l];
    }
}

/* ---- SYMMETRIC: x ~ scale * (code - bound), codes 0 … 2 bound - 1 ---------------------------------------------------- */

/* The sums of one candidate over its codes, which lie in -bound … bound - 1: A / Q is the best scale for them, and takes A^2 / Q
 * off the squared error. */
struct symmetric_sums {
    vec a, q; /* of weight * x * code, of weight * code^2 */
};

HEARTH_ALWAYS_INLINE struct symmetric_sums try_symmetric(struct lanes *codes, vec r, const struct lanes *x, const struct lanes *w,
                                                         int n, float bound)
{
    struct symmetric_sums s = {vec_of(0.0f), vec_of(0.0f)};
    for (int i = 0; i < n; i++) {
        const vec code = vec_nearest_within(r * x->e[i], vec_of(-bound), vec_of(bound - 1.0f));
        codes->e[i] = code;
        s.a += (w->e[i] * x->e[i]) * code;
        s.q += (w->e[i] * code) * code;
    }
    return s;
}

/* In each lane the first element of the largest magnitude. */
HEARTH_ALWAYS_INLINE vec peak_of_lanes(const struct lanes *x, int n)
{
    vec peak = vec_of(0.0f);
    for (int i = 0; i < n; i++)
        peak = vec_select(_mm_cmpgt_ps(vec_magnitude(x->e[i]), vec_magnitude(peak)), x->e[i], peak);
    return peak;
}

HEARTH_ALWAYS_INLINE vec search_symmetric(struct lanes *codes, const struct lanes *x, const struct lanes *w, int n, float bound)
{
    const vec peak = peak_of_lanes(x, n);
    const vec zero = _mm_cmplt_ps(vec_magnitude(peak), vec_of(SCALE_LEAST));
    struct symmetric_sums s = try_symmetric(codes, vec_of(-bound) / peak, x, w, n, bound);
    vec scale = _mm_and_ps(_mm_cmpneq_ps(s.q, vec_of(0.0f)), s.a / s.q);
    vec best = scale * s.a;
    for (int t = -9; t <= 9; t++) {
        if (t == 0)
            continue;
        struct lanes candidate;
        s = try_symmetric(&candidate, vec_of(-(bound + 0.1f * (float)t)) / peak, x, w, n, bound);
        const vec better = _mm_and_ps(_mm_cmpgt_ps(s.q, vec_of(0.0f)), _mm_cmpgt_ps(s.a * s.a, best * s.q));
        if (_mm_movemask_ps(better) == 0)
            continue;
        scale = vec_select(better, s.a / s.q, scale);
        best = vec_select(better, scale * s.a, best);
        take_codes(codes, &candidate, better, n);
    }
    for (int i = 0; i < n; i++)
        codes->e[i] = _mm_andnot_ps(zero, codes->e[i] + vec_of(bound));
    return _mm_andnot_ps(zero, scale);
}

/* ---- AFFINE: x ~ scale * code - offset, offset >= 0, codes 0 … most --------------------------------------------------- */

struct affine_search {
    float most, first, step;
    int steps; /* candidates spread the range over most + first + step * t levels, t = 0 … steps */
};

/* With importance all formats search alike. */
#define AFFINE_WITH_IMPORTANCE(most) ((struct affine_search){most, -0.9f, 0.05f, 36})

struct affine {
    vec scale, low; /* x ~ scale * code + low */
};

/* Sums of weights times: 1, x, the codes of a candidate, their squares, code times x. */
struct affine_sums {
    vec w, x, code, code2, code_x;
};

HEARTH_ALWAYS_INLINE vec affine_error(const struct affine *f, const struct lanes *codes, const struct lanes *x,
                                      const struct lanes *w, int n)
{
    vec error = vec_of(0.0f);
    for (int i = 0; i < n; i++) {
        const vec e = (f->scale * codes->e[i] + f->low) - x->e[i];
        error += w->e[i] * (e * e);
    }
    return error;
}

HEARTH_ALWAYS_INLINE void try_affine(struct lanes *codes, struct affine_sums *s, vec r, vec low, const struct lanes *x,
                                     const struct lanes *w, int n, float most)
{
    s->code = s->code2 = s->code_x = vec_of(0.0f);
    for (int i = 0; i < n; i++) {
        const vec code = vec_nearest_within(r * (x->e[i] - low), vec_of(0.0f), vec_of(most));
        const vec weighted = w->e[i] * code;
        codes->e[i] = code;
        s->code += weighted;
        s->code2 += weighted * code;
        s->code_x += weighted * x->e[i];
    }
}

/* The least-squares scale and offset for a candidate's codes, where the determinant is positive; where the offset would have the
 * wrong sign, the best scale without one. */
HEARTH_ALWAYS_INLINE struct affine fit_affine(vec *determinant, const struct affine_sums *s)
{
    const vec d = s->w * s->code2 - s->code * s->code;
    const vec scale = (s->w * s->code_x - s->x * s->code) / d;
    const vec low = (s->code2 * s->x - s->code * s->code_x) / d;
    const vec above = _mm_cmpgt_ps(low, vec_of(0.0f));
    *determinant = d;
    return (struct affine){vec_select(above, s->code_x / s->code2, scale), _mm_andnot_ps(above, low)};
}

/* The range, not above zero at its lower end, and the sums that no candidate changes. */
HEARTH_ALWAYS_INLINE void measure_affine(vec *low, vec *high, struct affine_sums *s, const struct lanes *x, const struct lanes *w,
                                         int n)
{
    *low = *high = x->e[0];
    s->w = w->e[0];
    s->x = w->e[0] * x->e[0];
    for (int i = 1; i < n; i++) {
        *low = _mm_min_ps(x->e[i], *low);
        *high = _mm_max_ps(x->e[i], *high);
        s->w += w->e[i];
        s->x += w->e[i] * x->e[i];
    }
    *low = _mm_min_ps(*low, vec_of(0.0f));
}

HEARTH_ALWAYS_INLINE struct affine search_affine(struct lanes *codes, const struct lanes *x, const struct lanes *w, int n,
                                                 const struct affine_search *search)
{
    vec low, high, determinant;
    struct affine_sums s;
    measure_affine(&low, &high, &s, x, w, n);
    const vec lowest = low;
    const vec flat = _mm_cmpeq_ps(high, lowest);
    const vec r = vec_of(search->most) / (high - low);
    struct affine found = {vec_of(1.0f) / r, low};
    try_affine(codes, &s, r, low, x, w, n, search->most);
    vec best = affine_error(&found, codes, x, w, n);
    for (int t = 0; t <= search->steps; t++) {
        const float levels = (search->first + search->step * (float)t) + search->most;
        struct lanes candidate;
        try_affine(&candidate, &s, vec_of(levels) / (high - found.low), found.low, x, w, n, search->most);
        const struct affine f = fit_affine(&determinant, &s);
        const vec error = affine_error(&f, &candidate, x, w, n);
        const vec better = _mm_and_ps(_mm_cmpgt_ps(determinant, vec_of(0.0f)), _mm_cmplt_ps(error, best));
        if (_mm_movemask_ps(better) == 0)
            continue;
        best = vec_select(better, error, best);
        found.scale = vec_select(better, f.scale, found.scale);
        found.low = vec_select(better, f.low, found.low);
        take_codes(codes, &candidate, better, n);
    }
    for (int i = 0; i < n; i++)
        codes->e[i] = _mm_andnot_ps(flat, codes->e[i]);
    return (struct affine){_mm_andnot_ps(flat, found.scale), vec_select(flat, lowest, found.low)};
}

/* ---- POSITIVE: a few numbers x >= 0 as scale * code, codes 0 … most --------------------------------------------------- */

static inline float positive_error(const float *x, const float *w, int n, float r, float most)
{
    float error = 0.0f;
    for (int i = 0; i < n; i++) {
        const float e = x[i] - (1.0f / r) * nearest_within(r * x[i], 0.0f, most);
        error += (w[i] * e) * e;
    }
    return error;
}

/* Move one code after the other while that helps, at most five times round; returns the best scale for them. */
static inline float descend_positive(float *codes, const float *x, const float *w, int n, float most)
{
    float a = 0.0f, q = 0.0f;
    for (int i = 0; i < n; i++) {
        a += (w[i] * x[i]) * codes[i];
        q += (w[i] * codes[i]) * codes[i];
    }
    bool changed = true;
    for (int pass = 0; pass < 5 && changed; pass++) {
        changed = false;
        for (int i = 0; i < n; i++) {
            float a1 = a - (w[i] * x[i]) * codes[i];
            float q1 = q - (w[i] * codes[i]) * codes[i];
            if (!(a1 > 0.0f && q1 > 0.0f))
                continue;
            const float code = nearest_within(x[i] * q1 / a1, 0.0f, most);
            a1 += (w[i] * x[i]) * code;
            q1 += (w[i] * code) * code;
            if (code == codes[i] || !((a1 * a1) * q > (a * a) * q1))
                continue;
            codes[i] = code;
            a = a1;
            q = q1;
            changed = true;
        }
    }
    return q > 0.0f ? a / q : 0.0f;
}

static inline float search_positive(float *codes, const float *x, const float *w, int n, float most)
{
    float largest = 0.0f;
    for (int i = 0; i < n; i++) {
        largest = x[i] > largest ? x[i] : largest;
        codes[i] = 0.0f;
    }
    if (largest < SCALE_LEAST)
        return 0.0f;
    float r = most / largest;
    float best = positive_error(x, w, n, r, most);
    for (int t = -4; t <= 4; t++) {
        const float other = (0.1f * (float)t + most) / largest;
        const float error = t == 0 ? best : positive_error(x, w, n, other, most);
        if (error < best) {
            best = error;
            r = other;
        }
    }
    for (int i = 0; i < n; i++)
        codes[i] = nearest_within(r * x[i], 0.0f, most);
    return descend_positive(codes, x, w, n, most);
}

#endif
