/* Finding built-ins and handing them their arguments; see builtin.h. */
#include "template/builtin.h"
#include "common/status.h"

const struct hearth_builtin *hearth_builtin_find(const struct hearth_builtin *table, struct hearth_str name)
{
    for (; table->name; table++) {
        if (hearth_str_is(name, table->name))
            return table;
    }
    return NULL;
}

struct hearth_value hearth_call_fail(const struct hearth_call *call, const char *format, ...)
{
    char what[256];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(what, sizeof what, format, args);
    va_end(args);
    hearth_workspace_fail(call->w, HEARTH_E_FORMAT, "E_TEMPLATE", "%s", what);
    return HEARTH_UNDEFINED;
}

static bool is_given(const struct hearth_call *call, size_t parameter)
{
    const enum hearth_value_type type = call->arg[parameter].type;
    return type != HEARTH_VALUE_UNDEFINED && type != HEARTH_VALUE_NONE;
}

int64_t hearth_call_int(const struct hearth_call *call, size_t parameter, int64_t otherwise)
{
    int64_t value = otherwise;
    if (is_given(call, parameter) && !hearth_value_is_int(call->arg[parameter], &value))
        (void)hearth_call_fail(call, "argument %zu (got a %s, need an integer)", parameter + 1,
                               hearth_value_type_name(call->arg[parameter].type));
    return value;
}

struct hearth_str hearth_call_str(const struct hearth_call *call, size_t parameter, struct hearth_str otherwise)
{
    if (!is_given(call, parameter))
        return otherwise;
    if (call->arg[parameter].type == HEARTH_VALUE_STR)
        return call->arg[parameter].str;
    (void)hearth_call_fail(call, "argument %zu (got a %s, need a string)", parameter + 1,
                           hearth_value_type_name(call->arg[parameter].type));
    return otherwise;
}

bool hearth_call_truth(const struct hearth_call *call, size_t parameter, bool otherwise)
{
    return is_given(call, parameter) ? hearth_value_truth(call->arg[parameter]) : otherwise;
}

/* The place of a parameter in a list of names parted by blanks; past its end when it is not there. *n receives how many there are.
 */
static size_t parameter_place(const char *names, struct hearth_str name, size_t *n)
{
    size_t place = SIZE_MAX;
    *n = 0;
    while (*names) {
        const size_t length = strcspn(names, " ");
        if (length == name.n && memcmp(names, name.bytes, length) == 0)
            place = *n;
        ++*n;
        names += length + (names[length] == ' ');
    }
    return place < *n ? place : *n;
}

static bool bind(struct hearth_call *call, const struct hearth_builtin *builtin, const struct hearth_arguments *given)
{
    size_t n;
    (void)parameter_place(builtin->parameters, HEARTH_STR(""), &n);
    if (given->n_positional > n) {
        (void)hearth_call_fail(call, "'%s': too many arguments (got %zu, need at most %zu)", builtin->name, given->n_positional, n);
        return false;
    }
    for (size_t i = 0; i < given->n_positional; i++)
        call->arg[i] = given->positional[i];
    for (size_t i = 0; i < given->n_named; i++) {
        const struct hearth_str name = given->named[i].name;
        const size_t place = parameter_place(builtin->parameters, name, &n);
        if (place == n) {
            char quoted[HEARTH_QUOTE_MAX];
            (void)hearth_call_fail(call, "'%s': has no parameter '%s'", builtin->name, hearth_quote(quoted, name.bytes, name.n));
            return false;
        }
        call->arg[place] = given->named[i].value;
    }
    return true;
}

struct hearth_value hearth_builtin_run(struct hearth_workspace *w, const struct hearth_builtin *builtin, const char *kind,
                                       struct hearth_str name, struct hearth_value self, const struct hearth_arguments *given)
{
    struct hearth_call call = {.w = w, .self = self, .given = given};
    if (!builtin) {
        char quoted[HEARTH_QUOTE_MAX];
        return hearth_call_fail(&call, "%s: there is no '%s'", kind, hearth_quote(quoted, name.bytes, name.n));
    }
    if (builtin->parameters[0] != '*' && !bind(&call, builtin, given))
        return HEARTH_UNDEFINED;
    return hearth_workspace_charge(w, 1) ? builtin->run(&call) : HEARTH_UNDEFINED;
}
