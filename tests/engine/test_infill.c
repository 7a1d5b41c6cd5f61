/* The prompt of a model that fills in the middle: which tokens, in which order, and what is refused; and by the program. */
#include "hearth.h"
#include "support/gguf_builder.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TOKENS "tokenizer.ggml.tokens"
enum { PRE = 290, SUF, MID, END, BOS = 1, SPACE = 259, A = 260, B, C };

static struct gguf_builder builder;
static hearth_engine *engine;
static hearth_model *model;
static hearth_error err;

static void start(void)
{
    const hearth_engine_options options = {.struct_size = sizeof options, .threads = 1};
    cr_assert_eq(hearth_engine_open(&engine, &options, &err), HEARTH_OK, "%s", err.message);
    gguf_builder_init(&builder);
    gguf_builder_set_string(&builder, "general.architecture", "llama");
    gguf_builder_add_spm_vocabulary(&builder, 300);
}

static void finish(void)
{
    hearth_model_close(model);
    hearth_engine_close(engine);
    gguf_builder_free(&builder);
}

TestSuite(infill, .init = start, .fini = finish);

static void open_vocabulary(void)
{
    char path[] = "/tmp/hearth-infill-XXXXXX";
    const int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    (void)close(fd);
    gguf_builder_write_file(&builder, path);
    hearth_model_close(model);
    cr_assert_eq(hearth_model_open_vocabulary(&model, engine, path, &err), HEARTH_OK, "%s", err.message);
    (void)unlink(path);
}

static void name_token(uint64_t id, const char *text)
{
    gguf_builder_replace_string(&builder, TOKENS, id, text, strlen(text));
}

/* CodeLlama's tokens, known by their names alone. */
static void name_code_llama(void)
{
    name_token(PRE, "\xe2\x96\x81<PRE>");
    name_token(SUF, "\xe2\x96\x81<SUF>");
    name_token(MID, "\xe2\x96\x81<MID>");
}

static void expect_ids(const char *prefix, const char *suffix, const int32_t *want, size_t n_want)
{
    int32_t ids[32];
    size_t n = 0;
    cr_assert_eq(hearth_tokenize_infill(model, prefix, strlen(prefix), suffix, strlen(suffix), ids, 32, &n, &err), HEARTH_OK, "%s",
                 err.message);
    cr_expect_eq(n, n_want, "'%s' '%s': %zu ids, need %zu", prefix, suffix, n, n_want);
    for (size_t i = 0; i < n && i < n_want; i++)
        cr_expect_eq(ids[i], want[i], "'%s' '%s': id %zu is %d, need %d", prefix, suffix, i, ids[i], want[i]);
}
#define EXPECT_IDS(prefix, suffix, ...)                                                                                            \
    expect_ids(prefix, suffix, (const int32_t[]){__VA_ARGS__}, sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))

Test(infill, one_space_for_the_beginning_of_the_text)
{
    name_code_llama();
    open_vocabulary();
    EXPECT_IDS("a", "b", BOS, PRE, SPACE, A, SUF, B, MID);
    EXPECT_IDS("a", " b", BOS, PRE, SPACE, A, SUF, SPACE, B, MID); /* the user's own stays */
    EXPECT_IDS("", "b", BOS, PRE, SUF, B, MID);
    EXPECT_IDS("a", "", BOS, PRE, SPACE, A, SUF, MID);
    EXPECT_IDS("", "", BOS, PRE, SUF, MID);
    gguf_builder_set_bool(&builder, "tokenizer.ggml.add_bos_token", false);
    gguf_builder_set_bool(&builder, "tokenizer.ggml.add_space_prefix", false);
    open_vocabulary();
    EXPECT_IDS("a", "b", PRE, A, SUF, B, MID);
}

Test(infill, keys_go_before_names)
{
    name_code_llama();
    gguf_builder_set_u32(&builder, "tokenizer.ggml.fim_pre_token_id", 298);
    gguf_builder_set_u32(&builder, "tokenizer.ggml.middle_token_id", 299); /* an older name of the key */
    open_vocabulary();
    EXPECT_IDS("", "", BOS, 298, SUF, 299);
}

Test(infill, names_of_other_families)
{
    static const char *const names[][3] = {{"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"},
                                           {"<fim-prefix>", "<fim-suffix>", "<fim-middle>"},
                                           {"<fim_prefix>", "<fim_suffix>", "<fim_middle>"},
                                           {"<\xef\xbd\x9c"
                                            "fim\xe2\x96\x81"
                                            "begin\xef\xbd\x9c>",
                                            "<\xef\xbd\x9c"
                                            "fim\xe2\x96\x81hole\xef\xbd\x9c>",
                                            "<\xef\xbd\x9c"
                                            "fim\xe2\x96\x81"
                                            "end\xef\xbd\x9c>"},
                                           {"<PRE>", "<SUF>", "<MID>"},
                                           {"<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"},
                                           {"<|prefix|>", "<|suffix|>", "<|middle|>"}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        for (size_t j = 0; j < 3; j++)
            name_token(PRE + j, names[i][j]);
        open_vocabulary();
        EXPECT_IDS("", "", BOS, PRE, SUF, MID);
        cr_expect(!hearth_model_is_end(model, PRE) && !hearth_model_is_end(model, MID));
    }
}

/* Texts of strangers cannot bring in a token that means something. */
Test(infill, special_tokens_in_the_texts_are_text)
{
    int32_t ids[64];
    size_t n;
    name_code_llama();
    open_vocabulary();
    static const char text[] = "</s> \xe2\x96\x81<MID>";
    cr_assert_eq(hearth_tokenize_infill(model, text, sizeof text - 1, text, sizeof text - 1, ids, 64, &n, &err), HEARTH_OK);
    cr_expect_eq(ids[n - 1], MID);
    for (size_t i = 1; i + 1 < n; i++)
        cr_expect(ids[i] != 2 && ids[i] != BOS && ids[i] != MID, "id %zu is %d", i, ids[i]);
}

Test(infill, counts_all_and_writes_what_fits)
{
    name_code_llama();
    open_vocabulary();
    static const int32_t want[] = {BOS, PRE, SPACE, A, C, SUF, B, MID};
    for (size_t capacity = 0; capacity <= 9; capacity++) {
        int32_t ids[10];
        size_t n = 0;
        memset(ids, 0xee, sizeof ids);
        const hearth_status status = hearth_tokenize_infill(model, "ac", 2, "b", 1, ids, capacity, &n, &err);
        cr_expect_eq(status, capacity < 8 ? HEARTH_E_CONFIG : HEARTH_OK);
        cr_expect_eq(n, 8);
        cr_expect_eq(memcmp(ids, want, (capacity < 8 ? capacity : 8) * sizeof *ids), 0, "capacity %zu", capacity);
        cr_expect_eq(ids[capacity], (int32_t)0xeeeeeeee);
    }
}

Test(infill, the_end_is_known_by_its_key)
{
    name_code_llama();
    gguf_builder_set_u32(&builder, "tokenizer.ggml.eot_token_id", END);
    open_vocabulary();
    cr_expect(hearth_model_is_end(model, END) && !hearth_model_is_end(model, MID));
}

Test(infill, missing_keys_are_named)
{
    size_t n = 7;
    open_vocabulary();
    cr_expect_eq(hearth_tokenize_infill(model, "a", 1, "b", 1, NULL, 0, &n, &err), HEARTH_E_UNSUPPORTED);
    cr_expect_not_null(strstr(err.message, "tokenizer.ggml.fim_pre_token_id, tokenizer.ggml.fim_suf_token_id, "
                                           "tokenizer.ggml.fim_mid_token_id"),
                       "%s", err.message);
    cr_expect_eq(n, 0);
    gguf_builder_set_u32(&builder, "tokenizer.ggml.prefix_token_id", PRE);
    gguf_builder_set_u32(&builder, "tokenizer.ggml.middle_token_id", MID);
    open_vocabulary();
    cr_expect_eq(hearth_tokenize_infill(model, "a", 1, "b", 1, NULL, 0, &n, &err), HEARTH_E_UNSUPPORTED);
    cr_expect_not_null(strstr(err.message, "keys: tokenizer.ggml.fim_suf_token_id)"), "%s", err.message);
}

static void write_text(char *path, const char *text)
{
    const int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    (void)close(fd);
}

Test(infill, the_program_fills_in)
{
    char path[] = "/tmp/hearth-infill-XXXXXX", prefix[] = "/tmp/hearth-infill-XXXXXX", suffix[] = "/tmp/hearth-infill-XXXXXX";
    char command[400], line[4096] = "";
    const char *program = getenv("HEARTH");
    cr_assert_not_null(program);
    gguf_builder_free(&builder);
    gguf_builder_init(&builder);
    gguf_builder_add_llama(&builder, NULL);
    name_code_llama();
    write_text(path, "");
    gguf_builder_write_file(&builder, path);
    write_text(prefix, "a</s>");
    write_text(suffix, " b");
    static const struct {
        bool prefix, suffix;
        const char *want;
    } cases[] = {{true, true, "\"n_prompt\": 12,"}, {true, false, "\"n_prompt\": 10,"}, {false, true, "\"n_prompt\": 6,"}};
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(command, sizeof command, "'%s' run -q --json -n 3 -m %s %s %s %s %s </dev/null", program, path,
                       cases[i].prefix ? "--prefix-file" : "", cases[i].prefix ? prefix : "",
                       cases[i].suffix ? "--suffix-file" : "", cases[i].suffix ? suffix : "");
        FILE *pipe = popen(command, "r");
        cr_assert_not_null(pipe);
        cr_expect_not_null(fgets(line, sizeof line, pipe));
        cr_expect_eq(pclose(pipe), 0);
        cr_expect_not_null(strstr(line, cases[i].want), "case %zu: %s", i, line); /* </s> is four characters and no token */
    }
    (void)unlink(path);
    (void)unlink(prefix);
    (void)unlink(suffix);
}
