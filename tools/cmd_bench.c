/* hearth bench: how fast this machine runs a model, and what the machine allows, measured in the same process. */
#include "bench_kernels.h"
#include "bench_model.h"
#include "commands.h"
#include "options.h"
#include "output.h"
#include "report.h"
#include "shapes.h"
#include "text.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define KERNEL_BYTES ((uint64_t)256 << 20) /* larger than any cache */

static const struct argp_option table[] = {
    OPTION_MODEL,
    {"shape", OPTION_KEY_SHAPE, "NAME", 0, "made-up weights of a known shape, such as llama-2-7b", 1},
    {"quant", OPTION_KEY_QUANT, "RECIPE", 0, "their types (Q4_K_M)", 1},
    {"n-prompt", 'p', "N", 0, "prompt tokens (128)", 3},
    {"pp", OPTION_KEY_PP, "N", 0, "the same", 3},
    {"n-gen", 'n', "N", 0, "generated tokens (16)", 3},
    {"tg", OPTION_KEY_TG, "N", 0, "the same", 3},
    {"repeats", 'r', "N", 0, "interleaved repeats (3)", 3},
    OPTION_BATCH,
    OPTION_THREADS,
    OPTION_KV,
    OPTION_RAM_CAP,
    {"format", OPTION_KEY_FORMAT, "FORMAT", 0, "md (a table) or json", 6},
    OPTION_JSON,
    OPTION_QUIET,
    OPTION_HELP,
    {0},
};

static const struct options_command command = {
    "hearth bench",
    "Time a model (-m, or --shape with made-up weights) or, without either, every kernel; beside the limits of the machine.",
    table};

/* ---- A model -------------------------------------------------------------------------------------------------------- */

static void show_progress(const char *what, void *user)
{
    (void)user;
    report_note("%s", what);
}

static json_t *model_row(const struct options *o, const hearth_engine *engine, const struct hearth_bench_result *r,
                         const struct hearth_bench_series *s, uint32_t n_prompt, uint32_t n_gen)
{
    const double tokens = n_prompt + n_gen;
    json_t *samples = json_array();
    for (uint32_t i = 0; i < s->n; i++)
        output_append(samples, json_real(s->ts[i]));
    json_t *row = json_object();
    output_set(row, "model_filename", json_string(o->shape ? o->shape : o->model));
    output_set(row, "model_type", output_text(r->model_name, strlen(r->model_name)));
    if (o->shape)
        output_set(row, "model_quant", json_string(o->quant));
    output_set(row, "model_size", json_integer((json_int_t)r->model_bytes));
    output_set(row, "model_n_params", json_integer((json_int_t)r->n_parameters));
    output_set(row, "n_batch", json_integer(r->batch));
    output_set(row, "n_threads", json_integer(hearth_engine_threads(engine)));
    output_set(row, "type_k", json_string(o->kv_type == HEARTH_KV_F32 ? "f32" : "f16"));
    output_set(row, "type_v", json_string(o->kv_type == HEARTH_KV_F32 ? "f32" : "f16"));
    output_set(row, "n_prompt", json_integer(n_prompt));
    output_set(row, "n_gen", json_integer(n_gen));
    output_set(row, "n_depth", json_integer(0));
    output_set(row, "avg_ns", json_integer((json_int_t)(1e9 * tokens / s->mean)));
    output_set(row, "avg_ts", json_real(s->mean));
    output_set(row, "stddev_ts", json_real(s->deviation));
    output_set(row, "median_ts", json_real(s->median));
    output_set(row, "samples_ts", samples);
    output_set(row, "cpu_level", json_string(hearth_engine_cpu_level(engine)));
    output_set(row, "probe_read_gbs", json_real(r->read.median / 1e9));
    output_set(row, "probe_dot_gmacs", json_real(r->dot.median / 1e9));
    output_set(row, "bytes_per_token", json_integer((json_int_t)r->bytes_per_token));
    output_set(row, "macs_per_token", json_integer((json_int_t)r->macs_per_token));
    output_set(row, "bandwidth_share", n_gen ? json_real(r->bandwidth_share) : json_null());
    output_set(row, "compute_share", n_prompt ? json_real(r->compute_share) : json_null());
    output_set(row, "load_seconds", json_real(r->load_seconds));
    output_set(row, "plan_bytes", json_integer((json_int_t)r->plan_bytes));
    output_set(row, "peak_private_bytes", json_integer((json_int_t)r->peak_private_bytes));
    return row;
}

static int print_model_json(const struct options *o, const hearth_engine *engine, const struct hearth_bench_result *r)
{
    json_t *rows = json_array();
    if (o->n_prompt)
        output_append(rows, model_row(o, engine, r, &r->prompt, o->n_prompt, 0));
    if (o->n_gen)
        output_append(rows, model_row(o, engine, r, &r->generation, 0, o->n_gen));
    return output_json(rows, JSON_INDENT(2));
}

static void print_series(const char *test, uint32_t n, const struct hearth_bench_series *s, const char *limit, double share)
{
    (void)printf("| %s%-6" PRIu32 " | %10.2f | %10.2f ± %-8.2f | %5.1f %% of %s |\n", test, n, s->median, s->mean, s->deviation,
                 100 * share, limit);
}

static int print_model_table(const struct options *o, const hearth_engine *engine, const struct hearth_bench_result *r)
{
    char size[TEXT_BYTES_MAX];
    char plan[TEXT_BYTES_MAX];
    char peak[TEXT_BYTES_MAX];
    (void)printf("%s %s, %s, %.2f G parameters; %s kernels, %" PRIu32 " threads, batch %" PRIu32 "\n", r->model_name,
                 o->shape ? o->quant : "", text_bytes(size, r->model_bytes), (double)r->n_parameters / 1e9,
                 hearth_engine_cpu_level(engine), hearth_engine_threads(engine), r->batch);
    (void)printf("limits of this run: read %.1f GB/s (± %.1f), integer dot %.0f GMAC/s (± %.0f)\n", r->read.median / 1e9,
                 r->read.deviation / 1e9, r->dot.median / 1e9, r->dot.deviation / 1e9);
    (void)printf("| test     | median t/s |       mean ± deviation | share of the limit        |\n"
                 "|----------|------------|------------------------|---------------------------|\n");
    if (o->n_prompt)
        print_series("pp", o->n_prompt, &r->prompt, "integer dot", r->compute_share);
    if (o->n_gen)
        print_series("tg", o->n_gen, &r->generation, "read bandwidth", r->bandwidth_share);
    (void)printf("loaded in %.2f s; plan %s, peak private memory %s (%.1f %% of the plan)\n", r->load_seconds,
                 text_bytes(plan, r->plan_bytes), text_bytes(peak, r->peak_private_bytes),
                 100 * (double)r->peak_private_bytes / (double)r->plan_bytes);
    return report_finish_output();
}

static int bench_model(const struct options *o, hearth_engine *engine)
{
    const struct hearth_bench_options options = {.shape = o->shape,
                                                 .recipe = o->quant,
                                                 .path = o->shape ? NULL : o->model,
                                                 .n_prompt = o->n_prompt,
                                                 .n_gen = o->n_gen,
                                                 .batch = o->batch,
                                                 .repeats = o->repeats,
                                                 .kv_type = o->kv_type,
                                                 .progress = show_progress};
    struct hearth_bench_result *result = malloc(sizeof *result);
    hearth_error error = {0};
    int exit_code;
    if (!result) {
        (void)report_no_memory(&error, "the results");
        return report_error(&error);
    }
    if (hearth_bench_model(result, engine, &options, &error) != HEARTH_OK)
        exit_code = report_error(&error);
    else
        exit_code = (o->json ? print_model_json : print_model_table)(o, engine, result);
    free(result);
    return exit_code;
}

/* ---- Kernels -------------------------------------------------------------------------------------------------------- */

struct kernel_rows {
    struct hearth_kernel_timing rows[128];
    size_t n;
};

static void keep_row(const struct hearth_kernel_timing *timing, void *user)
{
    struct kernel_rows *rows = user;
    if (rows->n < sizeof rows->rows / sizeof rows->rows[0])
        rows->rows[rows->n++] = *timing;
}

static int print_kernels_json(const struct kernel_rows *rows, const hearth_engine *engine, double read, double dot)
{
    json_t *array = json_array();
    for (size_t i = 0; i < rows->n; i++) {
        const struct hearth_kernel_timing *t = &rows->rows[i];
        output_append(array, json_pack("{s:s, s:i, s:i, s:s, s:f, s:f, s:f, s:f, s:f, s:f}", "kernel", t->kernel, "n_tokens",
                                       (int)t->n_tokens, "n_threads", (int)hearth_engine_threads(engine), "cpu_level",
                                       hearth_engine_cpu_level(engine), "gmacs", t->macs_per_second / 1e9, "compute_share",
                                       t->macs_per_second / dot, "gbs", t->bytes_per_second / 1e9, "bandwidth_share",
                                       t->bytes_per_second / read, "probe_read_gbs", read / 1e9, "probe_dot_gmacs", dot / 1e9));
    }
    return output_json(array, JSON_INDENT(2));
}

static int print_kernels_table(const struct kernel_rows *rows, const hearth_engine *engine, double read, double dot)
{
    (void)printf("%s kernels, %" PRIu32 " threads; limits of this run: read %.1f GB/s, integer dot %.0f GMAC/s\n",
                 hearth_engine_cpu_level(engine), hearth_engine_threads(engine), read / 1e9, dot / 1e9);
    (void)printf("| kernel                | tokens |   GMAC/s | of peak |   GB/s | of read |\n"
                 "|-----------------------|--------|----------|---------|--------|---------|\n");
    for (size_t i = 0; i < rows->n; i++) {
        const struct hearth_kernel_timing *t = &rows->rows[i];
        (void)printf("| %-21s | %6" PRIu32 " | %8.1f | %5.1f %% | %6.1f | %5.1f %% |\n", t->kernel, t->n_tokens,
                     t->macs_per_second / 1e9, 100 * t->macs_per_second / dot, t->bytes_per_second / 1e9,
                     100 * t->bytes_per_second / read);
    }
    return report_finish_output();
}

static int bench_kernels(const struct options *o, hearth_engine *engine)
{
    struct kernel_rows *rows = calloc(1, sizeof *rows);
    hearth_error error = {0};
    double read;
    double dot;
    int exit_code;
    if (!rows) {
        (void)report_no_memory(&error, "the results");
        return report_error(&error);
    }
    if (hearth_bench_kernels(engine, KERNEL_BYTES, keep_row, rows, &read, &dot, &error) != HEARTH_OK)
        exit_code = report_error(&error);
    else
        exit_code = (o->json ? print_kernels_json : print_kernels_table)(rows, engine, read, dot);
    free(rows);
    return exit_code;
}

int cmd_bench(int argc, char **argv)
{
    struct options options;
    int exit_code;
    if (!options_parse(&options, &exit_code, &command, argc, argv))
        return exit_code;
    hearth_error error = {0};
    hearth_engine *engine = NULL;
    if (options_open_engine(&engine, &options, options.threads, &error) != HEARTH_OK)
        return report_error(&error);
    report_release_log();
    exit_code = options.shape || options.model_given ? bench_model(&options, engine) : bench_kernels(&options, engine);
    hearth_engine_close(engine);
    return exit_code;
}
