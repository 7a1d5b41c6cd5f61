/* hearth chat: a conversation. Answers go to standard output, everything else to standard error, so that it works on a pipe as it
 * does for a person. There a failure is told and the conversation goes on; the exit code is that of the first. */
#include "commands.h"
#include "common/status.h"
#include "input.h"
#include "process.h"
#include "report.h"
#include "sampling.h"
#include "talk.h"
#include "text.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct argp_option table[] = {
    OPTION_MODEL,
    {"system", OPTION_KEY_SYSTEM, "TEXT", 0, "what the model is told first", 2},
    {"family", OPTION_KEY_FAMILY, "NAME", OPTION_MORE, "format: chatml, llama2, alpaca or phi2", 2},
    {"template", OPTION_KEY_TEMPLATE, "FILE", OPTION_MORE, "a chat template in place of the model's", 2},
    {"predict", 'n', "N", 0, "tokens of an answer at most (no limit)", 3},
    {"n-predict", 'n', "N", OPTION_HIDDEN, NULL, 3},
    {"stop", OPTION_KEY_STOP, "STR", OPTION_MORE, "end an answer before this text; up to 16 times", 3},
    {"reverse-prompt", 'r', "STR", OPTION_HIDDEN, NULL, 3},
    {"no-escape", OPTION_KEY_NO_ESCAPE, NULL, OPTION_MORE, "do not process \\n, \\t, \\xHH ... in --stop", 3},
    {"when-full", OPTION_KEY_WHEN_FULL, "WHAT", OPTION_MORE, "drop the oldest messages (default), or refuse", 3},
    OPTIONS_SAMPLING,
    OPTIONS_SAMPLING_MORE,
    OPTIONS_RESOURCES,
    {"cache-budget", OPTION_KEY_CACHE_BUDGET, "SIZE", OPTION_MORE, "keep what conversations computed; K, M, G, T", 6},
    {"no-history", OPTION_KEY_NO_HISTORY, NULL, OPTION_MORE, "do not keep what is typed", 7},
    OPTION_QUIET,
    OPTION_HELP,
    OPTION_HELP_ALL,
    {0},
};

const struct options_command command_chat = {"hearth chat", "Talk with a model. /help in it shows its own commands.", table};

/* What a line does to the conversation. */
enum next { NEXT_GO_ON, NEXT_FAILED, NEXT_END, NEXT_LOST /* failed, and nothing can follow */ };

/* ---- Commands -------------------------------------------------------------------------------------------------------- */

static enum next do_help(struct talk *talk, const char *argument, hearth_error *error);

static enum next do_exit(struct talk *talk, const char *argument, hearth_error *error)
{
    (void)talk;
    (void)argument;
    (void)error;
    return NEXT_END;
}

static enum next do_clear(struct talk *talk, const char *argument, hearth_error *error)
{
    (void)argument;
    return talk_begin(talk, error) == HEARTH_OK ? NEXT_GO_ON : NEXT_FAILED;
}

/* The last answer, if there is one, makes room for another. */
static enum next do_regen(struct talk *talk, const char *argument, hearth_error *error)
{
    hearth_message last = {.struct_size = sizeof last};
    const size_t n = hearth_chat_count(talk->chat);
    (void)argument;
    if (n > 0 && hearth_chat_message(talk->chat, n - 1, &last, error) == HEARTH_OK && last.role == HEARTH_ROLE_ASSISTANT &&
        hearth_chat_pop(talk->chat, error) != HEARTH_OK)
        return NEXT_FAILED;
    const hearth_status status = talk_ask(talk, NULL, 0, error);
    return status == HEARTH_OK ? NEXT_GO_ON : status == HEARTH_E_CANCELLED ? NEXT_END : NEXT_FAILED;
}

static enum next do_stats(struct talk *talk, const char *argument, hearth_error *error)
{
    (void)argument;
    (void)error;
    talk_show_stats(talk);
    return NEXT_GO_ON;
}

static enum next do_system(struct talk *talk, const char *argument, hearth_error *error)
{
    hearth_message first = {.struct_size = sizeof first};
    const bool none = strcmp(argument, "-") == 0;
    if (argument[0])
        return hearth_chat_set_system(talk->chat, none ? NULL : argument, none ? 0 : strlen(argument), error) == HEARTH_OK
                   ? NEXT_GO_ON
                   : NEXT_FAILED;
    if (hearth_chat_message(talk->chat, 0, &first, error) == HEARTH_OK && first.role == HEARTH_ROLE_SYSTEM)
        report_say("%.*s", (int)(first.text_bytes < 500 ? first.text_bytes : 500), first.text);
    else
        report_say("there is no system message (/system TEXT sets one)");
    return NEXT_GO_ON;
}

/* The file of a saved chat: a path, or a name in the user's own folder. */
static hearth_status name_file(char out[PLACES_PATH_MAX], const char *name, hearth_error *error)
{
    char own[PLACES_PATH_MAX], quoted[HEARTH_QUOTE_MAX];
    int n = 0;
    if (strchr(name, '/'))
        n = snprintf(out, PLACES_PATH_MAX, "%s", name);
    else if (name[0] != '.' && places_own(own, PLACE_STATE))
        n = snprintf(out, PLACES_PATH_MAX, "%s/chats/%s.state", own, name[0] ? name : "chat");
    if (n > 0 && n < PLACES_PATH_MAX)
        return HEARTH_OK;
    return hearth_fail(error, HEARTH_E_CONFIG, "E_USAGE", "%s: is no name of a chat (need a path, or a name and HOME)",
                       hearth_quote(quoted, name, strlen(name)));
}

static enum next do_save(struct talk *talk, const char *argument, hearth_error *error)
{
    char path[PLACES_PATH_MAX], quoted[HEARTH_QUOTE_MAX];
    if (name_file(path, argument, error) != HEARTH_OK)
        return NEXT_FAILED;
    if (!strchr(argument, '/') && !places_make(path)) {
        (void)report_errno(error, path, "make the folder");
        return NEXT_FAILED;
    }
    if (hearth_chat_save(talk->chat, path, error) != HEARTH_OK)
        return NEXT_FAILED;
    report_say("saved: %s", hearth_quote(quoted, path, strlen(path)));
    return NEXT_GO_ON;
}

static enum next do_load(struct talk *talk, const char *argument, hearth_error *error)
{
    char path[PLACES_PATH_MAX];
    if (name_file(path, argument, error) != HEARTH_OK || hearth_chat_restore(talk->chat, path, error) != HEARTH_OK)
        return NEXT_FAILED;
    report_say("%zu messages, %" PRIu32 " of %" PRIu32 " positions", hearth_chat_count(talk->chat),
               hearth_session_position(talk->session), hearth_session_context(talk->session));
    return NEXT_GO_ON;
}

static enum next do_switch(struct talk *talk, const char *argument, hearth_error *error)
{
    if (!argument[0]) {
        talk_show_models(talk);
        return NEXT_GO_ON;
    }
    const hearth_status status = talk_switch(talk, argument, error);
    if (status == HEARTH_OK)
        talk_greet(talk);
    else if (!talk->chat)
        return NEXT_LOST;
    else if (status == HEARTH_E_CANCELLED && process_take_stop())
        report_say("stopped; %s goes on", hearth_manager_current(talk->manager));
    else
        return status == HEARTH_E_CANCELLED ? NEXT_END : NEXT_FAILED;
    return NEXT_GO_ON;
}

static const struct {
    const char *name, *argument;
    enum next (*run)(struct talk *talk, const char *argument, hearth_error *error);
    const char *does;
} commands_of_chat[] = {
    {"help", "", do_help, "show this"},
    {"regen", "", do_regen, "answer once more"},
    {"clear", "", do_clear, "forget the conversation"},
    {"system", "[TEXT]", do_system, "what the model is told first; - for nothing; alone to see it"},
    {"save", "[NAME]", do_save, "save the conversation, by a name or a path"},
    {"load", "[NAME]", do_load, "go on with one that was saved"},
    {"switch", "[MODEL]", do_switch, "go on with another model's conversation; alone: the models"},
    {"stats", "", do_stats, "tokens, rates and memory"},
    {"exit", "", do_exit, "end; so does Ctrl-D"},
};
enum { COMMANDS = sizeof commands_of_chat / sizeof commands_of_chat[0] };

static enum next do_help(struct talk *talk, const char *argument, hearth_error *error)
{
    (void)talk;
    (void)argument;
    (void)error;
    for (size_t i = 0; i < COMMANDS; i++)
        report_say("  /%-6s %-7s %s", commands_of_chat[i].name, commands_of_chat[i].argument, commands_of_chat[i].does);
    report_say("A line ending in \\ goes on with the next; \"\"\" begins and ends a message of several lines.");
    report_say("Ctrl-C stops an answer, twice ends the program.");
    return NEXT_GO_ON;
}

static enum next run_command(struct talk *talk, const char *line, hearth_error *error)
{
    const size_t n = strcspn(line, " \t");
    const char *argument = line + n + strspn(line + n, " \t");
    char quoted[HEARTH_QUOTE_MAX];
    for (size_t i = 0; i < COMMANDS; i++)
        if (strlen(commands_of_chat[i].name) == n && memcmp(line, commands_of_chat[i].name, n) == 0)
            return commands_of_chat[i].run(talk, argument, error);
    (void)hearth_fail(error, HEARTH_E_CONFIG, "E_USAGE", "/%s: there is no such command (see /help)",
                      hearth_quote(quoted, line, n));
    return NEXT_FAILED;
}

/* ---- The conversation ------------------------------------------------------------------------------------------------ */

static enum next answer(struct talk *talk, const struct input_message *message, hearth_error *error)
{
    if (message->n == 0)
        return NEXT_GO_ON;
    if (message->text[0] == '/' && !message->verbatim)
        return run_command(talk, message->text + 1, error);
    const hearth_status status = talk_ask(talk, message->text, message->n, error);
    return status == HEARTH_OK ? NEXT_GO_ON : status == HEARTH_E_CANCELLED ? NEXT_END : NEXT_FAILED;
}

static enum next read_and_answer(struct talk *talk, struct input *input, hearth_error *error)
{
    struct input_message message;
    const enum input_status status = input_read(input, &message);
    switch (status) {
    case INPUT_MESSAGE:
        return answer(talk, &message, error);
    case INPUT_INTERRUPTED:
        if (!input_is_terminal(input) || !process_take_stop())
            return NEXT_END;
        (void)fputc('\n', stderr);
        report_note("Ctrl-D ends; so does a second Ctrl-C within a second");
        return NEXT_GO_ON;
    case INPUT_TOO_LONG:
        (void)hearth_fail(error, HEARTH_E_CONFIG, NULL, "standard input: message: too long (need at most %d bytes)",
                          INPUT_BYTES_MAX);
        return NEXT_FAILED;
    case INPUT_NO_MEMORY:
        (void)report_no_memory(error, "message");
        return NEXT_FAILED;
    case INPUT_FAILED:
        (void)report_errno(error, "standard input", "read");
        return NEXT_LOST;
    case INPUT_END:
    default:
        if (input_is_terminal(input))
            (void)fputc('\n', stderr);
        return NEXT_END;
    }
}

static int converse(struct talk *talk, struct input *input)
{
    int exit_code = 0;
    hearth_error error = {0};
    talk_greet(talk);
    if (input_is_terminal(input))
        report_note("/help shows the commands, Ctrl-C stops an answer, Ctrl-D ends");
    for (;;) {
        const enum next next = read_and_answer(talk, input, &error);
        if (talk->stream.write_errno)
            return report_output_failed(talk->stream.write_errno);
        if (next == NEXT_END || (process_interrupted() && !process_take_stop())) /* Ctrl-C may come as an answer ends */
            break;
        const int failed = next == NEXT_GO_ON ? 0 : report_error(&error);
        if (next == NEXT_LOST)
            return failed;
        exit_code = exit_code || input_is_terminal(input) ? exit_code : failed;
    }
    return process_interrupted() ? PROCESS_INTERRUPTED_EXIT : exit_code;
}

static struct input *open_input(const struct options *options)
{
    char path[PLACES_PATH_MAX];
    static const char name[] = "/history";
    const bool kept = !options->no_history && places_own(path, PLACE_STATE) && strlen(path) + sizeof name <= sizeof path;
    if (kept)
        memcpy(path + strlen(path), name, sizeof name);
    return input_open(kept ? path : NULL);
}

int cmd_chat(int argc, char **argv)
{
    static struct talk talk;
    int exit_code;
    if (!options_parse(&talk.options, &exit_code, &command_chat, argc, argv))
        return exit_code;
    talk.options.converses = true;
    process_catch_stops();
    hearth_error error = {0};
    struct input *input = NULL;
    if (talk_open(&talk, &error) != HEARTH_OK)
        exit_code = report_error(&error);
    else if ((input = open_input(&talk.options)) == NULL)
        exit_code = (report_no_memory(&error, "standard input"), report_error(&error));
    else
        exit_code = converse(&talk, input);
    input_close(input);
    talk_close(&talk);
    return exit_code;
}
