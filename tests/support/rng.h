/* Random numbers for tests: small, fast, and repeatable. */
#ifndef HEARTH_TESTS_RNG_H
#define HEARTH_TESTS_RNG_H

#include <stddef.h>
#include <stdint.h>

struct rng {
    uint64_t state;
};

/* A fixed seed, or the number in HEARTH_TEST_SEED, which is printed. */
struct rng rng_start(void);
struct rng rng_from(uint64_t seed);

uint32_t rng_next(struct rng *rng);
/* 0 … n - 1; n >= 1. The bias is below n / 2^32. */
uint32_t rng_below(struct rng *rng, uint32_t n);
/* Evenly in [low, high). */
float rng_uniform(struct rng *rng, float low, float high);
/* Any sign and mantissa, magnitudes from 2^low to 2^(high+1), evenly in the exponent; -126 <= low <= high <= 127. */
float rng_magnitude(struct rng *rng, int low, int high);
void rng_bytes(struct rng *rng, void *out, size_t n);

#endif
