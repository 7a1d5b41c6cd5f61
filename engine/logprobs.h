/* The model's own opinion of the next token: natural logarithms of probabilities, from the logits as they were computed, before any
 * mask, penalty or filter. Equal logits give equal bits. */
#ifndef HEARTH_ENGINE_LOGPROBS_H
#define HEARTH_ENGINE_LOGPROBS_H

#include "hearth.h"
#include "kernels.h"

struct hearth_logprobs {
    float chosen; /* of the token asked for */
    uint32_t n_top;
    hearth_logprob top[HEARTH_TOP_LOGPROBS_MAX]; /* likeliest first, of equal ones the lower id */
};

/* logits[n_vocab], finite, n_vocab >= 1; id < n_vocab. The min(n_top, n_vocab) likeliest are told, n_top <=
 * HEARTH_TOP_LOGPROBS_MAX. Call on a pool worker, whose rounding is defined. `kernels` may be NULL: then plain C computes the same
 * bits. Cost: two passes over the logits. */
void hearth_logprobs_make(struct hearth_logprobs *out, const struct hearth_kernel_set *kernels, const float *logits,
                          uint32_t n_vocab, int32_t id, uint32_t n_top);

#endif
