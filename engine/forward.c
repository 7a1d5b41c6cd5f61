/* The forward pass; see forward.h. */
#include "forward.h"
#include "common/checked.h"
#include "common/real.h"
#include "common/status.h"
#include "share.h"
#include <time.h>

/* What can fail, in the order it runs within a layer. */
enum operation { NORM, ATTENTION, ROUTER, FEED_FORWARD, OUTPUT, OPERATION_COUNT };
static const char *const operation_names[OPERATION_COUNT] = {"the normalised input", "the attention output",
                                                             "the choice of experts", "the feed-forward product", "the logits"};

/* Keep the earliest place, so that the message does not depend on the number of threads. */
static void report(const struct hearth_step *s, enum operation operation)
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

/* ---- A worker's own memory ------------------------------------------------------------------------------------------ */

/* Up to this many tokens every worker makes the inputs of the products for itself: it takes some microseconds, and the others need
 * not be waited for. For more the workers divide the tokens, and meet at a barrier. */
#define FEW_TOKENS 4u
/* Results that are worked on at once, in the worker's own memory: of many tokens a block, and of rows a group of activations, the
 * heads of a piece or PIECE_ROWS. */
#define BLOCK_TOKENS 256u
#define GROUP_ROWS 256u
#define PIECE_ROWS 128u
/* OpenBLAS, where it is asked for: from how many tokens on, and how many rows are widened at once. */
#define BLAS_TOKENS 32u
#define BLAS_ROWS 64u
#define PREFETCH_BYTES 4096u /* of the next weights, before a barrier; a prefetch behind their end does no harm */
#define LINE_FLOATS 16u

static bool is_few(uint32_t n_tokens)
{
    return n_tokens <= FEW_TOKENS;
}

static uint32_t block_tokens(uint32_t n_tokens)
{
    return n_tokens < BLOCK_TOKENS ? n_tokens : BLOCK_TOKENS;
}

uint32_t hearth_forward_whole_blocks(uint32_t n_tokens)
{
    return (n_tokens + block_tokens(n_tokens) - 1) / block_tokens(n_tokens) * block_tokens(n_tokens);
}

uint32_t hearth_forward_widest(const struct hearth_description *model)
{
    const struct hearth_hparams *h = &model->hparams;
    const uint32_t widest = hearth_forward_widest_of_x(model);
    return h->n_ff > widest ? h->n_ff : widest;
}

uint32_t hearth_forward_widest_of_x(const struct hearth_description *model)
{
    const struct hearth_hparams *h = &model->hparams;
    return h->n_head * h->head_dim > h->n_embd ? h->n_head * h->head_dim : h->n_embd;
}

/* Whole heads whose rows are whole units, PIECE_ROWS / 2 or more of them where there are as many heads. */
static uint32_t heads_of_piece(const struct hearth_hparams *h)
{
    uint32_t heads = 1;
    while (heads * h->head_dim % HEARTH_ROW_UNIT != 0 || heads * h->head_dim < PIECE_ROWS / 2)
        heads++;
    return heads;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Tokens gathered by expert, as one worker sees them: see group(). */
struct groups {
    const struct hearth_route *routes; /* [n][slots]: those of all workers, or our own if few */
    struct hearth_route *own;          /* [FEW_TOKENS][slots] */
    uint32_t *begin;                   /* [n_expert + 1] of each expert's entries */
    uint32_t *entry;                   /* [n * slots] which route, expert by expert, tokens upwards */
    uint32_t *active;                  /* [n_active] experts that have entries, upwards */
    uint32_t n_active, n_entries, slots;
};

static uint64_t groups_bytes(const struct hearth_hparams *h, uint32_t batch)
{
    const uint64_t slots = hearth_forward_slots(h);
    return hearth_align(
        FEW_TOKENS * slots * sizeof(struct hearth_route) + (2 * (uint64_t)h->n_expert + 1 + batch * slots) * sizeof(uint32_t), 64);
}

void hearth_forward_scratch_layout(struct hearth_scratch_layout *out, const struct hearth_description *model, uint32_t batch,
                                   bool blas)
{
    const uint64_t head_rows = (uint64_t)heads_of_piece(&model->hparams) * model->hparams.head_dim;
    const uint64_t tile = larger(block_tokens(batch) * larger(GROUP_ROWS, head_rows), model->hparams.n_expert) * sizeof(float);
    const uint64_t row =
        larger(hearth_forward_widest(model) * sizeof(float), hearth_row_bytes(model->output.format, model->output.k));
    out->tile = hearth_align(larger(tile, row), 64);
    uint64_t at = 2 * out->tile;
    for (int kind = 0; kind < HEARTH_ACTIVATION_COUNT; kind++) {
        out->rows[kind] = at;
        if (model->uses[kind])
            at += FEW_TOKENS * hearth_activation_bytes((enum hearth_activation)kind, hearth_forward_widest_of_x(model));
    }
    out->hidden = at;
    at += FEW_TOKENS * hearth_forward_slots(&model->hparams) * hearth_forward_hidden_row_bytes(model);
    out->panel = at;
    if (blas && model->uses[HEARTH_ACTIVATION_F32])
        at += (BLAS_ROWS + 1) * hearth_align(hearth_forward_widest(model) * sizeof(float), 64);
    out->experts = at;
    if (model->hparams.n_expert)
        at += groups_bytes(&model->hparams, batch);
    out->attend = at;
    out->bytes = at + hearth_attend_scratch_bytes(&model->hparams);
}

uint32_t hearth_forward_slots(const struct hearth_hparams *h)
{
    return h->n_expert ? h->n_expert_used : 1;
}

bool hearth_forward_experts_take(const struct hearth_description *model, enum hearth_activation kind)
{
    for (uint32_t i = 0; model->hparams.n_expert && i < model->hparams.n_layer; i++)
        if (activation_of(&model->layers[i].gate) == kind || activation_of(&model->layers[i].up) == kind)
            return true;
    return false;
}

/* At most 2^16 tokens times 2^8 experts. */
uint32_t hearth_forward_hidden_rows(const struct hearth_description *model, uint32_t batch)
{
    const uint32_t slots = hearth_forward_slots(&model->hparams);
    for (uint32_t i = 0; i < model->hparams.n_layer; i++)
        if (activation_of(&model->layers[i].down) == HEARTH_ACTIVATION_F32)
            return batch * slots;
    return (batch < FEW_TOKENS ? batch : FEW_TOKENS) * slots;
}

uint64_t hearth_forward_hidden_row_bytes(const struct hearth_description *model)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < model->hparams.n_layer; i++) {
        const enum hearth_activation kind = activation_of(&model->layers[i].down);
        if (kind != HEARTH_ACTIVATION_F32)
            most = larger(most, hearth_activation_bytes(kind, model->hparams.n_ff));
    }
    return most;
}

static uint8_t *worker_scratch(const struct hearth_step *s)
{
    return s->batch->buffers->scratch + s->worker * s->batch->buffers->scratch_layout.bytes;
}

/* Two areas for a row of floats, a row of file blocks, or a block of results. */
static float *first_tile(const struct hearth_step *s)
{
    return (float *)(void *)worker_scratch(s);
}

static float *second_tile(const struct hearth_step *s)
{
    return (float *)(void *)(worker_scratch(s) + s->batch->buffers->scratch_layout.tile);
}

static double seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static bool is_cancelled(const struct hearth_interrupt *i)
{
    return atomic_load_explicit(&i->cancelled, memory_order_relaxed) != 0;
}

static bool is_late(const struct hearth_interrupt *i)
{
    return i->deadline > 0.0 && seconds() >= i->deadline;
}

hearth_status hearth_interrupt_check(const struct hearth_interrupt *i, hearth_error *err)
{
    if (is_cancelled(i))
        return hearth_fail(err, HEARTH_E_CANCELLED, NULL, "session: cancelled; hearth_session_resume() lets it go on");
    if (is_late(i))
        return hearth_fail(err, HEARTH_E_CANCELLED, "E_DEADLINE", "session: the deadline has passed");
    return HEARTH_OK;
}

bool hearth_step_has_layer(const struct hearth_step *s)
{
    return s->layer < atomic_load_explicit(&s->batch->end, memory_order_relaxed);
}

/* Before each layer: at the barrier behind the tokens' embedding, then at the first one of the layer before. */
static void ask_abort(struct hearth_step *s)
{
    struct hearth_batch *b = s->batch;
    const uint32_t next = s->asked == 0 ? 0 : s->layer + 1;
    if (!b->interrupt->should_stop || s->asked != next || next >= atomic_load_explicit(&b->end, memory_order_relaxed))
        return;
    s->asked++;
    if (b->interrupt->should_stop(b->interrupt->stop_user))
        atomic_store_explicit(&b->end, next, memory_order_relaxed);
}

/* Called by one worker at every barrier, so what it decides during a layer is known to all before the next one; and whoever still
 * asks about this layer gets the answer that all others got, whatever has been decided since. */
static void look_for_interrupt(struct hearth_step *s)
{
    struct hearth_batch *b = s->batch;
    ask_abort(s);
    if (s->layer + 1 < atomic_load_explicit(&b->end, memory_order_relaxed) && (is_cancelled(b->interrupt) || is_late(b->interrupt)))
        atomic_store_explicit(&b->end, s->layer + 1, memory_order_relaxed);
}

void hearth_step_barrier(struct hearth_step *s, const struct hearth_matrix *next)
{
    if (s->worker == 0)
        look_for_interrupt(s);
    if (next && next->rows && is_few(s->batch->n)) { /* its first bytes come while we wait */
        const struct hearth_range mine = hearth_share_rows(next->rows, s->worker, s->workers);
        const uint8_t *tiles =
            next->packed + mine.begin / next->kernel->matmul.tile_rows * next->kernel->matmul.tile_bytes(next->k);
        for (size_t i = 0; i < PREFETCH_BYTES; i += 64)
            __builtin_prefetch(tiles + i);
    }
    hearth_pool_barrier(s->batch->pool, s->worker);
}

/* ---- Embedding and angles ------------------------------------------------------------------------------------------- */

/* How much of its scaling a pair is spared by yarn. */
static double yarn_share(const struct hearth_hparams *h, uint32_t pair)
{
    const double width = h->yarn_high - h->yarn_low;
    const double ramp = ((double)pair - h->yarn_low) / (width > 0.001 ? width : 0.001);
    return (1 - (ramp < 0 ? 0 : ramp > 1 ? 1 : ramp)) * h->yarn_mix;
}

void hearth_rope_frequencies(double *out, const struct hearth_hparams *h, enum hearth_rope rope, const float *divisors)
{
    const bool local = rope == HEARTH_ROPE_LOCAL;
    const double log_base = hearth_log64((double)(local ? h->rope_local_base : h->rope_freq_base));
    for (uint32_t i = 0; i < h->n_rot / 2; i++) {
        const double inverse = hearth_exp64(-2.0 * (double)i / (double)h->n_rot * log_base);
        const double mix = yarn_share(h, i);
        out[i] = local ? inverse : inverse / (divisors ? (double)divisors[i] : 1.0) * ((1 - mix) * (double)h->rope_scale + mix);
    }
}

static void fill_angles(const struct hearth_step *s, enum hearth_rope rope, uint32_t t)
{
    const struct hearth_batch *b = s->batch;
    const uint32_t half = b->model->hparams.n_rot / 2;
    const double magnitude = rope == HEARTH_ROPE_LOCAL ? 1.0 : b->model->hparams.rope_magnitude;
    float *cosines = b->buffers->angles[rope] + (size_t)t * 2 * half;
    float *sines = cosines + half;
    for (uint32_t i = 0; i < half; i++) {
        double sine;
        double cosine;
        hearth_sincos64((double)(b->position + t) * b->rope_frequencies[rope][i], &sine, &cosine);
        cosines[i] = (float)(cosine * magnitude);
        sines[i] = (float)(sine * magnitude);
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
    const float multiplier = b->model->hparams.embedding_multiplier;
    const struct hearth_range mine = hearth_share(b->n, s->worker, s->workers);
    for (uint32_t t = mine.begin; t < mine.end; t++) {
        float *x = s->x + (size_t)t * n_embd;
        look_up(s, x, (uint32_t)b->ids[t]);
        for (uint32_t i = 0; multiplier != 1.0f && i < n_embd; i++)
            x[i] *= multiplier;
        for (int rope = 0; rope < HEARTH_ROPE_COUNT; rope++)
            if (b->buffers->angles[rope])
                fill_angles(s, (enum hearth_rope)rope, t);
    }
    hearth_step_barrier(s, NULL);
}

/* ---- Inputs of products --------------------------------------------------------------------------------------------- */

/* Which kinds of rows do these matrices take? Any of them may be NULL. */
static void wanted_kinds(bool wanted[HEARTH_ACTIVATION_COUNT], const struct hearth_matrix *const *matrices, size_t n)
{
    memset(wanted, 0, HEARTH_ACTIVATION_COUNT * sizeof(bool));
    for (size_t i = 0; i < n; i++)
        if (matrices[i])
            wanted[activation_of(matrices[i])] = true;
}

/* n tokens' activations of k elements as one block: few tokens, or entries of experts, each of whom begins anywhere. */
static struct hearth_rows rows_together(uint8_t *first, enum hearth_activation kind, size_t k, uint32_t n)
{
    const size_t stride = hearth_activation_stride(kind, k, n);
    return (struct hearth_rows){first, stride, hearth_activation_step(kind, stride), n, n * hearth_activation_bytes(kind, k)};
}

/* The same in blocks. */
static struct hearth_rows rows_at(uint8_t *first, enum hearth_activation kind, size_t k, uint32_t n)
{
    return rows_together(first, kind, k, block_tokens(n));
}

/* Where token t is. */
static uint8_t *token_at(const struct hearth_rows *rows, uint32_t t)
{
    return rows->first + t / rows->block_tokens * rows->block_bytes + t % rows->block_tokens * rows->step;
}

/* The n rows of k elements that the next products take are made in common memory by the workers together, or, if few, by each in
 * its own. Returns which of them are ours to make. */
static struct hearth_range begin_rows(struct hearth_step *s, const bool wanted[HEARTH_ACTIVATION_COUNT], size_t k, uint32_t n)
{
    const struct hearth_buffers *b = s->batch->buffers;
    for (enum hearth_activation kind = 0; kind < HEARTH_ACTIVATION_COUNT; kind++)
        if (wanted[kind])
            s->input.of[kind] = rows_at(is_few(n) ? worker_scratch(s) + b->scratch_layout.rows[kind] : b->rows[kind], kind, k, n);
    return is_few(n) ? (struct hearth_range){0, n} : hearth_share(n, s->worker, s->workers);
}

static void end_rows(struct hearth_step *s, uint32_t n)
{
    if (!is_few(n))
        hearth_step_barrier(s, NULL);
}

/* Elements begin ... end-1 of a token's units, whole groups, from x. */
static void quantize(struct hearth_step *s, enum hearth_activation kind, uint8_t *units, size_t stride, const float *x,
                     struct hearth_range part, enum operation operation)
{
    const enum hearth_op op = kind == HEARTH_ACTIVATION_Q8_32 ? HEARTH_OP_QUANTIZE_Q8_32 : HEARTH_OP_QUANTIZE_Q8_256;
    if (!s->batch->kernels->chosen[op][0]->quantize(units, stride, x, part.begin, part.end))
        report(s, operation);
}

/* Row t of the wanted integer kinds. */
static void quantize_row(struct hearth_step *s, const bool wanted[HEARTH_ACTIVATION_COUNT], const float *x, uint32_t t, size_t k,
                         enum operation operation)
{
    static const enum hearth_activation kinds[] = {HEARTH_ACTIVATION_Q8_32, HEARTH_ACTIVATION_Q8_256};
    for (size_t i = 0; i < 2; i++)
        if (wanted[kinds[i]])
            quantize(s, kinds[i], token_at(&s->input.of[kinds[i]], t), s->input.of[kinds[i]].stride, x,
                     (struct hearth_range){0, (uint32_t)k}, operation);
}

static void normalise(const struct hearth_step *s, const struct hearth_norm *norm, float *out, const float *x)
{
    const struct hearth_hparams *h = &s->batch->model->hparams;
    const struct hearth_kernel_set *kernels = s->batch->kernels;
    if (h->norm == HEARTH_NORM_RMS)
        kernels->chosen[HEARTH_OP_RMS_NORM][0]->rms_norm(out, x, norm->weight.values, h->n_embd, h->norm_eps);
    else
        kernels->chosen[HEARTH_OP_LAYER_NORM][0]->layer_norm(out, x, norm->weight.values, norm->bias.values, h->n_embd,
                                                             h->norm_eps);
}

/* Row t of x with what is still to be added to it, in the second tile; kept in x_next too. For few tokens every worker makes the
 * sum for itself, the first one keeps it; nobody reads x_next, or writes x again, before the next barrier. */
static const float *complete_row(const struct hearth_step *s, uint32_t t, bool keep)
{
    const size_t k = s->batch->model->hparams.n_embd;
    float *sum = second_tile(s);
    if (!s->pending)
        return s->x + t * k;
    normalise(s, s->pending, sum, s->batch->buffers->projected + t * k);
    s->batch->kernels->chosen[HEARTH_OP_ADD][0]->add(sum, s->x + t * k, k);
    if (keep)
        memcpy(s->x_next + t * k, sum, k * sizeof *sum);
    return sum;
}

/* All rows have been completed, or as many as are wanted. */
static void end_pending(struct hearth_step *s)
{
    float *x = s->x;
    if (!s->pending)
        return;
    s->pending = NULL;
    s->x = s->x_next;
    s->x_next = x;
}

static void norm_rows(struct hearth_step *s, const struct hearth_norm *norm, const bool wanted[HEARTH_ACTIVATION_COUNT],
                      uint32_t first, uint32_t n)
{
    const size_t k = s->batch->model->hparams.n_embd;
    const struct hearth_range mine = begin_rows(s, wanted, k, n);
    const bool keep = !is_few(n) || s->worker == 0;
    for (uint32_t t = mine.begin; t < mine.end; t++) {
        float *normed =
            wanted[HEARTH_ACTIVATION_F32] ? (float *)(void *)token_at(&s->input.of[HEARTH_ACTIVATION_F32], t) : first_tile(s);
        normalise(s, norm, normed, complete_row(s, first + t, keep));
        quantize_row(s, wanted, normed, t, k, NORM);
    }
    end_pending(s);
    end_rows(s, n);
}

void hearth_step_norm(struct hearth_step *s, const struct hearth_norm *norm, const struct hearth_matrix *a,
                      const struct hearth_matrix *b, const struct hearth_matrix *c, const struct hearth_matrix *d)
{
    bool wanted[HEARTH_ACTIVATION_COUNT];
    wanted_kinds(wanted, (const struct hearth_matrix *const[]){a, b, c, d}, 4);
    norm_rows(s, norm, wanted, 0, s->batch->n);
}

/* Make all rows of x, which all workers have finished, the input of `next`. Floats are taken where they lie. */
static void input_from(struct hearth_step *s, const float *x, size_t k, const struct hearth_matrix *next, enum operation operation)
{
    const enum hearth_activation kind = activation_of(next);
    if (kind == HEARTH_ACTIVATION_F32) {
        const size_t row = k * sizeof(float);
        s->input.of[kind] = (struct hearth_rows){(uint8_t *)(uintptr_t)x, row, row, s->batch->n, s->batch->n * row};
        return;
    }
    bool wanted[HEARTH_ACTIVATION_COUNT];
    wanted_kinds(wanted, &next, 1);
    const struct hearth_range mine = begin_rows(s, wanted, k, s->batch->n);
    for (uint32_t t = mine.begin; t < mine.end; t++)
        quantize_row(s, wanted, x + t * k, t, k, operation);
    end_rows(s, s->batch->n);
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

/* Rows in units of `unit`, a multiple of HEARTH_ROW_UNIT: at most `most` rows at a time, or one unit. */
static struct hearth_claims claims_of_rows(struct hearth_step *s, uint32_t rows, uint32_t unit, uint32_t most)
{
    return claims_of(s, (rows + unit - 1) / unit, most > unit ? most / unit : 1);
}

static bool next_rows(struct hearth_claims *c, uint32_t n_rows, uint32_t unit, struct hearth_range *rows)
{
    if (!hearth_claim_next(c, rows))
        return false;
    rows->begin *= unit;
    rows->end = rows->end * unit < n_rows ? rows->end * unit : n_rows;
    return true;
}

/* The same rows and tokens by OpenBLAS: a panel of rows is unpacked and widened, then multiplied. Outside the bit contract. */
static void multiply_by_blas(const struct hearth_step *s, const struct hearth_matrix *m, const struct hearth_input *input,
                             float *out, size_t out_stride, struct hearth_range tokens, struct hearth_range rows)
{
    const struct hearth_rows *floats = &input->of[HEARTH_ACTIVATION_F32];
    const size_t x_stride = floats->stride / sizeof(float);
    const float *x = (const float *)(const void *)token_at(floats, tokens.begin);
    float *panel = (float *)(void *)(worker_scratch(s) + s->batch->buffers->scratch_layout.panel);
    uint8_t *file_row = (uint8_t *)(panel + (size_t)BLAS_ROWS * m->k);
    hearth_dequantize_fn *dequantize = s->batch->kernels->chosen[HEARTH_OP_DEQUANTIZE][m->format]->dequantize;
    const uint32_t tile_rows = (uint32_t)m->kernel->matmul.tile_rows;
    for (uint32_t r = rows.begin; r < rows.end; r += BLAS_ROWS) {
        const uint32_t n = rows.end - r < BLAS_ROWS ? rows.end - r : BLAS_ROWS;
        for (uint32_t i = 0; i < n; i++) {
            const uint8_t *tile = m->packed + (uint64_t)((r + i) / tile_rows) * m->kernel->matmul.tile_bytes(m->k);
            m->kernel->matmul.unpack(file_row, tile, (r + i) % tile_rows, m->k);
            dequantize(panel + (size_t)i * m->k, file_row, m->k);
        }
        hearth_blas_multiply(s->batch->blas, out + (r - rows.begin), out_stride, panel, x, x_stride, n, m->k,
                             tokens.end - tokens.begin);
    }
}

/* out[t * out_stride + r - rows.begin]: these rows of matrix * input, (+ bias), for these tokens of a block of the input. */
static void multiply(const struct hearth_step *s, const struct hearth_matrix *m, const struct hearth_input *input, float *out,
                     size_t out_stride, struct hearth_range tokens, struct hearth_range rows)
{
    const enum hearth_activation kind = activation_of(m);
    const uint32_t n = tokens.end - tokens.begin;
    const uint8_t *tiles = m->packed + (uint64_t)(rows.begin / m->kernel->matmul.tile_rows) * m->kernel->matmul.tile_bytes(m->k);
    for (uint32_t r = rows.begin; m->bias && r < rows.end; r += LINE_FLOATS) /* it comes while the product runs */
        __builtin_prefetch(m->bias + r);
    if (s->batch->blas && kind == HEARTH_ACTIVATION_F32 && n >= BLAS_TOKENS)
        multiply_by_blas(s, m, input, out, out_stride, tokens, rows);
    else
        m->kernel->matmul.run(out, out_stride, tiles, token_at(&input->of[kind], tokens.begin), input->of[kind].stride,
                              rows.end - rows.begin, m->k, n, s->batch->prefetch_bytes);
    for (uint32_t t = 0; m->bias && t < n; t++)
        s->batch->kernels->chosen[HEARTH_OP_ADD][0]->add(out + t * out_stride, m->bias + rows.begin, rows.end - rows.begin);
}

/* The next block of tokens below n; begin with {0, 0}, or {t, t} for those from t on. */
static bool next_block(struct hearth_range *tokens, uint32_t n)
{
    const uint32_t end = (tokens->end / BLOCK_TOKENS + 1) * BLOCK_TOKENS;
    tokens->begin = tokens->end;
    tokens->end = end < n ? end : n;
    return tokens->begin < n;
}

/* x += first * input, += second * hidden: in this order for each element. second may be NULL. */
static void project_and_add(struct hearth_step *s, const struct hearth_matrix *first, const struct hearth_matrix *second)
{
    const struct hearth_batch *b = s->batch;
    const size_t n_embd = b->model->hparams.n_embd;
    hearth_add_fn *add = b->kernels->chosen[HEARTH_OP_ADD][0]->add;
    struct hearth_claims claims = claims_of_rows(s, first->rows, HEARTH_ROW_UNIT, PIECE_ROWS);
    struct hearth_range rows;
    while (next_rows(&claims, first->rows, HEARTH_ROW_UNIT, &rows)) {
        const uint32_t n_rows = rows.end - rows.begin;
        struct hearth_range tokens = {0, 0};
        while (next_block(&tokens, b->n)) {
            multiply(s, first, &s->input, first_tile(s), n_rows, tokens, rows);
            if (second)
                multiply(s, second, &s->hidden, second_tile(s), n_rows, tokens, rows);
            for (uint32_t t = tokens.begin; t < tokens.end; t++) {
                float *x = s->x + t * n_embd + rows.begin;
                add(x, first_tile(s) + (size_t)(t - tokens.begin) * n_rows, n_rows);
                if (second)
                    add(x, second_tile(s) + (size_t)(t - tokens.begin) * n_rows, n_rows);
            }
        }
    }
}

void hearth_step_project_and_add(struct hearth_step *s, const struct hearth_matrix *matrix, const struct hearth_matrix *next)
{
    project_and_add(s, matrix, NULL);
    hearth_step_barrier(s, next);
}

void hearth_step_project_norm_and_add(struct hearth_step *s, const struct hearth_matrix *matrix, const struct hearth_norm *norm,
                                      const struct hearth_matrix *next)
{
    const struct hearth_batch *b = s->batch;
    const size_t n_embd = b->model->hparams.n_embd;
    struct hearth_claims claims = claims_of_rows(s, matrix->rows, HEARTH_ROW_UNIT, PIECE_ROWS);
    struct hearth_range rows;
    while (next_rows(&claims, matrix->rows, HEARTH_ROW_UNIT, &rows)) {
        struct hearth_range tokens = {0, 0};
        while (next_block(&tokens, b->n))
            multiply(s, matrix, &s->input, b->buffers->projected + tokens.begin * n_embd + rows.begin, n_embd, tokens, rows);
    }
    s->pending = norm;
    hearth_step_barrier(s, next);
}

/* ---- The feed-forward network's middle ------------------------------------------------------------------------------ */

/* Where the activations go, the input of `next`: `hidden` as floats, to be quantized by those who take them (few tokens), or
 * straight into the rows that `next` takes. */
struct middle {
    enum hearth_activation kind; /* of `next` */
    uint32_t width;              /* F */
    bool as_floats;
    struct hearth_rows rows; /* of floats or of `kind` */
};

static enum hearth_activation kind_of_middle(const struct middle *m)
{
    return m->as_floats ? HEARTH_ACTIVATION_F32 : m->kind;
}

static struct middle middle_before(const struct hearth_step *s, const struct hearth_matrix *next)
{
    const struct hearth_buffers *b = s->batch->buffers;
    struct middle m = {.kind = activation_of(next), .width = next->k};
    m.as_floats = m.kind == HEARTH_ACTIVATION_F32 || is_few(s->batch->n);
    m.rows = rows_at(m.as_floats ? (uint8_t *)b->hidden : b->hidden_rows, kind_of_middle(&m), m.width, s->batch->n);
    return m;
}

/* silu(gate * input) . (up * input), with gelu for silu as the architecture says, or without a gate gelu(up * input); for these
 * rows of the input, into rows of the middle from `first` on. */
static void middle_block(struct hearth_step *s, const struct middle *m, const struct hearth_matrix *gate,
                         const struct hearth_matrix *up, const struct hearth_input *input, struct hearth_range tokens,
                         uint32_t first, struct hearth_range rows)
{
    const struct hearth_kernel_set *kernels = s->batch->kernels;
    const uint32_t n_rows = rows.end - rows.begin;
    multiply(s, up, input, first_tile(s), n_rows, tokens, rows);
    if (gate)
        multiply(s, gate, input, second_tile(s), n_rows, tokens, rows);
    for (uint32_t t = 0; t < tokens.end - tokens.begin; t++) {
        uint8_t *row = token_at(&m->rows, first + t);
        float *u = first_tile(s) + (size_t)t * n_rows;
        float *out = m->as_floats ? (float *)(void *)row + rows.begin : u;
        const float *g = second_tile(s) + (size_t)t * n_rows;
        if (gate && s->batch->model->hparams.gate == HEARTH_GATE_SILU)
            kernels->chosen[HEARTH_OP_SILU_MUL][0]->silu_mul(out, g, u, n_rows);
        else if (gate)
            kernels->chosen[HEARTH_OP_GELU_MUL][0]->gelu_mul(out, g, u, n_rows);
        else
            kernels->chosen[HEARTH_OP_GELU][0]->gelu(out, u, n_rows);
        if (!m->as_floats)
            quantize(s, m->kind, row, m->rows.stride, out, rows, FEED_FORWARD);
    }
}

/* Rows that belong together: whole groups of what is quantized at once. */
static uint32_t middle_unit(const struct middle *m)
{
    return m->as_floats ? HEARTH_ROW_UNIT : m->kind == HEARTH_ACTIVATION_Q8_32 ? PIECE_ROWS / 2 : GROUP_ROWS;
}

static void compute_middle(struct hearth_step *s, const struct middle *m, const struct hearth_matrix *gate,
                           const struct hearth_matrix *up)
{
    const uint32_t unit = middle_unit(m);
    struct hearth_claims claims = claims_of_rows(s, m->width, unit, PIECE_ROWS);
    struct hearth_range rows;
    while (next_rows(&claims, m->width, unit, &rows)) {
        struct hearth_range tokens = {0, 0};
        while (next_block(&tokens, s->batch->n))
            middle_block(s, m, gate, up, &s->input, tokens, tokens.begin, rows);
    }
}

/* Behind a barrier: make its n rows the input `out`. */
static void take_middle(struct hearth_step *s, const struct middle *m, uint32_t n, struct hearth_input *out)
{
    out->of[m->kind] = m->rows;
    if (!m->as_floats || m->kind == HEARTH_ACTIVATION_F32)
        return;
    struct hearth_rows *own = &out->of[m->kind];
    *own = rows_together(worker_scratch(s) + s->batch->buffers->scratch_layout.hidden, m->kind, m->width, n);
    for (uint32_t t = 0; t < n; t++) /* few: every worker for itself */
        quantize(s, m->kind, token_at(own, t), own->stride, (const float *)(const void *)token_at(&m->rows, t),
                 (struct hearth_range){0, m->width}, FEED_FORWARD);
}

void hearth_step_gated(struct hearth_step *s, const struct hearth_matrix *gate, const struct hearth_matrix *up,
                       const struct hearth_matrix *next)
{
    const struct middle m = middle_before(s, next);
    compute_middle(s, &m, gate, up);
    hearth_step_barrier(s, next);
    take_middle(s, &m, s->batch->n, &s->input);
}

void hearth_step_gelu(struct hearth_step *s, const struct hearth_matrix *up, const struct hearth_matrix *down)
{
    const struct middle m = middle_before(s, down);
    compute_middle(s, &m, NULL, up);
}

void hearth_step_project_both_and_add(struct hearth_step *s, const struct hearth_matrix *o, const struct hearth_matrix *down,
                                      const struct hearth_matrix *next)
{
    const struct middle m = middle_before(s, down);
    take_middle(s, &m, s->batch->n, &s->hidden);
    project_and_add(s, o, down);
    hearth_step_barrier(s, next);
}

/* ---- Experts -------------------------------------------------------------------------------------------------------- */

static bool all_finite(const float *x, size_t n)
{
    uint32_t most = 0;
    for (size_t i = 0; i < n; i++) {
        const uint32_t a = hearth_f32_bits(x[i]) & 0x7fffffffu;
        most = a > most ? a : most;
    }
    return most < 0x7f800000u;
}

/* The most probable experts of a token, the lower of equal ones first, and their weights, which add up to the model's scale (spec
 * architectures.md 6.1). */
static void choose_experts(struct hearth_step *s, const float *logits, struct hearth_route *routes)
{
    const struct hearth_hparams *h = &s->batch->model->hparams;
    float *probability = first_tile(s);
    float sum = 0.0f;
    if (!all_finite(logits, h->n_expert))
        report(s, ROUTER);
    s->batch->kernels->chosen[HEARTH_OP_SOFTMAX][0]->softmax(probability, logits, h->n_expert);
    for (uint32_t i = 0; i < h->n_expert_used; i++) {
        uint32_t best = 0;
        for (uint32_t e = 1; e < h->n_expert; e++)
            if (probability[e] > probability[best])
                best = e;
        routes[i] = (struct hearth_route){best, probability[best]};
        sum += probability[best];
        probability[best] = -1.0f;
    }
    for (uint32_t i = 0; i < h->n_expert_used; i++)
        routes[i].weight = routes[i].weight / (sum > 0x1p-14f ? sum : 0x1p-14f) * h->expert_scale;
}

static struct groups groups_of(const struct hearth_step *s)
{
    const struct hearth_hparams *h = &s->batch->model->hparams;
    struct groups g = {.slots = h->n_expert_used, .n_entries = s->batch->n * h->n_expert_used};
    g.own = (struct hearth_route *)(void *)(worker_scratch(s) + s->batch->buffers->scratch_layout.experts);
    g.begin = (uint32_t *)(void *)(g.own + FEW_TOKENS * g.slots);
    g.active = g.begin + h->n_expert + 1;
    g.entry = g.active + h->n_expert;
    return g;
}

/* Every worker for itself: sort the routes by expert. */
static void group(const struct hearth_step *s, struct groups *g)
{
    const uint32_t n_expert = s->batch->model->hparams.n_expert;
    memset(g->begin, 0, (n_expert + 1) * sizeof *g->begin);
    for (uint32_t i = 0; i < g->n_entries; i++)
        g->begin[g->routes[i].expert + 1]++;
    for (uint32_t e = 0; e < n_expert; e++) {
        if (g->begin[e + 1] > 0)
            g->active[g->n_active++] = e;
        g->begin[e + 1] += g->begin[e];
    }
    for (uint32_t i = g->n_entries; i-- > 0;) /* from behind: begin[e + 1] moves down from e's end to its begin */
        g->entry[--g->begin[g->routes[i].expert + 1]] = i;
    memmove(g->begin, g->begin + 1, n_expert * sizeof *g->begin);
    g->begin[n_expert] = g->n_entries;
}

/* Who goes where. Few tokens: the rows of the router are divided, then everybody chooses for all; many: the tokens are. */
static struct groups route(struct hearth_step *s, const struct hearth_matrix *router)
{
    const struct hearth_batch *b = s->batch;
    const uint32_t n_expert = router->rows;
    struct groups g = groups_of(s);
    struct hearth_range mine = {0, b->n};
    struct hearth_route *routes = g.own;
    if (is_few(b->n)) {
        struct hearth_claims claims = claims_of_rows(s, n_expert, HEARTH_ROW_UNIT, PIECE_ROWS);
        struct hearth_range rows;
        while (next_rows(&claims, n_expert, HEARTH_ROW_UNIT, &rows))
            multiply(s, router, &s->input, b->buffers->router_logits + rows.begin, n_expert, mine, rows);
        hearth_step_barrier(s, NULL);
    } else {
        mine = hearth_share(b->n, s->worker, s->workers);
        routes = b->buffers->routes;
        struct hearth_range tokens = {mine.begin, mine.begin};
        while (next_block(&tokens, mine.end))
            multiply(s, router, &s->input, b->buffers->router_logits + (size_t)tokens.begin * n_expert, n_expert, tokens,
                     (struct hearth_range){0, n_expert});
    }
    for (uint32_t t = mine.begin; t < mine.end; t++)
        choose_experts(s, b->buffers->router_logits + (size_t)t * n_expert, routes + (size_t)t * g.slots);
    if (!is_few(b->n))
        hearth_step_barrier(s, NULL);
    g.routes = routes;
    group(s, &g);
    return g;
}

/* A token's `bytes` of activations as an entry's: a row of floats, or unit by unit. */
static void copy_token(const struct hearth_rows *to, uint32_t entry, const struct hearth_rows *from, uint32_t t, size_t bytes)
{
    uint8_t *out = token_at(to, entry);
    const uint8_t *in = token_at(from, t);
    for (size_t n = bytes / to->step; n > 0; n--, out += to->stride, in += from->stride)
        memcpy(out, in, to->step);
}

/* Many tokens: the inputs of each expert beside each other, one for each entry. */
static struct hearth_input gather(struct hearth_step *s, const struct groups *g, const struct hearth_layer *l)
{
    const struct hearth_matrix *const takers[] = {&l->gate, &l->up};
    const struct hearth_range mine = hearth_share(g->n_entries, s->worker, s->workers);
    struct hearth_input out = s->input;
    bool wanted[HEARTH_ACTIVATION_COUNT];
    wanted_kinds(wanted, takers, 2);
    for (enum hearth_activation kind = 0; kind < HEARTH_ACTIVATION_COUNT; kind++) {
        if (!wanted[kind])
            continue;
        out.of[kind] = rows_together(s->batch->buffers->expert_rows[kind], kind, l->gate.k, g->n_entries);
        for (uint32_t i = mine.begin; i < mine.end; i++)
            copy_token(&out.of[kind], i, &s->input.of[kind], g->entry[i] / g->slots, hearth_activation_bytes(kind, l->gate.k));
    }
    hearth_step_barrier(s, NULL);
    return out;
}

/* Some rows of one expert's middle, for all of its entries. */
static void expert_middle(struct hearth_step *s, const struct groups *g, const struct middle *m, const struct hearth_layer *l,
                          const struct hearth_input *input, uint32_t expert, struct hearth_range rows)
{
    const struct hearth_matrix gate = hearth_matrix_of_expert(&l->gate, expert);
    const struct hearth_matrix up = hearth_matrix_of_expert(&l->up, expert);
    const uint32_t end = g->begin[expert + 1];
    for (uint32_t i = g->begin[expert]; i < end;) {
        struct hearth_range tokens = {i, end - i < BLOCK_TOKENS ? end : i + BLOCK_TOKENS};
        if (is_few(s->batch->n)) { /* the inputs are not gathered */
            tokens.begin = g->entry[i] / g->slots;
            tokens.end = tokens.begin + 1;
        }
        middle_block(s, m, &gate, &up, input, tokens, i, rows);
        i += tokens.end - tokens.begin;
    }
}

static void expert_middles(struct hearth_step *s, const struct groups *g, const struct middle *m, const struct hearth_layer *l,
                           const struct hearth_input *input)
{
    const uint32_t unit = middle_unit(m);
    const uint32_t share = g->n_active * m->width / s->workers / PIECES_PER_SHARE;
    const uint32_t most = !is_few(s->batch->n) || share < unit ? unit : share < PIECE_ROWS ? share / unit * unit : PIECE_ROWS;
    const uint32_t pieces = (m->width + most - 1) / most; /* of an expert */
    struct hearth_claims claims = claims_of(s, g->n_active * pieces, 1);
    struct hearth_range range;
    while (hearth_claim_next(&claims, &range)) {
        const uint32_t begin = range.begin % pieces * most;
        const uint32_t end = m->width - begin < most ? m->width : begin + most;
        expert_middle(s, g, m, l, input, g->active[range.begin / pieces], (struct hearth_range){begin, end});
    }
}

/* x += weight * Down * hidden for one expert's entries, and some rows. */
static void add_expert(struct hearth_step *s, const struct groups *g, const struct hearth_matrix *down,
                       const struct hearth_input *hidden, uint32_t expert, struct hearth_range rows)
{
    const size_t n_embd = s->batch->model->hparams.n_embd;
    const struct hearth_matrix one = hearth_matrix_of_expert(down, expert);
    const uint32_t n_rows = rows.end - rows.begin;
    const uint32_t end = g->begin[expert + 1];
    for (uint32_t begin = g->begin[expert]; begin < end; begin += BLOCK_TOKENS) {
        const struct hearth_range entries = {begin, end - begin < BLOCK_TOKENS ? end : begin + BLOCK_TOKENS};
        multiply(s, &one, hidden, first_tile(s), n_rows, entries, rows);
        for (uint32_t i = entries.begin; i < entries.end; i++) {
            float *y = first_tile(s) + (size_t)(i - begin) * n_rows;
            const float weight = g->routes[g->entry[i]].weight;
            for (uint32_t r = 0; r < n_rows; r++)
                y[r] *= weight;
            s->batch->kernels->chosen[HEARTH_OP_ADD][0]->add(s->x + g->entry[i] / g->slots * n_embd + rows.begin, y, n_rows);
        }
    }
}

void hearth_step_experts(struct hearth_step *s, const struct hearth_layer *l, const struct hearth_matrix *next)
{
    const struct groups g = route(s, &l->router);
    const struct hearth_input input = is_few(s->batch->n) ? s->input : gather(s, &g, l);
    struct middle m = middle_before(s, &l->down);
    m.rows = rows_together(m.rows.first, kind_of_middle(&m), m.width, g.n_entries);
    struct hearth_input hidden = {0};
    expert_middles(s, &g, &m, l, &input);
    hearth_step_barrier(s, NULL);
    take_middle(s, &m, g.n_entries, &hidden);
    struct hearth_claims claims = claims_of_rows(s, l->down.rows, HEARTH_ROW_UNIT, PIECE_ROWS);
    struct hearth_range rows;
    while (next_rows(&claims, l->down.rows, HEARTH_ROW_UNIT, &rows))
        for (uint32_t i = 0; i < g.n_active; i++) /* upwards, so that every token adds in the same order */
            add_expert(s, &g, &l->down, &hidden, g.active[i], rows);
    hearth_step_barrier(s, next);
}

/* ---- Attention ------------------------------------------------------------------------------------------------------ */

static void rotate(const struct hearth_step *s, float *heads, uint32_t n_heads, uint32_t t)
{
    const struct hearth_batch *b = s->batch;
    const struct hearth_hparams *h = &b->model->hparams;
    const enum hearth_rope own =
        h->windowed[s->layer] && b->buffers->angles[HEARTH_ROPE_LOCAL] ? HEARTH_ROPE_LOCAL : HEARTH_ROPE_GLOBAL;
    const float *cosines = b->buffers->angles[own] + (size_t)t * h->n_rot;
    const enum hearth_op op = h->rope_pairs == HEARTH_ROPE_ADJACENT ? HEARTH_OP_ROPE : HEARTH_OP_ROPE_NEOX;
    b->kernels->chosen[op][0]->rope(heads, n_heads, h->head_dim, h->n_rot, cosines, cosines + h->n_rot / 2);
}

/* Each head for itself, where the model has weights for it. */
static void norm_heads(const struct hearth_step *s, const struct hearth_vector *weight, float *heads, uint32_t n_heads)
{
    const struct hearth_hparams *h = &s->batch->model->hparams;
    hearth_rms_norm_fn *rms_norm = s->batch->kernels->chosen[HEARTH_OP_RMS_NORM][0]->rms_norm;
    for (uint32_t i = 0; weight->n && i < n_heads; i++)
        rms_norm(heads + (size_t)i * h->head_dim, heads + (size_t)i * h->head_dim, weight->values, h->head_dim, h->norm_eps);
}

/* What becomes of the heads first ... first + n - 1 of token t; the last step before attention. */
typedef void heads_fn(const struct hearth_step *s, float *heads, uint32_t first, uint32_t n, uint32_t t);

static void finish_queries(const struct hearth_step *s, float *heads, uint32_t first, uint32_t n, uint32_t t)
{
    const struct hearth_batch *b = s->batch;
    const struct hearth_hparams *h = &b->model->hparams;
    norm_heads(s, &b->model->layers[s->layer].q_norm, heads, n);
    rotate(s, heads, n, t);
    memcpy(b->buffers->q + ((size_t)t * h->n_head + first) * h->head_dim, heads, (size_t)n * h->head_dim * sizeof *heads);
}

static void finish_keys(const struct hearth_step *s, float *heads, uint32_t first, uint32_t n, uint32_t t)
{
    norm_heads(s, &s->batch->model->layers[s->layer].k_norm, heads, n);
    rotate(s, heads, n, t);
    for (uint32_t i = 0; i < n; i++)
        if (!hearth_attend_store_key(s, first + i, s->batch->position + t, heads + (size_t)i * s->batch->model->hparams.head_dim))
            report(s, ATTENTION);
}

static void finish_values(const struct hearth_step *s, float *heads, uint32_t first, uint32_t n, uint32_t t)
{
    for (uint32_t i = 0; i < n; i++)
        if (!hearth_attend_store_value(s, first + i, s->batch->position + t, heads + (size_t)i * s->batch->model->hparams.head_dim))
            report(s, ATTENTION);
}

/* Heads of matrix * input, in pieces of whole heads. No barrier. */
static void project_heads(struct hearth_step *s, const struct hearth_matrix *matrix, heads_fn *finish)
{
    const struct hearth_batch *b = s->batch;
    const uint32_t d = b->model->hparams.head_dim;
    const uint32_t unit = heads_of_piece(&b->model->hparams) * d;
    float *product = first_tile(s);
    struct hearth_claims claims = claims_of_rows(s, matrix->rows, unit, unit);
    struct hearth_range rows;
    while (next_rows(&claims, matrix->rows, unit, &rows)) {
        const uint32_t n_rows = rows.end - rows.begin;
        struct hearth_range tokens = {0, 0};
        while (next_block(&tokens, b->n)) {
            multiply(s, matrix, &s->input, product, n_rows, tokens, rows);
            for (uint32_t t = tokens.begin; t < tokens.end; t++)
                finish(s, product + (size_t)(t - tokens.begin) * n_rows, rows.begin / d, n_rows / d, t);
        }
    }
}

void hearth_step_queries_keys_values(struct hearth_step *s, const struct hearth_layer *l)
{
    project_heads(s, &l->q, finish_queries);
    project_heads(s, &l->k, finish_keys);
    project_heads(s, &l->v, finish_values);
}

void hearth_step_attend(struct hearth_step *s, const struct hearth_matrix *next)
{
    const struct hearth_batch *b = s->batch;
    const struct hearth_hparams *h = &b->model->hparams;
    if (!hearth_attend(s))
        report(s, ATTENTION);
    hearth_step_barrier(s, NULL);
    input_from(s, b->buffers->attended, (size_t)h->n_head * h->head_dim, next, ATTENTION);
}

/* ---- Output --------------------------------------------------------------------------------------------------------- */

/* Some logits of one position; false: they are not finite, which a soft cap would hide. */
static bool finish_logits(const struct hearth_step *s, float *logits, size_t n)
{
    const float softcap = s->batch->model->hparams.final_softcap;
    if (!all_finite(logits, n))
        return false;
    if (softcap > 0)
        s->batch->kernels->chosen[HEARTH_OP_SOFTCAP][0]->softcap(logits, logits, softcap, n);
    return true;
}

void hearth_step_output(struct hearth_step *s)
{
    struct hearth_batch *b = s->batch;
    const struct hearth_matrix *m = &b->model->output;
    if (b->n_logits == 0 || s->layer < b->model->hparams.n_layer)
        return;
    bool wanted[HEARTH_ACTIVATION_COUNT];
    wanted_kinds(wanted, &m, 1);
    norm_rows(s, &b->model->output_norm, wanted, b->n - b->n_logits, b->n_logits);
    const size_t stride = hearth_align(m->rows, HEARTH_LOGITS_STEP);
    struct hearth_claims claims = claims_of_rows(s, m->rows, HEARTH_ROW_UNIT, PIECE_ROWS);
    struct hearth_range rows;
    while (next_rows(&claims, m->rows, HEARTH_ROW_UNIT, &rows)) {
        struct hearth_range tokens = {0, 0};
        while (next_block(&tokens, b->n_logits))
            multiply(s, m, &s->input, b->buffers->logits + tokens.begin * stride + rows.begin, stride, tokens, rows);
        for (uint32_t t = 0; t < b->n_logits; t++)
            if (!finish_logits(s, b->buffers->logits + t * stride + rows.begin, rows.end - rows.begin))
                report(s, OUTPUT);
    }
}

/* ---- The job -------------------------------------------------------------------------------------------------------- */

#define STEPS_PER_LAYER 16u /* at least as many as any architecture shares among workers in a layer */

typedef void arch_fn(struct hearth_step *s);
static arch_fn *const arch_steps[HEARTH_ARCH_COUNT] = {
    [HEARTH_ARCH_LLAMA] = hearth_arch_llama,   [HEARTH_ARCH_GEMMA] = hearth_arch_llama, [HEARTH_ARCH_GEMMA2] = hearth_arch_gemma2,
    [HEARTH_ARCH_GEMMA3] = hearth_arch_gemma2, [HEARTH_ARCH_PHI2] = hearth_arch_phi2,   [HEARTH_ARCH_PHI3] = hearth_arch_llama,
    [HEARTH_ARCH_QWEN2] = hearth_arch_llama,   [HEARTH_ARCH_QWEN3] = hearth_arch_llama, [HEARTH_ARCH_QWEN3MOE] = hearth_arch_llama};

static void run_steps(void *context, uint32_t worker, uint32_t workers)
{
    struct hearth_batch *b = context;
    struct hearth_step step = {.batch = b,
                               .worker = worker,
                               .workers = workers,
                               .steps = b->buffers->steps,
                               .x = b->buffers->x,
                               .x_next = b->buffers->x_next};
    arch_steps[b->model->hparams.arch](&step);
}

hearth_status hearth_forward(struct hearth_batch *b, hearth_error *err)
{
    const uint32_t n_layer = b->model->hparams.n_layer;
    HEARTH_TRY(hearth_interrupt_check(b->interrupt, err));
    atomic_store(&b->failure, 0);
    atomic_store(&b->end, n_layer);
    b->prefetch_bytes = hearth_prefetch_bytes(&b->buffers->prefetch);
    const double begin = seconds();
    hearth_pool_run_without(b->pool, b->left_out - 1, run_steps, b);
    const uint32_t end = atomic_load(&b->end);
    if (b->n == 1 && end == n_layer)
        hearth_prefetch_record(&b->buffers->prefetch, seconds() - begin);
    b->buffers->steps += STEPS_PER_LAYER * (n_layer + (uint64_t)1);
    if (end < n_layer) {
        const hearth_status status = hearth_interrupt_check(b->interrupt, err);
        return status != HEARTH_OK ? status : hearth_fail(err, HEARTH_E_CANCELLED, NULL, "session: cancelled while it computed");
    }
    const uint32_t failure = atomic_load(&b->failure);
    if (failure == 0)
        return HEARTH_OK;
    const uint32_t layer = (failure - 1) / OPERATION_COUNT;
    const uint32_t operation = (failure - 1) % OPERATION_COUNT;
    if (layer >= n_layer)
        return hearth_fail(err, HEARTH_E_INFERENCE, "E_NUM", "inference: %s are not finite at positions %" PRIu32 " to %" PRIu32,
                           operation_names[operation], b->position, b->position + b->n - 1);
    return hearth_fail(err, HEARTH_E_INFERENCE, "E_NUM",
                       "inference: layer %" PRIu32 ": %s is not finite at positions %" PRIu32 " to %" PRIu32, layer,
                       operation_names[operation], b->position, b->position + b->n - 1);
}
