/* Architectures `gemma2` (spec architectures.md section 8.11) and `gemma3` (8.12): what attention and the feed-forward network give
 * is normalised again before it is added.
 *
 *   x = embedding of the token * sqrt(n_embd)
 *   for each layer:  h = RMSNorm(x);  x += RMSNorm(O * attention(RoPE(Q h), RoPE(K h), V h))
 *                    h = RMSNorm(x);  x += RMSNorm(Down * (gelu(Gate h) . Up h))
 *   logits = Output * RMSNorm(x)
 *
 * Of every two layers of gemma2, and of every six of gemma3, all but the last see only a window of the latest positions. gemma2
 * keeps the scores of attention and the logits within soft caps. gemma3 normalises every head of queries and keys before it is
 * rotated, and rotates with another base where there is a window. */
#include "forward.h"

void hearth_arch_gemma2(struct hearth_step *s)
{
    const struct hearth_description *m = s->batch->model;

    hearth_step_embed(s);
    for (s->layer = 0; hearth_step_has_layer(s); s->layer++) {
        const struct hearth_layer *l = &m->layers[s->layer];

        hearth_step_norm(s, &l->attn_norm, &l->q, &l->k, &l->v, NULL);
        hearth_step_queries_keys_values(s, l);
        hearth_step_barrier(s, &l->o);
        hearth_step_attend(s, &l->o);
        hearth_step_project_norm_and_add(s, &l->o, &l->post_attn_norm, &l->gate);

        hearth_step_norm(s, &l->ffn_norm, &l->gate, &l->up, NULL, NULL);
        hearth_step_gated(s, &l->gate, &l->up, &l->down);
        hearth_step_project_norm_and_add(s, &l->down, &l->post_ffn_norm,
                                         s->layer + 1 < m->hparams.n_layer ? &m->layers[s->layer + 1].q : &m->output);
    }
    hearth_step_output(s);
}
