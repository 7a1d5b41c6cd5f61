/* hearth bench --compare: two results side by side. */
#ifndef HEARTH_TOOLS_BENCH_COMPARE_H
#define HEARTH_TOOLS_BENCH_COMPARE_H

#include "options.h"

#define BENCH_SLOWER_EXIT 1

/* Compare the two files of options->compare, JSON of bench, row by row. Returns the exit code: 0; BENCH_SLOWER_EXIT when something
 * became slower beyond the noise; that of an error. */
int bench_compare(const struct options *options);

#endif
