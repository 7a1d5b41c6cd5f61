/* y = gate / (1 + exp(-gate)) * up. A template: the including file has included the simd.h of its folder. */

HEARTH_ALWAYS_INLINE vec16 silu_mul(vec16 gate, vec16 up)
{
    const vec16 below = vec16_add(vec16_set1(1.0f), vec16_exp(vec16_negate(gate)));
    return vec16_mul(vec16_div(gate, below), up);
}

void ISA(hearth_silu_mul)(float *y, const float *gate, const float *up, size_t n)
{
    const size_t whole = n / 16 * 16;
    for (size_t i = 0; i < whole; i += 16)
        vec16_store(y + i, silu_mul(vec16_load(gate + i), vec16_load(up + i)));
    if (whole < n) {
        const vec16 g = vec16_load_partial(gate + whole, n - whole);
        const vec16 u = vec16_load_partial(up + whole, n - whole);
        vec16_store_partial(y + whole, silu_mul(g, u), n - whole);
    }
}
