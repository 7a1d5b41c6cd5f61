/* A model that lies in memory as the source of an engine. */
#ifndef HEARTH_TESTS_MEMORY_SOURCE_H
#define HEARTH_TESTS_MEMORY_SOURCE_H

#include "source.h"
#include <stdatomic.h>

struct memory_source {
    struct hearth_source source; /* its context is this struct, which therefore stays where it is */
    const uint8_t *bytes;
    uint64_t size;
    _Atomic uint32_t n_reads; /* of tensor data */
};

/* A file of the name "tiny.gguf". The bytes are the caller's. */
void memory_source_init(struct memory_source *source, const void *bytes, uint64_t size);

/* Where the tensor's data lies in a file that the loader takes; NULL when it has no such tensor. */
uint8_t *memory_source_tensor(uint8_t *bytes, uint64_t size, const char *name, uint64_t *n_bytes);

#endif
