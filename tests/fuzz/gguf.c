/* GGUF files: header, hyper-parameters, vocabulary, and what follows from them: the model opened and fed two tokens. Byte 0 chooses
 * what the data is filled with; the rest is the header, behind which the data follows, so that inputs are small. */
#include "driver/fuzz.h"
#include "engine.h"
#include "gguf_builder.h"
#include "memory_source.h"
#include <stdlib.h>
#include <string.h>

#define DATA_BYTES ((size_t)272 << 10) /* enough for every beginning */
#define RAM_CAP ((uint64_t)64 << 20)

static hearth_engine *engine;

/* ---- Fields, found by walking a header as far as it makes sense ------------------------------------------------------- */

#define FIELDS_MAX 4096u
#define RECORDS_MAX 512u

struct field {
    uint32_t at;
    uint32_t width; /* 1, 2, 4 or 8 bytes; as a string: its length field, which the text follows */
    bool is_string, is_element;
};

struct record { /* a pair or an entry of the tensor directory */
    uint32_t at, bytes;
    bool is_tensor;
};

struct anatomy {
    const uint8_t *data;
    size_t size, at;
    uint32_t n_fields, n_records, pairs_end;
    struct field fields[FIELDS_MAX];
    struct record records[RECORDS_MAX];
};

static uint64_t number_at(const uint8_t *data, size_t width)
{
    uint64_t value = 0;
    memcpy(&value, data, width);
    return value;
}

/* false: the header ends here. */
static bool take_number(struct anatomy *a, uint32_t width, bool is_element, uint64_t *value)
{
    if (width == 0 || a->size - a->at < width)
        return false;
    if (a->n_fields < FIELDS_MAX)
        a->fields[a->n_fields++] = (struct field){.at = (uint32_t)a->at, .width = width, .is_element = is_element};
    *value = number_at(a->data + a->at, width);
    a->at += width;
    return true;
}

static bool take_string(struct anatomy *a, bool is_element)
{
    uint64_t n;
    const uint32_t field = a->n_fields;
    if (!take_number(a, 8, is_element, &n) || n > a->size - a->at)
        return false;
    if (field < a->n_fields)
        a->fields[field].is_string = true;
    a->at += (size_t)n;
    return true;
}

static bool take_value(struct anatomy *a)
{
    static const uint8_t widths[HEARTH_GGUF_TYPE_COUNT] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    uint64_t type, count = 1, ignored;
    if (!take_number(a, 4, false, &type))
        return false;
    const bool is_array = type == HEARTH_GGUF_ARRAY;
    if (is_array && (!take_number(a, 4, false, &type) || !take_number(a, 8, false, &count)))
        return false;
    if (type >= HEARTH_GGUF_TYPE_COUNT || count > a->size)
        return false;
    for (uint64_t i = 0; i < count; i++)
        if (!(type == HEARTH_GGUF_STRING ? take_string(a, is_array) : take_number(a, widths[type], is_array, &ignored)))
            return false;
    return true;
}

static bool take_tensor(struct anatomy *a)
{
    uint64_t n, ignored;
    if (!take_string(a, false) || !take_number(a, 4, false, &n) || n > 8)
        return false;
    for (uint64_t i = 0; i < n; i++)
        if (!take_number(a, 8, false, &ignored))
            return false;
    return take_number(a, 4, false, &ignored) && take_number(a, 8, false, &ignored);
}

static void dissect(struct anatomy *a, const uint8_t *data, size_t size)
{
    uint64_t n_tensors = 0, n_pairs = 0, ignored;
    a->data = data;
    a->size = size;
    a->n_fields = a->n_records = a->pairs_end = 0;
    a->at = 1;
    bool more = size > 0 && take_number(a, 4, false, &ignored) && take_number(a, 4, false, &ignored) &&
                take_number(a, 8, false, &n_tensors) && take_number(a, 8, false, &n_pairs);
    a->pairs_end = (uint32_t)a->at;
    for (uint64_t i = 0; more && i < n_pairs + n_tensors && a->n_records < RECORDS_MAX; i++) {
        const uint32_t begin = (uint32_t)a->at;
        const bool is_tensor = i >= n_pairs;
        more = is_tensor ? take_tensor(a) : take_string(a, false) && take_value(a);
        if (more)
            a->records[a->n_records++] = (struct record){begin, (uint32_t)a->at - begin, is_tensor};
        if (more && !is_tensor)
            a->pairs_end = (uint32_t)a->at;
    }
}

/* ---- Changes ---------------------------------------------------------------------------------------------------------- */

#define N_TENSORS_AT 9u /* behind byte 0, magic and version */
#define N_PAIRS_AT 17u

static const char *const words[] = {
    "llama",          "gemma", "gemma2",  "gemma3",      "phi2",       "phi3",   "qwen2",       "qwen3",
    "qwen3moe",       "gpt2",  "default", "llama-bpe",   "tekken",     "none",   "linear",      "yarn",
    "longrope",       "t h",   "<s>",     "</s>",        "<|im_end|>", "<0x0A>", "output.bias", "rope_freqs.weight",
    "{{ messages }}", "",      "\xff",    "\xe2\x96\x81"};

static const char *const keys[] = {"llama.rope.scaling.type",
                                   "llama.rope.scaling.factor",
                                   "llama.rope.scaling.original_context_length",
                                   "llama.attention.sliding_window",
                                   "llama.attention.key_length",
                                   "llama.rope.freq_base",
                                   "llama.attention.scale",
                                   "llama.expert_count",
                                   "llama.expert_used_count",
                                   "llama.vocab_size",
                                   "gemma2.attn_logit_softcapping",
                                   "gemma2.final_logit_softcapping",
                                   "gemma2.attention.sliding_window",
                                   "phi3.rope.scaling.attn_factor",
                                   "tokenizer.ggml.add_bos_token",
                                   "tokenizer.ggml.add_space_prefix",
                                   "tokenizer.ggml.eot_token_id",
                                   "tokenizer.ggml.padding_token_id",
                                   "tokenizer.ggml.pre",
                                   "tokenizer.chat_template",
                                   "general.alignment",
                                   "split.count",
                                   "split.no",
                                   "general.type"};

static void add_to_count(uint8_t *data, size_t at, int64_t change)
{
    const uint64_t count = number_at(data + at, 8) + (uint64_t)change;
    memcpy(data + at, &count, sizeof count);
}

/* Elements of arrays are many; the rest of the header is more often the better choice. */
static const struct field *choose_field(const struct anatomy *a, struct rng *rng)
{
    const struct field *field = &a->fields[rng_below(rng, a->n_fields)];
    for (int i = 0; i < 16 && field->is_element && rng_below(rng, 8); i++)
        field = &a->fields[rng_below(rng, a->n_fields)];
    return field;
}

static void change_number(struct anatomy *a, uint8_t *data, struct rng *rng)
{
    const struct field *field = choose_field(a, rng), *other = choose_field(a, rng);
    uint64_t value = number_at(data + field->at, field->width);
    switch (rng_below(rng, 6)) {
    case 0:
        value += 1;
        break;
    case 1:
        value -= 1;
        break;
    case 2:
        value = rng_below(rng, 2) ? value << 1 : value >> 1;
        break;
    case 3:
        value = number_at(data + other->at, other->width);
        break;
    case 4:
        value ^= UINT64_C(1) << rng_below(rng, 8 * field->width);
        break;
    default:
        value = fuzz_extreme(rng);
    }
    memcpy(data + field->at, &value, field->width);
}

/* Another text of another length, and the length right. */
static size_t change_string(struct anatomy *a, uint8_t *data, size_t capacity, struct rng *rng)
{
    const struct field *field = choose_field(a, rng);
    for (int i = 0; i < 16 && !field->is_string; i++)
        field = choose_field(a, rng);
    if (!field->is_string)
        return a->size;
    const char *word = words[rng_below(rng, sizeof words / sizeof words[0])];
    const uint64_t length = number_at(data + field->at, 8);
    const size_t whole = rng_below(rng, 2), at = whole ? 0 : rng_below(rng, (uint32_t)length + 1);
    const size_t cut = whole ? (size_t)length : rng_below(rng, (uint32_t)(length - at) + 1);
    const size_t size = fuzz_splice(data, a->size, capacity, field->at + 8 + at, cut, word, strlen(word));
    add_to_count(data, field->at, (int64_t)size - (int64_t)a->size);
    return size;
}

static size_t drop_record(struct anatomy *a, uint8_t *data, size_t capacity, struct rng *rng)
{
    const struct record *r = &a->records[rng_below(rng, a->n_records)];
    add_to_count(data, r->is_tensor ? N_TENSORS_AT : N_PAIRS_AT, -1);
    return fuzz_splice(data, a->size, capacity, r->at, r->bytes, NULL, 0);
}

static size_t double_record(struct anatomy *a, uint8_t *data, size_t capacity, struct rng *rng)
{
    static uint8_t copy[FUZZ_INPUT_MAX];
    const struct record *r = &a->records[rng_below(rng, a->n_records)];
    const struct record *to = &a->records[rng_below(rng, a->n_records)];
    memcpy(copy, data + r->at, r->bytes);
    const size_t size = fuzz_splice(data, a->size, capacity, to->is_tensor == r->is_tensor ? to->at : r->at, 0, copy, r->bytes);
    if (size != a->size)
        add_to_count(data, r->is_tensor ? N_TENSORS_AT : N_PAIRS_AT, 1);
    return size;
}

static size_t add_pair(struct anatomy *a, uint8_t *data, size_t capacity, struct rng *rng)
{
    static const float reals[] = {0.0f, 0.5f, 1.0f, 4.0f, 10000.0f, -1.0f, 1e30f};
    uint8_t pair[256];
    const char *key = keys[rng_below(rng, sizeof keys / sizeof keys[0])];
    const char *word = words[rng_below(rng, sizeof words / sizeof words[0])];
    const uint64_t key_bytes = strlen(key), word_bytes = strlen(word);
    static const uint32_t types[] = {HEARTH_GGUF_U32, HEARTH_GGUF_F32, HEARTH_GGUF_BOOL, HEARTH_GGUF_STRING};
    const uint32_t type = types[rng_below(rng, 4)];
    const uint32_t number = rng_below(rng, 4) ? rng_below(rng, 64) : (uint32_t)fuzz_extreme(rng);
    size_t n = 0;
    memcpy(pair, &key_bytes, 8);
    memcpy(pair + 8, key, key_bytes);
    n = 8 + key_bytes;
    memcpy(pair + n, &type, 4);
    n += 4;
    if (type == HEARTH_GGUF_STRING) {
        memcpy(pair + n, &word_bytes, 8);
        memcpy(pair + n + 8, word, word_bytes);
        n += 8 + word_bytes;
    } else if (type == HEARTH_GGUF_BOOL) {
        pair[n++] = number & 1;
    } else {
        memcpy(pair + n, type == HEARTH_GGUF_F32 ? (const void *)&reals[number % 7] : &number, 4);
        n += 4;
    }
    const size_t size = fuzz_splice(data, a->size, capacity, a->pairs_end, 0, pair, n);
    if (size != a->size)
        add_to_count(data, N_PAIRS_AT, 1);
    return size;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t capacity, unsigned int seed)
{
    static struct anatomy anatomy;
    struct rng rng = rng_from(seed);
    dissect(&anatomy, data, size);
    const uint32_t choice = rng_below(&rng, 16);
    if (anatomy.n_records == 0 || choice == 0)
        return LLVMFuzzerMutate(data, size, capacity);
    switch (choice) {
    case 1:
        return drop_record(&anatomy, data, capacity, &rng);
    case 2:
        return double_record(&anatomy, data, capacity, &rng);
    case 3:
    case 4:
        return add_pair(&anatomy, data, capacity, &rng);
    case 5:
    case 6:
    case 7:
        return change_string(&anatomy, data, capacity, &rng);
    case 8:
        data[0] = (uint8_t)rng_next(&rng);
        return size;
    default:
        change_number(&anatomy, data, &rng);
        return size;
    }
}

/* ---- Files -------------------------------------------------------------------------------------------------------------- */

static void seed_model(const struct gguf_shape *shape, bool bpe)
{
    static struct gguf_builder builder;
    static uint8_t seed[FUZZ_INPUT_MAX];
    struct hearth_gguf gguf;
    hearth_error err = {0};
    size_t size;
    gguf_builder_init(&builder);
    gguf_builder_add_llama(&builder, shape);
    if (bpe)
        gguf_builder_add_bpe_vocabulary(&builder);
    uint8_t *file = gguf_builder_finish(&builder, &size);
    fuzz_need(hearth_gguf_parse(&gguf, file, size, size, "tiny.gguf", &err) == HEARTH_OK, "%s", err.message);
    fuzz_need(gguf.data_start < sizeof seed && size - gguf.data_start <= DATA_BYTES, "%zu bytes are too many", size);
    memcpy(seed + 1, file, gguf.data_start);
    fuzz_seed(seed, gguf.data_start + 1);
    hearth_gguf_free(&gguf);
    gguf_builder_free(&builder);
    free(file);
}

void fuzz_start(void)
{
    static const char *const archs[] = {"llama", "gemma", "gemma2", "gemma3", "phi2", "phi3", "qwen2", "qwen3", "qwen3moe"};
    const hearth_engine_options options = {.struct_size = sizeof options, .threads = 1, .ram_cap = RAM_CAP};
    hearth_error err = {0};
    fuzz_need(hearth_engine_open(&engine, &options, &err) == HEARTH_OK, "%s", err.message);
    for (size_t i = 0; i < sizeof archs / sizeof archs[0]; i++) {
        const bool experts = strcmp(archs[i], "qwen3moe") == 0;
        seed_model(&(struct gguf_shape){.arch = archs[i],
                                        .n_layer = 1,
                                        .n_embd = 32,
                                        .n_head = 2,
                                        .n_head_kv = 1,
                                        .n_ff = 32,
                                        .n_vocab = 290,
                                        .format = i % 2 ? HEARTH_Q8_0 : HEARTH_F16,
                                        .tied = i % 3 == 0,
                                        .n_expert = experts ? 4 : 0,
                                        .n_expert_used = experts ? 2 : 0},
                   false);
    }
    seed_model(&(struct gguf_shape){.n_embd = 32, .n_head = 2, .n_head_kv = 2, .n_ff = 32, .n_vocab = 259, .rope_freqs = true},
               false);
    seed_model(&(struct gguf_shape){.n_layer = 1, .n_embd = 32, .n_head = 2, .n_ff = 32, .n_vocab = 258 + 1, .tied = true}, true);
    seed_model(&(struct gguf_shape){.n_layer = 1, .n_embd = 256, .n_ff = 256, .n_vocab = 260, .tied = true, .format = HEARTH_Q4_K},
               false);
}

static void run_model(const struct memory_source *source, hearth_error *err)
{
    static const int32_t ids[2] = {5, 200};
    const hearth_limits limits = {.struct_size = sizeof limits, .context = 40, .batch = 4};
    hearth_model *model = NULL;
    hearth_session *session = NULL;
    hearth_status status = hearth_model_open_source(&model, engine, &source->source, &limits, NULL, err);
    if (status == HEARTH_OK)
        status = hearth_session_open(&session, model, &limits, err);
    if (status == HEARTH_OK)
        status = hearth_session_feed(session, ids, 2, err);
    hearth_session_close(session);
    hearth_model_close(model);
    fuzz_answer(status, err);
}

/* The tokenizer of the file alone, which a file whose tensors are refused has too. */
static void run_vocabulary(const struct hearth_gguf *gguf)
{
    static _Alignas(64) uint8_t scratch[HEARTH_TOKENIZER_SCRATCH];
    static const char text[] = "the <s> \xe2\x96\x81 12\xff";
    hearth_error err = {0};
    struct hearth_vocab vocab;
    struct hearth_tokenizer *tokenizer;
    int32_t ids[64];
    uint64_t bytes = 0;
    size_t n_ids;
    hearth_status status = hearth_vocab_read(&vocab, gguf, 0, NULL, NULL, &err);
    if (status == HEARTH_OK)
        status = hearth_tokenizer_plan(&vocab, "tiny.gguf", &bytes, &err);
    void *memory = status == HEARTH_OK && bytes < RAM_CAP ? aligned_alloc(64, bytes) : NULL;
    if (memory)
        status = hearth_tokenizer_init(&tokenizer, memory, bytes, &vocab, "tiny.gguf", &err);
    if (memory && status == HEARTH_OK)
        (void)hearth_tokenizer_encode(tokenizer, scratch, text, sizeof text - 1, HEARTH_TOKENIZE_BOS | HEARTH_TOKENIZE_SPECIAL, ids,
                                      64, &n_ids);
    free(memory);
    fuzz_answer(status, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint16_t fills[] = {0x2c00, 0x2c00, 0x2c00, 0,
                                     0xbc00, 0x7e00, 0x7bff, 0xffff}; /* as halves: 1/16, … NaN, largest */
    struct memory_source source = {0};
    hearth_error err = {0};
    if (size < 1)
        return 0;
    uint8_t *file = malloc(size - 1 + DATA_BYTES);
    fuzz_need(file, "no memory");
    memcpy(file, data + 1, size - 1);
    uint8_t *fill = file + size - 1;
    memcpy(fill, &fills[data[0] % 8], 2);
    for (size_t have = 2; have < DATA_BYTES; have *= 2)
        memcpy(fill + have, fill, have < DATA_BYTES - have ? have : DATA_BYTES - have);
    const hearth_status status = memory_source_open(&source, file, size - 1 + DATA_BYTES, &err);
    if (status == HEARTH_OK) {
        run_vocabulary(&source.gguf);
        run_model(&source, &err);
    } else {
        fuzz_answer(status, &err);
    }
    memory_source_close(&source);
    free(file);
    return 0;
}
