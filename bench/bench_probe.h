/* The machine by itself: rates of the instructions that kernels are made of, of reading memory, and of the pool. They decide the
 * shapes of tiles. */
#ifndef HEARTH_BENCH_PROBE_ALL_H
#define HEARTH_BENCH_PROBE_ALL_H

#include "hearth.h"

enum hearth_probe_kind {
    HEARTH_PROBE_LOOP,    /* instructions in a loop, data in registers and the first-level cache */
    HEARTH_PROBE_READ,    /* reading memory in streams */
    HEARTH_PROBE_WAITING, /* threads waiting for each other */
    HEARTH_PROBE_CLOCK
};

/* What does not apply is 0. */
struct hearth_probe_row {
    enum hearth_probe_kind kind;
    const char *name;
    const char *unit;                                    /* of the work: "MAC", "B" */
    uint32_t threads, streams, prefetch, prefetch_steps; /* probe.h: hearth_read_ahead */
    double instructions_per_cycle;                       /* of one thread, like the next */
    double work_per_cycle;
    double work_per_second; /* of all `threads` */
    double clock_hz;
    double seconds; /* of one round of waiting */
};

/* Measure everything; some seconds. `bytes` of memory are read, more than the caches hold. */
hearth_status hearth_bench_probe(hearth_engine *engine, uint64_t bytes, void (*row)(const struct hearth_probe_row *, void *),
                                 void *user, hearth_error *err);

#endif
