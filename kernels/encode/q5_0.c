/* Q5_0: codes 0 … 31 around 16; the scale from the largest element, or searched by importance. */
#include "encode/block32.h"
#include "encode/encode.h"

enum { BOUND = 16 };

static void search(struct search32 *s)
{
    s->scale = search_symmetric(&s->codes, &s->x, &s->w, 32, BOUND);
    s->low = vec_of(0.0f);
}

static bool store(uint8_t *block, const uint8_t codes[32], float scale, float low)
{
    struct hearth_block_q5_0 b;
    (void)low;
    const bool fits = store_half(b.d, scale);
    pack_fifth_bits(b.qh, codes);
    pack_nibbles(b.qs, codes);
    memcpy(block, &b, sizeof b);
    return fits;
}

bool hearth_encode_q5_0(uint8_t *row, const float *x, const float *importance, size_t k)
{
    if (importance)
        return encode_by_search(row, x, importance, k, sizeof(struct hearth_block_q5_0), search, store);
    return encode_all_around(row, x, k, sizeof(struct hearth_block_q5_0), BOUND, store);
}
