/* The file of packed weights: written once, then mapped, with the same logits to the bit; and whatever is wrong with it, or with
 * its folder, costs a warning and nothing else. */
#include "cpu.h"
#include "engine.h"
#include "folder.h"
#include "gguf_builder.h"
#include "plan.h"
#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MODEL "test_pack_cache.gguf" /* of all tests but the one that changes it: made once, because it must be at rest */
#define OLD_ENOUGH 4                 /* seconds after which a model file is taken to be at rest */
#define N_VOCAB 300u

static char folder[32], cache[64], model_path[64];
static char logged[4096];
static const hearth_limits limits = {.struct_size = sizeof limits, .context = 64, .batch = 8};

static void keep_log(int32_t level, const char *message, void *user)
{
    (void)user;
    const size_t n = strlen(logged);
    (void)snprintf(logged + n, sizeof logged - n, "%s%s\n", level > 0 ? "warning: " : "", message);
}

/* A model whose packed weights take several pieces of a checksum. */
static void write_model(void)
{
    static struct gguf_builder builder;
    gguf_builder_init(&builder);
    gguf_builder_add_llama(
        &builder, &(struct gguf_shape){.n_layer = 4, .n_embd = 256, .n_ff = 2048, .n_vocab = N_VOCAB, .format = HEARTH_F16});
    gguf_builder_write_file(&builder, model_path);
    gguf_builder_free(&builder);
}

/* In the process that starts the tests. */
ReportHook(PRE_ALL)(struct criterion_test_set *unused)
{
    (void)unused;
    (void)snprintf(model_path, sizeof model_path, "%s", MODEL);
    write_model();
    (void)sleep(OLD_ENOUGH);
}

ReportHook(POST_ALL)(struct criterion_global_stats *unused)
{
    (void)unused;
    (void)unlink(MODEL);
}

static void start(void)
{
    (void)snprintf(folder, sizeof folder, "test_pack_cache.XXXXXX");
    cr_assert(mkdtemp(folder));
    (void)snprintf(cache, sizeof cache, "%s/cache", folder);
    (void)snprintf(model_path, sizeof model_path, "%s", MODEL);
}

static void finish(void)
{
    folder_remove(cache);
    folder_remove(folder);
}

TestSuite(pack_cache, .init = start, .fini = finish);

struct answer {
    float logits[N_VOCAB];
    struct hearth_hash identity;
    uint64_t planned_private, planned_mapped, planned_weights;
    bool mapped;
};

static int32_t verify; /* HEARTH_VERIFY_* of run() */

/* Plan, open, answer and close. What the log said is in `logged`. */
static void run(struct answer *out, const char *pack_cache, hearth_model_options *options)
{
    static const int32_t ids[5] = {1, 70, 80, 90, 270};
    hearth_engine *engine;
    hearth_plan *plan;
    hearth_model *model;
    hearth_session *session;
    hearth_error err = {0};
    const hearth_engine_options engine_options = {
        .struct_size = sizeof engine_options, .threads = 2, .log = keep_log, .pack_cache = pack_cache, .verify = verify};
    logged[0] = '\0';
    cr_assert_eq(hearth_engine_open(&engine, &engine_options, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_plan_open(&plan, engine, model_path, &limits, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_model_open(&model, engine, model_path, &limits, options, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_session_open(&session, model, &limits, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_session_feed(session, ids, 5, &err), HEARTH_OK, "%s", err.message);
    memcpy(out->logits, hearth_session_logits(session, 0), sizeof out->logits);
    out->planned_private = hearth_plan_private_bytes(plan);
    out->planned_mapped = hearth_plan_mapped_bytes(plan);
    out->planned_weights = hearth_plan_line_bytes(plan, HEARTH_PLAN_WEIGHTS);
    out->mapped = model->cache.map != NULL;
    out->identity = model->identity;
    hearth_plan_close(plan);
    hearth_session_close(session);
    hearth_model_close(model);
    hearth_engine_close(engine);
}

static bool same(const struct answer *a, const struct answer *b)
{
    return memcmp(a->logits, b->logits, sizeof a->logits) == 0 && hearth_hash_equal(a->identity, b->identity);
}

/* The one file in the folder: its path; fails where there are more or fewer. */
static const char *the_file(void)
{
    static char path[400];
    unsigned n = 0;
    DIR *d = opendir(cache);
    cr_assert(d);
    for (struct dirent *entry; (entry = readdir(d)) != NULL;)
        if (entry->d_name[0] != '.') {
            (void)snprintf(path, sizeof path, "%s/%s", cache, entry->d_name);
            n++;
        }
    (void)closedir(d);
    cr_assert_eq(n, 1, "%u files", n);
    return path;
}

static off_t size_of(const char *path)
{
    struct stat info;
    cr_assert_eq(stat(path, &info), 0);
    return info.st_size;
}

static void flip(const char *path, off_t at)
{
    unsigned char byte;
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    cr_assert(fd >= 0 && pread(fd, &byte, 1, at) == 1);
    byte ^= 1;
    cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
    (void)close(fd);
}

static struct answer plain, first, second;

/* Checked before the first use, or never: the same bits from a good file; and never is nothing written that nobody looked at. */
Test(pack_cache, may_be_checked_later)
{
    run(&plain, NULL, NULL);
    verify = HEARTH_VERIFY_OFF;
    run(&first, cache, NULL);
    cr_assert(!first.mapped && same(&first, &plain) && !strstr(logged, "written"), "%s", logged);
    verify = HEARTH_VERIFY_LAZY;
    run(&first, cache, NULL);
    cr_assert(!first.mapped && same(&first, &plain) && strstr(logged, ": written"), "%s", logged);
    for (; verify <= HEARTH_VERIFY_OFF; verify++) {
        run(&second, cache, NULL);
        cr_assert(second.mapped && same(&second, &plain) && strstr(logged, ": serves, "), "%s", logged);
    }
}

Test(pack_cache, damage_that_is_found_late_is_an_error_each_time)
{
    static const int32_t id = 5;
    hearth_engine *engine;
    hearth_model *model;
    hearth_session *session;
    hearth_error err = {0};
    run(&first, cache, NULL);
    flip(the_file(), size_of(the_file()) - 1);
    const hearth_engine_options lazy = {.struct_size = sizeof lazy, .pack_cache = cache, .verify = HEARTH_VERIFY_LAZY};
    cr_assert_eq(hearth_engine_open(&engine, &lazy, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_model_open(&model, engine, model_path, &limits, NULL, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_session_open(&session, model, &limits, &err), HEARTH_OK, "%s", err.message);
    for (int again = 0; again < 2; again++) {
        cr_assert_eq(hearth_session_feed(session, &id, 1, &err), HEARTH_E_IO);
        cr_assert(strstr(err.message, the_file()) && strstr(err.message, "is damaged at byte"), "%s", err.message);
        cr_assert_eq(hearth_session_position(session), 0);
    }
    hearth_session_close(session);
    hearth_model_close(model);
    hearth_engine_close(engine);
    run(&second, cache, NULL); /* verifies all, and repairs it */
    cr_assert(!second.mapped && same(&second, &first) && strstr(logged, ": written"), "%s", logged);
}

Test(pack_cache, second_start_is_mapped_and_the_same)
{
    run(&plain, NULL, NULL);
    run(&first, cache, NULL);
    cr_assert(strstr(logged, ": written") && !strstr(logged, "warning"), "%s", logged);
    cr_assert(!first.mapped && first.planned_mapped == 0 && same(&first, &plain));
    const char *file = the_file();
    struct stat info;
    cr_assert(stat(file, &info) == 0 && (info.st_mode & 0777) == 0600);
    cr_assert(info.st_size > 8 << 20, "one piece is no test of several");
    run(&second, cache, NULL);
    cr_assert(strstr(logged, ": serves") && !strstr(logged, "warning"), "%s", logged);
    cr_assert(second.mapped && same(&second, &plain));
    cr_assert_eq(second.planned_mapped, ((uint64_t)info.st_size + 4095) / 4096 * 4096);
    cr_assert_eq(second.planned_weights, 0);
    cr_assert(second.planned_private + (uint64_t)info.st_size / 10 * 9 < plain.planned_private);
    cr_assert_str_eq(the_file(), file);
}

Test(pack_cache, damage_is_found_before_it_is_used)
{
    run(&plain, NULL, NULL);
    run(&first, cache, NULL);
    const off_t size = size_of(the_file());
    const off_t places[] = {0, 9, 17, 25, 33, 41, 57, 73, 89, 4096, 4096 + (4 << 20), size / 2, size - 1};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        flip(the_file(), places[i]);
        run(&second, cache, NULL);
        cr_assert(!second.mapped && strstr(logged, "warning"), "byte %ld: %s", (long)places[i], logged);
        cr_assert(strstr(logged, ": written") && same(&second, &plain), "byte %ld: %s", (long)places[i], logged);
    }
    const off_t sizes[] = {0, 1, 72, 4096, size - 1, size + 1};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        cr_assert_eq(truncate(the_file(), sizes[i]), 0);
        run(&second, cache, NULL);
        cr_assert(!second.mapped && same(&second, &plain) && strstr(logged, "warning"), "size %ld: %s", (long)sizes[i], logged);
    }
    run(&second, cache, NULL);
    cr_assert(second.mapped && same(&second, &plain));
}

Test(pack_cache, strangers_files_are_not_used)
{
    run(&plain, NULL, NULL);
    run(&first, cache, NULL);
    char file[400];
    (void)snprintf(file, sizeof file, "%s", the_file());
    cr_assert_eq(chmod(file, 0620), 0);
    run(&second, cache, NULL);
    cr_assert(!second.mapped && same(&second, &plain) && strstr(logged, "others may write"), "%s", logged);
    char aside[64];
    (void)snprintf(aside, sizeof aside, "%s/aside", folder);
    cr_assert(rename(file, aside) == 0 && symlink("../aside", file) == 0);
    run(&second, cache, NULL);
    cr_assert(!second.mapped && same(&second, &plain) && strstr(logged, "warning"), "%s", logged);
    cr_assert(unlink(file) == 0 && mkfifo(file, 0600) == 0);
    run(&second, cache, NULL);
    cr_assert(!second.mapped && same(&second, &plain) && strstr(logged, "not a regular file"), "%s", logged);
    run(&second, cache, NULL);
    cr_assert(second.mapped && same(&second, &plain), "%s", logged);
}

Test(pack_cache, a_changed_model_is_packed_again)
{
    struct stat before;
    (void)snprintf(model_path, sizeof model_path, "%s/model.gguf", folder);
    write_model();
    (void)sleep(OLD_ENOUGH);
    run(&first, cache, NULL);
    cr_assert_eq(stat(model_path, &before), 0);
    /* one bit of a weight, same inode and size, and the time of modification put back */
    flip(model_path, before.st_size - 2000);
    const struct timespec times[2] = {before.st_atim, before.st_mtim};
    cr_assert_eq(utimensat(AT_FDCWD, model_path, times, 0), 0);
    run(&second, cache, NULL);
    cr_assert(!second.mapped && strstr(logged, "other"), "%s", logged);
    cr_assert(strstr(logged, "changed just now"), "%s", logged);
    run(&plain, NULL, NULL);
    cr_assert(same(&second, &plain) && !same(&second, &first));
    (void)sleep(OLD_ENOUGH);
    run(&second, cache, NULL);
    cr_assert(strstr(logged, ": written"), "%s", logged);
    run(&second, cache, NULL);
    cr_assert(second.mapped && same(&second, &plain));
    cr_assert(the_file() != NULL, "the file of the other state is replaced");
}

/* A file written with one level's kernels, under the name that another level looks for. */
Test(pack_cache, another_cpu_level_does_not_use_it)
{
    cr_assert_eq(setenv("HEARTH_CPU", "reference", 1), 0);
    run(&first, cache, NULL);
    char renamed[400];
    const char *file = the_file();
    const char *level = strstr(file, ".reference.pack");
    cr_assert(level);
    cr_assert_eq(unsetenv("HEARTH_CPU"), 0);
    run(&plain, NULL, NULL);
    (void)snprintf(renamed, sizeof renamed, "%.*s.%s.pack", (int)(level - file), file, hearth_cpu_level_name(hearth_cpu_detect()));
    cr_assert_eq(rename(file, renamed), 0);
    run(&second, cache, NULL);
    const bool other = hearth_cpu_detect() != HEARTH_CPU_REFERENCE;
    cr_assert(second.mapped != other && same(&second, &plain) && same(&second, &first), "%s", logged);
    cr_assert(!other || strstr(logged, "other kernels"), "%s", logged);
}

Test(pack_cache, a_folder_that_does_not_serve_is_a_warning)
{
    static const char *const folders[] = {"/proc/self/none", "test_pack_cache.none/below", "/dev/null", "/proc"};
    run(&plain, NULL, NULL);
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        run(&first, folders[i], NULL);
        cr_assert(same(&first, &plain) && strstr(logged, "warning"), "%s: %s", folders[i], logged);
    }
    const struct rlimit small = {1 << 20, RLIM_INFINITY};
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    run(&first, cache, NULL);
    cr_assert(same(&first, &plain) && strstr(logged, "too large"), "%s", logged);
}

static bool stop_late(uint64_t done, uint64_t total, void *user)
{
    (void)user;
    return done < total / 4 * 3;
}

Test(pack_cache, cancelling_leaves_no_file)
{
    hearth_engine *engine;
    hearth_model *model;
    hearth_error err = {0};
    const hearth_engine_options options = {.struct_size = sizeof options, .pack_cache = cache};
    const hearth_model_options stopping = {.struct_size = sizeof stopping, .progress = stop_late};
    cr_assert_eq(hearth_engine_open(&engine, &options, &err), HEARTH_OK);
    cr_assert_eq(hearth_model_open(&model, engine, model_path, &limits, &stopping, &err), HEARTH_E_CANCELLED);
    cr_assert_null(model);
    cr_assert_eq(rmdir(cache), 0, "the folder is there, and empty");
    cr_assert_eq(hearth_model_open(&model, engine, model_path, &limits, NULL, &err), HEARTH_OK, "%s", err.message);
    hearth_model_close(model);
    cr_assert_eq(hearth_model_open(&model, engine, model_path, &limits, &stopping, &err), HEARTH_E_CANCELLED, "while verifying");
    hearth_engine_close(engine);
}

Test(pack_cache, several_processes_at_once)
{
    enum { PROCESSES = 4 };
    pid_t child[PROCESSES];
    run(&plain, NULL, NULL);
    for (int i = 0; i < PROCESSES; i++) {
        child[i] = fork();
        cr_assert(child[i] >= 0);
        if (child[i] == 0) {
            run(&first, cache, NULL);
            _exit(same(&first, &plain) && !strstr(logged, "warning") ? 0 : 1);
        }
    }
    for (int i = 0; i < PROCESSES; i++) {
        int state = 0;
        cr_assert(waitpid(child[i], &state, 0) == child[i] && WIFEXITED(state) && WEXITSTATUS(state) == 0);
    }
    run(&second, cache, NULL);
    cr_assert(second.mapped && same(&second, &plain) && the_file() != NULL);
}
