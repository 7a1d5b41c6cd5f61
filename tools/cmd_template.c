/* hearth template: messages in, the exact text that a model reads out, without a newline of its own. */
#include "commands.h"
#include "common/status.h"
#include "mapping.h"
#include "options.h"
#include "output.h"
#include "process.h"
#include "report.h"
#include "template/family.h"
#include "template/messages.h"
#include "template/template.h"
#include <stdlib.h>
#include <time.h>

static const struct argp_option table[] = {
    OPTION_MODEL,
    {"template", OPTION_KEY_TEMPLATE, "FILE", 0, "a template in a file, instead of a model's", 1},
    {"family", OPTION_KEY_FAMILY, "NAME", 0, "a known format: chatml, llama2, alpaca, phi2", 1},
    {"messages", OPTION_KEY_MESSAGES, "FILE", 0, "JSON: a list of objects with role and content", 2},
    {"variables", OPTION_KEY_VARIABLES, "FILE", 0, "JSON: an object of more variables, such as tools", 2},
    {"bos", OPTION_KEY_BOS, "TEXT", 0, "bos_token (default: the model's)", 3},
    {"eos", OPTION_KEY_EOS, "TEXT", 0, "eos_token (default: the model's)", 3},
    {"no-generation-prompt", OPTION_KEY_NO_GENERATION_PROMPT, NULL, 0, "end behind the last message", 3},
    {"now", OPTION_KEY_NOW, "TIME", 0, "local time for templates that ask, 2026-01-15T12:00:00", 3},
    OPTION_HELP,
    {0},
};

static const struct options_command command = {"hearth template", "The text that a chat template makes of messages.", table};

/* What was opened, to be closed in one place. */
struct job {
    const struct options *options;
    struct hearth_mapping mapping;
    struct hearth_gguf gguf;
    char *file; /* of --template */
    char name[HEARTH_QUOTE_MAX + 32];
    const char *source;
    size_t source_bytes;
    struct hearth_str bos, eos;
    json_t *messages, *variables;
    void *memory;
    char *text;
};

/* ---- The template -------------------------------------------------------------------------------------------------------- */

static struct hearth_str token_text(const struct hearth_vocab *vocab, int32_t id)
{
    uint64_t cursor = 0;
    struct hearth_view view = {0};
    for (int64_t i = 0; i <= id && i < vocab->n_tokens; i++)
        view = hearth_gguf_next_string(vocab->tokens, &cursor);
    return (struct hearth_str){view.size ? (const char *)view.bytes : "", NULL, view.size};
}

static hearth_status find_family(struct job *job, const struct hearth_vocab *vocab, hearth_error *error)
{
    const struct hearth_family *family = hearth_family_of_model(&job->gguf, vocab);
    if (!family)
        return hearth_fail(error, HEARTH_E_UNSUPPORTED, "E_TEMPLATE",
                           "%s: no template, and no known format fits (a base model? --family names one)", job->name);
    job->source = family->source;
    job->source_bytes = strlen(family->source);
    report_note("no template in this model; taken for %s", family->name);
    return HEARTH_OK;
}

static hearth_status open_model(struct job *job, hearth_error *error)
{
    const char *path = job->options->model;
    struct hearth_vocab vocab;
    HEARTH_TRY(hearth_mapping_open(&job->mapping, path, error));
    HEARTH_TRY(hearth_gguf_parse(&job->gguf, job->mapping.bytes, job->mapping.size, job->mapping.size, path, error));
    HEARTH_TRY(hearth_vocab_read(&vocab, &job->gguf, 0, NULL, NULL, error));
    job->bos = token_text(&vocab, vocab.bos);
    job->eos = token_text(&vocab, vocab.eos);
    if (job->source) /* a family by name */
        return HEARTH_OK;
    job->source = (const char *)vocab.chat_template.bytes;
    job->source_bytes = vocab.chat_template.size;
    return job->source_bytes > 0 ? HEARTH_OK : find_family(job, &vocab, error);
}

static hearth_status open_source(struct job *job, hearth_error *error)
{
    const struct options *o = job->options;
    char quoted[HEARTH_QUOTE_MAX];
    const char *path = o->template ? o->template : o->family ? o->family : o->model;
    (void)snprintf(job->name, sizeof job->name, "%s", hearth_quote(quoted, path, strlen(path)));
    if (o->template) {
        HEARTH_TRY(process_read_file(&job->file, &job->source_bytes, o->template, HEARTH_TEMPLATE_SOURCE_MAX, error));
        job->source = job->file;
        return HEARTH_OK;
    }
    if (o->family) {
        job->source = hearth_family_find(o->family)->source;
        job->source_bytes = strlen(job->source);
    }
    return o->family && !o->model_given ? HEARTH_OK : open_model(job, error);
}

/* ---- The values ---------------------------------------------------------------------------------------------------------- */

static struct hearth_value to_value(struct hearth_workspace *w, const json_t *json);

static struct hearth_value to_str(struct hearth_workspace *w, const char *bytes, size_t n)
{
    return hearth_value_str(hearth_str_copy(w, bytes, n, true));
}

static struct hearth_value to_list(struct hearth_workspace *w, const json_t *json)
{
    const struct hearth_value out = hearth_value_new(w, HEARTH_VALUE_LIST);
    for (size_t i = 0; i < json_array_size(json); i++)
        hearth_value_append(w, out, to_value(w, json_array_get(json, i)));
    return out;
}

static struct hearth_value to_map(struct hearth_workspace *w, const json_t *json)
{
    const struct hearth_value out = hearth_value_new(w, HEARTH_VALUE_MAP);
    json_t *object = (json_t *)(uintptr_t)json; /* its iterator takes what it only reads as not const */
    for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at)) {
        const char *key = json_object_iter_key(at);
        hearth_value_set(w, out, to_str(w, key, strlen(key)), to_value(w, json_object_iter_value(at)));
    }
    return out;
}

static struct hearth_value to_value_entered(struct hearth_workspace *w, const json_t *json)
{
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        return to_map(w, json);
    case JSON_ARRAY:
        return to_list(w, json);
    case JSON_STRING:
        return to_str(w, json_string_value(json), json_string_length(json));
    case JSON_INTEGER:
        return hearth_value_int(json_integer_value(json));
    case JSON_REAL:
        return hearth_value_float(json_real_value(json));
    case JSON_NULL:
        return HEARTH_NONE;
    default:
        return hearth_value_bool(json_is_true(json));
    }
}

static struct hearth_value to_value(struct hearth_workspace *w, const json_t *json)
{
    if (!hearth_workspace_enter(w))
        return HEARTH_UNDEFINED;
    const struct hearth_value out = to_value_entered(w, json);
    hearth_workspace_leave(w);
    return out;
}

static hearth_status make_values(struct job *job, struct hearth_template *t, struct hearth_value *out, hearth_error *error)
{
    const struct options *o = job->options;
    struct hearth_workspace *w = hearth_template_workspace(t, error);
    const struct hearth_str bos = o->bos ? hearth_str_of(o->bos) : job->bos;
    const struct hearth_str eos = o->eos ? hearth_str_of(o->eos) : job->eos;
    *out = job->variables ? to_value(w, job->variables) : hearth_value_new(w, HEARTH_VALUE_MAP);
    const struct hearth_value messages = to_value(w, job->messages);
    hearth_messages_prepare(w, messages, job->source, job->source_bytes);
    hearth_value_set_named(w, *out, "messages", messages);
    hearth_value_set_named(w, *out, "bos_token", hearth_value_str(bos));
    hearth_value_set_named(w, *out, "eos_token", hearth_value_str(eos));
    hearth_value_set_named(w, *out, "add_generation_prompt", hearth_value_bool(!o->no_generation_prompt));
    return w->status;
}

static hearth_status read_json(json_t **out, const char *path, bool list, hearth_error *error)
{
    char quoted[HEARTH_QUOTE_MAX];
    HEARTH_TRY(output_read(out, path, error));
    if (list ? json_is_array(*out) : json_is_object(*out))
        return HEARTH_OK;
    return hearth_fail(error, HEARTH_E_CONFIG, NULL, "%s: wrong kind of JSON (need %s)", hearth_quote(quoted, path, strlen(path)),
                       list ? "a list of messages" : "an object");
}

/* ---- The text ------------------------------------------------------------------------------------------------------------ */

static int64_t local_now(void)
{
    const time_t now = time(NULL);
    struct tm local;
    return localtime_r(&now, &local) ? (int64_t)timegm(&local) : (int64_t)now;
}

static hearth_status render(struct job *job, hearth_error *error)
{
    const struct options *o = job->options;
    struct hearth_template *t;
    struct hearth_value values;
    size_t n;
    job->memory = malloc(HEARTH_TEMPLATE_MEMORY);
    if (!job->memory)
        return report_no_memory(error, "template");
    HEARTH_TRY(hearth_template_open(&t, job->memory, HEARTH_TEMPLATE_MEMORY, job->name, job->source, job->source_bytes, error));
    HEARTH_TRY(make_values(job, t, &values, error));
    HEARTH_TRY(hearth_template_render(t, values, o->now_given ? o->now : local_now(), &n, error));
    job->text = malloc(n + 1);
    if (!job->text)
        return report_no_memory(error, "text");
    hearth_template_copy(t, job->text, NULL);
    (void)fwrite(job->text, 1, n, stdout);
    return HEARTH_OK;
}

static hearth_status run(struct job *job, hearth_error *error)
{
    const struct options *o = job->options;
    job->bos = job->eos = HEARTH_STR("");
    HEARTH_TRY(open_source(job, error));
    HEARTH_TRY(read_json(&job->messages, o->messages, true, error));
    if (o->variables)
        HEARTH_TRY(read_json(&job->variables, o->variables, false, error));
    return render(job, error);
}

int cmd_template(int argc, char **argv)
{
    struct options options;
    int exit_code;
    if (!options_parse(&options, &exit_code, &command, argc, argv))
        return exit_code;
    if (!options.messages)
        return report_usage("--messages: is missing (need a file of JSON, or -)");
    if (options.family && !hearth_family_find(options.family))
        return report_usage("--family: unknown (need chatml, llama2, alpaca or phi2)");
    if (options.template && (options.family || options.model_given))
        return report_usage("--template: cannot stand beside -m or --family");
    hearth_error error = {0};
    struct job job = {.options = &options};
    const hearth_status status = run(&job, &error);
    exit_code = status == HEARTH_OK ? report_finish_output() : report_error(&error);
    json_decref(job.messages);
    json_decref(job.variables);
    free(job.file);
    free(job.memory);
    free(job.text);
    hearth_gguf_free(&job.gguf);
    hearth_mapping_close(&job.mapping);
    return exit_code;
}
