/* The table of all kernels, and the choice from it. Rows stand by operation and format, each time reference, avx2, avxvnni, avx512,
 * so that the last row a CPU can run is the fastest. This file only names the kernels: it is built without AVX flags. */
#include "avx2/avx2.h"
#include "avx512/avx512.h"
#include "avxvnni/avxvnni.h"
#include "kernels.h"
#include "reference/reference.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* clang-format off */
#define MATMUL(name, format, isa, level, tile_rows)                                                  \
    {"matmul_" #name "_" #isa, HEARTH_OP_MATMUL, format, level,                                      \
     {.matmul = {hearth_matmul_##name##_##isa, tile_rows, hearth_tile_bytes_##name##_##isa,          \
                 hearth_pack_##name##_##isa, hearth_unpack_##name##_##isa}}}
/* In the tiles of another level. */
#define MATMUL_PACKED(name, format, isa, level, tile_rows, packed)                                   \
    {"matmul_" #name "_" #isa, HEARTH_OP_MATMUL, format, level,                                      \
     {.matmul = {hearth_matmul_##name##_##isa, tile_rows, hearth_tile_bytes_##name##_##packed,       \
                 hearth_pack_##name##_##packed, hearth_unpack_##name##_##packed}}}
#define DEQUANTIZE(name, format, isa, level)                                                         \
    {"dequantize_" #name "_" #isa, HEARTH_OP_DEQUANTIZE, format, level, {.dequantize = hearth_dequantize_##name##_##isa}}
#define ATTENTION(name, format, isa, level)                                                          \
    {"attention_" #name "_" #isa, HEARTH_OP_ATTENTION, format, level, {.attention = hearth_attention_##name##_##isa}}
/* An operation without formats; member is its field in the union. */
#define PLAIN(name, op, member, isa, level) {#name "_" #isa, op, HEARTH_F32, level, {.member = hearth_##name##_##isa}}

const struct hearth_kernel hearth_kernels[] = {
    MATMUL(q4_0, HEARTH_Q4_0, reference, HEARTH_CPU_REFERENCE, 1),
    MATMUL(q4_0, HEARTH_Q4_0, avx2, HEARTH_CPU_AVX2, 8),
    MATMUL_PACKED(q4_0, HEARTH_Q4_0, avxvnni, HEARTH_CPU_AVXVNNI, 8, avx2),
    MATMUL(q4_0, HEARTH_Q4_0, avx512, HEARTH_CPU_AVX512, 16),
    MATMUL(q4_1, HEARTH_Q4_1, reference, HEARTH_CPU_REFERENCE, 1),
    MATMUL(q4_1, HEARTH_Q4_1, avx2, HEARTH_CPU_AVX2, 8),
    MATMUL_PACKED(q4_1, HEARTH_Q4_1, avxvnni, HEARTH_CPU_AVXVNNI, 8, avx2),
    MATMUL(q4_1, HEARTH_Q4_1, avx512, HEARTH_CPU_AVX512, 16),
    MATMUL(q5_0, HEARTH_Q5_0, reference, HEARTH_CPU_REFERENCE, 1),
    MATMUL(q5_0, HEARTH_Q5_0, avx2, HEARTH_CPU_AVX2, 8),
    MATMUL_PACKED(q5_0, HEARTH_Q5_0, avxvnni, HEARTH_CPU_AVXVNNI, 8, avx2),
    MATMUL(q5_0, HEARTH_Q5_0, avx512, HEARTH_CPU_AVX512, 16),
    MATMUL(q5_1, HEARTH_Q5_1, reference, HEARTH_CPU_REFERENCE, 1),
    MATMUL(q5_1, HEARTH_Q5_1, avx2, HEARTH_CPU_AVX2, 8),
    MATMUL_PACKED(q5_1, HEARTH_Q5_1, avxvnni, HEARTH_CPU_AVXVNNI, 8, avx2),
    MATMUL(q5_1, HEARTH_Q5_1, avx512, HEARTH_CPU_AVX512, 16),
    MATMUL(q8_0, HEARTH_Q8_0, reference, HEARTH_CPU_REFERENCE, 1),
    MATMUL(q8_0, HEARTH_Q8_0, avx2, HEARTH_CPU_AVX2, 8),
    MATMUL_PACKED(q8_0, HEARTH_Q8_0, avxvnni, HEARTH_CPU_AVXVNNI, 8, avx2),
    MATMUL(q8_0, HEARTH_Q8_0, avx512, HEARTH_CPU_AVX512, 16),
    MATMUL(q2_K, HEARTH_Q2_K, reference, HEARTH_CPU_REFERENCE, 1),
    MATMUL(q2_K, HEARTH_Q2_K, avx2, HEARTH_CPU_AVX2, 8),
    MATMUL_PACKED(q2_K, HEARTH_Q2_K, avxvnni, HEARTH_CPU_AVXVNNI, 8, avx2),
    MATMUL(q2_K, HEARTH_Q2_K, avx512, HEARTH_CPU_AVX512, 16),
    MATMUL(q3_K, HEARTH_Q3_K, reference, HEARTH_CPU_REFERENCE, 1),
    MATMUL(q3_K, HEARTH_Q3_K, avx2, HEARTH_CPU_AVX2, 8),
    MATMUL_PACKED(q3_K, HEARTH_Q3_K, avxvnni, HEARTH_CPU_AVXVNNI, 8, avx2),
    MATMUL(q3_K, HEARTH_Q3_K, avx512, HEARTH_CPU_AVX512, 16),
    MATMUL(q4_K, HEARTH_Q4_K, reference, HEARTH_CPU_REFERENCE, 1),
    MATMUL(q4_K, HEARTH_Q4_K, avx2, HEARTH_CPU_AVX2, 8),
    MATMUL_PACKED(q4_K, HEARTH_Q4_K, avxvnni, HEARTH_CPU_AVXVNNI, 8, avx2),
    MATMUL(q4_K, HEARTH_Q4_K, avx512, HEARTH_CPU_AVX512, 16),
    MATMUL(q5_K, HEARTH_Q5_K, reference, HEARTH_CPU_REFERENCE, 1),
    MATMUL(q5_K, HEARTH_Q5_K, avx2, HEARTH_CPU_AVX2, 8),
    MATMUL_PACKED(q5_K, HEARTH_Q5_K, avxvnni, HEARTH_CPU_AVXVNNI, 8, avx2),
    MATMUL(q5_K, HEARTH_Q5_K, avx512, HEARTH_CPU_AVX512, 16),
    MATMUL(q6_K, HEARTH_Q6_K, reference, HEARTH_CPU_REFERENCE, 1),
    MATMUL(q6_K, HEARTH_Q6_K, avx2, HEARTH_CPU_AVX2, 8),
    MATMUL_PACKED(q6_K, HEARTH_Q6_K, avxvnni, HEARTH_CPU_AVXVNNI, 8, avx2),
    MATMUL(q6_K, HEARTH_Q6_K, avx512, HEARTH_CPU_AVX512, 16),
    MATMUL(iq4_nl, HEARTH_IQ4_NL, reference, HEARTH_CPU_REFERENCE, 1),
    MATMUL(iq4_nl, HEARTH_IQ4_NL, avx2, HEARTH_CPU_AVX2, 8),
    MATMUL_PACKED(iq4_nl, HEARTH_IQ4_NL, avxvnni, HEARTH_CPU_AVXVNNI, 8, avx2),
    MATMUL(iq4_nl, HEARTH_IQ4_NL, avx512, HEARTH_CPU_AVX512, 16),
    MATMUL(iq4_xs, HEARTH_IQ4_XS, reference, HEARTH_CPU_REFERENCE, 1),
    MATMUL(iq4_xs, HEARTH_IQ4_XS, avx2, HEARTH_CPU_AVX2, 8),
    MATMUL_PACKED(iq4_xs, HEARTH_IQ4_XS, avxvnni, HEARTH_CPU_AVXVNNI, 8, avx2),
    MATMUL(iq4_xs, HEARTH_IQ4_XS, avx512, HEARTH_CPU_AVX512, 16),
    MATMUL(f32, HEARTH_F32, reference, HEARTH_CPU_REFERENCE, 1),
    MATMUL(f32, HEARTH_F32, avx2, HEARTH_CPU_AVX2, 4),
    MATMUL(f32, HEARTH_F32, avx512, HEARTH_CPU_AVX512, 4),
    MATMUL(f16, HEARTH_F16, reference, HEARTH_CPU_REFERENCE, 1),
    MATMUL(f16, HEARTH_F16, avx2, HEARTH_CPU_AVX2, 4),
    MATMUL(f16, HEARTH_F16, avx512, HEARTH_CPU_AVX512, 4),
    MATMUL(bf16, HEARTH_BF16, reference, HEARTH_CPU_REFERENCE, 1),
    MATMUL(bf16, HEARTH_BF16, avx2, HEARTH_CPU_AVX2, 4),
    MATMUL(bf16, HEARTH_BF16, avx512, HEARTH_CPU_AVX512, 4),

    DEQUANTIZE(q4_0, HEARTH_Q4_0, reference, HEARTH_CPU_REFERENCE),
    DEQUANTIZE(q4_0, HEARTH_Q4_0, avx2, HEARTH_CPU_AVX2),
    DEQUANTIZE(q4_0, HEARTH_Q4_0, avx512, HEARTH_CPU_AVX512),
    DEQUANTIZE(q4_1, HEARTH_Q4_1, reference, HEARTH_CPU_REFERENCE),
    DEQUANTIZE(q4_1, HEARTH_Q4_1, avx2, HEARTH_CPU_AVX2),
    DEQUANTIZE(q4_1, HEARTH_Q4_1, avx512, HEARTH_CPU_AVX512),
    DEQUANTIZE(q5_0, HEARTH_Q5_0, reference, HEARTH_CPU_REFERENCE),
    DEQUANTIZE(q5_0, HEARTH_Q5_0, avx2, HEARTH_CPU_AVX2),
    DEQUANTIZE(q5_0, HEARTH_Q5_0, avx512, HEARTH_CPU_AVX512),
    DEQUANTIZE(q5_1, HEARTH_Q5_1, reference, HEARTH_CPU_REFERENCE),
    DEQUANTIZE(q5_1, HEARTH_Q5_1, avx2, HEARTH_CPU_AVX2),
    DEQUANTIZE(q5_1, HEARTH_Q5_1, avx512, HEARTH_CPU_AVX512),
    DEQUANTIZE(q8_0, HEARTH_Q8_0, reference, HEARTH_CPU_REFERENCE),
    DEQUANTIZE(q8_0, HEARTH_Q8_0, avx2, HEARTH_CPU_AVX2),
    DEQUANTIZE(q8_0, HEARTH_Q8_0, avx512, HEARTH_CPU_AVX512),
    DEQUANTIZE(q2_K, HEARTH_Q2_K, reference, HEARTH_CPU_REFERENCE),
    DEQUANTIZE(q2_K, HEARTH_Q2_K, avx2, HEARTH_CPU_AVX2),
    DEQUANTIZE(q2_K, HEARTH_Q2_K, avx512, HEARTH_CPU_AVX512),
    DEQUANTIZE(q3_K, HEARTH_Q3_K, reference, HEARTH_CPU_REFERENCE),
    DEQUANTIZE(q3_K, HEARTH_Q3_K, avx2, HEARTH_CPU_AVX2),
    DEQUANTIZE(q3_K, HEARTH_Q3_K, avx512, HEARTH_CPU_AVX512),
    DEQUANTIZE(q4_K, HEARTH_Q4_K, reference, HEARTH_CPU_REFERENCE),
    DEQUANTIZE(q4_K, HEARTH_Q4_K, avx2, HEARTH_CPU_AVX2),
    DEQUANTIZE(q4_K, HEARTH_Q4_K, avx512, HEARTH_CPU_AVX512),
    DEQUANTIZE(q5_K, HEARTH_Q5_K, reference, HEARTH_CPU_REFERENCE),
    DEQUANTIZE(q5_K, HEARTH_Q5_K, avx2, HEARTH_CPU_AVX2),
    DEQUANTIZE(q5_K, HEARTH_Q5_K, avx512, HEARTH_CPU_AVX512),
    DEQUANTIZE(q6_K, HEARTH_Q6_K, reference, HEARTH_CPU_REFERENCE),
    DEQUANTIZE(q6_K, HEARTH_Q6_K, avx2, HEARTH_CPU_AVX2),
    DEQUANTIZE(q6_K, HEARTH_Q6_K, avx512, HEARTH_CPU_AVX512),
    DEQUANTIZE(iq4_nl, HEARTH_IQ4_NL, reference, HEARTH_CPU_REFERENCE),
    DEQUANTIZE(iq4_nl, HEARTH_IQ4_NL, avx2, HEARTH_CPU_AVX2),
    DEQUANTIZE(iq4_nl, HEARTH_IQ4_NL, avx512, HEARTH_CPU_AVX512),
    DEQUANTIZE(iq4_xs, HEARTH_IQ4_XS, reference, HEARTH_CPU_REFERENCE),
    DEQUANTIZE(iq4_xs, HEARTH_IQ4_XS, avx2, HEARTH_CPU_AVX2),
    DEQUANTIZE(iq4_xs, HEARTH_IQ4_XS, avx512, HEARTH_CPU_AVX512),
    DEQUANTIZE(f32, HEARTH_F32, reference, HEARTH_CPU_REFERENCE),
    DEQUANTIZE(f32, HEARTH_F32, avx2, HEARTH_CPU_AVX2),
    DEQUANTIZE(f32, HEARTH_F32, avx512, HEARTH_CPU_AVX512),
    DEQUANTIZE(f16, HEARTH_F16, reference, HEARTH_CPU_REFERENCE),
    DEQUANTIZE(f16, HEARTH_F16, avx2, HEARTH_CPU_AVX2),
    DEQUANTIZE(f16, HEARTH_F16, avx512, HEARTH_CPU_AVX512),
    DEQUANTIZE(bf16, HEARTH_BF16, reference, HEARTH_CPU_REFERENCE),
    DEQUANTIZE(bf16, HEARTH_BF16, avx2, HEARTH_CPU_AVX2),
    DEQUANTIZE(bf16, HEARTH_BF16, avx512, HEARTH_CPU_AVX512),

    PLAIN(quantize_q8_32, HEARTH_OP_QUANTIZE_Q8_32, quantize, reference, HEARTH_CPU_REFERENCE),
    PLAIN(quantize_q8_32, HEARTH_OP_QUANTIZE_Q8_32, quantize, avx2, HEARTH_CPU_AVX2),
    PLAIN(quantize_q8_32, HEARTH_OP_QUANTIZE_Q8_32, quantize, avx512, HEARTH_CPU_AVX512),
    PLAIN(quantize_q8_256, HEARTH_OP_QUANTIZE_Q8_256, quantize, reference, HEARTH_CPU_REFERENCE),
    PLAIN(quantize_q8_256, HEARTH_OP_QUANTIZE_Q8_256, quantize, avx2, HEARTH_CPU_AVX2),
    PLAIN(quantize_q8_256, HEARTH_OP_QUANTIZE_Q8_256, quantize, avx512, HEARTH_CPU_AVX512),
    PLAIN(quantize_q8_0, HEARTH_OP_QUANTIZE_Q8_0, quantize, reference, HEARTH_CPU_REFERENCE),
    PLAIN(quantize_q8_0, HEARTH_OP_QUANTIZE_Q8_0, quantize, avx2, HEARTH_CPU_AVX2),
    PLAIN(quantize_q8_0, HEARTH_OP_QUANTIZE_Q8_0, quantize, avx512, HEARTH_CPU_AVX512),
    PLAIN(rms_norm, HEARTH_OP_RMS_NORM, rms_norm, reference, HEARTH_CPU_REFERENCE),
    PLAIN(rms_norm, HEARTH_OP_RMS_NORM, rms_norm, avx2, HEARTH_CPU_AVX2),
    PLAIN(rms_norm, HEARTH_OP_RMS_NORM, rms_norm, avx512, HEARTH_CPU_AVX512),
    PLAIN(layer_norm, HEARTH_OP_LAYER_NORM, layer_norm, reference, HEARTH_CPU_REFERENCE),
    PLAIN(layer_norm, HEARTH_OP_LAYER_NORM, layer_norm, avx2, HEARTH_CPU_AVX2),
    PLAIN(layer_norm, HEARTH_OP_LAYER_NORM, layer_norm, avx512, HEARTH_CPU_AVX512),
    PLAIN(rope, HEARTH_OP_ROPE, rope, reference, HEARTH_CPU_REFERENCE),
    PLAIN(rope, HEARTH_OP_ROPE, rope, avx2, HEARTH_CPU_AVX2),
    PLAIN(rope, HEARTH_OP_ROPE, rope, avx512, HEARTH_CPU_AVX512),
    PLAIN(rope_neox, HEARTH_OP_ROPE_NEOX, rope, reference, HEARTH_CPU_REFERENCE),
    PLAIN(rope_neox, HEARTH_OP_ROPE_NEOX, rope, avx2, HEARTH_CPU_AVX2),
    PLAIN(rope_neox, HEARTH_OP_ROPE_NEOX, rope, avx512, HEARTH_CPU_AVX512),
    PLAIN(silu_mul, HEARTH_OP_SILU_MUL, silu_mul, reference, HEARTH_CPU_REFERENCE),
    PLAIN(silu_mul, HEARTH_OP_SILU_MUL, silu_mul, avx2, HEARTH_CPU_AVX2),
    PLAIN(silu_mul, HEARTH_OP_SILU_MUL, silu_mul, avx512, HEARTH_CPU_AVX512),
    PLAIN(gelu, HEARTH_OP_GELU, gelu, reference, HEARTH_CPU_REFERENCE),
    PLAIN(gelu, HEARTH_OP_GELU, gelu, avx2, HEARTH_CPU_AVX2),
    PLAIN(gelu, HEARTH_OP_GELU, gelu, avx512, HEARTH_CPU_AVX512),
    PLAIN(gelu_mul, HEARTH_OP_GELU_MUL, gelu_mul, reference, HEARTH_CPU_REFERENCE),
    PLAIN(gelu_mul, HEARTH_OP_GELU_MUL, gelu_mul, avx2, HEARTH_CPU_AVX2),
    PLAIN(gelu_mul, HEARTH_OP_GELU_MUL, gelu_mul, avx512, HEARTH_CPU_AVX512),
    PLAIN(softcap, HEARTH_OP_SOFTCAP, softcap, reference, HEARTH_CPU_REFERENCE),
    PLAIN(softcap, HEARTH_OP_SOFTCAP, softcap, avx2, HEARTH_CPU_AVX2),
    PLAIN(softcap, HEARTH_OP_SOFTCAP, softcap, avx512, HEARTH_CPU_AVX512),
    PLAIN(add, HEARTH_OP_ADD, add, reference, HEARTH_CPU_REFERENCE),
    PLAIN(add, HEARTH_OP_ADD, add, avx2, HEARTH_CPU_AVX2),
    PLAIN(add, HEARTH_OP_ADD, add, avx512, HEARTH_CPU_AVX512),
    PLAIN(softmax, HEARTH_OP_SOFTMAX, softmax, reference, HEARTH_CPU_REFERENCE),
    PLAIN(softmax, HEARTH_OP_SOFTMAX, softmax, avx2, HEARTH_CPU_AVX2),
    PLAIN(softmax, HEARTH_OP_SOFTMAX, softmax, avx512, HEARTH_CPU_AVX512),
    PLAIN(exp, HEARTH_OP_EXP, exp, reference, HEARTH_CPU_REFERENCE),
    PLAIN(exp, HEARTH_OP_EXP, exp, avx2, HEARTH_CPU_AVX2),
    PLAIN(exp, HEARTH_OP_EXP, exp, avx512, HEARTH_CPU_AVX512),
    PLAIN(to_f16, HEARTH_OP_TO_F16, to_f16, reference, HEARTH_CPU_REFERENCE),
    PLAIN(to_f16, HEARTH_OP_TO_F16, to_f16, avx2, HEARTH_CPU_AVX2),
    PLAIN(to_f16, HEARTH_OP_TO_F16, to_f16, avx512, HEARTH_CPU_AVX512),

    ATTENTION(f16, HEARTH_F16, reference, HEARTH_CPU_REFERENCE),
    ATTENTION(f16, HEARTH_F16, avx2, HEARTH_CPU_AVX2),
    ATTENTION(f16, HEARTH_F16, avx512, HEARTH_CPU_AVX512),
    ATTENTION(f32, HEARTH_F32, reference, HEARTH_CPU_REFERENCE),
    ATTENTION(f32, HEARTH_F32, avx2, HEARTH_CPU_AVX2),
    ATTENTION(f32, HEARTH_F32, avx512, HEARTH_CPU_AVX512),
    ATTENTION(q8_0, HEARTH_Q8_0, reference, HEARTH_CPU_REFERENCE),
    ATTENTION(q8_0, HEARTH_Q8_0, avx2, HEARTH_CPU_AVX2),
    ATTENTION(q8_0, HEARTH_Q8_0, avx512, HEARTH_CPU_AVX512),
    PLAIN(attention_merge, HEARTH_OP_ATTENTION_MERGE, attention_merge, reference, HEARTH_CPU_REFERENCE),
    PLAIN(attention_merge, HEARTH_OP_ATTENTION_MERGE, attention_merge, avx2, HEARTH_CPU_AVX2),
    PLAIN(attention_merge, HEARTH_OP_ATTENTION_MERGE, attention_merge, avx512, HEARTH_CPU_AVX512),
};
/* clang-format on */

const size_t hearth_kernel_count = COUNT(hearth_kernels);

/* The slot of a kernel in a set. */
static size_t slot_of(const struct hearth_kernel *kernel)
{
    return hearth_op_has_format(kernel->op) ? (size_t)kernel->format : 0;
}

/* A level admits all rows below it, with one exception: AVX-VNNI came years after AVX-512 with VNNI, so an AVX-512 machine may not
 * have it. It loses nothing, for the product that needs VNNI has a row of its own there. */
static bool admits(enum hearth_cpu_level level, enum hearth_cpu_level row)
{
    if (level == HEARTH_CPU_AVX512 && row == HEARTH_CPU_AVXVNNI)
        return false;
    return row <= level;
}

void hearth_kernels_choose(struct hearth_kernel_set *out, enum hearth_cpu_level level, const bool *refused)
{
    *out = (struct hearth_kernel_set){.level = level};
    for (size_t i = 0; i < hearth_kernel_count; i++) {
        const struct hearth_kernel *kernel = &hearth_kernels[i];
        if (admits(level, kernel->level) && (refused == NULL || !refused[i]))
            out->chosen[kernel->op][slot_of(kernel)] = kernel;
    }
}

const struct hearth_kernel *hearth_kernel_reference(const struct hearth_kernel *kernel)
{
    for (size_t i = 0; i < hearth_kernel_count; i++) {
        const struct hearth_kernel *row = &hearth_kernels[i];
        if (row->level == HEARTH_CPU_REFERENCE && row->op == kernel->op && slot_of(row) == slot_of(kernel))
            return row;
    }
    return NULL;
}
