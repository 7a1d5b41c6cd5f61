/* Products with weights, and what is made of their results; see forward_parts.h and forward.h. */
#include "common/checked.h"
#include "forward_parts.h"

#define BLAS_TOKENS 32u /* from how many on OpenBLAS is taken, where it is asked for */
#define LINE_FLOATS 16u

struct hearth_claims hearth_step_claims(struct hearth_step *s, uint32_t n, uint32_t most)
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

struct hearth_claims hearth_step_claims_of_rows(struct hearth_step *s, uint32_t rows, uint32_t unit, uint32_t most)
{
    return hearth_step_claims(s, (rows + unit - 1) / unit, most > unit ? most / unit : 1);
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

void hearth_step_multiply(const struct hearth_step *s, const struct hearth_matrix *m, const struct hearth_input *input, float *out,
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

/* x += first * input, += second * hidden: in this order for each element. second may be NULL. */
static void project_and_add(struct hearth_step *s, const struct hearth_matrix *first, const struct hearth_matrix *second)
{
    const struct hearth_batch *b = s->batch;
    const size_t n_embd = b->model->hparams.n_embd;
    hearth_add_fn *add = b->kernels->chosen[HEARTH_OP_ADD][0]->add;
    struct hearth_claims claims = hearth_step_claims_of_rows(s, first->rows, HEARTH_ROW_UNIT, most_rows(s));
    struct hearth_range rows;
    while (next_rows(&claims, first->rows, HEARTH_ROW_UNIT, &rows)) {
        const uint32_t n_rows = rows.end - rows.begin;
        struct hearth_range tokens = {0, 0};
        while (next_block(&tokens, b->n)) {
            hearth_step_multiply(s, first, &s->input, first_tile(s), n_rows, tokens, rows);
            if (second)
                hearth_step_multiply(s, second, &s->hidden, second_tile(s), n_rows, tokens, rows);
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
    struct hearth_claims claims = hearth_step_claims_of_rows(s, matrix->rows, HEARTH_ROW_UNIT, most_rows(s));
    struct hearth_range rows;
    while (next_rows(&claims, matrix->rows, HEARTH_ROW_UNIT, &rows)) {
        struct hearth_range tokens = {0, 0};
        while (next_block(&tokens, b->n))
            hearth_step_multiply(s, matrix, &s->input, b->buffers->projected + tokens.begin * n_embd + rows.begin, n_embd, tokens,
                                 rows);
    }
    s->pending = norm;
    hearth_step_barrier(s, next);
}

void hearth_step_project_both_and_add(struct hearth_step *s, const struct hearth_matrix *o, const struct hearth_matrix *down,
                                      const struct hearth_matrix *next)
{
    const struct middle m = hearth_step_middle_before(s, down);
    hearth_step_take_middle(s, &m, s->batch->n, &s->hidden);
    project_and_add(s, o, down);
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
            hearth_step_report(s, ATTENTION);
}

static void finish_values(const struct hearth_step *s, float *heads, uint32_t first, uint32_t n, uint32_t t)
{
    for (uint32_t i = 0; i < n; i++)
        if (!hearth_attend_store_value(s, first + i, s->batch->position + t, heads + (size_t)i * s->batch->model->hparams.head_dim))
            hearth_step_report(s, ATTENTION);
}

/* Heads of matrix * input, in pieces of whole heads. No barrier. */
static void project_heads(struct hearth_step *s, const struct hearth_matrix *matrix, heads_fn *finish)
{
    const struct hearth_batch *b = s->batch;
    const uint32_t d = b->model->hparams.head_dim;
    const uint32_t unit = hearth_forward_heads_of_piece(&b->model->hparams) * d;
    float *product = first_tile(s);
    struct hearth_claims claims = hearth_step_claims_of_rows(s, matrix->rows, unit, most_rows(s));
    struct hearth_range rows;
    while (next_rows(&claims, matrix->rows, unit, &rows)) {
        const uint32_t n_rows = rows.end - rows.begin;
        struct hearth_range tokens = {0, 0};
        while (next_block(&tokens, b->n)) {
            hearth_step_multiply(s, matrix, &s->input, product, n_rows, tokens, rows);
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
        hearth_step_report(s, ATTENTION);
    hearth_step_barrier(s, NULL);
    hearth_step_input_from(s, b->buffers->attended, (size_t)h->n_head * h->head_dim, next, ATTENTION);
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
    hearth_step_wanted_kinds(wanted, &m, 1);
    hearth_step_norm_rows(s, &b->model->output_norm, wanted, b->n - b->n_logits, b->n_logits);
    const size_t stride = hearth_align(m->rows, HEARTH_LOGITS_STEP);
    struct hearth_claims claims = hearth_step_claims_of_rows(s, m->rows, HEARTH_ROW_UNIT, most_rows(s));
    struct hearth_range rows;
    while (next_rows(&claims, m->rows, HEARTH_ROW_UNIT, &rows)) {
        struct hearth_range tokens = {0, 0};
        while (next_block(&tokens, b->n_logits))
            hearth_step_multiply(s, m, &s->input, b->buffers->logits + tokens.begin * stride + rows.begin, stride, tokens, rows);
        for (uint32_t t = 0; t < b->n_logits; t++)
            if (!finish_logits(s, b->buffers->logits + t * stride + rows.begin, rows.end - rows.begin))
                hearth_step_report(s, OUTPUT);
    }
}
