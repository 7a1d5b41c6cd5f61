/* Products of float weights (F32, F16, BF16) with F32 activations; any k.
 *
 * lane[0..16) = +0; for k upwards: lane[k % 16] = fmaf(w_k, x_k, lane[k % 16]), w_k widened exactly; y = hearth_lanes_sum(lane).
 * Where k is not a multiple of 16, the last lanes have simply one term less (padding with zeros gives the same bits except that it
 * could turn a lane of -0 into +0, so do not pad). */
#include "common/block_format.h"
#include "common/half.h"
#include "reference/lanes.h"
#include "reference/reference.h"
#include <math.h>
#include <string.h>

typedef float widen_fn(const uint8_t *row, size_t k);

static float widen_f32(const uint8_t *row, size_t k)
{
    float w;
    memcpy(&w, row + k * sizeof w, sizeof w);
    return w;
}

static float widen_f16(const uint8_t *row, size_t k)
{
    return hearth_f16_to_f32(hearth_load_u16(row + 2 * k));
}

static float widen_bf16(const uint8_t *row, size_t k)
{
    return hearth_bf16_to_f32(hearth_load_u16(row + 2 * k));
}

static float dot(const uint8_t *w, widen_fn *widen, const float *x, size_t k)
{
    float lane[HEARTH_LANES] = {0.0f};
    for (size_t i = 0; i < k; i++)
        lane[i % HEARTH_LANES] = fmaf(widen(w, i), x[i], lane[i % HEARTH_LANES]);
    return hearth_lanes_sum(lane);
}

static void product(float *y, size_t y_stride, const uint8_t *w, size_t row_stride, widen_fn *widen, const void *x, size_t x_stride,
                    size_t rows, size_t k, size_t tokens)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t t = 0; t < tokens; t++) {
            const void *row = (const uint8_t *)x + t * x_stride;
            y[t * y_stride + r] = dot(w + r * row_stride, widen, row, k);
        }
}

void hearth_matmul_f32_reference(float *y, size_t y_stride, const void *w, const void *x, size_t x_stride, size_t rows, size_t k,
                                 size_t tokens, size_t prefetch_bytes)
{
    (void)prefetch_bytes;
    product(y, y_stride, w, hearth_tile_bytes_f32_reference(k), widen_f32, x, x_stride, rows, k, tokens);
}

void hearth_matmul_f16_reference(float *y, size_t y_stride, const void *w, const void *x, size_t x_stride, size_t rows, size_t k,
                                 size_t tokens, size_t prefetch_bytes)
{
    (void)prefetch_bytes;
    product(y, y_stride, w, hearth_tile_bytes_f16_reference(k), widen_f16, x, x_stride, rows, k, tokens);
}

void hearth_matmul_bf16_reference(float *y, size_t y_stride, const void *w, const void *x, size_t x_stride, size_t rows, size_t k,
                                  size_t tokens, size_t prefetch_bytes)
{
    (void)prefetch_bytes;
    product(y, y_stride, w, hearth_tile_bytes_bf16_reference(k), widen_bf16, x, x_stride, rows, k, tokens);
}
