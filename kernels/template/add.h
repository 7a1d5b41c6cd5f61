/* y += x. A template: the including file has included the simd.h of its folder. */
void ISA(hearth_add)(float *y, const float *x, size_t n)
{
    const size_t whole = n / 16 * 16;
    for (size_t i = 0; i < whole; i += 16)
        vec16_store(y + i, vec16_add(vec16_load(y + i), vec16_load(x + i)));
    if (whole < n) {
        const vec16 sum = vec16_add(vec16_load_partial(y + whole, n - whole), vec16_load_partial(x + whole, n - whole));
        vec16_store_partial(y + whole, sum, n - whole);
    }
}
