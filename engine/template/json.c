/* JSON; see json.h. The reader is strict but for what cannot hurt: the depth is the workspace's, numbers are 64-bit integers or
 * floats. */
#include "template/json.h"
#include "common/status.h"

/* ---- Writing ----------------------------------------------------------------------------------------------------------- */

struct writer {
    struct hearth_workspace *w;
    struct hearth_builder *b;
    const struct hearth_json_style *style;
    int level;
};

static void write_value(struct writer *j, struct hearth_value v);

static void add(struct writer *j, struct hearth_str text)
{
    hearth_builder_add(j->w, j->b, text);
}

static void add_unit(struct writer *j, uint32_t unit, bool caller)
{
    char text[8];
    hearth_builder_add_copy(j->w, j->b, text, (size_t)snprintf(text, sizeof text, "\\u%04x", unit & 0xffffu), caller);
}

/* The escape of a character, which belongs to who wrote the character; false when it stands for itself. */
static bool add_escape(struct writer *j, uint32_t code, bool caller)
{
    static const char names[] = "\"\\\n\r\t\b\f";
    static const char *const escapes[] = {"\\\"", "\\\\", "\\n", "\\r", "\\t", "\\b", "\\f"};
    const char *name = code < 0x80 && code > 0 ? strchr(names, (int)code) : NULL;
    if (name)
        hearth_builder_add_copy(j->w, j->b, escapes[name - names], 2, caller);
    else if (code < 0x20 || (j->style->ascii && code >= 0x80 && code < 0x10000))
        add_unit(j, code, caller);
    else if (j->style->ascii && code >= 0x10000) {
        add_unit(j, 0xd800 + ((code - 0x10000) >> 10), caller);
        add_unit(j, 0xdc00 + ((code - 0x10000) & 0x3ff), caller);
    } else {
        return false;
    }
    return true;
}

static void write_str(struct writer *j, struct hearth_str s)
{
    uint32_t code;
    if (!hearth_workspace_charge_characters(j->w, s.n))
        return;
    add(j, HEARTH_STR("\""));
    for (size_t at = 0; at < s.n && j->w->status == HEARTH_OK;) {
        const size_t n = hearth_str_character(s, at, &code);
        if (!add_escape(j, code, hearth_str_is_caller(s, at)))
            add(j, hearth_str_part(s, at, at + n));
        at += n;
    }
    add(j, HEARTH_STR("\""));
}

static void new_line(struct writer *j)
{
    static const char blanks[] = "\n                                                                ";
    if (j->style->indent < 0)
        return;
    add(j, HEARTH_STR("\n"));
    for (int left = j->style->indent * j->level; left > 0 && hearth_workspace_charge(j->w, 1); left -= 64)
        add(j, (struct hearth_str){blanks + 1, NULL, (size_t)(left < 64 ? left : 64)});
}

static void write_list(struct writer *j, const struct hearth_list *list)
{
    add(j, HEARTH_STR("["));
    j->level++;
    for (size_t i = 0; i < list->n && hearth_workspace_charge(j->w, 1); i++) {
        if (i > 0)
            add(j, j->style->item_separator);
        new_line(j);
        write_value(j, list->items[i]);
    }
    j->level--;
    if (list->n > 0)
        new_line(j);
    add(j, HEARTH_STR("]"));
}

static void write_map(struct writer *j, const struct hearth_map *map)
{
    struct hearth_pair *pairs = map->pairs;
    if (j->style->sort && map->n > 0) { /* an empty one may have no array */
        pairs = hearth_workspace_take(j->w, map->n, sizeof *pairs);
        if (!pairs)
            return;
        memcpy(pairs, map->pairs, map->n * sizeof *pairs);
        hearth_value_sort(j->w, pairs, map->n, false);
    }
    add(j, HEARTH_STR("{"));
    j->level++;
    for (size_t i = 0; i < map->n && hearth_workspace_charge(j->w, 1); i++) {
        if (i > 0)
            add(j, j->style->item_separator);
        new_line(j);
        write_str(j, hearth_value_to_str(j->w, pairs[i].key));
        add(j, j->style->key_separator);
        write_value(j, pairs[i].value);
    }
    j->level--;
    if (map->n > 0)
        new_line(j);
    add(j, HEARTH_STR("}"));
}

static void write_entered(struct writer *j, struct hearth_value v)
{
    switch (v.type) {
    case HEARTH_VALUE_NONE:
        add(j, HEARTH_STR("null"));
        break;
    case HEARTH_VALUE_BOOL:
        add(j, v.boolean ? HEARTH_STR("true") : HEARTH_STR("false"));
        break;
    case HEARTH_VALUE_INT:
    case HEARTH_VALUE_FLOAT:
        add(j, hearth_value_to_str(j->w, v));
        break;
    case HEARTH_VALUE_STR:
        write_str(j, v.str);
        break;
    case HEARTH_VALUE_LIST:
    case HEARTH_VALUE_TUPLE:
        write_list(j, v.list);
        break;
    case HEARTH_VALUE_MAP:
        write_map(j, v.map);
        break;
    default:
        hearth_workspace_fail(j->w, HEARTH_E_FORMAT, "E_TEMPLATE", "tojson of a %s", hearth_value_type_name(v.type));
    }
}

static void write_value(struct writer *j, struct hearth_value v)
{
    if (!hearth_workspace_enter(j->w))
        return;
    write_entered(j, v);
    hearth_workspace_leave(j->w);
}

struct hearth_value hearth_json_write(struct hearth_workspace *w, struct hearth_value v, const struct hearth_json_style *style)
{
    struct hearth_builder b = {0};
    struct writer j = {.w = w, .b = &b, .style = style};
    write_value(&j, v);
    return hearth_value_str(hearth_builder_finish(w, &b));
}

/* ---- Reading ----------------------------------------------------------------------------------------------------------- */

struct reader {
    struct hearth_workspace *w;
    struct hearth_str text;
    size_t at;
};

static struct hearth_value read_value(struct reader *j);

static struct hearth_value not_json(struct reader *j)
{
    hearth_workspace_fail(j->w, HEARTH_E_FORMAT, "E_TEMPLATE", "from_json: no JSON at byte %zu", j->at);
    return HEARTH_UNDEFINED;
}

static char peek(const struct reader *j)
{
    return j->at < j->text.n ? j->text.bytes[j->at] : '\0';
}

static void skip_blanks(struct reader *j)
{
    while (j->at < j->text.n && memchr(" \t\n\r", j->text.bytes[j->at], 4))
        j->at++;
}

static bool take(struct reader *j, const char *what)
{
    const struct hearth_str word = hearth_str_of(what);
    if (!hearth_str_starts(hearth_str_part(j->text, j->at, j->text.n), word))
        return false;
    j->at += word.n;
    return true;
}

static bool read_unit(struct reader *j, uint32_t *unit)
{
    *unit = 0;
    for (int i = 0; i < 4; i++, j->at++) {
        const char c = peek(j);
        const int digit = c >= '0' && c <= '9'   ? c - '0'
                          : c >= 'a' && c <= 'f' ? c - 'a' + 10
                          : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                 : -1;
        if (digit < 0)
            return false;
        *unit = *unit << 4 | (uint32_t)digit;
    }
    return true;
}

/* The backslash has been taken. What the escape means belongs to who wrote it. */
static bool read_escape(struct reader *j, struct hearth_builder *b)
{
    static const char names[] = "\"\\/nrtbf", values[] = "\"\\/\n\r\t\b\f";
    const char *name = peek(j) ? strchr(names, peek(j)) : NULL;
    char bytes[4];
    const bool caller = hearth_str_is_caller(j->text, j->at - 1);
    uint32_t code;
    uint32_t low;
    if (name) {
        j->at++;
        hearth_builder_add_copy(j->w, b, &values[name - names], 1, caller);
        return true;
    }
    if (!take(j, "u") || !read_unit(j, &code))
        return false;
    if (code >= 0xd800 && code < 0xdc00 && take(j, "\\u")) {
        if (!read_unit(j, &low) || low < 0xdc00 || low >= 0xe000)
            return false;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    hearth_builder_add_copy(j->w, b, bytes, hearth_str_encode(bytes, code), caller);
    return true;
}

static struct hearth_value read_str(struct reader *j)
{
    struct hearth_builder b = {0};
    while (j->at < j->text.n && j->w->status == HEARTH_OK) {
        const size_t begin = j->at;
        while (j->at < j->text.n && peek(j) != '"' && peek(j) != '\\' && (uint8_t)peek(j) >= 0x20)
            j->at++;
        hearth_builder_add(j->w, &b, hearth_str_part(j->text, begin, j->at));
        if (take(j, "\""))
            return hearth_value_str(hearth_builder_finish(j->w, &b));
        if (!take(j, "\\") || !read_escape(j, &b))
            break;
    }
    return not_json(j);
}

static struct hearth_value read_list(struct reader *j)
{
    const struct hearth_value out = hearth_value_new(j->w, HEARTH_VALUE_LIST);
    skip_blanks(j);
    if (take(j, "]"))
        return out;
    do
        hearth_value_append(j->w, out, read_value(j));
    while (j->w->status == HEARTH_OK && take(j, ","));
    return take(j, "]") ? out : not_json(j);
}

static struct hearth_value read_map(struct reader *j)
{
    const struct hearth_value out = hearth_value_new(j->w, HEARTH_VALUE_MAP);
    skip_blanks(j);
    if (take(j, "}"))
        return out;
    do {
        skip_blanks(j);
        if (!take(j, "\""))
            return not_json(j);
        const struct hearth_value key = read_str(j);
        skip_blanks(j);
        if (!take(j, ":"))
            return not_json(j);
        hearth_value_set(j->w, out, key, read_value(j));
    } while (j->w->status == HEARTH_OK && take(j, ","));
    return take(j, "}") ? out : not_json(j);
}

static struct hearth_value read_number(struct reader *j)
{
    const size_t begin = j->at;
    while (j->at < j->text.n && memchr("+-.eE0123456789", j->text.bytes[j->at], 15))
        j->at++;
    struct hearth_value out = hearth_value_from_digits(hearth_str_part(j->text, begin, j->at));
    return out.type == HEARTH_VALUE_UNDEFINED ? not_json(j) : out;
}

static struct hearth_value read_entered(struct reader *j)
{
    skip_blanks(j);
    if (take(j, "\""))
        return read_str(j);
    if (take(j, "["))
        return read_list(j);
    if (take(j, "{"))
        return read_map(j);
    if (take(j, "null"))
        return HEARTH_NONE;
    if (take(j, "true"))
        return hearth_value_bool(true);
    if (take(j, "false"))
        return hearth_value_bool(false);
    return read_number(j);
}

static struct hearth_value read_value(struct reader *j)
{
    if (!hearth_workspace_enter(j->w))
        return HEARTH_UNDEFINED;
    const struct hearth_value out = read_entered(j);
    skip_blanks(j);
    hearth_workspace_leave(j->w);
    return out;
}

struct hearth_value hearth_json_read(struct hearth_workspace *w, struct hearth_str text)
{
    struct reader j = {.w = w, .text = text};
    const struct hearth_value out = hearth_workspace_charge_characters(w, text.n) ? read_value(&j) : HEARTH_UNDEFINED;
    return j.at < text.n ? not_json(&j) : out;
}
