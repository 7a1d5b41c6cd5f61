/* A file to write that gets its name only when it is complete. */
#ifndef HEARTH_TOOLS_TARGET_H
#define HEARTH_TOOLS_TARGET_H

#include "hearth.h"

#define TARGET_PATH_BYTES_MAX 4096

/* What is not a plain file (a pipe, /dev/null) is written directly. Begin with {.name = name, .fd = -1}. */
struct target {
    const char *name;
    char temporary[TARGET_PATH_BYTES_MAX]; /* empty when written directly */
    char followed[TARGET_PATH_BYTES_MAX];  /* the name, where the given one is a link */
    int fd;                                /* -1 when closed */
};

hearth_status target_open(struct target *target, hearth_error *error);
/* Give the file its name. */
hearth_status target_publish(struct target *target, hearth_error *error);
/* After a failure remove what was begun; after publishing nothing is left to do. */
void target_close(struct target *target);

#endif
