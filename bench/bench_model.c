/* A whole model timed; see bench_model.h. The repeats are probe, test 1, probe, test 2 and so on, so that a noisy neighbour meets
 * all alike, and each test has a probe on both sides.
 *
 * The token of a position is the same in every test. What a test writes into the cache is therefore what was there before, bit for
 * bit, and one filling serves all depths. */
#include "bench_model.h"
#include "common/status.h"
#include "cpu.h"
#include "energy.h"
#include "engine.h"
#include "probe.h"
#include "synthetic.h"
#include <math.h>
#include <stdlib.h>

struct bench {
    struct hearth_bench_result *out;
    const struct hearth_bench_options *options;
    hearth_engine *engine;
    hearth_model *model;
    hearth_session *session;
    struct hearth_energy energy;
    int32_t *ids; /* [context] the token of each position */
    uint32_t context, batch;
    double *joules; /* [n_rows] over all repeats */
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

/* ---- Numbers -------------------------------------------------------------------------------------------------------- */

static void add(struct hearth_bench_series *s, double value)
{
    s->values[s->n++] = value;
}

static hearth_status finish(struct hearth_bench_series *s, hearth_error *err)
{
    if (s->n == 0)
        return HEARTH_OK;
    double *sorted = malloc(s->n * sizeof *sorted);
    if (!sorted)
        return hearth_fail(err, HEARTH_E_MEMORY, NULL, "bench: no memory for the results");
    memcpy(sorted, s->values, s->n * sizeof *sorted);
    s->mean = hearth_mean(s->values, s->n);
    s->deviation = hearth_deviation(s->values, s->n);
    s->median = hearth_median(sorted, s->n);
    s->spread = (sorted[s->n - 1] - sorted[0]) / s->median;
    free(sorted);
    return HEARTH_OK;
}

/* Probes over the model's own weights: the memory, pages and threads that generation uses. */
static void probe(struct bench *b)
{
    const struct hearth_arena *weights = &b->model->arena;
    const enum hearth_cpu_level level = b->engine->kernels.level;
    add(&b->out->read, hearth_probe_read(b->engine->pool, weights->base, weights->bytes, level));
    add(&b->out->dot, hearth_probe_dot(b->engine->pool, level));
    add(&b->out->fma, hearth_probe_fma(b->engine->pool, level));
}

/* ---- The tests ------------------------------------------------------------------------------------------------------ */

static struct hearth_bench_row *next_row(struct hearth_bench_result *r)
{
    return r->rows && r->n_rows < HEARTH_BENCH_TESTS_MAX ? &r->rows[r->n_rows] : NULL;
}

/* Count the tests, or with memory for the rows write them down. */
static size_t list_tests(struct hearth_bench_result *r, const struct hearth_bench_options *o)
{
    size_t n = 0;
    for (size_t p = 0; p < o->prompts.n; p++)
        for (size_t d = 0; d < o->depths.n; d++)
            for (size_t i = 0; i < o->batches.n && o->prompts.values[p]; i++, n++) {
                struct hearth_bench_row *row = next_row(r);
                if (!row)
                    continue;
                *row = (struct hearth_bench_row){
                    .n_prompt = o->prompts.values[p], .depth = o->depths.values[d], .batch = o->batches.values[i]};
                r->n_rows++;
            }
    for (size_t g = 0; g < o->generations.n; g++)
        for (size_t d = 0; d < o->depths.n && o->generations.values[g]; d++, n++) {
            struct hearth_bench_row *row = next_row(r);
            if (!row)
                continue;
            *row = (struct hearth_bench_row){.n_gen = o->generations.values[g], .depth = o->depths.values[d], .batch = 1};
            r->n_rows++;
        }
    return n;
}

static hearth_status make_tests(struct bench *b, hearth_error *err)
{
    struct hearth_bench_result *r = b->out;
    const size_t repeats = b->options->repeats;
    const size_t n = list_tests(r, b->options);
    if (n == 0 || n > HEARTH_BENCH_TESTS_MAX)
        return hearth_fail(err, HEARTH_E_CONFIG, NULL, "bench: wrong number of tests (got %zu, need 1 to %d)", n,
                           HEARTH_BENCH_TESTS_MAX);
    const size_t probes = n * repeats + 1;
    r->rows = calloc(n, sizeof *r->rows);
    r->samples = calloc(2 * n * repeats + 3 * probes, sizeof *r->samples);
    b->joules = calloc(n, sizeof *b->joules);
    if (!r->rows || !r->samples || !b->joules)
        return hearth_fail(err, HEARTH_E_MEMORY, NULL, "bench: no memory for the results");
    (void)list_tests(r, b->options);
    double *at = r->samples;
    for (size_t i = 0; i < n; i++, at += 2 * repeats) {
        r->rows[i].seconds.values = at;
        r->rows[i].ts.values = at + repeats;
        const uint32_t end = r->rows[i].depth + r->rows[i].n_prompt + r->rows[i].n_gen;
        b->context = end > b->context ? end : b->context;
    }
    for (size_t i = 0; i < b->options->batches.n; i++)
        b->batch = b->options->batches.values[i] > b->batch ? b->options->batches.values[i] : b->batch;
    r->read.values = at;
    r->dot.values = at + probes;
    r->fma.values = at + 2 * probes;
    return HEARTH_OK;
}

/* Feed the tokens of the next n positions, `batch` in a forward pass. */
static hearth_status feed(struct bench *b, uint32_t n, uint32_t batch, hearth_error *err)
{
    b->session->limits.batch = batch < b->batch ? batch : b->batch;
    return hearth_session_feed(b->session, b->ids + hearth_session_position(b->session), n, err);
}

static hearth_status run_test(struct bench *b, const struct hearth_bench_row *row, hearth_error *err)
{
    if (row->n_prompt)
        return feed(b, row->n_prompt, row->batch, err);
    for (uint32_t i = 0; i < row->n_gen; i++)
        HEARTH_TRY(feed(b, 1, 1, err));
    return HEARTH_OK;
}

static hearth_status time_test(struct bench *b, size_t index, hearth_error *err)
{
    struct hearth_bench_row *row = &b->out->rows[index];
    if (row->seconds.n == 0)
        row->began = time(NULL);
    hearth_session_stand_at(b->session, row->depth);
    const struct hearth_energy_reading before = hearth_energy_read(&b->energy);
    const double begin = hearth_seconds();
    HEARTH_TRY(run_test(b, row, err));
    const double seconds = hearth_seconds() - begin;
    const struct hearth_energy_reading after = hearth_energy_read(&b->energy);
    add(&row->seconds, seconds);
    add(&row->ts, (row->n_prompt + row->n_gen) / seconds);
    b->joules[index] += hearth_energy_between(&b->energy, &before, &after);
    note_peak(b);
    return HEARTH_OK;
}

/* A model's first passes over so many tokens look for the best way of prefetch. */
static hearth_status warm_up_with(struct bench *b, uint32_t tokens, hearth_error *err)
{
    for (uint32_t i = 0; i <= HEARTH_PREFETCH_ROUNDS * HEARTH_PREFETCH_WAYS; i++) {
        hearth_session_stand_at(b->session, 0);
        HEARTH_TRY(feed(b, tokens, tokens, err));
    }
    return HEARTH_OK;
}

/* What is timed comes after them. */
static hearth_status warm_up(struct bench *b, hearth_error *err)
{
    bool timed[HEARTH_PREFETCH_TOKENS + 1] = {[1] = true};
    for (size_t i = 0; i < b->out->n_rows; i++) {
        const struct hearth_bench_row *row = &b->out->rows[i];
        const uint32_t tokens = row->n_prompt < row->batch ? row->n_prompt : row->batch;
        if (tokens <= HEARTH_PREFETCH_TOKENS)
            timed[tokens] = true;
    }
    for (uint32_t tokens = 1; tokens <= HEARTH_PREFETCH_TOKENS; tokens++)
        if (timed[tokens])
            HEARTH_TRY(warm_up_with(b, tokens, err));
    return HEARTH_OK;
}

/* Fill the cache as deep as any test wants it. */
static hearth_status fill(struct bench *b, hearth_error *err)
{
    uint32_t depth = 0;
    for (size_t i = 0; i < b->out->n_rows; i++)
        depth = b->out->rows[i].depth > depth ? b->out->rows[i].depth : depth;
    if (depth == 0)
        return HEARTH_OK;
    say(b, "filling the cache");
    hearth_session_stand_at(b->session, 0);
    return feed(b, depth, b->batch, err);
}

static hearth_status measure(struct bench *b, hearth_error *err)
{
    char what[64];
    HEARTH_TRY(warm_up(b, err));
    HEARTH_TRY(fill(b, err));
    for (uint32_t i = 0; i < b->options->repeats; i++) {
        (void)snprintf(what, sizeof what, "repeat %" PRIu32 " of %" PRIu32, i + 1, b->options->repeats);
        say(b, what);
        for (size_t j = 0; j < b->out->n_rows; j++) {
            probe(b);
            HEARTH_TRY(time_test(b, j, err));
        }
    }
    probe(b);
    return HEARTH_OK;
}

/* ---- The work of a test --------------------------------------------------------------------------------------------- */

/* Of one forward pass over n tokens: bytes of weights but those of the output matrix, and those. Of experts there are as many as
 * the tokens may use, which is exact for one token. */
static void count_weights(struct hearth_description *d, uint32_t n, double *layers, double *output)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < hearth_weight_count(d); i++) {
        const struct hearth_weight w = hearth_weight_at(d, i);
        if (w.matrix && w.matrix->rows)
            bytes += (uint64_t)hearth_matrices_used(&d->hparams, w.matrix, n) * w.matrix->rows *
                     hearth_row_bytes(w.matrix->format, w.matrix->k);
        if (w.vector && w.vector != &d->rope_freqs)
            bytes += w.vector->n * sizeof(float);
    }
    *output = (double)(d->output.rows * hearth_row_bytes(d->output.format, d->output.k));
    *layers = (double)bytes - *output;
}

/* Sum of first, first + step, … of n terms. */
static double sum_of(double first, double step, double n)
{
    return n * first + step * n * (n - 1) / 2;
}

/* The same, but no term above `most`. */
static double sum_of_at_most(double first, double step, double n, double most)
{
    double sum = 0;
    for (double i = 0; i < n; i++)
        sum += first + i * step < most ? first + i * step : most;
    return sum;
}

/* Positions of all layers together that n steps see, the first of them `first`. */
static double seen_by_layers(const struct bench *b, double first, double step, double n)
{
    double sum = 0;
    for (uint32_t i = 0; i < b->model->description.hparams.n_layer; i++) {
        const uint32_t window = b->session->cache.layers[i].window;
        sum += window ? sum_of_at_most(first, step, n, window) : sum_of(first, step, n);
    }
    return sum;
}

/* A generation needs the output matrix for every token, a prompt for its last. A pass reads keys and values of the positions before
 * it (its own are still in the caches); a token multiplies with all positions up to its own. */
static void count_work(struct bench *b, uint64_t kv_bytes)
{
    struct hearth_description *d = &b->model->description;
    const struct hearth_hparams *h = &d->hparams;
    const double output_macs = (double)((uint64_t)d->output.rows * d->output.k);
    const double position_macs = 2.0 * h->n_head * h->head_dim; /* of a layer */
    double layers;
    double output;
    for (size_t i = 0; i < b->out->n_rows; i++) {
        struct hearth_bench_row *row = &b->out->rows[i];
        const uint32_t n = row->n_prompt + row->n_gen;
        const uint32_t batch = row->batch < b->batch ? row->batch : b->batch;
        count_weights(d, n < batch ? n : batch, &layers, &output);
        const double outputs = row->n_gen ? row->n_gen : 1;
        row->n_passes = (n + batch - 1) / batch;
        row->kv_bytes_per_token = (double)kv_bytes / h->n_layer * seen_by_layers(b, row->depth, batch, row->n_passes) / n;
        row->bytes_per_token = (layers * row->n_passes + output * outputs) / n + row->kv_bytes_per_token;
        row->macs_per_token = (double)d->macs_per_token - output_macs + output_macs * outputs / n;
        row->attention_macs_per_token = position_macs * seen_by_layers(b, row->depth + 1.0, 1, n) / n;
    }
}

/* Bytes of keys and values of one position. */
static hearth_status position_bytes(struct bench *b, uint64_t *out, hearth_error *err)
{
    hearth_estimate estimate = {.struct_size = sizeof estimate};
    hearth_session_reset(b->session);
    HEARTH_TRY(hearth_session_estimate(b->session, NULL, 0, 0, 1, &estimate, err));
    *out = estimate.kv_bytes / estimate.n_needed;
    return HEARTH_OK;
}

/* ---- Opening -------------------------------------------------------------------------------------------------------- */

/* The name of a file that has none in it. */
static const char *last_of(const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    return slash ? slash + 1 : path ? path : "";
}

static hearth_status describe(struct bench *b, hearth_error *err)
{
    struct hearth_bench_result *r = b->out;
    const struct hearth_description *d = &b->model->description;
    uint64_t kv_bytes;
    (void)snprintf(r->model_name, sizeof r->model_name, "%s", d->hparams.name[0] ? d->hparams.name : last_of(b->options->path));
    hearth_cpu_brand(r->cpu);
    r->model_bytes = d->weight_bytes;
    r->n_parameters = d->n_parameters;
    b->ids = malloc(b->context * sizeof *b->ids);
    if (!b->ids)
        return hearth_fail(err, HEARTH_E_MEMORY, NULL, "bench: no memory for %" PRIu32 " tokens", b->context);
    for (uint32_t i = 0; i < b->context; i++)
        b->ids[i] = (int32_t)(((uint64_t)i * 2654435761u + 12345) % d->hparams.n_vocab);
    HEARTH_TRY(position_bytes(b, &kv_bytes, err));
    count_work(b, kv_bytes);
    return HEARTH_OK;
}

/* The products of the first prompt test, batch by batch, as OpenBLAS would compute them. */
static hearth_status time_blas(struct bench *b, hearth_error *err)
{
    if (b->out->n_rows == 0 || b->out->rows[0].n_prompt == 0)
        return HEARTH_OK;
    if (b->model->description.hparams.n_expert)
        return hearth_fail(err, HEARTH_E_UNSUPPORTED, "E_EXPERTS", "bench: OpenBLAS is not measured on models with experts");
    const uint32_t batch = b->out->rows[0].batch < b->batch ? b->out->rows[0].batch : b->batch;
    const uint32_t n = b->out->rows[0].n_prompt < batch ? b->out->rows[0].n_prompt : batch;
    say(b, "OpenBLAS");
    return hearth_bench_blas(&b->out->blas, b->engine, &b->model->description, n, err);
}

static hearth_limits limits_of(const struct bench *b)
{
    return (hearth_limits){.struct_size = sizeof(hearth_limits),
                           .context = b->context,
                           .batch = b->batch,
                           .kv_type = b->options->kv_type,
                           .logits_rows = 1};
}

static hearth_status plan_and_load(struct bench *b, const struct hearth_source *source, hearth_error *err)
{
    const hearth_limits limits = limits_of(b);
    hearth_plan *plan;
    HEARTH_TRY(hearth_plan_open_source(&plan, b->engine, source, &limits, err));
    b->out->plan_bytes = hearth_plan_private_bytes(plan);
    b->batch = hearth_plan_batch(plan);
    hearth_plan_close(plan);
    say(b, "loading");
    const double begin = hearth_seconds();
    HEARTH_TRY(hearth_model_open_source(&b->model, b->engine, source, &limits, NULL, err));
    b->out->load_seconds = hearth_seconds() - begin;
    note_peak(b);
    return HEARTH_OK;
}

/* The source is closed: its header counts while loading only. */
static hearth_status open_session_and_measure(struct bench *b, hearth_error *err)
{
    const hearth_limits limits = limits_of(b);
    HEARTH_TRY(hearth_session_open(&b->session, b->model, &limits, err));
    note_peak(b);
    HEARTH_TRY(describe(b, err));
    HEARTH_TRY(measure(b, err));
    return b->options->blas ? time_blas(b, err) : HEARTH_OK;
}

static hearth_status load_shape(struct bench *b, hearth_error *err)
{
    struct hearth_synthetic synthetic = {0};
    const struct hearth_shape *shape = hearth_shape_find(b->options->shape);
    if (!shape) {
        char quoted[HEARTH_QUOTE_MAX];
        char names[160];
        hearth_shape_names(names, sizeof names);
        return hearth_fail(err, HEARTH_E_CONFIG, NULL, "bench: no such shape (got %s, need one of %s)",
                           hearth_quote(quoted, b->options->shape, strlen(b->options->shape)), names);
    }
    hearth_status status = hearth_synthetic_open(&synthetic, shape, b->options->recipe, err);
    if (status == HEARTH_OK)
        status = plan_and_load(b, &synthetic.source, err);
    hearth_synthetic_close(&synthetic);
    return status;
}

static hearth_status load_file(struct bench *b, hearth_error *err)
{
    struct hearth_source source;
    struct hearth_file_source file = {0};
    hearth_status status = hearth_source_open_file(&source, &file, b->options->path, err);
    if (status == HEARTH_OK)
        status = plan_and_load(b, &source, err);
    hearth_parts_close(&file.parts);
    return status;
}

/* ---- The verdicts --------------------------------------------------------------------------------------------------- */

/* The limit of a shared machine moves while we measure, so each repeat is held against the probes next to it: repeat i of test j
 * lies between probes i * n_rows + j and the one after. */
static void find_share(const struct hearth_bench_result *r, size_t test, double work_per_token,
                       const struct hearth_bench_series *probes, double *median, double *deviation)
{
    double shares[HEARTH_BENCH_REPEATS_MAX];
    const struct hearth_bench_series *ts = &r->rows[test].ts;
    for (size_t i = 0; i < ts->n; i++) {
        const double *beside = &probes->values[i * r->n_rows + test];
        shares[i] = ts->values[i] * work_per_token / ((beside[0] + beside[1]) / 2);
    }
    *deviation = hearth_deviation(shares, ts->n);
    *median = hearth_median(shares, ts->n);
}

static double attention_share(const struct hearth_bench_result *r, const struct hearth_bench_row *row)
{
    for (size_t i = 0; i < r->n_rows; i++) {
        const struct hearth_bench_row *flat = &r->rows[i];
        const double seconds = row->seconds.median - flat->seconds.median;
        if (flat->depth == 0 && flat->n_prompt == row->n_prompt && flat->batch == row->batch && seconds > 0)
            return (row->attention_macs_per_token - flat->attention_macs_per_token) * row->n_prompt / seconds / r->fma.median;
    }
    return (double)NAN;
}

static hearth_status summarise(struct bench *b, hearth_error *err)
{
    struct hearth_bench_result *r = b->out;
    HEARTH_TRY(finish(&r->read, err));
    HEARTH_TRY(finish(&r->dot, err));
    HEARTH_TRY(finish(&r->fma, err));
    r->noise = r->read.spread > r->dot.spread ? r->read.spread : r->dot.spread;
    for (size_t i = 0; i < r->n_rows; i++) {
        struct hearth_bench_row *row = &r->rows[i];
        HEARTH_TRY(finish(&row->seconds, err));
        HEARTH_TRY(finish(&row->ts, err));
        find_share(r, i, row->macs_per_token, &r->dot, &row->compute_share, &row->compute_share_deviation);
        find_share(r, i, row->bytes_per_token, &r->read, &row->bandwidth_share, &row->bandwidth_share_deviation);
        row->joules_per_token = b->joules[i] / ((double)(row->n_prompt + row->n_gen) * b->options->repeats);
    }
    for (size_t i = 0; i < r->n_rows; i++)
        r->rows[i].attention_share = r->rows[i].n_prompt && r->rows[i].depth ? attention_share(r, &r->rows[i]) : (double)NAN;
    return HEARTH_OK;
}

hearth_status hearth_bench_model(struct hearth_bench_result *out, hearth_engine *engine, const struct hearth_bench_options *options,
                                 hearth_error *err)
{
    *out = (struct hearth_bench_result){0};
    struct bench b = {.out = out, .options = options, .engine = engine};
    hearth_energy_open(&b.energy, options->powercap);
    out->energy = b.energy.source;
    hearth_status status = make_tests(&b, err);
    if (status == HEARTH_OK)
        status = options->path ? load_file(&b, err) : load_shape(&b, err);
    if (status == HEARTH_OK)
        status = open_session_and_measure(&b, err);
    hearth_session_close(b.session);
    hearth_model_close(b.model);
    if (status == HEARTH_OK)
        status = summarise(&b, err);
    free(b.ids);
    free(b.joules);
    return status;
}

void hearth_bench_result_free(struct hearth_bench_result *r)
{
    free(r->rows);
    free(r->samples);
    *r = (struct hearth_bench_result){0};
}
