/* y = gelu(x), hearth_geluf of common/real.h operation by operation. A template: the including file has included the simd.h of its
 * folder. */

HEARTH_ALWAYS_INLINE vec16 gelu(vec16 x)
{
    const vec16 slope = vec16_fma(vec16_set1(HEARTH_GELU_CUBIC), vec16_mul(x, x), vec16_set1(HEARTH_GELU_LINEAR));
    const vec16 below = vec16_add(vec16_set1(1.0f), vec16_exp(vec16_negate(vec16_mul(slope, x))));
    return vec16_div(x, below);
}

void ISA(hearth_gelu)(float *y, const float *x, size_t n)
{
    const size_t whole = n / 16 * 16;
    for (size_t i = 0; i < whole; i += 16)
        vec16_store(y + i, gelu(vec16_load(x + i)));
    if (whole < n)
        vec16_store_partial(y + whole, gelu(vec16_load_partial(x + whole, n - whole)), n - whole);
}
