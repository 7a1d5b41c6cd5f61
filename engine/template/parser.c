/* A recursive-descent parser, two tokens of look-ahead. Its recursion is the nesting of the template and bounded with it: every way
 * back into parse_expression(), parse_unary(), parse_not() or parse_body() counts. After a failure tokens are all END, so every
 * loop here ends. */
#include "template/parser.h"
#include "common/status.h"
#include "template/lexer.h"

struct parser {
    struct hearth_workspace *w;
    struct hearth_lexer lexer;
    struct hearth_template_token token, ahead;
    uint32_t nesting, loops;
};

static struct hearth_expr *parse_expression(struct parser *p);
static struct hearth_expr *parse_unary(struct parser *p);
static struct hearth_stmt *parse_body(struct parser *p, const char *const *ends);

/* ---- Tokens ---------------------------------------------------------------------------------------------------------- */

static void next(struct parser *p)
{
    p->token = p->ahead;
    p->ahead = hearth_lexer_next(&p->lexer);
}

static const char *describe(struct hearth_template_token token, char quoted[HEARTH_QUOTE_MAX])
{
    static const char *const kinds[] = {"the end", "text", "{{", "the end of the tag", "{%", "the end of the tag"};
    if ((size_t)token.kind < sizeof kinds / sizeof kinds[0])
        return kinds[token.kind];
    return hearth_quote(quoted, token.text.bytes, token.text.n);
}

static void fail(struct parser *p, const char *need)
{
    char quoted[HEARTH_QUOTE_MAX];
    p->w->line = p->token.line;
    hearth_workspace_fail(p->w, HEARTH_E_FORMAT, "E_TEMPLATE", "syntax (got '%s', need %s)", describe(p->token, quoted), need);
    p->token = p->ahead = (struct hearth_template_token){.kind = HEARTH_LEX_END, .line = p->token.line};
}

static bool enter(struct parser *p)
{
    if (p->nesting == HEARTH_TEMPLATE_NESTING_MAX) {
        p->w->line = p->token.line;
        hearth_workspace_fail(p->w, HEARTH_E_UNSUPPORTED, "E_LIMIT", "nesting: more than %u inside each other",
                              HEARTH_TEMPLATE_NESTING_MAX);
        p->token = p->ahead = (struct hearth_template_token){.kind = HEARTH_LEX_END, .line = p->token.line};
        return false;
    }
    p->nesting++;
    return true;
}

static bool is_operator(struct hearth_template_token token, const char *text)
{
    return token.kind == HEARTH_LEX_OPERATOR && hearth_str_is(token.text, text);
}

static bool is_word(struct hearth_template_token token, const char *text)
{
    return token.kind == HEARTH_LEX_NAME && hearth_str_is(token.text, text);
}

static bool take_operator(struct parser *p, const char *text)
{
    const bool found = is_operator(p->token, text);
    if (found)
        next(p);
    return found;
}

static bool take_word(struct parser *p, const char *text)
{
    const bool found = is_word(p->token, text);
    if (found)
        next(p);
    return found;
}

static void need_operator(struct parser *p, const char *text)
{
    if (!take_operator(p, text))
        fail(p, text);
}

static struct hearth_str need_name(struct parser *p)
{
    const struct hearth_str text = p->token.text;
    if (p->token.kind != HEARTH_LEX_NAME) {
        fail(p, "a name");
        return HEARTH_STR("");
    }
    next(p);
    return text;
}

static void need_close(struct parser *p, enum hearth_token_kind kind)
{
    if (p->token.kind == kind)
        next(p);
    else
        fail(p, "the end of the tag");
}

struct hearth_name hearth_parser_name(struct hearth_str text)
{
    uint32_t hash = 2166136261u; /* FNV-1a: names are short, and a collision only costs a comparison */
    for (size_t i = 0; i < text.n; i++)
        hash = (hash ^ (uint8_t)text.bytes[i]) * 16777619u;
    return (struct hearth_name){text, hash};
}

/* ---- Nodes ----------------------------------------------------------------------------------------------------------- */

/* NULL after a failure. */
static struct hearth_expr *new_expr(struct parser *p, enum hearth_expr_kind kind)
{
    struct hearth_expr *x = hearth_workspace_take(p->w, 1, sizeof *x);
    if (x)
        *x = (struct hearth_expr){.kind = kind, .line = p->token.line};
    else
        fail(p, "memory");
    return x;
}

static struct hearth_link *new_link(struct parser *p, enum hearth_operator op)
{
    struct hearth_link *link = hearth_workspace_take(p->w, 1, sizeof *link);
    if (link)
        *link = (struct hearth_link){.op = op, .line = p->token.line};
    else
        fail(p, "memory");
    return link;
}

static struct hearth_expr *new_literal(struct parser *p, struct hearth_value value)
{
    struct hearth_expr *x = new_expr(p, HEARTH_EXPR_LITERAL);
    if (x)
        x->literal = value;
    return x;
}

/* ---- Expressions ------------------------------------------------------------------------------------------------------ */

/* name "=" expr | expr, until the closing bracket, which is taken. */
static struct hearth_argument_list parse_arguments(struct parser *p)
{
    struct hearth_argument_list list = {0};
    struct hearth_argument **end = &list.first;
    while (p->token.kind != HEARTH_LEX_END && !is_operator(p->token, ")")) {
        struct hearth_argument *argument = hearth_workspace_take(p->w, 1, sizeof *argument);
        if (!argument)
            break;
        *argument = (struct hearth_argument){0};
        if (p->token.kind == HEARTH_LEX_NAME && is_operator(p->ahead, "=")) {
            argument->name = need_name(p);
            next(p);
            list.n_named++;
        } else if (list.n_named > 0) {
            fail(p, "arguments by position before those by name");
        } else {
            list.n_positional++;
        }
        argument->value = parse_expression(p);
        *end = argument;
        end = &argument->next;
        if (!take_operator(p, ","))
            break;
    }
    need_operator(p, ")");
    return list;
}

/* expr { "," expr } up to a closing bracket, which stays. *comma tells whether there was one. */
static struct hearth_expr *parse_items(struct parser *p, const char *close, bool *comma)
{
    struct hearth_expr *first = NULL;
    struct hearth_expr **end = &first;
    *comma = false;
    while (p->token.kind != HEARTH_LEX_END && !is_operator(p->token, close)) {
        struct hearth_expr *item = parse_expression(p);
        if (!item)
            break;
        *end = item;
        end = &item->next;
        if (!take_operator(p, ","))
            break;
        *comma = true;
    }
    need_operator(p, close);
    return first;
}

static struct hearth_expr *parse_map(struct parser *p)
{
    struct hearth_expr *map = new_expr(p, HEARTH_EXPR_MAP);
    if (!map)
        return NULL;
    struct hearth_expr **end = &map->items;
    while (p->token.kind != HEARTH_LEX_END && !is_operator(p->token, "}")) {
        struct hearth_expr *key = parse_expression(p);
        need_operator(p, ":");
        struct hearth_expr *value = parse_expression(p);
        if (!key || !value)
            return NULL;
        *end = key;
        key->next = value;
        end = &value->next;
        if (!take_operator(p, ","))
            break;
    }
    need_operator(p, "}");
    return map;
}

static struct hearth_expr *parse_list(struct parser *p)
{
    bool comma;
    struct hearth_expr *list = new_expr(p, HEARTH_EXPR_LIST);
    if (list)
        list->items = parse_items(p, "]", &comma);
    return list;
}

/* In parentheses: one expression, or a tuple. */
static struct hearth_expr *parse_group(struct parser *p)
{
    bool comma;
    struct hearth_expr *tuple = new_expr(p, HEARTH_EXPR_TUPLE);
    struct hearth_expr *items = parse_items(p, ")", &comma);
    if (!tuple || (items && !comma))
        return items;
    tuple->items = items;
    return tuple;
}

static bool literal_word(struct hearth_str name, struct hearth_value *out)
{
    if (hearth_str_is(name, "true") || hearth_str_is(name, "True"))
        *out = hearth_value_bool(true);
    else if (hearth_str_is(name, "false") || hearth_str_is(name, "False"))
        *out = hearth_value_bool(false);
    else if (hearth_str_is(name, "none") || hearth_str_is(name, "None"))
        *out = HEARTH_NONE;
    else
        return false;
    return true;
}

static struct hearth_expr *parse_name(struct parser *p)
{
    struct hearth_value value;
    struct hearth_expr *x = new_expr(p, HEARTH_EXPR_NAME);
    const struct hearth_str name = need_name(p);
    if (!x)
        return NULL;
    if (literal_word(name, &value)) {
        x->kind = HEARTH_EXPR_LITERAL;
        x->literal = value;
    } else {
        x->name = hearth_parser_name(name);
    }
    return x;
}

/* Neighbouring strings are one. */
static struct hearth_expr *parse_str(struct parser *p)
{
    struct hearth_expr *x = new_expr(p, HEARTH_EXPR_LITERAL);
    struct hearth_builder b = {0};
    for (; p->token.kind == HEARTH_LEX_STR; next(p))
        hearth_builder_add(p->w, &b, p->token.text);
    if (x)
        x->literal = hearth_value_str(hearth_builder_finish(p->w, &b));
    return x;
}

static struct hearth_expr *parse_primary(struct parser *p)
{
    const struct hearth_template_token token = p->token;
    switch (token.kind) {
    case HEARTH_LEX_NAME:
        return parse_name(p);
    case HEARTH_LEX_STR:
        return parse_str(p);
    case HEARTH_LEX_NUMBER:
        next(p);
        return new_literal(p, hearth_value_from_digits(token.text));
    default:
        break;
    }
    if (take_operator(p, "("))
        return parse_group(p);
    if (take_operator(p, "["))
        return parse_list(p);
    if (take_operator(p, "{"))
        return parse_map(p);
    fail(p, "a value");
    return NULL;
}

/* "." has been taken. */
static void parse_attribute(struct parser *p, struct hearth_link *link)
{
    if (p->token.kind == HEARTH_LEX_NUMBER) {
        link->op = HEARTH_OP_INDEX;
        link->operand = parse_primary(p);
        return;
    }
    link->op = HEARTH_OP_ATTRIBUTE;
    link->name = need_name(p);
}

/* "[" has been taken. */
static void parse_index(struct parser *p, struct hearth_link *link)
{
    size_t n = 0;
    link->op = HEARTH_OP_INDEX;
    for (;;) {
        if (!is_operator(p->token, ":") && !is_operator(p->token, "]"))
            link->bounds[n] = parse_expression(p);
        if (++n == 3 || !take_operator(p, ":"))
            break;
        link->op = HEARTH_OP_SLICE;
    }
    if (link->op == HEARTH_OP_INDEX && !link->bounds[0])
        fail(p, "an index");
    link->operand = link->bounds[0];
    need_operator(p, "]");
}

static struct hearth_link *parse_postfix(struct parser *p)
{
    const bool dot = is_operator(p->token, ".");
    const bool bracket = is_operator(p->token, "[");
    if (!dot && !bracket && !is_operator(p->token, "("))
        return NULL;
    struct hearth_link *link = new_link(p, HEARTH_OP_CALL);
    if (!link)
        return NULL;
    next(p);
    if (dot)
        parse_attribute(p, link);
    else if (bracket)
        parse_index(p, link);
    else
        link->arguments = parse_arguments(p);
    return link;
}

/* Whether a test's argument without parentheses begins here. */
static bool begins_argument(const struct parser *p)
{
    static const char *const others[] = {"and", "or", "else", "if", "is", "in", "not"};
    const enum hearth_token_kind kind = p->token.kind;
    if (kind == HEARTH_LEX_STR || kind == HEARTH_LEX_NUMBER || is_operator(p->token, "[") || is_operator(p->token, "{"))
        return true;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (is_word(p->token, others[i]))
            return false;
    }
    return kind == HEARTH_LEX_NAME;
}

static struct hearth_expr *with_postfixes(struct parser *p, struct hearth_expr *first);

static void parse_test_argument(struct parser *p, struct hearth_link *link)
{
    if (take_operator(p, "(")) {
        link->arguments = parse_arguments(p);
    } else if (begins_argument(p) && enter(p)) {
        struct hearth_argument *argument = hearth_workspace_take(p->w, 1, sizeof *argument);
        if (argument) {
            *argument = (struct hearth_argument){.value = with_postfixes(p, parse_primary(p))};
            link->arguments = (struct hearth_argument_list){.first = argument, .n_positional = 1};
        }
        p->nesting--;
    }
}

/* "is" has been taken. */
static struct hearth_link *parse_test(struct parser *p)
{
    struct hearth_link *link = new_link(p, HEARTH_OP_TEST);
    if (!link)
        return NULL;
    link->negated = take_word(p, "not");
    link->name = need_name(p);
    link->builtin = hearth_test_find(link->name);
    parse_test_argument(p, link);
    return link;
}

/* What stands before its name has been taken. */
static struct hearth_link *parse_filter(struct parser *p)
{
    struct hearth_link *link = new_link(p, HEARTH_OP_FILTER);
    if (!link)
        return NULL;
    link->name = need_name(p);
    link->builtin = hearth_filter_find(link->name);
    if (take_operator(p, "("))
        link->arguments = parse_arguments(p);
    return link;
}

static struct hearth_expr *with_links(struct parser *p, struct hearth_expr *first, struct hearth_link *(*parse)(struct parser *))
{
    struct hearth_link **end = NULL;
    for (struct hearth_link *link = parse(p); link && first; link = parse(p)) {
        if (!end) {
            struct hearth_expr *x = new_expr(p, HEARTH_EXPR_SUFFIXES);
            if (!x)
                return NULL;
            x->line = link->line;
            x->first = first;
            first = x;
            end = &x->links;
        }
        *end = link;
        end = &link->next;
    }
    return first;
}

static struct hearth_expr *with_postfixes(struct parser *p, struct hearth_expr *first)
{
    return with_links(p, first, parse_postfix);
}

/* Filters and tests; what they give may be called. */
static struct hearth_link *parse_any_suffix(struct parser *p)
{
    if (take_operator(p, "|"))
        return parse_filter(p);
    if (take_word(p, "is"))
        return parse_test(p);
    return is_operator(p->token, "(") ? parse_postfix(p) : NULL;
}

/* A sign binds tighter than filters: -x|abs is abs(-x). */
static struct hearth_expr *parse_signed(struct parser *p)
{
    const bool minus = is_operator(p->token, "-");
    if (!minus && !is_operator(p->token, "+"))
        return with_postfixes(p, parse_primary(p));
    if (!enter(p))
        return NULL;
    struct hearth_expr *x = new_expr(p, minus ? HEARTH_EXPR_NEGATE : HEARTH_EXPR_PLUS);
    next(p);
    struct hearth_expr *operand = parse_signed(p);
    p->nesting--;
    if (x)
        x->first = operand;
    return x;
}

static struct hearth_expr *parse_unary(struct parser *p)
{
    return with_links(p, parse_signed(p), parse_any_suffix);
}

/* The operators of two operands, the loosest first. */
enum level {
    LEVEL_OR,
    LEVEL_AND,
    LEVEL_NOT,
    LEVEL_COMPARE,
    LEVEL_ADD,
    LEVEL_CONCATENATE,
    LEVEL_MULTIPLY,
    LEVEL_POWER,
    LEVEL_UNARY
};

static const struct {
    const char *text;
    enum level level;
    enum hearth_operator op;
} operators[] = {
    {"or", LEVEL_OR, HEARTH_OP_OR},
    {"and", LEVEL_AND, HEARTH_OP_AND},
    {"==", LEVEL_COMPARE, HEARTH_OP_EQUAL},
    {"!=", LEVEL_COMPARE, HEARTH_OP_UNEQUAL},
    {"<", LEVEL_COMPARE, HEARTH_OP_LESS},
    {"<=", LEVEL_COMPARE, HEARTH_OP_LESS_EQUAL},
    {">", LEVEL_COMPARE, HEARTH_OP_GREATER},
    {">=", LEVEL_COMPARE, HEARTH_OP_GREATER_EQUAL},
    {"in", LEVEL_COMPARE, HEARTH_OP_IN},
    {"+", LEVEL_ADD, HEARTH_OP_ADD},
    {"-", LEVEL_ADD, HEARTH_OP_SUBTRACT},
    {"~", LEVEL_CONCATENATE, HEARTH_OP_CONCATENATE},
    {"*", LEVEL_MULTIPLY, HEARTH_OP_MULTIPLY},
    {"/", LEVEL_MULTIPLY, HEARTH_OP_DIVIDE},
    {"//", LEVEL_MULTIPLY, HEARTH_OP_FLOOR_DIVIDE},
    {"%", LEVEL_MULTIPLY, HEARTH_OP_MODULO},
    {"**", LEVEL_POWER, HEARTH_OP_POWER},
};

static enum hearth_operator take_operator_of(struct parser *p, enum level level)
{
    if (level == LEVEL_COMPARE && is_word(p->token, "not") && is_word(p->ahead, "in")) {
        next(p);
        next(p);
        return HEARTH_OP_NOT_IN;
    }
    const bool possible = p->token.kind == HEARTH_LEX_OPERATOR || p->token.kind == HEARTH_LEX_NAME;
    for (size_t i = 0; possible && i < sizeof operators / sizeof operators[0]; i++) {
        if (operators[i].level == level && hearth_str_is(p->token.text, operators[i].text)) {
            next(p);
            return operators[i].op;
        }
    }
    return HEARTH_OP_NONE;
}

static struct hearth_expr *parse_level(struct parser *p, enum level level);

static struct hearth_expr *parse_not(struct parser *p)
{
    if (!is_word(p->token, "not"))
        return parse_level(p, LEVEL_COMPARE);
    if (!enter(p))
        return NULL;
    struct hearth_expr *x = new_expr(p, HEARTH_EXPR_NOT);
    next(p);
    struct hearth_expr *operand = parse_not(p);
    p->nesting--;
    if (x)
        x->first = operand;
    return x;
}

static enum hearth_expr_kind kind_of(enum level level)
{
    return level == LEVEL_OR        ? HEARTH_EXPR_OR
           : level == LEVEL_AND     ? HEARTH_EXPR_AND
           : level == LEVEL_COMPARE ? HEARTH_EXPR_COMPARE
                                    : HEARTH_EXPR_ARITHMETIC;
}

static struct hearth_expr *parse_level(struct parser *p, enum level level)
{
    if (level == LEVEL_NOT)
        return parse_not(p);
    if (level == LEVEL_UNARY)
        return parse_unary(p);
    struct hearth_expr *first = parse_level(p, level + 1);
    struct hearth_link **end = NULL;
    for (enum hearth_operator op; first && (op = take_operator_of(p, level)) != HEARTH_OP_NONE;) {
        struct hearth_link *link = new_link(p, op);
        struct hearth_expr *chain = end ? first : new_expr(p, kind_of(level));
        if (!link || !chain)
            return NULL;
        if (!end) {
            chain->first = first;
            first = chain;
            end = &chain->links;
        }
        link->operand = parse_level(p, level + 1);
        *end = link;
        end = &link->next;
    }
    return first;
}

/* Any expression; NULL only after a failure. */
static struct hearth_expr *parse_expression(struct parser *p)
{
    if (!enter(p))
        return NULL;
    struct hearth_expr *then = parse_level(p, LEVEL_OR);
    while (then && is_word(p->token, "if")) {
        struct hearth_expr *x = new_expr(p, HEARTH_EXPR_CONDITIONAL);
        next(p);
        struct hearth_expr *condition = parse_level(p, LEVEL_OR);
        if (!x || !condition)
            break;
        x->items = condition;
        condition->next = then;
        if (take_word(p, "else"))
            then->next = parse_expression(p);
        then = x;
    }
    p->nesting--;
    return then;
}

/* An expression, or without parentheses a tuple of them. */
static struct hearth_expr *parse_bare(struct parser *p, bool conditional)
{
    struct hearth_expr *first = conditional ? parse_expression(p) : parse_level(p, LEVEL_OR);
    if (!first || !is_operator(p->token, ","))
        return first;
    struct hearth_expr *tuple = new_expr(p, HEARTH_EXPR_TUPLE);
    struct hearth_expr *last = first;
    while (last && take_operator(p, ",") && p->token.kind != HEARTH_LEX_STATEMENT_CLOSE && p->token.kind != HEARTH_LEX_OUTPUT_CLOSE)
        last = last->next = conditional ? parse_expression(p) : parse_level(p, LEVEL_OR);
    if (tuple)
        tuple->items = first;
    return tuple;
}

/* ---- Statements ------------------------------------------------------------------------------------------------------- */

static struct hearth_stmt *new_stmt(struct parser *p, enum hearth_stmt_kind kind)
{
    struct hearth_stmt *s = hearth_workspace_take(p->w, 1, sizeof *s);
    if (s)
        *s = (struct hearth_stmt){.kind = kind, .line = p->token.line};
    else
        fail(p, "memory");
    return s;
}

/* The word that ended a body, and the end of its tag. */
static void take_end(struct parser *p)
{
    next(p);
    need_close(p, HEARTH_LEX_STATEMENT_CLOSE);
}

static void parse_if(struct parser *p, struct hearth_stmt *s)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    struct hearth_branch **end = &s->branches;
    bool more = true;
    bool has_condition = true;
    while (more) {
        struct hearth_branch *branch = hearth_workspace_take(p->w, 1, sizeof *branch);
        if (!branch)
            return;
        *branch = (struct hearth_branch){0};
        if (has_condition)
            branch->condition = parse_bare(p, true);
        need_close(p, HEARTH_LEX_STATEMENT_CLOSE);
        branch->body = parse_body(p, has_condition ? ends : ends + 2);
        *end = branch;
        end = &branch->next;
        more = !is_word(p->token, "endif") && p->token.kind != HEARTH_LEX_END;
        has_condition = is_word(p->token, "elif");
        next(p);
    }
    need_close(p, HEARTH_LEX_STATEMENT_CLOSE);
}

static struct hearth_target *parse_targets(struct parser *p)
{
    struct hearth_target *first = NULL;
    struct hearth_target **end = &first;
    const bool brackets = take_operator(p, "(");
    do {
        struct hearth_target *target = hearth_workspace_take(p->w, 1, sizeof *target);
        if (!target)
            break;
        *target = (struct hearth_target){.name = hearth_parser_name(need_name(p))};
        if (take_operator(p, "."))
            target->attribute = need_name(p);
        *end = target;
        end = &target->next;
    } while (take_operator(p, ","));
    if (brackets)
        need_operator(p, ")");
    return first;
}

static void parse_for(struct parser *p, struct hearth_stmt *s)
{
    static const char *const ends[] = {"else", "endfor", NULL};
    s->targets = parse_targets(p);
    if (!take_word(p, "in"))
        fail(p, "in");
    s->value = parse_bare(p, false);
    if (take_word(p, "if"))
        s->condition = parse_expression(p);
    if (is_word(p->token, "recursive"))
        fail(p, "the end of the tag; recursive loops are not supported");
    need_close(p, HEARTH_LEX_STATEMENT_CLOSE);
    p->loops++;
    s->body = parse_body(p, ends);
    p->loops--;
    if (take_word(p, "else")) {
        need_close(p, HEARTH_LEX_STATEMENT_CLOSE);
        s->otherwise = parse_body(p, ends + 1);
    }
    take_end(p);
}

/* "|" filter "|" filter ... */
static struct hearth_link *parse_filters(struct parser *p)
{
    struct hearth_link *first = NULL;
    struct hearth_link **end = &first;
    while (take_operator(p, "|") && (*end = parse_filter(p)))
        end = &(*end)->next;
    return first;
}

static void parse_set(struct parser *p, struct hearth_stmt *s)
{
    static const char *const ends[] = {"endset", NULL};
    s->targets = parse_targets(p);
    if (take_operator(p, "=")) {
        s->value = parse_bare(p, true);
        need_close(p, HEARTH_LEX_STATEMENT_CLOSE);
        return;
    }
    s->kind = HEARTH_STMT_CAPTURE;
    s->filters = parse_filters(p);
    need_close(p, HEARTH_LEX_STATEMENT_CLOSE);
    s->body = parse_body(p, ends);
    take_end(p);
}

static void parse_macro(struct parser *p, struct hearth_stmt *s)
{
    static const char *const ends[] = {"endmacro", NULL};
    struct hearth_parameter **end = &s->parameters;
    s->name = hearth_parser_name(need_name(p));
    need_operator(p, "(");
    while (p->token.kind == HEARTH_LEX_NAME) {
        struct hearth_parameter *parameter = hearth_workspace_take(p->w, 1, sizeof *parameter);
        if (!parameter)
            return;
        *parameter = (struct hearth_parameter){.name = hearth_parser_name(need_name(p))};
        if (take_operator(p, "="))
            parameter->otherwise = parse_expression(p);
        *end = parameter;
        end = &parameter->next;
        if (!take_operator(p, ","))
            break;
    }
    need_operator(p, ")");
    need_close(p, HEARTH_LEX_STATEMENT_CLOSE);
    const uint32_t loops = p->loops;
    p->loops = 0;
    s->body = parse_body(p, ends);
    p->loops = loops;
    take_end(p);
}

static void parse_filter_block(struct parser *p, struct hearth_stmt *s)
{
    static const char *const ends[] = {"endfilter", NULL};
    s->filters = parse_filter(p);
    if (s->filters)
        s->filters->next = parse_filters(p);
    need_close(p, HEARTH_LEX_STATEMENT_CLOSE);
    s->body = parse_body(p, ends);
    take_end(p);
}

static void parse_jump(struct parser *p, struct hearth_stmt *s)
{
    (void)s;
    if (p->loops == 0)
        fail(p, "a loop around break and continue");
    need_close(p, HEARTH_LEX_STATEMENT_CLOSE);
}

/* Only marks what the assistant said: its body takes its place. */
static void parse_generation(struct parser *p, struct hearth_stmt *s)
{
    static const char *const ends[] = {"endgeneration", NULL};
    need_close(p, HEARTH_LEX_STATEMENT_CLOSE);
    s->body = parse_body(p, ends);
    take_end(p);
}

static const struct {
    const char *word;
    enum hearth_stmt_kind kind;
    void (*parse)(struct parser *p, struct hearth_stmt *s); /* behind the word, to the end of the statement */
} statements[] = {
    {"if", HEARTH_STMT_IF, parse_if},
    {"for", HEARTH_STMT_FOR, parse_for},
    {"set", HEARTH_STMT_SET, parse_set},
    {"macro", HEARTH_STMT_MACRO, parse_macro},
    {"filter", HEARTH_STMT_FILTER, parse_filter_block},
    {"break", HEARTH_STMT_BREAK, parse_jump},
    {"continue", HEARTH_STMT_CONTINUE, parse_jump},
    {"generation", HEARTH_STMT_FILTER, parse_generation}, /* with no filter */
};

static struct hearth_stmt *parse_statement(struct parser *p)
{
    for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++) {
        if (!is_word(p->token, statements[i].word))
            continue;
        struct hearth_stmt *s = new_stmt(p, statements[i].kind);
        if (!s)
            return NULL;
        next(p);
        statements[i].parse(p, s);
        return s;
    }
    fail(p, "if, for, set, macro, filter, break, continue, generation or raw, or the end of an open one");
    return NULL;
}

static struct hearth_stmt *parse_text(struct parser *p)
{
    struct hearth_stmt *s = new_stmt(p, HEARTH_STMT_TEXT);
    if (s)
        s->text = p->token.text;
    next(p);
    return s;
}

static struct hearth_stmt *parse_output(struct parser *p)
{
    struct hearth_stmt *s = new_stmt(p, HEARTH_STMT_OUTPUT);
    next(p);
    struct hearth_expr *value = parse_bare(p, true);
    need_close(p, HEARTH_LEX_OUTPUT_CLOSE);
    if (s)
        s->value = value;
    return s;
}

static bool is_end(const struct parser *p, const char *const *ends)
{
    for (; *ends; ends++) {
        if (is_word(p->ahead, *ends))
            return true;
    }
    return false;
}

/* Statements up to a tag that begins with one of the words, which is then the current token; or to the end of the template where
 * there are no words. */
static struct hearth_stmt *parse_body(struct parser *p, const char *const *ends)
{
    struct hearth_stmt *first = NULL;
    struct hearth_stmt **end = &first;
    if (!enter(p))
        return NULL;
    while (p->token.kind != HEARTH_LEX_END && !(p->token.kind == HEARTH_LEX_STATEMENT && is_end(p, ends))) {
        struct hearth_stmt *s = NULL;
        if (p->token.kind == HEARTH_LEX_TEXT) {
            s = parse_text(p);
        } else if (p->token.kind == HEARTH_LEX_OUTPUT) {
            s = parse_output(p);
        } else {
            next(p);
            s = parse_statement(p);
        }
        if (!s)
            break;
        *end = s;
        end = &s->next;
    }
    p->nesting--;
    if (*ends) {
        while (ends[1])
            ends++;
        if (p->token.kind == HEARTH_LEX_END)
            fail(p, *ends);
        next(p);
    }
    return first;
}

struct hearth_stmt *hearth_parser_read(struct hearth_workspace *w, const char *source, size_t n)
{
    static const char *const none[] = {NULL};
    struct parser p = {.w = w};
    hearth_lexer_init(&p.lexer, w, source, n);
    next(&p);
    next(&p);
    struct hearth_stmt *first = parse_body(&p, none);
    return w->status == HEARTH_OK ? first : NULL;
}
