/* Eight threads with eight sessions each over two models, for HEARTH_STRESS_SECONDS (3): prompts, answers in pieces, going back,
 * saving and restoring, whatever the dice say, while another thread cancels sessions at random moments. Every answer is that of its
 * serial twin, made before. Worth most under the thread sanitizer, hence a plain program. */
#include "engine.h"
#include "golden.h"
#include "support/rng.h" /* engine/ has one of its own */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define THREADS 8
#define SESSIONS 8 /* of each thread, half of them on each model */
#define MODELS 2
#define PROMPTS 4
#define N_PROMPT 21
#define N_ANSWER 12

static const char *const files[MODELS] = {"tests/data/llama-Q4_K_M.gguf", "tests/data/llama-Q8_0.gguf"};
static const hearth_limits limits = {.struct_size = sizeof limits, .context = 64, .batch = 8};
static hearth_engine *engine;
static hearth_model *models[MODELS];
static int32_t twins[MODELS][PROMPTS][N_ANSWER];
static hearth_session *sessions[THREADS][SESSIONS];
static atomic_bool done;
static char folder[] = "/tmp/hearth-stress-XXXXXX";

struct job {
    pthread_t thread;
    uint32_t number;
    uint64_t n_answers, n_cancelled, n_restored;
    const char *failure; /* NULL: none */
    hearth_error err;
};

static double seconds_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* The first tokens are the same in all, so that going from one to another keeps some. */
static void fill(uint32_t prompt, int32_t n_vocab, int32_t ids[N_PROMPT])
{
    for (int32_t i = 0; i < N_PROMPT; i++)
        ids[i] = (7 + i * 31 + (i < 6 ? 0 : (int32_t)prompt * 50)) % n_vocab;
}

/* Cancelled by another thread: take it back, and go on. */
static bool goes_on(struct job *j, hearth_session *session, hearth_status status)
{
    if (status != HEARTH_E_CANCELLED)
        return false;
    j->n_cancelled++;
    hearth_session_resume(session);
    return true;
}

/* Everything from the prompt on, as often as it takes. A cancelled answer goes on with its next token. */
static bool answer(struct job *j, hearth_session *session, uint32_t prompt, int32_t n_vocab, int32_t out[N_ANSWER])
{
    int32_t ids[N_PROMPT];
    hearth_status status;
    hearth_sampling sampling;
    uint32_t n = 0;
    hearth_sampling_init(&sampling, sizeof sampling);
    sampling.seed = prompt + 1;
    fill(prompt, n_vocab, ids);
    do
        status = hearth_session_prompt(session, ids, N_PROMPT, NULL, &j->err);
    while (goes_on(j, session, status));
    if (status != HEARTH_OK || hearth_session_set_sampling(session, &sampling, &j->err) != HEARTH_OK)
        return false;
    while (n < N_ANSWER) {
        hearth_generation g = {.struct_size = sizeof g, .max_tokens = N_ANSWER - n, .ids = out + n, .ids_capacity = N_ANSWER - n};
        hearth_result result = {.struct_size = sizeof result};
        status = hearth_generate(session, &g, &result, &j->err);
        n += result.n_generated;
        if (status != HEARTH_OK && !goes_on(j, session, status))
            return false;
        if (status == HEARTH_OK && result.stop != HEARTH_STOP_LENGTH)
            break;
    }
    while (n < N_ANSWER)
        out[n++] = -1;
    return true;
}

/* Through a file into another session of the thread on the same model. */
static const char *move(struct job *j, struct rng *rng, uint32_t from)
{
    char path[96];
    hearth_status status;
    hearth_session *source = sessions[j->number][from];
    hearth_session *target = sessions[j->number][(from + MODELS * (1 + rng_below(rng, SESSIONS / MODELS - 1))) % SESSIONS];
    (void)snprintf(path, sizeof path, "%s/%u", folder, j->number);
    do
        status = hearth_session_save(source, path, &j->err);
    while (goes_on(j, source, status));
    if (status != HEARTH_OK)
        return "save";
    do
        status = hearth_session_restore(target, path, &j->err);
    while (goes_on(j, target, status));
    if (status != HEARTH_OK)
        return "restore";
    j->n_restored++;
    uint32_t n[2];
    const int32_t *ids[2] = {hearth_session_tokens(source, &n[0]), hearth_session_tokens(target, &n[1])};
    return n[0] == n[1] && memcmp(ids[0], ids[1], n[0] * sizeof *ids[0]) == 0 ? NULL : "other tokens than were saved";
}

static const char *step(struct job *j, struct rng *rng)
{
    int32_t got[N_ANSWER];
    const uint32_t which = rng_below(rng, SESSIONS);
    const uint32_t prompt = rng_below(rng, PROMPTS);
    hearth_session *session = sessions[j->number][which];
    hearth_model *model = models[which % MODELS];
    switch (rng_below(rng, 8)) {
    case 0:
        hearth_session_reset(session);
        return NULL;
    case 1:
        return hearth_session_rewind(session, rng_below(rng, hearth_session_position(session) + 1), &j->err) == HEARTH_OK
                   ? NULL
                   : "rewind";
    case 2:
        return move(j, rng, which);
    default:
        break;
    }
    if (!answer(j, session, prompt, (int32_t)hearth_model_vocabulary_size(model), got))
        return "answer";
    j->n_answers++;
    return memcmp(got, twins[which % MODELS][prompt], sizeof got) == 0 ? NULL : "another answer than alone";
}

static void *work(void *context)
{
    struct job *j = context;
    struct rng rng = rng_from(j->number + 1);
    while (!j->failure && !atomic_load(&done))
        j->failure = step(j, &rng);
    return NULL;
}

static void *cancel(void *context)
{
    (void)context;
    struct rng rng = rng_from(99);
    while (!atomic_load(&done)) {
        hearth_session_cancel(sessions[rng_below(&rng, THREADS)][rng_below(&rng, SESSIONS)]);
        (void)usleep(rng_below(&rng, 3000));
    }
    return NULL;
}

/* What each pair of model and prompt gives with nobody beside. */
static bool make_twins(struct job *j)
{
    for (uint32_t m = 0; m < MODELS; m++)
        for (uint32_t p = 0; p < PROMPTS; p++)
            if (!answer(j, sessions[0][m], p, (int32_t)hearth_model_vocabulary_size(models[m]), twins[m][p]))
                return false;
    return true;
}

static bool open_all(hearth_error *err)
{
    const hearth_engine_options options = {.struct_size = sizeof options, .threads = 2};
    if (hearth_engine_open(&engine, &options, err) != HEARTH_OK)
        return false;
    for (uint32_t m = 0; m < MODELS; m++) {
        char path[GOLDEN_PATH];
        golden_source(path, files[m]);
        if (hearth_model_open(&models[m], engine, path, &limits, NULL, err) != HEARTH_OK)
            return false;
    }
    for (uint32_t t = 0; t < THREADS; t++)
        for (uint32_t s = 0; s < SESSIONS; s++)
            if (hearth_session_open(&sessions[t][s], models[s % MODELS], &limits, err) != HEARTH_OK)
                return false;
    return true;
}

static void close_all(void)
{
    for (uint32_t t = 0; t < THREADS; t++)
        for (uint32_t s = 0; s < SESSIONS; s++)
            hearth_session_close(sessions[t][s]);
    for (uint32_t m = 0; m < MODELS; m++)
        hearth_model_close(models[m]);
    hearth_engine_close(engine);
}

static bool all_at_once(struct job jobs[THREADS], double seconds)
{
    pthread_t canceller;
    uint32_t n = 0;
    bool good = pthread_create(&canceller, NULL, cancel, NULL) == 0;
    if (!good)
        return false;
    for (; n < THREADS && pthread_create(&jobs[n].thread, NULL, work, &jobs[n]) == 0; n++)
        ;
    const double end = seconds_now() + seconds;
    while (seconds_now() < end)
        (void)usleep(10000);
    atomic_store(&done, true);
    for (uint32_t t = 0; t < n; t++)
        (void)pthread_join(jobs[t].thread, NULL);
    (void)pthread_join(canceller, NULL);
    return n == THREADS;
}

int main(void)
{
    static struct job jobs[THREADS];
    const char *wanted = getenv("HEARTH_STRESS_SECONDS");
    const double seconds = wanted ? strtod(wanted, NULL) : 3;
    struct job sum = {0};
    for (uint32_t t = 0; t < THREADS; t++)
        jobs[t].number = t;
    bool good = mkdtemp(folder) != NULL && open_all(&sum.err) && make_twins(&sum);
    if (!good)
        (void)fprintf(stderr, "FAILED: %s\n", sum.err.message);
    good = good && all_at_once(jobs, seconds);
    for (uint32_t t = 0; t < THREADS; t++) {
        char path[96];
        (void)snprintf(path, sizeof path, "%s/%u", folder, t);
        (void)unlink(path);
        if (jobs[t].failure)
            (void)fprintf(stderr, "FAILED: thread %u: %s: %s\n", t, jobs[t].failure, jobs[t].err.message);
        good = good && !jobs[t].failure;
        sum.n_answers += jobs[t].n_answers;
        sum.n_cancelled += jobs[t].n_cancelled;
        sum.n_restored += jobs[t].n_restored;
    }
    close_all();
    (void)rmdir(folder);
    (void)printf("%d threads x %d sessions, %d models, %.0f s: %lu answers, %lu calls cancelled, %lu states moved: %s\n", THREADS,
                 SESSIONS, MODELS, seconds, (unsigned long)sum.n_answers, (unsigned long)sum.n_cancelled,
                 (unsigned long)sum.n_restored, good ? "each as if alone" : "FAILED");
    return good && sum.n_answers > 0 ? 0 : 1;
}
