/* Between opening and closing a session nothing allocates: this program stands before malloc, free's family and mmap and counts
 * over a prompt and 100 tokens. A plain program, because it replaces what a test framework would be using. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#include <stdio.h>

int main(void)
{
    (void)puts("SKIPPED: sanitizers replace the allocator themselves");
    return 77;
}
#else
#include "golden.h"
#include <dlfcn.h>
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

static bool show(const char *text, size_t bytes, void *user)
{
    (void)text;
    *(size_t *)user += bytes;
    return true;
}

static bool count_token(const hearth_token *token, void *user)
{
    *(unsigned *)user += token->n_top == HEARTH_TOP_LOGPROBS_MAX && token->logprob <= 0;
    return true;
}

static int fail(const hearth_error *err)
{
    (void)fprintf(stderr, "FAILED: %s [%s]\n", err->message, err->detail);
    return 1;
}

int main(void)
{
    static const char text[] = "<|user|>\nTurn on the kitchen light.<|end|>\n<|assistant|>\n";
    char path[GOLDEN_PATH];
    golden_source(path, "models/hearth-home.Q4_K_M.gguf");
    const hearth_limits limits = {.struct_size = sizeof limits, .grammar = 1};
    hearth_error err = {0};
    hearth_engine *engine;
    hearth_model *model;
    hearth_session *session;
    if (hearth_engine_open(&engine, NULL, &err) != HEARTH_OK ||
        hearth_model_open(&model, engine, path, &limits, NULL, &err) != HEARTH_OK ||
        hearth_session_open(&session, model, &limits, &err) != HEARTH_OK)
        return fail(&err);

    hearth_sampling sampling;
    hearth_sampling_init(&sampling, sizeof sampling);
    sampling.seed = 7;
    sampling.repeat_penalty = 1.1f;
    sampling.dry_multiplier = 0.8f;
    sampling.typical_p = 0.9f;
    sampling.xtc_probability = 0.5f;
    sampling.dynatemp_range = 0.2f;
    size_t shown = 0;
    unsigned generated = 0;
    unsigned told = 0;
    atomic_store(&counting, 1);
    void *volatile proof = malloc(1); /* the counter counts; volatile, or the compiler drops the pair */
    free(proof);
    const unsigned proven = atomic_exchange(&n_calls, 0);
    hearth_status status = hearth_session_set_sampling(session, &sampling, &err);
    while (status == HEARTH_OK && generated < 100) {
        const char *const stops[] = {"never this"};
        const hearth_generation g = {.struct_size = sizeof g,
                                     .max_tokens = generated < 50 ? 50 - generated : 100 - generated,
                                     .stop_strings = stops,
                                     .n_stop_strings = 1,
                                     .text = show,
                                     .text_user = &shown,
                                     .token = count_token,
                                     .token_user = &told,
                                     .logprobs = true,
                                     .n_top_logprobs = HEARTH_TOP_LOGPROBS_MAX};
        hearth_result result = {.struct_size = sizeof result};
        hearth_estimate estimate = {.struct_size = sizeof estimate};
        hearth_session_reset(session);
        status = hearth_session_estimate(session, text, sizeof text - 1, HEARTH_TOKENIZE_BOS | HEARTH_TOKENIZE_SPECIAL, 50,
                                         &estimate, &err);
        if (status == HEARTH_OK)
            status =
                hearth_session_feed_text(session, text, sizeof text - 1, HEARTH_TOKENIZE_BOS | HEARTH_TOKENIZE_SPECIAL, NULL, &err);
        static const char grammar[] = "root ::= ([^.]{1,5} [^.]* \".\")*";
        if (status == HEARTH_OK && generated >= 50)
            status = hearth_session_set_grammar(session, grammar, sizeof grammar - 1, &err);
        if (status == HEARTH_OK)
            status = hearth_generate(session, &g, &result, &err);
        generated += result.n_generated;
    }
    atomic_store(&counting, 0);
    const unsigned calls = atomic_load(&n_calls);
    hearth_session_close(session);
    hearth_model_close(model);
    hearth_engine_close(engine);
    if (status != HEARTH_OK)
        return fail(&err);
    (void)printf("%u tokens, %zu bytes of text, %u allocation calls (the counter saw %u of 2)\n", generated, shown, calls, proven);
    return calls == 0 && proven == 2 && generated >= 100 && told == generated && shown > 0 ? 0 : 1;
}
#endif
