/* The operators of expressions on values. */
#ifndef HEARTH_ENGINE_TEMPLATE_OPERATE_H
#define HEARTH_ENGINE_TEMPLATE_OPERATE_H

#include "template/syntax.h"

/* EQUAL ... NOT_IN */
bool hearth_operate_compare(struct hearth_workspace *w, enum hearth_operator op, struct hearth_value a, struct hearth_value b);
/* ADD ... POWER. Integers that do not fit in 64 bits are an error. */
struct hearth_value hearth_operate(struct hearth_workspace *w, enum hearth_operator op, struct hearth_value a,
                                   struct hearth_value b);
struct hearth_value hearth_operate_negate(struct hearth_workspace *w, struct hearth_value a);

#endif
