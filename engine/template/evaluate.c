/* A tree walker. Variables live in scopes that are chained as Jinja chains them: one for the template, one for each loop, emptied
 * before every round, and one for each call of a macro, whose parent is the scope the macro was defined in. */
#include "template/evaluate.h"
#include "common/status.h"
#include "template/operate.h"
#include "template/parser.h"

struct variable {
    struct hearth_name name;
    struct hearth_value value;
};

struct scope {
    struct scope *parent;
    struct variable *variables;
    size_t n, capacity;
};

struct hearth_macro {
    const struct hearth_stmt *stmt;
    struct scope *scope; /* where it was defined */
};

struct hearth_loop {
    struct hearth_list items;
    size_t index;
};

enum flow { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE };

struct evaluation {
    struct hearth_workspace *w;
    struct scope *scope;
    struct hearth_builder *out;
    enum flow flow; /* what the last statement wants the loop around it to do */
    struct hearth_name loop_name;
};

static struct hearth_value evaluate(struct evaluation *e, const struct hearth_expr *x);
static void run(struct evaluation *e, const struct hearth_stmt *body);

/* E_TEMPLATE with a name of the template in it. */
static struct hearth_value fail(struct evaluation *e, struct hearth_str name, const char *what)
{
    char quoted[HEARTH_QUOTE_MAX];
    hearth_workspace_fail(e->w, HEARTH_E_FORMAT, "E_TEMPLATE", "'%s' %s", hearth_quote(quoted, name.bytes, name.n), what);
    return HEARTH_UNDEFINED;
}

/* ---- Variables -------------------------------------------------------------------------------------------------------- */

static struct variable *find_in(struct evaluation *e, const struct scope *scope, struct hearth_name name)
{
    if (!hearth_workspace_charge(e->w, scope->n / 16)) /* scopes are small; a large one is paid for */
        return NULL;
    for (size_t i = 0; i < scope->n; i++) {
        struct variable *v = &scope->variables[i];
        if (v->name.hash == name.hash && hearth_str_equal(v->name.text, name.text))
            return v;
    }
    return NULL;
}

static const struct variable *find(struct evaluation *e, struct hearth_name name)
{
    for (const struct scope *scope = e->scope; scope; scope = scope->parent) {
        const struct variable *v = find_in(e, scope, name);
        if (v)
            return v;
    }
    return NULL;
}

static void assign(struct evaluation *e, struct hearth_name name, struct hearth_value value)
{
    struct scope *scope = e->scope;
    struct variable *old = find_in(e, scope, name);
    if (old) {
        old->value = value;
        return;
    }
    if (scope->n == scope->capacity) {
        const size_t capacity = scope->n ? 2 * scope->n : 8; /* the workspace ends long before this overflows */
        struct variable *more = hearth_workspace_take(e->w, capacity, sizeof *more);
        if (!more)
            return;
        if (scope->n)
            memcpy(more, scope->variables, scope->n * sizeof *more);
        scope->variables = more;
        scope->capacity = capacity;
    }
    scope->variables[scope->n++] = (struct variable){name, value};
}

static struct hearth_value variable(struct evaluation *e, struct hearth_name name)
{
    const struct variable *v = find(e, name);
    if (v)
        return v->value;
    const struct hearth_builtin *function = hearth_function_find(name.text);
    return function ? (struct hearth_value){.type = HEARTH_VALUE_FUNCTION, .function = function} : HEARTH_UNDEFINED;
}

static void assign_target(struct evaluation *e, const struct hearth_target *target, struct hearth_value value)
{
    if (target->attribute.n == 0) {
        assign(e, target->name, value);
        return;
    }
    const struct hearth_value owner = variable(e, target->name);
    if (owner.type == HEARTH_VALUE_NAMESPACE)
        hearth_value_set(e->w, owner, hearth_value_str(target->attribute), value);
    else
        (void)fail(e, target->name.text, "is no namespace, and its attributes cannot be set");
}

/* One target takes the value, several take its elements. */
static void assign_targets(struct evaluation *e, const struct hearth_target *targets, struct hearth_value value)
{
    struct hearth_list items;
    if (!targets->next) {
        assign_target(e, targets, value);
        return;
    }
    if (!hearth_value_items(e->w, value, &items))
        return;
    size_t i = 0;
    for (; targets && i < items.n; targets = targets->next)
        assign_target(e, targets, items.items[i++]);
    if (targets || i < items.n)
        hearth_workspace_fail(e->w, HEARTH_E_FORMAT, "E_TEMPLATE", "assignment: %zu elements for another number of names", items.n);
}

/* ---- Calls ------------------------------------------------------------------------------------------------------------- */

static bool evaluate_arguments(struct evaluation *e, const struct hearth_argument_list *list, struct hearth_arguments *out)
{
    *out = (struct hearth_arguments){0};
    out->positional = hearth_workspace_take(e->w, list->n_positional, sizeof *out->positional);
    out->named = hearth_workspace_take(e->w, list->n_named, sizeof *out->named);
    for (const struct hearth_argument *a = list->first; a && e->w->status == HEARTH_OK; a = a->next) {
        const struct hearth_value value = evaluate(e, a->value);
        if (a->name.n == 0)
            out->positional[out->n_positional++] = value;
        else
            out->named[out->n_named++] = (struct hearth_named_value){a->name, value};
    }
    return e->w->status == HEARTH_OK;
}

/* Run the body with its output going into one string. */
static struct hearth_value capture(struct evaluation *e, const struct hearth_stmt *body)
{
    struct hearth_builder text = {0};
    struct hearth_builder *out = e->out;
    e->out = &text;
    run(e, body);
    e->out = out;
    return hearth_value_str(hearth_builder_finish(e->w, &text));
}

static const struct hearth_value *named_argument(struct hearth_workspace *w, const struct hearth_arguments *given,
                                                 struct hearth_str name, size_t *n_used)
{
    if (!hearth_workspace_charge(w, given->n_named / 16))
        return NULL;
    for (size_t i = 0; i < given->n_named; i++) {
        if (hearth_str_equal(given->named[i].name, name)) {
            ++*n_used;
            return &given->named[i].value;
        }
    }
    return NULL;
}

static void bind_parameters(struct evaluation *e, const struct hearth_stmt *macro, const struct hearth_arguments *given)
{
    size_t at = 0;
    size_t n_named = 0;
    for (const struct hearth_parameter *p = macro->parameters; p && hearth_workspace_charge(e->w, 1); p = p->next) {
        const struct hearth_value *named = named_argument(e->w, given, p->name.text, &n_named);
        if (at < given->n_positional)
            assign(e, p->name, given->positional[at++]);
        else if (named)
            assign(e, p->name, *named);
        else
            assign(e, p->name, p->otherwise ? evaluate(e, p->otherwise) : HEARTH_UNDEFINED);
    }
    if (at < given->n_positional || n_named < given->n_named)
        (void)fail(e, macro->name.text, "has no parameter for one of its arguments");
}

static struct hearth_value call_macro(struct evaluation *e, const struct hearth_macro *macro, const struct hearth_arguments *given)
{
    struct scope *const caller = e->scope;
    struct scope *scope = hearth_workspace_take(e->w, 1, sizeof *scope);
    if (!scope)
        return HEARTH_UNDEFINED;
    *scope = (struct scope){.parent = macro->scope};
    e->scope = scope;
    bind_parameters(e, macro->stmt, given);
    const struct hearth_value out = capture(e, macro->stmt->body);
    e->scope = caller;
    return out;
}

static struct hearth_value call_value(struct evaluation *e, struct hearth_value callee, const struct hearth_arguments *given)
{
    if (callee.type == HEARTH_VALUE_MACRO)
        return call_macro(e, callee.macro, given);
    if (callee.type == HEARTH_VALUE_FUNCTION)
        return hearth_builtin_run(e->w, callee.function, "function", hearth_str_of(callee.function->name), HEARTH_UNDEFINED, given);
    hearth_workspace_fail(e->w, HEARTH_E_FORMAT, "E_TEMPLATE", "a call of a %s", hearth_value_type_name(callee.type));
    return HEARTH_UNDEFINED;
}

/* owner.name(...): a macro kept in a namespace or map, else a method. */
static struct hearth_value call_method(struct evaluation *e, struct hearth_value owner, struct hearth_str name,
                                       const struct hearth_link *call)
{
    struct hearth_arguments given;
    if (!evaluate_arguments(e, &call->arguments, &given))
        return HEARTH_UNDEFINED;
    if (hearth_value_is_mapping(owner)) {
        const struct hearth_pair *pair = hearth_map_find(e->w, owner.map, hearth_value_str(name));
        if (pair && (pair->value.type == HEARTH_VALUE_MACRO || pair->value.type == HEARTH_VALUE_FUNCTION))
            return call_value(e, pair->value, &given);
    }
    const struct hearth_builtin *method = hearth_method_find(owner.type, name);
    return hearth_builtin_run(e->w, method, hearth_value_type_name(owner.type), name, owner, &given);
}

/* ---- Expressions ------------------------------------------------------------------------------------------------------- */

static struct hearth_value loop_attribute(const struct hearth_loop *loop, struct hearth_str name)
{
    const int64_t at = (int64_t)loop->index;
    const int64_t n = (int64_t)loop->items.n;
    if (hearth_str_is(name, "index"))
        return hearth_value_int(at + 1);
    if (hearth_str_is(name, "index0"))
        return hearth_value_int(at);
    if (hearth_str_is(name, "first"))
        return hearth_value_bool(at == 0);
    if (hearth_str_is(name, "last"))
        return hearth_value_bool(at == n - 1);
    if (hearth_str_is(name, "length"))
        return hearth_value_int(n);
    if (hearth_str_is(name, "revindex"))
        return hearth_value_int(n - at);
    if (hearth_str_is(name, "revindex0"))
        return hearth_value_int(n - at - 1);
    if (hearth_str_is(name, "previtem") && at > 0)
        return loop->items.items[at - 1];
    if (hearth_str_is(name, "nextitem") && at + 1 < n)
        return loop->items.items[at + 1];
    return HEARTH_UNDEFINED;
}

static struct hearth_value attribute(struct evaluation *e, struct hearth_value owner, struct hearth_str name)
{
    if (owner.type == HEARTH_VALUE_LOOP)
        return loop_attribute(owner.loop, name);
    return hearth_value_at(e->w, owner, hearth_value_str(name));
}

static struct hearth_value bound(struct evaluation *e, const struct hearth_expr *x)
{
    return x ? evaluate(e, x) : HEARTH_UNDEFINED;
}

static struct hearth_value slice(struct evaluation *e, struct hearth_value of, const struct hearth_link *link)
{
    const struct hearth_value begin = bound(e, link->bounds[0]);
    const struct hearth_value end = bound(e, link->bounds[1]);
    return hearth_value_slice(e->w, of, begin, end, bound(e, link->bounds[2]));
}

static struct hearth_value filter_or_test(struct evaluation *e, struct hearth_value self, const struct hearth_link *link)
{
    struct hearth_arguments given;
    const bool filter = link->op == HEARTH_OP_FILTER;
    if (!evaluate_arguments(e, &link->arguments, &given))
        return HEARTH_UNDEFINED;
    const struct hearth_value out = hearth_builtin_run(e->w, link->builtin, filter ? "filter" : "test", link->name, self, &given);
    return filter ? out : hearth_value_bool(hearth_value_truth(out) != link->negated);
}

static struct hearth_value suffix(struct evaluation *e, struct hearth_value value, const struct hearth_link *link)
{
    struct hearth_arguments given;
    switch (link->op) {
    case HEARTH_OP_ATTRIBUTE:
        return attribute(e, value, link->name);
    case HEARTH_OP_INDEX:
        return hearth_value_at(e->w, value, evaluate(e, link->operand));
    case HEARTH_OP_SLICE:
        return slice(e, value, link);
    case HEARTH_OP_CALL:
        return evaluate_arguments(e, &link->arguments, &given) ? call_value(e, value, &given) : HEARTH_UNDEFINED;
    default:
        return filter_or_test(e, value, link);
    }
}

static struct hearth_value evaluate_suffixes(struct evaluation *e, const struct hearth_expr *x)
{
    struct hearth_value value = evaluate(e, x->first);
    if (value.type == HEARTH_VALUE_UNDEFINED && x->links->op == HEARTH_OP_CALL && x->first->kind == HEARTH_EXPR_NAME)
        return fail(e, x->first->name.text, "is not defined, and cannot be called");
    for (const struct hearth_link *link = x->links; link && hearth_workspace_charge(e->w, 1); link = link->next) {
        e->w->line = link->line;
        if (link->op == HEARTH_OP_ATTRIBUTE && link->next && link->next->op == HEARTH_OP_CALL) {
            value = call_method(e, value, link->name, link->next);
            link = link->next;
        } else {
            value = suffix(e, value, link);
        }
    }
    return value;
}

/* Strings that follow each other are joined once, not pair by pair. */
static struct hearth_value evaluate_arithmetic(struct evaluation *e, const struct hearth_expr *x)
{
    struct hearth_builder text = {0};
    struct hearth_value left = evaluate(e, x->first);
    bool joining = false;
    for (const struct hearth_link *link = x->links; link && e->w->status == HEARTH_OK; link = link->next) {
        const struct hearth_value right = evaluate(e, link->operand);
        e->w->line = link->line;
        if ((link->op == HEARTH_OP_ADD || link->op == HEARTH_OP_CONCATENATE) && left.type == HEARTH_VALUE_STR &&
            right.type == HEARTH_VALUE_STR) {
            if (!joining)
                hearth_builder_add(e->w, &text, left.str);
            hearth_builder_add(e->w, &text, right.str);
            joining = true;
            continue;
        }
        if (joining)
            left = hearth_value_str(hearth_builder_finish(e->w, &text));
        joining = false;
        text = (struct hearth_builder){0};
        left = hearth_operate(e->w, link->op, left, right);
    }
    return joining ? hearth_value_str(hearth_builder_finish(e->w, &text)) : left;
}

static struct hearth_value evaluate_comparison(struct evaluation *e, const struct hearth_expr *x)
{
    struct hearth_value left = evaluate(e, x->first);
    bool holds = true;
    for (const struct hearth_link *link = x->links; link && holds; link = link->next) {
        const struct hearth_value right = evaluate(e, link->operand);
        e->w->line = link->line;
        holds = hearth_operate_compare(e->w, link->op, left, right) && e->w->status == HEARTH_OK;
        left = right;
    }
    return hearth_value_bool(holds);
}

/* The operand that decides. */
static struct hearth_value evaluate_logic(struct evaluation *e, const struct hearth_expr *x)
{
    struct hearth_value value = evaluate(e, x->first);
    for (const struct hearth_link *link = x->links; link && hearth_value_truth(value) == (x->kind == HEARTH_EXPR_AND);
         link = link->next)
        value = evaluate(e, link->operand);
    return value;
}

static struct hearth_value evaluate_items(struct evaluation *e, const struct hearth_expr *x)
{
    const struct hearth_value out = hearth_value_new(e->w, x->kind == HEARTH_EXPR_LIST ? HEARTH_VALUE_LIST : HEARTH_VALUE_TUPLE);
    for (const struct hearth_expr *item = x->items; item && e->w->status == HEARTH_OK; item = item->next)
        hearth_value_append(e->w, out, evaluate(e, item));
    return out;
}

static struct hearth_value evaluate_map(struct evaluation *e, const struct hearth_expr *x)
{
    const struct hearth_value out = hearth_value_new(e->w, HEARTH_VALUE_MAP);
    for (const struct hearth_expr *item = x->items; item && e->w->status == HEARTH_OK; item = item->next->next) {
        const struct hearth_value key = evaluate(e, item);
        hearth_value_set(e->w, out, key, evaluate(e, item->next));
    }
    return out;
}

static struct hearth_value evaluate_conditional(struct evaluation *e, const struct hearth_expr *x)
{
    const struct hearth_expr *then = x->items->next;
    if (hearth_value_truth(evaluate(e, x->items)))
        return evaluate(e, then);
    return then->next ? evaluate(e, then->next) : HEARTH_UNDEFINED;
}

static struct hearth_value evaluate_entered(struct evaluation *e, const struct hearth_expr *x)
{
    switch (x->kind) {
    case HEARTH_EXPR_LITERAL:
        return x->literal;
    case HEARTH_EXPR_NAME:
        return variable(e, x->name);
    case HEARTH_EXPR_LIST:
    case HEARTH_EXPR_TUPLE:
        return evaluate_items(e, x);
    case HEARTH_EXPR_MAP:
        return evaluate_map(e, x);
    case HEARTH_EXPR_CONDITIONAL:
        return evaluate_conditional(e, x);
    case HEARTH_EXPR_NOT:
        return hearth_value_bool(!hearth_value_truth(evaluate(e, x->first)));
    case HEARTH_EXPR_NEGATE:
        return hearth_operate_negate(e->w, evaluate(e, x->first));
    case HEARTH_EXPR_PLUS:
        return hearth_operate(e->w, HEARTH_OP_ADD, hearth_value_int(0), evaluate(e, x->first));
    case HEARTH_EXPR_OR:
    case HEARTH_EXPR_AND:
        return evaluate_logic(e, x);
    case HEARTH_EXPR_COMPARE:
        return evaluate_comparison(e, x);
    case HEARTH_EXPR_ARITHMETIC:
        return evaluate_arithmetic(e, x);
    default:
        return evaluate_suffixes(e, x);
    }
}

static struct hearth_value evaluate(struct evaluation *e, const struct hearth_expr *x)
{
    e->w->line = x->line;
    if (!hearth_workspace_enter(e->w))
        return HEARTH_UNDEFINED;
    const struct hearth_value value = evaluate_entered(e, x);
    hearth_workspace_leave(e->w);
    return e->w->status == HEARTH_OK ? value : HEARTH_UNDEFINED;
}

/* ---- Statements -------------------------------------------------------------------------------------------------------- */

static void show(struct evaluation *e, struct hearth_str text)
{
    hearth_builder_add(e->w, e->out, text);
    if (e->out->n > HEARTH_TEMPLATE_OUTPUT_MAX)
        hearth_workspace_fail(e->w, HEARTH_E_UNSUPPORTED, "E_LIMIT", "output: more than %zu bytes", HEARTH_TEMPLATE_OUTPUT_MAX);
}

static struct hearth_value filtered(struct evaluation *e, struct hearth_value value, const struct hearth_link *filters)
{
    for (; filters && e->w->status == HEARTH_OK; filters = filters->next)
        value = filter_or_test(e, value, filters);
    return value;
}

static void run_if(struct evaluation *e, const struct hearth_stmt *s)
{
    for (const struct hearth_branch *branch = s->branches; branch && e->w->status == HEARTH_OK; branch = branch->next) {
        if (!branch->condition || hearth_value_truth(evaluate(e, branch->condition))) {
            run(e, branch->body);
            return;
        }
    }
}

/* The items whose condition holds, each tried with the loop's names bound to it. */
static void keep_wanted(struct evaluation *e, const struct hearth_stmt *s, struct hearth_list *items)
{
    struct hearth_list wanted = {.items = hearth_workspace_take(e->w, items->n, sizeof *wanted.items)};
    for (size_t i = 0; i < items->n && hearth_workspace_charge(e->w, 1); i++) {
        e->scope->n = 0;
        assign_targets(e, s->targets, items->items[i]);
        if (hearth_value_truth(evaluate(e, s->condition)))
            wanted.items[wanted.n++] = items->items[i];
    }
    *items = wanted;
}

static void run_rounds(struct evaluation *e, const struct hearth_stmt *s, struct hearth_loop *loop)
{
    for (; loop->index < loop->items.n && hearth_workspace_charge(e->w, 1); loop->index++) {
        e->scope->n = 0;
        assign(e, e->loop_name, (struct hearth_value){.type = HEARTH_VALUE_LOOP, .loop = loop});
        assign_targets(e, s->targets, loop->items.items[loop->index]);
        run(e, s->body);
        const bool breaks = e->flow == FLOW_BREAK;
        e->flow = FLOW_ON;
        if (breaks)
            break;
    }
}

static void run_for(struct evaluation *e, const struct hearth_stmt *s)
{
    struct scope *const around = e->scope;
    struct scope *scope = hearth_workspace_take(e->w, 1, sizeof *scope);
    struct hearth_loop *loop = hearth_workspace_take(e->w, 1, sizeof *loop);
    if (!scope || !loop)
        return;
    *scope = (struct scope){.parent = around};
    *loop = (struct hearth_loop){0};
    if (!hearth_value_items(e->w, evaluate(e, s->value), &loop->items))
        return;
    e->scope = scope;
    if (s->condition)
        keep_wanted(e, s, &loop->items);
    const bool any = loop->items.n > 0;
    run_rounds(e, s, loop);
    e->scope = around;
    if (!any)
        run(e, s->otherwise);
}

static void define_macro(struct evaluation *e, const struct hearth_stmt *s)
{
    struct hearth_macro *macro = hearth_workspace_take(e->w, 1, sizeof *macro);
    if (!macro)
        return;
    *macro = (struct hearth_macro){s, e->scope};
    assign(e, s->name, (struct hearth_value){.type = HEARTH_VALUE_MACRO, .macro = macro});
}

static void run_stmt(struct evaluation *e, const struct hearth_stmt *s)
{
    switch (s->kind) {
    case HEARTH_STMT_TEXT:
        show(e, s->text);
        break;
    case HEARTH_STMT_OUTPUT:
        show(e, hearth_value_to_str(e->w, evaluate(e, s->value)));
        break;
    case HEARTH_STMT_IF:
        run_if(e, s);
        break;
    case HEARTH_STMT_FOR:
        run_for(e, s);
        break;
    case HEARTH_STMT_SET:
        assign_targets(e, s->targets, evaluate(e, s->value));
        break;
    case HEARTH_STMT_CAPTURE:
        assign_targets(e, s->targets, filtered(e, capture(e, s->body), s->filters));
        break;
    case HEARTH_STMT_MACRO:
        define_macro(e, s);
        break;
    case HEARTH_STMT_FILTER:
        if (s->filters)
            show(e, hearth_value_to_str(e->w, filtered(e, capture(e, s->body), s->filters)));
        else
            run(e, s->body);
        break;
    case HEARTH_STMT_BREAK:
        e->flow = FLOW_BREAK;
        break;
    case HEARTH_STMT_CONTINUE:
        e->flow = FLOW_CONTINUE;
        break;
    }
}

static void run(struct evaluation *e, const struct hearth_stmt *body)
{
    for (const struct hearth_stmt *s = body; s && e->flow == FLOW_ON; s = s->next) {
        e->w->line = s->line;
        if (!hearth_workspace_enter(e->w))
            return;
        run_stmt(e, s);
        hearth_workspace_leave(e->w);
    }
}

void hearth_evaluate(struct hearth_workspace *w, const struct hearth_stmt *body, struct hearth_value variables,
                     struct hearth_builder *out)
{
    struct scope globals = {0};
    struct evaluation e = {.w = w, .scope = &globals, .out = out, .loop_name = hearth_parser_name(HEARTH_STR("loop"))};
    for (size_t i = 0; variables.type == HEARTH_VALUE_MAP && i < variables.map->n; i++) {
        const struct hearth_pair *pair = &variables.map->pairs[i];
        if (pair->key.type == HEARTH_VALUE_STR)
            assign(&e, hearth_parser_name(pair->key.str), pair->value);
    }
    run(&e, body);
}
