/* Attention of heads, one after another, over one segment [begin, end) of the cache, 0 < end - begin <= 256, and the merging of
 * segments.
 *
 * State: m = -infinity, lane[0..16) = +0, o[0..head_dim) = +0. Blocks of 32 absolute positions that touch [begin, end) are walked
 * upwards; of a block, the positions p inside [begin, end) are valid. Per block:
 *   1. s_p = dot_p * scale for each valid p, where dot_p = +0 and, for d upwards, dot_p = fmaf(q[d], k[d] of p, dot_p); cache
 *      elements are widened exactly; with a soft cap s_p = hearth_softcapf(s_p, cap). With a Q8_0 cache q is quantized too and, for
 * groups j of 32 dimensions upwards, with the exact integer i = sum of codes of k times codes of q: dot_p = fmaf(f32(i), d * s,
 * dot_p), where d is the key's scale, widened, and s the query's.
 *   2. m_new = the largest of m and the s_p.
 *   3. If m_new > m and this is not the first block: f = hearth_expf(m - m_new); each of the 16 lanes and each o is multiplied by f
 *      (one rounding). If m_new == m nothing is multiplied.
 *   4. For each valid p upwards: e = hearth_expf(s_p - m_new); lane[p % 16] = lane[p % 16] + e; o[d] = fmaf(e, v[p][d], o[d]).
 *      With a Q8_0 cache v[p][d] = code * scale, which is exact: 7 bits times 11.
 *   5. m = m_new.
 * Result: o; ml[0] = m + 0.0f (so zero is +0 whichever way the maximum was found); ml[1] = hearth_lanes_sum(lane). e is never -0,
 * so adding +0 to a lane for a position that is not valid changes nothing; o, however, must not see such a position, for v there
 * may be anything and may not even be mapped. The keys of a block are mapped to the block's end, whatever they hold.
 *
 * Merge of b, the later segment, into a: m = the larger of m_a and m_b; f_a = hearth_expf(m_a - m); f_b = hearth_expf(m_b - m);
 *     l_a = fmaf(l_b, f_b, l_a * f_a);  o_a[d] = fmaf(o_b[d], f_b, o_a[d] * f_a);  m_a = m
 * with the products f_a = 1 included (they change nothing). With b NULL: o_a[d] = o_a[d] / l_a; m_a and l_a stay. */
#include "common/half.h"
#include "common/real.h"
#include "reference/lanes.h"
#include "reference/reference.h"

struct head {
    const void *q, *k, *v;
    float (*dot)(const struct head *h, size_t p);
    float (*value)(const struct head *h, size_t p, size_t d);
    size_t dim;
    float scale, softcap;
};

static float half_at(const void *cache, size_t byte)
{
    uint16_t h;
    memcpy(&h, (const uint8_t *)cache + byte, sizeof h);
    return hearth_f16_to_f32(h);
}

static float float_at(const void *cache, size_t byte)
{
    float x;
    memcpy(&x, (const uint8_t *)cache + byte, sizeof x);
    return x;
}

/* ---- F32 and F16 ------------------------------------------------------------------------------------------------- */

static size_t key_index(const struct head *h, size_t p, size_t d)
{
    return (p / HEARTH_KEY_BLOCK * h->dim + d) * HEARTH_KEY_BLOCK + p % HEARTH_KEY_BLOCK;
}

static float dot_f16(const struct head *h, size_t p)
{
    float dot = 0.0f;
    for (size_t d = 0; d < h->dim; d++)
        dot = fmaf(float_at(h->q, 4 * d), half_at(h->k, 2 * key_index(h, p, d)), dot);
    return dot;
}

static float value_f16(const struct head *h, size_t p, size_t d)
{
    return half_at(h->v, 2 * (p * h->dim + d));
}

static float dot_f32(const struct head *h, size_t p)
{
    float dot = 0.0f;
    for (size_t d = 0; d < h->dim; d++)
        dot = fmaf(float_at(h->q, 4 * d), float_at(h->k, 4 * key_index(h, p, d)), dot);
    return dot;
}

static float value_f32(const struct head *h, size_t p, size_t d)
{
    return float_at(h->v, 4 * (p * h->dim + d));
}

/* ---- Q8_0 -------------------------------------------------------------------------------------------------------- */

static float dot_q8_0(const struct head *h, size_t p)
{
    const size_t groups = hearth_cache_groups(h->dim);
    const uint8_t *block = (const uint8_t *)h->k + p / HEARTH_KEY_BLOCK * groups * HEARTH_CACHE_GROUP_BYTES;
    float dot = 0.0f;
    for (size_t j = 0; j < groups; j++) {
        const uint8_t *group = block + j * HEARTH_CACHE_GROUP_BYTES;
        const struct hearth_q8_32 *unit = (const struct hearth_q8_32 *)h->q + j / 8;
        int32_t sum = 0;
        for (size_t i = 0; i < 32; i++)
            sum += (int8_t)group[(i / 4 * HEARTH_KEY_BLOCK + p % HEARTH_KEY_BLOCK) * 4 + i % 4] * unit->q[32 * (j % 8) + i];
        const float d = half_at(group, 32 * HEARTH_KEY_BLOCK + 2 * (p % HEARTH_KEY_BLOCK));
        dot = fmaf((float)sum, d * unit->s[j % 8], dot);
    }
    return dot;
}

static float value_q8_0(const struct head *h, size_t p, size_t d)
{
    const size_t groups = hearth_cache_groups(h->dim);
    const uint8_t *row = (const uint8_t *)h->v + p * 34 * groups;
    return (float)(int8_t)row[d] * half_at(row, 32 * groups + 2 * (d / 32));
}

/* ---- The walk ---------------------------------------------------------------------------------------------------- */

static void scale_by(float *x, size_t n, float factor)
{
    for (size_t i = 0; i < n; i++)
        x[i] = x[i] * factor;
}

/* One block: positions begin … end-1 of it are valid, at least one. */
static void walk_block(const struct head *h, float *o, float *m, float lane[HEARTH_LANES], size_t begin, size_t end, bool first)
{
    float s[HEARTH_KEY_BLOCK];
    float m_new = *m;
    for (size_t p = begin; p < end; p++) {
        s[p - begin] = h->dot(h, p) * h->scale;
        if (h->softcap > 0)
            s[p - begin] = hearth_softcapf(s[p - begin], h->softcap);
        m_new = s[p - begin] > m_new ? s[p - begin] : m_new;
    }
    if (m_new > *m && !first) {
        const float f = hearth_expf(*m - m_new);
        scale_by(lane, HEARTH_LANES, f);
        scale_by(o, h->dim, f);
    }
    for (size_t p = begin; p < end; p++) {
        const float e = hearth_expf(s[p - begin] - m_new);
        lane[p % HEARTH_LANES] = lane[p % HEARTH_LANES] + e;
        for (size_t d = 0; d < h->dim; d++)
            o[d] = fmaf(e, h->value(h, p, d), o[d]);
    }
    *m = m_new;
}

static void walk(struct head *h, const struct hearth_attention_query *query)
{
    float m = -INFINITY;
    float lane[HEARTH_LANES] = {0.0f};
    h->q = query->q;
    for (size_t d = 0; d < h->dim; d++)
        query->o[d] = 0.0f;
    for (size_t p = query->begin; p < query->end;) {
        const size_t block_end = (p / HEARTH_KEY_BLOCK + 1) * HEARTH_KEY_BLOCK;
        const size_t stop = block_end < query->end ? block_end : query->end;
        walk_block(h, query->o, &m, lane, p, stop, p == query->begin);
        p = stop;
    }
    query->ml[0] = m + 0.0f;
    query->ml[1] = hearth_lanes_sum(lane);
}

#define ATTENTION(format)                                                                                                          \
    void hearth_attention_##format##_reference(const struct hearth_attention_query *queries, size_t n, const void *k,              \
                                               const void *v, size_t head_dim, float scale, float softcap, size_t l1_bytes,        \
                                               void *scratch)                                                                      \
    {                                                                                                                              \
        struct head h = {                                                                                                          \
            .k = k, .v = v, .dot = dot_##format, .value = value_##format, .dim = head_dim, .scale = scale, .softcap = softcap};    \
        (void)l1_bytes;                                                                                                            \
        (void)scratch;                                                                                                             \
        for (size_t i = 0; i < n; i++)                                                                                             \
            walk(&h, &queries[i]);                                                                                                 \
    }

ATTENTION(f16)
ATTENTION(f32)
ATTENTION(q8_0)

void hearth_attention_merge_reference(float *o_a, float ml_a[2], const float *o_b, const float *ml_b, size_t head_dim)
{
    if (o_b == NULL) {
        for (size_t d = 0; d < head_dim; d++)
            o_a[d] = o_a[d] / ml_a[1];
        return;
    }
    const float m = ml_b[0] > ml_a[0] ? ml_b[0] : ml_a[0];
    const float f_a = hearth_expf(ml_a[0] - m);
    const float f_b = hearth_expf(ml_b[0] - m);
    ml_a[1] = fmaf(ml_b[1], f_b, ml_a[1] * f_a);
    for (size_t d = 0; d < head_dim; d++)
        o_a[d] = fmaf(o_b[d], f_b, o_a[d] * f_a);
    ml_a[0] = m;
}
