/* CPU detection. An instruction set counts only when CPUID has it and XGETBV says that the operating system saves its registers.
 * This file is built without AVX flags: it runs before anybody knows what the CPU can do. */
#include "cpu.h"
#include <cpuid.h>
#include <string.h>

/* Bits of leaf 1 (ecx), leaf 7.0 (ebx, ecx), leaf 7.1 (eax) and of the register XCR0. */
#define LEAF1_ECX_FMA (1u << 12)
#define LEAF1_ECX_OSXSAVE (1u << 27)
#define LEAF1_ECX_AVX (1u << 28)
#define LEAF1_ECX_F16C (1u << 29)
#define LEAF7_EBX_AVX2 (1u << 5)
#define LEAF7_EBX_BMI2 (1u << 8)
#define LEAF7_EBX_AVX512F (1u << 16)
#define LEAF7_EBX_AVX512DQ (1u << 17)
#define LEAF7_EBX_AVX512BW (1u << 30)
#define LEAF7_EBX_AVX512VL (1u << 31)
#define LEAF7_ECX_AVX512VNNI (1u << 11)
#define LEAF7_1_EAX_AVXVNNI (1u << 4)
#define XCR0_XMM_YMM 0x06u
#define XCR0_OPMASK_ZMM 0xe0u /* mask registers, upper halves of zmm0-15, zmm16-31 */

struct features {
    unsigned leaf1_ecx, leaf7_ebx, leaf7_ecx, leaf7_1_eax, xcr0;
};

/* Only after OSXSAVE has been seen. The bytes are those of xgetbv, whose intrinsic would need a compiler flag. */
static unsigned read_xcr0(void)
{
    unsigned low, high;
    __asm__ volatile(".byte 0x0f, 0x01, 0xd0" : "=a"(low), "=d"(high) : "c"(0));
    (void)high;
    return low;
}

/* A leaf that the CPU does not have reads as zeros. */
static struct features read_features(void)
{
    struct features f = {0};
    unsigned a, b, c, d;
    if (__get_cpuid(1, &a, &b, &c, &d))
        f.leaf1_ecx = c;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        f.leaf7_ebx = b;
        f.leaf7_ecx = c;
        if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d))
            f.leaf7_1_eax = a;
    }
    if (f.leaf1_ecx & LEAF1_ECX_OSXSAVE)
        f.xcr0 = read_xcr0();
    return f;
}

static bool has(unsigned bits, unsigned needed)
{
    return (bits & needed) == needed;
}

static bool has_avx2(const struct features *f)
{
    return has(f->xcr0, XCR0_XMM_YMM) && has(f->leaf1_ecx, LEAF1_ECX_AVX | LEAF1_ECX_FMA | LEAF1_ECX_F16C) &&
           has(f->leaf7_ebx, LEAF7_EBX_AVX2 | LEAF7_EBX_BMI2);
}

static bool has_avxvnni(const struct features *f)
{
    return has_avx2(f) && has(f->leaf7_1_eax, LEAF7_1_EAX_AVXVNNI);
}

static bool has_avx512(const struct features *f)
{
    return has_avx2(f) && has(f->xcr0, XCR0_OPMASK_ZMM) &&
           has(f->leaf7_ebx, LEAF7_EBX_AVX512F | LEAF7_EBX_AVX512DQ | LEAF7_EBX_AVX512BW | LEAF7_EBX_AVX512VL) &&
           has(f->leaf7_ecx, LEAF7_ECX_AVX512VNNI);
}

bool hearth_cpu_runs(enum hearth_cpu_level level)
{
    const struct features f = read_features();
    switch (level) {
    case HEARTH_CPU_REFERENCE:
        return true;
    case HEARTH_CPU_AVX2:
        return has_avx2(&f);
    case HEARTH_CPU_AVXVNNI:
        return has_avxvnni(&f);
    case HEARTH_CPU_AVX512:
        return has_avx512(&f);
    default:
        return false;
    }
}

enum hearth_cpu_level hearth_cpu_detect(void)
{
    for (int level = HEARTH_CPU_LEVEL_COUNT - 1; level > HEARTH_CPU_REFERENCE; level--)
        if (hearth_cpu_runs((enum hearth_cpu_level)level))
            return (enum hearth_cpu_level)level;
    return HEARTH_CPU_REFERENCE;
}

static const char *const level_names[HEARTH_CPU_LEVEL_COUNT] = {
    [HEARTH_CPU_REFERENCE] = "reference",
    [HEARTH_CPU_AVX2] = "avx2",
    [HEARTH_CPU_AVXVNNI] = "avxvnni",
    [HEARTH_CPU_AVX512] = "avx512",
};

const char *hearth_cpu_level_name(enum hearth_cpu_level level)
{
    return (unsigned)level < HEARTH_CPU_LEVEL_COUNT ? level_names[level] : "unknown";
}

bool hearth_cpu_level_parse(enum hearth_cpu_level *out, const char *name)
{
    for (unsigned level = 0; level < HEARTH_CPU_LEVEL_COUNT; level++)
        if (strcmp(name, level_names[level]) == 0) {
            *out = (enum hearth_cpu_level)level;
            return true;
        }
    return false;
}

/* The three leaves give 48 characters, padded with spaces on either side or with NULs. */
void hearth_cpu_brand(char out[49])
{
    unsigned words[12] = {0};
    for (unsigned i = 0; i < 3; i++)
        if (!__get_cpuid(0x80000002u + i, &words[4 * i], &words[4 * i + 1], &words[4 * i + 2], &words[4 * i + 3]))
            break;
    char text[49] = {0};
    memcpy(text, words, sizeof words);
    const char *start = text + strspn(text, " ");
    size_t length = strlen(start);
    while (length > 0 && start[length - 1] == ' ')
        length--;
    memset(out, 0, 49);
    memcpy(out, start, length);
}
