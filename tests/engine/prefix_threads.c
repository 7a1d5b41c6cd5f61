/* The prefix cache from many threads at once: sessions of two models put down and take up one another's beginnings in a cache too
 * small for all of them, while others open, close and are cancelled. Every answer has the bits it has alone. Worth most under the
 * thread sanitizer, hence a plain program. */
#include "engine.h"
#include "gguf_builder.h"
#include "memory_source.h"
#include "support/rng.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS 6
#define ROUNDS 24
#define TEXTS 6
#define N_IDS 200
#define N_VOCAB 300
#define MODELS 2

static hearth_engine *engine;
static hearth_model *models[MODELS];
static const hearth_limits limits = {.struct_size = sizeof limits, .context = 256, .batch = 32};
static float want[MODELS][TEXTS][N_VOCAB];
static atomic_bool done;
static _Atomic uint64_t n_restored;

struct job {
    pthread_t thread;
    uint32_t number;
    const char *failure; /* NULL: none */
    hearth_error err;
    pthread_mutex_t lock;
    hearth_session *session; /* under the lock; NULL: none */
};

/* Texts share their beginnings: 70 tokens by twos, 140 by pairs of those. */
static void write_text(int32_t ids[N_IDS], uint32_t text)
{
    for (uint32_t i = 0; i < N_IDS; i++)
        ids[i] = (int32_t)(3 + (i * 7 + (i < 70 ? text % 2 : i < 140 ? text % 4 : text) * 31) % (N_VOCAB - 3));
}

static hearth_status prompt(hearth_session *session, uint32_t text, hearth_error *err)
{
    int32_t ids[N_IDS];
    hearth_status status;
    write_text(ids, text);
    do {
        hearth_prompt_info info = {.struct_size = sizeof info};
        status = hearth_session_prompt(session, ids, N_IDS, &info, err);
        atomic_fetch_add(&n_restored, info.n_restored);
        if (status == HEARTH_E_CANCELLED)
            hearth_session_resume(session);
    } while (status == HEARTH_E_CANCELLED);
    return status;
}

static void publish(struct job *j, hearth_session *session)
{
    (void)pthread_mutex_lock(&j->lock);
    j->session = session;
    (void)pthread_mutex_unlock(&j->lock);
}

static const char *talk(struct job *j, hearth_session *session, struct rng *rng, uint32_t model)
{
    for (int turn = 0; turn < 3; turn++) {
        const uint32_t text = rng_below(rng, TEXTS);
        if (prompt(session, text, &j->err) != HEARTH_OK)
            return "prompt";
        if (memcmp(hearth_session_logits(session, 0), want[model][text], sizeof want[model][text]) != 0)
            return "other bits than alone";
        if (rng_below(rng, 3) == 0)
            hearth_session_reset(session);
    }
    return NULL;
}

static void *work(void *context)
{
    struct job *j = context;
    struct rng rng = rng_from(j->number);
    for (int i = 0; i < ROUNDS && !j->failure; i++) {
        hearth_session *session;
        const uint32_t model = rng_below(&rng, MODELS);
        if (hearth_session_open(&session, models[model], &limits, &j->err) != HEARTH_OK) {
            j->failure = "session";
            break;
        }
        publish(j, session);
        j->failure = talk(j, session, &rng, model);
        publish(j, NULL);
        hearth_session_close(session);
    }
    return NULL;
}

static void *cancel(void *context)
{
    struct job *jobs = context;
    for (int i = 0; !atomic_load(&done); i = (i + 1) % THREADS) {
        (void)pthread_mutex_lock(&jobs[i].lock);
        hearth_session_cancel(jobs[i].session);
        (void)pthread_mutex_unlock(&jobs[i].lock);
        (void)usleep(2000);
    }
    return NULL;
}

/* What each text gives without anything kept. */
static bool compute_alone(hearth_error *err)
{
    bool good = true;
    for (uint32_t m = 0; m < MODELS; m++) {
        hearth_session *session;
        good = good && hearth_session_open(&session, models[m], &limits, err) == HEARTH_OK;
        for (uint32_t text = 0; good && text < TEXTS; text++) {
            int32_t ids[N_IDS];
            write_text(ids, text);
            hearth_session_reset(session);
            good = hearth_session_feed(session, ids, N_IDS, err) == HEARTH_OK;
            if (good)
                memcpy(want[m][text], hearth_session_logits(session, 0), sizeof want[m][text]);
        }
        if (good)
            hearth_session_close(session);
    }
    return good;
}

static bool all_at_once(struct job jobs[THREADS])
{
    int n = 0;
    pthread_t canceller;
    for (uint32_t i = 0; i < THREADS; i++) {
        jobs[i].number = 1 + i;
        (void)pthread_mutex_init(&jobs[i].lock, NULL);
    }
    bool good = pthread_create(&canceller, NULL, cancel, jobs) == 0;
    if (!good)
        return false;
    while (n < THREADS && pthread_create(&jobs[n].thread, NULL, work, &jobs[n]) == 0)
        n++;
    for (int i = 0; i < n; i++) {
        (void)pthread_join(jobs[i].thread, NULL);
        if (jobs[i].failure)
            (void)fprintf(stderr, "FAILED: thread %d: %s: %s\n", i, jobs[i].failure, jobs[i].err.message);
        good = good && !jobs[i].failure;
    }
    atomic_store(&done, true);
    (void)pthread_join(canceller, NULL);
    return good && n == THREADS;
}

int main(void)
{
    static struct job jobs[THREADS];
    static struct gguf_builder builder;
    static struct memory_source sources[MODELS];
    /* Room for seven units of the eighteen that the texts have, of two models. */
    const hearth_engine_options options = {.struct_size = sizeof options, .threads = 2, .cache_budget = 470000};
    hearth_error err = {0};
    uint8_t *files[MODELS] = {NULL};
    bool good = hearth_engine_open(&engine, &options, &err) == HEARTH_OK;
    for (uint32_t i = 0; good && i < MODELS; i++) {
        size_t size;
        gguf_builder_init(&builder);
        gguf_builder_add_llama(&builder, &(struct gguf_shape){.n_vocab = N_VOCAB, .n_ctx_train = 256, .format = HEARTH_Q8_0});
        files[i] = gguf_builder_finish(&builder, &size);
        gguf_builder_free(&builder);
        uint64_t n;
        memory_source_tensor(files[i], size, "blk.1.ffn_up.weight", &n)[2] ^= (uint8_t)i; /* they differ in one weight */
        good = memory_source_open(&sources[i], files[i], size, &err) == HEARTH_OK &&
               hearth_model_open_source(&models[i], engine, &sources[i].source, &limits, NULL, &err) == HEARTH_OK;
    }
    good = good && compute_alone(&err);
    if (!good)
        (void)fprintf(stderr, "FAILED: %s\n", err.message);
    else
        good = all_at_once(jobs);
    (void)printf("restored %llu positions\n", (unsigned long long)atomic_load(&n_restored));
    for (uint32_t i = 0; i < MODELS; i++) {
        hearth_model_close(models[i]);
        memory_source_close(&sources[i]);
        free(files[i]);
    }
    hearth_engine_close(engine);
    return good && atomic_load(&n_restored) > 0 ? 0 : 1;
}
