/* Judging settings; see doctor.h. Only what is known to cost speed or to make opening fail is called a fault, so that somebody who
 * does all that is advised gets a clean bill; what the system does not tell, as in many virtual machines, is passed over. */
#include "doctor.h"

#include "common/status.h"
#include "energy.h"
#include "machine.h"
#include "text.h"
#include "topology.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

enum { PATH_BYTES = 4608, SETTING_BYTES = 8192, GIB = 1 << 30 };

/* ---- Findings -------------------------------------------------------------------------------------------------------- */

struct doctor_finding *doctor_add(struct doctor *doctor, const char *subject)
{
    struct doctor_finding *finding = &doctor->findings[doctor->n < DOCTOR_FINDINGS_MAX ? doctor->n++ : DOCTOR_FINDINGS_MAX - 1];
    *finding = (struct doctor_finding){.subject = subject};
    return finding;
}

void doctor_fact(struct doctor_finding *finding, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(finding->fact, sizeof finding->fact, format, arguments);
    va_end(arguments);
}

void doctor_advice(struct doctor_finding *finding, const char *format, ...)
{
    if (finding->advice[0]) /* the first is the gravest */
        return;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(finding->advice, sizeof finding->advice, format, arguments);
    va_end(arguments);
}

/* ---- Settings -------------------------------------------------------------------------------------------------------- */

/* Read a file of /proc or /sys, its last newline taken away; an empty text where there is none. */
static bool read_setting(const struct doctor *doctor, char out[SETTING_BYTES], const char *path)
{
    char whole[PATH_BYTES];
    out[0] = '\0';
    (void)snprintf(whole, sizeof whole, "%s%s", doctor->root, path);
    const int fd = open(whole, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return false;
    const ssize_t n = read(fd, out, SETTING_BYTES - 1);
    (void)close(fd);
    out[n > 0 ? n : 0] = '\0';
    if (n > 0 && out[n - 1] == '\n')
        out[n - 1] = '\0';
    return n > 0;
}

static bool read_number(const struct doctor *doctor, uint64_t *out, const char *path)
{
    char text[SETTING_BYTES];
    return read_setting(doctor, text, path) && text_parse_unsigned(out, text, UINT64_MAX);
}

/* The bytes behind a name such as "MemTotal:" in /proc/meminfo. */
static bool meminfo(const struct doctor *doctor, uint64_t *out, const char *name)
{
    char text[SETTING_BYTES];
    (void)read_setting(doctor, text, "/proc/meminfo");
    const char *line = strstr(text, name);
    *out = line ? strtoull(line + strlen(name), NULL, 10) * 1024 : 0;
    return line != NULL;
}

/* ---- Processors ------------------------------------------------------------------------------------------------------ */

static bool read_topology(const struct doctor *doctor, struct hearth_topology *out)
{
    const struct hearth_topology_source source = {.root = doctor->root};
    hearth_error unused;
    return hearth_topology_read_from(out, &source, &unused) == HEARTH_OK;
}

void doctor_cores(struct doctor *doctor)
{
    struct doctor_finding *finding = doctor_add(doctor, "cores");
    struct hearth_topology t;
    if (!read_topology(doctor, &t)) {
        doctor_fact(finding, "the system does not tell which processors may be used");
        return;
    }
    char quota[48] = "no CPU quota";
    if (t.quota > 0)
        (void)snprintf(quota, sizeof quota, "a CPU quota of %" PRIu32, t.quota);
    doctor_fact(finding, "%" PRIu32 " of %" PRIu32 " physical cores usable, %s", t.n_cores, t.machine_cores, quota);
    if (t.quota > 0 && t.quota < t.n_cores)
        doctor_advice(finding, "the cgroup's quota leaves cores unused: raise cpu.max (docker run --cpus %" PRIu32 ")", t.n_cores);
    else if (t.n_cores < t.machine_cores)
        doctor_advice(finding, "the affinity mask leaves cores unused: start without taskset, or widen the cpuset");
}

/* Governors that hold the clock down. With their own drivers for the hardware's control, "powersave" is the normal one. */
static bool is_slow(const char *governor, const char *driver, const char *preference)
{
    const bool by_hardware =
        strcmp(driver, "intel_pstate") == 0 || strncmp(driver, "amd-pstate", 10) == 0 || strncmp(driver, "amd_pstate", 10) == 0;
    return strcmp(governor, "conservative") == 0 || (strcmp(governor, "powersave") == 0 && !by_hardware) ||
           strcmp(preference, "power") == 0;
}

static bool boost_is_off(const struct doctor *doctor)
{
    uint64_t value;
    return (read_number(doctor, &value, "/sys/devices/system/cpu/intel_pstate/no_turbo") && value == 1) ||
           (read_number(doctor, &value, "/sys/devices/system/cpu/cpufreq/boost") && value == 0);
}

void doctor_clock(struct doctor *doctor)
{
    struct doctor_finding *finding = doctor_add(doctor, "clock");
    struct hearth_topology t;
    uint32_t told = 0, slow = 0;
    char governor[SETTING_BYTES] = "", driver[SETTING_BYTES] = "", preference[SETTING_BYTES] = "", path[128];
    for (uint32_t i = 0; read_topology(doctor, &t) && i < t.n_cores; i++) {
        (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%u/cpufreq/scaling_governor", t.pu[i]);
        if (!read_setting(doctor, governor, path))
            continue;
        (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%u/cpufreq/scaling_driver", t.pu[i]);
        (void)read_setting(doctor, driver, path);
        (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%u/cpufreq/energy_performance_preference", t.pu[i]);
        (void)read_setting(doctor, preference, path);
        told++;
        slow += is_slow(governor, driver, preference);
    }
    if (told == 0)
        doctor_fact(finding, "not told (a virtual machine?)");
    else
        doctor_fact(finding, "governor %.40s by %.40s%s%.40s", governor, driver, preference[0] ? ", preference " : "", preference);
    if (slow > 0)
        doctor_advice(finding, "the clock of %" PRIu32 " cores is held down: cpupower frequency-set -g performance", slow);
    if (boost_is_off(doctor))
        doctor_advice(finding, "boost is off: turn it on in the firmware, or in /sys/devices/system/cpu");
}

void doctor_load(struct doctor *doctor)
{
    char text[SETTING_BYTES];
    struct hearth_topology t;
    if (!read_setting(doctor, text, "/proc/loadavg") || !read_topology(doctor, &t))
        return;
    struct doctor_finding *finding = doctor_add(doctor, "load");
    const double load = strtod(text, NULL);
    doctor_fact(finding, "%.2f programs ran on %" PRIu32 " processors in the last minute", load, t.affinity);
    if (load > 0.5 * t.affinity)
        doctor_advice(finding, "other programs take time from the workers: end them, or use fewer threads (-t)");
}

void doctor_numa(struct doctor *doctor)
{
    struct hearth_topology t;
    uint64_t value;
    if (!read_topology(doctor, &t) || t.n_nodes < 2)
        return;
    struct doctor_finding *finding = doctor_add(doctor, "NUMA");
    doctor_fact(finding, "%" PRIu32 " nodes", t.n_nodes);
    if (read_number(doctor, &value, "/proc/sys/kernel/numa_balancing") && value != 0)
        doctor_advice(finding, "pages are moved while the workers sit still: sysctl kernel.numa_balancing=0");
    if (read_number(doctor, &value, "/proc/sys/vm/zone_reclaim_mode") && value != 0)
        doctor_advice(finding, "files are dropped while other nodes have room: sysctl vm.zone_reclaim_mode=0");
}

/* ---- Memory ---------------------------------------------------------------------------------------------------------- */

void doctor_memory(struct doctor *doctor)
{
    struct doctor_finding *finding = doctor_add(doctor, "memory");
    const uint64_t usable = hearth_machine_available_memory(doctor->root);
    uint64_t total, available, swap, swap_free;
    char a[TEXT_BYTES_MAX], b[TEXT_BYTES_MAX], c[TEXT_BYTES_MAX];
    if (!meminfo(doctor, &total, "MemTotal:") || !meminfo(doctor, &available, "MemAvailable:")) {
        doctor_fact(finding, "%s can be taken now", text_bytes(a, usable));
        return;
    }
    (void)meminfo(doctor, &swap, "SwapTotal:");
    (void)meminfo(doctor, &swap_free, "SwapFree:");
    const uint64_t swapped = swap > swap_free ? swap - swap_free : 0;
    doctor_fact(finding, "%s of %s can be taken now%s", text_bytes(a, usable), text_bytes(b, total),
                usable < available ? ", by the cgroup's limit" : "");
    if (usable < total / 8 && usable < available)
        doctor_advice(finding, "the cgroup leaves little: raise memory.max (docker run --memory)");
    else if (usable < total / 8)
        doctor_advice(finding, "other programs hold most of it: close some");
    if (swapped > total / 8)
        doctor_advice(finding, "%s lie in swap: close programs, a model that is swapped out stands still", text_bytes(c, swapped));
}

static void limit_text(char out[TEXT_BYTES_MAX], rlim_t limit)
{
    if (limit == RLIM_INFINITY)
        (void)snprintf(out, TEXT_BYTES_MAX, "none");
    else
        (void)text_bytes(out, limit);
}

void doctor_limits(struct doctor *doctor)
{
    struct doctor_finding *finding = doctor_add(doctor, "limits");
    struct rlimit data, space;
    uint64_t overcommit = 0, limit, committed;
    char a[TEXT_BYTES_MAX], b[TEXT_BYTES_MAX];
    const uint64_t usable = hearth_machine_available_memory(doctor->root);
    if (getrlimit(RLIMIT_DATA, &data) != 0 || getrlimit(RLIMIT_AS, &space) != 0)
        return;
    (void)read_number(doctor, &overcommit, "/proc/sys/vm/overcommit_memory");
    limit_text(a, data.rlim_cur);
    limit_text(b, space.rlim_cur);
    doctor_fact(finding, "private memory %s, address space %s, overcommit mode %" PRIu64, a, b, overcommit);
    if (data.rlim_cur < usable)
        doctor_advice(finding, "less than there is: ulimit -d unlimited");
    if (space.rlim_cur < usable)
        doctor_advice(finding, "less than there is: ulimit -v unlimited");
    if (overcommit == 2 && meminfo(doctor, &limit, "CommitLimit:") && meminfo(doctor, &committed, "Committed_AS:") &&
        (limit > committed ? limit - committed : 0) < usable)
        doctor_advice(finding, "the system promises only %s more: sysctl vm.overcommit_memory=0",
                      text_bytes(a, limit > committed ? limit - committed : 0));
}

void doctor_huge_pages(struct doctor *doctor)
{
    struct doctor_finding *finding = doctor_add(doctor, "huge pages");
    char mode[SETTING_BYTES], a[TEXT_BYTES_MAX];
    uint64_t n_2m = 0, n_1g = 0, total = 0;
    const bool told = read_setting(doctor, mode, "/sys/kernel/mm/transparent_hugepage/enabled");
    const char *chosen = strchr(mode, '[');
    const int n = chosen ? (int)strcspn(chosen + 1, "]") : 0;
    (void)read_number(doctor, &n_2m, "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
    (void)read_number(doctor, &n_1g, "/sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages");
    n_2m = n_2m < UINT32_MAX ? n_2m : UINT32_MAX;
    n_1g = n_1g < UINT32_MAX ? n_1g : UINT32_MAX;
    const uint64_t aside = (n_2m << 21) + (n_1g << 30);
    doctor_fact(finding, "transparent ones %.*s; put aside and free: %" PRIu64 " of 2 MiB, %" PRIu64 " of 1 GiB", chosen ? n : 5,
                chosen ? chosen + 1 : "absent", n_2m, n_1g);
    if (told && n == 5 && strncmp(chosen + 1, "never", 5) == 0)
        doctor_advice(finding, "they are off, which costs speed: echo madvise >/sys/kernel/mm/transparent_hugepage/enabled");
    if (prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 1)
        doctor_advice(finding, "whoever started this program forbade them: prctl PR_SET_THP_DISABLE");
    if (aside >= GIB && meminfo(doctor, &total, "MemTotal:") && aside > total / 4)
        doctor_advice(finding, "%s lie idle for pages that must be asked for: sysctl vm.nr_hugepages=0, or use them",
                      text_bytes(a, aside));
}

/* ---- Files ----------------------------------------------------------------------------------------------------------- */

/* File systems of other machines, by statfs(2). */
static bool is_remote(const char *path)
{
    static const uint64_t magics[] = {0x6969 /* NFS */, 0xff534d42 /* CIFS */, 0xfe534d42 /* SMB2 */, 0x65735546 /* FUSE */,
                                      0x01021997 /* 9P */};
    struct statfs found;
    if (statfs(path, &found) != 0)
        return false;
    for (size_t i = 0; i < sizeof magics / sizeof magics[0]; i++)
        if ((uint64_t)found.f_type == magics[i])
            return true;
    return false;
}

/* A folder that is not there is judged by the nearest one that is. */
static void judge_missing(struct doctor_finding *finding, const char *path, const char *quoted)
{
    char parent[PATH_BYTES];
    (void)snprintf(parent, sizeof parent, "%s", path);
    for (char *slash; (slash = strrchr(parent, '/')) != NULL && slash > parent && access(parent, F_OK) != 0;)
        *slash = '\0';
    doctor_fact(finding, "%s will be made when it is needed", quoted);
    if (access(parent, W_OK | X_OK) != 0)
        doctor_advice(finding, "it cannot be made: %s", strerror(errno));
}

void doctor_folder(struct doctor *doctor, const char *subject, const char *path)
{
    struct doctor_finding *finding = doctor_add(doctor, subject);
    struct stat found;
    char quoted[HEARTH_QUOTE_MAX];
    (void)hearth_quote(quoted, path, strlen(path));
    if (stat(path, &found) != 0 && errno == ENOENT) {
        judge_missing(finding, path, quoted);
        return;
    }
    doctor_fact(finding, "%s", quoted);
    if (access(path, F_OK) != 0)
        doctor_advice(finding, "it cannot be reached: %s", strerror(errno));
    else if (!S_ISDIR(found.st_mode))
        doctor_advice(finding, "it is no folder: move it away");
    else if (access(path, R_OK | W_OK | X_OK) != 0)
        doctor_advice(finding, "it cannot be written to: chmod u+rwx, or chown");
    else if (found.st_uid != geteuid() || (found.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        doctor_advice(finding, "others can look into it or change it: chown it to you, chmod 700");
    else if (is_remote(path))
        doctor_advice(finding, "it lies on another machine or a file system of users: take a local disk");
}

void doctor_energy(struct doctor *doctor, const char *powercap)
{
    struct doctor_finding *finding = doctor_add(doctor, "energy");
    struct hearth_energy energy;
    hearth_energy_open(&energy, powercap);
    if (energy.n > 0)
        doctor_fact(finding, "counters of %" PRIu32 " packages, hearth bench tells joules", energy.n);
    else if (strcmp(energy.source, "permission") == 0)
        doctor_fact(finding, "only root may read the counters, hearth bench tells no joules");
    else
        doctor_fact(finding, "no counters, hearth bench tells no joules");
}
