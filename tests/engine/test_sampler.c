/* The sampler against a slow one that sorts everything, and the generator against its published values. */
#include "common/real.h"
#include "cpu.h"
#include "dry.h"
#include "rng.h"
#include "sampler.h"
#include "support/gguf_builder.h"
#include "support/rng.h"
#include <criterion/criterion.h>
#include <float.h>
#include <stdlib.h>

Test(sampler, generator_gives_the_published_numbers)
{
    static const struct {
        uint64_t seed, next[4];
    } want[] = {
        {0, {0x99ec5f36cb75f2b4, 0xbf6e1f784956452a, 0x1a5f849d4933e6e0, 0x6aa594f1262d2d2c}},
        {1, {0xb3f2af6d0fc710c5, 0x853b559647364cea, 0x92f89756082a4514, 0x642e1c7bc266a3a7}},
        {42, {0x15780b2e0c2ec716, 0x6104d9866d113a7e, 0xae17533239e499a1, 0xecb8ad4703b360a1}},
    };
    for (size_t i = 0; i < 3; i++) {
        struct hearth_rng rng = hearth_rng_seed(want[i].seed);
        for (size_t j = 0; j < 4; j++)
            cr_expect_eq(hearth_rng_next(&rng), want[i].next[j]);
    }
    struct hearth_rng plain = {{1, 2, 3, 4}};
    static const uint64_t first[] = {11520, 0, 1509978240, 1215971899390074240};
    for (size_t j = 0; j < 4; j++)
        cr_expect_eq(hearth_rng_next(&plain), first[j]);
    struct hearth_rng zero = hearth_rng_seed(0);
    struct hearth_rng answer = hearth_rng_seed(42);
    static const double uniform[][3] = {{0.6012629994179048, 0.7477740925472398, 0.10301998939503632},
                                        {0.08386297105988216, 0.3789802506626686, 0.6800434110281394}};
    for (size_t j = 0; j < 3; j++) {
        cr_expect_eq(hearth_rng_uniform(&zero), uniform[0][j]);
        cr_expect_eq(hearth_rng_uniform(&answer), uniform[1][j]);
    }
    uint64_t state = 0;
    cr_expect_eq(hearth_splitmix64(&state), 0xe220a8397b1dcdaf);
    cr_expect_eq(hearth_splitmix64(&state), 0x6e789e6aa1b965f4);
}

static struct hearth_sampler *make(uint32_t n_vocab, uint32_t n_context)
{
    const size_t bytes = hearth_sampler_bytes(n_vocab, n_context);
    cr_assert_eq(bytes % 64, 0);
    void *memory = aligned_alloc(64, bytes);
    memset(memory, 0xee, bytes);
    return hearth_sampler_init(memory, n_vocab, n_context, NULL, NULL);
}

static hearth_sampling plain(void) /* every filter off */
{
    hearth_sampling s;
    hearth_sampling_init(&s, sizeof s);
    s.top_k = 0;
    s.top_p = 1.0f;
    s.min_p = 0.0f;
    s.temperature = 1.0f;
    return s;
}

static int32_t choose(struct hearth_sampler *sampler, const float *logits)
{
    int32_t id = -1;
    hearth_error error = {0};
    cr_assert_eq(hearth_sampler_choose(sampler, NULL, logits, &id, &error), HEARTH_OK, "%s", error.message);
    return id;
}

/* ---- The slow one: the rules as they are written, everything sorted ---------------------------------------------------------- */

#define SLOW_MAX 300

struct slow {
    float logit;
    int32_t id;
};

struct slow_list {
    struct slow at[SLOW_MAX];
    size_t n;
    float temperature;
    double p[SLOW_MAX]; /* of what is left now */
};

static int by_logit(const void *a, const void *b)
{
    const struct slow *x = a;
    const struct slow *y = b;
    if (x->logit != y->logit)
        return x->logit > y->logit ? -1 : 1;
    return x->id - y->id;
}

static void slow_probabilities(struct slow_list *list)
{
    double sum = 0;
    for (size_t i = 0; i < list->n; i++)
        sum += list->p[i] = (double)hearth_expf((list->at[i].logit - list->at[0].logit) / list->temperature);
    for (size_t i = 0; i < list->n; i++)
        list->p[i] /= sum;
}

static double slow_entropy(const struct slow_list *list)
{
    double h = 0;
    for (size_t i = 0; i < list->n; i++)
        h -= list->p[i] > 0 ? list->p[i] * log(list->p[i]) : 0;
    return h;
}

static void slow_cut(struct slow_list *list, const hearth_sampling *s, size_t n)
{
    const size_t least = s->min_keep > 1 ? s->min_keep : 1;
    n = n > least ? n : least;
    list->n = n < list->n ? n : list->n;
}

/* Nearest first, with room for rounding. Of equals on the likely side the last, on the other side the first, so that the list stays
 * in one piece. */
static void slow_typical(struct slow_list *list, const hearth_sampling *s)
{
    const double h = slow_entropy(list);
    bool kept[SLOW_MAX] = {false};
    double sum = 0;
    size_t n = 0;
    while (n < list->n && (n < 1 || n < s->min_keep || sum <= (double)s->typical_p)) {
        size_t best = SLOW_MAX;
        double nearest = 0;
        for (size_t i = 0; i < list->n; i++) {
            const double from = -log(list->p[i]) - h;
            const bool tie = best < SLOW_MAX && list->at[i].logit == list->at[best].logit;
            if (!kept[i] && (best == SLOW_MAX || (tie ? from < -1e-12 : fabs(from) < nearest - 1e-12))) {
                best = i;
                nearest = fabs(from);
            }
        }
        kept[best] = true;
        sum += list->p[best];
        n++;
    }
    n = 0;
    for (size_t i = 0; i < list->n; i++)
        if (kept[i])
            list->at[n++] = list->at[i];
    list->n = n;
}

static void slow_xtc(struct slow_list *list, const hearth_sampling *s, struct hearth_rng *rng)
{
    size_t above = 0;
    if (s->xtc_probability <= 0 || s->xtc_threshold > 0.5f || hearth_rng_uniform(rng) > (double)s->xtc_probability)
        return;
    while (above < list->n && list->p[above] >= (double)s->xtc_threshold)
        above++;
    if (above < 2 || list->n - (above - 1) < (s->min_keep > 1 ? s->min_keep : 1))
        return;
    list->n -= above - 1;
    memmove(list->at, list->at + above - 1, list->n * sizeof list->at[0]);
}

static void slow_top_n_sigma(struct slow_list *list, const hearth_sampling *s)
{
    double mean = 0;
    double variance = 0;
    for (size_t i = 0; i < list->n; i++)
        mean += (double)list->at[i].logit / (double)list->n;
    for (size_t i = 0; i < list->n; i++)
        variance += pow((double)list->at[i].logit - mean, 2) / (double)list->n;
    size_t n = 0;
    while (n < list->n && (double)list->at[n].logit >= (double)list->at[0].logit - (double)s->top_n_sigma * sqrt(variance))
        n++;
    slow_cut(list, s, n);
}

static void slow_temperature(struct slow_list *list, const hearth_sampling *s)
{
    const double low = fmax(0, (double)s->temperature - (double)s->dynatemp_range);
    const double high = (double)s->temperature + (double)s->dynatemp_range;
    const double share = slow_entropy(list) / log((double)list->n);
    list->temperature = s->temperature;
    if (s->dynatemp_range > 0 && list->n > 1)
        list->temperature = (float)(low + (high - low) * pow(fmax(share, 0), (double)s->dynatemp_exponent));
    if (list->temperature <= 0) {
        list->n = 1;
        list->temperature = 1;
    }
}

static void slow_step(struct slow_list *list, const hearth_sampling *s, int32_t step, struct hearth_rng *rng)
{
    double sum = 0;
    size_t n = 0;
    list->temperature = step == HEARTH_SAMPLER_TEMPERATURE ? 1.0f : list->temperature; /* a second one starts from the logits */
    slow_probabilities(list);
    switch (step) {
    case HEARTH_SAMPLER_TOP_N_SIGMA:
        if (s->top_n_sigma > 0)
            slow_top_n_sigma(list, s);
        return;
    case HEARTH_SAMPLER_TOP_K:
        if (s->top_k > 0)
            slow_cut(list, s, (size_t)s->top_k);
        return;
    case HEARTH_SAMPLER_TYPICAL:
        if (s->typical_p < 1)
            slow_typical(list, s);
        return;
    case HEARTH_SAMPLER_TOP_P:
        while (n < list->n && (s->top_p >= 1 || n == 0 || sum < (double)s->top_p))
            sum += list->p[n++];
        slow_cut(list, s, n);
        return;
    case HEARTH_SAMPLER_MIN_P:
        while (n < list->n && (s->min_p <= 0 || (double)(list->at[n].logit - list->at[0].logit) / (double)list->temperature >=
                                                    log((double)s->min_p)))
            n++;
        slow_cut(list, s, n);
        return;
    case HEARTH_SAMPLER_XTC:
        slow_xtc(list, s, rng);
        return;
    case HEARTH_SAMPLER_TEMPERATURE:
        slow_temperature(list, s);
        return;
    default:
        return;
    }
}

static size_t slow_draw(struct slow_list *list, struct hearth_rng *rng)
{
    const double u = hearth_rng_uniform(rng);
    double sum = 0;
    slow_probabilities(list);
    for (size_t i = 0; i < list->n; i++) {
        sum += list->p[i];
        if (sum > u)
            return i;
    }
    return list->n - 1;
}

static size_t slow_window(int32_t last_n, size_t n_history)
{
    return last_n < 0 || (size_t)last_n > n_history ? n_history : (size_t)last_n;
}

/* Repetitions by comparing every suffix; no breakers. */
static void slow_dry(const hearth_sampling *s, float *logits, const int32_t *history, size_t n_history)
{
    const size_t n = slow_window(s->dry_last_n, n_history);
    const int32_t *h = history + (n_history - n);
    int64_t best[SLOW_MAX];
    memset(best, 0xff, sizeof best);
    for (size_t j = 0; j + 1 < n; j++) {
        int64_t m = 0;
        while (m <= (int64_t)j && h[(int64_t)j - m] == h[(int64_t)n - 1 - m])
            m++;
        best[h[j + 1]] = m > best[h[j + 1]] ? m : best[h[j + 1]];
    }
    for (size_t i = 0; s->dry_multiplier > 0 && (int64_t)n > s->dry_allowed_length && i < SLOW_MAX; i++)
        if (best[i] >= s->dry_allowed_length)
            logits[i] = (float)((double)logits[i] -
                                (double)s->dry_multiplier * pow((double)s->dry_base, (double)(best[i] - s->dry_allowed_length)));
}

static void slow_logits(const hearth_sampling *s, float *logits, int32_t n, const int32_t *history, size_t n_history)
{
    for (uint32_t i = 0; i < s->n_logit_bias; i++)
        logits[s->logit_bias[i].token] += s->logit_bias[i].bias;
    for (int32_t i = 0; i < n; i++) {
        int count = 0;
        for (size_t j = n_history - slow_window(s->repeat_last_n, n_history); j < n_history; j++)
            count += history[j] == i;
        if (count == 0)
            continue;
        logits[i] = logits[i] <= 0 ? logits[i] * s->repeat_penalty : logits[i] / s->repeat_penalty;
        logits[i] = logits[i] - (float)count * s->frequency_penalty - s->presence_penalty;
    }
    slow_dry(s, logits, history, n_history);
}

static int32_t slow_choose(const hearth_sampling *s, struct hearth_rng *rng, const float *given, int32_t n, const int32_t *history,
                           int32_t n_history)
{
    float logits[SLOW_MAX];
    struct slow_list list = {.temperature = 1};
    memcpy(logits, given, (size_t)n * sizeof *logits);
    slow_logits(s, logits, n, history, (size_t)n_history);
    for (int32_t i = 0; i < n; i++)
        if (logits[i] > -INFINITY)
            list.at[list.n++] = (struct slow){logits[i], i};
    qsort(list.at, list.n, sizeof list.at[0], by_logit);
    if (s->temperature <= 0)
        return list.at[0].id;
    for (int32_t i = 0; i < HEARTH_SAMPLER_STEPS; i++)
        slow_step(&list, s, s->order[0] ? s->order[i] : i + 1, rng);
    return list.at[slow_draw(&list, rng)].id;
}

/* Half of the filters on, at random. */
static hearth_sampling random_sampling(struct rng *rng, uint32_t n, hearth_logit_bias *bias)
{
    hearth_sampling s = plain();
    s.seed = rng_next(rng);
    s.top_k = rng_below(rng, 2) ? (int32_t)rng_below(rng, n + 10) : 0;
    s.top_p = rng_below(rng, 2) ? rng_uniform(rng, 0.0f, 1.0f) : 1.0f;
    s.min_p = rng_below(rng, 2) ? rng_uniform(rng, 0.0f, 0.3f) : 0.0f;
    s.typical_p = rng_below(rng, 2) ? rng_uniform(rng, 0.0f, 1.0f) : 1.0f;
    s.top_n_sigma = rng_below(rng, 2) ? rng_uniform(rng, 0.0f, 3.0f) : 0.0f;
    s.xtc_probability = rng_below(rng, 2) ? rng_uniform(rng, 0.0f, 1.0f) : 0.0f;
    s.xtc_threshold = rng_uniform(rng, 0.0f, 0.6f);
    s.dynatemp_range = rng_below(rng, 3) ? 0.0f : rng_uniform(rng, 0.0f, 2.0f);
    s.dynatemp_exponent = rng_uniform(rng, 0.0f, 3.0f);
    s.min_keep = rng_below(rng, 2) ? rng_below(rng, 12) : 0;
    s.repeat_penalty = rng_below(rng, 2) ? rng_uniform(rng, 0.5f, 3.0f) : 1.0f;
    s.frequency_penalty = rng_below(rng, 2) ? rng_uniform(rng, -1.0f, 1.0f) : 0.0f;
    s.presence_penalty = rng_below(rng, 2) ? rng_uniform(rng, -1.0f, 1.0f) : 0.0f;
    s.repeat_last_n = (int32_t)rng_below(rng, 50) - 1;
    s.dry_multiplier = rng_below(rng, 2) ? rng_uniform(rng, 0.1f, 2.0f) : 0.0f;
    s.dry_base = rng_uniform(rng, 1.0f, 2.0f);
    s.dry_allowed_length = (int32_t)rng_below(rng, 4);
    s.dry_last_n = (int32_t)rng_below(rng, 50) - 1;
    s.temperature = rng_below(rng, 5) ? rng_uniform(rng, 0.1f, 3.0f) : 0.0f;
    s.logit_bias = bias;
    s.n_logit_bias = rng_below(rng, 2) ? n / 4 : 0;
    for (uint32_t i = 0; i < s.n_logit_bias; i++) /* never the last token, so that one is left */
        bias[i] = (hearth_logit_bias){(int32_t)rng_below(rng, n - 1), rng_below(rng, 3) ? rng_uniform(rng, -3, 3) : -INFINITY};
    for (uint32_t i = 0; rng_below(rng, 2) && i < HEARTH_SAMPLER_STEPS; i++)
        s.order[i] = (int32_t)(1 + rng_below(rng, HEARTH_SAMPLER_STEPS));
    return s;
}

Test(sampler, equals_sorting_everything)
{
    struct rng rng = rng_start();
    for (int round = 0; round < 2000; round++) {
        const uint32_t n = 1 + rng_below(&rng, SLOW_MAX);
        const uint32_t context = 1 + rng_below(&rng, 40);
        const uint32_t n_used = 1 + rng_below(&rng, n); /* few: repetitions */
        hearth_logit_bias bias[SLOW_MAX];
        const hearth_sampling s = random_sampling(&rng, n, bias);
        struct hearth_sampler *sampler = make(n, context);
        cr_assert_eq(hearth_sampler_set(sampler, &s, NULL), HEARTH_OK);
        struct hearth_rng stream = hearth_rng_seed(s.seed);
        int32_t history[64];
        int32_t n_history = 0;
        for (int draw = 0; draw < 12; draw++) {
            float logits[SLOW_MAX];
            const bool coarse = rng_below(&rng, 2); /* many ties, zeros of both signs */
            for (uint32_t i = 0; i < n; i++)
                logits[i] =
                    coarse ? (float)((int)rng_below(&rng, 7) - 3) * (rng_below(&rng, 2) ? 1.0f : -1.0f) : rng_uniform(&rng, -9, 9);
            const int32_t want = slow_choose(&s, &stream, logits, (int32_t)n, history, n_history);
            const int32_t got = choose(sampler, logits);
            cr_assert_eq(got, want, "round %d draw %d: %d, need %d", round, draw, got, want);
            for (uint32_t times = rng_below(&rng, 9); times > 0; times--) {
                const int32_t accepted = (int32_t)rng_below(&rng, n_used < 4 || rng_below(&rng, 2) ? n_used : 4);
                hearth_sampler_accept(sampler, accepted);
                if (n_history == (int32_t)context)
                    memmove(history, history + 1, (size_t)--n_history * sizeof *history);
                history[n_history++] = accepted;
            }
        }
        free(sampler);
    }
}

/* Both versions against their formulas in plain double precision, over steps in which mu moves. */
static int32_t slow_mirostat(const hearth_sampling *s, struct hearth_rng *rng, const float *logits, int32_t n_vocab, double *mu)
{
    struct slow_list list = {.temperature = s->temperature, .n = (size_t)n_vocab};
    for (int32_t i = 0; i < n_vocab; i++)
        list.at[i] = (struct slow){logits[i], i};
    qsort(list.at, list.n, sizeof list.at[0], by_logit);
    slow_probabilities(&list);
    size_t n = 0;
    if (s->mirostat == 2) {
        while (n < list.n && -log2(list.p[n]) <= *mu)
            n++;
    } else {
        double products = 0;
        double squares = 0;
        for (size_t i = 0; i + 1 < 100 && i + 1 < list.n; i++) {
            const double t = log((double)(i + 2) / (double)(i + 1));
            products += t * log(list.p[i] / list.p[i + 1]);
            squares += t * t;
        }
        const double slope = products / squares;
        const double epsilon = slope - 1;
        const double k = pow(epsilon * pow(2, *mu) / (1 - pow(n_vocab, -epsilon)), 1 / slope);
        n = isfinite(k) && k < (double)list.n ? (size_t)k : list.n;
    }
    list.n = n > 1 ? n : 1;
    const size_t chosen = slow_draw(&list, rng);
    *mu -= (double)s->mirostat_eta * (-log2(list.p[chosen]) - (double)s->mirostat_tau);
    return list.at[chosen].id;
}

Test(sampler, mirostat_equals_its_formulas)
{
    struct rng rng = rng_start();
    for (int round = 0; round < 300; round++) {
        const uint32_t n = 2 + rng_below(&rng, SLOW_MAX - 1);
        hearth_sampling s = plain();
        s.seed = rng_next(&rng);
        s.mirostat = 1 + round % 2;
        s.mirostat_tau = rng_uniform(&rng, 0.5f, 8.0f);
        s.mirostat_eta = rng_uniform(&rng, 0.0f, 1.0f);
        s.temperature = rng_uniform(&rng, 0.3f, 2.0f);
        s.top_k = 1; /* filters are not asked */
        struct hearth_sampler *sampler = make(n, 4);
        cr_assert_eq(hearth_sampler_set(sampler, &s, NULL), HEARTH_OK);
        struct hearth_rng stream = hearth_rng_seed(s.seed);
        double mu = 2 * (double)s.mirostat_tau;
        for (int step = 0; step < 40; step++) {
            float logits[SLOW_MAX];
            for (uint32_t i = 0; i < n; i++)
                logits[i] = rng_uniform(&rng, -6, 6);
            const int32_t want = slow_mirostat(&s, &stream, logits, (int32_t)n, &mu);
            const int32_t got = choose(sampler, logits);
            cr_assert_eq(got, want, "round %d step %d: %d, need %d", round, step, got, want);
            hearth_sampler_accept(sampler, got);
            hearth_sampler_accept(sampler, got); /* learnt once */
        }
        free(sampler);
    }
}

Test(sampler, mirostat_with_flat_and_steep_logits)
{
    static const float flat[4] = {1, 1, 1, 1};
    static const float steep[4] = {FLT_MAX, 0, -FLT_MAX, -FLT_MAX};
    struct hearth_sampler *sampler = make(4, 4);
    for (int32_t version = 1; version <= 2; version++) {
        hearth_sampling s = plain();
        s.mirostat = version;
        s.mirostat_tau = 3; /* more than the two bits there are: all stay */
        cr_assert_eq(hearth_sampler_set(sampler, &s, NULL), HEARTH_OK);
        int counts[4] = {0};
        for (int i = 0; i < 400; i++)
            counts[choose(sampler, flat)]++;
        for (int i = 0; i < 4; i++)
            cr_expect_gt(counts[i], 60, "version %d: %d", version, i);
        cr_expect_eq(choose(sampler, steep), 0);
        s.mirostat_tau = 0; /* nothing may surprise */
        cr_assert_eq(hearth_sampler_set(sampler, &s, NULL), HEARTH_OK);
        for (int i = 0; i < 20; i++)
            cr_expect_eq(choose(sampler, flat), 0);
    }
    free(sampler);
}

/* ---- Single rules ---------------------------------------------------------------------------------------------------------- */

Test(sampler, greedy_takes_the_lowest_id_of_equals)
{
    struct hearth_sampler *sampler = make(5, 4);
    hearth_sampling s = plain();
    s.temperature = 0.0f;
    cr_assert_eq(hearth_sampler_set(sampler, &s, NULL), HEARTH_OK);
    cr_expect_eq(choose(sampler, (const float[]){1, 3, 2, 3, 3}), 1);
    cr_expect_eq(choose(sampler, (const float[]){-1, -0.0f, 0.0f, -5, 0.0f}), 1);
    cr_expect_eq(choose(sampler, (const float[]){-FLT_MAX, -FLT_MAX, -FLT_MAX, -FLT_MAX, -FLT_MAX}), 0);
    free(sampler);
}

Test(sampler, narrow_filters_leave_the_best)
{
    static const float logits[] = {1, 3, 2, 3, 0};
    struct hearth_sampler *sampler = make(5, 4);
    for (int filter = 0; filter < 3; filter++) {
        hearth_sampling s = plain();
        s.temperature = 5.0f;
        if (filter == 0)
            s.top_k = 1;
        else if (filter == 1)
            s.top_p = 0.0f;
        else
            s.min_p = 1.0f;
        cr_assert_eq(hearth_sampler_set(sampler, &s, NULL), HEARTH_OK);
        int counts[5] = {0};
        for (int i = 0; i < 200; i++)
            counts[choose(sampler, logits)]++;
        cr_expect_eq(counts[1] + (filter == 2 ? counts[3] : 0), 200, "filter %d", filter);
        cr_expect(filter != 2 || counts[3] > 60); /* min-p keeps equals */
    }
    free(sampler);
}

Test(sampler, draws_with_the_right_frequencies)
{
    enum { DRAWS = 200000 };
    static const float logits[] = {0.5f, -1.0f, 2.0f, 0.0f, 1.0f, -3.0f};
    struct hearth_sampler *sampler = make(6, 4);
    hearth_sampling s = plain();
    s.temperature = 0.7f;
    s.seed = 11;
    cr_assert_eq(hearth_sampler_set(sampler, &s, NULL), HEARTH_OK);
    int counts[6] = {0};
    for (int i = 0; i < DRAWS; i++)
        counts[choose(sampler, logits)]++;
    double all = 0;
    for (int i = 0; i < 6; i++)
        all += exp((double)logits[i] / 0.7);
    for (int i = 0; i < 6; i++) {
        const double p = exp((double)logits[i] / 0.7) / all;
        const double deviation = fabs(counts[i] - p * DRAWS) / sqrt(DRAWS * p * (1 - p));
        cr_expect_lt(deviation, 4.5, "id %d: %d draws, %g expected", i, counts[i], p * DRAWS);
    }
    free(sampler);
}

Test(sampler, penalty_counts_a_token_once_and_forgets)
{
    static const float logits[] = {1.0f, 1.5f, 0.9f};
    struct hearth_sampler *sampler = make(3, 3);
    hearth_sampling s = plain();
    s.temperature = 0.0f;
    s.repeat_penalty = 1.6f;
    s.repeat_last_n = 2;
    cr_assert_eq(hearth_sampler_set(sampler, &s, NULL), HEARTH_OK);
    cr_expect_eq(choose(sampler, logits), 1);
    hearth_sampler_accept(sampler, 1);
    hearth_sampler_accept(sampler, 1);
    cr_expect_eq(choose(sampler, logits), 0); /* 1.5 / 1.6 = 0.94: twice would fall behind 0.9 */
    hearth_sampler_accept(sampler, 0);
    cr_expect_eq(choose(sampler, logits), 1); /* 1 / 1.6 and 1.5 / 1.6 */
    hearth_sampler_accept(sampler, -1);
    hearth_sampler_accept(sampler, 3); /* not in the vocabulary: ignored */
    hearth_sampler_accept(sampler, 2);
    cr_expect_eq(choose(sampler, logits), 1); /* the window holds 0 and 2 */
    s.repeat_last_n = -1;
    cr_assert_eq(hearth_sampler_set(sampler, &s, NULL), HEARTH_OK); /* the history stays: 1, 0, 2 */
    cr_expect_eq(choose(sampler, logits), 1);
    hearth_sampler_reset(sampler);
    hearth_sampler_accept(sampler, 1);
    cr_expect_eq(choose(sampler, logits), 0);
    s.repeat_last_n = 0;
    cr_assert_eq(hearth_sampler_set(sampler, &s, NULL), HEARTH_OK);
    cr_expect_eq(choose(sampler, logits), 1);
    free(sampler);
    sampler = make(3, 0); /* nowhere to remember anything */
    hearth_sampler_accept(sampler, 1);
    (void)choose(sampler, logits);
    free(sampler);
}

Test(sampler, the_seed_decides)
{
    float logits[100];
    for (int i = 0; i < 100; i++)
        logits[i] = (float)(i % 10) * 0.1f;
    struct hearth_sampler *sampler = make(100, 8);
    hearth_sampling s = plain();
    int32_t ids[3][20];
    for (int run = 0; run < 3; run++) {
        s.seed = run == 2 ? 6 : 5;
        cr_assert_eq(hearth_sampler_set(sampler, &s, NULL), HEARTH_OK);
        for (int i = 0; i < 20; i++)
            ids[run][i] = choose(sampler, logits);
    }
    cr_expect_arr_eq(ids[0], ids[1], sizeof ids[0]);
    cr_expect_neq(memcmp(ids[0], ids[2], sizeof ids[0]), 0);
    hearth_sampler_reset(sampler);
    for (int i = 0; i < 20; i++)
        cr_expect_eq(choose(sampler, logits), ids[2][i]);
    free(sampler);
}

Test(sampler, kernels_change_nothing)
{
    enum { VOCAB = 1000 };
    struct hearth_kernel_set kernels;
    hearth_kernels_choose(&kernels, hearth_cpu_detect(), NULL);
    struct rng rng = rng_start();
    struct hearth_sampler *with = make(VOCAB, 8);
    struct hearth_sampler *without = make(VOCAB, 8);
    for (int round = 0; round < 50; round++) {
        hearth_sampling s = plain();
        s.seed = rng_next(&rng);
        s.top_k = rng_below(&rng, 2) ? 0 : 300;
        s.top_p = rng_below(&rng, 2) ? 1.0f : 0.9f;
        s.typical_p = rng_below(&rng, 2) ? 1.0f : 0.7f;
        s.dynatemp_range = rng_below(&rng, 2) ? 0.0f : 0.4f;
        s.mirostat = (int32_t)rng_below(&rng, 3);
        cr_assert_eq(hearth_sampler_set(with, &s, NULL), HEARTH_OK);
        cr_assert_eq(hearth_sampler_set(without, &s, NULL), HEARTH_OK);
        float logits[VOCAB];
        for (int i = 0; i < VOCAB; i++)
            logits[i] = rng_uniform(&rng, -20, 20);
        int32_t id;
        cr_assert_eq(hearth_sampler_choose(with, &kernels, logits, &id, NULL), HEARTH_OK);
        cr_expect_eq(id, choose(without, logits));
    }
    free(with);
    free(without);
}

/* ---- DRY and its breakers ------------------------------------------------------------------------------------------------------
 */

struct fixture {
    struct gguf_builder builder;
    uint8_t *file;
    struct hearth_gguf gguf;
    struct hearth_tokenizer *tokenizer;
    void *tables, *scratch;
};

static void make_tokenizer(struct fixture *f)
{
    struct hearth_vocab vocab;
    uint64_t bytes;
    size_t size;
    gguf_builder_init(&f->builder);
    gguf_builder_add_spm_vocabulary(&f->builder, 300);
    gguf_builder_replace_string(&f->builder, "tokenizer.ggml.tokens", 299, "x:y", 3);
    f->file = gguf_builder_finish(&f->builder, &size);
    cr_assert_eq(hearth_gguf_parse(&f->gguf, f->file, size, size, "test.gguf", NULL), HEARTH_OK);
    cr_assert_eq(hearth_vocab_read(&vocab, &f->gguf, 0, NULL, NULL, NULL), HEARTH_OK);
    cr_assert_eq(hearth_tokenizer_plan(&vocab, "test.gguf", &bytes, NULL), HEARTH_OK);
    f->tables = aligned_alloc(64, bytes);
    f->scratch = malloc(HEARTH_TOKENIZER_SCRATCH);
    cr_assert_eq(hearth_tokenizer_init(&f->tokenizer, f->tables, bytes, &vocab, "test.gguf", NULL), HEARTH_OK);
}

static void end_tokenizer(struct fixture *f)
{
    free(f->tables);
    free(f->scratch);
    hearth_gguf_free(&f->gguf);
    free(f->file);
    gguf_builder_free(&f->builder);
}

/* The id of a character; '$' is the end token, '#' the token "x:y". */
static int32_t letter(const struct fixture *f, char c)
{
    int32_t id;
    size_t n;
    if (c == '$' || c == '#')
        return c == '$' ? 2 : 299;
    cr_assert_eq(hearth_tokenizer_encode(f->tokenizer, f->scratch, &c, 1, HEARTH_TOKENIZER_CONTINUE, &id, 1, &n), HEARTH_OK);
    cr_assert_eq(n, 1);
    return id;
}

/* After this history, what is left of logits of 0 with multiplier 1 and base 2: `want` lists pairs of a character and the length by
 * which its repetition is longer than allowed; nothing else is changed. */
static void expect_dry(const char *history, const char *breaker, int32_t allowed, const char *want)
{
    struct fixture f;
    make_tokenizer(&f);
    const size_t bytes = hearth_dry_bytes(300, 64);
    void *memory = aligned_alloc(64, bytes);
    memset(memory, 0xee, bytes);
    struct hearth_dry *dry = hearth_dry_init(memory, 300, 64, f.tokenizer, f.scratch);
    const hearth_sampling s = {.dry_multiplier = 1, .dry_base = 2, .dry_allowed_length = allowed, .dry_last_n = -1};
    cr_assert_eq(hearth_dry_set_breakers(dry, &breaker, breaker ? 1 : 0, NULL), HEARTH_OK);
    int32_t ring[64];
    struct hearth_history h = {.ids = ring, .capacity = 64, .next = 60}; /* around the end of the ring */
    for (const char *c = history; *c; c++) {
        ring[h.next] = letter(&f, *c);
        h.next = (h.next + 1) % 64;
        h.n++;
    }
    float values[300] = {0}, expected[300] = {0};
    uint64_t best[300];
    memset(best, 0xee, sizeof best);
    for (const char *c = want; *c; c += 2)
        expected[letter(&f, c[0])] = -(float)(1 << (c[1] - '0'));
    hearth_dry_apply(dry, &s, &h, values, best);
    for (int i = 0; i < 300; i++)
        cr_expect_float_eq(values[i], expected[i], 1e-4f, "'%s' breaker '%s': token %d is %g, need %g", history,
                           breaker ? breaker : "none", i, (double)values[i], (double)expected[i]);
    free(memory);
    end_tokenizer(&f);
}

Test(sampler, dry_lowers_what_continues_a_repetition)
{
    expect_dry("abcdabc", NULL, 2, "d1");
    expect_dry("abcdabc", NULL, 3, "d0");
    expect_dry("abcdabc", NULL, 4, "");
    expect_dry("abcdebcfabc", NULL, 2, "d1f0"); /* "abc" and "bc" stood before */
    expect_dry("aaaa", NULL, 1, "a2");          /* repetitions overlap */
    expect_dry("ab", NULL, 2, "");
    expect_dry("a", NULL, 0, "");
    expect_dry("ab", NULL, 0, "b0");
    expect_dry("", NULL, 0, "");
}

Test(sampler, dry_follows_nothing_across_a_breaker)
{
    expect_dry("abcdabc", ":", 2, "d1");
    expect_dry("a:cda:c", ":", 2, "");   /* one token after the last breaker */
    expect_dry("a:cda:c", ":", 1, "d0"); /* which counts as it is */
    expect_dry("a:bca:bc", ":", 1, "a1");
    expect_dry(":a:a", ":", 1, "");         /* a breaker itself is not lowered */
    expect_dry("a#cda#c", ":", 1, "d0");    /* inside a token */
    expect_dry("a$cda$c", "</s>", 1, "d0"); /* the name of a special token */
    expect_dry("abcdabc", "bc", 2, "");     /* over two tokens; it ends where the text ends */
    expect_dry("abcdeabcd", "bc", 1, "e0");
    expect_dry("abdeabd", "bc", 1, "e2");   /* its head alone is none */
    expect_dry("abcdabcab", "bcab", 1, ""); /* over four */
    expect_dry("cabxcab", "abc", 1, "x2");  /* unfinished at the end of the text */
}

Test(sampler, refuses_breakers)
{
    char many[41 + 1], *list[17];
    memset(many, 'x', 41);
    many[41] = '\0';
    for (int i = 0; i < 17; i++)
        list[i] = many + 1 + (i < 7 ? 0 : 39);
    static const struct {
        uint32_t n;
        const char *message;
    } cases[] = {{17, "too many"}, {7, "too long together"}};
    struct hearth_sampler *sampler = make(300, 8);
    hearth_sampling s = plain();
    hearth_error error;
    s.dry_multiplier = 1;
    for (size_t i = 0; i < 2; i++) {
        s.dry_breakers = (const char *const *)list;
        s.n_dry_breakers = cases[i].n;
        cr_expect_eq(hearth_sampler_set(sampler, &s, &error), HEARTH_E_CONFIG);
        cr_expect_not_null(strstr(error.message, cases[i].message), "%s", error.message);
    }
    s.n_dry_breakers = 6;
    cr_expect_eq(hearth_sampler_set(sampler, &s, NULL), HEARTH_OK);
    s.n_dry_breakers = 1;
    for (int i = 0; i < 3; i++) {
        const char *one = i == 0 ? "" : i == 1 ? many : NULL;
        s.dry_breakers = &one;
        cr_expect_eq(hearth_sampler_set(sampler, &s, &error), HEARTH_E_CONFIG);
        cr_expect_not_null(strstr(error.message, "dry_breakers[0]: length"), "%s", error.message);
    }
    s.dry_breakers = NULL;
    cr_expect_eq(hearth_sampler_set(sampler, &s, NULL), HEARTH_E_CONFIG);
    s.dry_multiplier = 0; /* nobody asks for them */
    cr_expect_eq(hearth_sampler_set(sampler, &s, NULL), HEARTH_OK);
    free(sampler);
}

Test(sampler, ends_can_be_forbidden)
{
    struct fixture f;
    make_tokenizer(&f);
    void *memory = aligned_alloc(64, hearth_sampler_bytes(300, 8));
    struct hearth_sampler *sampler = hearth_sampler_init(memory, 300, 8, f.tokenizer, f.scratch);
    hearth_sampling s = plain();
    float logits[300] = {[1] = 3, [2] = 9};
    for (int32_t mirostat = 0; mirostat < 3; mirostat++) {
        s.mirostat = mirostat;
        s.mirostat_tau = 0.01f;
        s.temperature = 0.01f;
        s.ignore_end = false;
        cr_assert_eq(hearth_sampler_set(sampler, &s, NULL), HEARTH_OK);
        cr_expect_eq(choose(sampler, logits), 2);
        s.ignore_end = true;
        cr_assert_eq(hearth_sampler_set(sampler, &s, NULL), HEARTH_OK);
        cr_expect_eq(choose(sampler, logits), 1);
    }
    free(memory);
    end_tokenizer(&f);
}

/* ---- What is refused --------------------------------------------------------------------------------------------------------- */

Test(sampler, refuses_values_out_of_range_and_stays_as_it_was)
{
    struct hearth_sampler *sampler = make(3, 4);
    hearth_sampling good = plain();
    good.temperature = 0.0f;
    cr_assert_eq(hearth_sampler_set(sampler, &good, NULL), HEARTH_OK);
    static const float bad_unit[] = {NAN, INFINITY, -INFINITY, -0.01f, 1.01f};
    static const float bad_scale[] = {NAN, INFINITY, -INFINITY, -0.01f, -1.0f};
    for (int i = 0; i < 5 * 4 + 3; i++) {
        hearth_sampling s = plain();
        const char *field;
        switch (i / 5) {
        case 0:
            field = "top_p: out of range";
            s.top_p = bad_unit[i % 5];
            break;
        case 1:
            field = "min_p: out of range";
            s.min_p = bad_unit[i % 5];
            break;
        case 2:
            field = "temperature: out of range";
            s.temperature = bad_scale[i % 5];
            break;
        case 3:
            field = "repeat_penalty: out of range";
            s.repeat_penalty = i % 5 == 4 ? 0.0f : bad_scale[i % 5];
            break;
        default:
            field = i % 5 == 0 ? "repeat_last_n: out of range (got -2" : "struct_size: too small";
            s.repeat_last_n = i % 5 == 0 ? -2 : 64;
            s.struct_size = i % 5 == 0 ? s.struct_size : (uint32_t)(i % 5 - 1) * 4;
        }
        hearth_error error;
        cr_expect_eq(hearth_sampler_set(sampler, &s, &error), HEARTH_E_CONFIG, "case %d", i);
        cr_expect_not_null(strstr(error.message, field), "%s", error.message);
        cr_expect_eq(choose(sampler, (const float[]){1, 2, 3}), 2); /* still greedy */
    }
    static const struct {
        const char *name;
        size_t offset;
        float low, high; /* the first numbers refused */
    } fields[] = {
        {"frequency_penalty", offsetof(hearth_sampling, frequency_penalty), -INFINITY, INFINITY},
        {"presence_penalty", offsetof(hearth_sampling, presence_penalty), -INFINITY, INFINITY},
        {"dry_multiplier", offsetof(hearth_sampling, dry_multiplier), -0.1f, INFINITY},
        {"dry_base", offsetof(hearth_sampling, dry_base), 0.99f, INFINITY},
        {"typical_p", offsetof(hearth_sampling, typical_p), -0.1f, 1.1f},
        {"top_n_sigma", offsetof(hearth_sampling, top_n_sigma), -INFINITY, INFINITY},
        {"xtc_probability", offsetof(hearth_sampling, xtc_probability), -0.1f, 1.1f},
        {"xtc_threshold", offsetof(hearth_sampling, xtc_threshold), -0.1f, 1.1f},
        {"dynatemp_range", offsetof(hearth_sampling, dynatemp_range), -0.1f, INFINITY},
        {"dynatemp_exponent", offsetof(hearth_sampling, dynatemp_exponent), -0.1f, INFINITY},
        {"mirostat_tau", offsetof(hearth_sampling, mirostat_tau), -0.1f, INFINITY},
        {"mirostat_eta", offsetof(hearth_sampling, mirostat_eta), -0.1f, INFINITY},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0] * 3; i++) {
        const float numbers[] = {fields[i / 3].low, fields[i / 3].high, NAN};
        hearth_sampling s = plain();
        hearth_error error;
        memcpy((char *)&s + fields[i / 3].offset, &numbers[i % 3], sizeof(float));
        cr_expect_eq(hearth_sampler_set(sampler, &s, &error), HEARTH_E_CONFIG, "%s", fields[i / 3].name);
        cr_expect_not_null(strstr(error.message, fields[i / 3].name), "%s", error.message);
        cr_expect_eq(choose(sampler, (const float[]){1, 2, 3}), 2);
    }
    static const hearth_logit_bias bad_bias[] = {{-1, 0}, {3, 0}, {1, NAN}, {1, INFINITY}};
    for (size_t i = 0; i < 10; i++) {
        hearth_sampling s = plain();
        s.n_logit_bias = i < 4 ? 1 : 0;
        s.logit_bias = &bad_bias[i % 4];
        s.dry_last_n = i == 4 ? -2 : 0;
        s.dry_allowed_length = i == 5 ? -1 : 0;
        s.mirostat = i == 6 ? 3 : 0;
        s.order[7] = i == 7 ? 8 : 0;
        s.order[0] = i == 8 ? -1 : 0;
        s.n_logit_bias = i == 9 ? HEARTH_LOGIT_BIAS_MAX + 1 : s.n_logit_bias;
        cr_expect_eq(hearth_sampler_set(sampler, &s, NULL), HEARTH_E_CONFIG, "case %zu", i);
        cr_expect_eq(choose(sampler, (const float[]){1, 2, 3}), 2);
    }
    hearth_sampling odd = plain();
    odd.top_k = INT32_MIN;
    cr_expect_eq(hearth_sampler_set(sampler, &odd, NULL), HEARTH_OK);
    odd.top_k = INT32_MAX;
    odd.repeat_last_n = INT32_MAX;
    cr_expect_eq(hearth_sampler_set(sampler, &odd, NULL), HEARTH_OK);
    (void)choose(sampler, (const float[]){1, 2, 3});
    free(sampler);
}

Test(sampler, refuses_logits_that_are_not_finite)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    struct hearth_sampler *sampler = make(3, 4);
    for (int i = 0; i < 3; i++) {
        hearth_error error;
        int32_t id = -7;
        const float logits[] = {1, bad[i], 2};
        cr_expect_eq(hearth_sampler_choose(sampler, NULL, logits, &id, &error), HEARTH_E_INFERENCE);
        cr_expect_eq(strncmp(error.message, "logits: token 1: not finite", 27), 0, "%s", error.message);
        cr_expect_eq(id, -7);
    }
    cr_expect_eq(choose(sampler, (const float[]){0, 90, 0}), 1);
    free(sampler);
}

Test(sampler, all_but_one_may_be_forbidden_but_not_all)
{
    static const hearth_logit_bias bias[] = {{0, -INFINITY}, {2, -INFINITY}, {1, -INFINITY}};
    static const float logits[] = {5, -9, 5};
    struct hearth_sampler *sampler = make(3, 4);
    for (int32_t mirostat = 0; mirostat < 3; mirostat++) {
        hearth_sampling s = plain();
        s.logit_bias = bias;
        s.n_logit_bias = 2;
        s.mirostat = mirostat;
        s.typical_p = s.xtc_probability = 0.5f;
        s.top_n_sigma = 1;
        s.dynatemp_range = 0.5f;
        s.repeat_penalty = s.frequency_penalty = s.dry_multiplier = FLT_MAX;
        cr_assert_eq(hearth_sampler_set(sampler, &s, NULL), HEARTH_OK);
        for (int i = 0; i < 10; i++) {
            cr_expect_eq(choose(sampler, logits), 1);
            hearth_sampler_accept(sampler, i % 3); /* no penalty makes what is forbidden finite, nor what is allowed forbidden */
        }
        s.n_logit_bias = 3;
        for (int i = 0; i < 2; i++) {
            int32_t id = -7;
            hearth_error error;
            s.temperature = (float)i;
            cr_assert_eq(hearth_sampler_set(sampler, &s, NULL), HEARTH_OK);
            cr_expect_eq(hearth_sampler_choose(sampler, NULL, logits, &id, &error), HEARTH_E_INFERENCE);
            cr_expect_not_null(strstr(error.message, "no token is left"), "%s", error.message);
            cr_expect_eq(id, -7);
        }
    }
    free(sampler);
}

Test(sampler, options_of_the_first_version_are_taken)
{
    struct hearth_sampler *sampler = make(3, 4);
    hearth_sampling s;
    memset(&s, 0xff, sizeof s); /* what lies behind is not read */
    hearth_sampling known = plain();
    known.struct_size = offsetof(hearth_sampling, frequency_penalty);
    known.temperature = 0;
    memcpy(&s, &known, known.struct_size);
    cr_assert_eq(hearth_sampler_set(sampler, &s, NULL), HEARTH_OK);
    cr_expect_eq(choose(sampler, (const float[]){1, 2, 3}), 2);
    s.struct_size--;
    cr_expect_eq(hearth_sampler_set(sampler, &s, NULL), HEARTH_E_CONFIG);
    /* Sizes between two versions: what the smaller one does not have is not read, be it a half or a whole field. */
    for (size_t size = known.struct_size; size < sizeof s; size++) {
        s.struct_size = (uint32_t)size;
        cr_assert_eq(hearth_sampler_set(sampler, &s, NULL), HEARTH_OK, "size %zu", size);
        cr_expect_eq(choose(sampler, (const float[]){1, 2, 3}), 2);
    }
    s.struct_size = sizeof s;
    cr_expect_eq(hearth_sampler_set(sampler, &s, NULL), HEARTH_E_CONFIG);
    free(sampler);
}

Test(sampler, defaults_stay_within_the_size_given)
{
    hearth_sampling whole;
    hearth_sampling_init(&whole, sizeof whole);
    cr_expect_eq(whole.struct_size, sizeof whole);
    cr_expect(whole.top_k == 40 && whole.n_dry_breakers == 4 && whole.mirostat_tau == 5.0f);
    for (size_t size = 0; size <= sizeof whole; size++) {
        uint8_t bytes[sizeof whole + 1];
        hearth_sampling s;
        memset(bytes, 0xa5, sizeof bytes);
        memcpy(&s, bytes, sizeof s);
        hearth_sampling_init(&s, size);
        whole.struct_size = (uint32_t)size;
        if (size >= sizeof whole.struct_size)
            memcpy(bytes, &whole, size);
        cr_expect_eq(memcmp(&s, bytes, sizeof s), 0, "size %zu", size);
    }
    uint64_t larger[sizeof whole / 8 + 2]; /* as a later version may have it */
    memset(larger, 0xa5, sizeof larger);
    hearth_sampling_init((hearth_sampling *)(void *)larger, sizeof larger);
    cr_expect(larger[sizeof whole / 8] == 0 && larger[sizeof whole / 8 + 1] == 0);
    cr_expect_eq(((const hearth_sampling *)(void *)larger)->struct_size, sizeof larger);
    hearth_sampling_init(NULL, sizeof whole);
}

Test(sampler, survives_extreme_numbers)
{
    static const float numbers[] = {FLT_MAX, -FLT_MAX, FLT_MIN, 1e-45f, -1e-45f, 0.0f, 1.0f, 3e38f};
    static const float scales[] = {1e-45f, FLT_MIN, 1e-30f, 1.0f, 1e30f, FLT_MAX};
    struct rng rng = rng_start();
    struct hearth_sampler *sampler = make(20, 20);
    for (int32_t i = 0; i < 20; i++)
        hearth_sampler_accept(sampler, i / 2);
    for (int round = 0; round < 3000; round++) {
        hearth_sampling s = plain();
        s.temperature = scales[rng_below(&rng, 6)];
        s.repeat_penalty = scales[rng_below(&rng, 6)];
        s.top_p = rng_below(&rng, 2) ? 1.0f : 0.5f;
        s.min_p = rng_below(&rng, 2) ? 0.0f : 1e-45f;
        s.top_k = (int32_t)rng_below(&rng, 25);
        s.seed = rng_next(&rng);
        s.mirostat = (int32_t)rng_below(&rng, 3);
        s.mirostat_tau = rng_below(&rng, 2) ? 5.0f : FLT_MAX;
        s.mirostat_eta = rng_below(&rng, 2) ? 0.1f : FLT_MAX;
        s.typical_p = rng_below(&rng, 2) ? 1.0f : 0.5f;
        s.top_n_sigma = rng_below(&rng, 2) ? 0.0f : scales[rng_below(&rng, 6)];
        s.dynatemp_range = rng_below(&rng, 2) ? 0.0f : scales[rng_below(&rng, 6)];
        s.dynatemp_exponent = scales[rng_below(&rng, 6)];
        s.xtc_probability = 0.5f;
        s.frequency_penalty = scales[rng_below(&rng, 6)];
        s.presence_penalty = -scales[rng_below(&rng, 6)];
        s.dry_multiplier = scales[rng_below(&rng, 6)];
        s.dry_base = rng_below(&rng, 2) ? 1.0f : FLT_MAX;
        cr_assert_eq(hearth_sampler_set(sampler, &s, NULL), HEARTH_OK);
        float logits[20];
        for (int i = 0; i < 20; i++)
            logits[i] = numbers[rng_below(&rng, 8)];
        const int32_t id = choose(sampler, logits);
        cr_assert(id >= 0 && id < 20);
        hearth_sampler_accept(sampler, id);
    }
    free(sampler);
}
