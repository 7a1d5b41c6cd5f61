/* Opening a file that somebody else named: it may be missing, a directory, a FIFO without a writer, a device that never ends.
 * Nothing here blocks on one of those, and whatever is not a regular file with something in it is refused by name.
 *
 * What is asked for is read, piece by piece, into address space reserved for the whole file, so that it lies where it would lie in
 * a map of the file; but whoever cuts the file off, or unplugs its disk, makes a read fail, and raises no signal. Behind the file's
 * pages stands a bit for each piece: whether it has been read. */
#include "file.h"
#include "common/status.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE UINT64_C(4096)
#define PIECE_BYTES (UINT64_C(256) << 10) /* what is read for one byte */

static hearth_status fail_errno(hearth_error *err, const char *path, const char *action, int number)
{
    char file[HEARTH_QUOTE_MAX];
    char reason[128];
    const hearth_status status = number == ENOENT || number == ENOTDIR ? HEARTH_E_NOT_FOUND
                                 : number == ENOMEM                    ? HEARTH_E_MEMORY
                                                                       : HEARTH_E_IO;
    return hearth_fail(err, status, NULL, "%s: %s: %s", hearth_quote(file, path, strlen(path)), action,
                       strerror_r(number, reason, sizeof reason));
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

static uint64_t whole_pages(uint64_t bytes)
{
    return (bytes + PAGE - 1) / PAGE * PAGE;
}

/* Bytes of the bits behind the file. */
static uint64_t bits_bytes(uint64_t size)
{
    return whole_pages(size / PIECE_BYTES / 8 + 1);
}

/* Sizes of files are below 2^63, so nothing overflows. */
static hearth_status reserve(struct hearth_file *out, int fd, uint64_t size, const char *path, hearth_error *err)
{
    const uint64_t pages = whole_pages(size), bits = bits_bytes(size);
    uint8_t *bytes = mmap(NULL, (size_t)(pages + bits), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (bytes == MAP_FAILED)
        return fail_errno(err, path, "address space", errno);
    if (mprotect(bytes + pages, (size_t)bits, PROT_READ | PROT_WRITE) != 0) {
        const int number = errno;
        (void)munmap(bytes, (size_t)(pages + bits));
        return fail_errno(err, path, "memory for its header", number);
    }
    (void)madvise(bytes, (size_t)(pages + bits), MADV_NOHUGEPAGE); /* else a small header takes 2 MiB */
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM); /* no more than is asked for: some systems read megabytes ahead */
    *out = (struct hearth_file){.bytes = bytes, .size = size, .fd = fd};
    return HEARTH_OK;
}

hearth_status hearth_file_open(struct hearth_file *out, const char *path, hearth_error *err)
{
    *out = (struct hearth_file){0};
    int fd;
    do {
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return fail_errno(err, path, "open", errno);

    struct stat info;
    hearth_status status = fstat(fd, &info) == 0 ? check_kind(&info, path, err) : fail_errno(err, path, "stat", errno);
    if (status == HEARTH_OK)
        status = reserve(out, fd, (uint64_t)info.st_size, path, err);
    if (status != HEARTH_OK)
        (void)close(fd);
    return status;
}

hearth_status hearth_file_read(const struct hearth_file *file, const char *path, void *out, uint64_t offset, size_t n,
                               hearth_error *err)
{
    char shown[HEARTH_QUOTE_MAX];
    if (offset > file->size || n > file->size - offset)
        return hearth_fail(err, HEARTH_E_IO, NULL, "%s: read: past the end (got %" PRIu64 " bytes, need %zu at %" PRIu64 ")",
                           hearth_quote(shown, path, strlen(path)), file->size, n, offset);
    uint8_t *to = out;
    while (n > 0) {
        const ssize_t got = pread(file->fd, to, n, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_errno(err, path, "read", errno);
        if (got == 0)
            return hearth_fail(err, HEARTH_E_IO, NULL,
                               "%s: read: the file became shorter while it was read (need %zu bytes at %" PRIu64 ")",
                               hearth_quote(shown, path, strlen(path)), n, offset);
        to += got;
        offset += (uint64_t)got;
        n -= (size_t)got;
    }
    return HEARTH_OK;
}

static hearth_status read_piece(const struct hearth_file *file, uint64_t piece, const char *path, hearth_error *err)
{
    const uint64_t begin = piece * PIECE_BYTES;
    const uint64_t n = file->size - begin < PIECE_BYTES ? file->size - begin : PIECE_BYTES;
    uint8_t *to = (uint8_t *)(uintptr_t)file->bytes + begin;
    if (mprotect(to, (size_t)whole_pages(n), PROT_READ | PROT_WRITE) != 0)
        return fail_errno(err, path, "memory for its header", errno);
    return hearth_file_read(file, path, to, begin, (size_t)n, err);
}

hearth_status hearth_file_fetch(const struct hearth_file *file, const char *path, uint64_t begin, uint64_t end, hearth_error *err)
{
    uint8_t *bits = (uint8_t *)(uintptr_t)file->bytes + whole_pages(file->size);
    for (uint64_t piece = begin / PIECE_BYTES; piece * PIECE_BYTES < end; piece++) {
        if (bits[piece / 8] & 1u << piece % 8)
            continue;
        HEARTH_TRY(read_piece(file, piece, path, err));
        bits[piece / 8] |= (uint8_t)(1u << piece % 8);
    }
    return HEARTH_OK;
}

uint64_t hearth_file_fetched_bytes(uint64_t end)
{
    return (end + PIECE_BYTES - 1) / PIECE_BYTES * PIECE_BYTES;
}

bool hearth_file_identity(const struct hearth_file *file, struct hearth_file_identity *out)
{
    struct stat info;
    if (fstat(file->fd, &info) != 0)
        return false;
    *out = (struct hearth_file_identity){.inode = info.st_ino,
                                         .size = (uint64_t)info.st_size,
                                         .mtime_s = info.st_mtim.tv_sec,
                                         .mtime_ns = info.st_mtim.tv_nsec,
                                         .ctime_s = info.st_ctim.tv_sec,
                                         .ctime_ns = info.st_ctim.tv_nsec};
    return true;
}

/* An open file has size > 0, so a zeroed struct, whose descriptor is 0, closes nothing. */
void hearth_file_close(struct hearth_file *file)
{
    if (file->size == 0)
        return;
    (void)munmap((void *)(uintptr_t)file->bytes, (size_t)(whole_pages(file->size) + bits_bytes(file->size)));
    (void)close(file->fd);
    *file = (struct hearth_file){0};
}
