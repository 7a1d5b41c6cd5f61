/* y_i = y_i + x_i. */
#include "reference/reference.h"

void hearth_add_reference(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = y[i] + x[i];
}
