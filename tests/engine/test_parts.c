/* A split model through engine and program: the plan, the logits and the answers of the whole file, to the bit. */
#include "engine.h"
#include "folder.h"
#include "gguf_builder.h"
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define N_PARTS 3u
#define N_VOCAB 300u
#define OLD_ENOUGH 4 /* seconds after which a model file is taken to be at rest */

static char folder[64], whole_path[128], part_paths[N_PARTS][128];
static char logged[2048];
static const hearth_limits limits = {.struct_size = sizeof limits, .context = 64, .batch = 8};

/* The same weights in one file and in parts; the parts after the second are aligned otherwise. */
static void make_files(void)
{
    static struct gguf_builder builder;
    const struct gguf_shape shape = {.format = HEARTH_Q8_0, .rope_freqs = true, .n_vocab = N_VOCAB};
    (void)snprintf(folder, sizeof folder, "%s/hearth-parts-XXXXXX", P_tmpdir);
    cr_assert(mkdtemp(folder) != NULL);
    (void)snprintf(whole_path, sizeof whole_path, "%s/whole.gguf", folder);
    for (unsigned i = 0; i <= N_PARTS; i++) {
        gguf_builder_init(&builder);
        gguf_builder_add_llama(&builder, &shape);
        if (i < N_PARTS) {
            (void)snprintf(part_paths[i], sizeof part_paths[i], "%s/model-%05u-of-%05u.gguf", folder, i + 1, N_PARTS);
            gguf_builder_make_part(&builder, (uint16_t)i, N_PARTS);
            builder.alignment = i == 2 ? 128 : 32;
        }
        gguf_builder_write_file(&builder, i < N_PARTS ? part_paths[i] : whole_path);
        gguf_builder_free(&builder);
    }
}

static void remove_files(void)
{
    char cache[128];
    (void)snprintf(cache, sizeof cache, "%s/cache", folder);
    folder_remove(cache);
    (void)unlinkat(AT_FDCWD, cache, AT_REMOVEDIR);
    folder_remove(folder);
}

TestSuite(parts, .init = make_files, .fini = remove_files);

static void keep_log(int32_t level, const char *message, void *user)
{
    (void)user;
    const size_t n = strlen(logged);
    (void)snprintf(logged + n, sizeof logged - n, "%s%s\n", level > 0 ? "warning: " : "", message);
}

/* Logits of a short text, and what the plan said. */
static void answer(float logits[N_VOCAB], uint64_t *planned, const char *path, const char *pack_cache)
{
    const hearth_engine_options options = {.struct_size = sizeof options, .threads = 2, .pack_cache = pack_cache, .log = keep_log};
    hearth_engine *engine;
    hearth_model *model;
    hearth_session *session;
    hearth_plan *plan;
    hearth_error err;
    logged[0] = '\0';
    cr_assert_eq(hearth_engine_open(&engine, &options, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_plan_open(&plan, engine, path, &limits, &err), HEARTH_OK, "%s", err.message);
    *planned = hearth_plan_private_bytes(plan);
    hearth_plan_close(plan);
    cr_assert_eq(hearth_model_open(&model, engine, path, &limits, NULL, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_session_open(&session, model, &limits, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_session_feed_text(session, "the hearth", 10, HEARTH_TOKENIZE_BOS, NULL, &err), HEARTH_OK);
    memcpy(logits, hearth_session_logits(session, 0), N_VOCAB * sizeof *logits);
    hearth_session_close(session);
    hearth_model_close(model);
    hearth_engine_close(engine);
}

Test(parts, answer_as_the_whole_file_does)
{
    float whole[N_VOCAB];
    float parts[N_VOCAB];
    uint64_t planned[2];
    answer(whole, &planned[0], whole_path, NULL);
    answer(parts, &planned[1], part_paths[0], NULL);
    cr_expect(memcmp(whole, parts, sizeof whole) == 0, "the logits differ");
    cr_expect(planned[1] < planned[0] + 4096 && planned[0] < planned[1] + 4096, "planned %" PRIu64 " and %" PRIu64, planned[0],
              planned[1]);
}

/* The key of packed weights covers every part. */
Test(parts, have_a_pack_cache)
{
    float first[N_VOCAB];
    float second[N_VOCAB];
    uint64_t planned;
    char cache[128];
    (void)snprintf(cache, sizeof cache, "%s/cache", folder);
    (void)sleep(OLD_ENOUGH);
    answer(first, &planned, part_paths[0], cache);
    cr_expect(strstr(logged, ": written\n"), "%s", logged);
    answer(second, &planned, part_paths[0], cache);
    cr_expect(strstr(logged, ": serves\n"), "%s", logged);
    cr_expect(memcmp(first, second, sizeof first) == 0, "the logits differ");
    const struct timespec times[2] = {{0}, {0}};
    cr_assert(utimensat(AT_FDCWD, part_paths[2], times, 0) == 0);
    answer(second, &planned, part_paths[0], cache);
    cr_expect(strstr(logged, "of another state of the model"), "%s", logged);
    cr_expect(memcmp(first, second, sizeof first) == 0, "the logits differ");
}

static void run_program(char *out, size_t size, const char *arguments, const char *path)
{
    char command[1024];
    (void)snprintf(command, sizeof command, "echo the house and the hearth on the hill |\"$HEARTH\" %s -m '%s' 2>/dev/null",
                   arguments, path);
    FILE *program = popen(command, "r");
    cr_assert(program != NULL);
    memset(out, 0, size);
    cr_expect(fread(out, 1, size - 1, program) > 0, "%s", command);
    cr_expect_eq(pclose(program), 0, "%s", command);
}

Test(parts, every_command_takes_them)
{
    static const char *const commands[] = {
        "run -c 64 -n 16 --seed 7 -p 'the'",
        "tokenize --ids",
        "logits --tokens 1,260,261 -o /dev/stdout",
        "perplexity -c 8 -f -",
    };
    char whole[4096];
    char parts[4096];
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        run_program(whole, sizeof whole, commands[i], whole_path);
        run_program(parts, sizeof parts, commands[i], part_paths[0]);
        cr_expect(memcmp(whole, parts, sizeof whole) == 0, "%s", commands[i]);
    }
    run_program(parts, sizeof parts, "info", part_paths[0]);
    cr_expect(strstr(parts, "in 3 parts"), "%s", parts);
    run_program(parts, sizeof parts, "plan -c 64", part_paths[0]);
    cr_expect(strstr(parts, "private memory"), "%s", parts);
}
