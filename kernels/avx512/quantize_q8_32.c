/* Floats to Q8_32 activations: a scale and a sum for each 32. */
#include "avx512/quantize.h"

bool hearth_quantize_q8_32_avx512(void *to, size_t stride, const float *x, size_t begin, size_t end)
{
    for (size_t j = begin / 32; j < end / 32; j++, x += 32) {
        struct hearth_q8_32 *unit = (struct hearth_q8_32 *)(void *)((uint8_t *)to + j / 8 * stride);
        int8_t *q = unit->q + 32 * (j % 8);
        struct group_scale scale;
        if (!group_scale_of(&scale, x, 32))
            return false;
        unit->s[j % 8] = scale.s;
        const __m512i low = quantize16(q, x, scale.r);
        unit->sums[j % 8] = _mm512_reduce_add_epi32(_mm512_add_epi32(low, quantize16(q + 16, x + 16, scale.r)));
    }
    return true;
}
