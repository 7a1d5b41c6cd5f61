/* The file of a model, or the parts of one that was split (spec gguf.md, section 11), as one run of bytes: the parts one behind the
 * other, so that a tensor has one offset whatever part it lies in. */
#ifndef HEARTH_LOADER_PARTS_H
#define HEARTH_LOADER_PARTS_H

#include "file.h"
#include "gguf.h"
#include "hash.h"

struct hearth_part {
    const char *path;
    struct hearth_file file;
    uint64_t begin; /* of its bytes, among those of all parts */
};

struct hearth_parts {
    struct hearth_part *parts; /* private: one allocation holding the paths too */
    uint32_t n;                /* 1: a whole file */
    struct hearth_gguf gguf;   /* pairs of the first part, tensors of all; their file_offset counts over all parts */
};

/* Open and check a model by its only file, or by its first part, which names the others: those lie beside it. `path` stands in
 * messages and must outlive *out. A failure leaves nothing open. Errors: those of hearth_file_open() and hearth_gguf_parse(),
 * naming the part; E_FORMAT E_SPLIT for parts that do not belong together, and for another part than the first; E_MEMORY. */
hearth_status hearth_parts_open(struct hearth_parts *out, const char *path, hearth_error *err);
/* Closing twice, or a zeroed struct, is allowed. */
void hearth_parts_close(struct hearth_parts *parts);

/* The part that holds the byte at an offset below gguf.file_size. */
const struct hearth_part *hearth_parts_at(const struct hearth_parts *parts, uint64_t offset);
/* Read exactly n bytes, all of one part. E_IO names it. Thread-safe. */
hearth_status hearth_parts_read(const struct hearth_parts *parts, void *out, uint64_t offset, size_t n, hearth_error *err);

/* What tells these files, and each state of them, from all others; see struct hearth_file_identity. */
struct hearth_parts_identity {
    struct hearth_hash files;
    int64_t newest_change_s; /* the latest ctime */
};
/* As the files are now; false when the system does not say. */
bool hearth_parts_identity(const struct hearth_parts *parts, struct hearth_parts_identity *out);

#endif
