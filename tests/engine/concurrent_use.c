/* One engine from many threads at once: sessions on one model, tokenizing, plans, models opened and closed, calls
 * cancelled at any time, by others or by the engine's own callback, in memory of a host's allocator. Every answer has the bits it
 * has alone, whoever the neighbours are. Worth most under the thread sanitizer, hence a plain program. */
#include "engine.h"
#include "gguf_builder.h"
#include "memory_source.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS 4
#define ROUNDS 6
#define N_IDS 9
#define N_VOCAB 300

static hearth_engine *engine;
static hearth_model *model;
static uint8_t *file;
static size_t file_size;
static const hearth_limits limits = {.struct_size = sizeof limits, .context = 48, .batch = 4};

struct job {
    pthread_t thread;
    int32_t first; /* token, which makes this thread's prompt its own */
    float want[N_VOCAB];
    const char *failure; /* NULL: none */
    hearth_error err;
    hearth_session *session; /* under the lock; NULL: none */
};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool done;

/* ---- The engine's callbacks ------------------------------------------------------------------------------------------ */

static atomic_bool annoying;
static atomic_uint asked;
static atomic_int given;

static bool now_and_then(void *user)
{
    (void)user;
    return atomic_load(&annoying) && atomic_fetch_add(&asked, 1) % 61 == 60;
}

static void *allocate(size_t bytes, size_t alignment, void *user)
{
    (void)user;
    void *p = aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    atomic_fetch_add(&given, p != NULL);
    return p;
}

static void release(void *memory, size_t bytes, void *user)
{
    (void)bytes, (void)user;
    atomic_fetch_sub(&given, 1);
    free(memory);
}

static const hearth_allocator allocator = {.struct_size = sizeof allocator, .allocate = allocate, .release = release};

/* ---------------------------------------------------------------------------------------------------------------------- */

static void fill(const struct job *j, int32_t ids[N_IDS])
{
    for (int32_t i = 0; i < N_IDS; i++)
        ids[i] = (j->first + i * 31) % N_VOCAB;
}

/* Cancelled by another thread: take it back, and go on. */
static bool was_cancelled(hearth_session *session, hearth_status status)
{
    if (status == HEARTH_E_CANCELLED)
        hearth_session_resume(session);
    return status == HEARTH_E_CANCELLED;
}

/* Feed the job's prompt and keep the logits of its last token; false with j->err filled in. */
static bool compute(struct job *j, hearth_session *session, float *logits)
{
    int32_t ids[N_IDS];
    fill(j, ids);
    hearth_status status;
    hearth_session_reset(session);
    do
        status = hearth_session_feed(session, ids, N_IDS, &j->err);
    while (was_cancelled(session, status));
    if (status != HEARTH_OK)
        return false;
    memcpy(logits, hearth_session_logits(session, 0), N_VOCAB * sizeof *logits);
    return true;
}

static const char *talk(struct job *j, hearth_session *session)
{
    float got[N_VOCAB];
    int32_t ids[32];
    size_t n;
    hearth_generation g = {.struct_size = sizeof g, .max_tokens = 4};
    hearth_result result = {.struct_size = sizeof result};
    if (!compute(j, session, got))
        return "feed";
    if (memcmp(got, j->want, sizeof got) != 0)
        return "other bits than alone";
    hearth_status status;
    do
        status = hearth_generate(session, &g, &result, &j->err);
    while (was_cancelled(session, status));
    if (status != HEARTH_OK)
        return "generate";
    if (hearth_tokenize(model, "a few words", 11, 0, ids, 32, &n, &j->err) != HEARTH_OK)
        return "tokenize";
    return NULL;
}

static const char *open_another(struct job *j)
{
    struct memory_source source = {0};
    hearth_model *other;
    hearth_plan *plan;
    if (memory_source_open(&source, file, file_size, &j->err) != HEARTH_OK ||
        hearth_plan_open_source(&plan, engine, &source.source, &limits, &j->err) != HEARTH_OK)
        return "plan";
    hearth_plan_close(plan);
    hearth_status status;
    do
        status = hearth_model_open_source(&other, engine, &source.source, &limits, NULL, &j->err);
    while (status == HEARTH_E_CANCELLED);
    if (status != HEARTH_OK)
        return "open";
    hearth_model_close(other);
    memory_source_close(&source);
    return NULL;
}

/* What others may cancel. */
static void publish(struct job *j, hearth_session *session)
{
    (void)pthread_mutex_lock(&lock);
    j->session = session;
    (void)pthread_mutex_unlock(&lock);
}

/* Cancels one session after another until `done`. */
static void *cancel(void *context)
{
    struct job *jobs = context;
    for (int i = 0; !atomic_load(&done); i = (i + 1) % THREADS) {
        (void)pthread_mutex_lock(&lock);
        if (jobs[i].session)
            hearth_session_cancel(jobs[i].session);
        (void)pthread_mutex_unlock(&lock);
        (void)usleep(300);
    }
    return NULL;
}

static void *work(void *context)
{
    struct job *j = context;
    hearth_session *session;
    for (int i = 0; i < ROUNDS && !j->failure; i++) {
        if (hearth_session_open(&session, model, &limits, &j->err) != HEARTH_OK) {
            j->failure = "session";
            break;
        }
        publish(j, session);
        j->failure = talk(j, session);
        publish(j, NULL);
        hearth_session_close(session);
        if (!j->failure)
            j->failure = open_another(j);
    }
    return NULL;
}

/* What each job gives alone. */
static bool compute_alone(struct job jobs[THREADS], hearth_error *err)
{
    hearth_session *session;
    bool good = hearth_session_open(&session, model, &limits, err) == HEARTH_OK;
    for (int32_t i = 0; good && i < THREADS; i++) {
        jobs[i].first = 3 + 50 * i;
        good = compute(&jobs[i], session, jobs[i].want);
        *err = jobs[i].err;
    }
    hearth_session_close(session);
    return good;
}

static bool all_at_once(struct job jobs[THREADS])
{
    int n = 0;
    pthread_t canceller;
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
    static struct gguf_builder builder;
    static struct job jobs[THREADS];
    const hearth_engine_options options = {
        .struct_size = sizeof options, .threads = 3, .abort = now_and_then, .allocator = &allocator};
    struct memory_source source = {0};
    hearth_error err = {0};
    gguf_builder_init(&builder);
    gguf_builder_add_llama(&builder, &(struct gguf_shape){.rope_freqs = true, .format = HEARTH_Q8_0});
    file = gguf_builder_finish(&builder, &file_size);
    gguf_builder_free(&builder);
    bool good = memory_source_open(&source, file, file_size, &err) == HEARTH_OK &&
                hearth_engine_open(&engine, &options, &err) == HEARTH_OK &&
                hearth_model_open_source(&model, engine, &source.source, &limits, NULL, &err) == HEARTH_OK &&
                compute_alone(jobs, &err);
    atomic_store(&annoying, true);
    if (!good)
        (void)fprintf(stderr, "FAILED: %s\n", err.message);
    else
        good = all_at_once(jobs);
    hearth_model_close(model);
    hearth_engine_close(engine);
    memory_source_close(&source);
    free(file);
    good = good && atomic_load(&given) == 0 && atomic_load(&asked) > 61;
    (void)printf("%d threads, %d rounds: %s\n", THREADS, ROUNDS, good ? "each as if alone" : "FAILED");
    return good ? 0 : 1;
}
