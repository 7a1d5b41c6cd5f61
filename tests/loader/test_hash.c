/* XXH3 of 128 bits, seed 0, as other programs have it, whatever the CPU can do: files keep such numbers. */
#include "hash.h"
#include <criterion/criterion.h>
#include <immintrin.h>

#define BYTES 70000u

/* Whether the upper halves of the vector registers are zero: where they are not, code for SSE is slow on Intel's cores. */
__attribute__((target("avx2"))) static bool are_uppers_zero(void)
{
    __m128i upper[16], any = _mm_setzero_si128();
#define UPPER(n) __asm__ volatile("vextracti128 $1, %%ymm" #n ", %0" : "=m"(upper[n]))
    UPPER(0);
    UPPER(1);
    UPPER(2);
    UPPER(3);
    UPPER(4);
    UPPER(5);
    UPPER(6);
    UPPER(7);
    UPPER(8);
    UPPER(9);
    UPPER(10);
    UPPER(11);
    UPPER(12);
    UPPER(13);
    UPPER(14);
    UPPER(15);
    for (int i = 0; i < 16; i++)
        any = _mm_or_si128(any, upper[i]);
    return _mm_testz_si128(any, any) == 1;
}

Test(hash, leaves_the_upper_halves_of_registers_zero)
{
    static uint8_t bytes[BYTES];
    if (!__builtin_cpu_supports("avx2"))
        cr_skip_test("no AVX2");
    for (size_t i = 0; i < BYTES; i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 11);
    const struct hearth_hash hash = hearth_hash128(bytes, BYTES);
    const bool zero = are_uppers_zero();
    cr_expect(zero, "%#lx", (unsigned long)hash.low);
}

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
