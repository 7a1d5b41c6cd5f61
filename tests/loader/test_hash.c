/* XXH3 of 128 bits, seed 0, as other programs have it, whatever the CPU can do: files keep such numbers. */
#include "hash.h"
#include <criterion/criterion.h>

#define BYTES 70000u

Test(hash, is_that_of_xxh3)
{
    static uint8_t bytes[BYTES];
    static const struct {
        size_t n;
        struct hearth_hash hash; /* low, high */
    } rows[] = {{0u, {0x6001c324468d497f, 0x99aa06d3014798d8}},
                {512u, {0x196d9c84c8a3be7f, 0x14b550009f71b4d0}},
                {2304u, {0x5d45215460756b6a, 0x5092a1a2e40a51d3}},
                {70000u, {0x90827e647a33e19e, 0x71a2197ea8b1a449}}};
    for (size_t i = 0; i < BYTES; i++)
        bytes[i] = (uint8_t)(i * i * 2654435761u >> 11);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_expect(hearth_hash_equal(hearth_hash128(bytes, rows[i].n), rows[i].hash), "%zu bytes", rows[i].n);
        if (__builtin_cpu_supports("avx2"))
            cr_expect(hearth_hash_equal(hearth_hash128_avx2(bytes, rows[i].n), rows[i].hash), "%zu bytes by AVX2", rows[i].n);
    }
}
