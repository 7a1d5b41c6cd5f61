/* The 128-bit hash once more, compiled for AVX2: xxHash's header then has loops of 256 bits, with the same result. */
#include "hash.h"

#define XXH_INLINE_ALL
#include <immintrin.h>
#include <xxhash.h>

struct hearth_hash hearth_hash128_avx2(const void *bytes, size_t n)
{
    const XXH128_hash_t h = XXH3_128bits(bytes, n);
    _mm256_zeroupper(); /* xxHash's own options keep gcc from doing it: SSE code behind was 170 times as slow on an Intel core */
    return (struct hearth_hash){h.low64, h.high64};
}
