/* Tables, JSON and CSV of `hearth bench`; see bench_report.h. CSV is made from the JSON rows, so that both have the same fields. */
#include "bench_report.h"
#include "report.h"
#include "text.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

const char *bench_test_name(char out[BENCH_TEST_NAME_MAX], uint32_t n_prompt, uint32_t n_gen, uint32_t depth)
{
    const int n = snprintf(out, BENCH_TEST_NAME_MAX, "%s%" PRIu32, n_prompt ? "pp" : "tg", n_prompt ? n_prompt : n_gen);
    if (depth)
        (void)snprintf(out + n, BENCH_TEST_NAME_MAX - (size_t)n, " @ d%" PRIu32, depth);
    return out;
}

/* ---- JSON ----------------------------------------------------------------------------------------------------------- */

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *whole(double value)
{
    return json_integer((json_int_t)llround(value));
}

static json_t *utc(time_t when)
{
    struct tm parts;
    char text[32];
    const bool known = gmtime_r(&when, &parts) && strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts) > 0;
    return known ? json_string(text) : json_null();
}

static void set_model(json_t *row, const struct options *o, const hearth_engine *engine, const struct hearth_bench_result *r)
{
    char type[128];
    (void)snprintf(type, sizeof type, "%s%s%s", r->model_name, o->shape ? " " : "", o->shape ? o->quant : "");
    output_set(row, "build_commit", json_string(hearth_version()));
    output_set(row, "cpu_info", output_text(r->cpu, strlen(r->cpu)));
    output_set(row, "cpu_level", json_string(hearth_engine_cpu_level(engine)));
    output_set(row, "model_filename", json_string(o->shape ? o->shape : o->model));
    output_set(row, "model_type", output_text(type, strlen(type)));
    output_set(row, "model_size", json_integer((json_int_t)r->model_bytes));
    output_set(row, "model_n_params", json_integer((json_int_t)r->n_parameters));
}

static void set_times(json_t *row, const struct hearth_bench_row *t)
{
    json_t *ns = json_array();
    json_t *ts = json_array();
    for (size_t i = 0; i < t->ts.n; i++) {
        output_append(ns, whole(1e9 * t->seconds.values[i]));
        output_append(ts, json_real(t->ts.values[i]));
    }
    output_set(row, "test_time", utc(t->began));
    output_set(row, "avg_ns", whole(1e9 * t->seconds.mean));
    output_set(row, "stddev_ns", whole(1e9 * t->seconds.deviation));
    output_set(row, "avg_ts", json_real(t->ts.mean));
    output_set(row, "stddev_ts", json_real(t->ts.deviation));
    output_set(row, "median_ts", json_real(t->ts.median));
    output_set(row, "ms_per_pass", json_real(1e3 * t->seconds.median / t->n_passes));
    output_set(row, "samples_ns", ns);
    output_set(row, "samples_ts", ts);
}

static void set_limits(json_t *row, const struct hearth_bench_result *r, const struct hearth_bench_row *t)
{
    output_set(row, "probe_read_gbs", json_real(r->read.median / 1e9));
    output_set(row, "probe_dot_gmacs", json_real(r->dot.median / 1e9));
    output_set(row, "probe_fma_gmacs", json_real(r->fma.median / 1e9));
    output_set(row, "noise", number(r->noise));
    output_set(row, "noisy", json_boolean(r->noise > HEARTH_BENCH_NOISE));
    output_set(row, "bytes_per_token", whole(t->bytes_per_token));
    output_set(row, "kv_bytes_per_token", whole(t->kv_bytes_per_token));
    output_set(row, "macs_per_token", whole(t->macs_per_token));
    output_set(row, "attention_macs_per_token", whole(t->attention_macs_per_token));
    output_set(row, "bandwidth_share", number(t->bandwidth_share));
    output_set(row, "bandwidth_share_stddev", number(t->bandwidth_share_deviation));
    output_set(row, "compute_share", number(t->compute_share));
    output_set(row, "compute_share_stddev", number(t->compute_share_deviation));
    output_set(row, "attention_share", number(t->attention_share));
    if (r->blas.version[0] && t == &r->rows[0]) {
        output_set(row, "blas_ts", json_real(r->blas.quantized));
        output_set(row, "blas_widened_ts", json_real(r->blas.widened));
    } else {
        output_set(row, "blas_ts", json_null());
        output_set(row, "blas_widened_ts", json_null());
    }
    output_set(row, "joules_per_token", number(t->joules_per_token));
    output_set(row, "energy_source", json_string(r->energy));
}

json_t *bench_model_rows(const struct options *o, const hearth_engine *engine, const struct hearth_bench_result *r)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < r->n_rows; i++) {
        const struct hearth_bench_row *t = &r->rows[i];
        json_t *row = json_object();
        set_model(row, o, engine, r);
        output_set(row, "n_batch", json_integer(t->batch));
        output_set(row, "n_threads", json_integer(hearth_engine_threads(engine)));
        output_set(row, "type_k", json_string(options_kv_name(o->kv_type)));
        output_set(row, "type_v", json_string(options_kv_name(o->kv_type)));
        output_set(row, "n_prompt", json_integer(t->n_prompt));
        output_set(row, "n_gen", json_integer(t->n_gen));
        output_set(row, "n_depth", json_integer(t->depth));
        set_times(row, t);
        set_limits(row, r, t);
        output_set(row, "load_seconds", json_real(r->load_seconds));
        output_set(row, "plan_bytes", json_integer((json_int_t)r->plan_bytes));
        output_set(row, "peak_private_bytes", json_integer((json_int_t)r->peak_private_bytes));
        output_append(rows, row);
    }
    return rows;
}

/* ---- CSV (RFC 4180) ------------------------------------------------------------------------------------------------- */

/* Strings in quotes, quotes in them doubled; null is empty. Arrays are left out. */
static void print_cell(const json_t *value)
{
    if (json_is_string(value)) {
        (void)putchar('"');
        for (const char *c = json_string_value(value); *c; c++) {
            if (*c == '"')
                (void)putchar('"');
            (void)putchar(*c);
        }
        (void)putchar('"');
    } else if (json_is_integer(value)) {
        (void)printf("%" JSON_INTEGER_FORMAT, json_integer_value(value));
    } else if (json_is_real(value)) {
        (void)printf("%.7g", json_real_value(value));
    } else if (json_is_boolean(value)) {
        (void)fputs(json_is_true(value) ? "true" : "false", stdout);
    }
}

static void print_line(json_t *row, bool names)
{
    const char *key;
    json_t *value;
    const char *comma = "";
    json_object_foreach(row, key, value)
    {
        if (json_is_array(value))
            continue;
        (void)fputs(comma, stdout);
        if (names)
            (void)fputs(key, stdout);
        else
            print_cell(value);
        comma = ",";
    }
    (void)puts("\r");
}

static int print_csv(json_t *rows)
{
    if (!output_complete(rows))
        return output_json(rows, 0);
    if (json_array_size(rows) > 0)
        print_line(json_array_get(rows, 0), true);
    for (size_t i = 0; i < json_array_size(rows); i++)
        print_line(json_array_get(rows, i), false);
    json_decref(rows);
    return report_finish_output();
}

int bench_print_rows(json_t *rows, enum options_format format)
{
    return format == OPTIONS_CSV ? print_csv(rows) : output_json(rows, JSON_INDENT(2));
}

/* ---- Tables --------------------------------------------------------------------------------------------------------- */

static void print_head(const struct options *o, const hearth_engine *engine, const struct hearth_bench_result *r)
{
    char size[TEXT_BYTES_MAX];
    (void)printf("%s%s%s, %s, %.2f G parameters; %s; %s kernels, %" PRIu32 " threads, cache %s\n", r->model_name,
                 o->shape ? " " : "", o->shape ? o->quant : "", text_bytes(size, r->model_bytes), (double)r->n_parameters / 1e9,
                 r->cpu, hearth_engine_cpu_level(engine), hearth_engine_threads(engine), options_kv_name(o->kv_type));
    (void)printf("limits of this run: read %.1f GB/s (± %.1f), integer dot %.0f GMAC/s (± %.0f), f32 %.0f GMAC/s (± %.0f)\n\n",
                 r->read.median / 1e9, r->read.deviation / 1e9, r->dot.median / 1e9, r->dot.deviation / 1e9, r->fma.median / 1e9,
                 r->fma.deviation / 1e9);
}

static void print_row(const struct hearth_bench_row *t, bool energy)
{
    char name[BENCH_TEST_NAME_MAX];
    char batch[16] = "";
    if (t->n_prompt)
        (void)snprintf(batch, sizeof batch, "%" PRIu32, t->batch);
    (void)printf("| %-15s | %5s | %10.2f | %8.2f ± %-6.2f | %9.2f | %5.1f %% | %5.1f %% |",
                 bench_test_name(name, t->n_prompt, t->n_gen, t->depth), batch, t->ts.median, t->ts.mean, t->ts.deviation,
                 1e3 * t->seconds.median / t->n_passes, 100 * t->compute_share, 100 * t->bandwidth_share);
    if (energy)
        (void)printf(" %7.3f |", t->joules_per_token);
    (void)putchar('\n');
}

static void print_verdict(const struct hearth_bench_result *r)
{
    (void)printf("%s: the probes of this run differ by %.1f %% (read) and %.1f %% (dot)%s\n",
                 r->noise > HEARTH_BENCH_NOISE ? "NOISY" : "quiet", 100 * r->read.spread, 100 * r->dot.spread,
                 r->noise > HEARTH_BENCH_NOISE ? "; trust the shares more than the rates, and measure again" : "");
}

static void print_blas(const struct options *o, const struct hearth_bench_result *r)
{
    if (o->blas && r->blas.version[0])
        (void)printf(
            "what BLAS would do: products of the first prompt %.2f t/s with weights widened for each batch, %.2f with floats "
            "at hand (%s)\n",
            r->blas.quantized, r->blas.widened, r->blas.version);
    else if (o->blas)
        (void)printf("what BLAS would do: not known, OpenBLAS is not installed\n");
}

int bench_print_model_table(const struct options *o, const hearth_engine *engine, const struct hearth_bench_result *r)
{
    char plan[TEXT_BYTES_MAX];
    char peak[TEXT_BYTES_MAX];
    const bool energy = strcmp(r->energy, "powercap") == 0;
    print_head(o, engine, r);
    (void)printf("| test            | batch | median t/s |   mean ± dev.     | ms / pass |  of dot | of read |%s\n"
                 "|-----------------|-------|------------|-------------------|-----------|---------|---------|%s\n",
                 energy ? " J/token |" : "", energy ? "---------|" : "");
    for (size_t i = 0; i < r->n_rows; i++)
        print_row(&r->rows[i], energy);
    (void)putchar('\n');
    for (size_t i = 0; i < r->n_rows; i++) {
        char name[BENCH_TEST_NAME_MAX];
        if (isfinite(r->rows[i].attention_share))
            (void)printf("%s, batch %" PRIu32 ": attention at %.1f %% of f32\n",
                         bench_test_name(name, r->rows[i].n_prompt, 0, r->rows[i].depth), r->rows[i].batch,
                         100 * r->rows[i].attention_share);
    }
    print_verdict(r);
    print_blas(o, r);
    (void)printf("loaded in %.2f s; plan %s, peak private memory %s (%.1f %% of the plan); energy: %s\n", r->load_seconds,
                 text_bytes(plan, r->plan_bytes), text_bytes(peak, r->peak_private_bytes),
                 100 * (double)r->peak_private_bytes / (double)r->plan_bytes, r->energy);
    return report_finish_output();
}
