/* Floats to half floats, rounded to nearest even. A template: the including file has included the simd.h of its folder. */
void ISA(hearth_to_f16)(uint16_t *y, const float *x, size_t n)
{
    const size_t whole = n / 16 * 16;
    for (size_t i = 0; i < whole; i += 16)
        vec16_store_f16(y + i, vec16_load(x + i));
    if (whole < n)
        vec16_store_f16_partial(y + whole, vec16_load_partial(x + whole, n - whole), n - whole);
}
