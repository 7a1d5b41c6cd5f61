/* From tensor names to what the forward pass uses; see describe.h. Two tables say everything: one for tensors outside the layers,
 * one for those of a layer. Names and shapes: spec gguf.md section 17, architectures.md section 8.1. */
#include "describe.h"
#include "common/checked.h"
#include "common/status.h"
#include <stdlib.h>

enum kind { MATRIX, VECTOR, TABLE };
enum dim { ONE, EMBD, FF, QUERIES, KEYS, VOCAB, HALF_ROT };

struct tensor_row {
    const char *name; /* after "blk.N." for layers */
    enum kind kind;
    bool required;
    enum dim rows, k; /* a vector has k elements */
    size_t offset;    /* in hearth_description or hearth_layer */
};

#define OF_MODEL(member) offsetof(struct hearth_description, member)
#define OF_LAYER(member) offsetof(struct hearth_layer, member)

static const struct tensor_row model_rows[] = {
    {"token_embd.weight", TABLE, true, VOCAB, EMBD, OF_MODEL(embedding)},
    {"output_norm.weight", VECTOR, true, ONE, EMBD, OF_MODEL(output_norm)},
    {"output.weight", MATRIX, false, VOCAB, EMBD, OF_MODEL(output)},
    {"output.bias", VECTOR, false, ONE, VOCAB, OF_MODEL(output_bias)},
    {"rope_freqs.weight", VECTOR, false, ONE, HALF_ROT, OF_MODEL(rope_freqs)},
};

static const struct tensor_row layer_rows[] = {
    {"attn_norm.weight", VECTOR, true, ONE, EMBD, OF_LAYER(attn_norm)},
    {"attn_q.weight", MATRIX, true, QUERIES, EMBD, OF_LAYER(q)},
    {"attn_k.weight", MATRIX, true, KEYS, EMBD, OF_LAYER(k)},
    {"attn_v.weight", MATRIX, true, KEYS, EMBD, OF_LAYER(v)},
    {"attn_output.weight", MATRIX, true, EMBD, QUERIES, OF_LAYER(o)},
    {"ffn_norm.weight", VECTOR, true, ONE, EMBD, OF_LAYER(ffn_norm)},
    {"ffn_gate.weight", MATRIX, true, FF, EMBD, OF_LAYER(gate)},
    {"ffn_up.weight", MATRIX, true, FF, EMBD, OF_LAYER(up)},
    {"ffn_down.weight", MATRIX, true, EMBD, FF, OF_LAYER(down)},
    {"attn_q.bias", VECTOR, false, ONE, QUERIES, OF_LAYER(q_bias)},
    {"attn_k.bias", VECTOR, false, ONE, KEYS, OF_LAYER(k_bias)},
    {"attn_v.bias", VECTOR, false, ONE, KEYS, OF_LAYER(v_bias)},
    {"attn_output.bias", VECTOR, false, ONE, EMBD, OF_LAYER(o_bias)},
    {"ffn_gate.bias", VECTOR, false, ONE, FF, OF_LAYER(gate_bias)},
    {"ffn_up.bias", VECTOR, false, ONE, FF, OF_LAYER(up_bias)},
    {"ffn_down.bias", VECTOR, false, ONE, EMBD, OF_LAYER(down_bias)},
};

#define N_MODEL_ROWS (sizeof model_rows / sizeof model_rows[0])
#define N_LAYER_ROWS (sizeof layer_rows / sizeof layer_rows[0])

static uint32_t dim_value(const struct hearth_hparams *h, enum dim dim)
{
    switch (dim) {
    case EMBD:
        return h->n_embd;
    case FF:
        return h->n_ff;
    case QUERIES:
        return h->n_head * h->head_dim; /* hparams bounds both: below 2^32 */
    case KEYS:
        return h->n_head_kv * h->head_dim;
    case VOCAB:
        return h->n_vocab;
    case HALF_ROT:
        return h->n_rot / 2;
    default:
        return 1;
    }
}

/* The file's name for a message. */
static const char *file(const struct hearth_gguf *gguf, char out[HEARTH_QUOTE_MAX])
{
    return hearth_quote(out, gguf->file_name, strlen(gguf->file_name));
}

/* Find a tensor of the expected shape; NULL in *out when it is absent and may be. */
static hearth_status find(const struct hearth_gguf *gguf, const char *name, const struct tensor_row *row, uint32_t rows, uint32_t k,
                          const struct hearth_gguf_tensor **out, hearth_error *err)
{
    const struct hearth_gguf_tensor *t = hearth_gguf_find_tensor(gguf, name);
    char quoted[HEARTH_QUOTE_MAX];
    *out = t;
    if (!t)
        return row->required
                   ? hearth_fail(err, HEARTH_E_FORMAT, "E_MISSING", "%s: tensors: %s is missing", file(gguf, quoted), name)
                   : HEARTH_OK;
    if (t->ne[0] != k || t->ne[1] != rows || t->ne[2] != 1 || t->ne[3] != 1)
        return hearth_fail(err, HEARTH_E_FORMAT, "E_SHAPE",
                           "%s: tensor %s: wrong shape (got %" PRIu64 " x %" PRIu64 " x %" PRIu64 ", need %" PRIu32 " x %" PRIu32
                           ")",
                           file(gguf, quoted), name, t->ne[0], t->ne[1], t->ne[2], k, rows);
    return HEARTH_OK;
}

static hearth_status unsupported_type(const struct hearth_gguf *gguf, const char *name, uint32_t format, hearth_error *err)
{
    char quoted[HEARTH_QUOTE_MAX];
    return hearth_fail(err, HEARTH_E_UNSUPPORTED, "E_TTYPE", "%s: tensor %s: type is not supported (got %s)", file(gguf, quoted),
                       name, hearth_format_info(format)->name);
}

/* Bind one row of a table to the thing at `place`. */
static hearth_status bind(struct hearth_description *d, const struct hearth_gguf *gguf, const struct hearth_kernel_set *kernels,
                          const char *name, const struct tensor_row *row, void *place, hearth_error *err)
{
    char quoted[HEARTH_QUOTE_MAX];
    const uint32_t rows = dim_value(&d->hparams, row->rows);
    const uint32_t k = dim_value(&d->hparams, row->k);
    const struct hearth_gguf_tensor *t;
    HEARTH_TRY(find(gguf, name, row, rows, k, &t, err));
    if (!t)
        return HEARTH_OK;
    d->weight_bytes += t->bytes;
    d->n_parameters += (uint64_t)rows * k;
    if (row->kind == VECTOR) {
        if (t->format != HEARTH_F32 && t->format != HEARTH_F16 && t->format != HEARTH_BF16)
            return hearth_fail(err, HEARTH_E_FORMAT, "E_TTYPE",
                               "%s: tensor %s: type of a norm or bias (got %s, need F32, F16 or BF16)", file(gguf, quoted), name,
                               hearth_format_info(t->format)->name);
        *(struct hearth_vector *)place = (struct hearth_vector){.format = t->format, .n = k, .file_offset = t->file_offset};
        return HEARTH_OK;
    }
    if (t->format >= HEARTH_FORMAT_COUNT || !kernels->chosen[HEARTH_OP_DEQUANTIZE][t->format])
        return unsupported_type(gguf, name, t->format, err);
    if (row->kind == TABLE) {
        *(struct hearth_table *)place =
            (struct hearth_table){.format = t->format, .rows = rows, .k = k, .file_offset = t->file_offset};
        return HEARTH_OK;
    }
    const struct hearth_kernel *kernel = kernels->chosen[HEARTH_OP_MATMUL][t->format];
    if (!kernel)
        return unsupported_type(gguf, name, t->format, err);
    *(struct hearth_matrix *)place =
        (struct hearth_matrix){.kernel = kernel, .format = t->format, .rows = rows, .k = k, .file_offset = t->file_offset};
    d->uses[hearth_format_info(t->format)->activation] = true;
    d->macs_per_token += (uint64_t)rows * k;
    return HEARTH_OK;
}

/* A file without output.weight multiplies by the embedding table; then there is no table of its own. */
static hearth_status tie_output(struct hearth_description *d, const struct hearth_gguf *gguf,
                                const struct hearth_kernel_set *kernels, hearth_error *err)
{
    if (d->output.rows)
        return HEARTH_OK;
    const struct hearth_table table = d->embedding;
    const struct hearth_kernel *kernel = kernels->chosen[HEARTH_OP_MATMUL][table.format];
    if (!kernel)
        return unsupported_type(gguf, "token_embd.weight", table.format, err);
    d->output = (struct hearth_matrix){
        .kernel = kernel, .format = table.format, .rows = table.rows, .k = table.k, .file_offset = table.file_offset};
    d->embedding = (struct hearth_table){0};
    d->uses[hearth_format_info(table.format)->activation] = true;
    d->macs_per_token += (uint64_t)table.rows * table.k;
    return HEARTH_OK;
}

static size_t count_used(struct hearth_description *d)
{
    size_t used = d->embedding.rows ? 1 : 0;
    const size_t n = hearth_weight_count(d);
    for (size_t i = 0; i < n; i++) {
        const struct hearth_weight w = hearth_weight_at(d, i);
        used += (w.matrix && w.matrix->rows) || (w.vector && w.vector->n);
    }
    return used;
}

static hearth_status describe_tensors(struct hearth_description *d, const struct hearth_gguf *gguf,
                                      const struct hearth_kernel_set *kernels, hearth_error *err)
{
    for (size_t i = 0; i < N_MODEL_ROWS; i++)
        HEARTH_TRY(bind(d, gguf, kernels, model_rows[i].name, &model_rows[i], (uint8_t *)d + model_rows[i].offset, err));
    HEARTH_TRY(tie_output(d, gguf, kernels, err));
    for (uint32_t layer = 0; layer < d->hparams.n_layer; layer++) {
        for (size_t i = 0; i < N_LAYER_ROWS; i++) {
            char name[64];
            (void)snprintf(name, sizeof name, "blk.%" PRIu32 ".%s", layer, layer_rows[i].name);
            HEARTH_TRY(bind(d, gguf, kernels, name, &layer_rows[i], (uint8_t *)&d->layers[layer] + layer_rows[i].offset, err));
        }
    }
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
    const hearth_status status = describe_tensors(out, gguf, kernels, err);
    if (status != HEARTH_OK) {
        hearth_description_free(out);
        return status;
    }
    const size_t used = count_used(out);
    if (log && used < gguf->n_tensors) {
        char line[160];
        (void)snprintf(line, sizeof line, "%" PRIu64 " tensors of the file are not used", gguf->n_tensors - used);
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
    if (index < N_MODEL_ROWS) {
        const bool tied = model_rows[index].offset == OF_MODEL(output) && d->embedding.rows == 0;
        (void)snprintf(out, 64, "%s", tied ? "token_embd.weight" : model_rows[index].name);
    } else {
        const size_t at = index - N_MODEL_ROWS;
        (void)snprintf(out, 64, "blk.%zu.%s", at / N_LAYER_ROWS, layer_rows[at % N_LAYER_ROWS].name);
    }
}

uint64_t hearth_matrix_packed_bytes(const struct hearth_matrix *m)
{
    if (m->rows == 0)
        return 0;
    const size_t tile_rows = m->kernel->matmul.tile_rows;
    return (uint64_t)((m->rows + tile_rows - 1) / tile_rows) * m->kernel->matmul.tile_bytes(m->k);
}

static void layout_weights(struct hearth_description *d, struct hearth_arena *arena)
{
    const size_t n = hearth_weight_count(d);
    for (size_t i = 0; i < n; i++) {
        const struct hearth_weight w = hearth_weight_at(d, i);
        if (w.matrix && w.matrix->rows)
            w.matrix->packed = hearth_arena_take(arena, HEARTH_PLAN_WEIGHTS, hearth_matrix_packed_bytes(w.matrix), 1);
        else if (w.vector && w.vector->n)
            w.vector->values = hearth_arena_take(arena, HEARTH_PLAN_WEIGHTS, w.vector->n, sizeof(float));
        else if (w.table && w.table->rows)
            w.table->bytes =
                hearth_arena_take(arena, HEARTH_PLAN_WEIGHTS, w.table->rows, hearth_row_bytes(w.table->format, w.table->k));
    }
}

void hearth_description_layout(struct hearth_description *d, struct hearth_arena *arena)
{
    struct hearth_layer *layers = hearth_arena_take(arena, HEARTH_PLAN_DESCRIPTION, d->hparams.n_layer, sizeof *layers);
    if (layers && d->hparams.n_layer) {
        memcpy(layers, d->layers, d->hparams.n_layer * sizeof *layers);
        free(d->layers);
        d->layers = layers;
    }
    layout_weights(d, arena);
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
