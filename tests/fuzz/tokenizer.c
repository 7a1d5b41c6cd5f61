/* Any bytes to tokens and back: the same bytes. Byte 0 chooses the vocabulary, the rest is the text. */
#include "tokenizer.h"
#include "driver/fuzz.h"
#include "gguf_builder.h"
#include <stdlib.h>
#include <string.h>

#define MARK "\xe2\x96\x81"

/* Pre-tokenizers of byte-level vocabularies; the one before them is SPM. */
static const char *const pres[] = {"gpt-2", "llama-bpe", "qwen2", "smollm", "default", "tekken", "gpt-4o"};
#define VOCABULARIES (1 + sizeof pres / sizeof pres[0])

static const char *const words[] = {" ",
                                    "  ",
                                    "\n",
                                    "\r\n",
                                    "\t",
                                    "the",
                                    MARK,
                                    MARK "the",
                                    "<s>",
                                    "</s>",
                                    "<0x41>",
                                    "<|endoftext|>",
                                    "'s",
                                    "'LL",
                                    "12",
                                    "3456",
                                    "th",
                                    "...",
                                    "\xc3",
                                    "\xe2\x96",
                                    "\xff",
                                    "\xf0\x9f\x98\x80",
                                    "\xe3\x81\x82",
                                    "\xc3\xa9",
                                    "A",
                                    "a",
                                    "\xcc\x81",
                                    "\xe2\x80\xa8",
                                    "\xc2\xa0",
                                    "!?"};

static struct hearth_tokenizer *tokenizers[VOCABULARIES];
static void *scratch;

static void make_tokenizer(struct hearth_tokenizer **out, const char *pre)
{
    static struct gguf_builder builder;
    struct hearth_gguf gguf;
    struct hearth_vocab vocab;
    hearth_error err = {0};
    uint64_t bytes = 0;
    size_t size;
    gguf_builder_init(&builder);
    if (pre) {
        gguf_builder_add_bpe_vocabulary(&builder);
        gguf_builder_set_string(&builder, "tokenizer.ggml.pre", pre);
    } else {
        gguf_builder_add_spm_vocabulary(&builder, 300);
    }
    uint8_t *file = gguf_builder_finish(&builder, &size);
    fuzz_need(hearth_gguf_parse(&gguf, file, size, size, "tiny.gguf", &err) == HEARTH_OK &&
                  hearth_vocab_read(&vocab, &gguf, 0, NULL, NULL, &err) == HEARTH_OK &&
                  hearth_tokenizer_plan(&vocab, "tiny.gguf", &bytes, &err) == HEARTH_OK,
              "%s", err.message);
    void *memory = aligned_alloc(64, bytes);
    fuzz_need(memory && hearth_tokenizer_init(out, memory, bytes, &vocab, "tiny.gguf", &err) == HEARTH_OK, "%s", err.message);
    hearth_gguf_free(&gguf);
    gguf_builder_free(&builder);
    free(file);
}

void fuzz_start(void)
{
    static const char *const texts[] = {"", "Once upon a time", "  two\n\n three\t", "caf\xc3\xa9 \xf0\x9f\x98\x80 12345",
                                        "<s>x</s> it's"};
    char seed[64];
    scratch = aligned_alloc(64, (HEARTH_TOKENIZER_SCRATCH + 63) / 64 * 64);
    fuzz_need(scratch, "no memory");
    for (size_t i = 0; i < VOCABULARIES; i++) {
        make_tokenizer(&tokenizers[i], i > 0 ? pres[i - 1] : NULL);
        for (size_t t = 0; t < sizeof texts / sizeof texts[0]; t++) {
            seed[0] = (char)i;
            memcpy(seed + 1, texts[t], strlen(texts[t]));
            fuzz_seed(seed, strlen(texts[t]) + 1);
        }
    }
}

/* SPM writes spaces as marks, so that a mark in the text comes back as a space. Returns the new length. */
static size_t unmark(char *text, size_t n)
{
    size_t out = 0;
    for (size_t i = 0; i < n;) {
        const bool mark = n - i >= 3 && memcmp(text + i, MARK, 3) == 0;
        text[out++] = mark ? ' ' : text[i];
        i += mark ? 3 : 1;
    }
    return out;
}

static void check_round(const struct hearth_tokenizer *t, const char *text, size_t n, int32_t *ids, size_t capacity, bool spm)
{
    size_t n_ids, again, n_back = 0;
    char *want = malloc(n + 1), *back = malloc(n + 4);
    bool begins = true;
    fuzz_need(want && back, "no memory");
    memcpy(want, text, n);
    fuzz_need(hearth_tokenizer_encode(t, scratch, text, n, 0, ids, capacity, &n_ids) == HEARTH_OK, "no room for the ids");
    for (size_t i = 0; i < n_ids; i++) {
        const struct hearth_view piece = hearth_tokenizer_next_piece(t, &begins, ids[i]);
        fuzz_need(piece.size <= n + 4 - n_back, "id %zu of %zu: more text than there was", i, n_ids);
        if (piece.size > 0)
            memcpy(back + n_back, piece.bytes, piece.size);
        n_back += piece.size;
    }
    const size_t n_want = spm ? unmark(want, n) : n;
    n_back = spm ? unmark(back, n_back) : n_back;
    fuzz_need(n_back == n_want && memcmp(back, want, n_want) == 0, "%zu bytes came back as %zu others", n_want, n_back);
    const hearth_status status = hearth_tokenizer_encode(t, scratch, text, n, 0, ids, n_ids / 2, &again);
    fuzz_need(again == n_ids && (status == HEARTH_OK) == (n_ids == n_ids / 2), "%zu ids, then %zu", n_ids, again);
    free(want);
    free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    const size_t which = data[0] % VOCABULARIES, n = size - 1, capacity = n + 8;
    const char *text = (const char *)data + 1;
    int32_t *ids = malloc(capacity * sizeof *ids);
    uint8_t *marks = malloc(n + 1);
    size_t n_ids;
    fuzz_need(ids && marks, "no memory");
    check_round(tokenizers[which], text, n, ids, capacity, which == 0);
    for (size_t i = 0; i < n; i++)
        marks[i] = data[i + 1] >> 4 & 1;
    const uint32_t all = HEARTH_TOKENIZE_BOS | HEARTH_TOKENIZE_SPECIAL;
    fuzz_need(hearth_tokenizer_encode_marked(tokenizers[which], scratch, text, marks, n, all, ids, capacity, &n_ids) == HEARTH_OK,
              "no room for the ids");
    for (size_t i = 0; i < n_ids; i++)
        fuzz_need(ids[i] >= 0 && (uint32_t)ids[i] < hearth_tokenizer_count(tokenizers[which]), "id %d", ids[i]);
    free(ids);
    free(marks);
    fuzz_answer(HEARTH_OK, NULL);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t capacity, unsigned int seed)
{
    return fuzz_mutate_text(data, size, capacity, seed, words, sizeof words / sizeof words[0]);
}
