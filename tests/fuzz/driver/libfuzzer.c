/* The target under libFuzzer: before it looks for its corpus, the beginnings are written into the folder HEARTH_FUZZ_SEEDS. */
#include "fuzz.h"
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);

void fuzz_seed(const void *bytes, size_t n)
{
    static unsigned count;
    char path[4096];
    const char *folder = getenv("HEARTH_FUZZ_SEEDS");
    if (!folder)
        return;
    (void)snprintf(path, sizeof path, "%s/seed-%03u", folder, count++);
    FILE *file = fopen(path, "wb");
    const bool written = file && fwrite(bytes, 1, n, file) == n;
    fuzz_need(file && fclose(file) == 0 && written, "%s: cannot be written", path);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    fuzz_start();
    return 0;
}
