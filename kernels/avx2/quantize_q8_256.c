/* Floats to activations of 8 bits with one scale for each 256. */
#include "avx2/quantize.h"
#include "template/spans.h"

bool hearth_quantize_q8_256_avx2(void *row, const float *x, size_t k, size_t begin, size_t end)
{
    uint8_t *bytes = row;
    for (size_t b = begin / 256; b < end / 256; b++, x += 256) {
        float s, r;
        if (!group_scales(&s, &r, x, 256))
            return false;
        memcpy(bytes + hearth_q8_256_scales(k) + 4 * b, &s, 4);
        for (size_t j = 8 * b; j < 8 * b + 8; j++) {
            const struct sums sums = sums_of_16(quantize_32(bytes + 32 * j, x + 32 * (j % 8), r));
            const int16_t two[2] = {(int16_t)sums.low, (int16_t)sums.high};
            const int16_t sum = (int16_t)(sums.low + sums.high);
            memcpy(bytes + hearth_q8_256_sums32(k) + 2 * j, &sum, 2);
            memcpy(bytes + hearth_q8_256_sums16(k) + 4 * j, two, 4);
        }
        const struct hearth_spans spans = spans_of(bytes + 256 * b);
        memcpy(bytes + hearth_q8_256_spans(k) + b * sizeof spans, &spans, sizeof spans);
    }
    return true;
}
