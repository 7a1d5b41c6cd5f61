/* From a template's text to its tree (spec chat.md 4.2, 4.4). */
#ifndef HEARTH_ENGINE_TEMPLATE_PARSER_H
#define HEARTH_ENGINE_TEMPLATE_PARSER_H

#include "template/syntax.h"

/* Read the source into the workspace; returns the first statement, NULL for an empty template and after a failure. */
struct hearth_stmt *hearth_parser_read(struct hearth_workspace *w, const char *source, size_t n);

/* A name with its hash. */
struct hearth_name hearth_parser_name(struct hearth_str text);

#endif
