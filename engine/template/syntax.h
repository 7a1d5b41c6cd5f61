/* What a template consists of once it is read. Operators of one strength stand in one chain, as do all that follows a value, so
 * that only what the author put inside something else is inside something else here: depth in the tree is depth in the text. */
#ifndef HEARTH_ENGINE_TEMPLATE_SYNTAX_H
#define HEARTH_ENGINE_TEMPLATE_SYNTAX_H

#include "template/builtin.h"

/* A variable's name; the hash makes look-ups cheap. */
struct hearth_name {
    struct hearth_str text;
    uint32_t hash;
};

enum hearth_expr_kind {
    HEARTH_EXPR_LITERAL,
    HEARTH_EXPR_NAME,
    HEARTH_EXPR_LIST,
    HEARTH_EXPR_TUPLE,
    HEARTH_EXPR_MAP,         /* items: key, value, key, value, ... */
    HEARTH_EXPR_CONDITIONAL, /* items: condition, then, perhaps else */
    HEARTH_EXPR_NOT,         /* first */
    HEARTH_EXPR_NEGATE,      /* first */
    HEARTH_EXPR_PLUS,        /* first */
    HEARTH_EXPR_OR,          /* first, links */
    HEARTH_EXPR_AND,
    HEARTH_EXPR_COMPARE,
    HEARTH_EXPR_ARITHMETIC,
    HEARTH_EXPR_SUFFIXES
};

/* The links of COMPARE and ARITHMETIC name an operator; those of SUFFIXES what follows the value. */
enum hearth_operator {
    HEARTH_OP_NONE,
    HEARTH_OP_OR,
    HEARTH_OP_AND,
    HEARTH_OP_EQUAL,
    HEARTH_OP_UNEQUAL,
    HEARTH_OP_LESS,
    HEARTH_OP_LESS_EQUAL,
    HEARTH_OP_GREATER,
    HEARTH_OP_GREATER_EQUAL,
    HEARTH_OP_IN,
    HEARTH_OP_NOT_IN,
    HEARTH_OP_ADD,
    HEARTH_OP_SUBTRACT,
    HEARTH_OP_CONCATENATE,
    HEARTH_OP_MULTIPLY,
    HEARTH_OP_DIVIDE,
    HEARTH_OP_FLOOR_DIVIDE,
    HEARTH_OP_MODULO,
    HEARTH_OP_POWER,
    HEARTH_OP_ATTRIBUTE, /* name */
    HEARTH_OP_INDEX,     /* operand */
    HEARTH_OP_SLICE,     /* bounds */
    HEARTH_OP_CALL,      /* arguments */
    HEARTH_OP_FILTER,    /* name, builtin, arguments */
    HEARTH_OP_TEST       /* name, builtin, arguments, negated */
};

struct hearth_argument {
    struct hearth_argument *next;
    struct hearth_str name; /* empty: by position */
    struct hearth_expr *value;
};

/* By position first. */
struct hearth_argument_list {
    struct hearth_argument *first;
    uint32_t n_positional, n_named;
};

struct hearth_link {
    struct hearth_link *next;
    enum hearth_operator op;
    uint32_t line;
    struct hearth_expr *operand;
    struct hearth_expr *bounds[3]; /* NULL: left out */
    struct hearth_str name;
    const struct hearth_builtin *builtin; /* NULL: there is none of that name */
    struct hearth_argument_list arguments;
    bool negated;
};

struct hearth_expr {
    struct hearth_expr *next; /* in a list of items */
    enum hearth_expr_kind kind;
    uint32_t line;
    union {
        struct hearth_value literal;
        struct hearth_name name;
        struct hearth_expr *items;
        struct {
            struct hearth_expr *first;
            struct hearth_link *links;
        };
    };
};

enum hearth_stmt_kind {
    HEARTH_STMT_TEXT,
    HEARTH_STMT_OUTPUT,
    HEARTH_STMT_IF,
    HEARTH_STMT_FOR,
    HEARTH_STMT_SET,     /* targets = value */
    HEARTH_STMT_CAPTURE, /* target = body, filtered */
    HEARTH_STMT_MACRO,
    HEARTH_STMT_FILTER, /* body, filtered */
    HEARTH_STMT_BREAK,
    HEARTH_STMT_CONTINUE
};

/* A variable, or an attribute of a namespace. */
struct hearth_target {
    struct hearth_target *next;
    struct hearth_name name;
    struct hearth_str attribute; /* empty: the variable itself */
};

struct hearth_branch {
    struct hearth_branch *next;
    struct hearth_expr *condition; /* NULL: else */
    struct hearth_stmt *body;
};

struct hearth_parameter {
    struct hearth_parameter *next;
    struct hearth_name name;
    struct hearth_expr *otherwise; /* NULL: undefined */
};

struct hearth_stmt {
    struct hearth_stmt *next;
    enum hearth_stmt_kind kind;
    uint32_t line;
    struct hearth_str text;
    struct hearth_expr *value; /* shown, assigned or iterated */
    struct hearth_expr *condition;
    struct hearth_branch *branches;
    struct hearth_target *targets;
    struct hearth_link *filters;
    struct hearth_name name;
    struct hearth_parameter *parameters;
    struct hearth_stmt *body;
    struct hearth_stmt *otherwise; /* of for */
};

#endif
