/* The sampler: candidates wait in a heap and are taken out in order only as far as somebody asks.
 *
 * All filters of this version (top-k, top-p, min-p) keep a beginning of the list sorted by descending logit, ties by lower id, and
 * so does the draw read it. One array of integers serves: rank of the logit in the upper half, id in the lower half, so that
 * comparing integers compares candidates. Making a heap of it is linear; the best few dozen come out at log V each.
 *
 * Temperature divides differences to the largest logit instead of the logits themselves: the same weights, and nothing overflows.
 */
#include "sampler.h"
#include "common/real.h"
#include "common/status.h"
#include "rng.h"
#include <float.h>

struct hearth_sampler {
    hearth_sampling options;
    struct hearth_rng rng;
    uint32_t n_vocab, n_context;
    uint32_t n_history, next; /* tokens remembered, place of the next one */
    uint32_t n_heap;          /* candidates not yet taken out */
    int32_t *history;         /* [n_context] a ring */
    uint64_t *candidates;     /* [n_vocab] heap from the front, taken ones from the back */
    float *values;            /* [n_vocab] logits after the penalty */
    uint64_t *seen;           /* [n_vocab] bits, all zero between calls */
};

#define EXP_CHUNK 256u

void hearth_sampling_init(hearth_sampling *sampling)
{
    *sampling = (hearth_sampling){.struct_size = sizeof *sampling,
                                  .top_k = 40,
                                  .temperature = 0.8f,
                                  .top_p = 0.95f,
                                  .min_p = 0.05f,
                                  .repeat_penalty = 1.0f,
                                  .repeat_last_n = 64,
                                  .seed = 0};
}

/* ---- Memory ----------------------------------------------------------------------------------------------------------- */

static size_t step(size_t bytes)
{
    return (bytes + 63) & ~(size_t)63;
}

static size_t seen_words(uint32_t n_vocab)
{
    return ((size_t)n_vocab + 63) / 64;
}

size_t hearth_sampler_bytes(uint32_t n_vocab, uint32_t n_context)
{
    return step(sizeof(struct hearth_sampler)) + step(n_vocab * sizeof(uint64_t)) + step(n_vocab * sizeof(float)) +
           step(seen_words(n_vocab) * sizeof(uint64_t)) + step(n_context * sizeof(int32_t));
}

struct hearth_sampler *hearth_sampler_init(void *memory, uint32_t n_vocab, uint32_t n_context)
{
    struct hearth_sampler *sampler = memory;
    char *at = (char *)memory + step(sizeof *sampler);
    *sampler = (struct hearth_sampler){.n_vocab = n_vocab, .n_context = n_context};
    sampler->candidates = (uint64_t *)(void *)at;
    at += step(n_vocab * sizeof(uint64_t));
    sampler->values = (float *)(void *)at;
    at += step(n_vocab * sizeof(float));
    sampler->seen = (uint64_t *)(void *)at;
    memset(sampler->seen, 0, seen_words(n_vocab) * sizeof(uint64_t));
    at += step(seen_words(n_vocab) * sizeof(uint64_t));
    sampler->history = (int32_t *)(void *)at;
    hearth_sampling_init(&sampler->options);
    hearth_sampler_reset(sampler);
    return sampler;
}

/* ---- Options and history ------------------------------------------------------------------------------------------------ */

/* NaN is in no range. */
static hearth_status check_range(const char *field, float value, float low, float high, hearth_error *err)
{
    if (value >= low && value <= high)
        return HEARTH_OK;
    if (high == FLT_MAX)
        return hearth_fail(err, HEARTH_E_CONFIG, NULL, "sampling: %s: out of range (got %g, need a finite number from %g)", field,
                           (double)value, (double)low);
    return hearth_fail(err, HEARTH_E_CONFIG, NULL, "sampling: %s: out of range (got %g, need %g to %g)", field, (double)value,
                       (double)low, (double)high);
}

hearth_status hearth_sampler_set(struct hearth_sampler *sampler, const hearth_sampling *sampling, hearth_error *err)
{
    if (sampling->struct_size < sizeof *sampling)
        return hearth_fail(err, HEARTH_E_CONFIG, NULL, "sampling: struct_size: too small (got %" PRIu32 ", need %zu)",
                           sampling->struct_size, sizeof *sampling);
    HEARTH_TRY(check_range("temperature", sampling->temperature, 0.0f, FLT_MAX, err));
    HEARTH_TRY(check_range("top_p", sampling->top_p, 0.0f, 1.0f, err));
    HEARTH_TRY(check_range("min_p", sampling->min_p, 0.0f, 1.0f, err));
    if (!(sampling->repeat_penalty > 0.0f && sampling->repeat_penalty <= FLT_MAX))
        return hearth_fail(err, HEARTH_E_CONFIG, NULL,
                           "sampling: repeat_penalty: out of range (got %g, need a finite number above 0)",
                           (double)sampling->repeat_penalty);
    if (sampling->repeat_last_n < -1)
        return hearth_fail(err, HEARTH_E_CONFIG, NULL, "sampling: repeat_last_n: out of range (got %" PRId32 ", need -1 or more)",
                           sampling->repeat_last_n);
    sampler->options = *sampling;
    sampler->rng = hearth_rng_seed(sampling->seed);
    return HEARTH_OK;
}

void hearth_sampler_accept(struct hearth_sampler *sampler, int32_t id)
{
    if (id < 0 || (uint32_t)id >= sampler->n_vocab || sampler->n_context == 0)
        return;
    sampler->history[sampler->next] = id;
    sampler->next = sampler->next + 1 == sampler->n_context ? 0 : sampler->next + 1;
    if (sampler->n_history < sampler->n_context)
        sampler->n_history++;
}

void hearth_sampler_reset(struct hearth_sampler *sampler)
{
    sampler->n_history = 0;
    sampler->next = 0;
    sampler->rng = hearth_rng_seed(sampler->options.seed);
}

/* ---- Logits ------------------------------------------------------------------------------------------------------------- */

static hearth_status copy_logits(struct hearth_sampler *sampler, const float *logits, hearth_error *err)
{
    uint32_t worst = 0;
    for (uint32_t i = 0; i < sampler->n_vocab; i++) {
        const uint32_t magnitude = hearth_f32_bits(logits[i]) & 0x7fffffffu;
        worst = magnitude > worst ? magnitude : worst;
        sampler->values[i] = logits[i] + 0.0f; /* -0 becomes +0, so that equal numbers have equal bits */
    }
    if (worst < 0x7f800000u)
        return HEARTH_OK;
    uint32_t i = 0;
    while ((hearth_f32_bits(logits[i]) & 0x7fffffffu) < 0x7f800000u)
        i++;
    return hearth_fail(err, HEARTH_E_INFERENCE, NULL, "logits: token %" PRIu32 ": not finite (got %g)", i, (double)logits[i]);
}

static float penalised(float logit, float penalty)
{
    const float value = logit <= 0.0f ? logit * penalty : logit / penalty;
    return value > FLT_MAX ? FLT_MAX : value < -FLT_MAX ? -FLT_MAX : value + 0.0f;
}

/* Each token of the window once, however often it stands there. */
static void apply_penalty(struct hearth_sampler *sampler)
{
    const int32_t last_n = sampler->options.repeat_last_n;
    const float penalty = sampler->options.repeat_penalty;
    const uint32_t window = last_n < 0 || (uint32_t)last_n > sampler->n_history ? sampler->n_history : (uint32_t)last_n;
    if (penalty == 1.0f)
        return;
    uint32_t at = sampler->next;
    for (uint32_t i = 0; i < window; i++) {
        at = at == 0 ? sampler->n_context - 1 : at - 1;
        const uint32_t id = (uint32_t)sampler->history[at];
        if (!(sampler->seen[id / 64] >> id % 64 & 1))
            sampler->values[id] = penalised(sampler->values[id], penalty);
        sampler->seen[id / 64] |= (uint64_t)1 << id % 64;
    }
    at = sampler->next;
    for (uint32_t i = 0; i < window; i++) {
        at = at == 0 ? sampler->n_context - 1 : at - 1;
        sampler->seen[sampler->history[at] / 64] = 0;
    }
}

static int32_t most_likely(const struct hearth_sampler *sampler)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < sampler->n_vocab; i++) {
        if (sampler->values[i] > sampler->values[best])
            best = i;
    }
    return (int32_t)best;
}

/* ---- Candidates in order -------------------------------------------------------------------------------------------------- */

/* Smaller is better: floats in descending order become integers in ascending order. */
static uint64_t candidate_of(float value, uint32_t id)
{
    const uint32_t bits = hearth_f32_bits(value);
    const uint32_t rank = bits >> 31 ? bits : 0x7fffffffu - bits;
    return (uint64_t)rank << 32 | id;
}

static void sink(uint64_t *heap, uint32_t i, uint32_t n)
{
    const uint64_t entry = heap[i];
    for (uint64_t child; (child = 2 * (uint64_t)i + 1) < n; i = (uint32_t)child) {
        if (child + 1 < n && heap[child + 1] < heap[child])
            child++;
        if (heap[child] >= entry)
            break;
        heap[i] = heap[child];
    }
    heap[i] = entry;
}

static void collect(struct hearth_sampler *sampler)
{
    for (uint32_t i = 0; i < sampler->n_vocab; i++)
        sampler->candidates[i] = candidate_of(sampler->values[i], i);
    sampler->n_heap = sampler->n_vocab;
    for (uint32_t i = sampler->n_vocab / 2; i-- > 0;)
        sink(sampler->candidates, i, sampler->n_heap);
}

/* The id of place i < n_vocab in the sorted list. */
static uint32_t sorted(struct hearth_sampler *sampler, uint32_t i)
{
    while (sampler->n_vocab - sampler->n_heap <= i) {
        const uint64_t best = sampler->candidates[0];
        sampler->candidates[0] = sampler->candidates[--sampler->n_heap];
        sink(sampler->candidates, 0, sampler->n_heap);
        sampler->candidates[sampler->n_heap] = best;
    }
    return (uint32_t)sampler->candidates[sampler->n_vocab - 1 - i];
}

static float weight(const struct hearth_sampler *sampler, uint32_t id, float top, float temperature)
{
    return hearth_expf((sampler->values[id] - top) / temperature);
}

/* Sum of the weights of the first n candidates: in sorted order, or by ids when all of them are meant. */
static double weights_sum(struct hearth_sampler *sampler, const struct hearth_kernel_set *kernels, uint32_t n, float top,
                          float temperature)
{
    const struct hearth_kernel *kernel = kernels ? kernels->chosen[HEARTH_OP_EXP][0] : NULL;
    float x[EXP_CHUNK];
    double sum = 0.0;
    for (uint32_t begin = 0; begin < n; begin += EXP_CHUNK) {
        const uint32_t count = n - begin < EXP_CHUNK ? n - begin : EXP_CHUNK;
        for (uint32_t i = 0; i < count; i++) {
            const uint32_t id = n == sampler->n_vocab ? begin + i : sorted(sampler, begin + i);
            x[i] = (sampler->values[id] - top) / temperature;
        }
        if (kernel)
            kernel->exp(x, x, count);
        for (uint32_t i = 0; i < count; i++)
            sum += (double)(kernel ? x[i] : hearth_expf(x[i]));
    }
    return sum;
}

/* How many of the first k candidates top-p and min-p leave. Both keep a beginning of the list, so one walk serves both. */
static uint32_t filter(struct hearth_sampler *sampler, const struct hearth_kernel_set *kernels, uint32_t k, float top)
{
    const hearth_sampling *options = &sampler->options;
    if (options->top_p >= 1.0f && options->min_p <= 0.0f)
        return k;
    double target = HUGE_VAL;
    if (options->top_p < 1.0f)
        target = (double)options->top_p * weights_sum(sampler, kernels, k, top, 1.0f);
    double least = -HUGE_VAL;
    if (options->min_p > 0.0f)
        least = (double)top + hearth_log64((double)options->min_p);
    double sum = 0.0;
    uint32_t n = 0;
    while (n < k) {
        const uint32_t id = sorted(sampler, n);
        if (n > 0 && (double)sampler->values[id] < least)
            break;
        n++;
        sum += (double)weight(sampler, id, top, 1.0f);
        if (sum >= target)
            break;
    }
    return n;
}

static int32_t draw(struct hearth_sampler *sampler, const struct hearth_kernel_set *kernels, uint32_t n, float top)
{
    const float temperature = sampler->options.temperature;
    const double target = hearth_rng_uniform(&sampler->rng) * weights_sum(sampler, kernels, n, top, temperature);
    double sum = 0.0;
    uint32_t chosen = sorted(sampler, 0); /* its weight is 1 */
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t id = sorted(sampler, i);
        const float w = weight(sampler, id, top, temperature);
        if (w == 0.0f)
            break; /* and so are all after it: rounding left none, the last one with a weight is taken */
        chosen = id;
        sum += (double)w;
        if (sum > target)
            break;
    }
    return (int32_t)chosen;
}

hearth_status hearth_sampler_choose(struct hearth_sampler *sampler, const struct hearth_kernel_set *kernels, const float *logits,
                                    int32_t *id, hearth_error *err)
{
    HEARTH_TRY(copy_logits(sampler, logits, err));
    apply_penalty(sampler);
    if (sampler->options.temperature <= 0.0f) {
        *id = most_likely(sampler);
        return HEARTH_OK;
    }
    collect(sampler);
    const int32_t top_k = sampler->options.top_k;
    const uint32_t k = top_k > 0 && (uint32_t)top_k < sampler->n_vocab ? (uint32_t)top_k : sampler->n_vocab;
    const float top = sampler->values[sorted(sampler, 0)];
    *id = draw(sampler, kernels, filter(sampler, kernels, k, top), top);
    return HEARTH_OK;
}
