/* A file, opened read-only and mapped so that its header can be parsed in place. */
#ifndef HEARTH_LOADER_MAPPING_H
#define HEARTH_LOADER_MAPPING_H

#include "hearth.h"

struct hearth_mapping {
    const uint8_t *bytes; /* the whole file; NULL when closed */
    uint64_t size;
    int fd; /* for pread of tensor data; closed with the mapping */
};

/* Open a regular file (O_CLOEXEC, O_NONBLOCK, never blocks on a FIFO) and map it. `name` stands in messages, quoted.
 * Errors: E_NOT_FOUND, E_IO (directory, not regular, permission), E_FORMAT E_TRUNC "file is empty". */
hearth_status hearth_mapping_open(struct hearth_mapping *out, const char *path, hearth_error *err);
/* Forget the mapped pages but keep the descriptor (bytes becomes NULL). */
void hearth_mapping_unmap(struct hearth_mapping *mapping);
/* Read exactly n bytes at offset, through EINTR and short reads. E_IO names the file. */
hearth_status hearth_mapping_read(const struct hearth_mapping *mapping, const char *path, void *out, uint64_t offset, size_t n,
                                  hearth_error *err);
/* Closing twice, or a zeroed struct, is allowed. */
void hearth_mapping_close(struct hearth_mapping *mapping);

#endif
