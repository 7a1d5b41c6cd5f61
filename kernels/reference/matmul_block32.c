/* Products of weights in blocks of 32 with Q8_32 activations.
 *
 * For row r and token t, acc = +0, and for each block j upwards, with w the block's integers (offset included) and d, m its scales:
 *     i   = sum over 32 of w_k * q_k                  exact, |i| <= 128 * 127 * 32 = 520 192 < 2^24
 *     acc = fmaf(f32(i), d * s_j, acc)                d * s_j is one rounding
 *     acc = fmaf(m, f32(bsum_j) * s_j, acc)           only Q4_1 and Q5_1; the product is one rounding, |bsum| <= 4064
 * y = acc. s_j and bsum_j are the token's. */
#include "common/block_format.h"
#include "reference/decode.h"
#include "reference/reference.h"
#include <math.h>

static int32_t dot32(const int8_t w[32], const int8_t q[32])
{
    int32_t sum = 0;
    for (int k = 0; k < 32; k++)
        sum += w[k] * q[k];
    return sum;
}

struct weights {
    const uint8_t *rows;
    size_t row_stride, block_bytes;
    hearth_decode32_fn *decode;
    bool has_min;
};

/* y is the accumulator between blocks, so that a block is decoded once for all tokens. */
static void product(float *y, size_t y_stride, const struct weights *w, const void *x, size_t x_stride, size_t rows, size_t k,
                    size_t tokens)
{
    struct hearth_codes32 block;
    for (size_t r = 0; r < rows; r++) {
        for (size_t t = 0; t < tokens; t++)
            y[t * y_stride + r] = 0.0f;
        for (size_t j = 0; j < k / 32; j++) {
            w->decode(&block, w->rows + r * w->row_stride + j * w->block_bytes);
            const struct hearth_q8_32 *units = (const void *)((const uint8_t *)x + j / 8 * x_stride);
            for (size_t t = 0; t < tokens; t++) {
                const struct hearth_q8_32 *unit = &units[t];
                const float s = unit->s[j % 8];
                const int32_t i = dot32(block.w, unit->q + 32 * (j % 8));
                float acc = y[t * y_stride + r];
                acc = fmaf((float)i, block.d * s, acc);
                if (w->has_min)
                    acc = fmaf(block.m, (float)unit->sums[j % 8] * s, acc);
                y[t * y_stride + r] = acc;
            }
        }
    }
}

/* The format's constants for the function above. */
#define MATMUL_OF(name, has_min)                                                                                                   \
    void hearth_matmul_##name##_reference(float *y, size_t y_stride, const void *w, const void *x, size_t x_stride, size_t rows,   \
                                          size_t k, size_t tokens, size_t prefetch_bytes)                                          \
    {                                                                                                                              \
        (void)prefetch_bytes;                                                                                                      \
        const struct weights weights = {w, hearth_tile_bytes_##name##_reference(k), sizeof(struct hearth_block_##name),            \
                                        hearth_decode_##name, has_min};                                                            \
        product(y, y_stride, &weights, x, x_stride, rows, k, tokens);                                                              \
    }

MATMUL_OF(q4_0, false)
MATMUL_OF(q4_1, true)
MATMUL_OF(q5_0, false)
MATMUL_OF(q5_1, true)
MATMUL_OF(q8_0, false)
MATMUL_OF(iq4_nl, false)
