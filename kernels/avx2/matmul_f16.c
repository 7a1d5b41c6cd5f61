/* F16 weights: elements lie in the tile as in the file, and are widened by the load. */
#include "avx2/simd.h"

HEARTH_ALWAYS_INLINE __m256 load_8(const uint16_t *w, size_t half)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(w + 8 * half)));
}

HEARTH_ALWAYS_INLINE void pack_16(void *to, const void *from)
{
    memcpy(to, from, 16 * sizeof(uint16_t));
}

#define unpack_16 pack_16
#define FORMAT(op) op##_f16_avx2
#define ELEMENT uint16_t
#include "avx2/matmul_float.h" /* defines the products, tile_bytes, pack and unpack */
