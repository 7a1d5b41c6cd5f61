/* Logarithms of probabilities; see logprobs.h. With d = logit - largest: ln p = d - ln(sum of exp(d)). The exponentials are those
 * of the contract, single precision; their sum, its logarithm and the difference are double. So an error is that of one
 * exponential, below 2e-7, and the rounding of the result. */
#include "logprobs.h"
#include "common/real.h"
#include <float.h>

#define EXP_CHUNK 256u

/* Places for what is larger than the last: upwards through the ids, so that of equal ones the lower stays in front. */
static void find_top(struct hearth_logprobs *out, const float *logits, uint32_t n_vocab)
{
    uint32_t n = 0;
    for (uint32_t id = 0; id < n_vocab; id++) {
        if (n == out->n_top && !(logits[id] > out->top[n - 1].logprob))
            continue;
        uint32_t at = n < out->n_top ? n++ : n - 1;
        for (; at > 0 && logits[id] > out->top[at - 1].logprob; at--)
            out->top[at] = out->top[at - 1];
        out->top[at] = (hearth_logprob){.token = (int32_t)id, .logprob = logits[id]};
    }
}

static double sum_of_weights(const struct hearth_kernel *exp, const float *logits, uint32_t n_vocab, float largest)
{
    double sum = 0.0;
    float d[EXP_CHUNK], w[EXP_CHUNK];
    for (uint32_t begin = 0; begin < n_vocab; begin += EXP_CHUNK) {
        const uint32_t n = n_vocab - begin < EXP_CHUNK ? n_vocab - begin : EXP_CHUNK;
        for (uint32_t i = 0; i < n; i++)
            d[i] = logits[begin + i] - largest;
        if (exp)
            exp->exp(w, d, n);
        for (uint32_t i = 0; i < n; i++)
            sum += (double)(exp ? w[i] : hearth_expf(d[i]));
    }
    return sum;
}

/* Of numbers far apart the difference may not fit in a float: then it is the least there is. */
static float logprob_of(float logit, float largest, double log_sum)
{
    const double p = (double)logit - (double)largest - log_sum;
    return p > -(double)FLT_MAX ? (float)p : -FLT_MAX;
}

void hearth_logprobs_make(struct hearth_logprobs *out, const struct hearth_kernel_set *kernels, const float *logits,
                          uint32_t n_vocab, int32_t id, uint32_t n_top)
{
    float largest = logits[0];
    for (uint32_t i = 1; i < n_vocab; i++)
        largest = logits[i] > largest ? logits[i] : largest;
    const struct hearth_kernel *exp = kernels ? kernels->chosen[HEARTH_OP_EXP][0] : NULL;
    const double log_sum = hearth_log64(sum_of_weights(exp, logits, n_vocab, largest));
    out->n_top = n_top < n_vocab ? n_top : n_vocab;
    if (out->n_top > 0)
        find_top(out, logits, n_vocab);
    for (uint32_t i = 0; i < out->n_top; i++)
        out->top[i].logprob = logprob_of(out->top[i].logprob, largest, log_sum);
    out->chosen = logprob_of(logits[id], largest, log_sum);
}
