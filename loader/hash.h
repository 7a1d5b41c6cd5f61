/* XXH3 of bytes: the one door to xxHash. Fast and good at telling accidents apart; no defence against somebody who makes bytes to
 * collide. */
#ifndef HEARTH_LOADER_HASH_H
#define HEARTH_LOADER_HASH_H

#include <stddef.h>
#include <stdint.h>

struct hearth_hash {
    uint64_t low, high;
};

uint64_t hearth_hash64(const void *bytes, size_t n, uint64_t seed);
struct hearth_hash hearth_hash128(const void *bytes, size_t n);
/* The same by AVX2, which the CPU must have; called by the above. */
struct hearth_hash hearth_hash128_avx2(const void *bytes, size_t n);
/* The hash of bytes at a place: for sums over many pieces, which may be taken in any order. */
struct hearth_hash hearth_hash_at(const void *bytes, size_t n, uint64_t place);
static inline void hearth_hash_sum(struct hearth_hash *sum, struct hearth_hash hash)
{
    sum->low += hash.low;
    sum->high += hash.high;
}
/* Take n more bytes into a hash of several pieces; it begins as zeros. Where pieces begin and end counts. */
void hearth_hash_add(struct hearth_hash *hash, const void *bytes, size_t n);

static inline int hearth_hash_equal(struct hearth_hash a, struct hearth_hash b)
{
    return a.low == b.low && a.high == b.high;
}

#endif
