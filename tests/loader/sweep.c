/* Sweeps over the metadata of a small model: cut at every byte, and each byte set to 00 and FF, its top bit turned over, and one
 * more. Whatever the loader says, it says it within a second, and nothing crashes; and what it accepts is opened by an engine that
 * may take 64 MiB, tokenizes, computes and talks, or is refused with a reason. A plain program: the inputs run in a child, so that
 * the one that ends it can be named. */
#include "catalogue.h"
#include "engine.h"
#include "memory_source.h"
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SECONDS_MAX 1.0

enum { CUT, ZERO, ONES, TOP_BIT, PLUS_ONE, N_CHANGES };
static const char *const changes[N_CHANGES] = {"cut", "set to 00", "set to ff", "top bit turned over", "plus one"};

/* Shared with the child. */
struct progress {
    _Atomic size_t at, change, n_inputs, n_accepted, n_opened, n_answered;
    _Atomic int64_t slowest_ns;
};

/* Of our own time: others may keep the machine busy. */
static int64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static hearth_engine *engine;

/* Aborts on a refusal without a reason. */
static bool good(hearth_status status, const hearth_error *err)
{
    if (status != HEARTH_OK && (err->code != status || !err->message[0]))
        abort();
    return status == HEARTH_OK;
}

/* As far as a turn of a conversation. */
static bool answer(hearth_model *model, const hearth_limits *limits)
{
    static const char text[] = "the light in the hall";
    const hearth_chat_options options = {.struct_size = sizeof options, .family = "chatml"};
    const hearth_generation g = {.struct_size = sizeof g, .max_tokens = 2};
    hearth_session *session;
    hearth_chat *chat = NULL;
    hearth_error err = {0};
    if (!good(hearth_session_open(&session, model, limits, &err), &err))
        return false;
    bool answered = good(hearth_session_feed_text(session, text, sizeof text - 1, HEARTH_TOKENIZE_BOS, NULL, &err), &err);
    if (!good(hearth_chat_open(&chat, session, NULL, &err), &err)) /* the file's own template */
        (void)good(hearth_chat_open(&chat, session, &options, &err), &err);
    answered &= chat && good(hearth_chat_send(chat, text, sizeof text - 1, &g, NULL, &err), &err);
    hearth_chat_close(chat);
    hearth_session_close(session);
    return answered;
}

/* From an allocation of exactly its size, so that a sanitizer sees every byte beyond. */
static void load(struct progress *p, const uint8_t *bytes, size_t size)
{
    const hearth_limits limits = {.struct_size = sizeof limits, .context = 96, .batch = 16, .chat = 1};
    struct memory_source m = {0};
    hearth_model *model;
    hearth_error err = {0};
    uint8_t *exact = malloc(size > 0 ? size : 1);
    if (!exact)
        abort();
    memcpy(exact, bytes, size);
    const int64_t begin = now_ns();
    if (good(memory_source_open(&m, exact, size, &err), &err)) {
        p->n_accepted++;
        const bool opened = good(hearth_model_open_source(&model, engine, &m.source, &limits, NULL, &err), &err);
        p->n_opened += opened;
        p->n_answered += opened && answer(model, &limits);
        hearth_model_close(model);
    }
    const int64_t ns = now_ns() - begin;
    if (ns > p->slowest_ns)
        p->slowest_ns = ns;
    memory_source_close(&m);
    free(exact);
}

static uint8_t changed(uint8_t byte, size_t change)
{
    const uint8_t results[N_CHANGES] = {[ZERO] = 0, [ONES] = 0xff, [TOP_BIT] = byte ^ 0x80u, [PLUS_ONE] = (uint8_t)(byte + 1)};
    return results[change];
}

static void sweep(struct progress *p, uint8_t *bytes, size_t size, size_t end)
{
    for (size_t at = 0; at < end; at++)
        for (size_t change = CUT; change < N_CHANGES; change++) {
            const uint8_t byte = bytes[at];
            p->at = at;
            p->change = change;
            if (change != CUT)
                bytes[at] = changed(byte, change);
            load(p, bytes, change == CUT ? at : size);
            bytes[at] = byte;
            p->n_inputs++;
        }
}

int main(void)
{
    size_t size;
    size_t directory_end;
    size_t data_start;
    int state;
    uint8_t *bytes = catalogue_base(&size, &directory_end, &data_start);
    struct progress *p = mmap(NULL, sizeof *p, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return 1;
    const pid_t child = fork();
    if (child == 0) {
        const hearth_engine_options options = {.struct_size = sizeof options, .threads = 1, .ram_cap = 64u << 20};
        if (hearth_engine_open(&engine, &options, NULL) != HEARTH_OK)
            exit(2);
        sweep(p, bytes, size, directory_end);
        hearth_engine_close(engine);
        free(bytes);
        exit(0);
    }
    free(bytes);
    if (child < 0 || waitpid(child, &state, 0) != child)
        return 1;
    const bool whole = WIFEXITED(state) && WEXITSTATUS(state) == 0 && p->n_inputs == directory_end * N_CHANGES;
    const double slowest = (double)p->slowest_ns * 1e-9;
    (void)printf("%zu inputs from %zu bytes of metadata: %zu headers accepted, %zu models opened, %zu answered; slowest %.1f ms\n",
                 p->n_inputs, directory_end, p->n_accepted, p->n_opened, p->n_answered, slowest * 1e3);
    if (!whole)
        (void)printf("FAILED: byte %zu, %s: the child ended (status %#x)\n", p->at, changes[p->change], (unsigned)state);
    return whole && slowest < SECONDS_MAX ? 0 : 1;
}
