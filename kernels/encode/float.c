/* F32, F16 and BF16: rounded to nearest, ties to even. What becomes infinite in a half float does not fit. */
#include "encode/encode.h"
#include "encode/numbers.h"

bool hearth_encode_f32(uint8_t *row, const float *x, const float *importance, size_t k)
{
    (void)importance;
    memcpy(row, x, k * sizeof *x);
    return true;
}

bool hearth_encode_f16(uint8_t *row, const float *x, const float *importance, size_t k)
{
    (void)importance;
    bool fits = true;
    for (size_t i = 0; i < k; i++)
        fits &= store_half(row + 2 * i, x[i]);
    return fits;
}

bool hearth_encode_bf16(uint8_t *row, const float *x, const float *importance, size_t k)
{
    (void)importance;
    uint32_t too_large = 0;
    for (size_t i = 0; i < k; i++) {
        const uint32_t bits = hearth_f32_bits(x[i]);
        const uint16_t half = (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
        memcpy(row + 2 * i, &half, sizeof half);
        too_large |= (half & 0x7f80u) == 0x7f80u;
    }
    return !too_large;
}
