/* Attention of one head over one segment [begin, end) of the cache, 0 < end - begin <= 256, and the merging of segments.
 *
 * State: m = -infinity, lane[0..16) = +0, o[0..head_dim) = +0. Blocks of 32 absolute positions that touch [begin, end) are walked
 * upwards; of a block, the positions p inside [begin, end) are valid. Per block:
 *   1. s_p = dot_p * scale for each valid p, where dot_p = +0 and, for d upwards, dot_p = fmaf(q[d], k[d] of p, dot_p); cache
 * elements are widened exactly.
 *   2. m_new = the largest of m and the s_p.
 *   3. If m_new > m and this is not the first block: f = hearth_expf(m - m_new); each of the 16 lanes and each o is multiplied by f
 *      (one rounding). If m_new == m nothing is multiplied.
 *   4. For each valid p upwards: e = hearth_expf(s_p - m_new); lane[p % 16] = lane[p % 16] + e; o[d] = fmaf(e, v[p][d], o[d]).
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

typedef float element_fn(const void *cache, size_t index);

static float element_f16(const void *cache, size_t index)
{
    uint16_t h;
    memcpy(&h, (const uint8_t *)cache + index * sizeof h, sizeof h);
    return hearth_f16_to_f32(h);
}

static float element_f32(const void *cache, size_t index)
{
    float x;
    memcpy(&x, (const uint8_t *)cache + index * sizeof x, sizeof x);
    return x;
}

struct head {
    const float *q;
    const void *k, *v;
    element_fn *element;
    size_t dim;
    float scale;
};

static float score(const struct head *h, size_t p)
{
    const size_t first = p / HEARTH_KEY_BLOCK * h->dim * HEARTH_KEY_BLOCK + p % HEARTH_KEY_BLOCK;
    float dot = 0.0f;
    for (size_t d = 0; d < h->dim; d++)
        dot = fmaf(h->q[d], h->element(h->k, first + d * HEARTH_KEY_BLOCK), dot);
    return dot * h->scale;
}

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
        s[p - begin] = score(h, p);
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
            o[d] = fmaf(e, h->element(h->v, p * h->dim + d), o[d]);
    }
    *m = m_new;
}

static void attention(const struct head *h, float *o, float ml[2], size_t begin, size_t end)
{
    float m = -INFINITY;
    float lane[HEARTH_LANES] = {0.0f};
    for (size_t d = 0; d < h->dim; d++)
        o[d] = 0.0f;
    for (size_t p = begin; p < end;) {
        const size_t block_end = (p / HEARTH_KEY_BLOCK + 1) * HEARTH_KEY_BLOCK;
        const size_t stop = block_end < end ? block_end : end;
        walk_block(h, o, &m, lane, p, stop, p == begin);
        p = stop;
    }
    ml[0] = m + 0.0f;
    ml[1] = hearth_lanes_sum(lane);
}

void hearth_attention_f16_reference(float *o, float ml[2], const float *q, const void *k, const void *v, size_t head_dim,
                                    size_t begin, size_t end, float scale)
{
    const struct head h = {q, k, v, element_f16, head_dim, scale};
    attention(&h, o, ml, begin, end);
}

void hearth_attention_f32_reference(float *o, float ml[2], const float *q, const void *k, const void *v, size_t head_dim,
                                    size_t begin, size_t end, float scale)
{
    const struct head h = {q, k, v, element_f32, head_dim, scale};
    attention(&h, o, ml, begin, end);
}

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
