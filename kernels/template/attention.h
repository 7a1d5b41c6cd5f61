/* A tile of queries over one segment of the cache: scores of all its positions, block by block; then for each query the running
 * maximum, the sum and the weights; then outputs. Queries go through the two products in groups that fill the registers: a group
 * shares each load of keys (lanes are positions) and of values (lanes are dimensions). Every score is one fma chain over dimensions
 * and every output one over positions, whatever the group.
 *
 * Few queries, one group, read the cache as it is and widen in registers. For more, keys are widened block by block, and values in
 * slices of sixteen dimensions, which stay in the first-level cache while all groups pass.
 *
 * A template: the including file has included the simd.h of its folder, and fills a struct cache_kind. */
#include "kernels.h"
#include "template/softcap_lanes.h"
#include "template/unroll.h"

#define BLOCK HEARTH_KEY_BLOCK
#define SEGMENT HEARTH_SEGMENT
#define SEGMENT_BLOCKS (SEGMENT / BLOCK)
#define GROUP_MAX (VEC16_TILE < 8 ? VEC16_TILE : 8) /* queries of a group */
#define RUN (2 * BLOCK)                             /* positions whose values stay in the first-level cache as they are */

/* Queries that stand together. */
struct group {
    const struct hearth_attention_query *query;
    float *s;            /* [n][SEGMENT] scores, then weights */
    const float *factor; /* [n][SEGMENT_BLOCKS] what outputs are multiplied by where a block begins */
    size_t n;
    size_t from, to; /* positions of the segment that any of them has */
};

/* How a cache is read. */
struct cache_kind {
    enum hearth_format format;
    /* A block of keys, made ready for scores; perhaps in scratch. */
    const void *(*keys)(float *scratch, const void *block, size_t head_dim);
    /* Scores of all its positions, from s + first on; those outside a query's range are rubbish, but each in its own lane. */
    void (*scores)(const struct group *g, const void *keys, size_t first, size_t head_dim, float scale);
    /* o += s[from] * v[from] + ... + s[to - 1] * v[to - 1] over values as they are, for few queries. */
    void (*add)(const struct group *g, float *scratch, const void *values, size_t head_dim, size_t from, size_t to);
    /* Dimensions d to d + 15 of positions from ... to-1, each position's sixteen in a row of their own. */
    void (*slice)(float *scratch, const void *values, size_t head_dim, size_t d, size_t from, size_t to);
};

/* Vectors beside each other for n queries: a power of two of them, within the register tile. */
HEARTH_ALWAYS_INLINE size_t tile_vecs(const size_t n)
{
    const size_t vecs = VEC16_TILE / n;
    return vecs >= 8 ? 8 : vecs >= 4 ? 4 : vecs >= 2 ? 2 : 1;
}

/* F(n) with n a constant. */
#if VEC16_TILE < 8
#define FOR_GROUP(n, F)                                                                                                            \
    switch (n) {                                                                                                                   \
    case 1:                                                                                                                        \
        F(1);                                                                                                                      \
        break;                                                                                                                     \
    case 2:                                                                                                                        \
        F(2);                                                                                                                      \
        break;                                                                                                                     \
    case 3:                                                                                                                        \
        F(3);                                                                                                                      \
        break;                                                                                                                     \
    case 4:                                                                                                                        \
        F(4);                                                                                                                      \
        break;                                                                                                                     \
    case 5:                                                                                                                        \
        F(5);                                                                                                                      \
        break;                                                                                                                     \
    default:                                                                                                                       \
        F(6);                                                                                                                      \
        break;                                                                                                                     \
    }
#else
#define FOR_GROUP(n, F)                                                                                                            \
    switch (n) {                                                                                                                   \
    case 1:                                                                                                                        \
        F(1);                                                                                                                      \
        break;                                                                                                                     \
    case 2:                                                                                                                        \
        F(2);                                                                                                                      \
        break;                                                                                                                     \
    case 3:                                                                                                                        \
        F(3);                                                                                                                      \
        break;                                                                                                                     \
    case 4:                                                                                                                        \
        F(4);                                                                                                                      \
        break;                                                                                                                     \
    case 5:                                                                                                                        \
        F(5);                                                                                                                      \
        break;                                                                                                                     \
    case 6:                                                                                                                        \
        F(6);                                                                                                                      \
        break;                                                                                                                     \
    case 7:                                                                                                                        \
        F(7);                                                                                                                      \
        break;                                                                                                                     \
    default:                                                                                                                       \
        F(8);                                                                                                                      \
        break;                                                                                                                     \
    }
#endif

/* ---- Outputs ----------------------------------------------------------------------------------------------------- */

/* Dimensions d to d + 15 of position p; or the first n < 16 of them. Pointers to these are constants of inlined functions. */
typedef vec16 load_values_fn(const void *values, size_t head_dim, size_t p, size_t d);
typedef vec16 load_last_values_fn(const void *values, size_t head_dim, size_t p, size_t d, size_t n);

/* Dimensions d … d + 16 * vecs - 1 of the outputs. Where a block begins, outputs are multiplied by its factor, one rounding; one
 * that does not grow has factor 1, which changes nothing. `next`: what will be read after this, fetched meanwhile: for each
 * position that many cache lines, `step` bytes further on. */
HEARTH_ALWAYS_INLINE void add_columns(const struct group *g, const void *values, load_values_fn *load, const uint8_t *next,
                                      const size_t lines, size_t step, size_t head_dim, size_t value_d, size_t d, size_t from,
                                      size_t to, const size_t n, const size_t vecs)
{
    vec16 sum[VEC16_TILE];
    UNROLL
    for (size_t i = 0; i < n * vecs; i++)
        sum[i] = vec16_load(g->query[i / vecs].o + d + i % vecs * 16);
    for (size_t p = from; p < to;) {
        const size_t stop = p / BLOCK * BLOCK + BLOCK < to ? p / BLOCK * BLOCK + BLOCK : to;
        if (p % BLOCK == 0) {
            UNROLL
            for (size_t i = 0; i < n * vecs; i++)
                sum[i] = vec16_mul(sum[i], vec16_set1(g->factor[i / vecs * SEGMENT_BLOCKS + p / BLOCK]));
        }
        for (; p < stop; p++, next += step) {
            vec16 value[8];
            UNROLL
            for (size_t v = 0; v < vecs; v++)
                value[v] = load(values, head_dim, p, value_d + 16 * v);
            UNROLL
            for (size_t line = 0; line < lines; line++)
                __builtin_prefetch(next + 64 * line);
            UNROLL
            for (size_t i = 0; i < n; i++) {
                const vec16 x = vec16_set1(g->s[i * SEGMENT + p]);
                UNROLL
                for (size_t v = 0; v < vecs; v++)
                    sum[i * vecs + v] = vec16_fma(x, value[v], sum[i * vecs + v]);
            }
        }
    }
    UNROLL
    for (size_t i = 0; i < n * vecs; i++)
        vec16_store(g->query[i / vecs].o + d + i % vecs * 16, sum[i]);
}

/* The last dimensions, fewer than 16, from d. */
HEARTH_ALWAYS_INLINE void add_last_columns(const struct group *g, const void *values, load_last_values_fn *load, size_t head_dim,
                                           size_t value_d, size_t d, size_t from, size_t to)
{
    const size_t rest = head_dim - d;
    for (size_t i = 0; i < g->n; i++) {
        float *o = g->query[i].o + d;
        vec16 sum = vec16_load_partial(o, rest);
        for (size_t p = from; p < to; p++) {
            if (p % BLOCK == 0)
                sum = vec16_mul(sum, vec16_set1(g->factor[i * SEGMENT_BLOCKS + p / BLOCK]));
            sum = vec16_fma(vec16_set1(g->s[i * SEGMENT + p]), load(values, head_dim, p, value_d, rest), sum);
        }
        vec16_store_partial(o, sum, rest);
    }
}

/* All dimensions, run by run. The values lie at `bytes`, `row` of them for a position, `element` for a dimension. */
HEARTH_ALWAYS_INLINE void add_rows(const struct group *g, const void *values, load_values_fn *load, load_last_values_fn *load_last,
                                   const uint8_t *bytes, size_t row, const size_t element, size_t head_dim, size_t from, size_t to,
                                   const size_t n)
{
    const size_t vecs = tile_vecs(n);
    const size_t lines = (16 * vecs * element + 63) / 64;
    for (size_t p = from; p < to; p += RUN - p % RUN) {
        const size_t stop = p + RUN - p % RUN < to ? p + RUN - p % RUN : to;
        const uint8_t *next = bytes + (p + RUN) * row;
        size_t d = 0;
        for (; d + 16 * vecs <= head_dim; d += 16 * vecs, next += 16 * vecs * RUN * row / head_dim)
            add_columns(g, values, load, next, lines, 16 * vecs * row / head_dim, head_dim, d, d, p, stop, n, vecs);
        for (; vecs > 1 && d + 16 <= head_dim; d += 16)
            add_columns(g, values, load, next, 0, 0, head_dim, d, d, p, stop, n, 1);
        if (d < head_dim)
            add_last_columns(g, values, load_last, head_dim, d, d, p, stop);
    }
}

/* ---- Slices ------------------------------------------------------------------------------------------------------ */

HEARTH_ALWAYS_INLINE vec16 load_slice(const void *slice, size_t head_dim, size_t p, size_t d)
{
    (void)head_dim;
    (void)d;
    return vec16_load((const float *)slice + p * 16);
}

static void add_slice(const struct group *g, const float *slice, size_t d, size_t from, size_t to){
#define ADD(n) add_columns(g, slice, load_slice, (const uint8_t *)slice, 0, 0, 0, 0, d, from, to, n, 1)
    FOR_GROUP(g->n, ADD)
#undef ADD
}

HEARTH_ALWAYS_INLINE vec16 load_last_slice(const void *slice, size_t head_dim, size_t p, size_t d, size_t n)
{
    (void)n;
    return load_slice(slice, head_dim, p, d);
}

/* ---- The walk ---------------------------------------------------------------------------------------------------- */

struct tile {
    const struct cache_kind *kind;
    const struct hearth_attention_query *query;
    const uint8_t *k, *v; /* of the segment */
    size_t n, head_dim;
    float scale, softcap;
    float *s, *scratch;
    float factor[HEARTH_ATTENTION_QUERIES * SEGMENT_BLOCKS];
    uint16_t from[HEARTH_ATTENTION_QUERIES], to[HEARTH_ATTENTION_QUERIES]; /* the query's positions in the segment */
};

static struct group group_of(const struct tile *t, size_t begin, size_t end)
{
    struct group g = {t->query + begin, t->s + begin * SEGMENT, t->factor + begin * SEGMENT_BLOCKS, end - begin, SEGMENT, 0};
    for (size_t i = begin; i < end; i++) {
        g.from = t->from[i] < g.from ? t->from[i] : g.from;
        g.to = t->to[i] > g.to ? t->to[i] : g.to;
    }
    return g;
}

/* Queries are shared evenly among as few groups as there must be; group j of them begins here. */
static size_t group_count(const struct tile *t)
{
    return (t->n + GROUP_MAX - 1) / GROUP_MAX;
}

static size_t group_begin(const struct tile *t, size_t j)
{
    return j * t->n / group_count(t);
}

/* Into the second-level cache, where it will be wanted soon. */
static void fetch(const uint8_t *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64)
        __builtin_prefetch(from + i, 0, 2);
}

static void score(const struct tile *t)
{
    const size_t block_bytes = hearth_cache_block_bytes(t->kind->format, t->head_dim);
    const struct group all = group_of(t, 0, t->n);
    for (size_t block = all.from / BLOCK; block * BLOCK < all.to; block++) {
        const void *keys = t->kind->keys(t->scratch, t->k + block * block_bytes, t->head_dim);
        if (group_count(t) > 1) { /* work enough for it to arrive meanwhile */
            fetch(t->k + (block + 1) * block_bytes, block_bytes);
            fetch(t->v + block * block_bytes, block_bytes);
        }
        for (size_t j = 0; j < group_count(t); j++) {
            const struct group g = group_of(t, group_begin(t, j), group_begin(t, j + 1));
            if (g.from < (block + 1) * BLOCK && g.to > block * BLOCK)
                t->kind->scores(&g, keys, block * BLOCK, t->head_dim, t->scale);
        }
    }
}

/* The maximum after each block, and what sums and outputs are multiplied by there: exp(maximum before - after), of all blocks at
 * once. Where it does not grow the factor is exp(0), exactly 1, and a product with 1 changes nothing; nor has the first block any.
 */
static float find_factors(float *factor, float *max, const float *s, size_t first, size_t end)
{
    float difference[16] = {0.0f};
    float greatest = -HUGE_VALF;
    for (size_t block = first; block < end; block++) {
        const float before = greatest;
        const float block_max = vec16_greatest(vec16_max(vec16_load(s + block * BLOCK), vec16_load(s + block * BLOCK + 16)));
        greatest = block_max > greatest ? block_max : greatest;
        difference[block] = block > first ? before - greatest : 0.0f;
        max[block] = greatest;
    }
    vec16_store(difference, vec16_exp(vec16_load(difference)));
    memcpy(factor, difference, SEGMENT_BLOCKS * sizeof *factor);
    return greatest;
}

static void cap_scores(const struct tile *t, float *s, size_t begin, size_t end)
{
    for (size_t p = begin; p < end; p += 16)
        vec16_store(s + p, capped(vec16_load(s + p), vec16_set1(t->softcap)));
}

/* Weights from scores: exp(score - maximum), +0 outside the range. */
static void weigh(struct tile *t, size_t i)
{
    float *s = t->s + i * SEGMENT;
    float *factor = t->factor + i * SEGMENT_BLOCKS;
    const size_t first = t->from[i] / BLOCK;
    const size_t end = (t->to[i] + (size_t)BLOCK - 1) / BLOCK;
    if (t->softcap > 0)
        cap_scores(t, s, first * BLOCK, end * BLOCK);
    for (size_t p = first * BLOCK; p < t->from[i]; p++)
        s[p] = -HUGE_VALF;
    for (size_t p = t->to[i]; p < end * BLOCK; p++)
        s[p] = -HUGE_VALF;
    float max[SEGMENT_BLOCKS];
    t->query[i].ml[0] = find_factors(factor, max, s, first, end) + 0.0f; /* zero is +0 whichever lane held it */
    vec16 sums = vec16_zero();
    for (size_t block = first; block < end; block++) {
        float *e = s + block * BLOCK;
        const vec16 a = vec16_exp(vec16_sub(vec16_load(e), vec16_set1(max[block])));
        const vec16 b = vec16_exp(vec16_sub(vec16_load(e + 16), vec16_set1(max[block])));
        sums = vec16_mul(sums, vec16_set1(factor[block]));
        sums = vec16_add(vec16_add(sums, a), b); /* +0 from positions outside changes nothing */
        vec16_store(e, a);
        vec16_store(e + 16, b);
    }
    t->query[i].ml[1] = vec16_sum(sums);
}

/* Add the values of positions from ... to-1 to queries begin ... end-1: of a slice that begins at dimension d, or all. */
static void add_range(const struct tile *t, size_t begin, size_t end, const float *slice, size_t d, size_t from, size_t to)
{
    if (from >= to)
        return;
    const struct group g = group_of(t, begin, end);
    if (!slice)
        t->kind->add(&g, t->scratch, t->v, t->head_dim, from, to);
    else if (d + 16 <= t->head_dim)
        add_slice(&g, slice, d, from, to);
    else
        add_last_columns(&g, slice, load_last_slice, t->head_dim, 0, d, from, to);
}

/* What all queries of the group have in common goes together, the ends of each one alone: a position that is not a query's own must
 * not touch its outputs, for it may hold anything, and adding even a zero may turn the sign of another. */
static void add_group(const struct tile *t, size_t begin, size_t end, const float *slice, size_t d)
{
    size_t from = 0, to = SEGMENT;
    for (size_t i = begin; i < end; i++) {
        from = t->from[i] > from ? t->from[i] : from;
        to = t->to[i] < to ? t->to[i] : to;
    }
    if (from >= to)
        from = to = SEGMENT; /* nothing in common */
    for (size_t i = begin; i < end; i++)
        add_range(t, i, i + 1, slice, d, t->from[i], t->to[i] < from ? t->to[i] : from);
    add_range(t, begin, end, slice, d, from, to);
    for (size_t i = begin; i < end; i++)
        add_range(t, i, i + 1, slice, d, t->from[i] > to ? t->from[i] : to, t->to[i]);
}

static void add_all(const struct tile *t)
{
    const struct group all = group_of(t, 0, t->n);
    if (group_count(t) == 1) {
        add_group(t, 0, t->n, NULL, 0);
        return;
    }
    for (size_t d = 0; d < t->head_dim; d += 16) {
        t->kind->slice(t->scratch, t->v, t->head_dim, d, all.from, all.to);
        for (size_t j = 0; j < group_count(t); j++)
            add_group(t, group_begin(t, j), group_begin(t, j + 1), t->scratch, d);
    }
}

static void attention(const struct cache_kind *kind, const struct hearth_attention_query *queries, size_t n, const void *k,
                      const void *v, size_t head_dim, float scale, float softcap, float *scratch)
{
    const size_t segment = queries[0].begin / SEGMENT;
    const size_t segment_bytes = segment * SEGMENT_BLOCKS * hearth_cache_block_bytes(kind->format, head_dim);
    struct tile t;
    t.kind = kind;
    t.query = queries;
    t.k = (const uint8_t *)k + segment_bytes;
    t.v = (const uint8_t *)v + segment_bytes;
    t.n = n;
    t.head_dim = head_dim;
    t.scale = scale;
    t.softcap = softcap;
    t.s = scratch;
    t.scratch = scratch + n * SEGMENT;
    for (size_t i = 0; i < n; i++) {
        t.from[i] = (uint16_t)(queries[i].begin - segment * SEGMENT);
        t.to[i] = (uint16_t)(queries[i].end - segment * SEGMENT);
        memset(queries[i].o, 0, head_dim * sizeof(float));
    }
    score(&t);
    for (size_t i = 0; i < n; i++)
        weigh(&t, i);
    add_all(&t);
}
