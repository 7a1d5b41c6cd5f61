/* xxHash is used as a header: its functions are compiled in here. */
#include "hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#define LONG_BYTES 256u /* shorter ones have no loop */

uint64_t hearth_hash64(const void *bytes, size_t n, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes, n, seed);
}

struct hearth_hash hearth_hash128(const void *bytes, size_t n)
{
    if (n >= LONG_BYTES && __builtin_cpu_supports("avx2"))
        return hearth_hash128_avx2(bytes, n);
    const XXH128_hash_t h = XXH3_128bits(bytes, n);
    return (struct hearth_hash){h.low64, h.high64};
}

struct hearth_hash hearth_hash_at(const void *bytes, size_t n, uint64_t place)
{
    const struct hearth_hash hash = hearth_hash128(bytes, n);
    const uint64_t with_place[3] = {hash.low, hash.high, place};
    return hearth_hash128(with_place, sizeof with_place);
}

void hearth_hash_add(struct hearth_hash *hash, const void *bytes, size_t n)
{
    const struct hearth_hash both[2] = {*hash, hearth_hash128(bytes, n)};
    *hash = hearth_hash128(both, sizeof both);
}
