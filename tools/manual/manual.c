/* Writes the manual and the completion of bash from the tables of options, so that neither can fall behind them.
 *
 *     hearth_manual PROSE OUT   OUT/hearth.1.scd and OUT/hearth-COMMAND.1.scd for scdoc, of the prose in PROSE/NAME.scd.in with
 *                               "@OPTIONS@" or "@COMMANDS@" on a line of its own; OUT/hearth.bash
 *     hearth_manual --list      each option of each command, hidden ones too, a line each: what a test looks for in them
 *
 * Runs while Hearth is built and is not installed. */
#include "commands.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GROUPS = 9 }; /* of rows, more than there are */

static FILE *create(const char *folder, const char *name, const char *ending)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s%s", folder, name, ending);
    FILE *out = fopen(path, "w");
    if (!out) {
        perror(path);
        exit(1);
    }
    return out;
}

static void finish(FILE *out)
{
    if (ferror(out) || fclose(out) != 0) {
        perror("hearth_manual");
        exit(1);
    }
}

static bool is_operands(const struct argp_option *row)
{
    return row->key == OPTION_KEY_OPERANDS;
}

static bool has_letter(const struct argp_option *row)
{
    return row->key < OPTION_KEY_TEMP;
}

/* Whether a row only gives another name to the row before, as tables have it. */
static bool is_other_name(const struct argp_option *row)
{
    return !row->doc;
}

/* The names of a row; *before stands before the first, and becomes `between`. A letter that the row before has already is left out.
 */
static void put_names(FILE *out, const struct argp_option *row, const char **before, const char *between)
{
    if (has_letter(row) && !(is_other_name(row) && row[-1].key == row->key)) {
        (void)fprintf(out, "%s-%c", *before, row->key);
        *before = between;
    }
    (void)fprintf(out, "%s--%s", *before, row->name);
    *before = between;
}

/* ---- Pages ----------------------------------------------------------------------------------------------------------- */

/* Plain text, whatever scdoc takes for markup escaped. */
static void put_text(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (strchr("\\*_#`[]|<>~+.'", *text))
            (void)putc('\\', out);
        (void)putc(*text, out);
    }
}

static void put_row(FILE *out, const struct argp_option *row)
{
    const char *before = "";
    (void)putc('*', out);
    if (is_operands(row))
        put_text(out, row->name);
    else
        put_names(out, row, &before, ", ");
    for (const struct argp_option *other = row + 1; other->key != 0 && is_other_name(other); other++)
        put_names(out, other, &before, ", ");
    (void)putc('*', out);
    if (row->arg) {
        (void)fputs(" _", out);
        put_text(out, row->arg);
        (void)putc('_', out);
    }
    (void)fputs("\n\t", out);
    put_text(out, row->doc);
    (void)fputs("\n\n", out);
}

static void put_options(FILE *out, const struct command *command)
{
    const struct argp_option *table = command->options->table;
    (void)fputs("# OPTIONS\n\n", out);
    for (int group = 0; group < GROUPS; group++)
        for (const struct argp_option *row = table; row->key != 0; row++)
            if (row->group == group && !is_other_name(row))
                put_row(out, row);
}

static void put_commands(FILE *out)
{
    (void)fputs("# COMMANDS\n\n", out);
    for (size_t i = 0; i < command_count; i++)
        if (commands[i].synopsis) {
            (void)fprintf(out, "*hearth-%s*(1)\n\t", commands[i].name);
            put_text(out, commands[i].synopsis);
            (void)fputs("\n\n", out);
        }
}

static void put_synopsis(FILE *out, const struct command *command)
{
    (void)fprintf(out, "# SYNOPSIS\n\n*hearth %s* [_OPTION_...]", command->name);
    for (const struct argp_option *row = command->options->table; row->key != 0; row++)
        if (is_operands(row)) {
            (void)putc(' ', out);
            put_text(out, row->name);
        }
    for (const struct command *other = command + 1; other < commands + command_count && !other->synopsis; other++)
        (void)fprintf(out, "++\n*hearth %s*, another name of it", other->name);
    (void)fputs("\n\n", out);
}

/* command NULL: the page of the program. */
static void write_page(const char *prose, const char *folder, const struct command *command)
{
    char name[64], line[1024], path[4096];
    (void)snprintf(name, sizeof name, "hearth%s%s", command ? "-" : "", command ? command->name : "");
    (void)snprintf(path, sizeof path, "%s/%s.scd.in", prose, name);
    FILE *in = fopen(path, "r"), *out = create(folder, name, ".1.scd");
    if (!in) {
        perror(path);
        exit(1);
    }
    (void)fprintf(out, "%s(1) \"Hearth " HEARTH_VERSION "\" \"Hearth manual\"\n\n# NAME\n\n%s - ", name, name);
    put_text(out, command ? command->synopsis : "run quantized language models on x86-64 CPUs");
    (void)fputs("\n\n", out);
    if (command)
        put_synopsis(out, command);
    bool joined = false;
    while (fgets(line, sizeof line, in))
        if (line[0] != '@') {
            (void)fputs(line, out);
        } else {
            joined = true;
            if (command)
                put_options(out, command);
            else
                put_commands(out);
        }
    if (!joined) {
        (void)fprintf(stderr, "%s: no place for the table (got no line @OPTIONS@ or @COMMANDS@)\n", path);
        exit(1);
    }
    if (command)
        (void)fputs("\n# SEE ALSO\n\n*hearth*(1)\n", out);
    (void)fclose(in);
    finish(out);
}

/* ---- Completion ------------------------------------------------------------------------------------------------------ */

/* What the value of an option is completed with, by the name that help gives it. */
static bool is_file(const char *argument)
{
    return argument && (strcmp(argument, "FILE") == 0 || strcmp(argument, "MODEL") == 0 || strcmp(argument, "OLD NEW") == 0);
}

static bool is_folder(const char *argument)
{
    return argument && strcmp(argument, "DIR") == 0;
}

static bool is_other(const char *argument)
{
    return argument && !is_file(argument) && !is_folder(argument);
}

static bool is_any(const char *argument)
{
    (void)argument;
    return true;
}

static void put_variable(FILE *out, const struct argp_option *table, const char *variable, bool (*wanted)(const char *argument))
{
    const char *before = "";
    (void)fprintf(out, "        %s='", variable);
    for (const struct argp_option *row = table; row->key != 0; row++)
        if (!is_operands(row) && wanted(row->arg))
            put_names(out, row, &before, " ");
    (void)fputs("'\n", out);
}

static const char completion_begin[] = "# Completion of hearth in bash; made from its tables of options.\n"
                                       "_hearth()\n"
                                       "{\n"
                                       "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}\n"
                                       "    local options= values= files= folders= operands=\n"
                                       "    COMPREPLY=()\n"
                                       "    if [[ $word == '=' ]]; then # --option=VALUE is three words here\n"
                                       "        word=\n"
                                       "    elif [[ $before == '=' && $COMP_CWORD -gt 2 ]]; then\n"
                                       "        before=${COMP_WORDS[COMP_CWORD - 2]}\n"
                                       "    fi\n";
static const char completion_end[] = "    esac\n"
                                     "    if [[ \" $values \" == *\" $before \"* ]]; then\n"
                                     "        return\n"
                                     "    elif [[ \" $folders \" == *\" $before \"* ]]; then\n"
                                     "        mapfile -t COMPREPLY < <(compgen -d -- \"$word\")\n"
                                     "        compopt -o filenames 2>/dev/null\n"
                                     "    elif [[ \" $files \" == *\" $before \"* || ($operands && $word != -*) ]]; then\n"
                                     "        mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n"
                                     "        compopt -o filenames 2>/dev/null\n"
                                     "    else\n"
                                     "        mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$word\")\n"
                                     "    fi\n"
                                     "}\n"
                                     "complete -F _hearth hearth\n";

static void put_case(FILE *out, const struct command *command)
{
    const struct argp_option *table = command->options->table;
    (void)fprintf(out, "    %s)\n", command->name);
    put_variable(out, table, "options", is_any);
    put_variable(out, table, "values", is_other);
    put_variable(out, table, "files", is_file);
    put_variable(out, table, "folders", is_folder);
    for (const struct argp_option *row = table; row->key != 0; row++)
        if (is_operands(row))
            (void)fputs("        operands=1\n", out);
    (void)fputs("        ;;\n", out);
}

static void write_completion(const char *folder)
{
    FILE *out = create(folder, "hearth", ".bash");
    (void)fputs(completion_begin, out);
    (void)fputs("    if [[ $COMP_CWORD == 1 ]]; then\n        mapfile -t COMPREPLY < <(compgen -W '", out);
    for (size_t i = 0; i < command_count; i++)
        (void)fprintf(out, "%s ", commands[i].name);
    (void)fputs("--help --limits --version' -- \"$word\")\n        return\n    fi\n    case ${COMP_WORDS[1]-} in\n", out);
    for (size_t i = 0; i < command_count; i++)
        put_case(out, &commands[i]);
    (void)fputs(completion_end, out);
    finish(out);
}

/* ---- The list -------------------------------------------------------------------------------------------------------- */

static void list_options(const struct command *command)
{
    char between[64];
    const char *before = between + 1;
    (void)snprintf(between, sizeof between, "\n%s ", command->name);
    for (const struct argp_option *row = command->options->table; row->key != 0; row++)
        if (!is_operands(row))
            put_names(stdout, row, &before, between);
    (void)putchar('\n');
}

int main(int argc, char **argv)
{
    const bool list = argc == 2 && strcmp(argv[1], "--list") == 0;
    if (!list && argc != 3)
        return 2;
    if (!list) {
        write_page(argv[1], argv[2], NULL);
        write_completion(argv[2]);
    }
    for (size_t i = 0; i < command_count; i++)
        if (list)
            list_options(&commands[i]);
        else if (commands[i].synopsis)
            write_page(argv[1], argv[2], &commands[i]);
    if (list)
        finish(stdout);
    return 0;
}
