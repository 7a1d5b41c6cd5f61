/* Values as JSON text and back, as templates see it: keys in their order, UTF-8 as it is. */
#ifndef HEARTH_ENGINE_TEMPLATE_JSON_H
#define HEARTH_ENGINE_TEMPLATE_JSON_H

#include "template/value.h"

#define HEARTH_JSON_INDENT_MAX 64

struct hearth_json_style {
    int indent; /* blanks for each level; below 0: all on one line */
    bool ascii; /* everything else as \uxxxx */
    bool sort;  /* keys */
    struct hearth_str item_separator, key_separator;
};

/* An error for what JSON has no form for. */
struct hearth_value hearth_json_write(struct hearth_workspace *w, struct hearth_value v, const struct hearth_json_style *style);
/* An error for what is no JSON. Strings keep who wrote them. */
struct hearth_value hearth_json_read(struct hearth_workspace *w, struct hearth_str text);

#endif
