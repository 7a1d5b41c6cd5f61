/* y = cap * tanh(x / cap). A template: the including file has included the simd.h of its folder. */
#include "template/softcap_lanes.h"

void ISA(hearth_softcap)(float *y, const float *x, float cap, size_t n)
{
    const size_t whole = n / 16 * 16;
    const vec16 c = vec16_set1(cap);
    for (size_t i = 0; i < whole; i += 16)
        vec16_store(y + i, capped(vec16_load(x + i), c));
    if (whole < n)
        vec16_store_partial(y + whole, capped(vec16_load_partial(x + whole, n - whole), c), n - whole);
}
