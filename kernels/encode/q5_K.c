/* Q5_K: eight sub-blocks of 32 codes 0 … 31, each with a scale and a min of 6 bits. */
#include "encode/encode.h"
#include "encode/super_affine.h"

static const struct affine_search plain = {31.0f, -0.5f, 0.1f, 15};

/* Bit j of byte l: the fifth bit of element 32 j + l. */
static void pack_fifth_planes(uint8_t qh[32], const uint8_t codes[256])
{
    memset(qh, 0, 32);
    for (int j = 0; j < 8; j++)
        for (int l = 0; l < 32; l++)
            qh[l] = (uint8_t)(qh[l] | codes[32 * j + l] >> 4 << j);
}

bool hearth_encode_q5_K(uint8_t *row, const float *x, const float *importance, size_t k)
{
    bool fits = true;
    for (size_t i = 0; i < k; i += 256) {
        struct super_affine s;
        struct hearth_block_q5_K b;
        fits &= encode_super(&s, x + i, importance ? importance + i : NULL, &plain);
        memcpy(&b, &s, offsetof(struct super_affine, codes)); /* both begin with d, dmin and the scales */
        pack_fifth_planes(b.qh, s.codes);
        pack_four_bits(b.qs, s.codes);
        memcpy(row + i / 256 * sizeof b, &b, sizeof b);
    }
    return fits;
}
