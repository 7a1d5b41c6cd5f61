/* The product kernels one by one; see bench_kernels.h. Each worker runs over its share of one large matrix, as in the forward pass.
 */
#include "bench_kernels.h"
#include "common/status.h"
#include "engine.h"
#include "prefetch.h"
#include "probe.h"
#include "share.h"
#include "synthetic.h"

#define K 4096u
#define REPEATS 5
#define SUMMANDS 12u
#define FEW_TOKENS 16u                            /* up to so many the weights are the work, and all of them are read */
#define FILE_ROWS_BYTES (16u * K * sizeof(float)) /* the widest tile */

struct job {
    const struct hearth_kernel_set *kernels;
    const struct hearth_kernel *kernel;
    uint8_t *weights, *rows, *file_rows;
    float *outputs;
    size_t stride;
    uint32_t n_rows, n_tokens, most_tokens;
    size_t prefetch_bytes;
};

/* One tile of made-up weights, packed and copied over the worker's share. */
static void prepare_weights(void *context, uint32_t worker, uint32_t workers)
{
    const struct job *j = context;
    const struct hearth_range mine = hearth_share_rows(j->n_rows, worker, workers);
    const size_t tile_rows = j->kernel->matmul.tile_rows;
    const size_t tile_bytes = j->kernel->matmul.tile_bytes(K);
    uint8_t *first = j->weights + mine.begin / tile_rows * tile_bytes;
    if (mine.begin == mine.end)
        return;
    hearth_pack_fn *pack = j->kernel->matmul.pack;
    pack(first, j->file_rows, tile_rows, K);
    for (size_t r = tile_rows; r < mine.end - mine.begin; r += tile_rows)
        memcpy(first + r / tile_rows * tile_bytes, first, tile_bytes);
}

/* A token's activations, bell-shaped as those of models: the largest of some hundred numbers lies far above most, so that their
 * codes are small, and kernels take the ways that they have for such. */
static void fill_token(float x[K], uint32_t token)
{
    memset(x, 0, K * sizeof *x);
    for (uint32_t i = 0; i < SUMMANDS * K; i++) {
        float part;
        hearth_synthetic_fill(HEARTH_F32, (uint8_t *)&part, sizeof part, ((uint64_t)token * SUMMANDS * K + i) * sizeof part, false);
        x[i % K] += part;
    }
}

/* Activations as the kernel's format takes them. */
static void prepare_tokens(void *context, uint32_t worker, uint32_t workers)
{
    const struct job *j = context;
    float x[K];
    const enum hearth_activation kind = hearth_format_info(j->kernel->format)->activation;
    for (uint32_t t = worker; t < j->n_tokens; t += workers) {
        fill_token(x, t);
        uint8_t *to = j->rows + t * hearth_activation_step(kind, j->stride);
        if (kind == HEARTH_ACTIVATION_F32)
            memcpy(to, x, sizeof x);
        else
            (void)j->kernels->chosen[kind == HEARTH_ACTIVATION_Q8_32 ? HEARTH_OP_QUANTIZE_Q8_32 : HEARTH_OP_QUANTIZE_Q8_256][0]
                ->quantize(to, j->stride, x, 0, K);
    }
}

static void run(void *context, uint32_t worker, uint32_t workers)
{
    const struct job *j = context;
    const struct hearth_range mine = hearth_share_rows(j->n_rows, worker, workers);
    if (mine.begin == mine.end)
        return;
    j->kernel->matmul.run(j->outputs + mine.begin, j->n_rows,
                          j->weights + mine.begin / j->kernel->matmul.tile_rows * j->kernel->matmul.tile_bytes(K), j->rows,
                          j->stride, mine.end - mine.begin, K, j->n_tokens, j->prefetch_bytes);
}

static double time_job(hearth_engine *engine, struct job *j)
{
    double seconds[REPEATS];
    hearth_pool_run(engine->pool, run, j);
    for (int i = 0; i < REPEATS; i++) {
        const double begin = hearth_seconds();
        hearth_pool_run(engine->pool, run, j);
        seconds[i] = hearth_seconds() - begin;
    }
    return hearth_median(seconds, REPEATS);
}

/* In the way of prefetch that is the fastest, as a model finds it; many tokens do not care. */
static double time_ways(hearth_engine *engine, struct job *j)
{
    double fastest = 0.0;
    for (uint32_t i = 0; i < (j->n_tokens <= HEARTH_PREFETCH_TOKENS ? HEARTH_PREFETCH_WAYS : 1); i++) {
        j->prefetch_bytes = hearth_prefetch_way(i);
        const double seconds = time_job(engine, j);
        fastest = i == 0 || seconds < fastest ? seconds : fastest;
    }
    return fastest;
}

static void time_kernel(hearth_engine *engine, struct job *j, const struct hearth_kernel_options *o)
{
    const size_t tile_rows = j->kernel->matmul.tile_rows;
    const size_t tile_bytes = j->kernel->matmul.tile_bytes(K);
    const uint32_t most_rows = (uint32_t)(o->bytes / tile_bytes * tile_rows);
    j->n_rows = most_rows;
    hearth_synthetic_fill(j->kernel->format, j->file_rows, tile_rows * hearth_row_bytes(j->kernel->format, K), 0, false);
    hearth_pool_run(engine->pool, prepare_weights, j);
    for (size_t i = 0; i < o->n_tokens; i++) {
        j->n_tokens = o->tokens[i];
        j->stride = hearth_activation_stride(hearth_format_info(j->kernel->format)->activation, K, j->n_tokens);
        j->n_rows = j->n_tokens <= FEW_TOKENS ? most_rows : most_rows / 8; /* outputs need room, and products take time */
        hearth_pool_run(engine->pool, prepare_tokens, j);
        const double seconds = time_ways(engine, j);
        const struct hearth_kernel_timing timing = {.kernel = j->kernel->name,
                                                    .n_tokens = j->n_tokens,
                                                    .macs_per_second = (double)j->n_rows * K * j->n_tokens / seconds,
                                                    .bytes_per_second = (double)(j->n_rows / tile_rows * tile_bytes) / seconds};
        o->row(&timing, o->user);
    }
}

/* The chosen kernel of a format, unless it is the plain one of a CPU that has better, or the filter leaves it out. */
static const struct hearth_kernel *kernel_of(const struct hearth_kernel_set *set, uint32_t format, const char *filter)
{
    const struct hearth_kernel *k = set->chosen[HEARTH_OP_MATMUL][format];
    if (!k || (k->level == HEARTH_CPU_REFERENCE && set->level != HEARTH_CPU_REFERENCE))
        return NULL;
    return filter && !strstr(k->name, filter) ? NULL : k;
}

static hearth_status check(const struct hearth_kernel_set *set, const struct hearth_kernel_options *o, hearth_error *err)
{
    char quoted[HEARTH_QUOTE_MAX];
    for (uint32_t format = 0; format < HEARTH_FORMAT_COUNT; format++)
        if (kernel_of(set, format, o->filter))
            return HEARTH_OK;
    return hearth_fail(err, HEARTH_E_CONFIG, NULL, "bench: no product kernel of this level has '%s' in its name",
                       o->filter ? hearth_quote(quoted, o->filter, strlen(o->filter)) : "");
}

hearth_status hearth_bench_kernels(hearth_engine *engine, const struct hearth_kernel_options *o, double *read, double *dot,
                                   hearth_error *err)
{
    HEARTH_TRY(check(&engine->kernels, o, err));
    struct hearth_arena counting = {0};
    struct hearth_arena arena;
    uint32_t most = 1;
    for (size_t i = 0; i < o->n_tokens; i++)
        most = o->tokens[i] > most ? o->tokens[i] : most;
    const uint64_t row_bytes = most * hearth_activation_bytes(HEARTH_ACTIVATION_F32, K);
    /* The smallest rows are those of 2-bit types, about K / 3 bytes; outputs are [FEW_TOKENS][rows] or [tokens][rows / 8]. */
    const uint64_t output_bytes = o->bytes / (K / 4) * (most / 8 > FEW_TOKENS ? most / 8 + 1 : FEW_TOKENS) * sizeof(float);
    (void)hearth_arena_take(&counting, HEARTH_PLAN_SCRATCH, o->bytes, 1);
    (void)hearth_arena_take(&counting, HEARTH_PLAN_SCRATCH, row_bytes, 1);
    (void)hearth_arena_take(&counting, HEARTH_PLAN_SCRATCH, output_bytes, 1);
    (void)hearth_arena_take(&counting, HEARTH_PLAN_SCRATCH, FILE_ROWS_BYTES, 1);
    HEARTH_TRY(hearth_engine_reserve(engine, &arena, &counting, err));
    struct job j = {.kernels = &engine->kernels,
                    .weights = hearth_arena_take(&arena, HEARTH_PLAN_SCRATCH, o->bytes, 1),
                    .rows = hearth_arena_take(&arena, HEARTH_PLAN_SCRATCH, row_bytes, 1),
                    .outputs = hearth_arena_take(&arena, HEARTH_PLAN_SCRATCH, output_bytes, 1),
                    .file_rows = hearth_arena_take(&arena, HEARTH_PLAN_SCRATCH, FILE_ROWS_BYTES, 1),
                    .most_tokens = most};
    hearth_engine_populate(engine, &arena);
    *read = hearth_probe_read(engine->pool, j.weights, o->bytes, engine->kernels.level);
    *dot = hearth_probe_dot(engine->pool, engine->kernels.level);
    for (uint32_t format = 0; format < HEARTH_FORMAT_COUNT; format++) {
        j.kernel = kernel_of(&engine->kernels, format, o->filter);
        if (j.kernel)
            time_kernel(engine, &j, o);
    }
    hearth_engine_release(engine, &arena);
    return HEARTH_OK;
}
