/* Floats to activations of 8 bits with one scale for each 256. */
#include "avx2/quantize.h"
#include "template/summarize.h"

bool hearth_quantize_q8_256_avx2(void *to, size_t stride, const float *x, size_t begin, size_t end)
{
    for (size_t b = begin / 256; b < end / 256; b++, x += 256) {
        struct hearth_q8_256 *unit = (struct hearth_q8_256 *)(void *)((uint8_t *)to + b * stride);
        float r;
        if (!group_scales(&unit->s, &r, x, 256))
            return false;
        for (size_t i = 0; i < 256; i += 32)
            (void)quantize_32(unit->q + i, x + i, r);
        summarize(unit);
    }
    return true;
}
