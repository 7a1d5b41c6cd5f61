/* For each head, and each pair i < n_rot / 2 of its elements x = x[i], y = x[i + n_rot / 2], with c = cos[i], s = sin[i]:
 *     x' = fmaf(x, c, -(y * s)),  y' = fmaf(x, s, y * c)          each product in brackets is one rounding
 * Elements from n_rot on are left alone. Heads lie head_dim apart; n_rot is even and at most head_dim. */
#include "reference/reference.h"
#include <math.h>

void hearth_rope_neox_reference(float *x, size_t heads, size_t head_dim, size_t n_rot, const float *cos, const float *sin)
{
    const size_t half = n_rot / 2;
    for (size_t head = 0; head < heads; head++, x += head_dim)
        for (size_t i = 0; i < half; i++) {
            const float first = x[i];
            const float second = x[i + half];
            x[i] = fmaf(first, cos[i], -(second * sin[i]));
            x[i + half] = fmaf(first, sin[i], second * cos[i]);
        }
}
