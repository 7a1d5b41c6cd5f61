/* One manager from many threads at once, which it is not for: whoever is second gets E_BUSY, nothing breaks, and the one thread
 * that does it right, by trying again, has answers with the bits that it has alone. Worth most under the thread sanitizer, hence a
 * plain program. */
#include "engine.h"
#include "gguf_builder.h"
#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INTRUDERS 3
#define ROUNDS 40
#define N_VOCAB 300
#define N_MODELS 3

static const hearth_limits limits = {.struct_size = sizeof limits, .context = 256, .batch = 8};
static const char *const names[N_MODELS] = {"a", "b", "c"};
static char folder[] = "concurrent_manager.XXXXXX";
static char paths[N_MODELS][64];
static hearth_engine *engine;
static hearth_manager *manager;
static atomic_bool done;
static atomic_uint n_busy, n_served;

/* Calls that may come from anywhere: none of them closes the current model. */
static hearth_status intrude(unsigned i)
{
    hearth_model_info info = {.struct_size = sizeof info};
    hearth_optimized optimized = {.struct_size = sizeof optimized};
    switch (i % 5) {
    case 0:
        return hearth_manager_save(manager, NULL);
    case 1:
        return hearth_manager_load(manager, names[i / 5 % N_MODELS], NULL);
    case 2:
        return hearth_manager_optimize(manager, &optimized, NULL);
    case 3:
        (void)hearth_manager_current(manager);
        (void)hearth_manager_session(manager);
        (void)hearth_manager_count(manager);
        return HEARTH_OK;
    default:
        return hearth_manager_info(manager, i / 5 % N_MODELS, &info, NULL);
    }
}

static void *work(void *context)
{
    for (unsigned i = *(unsigned *)context; !atomic_load(&done); i += 7) {
        const hearth_status status = intrude(i);
        atomic_fetch_add(status == HEARTH_E_BUSY ? &n_busy : &n_served, 1);
        if (status != HEARTH_OK && status != HEARTH_E_BUSY && status != HEARTH_E_MEMORY)
            return context; /* anything else is a failure */
        (void)usleep(100);
    }
    return NULL;
}

static bool feed(hearth_session *session, int32_t round, hearth_error *err)
{
    const int32_t ids[3] = {3 + round, 40 + 2 * round, 7};
    hearth_status status;
    do
        status = hearth_session_feed(session, ids, 3, err);
    while (status == HEARTH_E_BUSY); /* it is being saved */
    return status == HEARTH_OK;
}

/* The switch of a round, and its step of the conversation. */
static bool talk(int32_t round, float *logits, hearth_error *err)
{
    hearth_session *session;
    hearth_status status;
    do
        status = hearth_manager_switch(manager, names[round % N_MODELS], err);
    while (status == HEARTH_E_BUSY);
    if (status != HEARTH_OK)
        return false;
    while (!(session = hearth_manager_session(manager)))
        ;
    if (!feed(session, round, err))
        return false;
    memcpy(logits, hearth_session_logits(session, 0), N_VOCAB * sizeof *logits);
    return true;
}

static bool talk_for_some_rounds(float logits[ROUNDS][N_VOCAB], hearth_error *err)
{
    for (int32_t i = 0; i < ROUNDS; i++)
        if (!talk(i, logits[i], err))
            return false;
    return true;
}

/* Room for two of the three models: conversations come and go. */
static bool open_all(hearth_error *err)
{
    hearth_plan *plan;
    hearth_engine_options options = {.struct_size = sizeof options, .threads = 2};
    const hearth_manager_options states = {.struct_size = sizeof states, .state_folder = folder};
    if (hearth_engine_open(&engine, &options, err) || hearth_plan_open(&plan, engine, paths[0], &limits, err))
        return false;
    options.ram_cap = 5 * hearth_plan_private_bytes(plan) / 2;
    hearth_plan_close(plan);
    hearth_engine_close(engine);
    if (hearth_engine_open(&engine, &options, err) || hearth_manager_open(&manager, engine, &states, err))
        return false;
    for (int i = 0; i < N_MODELS; i++)
        if (hearth_manager_register(manager, names[i], paths[i], &limits, err))
            return false;
    return true;
}

static void close_all(void)
{
    hearth_manager_close(manager);
    hearth_engine_close(engine);
    manager = NULL;
    engine = NULL;
}

static void remove_states(void)
{
    DIR *d = opendir(folder);
    for (struct dirent *entry; d && (entry = readdir(d)) != NULL;)
        if (strstr(entry->d_name, ".state"))
            (void)unlinkat(dirfd(d), entry->d_name, 0);
    if (d)
        (void)closedir(d);
}

static bool talk_among_intruders(float logits[ROUNDS][N_VOCAB], hearth_error *err)
{
    pthread_t threads[INTRUDERS];
    static unsigned firsts[INTRUDERS];
    void *failed[INTRUDERS] = {NULL};
    unsigned n = 0;
    for (; n < INTRUDERS; n++) {
        firsts[n] = n;
        if (pthread_create(&threads[n], NULL, work, &firsts[n]) != 0)
            break;
    }
    bool good = talk_for_some_rounds(logits, err) && n == INTRUDERS;
    atomic_store(&done, true);
    for (unsigned i = 0; i < n; i++) {
        (void)pthread_join(threads[i], &failed[i]);
        if (failed[i])
            (void)fprintf(stderr, "FAILED: a call of thread %u\n", i);
        good = good && !failed[i];
    }
    return good;
}

static void write_models(void)
{
    static struct gguf_builder builder;
    for (uint64_t i = 0; i < N_MODELS; i++) {
        (void)snprintf(paths[i], sizeof paths[i], "%s/%s.gguf", folder, names[i]);
        gguf_builder_init(&builder);
        builder.seed = i + 1;
        gguf_builder_add_llama(&builder, &(struct gguf_shape){.n_ctx_train = 512, .format = HEARTH_Q8_0});
        gguf_builder_write_file(&builder, paths[i]);
        gguf_builder_free(&builder);
    }
}

int main(void)
{
    static float alone[ROUNDS][N_VOCAB], among[ROUNDS][N_VOCAB];
    hearth_error err = {0};
    if (!mkdtemp(folder))
        return 1;
    write_models();
    bool good = open_all(&err) && talk_for_some_rounds(alone, &err);
    close_all();
    remove_states();
    good = good && open_all(&err) && talk_among_intruders(among, &err);
    close_all();
    remove_states();
    if (!good)
        (void)fprintf(stderr, "FAILED: %s\n", err.message);
    if (good && memcmp(alone, among, sizeof alone) != 0) {
        (void)fprintf(stderr, "FAILED: other bits than alone\n");
        good = false;
    }
    for (int i = 0; i < N_MODELS; i++)
        (void)unlink(paths[i]);
    (void)rmdir(folder);
    (void)printf("%u calls of others served, %u refused: %s\n", atomic_load(&n_served), atomic_load(&n_busy),
                 good ? "as if alone" : "FAILED");
    return good ? 0 : 1;
}
