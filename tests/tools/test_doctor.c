/* What hearth doctor makes of settings: a tree in which all is well, then one setting after the other that is not. */
#include "doctor.h"

#include "topology.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[] = "/tmp/hearth-doctor-XXXXXX";

static void put(const char *path, const char *text)
{
    char whole[300];
    (void)snprintf(whole, sizeof whole, "%s%s", root, path);
    for (char *slash = whole + strlen(root) + 1; (slash = strchr(slash, '/')) != NULL; *slash++ = '/') {
        *slash = '\0';
        (void)mkdir(whole, 0700);
    }
    FILE *out = fopen(whole, "w");
    cr_assert(out, "%s", whole);
    (void)fputs(text, out);
    cr_assert_eq(fclose(out), 0);
}

/* The same setting for every processor that this machine has. */
static void put_cpus(const char *file, const char *text)
{
    struct hearth_topology t;
    char path[200];
    cr_assert_eq(hearth_topology_read(&t, NULL), HEARTH_OK);
    for (uint32_t i = 0; i < t.n_pus; i++) {
        (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%u/cpufreq/%s", t.pu[i], file);
        put(path, text);
    }
}

static void make_tree(void)
{
    cr_assert(mkdtemp(root));
    put("/proc/meminfo", "MemTotal:  16000000 kB\nMemFree: 9000000 kB\nMemAvailable: 12000000 kB\nSwapTotal: 8000000 kB\n"
                         "SwapFree: 8000000 kB\nCommitLimit: 16000000 kB\nCommitted_AS: 3000000 kB\n");
    put("/proc/loadavg", "0.01 0.00 0.00 1/100 1234\n");
    put("/proc/self/cgroup", "0::/\n");
    put("/proc/sys/vm/overcommit_memory", "0\n");
    put("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
    put("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "0\n");
    put_cpus("scaling_governor", "performance\n");
    put_cpus("scaling_driver", "acpi-cpufreq\n");
}

static void remove_tree(void)
{
    char command[100];
    (void)snprintf(command, sizeof command, "rm -rf %s", root);
    cr_expect_eq(system(command), 0);
}

TestSuite(doctor, .init = make_tree, .fini = remove_tree);

/* What one check finds; the text is that of a static doctor. */
static const struct doctor_finding *look(void (*check)(struct doctor *))
{
    static struct doctor doctor;
    doctor = (struct doctor){.root = root};
    check(&doctor);
    cr_assert_eq(doctor.n, 1);
    return &doctor.findings[0];
}

static void expect(void (*check)(struct doctor *), const char *fact, const char *advice)
{
    const struct doctor_finding *found = look(check);
    cr_expect(strstr(found->fact, fact), "'%s' is not in '%s'", fact, found->fact);
    if (advice)
        cr_expect(strstr(found->advice, advice), "'%s' is not in '%s'", advice, found->advice);
    else
        cr_expect_str_empty(found->advice);
}

Test(doctor, nothing_to_change)
{
    expect(doctor_clock, "governor performance by acpi-cpufreq", NULL);
    expect(doctor_load, "0.01 programs", NULL);
    expect(doctor_memory, "11.4 GiB of 15.3 GiB can be taken now", NULL);
    expect(doctor_limits, "overcommit mode 0", NULL);
    expect(doctor_huge_pages, "transparent ones madvise; put aside and free: 0 of 2 MiB", NULL);
}

Test(doctor, an_empty_tree)
{
    struct doctor doctor = {.root = "/tmp/nowhere/at/all"};
    doctor_cores(&doctor);
    doctor_clock(&doctor);
    doctor_load(&doctor);
    doctor_memory(&doctor);
    doctor_limits(&doctor);
    doctor_huge_pages(&doctor);
    doctor_numa(&doctor);
    cr_expect_geq(doctor.n, 5);
    for (size_t i = 0; i < doctor.n; i++)
        cr_expect_neq(doctor.findings[i].fact[0], '\0', "%s", doctor.findings[i].subject);
}

Test(doctor, clock)
{
    put_cpus("scaling_governor", "powersave\n");
    expect(doctor_clock, "powersave", "held down");
    put_cpus("scaling_driver", "intel_pstate\n"); /* whose powersave is the normal one */
    expect(doctor_clock, "powersave by intel_pstate", NULL);
    put_cpus("energy_performance_preference", "power\n");
    expect(doctor_clock, "preference power", "held down");
    put_cpus("energy_performance_preference", "balance_performance\n");
    expect(doctor_clock, "preference balance_performance", NULL);
    put("/sys/devices/system/cpu/intel_pstate/no_turbo", "1\n");
    expect(doctor_clock, "", "boost is off");
    put("/sys/devices/system/cpu/intel_pstate/no_turbo", "0\n");
    expect(doctor_clock, "", NULL);
    put("/sys/devices/system/cpu/cpufreq/boost", "0\n");
    expect(doctor_clock, "", "boost is off");
}

Test(doctor, load)
{
    put("/proc/loadavg", "9999.50 0.00 0.00 1/100 1234\n");
    expect(doctor_load, "9999.50", "-t");
    put("/proc/loadavg", "rubbish");
    expect(doctor_load, "0.00", NULL);
}

Test(doctor, memory)
{
    put("/sys/fs/cgroup/memory.max", "1073741824\n");
    put("/sys/fs/cgroup/memory.current", "0\n");
    expect(doctor_memory, "1.0 GiB of 15.3 GiB can be taken now, by the cgroup's limit", "memory.max");
    put("/sys/fs/cgroup/memory.max", "max\n");
    put("/proc/meminfo", "MemTotal:  16000000 kB\nMemAvailable: 1000000 kB\n");
    expect(doctor_memory, "976.6 MiB of", "close some");
    put("/proc/meminfo", "MemTotal:  16000000 kB\nMemAvailable: 9000000 kB\nSwapTotal: 8000000 kB\nSwapFree: 1 kB\n");
    expect(doctor_memory, "GiB of", "7.6 GiB lie in swap");
}

Test(doctor, limits)
{
    put("/proc/sys/vm/overcommit_memory", "2\n");
    expect(doctor_limits, "overcommit mode 2", NULL); /* there is enough */
    put("/proc/meminfo", "MemTotal: 16000000 kB\nMemAvailable: 12000000 kB\nCommitLimit: 4000000 kB\nCommitted_AS: 3000000 kB\n");
    expect(doctor_limits, "overcommit mode 2", "promises only 976.6 MiB more");
    put("/proc/meminfo", "MemTotal: 16000000 kB\nMemAvailable: 12000000 kB\nCommitLimit: 4000000 kB\nCommitted_AS: 5000000 kB\n");
    expect(doctor_limits, "", "promises only 0 B more");
}

Test(doctor, huge_pages)
{
    put("/sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n");
    expect(doctor_huge_pages, "transparent ones never", "echo madvise");
    put("/sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never\n");
    expect(doctor_huge_pages, "transparent ones always", NULL);
    put("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "4096\n");
    expect(doctor_huge_pages, "4096 of 2 MiB", "8.0 GiB lie idle");
    put("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "18446744073709551615\n");
    (void)look(doctor_huge_pages);
}

Test(doctor, folders)
{
    struct doctor doctor = {.root = ""};
    char path[100];
    const struct doctor_finding *found = doctor.findings;
    (void)snprintf(path, sizeof path, "%s/a/b", root);
    doctor_folder(&doctor, "folder", path);
    cr_expect(strstr(found[0].fact, "will be made") && !found[0].advice[0]);
    put("/a/file", "");
    (void)snprintf(path, sizeof path, "%s/a", root);
    doctor_folder(&doctor, "folder", path);
    cr_expect_str_empty(found[1].advice);
    (void)chmod(path, 0755);
    doctor_folder(&doctor, "folder", path);
    cr_expect(strstr(found[2].advice, "chmod 700"));
    (void)snprintf(path, sizeof path, "%s/a/file", root);
    doctor_folder(&doctor, "folder", path);
    cr_expect(strstr(found[3].advice, "no folder"));
    doctor_folder(&doctor, "folder", "/proc/none/at/all");
    cr_expect(geteuid() == 0 || strstr(found[4].advice, "cannot be made"));
}

Test(doctor, findings_have_room)
{
    struct doctor doctor = {.root = root};
    for (int i = 0; i < 3 * DOCTOR_FINDINGS_MAX; i++)
        doctor_fact(doctor_add(&doctor, "x"), "%0*d", 2 * DOCTOR_TEXT_MAX, i);
    cr_expect_eq(doctor.n, DOCTOR_FINDINGS_MAX);
}
