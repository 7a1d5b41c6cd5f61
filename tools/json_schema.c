/* From a JSON schema to a grammar (spec sampling.md section 9).
 *
 * The grammar is a subset of what the schema accepts: properties come in the order of the schema, names that it does not declare
 * only where it says so, escapes only where a character needs one, white space is bounded. Never is it more: a keyword that
 * constrains is obeyed or refused. Every schema that is no plain type becomes a rule; what $ref names becomes one once, so
 * recursion works by itself. White space stands after "{", "[", "," and ":" and before "}" and "]", never at the end: a text is
 * complete with its last character. */
#include "json_schema.h"
#include "bytes.h"
#include "common/limits.h"
#include "common/status.h"
#include <jansson.h>
#include <stdlib.h>

#define USUAL_MAX 9999999999999999 /* where the schema says nothing: 16 digits */
#define DISTINCT_MAX 16            /* alternatives of oneOf, required names and listed values that are compared each with each */

/* Where in the schema we are, for messages and the names of rules. */
struct site {
    const struct site *above; /* NULL: the whole schema */
    const char *key;
    size_t index; /* when key is NULL */
};

struct build {
    const char *file;
    json_t *root;
    json_t *refs;                    /* pointer -> [name of its rule, number of its rule]; "#" has number 0 */
    struct bytes rules, edges;       /* the grammar's text; struct edge */
    unsigned n_rules, depth, values; /* depth: schemas inside each other; values: arrays and objects inside each other */
    unsigned within, within_values;  /* number of the reference whose schema is taken, and `values` when it was begun */
    hearth_error *error;
};

/* The rule `from` may begin and end with the rule `to`: no value is in between. */
struct edge {
    unsigned from, to;
};

/* ---- Text ------------------------------------------------------------------------------------------------------------- */

HEARTH_PRINTF(2, 3)
static void put(struct bytes *out, const char *format, ...)
{
    char line[160];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args); /* rule names and numbers: short */
    va_end(args);
    bytes_append(out, line, strlen(line));
}

static void put_literal_bytes(struct bytes *out, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] == '"' || bytes[i] == '\\')
            bytes_append(out, "\\", 1);
        bytes_append(out, bytes + i, 1);
    }
}

static hearth_status fail(const struct build *b, const struct site *site, const char *what, const char *word)
{
    char path[160] = "", quoted[HEARTH_QUOTE_MAX], word_quoted[HEARTH_QUOTE_MAX];
    for (; site->above; site = site->above) {
        char step[HEARTH_QUOTE_MAX + 1], rest[sizeof path];
        (void)snprintf(rest, sizeof rest, "%s", path);
        if (site->key)
            (void)snprintf(step, sizeof step, "/%s", hearth_quote(quoted, site->key, strlen(site->key)));
        else
            (void)snprintf(step, sizeof step, "/%zu", site->index);
        (void)snprintf(path, sizeof path, "%s%s", step, rest);
    }
    return hearth_fail(b->error, HEARTH_E_CONFIG, "E_SCHEMA", "%s: schema #%s: %s%s%s%s", b->file, path, what, word ? " '" : "",
                       word ? hearth_quote(word_quoted, word, strlen(word)) : "", word ? "'" : "");
}

static hearth_status no_memory(const struct build *b)
{
    return hearth_fail(b->error, HEARTH_E_MEMORY, NULL, "%s: schema: no memory for its grammar", b->file);
}

/* A literal of the compact JSON of a value, and `after`. */
static hearth_status put_json(const struct build *b, struct bytes *out, const json_t *value, const char *after)
{
    char *text = NULL;
    for (size_t digits = 15; digits <= 17; digits++) { /* the shortest that is the same number; other values need one round */
        free(text);
        text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(digits));
        json_t *again = text ? json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : NULL;
        const bool same = again && json_equal(again, (json_t *)(uintptr_t)value);
        json_decref(again);
        if (same)
            break;
    }
    if (!text)
        return no_memory(b);
    put(out, "\"");
    put_literal_bytes(out, text, strlen(text));
    put(out, "%s\"", after);
    free(text);
    return HEARTH_OK;
}

/* ---- Rules ------------------------------------------------------------------------------------------------------------ */

#define NAME_MAX_BYTES 40

/* A new name: the last key of the site as far as names of rules allow, and a number. */
static void name_rule(struct build *b, const struct site *site, char out[NAME_MAX_BYTES])
{
    size_t n = 0;
    for (const char *c = site->key ? site->key : "item"; *c && n < 24; c++)
        if ((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || *c == '-' || *c == '_')
            out[n++] = *c == '_' ? '-' : *c;
    (void)snprintf(out + n, NAME_MAX_BYTES - n, "-%u", ++b->n_rules);
}

/* Append "NAME ::= BODY"; the body is spent. */
static hearth_status end_rule(struct build *b, const char *name, struct bytes *body)
{
    put(&b->rules, "%s ::= ", name);
    if (body->n > 0)
        bytes_append(&b->rules, body->bytes, body->n);
    put(&b->rules, body->n > 0 ? "\n" : "\"\"\n"); /* a line that ends behind ::= would go on */
    b->rules.out_of_memory |= body->out_of_memory;
    free(body->bytes);
    *body = (struct bytes){0};
    if (b->rules.n > HEARTH_GRAMMAR_TEXT_MAX)
        return hearth_fail(b->error, HEARTH_E_CONFIG, "E_SCHEMA", "%s: schema: its grammar is too long (need at most %u bytes)",
                           b->file, HEARTH_GRAMMAR_TEXT_MAX);
    return b->rules.out_of_memory ? no_memory(b) : HEARTH_OK;
}

static hearth_status take_schema(struct build *b, const json_t *schema, const struct site *site, struct bytes *out);

/* The schema of something inside an array or an object. */
static hearth_status take_inner(struct build *b, const json_t *schema, const struct site *site, struct bytes *out)
{
    b->values++;
    const hearth_status status = take_schema(b, schema, site, out);
    b->values--;
    return status;
}

/* ---- Keywords ---------------------------------------------------------------------------------------------------------- */

enum type { OBJECT = 1, ARRAY = 2, STRING = 4, INTEGER = 8, NUMBER = 16, BOOLEAN = 32, NOTHING = 64 };
#define ANYTHING 127u

static const struct {
    const char *name;
    enum type type;
} types[] = {{"object", OBJECT}, {"array", ARRAY},     {"string", STRING}, {"integer", INTEGER},
             {"number", NUMBER}, {"boolean", BOOLEAN}, {"null", NOTHING}};
#define N_TYPES (sizeof types / sizeof types[0])

static const struct keyword {
    const char *name;
    unsigned type; /* it speaks about; 0: about any, or nothing at all */
    bool constrains;
} keywords[] = {
    {"$anchor", 0, false},
    {"$comment", 0, false},
    {"$defs", 0, false},
    {"$id", 0, false},
    {"$schema", 0, false},
    {"default", 0, false},
    {"definitions", 0, false},
    {"deprecated", 0, false},
    {"description", 0, false},
    {"examples", 0, false},
    {"readOnly", 0, false},
    {"title", 0, false},
    {"writeOnly", 0, false},
    {"$ref", 0, true},
    {"anyOf", 0, true},
    {"const", 0, true},
    {"enum", 0, true},
    {"oneOf", 0, true},
    {"type", 0, true},
    {"additionalProperties", OBJECT, true},
    {"properties", OBJECT, true},
    {"required", OBJECT, true},
    {"items", ARRAY, true},
    {"maxItems", ARRAY, true},
    {"minItems", ARRAY, true},
    {"prefixItems", ARRAY, true},
    {"maxLength", STRING, true},
    {"minLength", STRING, true},
    {"exclusiveMaximum", INTEGER, true},
    {"exclusiveMinimum", INTEGER, true},
    {"maximum", INTEGER, true},
    {"minimum", INTEGER, true},
};
#define N_KEYWORDS (sizeof keywords / sizeof keywords[0])

static const struct keyword *find_keyword(const char *name)
{
    for (size_t i = 0; i < N_KEYWORDS; i++)
        if (strcmp(name, keywords[i].name) == 0)
            return &keywords[i];
    return NULL;
}

/* Every keyword is known; and where one decides alone, no other one constrains, but those in `beside`. */
static hearth_status check_keywords(const struct build *b, const json_t *schema, const struct site *site, const char *alone,
                                    const char *beside)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)schema, name, value)
    {
        const struct keyword *keyword = find_keyword(name);
        if (!keyword)
            return fail(b, site, "keyword is not supported:", name);
        if (alone && keyword->constrains && strcmp(name, alone) != 0 && strcmp(name, beside) != 0)
            return fail(b, site, "keyword is not supported beside $ref, anyOf, oneOf, enum or const:", name);
    }
    return HEARTH_OK;
}

static hearth_status add_type(const struct build *b, const struct site *site, const json_t *name, unsigned *mask)
{
    for (size_t i = 0; i < N_TYPES && json_is_string(name); i++)
        if (strcmp(json_string_value(name), types[i].name) == 0) {
            *mask |= types[i].type;
            return HEARTH_OK;
        }
    return fail(b, site, "no such type:", json_is_string(name) ? json_string_value(name) : "not a string");
}

/* Types that the schema names; where it names none, those its keywords speak about; else all. */
static hearth_status types_of(const struct build *b, const json_t *schema, const struct site *site, unsigned *mask)
{
    const json_t *type = json_object_get(schema, "type");
    *mask = 0;
    if (json_is_array(type)) {
        for (size_t i = 0; i < json_array_size(type); i++)
            HEARTH_TRY(add_type(b, site, json_array_get(type, i), mask));
        if (*mask == 0)
            return fail(b, site, "type: the list is empty", NULL);
    } else if (type) {
        HEARTH_TRY(add_type(b, site, type, mask));
    }
    for (size_t i = 0; i < N_KEYWORDS && !type; i++)
        *mask |= json_object_get(schema, keywords[i].name) ? keywords[i].type : 0;
    *mask = *mask ? *mask : ANYTHING;
    return HEARTH_OK;
}

static hearth_status take_count(const struct build *b, const json_t *schema, const struct site *site, const char *name,
                                int64_t *out)
{
    const json_t *value = json_object_get(schema, name);
    if (!value)
        return HEARTH_OK;
    const double number = json_number_value(value);
    if (!json_is_number(value) || !(number >= 0 && number <= HEARTH_GRAMMAR_REPEAT_MAX) || (double)(int64_t)number != number)
        return fail(b, site, "need a whole number from 0 to 2000:", name);
    *out = (int64_t)number;
    return HEARTH_OK;
}

/* ---- Values ------------------------------------------------------------------------------------------------------------ */

static unsigned type_of(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return OBJECT;
    case JSON_ARRAY:
        return ARRAY;
    case JSON_STRING:
        return STRING;
    case JSON_INTEGER:
        return INTEGER | NUMBER;
    case JSON_REAL:
        return NUMBER;
    case JSON_NULL:
        return NOTHING;
    default:
        return BOOLEAN;
    }
}

static hearth_status take_values(struct build *b, const json_t *schema, const struct site *site, struct bytes *out)
{
    const json_t *one = json_object_get(schema, "const"), *list = json_object_get(schema, "enum");
    unsigned mask;
    HEARTH_TRY(check_keywords(b, schema, site, one ? "const" : "enum", "type"));
    HEARTH_TRY(types_of(b, schema, site, &mask));
    if (!one && (!json_is_array(list) || json_array_size(list) == 0))
        return fail(b, site, "enum: need a list of values", NULL);
    size_t n = 0;
    for (size_t i = 0; i < (one ? 1 : json_array_size(list)); i++) {
        const json_t *value = one ? one : json_array_get(list, i);
        if (!(type_of(value) & mask))
            continue;
        put(out, "%s", n++ ? " | " : "");
        HEARTH_TRY(put_json(b, out, value, ""));
    }
    return n ? HEARTH_OK : fail(b, site, "no value is of the type", NULL);
}

/* ---- References and alternatives ------------------------------------------------------------------------------------------ */

/* What a local reference points to; NULL where nothing is. Steps are separated by '/'; ~1 and ~0 stand for / and ~. */
static json_t *resolve(const struct build *b, const char *pointer)
{
    json_t *at = b->root;
    if (*pointer++ != '#')
        return NULL;
    while (*pointer == '/' && at) {
        char key[256];
        size_t n = 0;
        for (pointer++; *pointer && *pointer != '/' && n + 1 < sizeof key; pointer++) {
            const bool escaped = pointer[0] == '~' && (pointer[1] == '0' || pointer[1] == '1');
            key[n++] = escaped ? (pointer[1] == '0' ? '~' : '/') : *pointer;
            pointer += escaped;
        }
        key[n] = '\0';
        char *end;
        const unsigned long index = strtoul(key, &end, 10);
        at = json_is_array(at) && n > 0 && !*end ? json_array_get(at, index) : json_object_get(at, key);
    }
    return *pointer ? NULL : at;
}

static hearth_status take_ref(struct build *b, const json_t *schema, const struct site *site, struct bytes *out)
{
    const json_t *ref = json_object_get(schema, "$ref");
    HEARTH_TRY(check_keywords(b, schema, site, "$ref", ""));
    const char *pointer = json_is_string(ref) ? json_string_value(ref) : "";
    const json_t *target = resolve(b, pointer);
    if (!target)
        return fail(b, site, "$ref: need a place in this file, such as #/$defs/name, not", pointer);
    const json_t *known = json_object_get(b->refs, pointer);
    char name[NAME_MAX_BYTES];
    const char *slash = strrchr(pointer, '/');
    const struct site there = {site, slash ? slash + 1 : "root", 0};
    if (known)
        (void)snprintf(name, sizeof name, "%s", json_string_value(json_array_get(known, 0)));
    else
        name_rule(b, &there, name);
    const unsigned number = known ? (unsigned)json_integer_value(json_array_get(known, 1)) : b->n_rules;
    if (b->values == b->within_values)
        bytes_append(&b->edges, &(struct edge){b->within, number}, sizeof(struct edge));
    put(out, "%s", name);
    if (known)
        return HEARTH_OK;
    if (json_object_set_new(b->refs, pointer, json_pack("[si]", name, (int)number)) != 0)
        return no_memory(b);
    struct bytes body = {0};
    const unsigned within = b->within, within_values = b->within_values;
    b->within = number;
    b->within_values = b->values;
    const hearth_status status = take_schema(b, target, &there, &body);
    b->within = within;
    b->within_values = within_values;
    const hearth_status ended = end_rule(b, name, &body);
    return status != HEARTH_OK ? status : ended;
}

/* The numbers from which one never comes back to where one was: `left` becomes zero there. Edges are taken away from those that
 * lead nowhere on. Returns how many; `first`, `next` and `order` are room for that. */
static size_t take_ends(const struct edge *edges, size_t n_edges, size_t n, unsigned *left, size_t *first, size_t *next,
                        size_t *order)
{
    size_t n_ends = 0;
    for (size_t i = 0; i < n_edges; i++) {
        next[i] = first[edges[i].to]; /* lists of the edges to each, by index + 1 */
        first[edges[i].to] = i + 1;
        left[edges[i].from]++;
    }
    for (size_t i = 0; i < n; i++)
        if (left[i] == 0)
            order[n_ends++] = i;
    for (size_t done = 0; done < n_ends; done++)
        for (size_t i = first[order[done]]; i > 0; i = next[i - 1])
            if (--left[edges[i - 1].from] == 0)
                order[n_ends++] = edges[i - 1].from;
    return n_ends;
}

/* No reference may stand for itself with no value in between: its rule would have no end. */
static hearth_status check_refs(const struct build *b)
{
    const size_t n = (size_t)b->n_rules + 1, n_edges = b->edges.n / sizeof(struct edge);
    unsigned *left = calloc(n, sizeof *left);
    size_t *room = calloc(2 * n + n_edges, sizeof *room);
    hearth_status status = left && room && !b->edges.out_of_memory ? HEARTH_OK : no_memory(b);
    if (status == HEARTH_OK && take_ends((const void *)b->edges.bytes, n_edges, n, left, room, room + n, room + n + n_edges) < n) {
        const char *pointer, *culprit = NULL;
        json_t *ref;
        json_object_foreach(b->refs, pointer, ref) if (left[json_integer_value(json_array_get(ref, 1))] > 0) culprit = pointer;
        const struct site site = {NULL, NULL, 0};
        status = fail(b, &site, "$ref: stands for itself with no value in between, or leads to one that does:", culprit);
    }
    free(left);
    free(room);
    return status;
}

/* The values that a schema names one by one; NULL where it does not. A new reference. */
static json_t *values_of(const json_t *schema)
{
    json_t *one = json_object_get(schema, "const");
    return one ? json_pack("[O]", one) : json_incref(json_object_get(schema, "enum"));
}

static bool lists_are_distinct(const json_t *a, const json_t *b)
{
    if (!json_is_array(a) || !json_is_array(b) || json_array_size(a) > DISTINCT_MAX || json_array_size(b) > DISTINCT_MAX)
        return false;
    for (size_t i = 0; i < json_array_size(a); i++)
        for (size_t j = 0; j < json_array_size(b); j++) {
            const json_t *x = json_array_get(a, i), *y = json_array_get(b, j);
            if (json_equal(x, y) || (json_is_number(x) && json_is_number(y) && !(json_number_value(x) != json_number_value(y))))
                return false;
        }
    return true;
}

static bool values_are_distinct(const json_t *a, const json_t *b)
{
    json_t *x = values_of(a), *y = values_of(b);
    const bool distinct = lists_are_distinct(x, y);
    json_decref(x);
    json_decref(y);
    return distinct;
}

static bool requires(const json_t *schema, const char *name)
{
    const json_t *required = json_object_get(schema, "required");
    for (size_t i = 0; i < json_array_size(required) && i < DISTINCT_MAX; i++) {
        const char *one = json_string_value(json_array_get(required, i));
        if (one && strcmp(one, name) == 0)
            return true;
    }
    return false;
}

static json_t *follow_refs(const struct build *b, json_t *schema)
{
    for (int i = 0; i < 8 && json_object_get(schema, "$ref"); i++) {
        const char *pointer = json_string_value(json_object_get(schema, "$ref"));
        schema = pointer ? resolve(b, pointer) : NULL;
    }
    return schema;
}

/* Whether no value can be of both: by type, by listed values, or by a required property of distinct values. */
static hearth_status are_exclusive(const struct build *b, const struct site *site, json_t *x, json_t *y, bool *exclusive)
{
    unsigned mask_x, mask_y;
    *exclusive = false;
    x = follow_refs(b, x);
    y = follow_refs(b, y);
    if (!json_is_object(x) || !json_is_object(y))
        return HEARTH_OK;
    HEARTH_TRY(types_of(b, x, site, &mask_x));
    HEARTH_TRY(types_of(b, y, site, &mask_y));
    mask_x |= mask_x & INTEGER ? NUMBER : 0; /* whole numbers are numbers */
    mask_y |= mask_y & INTEGER ? NUMBER : 0;
    const bool by_type = json_object_get(x, "type") && json_object_get(y, "type") && !(mask_x & mask_y);
    *exclusive = by_type || values_are_distinct(x, y);
    if (mask_x != OBJECT || mask_y != OBJECT)
        return HEARTH_OK;
    const json_t *required = json_object_get(x, "required");
    for (size_t i = 0; i < json_array_size(required) && i < DISTINCT_MAX; i++) {
        const char *name = json_string_value(json_array_get(required, i));
        const json_t *of_x = name ? json_object_get(json_object_get(x, "properties"), name) : NULL;
        const json_t *of_y = name ? json_object_get(json_object_get(y, "properties"), name) : NULL;
        *exclusive |= of_x && of_y && requires(y, name) && values_are_distinct(of_x, of_y);
    }
    return HEARTH_OK;
}

static hearth_status check_exclusive(const struct build *b, const json_t *list, const struct site *site)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        for (size_t j = 0; j < i; j++) {
            bool exclusive = false;
            if (json_array_size(list) <= DISTINCT_MAX)
                HEARTH_TRY(are_exclusive(b, site, json_array_get(list, i), json_array_get(list, j), &exclusive));
            if (!exclusive)
                return fail(b, site, "oneOf: a value may be of two of the alternatives; anyOf allows that", NULL);
        }
    return HEARTH_OK;
}

static hearth_status take_alternatives(struct build *b, const json_t *schema, const struct site *site, const char *keyword,
                                       struct bytes *out)
{
    const json_t *list = json_object_get(schema, keyword);
    const struct site here = {site, keyword, 0};
    HEARTH_TRY(check_keywords(b, schema, site, keyword, ""));
    if (!json_is_array(list) || json_array_size(list) == 0)
        return fail(b, &here, "need a list of schemas", NULL);
    if (strcmp(keyword, "oneOf") == 0)
        HEARTH_TRY(check_exclusive(b, list, site));
    for (size_t i = 0; i < json_array_size(list); i++) {
        const struct site there = {&here, NULL, i};
        put(out, "%s", i ? " | " : "");
        HEARTH_TRY(take_schema(b, json_array_get(list, i), &there, out));
    }
    return HEARTH_OK;
}

/* ---- Integers ----------------------------------------------------------------------------------------------------------- */

static void put_digits(struct bytes *out, int n)
{
    if (n > 0)
        put(out, " [0-9]{%d}", n);
}

/* The numbers of n digits from a to b. */
static void put_same_length(struct bytes *out, const char *a, const char *b, int n)
{
    static const char zeros[] = "000000000000000000", nines[] = "999999999999999999";
    for (; n > 0 && *a == *b; a++, b++, n--)
        put(out, " \"%c\"", *a);
    if (n == 0)
        return;
    const bool from_zeros = memcmp(a + 1, zeros, (size_t)n - 1) == 0, to_nines = memcmp(b + 1, nines, (size_t)n - 1) == 0;
    if (from_zeros && to_nines) {
        put(out, " [%c-%c]", *a, *b);
        put_digits(out, n - 1);
        return;
    }
    put(out, " (\"%c\"", *a);
    put_same_length(out, a + 1, nines, n - 1);
    if (*a + 1 < *b) {
        put(out, " | [%c-%c]", *a + 1, *b - 1);
        put_digits(out, n - 1);
    }
    put(out, " | \"%c\"", *b);
    put_same_length(out, zeros, b + 1, n - 1);
    put(out, ")");
}

/* low … high, neither negative; as alternatives by length. */
static void put_range(struct bytes *out, int64_t low, int64_t high)
{
    int64_t least = 0, limit = 10; /* of n digits: [least, limit) */
    const char *separator = "";
    for (int n = 1; n <= 17; n++) {
        const int64_t from = low > least ? low : least, to = high < limit - 1 ? high : limit - 1;
        if (from <= to) {
            char a[32], b[32];
            (void)snprintf(a, sizeof a, "%" PRId64, from);
            (void)snprintf(b, sizeof b, "%" PRId64, to);
            put(out, "%s", separator);
            put_same_length(out, a, b, n);
            separator = " |";
        }
        least = limit;
        limit *= 10; /* at most 10^18 */
    }
}

/* Move a bound inwards to the one that the keyword gives. */
static hearth_status take_bound(const struct build *b, const json_t *schema, const struct site *site, const char *name,
                                int64_t step, bool *given, int64_t *bound)
{
    const json_t *value = json_object_get(schema, name);
    if (!value)
        return HEARTH_OK;
    const double number = json_number_value(value);
    if (!json_is_number(value) || !(number >= -(double)USUAL_MAX && number <= (double)USUAL_MAX))
        return fail(b, site, "need a number of at most 16 digits:", name);
    int64_t whole = json_is_integer(value) ? json_integer_value(value) : (int64_t)number;
    if ((double)whole != number)
        return fail(b, site, "need a whole number:", name);
    whole += step;
    const bool upper = strstr(name, "ax") != NULL;
    if (!*given || (upper ? whole < *bound : whole > *bound))
        *bound = whole;
    *given = true;
    return HEARTH_OK;
}

static hearth_status take_integer(const struct build *b, const json_t *schema, const struct site *site, struct bytes *out)
{
    int64_t low = -USUAL_MAX, high = USUAL_MAX;
    bool low_given = false, high_given = false;
    HEARTH_TRY(take_bound(b, schema, site, "minimum", 0, &low_given, &low));
    HEARTH_TRY(take_bound(b, schema, site, "exclusiveMinimum", 1, &low_given, &low));
    HEARTH_TRY(take_bound(b, schema, site, "maximum", 0, &high_given, &high));
    HEARTH_TRY(take_bound(b, schema, site, "exclusiveMaximum", -1, &high_given, &high));
    if (low > high)
        return fail(b, site, "no integer is within the bounds", NULL);
    if (!low_given && !high_given) {
        put(out, "integer");
        return HEARTH_OK;
    }
    if (low < 0) {
        put(out, "\"-\" (");
        put_range(out, high < 0 ? -high : 1, -low);
        put(out, high < 0 ? ")" : ") | ");
    }
    if (high >= 0)
        put_range(out, low > 0 ? low : 0, high);
    return HEARTH_OK;
}

static hearth_status take_number(const struct build *b, const json_t *schema, const struct site *site, struct bytes *out)
{
    for (size_t i = 0; i < N_KEYWORDS; i++)
        if (keywords[i].type == INTEGER && json_object_get(schema, keywords[i].name))
            return fail(b, site, "bounds of numbers that need not be whole are not supported:", keywords[i].name);
    put(out, "number");
    return HEARTH_OK;
}

/* ---- Strings and arrays --------------------------------------------------------------------------------------------------- */

/* "{least,most}"; most < 0: without end. */
static void put_times(struct bytes *out, int64_t least, int64_t most)
{
    put(out, "{%" PRId64 ",", least);
    if (most >= 0)
        put(out, "%" PRId64, most);
    put(out, "}");
}

static hearth_status take_string(const struct build *b, const json_t *schema, const struct site *site, struct bytes *out)
{
    int64_t least = 0, most = -1;
    HEARTH_TRY(take_count(b, schema, site, "minLength", &least));
    HEARTH_TRY(take_count(b, schema, site, "maxLength", &most));
    if (most >= 0 && most < least)
        return fail(b, site, "maxLength is less than minLength", NULL);
    if (least == 0 && most < 0) {
        put(out, "string");
        return HEARTH_OK;
    }
    put(out, "\"\\\"\" char");
    put_times(out, least, most);
    put(out, " \"\\\"\"");
    return HEARTH_OK;
}

/* least … most more items, after `before` others. */
static hearth_status take_items(struct build *b, const json_t *items, const struct site *site, int64_t before, int64_t least,
                                int64_t most, struct bytes *out)
{
    struct bytes item = {0};
    const struct site there = {site, "items", 0};
    const hearth_status status = items ? take_inner(b, items, &there, &item) : HEARTH_OK;
    if (!items)
        put(&item, "value");
    if (before == 0 && most != 0 && least == 0)
        put(out, "(");
    if (before == 0 && most != 0) {
        bytes_append(out, item.bytes, item.n);
        before = -1; /* the first one has no comma */
    }
    put(out, " (\",\" ws ");
    bytes_append(out, item.bytes, item.n);
    put(out, ")");
    put_times(out, before < 0 && least > 0 ? least - 1 : least, before < 0 && most > 0 ? most - 1 : most);
    if (before < 0 && least == 0)
        put(out, ")?");
    out->out_of_memory |= item.out_of_memory;
    free(item.bytes);
    return status;
}

static hearth_status take_array(struct build *b, const json_t *schema, const struct site *site, struct bytes *out)
{
    int64_t least = 0, most = -1;
    const json_t *prefix = json_object_get(schema, "prefixItems");
    const json_t *items = json_object_get(schema, "items");
    HEARTH_TRY(take_count(b, schema, site, "minItems", &least));
    HEARTH_TRY(take_count(b, schema, site, "maxItems", &most));
    if (most >= 0 && most < least)
        return fail(b, site, "maxItems is less than minItems", NULL);
    if (prefix && !json_is_array(prefix))
        return fail(b, site, "need a list of schemas:", "prefixItems");
    const int64_t given = (int64_t)json_array_size(prefix), n = most >= 0 && most < given ? most : given;
    const bool closed = json_is_false(items) || (prefix && !items && least <= n);
    if (closed && least > n)
        return fail(b, site, "minItems is more than there can be", NULL);
    put(out, "\"[\" ws ");
    const struct site here = {site, "prefixItems", 0};
    for (int64_t i = 0; i < n; i++) {
        const struct site there = {&here, NULL, (size_t)i};
        put(out, "%s", i ? " \",\" ws " : "");
        HEARTH_TRY(take_inner(b, json_array_get(prefix, (size_t)i), &there, out));
    }
    if (!closed && most != n)
        HEARTH_TRY(take_items(b, items, site, n, least > n ? least - n : 0, most < 0 ? -1 : most - n, out));
    put(out, " ws \"]\"");
    return HEARTH_OK;
}

/* ---- Objects -------------------------------------------------------------------------------------------------------------- */

/* The keys not declared, by a tree of characters over the declared ones. Such keys are written without escapes, so a declared key
 * that needs one cannot be spelt by them. `keys` begin alike in their first `at` bytes. */
static hearth_status put_other_keys(struct build *b, const struct site *site, json_t *keys, size_t at, struct bytes *out)
{
    if (b->depth++ == 4 * (int)HEARTH_SCHEMA_DEPTH_MAX)
        return fail(b, site, "the name of a property is too long beside additionalProperties", NULL);
    json_t *branches = json_object(); /* next character -> keys that go on with it */
    bool ends = false, lost = !branches;
    const char *key;
    json_t *value;
    json_object_foreach(keys, key, value)
    {
        if (!key[at]) {
            ends = true;
            continue;
        }
        size_t n = 1;
        while (((unsigned char)key[at + n] & 0xc0) == 0x80)
            n++;
        char next[8] = "";
        memcpy(next, key + at, n < 4 ? n : 4);
        if (!json_object_get(branches, next))
            lost |= json_object_set_new(branches, next, json_object()) != 0;
        lost |= json_object_set_new(json_object_get(branches, next), key, json_true()) != 0;
    }
    hearth_status status = lost ? no_memory(b) : HEARTH_OK;
    struct bytes others = {0};
    put(out, "%s[^\"\\\\\\x00-\\x1f\\x7f", ends ? "" : "\"\\\"\" | ");
    json_object_foreach(branches, key, value)
    {
        char name[NAME_MAX_BYTES];
        struct bytes body = {0};
        if (status != HEARTH_OK || strchr("\"\\", key[0]) || (unsigned char)key[0] < 0x20 || key[0] == 0x7f)
            continue;
        name_rule(b, &(const struct site){site, "key", 0}, name);
        status = put_other_keys(b, site, value, at + strlen(key), &body);
        put(out, "%s%s", strchr("[]", key[0]) ? "\\" : "",
            key[0] == '-' || key[0] == '^' ? (key[0] == '-' ? "\\x2d" : "\\x5e") : key);
        put(&others, " | \"%s\" %s", key, name);
        const hearth_status ended = end_rule(b, name, &body);
        status = status != HEARTH_OK ? status : ended;
    }
    put(out, "] plain* \"\\\"\"");
    bytes_append(out, others.bytes, others.n);
    out->out_of_memory |= others.out_of_memory;
    free(others.bytes);
    json_decref(branches);
    b->depth--;
    return status;
}

/* `required` as an object, whose members are found at once. */
static hearth_status required_set(const struct build *b, const json_t *schema, const struct site *site, const json_t *properties,
                                  json_t *set)
{
    const json_t *required = json_object_get(schema, "required");
    if (required && !json_is_array(required))
        return fail(b, site, "need a list of names:", "required");
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *name = json_string_value(json_array_get(required, i));
        if (!name || !json_object_get(properties, name))
            return fail(b, site, "required: there is no such property:", name ? name : "not a string");
        if (json_object_set_new(set, name, json_true()) != 0)
            return no_memory(b);
    }
    return HEARTH_OK;
}

/* Rules NAME-f0 …: the properties from this one on, nothing written yet; NAME-r0 …: the same, with a comma before. */
static hearth_status put_property(struct build *b, const char *name, size_t i, const char *key, bool required, struct bytes *value)
{
    char rule[NAME_MAX_BYTES + 16];
    struct bytes body = {0};
    json_t *string = json_string(key);
    const hearth_status status = string ? put_json(b, &body, string, ":") : no_memory(b);
    json_decref(string);
    put(&body, " ws ");
    bytes_append(&body, value->bytes, value->n);
    (void)snprintf(rule, sizeof rule, "%s-p%zu", name, i);
    HEARTH_TRY(end_rule(b, rule, &body));
    HEARTH_TRY(status);
    for (const char *kind = "fr"; *kind; kind++) {
        put(&body, "%s%s-p%zu %s-r%zu", *kind == 'r' ? "\",\" ws " : "", name, i, name, i + 1);
        if (!required)
            put(&body, " | %s-%c%zu", name, *kind, i + 1);
        (void)snprintf(rule, sizeof rule, "%s-%c%zu", name, *kind, i);
        HEARTH_TRY(end_rule(b, rule, &body));
    }
    return HEARTH_OK;
}

/* What may follow the last property: nothing, or others. */
static hearth_status put_others(struct build *b, const char *name, size_t n, json_t *properties, const json_t *additional,
                                const struct site *site)
{
    char rule[NAME_MAX_BYTES + 16];
    struct bytes body = {0}, value = {0};
    const bool open = additional && !json_is_false(additional);
    if (open) {
        const struct site there = {site, "additionalProperties", 0};
        hearth_status status = take_inner(b, additional, &there, &value);
        put(&body, "\"\\\"\" %s-k \":\" ws ", name);
        bytes_append(&body, value.bytes, value.n);
        body.out_of_memory |= value.out_of_memory;
        free(value.bytes);
        (void)snprintf(rule, sizeof rule, "%s-o", name);
        HEARTH_TRY(end_rule(b, rule, &body));
        HEARTH_TRY(status);
        status = put_other_keys(b, site, properties, 0, &body);
        (void)snprintf(rule, sizeof rule, "%s-k", name);
        HEARTH_TRY(end_rule(b, rule, &body));
        HEARTH_TRY(status);
    }
    if (open)
        put(&body, "(%s-o (\",\" ws %s-o)*)?", name, name);
    (void)snprintf(rule, sizeof rule, "%s-f%zu", name, n);
    HEARTH_TRY(end_rule(b, rule, &body));
    if (open)
        put(&body, "(\",\" ws %s-o)*", name);
    (void)snprintf(rule, sizeof rule, "%s-r%zu", name, n);
    return end_rule(b, rule, &body);
}

static hearth_status put_properties(struct build *b, const char *name, json_t *properties, const json_t *required,
                                    const struct site *site)
{
    const struct site here = {site, "properties", 0};
    const char *key;
    json_t *schema;
    size_t i = 0;
    json_object_foreach(properties, key, schema)
    {
        struct bytes value = {0};
        const struct site there = {&here, key, 0};
        hearth_status status = take_inner(b, schema, &there, &value);
        if (status == HEARTH_OK)
            status = put_property(b, name, i++, key, json_object_get(required, key) != NULL, &value);
        b->rules.out_of_memory |= value.out_of_memory;
        free(value.bytes);
        HEARTH_TRY(status);
    }
    return HEARTH_OK;
}

static hearth_status take_object(struct build *b, const json_t *schema, const struct site *site, struct bytes *out)
{
    json_t *properties = json_object_get(schema, "properties");
    const json_t *additional = json_object_get(schema, "additionalProperties");
    char name[NAME_MAX_BYTES];
    if (properties && !json_is_object(properties))
        return fail(b, site, "need an object of schemas:", "properties");
    json_t *none = json_object(), *required = json_object();
    json_t *always = json_true();
    properties = properties ? properties : none;
    additional = !additional && json_object_size(properties) == 0 ? always : additional;
    hearth_status status = none && required ? required_set(b, schema, site, properties, required) : no_memory(b);
    name_rule(b, site, name);
    if (status == HEARTH_OK)
        status = put_properties(b, name, properties, required, site);
    if (status == HEARTH_OK)
        status = put_others(b, name, json_object_size(properties), properties, additional, site);
    json_decref(none);
    json_decref(required);
    put(out, "\"{\" ws %s-f0 ws \"}\"", name);
    return status;
}

/* ---- Schemas -------------------------------------------------------------------------------------------------------------- */

static hearth_status take_types(struct build *b, const json_t *schema, const struct site *site, struct bytes *out)
{
    unsigned mask;
    HEARTH_TRY(types_of(b, schema, site, &mask));
    mask &= mask & NUMBER ? ~(unsigned)INTEGER : ~0u; /* every integer is a number */
    const char *separator = "";
    for (size_t i = 0; i < N_TYPES; i++) {
        if (!(mask & types[i].type))
            continue;
        put(out, "%s", separator);
        separator = " | ";
        switch (types[i].type) {
        case OBJECT:
            HEARTH_TRY(take_object(b, schema, site, out));
            break;
        case ARRAY:
            HEARTH_TRY(take_array(b, schema, site, out));
            break;
        case STRING:
            HEARTH_TRY(take_string(b, schema, site, out));
            break;
        case INTEGER:
            HEARTH_TRY(take_integer(b, schema, site, out));
            break;
        case NUMBER:
            HEARTH_TRY(take_number(b, schema, site, out));
            break;
        default:
            put(out, "%s", types[i].name);
        }
    }
    return HEARTH_OK;
}

static hearth_status take_body(struct build *b, const json_t *schema, const struct site *site, struct bytes *out)
{
    HEARTH_TRY(check_keywords(b, schema, site, NULL, ""));
    if (json_object_get(schema, "$ref"))
        return take_ref(b, schema, site, out);
    if (json_object_get(schema, "anyOf"))
        return take_alternatives(b, schema, site, "anyOf", out);
    if (json_object_get(schema, "oneOf"))
        return take_alternatives(b, schema, site, "oneOf", out);
    if (json_object_get(schema, "const") || json_object_get(schema, "enum"))
        return take_values(b, schema, site, out);
    return take_types(b, schema, site, out);
}

static bool is_word(const struct bytes *text)
{
    for (size_t i = 0; i < text->n; i++)
        if (text->bytes[i] == ' ' || text->bytes[i] == '"')
            return false;
    return text->n > 0;
}

/* Append the name of a rule that stands for the schema. */
static hearth_status take_schema(struct build *b, const json_t *schema, const struct site *site, struct bytes *out)
{
    bool constrains = !json_is_true(schema);
    const char *key;
    json_t *value;
    if (json_is_object(schema)) {
        constrains = false;
        json_object_foreach((json_t *)(uintptr_t)schema, key, value)
        {
            const struct keyword *keyword = find_keyword(key);
            constrains |= !keyword || keyword->constrains;
        }
    } else if (constrains) {
        return fail(b, site, json_is_false(schema) ? "false: no value is valid here" : "need an object, or true", NULL);
    }
    if (!constrains) {
        put(out, "value");
        return HEARTH_OK;
    }
    if (b->depth == (int)HEARTH_SCHEMA_DEPTH_MAX)
        return fail(b, site, "schemas are nested too deeply", NULL);
    struct bytes body = {0};
    char name[NAME_MAX_BYTES];
    b->depth++;
    hearth_status status = take_body(b, schema, site, &body);
    b->depth--;
    if (is_word(&body)) {
        bytes_append(out, body.bytes, body.n);
        out->out_of_memory |= body.out_of_memory;
        free(body.bytes);
        return status;
    }
    name_rule(b, site, name);
    put(out, "%s", name);
    const hearth_status ended = end_rule(b, name, &body);
    return status != HEARTH_OK ? status : ended;
}

static const char primitives[] = "ws ::= | \" \" | \"\\n\" [ \\t]{0,20}\n"
                                 "plain ::= [^\"\\\\\\x00-\\x1f\\x7f]\n"
                                 "char ::= plain | \"\\\\\" [\"\\\\/bfnrt]\n"
                                 "string ::= \"\\\"\" char* \"\\\"\"\n"
                                 "integer ::= \"0\" | \"-\"? [1-9] [0-9]{0,15}\n"
                                 "number ::= \"-\"? (\"0\" | [1-9] [0-9]{0,15}) (\".\" [0-9]{1,16})? ([eE] [-+]? [0-9]{1,2})?\n"
                                 "boolean ::= \"true\" | \"false\"\n"
                                 "null ::= \"null\"\n"
                                 "value ::= object | array | string | number | boolean | null\n"
                                 "object ::= \"{\" ws (string \":\" ws value (\",\" ws string \":\" ws value)*)? ws \"}\"\n"
                                 "array ::= \"[\" ws (value (\",\" ws value)*)? ws \"]\"\n";

hearth_status json_schema_to_grammar(char **grammar, size_t *grammar_bytes, const char *name, const char *schema,
                                     size_t schema_bytes, hearth_error *error)
{
    json_error_t bad;
    char quoted[HEARTH_QUOTE_MAX], why[HEARTH_QUOTE_MAX];
    struct build b = {.file = hearth_quote(quoted, name, strlen(name)), .error = error};
    struct bytes body = {0};
    const struct site site = {NULL, NULL, 0};
    *grammar = NULL;
    b.root = json_loadb(schema, schema_bytes, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &bad);
    if (!b.root)
        return hearth_fail(error, HEARTH_E_CONFIG, "E_SCHEMA", "%s: schema: line %d: %s", b.file, bad.line,
                           hearth_quote(why, bad.text, strlen(bad.text)));
    b.refs = json_pack("{s:[si]}", "#", "root", 0);
    hearth_status status = b.refs ? take_schema(&b, b.root, &site, &body) : no_memory(&b);
    const hearth_status ended = end_rule(&b, "root", &body);
    if (status == HEARTH_OK)
        status = check_refs(&b);
    bytes_append(&b.rules, primitives, sizeof primitives - 1);
    json_decref(b.root);
    json_decref(b.refs);
    free(b.edges.bytes);
    status = status != HEARTH_OK ? status : b.rules.out_of_memory ? no_memory(&b) : ended;
    if (status != HEARTH_OK) {
        free(b.rules.bytes);
        return status;
    }
    *grammar = b.rules.bytes;
    *grammar_bytes = b.rules.n;
    return HEARTH_OK;
}
