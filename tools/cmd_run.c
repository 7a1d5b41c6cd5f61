/* hearth run: a prompt in, generated text out. The text alone goes to standard output; a failure is one line on standard error, so
 * the sentence about the machine is shown only once everything that can be refused has been accepted. */
#include "bytes.h"
#include "chat.h"
#include "commands.h"
#include "common/limits.h"
#include "common/status.h"
#include "json_schema.h"
#include "options.h"
#include "output.h"
#include "process.h"
#include "report.h"
#include "sampling.h"
#include "stream.h"
#include "text.h"
#include "token_probs.h"
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static const struct argp_option table[] = {
    OPTION_MODEL,
    {"prompt", 'p', "TEXT", 0, "the prompt; special tokens in it are recognised", 2},
    {"file", 'f', "FILE", 0, "read the prompt from a file, - is standard input", 2},
    {"chat", OPTION_KEY_CHAT, NULL, 0, "the prompt is a user's turn, by the chat template", 2},
    {"system", OPTION_KEY_SYSTEM, "TEXT", OPTION_MORE, "with --chat: what the model is told first", 2},
    {"family", OPTION_KEY_FAMILY, "NAME", OPTION_MORE, "with --chat: chatml, llama2, alpaca or phi2", 2},
    {"no-escape", OPTION_KEY_NO_ESCAPE, NULL, OPTION_MORE, "do not process \\n, \\t, \\xHH ... in -p and --stop", 2},
    {"prefix-file", OPTION_KEY_PREFIX_FILE, "FILE", OPTION_MORE, "fill in what comes after this text", 2},
    {"suffix-file", OPTION_KEY_SUFFIX_FILE, "FILE", OPTION_MORE, "and before this one (CodeLlama and the like)", 2},
    {"predict", 'n', "N", 0, "tokens to generate (256); 0: none; -1: no limit", 3},
    {"n-predict", 'n', "N", OPTION_HIDDEN, NULL, 3},
    {"stop", OPTION_KEY_STOP, "STR", 0, "end before this text; up to 16 times", 3},
    {"reverse-prompt", 'r', "STR", OPTION_HIDDEN, NULL, 3},
    {"grammar", OPTION_KEY_GRAMMAR, "FILE", OPTION_MORE, "answer as this grammar says (GBNF)", 3},
    {"grammar-file", OPTION_KEY_GRAMMAR, "FILE", OPTION_HIDDEN, NULL, 3},
    {"json-schema", OPTION_KEY_JSON_SCHEMA, "FILE", 0, "answer in JSON that this schema accepts", 3},
    {"json-schema-file", OPTION_KEY_JSON_SCHEMA, "FILE", OPTION_HIDDEN, NULL, 3},
    {"keep-special", OPTION_KEY_KEEP_SPECIAL, NULL, OPTION_MORE, "show special tokens by their names", 3},
    {"special", OPTION_KEY_KEEP_SPECIAL, NULL, OPTION_HIDDEN, NULL, 3},
    OPTIONS_SAMPLING,
    OPTIONS_SAMPLING_MORE,
    OPTIONS_RESOURCES,
    OPTION_JSON,
    {"paranoid", OPTION_KEY_PARANOID, "N", OPTION_MORE, "compute each N-th token again and compare the bits", 7},
    {"logprobs", OPTION_KEY_LOGPROBS, "N", OPTION_MORE, "with --json: probabilities, and the N likeliest (0-20)", 7},
    OPTION_QUIET,
    OPTION_HELP,
    OPTION_HELP_ALL,
    {0},
};

const struct options_command command_run = {"hearth run",
                                            "Generate text. Without -p and -f the prompt is read from standard input.", table};

/* Asked when nothing else is; in the chat form of the bundled model. */
static const char question[] = "Who are you?";
static const char greeting[] = "<|user|>\nWho are you?<|end|>\n<|assistant|>\n";

/* A prompt file is read only up to this many bytes for each position of the context: vocabularies have no tokens so long that a
 * text beyond it could fit, and what is read is memory beside the plan. */
enum { PROMPT_BYTES_PER_POSITION = 256, PROMPT_BYTES_MIN = 65536 };

/* Generated text on its way out. */
struct sink {
    struct stream out;
    bool keep; /* for --json */
    struct bytes kept;
};

struct run {
    struct options options;
    hearth_engine *engine;
    hearth_plan *plan;
    hearth_model *model;
    hearth_session *session;
    char *prompt; /* owned, when it was read from a file */
    char *suffix; /* likewise; the text is the prefix then */
    struct chat chat;
    const char *text;
    const uint8_t *from_caller; /* of a chat's text, else NULL: special tokens are recognised everywhere */
    size_t text_bytes, suffix_bytes;
    bool infill;
    char *grammar; /* owned; NULL: none */
    size_t grammar_bytes;
    uint32_t n_prompt, n_checked;
    int32_t *ids; /* prompt first, then the tokens generated */
    size_t ids_capacity;
    struct sink sink;
    struct token_probs token_probs;
    hearth_result result;
    double load_seconds, prompt_seconds;
    uint64_t plan_bytes, peak_private_bytes;
};

static void sample_private(struct run *run)
{
    const uint64_t bytes = process_private_bytes();
    if (bytes > run->peak_private_bytes)
        run->peak_private_bytes = bytes;
}

/* ---- Opening ------------------------------------------------------------------------------------------------------ */

/* `path` NULL is an empty text. */
static hearth_status read_file(const struct run *run, char **text, size_t *n, const char *path, hearth_error *error)
{
    const size_t most = (size_t)hearth_plan_context(run->plan) * PROMPT_BYTES_PER_POSITION;
    return path ? process_read_file(text, n, path, most > PROMPT_BYTES_MIN ? most : PROMPT_BYTES_MIN, error) : HEARTH_OK;
}

static hearth_status read_infill(struct run *run, hearth_error *error)
{
    HEARTH_TRY(read_file(run, &run->prompt, &run->text_bytes, run->options.prefix_file, error));
    HEARTH_TRY(read_file(run, &run->suffix, &run->suffix_bytes, run->options.suffix_file, error));
    run->text = run->prompt;
    return HEARTH_OK;
}

static hearth_status read_prompt(struct run *run, hearth_error *error)
{
    const struct options *o = &run->options;
    if (run->infill)
        return read_infill(run, error);
    if (o->prompt) {
        run->text = o->prompt;
        run->text_bytes = o->prompt_bytes;
        return HEARTH_OK;
    }
    if (o->file || !isatty(STDIN_FILENO)) {
        HEARTH_TRY(read_file(run, &run->prompt, &run->text_bytes, o->file ? o->file : "-", error));
        run->text = run->prompt;
    }
    if (!o->file && run->text_bytes == 0) {
        run->text = o->chat ? question : greeting;
        run->text_bytes = o->chat ? sizeof question - 1 : sizeof greeting - 1;
    }
    return HEARTH_OK;
}

static hearth_status read_grammar(struct run *run, hearth_error *error)
{
    const struct options *o = &run->options;
    if (o->grammar)
        return process_read_file(&run->grammar, &run->grammar_bytes, o->grammar, HEARTH_GRAMMAR_FILE_MAX, error);
    char *schema = NULL;
    size_t schema_bytes;
    if (!o->json_schema)
        return HEARTH_OK;
    HEARTH_TRY(process_read_file(&schema, &schema_bytes, o->json_schema, HEARTH_GRAMMAR_FILE_MAX, error));
    const hearth_status status =
        json_schema_to_grammar(&run->grammar, &run->grammar_bytes, o->json_schema, schema, schema_bytes, error);
    free(schema);
    return status;
}

static hearth_status set_grammar(struct run *run, hearth_error *error)
{
    const char *name = run->options.grammar ? run->options.grammar : run->options.json_schema;
    const hearth_status status = hearth_session_set_grammar(run->session, run->grammar, run->grammar_bytes, error);
    char quoted[HEARTH_QUOTE_MAX];
    const hearth_error inner = *error;
    if (status == HEARTH_OK)
        return status;
    return hearth_fail(error, status, inner.detail, "%s: %s", hearth_quote(quoted, name, strlen(name)), inner.message);
}

/* It begins behind the prompt, but a wrong one is refused before. */
static hearth_status check_grammar(struct run *run, hearth_error *error)
{
    HEARTH_TRY(set_grammar(run, error));
    return hearth_session_set_grammar(run->session, NULL, 0, error);
}

/* The prompt as a turn of a user. Only the text is kept while the model is open. */
static hearth_status apply_template(struct run *run, hearth_error *error)
{
    struct options *o = &run->options;
    if (!o->chat)
        return HEARTH_OK;
    HEARTH_TRY(chat_open(&run->chat, o, error));
    HEARTH_TRY(chat_render_turn(&run->chat, o->system, run->text, run->text_bytes, error));
    const struct hearth_family *family = run->chat.family;
    if (family && family->stop && o->n_stops < OPTIONS_STOPS_MAX)
        o->stops[o->n_stops++] = family->stop;
    chat_keep_text(&run->chat);
    run->text = run->chat.text;
    run->text_bytes = run->chat.text_bytes;
    run->from_caller = run->chat.from_caller;
    return HEARTH_OK;
}

static hearth_status open_session(struct run *run, const hearth_limits *limits, hearth_error *error)
{
    const double begin = process_seconds();
    HEARTH_TRY(hearth_model_open(&run->model, run->engine, run->options.model, limits, NULL, error));
    run->load_seconds = process_seconds() - begin;
    HEARTH_TRY(hearth_session_open(&run->session, run->model, limits, error));
    HEARTH_TRY(hearth_session_set_sampling(run->session, &run->options.sampling, error));
    report_progress_end();
    sample_private(run);
    return HEARTH_OK;
}

/* ---- Reading the prompt ------------------------------------------------------------------------------------------- */

static hearth_status tokenize(const struct run *run, int32_t *ids, size_t capacity, size_t *n_ids, hearth_error *error)
{
    if (run->infill)
        return hearth_tokenize_infill(run->model, run->text, run->text_bytes, run->suffix, run->suffix_bytes, ids, capacity, n_ids,
                                      error);
    return hearth_tokenize_marked(run->model, run->text, run->from_caller, run->text_bytes,
                                  HEARTH_TOKENIZE_BOS | HEARTH_TOKENIZE_SPECIAL, ids, capacity, n_ids, error);
}

static hearth_status tokenize_prompt(struct run *run, hearth_error *error)
{
    const uint32_t n_context = hearth_session_context(run->session);
    size_t n_ids;
    const hearth_status status = tokenize(run, NULL, 0, &n_ids, error); /* E_CONFIG only tells that nothing had room */
    if (n_ids == 0)
        return status != HEARTH_OK ? status : hearth_fail(error, HEARTH_E_CONFIG, NULL, "prompt: has no tokens");
    if (n_ids > n_context)
        return hearth_fail_needed(error, HEARTH_E_CONTEXT_FULL, n_ids, n_context,
                                  "prompt: longer than the context (got %zu tokens, need at most %" PRIu32 ")", n_ids, n_context);
    run->n_prompt = (uint32_t)n_ids;
    /* one token is chosen, not fed, when the context is full */
    const uint32_t most = n_context - run->n_prompt + 1;
    run->ids_capacity = run->options.n_generate < most ? run->options.n_generate : most;
    run->ids = malloc((run->n_prompt + run->ids_capacity) * sizeof *run->ids);
    if (!run->ids)
        return report_no_memory(error, "token ids");
    return tokenize(run, run->ids, run->n_prompt, &n_ids, error);
}

/* Batch by batch, so that the progress is seen; the numbers do not depend on it. */
static hearth_status feed_prompt(struct run *run, hearth_error *error)
{
    const uint32_t batch = hearth_plan_batch(run->plan);
    const double begin = process_seconds();
    process_interrupts_cancel(run->session);
    for (uint32_t done = 0; done < run->n_prompt;) {
        const uint32_t left = run->n_prompt - done, n = left < batch ? left : batch;
        if (done > 0)
            report_progress("reading the prompt", done, run->n_prompt);
        const hearth_status status = hearth_session_feed(run->session, run->ids + done, n, error);
        if (status == HEARTH_E_CANCELLED)
            return hearth_fail(error, status, NULL, "prompt: interrupted (got %" PRIu32 " of %" PRIu32 " tokens)", done,
                               run->n_prompt);
        HEARTH_TRY(status);
        done += n;
    }
    process_interrupts_cancel(NULL); /* an answer ends at a token, whose text is shown */
    hearth_session_resume(run->session);
    report_progress_end();
    run->prompt_seconds = process_seconds() - begin;
    sample_private(run);
    return HEARTH_OK;
}

/* ---- Generating --------------------------------------------------------------------------------------------------- */

static bool on_text(const char *text, size_t n, void *user)
{
    struct sink *sink = user;
    if (!sink->keep)
        return stream_write(&sink->out, text, n) && !process_interrupted();
    if (sink->out.first_seconds == 0)
        sink->out.first_seconds = process_running_seconds();
    bytes_append(&sink->kept, text, n);
    return !sink->kept.out_of_memory && !process_interrupted();
}

static bool on_token(const hearth_token *token, void *user)
{
    struct run *run = user;
    token_probs_keep(&run->token_probs, run->model, token);
    return !run->token_probs.records.out_of_memory;
}

static hearth_status generate(struct run *run, hearth_error *error)
{
    const struct options *o = &run->options;
    run->result = (hearth_result){.struct_size = sizeof run->result, .stop = HEARTH_STOP_LENGTH};
    if (o->n_generate == 0)
        return HEARTH_OK;
    const hearth_generation generation = {.struct_size = sizeof generation,
                                          .max_tokens = o->n_generate,
                                          .stop_strings = o->stops,
                                          .n_stop_strings = o->n_stops,
                                          .text = on_text,
                                          .text_user = &run->sink,
                                          .ids = run->ids + run->n_prompt,
                                          .ids_capacity = run->ids_capacity,
                                          .keep_special = o->keep_special,
                                          .token = o->logprobs ? on_token : NULL,
                                          .token_user = run,
                                          .logprobs = o->logprobs,
                                          .n_top_logprobs = o->n_top_logprobs,
                                          .paranoid_every = o->paranoid,
                                          .n_checked = &run->n_checked};
    HEARTH_TRY(hearth_generate(run->session, &generation, &run->result, error));
    sample_private(run);
    return run->sink.kept.out_of_memory || run->token_probs.records.out_of_memory ? report_no_memory(error, "generated text")
                                                                                  : HEARTH_OK;
}

/* ---- Telling ------------------------------------------------------------------------------------------------------ */

static double rate(double tokens, double seconds)
{
    return seconds > 0 ? tokens / seconds : 0;
}

static void tell_start(const struct run *run)
{
    char plan[TEXT_BYTES_MAX], cap[TEXT_BYTES_MAX];
    report_release_log();
    report_note("%s", hearth_engine_summary(run->engine));
    report_note("plan: %s private memory, cap %s; context %" PRIu32 ", batch %" PRIu32, text_bytes(plan, run->plan_bytes),
                text_bytes(cap, hearth_plan_cap_bytes(run->plan)), hearth_plan_context(run->plan), hearth_plan_batch(run->plan));
}

static void tell_end(const struct run *run)
{
    char plan[TEXT_BYTES_MAX], peak[TEXT_BYTES_MAX], seed[40] = "", first[48] = "", checked[40] = "";
    if (!run->options.seed_given && run->options.sampling.temperature > 0)
        (void)snprintf(seed, sizeof seed, "; seed %" PRIu64, run->options.sampling.seed);
    if (run->sink.out.first_seconds > 0)
        (void)snprintf(first, sizeof first, ", first token after %.2f s", run->sink.out.first_seconds);
    if (run->options.paranoid)
        (void)snprintf(checked, sizeof checked, ", %" PRIu32 " of them checked", run->n_checked);
    report_note("prompt %" PRIu32 " tokens, %.1f t/s; generated %" PRIu32 " tokens, %.1f t/s%s%s; plan %s, peak private %s; "
                "loaded in %.2f s%s",
                run->n_prompt, rate(run->n_prompt, run->prompt_seconds), run->result.n_generated,
                rate(run->result.n_generated, run->result.seconds), checked, seed, text_bytes(plan, run->plan_bytes),
                text_bytes(peak, run->peak_private_bytes), run->load_seconds, first);
}

static const char *stop_name(const struct run *run)
{
    static const char *const names[] = {"end", "string", "length", "context", "callback"};
    if (process_interrupted())
        return "interrupted";
    const uint32_t stop = (uint32_t)run->result.stop;
    return stop < sizeof names / sizeof names[0] ? names[stop] : "other";
}

static int print_json(const struct run *run)
{
    json_t *ids = json_array();
    for (size_t i = 0; i < run->result.n_generated && i < run->ids_capacity; i++)
        output_append(ids, json_integer(run->ids[run->n_prompt + i]));
    json_t *first = run->sink.out.first_seconds > 0 ? json_real(run->sink.out.first_seconds) : json_null();
    json_t *object = json_pack(
        "{s:o, s:o, s:I, s:I, s:s, s:f, s:f, s:I, s:I, s:f, s:o}", "text", output_text(run->sink.kept.bytes, run->sink.kept.n),
        "ids", ids, "n_prompt", (json_int_t)run->n_prompt, "n_gen", (json_int_t)run->result.n_generated, "stop", stop_name(run),
        "prompt_ts", rate(run->n_prompt, run->prompt_seconds), "gen_ts", rate(run->result.n_generated, run->result.seconds),
        "plan_bytes", (json_int_t)run->plan_bytes, "peak_private_bytes", (json_int_t)run->peak_private_bytes, "load_seconds",
        run->load_seconds, "first_token_seconds", first);
    if (run->options.paranoid)
        output_set(object, "n_checked", json_integer(run->n_checked));
    if (run->options.logprobs)
        output_set(object, "logprobs", token_probs_json(&run->token_probs));
    return output_json(object, 0);
}

static hearth_status run_all(struct run *run, hearth_error *error)
{
    const hearth_limits limits = options_limits(&run->options);
    HEARTH_TRY(options_open_plan(&run->engine, &run->plan, &run->options, error));
    run->plan_bytes = hearth_plan_private_bytes(run->plan);
    HEARTH_TRY(read_prompt(run, error));
    HEARTH_TRY(read_grammar(run, error));
    HEARTH_TRY(apply_template(run, error));
    HEARTH_TRY(open_session(run, &limits, error));
    HEARTH_TRY(check_grammar(run, error));
    HEARTH_TRY(tokenize_prompt(run, error));
    tell_start(run);
    HEARTH_TRY(feed_prompt(run, error));
    HEARTH_TRY(set_grammar(run, error));
    return generate(run, error);
}

static void close_all(struct run *run)
{
    process_interrupts_cancel(NULL);
    hearth_session_close(run->session);
    hearth_model_close(run->model);
    hearth_plan_close(run->plan);
    hearth_engine_close(run->engine);
    sample_private(run);
}

static int finish(struct run *run, hearth_status status, const hearth_error *error)
{
    if (status != HEARTH_OK)
        return report_error(error);
    if (run->sink.out.write_errno)
        return report_output_failed(run->sink.out.write_errno);
    if (!run->sink.keep && run->sink.out.terminal)
        (void)putchar('\n');
    const int exit_code = run->options.json ? print_json(run) : report_finish_output();
    if (exit_code == 0)
        tell_end(run);
    return exit_code == 0 && process_interrupted() ? PROCESS_INTERRUPTED_EXIT : exit_code;
}

int cmd_run(int argc, char **argv)
{
    struct run run = {0};
    int exit_code;
    if (!options_parse(&run.options, &exit_code, &command_run, argc, argv))
        return exit_code;
    if (!run.options.chat && (run.options.system || run.options.family))
        return report_usage("--system and --family: need --chat");
    if (run.options.chat && (run.options.prefix_file || run.options.suffix_file))
        return report_usage("--chat: cannot stand beside --prefix-file and --suffix-file");
    if (run.options.logprobs && !run.options.json)
        return report_usage("--logprobs: needs --json");
    process_catch_interrupts();
    run.infill = run.options.prefix_file || run.options.suffix_file;
    stream_open(&run.sink.out);
    run.sink.keep = run.options.json;
    hearth_error error = {0};
    const hearth_status status = run_all(&run, &error);
    close_all(&run);
    exit_code = finish(&run, status, &error);
    chat_close(&run.chat);
    free(run.prompt);
    free(run.suffix);
    free(run.grammar);
    free(run.ids);
    free(run.sink.kept.bytes);
    token_probs_free(&run.token_probs);
    return exit_code;
}
