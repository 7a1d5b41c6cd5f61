/* What templates can use by name without defining it: filters, tests, methods, functions. One table each; a row says what
 * parameters there are, so that arguments are sorted and checked in one place. */
#ifndef HEARTH_ENGINE_TEMPLATE_BUILTIN_H
#define HEARTH_ENGINE_TEMPLATE_BUILTIN_H

#include "template/value.h"

#define HEARTH_BUILTIN_PARAMETERS_MAX 4

struct hearth_named_value {
    struct hearth_str name;
    struct hearth_value value;
};

/* Arguments of a call, evaluated. */
struct hearth_arguments {
    struct hearth_value *positional;
    struct hearth_named_value *named;
    size_t n_positional, n_named;
};

struct hearth_call {
    struct hearth_workspace *w;
    struct hearth_value self;                               /* what is filtered or tested, or whose method it is */
    struct hearth_value arg[HEARTH_BUILTIN_PARAMETERS_MAX]; /* by parameter; undefined where not given */
    const struct hearth_arguments *given;                   /* as they came, for those that take any */
};

struct hearth_builtin {
    const char *name;
    const char *parameters; /* names, parted by blanks; "*": any arguments */
    struct hearth_value (*run)(const struct hearth_call *call);
};

/* NULL when there is none. */
const struct hearth_builtin *hearth_filter_find(struct hearth_str name);
const struct hearth_builtin *hearth_test_find(struct hearth_str name);
const struct hearth_builtin *hearth_function_find(struct hearth_str name);
const struct hearth_builtin *hearth_method_find(enum hearth_value_type type, struct hearth_str name);

/* Sort the arguments into parameters and run. `kind` and `name` stand in messages; builtin may be NULL: there is none. */
struct hearth_value hearth_builtin_run(struct hearth_workspace *w, const struct hearth_builtin *builtin, const char *kind,
                                       struct hearth_str name, struct hearth_value self, const struct hearth_arguments *given);
/* The row of a name in a table that ends with a zero row. */
const struct hearth_builtin *hearth_builtin_find(const struct hearth_builtin *table, struct hearth_str name);

/* An argument as an integer or a string; its default when it is undefined or none; an error when it is something else. */
int64_t hearth_call_int(const struct hearth_call *call, size_t parameter, int64_t otherwise);
struct hearth_str hearth_call_str(const struct hearth_call *call, size_t parameter, struct hearth_str otherwise);
bool hearth_call_truth(const struct hearth_call *call, size_t parameter, bool otherwise);
/* E_TEMPLATE with a message; returns undefined. */
HEARTH_PRINTF(2, 3) struct hearth_value hearth_call_fail(const struct hearth_call *call, const char *format, ...);

#endif
