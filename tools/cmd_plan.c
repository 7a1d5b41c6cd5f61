/* hearth plan: the memory a model and one session on it will take, from the file's header alone. */
#include "commands.h"
#include "options.h"
#include "output.h"
#include "report.h"
#include "text.h"
#include <inttypes.h>

static const struct argp_option table[] = {
    OPTION_MODEL,
    {"chat", OPTION_KEY_CHAT, NULL, 0, "with room for a conversation, as hearth chat takes", 3},
    OPTION_CONTEXT,
    OPTION_BATCH,
    OPTION_THREADS,
    OPTION_KV,
    OPTION_SLIDING_WINDOW,
    OPTION_FLOAT_GEMM,
    OPTION_RAM_CAP,
    OPTION_PAGES,
    OPTION_CACHE_BUDGET,
    OPTION_PACK_CACHE,
    OPTION_JSON,
    OPTION_QUIET,
    OPTION_HELP,
    {0},
};

const struct options_command command_plan = {
    "hearth plan", "The memory a model and a session will take, line by line, without reading weights.", table};

static uint64_t total_bytes(const hearth_plan *plan)
{
    return hearth_plan_private_bytes(plan) + hearth_plan_mapped_bytes(plan);
}

static void print_line(const char *name, uint64_t bytes)
{
    char human[TEXT_BYTES_MAX];
    (void)printf("  %-36s %16" PRIu64 "  %10s\n", name, bytes, text_bytes(human, bytes));
}

static int print_table(const hearth_plan *plan, const struct options *options, bool fits)
{
    (void)printf("context %" PRIu32 ", batch %" PRIu32 "\n", hearth_plan_context(plan), hearth_plan_batch(plan));
    for (size_t i = 0; i < hearth_plan_line_count(plan); i++)
        print_line(hearth_plan_line_name(plan, i), hearth_plan_line_bytes(plan, i));
    print_line("private memory", hearth_plan_private_bytes(plan));
    print_line("mapped file", hearth_plan_mapped_bytes(plan));
    print_line("total", total_bytes(plan));
    print_line(options->ram_cap ? "cap" : "cap: available less a margin", hearth_plan_cap_bytes(plan));
    (void)puts(fits ? "fits" : "does not fit");
    return report_finish_output();
}

static int print_json(const hearth_plan *plan, const struct options *options, bool fits)
{
    (void)options;
    json_t *lines = json_array();
    for (size_t i = 0; i < hearth_plan_line_count(plan); i++)
        output_append(lines, json_pack("{s:s, s:I}", "name", hearth_plan_line_name(plan, i), "bytes",
                                       (json_int_t)hearth_plan_line_bytes(plan, i)));
    return output_json(json_pack("{s:I, s:I, s:I, s:I, s:i, s:i, s:b, s:o}", "private_bytes",
                                 (json_int_t)hearth_plan_private_bytes(plan), "mapped_bytes",
                                 (json_int_t)hearth_plan_mapped_bytes(plan), "total_bytes", (json_int_t)total_bytes(plan),
                                 "cap_bytes", (json_int_t)hearth_plan_cap_bytes(plan), "context",
                                 (int)hearth_plan_context(plan), "batch", (int)hearth_plan_batch(plan), "fits", fits, "lines",
                                 lines),
                       JSON_INDENT(2));
}

int cmd_plan(int argc, char **argv)
{
    struct options options;
    int exit_code;
    if (!options_parse(&options, &exit_code, &command_plan, argc, argv))
        return exit_code;
    options.converses = options.chat;
    hearth_error error = {0};
    hearth_engine *engine = NULL;
    hearth_plan *plan = NULL;
    const hearth_status status = options_open_plan(&engine, &plan, &options, &error);
    if (plan)
        exit_code = (options.json ? print_json : print_table)(plan, &options, status == HEARTH_OK);
    if (status != HEARTH_OK && exit_code == 0) /* output that could not be written was told already */
        exit_code = report_error(&error);
    report_release_log();
    hearth_plan_close(plan);
    hearth_engine_close(engine);
    return exit_code;
}
