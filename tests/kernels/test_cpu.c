/* CPU levels: their names, and detection against the compiler's own. */
#include "cpu.h"
#include <criterion/criterion.h>
#include <string.h>

Test(test_cpu, every_level_has_a_name_that_reads_back)
{
    for (int i = 0; i < HEARTH_CPU_LEVEL_COUNT; i++) {
        enum hearth_cpu_level level = HEARTH_CPU_LEVEL_COUNT;
        cr_expect(hearth_cpu_level_parse(&level, hearth_cpu_level_name((enum hearth_cpu_level)i)));
        cr_expect_eq((int)level, i);
    }
    enum hearth_cpu_level level;
    cr_expect_not(hearth_cpu_level_parse(&level, "AVX2"));
    cr_expect_not(hearth_cpu_level_parse(&level, ""));
}

/* As far as both compilers know the names. */
Test(test_cpu, detection_agrees_with_the_compiler)
{
    cr_expect(hearth_cpu_runs(HEARTH_CPU_REFERENCE));
    cr_expect(hearth_cpu_runs(hearth_cpu_detect()));
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
    cr_expect(avx2 || !hearth_cpu_runs(HEARTH_CPU_AVX2));
    cr_expect(__builtin_cpu_supports("avx512vnni") || !hearth_cpu_runs(HEARTH_CPU_AVX512));
    for (int above = (int)hearth_cpu_detect() + 1; above < HEARTH_CPU_LEVEL_COUNT; above++)
        cr_expect_not(hearth_cpu_runs((enum hearth_cpu_level)above));
}

Test(test_cpu, the_brand_is_trimmed)
{
    char brand[49];
    hearth_cpu_brand(brand);
    cr_expect(brand[0] != ' ' && strlen(brand) <= 48);
}
