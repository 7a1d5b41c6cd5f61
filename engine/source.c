/* A file, or several, as the source of a model. */
#include "source.h"
#include "common/status.h"
#include <fcntl.h>

static hearth_status read_file(void *context, void *out, uint64_t offset, size_t n, hearth_error *err)
{
    const struct hearth_file_source *file = context;
    return hearth_parts_read(&file->parts, out, offset, n, err);
}

/* In steps, because the system cuts a request short at its read-ahead window, 128 KiB by default. */
static void expect_file(void *context, uint64_t offset, uint64_t n)
{
    const struct hearth_file_source *file = context;
    const struct hearth_part *part = hearth_parts_at(&file->parts, offset);
    const uint64_t begin = offset - part->begin;
    const uint64_t step = 128u << 10;
    for (uint64_t at = 0; at < n; at += step)
        (void)posix_fadvise(part->file.fd, (off_t)(begin + at), (off_t)(n - at < step ? n - at : step), POSIX_FADV_WILLNEED);
}

/* Gives up the page cache's copy of what has been packed; pack.h says when. */
static void forget_file(void *context, uint64_t offset, uint64_t n)
{
    const struct hearth_file_source *file = context;
    const struct hearth_part *part = hearth_parts_at(&file->parts, offset);
    (void)posix_fadvise(part->file.fd, (off_t)(offset - part->begin), (off_t)n, POSIX_FADV_DONTNEED);
}

static bool identify_file(void *context, struct hearth_parts_identity *out)
{
    const struct hearth_file_source *file = context;
    return hearth_parts_identity(&file->parts, out);
}

hearth_status hearth_source_open_file(struct hearth_source *out, struct hearth_file_source *file, const char *path,
                                      hearth_error *err)
{
    (void)hearth_quote(file->shown, path, strlen(path));
    const hearth_status status = hearth_parts_open(&file->parts, path, err);
    *out = (struct hearth_source){.name = path,
                                  .shown = file->shown,
                                  .gguf = &file->parts.gguf,
                                  .read = read_file,
                                  .expect = expect_file,
                                  .forget = forget_file,
                                  .identify = identify_file,
                                  .context = file};
    return status;
}
