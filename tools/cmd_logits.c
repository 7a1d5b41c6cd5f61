/* hearth logits: the raw numbers for given tokens, for comparison with other engines and with ourselves. */
#include "commands.h"
#include "common/status.h"
#include "options.h"
#include "process.h"
#include "report.h"
#include "target.h"
#include "text.h"
#include <stdlib.h>

static const struct argp_option table[] = {
    OPTION_MODEL,
    {"tokens", OPTION_KEY_TOKENS, "LIST", 0, "token ids 1,2,3 or @FILE with such a list", 3},
    {"output", 'o', "FILE", 0, "little-endian float32 [tokens][n_vocab]", 3},
    {"chunk", OPTION_KEY_CHUNK, "N", 0, "tokens fed at a time (32)", 3},
    OPTION_THREADS,
    OPTION_KV,
    OPTION_SLIDING_WINDOW,
    OPTION_FLOAT_GEMM,
    OPTION_RAM_CAP,
    OPTION_PACK_CACHE,
    OPTION_QUIET,
    OPTION_HELP,
    {0},
};

const struct options_command command_logits = {"hearth logits", "Write the logits of all positions of a list of tokens.", table};

enum { CHUNK_DEFAULT = 32, LIST_BYTES_MAX = 1 << 26 };

struct tokens {
    int32_t *ids;
    size_t n;
};

static hearth_status parse_tokens(struct tokens *out, const char *text, size_t n, hearth_error *error)
{
    out->ids = malloc((n / 2 + 1) * sizeof *out->ids); /* an id takes a digit and a separator */
    if (!out->ids)
        return report_no_memory(error, "token ids");
    const char *end = text + n;
    int found;
    while ((found = text_next_id(out->ids + out->n, &text, end)) > 0)
        out->n++;
    if (found < 0 || out->n == 0)
        return hearth_fail(error, HEARTH_E_CONFIG, NULL, "--tokens: id %zu: is no token id (need numbers separated by commas)",
                           out->n);
    return HEARTH_OK;
}

static hearth_status read_tokens(struct tokens *out, const char *argument, hearth_error *error)
{
    if (argument[0] != '@')
        return parse_tokens(out, argument, strlen(argument), error);
    char *text;
    size_t n;
    HEARTH_TRY(process_read_file(&text, &n, argument + 1, LIST_BYTES_MAX, error));
    const hearth_status status = parse_tokens(out, text, n, error);
    free(text);
    return status;
}

static hearth_status write_chunk(hearth_session *session, uint32_t n, size_t row_bytes, const struct target *target,
                                 hearth_error *error)
{
    for (uint32_t back = n; back-- > 0;) {
        const float *row = hearth_session_logits(session, back);
        if (!row)
            return hearth_fail(error, HEARTH_E_INFERENCE, NULL, "%s: logits: were not kept %" PRIu32 " positions back", "session",
                               back);
        HEARTH_TRY(process_write_all(target->fd, row, row_bytes, target->name, error));
    }
    return HEARTH_OK;
}

static hearth_status write_logits(hearth_model *model, const hearth_limits *limits, const struct tokens *tokens,
                                  const struct target *target, hearth_error *error)
{
    hearth_session *session = NULL;
    const size_t row_bytes = hearth_model_vocabulary_size(model) * sizeof(float);
    hearth_status status = hearth_session_open(&session, model, limits, error);
    for (size_t done = 0; status == HEARTH_OK && done < tokens->n;) {
        const size_t left = tokens->n - done;
        const uint32_t n = left < limits->logits_rows ? (uint32_t)left : limits->logits_rows;
        status = process_interrupted() ? hearth_fail(error, HEARTH_E_CANCELLED, NULL, "logits: interrupted")
                                       : hearth_session_feed(session, tokens->ids + done, n, error);
        if (status == HEARTH_OK)
            status = write_chunk(session, n, row_bytes, target, error);
        done += n;
        report_progress("logits", done, tokens->n);
    }
    hearth_session_close(session);
    return status;
}

static hearth_status run(const struct options *o, struct tokens *tokens, hearth_error *error)
{
    HEARTH_TRY(read_tokens(tokens, o->tokens, error));
    if (tokens->n > INT32_MAX)
        return hearth_fail(error, HEARTH_E_CONFIG, NULL, "--tokens: too many");
    hearth_limits limits = options_limits(o);
    const uint32_t chunk = o->chunk ? o->chunk : CHUNK_DEFAULT;
    limits.context = tokens->n > 2 ? (uint32_t)tokens->n : 2;
    limits.logits_rows = chunk < tokens->n ? chunk : (uint32_t)tokens->n;
    limits.batch = limits.logits_rows;
    struct target target = {.name = o->output, .fd = -1};
    hearth_engine *engine = NULL;
    hearth_model *model = NULL;
    hearth_status status = options_open_engine(&engine, o, o->threads, error);
    if (status == HEARTH_OK)
        status = hearth_model_open(&model, engine, o->model, &limits, NULL, error);
    if (status == HEARTH_OK)
        status = target_open(&target, error);
    if (status == HEARTH_OK)
        status = write_logits(model, &limits, tokens, &target, error);
    if (status == HEARTH_OK)
        status = target_publish(&target, error);
    target_close(&target);
    hearth_model_close(model);
    hearth_engine_close(engine);
    return status;
}

int cmd_logits(int argc, char **argv)
{
    struct options options;
    int exit_code;
    if (!options_parse(&options, &exit_code, &command_logits, argc, argv))
        return exit_code;
    if (!options.tokens)
        return report_usage("--tokens: is missing (need a list of token ids)");
    if (!options.output)
        return report_usage("-o: is missing (need a file to write)");
    process_catch_interrupts();
    hearth_error error = {0};
    struct tokens tokens = {0};
    const hearth_status status = run(&options, &tokens, &error);
    free(tokens.ids);
    if (status != HEARTH_OK)
        return report_error(&error);
    report_release_log();
    return 0;
}
