/* Architectures `llama` (Llama 1 to 3.x, CodeLlama, Mistral 7B, TinyLlama, SmolLM and many merges; spec architectures.md section
 * 8.1), `gemma` (8.10), `phi3` (8.6), `qwen2` (8.7), `qwen3` (8.8) and `qwen3moe` (8.9).
 *
 *   x = embedding of the token
 *   for each layer:  h = RMSNorm(x);  x += O * attention(RoPE(Q h), RoPE(K h), V h)
 *                    h = RMSNorm(x);  x += Down * (silu(Gate h) . Up h)
 *   logits = Output * RMSNorm(x)
 *
 * With experts (Mixtral, qwen3moe) the second line of a layer is, over the few experts e that softmax(Router h) makes most
 * probable, x
 * += the sum of w_e Down_e * (silu(Gate_e h) . Up_e h), where the w_e are their probabilities divided by the sum of these.
 *
 * All but llama pair the elements of heads by halves. gemma multiplies the embedding by sqrt(n_embd), has gelu in silu's place, and
 * its output is always the embedding's table. phi3 keeps Q, K and V in one tensor, and Gate and Up in another; qwen2 has
 * biases on Q, K and V; qwen3 normalises every head of queries and keys before it is rotated: RoPE(RMSNorm(Q h)), RoPE(RMSNorm(K
 * h)). */
#include "forward.h"

void hearth_arch_llama(struct hearth_step *s)
{
    const struct hearth_description *m = s->batch->model;

    hearth_step_embed(s);
    for (s->layer = 0; hearth_step_has_layer(s); s->layer++) {
        const struct hearth_layer *l = &m->layers[s->layer];
        const struct hearth_matrix *next = s->layer + 1 < m->hparams.n_layer ? &m->layers[s->layer + 1].q : &m->output;

        hearth_step_norm(s, &l->attn_norm, &l->q, &l->k, &l->v, NULL);
        hearth_step_queries_keys_values(s, l);
        hearth_step_barrier(s, &l->o);
        hearth_step_attend(s, &l->o);
        hearth_step_project_and_add(s, &l->o, &l->gate);

        if (m->hparams.n_expert > 0) {
            hearth_step_norm(s, &l->ffn_norm, &l->router, &l->gate, &l->up, NULL);
            hearth_step_experts(s, l, next);
        } else {
            hearth_step_norm(s, &l->ffn_norm, &l->gate, &l->up, NULL, NULL);
            hearth_step_gated(s, &l->gate, &l->up, &l->down);
            hearth_step_project_and_add(s, &l->down, next);
        }
    }
    hearth_step_output(s);
}
