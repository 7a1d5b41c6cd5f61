/* y_i = hearth_geluf(gate_i) * up_i, each operation one rounding; hearth_geluf is in common/real.h. y may be gate or up. */
#include "common/real.h"
#include "reference/reference.h"

void hearth_gelu_mul_reference(float *y, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = hearth_geluf(gate[i]) * up[i];
}
