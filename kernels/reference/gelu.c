/* y_i = hearth_geluf(x_i); the definition is in common/real.h. y may be x. */
#include "common/real.h"
#include "reference/reference.h"

void hearth_gelu_reference(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = hearth_geluf(x[i]);
}
