/* What hearth_vocab_read() makes of good files: views, defaults, and warnings that are no errors. Bad files are in
 * test_catalogue.c. */
#include "common/status.h"
#include "gguf_builder.h"
#include "vocab.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* A file with its vocabulary; the views of `vocab` live as long as it does. */
struct fixture {
    struct gguf_builder builder;
    uint8_t *file;
    struct hearth_gguf gguf;
    struct hearth_vocab vocab;
    char warnings[1000]; /* each with a newline */
};

static void collect(int32_t level, const char *message, void *user)
{
    struct fixture *f = user;
    const size_t used = strlen(f->warnings);
    cr_expect(level == 1);
    (void)snprintf(f->warnings + used, sizeof f->warnings - used, "%s\n", message);
}

static void read_built(struct fixture *f, uint64_t n_embedding_rows)
{
    hearth_error err = {0};
    size_t size;
    f->warnings[0] = '\0';
    f->file = gguf_builder_finish(&f->builder, &size);
    cr_assert(hearth_gguf_parse(&f->gguf, f->file, size, size, "built", &err) == HEARTH_OK, "%s", err.message);
    cr_assert(hearth_vocab_read(&f->vocab, &f->gguf, n_embedding_rows, collect, f, &err) == HEARTH_OK, "%s", err.message);
}

static void close_fixture(struct fixture *f)
{
    hearth_gguf_free(&f->gguf);
    gguf_builder_free(&f->builder);
    free(f->file);
}

static struct fixture spm(uint32_t n_tokens)
{
    struct fixture f = {0};
    gguf_builder_init(&f.builder);
    gguf_builder_add_spm_vocabulary(&f.builder, n_tokens);
    return f;
}

static bool view_is(struct hearth_view view, const char *text)
{
    return view.size == strlen(text) && memcmp(view.bytes, text, strlen(text)) == 0;
}

Test(vocab, sentencepiece)
{
    struct fixture f = spm(300);
    gguf_builder_set_string(&f.builder, "tokenizer.chat_template", "{{ messages }}");
    gguf_builder_set_string(&f.builder, "general.name", "somebody");
    gguf_builder_set_u32(&f.builder, "tokenizer.ggml.eot_token_id", 5);
    read_built(&f, 300);
    const struct hearth_vocab *v = &f.vocab;
    cr_expect(v->model == HEARTH_VOCAB_SPM && view_is(v->model_name, "llama") && v->pre.size == 0);
    cr_expect(view_is(v->chat_template, "{{ messages }}") && view_is(v->general_name, "somebody"));
    cr_expect(v->n_tokens == 300 && v->tokens->count == 300 && v->scores && v->token_types && !v->merges);
    cr_expect(v->bos == 1 && v->eos == 2 && v->unk == 0 && v->eot == 5);
    cr_expect(v->eom == HEARTH_TOKEN_NONE && v->pad == HEARTH_TOKEN_NONE);
    cr_expect(v->add_bos && !v->add_eos && v->add_space_prefix);
    cr_expect_str_eq(f.warnings, "");

    uint64_t text_bytes = 0;
    uint64_t cursor = 0;
    for (uint32_t i = 0; i < v->n_tokens; i++)
        text_bytes += hearth_gguf_next_string(v->tokens, &cursor).size;
    cr_expect(v->text_bytes == text_bytes);
    close_fixture(&f);
}

Test(vocab, defaults_of_sentencepiece)
{
    struct fixture f = spm(300);
    gguf_builder_drop(&f.builder, "tokenizer.ggml.bos_token_id");
    gguf_builder_drop(&f.builder, "tokenizer.ggml.eos_token_id");
    gguf_builder_drop(&f.builder, "tokenizer.ggml.unknown_token_id");
    gguf_builder_drop(&f.builder, "tokenizer.ggml.token_type");
    read_built(&f, 0);
    cr_expect(f.vocab.bos == 1 && f.vocab.eos == 2 && f.vocab.unk == 0 && f.vocab.token_types == NULL);
    cr_expect(strstr(f.warnings, "0 of 256 byte tokens"), "%s", f.warnings);
    close_fixture(&f);
}

Test(vocab, keys_override_defaults)
{
    struct fixture f = spm(300);
    gguf_builder_set_bool(&f.builder, "tokenizer.ggml.add_bos_token", false);
    gguf_builder_set_bool(&f.builder, "tokenizer.ggml.add_eos_token", true);
    gguf_builder_set_bool(&f.builder, "tokenizer.ggml.add_space_prefix", false);
    gguf_builder_set(&f.builder, "tokenizer.ggml.bos_token_id", HEARTH_GGUF_U64, &(uint64_t){299});
    read_built(&f, 300);
    cr_expect(f.vocab.bos == 299 && !f.vocab.add_bos && f.vocab.add_eos && !f.vocab.add_space_prefix);
    close_fixture(&f);
}

Test(vocab, a_single_token)
{
    struct fixture f = spm(1);
    gguf_builder_drop(&f.builder, "tokenizer.ggml.bos_token_id");
    gguf_builder_drop(&f.builder, "tokenizer.ggml.eos_token_id");
    read_built(&f, 1);
    cr_expect(f.vocab.bos == HEARTH_TOKEN_NONE && f.vocab.eos == HEARTH_TOKEN_NONE && f.vocab.unk == 0 && !f.vocab.add_bos);
    cr_expect(strstr(f.warnings, "no token that ends a text"), "%s", f.warnings);
    close_fixture(&f);
}

Test(vocab, byte_level_bpe)
{
    struct fixture f = {0};
    gguf_builder_init(&f.builder);
    gguf_builder_add_bpe_vocabulary(&f.builder);
    read_built(&f, 258);
    const struct hearth_vocab *v = &f.vocab;
    cr_expect(v->model == HEARTH_VOCAB_BPE && view_is(v->pre, "gpt-2") && v->n_tokens == 258);
    cr_expect(v->scores == NULL && v->merges && v->merges->count == 1);
    cr_expect(v->bos == 256 && v->eos == 256 && v->unk == HEARTH_TOKEN_NONE);
    cr_expect(!v->add_bos && !v->add_eos && !v->add_space_prefix);
    cr_expect_str_eq(f.warnings, "");
    close_fixture(&f);
}

Test(vocab, families_that_begin_with_bos)
{
    struct fixture f = {0};
    gguf_builder_init(&f.builder);
    gguf_builder_add_bpe_vocabulary(&f.builder);
    gguf_builder_set_string(&f.builder, "tokenizer.ggml.pre", "llama-bpe");
    gguf_builder_drop(&f.builder, "tokenizer.ggml.bos_token_id");
    read_built(&f, 0);
    cr_expect(f.vocab.add_bos && f.vocab.bos == 11);
    close_fixture(&f);
}

static const struct {
    const char *bytes;
    bool valid;
} texts[] = {
    {"plain", true},
    {"\xc3\xa9", true},
    {"\xe2\x96\x81", true},
    {"\xf0\x9f\x94\xa5", true},
    {"\xf4\x8f\xbf\xbf", true},
    {"\xff\xfe", false},
    {"\x80", false},
    {"\xc3", false},
    {"\xc0\x80", false},
    {"\xe0\x80\x80", false},
    {"\xed\xa0\x80", false},
    {"\xf0\x80\x80\x80", false},
    {"\xf4\x90\x80\x80", false},
    {"\xf5\x80\x80\x80", false},
    {"\xe2\x96", false},
    {"a\xe2(\xa1", false},
};

/* Such tokens load with their bytes as they are, and a warning. */
Test(vocab, tokens_that_are_not_utf8)
{
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct fixture f = spm(300);
        gguf_builder_replace_string(&f.builder, "tokenizer.ggml.tokens", 270, texts[i].bytes, strlen(texts[i].bytes));
        read_built(&f, 300);
        const bool warned = strstr(f.warnings, "1 tokens are not valid UTF-8 (the first is 270)") != NULL;
        cr_expect(warned == !texts[i].valid, "text %zu: '%s'", i, f.warnings);
        close_fixture(&f);
    }
}

Test(vocab, harmless_defects_are_warnings)
{
    struct fixture f = spm(300);
    gguf_builder_replace_string(&f.builder, "tokenizer.ggml.tokens", 270, "", 0);
    gguf_builder_set_u32(&f.builder, "tokenizer.ggml.padding_token_id", 4000);
    gguf_builder_set_u32(&f.builder, "tokenizer.ggml.unknown_token_id", 300);
    read_built(&f, 300);
    cr_expect(f.vocab.pad == HEARTH_TOKEN_NONE && f.vocab.unk == HEARTH_TOKEN_NONE);
    cr_expect(strstr(f.warnings, "1 tokens have no text and are never matched (the first is 270)"), "%s", f.warnings);
    cr_expect(strstr(f.warnings, "padding_token_id names no token (got 4000, need below 300)"), "%s", f.warnings);
    cr_expect(strstr(f.warnings, "unknown_token_id names no token"), "%s", f.warnings);
    close_fixture(&f);
}

/* The older keys of the infill tokens serve where the newer ones are missing. */
Test(vocab, infill_tokens_have_two_keys_each)
{
    struct fixture f = spm(300);
    gguf_builder_set_u32(&f.builder, "tokenizer.ggml.prefix_token_id", 290);
    gguf_builder_set_u32(&f.builder, "tokenizer.ggml.suffix_token_id", 291);
    gguf_builder_set_u32(&f.builder, "tokenizer.ggml.fim_suf_token_id", 292);
    gguf_builder_set_u32(&f.builder, "tokenizer.ggml.fim_mid_token_id", 300);
    read_built(&f, 300);
    cr_expect(f.vocab.fim_prefix == 290 && f.vocab.fim_suffix == 292 && f.vocab.fim_middle == HEARTH_TOKEN_NONE);
    cr_expect(strstr(f.warnings, "fim_mid_token_id names no token (got 300, need below 300)"), "%s", f.warnings);
    close_fixture(&f);
}
