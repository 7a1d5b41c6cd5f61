/* Chat templates for commands; see chat.h. A template is read and run before a model's weights are, and its memory given back. */
#include "chat.h"
#include "process.h"
#include "report.h"
#include "template/messages.h"
#include <stdlib.h>

/* ---- The template -------------------------------------------------------------------------------------------------------- */

static struct hearth_str token_text(const struct hearth_vocab *vocab, int32_t id)
{
    uint64_t cursor = 0;
    struct hearth_view view = {0};
    for (int64_t i = 0; i <= id && i < vocab->n_tokens; i++)
        view = hearth_gguf_next_string(vocab->tokens, &cursor);
    return (struct hearth_str){view.size ? (const char *)view.bytes : "", NULL, view.size};
}

static void use_family(struct chat *chat, const struct hearth_family *family)
{
    chat->family = family;
    chat->source = family->source;
    chat->source_bytes = strlen(family->source);
}

static hearth_status open_model(struct chat *chat, hearth_error *error)
{
    const char *path = chat->options->model;
    struct hearth_vocab vocab;
    HEARTH_TRY(hearth_file_open(&chat->model, path, error));
    HEARTH_TRY(hearth_gguf_parse_file(&chat->gguf, &chat->model, path, error));
    HEARTH_TRY(hearth_vocab_read(&vocab, &chat->gguf, 0, NULL, NULL, error));
    chat->bos = token_text(&vocab, vocab.bos);
    chat->eos = token_text(&vocab, vocab.eos);
    if (chat->family) /* by name */
        return HEARTH_OK;
    chat->source = (const char *)vocab.chat_template.bytes;
    chat->source_bytes = vocab.chat_template.size;
    if (chat->source_bytes > 0)
        return HEARTH_OK;
    const struct hearth_family *family = hearth_family_of_model(&chat->gguf, &vocab);
    if (!family)
        return hearth_fail(error, HEARTH_E_UNSUPPORTED, "E_TEMPLATE",
                           "%s: no chat template, and no known format fits (a base model? --family names one)", chat->name);
    use_family(chat, family);
    report_note("no chat template in this model; taken for %s", family->name);
    return HEARTH_OK;
}

static hearth_status open_source(struct chat *chat, hearth_error *error)
{
    const struct options *o = chat->options;
    if (o->template) {
        HEARTH_TRY(process_read_file(&chat->file, &chat->source_bytes, o->template, HEARTH_TEMPLATE_SOURCE_MAX, error));
        chat->source = chat->file;
        return HEARTH_OK;
    }
    if (o->family)
        use_family(chat, hearth_family_find(o->family));
    return o->family && o->messages && !o->model_given ? HEARTH_OK : open_model(chat, error);
}

hearth_status chat_open(struct chat *chat, const struct options *options, hearth_error *error)
{
    const char *path = options->template ? options->template : options->family ? options->family : options->model;
    *chat = (struct chat){.options = options, .bos = HEARTH_STR(""), .eos = HEARTH_STR("")};
    (void)hearth_quote(chat->name, path, strlen(path));
    HEARTH_TRY(open_source(chat, error));
    chat->memory = malloc(HEARTH_TEMPLATE_MEMORY);
    if (!chat->memory)
        return report_no_memory(error, "chat template");
    return hearth_template_open(&chat->template, chat->memory, HEARTH_TEMPLATE_MEMORY, chat->name, chat->source, chat->source_bytes,
                                error);
}

void chat_keep_text(struct chat *chat)
{
    free(chat->file);
    free(chat->memory);
    hearth_gguf_free(&chat->gguf);
    hearth_file_close(&chat->model);
    chat->file = NULL;
    chat->memory = NULL;
}

void chat_close(struct chat *chat)
{
    chat_keep_text(chat);
    free(chat->text);
    free(chat->from_caller);
    *chat = (struct chat){0};
}

/* ---- The text ------------------------------------------------------------------------------------------------------------ */

static struct hearth_rendering rendering(const struct chat *chat)
{
    const struct options *o = chat->options;
    return (struct hearth_rendering){.source = chat->source,
                                     .source_bytes = chat->source_bytes,
                                     .bos = o->bos ? hearth_str_of(o->bos) : chat->bos,
                                     .eos = o->eos ? hearth_str_of(o->eos) : chat->eos,
                                     .no_generation_prompt = o->no_generation_prompt,
                                     .now = o->now_given ? o->now : hearth_template_clock()};
}

/* Out of the template's memory into our own. */
static hearth_status keep_text(struct chat *chat, hearth_error *error)
{
    free(chat->text);
    free(chat->from_caller);
    chat->text = malloc(chat->text_bytes + 1);
    chat->from_caller = malloc(chat->text_bytes + 1);
    if (!chat->text || !chat->from_caller)
        return report_no_memory(error, "chat");
    hearth_template_copy(chat->template, chat->text, chat->from_caller);
    chat->text[chat->text_bytes] = '\0';
    return HEARTH_OK;
}

hearth_status chat_render(struct chat *chat, struct hearth_value variables, struct hearth_value messages, hearth_error *error)
{
    const struct hearth_rendering r = rendering(chat);
    struct hearth_str text;
    HEARTH_TRY(hearth_messages_render(chat->template, &r, variables, messages, &text, error));
    chat->text_bytes = text.n;
    return keep_text(chat, error);
}

hearth_status chat_render_turn(struct chat *chat, const char *system, const char *text, size_t text_bytes, hearth_error *error)
{
    const struct hearth_rendering r = rendering(chat);
    const hearth_message first = {.role = HEARTH_ROLE_SYSTEM, .text = system, .text_bytes = system ? strlen(system) : 0};
    const hearth_message user = {.role = HEARTH_ROLE_USER, .text = text ? text : "", .text_bytes = text_bytes};
    struct hearth_str rendered;
    HEARTH_TRY(hearth_conversation_render(chat->template, &r, system ? &first : NULL, &user, 1, &rendered, error));
    chat->text_bytes = rendered.n;
    return keep_text(chat, error);
}
