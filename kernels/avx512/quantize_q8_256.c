/* Floats to Q8_256 activations: a scale and spans for each 256, sums for each 32 and each 16. */
#include "avx512/quantize.h"
#include "template/spans.h"

bool hearth_quantize_q8_256_avx512(void *row, const float *x, size_t k, size_t begin, size_t end)
{
    int8_t *q = row;
    uint8_t *scales = (uint8_t *)row + hearth_q8_256_scales(k);
    uint8_t *sums32 = (uint8_t *)row + hearth_q8_256_sums32(k);
    uint8_t *sums16 = (uint8_t *)row + hearth_q8_256_sums16(k);
    for (size_t b = begin / 256; b < end / 256; b++, x += 256) {
        struct group_scale scale;
        if (!group_scale_of(&scale, x, 256))
            return false;
        memcpy(scales + 4 * b, &scale.s, 4);
        for (size_t j = 8 * b; j < 8 * (b + 1); j++) {
            int16_t sum[2];
            sum[0] = (int16_t)quantize16(q + 32 * j, x + 32 * (j % 8), scale.r);
            sum[1] = (int16_t)quantize16(q + 32 * j + 16, x + 32 * (j % 8) + 16, scale.r);
            const int16_t both = (int16_t)(sum[0] + sum[1]);
            memcpy(sums16 + 4 * j, sum, 4);
            memcpy(sums32 + 2 * j, &both, 2);
        }
        const struct hearth_spans spans = spans_of(q + 256 * b);
        memcpy((uint8_t *)row + hearth_q8_256_spans(k) + b * sizeof spans, &spans, sizeof spans);
    }
    return true;
}
