/* Which CPUs the workers run on, and how large the caches are: the one door to hwloc.
 *
 * hwloc is loaded once, with bindings left alone, copied into the plain struct below, and destroyed at once: nothing of it stays.
 * What it finds is limited by the affinity mask of the calling thread and by the CPU quota of the cgroup. */
#ifndef HEARTH_ENGINE_TOPOLOGY_H
#define HEARTH_ENGINE_TOPOLOGY_H

#include "hearth.h"

#define HEARTH_WORKERS_MAX 1024u
#define HEARTH_PU_MAX 8192u /* processor numbers that an affinity mask holds; Linux allows no more */
#define HEARTH_PU_WORDS (HEARTH_PU_MAX / 64)

/* Processors in the order in which workers take them: one hardware thread of each performance core [0, n_performance), one of each
 * other core [n_performance, n_cores), then the remaining hardware threads of the same cores [n_cores, n_pus). */
struct hearth_topology {
    uint32_t n_pus;         /* entries of pu and node; at least 1 */
    uint32_t n_cores;       /* physical cores we may use; at least 1 */
    uint32_t n_performance; /* of these, performance cores; all of them where the CPU has one kind */
    uint32_t affinity;      /* processors in the affinity mask */
    uint32_t machine_cores; /* physical cores of the machine, allowed or not */
    uint32_t quota;         /* whole CPUs of the cgroup quota, at least 1; 0: none */
    uint32_t n_packages;    /* of the cores we may use, at least 1 */
    uint32_t n_nodes;       /* NUMA nodes of the cores we may use, at least 1 */
    uint64_t l1d_bytes;     /* caches as the first core sees them; 0: unknown */
    uint64_t l2_bytes;
    uint64_t l3_bytes;
    uint16_t pu[HEARTH_WORKERS_MAX];   /* the system's number of the processor */
    uint16_t node[HEARTH_WORKERS_MAX]; /* the system's number of its NUMA node */
};

/* Where the facts come from; all zero: this machine. Tests fill it in. */
struct hearth_topology_source {
    const char *root;         /* in front of /proc and /sys/fs/cgroup; NULL: "" */
    const char *hwloc_xml;    /* a topology that hwloc exported; NULL: this machine */
    const uint64_t *affinity; /* HEARTH_PU_WORDS words, bit i % 64 of word i / 64 is processor i; NULL: the calling thread's mask */
};

/* E_IO when the system refuses to tell the affinity mask. Where hwloc knows nothing, every allowed processor counts as a core.
 * Some milliseconds; hwloc takes memory from the heap and gives it back. */
hearth_status hearth_topology_read(struct hearth_topology *out, hearth_error *err);
hearth_status hearth_topology_read_from(struct hearth_topology *out, const struct hearth_topology_source *source,
                                        hearth_error *err);

/* How many workers: `wanted`, or with 0 one for each performance core within affinity and quota. More than there are processors is
 * allowed (worker w runs on pu[w % n_pus]); more than HEARTH_WORKERS_MAX is E_CONFIG. */
hearth_status hearth_topology_choose(const struct hearth_topology *t, uint32_t wanted, uint32_t *n, hearth_error *err);

/* "2 threads on 2 of 2 physical cores (affinity 2, no CPU quota), pinned; L2 1 MiB, L3 32 MiB; 1 NUMA node" */
#define HEARTH_TOPOLOGY_TEXT 320
void hearth_topology_explain(const struct hearth_topology *t, uint32_t workers, char out[HEARTH_TOPOLOGY_TEXT]);

/* Whether this many threads outnumber the processors or the quota, so that waiting by spinning takes time from those waited for. */
static inline bool hearth_topology_oversubscribed(const struct hearth_topology *t, uint32_t threads)
{
    return threads > t->n_pus || (t->quota > 0 && threads > t->quota);
}

#endif
