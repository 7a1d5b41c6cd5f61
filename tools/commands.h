/* The commands of the program. Each parses its own arguments (argv[0] is its name) and returns the exit code. */
#ifndef HEARTH_TOOLS_COMMANDS_H
#define HEARTH_TOOLS_COMMANDS_H

int cmd_run(int argc, char **argv);
int cmd_plan(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_tokenize(int argc, char **argv);
int cmd_logits(int argc, char **argv);
int cmd_selftest(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_perplexity(int argc, char **argv);
int cmd_template(int argc, char **argv);
int cmd_quantize(int argc, char **argv);

#endif
