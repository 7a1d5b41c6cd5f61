/* Every row of the registry against its reference, bit by bit, over shapes around the tile and data at the extremes; inputs end at
 * a guard page, outputs lie between canaries. New rows are covered without touching this file. */
#include "common/half.h"
#include "cpu.h"
#include "fence.h"
#include "kernel_case.h"
#include "kernels.h"
#include "reference/reference.h"
#include "rng.h"
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define CANARY 0xa5a5a5a5u /* what fenced memory starts with */

/* ---- Which rows -------------------------------------------------------------------------------------------------- */

#define ROWS_MAX 256
static size_t row_indices[ROWS_MAX];

/* All rows, or those above the reference, as parameters: each is a process. */
static struct criterion_test_params rows_from(enum hearth_cpu_level lowest)
{
    size_t n = 0;
    for (size_t i = 0; i < hearth_kernel_count && n < ROWS_MAX; i++)
        if (hearth_kernels[i].level >= lowest)
            row_indices[n++] = i;
    return cr_make_param_array(size_t, row_indices, n);
}

/* The level of HEARTH_CPU, or the highest. */
static enum hearth_cpu_level level_wanted(void)
{
    enum hearth_cpu_level level = HEARTH_CPU_LEVEL_COUNT;
    const char *name = getenv("HEARTH_CPU");
    if (name != NULL && *name != '\0')
        cr_assert(hearth_cpu_level_parse(&level, name), "HEARTH_CPU=%s is no level", name);
    return level;
}

static const struct hearth_kernel *row_to_run(size_t index)
{
    const struct hearth_kernel *kernel = &hearth_kernels[index];
    if (!hearth_cpu_runs(kernel->level))
        cr_skip_test("%s: this CPU has no %s", kernel->name, hearth_cpu_level_name(kernel->level));
    if (kernel->level > level_wanted())
        cr_skip_test("%s: above HEARTH_CPU=%s", kernel->name, getenv("HEARTH_CPU"));
    return kernel;
}

static bool untouched(const float *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (hearth_f32_bits(y[i]) != CANARY)
            return false;
    return true;
}

static void *xmalloc(size_t bytes)
{
    void *memory = malloc(bytes);
    cr_assert_not_null(memory);
    return memory;
}

static float *floats(const struct fence *fence)
{
    return (float *)(void *)fence->data;
}

static void expect_same(const char *name, const char *what, const float *y, const float *expected, size_t n)
{
    const size_t bad = first_different(y, expected, n);
    if (bad < n)
        cr_assert_fail("%s %s: element %zu of %zu is %a, reference %a", name, what, bad, n, (double)y[bad], (double)expected[bad]);
}

/* ---- Products ---------------------------------------------------------------------------------------------------- */

struct product {
    const struct hearth_kernel *kernel;
    size_t k, rows_max, tokens_max, row_bytes, x_stride, x_step;
    struct fence file, x; /* rows_max rows; tokens_max tokens */
    float *expected;      /* [tokens_max][rows_max] */
    const char *kind;
};

static void product_expected(struct product *p, const struct hearth_kernel *reference)
{
    const size_t tile_bytes = reference->matmul.tile_bytes(p->k);
    uint8_t *tiles = xmalloc(p->rows_max * tile_bytes);
    for (size_t r = 0; r < p->rows_max; r++)
        reference->matmul.pack(tiles + r * tile_bytes, p->file.data + r * p->row_bytes, 1, p->k);
    p->expected = xmalloc(p->tokens_max * p->rows_max * sizeof(float));
    reference->matmul.run(p->expected, p->rows_max, tiles, p->x.data, p->x_stride, p->rows_max, p->k, p->tokens_max,
                          HEARTH_PREFETCH_BYTES);
    for (size_t i = 0; i < p->tokens_max * p->rows_max; i++)
        cr_assert((hearth_f32_bits(p->expected[i]) & 0x7f800000u) != 0x7f800000u, "%s: the case is not finite", p->kind);
    free(tiles);
}

/* Some tiles and a part of one. */
static struct product product_make(struct rng *rng, const struct hearth_kernel *kernel, size_t k, size_t n_tiles, size_t tokens,
                                   enum case_kind kind)
{
    const enum hearth_activation activation = hearth_format_info(kernel->format)->activation;
    struct product p = {.kernel = kernel,
                        .k = k,
                        .rows_max = n_tiles * kernel->matmul.tile_rows + 5,
                        .tokens_max = tokens,
                        .row_bytes = hearth_row_bytes(kernel->format, k),
                        .x_stride = hearth_activation_stride(activation, k, tokens),
                        .kind = case_kind_name(kind)};
    p.file = fence_make(p.rows_max * p.row_bytes);
    p.x_step = hearth_activation_step(activation, p.x_stride);
    p.x = fence_make(tokens * hearth_activation_bytes(activation, k));
    for (size_t r = 0; r < p.rows_max; r++)
        case_weights(rng, p.file.data + r * p.row_bytes, kernel->format, k, kind);
    for (size_t t = 0; t < tokens; t++)
        case_activations(rng, p.x.data + t * p.x_step, p.x_stride, activation, k, kind);
    fence_protect(&p.file);
    fence_protect(&p.x);
    product_expected(&p, hearth_kernel_reference(kernel));
    return p;
}

static void product_free(struct product *p)
{
    fence_free(&p->file);
    fence_free(&p->x);
    free(p->expected);
}

/* The last `rows` file rows, packed into memory that ends at the guard page; each row must come back from its tile. */
static struct fence pack_checked(const struct product *p, size_t rows)
{
    const size_t tile_rows = p->kernel->matmul.tile_rows;
    const size_t tile_bytes = p->kernel->matmul.tile_bytes(p->k);
    cr_assert(tile_bytes % 64 == 0 && tile_bytes >= tile_rows * p->row_bytes, "%s: tile of %zu bytes", p->kernel->name, tile_bytes);
    struct fence tiles = fence_make((rows + tile_rows - 1) / tile_rows * tile_bytes);
    struct fence again = fence_make(p->row_bytes);
    const uint8_t *file = p->file.data + (p->rows_max - rows) * p->row_bytes;
    for (size_t r = 0; r < rows; r += tile_rows) {
        uint8_t *tile = tiles.data + r / tile_rows * tile_bytes;
        const size_t n = rows - r < tile_rows ? rows - r : tile_rows;
        p->kernel->matmul.pack(tile, file + r * p->row_bytes, n, p->k);
        for (size_t i = 0; i < n; i++) {
            memset(again.data, 0xa5, again.bytes);
            p->kernel->matmul.unpack(again.data, tile, i, p->k);
            if (memcmp(again.data, file + (r + i) * p->row_bytes, p->row_bytes) != 0)
                cr_assert_fail("%s %s k=%zu rows=%zu: row %zu does not come back", p->kernel->name, p->kind, p->k, rows, r + i);
        }
    }
    cr_assert(fence_intact(&tiles) && fence_intact(&again), "%s: packing wrote before its output", p->kernel->name);
    fence_free(&again);
    fence_protect(&tiles);
    return tiles;
}

/* The last `tokens` tokens, so that reading past the last activation row meets the guard page. */
static void product_run(const struct product *p, const void *tiles, size_t rows, size_t tokens, size_t prefetch_bytes)
{
    const size_t stride = rows + 3;
    const size_t first = p->tokens_max - tokens;
    struct fence out = fence_make(((tokens - 1) * stride + rows) * sizeof(float));
    float *y = floats(&out);
    p->kernel->matmul.run(y, stride, tiles, p->x.data + first * p->x_step, p->x_stride, rows, p->k, tokens, prefetch_bytes);
    for (size_t t = 0; t < tokens; t++) {
        const float *expected = p->expected + (first + t) * p->rows_max + (p->rows_max - rows);
        const size_t bad = first_different(y + t * stride, expected, rows);
        if (bad < rows)
            cr_assert_fail("%s %s k=%zu rows=%zu tokens=%zu: row %zu of token %zu is %a, reference %a", p->kernel->name, p->kind,
                           p->k, rows, tokens, bad, t, (double)y[t * stride + bad], (double)expected[bad]);
        if (t + 1 < tokens && !untouched(y + t * stride + rows, stride - rows))
            cr_assert_fail("%s %s k=%zu rows=%zu tokens=%zu: wrote behind the rows of token %zu", p->kernel->name, p->kind, p->k,
                           rows, tokens, t);
    }
    cr_assert(fence_intact(&out), "%s: wrote before y", p->kernel->name);
    fence_free(&out);
}

/* Nothing in the contract aligns packed tiles. */
static void product_run_unaligned(const struct product *p, const struct fence *tiles, size_t rows)
{
    struct fence moved = fence_make(tiles->bytes + 60);
    memcpy(moved.data, tiles->data, tiles->bytes);
    product_run(p, moved.data, rows, 5, HEARTH_PREFETCH_BYTES);
    fence_free(&moved);
}

static void product_all_shapes(const struct product *p)
{
    const size_t tile = p->kernel->matmul.tile_rows;
    const size_t rows[] = {1, tile > 1 ? tile - 1 : 2, tile, tile + 1, p->rows_max};
    const size_t ways[] = {0, 2048 + HEARTH_PREFETCH_IN_STEPS + HEARTH_PREFETCH_TWO_STREAMS}; /* the usual one is below */
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct fence tiles = pack_checked(p, rows[i]);
        for (size_t tokens = 1; tokens <= 17; tokens++)
            for (size_t j = 0; j < COUNT(ways); j++)
                product_run(p, tiles.data, rows[i], tokens, ways[j]);
        product_run(p, tiles.data, rows[i], p->tokens_max, HEARTH_PREFETCH_BYTES);
        product_run_unaligned(p, &tiles, rows[i]);
        fence_free(&tiles);
    }
}

/* More rows and tokens than a walk takes at once (template/product.h). */
static void product_large(struct rng *rng, const struct hearth_kernel *kernel, size_t k)
{
    struct product p = product_make(rng, kernel, k, 9, 259, CASE_RANDOM);
    struct fence tiles = pack_checked(&p, p.rows_max);
    product_run(&p, tiles.data, p.rows_max, p.tokens_max, HEARTH_PREFETCH_BYTES);
    fence_free(&tiles);
    product_free(&p);
}

static void test_matmul(const struct hearth_kernel *kernel)
{
    static const size_t blocks[] = {1, 2, 3, 7, 8, 9, 17};
    /* Floats are walked in blocks of 512. */
    static const size_t floats_k[] = {1, 2, 7, 15, 16, 17, 31, 32, 33, 63, 65, 100, 128, 257, 1037};
    struct rng rng = rng_start();
    const size_t block = hearth_format_info(kernel->format)->block_elems;
    const size_t n = block == 1 ? COUNT(floats_k) : COUNT(blocks);
    for (size_t i = 0; i < n; i++)
        for (int kind = 0; kind < CASE_KIND_COUNT; kind++) {
            struct product p =
                product_make(&rng, kernel, block == 1 ? floats_k[i] : blocks[i] * block, 3, 33, (enum case_kind)kind);
            product_all_shapes(&p);
            product_free(&p);
        }
    product_large(&rng, kernel, block == 1 ? 100 : 2 * block);
}

/* ---- Conversions ------------------------------------------------------------------------------------------------- */

static void test_dequantize(const struct hearth_kernel *kernel)
{
    struct rng rng = rng_start();
    const struct hearth_kernel *reference = hearth_kernel_reference(kernel);
    const size_t block = hearth_format_info(kernel->format)->block_elems;
    for (size_t blocks = 1; blocks <= (block == 1 ? 70 : 17); blocks++)
        for (int kind = 0; kind < CASE_KIND_COUNT; kind++) {
            const size_t k = blocks * block;
            struct fence row = fence_make(hearth_row_bytes(kernel->format, k));
            struct fence expected = fence_make(k * sizeof(float));
            struct fence y = fence_make(k * sizeof(float));
            case_weights(&rng, row.data, kernel->format, k, (enum case_kind)kind);
            fence_protect(&row);
            reference->dequantize(floats(&expected), row.data, k);
            kernel->dequantize(floats(&y), row.data, k);
            expect_same(kernel->name, case_kind_name((enum case_kind)kind), floats(&y), floats(&expected), k);
            cr_assert(fence_intact(&y), "%s: wrote before y", kernel->name);
            fence_free(&row);
            fence_free(&expected);
            fence_free(&y);
        }
}

/* Every half float that exists. NaNs included: widening is exact and quiets them. */
static void test_dequantize_all_halves(const struct hearth_kernel *kernel)
{
    const struct hearth_kernel *reference = hearth_kernel_reference(kernel);
    static uint16_t halves[65536];
    static float y[65536], expected[65536];
    for (size_t i = 0; i < COUNT(halves); i++)
        halves[i] = (uint16_t)i;
    reference->dequantize(expected, halves, COUNT(halves));
    kernel->dequantize(y, halves, COUNT(halves));
    expect_same(kernel->name, "all halves", y, expected, COUNT(halves));
}

#define UNIT_STRIDE (2 * (size_t)HEARTH_UNIT_BYTES) /* as of two tokens */

/* All that quantization writes, for one token. */
static void expect_same_activations(const struct hearth_kernel *kernel, const uint8_t *a, const uint8_t *b, size_t k)
{
    bool same = true;
    if (kernel->op == HEARTH_OP_QUANTIZE_Q8_0)
        same = memcmp(a, b, k / 32 * 34) == 0;
    for (size_t i = 0; kernel->op == HEARTH_OP_QUANTIZE_Q8_256 && i < k; i += 256, a += UNIT_STRIDE, b += UNIT_STRIDE)
        same = same && memcmp(a, b, offsetof(struct hearth_q8_256, unused)) == 0;
    for (size_t i = 0; kernel->op == HEARTH_OP_QUANTIZE_Q8_32 && i < k; i += 256, a += UNIT_STRIDE, b += UNIT_STRIDE) {
        const size_t n = k - i < 256 ? k - i : 256;
        same = same && memcmp(a, b, n) == 0;
        same = same && memcmp(a + offsetof(struct hearth_q8_32, s), b + offsetof(struct hearth_q8_32, s), n / 32 * 4) == 0;
        same = same && memcmp(a + offsetof(struct hearth_q8_32, sums), b + offsetof(struct hearth_q8_32, sums), n / 32 * 4) == 0;
    }
    cr_assert(same, "%s k=%zu differs from the reference", kernel->name, k);
}

/* One group of floats of some character. */
static void fill_group(struct rng *rng, float *x, size_t n, bool halves)
{
    const uint32_t character = rng_below(rng, 8);
    for (size_t i = 0; i < n; i++)
        switch (character) {
        case 0:
            x[i] = rng_next(rng) & 1 ? 0.0f : -0.0f;
            break;
        case 1: /* around 2^-120, where quantization to zero begins */
            x[i] = rng_magnitude(rng, -126, i == 0 && (rng_next(rng) & 1) ? -120 : -121);
            break;
        case 2: /* subnormal */
            x[i] = hearth_f32_from_bits(rng_next(rng) & 0x807fffffu);
            break;
        case 3: /* ties: multiples of one half when the largest is 127 */
            x[i] = i == 0 ? 127.0f : ((float)rng_below(rng, 509) - 254.0f) * 0.5f;
            break;
        case 4: /* the largest there are, or that a half scale can hold; else around the smallest it can */
            if (halves)
                x[i] = rng_next(rng) & 1 ? 127.0f * 65519.0f : rng_magnitude(rng, 10, 21);
            else
                x[i] = rng_next(rng) & 1 ? hearth_f32_from_bits(0x7f7fffffu) : rng_magnitude(rng, 100, 127);
            break;
        case 5:
            x[i] = halves ? rng_magnitude(rng, -24, -16) : rng_magnitude(rng, -20, 5);
            break;
        default:
            x[i] = rng_magnitude(rng, -20, (int)character);
            break;
        }
}

/* A scale above the largest half float. */
static void quantize_refuses_large(const struct hearth_kernel *kernel, void *row, float *x, size_t k)
{
    const float kept = x[k / 2];
    x[k / 2] = -127.0f * 65520.0f;
    cr_assert(!kernel->quantize(row, UNIT_STRIDE, x, 0, k), "%s k=%zu: %a accepted", kernel->name, k, (double)x[k / 2]);
    x[k / 2] = kept;
}

static void quantize_refuses(const struct hearth_kernel *kernel, void *row, float *x, size_t k)
{
    static const uint32_t bad[] = {0x7f800000u, 0xff800000u, 0x7fc00000u, 0xffc00001u, 0x7f800001u};
    for (size_t at = 0; at < k; at++) {
        const float kept = x[at];
        x[at] = hearth_f32_from_bits(bad[at % COUNT(bad)]);
        cr_assert(!kernel->quantize(row, UNIT_STRIDE, x, 0, k), "%s k=%zu: %a at %zu accepted", kernel->name, k, (double)x[at], at);
        x[at] = kept;
    }
}

static void test_quantize(const struct hearth_kernel *kernel)
{
    static const size_t groups[] = {1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 43};
    struct rng rng = rng_start();
    const struct hearth_kernel *reference = hearth_kernel_reference(kernel);
    const bool wide = kernel->op == HEARTH_OP_QUANTIZE_Q8_256;
    const bool halves = kernel->op == HEARTH_OP_QUANTIZE_Q8_0;
    const size_t group = wide ? 256 : 32;
    for (size_t i = 0; i < COUNT(groups); i++)
        for (int repeat = 0; repeat < 40; repeat++) {
            const size_t k = groups[i] * group;
            const size_t bytes = halves ? hearth_row_bytes(HEARTH_Q8_0, k) : (k + 255) / 256 * UNIT_STRIDE - HEARTH_UNIT_BYTES;
            struct fence x = fence_make(k * sizeof(float));
            struct fence expected = fence_make(bytes);
            struct fence row = fence_make(bytes);
            for (size_t g = 0; g < groups[i]; g++)
                fill_group(&rng, floats(&x) + g * group, group, halves);
            cr_assert(reference->quantize(expected.data, UNIT_STRIDE, floats(&x), 0, k));
            cr_assert(kernel->quantize(row.data, UNIT_STRIDE, floats(&x), 0, k), "%s k=%zu: finite numbers refused", kernel->name,
                      k);
            expect_same_activations(kernel, row.data, expected.data, k);
            memset(row.data, 0xa5, bytes);
            const size_t border =
                rng_below(&rng, (uint32_t)groups[i] + 1) * group; /* the later part first: none writes into the other */
            cr_assert(kernel->quantize(row.data, UNIT_STRIDE, floats(&x) + border, border, k));
            cr_assert(kernel->quantize(row.data, UNIT_STRIDE, floats(&x), 0, border));
            expect_same_activations(kernel, row.data, expected.data, k);
            if (repeat == 0 && groups[i] <= 3)
                quantize_refuses(kernel, row.data, floats(&x), k);
            if (repeat == 0 && halves)
                quantize_refuses_large(kernel, row.data, floats(&x), k);
            cr_assert(fence_intact(&row), "%s: wrote before the row", kernel->name);
            fence_free(&x);
            fence_free(&expected);
            fence_free(&row);
        }
}

static void test_to_f16(const struct hearth_kernel *kernel)
{
    struct rng rng = rng_start();
    const struct hearth_kernel *reference = hearth_kernel_reference(kernel);
    for (size_t n = 1; n <= 3000; n += n < 70 ? 1 : 977) {
        struct fence x = fence_make(n * sizeof(float));
        struct fence expected = fence_make(n * sizeof(uint16_t));
        struct fence y = fence_make(n * sizeof(uint16_t));
        for (size_t i = 0; i < n; i++) /* any bits, and the range of half floats with its ties */
            floats(&x)[i] = i & 1 ? hearth_f32_from_bits(rng_next(&rng)) : rng_magnitude(&rng, -26, 16);
        for (size_t i = 0; i < n; i += 4)
            floats(&x)[i] = hearth_f32_from_bits(hearth_f32_bits(floats(&x)[i]) & 0xfffff000u);
        fence_protect(&x);
        reference->to_f16((uint16_t *)(void *)expected.data, floats(&x), n);
        kernel->to_f16((uint16_t *)(void *)y.data, floats(&x), n);
        cr_assert(memcmp(y.data, expected.data, y.bytes) == 0, "%s n=%zu differs", kernel->name, n);
        cr_assert(fence_intact(&y), "%s: wrote before y", kernel->name);
        fence_free(&x);
        fence_free(&expected);
        fence_free(&y);
    }
}

/* ---- Rows of floats ---------------------------------------------------------------------------------------------- */

/* y is the output and, for ADD, also holds what a is added to. */
static void run_row(const struct hearth_kernel *kernel, float *y, const float *a, const float *b, size_t n)
{
    switch (kernel->op) {
    case HEARTH_OP_RMS_NORM:
        kernel->rms_norm(y, a, b, n, 1e-5f);
        break;
    case HEARTH_OP_LAYER_NORM:
        kernel->layer_norm(y, a, b, b, n, 1e-5f);
        break;
    case HEARTH_OP_GELU:
        kernel->gelu(y, a, n);
        break;
    case HEARTH_OP_GELU_MUL:
        kernel->gelu_mul(y, a, b, n);
        break;
    case HEARTH_OP_SOFTCAP:
        kernel->softcap(y, a, 30.0f, n);
        break;
    case HEARTH_OP_SILU_MUL:
        kernel->silu_mul(y, a, b, n);
        break;
    case HEARTH_OP_ADD:
        kernel->add(y, a, n);
        break;
    case HEARTH_OP_SOFTMAX:
        kernel->softmax(y, a, n);
        break;
    default:
        kernel->exp(y, a, n);
        break;
    }
}

static void fill_row(struct rng *rng, enum hearth_op op, float *x, size_t n)
{
    case_floats(rng, x, n);
    if (op == HEARTH_OP_ADD || op == HEARTH_OP_RMS_NORM || op == HEARTH_OP_LAYER_NORM)
        return;
    for (size_t i = 0; i < n; i++)
        switch (rng_below(rng, 8)) { /* all of exp's range, and its ends */
        case 0:
            x[i] = op == HEARTH_OP_GELU || op == HEARTH_OP_GELU_MUL ? rng_uniform(rng, -11.0f, 11.0f)
                                                                    : rng_uniform(rng, -90.0f, 90.0f);
            break;
        case 1:
            x[i] = hearth_f32_from_bits(hearth_f32_bits(rng_next(rng) & 1 ? 88.0f : -87.0f) + rng_below(rng, 3) - 1);
            break;
        case 2:
            x[i] = rng_magnitude(rng, -126, 20);
            break;
        case 3:
            if (op == HEARTH_OP_SOFTMAX && i > 0)
                x[i] = hearth_f32_from_bits(0xff800000u);
            if (op == HEARTH_OP_EXP) {
                static const uint32_t special[] = {0x7f800000u, 0xff800000u, 0x7fc00000u, 0xffc00123u, 0x7f800001u};
                x[i] = hearth_f32_from_bits(special[rng_below(rng, COUNT(special))]);
            }
            break;
        default:
            break;
        }
}

static void test_row_of(struct rng *rng, const struct hearth_kernel *kernel, size_t n)
{
    const struct hearth_kernel *reference = hearth_kernel_reference(kernel);
    struct fence a = fence_make(n * sizeof(float));
    struct fence b = fence_make(n * sizeof(float));
    struct fence y = fence_make(n * sizeof(float));
    float *expected = xmalloc(n * sizeof(float));
    fill_row(rng, kernel->op, floats(&a), n);
    case_floats(rng, floats(&b), n);
    case_floats(rng, floats(&y), n);
    memcpy(expected, y.data, y.bytes);
    fence_protect(&b);
    run_row(reference, expected, floats(&a), floats(&b), n);
    run_row(kernel, floats(&y), floats(&a), floats(&b), n);
    expect_same(kernel->name, "", floats(&y), expected, n);
    if (kernel->op != HEARTH_OP_ADD) { /* the same in place: the contract lets y be the first input */
        run_row(kernel, floats(&a), floats(&a), floats(&b), n);
        expect_same(kernel->name, "in place", floats(&a), expected, n);
    }
    cr_assert(fence_intact(&y) && fence_intact(&a), "%s n=%zu: wrote before y", kernel->name, n);
    fence_free(&a);
    fence_free(&b);
    fence_free(&y);
    free(expected);
}

static void test_row(const struct hearth_kernel *kernel)
{
    static const size_t long_rows[] = {127, 128, 129, 1000, 4096, 4097};
    struct rng rng = rng_start();
    for (size_t n = 1; n <= 70; n++)
        for (int repeat = 0; repeat < 20; repeat++)
            test_row_of(&rng, kernel, n);
    for (size_t i = 0; i < COUNT(long_rows); i++)
        test_row_of(&rng, kernel, long_rows[i]);
}

static void test_rope(const struct hearth_kernel *kernel)
{
    struct rng rng = rng_start();
    const struct hearth_kernel *reference = hearth_kernel_reference(kernel);
    for (size_t head_dim = 2; head_dim <= 132; head_dim += head_dim < 70 ? 2 : 14)
        for (size_t n_rot = 2; n_rot <= head_dim; n_rot += 2) {
            const size_t heads = 1 + rng_below(&rng, 4);
            struct fence x = fence_make(heads * head_dim * sizeof(float));
            struct fence cos = fence_make(n_rot / 2 * sizeof(float));
            struct fence sin = fence_make(n_rot / 2 * sizeof(float));
            float *expected = xmalloc(x.bytes);
            case_floats(&rng, floats(&x), heads * head_dim);
            case_floats(&rng, floats(&cos), n_rot / 2);
            case_floats(&rng, floats(&sin), n_rot / 2);
            memcpy(expected, x.data, x.bytes);
            fence_protect(&cos);
            fence_protect(&sin);
            reference->rope(expected, heads, head_dim, n_rot, floats(&cos), floats(&sin));
            kernel->rope(floats(&x), heads, head_dim, n_rot, floats(&cos), floats(&sin));
            expect_same(kernel->name, "", floats(&x), expected, heads * head_dim);
            cr_assert(fence_intact(&x), "%s: wrote before x", kernel->name);
            fence_free(&x);
            fence_free(&cos);
            fence_free(&sin);
            free(expected);
        }
}

/* ---- Attention --------------------------------------------------------------------------------------------------- */

/* One head's cache over one segment: keys and values clean, and as the kernel gets them, NaN outside the range. */
struct cache {
    enum hearth_format format;
    size_t dim, first; /* absolute position of the segment */
    size_t n;          /* queries */
    uint8_t *clean_k, *clean_v;
    struct fence k, v, q, o, scratch;
};

static size_t block_bytes(const struct cache *c)
{
    return hearth_cache_block_bytes(c->format, c->dim);
}

static size_t query_bytes(const struct cache *c)
{
    return c->format == HEARTH_Q8_0 ? hearth_activation_bytes(HEARTH_ACTIVATION_Q8_32, 32 * hearth_cache_groups(c->dim))
                                    : c->dim * sizeof(float);
}

/* Queries end at the guard page; those of a Q8_0 cache have zeros behind the last dimension. */
static void fill_query(struct rng *rng, const struct cache *c, uint8_t *row, float limit)
{
    float x[288] = {0.0f};
    for (size_t d = 0; d < c->dim; d++)
        x[d] = rng_uniform(rng, -limit, limit);
    if (c->format != HEARTH_Q8_0)
        memcpy(row, x, c->dim * sizeof *x);
    else
        cr_assert(hearth_quantize_q8_32_reference(row, HEARTH_UNIT_BYTES, x, 0, 32 * hearth_cache_groups(c->dim)));
}

/* Codes of all values but -128, and scales of both signs. */
static void fill_codes(struct rng *rng, uint8_t *at, size_t n)
{
    for (size_t i = 0; i < n; i++)
        at[i] = rng_below(rng, 8) ? (uint8_t)((int)rng_below(rng, 255) - 127) : rng_below(rng, 2) ? 127 : 129;
}

static void fill_scales(struct rng *rng, uint8_t *at, size_t n, float limit)
{
    for (size_t i = 0; i < n; i++) {
        const uint16_t half = hearth_f32_to_f16(rng_uniform(rng, -limit, limit) / 127.0f);
        memcpy(at + 2 * i, &half, sizeof half);
    }
}

static void fill_segment(struct rng *rng, const struct cache *c, float limit)
{
    if (c->format != HEARTH_Q8_0) {
        case_cache(rng, c->clean_k, c->format, HEARTH_SEGMENT * c->dim, limit);
        case_cache(rng, c->clean_v, c->format, HEARTH_SEGMENT * c->dim, 2.0f);
        return;
    }
    const size_t groups = hearth_cache_groups(c->dim);
    for (size_t i = 0; i < HEARTH_SEGMENT / HEARTH_KEY_BLOCK * groups; i++) {
        fill_codes(rng, c->clean_k + i * HEARTH_CACHE_GROUP_BYTES, 32 * HEARTH_KEY_BLOCK);
        fill_scales(rng, c->clean_k + i * HEARTH_CACHE_GROUP_BYTES + 32 * HEARTH_KEY_BLOCK, HEARTH_KEY_BLOCK, limit);
    }
    for (size_t p = 0; p < HEARTH_SEGMENT; p++) {
        fill_codes(rng, c->clean_v + p * 34 * groups, 32 * groups);
        fill_scales(rng, c->clean_v + p * 34 * groups + 32 * groups, groups, 2.0f);
    }
}

static struct cache cache_make(struct rng *rng, enum hearth_format format, size_t dim, size_t first, size_t n, float limit)
{
    struct cache c = {.format = format, .dim = dim, .first = first, .n = n};
    const size_t bytes = HEARTH_SEGMENT / HEARTH_KEY_BLOCK * block_bytes(&c);
    c.clean_k = xmalloc(bytes);
    c.clean_v = xmalloc(bytes);
    fill_segment(rng, &c, limit);
    c.k = fence_make(bytes);
    c.v = fence_make(bytes);
    memset(c.k.data, 0xff, bytes);
    memset(c.v.data, 0xff, bytes);
    c.q = fence_make(n * query_bytes(&c));
    c.o = fence_make(n * dim * sizeof(float));
    c.scratch = fence_make(hearth_attention_scratch_bytes(dim, n) + 64);
    for (size_t i = 0; i < n; i++)
        fill_query(rng, &c, c.q.data + i * query_bytes(&c), limit);
    fence_protect(&c.q);
    return c;
}

static void cache_free(struct cache *c)
{
    free(c->clean_k);
    free(c->clean_v);
    fence_free(&c->k);
    fence_free(&c->v);
    fence_free(&c->q);
    fence_free(&c->o);
    fence_free(&c->scratch);
}

static void set_bytes(uint8_t *to, const uint8_t *clean, size_t at, size_t bytes, bool valid)
{
    if (valid)
        memcpy(to + at, clean + at, bytes);
    else
        memset(to + at, 0xff, bytes);
}

/* Position p of the segment (0 … 255) becomes valid, or NaN. */
static void cache_set(struct cache *c, size_t p, bool valid)
{
    const size_t lane = p % HEARTH_KEY_BLOCK;
    const size_t block = p / HEARTH_KEY_BLOCK * block_bytes(c);
    const size_t element = c->format == HEARTH_F32 ? sizeof(float) : sizeof(uint16_t);
    const size_t row = block_bytes(c) / HEARTH_KEY_BLOCK;
    set_bytes(c->v.data, c->clean_v, p * row, row, valid);
    if (c->format != HEARTH_Q8_0) {
        for (size_t d = 0; d < c->dim; d++)
            set_bytes(c->k.data, c->clean_k, block + (d * HEARTH_KEY_BLOCK + lane) * element, element, valid);
        return;
    }
    for (size_t j = 0; j < hearth_cache_groups(c->dim); j++) {
        const size_t group = block + j * HEARTH_CACHE_GROUP_BYTES;
        for (size_t i = 0; i < 8; i++)
            set_bytes(c->k.data, c->clean_k, group + (i * HEARTH_KEY_BLOCK + lane) * 4, 4, valid);
        set_bytes(c->k.data, c->clean_k, group + 32 * HEARTH_KEY_BLOCK + 2 * lane, 2, valid);
    }
}

/* Where position 0 would lie if the cache were there: kernels count positions from there, but only reach the segment. Computed with
 * integers, for the pointer itself is outside every object. */
static const void *origin(const struct cache *c, const struct fence *fence)
{
    return (const void *)((uintptr_t)fence->data - c->first / HEARTH_KEY_BLOCK * block_bytes(c));
}

struct range {
    size_t begin, end; /* in the segment */
};

static void attention_check(struct cache *c, const struct hearth_kernel *kernel, const struct range *ranges, float scale,
                            float softcap)
{
    const struct hearth_kernel *reference = hearth_kernel_reference(kernel);
    const void *k = origin(c, &c->k), *v = origin(c, &c->v);
    void *scratch = (void *)(((uintptr_t)c->scratch.data + 63) & ~(uintptr_t)63);
    float *expected = xmalloc(c->n * c->dim * sizeof *expected);
    float expected_ml[HEARTH_ATTENTION_QUERIES][2], ml[HEARTH_ATTENTION_QUERIES][2];
    struct hearth_attention_query want[HEARTH_ATTENTION_QUERIES], got[HEARTH_ATTENTION_QUERIES];
    for (size_t i = 0; i < c->n; i++) {
        want[i] = (struct hearth_attention_query){.q = c->q.data + i * query_bytes(c),
                                                  .o = expected + i * c->dim,
                                                  .ml = expected_ml[i],
                                                  .begin = c->first + ranges[i].begin,
                                                  .end = c->first + ranges[i].end};
        got[i] = want[i];
        got[i].o = floats(&c->o) + i * c->dim;
        got[i].ml = ml[i];
    }
    reference->attention(want, c->n, k, v, c->dim, scale, softcap, 0, scratch);
    kernel->attention(got, c->n, k, v, c->dim, scale, softcap, ranges[0].end % 2 ? (size_t)1 << 20 : 0, scratch);
    for (size_t i = 0; i < c->n; i++) {
        const size_t bad = first_different(got[i].o, want[i].o, c->dim);
        if (bad < c->dim)
            cr_assert_fail("%s head_dim=%zu query %zu of %zu [%zu, %zu) scale %g: o[%zu] is %a, reference %a", kernel->name, c->dim,
                           i, c->n, got[i].begin, got[i].end, (double)scale, bad, (double)got[i].o[bad], (double)want[i].o[bad]);
        if (first_different(ml[i], expected_ml[i], 2) < 2)
            cr_assert_fail("%s head_dim=%zu query %zu of %zu [%zu, %zu) scale %g: m, l are %a, %a, reference %a, %a", kernel->name,
                           c->dim, i, c->n, got[i].begin, got[i].end, (double)scale, (double)ml[i][0], (double)ml[i][1],
                           (double)expected_ml[i][0], (double)expected_ml[i][1]);
    }
    free(expected);
}

static void attention_every_range(struct rng *rng, const struct hearth_kernel *kernel)
{
    struct cache c = cache_make(rng, kernel->format, 18, 0, 1, 2.0f);
    for (size_t begin = 0; begin < HEARTH_SEGMENT; begin++) {
        for (size_t p = 0; p < HEARTH_SEGMENT; p++)
            cache_set(&c, p, false);
        for (size_t end = begin + 1; end <= HEARTH_SEGMENT; end++) {
            cache_set(&c, end - 1, true);
            attention_check(&c, kernel, &(struct range){begin, end}, 0.7f, 0.0f);
        }
    }
    cr_assert(fence_intact(&c.o), "%s: wrote before o", kernel->name);
    cache_free(&c);
}

/* Ranges of queries: of a prompt, one more position for each `group`, all the same, or any. */
static void fill_ranges(struct rng *rng, struct range *ranges, size_t n, int character)
{
    const size_t begin = character % 2 ? 0 : rng_below(rng, HEARTH_SEGMENT);
    const size_t group = 1 + rng_below(rng, 8);
    const size_t end = begin + 1 + rng_below(rng, (uint32_t)(HEARTH_SEGMENT - begin));
    for (size_t i = 0; i < n; i++) {
        const size_t later = end + i / group < HEARTH_SEGMENT ? end + i / group : HEARTH_SEGMENT;
        ranges[i] = (struct range){begin, character % 3 ? later : end};
        if (character % 4 == 0) {
            ranges[i].begin = rng_below(rng, HEARTH_SEGMENT);
            ranges[i].end = ranges[i].begin + 1 + rng_below(rng, (uint32_t)(HEARTH_SEGMENT - ranges[i].begin));
        }
    }
}

/* Positions of any query are valid, the others NaN. */
static void set_ranges(struct cache *c, const struct range *ranges)
{
    for (size_t i = 0; i < c->n; i++)
        for (size_t p = ranges[i].begin; p < ranges[i].end; p++)
            cache_set(c, p, true);
}

/* A maximum far above what came before, or far below; sums of one term; exp that underflows to +0; ties. */
static void attention_of_dim(struct rng *rng, const struct hearth_kernel *kernel, size_t dim)
{
    static const float scales[] = {0.01f, 0.125f, 3.0f, 40.0f, 0.0f, -0.5f};
    static const float softcaps[] = {0.0f, 0.0f, 50.0f, 0.5f};
    static const size_t counts[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 17, 33, HEARTH_ATTENTION_QUERIES};
    for (int repeat = 0; repeat < 42; repeat++) {
        const size_t n = counts[(size_t)repeat % COUNT(counts)];
        const size_t segment = repeat % 3 == 0 ? 0 : 1 + rng_below(rng, 9);
        struct cache c = cache_make(rng, kernel->format, dim, segment * HEARTH_SEGMENT, n, repeat % 5 == 4 ? 0.0f : 1.0f);
        struct range ranges[HEARTH_ATTENTION_QUERIES];
        fill_ranges(rng, ranges, n, repeat / 3);
        set_ranges(&c, ranges);
        attention_check(&c, kernel, ranges, scales[rng_below(rng, COUNT(scales))], softcaps[rng_below(rng, COUNT(softcaps))]);
        cr_assert(fence_intact(&c.o), "%s: wrote before o", kernel->name);
        cr_assert(fence_intact(&c.scratch), "%s: wrote before scratch", kernel->name);
        cache_free(&c);
    }
}

/* The value rows end with the last position: the next page is not there. Keys are mapped to the end of their block. */
static void attention_at_the_fence(struct rng *rng, const struct hearth_kernel *kernel, size_t dim)
{
    for (size_t end = 1; end <= 80; end += 3) {
        const size_t n = end % 2 ? 1 : 13;
        struct cache c = cache_make(rng, kernel->format, dim, 0, n, 1.0f);
        fence_free(&c.k);
        fence_free(&c.v);
        c.k = fence_make((end + HEARTH_KEY_BLOCK - 1) / HEARTH_KEY_BLOCK * block_bytes(&c));
        c.v = fence_make(end * (block_bytes(&c) / HEARTH_KEY_BLOCK));
        memset(c.k.data, 0xff, c.k.bytes);
        struct range ranges[HEARTH_ATTENTION_QUERIES];
        for (size_t i = 0; i < n; i++)
            ranges[i] = (struct range){0, i < end ? end - i : 1};
        set_ranges(&c, ranges);
        attention_check(&c, kernel, ranges, 0.3f, end % 3 ? 0.0f : 2.0f);
        cr_assert(fence_intact(&c.o), "%s: wrote before o", kernel->name);
        cache_free(&c);
    }
}

static void test_attention(const struct hearth_kernel *kernel)
{
    static const size_t dims[] = {1, 2, 15, 16, 17, 32, 64, 80, 96, 112, 127, 128, 129, 144, 160, 192, 256};
    struct rng rng = rng_start();
    attention_every_range(&rng, kernel);
    for (size_t i = 0; i < COUNT(dims); i++) {
        attention_of_dim(&rng, kernel, dims[i]);
        attention_at_the_fence(&rng, kernel, dims[i]);
    }
}

static void test_attention_merge(const struct hearth_kernel *kernel)
{
    struct rng rng = rng_start();
    const struct hearth_kernel *reference = hearth_kernel_reference(kernel);
    for (size_t dim = 1; dim <= 260; dim++)
        for (int repeat = 0; repeat < 4; repeat++) {
            struct fence a = fence_make(dim * sizeof(float));
            struct fence b = fence_make(dim * sizeof(float));
            float expected[260];
            const float spread = repeat == 3 ? 100.0f : 2.0f;
            float ml[2] = {rng_uniform(&rng, -spread, spread), rng_uniform(&rng, 1.0f, 256.0f)};
            float expected_ml[2] = {ml[0], ml[1]};
            const float ml_b[2] = {repeat == 2 ? ml[0] : rng_uniform(&rng, -spread, spread), rng_uniform(&rng, 1.0f, 256.0f)};
            case_floats(&rng, floats(&a), dim);
            case_floats(&rng, floats(&b), dim);
            memcpy(expected, a.data, a.bytes);
            fence_protect(&b);
            reference->attention_merge(expected, expected_ml, floats(&b), ml_b, dim);
            kernel->attention_merge(floats(&a), ml, floats(&b), ml_b, dim);
            expect_same(kernel->name, "merge", floats(&a), expected, dim);
            expect_same(kernel->name, "m and l", ml, expected_ml, 2);
            reference->attention_merge(expected, expected_ml, NULL, NULL, dim);
            kernel->attention_merge(floats(&a), ml, NULL, NULL, dim);
            expect_same(kernel->name, "end", floats(&a), expected, dim);
            expect_same(kernel->name, "m and l at the end", ml, expected_ml, 2);
            cr_assert(fence_intact(&a), "%s: wrote before o", kernel->name);
            fence_free(&a);
            fence_free(&b);
        }
}

/* ---- The tests --------------------------------------------------------------------------------------------------- */

static void test_kernel(const struct hearth_kernel *kernel)
{
    switch (kernel->op) {
    case HEARTH_OP_MATMUL:
        test_matmul(kernel);
        break;
    case HEARTH_OP_DEQUANTIZE:
        test_dequantize(kernel);
        if (kernel->format == HEARTH_F16 || kernel->format == HEARTH_BF16)
            test_dequantize_all_halves(kernel);
        break;
    case HEARTH_OP_QUANTIZE_Q8_32:
    case HEARTH_OP_QUANTIZE_Q8_256:
    case HEARTH_OP_QUANTIZE_Q8_0:
        test_quantize(kernel);
        break;
    case HEARTH_OP_TO_F16:
        test_to_f16(kernel);
        break;
    case HEARTH_OP_ROPE:
    case HEARTH_OP_ROPE_NEOX:
        test_rope(kernel);
        break;
    case HEARTH_OP_ATTENTION:
        test_attention(kernel);
        break;
    case HEARTH_OP_ATTENTION_MERGE:
        test_attention_merge(kernel);
        break;
    default:
        test_row(kernel);
        break;
    }
}

/* The reference rows too: against themselves, so that their fences and their packing are tested. */
ParameterizedTestParameters(test_registry, every_row_equals_the_reference)
{
    return rows_from(HEARTH_CPU_REFERENCE);
}

ParameterizedTest(size_t *index, test_registry, every_row_equals_the_reference)
{
    test_kernel(row_to_run(*index));
}

Test(test_registry, every_row_passes_its_self_test)
{
    const enum hearth_cpu_level wanted = level_wanted();
    for (size_t i = 0; i < hearth_kernel_count; i++)
        if (hearth_kernels[i].level <= wanted && hearth_cpu_runs(hearth_kernels[i].level))
            cr_expect(hearth_kernel_selftest(&hearth_kernels[i]), "%s", hearth_kernels[i].name);
}

/* ---- A self-test must be able to fail ---------------------------------------------------------------------------- */

static const struct hearth_kernel *reference_of(enum hearth_op op, enum hearth_format format)
{
    const struct hearth_kernel probe = {.op = op, .format = format};
    return hearth_kernel_reference(&probe);
}

static void flip(float *x)
{
    *x = hearth_f32_from_bits(hearth_f32_bits(*x) ^ 1);
}

static void wrong_matmul(float *y, size_t y_stride, const void *w, const void *x, size_t x_stride, size_t rows, size_t k,
                         size_t tokens, size_t prefetch_bytes)
{
    reference_of(HEARTH_OP_MATMUL, HEARTH_Q4_K)->matmul.run(y, y_stride, w, x, x_stride, rows, k, tokens, prefetch_bytes);
    flip(&y[(tokens - 1) * y_stride + rows - 1]);
}

static void wide_matmul(float *y, size_t y_stride, const void *w, const void *x, size_t x_stride, size_t rows, size_t k,
                        size_t tokens, size_t prefetch_bytes)
{
    reference_of(HEARTH_OP_MATMUL, HEARTH_Q4_K)->matmul.run(y, y_stride, w, x, x_stride, rows, k, tokens, prefetch_bytes);
    y[rows] = 0.0f;
}

static void wrong_exp(float *y, const float *x, size_t n)
{
    reference_of(HEARTH_OP_EXP, HEARTH_F32)->exp(y, x, n);
    flip(&y[n - 1]);
}

static bool credulous_quantize(void *to, size_t stride, const float *x, size_t begin, size_t end)
{
    reference_of(HEARTH_OP_QUANTIZE_Q8_256, HEARTH_F32)->quantize(to, stride, x, begin, end);
    return true;
}

static void wrong_attention(const struct hearth_attention_query *queries, size_t n, const void *k, const void *v, size_t head_dim,
                            float scale, float softcap, size_t l1_bytes, void *scratch)
{
    reference_of(HEARTH_OP_ATTENTION, HEARTH_F16)->attention(queries, n, k, v, head_dim, scale, softcap, l1_bytes, scratch);
    flip(&queries[n - 1].ml[1]);
}

Test(test_registry, the_self_test_finds_wrong_kernels)
{
    struct hearth_kernel row = *reference_of(HEARTH_OP_MATMUL, HEARTH_Q4_K);
    cr_expect(hearth_kernel_selftest(&row), "an honest copy passes");
    row.matmul.run = wrong_matmul;
    cr_expect_not(hearth_kernel_selftest(&row), "one bit of a product");
    row.matmul.run = wide_matmul;
    cr_expect_not(hearth_kernel_selftest(&row), "writing behind the rows");
    row = *reference_of(HEARTH_OP_EXP, HEARTH_F32);
    row.exp = wrong_exp;
    cr_expect_not(hearth_kernel_selftest(&row), "one bit of exp");
    row = *reference_of(HEARTH_OP_QUANTIZE_Q8_256, HEARTH_F32);
    row.quantize = credulous_quantize;
    cr_expect_not(hearth_kernel_selftest(&row), "infinity accepted");
    row = *reference_of(HEARTH_OP_ATTENTION, HEARTH_F16);
    row.attention = wrong_attention;
    cr_expect_not(hearth_kernel_selftest(&row), "one bit of l");
}

/* ---- The table and the choice ------------------------------------------------------------------------------------ */

static bool same_slot(const struct hearth_kernel *a, const struct hearth_kernel *b)
{
    return a->op == b->op && a->format == b->format;
}

static size_t rank_of(const struct hearth_kernel *kernel)
{
    return (size_t)kernel->op * HEARTH_FORMAT_COUNT + kernel->format;
}

Test(test_registry, rows_stand_in_order_and_carry_their_names)
{
    cr_assert(hearth_kernel_count <= ROWS_MAX);
    bool begun[HEARTH_OP_COUNT * HEARTH_FORMAT_COUNT] = {false};
    for (size_t i = 0; i < hearth_kernel_count; i++) {
        const struct hearth_kernel *row = &hearth_kernels[i];
        const struct hearth_kernel *before = i > 0 ? &hearth_kernels[i - 1] : NULL;
        const size_t length = strlen(row->name), tail = strlen(hearth_cpu_level_name(row->level));
        cr_expect(length > tail && strcmp(row->name + length - tail, hearth_cpu_level_name(row->level)) == 0, "%s", row->name);
        cr_expect(hearth_op_has_format(row->op) || row->format == HEARTH_F32, "%s has a format", row->name);
        if (before != NULL && same_slot(before, row)) {
            cr_expect(before->level < row->level, "%s stands after %s", row->name, before->name);
        } else {
            cr_expect(row->level == HEARTH_CPU_REFERENCE, "%s has no reference before it", row->name);
            cr_expect_not(begun[rank_of(row)], "%s stands apart from its like", row->name);
            begun[rank_of(row)] = true;
        }
        for (size_t j = 0; j < i; j++)
            cr_expect_str_neq(hearth_kernels[j].name, row->name);
    }
}

Test(test_registry, every_operation_and_format_has_a_reference)
{
    struct hearth_kernel_set set;
    hearth_kernels_choose(&set, HEARTH_CPU_REFERENCE, NULL);
    for (uint32_t format = 0; format < HEARTH_FORMAT_COUNT; format++) {
        const bool defined = hearth_format_info(format)->activation != HEARTH_ACTIVATION_NONE;
        cr_expect_eq(set.chosen[HEARTH_OP_MATMUL][format] != NULL, defined, "matmul of format %u", format);
        cr_expect_eq(set.chosen[HEARTH_OP_DEQUANTIZE][format] != NULL, defined, "dequantize of format %u", format);
        cr_expect_eq(set.chosen[HEARTH_OP_ATTENTION][format] != NULL,
                     format == HEARTH_F16 || format == HEARTH_F32 || format == HEARTH_Q8_0);
    }
    for (int op = 0; op < HEARTH_OP_COUNT; op++)
        if (!hearth_op_has_format((enum hearth_op)op)) {
            cr_expect(set.chosen[op][0] != NULL && set.chosen[op][0]->level == HEARTH_CPU_REFERENCE, "operation %d", op);
            cr_expect_null(set.chosen[op][1]);
        }
}

Test(test_registry, the_last_row_of_the_level_wins_unless_refused)
{
    struct hearth_kernel_set set;
    for (int level = 0; level < HEARTH_CPU_LEVEL_COUNT; level++) {
        hearth_kernels_choose(&set, (enum hearth_cpu_level)level, NULL);
        cr_expect_eq((int)set.level, level);
        for (size_t i = 0; i < hearth_kernel_count; i++) {
            const struct hearth_kernel *row = &hearth_kernels[i];
            const bool vnni_on_avx512 = level == HEARTH_CPU_AVX512 && row->level == HEARTH_CPU_AVXVNNI;
            const struct hearth_kernel *chosen = set.chosen[row->op][row->format];
            if ((int)row->level <= level && !vnni_on_avx512)
                cr_expect(chosen >= row && same_slot(chosen, row), "%s at level %d", row->name, level);
            else
                cr_expect(chosen != row, "%s at level %d", row->name, level);
        }
    }
    bool refused[ROWS_MAX];
    for (size_t i = 0; i < hearth_kernel_count; i++)
        refused[i] = hearth_kernels[i].level > HEARTH_CPU_REFERENCE;
    hearth_kernels_choose(&set, HEARTH_CPU_AVX512, refused);
    for (size_t i = 0; i < hearth_kernel_count; i++)
        cr_expect_eq(set.chosen[hearth_kernels[i].op][hearth_kernels[i].format], hearth_kernel_reference(&hearth_kernels[i]));
}

Test(test_registry, what_avxvnni_has_avx512_has_too)
{
    struct hearth_kernel_set vnni, avx512;
    hearth_kernels_choose(&vnni, HEARTH_CPU_AVXVNNI, NULL);
    hearth_kernels_choose(&avx512, HEARTH_CPU_AVX512, NULL);
    for (size_t i = 0; i < hearth_kernel_count; i++) {
        const struct hearth_kernel *row = &hearth_kernels[i];
        if (row->level == HEARTH_CPU_AVXVNNI)
            cr_expect(avx512.chosen[row->op][row->format]->level == HEARTH_CPU_AVX512, "%s", row->name);
    }
}
