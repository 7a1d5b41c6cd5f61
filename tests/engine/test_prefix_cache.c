/* The prefix cache: what is restored has the bits of what is computed, for every kind of cache and every place where texts part;
 * what is not the same text, model or kind is never restored; the budget is kept, and what is given up is what was used longest
 * ago. */
#include "engine.h"
#include "gguf_builder.h"
#include "memory_source.h"
#include "plan.h"
#include "support/rng.h"
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define N_VOCAB 300u
#define UNIT HEARTH_PREFIX_UNIT
#define CONTEXT 330u /* no multiple of anything */
#define BATCH 32u
#define MIB ((uint64_t)1 << 20)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static hearth_error err;
static hearth_engine *engine, *plain; /* with a prefix cache and without */

/* A file in memory and a model of it in one of the engines. */
struct tiny {
    uint8_t *file;
    size_t size;
    struct memory_source source;
    hearth_model *model;
};

static hearth_limits limits = {.struct_size = sizeof limits, .context = CONTEXT, .batch = BATCH};

static void open_engine_with(hearth_engine **out, uint64_t budget)
{
    const hearth_engine_options options = {.struct_size = sizeof options, .threads = 2, .cache_budget = budget};
    cr_assert_eq(hearth_engine_open(out, &options, &err), HEARTH_OK, "%s", err.message);
}

static void open_engines(void)
{
    open_engine_with(&engine, 8 * MIB);
    open_engine_with(&plain, 0);
}

static void close_engines(void)
{
    hearth_engine_close(engine);
    hearth_engine_close(plain);
}

static void finish(struct tiny *t, struct gguf_builder *builder)
{
    t->file = gguf_builder_finish(builder, &t->size);
    gguf_builder_free(builder);
    cr_assert_eq(memory_source_open(&t->source, t->file, t->size, &err), HEARTH_OK, "%s", err.message);
}

static void make(struct tiny *t, const char *arch)
{
    struct gguf_builder builder;
    const bool experts = strcmp(arch, "qwen3moe") == 0;
    gguf_builder_init(&builder);
    gguf_builder_add_llama(&builder, &(struct gguf_shape){.arch = arch,
                                                          .n_layer = 3,
                                                          .n_vocab = N_VOCAB,
                                                          .n_ctx_train = CONTEXT,
                                                          .format = HEARTH_Q8_0,
                                                          .n_expert = experts ? 4 : 0,
                                                          .n_expert_used = experts ? 2 : 0});
    gguf_builder_set_u32(&builder, "gemma2.attention.sliding_window", 16);
    if (experts)
        gguf_builder_set_u32(&builder, "qwen3moe.expert_feed_forward_length", 96); /* as in the shape */
    *t = (struct tiny){0};
    finish(t, &builder);
}

static void open_model(struct tiny *t, hearth_engine *e)
{
    cr_assert_eq(hearth_model_open_source(&t->model, e, &t->source.source, &limits, NULL, &err), HEARTH_OK, "%s", err.message);
}

static void free_file(struct tiny *t)
{
    memory_source_close(&t->source);
    free(t->file);
}

static hearth_session *open_session(const struct tiny *t)
{
    hearth_session *s;
    cr_assert_eq(hearth_session_open(&s, t->model, &limits, &err), HEARTH_OK, "%s", err.message);
    return s;
}

/* Text number `which`: different from the first token on. */
static void write_text(int32_t *ids, uint32_t n, uint32_t which)
{
    for (uint32_t i = 0; i < n; i++)
        ids[i] = (int32_t)(3 + (i * 7 + which * 13 + i * which) % (N_VOCAB - 3));
}

static hearth_prompt_info prompt(hearth_session *s, const int32_t *ids, uint32_t n)
{
    hearth_prompt_info info = {.struct_size = sizeof info};
    cr_assert_eq(hearth_session_prompt(s, ids, n, &info, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(info.n_kept + info.n_restored + info.n_computed, n);
    cr_assert_eq(hearth_session_position(s), n);
    cr_assert_geq(info.n_computed, 1);
    uint32_t held;
    cr_assert_eq(memcmp(hearth_session_tokens(s, &held), ids, n * sizeof *ids), 0);
    return info;
}

/* The logits of the last token, computed without a cache, in one go. */
static void expect_bits(hearth_session *reference, hearth_session *s, const int32_t *ids, uint32_t n)
{
    hearth_session_reset(reference);
    cr_assert_eq(hearth_session_feed(reference, ids, n, &err), HEARTH_OK, "%s", err.message);
    cr_expect_eq(memcmp(hearth_session_logits(s, 0), hearth_session_logits(reference, 0), N_VOCAB * sizeof(float)), 0,
                 "%" PRIu32 " tokens: other bits", n);
}

TestSuite(prefix_cache, .init = open_engines, .fini = close_engines);

/* ---- Bits ------------------------------------------------------------------------------------------------------------- */

static void split_everywhere(const char *arch, int32_t kv_type)
{
    static const uint32_t splits[] = {1, 31, 63, 64, 65, 127, 128, 129, 191, 192, 193, 255, 256, 257, 319, 320, 321};
    int32_t whole[CONTEXT];
    int32_t ids[CONTEXT];
    struct tiny cached;
    struct tiny uncached;
    limits.kv_type = kv_type;
    make(&cached, arch);
    make(&uncached, arch);
    open_model(&cached, engine);
    open_model(&uncached, plain);
    hearth_session *reference = open_session(&uncached);
    write_text(whole, CONTEXT, 1);
    for (size_t i = 0; i < COUNT(splits); i++)
        for (uint32_t more = 0; more < 4; more += 3) {
            hearth_session *first = open_session(&cached);
            (void)prompt(first, whole, CONTEXT);
            hearth_session_close(first); /* and what it held is kept */
            hearth_session *second = open_session(&cached);
            const uint32_t n = splits[i] + more;
            write_text(ids, CONTEXT, 2 + (uint32_t)i);
            memcpy(ids, whole, splits[i] * sizeof *ids);
            const hearth_prompt_info info = prompt(second, ids, n);
            const uint32_t units = splits[i] / UNIT * UNIT;
            cr_expect_eq(info.n_restored, units < n ? units : n - 1,
                         "%s: split at %" PRIu32 ", %" PRIu32 " more: restored %" PRIu32, arch, splits[i], more, info.n_restored);
            cr_expect_eq(info.n_kept, 0);
            expect_bits(reference, second, ids, n);
            /* And what comes after it, which sees every position that was restored. */
            cr_assert_eq(hearth_session_feed(second, whole, 3, &err), HEARTH_OK);
            cr_assert_eq(hearth_session_feed(reference, whole, 3, &err), HEARTH_OK);
            cr_expect_eq(memcmp(hearth_session_logits(second, 0), hearth_session_logits(reference, 0), N_VOCAB * sizeof(float)), 0);
            hearth_session_close(second);
        }
    hearth_session_close(reference);
    hearth_model_close(cached.model);
    hearth_model_close(uncached.model);
    free_file(&cached);
    free_file(&uncached);
}

Test(prefix_cache, same_bits_wherever_texts_part)
{
    for (int32_t kv_type = HEARTH_KV_F16; kv_type <= HEARTH_KV_Q8_0; kv_type++)
        split_everywhere("llama", kv_type);
}

Test(prefix_cache, same_bits_of_other_architectures)
{
    static const char *const archs[] = {"phi2", "qwen3", "qwen3moe", "gemma"};
    for (size_t i = 0; i < COUNT(archs); i++)
        split_everywhere(archs[i], i % 2 ? HEARTH_KV_Q8_0 : HEARTH_KV_F16);
}

/* ---- Conversations ---------------------------------------------------------------------------------------------------- */

Test(prefix_cache, conversations_take_turns_in_one_session)
{
    int32_t a[CONTEXT];
    int32_t b[CONTEXT];
    struct tiny t;
    make(&t, "llama");
    open_model(&t, engine);
    hearth_session *s = open_session(&t);
    write_text(a, CONTEXT, 1);
    write_text(b, CONTEXT, 2);
    memcpy(b, a, 70 * sizeof *a); /* one system prompt */
    cr_expect_eq(prompt(s, a, 200).n_computed, 200);
    hearth_prompt_info info = prompt(s, b, 150);
    cr_expect(info.n_kept == 70 && info.n_restored == 0 && info.n_computed == 80);
    info = prompt(s, a, 230); /* 192 of them were whole units */
    cr_expect(info.n_kept == 70 && info.n_restored == 122 && info.n_computed == 38, "%" PRIu32 " kept, %" PRIu32 " restored",
              info.n_kept, info.n_restored);
    info = prompt(s, b, 150);
    cr_expect(info.n_kept == 70 && info.n_restored == 58 && info.n_computed == 22);
    hearth_session_reset(s);
    info = prompt(s, a, 230);
    cr_expect(info.n_kept == 0 && info.n_restored == 192 && info.n_computed == 38);
    cr_assert_eq(hearth_session_rewind(s, 10, &err), HEARTH_OK);
    info = prompt(s, a, 193);
    cr_expect(info.n_kept == 10 && info.n_restored == 182 && info.n_computed == 1);
    info = prompt(s, a, 230);
    cr_expect(info.n_kept == 193 && info.n_restored == 0, "nothing is restored that is there");
    hearth_session_close(s);
    hearth_model_close(t.model);
    free_file(&t);
}

Test(prefix_cache, sessions_and_reopened_models_share)
{
    int32_t ids[CONTEXT];
    struct tiny t;
    struct tiny other;
    make(&t, "llama");
    make(&other, "llama");
    uint64_t n;
    memory_source_tensor(other.file, other.size, "blk.1.ffn_up.weight", &n)[2] ^= 1; /* one bit of one weight */
    open_model(&t, engine);
    hearth_session *first = open_session(&t);
    hearth_session *second = open_session(&t);
    write_text(ids, CONTEXT, 1);
    (void)prompt(first, ids, 150);
    cr_expect_eq(prompt(second, ids, 150).n_restored, 0, "only what is given up is kept");
    hearth_session_close(first);
    hearth_session_close(second);
    hearth_model_close(t.model);
    open_model(&other, engine); /* perhaps in the same memory */
    first = open_session(&other);
    cr_expect_eq(prompt(first, ids, 150).n_restored, 0, "of another model");
    hearth_session_close(first);
    hearth_model_close(other.model);
    open_model(&t, engine);
    first = open_session(&t);
    cr_expect_eq(prompt(first, ids, 150).n_restored, 128, "of the same model, opened again");
    hearth_session_close(first);
    limits.kv_type = HEARTH_KV_F32;
    first = open_session(&t);
    cr_expect_eq(prompt(first, ids, 150).n_restored, 0, "of another kind of cache");
    hearth_session_close(first);
    hearth_model_close(t.model);
    free_file(&t);
    free_file(&other);
}

/* What a session holds is kept before a state overwrites it. Of a restored one, what layers with a window do not see any more may
 * be missing, and nothing is kept. */
Test(prefix_cache, a_restored_state_spoils_nothing)
{
    static const char *const archs[] = {"llama", "gemma2"};
    int32_t a[CONTEXT];
    int32_t b[CONTEXT];
    char path[] = "prefix_cache.XXXXXX";
    const int fd = mkstemp(path);
    cr_assert(fd >= 0);
    (void)close(fd);
    write_text(a, CONTEXT, 1);
    write_text(b, CONTEXT, 2);
    limits.context = 200; /* gemma2 has a slot for each */
    for (size_t i = 0; i < COUNT(archs); i++) {
        struct tiny t;
        struct tiny uncached;
        make(&t, archs[i]);
        make(&uncached, archs[i]);
        open_model(&t, engine);
        open_model(&uncached, plain);
        hearth_session *s = open_session(&t);
        hearth_session *reference = open_session(&uncached);
        cr_assert_eq(hearth_session_feed(reference, b, 190, &err), HEARTH_OK);
        cr_assert_eq(hearth_session_save(reference, path, &err), HEARTH_OK, "%s", err.message);
        (void)prompt(s, a, 190);
        cr_assert_eq(hearth_session_restore(s, path, &err), HEARTH_OK, "%s", err.message);
        cr_expect_eq(prompt(s, a, 195).n_restored, 128, "%s", archs[i]);
        expect_bits(reference, s, a, 195);
        (void)prompt(s, b, 195); /* restored or computed, as the window allows */
        expect_bits(reference, s, b, 195);
        hearth_session_close(s);
        hearth_session_close(reference);
        hearth_model_close(t.model);
        hearth_model_close(uncached.model);
        free_file(&t);
        free_file(&uncached);
    }
    (void)unlink(path);
}

/* Rotations for contexts beyond the first one are others. */
Test(prefix_cache, long_and_short_rotations_are_kept_apart)
{
    static const char *const names[] = {"rope_factors_short.weight", "rope_factors_long.weight"};
    struct gguf_builder builder;
    struct tiny t = {0};
    int32_t ids[CONTEXT];
    gguf_builder_init(&builder);
    gguf_builder_add_llama(&builder, &(struct gguf_shape){.arch = "phi3", .n_vocab = N_VOCAB, .n_ctx_train = CONTEXT});
    gguf_builder_set_string(&builder, "phi3.rope.scaling.type", "longrope");
    gguf_builder_set_u32(&builder, "phi3.rope.scaling.original_context_length", 200);
    for (size_t i = 0; i < 2; i++)
        gguf_builder_set_tensor(&builder, names[i], HEARTH_F32, 1, (const uint64_t[]){8});
    finish(&t, &builder);
    for (size_t i = 0; i < 2; i++) {
        uint64_t n;
        uint8_t *factors = memory_source_tensor(t.file, t.size, names[i], &n);
        for (size_t j = 0; j < 8; j++)
            memcpy(factors + 4 * j, &(float){i ? 4.0f : 1.0f}, sizeof(float));
    }
    open_model(&t, engine);
    write_text(ids, CONTEXT, 1);
    static const uint32_t contexts[] = {150, 160, 300, 310};
    static const uint32_t restored[] = {0, 128, 0, 128};
    for (size_t i = 0; i < COUNT(contexts); i++) {
        limits.context = contexts[i];
        hearth_session *s = open_session(&t);
        cr_expect_eq(prompt(s, ids, 140).n_restored, restored[i], "context %" PRIu32, contexts[i]);
        hearth_session_close(s);
    }
    hearth_model_close(t.model);
    free_file(&t);
}

/* Layers with a window of 16 have 256 slots for 330 positions: older ones are gone. Where the whole context fits, it is used. */
Test(prefix_cache, windows_that_forget_do_without)
{
    struct gguf_builder builder;
    struct tiny t = {0};
    int32_t ids[CONTEXT];
    gguf_builder_init(&builder);
    gguf_builder_add_llama(&builder,
                           &(struct gguf_shape){.arch = "gemma2", .n_layer = 4, .n_vocab = N_VOCAB, .n_ctx_train = CONTEXT});
    gguf_builder_set_u32(&builder, "gemma2.attention.sliding_window", 16);
    finish(&t, &builder);
    struct tiny uncached = {.file = t.file, .size = t.size};
    cr_assert_eq(memory_source_open(&uncached.source, t.file, t.size, &err), HEARTH_OK);
    open_model(&t, engine);
    open_model(&uncached, plain);
    write_text(ids, CONTEXT, 1);
    for (limits.context = 200; limits.context <= CONTEXT; limits.context += 100) {
        hearth_session *reference = open_session(&uncached);
        for (int i = 0; i < 2; i++) {
            hearth_session *s = open_session(&t);
            const uint32_t restored = prompt(s, ids, 150).n_restored;
            cr_expect_eq(restored, i == 1 && limits.context <= 256 ? 128 : 0, "context %" PRIu32 ": %" PRIu32, limits.context,
                         restored);
            expect_bits(reference, s, ids, 150);
            hearth_session_close(s);
        }
        hearth_session_close(reference);
    }
    hearth_model_close(t.model);
    hearth_model_close(uncached.model);
    memory_source_close(&uncached.source);
    free_file(&t);
}

/* ---- The budget ------------------------------------------------------------------------------------------------------- */

/* The least budget that holds n units of the tiny llama: what the refusal of a smaller one asks for, and as much again. */
static uint64_t budget_for(struct tiny *t, uint32_t n)
{
    hearth_engine *e;
    hearth_plan *plan;
    open_engine_with(&e, 64);
    cr_expect_eq(hearth_plan_open_source(&plan, e, &t->source.source, &limits, &err), HEARTH_E_CONFIG);
    cr_expect_eq(hearth_model_open_source(&t->model, e, &t->source.source, &limits, NULL, &err), HEARTH_E_CONFIG);
    const char *need = strstr(err.message, "got 64, need ");
    cr_assert(need, "%s", err.message);
    hearth_engine_close(e);
    return strtoull(need + strlen("got 64, need "), NULL, 10) * n;
}

Test(prefix_cache, a_budget_without_room_for_a_unit_is_refused)
{
    struct tiny t;
    make(&t, "llama");
    const uint64_t least = budget_for(&t, 1);
    for (uint64_t less = 0; less <= 64; less += 64) {
        hearth_engine *e;
        open_engine_with(&e, least - less);
        const hearth_status status = hearth_model_open_source(&t.model, e, &t.source.source, &limits, NULL, &err);
        cr_expect_eq(status, less ? HEARTH_E_CONFIG : HEARTH_OK, "%s", err.message);
        hearth_session *s = NULL;
        limits.kv_type = HEARTH_KV_F32; /* as many blocks for these little units, or more */
        if (status == HEARTH_OK)
            cr_expect_eq(hearth_session_open(&s, t.model, &limits, &err),
                         hearth_prefix_unit_bytes(&t.model->description.hparams, HEARTH_F32) > 65536 ? HEARTH_E_CONFIG : HEARTH_OK);
        limits.kv_type = HEARTH_KV_F16;
        hearth_session_close(s);
        hearth_model_close(t.model);
        hearth_engine_close(e);
    }
    hearth_engine *e;
    const hearth_engine_options huge = {.struct_size = sizeof huge, .cache_budget = UINT64_MAX};
    cr_expect_eq(hearth_engine_open(&e, &huge, &err), HEARTH_E_CONFIG);
    free_file(&t);
}

/* Room for five units; texts of three. */
Test(prefix_cache, what_was_used_longest_ago_goes)
{
    struct tiny t;
    int32_t ids[3][CONTEXT];
    hearth_engine *e;
    make(&t, "llama");
    open_engine_with(&e, budget_for(&t, 5));
    open_model(&t, e);
    hearth_session *s = open_session(&t);
    for (uint32_t i = 0; i < 3; i++)
        write_text(ids[i], CONTEXT, 1 + i);
    (void)prompt(s, ids[0], 193);
    (void)prompt(s, ids[1], 193); /* keeps all of 0 */
    hearth_session_reset(s);      /* keeps all of 1, and the first units of 0: ends of chains go first */
    cr_expect_eq(prompt(s, ids[0], 193).n_restored, 128);
    hearth_session_reset(s); /* 0 is whole again, and the end of 1 has gone */
    cr_expect_eq(prompt(s, ids[1], 193).n_restored, 128);
    hearth_session_reset(s);
    (void)prompt(s, ids[2], 193);
    hearth_session_reset(s); /* 2, and two units of 1, which was used later than 0 */
    cr_expect_eq(prompt(s, ids[0], 193).n_restored, 0);
    hearth_session_close(s);
    hearth_model_close(t.model);
    hearth_engine_close(e);
    free_file(&t);
}

/* Two conversations where there is room for one: the one that is asked for is not given up for the one that goes. */
Test(prefix_cache, what_is_asked_for_stays)
{
    struct tiny t;
    int32_t ids[2][CONTEXT];
    hearth_engine *e;
    make(&t, "llama");
    open_engine_with(&e, budget_for(&t, 3));
    open_model(&t, e);
    hearth_session *s = open_session(&t);
    for (uint32_t i = 0; i < 2; i++)
        write_text(ids[i], CONTEXT, 1 + i);
    (void)prompt(s, ids[0], 193);
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(prompt(s, ids[1], 193).n_restored, 0);
        cr_expect_eq(prompt(s, ids[0], 193).n_restored, 192);
    }
    hearth_session_close(s);
    hearth_model_close(t.model);
    hearth_engine_close(e);
    free_file(&t);
}

/* A tree of texts in a cache with room for seven units: after every step the bits are those without a cache. */
static uint32_t random_conversations(uint64_t hash_mask)
{
    struct tiny t;
    struct tiny uncached;
    hearth_engine *e;
    struct rng rng = rng_from(7);
    int32_t ids[CONTEXT];
    uint32_t restored = 0;
    make(&t, "llama");
    make(&uncached, "llama");
    open_engine_with(&e, budget_for(&t, 7));
    open_model(&t, e);
    open_model(&uncached, plain);
    e->prefix_cache.hash_mask = hash_mask;
    hearth_session *s[3];
    for (size_t i = 0; i < COUNT(s); i++)
        s[i] = open_session(&t);
    hearth_session *reference = open_session(&uncached);
    for (int step = 0; step < 120; step++) {
        const uint32_t n = 1 + rng_below(&rng, CONTEXT);
        uint32_t branch = rng_below(&rng, 3);
        write_text(ids, CONTEXT, branch);
        for (uint32_t at = 64; at < CONTEXT; at += 64 + rng_below(&rng, 3)) /* branches of branches */
            if (rng_below(&rng, 2))
                for (uint32_t i = at; i < CONTEXT; i++)
                    ids[i] = (ids[i] + 1) % (int32_t)N_VOCAB;
        hearth_session **one = &s[rng_below(&rng, COUNT(s))];
        restored += prompt(*one, ids, n).n_restored;
        expect_bits(reference, *one, ids, n);
        if (rng_below(&rng, 8) == 0)
            hearth_session_reset(*one);
    }
    for (size_t i = 0; i < COUNT(s); i++)
        hearth_session_close(s[i]);
    hearth_session_close(reference);
    hearth_model_close(t.model);
    hearth_model_close(uncached.model);
    hearth_engine_close(e);
    free_file(&t);
    free_file(&uncached);
    return restored;
}

Test(prefix_cache, random_conversations_have_the_bits_of_none)
{
    const uint32_t restored = random_conversations(UINT64_MAX);
    cr_expect_gt(restored, 1000, "restored %" PRIu32, restored);
    /* All texts have one hash, or one of two: slower, and otherwise the same. */
    cr_expect_eq(random_conversations(0), restored);
    cr_expect_eq(random_conversations(1), restored);
}

Test(prefix_cache, the_plan_is_what_is_taken)
{
    struct tiny t;
    hearth_plan *plan;
    make(&t, "llama");
    open_model(&t, engine);
    hearth_session *s = open_session(&t);
    cr_assert_eq(hearth_plan_open_source(&plan, engine, &t.source.source, &limits, &err), HEARTH_OK);
    cr_expect_eq(hearth_plan_line_bytes(plan, HEARTH_PLAN_PREFIX_CACHE), 8 * MIB);
    cr_expect_eq(hearth_plan_private_bytes(plan) - hearth_plan_line_bytes(plan, HEARTH_PLAN_LOADING),
                 atomic_load(&engine->reserved));
    cr_expect_eq(engine->prefix_cache.arena.taken[HEARTH_PLAN_PREFIX_CACHE], 8 * MIB);
    const uint64_t with = hearth_plan_private_bytes(plan);
    hearth_plan_close(plan);
    cr_assert_eq(hearth_plan_open_source(&plan, plain, &t.source.source, &limits, &err), HEARTH_OK);
    cr_expect_eq(with - hearth_plan_private_bytes(plan), 8 * MIB);
    hearth_plan_close(plan);
    hearth_session_close(s);
    hearth_model_close(t.model);

    hearth_engine *small; /* one byte less than with the cache is refused, and says what would fit */
    const hearth_engine_options options = {
        .struct_size = sizeof options, .threads = 2, .cache_budget = 8 * MIB, .ram_cap = with - 1};
    cr_assert_eq(hearth_engine_open(&small, &options, &err), HEARTH_OK, "%s", err.message);
    cr_expect_eq(hearth_model_open_source(&t.model, small, &t.source.source, &limits, NULL, &err), HEARTH_E_MEMORY);
    cr_expect(err.needed == with && err.available == with - 1 && strstr(err.message, "no prefix cache needs"), "%s", err.message);
    hearth_engine_close(small);
    free_file(&t);
}

Test(prefix_cache, what_is_forgotten_goes_back_to_the_system)
{
    struct tiny t;
    int32_t ids[CONTEXT];
    make(&t, "llama");
    cr_expect_eq(hearth_prefix_cache_forget(&engine->prefix_cache), 0, "before the first model");
    cr_expect_eq(hearth_prefix_cache_forget(&plain->prefix_cache), 0);
    open_model(&t, engine);
    hearth_session *s = open_session(&t);
    write_text(ids, CONTEXT, 1);
    for (int i = 0; i < 3; i++) {
        (void)prompt(s, ids, 200);
        hearth_session_reset(s);
        cr_expect_eq(prompt(s, ids, 200).n_restored, 192);
        hearth_session_reset(s);
        const uint64_t before = hearth_machine_private_bytes();
        const uint64_t forgotten = hearth_prefix_cache_forget(&engine->prefix_cache);
        const uint64_t after = hearth_machine_private_bytes();
        cr_expect_geq(forgotten, 7 * MIB);
        cr_expect(before == 0 || (i > 0 ? before > after : before - after > 6 * MIB), "freed %" PRIu64, before - after);
        cr_expect_eq(prompt(s, ids, 200).n_restored, 0);
        hearth_session_reset(s);
        (void)hearth_prefix_cache_forget(&engine->prefix_cache);
    }
    hearth_session_close(s);
    hearth_model_close(t.model);
    free_file(&t);
}

/* ---- A careless host -------------------------------------------------------------------------------------------------- */

Test(prefix_cache, a_child_may_close_what_it_inherited)
{
    struct tiny t;
    int32_t ids[CONTEXT];
    make(&t, "llama");
    open_model(&t, engine);
    hearth_session *s = open_session(&t);
    write_text(ids, CONTEXT, 1);
    (void)prompt(s, ids, 150);
    (void)pthread_mutex_lock(&engine->prefix_cache.lock); /* held by a thread that the child does not have */
    const pid_t child = fork();
    cr_assert(child >= 0);
    if (child == 0) {
        (void)alarm(10);
        hearth_session_reset(s);
        hearth_session_close(s);
        _exit(42);
    }
    (void)pthread_mutex_unlock(&engine->prefix_cache.lock);
    int state;
    cr_assert_eq(waitpid(child, &state, 0), child);
    cr_expect(WIFEXITED(state) && WEXITSTATUS(state) == 42, "state %x", (unsigned)state);
    hearth_session_close(s);
    hearth_model_close(t.model);
    free_file(&t);
}
