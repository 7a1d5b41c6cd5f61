/* For each head, and each pair i < n_rot / 2 of its elements x = x[2i], y = x[2i + 1], with c = cos[i], s = sin[i]:
 *     x' = fmaf(x, c, -(y * s)),  y' = fmaf(x, s, y * c)          each product in brackets is one rounding
 * Elements from n_rot on are left alone. Heads lie head_dim apart; n_rot is even and at most head_dim. */
#include "reference/reference.h"
#include <math.h>

void hearth_rope_reference(float *x, size_t heads, size_t head_dim, size_t n_rot, const float *cos, const float *sin)
{
    for (size_t head = 0; head < heads; head++, x += head_dim)
        for (size_t i = 0; i < n_rot / 2; i++) {
            const float even = x[2 * i];
            const float odd = x[2 * i + 1];
            x[2 * i] = fmaf(even, cos[i], -(odd * sin[i]));
            x[2 * i + 1] = fmaf(even, sin[i], odd * cos[i]);
        }
}
