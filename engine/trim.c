/* What a session has no use for between two calls, given back to the system while the session stays open. */
#include "engine.h"

/* What the used slots of a head are followed by, of keys and of values. Where the slots have gone round all are in use. */
static uint64_t discard_unused_cache(const struct hearth_session *s)
{
    const struct hearth_hparams *h = &s->model->description.hparams;
    const uint64_t block_bytes = hearth_cache_block_bytes(s->cache.format, h->head_dim);
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < h->n_layer; i++) {
        const struct hearth_kv_layer *layer = &s->cache.layers[i];
        const uint32_t used = s->position < layer->slots ? s->position : layer->slots;
        const uint64_t used_bytes = (used + HEARTH_KEY_BLOCK - 1) / HEARTH_KEY_BLOCK * block_bytes;
        for (uint32_t head = 0; head < h->n_head_kv; head++) {
            const uint64_t unused = layer->at + head * layer->head_bytes + used_bytes;
            bytes += hearth_arena_discard(&s->arena, s->cache.keys + unused, layer->head_bytes - used_bytes);
            bytes += hearth_arena_discard(&s->arena, s->cache.values + unused, layer->head_bytes - used_bytes);
        }
    }
    return bytes;
}

/* Activations, then the logits, which stay, then scratch: so hearth_session_layout() lays them out. A call writes all of it before
 * it reads it, but for counters, which may as well begin again at 0 as in a new session. */
static uint64_t discard_buffers(const struct hearth_session *s)
{
    const struct hearth_buffers *b = &s->buffers;
    const uint64_t activations = (uint64_t)((uint8_t *)b->logits - (uint8_t *)b->x);
    const uint64_t scratch = (uint64_t)(s->scratch + HEARTH_TOKENIZER_SCRATCH - b->scratch);
    return hearth_arena_discard(&s->arena, b->x, activations) + hearth_arena_discard(&s->arena, b->scratch, scratch);
}

hearth_status hearth_session_trim(struct hearth_session *s, uint64_t *kv_bytes, uint64_t *scratch_bytes, hearth_error *err)
{
    HEARTH_TRY(hearth_session_enter(s, err));
    *kv_bytes += discard_unused_cache(s);
    *scratch_bytes += discard_buffers(s);
    return hearth_session_leave(s, HEARTH_OK);
}
