/* Q4_1: codes 0 … 15 above a minimum; scale and minimum from the range, or searched by importance. */
#include "encode/block32.h"
#include "encode/encode.h"

enum { MOST = 15 };

static void search(struct search32 *s)
{
    const struct affine found = search_affine(&s->codes, &s->x, &s->w, 32, &AFFINE_WITH_IMPORTANCE(MOST));
    s->scale = found.scale;
    s->low = found.low;
}

static bool store(uint8_t *block, const uint8_t codes[32], float scale, float low)
{
    struct hearth_block_q4_1 b;
    const bool scale_fits = store_half(b.d, scale);
    const bool low_fits = store_half(b.m, low);
    pack_nibbles(b.qs, codes);
    memcpy(block, &b, sizeof b);
    return scale_fits && low_fits;
}

bool hearth_encode_q4_1(uint8_t *row, const float *x, const float *importance, size_t k)
{
    if (importance)
        return encode_by_search(row, x, importance, k, sizeof(struct hearth_block_q4_1), search, store);
    return encode_all_between(row, x, k, sizeof(struct hearth_block_q4_1), MOST, store);
}
