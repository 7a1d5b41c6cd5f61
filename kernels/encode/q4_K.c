/* Q4_K: eight sub-blocks of 32 codes 0 … 15, each with a scale and a min of 6 bits. */
#include "encode/encode.h"
#include "encode/super_affine.h"

static const struct affine_search plain = {15.0f, -1.0f, 0.1f, 20};

bool hearth_encode_q4_K(uint8_t *row, const float *x, const float *importance, size_t k)
{
    bool fits = true;
    for (size_t i = 0; i < k; i += 256) {
        struct super_affine s;
        struct hearth_block_q4_K b;
        fits &= encode_super(&s, x + i, importance ? importance + i : NULL, &plain);
        memcpy(&b, &s, offsetof(struct super_affine, codes)); /* both begin with d, dmin and the scales */
        pack_four_bits(b.qs, s.codes);
        memcpy(row + i / 256 * sizeof b, &b, sizeof b);
    }
    return fits;
}
