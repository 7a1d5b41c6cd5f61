/* File blocks to floats: codes to bytes (codes.h), then sixteen at a time, each operation rounded once in the order of
 * docs/quantization.md, so that every format equals its definition bit by bit. */
#include "avx512/codes.h"
#include "avx512/simd.h"

static float half(const uint8_t bytes[2])
{
    return hearth_f16_to_f32(hearth_load_u16(bytes));
}

/* Sixteen codes less the format's offset. */
HEARTH_ALWAYS_INLINE vec16 values16(const uint8_t *codes, int offset)
{
    const __m512i wide = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)codes));
    return _mm512_cvtepi32_ps(_mm512_sub_epi32(wide, _mm512_set1_epi32(offset)));
}

HEARTH_ALWAYS_INLINE void scale32(float *y, const uint8_t codes[32], int offset, float d)
{
    for (size_t i = 0; i < 32; i += 16)
        vec16_store(y + i, vec16_mul(values16(codes + i, offset), vec16_set1(d)));
}

#define DEQUANTIZE_32(name, offset)                                                                                                \
    void hearth_dequantize_##name##_avx512(float *y, const void *file_row, size_t k)                                               \
    {                                                                                                                              \
        const struct hearth_block_##name *block = file_row;                                                                        \
        for (size_t j = 0; j < k / 32; j++, block++) {                                                                             \
            uint8_t codes[32];                                                                                                     \
            codes_of_##name(codes, block);                                                                                         \
            scale32(y + 32 * j, codes, offset, half(block->d));                                                                    \
        }                                                                                                                          \
    }

DEQUANTIZE_32(q4_0, 8)
DEQUANTIZE_32(q5_0, 16)
DEQUANTIZE_32(q8_0, 128)
DEQUANTIZE_32(iq4_nl, 128)

HEARTH_ALWAYS_INLINE void scale32_min(float *y, const uint8_t codes[32], float d, float m)
{
    for (size_t i = 0; i < 32; i += 16)
        vec16_store(y + i, vec16_add(vec16_mul(values16(codes + i, 0), vec16_set1(d)), vec16_set1(m)));
}

/* The same where the block has a min: (code * d) + m. */
#define DEQUANTIZE_32_MIN(name)                                                                                                    \
    void hearth_dequantize_##name##_avx512(float *y, const void *file_row, size_t k)                                               \
    {                                                                                                                              \
        const struct hearth_block_##name *block = file_row;                                                                        \
        for (size_t j = 0; j < k / 32; j++, block++) {                                                                             \
            uint8_t codes[32];                                                                                                     \
            codes_of_##name(codes, block);                                                                                         \
            scale32_min(y + 32 * j, codes, half(block->d), half(block->m));                                                        \
        }                                                                                                                          \
    }

DEQUANTIZE_32_MIN(q4_1)
DEQUANTIZE_32_MIN(q5_1)

/* Scale and min number j of the twelve bytes of Q4_K and Q5_K. */
static void scale_and_min(float *scale, float *min, const uint8_t t[12], size_t j)
{
    *scale = (float)(j < 4 ? t[j] & 63 : (t[j + 4] & 15) | (t[j - 4] >> 6 << 4));
    *min = (float)(j < 4 ? t[j + 4] & 63 : (t[j + 4] >> 4) | (t[j] >> 6 << 4));
}

HEARTH_ALWAYS_INLINE void scale256(float *y, const uint8_t codes[256], const uint8_t t[12], float d, float dmin)
{
    for (size_t j = 0; j < 8; j++) {
        float scale;
        float min;
        scale_and_min(&scale, &min, t, j);
        const vec16 a = vec16_set1(d * scale);
        const vec16 b = vec16_set1(dmin * min);
        for (size_t i = 32 * j; i < 32 * (j + 1); i += 16)
            vec16_store(y + i, vec16_sub(vec16_mul(a, values16(codes + i, 0)), b));
    }
}

void hearth_dequantize_q4_K_avx512(float *y, const void *file_row, size_t k)
{
    const struct hearth_block_q4_K *block = file_row;
    for (size_t s = 0; s < k / 256; s++, block++) {
        uint8_t codes[256];
        codes_of_q4_K(codes, block);
        scale256(y + 256 * s, codes, block->scales, half(block->d), half(block->dmin));
    }
}

void hearth_dequantize_q5_K_avx512(float *y, const void *file_row, size_t k)
{
    const struct hearth_block_q5_K *block = file_row;
    for (size_t s = 0; s < k / 256; s++, block++) {
        uint8_t codes[256];
        codes_of_q5_K(codes, block);
        scale256(y + 256 * s, codes, block->scales, half(block->d), half(block->dmin));
    }
}

void hearth_dequantize_q6_K_avx512(float *y, const void *file_row, size_t k)
{
    const struct hearth_block_q6_K *block = file_row;
    for (size_t s = 0; s < k / 256; s++, block++) {
        uint8_t codes[256];
        codes_of_q6_K(codes, block);
        const float d = half(block->d);
        for (size_t j = 0; j < 16; j++) {
            const vec16 scale = vec16_set1(d * (float)block->scales[j]);
            vec16_store(y + 256 * s + 16 * j, vec16_mul(scale, values16(codes + 16 * j, 32)));
        }
    }
}

void hearth_dequantize_q2_K_avx512(float *y, const void *file_row, size_t k)
{
    const struct hearth_block_q2_K *block = file_row;
    for (size_t s = 0; s < k / 256; s++, block++) {
        uint8_t codes[256];
        codes_of_q2_K(codes, block);
        const float d = half(block->d);
        const float dmin = half(block->dmin);
        for (size_t j = 0; j < 16; j++) {
            const vec16 scale = vec16_set1(d * (float)(block->scales[j] & 15));
            const vec16 min = vec16_set1(dmin * (float)(block->scales[j] >> 4));
            vec16_store(y + 256 * s + 16 * j, vec16_sub(vec16_mul(scale, values16(codes + 16 * j, 0)), min));
        }
    }
}

void hearth_dequantize_q3_K_avx512(float *y, const void *file_row, size_t k)
{
    const struct hearth_block_q3_K *block = file_row;
    for (size_t s = 0; s < k / 256; s++, block++) {
        uint8_t codes[256];
        codes_of_q3_K(codes, block);
        const float d = half(block->d);
        for (size_t j = 0; j < 16; j++) {
            const int low = block->scales[j % 8] >> (j / 8 * 4) & 15;
            const int high = block->scales[8 + j % 4] >> (j / 4 * 2) & 3;
            const vec16 scale = vec16_set1(d * (float)((low | high << 4) - 32));
            vec16_store(y + 256 * s + 16 * j, vec16_mul(scale, values16(codes + 16 * j, 4)));
        }
    }
}

void hearth_dequantize_iq4_xs_avx512(float *y, const void *file_row, size_t k)
{
    const struct hearth_block_iq4_xs *block = file_row;
    for (size_t s = 0; s < k / 256; s++, block++) {
        uint8_t codes[256];
        codes_of_iq4_xs(codes, block);
        const float d = half(block->d);
        for (size_t j = 0; j < 8; j++) {
            const int low = block->scales_l[j / 2] >> (j % 2 * 4) & 15;
            const int high = block->scales_h[j / 4] >> (j % 4 * 2) & 3;
            scale32(y + 256 * s + 32 * j, codes + 32 * j, 128, d * (float)((low | high << 4) - 32));
        }
    }
}

void hearth_dequantize_f32_avx512(float *y, const void *file_row, size_t k)
{
    memcpy(y, file_row, k * sizeof *y);
}

void hearth_dequantize_f16_avx512(float *y, const void *file_row, size_t k)
{
    const uint16_t *halves = file_row;
    const size_t whole = k / 16 * 16;
    for (size_t i = 0; i < whole; i += 16)
        vec16_store(y + i, vec16_load_f16(halves + i));
    vec16_store_partial(y + whole, vec16_load_f16_partial(halves + whole, k - whole), k - whole);
}

void hearth_dequantize_bf16_avx512(float *y, const void *file_row, size_t k)
{
    const uint16_t *halves = file_row;
    const size_t whole = k / 16 * 16;
    for (size_t i = 0; i < whole; i += 16)
        vec16_store(y + i, vec16_load_bf16(halves + i));
    vec16_store_partial(y + whole, vec16_load_bf16_partial(halves + whole, k - whole), k - whole);
}
