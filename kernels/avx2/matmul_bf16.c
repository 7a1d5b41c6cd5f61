/* BF16 weights, the upper halves of floats. Dword l of 16 packed elements holds lane l below lane l + 8, so that one shift or one
 * mask makes floats of either half of the lanes. */
#include "avx2/simd.h"

HEARTH_ALWAYS_INLINE __m256 load_8(const uint16_t *w, size_t half)
{
    const __m256i both = _mm256_loadu_si256((const __m256i *)(const void *)w);
    return _mm256_castsi256_ps(half == 0 ? _mm256_slli_epi32(both, 16) : _mm256_and_si256(both, _mm256_set1_epi32(-65536)));
}

HEARTH_ALWAYS_INLINE void pack_16(void *to, const void *from)
{
    const __m128i low = _mm_loadu_si128((const __m128i *)from);
    const __m128i high = _mm_loadu_si128((const __m128i *)from + 1);
    _mm_storeu_si128((__m128i *)to, _mm_unpacklo_epi16(low, high));
    _mm_storeu_si128((__m128i *)to + 1, _mm_unpackhi_epi16(low, high));
}

HEARTH_ALWAYS_INLINE void unpack_16(void *to, const void *from)
{
    uint16_t packed[16];
    uint16_t file[16];
    memcpy(packed, from, sizeof packed);
    for (size_t l = 0; l < 16; l++)
        file[l] = packed[l % 8 * 2 + l / 8];
    memcpy(to, file, sizeof file);
}

#define FORMAT(op) op##_bf16_avx2
#define ELEMENT uint16_t
#include "avx2/matmul_float.h" /* defines the products, tile_bytes, pack and unpack */
