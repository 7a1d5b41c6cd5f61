/* Inputs of products: rows of x, normalised or not, as floats or quantized; see forward_parts.h. */
#include "forward_parts.h"

void hearth_step_wanted_kinds(bool wanted[HEARTH_ACTIVATION_COUNT], const struct hearth_matrix *const *matrices, size_t n)
{
    memset(wanted, 0, HEARTH_ACTIVATION_COUNT * sizeof(bool));
    for (size_t i = 0; i < n; i++)
        if (matrices[i])
            wanted[activation_of(matrices[i])] = true;
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

void hearth_step_quantize(const struct hearth_step *s, enum hearth_activation kind, uint8_t *units, size_t stride, const float *x,
                          struct hearth_range part, enum operation operation)
{
    const enum hearth_op op = kind == HEARTH_ACTIVATION_Q8_32 ? HEARTH_OP_QUANTIZE_Q8_32 : HEARTH_OP_QUANTIZE_Q8_256;
    if (!s->batch->kernels->chosen[op][0]->quantize(units, stride, x, part.begin, part.end))
        hearth_step_report(s, operation);
}

/* Row t of the wanted integer kinds. */
static void quantize_row(struct hearth_step *s, const bool wanted[HEARTH_ACTIVATION_COUNT], const float *x, uint32_t t, size_t k,
                         enum operation operation)
{
    static const enum hearth_activation kinds[] = {HEARTH_ACTIVATION_Q8_32, HEARTH_ACTIVATION_Q8_256};
    for (size_t i = 0; i < 2; i++)
        if (wanted[kinds[i]])
            hearth_step_quantize(s, kinds[i], token_at(&s->input.of[kinds[i]], t), s->input.of[kinds[i]].stride, x,
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

void hearth_step_norm_rows(struct hearth_step *s, const struct hearth_norm *norm, const bool wanted[HEARTH_ACTIVATION_COUNT],
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
    hearth_step_wanted_kinds(wanted, (const struct hearth_matrix *const[]){a, b, c, d}, 4);
    hearth_step_norm_rows(s, norm, wanted, 0, s->batch->n);
}

void hearth_step_input_from(struct hearth_step *s, const float *x, size_t k, const struct hearth_matrix *next,
                            enum operation operation)
{
    const enum hearth_activation kind = activation_of(next);
    if (kind == HEARTH_ACTIVATION_F32) {
        const size_t row = k * sizeof(float);
        s->input.of[kind] = (struct hearth_rows){(uint8_t *)(uintptr_t)x, row, row, s->batch->n, s->batch->n * row};
        return;
    }
    bool wanted[HEARTH_ACTIVATION_COUNT];
    hearth_step_wanted_kinds(wanted, &next, 1);
    const struct hearth_range mine = begin_rows(s, wanted, k, s->batch->n);
    for (uint32_t t = mine.begin; t < mine.end; t++)
        quantize_row(s, wanted, x + t * k, t, k, operation);
    end_rows(s, s->batch->n);
}
