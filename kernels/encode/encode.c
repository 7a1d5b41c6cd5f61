/* Which formats can be made. */
#include "encode/encode.h"
#include "common/half.h"

hearth_encode_fn *hearth_encoder(uint32_t format)
{
    static hearth_encode_fn *const table[HEARTH_FORMAT_COUNT] = {
        [HEARTH_F32] = hearth_encode_f32,   [HEARTH_F16] = hearth_encode_f16,   [HEARTH_BF16] = hearth_encode_bf16,
        [HEARTH_Q4_0] = hearth_encode_q4_0, [HEARTH_Q4_1] = hearth_encode_q4_1, [HEARTH_Q5_0] = hearth_encode_q5_0,
        [HEARTH_Q5_1] = hearth_encode_q5_1, [HEARTH_Q8_0] = hearth_encode_q8_0, [HEARTH_Q4_K] = hearth_encode_q4_K,
        [HEARTH_Q5_K] = hearth_encode_q5_K, [HEARTH_Q6_K] = hearth_encode_q6_K,
    };
    return format < HEARTH_FORMAT_COUNT ? table[format] : NULL;
}

bool hearth_encode_finite(const float *x, size_t k)
{
    uint32_t bad = 0;
    for (size_t i = 0; i < k; i++)
        bad |= (hearth_f32_bits(x[i]) & 0x7f800000u) == 0x7f800000u;
    return bad == 0;
}
