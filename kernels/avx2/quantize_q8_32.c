/* Floats to activations of 8 bits with one scale for each 32. */
#include "avx2/quantize.h"

bool hearth_quantize_q8_32_avx2(void *to, size_t stride, const float *x, size_t begin, size_t end)
{
    for (size_t j = begin / 32; j < end / 32; j++, x += 32) {
        struct hearth_q8_32 *unit = (struct hearth_q8_32 *)(void *)((uint8_t *)to + j / 8 * stride);
        float r;
        if (!group_scales(&unit->s[j % 8], &r, x, 32))
            return false;
        unit->sums[j % 8] = sum_of_32(quantize_32(unit->q + 32 * (j % 8), x, r));
    }
    return true;
}
