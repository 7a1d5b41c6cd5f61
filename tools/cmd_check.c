/* hearth check: whether a model's file is sound, and what running it would take. Judges all that can be judged without loading:
 * header, hyper-parameters, vocabulary, tensors, chat template; with --verify full also the numbers in every tensor. */
#include "commands.h"
#include "common/status.h"
#include "hparams.h"
#include "options.h"
#include "output.h"
#include "pack.h"
#include "parts.h"
#include "process.h"
#include "report.h"
#include "template/template.h"
#include "text.h"
#include "vocab.h"
#include <stdlib.h>

#define PIECE_BYTES ((uint64_t)1 << 20) /* read and looked at together; several blocks of any format */

static const struct argp_option table[] = {
    OPTION_OPERANDS("FILE", "GGUF file; of a split model its first part"),
    {"verify", OPTION_KEY_VERIFY, "HOW", 0, "off (default), or full: read all weights too", 3},
    OPTION_CONTEXT,
    OPTION_BATCH,
    OPTION_THREADS,
    OPTION_KV,
    OPTION_RAM_CAP,
    OPTION_JSON,
    OPTION_QUIET,
    OPTION_HELP,
    {0},
};

const struct options_command command_check = {"hearth check", "Whether a model's file is sound, and what it would need.", table};

struct checked {
    const char *path;
    char shown[HEARTH_QUOTE_MAX];
    struct hearth_parts parts;
    struct hearth_view architecture, name;
    uint64_t weight_bytes;
    bool has_template, verified;
    uint64_t n_unknown; /* tensors of formats whose numbers are not known here, when verified */
    hearth_engine *engine;
    hearth_plan *plan;
};

static hearth_status check_template(struct checked *c, struct hearth_view source, hearth_error *error)
{
    struct hearth_template *template;
    char name[HEARTH_QUOTE_MAX + 24];
    c->has_template = source.size > 0;
    if (!c->has_template)
        return HEARTH_OK;
    (void)snprintf(name, sizeof name, "%s: chat template", c->shown);
    void *memory = malloc(HEARTH_TEMPLATE_MEMORY);
    if (!memory)
        return report_no_memory(error, "chat template");
    const hearth_status status = hearth_template_open(&template, memory, HEARTH_TEMPLATE_MEMORY, name, (const char *)source.bytes,
                                                      (size_t)source.size, error);
    free(memory);
    return status;
}

/* What the loader says of it; without an engine, so that damage is told at once. */
static hearth_status check_header(struct checked *c, hearth_error *error)
{
    struct hearth_hparams hparams;
    struct hearth_vocab vocab;
    bool found;
    const struct hearth_gguf *gguf = &c->parts.gguf;
    HEARTH_TRY(hearth_parts_open(&c->parts, c->path, error));
    HEARTH_TRY(hearth_gguf_get_string(gguf, "general.architecture", &c->architecture, &found, error));
    HEARTH_TRY(hearth_gguf_get_string(gguf, "general.name", &c->name, &found, error));
    for (uint64_t i = 0; i < gguf->n_tensors; i++)
        c->weight_bytes += gguf->tensors[i].bytes; /* within the file, without overlap */
    HEARTH_TRY(hearth_hparams_read(&hparams, gguf, error));
    HEARTH_TRY(hearth_vocab_read(&vocab, gguf, hparams.n_vocab, NULL, NULL, error)); /* the plan will warn */
    return check_template(c, vocab.chat_template, error);
}

/* The engine finds every tensor and its shape, and counts the memory. E_MEMORY is no fault of the file, and is told at the end. */
static hearth_status check_plan(struct checked *c, const struct options *options, hearth_error *misfit, hearth_error *error)
{
    const hearth_status status = options_open_plan(&c->engine, &c->plan, options, error);
    if (status != HEARTH_E_MEMORY || !c->plan)
        return status;
    *misfit = *error;
    return HEARTH_OK;
}

static hearth_status verify_tensor(const struct checked *c, const struct hearth_gguf_tensor *tensor, uint8_t *buffer, uint64_t done,
                                   hearth_error *error)
{
    char name[HEARTH_QUOTE_MAX];
    const uint64_t block = hearth_format_info(tensor->format)->block_bytes;
    const uint64_t row_bytes = hearth_row_bytes(tensor->format, tensor->ne[0]);
    const uint64_t piece = PIECE_BYTES / block * block; /* NOLINT(clang-analyzer-core.DivideZero): of a product */
    for (uint64_t at = 0; at < tensor->bytes; at += piece) {
        const uint64_t n = tensor->bytes - at < piece ? tensor->bytes - at : piece;
        if (process_interrupted())
            return hearth_fail(error, HEARTH_E_CANCELLED, NULL, "%s: verification was interrupted", c->shown);
        report_progress("verifying", done + at, c->weight_bytes);
        HEARTH_TRY(hearth_parts_read(&c->parts, buffer, tensor->file_offset + at, (size_t)n, error));
        const uint64_t bad = hearth_first_absurd(tensor->format, buffer, n / block);
        if (bad < n / block)
            return hearth_fail(error, HEARTH_E_FORMAT, "E_NUM",
                               "%s: tensor '%s': block %" PRIu64 " is not finite or absurdly large (row %" PRIu64 ")", c->shown,
                               hearth_quote(name, tensor->name.bytes, (size_t)tensor->name.size), at / block + bad,
                               (at + bad * block) / row_bytes);
    }
    return HEARTH_OK;
}

static hearth_status verify(struct checked *c, hearth_error *error)
{
    const struct hearth_gguf *gguf = &c->parts.gguf;
    uint64_t done = 0;
    uint8_t *buffer = malloc(PIECE_BYTES);
    if (!buffer)
        return report_no_memory(error, "verification");
    hearth_status status = HEARTH_OK;
    for (uint64_t i = 0; i < gguf->n_tensors && status == HEARTH_OK; i++) {
        const struct hearth_gguf_tensor *tensor = &gguf->tensors[i];
        if (hearth_format_info(tensor->format)->activation == HEARTH_ACTIVATION_NONE)
            c->n_unknown++;
        else
            status = verify_tensor(c, tensor, buffer, done, error);
        done += tensor->bytes;
    }
    report_progress_end();
    free(buffer);
    c->verified = status == HEARTH_OK;
    return status;
}

static hearth_status check(struct checked *c, const struct options *options, hearth_error *misfit, hearth_error *error)
{
    HEARTH_TRY(check_header(c, error));
    HEARTH_TRY(check_plan(c, options, misfit, error));
    return options->verify ? verify(c, error) : HEARTH_OK;
}

/* ---- Telling ------------------------------------------------------------------------------------------------------------ */

static void print_quoted(const char *label, struct hearth_view text)
{
    (void)printf("%-14s ", label);
    text_print_quoted(stdout, (const char *)text.bytes, (size_t)text.size);
    (void)putchar('\n');
}

static int print_text(const struct checked *c, bool fits)
{
    char human[TEXT_BYTES_MAX];
    const struct hearth_gguf *gguf = &c->parts.gguf;
    print_quoted("file", (struct hearth_view){(const uint8_t *)c->path, strlen(c->path)});
    (void)printf("%-14s version %" PRIu32 ", %" PRIu64 " keys, %s in %" PRIu32 " %s\n", "GGUF", gguf->version, gguf->n_pairs,
                 text_bytes(human, gguf->file_size), c->parts.n, c->parts.n == 1 ? "file" : "files");
    print_quoted("architecture", c->architecture);
    if (c->name.size > 0)
        print_quoted("name", c->name);
    (void)printf("%-14s %" PRIu64 " tensors, %s, ", "weights", gguf->n_tensors, text_bytes(human, c->weight_bytes));
    if (!c->verified)
        (void)puts("not read");
    else if (c->n_unknown == 0)
        (void)puts("all finite");
    else
        (void)printf("finite but for %" PRIu64 " of formats that were not looked at\n", c->n_unknown);
    (void)printf("%-14s %s\n", "chat template", c->has_template ? "can be read" : "none");
    (void)printf("%-14s %" PRIu64 " bytes (%s) with a context of %" PRIu32 ", %s\n", "needs", hearth_plan_private_bytes(c->plan),
                 text_bytes(human, hearth_plan_private_bytes(c->plan)), hearth_plan_context(c->plan),
                 fits ? "fits" : "does not fit");
    return report_finish_output();
}

static int print_json(const struct checked *c, bool fits)
{
    const struct hearth_gguf *gguf = &c->parts.gguf;
    json_t *root = json_pack(
        "{s:o, s:I, s:I, s:I, s:I, s:o, s:o, s:I, s:I, s:b, s:b, s:I, s:I, s:I, s:I, s:b}", "file",
        output_text(c->path, strlen(c->path)), "file_bytes", (json_int_t)gguf->file_size, "n_parts", (json_int_t)c->parts.n,
        "gguf_version", (json_int_t)gguf->version, "n_keys", (json_int_t)gguf->n_pairs, "architecture",
        output_text((const char *)c->architecture.bytes, (size_t)c->architecture.size), "name",
        output_text((const char *)c->name.bytes, (size_t)c->name.size), "n_tensors", (json_int_t)gguf->n_tensors, "weight_bytes",
        (json_int_t)c->weight_bytes, "chat_template", c->has_template, "verified", c->verified, "n_not_verified",
        (json_int_t)(c->verified ? c->n_unknown : gguf->n_tensors), "private_bytes", (json_int_t)hearth_plan_private_bytes(c->plan),
        "cap_bytes", (json_int_t)hearth_plan_cap_bytes(c->plan), "context", (json_int_t)hearth_plan_context(c->plan), "fits", fits);
    return output_json(root, JSON_INDENT(2));
}

int cmd_check(int argc, char **argv)
{
    struct options options;
    int exit_code;
    if (!options_parse(&options, &exit_code, &command_check, argc, argv))
        return exit_code;
    process_catch_interrupts();
    hearth_error error = {0}, misfit = {0};
    struct checked c = {.path = options.operands[0]};
    (void)hearth_quote(c.shown, c.path, strlen(c.path));
    options.model = c.path;
    if (check(&c, &options, &misfit, &error) != HEARTH_OK) {
        exit_code = report_error(&error);
    } else {
        exit_code = (options.json ? print_json : print_text)(&c, misfit.code == HEARTH_OK);
        if (misfit.code != HEARTH_OK && exit_code == 0)
            exit_code = report_error(&misfit);
    }
    report_release_log();
    hearth_plan_close(c.plan);
    hearth_engine_close(c.engine);
    hearth_parts_close(&c.parts);
    return exit_code;
}
