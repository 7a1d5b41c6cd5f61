/* The sampler against a slow one that sorts everything, and the generator against its published values. */
#include "common/real.h"
#include "cpu.h"
#include "rng.h"
#include "sampler.h"
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
    return hearth_sampler_init(memory, n_vocab, n_context);
}

static hearth_sampling plain(void) /* every filter off */
{
    hearth_sampling s;
    hearth_sampling_init(&s);
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

/* ---- The slow one ---------------------------------------------------------------------------------------------------------- */

#define SLOW_MAX 300

struct slow {
    float logit;
    int32_t id;
};

static int by_logit(const void *a, const void *b)
{
    const struct slow *x = a;
    const struct slow *y = b;
    if (x->logit != y->logit)
        return x->logit > y->logit ? -1 : 1;
    return x->id - y->id;
}

static float slow_weight(const struct slow *list, size_t i, float temperature)
{
    return hearth_expf((list[i].logit - list[0].logit) / temperature);
}

static int32_t slow_choose(const hearth_sampling *s, struct hearth_rng *rng, const float *logits, int32_t n, const int32_t *history,
                           int32_t n_history)
{
    struct slow list[SLOW_MAX];
    const int32_t window = s->repeat_last_n < 0 || s->repeat_last_n > n_history ? n_history : s->repeat_last_n;
    for (int32_t i = 0; i < n; i++) {
        bool seen = false;
        for (int32_t j = n_history - window; j < n_history; j++)
            seen |= history[j] == i;
        const float penalised = logits[i] <= 0 ? logits[i] * s->repeat_penalty : logits[i] / s->repeat_penalty;
        list[i] = (struct slow){seen ? penalised : logits[i], i};
    }
    qsort(list, (size_t)n, sizeof *list, by_logit);
    if (s->temperature <= 0)
        return list[0].id;
    size_t count = s->top_k > 0 && s->top_k < n ? (size_t)s->top_k : (size_t)n;
    double all = 0;
    for (size_t i = 0; i < count; i++)
        all += (double)slow_weight(list, i, 1.0f);
    if (s->top_p < 1) {
        double sum = 0;
        size_t kept = 0;
        do
            sum += (double)slow_weight(list, kept++, 1.0f);
        while (kept < count && sum < (double)s->top_p * all);
        count = kept;
    }
    while (s->min_p > 0 && (double)list[count - 1].logit < (double)list[0].logit + hearth_log64((double)s->min_p))
        count--;
    all = 0;
    for (size_t i = 0; i < count; i++)
        all += (double)slow_weight(list, i, s->temperature);
    const double u = hearth_rng_uniform(rng);
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += (double)slow_weight(list, i, s->temperature);
        if (sum > u * all)
            return list[i].id;
    }
    return list[count - 1].id;
}

Test(sampler, equals_sorting_everything)
{
    struct rng rng = rng_start();
    for (int round = 0; round < 600; round++) {
        const uint32_t n = 1 + rng_below(&rng, SLOW_MAX);
        const uint32_t context = 1 + rng_below(&rng, 40);
        hearth_sampling s = plain();
        s.seed = rng_next(&rng);
        if (rng_below(&rng, 2))
            s.top_k = (int32_t)rng_below(&rng, n + 10);
        if (rng_below(&rng, 2))
            s.top_p = rng_uniform(&rng, 0.0f, 1.0f);
        if (rng_below(&rng, 2))
            s.min_p = rng_uniform(&rng, 0.0f, 0.3f);
        if (rng_below(&rng, 2))
            s.repeat_penalty = rng_uniform(&rng, 0.5f, 3.0f);
        s.repeat_last_n = (int32_t)rng_below(&rng, 50) - 1;
        s.temperature = rng_below(&rng, 5) ? rng_uniform(&rng, 0.1f, 3.0f) : 0.0f;
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
            for (uint32_t times = rng_below(&rng, 5); times > 0; times--) {
                const int32_t accepted = (int32_t)rng_below(&rng, n);
                hearth_sampler_accept(sampler, accepted);
                if (n_history == (int32_t)context)
                    memmove(history, history + 1, (size_t)--n_history * sizeof *history);
                history[n_history++] = accepted;
            }
        }
        free(sampler);
    }
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
        cr_assert_eq(hearth_sampler_set(sampler, &s, NULL), HEARTH_OK);
        float logits[20];
        for (int i = 0; i < 20; i++)
            logits[i] = numbers[rng_below(&rng, 8)];
        const int32_t id = choose(sampler, logits);
        cr_assert(id >= 0 && id < 20);
    }
    free(sampler);
}
