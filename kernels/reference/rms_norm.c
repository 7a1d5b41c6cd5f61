/* lane[0..16) = +0; for i upwards: lane[i % 16] = fmaf(x_i, x_i, lane[i % 16]); sum = hearth_lanes_sum(lane)
 * mean = sum / f32(n);  scale = 1 / sqrtf(mean + eps);  y_i = (x_i * scale) * weight_i
 * n >= 1. Lanes are never -0 here, so padding x with zeros in the sum changes nothing. y may be x. */
#include "reference/lanes.h"
#include "reference/reference.h"
#include <math.h>

void hearth_rms_norm_reference(float *y, const float *x, const float *weight, size_t n, float eps)
{
    float lane[HEARTH_LANES] = {0.0f};
    for (size_t i = 0; i < n; i++)
        lane[i % HEARTH_LANES] = fmaf(x[i], x[i], lane[i % HEARTH_LANES]);
    const float mean = hearth_lanes_sum(lane) / (float)n;
    const float scale = 1.0f / sqrtf(mean + eps);
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * scale * weight[i];
}
