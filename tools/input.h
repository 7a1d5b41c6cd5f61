/* Messages typed by a person or read from a pipe. */
#ifndef HEARTH_TOOLS_INPUT_H
#define HEARTH_TOOLS_INPUT_H

#include <stdbool.h>
#include <stddef.h>

#define INPUT_BYTES_MAX 1048576 /* of one message */

enum input_status {
    INPUT_MESSAGE,
    INPUT_END,         /* of the file, or Ctrl-D */
    INPUT_INTERRUPTED, /* what was typed of the message is forgotten */
    INPUT_TOO_LONG,    /* the message is passed over */
    INPUT_NO_MEMORY,
    INPUT_FAILED /* errno says why */
};

struct input_message {
    char *text; /* a NUL behind it; the input's, until the next message */
    size_t n;
    bool verbatim; /* written over several lines, or between quotes: no command */
};

struct input; /* at most one */

/* Standard input. Where a person types: with a prompt and, where libedit was built in, line editing, on standard error, and the
 * history in a file of mode 0600, its folder made (mode 0700); NULL: not kept. NULL where there is no memory. */
struct input *input_open(const char *history);
/* Whether a person types. */
bool input_is_terminal(const struct input *input);
/* Wait for a message: a line; lines each but the last ending in a backslash; or what stands between """ and """. */
enum input_status input_read(struct input *input, struct input_message *message);
/* NULL is allowed. */
void input_close(struct input *input);

/* Whether standard error is a terminal that takes colours, and the user wants some (NO_COLOR). */
bool input_wants_color(void);

#endif
