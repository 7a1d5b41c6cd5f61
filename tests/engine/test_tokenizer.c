/* The tokenizer against published vectors, and against a slow transcription of the rules on small random vocabularies. */
#include "common/status.h"
#include "file.h"
#include "support/rng.h"
#include "tokenizer.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <time.h>

#define MARK "\xe2\x96\x81"

/* ---- A vocabulary in memory ---------------------------------------------------------------------------------------- */

struct token {
    const char *text;
    int32_t type;
    float score;
};

struct fixture {
    struct hearth_gguf gguf, merges; /* merges: a second file, for byte-level vocabularies */
    uint8_t *file, *merges_file;
    struct hearth_vocab vocab;
    struct hearth_tokenizer *tokenizer;
    void *memory, *scratch;
    uint64_t bytes;
};

/* The pairs of a vocabulary, as the loader would find them; special ids as Llama has them. `bytes` NULL: texts end in NUL. */
static void make_vocab_of_bytes(struct fixture *f, const struct token *tokens, const size_t *bytes, uint32_t n, const char *name)
{
    struct hearth_gguf_writer writer;
    struct hearth_view *texts = calloc(n, sizeof *texts);
    int32_t *types = calloc(n, sizeof *types);
    float *scores = calloc(n, sizeof *scores);
    *f = (struct fixture){.scratch = malloc(HEARTH_TOKENIZER_SCRATCH)};
    for (uint32_t i = 0; i < n; i++) {
        texts[i] = (struct hearth_view){(const uint8_t *)tokens[i].text, bytes ? bytes[i] : strlen(tokens[i].text)};
        types[i] = tokens[i].type;
        scores[i] = tokens[i].score;
        f->vocab.text_bytes += texts[i].size;
    }
    hearth_gguf_writer_init(&writer, 32);
    hearth_gguf_write_strings(&writer, "tokens", texts, n);
    hearth_gguf_write_array32(&writer, "types", HEARTH_GGUF_I32, types, n);
    hearth_gguf_write_array32(&writer, "scores", HEARTH_GGUF_F32, scores, n);
    size_t size;
    cr_assert_eq(hearth_gguf_writer_finish(&writer, &f->file, &size, NULL), HEARTH_OK);
    hearth_gguf_writer_free(&writer);
    cr_assert_eq(hearth_gguf_parse(&f->gguf, f->file, size, size, "test.gguf", NULL), HEARTH_OK);
    f->vocab.model = HEARTH_VOCAB_SPM;
    f->vocab.model_name = (struct hearth_view){(const uint8_t *)"llama", 5};
    f->vocab.general_name = (struct hearth_view){(const uint8_t *)name, strlen(name)};
    f->vocab.n_tokens = n;
    f->vocab.tokens = hearth_gguf_find(&f->gguf, "tokens");
    f->vocab.token_types = hearth_gguf_find(&f->gguf, "types");
    f->vocab.scores = hearth_gguf_find(&f->gguf, "scores");
    f->vocab.unk = 0;
    f->vocab.bos = n > 1 ? 1 : HEARTH_TOKEN_NONE;
    f->vocab.eos = n > 2 ? 2 : HEARTH_TOKEN_NONE;
    f->vocab.eot = f->vocab.eom = f->vocab.pad = HEARTH_TOKEN_NONE;
    f->vocab.fim_prefix = f->vocab.fim_suffix = f->vocab.fim_middle = HEARTH_TOKEN_NONE;
    f->vocab.add_bos = true;
    f->vocab.add_space_prefix = true;
    free(texts);
    free(types);
    free(scores);
}

static void make_vocab(struct fixture *f, const struct token *tokens, uint32_t n, const char *name)
{
    make_vocab_of_bytes(f, tokens, NULL, n, name);
}

/* The same, byte-level. Token 1 is its beginning of text, 2 its end. */
static void make_bpe(struct fixture *f, const struct token *tokens, uint32_t n, const char *pre, const char *const *merges,
                     uint32_t n_merges)
{
    struct hearth_gguf_writer writer;
    struct hearth_view *texts = calloc(n_merges + 1, sizeof *texts);
    size_t size;
    make_vocab(f, tokens, n, "test");
    for (uint32_t i = 0; i < n_merges; i++)
        texts[i] = (struct hearth_view){(const uint8_t *)merges[i], strlen(merges[i])};
    hearth_gguf_writer_init(&writer, 32);
    hearth_gguf_write_strings(&writer, "merges", texts, n_merges);
    cr_assert_eq(hearth_gguf_writer_finish(&writer, &f->merges_file, &size, NULL), HEARTH_OK);
    hearth_gguf_writer_free(&writer);
    cr_assert_eq(hearth_gguf_parse(&f->merges, f->merges_file, size, size, "test.gguf", NULL), HEARTH_OK);
    f->vocab.model = HEARTH_VOCAB_BPE;
    f->vocab.pre = (struct hearth_view){(const uint8_t *)pre, strlen(pre)};
    f->vocab.merges = hearth_gguf_find(&f->merges, "merges");
    free(texts);
}

static hearth_status make_tokenizer(struct fixture *f, hearth_error *err)
{
    HEARTH_TRY(hearth_tokenizer_plan(&f->vocab, "test.gguf", &f->bytes, err));
    cr_assert_eq(f->bytes % 64, 0);
    f->memory = aligned_alloc(64, f->bytes); /* exactly what was planned: a sanitizer sees a byte more */
    return hearth_tokenizer_init(&f->tokenizer, f->memory, f->bytes, &f->vocab, "test.gguf", err);
}

static void end_fixture(struct fixture *f)
{
    hearth_gguf_free(&f->gguf);
    hearth_gguf_free(&f->merges);
    free(f->file);
    free(f->merges_file);
    free(f->memory);
    free(f->scratch);
}

static void expect_ids(struct fixture *f, const char *text, size_t bytes, uint32_t flags, const int32_t *want, size_t n_want)
{
    int32_t ids[64];
    size_t n;
    cr_assert_eq(hearth_tokenizer_encode(f->tokenizer, f->scratch, text, bytes, flags, ids, 64, &n), HEARTH_OK);
    cr_expect_eq(n, n_want, "'%s': %zu ids, need %zu", text, n, n_want);
    for (size_t i = 0; i < n && i < n_want; i++)
        cr_expect_eq(ids[i], want[i], "'%s': id %zu is %d, need %d", text, i, ids[i], want[i]);
}
#define EXPECT_IDS(f, text, flags, ...)                                                                                            \
    expect_ids(f, text, strlen(text), flags, (const int32_t[]){__VA_ARGS__},                                                       \
               sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))

/* ---- Published vectors ------------------------------------------------------------------------------------------------- */

static char *read_file(const char *folder, const char *name, const char *suffix, size_t *size)
{
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/vocab/%s%s", folder, name, suffix);
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    cr_assert_eq(fseek(file, 0, SEEK_END), 0);
    *size = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*size + 1);
    cr_assert_eq(fread(bytes, 1, *size, file), *size);
    bytes[*size] = '\0';
    (void)fclose(file);
    return bytes;
}

static void open_real(struct fixture *f, const char *folder, const char *name)
{
    size_t size;
    hearth_error error;
    *f = (struct fixture){.scratch = malloc(HEARTH_TOKENIZER_SCRATCH)};
    f->file = (uint8_t *)read_file(folder, name, "", &size);
    cr_assert_eq(hearth_gguf_parse(&f->gguf, f->file, size, size, name, &error), HEARTH_OK, "%s", error.message);
    cr_assert_eq(hearth_vocab_read(&f->vocab, &f->gguf, 0, NULL, NULL, &error), HEARTH_OK, "%s", error.message);
    cr_assert_eq(make_tokenizer(f, &error), HEARTH_OK, "%s", error.message);
    memset(f->file, 0xee, size); /* everything was copied */
    memset(&f->vocab, 0xee, sizeof f->vocab);
}

/* The folder of golden data; without it the test is skipped aloud. */
static const char *shared_folder(const char *what)
{
    const char *folder = getenv("HEARTH_SHARED");
    if (!folder || !*folder) {
        (void)fprintf(stderr, "skipped: HEARTH_SHARED is not set: %s\n", what);
        cr_skip_test("%s", what);
    }
    return folder;
}

static void run_vectors(const char *name)
{
    static const char separator[] = "\n__ggml_vocab_test__\n";
    const char *folder = shared_folder(name);
    struct fixture f;
    open_real(&f, folder, name);
    size_t size;
    char *texts = read_file(folder, name, ".inp", &size);
    char *lines = read_file(folder, name, ".out", &size);
    char *line = lines;
    int cases = 0;
    char *end;
    for (char *text = texts; (end = strstr(text, separator)); text = end + sizeof separator - 1, cases++) {
        int32_t ids[2048];
        size_t n;
        cr_assert_eq(hearth_tokenizer_encode(f.tokenizer, f.scratch, text, (size_t)(end - text), 0, ids, 2048, &n), HEARTH_OK);
        for (size_t i = 0; i < n; i++)
            cr_expect_eq(ids[i], strtol(line, &line, 10), "%s: text %d, id %zu", name, cases, i);
        cr_expect_eq(*line, '\n', "%s: text %d: more ids than %zu", name, cases, n);
        line = strchr(line, '\n') + 1;
    }
    cr_expect_eq(cases, 46);
    free(texts);
    free(lines);
    end_fixture(&f);
}

Test(tokenizer, vectors_llama_spm)
{
    run_vectors("ggml-vocab-llama-spm.gguf");
}

Test(tokenizer, vectors_phi_3)
{
    run_vectors("ggml-vocab-phi-3.gguf");
}

Test(tokenizer, vectors_gpt_2)
{
    run_vectors("ggml-vocab-gpt-2.gguf");
}

Test(tokenizer, vectors_deepseek_llm)
{
    run_vectors("ggml-vocab-deepseek-llm.gguf");
}

static double cpu_seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* 1 MiB of anything takes about a second at most and is spelt again by its pieces. The bound tells a cost that grows with the
 * length from one that grows with its square, minutes, on the slowest and busiest machine. */
static void tokenize_a_mebibyte(const char *name)
{
    const char *folder = shared_folder("large texts");
    const char *sanitize = getenv("HEARTH_SANITIZE");
    const double most = sanitize && *sanitize && strcmp(sanitize, "OFF") != 0 ? 60.0 : 10.0;
    static const char *const units[] = {"a", "\n",    " ", "\xf0\x9f\x98\x80", "\xcc\x81", "\xe2\x80\x8d",
                                        "<", "<|end", "0", "The cat. ",        "   \x01",  "\xe4\xb8\xad",
                                        "A", ""};
    struct fixture f;
    open_real(&f, folder, name);
    const size_t size = 1 << 20;
    char *text = malloc(size);
    int32_t *ids = malloc((size + 2) * sizeof *ids);
    struct rng rng = rng_start();
    const size_t n_units = sizeof units / sizeof units[0] - (strstr(name, "deepseek") != NULL);
    for (size_t u = 0; u < n_units; u++) {
        const size_t unit = strlen(units[u]);
        for (size_t i = 0; unit && i < size; i++)
            text[i] = units[u][i % unit];
        if (!unit)
            rng_bytes(&rng, text, size);
        size_t n;
        const double begin = cpu_seconds();
        cr_assert_eq(hearth_tokenizer_encode(f.tokenizer, f.scratch, text, size, 0, ids, size + 2, &n), HEARTH_OK);
        const double seconds = cpu_seconds() - begin;
        cr_expect_lt(seconds, most, "'%s' took %g s", units[u], seconds);
        bool begins = true;
        size_t at = 0;
        for (size_t i = 0; i < n; i++) {
            const struct hearth_view piece = hearth_tokenizer_next_piece(f.tokenizer, &begins, ids[i]);
            cr_assert(at + piece.size <= size && memcmp(text + at, piece.bytes, piece.size) == 0, "'%s' at %zu", units[u], at);
            at += piece.size;
        }
        cr_expect_eq(at, size, "'%s'", units[u]);
    }
    free(text);
    free(ids);
    end_fixture(&f);
}

Test(tokenizer, a_mebibyte_of_anything_spm)
{
    tokenize_a_mebibyte("ggml-vocab-phi-3.gguf");
}

Test(tokenizer, a_mebibyte_of_anything_gpt_2)
{
    tokenize_a_mebibyte("ggml-vocab-gpt-2.gguf");
}

/* The vocabulary has no tokens for the bytes that no UTF-8 holds, so chance has to be left out. */
Test(tokenizer, a_mebibyte_of_anything_deepseek_llm)
{
    tokenize_a_mebibyte("ggml-vocab-deepseek-llm.gguf");
}

/* ---- The rules, slowly --------------------------------------------------------------------------------------------------- */

struct slow { /* tokenizers.md 2 and 3 word by word, for texts and vocabularies of a few dozen entries */
    const struct token *tokens;
    int32_t n_tokens;
    bool space_prefix;
    int32_t ids[2048];
    size_t n;
};

static int32_t slow_find(const struct slow *slow, const char *text, size_t n)
{
    for (int32_t id = slow->n_tokens - 1; id >= 0; id--) {
        const int32_t type = slow->tokens[id].type;
        if ((type == HEARTH_TOKEN_NORMAL || type == HEARTH_TOKEN_USER_DEFINED || type == HEARTH_TOKEN_BYTE) && n > 0 &&
            strlen(slow->tokens[id].text) == n && memcmp(slow->tokens[id].text, text, n) == 0)
            return id;
    }
    return -1;
}

static size_t slow_character(const char *text, size_t n) /* the random texts hold characters of these kinds only */
{
    static const char *const wide[] = {MARK, "\xc3\xa9", "\xf0\x9f\x98\x80"};
    for (size_t i = 0; i < 3; i++) {
        const size_t size = strlen(wide[i]);
        if (n >= size && memcmp(text, wide[i], size) == 0)
            return size;
    }
    return 1;
}

static void slow_part(struct slow *slow, const char *text, size_t n)
{
    char marked[1024];
    size_t ends[1024]; /* of the symbols */
    size_t size = 0;
    size_t count = 0;
    for (size_t i = 0; i < n + slow->space_prefix; i++) {
        const char c = i < slow->space_prefix ? ' ' : text[i - slow->space_prefix];
        memcpy(marked + size, c == ' ' ? MARK : &c, c == ' ' ? 3 : 1);
        size += c == ' ' ? 3 : 1;
    }
    for (size_t i = 0; i < size; ends[count++] = i)
        i += slow_character(marked + i, size - i);
    for (;;) {
        int32_t best = -1;
        size_t at = 0;
        for (size_t i = 0; i + 1 < count; i++) {
            const size_t begin = i ? ends[i - 1] : 0;
            const int32_t id = slow_find(slow, marked + begin, ends[i + 1] - begin);
            if (id >= 0 && slow->tokens[id].type != HEARTH_TOKEN_BYTE &&
                (best < 0 || slow->tokens[id].score > slow->tokens[best].score)) {
                best = id;
                at = i;
            }
        }
        if (best < 0)
            break;
        memmove(ends + at, ends + at + 1, (--count - at) * sizeof *ends);
    }
    for (size_t i = 0; i < count; i++) {
        const size_t begin = i ? ends[i - 1] : 0;
        const int32_t id = slow_find(slow, marked + begin, ends[i] - begin);
        if (id >= 0)
            slow->ids[slow->n++] = id;
        for (size_t j = begin; id < 0 && j < ends[i]; j++) {
            char name[8];
            (void)snprintf(name, sizeof name, "<0x%02X>", (unsigned char)marked[j]);
            int32_t byte = slow_find(slow, name, 6);
            byte = byte >= 0 ? byte : slow_find(slow, marked + j, 1);
            slow->ids[slow->n++] = byte >= 0 ? byte : 0;
        }
    }
}

static void slow_encode(struct slow *slow, const char *text, size_t n, uint32_t flags)
{
    size_t begin = 0;
    slow->n = 0;
    for (size_t i = 0; i <= n;) {
        int32_t best = -1;
        for (int32_t id = 0; id < slow->n_tokens; id++) {
            const size_t size = strlen(slow->tokens[id].text);
            const int32_t type = slow->tokens[id].type;
            const bool candidate =
                type == HEARTH_TOKEN_USER_DEFINED || type == HEARTH_TOKEN_CONTROL || type == HEARTH_TOKEN_UNKNOWN;
            if (candidate && size > 0 && size <= n - i && memcmp(slow->tokens[id].text, text + i, size) == 0 &&
                (type == HEARTH_TOKEN_USER_DEFINED || flags & HEARTH_TOKENIZE_SPECIAL) &&
                (best < 0 || size >= strlen(slow->tokens[best].text)))
                best = id;
        }
        if (best < 0 && i < n) {
            i++;
            continue;
        }
        if (i > begin)
            slow_part(slow, text + begin, i - begin);
        if (best < 0)
            break;
        slow->ids[slow->n++] = best;
        begin = i += strlen(slow->tokens[best].text);
    }
    if (flags & HEARTH_TOKENIZE_BOS && (slow->n == 0 || slow->ids[0] != 1)) {
        memmove(slow->ids + 1, slow->ids, slow->n++ * sizeof *slow->ids);
        slow->ids[0] = 1;
    }
}

static const char *const atoms[] = {"a", "b", "<", ">", "\n", " ", MARK, "\xc3\xa9", "\xf0\x9f\x98\x80", "\xff", "\xc3"};

/* Atoms one after the other; into token texts go only those that are characters. */
static size_t random_text(struct rng *rng, char *out, uint32_t n_atoms, uint32_t kinds)
{
    size_t size = 0;
    for (uint32_t i = 0; i < n_atoms; i++) {
        const char *atom = atoms[rng_below(rng, kinds)];
        memcpy(out + size, atom, strlen(atom));
        size += strlen(atom);
    }
    out[size] = '\0';
    return size;
}

Test(tokenizer, equals_the_rules_on_random_vocabularies)
{
    enum { TOKENS = 60, ROUNDS = 400, TEXTS = 30 };
    static char texts[TOKENS][40];
    static struct slow slow;
    struct rng rng = rng_start();
    for (int round = 0; round < ROUNDS; round++) {
        struct token tokens[TOKENS] = {
            {"<unk>", HEARTH_TOKEN_UNKNOWN, 0}, {"<s>", HEARTH_TOKEN_CONTROL, 0}, {"<e>", HEARTH_TOKEN_CONTROL, 0}};
        for (uint32_t i = 3; i < TOKENS; i++) {
            static const int32_t types[] = {1, 1, 1, 1, 1, 1, 1, 1, 4, 3, 5, 6};
            tokens[i].type = types[rng_below(&rng, 12)];
            tokens[i].score = -(float)rng_below(&rng, 8); /* many ties */
            tokens[i].text = texts[i];
            random_text(&rng, texts[i], 1 + rng_below(&rng, 4), 9);
            if (tokens[i].type == HEARTH_TOKEN_BYTE)
                (void)snprintf(texts[i], sizeof texts[i], "<0x%02X>",
                               (unsigned)"\xff\xc3\xa9\xf0\x9f\xe2"[rng_below(&rng, 6)] & 255u);
        }
        struct fixture f;
        make_vocab(&f, tokens, TOKENS, "test");
        f.vocab.add_space_prefix = rng_below(&rng, 2);
        cr_assert_eq(make_tokenizer(&f, NULL), HEARTH_OK);
        slow = (struct slow){.tokens = tokens, .n_tokens = TOKENS, .space_prefix = f.vocab.add_space_prefix};
        for (int t = 0; t < TEXTS; t++) {
            char text[256];
            int32_t ids[2048];
            size_t n;
            const size_t size = random_text(&rng, text, rng_below(&rng, 40), sizeof atoms / sizeof atoms[0]);
            const uint32_t flags = rng_below(&rng, 4);
            slow_encode(&slow, text, size, flags);
            cr_assert_eq(hearth_tokenizer_encode(f.tokenizer, f.scratch, text, size, flags, ids, 2048, &n), HEARTH_OK);
            cr_assert_eq(n, slow.n, "round %d text %d: %zu ids, need %zu", round, t, n, slow.n);
            cr_assert_eq(memcmp(ids, slow.ids, n * sizeof *ids), 0, "round %d text %d", round, t);
        }
        end_fixture(&f);
    }
}

/* Tokens of any bytes and any type, and ids that do not exist: no rule for the result, but no harm and no endless loop. */
Test(tokenizer, survives_any_vocabulary)
{
    enum { TOKENS = 40 };
    static char texts[TOKENS][8];
    struct rng rng = rng_start();
    int made = 0;
    for (int round = 0; round < 500; round++) {
        struct token tokens[TOKENS];
        size_t bytes[TOKENS];
        const uint32_t spread = rng_below(&rng, 2) ? 4 : 256;
        for (uint32_t i = 0; i < TOKENS; i++) {
            for (size_t j = 0; j < sizeof texts[i]; j++)
                texts[i][j] = (char)(rng_below(&rng, spread) + (spread == 4 ? 0x80 : 0));
            tokens[i] = (struct token){texts[i], (int32_t)rng_below(&rng, 8) - 1, rng_uniform(&rng, -1, 1)};
            bytes[i] = 1 + rng_below(&rng, 8);
            if (tokens[i].type == HEARTH_TOKEN_BYTE)
                tokens[i].type = (int32_t)rng_next(&rng);
            static const float odd[] = {NAN, -NAN, INFINITY, -INFINITY, -0.0f};
            if (rng_below(&rng, 4) == 0)
                tokens[i].score = odd[rng_below(&rng, 5)];
        }
        struct fixture f;
        make_vocab_of_bytes(&f, tokens, bytes, TOKENS, "phi3");
        f.vocab.bos = (int32_t)rng_below(&rng, 2 * TOKENS) - 5;
        f.vocab.unk = (int32_t)rng_next(&rng);
        f.vocab.eot = (int32_t)rng_next(&rng);
        if (make_tokenizer(&f, NULL) == HEARTH_OK) {
            made++;
            char text[300];
            int32_t ids[400];
            size_t n;
            rng_bytes(&rng, text, sizeof text);
            for (size_t i = 0; spread == 4 && i < sizeof text; i++)
                text[i] = (char)(0x80 | (text[i] & 3));
            (void)hearth_tokenizer_encode(f.tokenizer, f.scratch, text, sizeof text, rng_below(&rng, 4), ids, 400, &n);
            for (size_t i = 0; i < n && i < 400; i++) {
                cr_assert(ids[i] >= 0 && ids[i] < TOKENS);
                cr_assert_leq(hearth_tokenizer_piece(f.tokenizer, ids[i]).size, hearth_tokenizer_max_piece(f.tokenizer));
            }
        }
        end_fixture(&f);
    }
    cr_expect_eq(made, 500);
}

/* ---- Single rules --------------------------------------------------------------------------------------------------------- */

static const struct token small[] = {
    {"<unk>", HEARTH_TOKEN_UNKNOWN, 0},
    {"<s>", HEARTH_TOKEN_CONTROL, 0},
    {"</s>", HEARTH_TOKEN_CONTROL, 0},
    {"<0x0A>", HEARTH_TOKEN_BYTE, 0},
    {"<0xFF>", HEARTH_TOKEN_BYTE, 0},
    {MARK, HEARTH_TOKEN_NORMAL, -9}, /* 5 */
    {"a", HEARTH_TOKEN_NORMAL, -9},
    {"b", HEARTH_TOKEN_NORMAL, -9},
    {MARK "a", HEARTH_TOKEN_NORMAL, -1}, /* 8 */
    {"ab", HEARTH_TOKEN_NORMAL, -2},
    {"<|user|>", HEARTH_TOKEN_CONTROL, 0}, /* 10 */
    {"<|us", HEARTH_TOKEN_USER_DEFINED, 0},
    {"b", HEARTH_TOKEN_NORMAL, -9}, /* 12: the same text once more */
    {"", HEARTH_TOKEN_NORMAL, 0},
    {"<unused3>", HEARTH_TOKEN_CONTROL, 0}, /* 14 */
    {"<|im_end|>", HEARTH_TOKEN_NORMAL, 0},
    {"<0xE2>", HEARTH_TOKEN_BYTE, 0}, /* 16 */
    {"\xc3\xa9" MARK "x", HEARTH_TOKEN_USER_DEFINED, 0},
};
#define SMALL (sizeof small / sizeof small[0])

Test(tokenizer, merges_bytes_and_special_tokens)
{
    struct fixture f;
    make_vocab(&f, small, SMALL, "test");
    cr_assert_eq(make_tokenizer(&f, NULL), HEARTH_OK);
    cr_expect_eq(hearth_tokenizer_count(f.tokenizer), SMALL);
    expect_ids(&f, "", 0, 0, NULL, 0);
    EXPECT_IDS(&f, "", HEARTH_TOKENIZE_BOS, 1);
    EXPECT_IDS(&f, "a", 0, 8);
    EXPECT_IDS(&f, "ab", 0, 8, 12); /* the better score first; of equal texts the last id */
    EXPECT_IDS(&f, "bab", HEARTH_TOKENIZE_BOS, 1, 5, 12, 9);
    EXPECT_IDS(&f, "\n\xff", 0, 5, 3, 4);
    EXPECT_IDS(&f, "c", 0, 5, 0); /* no token, no byte token */
    EXPECT_IDS(&f, "<|user|>a", HEARTH_TOKENIZE_SPECIAL, 10, 8);
    EXPECT_IDS(&f, "<|user|>", 0, 11, 5, 0, 0, 0, 0); /* a stranger's text: only user-defined tokens */
    EXPECT_IDS(&f, "<s>a", HEARTH_TOKENIZE_BOS | HEARTH_TOKENIZE_SPECIAL, 1, 8);
    EXPECT_IDS(&f, "\xc3\xa9" MARK "x", 0, 17);
    EXPECT_IDS(&f, "<unused3>", HEARTH_TOKENIZE_SPECIAL, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    end_fixture(&f);
}

/* marks: one digit for each byte of the text. */
static void expect_marked(struct fixture *f, const char *text, const char *marks, const int32_t *want, size_t n_want)
{
    int32_t ids[64];
    uint8_t from_caller[64];
    size_t n;
    for (size_t i = 0; i < strlen(text); i++)
        from_caller[i] = marks[i] == '1';
    cr_assert_eq(hearth_tokenizer_encode_marked(f->tokenizer, f->scratch, text, from_caller, strlen(text), HEARTH_TOKENIZE_SPECIAL,
                                                ids, 64, &n),
                 HEARTH_OK);
    cr_expect(n == n_want && memcmp(ids, want, n * sizeof *ids) == 0, "'%s' marked %s", text, marks);
}

/* What one byte of a stranger takes part in is no control token, whoever wrote the rest. */
Test(tokenizer, finds_control_tokens_only_outside_marks)
{
    struct fixture f;
    make_vocab(&f, small, SMALL, "test");
    cr_assert_eq(make_tokenizer(&f, NULL), HEARTH_OK);
    static const int32_t special[] = {10, 8}, plain[] = {11, 5, 0, 0, 0, 0}, both[] = {10, 8, 11, 5, 0, 0, 0, 0};
    expect_marked(&f, "<|user|>a", "000000000", special, 2);
    expect_marked(&f, "<|user|>a", "000000001", special, 2);
    expect_marked(&f, "<|user|>", "11111111", plain, 6);
    expect_marked(&f, "<|user|>", "10000000", plain, 6);
    expect_marked(&f, "<|user|>", "00000001", plain, 6);
    expect_marked(&f, "<|user|>a<|user|>", "00000000111111111", both, 8);
    end_fixture(&f);
}

Test(tokenizer, counts_all_and_writes_what_fits)
{
    struct fixture f;
    make_vocab(&f, small, SMALL, "test");
    cr_assert_eq(make_tokenizer(&f, NULL), HEARTH_OK);
    size_t n;
    int32_t ids[3] = {-7, -7, -7};
    cr_expect_eq(hearth_tokenizer_encode(f.tokenizer, f.scratch, "bab", 3, 0, NULL, 0, &n), HEARTH_E_CONFIG);
    cr_expect_eq(n, 3);
    cr_expect_eq(hearth_tokenizer_encode(f.tokenizer, f.scratch, "bab", 3, 0, ids, 2, &n), HEARTH_E_CONFIG);
    cr_expect(n == 3 && ids[0] == 5 && ids[1] == 12 && ids[2] == -7);
    cr_expect_eq(hearth_tokenizer_encode(f.tokenizer, f.scratch, "bab", 3, 0, ids, 3, &n), HEARTH_OK);
    end_fixture(&f);
}

static bool piece_is(const struct fixture *f, int32_t id, const char *text)
{
    const struct hearth_view piece = hearth_tokenizer_piece(f->tokenizer, id);
    return piece.size == strlen(text) && memcmp(piece.bytes, text, piece.size) == 0;
}

Test(tokenizer, pieces)
{
    struct fixture f;
    make_vocab(&f, small, SMALL, "test");
    cr_assert_eq(make_tokenizer(&f, NULL), HEARTH_OK);
    static const char *const want[SMALL] = {"",   "", "",     "\n", "\xff", " ", "a", "b",    " a",
                                            "ab", "", "<|us", "b",  "",     "",  "",  "\xe2", "\xc3\xa9" MARK "x"};
    for (int32_t id = 0; id < (int32_t)SMALL; id++)
        cr_expect(piece_is(&f, id, want[id]), "id %d", id);
    cr_expect(piece_is(&f, -1, "") && piece_is(&f, SMALL, "") && piece_is(&f, INT32_MAX, "") && piece_is(&f, INT32_MIN, ""));
    cr_expect(!hearth_tokenizer_is_end(f.tokenizer, -1) && !hearth_tokenizer_is_end(f.tokenizer, SMALL));
    bool begins = true;
    cr_expect_eq(hearth_tokenizer_next_piece(f.tokenizer, &begins, 1).size, 0);
    cr_expect(begins);
    cr_expect_eq(hearth_tokenizer_next_piece(f.tokenizer, &begins, 8).size, 1);
    cr_expect(!begins);
    cr_expect_eq(hearth_tokenizer_next_piece(f.tokenizer, &begins, 8).size, 2);
    end_fixture(&f);
}

/* The ids that end an answer, in a vocabulary of these names after <unk>, <s> and x, the declared end. */
static void expect_ends(const char *const *names, size_t n, const char *want)
{
    struct token tokens[16] = {{"<unk>", HEARTH_TOKEN_UNKNOWN, 0}, {"<s>", HEARTH_TOKEN_CONTROL, 0}, {"x", HEARTH_TOKEN_NORMAL, 0}};
    for (size_t i = 0; i < n; i++)
        tokens[3 + i] = (struct token){names[i], HEARTH_TOKEN_NORMAL, 0};
    struct fixture f;
    make_vocab(&f, tokens, (uint32_t)(3 + n), "test");
    cr_assert_eq(make_tokenizer(&f, NULL), HEARTH_OK);
    cr_expect(hearth_tokenizer_is_end(f.tokenizer, 2) && piece_is(&f, 2, "x")); /* an end that shows */
    for (size_t i = 0; i < n; i++) {
        const int32_t id = (int32_t)(3 + i);
        cr_expect_eq(hearth_tokenizer_is_end(f.tokenizer, id), want[i] == 'e', "%s", names[i]);
        cr_expect(piece_is(&f, id, want[i] == 'e' ? "" : names[i]), "%s", names[i]);
    }
    end_fixture(&f);
}

Test(tokenizer, ends_of_an_answer)
{
    expect_ends((const char *const[]){"</s>", "<|end|>", "<|eot_id|>", "<|call|>", "<|start|>", "y"}, 6, "eeee--");
    expect_ends((const char *const[]){"<|end|>", "<|return|>", "<|flush|>"}, 3, "-ee");
    expect_ends((const char *const[]){"</s>", "<|tool_response>"}, 2, "-e");
    expect_ends((const char *const[]){"[PAD]", "<fim_pad>", "<REPO>", "<|file_sep|>", "<PAD>"}, 5,
                "-eee-"); /* the first name listed */
    expect_ends((const char *const[]){"<\xef\xbd\x9c"
                                      "end" MARK "of" MARK "sentence\xef\xbd\x9c>"},
                1, "e");
}

Test(tokenizer, phi_3_swallows_white_space_after_special_tokens)
{
    static const char text[] = "<|user|> \n\ta<s> a";
    struct fixture f;
    make_vocab(&f, small, SMALL, "My PHI-3 mini");
    cr_assert_eq(make_tokenizer(&f, NULL), HEARTH_OK);
    EXPECT_IDS(&f, text, HEARTH_TOKENIZE_SPECIAL, 10, 8, 1, 5, 8);
    EXPECT_IDS(&f, "<|user|> \n", HEARTH_TOKENIZE_SPECIAL, 10);
    end_fixture(&f);
    make_vocab(&f, small, SMALL, "phi 3");
    cr_assert_eq(make_tokenizer(&f, NULL), HEARTH_OK);
    EXPECT_IDS(&f, "<|user|> a", HEARTH_TOKENIZE_SPECIAL, 10, 5, 8);
    end_fixture(&f);
}

static void expect_refused(struct fixture *f, hearth_status status, const char *detail, const char *part)
{
    hearth_error error;
    uint64_t bytes;
    cr_expect_eq(hearth_tokenizer_plan(&f->vocab, "test.gguf", &bytes, &error), status);
    cr_expect_str_eq(error.detail, detail);
    cr_expect_not_null(strstr(error.message, part), "%s", error.message);
    cr_expect_eq(strncmp(error.message, "test.gguf: tokenizer.ggml.", 26), 0, "%s", error.message);
    end_fixture(f);
}

Test(tokenizer, refuses)
{
    struct fixture f;
    char longest[600];
    memset(longest, 'x', sizeof longest);
    longest[599] = '\0';
    make_vocab(&f, (const struct token[]){{"<unk>", HEARTH_TOKEN_UNKNOWN, 0}, {"", HEARTH_TOKEN_CONTROL, 0}}, 2, "test");
    expect_refused(&f, HEARTH_E_FORMAT, "E_VOCAB", "tokens[1]: control token has no text");
    make_vocab(&f, (const struct token[]){{"<0xZ1>", HEARTH_TOKEN_BYTE, 0}}, 1, "test");
    expect_refused(&f, HEARTH_E_FORMAT, "E_VOCAB", "'<0xZ1>'");
    make_vocab(&f, (const struct token[]){{longest, HEARTH_TOKEN_CONTROL, 0}}, 1, "test");
    expect_refused(&f, HEARTH_E_UNSUPPORTED, "E_VOCAB", "got 599 bytes");
    make_bpe(&f, small, SMALL, "gpt-3", (const char *const[]){"a b"}, 1);
    expect_refused(&f, HEARTH_E_UNSUPPORTED, "E_UNSUPPORTED", "pre: unknown pre-tokenizer (got 'gpt-3')");
    make_vocab(&f, small, SMALL, "test");
    f.vocab.n_tokens = 0;
    expect_refused(&f, HEARTH_E_FORMAT, "E_VOCAB", "number of tokens");
}

Test(tokenizer, needs_what_was_planned)
{
    struct fixture f;
    hearth_error error;
    make_vocab(&f, small, SMALL, "test");
    cr_assert_eq(make_tokenizer(&f, NULL), HEARTH_OK);
    struct hearth_tokenizer *other;
    cr_expect_eq(hearth_tokenizer_init(&other, f.memory, f.bytes - 1, &f.vocab, "test.gguf", &error), HEARTH_E_MEMORY);
    cr_expect(!other && error.needed == f.bytes && error.available == f.bytes - 1);
    end_fixture(&f);
    make_vocab(&f, small, 1, "test"); /* a single token; no types, no scores */
    f.vocab.token_types = NULL;
    f.vocab.scores = NULL;
    cr_assert_eq(make_tokenizer(&f, NULL), HEARTH_OK);
    EXPECT_IDS(&f, "<unk>", HEARTH_TOKENIZE_BOS, 0, 0, 0, 0, 0, 0, 0, 0); /* the mark is three unknown bytes */
    end_fixture(&f);
}

/* A word longer than the scratch is cut on a character border: no id is lost, no character torn. */
Test(tokenizer, cuts_a_word_that_is_too_long)
{
    static const struct token tokens[] = {{"<unk>", HEARTH_TOKEN_UNKNOWN, 0},
                                          {"<s>", HEARTH_TOKEN_CONTROL, 0},
                                          {"</s>", HEARTH_TOKEN_CONTROL, 0},
                                          {"\xe2\x82\xac", HEARTH_TOKEN_NORMAL, -2},
                                          {"\xe2\x82\xac\xe2\x82\xac", HEARTH_TOKEN_NORMAL, -1}};
    enum { EUROS = 100001 };
    struct fixture f;
    make_vocab(&f, tokens, 5, "test");
    f.vocab.add_space_prefix = false;
    cr_assert_eq(make_tokenizer(&f, NULL), HEARTH_OK);
    char *text = malloc(3 * EUROS);
    for (size_t i = 0; i < 3 * EUROS; i++)
        text[i] = tokens[3].text[i % 3];
    size_t n;
    int32_t *ids = malloc(EUROS * sizeof *ids);
    cr_assert_eq(hearth_tokenizer_encode(f.tokenizer, f.scratch, text, 3 * EUROS, 0, ids, EUROS, &n), HEARTH_OK);
    size_t euros = 0;
    for (size_t i = 0; i < n; i++) {
        cr_assert(ids[i] == 3 || ids[i] == 4);
        euros += (size_t)(ids[i] - 2);
    }
    cr_expect_eq(euros, EUROS);
    cr_expect_leq(n, EUROS / 2 + 5); /* at most one single character in each of the five words */
    free(text);
    free(ids);
    end_fixture(&f);
}

/* ---- Byte-level BPE ------------------------------------------------------------------------------------------------------- */

#define GAP "\xc4\xa0" /* U+0120, the space of the byte alphabet */

Test(tokenizer, byte_level_rules)
{
    static const struct token tokens[] = {
        {"<unk>", HEARTH_TOKEN_UNKNOWN, 0},
        {"<s>", HEARTH_TOKEN_CONTROL, 0},
        {"<|end|>", HEARTH_TOKEN_NORMAL, 0}, /* by its name */
        {"a", HEARTH_TOKEN_NORMAL, 0},
        {"b", HEARTH_TOKEN_NORMAL, 0},
        {"c", HEARTH_TOKEN_NORMAL, 0}, /* 5 */
        {GAP, HEARTH_TOKEN_NORMAL, 0},
        {GAP "a", HEARTH_TOKEN_NORMAL, 0},
        {"abc", HEARTH_TOKEN_NORMAL, 0},              /* 8: from ab, which is no token */
        {"cab", HEARTH_TOKEN_NORMAL, 0},              /* no merge makes it */
        {"\xc3\xb0\xc5\x81", HEARTH_TOKEN_NORMAL, 0}, /* 10: U+00F0 U+0141, the bytes f0 9f */
        {"\xc4\xba", HEARTH_TOKEN_NORMAL, 0},         /* byte 98 */
        {"\xc4\xa2", HEARTH_TOKEN_NORMAL, 0},         /* byte 80 */
        {"b c", HEARTH_TOKEN_USER_DEFINED, 0},
        {"\xe4\xb8\xad", HEARTH_TOKEN_NORMAL, 0}, /* 14: not of the alphabet */
        {"<", HEARTH_TOKEN_NORMAL, 0},
        {"s>", HEARTH_TOKEN_NORMAL, 0},
        {"s", HEARTH_TOKEN_NORMAL, 0},
        {">", HEARTH_TOKEN_NORMAL, 0},
    };
    static const char *const merges[] = {"a b", "ab c", GAP " a", "b c", "a b", "\xc3\xb0 \xc5\x81", "s >", "< s>"};
    struct fixture f;
    make_bpe(&f, tokens, sizeof tokens / sizeof tokens[0], "gpt-2", merges, 8);
    cr_assert_eq(make_tokenizer(&f, NULL), HEARTH_OK);
    EXPECT_IDS(&f, "abc", 0, 8);
    EXPECT_IDS(&f, "ab", 0, 3, 4);   /* ab merges, but is no token: its bytes */
    EXPECT_IDS(&f, " abc", 0, 6, 8); /* a b comes before GAP a */
    EXPECT_IDS(&f, " a", HEARTH_TOKENIZE_BOS, 1, 7);
    EXPECT_IDS(&f, "cab", 0, 5, 3, 4);
    EXPECT_IDS(&f, "ab ca", 0, 3, 13, 3); /* found before anything else */
    EXPECT_IDS(&f, "\xf0\x9f\x98\x80", 0, 10, 11, 12);
    EXPECT_IDS(&f, "<s>", HEARTH_TOKENIZE_SPECIAL, 1);
    EXPECT_IDS(&f, "<s>", 0, 15, 17, 18); /* merges spell it, but a stranger's text does not get it */
    EXPECT_IDS(&f, "a!b", 0, 3, 4);       /* no token for a byte: dropped */
    expect_ids(&f, "", 0, 0, NULL, 0);
    cr_expect(piece_is(&f, 7, " a") && piece_is(&f, 10, "\xf0\x9f") && piece_is(&f, 14, "\xe4\xb8\xad") && piece_is(&f, 2, ""));
    cr_expect(hearth_tokenizer_is_end(f.tokenizer, 2));
    bool begins = true;
    cr_expect_eq(hearth_tokenizer_next_piece(f.tokenizer, &begins, 7).size, 2); /* no space was put before the text */
    end_fixture(&f);
    make_bpe(&f, tokens, sizeof tokens / sizeof tokens[0], "llama-bpe", merges, 8);
    cr_assert_eq(make_tokenizer(&f, NULL), HEARTH_OK);
    EXPECT_IDS(&f, "cab", 0, 9); /* ignores merges for a piece that is a token */
    end_fixture(&f);
}

/* tokenizers.md 4.2 word by word, for a text that is one piece. */
static size_t slow_bpe(const char *text, size_t n, const char *const *merges, uint32_t n_merges, size_t ends[64])
{
    size_t count = 0;
    while (count < n) {
        ends[count] = count + 1;
        count++;
    }
    for (;;) {
        uint32_t best = n_merges;
        size_t at = 0;
        for (size_t i = 0; i + 1 < count; i++) {
            const size_t begin = i ? ends[i - 1] : 0;
            char pair[80];
            (void)snprintf(pair, sizeof pair, "%.*s %.*s", (int)(ends[i] - begin), text + begin, (int)(ends[i + 1] - ends[i]),
                           text + ends[i]);
            for (uint32_t m = 0; m < best; m++) {
                if (strcmp(merges[m], pair) == 0) {
                    best = m;
                    at = i;
                }
            }
        }
        if (best == n_merges)
            return count;
        memmove(ends + at, ends + at + 1, (--count - at) * sizeof *ends);
    }
}

Test(tokenizer, equals_the_merges_on_random_tables)
{
    enum { MERGES = 30, ROUNDS = 300 };
    static char texts[MERGES][24];
    static char joined[MERGES][24];
    struct rng rng = rng_start();
    for (int round = 0; round < ROUNDS; round++) {
        struct token tokens[MERGES + 3] = {
            {"a", HEARTH_TOKEN_NORMAL, 0}, {"b", HEARTH_TOKEN_NORMAL, 0}, {"c", HEARTH_TOKEN_NORMAL, 0}};
        const char *merges[MERGES];
        for (uint32_t i = 0; i < MERGES; i++) {
            /* Two of the tokens so far, so that merges lead on to merges; some results twice, by different ways. */
            const char *left = tokens[rng_below(&rng, 3 + i)].text;
            const char *right = tokens[rng_below(&rng, 3 + i)].text;
            if (strlen(left) + strlen(right) > 16)
                left = right = "a";
            (void)snprintf(texts[i], sizeof texts[i], "%s %s", left, right);
            (void)snprintf(joined[i], sizeof joined[i], "%s%s", left, right);
            merges[i] = texts[i];
            tokens[3 + i] = (struct token){joined[i], HEARTH_TOKEN_NORMAL, 0};
        }
        struct fixture f;
        make_bpe(&f, tokens, MERGES + 3, "gpt-2", merges, MERGES);
        f.vocab.bos = f.vocab.eos = HEARTH_TOKEN_NONE;
        cr_assert_eq(make_tokenizer(&f, NULL), HEARTH_OK);
        for (int t = 0; t < 30; t++) {
            char text[64];
            size_t ends[64];
            int32_t ids[64];
            size_t n;
            const size_t size = rng_below(&rng, 64);
            for (size_t i = 0; i < size; i++)
                text[i] = (char)('a' + rng_below(&rng, 3));
            const size_t count = slow_bpe(text, size, merges, MERGES, ends);
            cr_assert_eq(hearth_tokenizer_encode(f.tokenizer, f.scratch, text, size, 0, ids, 64, &n), HEARTH_OK);
            cr_assert_eq(n, count, "round %d text %d: %zu ids, need %zu", round, t, n, count);
            size_t at = 0;
            for (size_t i = 0; i < n; i++) {
                at += hearth_tokenizer_piece(f.tokenizer, ids[i]).size;
                cr_assert_eq(at, ends[i], "round %d text %d id %zu", round, t, i);
            }
        }
        end_fixture(&f);
    }
}
