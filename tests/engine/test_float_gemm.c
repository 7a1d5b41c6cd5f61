/* float_gemm: prompts of models with float weights by OpenBLAS. Close to our own kernels, said aloud, in the plan, and refused
 * where it cannot be had. */
#include "engine.h"
#include "plan.h"
#include "shapes.h"
#include "synthetic.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

enum { N_VOCAB = 512, PROMPT = 150 };

static const struct hearth_shape shape = {.name = "small",
                                          .n_layer = 2,
                                          .n_embd = 192,
                                          .n_ff = 320,
                                          .n_head = 6,
                                          .n_head_kv = 3,
                                          .head_dim = 32,
                                          .n_rot = 32,
                                          .n_vocab = N_VOCAB,
                                          .n_ctx_train = 512,
                                          .rope_freq_base = 10000.0f};

static bool open_engine(hearth_engine **out, int32_t float_gemm)
{
    const hearth_engine_options options = {.struct_size = sizeof options, .threads = 3, .float_gemm = float_gemm};
    hearth_error err = {0};
    const hearth_status status = hearth_engine_open(out, &options, &err);
    if (status == HEARTH_E_UNSUPPORTED) {
        cr_expect_str_eq(err.detail, "E_BLAS");
        cr_expect_null(*out);
        cr_skip_test("SKIPPED: %s", err.message);
    }
    cr_assert_eq(status, HEARTH_OK, "%s", err.message);
    return true;
}

static void logits_of(float out[N_VOCAB], int32_t float_gemm, const char *recipe)
{
    hearth_engine *engine;
    hearth_model *model;
    hearth_session *session;
    struct hearth_synthetic synthetic;
    hearth_error err = {0};
    int32_t ids[PROMPT];
    for (int32_t i = 0; i < PROMPT; i++)
        ids[i] = i * 37 % N_VOCAB;
    const hearth_limits limits = {.struct_size = sizeof limits, .context = 256, .batch = 256};
    open_engine(&engine, float_gemm);
    cr_assert_eq(hearth_synthetic_open(&synthetic, &shape, recipe, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_model_open_source(&model, engine, &synthetic.source, &limits, NULL, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_session_open(&session, model, &limits, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_session_feed(session, ids, PROMPT, &err), HEARTH_OK, "%s", err.message);
    memcpy(out, session->buffers.logits, N_VOCAB * sizeof *out);
    hearth_session_close(session);
    hearth_model_close(model);
    hearth_synthetic_close(&synthetic);
    hearth_engine_close(engine);
}

Test(float_gemm, results_are_close_to_our_own)
{
    static const char *const recipes[] = {"F32", "F16", "BF16"};
    for (size_t i = 0; i < sizeof recipes / sizeof recipes[0]; i++) {
        float own[N_VOCAB];
        float by_blas[N_VOCAB];
        float again[N_VOCAB];
        logits_of(by_blas, HEARTH_FLOAT_GEMM_BLAS, recipes[i]);
        logits_of(own, HEARTH_FLOAT_GEMM_OWN, recipes[i]);
        logits_of(again, HEARTH_FLOAT_GEMM_BLAS, recipes[i]);
        double greatest = 0;
        double difference = 0;
        for (size_t r = 0; r < N_VOCAB; r++) {
            greatest = fmax(greatest, fabs((double)own[r]));
            difference = fmax(difference, fabs((double)own[r] - (double)by_blas[r]));
        }
        cr_expect_gt(greatest, 0.0);
        cr_expect_lt(difference, 1e-3 * greatest, "%s: %g of %g", recipes[i], difference, greatest);
        cr_expect_gt(difference, 0.0, "%s: not one bit differs: was it used?", recipes[i]);
        cr_expect_arr_eq(by_blas, again, sizeof again, "%s: pieces of work were mixed up", recipes[i]);
    }
}

Test(float_gemm, is_told_and_planned)
{
    hearth_engine *engine;
    hearth_plan *plan;
    struct hearth_synthetic synthetic;
    uint64_t scratch[2];
    open_engine(&engine, HEARTH_FLOAT_GEMM_BLAS);
    cr_expect_not_null(strstr(hearth_engine_summary(engine), "outside the bit contract"));
    cr_expect_gt(strlen(engine->blas.version), (size_t)0);
    cr_assert_eq(hearth_synthetic_open(&synthetic, &shape, "F16", NULL), HEARTH_OK);
    cr_assert_eq(hearth_plan_open_source(&plan, engine, &synthetic.source, NULL, NULL), HEARTH_OK);
    cr_expect_eq(hearth_plan_line_count(plan), (size_t)HEARTH_PLAN_ITEM_COUNT);
    cr_expect_str_eq(hearth_plan_line_name(plan, HEARTH_PLAN_BLAS), "OpenBLAS");
    cr_expect_eq(hearth_plan_line_bytes(plan, HEARTH_PLAN_BLAS), HEARTH_BLAS_BYTES + 3 * HEARTH_BLAS_WORKER_BYTES);
    scratch[1] = hearth_plan_line_bytes(plan, HEARTH_PLAN_SCRATCH);
    hearth_plan_close(plan);
    hearth_engine_close(engine);
    open_engine(&engine, HEARTH_FLOAT_GEMM_OWN);
    cr_expect_null(strstr(hearth_engine_summary(engine), "OpenBLAS"));
    cr_assert_eq(hearth_plan_open_source(&plan, engine, &synthetic.source, NULL, NULL), HEARTH_OK);
    cr_expect_null(hearth_plan_line_name(plan, HEARTH_PLAN_BLAS));
    scratch[0] = hearth_plan_line_bytes(plan, HEARTH_PLAN_SCRATCH);
    cr_expect_gt(scratch[1], scratch[0], "the panel is in the plan");
    hearth_plan_close(plan);
    hearth_synthetic_close(&synthetic);
    hearth_engine_close(engine);
}

Test(float_gemm, options_of_the_first_version_are_taken)
{
    hearth_engine *engine = NULL;
    hearth_engine_options options = {.struct_size = offsetof(hearth_engine_options, float_gemm), .threads = 1, .float_gemm = 77};
    cr_assert_eq(hearth_engine_open(&engine, &options, NULL), HEARTH_OK, "what lies behind struct_size was read");
    hearth_engine_close(engine);
    options.struct_size = sizeof options;
    cr_expect_eq(hearth_engine_open(&engine, &options, NULL), HEARTH_E_CONFIG);
    cr_expect_null(engine);
}
