/* Attention over a cache of floats. A template: the including file has included the simd.h of its folder. */
#include "template/attention.h"

#include "template/attention_scores.h"

static const void *keys_as_they_are(float *scratch, const void *block, size_t head_dim)
{
    (void)scratch;
    (void)head_dim;
    return block;
}

HEARTH_ALWAYS_INLINE vec16 load_values(const void *values, size_t head_dim, size_t p, size_t d)
{
    return vec16_load((const float *)values + p * head_dim + d);
}

HEARTH_ALWAYS_INLINE vec16 load_last_values(const void *values, size_t head_dim, size_t p, size_t d, size_t n)
{
    return vec16_load_partial((const float *)values + p * head_dim + d, n);
}

static void add_values(const struct group *g, float *scratch, const void *values, size_t head_dim, size_t from, size_t to)
{
    (void)scratch;
    const struct rows rows = rows_of(values, head_dim * sizeof(float), sizeof(float));
#define ADD(n) add_rows(g, values, load_values, load_last_values, rows, head_dim, from, to, n)
    FOR_GROUP(g->n, ADD)
#undef ADD
}

static void slice_values(float *scratch, const void *values, size_t head_dim, size_t d, size_t n, size_t from, size_t to)
{
    for (size_t p = from; p < to; p++) {
        float *row = scratch + p * SLICE;
        size_t i = 0;
        for (; i + 16 <= n; i += 16)
            vec16_store(row + i, load_values(values, head_dim, p, d + i));
        if (i < n)
            vec16_store(row + i, load_last_values(values, head_dim, p, d + i, n - i));
    }
}

void ISA(hearth_attention_f32)(const struct hearth_attention_query *queries, size_t n, const void *k, const void *v,
                               size_t head_dim, float scale, float softcap, size_t l1_bytes, void *scratch)
{
    static const struct cache_kind kind = {HEARTH_F32, false, false, keys_as_they_are, scores_f32, add_values, slice_values};
    attention(&kind, queries, n, k, v, head_dim, scale, softcap, l1_bytes, scratch);
}
