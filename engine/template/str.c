/* Text with origin; see str.h. */
#include "template/str.h"
#include "utf8.h"
#include <string.h>

struct hearth_piece {
    struct hearth_piece *next;
    struct hearth_str text;
};

struct hearth_str hearth_str_of(const char *text)
{
    return (struct hearth_str){text, NULL, strlen(text)};
}

struct hearth_str hearth_str_part(struct hearth_str s, size_t begin, size_t end)
{
    if (begin >= end)
        return HEARTH_STR("");
    return (struct hearth_str){s.bytes + begin, s.origin ? s.origin + begin : NULL, end - begin};
}

bool hearth_str_is_caller(struct hearth_str s, size_t at)
{
    return s.origin && s.origin[at];
}

struct hearth_str hearth_str_copy(struct hearth_workspace *w, const char *bytes, size_t n, bool caller)
{
    char *copy = hearth_workspace_take(w, n, 1);
    uint8_t *origin = caller ? hearth_workspace_take(w, n, 1) : NULL;
    if (w->status != HEARTH_OK || n == 0)
        return HEARTH_STR("");
    memcpy(copy, bytes, n);
    if (caller)
        memset(origin, 1, n);
    return (struct hearth_str){copy, origin, n};
}

bool hearth_str_equal(struct hearth_str a, struct hearth_str b)
{
    return a.n == b.n && memcmp(a.bytes, b.bytes, a.n) == 0;
}

bool hearth_str_is(struct hearth_str s, const char *text)
{
    if (s.n > 0 && s.bytes[0] != text[0]) /* most comparisons end here, when names are looked for in tables */
        return false;
    return hearth_str_equal(s, hearth_str_of(text));
}

int hearth_str_compare(struct hearth_str a, struct hearth_str b)
{
    const int order = memcmp(a.bytes, b.bytes, a.n < b.n ? a.n : b.n); /* UTF-8 sorts as its code points do */
    return order ? order : (a.n > b.n) - (a.n < b.n);
}

bool hearth_str_starts(struct hearth_str s, struct hearth_str with)
{
    return s.n >= with.n && memcmp(s.bytes, with.bytes, with.n) == 0;
}

bool hearth_str_ends(struct hearth_str s, struct hearth_str with)
{
    return s.n >= with.n && memcmp(s.bytes + s.n - with.n, with.bytes, with.n) == 0;
}

size_t hearth_str_find(struct hearth_str s, struct hearth_str what, size_t from)
{
    if (from > s.n)
        return SIZE_MAX;
    const char *found = memmem(s.bytes + from, s.n - from, what.bytes, what.n);
    return found ? (size_t)(found - s.bytes) : SIZE_MAX;
}

size_t hearth_str_find_last(struct hearth_workspace *w, struct hearth_str s, struct hearth_str what)
{
    size_t last = SIZE_MAX;
    if (what.n == 0)
        return s.n;
    for (size_t at = hearth_str_find(s, what, 0); at != SIZE_MAX && hearth_workspace_charge_bytes(w, what.n);
         at = hearth_str_find(s, what, at + 1))
        last = at;
    return last;
}

size_t hearth_str_character(struct hearth_str s, size_t at, uint32_t *code)
{
    const uint8_t *p = (const uint8_t *)s.bytes + at;
    size_t need;
    const size_t have = hearth_utf8_take(p, s.n - at, &need);
    *code = 0xfffd;
    if (have != need)
        return 1;
    static const uint8_t lead_bits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    *code = p[0] & lead_bits[need];
    for (size_t i = 1; i < need; i++)
        *code = *code << 6 | (p[i] & 0x3fu);
    return need;
}

size_t hearth_str_character_before(struct hearth_str s, size_t at)
{
    for (size_t n = 2; n <= 4 && n <= at; n++) {
        uint32_t code;
        if (((uint8_t)s.bytes[at - n + 1] & 0xc0) != 0x80)
            break;
        if (hearth_str_character(hearth_str_part(s, 0, at), at - n, &code) == n)
            return n;
    }
    return 1;
}

size_t hearth_str_length(struct hearth_str s)
{
    size_t length = 0;
    uint32_t code;
    for (size_t at = 0; at < s.n; at += hearth_str_character(s, at, &code))
        length++;
    return length;
}

size_t hearth_str_offset(struct hearth_str s, size_t index)
{
    size_t at = 0;
    uint32_t code;
    while (at < s.n && index-- > 0)
        at += hearth_str_character(s, at, &code);
    return at;
}

size_t hearth_str_encode(char out[4], uint32_t code)
{
    if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
        code = 0xfffd;
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    const size_t n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const uint8_t leads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n; i-- > 1; code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)(leads[n] | code);
    return n;
}

bool hearth_str_is_space(uint32_t code)
{
    return (code >= 0x09 && code <= 0x0d) || (code >= 0x1c && code <= 0x20) || code == 0x85 || code == 0xa0 || code == 0x1680 ||
           (code >= 0x2000 && code <= 0x200a) || code == 0x2028 || code == 0x2029 || code == 0x202f || code == 0x205f ||
           code == 0x3000;
}

static bool strips(struct hearth_str s, size_t at, const struct hearth_str *set)
{
    uint32_t code;
    const size_t n = hearth_str_character(s, at, &code);
    if (!set)
        return hearth_str_is_space(code);
    return hearth_str_find(*set, hearth_str_part(s, at, at + n), 0) != SIZE_MAX;
}

struct hearth_str hearth_str_strip(struct hearth_workspace *w, struct hearth_str s, const struct hearth_str *set, bool left,
                                   bool right)
{
    size_t begin = 0;
    size_t end = s.n;
    const size_t each = 1 + (set ? set->n / HEARTH_TEMPLATE_BYTES_PER_STEP : 0);
    uint32_t code;
    while (left && begin < end && strips(s, begin, set) && hearth_workspace_charge(w, each))
        begin += hearth_str_character(s, begin, &code);
    while (right && begin < end && hearth_workspace_charge(w, each)) {
        const size_t n = hearth_str_character_before(s, end);
        if (!strips(hearth_str_part(s, 0, end), end - n, set))
            break;
        end -= n;
    }
    return hearth_str_part(s, begin, end);
}

uint32_t hearth_str_lower(uint32_t code)
{
    const bool plus32 = (code >= 'A' && code <= 'Z') || (code >= 0xc0 && code <= 0xde && code != 0xd7) ||
                        (code >= 0x391 && code <= 0x3a9 && code != 0x3a2) || (code >= 0x410 && code <= 0x42f);
    if (plus32)
        return code + 32;
    if (code >= 0x400 && code <= 0x40f)
        return code + 80;
    if (code == 0x178)
        return 0xff;
    /* pairs of neighbours, the capital first: at even places, then at odd ones */
    if ((code >= 0x100 && code <= 0x137 && code != 0x130) || (code >= 0x14a && code <= 0x177) || (code >= 0x460 && code <= 0x481) ||
        (code >= 0x48a && code <= 0x4bf) || (code >= 0x4d0 && code <= 0x52f) || (code >= 0x1e00 && code <= 0x1e95) ||
        (code >= 0x1ea0 && code <= 0x1eff))
        return code | 1;
    if ((code >= 0x139 && code <= 0x148) || (code >= 0x179 && code <= 0x17e))
        return code + (code & 1);
    return code;
}

/* The one capital, not above the code, whose small letter it is: the distances of the mappings above are few. */
uint32_t hearth_str_upper(uint32_t code)
{
    static const uint32_t distances[] = {1, 32, 80};
    if (code == 0xff)
        return 0x178;
    for (size_t i = 0; i < sizeof distances / sizeof distances[0]; i++) {
        if (code > distances[i] && hearth_str_lower(code) == code && hearth_str_lower(code - distances[i]) == code)
            return code - distances[i];
    }
    return code;
}

/* ---- Building ----------------------------------------------------------------------------------------------------- */

/* Whether b continues a in memory, so that both are one piece. */
static bool continues(struct hearth_str a, struct hearth_str b)
{
    return a.bytes + a.n == b.bytes && (a.origin ? a.origin + a.n == b.origin : !b.origin);
}

void hearth_builder_add(struct hearth_workspace *w, struct hearth_builder *b, struct hearth_str s)
{
    if (s.n == 0 || !hearth_workspace_charge_bytes(w, s.n))
        return;
    b->n += s.n;
    b->marked = b->marked || s.origin;
    if (b->last && continues(b->last->text, s)) {
        b->last->text.n += s.n;
        return;
    }
    struct hearth_piece *piece = hearth_workspace_take(w, 1, sizeof *piece);
    if (!piece)
        return;
    *piece = (struct hearth_piece){NULL, s};
    if (b->last)
        b->last->next = piece;
    else
        b->first = piece;
    b->last = piece;
}

void hearth_builder_add_copy(struct hearth_workspace *w, struct hearth_builder *b, const char *bytes, size_t n, bool caller)
{
    hearth_builder_add(w, b, hearth_str_copy(w, bytes, n, caller));
}

void hearth_builder_write(const struct hearth_builder *b, char *bytes, uint8_t *origin)
{
    for (const struct hearth_piece *piece = b->first; piece; piece = piece->next) {
        const struct hearth_str s = piece->text;
        memcpy(bytes, s.bytes, s.n);
        bytes += s.n;
        if (!origin)
            continue;
        if (s.origin)
            memcpy(origin, s.origin, s.n);
        else
            memset(origin, 0, s.n);
        origin += s.n;
    }
}

struct hearth_str hearth_builder_finish(struct hearth_workspace *w, const struct hearth_builder *b)
{
    if (!b->first)
        return HEARTH_STR("");
    if (b->first == b->last)
        return b->first->text;
    char *bytes = hearth_workspace_take(w, b->n, 1);
    uint8_t *origin = b->marked ? hearth_workspace_take(w, b->n, 1) : NULL;
    if (w->status != HEARTH_OK)
        return HEARTH_STR("");
    hearth_builder_write(b, bytes, origin);
    return (struct hearth_str){bytes, origin, b->n};
}
