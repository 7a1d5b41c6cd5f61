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

/* Time every chosen product kernel at 1, 4, 16 and 128 tokens over `bytes` of packed weights (more than the caches hold), calling
 * `row` for each. *read and *dot receive the probes. */
hearth_status hearth_bench_kernels(hearth_engine *engine, uint64_t bytes, void (*row)(const struct hearth_kernel_timing *, void *),
                                   void *user, double *read, double *dot, hearth_error *err);

#endif
