/* Energy counters in a made-up tree of powercap: packages and nothing else, a counter that starts again, and why there is none. */
#include "energy.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[] = "/tmp/hearth-energy-XXXXXX";

static void put(const char *zone, const char *file, const char *text)
{
    char path[200];
    (void)snprintf(path, sizeof path, "%s/%s", root, zone);
    (void)mkdir(path, 0700);
    (void)snprintf(path, sizeof path, "%s/%s/%s", root, zone, file);
    FILE *out = fopen(path, "w");
    cr_assert(out);
    (void)fputs(text, out);
    cr_assert_eq(fclose(out), 0);
}

static void put_zone(const char *zone, const char *name, const char *energy, const char *range)
{
    put(zone, "name", name);
    put(zone, "energy_uj", energy);
    put(zone, "max_energy_range_uj", range);
}

static void make_tree(void)
{
    cr_assert(mkdtemp(root));
    put_zone("intel-rapl:0", "package-0\n", "1000000\n", "262143328850\n");
    put_zone("intel-rapl:1", "package-1\n", "262143328000\n", "262143328850\n");
    put_zone("intel-rapl:0:0", "core\n", "7\n", "262143328850\n");
    put_zone("intel-rapl:2", "psys\n", "7\n", "262143328850\n");
    put("intel-rapl", "enabled", "1\n");
}

static void remove_tree(void)
{
    char command[100];
    (void)snprintf(command, sizeof command, "rm -rf %s", root);
    cr_expect_eq(system(command), 0);
}

TestSuite(energy, .init = make_tree, .fini = remove_tree);

Test(energy, packages_are_added)
{
    struct hearth_energy e;
    hearth_energy_open(&e, root);
    cr_assert_eq(e.n, 2);
    cr_expect_str_eq(e.source, "powercap");
    const struct hearth_energy_reading before = hearth_energy_read(&e);
    put("intel-rapl:0", "energy_uj", "3500000\n");
    put("intel-rapl:1", "energy_uj", "262143328500\n");
    put("intel-rapl:0:0", "energy_uj", "9000000\n");
    const struct hearth_energy_reading after = hearth_energy_read(&e);
    cr_expect_float_eq(hearth_energy_between(&e, &before, &after), 2.5005, 1e-9);
}

Test(energy, a_counter_starts_again)
{
    struct hearth_energy e;
    hearth_energy_open(&e, root);
    const struct hearth_energy_reading before = hearth_energy_read(&e);
    put("intel-rapl:1", "energy_uj", "150\n"); /* 850 to the end, 150 from the beginning */
    const struct hearth_energy_reading after = hearth_energy_read(&e);
    cr_expect_float_eq(hearth_energy_between(&e, &before, &after), 0.001, 1e-9);
}

Test(energy, no_range_no_guess)
{
    struct hearth_energy e;
    put("intel-rapl:1", "max_energy_range_uj", "\n");
    hearth_energy_open(&e, root);
    cr_assert_eq(e.n, 2);
    const struct hearth_energy_reading before = hearth_energy_read(&e);
    put("intel-rapl:1", "energy_uj", "150\n");
    const struct hearth_energy_reading after = hearth_energy_read(&e);
    cr_expect(isnan(hearth_energy_between(&e, &before, &after)));
}

Test(energy, a_counter_goes_away)
{
    struct hearth_energy e;
    hearth_energy_open(&e, root);
    const struct hearth_energy_reading before = hearth_energy_read(&e);
    put("intel-rapl:1", "energy_uj", "?\n");
    const struct hearth_energy_reading after = hearth_energy_read(&e);
    cr_expect_not(after.valid);
    cr_expect(isnan(hearth_energy_between(&e, &before, &after)));
}

Test(energy, absent)
{
    struct hearth_energy e;
    hearth_energy_open(&e, "/nowhere/at/all");
    cr_expect_eq(e.n, 0);
    cr_expect_str_eq(e.source, "absent");
    const struct hearth_energy_reading r = hearth_energy_read(&e);
    cr_expect_not(r.valid);
    cr_expect(isnan(hearth_energy_between(&e, &r, &r)));
}

Test(energy, not_allowed)
{
    char path[200];
    struct hearth_energy e;
    if (geteuid() == 0)
        cr_skip_test("root may read everything");
    (void)snprintf(path, sizeof path, "%s/intel-rapl:1/energy_uj", root);
    cr_assert_eq(chmod(path, 0), 0);
    hearth_energy_open(&e, root);
    cr_expect_eq(e.n, 0);
    cr_expect_str_eq(e.source, "permission");
}
