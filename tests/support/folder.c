/* Folders of tests; see folder.h. */
#include "folder.h"
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

void folder_empty(const char *path)
{
    DIR *d = opendir(path);
    for (struct dirent *entry; d && (entry = readdir(d)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            (void)unlinkat(dirfd(d), entry->d_name, 0);
    if (d)
        (void)closedir(d);
}

void folder_remove(const char *path)
{
    folder_empty(path);
    (void)rmdir(path);
}
