/* File blocks to floats, each operation rounded once, in the order of the parentheses (docs/quantization.md):
 *     blocks of 32             w * d, and (w * d) + m in Q4_1 and Q5_1
 *     super-blocks of 256      (d * scale) * w, and ((d * scale) * w) - (dmin * min) in Q2_K, Q4_K and Q5_K
 *     floats                   widened exactly; F32 is copied bit by bit
 * No fused multiply-add here. k is a multiple of the block length. */
#include "common/block_format.h"
#include "common/half.h"
#include "reference/decode.h"
#include "reference/reference.h"
#include <string.h>

static void blocks32(float *y, const uint8_t *row, size_t k, size_t block_bytes, hearth_decode32_fn *decode, bool has_min)
{
    struct hearth_codes32 block;
    for (size_t j = 0; j < k / 32; j++, y += 32) {
        decode(&block, row + j * block_bytes);
        for (int i = 0; i < 32; i++) {
            const float product = (float)block.w[i] * block.d;
            y[i] = has_min ? product + block.m : product;
        }
    }
}

static void blocks256(float *y, const uint8_t *row, size_t k, size_t block_bytes, hearth_decode256_fn *decode, bool has_min)
{
    struct hearth_codes256 block;
    for (size_t b = 0; b < k / 256; b++, y += 256) {
        decode(&block, row + b * block_bytes);
        for (int i = 0; i < 256; i++) {
            const float scale = block.d * (float)block.scale[i / 16];
            const float product = scale * (float)block.w[i];
            y[i] = has_min ? product - block.dmin * (float)block.min[i / 16] : product;
        }
    }
}

/* The format's constants for the functions above. */
#define DEQUANTIZE_OF(name, blocks, has_min)                                                                                       \
    void hearth_dequantize_##name##_reference(float *y, const void *file_row, size_t k)                                            \
    {                                                                                                                              \
        blocks(y, file_row, k, sizeof(struct hearth_block_##name), hearth_decode_##name, has_min);                                 \
    }

DEQUANTIZE_OF(q4_0, blocks32, false)
DEQUANTIZE_OF(q4_1, blocks32, true)
DEQUANTIZE_OF(q5_0, blocks32, false)
DEQUANTIZE_OF(q5_1, blocks32, true)
DEQUANTIZE_OF(q8_0, blocks32, false)
DEQUANTIZE_OF(iq4_nl, blocks32, false)
DEQUANTIZE_OF(q2_K, blocks256, true)
DEQUANTIZE_OF(q3_K, blocks256, false)
DEQUANTIZE_OF(q4_K, blocks256, true)
DEQUANTIZE_OF(q5_K, blocks256, true)
DEQUANTIZE_OF(q6_K, blocks256, false)
DEQUANTIZE_OF(iq4_xs, blocks256, false)

void hearth_dequantize_f32_reference(float *y, const void *file_row, size_t k)
{
    memcpy(y, file_row, k * sizeof *y);
}

void hearth_dequantize_f16_reference(float *y, const void *file_row, size_t k)
{
    const uint8_t *row = file_row;
    for (size_t i = 0; i < k; i++)
        y[i] = hearth_f16_to_f32(hearth_load_u16(row + 2 * i));
}

void hearth_dequantize_bf16_reference(float *y, const void *file_row, size_t k)
{
    const uint8_t *row = file_row;
    for (size_t i = 0; i < k; i++)
        y[i] = hearth_bf16_to_f32(hearth_load_u16(row + 2 * i));
}
