/* From the text of a grammar to its program, in one pass.
 *
 * Every rule is a stretch of operations that ends in RETURN. An alternative is put behind a SPLIT when its '|' is met, a repetition
 * around an item when its sign is met: both move only what was just written, whose jumps are relative. An item of more than one
 * operation that is repeated a counted number of times becomes a rule of its own, so that a copy costs one operation, and
 * repetitions inside repetitions add instead of multiplying. Those rules are written from the end of the program downwards.
 *
 * A class of characters becomes the byte sequences that spell it in UTF-8, so the matcher knows bytes only, and a token may end
 * inside a character. */
#include "common/status.h"
#include "grammar.h"
#include "utf8.h"

#define NONE UINT32_MAX
#define RANGES_MAX 512u /* of one class */
#define SLOTS (2 * HEARTH_GRAMMAR_RULES_MAX)
#define CODE_MAX 0x10ffffu

struct rule {
    const uint8_t *name; /* in the text; NULL for a repeated item */
    uint32_t name_bytes;
    uint32_t line;       /* of the definition; before it is met, of the first use */
    uint32_t start, end; /* place in the program; start NONE: not defined yet */
    uint32_t waiting;    /* first CALL that goes on if this rule can be empty */
    uint32_t next_op;    /* of the search for left recursion: where it stands; NONE: done */
    bool nullable, entered;
};

struct range {
    uint32_t low, high; /* code points */
};

struct parse {
    struct hearth_grammar *grammar;
    const uint8_t *at, *end;
    uint32_t line, nesting;
    uint32_t low, high; /* free operations: [low, high) */
    uint32_t n_rules, n_ranges;
    hearth_error *err;
    uint32_t slots[SLOTS]; /* hash of the names: rule + 1, 0 is free */
    struct rule rules[HEARTH_GRAMMAR_RULES_MAX];
    struct range ranges[RANGES_MAX];
    uint32_t queue[HEARTH_GRAMMAR_OPS_MAX];   /* operations reached without reading a byte; the path of the search */
    uint32_t waiting[HEARTH_GRAMMAR_OPS_MAX]; /* next CALL of the same rule */
    uint8_t reached[HEARTH_GRAMMAR_OPS_MAX];
};

size_t hearth_grammar_scratch_bytes(void)
{
    return sizeof(struct parse);
}

static hearth_status fail_at(struct parse *p, uint32_t line, const char *what)
{
    return hearth_fail(p->err, HEARTH_E_CONFIG, "E_GRAMMAR", "grammar: line %" PRIu32 ": %s", line, what);
}

static hearth_status fail(struct parse *p, const char *what)
{
    return fail_at(p, p->line, what);
}

static hearth_status fail_rule(struct parse *p, const struct rule *rule, const char *what)
{
    char quoted[HEARTH_QUOTE_MAX];
    return hearth_fail(p->err, HEARTH_E_CONFIG, "E_GRAMMAR", "grammar: line %" PRIu32 ": rule '%s' %s", rule->line,
                       hearth_quote(quoted, rule->name, rule->name_bytes), what);
}

static hearth_status unexpected(struct parse *p, const char *need)
{
    char quoted[HEARTH_QUOTE_MAX];
    if (p->at == p->end)
        return hearth_fail(p->err, HEARTH_E_CONFIG, "E_GRAMMAR", "grammar: line %" PRIu32 ": the text ends (need %s)", p->line,
                           need);
    return hearth_fail(p->err, HEARTH_E_CONFIG, "E_GRAMMAR", "grammar: line %" PRIu32 ": got '%s', need %s", p->line,
                       hearth_quote(quoted, p->at, 1), need);
}

/* ---- Characters ------------------------------------------------------------------------------------------------------ */

/* The next byte, or -1 at the end. */
static int peek(const struct parse *p)
{
    return p->at < p->end ? *p->at : -1;
}

static void skip(struct parse *p, bool over_lines)
{
    for (; p->at < p->end; p->at++) {
        if (*p->at == '#')
            while (p->at + 1 < p->end && p->at[1] != '\n')
                p->at++;
        else if (*p->at == '\n' && over_lines)
            p->line++;
        else if (*p->at != ' ' && *p->at != '\t' && *p->at != '\r')
            break;
    }
}

static bool is_name(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
}

static int hex_value(int c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static hearth_status take_hex(struct parse *p, int digits, uint32_t *code)
{
    *code = 0;
    for (int i = 0; i < digits; i++, p->at++) {
        const int value = hex_value(peek(p));
        if (value < 0)
            return unexpected(p, "a hexadecimal digit");
        *code = *code << 4 | (uint32_t)value;
    }
    if (*code > CODE_MAX || (*code >= 0xd800 && *code < 0xe000))
        return fail(p, "an escape stands for no character");
    return HEARTH_OK;
}

static hearth_status take_escape(struct parse *p, uint32_t *code)
{
    const int c = peek(p);
    static const char plain[] = "\\\"[]", from[] = "nrt", to[] = "\n\r\t";
    const char *control = c > 0 ? strchr(from, c) : NULL;
    if (c != 'x' && c != 'u' && c != 'U' && !control && !(c > 0 && strchr(plain, c)))
        return unexpected(p, "n, r, t, \\, \", [, ], xHH, uHHHH or UHHHHHHHH behind \\");
    p->at++;
    if (c == 'x' || c == 'u' || c == 'U')
        return take_hex(p, c == 'x' ? 2 : c == 'u' ? 4 : 8, code);
    *code = control ? (uint32_t)to[control - from] : (uint32_t)c;
    return HEARTH_OK;
}

/* One character of a literal or a class, escapes resolved. */
static hearth_status take_code(struct parse *p, uint32_t *code)
{
    if (p->at == p->end || *p->at == '\n')
        return fail(p, "a literal or class has no end on its line");
    if (*p->at == '\\') {
        p->at++;
        return take_escape(p, code);
    }
    size_t need;
    const size_t have = hearth_utf8_take(p->at, (size_t)(p->end - p->at), &need);
    if (have != need)
        return fail(p, "the text is not UTF-8");
    *code = need == 1 ? *p->at : *p->at & (0xffu >> (need + 1));
    for (size_t i = 1; i < need; i++)
        *code = *code << 6 | (p->at[i] & 0x3fu);
    p->at += need;
    return HEARTH_OK;
}

/* ---- Writing --------------------------------------------------------------------------------------------------------- */

static hearth_status emit(struct parse *p, struct hearth_grammar_op op)
{
    if (p->low == p->high)
        return fail(p, "the grammar is too large");
    p->grammar->ops[p->low++] = op;
    return HEARTH_OK;
}

/* Put an operation before the ones from `at` on. */
static hearth_status insert(struct parse *p, uint32_t at, struct hearth_grammar_op op)
{
    struct hearth_grammar_op *ops = p->grammar->ops;
    HEARTH_TRY(emit(p, op));
    memmove(ops + at + 1, ops + at, (p->low - 1 - at) * sizeof *ops);
    ops[at] = op;
    return HEARTH_OK;
}

static struct hearth_grammar_op op_of(enum hearth_grammar_kind kind, int64_t target)
{
    return (struct hearth_grammar_op){.kind = (uint8_t)kind, .target = (int32_t)target}; /* both below 2^17 */
}

/* What was written from `begin` on is one of several alternatives, and another follows. `jumps` chains their ends. */
static hearth_status close_alternative(struct parse *p, uint32_t begin, uint32_t *jumps)
{
    HEARTH_TRY(insert(p, begin, op_of(HEARTH_GRAMMAR_SPLIT, (int64_t)p->low + 2 - begin)));
    const uint32_t before = *jumps;
    *jumps = p->low;
    return emit(p, op_of(HEARTH_GRAMMAR_JUMP, before == NONE ? -1 : (int64_t)before));
}

static void join_alternatives(struct parse *p, uint32_t jumps)
{
    while (jumps != NONE) {
        struct hearth_grammar_op *jump = &p->grammar->ops[jumps];
        const uint32_t before = jump->target < 0 ? NONE : (uint32_t)jump->target;
        jump->target = (int32_t)(p->low - jumps);
        jumps = before;
    }
}

static size_t encode(uint32_t code, uint8_t out[4])
{
    if (code < 0x80) {
        out[0] = (uint8_t)code;
        return 1;
    }
    const size_t n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = n; i-- > 1; code >>= 6)
        out[i] = (uint8_t)(0x80 | (code & 0x3f));
    out[0] = (uint8_t)((0xf00u >> n & 0xf0) | code);
    return n;
}

/* Bytes of equal length, each in its own range: spells exactly the code points low … high. */
static hearth_status emit_spelling(struct parse *p, uint32_t low, uint32_t high)
{
    uint8_t from[4], to[4];
    const size_t n = encode(low, from);
    (void)encode(high, to);
    for (size_t i = 0; i < n; i++)
        HEARTH_TRY(emit(p, (struct hearth_grammar_op){.kind = HEARTH_GRAMMAR_RANGE, .low = from[i], .high = to[i]}));
    return HEARTH_OK;
}

/* The end of the longest beginning of low … high whose spellings are a product of byte ranges. */
static uint32_t spelling_end(uint32_t low, uint32_t high)
{
    static const uint32_t last_of_length[] = {0x7f, 0x7ff, 0xffff};
    for (int i = 0; i < 3; i++)
        if (low <= last_of_length[i] && high > last_of_length[i])
            high = last_of_length[i];
    if (high < 0x80)
        return high;
    for (uint32_t bits = 6; bits <= 18; bits += 6) {
        const uint32_t mask = (1u << bits) - 1;
        if ((low & ~mask) == (high & ~mask))
            break; /* they differ in the last bytes only, which are whole ranges below */
        if (low & mask)
            return low | mask;
        if ((high & mask) != mask)
            high = (high & ~mask) - 1;
    }
    return high;
}

/* Sort and unite the ranges gathered; with `negated` take their complement. Characters are all code points but surrogates. */
static hearth_status finish_ranges(struct parse *p, bool negated)
{
    struct range *r = p->ranges;
    for (uint32_t i = 1; i < p->n_ranges; i++) { /* at most RANGES_MAX, and mostly in order */
        const struct range range = r[i];
        uint32_t j = i;
        for (; j > 0 && r[j - 1].low > range.low; j--)
            r[j] = r[j - 1];
        r[j] = range;
    }
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->n_ranges; i++) {
        if (n > 0 && r[i].low <= r[n - 1].high + 1)
            r[n - 1].high = r[i].high > r[n - 1].high ? r[i].high : r[n - 1].high;
        else
            r[n++] = r[i];
    }
    if (negated) {
        uint32_t from = 0, kept = 0;
        for (uint32_t i = 0; i < n; i++) {
            const struct range range = r[i];
            if (range.low > from)
                r[kept++] = (struct range){from, range.low - 1};
            from = range.high + 1;
        }
        if (from <= CODE_MAX)
            r[kept++] = (struct range){from, CODE_MAX};
        n = kept; /* at most n + 1; there is room for it */
    }
    p->n_ranges = n;
    return n > 0 ? HEARTH_OK : fail(p, "a class matches no character");
}

static hearth_status emit_range(struct parse *p, uint32_t low, uint32_t high, uint32_t *begin, uint32_t *jumps)
{
    while (low <= high) {
        if (*begin != NONE)
            HEARTH_TRY(close_alternative(p, *begin, jumps));
        *begin = p->low;
        const uint32_t end = spelling_end(low, high);
        HEARTH_TRY(emit_spelling(p, low, end));
        low = end + 1;
    }
    return HEARTH_OK;
}

static hearth_status emit_class(struct parse *p, bool negated)
{
    uint32_t begin = NONE, jumps = NONE;
    HEARTH_TRY(finish_ranges(p, negated));
    for (uint32_t i = 0; i < p->n_ranges; i++) {
        const struct range r = p->ranges[i];
        HEARTH_TRY(emit_range(p, r.low, r.high < 0xd7ff ? r.high : 0xd7ff, &begin, &jumps));
        HEARTH_TRY(emit_range(p, r.low > 0xe000 ? r.low : 0xe000, r.high, &begin, &jumps));
    }
    join_alternatives(p, jumps);
    return begin != NONE ? HEARTH_OK : fail(p, "a class matches no character");
}

/* ---- Rules ----------------------------------------------------------------------------------------------------------- */

static hearth_status add_rule(struct parse *p, uint32_t *out)
{
    if (p->n_rules == HEARTH_GRAMMAR_RULES_MAX)
        return fail(p, "the grammar has too many rules");
    *out = p->n_rules++;
    p->rules[*out] = (struct rule){.line = p->line, .start = NONE, .waiting = NONE};
    return HEARTH_OK;
}

static hearth_status take_name(struct parse *p, uint32_t *out)
{
    const uint8_t *name = p->at;
    uint64_t hash = 0;
    for (; is_name(peek(p)); p->at++)
        hash = (hash ^ *p->at) * 0x9E3779B97F4A7C15u;
    const uint32_t n = (uint32_t)(p->at - name);
    if (n == 0)
        return unexpected(p, "the name of a rule");
    uint32_t *slot;
    for (uint32_t i = (uint32_t)(hash >> 40) % SLOTS;; i = (i + 1) % SLOTS) {
        slot = &p->slots[i];
        const struct rule *rule = *slot ? &p->rules[*slot - 1] : NULL;
        if (!rule)
            break;
        *out = *slot - 1;
        if (rule->name_bytes == n && memcmp(rule->name, name, n) == 0)
            return HEARTH_OK;
    }
    HEARTH_TRY(add_rule(p, out));
    p->rules[*out].name = name;
    p->rules[*out].name_bytes = n;
    *slot = *out + 1;
    return HEARTH_OK;
}

/* Make what was written from `begin` on a rule of its own, and call it there. */
static hearth_status outline(struct parse *p, uint32_t begin)
{
    struct hearth_grammar_op *ops = p->grammar->ops;
    const uint32_t n = p->low - begin;
    uint32_t rule;
    if (p->high - p->low < n + 1)
        return fail(p, "the grammar is too large");
    HEARTH_TRY(add_rule(p, &rule));
    ops[p->high - 1] = op_of(HEARTH_GRAMMAR_RETURN, 0);
    p->rules[rule].end = p->high;
    p->high -= n + 1;
    p->rules[rule].start = p->high;
    memcpy(ops + p->high, ops + begin, n * sizeof *ops);
    p->low = begin;
    return emit(p, op_of(HEARTH_GRAMMAR_CALL, rule));
}

/* The item written from `begin` on stands there once; it shall stand there `least` to `most` times, NONE without end. */
static hearth_status repeat(struct parse *p, uint32_t begin, uint32_t least, uint32_t most)
{
    const uint32_t n = p->low - begin;
    const uint32_t copies = most == NONE ? least : most;
    if (n == 0 || most == 0) {
        p->low = begin;
        return HEARTH_OK;
    }
    if (copies <= 1) {
        if (least == 1)
            return most == 1 ? HEARTH_OK : emit(p, op_of(HEARTH_GRAMMAR_SPLIT, -(int64_t)n));
        HEARTH_TRY(insert(p, begin, op_of(HEARTH_GRAMMAR_SPLIT, (int64_t)n + (most == 1 ? 1 : 2))));
        return most == 1 ? HEARTH_OK : emit(p, op_of(HEARTH_GRAMMAR_JUMP, -(int64_t)n - 1));
    }
    if (n > 1)
        HEARTH_TRY(outline(p, begin));
    const struct hearth_grammar_op op = p->grammar->ops[begin];
    p->low = begin;
    for (uint32_t i = 0; i < copies; i++) {
        if (i >= least)
            HEARTH_TRY(emit(p, op_of(HEARTH_GRAMMAR_SPLIT, 2 * ((int64_t)most - i))));
        HEARTH_TRY(emit(p, op));
    }
    return most == NONE ? emit(p, op_of(HEARTH_GRAMMAR_SPLIT, -1)) : HEARTH_OK;
}

/* ---- Reading --------------------------------------------------------------------------------------------------------- */

static hearth_status take_alternatives(struct parse *p);

static hearth_status take_literal(struct parse *p)
{
    for (p->at++; peek(p) != '"';) {
        uint32_t code;
        HEARTH_TRY(take_code(p, &code));
        HEARTH_TRY(emit_spelling(p, code, code));
    }
    p->at++;
    return HEARTH_OK;
}

static hearth_status take_class(struct parse *p)
{
    p->at++;
    const bool negated = peek(p) == '^';
    p->at += negated;
    p->n_ranges = 0;
    while (peek(p) != ']') {
        struct range r;
        HEARTH_TRY(take_code(p, &r.low));
        r.high = r.low;
        if (peek(p) == '-' && p->at + 1 < p->end && p->at[1] != ']') {
            p->at++;
            HEARTH_TRY(take_code(p, &r.high));
        }
        if (r.high < r.low)
            return fail(p, "the end of a range is before its beginning");
        if (p->n_ranges + 1 == RANGES_MAX)
            return fail(p, "a class has too many ranges");
        p->ranges[p->n_ranges++] = r;
    }
    p->at++;
    return emit_class(p, negated);
}

static hearth_status take_group(struct parse *p)
{
    if (p->nesting == HEARTH_GRAMMAR_NESTING_MAX)
        return fail(p, "parentheses are nested too deeply");
    p->at++;
    p->nesting++;
    skip(p, true);
    HEARTH_TRY(take_alternatives(p));
    if (peek(p) != ')')
        return unexpected(p, "an item, | or )");
    p->at++;
    p->nesting--;
    return HEARTH_OK;
}

static hearth_status take_item(struct parse *p)
{
    switch (peek(p)) {
    case '"':
        return take_literal(p);
    case '[':
        return take_class(p);
    case '(':
        return take_group(p);
    case '.':
        p->at++;
        p->n_ranges = 0;
        return emit_class(p, true);
    case '<':
    case '!':
        return fail(p, "tokens as items (<...>) are not supported");
    default:
        break;
    }
    uint32_t rule = 0;
    HEARTH_TRY(take_name(p, &rule));
    return emit(p, op_of(HEARTH_GRAMMAR_CALL, rule));
}

static hearth_status take_count(struct parse *p, uint32_t *out)
{
    if (!(peek(p) >= '0' && peek(p) <= '9'))
        return unexpected(p, "a number of repetitions");
    for (*out = 0; peek(p) >= '0' && peek(p) <= '9'; p->at++) {
        *out = *out * 10 + (uint32_t)(*p->at - '0');
        if (*out > HEARTH_GRAMMAR_REPEAT_MAX)
            return fail(p, "too many repetitions (need at most 2000)");
    }
    skip(p, false);
    return HEARTH_OK;
}

static hearth_status take_braces(struct parse *p, uint32_t *least, uint32_t *most)
{
    p->at++;
    skip(p, false);
    HEARTH_TRY(take_count(p, least));
    *most = *least;
    if (peek(p) == ',') {
        p->at++;
        skip(p, false);
        *most = NONE;
        if (peek(p) != '}')
            HEARTH_TRY(take_count(p, most));
    }
    if (peek(p) != '}')
        return unexpected(p, "}");
    p->at++;
    return *most < *least ? fail(p, "the most repetitions are fewer than the least") : HEARTH_OK;
}

static hearth_status take_repetition(struct parse *p, uint32_t begin)
{
    uint32_t least = 0, most = NONE;
    switch (peek(p)) {
    case '+':
        least = 1;
        break;
    case '*':
        break;
    case '?':
        most = 1;
        break;
    case '{':
        HEARTH_TRY(take_braces(p, &least, &most));
        return repeat(p, begin, least, most);
    default:
        return HEARTH_OK;
    }
    p->at++;
    return repeat(p, begin, least, most);
}

static bool begins_item(int c)
{
    return is_name(c) || (c > 0 && strchr("\"[(.<!", c));
}

static hearth_status take_alternatives(struct parse *p)
{
    uint32_t begin = p->low, jumps = NONE;
    for (;;) {
        while (begins_item(peek(p))) {
            const uint32_t item = p->low;
            HEARTH_TRY(take_item(p));
            skip(p, p->nesting > 0);
            HEARTH_TRY(take_repetition(p, item));
            skip(p, p->nesting > 0);
        }
        if (peek(p) != '|')
            break;
        p->at++;
        skip(p, true);
        HEARTH_TRY(close_alternative(p, begin, &jumps));
        begin = p->low;
    }
    join_alternatives(p, jumps);
    return HEARTH_OK;
}

static hearth_status take_rule(struct parse *p)
{
    uint32_t rule;
    HEARTH_TRY(take_name(p, &rule));
    const uint32_t line = p->line, start = p->low;
    skip(p, false);
    if (p->end - p->at < 3 || memcmp(p->at, "::=", 3) != 0)
        return unexpected(p, "::= behind the name of a rule");
    p->at += 3;
    skip(p, true);
    HEARTH_TRY(take_alternatives(p));
    if (peek(p) != '\n' && p->at != p->end)
        return unexpected(p, "an item, | or the end of the line");
    HEARTH_TRY(emit(p, op_of(HEARTH_GRAMMAR_RETURN, 0)));
    p->rules[rule].line = line;
    p->rules[rule].start = start;
    p->rules[rule].end = p->low;
    return HEARTH_OK;
}

/* ---- Left recursion --------------------------------------------------------------------------------------------------- */

static void reach(struct parse *p, uint32_t op, uint32_t *n)
{
    if (p->reached[op])
        return;
    p->reached[op] = 1;
    p->queue[(*n)++] = op;
}

/* Mark every operation that its rule reaches without reading a byte. A CALL waits until its rule is known to be possibly empty;
 * each operation is taken once, so this is linear. */
static void mark_reached(struct parse *p)
{
    const struct hearth_grammar_op *ops = p->grammar->ops;
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->n_rules; i++)
        reach(p, p->rules[i].start, &n);
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t at = p->queue[i];
        struct rule *rule = NULL;
        switch (ops[at].kind) {
        case HEARTH_GRAMMAR_SPLIT:
            reach(p, at + 1, &n);
            reach(p, (uint32_t)((int32_t)at + ops[at].target), &n);
            break;
        case HEARTH_GRAMMAR_JUMP:
            reach(p, (uint32_t)((int32_t)at + ops[at].target), &n);
            break;
        case HEARTH_GRAMMAR_CALL:
            rule = &p->rules[ops[at].target];
            if (rule->nullable)
                reach(p, at + 1, &n);
            p->waiting[at] = rule->waiting;
            rule->waiting = at;
            break;
        case HEARTH_GRAMMAR_RETURN:
            rule = &p->rules[ops[at].target]; /* see check_rules() */
            rule->nullable = true;
            for (uint32_t call = rule->waiting; call != NONE; call = p->waiting[call])
                reach(p, call + 1, &n);
            break;
        default:
            break;
        }
    }
}

/* Look for a circle of such calls, from `first` on; the path is kept in the queue. */
static hearth_status search_circle(struct parse *p, uint32_t first)
{
    const struct hearth_grammar_op *ops = p->grammar->ops;
    uint32_t depth = 0;
    if (p->rules[first].entered)
        return HEARTH_OK;
    p->queue[depth++] = first;
    while (depth > 0) {
        struct rule *rule = &p->rules[p->queue[depth - 1]];
        if (!rule->entered) {
            rule->entered = true;
            rule->next_op = rule->start;
        }
        while (rule->next_op < rule->end && !(p->reached[rule->next_op] && ops[rule->next_op].kind == HEARTH_GRAMMAR_CALL))
            rule->next_op++;
        if (rule->next_op >= rule->end) {
            rule->next_op = NONE;
            depth--;
            continue;
        }
        const uint32_t called = (uint32_t)ops[rule->next_op++].target;
        if (!p->rules[called].entered) {
            p->queue[depth++] = called; /* every rule is entered once: depth <= n_rules */
        } else if (p->rules[called].next_op != NONE) {
            while (!p->rules[p->queue[depth - 1]].name)
                depth--; /* a repeated item stands in a rule with a name, which is on the circle too */
            return fail_rule(p, &p->rules[p->queue[depth - 1]], "is left-recursive: it reaches itself without reading a character");
        }
    }
    return HEARTH_OK;
}

static hearth_status check_rules(struct parse *p, uint32_t *root)
{
    struct hearth_grammar *g = p->grammar;
    *root = NONE;
    for (uint32_t i = 0; i < p->n_rules; i++) {
        const struct rule *rule = &p->rules[i];
        if (rule->start == NONE)
            return fail_rule(p, rule, "is used, but not defined");
        g->rules[i] = rule->start;
        g->ops[rule->end - 1].target = (int32_t)i; /* RETURN knows its rule */
        if (rule->name && rule->name_bytes == 4 && memcmp(rule->name, "root", 4) == 0)
            *root = i;
    }
    if (*root == NONE)
        return hearth_fail(p->err, HEARTH_E_CONFIG, "E_GRAMMAR", "grammar: there is no rule 'root'");
    mark_reached(p);
    for (uint32_t i = 0; i < p->n_rules; i++)
        HEARTH_TRY(search_circle(p, i));
    return HEARTH_OK;
}

/* ---- Classes of bytes -------------------------------------------------------------------------------------------------- */

static void mark_bounds(const struct hearth_grammar *g, bool *begins, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++)
        if (g->ops[i].kind == HEARTH_GRAMMAR_RANGE)
            begins[g->ops[i].low] = begins[g->ops[i].high + 1] = true;
}

static void find_classes(struct hearth_grammar *g, uint32_t low, uint32_t high)
{
    bool begins[257] = {true};
    mark_bounds(g, begins, 0, low);
    mark_bounds(g, begins, high, HEARTH_GRAMMAR_OPS_MAX);
    g->n_classes = 0;
    for (uint32_t byte = 0; byte < 256; byte++) {
        if (begins[byte])
            g->byte_of[g->n_classes++] = (uint8_t)byte;
        g->class_of[byte] = (uint8_t)(g->n_classes - 1);
    }
}

hearth_status hearth_grammar_compile(struct hearth_grammar *out, void *scratch, const char *text, size_t bytes, hearth_error *err)
{
    struct parse *p = scratch;
    uint32_t root;
    if (bytes > HEARTH_GRAMMAR_TEXT_MAX)
        return hearth_fail(err, HEARTH_E_CONFIG, "E_GRAMMAR", "grammar: the text is too long (got %zu bytes, need at most %u)",
                           bytes, HEARTH_GRAMMAR_TEXT_MAX);
    memset(p, 0, sizeof *p);
    p->grammar = out;
    p->at = (const uint8_t *)text;
    p->end = p->at + bytes;
    p->line = 1;
    p->high = HEARTH_GRAMMAR_OPS_MAX;
    p->err = err;
    for (skip(p, true); p->at < p->end; skip(p, true))
        HEARTH_TRY(take_rule(p));
    HEARTH_TRY(check_rules(p, &root));
    out->root = out->rules[root];
    find_classes(out, p->low, p->high);
    return HEARTH_OK;
}
