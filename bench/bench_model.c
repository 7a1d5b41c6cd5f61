/* A whole model timed; see bench_model.h. Each repeat is probe, prompt, probe, generation, so that a noisy neighbour meets all
 * alike. */
#include "bench_model.h"
#include "common/status.h"
#include "engine.h"
#include "probe.h"
#include "synthetic.h"

#define IDS 512u /* made-up tokens, and the most that are fed at once */

struct bench {
    struct hearth_bench_result *out;
    const struct hearth_bench_options *options;
    hearth_engine *engine;
    hearth_model *model;
    hearth_session *session;
    int32_t ids[IDS];
};

static void say(const struct bench *b, const char *what)
{
    if (b->options->progress)
        b->options->progress(what, b->options->user);
}

static void note_peak(struct bench *b)
{
    const uint64_t now = hearth_machine_private_bytes();
    if (now > b->out->peak_private_bytes)
        b->out->peak_private_bytes = now;
}

static void add(struct hearth_bench_series *s, double value)
{
    if (s->n < HEARTH_BENCH_SAMPLES_MAX)
        s->ts[s->n++] = value;
}

static void finish(struct hearth_bench_series *s)
{
    double sorted[HEARTH_BENCH_SAMPLES_MAX];
    if (s->n == 0)
        return;
    memcpy(sorted, s->ts, s->n * sizeof sorted[0]);
    s->mean = hearth_mean(s->ts, s->n);
    s->deviation = hearth_deviation(s->ts, s->n);
    s->median = hearth_median(sorted, s->n);
}

/* Probes over the model's own weights: the memory, pages and threads that generation uses. */
static void probe(struct bench *b)
{
    const struct hearth_arena *weights = &b->model->arena;
    add(&b->out->read, hearth_probe_read(b->engine->pool, weights->base, weights->bytes, b->engine->kernels.level));
    add(&b->out->dot, hearth_probe_dot(b->engine->pool, b->engine->kernels.level));
}

static hearth_status time_prompt(struct bench *b, hearth_error *err)
{
    hearth_session_reset(b->session);
    const double begin = hearth_seconds();
    for (uint32_t done = 0; done < b->options->n_prompt;) {
        const uint32_t now = b->options->n_prompt - done < IDS ? b->options->n_prompt - done : IDS;
        HEARTH_TRY(hearth_session_feed(b->session, b->ids, now, err));
        done += now;
    }
    add(&b->out->prompt, b->options->n_prompt / (hearth_seconds() - begin));
    note_peak(b);
    return HEARTH_OK;
}

static hearth_status time_generation(struct bench *b, hearth_error *err)
{
    hearth_session_reset(b->session);
    HEARTH_TRY(hearth_session_feed(b->session, b->ids, 1, err));
    const double begin = hearth_seconds();
    for (uint32_t i = 0; i < b->options->n_gen; i++)
        HEARTH_TRY(hearth_session_feed(b->session, &b->ids[(i + 1) % IDS], 1, err));
    add(&b->out->generation, b->options->n_gen / (hearth_seconds() - begin));
    note_peak(b);
    return HEARTH_OK;
}

static hearth_status measure(struct bench *b, hearth_error *err)
{
    char what[64];
    for (uint32_t i = 0; i < b->options->repeats; i++) {
        (void)snprintf(what, sizeof what, "repeat %" PRIu32 " of %" PRIu32, i + 1, b->options->repeats);
        say(b, what);
        probe(b);
        if (b->options->n_prompt)
            HEARTH_TRY(time_prompt(b, err));
        probe(b);
        if (b->options->n_gen)
            HEARTH_TRY(time_generation(b, err));
    }
    probe(b);
    return HEARTH_OK;
}

static void describe(struct bench *b)
{
    struct hearth_bench_result *r = b->out;
    struct hearth_description *d = &b->model->description;
    (void)snprintf(r->model_name, sizeof r->model_name, "%s", d->hparams.name);
    r->model_bytes = d->weight_bytes;
    r->n_parameters = d->n_parameters;
    r->macs_per_token = d->macs_per_token - (uint64_t)d->output.rows * d->output.k;
    for (size_t i = 0; i < hearth_weight_count(d); i++) {
        const struct hearth_weight w = hearth_weight_at(d, i);
        if (w.matrix && w.matrix->rows)
            r->bytes_per_token += w.matrix->rows * hearth_row_bytes(w.matrix->format, w.matrix->k);
        if (w.vector)
            r->bytes_per_token += w.vector->n * sizeof(float);
    }
    for (uint32_t i = 0; i < IDS; i++)
        b->ids[i] = (int32_t)(((uint64_t)i * 2654435761u + 12345) % d->hparams.n_vocab);
}

static hearth_status open_and_measure(struct bench *b, const struct hearth_source *source, hearth_error *err)
{
    const uint32_t longest = b->options->n_prompt > b->options->n_gen + 1 ? b->options->n_prompt : b->options->n_gen + 1;
    const hearth_limits limits = {.struct_size = sizeof limits,
                                  .context = longest,
                                  .batch = b->options->batch < IDS ? b->options->batch : IDS,
                                  .kv_type = b->options->kv_type,
                                  .logits_rows = 1};
    hearth_plan *plan;
    HEARTH_TRY(hearth_plan_open_source(&plan, b->engine, source, &limits, err));
    b->out->plan_bytes = hearth_plan_private_bytes(plan);
    b->out->context = hearth_plan_context(plan);
    b->out->batch = hearth_plan_batch(plan);
    hearth_plan_close(plan);
    say(b, "loading");
    const double begin = hearth_seconds();
    HEARTH_TRY(hearth_model_open_source(&b->model, b->engine, source, &limits, NULL, err));
    b->out->load_seconds = hearth_seconds() - begin;
    note_peak(b);
    HEARTH_TRY(hearth_session_open(&b->session, b->model, &limits, err));
    note_peak(b);
    describe(b);
    return measure(b, err);
}

/* The limit of a shared machine moves while we measure, so each repeat is held against the probes next to it: repeat i lies between
 * probes 2i + first and 2i + first + 1. */
static double median_share(const struct hearth_bench_series *s, double work_per_token, const struct hearth_bench_series *probes,
                           uint32_t first)
{
    double shares[HEARTH_BENCH_SAMPLES_MAX];
    for (uint32_t i = 0; i < s->n; i++)
        shares[i] = s->ts[i] * work_per_token / ((probes->ts[2 * i + first] + probes->ts[2 * i + first + 1]) / 2);
    return s->n ? hearth_median(shares, s->n) : 0;
}

static void summarise(struct hearth_bench_result *r)
{
    finish(&r->prompt);
    finish(&r->generation);
    finish(&r->read);
    finish(&r->dot);
    r->compute_share = median_share(&r->prompt, (double)r->macs_per_token, &r->dot, 0);
    r->bandwidth_share = median_share(&r->generation, (double)r->bytes_per_token, &r->read, 1);
}

hearth_status hearth_bench_model(struct hearth_bench_result *out, hearth_engine *engine, const struct hearth_bench_options *options,
                                 hearth_error *err)
{
    *out = (struct hearth_bench_result){0};
    struct bench b = {.out = out, .options = options, .engine = engine};
    struct hearth_source file_source;
    struct hearth_file_source file = {0};
    struct hearth_synthetic synthetic = {0};
    hearth_status status;
    if (options->path) {
        status = hearth_source_open_file(&file_source, &file, options->path, err);
        if (status == HEARTH_OK)
            status = open_and_measure(&b, &file_source, err);
        hearth_mapping_close(&file.mapping);
    } else {
        const struct hearth_shape *shape = hearth_shape_find(options->shape);
        char quoted[HEARTH_QUOTE_MAX];
        if (!shape)
            return hearth_fail(err, HEARTH_E_CONFIG, NULL, "bench: no such shape (got %s)",
                               hearth_quote(quoted, options->shape, strlen(options->shape)));
        status = hearth_synthetic_open(&synthetic, shape, options->recipe, err);
        if (status == HEARTH_OK)
            status = open_and_measure(&b, &synthetic.source, err);
        hearth_synthetic_close(&synthetic);
    }
    hearth_session_close(b.session);
    hearth_model_close(b.model);
    summarise(out);
    return status;
}
