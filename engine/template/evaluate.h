/* Running a template's tree (spec chat.md 4.3, 4.4). */
#ifndef HEARTH_ENGINE_TEMPLATE_EVALUATE_H
#define HEARTH_ENGINE_TEMPLATE_EVALUATE_H

#include "template/syntax.h"

/* Run the statements with `variables`, a map, as global variables; what they show is added to `out`. */
void hearth_evaluate(struct hearth_workspace *w, const struct hearth_stmt *body, struct hearth_value variables,
                     struct hearth_builder *out);

#endif
