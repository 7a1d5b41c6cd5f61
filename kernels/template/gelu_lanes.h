/* hearth_geluf of common/real.h in sixteen lanes, operation by operation, for gelu.h and gelu_mul.h. The including file has
 * included the simd.h of its folder. */

HEARTH_ALWAYS_INLINE vec16 gelu(vec16 x)
{
    const vec16 slope = vec16_fma(vec16_set1(HEARTH_GELU_CUBIC), vec16_mul(x, x), vec16_set1(HEARTH_GELU_LINEAR));
    const vec16 below = vec16_add(vec16_set1(1.0f), vec16_exp(vec16_negate(vec16_mul(slope, x))));
    return vec16_div(x, below);
}
