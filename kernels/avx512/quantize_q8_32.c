/* Floats to Q8_32 activations: a scale and a sum for each 32. */
#include "avx512/quantize.h"

bool hearth_quantize_q8_32_avx512(void *row, const float *x, size_t k, size_t begin, size_t end)
{
    int8_t *q = (int8_t *)row + begin;
    uint8_t *scales = (uint8_t *)row + hearth_q8_32_scales(k);
    uint8_t *sums = (uint8_t *)row + hearth_q8_32_sums(k);
    for (size_t j = begin / 32; j < end / 32; j++, q += 32, x += 32) {
        struct group_scale scale;
        if (!group_scale_of(&scale, x, 32))
            return false;
        const int32_t sum = quantize16(q, x, scale.r) + quantize16(q + 16, x + 16, scale.r);
        memcpy(scales + 4 * j, &scale.s, 4);
        memcpy(sums + 4 * j, &sum, 4);
    }
    return true;
}
