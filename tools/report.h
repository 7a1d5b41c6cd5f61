/* Everything the program says: one place for errors, notes, progress and the end of standard output. */
#ifndef HEARTH_TOOLS_REPORT_H
#define HEARTH_TOOLS_REPORT_H

#include "common/attributes.h"
#include "hearth.h"

#define REPORT_USAGE_EXIT 2

/* Print "error: MESSAGE [DETAIL]" on one line of stderr; returns the exit code of the error's status. Notes not yet shown are
 * dropped, so that a failure is one line. */
int report_error(const hearth_error *error);
/* An error of the command line. Returns REPORT_USAGE_EXIT. Outside text in the arguments is quoted by the caller. */
HEARTH_PRINTF(1, 2) int report_usage(const char *format, ...);
/* Fill `error` from errno after a system call on a file failed: E_NOT_FOUND for ENOENT, otherwise E_IO. `name` is quoted. */
hearth_status report_errno(hearth_error *error, const char *name, const char *site);
/* Fill `error`: malloc() gave nothing for `what`. */
hearth_status report_no_memory(hearth_error *error, const char *what);

/* With quiet, notes, progress and closing lines are not shown; errors and warnings are. */
void report_set_quiet(bool quiet);
/* A line of information on stderr, unless quiet. */
HEARTH_PRINTF(1, 2) void report_note(const char *format, ...);
/* A line on stderr that was asked for, or must be seen: also with quiet. */
HEARTH_PRINTF(1, 2) void report_say(const char *format, ...);
/* For hearth_engine_options.log: lines are kept until report_release_log(), because opening may still fail. */
void report_log(int32_t level, const char *message, void *user);
void report_release_log(void);

/* Progress of `what` on stderr: a bar on a terminal; elsewhere a line for each tenth, at most one a second, so that short work says
 * nothing. Ends by report_progress_end() or any other output of this module. */
void report_progress(const char *what, uint64_t done, uint64_t total);
void report_progress_end(void);

/* Flush standard output. A reader that went away is a normal end (0); a full disk is an error (6); a signal that
 * ended the write ends the program as such (130). */
int report_finish_output(void);
/* The same for a write that has failed with `write_errno`. */
int report_output_failed(int write_errno);

#endif
