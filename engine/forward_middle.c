/* The feed-forward network's middle, between its two products; see forward_parts.h. */
#include "forward_parts.h"

struct middle hearth_step_middle_before(const struct hearth_step *s, const struct hearth_matrix *next)
{
    const struct hearth_buffers *b = s->batch->buffers;
    struct middle m = {.kind = activation_of(next), .width = next->k};
    m.as_floats = m.kind == HEARTH_ACTIVATION_F32 || is_few(s->batch->n);
    m.rows = rows_at(m.as_floats ? (uint8_t *)b->hidden : b->hidden_rows, kind_of_middle(&m), m.width, s->batch->n);
    return m;
}

void hearth_step_middle_block(struct hearth_step *s, const struct middle *m, const struct hearth_matrix *gate,
                              const struct hearth_matrix *up, const struct hearth_input *input, struct hearth_range tokens,
                              uint32_t first, struct hearth_range rows)
{
    const struct hearth_kernel_set *kernels = s->batch->kernels;
    const uint32_t n_rows = rows.end - rows.begin;
    hearth_step_multiply(s, up, input, first_tile(s), n_rows, tokens, rows);
    if (gate)
        hearth_step_multiply(s, gate, input, second_tile(s), n_rows, tokens, rows);
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
            hearth_step_quantize(s, m->kind, row, m->rows.stride, out, rows, FEED_FORWARD);
    }
}

static void compute_middle(struct hearth_step *s, const struct middle *m, const struct hearth_matrix *gate,
                           const struct hearth_matrix *up)
{
    const uint32_t unit = middle_unit(m);
    struct hearth_claims claims = hearth_step_claims_of_rows(s, m->width, unit, most_rows(s));
    struct hearth_range rows;
    while (next_rows(&claims, m->width, unit, &rows)) {
        struct hearth_range tokens = {0, 0};
        while (next_block(&tokens, s->batch->n))
            hearth_step_middle_block(s, m, gate, up, &s->input, tokens, tokens.begin, rows);
    }
}

void hearth_step_take_middle(struct hearth_step *s, const struct middle *m, uint32_t n, struct hearth_input *out)
{
    out->of[m->kind] = m->rows;
    if (!m->as_floats || m->kind == HEARTH_ACTIVATION_F32)
        return;
    struct hearth_rows *own = &out->of[m->kind];
    *own = rows_together(worker_scratch(s) + s->batch->buffers->scratch_layout.hidden, m->kind, m->width, n);
    for (uint32_t t = 0; t < n; t++) /* few: every worker for itself */
        hearth_step_quantize(s, m->kind, token_at(own, t), own->stride, (const float *)(const void *)token_at(&m->rows, t),
                             (struct hearth_range){0, m->width}, FEED_FORWARD);
}

void hearth_step_gated(struct hearth_step *s, const struct hearth_matrix *gate, const struct hearth_matrix *up,
                       const struct hearth_matrix *next)
{
    const struct middle m = hearth_step_middle_before(s, next);
    compute_middle(s, &m, gate, up);
    hearth_step_barrier(s, next);
    hearth_step_take_middle(s, &m, s->batch->n, &s->input);
}

void hearth_step_gelu(struct hearth_step *s, const struct hearth_matrix *up, const struct hearth_matrix *down)
{
    const struct middle m = hearth_step_middle_before(s, down);
    compute_middle(s, &m, NULL, up);
}
