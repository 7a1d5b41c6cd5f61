/* What this CPU and operating system can run. */
#ifndef HEARTH_KERNELS_CPU_H
#define HEARTH_KERNELS_CPU_H

#include "kernels.h"

/* Read with CPUID and XGETBV: the highest level whose instructions exist and whose registers the system saves. */
enum hearth_cpu_level hearth_cpu_detect(void);
/* Whether this CPU and operating system run rows of `level`. Not the same as level <= detect(): AVX-512 with VNNI came before
 * AVX-VNNI, so avx512 may run where avxvnni does not. */
bool hearth_cpu_runs(enum hearth_cpu_level level);
/* "reference", "avx2", "avxvnni", "avx512". */
const char *hearth_cpu_level_name(enum hearth_cpu_level level);
/* The level of a name; false when there is none of it. */
bool hearth_cpu_level_parse(enum hearth_cpu_level *out, const char *name);
/* The processor's brand string, trimmed; at most 48 characters and the NUL. */
void hearth_cpu_brand(char out[49]);

#endif
