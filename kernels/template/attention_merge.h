/* Merge the state of a later segment into an earlier one, or finish: outputs divided by the sum. A template: the including file has
 * included the simd.h of its folder. */

HEARTH_ALWAYS_INLINE vec16 merge_outputs(vec16 a, vec16 b, vec16 factor_a, vec16 factor_b)
{
    return vec16_fma(b, factor_b, vec16_mul(a, factor_a));
}

static void divide_outputs(float *o, float by, size_t head_dim)
{
    const size_t whole = head_dim / 16 * 16;
    const vec16 l = vec16_set1(by);
    for (size_t d = 0; d < whole; d += 16)
        vec16_store(o + d, vec16_div(vec16_load(o + d), l));
    if (whole < head_dim)
        vec16_store_partial(o + whole, vec16_div(vec16_load_partial(o + whole, head_dim - whole), l), head_dim - whole);
}

void ISA(hearth_attention_merge)(float *o_a, float ml_a[2], const float *o_b, const float *ml_b, size_t head_dim)
{
    if (!o_b) {
        divide_outputs(o_a, ml_a[1], head_dim);
        return;
    }
    const size_t whole = head_dim / 16 * 16;
    const size_t rest = head_dim - whole;
    const float max = ml_b[0] > ml_a[0] ? ml_b[0] : ml_a[0];
    const vec16 factor_a = vec16_exp_not_great(vec16_set1(ml_a[0] - max));
    const vec16 factor_b = vec16_exp_not_great(vec16_set1(ml_b[0] - max));
    for (size_t d = 0; d < whole; d += 16)
        vec16_store(o_a + d, merge_outputs(vec16_load(o_a + d), vec16_load(o_b + d), factor_a, factor_b));
    if (rest) {
        const vec16 o =
            merge_outputs(vec16_load_partial(o_a + whole, rest), vec16_load_partial(o_b + whole, rest), factor_a, factor_b);
        vec16_store_partial(o_a + whole, o, rest);
    }
    ml_a[0] = max;
    vec16_store_partial(ml_a + 1, merge_outputs(vec16_set1(ml_a[1]), vec16_set1(ml_b[1]), factor_a, factor_b), 1);
}
