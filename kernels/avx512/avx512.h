/* All kernels of the AVX-512 level (F, BW, VL, DQ, VNNI, and what AVX2 has), for the registry. What each does is said in kernels.h.
 */
#ifndef HEARTH_AVX512_H
#define HEARTH_AVX512_H

#include "kernels.h"

/* Weights: tiles of 16 rows, of 1 row in the float formats. */
hearth_matmul_fn hearth_matmul_q4_0_avx512, hearth_matmul_q4_1_avx512, hearth_matmul_q5_0_avx512, hearth_matmul_q5_1_avx512,
    hearth_matmul_q8_0_avx512, hearth_matmul_q2_K_avx512, hearth_matmul_q3_K_avx512, hearth_matmul_q4_K_avx512,
    hearth_matmul_q5_K_avx512, hearth_matmul_q6_K_avx512, hearth_matmul_iq4_nl_avx512, hearth_matmul_iq4_xs_avx512,
    hearth_matmul_f32_avx512, hearth_matmul_f16_avx512, hearth_matmul_bf16_avx512;
hearth_tile_bytes_fn hearth_tile_bytes_q4_0_avx512, hearth_tile_bytes_q4_1_avx512, hearth_tile_bytes_q5_0_avx512,
    hearth_tile_bytes_q5_1_avx512, hearth_tile_bytes_q8_0_avx512, hearth_tile_bytes_q2_K_avx512, hearth_tile_bytes_q3_K_avx512,
    hearth_tile_bytes_q4_K_avx512, hearth_tile_bytes_q5_K_avx512, hearth_tile_bytes_q6_K_avx512, hearth_tile_bytes_iq4_nl_avx512,
    hearth_tile_bytes_iq4_xs_avx512, hearth_tile_bytes_f32_avx512, hearth_tile_bytes_f16_avx512, hearth_tile_bytes_bf16_avx512;
hearth_pack_fn hearth_pack_q4_0_avx512, hearth_pack_q4_1_avx512, hearth_pack_q5_0_avx512, hearth_pack_q5_1_avx512,
    hearth_pack_q8_0_avx512, hearth_pack_q2_K_avx512, hearth_pack_q3_K_avx512, hearth_pack_q4_K_avx512, hearth_pack_q5_K_avx512,
    hearth_pack_q6_K_avx512, hearth_pack_iq4_nl_avx512, hearth_pack_iq4_xs_avx512, hearth_pack_f32_avx512, hearth_pack_f16_avx512,
    hearth_pack_bf16_avx512;
hearth_unpack_fn hearth_unpack_q4_0_avx512, hearth_unpack_q4_1_avx512, hearth_unpack_q5_0_avx512, hearth_unpack_q5_1_avx512,
    hearth_unpack_q8_0_avx512, hearth_unpack_q2_K_avx512, hearth_unpack_q3_K_avx512, hearth_unpack_q4_K_avx512,
    hearth_unpack_q5_K_avx512, hearth_unpack_q6_K_avx512, hearth_unpack_iq4_nl_avx512, hearth_unpack_iq4_xs_avx512,
    hearth_unpack_f32_avx512, hearth_unpack_f16_avx512, hearth_unpack_bf16_avx512;

hearth_dequantize_fn hearth_dequantize_q4_0_avx512, hearth_dequantize_q4_1_avx512, hearth_dequantize_q5_0_avx512,
    hearth_dequantize_q5_1_avx512, hearth_dequantize_q8_0_avx512, hearth_dequantize_q2_K_avx512, hearth_dequantize_q3_K_avx512,
    hearth_dequantize_q4_K_avx512, hearth_dequantize_q5_K_avx512, hearth_dequantize_q6_K_avx512, hearth_dequantize_iq4_nl_avx512,
    hearth_dequantize_iq4_xs_avx512, hearth_dequantize_f32_avx512, hearth_dequantize_f16_avx512, hearth_dequantize_bf16_avx512;
hearth_quantize_fn hearth_quantize_q8_32_avx512, hearth_quantize_q8_256_avx512, hearth_quantize_q8_0_avx512;

hearth_rms_norm_fn hearth_rms_norm_avx512;
hearth_layer_norm_fn hearth_layer_norm_avx512;
hearth_rope_fn hearth_rope_avx512, hearth_rope_neox_avx512;
hearth_silu_mul_fn hearth_silu_mul_avx512;
hearth_gelu_fn hearth_gelu_avx512;
hearth_gelu_mul_fn hearth_gelu_mul_avx512;
hearth_softcap_fn hearth_softcap_avx512;
hearth_add_fn hearth_add_avx512;
hearth_softmax_fn hearth_softmax_avx512;
hearth_exp_fn hearth_exp_avx512;
hearth_to_f16_fn hearth_to_f16_avx512;

hearth_attention_fn hearth_attention_f16_avx512, hearth_attention_f32_avx512, hearth_attention_q8_0_avx512;
hearth_attention_merge_fn hearth_attention_merge_avx512;

#endif
