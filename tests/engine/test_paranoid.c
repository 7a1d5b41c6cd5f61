/* Tokens that are computed twice: the answer is the same as without, and a bit that flips between the two is found. */
#include "engine.h"
#include "golden.h"
#include <criterion/criterion.h>
#include <string.h>

#define PROMPT "<|user|>\nTurn on the kitchen light.<|end|>\n<|assistant|>\n"
#define FLAGS (HEARTH_TOKENIZE_BOS | HEARTH_TOKENIZE_SPECIAL)
#define N_TOKENS 24u

static hearth_engine *engine;
static hearth_model *model;
static hearth_session *session;
static hearth_error err;

static void open_with(uint32_t threads)
{
    char path[GOLDEN_PATH];
    golden_source(path, "models/hearth-home.Q4_K_M.gguf");
    const hearth_engine_options options = {.struct_size = sizeof options, .threads = threads};
    const hearth_limits limits = {.struct_size = sizeof limits, .context = 256};
    cr_assert_eq(hearth_engine_open(&engine, &options, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_model_open(&model, engine, path, &limits, NULL, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_session_open(&session, model, &limits, &err), HEARTH_OK, "%s", err.message);
}

static void close_all(void)
{
    hearth_session_close(session);
    hearth_model_close(model);
    hearth_engine_close(engine);
}

static hearth_status answer(int32_t ids[N_TOKENS], uint32_t every, uint32_t *n, uint32_t *n_checked)
{
    hearth_result result = {.struct_size = sizeof result};
    const hearth_generation g = {.struct_size = sizeof g,
                                 .max_tokens = N_TOKENS,
                                 .ids = ids,
                                 .ids_capacity = N_TOKENS,
                                 .keep_special = true,
                                 .paranoid_every = every,
                                 .n_checked = n_checked};
    hearth_session_reset(session);
    cr_assert_eq(hearth_session_feed_text(session, PROMPT, strlen(PROMPT), FLAGS, NULL, &err), HEARTH_OK, "%s", err.message);
    const hearth_status status = hearth_generate(session, &g, &result, &err);
    *n = result.n_generated;
    return status;
}

Test(paranoid, the_answer_is_the_same_for_every_number_of_threads)
{
    for (uint32_t threads = 1; threads <= 4; threads++) {
        int32_t without[N_TOKENS] = {0}, with[N_TOKENS] = {0};
        uint32_t n_without, n_with, n_checked;
        open_with(threads);
        cr_assert_eq(answer(without, 0, &n_without, &n_checked), HEARTH_OK, "%s", err.message);
        cr_expect_eq(n_checked, 0);
        cr_assert_gt(n_without, 6);
        for (uint32_t every = 1; every < 4; every++) {
            cr_assert_eq(answer(with, every, &n_with, &n_checked), HEARTH_OK, "%s", err.message);
            cr_expect_eq(n_with, n_without);
            cr_expect_arr_eq(with, without, sizeof with);
            cr_expect_eq(n_checked, (n_without - 1) / every, "the last token is not computed");
        }
        close_all();
    }
}

/* Asked before each pass, on the thread that calls: a second pass at one position is the one that checks. */
static struct flip {
    uint32_t position, at;
    uint64_t steps;
    bool done;
} flip;

static bool flip_between(void *user)
{
    (void)user;
    if (session->position != flip.position) {
        flip.position = session->position;
        flip.steps = session->buffers.steps;
    } else if (session->position >= flip.at && session->buffers.steps != flip.steps && !flip.done) {
        for (size_t i = 0; i < 256; i += 2)
            ((uint8_t *)session->cache.values)[i] ^= 0x80; /* of the first positions; last bits would vanish in rounding */
        flip.done = true;
    }
    return false;
}

Test(paranoid, a_bit_that_flips_is_found)
{
    for (uint32_t threads = 1; threads <= 3; threads++) {
        int32_t ids[N_TOKENS];
        uint32_t n, n_checked;
        char where[40];
        open_with(threads);
        session->interrupt.should_stop = flip_between;
        hearth_session_reset(session);
        cr_assert_eq(hearth_session_feed_text(session, PROMPT, strlen(PROMPT), FLAGS, NULL, &err), HEARTH_OK, "%s", err.message);
        flip = (struct flip){.at = session->position + 3};
        cr_expect_eq(answer(ids, 1, &n, &n_checked), HEARTH_E_INFERENCE);
        cr_expect(flip.done);
        cr_expect_eq(n_checked, 3);
        (void)snprintf(where, sizeof where, "token %u: logits differ", flip.at);
        cr_expect_not_null(strstr(err.message, where), "%s", err.message);
        cr_expect_null(hearth_session_logits(session, 0), "it cannot go on");
        close_all();
    }
}
