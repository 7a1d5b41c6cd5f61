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
/* Read exactly n bytes at offset, through EINTR and short reads. E_IO names the file. */
hearth_status hearth_mapping_read(const struct hearth_mapping *mapping, const char *path, void *out, uint64_t offset, size_t n,
                                  hearth_error *err);
/* Have n bytes of a map fetched before they are touched: the system's own read-ahead is off in it. Advice, and harmless for other
 * memory. */
void hearth_mapping_expect(const uint8_t *bytes, uint64_t n);
/* What tells a file, and each state of it, from all others: the inode, and when contents or inode last changed, which nobody can
 * set at will. Two changes within one tick of the file system's clock, some milliseconds, look the same. */
struct hearth_file_identity {
    uint64_t inode, size;
    int64_t mtime_s, mtime_ns, ctime_s, ctime_ns;
};
/* As the file is now; false when the system does not say. */
bool hearth_mapping_identity(const struct hearth_mapping *mapping, struct hearth_file_identity *out);
/* Closing twice, or a zeroed struct, is allowed. */
void hearth_mapping_close(struct hearth_mapping *mapping);

#endif
