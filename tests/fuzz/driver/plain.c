/* The target without libFuzzer: each beginning as it is, then some thousand of them changed a few times, the same ones every time.
 * HEARTH_FUZZ_CASES asks for more, HEARTH_TEST_SEED for others; file names as arguments run those inputs instead: what `make fuzz`
 * found. Worth most under sanitizers. */
#include "fuzz.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CASES 4000u
#define SEEDS_MAX 256u

static struct {
    uint8_t *bytes;
    size_t n;
} seeds[SEEDS_MAX];
static uint32_t n_seeds;
static struct rng rng;

void fuzz_seed(const void *bytes, size_t n)
{
    uint8_t *copy = malloc(n + 1);
    fuzz_need(copy && n_seeds < SEEDS_MAX && n <= FUZZ_INPUT_MAX, "a seed of %zu bytes", n);
    if (n > 0)
        memcpy(copy, bytes, n);
    seeds[n_seeds].bytes = copy;
    seeds[n_seeds++].n = n;
}

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t capacity)
{
    const size_t at = rng_below(&rng, (uint32_t)size + 1);
    const uint64_t extreme = fuzz_extreme(&rng);
    const uint32_t other = rng_below(&rng, n_seeds);
    const size_t from = rng_below(&rng, (uint32_t)seeds[other].n + 1);
    const size_t left = seeds[other].n - from;
    const size_t n = rng_below(&rng, left < 256 ? (uint32_t)left + 1 : 256);
    const size_t width = (size_t)1 << rng_below(&rng, 4);
    uint8_t byte = (uint8_t)rng_below(&rng, 256);
    switch (rng_below(&rng, 6)) {
    case 0:
        return fuzz_splice(data, size, capacity, at, 1, &byte, 1);
    case 1:
        return fuzz_splice(data, size, capacity, at, width, &extreme, width);
    case 2:
        return fuzz_splice(data, size, capacity, at, rng_below(&rng, 64), NULL, 0);
    case 3: /* of another beginning, in place or between */
        return fuzz_splice(data, size, capacity, at, rng_below(&rng, 2) ? n : 0, seeds[other].bytes + from, n);
    case 4:
        return rng_below(&rng, 4) ? size : at; /* the end cut off */
    default:
        byte = (uint8_t)((at < size ? data[at] : 0u) ^ 1u << rng_below(&rng, 8));
        return fuzz_splice(data, size, capacity, at, 1, &byte, 1);
    }
}

static void run(const uint8_t *bytes, size_t n)
{
    uint8_t *exact = malloc(n ? n : 1); /* so that a byte too many is a byte outside */
    fuzz_need(exact, "no memory");
    memcpy(exact, bytes, n);
    (void)LLVMFuzzerTestOneInput(exact, n);
    free(exact);
}

static void run_file(const char *path)
{
    static uint8_t bytes[FUZZ_INPUT_MAX];
    FILE *file = fopen(path, "rb");
    fuzz_need(file, "%s: cannot be read", path);
    const size_t n = fread(bytes, 1, sizeof bytes, file);
    (void)fclose(file);
    run(bytes, n);
}

static void run_changed(void)
{
    static uint8_t bytes[FUZZ_INPUT_MAX];
    const uint32_t seed = rng_below(&rng, n_seeds);
    size_t n = seeds[seed].n;
    memcpy(bytes, seeds[seed].bytes, n);
    for (uint32_t i = 1 + rng_below(&rng, 5); i > 0; i--)
        n = LLVMFuzzerCustomMutator(bytes, n, sizeof bytes, rng_next(&rng));
    run(bytes, n);
}

int main(int argc, char **argv)
{
    const char *asked = getenv("HEARTH_FUZZ_CASES");
    const unsigned long cases = asked ? strtoul(asked, NULL, 10) : CASES;
    unsigned long accepted, refused;
    rng = rng_start();
    fuzz_start();
    for (int i = 1; i < argc; i++)
        run_file(argv[i]);
    if (argc == 1) {
        for (uint32_t i = 0; i < n_seeds; i++)
            run(seeds[i].bytes, seeds[i].n);
        for (unsigned long i = 0; i < cases; i++)
            run_changed();
    }
    for (uint32_t i = 0; i < n_seeds; i++)
        free(seeds[i].bytes);
    fuzz_tally(&accepted, &refused);
    (void)printf("%u beginnings; %lu answers were a result, %lu an error\n", n_seeds, accepted, refused);
    return argc > 1 || (n_seeds > 0 && accepted >= n_seeds / 2) ? 0 : 1;
}
