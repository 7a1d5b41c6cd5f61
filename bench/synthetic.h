/* A model without a file: header from a shape, weights made up while they are read. Every layer has bytes of its own. */
#ifndef HEARTH_BENCH_SYNTHETIC_H
#define HEARTH_BENCH_SYNTHETIC_H

#include "gguf.h"
#include "shapes.h"
#include "source.h"

struct hearth_synthetic {
    struct hearth_source source;
    uint8_t *header;
    struct hearth_gguf gguf;
};

hearth_status hearth_synthetic_open(struct hearth_synthetic *out, const struct hearth_shape *shape, const char *recipe,
                                    hearth_error *err);
void hearth_synthetic_close(struct hearth_synthetic *synthetic);

/* n bytes of whole blocks of a format: random codes, fixed small scales; with `ones`, floats are 1. */
void hearth_synthetic_fill(uint32_t format, uint8_t *out, size_t n, uint64_t offset, bool ones);

#endif
