/* The program's dealings with the system. Its stdio buffers are static and set once, and its own memory is read with system calls
 * into the stack, so that measuring the private memory against the plan does not change it. */
#include "process.h"

#include "common/status.h"
#include "report.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { OUTPUT_BUFFER_BYTES = 65536, FIRST_READ_BYTES = 65536, ROLLUP_BYTES = 4096, LOST_PAGE_EXIT = 6 };

static volatile sig_atomic_t interrupts, ends; /* SIGINT has come; another signal has */
static bool forgives;                          /* process_catch_stops() */
static double last_interrupt;                  /* process_seconds(); the handler's own */
static bool has_terminal;
static struct termios terminal; /* as it was */
static hearth_session *_Atomic to_cancel;
static double started; /* process_seconds() */

/* A line may be edited just now, and pastes marked. */
static void leave_terminal(void)
{
    static const char unmarked[] = "\033[?2004l";
    if (!has_terminal)
        return;
    (void)tcsetattr(STDIN_FILENO, TCSANOW, &terminal);
    (void)(isatty(STDERR_FILENO) && write(STDERR_FILENO, unmarked, sizeof unmarked - 1));
}

/* A mapped file (a model's header, a saved conversation, a pack cache) was cut off, or its disk failed: there is no read() to say
 * so. What lies in memory is whole, but the thread that touched the map cannot go on, so this is the end. */
static void on_lost_page(int number, siginfo_t *info, void *context)
{
    static const char line[] = "error: process: a file was cut off, or could not be read, while it was in use [E_IO]\n";
    (void)context;
    if (info->si_code != BUS_ADRERR) { /* the memory itself, or a program's error: as without us, when the access is tried again */
        (void)signal(number, SIG_DFL);
        return;
    }
    static atomic_flag told = ATOMIC_FLAG_INIT;
    while (atomic_flag_test_and_set(&told)) /* another thread has come here first, and says it */
        (void)pause();
    leave_terminal();
    (void)!write(STDERR_FILENO, line, sizeof line - 1);
    _exit(LOST_PAGE_EXIT);
}

void process_start(void)
{
    struct sigaction lost_page = {.sa_sigaction = on_lost_page, .sa_flags = SA_SIGINFO};
    started = process_seconds();
    /* A closed descriptor would be given to the next file that is opened. Its stand-in refuses what it is for. */
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            (void)open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error of its write */
    (void)sigemptyset(&lost_page.sa_mask);
    (void)sigaction(SIGBUS, &lost_page, NULL);
    static char buffer[OUTPUT_BUFFER_BYTES];
    (void)setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
}

static void on_signal(int number)
{
    const int code = errno;
    const double now = process_seconds();
    if (number == SIGINT && interrupts + ends > 0 && !forgives)
        _exit(PROCESS_INTERRUPTED_EXIT);
    if (number == SIGINT && forgives && last_interrupt > 0 && now - last_interrupt < 1) {
        leave_terminal();
        _exit(PROCESS_INTERRUPTED_EXIT);
    }
    if (number == SIGINT) {
        last_interrupt = now;
        interrupts = 1;
    } else {
        ends = 1;
    }
    hearth_session_cancel(atomic_load(&to_cancel));
    errno = code;
}

void process_interrupts_cancel(hearth_session *session)
{
    atomic_store(&to_cancel, session);
    if (process_interrupted()) /* it came before */
        hearth_session_cancel(session);
}

/* flags: without SA_RESTART, a waiting read() or write() ends, with EINTR. Waiting in ppoll() always ends. */
static void handle(int number, void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaddset(&action.sa_mask, SIGINT); /* one at a time */
    (void)sigaddset(&action.sa_mask, SIGTERM);
    (void)sigaction(number, &action, NULL);
}

void process_catch_interrupts(void)
{
    handle(SIGINT, on_signal, 0);
    handle(SIGTERM, on_signal, 0);
}

static void on_continue(int number)
{
    (void)number;
}

void process_catch_stops(void)
{
    forgives = true;
    has_terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &terminal) == 0;
    handle(SIGINT, on_signal, SA_RESTART); /* an answer being shown when it comes is shown: stdio would lose what it holds */
    handle(SIGTERM, on_signal, 0);
    handle(SIGHUP, on_signal, 0);
    handle(SIGCONT, on_continue, SA_RESTART); /* ends the wait for a line, so that the terminal is prepared for one again */
}

bool process_interrupted(void)
{
    return interrupts > 0 || ends > 0;
}

bool process_take_stop(void)
{
    const bool stopped = interrupts > 0 && ends == 0;
    interrupts = 0;
    return stopped;
}

/* Signals come in the wait or not at all, so that none is lost between the look at the flags and the wait. */
bool process_wait_input(void)
{
    sigset_t ours, before;
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    (void)sigemptyset(&ours);
    (void)sigaddset(&ours, SIGINT);
    (void)sigaddset(&ours, SIGTERM);
    (void)sigaddset(&ours, SIGHUP);
    (void)sigaddset(&ours, SIGCONT);
    (void)pthread_sigmask(SIG_BLOCK, &ours, &before);
    const bool ready = !process_interrupted() && (ppoll(&input, 1, NULL, &before) >= 0 || errno != EINTR);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return ready && !process_interrupted();
}

double process_seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

double process_running_seconds(void)
{
    return process_seconds() - started;
}

/* One read() that is not disturbed by signals without effect: -1 with EINTR only when the program is to end. */
static ssize_t read_some(int fd, void *out, size_t n)
{
    for (;;) {
        const ssize_t got = read(fd, out, n);
        if (got >= 0 || errno != EINTR || process_interrupted())
            return got;
    }
}

uint64_t process_private_bytes(void)
{
    const int fd = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    char text[ROLLUP_BYTES];
    size_t n = 0;
    ssize_t got;
    while (n < sizeof text - 1 && (got = read_some(fd, text + n, sizeof text - 1 - n)) > 0)
        n += (size_t)got;
    (void)close(fd);
    text[n] = '\0';
    static const char *const keys[] = {"\nAnonymous:", "\nPrivate_Hugetlb:"}; /* different pages */
    uint64_t sum = 0;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const char *line = strstr(text, keys[i]);
        sum += line ? strtoull(line + strlen(keys[i]), NULL, 10) * 1024 : 0;
    }
    return sum;
}

hearth_status process_read_all(char **out, size_t *size, int fd, size_t limit, const char *name, hearth_error *error)
{
    char quoted[HEARTH_QUOTE_MAX];
    char *bytes = NULL;
    size_t n = 0, capacity = 0;
    for (;;) {
        if (n + 1 >= capacity) { /* one byte is kept for the NUL */
            capacity = capacity ? capacity * 2 : FIRST_READ_BYTES;
            char *more = n <= limit ? realloc(bytes, capacity) : NULL;
            if (!more) {
                free(bytes);
                return n <= limit ? report_no_memory(error, name)
                                  : hearth_fail(error, HEARTH_E_CONFIG, NULL, "%s: read: too long (need at most %zu bytes)",
                                                hearth_quote(quoted, name, strlen(name)), limit);
            }
            bytes = more;
        }
        const ssize_t got = read_some(fd, bytes + n, capacity - n - 1);
        if (got < 0) {
            const hearth_status status = process_interrupted()
                                             ? hearth_fail(error, HEARTH_E_CANCELLED, NULL, "%s: read: interrupted",
                                                           hearth_quote(quoted, name, strlen(name)))
                                             : report_errno(error, name, "read");
            free(bytes);
            return status;
        }
        if (got == 0)
            break;
        n += (size_t)got;
    }
    bytes[n] = '\0';
    *out = bytes;
    *size = n;
    return HEARTH_OK;
}

hearth_status process_read_file(char **out, size_t *size, const char *path, size_t limit, hearth_error *error)
{
    if (strcmp(path, "-") == 0)
        return process_read_all(out, size, STDIN_FILENO, limit, "standard input", error);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return report_errno(error, path, "open");
    const hearth_status status = process_read_all(out, size, fd, limit, path, error);
    (void)close(fd);
    return status;
}

hearth_status process_write_all(int fd, const void *bytes, size_t n, const char *name, hearth_error *error)
{
    const char *at = bytes;
    while (n > 0) {
        const ssize_t written = write(fd, at, n);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return report_errno(error, name, "write");
        at += written;
        n -= (size_t)written;
    }
    return HEARTH_OK;
}
