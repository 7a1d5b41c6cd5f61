/* Opening a file that somebody else named: it may be missing, a directory, a FIFO without a writer, a device that never ends.
 * Nothing here blocks on one of those, and whatever is not a regular file with something in it is refused by name. */
#include "mapping.h"
#include "common/status.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The system cuts a request short at its read-ahead window, 128 KiB by default. */
#define READ_AHEAD_STEP ((size_t)128 << 10)

static hearth_status fail_errno(hearth_error *err, const char *path, const char *action, int number)
{
    char file[HEARTH_QUOTE_MAX];
    char reason[128];
    return hearth_fail(err, number == ENOENT || number == ENOTDIR ? HEARTH_E_NOT_FOUND : HEARTH_E_IO, NULL, "%s: %s: %s",
                       hearth_quote(file, path, strlen(path)), action, strerror_r(number, reason, sizeof reason));
}

/* Refuse what cannot be a model, while only the descriptor exists. */
static hearth_status check_kind(const struct stat *info, const char *path, hearth_error *err)
{
    char file[HEARTH_QUOTE_MAX];
    hearth_quote(file, path, strlen(path));
    if (S_ISDIR(info->st_mode))
        return hearth_fail(err, HEARTH_E_IO, NULL, "%s: open: is a directory", file);
    if (!S_ISREG(info->st_mode))
        return hearth_fail(err, HEARTH_E_IO, NULL, "%s: open: not a regular file", file);
    if (info->st_size == 0)
        return hearth_fail(err, HEARTH_E_FORMAT, "E_TRUNC", "%s: header: file is empty (got 0 bytes, need 24)", file);
    return HEARTH_OK;
}

/* Map the file of descriptor fd, whose kind was checked. The size is asked again afterwards: a file that shrank in between
 * would end in a bus error. */
static hearth_status map_file(struct hearth_mapping *out, int fd, off_t size, const char *path, hearth_error *err)
{
    void *bytes = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        return fail_errno(err, path, "map", errno);
    (void)madvise(bytes, (size_t)size,
                  MADV_RANDOM); /* else a touch fetches what the system thinks best, megabytes on some machines */
    struct stat again;
    if (fstat(fd, &again) != 0 || again.st_size != size) {
        char file[HEARTH_QUOTE_MAX];
        (void)munmap(bytes, (size_t)size);
        return hearth_fail(err, HEARTH_E_IO, NULL, "%s: map: the file changed its size while it was opened",
                           hearth_quote(file, path, strlen(path)));
    }
    *out = (struct hearth_mapping){.bytes = bytes, .size = (uint64_t)size, .fd = fd};
    return HEARTH_OK;
}

hearth_status hearth_mapping_open(struct hearth_mapping *out, const char *path, hearth_error *err)
{
    *out = (struct hearth_mapping){0};
    int fd;
    do {
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return fail_errno(err, path, "open", errno);

    struct stat info;
    hearth_status status = fstat(fd, &info) == 0 ? check_kind(&info, path, err) : fail_errno(err, path, "stat", errno);
    if (status == HEARTH_OK)
        status = map_file(out, fd, info.st_size, path, err);
    if (status != HEARTH_OK)
        (void)close(fd);
    return status;
}

hearth_status hearth_mapping_read(const struct hearth_mapping *mapping, const char *path, void *out, uint64_t offset, size_t n,
                                  hearth_error *err)
{
    char file[HEARTH_QUOTE_MAX];
    if (offset > mapping->size || n > mapping->size - offset)
        return hearth_fail(err, HEARTH_E_IO, NULL, "%s: read: past the end (got %" PRIu64 " bytes, need %zu at %" PRIu64 ")",
                           hearth_quote(file, path, strlen(path)), mapping->size, n, offset);
    uint8_t *to = out;
    while (n > 0) {
        const ssize_t got = pread(mapping->fd, to, n, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_errno(err, path, "read", errno);
        if (got == 0)
            return hearth_fail(err, HEARTH_E_IO, NULL,
                               "%s: read: the file became shorter while it was read (need %zu bytes at %" PRIu64 ")",
                               hearth_quote(file, path, strlen(path)), n, offset);
        to += got;
        offset += (uint64_t)got;
        n -= (size_t)got;
    }
    return HEARTH_OK;
}

void hearth_mapping_expect(const uint8_t *bytes, uint64_t n)
{
    const uint8_t *page = bytes - ((uintptr_t)bytes & 4095);
    for (const uint8_t *at = page; at < bytes + n; at += READ_AHEAD_STEP)
        (void)madvise((void *)(uintptr_t)at, READ_AHEAD_STEP, MADV_WILLNEED);
}

bool hearth_mapping_identity(const struct hearth_mapping *mapping, struct hearth_file_identity *out)
{
    struct stat info;
    if (fstat(mapping->fd, &info) != 0)
        return false;
    *out = (struct hearth_file_identity){.inode = info.st_ino,
                                         .size = (uint64_t)info.st_size,
                                         .mtime_s = info.st_mtim.tv_sec,
                                         .mtime_ns = info.st_mtim.tv_nsec,
                                         .ctime_s = info.st_ctim.tv_sec,
                                         .ctime_ns = info.st_ctim.tv_nsec};
    return true;
}

/* An open mapping has size > 0, so a zeroed struct, whose descriptor is 0, closes nothing. */
void hearth_mapping_close(struct hearth_mapping *mapping)
{
    if (mapping->size == 0)
        return;
    (void)munmap((void *)(uintptr_t)mapping->bytes, (size_t)mapping->size);
    (void)close(mapping->fd);
    *mapping = (struct hearth_mapping){0};
}
