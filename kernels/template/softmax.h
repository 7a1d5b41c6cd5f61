/* y = exp(x - max x) / sum of all, the sum in 16 lanes and one tree. A template: the including file has included the simd.h of its
 * folder. */

HEARTH_ALWAYS_INLINE float softmax_greatest(const float *x, size_t n)
{
    const size_t whole = n / 16 * 16;
    vec16 max = vec16_set1(x[0]);
    for (size_t i = 0; i < whole; i += 16)
        max = vec16_max(vec16_load(x + i), max);
    if (whole < n)
        max = vec16_max(vec16_first(vec16_load_partial(x + whole, n - whole), max, n - whole), max);
    return vec16_greatest(max);
}

void ISA(hearth_softmax)(float *y, const float *x, size_t n)
{
    const size_t whole = n / 16 * 16;
    const vec16 max = vec16_set1(softmax_greatest(x, n));
    vec16 sums = vec16_zero();
    for (size_t i = 0; i < whole; i += 16) {
        const vec16 e = vec16_exp(vec16_sub(vec16_load(x + i), max));
        sums = vec16_add(sums, e);
        vec16_store(y + i, e);
    }
    if (whole < n) { /* lanes beyond n add +0 to sums that are +0 or more */
        vec16 e = vec16_exp(vec16_sub(vec16_load_partial(x + whole, n - whole), max));
        e = vec16_first(e, vec16_zero(), n - whole);
        sums = vec16_add(sums, e);
        vec16_store_partial(y + whole, e, n - whole);
    }
    const vec16 sum = vec16_set1(vec16_sum(sums));
    for (size_t i = 0; i < whole; i += 16)
        vec16_store(y + i, vec16_div(vec16_load(y + i), sum));
    if (whole < n)
        vec16_store_partial(y + whole, vec16_div(vec16_load_partial(y + whole, n - whole), sum), n - whole);
}
