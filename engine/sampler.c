/* The sampler: candidates wait in a heap and are taken out in order only as far as somebody asks.
 *
 * One array of integers serves: rank of the logit in the upper half, id in the lower half, so that comparing integers compares
 * candidates, by descending logit and then by lower id. Making a heap of it is linear; the best few dozen come out at log V each.
 *
 * Every filter leaves one stretch of the sorted list, so the state between two of them is where it begins and ends. Top-k, top-p,
 * min-p and top-n-sigma move its end. XTC moves its beginning. Typical keeps what is nearest to the mean surprise, which is nearest
 * to the mean logit: both ends.
 *
 * Temperature divides differences to the largest logit instead of the logits themselves: the same weights, and nothing overflows.
 * With d = (logit - largest) / temperature and the weights exp(d), whose sum is S, ln p is d - ln S. So surprise and entropy need
 * one logarithm, not one for each candidate.
 */
#include "sampler.h"
#include "common/real.h"
#include "common/status.h"
#include "dry.h"
#include <float.h>

#define EXP_CHUNK 256u
#define LN2 0x1.62e42fefa39efp-1

struct hearth_sampler {
    hearth_sampling options; /* pointers are NULL: what they name is copied */
    struct hearth_rng rng;
    struct hearth_history history;
    uint32_t n_vocab;
    const struct hearth_tokenizer *tokenizer;
    struct hearth_dry *dry;
    uint64_t *candidates;    /* [n_vocab] heap from the front, taken ones from the back; scratch before there is one */
    float *values;           /* [n_vocab] logits after masks, biases and penalties; -infinity is forbidden */
    const uint64_t *allowed; /* [n_vocab] bits; NULL: all */
    /* while choosing */
    const struct hearth_kernel *exp; /* NULL: plain C */
    uint32_t n_candidates;           /* that are not forbidden */
    uint32_t n_heap;                 /* not yet taken out */
    uint32_t begin, end;             /* of the sorted list, what the filters have left */
    float temperature;               /* that probabilities have now */
    bool min_p_is_next;
    /* mirostat */
    double mu;       /* surprise allowed, in bits; computed while choosing alone, where rounding is defined */
    double surprise; /* of the token chosen last */
    int32_t chosen;  /* that token, until one is accepted */
    bool learned;    /* mu knows of that surprise */
    bool begun;      /* mu is more than nothing */
    hearth_logit_bias bias[HEARTH_LOGIT_BIAS_MAX];
};

static const char *const usual_breakers[] = {"\n", ":", "\"", "*"};

void hearth_sampling_init(hearth_sampling *sampling, size_t struct_size)
{
    const hearth_sampling defaults = {.top_k = 40,
                                      .temperature = 0.8f,
                                      .top_p = 0.95f,
                                      .min_p = 0.05f,
                                      .repeat_penalty = 1.0f,
                                      .repeat_last_n = 64,
                                      .dry_base = 1.75f,
                                      .dry_allowed_length = 2,
                                      .dry_last_n = 64,
                                      .dry_breakers = usual_breakers,
                                      .n_dry_breakers = sizeof usual_breakers / sizeof usual_breakers[0],
                                      .typical_p = 1.0f,
                                      .top_n_sigma = -1.0f,
                                      .xtc_threshold = 0.1f,
                                      .dynatemp_exponent = 1.0f,
                                      .mirostat_tau = 5.0f,
                                      .mirostat_eta = 0.1f};
    if (!sampling || struct_size < sizeof sampling->struct_size)
        return;
    memset(sampling, 0, struct_size);
    memcpy(sampling, &defaults, struct_size < sizeof defaults ? struct_size : sizeof defaults);
    sampling->struct_size = (uint32_t)struct_size;
}

/* ---- Memory ----------------------------------------------------------------------------------------------------------- */

static size_t step(size_t bytes)
{
    return (bytes + 63) & ~(size_t)63;
}

size_t hearth_sampler_bytes(uint32_t n_vocab, uint32_t n_context)
{
    return step(sizeof(struct hearth_sampler)) + step(n_vocab * sizeof(uint64_t)) + step(n_vocab * sizeof(float)) +
           step(n_context * sizeof(int32_t)) + hearth_dry_bytes(n_vocab, n_context);
}

struct hearth_sampler *hearth_sampler_init(void *memory, uint32_t n_vocab, uint32_t n_context,
                                           const struct hearth_tokenizer *tokenizer, void *scratch)
{
    struct hearth_sampler *sampler = memory;
    char *at = (char *)memory + step(sizeof *sampler);
    memset(sampler, 0, sizeof *sampler);
    sampler->n_vocab = n_vocab;
    sampler->tokenizer = tokenizer;
    sampler->history.capacity = n_context;
    sampler->candidates = (uint64_t *)(void *)at;
    at += step(n_vocab * sizeof(uint64_t));
    sampler->values = (float *)(void *)at;
    at += step(n_vocab * sizeof(float));
    sampler->history.ids = (int32_t *)(void *)at;
    at += step(n_context * sizeof(int32_t));
    sampler->dry = hearth_dry_init(at, n_vocab, n_context, tokenizer, scratch);
    hearth_sampling_init(&sampler->options, sizeof sampler->options);
    hearth_sampler_reset(sampler);
    return sampler;
}

/* ---- Options and history ------------------------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    size_t offset; /* of a float in hearth_sampling */
    float low, high;
} ranges[] = {
#define RANGE(field, low, high)                                                                                                    \
    {                                                                                                                              \
#field, offsetof(hearth_sampling, field), low, high                                                                        \
    }
    RANGE(temperature, 0, FLT_MAX),
    RANGE(top_p, 0, 1),
    RANGE(min_p, 0, 1),
    RANGE(repeat_penalty, FLT_TRUE_MIN, FLT_MAX),
    RANGE(frequency_penalty, -FLT_MAX, FLT_MAX),
    RANGE(presence_penalty, -FLT_MAX, FLT_MAX),
    RANGE(dry_multiplier, 0, FLT_MAX),
    RANGE(dry_base, 1, FLT_MAX),
    RANGE(typical_p, 0, 1),
    RANGE(top_n_sigma, -FLT_MAX, FLT_MAX),
    RANGE(xtc_probability, 0, 1),
    RANGE(xtc_threshold, 0, 1),
    RANGE(dynatemp_range, 0, FLT_MAX),
    RANGE(dynatemp_exponent, 0, FLT_MAX),
    RANGE(mirostat_tau, 0, FLT_MAX),
    RANGE(mirostat_eta, 0, FLT_MAX),
#undef RANGE
};

/* NaN is in no range. */
static hearth_status check_floats(const hearth_sampling *options, hearth_error *err)
{
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        float value;
        memcpy(&value, (const char *)options + ranges[i].offset, sizeof value);
        if (value >= ranges[i].low && value <= ranges[i].high)
            continue;
        if (ranges[i].high == FLT_MAX)
            return hearth_fail(err, HEARTH_E_CONFIG, NULL, "sampling: %s: out of range (got %g, need a finite number from %g)",
                               ranges[i].name, (double)value, (double)ranges[i].low);
        return hearth_fail(err, HEARTH_E_CONFIG, NULL, "sampling: %s: out of range (got %g, need %g to %g)", ranges[i].name,
                           (double)value, (double)ranges[i].low, (double)ranges[i].high);
    }
    return HEARTH_OK;
}

static hearth_status check_integer(const char *name, int32_t value, int32_t low, int32_t high, hearth_error *err)
{
    if (value >= low && value <= high)
        return HEARTH_OK;
    return hearth_fail(err, HEARTH_E_CONFIG, NULL, "sampling: %s: out of range (got %" PRId32 ", need %" PRId32 " to %" PRId32 ")",
                       name, value, low, high);
}

static hearth_status check_biases(const struct hearth_sampler *sampler, const hearth_sampling *options, hearth_error *err)
{
    if (options->n_logit_bias > HEARTH_LOGIT_BIAS_MAX)
        return hearth_fail(err, HEARTH_E_CONFIG, NULL, "sampling: n_logit_bias: too many (got %" PRIu32 ", need at most %d)",
                           options->n_logit_bias, HEARTH_LOGIT_BIAS_MAX);
    if (options->n_logit_bias > 0 && !options->logit_bias)
        return hearth_fail(err, HEARTH_E_CONFIG, NULL, "sampling: logit_bias: is NULL (need a pointer)");
    for (uint32_t i = 0; i < options->n_logit_bias; i++) {
        const hearth_logit_bias bias = options->logit_bias[i];
        if (bias.token < 0 || (uint32_t)bias.token >= sampler->n_vocab)
            return hearth_fail(err, HEARTH_E_CONFIG, "E_TOKENID",
                               "sampling: logit_bias[%" PRIu32 "]: no such token (got %" PRId32 ", need 0 to %" PRIu32 ")", i,
                               bias.token, sampler->n_vocab - 1);
        if (!(bias.bias <= FLT_MAX))
            return hearth_fail(err, HEARTH_E_CONFIG, NULL,
                               "sampling: logit_bias[%" PRIu32 "]: out of range (got %g, need a finite number or -inf)", i,
                               (double)bias.bias);
    }
    return HEARTH_OK;
}

static hearth_status check_options(const struct hearth_sampler *sampler, const hearth_sampling *options, hearth_error *err)
{
    HEARTH_TRY(check_floats(options, err));
    HEARTH_TRY(check_integer("repeat_last_n", options->repeat_last_n, -1, INT32_MAX, err));
    HEARTH_TRY(check_integer("dry_allowed_length", options->dry_allowed_length, 0, INT32_MAX, err));
    HEARTH_TRY(check_integer("dry_last_n", options->dry_last_n, -1, INT32_MAX, err));
    HEARTH_TRY(check_integer("mirostat", options->mirostat, 0, 2, err));
    for (size_t i = 0; i < sizeof options->order / sizeof options->order[0]; i++)
        HEARTH_TRY(check_integer("order", options->order[i], 0, HEARTH_SAMPLER_STEPS, err));
    return check_biases(sampler, options, err);
}

/* Bytes of a caller's structure that are taken: as many as a version of the header had. A size between two counts as the smaller,
 * so that no half of a field is taken, and no pointer without its number. 0: not even the first version's. */
static size_t known_size(const hearth_sampling *sampling)
{
    static const size_t versions[] = {sizeof(hearth_sampling), offsetof(hearth_sampling, frequency_penalty), 0};
    size_t i = 0;
    while (sampling->struct_size < versions[i])
        i++;
    return versions[i];
}

hearth_status hearth_sampler_set(struct hearth_sampler *sampler, const hearth_sampling *sampling, hearth_error *err)
{
    const size_t known = known_size(sampling);
    hearth_sampling options;
    if (known == 0)
        return hearth_fail(err, HEARTH_E_CONFIG, NULL, "sampling: struct_size: too small (got %" PRIu32 ", need %zu)",
                           sampling->struct_size, offsetof(hearth_sampling, frequency_penalty));
    hearth_sampling_init(&options, sizeof options);
    memcpy(&options, sampling, known);
    HEARTH_TRY(check_options(sampler, &options, err));
    HEARTH_TRY(
        hearth_dry_set_breakers(sampler->dry, options.dry_breakers, options.dry_multiplier > 0 ? options.n_dry_breakers : 0, err));
    if (options.n_logit_bias > 0)
        memcpy(sampler->bias, options.logit_bias, options.n_logit_bias * sizeof sampler->bias[0]);
    options.logit_bias = NULL;
    options.dry_breakers = NULL;
    sampler->options = options;
    sampler->rng = hearth_rng_seed(options.seed);
    sampler->begun = false;
    sampler->chosen = HEARTH_TOKEN_NONE;
    return HEARTH_OK;
}

void hearth_sampler_accept(struct hearth_sampler *sampler, int32_t id)
{
    struct hearth_history *history = &sampler->history;
    if (id < 0 || (uint32_t)id >= sampler->n_vocab)
        return;
    if (id == sampler->chosen)
        sampler->learned = false;
    sampler->chosen = HEARTH_TOKEN_NONE;
    if (history->capacity == 0)
        return;
    history->ids[history->next] = id;
    history->next = history->next + 1 == history->capacity ? 0 : history->next + 1;
    if (history->n < history->capacity)
        history->n++;
}

void hearth_sampler_rewrite_history(struct hearth_sampler *sampler, const int32_t *ids, uint32_t n)
{
    sampler->history.n = 0;
    sampler->history.next = 0;
    sampler->chosen = HEARTH_TOKEN_NONE; /* it is not the next of the new text */
    for (uint32_t i = 0; i < n; i++)
        hearth_sampler_accept(sampler, ids[i]);
}

void hearth_sampler_allow(struct hearth_sampler *sampler, const uint64_t *allowed)
{
    sampler->allowed = allowed;
}

void hearth_sampler_reset(struct hearth_sampler *sampler)
{
    hearth_sampler_rewrite_history(sampler, NULL, 0);
    sampler->rng = hearth_rng_seed(sampler->options.seed);
    sampler->begun = false;
}

/* ---- Saving ------------------------------------------------------------------------------------------------------------- */

_Static_assert(sizeof(struct hearth_sampler_state) ==
                   7 * 8 + 16 * 4 + 14 * 4 + 5 * 4 + sizeof(struct hearth_dry_breakers) + HEARTH_LOGIT_BIAS_MAX * 8,
               "no padding");

void hearth_sampler_save(const struct hearth_sampler *sampler, struct hearth_sampler_state *out)
{
    const hearth_sampling *o = &sampler->options;
    *out = (struct hearth_sampler_state){.seed = o->seed,
                                         .rng = sampler->rng,
                                         .temperature = o->temperature,
                                         .top_p = o->top_p,
                                         .min_p = o->min_p,
                                         .repeat_penalty = o->repeat_penalty,
                                         .frequency_penalty = o->frequency_penalty,
                                         .presence_penalty = o->presence_penalty,
                                         .dry_multiplier = o->dry_multiplier,
                                         .dry_base = o->dry_base,
                                         .typical_p = o->typical_p,
                                         .top_n_sigma = o->top_n_sigma,
                                         .xtc_probability = o->xtc_probability,
                                         .xtc_threshold = o->xtc_threshold,
                                         .dynatemp_range = o->dynatemp_range,
                                         .dynatemp_exponent = o->dynatemp_exponent,
                                         .mirostat_tau = o->mirostat_tau,
                                         .mirostat_eta = o->mirostat_eta,
                                         .top_k = o->top_k,
                                         .repeat_last_n = o->repeat_last_n,
                                         .dry_allowed_length = o->dry_allowed_length,
                                         .dry_last_n = o->dry_last_n,
                                         .mirostat = o->mirostat,
                                         .chosen = sampler->chosen,
                                         .min_keep = o->min_keep,
                                         .n_logit_bias = o->n_logit_bias,
                                         .ignore_end = o->ignore_end,
                                         .learned = sampler->begun && sampler->learned,
                                         .begun = sampler->begun};
    memcpy(out->order, o->order, sizeof out->order);
    memcpy(out->bias, sampler->bias, o->n_logit_bias * sizeof out->bias[0]);
    hearth_dry_get_breakers(sampler->dry, &out->breakers);
    if (sampler->begun) {
        out->mu = sampler->mu;
        out->surprise = sampler->surprise;
    }
}

/* Options as a caller gives them; a breaker that does not fit is left empty, which no check lets pass. */
struct given_options {
    hearth_sampling options;
    const char *breakers[HEARTH_DRY_BREAKERS_MAX];
    char text[HEARTH_DRY_BREAKERS_BYTES + HEARTH_DRY_BREAKERS_MAX];
};

static void give_options(struct given_options *out, const struct hearth_sampler_state *s)
{
    uint32_t begin = 0;
    char *text = out->text;
    memset(out, 0, sizeof *out);
    out->options = (hearth_sampling){.struct_size = sizeof out->options,
                                     .top_k = s->top_k,
                                     .temperature = s->temperature,
                                     .top_p = s->top_p,
                                     .min_p = s->min_p,
                                     .repeat_penalty = s->repeat_penalty,
                                     .repeat_last_n = s->repeat_last_n,
                                     .seed = s->seed,
                                     .frequency_penalty = s->frequency_penalty,
                                     .presence_penalty = s->presence_penalty,
                                     .dry_multiplier = s->dry_multiplier,
                                     .dry_base = s->dry_base,
                                     .dry_allowed_length = s->dry_allowed_length,
                                     .dry_last_n = s->dry_last_n,
                                     .dry_breakers = out->breakers,
                                     .n_dry_breakers = s->breakers.n,
                                     .typical_p = s->typical_p,
                                     .top_n_sigma = s->top_n_sigma,
                                     .xtc_probability = s->xtc_probability,
                                     .xtc_threshold = s->xtc_threshold,
                                     .dynatemp_range = s->dynatemp_range,
                                     .dynatemp_exponent = s->dynatemp_exponent,
                                     .mirostat = s->mirostat,
                                     .mirostat_tau = s->mirostat_tau,
                                     .mirostat_eta = s->mirostat_eta,
                                     .min_keep = s->min_keep,
                                     .n_logit_bias = s->n_logit_bias,
                                     .logit_bias = s->bias,
                                     .ignore_end = s->ignore_end != 0};
    memcpy(out->options.order, s->order, sizeof s->order);
    for (uint32_t b = 0; b < s->breakers.n && b < HEARTH_DRY_BREAKERS_MAX; b++) {
        const uint32_t n = s->breakers.sizes[b] <= HEARTH_DRY_BREAKERS_BYTES - begin ? s->breakers.sizes[b] : 0;
        memcpy(text, s->breakers.text + begin, n);
        out->breakers[b] = text;
        begin += n;
        text += n + 1;
    }
}

hearth_status hearth_sampler_check(const struct hearth_sampler *sampler, const struct hearth_sampler_state *s, hearth_error *err)
{
    struct given_options given;
    give_options(&given, s);
    HEARTH_TRY(check_options(sampler, &given.options, err));
    HEARTH_TRY(hearth_dry_check_breakers(given.breakers, s->breakers.n, err));
    HEARTH_TRY(check_integer("chosen", s->chosen, HEARTH_TOKEN_NONE, (int32_t)(sampler->n_vocab - 1), err));
    if ((s->rng.s[0] | s->rng.s[1] | s->rng.s[2] | s->rng.s[3]) == 0)
        return hearth_fail(err, HEARTH_E_CONFIG, NULL, "sampling: the random stream is all zeros");
    return HEARTH_OK;
}

void hearth_sampler_restore(struct hearth_sampler *sampler, const struct hearth_sampler_state *s)
{
    struct given_options given;
    give_options(&given, s);
    (void)hearth_sampler_set(sampler, &given.options, NULL);
    sampler->rng = s->rng;
    sampler->mu = s->mu;
    sampler->surprise = s->surprise;
    sampler->chosen = s->chosen;
    sampler->learned = s->learned != 0;
    sampler->begun = s->begun != 0;
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

/* What was finite stays finite: only what is forbidden is -infinity. */
static float bounded(float value)
{
    return value > FLT_MAX ? FLT_MAX : value < -FLT_MAX ? -FLT_MAX : value + 0.0f;
}

static void apply_masks(struct hearth_sampler *sampler)
{
    for (uint32_t i = 0; i < sampler->n_vocab && sampler->allowed; i++)
        if (!(sampler->allowed[i / 64] >> i % 64 & 1))
            sampler->values[i] = -HUGE_VALF;
    float *values = sampler->values;
    if (sampler->options.ignore_end && sampler->tokenizer)
        for (uint32_t id = 0; id < sampler->n_vocab; id++)
            if (hearth_tokenizer_is_end(sampler->tokenizer, (int32_t)id))
                values[id] = -HUGE_VALF;
    for (uint32_t i = 0; i < sampler->options.n_logit_bias; i++) {
        float *value = &values[sampler->bias[i].token];
        if (sampler->bias[i].bias < -FLT_MAX)
            *value = -HUGE_VALF;
        else if (*value >= -FLT_MAX)
            *value = bounded(*value + sampler->bias[i].bias);
    }
}

static float penalised(const hearth_sampling *options, float logit, uint64_t count)
{
    const float value = bounded(logit <= 0.0f ? logit * options->repeat_penalty : logit / options->repeat_penalty);
    return bounded(value - (float)count * options->frequency_penalty - options->presence_penalty);
}

/* Repetition, frequency and presence: each token of the window once, however often it stands there. */
static void apply_penalties(struct hearth_sampler *sampler)
{
    const hearth_sampling *options = &sampler->options;
    const uint32_t window = hearth_history_window(&sampler->history, options->repeat_last_n);
    uint64_t *counts = sampler->candidates;
    if (options->repeat_penalty == 1.0f && options->frequency_penalty == 0.0f && options->presence_penalty == 0.0f)
        return;
    for (uint32_t i = 0; i < window; i++)
        counts[hearth_history_back(&sampler->history, i)] = 0;
    for (uint32_t i = 0; i < window; i++)
        counts[hearth_history_back(&sampler->history, i)]++;
    for (uint32_t i = 0; i < window; i++) {
        const int32_t id = hearth_history_back(&sampler->history, i);
        if (counts[id] > 0 && sampler->values[id] >= -FLT_MAX)
            sampler->values[id] = penalised(options, sampler->values[id], counts[id]);
        counts[id] = 0;
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

/* Those that are not forbidden. */
static void collect(struct hearth_sampler *sampler)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < sampler->n_vocab; i++) { /* without a branch; n <= i */
        sampler->candidates[n] = candidate_of(sampler->values[i], i);
        n += sampler->values[i] >= -FLT_MAX;
    }
    for (uint32_t i = n / 2; i-- > 0;)
        sink(sampler->candidates, i, n);
    sampler->n_candidates = n;
    sampler->n_heap = n;
    sampler->begin = 0;
    sampler->end = n;
    sampler->temperature = 1.0f;
}

/* The id of place i < n_candidates in the sorted list. */
static uint32_t sorted(struct hearth_sampler *sampler, uint32_t i)
{
    while (sampler->n_candidates - sampler->n_heap <= i) {
        const uint64_t best = sampler->candidates[0];
        sampler->candidates[0] = sampler->candidates[--sampler->n_heap];
        sink(sampler->candidates, 0, sampler->n_heap);
        sampler->candidates[sampler->n_heap] = best;
    }
    return (uint32_t)sampler->candidates[sampler->n_candidates - 1 - i];
}

static float value_at(struct hearth_sampler *sampler, uint32_t i)
{
    return sampler->values[sorted(sampler, i)];
}

/* d of the candidate at a place, see above; <= 0. */
static float distance(struct hearth_sampler *sampler, uint32_t i)
{
    return (value_at(sampler, i) - value_at(sampler, sampler->begin)) / sampler->temperature;
}

static float weight(struct hearth_sampler *sampler, uint32_t i)
{
    return hearth_expf(distance(sampler, i));
}

static uint32_t count_left(const struct hearth_sampler *sampler)
{
    return sampler->end - sampler->begin;
}

/* What every filter has to leave. */
static uint32_t least(const struct hearth_sampler *sampler)
{
    return sampler->options.min_keep > 1 ? sampler->options.min_keep : 1;
}

/* S over the candidates that are left: in sorted order, or by ids when none is missing, which spares the sorting. `mean` (may be
 * NULL) receives E[d]. */
static double sum_weights(struct hearth_sampler *sampler, double *mean)
{
    const bool all = count_left(sampler) == sampler->n_candidates;
    const uint32_t n = all ? sampler->n_vocab : count_left(sampler);
    const float top = value_at(sampler, sampler->begin);
    double sum = 0.0;
    double distances = 0.0;
    float d[EXP_CHUNK], w[EXP_CHUNK];
    for (uint32_t begin = 0; begin < n; begin += EXP_CHUNK) {
        const uint32_t count = n - begin < EXP_CHUNK ? n - begin : EXP_CHUNK;
        for (uint32_t i = 0; i < count; i++) {
            const uint32_t id = all ? begin + i : sorted(sampler, sampler->begin + begin + i);
            d[i] = (sampler->values[id] - top) / sampler->temperature;
        }
        if (sampler->exp)
            sampler->exp->exp(w, d, count);
        for (uint32_t i = 0; i < count; i++) {
            w[i] = sampler->exp ? w[i] : hearth_expf(d[i]);
            sum += (double)w[i];
        }
        for (uint32_t i = 0; mean && i < count; i++)
            distances += w[i] > 0.0f ? (double)w[i] * (double)d[i] : 0.0; /* d may be -infinity */
    }
    if (mean)
        *mean = distances / sum;
    return sum;
}

/* ---- Filters -------------------------------------------------------------------------------------------------------------- */

/* End the list after n candidates, or after as many as have to stay. */
static void keep_first(struct hearth_sampler *sampler, uint32_t n)
{
    const uint32_t kept = n > least(sampler) ? n : least(sampler);
    if (kept < count_left(sampler))
        sampler->end = sampler->begin + kept;
}

/* End the list before the first logit below `lowest`. */
static void keep_from(struct hearth_sampler *sampler, double lowest)
{
    uint32_t n = 1;
    while (n < count_left(sampler) && (double)value_at(sampler, sampler->begin + n) >= lowest)
        n++;
    keep_first(sampler, n);
}

/* In doubles: squares of floats and their sums are far from overflow. */
static void top_n_sigma(struct hearth_sampler *sampler)
{
    const double n_sigma = (double)sampler->options.top_n_sigma;
    const bool all = count_left(sampler) == sampler->n_candidates;
    const uint32_t n = all ? sampler->n_vocab : count_left(sampler);
    const double top = (double)value_at(sampler, sampler->begin);
    double sum = 0.0;
    double squares = 0.0;
    if (n_sigma <= 0.0)
        return;
    for (int pass = 0; pass < 2; pass++) {
        const double mean = sum / count_left(sampler);
        for (uint32_t i = 0; i < n; i++) {
            const float value = sampler->values[all ? i : sorted(sampler, sampler->begin + i)];
            const double from_top = (double)value - top;
            if (value < -FLT_MAX)
                continue;
            if (pass == 0)
                sum += from_top;
            else
                squares += (from_top - mean) * (from_top - mean);
        }
    }
    keep_from(sampler, top - n_sigma * sqrt(squares / count_left(sampler)));
}

static void top_k(struct hearth_sampler *sampler)
{
    if (sampler->options.top_k > 0)
        keep_first(sampler, (uint32_t)sampler->options.top_k);
}

/* -ln p - H = E[d] - d: what is nearest to the mean, on both sides of it; of equally near ones the more probable first. */
static void typical(struct hearth_sampler *sampler)
{
    const double p = (double)sampler->options.typical_p;
    if (p >= 1.0)
        return;
    double mean;
    const double all = sum_weights(sampler, &mean);
    uint32_t left = sampler->begin;
    while (left < sampler->end && (double)distance(sampler, left) > mean)
        left++;
    uint32_t right = left;
    double sum = 0.0;
    while (count_left(sampler) > right - left && (right - left < least(sampler) || sum <= p * all)) {
        const bool can_left = left > sampler->begin;
        const bool nearer = can_left && (right == sampler->end ||
                                         (double)distance(sampler, left - 1) - mean <= mean - (double)distance(sampler, right));
        sum += (double)weight(sampler, nearer ? --left : right++);
    }
    sampler->begin = left;
    sampler->end = right;
}

/* The lowest logit that min-p keeps. */
static double min_p_bound(struct hearth_sampler *sampler)
{
    const double p = (double)sampler->options.min_p;
    const double top = (double)value_at(sampler, sampler->begin);
    return p > 0.0 ? top + (double)sampler->temperature * hearth_log64(p) : -HUGE_VAL;
}

/* Where min-p is next, what it would drop is not even taken out of the heap. */
static void top_p(struct hearth_sampler *sampler)
{
    const double lowest = sampler->min_p_is_next ? min_p_bound(sampler) : -HUGE_VAL;
    if (sampler->options.top_p >= 1.0f)
        return;
    const double target = (double)sampler->options.top_p * sum_weights(sampler, NULL);
    double sum = 0.0;
    uint32_t n = 0;
    while (n < count_left(sampler) && (n == 0 || (sum < target && (double)value_at(sampler, sampler->begin + n) >= lowest)))
        sum += (double)weight(sampler, sampler->begin + n++);
    keep_first(sampler, n);
}

static void min_p(struct hearth_sampler *sampler)
{
    if (sampler->options.min_p > 0.0f)
        keep_from(sampler, min_p_bound(sampler));
}

/* Of the candidates above the threshold all but the last go. */
static void xtc(struct hearth_sampler *sampler)
{
    const hearth_sampling *options = &sampler->options;
    if (options->xtc_probability <= 0.0f || options->xtc_threshold > 0.5f)
        return;
    if (hearth_rng_uniform(&sampler->rng) > (double)options->xtc_probability)
        return;
    const double threshold = (double)options->xtc_threshold * sum_weights(sampler, NULL);
    uint32_t n = 0;
    while (n < count_left(sampler) && (double)weight(sampler, sampler->begin + n) >= threshold)
        n++;
    if (n >= 2 && count_left(sampler) - (n - 1) >= least(sampler))
        sampler->begin += n - 1;
}

/* x^exponent for x in [0, 1] and exponent >= 0. */
static double power(double x, double exponent)
{
    if (x < DBL_MIN)
        return exponent > 0.0 ? 0.0 : 1.0;
    const double log_power = exponent * hearth_log64(x);
    return log_power < -700.0 ? 0.0 : hearth_exp64(log_power < 0.0 ? log_power : 0.0);
}

/* With a range: colder where the model is sure (the entropy is small), hotter where it is not. */
static void temperature(struct hearth_sampler *sampler)
{
    const double t = (double)sampler->options.temperature;
    const double range = (double)sampler->options.dynatemp_range;
    sampler->temperature = sampler->options.temperature;
    if (range <= 0.0 || count_left(sampler) == 1)
        return;
    sampler->temperature = 1.0f;
    double mean;
    const double sum = sum_weights(sampler, &mean);
    const double entropy = hearth_log64(sum) - mean;
    const double low = t > range ? t - range : 0.0;
    const double share = entropy / hearth_log64((double)count_left(sampler));
    const double hot = low + (t + range - low) * power(share, (double)sampler->options.dynatemp_exponent);
    sampler->temperature = hot < (double)FLT_MAX ? (float)hot : FLT_MAX;
    if (sampler->temperature <= 0.0f) {
        sampler->temperature = 1.0f;
        sampler->end = sampler->begin + 1;
    }
}

static void filter(struct hearth_sampler *sampler)
{
    static void (*const steps[])(struct hearth_sampler *) = {[HEARTH_SAMPLER_TOP_N_SIGMA] = top_n_sigma,
                                                             [HEARTH_SAMPLER_TOP_K] = top_k,
                                                             [HEARTH_SAMPLER_TYPICAL] = typical,
                                                             [HEARTH_SAMPLER_TOP_P] = top_p,
                                                             [HEARTH_SAMPLER_MIN_P] = min_p,
                                                             [HEARTH_SAMPLER_XTC] = xtc,
                                                             [HEARTH_SAMPLER_TEMPERATURE] = temperature};
    static const int32_t usual[8] = {1, 2, 3, 4, 5, 6, 7};
    const int32_t *order = sampler->options.order[0] != 0 ? sampler->options.order : usual;
    for (int32_t i = 0; i < HEARTH_SAMPLER_STEPS && order[i] != 0; i++) {
        sampler->min_p_is_next = order[i + 1] == HEARTH_SAMPLER_MIN_P;
        steps[order[i]](sampler);
    }
}

/* ---- Drawing -------------------------------------------------------------------------------------------------------------- */

/* The place drawn. */
static uint32_t draw(struct hearth_sampler *sampler, double sum_of_weights)
{
    const double target = hearth_rng_uniform(&sampler->rng) * sum_of_weights;
    double sum = 0.0;
    uint32_t chosen = sampler->begin; /* its weight is 1 */
    for (uint32_t i = sampler->begin; i < sampler->end; i++) {
        const float w = weight(sampler, i);
        if (w == 0.0f)
            break; /* and so are all after it: rounding left none, the last one with a weight is taken */
        chosen = i;
        sum += (double)w;
        if (sum > target)
            break;
    }
    return chosen;
}

/* How many candidates version 1 keeps: it guesses the slope of the ranks from the first hundred. In logarithms, so that nothing
 * overflows. */
static uint32_t mirostat_1_count(struct hearth_sampler *sampler)
{
    const uint32_t n = count_left(sampler);
    const double log_vocab = hearth_log64((double)sampler->n_vocab);
    double products = 0.0;
    double squares = 0.0;
    for (uint32_t i = 0; i + 1 < n && i + 1 < 100; i++) {
        const double t = hearth_log64((double)(i + 2) / (double)(i + 1));
        products += t * ((double)distance(sampler, i) - (double)distance(sampler, i + 1));
        squares += t * t;
    }
    if (n == 1)
        return n;
    const double slope = products / squares;
    const double epsilon = slope - 1.0;
    double log_k = -hearth_log64(log_vocab); /* the limit for epsilon = 0 */
    if (epsilon > 1e-6 || epsilon < -1e-6) {
        const double x = -epsilon * log_vocab;
        log_k = hearth_log64(epsilon / (1.0 - hearth_exp64(x < -700.0 ? -700.0 : x)));
    }
    log_k = (log_k + sampler->mu * LN2) / slope;
    if (!(log_k < hearth_log64((double)n))) /* also for a slope of 0 */
        return n;
    const uint32_t k = log_k > 0.0 ? (uint32_t)hearth_exp64(log_k) : 1;
    return k > 1 ? k : 1;
}

/* Version 2 keeps what surprises by at most mu bits. */
static uint32_t mirostat_2_count(struct hearth_sampler *sampler)
{
    const double lowest = -sampler->mu * LN2 + hearth_log64(sum_weights(sampler, NULL));
    uint32_t n = 1;
    while (n < count_left(sampler) && (double)distance(sampler, n) >= lowest)
        n++;
    return n;
}

/* From the token accepted since the last draw, if it was the one drawn. */
static void learn(struct hearth_sampler *sampler)
{
    const double tau = (double)sampler->options.mirostat_tau;
    if (!sampler->begun)
        sampler->mu = 2 * tau;
    else if (!sampler->learned)
        sampler->mu -= (double)sampler->options.mirostat_eta * (sampler->surprise - tau);
    sampler->begun = true;
    sampler->learned = true;
}

static uint32_t draw_mirostat(struct hearth_sampler *sampler)
{
    learn(sampler);
    temperature(sampler);
    sampler->end = sampler->options.mirostat == 1 ? mirostat_1_count(sampler) : mirostat_2_count(sampler);
    const double sum = sum_weights(sampler, NULL);
    const uint32_t chosen = draw(sampler, sum);
    sampler->surprise = (hearth_log64(sum) - (double)distance(sampler, chosen)) / LN2;
    return chosen;
}

static hearth_status no_token_left(hearth_error *err)
{
    return hearth_fail(err, HEARTH_E_INFERENCE, NULL, "sampling: no token is left: every one is forbidden");
}

hearth_status hearth_sampler_choose(struct hearth_sampler *sampler, const struct hearth_kernel_set *kernels, const float *logits,
                                    int32_t *id, hearth_error *err)
{
    sampler->exp = kernels ? kernels->chosen[HEARTH_OP_EXP][0] : NULL;
    HEARTH_TRY(copy_logits(sampler, logits, err));
    apply_masks(sampler);
    apply_penalties(sampler);
    hearth_dry_apply(sampler->dry, &sampler->options, &sampler->history, sampler->values, sampler->candidates);
    if (sampler->options.temperature <= 0.0f) {
        const int32_t best = most_likely(sampler);
        if (sampler->values[best] < -FLT_MAX)
            return no_token_left(err);
        *id = best;
        return HEARTH_OK;
    }
    collect(sampler);
    if (sampler->n_candidates == 0)
        return no_token_left(err);
    if (sampler->options.mirostat != 0) {
        *id = (int32_t)sorted(sampler, draw_mirostat(sampler));
    } else {
        filter(sampler);
        *id = (int32_t)sorted(sampler, draw(sampler, sum_weights(sampler, NULL)));
    }
    sampler->chosen = *id;
    return HEARTH_OK;
}
