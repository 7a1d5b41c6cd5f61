/* Numbers and texts of the command line (tools/text.c): all parsers see the same text. */
#include "driver/fuzz.h"
#include "text.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define VALUES_MAX 100u

static const char *const words[] = {"0",
                                    "1",
                                    "-",
                                    "+",
                                    ",",
                                    ".",
                                    "e",
                                    "E",
                                    "e-",
                                    "e308",
                                    "1e39",
                                    "K",
                                    "k",
                                    "M",
                                    "G",
                                    "T",
                                    "*2",
                                    "-9",
                                    "\\x",
                                    "\\xff",
                                    "\\n",
                                    "\\\\",
                                    "nan",
                                    "inf",
                                    "0x1p3",
                                    " ",
                                    "\n",
                                    "4294967295",
                                    "18446744073709551615",
                                    "9223372036854775807",
                                    "2147483648",
                                    "\xf0\x9f\x98\x80",
                                    "\xed\xa0\x80",
                                    "\xc0\x80"};

void fuzz_start(void)
{
    static const char *const texts[] = {"0",           "17",
                                        "-5",          "4096",
                                        "16K",         "2G",
                                        "0.7",         "-1.5e-3",
                                        "1e38",        "1,2,3",
                                        "1-5",         "512-2048*2",
                                        "1-9+2",       "a\\n\\x41\\\"",
                                        "caf\xc3\xa9", "\xf0\x9f\x98\x80",
                                        "1 22\n333",   "18446744073709551615"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        fuzz_seed(texts[i], strlen(texts[i]));
}

static void check_numbers(const char *text)
{
    char again[64];
    uint64_t u;
    int64_t s;
    float f;
    if (text_parse_unsigned(&u, text, UINT64_MAX)) {
        fuzz_need(u == strtoull(text, NULL, 10), "'%s' as %" PRIu64, text, u);
        (void)snprintf(again, sizeof again, "%" PRIu64, u);
        fuzz_need(u == 0 || !text_parse_unsigned(&u, again, u - 1), "'%s' is above its maximum", text);
    }
    if (text_parse_signed(&s, text, INT64_MIN, INT64_MAX))
        fuzz_need(s == strtoll(text, NULL, 10), "'%s' as %" PRId64, text, s);
    if (text_parse_size(&u, text))
        fuzz_need(*text >= '0' && *text <= '9', "'%s' is a size", text);
    if (text_parse_float(&f, text, -1e30, 1e30))
        fuzz_need(isfinite(f) && f == (float)strtod(text, NULL), "'%s' as %a", text, (double)f);
}

static void check_list(const char *text)
{
    uint32_t values[VALUES_MAX];
    size_t n = 0;
    if (!text_parse_list(values, &n, VALUES_MAX, text, 1, 1u << 20))
        return;
    fuzz_need(n >= 1 && n <= VALUES_MAX, "'%s' has %zu values", text, n);
    for (size_t i = 0; i < n; i++)
        fuzz_need(values[i] >= 1 && values[i] <= 1u << 20, "'%s': value %" PRIu32, text, values[i]);
}

static void check_ids(const char *text, size_t n)
{
    const char *at = text, *end = text + n;
    int32_t id;
    for (int more = 1; more == 1;) {
        const char *before = at;
        more = text_next_id(&id, &at, end);
        fuzz_need(at <= end && (more != 1 || (at > before && id >= 0)), "id %" PRId32 " at byte %td", id, before - text);
    }
}

static void check_bytes(const char *text, size_t n)
{
    static FILE *sink;
    char *out = malloc(3 * n + 1);
    sink = sink ? sink : fopen("/dev/null", "w");
    fuzz_need(out && sink, "no memory");
    const size_t n_out = text_to_utf8(out, text, n);
    fuzz_need(n_out <= 3 * n && text_is_utf8(out, n_out), "%zu bytes of %zu are not UTF-8", n_out, n);
    fuzz_need(!text_is_utf8(text, n) || (n_out == n && memcmp(out, text, n) == 0), "UTF-8 was changed");
    text_print_quoted(sink, text, n);
    memcpy(out, text, n);
    fuzz_need(text_unescape(out, n) <= n, "escapes grew");
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    fuzz_need(text, "no memory");
    memcpy(text, data, size);
    text[size] = '\0';
    check_numbers(text);
    check_list(text);
    check_ids((const char *)data, size);
    check_bytes((const char *)data, size);
    free(text);
    fuzz_answer(HEARTH_OK, NULL);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t capacity, unsigned int seed)
{
    return fuzz_mutate_text(data, size, capacity, seed, words, sizeof words / sizeof words[0]);
}
