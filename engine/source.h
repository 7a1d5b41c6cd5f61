/* Where a model's bytes come from: a file, or a generator (the bench makes whole models in memory). */
#ifndef HEARTH_ENGINE_SOURCE_H
#define HEARTH_ENGINE_SOURCE_H

#include "hearth.h"
#include "parts.h"

struct hearth_source {
    const char *name;               /* as given; the loader quotes it in messages */
    const char *shown;              /* printable, for messages of the engine */
    const struct hearth_gguf *gguf; /* its offsets are those of the functions below */
    /* Fill out[0..n) from the offset, all of one tensor. Called by several workers at once. */
    hearth_status (*read)(void *context, void *out, uint64_t offset, size_t n, hearth_error *err);
    /* The range will be read soon: begin to fetch it, and do not wait. May be NULL. */
    void (*expect)(void *context, uint64_t offset, uint64_t n);
    /* The range will not be read again. May be NULL. */
    void (*forget)(void *context, uint64_t offset, uint64_t n);
    /* Which files they are, and in which state. NULL: none that could be recognised. */
    bool (*identify)(void *context, struct hearth_parts_identity *out);
    void *context;
};

/* A file, or all parts of a split one, as a source. `file` is filled in and must live as long as the source; close it with
 * hearth_parts_close(&file->parts). */
struct hearth_file_source {
    struct hearth_parts parts;
    char shown[72];
};
hearth_status hearth_source_open_file(struct hearth_source *out, struct hearth_file_source *file, const char *path,
                                      hearth_error *err);

#endif
