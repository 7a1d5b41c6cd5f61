/* The host's allocator: every arena and handle comes from it and goes back to it, whatever its memory held before; what is not as
 * asked for is refused. That each request may be refused in turn is tested in alloc_fail.c. */
#include "gguf_builder.h"
#include "plan.h"
#include "support/rng.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define N_VOCAB 300u
#define N_ANSWER 12u
#define BLOCKS_MAX 64

/* One host; its blocks in the order they were given. */
struct host {
    struct block {
        void *memory;
        size_t bytes;
    } blocks[BLOCKS_MAX];
    size_t n, bytes; /* given and not taken back */
    unsigned requests, misalign_at;
    int dirt;
};

static void *give(size_t bytes, size_t alignment, void *user)
{
    struct host *h = user;
    const bool askew = ++h->requests == h->misalign_at;
    const size_t room = (bytes + 2 * alignment) / alignment * alignment;
    uint8_t *p = aligned_alloc(alignment, room);
    cr_assert(p && h->n < BLOCKS_MAX && alignment >= 64 && bytes > 0);
    memset(p, h->dirt, room);
    p += askew ? 8 : 0;
    h->blocks[h->n++] = (struct block){p, bytes};
    h->bytes += bytes;
    return p;
}

static void take_back(void *memory, size_t bytes, void *user)
{
    struct host *h = user;
    size_t i = 0;
    while (i < h->n && h->blocks[i].memory != memory)
        i++;
    cr_assert(i < h->n, "was never given, or twice taken back");
    cr_assert_eq(h->blocks[i].bytes, bytes, "given %zu bytes, taken back %zu", h->blocks[i].bytes, bytes);
    h->blocks[i] = h->blocks[--h->n];
    h->bytes -= bytes;
    free((void *)((uintptr_t)memory / 64 * 64));
}

static hearth_allocator allocator_of(struct host *host)
{
    return (hearth_allocator){.struct_size = sizeof(hearth_allocator), .allocate = give, .release = take_back, .user = host};
}

static char path[64];
static hearth_error err;

static void write_model(const struct gguf_shape *shape)
{
    static struct gguf_builder builder;
    (void)snprintf(path, sizeof path, "%s/hearth-allocator-XXXXXX", P_tmpdir);
    const int fd = mkstemp(path);
    cr_assert(fd >= 0);
    (void)close(fd);
    gguf_builder_init(&builder);
    gguf_builder_add_llama(&builder, shape);
    gguf_builder_write_file(&builder, path);
    gguf_builder_free(&builder);
}

struct opened {
    hearth_engine *engine;
    hearth_plan *plan;
    hearth_model *model;
    hearth_session *session;
};

static void close_all(struct opened *o)
{
    hearth_session_close(o->session);
    hearth_model_close(o->model);
    hearth_plan_close(o->plan);
    hearth_engine_close(o->engine);
}

static hearth_status open_all(struct opened *o, const hearth_allocator *allocator, const hearth_limits *limits)
{
    const hearth_engine_options options = {.struct_size = sizeof options, .threads = 2, .allocator = allocator};
    *o = (struct opened){0};
    hearth_status status = hearth_engine_open(&o->engine, &options, &err);
    if (status == HEARTH_OK)
        status = hearth_plan_open(&o->plan, o->engine, path, limits, &err);
    if (status == HEARTH_OK)
        status = hearth_model_open(&o->model, o->engine, path, limits, NULL, &err);
    if (status == HEARTH_OK)
        status = hearth_session_open(&o->session, o->model, limits, &err);
    return status;
}

/* ---- The same bits --------------------------------------------------------------------------------------------------- */

struct answer {
    float logits[N_VOCAB];
    int32_t ids[N_ANSWER], in_chat[N_ANSWER];
};

/* Two turns, in the session's own memory. */
static void converse(int32_t *ids, hearth_session *session)
{
    static const char template[] = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}";
    const hearth_chat_options options = {
        .struct_size = sizeof options, .chat_template = template, .chat_template_bytes = sizeof template - 1, .now = 1};
    const hearth_generation g = {.struct_size = sizeof g, .max_tokens = N_ANSWER / 2, .ids = ids, .ids_capacity = N_ANSWER / 2};
    hearth_generation second = g;
    hearth_chat *chat;
    second.ids += N_ANSWER / 2;
    cr_assert_eq(hearth_chat_open(&chat, session, &options, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_chat_send(chat, "a b", 3, &g, NULL, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_chat_send(chat, "c", 1, &second, NULL, &err), HEARTH_OK, "%s", err.message);
    hearth_chat_close(chat);
}

static void answer(struct answer *out, const hearth_allocator *allocator, const hearth_limits *limits)
{
    static const char grammar[] = "root ::= [a-z ]*";
    struct opened o;
    int32_t prompt[40];
    hearth_sampling sampling;
    const hearth_generation g = {.struct_size = sizeof g, .max_tokens = N_ANSWER, .ids = out->ids, .ids_capacity = N_ANSWER};
    memset(out, 0, sizeof *out);
    cr_assert_eq(open_all(&o, allocator, limits), HEARTH_OK, "%s", err.message);
    hearth_sampling_init(&sampling, sizeof sampling);
    sampling.temperature = 1.5f;
    sampling.repeat_penalty = 1.2f;
    sampling.dry_multiplier = 1;
    sampling.ignore_end = true;
    for (int i = 0; i < 40; i++)
        prompt[i] = 3 + i * 31 % 290;
    cr_assert_eq(hearth_session_set_sampling(o.session, &sampling, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_session_feed(o.session, prompt, 40, &err), HEARTH_OK, "%s", err.message);
    memcpy(out->logits, hearth_session_logits(o.session, 0), sizeof out->logits);
    if (limits->grammar)
        cr_assert_eq(hearth_session_set_grammar(o.session, grammar, sizeof grammar - 1, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_generate(o.session, &g, NULL, &err), HEARTH_OK, "%s", err.message);
    if (limits->chat)
        converse(out->in_chat, o.session);
    close_all(&o);
}

/* Not even the file's name would come out right if a table relied on zeros that are not there. */
Test(allocator, dirty_memory_gives_the_same_bits)
{
    static const struct gguf_shape shapes[] = {
        {.format = HEARTH_Q8_0, .rope_freqs = true},
        {.arch = "llama", .format = HEARTH_F16, .n_expert = 4, .n_expert_used = 2},
        {.arch = "gemma3", .format = HEARTH_Q4_0, .n_layer = 6},
        {.arch = "phi2", .n_embd = 256, .n_ff = 256, .format = HEARTH_Q4_K},
    };
    static const hearth_limits limits[] = {
        {.struct_size = sizeof limits[0], .context = 120, .batch = 16, .chat = 1},
        {.struct_size = sizeof limits[0], .context = 100, .batch = 7, .kv_type = HEARTH_KV_Q8_0, .logits_rows = 5, .grammar = 1},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        write_model(&shapes[i]);
        for (size_t j = 0; j < sizeof limits / sizeof limits[0]; j++) {
            struct answer plain;
            struct answer got;
            answer(&plain, NULL, &limits[j]);
            for (int dirt = 0xff; dirt > 0; dirt -= 0x5a) { /* 0xff is NaN, and more than any count or place */
                struct host host = {.dirt = dirt};
                const hearth_allocator allocator = allocator_of(&host);
                answer(&got, &allocator, &limits[j]);
                cr_expect_eq(memcmp(&got, &plain, sizeof got), 0, "shape %zu, limits %zu, dirt %x: other bits", i, j,
                             (unsigned)dirt);
                cr_expect(host.n == 0 && host.bytes == 0, "%zu blocks were kept", host.n);
            }
        }
        (void)unlink(path);
    }
}

/* ---- What passes through --------------------------------------------------------------------------------------------- */

static const hearth_limits small = {.struct_size = sizeof small, .context = 64, .batch = 16};

/* Arenas and handles to the byte; the threads' arena is the system's. */
Test(allocator, everything_is_counted)
{
    struct host host = {.dirt = 0xff};
    const hearth_allocator allocator = allocator_of(&host);
    struct opened o;
    write_model(NULL);
    cr_assert_eq(open_all(&o, &allocator, &small), HEARTH_OK, "%s", err.message);
    const size_t handles =
        sizeof(struct hearth_engine) + sizeof(struct hearth_plan) + sizeof(struct hearth_model) + sizeof(struct hearth_session);
    cr_expect_eq(host.bytes, handles + o.model->arena.bytes + o.session->arena.bytes, "%zu bytes were given", host.bytes);
    cr_expect_eq(atomic_load(&o.engine->reserved) - hearth_engine_own_bytes(o.engine),
                 o.model->arena.bytes + o.session->arena.bytes, "the cap counts the same arenas");
    const unsigned requests = host.requests;
    int32_t ids[20] = {3, 4, 5};
    cr_assert_eq(hearth_session_feed(o.session, ids, 20, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_generate(o.session, &(hearth_generation){.struct_size = sizeof(hearth_generation)}, NULL, &err), HEARTH_OK);
    cr_expect_eq(host.requests, requests, "a session asks for more");
    hearth_session_close(o.session);
    hearth_model_close(o.model);
    hearth_engine_close(o.engine);
    cr_expect(host.n == 1 && hearth_plan_private_bytes(o.plan) > 0, "a plan outlives its engine");
    hearth_plan_close(o.plan);
    cr_expect(host.n == 0 && host.bytes == 0);
    (void)unlink(path);
}

Test(allocator, each_engine_has_its_own)
{
    struct host hosts[2] = {{.dirt = 0xff}, {.dirt = 0x5a}};
    const hearth_allocator allocators[2] = {allocator_of(&hosts[0]), allocator_of(&hosts[1])};
    struct opened o[2];
    write_model(NULL);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(open_all(&o[i], &allocators[i], &small), HEARTH_OK, "%s", err.message);
    cr_expect(hosts[0].n == hosts[1].n && hosts[0].bytes == hosts[1].bytes);
    close_all(&o[0]);
    cr_expect(hosts[0].n == 0 && hosts[1].n > 0);
    close_all(&o[1]);
    cr_expect_eq(hosts[1].n, 0);
    (void)unlink(path);
}

/* ---- What is refused ------------------------------------------------------------------------------------------------- */

Test(allocator, memory_that_is_not_aligned_is_refused)
{
    bool opened = false;
    write_model(NULL);
    for (unsigned n = 1; !opened; n++) {
        struct host host = {.dirt = 0xff, .misalign_at = n};
        const hearth_allocator allocator = allocator_of(&host);
        struct opened o;
        const hearth_status status = open_all(&o, &allocator, &small);
        opened = status == HEARTH_OK;
        if (opened)
            cr_expect(n > 6 && host.requests == n - 1);
        else
            cr_expect(status == HEARTH_E_CONFIG && strstr(err.message, "not aligned"), "request %u: %s", n, err.message);
        close_all(&o);
        cr_expect(host.n == 0 && host.bytes == 0, "request %u: %zu blocks were kept", n, host.n);
    }
    (void)unlink(path);
}

Test(allocator, half_an_allocator_is_refused)
{
    struct host host = {0};
    hearth_engine *engine;
    for (int i = 0; i < 3; i++) {
        hearth_allocator allocator = allocator_of(&host);
        const hearth_engine_options options = {.struct_size = sizeof options, .allocator = &allocator};
        allocator.struct_size -= i == 0;
        allocator.allocate = i == 1 ? NULL : allocator.allocate;
        allocator.release = i == 2 ? NULL : allocator.release;
        cr_expect_eq(hearth_engine_open(&engine, &options, &err), HEARTH_E_CONFIG);
        cr_expect(!engine && strncmp(err.message, "allocator: ", 11) == 0, "%s", err.message);
    }
    cr_expect_eq(host.requests, 0);
}
