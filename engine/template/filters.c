/* The filters of templates (spec chat.md 4.5). What goes through all elements charges for each. */
#include "template/builtin.h"
#include "template/json.h"
#include <string.h>

/* ---- Any value ---------------------------------------------------------------------------------------------------------- */

static struct hearth_value run_default(const struct hearth_call *c)
{
    const bool missing = c->self.type == HEARTH_VALUE_UNDEFINED || (hearth_call_truth(c, 1, false) && !hearth_value_truth(c->self));
    if (!missing)
        return c->self;
    return c->arg[0].type == HEARTH_VALUE_UNDEFINED ? hearth_value_str(HEARTH_STR("")) : c->arg[0];
}

static struct hearth_value run_length(const struct hearth_call *c)
{
    if (c->self.type == HEARTH_VALUE_STR)
        return hearth_workspace_charge_characters(c->w, c->self.str.n) ? hearth_value_int((int64_t)hearth_str_length(c->self.str))
                                                                       : HEARTH_UNDEFINED;
    struct hearth_list items;
    return hearth_value_items(c->w, c->self, &items) ? hearth_value_int((int64_t)items.n) : HEARTH_UNDEFINED;
}

static struct hearth_value run_string(const struct hearth_call *c)
{
    return hearth_value_str(hearth_value_to_str(c->w, c->self));
}

static struct hearth_value run_tojson(const struct hearth_call *c)
{
    const int64_t indent = hearth_call_int(c, 0, -1);
    if (indent < -1 || indent > HEARTH_JSON_INDENT_MAX)
        return hearth_call_fail(c, "tojson: indent out of range (need 0 to %d)", HEARTH_JSON_INDENT_MAX);
    struct hearth_json_style style = {.indent = (int)indent,
                                      .ascii = hearth_call_truth(c, 1, false),
                                      .sort = hearth_call_truth(c, 3, false),
                                      .key_separator = HEARTH_STR(": ")};
    style.item_separator = style.indent < 0 ? HEARTH_STR(", ") : HEARTH_STR(",");
    struct hearth_list separators;
    if (c->arg[2].type != HEARTH_VALUE_UNDEFINED && c->arg[2].type != HEARTH_VALUE_NONE) {
        if (!hearth_value_is_sequence(c->arg[2]) || !hearth_value_items(c->w, c->arg[2], &separators) || separators.n != 2)
            return hearth_call_fail(c, "tojson: separators (need two strings)");
        style.item_separator = hearth_value_to_str(c->w, separators.items[0]);
        style.key_separator = hearth_value_to_str(c->w, separators.items[1]);
    }
    return hearth_json_write(c->w, c->self, &style);
}

static struct hearth_value run_from_json(const struct hearth_call *c)
{
    if (c->self.type != HEARTH_VALUE_STR)
        return hearth_call_fail(c, "from_json of a %s", hearth_value_type_name(c->self.type));
    return hearth_json_read(c->w, c->self.str);
}

/* ---- Strings: the methods of the same name on what the value shows ------------------------------------------------------- */

static struct hearth_value run_as_method(const struct hearth_call *c, const char *name)
{
    const struct hearth_builtin *method = hearth_method_find(HEARTH_VALUE_STR, hearth_str_of(name));
    struct hearth_call call = *c;
    call.self = hearth_value_str(hearth_value_to_str(c->w, c->self));
    return method->run(&call);
}

static struct hearth_value run_trim(const struct hearth_call *c)
{
    return run_as_method(c, "strip");
}

static struct hearth_value run_lower(const struct hearth_call *c)
{
    return run_as_method(c, "lower");
}

static struct hearth_value run_upper(const struct hearth_call *c)
{
    return run_as_method(c, "upper");
}

static struct hearth_value run_title(const struct hearth_call *c)
{
    return run_as_method(c, "title");
}

static struct hearth_value run_capitalize(const struct hearth_call *c)
{
    return run_as_method(c, "capitalize");
}

static struct hearth_value run_replace(const struct hearth_call *c)
{
    return run_as_method(c, "replace");
}

/* Blanks before each line, of the width; lines keep their ends. */
static struct hearth_value run_indent(const struct hearth_call *c)
{
    const struct hearth_str s = hearth_value_to_str(c->w, c->self);
    const struct hearth_value blank = hearth_value_str(HEARTH_STR(" "));
    struct hearth_str prefix;
    if (c->arg[0].type == HEARTH_VALUE_STR) {
        prefix = c->arg[0].str;
    } else {
        struct hearth_builder blanks = {0};
        for (int64_t n = hearth_call_int(c, 0, 4); n > 0 && hearth_workspace_charge(c->w, 1); n--)
            hearth_builder_add(c->w, &blanks, blank.str);
        prefix = hearth_builder_finish(c->w, &blanks);
    }
    struct hearth_builder out = {0};
    bool indent = hearth_call_truth(c, 1, false);
    for (size_t at = 0; at < s.n && hearth_workspace_charge(c->w, 1);) {
        const size_t found = hearth_str_find(s, HEARTH_STR("\n"), at);
        const size_t end = found == SIZE_MAX ? s.n : found + 1;
        const bool empty = found == at;
        if (indent && (!empty || hearth_call_truth(c, 2, false)))
            hearth_builder_add(c->w, &out, prefix);
        hearth_builder_add(c->w, &out, hearth_str_part(s, at, end));
        indent = true;
        at = end;
    }
    return hearth_value_str(hearth_builder_finish(c->w, &out));
}

/* ---- Numbers ------------------------------------------------------------------------------------------------------------ */

static struct hearth_value to_number(const struct hearth_call *c)
{
    if (hearth_value_is_number(c->self))
        return c->self;
    if (c->self.type != HEARTH_VALUE_STR || !hearth_workspace_charge_characters(c->w, c->self.str.n))
        return HEARTH_UNDEFINED;
    return hearth_value_from_digits(hearth_str_strip(c->w, c->self.str, NULL, true, true));
}

static struct hearth_value run_int(const struct hearth_call *c)
{
    const struct hearth_value number = to_number(c);
    int64_t integer;
    if (hearth_value_is_int(number, &integer))
        return hearth_value_int(integer);
    if (number.type == HEARTH_VALUE_FLOAT && number.real > -0x1p63 && number.real < 0x1p63)
        return hearth_value_int((int64_t)number.real);
    return hearth_value_int(hearth_call_int(c, 0, 0));
}

static struct hearth_value run_float(const struct hearth_call *c)
{
    const struct hearth_value number = to_number(c);
    if (number.type != HEARTH_VALUE_UNDEFINED)
        return hearth_value_float(hearth_value_real(number));
    return hearth_value_float(hearth_value_is_number(c->arg[0]) ? hearth_value_real(c->arg[0]) : 0);
}

static struct hearth_value run_abs(const struct hearth_call *c)
{
    int64_t integer;
    if (hearth_value_is_int(c->self, &integer) && integer != INT64_MIN)
        return hearth_value_int(integer < 0 ? -integer : integer);
    if (c->self.type == HEARTH_VALUE_FLOAT)
        return hearth_value_float(c->self.real < 0 ? -c->self.real : c->self.real);
    return hearth_call_fail(c, "abs of a %s", hearth_value_type_name(c->self.type));
}

/* To the nearest with `precision` digits behind the point, halves to even; within what a double can tell. */
static struct hearth_value run_round(const struct hearth_call *c)
{
    const int64_t precision = hearth_call_int(c, 0, 0);
    if (!hearth_value_is_number(c->self) || precision < 0 || precision > 15)
        return hearth_call_fail(c, "round of a %s, or with a precision below 0 or above 15", hearth_value_type_name(c->self.type));
    double scale = 1;
    for (int64_t i = 0; i < precision; i++)
        scale *= 10;
    const double x = hearth_value_real(c->self) * scale;
    if (!(x > -0x1p51 && x < 0x1p51))
        return hearth_value_float(hearth_value_real(c->self));
    const double magic = 0x1.8p52; /* adding it leaves the nearest whole number in the low bits of the sum */
    return hearth_value_float(((x + magic) - magic) / scale);
}

/* ---- Lists -------------------------------------------------------------------------------------------------------------- */

/* The attribute a.b.c, or element number, of a value; the value itself where there is no name. */
static struct hearth_value part(const struct hearth_call *c, struct hearth_value v, struct hearth_value name)
{
    if (name.type != HEARTH_VALUE_STR)
        return name.type == HEARTH_VALUE_UNDEFINED || name.type == HEARTH_VALUE_NONE ? v : hearth_value_at(c->w, v, name);
    const struct hearth_str s = name.str;
    for (size_t at = 0; at <= s.n && hearth_workspace_charge(c->w, 1);) {
        const size_t dot = hearth_str_find(s, HEARTH_STR("."), at);
        const size_t end = dot == SIZE_MAX ? s.n : dot;
        const struct hearth_str one = hearth_str_part(s, at, end);
        const struct hearth_value number = hearth_value_from_digits(one);
        v = hearth_value_at(c->w, v, number.type == HEARTH_VALUE_INT ? number : hearth_value_str(one));
        at = end + 1;
    }
    return v;
}

static struct hearth_value run_join(const struct hearth_call *c)
{
    struct hearth_list items;
    struct hearth_builder out = {0};
    const struct hearth_str separator = hearth_call_str(c, 0, HEARTH_STR(""));
    if (!hearth_value_items(c->w, c->self, &items))
        return HEARTH_UNDEFINED;
    for (size_t i = 0; i < items.n && hearth_workspace_charge(c->w, 1); i++) {
        if (i > 0)
            hearth_builder_add(c->w, &out, separator);
        hearth_builder_add(c->w, &out, hearth_value_to_str(c->w, part(c, items.items[i], c->arg[1])));
    }
    return hearth_value_str(hearth_builder_finish(c->w, &out));
}

static struct hearth_value list_of(const struct hearth_call *c, const struct hearth_list *items)
{
    const struct hearth_value out = hearth_value_new(c->w, HEARTH_VALUE_LIST);
    for (size_t i = 0; i < items->n && hearth_workspace_charge(c->w, 1); i++)
        hearth_value_append(c->w, out, items->items[i]);
    return out;
}

static struct hearth_value run_list(const struct hearth_call *c)
{
    struct hearth_list items;
    return hearth_value_items(c->w, c->self, &items) ? list_of(c, &items) : HEARTH_UNDEFINED;
}

static struct hearth_value run_first(const struct hearth_call *c)
{
    struct hearth_list items;
    return hearth_value_items(c->w, c->self, &items) && items.n > 0 ? items.items[0] : HEARTH_UNDEFINED;
}

static struct hearth_value run_last(const struct hearth_call *c)
{
    struct hearth_list items;
    return hearth_value_items(c->w, c->self, &items) && items.n > 0 ? items.items[items.n - 1] : HEARTH_UNDEFINED;
}

static struct hearth_value run_reverse(const struct hearth_call *c)
{
    return hearth_value_slice(c->w, c->self, HEARTH_UNDEFINED, HEARTH_UNDEFINED, hearth_value_int(-1));
}

/* What a value is sorted and compared by: strings without their case. */
static struct hearth_value sort_key(const struct hearth_call *c, struct hearth_value v, struct hearth_value attribute,
                                    bool case_matters)
{
    struct hearth_call lower = {.w = c->w, .self = part(c, v, attribute)};
    return lower.self.type == HEARTH_VALUE_STR && !case_matters ? run_lower(&lower) : lower.self;
}

/* The elements with their keys, sorted; NULL after a failure. */
static struct hearth_pair *sorted(const struct hearth_call *c, const struct hearth_list *items, struct hearth_value attribute,
                                  bool case_matters, bool reverse)
{
    struct hearth_pair *pairs = hearth_workspace_take(c->w, items->n, sizeof *pairs);
    for (size_t i = 0; pairs && i < items->n && hearth_workspace_charge(c->w, 1); i++)
        pairs[i] = (struct hearth_pair){sort_key(c, items->items[i], attribute, case_matters), items->items[i]};
    if (c->w->status == HEARTH_OK)
        hearth_value_sort(c->w, pairs, items->n, reverse);
    return c->w->status == HEARTH_OK ? pairs : NULL;
}

static struct hearth_value values_of(const struct hearth_call *c, const struct hearth_pair *pairs, size_t n)
{
    const struct hearth_value out = hearth_value_new(c->w, HEARTH_VALUE_LIST);
    for (size_t i = 0; pairs && i < n; i++)
        hearth_value_append(c->w, out, pairs[i].value);
    return out;
}

static struct hearth_value run_sort(const struct hearth_call *c)
{
    struct hearth_list items;
    if (!hearth_value_items(c->w, c->self, &items))
        return HEARTH_UNDEFINED;
    return values_of(c, sorted(c, &items, c->arg[2], hearth_call_truth(c, 1, false), hearth_call_truth(c, 0, false)), items.n);
}

static struct hearth_value extreme(const struct hearth_call *c, bool largest)
{
    struct hearth_list items;
    if (!hearth_value_items(c->w, c->self, &items) || items.n == 0)
        return HEARTH_UNDEFINED;
    const struct hearth_pair *pairs = sorted(c, &items, c->arg[1], hearth_call_truth(c, 0, false), largest);
    return pairs ? pairs[0].value : HEARTH_UNDEFINED;
}

static struct hearth_value run_min(const struct hearth_call *c)
{
    return extreme(c, false);
}

static struct hearth_value run_max(const struct hearth_call *c)
{
    return extreme(c, true);
}

static struct hearth_value run_unique(const struct hearth_call *c)
{
    struct hearth_list items;
    const struct hearth_value seen = hearth_value_new(c->w, HEARTH_VALUE_LIST);
    const struct hearth_value out = hearth_value_new(c->w, HEARTH_VALUE_LIST);
    if (!hearth_value_items(c->w, c->self, &items))
        return HEARTH_UNDEFINED;
    for (size_t i = 0; i < items.n && hearth_workspace_charge(c->w, 1); i++) {
        const struct hearth_value key = sort_key(c, items.items[i], c->arg[1], hearth_call_truth(c, 0, false));
        if (hearth_value_contains(c->w, seen, key))
            continue;
        hearth_value_append(c->w, seen, key);
        hearth_value_append(c->w, out, items.items[i]);
    }
    return out;
}

static struct hearth_value run_items(const struct hearth_call *c)
{
    if (c->self.type == HEARTH_VALUE_UNDEFINED)
        return hearth_value_new(c->w, HEARTH_VALUE_LIST);
    if (!hearth_value_is_mapping(c->self))
        return hearth_call_fail(c, "items of a %s", hearth_value_type_name(c->self.type));
    return hearth_method_find(HEARTH_VALUE_MAP, HEARTH_STR("items"))->run(c);
}

/* items sorted by key, or by value. */
static struct hearth_value run_dictsort(const struct hearth_call *c)
{
    struct hearth_list items;
    const struct hearth_value all = run_items(c);
    const struct hearth_str by = hearth_call_str(c, 1, HEARTH_STR("key"));
    if (!hearth_value_items(c->w, all, &items))
        return HEARTH_UNDEFINED;
    const struct hearth_value place = hearth_value_int(hearth_str_is(by, "value"));
    return values_of(c, sorted(c, &items, place, hearth_call_truth(c, 0, false), hearth_call_truth(c, 2, false)), items.n);
}

/* ---- Filters and tests applied to each element ----------------------------------------------------------------------------- */

static struct hearth_value named(const struct hearth_call *c, const char *name)
{
    for (size_t i = 0; i < c->given->n_named; i++) {
        if (hearth_str_is(c->given->named[i].name, name))
            return c->given->named[i].value;
    }
    return HEARTH_UNDEFINED;
}

/* The arguments behind the first n. */
static struct hearth_arguments behind(const struct hearth_call *c, size_t n)
{
    struct hearth_arguments rest = *c->given;
    rest.positional += n;
    rest.n_positional -= n;
    return rest;
}

static struct hearth_value map_one(const struct hearth_call *c, struct hearth_value v)
{
    if (c->given->n_positional == 0) {
        const struct hearth_value out = part(c, v, named(c, "attribute"));
        return out.type == HEARTH_VALUE_UNDEFINED ? named(c, "default") : out;
    }
    const struct hearth_arguments rest = behind(c, 1);
    if (c->given->positional[0].type != HEARTH_VALUE_STR)
        return hearth_call_fail(c, "map: the name of a filter is missing");
    const struct hearth_str name = c->given->positional[0].str;
    return hearth_builtin_run(c->w, hearth_filter_find(name), "filter", name, v, &rest);
}

static struct hearth_value run_map(const struct hearth_call *c)
{
    struct hearth_list items;
    const struct hearth_value out = hearth_value_new(c->w, HEARTH_VALUE_LIST);
    if (!hearth_value_truth(c->self) || !hearth_value_items(c->w, c->self, &items))
        return out;
    if (c->given->n_positional == 0 && named(c, "attribute").type == HEARTH_VALUE_UNDEFINED)
        return hearth_call_fail(c, "map: needs a filter or attribute=");
    for (size_t i = 0; i < items.n && hearth_workspace_charge(c->w, 1); i++)
        hearth_value_append(c->w, out, map_one(c, items.items[i]));
    return out;
}

/* Keep the elements for which a test holds, or does not; the arguments begin with an attribute where `attribute` says so. */
static struct hearth_value choose(const struct hearth_call *c, bool attribute, bool wanted)
{
    struct hearth_list items;
    const struct hearth_value out = hearth_value_new(c->w, HEARTH_VALUE_LIST);
    if (!hearth_value_truth(c->self) || !hearth_value_items(c->w, c->self, &items))
        return out;
    const size_t n = c->given->n_positional;
    if (n < attribute || (n > attribute && c->given->positional[attribute].type != HEARTH_VALUE_STR))
        return hearth_call_fail(c, "select: the name of %s is missing", n < attribute ? "an attribute" : "a test");
    for (size_t i = 0; i < items.n && hearth_workspace_charge(c->w, 1); i++) {
        struct hearth_value v = attribute ? part(c, items.items[i], c->given->positional[0]) : items.items[i];
        if (n > attribute) {
            const struct hearth_str test = c->given->positional[attribute].str;
            const struct hearth_arguments rest = behind(c, (size_t)attribute + 1);
            v = hearth_builtin_run(c->w, hearth_test_find(test), "test", test, v, &rest);
        }
        if (hearth_value_truth(v) == wanted)
            hearth_value_append(c->w, out, items.items[i]);
    }
    return out;
}

static struct hearth_value run_select(const struct hearth_call *c)
{
    return choose(c, false, true);
}

static struct hearth_value run_reject(const struct hearth_call *c)
{
    return choose(c, false, false);
}

static struct hearth_value run_selectattr(const struct hearth_call *c)
{
    return choose(c, true, true);
}

static struct hearth_value run_rejectattr(const struct hearth_call *c)
{
    return choose(c, true, false);
}

static struct hearth_value run_safe(const struct hearth_call *c)
{
    return c->self;
}

const struct hearth_builtin *hearth_filter_find(struct hearth_str name)
{
    static const struct hearth_builtin filters[] = {
        {"abs", "", run_abs},
        {"capitalize", "", run_capitalize},
        {"count", "", run_length},
        {"d", "default_value boolean", run_default},
        {"default", "default_value boolean", run_default},
        {"dictsort", "case_sensitive by reverse", run_dictsort},
        {"first", "", run_first},
        {"float", "default", run_float},
        {"from_json", "", run_from_json},
        {"indent", "width first blank", run_indent},
        {"int", "default base", run_int},
        {"items", "", run_items},
        {"join", "d attribute", run_join},
        {"last", "", run_last},
        {"length", "", run_length},
        {"list", "", run_list},
        {"lower", "", run_lower},
        {"map", "*", run_map},
        {"max", "case_sensitive attribute", run_max},
        {"min", "case_sensitive attribute", run_min},
        {"reject", "*", run_reject},
        {"rejectattr", "*", run_rejectattr},
        {"replace", "old new count", run_replace},
        {"reverse", "", run_reverse},
        {"round", "precision", run_round},
        {"safe", "", run_safe},
        {"select", "*", run_select},
        {"selectattr", "*", run_selectattr},
        {"sort", "reverse case_sensitive attribute", run_sort},
        {"string", "", run_string},
        {"title", "", run_title},
        {"tojson", "indent ensure_ascii separators sort_keys", run_tojson},
        {"trim", "chars", run_trim},
        {"unique", "case_sensitive attribute", run_unique},
        {"upper", "", run_upper},
        {0},
    };
    return hearth_builtin_find(filters, name);
}
