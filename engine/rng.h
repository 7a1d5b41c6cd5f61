/* The random numbers of sampling: xoshiro256** seeded by SplitMix64 (spec sampling.md section 5). Integers only, so a seed gives
 * the same stream on every machine. */
#ifndef HEARTH_ENGINE_RNG_H
#define HEARTH_ENGINE_RNG_H

#include <stdint.h>

struct hearth_rng {
    uint64_t s[4]; /* saved with a session; all zero never arises from a seed */
};

static inline uint64_t hearth_splitmix64(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static inline struct hearth_rng hearth_rng_seed(uint64_t seed)
{
    struct hearth_rng rng;
    for (int i = 0; i < 4; i++)
        rng.s[i] = hearth_splitmix64(&seed);
    return rng;
}

static inline uint64_t hearth_rotl64(uint64_t x, unsigned by)
{
    return x << by | x >> (64 - by);
}

static inline uint64_t hearth_rng_next(struct hearth_rng *rng)
{
    uint64_t *s = rng->s;
    const uint64_t result = hearth_rotl64(s[1] * 5, 7) * 9;
    const uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = hearth_rotl64(s[3], 45);
    return result;
}

/* Uniform in [0, 1): a multiple of 2^-53. */
static inline double hearth_rng_uniform(struct hearth_rng *rng)
{
    return (double)(hearth_rng_next(rng) >> 11) * 0x1p-53;
}

#endif
