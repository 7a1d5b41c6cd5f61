/* A half-written file must never stand under the name that was asked for, so it is written beside it and renamed at the end. */
#include "target.h"

#include "report.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Follow links to a plain file, so that the file they lead to is replaced as a whole and the links stay. */
static void follow_links(struct target *target)
{
    struct stat found;
    if (lstat(target->name, &found) == 0 && S_ISLNK(found.st_mode) && stat(target->name, &found) == 0 && S_ISREG(found.st_mode) &&
        realpath(target->name, target->followed))
        target->name = target->followed;
}

hearth_status target_open(struct target *target, hearth_error *error)
{
    struct stat found;
    follow_links(target);
    if (target->name[0] == '\0') { /* the temporary name would be a good one */
        errno = ENOENT;
        return report_errno(error, target->name, "create");
    }
    if (lstat(target->name, &found) == 0 && !S_ISREG(found.st_mode)) {
        target->fd = open(target->name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        return target->fd >= 0 ? HEARTH_OK : report_errno(error, target->name, "open");
    }
    const int n = snprintf(target->temporary, sizeof target->temporary, "%s.XXXXXX", target->name);
    target->fd = n > 0 && (size_t)n < sizeof target->temporary ? mkostemp(target->temporary, O_CLOEXEC) : -1;
    if (target->fd >= 0)
        return HEARTH_OK;
    target->temporary[0] = '\0';
    return report_errno(error, target->name, "create");
}

hearth_status target_publish(struct target *target, hearth_error *error)
{
    const mode_t mask = umask(0);
    (void)umask(mask);
    if (target->temporary[0] && fchmod(target->fd, 0666 & ~mask) != 0)
        return report_errno(error, target->name, "set mode");
    if (target->temporary[0] &&
        fsync(target->fd) != 0) /* before the name: after a power cut there is the old file or the new one */
        return report_errno(error, target->name, "write");
    const int fd = target->fd;
    target->fd = -1;
    if (close(fd) != 0)
        return report_errno(error, target->name, "close");
    if (target->temporary[0] && rename(target->temporary, target->name) != 0)
        return report_errno(error, target->name, "rename");
    target->temporary[0] = '\0';
    return HEARTH_OK;
}

void target_close(struct target *target)
{
    if (target->fd >= 0)
        (void)close(target->fd);
    target->fd = -1;
    if (target->temporary[0])
        (void)unlink(target->temporary);
    target->temporary[0] = '\0';
}
