/* Grammars in GBNF, and texts matched with them: the grammar, a NUL byte, the text. */
#include "grammar.h"
#include "driver/fuzz.h"
#include "gguf_builder.h"
#include <stdlib.h>
#include <string.h>

#define N_VOCAB 300u

static const char *const words[] = {"root ::= ",
                                    "::=",
                                    "\n",
                                    " | ",
                                    "(",
                                    ")",
                                    "*",
                                    "+",
                                    "?",
                                    "{2}",
                                    "{1,3}",
                                    "{0,}",
                                    "{2000}",
                                    "[a-z]",
                                    "[^\"\\\\]",
                                    ".",
                                    "\"a\"",
                                    "\"\"",
                                    "\\x41",
                                    "\\u00e9",
                                    "\\U0001F600",
                                    "# x\n",
                                    "a ::= b\n",
                                    "root",
                                    "x",
                                    "[\xe3\x81\x81-\xe3\x82\x9f]",
                                    "\xc3\xa9",
                                    "\xff",
                                    "{",
                                    "}",
                                    "]",
                                    "[",
                                    "\"",
                                    "\\",
                                    "-"};

static struct hearth_grammar grammar;
static struct hearth_tokenizer *tokenizer;
static struct hearth_piece_order order;
static void *memory;

static void make_vocabulary(void)
{
    static struct gguf_builder builder;
    struct hearth_gguf gguf;
    struct hearth_vocab vocab;
    hearth_error err = {0};
    uint64_t bytes = 0;
    size_t size;
    gguf_builder_init(&builder);
    gguf_builder_add_spm_vocabulary(&builder, N_VOCAB);
    uint8_t *file = gguf_builder_finish(&builder, &size);
    fuzz_need(hearth_gguf_parse(&gguf, file, size, size, "tiny.gguf", &err) == HEARTH_OK &&
                  hearth_vocab_read(&vocab, &gguf, 0, NULL, NULL, &err) == HEARTH_OK &&
                  hearth_tokenizer_plan(&vocab, "tiny.gguf", &bytes, &err) == HEARTH_OK,
              "%s", err.message);
    void *tables = aligned_alloc(64, bytes);
    fuzz_need(tables && hearth_tokenizer_init(&tokenizer, tables, bytes, &vocab, "tiny.gguf", &err) == HEARTH_OK, "%s",
              err.message);
    hearth_gguf_free(&gguf);
    gguf_builder_free(&builder);
    free(file);
}

void fuzz_start(void)
{
    static const char texts[][160] = {
        "root ::= \"a\" | \"bc\" |\0bc",
        "root ::= ((\"a\"{2}){2}){2}\0aaaaaaaa",
        "root ::= [a-c-] [^a-c] [\\]\\x41-\\u0043] # x\n\0-d]",
        "root ::= (e \"=\" t \"\\n\")+\ne ::= t ([-+*/] t)*\nt ::= [a-z] [a-z0-9]* | \"(\" e \")\"\n\0a+(b)=c\n",
        "root ::= \"(\" root \")\" | \"x\"\0((x))",
        "root ::= . .? \"\\u00e9\"*\0\xf0\x9f\x98\x80x",
        "root ::= \"{\" (s \":\" v (\",\" s \":\" v)*)? \"}\"\nv ::= root | s\ns ::= \"'\" [^'\\x00-\\x1f]* \"'\"\n\0{'a':{}}",
        "root ::= ([\xe3\x81\x81-\xe3\x82\x9f] | \"\xe3\x80\x82\"){1,3}\0\xe3\x81\x82",
    };
    make_vocabulary();
    static int32_t ids[N_VOCAB];
    static uint8_t shared[N_VOCAB];
    order = (struct hearth_piece_order){.ids = ids, .shared = shared};
    hearth_piece_order_make(&order, tokenizer);
    memory = aligned_alloc(64, hearth_matcher_bytes());
    fuzz_need(memory, "no memory");
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const size_t n = strlen(texts[i]);
        fuzz_seed(texts[i], n + 1 + strlen(texts[i] + n + 1));
    }
}

static void check_place(const struct hearth_matcher *m)
{
    const bool accepts = hearth_matcher_accepts(m);
    fuzz_need(!(accepts && hearth_matcher_is_dead(m)), "dead, yet it accepts");
    fuzz_need(accepts || !hearth_matcher_is_done(m), "done, yet it does not accept");
}

/* Each token allowed goes on; none that is not. */
static void check_allowed(const uint8_t *text, size_t n)
{
    uint64_t allowed[N_VOCAB / 64 + 1] = {0};
    hearth_error err = {0};
    uint32_t n_allowed = 0;
    struct hearth_matcher *m = hearth_matcher_start(memory, &grammar);
    hearth_matcher_advance(m, text, n);
    const bool accepts = hearth_matcher_accepts(m);
    const hearth_status status = hearth_matcher_allow(m, &order, tokenizer, allowed, &err);
    fuzz_answer(status, &err);
    if (status != HEARTH_OK)
        return;
    for (uint32_t id = 0; id < N_VOCAB; id++) {
        const bool is_allowed = allowed[id / 64] >> id % 64 & 1;
        const struct hearth_view piece = hearth_tokenizer_piece(tokenizer, (int32_t)id);
        n_allowed += is_allowed;
        if (hearth_tokenizer_is_end(tokenizer, (int32_t)id))
            fuzz_need(is_allowed == accepts, "end %u", id);
        if (id % 16 != n % 16 || piece.size == 0 || piece.bytes[0] == '\0') /* a few of them: each costs the whole text */
            continue;
        m = hearth_matcher_start(memory, &grammar);
        hearth_matcher_advance(m, text, n);
        hearth_matcher_advance(m, piece.bytes, piece.size);
        fuzz_need(is_allowed != hearth_matcher_is_dead(m), "token %u is%s allowed", id, is_allowed ? "" : " not");
    }
    fuzz_need(n_allowed > 0, "no token, and no error");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nul = size > 0 ? memchr(data, '\0', size) : NULL;
    const size_t n_grammar = nul ? (size_t)(nul - data) : size;
    const uint8_t *text = nul ? nul + 1 : data;
    size_t n = nul ? size - n_grammar - 1 : 0;
    hearth_error err = {0};
    const hearth_status status = hearth_grammar_compile(&grammar, memory, (const char *)data, n_grammar, &err);
    fuzz_answer(status, &err);
    if (status != HEARTH_OK)
        return 0;
    n = n < 64 ? n : 64;
    struct hearth_matcher *m = hearth_matcher_start(memory, &grammar);
    check_place(m);
    for (size_t i = 0; i < n; i++) {
        hearth_matcher_advance(m, text + i, 1);
        check_place(m);
    }
    check_allowed(text, n);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t capacity, unsigned int seed)
{
    return fuzz_mutate_text(data, size, capacity, seed, words, sizeof words / sizeof words[0]);
}
