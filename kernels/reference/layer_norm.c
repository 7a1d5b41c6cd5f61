/* lane[0..16) = +0; for i upwards: lane[i % 16] = lane[i % 16] + x_i; mean = hearth_lanes_sum(lane) / f32(n)
 * d_i = x_i - mean
 * lane[0..16) = +0; for i upwards: lane[i % 16] = fmaf(d_i, d_i, lane[i % 16]); variance = hearth_lanes_sum(lane) / f32(n)
 * scale = 1 / sqrtf(variance + eps);  y_i = fmaf(d_i * scale, weight_i, bias_i)
 * n >= 1. Lanes are never -0 here, so padding x and d with zeros in the sums changes nothing. y may be x. */
#include "reference/lanes.h"
#include "reference/reference.h"
#include <math.h>

void hearth_layer_norm_reference(float *y, const float *x, const float *weight, const float *bias, size_t n, float eps)
{
    float sums[HEARTH_LANES] = {0.0f};
    float squares[HEARTH_LANES] = {0.0f};
    for (size_t i = 0; i < n; i++)
        sums[i % HEARTH_LANES] = sums[i % HEARTH_LANES] + x[i];
    const float mean = hearth_lanes_sum(sums) / (float)n;
    for (size_t i = 0; i < n; i++)
        squares[i % HEARTH_LANES] = fmaf(x[i] - mean, x[i] - mean, squares[i % HEARTH_LANES]);
    const float variance = hearth_lanes_sum(squares) / (float)n;
    const float scale = 1.0f / sqrtf(variance + eps);
    for (size_t i = 0; i < n; i++)
        y[i] = fmaf((x[i] - mean) * scale, weight[i], bias[i]);
}
