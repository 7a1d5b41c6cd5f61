/* From tensor names to what the forward pass uses; see describe.h. Two tables say everything: one for tensors outside the layers,
 * one for those of a layer. Names and shapes: spec gguf.md section 17, architectures.md section 8. */
#include "describe.h"
#include "common/checked.h"
#include "common/status.h"
#include <stdlib.h>

enum kind { MATRIX, VECTOR, TABLE };
enum dim { ZERO, ONE, EMBD, FF, HEAD, QUERIES, KEYS, QUERIES_KEYS, ALL_HEADS, FF_2, VOCAB, HALF_ROT, EXPERTS };

/* Sets of architectures. */
#define LLAMA (1u << HEARTH_ARCH_LLAMA)
#define GEMMA (1u << HEARTH_ARCH_GEMMA)
#define GEMMA2 (1u << HEARTH_ARCH_GEMMA2)
#define GEMMA3 (1u << HEARTH_ARCH_GEMMA3)
#define PHI2 (1u << HEARTH_ARCH_PHI2)
#define PHI3 (1u << HEARTH_ARCH_PHI3)
#define QWEN2 (1u << HEARTH_ARCH_QWEN2)
#define QWEN3 (1u << HEARTH_ARCH_QWEN3)
#define QWEN3MOE (1u << HEARTH_ARCH_QWEN3MOE)
/* Attention, then a gated feed-forward, each with a norm before it. */
#define GATED (LLAMA | GEMMA | GEMMA2 | GEMMA3 | PHI3 | QWEN2 | QWEN3 | QWEN3MOE)
#define ALL (GATED | PHI2)
#define ROUTED (LLAMA | QWEN3MOE)             /* may have experts */
#define POST_NORM (GEMMA2 | GEMMA3)           /* and with a norm behind it */
#define HEAD_NORM (GEMMA3 | QWEN3 | QWEN3MOE) /* of queries and keys */
#define LONGROPE (LLAMA | PHI3)               /* may have factors by the length of the context */
#define TIED (GEMMA | GEMMA2)                 /* even if the file has an output.weight */
#define NONE 0u

struct tensor_row {
    const char *name; /* after "blk.N." for layers */
    enum kind kind;
    uint32_t required, optional; /* by and in which architectures; tensors of the others are not looked at */
    enum dim rows, k;            /* a vector has k elements */
    size_t offset;               /* in hearth_description or hearth_layer */
    struct {
        uint32_t archs;   /* in which ... */
        const char *name; /* ... this tensor may hold the row's one as some of its rows; its own name, if it has more rows */
        enum dim first, rows;
    } whole;
    const char *stacked; /* in models with experts: the tensor of all of them in this one's place */
};

#define OF_MODEL(member) offsetof(struct hearth_description, member)
#define OF_LAYER(member) offsetof(struct hearth_layer, member)

/* clang-format off */
static const struct tensor_row model_rows[] = {
    {"token_embd.weight", TABLE, ALL, NONE, VOCAB, EMBD, OF_MODEL(embedding), {0}, NULL},
    {"output_norm.weight", VECTOR, ALL, NONE, ONE, EMBD, OF_MODEL(output_norm.weight), {0}, NULL},
    {"output_norm.bias", VECTOR, PHI2, NONE, ONE, EMBD, OF_MODEL(output_norm.bias), {0}, NULL},
    {"output.weight", MATRIX, NONE, ALL & ~TIED, VOCAB, EMBD, OF_MODEL(output), {0}, NULL},
    {"output.bias", VECTOR, NONE, ALL & ~TIED, ONE, VOCAB, OF_MODEL(output_bias), {0}, NULL},
    {"rope_freqs.weight", VECTOR, NONE, ALL, ONE, HALF_ROT, OF_MODEL(rope_freqs), {0}, NULL},
    {"rope_factors_short.weight", VECTOR, NONE, LONGROPE, ONE, HALF_ROT, OF_MODEL(rope_short), {0}, NULL},
    {"rope_factors_long.weight", VECTOR, NONE, LONGROPE, ONE, HALF_ROT, OF_MODEL(rope_long), {0}, NULL},
};

static const struct tensor_row layer_rows[] = {
    {"attn_norm.weight", VECTOR, ALL, NONE, ONE, EMBD, OF_LAYER(attn_norm.weight), {0}, NULL},
    {"attn_norm.bias", VECTOR, PHI2, NONE, ONE, EMBD, OF_LAYER(attn_norm.bias), {0}, NULL},
    {"attn_q.weight", MATRIX, ALL, NONE, QUERIES, EMBD, OF_LAYER(q), {ALL, "attn_qkv.weight", ZERO, ALL_HEADS}, NULL},
    {"attn_k.weight", MATRIX, ALL, NONE, KEYS, EMBD, OF_LAYER(k), {ALL, "attn_qkv.weight", QUERIES, ALL_HEADS}, NULL},
    {"attn_v.weight", MATRIX, ALL, NONE, KEYS, EMBD, OF_LAYER(v), {ALL, "attn_qkv.weight", QUERIES_KEYS, ALL_HEADS}, NULL},
    {"attn_q_norm.weight", VECTOR, HEAD_NORM, NONE, ONE, HEAD, OF_LAYER(q_norm), {0}, NULL},
    {"attn_k_norm.weight", VECTOR, HEAD_NORM, NONE, ONE, HEAD, OF_LAYER(k_norm), {0}, NULL},
    {"attn_output.weight", MATRIX, ALL, NONE, EMBD, QUERIES, OF_LAYER(o), {0}, NULL},
    {"post_attention_norm.weight", VECTOR, POST_NORM, NONE, ONE, EMBD, OF_LAYER(post_attn_norm.weight), {0}, NULL},
    {"ffn_norm.weight", VECTOR, GATED, NONE, ONE, EMBD, OF_LAYER(ffn_norm.weight), {0}, NULL},
    {"ffn_gate_inp.weight", MATRIX, NONE, ROUTED, EXPERTS, EMBD, OF_LAYER(router), {0}, NULL},
    {"ffn_gate.weight", MATRIX, GATED, NONE, FF, EMBD, OF_LAYER(gate), {PHI3, "ffn_up.weight", ZERO, FF_2}, "ffn_gate_exps.weight"},
    {"ffn_up.weight", MATRIX, ALL, NONE, FF, EMBD, OF_LAYER(up), {PHI3, "ffn_up.weight", FF, FF_2}, "ffn_up_exps.weight"},
    {"ffn_down.weight", MATRIX, ALL, NONE, EMBD, FF, OF_LAYER(down), {0}, "ffn_down_exps.weight"},
    {"post_ffw_norm.weight", VECTOR, POST_NORM, NONE, ONE, EMBD, OF_LAYER(post_ffn_norm.weight), {0}, NULL},
    {"attn_q.bias", VECTOR, NONE, ALL, ONE, QUERIES, OF_LAYER(q_bias), {ALL, "attn_qkv.bias", ZERO, ALL_HEADS}, NULL},
    {"attn_k.bias", VECTOR, NONE, ALL, ONE, KEYS, OF_LAYER(k_bias), {ALL, "attn_qkv.bias", QUERIES, ALL_HEADS}, NULL},
    {"attn_v.bias", VECTOR, NONE, ALL, ONE, KEYS, OF_LAYER(v_bias), {ALL, "attn_qkv.bias", QUERIES_KEYS, ALL_HEADS}, NULL},
    {"attn_output.bias", VECTOR, NONE, ALL, ONE, EMBD, OF_LAYER(o_bias), {0}, NULL},
    {"ffn_gate.bias", VECTOR, NONE, GATED, ONE, FF, OF_LAYER(gate_bias), {0}, NULL},
    {"ffn_up.bias", VECTOR, NONE, ALL, ONE, FF, OF_LAYER(up_bias), {0}, NULL},
    {"ffn_down.bias", VECTOR, NONE, ALL, ONE, EMBD, OF_LAYER(down_bias), {0}, NULL},
};
/* clang-format on */

#define N_MODEL_ROWS (sizeof model_rows / sizeof model_rows[0])
#define N_LAYER_ROWS (sizeof layer_rows / sizeof layer_rows[0])
#define NO_LAYER UINT32_MAX

static uint32_t dim_value(const struct hearth_hparams *h, enum dim dim)
{
    const uint32_t queries = h->n_head * h->head_dim; /* hparams.c bounds both factors: below 2^25 */
    const uint32_t keys = h->n_head_kv * h->head_dim;
    switch (dim) {
    case ZERO:
        return 0;
    case EMBD:
        return h->n_embd;
    case FF:
        return h->n_ff;
    case HEAD:
        return h->head_dim;
    case QUERIES:
        return queries;
    case KEYS:
        return keys;
    case QUERIES_KEYS:
        return queries + keys;
    case ALL_HEADS:
        return queries + 2 * keys;
    case FF_2:
        return 2 * h->n_ff;
    case VOCAB:
        return h->n_vocab;
    case HALF_ROT:
        return h->n_rot / 2;
    case EXPERTS:
        return h->n_expert;
    default:
        return 1;
    }
}

/* Where a row of the tables is found in the file. */
struct place {
    const struct hearth_gguf_tensor *tensor; /* NULL: nowhere */
    char name[64];                           /* of the tensor */
    uint32_t rows, k, count;                 /* of what is wanted */
    bool part;                               /* the tensor holds more than that ... */
    uint32_t first;                          /* ... and this many rows (elements of a vector) before it */
};

struct binder {
    struct hearth_description *description;
    const struct hearth_gguf *gguf;
    const struct hearth_kernel_set *kernels;
    hearth_error *err;
};

/* The file's name for a message. */
static const char *file(const struct hearth_gguf *gguf, char out[HEARTH_QUOTE_MAX])
{
    return hearth_quote(out, gguf->file_name, strlen(gguf->file_name));
}

static void name_tensor(char out[64], uint32_t layer, const char *name)
{
    if (layer == NO_LAYER)
        (void)snprintf(out, 64, "%s", name);
    else
        (void)snprintf(out, 64, "blk.%" PRIu32 ".%s", layer, name);
}

static hearth_status check_shape(const struct binder *b, const struct place *p, uint32_t rows, uint32_t k)
{
    const struct hearth_gguf_tensor *t = p->tensor;
    char quoted[HEARTH_QUOTE_MAX];
    if (t->ne[0] == k && t->ne[1] == rows && t->ne[2] == p->count && t->ne[3] == 1)
        return HEARTH_OK;
    return hearth_fail(b->err, HEARTH_E_FORMAT, "E_SHAPE",
                       "%s: tensor %s: wrong shape (got %" PRIu64 " x %" PRIu64 " x %" PRIu64 ", need %" PRIu32 " x %" PRIu32
                       " x %" PRIu32 ")",
                       file(b->gguf, quoted), p->name, t->ne[0], t->ne[1], t->ne[2], k, rows, p->count);
}

/* The larger tensor that holds that of a row. */
static void find_whole(const struct binder *b, const struct tensor_row *row, uint32_t layer, struct place *out)
{
    const struct hearth_hparams *h = &b->description->hparams;
    if (!(row->whole.archs & 1u << h->arch))
        return;
    name_tensor(out->name, layer, row->whole.name);
    out->tensor = hearth_gguf_find_tensor(b->gguf, out->name);
    out->part = true;
    out->first = dim_value(h, row->whole.first);
}

/* The tensor of a row, or the larger one that holds it; out->tensor is NULL when there is neither and need not be. */
static hearth_status find(const struct binder *b, const struct tensor_row *row, uint32_t layer, struct place *out)
{
    const struct hearth_hparams *h = &b->description->hparams;
    const uint32_t arch = 1u << h->arch;
    const uint32_t all = dim_value(h, row->whole.rows);
    const bool stacked = row->stacked && h->n_expert > 0;
    struct place own = {.rows = dim_value(h, row->rows), .k = dim_value(h, row->k), .count = stacked ? h->n_expert : 1};
    struct place whole = own;
    char quoted[HEARTH_QUOTE_MAX];
    *out = own;
    if (!((row->required | row->optional) & arch) || own.rows == 0)
        return HEARTH_OK;
    name_tensor(own.name, layer, stacked ? row->stacked : row->name);
    own.tensor = hearth_gguf_find_tensor(b->gguf, own.name);
    find_whole(b, row, layer, &whole);
    *out = own;
    if (whole.tensor && (!own.tensor || (whole.tensor == own.tensor && own.tensor->ne[1] == all))) {
        *out = whole;
        return row->kind == VECTOR ? check_shape(b, out, 1, all) : check_shape(b, out, all, out->k);
    }
    if (own.tensor)
        return check_shape(b, out, own.rows, own.k);
    if (row->required & arch || row->rows == EXPERTS)
        return hearth_fail(b->err, HEARTH_E_FORMAT, "E_MISSING", "%s: tensors: %s is missing", file(b->gguf, quoted), own.name);
    return HEARTH_OK;
}

static hearth_status unsupported_type(const struct binder *b, const char *name, uint32_t format)
{
    char quoted[HEARTH_QUOTE_MAX];
    return hearth_fail(b->err, HEARTH_E_UNSUPPORTED, "E_TTYPE", "%s: tensor %s: type is not supported (got %s)",
                       file(b->gguf, quoted), name, hearth_format_info(format)->name);
}

static hearth_status bind_vector(const struct binder *b, const struct place *p, struct hearth_vector *out)
{
    const struct hearth_gguf_tensor *t = p->tensor;
    char quoted[HEARTH_QUOTE_MAX];
    if (t->format != HEARTH_F32 && t->format != HEARTH_F16 && t->format != HEARTH_BF16)
        return hearth_fail(b->err, HEARTH_E_FORMAT, "E_TTYPE",
                           "%s: tensor %s: type of a norm or bias (got %s, need F32, F16 or BF16)", file(b->gguf, quoted), p->name,
                           hearth_format_info(t->format)->name);
    *out = (struct hearth_vector){.format = t->format,
                                  .n = p->k,
                                  .file_offset = t->file_offset + hearth_row_bytes(t->format, p->first),
                                  .part = p->part,
                                  .first = p->first};
    return HEARTH_OK;
}

static hearth_status bind_table(const struct binder *b, const struct place *p, struct hearth_table *out)
{
    const struct hearth_gguf_tensor *t = p->tensor;
    if (t->format >= HEARTH_FORMAT_COUNT || !b->kernels->chosen[HEARTH_OP_DEQUANTIZE][t->format])
        return unsupported_type(b, p->name, t->format);
    *out = (struct hearth_table){.format = t->format, .rows = p->rows, .k = p->k, .file_offset = t->file_offset};
    return HEARTH_OK;
}

static hearth_status bind_matrix(const struct binder *b, const struct place *p, struct hearth_matrix *out)
{
    const struct hearth_gguf_tensor *t = p->tensor;
    if (t->format >= HEARTH_FORMAT_COUNT || !b->kernels->chosen[HEARTH_OP_MATMUL][t->format])
        return unsupported_type(b, p->name, t->format);
    *out = (struct hearth_matrix){.kernel = b->kernels->chosen[HEARTH_OP_MATMUL][t->format],
                                  .format = t->format,
                                  .rows = p->rows,
                                  .k = p->k,
                                  .count = p->count,
                                  .file_offset = t->file_offset + p->first * hearth_row_bytes(t->format, p->k),
                                  .part = p->part,
                                  .first = p->first};
    b->description->uses[hearth_format_info(t->format)->activation] = true;
    b->description->macs_per_token += (uint64_t)p->rows * p->k * hearth_matrices_used(&b->description->hparams, out, 1);
    return HEARTH_OK;
}

/* Bind one row of a table to its thing in `owner`, the description or one of its layers. */
static hearth_status bind(const struct binder *b, const struct tensor_row *row, uint32_t layer, void *owner)
{
    struct hearth_description *d = b->description;
    void *thing = (uint8_t *)owner + row->offset;
    struct place p;
    HEARTH_TRY(find(b, row, layer, &p));
    if (!p.tensor)
        return HEARTH_OK;
    if (row->kind == VECTOR)
        HEARTH_TRY(bind_vector(b, &p, thing));
    else if (row->kind == TABLE)
        HEARTH_TRY(bind_table(b, &p, thing));
    else
        HEARTH_TRY(bind_matrix(b, &p, thing));
    d->n_tensors += p.first == 0; /* of a larger tensor, the first part stands for it */
    d->weight_bytes += (uint64_t)p.count * p.rows * hearth_row_bytes(p.tensor->format, p.k);
    d->n_parameters += (uint64_t)p.count * p.rows * p.k;
    return HEARTH_OK;
}

/* A file without output.weight multiplies by the embedding table; then there is no table of its own. */
static hearth_status tie_output(const struct binder *b)
{
    struct hearth_description *d = b->description;
    if (d->output.rows)
        return HEARTH_OK;
    const struct hearth_table table = d->embedding;
    const struct hearth_kernel *kernel = b->kernels->chosen[HEARTH_OP_MATMUL][table.format];
    if (!kernel)
        return unsupported_type(b, "token_embd.weight", table.format);
    d->output = (struct hearth_matrix){
        .kernel = kernel, .format = table.format, .rows = table.rows, .k = table.k, .count = 1, .file_offset = table.file_offset};
    d->embedding = (struct hearth_table){0};
    d->uses[hearth_format_info(table.format)->activation] = true;
    d->macs_per_token += (uint64_t)table.rows * table.k;
    return HEARTH_OK;
}

/* Divisors of the frequencies that are chosen by the length of the context: both or none, and not in other architectures. */
static hearth_status check_rope_factors(const struct binder *b)
{
    static const char *const names[] = {"rope_factors_short.weight", "rope_factors_long.weight"};
    const struct hearth_description *d = b->description;
    const bool takes = LONGROPE & 1u << d->hparams.arch;
    char quoted[HEARTH_QUOTE_MAX];
    for (size_t i = 0; i < 2; i++) {
        const bool there = hearth_gguf_find_tensor(b->gguf, names[i]) != NULL;
        if (there && !takes)
            return hearth_fail(b->err, HEARTH_E_UNSUPPORTED, "E_ROPE",
                               "%s: tensor '%s': longrope scaling of this architecture is not supported", file(b->gguf, quoted),
                               names[i]);
        if (takes && !there && (d->rope_short.n || d->rope_long.n))
            return hearth_fail(b->err, HEARTH_E_FORMAT, "E_MISSING", "%s: tensors: %s is missing", file(b->gguf, quoted), names[i]);
    }
    return HEARTH_OK;
}

static hearth_status describe_tensors(const struct binder *b)
{
    struct hearth_description *d = b->description;
    for (size_t i = 0; i < N_MODEL_ROWS; i++)
        HEARTH_TRY(bind(b, &model_rows[i], NO_LAYER, d));
    HEARTH_TRY(tie_output(b));
    HEARTH_TRY(check_rope_factors(b));
    for (uint32_t layer = 0; layer < d->hparams.n_layer; layer++)
        for (size_t i = 0; i < N_LAYER_ROWS; i++)
            HEARTH_TRY(bind(b, &layer_rows[i], layer, &d->layers[layer]));
    return HEARTH_OK;
}

hearth_status hearth_describe(struct hearth_description *out, const struct hearth_hparams *hparams, const struct hearth_gguf *gguf,
                              const struct hearth_kernel_set *kernels, hearth_log_fn *log, void *log_user, hearth_error *err)
{
    char quoted[HEARTH_QUOTE_MAX];
    *out = (struct hearth_description){.hparams = *hparams};
    out->layers = calloc(out->hparams.n_layer, sizeof *out->layers);
    if (!out->layers)
        return hearth_fail_needed(err, HEARTH_E_MEMORY, out->hparams.n_layer * sizeof *out->layers, 0,
                                  "%s: no memory for the description of %" PRIu32 " layers", file(gguf, quoted),
                                  out->hparams.n_layer);
    const struct binder binder = {.description = out, .gguf = gguf, .kernels = kernels, .err = err};
    const hearth_status status = describe_tensors(&binder);
    if (status != HEARTH_OK) {
        hearth_description_free(out);
        return status;
    }
    if (log && out->n_tensors < gguf->n_tensors) {
        char line[160];
        (void)snprintf(line, sizeof line, "%" PRIu64 " tensors of the file are not used", gguf->n_tensors - out->n_tensors);
        log(1, line, log_user);
    }
    return HEARTH_OK;
}

void hearth_description_free(struct hearth_description *d)
{
    free(d->layers);
    *d = (struct hearth_description){0};
}

size_t hearth_weight_count(const struct hearth_description *d)
{
    return N_MODEL_ROWS + (size_t)d->hparams.n_layer * N_LAYER_ROWS;
}

struct hearth_weight hearth_weight_at(struct hearth_description *d, size_t index)
{
    const bool global = index < N_MODEL_ROWS;
    const struct tensor_row *row = global ? &model_rows[index] : &layer_rows[(index - N_MODEL_ROWS) % N_LAYER_ROWS];
    void *owner = global ? (void *)d : (void *)&d->layers[(index - N_MODEL_ROWS) / N_LAYER_ROWS];
    void *place = (uint8_t *)owner + row->offset;
    return (struct hearth_weight){.matrix = row->kind == MATRIX ? place : NULL,
                                  .vector = row->kind == VECTOR ? place : NULL,
                                  .table = row->kind == TABLE ? place : NULL};
}

void hearth_weight_name(const struct hearth_description *d, size_t index, char out[64])
{
    const struct hearth_weight w = hearth_weight_at((struct hearth_description *)(uintptr_t)d, index);
    const bool part = (w.matrix && w.matrix->part) || (w.vector && w.vector->part);
    if (index < N_MODEL_ROWS) {
        const bool tied = w.matrix == &d->output && d->embedding.rows == 0;
        name_tensor(out, NO_LAYER, tied ? "token_embd.weight" : model_rows[index].name);
    } else {
        const size_t at = index - N_MODEL_ROWS;
        const struct tensor_row *row = &layer_rows[at % N_LAYER_ROWS];
        const char *own = row->stacked && d->hparams.n_expert > 0 ? row->stacked : row->name;
        name_tensor(out, (uint32_t)(at / N_LAYER_ROWS), part ? row->whole.name : own);
    }
}

uint64_t hearth_matrix_one_packed_bytes(const struct hearth_matrix *m)
{
    if (m->rows == 0)
        return 0;
    const size_t tile_rows = m->kernel->matmul.tile_rows;
    return (uint64_t)((m->rows + tile_rows - 1) / tile_rows) * m->kernel->matmul.tile_bytes(m->k);
}

uint64_t hearth_matrix_packed_bytes(const struct hearth_matrix *m)
{
    return m->count * hearth_matrix_one_packed_bytes(m);
}

struct hearth_matrix hearth_matrix_of_expert(const struct hearth_matrix *m, uint32_t expert)
{
    struct hearth_matrix one = *m;
    one.count = 1;
    one.packed += expert * hearth_matrix_one_packed_bytes(m);
    one.bias = NULL;
    return one;
}

uint32_t hearth_matrices_used(const struct hearth_hparams *h, const struct hearth_matrix *m, uint32_t n_tokens)
{
    const uint64_t most = (uint64_t)h->n_expert_used * n_tokens;
    return m->count > 1 && most < m->count ? (uint32_t)most : m->count;
}

static void layout_weights(struct hearth_description *d, struct hearth_arena *arena)
{
    const size_t n = hearth_weight_count(d);
    for (size_t i = 0; i < n; i++) {
        const struct hearth_weight w = hearth_weight_at(d, i);
        if (w.matrix && w.matrix->rows)
            w.matrix->packed =
                hearth_arena_take(arena, HEARTH_PLAN_WEIGHTS, w.matrix->count, hearth_matrix_one_packed_bytes(w.matrix));
        else if (w.vector && w.vector->n)
            w.vector->values = hearth_arena_take(arena, HEARTH_PLAN_WEIGHTS, w.vector->n, sizeof(float));
        else if (w.table && w.table->rows)
            w.table->bytes =
                hearth_arena_take(arena, HEARTH_PLAN_WEIGHTS, w.table->rows, hearth_row_bytes(w.table->format, w.table->k));
    }
}

void hearth_description_layout(struct hearth_description *d, struct hearth_arena *arena, struct hearth_arena *weights)
{
    struct hearth_layer *layers = hearth_arena_take(arena, HEARTH_PLAN_DESCRIPTION, d->hparams.n_layer, sizeof *layers);
    if (layers && d->hparams.n_layer) {
        memcpy(layers, d->layers, d->hparams.n_layer * sizeof *layers);
        free(d->layers);
        d->layers = layers;
    }
    const uint64_t begin = weights->used;
    layout_weights(d, weights);
    d->image = weights->base ? weights->base + begin : NULL;
    d->image_bytes = weights->used - begin;
    d->output.bias = d->output_bias.values;
    for (uint32_t i = 0; i < d->hparams.n_layer; i++) {
        struct hearth_layer *l = &d->layers[i];
        l->q.bias = l->q_bias.values;
        l->k.bias = l->k_bias.values;
        l->v.bias = l->v_bias.values;
        l->o.bias = l->o_bias.values;
        l->gate.bias = l->gate_bias.values;
        l->up.bias = l->up_bias.values;
        l->down.bias = l->down_bias.values;
    }
}
