/* Well-known models by their shapes; see shapes.h. */
#include "shapes.h"
#include "common/status.h"
#include "recipe.h"
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

/* ---- Tensors -------------------------------------------------------------------------------------------------------- */

/* The directory under construction. */
struct tensors {
    struct hearth_gguf_writer *writer;
    const struct hearth_shape *shape;
    const struct hearth_recipe *recipe;
    struct hearth_recipe_model model;
};

/* n_experts 0: one matrix. */
static void write_matrices(const struct tensors *t, const char *name, uint32_t layer, uint64_t k, uint64_t rows, uint32_t n_experts)
{
    const struct hearth_view view = {(const uint8_t *)name, strlen(name)};
    const uint32_t n_dims = n_experts ? 3 : 2;
    const enum hearth_format format = hearth_recipe_choose(t->recipe, &t->model, hearth_recipe_class(view, n_dims), layer);
    (void)hearth_gguf_write_tensor(t->writer, name, hearth_recipe_fallback(format, k), n_dims,
                                   (const uint64_t[]){k, rows, n_experts});
}

static void write_matrix(const struct tensors *t, const char *name, uint32_t layer, uint64_t k, uint64_t rows)
{
    write_matrices(t, name, layer, k, rows, 0);
}

static void write_layer_matrix(const struct tensors *t, uint32_t layer, const char *name, uint64_t k, uint64_t rows)
{
    char full[64];
    (void)snprintf(full, sizeof full, "blk.%" PRIu32 ".%s.weight", layer, name);
    write_matrix(t, full, layer, k, rows);
}

/* An expert behind the other, or one matrix where there are none. */
static void write_experts(const struct tensors *t, uint32_t layer, const char *name, uint64_t k, uint64_t rows)
{
    char full[64];
    (void)snprintf(full, sizeof full, "blk.%" PRIu32 ".%s%s.weight", layer, name, t->shape->n_expert ? "_exps" : "");
    write_matrices(t, full, layer, k, rows, t->shape->n_expert);
}

static void write_router(const struct tensors *t, uint32_t layer)
{
    char full[64];
    (void)snprintf(full, sizeof full, "blk.%" PRIu32 ".ffn_gate_inp.weight", layer);
    (void)hearth_gguf_write_tensor(t->writer, full, HEARTH_F32, 2, (const uint64_t[]){t->shape->n_embd, t->shape->n_expert});
}

static void write_vector(const struct tensors *t, uint32_t layer, const char *name, uint64_t n)
{
    char full[64];
    (void)snprintf(full, sizeof full, "blk.%" PRIu32 ".%s", layer, name);
    (void)hearth_gguf_write_tensor(t->writer, full, HEARTH_F32, 1, &n);
}

/* llama, and qwen3 with its norms of queries and keys. */
static void write_llama_layer(const struct tensors *t, uint32_t i)
{
    const struct hearth_shape *s = t->shape;
    const uint64_t queries = (uint64_t)s->n_head * s->head_dim;
    const uint64_t keys = (uint64_t)s->n_head_kv * s->head_dim;
    write_vector(t, i, "attn_norm.weight", s->n_embd);
    write_layer_matrix(t, i, "attn_q", s->n_embd, queries);
    write_layer_matrix(t, i, "attn_k", s->n_embd, keys);
    write_layer_matrix(t, i, "attn_v", s->n_embd, keys);
    if (s->architecture == HEARTH_SHAPE_QWEN3) {
        write_vector(t, i, "attn_q_norm.weight", s->head_dim);
        write_vector(t, i, "attn_k_norm.weight", s->head_dim);
    }
    write_layer_matrix(t, i, "attn_output", queries, s->n_embd);
    write_vector(t, i, "ffn_norm.weight", s->n_embd);
    if (s->n_expert)
        write_router(t, i);
    write_experts(t, i, "ffn_gate", s->n_embd, s->n_ff);
    write_experts(t, i, "ffn_up", s->n_embd, s->n_ff);
    write_experts(t, i, "ffn_down", s->n_ff, s->n_embd);
}

/* One norm serves attention and feed-forward; queries, keys and values are one matrix; everything has a bias. */
static void write_phi2_layer(const struct tensors *t, uint32_t i)
{
    const struct hearth_shape *s = t->shape;
    const uint64_t queries = (uint64_t)s->n_head * s->head_dim;
    const uint64_t all = queries + 2 * (uint64_t)s->n_head_kv * s->head_dim;
    write_vector(t, i, "attn_norm.weight", s->n_embd);
    write_vector(t, i, "attn_norm.bias", s->n_embd);
    write_layer_matrix(t, i, "attn_qkv", s->n_embd, all);
    write_vector(t, i, "attn_qkv.bias", all);
    write_layer_matrix(t, i, "attn_output", queries, s->n_embd);
    write_vector(t, i, "attn_output.bias", s->n_embd);
    write_layer_matrix(t, i, "ffn_up", s->n_embd, s->n_ff);
    write_vector(t, i, "ffn_up.bias", s->n_ff);
    write_layer_matrix(t, i, "ffn_down", s->n_ff, s->n_embd);
    write_vector(t, i, "ffn_down.bias", s->n_embd);
}

static void write_tensors(struct hearth_gguf_writer *w, const struct hearth_shape *s, const struct hearth_recipe *r)
{
    const uint64_t table[] = {s->n_embd, s->n_vocab};
    const uint64_t rotations = s->n_rot / 2;
    const bool phi2 = s->architecture == HEARTH_SHAPE_PHI2;
    const struct tensors t = {w,
                              s,
                              r,
                              {.n_layer = s->n_layer,
                               .n_head = s->n_head,
                               .n_head_kv = s->n_head_kv,
                               .n_expert = s->n_expert,
                               .n_value = s->n_layer,
                               .tied = s->tied}};
    write_matrix(&t, "token_embd.weight", 0, s->n_embd, s->n_vocab);
    (void)hearth_gguf_write_tensor(w, "output_norm.weight", HEARTH_F32, 1, table);
    if (phi2)
        (void)hearth_gguf_write_tensor(w, "output_norm.bias", HEARTH_F32, 1, table);
    if (!s->tied)
        write_matrix(&t, "output.weight", 0, s->n_embd, s->n_vocab);
    if (phi2)
        (void)hearth_gguf_write_tensor(w, "output.bias", HEARTH_F32, 1, table + 1);
    if (s->rope_freqs)
        (void)hearth_gguf_write_tensor(w, "rope_freqs.weight", HEARTH_F32, 1, &rotations);
    for (uint32_t i = 0; i < s->n_layer; i++)
        (phi2 ? write_phi2_layer : write_llama_layer)(&t, i);
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
    const struct hearth_recipe *r = hearth_recipe_find(recipe_name);
    if (!r) {
        char quoted[HEARTH_QUOTE_MAX];
        char names[160];
        hearth_recipe_names(names, sizeof names, false);
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
