/* hearth doctor: everything about this machine that decides whether models run, and how fast, a line each; what should be changed
 * begins with "change" and ends with how. Exit code 1 when there is such a line. */
#include "commands.h"
#include "common/status.h"
#include "cpu.h"
#include "doctor.h"
#include "kernels.h"
#include "options.h"
#include "output.h"
#include "places.h"
#include "report.h"
#include "text.h"
#include <stdlib.h>

static const struct argp_option table[] = {
    OPTION_MODEL,
    OPTION_RAM_CAP,
    OPTION_PACK_CACHE,
    OPTION_JSON,
    {"quiet", 'q', NULL, 0, "only what should be changed", 7},
    OPTION_HELP,
    {0},
};

const struct options_command command_doctor = {
    "hearth doctor", "Check CPU, kernels, memory, settings and folders; say what to change. Exit code 1: something.", table};

static void check_cpu(struct doctor *doctor)
{
    struct doctor_finding *finding = doctor_add(doctor, "CPU");
    const enum hearth_cpu_level level = hearth_cpu_detect();
    const char *lowered = getenv("HEARTH_CPU");
    enum hearth_cpu_level wanted;
    char brand[49], quoted[HEARTH_QUOTE_MAX];
    hearth_cpu_brand(brand);
    doctor_fact(finding, "%s, level %s", brand, hearth_cpu_level_name(level));
    if (level == 0)
        doctor_advice(finding, "without AVX2, FMA and F16C it is slow: in a virtual machine, pass the host's CPU on");
    if (!lowered || !lowered[0])
        return;
    (void)hearth_quote(quoted, lowered, strlen(lowered));
    if (!hearth_cpu_level_parse(&wanted, lowered) || !hearth_cpu_runs(wanted))
        doctor_advice(finding, "HEARTH_CPU=%s is no level of this CPU, every command will refuse it: unset HEARTH_CPU", quoted);
    else if (wanted < level)
        doctor_advice(finding, "HEARTH_CPU=%s turns the faster kernels off: unset HEARTH_CPU", quoted);
}

static void check_kernels(struct doctor *doctor)
{
    struct doctor_finding *finding = doctor_add(doctor, "kernels");
    size_t ok = 0, failed = 0;
    const char *example = "";
    for (size_t i = 0; i < hearth_kernel_count; i++) {
        if (!hearth_cpu_runs(hearth_kernels[i].level))
            continue;
        const bool passed = hearth_kernel_selftest(&hearth_kernels[i]);
        ok += passed;
        failed += !passed;
        example = passed ? example : hearth_kernels[i].name;
    }
    doctor_fact(finding, "%zu equal the reference, %zu do not%s%s", ok, failed, failed ? ", such as " : "", example);
    if (failed > 0)
        doctor_advice(finding, "the processor or its memory is faulty, or this build is: hearth selftest names them all");
}

/* Whether the default model, or the one named, is there and fits. */
static void check_model(struct doctor *doctor, const struct options *options)
{
    struct doctor_finding *finding = doctor_add(doctor, "model");
    char quoted[HEARTH_QUOTE_MAX], private[TEXT_BYTES_MAX], cap[TEXT_BYTES_MAX];
    hearth_engine *engine = NULL;
    hearth_plan *plan = NULL;
    hearth_error error = {0};
    const hearth_status status = options_open_plan(&engine, &plan, options, &error);
    (void)hearth_quote(quoted, options->model, strlen(options->model));
    if (plan)
        doctor_fact(finding, "%s needs %s of %s", quoted, text_bytes(private, hearth_plan_private_bytes(plan)),
                    text_bytes(cap, hearth_plan_cap_bytes(plan)));
    else
        doctor_fact(finding, "%s", quoted);
    if (status != HEARTH_OK)
        doctor_advice(finding, "%s", error.message);
    hearth_plan_close(plan);
    hearth_engine_close(engine);
}

static void check_folders(struct doctor *doctor, const struct options *options)
{
    char path[PLACES_PATH_MAX];
    if (places_own(path, PLACE_STATE))
        doctor_folder(doctor, "state folder", path);
    else
        doctor_advice(doctor_add(doctor, "state folder"), "there is no place for history and chats: set HOME or XDG_STATE_HOME");
    if (options->pack_cache)
        doctor_folder(doctor, "pack cache", options->pack_cache);
}

static size_t count_advice(const struct doctor *doctor)
{
    size_t n = 0;
    for (size_t i = 0; i < doctor->n; i++)
        n += doctor->findings[i].advice[0] != '\0';
    return n;
}

static int print_text(const struct doctor *doctor, bool quiet)
{
    for (size_t i = 0; i < doctor->n; i++) {
        const struct doctor_finding *finding = &doctor->findings[i];
        const bool change = finding->advice[0] != '\0';
        if (change || !quiet)
            (void)printf("%-7s %-13s %s%s%s\n", change ? "change" : "ok", finding->subject, finding->fact,
                         change && finding->fact[0] ? "; " : "", finding->advice);
    }
    return report_finish_output();
}

static int print_json(const struct doctor *doctor)
{
    json_t *findings = json_array();
    for (size_t i = 0; i < doctor->n; i++) {
        const struct doctor_finding *finding = &doctor->findings[i];
        json_t *row = json_pack("{s:s, s:b, s:o}", "subject", finding->subject, "ok", finding->advice[0] == '\0', "fact",
                                output_text(finding->fact, strlen(finding->fact)));
        output_set(row, "advice", finding->advice[0] ? output_text(finding->advice, strlen(finding->advice)) : json_null());
        output_append(findings, row);
    }
    return output_json(json_pack("{s:b, s:o}", "ok", count_advice(doctor) == 0, "findings", findings), JSON_INDENT(2));
}

int cmd_doctor(int argc, char **argv)
{
    struct options options;
    int exit_code;
    if (!options_parse(&options, &exit_code, &command_doctor, argc, argv))
        return exit_code;
    static struct doctor doctor;
    doctor.root = "";
    check_cpu(&doctor);
    check_kernels(&doctor);
    doctor_cores(&doctor);
    doctor_clock(&doctor);
    doctor_load(&doctor);
    doctor_numa(&doctor);
    doctor_memory(&doctor);
    doctor_limits(&doctor);
    doctor_huge_pages(&doctor);
    check_folders(&doctor, &options);
    doctor_energy(&doctor, NULL);
    check_model(&doctor, &options);
    exit_code = options.json ? print_json(&doctor) : print_text(&doctor, options.quiet);
    return exit_code == 0 && count_advice(&doctor) > 0 ? 1 : exit_code;
}
