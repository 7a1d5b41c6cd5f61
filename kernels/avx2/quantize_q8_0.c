/* Floats to blocks of Q8_0 as they lie in a file, for the cache (kernels/reference/quantize_q8.c). */
#include "avx2/quantize.h"

bool hearth_quantize_q8_0_avx2(void *row, size_t stride, const float *x, size_t begin, size_t end)
{
    uint8_t *block = (uint8_t *)row + begin / 32 * 34;
    (void)stride;
    for (size_t i = begin; i < end; i += 32, block += 34, x += 32) {
        const uint32_t bits = greatest_magnitude(x, 32);
        const uint16_t half = _cvtss_sh(hearth_f32_from_bits(bits) / 127.0f, _MM_FROUND_TO_NEAREST_INT);
        if (bits > 0x7f7fffffu || half == 0x7c00u)
            return false;
        memcpy(block, &half, sizeof half);
        const __m256i q = quantize_32(block + 2, x, half ? 1.0f / _cvtsh_ss(half) : 0.0f);
        _mm256_storeu_si256((__m256i *)(void *)(block + 2), _mm256_max_epi8(q, _mm256_set1_epi8(-127))); /* packing stops at -128 */
    }
    return true;
}
