/* Between opening and closing a session nothing allocates, and nothing grows: this program stands before malloc, free's family and
 * mmap, counts over prompts and answers of every kind, 40 or as many as HEARTH_ANSWERS says, and over long conversations, and asks
 * the kernel for the private memory before and after. A plain program, because it replaces what a test framework would be using. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#include <stdio.h>

int main(void)
{
    (void)puts("SKIPPED: sanitizers replace the allocator themselves");
    return 77;
}
#else
#include "golden.h"
#include "machine.h"
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Atomic int counting;
static _Atomic unsigned n_calls;

static void count(void)
{
    if (atomic_load(&counting))
        atomic_fetch_add(&n_calls, 1);
}

/* glibc's own names, so that no look-up is needed inside. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *p);

/* Seen by libc and hwloc too, whose calls on our behalf count like our own; everything else is compiled hidden. */
#pragma GCC visibility push(default)

void *malloc(size_t size)
{
    count();
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    count();
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
    count();
    return __libc_realloc(p, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    count();
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    count();
    *out = __libc_memalign(alignment, size);
    return *out ? 0 : 12;
}

void free(void *p)
{
    if (p)
        count();
    __libc_free(p);
}

void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
    count();
    return (void *)syscall(SYS_mmap, address, length, protection, flags, fd, offset); /* NOLINT: the system call's own result */
}

#pragma GCC visibility pop

/* ---- What the answers are made with ---------------------------------------------------------------------------------- */

struct tally {
    size_t shown;
    unsigned generated, told, restored;
    unsigned stop_after; /* tokens; 0: never */
};

static bool show(const char *text, size_t bytes, void *user)
{
    struct tally *t = user;
    (void)text;
    t->shown += bytes;
    return true;
}

static bool count_token(const hearth_token *token, void *user)
{
    struct tally *t = user;
    t->told += token->n_top <= HEARTH_TOP_LOGPROBS_MAX;
    return t->stop_after == 0 || --t->stop_after > 0;
}

static int fail(const hearth_error *err)
{
    (void)fprintf(stderr, "FAILED: %s [%s]\n", err->message, err->detail);
    return 1;
}

static void count_dropped(const hearth_message *message, void *user)
{
    (void)message;
    ++*(unsigned *)user;
}

/* A conversation longer than the context, with all that can be done to it. The session may have a grammar. */
static hearth_status converse(hearth_chat *chat, const unsigned *dropped, hearth_error *err)
{
    static const char text[] = "Turn on the light in the kitchen, and the one in the hall.";
    const hearth_generation g = {.struct_size = sizeof g, .max_tokens = 20};
    const unsigned enough = *dropped + 4;
    hearth_status status = hearth_chat_set_system(chat, text, sizeof text - 1, err);
    for (int i = 0; i < 60 && *dropped < enough && status == HEARTH_OK; i++) {
        status = hearth_chat_send(chat, text, sizeof text - 1, &g, NULL, err);
        if (status == HEARTH_OK)
            status = hearth_chat_set_metadata(chat, "title", text, sizeof text - 1, err);
        if (status == HEARTH_OK)
            status = hearth_chat_pop(chat, err);
        if (status == HEARTH_OK)
            status = hearth_chat_answer(chat, &g, NULL, err);
    }
    return status;
}

/* Each seventh is greedy, the others use all that the sampler has, with mirostat now and then. */
static hearth_status set_sampling(hearth_session *session, uint32_t round, hearth_error *err)
{
    hearth_sampling sampling;
    hearth_sampling_init(&sampling, sizeof sampling);
    sampling.seed = round;
    sampling.temperature = round % 7 ? 0.8f : 0.0f;
    sampling.repeat_penalty = 1.1f;
    sampling.dry_multiplier = 0.8f;
    sampling.typical_p = 0.9f;
    sampling.xtc_probability = 0.5f;
    sampling.dynatemp_range = 0.2f;
    sampling.mirostat = round % 5 == 4 ? 2 : 0;
    return hearth_session_set_sampling(session, &sampling, err);
}

/* Back, forth, into a file and out of it. */
static hearth_status go_back(hearth_session *session, hearth_error *err)
{
    static const char path[] = "alloc_count.state";
    uint32_t n;
    hearth_status status = hearth_session_save(session, path, err);
    if (status == HEARTH_OK)
        status = hearth_session_rewind(session, hearth_session_position(session) / 2, err);
    if (status == HEARTH_OK)
        status = hearth_session_restore(session, path, err);
    (void)unlink(path);
    const int32_t *ids = hearth_session_tokens(session, &n);
    return status == HEARTH_OK ? hearth_session_prompt(session, ids, n, NULL, err) : status;
}

/* Two conversations take turns, each put down in the prefix cache and taken up again. */
static hearth_status take_turns(hearth_session *session, uint32_t turn, struct tally *tally, hearth_error *err)
{
    int32_t ids[200];
    hearth_prompt_info info = {.struct_size = sizeof info};
    for (int32_t i = 0; i < 200; i++)
        ids[i] = 10 + (i * 7 + (int32_t)(turn % 2)) % 200;
    const hearth_status status = hearth_session_prompt(session, ids, 200, &info, err);
    tally->restored += info.n_restored;
    return status;
}

static hearth_status generate(hearth_session *session, uint32_t round, struct tally *tally, hearth_error *err)
{
    static const char text[] = "<|user|>\nTurn on the kitchen light.<|end|>\n<|assistant|>\n";
    static const char grammar[] = "root ::= ([^.]{1,5} [^.]* \".\")*";
    static const char *const stops[] = {"never this"};
    const uint32_t flags = HEARTH_TOKENIZE_BOS | HEARTH_TOKENIZE_SPECIAL;
    const hearth_generation g = {.struct_size = sizeof g,
                                 .max_tokens = 1 + round % 13,
                                 .stop_strings = stops,
                                 .n_stop_strings = round % 2,
                                 .text = show,
                                 .text_user = tally,
                                 .token = count_token,
                                 .token_user = tally,
                                 .logprobs = round % 3 != 0,
                                 .n_top_logprobs = round % 3 ? round % (HEARTH_TOP_LOGPROBS_MAX + 1) : 0};
    hearth_result result = {.struct_size = sizeof result};
    hearth_estimate estimate = {.struct_size = sizeof estimate};
    tally->stop_after = round % 11;
    hearth_session_reset(session);
    hearth_status status = set_sampling(session, round, err);
    if (status == HEARTH_OK)
        status = hearth_session_estimate(session, text, sizeof text - 1, flags, 50, &estimate, err);
    if (status == HEARTH_OK)
        status = hearth_session_feed_text(session, text, sizeof text - 1, flags, NULL, err);
    if (status == HEARTH_OK && round % 2)
        status = hearth_session_set_grammar(session, grammar, sizeof grammar - 1, err);
    if (status == HEARTH_OK)
        status = hearth_generate(session, &g, &result, err);
    if (status == HEARTH_OK && round % 8 == 0)
        status = go_back(session, err);
    tally->generated += result.n_generated;
    if (status == HEARTH_OK && round % 16 == 0)
        status = take_turns(session, round / 16, tally, err);
    return status;
}

int main(void)
{
    char path[GOLDEN_PATH];
    golden_source(path, "models/hearth-home.Q4_K_M.gguf");
    const hearth_limits limits = {.struct_size = sizeof limits, .grammar = 1, .chat = 1};
    unsigned dropped = 0;
    const hearth_chat_options options = {
        .struct_size = sizeof options, .when_full = HEARTH_CHAT_DROP_OLDEST, .dropped = count_dropped, .dropped_user = &dropped};
    const char *given = getenv("HEARTH_ANSWERS");
    const uint32_t n_answers = given ? (uint32_t)strtoul(given, NULL, 10) : 40;
    hearth_error err = {0};
    hearth_chat *chat;
    hearth_engine *engine;
    hearth_model *model;
    hearth_session *session;
    const hearth_engine_options kept = {.struct_size = sizeof kept, .cache_budget = 8u << 20};
    if (hearth_engine_open(&engine, &kept, &err) != HEARTH_OK ||
        hearth_model_open(&model, engine, path, &limits, NULL, &err) != HEARTH_OK ||
        hearth_session_open(&session, model, &limits, &err) != HEARTH_OK ||
        hearth_chat_open(&chat, session, &options, &err) != HEARTH_OK)
        return fail(&err);

    struct tally tally = {0};
    uint64_t before = 0;
    atomic_store(&counting, 1);
    void *volatile proof = malloc(1); /* the counter counts; volatile, or the compiler drops the pair */
    free(proof);
    const unsigned proven = atomic_exchange(&n_calls, 0);
    hearth_status status = HEARTH_OK;
    for (uint32_t round = 0; round < n_answers && status == HEARTH_OK; round++) {
        if (round == n_answers / 4) {
            status = converse(chat, &dropped, &err);
            before = hearth_machine_private_bytes();
        }
        if (status == HEARTH_OK)
            status = generate(session, round, &tally, &err);
    }
    if (status == HEARTH_OK)
        status = converse(chat, &dropped, &err);
    const uint64_t after = hearth_machine_private_bytes();
    atomic_store(&counting, 0);
    const unsigned calls = atomic_load(&n_calls);
    hearth_chat_close(chat);
    hearth_session_close(session);
    hearth_model_close(model);
    hearth_engine_close(engine);
    if (status != HEARTH_OK)
        return fail(&err);
    (void)printf("%" PRIu32
                 " answers, %u tokens, %zu bytes of text, %u messages dropped, %u allocation calls (the counter saw %u of 2), "
                 "private memory %" PRIu64 " bytes, then %" PRIu64 "\n",
                 n_answers, tally.generated, tally.shown, dropped, calls, proven, before, after);
    const bool counted = proven == 2 && tally.generated > 3 * n_answers && tally.told == tally.generated && tally.shown > 0 &&
                         dropped >= 8 && tally.restored > 0;
    return counted && calls == 0 && after <= before ? 0 : 1;
}
#endif
