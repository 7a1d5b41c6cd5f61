/* Of what level is each chosen kernel? At every level each operation and format has a row of that very level, so that none falls
 * back unnoticed. */
#include "cpu.h"
#include <criterion/criterion.h>

/* Of its own, avxvnni has the products of quantized weights; for the rest it runs avx2's rows. */
static enum hearth_cpu_level expected(enum hearth_cpu_level level, enum hearth_op op, uint32_t format)
{
    const enum hearth_activation activation = hearth_format_info(format)->activation;
    const bool dot = op == HEARTH_OP_MATMUL && (activation == HEARTH_ACTIVATION_Q8_32 || activation == HEARTH_ACTIVATION_Q8_256);
    return level == HEARTH_CPU_AVXVNNI && !dot ? HEARTH_CPU_AVX2 : level;
}

Test(kernels_chosen, every_row_is_of_the_level_asked_for)
{
    for (int level = 0; level < HEARTH_CPU_LEVEL_COUNT; level++) {
        struct hearth_kernel_set set;
        hearth_kernels_choose(&set, (enum hearth_cpu_level)level, NULL);
        cr_expect_eq((int)set.level, level);
        for (int op = 0; op < HEARTH_OP_COUNT; op++) {
            for (uint32_t format = 0; format < HEARTH_FORMAT_COUNT; format++) {
                const struct hearth_kernel *k = set.chosen[op][format];
                if (k)
                    cr_expect_eq(k->level, expected((enum hearth_cpu_level)level, (enum hearth_op)op, format), "%s is chosen at %s",
                                 k->name, hearth_cpu_level_name((enum hearth_cpu_level)level));
            }
        }
    }
}

Test(kernels_chosen, nothing_that_is_defined_is_left_out)
{
    struct hearth_kernel_set reference;
    hearth_kernels_choose(&reference, HEARTH_CPU_REFERENCE, NULL);
    for (size_t i = 0; i < hearth_kernel_count; i++)
        cr_expect(hearth_kernel_reference(&hearth_kernels[i]), "%s has no reference", hearth_kernels[i].name);
    static const uint32_t weights[] = {HEARTH_F32,  HEARTH_F16,  HEARTH_BF16, HEARTH_Q4_0,   HEARTH_Q4_1,
                                       HEARTH_Q5_0, HEARTH_Q5_1, HEARTH_Q8_0, HEARTH_Q2_K,   HEARTH_Q3_K,
                                       HEARTH_Q4_K, HEARTH_Q5_K, HEARTH_Q6_K, HEARTH_IQ4_NL, HEARTH_IQ4_XS};
    for (size_t i = 0; i < sizeof weights / sizeof weights[0]; i++) {
        cr_expect(reference.chosen[HEARTH_OP_MATMUL][weights[i]], "no product for %s", hearth_format_info(weights[i])->name);
        cr_expect(reference.chosen[HEARTH_OP_DEQUANTIZE][weights[i]], "%s cannot be looked up",
                  hearth_format_info(weights[i])->name);
    }
    for (int op = 0; op < HEARTH_OP_COUNT; op++)
        cr_expect(hearth_op_has_format((enum hearth_op)op) || reference.chosen[op][0], "operation %d has no kernel", op);
    cr_expect(reference.chosen[HEARTH_OP_ATTENTION][HEARTH_F16] && reference.chosen[HEARTH_OP_ATTENTION][HEARTH_F32]);
}

/* The one before serves when a row is refused. */
Test(kernels_chosen, a_refused_row_gives_way)
{
    bool refused[512] = {false};
    struct hearth_kernel_set set;
    cr_assert(hearth_kernel_count <= 512);
    for (size_t i = 0; i < hearth_kernel_count; i++)
        refused[i] = hearth_kernels[i].level == HEARTH_CPU_AVX512;
    hearth_kernels_choose(&set, HEARTH_CPU_AVX512, refused);
    for (int op = 0; op < HEARTH_OP_COUNT; op++)
        for (uint32_t format = 0; format < HEARTH_FORMAT_COUNT; format++)
            cr_expect(!set.chosen[op][format] || set.chosen[op][format]->level <= HEARTH_CPU_AVX2);
}
