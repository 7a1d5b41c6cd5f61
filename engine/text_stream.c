/* The text stream: a short buffer of bytes not shown yet.
 *
 * After a push all that can be shown is shown. What stays is a proper beginning of a stop string (at most 255 bytes) and, before
 * that or instead of it, an unfinished character (at most 3 bytes); with room for the longest piece the buffer never fills. */
#include "text_stream.h"
#include "common/status.h"
#include "utf8.h"

#define HELD_MAX (HEARTH_STOP_BYTES_MAX - 1 + 3)

struct hearth_text_stream {
    hearth_text_fn *text;
    void *user;
    enum hearth_stream_state state;
    uint32_t n_stops;
    const char *stops[HEARTH_STOP_STRINGS_MAX];
    size_t stop_bytes[HEARTH_STOP_STRINGS_MAX];
    size_t capacity, n; /* of pending */
    uint8_t pending[];
};

size_t hearth_text_stream_bytes(uint32_t max_piece)
{
    return (sizeof(struct hearth_text_stream) + HELD_MAX + (max_piece ? max_piece : 1) + 63) & ~(size_t)63;
}

struct hearth_text_stream *hearth_text_stream_init(void *memory, uint32_t max_piece)
{
    struct hearth_text_stream *stream = memory;
    memset(stream, 0, sizeof *stream);
    stream->capacity = HELD_MAX + (size_t)(max_piece ? max_piece : 1);
    return stream;
}

hearth_status hearth_text_stream_check(const char *const *stop_strings, uint32_t n_stop_strings, hearth_error *err)
{
    if (n_stop_strings > HEARTH_STOP_STRINGS_MAX)
        return hearth_fail(err, HEARTH_E_CONFIG, NULL, "generation: n_stop_strings: too many (got %" PRIu32 ", need at most %d)",
                           n_stop_strings, HEARTH_STOP_STRINGS_MAX);
    for (uint32_t i = 0; i < n_stop_strings; i++) {
        const size_t n = stop_strings && stop_strings[i] ? strnlen(stop_strings[i], HEARTH_STOP_BYTES_MAX + 1) : 0;
        if (n == 0 || n > HEARTH_STOP_BYTES_MAX)
            return hearth_fail(err, HEARTH_E_CONFIG, NULL,
                               "generation: stop_strings[%" PRIu32 "]: length (got %s, need 1 to %d bytes)", i,
                               n == 0 ? "0" : "more", HEARTH_STOP_BYTES_MAX);
    }
    return HEARTH_OK;
}

hearth_status hearth_text_stream_begin(struct hearth_text_stream *stream, const char *const *stop_strings, uint32_t n_stop_strings,
                                       hearth_text_fn *text, void *user, hearth_error *err)
{
    HEARTH_TRY(hearth_text_stream_check(stop_strings, n_stop_strings, err));
    for (uint32_t i = 0; i < n_stop_strings; i++) {
        stream->stops[i] = stop_strings[i];
        stream->stop_bytes[i] = strlen(stop_strings[i]);
    }
    stream->n_stops = n_stop_strings;
    stream->text = text;
    stream->user = user;
    stream->state = HEARTH_STREAM_OPEN;
    stream->n = 0;
    return HEARTH_OK;
}

static void show(struct hearth_text_stream *stream, const void *bytes, size_t n)
{
    if (n > 0 && stream->text && stream->state == HEARTH_STREAM_OPEN && !stream->text(bytes, n, stream->user))
        stream->state = HEARTH_STREAM_CANCELLED;
}

/* Show the first n bytes and forget them; what is no whole character becomes U+FFFD. */
static void release(struct hearth_text_stream *stream, size_t n)
{
    const uint8_t *bytes = stream->pending;
    size_t shown = 0;
    for (size_t i = 0; i < n;) {
        size_t need;
        const size_t have = hearth_utf8_take(bytes + i, n - i, &need);
        if (have != need) {
            show(stream, bytes + shown, i - shown);
            show(stream, "\xef\xbf\xbd", 3);
            shown = i + have;
        }
        i += have;
    }
    show(stream, bytes + shown, n - shown);
    stream->n -= n;
    memmove(stream->pending, stream->pending + n, stream->n);
}

/* The first place where a stop string begins; n where there is none. */
static size_t find_stop(const struct hearth_text_stream *stream)
{
    for (size_t at = 0; at < stream->n; at++) {
        for (uint32_t i = 0; i < stream->n_stops; i++) {
            if (stream->stop_bytes[i] <= stream->n - at &&
                memcmp(stream->pending + at, stream->stops[i], stream->stop_bytes[i]) == 0)
                return at;
        }
    }
    return stream->n;
}

/* How many bytes can be shown now: what follows them may become a stop string, or is an unfinished character. */
static size_t settled(const struct hearth_text_stream *stream)
{
    const size_t n = stream->n;
    size_t limit = n;
    for (size_t at = n < HEARTH_STOP_BYTES_MAX ? 0 : n - (HEARTH_STOP_BYTES_MAX - 1); at < n && limit == n; at++) {
        for (uint32_t i = 0; i < stream->n_stops; i++) {
            if (stream->stop_bytes[i] > n - at && memcmp(stream->pending + at, stream->stops[i], n - at) == 0)
                limit = at;
        }
    }
    for (size_t back = 1; back <= 3 && back <= limit; back++) {
        size_t need;
        if (hearth_utf8_take(stream->pending + limit - back, back, &need) == back && need > back)
            return limit - back;
    }
    return limit;
}

enum hearth_stream_state hearth_text_stream_push(struct hearth_text_stream *stream, const void *bytes, size_t n)
{
    const uint8_t *from = bytes;
    while (n > 0 && stream->state == HEARTH_STREAM_OPEN) {
        const size_t room = stream->capacity - stream->n;
        const size_t taken = n < room ? n : room;
        memcpy(stream->pending + stream->n, from, taken);
        stream->n += taken;
        from += taken;
        n -= taken;
        const size_t stop = find_stop(stream);
        if (stop < stream->n) {
            release(stream, stop);
            stream->n = 0;
            if (stream->state == HEARTH_STREAM_OPEN)
                stream->state = HEARTH_STREAM_STOPPED;
        } else {
            release(stream, settled(stream));
        }
    }
    return stream->state;
}

enum hearth_stream_state hearth_text_stream_finish(struct hearth_text_stream *stream)
{
    if (stream->state == HEARTH_STREAM_OPEN)
        release(stream, stream->n);
    return stream->state;
}
