/* The text stream: whatever way the bytes are cut into pieces, the reader sees the same whole characters, and nothing of a stop
 * string. */
#include "support/rng.h"
#include "text_stream.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define REPLACEMENT "\xef\xbf\xbd"

struct reader {
    char text[4096];
    size_t n;
    size_t calls;
    size_t calls_left; /* before it says stop */
};

/* Well-formed UTF-8, counted in the simplest way: a lead byte and its continuation bytes. */
static bool whole_characters(const char *text, size_t n)
{
    for (size_t i = 0; i < n;) {
        const unsigned char lead = (unsigned char)text[i];
        const size_t size = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
        if (size == 0 || size > n - i)
            return false;
        for (size_t j = 1; j < size; j++) {
            if (((unsigned char)text[i + j] & 0xc0) != 0x80)
                return false;
        }
        i += size;
    }
    return true;
}

static bool receive(const char *text, size_t n, void *user)
{
    struct reader *reader = user;
    cr_assert(n > 0 && reader->n + n <= sizeof reader->text);
    cr_expect(whole_characters(text, n), "a piece of %zu bytes", n);
    memcpy(reader->text + reader->n, text, n);
    reader->n += n;
    reader->calls++;
    return reader->calls_left == 0 || --reader->calls_left > 0;
}

static struct hearth_text_stream *make(uint32_t max_piece)
{
    const size_t bytes = hearth_text_stream_bytes(max_piece);
    cr_assert_eq(bytes % 64, 0);
    return hearth_text_stream_init(aligned_alloc(64, bytes), max_piece);
}

static void begin(struct hearth_text_stream *stream, struct reader *reader, const char *const *stops, uint32_t n_stops)
{
    reader->n = reader->calls = reader->calls_left = 0;
    cr_assert_eq(hearth_text_stream_begin(stream, stops, n_stops, receive, reader, NULL), HEARTH_OK);
}

static void expect_text(const struct reader *reader, const char *want)
{
    cr_expect(reader->n == strlen(want) && memcmp(reader->text, want, reader->n) == 0, "'%.*s', need '%s'", (int)reader->n,
              reader->text, want);
}

/* Push a string byte by byte. */
static enum hearth_stream_state drip(struct hearth_text_stream *stream, const char *text)
{
    enum hearth_stream_state state = HEARTH_STREAM_OPEN;
    for (; *text; text++)
        state = hearth_text_stream_push(stream, text, 1);
    return state;
}

Test(text_stream, shows_at_once_what_is_whole)
{
    struct reader r;
    struct hearth_text_stream *s = make(8);
    begin(s, &r, NULL, 0);
    cr_expect_eq(hearth_text_stream_push(s, "ab", 2), HEARTH_STREAM_OPEN);
    expect_text(&r, "ab");
    cr_expect_eq(hearth_text_stream_push(s, "c\xf0\x9f", 3), HEARTH_STREAM_OPEN);
    expect_text(&r, "abc");
    cr_expect_eq(hearth_text_stream_push(s, "\x98", 1), HEARTH_STREAM_OPEN);
    expect_text(&r, "abc");
    cr_expect_eq(hearth_text_stream_push(s, "\x80", 1), HEARTH_STREAM_OPEN);
    expect_text(&r, "abc\xf0\x9f\x98\x80");
    cr_expect_eq(hearth_text_stream_push(s, "", 0), HEARTH_STREAM_OPEN);
    cr_expect_eq(hearth_text_stream_push(s, "\xe2\x82", 2), HEARTH_STREAM_OPEN);
    cr_expect_eq(hearth_text_stream_finish(s), HEARTH_STREAM_OPEN);
    expect_text(&r, "abc\xf0\x9f\x98\x80" REPLACEMENT);
    free(s);
}

Test(text_stream, replaces_what_is_no_utf_8)
{
    static const struct {
        const char *bytes, *want;
    } cases[] = {
        {"a\x80z", "a" REPLACEMENT "z"},                       /* a continuation byte alone */
        {"\xe2\x82z", REPLACEMENT "z"},                        /* a beginning is replaced as one */
        {"\xc0\xaf", REPLACEMENT REPLACEMENT},                 /* overlong */
        {"\xe0\x80\x80", REPLACEMENT REPLACEMENT REPLACEMENT}, /* overlong */
        {"\xed\xa0\x80", REPLACEMENT REPLACEMENT REPLACEMENT}, /* a surrogate */
        {"\xf4\x90\x80\x80", REPLACEMENT REPLACEMENT REPLACEMENT REPLACEMENT},
        {"\xf0\x9f\x98\xf0\x9f\x98\x80", REPLACEMENT "\xf0\x9f\x98\x80"},
        {"\xff\xfe", REPLACEMENT REPLACEMENT},
        {"\xc3", REPLACEMENT},
    };
    struct reader r;
    struct hearth_text_stream *s = make(8);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        begin(s, &r, NULL, 0);
        (void)hearth_text_stream_push(s, cases[i].bytes, strlen(cases[i].bytes));
        (void)hearth_text_stream_finish(s);
        expect_text(&r, cases[i].want);
        begin(s, &r, NULL, 0);
        (void)drip(s, cases[i].bytes);
        (void)hearth_text_stream_finish(s);
        expect_text(&r, cases[i].want);
    }
    free(s);
}

Test(text_stream, finds_stop_strings_across_borders)
{
    static const char *const stops[] = {"<|end|>", "\n\n", "aab"};
    struct reader r;
    struct hearth_text_stream *s = make(8);
    begin(s, &r, stops, 3);
    cr_expect_eq(drip(s, "hi <|en"), HEARTH_STREAM_OPEN);
    expect_text(&r, "hi ");
    cr_expect_eq(drip(s, "d|>"), HEARTH_STREAM_STOPPED);
    cr_expect_eq(hearth_text_stream_push(s, "more", 4), HEARTH_STREAM_STOPPED);
    cr_expect_eq(hearth_text_stream_finish(s), HEARTH_STREAM_STOPPED);
    expect_text(&r, "hi ");

    begin(s, &r, stops, 3); /* beginnings that come to nothing are shown after all */
    cr_expect_eq(drip(s, "<|e<|end\nx aaa"), HEARTH_STREAM_OPEN);
    expect_text(&r, "<|e<|end\nx a");
    cr_expect_eq(drip(s, "b"), HEARTH_STREAM_STOPPED);
    expect_text(&r, "<|e<|end\nx a");

    begin(s, &r, stops, 3);
    cr_expect_eq(drip(s, "x<|en"), HEARTH_STREAM_OPEN);
    cr_expect_eq(hearth_text_stream_finish(s), HEARTH_STREAM_OPEN);
    expect_text(&r, "x<|en");

    begin(s, &r, stops, 3); /* the whole of it inside one piece, longer than said */
    cr_expect_eq(hearth_text_stream_push(s, "0123456789\n\nabc", 15), HEARTH_STREAM_STOPPED);
    expect_text(&r, "0123456789");
    free(s);
}

Test(text_stream, never_tears_a_character_for_a_stop_string)
{
    static const char *const stops[] = {"\xa9x"}; /* begins with the second byte of é */
    struct reader r;
    struct hearth_text_stream *s = make(8);
    begin(s, &r, stops, 1);
    cr_expect_eq(hearth_text_stream_push(s, "a\xc3\xa9", 3), HEARTH_STREAM_OPEN);
    expect_text(&r, "a");
    cr_expect_eq(hearth_text_stream_push(s, "y", 1), HEARTH_STREAM_OPEN);
    expect_text(&r, "a\xc3\xa9y");
    free(s);
}

Test(text_stream, the_callback_may_end_it)
{
    struct reader r;
    struct hearth_text_stream *s = make(8);
    begin(s, &r, NULL, 0);
    r.calls_left = 2;
    cr_expect_eq(hearth_text_stream_push(s, "a", 1), HEARTH_STREAM_OPEN);
    cr_expect_eq(hearth_text_stream_push(s,
                                         "b\xff"
                                         "c",
                                         3),
                 HEARTH_STREAM_CANCELLED);
    cr_expect_eq(hearth_text_stream_push(s, "d", 1), HEARTH_STREAM_CANCELLED);
    cr_expect_eq(hearth_text_stream_finish(s), HEARTH_STREAM_CANCELLED);
    expect_text(&r, "ab");
    cr_assert_eq(hearth_text_stream_begin(s, (const char *const[]){"x"}, 1, NULL, NULL, NULL), HEARTH_OK); /* nobody listens */
    cr_expect_eq(hearth_text_stream_push(s, "abx", 3), HEARTH_STREAM_STOPPED);
    free(s);
}

Test(text_stream, refuses_bad_stop_strings)
{
    char longest[258];
    memset(longest, 'x', 257);
    longest[257] = '\0';
    const char *many[17];
    for (int i = 0; i < 17; i++)
        many[i] = "x";
    struct hearth_text_stream *s = make(8);
    hearth_error error;
    cr_expect_eq(hearth_text_stream_begin(s, many, 17, NULL, NULL, &error), HEARTH_E_CONFIG);
    cr_expect_not_null(strstr(error.message, "got 17, need at most 16"), "%s", error.message);
    many[3] = "";
    cr_expect_eq(hearth_text_stream_begin(s, many, 16, NULL, NULL, &error), HEARTH_E_CONFIG);
    cr_expect_not_null(strstr(error.message, "stop_strings[3]"), "%s", error.message);
    many[3] = longest;
    cr_expect_eq(hearth_text_stream_begin(s, many, 16, NULL, NULL, &error), HEARTH_E_CONFIG);
    many[3] = NULL;
    cr_expect_eq(hearth_text_stream_begin(s, many, 16, NULL, NULL, &error), HEARTH_E_CONFIG);
    many[3] = longest + 1; /* 256 bytes */
    cr_expect_eq(hearth_text_stream_begin(s, many, 16, NULL, NULL, &error), HEARTH_OK);
    free(s);
}

/* ---- Random texts, random cuts ----------------------------------------------------------------------------------------------- */

/* What a reader must see of the whole text: invalid parts replaced, as one push and finish gives it. */
static void shown_whole(struct hearth_text_stream *stream, struct reader *out, const char *text, size_t n)
{
    begin(stream, out, NULL, 0);
    (void)hearth_text_stream_push(stream, text, n);
    (void)hearth_text_stream_finish(stream);
}

static const char *first_stop(const char *text, size_t n, const char *const *stops, uint32_t n_stops)
{
    for (size_t end = 1; end <= n; end++) { /* the stop string that is complete first; of those the one that begins first */
        const char *found = NULL;
        for (uint32_t i = 0; i < n_stops; i++) {
            const size_t size = strlen(stops[i]);
            if (size <= end && memcmp(text + end - size, stops[i], size) == 0 && (!found || text + end - size < found))
                found = text + end - size;
        }
        if (found)
            return found;
    }
    return NULL;
}

static size_t random_text(struct rng *rng, char *out, uint32_t n_atoms, bool valid)
{
    static const char *const atoms[] = {"a",    "b",    "ab",       "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
                                        "\xff", "\x80", "\xe2\x82", "\xf0\x9f"};
    size_t n = 0;
    for (uint32_t i = 0; i < n_atoms; i++) {
        const char *atom = atoms[rng_below(rng, valid ? 6 : 10)];
        memcpy(out + n, atom, strlen(atom));
        n += strlen(atom);
    }
    out[n] = '\0';
    return n;
}

/* Cut anywhere, without stop strings: always what the uncut text gives, and at most 3 bytes held back. */
Test(text_stream, cuts_do_not_show)
{
    struct rng rng = rng_start();
    struct hearth_text_stream *whole = make(1024);
    struct hearth_text_stream *cut = make(5);
    static struct reader want, got;
    for (int round = 0; round < 20000; round++) {
        char text[256];
        const size_t n = random_text(&rng, text, rng_below(&rng, 40), rng_below(&rng, 2));
        shown_whole(whole, &want, text, n);
        begin(cut, &got, NULL, 0);
        for (size_t at = 0; at < n;) {
            const size_t left = n - at;
            const size_t size = 1 + rng_below(&rng, left < 7 ? (uint32_t)left : 7);
            cr_assert_eq(hearth_text_stream_push(cut, text + at, size), HEARTH_STREAM_OPEN);
            at += size;
        }
        (void)hearth_text_stream_finish(cut);
        cr_assert(got.n == want.n && memcmp(got.text, want.text, got.n) == 0, "round %d", round);
    }
    free(whole);
    free(cut);
}

/* Stop strings none of which stands inside another, over valid text: what is shown ends exactly where the first one begins. */
Test(text_stream, nothing_beyond_a_stop_string_is_seen)
{
    static const char *const stops[] = {"aab",
                                        "\xc3\xa9\xc3\xa9"
                                        "b",
                                        "\xf0\x9f\x98\x80"
                                        "a\xe2\x82\xac",
                                        "bbbb"};
    struct rng rng = rng_start();
    struct hearth_text_stream *s = make(6);
    static struct reader got;
    int stopped = 0;
    for (int round = 0; round < 20000; round++) {
        char text[256];
        const size_t n = random_text(&rng, text, rng_below(&rng, 40), true);
        const char *stop = first_stop(text, n, stops, 4);
        begin(s, &got, stops, 4);
        enum hearth_stream_state state = HEARTH_STREAM_OPEN;
        for (size_t at = 0; at < n && state == HEARTH_STREAM_OPEN;) {
            const size_t left = n - at;
            const size_t size = 1 + rng_below(&rng, left < 6 ? (uint32_t)left : 6);
            state = hearth_text_stream_push(s, text + at, size);
            at += size;
            if (state == HEARTH_STREAM_OPEN) {
                cr_assert_leq(got.n, at);
                cr_assert_leq(at - got.n, 7 + 3); /* the longest beginning of a stop string and of a character */
            }
        }
        cr_assert_eq(hearth_text_stream_finish(s), stop ? HEARTH_STREAM_STOPPED : HEARTH_STREAM_OPEN, "round %d: %s", round, text);
        const size_t want = stop ? (size_t)(stop - text) : n;
        cr_assert(got.n == want && memcmp(got.text, text, want) == 0, "round %d: '%s'", round, text);
        stopped += stop != NULL;
    }
    cr_expect(stopped > 2000 && stopped < 18000, "%d of 20000", stopped);
    free(s);
}
