/* Making of kernel inputs. Random bytes make every code of every format; only half floats must be put right afterwards. */
#include "kernel_case.h"
#include "common/half.h"
#include "scale_fields.h"
#include <string.h>

const char *case_kind_name(enum case_kind kind)
{
    static const char *const names[CASE_KIND_COUNT] = {"random",      "largest",      "smallest", "edges",
                                                       "zero scales", "small scales", "negative", "spans"};
    return names[kind];
}

static uint16_t random_half(struct rng *rng, enum case_kind kind)
{
    const uint32_t u = rng_next(rng);
    switch (kind) {
    case CASE_EDGES:
        return (uint16_t)(0x7bff | (u & 0x8000));
    case CASE_ZERO_SCALES:
        return (uint16_t)(u & 0x8000);
    case CASE_SMALL_SCALES:
        return (uint16_t)(u & 0x83ff);
    case CASE_NEGATIVE:
        return hearth_f32_to_f16(-rng_uniform(rng, 0.001f, 0.1f));
    default:
        return hearth_f32_to_f16(rng_magnitude(rng, -12, -1));
    }
}

static float random_float(struct rng *rng, enum case_kind kind)
{
    switch (kind) {
    case CASE_LARGEST:
        return 0x1p15f;
    case CASE_SMALLEST:
        return -0x1p15f;
    case CASE_EDGES:
        return rng_next(rng) & 1 ? rng_magnitude(rng, 10, 14) : rng_magnitude(rng, -14, -10);
    case CASE_ZERO_SCALES:
        return rng_next(rng) & 1 ? 0.0f : -0.0f;
    case CASE_SMALL_SCALES:
        return hearth_f16_to_f32((uint16_t)(rng_next(rng) & 0x83ff)); /* subnormal as a half float */
    case CASE_NEGATIVE:
        return -rng_uniform(rng, 0.0f, 2.0f);
    default:
        return rng_magnitude(rng, -8, 3);
    }
}

static void put_float(uint8_t *row, enum hearth_format format, size_t i, float x)
{
    const uint16_t half = hearth_f32_to_f16(x);
    const uint16_t upper = (uint16_t)(hearth_f32_bits(x) >> 16);
    if (format == HEARTH_F32)
        memcpy(row + 4 * i, &x, 4);
    else
        memcpy(row + 2 * i, format == HEARTH_F16 ? &half : &upper, 2);
}

static void fill_codes(struct rng *rng, uint8_t *block, enum hearth_format format, size_t bytes, enum case_kind kind)
{
    if (kind == CASE_SPANS)
        kind = rng_next(rng) & 1 ? CASE_LARGEST : CASE_SMALLEST;
    static const uint8_t edges[] = {0x00, 0xff, 0x80, 0x7f, 0x0f, 0xf0};
    const bool signed_codes = format == HEARTH_Q8_0;
    if (kind == CASE_LARGEST)
        memset(block, signed_codes ? 0x7f : 0xff, bytes);
    else if (kind == CASE_SMALLEST)
        memset(block, signed_codes ? 0x80 : 0x00, bytes);
    else if (kind == CASE_EDGES)
        for (size_t i = 0; i < bytes; i++)
            block[i] = edges[rng_below(rng, sizeof edges)];
    else
        rng_bytes(rng, block, bytes);
    if (format == HEARTH_Q6_K && (kind == CASE_LARGEST || kind == CASE_SMALLEST)) {
        const size_t at = offsetof(struct hearth_block_q6_K, scales);
        memset(block + at, kind == CASE_LARGEST ? 0x7f : 0x80, 16);
    }
}

void case_weights(struct rng *rng, uint8_t *row, enum hearth_format format, size_t k, enum case_kind kind)
{
    const struct hearth_format_info *info = hearth_format_info(format);
    if (info->block_elems == 1) {
        for (size_t i = 0; i < k; i++)
            put_float(row, format, i, random_float(rng, kind));
        return;
    }
    const struct hearth_scale_fields at = hearth_scale_fields(format);
    for (size_t b = 0; b < k / info->block_elems; b++, row += info->block_bytes) {
        fill_codes(rng, row, format, info->block_bytes, kind);
        const uint16_t d = random_half(rng, kind);
        const uint16_t m = random_half(rng, kind);
        memcpy(row + at.d, &d, sizeof d);
        if (at.m >= 0)
            memcpy(row + at.m, &m, sizeof m);
    }
}

static int random_q(struct rng *rng, enum case_kind kind)
{
    switch (kind) {
    case CASE_LARGEST:
        return 127;
    case CASE_SMALLEST:
        return -127;
    case CASE_EDGES:
        return rng_next(rng) & 1 ? 127 : -127;
    default:
        return (int)rng_below(rng, 255) - 127;
    }
}

/* n codes of one sign whose magnitudes add up to `sum`; eight are those of 16 that meet in a lane. */
static void fill_span(struct rng *rng, int8_t *q, size_t n, int sum)
{
    const int sign = rng_next(rng) & 1 ? 1 : -1;
    const size_t lane = n == 8 && rng_next(rng) & 1 ? 2 : 0;
    for (size_t i = 0; i < n; i++) {
        const int magnitude = sum / (int)(n - i);
        q[n == 8 ? i / 2 * 4 + lane + i % 2 : i] = (int8_t)(sign * magnitude);
        sum -= magnitude;
    }
}

/* 32767 / 15, / 31 and / 32 are where the dots of Q4_K, Q5_K (spans of 32) and Q6_K (of 16) leave 16 bits; / 63 where those of Q6_K
 * do whose codes keep their offset, of eight. */
static void fill_spans(struct rng *rng, int8_t q[256])
{
    static const struct {
        size_t n;
        int sum;
    } spans[] = {{32, 2184}, {32, 2185}, {32, 1057}, {32, 1057}, {32, 1058}, {16, 1023},
                 {16, 1023}, {16, 1024}, {8, 520},   {8, 520},   {8, 521}};
    for (size_t i = 0; i < 256; i++)
        q[i] = (int8_t)((int)rng_below(rng, 61) - 30);
    if (rng_next(rng) & 1)
        return;
    const size_t which = rng_below(rng, sizeof spans / sizeof *spans), n = spans[which].n;
    const size_t room = n < 16 ? 16 : n;
    for (size_t times = 0; times < 3; times++)
        fill_span(rng, q + rng_below(rng, (uint32_t)(256 / room)) * room, n, spans[which].sum);
}

struct hearth_spans case_spans(const int8_t q[256])
{
    struct hearth_spans spans = {0};
    uint16_t sum16 = 0, sums32[2] = {0}, sums8[2][2] = {{0}}; /* of the positive ones, of the others; of both lanes */
    for (size_t i = 0; i < 256; i++) {
        const uint16_t magnitude = (uint16_t)(q[i] < 0 ? -q[i] : q[i]);
        sum16 = (uint16_t)((i % 16 ? sum16 : 0) + magnitude);
        for (size_t sign = 0; sign < 2; sign++) {
            const uint16_t own = (q[i] < 0) == sign ? magnitude : 0;
            uint16_t *sum8 = &sums8[i / 2 % 2][sign];
            sums32[sign] = (uint16_t)((i % 32 ? sums32[sign] : 0) + own);
            spans.of32 = sums32[sign] > spans.of32 ? sums32[sign] : spans.of32;
            *sum8 = (uint16_t)((i % 16 == 0 || i % 16 == 2 ? 0 : *sum8) + own);
            spans.of8 = *sum8 > spans.of8 ? *sum8 : spans.of8;
        }
        spans.of16 = sum16 > spans.of16 ? sum16 : spans.of16;
    }
    return spans;
}

/* Scales of activations are never negative. */
static float random_scale(struct rng *rng, enum case_kind kind)
{
    if (kind == CASE_SMALL_SCALES)
        return hearth_f32_from_bits(rng_below(rng, 0x1000000)); /* to twice the smallest normal number */
    if (kind == CASE_ZERO_SCALES && rng_next(rng) & 1)
        return 0.0f;
    const float s = kind == CASE_EDGES ? rng_magnitude(rng, -100, 60) : rng_magnitude(rng, -10, 0);
    return s < 0 ? -s : s;
}

static void fill_q8_256(struct rng *rng, struct hearth_q8_256 *unit, enum case_kind kind)
{
    for (size_t i = 0; i < 256; i++)
        unit->q[i] = (int8_t)random_q(rng, kind);
    if (kind == CASE_SPANS)
        fill_spans(rng, unit->q);
    memset(unit->sums16, 0, sizeof unit->sums16);
    memset(unit->sums32, 0, sizeof unit->sums32);
    for (size_t i = 0; i < 256; i++) {
        unit->sums16[i / 16] = (int16_t)(unit->sums16[i / 16] + unit->q[i]);
        unit->sums32[i / 32] = (int16_t)(unit->sums32[i / 32] + unit->q[i]);
    }
    unit->s = random_scale(rng, kind);
    unit->spans = case_spans(unit->q);
}

static void fill_q8_32(struct rng *rng, struct hearth_q8_32 *unit, size_t n, enum case_kind kind)
{
    for (size_t j = 0; j < n / 32; j++) {
        unit->s[j] = random_scale(rng, kind);
        unit->sums[j] = 0;
        for (size_t i = 32 * j; i < 32 * j + 32; i++)
            unit->sums[j] += unit->q[i] = (int8_t)random_q(rng, kind);
    }
}

void case_activations(struct rng *rng, uint8_t *token, size_t x_stride, enum hearth_activation activation, size_t k,
                      enum case_kind kind)
{
    for (size_t i = 0; activation == HEARTH_ACTIVATION_F32 && i < k; i++)
        put_float(token, HEARTH_F32, i, kind == CASE_SMALL_SCALES ? rng_magnitude(rng, -126, -105) : random_float(rng, kind));
    for (size_t i = 0; activation != HEARTH_ACTIVATION_F32 && i < k; i += HEARTH_UNIT_ELEMS, token += x_stride) {
        memset(token, 0xff, HEARTH_UNIT_BYTES);
        if (activation == HEARTH_ACTIVATION_Q8_256)
            fill_q8_256(rng, (struct hearth_q8_256 *)(void *)token, kind);
        else
            fill_q8_32(rng, (struct hearth_q8_32 *)(void *)token, k - i < HEARTH_UNIT_ELEMS ? k - i : HEARTH_UNIT_ELEMS, kind);
    }
}

void case_floats(struct rng *rng, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = rng_below(rng, 16) == 0 ? random_float(rng, CASE_ZERO_SCALES) : rng_magnitude(rng, -12, 4);
}

void case_cache(struct rng *rng, void *cache, enum hearth_format format, size_t n, float limit)
{
    for (size_t i = 0; i < n; i++)
        put_float(cache, format, i, rng_uniform(rng, -limit, limit));
}

size_t first_different(const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (hearth_f32_bits(a[i]) != hearth_f32_bits(b[i]))
            return i;
    return n;
}
