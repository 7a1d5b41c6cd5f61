/* y_i = hearth_f32_to_f16(x_i): round to nearest even, subnormals kept, overflow to infinity, NaN quiet with its upper payload.
 * This is what vcvtps2ph does. */
#include "common/half.h"
#include "reference/reference.h"

void hearth_to_f16_reference(uint16_t *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = hearth_f32_to_f16(x[i]);
}
