/* The self-test of one kernel on this CPU: a few fixed blocks through it and through its reference, compared bit by bit. It is to
 * find hardware, compilers and emulators that do not keep the contract, so it is small; tests/kernels covers all shapes.
 *
 * Everything is on the stack, at most 64 KiB at a time, and ends in well under a millisecond. */
#include "common/half.h"
#include "kernels.h"
#include "reference/reference.h"
#include "scale_fields.h"
#include <string.h>

#define CANARY 0x7fa5a5a5u /* a NaN that no kernel writes */
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- Fixed pseudo-random data ------------------------------------------------------------------------------------ */

/* A linear congruential generator with the multiplier of Knuth's MMIX; the upper half is good enough here. */
static uint32_t next(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 32);
}

/* In (-4, 4), of many magnitudes. */
static float next_float(uint64_t *state)
{
    const uint32_t u = next(state);
    return hearth_f32_from_bits((u & 0x80000000u) | (120 + (u >> 23 & 7)) << 23 | (u & 0x7fffffu)) * 2.0f;
}

static void fill_floats(uint64_t *state, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = next_float(state);
}

static void put_half(uint8_t *at, float x)
{
    const uint16_t h = hearth_f32_to_f16(x);
    memcpy(at, &h, sizeof h);
}

static void fill_float_weights(uint64_t *state, uint8_t *row, enum hearth_format format, size_t k)
{
    for (size_t i = 0; i < k; i++) {
        const float x = next_float(state);
        const uint16_t upper = (uint16_t)(hearth_f32_bits(x) >> 16);
        if (format == HEARTH_F32)
            memcpy(row + 4 * i, &x, 4);
        else if (format == HEARTH_F16)
            put_half(row + 2 * i, x);
        else
            memcpy(row + 2 * i, &upper, 2);
    }
}

/* Any bytes for the codes; scales are small and finite. */
static void fill_weights(uint64_t *state, uint8_t *row, enum hearth_format format, size_t k)
{
    const struct hearth_format_info *info = hearth_format_info(format);
    if (info->block_elems == 1) {
        fill_float_weights(state, row, format, k);
        return;
    }
    const struct hearth_scale_fields at = hearth_scale_fields(format);
    /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): kernels have formats */
    for (size_t b = 0; b < k / info->block_elems; b++, row += info->block_bytes) {
        for (size_t i = 0; i < info->block_bytes; i++)
            row[i] = (uint8_t)next(state);
        put_half(row + at.d, next_float(state) / 16.0f);
        if (at.m >= 0)
            put_half(row + at.m, next_float(state) / 16.0f);
    }
}

/* ---- Comparison -------------------------------------------------------------------------------------------------- */

static void fill_canaries(float *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = hearth_f32_from_bits(CANARY);
}

static bool same(const void *a, const void *b, size_t bytes)
{
    return memcmp(a, b, bytes) == 0;
}

static bool untouched(const float *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (hearth_f32_bits(y[i]) != CANARY)
            return false;
    return true;
}

/* ---- Products ---------------------------------------------------------------------------------------------------- */

/* Rows and tokens are one more than the widest tile and batch. */
#define ROWS 17
#define TOKENS 17
#define Y_STRIDE (ROWS + 3)
#define ROW_BYTES_MAX 448     /* Q6_K: 2 * 210 = 420; F32: 100 * 4, rounded up */
#define TILES_BYTES_MAX 20480 /* 32 rows of packed weights and 40 % for padding */
#define ACTIVATION_BYTES_MAX 640

static size_t length_for(enum hearth_format format)
{
    const size_t block = hearth_format_info(format)->block_elems;
    return block == 256 ? 512 : block == 32 ? 96 : 100;
}

static int8_t next_code(uint64_t *state, unsigned reach)
{
    return (int8_t)((int)(next(state) % (2 * reach + 1)) - (int)reach);
}

static void fill_q8_256(uint64_t *state, struct hearth_q8_256 *unit, unsigned reach)
{
    memset(unit, 0, sizeof *unit);
    for (size_t i = 0; i < 256; i++) {
        unit->q[i] = next_code(state, reach);
        unit->sums16[i / 16] = (int16_t)(unit->sums16[i / 16] + unit->q[i]);
        unit->sums32[i / 32] = (int16_t)(unit->sums32[i / 32] + unit->q[i]);
    }
    unit->s = next_float(state);
    unit->spans = (struct hearth_spans){(uint16_t)(32 * reach), (uint16_t)(16 * reach), (uint16_t)(8 * reach)};
}

static void fill_q8_32(uint64_t *state, struct hearth_q8_32 *unit)
{
    memset(unit, 0, sizeof *unit);
    for (size_t i = 0; i < 256; i++) {
        unit->q[i] = next_code(state, 127);
        unit->sums[i / 32] += unit->q[i];
    }
    for (size_t j = 0; j < 8; j++)
        unit->s[j] = next_float(state);
}

/* Activations of TOKENS tokens; the integers are what quantization would have made of them. Small codes too, because spans choose
 * between two ways to the same sums. */
static void fill_activations(uint64_t *state, uint8_t *x, enum hearth_activation activation, size_t k)
{
    const size_t stride = hearth_activation_stride(activation, k, TOKENS);
    for (size_t t = 0; t < TOKENS; t++) {
        uint8_t *token = x + t * hearth_activation_step(activation, stride);
        for (size_t i = 0; i < k && activation == HEARTH_ACTIVATION_F32; i++) {
            const float value = next_float(state);
            memcpy(token + i * sizeof value, &value, sizeof value);
        }
        for (size_t c = 0; HEARTH_UNIT_ELEMS * c < k && activation == HEARTH_ACTIVATION_Q8_256; c++)
            fill_q8_256(state, (struct hearth_q8_256 *)(void *)(token + c * stride), c % 2 ? 127 : 32);
        for (size_t c = 0; HEARTH_UNIT_ELEMS * c < k && activation == HEARTH_ACTIVATION_Q8_32; c++)
            fill_q8_32(state, (struct hearth_q8_32 *)(void *)(token + c * stride));
    }
}

/* Pack ROWS file rows; false when they do not fit or do not come back. */
static bool pack_rows(const struct hearth_kernel *kernel, uint8_t *tiles, const uint8_t *file, size_t row_bytes, size_t k)
{
    const size_t tile_rows = kernel->matmul.tile_rows;
    const size_t tile_bytes = kernel->matmul.tile_bytes(k);
    if ((ROWS + tile_rows - 1) / tile_rows * tile_bytes > TILES_BYTES_MAX)
        return false;
    uint8_t again[ROW_BYTES_MAX];
    for (size_t r = 0; r < ROWS; r += tile_rows, tiles += tile_bytes) {
        const size_t rows = ROWS - r < tile_rows ? ROWS - r : tile_rows;
        kernel->matmul.pack(tiles, file + r * row_bytes, rows, k);
        for (size_t i = 0; i < rows; i++) {
            kernel->matmul.unpack(again, tiles, i, k);
            if (!same(again, file + (r + i) * row_bytes, row_bytes))
                return false;
        }
    }
    return true;
}

static bool test_matmul(const struct hearth_kernel *kernel, const struct hearth_kernel *reference)
{
    static const struct {
        size_t rows, tokens;
    } shapes[] = {{ROWS, 1}, {1, 3}, {ROWS, TOKENS}};
    uint8_t file[ROWS * ROW_BYTES_MAX];
    _Alignas(64) uint8_t tiles[TILES_BYTES_MAX];
    _Alignas(64) uint8_t x[TOKENS * ACTIVATION_BYTES_MAX];
    float expected[TOKENS * Y_STRIDE];
    float y[TOKENS * Y_STRIDE];

    uint64_t state = kernel->format;
    const size_t k = length_for(kernel->format);
    const size_t row_bytes = hearth_row_bytes(kernel->format, k);
    const enum hearth_activation activation = hearth_format_info(kernel->format)->activation;
    const size_t stride = hearth_activation_stride(activation, k, TOKENS);
    for (size_t r = 0; r < ROWS; r++)
        fill_weights(&state, file + r * row_bytes, kernel->format, k);
    fill_activations(&state, x, activation, k);
    if (!pack_rows(reference, tiles, file, row_bytes, k))
        return false;
    reference->matmul.run(expected, Y_STRIDE, tiles, x, stride, ROWS, k, TOKENS, HEARTH_PREFETCH_BYTES);
    if (!pack_rows(kernel, tiles, file, row_bytes, k))
        return false;
    for (size_t i = 0; i < COUNT(shapes); i++) {
        fill_canaries(y, COUNT(y));
        kernel->matmul.run(y, Y_STRIDE, tiles, x, stride, shapes[i].rows, k, shapes[i].tokens, HEARTH_PREFETCH_BYTES);
        for (size_t t = 0; t < shapes[i].tokens; t++) {
            const float *row = y + t * Y_STRIDE;
            if (!same(row, expected + t * Y_STRIDE, shapes[i].rows * sizeof *row) ||
                !untouched(row + shapes[i].rows, Y_STRIDE - shapes[i].rows))
                return false;
        }
        if (!untouched(y + shapes[i].tokens * Y_STRIDE, (TOKENS - shapes[i].tokens) * Y_STRIDE))
            return false;
    }
    return true;
}

/* ---- Conversions ------------------------------------------------------------------------------------------------- */

static bool test_dequantize(const struct hearth_kernel *kernel, const struct hearth_kernel *reference)
{
    uint8_t row[ROW_BYTES_MAX];
    float expected[512];
    float y[512 + 16];
    uint64_t state = kernel->format;
    const size_t k = length_for(kernel->format);
    fill_weights(&state, row, kernel->format, k);
    reference->dequantize(expected, row, k);
    fill_canaries(y, COUNT(y));
    kernel->dequantize(y, row, k);
    return same(y, expected, k * sizeof *y) && untouched(y + k, COUNT(y) - k);
}

/* One group of zeros, one of subnormal numbers; then with an infinity, which must be reported. Both begin as zeros, so that
 * bytes without a use agree. */
static bool test_quantize(const struct hearth_kernel *kernel, const struct hearth_kernel *reference)
{
    enum { K = 1024 };
    _Alignas(64) uint8_t expected[K / HEARTH_UNIT_ELEMS * HEARTH_UNIT_BYTES];
    _Alignas(64) uint8_t row[sizeof expected];
    float x[K];
    uint64_t state = 1;
    const size_t stride = HEARTH_UNIT_BYTES;
    fill_floats(&state, x, K);
    memset(x + 256, 0, 256 * sizeof *x);
    for (size_t i = 512; i < 768; i++)
        x[i] *= i < 640 ? 0x1p-124f : 0x1p-19f; /* the latter have subnormal half scales */
    memset(expected, 0, sizeof expected);
    memset(row, 0, sizeof row);
    if (!reference->quantize(expected, stride, x, 0, K) || !kernel->quantize(row, stride, x + 256, 256, K) ||
        !kernel->quantize(row, stride, x, 0, 256) || !same(row, expected, sizeof row))
        return false;
    x[K - 3] = hearth_f32_from_bits(0xff800000u);
    return !kernel->quantize(row, stride, x, 0, K);
}

static bool test_to_f16(const struct hearth_kernel *kernel, const struct hearth_kernel *reference)
{
    enum { N = 37 };
    uint16_t expected[N + 3] = {0};
    uint16_t y[N + 3] = {0};
    float x[N];
    uint64_t state = 2;
    fill_floats(&state, x, N);
    x[5] = 0x1.8p-24f; /* a subnormal half, and a tie */
    x[20] = 65519.0f;
    x[36] = -65520.0f;
    reference->to_f16(expected, x, N);
    kernel->to_f16(y, x, N);
    return same(y, expected, sizeof y);
}

/* ---- Rows of floats ---------------------------------------------------------------------------------------------- */

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
        kernel->softcap(y, a, 5.0f, n);
        break;
    case HEARTH_OP_SILU_MUL:
        kernel->silu_mul(y, a, b, n);
        break;
    case HEARTH_OP_ADD:
        memcpy(y, b, n * sizeof *y);
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

static bool test_row(const struct hearth_kernel *kernel, const struct hearth_kernel *reference)
{
    static const size_t lengths[] = {1, 16, 77};
    float a[77], b[77], expected[80], y[80];
    uint64_t state = 3;
    fill_floats(&state, a, COUNT(a));
    fill_floats(&state, b, COUNT(b));
    for (size_t i = 0; i < COUNT(a); i += 3)
        a[i] *= 25.0f; /* to the ends of exp */
    for (size_t i = 0; i < COUNT(lengths); i++) {
        const size_t n = lengths[i];
        fill_canaries(y, COUNT(y));
        run_row(reference, expected, a, b, n);
        run_row(kernel, y, a, b, n);
        if (!same(y, expected, n * sizeof *y) || !untouched(y + n, COUNT(y) - n))
            return false;
    }
    return true;
}

static bool test_rope(const struct hearth_kernel *kernel, const struct hearth_kernel *reference)
{
    enum { HEADS = 3, HEAD_DIM = 50, N_ROT = 46 };
    float cos[N_ROT / 2], sin[N_ROT / 2], expected[HEADS * HEAD_DIM + 8], x[HEADS * HEAD_DIM + 8];
    uint64_t state = 4;
    fill_floats(&state, cos, COUNT(cos));
    fill_floats(&state, sin, COUNT(sin));
    fill_floats(&state, x, COUNT(x));
    memcpy(expected, x, sizeof x);
    reference->rope(expected, HEADS, HEAD_DIM, N_ROT, cos, sin);
    kernel->rope(x, HEADS, HEAD_DIM, N_ROT, cos, sin);
    return same(x, expected, sizeof x);
}

/* ---- Attention --------------------------------------------------------------------------------------------------- */

#define HEAD_DIM 52 /* more than three registers of 16, and not a multiple of 16 or 32 */
#define HEAD_DIM_ROUNDED 64
#define QUERIES 10 /* more than one group at every level */
#define BEGIN 11
#define END 44
#define KEYS (2 * HEARTH_KEY_BLOCK)
#define CACHE_BYTES (KEYS * HEAD_DIM * sizeof(float))

static void fill_codes(uint64_t *state, uint8_t *codes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        codes[i] = (uint8_t)((int)(next(state) % 255) - 127);
}

static void fill_halves(uint64_t *state, uint8_t *halves, size_t n)
{
    for (size_t i = 0; i < n; i++)
        put_half(halves + 2 * i, next_float(state) / 64.0f);
}

/* Q8_0: blocks of keys are runs of codes and scales for each group of 32 dimensions, values one of each for a position. */
static void fill_cache(uint64_t *state, uint8_t *k, uint8_t *v, enum hearth_format format)
{
    if (format != HEARTH_Q8_0) {
        fill_float_weights(state, k, format, KEYS * HEAD_DIM);
        fill_float_weights(state, v, format, KEYS * HEAD_DIM);
        return;
    }
    const size_t groups = hearth_cache_groups(HEAD_DIM);
    for (size_t i = 0; i < KEYS / HEARTH_KEY_BLOCK * groups; i++, k += HEARTH_CACHE_GROUP_BYTES) {
        fill_codes(state, k, 32 * HEARTH_KEY_BLOCK);
        fill_halves(state, k + 32 * HEARTH_KEY_BLOCK, HEARTH_KEY_BLOCK);
    }
    for (size_t p = 0; p < KEYS; p++, v += 34 * groups) {
        fill_codes(state, v, 32 * groups);
        fill_halves(state, v + 32 * groups, groups);
    }
}

/* Keys and values of a position become NaN; codes too, of any sign. */
static void spoil(uint8_t *k, uint8_t *v, enum hearth_format format, size_t p)
{
    const size_t groups = hearth_cache_groups(HEAD_DIM);
    const size_t lane = p % HEARTH_KEY_BLOCK;
    k += p / HEARTH_KEY_BLOCK * hearth_cache_block_bytes(format, HEAD_DIM);
    v += p / HEARTH_KEY_BLOCK * hearth_cache_block_bytes(format, HEAD_DIM);
    if (format == HEARTH_Q8_0) {
        for (size_t j = 0; j < groups; j++, k += HEARTH_CACHE_GROUP_BYTES) {
            for (size_t c = 0; c < 8; c++)
                memset(k + (c * HEARTH_KEY_BLOCK + lane) * 4, 0xff, 4);
            memset(k + 32 * HEARTH_KEY_BLOCK + 2 * lane, 0xff, 2);
        }
        memset(v + lane * 34 * groups, 0xff, 34 * groups);
        return;
    }
    const size_t element = format == HEARTH_F32 ? sizeof(float) : sizeof(uint16_t);
    for (size_t d = 0; d < HEAD_DIM; d++)
        memset(k + (d * HEARTH_KEY_BLOCK + lane) * element, 0xff, element);
    memset(v + lane * HEAD_DIM * element, 0xff, HEAD_DIM * element);
}

/* As floats, or quantized, zeros behind the last dimension. */
static bool fill_query(uint64_t *state, uint8_t *row, enum hearth_format format)
{
    float x[HEAD_DIM_ROUNDED] = {0.0f};
    fill_floats(state, x, HEAD_DIM);
    if (format == HEARTH_Q8_0)
        return hearth_quantize_q8_32_reference(row, HEARTH_UNIT_BYTES, x, 0, HEAD_DIM_ROUNDED);
    memcpy(row, x, sizeof x);
    return true;
}

/* Ranges that differ; the first query alone too, as in an answer. */
static bool test_attention(const struct hearth_kernel *kernel, const struct hearth_kernel *reference)
{
    static const size_t counts[] = {1, QUERIES};
    static const float softcaps[COUNT(counts)] = {2.0f, 0.0f};
    enum { ROW = HEARTH_UNIT_BYTES }; /* or HEAD_DIM_ROUNDED floats, which are fewer */
    _Alignas(64) uint8_t k[CACHE_BYTES], v[CACHE_BYTES], q[QUERIES * ROW];
    _Alignas(64) float scratch[(QUERIES + 32) * HEARTH_SEGMENT + QUERIES * HEAD_DIM_ROUNDED];
    float expected[QUERIES * HEAD_DIM], o[QUERIES * HEAD_DIM + 4], expected_ml[QUERIES * 2], ml[QUERIES * 2];
    struct hearth_attention_query queries[QUERIES];
    uint64_t state = 5;
    if (hearth_attention_scratch_bytes(HEAD_DIM, QUERIES) > sizeof scratch)
        return false;
    fill_cache(&state, k, v, kernel->format);
    for (size_t p = 0; p < KEYS; p++)
        if (p < BEGIN || p >= END)
            spoil(k, v, kernel->format, p);
    for (size_t i = 0; i < QUERIES; i++) {
        if (!fill_query(&state, q + i * ROW, kernel->format))
            return false;
        queries[i] = (struct hearth_attention_query){q + i * ROW, expected + i * HEAD_DIM, expected_ml + 2 * i,
                                                     BEGIN + i % 3 * (i % 2), END - (QUERIES - 1 - i) * 2};
    }
    for (size_t c = 0; c < COUNT(counts); c++) {
        const size_t n = counts[c];
        for (size_t i = 0; i < n; i++) {
            queries[i].o = expected + i * HEAD_DIM;
            queries[i].ml = expected_ml + 2 * i;
        }
        reference->attention(queries, n, k, v, HEAD_DIM, 0.25f, softcaps[c], 0, scratch);
        for (size_t i = 0; i < n; i++) {
            queries[i].o = o + i * HEAD_DIM;
            queries[i].ml = ml + 2 * i;
        }
        fill_canaries(o, COUNT(o));
        kernel->attention(queries, n, k, v, HEAD_DIM, 0.25f, softcaps[c], 0, scratch);
        if (!same(o, expected, n * HEAD_DIM * sizeof *o) || !same(ml, expected_ml, 2 * n * sizeof *ml) ||
            !untouched(o + n * HEAD_DIM, 4))
            return false;
    }
    return true;
}

static bool test_attention_merge(const struct hearth_kernel *kernel, const struct hearth_kernel *reference)
{
    float a[HEAD_DIM + 2], b[HEAD_DIM], expected[HEAD_DIM + 2];
    float ml[2] = {0.5f, 3.0f}, expected_ml[2] = {0.5f, 3.0f};
    const float ml_b[2] = {1.25f, 7.0f};
    uint64_t state = 6;
    fill_floats(&state, a, COUNT(a));
    fill_floats(&state, b, COUNT(b));
    memcpy(expected, a, sizeof a);
    reference->attention_merge(expected, expected_ml, b, ml_b, HEAD_DIM);
    reference->attention_merge(expected, expected_ml, NULL, NULL, HEAD_DIM);
    kernel->attention_merge(a, ml, b, ml_b, HEAD_DIM);
    kernel->attention_merge(a, ml, NULL, NULL, HEAD_DIM);
    return same(a, expected, sizeof a) && same(ml, expected_ml, sizeof ml);
}

bool hearth_kernel_selftest(const struct hearth_kernel *kernel)
{
    const struct hearth_kernel *reference = hearth_kernel_reference(kernel);
    if (reference == NULL || kernel == reference)
        return reference != NULL;
    switch (kernel->op) {
    case HEARTH_OP_MATMUL:
        return test_matmul(kernel, reference);
    case HEARTH_OP_DEQUANTIZE:
        return test_dequantize(kernel, reference);
    case HEARTH_OP_QUANTIZE_Q8_32:
    case HEARTH_OP_QUANTIZE_Q8_256:
    case HEARTH_OP_QUANTIZE_Q8_0:
        return test_quantize(kernel, reference);
    case HEARTH_OP_TO_F16:
        return test_to_f16(kernel, reference);
    case HEARTH_OP_ROPE:
    case HEARTH_OP_ROPE_NEOX:
        return test_rope(kernel, reference);
    case HEARTH_OP_RMS_NORM:
    case HEARTH_OP_LAYER_NORM:
    case HEARTH_OP_SILU_MUL:
    case HEARTH_OP_GELU:
    case HEARTH_OP_GELU_MUL:
    case HEARTH_OP_SOFTCAP:
    case HEARTH_OP_ADD:
    case HEARTH_OP_SOFTMAX:
    case HEARTH_OP_EXP:
        return test_row(kernel, reference);
    case HEARTH_OP_ATTENTION:
        return test_attention(kernel, reference);
    case HEARTH_OP_ATTENTION_MERGE:
        return test_attention_merge(kernel, reference);
    default:
        return false;
    }
}
