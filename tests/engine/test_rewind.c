/* Going back in a session: whatever was forgotten, replaced or cancelled before, the tokens that are there decide the bits. */
#include "gguf_builder.h"
#include "hearth.h"
#include "support/rng.h"
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define N_VOCAB 300u
#define CONTEXT 600u
#define BATCH 8u

static char path[64];
static hearth_engine *engine;
static hearth_model *model;
static hearth_session *session, *fresh; /* the second one computes everything anew */
static hearth_error err;
static int32_t ids[CONTEXT];

static void open_all(const char *arch, int32_t kv_type)
{
    static struct gguf_builder builder;
    const hearth_engine_options options = {.struct_size = sizeof options, .threads = 2};
    const hearth_limits limits = {
        .struct_size = sizeof limits, .context = CONTEXT, .batch = BATCH, .kv_type = kv_type, .grammar = 1};
    (void)snprintf(path, sizeof path, "%s/hearth-rewind-XXXXXX", P_tmpdir);
    const int fd = mkstemp(path);
    cr_assert(fd >= 0);
    (void)close(fd);
    gguf_builder_init(&builder);
    gguf_builder_add_llama(&builder, &(struct gguf_shape){.arch = arch, .n_layer = 4, .n_vocab = N_VOCAB, .n_ctx_train = CONTEXT});
    gguf_builder_set_u32(&builder, "gemma2.attention.sliding_window", 16);
    gguf_builder_write_file(&builder, path);
    gguf_builder_free(&builder);
    cr_assert_eq(hearth_engine_open(&engine, &options, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_model_open(&model, engine, path, &limits, NULL, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_session_open(&session, model, &limits, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_session_open(&fresh, model, &limits, &err), HEARTH_OK, "%s", err.message);
    for (uint32_t i = 0; i < CONTEXT; i++)
        ids[i] = (int32_t)(3 + i * 7 % 290);
}

static void open_llama(void)
{
    open_all("llama", HEARTH_KV_F16);
}

static void close_all(void)
{
    hearth_session_close(fresh);
    hearth_session_close(session);
    hearth_model_close(model);
    hearth_engine_close(engine);
    (void)unlink(path);
}

/* A window of 16 in every second layer, and so 256 slots there. */
static void reopen_gemma2(void)
{
    close_all();
    open_all("gemma2", HEARTH_KV_F16);
}

TestSuite(rewind, .init = open_llama, .fini = close_all);

static void sample_with_penalties(hearth_session *s, uint64_t seed)
{
    hearth_sampling sampling;
    hearth_sampling_init(&sampling, sizeof sampling);
    sampling.temperature = seed ? 1.5f : 0;
    sampling.top_k = 0;
    sampling.repeat_penalty = 1.3f;
    sampling.frequency_penalty = 0.2f;
    sampling.dry_multiplier = 0.8f;
    sampling.seed = seed;
    cr_assert_eq(hearth_session_set_sampling(s, &sampling, &err), HEARTH_OK);
}

/* The logits, and what is chosen from them, are those of a session that was only ever fed these tokens. */
static void expect_the_same(const char *after)
{
    uint32_t n;
    int32_t chosen[2];
    const int32_t *tokens = hearth_session_tokens(session, &n);
    cr_assert_eq(n, hearth_session_position(session));
    sample_with_penalties(session, 0);
    sample_with_penalties(fresh, 0);
    hearth_session_reset(fresh);
    cr_assert_eq(hearth_session_feed(fresh, tokens, n, &err), HEARTH_OK, "%s", err.message);
    const float *logits = hearth_session_logits(session, 0);
    cr_assert(logits && memcmp(logits, hearth_session_logits(fresh, 0), N_VOCAB * sizeof *logits) == 0,
              "after %s: other logits at %" PRIu32, after, n);
    cr_assert_eq(hearth_session_sample(session, &chosen[0], &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_session_sample(fresh, &chosen[1], &err), HEARTH_OK);
    cr_assert_eq(chosen[0], chosen[1], "after %s: another choice at %" PRIu32, after, n);
}

static void feed(hearth_session *s, const int32_t *tokens, size_t n)
{
    cr_assert_eq(hearth_session_feed(s, tokens, n, &err), HEARTH_OK, "%s", err.message);
}

static int32_t any_token(struct rng *rng)
{
    return (int32_t)rng_below(rng, N_VOCAB);
}

/* Feed, rewind, cancel and replace at random; refusals for a window count in *refused. */
static void wander(uint32_t steps, uint32_t *refused)
{
    struct rng rng = rng_start();
    for (uint32_t i = 0; i < steps; i++) {
        const uint32_t position = hearth_session_position(session);
        const uint32_t what = rng_below(&rng, 4);
        int32_t some[CONTEXT];
        hearth_prompt_info info = {.struct_size = sizeof info};
        memcpy(some, hearth_session_tokens(session, NULL), position * sizeof some[0]);
        if (what == 0 && position > 0) {
            const uint32_t to = position - 1 - rng_below(&rng, i % 8 == 0 ? position : position < 200 ? position : 200);
            const hearth_status status = hearth_session_rewind(session, to, &err);
            cr_assert(status == HEARTH_OK || (status == HEARTH_E_UNSUPPORTED && strcmp(err.detail, "E_WINDOW") == 0), "%s",
                      err.message);
            *refused += status != HEARTH_OK;
            cr_assert_eq(hearth_session_position(session), status == HEARTH_OK ? to : position);
        } else if (what == 1 && position + 150 < CONTEXT) { /* ends somewhere, having overwritten something */
            for (uint32_t j = 0; j < 150; j++)
                some[j] = any_token(&rng);
            const double at_once = 1e-6 * (1 + rng_below(&rng, 20000)); /* or never, so that slow machines come far, too */
            (void)hearth_session_set_deadline(session, rng_below(&rng, 2) ? at_once : 600, NULL);
            const hearth_status status = hearth_session_feed(session, some, 150, &err);
            cr_assert(status == HEARTH_OK || status == HEARTH_E_CANCELLED, "%s", err.message);
            (void)hearth_session_set_deadline(session, 0, NULL);
        } else if (what == 2) {                                                /* other tokens from somewhere on */
            const uint32_t most = position < CONTEXT ? position : CONTEXT - 1; /* a full context has room for none behind it */
            const uint32_t same = most ? most - rng_below(&rng, most < 100 ? most : 100) : 0;
            const uint32_t n = same + 1 + rng_below(&rng, CONTEXT - same < 40 ? CONTEXT - same : 40);
            for (uint32_t j = same; j < n; j++)
                some[j] = any_token(&rng);
            cr_assert_eq(hearth_session_prompt(session, some, n, &info, &err), HEARTH_OK, "%s", err.message);
            cr_assert(info.n_kept + info.n_computed == n && info.n_restored == 0 && info.n_computed > 0);
            cr_assert_eq(memcmp(hearth_session_tokens(session, NULL), some, n * sizeof some[0]), 0);
        }
        const int32_t next = any_token(&rng);
        if (hearth_session_position(session) == CONTEXT)
            cr_assert_eq(hearth_session_rewind(session, CONTEXT - 1, &err), HEARTH_OK);
        feed(session, &next, 1);
        expect_the_same("wandering");
    }
}

Test(rewind, every_way_gives_the_same_bits)
{
    uint32_t refused = 0;
    wander(150, &refused);
    cr_expect_eq(refused, 0, "nothing has a window here");
}

Test(rewind, every_way_gives_the_same_bits_q8_0)
{
    uint32_t refused = 0;
    close_all();
    open_all("llama", HEARTH_KV_Q8_0);
    wander(60, &refused);
}

Test(rewind, windows_give_the_same_bits_or_refuse)
{
    uint32_t refused = 0;
    reopen_gemma2();
    wander(300, &refused);
    cr_expect(refused > 0, "no window was ever in the way");
}

Test(rewind, a_window_is_told_and_changes_nothing)
{
    float logits[N_VOCAB];
    hearth_prompt_info info = {.struct_size = sizeof info};
    reopen_gemma2();
    feed(session, ids, 300);
    memcpy(logits, hearth_session_logits(session, 0), sizeof logits);
    /* Position 300 - 256 is the first that is still there; position 44 + 15 is the first to see no earlier one. */
    cr_expect_eq(hearth_session_rewind(session, 58, &err), HEARTH_E_UNSUPPORTED);
    cr_expect_str_eq(err.detail, "E_WINDOW");
    cr_expect_eq(hearth_session_position(session), 300);
    cr_expect_eq(memcmp(logits, hearth_session_logits(session, 0), sizeof logits), 0);
    cr_expect_eq(hearth_session_prompt(session, ids, 58, &info, &err), HEARTH_OK, "%s", err.message);
    cr_expect(info.n_kept == 0 && info.n_computed == 58, "from the beginning");
    expect_the_same("a prompt that a window forbids to keep");
    feed(session, ids + 58, 242);
    cr_expect_eq(hearth_session_rewind(session, 59, &err), HEARTH_OK, "%s", err.message);
    feed(session, ids, 3);
    expect_the_same("the furthest rewind");
    cr_expect_eq(hearth_session_rewind(session, 0, &err), HEARTH_OK, "%s", err.message);
    feed(session, ids, 3);
    expect_the_same("a rewind to the beginning");
}

Test(rewind, a_position_that_is_not_there_is_refused)
{
    feed(session, ids, 5);
    cr_expect_eq(hearth_session_rewind(session, 6, &err), HEARTH_E_CONFIG);
    cr_expect_eq(hearth_session_rewind(session, UINT32_MAX, &err), HEARTH_E_CONFIG);
    cr_expect_eq(hearth_session_rewind(NULL, 0, &err), HEARTH_E_CONFIG);
    cr_expect_not_null(hearth_session_logits(session, 0));
    cr_expect_eq(hearth_session_rewind(session, 5, &err), HEARTH_OK);
    cr_expect_null(hearth_session_logits(session, 0), "feed before sampling");
    uint32_t n = 7;
    cr_expect_null(hearth_session_tokens(NULL, &n));
    cr_expect_eq(n, 0);
}

static void generate(uint32_t n, int32_t *out)
{
    const hearth_generation g = {.struct_size = sizeof g, .max_tokens = n, .ids = out, .ids_capacity = n};
    hearth_result result = {.struct_size = sizeof result};
    cr_assert_eq(hearth_generate(session, &g, &result, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(result.n_generated, n);
}

Test(rewind, the_random_stream_goes_on)
{
    int32_t first[12], second[12], again[12];
    sample_with_penalties(session, 5);
    feed(session, ids, 20);
    generate(12, first);
    cr_assert_eq(hearth_session_rewind(session, 19, &err), HEARTH_OK);
    feed(session, ids + 19, 1);
    generate(12, second);
    cr_expect_neq(memcmp(first, second, sizeof first), 0, "the second answer draws other numbers");
    cr_assert_eq(hearth_session_prompt(session, ids, 20, NULL, &err), HEARTH_OK);
    sample_with_penalties(session, 5);
    generate(12, again);
    cr_expect_eq(memcmp(first, again, sizeof first), 0, "and these are the first ones");
}

/* The last token shown is not computed yet: going back forgets it, a prompt that has it there computes it. */
Test(rewind, a_token_still_owed)
{
    int32_t answer[4];
    hearth_prompt_info info = {.struct_size = sizeof info};
    feed(session, ids, 20);
    generate(4, answer);
    cr_expect_eq(hearth_session_position(session), 23);
    cr_assert_eq(hearth_session_rewind(session, 23, &err), HEARTH_OK);
    feed(session, ids, 1);
    cr_expect_eq(hearth_session_position(session), 24);
    expect_the_same("a rewind with a token still owed");
    cr_assert_eq(hearth_session_rewind(session, 20, &err), HEARTH_OK);
    cr_assert_eq(hearth_session_prompt(session, ids, 20, NULL, &err), HEARTH_OK);
    generate(4, answer);
    int32_t whole[30];
    memcpy(whole, ids, sizeof whole);
    memcpy(whole + 20, answer, sizeof answer);
    cr_assert_eq(hearth_session_prompt(session, whole, 30, &info, &err), HEARTH_OK);
    cr_expect(info.n_kept == 23 && info.n_computed == 7, "kept %" PRIu32, info.n_kept);
    expect_the_same("a prompt that begins with the whole answer");
}

Test(rewind, a_prompt_keeps_what_is_there)
{
    hearth_prompt_info info = {.struct_size = sizeof info};
    cr_assert_eq(hearth_session_prompt(session, ids, 100, &info, &err), HEARTH_OK);
    cr_expect(info.n_kept == 0 && info.n_computed == 100);
    cr_assert_eq(hearth_session_prompt(session, ids, 100, &info, &err), HEARTH_OK);
    cr_expect(info.n_kept == 99 && info.n_computed == 1, "one is computed, for the logits");
    expect_the_same("the same prompt again");
    cr_assert_eq(hearth_session_prompt(session, ids, 40, &info, &err), HEARTH_OK);
    cr_expect(info.n_kept == 39 && info.n_computed == 1 && hearth_session_position(session) == 40);
    expect_the_same("a shorter prompt");
    uint32_t n;
    const int32_t *own = hearth_session_tokens(session, &n);
    cr_assert_eq(hearth_session_prompt(session, own + 3, n - 3, &info, &err), HEARTH_OK);
    cr_expect_eq(memcmp(hearth_session_tokens(session, NULL), ids + 3, 37 * sizeof ids[0]), 0);
    expect_the_same("a prompt of the session's own tokens");
}

Test(rewind, a_prompt_that_is_refused_changes_nothing)
{
    static const int32_t too_many[CONTEXT + 1];
    const int32_t wrong[3] = {1, 2, (int32_t)N_VOCAB};
    hearth_prompt_info info = {.struct_size = sizeof info};
    feed(session, ids, 30);
    cr_expect_eq(hearth_session_prompt(session, too_many, CONTEXT + 1, &info, &err), HEARTH_E_CONTEXT_FULL);
    cr_expect(err.needed == CONTEXT + 1 && err.available == CONTEXT);
    cr_expect_eq(hearth_session_prompt(session, wrong, 3, &info, &err), HEARTH_E_CONFIG);
    cr_expect_str_eq(err.detail, "E_TOKENID");
    cr_expect_eq(hearth_session_prompt(session, ids, 0, &info, &err), HEARTH_E_CONFIG);
    cr_expect_eq(hearth_session_prompt(session, NULL, 3, &info, &err), HEARTH_E_CONFIG);
    info.struct_size = 4;
    cr_expect_eq(hearth_session_prompt(session, ids, 3, &info, &err), HEARTH_E_CONFIG);
    cr_expect(hearth_session_position(session) == 30 && hearth_session_logits(session, 0));
    cr_expect_eq(hearth_session_prompt(session, ids, CONTEXT, NULL, &err), HEARTH_OK, "%s", err.message);
    cr_expect_eq(hearth_session_position(session), CONTEXT);
}

Test(rewind, a_prompt_that_is_cancelled_can_go_on)
{
    hearth_prompt_info info = {.struct_size = sizeof info};
    feed(session, ids, 30);
    uint32_t between = 0;
    for (double seconds = 1e-6; hearth_session_position(session) < 500; seconds *= 1.3) {
        const uint32_t before = hearth_session_position(session);
        (void)hearth_session_set_deadline(session, seconds, NULL);
        const hearth_status status = hearth_session_prompt(session, ids, 500, &info, &err);
        const uint32_t position = hearth_session_position(session);
        cr_assert(status == (position < 500 ? HEARTH_E_CANCELLED : HEARTH_OK), "%s", err.message);
        cr_assert(position >= before && position == info.n_kept + info.n_computed && info.n_kept == before);
        cr_assert_eq(memcmp(hearth_session_tokens(session, NULL), ids, position * sizeof ids[0]), 0);
        between += position > before && position < 500;
    }
    cr_expect(between > 0, "never stopped on the way");
    (void)hearth_session_set_deadline(session, 0, NULL);
    expect_the_same("a prompt in pieces");
}

Test(rewind, the_grammar_is_dropped)
{
    int32_t id;
    static const char digits[] = "root ::= [0-9]+";
    for (int way = 0; way < 2; way++) {
        feed(session, ids, 10);
        cr_assert_eq(hearth_session_set_grammar(session, digits, strlen(digits), &err), HEARTH_OK, "%s", err.message);
        cr_assert_eq(way ? hearth_session_prompt(session, ids, 9, NULL, &err) : hearth_session_rewind(session, 9, &err), HEARTH_OK);
        feed(session, ids + 9, 1);
        sample_with_penalties(session, 0);
        cr_assert_eq(hearth_session_sample(session, &id, &err), HEARTH_OK, "%s", err.message);
        char text[64];
        size_t n;
        cr_assert_eq(hearth_detokenize(model, &id, 1, text, sizeof text, &n, &err), HEARTH_OK);
        cr_expect(n != 1 || text[0] < '0' || text[0] > '9', "way %d chose '%.*s'", way, (int)n, text);
    }
}
