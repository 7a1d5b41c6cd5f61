/* OpenBLAS by dlopen; see blas.h. Never linked: its constructor looks at the machine, takes buffers and, in the builds with
 * threads, starts them, which a host that does not want it must not pay for. */
#include "blas.h"
#include "common/status.h"
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

enum { ROW_MAJOR = 101, AS_IT_IS = 111, TRANSPOSED = 112 }; /* of cblas.h */

static const char *const names[] = {"/usr/lib/x86_64-linux-gnu/openblas-pthread/libopenblas.so.0", "libopenblas.so.0"};

static void *open_any(void)
{
    void *library = NULL;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && !library; i++)
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    return library;
}

hearth_status hearth_blas_open(struct hearth_blas *out, hearth_error *err)
{
    typedef void set_threads_fn(int);
    typedef char *config_fn(void);
    *out = (struct hearth_blas){.library = open_any()};
    if (!out->library)
        return hearth_fail(
            err, HEARTH_E_UNSUPPORTED, "E_BLAS",
            "float_gemm: OpenBLAS is not installed (got no libopenblas.so.0, need libopenblas0-pthread or its like)");
    out->sgemm = (hearth_sgemm_fn *)dlsym(out->library, "cblas_sgemm");
    set_threads_fn *set_threads = (set_threads_fn *)dlsym(out->library, "openblas_set_num_threads");
    config_fn *config = (config_fn *)dlsym(out->library, "openblas_get_config");
    if (!out->sgemm || !set_threads || !config) {
        hearth_blas_close(out);
        return hearth_fail(err, HEARTH_E_UNSUPPORTED, "E_BLAS",
                           "float_gemm: the libopenblas.so.0 that was found cannot be used (it has no cblas_sgemm)");
    }
    /* Several workers call it at once. The build without threads has no locks, and then gives wrong products now and then. */
    if (strstr(config(), "SINGLE_THREADED")) {
        hearth_blas_close(out);
        return hearth_fail(err, HEARTH_E_UNSUPPORTED, "E_BLAS",
                           "float_gemm: OpenBLAS is built without threads and not safe for several (got a serial build, need "
                           "libopenblas0-pthread or its like)");
    }
    set_threads(1);
    (void)snprintf(out->version, sizeof out->version, "%s", config());
    return HEARTH_OK;
}

void hearth_blas_close(struct hearth_blas *blas)
{
    if (blas->library)
        (void)dlclose(blas->library);
    *blas = (struct hearth_blas){0};
}

void hearth_blas_multiply(const struct hearth_blas *blas, float *y, size_t y_stride, const float *w, const float *x,
                          size_t x_stride, size_t rows, size_t k, size_t tokens)
{
    blas->sgemm(ROW_MAJOR, AS_IT_IS, TRANSPOSED, (int)tokens, (int)rows, (int)k, 1.0f, x, (int)x_stride, w, (int)k, 0.0f, y,
                (int)y_stride);
}
