/* Topology and machine facts: made-up machines (hwloc's own synthetic ones, exported), made-up cgroup trees, and the real machine.
 */
#include "machine.h"
#include "topology.h"
#include <criterion/criterion.h>
#include <ftw.h>
#include <hwloc.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (1024u * 1024u)

/* ---- A folder of made-up files ---------------------------------------------------------------------------------- */

static char root[256];

static void make_root(void)
{
    const char *base = getenv("TMPDIR");
    (void)snprintf(root, sizeof root, "%s/hearth-topology-XXXXXX", base && *base ? base : P_tmpdir);
    cr_assert(mkdtemp(root));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static void remove_root(void)
{
    (void)nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void put(const char *path, const char *text)
{
    char full[8192];
    cr_assert_lt(snprintf(full, sizeof full, "%s%s", root, path), (int)sizeof full);
    for (char *p = full + strlen(root) + 1; (p = strchr(p, '/')) != NULL; *p++ = '/') {
        *p = '\0';
        (void)mkdir(full, 0700);
    }
    FILE *f = fopen(full, "w");
    cr_assert(f, "cannot write %s", full);
    (void)fputs(text, f);
    (void)fclose(f);
}

/* ---- CPU quota -------------------------------------------------------------------------------------------------- */

TestSuite(quota, .init = make_root, .fini = remove_root);

Test(quota, none_without_files)
{
    cr_expect_eq(hearth_machine_cpu_quota(root), 0);
}

Test(quota, none_when_unlimited)
{
    put("/proc/self/cgroup", "3:cpu,cpuacct:/a\n0::/b\n");
    put("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/b/cpu.max", "max 100000\n");
    cr_expect_eq(hearth_machine_cpu_quota(root), 0);
}

Test(quota, version_1)
{
    put("/proc/self/cgroup", "5:cpuset:/x\n3:cpuacct,cpu:/a\n");
    put("/sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "350000\n");
    put("/sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000\n");
    cr_expect_eq(hearth_machine_cpu_quota(root), 3, "rounded down");
}

Test(quota, version_1_under_the_list_of_controllers)
{
    put("/proc/self/cgroup", "3:cpuacct,cpu:/\n");
    put("/sys/fs/cgroup/cpuacct,cpu/cpu.cfs_quota_us", "200000\n");
    put("/sys/fs/cgroup/cpuacct,cpu/cpu.cfs_period_us", "100000\n");
    cr_expect_eq(hearth_machine_cpu_quota(root), 2);
}

Test(quota, other_controllers_do_not_count)
{
    put("/proc/self/cgroup", "3:cpuset,cpuacct:/a\n2:name=cpu:/a\n");
    put("/sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "100000\n");
    put("/sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000\n");
    cr_expect_eq(hearth_machine_cpu_quota(root), 0);
}

Test(quota, version_2_smallest_of_the_parents)
{
    put("/proc/self/cgroup", "0::/slice/service/task");
    put("/sys/fs/cgroup/slice/service/task/cpu.max", "800000 100000\n");
    put("/sys/fs/cgroup/slice/service/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/slice/cpu.max", "250000 50000\n");
    cr_expect_eq(hearth_machine_cpu_quota(root), 5);
    put("/sys/fs/cgroup/cpu.max", "400000 100000\n");
    cr_expect_eq(hearth_machine_cpu_quota(root), 4, "the mount itself is asked too");
}

Test(quota, version_2_beside_version_1)
{
    put("/proc/self/cgroup", "3:cpu:/\n0::/\n");
    put("/sys/fs/cgroup/unified/cpu.max", "600000 100000\n");
    cr_expect_eq(hearth_machine_cpu_quota(root), 6);
}

Test(quota, at_least_one)
{
    put("/proc/self/cgroup", "0::/a\n");
    put("/sys/fs/cgroup/a/cpu.max", "50000 100000\n");
    cr_expect_eq(hearth_machine_cpu_quota(root), 1);
}

Test(quota, path_of_the_host_falls_back_to_the_mount)
{
    put("/proc/self/cgroup", "0::/docker/0123456789abcdef\n");
    put("/sys/fs/cgroup/cpu.max", "200000 100000\n");
    cr_expect_eq(hearth_machine_cpu_quota(root), 2);
}

Test(quota, path_outside_of_the_namespace)
{
    put("/proc/self/cgroup", "0::/../../other\n");
    put("/sys/fs/cgroup/cpu.max", "300000 100000\n");
    put("/sys/other/cpu.max", "100000 100000\n");
    cr_expect_eq(hearth_machine_cpu_quota(root), 3);
}

Test(quota, damaged_files)
{
    static const char *const bad[] = {"", "\n", "max", "100000", "100000 0", "abc def", "-5 100000", "1e5 100000"};
    put("/proc/self/cgroup", "\n:\n::\n1:cpu\n0::\n0::relative\n0::/a\n");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        put("/sys/fs/cgroup/a/cpu.max", bad[i]);
        cr_expect_eq(hearth_machine_cpu_quota(root), 0, "'%s'", bad[i]);
    }
    put("/sys/fs/cgroup/a/cpu.max", "99999999999999999999999999 100000\n");
    cr_expect_gt(hearth_machine_cpu_quota(root), 1024, "too large is as good as none");
}

/* The rest of a line that does not fit must not be taken for a line of its own, wherever it is cut. */
Test(quota, long_lines_are_passed_over)
{
    put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "100000\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/a/cpu.max", "700000 100000\n");
    for (size_t shift = 0; shift < 8; shift++) {
        char text[20000] = "xxxxxxx";
        size_t n = shift;
        while (n < 15000)
            n += (size_t)snprintf(text + n, sizeof text - n, "3:cpu:/b");
        (void)snprintf(text + n, sizeof text - n, "\n0::/a\n");
        put("/proc/self/cgroup", text);
        cr_expect_eq(hearth_machine_cpu_quota(root), 7, "shift %zu", shift);
    }
}

/* ---- Available memory ------------------------------------------------------------------------------------------- */

TestSuite(memory, .init = make_root, .fini = remove_root);

static void put_meminfo(void)
{
    put("/proc/meminfo", "MemTotal:       8000000 kB\nMemFree:         100000 kB\nMemAvailable:   4000000 kB\n");
}

Test(memory, of_the_machine)
{
    put_meminfo();
    cr_expect_eq(hearth_machine_available_memory(root), UINT64_C(4000000) * 1024);
}

Test(memory, version_1_counts_file_pages_as_free)
{
    put_meminfo();
    put("/proc/self/cgroup", "4:memory:/a/b\n");
    put("/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "9223372036854771712\n");
    put("/sys/fs/cgroup/memory/a/b/memory.usage_in_bytes", "12345\n");
    put("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1000000000\n");
    put("/sys/fs/cgroup/memory/a/memory.usage_in_bytes", "700000000\n");
    cr_expect_eq(hearth_machine_available_memory(root), 300000000);
    put("/sys/fs/cgroup/memory/a/memory.stat", "cache 600000000\ninactive_file 1\nactive_file 2\ntotal_cache "
                                               "9\ntotal_inactive_file 200000000\ntotal_active_file 100000000\n");
    cr_expect_eq(hearth_machine_available_memory(root), 600000000);
}

Test(memory, version_2)
{
    put_meminfo();
    put("/proc/self/cgroup", "0::/a\n");
    put("/sys/fs/cgroup/a/memory.max", "max\n");
    put("/sys/fs/cgroup/a/memory.current", "5000\n");
    cr_expect_eq(hearth_machine_available_memory(root), UINT64_C(4000000) * 1024);
    put("/sys/fs/cgroup/a/memory.max", "1000000\n");
    cr_expect_eq(hearth_machine_available_memory(root), 995000);
    put("/sys/fs/cgroup/a/memory.stat", "anon 1000\nfile 4000\ninactive_file 3000\nactive_file 500\ninactive_file_x 7\n");
    cr_expect_eq(hearth_machine_available_memory(root), 998500);
    put("/sys/fs/cgroup/a/memory.current", "1000\n");
    cr_expect_eq(hearth_machine_available_memory(root), 1000000, "never more than the limit");
    put("/sys/fs/cgroup/a/memory.current", "2000000\n");
    cr_expect_eq(hearth_machine_available_memory(root), 0, "never below nothing");
}

Test(memory, usage_unknown)
{
    put_meminfo();
    put("/proc/self/cgroup", "0::/a\n");
    put("/sys/fs/cgroup/a/memory.max", "1000000\n");
    cr_expect_eq(hearth_machine_available_memory(root), 1000000);
}

Test(memory, the_default_cap_leaves_a_margin)
{
    cr_expect_eq(hearth_machine_default_cap(0), 0);
    cr_expect_eq(hearth_machine_default_cap(100 * MIB), 50 * MIB, "never more than a half");
    cr_expect_eq(hearth_machine_default_cap(1024 * MIB), 768 * MIB);
    cr_expect_eq(hearth_machine_default_cap(UINT64_C(16) << 30), UINT64_C(15) << 30);
    cr_expect_eq(hearth_machine_default_cap(UINT64_MAX), UINT64_MAX - UINT64_MAX / 16);
}

Test(memory, of_this_machine)
{
    cr_expect_gt(hearth_machine_available_memory(""), MIB);
    cr_expect_gt(hearth_machine_available_memory(root), MIB, "without /proc the system call serves");
}

Test(memory, private_bytes_follow_what_is_touched)
{
    const size_t size = 8 * MIB;
    const uint64_t before = hearth_machine_private_bytes();
    if (before == 0)
        cr_skip_test("this system has no smaps_rollup");
    char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert(p != MAP_FAILED);
    memset(p, 1, size);
    const uint64_t more = hearth_machine_private_bytes() - before;
    cr_expect(more >= size && more <= size + MIB, "%llu bytes more", (unsigned long long)more);
    (void)munmap(p, size);
}

/* ---- Fork ------------------------------------------------------------------------------------------------------- */

Test(fork, a_child_knows_itself)
{
    void *page = mmap(NULL, HEARTH_FORK_MARK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert(page != MAP_FAILED);
    hearth_machine_fork_mark(page);
    cr_expect(!hearth_machine_forked(page));
    const pid_t child = fork();
    cr_assert(child >= 0);
    if (child == 0)
        _exit(hearth_machine_forked(page) ? 42 : 0);
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 42);
    cr_expect(!hearth_machine_forked(page), "the parent stays what it was");
}

/* ---- Made-up machines ------------------------------------------------------------------------------------------- */

TestSuite(topology, .init = make_root, .fini = remove_root);

static char xml[300];
static uint64_t affinity[HEARTH_PU_WORDS];

static hwloc_topology_t machine_begin(const char *synthetic)
{
    hwloc_topology_t hw;
    cr_assert_eq(hwloc_topology_init(&hw), 0);
    cr_assert_eq(hwloc_topology_set_synthetic(hw, synthetic), 0);
    cr_assert_eq(hwloc_topology_load(hw), 0);
    return hw;
}

static void machine_end(hwloc_topology_t hw)
{
    (void)snprintf(xml, sizeof xml, "%s/machine.xml", root);
    cr_assert_eq(hwloc_topology_export_xml(hw, xml, 0), 0);
    hwloc_topology_destroy(hw);
}

static void allow(uint32_t first, uint32_t last)
{
    for (uint32_t pu = first; pu <= last; pu++)
        affinity[pu / 64] |= UINT64_C(1) << (pu % 64);
}

static struct hearth_topology read_machine(void)
{
    static struct hearth_topology t;
    const struct hearth_topology_source source = {.root = root, .hwloc_xml = xml, .affinity = affinity};
    hearth_error err;
    cr_assert_eq(hearth_topology_read_from(&t, &source, &err), HEARTH_OK);
    return t;
}

static void expect_pus(const struct hearth_topology *t, const uint16_t *pus, uint32_t n)
{
    cr_assert_eq(t->n_pus, n, "%u processors", t->n_pus);
    for (uint32_t i = 0; i < n; i++)
        cr_expect_eq(t->pu[i], pus[i], "place %u: processor %u instead of %u", i, t->pu[i], pus[i]);
}

#define EXPECT_PUS(t, ...)                                                                                                         \
    expect_pus(t, (const uint16_t[]){__VA_ARGS__}, sizeof((const uint16_t[]){__VA_ARGS__}) / sizeof(uint16_t))

Test(topology, one_worker_a_core_and_siblings_last)
{
    machine_end(
        machine_begin("Package:1 L3:1(size=33554432) L2:4(size=1048576) L1d:1(size=49152) Core:1 PU:2(indexes=0,4,1,5,2,6,3,7)"));
    allow(0, 7);
    const struct hearth_topology t = read_machine();
    EXPECT_PUS(&t, 0, 1, 2, 3, 4, 5, 6, 7);
    cr_expect(t.n_cores == 4 && t.n_performance == 4 && t.machine_cores == 4 && t.affinity == 8);
    cr_expect(t.n_packages == 1 && t.n_nodes == 1 && t.quota == 0);
    cr_expect(t.l1d_bytes == 49152 && t.l2_bytes == MIB && t.l3_bytes == 32 * MIB);
}

Test(topology, affinity_takes_cores_and_siblings_away)
{
    machine_end(machine_begin("Package:1 Core:4 PU:2"));
    allow(1, 1); /* the second thread of core 0 */
    allow(4, 5); /* both of core 2 */
    allow(900, 900);
    const struct hearth_topology t = read_machine();
    EXPECT_PUS(&t, 1, 4, 5);
    cr_expect(t.n_cores == 2 && t.machine_cores == 4 && t.affinity == 4);
}

Test(topology, numa_nodes_and_packages)
{
    machine_end(machine_begin("Package:2 [NUMANode] Core:3 PU:1"));
    allow(0, 5);
    struct hearth_topology t = read_machine();
    EXPECT_PUS(&t, 0, 1, 2, 3, 4, 5);
    cr_expect(t.n_packages == 2 && t.n_nodes == 2);
    for (uint32_t i = 0; i < 6; i++)
        cr_expect_eq(t.node[i], i / 3);
    memset(affinity, 0, sizeof affinity);
    allow(4, 5);
    t = read_machine();
    cr_expect(t.n_packages == 1 && t.n_nodes == 1 && t.node[0] == 1 && t.n_cores == 2);
}

static void add_kind(hwloc_topology_t hw, const char *list, int rank, const char *name, const char *value)
{
    hwloc_bitmap_t set = hwloc_bitmap_alloc();
    cr_assert_eq(hwloc_bitmap_list_sscanf(set, list), 0);
    char name_copy[32];
    char value_copy[32];
    (void)snprintf(name_copy, sizeof name_copy, "%s", name);
    (void)snprintf(value_copy, sizeof value_copy, "%s", value);
    struct hwloc_info_s info = {name_copy, value_copy};
    cr_assert_eq(hwloc_cpukinds_register(hw, set, rank, 1, &info, 0), 0);
    hwloc_bitmap_free(set);
}

/* Four efficient cores with one thread come first in number, then two fast ones with two, one of which has a higher clock. */
static void make_hybrid(void)
{
    hwloc_topology_t hw = machine_begin("Package:1 Core:4 PU:2");
    add_kind(hw, "0-3", 0, "CoreType", "IntelAtom");
    add_kind(hw, "4-5", 1, "CoreType", "IntelCore");
    add_kind(hw, "6-7", 2, "CoreType", "IntelCore");
    machine_end(hw);
}

Test(topology, performance_cores_first)
{
    make_hybrid();
    allow(0, 7);
    const struct hearth_topology t = read_machine();
    EXPECT_PUS(&t, 4, 6, 0, 2, 1, 3, 5, 7);
    cr_expect(t.n_performance == 2 && t.n_cores == 4);
    uint32_t n;
    cr_expect(hearth_topology_choose(&t, 0, &n, NULL) == HEARTH_OK && n == 2);
    cr_expect(hearth_topology_choose(&t, 4, &n, NULL) == HEARTH_OK && n == 4);
}

Test(topology, efficient_cores_serve_where_nothing_else_is_allowed)
{
    make_hybrid();
    allow(0, 3);
    const struct hearth_topology t = read_machine();
    EXPECT_PUS(&t, 0, 2, 1, 3);
    cr_expect(t.n_performance == 2 && t.n_cores == 2);
}

Test(topology, a_higher_clock_is_no_other_kind)
{
    hwloc_topology_t hw = machine_begin("Package:1 Core:4 PU:1");
    add_kind(hw, "0-2", 0, "FrequencyMaxMHz", "4500");
    add_kind(hw, "3", 1, "FrequencyMaxMHz", "5700");
    machine_end(hw);
    allow(0, 3);
    const struct hearth_topology t = read_machine();
    EXPECT_PUS(&t, 0, 1, 2, 3);
    cr_expect_eq(t.n_performance, 4);
}

Test(topology, more_cores_than_workers)
{
    machine_end(machine_begin("Package:4 [NUMANode] Core:320 PU:1"));
    allow(0, 1279);
    const struct hearth_topology t = read_machine();
    cr_expect(t.n_pus == 1024 && t.n_cores == 1024 && t.machine_cores == 1280 && t.affinity == 1280);
    cr_expect(t.pu[1023] == 1023 && t.node[1023] == 3 && t.n_nodes == 4);
}

Test(topology, without_hwloc_every_processor_is_a_core)
{
    allow(3, 5);
    (void)snprintf(xml, sizeof xml, "%s/missing.xml", root);
    struct hearth_topology t = read_machine();
    EXPECT_PUS(&t, 3, 4, 5);
    cr_expect(t.n_cores == 3 && t.n_performance == 3 && t.machine_cores == 3 && t.n_nodes == 1 && t.n_packages == 1);
    machine_end(machine_begin("Core:2 PU:1")); /* and where the two have nothing in common */
    t = read_machine();
    EXPECT_PUS(&t, 3, 4, 5);
}

Test(topology, an_empty_mask_is_an_error)
{
    machine_end(machine_begin("Core:2 PU:1"));
    struct hearth_topology t;
    hearth_error err;
    const struct hearth_topology_source source = {.root = root, .hwloc_xml = xml, .affinity = affinity};
    cr_expect_eq(hearth_topology_read_from(&t, &source, &err), HEARTH_E_IO);
    cr_expect_eq(err.code, HEARTH_E_IO);
}

/* ---- Choosing and explaining ------------------------------------------------------------------------------------ */

Test(topology, quota_limits_the_choice)
{
    machine_end(machine_begin("Package:1 Core:4 PU:1"));
    allow(0, 3);
    put("/proc/self/cgroup", "0::/a\n");
    put("/sys/fs/cgroup/a/cpu.max", "290000 100000\n");
    const struct hearth_topology t = read_machine();
    uint32_t n;
    cr_expect(t.quota == 2 && hearth_topology_choose(&t, 0, &n, NULL) == HEARTH_OK && n == 2);
    cr_expect(hearth_topology_choose(&t, 3, &n, NULL) == HEARTH_OK && n == 3, "who asks for more gets it");
    cr_expect(!hearth_topology_oversubscribed(&t, 2) && hearth_topology_oversubscribed(&t, 3));
}

Test(topology, numbers_out_of_range)
{
    const struct hearth_topology t = {.n_pus = 2, .n_cores = 2, .n_performance = 2};
    uint32_t n = 7;
    hearth_error err;
    cr_expect(hearth_topology_choose(&t, 1024, &n, &err) == HEARTH_OK && n == 1024);
    cr_expect(hearth_topology_choose(&t, 1025, &n, &err) == HEARTH_E_CONFIG && n == 1024);
    cr_expect_str_eq(err.message, "threads: too many (got 1025, need at most 1024)");
    cr_expect(hearth_topology_choose(&t, UINT32_MAX, &n, NULL) == HEARTH_E_CONFIG);
    cr_expect(hearth_topology_oversubscribed(&t, 3) && !hearth_topology_oversubscribed(&t, 2));
}

Test(topology, sentences)
{
    struct hearth_topology t = {.n_pus = 2, .n_cores = 2, .n_performance = 2, .affinity = 2, .machine_cores = 2};
    t.n_nodes = t.n_packages = 1, t.l2_bytes = MIB, t.l3_bytes = 32 * MIB;
    char text[HEARTH_TOPOLOGY_TEXT];
    hearth_topology_explain(&t, 2, text);
    cr_expect_str_eq(text,
                     "2 threads on 2 of 2 physical cores (affinity 2, no CPU quota), pinned; L2 1 MiB, L3 32 MiB; 1 NUMA node");
    t.quota = 3, t.n_cores = 6, t.n_performance = 4, t.machine_cores = 8, t.n_nodes = 2, t.l2_bytes = 1280 * 1024, t.l3_bytes = 0;
    hearth_topology_explain(&t, 1, text);
    cr_expect_str_eq(
        text, "1 thread on 1 of 8 physical cores (4 of them fast, affinity 2, CPU quota 3), pinned; L2 1280 KiB, L3 unknown; "
              "2 NUMA nodes");
    t.n_performance = t.n_cores = t.n_nodes = t.machine_cores = t.affinity = t.quota = UINT32_MAX,
    t.l2_bytes = t.l3_bytes = UINT64_MAX;
    t.n_performance--, t.n_pus = 1;
    hearth_topology_explain(&t, UINT32_MAX, text);
    cr_expect(strstr(text, "more threads than processors") && strstr(text, "NUMA nodes"), "room for the longest: %s", text);
}

/* ---- The real machine ------------------------------------------------------------------------------------------- */

Test(topology, of_this_machine_leaves_the_binding_alone)
{
    cpu_set_t before;
    cpu_set_t after;
    cr_assert_eq(sched_getaffinity(0, sizeof before, &before), 0);
    struct hearth_topology t;
    hearth_error err;
    cr_assert_eq(hearth_topology_read(&t, &err), HEARTH_OK);
    cr_assert_eq(sched_getaffinity(0, sizeof after, &after), 0);
    cr_expect(CPU_EQUAL(&before, &after));
    cr_expect_eq(t.affinity, (uint32_t)CPU_COUNT(&before));
    cr_expect(t.n_pus >= t.n_cores && t.n_cores >= t.n_performance && t.n_performance >= 1 && t.n_nodes >= 1 && t.n_packages >= 1);
    for (uint32_t i = 0; i < t.n_pus; i++) {
        cr_expect(CPU_ISSET(t.pu[i], &before), "processor %u is not ours", t.pu[i]);
        for (uint32_t k = 0; k < i; k++)
            cr_expect_neq(t.pu[k], t.pu[i]);
    }
    uint32_t n;
    cr_expect(hearth_topology_choose(&t, 0, &n, &err) == HEARTH_OK && n >= 1 && n <= t.n_performance);
}

Test(topology, follows_the_mask_of_the_calling_thread)
{
    cpu_set_t set;
    cr_assert_eq(sched_getaffinity(0, sizeof set, &set), 0);
    size_t last = 0;
    for (size_t pu = 0; pu < CPU_SETSIZE; pu++)
        last = CPU_ISSET(pu, &set) ? pu : last;
    CPU_ZERO(&set);
    CPU_SET(last, &set);
    cr_assert_eq(sched_setaffinity(0, sizeof set, &set), 0);
    struct hearth_topology t;
    cr_assert_eq(hearth_topology_read(&t, NULL), HEARTH_OK);
    cr_expect(t.affinity == 1 && t.n_pus == 1 && t.n_cores == 1 && t.pu[0] == last);
}
