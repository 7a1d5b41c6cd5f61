/* Micro-benchmarks; see bench_probe.h. The loops are written as instructions, as in probe.c and for the same reasons; the level
 * decides which are run. Data are zeros, and stay zeros.
 *
 * Cycles are counted by a chain of additions, each of which takes one: its rate is the clock, measured right after each loop, while
 * the core still runs as the loop left it. */
#include "bench_probe.h"
#include "common/status.h"
#include "engine.h"
#include "probe.h"

#define INSTRUCTIONS 10000000.0 /* in one timing of a loop; milliseconds */
#define TIMINGS 5
#define CHAIN_ROUNDS 60000u
#define CHAIN_LENGTH 16u
#define BARRIERS 20000u
#define WAKES 2000u

#define REFERENCE (1u << HEARTH_CPU_REFERENCE)
#define AVX2 (1u << HEARTH_CPU_AVX2)
#define AVXVNNI (1u << HEARTH_CPU_AVXVNNI)
#define AVX512 (1u << HEARTH_CPU_AVX512)

/* ---- Loops ---------------------------------------------------------------------------------------------------------- */

#define LOOP(name, code)                                                                                                           \
    static void name(uint64_t rounds, const void *memory)                                                                          \
    {                                                                                                                              \
        for (; rounds > 0; rounds--)                                                                                               \
            __asm__ volatile(code ::"r"(memory)                                                                                    \
                             : "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",  \
                               "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");                                                       \
    }

/* Twelve accumulators: two a cycle with a latency of four or five. */
#define TWELVE(M) M("0") M("1") M("2") M("3") M("4") M("5") M("6") M("7") M("8") M("9") M("10") M("11")
/* Six sums with an accumulator each. */
#define SIX(M) M("0") M("1") M("2") M("3") M("4") M("5")
#define SIX_PAIRS(M) M("0", "6") M("1", "7") M("2", "8") M("3", "9") M("4", "10") M("5", "11")
#define SEVEN_TIMES(code) code code code code code code code

#define X_DOT(r) "pmaddubsw %%xmm12, %%xmm" r "\n"
#define X_LOAD(r) "movdqu 16(%0), %%xmm" r "\n"
#define X_MUL_ADD(r) "movaps %%xmm12, %%xmm14\n mulps %%xmm13, %%xmm14\n addps %%xmm14, %%xmm" r "\n"
LOOP(x_dot, TWELVE(X_DOT))
LOOP(x_load, TWELVE(X_LOAD))
LOOP(x_mul_add, TWELVE(X_MUL_ADD))

#define Y_DOT(r) "vpmaddubsw %%ymm12, %%ymm13, %%ymm" r "\n"
#define Y_DOT_LOAD(r) "vpmaddubsw 32(%0), %%ymm13, %%ymm" r "\n"
#define Y_DOT_BROADCAST(r) "vpbroadcastd 4(%0), %%ymm14\n vpmaddubsw %%ymm14, %%ymm13, %%ymm" r "\n"
#define Y_DOT_ADD(r) "vpmaddubsw %%ymm12, %%ymm13, %%ymm14\n vpaddw %%ymm14, %%ymm" r ", %%ymm" r "\n"
#define Y_DOT_BROADCAST_ADD(r)                                                                                                     \
    "vpbroadcastd 4(%0), %%ymm14\n vpmaddubsw %%ymm14, %%ymm12, %%ymm14\n vpaddw %%ymm14, %%ymm" r ", %%ymm" r "\n"
#define Y_FIRST_DOT(r) "vpbroadcastd 4(%0), %%ymm14\n vpmaddubsw %%ymm14, %%ymm12, %%ymm" r "\n"
#define Y_FOLD(s, a) "vpmaddwd %%ymm13, %%ymm" s ", %%ymm" s "\n vpaddd %%ymm" s ", %%ymm" a ", %%ymm" a "\n"
#define Y_FLOAT_FOLD(s, a)                                                                                                         \
    "vpmaddwd %%ymm13, %%ymm" s ", %%ymm" s "\n vcvtdq2ps %%ymm" s ", %%ymm" s "\n vfmadd231ps %%ymm15, %%ymm" s ", %%ymm" a "\n"
#define Y_MADDWD(r) "vpmaddwd %%ymm12, %%ymm13, %%ymm" r "\n"
#define Y_LOAD(r) "vmovdqu 32(%0), %%ymm" r "\n"
#define Y_BROADCAST(r) "vpbroadcastd 4(%0), %%ymm" r "\n"
#define Y_FMA(r) "vfmadd231ps %%ymm12, %%ymm13, %%ymm" r "\n"
#define Y_FMA_LOAD(r) "vfmadd231ps 32(%0), %%ymm13, %%ymm" r "\n"
#define Y_FMA_BROADCAST(r) "vbroadcastss 4(%0), %%ymm14\n vfmadd231ps %%ymm14, %%ymm13, %%ymm" r "\n"
#define Y_FMA_HALF(r) "vcvtph2ps 32(%0), %%ymm14\n vfmadd231ps %%ymm14, %%ymm13, %%ymm" r "\n"
#define Y_CONVERT_FMA(r) "vcvtdq2ps %%ymm12, %%ymm14\n vfmadd231ps %%ymm14, %%ymm13, %%ymm" r "\n"
LOOP(y_dot, TWELVE(Y_DOT))
LOOP(y_dot_load, TWELVE(Y_DOT_LOAD))
LOOP(y_dot_broadcast, TWELVE(Y_DOT_BROADCAST))
LOOP(y_dot_add, TWELVE(Y_DOT_ADD))
LOOP(y_dot_broadcast_add, TWELVE(Y_DOT_BROADCAST_ADD))
LOOP(y_tile, SIX(Y_FIRST_DOT) SEVEN_TIMES(SIX(Y_DOT_BROADCAST_ADD)) SIX_PAIRS(Y_FOLD))
LOOP(y_float_tile, SIX(Y_FIRST_DOT) SEVEN_TIMES(SIX(Y_DOT_BROADCAST_ADD)) SIX_PAIRS(Y_FLOAT_FOLD))
LOOP(y_maddwd, TWELVE(Y_MADDWD))
LOOP(y_load, TWELVE(Y_LOAD))
LOOP(y_broadcast, TWELVE(Y_BROADCAST))
LOOP(y_fma, TWELVE(Y_FMA))
LOOP(y_fma_load, TWELVE(Y_FMA_LOAD))
LOOP(y_fma_broadcast, TWELVE(Y_FMA_BROADCAST))
LOOP(y_fma_half, TWELVE(Y_FMA_HALF))
LOOP(y_convert_fma, TWELVE(Y_CONVERT_FMA))

#define V_DOT(r) "%{vex%} vpdpbusd %%ymm12, %%ymm13, %%ymm" r "\n"
#define V_DOT_LOAD(r) "%{vex%} vpdpbusd 32(%0), %%ymm13, %%ymm" r "\n"
#define V_DOT_BROADCAST(r) "vpbroadcastd 4(%0), %%ymm14\n %{vex%} vpdpbusd %%ymm14, %%ymm13, %%ymm" r "\n"
#define V_START(r) "vpbroadcastd 8(%0), %%ymm" r "\n"
#define V_FOLD(s, a) "%{vex%} vpdpwssd %%ymm12, %%ymm" s ", %%ymm" a "\n"
#define V_MULTIPLY_FOLD(s, a) "vpmulld %%ymm12, %%ymm" s ", %%ymm" s "\n vpaddd %%ymm" s ", %%ymm" a ", %%ymm" a "\n"
#define V_FLOAT_FOLD(s, a) "vcvtdq2ps %%ymm" s ", %%ymm" s "\n vfmadd231ps %%ymm12, %%ymm" s ", %%ymm" a "\n"
LOOP(v_dot, TWELVE(V_DOT))
LOOP(v_dot_load, TWELVE(V_DOT_LOAD))
LOOP(v_dot_broadcast, TWELVE(V_DOT_BROADCAST))
LOOP(v_tile, SIX(V_START) SIX(V_DOT_BROADCAST) SEVEN_TIMES(SIX(V_DOT_BROADCAST)) SIX_PAIRS(V_FOLD))
LOOP(v_multiply_tile, SIX(V_START) SIX(V_DOT_BROADCAST) SEVEN_TIMES(SIX(V_DOT_BROADCAST)) SIX_PAIRS(V_MULTIPLY_FOLD))
LOOP(v_float_tile, SIX(V_START) SIX(V_DOT_BROADCAST) SEVEN_TIMES(SIX(V_DOT_BROADCAST)) SIX_PAIRS(V_FLOAT_FOLD))

#define Z_DOT(r) "vpdpbusd %%zmm12, %%zmm13, %%zmm" r "\n"
#define Z_DOT_LOAD(r) "vpdpbusd 64(%0), %%zmm13, %%zmm" r "\n"
#define Z_DOT_EMBEDDED(r) "vpdpbusd 4(%0)%{1to16%}, %%zmm13, %%zmm" r "\n"
#define Z_DOT_TWICE(r, s)                                                                                                          \
    "vpbroadcastd 4(%0), %%zmm14\n vpdpbusd %%zmm14, %%zmm12, %%zmm" r "\n vpdpbusd %%zmm14, %%zmm13, %%zmm" s "\n"
#define Z_START(r) "vpbroadcastd 8(%0), %%zmm" r "\n"
#define Z_FOLD(s, a) "vpdpwssd %%zmm12, %%zmm" s ", %%zmm" a "\n"
#define Z_MULTIPLY_FOLD(s, a) "vpmulld %%zmm12, %%zmm" s ", %%zmm" s "\n vpaddd %%zmm" s ", %%zmm" a ", %%zmm" a "\n"
#define Z_FLOAT_FOLD(s, a) "vcvtdq2ps %%zmm" s ", %%zmm" s "\n vfmadd231ps %%zmm12, %%zmm" s ", %%zmm" a "\n"
#define Z_MADDWD(r) "vpdpwssd %%zmm12, %%zmm13, %%zmm" r "\n"
#define Z_LOAD(r) "vmovdqu64 64(%0), %%zmm" r "\n"
#define Z_BROADCAST(r) "vpbroadcastd 4(%0), %%zmm" r "\n"
#define Z_FMA(r) "vfmadd231ps %%zmm12, %%zmm13, %%zmm" r "\n"
#define Z_FMA_LOAD(r) "vfmadd231ps 64(%0), %%zmm13, %%zmm" r "\n"
#define Z_FMA_EMBEDDED(r) "vfmadd231ps 4(%0)%{1to16%}, %%zmm13, %%zmm" r "\n"
#define Z_FMA_HALF(r) "vcvtph2ps 64(%0), %%zmm14\n vfmadd231ps %%zmm14, %%zmm13, %%zmm" r "\n"
#define Z_CONVERT_FMA(r) "vcvtdq2ps %%zmm12, %%zmm14\n vfmadd231ps %%zmm14, %%zmm13, %%zmm" r "\n"
LOOP(z_dot, TWELVE(Z_DOT))
LOOP(z_dot_load, TWELVE(Z_DOT_LOAD))
LOOP(z_dot_embedded, TWELVE(Z_DOT_EMBEDDED))
LOOP(z_dot_twice, SIX_PAIRS(Z_DOT_TWICE))
LOOP(z_tile, SIX(Z_START) SIX(Z_DOT_EMBEDDED) SEVEN_TIMES(SIX(Z_DOT_EMBEDDED)) SIX_PAIRS(Z_FOLD))
LOOP(z_multiply_tile, SIX(Z_START) SIX(Z_DOT_EMBEDDED) SEVEN_TIMES(SIX(Z_DOT_EMBEDDED)) SIX_PAIRS(Z_MULTIPLY_FOLD))
LOOP(z_float_tile, SIX(Z_START) SIX(Z_DOT_EMBEDDED) SEVEN_TIMES(SIX(Z_DOT_EMBEDDED)) SIX_PAIRS(Z_FLOAT_FOLD))
LOOP(z_maddwd, TWELVE(Z_MADDWD))
LOOP(z_load, TWELVE(Z_LOAD))
LOOP(z_broadcast, TWELVE(Z_BROADCAST))
LOOP(z_fma, TWELVE(Z_FMA))
LOOP(z_fma_load, TWELVE(Z_FMA_LOAD))
LOOP(z_fma_embedded, TWELVE(Z_FMA_EMBEDDED))
LOOP(z_fma_half, TWELVE(Z_FMA_HALF))
LOOP(z_convert_fma, TWELVE(Z_CONVERT_FMA))

/* instructions and work (products or bytes) of one round. A tile is 8 dots for each of 6 tokens, then the fold. */
static const struct loop {
    const char *name, *unit;
    unsigned levels;
    void (*run)(uint64_t rounds, const void *memory);
    double instructions, work;
} loops[] = {
    {"pmaddubsw", "MAC", REFERENCE, x_dot, 12, 12 * 16},
    {"load 16 bytes", "B", REFERENCE, x_load, 12, 12 * 16},
    {"mulps, addps", "MAC", REFERENCE, x_mul_add, 36, 12 * 4},

    {"vpdpbusd ymm", "MAC", AVXVNNI, v_dot, 12, 12 * 32},
    {"vpdpbusd ymm, operand loaded", "MAC", AVXVNNI, v_dot_load, 12, 12 * 32},
    {"vpbroadcastd, vpdpbusd ymm", "MAC", AVXVNNI, v_dot_broadcast, 24, 12 * 32},
    {"tile of 8 dots, fold vpdpwssd", "MAC", AVXVNNI, v_tile, 108, 48 * 32},
    {"tile of 8 dots, fold vpmulld vpaddd", "MAC", AVXVNNI, v_multiply_tile, 114, 48 * 32},
    {"tile of 8 dots, fold vcvtdq2ps fma", "MAC", AVXVNNI, v_float_tile, 114, 48 * 32},

    {"vpmaddubsw ymm", "MAC", AVX2 | AVXVNNI, y_dot, 12, 12 * 32},
    {"vpmaddubsw ymm, operand loaded", "MAC", AVX2 | AVXVNNI, y_dot_load, 12, 12 * 32},
    {"vpbroadcastd, vpmaddubsw", "MAC", AVX2 | AVXVNNI, y_dot_broadcast, 24, 12 * 32},
    {"vpmaddubsw, vpaddw", "MAC", AVX2 | AVXVNNI, y_dot_add, 24, 12 * 32},
    {"vpbroadcastd, vpmaddubsw, vpaddw", "MAC", AVX2 | AVXVNNI, y_dot_broadcast_add, 36, 12 * 32},
    {"tile of 8 dots, fold vpmaddwd vpaddd", "MAC", AVX2 | AVXVNNI, y_tile, 150, 48 * 32},
    {"tile of 8 dots, fold vpmaddwd cvt fma", "MAC", AVX2 | AVXVNNI, y_float_tile, 156, 48 * 32},
    {"vpmaddwd ymm", "MAC", AVX2 | AVXVNNI, y_maddwd, 12, 12 * 16},
    {"load 32 bytes", "B", AVX2 | AVXVNNI, y_load, 12, 12 * 32},
    {"load and broadcast 4 bytes, ymm", "B", AVX2 | AVXVNNI, y_broadcast, 12, 12 * 4},
    {"vfmadd231ps ymm", "MAC", AVX2 | AVXVNNI, y_fma, 12, 12 * 8},
    {"vfmadd231ps ymm, operand loaded", "MAC", AVX2 | AVXVNNI, y_fma_load, 12, 12 * 8},
    {"vbroadcastss, vfmadd231ps ymm", "MAC", AVX2 | AVXVNNI, y_fma_broadcast, 24, 12 * 8},
    {"vcvtph2ps loaded, vfmadd231ps ymm", "MAC", AVX2 | AVXVNNI, y_fma_half, 24, 12 * 8},
    {"vcvtdq2ps, vfmadd231ps ymm", "MAC", AVX2 | AVXVNNI, y_convert_fma, 24, 12 * 8},

    {"vpdpbusd zmm", "MAC", AVX512, z_dot, 12, 12 * 64},
    {"vpdpbusd zmm, operand loaded", "MAC", AVX512, z_dot_load, 12, 12 * 64},
    {"vpdpbusd zmm, operand broadcast", "MAC", AVX512, z_dot_embedded, 12, 12 * 64},
    {"vpbroadcastd, vpdpbusd zmm twice", "MAC", AVX512, z_dot_twice, 18, 12 * 64},
    {"tile of 8 dots, fold vpdpwssd", "MAC", AVX512, z_tile, 60, 48 * 64},
    {"tile of 8 dots, fold vpmulld vpaddd", "MAC", AVX512, z_multiply_tile, 66, 48 * 64},
    {"tile of 8 dots, fold vcvtdq2ps fma", "MAC", AVX512, z_float_tile, 66, 48 * 64},
    {"vpdpwssd zmm", "MAC", AVX512, z_maddwd, 12, 12 * 32},
    {"load 64 bytes", "B", AVX512, z_load, 12, 12 * 64},
    {"load and broadcast 4 bytes, zmm", "B", AVX512, z_broadcast, 12, 12 * 4},
    {"vfmadd231ps zmm", "MAC", AVX512, z_fma, 12, 12 * 16},
    {"vfmadd231ps zmm, operand loaded", "MAC", AVX512, z_fma_load, 12, 12 * 16},
    {"vfmadd231ps zmm, operand broadcast", "MAC", AVX512, z_fma_embedded, 12, 12 * 16},
    {"vcvtph2ps loaded, vfmadd231ps zmm", "MAC", AVX512, z_fma_half, 24, 12 * 16},
    {"vcvtdq2ps, vfmadd231ps zmm", "MAC", AVX512, z_convert_fma, 24, 12 * 16},
};

/* ---- Timing a loop -------------------------------------------------------------------------------------------------- */

/* Cycles a second of this core now. */
static double clock_now(void)
{
    const uint64_t one = 1; /* in a register: some cores add constants while they rename, several a cycle */
    uint64_t value = 0;
    const double begin = hearth_seconds();
    for (uint32_t i = 0; i < CHAIN_ROUNDS; i++)
        __asm__ volatile("add %1, %0\n add %1, %0\n add %1, %0\n add %1, %0\n add %1, %0\n add %1, %0\n add %1, %0\n add %1, %0\n"
                         "add %1, %0\n add %1, %0\n add %1, %0\n add %1, %0\n add %1, %0\n add %1, %0\n add %1, %0\n add %1, %0\n"
                         : "+r"(value)
                         : "r"(one)
                         : "cc");
    return (double)CHAIN_ROUNDS * CHAIN_LENGTH / (hearth_seconds() - begin);
}

struct loop_job {
    const struct loop *loop; /* NULL: the clock alone */
    enum hearth_cpu_level level;
    uint32_t threads;
    _Alignas(64) uint8_t memory[256]; /* zeros */
    double rounds_per_second[HEARTH_WORKERS_MAX], clock_hz;
};

static void clear_registers(enum hearth_cpu_level level)
{
    if (level == HEARTH_CPU_REFERENCE)
        __asm__ volatile("pxor %%xmm12, %%xmm12\n pxor %%xmm13, %%xmm13\n" ::: "xmm12", "xmm13");
    else
        __asm__ volatile("vzeroall" ::
                             : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",
                               "xmm12", "xmm13", "xmm14", "xmm15");
}

static void run_loop(void *context, uint32_t worker, uint32_t workers)
{
    (void)workers;
    struct loop_job *job = context;
    double best = 0;
    double clock_hz = 0;
    if (worker >= job->threads)
        return;
    for (int i = 0; i < TIMINGS; i++) {
        if (job->loop) {
            const uint64_t rounds = (uint64_t)(INSTRUCTIONS / job->loop->instructions);
            clear_registers(job->level);
            const double begin = hearth_seconds();
            job->loop->run(rounds, job->memory);
            const double rate = (double)rounds / (hearth_seconds() - begin);
            best = rate > best ? rate : best;
            if (job->level != HEARTH_CPU_REFERENCE)
                __asm__ volatile("vzeroupper" ::: "memory");
        }
        const double now = clock_now();
        clock_hz = now > clock_hz ? now : clock_hz;
    }
    job->rounds_per_second[worker] = best;
    if (worker == 0)
        job->clock_hz = clock_hz;
}

struct probe {
    hearth_engine *engine;
    void (*row)(const struct hearth_probe_row *, void *);
    void *user;
    struct loop_job job;
};

/* 1, then twice as many each time, then all. 0: no more. */
static uint32_t next_threads(uint32_t threads, uint32_t all)
{
    return threads == all ? 0 : 2 * threads < all ? 2 * threads : all;
}

static void probe_loop(struct probe *p, const struct loop *loop)
{
    const uint32_t all = p->engine->workers;
    p->job.loop = loop;
    for (uint32_t threads = 1; threads > 0; threads = threads == all ? 0 : all) {
        double rate = 0;
        p->job.threads = threads;
        hearth_pool_run(p->engine->pool, run_loop, &p->job);
        for (uint32_t i = 0; i < threads; i++)
            rate += p->job.rounds_per_second[i];
        const double per_cycle = p->job.rounds_per_second[0] / p->job.clock_hz;
        const struct hearth_probe_row row = {.kind = HEARTH_PROBE_LOOP,
                                             .name = loop->name,
                                             .unit = loop->unit,
                                             .threads = threads,
                                             .instructions_per_cycle = per_cycle * loop->instructions,
                                             .work_per_cycle = per_cycle * loop->work,
                                             .work_per_second = rate * loop->work,
                                             .clock_hz = p->job.clock_hz};
        p->row(&row, p->user);
    }
}

/* ---- Reading, waiting, the clock ------------------------------------------------------------------------------------ */

static void probe_reading(struct probe *p, const uint8_t *memory, uint64_t bytes)
{
    const uint32_t all = p->engine->workers;
    for (uint32_t threads = 1; threads > 0; threads = next_threads(threads, all))
        for (uint32_t streams = 1; streams <= 4; streams *= 2)
            for (size_t i = 0; i < HEARTH_PROBE_WAYS; i++) {
                const struct hearth_read_variant variant = {threads, streams, hearth_probe_ways[i]};
                double best = 0;
                for (int k = 0; k < 3; k++) {
                    const double rate =
                        hearth_probe_read_variant(p->engine->pool, memory, bytes, p->engine->kernels.level, variant);
                    best = rate > best ? rate : best;
                }
                const struct hearth_probe_row row = {.kind = HEARTH_PROBE_READ,
                                                     .name = "read memory",
                                                     .unit = "B",
                                                     .threads = threads,
                                                     .streams = streams,
                                                     .prefetch = variant.ahead.bytes,
                                                     .prefetch_steps = variant.ahead.steps,
                                                     .work_per_second = best};
                p->row(&row, p->user);
            }
}

static void run_barriers(void *context, uint32_t worker, uint32_t workers)
{
    const struct probe *p = context;
    (void)workers;
    for (uint32_t i = 0; i < BARRIERS; i++)
        hearth_pool_barrier(p->engine->pool, worker);
}

static void run_nothing(void *context, uint32_t worker, uint32_t workers)
{
    (void)context;
    (void)worker;
    (void)workers;
}

static void report_waiting(const struct probe *p, const char *name, double seconds)
{
    const struct hearth_probe_row row = {
        .kind = HEARTH_PROBE_WAITING, .name = name, .threads = p->engine->workers, .seconds = seconds};
    p->row(&row, p->user);
}

static void probe_waiting(struct probe *p)
{
    double best = 1;
    for (int i = 0; i < TIMINGS; i++) {
        const double begin = hearth_seconds();
        hearth_pool_run(p->engine->pool, run_barriers, p);
        const double seconds = (hearth_seconds() - begin) / BARRIERS;
        best = seconds < best ? seconds : best;
    }
    report_waiting(p, "barrier of the pool", best);
    best = 1;
    for (int i = 0; i < TIMINGS; i++) {
        const double begin = hearth_seconds();
        for (uint32_t k = 0; k < WAKES; k++)
            hearth_pool_run(p->engine->pool, run_nothing, NULL);
        const double seconds = (hearth_seconds() - begin) / WAKES;
        best = seconds < best ? seconds : best;
    }
    report_waiting(p, "empty job of the pool", best);
}

static void probe_clock(struct probe *p, const struct loop *loop, const char *name)
{
    p->job.loop = loop;
    p->job.threads = p->engine->workers;
    hearth_pool_run(p->engine->pool, run_loop, &p->job);
    const struct hearth_probe_row row = {
        .kind = HEARTH_PROBE_CLOCK, .name = name, .threads = p->job.threads, .clock_hz = p->job.clock_hz};
    p->row(&row, p->user);
}

hearth_status hearth_bench_probe(hearth_engine *engine, uint64_t bytes, void (*row)(const struct hearth_probe_row *, void *),
                                 void *user, hearth_error *err)
{
    struct hearth_arena counting = {0};
    struct hearth_arena arena;
    (void)hearth_arena_take(&counting, HEARTH_PLAN_SCRATCH, bytes, 1);
    (void)hearth_arena_take(&counting, HEARTH_PLAN_SCRATCH, 1, sizeof(struct probe));
    HEARTH_TRY(hearth_engine_reserve(engine, &arena, &counting, err));
    hearth_engine_populate(engine, &arena);
    const uint8_t *memory = hearth_arena_take(&arena, HEARTH_PLAN_SCRATCH, bytes, 1);
    struct probe *p = hearth_arena_take(&arena, HEARTH_PLAN_SCRATCH, 1, sizeof *p);
    p->engine = engine;
    p->row = row;
    p->user = user;
    p->job.level = engine->kernels.level;
    const struct loop *first = NULL;
    probe_clock(p, NULL, "additions");
    for (size_t i = 0; i < sizeof loops / sizeof loops[0]; i++) {
        if (!(loops[i].levels & 1u << engine->kernels.level))
            continue;
        first = first ? first : &loops[i];
        probe_loop(p, &loops[i]);
    }
    probe_clock(p, first, "integer products on all cores");
    probe_reading(p, memory, bytes);
    probe_waiting(p);
    hearth_engine_release(engine, &arena);
    return HEARTH_OK;
}
