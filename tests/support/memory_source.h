/* A model that lies in memory as the source of an engine. */
#ifndef HEARTH_TESTS_MEMORY_SOURCE_H
#define HEARTH_TESTS_MEMORY_SOURCE_H

#include "source.h"
#include <stdatomic.h>

struct memory_source {
    struct hearth_source source; /* its context is this struct, which therefore stays where it is */
    const uint8_t *bytes;
    uint64_t size;
    struct hearth_gguf gguf;
    _Atomic uint32_t n_reads; /* of tensor data */
};

/* A file of the name "tiny.gguf", checked as a file is that is opened. The bytes are the caller's. The struct is zeros, or is
 * opened once more. */
hearth_status memory_source_open(struct memory_source *source, const void *bytes, uint64_t size, hearth_error *err);
void memory_source_close(struct memory_source *source);

/* Where the tensor's data lies in a file that the loader takes; NULL when it has no such tensor. */
uint8_t *memory_source_tensor(uint8_t *bytes, uint64_t size, const char *name, uint64_t *n_bytes);

#endif
