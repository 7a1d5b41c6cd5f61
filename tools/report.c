/* Errors are one line because scripts and log readers count on it: the whole line is made in memory, cleaned of control
 * characters and written by one system call. Standard error never carries generated text and standard output never carries this. */
#include "report.h"

#include "common/status.h"
#include "process.h"
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 640, LOG_BYTES = 4096, BAR_CELLS = 30 };

static struct {
    bool quiet;
    bool bar_shown;
    unsigned bar_percent;
    unsigned last_tenth;
    double last_line; /* monotonic seconds; 0 before the first */
    size_t log_bytes;
    char log[LOG_BYTES]; /* lines not yet shown, each with its newline */
} state;

static void write_all(const char *text, size_t n)
{
    while (n > 0) {
        const ssize_t written = write(STDERR_FILENO, text, n);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return; /* nobody listens; there is nowhere to say so */
        text += written;
        n -= (size_t)written;
    }
}

/* Show a line, a newline put at its end. Generated text already handed to stdio goes out first, so that both keep their order. */
static void write_line(char line[LINE_MAX_BYTES])
{
    report_progress_end();
    (void)fflush(stdout);
    const size_t n = strlen(line);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    line[n] = '\n'; /* in place of the NUL; the line is not used as a string again */
    write_all(line, n + 1);
}

static void drop_log(void)
{
    state.log_bytes = 0;
    state.log[0] = '\0';
}

int report_error(const hearth_error *error)
{
    drop_log();
    char line[LINE_MAX_BYTES];
    (void)snprintf(line, sizeof line, "error: %s [%s]", error->message,
                   error->detail[0] ? error->detail : hearth_status_name(error->code));
    write_line(line);
    return hearth_status_exit_code(error->code);
}

int report_usage(const char *format, ...)
{
    char message[LINE_MAX_BYTES - 64], line[LINE_MAX_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    (void)snprintf(line, sizeof line, "error: command line: %s [E_USAGE]", message);
    write_line(line);
    return REPORT_USAGE_EXIT;
}

hearth_status report_errno(hearth_error *error, const char *name, const char *site)
{
    const int code = errno;
    char quoted[HEARTH_QUOTE_MAX];
    return hearth_fail(error, code == ENOENT ? HEARTH_E_NOT_FOUND : HEARTH_E_IO, NULL, "%s: %s: %s",
                       hearth_quote(quoted, name, strlen(name)), site, strerror(code));
}

hearth_status report_no_memory(hearth_error *error, const char *what)
{
    return hearth_fail(error, HEARTH_E_MEMORY, NULL, "%s: no memory left", what);
}

void report_set_quiet(bool quiet)
{
    state.quiet = quiet;
}

static void say(const char *format, va_list args)
{
    char line[LINE_MAX_BYTES];
    (void)vsnprintf(line, sizeof line, format, args);
    write_line(line);
}

void report_say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(format, args);
    va_end(args);
}

void report_note(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (!state.quiet)
        say(format, args);
    va_end(args);
}

void report_log(int32_t level, const char *message, void *user)
{
    (void)user;
    if (level == 0 && state.quiet)
        return;
    char line[LINE_MAX_BYTES];
    const int n = snprintf(line, sizeof line, "%s%.500s\n", level > 0 ? "warning: " : "", message);
    if (n <= 0 || (size_t)n >= LOG_BYTES - state.log_bytes || strstr(state.log, line))
        return; /* no room, or said before: planning and opening read the same header */
    memcpy(state.log + state.log_bytes, line, (size_t)n + 1);
    state.log_bytes += (size_t)n;
}

void report_release_log(void)
{
    report_progress_end();
    write_all(state.log, state.log_bytes);
    drop_log();
}

static bool on_terminal(void)
{
    const char *term = getenv("TERM");
    return isatty(STDERR_FILENO) && term && term[0] && strcmp(term, "dumb") != 0;
}

static void show_bar(const char *what, unsigned percent)
{
    if (state.bar_shown && percent == state.bar_percent)
        return;
    state.bar_percent = percent;
    char line[LINE_MAX_BYTES], bar[BAR_CELLS + 1];
    memset(bar, '.', BAR_CELLS);
    memset(bar, '#', percent * BAR_CELLS / 100);
    bar[BAR_CELLS] = '\0';
    const int n = snprintf(line, sizeof line, "\r%.40s [%s] %3u %%", what, bar, percent);
    write_all(line, (size_t)n);
    state.bar_shown = true;
}

/* Nothing is said in the first second of a piece of work, nor at its end: what follows will say enough. */
static void show_tenth(const char *what, unsigned percent)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    const double seconds = (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
    const unsigned tenth = percent / 10;
    if (state.last_line == 0 || tenth < state.last_tenth) {
        state.last_line = seconds;
        state.last_tenth = tenth;
    }
    if (tenth == state.last_tenth || tenth == 10 || seconds - state.last_line < 1)
        return;
    state.last_tenth = tenth;
    state.last_line = seconds;
    report_note("%s: %u %%", what, percent);
}

void report_progress(const char *what, uint64_t done, uint64_t total)
{
    if (state.quiet)
        return;
    const double share = total > 0 && done < total ? (double)done / (double)total : 1;
    const unsigned percent = (unsigned)(share * 100);
    if (on_terminal())
        show_bar(what, percent);
    else
        show_tenth(what, percent);
}

void report_progress_end(void)
{
    if (state.bar_shown)
        write_all("\r\033[K", 4);
    state.bar_shown = false;
}

int report_output_failed(int write_errno)
{
    if (write_errno == EPIPE)
        return 0;
    if (write_errno == EINTR && process_interrupted())
        return PROCESS_INTERRUPTED_EXIT;
    hearth_error error;
    errno = write_errno;
    (void)report_errno(&error, "standard output", "write");
    return report_error(&error);
}

int report_finish_output(void)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    return report_output_failed(errno ? errno : EIO);
}
