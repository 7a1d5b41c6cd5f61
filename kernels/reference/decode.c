/* The bits of every block format, element by element and slowly, in the words of docs/quantization.md: h is the half of a
 * super-block, p the plane of 32 inside it, l the lane inside the plane. Blocks are copied first, so they need no alignment. */
#include "reference/decode.h"
#include "common/block_format.h"
#include "common/half.h"
#include <string.h>

const int8_t hearth_iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

static float half_at(const uint8_t bytes[2])
{
    return hearth_f16_to_f32(hearth_load_u16(bytes));
}

/* ---- Blocks of 32 ------------------------------------------------------------------------------------------------ */

static int nibble32(const uint8_t qs[16], int i)
{
    return qs[i % 16] >> (i / 16 * 4) & 15;
}

static int fifth_bit32(const uint8_t qh[4], int i)
{
    return qh[i / 8] >> (i % 8) & 1;
}

void hearth_decode_q4_0(struct hearth_codes32 *out, const void *block)
{
    struct hearth_block_q4_0 b;
    memcpy(&b, block, sizeof b);
    out->d = half_at(b.d);
    out->m = 0.0f;
    for (int i = 0; i < 32; i++)
        out->w[i] = (int8_t)(nibble32(b.qs, i) - 8);
}

void hearth_decode_q4_1(struct hearth_codes32 *out, const void *block)
{
    struct hearth_block_q4_1 b;
    memcpy(&b, block, sizeof b);
    out->d = half_at(b.d);
    out->m = half_at(b.m);
    for (int i = 0; i < 32; i++)
        out->w[i] = (int8_t)nibble32(b.qs, i);
}

void hearth_decode_q5_0(struct hearth_codes32 *out, const void *block)
{
    struct hearth_block_q5_0 b;
    memcpy(&b, block, sizeof b);
    out->d = half_at(b.d);
    out->m = 0.0f;
    for (int i = 0; i < 32; i++)
        out->w[i] = (int8_t)((nibble32(b.qs, i) | fifth_bit32(b.qh, i) << 4) - 16);
}

void hearth_decode_q5_1(struct hearth_codes32 *out, const void *block)
{
    struct hearth_block_q5_1 b;
    memcpy(&b, block, sizeof b);
    out->d = half_at(b.d);
    out->m = half_at(b.m);
    for (int i = 0; i < 32; i++)
        out->w[i] = (int8_t)(nibble32(b.qs, i) | fifth_bit32(b.qh, i) << 4);
}

void hearth_decode_q8_0(struct hearth_codes32 *out, const void *block)
{
    struct hearth_block_q8_0 b;
    memcpy(&b, block, sizeof b);
    out->d = half_at(b.d);
    out->m = 0.0f;
    memcpy(out->w, b.qs, 32);
}

void hearth_decode_iq4_nl(struct hearth_codes32 *out, const void *block)
{
    struct hearth_block_iq4_nl b;
    memcpy(&b, block, sizeof b);
    out->d = half_at(b.d);
    out->m = 0.0f;
    for (int i = 0; i < 32; i++)
        out->w[i] = hearth_iq4_values[nibble32(b.qs, i)];
}

/* ---- Super-blocks of 256 ----------------------------------------------------------------------------------------- */

static int two_bits(const uint8_t qs[64], int i)
{
    const int h = i / 128, p = i % 128 / 32, l = i % 32;
    return qs[32 * h + l] >> (2 * p) & 3;
}

static int four_bits(const uint8_t qs[128], int i)
{
    const int j = i / 32, l = i % 32;
    return qs[32 * (j / 2) + l] >> (4 * (j % 2)) & 15;
}

static int one_bit(const uint8_t qh[32], int i)
{
    return qh[i % 32] >> (i / 32) & 1;
}

void hearth_decode_q2_K(struct hearth_codes256 *out, const void *block)
{
    struct hearth_block_q2_K b;
    memcpy(&b, block, sizeof b);
    out->d = half_at(b.d);
    out->dmin = half_at(b.dmin);
    for (int s = 0; s < 16; s++) {
        out->scale[s] = (int8_t)(b.scales[s] & 15);
        out->min[s] = b.scales[s] >> 4;
    }
    for (int i = 0; i < 256; i++)
        out->w[i] = (int8_t)two_bits(b.qs, i);
}

void hearth_decode_q3_K(struct hearth_codes256 *out, const void *block)
{
    struct hearth_block_q3_K b;
    memcpy(&b, block, sizeof b);
    out->d = half_at(b.d);
    out->dmin = 0.0f;
    for (int s = 0; s < 16; s++) {
        const int low = b.scales[s % 8] >> (4 * (s / 8)) & 15;
        const int high = b.scales[8 + s % 4] >> (2 * (s / 4)) & 3;
        out->scale[s] = (int8_t)((low | high << 4) - 32);
        out->min[s] = 0;
    }
    for (int i = 0; i < 256; i++)
        out->w[i] = (int8_t)(two_bits(b.qs, i) + 4 * one_bit(b.hmask, i) - 4);
}

/* The twelve bytes of Q4_K and Q5_K: eight pairs of 6-bit numbers, each for 32 elements. */
static void decode_scales_and_mins(struct hearth_codes256 *out, const uint8_t t[12])
{
    for (int j = 0; j < 8; j++) {
        const int scale = j < 4 ? t[j] & 63 : (t[j + 4] & 15) | t[j - 4] >> 6 << 4;
        const int min = j < 4 ? t[j + 4] & 63 : t[j + 4] >> 4 | t[j] >> 6 << 4;
        out->scale[2 * j] = out->scale[2 * j + 1] = (int8_t)scale;
        out->min[2 * j] = out->min[2 * j + 1] = (uint8_t)min;
    }
}

void hearth_decode_q4_K(struct hearth_codes256 *out, const void *block)
{
    struct hearth_block_q4_K b;
    memcpy(&b, block, sizeof b);
    out->d = half_at(b.d);
    out->dmin = half_at(b.dmin);
    decode_scales_and_mins(out, b.scales);
    for (int i = 0; i < 256; i++)
        out->w[i] = (int8_t)four_bits(b.qs, i);
}

void hearth_decode_q5_K(struct hearth_codes256 *out, const void *block)
{
    struct hearth_block_q5_K b;
    memcpy(&b, block, sizeof b);
    out->d = half_at(b.d);
    out->dmin = half_at(b.dmin);
    decode_scales_and_mins(out, b.scales);
    for (int i = 0; i < 256; i++)
        out->w[i] = (int8_t)(four_bits(b.qs, i) | one_bit(b.qh, i) << 4);
}

void hearth_decode_q6_K(struct hearth_codes256 *out, const void *block)
{
    struct hearth_block_q6_K b;
    memcpy(&b, block, sizeof b);
    out->d = half_at(b.d);
    out->dmin = 0.0f;
    for (int s = 0; s < 16; s++) {
        out->scale[s] = b.scales[s];
        out->min[s] = 0;
    }
    for (int i = 0; i < 256; i++) {
        const int h = i / 128, p = i % 128 / 32, l = i % 32;
        const int low = b.ql[64 * h + 32 * (p % 2) + l] >> (4 * (p / 2)) & 15;
        out->w[i] = (int8_t)((low | two_bits(b.qh, i) << 4) - 32);
    }
}

void hearth_decode_iq4_xs(struct hearth_codes256 *out, const void *block)
{
    struct hearth_block_iq4_xs b;
    memcpy(&b, block, sizeof b);
    out->d = half_at(b.d);
    out->dmin = 0.0f;
    const int high_bits = hearth_load_u16(b.scales_h);
    for (int j = 0; j < 8; j++) {
        const int low = b.scales_l[j / 2] >> (4 * (j % 2)) & 15;
        const int high = high_bits >> (2 * j) & 3;
        out->scale[2 * j] = out->scale[2 * j + 1] = (int8_t)((low | high << 4) - 32);
        out->min[2 * j] = out->min[2 * j + 1] = 0;
        for (int t = 0; t < 32; t++)
            out->w[32 * j + t] = hearth_iq4_values[nibble32(b.qs + 16 * j, t)];
    }
}
