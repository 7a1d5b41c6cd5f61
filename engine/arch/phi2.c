/* Architecture `phi2` (spec architectures.md section 8.5): attention and the feed-forward network read the same normalised input
 * and are added together. LN is LayerNorm, RoPE turns the first n_rot elements of a head, paired by halves, and all matrices have
 * biases.
 *
 *   x = embedding of the token
 *   for each layer:  h = LN(x);  x += O * attention(RoPE(Q h), RoPE(K h), V h);  x += Down * gelu(Up h)
 *   logits = Output * LN(x) */
#include "forward.h"

void hearth_arch_phi2(struct hearth_step *s)
{
    const struct hearth_description *m = s->batch->model;

    hearth_step_embed(s);
    for (s->layer = 0; hearth_step_has_layer(s); s->layer++) {
        const struct hearth_layer *l = &m->layers[s->layer];

        hearth_step_norm(s, &l->attn_norm, &l->q, &l->k, &l->v, &l->up);
        hearth_step_queries_keys_values(s, l);
        hearth_step_gelu(s, &l->up, &l->down);
        hearth_step_barrier(s, &l->o);
        hearth_step_attend(s, &l->o);
        hearth_step_project_both_and_add(s, &l->o, &l->down,
                                         s->layer + 1 < m->hparams.n_layer ? &m->layers[s->layer + 1].q : &m->output);
    }
    hearth_step_output(s);
}
