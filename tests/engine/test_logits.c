/* Logits of whole models: against the golden ones within their tables' bounds, and the same bits at every CPU level, number of
 * threads and prompt chunk (docs/arithmetic.md). */
#include "cpu.h"
#include "golden.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum bound { MAX_DIFFERENCE, NMSE };

struct golden_model {
    const char *name;
    enum bound bound;
    double limit;
};

/* From the table in the golden data's README. */
static const struct golden_model models[] = {
    {"llama", MAX_DIFFERENCE, 1e-4}, {"llama3", MAX_DIFFERENCE, 1e-4}, {"llama-F16", NMSE, 1e-4},    {"llama-BF16", NMSE, 1e-4},
    {"llama-Q4_0", NMSE, 2e-3},      {"llama-Q4_1", NMSE, 2e-3},       {"llama-Q5_0", NMSE, 2e-3},   {"llama-Q5_1", NMSE, 2e-3},
    {"llama-Q8_0", NMSE, 2e-3},      {"llama-Q2_K", NMSE, 2e-3},       {"llama-Q3_K_M", NMSE, 2e-3}, {"llama-Q4_K", NMSE, 2e-3},
    {"llama-Q5_K", NMSE, 2e-3},      {"llama-Q6_K", NMSE, 2e-3},       {"llama-IQ4_NL", NMSE, 2e-3}, {"llama-IQ4_XS", NMSE, 2e-3},
    {"llama-Q4_K_M", NMSE, 2e-3},    {"llama-Q5_K_M", NMSE, 2e-3},     {"wide-Q4_0", NMSE, 2e-3},    {"wide-Q4_K_M", NMSE, 2e-3},
    {"wide-Q5_0", NMSE, 2e-3},       {"wide-Q5_K_M", NMSE, 2e-3},      {"k288-Q4_0", NMSE, 2e-3},    {"k288-Q5_0", NMSE, 2e-3},
    {"k288-Q5_1", NMSE, 2e-3},       {"k288-Q8_0", NMSE, 2e-3},
};
#define N_MODELS (sizeof models / sizeof models[0])

/* The own small set, in every clone. */
static const struct golden_model own_models[] = {
    {"llama-Q4_0", NMSE, 2e-3}, {"llama-Q4_K_M", NMSE, 2e-3}, {"llama-Q5_K_M", NMSE, 2e-3}, {"llama-Q8_0", NMSE, 2e-3}};
#define N_OWN_MODELS (sizeof own_models / sizeof own_models[0])

/* Where a folder of golden files lies; false: not on this machine. */
static bool path_of(char out[GOLDEN_PATH], bool shared, const char *name, const char *suffix)
{
    char relative[256];
    (void)snprintf(relative, sizeof relative, "%s/%s%s", shared ? "ref" : "tests/data", name, suffix);
    if (shared)
        return golden_shared(out, relative);
    golden_source(out, relative);
    return true;
}

static double distance(const float *a, const float *b, size_t n, enum bound bound)
{
    double most = 0;
    double error = 0;
    double power = 0;
    for (size_t i = 0; i < n; i++) {
        const double d = (double)a[i] - (double)b[i];
        most = fabs(d) > most ? fabs(d) : most;
        error += d * d;
        power += (double)b[i] * (double)b[i];
    }
    return bound == NMSE ? error / power : most;
}

/* F32 cache, as the golden logits were made. The last rows are compared when there are fewer golden ones than tokens. */
static void compare(bool shared, const struct golden_model *m, const char *tokens_name, const char *logits_suffix)
{
    char model[GOLDEN_PATH];
    char tokens[GOLDEN_PATH];
    char logits[GOLDEN_PATH];
    if (!path_of(model, shared, m->name, ".gguf"))
        cr_skip_test("SKIPPED: no HEARTH_SHARED");
    (void)path_of(tokens, shared, tokens_name, "");
    (void)path_of(logits, shared, m->name, logits_suffix);
    int32_t ids[GOLDEN_TOKENS_MAX];
    const size_t n = golden_tokens(tokens, ids);
    size_t n_golden;
    size_t n_vocab = 0;
    float *golden = golden_floats(logits, &n_golden);
    cr_assert(n > 0 && golden, "%s or %s cannot be read", tokens, logits);
    const struct golden_run run = {model, NULL, 2, 48, HEARTH_KV_F32};
    float *ours = golden_logits(&run, ids, n, &n_vocab);
    cr_assert(ours && n_golden <= n * n_vocab && n_golden % n_vocab == 0);
    const double d = distance(ours + n * n_vocab - n_golden, golden, n_golden, m->bound);
    cr_expect(d <= m->limit, "%s: %s %.3g, at most %.3g", m->name, m->bound == NMSE ? "NMSE" : "max difference", d, m->limit);
    free(ours);
    free(golden);
}

Test(logits, golden_models_are_within_their_bounds)
{
    for (size_t i = 0; i < N_MODELS; i++)
        compare(true, &models[i], "tokens.txt", ".logits.f32");
}

Test(logits, golden_long_prompt_is_within_its_bound)
{
    compare(true, &models[0], "tokens-long.txt", ".logits-long.f32");
}

Test(logits, own_models_are_within_their_bounds)
{
    for (size_t i = 0; i < N_OWN_MODELS; i++)
        compare(false, &own_models[i], "tokens.txt", ".logits.f32");
}

static void same_bits_everywhere(const char *model, const int32_t *ids, size_t n, int32_t kv_type)
{
    static const uint32_t chunks[] = {1, 7, 48};
    size_t n_vocab = 0;
    const struct golden_run first = {model, "reference", 1, 48, kv_type};
    float *want = golden_logits(&first, ids, n, &n_vocab);
    cr_assert(want);
    for (int level = 0; level <= (int)hearth_cpu_detect(); level++) {
        for (uint32_t threads = 1; threads <= 3; threads++) {
            for (size_t c = 0; c < 3; c++) {
                const struct golden_run run = {model, hearth_cpu_level_name((enum hearth_cpu_level)level), threads, chunks[c],
                                               kv_type};
                float *got = golden_logits(&run, ids, n, &n_vocab);
                cr_assert(got);
                cr_expect(memcmp(got, want, n * n_vocab * sizeof(float)) == 0, "%s: other bits at %s, %u threads, chunks of %u",
                          model, run.level, threads, chunks[c]);
                free(got);
            }
        }
    }
    free(want);
}

Test(logits, own_models_give_the_same_bits_everywhere)
{
    char path[GOLDEN_PATH];
    int32_t ids[GOLDEN_TOKENS_MAX];
    golden_source(path, "tests/data/tokens.txt");
    const size_t n = golden_tokens(path, ids);
    cr_assert(n == 48);
    for (size_t i = 0; i < N_OWN_MODELS; i++) {
        (void)path_of(path, false, own_models[i].name, ".gguf");
        same_bits_everywhere(path, ids, n, HEARTH_KV_F16);
    }
    same_bits_everywhere(path, ids, n, HEARTH_KV_F32);
}

Test(logits, golden_models_give_the_same_bits_everywhere)
{
    char path[GOLDEN_PATH];
    int32_t ids[GOLDEN_TOKENS_MAX];
    if (!golden_shared(path, "ref/tokens.txt"))
        cr_skip_test("SKIPPED: no HEARTH_SHARED");
    const size_t n = golden_tokens(path, ids);
    cr_assert(n == 48);
    for (size_t i = 0; i < N_MODELS; i++) {
        (void)path_of(path, true, models[i].name, ".gguf");
        same_bits_everywhere(path, ids, n, HEARTH_KV_F32);
    }
}

/* 700 positions cross two segment borders of the attention. */
Test(logits, a_long_prompt_gives_the_same_bits_everywhere)
{
    char model[GOLDEN_PATH];
    int32_t ids[GOLDEN_TOKENS_MAX];
    golden_source(model, "tests/data/llama-Q4_K_M.gguf");
    for (size_t i = 0; i < 700; i++)
        ids[i] = (int32_t)(i * 37 % 256);
    static const struct golden_run runs[] = {{NULL, "avx2", 2, 512, HEARTH_KV_F16}, {NULL, "avx2", 3, 129, HEARTH_KV_F16}};
    size_t n_vocab = 0;
    const struct golden_run first = {model, "reference", 2, 256, HEARTH_KV_F16};
    float *want = golden_logits(&first, ids, 700, &n_vocab);
    cr_assert(want);
    for (size_t i = 0; i < 2; i++) {
        struct golden_run run = runs[i];
        run.model = model;
        run.level = hearth_cpu_level_name(i == 0                                  ? hearth_cpu_detect()
                                          : hearth_cpu_detect() < HEARTH_CPU_AVX2 ? HEARTH_CPU_REFERENCE
                                                                                  : HEARTH_CPU_AVX2);
        float *got = golden_logits(&run, ids, 700, &n_vocab);
        cr_assert(got);
        cr_expect(memcmp(got, want, 700 * n_vocab * sizeof(float)) == 0, "other bits at %s, %u threads, chunks of %u", run.level,
                  run.threads, run.chunk);
        free(got);
    }
    free(want);
}
