/* Products of floats by OpenBLAS, on request only: the one door to that library, which is opened while the program runs.
 *
 * What comes out is outside the bit contract (docs/arithmetic.md): OpenBLAS adds in an order of its own, which depends on the CPU
 * and on the shape. */
#ifndef HEARTH_ENGINE_BLAS_H
#define HEARTH_ENGINE_BLAS_H

#include "hearth.h"

typedef void hearth_sgemm_fn(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha, const float *a, int lda,
                             const float *b, int ldb, float beta, float *c, int ldc);

/* Private bytes that the library takes: its own data, and for each thread that multiplies. Measured for 0.3.21 on Debian 12 with
 * products of up to 512 x 256 x 11008: 0.2 MiB, and 0.25 for each thread. */
#define HEARTH_BLAS_BYTES ((uint64_t)512 << 10)
#define HEARTH_BLAS_WORKER_BYTES ((uint64_t)512 << 10)

/* All zero: closed. */
struct hearth_blas {
    void *library;
    hearth_sgemm_fn *sgemm;
    char version[96]; /* what the library says about itself */
};

/* Open the serial build where Debian keeps it, else whatever the loader finds, limited to the calling thread. E_UNSUPPORTED when
 * there is none. */
hearth_status hearth_blas_open(struct hearth_blas *out, hearth_error *err);
void hearth_blas_close(struct hearth_blas *blas);
/* y[t * y_stride + r] = dot(row r of w, row t of x); strides in floats, w without gaps. From any number of threads. */
void hearth_blas_multiply(const struct hearth_blas *blas, float *y, size_t y_stride, const float *w, const float *x,
                          size_t x_stride, size_t rows, size_t k, size_t tokens);

#endif
