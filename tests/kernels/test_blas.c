/* A second opinion on the float products: OpenBLAS, which adds in another order.
 *
 * With u = 2^-24, a sum of products in which no term meets more than n roundings is off by at most g(n) * sum |w x|, where
 * g(n) = n u / (1 - n u). Ours: at most ceil(k / 16) fused steps in a lane and 4 levels of the tree. OpenBLAS: any order, at most k
 * products and k additions on a term's way. The two may differ by the sum of both. */
#include "blas.h"
#include "common/half.h"
#include "cpu.h"
#include "kernel_case.h" /* and the tests' rng.h */
#include "kernels.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct case_shape {
    size_t rows, k, tokens;
};

static const struct case_shape shapes[] = {{1, 1, 1},      {4, 16, 3},     {33, 100, 17},   {64, 512, 24},
                                           {70, 1037, 49}, {16, 4096, 16}, {96, 11008, 33}, {5, 577, 130}};

static double rounding(double n)
{
    const double u = 0x1p-24;
    return n * u / (1 - n * u);
}

static void *xcalloc(size_t n, size_t size)
{
    void *memory = calloc(n, size);
    cr_assert_not_null(memory);
    return memory;
}

/* One file row, and the same as floats: F16 and BF16 are cut from floats, so that widening is exact. */
static void make_row(struct rng *rng, uint8_t *row, float *widened, enum hearth_format format, size_t k)
{
    for (size_t i = 0; i < k; i++) {
        widened[i] = i + 1 == k ? 1.0f : rng_uniform(rng, -1.0f, 1.0f);
        uint16_t half = (uint16_t)(hearth_f32_bits(widened[i]) >> 16);
        if (format == HEARTH_F16)
            half = hearth_f32_to_f16(widened[i]);
        if (format == HEARTH_F32) {
            memcpy(row + 4 * i, &widened[i], 4);
            continue;
        }
        widened[i] = format == HEARTH_F16 ? hearth_f16_to_f32(half) : hearth_bf16_to_f32(half);
        memcpy(row + 2 * i, &half, 2);
    }
}

struct product {
    struct case_shape shape;
    size_t x_stride; /* floats */
    float *w, *x, *y, *expected;
    uint8_t *tiles;
};

static struct product product_make(struct rng *rng, const struct hearth_kernel *kernel, struct case_shape s)
{
    const size_t tile_rows = kernel->matmul.tile_rows;
    const size_t tile_bytes = kernel->matmul.tile_bytes(s.k);
    const size_t row_bytes = hearth_row_bytes(kernel->format, s.k);
    const size_t tiles = (s.rows + tile_rows - 1) / tile_rows;
    struct product p = {.shape = s, .x_stride = hearth_activation_bytes(HEARTH_ACTIVATION_F32, s.k) / sizeof(float)};
    p.w = xcalloc(s.rows * s.k, sizeof(float));
    p.x = xcalloc(s.tokens * p.x_stride, sizeof(float));
    p.y = xcalloc(s.rows * s.tokens, sizeof(float));
    p.expected = xcalloc(s.rows * s.tokens, sizeof(float));
    p.tiles = xcalloc(tiles, tile_bytes);
    uint8_t *file = xcalloc(s.rows, row_bytes);
    for (size_t r = 0; r < s.rows; r++)
        make_row(rng, file + r * row_bytes, p.w + r * s.k, kernel->format, s.k);
    for (size_t r = 0; r < s.rows; r += tile_rows)
        kernel->matmul.pack(p.tiles + r / tile_rows * tile_bytes, file + r * row_bytes,
                            s.rows - r < tile_rows ? s.rows - r : tile_rows, s.k);
    for (size_t t = 0; t < s.tokens; t++)
        for (size_t i = 0; i < s.k; i++)
            p.x[t * p.x_stride + i] = i + 1 == s.k ? 1.0f : rng_uniform(rng, -1.0f, 1.0f);
    free(file);
    return p;
}

static void product_free(struct product *p)
{
    free(p->w);
    free(p->x);
    free(p->y);
    free(p->expected);
    free(p->tiles);
}

/* The greatest difference as a share of its bound. */
static double worst_share(const struct product *p)
{
    const struct case_shape s = p->shape;
    const double off = rounding((double)((s.k + 15) / 16) + 4) + rounding(2 * (double)s.k);
    double worst = 0;
    for (size_t t = 0; t < s.tokens; t++)
        for (size_t r = 0; r < s.rows; r++) {
            double magnitude = 0;
            for (size_t i = 0; i < s.k; i++)
                magnitude += fabs((double)p->w[r * s.k + i] * (double)p->x[t * p->x_stride + i]);
            const size_t at = t * s.rows + r;
            worst = fmax(worst, fabs((double)p->y[at] - (double)p->expected[at]) / (off * magnitude));
        }
    return worst;
}

static void compare(const struct hearth_blas *blas, const struct hearth_kernel *kernel)
{
    struct rng rng = rng_start();
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        struct product p = product_make(&rng, kernel, shapes[i]);
        const struct case_shape s = p.shape;
        hearth_blas_multiply(blas, p.expected, s.rows, p.w, p.x, p.x_stride, s.rows, s.k, s.tokens);
        kernel->matmul.run(p.y, s.rows, p.tiles, p.x, p.x_stride * sizeof(float), s.rows, s.k, s.tokens, HEARTH_PREFETCH_BYTES);
        const double share = worst_share(&p);
        cr_expect(share <= 1, "%s %zu x %zu x %zu: %.3g times the bound", kernel->name, s.rows, s.k, s.tokens, share);
        /* The bound is tight enough to show one product left out, the last, which is 1. */
        p.y[s.rows * s.tokens - 1] -= 1.0f;
        cr_expect(s.k > 4096 || worst_share(&p) > 1, "%s %zu x %zu x %zu: a lost product went unseen", kernel->name, s.rows, s.k,
                  s.tokens);
        product_free(&p);
    }
}

Test(blas, float_products_agree_within_the_bound)
{
    struct hearth_blas blas;
    hearth_error err = {0};
    if (hearth_blas_open(&blas, &err) != HEARTH_OK) {
        cr_expect_str_eq(err.detail, "E_BLAS");
        cr_skip_test("SKIPPED: %s", err.message);
    }
    const char *wanted = getenv("HEARTH_CPU");
    enum hearth_cpu_level level = hearth_cpu_detect();
    if (wanted && *wanted)
        cr_assert(hearth_cpu_level_parse(&level, wanted));
    size_t compared = 0;
    for (size_t i = 0; i < hearth_kernel_count; i++) {
        const struct hearth_kernel *k = &hearth_kernels[i];
        const bool is_float = k->format == HEARTH_F32 || k->format == HEARTH_F16 || k->format == HEARTH_BF16;
        if (k->op != HEARTH_OP_MATMUL || !is_float || k->level != level || !hearth_cpu_runs(level))
            continue;
        compare(&blas, k);
        compared++;
    }
    hearth_blas_close(&blas);
    if (!hearth_cpu_runs(level))
        cr_skip_test("SKIPPED: this CPU has no %s", hearth_cpu_level_name(level));
    if (level == HEARTH_CPU_AVXVNNI)
        cr_skip_test("SKIPPED: avxvnni has products of quantized weights alone");
    cr_expect_eq(compared, (size_t)3);
}
