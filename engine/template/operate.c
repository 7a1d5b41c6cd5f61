/* Operators; see operate.h. Floats are plain IEEE operations in a fixed order, no function of libm among them. */
#include "template/operate.h"

static struct hearth_value fail(struct hearth_workspace *w, const char *what, struct hearth_value a, struct hearth_value b)
{
    hearth_workspace_fail(w, HEARTH_E_FORMAT, "E_TEMPLATE", "%s of %s and %s", what, hearth_value_type_name(a.type),
                          hearth_value_type_name(b.type));
    return HEARTH_UNDEFINED;
}

bool hearth_operate_compare(struct hearth_workspace *w, enum hearth_operator op, struct hearth_value a, struct hearth_value b)
{
    switch (op) {
    case HEARTH_OP_EQUAL:
        return hearth_value_equal(w, a, b);
    case HEARTH_OP_UNEQUAL:
        return !hearth_value_equal(w, a, b);
    case HEARTH_OP_LESS:
        return hearth_value_compare(w, a, b) < 0;
    case HEARTH_OP_LESS_EQUAL:
        return hearth_value_compare(w, a, b) <= 0;
    case HEARTH_OP_GREATER:
        return hearth_value_compare(w, a, b) > 0;
    case HEARTH_OP_GREATER_EQUAL:
        return hearth_value_compare(w, a, b) >= 0;
    case HEARTH_OP_IN:
        return hearth_value_contains(w, b, a);
    default:
        return !hearth_value_contains(w, b, a);
    }
}

/* ---- Numbers ---------------------------------------------------------------------------------------------------------- */

/* Toward minus infinity; b is neither 0 nor, with the least a, -1. */
static int64_t floor_divide(int64_t a, int64_t b)
{
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

static bool power(int64_t base, int64_t exponent, int64_t *out)
{
    for (*out = 1; exponent > 0; exponent >>= 1) {
        if ((exponent & 1) && __builtin_mul_overflow(*out, base, out))
            return false;
        if (exponent > 1 && __builtin_mul_overflow(base, base, &base))
            return false;
    }
    return true;
}

static double real_power(double base, int64_t exponent)
{
    double out = 1;
    const bool inverse = exponent < 0;
    uint64_t left = inverse ? -(uint64_t)exponent : (uint64_t)exponent;
    for (; left > 0; left >>= 1, base *= base)
        out *= left & 1 ? base : 1;
    return inverse ? 1 / out : out;
}

static double real_floor(double x)
{
    if (!(x > -0x1p62 && x < 0x1p62)) /* whole already, or no number */
        return x;
    const double whole = (double)(int64_t)x;
    return whole > x ? whole - 1 : whole;
}

/* b is not 0 where something is divided by it. */
static struct hearth_value operate_ints(struct hearth_workspace *w, enum hearth_operator op, int64_t a, int64_t b)
{
    int64_t out = 0;
    bool fits = true;
    switch (op) {
    case HEARTH_OP_ADD:
        fits = !__builtin_add_overflow(a, b, &out);
        break;
    case HEARTH_OP_SUBTRACT:
        fits = !__builtin_sub_overflow(a, b, &out);
        break;
    case HEARTH_OP_MULTIPLY:
        fits = !__builtin_mul_overflow(a, b, &out);
        break;
    case HEARTH_OP_DIVIDE:
        return hearth_value_float((double)a / (double)b);
    case HEARTH_OP_FLOOR_DIVIDE:
        fits = b != -1 || a != INT64_MIN;
        out = fits ? floor_divide(a, b) : 0;
        break;
    case HEARTH_OP_MODULO:
        out = b == -1 ? 0 : a - floor_divide(a, b) * b;
        break;
    default:
        if (b < 0)
            return hearth_value_float(real_power((double)a, b));
        fits = power(a, b, &out);
        break;
    }
    if (!fits)
        hearth_workspace_fail(w, HEARTH_E_FORMAT, "E_TEMPLATE", "an integer does not fit in 64 bits");
    return hearth_value_int(out);
}

static struct hearth_value operate_reals(struct hearth_workspace *w, enum hearth_operator op, double a, double b)
{
    switch (op) {
    case HEARTH_OP_ADD:
        return hearth_value_float(a + b);
    case HEARTH_OP_SUBTRACT:
        return hearth_value_float(a - b);
    case HEARTH_OP_MULTIPLY:
        return hearth_value_float(a * b);
    case HEARTH_OP_DIVIDE:
        return hearth_value_float(a / b);
    case HEARTH_OP_FLOOR_DIVIDE:
        return hearth_value_float(real_floor(a / b));
    case HEARTH_OP_MODULO:
        return hearth_value_float(a - real_floor(a / b) * b);
    default:
        if (b == real_floor(b) && b > -0x1p31 && b < 0x1p31)
            return hearth_value_float(real_power(a, (int64_t)b));
        hearth_workspace_fail(w, HEARTH_E_UNSUPPORTED, "E_TEMPLATE", "powers with an exponent that is not whole");
        return HEARTH_UNDEFINED;
    }
}

static struct hearth_value operate_numbers(struct hearth_workspace *w, enum hearth_operator op, struct hearth_value a,
                                           struct hearth_value b)
{
    const bool divides = op == HEARTH_OP_DIVIDE || op == HEARTH_OP_FLOOR_DIVIDE || op == HEARTH_OP_MODULO;
    int64_t i;
    int64_t j;
    if (divides && hearth_value_real(b) == 0) {
        hearth_workspace_fail(w, HEARTH_E_FORMAT, "E_TEMPLATE", "division by zero");
        return HEARTH_UNDEFINED;
    }
    if (hearth_value_is_int(a, &i) && hearth_value_is_int(b, &j))
        return operate_ints(w, op, i, j);
    return operate_reals(w, op, hearth_value_real(a), hearth_value_real(b));
}

struct hearth_value hearth_operate_negate(struct hearth_workspace *w, struct hearth_value a)
{
    int64_t i;
    if (hearth_value_is_int(a, &i))
        return operate_ints(w, HEARTH_OP_SUBTRACT, 0, i);
    if (a.type == HEARTH_VALUE_FLOAT)
        return hearth_value_float(-a.real);
    return fail(w, "the negative", a, a);
}

/* ---- Strings and lists ------------------------------------------------------------------------------------------------- */

static struct hearth_value concatenate(struct hearth_workspace *w, struct hearth_str a, struct hearth_str b)
{
    struct hearth_builder text = {0};
    hearth_builder_add(w, &text, a);
    hearth_builder_add(w, &text, b);
    return hearth_value_str(hearth_builder_finish(w, &text));
}

static struct hearth_value join_lists(struct hearth_workspace *w, struct hearth_value a, struct hearth_value b)
{
    const struct hearth_value out = hearth_value_new(w, a.type);
    for (size_t i = 0; i < a.list->n && hearth_workspace_charge(w, 1); i++)
        hearth_value_append(w, out, a.list->items[i]);
    for (size_t i = 0; i < b.list->n && hearth_workspace_charge(w, 1); i++)
        hearth_value_append(w, out, b.list->items[i]);
    return out;
}

/* Steps and memory end what is repeated too often. */
static struct hearth_value repeat(struct hearth_workspace *w, struct hearth_value what, int64_t times)
{
    if (hearth_value_is_sequence(what)) {
        struct hearth_value out = hearth_value_new(w, what.type);
        while (times-- > 0 && what.list->n > 0 && hearth_workspace_charge(w, 1))
            out = join_lists(w, out, what);
        return out;
    }
    struct hearth_builder text = {0};
    while (times-- > 0 && what.str.n > 0 && hearth_workspace_charge(w, 1))
        hearth_builder_add(w, &text, what.str);
    return hearth_value_str(hearth_builder_finish(w, &text));
}

static bool repeats(struct hearth_value what, struct hearth_value times, int64_t *n)
{
    return (what.type == HEARTH_VALUE_STR || hearth_value_is_sequence(what)) && hearth_value_is_int(times, n);
}

struct hearth_value hearth_operate(struct hearth_workspace *w, enum hearth_operator op, struct hearth_value a,
                                   struct hearth_value b)
{
    static const char *const names[] = {"sum",      "difference", "concatenation", "product",
                                        "quotient", "quotient",   "remainder",     "power"};
    int64_t times;
    if (op == HEARTH_OP_CONCATENATE)
        return concatenate(w, hearth_value_to_str(w, a), hearth_value_to_str(w, b));
    if (hearth_value_is_number(a) && hearth_value_is_number(b))
        return operate_numbers(w, op, a, b);
    if (op == HEARTH_OP_ADD && a.type == HEARTH_VALUE_STR && b.type == HEARTH_VALUE_STR)
        return concatenate(w, a.str, b.str);
    if (op == HEARTH_OP_ADD && a.type == b.type && hearth_value_is_sequence(a))
        return join_lists(w, a, b);
    if (op == HEARTH_OP_MULTIPLY && repeats(a, b, &times))
        return repeat(w, a, times);
    if (op == HEARTH_OP_MULTIPLY && repeats(b, a, &times))
        return repeat(w, b, times);
    return fail(w, names[op - HEARTH_OP_ADD], a, b);
}
