/* The manager as an application meets it. Every conversation has a twin on an engine of its own, which is never interrupted:
 * whatever happens to a model between two steps, its next logits are the twin's, bit by bit. */
#include "engine.h"
#include "folder.h"
#include "gguf_builder.h"
#include "golden.h"
#include "parts.h"
#include "support/rng.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB ((uint64_t)1 << 20)
#define FED 5u /* tokens of a step, and the one that it chooses */

static char folder[32], states[64];
static hearth_engine *engine, *twins;
static hearth_manager *manager;
static hearth_error err;
static char logged[8192];
static const hearth_limits limits = {.struct_size = sizeof limits, .context = 512, .batch = 32};

/* Each with weights of its own seed; the bundled one is the sixth. `c` takes more memory than the others. */
enum { A, B, C, D, BAD, HOME, N_MODELS };
static const char *const names[N_MODELS] = {"a", "b", "c", "d", "bad", "home"};
static char paths[N_MODELS][GOLDEN_PATH];
static struct talk {
    hearth_model *model;
    hearth_session *twin;
    uint32_t steps;
} talks[N_MODELS];

static void keep_log(int32_t level, const char *message, void *user)
{
    (void)user;
    const size_t n = strlen(logged);
    (void)snprintf(logged + n, sizeof logged - n, "%s%s\n", level > 0 ? "warning: " : "", message);
}

/* ---- Files ---------------------------------------------------------------------------------------------------------- */

/* Zeros for divisors of angles: nothing that the header tells, found when the weights are there. */
static void damage_weights(const char *path)
{
    static const float zeros[8];
    struct hearth_parts parts;
    cr_assert_eq(hearth_parts_open(&parts, path, &err), HEARTH_OK, "%s", err.message);
    const struct hearth_gguf_tensor *tensor = hearth_gguf_find_tensor(&parts.gguf, "rope_freqs.weight");
    cr_assert(tensor);
    const uint64_t at = tensor->file_offset;
    hearth_parts_close(&parts);
    const int fd = open(path, O_WRONLY);
    cr_assert_eq(pwrite(fd, zeros, sizeof zeros, (off_t)at), (ssize_t)sizeof zeros);
    (void)close(fd);
}

static void write_model(int which)
{
    static struct gguf_builder builder;
    gguf_builder_init(&builder);
    builder.seed = (uint64_t)which + 1;
    gguf_builder_add_llama(&builder, &(struct gguf_shape){.n_embd = which == C ? 256 : 64,
                                                          .n_ff = which == C ? 3072 : 96,
                                                          .n_ctx_train = 1u << 20,
                                                          .rope_freqs = true});
    gguf_builder_write_file(&builder, paths[which]);
    gguf_builder_free(&builder);
    if (which == BAD)
        damage_weights(paths[which]);
}

static void make_folder(void)
{
    (void)snprintf(folder, sizeof folder, "test_manager.XXXXXX");
    cr_assert(mkdtemp(folder));
    (void)snprintf(states, sizeof states, "%s/states", folder);
    for (int i = 0; i < HOME; i++) {
        (void)snprintf(paths[i], sizeof paths[i], "%s/%s.gguf", folder, names[i]);
        write_model(i);
    }
    golden_source(paths[HOME], "models/hearth-home.Q4_K_M.gguf");
}

static const char *state_of(const char *name, const char *suffix)
{
    static char path[128];
    (void)snprintf(path, sizeof path, "%s/%s.state%s", states, name, suffix);
    return path;
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* ---- The manager and the twins -------------------------------------------------------------------------------------- */

/* What a model and its session take, beside the engine. */
static uint64_t size_of(int which)
{
    hearth_plan *plan;
    cr_assert_eq(hearth_plan_open(&plan, twins, paths[which], &limits, &err), HEARTH_OK, "%s", err.message);
    const uint64_t bytes = hearth_plan_private_bytes(plan) - hearth_engine_own_bytes(twins);
    hearth_plan_close(plan);
    return bytes;
}

static void open_manager(void)
{
    const hearth_manager_options options = {.struct_size = sizeof options, .state_folder = states};
    cr_assert_eq(hearth_manager_open(&manager, engine, &options, &err), HEARTH_OK, "%s", err.message);
    for (int i = 0; i < N_MODELS; i++)
        cr_assert_eq(hearth_manager_register(manager, names[i], paths[i], &limits, &err), HEARTH_OK, "%s", err.message);
}

/* An engine that can hold so much beside itself. */
static void open_under(uint64_t bytes)
{
    hearth_engine_options options = {.struct_size = sizeof options, .threads = 2, .ram_cap = MIB, .log = keep_log};
    cr_assert_eq(hearth_engine_open(&engine, &options, &err), HEARTH_OK, "%s", err.message);
    options.ram_cap = hearth_engine_own_bytes(engine) + bytes;
    hearth_engine_close(engine);
    cr_assert_eq(hearth_engine_open(&engine, &options, &err), HEARTH_OK, "%s", err.message);
    open_manager();
}

static void close_manager(void)
{
    hearth_manager_close(manager);
    hearth_engine_close(engine);
    manager = NULL;
    engine = NULL;
}

static void start(void)
{
    const hearth_engine_options options = {.struct_size = sizeof options, .threads = 2};
    make_folder();
    cr_assert_eq(hearth_engine_open(&twins, &options, &err), HEARTH_OK, "%s", err.message);
}

static void finish(void)
{
    close_manager();
    for (int i = 0; i < N_MODELS; i++) {
        hearth_session_close(talks[i].twin);
        hearth_model_close(talks[i].model);
    }
    hearth_engine_close(twins);
    folder_remove(states);
    folder_remove(folder);
}

TestSuite(manager, .init = start, .fini = finish);

static void set_sampling(hearth_session *session, uint64_t seed)
{
    hearth_sampling sampling;
    hearth_sampling_init(&sampling, sizeof sampling);
    sampling.seed = seed;
    cr_assert_eq(hearth_session_set_sampling(session, &sampling, &err), HEARTH_OK, "%s", err.message);
}

static void begin_talk(int which)
{
    struct talk *t = &talks[which];
    cr_assert_eq(hearth_model_open(&t->model, twins, paths[which], &limits, NULL, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_session_open(&t->twin, t->model, &limits, &err), HEARTH_OK, "%s", err.message);
    set_sampling(t->twin, (uint64_t)which);
    set_sampling(hearth_manager_session(manager), (uint64_t)which);
}

static int32_t feed_and_choose(hearth_session *session, uint32_t steps)
{
    int32_t ids[FED], chosen;
    for (uint32_t i = 0; i < FED; i++)
        ids[i] = (int32_t)(3 + (steps * 41 + i * 17) % 250);
    cr_assert_eq(hearth_session_feed(session, ids, FED, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_session_sample(session, &chosen, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_session_feed(session, &chosen, 1, &err), HEARTH_OK, "%s", err.message);
    return chosen;
}

static void expect_twin(int which)
{
    hearth_session *session = hearth_manager_session(manager);
    cr_assert(session);
    const float *mine = hearth_session_logits(session, 0);
    const float *twin = hearth_session_logits(talks[which].twin, 0);
    cr_assert_eq(hearth_session_position(session), hearth_session_position(talks[which].twin));
    cr_assert(mine && twin);
    cr_assert_eq(memcmp(mine, twin, hearth_model_vocabulary_size(talks[which].model) * sizeof *mine), 0, "%s: other bits",
                 names[which]);
}

/* A step of the current model's conversation, and of its twin's. */
static void step(int which)
{
    struct talk *t = &talks[which];
    cr_assert_str_eq(hearth_manager_current(manager), names[which]);
    if (!t->twin)
        begin_talk(which);
    const int32_t mine = feed_and_choose(hearth_manager_session(manager), t->steps);
    cr_assert_eq(mine, feed_and_choose(t->twin, t->steps), "%s: another token", names[which]);
    t->steps++;
    expect_twin(which);
}

static void switch_to(int which)
{
    const hearth_status status = hearth_manager_switch(manager, names[which], &err);
    cr_assert_eq(status, HEARTH_OK, "%s", err.message);
}

static void switch_and_step(int which)
{
    switch_to(which);
    step(which);
}

static hearth_model_info info_of(int which)
{
    hearth_model_info info = {.struct_size = sizeof info};
    cr_assert_eq(hearth_manager_info(manager, (size_t)which, &info, &err), HEARTH_OK, "%s", err.message);
    cr_assert_str_eq(info.name, names[which]);
    return info;
}

static void expect_states(const int32_t want[N_MODELS])
{
    for (int i = 0; i < N_MODELS; i++)
        cr_expect_eq(info_of(i).state, want[i], "%s: got %d, want %d", names[i], info_of(i).state, want[i]);
}

/* ---- Switching ------------------------------------------------------------------------------------------------------ */

Test(manager, holds_the_applications_scenario)
{
    open_under(size_of(HOME) + size_of(A) / 2); /* either, never both */
    switch_and_step(HOME);
    step(HOME);
    switch_and_step(A);
    cr_expect_eq(info_of(HOME).state, HEARTH_MODEL_REGISTERED);
    switch_and_step(HOME);
    cr_expect_eq(info_of(HOME).conversation, HEARTH_CONVERSATION_RESTORED);
    cr_expect_eq(info_of(A).state, HEARTH_MODEL_REGISTERED);

    const hearth_limits large = {.struct_size = sizeof large, .context = 1u << 20};
    cr_assert_eq(hearth_manager_register(manager, "large", paths[A], &large, &err), HEARTH_OK, "%s", err.message);
    cr_expect_eq(hearth_manager_switch(manager, "large", &err), HEARTH_E_MEMORY);
    cr_expect_gt(err.needed, err.available);
    cr_expect_eq(err.available, engine->cap); /* all may go */
    step(HOME);
    cr_expect_eq(hearth_manager_switch(manager, "no such", &err), HEARTH_E_NOT_FOUND);
    step(HOME);
    cr_assert_eq(unlink(paths[B]), 0);
    cr_expect_eq(hearth_manager_switch(manager, "b", &err), HEARTH_E_NOT_FOUND);
    cr_expect_eq(info_of(HOME).state, HEARTH_MODEL_CURRENT);
    step(HOME);
}

Test(manager, goes_on_with_the_same_bits_whatever_happens)
{
    struct rng rng = rng_start();
    hearth_optimized optimized = {.struct_size = sizeof optimized};
    open_under(size_of(C) + size_of(A) + size_of(B) / 2);
    for (int i = 0; i < 120; i++) {
        const int which = (int)rng_below(&rng, BAD);
        switch (rng_below(&rng, 8)) {
        case 0:
            (void)hearth_manager_load(manager, names[which], &err);
            break;
        case 1:
            cr_assert_eq(hearth_manager_unload(manager, names[which], &err), HEARTH_OK, "%s", err.message);
            break;
        case 2:
            cr_assert_eq(hearth_manager_optimize(manager, &optimized, &err), HEARTH_OK, "%s", err.message);
            break;
        case 3:
            cr_assert_eq(hearth_manager_switch(manager, "bad", &err), HEARTH_E_FORMAT);
            break;
        case 4:
            close_manager();
            open_under(size_of(C) + size_of(A) + size_of(B) / 2);
            break;
        default:
            switch_to(which);
        }
        for (int j = 0; hearth_manager_current(manager) && j < BAD; j++)
            if (strcmp(hearth_manager_current(manager), names[j]) == 0 && talks[j].steps < 80)
                step(j);
    }
}

/* Until somebody is evicted nothing is written, and a session is the same object. */
Test(manager, keeps_what_fits)
{
    open_under(size_of(A) + size_of(B));
    switch_and_step(A);
    hearth_session *session = hearth_manager_session(manager);
    switch_and_step(B);
    cr_expect_eq(info_of(A).state, HEARTH_MODEL_RESIDENT);
    cr_expect_not(exists(state_of("a", "")));
    switch_and_step(A);
    cr_expect_eq(hearth_manager_session(manager), session);
    cr_expect_eq(info_of(A).conversation, HEARTH_CONVERSATION_NEW);
    switch_to(A);
    cr_expect_eq(hearth_manager_session(manager), session);
    cr_expect_eq(atomic_load(&engine->reserved) - hearth_engine_own_bytes(engine),
                 info_of(A).resident_bytes + info_of(B).resident_bytes);
}

Test(manager, evicts_the_least_recently_used_and_no_more_than_needed)
{
    const uint64_t small = size_of(A);
    cr_assert_gt(size_of(C), 2 * small);
    open_under(3 * small);
    switch_to(A);
    switch_to(B);
    cr_assert_eq(hearth_manager_load(manager, "d", &err), HEARTH_OK);
    switch_to(A); /* D is the oldest now: B was current until here */
    expect_states((int32_t[]){HEARTH_MODEL_CURRENT, HEARTH_MODEL_RESIDENT, 0, HEARTH_MODEL_RESIDENT, 0, 0});
    cr_assert_eq(hearth_manager_register(manager, "a2", paths[A], &limits, &err), HEARTH_OK);
    cr_assert_eq(hearth_manager_load(manager, "a2", &err), HEARTH_OK, "%s", err.message);
    expect_states((int32_t[]){HEARTH_MODEL_CURRENT, HEARTH_MODEL_RESIDENT, 0, 0, 0, 0});
    cr_assert_eq(hearth_manager_load(manager, "d", &err), HEARTH_OK, "%s", err.message);
    expect_states((int32_t[]){HEARTH_MODEL_CURRENT, 0, 0, HEARTH_MODEL_RESIDENT, 0, 0});
    close_manager();

    open_under(size_of(C) + 3 * small / 2); /* the small ones are older, the large one alone is enough */
    switch_to(A);
    cr_assert_eq(hearth_manager_load(manager, "c", &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_manager_load(manager, "home", &err), HEARTH_OK, "%s", err.message);
    expect_states((int32_t[]){HEARTH_MODEL_CURRENT, 0, 0, 0, 0, HEARTH_MODEL_RESIDENT});
    switch_to(B);
    cr_assert_eq(hearth_manager_load(manager, "a", &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_manager_load(manager, "home", &err), HEARTH_OK, "%s", err.message);
    switch_to(C); /* home alone is not enough, and the current one goes last */
    cr_expect_eq(info_of(C).state, HEARTH_MODEL_CURRENT);
    cr_expect_eq(info_of(HOME).state, HEARTH_MODEL_REGISTERED);
}

Test(manager, never_evicts_the_current_model_to_load_another)
{
    open_under(size_of(C) + size_of(A) / 2);
    switch_and_step(A);
    cr_expect_eq(hearth_manager_load(manager, "c", &err), HEARTH_E_MEMORY);
    cr_expect_eq(err.needed - err.available, size_of(C) + size_of(A) - (size_of(C) + size_of(A) / 2));
    step(A);
    cr_expect_eq(hearth_manager_load(manager, "a", &err), HEARTH_OK);
    switch_and_step(C);
    switch_and_step(A);
}

/* ---- Chats ---------------------------------------------------------------------------------------------------------- */

static const hearth_limits with_chat = {.struct_size = sizeof with_chat, .context = 512, .batch = 32, .chat = 1};

struct text {
    char bytes[4096];
    size_t n;
};

static bool collect(const char *bytes, size_t n, void *user)
{
    struct text *t = user;
    memcpy(t->bytes + t->n, bytes, n);
    t->n += n;
    return true;
}

static void say(hearth_chat *chat, const char *words, struct text *answer)
{
    const hearth_generation g = {.struct_size = sizeof g, .max_tokens = 24, .text = collect, .text_user = answer};
    answer->n = 0;
    cr_assert_eq(hearth_chat_send(chat, words, strlen(words), &g, NULL, &err), HEARTH_OK, "%s", err.message);
}

static void expect_message(hearth_chat *chat, size_t index, const struct text *want)
{
    hearth_message message = {.struct_size = sizeof message};
    cr_assert_eq(hearth_chat_message(chat, index, &message, &err), HEARTH_OK, "%s", err.message);
    cr_expect_eq(message.text_bytes, want->n);
    cr_expect_eq(memcmp(message.text, want->bytes, want->n), 0);
}

Test(manager, keeps_the_messages_of_chats)
{
    struct text first, again, twin_first, twin_again;
    struct talk *t = &talks[HOME];
    hearth_chat *twin;
    cr_assert_eq(hearth_model_open(&t->model, twins, paths[HOME], &with_chat, NULL, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_session_open(&t->twin, t->model, &with_chat, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_chat_open(&twin, t->twin, NULL, &err), HEARTH_OK, "%s", err.message);

    open_under(size_of(HOME) + 4 * MIB);
    cr_assert_eq(hearth_manager_register(manager, "chat", paths[HOME], &with_chat, &err), HEARTH_OK, "%s", err.message);
    switch_to(HOME);
    cr_expect_null(hearth_manager_chat(manager));
    cr_assert_eq(hearth_manager_switch(manager, "chat", &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_chat_set_system(hearth_manager_chat(manager), "Be brief.", 9, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_chat_set_system(twin, "Be brief.", 9, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_manager_save(manager, &err), HEARTH_OK, "%s", err.message);
    cr_expect(exists(state_of("chat", "")), "a message alone is something to be saved");
    say(hearth_manager_chat(manager), "Turn on the kitchen light.", &first);
    say(twin, "Turn on the kitchen light.", &twin_first);
    switch_to(A);
    cr_expect_null(hearth_manager_chat(manager));
    cr_assert_eq(hearth_manager_switch(manager, "chat", &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_chat_count(hearth_manager_chat(manager)), 3);
    expect_message(hearth_manager_chat(manager), 2, &first);
    say(hearth_manager_chat(manager), "And off again.", &again);
    say(twin, "And off again.", &twin_again);
    cr_expect_eq(again.n, twin_again.n);
    cr_expect_eq(memcmp(again.bytes, twin_again.bytes, again.n), 0);
    cr_expect_eq(memcmp(hearth_session_logits(hearth_manager_session(manager), 0), hearth_session_logits(t->twin, 0),
                        hearth_model_vocabulary_size(t->model) * sizeof(float)),
                 0);

    /* With limits that have no room for messages, they are put aside, not lost. */
    cr_assert_eq(hearth_manager_forget(manager, "chat", &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_manager_register(manager, "chat", paths[HOME], &limits, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_manager_switch(manager, "chat", &err), HEARTH_OK, "%s", err.message);
    cr_expect_eq(hearth_session_position(hearth_manager_session(manager)), 0);
    cr_expect(exists(state_of("chat", ".bad")));
    hearth_chat_close(twin);
}

/* ---- Failures in the middle ----------------------------------------------------------------------------------------- */

Test(manager, brings_the_current_model_back_when_loading_fails)
{
    open_under(size_of(A) + size_of(B)); /* there is room for the bad one beside */
    switch_and_step(A);
    hearth_session *session = hearth_manager_session(manager);
    cr_expect_eq(hearth_manager_switch(manager, "bad", &err), HEARTH_E_FORMAT);
    cr_expect_eq(hearth_manager_session(manager), session);
    step(A);
    cr_expect_eq(hearth_manager_load(manager, "bad", &err), HEARTH_E_FORMAT);
    step(A);
    close_manager();

    open_under(size_of(A) + size_of(B) / 2); /* there is none */
    switch_and_step(A);
    cr_expect_eq(hearth_manager_switch(manager, "bad", &err), HEARTH_E_FORMAT);
    cr_expect(strstr(err.message, "; a, which had left memory, was loaded again"), "%s", err.message);
    cr_expect_eq(err.code, HEARTH_E_FORMAT);
    cr_expect_str_eq(err.detail, "E_NUM");
    expect_twin(A); /* to the logits */
    step(A);
    cr_expect_eq(atomic_load(&engine->reserved) - hearth_engine_own_bytes(engine), info_of(A).resident_bytes);
}

static bool stop, never_asked = true;

static bool stop_progress(uint64_t done_bytes, uint64_t total_bytes, void *user)
{
    (void)done_bytes, (void)total_bytes, (void)user;
    never_asked = false;
    return !stop;
}

static bool stop_abort(void *user)
{
    (void)user;
    never_asked = false;
    return stop;
}

/* Whoever stopped it goes on saying so while the old model comes back. */
static void cancel_a_switch(hearth_engine_options options)
{
    options.struct_size = sizeof options;
    options.threads = 2;
    options.ram_cap = hearth_engine_own_bytes(twins) + size_of(A) + size_of(B) / 2;
    stop = false;
    never_asked = true;
    cr_assert_eq(hearth_engine_open(&engine, &options, &err), HEARTH_OK, "%s", err.message);
    open_manager();
    switch_and_step(A);
    stop = true;
    cr_expect_eq(hearth_manager_switch(manager, "b", &err), HEARTH_E_CANCELLED, "%s", err.message);
    cr_expect(strstr(err.message, "a, which had left memory, was loaded again"), "%s", err.message);
    cr_expect_not(never_asked);
    stop = false;
    expect_twin(A);
    step(A);
    switch_to(B);
    close_manager();
}

Test(manager, brings_the_current_model_back_when_loading_is_cancelled)
{
    cancel_a_switch((hearth_engine_options){.progress = stop_progress});
    cancel_a_switch((hearth_engine_options){.abort = stop_abort});
}

Test(manager, says_when_no_model_is_left)
{
    char away[128];
    (void)snprintf(away, sizeof away, "%s/away", folder);
    open_under(size_of(A) + size_of(B) / 2);
    switch_and_step(A);
    cr_assert_eq(rename(paths[A], away), 0);
    cr_expect_eq(hearth_manager_switch(manager, "bad", &err), HEARTH_E_FORMAT);
    cr_expect(strstr(err.message, "no model is current"), "%s", err.message);
    cr_expect_null(hearth_manager_current(manager));
    cr_expect_null(hearth_manager_session(manager));
    cr_assert_eq(rename(away, paths[A]), 0);
    switch_and_step(A); /* nothing of it is lost */
}

Test(manager, refuses_to_lose_a_conversation)
{
    open_under(size_of(A) + size_of(B) / 2);
    switch_and_step(A);
    folder_remove(states);
    cr_expect_eq(hearth_manager_switch(manager, "b", &err), HEARTH_E_IO, "%s", err.message);
    step(A);
    cr_expect_eq(hearth_manager_unload(manager, "a", &err), HEARTH_E_IO);
    cr_expect_eq(hearth_manager_save(manager, &err), HEARTH_E_IO);
    cr_expect_eq(hearth_manager_forget(manager, "a", &err), HEARTH_E_IO);
    step(A);
    cr_assert_eq(mkdir(states, 0700), 0);
    switch_and_step(B);
    switch_and_step(A);
}

Test(manager, survives_a_full_disk)
{
    struct rlimit before, full;
    open_under(size_of(A) + size_of(B) / 2);
    switch_and_step(A);
    (void)signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    full = before;
    full.rlim_cur = 1024;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &full), 0);
    const hearth_status status = hearth_manager_switch(manager, "b", &err);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    cr_expect_eq(status, HEARTH_E_IO, "%s", err.message);
    step(A);
    switch_and_step(B);
    switch_and_step(A);
}

/* ---- States --------------------------------------------------------------------------------------------------------- */

static void flip_byte(const char *path, off_t at)
{
    uint8_t byte;
    const int fd = open(path, O_RDWR);
    cr_assert_eq(pread(fd, &byte, 1, at), 1);
    byte ^= 0x55;
    cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
    (void)close(fd);
}

static void forget_twin(int which)
{
    hearth_session_close(talks[which].twin);
    hearth_model_close(talks[which].model);
    talks[which] = (struct talk){0};
}

Test(manager, begins_anew_where_a_state_does_not_serve)
{
    char from[128];
    open_under(size_of(A) + size_of(B) / 2);
    switch_and_step(A);
    switch_and_step(B);
    flip_byte(state_of("a", ""), 1);
    logged[0] = '\0';
    switch_to(A);
    cr_expect_eq(info_of(A).conversation, HEARTH_CONVERSATION_LOST);
    cr_expect_not(info_of(A).saved);
    cr_expect(strstr(logged, "warning: manager: a: begins anew"), "%s", logged);
    cr_expect(exists(state_of("a", ".bad")));
    cr_expect_not(exists(state_of("a", "")));
    cr_expect_eq(hearth_session_position(hearth_manager_session(manager)), 0);
    forget_twin(A);
    step(A);

    switch_to(B); /* another model's */
    step(B);
    switch_to(A);
    step(A);
    (void)strcpy(from, state_of("b", ""));
    cr_assert_eq(hearth_manager_unload(manager, "a", &err), HEARTH_OK);
    cr_assert_eq(rename(from, state_of("a", "")), 0);
    switch_to(A);
    cr_expect_eq(info_of(A).conversation, HEARTH_CONVERSATION_LOST);
    switch_to(B); /* its own is gone: new */
    cr_expect_eq(info_of(B).conversation, HEARTH_CONVERSATION_NEW);
}

Test(manager, keeps_states_private_and_writes_them_only_when_something_changed)
{
    struct stat first, second;
    open_under(size_of(A) + size_of(B) / 2);
    cr_assert_eq(stat(states, &first), 0);
    cr_expect_eq(first.st_mode & 07777, 0700);
    switch_to(A);
    cr_assert_eq(hearth_manager_save(manager, &err), HEARTH_OK);
    cr_expect_not(exists(state_of("a", "")), "nothing has been said");
    step(A);
    cr_expect_not(info_of(A).saved);
    cr_assert_eq(hearth_manager_save(manager, &err), HEARTH_OK);
    cr_expect(info_of(A).saved);
    cr_assert_eq(stat(state_of("a", ""), &first), 0);
    cr_expect_eq(first.st_mode & 07777, 0600);
    switch_and_step(B);
    cr_assert_eq(stat(state_of("a", ""), &second), 0);
    cr_expect_eq(first.st_ino, second.st_ino, "written again");
    switch_to(A);
    cr_expect(info_of(A).saved);
    step(A);
    cr_expect_not(info_of(A).saved);
    hearth_session_reset(hearth_manager_session(manager)); /* an empty conversation is one, too */
    cr_assert_eq(hearth_manager_unload(manager, "a", &err), HEARTH_OK);
    switch_to(A);
    cr_expect_eq(hearth_session_position(hearth_manager_session(manager)), 0);
}

Test(manager, saves_when_it_is_closed_and_goes_on_in_the_next_process)
{
    open_under(size_of(A) + size_of(B));
    switch_and_step(A);
    switch_and_step(B);
    close_manager();
    open_under(size_of(A) + size_of(B) / 2);
    cr_expect(info_of(A).saved);
    switch_and_step(A);
    switch_and_step(B);
}

static hearth_status try_folder(const char *name)
{
    const hearth_manager_options options = {.struct_size = sizeof options, .state_folder = name};
    hearth_manager *m;
    const hearth_status status = hearth_manager_open(&m, engine, &options, &err);
    cr_expect_eq(status == HEARTH_OK, m != NULL);
    hearth_manager_close(m);
    return status;
}

Test(manager, refuses_folders_it_cannot_trust)
{
    char path[128];
    open_under(MIB);
    cr_expect_eq(try_folder(states), HEARTH_E_BUSY);
    cr_expect_eq(try_folder("no/such/parent"), HEARTH_E_IO);
    cr_expect_eq(try_folder(""), HEARTH_E_IO);
    cr_expect_eq(try_folder(paths[A]), HEARTH_E_IO, "a file");
    (void)snprintf(path, sizeof path, "%s/shared", folder);
    cr_assert_eq(mkdir(path, 0700), 0);
    cr_expect_eq(try_folder(path), HEARTH_OK);
    cr_assert_eq(chmod(path, 0770), 0);
    cr_expect_eq(try_folder(path), HEARTH_E_IO);
    cr_expect(strstr(err.message, "others may write to it"), "%s", err.message);
    cr_assert_eq(chmod(path, 0500), 0);
    if (geteuid() == 0) {
        cr_assert_eq(chown(path, 65534, 65534), 0);
        cr_expect_eq(try_folder(path), HEARTH_E_IO, "another user's");
        cr_assert_eq(chmod(folder, 0755), 0);
        cr_assert_eq(seteuid(65534), 0);
        cr_expect_eq(try_folder(path), HEARTH_E_IO, "not to be written to");
        cr_assert_eq(seteuid(0), 0);
    } else {
        cr_expect_eq(try_folder(path), HEARTH_E_IO, "not to be written to");
    }
    (void)rmdir(path);
}

/* ---- Names ---------------------------------------------------------------------------------------------------------- */

Test(manager, takes_names_that_are_no_paths)
{
    char long_name[66];
    memset(long_name, 'n', 65);
    long_name[65] = '\0';
    static const char *const hostile[] = {"",    ".",    "..",   "a/b",       "/etc/passwd", "../a",
                                          "a b", "a\nb", "\x80", "a\x1b[31m", "a*",          "~"};
    open_under(size_of(A));
    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
        cr_expect_eq(hearth_manager_register(manager, hostile[i], paths[A], NULL, &err), HEARTH_E_CONFIG, "%s", hostile[i]);
        cr_expect_str_eq(err.detail, "E_NAME");
        cr_expect_eq(hearth_manager_switch(manager, hostile[i], &err), HEARTH_E_NOT_FOUND);
        for (const char *c = err.message; *c; c++)
            cr_expect(*c >= 0x20 && *c < 0x7f);
    }
    cr_expect_eq(hearth_manager_register(manager, long_name, paths[A], NULL, &err), HEARTH_E_CONFIG);
    long_name[64] = '\0';
    cr_expect_eq(hearth_manager_register(manager, long_name, paths[A], &limits, &err), HEARTH_OK, "%s", err.message);
    cr_expect_eq(hearth_manager_register(manager, "...", paths[A], &limits, &err), HEARTH_OK);
    cr_assert_eq(hearth_manager_switch(manager, long_name, &err), HEARTH_OK, "%s", err.message);
    set_sampling(hearth_manager_session(manager), 1);
    cr_assert_eq(hearth_manager_switch(manager, "...", &err), HEARTH_OK, "%s", err.message);
    cr_expect(exists(state_of(long_name, "")));
}

Test(manager, registers_what_can_run)
{
    hearth_limits odd = {.struct_size = 4};
    open_under(size_of(A));
    cr_expect_eq(hearth_manager_count(manager), N_MODELS);
    cr_expect_eq(hearth_manager_register(manager, "a", paths[B], NULL, &err), HEARTH_E_CONFIG);
    cr_expect_str_eq(err.detail, "E_NAME");
    cr_expect_str_eq(info_of(A).path, paths[A]);
    cr_expect_eq(hearth_manager_register(manager, "new", "no such file", NULL, &err), HEARTH_E_NOT_FOUND);
    cr_expect_eq(hearth_manager_register(manager, "new", folder, NULL, &err), HEARTH_E_IO);
    cr_expect_eq(hearth_manager_register(manager, "new", paths[A], &odd, &err), HEARTH_E_CONFIG);
    odd = limits;
    odd.kv_type = 9;
    cr_expect_eq(hearth_manager_register(manager, "new", paths[A], &odd, &err), HEARTH_E_CONFIG);
    flip_byte(paths[B], 0);
    cr_expect_eq(hearth_manager_register(manager, "new", paths[B], NULL, &err), HEARTH_E_FORMAT);
    cr_expect_eq(hearth_manager_switch(manager, "b", &err), HEARTH_E_FORMAT);
    cr_expect_eq(hearth_manager_count(manager), N_MODELS);
    cr_expect_eq(info_of(A).plan_bytes, size_of(A));
}

Test(manager, forgets_a_name_but_no_conversation)
{
    open_under(size_of(A) + size_of(B));
    switch_and_step(B);
    switch_and_step(A);
    cr_assert_eq(hearth_manager_forget(manager, "b", &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_manager_forget(manager, "a", &err), HEARTH_OK, "%s", err.message);
    cr_expect_null(hearth_manager_current(manager));
    cr_expect_eq(hearth_manager_forget(manager, "a", &err), HEARTH_E_NOT_FOUND);
    cr_expect_eq(hearth_manager_unload(manager, "a", &err), HEARTH_E_NOT_FOUND);
    cr_expect_eq(hearth_manager_count(manager), N_MODELS - 2);
    cr_expect_eq(atomic_load(&engine->reserved), hearth_engine_own_bytes(engine));
    cr_assert_eq(hearth_manager_register(manager, "a", paths[A], &limits, &err), HEARTH_OK);
    switch_and_step(A);
}

/* ---- Misuse --------------------------------------------------------------------------------------------------------- */

static bool switch_from_callback(const char *text, size_t bytes, void *user)
{
    (void)text, (void)bytes;
    *(hearth_status *)user = hearth_manager_switch(manager, "b", &err);
    return true;
}

static hearth_status from_log = HEARTH_OK;
static bool seen_current;

static void use_from_log(int32_t level, const char *message, void *user)
{
    (void)level, (void)message, (void)user;
    from_log = hearth_manager_load(manager, "a", NULL);
    seen_current = hearth_manager_current(manager) || hearth_manager_session(manager) || hearth_manager_count(manager) > 0;
}

Test(manager, is_busy_while_it_is_used)
{
    hearth_status inside = HEARTH_OK;
    const hearth_generation generation = {
        .struct_size = sizeof generation, .max_tokens = 3, .text = switch_from_callback, .text_user = &inside};
    open_under(size_of(A) + size_of(B) / 2);
    switch_and_step(A);
    cr_assert_eq(hearth_generate(hearth_manager_session(manager), &generation, NULL, &err), HEARTH_OK, "%s", err.message);
    cr_expect_eq(inside, HEARTH_E_BUSY, "the session that would have to leave is generating");
    cr_expect_str_eq(hearth_manager_current(manager), "a");
    forget_twin(A);

    engine->log = use_from_log;
    switch_to(B);
    engine->log = keep_log;
    cr_expect_eq(from_log, HEARTH_E_BUSY);
    cr_expect_not(seen_current);
}

Test(manager, keeps_models_with_other_sessions)
{
    hearth_session *other;
    open_under(2 * size_of(A) + size_of(B) / 2);
    switch_and_step(A);
    cr_assert_eq(hearth_session_open(&other, hearth_manager_model(manager), &limits, &err), HEARTH_OK, "%s", err.message);
    cr_expect_eq(hearth_manager_unload(manager, "a", &err), HEARTH_E_BUSY);
    cr_expect_eq(hearth_manager_switch(manager, "c", &err), HEARTH_E_MEMORY, "%s", err.message);
    step(A);
    hearth_session_close(other);
    switch_and_step(B);
    cr_expect_eq(info_of(A).state, HEARTH_MODEL_RESIDENT);
}

Test(manager, takes_nonsense_with_a_status)
{
    hearth_manager *m;
    hearth_manager_options options = {.struct_size = 4};
    hearth_model_info info = {.struct_size = 4};
    hearth_optimized optimized = {.struct_size = 4};
    open_under(MIB);
    cr_expect_eq(hearth_manager_open(NULL, engine, &options, &err), HEARTH_E_CONFIG);
    cr_expect_eq(hearth_manager_open(&m, NULL, &options, &err), HEARTH_E_CONFIG);
    cr_expect_eq(hearth_manager_open(&m, engine, NULL, &err), HEARTH_E_CONFIG);
    cr_expect_eq(hearth_manager_open(&m, engine, &options, &err), HEARTH_E_CONFIG);
    options.struct_size = sizeof options;
    cr_expect_eq(hearth_manager_open(&m, engine, &options, &err), HEARTH_E_CONFIG);
    cr_expect_eq(hearth_manager_info(manager, 0, &info, &err), HEARTH_E_CONFIG);
    info.struct_size = sizeof info;
    cr_expect_eq(hearth_manager_info(manager, N_MODELS, &info, &err), HEARTH_E_CONFIG);
    cr_expect_eq(hearth_manager_info(manager, 0, NULL, &err), HEARTH_E_CONFIG);
    cr_expect_eq(hearth_manager_optimize(manager, &optimized, &err), HEARTH_E_CONFIG);
    cr_expect_eq(hearth_manager_optimize(manager, NULL, &err), HEARTH_E_CONFIG);
    cr_expect_eq(hearth_manager_switch(manager, NULL, &err), HEARTH_E_CONFIG);
    cr_expect_eq(hearth_manager_switch(NULL, "a", &err), HEARTH_E_CONFIG);
    cr_expect_eq(hearth_manager_register(manager, "x", NULL, NULL, &err), HEARTH_E_CONFIG);
    cr_expect_null(hearth_manager_current(NULL));
    cr_expect_null(hearth_manager_session(manager));
    cr_expect_null(hearth_manager_model(manager));
    cr_expect_eq(hearth_manager_count(NULL), 0);
    hearth_manager_close(NULL);
    hearth_engine_close(engine); /* before its manager */
    cr_expect_eq(hearth_manager_switch(manager, "a", &err), HEARTH_E_MEMORY);
    hearth_manager_close(manager);
    manager = NULL;
    engine = NULL;
}

Test(manager, is_not_used_by_a_child)
{
    open_under(size_of(A));
    switch_and_step(A);
    const pid_t child = fork();
    if (child == 0) {
        const bool refused =
            hearth_manager_switch(manager, "a", NULL) == HEARTH_E_FORKED && hearth_manager_save(manager, NULL) == HEARTH_E_FORKED;
        hearth_manager_close(manager);
        const hearth_manager_options options = {.struct_size = sizeof options, .state_folder = states};
        hearth_engine *own;
        hearth_manager *second;
        const bool busy = hearth_engine_open(&own, NULL, NULL) == HEARTH_OK &&
                          hearth_manager_open(&second, own, &options, NULL) == HEARTH_E_BUSY; /* the parent has it still */
        _exit(busy && refused && !exists(state_of("a", "")) ? 0 : 1);
    }
    int status = -1;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    step(A);
}

/* ---- Memory --------------------------------------------------------------------------------------------------------- */

Test(manager, gives_memory_back_and_answers_with_the_same_bits)
{
    hearth_optimized out = {.struct_size = sizeof out};
    const hearth_limits deep = {.struct_size = sizeof deep, .context = 32768, .kv_type = HEARTH_KV_F32};
    open_under(1024 * MIB);
    switch_and_step(B);
    switch_and_step(A);
    cr_assert_eq(hearth_manager_register(manager, "deep", paths[C], &deep, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_manager_load(manager, "deep", &err), HEARTH_OK, "%s", err.message);

    uint64_t before = hearth_machine_private_bytes();
    cr_assert_eq(hearth_manager_optimize(manager, &out, &err), HEARTH_OK, "%s", err.message);
    uint64_t after = hearth_machine_private_bytes();
    if (before == 0)
        cr_skip_test("the kernel does not count private memory here");
    cr_expect_eq(out.n_unloaded, 2);
    cr_expect_lt(after, before);
    cr_expect_lt((double)out.bytes_freed, (double)(before - after) * 1.05 + 65536);
    cr_expect_gt((double)out.bytes_freed, (double)(before - after) * 0.95 - 65536);
    cr_expect_leq(out.bytes_freed, out.weights + out.kv + out.scratch);
    cr_expect_gt(out.bytes_freed, (out.weights + out.kv + out.scratch) * 9 / 10);
    cr_expect_geq(out.kv, 2ull * 32768 * 2 * 2 * 64 * 4 / 2);
    expect_states((int32_t[]){HEARTH_MODEL_CURRENT, 0, 0, 0, 0, 0});
    expect_twin(A);
    step(A);

    cr_assert_eq(hearth_manager_switch(manager, "deep", &err), HEARTH_OK, "%s", err.message); /* the current one alone */
    (void)feed_and_choose(hearth_manager_session(manager), 0);
    cr_assert_eq(hearth_manager_unload(manager, "a", &err), HEARTH_OK);
    before = hearth_machine_private_bytes();
    cr_assert_eq(hearth_manager_optimize(manager, &out, &err), HEARTH_OK, "%s", err.message);
    after = hearth_machine_private_bytes();
    cr_expect_eq(out.n_unloaded, 0);
    cr_expect_eq(out.weights, 0);
    cr_expect_gt(before - after, out.kv * 9 / 10, "%lu of %lu", (unsigned long)(before - after), (unsigned long)out.kv);
    (void)feed_and_choose(hearth_manager_session(manager), 1);
    switch_and_step(A);
    switch_and_step(B);
}

Test(manager, empties_the_prefix_cache_too)
{
    static int32_t ids[200];
    static float first[300];
    hearth_optimized out = {.struct_size = sizeof out};
    hearth_prompt_info info = {.struct_size = sizeof info};
    const hearth_engine_options options = {.struct_size = sizeof options, .threads = 2, .cache_budget = 4 * MIB};
    for (int32_t i = 0; i < 200; i++)
        ids[i] = 3 + i;
    cr_assert_eq(hearth_engine_open(&engine, &options, &err), HEARTH_OK, "%s", err.message);
    open_manager();
    switch_to(A);
    hearth_session *session = hearth_manager_session(manager);
    for (int i = 0; i < 3; i++) {
        hearth_session_reset(session);
        if (i == 2) {
            cr_assert_eq(hearth_manager_optimize(manager, &out, &err), HEARTH_OK, "%s", err.message);
            cr_expect_gt(out.cache, 3 * MIB);
            cr_expect_gt(out.bytes_freed, out.cache * 9 / 10);
        }
        cr_assert_eq(hearth_session_prompt(session, ids, 200, &info, &err), HEARTH_OK, "%s", err.message);
        cr_expect_eq(info.n_restored, i == 1 ? 192 : 0, "%u", info.n_restored);
        if (i == 0)
            memcpy(first, hearth_session_logits(session, 0), sizeof first);
        cr_expect_eq(memcmp(first, hearth_session_logits(session, 0), sizeof first), 0);
    }
}
