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

/* From the table in the golden data's README; phi2's and gemma's were made with a GELU from a table of half floats. */
static const struct golden_model models[] = {
    {"llama", MAX_DIFFERENCE, 1e-4},  {"llama3", MAX_DIFFERENCE, 1e-4},  {"llama-F16", NMSE, 1e-4},
    {"llama-BF16", NMSE, 1e-4},       {"llama-Q4_0", NMSE, 2e-3},        {"llama-Q4_1", NMSE, 2e-3},
    {"llama-Q5_0", NMSE, 2e-3},       {"llama-Q5_1", NMSE, 2e-3},        {"llama-Q8_0", NMSE, 2e-3},
    {"llama-Q2_K", NMSE, 2e-3},       {"llama-Q3_K_M", NMSE, 2e-3},      {"llama-Q4_K", NMSE, 2e-3},
    {"llama-Q5_K", NMSE, 2e-3},       {"llama-Q6_K", NMSE, 2e-3},        {"llama-IQ4_NL", NMSE, 2e-3},
    {"llama-IQ4_XS", NMSE, 2e-3},     {"llama-Q4_K_M", NMSE, 2e-3},      {"llama-Q5_K_M", NMSE, 2e-3},
    {"wide-Q4_0", NMSE, 2e-3},        {"wide-Q4_K_M", NMSE, 2e-3},       {"wide-Q5_0", NMSE, 2e-3},
    {"wide-Q5_K_M", NMSE, 2e-3},      {"k288-Q4_0", NMSE, 2e-3},         {"k288-Q5_0", NMSE, 2e-3},
    {"k288-Q5_1", NMSE, 2e-3},        {"k288-Q8_0", NMSE, 2e-3},         {"phi2", MAX_DIFFERENCE, 5e-3},
    {"phi2-Q4_K_M", NMSE, 2e-3},      {"phi2-Q5_K_M", NMSE, 2e-3},       {"hd80-Q4_0", NMSE, 2e-3},
    {"hd80-Q8_0", NMSE, 2e-3},        {"gemma", MAX_DIFFERENCE, 5e-3},   {"gemma2", MAX_DIFFERENCE, 5e-3},
    {"gemma3", MAX_DIFFERENCE, 5e-3}, {"phi3", MAX_DIFFERENCE, 1e-4},    {"qwen2", MAX_DIFFERENCE, 1e-4},
    {"qwen3", MAX_DIFFERENCE, 1e-4},  {"mixtral", MAX_DIFFERENCE, 1e-4}, {"qwen3moe", MAX_DIFFERENCE, 1e-4},
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
    hearth_engine *engine = golden_engine(NULL, 2);
    cr_assert(engine);
    float *ours = golden_logits(engine, model, 48, HEARTH_KV_F32, ids, n, &n_vocab);
    hearth_engine_close(engine);
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

/* The wanted logits come from the reference kernels, one thread, one chunk. */
static void same_bits_everywhere(bool shared, const struct golden_model *set, size_t n_models, int32_t kv_type)
{
    static const uint32_t chunks[] = {1, 7, 48};
    char path[GOLDEN_PATH];
    int32_t ids[GOLDEN_TOKENS_MAX];
    float *want[N_MODELS];
    size_t n_vocab = 0;
    (void)path_of(path, shared, "tokens", ".txt");
    const size_t n = golden_tokens(path, ids);
    cr_assert(n == 48);
    hearth_engine *engine = golden_engine("reference", 1);
    cr_assert(engine);
    for (size_t i = 0; i < n_models; i++) {
        (void)path_of(path, shared, set[i].name, ".gguf");
        cr_assert(want[i] = golden_logits(engine, path, 48, kv_type, ids, n, &n_vocab));
    }
    hearth_engine_close(engine);
    for (int level = 0; level < HEARTH_CPU_LEVEL_COUNT; level++) {
        if (!hearth_cpu_runs((enum hearth_cpu_level)level))
            continue;
        for (uint32_t threads = 1; threads <= 3; threads++) {
            engine = golden_engine(hearth_cpu_level_name((enum hearth_cpu_level)level), threads);
            cr_assert(engine);
            for (size_t i = 0; i < n_models; i++) {
                (void)path_of(path, shared, set[i].name, ".gguf");
                for (size_t c = 0; c < 3; c++) {
                    float *got = golden_logits(engine, path, chunks[c], kv_type, ids, n, &n_vocab);
                    cr_assert(got);
                    cr_expect(memcmp(got, want[i], n * n_vocab * sizeof(float)) == 0,
                              "%s: other bits at %s, %u threads, chunks of %u", path, hearth_engine_cpu_level(engine), threads,
                              chunks[c]);
                    free(got);
                }
            }
            hearth_engine_close(engine);
        }
    }
    for (size_t i = 0; i < n_models; i++)
        free(want[i]);
}

Test(logits, own_models_give_the_same_bits_everywhere)
{
    same_bits_everywhere(false, own_models, N_OWN_MODELS, HEARTH_KV_F16);
    same_bits_everywhere(false, own_models, 1, HEARTH_KV_F32);
    same_bits_everywhere(false, own_models, 1, HEARTH_KV_Q8_0);
}

Test(logits, golden_models_give_the_same_bits_everywhere)
{
    char path[GOLDEN_PATH];
    if (!golden_shared(path, "ref"))
        cr_skip_test("SKIPPED: no HEARTH_SHARED");
    same_bits_everywhere(true, models, N_MODELS, HEARTH_KV_F32);
}

/* 700 positions cross two segment borders of the attention; a few of them one at a time, by segments, as in an answer. */
static void same_bits_of_a_long_prompt(const char *model, int32_t kv_type)
{
    static const struct {
        const char *level; /* NULL: the best there is */
        uint32_t threads, chunk, n;
    } runs[] = {{"reference", 2, 256, 700}, {NULL, 2, 512, 700}, {NULL, 3, 129, 700}, {"avx2", 1, 300, 700},
                {NULL, 1, 7, 700},          {NULL, 3, 1, 700},   {NULL, 2, 4, 600}};
    int32_t ids[GOLDEN_TOKENS_MAX];
    float *want = NULL;
    for (size_t i = 0; i < 700; i++)
        ids[i] = (int32_t)(i * 37 % 256);
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) {
        const char *best = hearth_cpu_level_name(hearth_cpu_detect());
        size_t n_vocab = 0;
        hearth_engine *engine =
            golden_engine(runs[i].level && hearth_cpu_detect() >= HEARTH_CPU_AVX2 ? runs[i].level : best, runs[i].threads);
        cr_assert(engine);
        float *got = golden_logits(engine, model, runs[i].chunk, kv_type, ids, runs[i].n, &n_vocab);
        hearth_engine_close(engine);
        cr_assert(got);
        if (!want) {
            want = got;
            continue;
        }
        cr_expect(memcmp(got, want, runs[i].n * n_vocab * sizeof(float)) == 0, "%s, kv_type %d: other bits in run %zu", model,
                  (int)kv_type, i);
        free(got);
    }
    free(want);
}

Test(logits, a_long_prompt_gives_the_same_bits_everywhere)
{
    char path[GOLDEN_PATH];
    golden_source(path, "tests/data/llama-Q4_K_M.gguf");
    same_bits_of_a_long_prompt(path, HEARTH_KV_F16);
    same_bits_of_a_long_prompt(path, HEARTH_KV_F32);
    same_bits_of_a_long_prompt(path, HEARTH_KV_Q8_0);
}

/* Windows of 16, whose slots are used again where batches are short, and never where they are long. */
Test(logits, a_long_prompt_through_windows_gives_the_same_bits_everywhere)
{
    char path[GOLDEN_PATH];
    if (!path_of(path, true, "gemma2", ".gguf"))
        cr_skip_test("SKIPPED: no HEARTH_SHARED");
    same_bits_of_a_long_prompt(path, HEARTH_KV_F16);
    (void)path_of(path, true, "gemma3", ".gguf");
    same_bits_of_a_long_prompt(path, HEARTH_KV_Q8_0);
}
