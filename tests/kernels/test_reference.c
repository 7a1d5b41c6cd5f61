/* The reference kernels against something else: the golden vectors of docs/quantization.md, a second reading of every format's
 * bits, and the same mathematics in double precision. Everything faster is compared with the reference, so what is right is decided
 * here. */
#include "common/half.h"
#include "common/real.h"
#include "kernel_case.h"
#include "kernels.h"
#include "rng.h"
#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const enum hearth_format quantized[] = {HEARTH_Q4_0, HEARTH_Q4_1, HEARTH_Q5_0, HEARTH_Q5_1, HEARTH_Q8_0, HEARTH_IQ4_NL,
                                               HEARTH_Q2_K, HEARTH_Q3_K, HEARTH_Q4_K, HEARTH_Q5_K, HEARTH_Q6_K, HEARTH_IQ4_XS};
static const enum hearth_format floating[] = {HEARTH_F32, HEARTH_F16, HEARTH_BF16};

static const struct hearth_kernel *reference_of(enum hearth_op op, enum hearth_format format)
{
    const struct hearth_kernel probe = {.op = op, .format = format};
    return hearth_kernel_reference(&probe);
}

static const struct hearth_kernel *reference(enum hearth_op op)
{
    return reference_of(op, HEARTH_F32);
}

/* ---- Golden vectors ---------------------------------------------------------------------------------------------- */

struct golden {
    enum hearth_format format;
    int d, m; /* offsets of the scale fields, -1 for none */
    float elements[9];
    double sum, weighted;
};

/* Elements 0, 1, 15, 16, 31 of blocks of 32, and 0, 1, 16, 32, 63, 100, 128, 200, 255 of super-blocks. */
static const struct golden golden[] = {
    {HEARTH_Q4_0, 0, -1, {0.1875f, -0.25f, -0.375f, 0.1875f, -0.5f}, -2.0625, -49.9375},
    {HEARTH_Q4_1, 0, 2, {0.84375f, 0.40625f, 0.28125f, 0.28125f, 0.59375f}, 15.0625, 233.125},
    {HEARTH_Q5_0, 0, -1, {0.9375f, 0.5f, -0.625f, 0.8125f, 0.125f}, -2.8125, -74.0625},
    {HEARTH_Q5_1, 0, 2, {1.09375f, 0.65625f, 1.53125f, 1.46875f, 0.71875f}, 32.3125, 519.5},
    {HEARTH_Q8_0, 0, -1, {-4.3125f, 0.25f, 0.125f, 4.6875f, -6.875f}, -3, -43},
    {HEARTH_IQ4_NL, 0, -1, {2.375f, -3.0625f, -5.1875f, 2.375f, -7.9375f}, -30.0625, -754.75},
    {HEARTH_Q2_K, 80, 82, {0.5f, 1.0625f, -0.09375f, 1.03125f, 0, 2.40625f, -0.15625f, 0.34375f, -0.21875f}, 127.6875, 15686.875},
    {HEARTH_Q3_K, 108, -1, {-0.4375f, 0.875f, 0.125f, -3.375f, 7, -1.0625f, 1.5f, 4.875f, -1.5f}, 14.625, 2171.625},
    {HEARTH_Q4_K,
     0,
     2,
     {5.78125f, 0.09375f, 5.78125f, 13.3125f, 10.5625f, 37.125f, 11.03125f, 3.375f, -0.71875f},
     3334.5,
     460585.5},
    {HEARTH_Q5_K,
     0,
     2,
     {18.78125f, 0.09375f, 18.78125f, 16.0625f, 13.3125f, 42.125f, 32.03125f, 3.375f, -0.71875f},
     6879.5,
     931531.5},
    {HEARTH_Q6_K, 208, -1, {10.0625f, -2.875f, -21.875f, 69.1875f, 120, -133.375f, -21.4375f, -26.5625f, 18}, -927.75, -101758},
    {HEARTH_IQ4_XS, 0, -1, {-188.5f, 45.3125f, -18.125f, -26, -12.25f, -19.6875f, 110.5f, -19.5f, -46.875f}, -403.125, 55190.6875},
};

static void check_golden(const struct hearth_kernel *dequantize, const struct golden *g)
{
    static const size_t at32[] = {0, 1, 15, 16, 31};
    static const size_t at256[] = {0, 1, 16, 32, 63, 100, 128, 200, 255};
    const struct hearth_format_info *info = hearth_format_info(g->format);
    const size_t n = info->block_elems;
    uint8_t block[256];
    float x[256];
    for (size_t k = 0; k < info->block_bytes; k++)
        block[k] = (uint8_t)(73 * k + 41);
    memcpy(block + g->d, (const uint8_t[]){0x00, 0x2c}, 2);
    if (g->m >= 0)
        memcpy(block + g->m, (const uint8_t[]){0x00, 0x28}, 2);
    dequantize->dequantize(x, block, n);
    for (size_t i = 0; i < (n == 32 ? COUNT(at32) : COUNT(at256)); i++) {
        const size_t at = n == 32 ? at32[i] : at256[i];
        cr_expect_eq(x[at], g->elements[i], "%s: element %zu is %g", dequantize->name, at, (double)x[at]);
    }
    double sum = 0, weighted = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i];
        weighted += (double)(i + 1) * (double)x[i];
    }
    cr_expect_eq(sum, g->sum, "%s: sum %.10g", dequantize->name, sum);
    cr_expect_eq(weighted, g->weighted, "%s: weighted sum %.10g", dequantize->name, weighted);
}

Test(test_reference, dequantize_gives_the_golden_vectors)
{
    cr_assert_eq(COUNT(golden), COUNT(quantized));
    for (size_t i = 0; i < COUNT(golden); i++)
        check_golden(reference_of(HEARTH_OP_DEQUANTIZE, golden[i].format), &golden[i]);
}

/* ---- A second reading of the bits, in double precision ----------------------------------------------------------- */

static double half_at(const uint8_t *B, size_t k)
{
    const unsigned bits = B[k] | (unsigned)B[k + 1] << 8;
    const int exponent = bits >> 10 & 31;
    const double magnitude = exponent == 0 ? ldexp(bits & 1023, -24) : ldexp(1024 + (bits & 1023), exponent - 25);
    return bits & 0x8000 ? -magnitude : magnitude;
}

static int signed_byte(unsigned v)
{
    return v > 127 ? (int)v - 256 : (int)v;
}

static const int iq4_table[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

static unsigned nib(const uint8_t *B, unsigned o, unsigned i)
{
    return (unsigned)B[o + i % 16] >> 4 * (i / 16) & 15;
}

static unsigned bit(const uint8_t *B, unsigned o, unsigned i)
{
    return (unsigned)B[o + i / 8] >> i % 8 & 1;
}

static unsigned two(const uint8_t *B, unsigned o, unsigned i)
{
    return (unsigned)B[o + 32 * (i / 128) + i % 32] >> 2 * (i % 128 / 32) & 3;
}

static unsigned four(const uint8_t *B, unsigned o, unsigned i)
{
    return (unsigned)B[o + 32 * (i / 64) + i % 32] >> 4 * (i / 32 % 2) & 15;
}

static unsigned one(const uint8_t *B, unsigned o, unsigned i)
{
    return (unsigned)B[o + i % 32] >> i / 32 & 1;
}

/* The min of sub-block j of Q4_K and Q5_K, and its scale. */
static unsigned k4_scale(const uint8_t *T, unsigned j)
{
    return j < 4 ? T[j] & 63u : (T[j + 4] & 15u) | (unsigned)T[j - 4] >> 6 << 4;
}

static unsigned k4_min(const uint8_t *T, unsigned j)
{
    return j < 4 ? T[j + 4] & 63u : (unsigned)T[j + 4] >> 4 | (unsigned)T[j] >> 6 << 4;
}

static double value_of_q3_K(const uint8_t *B, unsigned i)
{
    const unsigned s = i / 16;
    const unsigned low = (unsigned)B[96 + s % 8] >> 4 * (s / 8) & 15;
    const unsigned high = (unsigned)B[104 + s % 4] >> 2 * (s / 4) & 3;
    const int scale = (int)(low | high << 4) - 32;
    return half_at(B, 108) * scale * ((int)(two(B, 32, i) + 4 * one(B, 0, i)) - 4);
}

static double value_of_q6_K(const uint8_t *B, unsigned i)
{
    const unsigned h = i / 128, p = i % 128 / 32, l = i % 32;
    const unsigned low = (unsigned)B[64 * h + 32 * (p % 2) + l] >> 4 * (p / 2) & 15;
    return half_at(B, 208) * signed_byte(B[192 + i / 16]) * ((int)(low | two(B, 128, i) << 4) - 32);
}

static double value_of_iq4_xs(const uint8_t *B, unsigned i)
{
    const unsigned j = i / 32, t = i % 32, u = B[2] | (unsigned)B[3] << 8;
    const unsigned scale = ((unsigned)B[4 + j / 2] >> 4 * (j % 2) & 15) | (u >> 2 * j & 3) << 4;
    return half_at(B, 0) * ((int)scale - 32) * iq4_table[B[8 + 16 * j + t % 16] >> 4 * (t / 16) & 15];
}

/* Element i of a block: exact, for no format needs more than 11 + 6 + 8 bits beside a power of two; differences with a min are
 * rounded to double. */
static double value_of(enum hearth_format format, const uint8_t *B, unsigned i)
{
    switch (format) {
    case HEARTH_Q4_0:
        return ((int)nib(B, 2, i) - 8) * half_at(B, 0);
    case HEARTH_Q4_1:
        return nib(B, 4, i) * half_at(B, 0) + half_at(B, 2);
    case HEARTH_Q5_0:
        return ((int)(nib(B, 6, i) | bit(B, 2, i) << 4) - 16) * half_at(B, 0);
    case HEARTH_Q5_1:
        return (nib(B, 8, i) | bit(B, 4, i) << 4) * half_at(B, 0) + half_at(B, 2);
    case HEARTH_Q8_0:
        return signed_byte(B[2 + i]) * half_at(B, 0);
    case HEARTH_IQ4_NL:
        return iq4_table[nib(B, 2, i)] * half_at(B, 0);
    case HEARTH_Q2_K:
        return half_at(B, 80) * (B[i / 16] & 15) * two(B, 16, i) - half_at(B, 82) * (B[i / 16] >> 4);
    case HEARTH_Q3_K:
        return value_of_q3_K(B, i);
    case HEARTH_Q4_K:
        return half_at(B, 0) * k4_scale(B + 4, i / 32) * four(B, 16, i) - half_at(B, 2) * k4_min(B + 4, i / 32);
    case HEARTH_Q5_K:
        return half_at(B, 0) * k4_scale(B + 4, i / 32) * (four(B, 48, i) | one(B, 16, i) << 4) -
               half_at(B, 2) * k4_min(B + 4, i / 32);
    case HEARTH_Q6_K:
        return value_of_q6_K(B, i);
    case HEARTH_IQ4_XS:
        return value_of_iq4_xs(B, i);
    case HEARTH_F16:
        return half_at(B, 0);
    case HEARTH_BF16:
        return (double)hearth_bf16_to_f32((uint16_t)(B[0] | B[1] << 8));
    default: {
        float x;
        memcpy(&x, B, sizeof x);
        return (double)x;
    }
    }
}

static double value_in_row(enum hearth_format format, const uint8_t *row, size_t i)
{
    const struct hearth_format_info *info = hearth_format_info(format);
    return value_of(format, row + i / info->block_elems * info->block_bytes, (unsigned)(i % info->block_elems));
}

/* Three roundings at most: relative to the larger of product and min, 3 * 2^-24, plus the last place of a subnormal number. */
static void check_dequantize(struct rng *rng, enum hearth_format format, enum case_kind kind)
{
    const size_t k = hearth_format_info(format)->block_elems == 1 ? 77 : 768;
    uint8_t row[768 * 4];
    float y[768];
    case_weights(rng, row, format, k, kind);
    reference_of(HEARTH_OP_DEQUANTIZE, format)->dequantize(y, row, k);
    double largest = 0;
    for (size_t i = 0; i < k; i++)
        largest = fmax(largest, fabs(value_in_row(format, row, i)));
    for (size_t i = 0; i < k; i++) {
        const double exact = value_in_row(format, row, i);
        cr_assert(fabs((double)y[i] - exact) <= largest * 4 * 0x1p-24 + 0x1p-149, "format %d %s: element %zu is %g, not %g",
                  (int)format, case_kind_name(kind), i, (double)y[i], exact);
    }
}

Test(test_reference, dequantize_equals_the_second_reading)
{
    struct rng rng = rng_start();
    for (int kind = 0; kind < CASE_KIND_COUNT; kind++) {
        for (size_t f = 0; f < COUNT(quantized); f++)
            check_dequantize(&rng, quantized[f], (enum case_kind)kind);
        for (size_t f = 0; f < COUNT(floating); f++)
            check_dequantize(&rng, floating[f], (enum case_kind)kind);
    }
}

/* ---- Products ---------------------------------------------------------------------------------------------------- */

/* What activation i of a token stands for. */
static double activation_value(enum hearth_activation activation, const uint8_t *token, size_t x_stride, size_t i)
{
    const uint8_t *at = token + i / 256 * x_stride;
    const struct hearth_q8_256 *wide = (const struct hearth_q8_256 *)(const void *)at;
    const struct hearth_q8_32 *narrow = (const struct hearth_q8_32 *)(const void *)at;
    float x;
    if (activation == HEARTH_ACTIVATION_Q8_32)
        return (double)narrow->s[i % 256 / 32] * narrow->q[i % 256];
    if (activation == HEARTH_ACTIVATION_Q8_256)
        return (double)wide->s * wide->q[i % 256];
    memcpy(&x, token + i * sizeof x, sizeof x);
    return (double)x;
}

/* Each block adds at most five roundings of terms no larger than the sum of |w||x|, |w| taken as the row's largest because a weight
 * can be a small difference of a product and a min. Where d * s is subnormal, its last place times the integer is lost: 2^-150 *
 * 2^19 for each block. */
static void check_product(struct rng *rng, enum hearth_format format, size_t k, enum case_kind kind)
{
    enum { ROWS = 3, TOKENS = 4, STRIDE = 5 };
    const struct hearth_kernel *kernel = reference_of(HEARTH_OP_MATMUL, format);
    const enum hearth_activation activation = hearth_format_info(format)->activation;
    const size_t row_bytes = hearth_row_bytes(format, k);
    const size_t tile_bytes = kernel->matmul.tile_bytes(k);
    const size_t x_stride = hearth_activation_stride(activation, k, TOKENS), x_step = hearth_activation_step(activation, x_stride);
    uint8_t *file = malloc(ROWS * row_bytes), *tiles = malloc(ROWS * tile_bytes);
    uint8_t *x = malloc(TOKENS * hearth_activation_bytes(activation, k));
    float y[TOKENS * STRIDE];
    cr_assert(file != NULL && tiles != NULL && x != NULL);
    for (size_t r = 0; r < ROWS; r++) {
        case_weights(rng, file + r * row_bytes, format, k, kind);
        kernel->matmul.pack(tiles + r * tile_bytes, file + r * row_bytes, 1, k);
    }
    for (size_t t = 0; t < TOKENS; t++)
        case_activations(rng, x + t * x_step, x_stride, activation, k, kind);
    kernel->matmul.run(y, STRIDE, tiles, x, x_stride, ROWS, k, TOKENS, HEARTH_PREFETCH_BYTES);
    for (size_t r = 0; r < ROWS; r++)
        for (size_t t = 0; t < TOKENS; t++) {
            double sum = 0, size = 0, largest = 0;
            for (size_t i = 0; i < k; i++)
                largest = fmax(largest, fabs(value_in_row(format, file + r * row_bytes, i)));
            for (size_t i = 0; i < k; i++) {
                const double a = activation_value(activation, x + t * x_step, x_stride, i);
                sum += value_in_row(format, file + r * row_bytes, i) * a;
                size += largest * fabs(a);
            }
            const double got = (double)y[t * STRIDE + r];
            cr_assert(fabs(got - sum) <= 1e-6 * size + 0x1p-126, "%s %s k=%zu: %g, exactly %g of %g", kernel->name,
                      case_kind_name(kind), k, got, sum, size);
        }
    free(file);
    free(tiles);
    free(x);
}

Test(test_reference, products_equal_double_precision)
{
    static const size_t blocks[] = {1, 2, 3, 7, 17};
    static const size_t lengths[] = {1, 15, 16, 17, 100, 1000};
    struct rng rng = rng_start();
    for (int kind = 0; kind < CASE_KIND_COUNT; kind++) {
        for (size_t f = 0; f < COUNT(quantized); f++)
            for (size_t i = 0; i < COUNT(blocks); i++)
                check_product(&rng, quantized[f], blocks[i] * hearth_format_info(quantized[f])->block_elems, (enum case_kind)kind);
        for (size_t f = 0; f < COUNT(floating); f++)
            for (size_t i = 0; i < COUNT(lengths); i++)
                check_product(&rng, floating[f], lengths[i], (enum case_kind)kind);
    }
}

/* One row and one token alone give what they give among others. */
Test(test_reference, rows_and_tokens_do_not_touch_each_other)
{
    enum { ROWS = 4, TOKENS = 5, K = 512 };
    struct rng rng = rng_start();
    _Alignas(64) static uint8_t file[K * 4], tiles[ROWS * K * 4], x[TOKENS * K * 4];
    for (size_t f = 0; f < COUNT(quantized) + COUNT(floating); f++) {
        const enum hearth_format format = f < COUNT(quantized) ? quantized[f] : floating[f - COUNT(quantized)];
        const struct hearth_kernel *kernel = reference_of(HEARTH_OP_MATMUL, format);
        const enum hearth_activation activation = hearth_format_info(format)->activation;
        const size_t tile_bytes = kernel->matmul.tile_bytes(K), stride = hearth_activation_stride(activation, K, TOKENS);
        const size_t step = hearth_activation_step(activation, stride);
        float all[TOKENS * ROWS];
        for (size_t r = 0; r < ROWS; r++) {
            case_weights(&rng, file, format, K, CASE_RANDOM);
            kernel->matmul.pack(tiles + r * tile_bytes, file, 1, K);
        }
        for (size_t t = 0; t < TOKENS; t++)
            case_activations(&rng, x + t * step, stride, activation, K, CASE_RANDOM);
        kernel->matmul.run(all, ROWS, tiles, x, stride, ROWS, K, TOKENS, HEARTH_PREFETCH_BYTES);
        for (size_t r = 0; r < ROWS; r++)
            for (size_t t = 0; t < TOKENS; t++) {
                float alone;
                kernel->matmul.run(&alone, 1, tiles + r * tile_bytes, x + t * step, stride, 1, K, 1, HEARTH_PREFETCH_BYTES);
                cr_expect_eq(first_different(&alone, &all[t * ROWS + r], 1), 1, "%s row %zu token %zu", kernel->name, r, t);
            }
    }
}

/* ---- Quantization of activations --------------------------------------------------------------------------------- */

static void check_quantized(const float *x, const uint8_t *units, size_t k, bool wide)
{
    const size_t group = wide ? 256 : 32;
    const enum hearth_activation activation = wide ? HEARTH_ACTIVATION_Q8_256 : HEARTH_ACTIVATION_Q8_32;
    for (size_t g = 0; g < k / group; g++) {
        double largest = 0;
        for (size_t i = 0; i < group; i++)
            largest = fmax(largest, fabs((double)x[g * group + i]));
        for (size_t i = g * group; i < (g + 1) * group; i++) {
            const int8_t q = (int8_t)units[i / 256 * HEARTH_UNIT_BYTES + i % 256];
            const double error = fabs(activation_value(activation, units, HEARTH_UNIT_BYTES, i) - (double)x[i]);
            cr_assert(error <= largest / 127 * 0.50002 + 0x1p-120, "element %zu: %g is off by %g", i, (double)x[i], error);
            if (largest >= 0x1p-100 && fabs((double)x[i]) == largest)
                cr_assert_eq(abs(q), 127);
            if (largest < 0x1p-120)
                cr_assert_eq(q, 0);
        }
    }
}

static int sum_of(const int8_t *q, size_t n)
{
    int sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += q[i];
    return sum;
}

static void check_spans(const struct hearth_q8_256 *unit)
{
    const struct hearth_spans largest = case_spans(unit->q);
    cr_assert_eq(unit->spans.of32, largest.of32);
    cr_assert_eq(unit->spans.of16, largest.of16);
    cr_assert_eq(unit->spans.of8, largest.of8);
}

static void check_sums(const void *units, size_t k, bool wide)
{
    const struct hearth_q8_256 *u = units;
    const struct hearth_q8_32 *v = units;
    for (size_t j = 0; j < k / 32; j++)
        cr_assert_eq(wide ? u[j / 8].sums32[j % 8] : v[j / 8].sums[j % 8], sum_of(u[j / 8].q + 32 * (j % 8), 32));
    for (size_t j = 0; wide && j < k / 16; j++)
        cr_assert_eq(u[j / 16].sums16[j % 16], sum_of(u[j / 16].q + 16 * (j % 16), 16));
    for (size_t b = 0; wide && b < k / 256; b++)
        check_spans(&u[b]);
}

Test(test_reference, quantization_is_within_half_a_step)
{
    enum { K = 1024 };
    static float x[K];
    _Alignas(64) static uint8_t row[K / 256 * HEARTH_UNIT_BYTES];
    struct rng rng = rng_start();
    for (int repeat = 0; repeat < 200; repeat++) {
        const int high = (int)rng_below(&rng, 250) - 124;
        for (size_t i = 0; i < K; i++)
            x[i] = rng_magnitude(&rng, high > -110 ? high - 12 : -126, high);
        for (int wide = 0; wide < 2; wide++) {
            const enum hearth_op op = wide ? HEARTH_OP_QUANTIZE_Q8_256 : HEARTH_OP_QUANTIZE_Q8_32;
            cr_assert(reference(op)->quantize(row, HEARTH_UNIT_BYTES, x, 0, K));
            check_quantized(x, row, K, wide);
            check_sums(row, K, wide);
        }
    }
}

/* Blocks of Q8_0 for the cache: scales are halves, above the smallest of them within their own rounding. */
Test(test_reference, q8_0_is_within_half_a_step)
{
    enum { K = 1024 };
    static float x[K];
    static uint8_t row[K / 32 * 34];
    struct rng rng = rng_start();
    for (int repeat = 0; repeat < 200; repeat++) {
        const int high = (int)rng_below(&rng, 34) - 12;
        for (size_t i = 0; i < K; i++)
            x[i] = rng_magnitude(&rng, high - 12, high);
        cr_assert(reference(HEARTH_OP_QUANTIZE_Q8_0)->quantize(row, HEARTH_UNIT_BYTES, x, 0, K));
        for (size_t i = 0; i < K; i++) {
            const uint8_t *block = row + i / 32 * 34;
            float largest = 0;
            for (size_t j = i / 32 * 32; j < i / 32 * 32 + 32; j++)
                largest = fmaxf(largest, fabsf(x[j]));
            const double error = fabs(value_of(HEARTH_Q8_0, block, i % 32) - (double)x[i]);
            const double step = (double)largest / 127;
            /* Half a step; a scale rounded down by 2^-12 or half a unit cuts the largest off by 127 times that. */
            cr_assert(error <= 0.5002 * step + 127 * 0x1p-25, "element %zu: %g is off by %g", i, (double)x[i], error);
        }
    }
    memset(x, 0, sizeof x);
    x[40] = 127 * 0x1p-25f; /* a tie: the scale is 0 */
    cr_assert(reference(HEARTH_OP_QUANTIZE_Q8_0)->quantize(row, 0, x, 0, 64));
    cr_expect(row[34] == 0 && row[35] == 0 && row[34 + 2 + 8] == 0);
    x[40] = -127.0f * 65519.0f;
    cr_assert(reference(HEARTH_OP_QUANTIZE_Q8_0)->quantize(row, 0, x, 0, 64));
    cr_expect(row[34] == 0xff && row[35] == 0x7b && signed_byte(row[34 + 2 + 8]) == -127);
}

Test(test_reference, quantization_at_its_ends)
{
    struct hearth_q8_256 wide;
    struct hearth_q8_32 narrow;
    float x[256] = {0};
    const struct hearth_kernel *kernel = reference(HEARTH_OP_QUANTIZE_Q8_256);
    x[3] = -hearth_f32_from_bits(0x7f7fffffu);
    cr_assert(kernel->quantize(&wide, HEARTH_UNIT_BYTES, x, 0, 256), "the largest finite number");
    cr_expect_eq(wide.q[3], -127);
    x[3] = 0x1p-120f;
    cr_assert(kernel->quantize(&wide, HEARTH_UNIT_BYTES, x, 0, 256));
    cr_expect(wide.s == 0x1p-120f / 127.0f && wide.s > 0, "a subnormal scale is kept");
    cr_expect_eq(wide.q[3], 127);
    x[3] = hearth_f32_from_bits(hearth_f32_bits(0x1p-120f) - 1);
    cr_assert(kernel->quantize(&wide, HEARTH_UNIT_BYTES, x, 0, 256));
    cr_expect_eq(hearth_f32_bits(wide.s), 0);
    cr_expect_eq(wide.q[3], 0);
    x[0] = 127.0f; /* then r = 1: ties go to even */
    x[1] = 0.5f, x[2] = 1.5f, x[3] = -2.5f, x[4] = -3.5f;
    cr_assert(kernel->quantize(&wide, HEARTH_UNIT_BYTES, x, 0, 256));
    cr_expect(wide.q[1] == 0 && wide.q[2] == 2 && wide.q[3] == -2 && wide.q[4] == -4);
    static const uint32_t bad[] = {0x7f800000u, 0xff800000u, 0x7fc00000u, 0xffffffffu, 0x7f800001u};
    for (size_t i = 0; i < COUNT(bad); i++) {
        x[255] = hearth_f32_from_bits(bad[i]);
        cr_expect_not(kernel->quantize(&wide, HEARTH_UNIT_BYTES, x, 0, 256), "%08x", bad[i]);
        cr_expect_not(reference(HEARTH_OP_QUANTIZE_Q8_32)->quantize(&narrow, HEARTH_UNIT_BYTES, x, 0, 256), "%08x", bad[i]);
    }
}

/* ---- Half floats ------------------------------------------------------------------------------------------------- */

Test(test_reference, every_half_float_widens_exactly_and_comes_back)
{
    for (unsigned h = 0; h < 65536; h++) {
        const uint8_t bytes[2] = {(uint8_t)h, (uint8_t)(h >> 8)};
        const bool finite = (h & 0x7c00) != 0x7c00;
        float x;
        uint16_t back;
        reference_of(HEARTH_OP_DEQUANTIZE, HEARTH_F16)->dequantize(&x, bytes, 1);
        reference(HEARTH_OP_TO_F16)->to_f16(&back, &x, 1);
        if (finite)
            cr_assert((double)x == half_at(bytes, 0) && (signbit(x) != 0) == (h >> 15 != 0), "%04x is %g", h, (double)x);
        cr_assert_eq(back, (h & 0x7fff) > 0x7c00 ? (h | 0x200) : h, "%04x comes back as %04x", h, back);
    }
}

/* Between neighbours: below, at and above the middle. */
Test(test_reference, halves_round_to_nearest_even)
{
    const struct hearth_kernel *kernel = reference(HEARTH_OP_TO_F16);
    for (unsigned h = 0; h < 0x7c00; h++) {
        const uint8_t low[2] = {(uint8_t)h, (uint8_t)(h >> 8)}, high[2] = {(uint8_t)(h + 1), (uint8_t)((h + 1) >> 8)};
        const double next = h == 0x7bff ? 65536.0 : half_at(high, 0);
        const float middle = (float)((half_at(low, 0) + next) / 2); /* exact: one bit more */
        const float x[3] = {hearth_f32_from_bits(hearth_f32_bits(middle) - 1), middle,
                            hearth_f32_from_bits(hearth_f32_bits(middle) + 1)};
        uint16_t y[3];
        kernel->to_f16(y, x, 3);
        cr_assert(y[0] == h && y[1] == h + (h & 1) && y[2] == h + 1, "after %04x: %04x %04x %04x", h, y[0], y[1], y[2]);
    }
}

/* ---- exp and its like -------------------------------------------------------------------------------------------- */

Test(test_reference, exp_is_within_one_unit_in_the_last_place)
{
    double worst = 0;
    for (uint32_t step = 0; step < 2000000; step++) {
        const float x = -87.0f + 175.0f * (float)step / 2000000.0f;
        float y;
        reference(HEARTH_OP_EXP)->exp(&y, &x, 1);
        const double exact = exp((double)x);
        const double unit = ldexp(1.0, ilogb(exact) - 23);
        worst = fmax(worst, fabs((double)y - exact) / unit);
    }
    cr_log_info("exp: %.3f units in the last place", worst);
    cr_expect_lt(worst, 1.0, "exp is off by %.3f units in the last place", worst);
}

Test(test_reference, exp_at_its_ends)
{
    const float x[] = {0.0f,
                       -0.0f,
                       HEARTH_EXP_MAX,
                       nextafterf(HEARTH_EXP_MAX, 100),
                       HEARTH_EXP_MIN,
                       nextafterf(HEARTH_EXP_MIN, -100),
                       1e-30f,
                       -0x1p-149f,
                       INFINITY,
                       -INFINITY,
                       NAN};
    float y[COUNT(x)];
    reference(HEARTH_OP_EXP)->exp(y, x, COUNT(x));
    cr_expect(y[0] == 1.0f && y[1] == 1.0f && y[6] == 1.0f && y[7] == 1.0f);
    cr_expect(isfinite(y[2]) && isinf(y[3]) && y[3] > 0);
    cr_expect(y[4] >= FLT_MIN && hearth_f32_bits(y[5]) == 0);
    cr_expect(isinf(y[8]) && hearth_f32_bits(y[9]) == 0 && hearth_f32_bits(y[10]) == 0x7fc00000u);
}

/* The bounds that common/real.h states, over all z where the result is neither z nor 0, against the form of the definition that
 * does not cancel. */
Test(test_reference, gelu_is_within_its_bounds)
{
    for (uint32_t step = 0; step < 2000000; step++) {
        const float z = -11.0f + 22.0f * (float)step / 2000000.0f;
        float y;
        reference(HEARTH_OP_GELU)->gelu(&y, &z, 1);
        const double two_u = 2 * sqrt(2 / acos(-1.0)) * ((double)z + 0.044715 * pow((double)z, 3));
        const double exact = (double)z / (1 + exp(-two_u));
        const double error = fabs((double)y - exact);
        cr_assert(error <= 0x1p-23 * fabs((double)z), "gelu(%a) is %a", (double)z, (double)y);
        cr_assert(error <= 3 * (4 + fabs(two_u)) * 0x1p-24 * fabs(exact) + 1e-37, "gelu(%a) is %a", (double)z, (double)y);
        if (z > 0)
            cr_assert(error <= 2 * ldexp(1.0, ilogb(exact) - 23), "gelu(%a) is %a", (double)z, (double)y);
    }
}

Test(test_reference, gelu_at_its_ends)
{
    const float x[] = {0.0f, -0.0f, 7.0f, 1e30f, -10.04f, -1e30f, 0x1p-149f};
    float y[COUNT(x)];
    reference(HEARTH_OP_GELU)->gelu(y, x, COUNT(x));
    cr_expect(hearth_f32_bits(y[0]) == 0 && hearth_f32_bits(y[1]) == 0x80000000u);
    cr_expect(y[2] == 7.0f && y[3] == 1e30f);
    cr_expect(hearth_f32_bits(y[4]) == 0x80000000u && hearth_f32_bits(y[5]) == 0x80000000u);
    cr_expect(y[6] == 0.0f); /* half of the least number, to even */
}

/* Every 257th float from the least up; then the ends, and what saturates. */
Test(test_reference, softcap_equals_double_precision)
{
    static const float caps[] = {1.0f, 30.0f, 50.0f, 0.37f};
    for (size_t c = 0; c < COUNT(caps); c++)
        for (uint32_t bits = 1; bits < 0x7f800000u; bits += 257) {
            const float x = hearth_f32_from_bits(bits | (bits & 1) << 31);
            const double exact = (double)caps[c] * tanh((double)x / (double)caps[c]);
            float y;
            reference(HEARTH_OP_SOFTCAP)->softcap(&y, &x, caps[c], 1);
            cr_assert(fabs((double)y - exact) <= 0x1p-21 * fabs(exact) + (double)caps[c] * 0x1p-147 + 0x1p-147,
                      "cap %g, x %a: %a, exactly %a", (double)caps[c], (double)x, (double)y, exact);
        }
    const float x[] = {INFINITY, -INFINITY, 0.0f, NAN, 1e30f};
    float y[COUNT(x)];
    reference(HEARTH_OP_SOFTCAP)->softcap(y, x, 30.0f, COUNT(x));
    cr_expect(y[0] == 30.0f && y[1] == -30.0f && y[2] == 0.0f && isnan(y[3]) && y[4] == 30.0f);
}

static void expect_near(const char *what, const float *y, const double *exact, size_t n, double relative)
{
    for (size_t i = 0; i < n; i++)
        cr_assert(fabs((double)y[i] - exact[i]) <= relative * fabs(exact[i]) + 1e-37, "%s: element %zu of %zu is %g, exactly %g",
                  what, i, n, (double)y[i], exact[i]);
}

#define N_MAX 1000

Test(test_reference, rows_of_floats_equal_double_precision)
{
    static float x[N_MAX], w[N_MAX], y[N_MAX];
    static double exact[N_MAX];
    struct rng rng = rng_start();
    for (size_t n = 1; n <= N_MAX; n += n < 40 ? 1 : 61) {
        case_floats(&rng, x, n);
        case_floats(&rng, w, n);
        double squares = 0, sum = 0, largest = -INFINITY;
        for (size_t i = 0; i < n; i++) {
            squares += (double)x[i] * (double)x[i];
            largest = fmax(largest, (double)x[i]);
        }
        for (size_t i = 0; i < n; i++)
            sum += exp((double)x[i] - largest);
        for (size_t i = 0; i < n; i++)
            exact[i] = (double)x[i] / sqrt(squares / (double)n + (double)1e-5f) * (double)w[i];
        reference(HEARTH_OP_RMS_NORM)->rms_norm(y, x, w, n, 1e-5f);
        expect_near("rms_norm", y, exact, n, 1e-5);
        for (size_t i = 0; i < n; i++)
            exact[i] = exp((double)x[i] - largest) / sum;
        reference(HEARTH_OP_SOFTMAX)->softmax(y, x, n);
        expect_near("softmax", y, exact, n, 1e-5); /* x - max is rounded: up to 2^-19 of exp's argument */
        for (size_t i = 0; i < n; i++)
            exact[i] = (double)x[i] / (1 + exp(-(double)x[i])) * (double)w[i];
        reference(HEARTH_OP_SILU_MUL)->silu_mul(y, x, w, n);
        expect_near("silu_mul", y, exact, n, 1e-6);
        reference(HEARTH_OP_GELU)->gelu(y, x, n);
        for (size_t i = 0; i < n; i++)
            exact[i] = (double)y[i] * (double)w[i];
        reference(HEARTH_OP_GELU_MUL)->gelu_mul(y, x, w, n);
        expect_near("gelu_mul", y, exact, n, 0x1p-24);
        for (size_t i = 0; i < n; i++)
            exact[i] = (double)(float)((double)x[i] + (double)w[i]);
        memcpy(y, w, n * sizeof *y);
        reference(HEARTH_OP_ADD)->add(y, x, n);
        expect_near("add", y, exact, n, 0x1p-24);
    }
}

/* The error of a normalised element is that of its difference with the mean, relative to the deviation: rounding the mean and the
 * difference loses up to 2^-22 of the largest element. */
Test(test_reference, layer_norm_equals_double_precision)
{
    static float x[N_MAX], w[N_MAX], bias[N_MAX], y[N_MAX];
    struct rng rng = rng_start();
    for (size_t n = 2; n <= N_MAX; n += n < 40 ? 1 : 61) {
        case_floats(&rng, w, n);
        case_floats(&rng, bias, n);
        const float offset = n % 3 == 0 ? 100.0f : 0.0f;
        double mean = 0, squares = 0;
        for (size_t i = 0; i < n; i++) {
            x[i] = offset + rng_uniform(&rng, -2.0f, 2.0f);
            mean += (double)x[i] / (double)n;
        }
        for (size_t i = 0; i < n; i++)
            squares += ((double)x[i] - mean) * ((double)x[i] - mean);
        const double deviation = sqrt(squares / (double)n + (double)1e-5f);
        const double bound = 0x1p-21 * ((double)offset + 2) / deviation + 0x1p-20 * 2 / deviation;
        reference(HEARTH_OP_LAYER_NORM)->layer_norm(y, x, w, bias, n, 1e-5f);
        for (size_t i = 0; i < n; i++) {
            const double exact = ((double)x[i] - mean) / deviation * (double)w[i] + (double)bias[i];
            const double allowed = bound * fabs((double)w[i]) + 0x1p-23 * fabs(exact);
            cr_assert(fabs((double)y[i] - exact) <= allowed, "layer_norm: element %zu of %zu is %g, exactly %g", i, n, (double)y[i],
                      exact);
        }
    }
}

Test(test_reference, layer_norm_follows_the_16_lanes)
{
    /* 2^24 in lane 0 swallows the one added after it, but not the 15 in lane 1: the mean is exactly the last element. */
    float x[32] = {[0] = 0x1p+24f, [1] = 15.0f, [16] = 1.0f, [31] = 541201.0f}, w[32], bias[32], y[32];
    for (int i = 0; i < 32; i++)
        w[i] = 1.0f, bias[i] = 0.0f;
    reference(HEARTH_OP_LAYER_NORM)->layer_norm(y, x, w, bias, 32, 0.0f);
    cr_expect_eq(y[31], 0.0f);
    cr_expect(y[0] > 5.0f && y[1] < 0.0f);
}

Test(test_reference, rms_norm_follows_the_16_lanes)
{
    /* 2^24 in lane 0 swallows ones added after it in the same lane, but not those of other lanes. */
    float x[32], w[32], y[32];
    for (int i = 0; i < 32; i++)
        x[i] = w[i] = 1.0f;
    x[0] = 4096.0f;
    reference(HEARTH_OP_RMS_NORM)->rms_norm(y, x, w, 32, 0.0f);
    const float sum = 16777216.0f + 30.0f; /* lane 0 stays at 2^24, 15 lanes of 2 */
    const float scale = 1.0f / sqrtf(sum / 32.0f);
    cr_expect_eq(y[1], scale);
    cr_expect_eq(y[0], 4096.0f * scale);
}

Test(test_reference, softmax_of_equals_and_of_masked)
{
    float x[5] = {3.0f, -INFINITY, 3.0f, -INFINITY, -200.0f}, y[5];
    reference(HEARTH_OP_SOFTMAX)->softmax(y, x, 5);
    cr_expect(y[0] == 0.5f && y[1] == 0.0f && y[2] == 0.5f && y[3] == 0.0f && y[4] == 0.0f);
}

/* Element i of pair p of a head. */
static int pair_at(enum hearth_op op, int n_rot, int p, int i)
{
    return op == HEARTH_OP_ROPE ? 2 * p + i : p + i * n_rot / 2;
}

static void check_rope(struct rng *rng, enum hearth_op op)
{
    enum { HEADS = 3, DIM = 20, ROT = 16 };
    float x[HEADS * DIM], old[HEADS * DIM], c[ROT / 2], s[ROT / 2];
    case_floats(rng, x, COUNT(x));
    memcpy(old, x, sizeof x);
    for (int i = 0; i < ROT / 2; i++) {
        const double angle = (double)rng_uniform(rng, -3.0f, 3.0f);
        c[i] = (float)cos(angle);
        s[i] = (float)sin(angle);
    }
    reference(op)->rope(x, HEADS, DIM, ROT, c, s);
    for (int h = 0; h < HEADS; h++) {
        for (int i = ROT; i < DIM; i++)
            cr_expect(x[h * DIM + i] == old[h * DIM + i], "element behind the rotated ones");
        for (int p = 0; p < ROT / 2; p++) {
            const int first = h * DIM + pair_at(op, ROT, p, 0), second = h * DIM + pair_at(op, ROT, p, 1);
            const double a = (double)old[first], b = (double)old[second];
            const double size = 0x1p-22 * (fabs(a) + fabs(b));
            cr_expect_leq(fabs((double)x[first] - (a * (double)c[p] - b * (double)s[p])), size);
            cr_expect_leq(fabs((double)x[second] - (a * (double)s[p] + b * (double)c[p])), size);
        }
    }
}

Test(test_reference, rope_turns_its_pairs)
{
    struct rng rng = rng_start();
    check_rope(&rng, HEARTH_OP_ROPE);
    check_rope(&rng, HEARTH_OP_ROPE_NEOX);
}

/* ---- Attention --------------------------------------------------------------------------------------------------- */

struct cache {
    enum hearth_format format;
    size_t dim, positions;
    uint8_t *k, *v;
};

/* The layouts once more, read from kernels.h. */
static double key_at(const struct cache *c, size_t p, size_t d)
{
    if (c->format == HEARTH_Q8_0) {
        const uint8_t *group = c->k + (p / 32 * hearth_cache_groups(c->dim) + d / 32) * 1088;
        return signed_byte(group[d % 32 / 4 * 128 + p % 32 * 4 + d % 4]) * half_at(group, 1024 + p % 32 * 2);
    }
    return value_of(c->format, c->k + ((p / 32 * c->dim + d) * 32 + p % 32) * hearth_format_info(c->format)->block_bytes, 0);
}

static double value_at(const struct cache *c, size_t p, size_t d)
{
    if (c->format == HEARTH_Q8_0) {
        const size_t groups = hearth_cache_groups(c->dim);
        return signed_byte(c->v[p * 34 * groups + d]) * half_at(c->v + p * 34 * groups, 32 * groups + d / 32 * 2);
    }
    return value_of(c->format, c->v + (p * c->dim + d) * hearth_format_info(c->format)->block_bytes, 0);
}

/* softmax(scale * q K) V over [begin, end), straight from the definition. */
static void exact_attention(double *o, const struct cache *c, const float *q, size_t begin, size_t end, float scale, float softcap)
{
    double *s = malloc((end - begin) * sizeof *s);
    double largest = -INFINITY, sum = 0;
    cr_assert_not_null(s);
    for (size_t p = begin; p < end; p++) {
        double dot = 0;
        for (size_t d = 0; d < c->dim; d++)
            dot += (double)q[d] * key_at(c, p, d);
        s[p - begin] = dot * (double)scale;
        if (softcap > 0)
            s[p - begin] = (double)softcap * tanh(s[p - begin] / (double)softcap);
        largest = fmax(largest, s[p - begin]);
    }
    memset(o, 0, c->dim * sizeof *o);
    for (size_t p = begin; p < end; p++) {
        const double e = exp(s[p - begin] - largest);
        sum += e;
        for (size_t d = 0; d < c->dim; d++)
            o[d] += e * value_at(c, p, d);
    }
    for (size_t d = 0; d < c->dim; d++)
        o[d] /= sum;
    free(s);
}

/* Segments afresh, merged upwards, as the engine does. */
static void walk(float *o, const struct cache *c, const float *q, size_t begin, size_t end, float scale, float softcap)
{
    const struct hearth_kernel *kernel = reference_of(HEARTH_OP_ATTENTION, c->format);
    const struct hearth_kernel *merge = reference(HEARTH_OP_ATTENTION_MERGE);
    float ml[2], later[256], ml_later[2], padded[256] = {0.0f};
    _Alignas(64) uint8_t row[1024];
    memcpy(padded, q, c->dim * sizeof *q);
    if (c->format == HEARTH_Q8_0)
        cr_assert(
            reference(HEARTH_OP_QUANTIZE_Q8_32)->quantize(row, HEARTH_UNIT_BYTES, padded, 0, 32 * hearth_cache_groups(c->dim)));
    for (size_t p = begin; p < end;) {
        const size_t segment_end = (p / HEARTH_SEGMENT + 1) * HEARTH_SEGMENT;
        const size_t stop = segment_end < end ? segment_end : end;
        const bool first = p == begin;
        const struct hearth_attention_query query = {c->format == HEARTH_Q8_0 ? (const void *)row : q, first ? o : later,
                                                     first ? ml : ml_later, p, stop};
        kernel->attention(&query, 1, c->k, c->v, c->dim, scale, softcap, 0, NULL);
        if (!first)
            merge->attention_merge(o, ml, later, ml_later, c->dim);
        p = stop;
    }
    merge->attention_merge(o, ml, NULL, NULL, c->dim);
}

static void fill_cache(struct rng *rng, const struct cache *c)
{
    if (c->format != HEARTH_Q8_0) {
        case_cache(rng, c->k, c->format, c->positions * c->dim, 1.0f);
        case_cache(rng, c->v, c->format, c->positions * c->dim, 1.0f);
        return;
    }
    const size_t groups = hearth_cache_groups(c->dim);
    const uint16_t scale = hearth_f32_to_f16(1.0f / 127.0f);
    for (size_t i = 0; i < c->positions / 32 * groups * 1088; i++)
        c->k[i] = c->v[i] = (uint8_t)((int)rng_below(rng, 255) - 127);
    for (size_t i = 0; i < c->positions * groups; i++) /* the same number of scales, 34 bytes each in the mean */
        memcpy(c->k + i / 32 * 1088 + 1024 + i % 32 * 2, &scale, 2);
    for (size_t p = 0; p < c->positions; p++)
        for (size_t j = 0; j < groups; j++)
            memcpy(c->v + p * 34 * groups + 32 * groups + 2 * j, &scale, 2);
}

static void check_attention(struct rng *rng, enum hearth_format format, size_t dim, float scale, float softcap)
{
    struct cache c = {.format = format, .dim = dim, .positions = 1024};
    const size_t bytes = c.positions / HEARTH_KEY_BLOCK * hearth_cache_block_bytes(format, dim);
    c.k = malloc(bytes);
    c.v = malloc(bytes);
    cr_assert(c.k != NULL && c.v != NULL);
    fill_cache(rng, &c);
    float q[256], o[256];
    double exact[256];
    for (int repeat = 0; repeat < 12; repeat++) {
        const size_t begin = rng_below(rng, 1000);
        const size_t end = begin + 1 + rng_below(rng, (uint32_t)(c.positions - begin));
        for (size_t d = 0; d < dim; d++)
            q[d] = rng_uniform(rng, -1.0f, 1.0f);
        walk(o, &c, q, begin, end, scale, softcap);
        exact_attention(exact, &c, q, begin, end, scale, softcap);
        /* Scores are below dim * scale; their error moves every weight by as much, and |v| <= 1. A quantized query is off by 1/254.
         */
        const double bound = (format == HEARTH_Q8_0 ? 4e-3 : 1e-6) * (4.0 + (double)scale * (double)dim);
        for (size_t d = 0; d < dim; d++)
            cr_assert(fabs((double)o[d] - exact[d]) <= bound, "format %d head_dim %zu [%zu, %zu): o[%zu] is %g, exactly %g",
                      (int)format, dim, begin, end, d, (double)o[d], exact[d]);
    }
    free(c.k);
    free(c.v);
}

Test(test_reference, attention_equals_softmax_in_double_precision)
{
    static const size_t dims[] = {1, 16, 20, 64, 80, 128};
    struct rng rng = rng_start();
    for (size_t i = 0; i < COUNT(dims); i++) {
        check_attention(&rng, HEARTH_F16, dims[i], 1.0f / sqrtf((float)dims[i]), 0.0f);
        check_attention(&rng, HEARTH_F32, dims[i], 1.0f / sqrtf((float)dims[i]), 0.0f);
        check_attention(&rng, HEARTH_F32, dims[i], 4.0f, 0.0f);
        check_attention(&rng, HEARTH_F32, dims[i], 4.0f, 2.5f);
        check_attention(&rng, HEARTH_Q8_0, dims[i], 1.0f / sqrtf((float)dims[i]), 0.0f);
    }
}

/* A zero maximum is +0, however it came about: the contract names it, because vector code finds maxima in another order. */
Test(test_reference, a_zero_maximum_is_positive)
{
    float k[32] = {0}, v[32] = {0}, q[1] = {1.0f}, o[1], ml[2];
    for (int p = 0; p < 32; p++)
        v[p] = 1.0f;
    const struct hearth_attention_query query = {q, o, ml, 0, 32};
    reference_of(HEARTH_OP_ATTENTION, HEARTH_F32)->attention(&query, 1, k, v, 1, -1.0f, 0.0f, 0, NULL);
    cr_expect_eq(hearth_f32_bits(ml[0]), 0);
    cr_expect(ml[1] == 32.0f && o[0] == 32.0f);
}
