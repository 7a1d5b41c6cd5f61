/* Folders that a test has made. */
#ifndef HEARTH_TESTS_FOLDER_H
#define HEARTH_TESTS_FOLDER_H

/* Remove the files in it, hidden ones too; not folders. */
void folder_empty(const char *path);
/* The same, and the folder. */
void folder_remove(const char *path);

#endif
