/* Two results of `hearth bench --json` (or of llama-bench -o json) side by side.
 *
 * Rows belong together when model, test, threads, batch and type of the cache are equal; when each file has one model only, it need
 * not be the same, so that formats and programs compare too. A difference counts when it is larger than the deviations of both rows
 * added. The rate is compared, and the share of the probes: that one holds when the machine was busy or is another one. */
#include "bench_compare.h"
#include "bench_report.h"
#include "common/status.h"
#include "output.h"
#include "report.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

enum verdict { SAME, FASTER, SLOWER, UNKNOWN };
static const char *const verdicts[] = {"same", "faster", "slower", "?"};

struct value {
    double value, noise; /* noise: relative deviation; NAN: not known */
};

struct pair {
    const json_t *old, *new;
    struct value old_ts, new_ts, old_share, new_share; /* value NAN: none */
    const char *limit;                                 /* which share */
    enum verdict by_rate, by_share;
};

/* ---- Fields --------------------------------------------------------------------------------------------------------- */

static const char *text_of(const json_t *row, const char *key)
{
    const char *text = json_string_value(json_object_get(row, key));
    return text ? text : "";
}

static double number_of(const json_t *row, const char *key)
{
    const json_t *value = json_object_get(row, key);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

static uint32_t count_of(const json_t *row, const char *key)
{
    const json_int_t value = json_integer_value(json_object_get(row, key));
    return value > 0 && value <= UINT32_MAX ? (uint32_t)value : 0;
}

/* Tokens of a forward pass: a batch larger than the prompt is the prompt. */
static uint32_t batch_of(const json_t *row)
{
    const uint32_t batch = count_of(row, "n_batch");
    const uint32_t n = count_of(row, "n_prompt");
    return batch < n ? batch : n;
}

static struct value rate_of(const json_t *row)
{
    const double median = number_of(row, "median_ts");
    const double mean = number_of(row, "avg_ts");
    const bool several = json_array_size(json_object_get(row, "samples_ts")) > 1;
    return (struct value){isfinite(median) ? median : mean, several ? number_of(row, "stddev_ts") / mean : (double)NAN};
}

static struct value share_of(const json_t *row, const char *limit)
{
    char key[64];
    const bool several = json_array_size(json_object_get(row, "samples_ts")) > 1;
    (void)snprintf(key, sizeof key, "%s_stddev", limit);
    const double share = number_of(row, limit);
    return (struct value){share, several ? number_of(row, key) / share : (double)NAN};
}

/* ---- Comparing ------------------------------------------------------------------------------------------------------ */

static enum verdict judge(struct value old, struct value new)
{
    const double change = new.value / old.value - 1;
    const double noise = old.noise + new.noise;
    if (!isfinite(change) || !isfinite(noise))
        return UNKNOWN;
    return fabs(change) <= noise ? SAME : change > 0 ? FASTER : SLOWER;
}

static bool belong_together(const json_t *a, const json_t *b, bool any_model)
{
    static const char *const counts[] = {"n_prompt", "n_gen", "n_depth", "n_threads"};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        if (count_of(a, counts[i]) != count_of(b, counts[i]))
            return false;
    return batch_of(a) == batch_of(b) && strcmp(text_of(a, "type_k"), text_of(b, "type_k")) == 0 &&
           (any_model || strcmp(text_of(a, "model_type"), text_of(b, "model_type")) == 0);
}

/* The limit that is nearer in the old row is looked at in both. */
static struct pair make_pair(const json_t *old, const json_t *new)
{
    const double compute = number_of(old, "compute_share");
    const double bandwidth = number_of(old, "bandwidth_share");
    const bool by_compute = isfinite(compute) && !(bandwidth > compute);
    struct pair p = {.old = old, .new = new, .limit = by_compute ? "compute_share" : "bandwidth_share"};
    p.old_ts = rate_of(old);
    p.new_ts = rate_of(new);
    p.old_share = share_of(old, p.limit);
    p.new_share = share_of(new, p.limit);
    p.by_rate = judge(p.old_ts, p.new_ts);
    p.by_share = judge(p.old_share, p.new_share);
    return p;
}

/* Slower for its user, and not because the machine was. */
static bool is_slower(const struct pair *p)
{
    return p->by_rate == SLOWER && p->by_share != SAME && p->by_share != FASTER;
}

static bool has_one_model(const json_t *rows)
{
    for (size_t i = 1; i < json_array_size(rows); i++)
        if (strcmp(text_of(json_array_get(rows, i), "model_type"), text_of(json_array_get(rows, 0), "model_type")) != 0)
            return false;
    return true;
}

/* ---- Showing -------------------------------------------------------------------------------------------------------- */

/* The files are from outside: what they say is quoted. */
static void print_source(const char *which, const json_t *rows)
{
    static const char *const keys[] = {"model_type", "cpu_info", "cpu_level", "test_time"};
    const json_t *row = json_array_get(rows, 0);
    (void)printf("%s: ", which);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        char quoted[HEARTH_QUOTE_MAX];
        const char *text = text_of(row, keys[i]);
        (void)printf("%s%s", i ? ", " : "", hearth_quote(quoted, text, strlen(text)));
    }
    (void)puts(json_is_true(json_object_get(row, "noisy")) ? "; a noisy run" : "");
}

static void print_pair(const struct pair *p)
{
    char name[BENCH_TEST_NAME_MAX];
    char batch[16] = "";
    if (count_of(p->old, "n_prompt"))
        (void)snprintf(batch, sizeof batch, "%" PRIu32, batch_of(p->old));
    (void)bench_test_name(name, count_of(p->old, "n_prompt"), count_of(p->old, "n_gen"), count_of(p->old, "n_depth"));
    (void)printf("| %-15s | %5s | %7" PRIu32 " | %9.2f | %9.2f | %5.3f | %-7s |", name, batch, count_of(p->old, "n_threads"),
                 p->old_ts.value, p->new_ts.value, p->new_ts.value / p->old_ts.value, verdicts[p->by_rate]);
    if (isfinite(p->old_share.value) && isfinite(p->new_share.value))
        (void)printf(" %-4s | %5.1f %% | %5.1f %% | %5.3f | %-7s |\n", p->limit[0] == 'c' ? "dot" : "read",
                     100 * p->old_share.value, 100 * p->new_share.value, p->new_share.value / p->old_share.value,
                     verdicts[p->by_share]);
    else
        (void)printf("      |         |         |       |         |\n");
}

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *pair_row(const struct pair *p)
{
    static const char *const counts[] = {"n_threads", "n_prompt", "n_gen", "n_depth"};
    json_t *row = json_object();
    output_set(row, "model_type", json_string(text_of(p->old, "model_type")));
    output_set(row, "new_model_type", json_string(text_of(p->new, "model_type")));
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        output_set(row, counts[i], json_integer(count_of(p->old, counts[i])));
    output_set(row, "n_batch", json_integer(batch_of(p->old)));
    output_set(row, "type_k", json_string(text_of(p->old, "type_k")));
    output_set(row, "old_ts", number(p->old_ts.value));
    output_set(row, "new_ts", number(p->new_ts.value));
    output_set(row, "ratio", number(p->new_ts.value / p->old_ts.value));
    output_set(row, "ratio_noise", number(p->old_ts.noise + p->new_ts.noise));
    output_set(row, "verdict", json_string(verdicts[p->by_rate]));
    output_set(row, "share", json_string(p->limit));
    output_set(row, "old_share", number(p->old_share.value));
    output_set(row, "new_share", number(p->new_share.value));
    output_set(row, "share_ratio", number(p->new_share.value / p->old_share.value));
    output_set(row, "share_ratio_noise", number(p->old_share.noise + p->new_share.noise));
    output_set(row, "share_verdict", json_string(verdicts[p->by_share]));
    return row;
}

static void print_heading(const json_t *old, const json_t *new)
{
    print_source("old", old);
    print_source("new", new);
    (void)puts("\n| test            | batch | threads |   old t/s |   new t/s | ratio | verdict | of   |   old   |   new   | ratio "
               "| verdict |\n"
               "|-----------------|-------|---------|-----------|-----------|-------|---------|------|---------|---------|-------|-"
               "--------|");
}

static int show(const json_t *old, json_t *new, enum options_format format)
{
    const bool any_model = has_one_model(old) && has_one_model(new);
    json_t *rows = json_array();
    size_t n = 0;
    size_t n_slower = 0;
    for (size_t i = 0; i < json_array_size(old); i++)
        for (size_t k = 0; k < json_array_size(new); k++) {
            if (!belong_together(json_array_get(old, i), json_array_get(new, k), any_model))
                continue;
            const struct pair p = make_pair(json_array_get(old, i), json_array_get(new, k));
            if (n++ == 0 && format == OPTIONS_MD)
                print_heading(old, new);
            if (format == OPTIONS_MD)
                print_pair(&p);
            else
                output_append(rows, pair_row(&p));
            n_slower += is_slower(&p);
            (void)json_array_remove(new, k); /* taken */
            break;
        }
    if (n == 0) {
        json_decref(rows);
        return report_usage("--compare: no test that both files have");
    }
    if (format == OPTIONS_MD) {
        (void)printf("\n%zu of %zu tests compared; %zu slower beyond the noise\n", n, json_array_size(old), n_slower);
        json_decref(rows);
    }
    const int exit_code = format == OPTIONS_MD ? report_finish_output() : bench_print_rows(rows, format);
    return exit_code == 0 && n_slower > 0 ? BENCH_SLOWER_EXIT : exit_code;
}

static bool is_result(const json_t *rows)
{
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        if (!(number_of(row, "avg_ts") > 0) || !json_is_integer(json_object_get(row, "n_prompt")))
            return false;
    }
    return json_array_size(rows) > 0;
}

static hearth_status read_result(json_t **out, const char *path, hearth_error *error)
{
    char quoted[HEARTH_QUOTE_MAX];
    HEARTH_TRY(output_read(out, path, error));
    if (is_result(*out))
        return HEARTH_OK;
    return hearth_fail(error, HEARTH_E_CONFIG, NULL, "%s: not what 'hearth bench --json' prints for a model",
                       hearth_quote(quoted, path, strlen(path)));
}

int bench_compare(const struct options *options)
{
    json_t *old = NULL;
    json_t *new = NULL;
    hearth_error error = {0};
    int exit_code;
    if (read_result(&old, options->compare[0], &error) != HEARTH_OK || read_result(&new, options->compare[1], &error) != HEARTH_OK)
        exit_code = report_error(&error);
    else
        exit_code = show(old, new, options->format);
    json_decref(old);
    json_decref(new);
    return exit_code;
}
