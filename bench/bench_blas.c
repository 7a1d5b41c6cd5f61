/* Products of a prompt by OpenBLAS; see bench_blas.h. Every worker multiplies its own panels, the library runs on the worker's
 * thread alone. */
#include "bench_blas.h"
#include "common/status.h"
#include "probe.h"
#include "share.h"
#include "synthetic.h"

#define PANEL_ROWS 256u
#define REPEATS 3

struct job {
    const struct hearth_blas *blas;
    const struct hearth_kernel_set *kernels;
    const struct hearth_matrix *matrix;
    float *x, *panels, *outputs; /* [n_tokens][widest]; for each worker [PANEL_ROWS + 1][widest] and [n_tokens][PANEL_ROWS] */
    size_t panel_floats;
    uint32_t n_tokens;
    bool dequantize;
};

static void fill_panel(const struct job *j, float *panel, uint32_t first, uint32_t n)
{
    const struct hearth_matrix *m = j->matrix;
    const uint32_t tile_rows = (uint32_t)m->kernel->matmul.tile_rows;
    uint8_t *file_row = (uint8_t *)(panel + (size_t)PANEL_ROWS * m->k);
    for (uint32_t r = first; r < first + n; r++) {
        m->kernel->matmul.unpack(file_row, m->packed + (uint64_t)(r / tile_rows) * m->kernel->matmul.tile_bytes(m->k),
                                 r % tile_rows, m->k);
        j->kernels->chosen[HEARTH_OP_DEQUANTIZE][m->format]->dequantize(panel + (size_t)(r - first) * m->k, file_row, m->k);
    }
}

static void multiply(void *context, uint32_t worker, uint32_t workers)
{
    const struct job *j = context;
    const struct hearth_matrix *m = j->matrix;
    float *panel = j->panels + worker * j->panel_floats;
    float *out = j->outputs + (size_t)worker * j->n_tokens * PANEL_ROWS;
    const struct hearth_range mine = hearth_share_rows(m->rows, worker, workers);
    for (uint32_t r = mine.begin; r < mine.end; r += PANEL_ROWS) {
        const uint32_t n = mine.end - r < PANEL_ROWS ? mine.end - r : PANEL_ROWS;
        if (j->dequantize)
            fill_panel(j, panel, r, n);
        hearth_blas_multiply(j->blas, out, PANEL_ROWS, panel, j->x, m->k, n, m->k, j->n_tokens);
    }
}

static double seconds_of(struct hearth_engine *engine, struct job *j, bool dequantize)
{
    double seconds[REPEATS];
    j->dequantize = dequantize;
    hearth_pool_run(engine->pool, multiply, j);
    for (int i = 0; i < REPEATS; i++) {
        const double begin = hearth_seconds();
        hearth_pool_run(engine->pool, multiply, j);
        seconds[i] = hearth_seconds() - begin;
    }
    return hearth_median(seconds, REPEATS);
}

static bool is_timed(const struct hearth_description *d, struct hearth_weight w)
{
    return w.matrix && w.matrix->rows && w.matrix != &d->output;
}

static bool same_kind(const struct hearth_matrix *a, const struct hearth_matrix *b)
{
    return a->rows == b->rows && a->k == b->k && a->format == b->format;
}

/* How many matrices are of the kind of number i; 0 when an earlier one is. */
static uint32_t count_kind(struct hearth_description *d, size_t i)
{
    const struct hearth_matrix *m = hearth_weight_at(d, i).matrix;
    uint32_t n = 0;
    for (size_t other = 0; other < hearth_weight_count(d); other++) {
        const struct hearth_weight w = hearth_weight_at(d, other);
        if (!is_timed(d, w) || !same_kind(m, w.matrix))
            continue;
        if (other < i)
            return 0;
        n++;
    }
    return n;
}

static void time_all(struct hearth_blas_rates *out, struct hearth_engine *engine, struct hearth_description *d, struct job *j)
{
    double widened = 0;
    double quantized = 0;
    for (size_t i = 0; i < hearth_weight_count(d); i++) {
        const struct hearth_weight w = hearth_weight_at(d, i);
        const uint32_t n = is_timed(d, w) ? count_kind(d, i) : 0;
        if (n == 0)
            continue;
        j->matrix = w.matrix;
        quantized += n * seconds_of(engine, j, true); /* first, so that the panels hold weights */
        widened += n * seconds_of(engine, j, false);
    }
    out->widened = widened > 0 ? j->n_tokens / widened : 0;
    out->quantized = quantized > 0 ? j->n_tokens / quantized : 0;
}

hearth_status hearth_bench_blas(struct hearth_blas_rates *out, struct hearth_engine *engine, const struct hearth_description *model,
                                uint32_t n_tokens, hearth_error *err)
{
    *out = (struct hearth_blas_rates){0};
    struct hearth_blas blas;
    if (n_tokens == 0 || hearth_blas_open(&blas, NULL) != HEARTH_OK)
        return HEARTH_OK;
    struct hearth_description description = *model; /* hearth_weight_at() takes one that may be written */
    const uint64_t widest = hearth_forward_widest(model);
    struct job j = {.blas = &blas, .kernels = &engine->kernels, .n_tokens = n_tokens, .panel_floats = (PANEL_ROWS + 1) * widest};
    struct hearth_arena counting = {0};
    struct hearth_arena arena;
    (void)hearth_arena_take(&counting, HEARTH_PLAN_SCRATCH, n_tokens, widest * sizeof(float));
    (void)hearth_arena_take(&counting, HEARTH_PLAN_SCRATCH, engine->workers, j.panel_floats * sizeof(float));
    (void)hearth_arena_take(&counting, HEARTH_PLAN_SCRATCH, engine->workers, (uint64_t)n_tokens * PANEL_ROWS * sizeof(float));
    const hearth_status status = hearth_engine_reserve(engine, &arena, &counting, err);
    if (status == HEARTH_OK) {
        j.x = hearth_arena_take(&arena, HEARTH_PLAN_SCRATCH, n_tokens, widest * sizeof(float));
        j.panels = hearth_arena_take(&arena, HEARTH_PLAN_SCRATCH, engine->workers, j.panel_floats * sizeof(float));
        j.outputs =
            hearth_arena_take(&arena, HEARTH_PLAN_SCRATCH, engine->workers, (uint64_t)n_tokens * PANEL_ROWS * sizeof(float));
        hearth_synthetic_fill(HEARTH_F32, (uint8_t *)j.x, n_tokens * widest * sizeof(float), 0, false);
        time_all(out, engine, &description, &j);
        (void)snprintf(out->version, sizeof out->version, "%s", blas.version);
        hearth_engine_release(engine, &arena);
    }
    hearth_blas_close(&blas);
    return status;
}
