/* Pre-tokenizers against scanners without regular expressions, written from the recipe of tokenizers.md 5.5, and by example. */
#include "pretokenize.h"
#include "support/rng.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ENDS_MAX = 1 << 20 };

struct pieces {
    size_t n, at; /* at: end of the last piece */
    size_t ends[ENDS_MAX];
};

static struct pieces got, want;

static void note(size_t begin, size_t end, void *user)
{
    struct pieces *pieces = user;
    cr_assert(begin == pieces->at && end > begin && pieces->n < ENDS_MAX, "piece %zu from %zu to %zu", pieces->n, begin, end);
    cr_assert_leq(end - begin, HEARTH_PRETOKENIZER_WINDOW);
    pieces->at = pieces->ends[pieces->n++] = end;
}

static void *compiled, *scratch;

static const struct hearth_pretokenizer *open_family(const struct hearth_pretokenizer_name *name)
{
    if (!compiled)
        compiled = aligned_alloc(64, HEARTH_PRETOKENIZER_BYTES);
    if (!scratch)
        scratch = aligned_alloc(64, HEARTH_PRETOKENIZER_SCRATCH);
    const struct hearth_pretokenizer *pretokenizer = hearth_pretokenizer_init(compiled, name);
    cr_assert_not_null(pretokenizer, "%s does not compile", name->name);
    return pretokenizer;
}

static const struct hearth_pretokenizer *open_named(const char *name)
{
    const struct hearth_pretokenizer_name *row =
        hearth_pretokenizer_find((struct hearth_view){(const uint8_t *)name, strlen(name)});
    cr_assert_not_null(row, "%s", name);
    return open_family(row);
}

static void cut(const struct hearth_pretokenizer *pretokenizer, const char *text, size_t bytes)
{
    got.n = got.at = 0;
    hearth_pretokenize(pretokenizer, scratch, (const uint8_t *)text, bytes, note, &got);
    cr_assert_eq(got.at, bytes);
}

/* ---- Scanners ------------------------------------------------------------------------------------------------------------ */

enum { UP = 1, LOW = 2, LETTER = 4, MARK = 8, NUMBER = 16, PUNCTUATION = 32, SYMBOL = 64, SPACE = 128, NEWLINE = 256 };
#define BOTH (UP | LOW) /* of upper and lower case at once, for o200k */

static const struct character {
    const char *text;
    unsigned kinds;
} alphabet[] = {
    {"a", LETTER | LOW},
    {"s", LETTER | LOW},
    {"t", LETTER | LOW},
    {"r", LETTER | LOW},
    {"e", LETTER | LOW},
    {"l", LETTER | LOW},
    {"\xc3\xa9", LETTER | LOW},
    {"\xc5\xbf", LETTER | LOW}, /* U+017F, which folds to s */
    {"A", LETTER | UP},
    {"S", LETTER | UP},
    {"L", LETTER | UP},
    {"\xd0\x96", LETTER | UP},
    {"\xc7\x85", LETTER | UP},       /* title case */
    {"\xca\xb0", LETTER | BOTH},     /* modifier letter */
    {"\xe4\xb8\xad", LETTER | BOTH}, /* Han */
    {"\xd8\xa8", LETTER | BOTH},     /* Arabic */
    {"\xcc\x81", MARK | BOTH},
    {"\xe0\xa4\xbf", MARK | BOTH},
    {"1", NUMBER},
    {"2", NUMBER},
    {"\xc2\xbd", NUMBER},
    {"\xe2\x85\xa3", NUMBER}, /* Roman four */
    {"'", PUNCTUATION},
    {"'", PUNCTUATION},
    {",", PUNCTUATION},
    {"/", PUNCTUATION},
    {"\xe3\x80\x82", PUNCTUATION},
    {"+", SYMBOL},
    {"$", SYMBOL},
    {"\xe2\x82\xac", SYMBOL},
    {"\xf0\x9f\x98\x80", SYMBOL},
    {" ", SPACE},
    {" ", SPACE},
    {" ", SPACE},
    {"\t", SPACE},
    {"\n", SPACE | NEWLINE},
    {"\r", SPACE | NEWLINE},
    {"\xc2\xa0", SPACE},
    {"\xe3\x80\x80", SPACE},
    {"\xe1\xa0\x8e", 0}, /* U+180E, once white space */
    {"\x01", 0},
    {"\xff", 0},
    {"\x80", 0},
};
#define ALPHABET (sizeof alphabet / sizeof alphabet[0])

struct scan {
    const struct character *const *c; /* the text in characters */
    size_t n;                         /* end of the piece that is scanned */
    unsigned digits, word;            /* at most so many numbers; kinds of a word */
    bool ending;                      /* o200k: a contraction belongs to its word */
    const char *tail;                 /* after symbols */
};

typedef size_t match_fn(const struct scan *s, size_t i); /* the length of the match at i, 0: none */

static bool is(const struct scan *s, size_t i, unsigned kinds)
{
    return i < s->n && (s->c[i]->kinds & kinds) != 0;
}

static bool is_text(const struct scan *s, size_t i, const char *text)
{
    return i < s->n && strcmp(s->c[i]->text, text) == 0;
}

static bool is_other(const struct scan *s, size_t i)
{
    return i < s->n && !is(s, i, SPACE | LETTER | NUMBER | (s->word & MARK));
}

static size_t run(const struct scan *s, size_t i, unsigned kinds)
{
    while (is(s, i, kinds))
        i++;
    return i;
}

static size_t contraction(const struct scan *s, size_t i, bool any_case)
{
    static const char *const endings[] = {"s", "t", "m", "d", "re", "ve", "ll"};
    for (size_t e = 0; is_text(s, i, "'") && e < 7; e++) {
        size_t k = 0;
        while (endings[e][k]) {
            const char lower[2] = {endings[e][k], 0};
            const char upper[2] = {(char)(endings[e][k] - 32), 0};
            if (!is_text(s, i + 1 + k, lower) && !(any_case && is_text(s, i + 1 + k, upper)))
                break;
            k++;
        }
        if (!endings[e][k])
            return 1 + k;
    }
    return 0;
}

static size_t spaces(const struct scan *s, size_t i)
{
    const size_t n = run(s, i, SPACE) - i;
    return n <= 1 || i + n == s->n ? n : n - 1;
}

static size_t spaces_with_newlines(const struct scan *s, size_t i)
{
    size_t j = run(s, i, SPACE);
    while (j > i && !is(s, j - 1, NEWLINE))
        j--;
    return j > i ? j - i : spaces(s, i);
}

static size_t symbols(const struct scan *s, size_t i)
{
    size_t j = i + is_text(s, i, " ");
    if (!is_other(s, j))
        return 0;
    while (is_other(s, j))
        j++;
    while (j < s->n && s->tail && strstr(s->tail, s->c[j]->text))
        j++;
    return j - i;
}

static size_t gpt2(const struct scan *s, size_t i)
{
    static const unsigned kinds[] = {LETTER, NUMBER};
    size_t n = contraction(s, i, false);
    for (size_t k = 0; n == 0 && k < 2; k++) {
        const size_t begin = i + is_text(s, i, " ");
        const size_t end = run(s, begin, kinds[k]);
        n = end > begin ? end - i : 0;
    }
    if (n == 0)
        n = symbols(s, i);
    return n ? n : spaces(s, i);
}

static size_t numbers_and_rest(const struct scan *s, size_t i)
{
    size_t j = run(s, i, NUMBER);
    if (j > i)
        return j - i < s->digits ? j - i : s->digits;
    j = symbols(s, i);
    return j ? j : spaces_with_newlines(s, i);
}

static size_t cl100k(const struct scan *s, size_t i)
{
    const size_t n = contraction(s, i, true);
    if (n)
        return n;
    for (size_t prefix = 2; prefix-- > 0;) {
        if (prefix && is(s, i, NEWLINE | LETTER | NUMBER))
            continue;
        const size_t end = run(s, i + prefix, s->word);
        if (i + prefix < s->n && end > i + prefix)
            return end - i;
    }
    return numbers_and_rest(s, i);
}

static size_t o200k_word(const struct scan *s, size_t begin, bool lower)
{
    const size_t capitals = run(s, begin, UP);
    if (!lower)
        return capitals > begin ? run(s, capitals, LOW) : 0;
    for (size_t k = capitals + 1; k-- > begin;) {
        const size_t end = run(s, k, LOW);
        if (end > k)
            return end;
    }
    return 0;
}

static size_t o200k(const struct scan *s, size_t i)
{
    for (int lower = 1; lower >= 0; lower--) {
        for (size_t prefix = 2; prefix-- > 0;) {
            if (prefix && (i + 1 >= s->n || is(s, i, NEWLINE | LETTER | NUMBER)))
                continue;
            const size_t end = o200k_word(s, i + prefix, lower != 0);
            if (end)
                return end + (s->ending ? contraction(s, end, true) : 0) - i;
        }
    }
    return numbers_and_rest(s, i);
}

static size_t one_number(const struct scan *s, size_t i)
{
    return is(s, i, NUMBER);
}

static size_t three_numbers(const struct scan *s, size_t i)
{
    const size_t n = run(s, i, NUMBER) - i;
    return n < 3 ? n : 3;
}

static size_t lines(const struct scan *s, size_t i)
{
    size_t j = i;
    while (j < s->n && is_text(s, j, "\n") == is_text(s, i, "\n"))
        j++;
    return j - i;
}

static size_t punctuation(const struct scan *s, size_t i)
{
    size_t j = i;
    while (is(s, j, PUNCTUATION) || is_text(s, j, "$") || is_text(s, j, "+"))
        j++;
    return j - i;
}

static const struct family {
    const char *name;
    match_fn *stages[3];
    unsigned digits, word;
    bool ending;
    const char *tail;
} families[] = {
    {"gpt-2", {gpt2}, 0, 0, false, NULL},
    {"starcoder", {one_number, gpt2}, 0, 0, false, NULL},
    {"falcon", {punctuation, gpt2}, 0, 0, false, NULL}, /* its third stage cuts three ASCII digits; see the examples */
    {"llama-bpe", {cl100k}, 3, LETTER, false, "\r\n"},
    {"qwen2", {cl100k}, 1, LETTER, false, "\r\n"},
    {"bailingmoe", {cl100k}, 1, LETTER, false, "\r\n"},
    {"minicpm5", {three_numbers, cl100k}, 1000, LETTER, false, "\r\n"},
    {"laguna", {lines, cl100k}, 1, LETTER, false, "\r\n"},
    {"qwen35", {cl100k}, 1, LETTER | MARK, false, "\r\n"},
    {"gpt-4o", {o200k}, 3, 0, true, "\r\n/"},
    {"tekken", {o200k}, 1, 0, false, "\r\n/"},
};

/* Stages over [begin, end) in characters; bytes[i] is where character i begins. */
static void scan(const struct family *family, size_t stage, const struct character *const *c, const size_t *bytes, size_t begin,
                 size_t end)
{
    if (begin == end)
        return;
    if (stage == 3 || !family->stages[stage]) {
        note(bytes[begin], bytes[end], &want);
        return;
    }
    const struct scan s = {c, end, family->digits, family->word, family->ending, family->tail};
    /* The classes look ahead to the end of the piece only, and never back, so the piece needs no beginning. */
    size_t gap = begin;
    for (size_t i = begin; i < end;) {
        const size_t n = family->stages[stage](&s, i);
        if (n == 0) {
            i++;
            continue;
        }
        scan(family, stage + 1, c, bytes, gap, i);
        scan(family, stage + 1, c, bytes, i, i + n);
        gap = i += n;
    }
    scan(family, stage + 1, c, bytes, gap, end);
}

static void compare(const struct family *family, const struct hearth_pretokenizer *pretokenizer, struct rng *rng, size_t n)
{
    const struct character **c = malloc((n + 1) * sizeof *c);
    size_t *bytes = malloc((n + 1) * sizeof *bytes);
    char *text = malloc(4 * n + 1);
    const uint32_t spread = rng_below(rng, 2) ? ALPHABET : 1 + rng_below(rng, ALPHABET);
    const uint32_t first = rng_below(rng, ALPHABET);
    bytes[0] = 0;
    for (size_t i = 0; i < n; i++) {
        c[i] = &alphabet[(first + rng_below(rng, spread)) % ALPHABET];
        if (strcmp(family->name, "falcon") == 0 && c[i]->kinds & NUMBER)
            c[i] = &alphabet[0];
        memcpy(text + bytes[i], c[i]->text, strlen(c[i]->text));
        bytes[i + 1] = bytes[i] + strlen(c[i]->text);
    }
    want.n = want.at = 0;
    scan(family, 0, c, bytes, 0, n);
    cut(pretokenizer, text, bytes[n]);
    for (size_t i = 0; i < want.n; i++)
        cr_assert_eq(got.ends[i], want.ends[i], "%s: '%.*s': piece %zu ends at %zu, need %zu", family->name,
                     n < 100 ? (int)bytes[n] : 0, text, i, got.ends[i], want.ends[i]);
    cr_assert_eq(got.n, want.n);
    free(c);
    free(bytes);
    free(text);
}

Test(pretokenize, equals_the_scanners)
{
    struct rng rng = rng_start();
    for (size_t f = 0; f < sizeof families / sizeof families[0]; f++) {
        const struct hearth_pretokenizer *pretokenizer = open_named(families[f].name);
        for (int round = 0; round < 4000; round++)
            compare(&families[f], pretokenizer, &rng, rng_below(&rng, 30));
    }
}

/* Windows leave no trace where words end now and then. */
Test(pretokenize, long_texts)
{
    static const char *const words[] = {"The ",         "cat's", "  sat", ",\n\n", " on ", "12345", "\xe4\xb8\xad\xe6\x96\x87",
                                        "\xe3\x80\x82", "... ",  "\t"};
    enum { N = 300000 };
    struct rng rng = rng_start();
    static char text[N];
    static size_t ends[N];
    const struct hearth_pretokenizer_name *name;
    for (size_t row = 0; (name = hearth_pretokenizer_at(row)); row++) {
        if (strcmp(name->name, "superbpe") == 0)
            continue; /* does not cut at words */
        size_t size = 0;
        while (size + 16 < N) {
            const char *word = words[rng_below(&rng, 10)];
            memcpy(text + size, word, strlen(word));
            size += strlen(word);
        }
        const struct hearth_pretokenizer *pretokenizer = open_family(name);
        cut(pretokenizer, text, size);
        const size_t n = got.n;
        memcpy(ends, got.ends, n * sizeof *ends);
        /* Other windows: from the first end of a word after 10000 bytes. */
        size_t begin = 10000;
        while (memcmp(text + begin - 4, "The ", 4) != 0)
            begin++;
        begin--;
        cut(pretokenizer, text + begin, size - begin);
        size_t i = 0;
        while (ends[i] <= begin)
            i++;
        cr_assert_eq(ends[i - 1], begin, "%s", name->name);
        cr_assert_eq(n - i, got.n, "%s", name->name);
        for (size_t k = 0; k < got.n; k++)
            cr_assert_eq(ends[i + k], begin + got.ends[k], "%s: piece %zu", name->name, k);
    }
}

/* ---- Examples ------------------------------------------------------------------------------------------------------------- */

/* Pieces parted by '|', which stands in none of the texts. */
static void expect_pieces(const char *name, const char *pieces)
{
    char text[2000];
    char back[4000];
    size_t n = 0;
    for (const char *p = pieces; *p; p++)
        if (*p != '|')
            text[n++] = *p;
    cut(open_named(name), text, n);
    size_t at = 0;
    for (size_t i = 0; i < got.n; i++) {
        const size_t begin = i ? got.ends[i - 1] : 0;
        memcpy(back + at, text + begin, got.ends[i] - begin);
        at += got.ends[i] - begin;
        back[at++] = '|';
    }
    back[at > 0 ? at - 1 : 0] = '\0';
    cr_expect_str_eq(back, pieces, "%s: %s, need %s", name, back, pieces);
}

Test(pretokenize, examples)
{
    expect_pieces("default", "a|!?,|b");
    expect_pieces("default", "x|=>|y");
    expect_pieces("default", "it|'|s| |123|4");
    expect_pieces("falcon", "a|`|b| |123|4|.|5");
    expect_pieces("deepseek-llm", "Hello|,| world| |\n|1234|\xe4\xb8\xad\xe6\x96\x87|\xe3\x80\x82|  ");
    expect_pieces("deepseek-llm", "  \x01"
                                  "|a|  \x01");
    expect_pieces("deepseek-coder", "a| b|,|1|2|\xe4\xb8\xad");
    expect_pieces("deepseek-v3", "123|4|\xe4\xb8\xad\xe3\x81\x82|.abc| +!\n| \xe0\xa4\x95\xe0\xa4\xbf");
    expect_pieces("afmoe", "1|234|567|\xe0\xb8\x81\xe0\xb8\x82|.abc| d");
    expect_pieces("superbpe", "a b c |12|345|, d");
    expect_pieces("tiny_aya", "1|234|567| |12|345|,|123|45|ab");
    expect_pieces("kimi-k2", "Ab|\xe4\xb8\xad\xe6\x96\x87|c's| |\xe4\xb8\xad|!\n| ab");
    expect_pieces("seed-coder", "a|!!|\n|b|1|2");
    expect_pieces("bloom", "a-1|,| b|.| c");
    expect_pieces("viking", "a-|1|2|,| b");
    char spaces[700] = "x|";
    for (size_t i = 0, at = 2; i < 512 + 64 + 8 + 4 + 2 + 1; i++) {
        if (i == 512 || i == 576 || i == 584 || i == 588 || i == 590)
            spaces[at++] = '|';
        spaces[at++] = ' ';
        spaces[at] = '\0';
    }
    strcat(spaces, "| y|  \n|z");
    expect_pieces("jais-2", spaces);
}

Test(pretokenize, names)
{
    static const uint8_t nul[] = "gpt-2\0x";
    cr_expect_str_eq(hearth_pretokenizer_find((struct hearth_view){NULL, 0})->name, "default");
    cr_expect_null(hearth_pretokenizer_find((struct hearth_view){nul, 4}));
    cr_expect_null(hearth_pretokenizer_find((struct hearth_view){nul, 7}));
    cr_expect(hearth_pretokenizer_find((struct hearth_view){nul, 5}));
    cr_expect(hearth_pretokenizer_find((struct hearth_view){(const uint8_t *)"llama-bpe", 9})->ignore_merges);
}

/* A quarter of a mebibyte of anything in a quarter of a second or so, in every family; the bound tells that from the square of the
 * length, minutes, on a busy machine. */
Test(pretokenize, costs_little_for_any_text)
{
    static const char *const units[] = {"a",       "A",  " ",    "\n",  "7",        "\xe4\xb8\xad", "\xcc\x81", "'",
                                        "   \x01", "A!", "\xff", " \n", "\xca\xb0", "1,",           ""};
    const char *sanitize = getenv("HEARTH_SANITIZE");
    const double most = sanitize && *sanitize && strcmp(sanitize, "OFF") != 0 ? 25.0 : 2.5;
    enum { N = 1 << 18 };
    static char text[N];
    struct rng rng = rng_start();
    const struct hearth_pretokenizer_name *name;
    const struct hearth_pretokenizer_family *before = NULL;
    for (size_t row = 0; (name = hearth_pretokenizer_at(row)); row++) {
        if (name->family == before)
            continue;
        before = name->family;
        const struct hearth_pretokenizer *pretokenizer = open_family(name);
        for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
            const size_t unit = strlen(units[u]);
            for (size_t i = 0; unit && i < N; i++)
                text[i] = units[u][i % unit];
            if (!unit)
                rng_bytes(&rng, text, N);
            text[N - 1] = '\x01'; /* no run reaches the end */
            struct timespec begin, end;
            (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
            cut(pretokenizer, text, N);
            (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
            const double seconds = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) * 1e-9;
            cr_expect_lt(seconds, most, "%s: '%s' took %g s", name->name, units[u], seconds);
        }
    }
}
