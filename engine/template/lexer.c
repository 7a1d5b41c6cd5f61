/* Tokens of a template; see lexer.h. Every byte is looked at a bounded number of times, so reading takes linear time. */
#include "template/lexer.h"
#include <string.h>

static struct hearth_template_token fail(struct hearth_lexer *l, const char *what)
{
    l->w->line = l->line;
    hearth_workspace_fail(l->w, HEARTH_E_FORMAT, "E_TEMPLATE", "%s", what);
    return (struct hearth_template_token){.kind = HEARTH_LEX_END, .line = l->line};
}

void hearth_lexer_init(struct hearth_lexer *lexer, struct hearth_workspace *w, const char *source, size_t n)
{
    *lexer = (struct hearth_lexer){.w = w, .line = 1, .starts_line = true};
    char *copy = hearth_workspace_take(w, n, 1);
    if (!copy)
        return;
    size_t o = 0;
    for (size_t i = 0; i < n; i++) {
        const bool crlf = source[i] == '\r' && i + 1 < n && source[i + 1] == '\n';
        if (!crlf)
            copy[o++] = source[i] == '\r' ? '\n' : source[i];
    }
    o -= o > 0 && copy[o - 1] == '\n';
    lexer->source = (struct hearth_str){copy, NULL, o};
}

static bool here(const struct hearth_lexer *l, const char *text)
{
    return hearth_str_starts(hearth_str_part(l->source, l->at, l->source.n), hearth_str_of(text));
}

/* Move to `end`, counting lines. */
static void advance(struct hearth_lexer *l, size_t end)
{
    for (; l->at < end; l->at++)
        l->line += l->source.bytes[l->at] == '\n';
}

static void skip_space(struct hearth_lexer *l)
{
    uint32_t code;
    while (l->at < l->source.n) {
        const size_t n = hearth_str_character(l->source, l->at, &code);
        if (!hearth_str_is_space(code))
            break;
        advance(l, l->at + n);
    }
}

/* ---- Text between tags ---------------------------------------------------------------------------------------------- */

/* Behind the closer of a statement or comment, which begins at `at` with perhaps a sign: note what it takes of the text after it.
 */
static void close_block(struct hearth_lexer *l, char sign, size_t end)
{
    advance(l, end);
    l->tag = 0;
    l->strip = sign == '-';
    l->starts_line = false;
    if (sign == 0 && here(l, "\n")) {
        advance(l, l->at + 1);
        l->starts_line = true;
    }
}

static bool skip_comment(struct hearth_lexer *l)
{
    const bool sign = here(l, "{#-") || here(l, "{#+");
    const size_t begin = l->at + 2 + sign;
    const size_t end = hearth_str_find(l->source, HEARTH_STR("#}"), begin);
    if (end == SIZE_MAX) {
        (void)fail(l, "a comment is not closed (need '#}')");
        return false;
    }
    const char last = end > begin ? l->source.bytes[end - 1] : 0;
    close_block(l, last == '-' || last == '+' ? last : 0, end + 2);
    return true;
}

/* Whether a statement that consists of `name` alone begins at `at`; *end receives where it ends, *sign its last sign. */
static bool lone_statement(struct hearth_lexer *l, size_t at, const char *name, size_t *end, char *sign)
{
    struct hearth_lexer look = *l;
    look.at = at + 2;
    if (here(&look, "-") || here(&look, "+"))
        look.at++;
    skip_space(&look);
    if (!here(&look, name))
        return false;
    look.at += strlen(name);
    skip_space(&look);
    *sign = here(&look, "-%}") ? '-' : here(&look, "+%}") ? '+' : 0;
    look.at += *sign != 0;
    *end = look.at + 2;
    return here(&look, "%}");
}

/* Offset of the next opener; the end of the source when there is none. */
static size_t find_opener(struct hearth_lexer *l)
{
    size_t end;
    char sign;
    for (size_t at = l->at; at + 1 < l->source.n; at++) {
        const char *brace = memchr(l->source.bytes + at, '{', l->source.n - at - 1);
        if (!brace)
            break;
        at = (size_t)(brace - l->source.bytes);
        const char next = brace[1];
        if (l->raw ? next == '%' && lone_statement(l, at, "endraw", &end, &sign) : next == '{' || next == '%' || next == '#')
            return at;
    }
    return l->source.n;
}

/* What is left of the text before an opener. */
static struct hearth_str trim_before(const struct hearth_lexer *l, struct hearth_str text, size_t opener)
{
    if (opener + 2 > l->source.n)
        return text;
    const char kind = l->source.bytes[opener + 1];
    const char sign = opener + 2 < l->source.n ? l->source.bytes[opener + 2] : 0;
    if (sign == '-')
        return hearth_str_strip(l->w, text, NULL, false, true);
    if (sign == '+' || kind == '{' || text.n == 0)
        return text;
    const char *newline = memrchr(text.bytes, '\n', text.n);
    const size_t line = newline ? (size_t)(newline - text.bytes) + 1 : 0;
    if (!newline && !l->starts_line)
        return text;
    const bool blank = hearth_str_strip(l->w, hearth_str_part(text, line, text.n), NULL, true, false).n == 0;
    return blank ? hearth_str_part(text, 0, line) : text;
}

/* Enter the tag at `at`, or pass over it when it means nothing by itself. */
static void open_tag(struct hearth_lexer *l)
{
    size_t end;
    char sign;
    if (here(l, "{#")) {
        (void)skip_comment(l);
        return;
    }
    if (here(l, "{%") && lone_statement(l, l->at, l->raw ? "endraw" : "raw", &end, &sign)) {
        close_block(l, sign == 0 && !l->raw ? '+' : sign, end); /* the line end behind raw stays */
        l->raw = !l->raw;
        return;
    }
    l->tag = l->source.bytes[l->at + 1];
    l->entering = true;
    l->brackets = 0;
    l->at += 2;
    if (here(l, "-") || here(l, "+"))
        l->at++;
}

/* The text up to the next tag, which may be empty; then the tag is entered. */
static struct hearth_template_token take_text(struct hearth_lexer *l)
{
    if (l->strip)
        skip_space(l);
    struct hearth_template_token token = {.kind = HEARTH_LEX_TEXT, .line = l->line};
    const size_t opener = find_opener(l);
    token.text = trim_before(l, hearth_str_part(l->source, l->at, opener), opener);
    advance(l, opener);
    if (opener < l->source.n)
        open_tag(l);
    return token;
}

/* ---- Inside tags ----------------------------------------------------------------------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_name(char c)
{
    return is_digit(c) || c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static size_t skip_digits(struct hearth_str s, size_t at)
{
    while (at < s.n && is_digit(s.bytes[at]))
        at++;
    return at;
}

/* digits [ "." digits ] [ "e" sign digits ]; what is not followed by a digit is not part of it. */
static struct hearth_template_token take_number(struct hearth_lexer *l)
{
    const struct hearth_str s = l->source;
    const size_t begin = l->at;
    size_t end = skip_digits(s, begin);
    if (end + 1 < s.n && s.bytes[end] == '.' && is_digit(s.bytes[end + 1]))
        end = skip_digits(s, end + 1);
    const size_t sign = end + 1 < s.n && (s.bytes[end + 1] == '-' || s.bytes[end + 1] == '+');
    if (end + 1 + sign < s.n && (s.bytes[end] == 'e' || s.bytes[end] == 'E') && is_digit(s.bytes[end + 1 + sign]))
        end = skip_digits(s, end + 1 + sign);
    l->at = end;
    return (struct hearth_template_token){.kind = HEARTH_LEX_NUMBER, .line = l->line, .text = hearth_str_part(s, begin, end)};
}

static int hex_digit(char c)
{
    return is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* n hexadecimal digits at `at`; false when they are not there. */
static bool hex(struct hearth_str s, size_t at, size_t n, uint32_t *code)
{
    *code = 0;
    if (n > s.n || at > s.n - n)
        return false;
    for (size_t i = at; i < at + n; i++) {
        if (hex_digit(s.bytes[i]) < 0)
            return false;
        *code = *code << 4 | (uint32_t)hex_digit(s.bytes[i]);
    }
    return true;
}

/* The escape at s[at], a backslash with something behind it: writes what it means, returns how many bytes of s it takes. */
static size_t unescape(struct hearth_str s, size_t at, char **out)
{
    static const char names[] = "ntr\\'\"bfv", values[] = "\n\t\r\\'\"\b\f\v";
    const char c = s.bytes[at + 1];
    const char *name = memchr(names, c, sizeof names - 1);
    uint32_t code;
    uint32_t low;
    if (name) {
        *(*out)++ = values[name - names];
        return 2;
    }
    if ((c == 'x' && hex(s, at + 2, 2, &code)) || (c == 'u' && hex(s, at + 2, 4, &code))) {
        size_t taken = c == 'x' ? 4 : 6;
        if (code >= 0xd800 && code < 0xdc00 && hearth_str_starts(hearth_str_part(s, at + 6, s.n), HEARTH_STR("\\u")) &&
            hex(s, at + 8, 4, &low) && low >= 0xdc00 && low < 0xe000) {
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
            taken = 12;
        }
        *out += hearth_str_encode(*out, code);
        return taken;
    }
    *(*out)++ = '\\';
    return 1;
}

static struct hearth_template_token take_str(struct hearth_lexer *l)
{
    const char quote = l->source.bytes[l->at];
    const size_t begin = l->at + 1;
    size_t end = begin;
    bool escapes = false;
    for (; end < l->source.n && l->source.bytes[end] != quote; end++) {
        if (l->source.bytes[end] == '\\') {
            escapes = true;
            end++;
        }
    }
    if (end >= l->source.n)
        return fail(l, "a string is not closed");
    struct hearth_template_token token = {.kind = HEARTH_LEX_STR, .line = l->line, .text = hearth_str_part(l->source, begin, end)};
    advance(l, end + 1);
    char *copy = escapes ? hearth_workspace_take(l->w, token.text.n, 1) : NULL;
    if (!copy)
        return token;
    char *out = copy; /* no escape is shorter than what it means */
    for (size_t at = 0; at < token.text.n;) {
        if (token.text.bytes[at] == '\\')
            at += unescape(token.text, at, &out);
        else
            *out++ = token.text.bytes[at++];
    }
    token.text = (struct hearth_str){copy, NULL, (size_t)(out - copy)};
    return token;
}

static struct hearth_template_token take_operator(struct hearth_lexer *l)
{
    static const char *const operators[] = {"==", "!=", "<=", ">=", "//", "**", "<", ">", "+", "-", "*", "/", "%",
                                            "~",  "|",  ".",  ",",  ":",  "=",  "(", ")", "[", "]", "{", "}"};
    for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++) {
        const char c = operators[i][0];
        if (c != l->source.bytes[l->at] || !here(l, operators[i]))
            continue;
        if (c == '(' || c == '[' || c == '{')
            l->brackets++;
        else if ((c == ')' || c == ']' || c == '}') && l->brackets > 0)
            l->brackets--;
        l->at += strlen(operators[i]);
        return (struct hearth_template_token){.kind = HEARTH_LEX_OPERATOR, .line = l->line, .text = hearth_str_of(operators[i])};
    }
    return fail(l, "a character that means nothing here");
}

static bool take_close(struct hearth_lexer *l, struct hearth_template_token *out)
{
    const char *closer = l->tag == '{' ? "}}" : "%}";
    const size_t sign = here(l, "-") || (l->tag == '%' && here(l, "+"));
    struct hearth_lexer look = *l;
    look.at += sign;
    if (l->brackets > 0 || !here(&look, closer))
        return false;
    *out = (struct hearth_template_token){.kind = l->tag == '{' ? HEARTH_LEX_OUTPUT_CLOSE : HEARTH_LEX_STATEMENT_CLOSE,
                                          .line = l->line};
    if (l->tag == '%') {
        close_block(l, sign ? l->source.bytes[l->at] : 0, l->at + sign + 2);
        return true;
    }
    l->at += sign + 2;
    l->tag = 0;
    l->strip = sign;
    l->starts_line = false;
    return true;
}

static struct hearth_template_token take_name(struct hearth_lexer *l)
{
    const size_t begin = l->at;
    while (l->at < l->source.n && is_name(l->source.bytes[l->at]))
        l->at++;
    return (struct hearth_template_token){
        .kind = HEARTH_LEX_NAME, .line = l->line, .text = hearth_str_part(l->source, begin, l->at)};
}

static struct hearth_template_token take_in_tag(struct hearth_lexer *l)
{
    struct hearth_template_token token;
    skip_space(l);
    if (l->at >= l->source.n)
        return fail(l, "a tag is not closed");
    if (take_close(l, &token))
        return token;
    const char c = l->source.bytes[l->at];
    if (is_digit(c))
        return take_number(l);
    if (is_name(c))
        return take_name(l);
    return c == '\'' || c == '"' ? take_str(l) : take_operator(l);
}

static struct hearth_template_token take_open(struct hearth_lexer *l)
{
    l->entering = false;
    return (struct hearth_template_token){.kind = l->tag == '{' ? HEARTH_LEX_OUTPUT : HEARTH_LEX_STATEMENT, .line = l->line};
}

struct hearth_template_token hearth_lexer_next(struct hearth_lexer *l)
{
    while (l->w->status == HEARTH_OK) {
        if (l->entering)
            return take_open(l);
        if (l->tag)
            return take_in_tag(l);
        if (l->at >= l->source.n && l->raw)
            return fail(l, "a raw block is not closed (need 'endraw')");
        if (l->at >= l->source.n)
            break;
        const struct hearth_template_token text = take_text(l);
        if (text.text.n > 0)
            return text;
    }
    return (struct hearth_template_token){.kind = HEARTH_LEX_END, .line = l->line};
}
