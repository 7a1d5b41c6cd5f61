/* Q8_0: codes -127 … 127, the scale from the largest element. 8 bits need no search; importance changes nothing. */
#include "encode/block32.h"
#include "encode/encode.h"

/* The nearest integer, ties away from zero. v - (its whole part) is exact, where v + 0.5 might round up to the next integer. */
static inline int round_away(float v)
{
    const int whole = (int)v;
    const float rest = v - (float)whole;
    return whole + (rest >= 0.5f) - (rest <= -0.5f);
}

bool hearth_encode_q8_0(uint8_t *row, const float *x, const float *importance, size_t k)
{
    (void)importance;
    bool fits = true;
    for (size_t b = 0; b < k / 32; b++, x += 32) {
        struct hearth_block_q8_0 block;
        const float d = magnitude(peak_of(x, 32)) / 127.0f;
        const float r = inverse(d);
        for (int i = 0; i < 32; i++)
            block.qs[i] = (int8_t)round_away(clampf(x[i] * r, -127.0f, 127.0f));
        fits &= store_half(block.d, d);
        memcpy(row + b * sizeof block, &block, sizeof block);
    }
    return fits;
}
