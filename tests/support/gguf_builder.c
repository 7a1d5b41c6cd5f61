/* Pairs are kept encoded, as the reader of the loader would give them, so that the writer's hearth_gguf_write_pair() takes them
 * as they are and a test can set values of any type, right or wrong. */
#include "gguf_builder.h"
#include "common/half.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void stop(const char *reason)
{
    (void)fprintf(stderr, "gguf_builder: %s\n", reason);
    abort();
}

/* ---- Memory: a list of blocks that live as long as the builder ------------------------------------------------------ */

struct block {
    struct block *next;
    max_align_t bytes[];
};

static void *keep(struct gguf_builder *builder, size_t size)
{
    struct block *block = calloc(1, sizeof *block + size + 1);
    if (!block)
        stop("no memory");
    block->next = builder->memory;
    builder->memory = block;
    return block->bytes;
}

static struct hearth_view keep_copy(struct gguf_builder *builder, const void *bytes, uint64_t size)
{
    uint8_t *copy = keep(builder, (size_t)size);
    if (size > 0)
        memcpy(copy, bytes, (size_t)size);
    return (struct hearth_view){copy, size};
}

void gguf_builder_init(struct gguf_builder *builder)
{
    memset(builder, 0, sizeof *builder);
    builder->alignment = 32;
    builder->seed = 1;
}

void gguf_builder_free(struct gguf_builder *builder)
{
    for (struct block *block = builder->memory; block;) {
        struct block *next = block->next;
        free(block);
        block = next;
    }
    gguf_builder_init(builder);
}

/* ---- Pairs ---------------------------------------------------------------------------------------------------------- */

struct hearth_gguf_pair *gguf_builder_find(struct gguf_builder *builder, const char *key)
{
    for (size_t i = 0; i < builder->n_pairs; i++)
        if (builder->pairs[i].key.size == strlen(key) && memcmp(builder->pairs[i].key.bytes, key, strlen(key)) == 0)
            return &builder->pairs[i];
    return NULL;
}

void gguf_builder_append_pair(struct gguf_builder *builder, const struct hearth_gguf_pair *pair)
{
    if (builder->n_pairs == GGUF_BUILDER_PAIRS)
        stop("too many pairs");
    struct hearth_gguf_pair *to = &builder->pairs[builder->n_pairs++];
    *to = *pair;
    to->key = keep_copy(builder, pair->key.bytes, pair->key.size);
    to->value = keep_copy(builder, pair->value.bytes, pair->value.size);
}

/* Put the pair where its key stands, or at the end. */
static void set_pair(struct gguf_builder *builder, const struct hearth_gguf_pair *pair)
{
    struct hearth_gguf_pair *there = gguf_builder_find(builder, (const char *)pair->key.bytes);
    gguf_builder_append_pair(builder, pair);
    if (there)
        *there = builder->pairs[--builder->n_pairs];
}

static size_t value_bytes(enum hearth_gguf_type type)
{
    switch (type) {
    case HEARTH_GGUF_U8:
    case HEARTH_GGUF_I8:
    case HEARTH_GGUF_BOOL:
        return 1;
    case HEARTH_GGUF_U16:
    case HEARTH_GGUF_I16:
        return 2;
    case HEARTH_GGUF_U64:
    case HEARTH_GGUF_I64:
    case HEARTH_GGUF_F64:
        return 8;
    default:
        return 4;
    }
}

static struct hearth_view text_view(const char *text)
{
    return (struct hearth_view){(const uint8_t *)text, strlen(text)};
}

void gguf_builder_set(struct gguf_builder *builder, const char *key, enum hearth_gguf_type type, const void *value)
{
    set_pair(builder,
             &(struct hearth_gguf_pair){.key = text_view(key), .type = type, .count = 1, .value = {value, value_bytes(type)}});
}

void gguf_builder_set_u32(struct gguf_builder *builder, const char *key, uint32_t value)
{
    gguf_builder_set(builder, key, HEARTH_GGUF_U32, &value);
}

void gguf_builder_set_f32(struct gguf_builder *builder, const char *key, float value)
{
    gguf_builder_set(builder, key, HEARTH_GGUF_F32, &value);
}

void gguf_builder_set_bool(struct gguf_builder *builder, const char *key, bool value)
{
    const uint8_t byte = value;
    gguf_builder_set(builder, key, HEARTH_GGUF_BOOL, &byte);
}

void gguf_builder_set_string(struct gguf_builder *builder, const char *key, const char *value)
{
    set_pair(builder,
             &(struct hearth_gguf_pair){.key = text_view(key), .type = HEARTH_GGUF_STRING, .count = 1, .value = text_view(value)});
}

void gguf_builder_set_array(struct gguf_builder *builder, const char *key, enum hearth_gguf_type element_type, const void *values,
                            uint64_t count)
{
    set_pair(builder, &(struct hearth_gguf_pair){.key = text_view(key),
                                                 .type = HEARTH_GGUF_ARRAY,
                                                 .element_type = element_type,
                                                 .count = count,
                                                 .value = {values, count * value_bytes(element_type)}});
}

/* Replace the strings of an array by these views. */
static void set_views(struct gguf_builder *builder, const char *key, const struct hearth_view *values, uint64_t count)
{
    uint64_t size = 0;
    for (uint64_t i = 0; i < count; i++)
        size += 8 + values[i].size;
    uint8_t *encoded = keep(builder, (size_t)size);
    uint8_t *to = encoded;
    for (uint64_t i = 0; i < count; i++) {
        memcpy(to, &values[i].size, 8);
        if (values[i].size > 0)
            memcpy(to + 8, values[i].bytes, (size_t)values[i].size);
        to += 8 + values[i].size;
    }
    set_pair(builder, &(struct hearth_gguf_pair){.key = text_view(key),
                                                 .type = HEARTH_GGUF_ARRAY,
                                                 .element_type = HEARTH_GGUF_STRING,
                                                 .count = count,
                                                 .value = {encoded, size}});
}

void gguf_builder_set_strings(struct gguf_builder *builder, const char *key, const char *const *values, uint64_t count)
{
    struct hearth_view *views = keep(builder, (size_t)count * sizeof *views);
    for (uint64_t i = 0; i < count; i++)
        views[i] = text_view(values[i]);
    set_views(builder, key, views, count);
}

void gguf_builder_replace_string(struct gguf_builder *builder, const char *key, uint64_t index, const void *text, size_t size)
{
    const struct hearth_gguf_pair *pair = gguf_builder_find(builder, key);
    if (!pair || index >= pair->count)
        stop("no such string");
    struct hearth_view *views = keep(builder, (size_t)pair->count * sizeof *views);
    const uint64_t count = pair->count;
    uint64_t cursor = 0;
    for (uint64_t i = 0; i < count; i++)
        views[i] = hearth_gguf_next_string(pair, &cursor);
    views[index] = (struct hearth_view){text, size};
    set_views(builder, key, views, count);
}

void gguf_builder_drop(struct gguf_builder *builder, const char *key)
{
    struct hearth_gguf_pair *pair = gguf_builder_find(builder, key);
    if (!pair)
        return;
    const size_t after = builder->n_pairs - (size_t)(pair - builder->pairs) - 1;
    memmove(pair, pair + 1, after * sizeof *pair);
    builder->n_pairs--;
}

/* ---- Tensors -------------------------------------------------------------------------------------------------------- */

struct gguf_builder_tensor *gguf_builder_find_tensor(struct gguf_builder *builder, const char *name)
{
    for (size_t i = 0; i < builder->n_tensors; i++)
        if (strcmp(builder->tensors[i].name, name) == 0)
            return &builder->tensors[i];
    return NULL;
}

static void fill_tensor(struct gguf_builder_tensor *tensor, const char *name, uint32_t format, uint32_t n_dims, const uint64_t *ne)
{
    *tensor = (struct gguf_builder_tensor){.format = format, .n_dims = n_dims, .ne = {1, 1, 1, 1}};
    if (strlen(name) >= sizeof tensor->name)
        stop("tensor name too long");
    memcpy(tensor->name, name, strlen(name));
    memcpy(tensor->ne, ne, n_dims * sizeof *ne);
}

void gguf_builder_append_tensor(struct gguf_builder *builder, const char *name, uint32_t format, uint32_t n_dims,
                                const uint64_t *ne)
{
    if (builder->n_tensors == GGUF_BUILDER_TENSORS)
        stop("too many tensors");
    fill_tensor(&builder->tensors[builder->n_tensors++], name, format, n_dims, ne);
}

void gguf_builder_set_tensor(struct gguf_builder *builder, const char *name, uint32_t format, uint32_t n_dims, const uint64_t *ne)
{
    struct gguf_builder_tensor *there = gguf_builder_find_tensor(builder, name);
    if (there)
        fill_tensor(there, name, format, n_dims, ne);
    else
        gguf_builder_append_tensor(builder, name, format, n_dims, ne);
}

void gguf_builder_drop_tensor(struct gguf_builder *builder, const char *name)
{
    struct gguf_builder_tensor *tensor = gguf_builder_find_tensor(builder, name);
    if (!tensor)
        return;
    const size_t after = builder->n_tensors - (size_t)(tensor - builder->tensors) - 1;
    memmove(tensor, tensor + 1, after * sizeof *tensor);
    builder->n_tensors--;
}

/* ---- Parts ---------------------------------------------------------------------------------------------------------- */

void gguf_builder_make_part(struct gguf_builder *builder, uint16_t number, uint16_t count)
{
    const int32_t n_tensors = (int32_t)builder->n_tensors;
    for (size_t i = 0; i < builder->n_tensors; i++)
        builder->tensors[i].elsewhere = i * count / builder->n_tensors != number;
    if (number > 0)
        builder->n_pairs = 0;
    gguf_builder_set(builder, "split.no", HEARTH_GGUF_U16, &number);
    gguf_builder_set(builder, "split.count", HEARTH_GGUF_U16, &count);
    gguf_builder_set(builder, "split.tensors.count", HEARTH_GGUF_I32, &n_tensors);
}

/* ---- A model -------------------------------------------------------------------------------------------------------- */

static void add_vector(struct gguf_builder *builder, const char *name, uint64_t n)
{
    gguf_builder_set_tensor(builder, name, HEARTH_F32, 1, &n);
}

static void add_matrix(struct gguf_builder *builder, const char *name, enum hearth_format format, uint64_t columns, uint64_t rows)
{
    const bool fits = columns % hearth_format_info(format)->block_elems == 0;
    gguf_builder_set_tensor(builder, name, fits ? (uint32_t)format : HEARTH_F16, 2, (const uint64_t[]){columns, rows});
}

/* blk.LAYER.PART.weight and, with bias, blk.LAYER.PART.bias. */
static void add_part(struct gguf_builder *builder, const struct gguf_shape *shape, uint32_t layer, const char *part,
                     uint64_t columns, uint64_t rows, bool bias)
{
    char name[80];
    (void)snprintf(name, sizeof name, "blk.%" PRIu32 ".%s.weight", layer, part);
    if (rows == 0)
        add_vector(builder, name, columns);
    else
        add_matrix(builder, name, shape->format, columns, rows);
    (void)snprintf(name, sizeof name, "blk.%" PRIu32 ".%s.bias", layer, part);
    if (bias)
        add_vector(builder, name, rows == 0 ? columns : rows);
}

static bool is(const struct gguf_shape *shape, const char *arch)
{
    return strcmp(shape->arch, arch) == 0;
}

/* The router and the experts of a layer, each kind of them one tensor. */
static void add_experts(struct gguf_builder *builder, const struct gguf_shape *shape, uint32_t layer)
{
    const uint64_t e = shape->n_embd;
    const uint64_t f = shape->n_ff;
    const uint64_t n = shape->n_expert;
    const struct {
        const char *name;
        uint64_t ne[3];
    } parts[] = {{"ffn_gate_exps", {e, f, n}}, {"ffn_up_exps", {e, f, n}}, {"ffn_down_exps", {f, e, n}}};
    char name[80];
    (void)snprintf(name, sizeof name, "blk.%" PRIu32 ".ffn_gate_inp.weight", layer);
    gguf_builder_set_tensor(builder, name, HEARTH_F32, 2, (const uint64_t[]){e, n});
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        const bool fits = parts[i].ne[0] % hearth_format_info(shape->format)->block_elems == 0;
        (void)snprintf(name, sizeof name, "blk.%" PRIu32 ".%s.weight", layer, parts[i].name);
        gguf_builder_set_tensor(builder, name, fits ? (uint32_t)shape->format : HEARTH_F16, 3, parts[i].ne);
    }
}

static void add_layer(struct gguf_builder *builder, const struct gguf_shape *shape, uint32_t layer)
{
    const uint64_t e = shape->n_embd;
    const uint64_t f = shape->n_ff;
    const uint64_t kv = e / shape->n_head * shape->n_head_kv;
    const bool phi2 = is(shape, "phi2");
    const bool phi3 = is(shape, "phi3"); /* fused tensors */
    const bool experts = shape->n_expert > 0;
    const bool post_norm = is(shape, "gemma2") || is(shape, "gemma3");
    const bool head_norm = is(shape, "qwen3") || is(shape, "qwen3moe") || is(shape, "gemma3");
    const bool qkv_bias = phi2 || is(shape, "qwen2");
    const struct {
        const char *name;
        uint64_t columns, rows; /* 0 rows: a vector */
        bool absent, bias;
    } parts[] = {
        {"attn_norm", e, 0, false, phi2},
        {"attn_qkv", e, e + 2 * kv, !phi3, false},
        {"attn_q", e, e, phi3, qkv_bias},
        {"attn_k", e, kv, phi3, qkv_bias},
        {"attn_v", e, kv, phi3, qkv_bias},
        {"attn_q_norm", e / shape->n_head, 0, !head_norm, false},
        {"attn_k_norm", e / shape->n_head, 0, !head_norm, false},
        {"attn_output", e, e, false, phi2},
        {"post_attention_norm", e, 0, !post_norm, false},
        {"ffn_norm", e, 0, phi2, false},
        {"ffn_gate", e, f, phi2 || phi3 || experts, false},
        {"ffn_up", e, phi3 ? 2 * f : f, experts, phi2},
        {"ffn_down", f, e, experts, phi2},
        {"post_ffw_norm", e, 0, !post_norm, false},
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (!parts[i].absent)
            add_part(builder, shape, layer, parts[i].name, parts[i].columns, parts[i].rows, parts[i].bias);
    if (experts)
        add_experts(builder, shape, layer);
}

static void set_default(uint32_t *value, uint32_t standard)
{
    if (*value == 0)
        *value = standard;
}

static void set_parameters(struct gguf_builder *builder, const struct gguf_shape *shape)
{
    const struct {
        const char *key;
        uint32_t value;
    } counts[] = {
        {"block_count", shape->n_layer},
        {"context_length", shape->n_ctx_train},
        {"embedding_length", shape->n_embd},
        {"feed_forward_length", shape->n_ff},
        {"attention.head_count", shape->n_head},
        {"attention.head_count_kv", shape->n_head_kv},
        {"rope.dimension_count", shape->n_rot},
        {"expert_count", shape->n_expert},
        {"expert_used_count", shape->n_expert_used},
    };
    char key[80];
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        (void)snprintf(key, sizeof key, "%s.%s", shape->arch, counts[i].key);
        if (counts[i].value > 0)
            gguf_builder_set_u32(builder, key, counts[i].value);
    }
    (void)snprintf(key, sizeof key, "%s.attention.layer_norm%s_epsilon", shape->arch, is(shape, "phi2") ? "" : "_rms");
    gguf_builder_set_f32(builder, key, 1e-5f);
}

void gguf_builder_add_llama(struct gguf_builder *builder, const struct gguf_shape *asked)
{
    struct gguf_shape shape = asked ? *asked : (struct gguf_shape){0};
    shape.arch = shape.arch ? shape.arch : "llama";
    set_default(&shape.n_layer, 2);
    set_default(&shape.n_embd, 64);
    set_default(&shape.n_head, 4);
    set_default(&shape.n_head_kv, 2);
    set_default(&shape.n_ff, 96);
    set_default(&shape.n_rot, shape.n_embd / shape.n_head);
    set_default(&shape.n_vocab, 300);
    set_default(&shape.n_ctx_train, 128);

    gguf_builder_set_string(builder, "general.architecture", shape.arch);
    gguf_builder_set_string(builder, "general.name", "tiny test model");
    gguf_builder_set_u32(builder, "general.quantization_version", 2);
    set_parameters(builder, &shape);
    gguf_builder_add_spm_vocabulary(builder, shape.n_vocab);

    add_matrix(builder, "token_embd.weight", shape.format, shape.n_embd, shape.n_vocab);
    for (uint32_t i = 0; i < shape.n_layer; i++)
        add_layer(builder, &shape, i);
    add_vector(builder, "output_norm.weight", shape.n_embd);
    if (is(&shape, "phi2")) {
        add_vector(builder, "output_norm.bias", shape.n_embd);
        add_vector(builder, "output.bias", shape.n_vocab);
    }
    if (!shape.tied)
        add_matrix(builder, "output.weight", shape.format, shape.n_embd, shape.n_vocab);
    if (shape.rope_freqs)
        add_vector(builder, "rope_freqs.weight", shape.n_embd / shape.n_head / 2);
}

/* ---- Vocabularies --------------------------------------------------------------------------------------------------- */

static void spm_text(char out[32], uint32_t id)
{
    static const char *const first[] = {"<unk>", "<s>", "</s>"};
    static const char *const pairs[] = {
        "th", "he", "in", "er", "an", "re", "on", "at", "\xe2\x96\x81t", "\xe2\x96\x81th", "\xe2\x96\x81the"};
    const uint32_t n_pairs = sizeof pairs / sizeof pairs[0];
    if (id < 3)
        (void)snprintf(out, 32, "%s", first[id]);
    else if (id < 259)
        (void)snprintf(out, 32, "<0x%02X>", (unsigned)(id - 3));
    else if (id == 259)
        (void)snprintf(out, 32, "\xe2\x96\x81");
    else if (id < 286)
        (void)snprintf(out, 32, "%c", (char)('a' + (id - 260)));
    else if (id < 286 + n_pairs)
        (void)snprintf(out, 32, "%s", pairs[id - 286]);
    else
        (void)snprintf(out, 32, "word%" PRIu32, id);
}

static void drop_vocabulary(struct gguf_builder *builder)
{
    for (size_t i = 0; i < builder->n_pairs;) {
        const struct hearth_view key = builder->pairs[i].key;
        if (key.size > 10 && memcmp(key.bytes, "tokenizer.", 10) == 0)
            gguf_builder_drop(builder, (const char *)key.bytes);
        else
            i++;
    }
}

void gguf_builder_add_spm_vocabulary(struct gguf_builder *builder, uint32_t n_tokens)
{
    char(*texts)[32] = keep(builder, n_tokens * sizeof *texts);
    const char **pointers = keep(builder, n_tokens * sizeof *pointers);
    float *scores = keep(builder, n_tokens * sizeof *scores);
    int32_t *types = keep(builder, n_tokens * sizeof *types);
    for (uint32_t i = 0; i < n_tokens; i++) {
        spm_text(texts[i], i);
        pointers[i] = texts[i];
        scores[i] = i < 259 ? 0.0f : -(float)i;
        types[i] = i == 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1;
    }
    drop_vocabulary(builder);
    gguf_builder_set_string(builder, "tokenizer.ggml.model", "llama");
    gguf_builder_set_strings(builder, "tokenizer.ggml.tokens", pointers, n_tokens);
    gguf_builder_set_array(builder, "tokenizer.ggml.scores", HEARTH_GGUF_F32, scores, n_tokens);
    gguf_builder_set_array(builder, "tokenizer.ggml.token_type", HEARTH_GGUF_I32, types, n_tokens);
    gguf_builder_set_u32(builder, "tokenizer.ggml.bos_token_id", 1);
    gguf_builder_set_u32(builder, "tokenizer.ggml.eos_token_id", 2);
    gguf_builder_set_u32(builder, "tokenizer.ggml.unknown_token_id", 0);
}

/* The character that stands for a byte: itself where it is printable in Latin-1, else one from U+0100 upwards. */
static void bpe_text(char out[8], uint32_t byte)
{
    uint32_t code = byte;
    const bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    if (!printable)
        code = byte < 33 ? 256 + byte : byte < 161 ? 256 + 33 + (byte - 127) : 256 + 67;
    if (code < 128)
        (void)snprintf(out, 8, "%c", (char)code);
    else
        (void)snprintf(out, 8, "%c%c", (char)(0xc0 | code >> 6), (char)(0x80 | (code & 63)));
}

void gguf_builder_add_bpe_vocabulary(struct gguf_builder *builder)
{
    char texts[256][8];
    const char *pointers[258];
    int32_t types[258];
    for (uint32_t i = 0; i < 256; i++) {
        bpe_text(texts[i], i);
        pointers[i] = texts[i];
        types[i] = 1;
    }
    pointers[256] = "<|endoftext|>";
    types[256] = 3;
    pointers[257] = "th";
    types[257] = 1;
    drop_vocabulary(builder);
    gguf_builder_set_string(builder, "tokenizer.ggml.model", "gpt2");
    gguf_builder_set_string(builder, "tokenizer.ggml.pre", "gpt-2");
    gguf_builder_set_strings(builder, "tokenizer.ggml.tokens", pointers, 258);
    gguf_builder_set_array(builder, "tokenizer.ggml.token_type", HEARTH_GGUF_I32, types, 258);
    gguf_builder_set_strings(builder, "tokenizer.ggml.merges", (const char *const[]){"t h"}, 1);
    gguf_builder_set_u32(builder, "tokenizer.ggml.bos_token_id", 256);
    gguf_builder_set_u32(builder, "tokenizer.ggml.eos_token_id", 256);
}

/* ---- Weights -------------------------------------------------------------------------------------------------------- */

static uint64_t random_u64(uint64_t *state) /* splitmix64 */
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static float random_weight(uint64_t *state) /* [-0.125, 0.125) */
{
    return (float)(int32_t)(random_u64(state) >> 40) * 0x1p-26f - 0.125f;
}

/* Where the half floats of a block lie, and a size for them at which its weights stay near 0.1. */
static const struct {
    enum hearth_format format;
    uint8_t n_halves, offset;
    float scale;
} block_scales[] = {
    {HEARTH_Q4_0, 1, 0, 0.012f},   {HEARTH_Q4_1, 2, 0, 0.006f},     {HEARTH_Q5_0, 1, 0, 0.006f},   {HEARTH_Q5_1, 2, 0, 0.003f},
    {HEARTH_Q8_0, 1, 0, 0.001f},   {HEARTH_Q2_K, 2, 80, 0.002f},    {HEARTH_Q3_K, 1, 108, 0.001f}, {HEARTH_Q4_K, 2, 0, 0.0001f},
    {HEARTH_Q5_K, 2, 0, 0.00005f}, {HEARTH_Q6_K, 1, 208, 0.00003f}, {HEARTH_IQ4_NL, 1, 0, 0.001f}, {HEARTH_IQ4_XS, 1, 0, 0.00003f},
};

static void make_blocks(uint8_t *out, uint32_t format, uint64_t bytes, uint64_t *state)
{
    for (uint64_t i = 0; i < bytes; i++)
        out[i] = (uint8_t)(random_u64(state) >> 56);
    for (size_t k = 0; k < sizeof block_scales / sizeof block_scales[0]; k++) {
        if (block_scales[k].format != format)
            continue;
        for (uint64_t at = block_scales[k].offset; at < bytes; at += hearth_format_info(format)->block_bytes)
            for (unsigned h = 0; h < block_scales[k].n_halves; h++) {
                const uint16_t half = hearth_f32_to_f16(block_scales[k].scale * (0.5f + 4.0f * (random_weight(state) + 0.125f)));
                memcpy(out + at + 2 * h, &half, 2);
            }
    }
}

static void make_weights(uint8_t *out, const struct gguf_builder_tensor *tensor, uint64_t bytes, uint64_t *state)
{
    const float centre = tensor->n_dims == 1 ? 1.0f : 0.0f; /* vectors are norms and frequency factors */
    const uint32_t format = tensor->format;
    if (format != HEARTH_F32 && format != HEARTH_F16 && format != HEARTH_BF16) {
        make_blocks(out, format, bytes, state);
        return;
    }
    const size_t width = hearth_format_info(format)->block_bytes;
    for (uint64_t at = 0; at < bytes; at += width) {
        const float value = centre + random_weight(state);
        const uint32_t bits = hearth_f32_bits(value);
        const uint16_t half = format == HEARTH_F16 ? hearth_f32_to_f16(value) : (uint16_t)(bits >> 16);
        memcpy(out + at, width == 4 ? (const void *)&bits : (const void *)&half, width);
    }
}

/* Leave the random numbers as make_weights() does. */
static void skip_weights(const struct gguf_builder_tensor *tensor, uint64_t bytes, uint64_t *state)
{
    uint8_t *unused = malloc((size_t)bytes);
    if (!unused)
        stop("no memory");
    make_weights(unused, tensor, bytes, state);
    free(unused);
}

static uint64_t bytes_of(const struct gguf_builder_tensor *tensor)
{
    return hearth_row_bytes(tensor->format, tensor->ne[0]) * tensor->ne[1] * tensor->ne[2] * tensor->ne[3];
}

uint8_t *gguf_builder_finish(const struct gguf_builder *builder, size_t *size)
{
    static uint64_t offsets[GGUF_BUILDER_TENSORS];
    struct hearth_gguf_writer writer;
    hearth_gguf_writer_init(&writer, builder->alignment);
    for (size_t i = 0; i < builder->n_pairs; i++)
        hearth_gguf_write_pair(&writer, &builder->pairs[i]);
    for (size_t i = 0; i < builder->n_tensors; i++) {
        const struct gguf_builder_tensor *tensor = &builder->tensors[i];
        if (!tensor->elsewhere)
            offsets[i] = hearth_gguf_write_tensor(&writer, tensor->name, tensor->format, tensor->n_dims, tensor->ne);
    }
    uint8_t *header;
    size_t header_size;
    hearth_error error;
    if (hearth_gguf_writer_finish(&writer, &header, &header_size, &error) != HEARTH_OK)
        stop(error.message);
    *size = header_size + writer.data_size;
    uint8_t *file = calloc(1, *size);
    if (!file)
        stop("no memory");
    memcpy(file, header, header_size);
    uint64_t state = builder->seed;
    for (size_t i = 0; i < builder->n_tensors; i++) {
        const uint64_t bytes = bytes_of(&builder->tensors[i]);
        if (builder->tensors[i].elsewhere)
            skip_weights(&builder->tensors[i], bytes, &state);
        else
            make_weights(file + header_size + offsets[i], &builder->tensors[i], bytes, &state);
    }
    free(header);
    hearth_gguf_writer_free(&writer);
    return file;
}

void gguf_builder_write_file(const struct gguf_builder *builder, const char *path)
{
    size_t size;
    uint8_t *file = gguf_builder_finish(builder, &size);
    FILE *out = fopen(path, "wb");
    if (!out || fwrite(file, 1, size, out) != size || fclose(out) != 0)
        stop("cannot write the file");
    free(file);
}
