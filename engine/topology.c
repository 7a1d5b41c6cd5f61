/* The one door to hwloc; see topology.h. */
#include "topology.h"
#include "common/status.h"
#include "machine.h"
#include <errno.h>
#include <hwloc.h>
#include <sched.h>
#include <unistd.h>

#define MIB (1024u * 1024u)

static bool mask_has(const uint64_t *mask, uint32_t pu)
{
    return pu < HEARTH_PU_MAX && (mask[pu / 64] >> (pu % 64) & 1) != 0;
}

static uint32_t mask_count(const uint64_t *mask)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < HEARTH_PU_WORDS; i++)
        n += (uint32_t)__builtin_popcountll(mask[i]);
    return n;
}

static bool add_pu(struct hearth_topology *t, uint32_t pu, uint32_t node)
{
    if (t->n_pus == HEARTH_WORKERS_MAX)
        return false;
    t->pu[t->n_pus] = (uint16_t)pu; /* below HEARTH_PU_MAX */
    t->node[t->n_pus++] = (uint16_t)node;
    return true;
}

/* Without hwloc's knowledge: every allowed processor is a core. */
static void read_plain(struct hearth_topology *t, const uint64_t *mask)
{
    t->n_pus = 0;
    for (uint32_t pu = 0; pu < HEARTH_PU_MAX; pu++)
        if (mask_has(mask, pu) && !add_pu(t, pu, 0))
            break;
    t->n_cores = t->n_performance = t->n_pus;
    t->machine_cores = t->affinity;
    t->n_packages = t->n_nodes = 1;
    t->l1d_bytes = t->l2_bytes = t->l3_bytes = 0;
}

static hwloc_obj_t ancestor(hwloc_obj_t o, hwloc_obj_type_t type)
{
    while (o && o->type != type)
        o = o->parent;
    return o;
}

static uint64_t cache_bytes(hwloc_obj_t pu, hwloc_obj_type_t type)
{
    const hwloc_obj_t cache = ancestor(pu, type);
    return cache ? cache->attr->cache.size : 0;
}

/* The NUMA node with the lowest number whose processors include this one; memory without processors is passed over. */
static uint32_t node_of(hwloc_topology_t hw, hwloc_obj_t pu)
{
    uint32_t best = UINT32_MAX;
    for (hwloc_obj_t n = NULL; (n = hwloc_get_next_obj_by_type(hw, HWLOC_OBJ_NUMANODE, n)) != NULL;)
        if (n->cpuset && hwloc_bitmap_isset(n->cpuset, pu->os_index) && n->os_index < best)
            best = n->os_index;
    return best <= UINT16_MAX ? best : 0;
}

/* The type of the cores of a kind ("IntelCore", "IntelAtom"), or NULL. hwloc also makes kinds of cores that differ only in their
 * highest clock; those do the same work and are no reason to leave a core idle, so the type alone counts. */
static const char *kind_type(hwloc_topology_t hw, int kind)
{
    unsigned n_infos = 0;
    struct hwloc_info_s *infos = NULL;
    int rank = -1;
    if (kind < 0 || hwloc_cpukinds_get_info(hw, (unsigned)kind, NULL, &rank, &n_infos, &infos, 0) != 0 || rank < 0)
        return NULL;
    for (unsigned i = 0; i < n_infos; i++)
        if (strcmp(infos[i].name, "CoreType") == 0)
            return infos[i].value;
    return NULL;
}

static int kind_of(hwloc_topology_t hw, hwloc_obj_t pu)
{
    return hwloc_cpukinds_get_by_cpuset(hw, pu->cpuset, 0);
}

/* The type of the fastest cores among those allowed; kinds are numbered from slow to fast. NULL: all are alike. */
static const char *best_type(hwloc_topology_t hw, const uint64_t *mask)
{
    int best = -1;
    for (hwloc_obj_t pu = NULL; (pu = hwloc_get_next_obj_by_type(hw, HWLOC_OBJ_PU, pu)) != NULL;)
        if (mask_has(mask, pu->os_index) && kind_of(hw, pu) > best)
            best = kind_of(hw, pu);
    return kind_type(hw, best);
}

static bool is_performance(hwloc_topology_t hw, hwloc_obj_t pu, const char *best)
{
    if (!best)
        return true;
    const char *type = kind_type(hw, kind_of(hw, pu));
    return type && strcmp(type, best) == 0;
}

enum pass { PERFORMANCE_CORES, OTHER_CORES, SIBLINGS };

/* Append the processors of one pass. Those of a core are neighbours in hwloc's order, so the first allowed one of each stands for
 * it; where hwloc knows no cores, each processor is one. */
static void add_pass(struct hearth_topology *t, hwloc_topology_t hw, const uint64_t *mask, const char *best, enum pass pass)
{
    hwloc_obj_t last_core = NULL;
    for (hwloc_obj_t pu = NULL; (pu = hwloc_get_next_obj_by_type(hw, HWLOC_OBJ_PU, pu)) != NULL;) {
        if (!mask_has(mask, pu->os_index))
            continue;
        const hwloc_obj_t core = ancestor(pu, HWLOC_OBJ_CORE);
        const bool first = !core || core != last_core;
        last_core = core;
        const enum pass own = !first ? SIBLINGS : is_performance(hw, pu, best) ? PERFORMANCE_CORES : OTHER_CORES;
        if (own == pass && !add_pu(t, pu->os_index, node_of(hw, pu)))
            return;
    }
}

/* NUMA nodes among the cores in use, by comparing each with those before it. */
static uint32_t count_nodes(const struct hearth_topology *t)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->n_cores; i++) {
        bool seen = false;
        for (uint32_t k = 0; k < i && !seen; k++)
            seen = t->node[k] == t->node[i];
        n += !seen;
    }
    return n;
}

static uint32_t count_packages(hwloc_topology_t hw, const uint64_t *mask)
{
    uint32_t n = 0;
    hwloc_obj_t last = NULL;
    for (hwloc_obj_t pu = NULL; (pu = hwloc_get_next_obj_by_type(hw, HWLOC_OBJ_PU, pu)) != NULL;) {
        const hwloc_obj_t package = mask_has(mask, pu->os_index) ? ancestor(pu, HWLOC_OBJ_PACKAGE) : NULL;
        if (!package || package == last)
            continue;
        last = package;
        n++;
    }
    return n > 0 ? n : 1;
}

static void read_caches(struct hearth_topology *t, hwloc_topology_t hw)
{
    const hwloc_obj_t pu = hwloc_get_pu_obj_by_os_index(hw, t->pu[0]);
    t->l1d_bytes = cache_bytes(pu, HWLOC_OBJ_L1CACHE);
    t->l2_bytes = cache_bytes(pu, HWLOC_OBJ_L2CACHE);
    t->l3_bytes = cache_bytes(pu, HWLOC_OBJ_L3CACHE);
}

/* Copy what we need out of a loaded hwloc; false when it and the mask have no processor in common. */
static bool export(struct hearth_topology *t, hwloc_topology_t hw, const uint64_t *mask)
{
    const char *best = best_type(hw, mask);
    add_pass(t, hw, mask, best, PERFORMANCE_CORES);
    t->n_performance = t->n_pus;
    add_pass(t, hw, mask, best, OTHER_CORES);
    t->n_cores = t->n_pus;
    add_pass(t, hw, mask, best, SIBLINGS);
    if (t->n_pus == 0)
        return false;
    const int cores = hwloc_get_nbobjs_by_type(hw, HWLOC_OBJ_CORE);
    const int pus = hwloc_get_nbobjs_by_type(hw, HWLOC_OBJ_PU);
    t->machine_cores = (uint32_t)(cores > 0 ? cores : pus);
    t->n_packages = count_packages(hw, mask);
    t->n_nodes = count_nodes(t);
    read_caches(t, hw);
    return true;
}

/* Processors outside of our cpuset are asked for too, so that "2 of 64 cores" can be said; the mask decides which are used. Without
 * DONT_CHANGE_BINDING hwloc would move the calling thread from processor to processor. */
static bool read_hwloc(struct hearth_topology *t, const char *xml, const uint64_t *mask)
{
    hwloc_topology_t hw;
    if (hwloc_topology_init(&hw) != 0)
        return false;
    const unsigned long flags = HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED | HWLOC_TOPOLOGY_FLAG_DONT_CHANGE_BINDING;
    const bool loaded =
        hwloc_topology_set_flags(hw, flags) == 0 && (!xml || hwloc_topology_set_xml(hw, xml) == 0) && hwloc_topology_load(hw) == 0;
    const bool useful = loaded && export(t, hw, mask);
    hwloc_topology_destroy(hw);
    return useful;
}

/* Where /sys is not mounted, as in a bare chroot, hwloc would tell standard error about it. It looks in these two places. */
static bool machine_is_described(void)
{
    return access("/sys/devices/system/cpu/cpu0/topology", F_OK) == 0 || access("/sys/bus/cpu/devices/cpu0/topology", F_OK) == 0;
}

hearth_status hearth_topology_read_from(struct hearth_topology *out, const struct hearth_topology_source *source, hearth_error *err)
{
    *out = (struct hearth_topology){0};
    uint64_t mask[HEARTH_PU_WORDS] = {0};
    if (source->affinity)
        memcpy(mask, source->affinity, sizeof mask);
    else if (sched_getaffinity(0, sizeof mask, (cpu_set_t *)(void *)mask) != 0)
        return hearth_fail(err, HEARTH_E_IO, NULL, "threads: affinity mask: the system does not tell it (error %d)", errno);
    out->affinity = mask_count(mask);
    if (out->affinity == 0)
        return hearth_fail(err, HEARTH_E_IO, NULL, "threads: affinity mask: empty");
    out->quota = hearth_machine_cpu_quota(source->root ? source->root : "");
    const bool described = source->hwloc_xml || machine_is_described();
    if (!described || !read_hwloc(out, source->hwloc_xml, mask))
        read_plain(out, mask);
    return HEARTH_OK;
}

hearth_status hearth_topology_read(struct hearth_topology *out, hearth_error *err)
{
    return hearth_topology_read_from(out, &(struct hearth_topology_source){0}, err);
}

hearth_status hearth_topology_choose(const struct hearth_topology *t, uint32_t wanted, uint32_t *n, hearth_error *err)
{
    if (wanted > HEARTH_WORKERS_MAX)
        return hearth_fail(err, HEARTH_E_CONFIG, NULL, "threads: too many (got %" PRIu32 ", need at most %u)", wanted,
                           HEARTH_WORKERS_MAX);
    *n = wanted;
    if (wanted == 0)
        *n = t->quota > 0 && t->quota < t->n_performance ? t->quota : t->n_performance;
    return HEARTH_OK;
}

/* "32 MiB", "48 KiB", or "unknown". */
static void format_cache(char out[32], uint64_t bytes)
{
    if (bytes == 0)
        (void)snprintf(out, 32, "unknown");
    else if (bytes % MIB == 0)
        (void)snprintf(out, 32, "%" PRIu64 " MiB", bytes / MIB);
    else
        (void)snprintf(out, 32, "%" PRIu64 " KiB", bytes / 1024);
}

void hearth_topology_explain(const struct hearth_topology *t, uint32_t workers, char out[HEARTH_TOPOLOGY_TEXT])
{
    char l2[32];
    char l3[32];
    char kinds[48] = "";
    char quota[48] = "no CPU quota";
    format_cache(l2, t->l2_bytes);
    format_cache(l3, t->l3_bytes);
    if (t->n_performance < t->n_cores)
        (void)snprintf(kinds, sizeof kinds, "%" PRIu32 " of them fast, ", t->n_performance);
    if (t->quota > 0)
        (void)snprintf(quota, sizeof quota, "CPU quota %" PRIu32, t->quota);
    const uint32_t used = workers < t->n_cores ? workers : t->n_cores;
    (void)snprintf(out, HEARTH_TOPOLOGY_TEXT,
                   "%" PRIu32 " thread%s on %" PRIu32 " of %" PRIu32 " physical core%s (%saffinity %" PRIu32 ", %s), pinned%s; "
                   "L2 %s, L3 %s; %" PRIu32 " NUMA node%s",
                   workers, workers == 1 ? "" : "s", used, t->machine_cores, t->machine_cores == 1 ? "" : "s", kinds, t->affinity,
                   quota, hearth_topology_oversubscribed(t, workers) ? ", more threads than processors" : "", l2, l3, t->n_nodes,
                   t->n_nodes == 1 ? "" : "s");
}
