/* Floats to activations of 8 bits with one scale for each 32. */
#include "avx2/quantize.h"

bool hearth_quantize_q8_32_avx2(void *row, const float *x, size_t k, size_t begin, size_t end)
{
    uint8_t *bytes = row;
    for (size_t j = begin / 32; j < end / 32; j++, x += 32) {
        float s, r;
        if (!group_scales(&s, &r, x, 32))
            return false;
        const __m256i q = quantize_32(bytes + 32 * j, x, r);
        const struct sums sums = sums_of_16(q);
        const int32_t sum = sums.low + sums.high;
        memcpy(bytes + hearth_q8_32_scales(k) + 4 * j, &s, 4);
        memcpy(bytes + hearth_q8_32_sums(k) + 4 * j, &sum, 4);
    }
    return true;
}
