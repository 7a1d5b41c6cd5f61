/* A model file, opened for reading; its beginning, read into memory as far as its header is. */
#ifndef HEARTH_LOADER_FILE_H
#define HEARTH_LOADER_FILE_H

#include "hearth.h"

struct hearth_file {
    const uint8_t *bytes; /* as many as the file has; those that have been fetched may be touched, no others. NULL when closed */
    uint64_t size;
    int fd; /* closed with the file */
};

/* Open a regular file (O_CLOEXEC, O_NONBLOCK, never blocks on a FIFO). The name stands in messages, quoted. Reads nothing.
 * Errors: E_NOT_FOUND, E_IO (directory, not regular, permission), E_MEMORY (no address space), E_FORMAT E_TRUNC "file is empty". */
hearth_status hearth_file_open(struct hearth_file *out, const char *path, hearth_error *err);
/* Have bytes[begin, end) read, end <= size; what has been is not read again. Not by two threads at once. E_IO and E_MEMORY name the
 * file. */
hearth_status hearth_file_fetch(const struct hearth_file *file, const char *path, uint64_t begin, uint64_t end, hearth_error *err);
/* Private memory that fetching bytes[0, end) takes, at most. */
uint64_t hearth_file_fetched_bytes(uint64_t end);
/* Read exactly n bytes at offset, through EINTR and short reads. E_IO names the file. Thread-safe. */
hearth_status hearth_file_read(const struct hearth_file *file, const char *path, void *out, uint64_t offset, size_t n,
                               hearth_error *err);
/* What tells a file, and each state of it, from all others: the inode, and when contents or inode last changed, which nobody can
 * set at will. Two changes within one tick of the file system's clock, some milliseconds, look the same. */
struct hearth_file_identity {
    uint64_t inode, size;
    int64_t mtime_s, mtime_ns, ctime_s, ctime_ns;
};
/* As the file is now; false when the system does not say. */
bool hearth_file_identity(const struct hearth_file *file, struct hearth_file_identity *out);
/* Closing twice, or a zeroed struct, is allowed. */
void hearth_file_close(struct hearth_file *file);

#endif
