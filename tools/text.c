/* Strict parsers and small text helpers of the program. A number is accepted only in its plain form, so that a typing error is an
 * error and not another number; the grammar is checked here before strtod() sees a byte, which makes it refuse "nan", "0x1p3" and
 * leading spaces, and the program never calls setlocale(), so the decimal point is a point everywhere. */
#include "text.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Value of the digits at *text, which moves behind them; false when there are none or they exceed max. */
static bool take_digits(uint64_t *out, const char **text, const char *end, uint64_t max)
{
    const char *at = *text;
    uint64_t value = 0;
    for (; at < end && is_digit(*at); at++) {
        const uint64_t digit = (uint64_t)(*at - '0');
        if (digit > max || value > (max - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    if (at == *text)
        return false;
    *text = at;
    *out = value;
    return true;
}

bool text_parse_unsigned(uint64_t *out, const char *text, uint64_t max)
{
    const char *end = text + strlen(text);
    uint64_t value;
    if (!take_digits(&value, &text, end, max) || text != end)
        return false;
    *out = value;
    return true;
}

bool text_parse_signed(int64_t *out, const char *text, int64_t min, int64_t max)
{
    const bool negative = *text == '-';
    uint64_t magnitude;
    if (!text_parse_unsigned(&magnitude, text + negative, INT64_MAX))
        return false;
    const int64_t value = negative ? -(int64_t)magnitude : (int64_t)magnitude;
    if (value < min || value > max)
        return false;
    *out = value;
    return true;
}

bool text_parse_size(uint64_t *out, const char *text)
{
    const char *end = text + strlen(text);
    uint64_t value;
    if (!take_digits(&value, &text, end, UINT64_MAX))
        return false;
    unsigned shift = 0;
    if (text < end) {
        static const char units[] = "KMGT";
        const char upper = *text >= 'a' && *text <= 'z' ? (char)(*text - 'a' + 'A') : *text;
        const char *unit = strchr(units, upper); /* upper is not NUL: text < end */
        if (!unit)
            return false;
        shift = 10 * (unsigned)(unit - units + 1);
        text++;
    }
    if (text != end || value > UINT64_MAX >> shift)
        return false;
    *out = value << shift;
    return true;
}

static const char *skip_digits(const char *text)
{
    while (is_digit(*text))
        text++;
    return text;
}

/* -? digits [. digits] [e [+-] digits], or -? . digits [exponent] */
static bool is_decimal(const char *text)
{
    text += *text == '-';
    const char *whole = skip_digits(text);
    size_t n_digits = (size_t)(whole - text);
    text = whole;
    if (*text == '.') {
        const char *fraction = skip_digits(text + 1);
        n_digits += (size_t)(fraction - (text + 1));
        text = fraction;
    }
    if (n_digits == 0)
        return false;
    if (*text == 'e' || *text == 'E') {
        text++;
        text += *text == '+' || *text == '-';
        const char *exponent = skip_digits(text);
        if (exponent == text)
            return false;
        text = exponent;
    }
    return *text == '\0';
}

bool text_parse_float(float *out, const char *text, double min, double max)
{
    if (!is_decimal(text))
        return false;
    const double value = strtod(text, NULL); /* HUGE_VAL on overflow, which is outside every range */
    if (!isfinite(value) || value < min || value > max)
        return false;
    *out = (float)value;
    return true;
}

/* FIRST, FIRST-LAST, FIRST-LAST+STEP or FIRST-LAST*FACTOR; *text moves behind it. */
static bool take_range(uint64_t *first, uint64_t *last, uint64_t *step, bool *multiply, const char **text, uint32_t max)
{
    const char *end = *text + strlen(*text);
    *step = 1;
    *multiply = false;
    if (!take_digits(first, text, end, max))
        return false;
    *last = *first;
    if (**text != '-')
        return true;
    ++*text;
    if (!take_digits(last, text, end, max) || *last < *first)
        return false;
    if (**text != '+' && **text != '*')
        return true;
    *multiply = **text == '*';
    ++*text;
    return take_digits(step, text, end, max) && *step >= (*multiply ? 2u : 1u) && (*first > 0 || !*multiply);
}

bool text_parse_list(uint32_t *values, size_t *n, size_t capacity, const char *text, uint32_t min, uint32_t max)
{
    uint64_t first, last, step;
    bool multiply;
    for (;; text++) {
        if (!take_range(&first, &last, &step, &multiply, &text, max) || first < min)
            return false;
        for (uint64_t value = first; value <= last; value = multiply ? value * step : value + step) {
            if (*n == capacity)
                return false;
            values[(*n)++] = (uint32_t)value;
        }
        if (*text != ',')
            return *text == '\0';
    }
}

int text_next_id(int32_t *out, const char **text, const char *end)
{
    const char *at = *text;
    while (at < end && (*at == ',' || *at == ' ' || (*at >= '\t' && *at <= '\r')))
        at++;
    *text = at;
    if (at == end)
        return 0;
    uint64_t value;
    if (!take_digits(&value, text, end, INT32_MAX))
        return -1;
    if (*text < end && **text != ',' && **text != ' ' && (**text < '\t' || **text > '\r'))
        return -1;
    *out = (int32_t)value;
    return 1;
}

static int hex_digit(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

size_t text_unescape(char *text, size_t n)
{
    static const char names[] = "nrt\\\"", values[] = "\n\r\t\\\"";
    size_t o = 0; /* never ahead of i: each escape is longer than what it means */
    for (size_t i = 0; i < n; i++) {
        const char *name = text[i] == '\\' && i + 1 < n ? memchr(names, text[i + 1], sizeof names - 1) : NULL;
        if (name) {
            text[o++] = values[name - names];
            i++;
        } else if (text[i] == '\\' && i + 3 < n && text[i + 1] == 'x' && hex_digit(text[i + 2]) >= 0 &&
                   hex_digit(text[i + 3]) >= 0) {
            text[o++] = (char)(hex_digit(text[i + 2]) * 16 + hex_digit(text[i + 3]));
            i += 3;
        } else {
            text[o++] = text[i];
        }
    }
    return o;
}

size_t text_character(const unsigned char *in, size_t n)
{
    if (in[0] < 0x80)
        return 1;
    /* Range of the second byte by the first: this alone excludes overlong forms, surrogates and code points past the last. */
    size_t length;
    unsigned low = 0x80, high = 0xbf;
    if (in[0] >= 0xc2 && in[0] <= 0xdf) {
        length = 2;
    } else if (in[0] >= 0xe0 && in[0] <= 0xef) {
        length = 3;
        low = in[0] == 0xe0 ? 0xa0 : low;
        high = in[0] == 0xed ? 0x9f : high;
    } else if (in[0] >= 0xf0 && in[0] <= 0xf4) {
        length = 4;
        low = in[0] == 0xf0 ? 0x90 : low;
        high = in[0] == 0xf4 ? 0x8f : high;
    } else {
        return 0;
    }
    if (n < length || in[1] < low || in[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if (in[i] < 0x80 || in[i] > 0xbf)
            return 0;
    return length;
}

bool text_is_utf8(const char *text, size_t n)
{
    for (size_t i = 0; i < n;) {
        const size_t length = text_character((const unsigned char *)text + i, n - i);
        if (length == 0)
            return false;
        i += length;
    }
    return true;
}

size_t text_to_utf8(char *out, const char *in, size_t n)
{
    size_t o = 0;
    for (size_t i = 0; i < n;) {
        const size_t length = text_character((const unsigned char *)in + i, n - i);
        memcpy(out + o, length ? in + i : "\xef\xbf\xbd", length ? length : 3);
        o += length ? length : 3;
        i += length ? length : 1;
    }
    return o;
}

void text_print_quoted(FILE *file, const char *bytes, size_t n)
{
    (void)putc('"', file);
    for (size_t i = 0; i < n;) {
        const unsigned char c = (unsigned char)bytes[i];
        const size_t length = text_character((const unsigned char *)bytes + i, n - i);
        if (c == '\n') {
            (void)fputs("\\n", file);
        } else if (c == '\t') {
            (void)fputs("\\t", file);
        } else if (c == '"' || c == '\\') {
            (void)fprintf(file, "\\%c", c);
        } else if (length == 0 || c < 0x20 || c == 0x7f) {
            (void)fprintf(file, "\\x%02x", c);
        } else {
            (void)fwrite(bytes + i, 1, length, file);
        }
        i += length ? length : 1;
    }
    (void)putc('"', file);
}

const char *text_bytes(char out[TEXT_BYTES_MAX], uint64_t bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (bytes < 1024) {
        (void)snprintf(out, TEXT_BYTES_MAX, "%" PRIu64 " B", bytes);
        return out;
    }
    double value = (double)bytes / 1024;
    size_t unit = 0;
    for (; value >= 1024 && unit + 1 < sizeof units / sizeof units[0]; unit++)
        value /= 1024;
    (void)snprintf(out, TEXT_BYTES_MAX, "%.1f %s", value, units[unit]);
    return out;
}
