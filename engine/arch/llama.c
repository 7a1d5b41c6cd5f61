/* Architecture `llama`: Llama 1 to 3.x, CodeLlama, Mistral 7B, TinyLlama, SmolLM and many merges (spec architectures.md
 * section 8.1).
 *
 *   x = embedding of the token
 *   for each layer:  h = RMSNorm(x);  x += O * attention(RoPE(Q h), RoPE(K h), V h)
 *                    h = RMSNorm(x);  x += Down * (silu(Gate h) . Up h)
 *   logits = Output * RMSNorm(x) */
#include "forward.h"

void hearth_arch_llama(struct hearth_step *s)
{
    const struct hearth_description *m = s->batch->model;
    const struct hearth_buffers *b = s->batch->buffers;
    const size_t n_queries = m->hparams.n_head * m->hparams.head_dim;
    const size_t n_keys = m->hparams.n_head_kv * m->hparams.head_dim;

    hearth_step_embed(s);
    for (s->layer = 0; s->layer < m->hparams.n_layer; s->layer++) {
        const struct hearth_layer *l = &m->layers[s->layer];

        hearth_step_norm(s, &l->attn_norm, &l->q, &l->k, &l->v);
        hearth_step_project(s, &l->q, b->q, n_queries);
        hearth_step_project(s, &l->k, b->k, n_keys);
        hearth_step_project(s, &l->v, b->v, n_keys);
        hearth_step_barrier(s);
        hearth_step_rope_and_store(s);
        hearth_step_attend(s, &l->o);
        hearth_step_project_and_add(s, &l->o);

        hearth_step_norm(s, &l->ffn_norm, &l->gate, &l->up, NULL);
        hearth_step_gated(s, &l->gate, &l->up, &l->down);
        hearth_step_project_and_add(s, &l->down);
    }
    hearth_step_output(s);
}
