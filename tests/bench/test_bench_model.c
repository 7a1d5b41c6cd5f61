/* The bench of a model: which tests it makes of lists, the work it counts for them, and that going back to a depth leaves the cache
 * as it was. No time is judged. */
#include "bench_model.h"
#include "engine.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#define MODEL "models/hearth-home.Q4_K_M.gguf"

static hearth_engine *engine;

static void open_engine(void)
{
    const char *source = getenv("HEARTH_SOURCE_DIR");
    const hearth_engine_options options = {.struct_size = sizeof options, .threads = 2};
    if (source)
        cr_assert_eq(chdir(source), 0);
    cr_assert_eq(hearth_engine_open(&engine, &options, NULL), HEARTH_OK);
}

static void close_engine(void)
{
    hearth_engine_close(engine);
}

TestSuite(bench_model, .init = open_engine, .fini = close_engine);

static struct hearth_bench_result measure(struct hearth_bench_options options)
{
    struct hearth_bench_result result;
    hearth_error err = {0};
    options.path = MODEL;
    cr_assert_eq(hearth_bench_model(&result, engine, &options, &err), HEARTH_OK, "%s", err.message);
    return result;
}

#define LIST(...)                                                                                                                  \
    {                                                                                                                              \
        (const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t)                                \
    }

Test(bench_model, one_test_for_each_combination)
{
    struct hearth_bench_result r = measure((struct hearth_bench_options){
        .prompts = LIST(0, 6), .generations = LIST(2, 3), .depths = LIST(0, 40), .batches = LIST(1, 4), .repeats = 2});
    static const struct {
        uint32_t n_prompt, n_gen, depth, batch, n_passes;
    } want[] = {{6, 0, 0, 1, 6}, {6, 0, 0, 4, 2},  {6, 0, 40, 1, 6}, {6, 0, 40, 4, 2},
                {0, 2, 0, 1, 2}, {0, 2, 40, 1, 2}, {0, 3, 0, 1, 3},  {0, 3, 40, 1, 3}};
    cr_assert_eq(r.n_rows, 8);
    cr_expect_eq(r.read.n, 17); /* one before each test of each repeat, one at the end */
    for (size_t i = 0; i < 8; i++) {
        const struct hearth_bench_row *row = &r.rows[i];
        cr_expect(row->n_prompt == want[i].n_prompt && row->n_gen == want[i].n_gen && row->depth == want[i].depth &&
                      row->batch == want[i].batch && row->n_passes == want[i].n_passes,
                  "row %zu: %u %u %u %u %u", i, row->n_prompt, row->n_gen, row->depth, row->batch, row->n_passes);
        cr_expect_eq(row->ts.n, 2);
        for (size_t k = 0; k < 2; k++)
            cr_expect_float_eq(row->ts.values[k] * row->seconds.values[k], row->n_prompt + row->n_gen, 1e-9);
        cr_expect_eq(isfinite(row->attention_share) != 0 && row->n_gen, 0, "row %zu", i);
        cr_expect(row->compute_share > 0 && row->bandwidth_share > 0, "row %zu", i);
        cr_expect(isnan(row->joules_per_token) || row->joules_per_token >= 0);
    }
    hearth_bench_result_free(&r);
}

/* Against the model opened here: 6 layers or so, counted by hand from its description. */
Test(bench_model, the_work_of_a_test)
{
    hearth_model *model;
    cr_assert_eq(hearth_model_open(&model, engine, MODEL, NULL, NULL, NULL), HEARTH_OK);
    struct hearth_description *d = &model->description;
    const struct hearth_hparams *h = &d->hparams;
    const double kv = 2.0 * h->n_layer * h->n_head_kv * h->head_dim * 2;
    const double attention = 2.0 * h->n_layer * h->n_head * h->head_dim;
    const double output_macs = (double)d->output.rows * d->output.k;
    const double output_bytes = (double)(d->output.rows * hearth_row_bytes(d->output.format, d->output.k));
    double weights = 0;
    for (size_t i = 0; i < hearth_weight_count(d); i++) {
        const struct hearth_weight w = hearth_weight_at(d, i);
        if (w.matrix && w.matrix->rows)
            weights += (double)(w.matrix->rows * hearth_row_bytes(w.matrix->format, w.matrix->k));
        if (w.vector)
            weights += 4.0 * w.vector->n;
    }
    struct hearth_bench_result r = measure((struct hearth_bench_options){
        .prompts = LIST(6), .generations = LIST(3), .depths = LIST(40), .batches = LIST(4), .repeats = 1});
    const struct hearth_bench_row *pp = &r.rows[0];
    const struct hearth_bench_row *tg = &r.rows[1];
    cr_expect_float_eq(pp->kv_bytes_per_token, kv * (40 + 44) / 6, 1);
    cr_expect_float_eq(pp->bytes_per_token, (2 * (weights - output_bytes) + output_bytes + kv * 84) / 6, 1);
    cr_expect_float_eq(pp->macs_per_token, ((double)d->macs_per_token - output_macs) + output_macs / 6, 1);
    cr_expect_float_eq(pp->attention_macs_per_token, attention * (41 + 42 + 43 + 44 + 45 + 46) / 6, 1);
    cr_expect_float_eq(tg->kv_bytes_per_token, kv * 41, 1);
    cr_expect_float_eq(tg->bytes_per_token, weights + kv * 41, 1);
    cr_expect_float_eq(tg->macs_per_token, (double)d->macs_per_token, 1);
    cr_expect_float_eq(tg->attention_macs_per_token, attention * 42, 1);
    hearth_bench_result_free(&r);
    hearth_model_close(model);
}

Test(bench_model, the_share_is_that_of_the_probes_beside_it)
{
    struct hearth_bench_result r = measure((struct hearth_bench_options){
        .prompts = LIST(8), .generations = LIST(4), .depths = LIST(0), .batches = LIST(8), .repeats = 1});
    for (size_t i = 0; i < 2; i++) {
        const double *dot = &r.dot.values[i];
        const double *read = &r.read.values[i];
        cr_expect_float_eq(r.rows[i].compute_share, r.rows[i].ts.values[0] * r.rows[i].macs_per_token / ((dot[0] + dot[1]) / 2),
                           1e-9);
        cr_expect_float_eq(r.rows[i].bandwidth_share,
                           r.rows[i].ts.values[0] * r.rows[i].bytes_per_token / ((read[0] + read[1]) / 2), 1e-9);
    }
    cr_expect_float_eq(r.noise, fmax(r.read.spread, r.dot.spread), 1e-12);
    hearth_bench_result_free(&r);
}

Test(bench_model, energy_from_counters_that_stand_still)
{
    char root[] = "/tmp/hearth-bench-XXXXXX";
    char command[400];
    cr_assert(mkdtemp(root));
    (void)snprintf(command, sizeof command,
                   "mkdir %s/z:0 && cd %s/z:0 && echo package-0 >name && echo 5 >energy_uj && echo 100 >max_energy_range_uj", root,
                   root);
    cr_assert_eq(system(command), 0);
    struct hearth_bench_result r = measure(
        (struct hearth_bench_options){.prompts = LIST(4), .depths = LIST(0), .batches = LIST(4), .repeats = 1, .powercap = root});
    cr_expect_str_eq(r.energy, "powercap");
    cr_expect_eq(r.rows[0].joules_per_token, 0);
    hearth_bench_result_free(&r);
    (void)snprintf(command, sizeof command, "rm -rf %s", root);
    cr_expect_eq(system(command), 0);
}

Test(bench_model, no_tests)
{
    struct hearth_bench_result r;
    hearth_error err = {0};
    const struct hearth_bench_options options = {
        .path = MODEL, .prompts = LIST(0), .generations = LIST(0), .depths = LIST(0), .batches = LIST(1), .repeats = 1};
    cr_expect_eq(hearth_bench_model(&r, engine, &options, &err), HEARTH_E_CONFIG);
    hearth_bench_result_free(&r);
}

/* Back to a depth, and further on again: the same tokens give the same logits, bit for bit. */
Test(bench_model, standing_at_a_depth)
{
    enum { N = 80 };
    hearth_model *model;
    hearth_session *session;
    int32_t ids[N];
    float *first = malloc(1 << 20);
    const hearth_limits limits = {.struct_size = sizeof limits, .context = N, .batch = 16};
    cr_assert_eq(hearth_model_open(&model, engine, MODEL, &limits, NULL, NULL), HEARTH_OK);
    cr_assert_eq(hearth_session_open(&session, model, &limits, NULL), HEARTH_OK);
    for (int32_t i = 0; i < N; i++)
        ids[i] = 300 + 7 * i;
    cr_assert_eq(hearth_session_feed(session, ids, N, NULL), HEARTH_OK);
    const size_t bytes = model->description.hparams.n_vocab * sizeof *first;
    cr_assert_leq(bytes, 1 << 20);
    memcpy(first, hearth_session_logits(session, 0), bytes);
    static const uint32_t depths[] = {50, 0, 79, 33};
    for (size_t i = 0; i < 4; i++) {
        hearth_session_stand_at(session, depths[i]);
        cr_expect_eq(hearth_session_position(session), depths[i]);
        cr_expect_null(hearth_session_logits(session, 0));
        if (depths[i] < 40) { /* part of the way, then on from where the first feeding left off */
            cr_assert_eq(hearth_session_feed(session, ids + depths[i], 7, NULL), HEARTH_OK);
            hearth_session_stand_at(session, 70);
        }
        const uint32_t at = hearth_session_position(session);
        cr_assert_eq(hearth_session_feed(session, ids + at, N - at, NULL), HEARTH_OK);
        cr_expect_eq(memcmp(first, hearth_session_logits(session, 0), bytes), 0, "from depth %u", depths[i]);
    }
    free(first);
    hearth_session_close(session);
    hearth_model_close(model);
}
