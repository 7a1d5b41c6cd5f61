/* Floats to blocks of Q8_0 as they lie in a file, for the cache (kernels/reference/quantize_q8.c). */
#include "avx512/quantize.h"

/* Sixteen codes; a scale that was rounded down lets x * r pass 127. */
HEARTH_ALWAYS_INLINE void quantize16_clamped(uint8_t *q, const float *x, float r)
{
    const __m512i codes = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x), _mm512_set1_ps(r)));
    const __m512i bounded = _mm512_max_epi32(_mm512_min_epi32(codes, _mm512_set1_epi32(127)), _mm512_set1_epi32(-127));
    _mm_storeu_si128((__m128i *)(void *)q, _mm512_cvtepi32_epi8(bounded));
}

bool hearth_quantize_q8_0_avx512(void *row, size_t stride, const float *x, size_t begin, size_t end)
{
    uint8_t *block = (uint8_t *)row + begin / 32 * 34;
    (void)stride;
    for (size_t i = begin; i < end; i += 32, block += 34, x += 32) {
        const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
        const __m512i greatest = _mm512_max_epi32(_mm512_and_si512(_mm512_loadu_si512(x), magnitude),
                                                  _mm512_and_si512(_mm512_loadu_si512(x + 16), magnitude));
        const uint32_t bits = (uint32_t)_mm512_reduce_max_epi32(greatest);
        const uint16_t half = _cvtss_sh(hearth_f32_from_bits(bits) / 127.0f, _MM_FROUND_TO_NEAREST_INT);
        if (bits > 0x7f7fffffu || half == 0x7c00u)
            return false;
        const float r = half ? 1.0f / _cvtsh_ss(half) : 0.0f;
        memcpy(block, &half, sizeof half);
        quantize16_clamped(block + 2, x, r);
        quantize16_clamped(block + 18, x + 16, r);
    }
    return true;
}
