/* Cancelling from another thread, at any time, and deadlines: the call ends within its layer or nearly so, and what is done
 * afterwards gives the bits that it would have given without. */
#include "gguf_builder.h"
#include "hearth.h"
#include "support/rng.h"
#include <criterion/criterion.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define N_VOCAB 300u
#define N_PROMPT 700u
#define N_ANSWER 40u
#define N_TRIES 24u

static char path[64];
static hearth_engine *engine;
static hearth_model *model;
static hearth_session *session;
static hearth_error err;
static int32_t prompt[N_PROMPT];
static const hearth_limits limits = {.struct_size = sizeof limits, .context = 1024, .batch = 1024};

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void open_all(const char *arch)
{
    static struct gguf_builder builder;
    const hearth_engine_options options = {.struct_size = sizeof options, .threads = 2};
    (void)snprintf(path, sizeof path, "%s/hearth-cancel-XXXXXX", P_tmpdir);
    const int fd = mkstemp(path);
    cr_assert(fd >= 0);
    (void)close(fd);
    gguf_builder_init(&builder);
    gguf_builder_add_llama(&builder, &(struct gguf_shape){.arch = arch,
                                                          .n_layer = 24,
                                                          .n_embd = 192,
                                                          .n_ff = 512,
                                                          .n_vocab = N_VOCAB,
                                                          .n_ctx_train = 1024,
                                                          .format = HEARTH_Q8_0});
    gguf_builder_write_file(&builder, path);
    gguf_builder_free(&builder);
    cr_assert_eq(hearth_engine_open(&engine, &options, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_model_open(&model, engine, path, &limits, NULL, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_session_open(&session, model, &limits, &err), HEARTH_OK, "%s", err.message);
    for (uint32_t i = 0; i < N_PROMPT; i++)
        prompt[i] = (int32_t)(3 + i * 7 % 290);
}

static void open_llama(void)
{
    open_all("llama");
}

static void close_all(void)
{
    hearth_session_close(session);
    hearth_model_close(model);
    hearth_engine_close(engine);
    (void)unlink(path);
}

TestSuite(cancel, .init = open_llama, .fini = close_all);

/* Cancels after so many microseconds, and notes when. */
struct canceller {
    pthread_t thread;
    uint32_t delay_us;
    double at;
};

static void *cancel_later(void *context)
{
    struct canceller *c = context;
    (void)usleep(c->delay_us);
    c->at = now();
    hearth_session_cancel(session);
    return NULL;
}

static void cancel_after(struct canceller *c, uint32_t delay_us)
{
    c->delay_us = delay_us;
    cr_assert(pthread_create(&c->thread, NULL, cancel_later, c) == 0);
}

/* Feed the prompt to a fresh timeline: its logits, and the seconds that it took. */
static double feed_undisturbed(float logits[N_VOCAB])
{
    hearth_session_reset(session);
    const double begin = now();
    cr_assert_eq(hearth_session_feed(session, prompt, N_PROMPT, &err), HEARTH_OK, "%s", err.message);
    const double seconds = now() - begin;
    memcpy(logits, hearth_session_logits(session, 0), N_VOCAB * sizeof *logits);
    return seconds;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;
    return (x > y) - (x < y);
}

static void cancel_prompts(void)
{
    float expected[N_VOCAB];
    float logits[N_VOCAB];
    struct rng rng = rng_start();
    double seconds = feed_undisturbed(expected);
    const double again = feed_undisturbed(expected);
    seconds = again < seconds ? again : seconds;
    double latencies[N_TRIES];
    uint32_t cancelled = 0;
    for (uint32_t i = 0; i < N_TRIES; i++) {
        struct canceller c;
        hearth_session_reset(session);
        cancel_after(&c, (uint32_t)(rng_below(&rng, 1000) * 1e-3 * seconds * 1e6));
        const hearth_status status = hearth_session_feed(session, prompt, N_PROMPT, &err);
        const double end = now();
        cr_assert(pthread_join(c.thread, NULL) == 0);
        if (status == HEARTH_E_CANCELLED) {
            latencies[cancelled++] = end - c.at;
            cr_expect_eq(hearth_session_position(session), 0);
            cr_expect_null(hearth_session_logits(session, 0));
        } else {
            cr_expect_eq(status, HEARTH_OK, "%s", err.message);
        }
        cr_expect_eq(hearth_session_feed(session, prompt, 1, &err), HEARTH_E_CANCELLED, "the request was lost");
        cr_expect_str_eq(err.detail, "E_CANCELLED");
        hearth_session_resume(session);
        if (i % 8 == 0) {
            (void)feed_undisturbed(logits);
            cr_expect(memcmp(logits, expected, sizeof logits) == 0, "the logits differ after a cancellation");
        }
    }
    cr_assert(cancelled >= 4, "cancelled %" PRIu32 " of %u", cancelled, N_TRIES);
    /* The prompt is one batch of 24 layers. Somebody else may have the processors now and then, but not half of the times. */
    qsort(latencies, cancelled, sizeof *latencies, by_size);
    const double median = latencies[cancelled / 2];
    cr_expect(median < seconds / 4, "%.1f ms of %.1f ms", median * 1e3, seconds * 1e3);
}

Test(cancel, a_prompt)
{
    cancel_prompts();
}

Test(cancel, a_prompt_of_phi2)
{
    close_all();
    open_all("phi2");
    cancel_prompts();
}

/* One answer, undisturbed and with cancellations at any time, is the same. */
Test(cancel, an_answer)
{
    hearth_sampling sampling = {.struct_size = sizeof sampling};
    hearth_sampling_init(&sampling, sizeof sampling);
    sampling.temperature = 1;
    sampling.top_k = 0;
    sampling.min_p = 0;
    sampling.top_p = 1;
    sampling.seed = 7;
    int32_t ids[2][N_ANSWER];
    struct rng rng = rng_start();
    hearth_result result = {.struct_size = sizeof result};
    uint32_t cancelled = 0;
    uint32_t totals[2];
    for (int disturbed = 0; disturbed < 2; disturbed++) {
        uint32_t n = 0;
        hearth_session_reset(session);
        cr_assert_eq(hearth_session_set_sampling(session, &sampling, &err), HEARTH_OK);
        cr_assert_eq(hearth_session_feed(session, prompt, 5, &err), HEARTH_OK);
        while (n < N_ANSWER) {
            const hearth_generation generation = {.struct_size = sizeof generation,
                                                  .max_tokens = N_ANSWER - n,
                                                  .ids = ids[disturbed] + n,
                                                  .ids_capacity = N_ANSWER - n};
            struct canceller c;
            if (disturbed)
                cancel_after(&c, rng_below(&rng, 4000));
            const hearth_status status = hearth_generate(session, &generation, &result, &err);
            if (disturbed)
                cr_assert(pthread_join(c.thread, NULL) == 0);
            hearth_session_resume(session);
            n += result.n_generated;
            if (status == HEARTH_OK)
                break;
            cr_assert_eq(status, HEARTH_E_CANCELLED, "%s", err.message);
            cr_expect(disturbed && result.stop == HEARTH_STOP_CANCELLED);
            cancelled++;
        }
        totals[disturbed] = n;
    }
    cr_expect(cancelled > 0);
    cr_expect(totals[0] == totals[1] && memcmp(ids[0], ids[1], totals[0] * sizeof ids[0][0]) == 0, "the answers differ");
}

Test(cancel, deadlines)
{
    float expected[N_VOCAB];
    const double seconds = feed_undisturbed(expected);
    hearth_session_reset(session);
    cr_assert_eq(hearth_session_set_deadline(session, seconds / 50, &err), HEARTH_OK);
    cr_expect_eq(hearth_session_feed(session, prompt, N_PROMPT, &err), HEARTH_E_CANCELLED);
    cr_expect_str_eq(err.detail, "E_DEADLINE");
    cr_expect_eq(hearth_session_position(session), 0);
    cr_expect_eq(hearth_session_feed(session, prompt, 1, &err), HEARTH_E_CANCELLED, "it is still over");
    cr_assert_eq(hearth_session_set_deadline(session, 0, &err), HEARTH_OK);
    float logits[N_VOCAB];
    (void)feed_undisturbed(logits);
    cr_expect(memcmp(logits, expected, sizeof logits) == 0);
    cr_assert_eq(hearth_session_set_deadline(session, 1e300, &err), HEARTH_OK);
    cr_expect_eq(hearth_session_feed(session, prompt, 1, &err), HEARTH_OK, "%s", err.message);
    cr_expect_eq(hearth_session_set_deadline(session, -1, &err), HEARTH_E_CONFIG);
    cr_expect_eq(hearth_session_set_deadline(session, (double)NAN, &err), HEARTH_E_CONFIG);
    cr_expect_eq(hearth_session_set_deadline(NULL, 1, &err), HEARTH_E_CONFIG);
    hearth_session_cancel(NULL);
    hearth_session_resume(NULL);
}
