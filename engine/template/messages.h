/* Messages as callers write them, made into what templates expect (spec chat.md 1.2), and rendered. */
#ifndef HEARTH_ENGINE_TEMPLATE_MESSAGES_H
#define HEARTH_ENGINE_TEMPLATE_MESSAGES_H

#include "template/template.h"

/* What messages are rendered with. */
struct hearth_rendering {
    const char *source; /* of the template: what it mentions, it handles itself */
    size_t source_bytes;
    struct hearth_str bos, eos;
    bool no_generation_prompt;
    int64_t now; /* as of hearth_template_render() */
};

/* Change a list of maps with role and content in place, for a template with this source: no content becomes empty content; the role
 * `developer` becomes `system`, and content in typed parts the text of those that have one, a newline between them, unless the
 * template handles them itself. What is no such list stays: the template will say what it misses. */
void hearth_messages_prepare(struct hearth_workspace *w, struct hearth_value messages, const char *source, size_t source_bytes);

/* Prepare and render such a list, with more variables, a map that the ones every template knows are added to. The text lies in the
 * template's memory. Errors as hearth_template_render(). */
hearth_status hearth_messages_render(struct hearth_template *t, const struct hearth_rendering *r, struct hearth_value variables,
                                     struct hearth_value messages, struct hearth_str *text, hearth_error *err);

/* Render a conversation of plain texts: what the system says (NULL: nothing), then n messages. Where the template refuses two
 * neighbours of one role, they become one message; where it refuses the system's text or leaves it out, that stands before the
 * first user's words. Forgets what was rendered before. */
hearth_status hearth_conversation_render(struct hearth_template *t, const struct hearth_rendering *r, const hearth_message *system,
                                         const hearth_message *messages, size_t n, struct hearth_str *text, hearth_error *err);

#endif
