/* y_i = hearth_softcapf(x_i, cap); the definition is in common/real.h. y may be x. */
#include "common/real.h"
#include "reference/reference.h"

void hearth_softcap_reference(float *y, const float *x, float cap, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = hearth_softcapf(x[i], cap);
}
