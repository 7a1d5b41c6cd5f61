/* A whole model timed from end to end, beside the limits measured in the same process. */
#ifndef HEARTH_BENCH_MODEL_H
#define HEARTH_BENCH_MODEL_H

#include "bench_blas.h"
#include <time.h>

#define HEARTH_BENCH_REPEATS_MAX 64
#define HEARTH_BENCH_TESTS_MAX 1024
#define HEARTH_BENCH_TOKENS_MAX 1048576 /* prompt, generation and depth, each */
/* Probes of one run that lie further apart than this, largest less smallest over the median, make it a noisy one. */
#define HEARTH_BENCH_NOISE 0.05

struct hearth_bench_list {
    const uint32_t *values;
    size_t n;
};

struct hearth_bench_options {
    const char *shape, *recipe; /* a synthetic model; or */
    const char *path;           /* a file */
    /* Each prompt at each depth with each batch is a test, and each generation at each depth. Numbers of 0 tokens are left out. */
    struct hearth_bench_list prompts, generations;
    struct hearth_bench_list depths;  /* tokens in the cache before; at least one entry */
    struct hearth_bench_list batches; /* tokens of a forward pass, at least 1; at least one entry */
    uint32_t repeats;                 /* 1 … HEARTH_BENCH_REPEATS_MAX */
    int32_t kv_type;
    bool blas;                                      /* also what OpenBLAS would do with the first prompt */
    const char *powercap;                           /* where the energy counters are; NULL: where Linux has them */
    void (*progress)(const char *what, void *user); /* may be NULL */
    void *user;
};

struct hearth_bench_series {
    size_t n;
    double *values; /* in the order measured */
    double mean, deviation, median;
    double spread; /* largest less smallest, over the median */
};

/* One test. Of n_prompt and n_gen one is 0. Work is that of the whole test, averaged over its tokens. */
struct hearth_bench_row {
    uint32_t n_prompt, n_gen, depth;
    uint32_t batch;    /* tokens of a forward pass; 1 for a generation */
    uint32_t n_passes; /* forward passes of the test */
    time_t began;
    struct hearth_bench_series seconds, ts; /* of each repeat: time, tokens per second */
    double bytes_per_token;          /* that must be read: weights once for each pass, keys and values of the positions before */
    double kv_bytes_per_token;       /* of these, keys and values */
    double macs_per_token;           /* products with weights */
    double attention_macs_per_token; /* products of queries with keys and of weights with values */
    /* Medians over the repeats, each against the probes on its two sides; and their deviations. */
    double bandwidth_share, bandwidth_share_deviation;
    double compute_share, compute_share_deviation;
    double attention_share; /* of a prompt at depth: products of attention that the depth added over the time that it added, against
                             * the f32 probe; NAN without the same prompt at depth 0 */
    double joules_per_token; /* NAN where energy cannot be read */
};

struct hearth_bench_result {
    char model_name[65], cpu[49];
    uint64_t model_bytes, n_parameters;
    struct hearth_bench_row *rows; /* prompts first */
    size_t n_rows;
    struct hearth_bench_series read, dot, fma; /* bytes, products of 8-bit integers, products of floats; per second */
    double noise;                              /* the largest spread of read and dot */
    const char *energy;                        /* "powercap", or why there is none */
    struct hearth_blas_rates blas;             /* of the first prompt, where asked for */
    double load_seconds;
    uint64_t plan_bytes, peak_private_bytes;
    double *samples; /* private */
};

/* Open, measure in interleaved repeats, close. The engine says threads and kernels. Free the result whatever is returned. */
hearth_status hearth_bench_model(struct hearth_bench_result *out, hearth_engine *engine, const struct hearth_bench_options *options,
                                 hearth_error *err);
void hearth_bench_result_free(struct hearth_bench_result *result);

#endif
