/* Every call of hearth.h that does work, on a thread of 256 KiB, as the promise in the header says; and what is left of that stack,
 * and of the workers' own, of the same size. The stacks are looked through afterwards for the deepest byte that was written. A
 * plain program: a test framework's frames would be counted. */
#include "engine.h"
#include "folder.h"
#include "golden.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define STACK_BYTES (256u << 10)
#define UNUSED 0x5a

static char folder[] = "small_stack.XXXXXX";
static char model_path[GOLDEN_PATH];
static const char *step = "nothing";
static hearth_error error;
static size_t workers_deepest;

static bool good(const char *what, hearth_status status)
{
    step = what;
    if (status == HEARTH_OK)
        return true;
    (void)fprintf(stderr, "FAILED: %s: %s [%s]\n", what, error.message, error.detail);
    return false;
}

/* Workers populate their stacks with zeros. */
static void look_at_workers(const hearth_engine *engine)
{
    const uint64_t slot = HEARTH_POOL_STACK_BYTES + HEARTH_POOL_PAGE;
    const uint8_t *end = (const uint8_t *)engine->pool + hearth_pool_bytes(engine->workers);
    for (uint32_t i = 0; i < engine->workers; i++) {
        const uint8_t *stack = end - (i + 1) * slot + HEARTH_POOL_PAGE;
        size_t untouched = 0;
        while (untouched < HEARTH_POOL_STACK_BYTES && stack[untouched] == 0)
            untouched++;
        const size_t used = HEARTH_POOL_STACK_BYTES - untouched;
        workers_deepest = used > workers_deepest ? used : workers_deepest;
    }
}

static const char grammar[] = "root ::= word (\" \" word)*\nword ::= [a-z]+ | \"(\" root \")\"\n";

/* Every sampler at once, and a grammar. */
static bool sample(hearth_session *session)
{
    static const char *const breakers[] = {"\n", "."};
    static const char *const stops[] = {"\n\n\n"};
    const hearth_sampling all = {.struct_size = sizeof all,
                                 .top_k = 40,
                                 .temperature = 0.8f,
                                 .top_p = 0.95f,
                                 .min_p = 0.01f,
                                 .repeat_penalty = 1.1f,
                                 .repeat_last_n = 64,
                                 .frequency_penalty = 0.1f,
                                 .presence_penalty = 0.1f,
                                 .dry_multiplier = 0.8f,
                                 .dry_base = 1.75f,
                                 .dry_allowed_length = 2,
                                 .dry_last_n = -1,
                                 .dry_breakers = breakers,
                                 .n_dry_breakers = 2,
                                 .typical_p = 0.9f,
                                 .top_n_sigma = 2.0f,
                                 .xtc_probability = 0.5f,
                                 .xtc_threshold = 0.1f,
                                 .dynatemp_range = 0.2f,
                                 .dynatemp_exponent = 1.0f,
                                 .min_keep = 1};
    const hearth_generation g = {.struct_size = sizeof g,
                                 .max_tokens = 24,
                                 .stop_strings = stops,
                                 .n_stop_strings = 1,
                                 .paranoid_every = 5,
                                 .logprobs = true,
                                 .n_top_logprobs = 5};
    return good("set_sampling", hearth_session_set_sampling(session, &all, &error)) &&
           good("set_grammar", hearth_session_set_grammar(session, grammar, sizeof grammar - 1, &error)) &&
           good("generate", hearth_generate(session, &g, NULL, &error)) &&
           good("set_grammar NULL", hearth_session_set_grammar(session, NULL, 0, &error));
}

static bool use_session(hearth_model *model, hearth_session *session)
{
    static const char text[] = "Turn on the light in the kitchen, and the one in the hall. Caf\xc3\xa9 \xf0\x9f\x98\x80 \xff";
    int32_t ids[256];
    char back[1024], path[64];
    size_t n, n_bytes;
    (void)snprintf(path, sizeof path, "%s/session.state", folder);
    return good("tokenize", hearth_tokenize(model, text, sizeof text - 1, HEARTH_TOKENIZE_BOS, ids, 256, &n, &error)) &&
           good("detokenize", hearth_detokenize(model, ids, n, back, sizeof back, &n_bytes, &error)) &&
           good("feed", hearth_session_feed(session, ids, n, &error)) && sample(session) &&
           good("save", hearth_session_save(session, path, &error)) && good("rewind", hearth_session_rewind(session, 3, &error)) &&
           good("restore", hearth_session_restore(session, path, &error)) &&
           good("prompt", hearth_session_prompt(session, ids, n, NULL, &error)) && sample(session);
}

/* A template as deep as one may be, run for each answer, and the model's own. */
static bool use_chat(hearth_session *session)
{
    char deep[4096] = "", path[64];
    for (int i = 0; i < 35; i++)
        strcat(deep, "{% if messages %}{% for m in [1] %}");
    strcat(deep, "{{ (((((((((((((((((((messages[-1]['content']|trim|upper|lower)))))))))))))))))))|tojson|length }}");
    for (int i = 0; i < 35; i++)
        strcat(deep, "{% endfor %}{% endif %}");
    strcat(deep, "{% macro f(n) %}{{ f(n - 1) if n > 0 else 'x' }}{% endmacro %}{{ f(20) }}");
    const hearth_chat_options options[] = {
        {.struct_size = sizeof *options, .when_full = HEARTH_CHAT_DROP_OLDEST},
        {.struct_size = sizeof *options, .chat_template = deep, .chat_template_bytes = strlen(deep)},
    };
    const hearth_generation g = {.struct_size = sizeof g, .max_tokens = 20};
    (void)snprintf(path, sizeof path, "%s/chat.state", folder);
    for (size_t i = 0; i < 2; i++) {
        hearth_chat *chat;
        bool ok = good("chat_open", hearth_chat_open(&chat, session, &options[i], &error)) &&
                  good("chat_set_system", hearth_chat_set_system(chat, "Be brief.", 9, &error)) &&
                  good("chat_set_metadata", hearth_chat_set_metadata(chat, "title", "Lights", 6, &error));
        for (int turn = 0; turn < 12 && ok; turn++)
            ok = good("chat_send", hearth_chat_send(chat, "Light in the kitchen, please.", 29, &g, NULL, &error));
        ok = ok && good("chat_save", hearth_chat_save(chat, path, &error)) &&
             good("chat_restore", hearth_chat_restore(chat, path, &error));
        hearth_chat_close(chat);
        if (!ok)
            return false;
    }
    return true;
}

/* The deepest that a template may run: a macro that calls itself through as many layers as one call has. */
static bool use_endless_template(hearth_session *session)
{
    static const char endless[] =
        "{% macro m() %}{% for a in [1] %}{% if 1 %}{% set x %}{{ (1 and [m()|trim])|string }}{% endset %}"
        "{% endif %}{% endfor %}{% endmacro %}{{ m() }}";
    const hearth_chat_options options = {
        .struct_size = sizeof options, .chat_template = endless, .chat_template_bytes = sizeof endless - 1};
    const hearth_generation g = {.struct_size = sizeof g, .max_tokens = 20};
    hearth_chat *chat;
    if (!good("chat_open", hearth_chat_open(&chat, session, &options, &error)))
        return false;
    const bool refused =
        hearth_chat_send(chat, "Hi", 2, &g, NULL, &error) == HEARTH_E_UNSUPPORTED && !strcmp(error.detail, "E_LIMIT");
    hearth_chat_close(chat);
    if (!refused)
        (void)fprintf(stderr, "FAILED: a template without end: %s [%s]\n", error.message, error.detail);
    return refused;
}

static bool use_manager(hearth_engine *engine, const hearth_limits *limits)
{
    hearth_manager *manager;
    hearth_optimized given = {.struct_size = sizeof given};
    const hearth_manager_options options = {.struct_size = sizeof options, .state_folder = folder};
    const hearth_generation g = {.struct_size = sizeof g, .max_tokens = 8};
    const bool ok = good("manager_open", hearth_manager_open(&manager, engine, &options, &error)) &&
                    good("register", hearth_manager_register(manager, "a", model_path, limits, &error)) &&
                    good("register", hearth_manager_register(manager, "b", model_path, limits, &error)) &&
                    good("switch", hearth_manager_switch(manager, "a", &error)) &&
                    good("send", hearth_chat_send(hearth_manager_chat(manager), "Hi", 2, &g, NULL, &error)) &&
                    good("switch", hearth_manager_switch(manager, "b", &error)) &&
                    good("unload", hearth_manager_unload(manager, "a", &error)) &&
                    good("switch", hearth_manager_switch(manager, "a", &error)) &&
                    good("optimize", hearth_manager_optimize(manager, &given, &error)) &&
                    good("save", hearth_manager_save(manager, &error));
    hearth_manager_close(manager);
    return ok;
}

static bool use_engine(hearth_engine *engine)
{
    const hearth_limits limits = {
        .struct_size = sizeof limits, .context = 512, .batch = 64, .kv_type = HEARTH_KV_Q8_0, .grammar = 1, .chat = 1};
    hearth_plan *plan = NULL;
    hearth_model *model = NULL;
    hearth_session *session = NULL;
    const bool ok = good("plan_open", hearth_plan_open(&plan, engine, model_path, &limits, &error)) &&
                    good("model_open", hearth_model_open(&model, engine, model_path, &limits, NULL, &error)) &&
                    good("session_open", hearth_session_open(&session, model, &limits, &error)) && use_session(model, session) &&
                    use_chat(session) && use_endless_template(session) && use_manager(engine, &limits);
    hearth_session_close(session);
    hearth_model_close(model);
    hearth_plan_close(plan);
    return ok;
}

static void *use_everything(void *pack_cache)
{
    const hearth_engine_options options = {
        .struct_size = sizeof options, .threads = 2, .pack_cache = pack_cache, .cache_budget = 8u << 20};
    hearth_engine *engine;
    bool ok = good("engine_open", hearth_engine_open(&engine, &options, &error));
    if (ok) {
        ok = use_engine(engine);
        look_at_workers(engine);
    }
    hearth_engine_close(engine);
    return ok ? NULL : pack_cache;
}

int main(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    (void)puts("SKIPPED: sanitizers make frames several times as large");
    return 77;
#endif
    pthread_t thread;
    pthread_attr_t attributes;
    void *failed = folder;
    size_t untouched = 0;
    golden_source(model_path, "models/hearth-home.Q4_K_M.gguf");
    uint8_t *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (!mkdtemp(folder) || stack == MAP_FAILED)
        return 1;
    memset(stack, UNUSED, STACK_BYTES);
    if (pthread_attr_init(&attributes) == 0 && pthread_attr_setstack(&attributes, stack, STACK_BYTES) == 0 &&
        pthread_create(&thread, &attributes, use_everything, folder) == 0)
        (void)pthread_join(thread, &failed);
    folder_remove(folder);
    while (untouched < STACK_BYTES && stack[untouched] == UNUSED)
        untouched++;
    (void)printf("deepest: %u of %u bytes of the caller's stack, %zu of %u of a worker's\n", STACK_BYTES - (unsigned)untouched,
                 STACK_BYTES, workers_deepest, HEARTH_POOL_STACK_BYTES);
    if (untouched == 0 || workers_deepest >= HEARTH_POOL_STACK_BYTES)
        (void)fprintf(stderr, "FAILED: a stack was used up, in or before '%s'\n", step);
    return failed || untouched == 0 || workers_deepest >= HEARTH_POOL_STACK_BYTES;
}
