/* The plan against the kernel's count of private memory, sampled after open, prompt, generation and close: never above the plan,
 * and the plan at most max(10 %, 4 MiB) above the peak. The plan is also the limit that the system sets for private writable
 * memory while the model is opened and used (reliability: M2). On the bundled model, and on a sparse file with a 4 GB model's
 * header, whose zero weights cost as much memory as any; and with the packed weights mapped from a file. A plain program: a test
 * framework's own memory would be counted. */
#include "engine.h"
#include "folder.h"
#include "golden.h"
#include "plan.h"
#include "shapes.h"
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t peak;
static const char *pack_cache; /* folder; NULL: none */
static int32_t pages;          /* HEARTH_PAGES_* */
static uint64_t cache_budget;

static void sample(void)
{
    const uint64_t now = hearth_machine_private_bytes();
    peak = now > peak ? now : peak;
}

static bool sample_while_loading(uint64_t done, uint64_t total, void *user)
{
    (void)user;
    if (done == total)
        sample();
    return true;
}

static int fail(const char *what, const hearth_error *err)
{
    (void)fprintf(stderr, "FAILED: %s: %s [%s]\n", what, err->message, err->detail);
    return 1;
}

/* Lines of the plan against what the arenas handed out. */
static bool ledgers_agree(const hearth_plan *plan, const hearth_engine *engine, const hearth_model *model,
                          const hearth_session *session)
{
    bool agree = true;
    for (size_t i = 0; i < HEARTH_PLAN_ITEM_COUNT; i++) {
        const uint64_t taken =
            engine->arena.taken[i] + engine->prefix_cache.arena.taken[i] + model->arena.taken[i] + session->arena.taken[i];
        if (i == HEARTH_PLAN_LOADING || i == HEARTH_PLAN_ROUNDING || i == HEARTH_PLAN_PROCESS ||
            taken == hearth_plan_line_bytes(plan, i))
            continue;
        (void)fprintf(stderr, "FAILED: %s: planned %" PRIu64 ", taken %" PRIu64 "\n", hearth_plan_line_name(plan, i),
                      hearth_plan_line_bytes(plan, i), taken);
        agree = false;
    }
    return agree;
}

/* From now on the system refuses more private writable memory than that. */
static bool limit_private(uint64_t bytes)
{
    const struct rlimit limit = {.rlim_cur = bytes, .rlim_max = bytes};
    return setrlimit(RLIMIT_DATA, &limit) == 0;
}

/* A conversation as long as its room, so that all of it is touched. */
static hearth_status talk(hearth_session *session, hearth_error *err)
{
    static const char text[] = "Turn on the light in the kitchen, and the one in the hall.";
    const hearth_chat_options options = {.struct_size = sizeof options, .when_full = HEARTH_CHAT_DROP_OLDEST};
    const hearth_generation g = {.struct_size = sizeof g, .max_tokens = 20};
    hearth_chat *chat;
    hearth_status status = hearth_chat_open(&chat, session, &options, err);
    for (int i = 0; i < 600 && status == HEARTH_OK; i++)
        status = hearth_chat_add(chat, HEARTH_ROLE_USER, text, sizeof text - 1, err);
    if (status == HEARTH_OK)
        status = hearth_chat_answer(chat, &g, NULL, err);
    sample();
    hearth_chat_close(status == HEARTH_OK ? chat : NULL);
    return status;
}

static int measure(const char *path, const hearth_limits *limits, uint32_t threads, uint32_t n_prompt, uint32_t n_generate)
{
    hearth_error err = {0};
    hearth_engine *engine;
    hearth_plan *plan;
    hearth_model *model;
    hearth_session *session;
    const hearth_engine_options options = {
        .struct_size = sizeof options, .threads = threads, .pack_cache = pack_cache, .pages = pages, .cache_budget = cache_budget};
    const hearth_model_options loading = {.struct_size = sizeof loading, .progress = sample_while_loading};
    if (hearth_engine_open(&engine, &options, &err) != HEARTH_OK ||
        hearth_plan_open(&plan, engine, path, limits, &err) != HEARTH_OK)
        return fail(path, &err);
    if (hearth_plan_check(plan, &err) != HEARTH_OK) {
        (void)printf("SKIPPED: %s\n", err.message);
        return 77;
    }
    if (!limit_private(hearth_plan_private_bytes(plan)))
        return fail("setrlimit", &err);
    if (hearth_model_open(&model, engine, path, limits, &loading, &err) != HEARTH_OK)
        return fail("open", &err);
    sample();
    if (hearth_session_open(&session, model, limits, &err) != HEARTH_OK)
        return fail("session", &err);
    sample();
    if (pages >= HEARTH_PAGES_2M)
        (void)printf("in hugetlb pages: %" PRIu64 " of %" PRIu64 " bytes\n", model->arena.held + session->arena.held,
                     model->arena.bytes + session->arena.bytes);
    const bool agree = ledgers_agree(plan, engine, model, session);
    static int32_t ids[512];
    for (uint32_t i = 0; i < 512; i++)
        ids[i] = (int32_t)(i * 7 % 256);
    if (hearth_session_feed(session, ids, n_prompt, &err) != HEARTH_OK)
        return fail("prompt", &err);
    sample();
    if (limits->grammar && hearth_session_set_grammar(session, "root ::= (.{1,9} | [a-z]*)*", 27, &err) != HEARTH_OK)
        return fail("grammar", &err);
    if (limits->chat && talk(session, &err) != HEARTH_OK)
        return fail("chat", &err);
    for (uint32_t i = 0; i < n_generate; i++) {
        int32_t id;
        if (hearth_session_sample(session, &id, &err) != HEARTH_OK || hearth_session_feed(session, &id, 1, &err) != HEARTH_OK)
            return fail("generate", &err);
    }
    for (uint32_t i = 0; cache_budget && i < 3; i++) { /* the cache is filled and used */
        hearth_prompt_info info = {.struct_size = sizeof info};
        if (hearth_session_prompt(session, ids + i % 2, 300, &info, &err) != HEARTH_OK || (i == 2 && info.n_restored != 256))
            return fail("conversations", &err);
    }
    sample();
    const uint64_t planned = hearth_plan_private_bytes(plan);
    hearth_plan_close(plan);
    hearth_session_close(session);
    hearth_model_close(model);
    sample();
    hearth_engine_close(engine);
    const uint64_t tolerance = planned / 10 > (4u << 20) ? planned / 10 : 4u << 20;
    const bool held = peak <= planned && planned - peak <= tolerance;
    (void)printf("%s, %" PRIu32 " threads: planned %" PRIu64 ", peak %" PRIu64 " (%.2f %%): %s\n", path, threads, planned, peak,
                 100.0 * (double)peak / (double)planned, held ? "held" : "BROKEN");
    return held && agree ? 0 : 1;
}

/* Each measurement is a process of its own, so that none inherits another's heap. */
static int in_child(const char *path, const hearth_limits *limits, uint32_t threads, uint32_t n_prompt, uint32_t n_generate)
{
    (void)fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        const int code = measure(path, limits, threads, n_prompt, n_generate);
        (void)fflush(NULL);
        _exit(code);
    }
    int state = 0;
    if (child < 0 || waitpid(child, &state, 0) < 0 || !WIFEXITED(state))
        return 1;
    return WEXITSTATUS(state);
}

/* A file of the shape's full size that takes no disk: the data section is a hole. */
static bool write_sparse(const char *path, const char *shape, const char *recipe)
{
    hearth_error err = {0};
    uint8_t *header;
    size_t size;
    uint64_t data_bytes;
    if (hearth_shape_header(hearth_shape_find(shape), recipe, &header, &size, &data_bytes, &err) != HEARTH_OK)
        return fail(shape, &err) == 0;
    const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    const bool written = fd >= 0 && write(fd, header, size) == (ssize_t)size && ftruncate(fd, (off_t)(size + data_bytes)) == 0;
    if (fd >= 0)
        (void)close(fd);
    free(header);
    return written;
}

static int measure_sparse(void)
{
    char path[] = "plan_peak.XXXXXX";
    const int fd = mkstemp(path);
    if (fd < 0)
        return 1;
    (void)close(fd);
    const hearth_limits limits = {.struct_size = sizeof limits, .context = 512, .batch = 64};
    const int code = write_sparse(path, "llama-2-7b", "Q4_K_M") ? in_child(path, &limits, 0, 16, 2) : 1;
    (void)unlink(path);
    return code;
}

/* The first open writes the file, the second maps it: its plan has no weights, and neither has the process. */
static int measure_mapped(const char *path, const hearth_limits *limits)
{
    char folder[] = "plan_peak_packed.XXXXXX";
    pack_cache = mkdtemp(folder);
    int code = pack_cache ? 0 : 1;
    for (int i = 0; i < 2 && code == 0; i++)
        code = in_child(path, limits, 2, 40, 20);
    hearth_engine *engine;
    hearth_plan *plan;
    hearth_error err = {0};
    const hearth_engine_options options = {.struct_size = sizeof options, .threads = 2, .pack_cache = pack_cache};
    if (hearth_engine_open(&engine, &options, &err) != HEARTH_OK ||
        hearth_plan_open(&plan, engine, path, limits, &err) != HEARTH_OK)
        return fail("mapped", &err);
    (void)printf("mapped %" PRIu64 " bytes, private weights %" PRIu64 "\n", hearth_plan_mapped_bytes(plan),
                 hearth_plan_line_bytes(plan, HEARTH_PLAN_WEIGHTS));
    if (hearth_plan_mapped_bytes(plan) == 0 || hearth_plan_line_bytes(plan, HEARTH_PLAN_WEIGHTS) != 0)
        code = 1;
    hearth_plan_close(plan);
    hearth_engine_close(engine);
    folder_remove(folder);
    return code;
}

int main(void)
{
    const char *sanitize = getenv("HEARTH_SANITIZE");
    if (sanitize && *sanitize) {
        (void)puts("SKIPPED: sanitizers' shadow memory would be counted");
        return 77;
    }
    char path[GOLDEN_PATH];
    golden_source(path, "models/hearth-home.Q4_K_M.gguf");
    int worst = 0;
    static const hearth_limits cases[] = {
        {.struct_size = sizeof cases[0]},
        {.struct_size = sizeof cases[0], .context = 2048, .batch = 512, .kv_type = HEARTH_KV_F32, .logits_rows = 64},
        {.struct_size = sizeof cases[0], .context = 1000, .batch = 512, .kv_type = HEARTH_KV_Q8_0},
        {.struct_size = sizeof cases[0], .context = 64, .batch = 16},
        {.struct_size = sizeof cases[0], .context = 64, .batch = 16, .grammar = 1},
        {.struct_size = sizeof cases[0], .context = 2048, .batch = 64, .chat = 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (uint32_t threads = 1; threads <= 3; threads++)
            if (in_child(path, &cases[i], threads, 40, 20) != 0)
                worst = 1;
    for (pages = HEARTH_PAGES_4K; pages <= HEARTH_PAGES_1G; pages++)
        if (in_child(path, &cases[1], 2, 40, 20) != 0)
            worst = 1;
    pages = HEARTH_PAGES_AUTO;
    for (cache_budget = 5u << 20; cache_budget <= (40u << 20); cache_budget *= 8)
        if (in_child(path, &cases[0], 2, 40, 20) != 0 || in_child(path, &cases[2], 2, 40, 20) != 0)
            worst = 1;
    cache_budget = 0;
    const int sparse = measure_sparse();
    if (sparse != 0 && sparse != 77)
        worst = 1;
    if (measure_mapped(path, &cases[0]) != 0)
        worst = 1;
    return worst;
}
