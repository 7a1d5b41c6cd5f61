/* The kernels of the AVX-VNNI level (the dot instruction in 256 bits, and what AVX2 has), for the registry: products of quantized
 * weights. Their tiles are avx2's, to the byte, so that packing is avx2's too. What each does is said in kernels.h. */
#ifndef HEARTH_AVXVNNI_H
#define HEARTH_AVXVNNI_H

#include "kernels.h"

hearth_matmul_fn hearth_matmul_q4_0_avxvnni, hearth_matmul_q4_1_avxvnni, hearth_matmul_q5_0_avxvnni, hearth_matmul_q5_1_avxvnni,
    hearth_matmul_q8_0_avxvnni, hearth_matmul_q2_K_avxvnni, hearth_matmul_q3_K_avxvnni, hearth_matmul_q4_K_avxvnni,
    hearth_matmul_q5_K_avxvnni, hearth_matmul_q6_K_avxvnni, hearth_matmul_iq4_nl_avxvnni, hearth_matmul_iq4_xs_avxvnni;

#endif
