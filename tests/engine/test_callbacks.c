/* Callbacks of an engine: when abort is asked, that it stops everything at once and harms nothing, and whose progress is told. */
#include "gguf_builder.h"
#include "hearth.h"
#include "support/rng.h"
#include <criterion/criterion.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define N_VOCAB 300u
#define N_LAYER 6u
#define N_PROMPT 40u
#define N_ANSWER 30u

static char path[64];
static hearth_engine *engine;
static hearth_model *model;
static hearth_session *session;
static hearth_error err;
static int32_t prompt[N_PROMPT];
static const hearth_limits limits = {.struct_size = sizeof limits, .context = 128, .batch = 32};

/* ---- The callbacks --------------------------------------------------------------------------------------------------- */

static pthread_t caller;
static _Atomic uint32_t n_asked, abort_at; /* 0: never */
static _Atomic bool asked_caller;
static uint32_t n_told, refuse_at;

static bool on_abort(void *user)
{
    if (user != &n_asked || pthread_equal(pthread_self(), caller))
        atomic_store(&asked_caller, true);
    return atomic_fetch_add(&n_asked, 1) + 1 == atomic_load(&abort_at);
}

/* Say yes to the n-th question from now; 0: to none. */
static void abort_at_question(uint32_t n)
{
    atomic_store(&n_asked, 0);
    atomic_store(&abort_at, n);
}

static bool on_progress(uint64_t done, uint64_t total, void *user)
{
    cr_expect(done <= total);
    *(uint32_t *)user += 1;
    return n_told != refuse_at || refuse_at == 0;
}

/* ---- Opening --------------------------------------------------------------------------------------------------------- */

static void write_model(const char *arch, uint32_t n_layer)
{
    static struct gguf_builder builder;
    (void)snprintf(path, sizeof path, "%s/hearth-callbacks-XXXXXX", P_tmpdir);
    const int fd = mkstemp(path);
    cr_assert(fd >= 0);
    (void)close(fd);
    gguf_builder_init(&builder);
    gguf_builder_add_llama(&builder, &(struct gguf_shape){.arch = arch,
                                                          .n_layer = n_layer,
                                                          .n_embd = 64,
                                                          .n_ff = 128,
                                                          .n_vocab = N_VOCAB,
                                                          .n_ctx_train = 128,
                                                          .format = HEARTH_Q8_0});
    gguf_builder_write_file(&builder, path);
    gguf_builder_free(&builder);
}

static hearth_engine_options options_of(uint32_t threads)
{
    return (hearth_engine_options){.struct_size = sizeof(hearth_engine_options),
                                   .threads = threads,
                                   .progress = on_progress,
                                   .progress_user = &n_told,
                                   .abort = on_abort,
                                   .abort_user = &n_asked};
}

static void open_engine(uint32_t threads)
{
    const hearth_engine_options options = options_of(threads);
    caller = pthread_self();
    cr_assert_eq(hearth_engine_open(&engine, &options, &err), HEARTH_OK, "%s", err.message);
}

static void open_session(void)
{
    cr_assert_eq(hearth_model_open(&model, engine, path, &limits, NULL, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_session_open(&session, model, &limits, &err), HEARTH_OK, "%s", err.message);
    for (uint32_t i = 0; i < N_PROMPT; i++)
        prompt[i] = (int32_t)(3 + i * 7 % 290);
}

static void open_all(const char *arch, uint32_t n_layer, uint32_t threads)
{
    write_model(arch, n_layer);
    open_engine(threads);
    open_session();
}

static void close_all(void)
{
    hearth_session_close(session);
    hearth_model_close(model);
    hearth_engine_close(engine);
    (void)unlink(path);
    cr_expect(!atomic_load(&asked_caller), "abort was asked on another thread than a worker, or for somebody else");
}

static void feed_undisturbed(float logits[N_VOCAB])
{
    abort_at_question(0);
    hearth_session_reset(session);
    cr_assert_eq(hearth_session_feed(session, prompt, N_PROMPT, &err), HEARTH_OK, "%s", err.message);
    memcpy(logits, hearth_session_logits(session, 0), N_VOCAB * sizeof *logits);
}

/* ---- Aborting -------------------------------------------------------------------------------------------------------- */

/* Two batches; one question before each layer of each. A yes is the last question of its call. */
static void abort_everywhere(const char *arch, uint32_t n_layer, uint32_t threads)
{
    float expected[N_VOCAB];
    float logits[N_VOCAB];
    open_all(arch, n_layer, threads);
    feed_undisturbed(expected);
    cr_assert_eq(atomic_load(&n_asked), 2 * n_layer, "%s: asked %" PRIu32 " times", arch, atomic_load(&n_asked));
    for (uint32_t n = 1; n <= 2 * n_layer; n++) {
        abort_at_question(n);
        hearth_session_reset(session);
        cr_expect_eq(hearth_session_feed(session, prompt, N_PROMPT, &err), HEARTH_E_CANCELLED);
        cr_expect_eq(atomic_load(&n_asked), n, "went on after a yes");
        cr_expect_str_eq(err.detail, "E_CANCELLED");
        cr_expect_eq(hearth_session_position(session), 0);
        cr_expect_null(hearth_session_logits(session, 0));
        feed_undisturbed(logits); /* no hearth_session_resume() */
        cr_expect_eq(memcmp(logits, expected, sizeof logits), 0, "%s: other logits after an abort", arch);
    }
    close_all();
}

Test(callbacks, abort_before_any_layer)
{
    static const char *const archs[] = {"llama", "phi2", "gemma2"};
    for (size_t i = 0; i < sizeof archs / sizeof archs[0]; i++)
        for (uint32_t threads = 1; threads <= 3; threads++)
            abort_everywhere(archs[i], N_LAYER, threads);
    abort_everywhere("llama", 1, 2);
}

Test(callbacks, an_aborted_answer_goes_on)
{
    hearth_sampling sampling;
    int32_t ids[2][N_ANSWER];
    uint32_t totals[2];
    struct rng rng = rng_start();
    uint32_t aborted = 0;
    hearth_sampling_init(&sampling, sizeof sampling);
    sampling.temperature = 1;
    sampling.ignore_end = true;
    open_all("llama", N_LAYER, 2);
    for (int disturbed = 0; disturbed < 2; disturbed++) {
        uint32_t n = 0;
        abort_at_question(0);
        hearth_session_reset(session);
        cr_assert_eq(hearth_session_set_sampling(session, &sampling, &err), HEARTH_OK);
        cr_assert_eq(hearth_session_feed(session, prompt, 5, &err), HEARTH_OK);
        while (n < N_ANSWER) {
            const hearth_generation generation = {.struct_size = sizeof generation,
                                                  .max_tokens = N_ANSWER - n,
                                                  .ids = ids[disturbed] + n,
                                                  .ids_capacity = N_ANSWER - n};
            hearth_result result = {.struct_size = sizeof result};
            abort_at_question(disturbed ? 1 + (uint32_t)rng_below(&rng, 5 * N_LAYER) : 0);
            const hearth_status status = hearth_generate(session, &generation, &result, &err);
            n += result.n_generated;
            if (status == HEARTH_OK)
                break;
            cr_assert_eq(status, HEARTH_E_CANCELLED, "%s", err.message);
            cr_expect(disturbed && result.stop == HEARTH_STOP_CANCELLED);
            aborted++;
        }
        totals[disturbed] = n;
    }
    cr_expect(aborted > 3);
    cr_expect(totals[0] == N_ANSWER && totals[1] == N_ANSWER && memcmp(ids[0], ids[1], sizeof ids[0]) == 0, "another answer");
    close_all();
}

/* ---- Loading --------------------------------------------------------------------------------------------------------- */

/* Refused at each question and each telling in turn, then opened: how often that takes. */
static void open_refused_everywhere(bool by_progress)
{
    bool opened = false;
    for (uint32_t n = 1; !opened; n++) {
        abort_at_question(by_progress ? 0 : n);
        refuse_at = by_progress ? n : 0;
        n_told = 0;
        const hearth_status status = hearth_model_open(&model, engine, path, &limits, NULL, &err);
        opened = status == HEARTH_OK;
        cr_assert(n < 1000);
        cr_expect_eq(by_progress ? n_told : atomic_load(&n_asked), opened ? n - 1 : n);
        if (!opened)
            cr_expect(status == HEARTH_E_CANCELLED && !model, "%s", err.message);
        else
            cr_expect(n > N_LAYER, "asked only %" PRIu32 " times", n - 1);
    }
    hearth_model_close(model);
    model = NULL;
    refuse_at = 0;
}

Test(callbacks, loading_stops)
{
    write_model("llama", N_LAYER);
    open_engine(2);
    open_refused_everywhere(false);
    open_refused_everywhere(true);
    open_session();
    close_all();
}

Test(callbacks, a_model_s_own_progress_comes_first)
{
    uint32_t own = 0;
    const hearth_model_options options = {.struct_size = sizeof options, .progress = on_progress, .progress_user = &own};
    const hearth_model_options none = {.struct_size = sizeof none};
    write_model("llama", 2);
    open_engine(1);
    cr_assert_eq(hearth_model_open(&model, engine, path, &limits, &options, &err), HEARTH_OK, "%s", err.message);
    cr_expect(own > 0 && n_told == 0);
    hearth_model_close(model);
    cr_assert_eq(hearth_model_open(&model, engine, path, &limits, &none, &err), HEARTH_OK, "%s", err.message);
    cr_expect_eq(n_told, own);
    close_all();
}

/* A program of an earlier version has no such callbacks, whatever lies behind its structure. */
Test(callbacks, are_not_read_from_a_shorter_structure)
{
    hearth_engine_options options = options_of(1);
    options.struct_size = offsetof(hearth_engine_options, progress);
    caller = pthread_self();
    write_model("llama", 2);
    cr_assert_eq(hearth_engine_open(&engine, &options, &err), HEARTH_OK, "%s", err.message);
    open_session();
    cr_assert_eq(hearth_session_feed(session, prompt, N_PROMPT, &err), HEARTH_OK);
    cr_expect(n_told == 0 && atomic_load(&n_asked) == 0);
    close_all();
}
