/* Attention over a Q8_0 cache: scores of integers, which each folder computes its own way, and values widened exactly, 7 bits times
 * 11. A template: the including file has included the simd.h of its folder. */
#include "template/attention.h"

static void scores_q8_0(const struct group *g, const void *keys, size_t at, size_t head_dim, float scale);

static const void *keys_as_they_are(float *scratch, const void *block, size_t head_dim)
{
    (void)scratch;
    (void)head_dim;
    return block;
}

HEARTH_ALWAYS_INLINE float half_at(const int8_t *at)
{
    uint16_t half;
    memcpy(&half, at, sizeof half);
    return _cvtsh_ss(half);
}

/* Values with their scales as floats, one for 32 dimensions. */
struct values {
    const int8_t *codes; /* a row of 34 for each group */
    const float *scales; /* [position][groups] */
    size_t groups;
};

HEARTH_ALWAYS_INLINE vec16 load_values(const void *values, size_t head_dim, size_t p, size_t d)
{
    const struct values *v = values;
    (void)head_dim;
    return vec16_mul(vec16_load_s8(v->codes + p * 34 * v->groups + d), vec16_set1(v->scales[p * v->groups + d / 32]));
}

/* A row is long enough for sixteen. */
HEARTH_ALWAYS_INLINE vec16 load_last_values(const void *values, size_t head_dim, size_t p, size_t d, size_t n)
{
    (void)n;
    return load_values(values, head_dim, p, d);
}

/* Into scratch: a float for 32 dimensions of each position. */
static struct values widen_scales(float *scratch, const void *values, size_t head_dim, size_t from, size_t to)
{
    const struct values v = {values, scratch, hearth_cache_groups(head_dim)};
    for (size_t p = from; p < to; p++) {
        const int8_t *halves = v.codes + p * 34 * v.groups + 32 * v.groups;
        float *scales = scratch + p * v.groups;
        size_t j = 0;
        for (; j + 4 <= v.groups; j += 4)
            _mm_storeu_ps(scales + j, _mm_cvtph_ps(_mm_loadl_epi64((const __m128i *)(const void *)(halves + 2 * j))));
        for (; j < v.groups; j++)
            scales[j] = half_at(halves + 2 * j);
    }
    return v;
}

/* The scales of a run at a time: what has been fetched meanwhile. */
static void add_values(const struct group *g, float *scratch, const void *values, size_t head_dim, size_t from, size_t to)
{
    const struct rows rows = rows_of(values, 34 * hearth_cache_groups(head_dim), 1);
    for (size_t stop; from < to; from = stop) {
        stop = run_end(&rows, from, to);
        const struct values v = widen_scales(scratch, values, head_dim, from, stop);
#define ADD(n) add_rows(g, &v, load_values, load_last_values, rows, head_dim, from, stop, n)
        FOR_GROUP(g->n, ADD)
#undef ADD
    }
}

/* A row is long enough for the last sixteen. */
static void slice_values(float *scratch, const void *values, size_t head_dim, size_t d, size_t n, size_t from, size_t to)
{
    const size_t groups = hearth_cache_groups(head_dim);
    for (size_t p = from; p < to; p++) {
        const int8_t *row = (const int8_t *)values + p * 34 * groups;
        const vec16 scale = vec16_set1(half_at(row + 32 * groups + 2 * (d / 32)));
        for (size_t i = 0; i < n; i += 16)
            vec16_store(scratch + p * SLICE + i, vec16_mul(vec16_load_s8(row + d + i), scale));
    }
}

void ISA(hearth_attention_q8_0)(const struct hearth_attention_query *queries, size_t n, const void *k, const void *v,
                                size_t head_dim, float scale, float softcap, size_t l1_bytes, void *scratch)
{
    static const struct cache_kind kind = {HEARTH_Q8_0, true, true, keys_as_they_are, scores_q8_0, add_values, slice_values};
    attention(&kind, queries, n, k, v, head_dim, scale, softcap, l1_bytes, scratch);
}
