/* The generator is splitmix64: a counter and a mixing function, so that neighbouring seeds give unrelated numbers. */
#include "rng.h"
#include "common/half.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct rng rng_from(uint64_t seed)
{
    return (struct rng){seed};
}

struct rng rng_start(void)
{
    const char *text = getenv("HEARTH_TEST_SEED");
    if (text == NULL)
        return rng_from(1);
    const uint64_t seed = strtoull(text, NULL, 10);
    fprintf(stderr, "HEARTH_TEST_SEED=%" PRIu64 "\n", seed);
    return rng_from(seed);
}

uint32_t rng_next(struct rng *rng)
{
    uint64_t z = rng->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ z >> 31) >> 32);
}

uint32_t rng_below(struct rng *rng, uint32_t n)
{
    return (uint32_t)((uint64_t)rng_next(rng) * n >> 32);
}

float rng_uniform(struct rng *rng, float low, float high)
{
    const float unit = (float)(rng_next(rng) >> 8) * 0x1p-24f;
    return low + (high - low) * unit;
}

float rng_magnitude(struct rng *rng, int low, int high)
{
    const uint32_t exponent = (uint32_t)(127 + low) + rng_below(rng, (uint32_t)(high - low + 1));
    const uint32_t rest = rng_next(rng);
    return hearth_f32_from_bits((rest & 0x80000000u) | exponent << 23 | (rest & 0x7fffffu));
}

void rng_bytes(struct rng *rng, void *out, size_t n)
{
    uint8_t *bytes = out;
    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)rng_next(rng);
}
