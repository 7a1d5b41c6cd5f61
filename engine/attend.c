/* Attention over the cache of keys and values: writing it, and dividing the walks over it among the workers; see forward.h.
 *
 * The queries of a KV head, a group of heads for each token, are cut into tiles; a tile walks over its segments upwards, beginning
 * with the first that its layer's window leaves it, and merges each into what it has. A few tokens give few tiles, too few for many
 * workers: then the segments of a tile are cut into runs as well, the state of every segment is kept, and whoever ends the last run
 * of a tile merges them in the same order. */
#include "forward.h"
#include "share.h"
#include <string.h>

#define PIECES_PER_WORKER 8u /* enough that who is late leaves little behind */
#define TILE_LEAST 8u        /* queries: fewer do not share enough */

/* ---- The cache ------------------------------------------------------------------------------------------------------ */

static const struct hearth_kv_layer *layer_of(const struct hearth_step *s)
{
    return &s->batch->cache->layers[s->layer];
}

static uint8_t *head_of(const struct hearth_step *s, uint8_t *base, uint32_t kv_head)
{
    return base + layer_of(s)->at + kv_head * layer_of(s)->head_bytes;
}

static size_t rounded_dim(const struct hearth_hparams *h)
{
    return hearth_cache_groups(h->head_dim) * 32;
}

/* The worker's scratch. Where parts of it have their own use: what the kernel needs, outputs of a segment beside those merged so
 * far, quantized queries. A key or a value being stored takes from the front. */
static uint8_t *scratch_of(const struct hearth_step *s)
{
    const struct hearth_buffers *b = s->batch->buffers;
    return b->scratch + s->worker * b->scratch_layout.bytes + b->scratch_layout.attend;
}

static hearth_to_f16_fn *to_f16_of(const struct hearth_step *s)
{
    return s->batch->kernels->chosen[HEARTH_OP_TO_F16][0]->to_f16;
}

/* Blocks of Q8_0, zeros behind the last dimension; NULL when an element is not finite or too large. */
static const uint8_t *quantize_head(const struct hearth_step *s, const float *x)
{
    const struct hearth_hparams *h = &s->batch->model->hparams;
    const size_t n = rounded_dim(h);
    float *padded = (float *)(void *)scratch_of(s);
    uint8_t *blocks = scratch_of(s) + n * sizeof *padded;
    memcpy(padded, x, h->head_dim * sizeof *x);
    memset(padded + h->head_dim, 0, (n - h->head_dim) * sizeof *padded);
    return s->batch->kernels->chosen[HEARTH_OP_QUANTIZE_Q8_0][0]->quantize(blocks, 0, padded, 0, n) ? blocks : NULL;
}

/* The codes in fours, then the scale, of each group. */
static bool store_key_q8_0(const struct hearth_step *s, uint8_t *group, size_t lane, const float *key)
{
    const uint8_t *block = quantize_head(s, key);
    const size_t groups = hearth_cache_groups(s->batch->model->hparams.head_dim);
    for (size_t j = 0; block && j < groups; j++, block += 34, group += HEARTH_CACHE_GROUP_BYTES) {
        for (size_t c = 0; c < 8; c++)
            memcpy(group + (c * HEARTH_KEY_BLOCK + lane) * 4, block + 2 + 4 * c, 4);
        memcpy(group + 32 * HEARTH_KEY_BLOCK + 2 * lane, block, 2);
    }
    return block != NULL;
}

/* All codes, then all scales. */
static bool store_value_q8_0(const struct hearth_step *s, uint8_t *row, const float *value)
{
    const uint8_t *block = quantize_head(s, value);
    const size_t groups = hearth_cache_groups(s->batch->model->hparams.head_dim);
    for (size_t j = 0; block && j < groups; j++, block += 34) {
        memcpy(row + 32 * j, block + 2, 32);
        memcpy(row + 32 * groups + 2 * j, block, 2);
    }
    return block != NULL;
}

static uint8_t *block_of(const struct hearth_step *s, uint8_t *base, uint32_t kv_head, uint32_t slot)
{
    const size_t bytes = hearth_cache_block_bytes(s->batch->cache->format, s->batch->model->hparams.head_dim);
    return head_of(s, base, kv_head) + slot / HEARTH_KEY_BLOCK * bytes;
}

bool hearth_attend_store_key(const struct hearth_step *s, uint32_t kv_head, uint32_t position, const float *key)
{
    const struct hearth_kv_cache *cache = s->batch->cache;
    const size_t d = s->batch->model->hparams.head_dim;
    const uint32_t slot = position % layer_of(s)->slots;
    const size_t lane = slot % HEARTH_KEY_BLOCK;
    uint8_t *block = block_of(s, cache->keys, kv_head, slot);
    if (cache->format == HEARTH_Q8_0)
        return store_key_q8_0(s, block, lane, key);
    if (cache->format == HEARTH_F32) {
        for (size_t i = 0; i < d; i++)
            memcpy(block + (i * HEARTH_KEY_BLOCK + lane) * sizeof *key, &key[i], sizeof *key);
        return true;
    }
    uint16_t *halves = (uint16_t *)(void *)scratch_of(s);
    to_f16_of(s)(halves, key, d);
    for (size_t i = 0; i < d; i++)
        memcpy(block + (i * HEARTH_KEY_BLOCK + lane) * sizeof *halves, &halves[i], sizeof *halves);
    return true;
}

bool hearth_attend_store_value(const struct hearth_step *s, uint32_t kv_head, uint32_t position, const float *value)
{
    const struct hearth_kv_cache *cache = s->batch->cache;
    const size_t d = s->batch->model->hparams.head_dim;
    const size_t row_bytes = hearth_cache_block_bytes(cache->format, d) / HEARTH_KEY_BLOCK;
    const uint32_t slot = position % layer_of(s)->slots;
    uint8_t *row = block_of(s, cache->values, kv_head, slot) + slot % HEARTH_KEY_BLOCK * row_bytes;
    if (cache->format == HEARTH_Q8_0)
        return store_value_q8_0(s, row, value);
    if (cache->format == HEARTH_F32)
        memcpy(row, value, d * sizeof *value);
    else
        to_f16_of(s)((uint16_t *)(void *)row, value, d);
    return true;
}

/* ---- What is seen --------------------------------------------------------------------------------------------------- */

/* The first position that a query at `position` sees. */
static uint32_t first_seen(const struct hearth_step *s, uint32_t position)
{
    const uint32_t window = layer_of(s)->window;
    return window > 0 && position >= window ? position - window + 1 : 0;
}

static uint32_t segment_of(size_t position)
{
    return (uint32_t)(position / HEARTH_SEGMENT);
}

/* The segments that any token of the batch sees. */
static struct hearth_range segments_of_batch(const struct hearth_step *s)
{
    const struct hearth_batch *b = s->batch;
    return (struct hearth_range){segment_of(first_seen(s, b->position)), segment_of(b->position + b->n - 1) + 1};
}

/* ---- Memory --------------------------------------------------------------------------------------------------------- */

static size_t kernel_scratch_bytes(const struct hearth_hparams *h)
{
    return hearth_attention_scratch_bytes(h->head_dim, HEARTH_ATTENTION_QUERIES);
}

static size_t outputs_bytes(const struct hearth_hparams *h)
{
    return HEARTH_ATTENTION_QUERIES * rounded_dim(h) * sizeof(float);
}

static size_t query_bytes(const struct hearth_hparams *h)
{
    return hearth_activation_bytes(HEARTH_ACTIVATION_Q8_32, rounded_dim(h));
}

uint64_t hearth_attend_scratch_bytes(const struct hearth_hparams *h)
{
    return kernel_scratch_bytes(h) + outputs_bytes(h) + HEARTH_ATTENTION_QUERIES * query_bytes(h);
}

/* Floats of a kept state: outputs, then maximum and sum, on cache lines of its own. */
static size_t state_floats(const struct hearth_hparams *h)
{
    return rounded_dim(h) + 16;
}

static uint32_t split_queries(const struct hearth_hparams *h)
{
    const uint32_t most = HEARTH_ATTEND_SPLIT_TOKENS * (h->n_head / h->n_head_kv);
    return most < HEARTH_ATTENTION_QUERIES ? most : HEARTH_ATTENTION_QUERIES;
}

uint64_t hearth_attend_state_bytes(const struct hearth_hparams *h, uint32_t n_segments)
{
    return (uint64_t)split_queries(h) * n_segments * state_floats(h) * sizeof(float);
}

/* ---- Tiles ---------------------------------------------------------------------------------------------------------- */

/* Queries of one KV head: number i is head i % group of token i / group, so what they see, begin ... end-1, only moves on. */
struct tile {
    const struct hearth_step *step;
    uint32_t kv_head, n;
    struct hearth_attention_query query[HEARTH_ATTENTION_QUERIES];
    float *out[HEARTH_ATTENTION_QUERIES]; /* where the outputs belong */
    float ml[HEARTH_ATTENTION_QUERIES][2];
};

/* The query for a Q8_0 cache, or as it is. */
static const void *prepare_query(const struct hearth_step *s, const float *q, uint32_t i, bool *finite)
{
    const struct hearth_batch *b = s->batch;
    const struct hearth_hparams *h = &b->model->hparams;
    if (b->cache->format != HEARTH_Q8_0)
        return q;
    float *padded = (float *)(void *)scratch_of(s); /* the kernel's, not in use yet */
    uint8_t *row = scratch_of(s) + kernel_scratch_bytes(h) + outputs_bytes(h) + i * query_bytes(h);
    memcpy(padded, q, h->head_dim * sizeof *q);
    memset(padded + h->head_dim, 0, (rounded_dim(h) - h->head_dim) * sizeof *q);
    if (!b->kernels->chosen[HEARTH_OP_QUANTIZE_Q8_32][0]->quantize(row, HEARTH_UNIT_BYTES, padded, 0, rounded_dim(h)))
        *finite = false;
    return row;
}

/* false: a query has a number that is not finite. */
static bool tile_make(struct tile *t, const struct hearth_step *s, uint32_t kv_head, struct hearth_range queries)
{
    const struct hearth_batch *b = s->batch;
    const struct hearth_hparams *h = &b->model->hparams;
    const uint32_t group = h->n_head / h->n_head_kv;
    bool finite = true;
    t->step = s;
    t->kv_head = kv_head;
    t->n = queries.end - queries.begin;
    for (uint32_t i = 0; i < t->n; i++) {
        const uint32_t token = (queries.begin + i) / group;
        const size_t head = kv_head * group + (queries.begin + i) % group;
        const size_t at = ((size_t)token * h->n_head + head) * h->head_dim;
        t->query[i].q = prepare_query(s, b->buffers->q + at, i, &finite);
        t->query[i].begin = first_seen(s, b->position + token);
        t->query[i].end = (size_t)b->position + token + 1;
        t->out[i] = b->buffers->attended + at;
    }
    return finite;
}

static size_t tile_end(const struct tile *t)
{
    return t->query[t->n - 1].end;
}

/* Some queries over one segment; their o and ml are set. The kernel is told slots: a segment lies in one piece. */
static void walk_segment(const struct tile *t, struct hearth_range queries, size_t begin)
{
    const struct hearth_batch *b = t->step->batch;
    const struct hearth_hparams *h = &b->model->hparams;
    const uint32_t slots = layer_of(t->step)->slots;
    struct hearth_attention_query query[HEARTH_ATTENTION_QUERIES];
    for (uint32_t i = queries.begin; i < queries.end; i++) {
        query[i] = t->query[i];
        query[i].begin = query[i].begin > begin ? query[i].begin : begin;
        query[i].end = query[i].end < begin + HEARTH_SEGMENT ? query[i].end : begin + HEARTH_SEGMENT;
        query[i].begin -= begin - begin % slots;
        query[i].end -= begin - begin % slots;
    }
    b->kernels->chosen[HEARTH_OP_ATTENTION][b->cache->format]->attention(
        query + queries.begin, queries.end - queries.begin, head_of(t->step, b->cache->keys, t->kv_head),
        head_of(t->step, b->cache->values, t->kv_head), h->head_dim, h->attention_scale, h->attention_softcap, b->l1_bytes,
        scratch_of(t->step));
}

/* The queries that see something of the segment that begins here. */
static struct hearth_range those_that_see(const struct tile *t, size_t begin)
{
    struct hearth_range queries = {0, t->n};
    while (queries.begin < t->n && t->query[queries.begin].end <= begin)
        queries.begin++;
    while (queries.end > queries.begin && t->query[queries.end - 1].begin >= begin + HEARTH_SEGMENT)
        queries.end--;
    return queries;
}

static hearth_attention_merge_fn *merge_of(const struct tile *t)
{
    return t->step->batch->kernels->chosen[HEARTH_OP_ATTENTION_MERGE][0]->attention_merge;
}

/* All segments upwards, merged on the way. */
static void walk_tile(struct tile *t)
{
    const struct hearth_hparams *h = &t->step->batch->model->hparams;
    float *outputs = (float *)(void *)(scratch_of(t->step) + kernel_scratch_bytes(h));
    float ml[HEARTH_ATTENTION_QUERIES][2];
    /* NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): a tile has at least one query */
    for (size_t segment = segment_of(t->query[0].begin); segment * HEARTH_SEGMENT < tile_end(t); segment++) {
        const struct hearth_range seen = those_that_see(t, segment * HEARTH_SEGMENT);
        for (uint32_t i = seen.begin; i < seen.end; i++) {
            const bool first = segment == segment_of(t->query[i].begin);
            t->query[i].o = first ? t->out[i] : outputs + i * rounded_dim(h);
            t->query[i].ml = first ? t->ml[i] : ml[i];
        }
        walk_segment(t, seen, segment * HEARTH_SEGMENT);
        for (uint32_t i = seen.begin; i < seen.end; i++)
            if (t->query[i].o != t->out[i])
                merge_of(t)(t->out[i], t->ml[i], t->query[i].o, t->query[i].ml, h->head_dim);
    }
    for (uint32_t i = 0; i < t->n; i++)
        merge_of(t)(t->out[i], t->ml[i], NULL, NULL, h->head_dim);
}

/* ---- Runs of segments ----------------------------------------------------------------------------------------------- */

/* Of query i, over a segment that lies in one of the runs. */
static float *state_of(const struct tile *t, uint32_t i, uint32_t segment)
{
    const struct hearth_batch *b = t->step->batch;
    const struct hearth_range all = segments_of_batch(t->step);
    return b->buffers->attend_states +
           (((size_t)t->kv_head * t->n + i) * (all.end - all.begin) + segment - all.begin) * state_floats(&b->model->hparams);
}

static void walk_run(struct tile *t, struct hearth_range segments)
{
    const size_t ml = rounded_dim(&t->step->batch->model->hparams);
    for (uint32_t segment = segments.begin; segment < segments.end; segment++) {
        const struct hearth_range seen = those_that_see(t, (size_t)segment * HEARTH_SEGMENT);
        for (uint32_t i = seen.begin; i < seen.end; i++) {
            t->query[i].o = state_of(t, i, segment);
            t->query[i].ml = t->query[i].o + ml;
        }
        walk_segment(t, seen, (size_t)segment * HEARTH_SEGMENT);
    }
}

static void merge_runs(struct tile *t)
{
    const struct hearth_hparams *h = &t->step->batch->model->hparams;
    const size_t ml = rounded_dim(h);
    for (uint32_t i = 0; i < t->n; i++) {
        const uint32_t first = segment_of(t->query[i].begin);
        memcpy(t->out[i], state_of(t, i, first), h->head_dim * sizeof(float));
        memcpy(t->ml[i], state_of(t, i, first) + ml, sizeof t->ml[i]);
        for (uint32_t segment = first + 1; (size_t)segment * HEARTH_SEGMENT < t->query[i].end; segment++)
            merge_of(t)(t->out[i], t->ml[i], state_of(t, i, segment), state_of(t, i, segment) + ml, h->head_dim);
        merge_of(t)(t->out[i], t->ml[i], NULL, NULL, h->head_dim);
    }
}

/* Whether this was the last of a tile's runs. The counter is 0 again then, and nobody looks at it before the barrier. */
static bool last_run(const struct tile *t, uint32_t runs)
{
    _Atomic uint32_t *done = &t->step->batch->buffers->attend_done[t->kv_head];
    if (atomic_fetch_add_explicit(done, 1, memory_order_acq_rel) + 1 < runs)
        return false;
    atomic_store_explicit(done, 0, memory_order_relaxed);
    return true;
}

/* ---- The step ------------------------------------------------------------------------------------------------------- */

/* How the work of a layer is cut: every KV head into tiles, or its one tile into runs. */
struct division {
    uint32_t queries; /* of a KV head */
    uint32_t tiles, runs;
    struct hearth_range segments;
};

static uint32_t divide_up(uint32_t a, uint32_t b)
{
    return (a + b - 1) / b;
}

static struct division divide(const struct hearth_step *s)
{
    const struct hearth_batch *b = s->batch;
    const struct hearth_hparams *h = &b->model->hparams;
    const uint32_t pieces = divide_up(s->workers * PIECES_PER_WORKER, h->n_head_kv); /* wanted of each head */
    struct division d = {.queries = b->n * (h->n_head / h->n_head_kv), .segments = segments_of_batch(s), .runs = 1};
    const uint32_t n_segments = d.segments.end - d.segments.begin;
    if (d.queries <= split_queries(h)) {
        d.tiles = 1;
        d.runs = pieces < n_segments ? pieces : n_segments;
        return d;
    }
    const uint32_t least = divide_up(d.queries, HEARTH_ATTENTION_QUERIES);
    const uint32_t most = divide_up(d.queries, TILE_LEAST);
    d.tiles = pieces < least ? least : pieces < most ? pieces : most;
    return d;
}

static bool do_piece(const struct hearth_step *s, const struct division *d, uint32_t piece)
{
    struct tile t;
    const uint32_t kv_head = piece / (d->tiles * d->runs);
    const uint32_t part = piece % (d->tiles * d->runs);
    const bool finite =
        tile_make(&t, s, kv_head, d->runs > 1 ? (struct hearth_range){0, d->queries} : hearth_share(d->queries, part, d->tiles));
    if (d->runs == 1) {
        walk_tile(&t);
        return finite;
    }
    struct hearth_range run = hearth_share(d->segments.end - d->segments.begin, part, d->runs);
    run.begin += d->segments.begin;
    run.end += d->segments.begin;
    walk_run(&t, run);
    if (last_run(&t, d->runs))
        merge_runs(&t);
    return finite;
}

bool hearth_attend(struct hearth_step *s)
{
    const struct division d = divide(s);
    struct hearth_claims claims = {.counters = s->batch->buffers->claims,
                                   .step = ++s->steps,
                                   .worker = s->worker,
                                   .workers = s->workers,
                                   .n = s->batch->model->hparams.n_head_kv * d.tiles * d.runs,
                                   .piece = 1};
    struct hearth_range pieces; /* head by head: a worker keeps to its keys */
    bool finite = true;
    while (hearth_claim_next(&claims, &pieces))
        for (uint32_t i = pieces.begin; i < pieces.end; i++)
            finite = do_piece(s, &d, i) && finite;
    return finite;
}
