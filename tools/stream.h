/* Generated text on its way to standard output, piece by piece. */
#ifndef HEARTH_TOOLS_STREAM_H
#define HEARTH_TOOLS_STREAM_H

#include <stdbool.h>
#include <stddef.h>

struct stream {
    bool terminal;
    bool line_open;       /* the last character was no newline */
    int write_errno;      /* of the first failed write, 0 before */
    double first_seconds; /* process_running_seconds() at the first text; 0 before. To be set to 0 by who wants the next */
};

void stream_open(struct stream *stream);
/* Whole characters of UTF-8, shown at once. To a terminal no control characters but newline and tab. False after a failure. */
bool stream_write(struct stream *stream, const char *text, size_t n);

#endif
