/* In programs linked with --wrap=hearth_cpu_runs, and with kernels compiled against the emulation beside this file: levels above
 * AVX2 run wherever AVX2 does. Detection is left alone, so that those levels are taken only where HEARTH_CPU or a test asks. */
#include "cpu.h"

bool __real_hearth_cpu_runs(enum hearth_cpu_level level);
bool __wrap_hearth_cpu_runs(enum hearth_cpu_level level);

bool __wrap_hearth_cpu_runs(enum hearth_cpu_level level)
{
    return __real_hearth_cpu_runs(level > HEARTH_CPU_AVX2 ? HEARTH_CPU_AVX2 : level);
}
