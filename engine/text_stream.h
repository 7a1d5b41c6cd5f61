/* From the bytes of tokens to text that can be shown at once (spec sampling.md section 7, tokenizers.md section 8): what may
 * still become a stop string or is an unfinished UTF-8 character is held back; bytes that are no UTF-8 are shown as U+FFFD.
 *
 * Works on bytes, never on tokens: a stop string may begin and end inside tokens. Memory is the caller's. */
#ifndef HEARTH_ENGINE_TEXT_STREAM_H
#define HEARTH_ENGINE_TEXT_STREAM_H

#include "hearth.h"

#define HEARTH_STOP_STRINGS_MAX 16
#define HEARTH_STOP_BYTES_MAX 256

struct hearth_text_stream;

enum hearth_stream_state {
    HEARTH_STREAM_OPEN,     /* go on */
    HEARTH_STREAM_STOPPED,  /* a stop string appeared; everything before it has been shown */
    HEARTH_STREAM_CANCELLED /* the callback returned false */
};

/* Bytes for pieces of at most max_piece bytes; a multiple of 64. */
size_t hearth_text_stream_bytes(uint32_t max_piece);
/* Make a stream in `memory` (64-byte aligned, hearth_text_stream_bytes() long). Returns the stream, which begins at `memory`. */
struct hearth_text_stream *hearth_text_stream_init(void *memory, uint32_t max_piece);

/* Stop strings are NUL-terminated. E_CONFIG when there are more than 16 or one is not of 1 … 256 bytes. */
hearth_status hearth_text_stream_check(const char *const *stop_strings, uint32_t n_stop_strings, hearth_error *err);
/* Start a text. Stop strings are kept by reference until the text is finished. `text` (may be NULL) receives whole UTF-8 characters
 * only. E_CONFIG as above; the stream stays what it was. */
hearth_status hearth_text_stream_begin(struct hearth_text_stream *stream, const char *const *stop_strings, uint32_t n_stop_strings,
                                       hearth_text_fn *text, void *user, hearth_error *err);
/* Add the piece of a token. Longer ones than max_piece are taken in several steps. After another state than OPEN it does nothing
 * and returns that state again. */
enum hearth_stream_state hearth_text_stream_push(struct hearth_text_stream *stream, const void *bytes, size_t n);
/* Show what was held back (an unfinished character as U+FFFD), unless the stream is no longer OPEN. Returns the state. */
enum hearth_stream_state hearth_text_stream_finish(struct hearth_text_stream *stream);

#endif
