/* What the system's settings mean for running models: facts, and what to change. The files asked stand below `root`, "" on a real
 * machine, a made-up tree in tests. */
#ifndef HEARTH_TOOLS_DOCTOR_H
#define HEARTH_TOOLS_DOCTOR_H

#include "common/attributes.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DOCTOR_FINDINGS_MAX 32
#define DOCTOR_TEXT_MAX 360

struct doctor_finding {
    const char *subject;
    char fact[DOCTOR_TEXT_MAX];
    char advice[DOCTOR_TEXT_MAX]; /* empty: all is well */
};

struct doctor {
    const char *root;
    size_t n;
    struct doctor_finding findings[DOCTOR_FINDINGS_MAX];
};

/* A new finding; past DOCTOR_FINDINGS_MAX the last one again. */
struct doctor_finding *doctor_add(struct doctor *doctor, const char *subject);
HEARTH_PRINTF(2, 3) void doctor_fact(struct doctor_finding *finding, const char *format, ...);
HEARTH_PRINTF(2, 3) void doctor_advice(struct doctor_finding *finding, const char *format, ...);

/* Each adds one finding. */
void doctor_cores(struct doctor *doctor);      /* affinity and quota against what there is */
void doctor_clock(struct doctor *doctor);      /* governor, preference, boost */
void doctor_load(struct doctor *doctor);       /* what else runs */
void doctor_memory(struct doctor *doctor);     /* available, of cgroup and machine */
void doctor_limits(struct doctor *doctor);     /* overcommit, and the limits of this process */
void doctor_huge_pages(struct doctor *doctor); /* transparent ones, and those put aside */
void doctor_numa(struct doctor *doctor);       /* nothing where there is one node */
/* A folder for private files, which need not exist yet; made: by the program, when it is needed. */
void doctor_folder(struct doctor *doctor, const char *subject, const char *path);
/* The counters that `hearth bench` tells energy by. Not being able to read them is no fault. */
void doctor_energy(struct doctor *doctor, const char *powercap);

#endif
