/* Text given by people: strict numbers, escapes and UTF-8. Nothing here depends on the locale. */
#ifndef HEARTH_TOOLS_TEXT_H
#define HEARTH_TOOLS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Digits only: no sign, no space, nothing behind them; false as well when the value is above `max`. */
bool text_parse_unsigned(uint64_t *out, const char *text, uint64_t max);
/* As above with an optional '-' in front, within [min, max]. */
bool text_parse_signed(int64_t *out, const char *text, int64_t min, int64_t max);
/* Digits and at most one of K, M, G, T (powers of 1024). */
bool text_parse_size(uint64_t *out, const char *text);
/* Decimal number with optional fraction and exponent, finite and within [min, max]. */
bool text_parse_float(float *out, const char *text, double min, double max);

/* A list of whole numbers within [min, max], separated by commas: N, FIRST-LAST, FIRST-LAST+STEP or FIRST-LAST*FACTOR each. Appends
 * to values[0..*n), which has room for `capacity`; false when it is none, or has no room. */
bool text_parse_list(uint32_t *values, size_t *n, size_t capacity, const char *text, uint32_t min, uint32_t max);

/* Token ids separated by commas or white space. `next` moves *text past one id: 1 found, 0 at the end, -1 something else stands
 * there or the id is above INT32_MAX. */
int text_next_id(int32_t *out, const char **text, const char *end);

/* Replace \n \r \t \\ \" and \xHH by what they mean, in place; other backslashes stay. Returns the new length. */
size_t text_unescape(char *text, size_t n);

/* Bytes of the UTF-8 character at the start of in[0..n), n >= 1: 1 … 4; 0 when none is there. Overlong forms, surrogates and what
 * lies above U+10FFFF are no characters. */
size_t text_character(const unsigned char *in, size_t n);
bool text_is_utf8(const char *text, size_t n);
/* Copy in[0..n) with each byte that belongs to no character replaced by U+FFFD. `out` has room for 3 n bytes. Returns the length.
 */
size_t text_to_utf8(char *out, const char *in, size_t n);

/* Print bytes in double quotes on one line: control characters and bytes that are not UTF-8 as escapes. */
void text_print_quoted(FILE *file, const char *bytes, size_t n);

/* "512 B", "3.4 MiB". Returns out. */
#define TEXT_BYTES_MAX 32
const char *text_bytes(char out[TEXT_BYTES_MAX], uint64_t bytes);

#endif
