/* F32 weights: elements lie in the tile as in the file. */
#include "avx2/simd.h"

HEARTH_ALWAYS_INLINE __m256 load_8(const float *w, size_t half)
{
    return _mm256_loadu_ps(w + 8 * half);
}

HEARTH_ALWAYS_INLINE void pack_16(void *to, const void *from)
{
    memcpy(to, from, 16 * sizeof(float));
}

#define unpack_16 pack_16
#define FORMAT(op) op##_f32_avx2
#define ELEMENT float
#include "avx2/matmul_float.h" /* defines the products, tile_bytes, pack and unpack */
