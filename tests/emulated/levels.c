/* In programs linked with --wrap=hearth_cpu_runs, and with kernels compiled against the emulation beside this file: levels above
 * AVX2 run wherever AVX2 does. Detection is left alone, so that those levels are taken only where HEARTH_CPU or a test asks. With
 * HEARTH_EMULATION=needed such a program does nothing on a CPU that runs every level itself. */
#include "cpu.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool __real_hearth_cpu_runs(enum hearth_cpu_level level);
bool __wrap_hearth_cpu_runs(enum hearth_cpu_level level);

bool __wrap_hearth_cpu_runs(enum hearth_cpu_level level)
{
    return __real_hearth_cpu_runs(level > HEARTH_CPU_AVX2 ? HEARTH_CPU_AVX2 : level);
}

__attribute__((constructor)) static void leave_where_not_needed(void)
{
    const char *when = getenv("HEARTH_EMULATION");
    if (!when || strcmp(when, "needed") != 0)
        return;
    for (int level = 0; level < HEARTH_CPU_LEVEL_COUNT; level++)
        if (!__real_hearth_cpu_runs((enum hearth_cpu_level)level))
            return;
    (void)puts("SKIPPED: this CPU runs every level itself; test_registry.emulated looks after the emulation");
    (void)fflush(stdout);
    _Exit(77);
}
