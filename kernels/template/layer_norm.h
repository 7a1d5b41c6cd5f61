/* Layer normalisation: y = (x - mean) / sqrt(variance + eps) * weight + bias, both sums in 16 lanes and one tree.
 * A template: the including file has included the simd.h of its folder. */

HEARTH_ALWAYS_INLINE float layer_norm_mean(const float *x, size_t n)
{
    const size_t whole = n / 16 * 16;
    vec16 sums = vec16_zero();
    for (size_t i = 0; i < whole; i += 16)
        sums = vec16_add(sums, vec16_load(x + i));
    if (whole < n) /* lanes beyond n add +0 to sums that are never -0 */
        sums = vec16_add(sums, vec16_load_partial(x + whole, n - whole));
    return vec16_sum(sums) / (float)n;
}

HEARTH_ALWAYS_INLINE float layer_norm_variance(const float *x, size_t n, vec16 mean)
{
    const size_t whole = n / 16 * 16;
    vec16 squares = vec16_zero();
    for (size_t i = 0; i < whole; i += 16) {
        const vec16 d = vec16_sub(vec16_load(x + i), mean);
        squares = vec16_fma(d, d, squares);
    }
    if (whole < n) { /* zeros, not minus the mean, in the lanes beyond n */
        vec16 d = vec16_sub(vec16_load_partial(x + whole, n - whole), mean);
        d = vec16_first(d, vec16_zero(), n - whole);
        squares = vec16_fma(d, d, squares);
    }
    return vec16_sum(squares) / (float)n;
}

void ISA(hearth_layer_norm)(float *y, const float *x, const float *weight, const float *bias, size_t n, float eps)
{
    const size_t whole = n / 16 * 16;
    const vec16 mean = vec16_set1(layer_norm_mean(x, n));
    const vec16 scale = vec16_set1(1.0f / sqrtf(layer_norm_variance(x, n, mean) + eps));
    for (size_t i = 0; i < whole; i += 16) {
        const vec16 d = vec16_mul(vec16_sub(vec16_load(x + i), mean), scale);
        vec16_store(y + i, vec16_fma(d, vec16_load(weight + i), vec16_load(bias + i)));
    }
    if (whole < n) {
        const vec16 d = vec16_mul(vec16_sub(vec16_load_partial(x + whole, n - whole), mean), scale);
        const vec16 w = vec16_load_partial(weight + whole, n - whole);
        vec16_store_partial(y + whole, vec16_fma(d, w, vec16_load_partial(bias + whole, n - whole)), n - whole);
    }
}
