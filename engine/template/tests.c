/* The tests of templates, behind "is" (spec chat.md 4.5). */
#include "template/operate.h"

static struct hearth_value of_type(const struct hearth_call *c, enum hearth_value_type type)
{
    return hearth_value_bool(c->self.type == type);
}

static struct hearth_value run_defined(const struct hearth_call *c)
{
    return hearth_value_bool(c->self.type != HEARTH_VALUE_UNDEFINED);
}

static struct hearth_value run_undefined(const struct hearth_call *c)
{
    return of_type(c, HEARTH_VALUE_UNDEFINED);
}

static struct hearth_value run_none(const struct hearth_call *c)
{
    return of_type(c, HEARTH_VALUE_NONE);
}

static struct hearth_value run_string(const struct hearth_call *c)
{
    return of_type(c, HEARTH_VALUE_STR);
}

static struct hearth_value run_number(const struct hearth_call *c)
{
    return hearth_value_bool(hearth_value_is_number(c->self));
}

static struct hearth_value run_integer(const struct hearth_call *c)
{
    return of_type(c, HEARTH_VALUE_INT);
}

static struct hearth_value run_float(const struct hearth_call *c)
{
    return of_type(c, HEARTH_VALUE_FLOAT);
}

static struct hearth_value run_boolean(const struct hearth_call *c)
{
    return of_type(c, HEARTH_VALUE_BOOL);
}

static struct hearth_value run_true(const struct hearth_call *c)
{
    return hearth_value_bool(c->self.type == HEARTH_VALUE_BOOL && c->self.boolean);
}

static struct hearth_value run_false(const struct hearth_call *c)
{
    return hearth_value_bool(c->self.type == HEARTH_VALUE_BOOL && !c->self.boolean);
}

static struct hearth_value run_mapping(const struct hearth_call *c)
{
    return of_type(c, HEARTH_VALUE_MAP);
}

static struct hearth_value run_sequence(const struct hearth_call *c)
{
    return hearth_value_bool(c->self.type == HEARTH_VALUE_STR || c->self.type == HEARTH_VALUE_UNDEFINED ||
                             hearth_value_is_sequence(c->self) || c->self.type == HEARTH_VALUE_MAP);
}

static struct hearth_value run_callable(const struct hearth_call *c)
{
    return hearth_value_bool(c->self.type == HEARTH_VALUE_MACRO || c->self.type == HEARTH_VALUE_FUNCTION);
}

static struct hearth_value compared(const struct hearth_call *c, enum hearth_operator op)
{
    return hearth_value_bool(hearth_operate_compare(c->w, op, c->self, c->arg[0]));
}

static struct hearth_value run_equal(const struct hearth_call *c)
{
    return compared(c, HEARTH_OP_EQUAL);
}

static struct hearth_value run_unequal(const struct hearth_call *c)
{
    return compared(c, HEARTH_OP_UNEQUAL);
}

static struct hearth_value run_less(const struct hearth_call *c)
{
    return compared(c, HEARTH_OP_LESS);
}

static struct hearth_value run_less_equal(const struct hearth_call *c)
{
    return compared(c, HEARTH_OP_LESS_EQUAL);
}

static struct hearth_value run_greater(const struct hearth_call *c)
{
    return compared(c, HEARTH_OP_GREATER);
}

static struct hearth_value run_greater_equal(const struct hearth_call *c)
{
    return compared(c, HEARTH_OP_GREATER_EQUAL);
}

static struct hearth_value run_in(const struct hearth_call *c)
{
    return compared(c, HEARTH_OP_IN);
}

static struct hearth_value divides(const struct hearth_call *c, struct hearth_value by, int64_t rest)
{
    const struct hearth_value remainder = hearth_operate(c->w, HEARTH_OP_MODULO, c->self, by);
    return hearth_value_bool(hearth_value_equal(c->w, remainder, hearth_value_int(rest)));
}

static struct hearth_value run_odd(const struct hearth_call *c)
{
    return divides(c, hearth_value_int(2), 1);
}

static struct hearth_value run_even(const struct hearth_call *c)
{
    return divides(c, hearth_value_int(2), 0);
}

static struct hearth_value run_divisibleby(const struct hearth_call *c)
{
    return divides(c, c->arg[0], 0);
}

/* All letters in one case, and at least one letter. */
static struct hearth_value in_case(const struct hearth_call *c, uint32_t (*other)(uint32_t), uint32_t (*same)(uint32_t))
{
    const struct hearth_str s = hearth_value_to_str(c->w, c->self);
    bool any = false;
    uint32_t code;
    if (!hearth_workspace_charge_characters(c->w, s.n))
        return HEARTH_UNDEFINED;
    for (size_t at = 0; at < s.n; at += hearth_str_character(s, at, &code)) {
        (void)hearth_str_character(s, at, &code);
        if (same(code) != code)
            return hearth_value_bool(false);
        any = any || other(code) != code;
    }
    return hearth_value_bool(any);
}

static struct hearth_value run_lower(const struct hearth_call *c)
{
    return in_case(c, hearth_str_upper, hearth_str_lower);
}

static struct hearth_value run_upper(const struct hearth_call *c)
{
    return in_case(c, hearth_str_lower, hearth_str_upper);
}

const struct hearth_builtin *hearth_test_find(struct hearth_str name)
{
    static const struct hearth_builtin tests[] = {
        {"boolean", "", run_boolean},
        {"callable", "", run_callable},
        {"defined", "", run_defined},
        {"divisibleby", "num", run_divisibleby},
        {"eq", "other", run_equal},
        {"equalto", "other", run_equal},
        {"==", "other", run_equal},
        {"even", "", run_even},
        {"false", "", run_false},
        {"float", "", run_float},
        {"ge", "other", run_greater_equal},
        {">=", "other", run_greater_equal},
        {"greaterthan", "other", run_greater},
        {"gt", "other", run_greater},
        {">", "other", run_greater},
        {"in", "seq", run_in},
        {"integer", "", run_integer},
        {"iterable", "", run_sequence},
        {"le", "other", run_less_equal},
        {"<=", "other", run_less_equal},
        {"lessthan", "other", run_less},
        {"lower", "", run_lower},
        {"lt", "other", run_less},
        {"<", "other", run_less},
        {"mapping", "", run_mapping},
        {"ne", "other", run_unequal},
        {"!=", "other", run_unequal},
        {"none", "", run_none},
        {"number", "", run_number},
        {"odd", "", run_odd},
        {"sequence", "", run_sequence},
        {"string", "", run_string},
        {"true", "", run_true},
        {"undefined", "", run_undefined},
        {"upper", "", run_upper},
        {0},
    };
    return hearth_builtin_find(tests, name);
}
