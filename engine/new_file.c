/* Files that are whole or not there; see new_file.h. */
#include "new_file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#define TRIES 8 /* to take the second name, when others are at it, too */

const char *hearth_file_distrust(const struct stat *info)
{
    if (!S_ISREG(info->st_mode))
        return "not a regular file";
    if (info->st_uid != geteuid())
        return "belongs to another user";
    if (info->st_mode & (S_IWGRP | S_IWOTH))
        return "others may write to it";
    return NULL;
}

/* Whether the second name is that of the open file; false with errno. */
static bool is_named(const struct hearth_new_file *f, int fd)
{
    struct stat here;
    struct stat there;
    if (fstat(fd, &here) != 0 || fstatat(f->folder, f->second, &there, AT_SYMLINK_NOFOLLOW) != 0)
        return false;
    errno = ESTALE;
    return here.st_ino == there.st_ino && here.st_dev == there.st_dev;
}

/* What is_named() failed with: the name is nobody's or another file's by now, and nothing is wrong with the system. */
static bool is_outrun(void)
{
    return errno == ENOENT || errno == ESTALE;
}

/* What stands under the second name is somebody's who is writing, or a dead process has left it: nobody holds its lock. It is never
 * written to, because it may have another name elsewhere. */
static bool remove_left_over(struct hearth_new_file *f)
{
    struct stat info;
    if (fstatat(f->folder, f->second, &info, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT;
    if (!S_ISREG(info.st_mode))
        return unlinkat(f->folder, f->second, 0) == 0;
    const int fd = openat(f->folder, f->second, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT;
    f->busy = flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    const bool removed = !f->busy && (is_named(f, fd) ? unlinkat(f->folder, f->second, 0) == 0 : is_outrun());
    const int number = errno;
    (void)close(fd);
    errno = number;
    return removed;
}

bool hearth_new_file_open(struct hearth_new_file *f, int folder, const char *name)
{
    *f = (struct hearth_new_file){.folder = folder, .fd = -1, .doing = "create"};
    errno = ENAMETOOLONG;
    if (snprintf(f->name, sizeof f->name, "%s", name) >= (int)sizeof f->name ||
        snprintf(f->second, sizeof f->second, "%s.new", name) >= (int)sizeof f->second)
        return false;
    for (int i = 0; i < TRIES; i++) {
        f->fd = openat(folder, f->second, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (f->fd < 0 && (errno != EEXIST || !remove_left_over(f)))
            return false;
        if (f->fd < 0)
            continue;
        /* Before the lock was ours somebody may have taken the file for a left-over one. */
        const bool ours = flock(f->fd, LOCK_EX | LOCK_NB) == 0 && is_named(f, f->fd);
        f->open = ours || (errno != EWOULDBLOCK && !is_outrun());
        if (f->open)
            return ours;
        (void)close(f->fd);
        f->fd = -1;
    }
    f->busy = true;
    errno = EWOULDBLOCK;
    return false;
}

/* Writing beyond this limit would send a signal that ends the process. */
static bool is_size_allowed(uint64_t bytes)
{
    struct rlimit limit;
    return bytes <= INT64_MAX && getrlimit(RLIMIT_FSIZE, &limit) == 0 &&
           (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= bytes);
}

bool hearth_new_file_reserve(struct hearth_new_file *f, uint64_t bytes)
{
    f->doing = "make room";
    errno = EFBIG;
    return is_size_allowed(bytes) &&
           (fallocate(f->fd, 0, 0, (off_t)bytes) == 0 || errno == EOPNOTSUPP || errno == ENOSYS || errno == EINTR);
}

bool hearth_new_file_write(struct hearth_new_file *f, const void *bytes, uint64_t n, uint64_t offset)
{
    const uint8_t *from = bytes;
    f->doing = "write";
    while (n > 0) {
        const ssize_t put = pwrite(f->fd, from, (size_t)n, (off_t)offset);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            errno = put == 0 ? EIO : errno;
            return false;
        }
        from += put;
        offset += (uint64_t)put;
        n -= (uint64_t)put;
    }
    return true;
}

bool hearth_new_file_synchronize(struct hearth_new_file *f)
{
    f->doing = "synchronize";
    return fsync(f->fd) == 0;
}

bool hearth_new_file_publish(struct hearth_new_file *f)
{
    f->doing = "rename";
    if (renameat(f->folder, f->second, f->folder, f->name) != 0)
        return false;
    f->open = false;
    f->doing = "synchronize the folder";
    return fsync(f->folder) == 0 || errno == EINVAL; /* some file systems cannot */
}

void hearth_new_file_close(struct hearth_new_file *f)
{
    const int number = errno;
    if (f->open)
        (void)unlinkat(f->folder, f->second, 0);
    if (f->fd >= 0)
        (void)close(f->fd);
    f->open = false;
    f->fd = -1;
    errno = number;
}
