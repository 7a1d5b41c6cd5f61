/* Reading messages; see input.h. The one door to libedit, which is optional: without it, or where nobody types, lines are read as
 * they come. Prompts and editing go to standard error, because standard output carries answers alone. */
#include "input.h"

#include "places.h"
#include "process.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef HEARTH_LIBEDIT
#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <wchar.h>
#endif

enum { READ_BYTES = 4096, HISTORY_LINES = 1000, QUOTES = 3 };

static const char quotes[] = "\"\"\""; /* around a message of several lines */

static const char first_prompt[] = "> ", next_prompt[] = ". "; /* the second in the middle of a message */

struct input {
    bool terminal, color;
    const char *prompt;
    bool in_block; /* between quotes */
    bool pasting;  /* what comes was pasted, not typed */
    char *message;
    size_t n, capacity;
    bool too_long, no_memory;
    size_t begin, end; /* of what was read and not taken yet */
    char bytes[READ_BYTES];
#ifdef HEARTH_LIBEDIT
    EditLine *editor; /* NULL: plain lines */
    bool woken;       /* by a signal */
    bool line_feed;   /* comes next, before what is read */
    History *history;
    const char *history_path;
    char history_file[PLACES_PATH_MAX];
#endif
};

/* A line, in pieces where it is long. */
struct piece {
    const char *text;
    size_t n;
    bool ends; /* the line, whose newline is not part of it */
};

static bool is_dumb(void)
{
    const char *term = getenv("TERM");
    return !term || !term[0] || strcmp(term, "dumb") == 0;
}

bool input_wants_color(void)
{
    const char *no_color = getenv("NO_COLOR");
    return isatty(STDERR_FILENO) && !is_dumb() && !(no_color && no_color[0]);
}

/* ---- Editing --------------------------------------------------------------------------------------------------------- */

#ifdef HEARTH_LIBEDIT

/* In place of libedit's own, which may wait for a key although Ctrl-C was pressed just before. */
static int read_character(EditLine *editor, wchar_t *out)
{
    struct input *input = NULL;
    mbstate_t state = {0};
    size_t used = (size_t)-2;
    (void)el_get(editor, EL_CLIENTDATA, (void **)&input);
    if (input->line_feed) {
        input->line_feed = false;
        *out = L'\n';
        return 1;
    }
    while (used == (size_t)-2) { /* in the middle of a character */
        char byte;
        input->woken = !process_wait_input();
        const ssize_t n = input->woken ? -1 : read(STDIN_FILENO, &byte, 1);
        if (n <= 0)
            return (int)n;
        used = mbrtowc(out, &byte, 1, &state);
    }
    if (used == (size_t)-1)
        *out = 0xfffd;
    if (input->pasting && !input->in_block && (*out == L'\n' || *out == L'\r')) { /* the message goes on */
        input->line_feed = true;
        *out = L'\\';
    }
    return 1;
}

/* Terminals say where what is pasted begins and ends: its lines are one message. */
static unsigned char begin_paste(EditLine *editor, int key)
{
    struct input *input = NULL;
    (void)key;
    (void)el_get(editor, EL_CLIENTDATA, (void **)&input);
    input->pasting = true;
    return CC_NORM;
}

static unsigned char end_paste(EditLine *editor, int key)
{
    struct input *input = NULL;
    (void)key;
    (void)el_get(editor, EL_CLIENTDATA, (void **)&input);
    input->pasting = false;
    return CC_NORM;
}

static void open_paste(EditLine *editor)
{
    (void)el_set(editor, EL_ADDFN, "hearth-begin-paste", "What follows is pasted", begin_paste);
    (void)el_set(editor, EL_ADDFN, "hearth-end-paste", "What follows is typed", end_paste);
    (void)el_set(editor, EL_BIND, "\\e[200~", "hearth-begin-paste", NULL);
    (void)el_set(editor, EL_BIND, "\\e[201~", "hearth-end-paste", NULL);
}

/* Ask the terminal to say so, or no more. */
static void mark_pastes(bool on)
{
    (void)fputs(on ? "\033[?2004h" : "\033[?2004l", stderr);
}

static char *show_prompt(EditLine *editor)
{
    static char prompt[32];
    struct input *input = NULL;
    (void)el_get(editor, EL_CLIENTDATA, (void **)&input);
    /* A control sequence belongs to the character behind it: one at the end would be lost. */
    (void)snprintf(prompt, sizeof prompt, input->color ? "\1\033[1m\1%c\1\033[0m\1 " : "%c ", input->prompt[0]);
    return prompt;
}

static void open_history(struct input *input, const char *path)
{
    HistEvent event;
    input->history = history_init();
    if (!input->history)
        return;
    (void)history(input->history, &event, H_SETSIZE, HISTORY_LINES);
    (void)history(input->history, &event, H_SETUNIQUE, 1);
    (void)el_set(input->editor, EL_HIST, history, input->history);
    if (!path)
        return;
    (void)snprintf(input->history_file, sizeof input->history_file, "%s", path);
    input->history_path = input->history_file;
    (void)history(input->history, &event, H_LOAD, input->history_path); /* none yet is fine */
}

static void open_editor(struct input *input, const char *path)
{
    if (!input->terminal || !isatty(STDERR_FILENO) || is_dumb())
        return;
    (void)setlocale(LC_CTYPE, "");
    if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0) /* text is UTF-8 whatever the environment says */
        (void)setlocale(LC_CTYPE, "C.UTF-8");
    input->editor = el_init("hearth", stdin, stderr, stderr);
    if (!input->editor)
        return;
    (void)el_set(input->editor, EL_CLIENTDATA, input);
    (void)el_set(input->editor, EL_PROMPT_ESC, show_prompt, '\1');
    (void)el_set(input->editor, EL_EDITOR, "emacs");
    (void)el_set(input->editor, EL_SIGNAL, 0); /* signals are ours */
    (void)el_set(input->editor, EL_GETCFN, read_character);
    open_paste(input->editor);
    open_history(input, path);
    (void)el_source(input->editor, NULL); /* the user's own editrc(5) */
}

/* Under another name at first, so that there is always a whole file; mkostemp() makes it 0600. A history that cannot be saved is no
 * reason to end with an error. */
static void save_history(struct input *input)
{
    char temporary[PLACES_PATH_MAX + 8];
    HistEvent event;
    if (!input->history_path || !places_make(input->history_path))
        return;
    (void)snprintf(temporary, sizeof temporary, "%s.XXXXXX", input->history_path);
    const int fd = mkostemp(temporary, O_CLOEXEC);
    FILE *out = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (fd < 0)
        return;
    bool saved = out && history(input->history, &event, H_SAVE_FP, out) >= 0 && !ferror(out);
    saved = out ? fclose(out) == 0 && saved : (close(fd), false);
    if (!saved || rename(temporary, input->history_path) != 0)
        (void)unlink(temporary);
}

static enum input_status edit(struct input *input, struct piece *line)
{
    HistEvent event;
    int n = 0;
    el_resize(input->editor);
    mark_pastes(true);
    do {
        errno = 0;
        input->woken = false;
        (void)el_set(input->editor, EL_PREP_TERM, 1); /* before the prompt: what answers it is for the editor, not the terminal */
        line->text = el_gets(input->editor, &n);
    } while (input->woken && !process_interrupted()); /* continued after Ctrl-Z */
    mark_pastes(false);
    input->pasting = input->pasting && line->text; /* Ctrl-C ends it, too */
    if (input->woken)
        return INPUT_INTERRUPTED;
    if (!line->text || n <= 0)
        return errno == 0 || errno == EIO ? INPUT_END : INPUT_FAILED; /* EIO: the terminal went away */
    if (input->history && n > 1 && history(input->history, &event, H_ENTER, line->text) >= 0)
        save_history(input); /* now: the program may be ended at any time */
    line->ends = line->text[n - 1] == '\n';
    line->n = (size_t)n - line->ends;
    return INPUT_MESSAGE;
}

static void close_editor(struct input *input)
{
    if (input->history)
        history_end(input->history);
    if (input->editor)
        el_end(input->editor);
}

static bool has_editor(const struct input *input)
{
    return input->editor != NULL;
}

#else

static void open_editor(struct input *input, const char *path)
{
    (void)input;
    (void)path;
}

static enum input_status edit(struct input *input, struct piece *line)
{
    (void)input;
    (void)line;
    return INPUT_END;
}

static void close_editor(struct input *input)
{
    (void)input;
}

static bool has_editor(const struct input *input)
{
    (void)input;
    return false;
}

#endif

/* ---- Plain lines ----------------------------------------------------------------------------------------------------- */

static enum input_status fill(struct input *input)
{
    ssize_t got;
    do
        got = process_wait_input() ? read(STDIN_FILENO, input->bytes, sizeof input->bytes) : (errno = EINTR, -1);
    while (got < 0 && errno == EINTR && !process_interrupted());
    input->begin = 0;
    input->end = got > 0 ? (size_t)got : 0;
    return got > 0 ? INPUT_MESSAGE : got == 0 ? INPUT_END : process_interrupted() ? INPUT_INTERRUPTED : INPUT_FAILED;
}

static enum input_status read_piece(struct input *input, struct piece *piece)
{
    if (input->begin == input->end) {
        const enum input_status status = fill(input);
        if (status != INPUT_MESSAGE)
            return status;
    }
    piece->text = input->bytes + input->begin;
    const char *newline = memchr(piece->text, '\n', input->end - input->begin);
    piece->ends = newline != NULL;
    piece->n = newline ? (size_t)(newline - piece->text) : input->end - input->begin;
    input->begin += piece->n + piece->ends;
    return INPUT_MESSAGE;
}

/* ---- Messages -------------------------------------------------------------------------------------------------------- */

static void append(struct input *input, const char *text, size_t n)
{
    if (n > INPUT_BYTES_MAX - input->n) { /* what begins and ends the message is kept, to be found */
        input->too_long = true;
        input->n = input->n < QUOTES ? input->n : QUOTES;
    }
    if (n > INPUT_BYTES_MAX - QUOTES)
        return;
    if (!input->message || input->capacity - input->n <= n) { /* one byte is kept for the NUL */
        const size_t capacity = 2 * (input->n + n) + 256;
        char *more = realloc(input->message, capacity);
        if (!more) {
            input->no_memory = true;
            return;
        }
        input->message = more;
        input->capacity = capacity;
    }
    memcpy(input->message + input->n, text, n);
    input->n += n;
    input->message[input->n] = '\0';
}

/* Append a line, without its newline and a carriage return before that. A last line may end with the file. */
static enum input_status read_line(struct input *input)
{
    struct piece piece = {0};
    size_t taken = 0;
    if (input->terminal && !has_editor(input))
        (void)fputs(input->prompt, stderr);
    while (!piece.ends) {
        const enum input_status status = has_editor(input) ? edit(input, &piece) : read_piece(input, &piece);
        if (status == INPUT_END && taken > 0)
            break;
        if (status != INPUT_MESSAGE)
            return status;
        append(input, piece.text, piece.n);
        taken += piece.n;
    }
    if (input->n > 0 && taken > 0 && input->message && input->message[input->n - 1] == '\r')
        input->n--;
    append(input, "", 0);
    return INPUT_MESSAGE;
}

static bool ends_with(const struct input *input, size_t begin, const char *ending)
{
    const size_t n = strlen(ending);
    return input->n >= begin + n && memcmp(input->message + input->n - n, ending, n) == 0;
}

/* The lines between """ and """, which may both stand on the first. */
static enum input_status read_block(struct input *input)
{
    enum input_status status = INPUT_MESSAGE;
    input->in_block = true;
    input->n -= input->pasting; /* a backslash that was put there before it was known that this is a block */
    input->n -= QUOTES;
    memmove(input->message, input->message + QUOTES, input->n);
    input->prompt = next_prompt;
    for (size_t begin = 0;;) {
        const bool ends = ends_with(input, input->too_long ? 0 : begin, quotes);
        input->n -= ends ? QUOTES : 0;
        if (ends || status == INPUT_END) {
            input->n -= input->n == begin && begin > 0; /* the newline before a line that is empty, or has nothing but quotes */
            return INPUT_MESSAGE;
        }
        if (input->n > 0)
            append(input, "\n", 1);
        begin = input->n;
        status = read_line(input);
        if (status != INPUT_MESSAGE && status != INPUT_END)
            return status;
    }
}

static enum input_status read_message(struct input *input, bool *verbatim)
{
    input->n = 0;
    input->too_long = input->no_memory = input->in_block = false;
    input->prompt = first_prompt;
    enum input_status status = read_line(input);
    *verbatim = status == INPUT_MESSAGE && input->n >= QUOTES && memcmp(input->message, quotes, QUOTES) == 0;
    if (*verbatim)
        return read_block(input);
    input->prompt = next_prompt;
    while (status == INPUT_MESSAGE && ends_with(input, 0, "\\")) {
        input->message[input->n - 1] = '\n';
        *verbatim = true;
        status = read_line(input);
        if (status == INPUT_END)
            return INPUT_MESSAGE;
    }
    return status;
}

enum input_status input_read(struct input *input, struct input_message *message)
{
    bool verbatim;
    const enum input_status status = read_message(input, &verbatim);
    if (status != INPUT_MESSAGE)
        return status;
    if (input->too_long || input->no_memory)
        return input->no_memory ? INPUT_NO_MEMORY : INPUT_TOO_LONG;
    input->message[input->n] = '\0';
    *message = (struct input_message){.text = input->message, .n = input->n, .verbatim = verbatim};
    return INPUT_MESSAGE;
}

/* ---- Life ------------------------------------------------------------------------------------------------------------ */

struct input *input_open(const char *history)
{
    struct input *input = calloc(1, sizeof *input);
    if (!input)
        return NULL;
    input->terminal = isatty(STDIN_FILENO);
    input->color = input_wants_color();
    input->prompt = first_prompt;
    open_editor(input, history);
    return input;
}

bool input_is_terminal(const struct input *input)
{
    return input->terminal;
}

void input_close(struct input *input)
{
    if (!input)
        return;
    close_editor(input);
    free(input->message);
    free(input);
}
