/* The limits of this machine; see probe.h.
 *
 * The loops are written as instructions, so that no compiler can shorten them and no instruction set flags are needed: the level
 * decides at run time which one is entered. */
#include "probe.h"
#include "share.h"
#include "template/prefetch.h"
#include <math.h>
#include <stdlib.h>
#include <time.h>

double hearth_seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;
    return (x > y) - (x < y);
}

double hearth_median(double *values, size_t n)
{
    qsort(values, n, sizeof *values, compare);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2.0;
}

double hearth_mean(const double *values, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += values[i];
    return sum / (double)n;
}

double hearth_deviation(const double *values, size_t n)
{
    if (n < 2)
        return 0;
    const double mean = hearth_mean(values, n);
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (values[i] - mean) * (values[i] - mean);
    return sqrt(sum / (double)(n - 1));
}

/* ---- Reading -------------------------------------------------------------------------------------------------------- */

const struct hearth_read_ahead hearth_probe_ways[HEARTH_PROBE_WAYS] = {{0, 0}, {256, 1}, {2048, 1}, {4096, 1}, {2048, 2}};

/* Ask for line `at` / 64: at %0 in one step; or in two, at %0 first and at %1. */
#define ONE_STEP(at) "prefetcht0 " #at "(%0)\n"
#define TWO_STEPS(at) "prefetcht1 " #at "(%0)\n prefetcht0 " #at "(%1)\n"
#define LINES_2(step) step(0) step(64)
#define LINES_4(step) LINES_2(step) step(128) step(192)
#define LINES_8(step) LINES_4(step) step(256) step(320) step(384) step(448)
#define READ_AHEAD(lines, p, ahead)                                                                                                \
    do {                                                                                                                           \
        const uint8_t *far = (p) + (ahead).bytes;                                                                                  \
        if ((ahead).steps == 1)                                                                                                    \
            __asm__ volatile(lines(ONE_STEP)::"r"(far));                                                                           \
        if ((ahead).steps == 2)                                                                                                    \
            __asm__ volatile(lines(TWO_STEPS)::"r"(far), "r"((p) + PREFETCH_NEAR_BYTES));                                          \
    } while (0)

/* Read n bytes (a multiple of 512) in `streams` equal parts at once; the sums go nowhere. */
static void read_avx512(const uint8_t *p, uint64_t step, uint64_t streams, struct hearth_read_ahead ahead)
{
    for (uint64_t at = 0; at + 512 <= step; at += 512) {
        for (uint64_t s = 0; s < streams; s++) {
            const uint8_t *q = p + s * step + at;
            READ_AHEAD(LINES_8, q, ahead);
            __asm__ volatile("vmovdqu64 0(%0), %%zmm16\n vmovdqu64 64(%0), %%zmm17\n vmovdqu64 128(%0), %%zmm18\n"
                             "vmovdqu64 192(%0), %%zmm19\n vmovdqu64 256(%0), %%zmm20\n vmovdqu64 320(%0), %%zmm21\n"
                             "vmovdqu64 384(%0), %%zmm22\n vmovdqu64 448(%0), %%zmm23\n" ::"r"(q)
                             : "memory");
        }
    }
}

static void read_avx2(const uint8_t *p, uint64_t step, uint64_t streams, struct hearth_read_ahead ahead)
{
    for (uint64_t at = 0; at + 256 <= step; at += 256) {
        for (uint64_t s = 0; s < streams; s++) {
            const uint8_t *q = p + s * step + at;
            READ_AHEAD(LINES_4, q, ahead);
            __asm__ volatile(
                "vmovdqu 0(%0), %%ymm0\n vmovdqu 32(%0), %%ymm1\n vmovdqu 64(%0), %%ymm2\n vmovdqu 96(%0), %%ymm3\n"
                "vmovdqu 128(%0), %%ymm4\n vmovdqu 160(%0), %%ymm5\n vmovdqu 192(%0), %%ymm6\n vmovdqu 224(%0), %%ymm7\n" ::"r"(q)
                : "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7");
        }
    }
    __asm__ volatile("vzeroupper" ::: "memory");
}

static void read_baseline(const uint8_t *p, uint64_t step, uint64_t streams, struct hearth_read_ahead ahead)
{
    for (uint64_t at = 0; at + 128 <= step; at += 128) {
        for (uint64_t s = 0; s < streams; s++) {
            const uint8_t *q = p + s * step + at;
            READ_AHEAD(LINES_2, q, ahead);
            __asm__ volatile(
                "movdqu 0(%0), %%xmm0\n movdqu 16(%0), %%xmm1\n movdqu 32(%0), %%xmm2\n movdqu 48(%0), %%xmm3\n"
                "movdqu 64(%0), %%xmm4\n movdqu 80(%0), %%xmm5\n movdqu 96(%0), %%xmm6\n movdqu 112(%0), %%xmm7\n" ::"r"(q)
                : "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7");
        }
    }
}

struct read_job {
    const uint8_t *memory;
    uint64_t bytes;
    struct hearth_read_variant variant;
    enum hearth_cpu_level level;
};

static void read_share(void *context, uint32_t worker, uint32_t workers)
{
    const struct read_job *job = context;
    const uint32_t threads = job->variant.threads < workers ? job->variant.threads : workers;
    const uint64_t share = job->bytes / threads & ~(uint64_t)4095;
    const uint8_t *mine = job->memory + worker * share;
    const uint64_t step = share / job->variant.streams & ~(uint64_t)511;
    if (worker >= threads)
        return;
    if (job->level == HEARTH_CPU_AVX512)
        read_avx512(mine, step, job->variant.streams, job->variant.ahead);
    else if (job->level >= HEARTH_CPU_AVX2)
        read_avx2(mine, step, job->variant.streams, job->variant.ahead);
    else
        read_baseline(mine, step, job->variant.streams, job->variant.ahead);
}

double hearth_probe_read_variant(struct hearth_pool *pool, const uint8_t *memory, uint64_t bytes, enum hearth_cpu_level level,
                                 struct hearth_read_variant variant)
{
    const uint64_t most = (uint64_t)1 << 30; /* enough to leave every cache behind */
    struct read_job job = {.memory = memory, .bytes = bytes < most ? bytes : most, .variant = variant, .level = level};
    const double begin = hearth_seconds();
    hearth_pool_run(pool, read_share, &job);
    return (double)job.bytes / (hearth_seconds() - begin);
}

double hearth_probe_read(struct hearth_pool *pool, const uint8_t *memory, uint64_t bytes, enum hearth_cpu_level level)
{
    struct hearth_read_variant variant = {.threads = hearth_pool_workers(pool)};
    double best = 0;
    for (variant.streams = 1; variant.streams <= 4; variant.streams *= 2) {
        for (size_t i = 0; i < HEARTH_PROBE_WAYS; i++) {
            variant.ahead = hearth_probe_ways[i];
            const double rate = hearth_probe_read_variant(pool, memory, bytes, level, variant);
            best = rate > best ? rate : best;
        }
    }
    return best;
}

/* ---- Products ------------------------------------------------------------------------------------------------------- */

#define ROUNDS 400000u
#define CHAINS 12u /* two a cycle with a latency of four or five */

/* An instruction on twelve accumulators. */
#define TWELVE(insn, reg, operands)                                                                                                \
    insn " " operands ", %%" reg "0\n" insn " " operands ", %%" reg "1\n" insn " " operands ", %%" reg "2\n" insn " " operands     \
         ", %%" reg "3\n" insn " " operands ", %%" reg "4\n" insn " " operands ", %%" reg "5\n" insn " " operands ", %%" reg       \
         "6\n" insn " " operands ", %%" reg "7\n" insn " " operands ", %%" reg "8\n" insn " " operands ", %%" reg "9\n" insn       \
         " " operands ", %%" reg "10\n" insn " " operands ", %%" reg "11\n"
#define CLOBBER "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11"
#define ALL_ROUNDS(code)                                                                                                           \
    for (uint32_t i = 0; i < ROUNDS; i++)                                                                                          \
    __asm__ volatile(code::: CLOBBER)

static void dot_rounds(void *context, uint32_t worker, uint32_t workers)
{
    (void)worker;
    (void)workers;
    const enum hearth_cpu_level level = *(const enum hearth_cpu_level *)context;
    if (level == HEARTH_CPU_AVX512)
        ALL_ROUNDS(TWELVE("vpdpbusd", "zmm", "%%zmm12, %%zmm13"));
    else if (level == HEARTH_CPU_AVXVNNI)
        ALL_ROUNDS(TWELVE("%{vex%} vpdpbusd", "ymm", "%%ymm12, %%ymm13"));
    else if (level == HEARTH_CPU_AVX2)
        ALL_ROUNDS(TWELVE("vpmaddubsw", "ymm", "%%ymm12, %%ymm13"));
    else
        ALL_ROUNDS(TWELVE("pmaddubsw", "xmm", "%%xmm12"));
    if (level != HEARTH_CPU_REFERENCE)
        __asm__ volatile("vzeroupper" ::: "memory");
}

/* The accumulators begin as zeros: what is left in registers may be numbers on which some CPUs are slow. */
static void fma_rounds(void *context, uint32_t worker, uint32_t workers)
{
    (void)worker;
    (void)workers;
    const enum hearth_cpu_level level = *(const enum hearth_cpu_level *)context;
    if (level == HEARTH_CPU_REFERENCE) {
        __asm__ volatile("xorps %%xmm0, %%xmm0\n xorps %%xmm1, %%xmm1\n xorps %%xmm2, %%xmm2\n xorps %%xmm3, %%xmm3\n"
                         "xorps %%xmm4, %%xmm4\n xorps %%xmm5, %%xmm5\n xorps %%xmm6, %%xmm6\n xorps %%xmm7, %%xmm7\n"
                         "xorps %%xmm8, %%xmm8\n xorps %%xmm9, %%xmm9\n xorps %%xmm10, %%xmm10\n xorps %%xmm11, %%xmm11\n"
                         "xorps %%xmm12, %%xmm12\n xorps %%xmm13, %%xmm13\n" ::
                             : CLOBBER, "xmm12", "xmm13");
        for (uint32_t i = 0; i < ROUNDS; i++)
            __asm__ volatile("mulps %%xmm12, %%xmm0\n addps %%xmm13, %%xmm6\n mulps %%xmm12, %%xmm1\n addps %%xmm13, %%xmm7\n"
                             "mulps %%xmm12, %%xmm2\n addps %%xmm13, %%xmm8\n mulps %%xmm12, %%xmm3\n addps %%xmm13, %%xmm9\n"
                             "mulps %%xmm12, %%xmm4\n addps %%xmm13, %%xmm10\n mulps %%xmm12, %%xmm5\n addps %%xmm13, %%xmm11\n" ::
                                 : CLOBBER);
        return;
    }
    __asm__ volatile("vzeroall" ::: CLOBBER, "xmm12", "xmm13", "xmm14", "xmm15");
    if (level == HEARTH_CPU_AVX512)
        ALL_ROUNDS(TWELVE("vfmadd231ps", "zmm", "%%zmm12, %%zmm13"));
    else
        ALL_ROUNDS(TWELVE("vfmadd231ps", "ymm", "%%ymm12, %%ymm13"));
    __asm__ volatile("vzeroupper" ::: "memory");
}

/* Rounds of CHAINS instructions with `lanes` products each, on all workers; the best of five. */
static double products(struct hearth_pool *pool, hearth_pool_fn *rounds, enum hearth_cpu_level level, double lanes)
{
    double best = 0;
    for (int i = 0; i < 5; i++) {
        const double begin = hearth_seconds();
        hearth_pool_run(pool, rounds, &level);
        const double rate = (double)ROUNDS * CHAINS * lanes * hearth_pool_workers(pool) / (hearth_seconds() - begin);
        best = rate > best ? rate : best;
    }
    return best;
}

double hearth_probe_dot(struct hearth_pool *pool, enum hearth_cpu_level level)
{
    static const double lanes[HEARTH_CPU_LEVEL_COUNT] = {16, 32, 32, 64};
    return products(pool, dot_rounds, level, lanes[level]);
}

double hearth_probe_fma(struct hearth_pool *pool, enum hearth_cpu_level level)
{
    static const double lanes[HEARTH_CPU_LEVEL_COUNT] = {2, 8, 8, 16}; /* below AVX2 a product is two instructions */
    return products(pool, fma_rounds, level, lanes[level]);
}
