/* A tile of queries over one segment of the cache: scores of all its positions, block by block; then for each query the running
 * maximum, the sum and the weights; then outputs. Queries go through the two products in groups that fill the registers: a group
 * shares each load of keys (lanes are positions) and of values (lanes are dimensions). Every score is one fma chain over dimensions
 * and every output one over positions, whatever the group.
 *
 * Few queries, one group, read the cache as it is and widen in registers. For more, keys are widened block by block, and values in
 * slices of some dimensions, which stay in the first-level cache while all groups pass; unless widening costs nothing beside the
 * products.
 *
 * A template: the including file has included the simd.h of its folder, and fills a struct cache_kind. */
#include "kernels.h"
#include "template/softcap_lanes.h"
#include "template/unroll.h"

#define BLOCK HEARTH_KEY_BLOCK
#define SEGMENT HEARTH_SEGMENT
#define SEGMENT_BLOCKS (SEGMENT / BLOCK)
#define GROUP_MAX (VEC16_TILE < 12 ? VEC16_TILE : 12) /* queries of a group */
#define SLICE (16 * (VEC16_TILE / GROUP_MAX))         /* dimensions of a slice, a row of the register tile of a whole group */
#define RUN_MOST (4 * BLOCK)                          /* positions whose values stay in the first-level cache as they are, */
#define RUN_BYTES (20u << 10)                         /* and bytes, while as many come */
#define L1_ROOM (48u << 10)                           /* a first-level cache that holds both, and keys */

/* Queries that stand together. */
struct group {
    const struct hearth_attention_query *query;
    const float *q; /* floats: dimension d of query i at d / 16 * q_step + i * 16 + d % 16 */
    size_t q_step;
    float *s;             /* [n][SEGMENT] scores, then weights */
    const float *factor;  /* [n][SEGMENT_BLOCKS] what outputs are multiplied by where a block begins */
    const uint8_t *later; /* the next segment's keys, fetched while values are added; NULL: they are not */
    bool second;          /* what comes next is fetched into the second-level cache, not the first */
    size_t n;
    size_t from, to;               /* positions of the segment that any of them has */
    size_t common_from, common_to; /* that all have; none: equal */
};

/* How a cache is read. */
struct cache_kind {
    enum hearth_format format;
    bool scores_fetch; /* the keys that follow theirs */
    bool values_last;  /* longer than scores, so that the memory has time for keys meanwhile */
    /* A block of keys, made ready for scores; perhaps in scratch. */
    const void *(*keys)(float *scratch, const void *block, size_t head_dim);
    /* Scores of all its positions, from s + first on; those outside a query's range are rubbish, but each in its own lane. */
    void (*scores)(const struct group *g, const void *keys, size_t first, size_t head_dim, float scale);
    /* o += s[from] * v[from] + ... + s[to - 1] * v[to - 1] over values as they are, for few queries. */
    void (*add)(const struct group *g, float *scratch, const void *values, size_t head_dim, size_t from, size_t to);
    /* Dimensions d to d + n - 1, n <= SLICE, of positions from ... to-1, each position's in a row of SLICE; NULL: all queries take
     * values as they are. */
    void (*slice)(float *scratch, const void *values, size_t head_dim, size_t d, size_t n, size_t from, size_t to);
};

/* Ask for a line: into the second-level cache, or the first. */
HEARTH_ALWAYS_INLINE void fetch_line(const uint8_t *p, const bool second)
{
    if (second)
        _mm_prefetch((const char *)p, _MM_HINT_T1);
    else
        _mm_prefetch((const char *)p, _MM_HINT_T0);
}

/* Vectors beside each other for n queries: a power of two of them, within the register tile. */
HEARTH_ALWAYS_INLINE size_t tile_vecs(const size_t n)
{
    const size_t vecs = VEC16_TILE / n;
    return vecs >= 8 ? 8 : vecs >= 4 ? 4 : vecs >= 2 ? 2 : 1;
}

/* F(n) with n a constant. */
#define GROUP_CASE(n, F)                                                                                                           \
    case n:                                                                                                                        \
        F(n);                                                                                                                      \
        break;
#if VEC16_TILE < 12
#define GROUP_CASES_ABOVE_6(F)
#else
#define GROUP_CASES_ABOVE_6(F)                                                                                                     \
    GROUP_CASE(7, F)                                                                                                               \
    GROUP_CASE(8, F)                                                                                                               \
    GROUP_CASE(9, F)                                                                                                               \
    GROUP_CASE(10, F)                                                                                                              \
    GROUP_CASE(11, F)                                                                                                              \
    GROUP_CASE(12, F)
#endif
#define FOR_GROUP(n, F)                                                                                                            \
    switch (n) {                                                                                                                   \
        GROUP_CASE(1, F)                                                                                                           \
        GROUP_CASE(2, F)                                                                                                           \
        GROUP_CASE(3, F)                                                                                                           \
        GROUP_CASE(4, F)                                                                                                           \
        GROUP_CASE(5, F)                                                                                                           \
        GROUP_CASE(6, F)                                                                                                           \
        GROUP_CASES_ABOVE_6(F)                                                                                                     \
    }

/* ---- Outputs ----------------------------------------------------------------------------------------------------- */

/* Dimensions d to d + 15 of position p; or the first n < 16 of them. Pointers to these are constants of inlined functions. */
typedef vec16 load_values_fn(const void *values, size_t head_dim, size_t p, size_t d);
typedef vec16 load_last_values_fn(const void *values, size_t head_dim, size_t p, size_t d, size_t n);

/* What is fetched while outputs grow, for each position `step` bytes further on: of the values that will be read after these, and
 * of keys, unless NULL. */
struct ahead {
    const uint8_t *values, *keys;
    size_t step, lines;
    size_t rest; /* bytes of a step behind its lines: now and then they lie in one more */
};

/* Returns what comes with the next position. */
HEARTH_ALWAYS_INLINE const uint8_t *fetch_step(const uint8_t *p, const struct ahead *ahead, const bool second)
{
    UNROLL
    for (size_t line = 0; line < ahead->lines; line++)
        fetch_line(p + 64 * line, second);
    if (ahead->rest && (uintptr_t)p % 64 + ahead->rest >= 64)
        fetch_line(p + 64 * ahead->lines, second);
    return p + ahead->step;
}

/* Values into the second-level cache, or the first; keys will wait longer. */
HEARTH_ALWAYS_INLINE void fetch_ahead(struct ahead *ahead, const bool second)
{
    ahead->values = fetch_step(ahead->values, ahead, second);
    if (ahead->keys)
        ahead->keys = fetch_step(ahead->keys, ahead, true);
}

/* Dimensions d … d + 16 * vecs - 1 of the outputs. Where a block begins, outputs are multiplied by its factor, one rounding; one
 * that does not grow has factor 1, which changes nothing. */
HEARTH_ALWAYS_INLINE void add_columns(const struct group *g, const void *values, load_values_fn *load, struct ahead ahead,
                                      size_t head_dim, size_t value_d, size_t d, size_t from, size_t to, const size_t n,
                                      const size_t vecs)
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
        for (; p < stop; p++) {
            vec16 value[8];
            UNROLL
            for (size_t v = 0; v < vecs; v++)
                value[v] = load(values, head_dim, p, value_d + 16 * v);
            fetch_ahead(&ahead, g->second);
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

/* How values lie in memory. Those of the next run are fetched meanwhile. */
struct rows {
    const uint8_t *bytes;
    size_t row;     /* bytes of a position */
    size_t element; /* and of a dimension */
    size_t run;     /* positions */
};

HEARTH_ALWAYS_INLINE struct rows rows_of(const void *values, size_t row, size_t element)
{
    size_t run = RUN_MOST;
    while (run > BLOCK && run * row > RUN_BYTES)
        run /= 2;
    return (struct rows){values, row, element, run};
}

/* The end of the run of position p, but no more than `to`. */
HEARTH_ALWAYS_INLINE size_t run_end(const struct rows *rows, size_t p, size_t to)
{
    const size_t end = p + rows->run - p % rows->run;
    return end < to ? end : to;
}

/* From dimension d on as many whole columns of so many vectors as there are. Returns the first dimension behind them. */
HEARTH_ALWAYS_INLINE size_t add_whole_columns(const struct group *g, const void *values, load_values_fn *load,
                                              const struct rows *rows, size_t head_dim, size_t d, size_t from, size_t to,
                                              const size_t n, const size_t vecs)
{
    for (; d + 16 * vecs <= head_dim; d += 16 * vecs) {
        const size_t part = from * rows->row + d * rows->run * rows->row / head_dim;
        const size_t step = 16 * vecs * rows->row / head_dim;
        const size_t lines = (16 * vecs * rows->element + 63) / 64;
        const struct ahead ahead = {.values = rows->bytes + rows->run * rows->row + part,
                                    .keys = g->later ? g->later + part : NULL,
                                    .step = step,
                                    .lines = lines,
                                    .rest = step > 64 * lines ? step - 64 * lines : 0};
        add_columns(g, values, load, ahead, head_dim, d, d, from, to, n, vecs);
    }
    return d;
}

/* All dimensions, run by run. */
HEARTH_ALWAYS_INLINE void add_rows(const struct group *g, const void *values, load_values_fn *load, load_last_values_fn *load_last,
                                   const struct rows rows, size_t head_dim, size_t from, size_t to, const size_t n)
{
    const size_t vecs = tile_vecs(n);
    for (size_t p = from, stop; p < to; p = stop) {
        stop = run_end(&rows, p, to);
        size_t d = add_whole_columns(g, values, load, &rows, head_dim, 0, p, stop, n, vecs);
        if (vecs > 2)
            d = add_whole_columns(g, values, load, &rows, head_dim, d, p, stop, n, vecs / 2);
        if (vecs > 1)
            d = add_whole_columns(g, values, load, &rows, head_dim, d, p, stop, n, 1);
        if (d < head_dim)
            add_last_columns(g, values, load_last, head_dim, d, d, p, stop);
    }
}

/* ---- Slices ------------------------------------------------------------------------------------------------------ */

HEARTH_ALWAYS_INLINE vec16 load_slice(const void *slice, size_t head_dim, size_t p, size_t d)
{
    (void)head_dim;
    return vec16_load((const float *)slice + p * SLICE + d);
}

HEARTH_ALWAYS_INLINE vec16 load_last_slice(const void *slice, size_t head_dim, size_t p, size_t d, size_t n)
{
    (void)n;
    return load_slice(slice, head_dim, p, d);
}

/* A slice of n dimensions from d. */
static void add_slice(const struct group *g, const float *slice, size_t d, size_t n, size_t from, size_t to)
{
    const struct ahead nothing = {0};
    size_t i = 0;
#define ADD(n) add_columns(g, slice, load_slice, nothing, 0, i, d + i, from, to, n, SLICE / 16)
    if (n == SLICE) {
        FOR_GROUP(g->n, ADD)
        return;
    }
#undef ADD
#define ADD(n) add_columns(g, slice, load_slice, nothing, 0, i, d + i, from, to, n, 1)
    for (; i + 16 <= n; i += 16)
        FOR_GROUP(g->n, ADD)
#undef ADD
    if (i < n)
        add_last_columns(g, slice, load_last_slice, d + n, i, d + i, from, to);
}

/* ---- The walk ---------------------------------------------------------------------------------------------------- */

struct tile {
    const struct cache_kind *kind;
    const struct hearth_attention_query *query;
    const uint8_t *k, *v; /* of the segment */
    const uint8_t *later; /* this and the next as in struct group */
    bool second;
    size_t n, head_dim;
    float scale, softcap;
    float *s, *q, *scratch;
    float factor[HEARTH_ATTENTION_QUERIES * SEGMENT_BLOCKS];
    float max[HEARTH_ATTENTION_QUERIES * SEGMENT_BLOCKS];                  /* after each block */
    uint16_t from[HEARTH_ATTENTION_QUERIES], to[HEARTH_ATTENTION_QUERIES]; /* the query's positions in the segment */
    size_t groups;
    struct group group[(HEARTH_ATTENTION_QUERIES + GROUP_MAX - 1) / GROUP_MAX];
};

static struct group group_of(const struct tile *t, size_t begin, size_t end)
{
    struct group g = {.query = t->query + begin,
                      .q = t->q + begin * 16,
                      .q_step = t->n * 16,
                      .s = t->s + begin * SEGMENT,
                      .factor = t->factor + begin * SEGMENT_BLOCKS,
                      .later = t->later,
                      .second = t->second,
                      .n = end - begin,
                      .from = SEGMENT,
                      .common_to = SEGMENT};
    for (size_t i = begin; i < end; i++) {
        g.from = t->from[i] < g.from ? t->from[i] : g.from;
        g.to = t->to[i] > g.to ? t->to[i] : g.to;
        g.common_from = t->from[i] > g.common_from ? t->from[i] : g.common_from;
        g.common_to = t->to[i] < g.common_to ? t->to[i] : g.common_to;
    }
    if (g.common_from >= g.common_to)
        g.common_from = g.common_to = SEGMENT;
    return g;
}

/* Queries are shared evenly among as few groups as there must be. */
static void make_groups(struct tile *t)
{
    t->groups = (t->n + GROUP_MAX - 1) / GROUP_MAX;
    for (size_t j = 0; j < t->groups; j++)
        t->group[j] = group_of(t, j * t->n / t->groups, (j + 1) * t->n / t->groups);
}

/* Into the second-level cache, where it will be wanted soon. */
static void fetch(const uint8_t *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64)
        fetch_line(from + i, true);
}

static void score(const struct tile *t)
{
    const size_t block_bytes = hearth_cache_block_bytes(t->kind->format, t->head_dim);
    const struct group all = group_of(t, 0, t->n);
    for (size_t block = all.from / BLOCK; block * BLOCK < all.to; block++) {
        const void *keys = t->kind->keys(t->scratch, t->k + block * block_bytes, t->head_dim);
        if (t->groups > 1 && !t->kind->scores_fetch) { /* work enough for it to arrive meanwhile */
            fetch(t->k + (block + 1) * block_bytes, block_bytes);
            fetch(t->v + block * block_bytes, block_bytes);
        }
        for (size_t j = 0; j < t->groups; j++) {
            const struct group *g = &t->group[j];
            if (g->from < (block + 1) * BLOCK && g->to > block * BLOCK)
                t->kind->scores(g, keys, block * BLOCK, t->head_dim, t->scale);
        }
    }
}

static size_t first_block(const struct tile *t, size_t i)
{
    return t->from[i] / BLOCK;
}

static size_t end_block(const struct tile *t, size_t i)
{
    return (t->to[i] + (size_t)BLOCK - 1) / BLOCK;
}

static void cap_scores(const struct tile *t, float *s, size_t begin, size_t end)
{
    for (size_t p = begin; p < end; p += 16)
        vec16_store(s + p, capped(vec16_load(s + p), vec16_set1(t->softcap)));
}

/* The maximum after each block, and what it is less than the one before; nothing where the first block begins. Positions outside
 * the range get the least score. */
static void find_maxima(struct tile *t, size_t i)
{
    float *s = t->s + i * SEGMENT;
    float *max = t->max + i * SEGMENT_BLOCKS;
    float *difference = t->factor + i * SEGMENT_BLOCKS;
    const size_t first = first_block(t, i);
    const size_t end = end_block(t, i);
    if (t->softcap > 0)
        cap_scores(t, s, first * BLOCK, end * BLOCK);
    for (size_t p = first * BLOCK; p < t->from[i]; p++)
        s[p] = -HUGE_VALF;
    for (size_t p = t->to[i]; p < end * BLOCK; p++)
        s[p] = -HUGE_VALF;
    float greatest = -HUGE_VALF;
    for (size_t block = 0; block < SEGMENT_BLOCKS; block++)
        difference[block] = 0.0f;
    for (size_t block = first; block < end; block++) {
        const float before = greatest;
        const float block_max = vec16_greatest(vec16_max(vec16_load(s + block * BLOCK), vec16_load(s + block * BLOCK + 16)));
        greatest = block_max > greatest ? block_max : greatest;
        difference[block] = block > first ? before - greatest : 0.0f;
        max[block] = greatest;
    }
    t->query[i].ml[0] = greatest + 0.0f; /* zero is +0 whichever lane held it */
}

/* What sums and outputs are multiplied by where a block begins: exp(maximum before - after). Where it does not grow this is exp(0),
 * exactly 1, and a product with 1 changes nothing. */
static void find_factors(struct tile *t)
{
    for (size_t i = 0; i < t->n * SEGMENT_BLOCKS; i += 16)
        vec16_store(t->factor + i, vec16_exp_not_great(vec16_load(t->factor + i)));
}

/* Weights from scores: exp(score - maximum), +0 outside the range. */
static void weigh(struct tile *t, size_t i)
{
    const float *max = t->max + i * SEGMENT_BLOCKS;
    const float *factor = t->factor + i * SEGMENT_BLOCKS;
    vec16 sums = vec16_zero();
    for (size_t block = first_block(t, i); block < end_block(t, i); block++) {
        float *e = t->s + i * SEGMENT + block * BLOCK;
        const vec16 a = vec16_exp_not_great(vec16_sub(vec16_load(e), vec16_set1(max[block])));
        const vec16 b = vec16_exp_not_great(vec16_sub(vec16_load(e + 16), vec16_set1(max[block])));
        sums = vec16_mul(sums, vec16_set1(factor[block]));
        sums = vec16_add(vec16_add(sums, a), b); /* +0 from positions outside changes nothing */
        vec16_store(e, a);
        vec16_store(e + 16, b);
    }
    t->query[i].ml[1] = vec16_sum(sums);
}

/* Step by step for all queries, so that one's does not wait for another's. */
static void weigh_all(struct tile *t)
{
    for (size_t i = 0; i < t->n; i++)
        find_maxima(t, i);
    find_factors(t);
    for (size_t i = 0; i < t->n; i++)
        weigh(t, i);
}

/* Positions from ... to-1 of one query. */
static void add_alone(const struct tile *t, const struct group *g, size_t i, size_t from, size_t to)
{
    if (from >= to)
        return;
    struct group alone = *g;
    alone.query += i;
    alone.s += i * SEGMENT;
    alone.factor += i * SEGMENT_BLOCKS;
    alone.n = 1;
    t->kind->add(&alone, t->scratch, t->v, t->head_dim, from, to);
}

/* What all queries of a group have in common. */
static void add_common(const struct tile *t)
{
    const struct group all = group_of(t, 0, t->n);
    if (t->groups == 1 || !t->kind->slice) {
        for (size_t j = 0; j < t->groups; j++)
            t->kind->add(&t->group[j], t->scratch, t->v, t->head_dim, t->group[j].common_from, t->group[j].common_to);
        return;
    }
    for (size_t d = 0; d < t->head_dim; d += SLICE) {
        const size_t n = d + SLICE <= t->head_dim ? SLICE : t->head_dim - d;
        t->kind->slice(t->scratch, t->v, t->head_dim, d, n, all.from, all.to);
        for (size_t j = 0; j < t->groups; j++)
            add_slice(&t->group[j], t->scratch, d, n, t->group[j].common_from, t->group[j].common_to);
    }
}

/* What all queries of a group have in common goes together, the ends of each one alone: a position that is not a query's own must
 * not touch its outputs, for it may hold anything, and adding even a zero may turn the sign of another. */
static void add_all(const struct tile *t)
{
    for (const struct group *g = t->group; g < t->group + t->groups; g++)
        for (size_t i = 0; i < g->n; i++) {
            const size_t at = (size_t)(g->query - t->query) + i;
            add_alone(t, g, i, t->from[at], t->to[at] < g->common_from ? t->to[at] : g->common_from);
        }
    add_common(t);
    for (const struct group *g = t->group; g < t->group + t->groups; g++)
        for (size_t i = 0; i < g->n; i++) {
            const size_t at = (size_t)(g->query - t->query) + i;
            add_alone(t, g, i, t->from[at] > g->common_to ? t->from[at] : g->common_to, t->to[at]);
        }
}

/* Sixteen dimensions of all queries after each other, so that those of a group are near one pointer. */
static void pack_queries(const struct tile *t)
{
    const size_t whole = t->head_dim / 16 * 16;
    for (size_t i = 0; i < t->n; i++) {
        const float *from = t->query[i].q;
        float *to = t->q + i * 16;
        for (size_t d = 0; d < whole; d += 16)
            vec16_store(to + d * t->n, vec16_load(from + d));
        if (whole < t->head_dim)
            vec16_store(to + whole * t->n, vec16_load_partial(from + whole, t->head_dim - whole));
    }
}

static void attention(const struct cache_kind *kind, const struct hearth_attention_query *queries, size_t n, const void *k,
                      const void *v, size_t head_dim, float scale, float softcap, size_t l1_bytes, float *scratch)
{
    const size_t segment = queries[0].begin / SEGMENT;
    const size_t segment_bytes = segment * SEGMENT_BLOCKS * hearth_cache_block_bytes(kind->format, head_dim);
    struct tile t;
    t.kind = kind;
    t.query = queries;
    t.k = (const uint8_t *)k + segment_bytes;
    t.v = (const uint8_t *)v + segment_bytes;
    t.later = NULL;
    t.second = l1_bytes < L1_ROOM;
    t.n = n;
    t.head_dim = head_dim;
    t.scale = scale;
    t.softcap = softcap;
    t.s = scratch;
    t.q = t.s + n * SEGMENT;
    t.scratch = t.q + n * hearth_attention_query_floats(head_dim);
    for (size_t i = 0; i < n; i++) {
        t.from[i] = (uint16_t)(queries[i].begin - segment * SEGMENT);
        t.to[i] = (uint16_t)(queries[i].end - segment * SEGMENT);
        if (kind->values_last && t.to[i] == SEGMENT) /* there may be a next one */
            t.later = t.k + SEGMENT_BLOCKS * hearth_cache_block_bytes(kind->format, head_dim);
        memset(queries[i].o, 0, head_dim * sizeof(float));
    }
    if (kind->format != HEARTH_Q8_0)
        pack_queries(&t);
    make_groups(&t);
    score(&t);
    weigh_all(&t);
    add_all(&t);
}
