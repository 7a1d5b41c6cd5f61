/* A whole model timed from end to end, beside the limits measured in the same process. */
#ifndef HEARTH_BENCH_MODEL_H
#define HEARTH_BENCH_MODEL_H

#include "hearth.h"

#define HEARTH_BENCH_REPEATS_MAX 64
#define HEARTH_BENCH_SAMPLES_MAX (2 * HEARTH_BENCH_REPEATS_MAX + 1) /* the probes stand before, between and after */

struct hearth_bench_options {
    const char *shape, *recipe; /* a synthetic model; or */
    const char *path;           /* a file */
    uint32_t n_prompt, n_gen;   /* 0 leaves the measurement out */
    uint32_t batch;             /* 0: 512 */
    uint32_t repeats;           /* 1 … HEARTH_BENCH_REPEATS_MAX */
    int32_t kv_type;
    void (*progress)(const char *what, void *user); /* may be NULL */
    void *user;
};

struct hearth_bench_series {
    uint32_t n;
    double ts[HEARTH_BENCH_SAMPLES_MAX]; /* per second, in the order measured */
    double mean, deviation, median;
};

struct hearth_bench_result {
    char model_name[65];
    uint64_t model_bytes, n_parameters;
    uint64_t bytes_per_token; /* weights that one generated token reads */
    uint64_t macs_per_token;  /* products of one prompt token, output matrix and attention apart */
    uint32_t batch, context;
    struct hearth_bench_series prompt, generation, read, dot; /* read: bytes/s, dot: products/s */
    double bandwidth_share; /* of generation: median over the repeats of bytes per second, over the read probes on both sides */
    double compute_share;   /* of the prompt: likewise products per second, over the dot probes on both sides */
    double load_seconds;
    uint64_t plan_bytes, peak_private_bytes;
};

/* Open, measure in interleaved repeats, close. The engine says threads and kernels. */
hearth_status hearth_bench_model(struct hearth_bench_result *out, hearth_engine *engine, const struct hearth_bench_options *options,
                                 hearth_error *err);

#endif
