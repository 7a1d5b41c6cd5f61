/* y = gelu(gate) * up. A template: the including file has included the simd.h of its folder. */
#include "template/gelu_lanes.h"

void ISA(hearth_gelu_mul)(float *y, const float *gate, const float *up, size_t n)
{
    const size_t whole = n / 16 * 16;
    for (size_t i = 0; i < whole; i += 16)
        vec16_store(y + i, vec16_mul(gelu(vec16_load(gate + i)), vec16_load(up + i)));
    if (whole < n) {
        const vec16 g = gelu(vec16_load_partial(gate + whole, n - whole));
        vec16_store_partial(y + whole, vec16_mul(g, vec16_load_partial(up + whole, n - whole)), n - whole);
    }
}
