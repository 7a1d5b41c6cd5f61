/* What the program asks of its process: descriptors, signals, the clock, its own memory, whole files. */
#ifndef HEARTH_TOOLS_PROCESS_H
#define HEARTH_TOOLS_PROCESS_H

#include "hearth.h"

/* Once, first thing in main(): descriptors 0, 1, 2 exist, SIGPIPE and SIGXFSZ are ignored, a mapped file that is cut off ends the
 * program with one line and exit code 6, stdio has static buffers. */
void process_start(void);

/* From here on the first SIGINT or SIGTERM only sets a flag; a second SIGINT ends the program at once. */
void process_catch_interrupts(void);
bool process_interrupted(void);
/* For a conversation instead: SIGINT sets a flag that can be taken back, and ends the program only when a second follows within a
 * second; the terminal is left as it is now. SIGTERM and SIGHUP set one that stays. */
void process_catch_stops(void);
/* Take the flag of SIGINT back. True: it was set, and nothing else was. */
bool process_take_stop(void);
/* Wait until standard input can be read, or has ended. False: a signal came, now or since the last flag was taken back. */
bool process_wait_input(void);
/* Which session that flag cancels as well; NULL: none. */
void process_interrupts_cancel(hearth_session *session);
/* Exit code of an interrupted program. */
#define PROCESS_INTERRUPTED_EXIT 130

/* Seconds on a clock that never goes back. */
double process_seconds(void);
/* Since the program started. */
double process_running_seconds(void);
/* Private (anonymous) memory now, in bytes; 0 where the system does not tell. Takes no memory itself. */
uint64_t process_private_bytes(void);

/* Read everything from a descriptor into *out (free with free(); one NUL stands behind the bytes). More than `limit` bytes:
 * E_CONFIG "too long". `name` stands in messages, quoted. */
hearth_status process_read_all(char **out, size_t *size, int fd, size_t limit, const char *name, hearth_error *error);
/* The same for a path; "-" is standard input. */
hearth_status process_read_file(char **out, size_t *size, const char *path, size_t limit, hearth_error *error);
/* Write all bytes, through short writes and EINTR; E_IO names the file. */
hearth_status process_write_all(int fd, const void *bytes, size_t n, const char *name, hearth_error *error);

#endif
