/* A file as the source of a model. */
#include "source.h"
#include "common/status.h"
#include <fcntl.h>

static hearth_status read_file(void *context, void *out, uint64_t offset, size_t n, hearth_error *err)
{
    const struct hearth_file_source *file = context;
    return hearth_mapping_read(&file->mapping, file->path, out, offset, n, err);
}

/* In steps, because the system cuts a request short at its read-ahead window, 128 KiB by default. */
static void expect_file(void *context, uint64_t offset, uint64_t n)
{
    const struct hearth_file_source *file = context;
    const uint64_t step = 128u << 10;
    for (uint64_t at = 0; at < n; at += step)
        (void)posix_fadvise(file->mapping.fd, (off_t)(offset + at), (off_t)(n - at < step ? n - at : step), POSIX_FADV_WILLNEED);
}

/* Gives up the page cache's copy of what has been packed; pack.h says when. */
static void forget_file(void *context, uint64_t offset, uint64_t n)
{
    const struct hearth_file_source *file = context;
    (void)posix_fadvise(file->mapping.fd, (off_t)offset, (off_t)n, POSIX_FADV_DONTNEED);
}

static bool identify_file(void *context, struct hearth_file_identity *out)
{
    const struct hearth_file_source *file = context;
    return hearth_mapping_identity(&file->mapping, out);
}

hearth_status hearth_source_open_file(struct hearth_source *out, struct hearth_file_source *file, const char *path,
                                      hearth_error *err)
{
    file->path = path;
    (void)hearth_quote(file->shown, path, strlen(path));
    const hearth_status status = hearth_mapping_open(&file->mapping, path, err);
    *out = (struct hearth_source){.name = path,
                                  .shown = file->shown,
                                  .header = file->mapping.bytes,
                                  .header_bytes = file->mapping.size,
                                  .file_bytes = file->mapping.size,
                                  .read = read_file,
                                  .expect = expect_file,
                                  .forget = forget_file,
                                  .identify = identify_file,
                                  .context = file};
    return status;
}
