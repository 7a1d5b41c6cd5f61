/* How large a worker's own memory is, and what else of a batch the session makes room for; see forward_parts.h. */
#include "common/checked.h"
#include "forward_parts.h"

uint32_t hearth_forward_whole_blocks(uint32_t n_tokens)
{
    return (n_tokens + block_tokens(n_tokens) - 1) / block_tokens(n_tokens) * block_tokens(n_tokens);
}

uint32_t hearth_forward_widest(const struct hearth_description *model)
{
    const struct hearth_hparams *h = &model->hparams;
    const uint32_t widest = hearth_forward_widest_of_x(model);
    return h->n_ff > widest ? h->n_ff : widest;
}

uint32_t hearth_forward_widest_of_x(const struct hearth_description *model)
{
    const struct hearth_hparams *h = &model->hparams;
    return h->n_head * h->head_dim > h->n_embd ? h->n_head * h->head_dim : h->n_embd;
}

uint32_t hearth_forward_heads_of_piece(const struct hearth_hparams *h)
{
    uint32_t heads = 1;
    while (heads * h->head_dim % HEARTH_ROW_UNIT != 0 || heads * h->head_dim < PIECE_ROWS / 2)
        heads++;
    return heads;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

void hearth_forward_scratch_layout(struct hearth_scratch_layout *out, const struct hearth_description *model, uint32_t batch,
                                   bool blas)
{
    const uint64_t head_rows = (uint64_t)hearth_forward_heads_of_piece(&model->hparams) * model->hparams.head_dim;
    const uint64_t many = block_tokens(batch) * larger(GROUP_ROWS, head_rows);
    const uint64_t few = (batch < FEW_TOKENS ? batch : FEW_TOKENS) * FEW_TOKENS_PIECE_ROWS;
    const uint64_t tile = larger(larger(many, few), model->hparams.n_expert) * sizeof(float);
    const uint64_t row =
        larger(hearth_forward_widest(model) * sizeof(float), hearth_row_bytes(model->output.format, model->output.k));
    out->tile = hearth_align(larger(tile, row), 64);
    uint64_t at = 2 * out->tile;
    for (int kind = 0; kind < HEARTH_ACTIVATION_COUNT; kind++) {
        out->rows[kind] = at;
        if (model->uses[kind])
            at += FEW_TOKENS * hearth_activation_bytes((enum hearth_activation)kind, hearth_forward_widest_of_x(model));
    }
    out->hidden = at;
    at += FEW_TOKENS * hearth_forward_slots(&model->hparams) * hearth_forward_hidden_row_bytes(model);
    out->panel = at;
    if (blas && model->uses[HEARTH_ACTIVATION_F32])
        at += (BLAS_ROWS + 1) * hearth_align(hearth_forward_widest(model) * sizeof(float), 64);
    out->experts = at;
    at += hearth_forward_experts_scratch_bytes(&model->hparams, batch);
    out->attend = at;
    out->bytes = at + hearth_attend_scratch_bytes(&model->hparams);
}

/* At most 2^16 tokens times 2^8 experts. */
uint32_t hearth_forward_hidden_rows(const struct hearth_description *model, uint32_t batch)
{
    const uint32_t slots = hearth_forward_slots(&model->hparams);
    for (uint32_t i = 0; i < model->hparams.n_layer; i++)
        if (activation_of(&model->layers[i].down) == HEARTH_ACTIVATION_F32)
            return batch * slots;
    return (batch < FEW_TOKENS ? batch : FEW_TOKENS) * slots;
}

uint64_t hearth_forward_hidden_row_bytes(const struct hearth_description *model)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < model->hparams.n_layer; i++) {
        const enum hearth_activation kind = activation_of(&model->layers[i].down);
        if (kind != HEARTH_ACTIVATION_F32)
            most = larger(most, hearth_activation_bytes(kind, model->hparams.n_ff));
    }
    return most;
}
