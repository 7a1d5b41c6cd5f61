/* Tokens as they are chosen, and the logarithms of their probabilities: against the logits that the session itself shows, for every
 * kind of choice, and the same bits whatever computes them. */
#include "golden.h"
#include "logprobs.h"
#include "support/rng.h"
#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PROMPT "<|user|>\nTurn on the kitchen light.<|end|>\n<|assistant|>\n"
#define FLAGS (HEARTH_TOKENIZE_BOS | HEARTH_TOKENIZE_SPECIAL)
#define N_TOKENS 24u

static hearth_engine *engine;
static hearth_model *model;
static hearth_session *session;
static hearth_error err;
static uint32_t n_vocab;

static void open_with(uint32_t threads)
{
    char path[GOLDEN_PATH];
    golden_source(path, "models/hearth-home.Q4_K_M.gguf");
    const hearth_engine_options options = {.struct_size = sizeof options, .threads = threads};
    const hearth_limits limits = {.struct_size = sizeof limits, .context = 256, .grammar = 1};
    cr_assert_eq(hearth_engine_open(&engine, &options, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_model_open(&model, engine, path, &limits, NULL, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_session_open(&session, model, &limits, &err), HEARTH_OK, "%s", err.message);
    n_vocab = hearth_model_vocabulary_size(model);
}

static void open_all(void)
{
    open_with(2);
}

static void close_all(void)
{
    hearth_session_close(session);
    hearth_model_close(model);
    hearth_engine_close(engine);
}

static void feed_prompt(const hearth_sampling *sampling)
{
    hearth_session_reset(session);
    cr_assert_eq(hearth_session_set_sampling(session, sampling, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_session_feed_text(session, PROMPT, strlen(PROMPT), FLAGS, NULL, &err), HEARTH_OK, "%s", err.message);
}

static hearth_sampling plain(float temperature)
{
    hearth_sampling s;
    hearth_sampling_init(&s, sizeof s);
    s.temperature = temperature;
    s.seed = 11;
    return s;
}

/* ---- The slow one: libm in double precision, everything sorted ------------------------------------------------------- */

struct entry {
    double logit;
    int32_t id;
};

static int by_rank(const void *a, const void *b)
{
    const struct entry *x = a;
    const struct entry *y = b;
    if (x->logit != y->logit)
        return x->logit < y->logit ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

static void expect_near(float got, double want)
{
    cr_expect(fabs((double)got - want) <= 1e-6 * fmax(1.0, fabs(want)), "got %.9g, need %.9g", (double)got, want);
}

static void expect_logprobs(const float *logits, uint32_t n, int32_t id, float logprob, uint32_t n_top, const hearth_logprob *top)
{
    struct entry *sorted = malloc(n * sizeof *sorted);
    double sum = 0.0;
    for (uint32_t i = 0; i < n; i++)
        sorted[i] = (struct entry){.logit = (double)logits[i], .id = (int32_t)i};
    qsort(sorted, n, sizeof *sorted, by_rank);
    for (uint32_t i = 0; i < n; i++)
        sum += exp(sorted[i].logit - sorted[0].logit);
    expect_near(logprob, (double)logits[id] - sorted[0].logit - log(sum));
    for (uint32_t i = 0; i < n_top; i++) {
        cr_expect_eq(top[i].token, sorted[i].id, "place %u: got %d, need %d", i, top[i].token, sorted[i].id);
        expect_near(top[i].logprob, sorted[i].logit - sorted[0].logit - log(sum));
    }
    free(sorted);
}

/* ---- The function alone ---------------------------------------------------------------------------------------------- */

Test(logprobs, order_ties_and_extremes)
{
    struct rng rng = rng_start();
    float logits[100];
    struct hearth_logprobs got;
    for (int round = 0; round < 2000; round++) {
        const uint32_t n = 1 + (uint32_t)rng_below(&rng, 100);
        const uint32_t n_top = (uint32_t)rng_below(&rng, HEARTH_TOP_LOGPROBS_MAX + 1);
        const float scale = (const float[]){1.0f, 10.0f, 0.0f, 1e30f}[round % 4];
        for (uint32_t i = 0; i < n; i++) /* many are equal, some by value alone */
            logits[i] = scale * (float)((int)rng_below(&rng, 9) - 4) * (rng_below(&rng, 2) ? 1.0f : -1.0f);
        const int32_t id = (int32_t)rng_below(&rng, n);
        hearth_logprobs_make(&got, NULL, logits, n, id, n_top);
        cr_assert_eq(got.n_top, n_top < n ? n_top : n);
        expect_logprobs(logits, n, id, got.chosen, got.n_top, got.top);
    }
    const float apart[2] = {FLT_MAX, -FLT_MAX};
    hearth_logprobs_make(&got, NULL, apart, 2, 1, 2);
    cr_expect(got.chosen == -FLT_MAX && got.top[0].logprob == 0.0f && got.top[1].logprob == -FLT_MAX && got.top[1].token == 1);
}

/* ---- In a generation ------------------------------------------------------------------------------------------------- */

struct watch {
    uint32_t n, n_top, stop_after;
    int32_t ids[N_TOKENS];
    char text[1024];
    size_t n_text;
    hearth_logprob told[N_TOKENS * (HEARTH_TOP_LOGPROBS_MAX + 1)]; /* everything, for comparing bits */
    uint32_t n_told;
    bool against_logits;
};

static bool on_token(const hearth_token *token, void *user)
{
    struct watch *w = user;
    cr_assert_eq(token->struct_size, sizeof *token);
    cr_assert(w->n < N_TOKENS);
    cr_expect_eq(token->n_top, w->n_top);
    w->ids[w->n++] = token->id;
    memcpy(w->text + w->n_text, token->text, token->text_bytes);
    w->n_text += token->text_bytes;
    w->told[w->n_told++] = (hearth_logprob){token->id, token->logprob};
    for (uint32_t i = 0; i < token->n_top; i++)
        w->told[w->n_told++] = token->top[i];
    if (w->against_logits) /* those that it was chosen by are still there */
        expect_logprobs(hearth_session_logits(session, 0), n_vocab, token->id, token->logprob, token->n_top, token->top);
    return w->n != w->stop_after;
}

static bool collect(const char *text, size_t bytes, void *user)
{
    struct watch *w = user;
    memcpy(w->text + w->n_text, text, bytes);
    w->n_text += bytes;
    return true;
}

static hearth_result generate(struct watch *w, struct watch *shown, uint32_t n_top)
{
    int32_t ids[N_TOKENS];
    const hearth_generation g = {.struct_size = sizeof g,
                                 .max_tokens = N_TOKENS,
                                 .text = shown ? collect : NULL,
                                 .text_user = shown,
                                 .ids = ids,
                                 .ids_capacity = N_TOKENS,
                                 .token = on_token,
                                 .token_user = w,
                                 .logprobs = true,
                                 .n_top_logprobs = n_top};
    hearth_result result = {.struct_size = sizeof result};
    w->n_top = n_top < n_vocab ? n_top : n_vocab;
    cr_assert_eq(hearth_generate(session, &g, &result, &err), HEARTH_OK, "%s", err.message);
    cr_expect_eq(w->n, result.n_generated);
    cr_expect_eq(memcmp(w->ids, ids, w->n * sizeof *ids), 0);
    return result;
}

Test(logprobs, are_those_of_the_logits_whatever_chooses, .init = open_all, .fini = close_all)
{
    static const char grammar[] = "root ::= [a-z ]+ \".\"";
    hearth_sampling samplings[] = {plain(0), plain(1), plain(1), plain(1), plain(0.8f)};
    const hearth_logit_bias bias = {.token = 42, .bias = 100};
    samplings[1].mirostat = 1;
    samplings[2].mirostat = 2;
    samplings[3].n_logit_bias = 1; /* it is chosen all the time, and told with the little that the model gives it */
    samplings[3].logit_bias = &bias;
    samplings[4].repeat_penalty = 1.3f;
    for (size_t i = 0; i < sizeof samplings / sizeof samplings[0]; i++)
        for (int constrained = 0; constrained < 2; constrained++) {
            struct watch w = {.against_logits = true};
            feed_prompt(&samplings[i]);
            if (constrained)
                cr_assert_eq(hearth_session_set_grammar(session, grammar, sizeof grammar - 1, &err), HEARTH_OK, "%s", err.message);
            (void)generate(&w, NULL, HEARTH_TOP_LOGPROBS_MAX);
            cr_expect(w.n > 2);
        }
}

Test(logprobs, how_many_are_told, .init = open_all, .fini = close_all)
{
    const hearth_sampling greedy = plain(0);
    for (uint32_t n_top = 0; n_top <= HEARTH_TOP_LOGPROBS_MAX; n_top += 4) {
        struct watch w = {.against_logits = true};
        feed_prompt(&greedy);
        (void)generate(&w, NULL, n_top);
    }
    hearth_generation g = {.struct_size = sizeof g, .logprobs = true, .n_top_logprobs = HEARTH_TOP_LOGPROBS_MAX + 1};
    feed_prompt(&greedy);
    cr_expect_eq(hearth_generate(session, &g, NULL, &err), HEARTH_E_CONFIG);
    cr_expect_not_null(strstr(err.message, "n_top_logprobs"), "%s", err.message);
    g.logprobs = false;
    g.n_top_logprobs = 1;
    cr_expect_eq(hearth_generate(session, &g, NULL, &err), HEARTH_E_CONFIG);
    g.struct_size = offsetof(hearth_generation, token); /* such a program knows nothing of them */
    g.max_tokens = 1;
    cr_expect_eq(hearth_generate(session, &g, NULL, &err), HEARTH_OK, "%s", err.message);
}

static bool on_bare_token(const hearth_token *token, void *user)
{
    cr_expect(isnan(token->logprob) && token->n_top == 0 && !token->top);
    (void)user;
    int32_t id;
    cr_expect_eq(hearth_session_sample(session, &id, &err), HEARTH_E_BUSY, "the session is at work");
    return true;
}

Test(logprobs, are_not_told_unless_asked_for, .init = open_all, .fini = close_all)
{
    const hearth_sampling greedy = plain(0);
    const hearth_generation g = {.struct_size = sizeof g, .max_tokens = 4, .token = on_bare_token};
    feed_prompt(&greedy);
    cr_expect_eq(hearth_generate(session, &g, NULL, &err), HEARTH_OK, "%s", err.message);
}

/* ---- Tokens ---------------------------------------------------------------------------------------------------------- */

Test(tokens, their_pieces_are_the_text, .init = open_all, .fini = close_all)
{
    const hearth_sampling greedy = plain(0);
    struct watch w = {0};
    struct watch shown = {0};
    feed_prompt(&greedy);
    const hearth_result result = generate(&w, &shown, 0);
    cr_expect_eq(result.stop, HEARTH_STOP_END);
    cr_expect(hearth_model_is_end(model, w.ids[w.n - 1]), "the ending token is told");
    cr_expect(w.n_text == shown.n_text && memcmp(w.text, shown.text, w.n_text) == 0, "'%s' and '%s'", w.text, shown.text);
}

/* Stopped at each token in turn, and gone on, the answer is the answer in one. */
Test(tokens, false_stops_and_nothing_is_lost, .init = open_all, .fini = close_all)
{
    const hearth_sampling sampling = plain(0.8f);
    struct watch whole = {0};
    feed_prompt(&sampling);
    (void)generate(&whole, NULL, 1);
    for (uint32_t at = 1; at < whole.n; at++) {
        struct watch pieces = {.stop_after = at};
        struct watch shown = {0};
        feed_prompt(&sampling);
        const hearth_result first = generate(&pieces, &shown, 1);
        cr_expect(first.stop == HEARTH_STOP_CALLBACK && first.n_generated == at);
        cr_expect(shown.n_text == pieces.n_text, "its text is shown");
        struct watch rest = {0};
        (void)generate(&rest, NULL, 1);
        const uint32_t n = rest.n < whole.n - at ? rest.n : whole.n - at;
        cr_expect_eq(memcmp(whole.ids + at, rest.ids, n * sizeof *rest.ids), 0);
        cr_expect_eq(memcmp(whole.told + 2 * at, rest.told, 2 * n * sizeof *rest.told), 0);
    }
}

/* ---- The same bits --------------------------------------------------------------------------------------------------- */

Test(logprobs, are_the_same_bits_everywhere)
{
    static const char *const levels[] = {"reference", "avx2", "avxvnni", "avx512"};
    static struct watch first;
    const hearth_sampling sampling = plain(1);
    uint32_t n_runs = 0;
    for (size_t level = 0; level < sizeof levels / sizeof levels[0]; level++)
        for (uint32_t threads = 1; threads <= 3; threads += 2) {
            struct watch w = {0};
            (void)setenv("HEARTH_CPU", levels[level], 1);
            const hearth_engine_options options = {.struct_size = sizeof options, .threads = 1};
            const hearth_status status = hearth_engine_open(&engine, &options, &err);
            hearth_engine_close(engine);
            if (status == HEARTH_E_CONFIG)
                continue; /* not on this CPU */
            open_with(threads);
            feed_prompt(&sampling);
            (void)generate(&w, NULL, HEARTH_TOP_LOGPROBS_MAX);
            close_all();
            if (n_runs++ == 0)
                first = w;
            cr_expect(w.n_told == first.n_told && memcmp(w.told, first.told, w.n_told * sizeof *w.told) == 0,
                      "%s with %u threads tells other bits", levels[level], threads);
        }
    cr_expect(n_runs >= 2);
}
