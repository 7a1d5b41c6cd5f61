/* The forward pass; see forward.h. */
#include "forward.h"
#include "common/checked.h"
#include "common/real.h"
#include "common/status.h"
#include "share.h"

/* What can fail, in the order it runs within a layer. */
enum operation { NORM, ATTENTION, FEED_FORWARD, OUTPUT, OPERATION_COUNT };
static const char *const operation_names[OPERATION_COUNT] = {"the normalised input", "the attention output",
                                                             "the feed-forward product", "the logits"};

/* Keep the earliest place, so that the message does not depend on the number of threads. */
static void report(struct hearth_step *s, enum operation operation)
{
    const uint32_t place = 1 + s->layer * OPERATION_COUNT + (uint32_t)operation;
    uint32_t seen = atomic_load(&s->batch->failure);
    while ((seen == 0 || place < seen) && !atomic_compare_exchange_weak(&s->batch->failure, &seen, place))
        ;
}

static enum hearth_activation activation_of(const struct hearth_matrix *m)
{
    return hearth_format_info(m->format)->activation;
}

static uint8_t *worker_scratch(const struct hearth_step *s)
{
    return s->batch->buffers->scratch + s->worker * s->batch->buffers->scratch_bytes;
}

uint32_t hearth_forward_widest(const struct hearth_description *model)
{
    const struct hearth_hparams *h = &model->hparams;
    uint32_t widest = h->n_embd;
    if (h->n_head * h->head_dim > widest)
        widest = h->n_head * h->head_dim;
    return h->n_ff > widest ? h->n_ff : widest;
}

/* One row of floats, or one row of file blocks of the tied embedding, or one attention segment: never two at once. */
uint64_t hearth_forward_scratch_bytes(const struct hearth_description *model)
{
    uint64_t most = hearth_forward_widest(model) * sizeof(float);
    const uint64_t embedding_row = hearth_row_bytes(model->output.format, model->output.k);
    return hearth_align(most > embedding_row ? most : embedding_row, 64);
}

void hearth_step_barrier(struct hearth_step *s)
{
    hearth_pool_barrier(s->batch->pool, s->worker);
}

/* ---- Embedding and angles ------------------------------------------------------------------------------------------- */

void hearth_rope_frequencies(double *out, const struct hearth_hparams *h, const float *rope_freqs)
{
    const double log_base = hearth_log64((double)h->rope_freq_base);
    for (uint32_t i = 0; i < h->n_rot / 2; i++) {
        const double inverse = hearth_exp64(-2.0 * (double)i / (double)h->n_rot * log_base);
        out[i] = inverse / (rope_freqs ? (double)rope_freqs[i] : 1.0) * (double)h->rope_scale;
    }
}

static void fill_angles(const struct hearth_step *s, uint32_t t)
{
    const struct hearth_batch *b = s->batch;
    const uint32_t half = b->model->hparams.n_rot / 2;
    float *cosines = b->buffers->angles + (size_t)t * 2 * half;
    float *sines = cosines + half;
    for (uint32_t i = 0; i < half; i++) {
        double sine;
        double cosine;
        hearth_sincos64((double)(b->position + t) * b->rope_frequencies[i], &sine, &cosine);
        cosines[i] = (float)cosine;
        sines[i] = (float)sine;
    }
}

static void look_up(const struct hearth_step *s, float *out, uint32_t id)
{
    const struct hearth_description *m = s->batch->model;
    const struct hearth_table *table = &m->embedding;
    if (table->rows) {
        const struct hearth_kernel *kernel = s->batch->kernels->chosen[HEARTH_OP_DEQUANTIZE][table->format];
        kernel->dequantize(out, table->bytes + id * hearth_row_bytes(table->format, table->k), table->k);
        return;
    }
    const struct hearth_matrix *tied = &m->output;
    const struct hearth_kernel *kernel = s->batch->kernels->chosen[HEARTH_OP_DEQUANTIZE][tied->format];
    const uint32_t tile_rows = (uint32_t)tied->kernel->matmul.tile_rows;
    uint8_t *file_row = worker_scratch(s);
    tied->kernel->matmul.unpack(file_row, tied->packed + (uint64_t)(id / tile_rows) * tied->kernel->matmul.tile_bytes(tied->k),
                                id % tile_rows, tied->k);
    kernel->dequantize(out, file_row, tied->k);
}

void hearth_step_embed(struct hearth_step *s)
{
    const struct hearth_batch *b = s->batch;
    const uint32_t n_embd = b->model->hparams.n_embd;
    const struct hearth_range mine = hearth_share(b->n, s->worker, s->workers);
    for (uint32_t t = mine.begin; t < mine.end; t++) {
        look_up(s, b->buffers->x + (size_t)t * n_embd, (uint32_t)b->ids[t]);
        fill_angles(s, t);
    }
    hearth_step_barrier(s);
}

/* ---- Inputs of products --------------------------------------------------------------------------------------------- */

/* Which kinds of rows do these matrices take? */
static void wanted_kinds(bool wanted[HEARTH_ACTIVATION_COUNT], const struct hearth_matrix *a, const struct hearth_matrix *b,
                         const struct hearth_matrix *c)
{
    memset(wanted, 0, HEARTH_ACTIVATION_COUNT * sizeof(bool));
    if (a)
        wanted[activation_of(a)] = true;
    if (b)
        wanted[activation_of(b)] = true;
    if (c)
        wanted[activation_of(c)] = true;
}

static void use_own_rows(struct hearth_step *s, enum hearth_activation kind, size_t k)
{
    s->input[kind] = s->batch->buffers->rows[kind];
    s->input_stride[kind] = hearth_activation_bytes(kind, k);
}

/* Quantize row t of k floats into the wanted kinds of integer rows. */
static void quantize_row(struct hearth_step *s, const bool wanted[HEARTH_ACTIVATION_COUNT], const float *x, uint32_t t, size_t k,
                         enum operation operation)
{
    static const struct {
        enum hearth_activation kind;
        enum hearth_op op;
    } quantizers[] = {{HEARTH_ACTIVATION_Q8_32, HEARTH_OP_QUANTIZE_Q8_32}, {HEARTH_ACTIVATION_Q8_256, HEARTH_OP_QUANTIZE_Q8_256}};
    for (size_t i = 0; i < 2; i++) {
        if (!wanted[quantizers[i].kind])
            continue;
        uint8_t *row = s->batch->buffers->rows[quantizers[i].kind] + t * hearth_activation_bytes(quantizers[i].kind, k);
        if (!s->batch->kernels->chosen[quantizers[i].op][0]->quantize(row, x, k, 0, k))
            report(s, operation);
    }
}

static void norm_rows(struct hearth_step *s, const struct hearth_vector *weight, const bool wanted[HEARTH_ACTIVATION_COUNT],
                      uint32_t first, uint32_t n)
{
    const struct hearth_batch *b = s->batch;
    const size_t k = b->model->hparams.n_embd;
    for (int kind = 0; kind < HEARTH_ACTIVATION_COUNT; kind++)
        if (wanted[kind])
            use_own_rows(s, (enum hearth_activation)kind, k);
    const struct hearth_range mine = hearth_share(n, s->worker, s->workers);
    for (uint32_t t = mine.begin; t < mine.end; t++) {
        float *normed =
            wanted[HEARTH_ACTIVATION_F32]
                ? (float *)(void *)(b->buffers->rows[HEARTH_ACTIVATION_F32] + t * s->input_stride[HEARTH_ACTIVATION_F32])
                : (float *)(void *)worker_scratch(s);
        b->kernels->chosen[HEARTH_OP_RMS_NORM][0]->rms_norm(normed, b->buffers->x + (first + t) * k, weight->values, k,
                                                            b->model->hparams.rms_eps);
        quantize_row(s, wanted, normed, t, k, NORM);
    }
    hearth_step_barrier(s);
}

void hearth_step_norm(struct hearth_step *s, const struct hearth_vector *weight, const struct hearth_matrix *a,
                      const struct hearth_matrix *b, const struct hearth_matrix *c)
{
    bool wanted[HEARTH_ACTIVATION_COUNT];
    wanted_kinds(wanted, a, b, c);
    norm_rows(s, weight, wanted, 0, s->batch->n);
}

/* Make all rows of x, which all workers have finished, the input of `next`. Floats are taken where they lie. Barrier. */
static void input_from(struct hearth_step *s, const float *x, size_t k, const struct hearth_matrix *next, enum operation operation)
{
    const enum hearth_activation kind = activation_of(next);
    if (kind == HEARTH_ACTIVATION_F32) {
        s->input[kind] = x;
        s->input_stride[kind] = k * sizeof(float);
        return;
    }
    bool wanted[HEARTH_ACTIVATION_COUNT];
    wanted_kinds(wanted, next, NULL, NULL);
    use_own_rows(s, kind, k);
    const struct hearth_range mine = hearth_share(s->batch->n, s->worker, s->workers);
    for (uint32_t t = mine.begin; t < mine.end; t++)
        quantize_row(s, wanted, x + t * k, t, k, operation);
    hearth_step_barrier(s);
}

/* ---- Products ------------------------------------------------------------------------------------------------------- */

#define PIECES_PER_SHARE 8u /* enough that who is late leaves little behind */

/* Begin to divide n things; a piece has at most `most`. */
static struct hearth_claims claims_of(struct hearth_step *s, uint32_t n, uint32_t most)
{
    const uint32_t piece = n / s->workers / PIECES_PER_SHARE;
    return (struct hearth_claims){.counters = s->batch->buffers->claims,
                                  .step = ++s->steps,
                                  .worker = s->worker,
                                  .workers = s->workers,
                                  .n = n,
                                  .piece = piece < 1      ? 1
                                           : piece < most ? piece
                                                          : most};
}

/* Rows in units: for one token 128 rows at a time, a stream long enough for the prefetchers; for many 64, which stay in the caches.
 */
static struct hearth_claims claims_of_rows(struct hearth_step *s, uint32_t rows, uint32_t n_tokens)
{
    return claims_of(s, (rows + HEARTH_ROW_UNIT - 1) / HEARTH_ROW_UNIT, n_tokens == 1 ? 8 : 4);
}

static bool next_rows(struct hearth_claims *c, uint32_t n_rows, struct hearth_range *rows)
{
    if (!hearth_claim_next(c, rows))
        return false;
    rows->begin *= HEARTH_ROW_UNIT;
    rows->end = rows->end * HEARTH_ROW_UNIT < n_rows ? rows->end * HEARTH_ROW_UNIT : n_rows;
    return true;
}

/* These rows of matrix * input for the first n tokens of the input. */
static void multiply(const struct hearth_step *s, const struct hearth_matrix *m, float *out, size_t out_stride, uint32_t n,
                     struct hearth_range rows)
{
    const enum hearth_activation kind = activation_of(m);
    const uint8_t *tiles = m->packed + (uint64_t)(rows.begin / m->kernel->matmul.tile_rows) * m->kernel->matmul.tile_bytes(m->k);
    m->kernel->matmul.run(out + rows.begin, out_stride, tiles, s->input[kind], s->input_stride[kind], rows.end - rows.begin, m->k,
                          n);
    for (uint32_t t = 0; m->bias && t < n; t++)
        s->batch->kernels->chosen[HEARTH_OP_ADD][0]->add(out + t * out_stride + rows.begin, m->bias + rows.begin,
                                                         rows.end - rows.begin);
}

void hearth_step_project(struct hearth_step *s, const struct hearth_matrix *matrix, float *out, size_t out_stride)
{
    struct hearth_claims claims = claims_of_rows(s, matrix->rows, s->batch->n);
    struct hearth_range rows;
    while (next_rows(&claims, matrix->rows, &rows))
        multiply(s, matrix, out, out_stride, s->batch->n, rows);
}

void hearth_step_project_and_add(struct hearth_step *s, const struct hearth_matrix *matrix)
{
    const struct hearth_batch *b = s->batch;
    const size_t k = b->model->hparams.n_embd;
    struct hearth_claims claims = claims_of_rows(s, matrix->rows, b->n);
    struct hearth_range rows;
    while (next_rows(&claims, matrix->rows, &rows)) {
        multiply(s, matrix, b->buffers->product, k, b->n, rows);
        for (uint32_t t = 0; t < b->n; t++)
            b->kernels->chosen[HEARTH_OP_ADD][0]->add(b->buffers->x + t * k + rows.begin, b->buffers->product + t * k + rows.begin,
                                                      rows.end - rows.begin);
    }
    hearth_step_barrier(s);
}

void hearth_step_gated(struct hearth_step *s, const struct hearth_matrix *gate, const struct hearth_matrix *up,
                       const struct hearth_matrix *next)
{
    const struct hearth_batch *b = s->batch;
    const size_t n_ff = b->model->hparams.n_ff;
    struct hearth_claims claims = claims_of_rows(s, gate->rows, b->n);
    struct hearth_range rows;
    while (next_rows(&claims, gate->rows, &rows)) {
        multiply(s, gate, b->buffers->gate, n_ff, b->n, rows);
        multiply(s, up, b->buffers->up, n_ff, b->n, rows);
        for (uint32_t t = 0; t < b->n; t++) {
            float *out = b->buffers->gate + t * n_ff + rows.begin;
            b->kernels->chosen[HEARTH_OP_SILU_MUL][0]->silu_mul(out, out, b->buffers->up + t * n_ff + rows.begin,
                                                                rows.end - rows.begin);
        }
    }
    hearth_step_barrier(s);
    input_from(s, b->buffers->gate, n_ff, next, FEED_FORWARD);
}

/* ---- Attention ------------------------------------------------------------------------------------------------------ */

static uint8_t *head_of(const struct hearth_step *s, uint8_t *base, uint32_t kv_head)
{
    return base + ((uint64_t)s->layer * s->batch->model->hparams.n_head_kv + kv_head) * s->batch->cache->head_bytes;
}

/* Keys lie transposed in blocks of 32 positions, values row by row (kernels.h). */
static void store(const struct hearth_step *s, uint32_t kv_head, uint32_t position, const float *key, const float *value)
{
    const struct hearth_batch *b = s->batch;
    const size_t d = b->model->hparams.head_dim;
    uint8_t *keys = head_of(s, b->cache->keys, kv_head);
    uint8_t *values = head_of(s, b->cache->values, kv_head);
    const size_t first = position / HEARTH_KEY_BLOCK * d * HEARTH_KEY_BLOCK + position % HEARTH_KEY_BLOCK;
    if (b->cache->format == HEARTH_F32) {
        for (size_t i = 0; i < d; i++)
            ((float *)(void *)keys)[first + i * HEARTH_KEY_BLOCK] = key[i];
        memcpy((float *)(void *)values + position * d, value, d * sizeof(float));
        return;
    }
    hearth_to_f16_fn *to_f16 = b->kernels->chosen[HEARTH_OP_TO_F16][0]->to_f16;
    uint16_t *halves = (uint16_t *)(void *)worker_scratch(s);
    to_f16(halves, key, d);
    for (size_t i = 0; i < d; i++)
        ((uint16_t *)(void *)keys)[first + i * HEARTH_KEY_BLOCK] = halves[i];
    to_f16((uint16_t *)(void *)values + position * d, value, d);
}

void hearth_step_rope_and_store(struct hearth_step *s)
{
    const struct hearth_batch *b = s->batch;
    const struct hearth_hparams *h = &b->model->hparams;
    hearth_rope_fn *rope = b->kernels->chosen[HEARTH_OP_ROPE][0]->rope;
    const size_t d = h->head_dim;
    const uint32_t group = h->n_head / h->n_head_kv;
    const struct hearth_range mine = hearth_share(b->n * h->n_head_kv, s->worker, s->workers);
    for (uint32_t i = mine.begin; i < mine.end; i++) {
        const uint32_t t = i / h->n_head_kv;
        const uint32_t kv_head = i % h->n_head_kv;
        const float *cosines = b->buffers->angles + (size_t)t * h->n_rot;
        const float *sines = cosines + h->n_rot / 2;
        float *key = b->buffers->k + ((size_t)t * h->n_head_kv + kv_head) * d;
        rope(b->buffers->q + ((size_t)t * h->n_head + kv_head * group) * d, group, d, h->n_rot, cosines, sines);
        rope(key, 1, d, h->n_rot, cosines, sines);
        store(s, kv_head, b->position + t, key, b->buffers->v + ((size_t)t * h->n_head_kv + kv_head) * d);
    }
    hearth_step_barrier(s);
}

/* One query over all positions up to its own: segments upwards, merged in that order. */
static void attend(const struct hearth_step *s, uint32_t head, uint32_t t)
{
    const struct hearth_batch *b = s->batch;
    const struct hearth_hparams *h = &b->model->hparams;
    hearth_attention_fn *segment = b->kernels->chosen[HEARTH_OP_ATTENTION][b->cache->format]->attention;
    hearth_attention_merge_fn *merge = b->kernels->chosen[HEARTH_OP_ATTENTION_MERGE][0]->attention_merge;
    const size_t d = h->head_dim;
    const uint32_t kv_head = head / (h->n_head / h->n_head_kv);
    const uint8_t *keys = head_of(s, b->cache->keys, kv_head);
    const uint8_t *values = head_of(s, b->cache->values, kv_head);
    const float *q = b->buffers->q + ((size_t)t * h->n_head + head) * d;
    float *out = b->buffers->attended + ((size_t)t * h->n_head + head) * d;
    const size_t end = (size_t)b->position + t + 1;
    float ml[2];
    segment(out, ml, q, keys, values, d, 0, end < HEARTH_SEGMENT ? end : HEARTH_SEGMENT, h->attention_scale);
    float *next = (float *)(void *)worker_scratch(s);
    for (size_t begin = HEARTH_SEGMENT; begin < end; begin += HEARTH_SEGMENT) {
        float next_ml[2];
        segment(next, next_ml, q, keys, values, d, begin, end - begin < HEARTH_SEGMENT ? end : begin + HEARTH_SEGMENT,
                h->attention_scale);
        merge(out, ml, next, next_ml, d);
    }
    merge(out, ml, NULL, NULL, d);
}

void hearth_step_attend(struct hearth_step *s, const struct hearth_matrix *next)
{
    const struct hearth_batch *b = s->batch;
    const struct hearth_hparams *h = &b->model->hparams;
    struct hearth_claims claims = claims_of(s, h->n_head * b->n, 16); /* head by head: a worker keeps to its keys */
    struct hearth_range items;
    while (hearth_claim_next(&claims, &items))
        for (uint32_t i = items.begin; i < items.end; i++)
            attend(s, i / b->n, i % b->n);
    hearth_step_barrier(s);
    input_from(s, b->buffers->attended, (size_t)h->n_head * h->head_dim, next, ATTENTION);
}

/* ---- Output --------------------------------------------------------------------------------------------------------- */

static bool all_finite(const float *x, size_t n)
{
    uint32_t most = 0;
    for (size_t i = 0; i < n; i++) {
        const uint32_t a = hearth_f32_bits(x[i]) & 0x7fffffffu;
        most = a > most ? a : most;
    }
    return most < 0x7f800000u;
}

void hearth_step_output(struct hearth_step *s)
{
    struct hearth_batch *b = s->batch;
    const struct hearth_matrix *m = &b->model->output;
    if (b->n_logits == 0)
        return;
    bool wanted[HEARTH_ACTIVATION_COUNT];
    wanted_kinds(wanted, m, NULL, NULL);
    norm_rows(s, &b->model->output_norm, wanted, b->n - b->n_logits, b->n_logits);
    const size_t stride = hearth_align(m->rows, HEARTH_LOGITS_STEP);
    struct hearth_claims claims = claims_of_rows(s, m->rows, b->n_logits);
    struct hearth_range rows;
    while (next_rows(&claims, m->rows, &rows)) {
        multiply(s, m, b->buffers->logits, stride, b->n_logits, rows);
        for (uint32_t t = 0; t < b->n_logits; t++)
            if (!all_finite(b->buffers->logits + t * stride + rows.begin, rows.end - rows.begin))
                report(s, OUTPUT);
    }
}

/* ---- The job -------------------------------------------------------------------------------------------------------- */

#define STEPS_PER_LAYER 16u /* at least as many as any architecture shares among workers in a layer */

typedef void arch_fn(struct hearth_step *s);
static arch_fn *const arch_steps[HEARTH_ARCH_COUNT] = {[HEARTH_ARCH_LLAMA] = hearth_arch_llama};

static void run_steps(void *context, uint32_t worker, uint32_t workers)
{
    struct hearth_batch *b = context;
    struct hearth_step step = {.batch = b, .worker = worker, .workers = workers, .steps = b->buffers->steps};
    arch_steps[b->model->hparams.arch](&step);
}

hearth_status hearth_forward(struct hearth_batch *b, hearth_error *err)
{
    atomic_store(&b->failure, 0);
    hearth_pool_run(b->pool, run_steps, b);
    b->buffers->steps += STEPS_PER_LAYER * (b->model->hparams.n_layer + (uint64_t)1);
    const uint32_t failure = atomic_load(&b->failure);
    if (failure == 0)
        return HEARTH_OK;
    const uint32_t layer = (failure - 1) / OPERATION_COUNT;
    const uint32_t operation = (failure - 1) % OPERATION_COUNT;
    if (layer >= b->model->hparams.n_layer)
        return hearth_fail(err, HEARTH_E_INFERENCE, "E_NUM", "inference: %s are not finite at positions %" PRIu32 " to %" PRIu32,
                           operation_names[operation], b->position, b->position + b->n - 1);
    return hearth_fail(err, HEARTH_E_INFERENCE, "E_NUM",
                       "inference: layer %" PRIu32 ": %s is not finite at positions %" PRIu32 " to %" PRIu32, layer,
                       operation_names[operation], b->position, b->position + b->n - 1);
}
