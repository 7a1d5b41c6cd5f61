/* Bytes that grow as they are appended. Zeros are empty; free(b.bytes) gives them back. Once memory has run out nothing is appended
 * any more, and the flag stays: look at it at the end. */
#ifndef HEARTH_TOOLS_BYTES_H
#define HEARTH_TOOLS_BYTES_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct bytes {
    char *bytes; /* NULL before the first byte */
    size_t n, capacity;
    bool out_of_memory;
};

static inline void bytes_append(struct bytes *b, const void *from, size_t n)
{
    if (b->out_of_memory || n == 0)
        return;
    if (b->capacity - b->n < n) {
        const size_t capacity = 2 * (b->capacity + n);
        char *more = realloc(b->bytes, capacity);
        if (!more) {
            b->out_of_memory = true;
            return;
        }
        b->bytes = more;
        b->capacity = capacity;
    }
    memcpy(b->bytes + b->n, from, n);
    b->n += n;
}

#endif
