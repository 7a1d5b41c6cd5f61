/* hearth quantize: a file with float weights becomes a smaller one. */
#include "commands.h"
#include "common/status.h"
#include "options.h"
#include "process.h"
#include "quantize.h"
#include "report.h"
#include "target.h"
#include "text.h"
#include <sys/stat.h>

static const struct argp_option table[] = {
    OPTION_OPERANDS("IN OUT TYPE", "model, new file, what to make of it"),
    {"pure", OPTION_KEY_PURE, NULL, 0, "every matrix in the one format of TYPE", 3},
    {"imatrix", OPTION_KEY_IMATRIX, "FILE", 0, "importance of the columns, GGUF or the older form", 3},
    OPTION_THREADS,
    OPTION_RAM_CAP,
    OPTION_QUIET,
    OPTION_HELP,
    {0},
};

const struct options_command command_quantize = {"hearth quantize",
                                                 "Write the model IN, with F32, F16 or BF16 weights, to OUT as TYPE: Q8_0, Q6_K, "
                                                 "Q5_K_M, Q5_K_S, Q5_1, Q5_0, Q4_K_M, Q4_K_S, Q4_1, "
                                                 "Q4_0, F16, BF16 or F32; with --pure Q5_K and Q4_K as well.",
                                                 table};

/* Whether both names lead to one file. */
static bool is_same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static hearth_status check_names(const struct options *o, hearth_error *error)
{
    char quoted[HEARTH_QUOTE_MAX];
    const char *out = o->operands[1];
    if (!is_same_file(o->operands[0], out) && !(o->imatrix && is_same_file(o->imatrix, out)))
        return HEARTH_OK;
    return hearth_fail(error, HEARTH_E_CONFIG, NULL, "%s: output: is an input as well (need another name)",
                       hearth_quote(quoted, out, strlen(out)));
}

static hearth_status find_recipe(const struct hearth_recipe **out, const struct options *o, hearth_error *error)
{
    char quoted[HEARTH_QUOTE_MAX], names[160];
    const char *name = o->operands[2];
    *out = hearth_recipe_find(name);
    if (*out && hearth_recipe_is_format(*out) && !o->pure)
        return hearth_fail(error, HEARTH_E_CONFIG, NULL, "type: %s is a format, no mixture (need %s_S or %s_M, or --pure)", name,
                           name, name);
    if (*out && hearth_recipe_is_makeable(*out))
        return HEARTH_OK;
    hearth_recipe_names(names, sizeof names, true);
    return hearth_fail(error, HEARTH_E_CONFIG, NULL, "type: %s (got '%s', need one of %s)",
                       *out ? "cannot be made" : "there is none of this name", hearth_quote(quoted, name, strlen(name)), names);
}

static bool on_write(uint64_t done, uint64_t total, void *user)
{
    (void)user;
    report_progress("quantizing", done, total);
    return !process_interrupted();
}

static hearth_status write_file(struct hearth_quantize *q, const char *name, hearth_error *error)
{
    struct target target = {.name = name, .fd = -1};
    hearth_status status = target_open(&target, error);
    if (status == HEARTH_OK)
        status = hearth_quantize_write(q, target.fd, name, on_write, NULL, error);
    if (status == HEARTH_OK)
        status = target_publish(&target, error);
    target_close(&target);
    return status;
}

static void tell(const struct hearth_quantize *q, const struct options *o, double seconds)
{
    const struct hearth_scheme *s = &q->scheme;
    char before[TEXT_BYTES_MAX], after[TEXT_BYTES_MAX];
    report_release_log();
    if (s->n_fallbacks > 0)
        report_note("%" PRIu64 " tensors have rows that are no whole blocks of their format and got the next one that fits",
                    s->n_fallbacks);
    if (o->imatrix)
        report_note("%" PRIu64 " of %" PRIu64 " tensors weighed by importance", s->n_weighed, s->n_encoded);
    report_note("%" PRIu64 " of %" PRIu64 " tensors encoded, %s to %s; %.1f million weights a second", s->n_encoded, s->n_tensors,
                text_bytes(before, q->source.gguf->file_size), text_bytes(after, s->file_bytes),
                seconds > 0 ? (double)s->elements / seconds * 1e-6 : 0.0);
}

static hearth_status run(const struct options *o, hearth_error *error)
{
    struct hearth_quantize_options options = {.input = o->operands[0], .imatrix = o->imatrix, .pure = o->pure};
    struct hearth_quantize quantize = {0};
    hearth_engine *engine = NULL;
    HEARTH_TRY(find_recipe(&options.recipe, o, error));
    HEARTH_TRY(check_names(o, error));
    hearth_status status = options_open_engine(&engine, o, o->threads, error);
    if (status == HEARTH_OK)
        status = hearth_quantize_open(&quantize, engine, &options, error);
    const double begin = process_seconds();
    if (status == HEARTH_OK)
        status = write_file(&quantize, o->operands[1], error);
    if (status == HEARTH_OK)
        tell(&quantize, o, process_seconds() - begin);
    hearth_quantize_close(&quantize);
    hearth_engine_close(engine);
    return status;
}

int cmd_quantize(int argc, char **argv)
{
    struct options options;
    int exit_code;
    if (!options_parse(&options, &exit_code, &command_quantize, argc, argv))
        return exit_code;
    process_catch_interrupts();
    hearth_error error = {0};
    return run(&options, &error) == HEARTH_OK ? 0 : report_error(&error);
}
