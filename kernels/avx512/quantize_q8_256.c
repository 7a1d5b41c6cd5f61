/* Floats to Q8_256 activations: a scale and spans for each 256, sums for each 32 and each 16. */
#include "avx512/quantize.h"
#include "template/summarize.h"

bool hearth_quantize_q8_256_avx512(void *to, size_t stride, const float *x, size_t begin, size_t end)
{
    for (size_t b = begin / 256; b < end / 256; b++, x += 256) {
        struct hearth_q8_256 *unit = (struct hearth_q8_256 *)(void *)((uint8_t *)to + b * stride);
        struct group_scale scale;
        if (!group_scale_of(&scale, x, 256))
            return false;
        unit->s = scale.s;
        for (size_t i = 0; i < 256; i += 16)
            (void)quantize16(unit->q + i, x + i, scale.r);
        summarize(unit);
    }
    return true;
}
