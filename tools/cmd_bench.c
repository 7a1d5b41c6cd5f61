/* hearth bench: how fast this machine runs a model, and what the machine allows, measured in the same process. */
#include "bench_chart.h"
#include "bench_compare.h"
#include "bench_kernels.h"
#include "bench_model.h"
#include "bench_probe.h"
#include "bench_report.h"
#include "commands.h"
#include "common/block_format.h"
#include "common/status.h"
#include "options.h"
#include "output.h"
#include "report.h"
#include "target.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define KERNEL_BYTES ((uint64_t)256 << 20) /* larger than any cache */

static const struct argp_option table[] = {
    {"model", 'm', "MODEL", 0, "GGUF file", 1},
    {"shape", OPTION_KEY_SHAPE, "NAME", 0, "made-up weights of a known shape, such as llama-2-7b", 2},
    {"quant", OPTION_KEY_QUANT, "RECIPE", 0, "types of the made-up weights (Q4_K_M)", 3},
    {"n-prompt", 'p', "LIST", 0, "prompt tokens (128), such as 32,512 or 1-512*2", 3},
    {"pp", OPTION_KEY_PP, "LIST", OPTION_HIDDEN, NULL, 3},
    {"n-gen", 'n', "LIST", 0, "generated tokens (16)", 3},
    {"tg", OPTION_KEY_TG, "LIST", OPTION_HIDDEN, NULL, 3},
    {"n-depth", 'd', "LIST", 0, "tokens in the cache before (0)", 3},
    {"batch", 'b', "LIST", 0, "prompt tokens of a forward pass (512)", 3},
    {"repeats", 'r', "N", 0, "interleaved repeats (3)", 3},
    {"kernel", OPTION_KEY_KERNEL, "NAME", 0, "only product kernels with NAME in theirs", 4},
    {"probe", OPTION_KEY_PROBE, NULL, 0, "the machine itself: instructions, memory, waiting", 4},
    {"blas", OPTION_KEY_BLAS, NULL, 0, "and what BLAS would do with the first prompt", 4},
    {"compare", OPTION_KEY_COMPARE, "OLD NEW", 0, "two results in JSON, row by row; 1: slower", 4},
    OPTION_THREADS,
    OPTION_KV,
    OPTION_FLOAT_GEMM,
    OPTION_RAM_CAP,
    OPTION_PAGES,
    OPTION_PACK_CACHE,
    {"format", OPTION_KEY_FORMAT, "FORMAT", 0, "md (a table), csv or json", 7},
    {"svg", OPTION_KEY_SVG, "FILE", 0, "and a picture", 7},
    OPTION_JSON,
    OPTION_QUIET,
    OPTION_HELP,
    {0},
};

const struct options_command command_bench = {
    "hearth bench",
    "Time a model (-m, or --shape with made-up weights) or, without either, every kernel; beside the limits of the machine.",
    table};

/* ---- A model -------------------------------------------------------------------------------------------------------- */

static void show_progress(const char *what, void *user)
{
    (void)user;
    report_note("%s", what);
}

static struct hearth_bench_list list_or(const struct options_list *given, const uint32_t *usual)
{
    return given->n ? (struct hearth_bench_list){given->values, given->n} : (struct hearth_bench_list){usual, 1};
}

static int print_model(const struct options *o, const hearth_engine *engine, const struct hearth_bench_result *r)
{
    if (o->format == OPTIONS_MD)
        return bench_print_model_table(o, engine, r);
    return bench_print_rows(bench_model_rows(o, engine, r), o->format);
}

static hearth_status write_chart(struct target *target, const struct options *o, const hearth_engine *engine,
                                 const struct hearth_bench_result *r, hearth_error *error)
{
    if (!o->svg)
        return HEARTH_OK;
    HEARTH_TRY(bench_chart_write(target, o, engine, r, error));
    return target_publish(target, error);
}

static int bench_model(const struct options *o, hearth_engine *engine)
{
    static const uint32_t prompt = 128, generation = 16, depth = 0, batch = 512;
    const struct hearth_bench_options options = {.shape = o->shape,
                                                 .recipe = o->quant,
                                                 .path = o->shape ? NULL : o->model,
                                                 .prompts = list_or(&o->prompts, &prompt),
                                                 .generations = list_or(&o->generations, &generation),
                                                 .depths = list_or(&o->depths, &depth),
                                                 .batches = list_or(&o->batches, &batch),
                                                 .repeats = o->repeats,
                                                 .kv_type = o->kv_type,
                                                 .blas = o->blas,
                                                 .powercap = getenv("HEARTH_POWERCAP"),
                                                 .progress = show_progress};
    struct hearth_bench_result result = {0};
    struct target target = {.name = o->svg, .fd = -1}; /* opened first: what cannot be written is said before the measuring */
    hearth_error error = {0};
    hearth_status status = o->svg ? target_open(&target, &error) : HEARTH_OK;
    if (status == HEARTH_OK)
        status = hearth_bench_model(&result, engine, &options, &error);
    report_release_log(); /* warnings of the opening; at once, they would stand there twice: planning and opening read one header */
    if (status == HEARTH_OK)
        status = write_chart(&target, o, engine, &result, &error);
    const int exit_code = status == HEARTH_OK ? print_model(o, engine, &result) : report_error(&error);
    target_close(&target);
    hearth_bench_result_free(&result);
    return exit_code;
}

/* ---- Kernels -------------------------------------------------------------------------------------------------------- */

struct kernel_rows {
    struct hearth_kernel_timing rows[HEARTH_FORMAT_COUNT * OPTIONS_LIST_MAX];
    size_t n;
    double read, dot;
};

static void keep_row(const struct hearth_kernel_timing *timing, void *user)
{
    struct kernel_rows *rows = user;
    if (rows->n < sizeof rows->rows / sizeof rows->rows[0])
        rows->rows[rows->n++] = *timing;
}

static json_t *kernel_rows(const struct kernel_rows *k, const hearth_engine *engine)
{
    json_t *array = json_array();
    for (size_t i = 0; i < k->n; i++) {
        const struct hearth_kernel_timing *t = &k->rows[i];
        output_append(array,
                      json_pack("{s:s, s:i, s:i, s:s, s:f, s:f, s:f, s:f, s:f, s:f}", "kernel", t->kernel, "n_tokens",
                                (int)t->n_tokens, "n_threads", (int)hearth_engine_threads(engine), "cpu_level",
                                hearth_engine_cpu_level(engine), "gmacs", t->macs_per_second / 1e9, "compute_share",
                                t->macs_per_second / k->dot, "gbs", t->bytes_per_second / 1e9, "bandwidth_share",
                                t->bytes_per_second / k->read, "probe_read_gbs", k->read / 1e9, "probe_dot_gmacs", k->dot / 1e9));
    }
    return array;
}

static int print_kernels_table(const struct kernel_rows *k, const hearth_engine *engine)
{
    (void)printf("%s kernels, %" PRIu32 " threads; limits of this run: read %.1f GB/s, integer dot %.0f GMAC/s\n",
                 hearth_engine_cpu_level(engine), hearth_engine_threads(engine), k->read / 1e9, k->dot / 1e9);
    (void)printf("| kernel                | tokens |   GMAC/s | of peak |   GB/s | of read |\n"
                 "|-----------------------|--------|----------|---------|--------|---------|\n");
    for (size_t i = 0; i < k->n; i++) {
        const struct hearth_kernel_timing *t = &k->rows[i];
        (void)printf("| %-21s | %6" PRIu32 " | %8.1f | %5.1f %% | %6.1f | %5.1f %% |\n", t->kernel, t->n_tokens,
                     t->macs_per_second / 1e9, 100 * t->macs_per_second / k->dot, t->bytes_per_second / 1e9,
                     100 * t->bytes_per_second / k->read);
    }
    return report_finish_output();
}

static int bench_kernels(const struct options *o, hearth_engine *engine)
{
    static const uint32_t usual[] = {1, 4, 16, 128};
    struct kernel_rows *rows = calloc(1, sizeof *rows);
    hearth_error error = {0};
    int exit_code;
    if (!rows) {
        (void)report_no_memory(&error, "the results");
        return report_error(&error);
    }
    const struct hearth_kernel_options options = {.bytes = KERNEL_BYTES,
                                                  .filter = o->kernel,
                                                  .tokens = o->prompts.n ? o->prompts.values : usual,
                                                  .n_tokens = o->prompts.n ? o->prompts.n : sizeof usual / sizeof usual[0],
                                                  .row = keep_row,
                                                  .user = rows};
    if (hearth_bench_kernels(engine, &options, &rows->read, &rows->dot, &error) != HEARTH_OK)
        exit_code = report_error(&error);
    else if (o->format == OPTIONS_MD)
        exit_code = print_kernels_table(rows, engine);
    else
        exit_code = bench_print_rows(kernel_rows(rows, engine), o->format);
    free(rows);
    return exit_code;
}

/* ---- The machine ---------------------------------------------------------------------------------------------------- */

#define PROBE_BYTES ((uint64_t)512 << 20)
#define PROBE_ROWS_MAX 512

struct probe_rows {
    struct hearth_probe_row rows[PROBE_ROWS_MAX];
    size_t n;
};

static void keep_probe(const struct hearth_probe_row *row, void *user)
{
    struct probe_rows *rows = user;
    if (rows->n < PROBE_ROWS_MAX)
        rows->rows[rows->n++] = *row;
}

/* 0 means that it does not apply. */
static json_t *real_or_null(double value)
{
    return value > 0 ? json_real(value) : json_null();
}

static json_t *probe_rows(const struct probe_rows *p, const hearth_engine *engine)
{
    static const char *const kinds[] = {[HEARTH_PROBE_LOOP] = "loop",
                                        [HEARTH_PROBE_READ] = "read",
                                        [HEARTH_PROBE_WAITING] = "waiting",
                                        [HEARTH_PROBE_CLOCK] = "clock"};
    json_t *array = json_array();
    for (size_t i = 0; i < p->n; i++) {
        const struct hearth_probe_row *r = &p->rows[i];
        json_t *row = json_object();
        output_set(row, "probe", json_string(kinds[r->kind]));
        output_set(row, "name", json_string(r->name));
        output_set(row, "cpu_level", json_string(hearth_engine_cpu_level(engine)));
        output_set(row, "n_threads", json_integer(r->threads));
        output_set(row, "streams", r->streams ? json_integer(r->streams) : json_null());
        output_set(row, "prefetch", r->streams ? json_integer(r->prefetch) : json_null());
        output_set(row, "prefetch_steps", r->streams ? json_integer(r->prefetch_steps) : json_null());
        output_set(row, "unit", r->unit ? json_string(r->unit) : json_null());
        output_set(row, "instructions_per_cycle", real_or_null(r->instructions_per_cycle));
        output_set(row, "work_per_cycle", real_or_null(r->work_per_cycle));
        output_set(row, "giga_per_second", real_or_null(r->work_per_second / 1e9));
        output_set(row, "clock_ghz", real_or_null(r->clock_hz / 1e9));
        output_set(row, "ns", real_or_null(r->seconds * 1e9));
        output_append(array, row);
    }
    return array;
}

/* A loop has a row for one thread and, where there are more, one for all. */
static void print_loops(const struct probe_rows *p)
{
    (void)puts("| instructions                          | instr./cycle | work/cycle | one thread | all threads |  clock |\n"
               "|---------------------------------------|--------------|------------|------------|-------------|--------|");
    for (size_t i = 0; i < p->n; i++) {
        const struct hearth_probe_row *one = &p->rows[i];
        const struct hearth_probe_row *all = i + 1 < p->n && p->rows[i + 1].name == one->name ? &p->rows[i + 1] : one;
        if (one->kind != HEARTH_PROBE_LOOP || one->threads > 1)
            continue;
        (void)printf("| %-37s | %12.2f | %6.1f %-3s | %4.0f G%-3s/s | %5.0f G%-3s/s | %4.2f G |\n", one->name,
                     one->instructions_per_cycle, one->work_per_cycle, one->unit, one->work_per_second / 1e9, one->unit,
                     all->work_per_second / 1e9, all->unit, one->clock_hz / 1e9);
    }
}

static void print_reading(const struct probe_rows *p)
{
    uint32_t threads = 0;
    uint32_t streams = 0;
    (void)printf("\n| read, GB/s         | no prefetch | 256 B ahead | 2 KiB ahead | 4 KiB ahead | 2 KiB, in 2 |\n"
                 "|--------------------|-------------|-------------|-------------|-------------|-------------|");
    for (size_t i = 0; i < p->n; i++) {
        const struct hearth_probe_row *r = &p->rows[i];
        if (r->kind != HEARTH_PROBE_READ)
            continue;
        if (r->threads != threads || r->streams != streams)
            (void)printf("\n| %2" PRIu32 " thr. x %" PRIu32 " streams |", r->threads, r->streams);
        (void)printf(" %11.1f |", r->work_per_second / 1e9);
        threads = r->threads;
        streams = r->streams;
    }
    (void)puts("\n");
}

static int print_probe_table(const struct probe_rows *p, const hearth_engine *engine)
{
    (void)printf("%s level, %" PRIu32 " threads\n\n", hearth_engine_cpu_level(engine), hearth_engine_threads(engine));
    print_loops(p);
    print_reading(p);
    for (size_t i = 0; i < p->n; i++) {
        const struct hearth_probe_row *r = &p->rows[i];
        if (r->kind == HEARTH_PROBE_WAITING)
            (void)printf("%s: %.0f ns\n", r->name, 1e9 * r->seconds);
        if (r->kind == HEARTH_PROBE_CLOCK)
            (void)printf("clock under %s: %.2f GHz\n", r->name, r->clock_hz / 1e9);
    }
    return report_finish_output();
}

static int bench_probe(const struct options *o, hearth_engine *engine)
{
    struct probe_rows *rows = calloc(1, sizeof *rows);
    hearth_error error = {0};
    int exit_code;
    if (!rows) {
        (void)report_no_memory(&error, "the results");
        return report_error(&error);
    }
    if (hearth_bench_probe(engine, PROBE_BYTES, keep_probe, rows, &error) != HEARTH_OK)
        exit_code = report_error(&error);
    else if (o->format == OPTIONS_MD)
        exit_code = print_probe_table(rows, engine);
    else
        exit_code = bench_print_rows(probe_rows(rows, engine), o->format);
    free(rows);
    return exit_code;
}

/* ---- The command ---------------------------------------------------------------------------------------------------- */

/* The first option that was given and says something about models alone; NULL: none. */
static const char *model_option(const struct options *o)
{
    return o->svg ? "--svg" : o->blas ? "--blas" : o->generations.n ? "-n" : o->depths.n ? "-d" : o->batches.n ? "-b" : NULL;
}

/* What the options allow together; 0 or the exit code. */
static int check(const struct options *o)
{
    const bool model = o->shape || o->model_given;
    if (o->probe && (model || o->kernel))
        return report_usage("--probe: cannot stand beside a model or a kernel (got both, need one)");
    if (o->compare[0] && !o->compare[1])
        return report_usage("--compare: value is missing (got one file, need two)");
    if (o->shape && o->model_given)
        return report_usage("--shape: cannot stand beside -m (got both, need one)");
    if (o->quant && !o->shape)
        return report_usage("--quant: needs --shape");
    if (!model && model_option(o))
        return report_usage("%s: needs a model (-m or --shape)", model_option(o));
    if (model && o->kernel)
        return report_usage("--kernel: cannot stand beside a model (got both, need one)");
    for (size_t i = 0; i < o->prompts.n && !model; i++)
        if (o->prompts.values[i] < 1 || o->prompts.values[i] > HEARTH_BENCH_KERNEL_TOKENS_MAX)
            return report_usage("-p: wrong number of tokens for a kernel (got %" PRIu32 ", need 1 to %d)", o->prompts.values[i],
                                HEARTH_BENCH_KERNEL_TOKENS_MAX);
    return 0;
}

int cmd_bench(int argc, char **argv)
{
    struct options options;
    int exit_code;
    if (!options_parse(&options, &exit_code, &command_bench, argc, argv))
        return exit_code;
    exit_code = check(&options);
    if (exit_code != 0)
        return exit_code;
    if (options.compare[0])
        return bench_compare(&options);
    if (!options.quant)
        options.quant = "Q4_K_M";
    hearth_error error = {0};
    hearth_engine *engine = NULL;
    if (options_open_engine(&engine, &options, options.threads, &error) != HEARTH_OK)
        return report_error(&error);
    report_release_log();
    if (options.probe)
        exit_code = bench_probe(&options, engine);
    else
        exit_code = options.shape || options.model_given ? bench_model(&options, engine) : bench_kernels(&options, engine);
    hearth_engine_close(engine);
    return exit_code;
}
