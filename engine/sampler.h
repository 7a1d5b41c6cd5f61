/* The choice of the next token (spec sampling.md): masks and biases, penalties, DRY, filters, temperature, draw; or mirostat.
 *
 * Every rule depends on logits, history and seed alone, ties go to the lower id, and only defined arithmetic is used, so that equal
 * logits give equal tokens on every machine. Works in the caller's memory, allocates nothing. Session-bound. */
#ifndef HEARTH_ENGINE_SAMPLER_H
#define HEARTH_ENGINE_SAMPLER_H

#include "dry.h"
#include "hearth.h"
#include "kernels.h"
#include "rng.h"
#include "tokenizer.h"

struct hearth_sampler;

/* Bytes for a vocabulary of n_vocab tokens and a history of n_context tokens; a multiple of 64. 12 n_vocab + n_vocab / 8 + 8
 * n_context, and about 27 KiB. */
size_t hearth_sampler_bytes(uint32_t n_vocab, uint32_t n_context);
/* Make a sampler in `memory` (64-byte aligned, hearth_sampler_bytes() long) with the defaults of hearth_sampling_init(), which is
 * defined in sampler.c. n_vocab >= 1. The tokenizer (NULL: no token ends an answer, none is a breaker) and its scratch, which
 * hearth_sampler_set() alone uses, must outlive the sampler. Returns the sampler, which begins at `memory`. */
struct hearth_sampler *hearth_sampler_init(void *memory, uint32_t n_vocab, uint32_t n_context,
                                           const struct hearth_tokenizer *tokenizer, void *scratch);

/* Check every value, take them, restart the random stream and mirostat; the history stays. E_CONFIG names the field and leaves the
 * sampler as it was. Ranges: docs/sampling.md. With DRY on it walks the texts of the vocabulary. */
hearth_status hearth_sampler_set(struct hearth_sampler *sampler, const hearth_sampling *sampling, hearth_error *err);
/* Append a token (of the prompt or the answer) to the history of penalties and DRY; mirostat learns from it when
 * it is the one chosen last. Ids outside the vocabulary are ignored. */
void hearth_sampler_accept(struct hearth_sampler *sampler, int32_t id);
/* The text so far is now this one: its history replaces the old one. Random stream and mirostat go on. */
void hearth_sampler_rewrite_history(struct hearth_sampler *sampler, const int32_t *ids, uint32_t n);
/* Forget the history and restart the random stream: a timeline from its beginning. */
void hearth_sampler_reset(struct hearth_sampler *sampler);

/* All of a sampler but the history and what is allowed, as a saved session has it: without padding. */
struct hearth_sampler_state {
    uint64_t seed;
    struct hearth_rng rng;
    double mu, surprise;
    float temperature, top_p, min_p, repeat_penalty, frequency_penalty, presence_penalty, dry_multiplier, dry_base;
    float typical_p, top_n_sigma, xtc_probability, xtc_threshold, dynatemp_range, dynatemp_exponent, mirostat_tau, mirostat_eta;
    int32_t top_k, repeat_last_n, dry_allowed_length, dry_last_n, mirostat, order[8], chosen;
    uint32_t min_keep, n_logit_bias, ignore_end, learned, begun;
    struct hearth_dry_breakers breakers;
    hearth_logit_bias bias[HEARTH_LOGIT_BIAS_MAX];
};
void hearth_sampler_save(const struct hearth_sampler *sampler, struct hearth_sampler_state *out);
/* Whether a state, from outside, is one that a sampler for this vocabulary can be in; E_CONFIG names the field. */
hearth_status hearth_sampler_check(const struct hearth_sampler *sampler, const struct hearth_sampler_state *state,
                                   hearth_error *err);
/* Take a state that has been checked; the history stays. */
void hearth_sampler_restore(struct hearth_sampler *sampler, const struct hearth_sampler_state *state);

/* From now on choose only tokens whose bit is set in allowed[0 … (n_vocab + 63) / 64); NULL: any. Not copied. */
void hearth_sampler_allow(struct hearth_sampler *sampler, const uint64_t *allowed);

/* Choose from n_vocab logits. E_INFERENCE when one is not finite, or when every token is forbidden. Call on a pool worker, whose
 * rounding is defined. `kernels` may be NULL: then plain C computes the same bits. Draws one random number unless temperature is 0,
 * and one more for XTC. Does not accept the token. */
hearth_status hearth_sampler_choose(struct hearth_sampler *sampler, const struct hearth_kernel_set *kernels, const float *logits,
                                    int32_t *id, hearth_error *err);

#endif
