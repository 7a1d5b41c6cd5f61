/* The program `hearth`: finds the command and hands over. */
#include "bounds.h"
#include "commands.h"
#include "common/status.h"
#include "process.h"
#include "report.h"

static int show_help(void)
{
    (void)printf("Usage: hearth COMMAND [OPTION...]\nRun quantized language models on x86-64 CPUs.\n\n");
    for (size_t i = 0; i < command_count; i++)
        if (commands[i].synopsis)
            (void)printf("  %-10s %s\n", commands[i].name, commands[i].synopsis);
    (void)printf("\n  hearth COMMAND --help   the options of a command\n"
                 "  hearth --version        the version\n"
                 "  hearth --limits         bounds on what files and arguments may ask for\n\n"
                 "Exit codes: 0 done, 1 other error, 2 usage, 3 damaged model, 4 model not supported, 5 does not\n"
                 "fit, 6 file or output error, 7 saved state invalid, 8 numbers or self-test wrong, 130 interrupted.\n");
    return report_finish_output();
}

static int show_version(void)
{
    (void)printf("hearth %s (ABI %d, arithmetic %d)\n", hearth_version(), (int)hearth_abi(), HEARTH_ARITHMETIC);
    return report_finish_output();
}

static int unknown(const char *name)
{
    char quoted[HEARTH_QUOTE_MAX];
    return report_usage("unknown %s (got '%s', see hearth --help)", name[0] == '-' ? "option" : "command",
                        hearth_quote(quoted, name, strlen(name)));
}

int main(int argc, char **argv)
{
    process_start();
    argp_err_exit_status = REPORT_USAGE_EXIT;
    if (argc < 2)
        return report_usage("command is missing (see hearth --help)");
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return show_help();
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)
        return show_version();
    if (strcmp(argv[1], "--limits") == 0)
        return bounds_show(argc, argv);
    for (size_t i = 0; i < command_count; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    return unknown(argv[1]);
}
