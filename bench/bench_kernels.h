/* The product kernels one by one, beside the limits of the machine. */
#ifndef HEARTH_BENCH_KERNELS_H
#define HEARTH_BENCH_KERNELS_H

#include "hearth.h"

struct hearth_kernel_timing {
    const char *kernel;
    uint32_t n_tokens;
    double macs_per_second;  /* all workers */
    double bytes_per_second; /* packed weights read */
};

#define HEARTH_BENCH_KERNEL_TOKENS_MAX 1024

struct hearth_kernel_options {
    uint64_t bytes;         /* of packed weights: more than the caches hold */
    const char *filter;     /* only kernels with this in their names; NULL: all */
    const uint32_t *tokens; /* each 1 … HEARTH_BENCH_KERNEL_TOKENS_MAX */
    size_t n_tokens;
    void (*row)(const struct hearth_kernel_timing *timing, void *user); /* called for each kernel and number of tokens */
    void *user;
};

/* Time chosen product kernels. *read and *dot receive the probes. E_CONFIG when the filter leaves none. */
hearth_status hearth_bench_kernels(hearth_engine *engine, const struct hearth_kernel_options *options, double *read, double *dot,
                                   hearth_error *err);

#endif
