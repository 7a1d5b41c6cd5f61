/* The beginning of a batch: embeddings, and the angles of its positions; see forward.h. */
#include "forward_parts.h"

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
