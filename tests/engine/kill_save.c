/* A process that saves its sessions over and over is killed at 200 random moments: each time the file holds the one state or the
 * other, whole. A plain program, because it starts itself as that process. */
#include "gguf_builder.h"
#include "hearth.h"
#include "support/rng.h"
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define N_KILLS 200u
#define N_KILLS_SLOW 30u /* with sanitizers each start takes a second */
#define N_VOCAB 300u
#define N_SAVES 4u /* that a process could do before it is killed */

extern char **environ;

static const uint32_t lengths[2] = {100, 700};
static char folder[32], model_path[64], state_path[64], second_path[64];

struct setup {
    hearth_engine *engine;
    hearth_model *model;
    hearth_session *sessions[3]; /* with the two texts, and one to restore into */
};

static void check(bool good, const char *what, const hearth_error *err)
{
    if (good)
        return;
    (void)printf("FAILED: %s: %s\n", what, err ? err->message : "");
    exit(1);
}

static void name_files(const char *name)
{
    (void)snprintf(folder, sizeof folder, "%s", name);
    (void)snprintf(model_path, sizeof model_path, "%s/model.gguf", folder);
    (void)snprintf(state_path, sizeof state_path, "%s/state", folder);
    (void)snprintf(second_path, sizeof second_path, "%s/state.new", folder);
}

static void write_model(void)
{
    static struct gguf_builder builder;
    gguf_builder_init(&builder);
    gguf_builder_add_llama(&builder, &(struct gguf_shape){.n_embd = 256, .n_vocab = N_VOCAB, .n_ctx_train = 1024});
    gguf_builder_write_file(&builder, model_path);
    gguf_builder_free(&builder);
}

static void open_all(struct setup *s, int n_sessions)
{
    hearth_error err = {0};
    const hearth_engine_options options = {.struct_size = sizeof options, .threads = 1};
    const hearth_limits limits = {.struct_size = sizeof limits, .context = 1024, .kv_type = HEARTH_KV_F32};
    check(hearth_engine_open(&s->engine, &options, &err) == HEARTH_OK, "engine", &err);
    check(hearth_model_open(&s->model, s->engine, model_path, &limits, NULL, &err) == HEARTH_OK, "model", &err);
    for (int i = 0; i < n_sessions; i++) {
        int32_t ids[1024];
        for (uint32_t j = 0; j < 1024; j++)
            ids[j] = (int32_t)(3 + (j + (uint32_t)i) * 7 % 290);
        check(hearth_session_open(&s->sessions[i], s->model, &limits, &err) == HEARTH_OK, "session", &err);
        if (i < 2)
            check(hearth_session_feed(s->sessions[i], ids, lengths[i], &err) == HEARTH_OK, "feed", &err);
    }
}

static void close_all(struct setup *s)
{
    for (int i = 0; i < 3; i++)
        hearth_session_close(s->sessions[i]);
    hearth_model_close(s->model);
    hearth_engine_close(s->engine);
}

/* Until it is killed; says so when it begins. */
static int save_for_ever(void)
{
    struct setup s = {0};
    open_all(&s, 2);
    if (write(STDOUT_FILENO, "x", 1) != 1)
        return 1;
    for (uint32_t i = 0;; i++) {
        hearth_error err = {0};
        check(hearth_session_save(s.sessions[i % 2], state_path, &err) == HEARTH_OK, "save", &err);
    }
}

static void kill_at_random(struct rng *rng, uint32_t most_us)
{
    char said;
    int ends[2];
    pid_t pid;
    posix_spawn_file_actions_t actions;
    char program[] = "/proc/self/exe";
    char *const arguments[] = {program, folder, NULL};
    check(pipe(ends) == 0 && posix_spawn_file_actions_init(&actions) == 0 &&
              posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO) == 0 &&
              posix_spawn_file_actions_addclose(&actions, ends[0]) == 0 &&
              posix_spawn(&pid, program, &actions, NULL, arguments, environ) == 0,
          "spawn", NULL);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(ends[1]);
    check(read(ends[0], &said, 1) == 1, "the process did not begin", NULL);
    (void)close(ends[0]);
    (void)usleep(rng_below(rng, most_us));
    int status;
    check(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid && WIFSIGNALED(status), "the process ended by itself", NULL);
}

/* Which of the two texts the file holds. */
static int restored(const struct setup *s)
{
    hearth_error err = {0};
    hearth_session *session = s->sessions[2];
    check(hearth_session_restore(session, state_path, &err) == HEARTH_OK, "restore", &err);
    const int which = hearth_session_position(session) == lengths[1];
    check(hearth_session_position(session) == lengths[which], "position", NULL);
    check(memcmp(hearth_session_logits(session, 0), hearth_session_logits(s->sessions[which], 0), N_VOCAB * sizeof(float)) == 0,
          "logits", NULL);
    /* And its cache: one token more. */
    const int32_t id = 9;
    check(hearth_session_feed(session, &id, 1, &err) == HEARTH_OK &&
              hearth_session_feed(s->sessions[which], &id, 1, &err) == HEARTH_OK,
          "feed", &err);
    check(memcmp(hearth_session_logits(session, 0), hearth_session_logits(s->sessions[which], 0), N_VOCAB * sizeof(float)) == 0,
          "logits of the next token", NULL);
    check(hearth_session_rewind(s->sessions[which], lengths[which] - 1, &err) == HEARTH_OK &&
              hearth_session_feed(s->sessions[which], hearth_session_tokens(session, NULL) + lengths[which] - 1, 1, &err) ==
                  HEARTH_OK,
          "rewind", &err);
    return which;
}

static uint32_t microseconds_of_saves(const struct setup *s)
{
    struct timespec begin, end;
    hearth_error err = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &begin);
    for (uint32_t i = 0; i < N_SAVES; i++)
        check(hearth_session_save(s->sessions[i % 2], state_path, &err) == HEARTH_OK, "save", &err);
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    return (uint32_t)((end.tv_sec - begin.tv_sec) * 1000000 + (end.tv_nsec - begin.tv_nsec) / 1000);
}

int main(int argc, char **argv)
{
    struct setup s = {0};
    struct rng rng = rng_start();
    uint32_t seen[2] = {0, 0};
    uint32_t n_left = 0;
    char template[] = "kill_save.XXXXXX";
    hearth_error err = {0};
    if (argc > 1) {
        name_files(argv[1]);
        return save_for_ever();
    }
    check(mkdtemp(template) != NULL, "mkdtemp", NULL);
    name_files(template);
    write_model();
    open_all(&s, 3);
    const uint32_t most_us = 1 + microseconds_of_saves(&s);
    const char *sanitize = getenv("HEARTH_SANITIZE");
    const uint32_t n_kills = sanitize && sanitize[0] ? N_KILLS_SLOW : N_KILLS;
    for (uint32_t i = 0; i < n_kills; i++) {
        kill_at_random(&rng, most_us);
        n_left += access(second_path, F_OK) == 0;
        seen[restored(&s)]++;
    }
    check(hearth_session_save(s.sessions[0], state_path, &err) == HEARTH_OK, "save afterwards", &err);
    check(access(second_path, F_OK) != 0, "the left-over file is still there", NULL);
    (void)printf("%" PRIu32 " and %" PRIu32 " times the one and the other state, %" PRIu32 " times killed while writing\n", seen[0],
                 seen[1], n_left);
    check(n_left > 0 && seen[0] > 0 && seen[1] > 0, "the moments were not random enough", NULL);
    close_all(&s);
    (void)unlink(state_path);
    (void)unlink(model_path);
    (void)rmdir(folder);
    return 0;
}
