/* The choice of the next token (spec sampling.md): repetition penalty, top-k, top-p, min-p, temperature, draw.
 *
 * Every rule depends on logits, history and seed alone, ties go to the lower id, and only defined arithmetic is used, so that equal
 * logits give equal tokens on every machine. Works in the caller's memory, allocates nothing. Session-bound. */
#ifndef HEARTH_ENGINE_SAMPLER_H
#define HEARTH_ENGINE_SAMPLER_H

#include "hearth.h"
#include "kernels.h"

struct hearth_sampler;

/* Bytes for a vocabulary of n_vocab tokens and a history of n_context tokens; a multiple of 64. 12 n_vocab + n_vocab / 8 + 4
 * n_context, and some. */
size_t hearth_sampler_bytes(uint32_t n_vocab, uint32_t n_context);
/* Make a sampler in `memory` (64-byte aligned, hearth_sampler_bytes() long) with the defaults of hearth_sampling_init(), which is
 * defined in sampler.c. n_vocab >= 1. Returns the sampler, which begins at `memory`. */
struct hearth_sampler *hearth_sampler_init(void *memory, uint32_t n_vocab, uint32_t n_context);

/* Check every value, take them, restart the random stream; the history stays. E_CONFIG names the field and leaves the sampler as it
 * was. Ranges: struct_size >= sizeof, temperature finite >= 0, top_p and min_p in [0, 1], repeat_penalty finite > 0,
 * repeat_last_n >= -1, top_k any. */
hearth_status hearth_sampler_set(struct hearth_sampler *sampler, const hearth_sampling *sampling, hearth_error *err);
/* Append a token (of the prompt or the answer) to the history of the penalty. Ids outside the vocabulary are ignored. */
void hearth_sampler_accept(struct hearth_sampler *sampler, int32_t id);
/* Forget the history and restart the random stream: a timeline from its beginning. */
void hearth_sampler_reset(struct hearth_sampler *sampler);

/* Choose from n_vocab logits. E_INFERENCE when one is not finite. Call on a pool worker, whose rounding is defined. `kernels` may
 * be NULL: then plain C computes the same bits. Draws one random number unless temperature is 0. Does not accept the token. */
hearth_status hearth_sampler_choose(struct hearth_sampler *sampler, const struct hearth_kernel_set *kernels, const float *logits,
                                    int32_t *id, hearth_error *err);

#endif
