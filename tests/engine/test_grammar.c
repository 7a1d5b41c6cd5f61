/* Grammars: what they take, which tokens they allow, what is refused and how fast; then sessions that follow one. */
#include "engine.h"
#include "golden.h"
#include "support/rng.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <time.h>

#define JSON                                                                                                                       \
    "root ::= value\n"                                                                                                             \
    "value ::= object | array | string | number | \"true\" | \"false\" | \"null\"\n"                                               \
    "object ::= \"{\" ws (string \":\" ws value (\",\" ws string \":\" ws value)*)? \"}\" ws\n"                                    \
    "array ::= \"[\" ws (value (\",\" ws value)*)? \"]\" ws\n"                                                                     \
    "string ::= \"\\\"\" ([^\"\\\\\\x7F\\x00-\\x1F] | \"\\\\\" ([\"\\\\bfnrt] | \"u\" [0-9a-fA-F]{4}))* \"\\\"\" ws\n"             \
    "number ::= \"-\"? (\"0\" | [1-9] [0-9]{0,15}) (\".\" [0-9]{1,16})? ([eE] [-+]? [0-9]{1,3})? ws\n"                             \
    "ws ::= | \" \" | \"\\n\" [ \\t]{0,20}\n"
#define ARITHMETIC                                                                                                                 \
    "root ::= (expr \"=\" term \"\\n\")+\nexpr ::= term ([-+*/] term)*\nterm ::= [a-z] [a-z0-9]* | [0-9]+ | \"(\" expr \")\"\n"
#define JAPANESE "root ::= ([ぁ-ゟ] | [ァ-ヿ] | [一-龯] | [、。])+ \"\\n\"?\n"

static struct hearth_grammar *grammar;
static void *memory;
static struct hearth_matcher *matcher;
static hearth_error err;

static hearth_status compile(const char *text, size_t n)
{
    if (!grammar) {
        grammar = malloc(sizeof *grammar);
        memory = aligned_alloc(64, hearth_matcher_bytes());
    }
    const hearth_status status = hearth_grammar_compile(grammar, memory, text, n, &err);
    matcher = status == HEARTH_OK ? hearth_matcher_start(memory, grammar) : NULL;
    return status;
}

static void need(const char *text)
{
    cr_assert_eq(compile(text, strlen(text)), HEARTH_OK, "%s", err.message);
}

static void advance(const char *text)
{
    hearth_matcher_advance(matcher, (const uint8_t *)text, strlen(text));
}

static double seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* ---- The language ---------------------------------------------------------------------------------------------------- */

Test(grammar, takes_what_it_says)
{
    static const struct {
        const char *grammar, *texts, *others; /* separated by '|' */
    } cases[] = {
        {"root ::= \"a\" | \"bc\" |", "a|bc|", "b|c|ab|abc|bca"},
        {"root::=(\"a\"\n|\n\"b\")# comment\n", "a|b", "|ab"},
        {"root ::= \"ab\"* \"c\"", "c|abc|ababc", "ab|ac|aabc"},
        {"root ::= \"ab\"+ \"c\"?", "ab|abc|ababab", "|c|abcc"},
        {"root ::= \"x\"{3}", "xxx", "xx|xxxx|"},
        {"root ::= \"xy\"{2,}", "xyxy|xyxyxyxyxy", "xy|xyx"},
        {"root ::= \"xy\"{1,3}", "xy|xyxy|xyxyxy", "|xyxyxyxy|xyxyx"},
        {"root ::= \"x\"{0,2}", "|x|xx", "xxx"},
        {"root ::= \"x\"{0} \"y\"{1} \"z\"{0,1}", "y|yz", "xy|z|yzz"},
        {"root ::= (\"a\" | \"b\"){2,3}", "aa|ab|bab", "a|abab"},
        {"root ::= ((\"a\"{2}){2}){2}", "aaaaaaaa", "aaaaaaa|aaaaaaaaa"},
        {"root ::= (\"a\"? \"b\"?)* \"c\"", "c|abc|bac|aabbc", "ab|ca"},
        {"root ::= \"\"* \"a\" \"\"", "a", "|aa"},
        {"root ::= [a-c-] [^a-c] [\\]\\x41-\\u0043]", "-d]|adA|céB", "bbA|ddA|adD"},
        {"root ::= \"\\n\\t\\\\\\\"\\u00e9\\U0001F600\"", "\n\t\\\"é😀", "n"},
        {"root ::= . .", "ab|é\n|😀😀", "a|abc"},
        {"root ::= a a\na ::= \"old\"\na ::= \"new\"", "newnew", "old|oldold|new"},
        {"root ::= \"(\" root \")\" | \"x\"", "x|((x))", "(x|()|x)"},
        {"root ::= \"x\" root | \"x\"", "x|xxxxx", "|xy"},
        {"root ::=\n  \"a\"", "a", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int good = 0; good <= 1; good++) {
            const char *at = good ? cases[i].texts : cases[i].others;
            if (!good && !*at)
                continue;
            for (;; at++) {
                const size_t n = strcspn(at, "|");
                need(cases[i].grammar);
                hearth_matcher_advance(matcher, (const uint8_t *)at, n);
                cr_expect_eq(hearth_matcher_accepts(matcher), good, "%s: '%.*s'", cases[i].grammar, (int)n, at);
                if (!*(at += n))
                    break;
            }
        }
}

static size_t encode(uint32_t code, uint8_t out[4])
{
    if (code < 0x80)
        return out[0] = (uint8_t)code, 1;
    const size_t n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, code >>= 6)
        out[i] = (uint8_t)(0x80 | (code & 0x3f));
    return out[0] = (uint8_t)((n == 2 ? 0xc0 : n == 3 ? 0xe0 : 0xf0) | code), n;
}

/* Every code point there is, and every surrogate, against classes of random ranges: the byte sequences are exactly those. */
Test(grammar, classes_are_exact)
{
    struct rng rng = rng_start();
    for (int round = 0; round < 6; round++) {
        char text[512];
        uint32_t low[5], high[5];
        const bool negated = round % 2 == 1;
        size_t n = (size_t)snprintf(text, sizeof text, "root ::= [%s", negated ? "^" : "");
        for (int i = 0; i < 5; i++) {
            static const uint32_t limits[] = {0x80, 0x800, 0x3000, 0x10000, 0x110000};
            do {
                low[i] = (uint32_t)rng_below(&rng, limits[i]);
                high[i] = low[i] + (uint32_t)rng_below(&rng, limits[i] - low[i]);
            } while ((low[i] >= 0xd800 && low[i] < 0xe000) || (high[i] >= 0xd800 && high[i] < 0xe000));
            n += (size_t)snprintf(text + n, sizeof text - n, "\\U%08x-\\U%08x", low[i], high[i]);
        }
        (void)snprintf(text + n, sizeof text - n, "]");
        need(text);
        for (uint32_t code = 0; code < 0x110000; code++) {
            uint8_t bytes[4];
            bool inside = negated;
            for (int i = 0; i < 5; i++)
                inside = code >= low[i] && code <= high[i] ? !negated : inside;
            if (code >= 0xd800 && code < 0xe000)
                inside = false;
            matcher = hearth_matcher_start(memory, grammar);
            hearth_matcher_advance(matcher, bytes, encode(code, bytes));
            cr_assert_eq(hearth_matcher_accepts(matcher), inside, "%s: U+%04X", text, code);
            code += code > 0x3100 ? (uint32_t)rng_below(&rng, 64) : 0; /* starting anew costs: above, a sample */
        }
    }
}

Test(grammar, nesting_has_an_end)
{
    char *text = malloc(200000);
    need(JSON);
    memset(text, '[', 900);
    memset(text + 900, ']', 900);
    text[1800] = '\0';
    advance(text);
    cr_expect(hearth_matcher_accepts(matcher));
    need(JSON);
    memset(text, '[', 5000);
    text[5000] = '\0';
    advance(text);
    cr_expect(!hearth_matcher_accepts(matcher));
    free(text);
}

/* So many different states that the tables are emptied many times over. */
Test(grammar, forgetting_changes_nothing)
{
    static const char g[] = "root ::= a{1999} \"!\"\na ::= b{3} \",\"\nb ::= [a-z]{1,40} \";\"\n";
    struct rng rng = rng_start();
    need(g);
    for (int i = 0; i < 1999; i++) {
        for (int j = 0; j < 3; j++) {
            char word[64];
            const size_t n = 1 + rng_below(&rng, 40);
            for (size_t k = 0; k < n; k++)
                word[k] = (char)('a' + rng_below(&rng, 26));
            word[n] = ';';
            hearth_matcher_advance(matcher, (const uint8_t *)word, n + 1);
        }
        advance(",");
    }
    cr_expect(!hearth_matcher_accepts(matcher));
    advance("!");
    cr_expect(hearth_matcher_accepts(matcher));
    cr_expect(hearth_matcher_is_done(matcher));
    advance("!");
    cr_expect(!hearth_matcher_accepts(matcher));
}

/* ---- Errors ------------------------------------------------------------------------------------------------------------ */

Test(grammar, errors_name_the_line)
{
    static const struct {
        const char *grammar, *message;
    } cases[] = {
        {"", "no rule 'root'"},
        {"\n\nroot = \"a\"", "line 3"},
        {"root ::= \"a\n\"", "line 1: a literal or class has no end"},
        {"root ::= \"a", "line 1: a literal or class has no end"},
        {"root ::= [a", "no end"},
        {"root ::= []", "matches no character"},
        {"root ::= [b-a]", "before its beginning"},
        {"root ::= [^\\x00-\\U0010ffff]", "matches no character"},
        {"root ::= \"\\q\"", "behind \\"},
        {"root ::= \"\\xg0\"", "hexadecimal"},
        {"root ::= \"\\ud800\"", "no character"},
        {"root ::= \"\\U00110000\"", "no character"},
        {"root ::= \"\xff\"", "UTF-8"},
        {"root ::= \"\xc3", "UTF-8"},
        {"root ::= (\"a\"\n\n|\"b\"", "line 3: the text ends"},
        {"root ::= \"a\")", "got ')'"},
        {"root ::= \"a\"{2", "need }"},
        {"root ::= \"a\"{x}", "a number of repetitions"},
        {"root ::= \"a\"{3,2}", "fewer than the least"},
        {"root ::= \"a\"{2001}", "too many repetitions"},
        {"root ::= \"a\"{99999999999999999999}", "too many repetitions"},
        {"root ::= \"a\"**", "got '*'"},
        {"root ::= *", "got '*'"},
        {"root ::= \"a\"\nother ::= missing", "line 2: rule 'missing' is used, but not defined"},
        {"root ::= <[12]>", "not supported"},
        {"root ::= \"a\"\n\nb ::= b \"x\"\n", "line 3: rule 'b' is left-recursive"},
        {"root ::= a\na ::= \"\" b\nb ::= (\"x\"? a){0,3} \"y\"", "is left-recursive"},
        {"root ::= (root)", "line 1: rule 'root' is left-recursive"},
        {"root ::= (root \"x\"){2}", "line 1: rule 'root' is left-recursive"},
        {"root ::= e root | \"a\"\ne ::= \"a\"* ", "is left-recursive"},
        {"root ::= \"a\" $", "got '$'"},
        {"_ ::= \"a\"", "name of a rule"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_expect_eq(compile(cases[i].grammar, strlen(cases[i].grammar)), HEARTH_E_CONFIG, "%s", cases[i].grammar);
        cr_expect(strstr(err.message, cases[i].message) != NULL, "%s: %s", cases[i].grammar, err.message);
        cr_expect_str_eq(err.detail, "E_GRAMMAR");
    }
    cr_expect_eq(compile("root ::= \"a\0b\" \0", 16), HEARTH_E_CONFIG);
    cr_expect(strstr(err.message, "got '\\x00'") != NULL, "%s", err.message);
}

/* Cuts and flips of a good grammar: an error or not, never worse; a sanitizer watches. */
Test(grammar, damaged_texts)
{
    struct rng rng = rng_start();
    static const char signs[] = "\"[](){}|*+?,.:=#\n\\<!-^019azx \xff\xc3\xa9";
    for (int i = 0; i < 3000; i++) {
        char text[] = JSON;
        size_t n = sizeof text - 1;
        for (size_t k = rng_below(&rng, 4); k > 0; k--)
            text[rng_below(&rng, (uint32_t)n)] = signs[rng_below(&rng, sizeof signs - 1)];
        n = rng_below(&rng, 2) ? n : rng_below(&rng, (uint32_t)n);
        char *exact = malloc(n ? n : 1);
        memcpy(exact, text, n);
        if (compile(exact, n) == HEARTH_OK)
            advance("{\"a\": [1, 2.5e3, \"\\u00e9\"], \"b\": null}");
        free(exact);
    }
}

/* ---- Tokens ------------------------------------------------------------------------------------------------------------ */

static hearth_engine *engine;
static hearth_model *model;

static void open_vocabulary(const char *path)
{
    const hearth_engine_options options = {.struct_size = sizeof options, .threads = 1};
    cr_assert_eq(hearth_engine_open(&engine, &options, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_model_open_vocabulary(&model, engine, path, &err), HEARTH_OK, "%s", err.message);
    model->order.ids = malloc(hearth_model_vocabulary_size(model) * sizeof(int32_t));
    model->order.shared = malloc(hearth_model_vocabulary_size(model));
    hearth_piece_order_make(&model->order, model->tokenizer);
}

static void close_vocabulary(void)
{
    free(model->order.ids);
    free(model->order.shared);
    hearth_model_close(model);
    hearth_engine_close(engine);
}

/* The tokens allowed after `text`, against trying each of them alone from the beginning. */
static void check_allowed(const char *text, size_t n_text)
{
    const uint32_t n = hearth_model_vocabulary_size(model);
    uint64_t *allowed = calloc(n / 64 + 1, sizeof *allowed);
    size_t n_good = 0;
    matcher = hearth_matcher_start(memory, grammar);
    hearth_matcher_advance(matcher, (const uint8_t *)text, n_text);
    const hearth_status status = hearth_matcher_allow(matcher, &model->order, model->tokenizer, allowed, &err);
    const bool accepts = hearth_matcher_accepts(matcher);
    for (uint32_t id = 0; id < n; id++) {
        const struct hearth_view piece = hearth_tokenizer_piece(model->tokenizer, (int32_t)id);
        bool good = hearth_tokenizer_is_end(model->tokenizer, (int32_t)id) && accepts;
        if (piece.size > 0 && piece.bytes[0]) {
            matcher = hearth_matcher_start(memory, grammar);
            hearth_matcher_advance(matcher, (const uint8_t *)text, n_text);
            hearth_matcher_advance(matcher, piece.bytes, piece.size);
            good = !hearth_matcher_is_dead(matcher);
        }
        n_good += good;
        cr_expect_eq(allowed[id / 64] >> id % 64 & 1, good, "after '%.*s': token %u '%.*s'", (int)n_text, text, id, (int)piece.size,
                     (const char *)piece.bytes);
    }
    cr_expect_eq(status, n_good ? HEARTH_OK : HEARTH_E_CONFIG);
    free(allowed);
}

static void check_all_allowed(size_t most_places)
{
    static const struct {
        const char *grammar, *text;
    } cases[] = {
        {JSON, "{\"name\": \"J\xc3\xbcrgen \\u00e9\", \"list\": [1, -2.5e3, true,\n  null], \"o\": {}} "},
        {ARITHMETIC, "a1+(b*22-(c))=17\nx=y\n"},
        {JAPANESE, "こんにちは、世界。\n"},
        {"root ::= [^a-z\\n]{2,7} .{0,3} \"é\"? ", "A\xc3\xa4\xe3\x81\x82-\xf0\x9f\x98\x80."},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const size_t n = strlen(cases[i].text), step = n / most_places + 1;
        need(cases[i].grammar);
        for (size_t at = 0; at <= n; at += step) /* inside characters, too */
            check_allowed(cases[i].text, at);
    }
}

Test(grammar, tokens_of_the_bundled_model)
{
    char path[GOLDEN_PATH];
    golden_source(path, "models/hearth-home.Q4_K_M.gguf");
    open_vocabulary(path);
    check_all_allowed(40);
    close_vocabulary();
}

Test(grammar, tokens_of_llama)
{
    char path[GOLDEN_PATH];
    if (!golden_shared(path, "vocab/ggml-vocab-llama-spm.gguf"))
        cr_skip_test("HEARTH_SHARED is not set");
    open_vocabulary(path);
    check_all_allowed(3);
    close_vocabulary();
}

/* Whatever a grammar asks for, compiling it and every step of it ends within 100 ms, with an error where it is too much. */
Test(grammar, hostile_grammars_end_soon)
{
    static const struct {
        const char *head, *part, *tail; /* the part many times */
        size_t times;
        const char *text; /* that many times */
    } cases[] = {
        {"root ::= (", "(", "", 70, ""},
        {"root ::= ", "(", "", 500000, ""},
        {"root ::= ", "\"a\"{2000} ", "", 40, "a"},
        {"root ::= ((((((", "\"a\"?", "){2000}){2000}){2000}){2000}){2000}){2000}", 1, "a"},
        {"root ::= ", "(\"a\"* \"b\"*)* ", "", 1000, "a"},
        {"root ::= (", "\"a\"? ", ")* \"!\"", 6000, "a"},
        {"root ::= s s? s?\ns ::= \"a\" s s s | \"a\" s s | ", "\"a\" s |", "\"a\"", 10, "a"},
        {"root ::= s\ns ::= ", "\"a\" s \"a\" | \"a\" s \"b\" | ", "\"a\"", 100, "a"},
        {"root ::= x*\nx ::= ", "[a-z]{0,50} \"q\" | ", "\"a\"", 300, "abcdefgh"},
        {"root ::= ", ". | .. | ... | ", ".", 3000, "x"},
        {"root ::= a\n", "a ::= \"x\" a | \"y\"\n", "", 20000, "x"},
        {"root ::= ", "a-", "", 200000, ""},
        {"root ::= [", "z", "] root | \"\"", 400, "z"},
        {"root ::= [", "\\U0010fffe\\U00010000\\u0800\\u1000", "]*", 100, "x"},
        {"root ::= (", "[a-z]{0,250} ", ")*", 25, "abcdefghijkl"},
        {"root ::= x*\nx ::= [a-z] (x | \"!\" ", "| [a-z] x", ") x | \"q\"", 3, "ab"},
        {"# ", "#", "\n", 500000, ""},
        {"root ::= ", "\n", "\"a\"", 500000, ""},
    };
    char path[GOLDEN_PATH];
    const char *sanitized = getenv("HEARTH_SANITIZE");
    const double limit = sanitized && *sanitized ? 10 : 0.1;
    if (!golden_shared(path, "vocab/ggml-vocab-llama-spm.gguf"))
        golden_source(path, "models/hearth-home.Q4_K_M.gguf");
    open_vocabulary(path);
    uint64_t *allowed = calloc(hearth_model_vocabulary_size(model) / 64 + 1, sizeof *allowed);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const size_t head = strlen(cases[i].head), part = strlen(cases[i].part), tail = strlen(cases[i].tail);
        char *text = malloc(head + part * cases[i].times + tail + 1);
        memcpy(text, cases[i].head, head);
        for (size_t k = 0; k < cases[i].times; k++)
            memcpy(text + head + k * part, cases[i].part, part);
        memcpy(text + head + part * cases[i].times, cases[i].tail, tail + 1);
        double begin = seconds();
        hearth_status status = compile(text, strlen(text));
        double longest = seconds() - begin;
        for (int k = 0; k < 40 && status == HEARTH_OK; k++) {
            begin = seconds();
            status = hearth_matcher_allow(matcher, &model->order, model->tokenizer, allowed, &err);
            advance(cases[i].text);
            longest = seconds() - begin > longest ? seconds() - begin : longest;
        }
        cr_log_info("%2zu: %6.2f ms, %s", i, longest * 1e3, status == HEARTH_OK ? "fine" : err.message);
        cr_expect_lt(longest, limit, "grammar %zu '%.40s…': %g s", i, text, longest);
        free(text);
    }
    free(allowed);
    close_vocabulary();
}

/* ---- Sessions ------------------------------------------------------------------------------------------------------------ */

static hearth_session *session;

static void open_session(bool room)
{
    char path[GOLDEN_PATH];
    golden_source(path, "models/hearth-home.Q4_K_M.gguf");
    const hearth_engine_options options = {.struct_size = sizeof options, .threads = 2};
    const hearth_limits limits = {.struct_size = sizeof limits, .grammar = room};
    cr_assert_eq(hearth_engine_open(&engine, &options, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_model_open(&model, engine, path, &limits, NULL, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_session_open(&session, model, &limits, &err), HEARTH_OK, "%s", err.message);
}

static void close_session(void)
{
    hearth_session_close(session);
    hearth_model_close(model);
    hearth_engine_close(engine);
}

static void begin(const char *text, uint64_t seed, float temperature)
{
    static const char prompt[] = "<|user|>\nHow warm is it?<|end|>\n<|assistant|>\n";
    hearth_sampling sampling;
    hearth_sampling_init(&sampling, sizeof sampling);
    sampling.seed = seed;
    sampling.temperature = temperature;
    hearth_session_reset(session);
    cr_assert_eq(hearth_session_set_sampling(session, &sampling, &err), HEARTH_OK);
    cr_assert_eq(
        hearth_session_feed_text(session, prompt, sizeof prompt - 1, HEARTH_TOKENIZE_BOS | HEARTH_TOKENIZE_SPECIAL, NULL, &err),
        HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_session_set_grammar(session, text, strlen(text), &err), HEARTH_OK, "%s", err.message);
}

struct text {
    char bytes[4096];
    size_t n;
};

static bool collect(const char *bytes, size_t n, void *user)
{
    struct text *t = user;
    memcpy(t->bytes + t->n, bytes, n);
    t->n += n;
    t->bytes[t->n] = '\0';
    return true;
}

static hearth_result generate(struct text *text, uint32_t max_tokens)
{
    const hearth_generation g = {.struct_size = sizeof g, .max_tokens = max_tokens, .text = collect, .text_user = text};
    hearth_result result = {.struct_size = sizeof result};
    cr_assert_eq(hearth_generate(session, &g, &result, &err), HEARTH_OK, "%s", err.message);
    return result;
}

#define DEGREES "root ::= \"It is \" [1-3] [0-9] \" degrees \" (\"warm\" | \"cold\" | \"é\") \".\"?"

/* At any temperature every answer is of the grammar, and complete. */
Test(grammar, answers_follow)
{
    open_session(true);
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct text text = {.n = 0};
        begin(DEGREES, seed, seed % 4 ? 2.5f : 0);
        const hearth_result result = generate(&text, 60);
        cr_expect_eq(result.stop, HEARTH_STOP_END);
        need(DEGREES);
        advance(text.bytes);
        cr_expect(hearth_matcher_accepts(matcher), "'%s'", text.bytes);
    }
    close_session();
}

/* Token by token, by generate or by hand, the answer is the answer at once. */
Test(grammar, answers_in_pieces)
{
    open_session(true);
    for (uint64_t seed = 0; seed < 10; seed++) {
        struct text whole = {.n = 0}, pieces = {.n = 0};
        begin(DEGREES, seed, 1.5f);
        (void)generate(&whole, 60);
        begin(DEGREES, seed, 1.5f);
        while (generate(&pieces, 1).stop == HEARTH_STOP_LENGTH)
            ;
        cr_expect_str_eq(pieces.bytes, whole.bytes);

        size_t n = 0;
        int32_t id = 0;
        char bytes[256] = "";
        begin(DEGREES, seed, 1.5f);
        for (;;) {
            cr_assert_eq(hearth_session_sample(session, &id, &err), HEARTH_OK, "%s", err.message);
            if (hearth_model_is_end(model, id))
                break;
            const struct hearth_view piece = hearth_tokenizer_piece(model->tokenizer, id);
            memcpy(bytes + n, piece.bytes, piece.size);
            n += piece.size;
            cr_assert_eq(hearth_session_feed(session, &id, 1, &err), HEARTH_OK, "%s", err.message);
        }
        cr_expect_str_eq(bytes, whole.bytes);
    }
    close_session();
}

/* Temperature 0 takes the likeliest of the tokens allowed; a beginning fed by the caller counts; what breaks the grammar is told.
 */
Test(grammar, choices)
{
    static const char letters[] = "root ::= [a-z]+ \" \" [0-9]{3}";
    int32_t id, best = -1;
    open_session(true);
    begin(letters, 1, 0);
    const float *logits = hearth_session_logits(session, 0);
    for (uint32_t i = 0; i < hearth_model_vocabulary_size(model); i++) {
        const struct hearth_view piece = hearth_tokenizer_piece(model->tokenizer, (int32_t)i);
        need(letters);
        hearth_matcher_advance(matcher, piece.bytes, piece.size);
        if (piece.size > 0 && !hearth_matcher_is_dead(matcher) && (best < 0 || logits[i] > logits[best]))
            best = (int32_t)i;
    }
    cr_assert_eq(hearth_session_sample(session, &id, &err), HEARTH_OK);
    cr_expect_eq(id, best);

    struct text text = {.n = 0};
    size_t n;
    int32_t ids[16];
    cr_assert_eq(hearth_tokenize(model, "xyz 12", 6, 0, ids, 16, &n, &err), HEARTH_OK); /* with a space before, perhaps */
    begin("root ::= \" \"? [a-z]+ \" \" [0-9]{3}", 1, 0);
    cr_assert_eq(hearth_session_feed(session, ids, n, &err), HEARTH_OK);
    cr_expect_eq(generate(&text, 10).stop, HEARTH_STOP_END);
    cr_expect_eq(strlen(text.bytes), 1, "'%s'", text.bytes);
    cr_expect(text.bytes[0] >= '0' && text.bytes[0] <= '9');

    cr_assert_eq(hearth_session_feed(session, ids, 1, &err), HEARTH_OK);
    cr_expect_eq(hearth_session_sample(session, &id, &err), HEARTH_E_CONFIG);
    cr_expect_str_eq(err.detail, "E_GRAMMAR");
    cr_expect_eq(hearth_session_set_grammar(session, NULL, 0, &err), HEARTH_OK);
    cr_expect_eq(hearth_session_sample(session, &id, &err), HEARTH_OK);
    cr_expect_eq(hearth_session_set_grammar(session, "root ::=", 8, NULL), HEARTH_OK);
    cr_expect_eq(hearth_session_set_grammar(session, "root = ", 7, &err), HEARTH_E_CONFIG);
    cr_expect_eq(hearth_session_sample(session, &id, &err), HEARTH_OK);
    cr_expect_eq(hearth_session_set_grammar(session, NULL, 7, &err), HEARTH_E_CONFIG);
    cr_expect_eq(hearth_session_set_grammar(NULL, NULL, 0, &err), HEARTH_E_CONFIG);
    close_session();
}

Test(grammar, room_is_asked_for)
{
    hearth_session *other = NULL;
    const hearth_limits limits = {.struct_size = sizeof limits, .grammar = 1};
    const hearth_limits first_version = {.struct_size = offsetof(hearth_limits, grammar), .context = 64, .grammar = 1};
    open_session(false);
    cr_expect_eq(hearth_session_set_grammar(session, "root ::= .", 10, &err), HEARTH_E_CONFIG);
    cr_expect_eq(hearth_session_open(&other, model, &limits, &err), HEARTH_E_CONFIG);
    cr_expect_eq(hearth_session_open(&other, model, &first_version, &err), HEARTH_OK, "%s", err.message);
    cr_expect_eq(hearth_session_set_grammar(other, "root ::= .", 10, &err), HEARTH_E_CONFIG);
    hearth_session_close(other);
    close_session();
}
