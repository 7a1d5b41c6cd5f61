/* What a block of quantized weights says, as the integers and scales of the file. The one reading of the bits: dequantization and
 * products both start here (spec: docs/quantization.md sections 5 to 7). */
#ifndef HEARTH_REFERENCE_DECODE_H
#define HEARTH_REFERENCE_DECODE_H

#include <stdint.h>

/* A block of 32. The value of element k is w[k] * d, or (w[k] * d) + m where the format has a min. w includes the format's offset:
 * -8 … 7 in Q4_0, -16 … 15 in Q5_0, 0 … 15 in Q4_1, 0 … 31 in Q5_1, any int8 in Q8_0, a value of hearth_iq4_values in IQ4_NL. */
struct hearth_codes32 {
    float d;
    float m; /* +0 where the format has no min */
    int8_t w[32];
};

/* A super-block of 256, read as 16 sub-blocks of 16; formats with sub-blocks of 32 give each scale twice. The value of element k is
 * (d * scale[k/16]) * w[k], minus (dmin * min[k/16]) where the format has mins. Scales and weights are signed as in the value:
 * w is 0 … 3 in Q2_K, -4 … 3 in Q3_K, 0 … 15 in Q4_K, 0 … 31 in Q5_K, -32 … 31 in Q6_K, a value of hearth_iq4_values in IQ4_XS;
 * scale is 0 … 15 in Q2_K, -32 … 31 in Q3_K and IQ4_XS, 0 … 63 in Q4_K and Q5_K, any int8 in Q6_K; min is 0 … 15 in Q2_K, 0 … 63 in
 * Q4_K and Q5_K. */
struct hearth_codes256 {
    float d;
    float dmin;
    int8_t w[256];
    int8_t scale[16];
    uint8_t min[16];
};

extern const int8_t hearth_iq4_values[16];

typedef void hearth_decode32_fn(struct hearth_codes32 *out, const void *block);
typedef void hearth_decode256_fn(struct hearth_codes256 *out, const void *block);

hearth_decode32_fn hearth_decode_q4_0, hearth_decode_q4_1, hearth_decode_q5_0, hearth_decode_q5_1, hearth_decode_q8_0,
    hearth_decode_iq4_nl;
hearth_decode256_fn hearth_decode_q2_K, hearth_decode_q3_K, hearth_decode_q4_K, hearth_decode_q5_K, hearth_decode_q6_K,
    hearth_decode_iq4_xs;

#endif
