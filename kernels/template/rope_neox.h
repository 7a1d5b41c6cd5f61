/* Rotary position embedding of the pairs (i, i + n_rot / 2): x' = fma(x, c, -(y * s)), y' = fma(x, s, y * c). The halves of the
 * rotated elements are vectors as they lie. A template: the including file has included the simd.h of its folder. */

/* Up to 16 pairs: the first elements at v, the second ones at w. */
HEARTH_ALWAYS_INLINE void rope_halves(vec16 *v, vec16 *w, vec16 cos, vec16 sin)
{
    const vec16 first = *v;
    *v = vec16_fma(first, cos, vec16_negate(vec16_mul(*w, sin)));
    *w = vec16_fma(first, sin, vec16_mul(*w, cos));
}

void ISA(hearth_rope_neox)(float *x, size_t heads, size_t head_dim, size_t n_rot, const float *cos, const float *sin)
{
    const size_t half = n_rot / 2;
    for (size_t i = 0; i < half; i += 16) {
        const size_t n = half - i < 16 ? half - i : 16;
        const vec16 c = n == 16 ? vec16_load(cos + i) : vec16_load_partial(cos + i, n);
        const vec16 s = n == 16 ? vec16_load(sin + i) : vec16_load_partial(sin + i, n);
        for (size_t h = 0; h < heads; h++) {
            float *at = x + h * head_dim + i;
            vec16 v = n == 16 ? vec16_load(at) : vec16_load_partial(at, n);
            vec16 w = n == 16 ? vec16_load(at + half) : vec16_load_partial(at + half, n);
            rope_halves(&v, &w, c, s);
            if (n == 16) {
                vec16_store(at, v);
                vec16_store(at + half, w);
            } else {
                vec16_store_partial(at, v, n);
                vec16_store_partial(at + half, w, n);
            }
        }
    }
}
