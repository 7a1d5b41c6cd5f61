/* Files that are whole or not there: written under a second name, "NAME.new" beside the first, locked, synchronized, renamed. A
 * process that dies on the way leaves the old file as it was; what it wrote under the second name is removed by the next writer. */
#ifndef HEARTH_ENGINE_NEW_FILE_H
#define HEARTH_ENGINE_NEW_FILE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct hearth_new_file {
    int folder, fd;          /* the folder is the caller's */
    char name[NAME_MAX + 1]; /* the first name */
    char second[NAME_MAX + 1];
    bool open;         /* the second name is ours, and will be removed */
    bool busy;         /* another process is writing this file */
    const char *doing; /* static text: what the last call that failed was doing */
};

/* All functions that return bool: false with errno, and `doing`. Nothing but hearth_new_file_close() is called after that. */

/* Create the second name in an open folder, mode 0600. Any file may be closed. */
bool hearth_new_file_open(struct hearth_new_file *file, int folder, const char *name);
/* Make room for a file of so many bytes, where the system can tell beforehand that there is none. */
bool hearth_new_file_reserve(struct hearth_new_file *file, uint64_t bytes);
bool hearth_new_file_write(struct hearth_new_file *file, const void *bytes, uint64_t n, uint64_t offset);
/* Wait until all of it is on the disk; never tried again when it fails, because the system then may have dropped pages. */
bool hearth_new_file_synchronize(struct hearth_new_file *file);
/* Give it its first name, in place of what has that. */
bool hearth_new_file_publish(struct hearth_new_file *file);
/* Close it and remove the second name, if it still has that. Keeps errno. */
void hearth_new_file_close(struct hearth_new_file *file);

/* Why a file is not one that this user alone can have written; NULL when it is. */
const char *hearth_file_distrust(const struct stat *info);

#endif
