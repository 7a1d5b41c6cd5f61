/* The commands of the program. Each parses its own arguments (argv[0] is its name) and returns the exit code. */
#ifndef HEARTH_TOOLS_COMMANDS_H
#define HEARTH_TOOLS_COMMANDS_H

#include "options.h"

struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const struct options_command *options;
    const char *synopsis; /* NULL: another name of the command before */
};

extern const struct command commands[];
extern const size_t command_count;

int cmd_run(int argc, char **argv);
int cmd_chat(int argc, char **argv);
int cmd_models(int argc, char **argv);
int cmd_plan(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_tokenize(int argc, char **argv);
int cmd_logits(int argc, char **argv);
int cmd_selftest(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_perplexity(int argc, char **argv);
int cmd_template(int argc, char **argv);
int cmd_quantize(int argc, char **argv);
int cmd_check(int argc, char **argv);

extern const struct options_command command_run, command_chat, command_models, command_plan, command_info, command_doctor,
    command_tokenize, command_logits, command_selftest, command_bench, command_perplexity, command_template, command_quantize,
    command_check;

#endif
