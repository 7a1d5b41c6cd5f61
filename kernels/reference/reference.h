/* The reference kernels: the definition of every operation, to the bit. Scalar, one rounding for each written operation (fmaf is
 * one rounding), in the order written. Each definition stands as a comment above its function; whoever writes a faster kernel
 * writes it from there. All floats are finite unless said: a NaN in the input gives NaN in the output it reaches, of any payload.
 */
#ifndef HEARTH_REFERENCE_H
#define HEARTH_REFERENCE_H

#include "kernels.h"

/* matmul_block32.c */
hearth_matmul_fn hearth_matmul_q4_0_reference, hearth_matmul_q4_1_reference, hearth_matmul_q5_0_reference,
    hearth_matmul_q5_1_reference, hearth_matmul_q8_0_reference, hearth_matmul_iq4_nl_reference;
/* matmul_kquant.c */
hearth_matmul_fn hearth_matmul_q2_K_reference, hearth_matmul_q3_K_reference, hearth_matmul_q4_K_reference,
    hearth_matmul_q5_K_reference, hearth_matmul_q6_K_reference, hearth_matmul_iq4_xs_reference;
/* matmul_float.c */
hearth_matmul_fn hearth_matmul_f32_reference, hearth_matmul_f16_reference, hearth_matmul_bf16_reference;

/* tile.c */
hearth_tile_bytes_fn hearth_tile_bytes_q4_0_reference, hearth_tile_bytes_q4_1_reference, hearth_tile_bytes_q5_0_reference,
    hearth_tile_bytes_q5_1_reference, hearth_tile_bytes_q8_0_reference, hearth_tile_bytes_iq4_nl_reference,
    hearth_tile_bytes_q2_K_reference, hearth_tile_bytes_q3_K_reference, hearth_tile_bytes_q4_K_reference,
    hearth_tile_bytes_q5_K_reference, hearth_tile_bytes_q6_K_reference, hearth_tile_bytes_iq4_xs_reference,
    hearth_tile_bytes_f32_reference, hearth_tile_bytes_f16_reference, hearth_tile_bytes_bf16_reference;
hearth_pack_fn hearth_pack_q4_0_reference, hearth_pack_q4_1_reference, hearth_pack_q5_0_reference, hearth_pack_q5_1_reference,
    hearth_pack_q8_0_reference, hearth_pack_iq4_nl_reference, hearth_pack_q2_K_reference, hearth_pack_q3_K_reference,
    hearth_pack_q4_K_reference, hearth_pack_q5_K_reference, hearth_pack_q6_K_reference, hearth_pack_iq4_xs_reference,
    hearth_pack_f32_reference, hearth_pack_f16_reference, hearth_pack_bf16_reference;
hearth_unpack_fn hearth_unpack_q4_0_reference, hearth_unpack_q4_1_reference, hearth_unpack_q5_0_reference,
    hearth_unpack_q5_1_reference, hearth_unpack_q8_0_reference, hearth_unpack_iq4_nl_reference, hearth_unpack_q2_K_reference,
    hearth_unpack_q3_K_reference, hearth_unpack_q4_K_reference, hearth_unpack_q5_K_reference, hearth_unpack_q6_K_reference,
    hearth_unpack_iq4_xs_reference, hearth_unpack_f32_reference, hearth_unpack_f16_reference, hearth_unpack_bf16_reference;

/* dequantize.c */
hearth_dequantize_fn hearth_dequantize_q4_0_reference, hearth_dequantize_q4_1_reference, hearth_dequantize_q5_0_reference,
    hearth_dequantize_q5_1_reference, hearth_dequantize_q8_0_reference, hearth_dequantize_iq4_nl_reference,
    hearth_dequantize_q2_K_reference, hearth_dequantize_q3_K_reference, hearth_dequantize_q4_K_reference,
    hearth_dequantize_q5_K_reference, hearth_dequantize_q6_K_reference, hearth_dequantize_iq4_xs_reference,
    hearth_dequantize_f32_reference, hearth_dequantize_f16_reference, hearth_dequantize_bf16_reference;

/* quantize_q8.c */
hearth_quantize_fn hearth_quantize_q8_32_reference, hearth_quantize_q8_256_reference, hearth_quantize_q8_0_reference;

/* One file each. */
hearth_rms_norm_fn hearth_rms_norm_reference;
hearth_layer_norm_fn hearth_layer_norm_reference;
hearth_rope_fn hearth_rope_reference, hearth_rope_neox_reference;
hearth_silu_mul_fn hearth_silu_mul_reference;
hearth_gelu_fn hearth_gelu_reference;
hearth_gelu_mul_fn hearth_gelu_mul_reference;
hearth_softcap_fn hearth_softcap_reference;
hearth_add_fn hearth_add_reference;
hearth_softmax_fn hearth_softmax_reference;
hearth_exp_fn hearth_exp_reference;
hearth_to_f16_fn hearth_to_f16_reference;

/* attention.c */
hearth_attention_fn hearth_attention_f16_reference, hearth_attention_f32_reference, hearth_attention_q8_0_reference;
hearth_attention_merge_fn hearth_attention_merge_reference;

#endif
