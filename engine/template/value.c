/* Values; see value.h. What recurses enters the workspace, since a template can put lists inside each other, and into themselves.
 */
#include "template/value.h"
#include "common/status.h"
#include <stdlib.h>

/* ---- Making ------------------------------------------------------------------------------------------------------- */

struct hearth_value hearth_value_bool(bool boolean)
{
    return (struct hearth_value){.type = HEARTH_VALUE_BOOL, .boolean = boolean};
}

struct hearth_value hearth_value_int(int64_t integer)
{
    return (struct hearth_value){.type = HEARTH_VALUE_INT, .integer = integer};
}

struct hearth_value hearth_value_float(double real)
{
    return (struct hearth_value){.type = HEARTH_VALUE_FLOAT, .real = real};
}

struct hearth_value hearth_value_str(struct hearth_str s)
{
    return (struct hearth_value){.type = HEARTH_VALUE_STR, .str = s};
}

struct hearth_value hearth_value_new(struct hearth_workspace *w, enum hearth_value_type type)
{
    struct hearth_value out = {.type = type};
    if (hearth_value_is_sequence(out)) {
        out.list = hearth_workspace_take(w, 1, sizeof *out.list);
        if (!out.list)
            return HEARTH_UNDEFINED;
        *out.list = (struct hearth_list){0};
    } else {
        out.map = hearth_workspace_take(w, 1, sizeof *out.map);
        if (!out.map)
            return HEARTH_UNDEFINED;
        *out.map = (struct hearth_map){0};
    }
    return out;
}

/* Room for one more element: twice the room, elsewhere, when it is full. NULL after a failure. */
static void *grown(struct hearth_workspace *w, void *items, size_t n, size_t *capacity, size_t size)
{
    if (n < *capacity)
        return items;
    const size_t wanted = n ? 2 * n : 4; /* the workspace ends long before this overflows */
    void *more = hearth_workspace_charge_bytes(w, n * size) ? hearth_workspace_take(w, wanted, size) : NULL;
    if (!more)
        return NULL;
    if (n)
        memcpy(more, items, n * size);
    *capacity = wanted;
    return more;
}

void hearth_value_append(struct hearth_workspace *w, struct hearth_value to, struct hearth_value item)
{
    if (!hearth_value_is_sequence(to))
        return;
    struct hearth_value *items = grown(w, to.list->items, to.list->n, &to.list->capacity, sizeof *items);
    if (!items)
        return;
    to.list->items = items;
    items[to.list->n++] = item;
}

static bool is_hashable(struct hearth_value v)
{
    return v.type != HEARTH_VALUE_LIST && !hearth_value_is_mapping(v);
}

void hearth_value_set(struct hearth_workspace *w, struct hearth_value to, struct hearth_value key, struct hearth_value value)
{
    if (!hearth_value_is_mapping(to))
        return;
    if (!is_hashable(key)) {
        hearth_workspace_fail(w, HEARTH_E_FORMAT, "E_TEMPLATE", "a %s cannot be a key", hearth_value_type_name(key.type));
        return;
    }
    struct hearth_pair *old = hearth_map_find(w, to.map, key);
    if (old) {
        old->value = value;
        return;
    }
    struct hearth_pair *pairs = grown(w, to.map->pairs, to.map->n, &to.map->capacity, sizeof *pairs);
    if (!pairs)
        return;
    to.map->pairs = pairs;
    pairs[to.map->n++] = (struct hearth_pair){key, value};
}

void hearth_value_set_named(struct hearth_workspace *w, struct hearth_value to, const char *key, struct hearth_value value)
{
    hearth_value_set(w, to, hearth_value_str(hearth_str_of(key)), value);
}

static bool equal_keys(struct hearth_workspace *w, struct hearth_value a, struct hearth_value b)
{
    if (a.type != HEARTH_VALUE_STR || b.type != HEARTH_VALUE_STR)
        return hearth_value_equal(w, a, b);
    return a.str.n == b.str.n && hearth_workspace_charge_bytes(w, a.str.n) && hearth_str_equal(a.str, b.str);
}

struct hearth_pair *hearth_map_find(struct hearth_workspace *w, const struct hearth_map *map, struct hearth_value key)
{
    if (!hearth_workspace_charge(w, map->n / 8)) /* maps are small; a large one is paid for */
        return NULL;
    for (size_t i = 0; i < map->n; i++) {
        struct hearth_pair *pair = &map->pairs[i];
        if (equal_keys(w, key, pair->key))
            return pair;
    }
    return NULL;
}

/* ---- Asking ------------------------------------------------------------------------------------------------------- */

const char *hearth_value_type_name(enum hearth_value_type type)
{
    static const char *const names[] = {"undefined", "none", "boolean",   "integer", "float", "string",  "list",
                                        "tuple",     "map",  "namespace", "loop",    "macro", "function"};
    return names[type];
}

bool hearth_value_is_sequence(struct hearth_value v)
{
    return v.type == HEARTH_VALUE_LIST || v.type == HEARTH_VALUE_TUPLE;
}

bool hearth_value_is_mapping(struct hearth_value v)
{
    return v.type == HEARTH_VALUE_MAP || v.type == HEARTH_VALUE_NAMESPACE;
}

bool hearth_value_is_int(struct hearth_value v, int64_t *out)
{
    if (v.type == HEARTH_VALUE_BOOL)
        *out = v.boolean;
    else if (v.type == HEARTH_VALUE_INT)
        *out = v.integer;
    else
        return false;
    return true;
}

bool hearth_value_is_number(struct hearth_value v)
{
    return v.type == HEARTH_VALUE_BOOL || v.type == HEARTH_VALUE_INT || v.type == HEARTH_VALUE_FLOAT;
}

double hearth_value_real(struct hearth_value v)
{
    int64_t integer;
    return hearth_value_is_int(v, &integer) ? (double)integer : v.real;
}

bool hearth_value_truth(struct hearth_value v)
{
    switch (v.type) {
    case HEARTH_VALUE_UNDEFINED:
    case HEARTH_VALUE_NONE:
        return false;
    case HEARTH_VALUE_BOOL:
        return v.boolean;
    case HEARTH_VALUE_INT:
        return v.integer != 0;
    case HEARTH_VALUE_FLOAT:
        return v.real != 0;
    case HEARTH_VALUE_STR:
        return v.str.n > 0;
    case HEARTH_VALUE_LIST:
    case HEARTH_VALUE_TUPLE:
        return v.list->n > 0;
    case HEARTH_VALUE_MAP:
        return v.map->n > 0;
    default:
        return true;
    }
}

static bool equal_lists(struct hearth_workspace *w, const struct hearth_list *a, const struct hearth_list *b)
{
    bool same = a->n == b->n;
    for (size_t i = 0; same && i < a->n; i++)
        same = hearth_value_equal(w, a->items[i], b->items[i]);
    return same;
}

static bool equal_maps(struct hearth_workspace *w, const struct hearth_map *a, const struct hearth_map *b)
{
    bool same = a->n == b->n;
    for (size_t i = 0; same && i < a->n; i++) {
        const struct hearth_pair *other = hearth_map_find(w, b, a->pairs[i].key);
        same = other && hearth_value_equal(w, a->pairs[i].value, other->value);
    }
    return same;
}

static bool equal_numbers(struct hearth_value a, struct hearth_value b)
{
    int64_t i;
    int64_t j;
    if (hearth_value_is_int(a, &i) && hearth_value_is_int(b, &j))
        return i == j;
    return hearth_value_real(a) == hearth_value_real(b);
}

static bool equal_of_one_type(struct hearth_workspace *w, struct hearth_value a, struct hearth_value b)
{
    switch (a.type) {
    case HEARTH_VALUE_STR:
        return a.str.n == b.str.n && hearth_workspace_charge_bytes(w, a.str.n) && hearth_str_equal(a.str, b.str);
    case HEARTH_VALUE_LIST:
    case HEARTH_VALUE_TUPLE:
        return a.list == b.list || equal_lists(w, a.list, b.list);
    case HEARTH_VALUE_MAP:
        return a.map == b.map || equal_maps(w, a.map, b.map);
    case HEARTH_VALUE_NAMESPACE:
        return a.map == b.map;
    case HEARTH_VALUE_LOOP:
        return a.loop == b.loop;
    case HEARTH_VALUE_MACRO:
        return a.macro == b.macro;
    case HEARTH_VALUE_FUNCTION:
        return a.function == b.function;
    default:
        return true; /* undefined, none */
    }
}

bool hearth_value_equal(struct hearth_workspace *w, struct hearth_value a, struct hearth_value b)
{
    if (hearth_value_is_number(a) && hearth_value_is_number(b))
        return equal_numbers(a, b);
    if (a.type != b.type || !hearth_workspace_enter(w))
        return false;
    const bool same = equal_of_one_type(w, a, b);
    hearth_workspace_leave(w);
    return same;
}

static int compare_numbers(struct hearth_value a, struct hearth_value b)
{
    int64_t i;
    int64_t j;
    if (hearth_value_is_int(a, &i) && hearth_value_is_int(b, &j))
        return (i > j) - (i < j);
    const double x = hearth_value_real(a);
    const double y = hearth_value_real(b);
    return (x > y) - (x < y);
}

static int compare_lists(struct hearth_workspace *w, const struct hearth_list *a, const struct hearth_list *b)
{
    for (size_t i = 0; i < a->n && i < b->n; i++) {
        if (!hearth_value_equal(w, a->items[i], b->items[i]))
            return hearth_value_compare(w, a->items[i], b->items[i]);
    }
    return (a->n > b->n) - (a->n < b->n);
}

int hearth_value_compare(struct hearth_workspace *w, struct hearth_value a, struct hearth_value b)
{
    if (hearth_value_is_number(a) && hearth_value_is_number(b))
        return compare_numbers(a, b);
    if (a.type == HEARTH_VALUE_STR && b.type == HEARTH_VALUE_STR)
        return hearth_workspace_charge_bytes(w, a.str.n) ? hearth_str_compare(a.str, b.str) : 0;
    if (a.type == b.type && hearth_value_is_sequence(a) && hearth_workspace_enter(w)) {
        const int order = compare_lists(w, a.list, b.list);
        hearth_workspace_leave(w);
        return order;
    }
    hearth_workspace_fail(w, HEARTH_E_FORMAT, "E_TEMPLATE", "no order between %s and %s", hearth_value_type_name(a.type),
                          hearth_value_type_name(b.type));
    return 0;
}

static bool str_contains(struct hearth_workspace *w, struct hearth_str in, struct hearth_value item)
{
    if (item.type == HEARTH_VALUE_STR)
        return hearth_workspace_charge_bytes(w, in.n + item.str.n) && hearth_str_find(in, item.str, 0) != SIZE_MAX;
    hearth_workspace_fail(w, HEARTH_E_FORMAT, "E_TEMPLATE", "'in' a string: a %s on its left", hearth_value_type_name(item.type));
    return false;
}

bool hearth_value_contains(struct hearth_workspace *w, struct hearth_value in, struct hearth_value item)
{
    if (in.type == HEARTH_VALUE_STR)
        return str_contains(w, in.str, item);
    if (hearth_value_is_mapping(in))
        return hearth_map_find(w, in.map, item);
    struct hearth_list items;
    if (!hearth_value_items(w, in, &items))
        return false;
    for (size_t i = 0; i < items.n && hearth_workspace_charge(w, 1); i++) {
        if (hearth_value_equal(w, items.items[i], item))
            return true;
    }
    return false;
}

/* ---- Parts -------------------------------------------------------------------------------------------------------- */

static bool characters(struct hearth_workspace *w, struct hearth_str s, struct hearth_list *out)
{
    const size_t n = hearth_workspace_charge(w, s.n) ? hearth_str_length(s) : 0;
    out->items = hearth_workspace_take(w, n, sizeof *out->items);
    if (!out->items)
        return false;
    uint32_t code;
    for (size_t at = 0; at < s.n; out->n++) {
        const size_t size = hearth_str_character(s, at, &code);
        out->items[out->n] = hearth_value_str(hearth_str_part(s, at, at + size));
        at += size;
    }
    return true;
}

static bool keys(struct hearth_workspace *w, const struct hearth_map *map, struct hearth_list *out)
{
    if (!hearth_workspace_charge(w, map->n / 8))
        return false;
    out->items = hearth_workspace_take(w, map->n, sizeof *out->items);
    if (!out->items)
        return false;
    for (; out->n < map->n; out->n++)
        out->items[out->n] = map->pairs[out->n].key;
    return true;
}

bool hearth_value_items(struct hearth_workspace *w, struct hearth_value v, struct hearth_list *out)
{
    *out = (struct hearth_list){0};
    if (hearth_value_is_sequence(v)) {
        *out = *v.list;
        return true;
    }
    if (v.type == HEARTH_VALUE_STR)
        return characters(w, v.str, out);
    if (hearth_value_is_mapping(v))
        return keys(w, v.map, out);
    if (v.type != HEARTH_VALUE_UNDEFINED)
        hearth_workspace_fail(w, HEARTH_E_FORMAT, "E_TEMPLATE", "a %s has no elements", hearth_value_type_name(v.type));
    return v.type == HEARTH_VALUE_UNDEFINED;
}

static struct hearth_value character_at(struct hearth_workspace *w, struct hearth_str s, int64_t index)
{
    if (!hearth_workspace_charge_characters(w, s.n))
        return HEARTH_UNDEFINED;
    if (index < 0)
        index += (int64_t)hearth_str_length(s);
    const size_t at = index < 0 ? s.n : hearth_str_offset(s, (size_t)index);
    if (at >= s.n)
        return HEARTH_UNDEFINED;
    uint32_t code;
    return hearth_value_str(hearth_str_part(s, at, at + hearth_str_character(s, at, &code)));
}

struct hearth_value hearth_value_at(struct hearth_workspace *w, struct hearth_value v, struct hearth_value key)
{
    if (hearth_value_is_mapping(v)) {
        const struct hearth_pair *pair = hearth_map_find(w, v.map, key);
        return pair ? pair->value : HEARTH_UNDEFINED;
    }
    int64_t index;
    if (!hearth_value_is_int(key, &index))
        return HEARTH_UNDEFINED;
    if (v.type == HEARTH_VALUE_STR)
        return character_at(w, v.str, index);
    if (!hearth_value_is_sequence(v))
        return HEARTH_UNDEFINED;
    if (index < 0)
        index += (int64_t)v.list->n;
    return index >= 0 && (uint64_t)index < v.list->n ? v.list->items[index] : HEARTH_UNDEFINED;
}

/* A bound of a slice as an index within [low, high]; negative ones count from the end. */
static int64_t clamp(struct hearth_workspace *w, struct hearth_value bound, int64_t otherwise, int64_t n, int64_t low, int64_t high)
{
    int64_t at;
    if (bound.type == HEARTH_VALUE_UNDEFINED || bound.type == HEARTH_VALUE_NONE)
        return otherwise;
    if (!hearth_value_is_int(bound, &at)) {
        hearth_workspace_fail(w, HEARTH_E_FORMAT, "E_TEMPLATE", "slice: a %s as bound", hearth_value_type_name(bound.type));
        return otherwise;
    }
    if (at < 0)
        at += n;
    return at < low ? low : at > high ? high : at;
}

static struct hearth_value slice_by_step(struct hearth_workspace *w, struct hearth_value v, int64_t begin, int64_t end,
                                         int64_t step)
{
    struct hearth_list items;
    if (!hearth_value_items(w, v, &items))
        return HEARTH_UNDEFINED;
    const struct hearth_value out = hearth_value_new(w, v.type == HEARTH_VALUE_TUPLE ? HEARTH_VALUE_TUPLE : HEARTH_VALUE_LIST);
    struct hearth_builder text = {0};
    for (int64_t i = begin; (step > 0 ? i < end : i > end) && (uint64_t)i < items.n && hearth_workspace_charge(w, 1);) {
        if (v.type == HEARTH_VALUE_STR)
            hearth_builder_add(w, &text, items.items[i].str);
        else
            hearth_value_append(w, out, items.items[i]);
        if (__builtin_add_overflow(i, step, &i))
            break;
    }
    return v.type == HEARTH_VALUE_STR ? hearth_value_str(hearth_builder_finish(w, &text)) : out;
}

struct hearth_value hearth_value_slice(struct hearth_workspace *w, struct hearth_value v, struct hearth_value begin,
                                       struct hearth_value end, struct hearth_value step)
{
    int64_t by = 1;
    const bool is_str = v.type == HEARTH_VALUE_STR;
    if (v.type == HEARTH_VALUE_UNDEFINED)
        return v;
    if (!is_str && !hearth_value_is_sequence(v)) {
        hearth_workspace_fail(w, HEARTH_E_FORMAT, "E_TEMPLATE", "slice of a %s", hearth_value_type_name(v.type));
        return HEARTH_UNDEFINED;
    }
    if (step.type != HEARTH_VALUE_UNDEFINED && step.type != HEARTH_VALUE_NONE && (!hearth_value_is_int(step, &by) || by == 0)) {
        hearth_workspace_fail(w, HEARTH_E_FORMAT, "E_TEMPLATE", "slice: the step is zero or no integer");
        return HEARTH_UNDEFINED;
    }
    if (is_str && !hearth_workspace_charge_characters(w, v.str.n))
        return HEARTH_UNDEFINED;
    const int64_t n = (int64_t)(is_str ? hearth_str_length(v.str) : v.list->n);
    const int64_t low = by < 0 ? -1 : 0;
    const int64_t high = by < 0 ? n - 1 : n;
    const int64_t from = clamp(w, begin, by < 0 ? high : low, n, low, high);
    const int64_t to = clamp(w, end, by < 0 ? low : high, n, low, high);
    if (!is_str || by != 1)
        return slice_by_step(w, v, from, to, by);
    return hearth_value_str(hearth_str_part(v.str, hearth_str_offset(v.str, (size_t)from), hearth_str_offset(v.str, (size_t)to)));
}

/* ---- Numbers and order -------------------------------------------------------------------------------------------- */

/* value * 10^exponent; exact for up to 15 digits and exponents within 22, which is what people write. */
static double scale(double value, int exponent)
{
    for (; exponent > 0 && value - value == 0; exponent--)
        value *= 10;
    while (exponent < 0 && value > 0) {
        double divisor = 1;
        for (; exponent < 0 && divisor < 1e22; exponent++)
            divisor *= 10;
        value /= divisor;
    }
    return value;
}

static bool digit_at(struct hearth_str s, size_t at)
{
    return at < s.n && s.bytes[at] >= '0' && s.bytes[at] <= '9';
}

/* Digits at *at as an integer and a float, which is right to its precision when they are more than fit. */
static size_t take_digits(struct hearth_str s, size_t *at, int64_t *integer, double *real, bool *fits)
{
    const size_t begin = *at;
    for (; digit_at(s, *at); ++*at) {
        const int digit = s.bytes[*at] - '0';
        *fits = *fits && !__builtin_mul_overflow(*integer, 10, integer) && !__builtin_add_overflow(*integer, digit, integer);
        *real = *real * 10 + digit;
    }
    return *at - begin;
}

/* "e" sign digits at *at; 0 when there is none. Beyond 1000 the number is 0 or infinite anyway. */
static int take_exponent(struct hearth_str s, size_t *at)
{
    const bool sign = *at + 1 < s.n && (s.bytes[*at + 1] == '-' || s.bytes[*at + 1] == '+');
    if (*at >= s.n || (s.bytes[*at] != 'e' && s.bytes[*at] != 'E') || !digit_at(s, *at + 1 + sign))
        return 0;
    const bool negative = s.bytes[*at + 1] == '-';
    int exponent = 0;
    for (*at += 1 + (size_t)sign; digit_at(s, *at); ++*at)
        exponent = exponent < 1000 ? exponent * 10 + (s.bytes[*at] - '0') : exponent;
    return negative ? -exponent : exponent;
}

struct hearth_value hearth_value_from_digits(struct hearth_str s)
{
    int64_t integer = 0;
    double real = 0;
    bool fits = true;
    const bool negative = s.n > 0 && s.bytes[0] == '-';
    size_t at = s.n > 0 && (negative || s.bytes[0] == '+');
    const size_t n_whole = take_digits(s, &at, &integer, &real, &fits);
    size_t n_fraction = 0;
    if (n_whole > 0 && at < s.n && s.bytes[at] == '.' && digit_at(s, at + 1)) {
        at++;
        n_fraction = take_digits(s, &at, &integer, &real, &fits);
    }
    const size_t mantissa_end = at;
    int exponent = n_whole > 0 ? take_exponent(s, &at) : 0;
    if (at != s.n || n_whole == 0 || n_fraction > 300)
        return HEARTH_UNDEFINED;
    if (n_fraction == 0 && at == mantissa_end && fits)
        return hearth_value_int(negative ? -integer : integer);
    exponent -= (int)n_fraction;
    real = scale(real, exponent);
    return hearth_value_float(negative ? -real : real);
}

/* Merge the sorted runs [0, middle) and [middle, n). */
static void merge(struct hearth_workspace *w, struct hearth_pair *out, const struct hearth_pair *in, size_t middle, size_t n,
                  bool reverse)
{
    size_t left = 0;
    size_t right = middle;
    for (size_t i = 0; i < n; i++) {
        bool from_right = left == middle;
        if (left < middle && right < n) {
            const int order = hearth_value_compare(w, in[left].key, in[right].key);
            from_right = reverse ? order < 0 : order > 0;
        }
        out[i] = in[from_right ? right++ : left++];
    }
}

void hearth_value_sort(struct hearth_workspace *w, struct hearth_pair *pairs, size_t n, bool reverse)
{
    struct hearth_pair *other = hearth_workspace_take(w, n, sizeof *other);
    for (size_t run = 1; other && run < n && hearth_workspace_charge(w, n); run *= 2) {
        for (size_t at = 0; at < n; at += 2 * run) {
            const size_t size = n - at < 2 * run ? n - at : 2 * run;
            merge(w, other + at, pairs + at, size < run ? size : run, size, reverse);
        }
        memcpy(pairs, other, n * sizeof *pairs);
    }
}

/* ---- Showing ------------------------------------------------------------------------------------------------------ */

/* Digits and a decimal exponent, "%.*e" without its point, which the locale may have changed. Returns how many digits. */
static size_t shortest_digits(char digits[20], int *exponent, double x)
{
    char text[HEARTH_FLOAT_TEXT_MAX];
    for (int precision = 0;; precision++) {
        (void)snprintf(text, sizeof text, "%.*e", precision, x);
        if (precision == 16 || strtod(text, NULL) == x)
            break;
    }
    size_t n = 0;
    const char *at = text;
    for (; *at != 'e'; at++) {
        if (*at >= '0' && *at <= '9' && n < 20)
            digits[n++] = *at;
    }
    *exponent = (int)strtol(at + 1, NULL, 10);
    return n;
}

size_t hearth_value_float_text(char out[HEARTH_FLOAT_TEXT_MAX], double x)
{
    char digits[20] = "0";
    int exponent;
    char *at = out;
    if (x != x)
        return memcpy(out, "nan", 3), 3;
    if (x < 0 || (x == 0 && __builtin_signbit(x)))
        *at++ = '-';
    if (x - x != 0)
        return memcpy(at, "inf", 3), (size_t)(at - out) + 3;
    const size_t n = shortest_digits(digits, &exponent, x < 0 ? -x : x == 0 ? 0 : x);
    if (exponent < -4 || exponent >= 16) {
        *at++ = digits[0];
        if (n > 1)
            *at++ = '.';
        memcpy(at, digits + 1, n - 1);
        at += n - 1;
        return (size_t)(at - out) +
               (size_t)snprintf(at, 8, "e%c%02d", exponent < 0 ? '-' : '+', exponent < 0 ? -exponent : exponent);
    }
    const int last = (int)n - 1 > exponent + 1 ? (int)n - 1 : exponent + 1; /* at least one digit behind the point */
    for (int i = exponent < 0 ? exponent : 0; i <= last; i++) {             /* digit i has the weight 10^(exponent - i) */
        *at++ = i >= 0 && i < (int)n ? digits[i] : '0';
        if (i == exponent)
            *at++ = '.';
    }
    return (size_t)(at - out);
}

static void show(struct hearth_workspace *w, struct hearth_builder *b, struct hearth_value v, bool inside);

static void show_escaped(struct hearth_workspace *w, struct hearth_builder *b, struct hearth_str s, size_t at, char quote)
{
    static const char names[] = "\\\n\r\t";
    static const char *const escapes[] = {"\\\\", "\\n", "\\r", "\\t"};
    const char c = s.bytes[at];
    const char *name = memchr(names, c, sizeof names - 1);
    char hex[8];
    if (name) {
        hearth_builder_add(w, b, hearth_str_of(escapes[name - names]));
    } else if ((uint8_t)c < 0x20 || c == 0x7f) {
        hearth_builder_add_copy(w, b, hex, (size_t)snprintf(hex, sizeof hex, "\\x%02x", (unsigned)(uint8_t)c),
                                hearth_str_is_caller(s, at));
    } else {
        if (c == quote)
            hearth_builder_add(w, b, HEARTH_STR("\\"));
        hearth_builder_add(w, b, hearth_str_part(s, at, at + 1));
    }
}

static void show_quoted(struct hearth_workspace *w, struct hearth_builder *b, struct hearth_str s)
{
    const bool apostrophe = hearth_str_find(s, HEARTH_STR("'"), 0) != SIZE_MAX;
    const bool quotes = hearth_str_find(s, HEARTH_STR("\""), 0) != SIZE_MAX;
    const struct hearth_str quote = apostrophe && !quotes ? HEARTH_STR("\"") : HEARTH_STR("'");
    if (!hearth_workspace_charge_characters(w, s.n))
        return;
    hearth_builder_add(w, b, quote);
    for (size_t at = 0; at < s.n && w->status == HEARTH_OK; at++)
        show_escaped(w, b, s, at, quote.bytes[0]);
    hearth_builder_add(w, b, quote);
}

static void show_list(struct hearth_workspace *w, struct hearth_builder *b, const struct hearth_list *list, bool tuple)
{
    hearth_builder_add(w, b, tuple ? HEARTH_STR("(") : HEARTH_STR("["));
    for (size_t i = 0; i < list->n && hearth_workspace_charge(w, 1); i++) {
        if (i > 0)
            hearth_builder_add(w, b, HEARTH_STR(", "));
        show(w, b, list->items[i], true);
    }
    if (tuple && list->n == 1)
        hearth_builder_add(w, b, HEARTH_STR(","));
    hearth_builder_add(w, b, tuple ? HEARTH_STR(")") : HEARTH_STR("]"));
}

static void show_map(struct hearth_workspace *w, struct hearth_builder *b, const struct hearth_map *map)
{
    hearth_builder_add(w, b, HEARTH_STR("{"));
    for (size_t i = 0; i < map->n && hearth_workspace_charge(w, 1); i++) {
        if (i > 0)
            hearth_builder_add(w, b, HEARTH_STR(", "));
        show(w, b, map->pairs[i].key, true);
        hearth_builder_add(w, b, HEARTH_STR(": "));
        show(w, b, map->pairs[i].value, true);
    }
    hearth_builder_add(w, b, HEARTH_STR("}"));
}

static void show_number(struct hearth_workspace *w, struct hearth_builder *b, struct hearth_value v)
{
    char text[HEARTH_FLOAT_TEXT_MAX];
    if (v.type == HEARTH_VALUE_BOOL)
        hearth_builder_add(w, b, v.boolean ? HEARTH_STR("True") : HEARTH_STR("False"));
    else if (v.type == HEARTH_VALUE_INT)
        hearth_builder_add_copy(w, b, text, (size_t)snprintf(text, sizeof text, "%" PRId64, v.integer), false);
    else
        hearth_builder_add_copy(w, b, text, hearth_value_float_text(text, v.real), false);
}

/* A string inside a list or map stands in quotes. */
static void show(struct hearth_workspace *w, struct hearth_builder *b, struct hearth_value v, bool inside)
{
    if (!hearth_workspace_enter(w))
        return;
    if (v.type == HEARTH_VALUE_NONE)
        hearth_builder_add(w, b, HEARTH_STR("None"));
    else if (hearth_value_is_number(v))
        show_number(w, b, v);
    else if (v.type == HEARTH_VALUE_STR && inside)
        show_quoted(w, b, v.str);
    else if (v.type == HEARTH_VALUE_STR)
        hearth_builder_add(w, b, v.str);
    else if (hearth_value_is_sequence(v))
        show_list(w, b, v.list, v.type == HEARTH_VALUE_TUPLE);
    else if (hearth_value_is_mapping(v))
        show_map(w, b, v.map);
    else if (v.type != HEARTH_VALUE_UNDEFINED)
        hearth_workspace_fail(w, HEARTH_E_FORMAT, "E_TEMPLATE", "a %s is no text", hearth_value_type_name(v.type));
    hearth_workspace_leave(w);
}

struct hearth_str hearth_value_to_str(struct hearth_workspace *w, struct hearth_value v)
{
    if (v.type == HEARTH_VALUE_STR)
        return v.str;
    struct hearth_builder b = {0};
    show(w, &b, v, false);
    return hearth_builder_finish(w, &b);
}
