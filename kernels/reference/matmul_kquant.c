/* Products of weights in super-blocks of 256 (K-quants and IQ4_XS) with Q8_256 activations.
 *
 * For row r and token t, acc = +0, and for each super-block upwards, with w, scale and min as struct hearth_codes256 says:
 *     I   = sum over sub-blocks j of scale_j * (sum of w_k * q_k)      exact int32, |I| <= 133 169 152 (Q6_K: 128 * 32 * 127 * 256)
 *     M   = sum over sub-blocks j of min_j * bsum_j                    exact int32, |M| <= 63 * 127 * 256 = 2 048 256
 *     g   = f32(I) * d                                                 f32 rounds to nearest even
 *     g   = fmaf(-f32(M), dmin, g)                                     only Q2_K, Q4_K and Q5_K
 *     acc = fmaf(g, s, acc)                                            s is the activations' scale of this super-block
 * y = acc. Sub-blocks are 16 elements in Q2_K, Q3_K, Q6_K and 32 in the others; sums of 16 serve both here, M being exact. */
#include "common/block_format.h"
#include "reference/decode.h"
#include "reference/reference.h"
#include <math.h>

static int32_t dot16(const int8_t w[16], const int8_t q[16])
{
    int32_t sum = 0;
    for (int k = 0; k < 16; k++)
        sum += w[k] * q[k];
    return sum;
}

static int32_t sum_of_products(const struct hearth_codes256 *block, const int8_t q[256])
{
    int32_t sum = 0;
    for (int j = 0; j < 16; j++)
        sum += block->scale[j] * dot16(block->w + 16 * j, q + 16 * j);
    return sum;
}

static int32_t sum_of_mins(const struct hearth_codes256 *block, const int16_t bsum[16])
{
    int32_t sum = 0;
    for (int j = 0; j < 16; j++)
        sum += block->min[j] * bsum[j];
    return sum;
}

struct weights {
    const uint8_t *rows;
    size_t row_stride, block_bytes;
    hearth_decode256_fn *decode;
    bool has_min;
};

static float add_block(float acc, const struct hearth_codes256 *block, bool has_min, const struct hearth_q8_256 *unit)
{
    float g = (float)sum_of_products(block, unit->q) * block->d;
    if (has_min)
        g = fmaf(-(float)sum_of_mins(block, unit->sums16), block->dmin, g);
    return fmaf(g, unit->s, acc);
}

/* y is the accumulator between super-blocks, so that each is decoded once for all tokens. */
static void product(float *y, size_t y_stride, const struct weights *w, const void *x, size_t x_stride, size_t rows, size_t k,
                    size_t tokens)
{
    struct hearth_codes256 block;
    for (size_t r = 0; r < rows; r++) {
        for (size_t t = 0; t < tokens; t++)
            y[t * y_stride + r] = 0.0f;
        for (size_t b = 0; b < k / 256; b++) {
            w->decode(&block, w->rows + r * w->row_stride + b * w->block_bytes);
            const struct hearth_q8_256 *units = (const void *)((const uint8_t *)x + b * x_stride);
            for (size_t t = 0; t < tokens; t++) {
                float *acc = &y[t * y_stride + r];
                *acc = add_block(*acc, &block, w->has_min, &units[t]);
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

MATMUL_OF(q2_K, true)
MATMUL_OF(q3_K, false)
MATMUL_OF(q4_K, true)
MATMUL_OF(q5_K, true)
MATMUL_OF(q6_K, false)
MATMUL_OF(iq4_xs, false)
