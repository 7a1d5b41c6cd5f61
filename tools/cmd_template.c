/* hearth template: messages in, the exact text that a model reads out, without a newline of its own. */
#include "chat.h"
#include "commands.h"
#include "common/status.h"
#include "options.h"
#include "output.h"
#include "report.h"
#include <stdlib.h>

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

const struct options_command command_template = {"hearth template", "The text that a chat template makes of messages.", table};

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

static hearth_status run(struct chat *chat, const struct options *o, json_t **messages, json_t **variables, hearth_error *error)
{
    HEARTH_TRY(chat_open(chat, o, error));
    HEARTH_TRY(read_json(messages, o->messages, true, error));
    if (o->variables)
        HEARTH_TRY(read_json(variables, o->variables, false, error));
    struct hearth_workspace *w = hearth_template_workspace(chat->template, error);
    const struct hearth_value map = *variables ? to_value(w, *variables) : hearth_value_new(w, HEARTH_VALUE_MAP);
    const struct hearth_value list = to_value(w, *messages);
    HEARTH_TRY(w->status);
    HEARTH_TRY(chat_render(chat, map, list, error));
    (void)fwrite(chat->text, 1, chat->text_bytes, stdout);
    return HEARTH_OK;
}

int cmd_template(int argc, char **argv)
{
    struct options options;
    int exit_code;
    if (!options_parse(&options, &exit_code, &command_template, argc, argv))
        return exit_code;
    if (!options.messages)
        return report_usage("--messages: is missing (need a file of JSON, or -)");
    if (options.template && (options.family || options.model_given))
        return report_usage("--template: cannot stand beside -m or --family");
    hearth_error error = {0};
    struct chat chat = {0};
    json_t *messages = NULL, *variables = NULL;
    const hearth_status status = run(&chat, &options, &messages, &variables, &error);
    exit_code = status == HEARTH_OK ? report_finish_output() : report_error(&error);
    json_decref(messages);
    json_decref(variables);
    chat_close(&chat);
    return exit_code;
}
