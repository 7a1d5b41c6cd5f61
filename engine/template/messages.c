/* Preparing and rendering messages; see messages.h. Whether a template handles something itself is told by the words in its source.
 */
#include "template/messages.h"
#include "common/status.h"

static struct hearth_value joined_parts(struct hearth_workspace *w, const struct hearth_list *parts)
{
    struct hearth_builder text = {0};
    for (size_t i = 0; i < parts->n; i++) {
        const struct hearth_value part = hearth_value_at(w, parts->items[i], hearth_value_str(HEARTH_STR("text")));
        if (part.type != HEARTH_VALUE_STR)
            continue;
        if (text.n > 0)
            hearth_builder_add(w, &text, HEARTH_STR("\n"));
        hearth_builder_add(w, &text, part.str);
    }
    return hearth_value_str(hearth_builder_finish(w, &text));
}

static bool mentions(const char *source, size_t n, const char *word)
{
    return hearth_str_find((struct hearth_str){source, NULL, n}, hearth_str_of(word), 0) != SIZE_MAX;
}

void hearth_messages_prepare(struct hearth_workspace *w, struct hearth_value messages, const char *source, size_t source_bytes)
{
    const bool knows_developer = mentions(source, source_bytes, "developer");
    const bool knows_parts = mentions(source, source_bytes, "is string") || mentions(source, source_bytes, "is not string") ||
                             mentions(source, source_bytes, "is iterable");
    for (size_t i = 0; messages.type == HEARTH_VALUE_LIST && i < messages.list->n; i++) {
        const struct hearth_value message = messages.list->items[i];
        const struct hearth_value role = hearth_value_at(w, message, hearth_value_str(HEARTH_STR("role")));
        const struct hearth_value content = hearth_value_at(w, message, hearth_value_str(HEARTH_STR("content")));
        if (role.type == HEARTH_VALUE_STR && hearth_str_is(role.str, "developer") && !knows_developer)
            hearth_value_set_named(w, message, "role", hearth_value_str(HEARTH_STR("system")));
        if (content.type == HEARTH_VALUE_NONE)
            hearth_value_set_named(w, message, "content", hearth_value_str(HEARTH_STR("")));
        else if (content.type == HEARTH_VALUE_LIST && !knows_parts)
            hearth_value_set_named(w, message, "content", joined_parts(w, content.list));
    }
}

hearth_status hearth_messages_render(struct hearth_template *t, const struct hearth_rendering *r, struct hearth_value variables,
                                     struct hearth_value messages, struct hearth_str *text, hearth_error *err)
{
    struct hearth_workspace *w = hearth_template_workspace(t, err);
    size_t n;
    hearth_messages_prepare(w, messages, r->source, r->source_bytes);
    hearth_value_set_named(w, variables, "messages", messages);
    hearth_value_set_named(w, variables, "bos_token", hearth_value_str(r->bos));
    hearth_value_set_named(w, variables, "eos_token", hearth_value_str(r->eos));
    hearth_value_set_named(w, variables, "add_generation_prompt", hearth_value_bool(!r->no_generation_prompt));
    HEARTH_TRY(w->status);
    HEARTH_TRY(hearth_template_render(t, variables, r->now, &n, err));
    return hearth_template_text(t, text, err);
}

/* ---- Conversations ------------------------------------------------------------------------------------------------------- */

static void add_text(struct hearth_workspace *w, struct hearth_builder *b, const hearth_message *message)
{
    if (b->n > 0)
        hearth_builder_add(w, b, HEARTH_STR("\n\n"));
    hearth_builder_add_copy(w, b, message->text, message->text_bytes, true);
}

static void add_message(struct hearth_workspace *w, struct hearth_value list, int32_t role, const struct hearth_builder *content)
{
    static const char *const names[] = {[HEARTH_ROLE_SYSTEM] = "system",
                                        [HEARTH_ROLE_USER] = "user",
                                        [HEARTH_ROLE_ASSISTANT] = "assistant",
                                        [HEARTH_ROLE_TOOL] = "tool"};
    const struct hearth_value message = hearth_value_new(w, HEARTH_VALUE_MAP);
    hearth_value_set_named(w, message, "role", hearth_value_str(hearth_str_of(names[role])));
    hearth_value_set_named(w, message, "content", hearth_value_str(hearth_builder_finish(w, content)));
    hearth_value_append(w, list, message);
}

/* How a conversation becomes the list that a template sees. */
struct form {
    bool joined; /* neighbours of one role are one message */
    bool inside; /* the system's text stands in the first message of a user */
};

static struct hearth_value list_of(struct hearth_workspace *w, const hearth_message *system, const hearth_message *messages,
                                   size_t n, struct form form)
{
    const struct hearth_value list = hearth_value_new(w, HEARTH_VALUE_LIST);
    if (system && !form.inside) {
        struct hearth_builder content = {0};
        add_text(w, &content, system);
        add_message(w, list, HEARTH_ROLE_SYSTEM, &content);
        system = NULL;
    }
    for (size_t i = 0; i < n;) {
        const int32_t role = messages[i].role;
        struct hearth_builder content = {0};
        if (system && role == HEARTH_ROLE_USER) {
            add_text(w, &content, system);
            system = NULL;
        }
        do
            add_text(w, &content, &messages[i++]);
        while (form.joined && i < n && messages[i].role == role);
        add_message(w, list, role, &content);
    }
    return list;
}

static hearth_status render_form(struct hearth_template *t, const struct hearth_rendering *r, const hearth_message *system,
                                 const hearth_message *messages, size_t n, struct form form, struct hearth_str *text,
                                 hearth_error *err)
{
    hearth_template_forget(t);
    struct hearth_workspace *w = hearth_template_workspace(t, err);
    const struct hearth_value list = list_of(w, system, messages, n, form);
    const struct hearth_value variables = hearth_value_new(w, HEARTH_VALUE_MAP);
    HEARTH_TRY(w->status);
    return hearth_messages_render(t, r, variables, list, text, err);
}

static bool has_neighbours(const hearth_message *messages, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (messages[i].role == messages[i - 1].role)
            return true;
    return false;
}

/* Whether the template has left the system's text out; white space around it is the template's to cut off. */
static bool left_out(struct hearth_template *t, const hearth_message *system, struct hearth_str text)
{
    struct hearth_workspace *w = hearth_template_workspace(t, NULL);
    const struct hearth_str whole = {system->text, NULL, system->text_bytes};
    const struct hearth_str words = hearth_str_strip(w, whole, NULL, true, true);
    return w->status == HEARTH_OK && words.n > 0 && hearth_str_find(text, words, 0) == SIZE_MAX;
}

hearth_status hearth_conversation_render(struct hearth_template *t, const struct hearth_rendering *r, const hearth_message *system,
                                         const hearth_message *messages, size_t n, struct hearth_str *text, hearth_error *err)
{
    hearth_error own;
    struct form form = {0};
    err = err ? err : &own;
    hearth_status status = render_form(t, r, system, messages, n, form, text, err);
    if (status != HEARTH_OK && strcmp(err->detail, "E_LIMIT") != 0 && has_neighbours(messages, n)) {
        form.joined = true;
        status = render_form(t, r, system, messages, n, form, text, err);
    }
    const bool refused = status != HEARTH_OK && strcmp(err->detail, "E_LIMIT") != 0;
    if (!system || !(refused || (status == HEARTH_OK && left_out(t, system, *text))))
        return status;
    form.inside = true;
    return render_form(t, r, system, messages, n, form, text, err);
}
