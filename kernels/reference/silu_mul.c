/* y_i = (gate_i / (1 + hearth_expf(-gate_i))) * up_i, each operation one rounding. y may be gate or up. */
#include "common/real.h"
#include "reference/reference.h"

void hearth_silu_mul_reference(float *y, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = gate[i] / (1.0f + hearth_expf(-gate[i])) * up[i];
}
