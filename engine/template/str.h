/* Text that knows, byte by byte, who wrote it: the template or the caller. Slices and joins keep that knowledge, so that in the end
 * the words of a user can be told from the markers of the template, and never become special tokens (spec chat.md 4.7).
 *
 * A str is a value: two views into memory that is never written again. Characters are code points; a byte that is no UTF-8 counts
 * as one. */
#ifndef HEARTH_ENGINE_TEMPLATE_STR_H
#define HEARTH_ENGINE_TEMPLATE_STR_H

#include "template/workspace.h"

struct hearth_str {
    const char *bytes;     /* not NUL-terminated */
    const uint8_t *origin; /* for each byte 1 when the caller wrote it, else 0; NULL: nothing is the caller's */
    size_t n;
};

#define HEARTH_STR(literal) ((struct hearth_str){literal, NULL, sizeof literal - 1})

/* A C string of our own. */
struct hearth_str hearth_str_of(const char *text);
/* bytes [begin, end) */
struct hearth_str hearth_str_part(struct hearth_str s, size_t begin, size_t end);
/* Whether the caller wrote the byte at `at` < s.n. */
bool hearth_str_is_caller(struct hearth_str s, size_t at);
/* A copy of bytes, all of one origin; empty after a failure. */
struct hearth_str hearth_str_copy(struct hearth_workspace *w, const char *bytes, size_t n, bool caller);
bool hearth_str_equal(struct hearth_str a, struct hearth_str b);
bool hearth_str_is(struct hearth_str s, const char *text);
/* Below 0, 0 or above, in the order of code points. */
int hearth_str_compare(struct hearth_str a, struct hearth_str b);
bool hearth_str_starts(struct hearth_str s, struct hearth_str with);
bool hearth_str_ends(struct hearth_str s, struct hearth_str with);
/* Byte offset of the first occurrence at or after `from`; SIZE_MAX when there is none. Linear time. */
size_t hearth_str_find(struct hearth_str s, struct hearth_str what, size_t from);
/* Byte offset of the last occurrence. Charges for the ones before it, which may overlap. */
size_t hearth_str_find_last(struct hearth_workspace *w, struct hearth_str s, struct hearth_str what);

/* Bytes of the character at `at` < s.n, at least 1; *code receives it, U+FFFD for a byte that is none. */
size_t hearth_str_character(struct hearth_str s, size_t at, uint32_t *code);
/* Bytes of the character that ends at `at` > 0. */
size_t hearth_str_character_before(struct hearth_str s, size_t at);
size_t hearth_str_length(struct hearth_str s);
/* Byte offset of character `index`; s.n past the end. */
size_t hearth_str_offset(struct hearth_str s, size_t index);
/* UTF-8 of a code point, U+FFFD for what is none; returns its length. */
size_t hearth_str_encode(char out[4], uint32_t code);
bool hearth_str_is_space(uint32_t code);
/* Without leading and trailing characters of `set`; of white space when set is NULL. Charges for its work. */
struct hearth_str hearth_str_strip(struct hearth_workspace *w, struct hearth_str s, const struct hearth_str *set, bool left,
                                   bool right);
/* One letter in the other case: simple mappings of Latin, Greek and Cyrillic letters; the rest stays. */
uint32_t hearth_str_lower(uint32_t code);
uint32_t hearth_str_upper(uint32_t code);

/* A text in the making: a list of pieces, joined once. */
struct hearth_piece;
struct hearth_builder {
    struct hearth_piece *first, *last;
    size_t n; /* bytes */
    bool marked;
};

void hearth_builder_add(struct hearth_workspace *w, struct hearth_builder *b, struct hearth_str s);
/* Bytes that are copied first; whether they are the caller's. */
void hearth_builder_add_copy(struct hearth_workspace *w, struct hearth_builder *b, const char *bytes, size_t n, bool caller);
/* All of it in one piece; empty after a failure. */
struct hearth_str hearth_builder_finish(struct hearth_workspace *w, const struct hearth_builder *b);
/* The same into memory of b->n bytes each; origin may be NULL. */
void hearth_builder_write(const struct hearth_builder *b, char *bytes, uint8_t *origin);

#endif
