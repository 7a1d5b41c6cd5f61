/* Saved sessions: they continue with the same bits in any session that is theirs, and whatever else a file may hold, or be, is
 * refused and leaves the session as it was. */
#include "engine.h"
#include "gguf_builder.h"
#include "golden.h"
#include "state.h"
#include "support/rng.h"
#include <criterion/criterion.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define N_VOCAB 300u
#define CONTEXT 600u
#define ROW_BYTES (N_VOCAB * sizeof(float))

static char folder[32];
static hearth_engine *engine;
static hearth_error err;
static int32_t ids[CONTEXT];

/* ---- Files ---------------------------------------------------------------------------------------------------------- */

/* FOLDER/NAME, in one of a few buffers. */
static const char *in_folder(const char *name)
{
    static char paths[8][96];
    static unsigned next;
    char *path = paths[next++ % 8];
    (void)snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

struct bytes {
    uint8_t *data;
    size_t n;
};

static struct bytes read_all(const char *path)
{
    struct stat info;
    struct bytes b;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert(fd >= 0 && fstat(fd, &info) == 0, "%s", path);
    b.n = (size_t)info.st_size;
    b.data = malloc(b.n + 1);
    cr_assert_eq(read(fd, b.data, b.n + 1), (ssize_t)b.n);
    (void)close(fd);
    return b;
}

static void write_all(const char *path, const void *data, size_t n)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert(fd >= 0 && write(fd, data, n) == (ssize_t)n, "%s", path);
    (void)close(fd);
}

static bool exists(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0;
}

/* ---- Models and sessions -------------------------------------------------------------------------------------------- */

struct pair {
    hearth_model *model;
    hearth_session *session;
};

static void write_model(const char *name, const char *arch, uint32_t n_layer, uint64_t seed)
{
    static struct gguf_builder builder;
    gguf_builder_init(&builder);
    builder.seed = seed;
    gguf_builder_add_llama(&builder,
                           &(struct gguf_shape){.arch = arch, .n_layer = n_layer, .n_vocab = N_VOCAB, .n_ctx_train = CONTEXT});
    gguf_builder_set_u32(&builder, "gemma2.attention.sliding_window", 16);
    gguf_builder_set_u32(&builder, "llama.attention.sliding_window", 64);
    gguf_builder_write_file(&builder, in_folder(name));
    gguf_builder_free(&builder);
}

static struct pair open_pair(const char *name, hearth_limits limits)
{
    struct pair p;
    limits.struct_size = sizeof limits;
    limits.context = limits.context ? limits.context : CONTEXT;
    limits.batch = limits.batch ? limits.batch : 8;
    cr_assert_eq(hearth_model_open(&p.model, engine, in_folder(name), &limits, NULL, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_session_open(&p.session, p.model, &limits, &err), HEARTH_OK, "%s", err.message);
    return p;
}

static void close_pair(struct pair *p)
{
    hearth_session_close(p->session);
    hearth_model_close(p->model);
}

static void start(void)
{
    const hearth_engine_options options = {.struct_size = sizeof options, .threads = 2};
    (void)snprintf(folder, sizeof folder, "test_state.XXXXXX");
    cr_assert(mkdtemp(folder));
    cr_assert_eq(hearth_engine_open(&engine, &options, &err), HEARTH_OK, "%s", err.message);
    write_model("llama", "llama", 2, 1);
    write_model("small", "llama", 1, 1);
    write_model("gemma2", "gemma2", 4, 1);
    for (uint32_t i = 0; i < CONTEXT; i++)
        ids[i] = (int32_t)(3 + i * 7 % 290);
}

static void finish(void)
{
    char command[64];
    hearth_engine_close(engine);
    (void)snprintf(command, sizeof command, "rm -rf %s", folder);
    (void)system(command);
}

TestSuite(state, .init = start, .fini = finish);

static void feed(hearth_session *s, const int32_t *tokens, size_t n)
{
    if (n > 0)
        cr_assert_eq(hearth_session_feed(s, tokens, n, &err), HEARTH_OK, "%s", err.message);
}

static void generate(hearth_session *s, uint32_t n, int32_t *out)
{
    const hearth_generation g = {.struct_size = sizeof g, .max_tokens = n, .ids = out, .ids_capacity = n};
    hearth_result result = {.struct_size = sizeof result};
    cr_assert_eq(hearth_generate(s, &g, &result, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(result.n_generated, n);
}

/* Everything that a state has to remember of it is in use. */
static void sample_with_everything(hearth_session *s, int32_t mirostat)
{
    static const char *const breakers[] = {"\n", "ab", "c"};
    static const hearth_logit_bias bias[] = {{5, 1.5f}, {7, -2.0f}};
    hearth_sampling o;
    hearth_sampling_init(&o, sizeof o);
    o.temperature = 1.3f;
    o.top_k = 0;
    o.top_p = 0.99f;
    o.repeat_penalty = 1.2f;
    o.repeat_last_n = -1;
    o.presence_penalty = 0.1f;
    o.dry_multiplier = 0.8f;
    o.dry_breakers = breakers;
    o.n_dry_breakers = 3;
    o.xtc_probability = 0.5f;
    o.dynatemp_range = 0.2f;
    o.mirostat = mirostat;
    o.ignore_end = true;
    o.logit_bias = bias;
    o.n_logit_bias = 2;
    o.seed = 77;
    cr_assert_eq(hearth_session_set_sampling(s, &o, &err), HEARTH_OK, "%s", err.message);
}

static void save(hearth_session *s, const char *name)
{
    cr_assert_eq(hearth_session_save(s, in_folder(name), &err), HEARTH_OK, "%s", err.message);
}

static hearth_status restore(hearth_session *s, const char *name)
{
    err = (hearth_error){0};
    return hearth_session_restore(s, in_folder(name), &err);
}

/* ---- Going on ------------------------------------------------------------------------------------------------------- */

struct way {
    const char *model;
    hearth_limits from, to;
};

/* Save after n tokens and an answer, go on; restore elsewhere, go on: the same. */
static void expect_continuation(const struct way *way, uint32_t n, int32_t mirostat)
{
    enum { ANSWER = 5, AFTER = 12 };
    struct pair a = open_pair(way->model, way->from);
    struct pair b = open_pair(way->model, way->to);
    int32_t before[ANSWER], after[2][AFTER];
    float logits[2][N_VOCAB];
    sample_with_everything(a.session, mirostat);
    feed(a.session, ids, n);
    if (n > 0)
        generate(a.session, ANSWER, before);
    feed(b.session, ids + 9, 70); /* something else was there */
    save(a.session, "state");
    cr_assert_eq(restore(b.session, "state"), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_session_position(b.session), hearth_session_position(a.session));
    cr_assert_eq(memcmp(hearth_session_tokens(a.session, NULL), hearth_session_tokens(b.session, NULL),
                        hearth_session_position(a.session) * sizeof(int32_t)),
                 0);
    cr_assert_eq(hearth_session_logits(a.session, 0) == NULL, n == 0);
    cr_assert(n == 0 || memcmp(hearth_session_logits(a.session, 0), hearth_session_logits(b.session, 0), ROW_BYTES) == 0);
    struct pair *const pairs[2] = {&a, &b};
    for (int i = 0; i < 2; i++) {
        if (n == 0)
            feed(pairs[i]->session, ids, 3);
        generate(pairs[i]->session, AFTER, after[i]);
        feed(pairs[i]->session, ids, 1);
        memcpy(logits[i], hearth_session_logits(pairs[i]->session, 0), ROW_BYTES);
    }
    cr_expect_eq(memcmp(after[0], after[1], sizeof after[0]), 0, "%s after %" PRIu32 ": another answer", way->model, n);
    cr_expect_eq(memcmp(logits[0], logits[1], ROW_BYTES), 0, "%s after %" PRIu32 ": other logits", way->model, n);
    close_pair(&a);
    close_pair(&b);
}

Test(state, continues_with_the_same_bits)
{
    static const struct way ways[] = {
        {"llama", {.kv_type = HEARTH_KV_F16}, {.kv_type = HEARTH_KV_F16}},
        {"llama", {.kv_type = HEARTH_KV_F32, .batch = 1}, {.kv_type = HEARTH_KV_F32, .context = 1000, .batch = 64}},
        {"llama", {.kv_type = HEARTH_KV_Q8_0, .context = 1000}, {.kv_type = HEARTH_KV_Q8_0, .logits_rows = 4}},
        {"llama", {.kv_type = HEARTH_KV_Q8_0, .sliding_window = 1}, {.kv_type = HEARTH_KV_Q8_0, .sliding_window = 1, .batch = 300}},
        {"gemma2", {.kv_type = HEARTH_KV_F16}, {.kv_type = HEARTH_KV_F16, .context = 700}},
        {"gemma2", {.kv_type = HEARTH_KV_F32, .batch = 400}, {.kv_type = HEARTH_KV_F32, .batch = 1}},
        {"gemma2", {.kv_type = HEARTH_KV_Q8_0, .batch = 1}, {.kv_type = HEARTH_KV_Q8_0, .batch = 500}},
    };
    static const uint32_t lengths[] = {0, 1, 27, 28, 29, 60, 250, 300, 333, 560};
    for (size_t w = 0; w < sizeof ways / sizeof ways[0]; w++)
        for (size_t n = 0; n < sizeof lengths / sizeof lengths[0]; n++)
            expect_continuation(&ways[w], lengths[n], (int32_t)n % 3);
}

Test(state, kept_rows_of_logits)
{
    struct pair a = open_pair("llama", (hearth_limits){.logits_rows = 6});
    struct pair b = open_pair("llama", (hearth_limits){.logits_rows = 2});
    feed(a.session, ids, 15); /* batches of 8 and 7 */
    save(a.session, "state");
    cr_assert_eq(restore(b.session, "state"), HEARTH_OK, "%s", err.message);
    for (uint32_t back = 0; back < 2; back++)
        cr_expect_eq(memcmp(hearth_session_logits(a.session, back), hearth_session_logits(b.session, back), ROW_BYTES), 0);
    cr_expect_null(hearth_session_logits(b.session, 2));
    close_pair(&a);
    close_pair(&b);
}

/* How far one can go back after restoring, where windows have forgotten: never to wrong bits. */
Test(state, windows_forget_as_before)
{
    struct pair a = open_pair("gemma2", (hearth_limits){0});
    struct pair b = open_pair("gemma2", (hearth_limits){.batch = 500}); /* whole rings: it never forgets by itself */
    struct pair c = open_pair("gemma2", (hearth_limits){0});
    feed(a.session, ids, 330);
    save(a.session, "state");
    cr_assert_eq(restore(b.session, "state"), HEARTH_OK, "%s", err.message);
    cr_expect_eq(hearth_session_rewind(b.session, 330 - 256 + 14, &err), HEARTH_E_UNSUPPORTED);
    cr_expect_eq(hearth_session_rewind(b.session, 330 - 256 + 15, &err), HEARTH_OK, "%s", err.message);
    feed(b.session, ids + 200, 40);
    feed(c.session, ids, 330 - 256 + 15);
    feed(c.session, ids + 200, 40);
    cr_expect_eq(memcmp(hearth_session_logits(b.session, 0), hearth_session_logits(c.session, 0), ROW_BYTES), 0);
    save(b.session, "state");
    hearth_session_reset(c.session);
    cr_assert_eq(restore(c.session, "state"), HEARTH_OK, "%s", err.message);
    feed(b.session, ids, 20);
    feed(c.session, ids, 20);
    cr_expect_eq(memcmp(hearth_session_logits(b.session, 0), hearth_session_logits(c.session, 0), ROW_BYTES), 0);
    cr_expect_eq(hearth_session_rewind(b.session, 0, &err), HEARTH_OK);
    feed(b.session, ids, 330);
    cr_expect_eq(hearth_session_rewind(b.session, 20, &err), HEARTH_OK, "what was forgotten is there again");
    close_pair(&a);
    close_pair(&b);
    close_pair(&c);
}

/* What a session has forgotten, a slot's former content and what was cancelled, is not in its file. */
Test(state, holds_nothing_that_was_forgotten)
{
    enum { HEAD_DIM = 16, N_FED = 300, FIRST = N_FED - 256 };
    struct pair p = open_pair("gemma2", (hearth_limits){.kv_type = HEARTH_KV_F32});
    feed(p.session, ids + 7, 500);
    hearth_session_reset(p.session);
    feed(p.session, ids, N_FED);
    save(p.session, "state");
    struct bytes state = read_all(in_folder("state"));
    uint32_t first;
    memcpy(&first, state.data + 136, sizeof first);
    cr_assert_eq(first, FIRST, "layer 0 has a window (got %" PRIu32 ")", first);
    const uint8_t *keys =
        state.data + 136 + 4 * sizeof first + sizeof(struct hearth_sampler_state) + N_FED * sizeof ids[0] + ROW_BYTES;
    for (uint32_t at = FIRST / 32 * 32; at < N_FED; at += 32)
        for (uint32_t i = 0; i < HEAD_DIM; i++)
            for (uint32_t lane = 0; lane < 32; lane++, keys += sizeof(float)) {
                float key;
                memcpy(&key, keys, sizeof key);
                const bool is_there = at + lane >= FIRST && at + lane < N_FED;
                cr_assert_eq(key != 0.0f, is_there, "position %" PRIu32 ", dimension %" PRIu32, at + lane, i);
            }
    free(state.data);
    close_pair(&p);
}

/* A state is a function of the session alone: also on another CPU level, where it then goes on with the same bits. */
Test(state, travels_between_cpu_levels)
{
    static const char *const levels[] = {"reference", "avx2", "avxvnni", "avx512"};
    struct bytes first = {0};
    float logits[2][N_VOCAB];
    for (size_t i = 0; i < 4; i++) {
        hearth_engine_close(engine);
        engine = golden_engine(levels[i], 1 + (uint32_t)i % 3);
        if (!engine)
            continue; /* not on this CPU */
        struct pair p = open_pair("gemma2", (hearth_limits){.kv_type = HEARTH_KV_Q8_0});
        if (i > 0) {
            cr_assert_eq(restore(p.session, "state"), HEARTH_OK, "%s", err.message);
            feed(p.session, ids, 3);
            memcpy(logits[1], hearth_session_logits(p.session, 0), ROW_BYTES);
            hearth_session_reset(p.session);
        }
        feed(p.session, ids, 300);
        save(p.session, "state");
        struct bytes bytes = read_all(in_folder("state"));
        feed(p.session, ids, 3);
        memcpy(logits[0], hearth_session_logits(p.session, 0), ROW_BYTES);
        if (i == 0)
            first = bytes;
        cr_expect(bytes.n == first.n && memcmp(bytes.data, first.data, bytes.n) == 0, "%s: another file", levels[i]);
        cr_expect(i == 0 || memcmp(logits[0], logits[1], ROW_BYTES) == 0, "%s: other logits", levels[i]);
        if (i > 0)
            free(bytes.data);
        close_pair(&p);
    }
    free(first.data);
}

/* ---- Extra bytes ------------------------------------------------------------------------------------------------------ */

struct taken {
    uint8_t *bytes;
    uint64_t n, calls;
    hearth_status answer;
};

static hearth_status take(const void *bytes, uint64_t n, void *user, hearth_error *e)
{
    struct taken *t = user;
    t->calls++;
    t->n = n;
    free(t->bytes);
    t->bytes = malloc(n + 1);
    memcpy(t->bytes, bytes, n);
    return t->answer == HEARTH_OK ? HEARTH_OK : hearth_fail(e, t->answer, "E_MINE", "not this one");
}

Test(state, extra_bytes_come_back)
{
    static const uint64_t sizes[] = {0, 1, 4000, (1 << 20) - 1, 3 << 20, 5000001};
    struct pair p = open_pair("llama", (hearth_limits){0});
    struct rng rng = rng_start();
    uint8_t *extra = malloc(5000001);
    rng_bytes(&rng, extra, 5000001);
    feed(p.session, ids, 50);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct taken taken = {0};
        cr_assert_eq(hearth_state_save(p.session, in_folder("state"), extra, sizes[i], &err), HEARTH_OK, "%s", err.message);
        cr_assert_eq(hearth_state_restore(p.session, in_folder("state"), take, &taken, &err), HEARTH_OK, "%s", err.message);
        cr_expect(taken.calls == 1 && taken.n == sizes[i] && memcmp(taken.bytes, extra, sizes[i]) == 0, "%" PRIu64, sizes[i]);
        cr_expect_eq(restore(p.session, "state"), HEARTH_OK, "whoever does not want them");
        free(taken.bytes);
    }
    hearth_session_reset(p.session);
    feed(p.session, ids, 7);
    struct taken refusing = {.answer = HEARTH_E_UNSUPPORTED};
    cr_expect_eq(hearth_state_restore(p.session, in_folder("state"), take, &refusing, &err), HEARTH_E_UNSUPPORTED);
    cr_expect_str_eq(err.detail, "E_MINE");
    cr_expect(hearth_session_position(p.session) == 7 && hearth_session_logits(p.session, 0), "it was changed all the same");
    free(refusing.bytes);
    free(extra);
    close_pair(&p);
}

/* Writes into the file between the two passes, as nobody should. */
struct spoiler {
    const char *path;
    struct bytes with;
    off_t size;
};

static hearth_status spoil(const void *bytes, uint64_t n, void *user, hearth_error *e)
{
    const struct spoiler *s = user;
    (void)bytes;
    (void)n;
    (void)e;
    const int fd = open(s->path, O_WRONLY | O_CLOEXEC);
    cr_assert(fd >= 0 && pwrite(fd, s->with.data, s->with.n, 0) == (ssize_t)s->with.n && ftruncate(fd, s->size) == 0);
    (void)close(fd);
    return HEARTH_OK;
}

Test(state, a_file_that_changes_under_the_reader)
{
    struct pair p = open_pair("llama", (hearth_limits){0});
    struct pair fresh = open_pair("llama", (hearth_limits){0});
    struct bytes states[2];
    for (uint32_t i = 0; i < 2; i++) {
        hearth_session_reset(p.session);
        feed(p.session, ids + i, 100);
        save(p.session, i ? "other" : "state");
        states[i] = read_all(in_folder(i ? "other" : "state"));
    }
    struct bytes torn = {malloc(states[0].n), states[0].n};
    memcpy(torn.data, states[0].data, torn.n);
    torn.data[torn.n / 2] ^= 1;
    const struct {
        struct bytes with;
        off_t size;
        const char *detail;
    } ways[] = {{states[1], (off_t)states[1].n, "E_CHANGED"}, {torn, (off_t)torn.n, "E_SUM"}, {states[0], 5000, "E_TRUNC"}};
    for (size_t i = 0; i < 3; i++) {
        write_all(in_folder("bad"), states[0].data, states[0].n);
        struct spoiler spoiler = {in_folder("bad"), ways[i].with, ways[i].size};
        cr_expect_eq(hearth_state_restore(p.session, in_folder("bad"), spoil, &spoiler, &err), HEARTH_E_STATE, "way %zu", i);
        cr_expect_str_eq(err.detail, ways[i].detail, "way %zu: %s", i, err.message);
        cr_expect(hearth_session_position(p.session) == 0 && !hearth_session_logits(p.session, 0), "way %zu: not empty", i);
        hearth_session_reset(fresh.session);
        feed(p.session, ids, 20);
        feed(fresh.session, ids, 20);
        cr_expect_eq(memcmp(hearth_session_logits(p.session, 0), hearth_session_logits(fresh.session, 0), ROW_BYTES), 0);
    }
    free(torn.data);
    free(states[0].data);
    free(states[1].data);
    close_pair(&p);
    close_pair(&fresh);
}

/* ---- Damage ----------------------------------------------------------------------------------------------------------- */

/* What a refusal must leave alone. */
struct witness {
    float logits[N_VOCAB];
    struct bytes saved;
};

static void remember(struct witness *w, hearth_session *s)
{
    memcpy(w->logits, hearth_session_logits(s, 0), ROW_BYTES);
    save(s, "witness");
    w->saved = read_all(in_folder("witness"));
}

static void expect_untouched(const struct witness *w, hearth_session *s, const char *what, size_t where)
{
    cr_assert(hearth_session_position(s) == 11 && memcmp(hearth_session_tokens(s, NULL), ids + 50, 11 * sizeof ids[0]) == 0 &&
                  memcmp(w->logits, hearth_session_logits(s, 0), ROW_BYTES) == 0,
              "%s %zu changed the session", what, where);
}

/* All of it: it would still save the same bytes. */
static void expect_wholly_untouched(struct witness *w, hearth_session *s)
{
    save(s, "witness");
    struct bytes now = read_all(in_folder("witness"));
    cr_expect(now.n == w->saved.n && memcmp(now.data, w->saved.data, now.n) == 0);
    free(now.data);
    free(w->saved.data);
}

Test(state, every_flip_and_every_cut_is_refused)
{
    struct pair p = open_pair("small", (hearth_limits){0});
    struct rng rng = rng_start();
    struct witness witness;
    int32_t answer[3];
    feed(p.session, ids, 20);
    generate(p.session, 3, answer);
    cr_assert_eq(hearth_state_save(p.session, in_folder("state"), "extra bytes", 11, &err), HEARTH_OK, "%s", err.message);
    struct bytes state = read_all(in_folder("state"));
    hearth_session_reset(p.session);
    feed(p.session, ids + 50, 11);
    remember(&witness, p.session);
    cr_assert(state.n < 20000, "%zu bytes are no small state", state.n);
    write_all(in_folder("bad"), state.data, state.n);
    const int fd = open(in_folder("bad"), O_RDWR | O_CLOEXEC);
    for (size_t i = 0; i < state.n; i++)
        for (int way = 0; way < 2; way++) {
            const uint8_t byte = (uint8_t)(state.data[i] ^ (way ? 1u << rng_below(&rng, 8) : 0xffu));
            cr_assert_eq(pwrite(fd, &byte, 1, (off_t)i), 1);
            cr_assert_eq(restore(p.session, "bad"), HEARTH_E_STATE, "byte %zu: %s", i, err.message);
            cr_assert(err.detail[0] == 'E' && strstr(err.message, "state: "), "%s", err.message);
            cr_assert_eq(pwrite(fd, state.data + i, 1, (off_t)i), 1);
            expect_untouched(&witness, p.session, "a flip at", i);
        }
    for (size_t n = state.n; n-- > 0;) {
        cr_assert_eq(ftruncate(fd, (off_t)n), 0);
        cr_assert_eq(restore(p.session, "bad"), HEARTH_E_STATE, "cut to %zu: %s", n, err.message);
        cr_assert_str_eq(err.detail, "E_TRUNC");
        expect_untouched(&witness, p.session, "a cut to", n);
    }
    (void)close(fd);
    for (size_t more = 1; more <= 64; more++) { /* and none may follow */
        uint8_t *longer = calloc(1, state.n + more);
        memcpy(longer, state.data, state.n);
        write_all(in_folder("bad"), longer, state.n + more);
        cr_assert_eq(restore(p.session, "bad"), HEARTH_E_STATE);
        free(longer);
    }
    expect_wholly_untouched(&witness, p.session);
    cr_expect_eq(restore(p.session, "state"), HEARTH_OK, "%s", err.message);
    cr_expect_eq(hearth_session_position(p.session), 22);
    free(state.data);
    close_pair(&p);
}

/* What a machine that loses its power may leave: a sector that was never written, or is that of another state. */
Test(state, every_torn_sector_is_refused)
{
    enum { SECTOR = 512 };
    struct pair p = open_pair("gemma2", (hearth_limits){0});
    struct bytes states[2];
    uint32_t n_refused = 0;
    for (uint32_t i = 0; i < 2; i++) {
        feed(p.session, ids + i, 300);
        save(p.session, "state");
        states[i] = read_all(in_folder("state"));
        hearth_session_reset(p.session);
    }
    cr_assert_eq(states[0].n, states[1].n);
    write_all(in_folder("bad"), states[0].data, states[0].n);
    const int fd = open(in_folder("bad"), O_WRONLY | O_CLOEXEC);
    for (size_t at = 0; at < states[0].n; at += SECTOR)
        for (int way = 0; way < 2; way++) {
            static const uint8_t zeros[SECTOR];
            const size_t n = states[0].n - at < SECTOR ? states[0].n - at : SECTOR;
            const uint8_t *torn = way ? states[1].data + at : zeros;
            if (memcmp(torn, states[0].data + at, n) == 0)
                continue;
            cr_assert_eq(pwrite(fd, torn, n, (off_t)at), (ssize_t)n);
            cr_assert_eq(restore(p.session, "bad"), HEARTH_E_STATE, "sector at %zu: %s", at, err.message);
            cr_assert_eq(pwrite(fd, states[0].data + at, n, (off_t)at), (ssize_t)n);
            n_refused++;
        }
    (void)close(fd);
    cr_expect(n_refused > 300, "%" PRIu32, n_refused);
    cr_expect_eq(restore(p.session, "bad"), HEARTH_OK, "%s", err.message);
    free(states[0].data);
    free(states[1].data);
    close_pair(&p);
}

/* With right checksums, as somebody would make them: the file's sums follow its bytes. One chunk. */
static void forge(struct bytes *state)
{
    struct hearth_hash whole = {0, 0};
    const size_t payload = state->n - 8 - 32;
    const uint64_t sum = hearth_hash64(state->data, payload, 0);
    memcpy(state->data + payload, &sum, sizeof sum);
    hearth_hash_add(&whole, state->data, payload);
    memcpy(state->data + payload + 8, &whole, sizeof whole);
}

Test(state, forged_numbers_do_no_harm)
{
    static const uint32_t values[] = {0, 1, 33, 0x7fffffff, 0x80000000, 0xffffffff, 0x7fc00000, 1u << 24};
    struct pair p = open_pair("small", (hearth_limits){0});
    struct pair w = open_pair("gemma2", (hearth_limits){0});
    uint32_t accepted = 0;
    struct pair *const pairs[2] = {&p, &w};
    for (int i = 0; i < 2; i++) {
        hearth_session *s = pairs[i]->session;
        feed(s, ids, i ? 290 : 20);
        save(s, "state");
        struct bytes state = read_all(in_folder("state"));
        cr_assert(state.n < 1 << 20);
        const size_t facts = 136 + 4 * 4 + sizeof(struct hearth_sampler_state) + 200; /* header, layers, sampler, tokens */
        write_all(in_folder("bad"), state.data, state.n);
        const int fd = open(in_folder("bad"), O_WRONLY | O_CLOEXEC);
        for (size_t at = 16; at < facts; at += 4)
            for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
                uint32_t was;
                memcpy(&was, state.data + at, sizeof was);
                memcpy(state.data + at, &values[v], sizeof was);
                forge(&state);
                cr_assert(pwrite(fd, state.data, facts, 0) == (ssize_t)facts &&
                          pwrite(fd, state.data + state.n - 40, 40, (off_t)state.n - 40) == 40);
                const hearth_status status = restore(s, "bad");
                cr_assert(status == HEARTH_OK || status == HEARTH_E_STATE || status == HEARTH_E_CONTEXT_FULL, "%s", err.message);
                accepted += status == HEARTH_OK;
                int32_t id;
                if (status == HEARTH_OK && hearth_session_position(s) < CONTEXT)
                    (void)hearth_session_feed(s, ids, 1, &err);
                if (hearth_session_logits(s, 0))
                    (void)hearth_session_sample(s, &id, &err);
                memcpy(state.data + at, &was, sizeof was);
            }
        (void)close(fd);
        free(state.data);
    }
    cr_expect(accepted > 100, "the sums were wrong: nothing was ever read");
    close_pair(&p);
    close_pair(&w);
}

/* What each field of the header is there for; offsets as in docs/states.md. */
Test(state, foreign_states_are_told_apart)
{
    static const struct {
        const char *detail;
        size_t at;
    } fields[] = {{"E_MAGIC", 0},    {"E_ENDIAN", 8},     {"E_VERSION", 12}, {"E_TRUNC", 16},      {"E_SIZE", 24},
                  {"E_MODEL", 32},   {"E_TOKENIZER", 48}, {"E_ROPE", 64},    {"E_ARITHMETIC", 80}, {"E_KV", 84},
                  {"E_SHAPE", 88},   {"E_SHAPE", 92},     {"E_SHAPE", 96},   {"E_SHAPE", 100},     {"E_WINDOW", 104},
                  {"E_HEADER", 116}, {"E_HEADER", 120},   {"E_HEADER", 124}};
    struct pair p = open_pair("small", (hearth_limits){0});
    struct witness witness;
    feed(p.session, ids, 20);
    save(p.session, "state");
    struct bytes state = read_all(in_folder("state"));
    hearth_session_reset(p.session);
    feed(p.session, ids + 50, 11);
    remember(&witness, p.session);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        state.data[fields[i].at + 3] ^= 0x40;
        forge(&state);
        write_all(in_folder("bad"), state.data, state.n);
        cr_expect_eq(restore(p.session, "bad"), HEARTH_E_STATE, "field %zu: %s", fields[i].at, err.message);
        cr_expect_str_eq(err.detail, fields[i].detail, "field %zu: %s", fields[i].at, err.message);
        expect_untouched(&witness, p.session, "field", fields[i].at);
        state.data[fields[i].at + 3] ^= 0x40;
    }
    cr_expect_eq(hearth_status_exit_code(HEARTH_E_STATE), 7);
    expect_wholly_untouched(&witness, p.session);
    free(state.data);
    close_pair(&p);
}

static void expect_refused(const char *state, const char *model, hearth_limits limits, hearth_status status, const char *detail)
{
    struct pair p = open_pair(model, limits);
    feed(p.session, ids, 5);
    cr_expect_eq(restore(p.session, state), status, "%s into %s: %s", state, model, err.message);
    cr_expect(!detail || strcmp(err.detail, detail) == 0, "%s into %s: %s", state, model, err.message);
    cr_expect(hearth_session_position(p.session) == 5 && hearth_session_logits(p.session, 0));
    close_pair(&p);
}

Test(state, other_models_and_limits_are_refused)
{
    struct pair p = open_pair("llama", (hearth_limits){0});
    int32_t answer[2];
    write_model("other", "llama", 2, 2); /* the same but for the weights */
    feed(p.session, ids, 99);
    generate(p.session, 2, answer);
    save(p.session, "state");
    close_pair(&p);
    expect_refused("state", "other", (hearth_limits){0}, HEARTH_E_STATE, "E_MODEL");
    expect_refused("state", "small", (hearth_limits){0}, HEARTH_E_STATE, "E_MODEL");
    expect_refused("state", "gemma2", (hearth_limits){0}, HEARTH_E_STATE, "E_MODEL");
    expect_refused("state", "llama", (hearth_limits){.kv_type = HEARTH_KV_F32}, HEARTH_E_STATE, "E_KV");
    expect_refused("state", "llama", (hearth_limits){.kv_type = HEARTH_KV_Q8_0}, HEARTH_E_STATE, "E_KV");
    expect_refused("state", "llama", (hearth_limits){.sliding_window = 1}, HEARTH_E_STATE, "E_WINDOW");
    expect_refused("state", "llama", (hearth_limits){.context = 100}, HEARTH_E_CONTEXT_FULL, NULL);
    cr_expect(err.needed == 101 && err.available == 100);
    p = open_pair("llama", (hearth_limits){.context = 101});
    cr_expect_eq(restore(p.session, "state"), HEARTH_OK, "%s", err.message);
    close_pair(&p);
}

/* ---- Files that are not there, or are no files ------------------------------------------------------------------------- */

Test(state, what_is_no_file_is_refused)
{
    struct pair p = open_pair("small", (hearth_limits){0});
    char long_name[400];
    feed(p.session, ids, 5);
    save(p.session, "good");
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    cr_assert(mkdir(in_folder("folder"), 0700) == 0 && mkfifo(in_folder("fifo"), 0600) == 0 &&
              symlink("good", in_folder("link")) == 0 && symlink("nowhere", in_folder("dangling")) == 0 &&
              symlink("loop", in_folder("loop")) == 0);
    write_all(in_folder("empty"), "", 0);
    const struct {
        const char *path;
        hearth_status saving, restoring;
    } cases[] = {
        {in_folder("folder"), HEARTH_E_IO, HEARTH_E_IO},    {in_folder("fifo"), HEARTH_E_IO, HEARTH_E_IO},
        {in_folder("link"), HEARTH_E_IO, HEARTH_E_IO},      {in_folder("loop"), HEARTH_E_IO, HEARTH_E_IO},
        {in_folder("dangling"), HEARTH_E_IO, HEARTH_E_IO},  {in_folder("none/state"), HEARTH_E_NOT_FOUND, HEARTH_E_NOT_FOUND},
        {in_folder("good/state"), HEARTH_E_IO, HEARTH_E_IO}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_expect_eq(hearth_session_save(p.session, cases[i].path, &err), cases[i].saving, "%s: %s", cases[i].path, err.message);
        cr_expect_eq(hearth_session_restore(p.session, cases[i].path, &err), cases[i].restoring, "%s: %s", cases[i].path,
                     err.message);
    }
    static const char *const odd[] = {"", ".", "..", "/", "/dev/null", "/dev/full", "/proc/self/mem", "/dev/zero"};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        const hearth_status saved = hearth_session_save(p.session, odd[i], &err);
        cr_expect(saved == HEARTH_E_IO || saved == HEARTH_E_NOT_FOUND, "'%s': %s", odd[i], err.message);
        cr_expect_neq(hearth_session_restore(p.session, odd[i], &err), HEARTH_OK, "'%s'", odd[i]);
    }
    cr_expect_eq(hearth_session_save(p.session, long_name, &err), HEARTH_E_IO);
    cr_expect_eq(hearth_session_restore(p.session, long_name, &err), HEARTH_E_IO);
    cr_expect_eq(restore(p.session, "nobody"), HEARTH_E_NOT_FOUND);
    cr_expect_eq(restore(p.session, "empty"), HEARTH_E_STATE);
    cr_expect_eq(hearth_session_save(p.session, NULL, &err), HEARTH_E_CONFIG);
    cr_expect_eq(hearth_session_restore(p.session, NULL, &err), HEARTH_E_CONFIG);
    cr_expect_eq(hearth_session_save(NULL, in_folder("good"), &err), HEARTH_E_CONFIG);
    cr_expect_eq(hearth_session_restore(NULL, in_folder("good"), &err), HEARTH_E_CONFIG);
    cr_expect(restore(p.session, "good") == HEARTH_OK && hearth_session_position(p.session) == 5);
    close_pair(&p);
}

Test(state, only_the_owner_may_read_it)
{
    struct stat info;
    struct pair p = open_pair("small", (hearth_limits){0});
    (void)umask(0);
    feed(p.session, ids, 5);
    save(p.session, "state");
    cr_expect(stat(in_folder("state"), &info) == 0 && (info.st_mode & 07777) == 0600);
    cr_assert_eq(chmod(in_folder("state"), 0644), 0);
    save(p.session, "state");
    cr_expect(stat(in_folder("state"), &info) == 0 && (info.st_mode & 07777) == 0600, "the new file has its own mode");
    close_pair(&p);
}

/* The second name may be taken: by what a dead process left, or by somebody who wants us to write elsewhere. */
Test(state, the_second_name_is_never_followed)
{
    struct pair p = open_pair("small", (hearth_limits){0});
    feed(p.session, ids, 5);
    write_all(in_folder("victim"), "precious", 8);
    for (int way = 0; way < 4; way++) {
        if (way == 0)
            write_all(in_folder("state.new"), "left over", 9);
        else if (way == 1)
            cr_assert_eq(symlink("victim", in_folder("state.new")), 0);
        else if (way == 2)
            cr_assert_eq(link(in_folder("victim"), in_folder("state.new")), 0);
        else
            cr_assert_eq(mkfifo(in_folder("state.new"), 0600), 0);
        save(p.session, "state");
        cr_expect_not(exists(in_folder("state.new")), "way %d", way);
        struct bytes victim = read_all(in_folder("victim"));
        cr_expect(victim.n == 8 && memcmp(victim.data, "precious", 8) == 0, "way %d", way);
        free(victim.data);
        cr_expect_eq(restore(p.session, "state"), HEARTH_OK, "%s", err.message);
    }
    cr_assert_eq(mkdir(in_folder("state.new"), 0700), 0);
    cr_expect_eq(hearth_session_save(p.session, in_folder("state"), &err), HEARTH_E_IO);
    close_pair(&p);
}

/* ---- No room, no permission -------------------------------------------------------------------------------------------- */

/* The old state stays, and nothing else is left. */
static void expect_failure_without_loss(hearth_session *s, const char *path, const char *second, const char *why)
{
    struct bytes before = read_all(path);
    cr_expect_eq(hearth_session_save(s, path, &err), HEARTH_E_IO);
    cr_expect(strstr(err.message, why), "%s", err.message);
    cr_expect_not(exists(second));
    struct bytes after = read_all(path);
    cr_expect(before.n == after.n && memcmp(before.data, after.data, before.n) == 0);
    free(before.data);
    free(after.data);
}

Test(state, a_limit_of_file_size_is_an_error_not_a_signal)
{
    struct pair p = open_pair("llama", (hearth_limits){0});
    feed(p.session, ids, 5);
    save(p.session, "state");
    feed(p.session, ids, 400);
    const struct rlimit small = {20000, RLIM_INFINITY};
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    expect_failure_without_loss(p.session, in_folder("state"), in_folder("state.new"), "too large");
    cr_expect(restore(p.session, "state") == HEARTH_OK && hearth_session_position(p.session) == 5);
    close_pair(&p);
}

Test(state, a_full_disk_leaves_the_old_state)
{
    char path[96], second[112];
    struct pair p = open_pair("llama", (hearth_limits){0});
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mkdir(in_folder("disk"), 0700) != 0 || mount("tmpfs", in_folder("disk"), "tmpfs", 0, "size=64k") != 0)
        cr_skip_test("SKIPPED: may not mount a small file system");
    (void)snprintf(path, sizeof path, "%s/disk/state", folder);
    (void)snprintf(second, sizeof second, "%s.new", path);
    feed(p.session, ids, 5);
    cr_assert_eq(hearth_session_save(p.session, path, &err), HEARTH_OK, "%s", err.message);
    feed(p.session, ids, 400);
    expect_failure_without_loss(p.session, path, second, "No space left");
    cr_expect_eq(hearth_session_restore(p.session, path, &err), HEARTH_OK, "%s", err.message);
    cr_expect_eq(hearth_session_position(p.session), 5);
    close_pair(&p);
    (void)umount2(in_folder("disk"), MNT_DETACH);
}

Test(state, a_folder_that_may_not_be_written_to)
{
    struct pair p = open_pair("llama", (hearth_limits){0});
    feed(p.session, ids, 5);
    save(p.session, "state");
    cr_assert_eq(chmod(folder, 0555), 0);
    if (geteuid() == 0)
        cr_assert_eq(seteuid(65534), 0);
    cr_expect_eq(hearth_session_save(p.session, in_folder("state2"), &err), HEARTH_E_IO);
    cr_expect(strstr(err.message, "Permission denied"), "%s", err.message);
    (void)seteuid(0);
    cr_assert_eq(chmod(folder, 0700), 0);
    cr_expect_not(exists(in_folder("state2.new")));
    cr_expect_eq(restore(p.session, "state"), HEARTH_OK);
    close_pair(&p);
}

/* ---- Several at once --------------------------------------------------------------------------------------------------- */

struct writer {
    hearth_session *session;
    const char *path;
    uint32_t n_saved, n_busy, n_failed;
};

static void *save_often(void *context)
{
    struct writer *w = context;
    hearth_error error;
    while (w->n_saved < 20 && w->n_failed == 0) {
        const hearth_status status = hearth_session_save(w->session, w->path, &error);
        w->n_saved += status == HEARTH_OK;
        w->n_busy += status == HEARTH_E_BUSY;
        w->n_failed += status != HEARTH_OK && status != HEARTH_E_BUSY;
        (void)usleep(status == HEARTH_E_BUSY ? 200 : 1000);
    }
    return NULL;
}

Test(state, two_writers_at_once)
{
    struct pair pairs[3];
    struct writer writers[2];
    pthread_t threads[2];
    uint32_t busy = 0;
    const char *path = in_folder("state");
    for (uint32_t i = 0; i < 3; i++) {
        pairs[i] = open_pair("llama", (hearth_limits){0});
        feed(pairs[i].session, ids, 100 + 50 * i);
    }
    cr_assert_eq(hearth_session_save(pairs[0].session, path, &err), HEARTH_OK);
    for (int i = 0; i < 2; i++) {
        writers[i] = (struct writer){.session = pairs[i].session, .path = path};
        cr_assert_eq(pthread_create(&threads[i], NULL, save_often, &writers[i]), 0);
    }
    for (int i = 0; i < 100; i++) {
        cr_expect_eq(hearth_session_restore(pairs[2].session, path, &err), HEARTH_OK, "%s", err.message);
        const uint32_t position = hearth_session_position(pairs[2].session);
        cr_expect(position == 100 || position == 150, "%" PRIu32, position);
    }
    for (int i = 0; i < 2; i++) {
        (void)pthread_join(threads[i], NULL);
        cr_expect_eq(writers[i].n_failed, 0);
        busy += writers[i].n_busy;
    }
    cr_expect(busy > 0, "they never met");
    cr_expect_not(exists(in_folder("state.new")));
    for (int i = 0; i < 3; i++)
        close_pair(&pairs[i]);
}

/* ---- Identity ---------------------------------------------------------------------------------------------------------- */

static struct hearth_hash identity_of(const char *name, const char *level, uint32_t threads, struct hearth_hash *vocabulary)
{
    hearth_engine_close(engine);
    engine = golden_engine(level, threads);
    cr_assert(engine);
    struct pair p = open_pair(name, (hearth_limits){0});
    const struct hearth_hash identity = p.model->identity;
    if (vocabulary)
        *vocabulary = p.model->vocabulary_identity;
    close_pair(&p);
    return identity;
}

Test(state, identity_is_of_the_bytes_alone)
{
    struct hearth_hash vocabulary, other_vocabulary;
    const struct hearth_hash identity = identity_of("gemma2", NULL, 1, &vocabulary);
    cr_expect(identity.low != 0 && identity.high != 0);
    for (uint32_t threads = 2; threads <= 5; threads++)
        cr_expect(hearth_hash_equal(identity_of("gemma2", NULL, threads, NULL), identity), "%" PRIu32 " threads", threads);
    cr_expect(hearth_hash_equal(identity_of("gemma2", "reference", 2, NULL), identity));
    cr_expect(hearth_hash_equal(identity_of("gemma2", "avx2", 3, NULL), identity));
    /* Every tensor counts: one bit of each in turn. */
    struct bytes file = read_all(in_folder("llama"));
    struct hearth_gguf gguf;
    const struct hearth_hash whole = identity_of("llama", NULL, 2, &other_vocabulary);
    cr_expect(hearth_hash_equal(vocabulary, other_vocabulary), "the same tokens");
    cr_assert_eq(hearth_gguf_parse(&gguf, file.data, file.n, file.n, "llama", &err), HEARTH_OK);
    for (uint64_t i = 0; i < gguf.n_tensors; i++) {
        const uint64_t at = gguf.tensors[i].file_offset + gguf.tensors[i].bytes / 8 * 4;
        file.data[at] ^= 1;
        write_all(in_folder("changed"), file.data, file.n);
        file.data[at] ^= 1;
        cr_expect_not(hearth_hash_equal(identity_of("changed", NULL, 2, NULL), whole), "tensor %" PRIu64, i);
    }
    /* Rows that change places change the model. */
    const struct hearth_gguf_tensor *t = hearth_gguf_find_tensor(&gguf, "blk.0.ffn_up.weight");
    const size_t row = (size_t)(t->bytes / t->ne[1]);
    uint8_t *first = file.data + t->file_offset;
    uint8_t aside[4096];
    cr_assert(row <= sizeof aside);
    memcpy(aside, first, row);
    memcpy(first, first + row, row);
    memcpy(first + row, aside, row);
    write_all(in_folder("changed"), file.data, file.n);
    cr_expect_not(hearth_hash_equal(identity_of("changed", NULL, 2, &other_vocabulary), whole));
    cr_expect(hearth_hash_equal(vocabulary, other_vocabulary));
    hearth_gguf_free(&gguf);
    free(file.data);
}
