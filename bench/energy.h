/* Energy that the processor packages have taken, as Linux counts it (powercap: RAPL on Intel and AMD). The counters are those of
 * whole packages: what else runs there is counted too. */
#ifndef HEARTH_BENCH_ENERGY_H
#define HEARTH_BENCH_ENERGY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEARTH_ENERGY_PACKAGES_MAX 16

struct hearth_energy {
    uint32_t n; /* packages; 0: energy cannot be told */
    struct {
        char path[320];
        uint64_t range; /* microjoules; the counter starts again at 0 behind it; 0: not told */
    } packages[HEARTH_ENERGY_PACKAGES_MAX];
    const char *source; /* "powercap"; or why there is none: "absent", "permission" */
};

struct hearth_energy_reading {
    bool valid;
    uint64_t microjoules[HEARTH_ENERGY_PACKAGES_MAX];
};

/* Find the counters below `root`; NULL or "": /sys/class/powercap. */
void hearth_energy_open(struct hearth_energy *out, const char *root);
struct hearth_energy_reading hearth_energy_read(const struct hearth_energy *energy);
/* Joules between two readings, NAN where one is missing. A counter may have started again once between them. */
double hearth_energy_between(const struct hearth_energy *energy, const struct hearth_energy_reading *before,
                             const struct hearth_energy_reading *after);

#endif
