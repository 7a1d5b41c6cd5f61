/* The values a template works with. Lists, maps and namespaces are references: what changes them is seen wherever they are. All of
 * it lies in a workspace and ends with it. After a failure operations give undefined, empty or false. */
#ifndef HEARTH_ENGINE_TEMPLATE_VALUE_H
#define HEARTH_ENGINE_TEMPLATE_VALUE_H

#include "template/str.h"

enum hearth_value_type {
    HEARTH_VALUE_UNDEFINED,
    HEARTH_VALUE_NONE,
    HEARTH_VALUE_BOOL,
    HEARTH_VALUE_INT,
    HEARTH_VALUE_FLOAT,
    HEARTH_VALUE_STR,
    HEARTH_VALUE_LIST,
    HEARTH_VALUE_TUPLE,
    HEARTH_VALUE_MAP,
    HEARTH_VALUE_NAMESPACE,
    HEARTH_VALUE_LOOP,
    HEARTH_VALUE_MACRO,
    HEARTH_VALUE_FUNCTION
};

struct hearth_value {
    enum hearth_value_type type;
    union {
        bool boolean;
        int64_t integer;
        double real;
        struct hearth_str str;
        struct hearth_list *list;              /* and tuple */
        struct hearth_map *map;                /* and namespace */
        struct hearth_loop *loop;              /* evaluate.c */
        const struct hearth_macro *macro;      /* evaluate.c */
        const struct hearth_builtin *function; /* builtin.h */
    };
};

struct hearth_list {
    struct hearth_value *items;
    size_t n, capacity;
};

struct hearth_pair {
    struct hearth_value key, value;
};

/* Pairs in the order in which their keys came. */
struct hearth_map {
    struct hearth_pair *pairs;
    size_t n, capacity;
};

#define HEARTH_UNDEFINED ((struct hearth_value){.type = HEARTH_VALUE_UNDEFINED})
#define HEARTH_NONE ((struct hearth_value){.type = HEARTH_VALUE_NONE})

struct hearth_value hearth_value_bool(bool boolean);
struct hearth_value hearth_value_int(int64_t integer);
struct hearth_value hearth_value_float(double real);
struct hearth_value hearth_value_str(struct hearth_str s);

/* An empty list, tuple, map or namespace; undefined after a failure. */
struct hearth_value hearth_value_new(struct hearth_workspace *w, enum hearth_value_type type);
/* `to` is a list or tuple, or a map or namespace; nothing happens to anything else. A new value for an old key takes its place. */
void hearth_value_append(struct hearth_workspace *w, struct hearth_value to, struct hearth_value item);
void hearth_value_set(struct hearth_workspace *w, struct hearth_value to, struct hearth_value key, struct hearth_value value);
/* For keys of our own. */
void hearth_value_set_named(struct hearth_workspace *w, struct hearth_value to, const char *key, struct hearth_value value);
/* The pair of a key; NULL when absent. Valid until the map grows. */
struct hearth_pair *hearth_map_find(struct hearth_workspace *w, const struct hearth_map *map, struct hearth_value key);

/* "string", "list", ... as in messages. */
const char *hearth_value_type_name(enum hearth_value_type type);
bool hearth_value_is_sequence(struct hearth_value v); /* list or tuple */
bool hearth_value_is_mapping(struct hearth_value v);  /* map or namespace */
/* Booleans, integers and floats; the number as a float. */
bool hearth_value_is_number(struct hearth_value v);
double hearth_value_real(struct hearth_value v);
/* Booleans count as 0 and 1. */
bool hearth_value_is_int(struct hearth_value v, int64_t *out);

bool hearth_value_truth(struct hearth_value v);
bool hearth_value_equal(struct hearth_workspace *w, struct hearth_value a, struct hearth_value b);
/* Below 0, 0 or above; an error for what has no order. */
int hearth_value_compare(struct hearth_workspace *w, struct hearth_value a, struct hearth_value b);
/* Whether `in` holds. */
bool hearth_value_contains(struct hearth_workspace *w, struct hearth_value in, struct hearth_value item);
/* What a loop goes through: elements, characters, keys, nothing. False after an error, which none and numbers are. The items may be
 * the list's own. */
bool hearth_value_items(struct hearth_workspace *w, struct hearth_value v, struct hearth_list *out);
/* x[key]: undefined where there is nothing. */
struct hearth_value hearth_value_at(struct hearth_workspace *w, struct hearth_value v, struct hearth_value key);
/* x[begin:end:step]; undefined and none are the defaults. */
struct hearth_value hearth_value_slice(struct hearth_workspace *w, struct hearth_value v, struct hearth_value begin,
                                       struct hearth_value end, struct hearth_value step);
/* As it is shown. */
struct hearth_str hearth_value_to_str(struct hearth_workspace *w, struct hearth_value v);
/* The shortest digits that read back as the same number, always with a point or an exponent. Does not depend on the locale. */
#define HEARTH_FLOAT_TEXT_MAX 40
size_t hearth_value_float_text(char out[HEARTH_FLOAT_TEXT_MAX], double x);

/* The number that digits with an optional sign, fraction and exponent spell; undefined when they do not. An integer that does not
 * fit becomes a float. */
struct hearth_value hearth_value_from_digits(struct hearth_str s);

/* Sort by key, stably. */
void hearth_value_sort(struct hearth_workspace *w, struct hearth_pair *pairs, size_t n, bool reverse);

#endif
