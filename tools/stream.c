/* Writing generated text. A model's text must not move a terminal's cursor, rename its window or put words into its input. */
#include "stream.h"

#include "process.h"
#include "text.h"
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

void stream_open(struct stream *stream)
{
    *stream = (struct stream){.terminal = isatty(STDOUT_FILENO)};
}

static void write_to_terminal(const char *text, size_t n)
{
    for (size_t i = 0; i < n;) {
        const size_t length = text_character((const unsigned char *)text + i, n - i);
        const unsigned char c = (unsigned char)text[i], next = length == 2 ? (unsigned char)text[i + 1] : 0;
        const bool control = (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f || (c == 0xc2 && next < 0xa0);
        if (length == 0)
            (void)fputs("\xef\xbf\xbd", stdout); /* no character: some terminals take such bytes for controls */
        else if (!control)
            (void)fwrite(text + i, 1, length, stdout);
        i += length ? length : 1;
    }
}

bool stream_write(struct stream *stream, const char *text, size_t n)
{
    if (stream->first_seconds == 0)
        stream->first_seconds = process_running_seconds();
    if (n == 0 || stream->write_errno)
        return stream->write_errno == 0;
    stream->line_open = text[n - 1] != '\n';
    errno = 0;
    if (stream->terminal)
        write_to_terminal(text, n);
    else
        (void)fwrite(text, 1, n, stdout);
    if (fflush(stdout) != 0 || ferror(stdout))
        stream->write_errno = errno ? errno : EIO;
    return stream->write_errno == 0;
}
