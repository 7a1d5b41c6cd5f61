/* hearth_softcapf of common/real.h in sixteen lanes, operation by operation, for softcap.h and attention.h. The including file has
 * included the simd.h of its folder. */

HEARTH_ALWAYS_INLINE vec16 capped(vec16 x, vec16 cap)
{
    const vec16 least = vec16_set1(-HEARTH_TANH_MAX);
    const vec16 round = vec16_set1(HEARTH_EXP_ROUND);
    const vec16 one = vec16_set1(1.0f);
    vec16 z = vec16_mul(vec16_div(x, cap), vec16_set1(2.0f));
    z = vec16_max(least, vec16_negate(vec16_max(least, vec16_negate(z)))); /* of a NaN the operand behind is taken */
    const vec16 t = vec16_fma(z, vec16_set1(HEARTH_EXP_LOG2E), round);
    const vec16 n = vec16_sub(t, round);
    vec16 r = vec16_fma(n, vec16_set1(-HEARTH_EXP_LN2_HI), z);
    r = vec16_fma(n, vec16_set1(-HEARTH_EXP_LN2_LO), r);
    vec16 p = vec16_fma(vec16_set1(HEARTH_EXP_C7), r, vec16_set1(HEARTH_EXP_C6));
    p = vec16_fma(p, r, vec16_set1(HEARTH_EXP_C5));
    p = vec16_fma(p, r, vec16_set1(HEARTH_EXP_C4));
    p = vec16_fma(p, r, vec16_set1(HEARTH_EXP_C3));
    p = vec16_fma(p, r, vec16_set1(HEARTH_EXP_C2));
    p = vec16_fma(p, r, one);
    const vec16 power = vec16_power(t);
    const vec16 e = vec16_fma(vec16_mul(p, r), power, vec16_sub(power, one));
    return vec16_mul(cap, vec16_div(e, vec16_add(e, vec16_set1(2.0f))));
}
