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

    hearth_step_embed(s);
    for (s->layer = 0; s->layer < m->hparams.n_layer; s->layer++) {
        const struct hearth_layer *l = &m->layers[s->layer];

        hearth_step_norm(s, &l->attn_norm, &l->q, &l->k, &l->v);
        hearth_step_queries_keys_values(s, l);
        hearth_step_attend(s, &l->o);
        hearth_step_project_and_add(s, &l->o, &l->gate);

        hearth_step_norm(s, &l->ffn_norm, &l->gate, &l->up, NULL);
        hearth_step_gated(s, &l->gate, &l->up, &l->down);
        hearth_step_project_and_add(s, &l->down, s->layer + 1 < m->hparams.n_layer ? &m->layers[s->layer + 1].q : &m->output);
    }
    hearth_step_output(s);
}
