/* The methods of strings, maps and lists (spec chat.md 4.5), as Python has them. */
#include "template/builtin.h"
#include <string.h>

/* ---- Strings ------------------------------------------------------------------------------------------------------------ */

static struct hearth_value strip(const struct hearth_call *c, bool left, bool right)
{
    const struct hearth_str set = hearth_call_str(c, 0, HEARTH_STR(""));
    const bool given = c->arg[0].type == HEARTH_VALUE_STR;
    return hearth_value_str(hearth_str_strip(c->w, c->self.str, given ? &set : NULL, left, right));
}

static struct hearth_value run_strip(const struct hearth_call *c)
{
    return strip(c, true, true);
}

static struct hearth_value run_lstrip(const struct hearth_call *c)
{
    return strip(c, true, false);
}

static struct hearth_value run_rstrip(const struct hearth_call *c)
{
    return strip(c, false, true);
}

/* Each character mapped; those of one byte that stay so keep their neighbours. `word` says how a letter behind another is mapped.
 */
static struct hearth_value change_case(const struct hearth_call *c, uint32_t (*first)(uint32_t), uint32_t (*later)(uint32_t),
                                       bool words)
{
    const struct hearth_str s = c->self.str;
    struct hearth_builder out = {0};
    bool begins = true;
    uint32_t code;
    if (!hearth_workspace_charge_characters(c->w, s.n))
        return HEARTH_UNDEFINED;
    for (size_t at = 0; at < s.n && c->w->status == HEARTH_OK;) {
        const size_t n = hearth_str_character(s, at, &code);
        const uint32_t mapped = begins ? first(code) : later(code);
        char bytes[4];
        if (mapped == code)
            hearth_builder_add(c->w, &out, hearth_str_part(s, at, at + n));
        else
            hearth_builder_add_copy(c->w, &out, bytes, hearth_str_encode(bytes, mapped), hearth_str_is_caller(s, at));
        begins = words && hearth_str_lower(code) == code && hearth_str_upper(code) == code;
        at += n;
    }
    return hearth_value_str(hearth_builder_finish(c->w, &out));
}

static struct hearth_value run_lower(const struct hearth_call *c)
{
    return change_case(c, hearth_str_lower, hearth_str_lower, false);
}

static struct hearth_value run_upper(const struct hearth_call *c)
{
    return change_case(c, hearth_str_upper, hearth_str_upper, false);
}

static struct hearth_value run_title(const struct hearth_call *c)
{
    return change_case(c, hearth_str_upper, hearth_str_lower, true);
}

static struct hearth_value run_capitalize(const struct hearth_call *c)
{
    return change_case(c, hearth_str_upper, hearth_str_lower, false);
}

/* At runs of white space; a piece more than `most` cuts is the untouched rest. */
static struct hearth_value split_words(const struct hearth_call *c, int64_t most)
{
    struct hearth_str rest = hearth_str_strip(c->w, c->self.str, NULL, true, false);
    const struct hearth_value out = hearth_value_new(c->w, HEARTH_VALUE_LIST);
    uint32_t code;
    if (!hearth_workspace_charge_characters(c->w, rest.n))
        return HEARTH_UNDEFINED;
    for (; rest.n > 0 && most-- != 0 && hearth_workspace_charge(c->w, 1);) {
        size_t end = 0;
        size_t n = 0;
        for (; end < rest.n; end += n) {
            n = hearth_str_character(rest, end, &code);
            if (hearth_str_is_space(code))
                break;
        }
        hearth_value_append(c->w, out, hearth_value_str(hearth_str_part(rest, 0, end)));
        while (end < rest.n) {
            n = hearth_str_character(rest, end, &code);
            if (!hearth_str_is_space(code))
                break;
            end += n;
        }
        rest = hearth_str_part(rest, end, rest.n);
    }
    if (rest.n > 0)
        hearth_value_append(c->w, out, hearth_value_str(rest));
    return out;
}

static struct hearth_value run_split(const struct hearth_call *c)
{
    int64_t most = hearth_call_int(c, 1, -1);
    if (c->arg[0].type == HEARTH_VALUE_UNDEFINED || c->arg[0].type == HEARTH_VALUE_NONE)
        return split_words(c, most);
    const struct hearth_str separator = hearth_call_str(c, 0, HEARTH_STR(""));
    const struct hearth_str s = c->self.str;
    if (separator.n == 0 || !hearth_workspace_charge_bytes(c->w, s.n))
        return hearth_call_fail(c, "split: an empty separator");
    const struct hearth_value out = hearth_value_new(c->w, HEARTH_VALUE_LIST);
    size_t at = 0;
    while (most-- != 0 && hearth_workspace_charge(c->w, 1)) {
        const size_t found = hearth_str_find(s, separator, at);
        if (found == SIZE_MAX)
            break;
        hearth_value_append(c->w, out, hearth_value_str(hearth_str_part(s, at, found)));
        at = found + separator.n;
    }
    hearth_value_append(c->w, out, hearth_value_str(hearth_str_part(s, at, s.n)));
    return out;
}

/* From the right: as split, but where there is a limit, the last cuts are made. */
static struct hearth_value run_rsplit(const struct hearth_call *c)
{
    const int64_t most = hearth_call_int(c, 1, -1);
    const struct hearth_str separator = hearth_call_str(c, 0, HEARTH_STR(""));
    if (most < 0 || separator.n == 0)
        return run_split(c);
    struct hearth_str rest = c->self.str;
    const struct hearth_value pieces = hearth_value_new(c->w, HEARTH_VALUE_LIST);
    for (int64_t i = 0; i < most && hearth_workspace_charge(c->w, 1) && hearth_workspace_charge_bytes(c->w, rest.n); i++) {
        const size_t found = hearth_str_find_last(c->w, rest, separator);
        if (found == SIZE_MAX)
            break;
        hearth_value_append(c->w, pieces, hearth_value_str(hearth_str_part(rest, found + separator.n, rest.n)));
        rest = hearth_str_part(rest, 0, found);
    }
    hearth_value_append(c->w, pieces, hearth_value_str(rest));
    return hearth_value_slice(c->w, pieces, HEARTH_UNDEFINED, HEARTH_UNDEFINED, hearth_value_int(-1));
}

static struct hearth_value run_splitlines(const struct hearth_call *c)
{
    const struct hearth_str s = c->self.str;
    const bool keep_ends = hearth_call_truth(c, 0, false);
    const struct hearth_value out = hearth_value_new(c->w, HEARTH_VALUE_LIST);
    if (!hearth_workspace_charge_characters(c->w, s.n))
        return HEARTH_UNDEFINED;
    for (size_t at = 0; at < s.n && hearth_workspace_charge(c->w, 1);) {
        size_t end = at;
        while (end < s.n && s.bytes[end] != '\n' && s.bytes[end] != '\r')
            end++;
        const size_t n_end = end < s.n ? 1 + (size_t)(s.bytes[end] == '\r' && end + 1 < s.n && s.bytes[end + 1] == '\n') : 0;
        hearth_value_append(c->w, out, hearth_value_str(hearth_str_part(s, at, keep_ends ? end + n_end : end)));
        at = end + n_end;
    }
    return out;
}

/* Whether s begins or ends with a string, or one of a tuple of strings. */
static struct hearth_value affix(const struct hearth_call *c, bool (*has)(struct hearth_str, struct hearth_str))
{
    struct hearth_value one = c->arg[0];
    struct hearth_list items = {&one, 1, 1};
    if (one.type == HEARTH_VALUE_TUPLE)
        items = *one.list;
    for (size_t i = 0; i < items.n && hearth_workspace_charge(c->w, 1); i++) {
        if (items.items[i].type != HEARTH_VALUE_STR)
            return hearth_call_fail(c, "startswith and endswith: need a string or a tuple of strings");
        if (hearth_workspace_charge_bytes(c->w, items.items[i].str.n) && has(c->self.str, items.items[i].str))
            return hearth_value_bool(true);
    }
    return hearth_value_bool(false);
}

static struct hearth_value run_startswith(const struct hearth_call *c)
{
    return affix(c, hearth_str_starts);
}

static struct hearth_value run_endswith(const struct hearth_call *c)
{
    return affix(c, hearth_str_ends);
}

/* An empty old text stands between all characters, and at both ends. */
static size_t next_occurrence(struct hearth_str s, struct hearth_str old, size_t at, bool first)
{
    uint32_t code;
    if (old.n > 0)
        return hearth_str_find(s, old, at);
    if (first)
        return 0;
    return at < s.n ? at + hearth_str_character(s, at, &code) : SIZE_MAX;
}

static struct hearth_value run_replace(const struct hearth_call *c)
{
    const struct hearth_str s = c->self.str;
    const struct hearth_str old = hearth_call_str(c, 0, HEARTH_STR(""));
    const struct hearth_str new = hearth_call_str(c, 1, HEARTH_STR(""));
    int64_t most = hearth_call_int(c, 2, -1);
    struct hearth_builder out = {0};
    size_t at = 0;
    for (bool first = true; most-- != 0 && hearth_workspace_charge(c->w, 1); first = false) {
        const size_t found = next_occurrence(s, old, at, first);
        if (found == SIZE_MAX)
            break;
        hearth_builder_add(c->w, &out, hearth_str_part(s, at, found));
        hearth_builder_add(c->w, &out, new);
        at = found + old.n;
    }
    hearth_builder_add(c->w, &out, hearth_str_part(s, at, s.n));
    return hearth_value_str(hearth_builder_finish(c->w, &out));
}

/* In characters. */
static struct hearth_value run_find(const struct hearth_call *c)
{
    const struct hearth_str s = c->self.str;
    const size_t found =
        hearth_workspace_charge_characters(c->w, s.n) ? hearth_str_find(s, hearth_call_str(c, 0, HEARTH_STR("")), 0) : SIZE_MAX;
    return hearth_value_int(found == SIZE_MAX ? -1 : (int64_t)hearth_str_length(hearth_str_part(s, 0, found)));
}

static struct hearth_value run_count(const struct hearth_call *c)
{
    const struct hearth_str what = hearth_call_str(c, 0, HEARTH_STR(""));
    int64_t n = 0;
    if (what.n == 0 || !hearth_workspace_charge_bytes(c->w, c->self.str.n))
        return hearth_call_fail(c, "count of an empty string");
    for (size_t at = hearth_str_find(c->self.str, what, 0); at != SIZE_MAX && hearth_workspace_charge(c->w, 1);
         at = hearth_str_find(c->self.str, what, at + what.n))
        n++;
    return hearth_value_int(n);
}

static struct hearth_value run_join(const struct hearth_call *c)
{
    struct hearth_list items;
    struct hearth_builder out = {0};
    if (!hearth_value_items(c->w, c->arg[0], &items))
        return HEARTH_UNDEFINED;
    for (size_t i = 0; i < items.n && hearth_workspace_charge(c->w, 1); i++) {
        if (items.items[i].type != HEARTH_VALUE_STR)
            return hearth_call_fail(c, "join of a %s", hearth_value_type_name(items.items[i].type));
        if (i > 0)
            hearth_builder_add(c->w, &out, c->self.str);
        hearth_builder_add(c->w, &out, items.items[i].str);
    }
    return hearth_value_str(hearth_builder_finish(c->w, &out));
}

/* The argument that a field names: by place, by the next place, by name. */
static struct hearth_value field(const struct hearth_call *c, struct hearth_str name, size_t *place)
{
    const struct hearth_value number = hearth_value_from_digits(name);
    for (size_t i = 0; i < c->given->n_named; i++) {
        if (hearth_str_equal(c->given->named[i].name, name))
            return c->given->named[i].value;
    }
    const size_t at = name.n == 0                                              ? (*place)++
                      : number.type == HEARTH_VALUE_INT && number.integer >= 0 ? (size_t)number.integer
                                                                               : SIZE_MAX;
    if (at < c->given->n_positional)
        return c->given->positional[at];
    return hearth_call_fail(c, "format: no argument for a field");
}

static struct hearth_value run_format(const struct hearth_call *c)
{
    const struct hearth_str s = c->self.str;
    struct hearth_builder out = {0};
    size_t place = 0;
    if (!hearth_workspace_charge_characters(c->w, s.n))
        return HEARTH_UNDEFINED;
    for (size_t at = 0; at < s.n && hearth_workspace_charge(c->w, 1);) {
        size_t brace = at;
        while (brace < s.n && s.bytes[brace] != '{' && s.bytes[brace] != '}')
            brace++;
        hearth_builder_add(c->w, &out, hearth_str_part(s, at, brace));
        if (brace == s.n)
            break;
        if (brace + 1 < s.n && s.bytes[brace + 1] == s.bytes[brace]) { /* doubled: itself */
            hearth_builder_add(c->w, &out, hearth_str_part(s, brace, brace + 1));
            at = brace + 2;
            continue;
        }
        const size_t end = hearth_str_find(s, HEARTH_STR("}"), brace);
        if (s.bytes[brace] == '}' || end == SIZE_MAX)
            return hearth_call_fail(c, "format: a single brace");
        const struct hearth_value value = field(c, hearth_str_part(s, brace + 1, end), &place);
        hearth_builder_add(c->w, &out, hearth_value_to_str(c->w, value));
        at = end + 1;
    }
    return hearth_value_str(hearth_builder_finish(c->w, &out));
}

/* ---- Maps --------------------------------------------------------------------------------------------------------------- */

static struct hearth_value run_keys(const struct hearth_call *c)
{
    const struct hearth_value out = hearth_value_new(c->w, HEARTH_VALUE_LIST);
    for (size_t i = 0; i < c->self.map->n && hearth_workspace_charge(c->w, 1); i++)
        hearth_value_append(c->w, out, c->self.map->pairs[i].key);
    return out;
}

static struct hearth_value run_values(const struct hearth_call *c)
{
    const struct hearth_value out = hearth_value_new(c->w, HEARTH_VALUE_LIST);
    for (size_t i = 0; i < c->self.map->n && hearth_workspace_charge(c->w, 1); i++)
        hearth_value_append(c->w, out, c->self.map->pairs[i].value);
    return out;
}

static struct hearth_value run_items(const struct hearth_call *c)
{
    const struct hearth_value out = hearth_value_new(c->w, HEARTH_VALUE_LIST);
    for (size_t i = 0; i < c->self.map->n && hearth_workspace_charge(c->w, 1); i++) {
        const struct hearth_value pair = hearth_value_new(c->w, HEARTH_VALUE_TUPLE);
        hearth_value_append(c->w, pair, c->self.map->pairs[i].key);
        hearth_value_append(c->w, pair, c->self.map->pairs[i].value);
        hearth_value_append(c->w, out, pair);
    }
    return out;
}

static struct hearth_value run_get(const struct hearth_call *c)
{
    const struct hearth_pair *pair = hearth_map_find(c->w, c->self.map, c->arg[0]);
    if (pair)
        return pair->value;
    return c->arg[1].type == HEARTH_VALUE_UNDEFINED ? HEARTH_NONE : c->arg[1];
}

static struct hearth_value run_map_pop(const struct hearth_call *c)
{
    struct hearth_map *map = c->self.map;
    struct hearth_pair *pair = hearth_map_find(c->w, map, c->arg[0]);
    if (!pair)
        return c->given->n_positional > 1 ? c->arg[1] : hearth_call_fail(c, "pop: no such key");
    const struct hearth_value out = pair->value;
    const size_t at = (size_t)(pair - map->pairs);
    if (!hearth_workspace_charge(c->w, map->n / 8))
        return HEARTH_UNDEFINED;
    memmove(pair, pair + 1, (map->n - at - 1) * sizeof *pair);
    map->n--;
    return out;
}

static struct hearth_value run_update(const struct hearth_call *c)
{
    for (size_t i = 0; i < c->given->n_positional; i++) {
        const struct hearth_value from = c->given->positional[i];
        if (!hearth_value_is_mapping(from))
            return hearth_call_fail(c, "update with a %s", hearth_value_type_name(from.type));
        for (size_t k = 0; k < from.map->n && hearth_workspace_charge(c->w, 1); k++)
            hearth_value_set(c->w, c->self, from.map->pairs[k].key, from.map->pairs[k].value);
    }
    for (size_t i = 0; i < c->given->n_named; i++)
        hearth_value_set(c->w, c->self, hearth_value_str(c->given->named[i].name), c->given->named[i].value);
    return HEARTH_NONE;
}

/* ---- Lists -------------------------------------------------------------------------------------------------------------- */

static struct hearth_value run_append(const struct hearth_call *c)
{
    hearth_value_append(c->w, c->self, c->arg[0]);
    return HEARTH_NONE;
}

static struct hearth_value run_extend(const struct hearth_call *c)
{
    struct hearth_list items;
    if (!hearth_value_items(c->w, c->arg[0], &items))
        return HEARTH_UNDEFINED;
    for (size_t i = 0; i < items.n && hearth_workspace_charge(c->w, 1); i++)
        hearth_value_append(c->w, c->self, items.items[i]);
    return HEARTH_NONE;
}

static struct hearth_value run_insert(const struct hearth_call *c)
{
    struct hearth_list *list = c->self.list;
    const int64_t n = (int64_t)list->n;
    int64_t at = hearth_call_int(c, 0, 0);
    at = at < -n ? 0 : at < 0 ? at + n : at > n ? n : at;
    hearth_value_append(c->w, c->self, c->arg[1]);
    if (!hearth_workspace_charge(c->w, list->n / 8))
        return HEARTH_UNDEFINED;
    memmove(list->items + at + 1, list->items + at, (size_t)(n - at) * sizeof *list->items);
    list->items[at] = c->arg[1];
    return HEARTH_NONE;
}

static struct hearth_value run_pop(const struct hearth_call *c)
{
    struct hearth_list *list = c->self.list;
    int64_t at = hearth_call_int(c, 0, -1);
    at += at < 0 ? (int64_t)list->n : 0;
    if (at < 0 || at >= (int64_t)list->n)
        return hearth_call_fail(c, "pop: no such element");
    const struct hearth_value out = list->items[at];
    if (!hearth_workspace_charge(c->w, list->n / 8))
        return HEARTH_UNDEFINED;
    memmove(list->items + at, list->items + at + 1, (list->n - (size_t)at - 1) * sizeof *list->items);
    list->n--;
    return out;
}

static struct hearth_value run_index(const struct hearth_call *c)
{
    for (size_t i = 0; i < c->self.list->n && hearth_workspace_charge(c->w, 1); i++) {
        if (hearth_value_equal(c->w, c->self.list->items[i], c->arg[0]))
            return hearth_value_int((int64_t)i);
    }
    return hearth_call_fail(c, "index: no such element");
}

static struct hearth_value run_list_count(const struct hearth_call *c)
{
    int64_t n = 0;
    for (size_t i = 0; i < c->self.list->n && hearth_workspace_charge(c->w, 1); i++)
        n += hearth_value_equal(c->w, c->self.list->items[i], c->arg[0]);
    return hearth_value_int(n);
}

const struct hearth_builtin *hearth_method_find(enum hearth_value_type type, struct hearth_str name)
{
    static const struct hearth_builtin of_strings[] = {
        {"capitalize", "", run_capitalize},
        {"count", "sub", run_count},
        {"endswith", "suffix", run_endswith},
        {"find", "sub", run_find},
        {"format", "*", run_format},
        {"join", "iterable", run_join},
        {"lower", "", run_lower},
        {"lstrip", "chars", run_lstrip},
        {"replace", "old new count", run_replace},
        {"rsplit", "sep maxsplit", run_rsplit},
        {"rstrip", "chars", run_rstrip},
        {"split", "sep maxsplit", run_split},
        {"splitlines", "keepends", run_splitlines},
        {"startswith", "prefix", run_startswith},
        {"strip", "chars", run_strip},
        {"title", "", run_title},
        {"upper", "", run_upper},
        {0},
    };
    static const struct hearth_builtin of_maps[] = {
        {"get", "key default", run_get},
        {"items", "", run_items},
        {"keys", "", run_keys},
        {"pop", "key default", run_map_pop},
        {"update", "*", run_update},
        {"values", "", run_values},
        {0},
    };
    static const struct hearth_builtin of_lists[] = {
        {"append", "object", run_append},
        {"count", "value", run_list_count},
        {"extend", "iterable", run_extend},
        {"index", "value", run_index},
        {"insert", "index object", run_insert},
        {"pop", "index", run_pop},
        {0},
    };
    static const struct hearth_builtin of_tuples[] = {{"count", "value", run_list_count}, {"index", "value", run_index}, {0}};
    switch (type) {
    case HEARTH_VALUE_STR:
        return hearth_builtin_find(of_strings, name);
    case HEARTH_VALUE_MAP:
    case HEARTH_VALUE_NAMESPACE:
        return hearth_builtin_find(of_maps, name);
    case HEARTH_VALUE_LIST:
        return hearth_builtin_find(of_lists, name);
    case HEARTH_VALUE_TUPLE:
        return hearth_builtin_find(of_tuples, name);
    default:
        return NULL;
    }
}
