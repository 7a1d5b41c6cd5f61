/* Preparing messages; see messages.h. Whether a template handles something itself is told by the words in its source. */
#include "template/messages.h"

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
