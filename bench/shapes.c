/* Well-known models by their shapes; see shapes.h. */
#include "shapes.h"
#include "common/status.h"
#include <stdlib.h>

const struct hearth_shape hearth_shapes[] = {
    /* name, architecture, layers, width, feed-forward, heads, of keys, head, rotated, vocabulary, trained, base, tied, rope_freqs,
     * experts, used for a token. The last is no published model: Mixtral at half its width, for small machines. */
    {"llama-2-7b", HEARTH_SHAPE_LLAMA, 32, 4096, 11008, 32, 32, 128, 128, 32000, 4096, 1e4f, false, false, 0, 0},
    {"codellama-7b", HEARTH_SHAPE_LLAMA, 32, 4096, 11008, 32, 32, 128, 128, 32016, 16384, 1e6f, false, false, 0, 0},
    {"mistral-7b", HEARTH_SHAPE_LLAMA, 32, 4096, 14336, 32, 8, 128, 128, 32000, 32768, 1e4f, false, false, 0, 0},
    {"llama-3.1-8b", HEARTH_SHAPE_LLAMA, 32, 4096, 14336, 32, 8, 128, 128, 128256, 131072, 5e5f, false, true, 0, 0},
    {"llama-3.2-1b", HEARTH_SHAPE_LLAMA, 16, 2048, 8192, 32, 8, 64, 64, 128256, 131072, 5e5f, true, true, 0, 0},
    {"tinyllama-1.1b", HEARTH_SHAPE_LLAMA, 22, 2048, 5632, 32, 4, 64, 64, 32000, 2048, 1e4f, false, false, 0, 0},
    {"phi-2", HEARTH_SHAPE_PHI2, 32, 2560, 10240, 32, 32, 80, 32, 51200, 2048, 1e4f, false, false, 0, 0},
    {"qwen3-4b", HEARTH_SHAPE_QWEN3, 36, 2560, 9728, 32, 8, 128, 128, 151936, 40960, 1e6f, true, false, 0, 0},
    {"mixtral-8x7b", HEARTH_SHAPE_LLAMA, 32, 4096, 14336, 32, 8, 128, 128, 32000, 32768, 1e6f, false, false, 8, 2},
    {"mixtral-small", HEARTH_SHAPE_LLAMA, 12, 2048, 3584, 16, 4, 128, 128, 32000, 32768, 1e6f, false, false, 8, 2},
};
const size_t hearth_shape_count = sizeof hearth_shapes / sizeof hearth_shapes[0];

const struct hearth_shape *hearth_shape_find(const char *name)
{
    for (size_t i = 0; i < hearth_shape_count; i++)
        if (strcmp(hearth_shapes[i].name, name) == 0)
            return &hearth_shapes[i];
    return NULL;
}

void hearth_shape_names(char *out, size_t capacity)
{
    size_t used = 0;
    if (capacity > 0)
        out[0] = '\0';
    for (size_t i = 0; i < hearth_shape_count && used < capacity; i++)
        used += (size_t)snprintf(out + used, capacity - used, "%s%s", i ? ", " : "", hearth_shapes[i].name);
}

/* ---- Recipes -------------------------------------------------------------------------------------------------------- */

/* Which of n layers get the better format: none; all of a model whose key heads serve four query heads or more; the first two,
 * four, eighth or sixteenth; or the first and last eighth and every third between. */
enum layers { NO_LAYER, GROUPED, FIRST_2, FIRST_4, EIGHTH, SIXTEENTH, MORE };

struct choice {
    enum hearth_format usual, better;
    enum layers where;
};

/* base: every matrix that is not named here. v also says what a fused attn_qkv gets, as the tools have done since March 2026. */
struct recipe {
    const char *name;
    enum hearth_format base, output, attn_output;
    struct choice v, down;
};

#define SAME(f)                                                                                                                    \
    {                                                                                                                              \
        (f), (f), NO_LAYER                                                                                                         \
    }
#define PLAIN(name, f, output)                                                                                                     \
    {                                                                                                                              \
        name, f, output, f, SAME(f), SAME(f)                                                                                       \
    }
static const struct recipe recipes[] = {
    PLAIN("Q4_0", HEARTH_Q4_0, HEARTH_Q6_K),
    PLAIN("Q4_1", HEARTH_Q4_1, HEARTH_Q6_K),
    PLAIN("Q5_0", HEARTH_Q5_0, HEARTH_Q6_K),
    PLAIN("Q5_1", HEARTH_Q5_1, HEARTH_Q6_K),
    PLAIN("Q8_0", HEARTH_Q8_0, HEARTH_Q8_0),
    {"Q2_K", HEARTH_Q2_K, HEARTH_Q6_K, HEARTH_Q3_K, {HEARTH_Q3_K, HEARTH_Q4_K, GROUPED}, SAME(HEARTH_Q3_K)},
    {"Q3_K_M", HEARTH_Q3_K, HEARTH_Q6_K, HEARTH_Q4_K, {HEARTH_Q4_K, HEARTH_Q5_K, FIRST_2}, {HEARTH_Q4_K, HEARTH_Q5_K, SIXTEENTH}},
    {"Q4_K_S", HEARTH_Q4_K, HEARTH_Q6_K, HEARTH_Q4_K, {HEARTH_Q4_K, HEARTH_Q5_K, FIRST_4}, {HEARTH_Q4_K, HEARTH_Q5_K, EIGHTH}},
    {"Q4_K_M", HEARTH_Q4_K, HEARTH_Q6_K, HEARTH_Q4_K, {HEARTH_Q4_K, HEARTH_Q6_K, MORE}, {HEARTH_Q4_K, HEARTH_Q6_K, MORE}},
    PLAIN("Q5_K_S", HEARTH_Q5_K, HEARTH_Q6_K),
    {"Q5_K_M", HEARTH_Q5_K, HEARTH_Q6_K, HEARTH_Q5_K, {HEARTH_Q5_K, HEARTH_Q6_K, MORE}, {HEARTH_Q5_K, HEARTH_Q6_K, MORE}},
    PLAIN("Q6_K", HEARTH_Q6_K, HEARTH_Q6_K),
    {"IQ4_NL",
     HEARTH_IQ4_NL,
     HEARTH_Q6_K,
     HEARTH_IQ4_NL,
     {HEARTH_IQ4_NL, HEARTH_Q5_K, GROUPED},
     {HEARTH_IQ4_NL, HEARTH_Q5_K, EIGHTH}},
    {"IQ4_XS",
     HEARTH_IQ4_XS,
     HEARTH_Q6_K,
     HEARTH_IQ4_XS,
     {HEARTH_IQ4_XS, HEARTH_Q5_K, GROUPED},
     {HEARTH_IQ4_XS, HEARTH_Q5_K, EIGHTH}},
    PLAIN("F16", HEARTH_F16, HEARTH_F16),
    PLAIN("BF16", HEARTH_BF16, HEARTH_BF16),
    PLAIN("F32", HEARTH_F32, HEARTH_F32),
};

void hearth_recipe_names(char *out, size_t capacity)
{
    size_t used = 0;
    if (capacity > 0)
        out[0] = '\0';
    for (size_t i = 0; i < sizeof recipes / sizeof recipes[0] && used < capacity; i++)
        used += (size_t)snprintf(out + used, capacity - used, "%s%s", i ? ", " : "", recipes[i].name);
}

static const struct recipe *find_recipe(const char *name)
{
    for (size_t i = 0; i < sizeof recipes / sizeof recipes[0]; i++)
        if (strcmp(recipes[i].name, name) == 0)
            return &recipes[i];
    return NULL;
}

static bool is_better(const struct hearth_shape *s, enum layers where, uint32_t i)
{
    const uint32_t n = s->n_layer;
    switch (where) {
    case GROUPED:
        return s->n_head / s->n_head_kv >= 4;
    case FIRST_2:
        return i < 2;
    case FIRST_4:
        return i < 4;
    case EIGHTH:
        return i < n / 8;
    case SIXTEENTH:
        return i < n / 16;
    case MORE:
        return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
    default:
        return false;
    }
}

static enum hearth_format choose(const struct hearth_shape *s, const struct choice *choice, uint32_t i)
{
    return is_better(s, choice->where, i) ? choice->better : choice->usual;
}

/* ---- Tensors -------------------------------------------------------------------------------------------------------- */

static void write_matrix(struct hearth_gguf_writer *w, uint32_t layer, const char *name, enum hearth_format format, uint64_t k,
                         uint64_t rows)
{
    char full[64];
    (void)snprintf(full, sizeof full, "blk.%" PRIu32 ".%s.weight", layer, name);
    (void)hearth_gguf_write_tensor(w, full, format, 2, (const uint64_t[]){k, rows});
}

/* An expert behind the other, or one matrix where there are none. */
static void write_experts(struct hearth_gguf_writer *w, const struct hearth_shape *s, uint32_t layer, const char *name,
                          enum hearth_format format, uint64_t k, uint64_t rows)
{
    char full[64];
    (void)snprintf(full, sizeof full, "blk.%" PRIu32 ".%s%s.weight", layer, name, s->n_expert ? "_exps" : "");
    (void)hearth_gguf_write_tensor(w, full, format, s->n_expert ? 3 : 2, (const uint64_t[]){k, rows, s->n_expert});
}

static void write_vector(struct hearth_gguf_writer *w, uint32_t layer, const char *name, uint64_t n)
{
    char full[64];
    (void)snprintf(full, sizeof full, "blk.%" PRIu32 ".%s", layer, name);
    (void)hearth_gguf_write_tensor(w, full, HEARTH_F32, 1, &n);
}

/* llama, and qwen3 with its norms of queries and keys. */
static void write_llama_layer(struct hearth_gguf_writer *w, const struct hearth_shape *s, const struct recipe *r, uint32_t i)
{
    const uint64_t queries = (uint64_t)s->n_head * s->head_dim;
    const uint64_t keys = (uint64_t)s->n_head_kv * s->head_dim;
    write_vector(w, i, "attn_norm.weight", s->n_embd);
    write_matrix(w, i, "attn_q", r->base, s->n_embd, queries);
    write_matrix(w, i, "attn_k", r->base, s->n_embd, keys);
    write_matrix(w, i, "attn_v", choose(s, &r->v, i), s->n_embd, keys);
    if (s->architecture == HEARTH_SHAPE_QWEN3) {
        write_vector(w, i, "attn_q_norm.weight", s->head_dim);
        write_vector(w, i, "attn_k_norm.weight", s->head_dim);
    }
    write_matrix(w, i, "attn_output", r->attn_output, queries, s->n_embd);
    write_vector(w, i, "ffn_norm.weight", s->n_embd);
    if (s->n_expert)
        write_matrix(w, i, "ffn_gate_inp", HEARTH_F32, s->n_embd, s->n_expert);
    write_experts(w, s, i, "ffn_gate", r->base, s->n_embd, s->n_ff);
    write_experts(w, s, i, "ffn_up", r->base, s->n_embd, s->n_ff);
    write_experts(w, s, i, "ffn_down", choose(s, &r->down, i), s->n_ff, s->n_embd);
}

/* One norm serves attention and feed-forward; queries, keys and values are one matrix; everything has a bias. */
static void write_phi2_layer(struct hearth_gguf_writer *w, const struct hearth_shape *s, const struct recipe *r, uint32_t i)
{
    const uint64_t queries = (uint64_t)s->n_head * s->head_dim;
    const uint64_t all = queries + 2 * (uint64_t)s->n_head_kv * s->head_dim;
    write_vector(w, i, "attn_norm.weight", s->n_embd);
    write_vector(w, i, "attn_norm.bias", s->n_embd);
    write_matrix(w, i, "attn_qkv", choose(s, &r->v, i), s->n_embd, all);
    write_vector(w, i, "attn_qkv.bias", all);
    write_matrix(w, i, "attn_output", r->attn_output, queries, s->n_embd);
    write_vector(w, i, "attn_output.bias", s->n_embd);
    write_matrix(w, i, "ffn_up", r->base, s->n_embd, s->n_ff);
    write_vector(w, i, "ffn_up.bias", s->n_ff);
    write_matrix(w, i, "ffn_down", choose(s, &r->down, i), s->n_ff, s->n_embd);
    write_vector(w, i, "ffn_down.bias", s->n_embd);
}

static void write_tensors(struct hearth_gguf_writer *w, const struct hearth_shape *s, const struct recipe *r)
{
    const uint64_t table[] = {s->n_embd, s->n_vocab};
    const uint64_t rotations = s->n_rot / 2;
    const bool phi2 = s->architecture == HEARTH_SHAPE_PHI2;
    (void)hearth_gguf_write_tensor(w, "token_embd.weight", s->tied ? r->output : r->base, 2, table);
    (void)hearth_gguf_write_tensor(w, "output_norm.weight", HEARTH_F32, 1, table);
    if (phi2)
        (void)hearth_gguf_write_tensor(w, "output_norm.bias", HEARTH_F32, 1, table);
    if (!s->tied)
        (void)hearth_gguf_write_tensor(w, "output.weight", r->output, 2, table);
    if (phi2)
        (void)hearth_gguf_write_tensor(w, "output.bias", HEARTH_F32, 1, table + 1);
    if (s->rope_freqs)
        (void)hearth_gguf_write_tensor(w, "rope_freqs.weight", HEARTH_F32, 1, &rotations);
    for (uint32_t i = 0; i < s->n_layer; i++)
        (phi2 ? write_phi2_layer : write_llama_layer)(w, s, r, i);
}

/* ---- The rest of the header ----------------------------------------------------------------------------------------- */

/* <unk>, <s>, </s>, the 256 byte tokens, then words without meaning. */
static bool write_vocabulary(struct hearth_gguf_writer *w, uint32_t n)
{
    enum { TEXT = 12 };
    char *texts = malloc((size_t)n * TEXT);
    struct hearth_view *tokens = malloc(n * sizeof *tokens);
    float *scores = malloc(n * sizeof *scores);
    int32_t *types = malloc(n * sizeof *types);
    const bool made = texts && tokens && scores && types;
    for (uint32_t i = 0; made && i < n; i++) {
        char *text = texts + (size_t)i * TEXT;
        if (i < 3)
            (void)snprintf(text, TEXT, "%s", i == 0 ? "<unk>" : i == 1 ? "<s>" : "</s>");
        else if (i < 259)
            (void)snprintf(text, TEXT, "<0x%02X>", i - 3);
        else
            (void)snprintf(text, TEXT, "t%" PRIu32, i);
        tokens[i] = (struct hearth_view){(const uint8_t *)text, strlen(text)};
        scores[i] = -(float)i;
        types[i] = i == 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1;
    }
    if (made) {
        hearth_gguf_write_string(w, "tokenizer.ggml.model", "llama");
        hearth_gguf_write_strings(w, "tokenizer.ggml.tokens", tokens, n);
        hearth_gguf_write_array32(w, "tokenizer.ggml.scores", HEARTH_GGUF_F32, scores, n);
        hearth_gguf_write_array32(w, "tokenizer.ggml.token_type", HEARTH_GGUF_I32, types, n);
    }
    free(texts);
    free(tokens);
    free(scores);
    free(types);
    return made;
}

struct keys {
    struct hearth_gguf_writer *writer;
    const char *architecture;
};

static const char *key(const struct keys *k, const char *suffix, char out[64])
{
    (void)snprintf(out, 64, "%s.%s", k->architecture, suffix);
    return out;
}

static void write_count(const struct keys *k, const char *suffix, uint32_t value)
{
    char name[64];
    hearth_gguf_write_u32(k->writer, key(k, suffix, name), value);
}

static void write_real(const struct keys *k, const char *suffix, float value)
{
    char name[64];
    hearth_gguf_write_f32(k->writer, key(k, suffix, name), value);
}

static void write_keys(struct hearth_gguf_writer *w, const struct hearth_shape *s)
{
    static const char *const names[] = {"llama", "phi2", "qwen3"};
    const struct keys k = {w, names[s->architecture]};
    hearth_gguf_write_string(w, "general.architecture", k.architecture);
    hearth_gguf_write_string(w, "general.name", s->name);
    write_count(&k, "block_count", s->n_layer);
    write_count(&k, "context_length", s->n_ctx_train);
    write_count(&k, "embedding_length", s->n_embd);
    write_count(&k, "feed_forward_length", s->n_ff);
    if (s->n_expert) {
        write_count(&k, "expert_count", s->n_expert);
        write_count(&k, "expert_used_count", s->n_expert_used);
    }
    write_count(&k, "attention.head_count", s->n_head);
    write_count(&k, "attention.head_count_kv", s->n_head_kv);
    write_count(&k, "attention.key_length", s->head_dim);
    write_count(&k, "attention.value_length", s->head_dim);
    write_count(&k, "rope.dimension_count", s->n_rot);
    if (s->architecture == HEARTH_SHAPE_PHI2)
        write_real(&k, "attention.layer_norm_epsilon", 1e-5f);
    else
        write_real(&k, "attention.layer_norm_rms_epsilon", s->architecture == HEARTH_SHAPE_QWEN3 ? 1e-6f : 1e-5f);
    write_real(&k, "rope.freq_base", s->rope_freq_base);
    hearth_gguf_write_u32(w, "general.quantization_version", 2);
}

hearth_status hearth_shape_header(const struct hearth_shape *s, const char *recipe_name, uint8_t **bytes, size_t *size,
                                  uint64_t *data_bytes, hearth_error *err)
{
    const struct recipe *r = find_recipe(recipe_name);
    if (!r) {
        char quoted[HEARTH_QUOTE_MAX];
        char names[160];
        hearth_recipe_names(names, sizeof names);
        return hearth_fail(err, HEARTH_E_CONFIG, NULL, "bench: no such recipe (got %s, need one of %s)",
                           hearth_quote(quoted, recipe_name, strlen(recipe_name)), names);
    }
    struct hearth_gguf_writer w;
    hearth_gguf_writer_init(&w, 32);
    write_keys(&w, s);
    if (!write_vocabulary(&w, s->n_vocab)) {
        hearth_gguf_writer_free(&w);
        return hearth_fail(err, HEARTH_E_MEMORY, NULL, "bench: no memory for a vocabulary of %" PRIu32 " tokens", s->n_vocab);
    }
    write_tensors(&w, s, r);
    *data_bytes = w.data_size;
    const hearth_status status = hearth_gguf_writer_finish(&w, bytes, size, err);
    hearth_gguf_writer_free(&w);
    return status;
}
