/* Rotary position embedding of adjacent pairs: x' = fma(x, c, -(y * s)), y' = fma(x, s, y * c). With (x, y) doubled to (x, x) and
 * (y, y), and the tables zipped to (c, s) and (s, c), both are one multiply and one fused multiply that subtracts in even lanes and
 * adds in odd ones. A template: the including file has included the simd.h of its folder. */

HEARTH_ALWAYS_INLINE vec16 rope_pairs(vec16 v, vec16 cos_sin, vec16 sin_cos)
{
    return vec16_fmaddsub(vec16_even(v), cos_sin, vec16_mul(vec16_odd(v), sin_cos));
}

void ISA(hearth_rope)(float *x, size_t heads, size_t head_dim, size_t n_rot, const float *cos, const float *sin)
{
    for (size_t i = 0; i < n_rot; i += 16) {
        const size_t n = n_rot - i < 16 ? n_rot - i : 16;
        const vec16 cos_sin = vec16_zip(cos + i / 2, sin + i / 2, n / 2);
        const vec16 sin_cos = vec16_zip(sin + i / 2, cos + i / 2, n / 2);
        for (size_t h = 0; h < heads; h++) {
            float *v = x + h * head_dim + i;
            if (n == 16)
                vec16_store(v, rope_pairs(vec16_load(v), cos_sin, sin_cos));
            else
                vec16_store_partial(v, rope_pairs(vec16_load_partial(v, n), cos_sin, sin_cos), n);
        }
    }
}
