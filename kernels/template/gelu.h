/* y = gelu(x). A template: the including file has included the simd.h of its folder. */
#include "template/gelu_lanes.h"

void ISA(hearth_gelu)(float *y, const float *x, size_t n)
{
    const size_t whole = n / 16 * 16;
    for (size_t i = 0; i < whole; i += 16)
        vec16_store(y + i, gelu(vec16_load(x + i)));
    if (whole < n)
        vec16_store_partial(y + whole, gelu(vec16_load_partial(x + whole, n - whole)), n - whole);
}
