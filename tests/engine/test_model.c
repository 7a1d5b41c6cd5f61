/* Opening models, from the description to the first logits, on tiny ones made in memory with one thing changed: what contradicts
 * itself is refused by name (rows P, T and N of the catalogue), what may be absent is optional, what is present is used, and the
 * engine outlives it all. */
#include "common/half.h"
#include "engine.h"
#include "gguf_builder.h"
#include "memory_source.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xmmintrin.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define CONTEXT 64u

static hearth_engine *engine;
static hearth_error err;
static struct gguf_builder builder;

static void open_engine_with(uint32_t threads, uint64_t cap)
{
    const hearth_engine_options options = {.struct_size = sizeof options, .threads = threads, .ram_cap = cap};
    cr_assert_eq(hearth_engine_open(&engine, &options, &err), HEARTH_OK, "%s", err.message);
}

static void open_engine(void)
{
    open_engine_with(2, 0);
}

static void open_engine_without_verification(void)
{
    const hearth_engine_options options = {.struct_size = sizeof options, .threads = 2, .verify = HEARTH_VERIFY_OFF};
    cr_assert_eq(hearth_engine_open(&engine, &options, &err), HEARTH_OK, "%s", err.message);
}

static void close_engine(void)
{
    gguf_builder_free(&builder);
    hearth_engine_close(engine);
}

/* The builder begins again with a whole model. */
static void start(const struct gguf_shape *shape)
{
    gguf_builder_free(&builder);
    gguf_builder_add_llama(&builder, shape);
}

static hearth_limits limits = {.struct_size = sizeof limits, .context = CONTEXT, .batch = 8, .kv_type = HEARTH_KV_F32};

/* A file in memory, a model and a session on it. */
struct tiny {
    uint8_t *file;
    size_t size;
    struct memory_source source;
    hearth_model *model;
    hearth_session *session;
};

static struct tiny *make(void)
{
    struct tiny *t = calloc(1, sizeof *t);
    cr_assert(t);
    t->file = gguf_builder_finish(&builder, &t->size);
    return t;
}

static hearth_status open_model(struct tiny *t)
{
    const hearth_status status = memory_source_open(&t->source, t->file, t->size, &err);
    return status != HEARTH_OK ? status : hearth_model_open_source(&t->model, engine, &t->source.source, &limits, NULL, &err);
}

static void open_session(struct tiny *t)
{
    cr_assert_eq(open_model(t), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_session_open(&t->session, t->model, &limits, &err), HEARTH_OK, "%s", err.message);
}

static struct tiny *make_session(void)
{
    struct tiny *t = make();
    open_session(t);
    return t;
}

static void drop(struct tiny *t)
{
    hearth_session_close(t->session);
    hearth_model_close(t->model);
    memory_source_close(&t->source);
    free(t->file);
    free(t);
}

static uint8_t *data_of(const struct tiny *t, const char *name, uint64_t *n_bytes)
{
    uint8_t *data = memory_source_tensor(t->file, t->size, name, n_bytes);
    cr_assert(data, "no tensor %s", name);
    return data;
}

/* The builder's model is refused with this status and detail, and with these words in the message. */
static void expect_refused(hearth_status status, const char *detail, const char *words)
{
    struct tiny *t = make();
    cr_expect_eq(open_model(t), status, "status %d, want %d: %s", err.code, status, err.message);
    cr_expect_str_eq(err.detail, detail, "%s", err.message);
    cr_expect(strstr(err.message, words), "no '%s' in '%s'", words, err.message);
    cr_expect(strncmp(err.message, "tiny.gguf: ", 11) == 0, "'%s'", err.message);
    cr_expect_null(t->model);
    cr_expect_eq(atomic_load(&t->source.n_reads), 0, "weights were read");
    drop(t);
}

/* ---- Tensors ---------------------------------------------------------------------------------------------------------- */

Test(model, every_required_tensor_is_missed_by_name, .init = open_engine, .fini = close_engine)
{
    static const char *const names[] = {"token_embd.weight",        "output_norm.weight",    "blk.0.attn_norm.weight",
                                        "blk.1.attn_q.weight",      "blk.0.attn_k.weight",   "blk.1.attn_v.weight",
                                        "blk.1.attn_output.weight", "blk.0.ffn_norm.weight", "blk.0.ffn_gate.weight",
                                        "blk.1.ffn_up.weight",      "blk.1.ffn_down.weight"};
    for (size_t i = 0; i < COUNT(names); i++) {
        start(NULL);
        gguf_builder_drop_tensor(&builder, names[i]);
        expect_refused(HEARTH_E_FORMAT, "E_MISSING", names[i]);
    }
    start(NULL);
    gguf_builder_set_u32(&builder, "llama.block_count", 3);
    expect_refused(HEARTH_E_FORMAT, "E_MISSING", "blk.2.");
    cr_expect_eq(hearth_status_exit_code(err.code), 3);
}

Test(model, wrong_shapes_are_refused, .init = open_engine, .fini = close_engine)
{
    static const struct {
        const char *name;
        uint32_t n_dims;
        uint64_t ne[3];
    } cases[] = {
        {"blk.0.attn_norm.weight", 1, {65}},        {"output_norm.weight", 2, {64, 2}},     {"blk.1.attn_k.weight", 2, {32, 64}},
        {"blk.0.ffn_gate.weight", 2, {96, 64}},     {"blk.0.ffn_down.weight", 2, {64, 96}}, {"blk.1.attn_v.weight", 2, {64, 33}},
        {"blk.0.attn_q.weight", 3, {64, 64, 2}},    {"output.weight", 2, {64, 299}},        {"blk.0.attn_q.bias", 1, {63}},
        {"blk.1.attn_output.weight", 1, {64 * 64}}, {"rope_freqs.weight", 1, {16}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        start(NULL);
        gguf_builder_set_tensor(&builder, cases[i].name, HEARTH_F32, cases[i].n_dims, cases[i].ne);
        expect_refused(HEARTH_E_FORMAT, "E_SHAPE", cases[i].name);
    }
}

Test(model, types_that_cannot_serve_are_refused, .init = open_engine, .fini = close_engine)
{
    const uint64_t norm[1] = {64};
    start(NULL);
    gguf_builder_set_tensor(&builder, "blk.0.attn_norm.weight", HEARTH_Q8_0, 1, norm);
    expect_refused(HEARTH_E_FORMAT, "E_TTYPE", "blk.0.attn_norm.weight");
    static const uint32_t floats[] = {HEARTH_F16, HEARTH_BF16};
    for (size_t i = 0; i < COUNT(floats); i++) {
        start(NULL);
        gguf_builder_set_tensor(&builder, "blk.0.attn_norm.weight", floats[i], 1, norm);
        drop(make_session());
    }
    start(&(struct gguf_shape){.n_embd = 256, .n_ff = 256});
    gguf_builder_set_tensor(&builder, "blk.0.ffn_up.weight", 16 /* IQ2_XXS */, 2, (const uint64_t[]){256, 256});
    expect_refused(HEARTH_E_UNSUPPORTED, "E_TTYPE", "IQ2_XXS");
    cr_expect_eq(hearth_status_exit_code(err.code), 4);
}

static char logged[256];

static void keep_line(int32_t level, const char *message, void *user)
{
    (void)user;
    if (level == 1)
        (void)snprintf(logged, sizeof logged, "%s", message);
}

Test(model, tensors_nobody_uses_are_told)
{
    const hearth_engine_options options = {.struct_size = sizeof options, .threads = 1, .log = keep_line};
    cr_assert_eq(hearth_engine_open(&engine, &options, &err), HEARTH_OK, "%s", err.message);
    start(NULL);
    gguf_builder_set_tensor(&builder, "stray.weight", HEARTH_F32, 1, (const uint64_t[]){7});
    drop(make_session());
    cr_expect_str_eq(logged, "1 tensors of the file are not used");
    close_engine();
}

/* ---- Numbers that are not finite -------------------------------------------------------------------------------------- */

/* Where the half floats of a block lie. */
static const struct scales {
    uint32_t format;
    uint8_t n, at[2];
} scales[] = {{HEARTH_Q4_0, 1, {0}},    {HEARTH_Q4_1, 2, {0, 2}}, {HEARTH_Q5_0, 1, {0}},      {HEARTH_Q5_1, 2, {0, 2}},
              {HEARTH_Q8_0, 1, {0}},    {HEARTH_IQ4_NL, 1, {0}},  {HEARTH_Q2_K, 2, {80, 82}}, {HEARTH_Q3_K, 1, {108}},
              {HEARTH_Q4_K, 2, {0, 2}}, {HEARTH_Q5_K, 2, {0, 2}}, {HEARTH_Q6_K, 1, {208}},    {HEARTH_IQ4_XS, 1, {0}},
              {HEARTH_F16, 1, {0}},     {HEARTH_BF16, 1, {0}}};

static void put_half(uint8_t *at, uint32_t bits)
{
    at[0] = (uint8_t)bits;
    at[1] = (uint8_t)(bits >> 8);
}

static const struct gguf_shape wide = {.n_layer = 1, .n_embd = 256, .n_ff = 256};

static void start_wide(uint32_t format)
{
    struct gguf_shape shape = wide;
    shape.format = (enum hearth_format)format;
    start(&shape);
}

static void expect_bad_block(struct tiny *t, const char *name, const char *block)
{
    cr_expect_eq(open_model(t), HEARTH_E_FORMAT, "%s", name);
    cr_expect_str_eq(err.detail, "E_NUM");
    cr_expect(strstr(err.message, name) && strstr(err.message, block), "%s", err.message);
    cr_expect_null(t->model);
}

Test(model, scales_that_are_not_finite_are_found_at_load, .init = open_engine, .fini = close_engine)
{
    static const uint32_t bad[] = {0x7e00, 0x7c00, 0xfc00};
    for (size_t i = 0; i < COUNT(scales); i++) {
        start_wide(scales[i].format);
        struct tiny *t = make();
        uint64_t n_bytes;
        uint8_t *data = data_of(t, "blk.0.ffn_up.weight", &n_bytes);
        uint8_t *block = data + 3 * hearth_format_info(scales[i].format)->block_bytes;
        for (size_t j = 0; j < COUNT(bad) * scales[i].n; j++) {
            uint8_t *half = block + scales[i].at[j / COUNT(bad)];
            const uint8_t before[2] = {half[0], half[1]};
            put_half(half, scales[i].format == HEARTH_BF16 ? 0x7fc0 : bad[j % COUNT(bad)]);
            expect_bad_block(t, "blk.0.ffn_up.weight", "block 3 ");
            memcpy(half, before, 2);
        }
        open_session(t); /* as good as new */
        drop(t);
    }
}

Test(model, floats_that_are_not_finite_are_found_at_load, .init = open_engine, .fini = close_engine)
{
    static const char *const names[] = {"token_embd.weight", "output_norm.weight", "blk.0.attn_k.weight", "output.weight"};
    start(NULL);
    for (size_t i = 0; i < COUNT(names); i++) {
        struct tiny *t = make();
        uint64_t n_bytes;
        const uint32_t nan = 0x7fc00000;
        memcpy(data_of(t, names[i], &n_bytes) + 4 * 17, &nan, sizeof nan);
        expect_bad_block(t, names[i], "block 17 is not finite or absurdly large (row 0)");
        drop(t);
    }
}

/* What no weight is, though it is a number (N05), and the largest that one may be: divisors of angles are such. */
Test(model, absurd_numbers_are_found_at_load, .init = open_engine, .fini = close_engine)
{
    static const struct {
        float value;
        bool absurd;
    } floats[] = {{0x1p100f, true}, {-0x1p100f, true}, {-3e38f, true}, {0x1.fffffep99f, false}, {1e30f, false}};
    for (size_t i = 0; i < COUNT(scales); i++) {
        start_wide(scales[i].format);
        struct tiny *t = make();
        uint64_t n_bytes;
        uint8_t *data = data_of(t, "blk.0.ffn_up.weight", &n_bytes);
        for (size_t j = 0; j < scales[i].n && scales[i].format != HEARTH_F16; j++) {
            uint8_t *half = data + 3 * hearth_format_info(scales[i].format)->block_bytes + scales[i].at[j];
            const uint8_t before[2] = {half[0], half[1]};
            const uint32_t limit = scales[i].format == HEARTH_BF16 ? 0x7180 : 0x7800;
            put_half(half, 0x8000 | limit);
            expect_bad_block(t, "blk.0.ffn_up.weight", "block 3 is not finite or absurdly large");
            put_half(half, limit - 1);
            cr_expect_eq(open_model(t), HEARTH_OK, "%s", err.message);
            hearth_model_close(t->model);
            t->model = NULL;
            memcpy(half, before, 2);
        }
        drop(t);
    }
    start(NULL);
    for (size_t i = 0; i < COUNT(floats); i++) {
        struct tiny *t = make();
        uint64_t n_bytes;
        memcpy(data_of(t, "blk.0.ffn_up.weight", &n_bytes) + 4 * 17, &floats[i].value, sizeof floats[i].value);
        if (floats[i].absurd)
            expect_bad_block(t, "blk.0.ffn_up.weight", "block 17 ");
        else
            cr_expect_eq(open_model(t), HEARTH_OK, "%s", err.message);
        drop(t);
    }
}

/* Bad numbers in the embedding of token 6 alone (N07): found by who looks at weights, and otherwise when that token comes. */
Test(model, unverified_weights_fail_where_they_are_used, .init = open_engine_without_verification, .fini = close_engine)
{
    static const int32_t good[2] = {5, 7}, bad[1] = {6};
    const uint32_t nan = 0x7fc00000;
    start(NULL);
    struct tiny *t = make();
    uint64_t n_bytes;
    memcpy(data_of(t, "token_embd.weight", &n_bytes) + 4 * (6 * 64 + 3), &nan, sizeof nan);
    open_session(t);
    for (int again = 0; again < 2; again++) {
        cr_expect_eq(hearth_session_feed(t->session, good, 2, &err), HEARTH_OK, "%s", err.message);
        cr_expect_eq(hearth_session_feed(t->session, bad, 1, &err), HEARTH_E_INFERENCE);
        cr_expect_str_eq(err.detail, "E_NUM");
        cr_expect_null(hearth_session_logits(t->session, 0));
    }
    cr_expect_eq(hearth_session_position(t->session), 4);
    hearth_session_close(t->session);
    hearth_model_close(t->model);
    t->session = NULL;
    t->model = NULL;
    hearth_engine_close(engine);
    open_engine();
    expect_bad_block(t, "token_embd.weight", "block 387 is not finite or absurdly large (row 6)");
    drop(t);
}

/* Two bad blocks: the first is told, however many workers read. */
Test(model, the_first_bad_block_is_told_by_any_number_of_threads)
{
    for (uint32_t threads = 1; threads <= 4; threads++) {
        open_engine_with(threads, 0);
        start_wide(HEARTH_Q8_0);
        struct tiny *t = make();
        uint64_t n_bytes;
        uint8_t *data = data_of(t, "blk.0.ffn_up.weight", &n_bytes);
        put_half(data + 34 * 900, 0x7e00);
        put_half(data + n_bytes - 34, 0x7e00);
        expect_bad_block(t, "blk.0.ffn_up.weight", "block 900 is not finite or absurdly large (row 112)");
        drop(t);
        close_engine();
    }
}

static const char *const wide_weights[] = {"token_embd.weight",   "blk.0.attn_q.weight",      "blk.0.attn_k.weight",
                                           "blk.0.attn_v.weight", "blk.0.attn_output.weight", "blk.0.ffn_gate.weight",
                                           "blk.0.ffn_up.weight", "blk.0.ffn_down.weight",    "output.weight",
                                           "output_norm.weight",  "blk.0.attn_norm.weight",   "blk.0.ffn_norm.weight"};

static const int32_t wide_ids[3] = {5, 6, 7};

/* All weights 0 (N06): all logits are, and the greedy choice is the first token. */
Test(model, weights_that_are_all_zero_make_equal_logits, .init = open_engine, .fini = close_engine)
{
    for (size_t i = 0; i < COUNT(scales); i++) {
        start_wide(scales[i].format);
        struct tiny *t = make();
        for (size_t j = 0; j < COUNT(wide_weights); j++) {
            uint64_t n_bytes;
            uint8_t *data = data_of(t, wide_weights[j], &n_bytes);
            memset(data, 0, n_bytes);
        }
        open_session(t);
        cr_assert_eq(hearth_session_feed(t->session, wide_ids, 3, &err), HEARTH_OK, "%s", err.message);
        const float *logits = hearth_session_logits(t->session, 0);
        for (uint32_t v = 0; v < hearth_model_vocabulary_size(t->model); v++)
            cr_expect(logits[v] == 0.0f, "format %zu: logit %u is %g", i, v, (double)logits[v]);
        drop(t);
    }
}

/* Scales below the least normal half (N08), and sums that are denormal floats: the same bits by any number of workers, also below
 * a host that flushes them. */
Test(model, denormal_scales_give_the_same_bits_everywhere)
{
    const unsigned before = _mm_getcsr();
    for (size_t i = 0; i < COUNT(scales); i++) {
        float *want = NULL;
        for (uint32_t threads = 1; threads <= 3; threads++) {
            open_engine_with(threads, 0);
            start_wide(scales[i].format);
            struct tiny *t = make();
            const size_t step = hearth_format_info(scales[i].format)->block_bytes;
            for (size_t j = 0; j < 9; j++) {
                uint64_t n_bytes;
                uint8_t *data = data_of(t, wide_weights[j], &n_bytes);
                for (uint64_t at = 0; at + step <= n_bytes; at += step)
                    for (size_t k = 0; k < scales[i].n; k++)
                        put_half(data + at + scales[i].at[k], 1 + (uint32_t)(at / step % 7));
            }
            _mm_setcsr(threads == 3 ? before | 0x8040u : before);
            open_session(t);
            const hearth_status status = hearth_session_feed(t->session, wide_ids, 3, &err);
            _mm_setcsr(before);
            cr_assert_eq(status, HEARTH_OK, "%s", err.message);
            const size_t bytes = hearth_model_vocabulary_size(t->model) * sizeof(float);
            if (!want) {
                want = malloc(bytes);
                cr_assert(want);
                memcpy(want, hearth_session_logits(t->session, 0), bytes);
                for (size_t v = 0; v < bytes / sizeof(float); v++)
                    cr_expect(want[v] - want[v] == 0.0f, "format %zu: logit %zu is not finite", i, v);
            }
            cr_expect_eq(memcmp(want, hearth_session_logits(t->session, 0), bytes), 0, "format %zu, %u threads", i, threads);
            drop(t);
            close_engine();
        }
        free(want);
    }
}

/* Largest finite scales everywhere (N05): the numbers overflow at run time, nothing is sampled. */
Test(model, overflow_at_run_time_names_layer_and_operation, .init = open_engine_without_verification, .fini = close_engine)
{
    static const int32_t ids[3] = {5, 6, 7};
    for (size_t i = 0; i < COUNT(scales); i++) {
        if (hearth_format_info(scales[i].format)->activation == HEARTH_ACTIVATION_F32)
            continue;
        start_wide(scales[i].format);
        struct tiny *t = make();
        const size_t step = hearth_format_info(scales[i].format)->block_bytes;
        static const char *const names[] = {"blk.0.attn_q.weight", "blk.0.attn_v.weight", "blk.0.ffn_up.weight",
                                            "blk.0.ffn_gate.weight", "blk.0.ffn_down.weight"};
        for (size_t j = 0; j < COUNT(names); j++) {
            uint64_t n_bytes;
            uint8_t *data = data_of(t, names[j], &n_bytes);
            for (uint64_t at = scales[i].at[0]; at < n_bytes; at += step)
                put_half(data + at, 0x7bff);
        }
        cr_assert_eq(open_model(t), HEARTH_OK, "%s", err.message);
        const hearth_limits small = {.struct_size = sizeof small, .context = 16, .kv_type = HEARTH_KV_F16};
        cr_assert_eq(hearth_session_open(&t->session, t->model, &small, &err), HEARTH_OK);
        for (int again = 0; again < 2; again++) {
            int32_t id = -7;
            cr_expect_eq(hearth_session_feed(t->session, ids, 3, &err), HEARTH_E_INFERENCE);
            cr_expect_str_eq(err.detail, "E_NUM");
            cr_expect(strstr(err.message, "layer 0: "), "%s", err.message);
            cr_expect_eq(hearth_status_exit_code(err.code), 8);
            cr_expect_eq(hearth_session_position(t->session), 0);
            cr_expect_null(hearth_session_logits(t->session, 0));
            cr_expect_eq(hearth_session_sample(t->session, &id, &err), HEARTH_E_CONFIG);
            cr_expect_eq(id, -7);
        }
        drop(t);
    }
}

/* A model in which token 5 is harmless and token 6 makes values that no F16 or Q8_0 cache can hold: embeddings are unit vectors,
 * and one column of V is huge. */
static struct tiny *make_dangerous(void)
{
    start(NULL);
    gguf_builder_set_u32(&builder, "llama.attention.sliding_window", 16); /* for who asks for it */
    gguf_builder_set_tensor(&builder, "blk.0.attn_output.weight", HEARTH_Q8_0, 2, (const uint64_t[]){64, 64});
    struct tiny *t = make();
    uint64_t n_bytes;
    float *embedding = (float *)(void *)data_of(t, "token_embd.weight", &n_bytes);
    memset(embedding + 5 * 64, 0, 2 * 64 * sizeof *embedding);
    embedding[5 * 64] = embedding[6 * 64 + 1] = 1.0f;
    float *v = (float *)(void *)data_of(t, "blk.0.attn_v.weight", &n_bytes);
    for (size_t r = 0; r < 32; r++)
        v[r * 64 + 1] = 1e7f;
    return t;
}

static void go_on_after_an_overflow(int32_t kv_type)
{
    static const int32_t fatal[] = {5, 6, 5};
    static const int32_t safe[] = {5, 5, 5};
    const hearth_limits half = {.struct_size = sizeof half, .context = 16, .batch = 2, .kv_type = kv_type};
    struct tiny *t = make_dangerous();
    cr_assert_eq(open_model(t), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_session_open(&t->session, t->model, &half, &err), HEARTH_OK);
    const size_t bytes = hearth_model_vocabulary_size(t->model) * sizeof(float);
    float *want = malloc(bytes);
    cr_assert(want);
    cr_assert_eq(hearth_session_feed(t->session, safe, 3, &err), HEARTH_OK, "%s", err.message);
    memcpy(want, hearth_session_logits(t->session, 0), bytes);
    hearth_session_reset(t->session);
    cr_assert_eq(hearth_session_feed(t->session, safe, 1, &err), HEARTH_OK);
    cr_expect_eq(hearth_session_feed(t->session, fatal, 3, &err), HEARTH_E_INFERENCE);
    cr_expect(strstr(err.message, "layer 0: ") && strstr(err.message, "attention"), "%s", err.message);
    cr_expect_eq(hearth_session_position(t->session), 1);
    cr_assert_eq(hearth_session_feed(t->session, safe, 2, &err), HEARTH_OK, "%s", err.message);
    cr_expect_eq(memcmp(want, hearth_session_logits(t->session, 0), bytes), 0, "the failure left something behind");
    free(want);
    drop(t);
}

Test(model, a_session_goes_on_after_an_overflow, .init = open_engine, .fini = close_engine)
{
    go_on_after_an_overflow(HEARTH_KV_F16);
    go_on_after_an_overflow(HEARTH_KV_Q8_0);
}

/* A failure in a later batch of a prompt, when the earlier ones have taken the slots of what came before. */
Test(model, a_session_whose_window_is_lost_begins_again, .init = open_engine, .fini = close_engine)
{
    enum { SOME = 300 };
    int32_t ids[SOME + 1];
    const hearth_limits window = {.struct_size = sizeof window, .context = 1024, .batch = 8, .sliding_window = 1};
    struct tiny *t = make_dangerous();
    cr_assert_eq(open_model(t), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_session_open(&t->session, t->model, &window, &err), HEARTH_OK, "%s", err.message);
    cr_expect_eq(t->session->cache.layers[0].slots, HEARTH_SEGMENT);
    for (int i = 0; i < SOME; i++)
        ids[i] = 5;
    ids[SOME] = 6;
    cr_assert_eq(hearth_session_feed(t->session, ids, SOME, &err), HEARTH_OK, "%s", err.message);
    cr_expect_eq(hearth_session_feed(t->session, ids + SOME, 1, &err), HEARTH_E_INFERENCE);
    cr_expect_eq(hearth_session_position(t->session), SOME, "its slots are still there");
    cr_expect_eq(hearth_session_feed(t->session, ids, SOME + 1, &err), HEARTH_E_INFERENCE);
    cr_expect_eq(hearth_session_position(t->session), 0);
    cr_expect_eq(hearth_session_feed(t->session, ids, SOME, &err), HEARTH_OK, "%s", err.message);
    drop(t);
}

/* The window that is asked for makes the plan smaller, and an older host's limits do not ask. */
Test(model, windows_make_the_plan_smaller, .init = open_engine, .fini = close_engine)
{
    uint64_t bytes[3];
    start(NULL);
    gguf_builder_set_u32(&builder, "llama.attention.sliding_window", 100);
    for (int i = 0; i < 3; i++) {
        const uint32_t old_size = offsetof(hearth_limits, sliding_window);
        const hearth_limits asked = {
            .struct_size = i == 2 ? old_size : sizeof asked, .context = 8192, .batch = 64, .sliding_window = i > 0};
        struct tiny *t = make();
        hearth_plan *plan;
        cr_assert_eq(memory_source_open(&t->source, t->file, t->size, &err), HEARTH_OK);
        cr_assert_eq(hearth_plan_open_source(&plan, engine, &t->source.source, &asked, &err), HEARTH_OK, "%s", err.message);
        cr_expect_str_eq(hearth_plan_line_name(plan, HEARTH_PLAN_KV), "KV cache");
        bytes[i] = hearth_plan_line_bytes(plan, HEARTH_PLAN_KV);
        hearth_plan_close(plan);
        drop(t);
    }
    cr_expect_eq(bytes[0], UINT64_C(2) * 2 * 2 * 8192 * 16 * 2);
    cr_expect_eq(bytes[1], UINT64_C(2) * 2 * 2 * 256 * 16 * 2); /* 100 + 63 positions, in whole segments */
    cr_expect_eq(bytes[2], bytes[0]);
}

Test(model, zero_weights_give_equal_logits_and_one_answer, .init = open_engine, .fini = close_engine)
{
    static const uint32_t formats[] = {HEARTH_F32, HEARTH_F16, HEARTH_Q4_0, HEARTH_Q4_K, HEARTH_Q6_K};
    for (size_t i = 0; i < COUNT(formats); i++) {
        start_wide(formats[i]);
        struct tiny *t = make();
        uint64_t n_bytes;
        const uint8_t *first = data_of(t, "token_embd.weight", &n_bytes); /* the first tensor of the file */
        memset(t->file + (first - t->file), 0, t->size - (size_t)(first - t->file));
        open_session(t);
        int32_t id[2] = {-1, -2};
        for (int again = 0; again < 2; again++) {
            hearth_session_reset(t->session);
            cr_assert_eq(hearth_session_feed(t->session, (const int32_t[]){1, 9, 8}, 3, &err), HEARTH_OK, "%s", err.message);
            const float *logits = hearth_session_logits(t->session, 0);
            for (uint32_t j = 0; j < hearth_model_vocabulary_size(t->model); j++)
                cr_assert(logits[j] == 0.0f);
            cr_assert_eq(hearth_session_sample(t->session, &id[again], &err), HEARTH_OK);
        }
        cr_expect_eq(id[0], id[1]);
        drop(t);
    }
}

Test(model, divisors_of_angles_are_checked, .init = open_engine, .fini = close_engine)
{
    static const float bad[] = {0.0f, -1.0f, 1e-30f, 1e-3f};
    start(&(struct gguf_shape){.rope_freqs = true});
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct tiny *t = make();
        uint64_t n_bytes;
        memcpy(data_of(t, "rope_freqs.weight", &n_bytes), &bad[i], sizeof bad[i]);
        cr_expect_eq(open_model(t), HEARTH_E_FORMAT, "%g was taken", (double)bad[i]);
        cr_expect(strstr(err.message, "rope_freqs.weight: element 0 "), "%s", err.message);
        drop(t);
    }
}

/* ---- What is present is used: against double precision ---------------------------------------------------------------- */

enum { N_EMBD = 64, N_HEAD = 4, N_KV = 2, DIM = 16, N_FF = 96, N_LAYER = 2, N_VOCAB = 300, N_IDS = 11 };

static const int32_t some_ids[N_IDS] = {1, 260, 17, 299, 3, 3, 280, 44, 261, 99, 5};

/* The tensors of an F32 file. */
struct twin {
    struct hearth_gguf gguf;
    const uint8_t *file;
    bool plain; /* without biases and rope_freqs, and with the output tied, whatever the file says */
    char arch[16];
    int n_rot;
};

static double key_of(const struct twin *m, const char *suffix, double missing)
{
    char key[80];
    double value = missing;
    bool found;
    (void)snprintf(key, sizeof key, "%s.%s", m->arch, suffix);
    const struct hearth_gguf_pair *pair = hearth_gguf_find(&m->gguf, key);
    uint64_t count = 0;
    if (pair && pair->type == HEARTH_GGUF_U32 && hearth_gguf_get_u64(&m->gguf, key, &count, &found, NULL) == HEARTH_OK)
        return (double)count;
    (void)hearth_gguf_get_f64(&m->gguf, key, &value, &found, NULL);
    return value;
}

static bool is(const struct twin *m, const char *arch)
{
    return strcmp(m->arch, arch) == 0;
}

static void twin_init(struct twin *m, const struct tiny *t, bool plain)
{
    struct hearth_view arch;
    uint64_t n_rot;
    bool found;
    char key[80];
    *m = (struct twin){.file = t->file, .plain = plain};
    cr_assert_eq(hearth_gguf_parse(&m->gguf, t->file, t->size, t->size, "tiny.gguf", &err), HEARTH_OK);
    cr_assert_eq(hearth_gguf_get_string(&m->gguf, "general.architecture", &arch, &found, &err), HEARTH_OK);
    (void)snprintf(m->arch, sizeof m->arch, "%.*s", (int)arch.size, (const char *)arch.bytes);
    (void)snprintf(key, sizeof key, "%s.rope.dimension_count", m->arch);
    cr_assert_eq(hearth_gguf_get_u64(&m->gguf, key, &n_rot, &found, &err), HEARTH_OK);
    m->n_rot = (int)n_rot;
}

/* All of this family scale embeddings and have GELU in the gate. */
static bool is_gemma(const struct twin *m)
{
    return strncmp(m->arch, "gemma", 5) == 0;
}

static bool has_post_norms(const struct twin *m)
{
    return is(m, "gemma2") || is(m, "gemma3");
}

/* Whether the layer sees only a window of that many positions; the tests set both keys. */
static int window_of(const struct twin *m, int layer)
{
    const int period = (int)key_of(m, "attention.sliding_window_pattern", is(m, "llama") ? 0 : 2);
    const int window = (int)key_of(m, "attention.sliding_window", 1 << 20);
    return !m->plain && (period == 0 || layer % period < period - 1) ? window : 1 << 20;
}

static const float *weights(const struct twin *m, int layer, const char *name)
{
    char full[80];
    (void)snprintf(full, sizeof full, layer < 0 ? "%.0s%s" : "blk.%s.%s", layer == 0 ? "0" : "1", name);
    if ((is(m, "gemma") || is(m, "gemma2")) && strcmp(name, "output.weight") == 0)
        return NULL;
    const bool optional = strstr(name, ".bias") || strstr(name, "rope_f") || strcmp(name, "output.weight") == 0;
    const struct hearth_gguf_tensor *t = hearth_gguf_find_tensor(&m->gguf, full);
    return t && !(m->plain && optional) ? (const float *)(const void *)(m->file + t->file_offset) : NULL;
}

static void product_of(double *y, const float *w, const float *bias, const double *x, int k, int rows)
{
    for (int r = 0; r < rows; r++) {
        y[r] = bias ? (double)bias[r] : 0;
        for (int i = 0; i < k; i++)
            y[r] += (double)w[r * k + i] * x[i];
    }
}

static void product(const struct twin *m, double *y, int layer, const char *name, const double *x, int k, int rows)
{
    char full[64];
    (void)snprintf(full, sizeof full, "%s.weight", name);
    const float *w = weights(m, layer, full);
    (void)snprintf(full, sizeof full, "%s.bias", name);
    product_of(y, w, weights(m, layer, full), x, k, rows);
}

static void project(const struct twin *m, double *q, double *k, double *v, int layer, const double *h)
{
    const float *fused = weights(m, layer, "attn_qkv.weight");
    if (fused) {
        product_of(q, fused, NULL, h, N_EMBD, N_EMBD);
        product_of(k, fused + N_EMBD * N_EMBD, NULL, h, N_EMBD, N_KV * DIM);
        product_of(v, fused + (N_EMBD + N_KV * DIM) * N_EMBD, NULL, h, N_EMBD, N_KV * DIM);
        return;
    }
    product(m, q, layer, "attn_q", h, N_EMBD, N_EMBD);
    product(m, k, layer, "attn_k", h, N_EMBD, N_KV * DIM);
    product(m, v, layer, "attn_v", h, N_EMBD, N_KV * DIM);
}

/* RMSNorm, or LayerNorm where the architecture has that, of n elements. */
static void norm(const struct twin *m, double *y, int layer, const char *name, const double *x, int n)
{
    const bool centred = is(m, "phi2");
    const double eps = key_of(m, centred ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon", 0);
    char full[64];
    (void)snprintf(full, sizeof full, "%s.weight", name);
    const float *w = weights(m, layer, full);
    (void)snprintf(full, sizeof full, "%s.bias", name);
    const float *bias = weights(m, layer, full);
    double mean = 0;
    double sum = 0;
    for (int i = 0; centred && i < n; i++)
        mean += x[i] / n;
    for (int i = 0; i < n; i++)
        sum += (x[i] - mean) * (x[i] - mean);
    for (int i = 0; i < n; i++)
        y[i] = (x[i] - mean) / sqrt(sum / n + eps) * (double)w[i] + (bias ? (double)bias[i] : 0);
}

static void norm_heads(const struct twin *m, double *x, int layer, const char *name, int heads)
{
    const bool normed = is(m, "qwen3") || is(m, "qwen3moe") || is(m, "gemma3");
    for (int i = 0; normed && i < heads; i++)
        norm(m, x + i * DIM, layer, name, x + i * DIM, DIM);
}

/* Straight from the formulas of yarn; factor 1 gives what is not scaled. */
static double yarn_frequency(const struct twin *m, double inverse, double base, int pair, double *magnitude)
{
    const double pi = acos(-1.0);
    const double factor = key_of(m, "rope.scaling.factor", 1);
    const double trained = key_of(m, "rope.scaling.original_context_length", 128);
    const double low = floor(m->n_rot * log(trained / (2 * pi * key_of(m, "rope.scaling.yarn_beta_fast", 32))) / (2 * log(base)));
    const double high = ceil(m->n_rot * log(trained / (2 * pi * key_of(m, "rope.scaling.yarn_beta_slow", 1))) / (2 * log(base)));
    const double begin = fmax(0, low);
    const double end = fmin(m->n_rot - 1, high);
    const double ramp = fmin(1, fmax(0, (pair - begin) / fmax(0.001, end - begin)));
    const double mix = (1 - ramp) * key_of(m, "rope.scaling.yarn_ext_factor", 1);
    const double multiplier = key_of(m, "rope.scaling.yarn_log_multiplier", 0);
    *magnitude *= (1 + 0.1 * log(factor)) / (1 + 0.1 * multiplier * log(factor));
    return inverse * ((1 - mix) / factor + mix);
}

static double frequency(const struct twin *m, int layer, int pair, double *magnitude)
{
    const bool local = is(m, "gemma3") && window_of(m, layer) < 1 << 20;
    const double base = local ? key_of(m, "rope.freq_base_swa", 10000) : key_of(m, "rope.freq_base", 10000);
    const double inverse = pow(base, -2.0 * pair / m->n_rot);
    const bool long_context = CONTEXT > key_of(m, "rope.scaling.original_context_length", 128);
    const float *factors = weights(m, -1, long_context ? "rope_factors_long.weight" : "rope_factors_short.weight");
    struct hearth_view type = {NULL, 0};
    char key[80];
    bool found;
    factors = factors ? factors : weights(m, -1, "rope_freqs.weight");
    *magnitude = 1;
    if (local || m->plain)
        return inverse;
    (void)snprintf(key, sizeof key, "%s.rope.scaling.type", m->arch);
    (void)hearth_gguf_get_string(&m->gguf, key, &type, &found, NULL);
    *magnitude = key_of(m, "rope.scaling.attn_factor", 1);
    if (found && type.size == 4 && memcmp(type.bytes, "yarn", 4) == 0)
        return yarn_frequency(m, inverse, base, pair, magnitude);
    const bool scaled = !(found && type.size == 8); /* not by longrope */
    return inverse / (factors ? (double)factors[pair] : 1.0) / (scaled ? key_of(m, "rope.scaling.factor", 1) : 1.0);
}

static void rotate(const struct twin *m, double *x, int heads, int layer, int position)
{
    const bool adjacent = is(m, "llama");
    for (int head = 0; head < heads; head++)
        for (int pair = 0; pair < m->n_rot / 2; pair++) {
            double *a = x + head * DIM + (adjacent ? 2 * pair : pair);
            double *b = adjacent ? a + 1 : a + m->n_rot / 2;
            double magnitude;
            const double angle = position * frequency(m, layer, pair, &magnitude);
            const double old = *a;
            *a = magnitude * (old * cos(angle) - *b * sin(angle));
            *b = magnitude * (old * sin(angle) + *b * cos(angle));
        }
}

static double keys[N_LAYER][N_IDS][N_KV * DIM];
static double values[N_LAYER][N_IDS][N_KV * DIM];

static double capped(double x, double cap)
{
    return cap > 0 ? cap * tanh(x / cap) : x;
}

static void attend(const struct twin *m, double *out, const double *q, int layer, int position)
{
    const int window = window_of(m, layer);
    const double cap = m->plain || !is(m, "gemma2") ? 0 : key_of(m, "attn_logit_softcapping", 50);
    for (int head = 0; head < N_HEAD; head++) {
        const int kv = head / (N_HEAD / N_KV) * DIM;
        double sum = 0;
        double *o = out + head * DIM;
        memset(o, 0, DIM * sizeof *o);
        for (int p = position < window ? 0 : position - window + 1; p <= position; p++) {
            double score = 0;
            for (int i = 0; i < DIM; i++)
                score += q[head * DIM + i] * keys[layer][p][kv + i];
            const double weight = exp(capped(score / sqrt(DIM), cap));
            sum += weight;
            for (int i = 0; i < DIM; i++)
                o[i] += weight * values[layer][p][kv + i];
        }
        for (int i = 0; i < DIM; i++)
            o[i] /= sum;
    }
}

static double gelu(double z)
{
    return z / 2 * (1 + tanh(sqrt(2 / acos(-1.0)) * (z + 0.044715 * z * z * z)));
}

/* The gated network of the whole layer, or of an expert, whose matrices begin here. */
static void gated(const struct twin *m, double *out, const float *gate, const float *up, const float *down, const double *h)
{
    double g[N_FF];
    double u[N_FF];
    product_of(g, gate, NULL, h, N_EMBD, N_FF);
    product_of(u, up, NULL, h, N_EMBD, N_FF);
    for (int i = 0; i < N_FF; i++)
        u[i] *= is_gemma(m) ? gelu(g[i]) : g[i] / (1 + exp(-g[i]));
    product_of(out, down, NULL, u, N_FF, N_EMBD);
}

/* The sum over the most probable experts, weighed by their probabilities among each other. */
static void experts(const struct twin *m, double *out, int layer, const double *h)
{
    enum { MOST = 16 };
    const int n = (int)key_of(m, "expert_count", 0);
    const int used = (int)key_of(m, "expert_used_count", 0);
    double z[MOST];
    double sum = 0;
    bool taken[MOST] = {false};
    product_of(z, weights(m, layer, "ffn_gate_inp.weight"), NULL, h, N_EMBD, n);
    memset(out, 0, N_EMBD * sizeof *out);
    for (int i = 0; i < used; i++) {
        int best = -1;
        double y[N_EMBD];
        for (int e = 0; e < n; e++)
            if (!taken[e] && (best < 0 || z[e] > z[best]))
                best = e;
        taken[best] = true;
        sum += exp(z[best]);
        gated(m, y, weights(m, layer, "ffn_gate_exps.weight") + best * N_FF * N_EMBD,
              weights(m, layer, "ffn_up_exps.weight") + best * N_FF * N_EMBD,
              weights(m, layer, "ffn_down_exps.weight") + best * N_FF * N_EMBD, h);
        for (int j = 0; j < N_EMBD; j++)
            out[j] += exp(z[best]) * y[j];
    }
    for (int j = 0; j < N_EMBD; j++)
        out[j] /= sum;
}

/* out = Down * (silu(Gate h) . Up h), or Down * gelu(Up h) where there is no gate. */
static void feed_forward(const struct twin *m, double *out, int layer, const double *h)
{
    double gate[N_FF];
    double up[N_FF];
    if (is(m, "phi3")) { /* the gate's rows, then those of up */
        const float *both = weights(m, layer, "ffn_up.weight");
        product_of(gate, both, NULL, h, N_EMBD, N_FF);
        product_of(up, both + N_FF * N_EMBD, NULL, h, N_EMBD, N_FF);
    } else {
        product(m, up, layer, "ffn_up", h, N_EMBD, N_FF);
        if (!is(m, "phi2"))
            product(m, gate, layer, "ffn_gate", h, N_EMBD, N_FF);
    }
    for (int i = 0; i < N_FF; i++)
        up[i] = is(m, "phi2") ? gelu(up[i]) : (is_gemma(m) ? gelu(gate[i]) : gate[i] / (1 + exp(-gate[i]))) * up[i];
    product(m, out, layer, "ffn_down", up, N_FF, N_EMBD);
}

static void layer_of_twin(const struct twin *m, double *x, int layer, int position)
{
    double h[N_EMBD];
    double q[N_EMBD];
    double attended[N_EMBD];
    double added[N_EMBD];
    norm(m, h, layer, "attn_norm", x, N_EMBD);
    project(m, q, keys[layer][position], values[layer][position], layer, h);
    norm_heads(m, q, layer, "attn_q_norm", N_HEAD);
    norm_heads(m, keys[layer][position], layer, "attn_k_norm", N_KV);
    rotate(m, q, N_HEAD, layer, position);
    rotate(m, keys[layer][position], N_KV, layer, position);
    attend(m, attended, q, layer, position);
    product(m, added, layer, "attn_output", attended, N_EMBD, N_EMBD);
    if (has_post_norms(m))
        norm(m, added, layer, "post_attention_norm", added, N_EMBD);
    for (int i = 0; i < N_EMBD; i++)
        x[i] += added[i];
    if (!is(m, "phi2"))
        norm(m, h, layer, "ffn_norm", x, N_EMBD); /* else both read the same */
    if (weights(m, layer, "ffn_gate_inp.weight"))
        experts(m, added, layer, h);
    else
        feed_forward(m, added, layer, h);
    if (has_post_norms(m))
        norm(m, added, layer, "post_ffw_norm", added, N_EMBD);
    for (int i = 0; i < N_EMBD; i++)
        x[i] += added[i];
}

/* Logits of the last token of some_ids. */
static void evaluate(const struct tiny *t, bool plain, double logits[N_VOCAB])
{
    struct twin m;
    double x[N_EMBD];
    twin_init(&m, t, plain);
    for (int position = 0; position < N_IDS; position++) {
        const float *row = weights(&m, -1, "token_embd.weight") + some_ids[position] * N_EMBD;
        for (int i = 0; i < N_EMBD; i++)
            x[i] = (double)row[i] * (is_gemma(&m) ? sqrt(N_EMBD) : 1);
        for (int layer = 0; layer < N_LAYER; layer++)
            layer_of_twin(&m, x, layer, position);
    }
    norm(&m, x, -1, "output_norm", x, N_EMBD);
    product(&m, logits, -1, weights(&m, -1, "output.weight") ? "output" : "token_embd", x, N_EMBD, N_VOCAB);
    const float *bias = weights(&m, -1, "output.bias");
    for (int i = 0; bias && !weights(&m, -1, "output.weight") && i < N_VOCAB; i++)
        logits[i] += (double)bias[i];
    const double cap = !plain && has_post_norms(&m) ? key_of(&m, "final_logit_softcapping", is(&m, "gemma2") ? 30 : 0) : 0;
    for (int i = 0; i < N_VOCAB; i++)
        logits[i] = capped(logits[i], cap);
    hearth_gguf_free(&m.gguf);
}

static double difference(const double *want, const float *got)
{
    double most = 0;
    for (int i = 0; i < N_VOCAB; i++)
        most = fmax(most, fabs(want[i] - (double)got[i]));
    return most;
}

/* The engine's logits are those of double precision; with `special`, they are not those of the plain model. */
static void expect_twin(const char *what, bool special)
{
    static double want[N_VOCAB];
    struct tiny *t = make_session();
    cr_assert_eq(hearth_session_feed(t->session, some_ids, N_IDS, &err), HEARTH_OK, "%s", err.message);
    const float *got = hearth_session_logits(t->session, 0);
    evaluate(t, false, want);
    cr_expect(difference(want, got) < 1e-4, "%s: off by %g", what, difference(want, got));
    evaluate(t, true, want);
    cr_expect(!special || difference(want, got) > 1e-2, "%s: makes no difference", what);
    drop(t);
}

Test(model, tied_and_untied_output, .init = open_engine, .fini = close_engine)
{
    start(NULL);
    expect_twin("output.weight", true);
    start(&(struct gguf_shape){.tied = true});
    expect_twin("tied", false);
    gguf_builder_set_tensor(&builder, "output.bias", HEARTH_F32, 1, (const uint64_t[]){N_VOCAB});
    expect_twin("output.bias", true);
}

Test(model, rope_freqs_are_used, .init = open_engine, .fini = close_engine)
{
    static const float factors[DIM / 2] = {1, 1, 2, 4, 8, 8, 8, 8};
    static double want[N_VOCAB];
    start(&(struct gguf_shape){.tied = true, .rope_freqs = true});
    expect_twin("rope_freqs", false);
    struct tiny *t = make();
    uint64_t n_bytes;
    memcpy(data_of(t, "rope_freqs.weight", &n_bytes), factors, sizeof factors);
    open_session(t);
    cr_assert_eq(hearth_session_feed(t->session, some_ids, N_IDS, &err), HEARTH_OK, "%s", err.message);
    evaluate(t, false, want);
    cr_expect(difference(want, hearth_session_logits(t->session, 0)) < 1e-4);
    evaluate(t, true, want);
    cr_expect(difference(want, hearth_session_logits(t->session, 0)) > 1e-3);
    drop(t);
}

Test(model, every_bias_is_used, .init = open_engine, .fini = close_engine)
{
    static const struct {
        const char *name;
        uint64_t n;
    } biases[] = {{"blk.0.attn_q.bias", 64},      {"blk.1.attn_k.bias", 32},   {"blk.1.attn_v.bias", 32},
                  {"blk.0.attn_output.bias", 64}, {"blk.0.ffn_gate.bias", 96}, {"blk.1.ffn_up.bias", 96},
                  {"blk.1.ffn_down.bias", 64}};
    for (size_t i = 0; i <= COUNT(biases); i++) { /* one by one, then all */
        start(&(struct gguf_shape){.tied = true});
        for (size_t j = 0; j < COUNT(biases); j++)
            if (i == j || i == COUNT(biases))
                gguf_builder_set_tensor(&builder, biases[j].name, HEARTH_F32, 1, &biases[j].n);
        expect_twin(i < COUNT(biases) ? biases[i].name : "all", true);
    }
}

Test(model, every_architecture_equals_its_formulas, .init = open_engine, .fini = close_engine)
{
    static const struct {
        const char *arch;
        uint32_t n_rot;
    } cases[] = {{"llama", 10}, {"gemma", 16}, {"phi2", 16},  {"phi2", 6},  {"phi3", 16},
                 {"phi3", 12},  {"qwen2", 16}, {"qwen3", 16}, {"qwen3", 10}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        start(&(struct gguf_shape){.arch = cases[i].arch, .n_rot = cases[i].n_rot});
        expect_twin(cases[i].arch, strcmp(cases[i].arch, "gemma") != 0); /* which is plain */
    }
}

/* Windows that leave something out, caps that bend, and a second base, as in the gemmas. */
Test(model, windows_and_soft_caps_equal_their_formulas, .init = open_engine, .fini = close_engine)
{
    start(&(struct gguf_shape){.arch = "gemma2"});
    gguf_builder_set_u32(&builder, "gemma2.attention.sliding_window", 4);
    gguf_builder_set_f32(&builder, "gemma2.attn_logit_softcapping", 0.5f);
    gguf_builder_set_f32(&builder, "gemma2.final_logit_softcapping", 0.75f);
    expect_twin("gemma2", true);
    start(&(struct gguf_shape){.arch = "gemma3", .tied = true});
    gguf_builder_set_u32(&builder, "gemma3.attention.sliding_window", 3);
    gguf_builder_set_u32(&builder, "gemma3.attention.sliding_window_pattern", 2);
    gguf_builder_set_f32(&builder, "gemma3.rope.freq_base", 1e6f);
    gguf_builder_set_f32(&builder, "gemma3.rope.freq_base_swa", 100.0f);
    gguf_builder_set_string(&builder, "gemma3.rope.scaling.type", "linear");
    gguf_builder_set_f32(&builder, "gemma3.rope.scaling.factor", 8.0f);
    expect_twin("gemma3", true);
    start(&(struct gguf_shape){.tied = true});
    gguf_builder_set_u32(&builder, "llama.attention.sliding_window", 3);
    limits.sliding_window = 1;
    expect_twin("llama that is asked for its window", true);
}

Test(model, experts_equal_their_formulas, .init = open_engine, .fini = close_engine)
{
    static const uint32_t used[] = {1, 2, 5};
    for (size_t i = 0; i < COUNT(used); i++) {
        start(&(struct gguf_shape){.n_expert = 5, .n_expert_used = used[i], .tied = true});
        expect_twin("llama with experts", false);
        start(&(struct gguf_shape){.arch = "qwen3moe", .n_expert = 16, .n_expert_used = used[i], .tied = true});
        gguf_builder_set_u32(&builder, "qwen3moe.expert_feed_forward_length", N_FF);
        expect_twin("qwen3moe", false);
    }
}

/* A batch of many tokens, and single ones; formats whose activations are kept in groups of 32 and of 256, and floats. */
Test(model, experts_give_the_same_bits_in_any_batch, .init = open_engine, .fini = close_engine)
{
    static const struct {
        enum hearth_format format;
        uint32_t n_embd, n_ff;
    } cases[] = {{HEARTH_F32, 64, 50}, {HEARTH_Q8_0, 64, 96}, {HEARTH_Q4_K, 256, 768}};
    float want[N_VOCAB];
    for (size_t i = 0; i < COUNT(cases); i++) {
        start(&(struct gguf_shape){.n_embd = cases[i].n_embd,
                                   .n_ff = cases[i].n_ff,
                                   .n_head = 4,
                                   .n_head_kv = 2,
                                   .format = cases[i].format,
                                   .n_expert = 9,
                                   .n_expert_used = 3});
        for (uint32_t batch = 1; batch <= 8; batch++) { /* 5 and more are many */
            limits.batch = batch;
            struct tiny *t = make_session();
            cr_assert_eq(hearth_session_feed(t->session, some_ids, N_IDS, &err), HEARTH_OK, "%s", err.message);
            if (batch == 1)
                memcpy(want, hearth_session_logits(t->session, 0), sizeof want);
            cr_expect_eq(memcmp(want, hearth_session_logits(t->session, 0), sizeof want), 0, "case %zu, batches of %u", i, batch);
            drop(t);
        }
    }
}

Test(model, yarn_equals_its_formulas, .init = open_engine, .fini = close_engine)
{
    static const struct {
        float factor, attn_factor, multiplier, ext_factor;
        uint32_t trained;
    } cases[] = {{4, 1, 0, 1, 32}, {40, 1.25f, 1, 1, 4096}, {16, 1, 0.5f, 0.5f, 300}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        start(&(struct gguf_shape){.tied = true});
        gguf_builder_set_string(&builder, "llama.rope.scaling.type", "yarn");
        gguf_builder_set_f32(&builder, "llama.rope.freq_base", 100.0f);
        gguf_builder_set_f32(&builder, "llama.rope.scaling.factor", cases[i].factor);
        gguf_builder_set_f32(&builder, "llama.rope.scaling.attn_factor", cases[i].attn_factor);
        gguf_builder_set_f32(&builder, "llama.rope.scaling.yarn_log_multiplier", cases[i].multiplier);
        gguf_builder_set_f32(&builder, "llama.rope.scaling.yarn_ext_factor", cases[i].ext_factor);
        gguf_builder_set_u32(&builder, "llama.rope.scaling.original_context_length", cases[i].trained);
        expect_twin("yarn", false);
    }
}

/* Short factors up to the context that the model was first trained with, long ones beyond. */
Test(model, longrope_equals_its_formulas, .init = open_engine, .fini = close_engine)
{
    static const char *const names[] = {"rope_factors_short.weight", "rope_factors_long.weight"};
    static const char *const archs[] = {"llama", "phi3"};
    static double want[N_VOCAB];
    char key[80];
    for (size_t i = 0; i < 4; i++) {
        const char *arch = archs[i / 2];
        start(&(struct gguf_shape){.arch = arch, .tied = true});
        (void)snprintf(key, sizeof key, "%s.rope.scaling.type", arch);
        gguf_builder_set_string(&builder, key, "longrope");
        (void)snprintf(key, sizeof key, "%s.rope.scaling.attn_factor", arch);
        gguf_builder_set_f32(&builder, key, 1.19024f);
        (void)snprintf(key, sizeof key, "%s.rope.scaling.original_context_length", arch);
        gguf_builder_set_u32(&builder, key, i % 2 ? CONTEXT - 1 : CONTEXT);
        for (size_t j = 0; j < 2; j++)
            gguf_builder_set_tensor(&builder, names[j], HEARTH_F32, 1, (const uint64_t[]){DIM / 2});
        struct tiny *t = make();
        for (size_t j = 0; j < 2; j++) {
            uint64_t n_bytes;
            float factors[DIM / 2];
            for (int p = 0; p < DIM / 2; p++)
                factors[p] = 1.0f + (float)p * (j ? 3.0f : 0.25f);
            memcpy(data_of(t, names[j], &n_bytes), factors, sizeof factors);
        }
        open_session(t);
        cr_assert_eq(hearth_session_feed(t->session, some_ids, N_IDS, &err), HEARTH_OK, "%s", err.message);
        evaluate(t, false, want);
        cr_expect(difference(want, hearth_session_logits(t->session, 0)) < 1e-4, "case %zu", i);
        drop(t);
    }
}

/* Q, K and V as rows of one tensor, weights and biases alike, in the same order. */
static struct tiny *make_fused(const struct tiny *parts)
{
    static const char *const names[] = {"q", "k", "v"};
    static const char *const ends[] = {"weight", "bias"};
    char name[64];
    for (int layer = 0; layer < N_LAYER; layer++)
        for (size_t e = 0; e < 2; e++) {
            for (size_t i = 0; i < 3; i++) {
                (void)snprintf(name, sizeof name, "blk.%d.attn_%s.%s", layer, names[i], ends[e]);
                gguf_builder_drop_tensor(&builder, name);
            }
            const uint64_t rows = N_EMBD + 2 * N_KV * DIM;
            (void)snprintf(name, sizeof name, "blk.%d.attn_qkv.%s", layer, ends[e]);
            gguf_builder_set_tensor(&builder, name, e ? HEARTH_F32 : HEARTH_Q8_0, e ? 1 : 2,
                                    e ? &rows : (const uint64_t[]){N_EMBD, rows});
        }
    struct tiny *t = make();
    for (size_t i = 0; i < builder.n_tensors; i++) {
        uint64_t n_bytes;
        uint8_t *to = data_of(t, builder.tensors[i].name, &n_bytes);
        char *fused = strstr(builder.tensors[i].name, "_qkv.");
        for (size_t j = 0; j < (fused ? 3 : 1); j++, to += n_bytes) {
            if (fused)
                (void)snprintf(name, sizeof name, "%.*s_%s.%s", (int)(fused - builder.tensors[i].name), builder.tensors[i].name,
                               names[j], fused + 5);
            const uint8_t *from = data_of(parts, fused ? name : builder.tensors[i].name, &n_bytes);
            memcpy(to, from, n_bytes);
        }
    }
    return t;
}

Test(model, fused_tensors_give_the_same_bits, .init = open_engine, .fini = close_engine)
{
    float want[N_VOCAB];
    start(&(struct gguf_shape){.arch = "qwen2", .format = HEARTH_Q8_0});
    struct tiny *parts = make_session();
    cr_assert_eq(hearth_session_feed(parts->session, some_ids, N_IDS, &err), HEARTH_OK, "%s", err.message);
    memcpy(want, hearth_session_logits(parts->session, 0), sizeof want);
    struct tiny *fused = make_fused(parts);
    open_session(fused);
    cr_assert_eq(hearth_session_feed(fused->session, some_ids, N_IDS, &err), HEARTH_OK, "%s", err.message);
    cr_expect_eq(memcmp(want, hearth_session_logits(fused->session, 0), sizeof want), 0);
    cr_expect_eq(hearth_model_weight_bytes(fused->model), hearth_model_weight_bytes(parts->model));
    drop(parts);

    uint64_t n_bytes; /* in a row of V: the block is counted from the beginning of the tensor, whose own name is told */
    put_half(data_of(fused, "blk.1.attn_qkv.weight", &n_bytes) + 200 * 34, 0x7c00);
    hearth_session_close(fused->session);
    hearth_model_close(fused->model);
    fused->session = NULL;
    fused->model = NULL;
    expect_bad_block(fused, "tensor blk.1.attn_qkv.weight:", "block 200 ");
    drop(fused);
}

Test(model, fused_tensors_of_a_wrong_shape_are_refused, .init = open_engine, .fini = close_engine)
{
    start(&(struct gguf_shape){.arch = "phi2"});
    gguf_builder_drop_tensor(&builder, "blk.0.attn_k.weight");
    expect_refused(HEARTH_E_FORMAT, "E_MISSING", "blk.0.attn_k.weight");
    gguf_builder_set_tensor(&builder, "blk.0.attn_qkv.weight", HEARTH_F32, 2, (const uint64_t[]){N_EMBD, 127});
    expect_refused(HEARTH_E_FORMAT, "E_SHAPE", "blk.0.attn_qkv.weight");
    start(&(struct gguf_shape){.arch = "phi2"});
    gguf_builder_drop_tensor(&builder, "blk.1.attn_v.bias");
    gguf_builder_set_tensor(&builder, "blk.1.attn_qkv.bias", HEARTH_F32, 1, (const uint64_t[]){129});
    expect_refused(HEARTH_E_FORMAT, "E_SHAPE", "blk.1.attn_qkv.bias");
}

Test(model, gate_and_up_in_one_tensor, .init = open_engine, .fini = close_engine)
{
    static const uint64_t one[2] = {N_EMBD, N_FF}, wrong[2] = {N_EMBD, 2 * N_FF - 1}, both[2] = {N_EMBD, 2 * N_FF};
    start(&(struct gguf_shape){.arch = "phi3"});
    gguf_builder_set_tensor(&builder, "blk.1.ffn_up.weight", HEARTH_F32, 2, wrong);
    expect_refused(HEARTH_E_FORMAT, "E_SHAPE", "blk.1.ffn_up.weight");
    start(&(struct gguf_shape){.arch = "phi3"}); /* apart */
    gguf_builder_set_tensor(&builder, "blk.1.ffn_up.weight", HEARTH_F32, 2, one);
    gguf_builder_set_tensor(&builder, "blk.1.ffn_gate.weight", HEARTH_F32, 2, one);
    struct tiny *t = make_session();
    cr_expect(!t->model->description.layers[1].gate.part && !t->model->description.layers[1].up.part);
    cr_expect(t->model->description.layers[0].gate.part && t->model->description.layers[0].up.first == N_FF);
    drop(t);
    start(&(struct gguf_shape){.arch = "phi2"}); /* which has no gate */
    gguf_builder_set_tensor(&builder, "blk.0.ffn_up.weight", HEARTH_F32, 2, both);
    expect_refused(HEARTH_E_FORMAT, "E_SHAPE", "blk.0.ffn_up.weight");
}

Test(model, longrope_of_half_or_in_another_architecture_is_refused, .init = open_engine, .fini = close_engine)
{
    start(&(struct gguf_shape){.arch = "phi3"});
    gguf_builder_set_tensor(&builder, "rope_factors_long.weight", HEARTH_F32, 1, (const uint64_t[]){DIM / 2});
    expect_refused(HEARTH_E_FORMAT, "E_MISSING", "rope_factors_short.weight");
    start(&(struct gguf_shape){.arch = "qwen2"});
    gguf_builder_set_tensor(&builder, "rope_factors_long.weight", HEARTH_F32, 1, (const uint64_t[]){DIM / 2});
    expect_refused(HEARTH_E_UNSUPPORTED, "E_ROPE", "rope_factors_long.weight");
}

/* What one architecture needs, another does not look at. */
Test(model, tensors_belong_to_architectures, .init = open_engine, .fini = close_engine)
{
    static const struct {
        const char *arch, *name;
    } cases[] = {{"phi2", "blk.0.attn_norm.bias"},   {"phi2", "output_norm.bias"},          {"phi2", "blk.1.ffn_up.weight"},
                 {"qwen2", "blk.1.ffn_norm.weight"}, {"qwen3", "blk.0.attn_q_norm.weight"}, {"qwen3", "blk.1.attn_k_norm.weight"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        start(&(struct gguf_shape){.arch = cases[i].arch});
        gguf_builder_drop_tensor(&builder, cases[i].name);
        expect_refused(HEARTH_E_FORMAT, "E_MISSING", cases[i].name);
    }
    start(NULL);
    gguf_builder_set_tensor(&builder, "blk.0.attn_q_norm.weight", HEARTH_F32, 1, (const uint64_t[]){DIM});
    gguf_builder_set_tensor(&builder, "blk.0.attn_norm.bias", HEARTH_F32, 1, (const uint64_t[]){N_EMBD});
    struct tiny *t = make_session();
    cr_expect_eq(t->model->description.layers[0].q_norm.n, 0);
    cr_expect_eq(t->model->description.layers[0].attn_norm.bias.n, 0);
    drop(t);
}

/* A host that has changed rounding and denormals meets the same bits: floats are computed on workers only. */
Test(model, the_floating_point_of_the_host_is_of_no_matter, .init = open_engine, .fini = close_engine)
{
    float want[N_VOCAB];
    start(&(struct gguf_shape){.n_embd = 96, .n_head = 4, .n_head_kv = 2, .rope_freqs = true, .format = HEARTH_Q8_0});
    gguf_builder_set_string(&builder, "llama.rope.scaling.type", "linear");
    gguf_builder_set_f32(&builder, "llama.rope.scaling.factor", 3.0f);
    const unsigned before = _mm_getcsr();
    const unsigned modes[] = {before, before | 0x8040u | 0x4000u, before | 0x8040u | 0x2000u}; /* FTZ, DAZ; up, down */
    for (size_t i = 0; i < COUNT(modes); i++) {
        struct tiny *t = make();
        _mm_setcsr(modes[i]);
        open_session(t);
        const hearth_status status = hearth_session_feed(t->session, some_ids, N_IDS, &err);
        const unsigned after = _mm_getcsr();
        _mm_setcsr(before);
        cr_assert_eq(status, HEARTH_OK, "%s", err.message);
        cr_expect_eq(after & 0xffc0u, modes[i] & 0xffc0u, "the host's was changed");
        const float *got = hearth_session_logits(t->session, 0);
        if (i == 0)
            memcpy(want, got, sizeof want);
        cr_expect_eq(memcmp(want, got, sizeof want), 0, "other bits in mode %zu", i);
        drop(t);
    }
}

/* ---- Files, cancelling, memory ---------------------------------------------------------------------------------------- */

static void write_model(char path[32])
{
    (void)snprintf(path, 32, "test_model.XXXXXX");
    const int fd = mkstemp(path);
    cr_assert(fd >= 0);
    (void)close(fd);
    gguf_builder_write_file(&builder, path);
}

Test(model, a_vocabulary_alone_serves_for_text_only, .init = open_engine, .fini = close_engine)
{
    char path[32];
    hearth_model *model;
    hearth_session *session;
    int32_t ids[16];
    size_t n;
    start(NULL);
    builder.n_tensors = 0;
    write_model(path);
    cr_expect_eq(hearth_model_open(&model, engine, path, NULL, NULL, &err), HEARTH_E_FORMAT, "%s", err.message);
    cr_expect_null(model);
    hearth_plan *plan;
    cr_expect_eq(hearth_plan_open(&plan, engine, path, NULL, &err), HEARTH_E_FORMAT);
    cr_assert_eq(hearth_model_open_vocabulary(&model, engine, path, &err), HEARTH_OK, "%s", err.message);
    cr_expect_eq(hearth_model_vocabulary_size(model), 300);
    cr_expect_eq(hearth_tokenize(model, "a b", 3, 0, ids, 16, &n, &err), HEARTH_OK);
    cr_expect(n > 0);
    char text[16];
    size_t bytes;
    cr_expect_eq(hearth_detokenize(model, ids, n, text, sizeof text, &bytes, &err), HEARTH_OK);
    cr_expect(bytes == 3 && memcmp(text, "a b", 3) == 0, "'%.*s'", (int)bytes, text);
    cr_expect_eq(hearth_session_open(&session, model, NULL, &err), HEARTH_E_CONFIG);
    cr_expect_null(session);
    hearth_model_close(model);
    start(NULL);
    gguf_builder_write_file(&builder, path);
    cr_assert_eq(hearth_model_open_vocabulary(&model, engine, path, &err), HEARTH_OK, "a whole model has one too");
    hearth_model_close(model);
    (void)unlink(path);
}

Test(model, files_that_are_none, .init = open_engine, .fini = close_engine)
{
    hearth_model *model;
    hearth_plan *plan;
    cr_expect_eq(hearth_model_open(&model, engine, "no/such/file", NULL, NULL, &err), HEARTH_E_NOT_FOUND);
    cr_expect_eq(hearth_status_exit_code(err.code), 6);
    cr_expect_eq(hearth_model_open(&model, engine, "/", NULL, NULL, &err), HEARTH_E_IO);
    cr_expect_eq(hearth_model_open_vocabulary(&model, engine, "/", &err), HEARTH_E_IO);
    cr_expect_eq(hearth_plan_open(&plan, engine, "/", NULL, &err), HEARTH_E_IO);
    cr_expect_eq(hearth_model_open(&model, engine, "", NULL, NULL, &err), HEARTH_E_NOT_FOUND);
    cr_expect_eq(hearth_model_open(&model, engine, "/dev/null", NULL, NULL, &err), HEARTH_E_IO);
    cr_expect_eq(hearth_model_open(&model, engine, "new\nline\x1b[31m", NULL, NULL, &err), HEARTH_E_NOT_FOUND);
    cr_expect(!strpbrk(err.message, "\n\x1b"), "%s", err.message);
    cr_expect_null(model);
}

struct progress {
    unsigned calls, cancel_at;
    uint64_t done, total;
};

static bool watch(uint64_t done, uint64_t total, void *user)
{
    struct progress *p = user;
    cr_expect(done > p->done && done <= total && (p->calls == 0 || total == p->total));
    p->done = done;
    p->total = total;
    return ++p->calls != p->cancel_at;
}

Test(model, loading_can_be_cancelled_at_every_tensor, .init = open_engine, .fini = close_engine)
{
    start(&(struct gguf_shape){.format = HEARTH_Q8_0});
    struct tiny *t = make();
    bool loaded = false;
    const uint64_t before = atomic_load(&engine->reserved);
    for (unsigned n = 1; !loaded; n++) {
        struct progress p = {.cancel_at = n};
        const hearth_model_options options = {.struct_size = sizeof options, .progress = watch, .progress_user = &p};
        cr_assert_eq(memory_source_open(&t->source, t->file, t->size, &err), HEARTH_OK);
        loaded = hearth_model_open_source(&t->model, engine, &t->source.source, &limits, &options, &err) == HEARTH_OK;
        cr_assert(n < 100);
        if (loaded) {
            cr_expect(p.calls == n - 1 && p.done == p.total && n == builder.n_tensors + 1);
            continue;
        }
        cr_expect(err.code == HEARTH_E_CANCELLED && p.calls == n && !t->model, "%s", err.message);
        cr_expect_eq(atomic_load(&engine->reserved), before);
        cr_expect_eq(hearth_status_exit_code(err.code), 130);
    }
    drop(t);
}

Test(model, the_cap_holds_to_the_byte)
{
    open_engine_with(2, 1 << 20);
    start(NULL);
    struct tiny *t = make();
    cr_expect_eq(open_model(t), HEARTH_E_MEMORY);
    cr_expect(err.available == 1 << 20 && err.needed > err.available);
    cr_expect_eq(atomic_load(&t->source.n_reads), 0, "weights were read before the plan was held against the cap");
    cr_expect(strstr(err.message, "the least, -c 64 "), "%s", err.message);
    const uint64_t needed = err.needed;
    hearth_engine_close(engine);

    open_engine_with(2, needed - 1);
    cr_expect_eq(open_model(t), HEARTH_E_MEMORY);
    hearth_engine_close(engine);

    open_engine_with(2, needed);
    start(NULL);
    open_session(t);
    hearth_session *second;
    cr_expect_eq(hearth_session_open(&second, t->model, &limits, &err), HEARTH_E_MEMORY);
    cr_expect(err.needed > err.available, "%s", err.message);
    cr_expect_null(second);
    struct tiny *other = make();
    cr_expect_eq(open_model(other), HEARTH_E_MEMORY);
    cr_expect_eq(atomic_load(&other->source.n_reads), 0, "the second model was read");
    cr_expect_eq(hearth_session_feed(t->session, some_ids, N_IDS, &err), HEARTH_OK, "the first one does not mind");
    drop(other);
    drop(t);
    close_engine();
}

/* What a second model and its session would need is held against what the first ones have left. */
Test(model, a_second_model_is_planned_beside_the_first, .init = open_engine, .fini = close_engine)
{
    const hearth_limits large = {.struct_size = sizeof large, .context = 8192};
    start(NULL);
    struct tiny *first = make_session();
    struct tiny *second = make();
    hearth_plan *plan;
    cr_assert_eq(memory_source_open(&second->source, second->file, second->size, &err), HEARTH_OK);
    cr_assert_eq(hearth_plan_open_source(&plan, engine, &second->source.source, &large, &err), HEARTH_OK, "%s", err.message);
    const uint64_t others = atomic_load(&engine->reserved) - hearth_engine_own_bytes(engine);
    engine->cap = hearth_plan_private_bytes(plan) + others - 1;
    hearth_plan_close(plan);
    cr_expect_eq(hearth_model_open_source(&second->model, engine, &second->source.source, &large, NULL, &err), HEARTH_E_MEMORY);
    cr_expect_eq(atomic_load(&second->source.n_reads), 0, "weights were read");
    cr_expect_eq(err.needed, err.available + 1);
    engine->cap++;
    cr_expect_eq(hearth_model_open_source(&second->model, engine, &second->source.source, &large, NULL, &err), HEARTH_OK, "%s",
                 err.message);
    cr_expect_eq(hearth_session_open(&second->session, second->model, &large, &err), HEARTH_OK, "%s", err.message);
    drop(second);
    drop(first);
}

/* ---- A careless host -------------------------------------------------------------------------------------------------- */

Test(model, closing_in_the_wrong_order_does_no_harm)
{
    open_engine();
    start(NULL);
    struct tiny *t = make_session();
    hearth_engine_close(engine);
    hearth_model_close(t->model);
    cr_expect_eq(hearth_session_feed(t->session, some_ids, N_IDS, &err), HEARTH_OK, "%s", err.message);
    hearth_session_close(t->session);
    memory_source_close(&t->source);
    free(t->file);
    free(t);
    gguf_builder_free(&builder);
    hearth_session_close(NULL);
    hearth_model_close(NULL);
    hearth_plan_close(NULL);
    hearth_engine_close(NULL);
}

#define NEEDS(call) cr_expect((call) == HEARTH_E_CONFIG && strcmp(err.detail, "E_ARG") == 0, #call)

Test(model, arguments_that_must_be_there, .init = open_engine, .fini = close_engine)
{
    start(NULL);
    struct tiny *t = make_session();
    hearth_model *m;
    hearth_session *s;
    hearth_plan *p;
    size_t n;
    int32_t id;
    hearth_estimate estimate = {.struct_size = sizeof estimate};
    hearth_generation generation = {.struct_size = sizeof generation};
    hearth_result result = {.struct_size = sizeof result};
    NEEDS(hearth_engine_open(NULL, NULL, &err));
    NEEDS(hearth_plan_open(NULL, engine, "x", NULL, &err));
    NEEDS(hearth_plan_open(&p, NULL, "x", NULL, &err));
    NEEDS(hearth_plan_open(&p, engine, NULL, NULL, &err));
    NEEDS(hearth_plan_check(NULL, &err));
    NEEDS(hearth_model_open(NULL, engine, "x", NULL, NULL, &err));
    NEEDS(hearth_model_open(&m, NULL, "x", NULL, NULL, &err));
    NEEDS(hearth_model_open(&m, engine, NULL, NULL, NULL, &err));
    NEEDS(hearth_model_open_vocabulary(NULL, engine, "x", &err));
    NEEDS(hearth_model_open_vocabulary(&m, NULL, "x", &err));
    NEEDS(hearth_model_open_vocabulary(&m, engine, NULL, &err));
    NEEDS(hearth_tokenize(NULL, "x", 1, 0, &id, 1, &n, &err));
    NEEDS(hearth_tokenize(t->model, NULL, 1, 0, &id, 1, &n, &err));
    NEEDS(hearth_tokenize(t->model, "x", 1, 0, NULL, 1, &n, &err));
    NEEDS(hearth_tokenize(t->model, "x", 1, 0, &id, 1, NULL, &err));
    NEEDS(hearth_tokenize_infill(NULL, "x", 1, "x", 1, &id, 1, &n, &err));
    NEEDS(hearth_tokenize_infill(t->model, NULL, 1, "x", 1, &id, 1, &n, &err));
    NEEDS(hearth_tokenize_infill(t->model, "x", 1, NULL, 1, &id, 1, &n, &err));
    NEEDS(hearth_tokenize_infill(t->model, "x", 1, "x", 1, NULL, 1, &n, &err));
    NEEDS(hearth_tokenize_infill(t->model, "x", 1, "x", 1, &id, 1, NULL, &err));
    NEEDS(hearth_tokenize_marked(NULL, "x", NULL, 1, 0, &id, 1, &n, &err));
    NEEDS(hearth_detokenize(NULL, &id, 1, NULL, 0, &n, &err));
    NEEDS(hearth_detokenize(t->model, NULL, 1, NULL, 0, &n, &err));
    NEEDS(hearth_detokenize(t->model, &id, 1, NULL, 1, &n, &err));
    NEEDS(hearth_detokenize(t->model, &id, 1, NULL, 0, NULL, &err));
    NEEDS(hearth_session_open(NULL, t->model, NULL, &err));
    NEEDS(hearth_session_open(&s, NULL, NULL, &err));
    NEEDS(hearth_session_set_sampling(NULL, &(hearth_sampling){0}, &err));
    NEEDS(hearth_session_set_sampling(t->session, NULL, &err));
    NEEDS(hearth_session_estimate(t->session, "x", 1, 0, 1, NULL, &err));
    NEEDS(hearth_session_estimate(t->session, NULL, 1, 0, 1, &estimate, &err));
    NEEDS(hearth_session_estimate(NULL, "x", 1, 0, 1, &estimate, &err));
    NEEDS(hearth_session_feed(NULL, &id, 1, &err));
    NEEDS(hearth_session_feed(t->session, NULL, 1, &err));
    NEEDS(hearth_session_feed_text(NULL, "x", 1, 0, NULL, &err));
    NEEDS(hearth_session_feed_text(t->session, NULL, 1, 0, NULL, &err));
    NEEDS(hearth_session_sample(NULL, &id, &err));
    NEEDS(hearth_session_sample(t->session, NULL, &err));
    NEEDS(hearth_generate(NULL, &generation, &result, &err));
    NEEDS(hearth_generate(t->session, NULL, &result, &err));
    cr_expect_eq(hearth_session_feed(t->session, NULL, 1, NULL), HEARTH_E_CONFIG, "the error may be NULL");
    hearth_session_reset(NULL);
    cr_expect(hearth_session_position(NULL) == 0 && hearth_session_context(NULL) == 0 && !hearth_session_logits(NULL, 0));
    cr_expect(hearth_model_vocabulary_size(NULL) == 0 && hearth_engine_threads(NULL) == 0 && !hearth_model_is_end(NULL, 2));
    drop(t);
}

Test(model, nothing_is_something_too, .init = open_engine, .fini = close_engine)
{
    start(NULL);
    struct tiny *t = make_session();
    size_t n = 99;
    hearth_estimate estimate = {.struct_size = sizeof estimate};
    cr_expect_eq(hearth_tokenize(t->model, NULL, 0, 0, NULL, 0, &n, &err), HEARTH_OK);
    cr_expect_eq(n, 0);
    cr_expect_eq(hearth_tokenize(t->model, "ab", 2, 0, NULL, 0, &n, &err), HEARTH_E_CONFIG);
    cr_expect(n > 0 && err.needed == 0);
    cr_expect_eq(hearth_detokenize(t->model, NULL, 0, NULL, 0, &n, &err), HEARTH_OK);
    cr_expect_eq(n, 0);
    cr_expect_eq(hearth_session_feed(t->session, NULL, 0, &err), HEARTH_E_CONFIG);
    cr_expect_eq(hearth_session_feed_text(t->session, NULL, 0, 0, NULL, &err), HEARTH_E_CONFIG);
    cr_expect_str_eq(err.detail, "E_EMPTY");
    cr_expect_eq(hearth_session_estimate(t->session, NULL, 0, 0, UINT32_MAX, &estimate, &err), HEARTH_OK);
    cr_expect(estimate.n_needed == UINT32_MAX && !estimate.fits);
    drop(t);
}

static hearth_status inside;

static bool meddle(const char *text, size_t bytes, void *user)
{
    struct tiny *t = user;
    const int32_t id = 5;
    (void)text;
    (void)bytes;
    inside = hearth_session_feed(t->session, &id, 1, NULL);
    hearth_session_reset(t->session);
    return true;
}

Test(model, a_callback_cannot_disturb_its_own_session, .init = open_engine, .fini = close_engine)
{
    start(NULL);
    struct tiny *t = make_session();
    const hearth_generation g = {.struct_size = sizeof g, .max_tokens = 8, .text = meddle, .text_user = t};
    hearth_result result = {.struct_size = sizeof result};
    cr_assert_eq(hearth_session_feed(t->session, some_ids, N_IDS, &err), HEARTH_OK);
    inside = HEARTH_OK;
    cr_assert_eq(hearth_generate(t->session, &g, &result, &err), HEARTH_OK, "%s", err.message);
    cr_expect_eq(inside, HEARTH_E_BUSY);
    cr_expect_geq(hearth_session_position(t->session), N_IDS);
    drop(t);
}

Test(model, a_child_may_not_even_tokenize, .init = open_engine, .fini = close_engine)
{
    start(NULL);
    struct tiny *t = make_session();
    const pid_t child = fork();
    if (child == 0) {
        size_t n;
        int32_t id;
        hearth_session *s;
        const bool told = hearth_tokenize(t->model, "a", 1, 0, &id, 1, &n, &err) == HEARTH_E_FORKED &&
                          hearth_session_open(&s, t->model, NULL, &err) == HEARTH_E_FORKED && open_model(t) == HEARTH_E_FORKED;
        _exit(told ? 0 : 1);
    }
    int state;
    cr_assert(waitpid(child, &state, 0) == child);
    cr_expect(WIFEXITED(state) && WEXITSTATUS(state) == 0);
    drop(t);
}
