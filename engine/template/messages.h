/* Messages as callers write them, made into what templates expect (spec chat.md 1.2). */
#ifndef HEARTH_ENGINE_TEMPLATE_MESSAGES_H
#define HEARTH_ENGINE_TEMPLATE_MESSAGES_H

#include "template/value.h"

/* Change a list of maps with role and content in place, for a template with this source: no content becomes empty content; the role
 * `developer` becomes `system`, and content in typed parts the text of those that have one, a newline between them, unless the
 * template handles them itself. What is no such list stays: the template will say what it misses. */
void hearth_messages_prepare(struct hearth_workspace *w, struct hearth_value messages, const char *source, size_t source_bytes);

#endif
