/* hearth selftest: every row of the kernel registry that this CPU can run, against the reference, bit by bit. */
#include "commands.h"
#include "common/status.h"
#include "cpu.h"
#include "kernels.h"
#include "options.h"
#include "report.h"
#include <stdlib.h>

static const struct argp_option table[] = {OPTION_HELP, {0}};

const struct options_command command_selftest = {
    "hearth selftest", "Check every kernel against the reference on this CPU. HEARTH_CPU=LEVEL leaves out the levels above.",
    table};

/* The level of HEARTH_CPU where it is set, else the highest there is. */
static hearth_status wanted_level(enum hearth_cpu_level *out, hearth_error *error)
{
    *out = hearth_cpu_detect();
    const char *name = getenv("HEARTH_CPU");
    enum hearth_cpu_level named;
    char quoted[HEARTH_QUOTE_MAX];
    if (!name || !name[0])
        return HEARTH_OK;
    if (!hearth_cpu_level_parse(&named, name))
        return hearth_fail(error, HEARTH_E_CONFIG, NULL,
                           "environment: HEARTH_CPU: unknown level (got '%s', need reference, avx2, avxvnni or avx512)",
                           hearth_quote(quoted, name, strlen(name)));
    *out = named < *out ? named : *out;
    return HEARTH_OK;
}

struct counts {
    size_t ok, failed, skipped;
};

static void test_kernel(const struct hearth_kernel *kernel, enum hearth_cpu_level wanted, struct counts *counts)
{
    const char *verdict;
    if (!hearth_cpu_runs(kernel->level)) {
        verdict = "skipped (not on this CPU)";
        counts->skipped++;
    } else if (kernel->level > wanted) {
        verdict = "skipped (above HEARTH_CPU)";
        counts->skipped++;
    } else if (hearth_kernel_selftest(kernel)) {
        verdict = "ok";
        counts->ok++;
    } else {
        verdict = "FAILED";
        counts->failed++;
    }
    (void)printf("%-32s %s\n", kernel->name, verdict);
}

int cmd_selftest(int argc, char **argv)
{
    struct options options;
    int exit_code;
    if (!options_parse(&options, &exit_code, &command_selftest, argc, argv))
        return exit_code;
    hearth_error error = {0};
    enum hearth_cpu_level wanted;
    if (wanted_level(&wanted, &error) != HEARTH_OK)
        return report_error(&error);
    struct counts counts = {0};
    for (size_t i = 0; i < hearth_kernel_count; i++)
        test_kernel(&hearth_kernels[i], wanted, &counts);
    (void)printf("level %s: %zu ok, %zu failed, %zu skipped\n", hearth_cpu_level_name(wanted), counts.ok, counts.failed,
                 counts.skipped);
    exit_code = report_finish_output();
    if (exit_code != 0 || counts.failed == 0)
        return exit_code;
    (void)hearth_fail(&error, HEARTH_E_INFERENCE, "E_SELFTEST", "selftest: kernels differ from the reference (got %zu, need 0)",
                      counts.failed);
    return report_error(&error);
}
