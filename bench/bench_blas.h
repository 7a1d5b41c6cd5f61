/* What BLAS would do: the products of a model's prompt by OpenBLAS. */
#ifndef HEARTH_BENCH_BLAS_H
#define HEARTH_BENCH_BLAS_H

#include "engine.h"

struct hearth_blas_rates {
    double widened;   /* prompt tokens per second, were all weights floats that lie in the caches: more than BLAS could do */
    double quantized; /* the same when each panel of weights is first made floats of, once for each batch, as BLAS engines do */
    char version[96]; /* "": there is no OpenBLAS here */
};

/* Time the products of all layers, attention and output matrix apart, for batches of n_tokens. Each kind of matrix is timed once
 * and counted as often as the model has it. Without OpenBLAS *out is all zero, which is no error. */
hearth_status hearth_bench_blas(struct hearth_blas_rates *out, struct hearth_engine *engine, const struct hearth_description *model,
                                uint32_t n_tokens, hearth_error *err);

#endif
