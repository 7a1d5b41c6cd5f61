/* Inputs for kernels: weights, activations and floats, random or at the extremes. */
#ifndef HEARTH_TESTS_KERNEL_CASE_H
#define HEARTH_TESTS_KERNEL_CASE_H

#include "kernels.h"
#include "rng.h"

/* What the codes of a row and the scales beside them look like. Every kind gives finite products. */
enum case_kind {
    CASE_RANDOM,       /* any code, scales of ordinary size and both signs */
    CASE_LARGEST,      /* all codes, scales and mins the largest; q = 127 */
    CASE_SMALLEST,     /* all codes and scales the most negative; q = -127 */
    CASE_EDGES,        /* each byte one of the extremes; q = 127 or -127; scales the largest half floats of either sign */
    CASE_ZERO_SCALES,  /* +0 and -0 */
    CASE_SMALL_SCALES, /* subnormal half floats; subnormal scales of activations */
    CASE_NEGATIVE,     /* negative scales only */
    CASE_SPANS, /* blocks of the largest or the most negative codes; q small, or with spans where dots just fit 16 bits or not */
    CASE_KIND_COUNT
};

const char *case_kind_name(enum case_kind kind);

/* One row of k weights as it lies in a file. */
void case_weights(struct rng *rng, uint8_t *row, enum hearth_format format, size_t k, enum case_kind kind);
/* One token's activations, sums and spans right; of its units, bytes without a use are 0xff. */
void case_activations(struct rng *rng, uint8_t *token, size_t x_stride, enum hearth_activation activation, size_t k,
                      enum case_kind kind);
/* What the spans of these codes must be. */
struct hearth_spans case_spans(const int8_t q[256]);
/* Ordinary floats of many magnitudes, some zeros of both signs. */
void case_floats(struct rng *rng, float *x, size_t n);
/* A cache element of `format` (F16 or F32) for n values in (-limit, limit). */
void case_cache(struct rng *rng, void *cache, enum hearth_format format, size_t n, float limit);

/* The first index where a and b differ in any bit; n when they agree. */
size_t first_different(const float *a, const float *b, size_t n);

#endif
