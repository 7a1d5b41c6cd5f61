/* hearth bench --svg: a run as one picture. */
#ifndef HEARTH_TOOLS_BENCH_CHART_H
#define HEARTH_TOOLS_BENCH_CHART_H

#include "bench_model.h"
#include "options.h"
#include "target.h"

/* Write the picture of a result into an open target. */
hearth_status bench_chart_write(const struct target *target, const struct options *options, const hearth_engine *engine,
                                const struct hearth_bench_result *result, hearth_error *error);

#endif
