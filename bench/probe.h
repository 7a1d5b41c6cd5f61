/* The limits of this machine, measured in this process: how fast the workers can read memory, and how many products they can make.
 */
#ifndef HEARTH_BENCH_PROBE_H
#define HEARTH_BENCH_PROBE_H

#include "kernels.h"
#include "pool.h"

/* Bytes per second that all workers together read from `bytes` of memory, each its own contiguous share: the best of one, two
 * or four streams a worker, without and with software prefetch. Loads only. `level` sets the width of the loads. Takes some passes
 * over the memory. */
double hearth_probe_read(struct hearth_pool *pool, const uint8_t *memory, uint64_t bytes, enum hearth_cpu_level level);

/* Software prefetch: so many bytes ahead, in one step into the first-level cache, or in two, first into the second level and from
 * there shortly before the loads. 0: none. */
struct hearth_read_ahead {
    uint32_t bytes, steps;
};
#define HEARTH_PROBE_WAYS 5
extern const struct hearth_read_ahead hearth_probe_ways[HEARTH_PROBE_WAYS];

/* One variant of it, one pass. */
struct hearth_read_variant {
    uint32_t threads, streams;
    struct hearth_read_ahead ahead;
};
double hearth_probe_read_variant(struct hearth_pool *pool, const uint8_t *memory, uint64_t bytes, enum hearth_cpu_level level,
                                 struct hearth_read_variant variant);

/* Multiply-accumulates of 8-bit integers per second, all workers together, on registers: vpdpbusd, or vpmaddubsw below it. */
double hearth_probe_dot(struct hearth_pool *pool, enum hearth_cpu_level level);

/* Multiply-accumulates of floats per second, likewise: a fused multiply-add, below AVX2 a product and a sum. */
double hearth_probe_fma(struct hearth_pool *pool, enum hearth_cpu_level level);

/* Seconds of a monotonic clock. */
double hearth_seconds(void);
/* The median; sorts the values. n >= 1. */
double hearth_median(double *values, size_t n);
double hearth_mean(const double *values, size_t n);
/* Sample standard deviation; 0 for one value. */
double hearth_deviation(const double *values, size_t n);

#endif
