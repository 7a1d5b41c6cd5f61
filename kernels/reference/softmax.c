/* max = the largest x; e_i = hearth_expf(x_i - max)
 * lane[0..16) = +0; for i upwards: lane[i % 16] = lane[i % 16] + e_i; sum = hearth_lanes_sum(lane);  y_i = e_i / sum
 * n >= 1; no x is NaN and at least one is finite. Which zero the maximum is does not show: exp of either zero is 1. Terms e_i are
 * never -0, so padding with +0 changes nothing. An x of -infinity gets 0. y may be x. */
#include "common/real.h"
#include "reference/lanes.h"
#include "reference/reference.h"

void hearth_softmax_reference(float *y, const float *x, size_t n)
{
    float max = x[0];
    for (size_t i = 1; i < n; i++)
        max = x[i] > max ? x[i] : max;
    float lane[HEARTH_LANES] = {0.0f};
    for (size_t i = 0; i < n; i++) {
        y[i] = hearth_expf(x[i] - max);
        lane[i % HEARTH_LANES] = lane[i % HEARTH_LANES] + y[i];
    }
    const float sum = hearth_lanes_sum(lane);
    for (size_t i = 0; i < n; i++)
        y[i] = y[i] / sum;
}
