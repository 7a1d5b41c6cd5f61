/* The public interface as an application meets it: errors leave everything usable, limits hold, texts stop where they should. */
#include "golden.h"
#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROMPT "<|user|>\nTurn on the kitchen light.<|end|>\n<|assistant|>\n"
#define FLAGS (HEARTH_TOKENIZE_BOS | HEARTH_TOKENIZE_SPECIAL)

static hearth_engine *engine;
static hearth_model *model;
static hearth_session *session;
static hearth_error err;

static void open_with(uint32_t context, uint32_t batch)
{
    char path[GOLDEN_PATH];
    golden_source(path, "models/hearth-home.Q4_K_M.gguf");
    const hearth_engine_options options = {.struct_size = sizeof options, .threads = 2};
    const hearth_limits limits = {.struct_size = sizeof limits, .context = context, .batch = batch};
    cr_assert_eq(hearth_engine_open(&engine, &options, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_model_open(&model, engine, path, &limits, NULL, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_session_open(&session, model, &limits, &err), HEARTH_OK, "%s", err.message);
    hearth_sampling greedy;
    hearth_sampling_init(&greedy, sizeof greedy);
    greedy.temperature = 0;
    cr_assert_eq(hearth_session_set_sampling(session, &greedy, &err), HEARTH_OK);
}

static void open_all(void)
{
    open_with(0, 0);
}

static void close_all(void)
{
    hearth_session_close(session);
    hearth_model_close(model);
    hearth_engine_close(engine);
}

struct text {
    char bytes[4096];
    size_t n, calls, stop_after;
};

static bool collect(const char *bytes, size_t n, void *user)
{
    struct text *t = user;
    memcpy(t->bytes + t->n, bytes, n);
    t->n += n;
    t->bytes[t->n] = '\0';
    return ++t->calls != t->stop_after;
}

static hearth_result generate(struct text *text, uint32_t max_tokens, const char *const *stops, uint32_t n_stops)
{
    const hearth_generation g = {.struct_size = sizeof g,
                                 .max_tokens = max_tokens,
                                 .stop_strings = stops,
                                 .n_stop_strings = n_stops,
                                 .text = collect,
                                 .text_user = text};
    hearth_result result = {.struct_size = sizeof result};
    cr_assert_eq(hearth_generate(session, &g, &result, &err), HEARTH_OK, "%s", err.message);
    return result;
}

static void feed_prompt(void)
{
    hearth_session_reset(session);
    cr_assert_eq(hearth_session_feed_text(session, PROMPT, strlen(PROMPT), FLAGS, NULL, &err), HEARTH_OK, "%s", err.message);
}

Test(session, the_bundled_model_answers, .init = open_all, .fini = close_all)
{
    struct text text = {.n = 0};
    feed_prompt();
    const hearth_result result = generate(&text, 24, NULL, 0);
    cr_expect_eq(result.stop, HEARTH_STOP_END);
    cr_expect(strstr(text.bytes, "kitchen light"), "answered '%s'", text.bytes);
}

Test(session, reset_gives_the_same_bits, .init = open_all, .fini = close_all)
{
    const size_t bytes = hearth_model_vocabulary_size(model) * sizeof(float);
    float *first = malloc(bytes);
    feed_prompt();
    memcpy(first, hearth_session_logits(session, 0), bytes);
    struct text text = {.n = 0};
    (void)generate(&text, 10, NULL, 0);
    feed_prompt();
    cr_expect_eq(memcmp(first, hearth_session_logits(session, 0), bytes), 0);
    free(first);
}

Test(session, stop_strings_work_across_tokens, .init = open_all, .fini = close_all)
{
    static const char *const stops[] = {"hen lig"};
    struct text text = {.n = 0};
    feed_prompt();
    const hearth_result result = generate(&text, 24, stops, 1);
    cr_expect_eq(result.stop, HEARTH_STOP_STRING);
    cr_expect(text.n >= 4 && strcmp(text.bytes + text.n - 4, "kitc") == 0, "showed '%s'", text.bytes);
}

Test(session, special_tokens_show_when_asked_for, .init = open_all, .fini = close_all)
{
    struct text text = {.n = 0};
    hearth_generation g = {.struct_size = sizeof g, .max_tokens = 24, .text = collect, .text_user = &text, .keep_special = true};
    feed_prompt();
    cr_assert_eq(hearth_generate(session, &g, NULL, &err), HEARTH_OK);
    cr_expect(text.n > 7 && strcmp(text.bytes + text.n - 7, "<|end|>") == 0, "showed '%s'", text.bytes);
    text.n = 0;
    g.struct_size = offsetof(hearth_generation, keep_special); /* the first version had no such field */
    feed_prompt();
    cr_assert_eq(hearth_generate(session, &g, NULL, &err), HEARTH_OK);
    cr_expect_null(strchr(text.bytes, '<'), "showed '%s'", text.bytes);
    g.struct_size--;
    cr_expect_eq(hearth_generate(session, &g, NULL, &err), HEARTH_E_CONFIG);
}

Test(session, an_answer_without_an_end_fills_the_context, .init = open_all, .fini = close_all)
{
    struct text text = {.n = 0};
    hearth_sampling s;
    hearth_sampling_init(&s, sizeof s);
    s.temperature = 0;
    s.ignore_end = true;
    cr_assert_eq(hearth_session_set_sampling(session, &s, &err), HEARTH_OK);
    feed_prompt();
    const uint32_t room = hearth_session_context(session) - hearth_session_position(session);
    const hearth_result result = generate(&text, UINT32_MAX, NULL, 0);
    cr_expect_eq(result.stop, HEARTH_STOP_CONTEXT);
    cr_expect_eq(result.n_generated, room + 1);
}

Test(session, length_and_callback_stop, .init = open_all, .fini = close_all)
{
    struct text text = {.n = 0};
    feed_prompt();
    hearth_result result = generate(&text, 3, NULL, 0);
    cr_expect(result.stop == HEARTH_STOP_LENGTH && result.n_generated == 3);
    feed_prompt();
    text = (struct text){.stop_after = 2};
    result = generate(&text, 24, NULL, 0);
    cr_expect(result.stop == HEARTH_STOP_CALLBACK && text.calls == 2);
}

Test(session, an_answer_in_pieces_is_the_answer_in_one, .init = open_all, .fini = close_all)
{
    struct text whole = {.n = 0};
    struct text pieces = {.n = 0};
    feed_prompt();
    (void)generate(&whole, 8, NULL, 0);
    feed_prompt();
    (void)generate(&pieces, 3, NULL, 0);
    pieces.calls = 0;
    pieces.stop_after = 2;
    (void)generate(&pieces, 5, NULL, 0);
    pieces.stop_after = 0;
    (void)generate(&pieces, 3, NULL, 0);
    cr_expect_str_eq(pieces.bytes, whole.bytes);
    const int32_t id = 5;
    const uint32_t before = hearth_session_position(session);
    cr_expect_eq(hearth_session_feed(session, &id, 1, &err), HEARTH_OK);
    cr_expect_eq(hearth_session_position(session), before + 2, "the token still owed and the one fed");
}

static void open_small(void)
{
    open_with(32, 8);
}

Test(session, a_full_context_ends_the_answer, .init = open_small, .fini = close_all)
{
    static const int32_t ids[30] = {1, 2, 3};
    struct text text = {.n = 0};
    cr_assert_eq(hearth_session_feed(session, ids, 30, &err), HEARTH_OK);
    const hearth_result result = generate(&text, 24, NULL, 0);
    cr_expect(result.stop == HEARTH_STOP_CONTEXT || result.stop == HEARTH_STOP_END);
    cr_expect(hearth_session_position(session) <= 32);
}

Test(session, too_long_a_prompt_is_refused_whole, .init = open_small, .fini = close_all)
{
    static const int32_t ids[33] = {0};
    cr_expect_eq(hearth_session_feed(session, ids, 33, &err), HEARTH_E_CONTEXT_FULL);
    cr_expect(err.needed == 33 && err.available == 32, "needed %lu, available %lu", err.needed, err.available);
    cr_expect_eq(hearth_session_position(session), 0);
    cr_expect_eq(hearth_session_feed(session, ids, 32, &err), HEARTH_OK);
    cr_expect_eq(hearth_session_feed(session, ids, 1, &err), HEARTH_E_CONTEXT_FULL);
    hearth_session_reset(session);
    char words[2000];
    memset(words, 'z', sizeof words);
    size_t n = 0;
    cr_expect_eq(hearth_session_feed_text(session, words, sizeof words, FLAGS, &n, &err), HEARTH_E_CONTEXT_FULL);
    cr_expect(n > 32 && err.needed == n);
    hearth_estimate estimate = {.struct_size = sizeof estimate};
    cr_expect_eq(hearth_session_estimate(session, words, sizeof words, FLAGS, 10, &estimate, &err), HEARTH_OK);
    cr_expect(estimate.n_prompt == n && estimate.n_needed == n + 10 && !estimate.fits);
}

Test(session, bad_arguments_are_refused_and_do_no_harm, .init = open_all, .fini = close_all)
{
    const int32_t beyond = (int32_t)hearth_model_vocabulary_size(model);
    const int32_t negative = -1;
    int32_t id;
    cr_expect_eq(hearth_session_sample(session, &id, &err), HEARTH_E_CONFIG);
    cr_expect_null(hearth_session_logits(session, 0));
    cr_expect_eq(hearth_session_feed(session, &beyond, 1, &err), HEARTH_E_CONFIG);
    cr_expect_eq(hearth_session_feed(session, &negative, 1, &err), HEARTH_E_CONFIG);
    cr_expect_eq(hearth_session_feed(session, &negative, 0, &err), HEARTH_E_CONFIG);
    hearth_sampling bad;
    hearth_sampling_init(&bad, sizeof bad);
    bad.temperature = NAN;
    cr_expect_eq(hearth_session_set_sampling(session, &bad, &err), HEARTH_E_CONFIG);
    hearth_session *other = NULL;
    const hearth_limits wrong_cache = {.struct_size = sizeof wrong_cache, .kv_type = 9};
    cr_expect_eq(hearth_session_open(&other, model, &wrong_cache, &err), HEARTH_E_CONFIG);
    const hearth_limits old_struct = {.struct_size = 4};
    cr_expect_eq(hearth_session_open(&other, model, &old_struct, &err), HEARTH_E_CONFIG);
    cr_expect_null(other);
    feed_prompt();
    cr_expect_null(hearth_session_logits(session, 1));
    cr_expect_eq(hearth_session_sample(session, &id, &err), HEARTH_OK);
}

Test(session, two_sessions_share_a_model, .init = open_all, .fini = close_all)
{
    hearth_session *other;
    cr_assert_eq(hearth_session_open(&other, model, NULL, &err), HEARTH_OK, "%s", err.message);
    feed_prompt();
    const int32_t id = 5;
    cr_assert_eq(hearth_session_feed(other, &id, 1, &err), HEARTH_OK);
    struct text text = {.n = 0};
    (void)generate(&text, 24, NULL, 0);
    cr_expect(strstr(text.bytes, "kitchen light"), "answered '%s'", text.bytes);
    hearth_session_close(other);
}

Test(session, a_small_cap_is_refused_with_figures_and_advice)
{
    char path[GOLDEN_PATH];
    golden_source(path, "models/hearth-home.Q4_K_M.gguf");
    const hearth_engine_options options = {.struct_size = sizeof options, .threads = 1, .ram_cap = 12u << 20};
    const hearth_limits limits = {.struct_size = sizeof limits, .context = 8192};
    cr_assert_eq(hearth_engine_open(&engine, &options, &err), HEARTH_OK, "%s", err.message);
    cr_expect_eq(hearth_model_open(&model, engine, path, &limits, NULL, &err), HEARTH_E_MEMORY);
    cr_expect_null(model);
    cr_expect(err.needed > (12u << 20) && err.available == 12u << 20);
    cr_expect(strstr(err.message, "-c "), "%s", err.message);
    hearth_engine_close(engine);
}

Test(session, a_child_is_told_that_it_forked, .init = open_all, .fini = close_all)
{
    feed_prompt();
    const pid_t child = fork();
    if (child == 0) {
        int32_t id;
        const bool told = hearth_session_sample(session, &id, &err) == HEARTH_E_FORKED &&
                          hearth_session_feed(session, &id, 1, &err) == HEARTH_E_FORKED;
        _exit(told ? 0 : 1);
    }
    int state;
    cr_assert(waitpid(child, &state, 0) == child);
    cr_expect(WIFEXITED(state) && WEXITSTATUS(state) == 0);
}

/* Several sessions of one model from several threads give what each would give alone. */
struct job {
    hearth_session *session;
    struct text text;
    bool done;
};

static void *answer(void *context)
{
    struct job *j = context;
    hearth_error error;
    hearth_sampling greedy;
    hearth_sampling_init(&greedy, sizeof greedy);
    greedy.temperature = 0;
    const hearth_generation g = {.struct_size = sizeof g, .max_tokens = 24, .text = collect, .text_user = &j->text};
    hearth_result result = {.struct_size = sizeof result};
    j->done = hearth_session_set_sampling(j->session, &greedy, &error) == HEARTH_OK &&
              hearth_session_feed_text(j->session, PROMPT, strlen(PROMPT), FLAGS, NULL, &error) == HEARTH_OK &&
              hearth_generate(j->session, &g, &result, &error) == HEARTH_OK;
    return NULL;
}

Test(session, sessions_run_from_several_threads, .init = open_all, .fini = close_all)
{
    struct job *jobs = calloc(3, sizeof *jobs);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        cr_assert_eq(hearth_session_open(&jobs[i].session, model, NULL, &err), HEARTH_OK);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, answer, &jobs[i]), 0);
    for (int i = 0; i < 3; i++)
        (void)pthread_join(threads[i], NULL);
    for (int i = 0; i < 3; i++) {
        cr_expect(jobs[i].done && strstr(jobs[i].text.bytes, "kitchen light"), "thread %d: '%s'", i, jobs[i].text.bytes);
        hearth_session_close(jobs[i].session);
    }
    free(jobs);
}
