/* Root mean square normalisation: y = x * (1 / sqrt(mean(x^2) + eps)) * weight, the sum of squares in 16 lanes and one tree.
 * A template: the including file has included the simd.h of its folder. */
void ISA(hearth_rms_norm)(float *y, const float *x, const float *weight, size_t n, float eps)
{
    const size_t whole = n / 16 * 16;
    vec16 squares = vec16_zero();
    for (size_t i = 0; i < whole; i += 16) {
        const vec16 v = vec16_load(x + i);
        squares = vec16_fma(v, v, squares);
    }
    if (whole < n) { /* zeros in the lanes beyond n leave their sums, which are +0 or more, as they are */
        const vec16 v = vec16_load_partial(x + whole, n - whole);
        squares = vec16_fma(v, v, squares);
    }
    const float mean = vec16_sum(squares) / (float)n;
    const vec16 scale = vec16_set1(1.0f / sqrtf(mean + eps));
    for (size_t i = 0; i < whole; i += 16)
        vec16_store(y + i, vec16_mul(vec16_mul(vec16_load(x + i), scale), vec16_load(weight + i)));
    if (whole < n) {
        const vec16 v = vec16_mul(vec16_load_partial(x + whole, n - whole), scale);
        vec16_store_partial(y + whole, vec16_mul(v, vec16_load_partial(weight + whole, n - whole)), n - whole);
    }
}
