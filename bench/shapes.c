/* Well-known models by their shapes; see shapes.h. */
#include "shapes.h"
#include "common/status.h"
#include <stdlib.h>

const struct hearth_shape hearth_shapes[] = {
    {"llama-2-7b", 32, 4096, 11008, 32, 32, 128, 32000, 4096, 1e4f, false},
    {"codellama-7b", 32, 4096, 11008, 32, 32, 128, 32016, 16384, 1e6f, false},
    {"mistral-7b", 32, 4096, 14336, 32, 8, 128, 32000, 32768, 1e4f, false},
    {"llama-3.1-8b", 32, 4096, 14336, 32, 8, 128, 128256, 131072, 5e5f, false},
    {"llama-3.2-1b", 16, 2048, 8192, 32, 8, 64, 128256, 131072, 5e5f, true},
    {"tinyllama-1.1b", 22, 2048, 5632, 32, 4, 64, 32000, 2048, 1e4f, false},
};
const size_t hearth_shape_count = sizeof hearth_shapes / sizeof hearth_shapes[0];

const struct hearth_shape *hearth_shape_find(const char *name)
{
    for (size_t i = 0; i < hearth_shape_count; i++)
        if (strcmp(hearth_shapes[i].name, name) == 0)
            return &hearth_shapes[i];
    return NULL;
}

/* base: every matrix; more: attn_v and ffn_down of the layers that more() picks; v_first, down_first: Q4_K_S's better early layers.
 */
struct recipe {
    const char *name;
    enum hearth_format base, output, more;
    bool early_q5;
};

static const struct recipe recipes[] = {
    {"Q4_0", HEARTH_Q4_0, HEARTH_Q6_K, HEARTH_Q4_0, false},   {"Q5_0", HEARTH_Q5_0, HEARTH_Q6_K, HEARTH_Q5_0, false},
    {"Q8_0", HEARTH_Q8_0, HEARTH_Q8_0, HEARTH_Q8_0, false},   {"Q4_K_S", HEARTH_Q4_K, HEARTH_Q6_K, HEARTH_Q4_K, true},
    {"Q4_K_M", HEARTH_Q4_K, HEARTH_Q6_K, HEARTH_Q6_K, false}, {"Q5_K_S", HEARTH_Q5_K, HEARTH_Q6_K, HEARTH_Q5_K, false},
    {"Q5_K_M", HEARTH_Q5_K, HEARTH_Q6_K, HEARTH_Q6_K, false}, {"Q6_K", HEARTH_Q6_K, HEARTH_Q6_K, HEARTH_Q6_K, false},
    {"F16", HEARTH_F16, HEARTH_F16, HEARTH_F16, false},       {"BF16", HEARTH_BF16, HEARTH_BF16, HEARTH_BF16, false},
    {"F32", HEARTH_F32, HEARTH_F32, HEARTH_F32, false},
};

const char *hearth_recipe_names(void)
{
    return "Q4_0, Q5_0, Q8_0, Q4_K_S, Q4_K_M, Q5_K_S, Q5_K_M, Q6_K, F16, BF16, F32";
}

static const struct recipe *find_recipe(const char *name)
{
    for (size_t i = 0; i < sizeof recipes / sizeof recipes[0]; i++)
        if (strcmp(recipes[i].name, name) == 0)
            return &recipes[i];
    return NULL;
}

/* The layers that the _M recipes give more bits: the first and last eighth, and every third between. */
static bool more(uint32_t i, uint32_t n)
{
    return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
}

static void write_matrix(struct hearth_gguf_writer *w, uint32_t layer, const char *name, enum hearth_format format, uint64_t k,
                         uint64_t rows)
{
    char full[64];
    (void)snprintf(full, sizeof full, "blk.%" PRIu32 ".%s.weight", layer, name);
    (void)hearth_gguf_write_tensor(w, full, format, rows ? 2 : 1, (const uint64_t[]){k, rows});
}

static void write_layer(struct hearth_gguf_writer *w, const struct hearth_shape *s, const struct recipe *r, uint32_t i)
{
    const uint64_t queries = (uint64_t)s->n_head * s->head_dim;
    const uint64_t keys = (uint64_t)s->n_head_kv * s->head_dim;
    const enum hearth_format picked = more(i, s->n_layer) ? r->more : r->base;
    const enum hearth_format v = r->early_q5 && i < 4 ? HEARTH_Q5_K : picked;
    const enum hearth_format down = r->early_q5 && i < s->n_layer / 8 ? HEARTH_Q5_K : picked;
    write_matrix(w, i, "attn_norm", HEARTH_F32, s->n_embd, 0);
    write_matrix(w, i, "attn_q", r->base, s->n_embd, queries);
    write_matrix(w, i, "attn_k", r->base, s->n_embd, keys);
    write_matrix(w, i, "attn_v", v, s->n_embd, keys);
    write_matrix(w, i, "attn_output", r->base, queries, s->n_embd);
    write_matrix(w, i, "ffn_norm", HEARTH_F32, s->n_embd, 0);
    write_matrix(w, i, "ffn_gate", r->base, s->n_embd, s->n_ff);
    write_matrix(w, i, "ffn_up", r->base, s->n_embd, s->n_ff);
    write_matrix(w, i, "ffn_down", down, s->n_ff, s->n_embd);
}

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

static void write_keys(struct hearth_gguf_writer *w, const struct hearth_shape *s)
{
    hearth_gguf_write_string(w, "general.architecture", "llama");
    hearth_gguf_write_string(w, "general.name", s->name);
    hearth_gguf_write_u32(w, "llama.block_count", s->n_layer);
    hearth_gguf_write_u32(w, "llama.context_length", s->n_ctx_train);
    hearth_gguf_write_u32(w, "llama.embedding_length", s->n_embd);
    hearth_gguf_write_u32(w, "llama.feed_forward_length", s->n_ff);
    hearth_gguf_write_u32(w, "llama.attention.head_count", s->n_head);
    hearth_gguf_write_u32(w, "llama.attention.head_count_kv", s->n_head_kv);
    hearth_gguf_write_u32(w, "llama.attention.key_length", s->head_dim);
    hearth_gguf_write_u32(w, "llama.attention.value_length", s->head_dim);
    hearth_gguf_write_u32(w, "llama.rope.dimension_count", s->head_dim);
    hearth_gguf_write_f32(w, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    hearth_gguf_write_f32(w, "llama.rope.freq_base", s->rope_freq_base);
    hearth_gguf_write_u32(w, "general.quantization_version", 2);
}

hearth_status hearth_shape_header(const struct hearth_shape *s, const char *recipe_name, uint8_t **bytes, size_t *size,
                                  uint64_t *data_bytes, hearth_error *err)
{
    const struct recipe *r = find_recipe(recipe_name);
    char quoted[HEARTH_QUOTE_MAX];
    if (!r)
        return hearth_fail(err, HEARTH_E_CONFIG, NULL, "bench: no such recipe (got %s, need one of %s)",
                           hearth_quote(quoted, recipe_name, strlen(recipe_name)), hearth_recipe_names());
    struct hearth_gguf_writer w;
    hearth_gguf_writer_init(&w, 32);
    write_keys(&w, s);
    if (!write_vocabulary(&w, s->n_vocab)) {
        hearth_gguf_writer_free(&w);
        return hearth_fail(err, HEARTH_E_MEMORY, NULL, "bench: no memory for a vocabulary of %" PRIu32 " tokens", s->n_vocab);
    }
    (void)hearth_gguf_write_tensor(&w, "token_embd.weight", s->tied ? r->output : r->base, 2,
                                   (const uint64_t[]){s->n_embd, s->n_vocab});
    (void)hearth_gguf_write_tensor(&w, "output_norm.weight", HEARTH_F32, 1, (const uint64_t[]){s->n_embd});
    if (!s->tied)
        (void)hearth_gguf_write_tensor(&w, "output.weight", r->output, 2, (const uint64_t[]){s->n_embd, s->n_vocab});
    for (uint32_t i = 0; i < s->n_layer; i++)
        write_layer(&w, s, r, i);
    *data_bytes = w.data_size;
    const hearth_status status = hearth_gguf_writer_finish(&w, bytes, size, err);
    hearth_gguf_writer_free(&w);
    return status;
}
