/* Building an error: one list of statuses, one function that fills hearth_error, one macro that hands it upwards. */
#ifndef HEARTH_COMMON_STATUS_H
#define HEARTH_COMMON_STATUS_H

#include "common/attributes.h"
#include "hearth.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* status, exit code of the program */
#define HEARTH_STATUS_LIST(X)                                                                                                      \
    X(OK, 0)                                                                                                                       \
    X(E_NOT_FOUND, 6)                                                                                                              \
    X(E_MEMORY, 5)                                                                                                                 \
    X(E_CONFIG, 2)                                                                                                                 \
    X(E_INFERENCE, 8)                                                                                                              \
    X(E_FORMAT, 3)                                                                                                                 \
    X(E_UNSUPPORTED, 4)                                                                                                            \
    X(E_IO, 6)                                                                                                                     \
    X(E_STATE, 7)                                                                                                                  \
    X(E_CONTEXT_FULL, 5)                                                                                                           \
    X(E_CANCELLED, 130)                                                                                                            \
    X(E_BUSY, 1)                                                                                                                   \
    X(E_FORKED, 1)

#define HEARTH_TRY(call)                                                                                                           \
    do {                                                                                                                           \
        const hearth_status try_status_ = (call);                                                                                  \
        if (try_status_ != HEARTH_OK)                                                                                              \
            return try_status_;                                                                                                    \
    } while (0)

/* Copy bytes of unknown origin so that they can stand in a message: printable ASCII as it is, everything else as \xHH, at
 * most 64 characters of result, then "...". `out` has room for HEARTH_QUOTE_MAX bytes. Returns out. */
#define HEARTH_QUOTE_MAX 72
static inline const char *hearth_quote(char out[HEARTH_QUOTE_MAX], const void *bytes, size_t n)
{
    static const char hex[] = "0123456789abcdef";
    const unsigned char *in = (const unsigned char *)bytes;
    size_t o = 0;
    for (size_t i = 0; i < n; i++) {
        if (o + 4 > 64) {
            memcpy(out + o, "...", 3);
            o += 3;
            break;
        }
        if (in[i] >= 0x20 && in[i] < 0x7f && in[i] != '\\') {
            out[o++] = (char)in[i];
        } else {
            out[o++] = '\\';
            out[o++] = 'x';
            out[o++] = hex[in[i] >> 4];
            out[o++] = hex[in[i] & 15];
        }
    }
    out[o] = '\0';
    return out;
}

/* Fill *err (NULL allowed) and return `status`. `detail` is a short name such as "E_TRUNC"; NULL uses the status's own name.
 * The message is cut to its field, never overrun. */
HEARTH_PRINTF(4, 5)
static inline hearth_status hearth_fail(hearth_error *err, hearth_status status, const char *detail, const char *format, ...)
{
    static const char *const names[] = {
#define HEARTH_STATUS_NAME(name, exit_code) #name,
        HEARTH_STATUS_LIST(HEARTH_STATUS_NAME)
#undef HEARTH_STATUS_NAME
    };
    if (!err)
        return status;
    memset(err, 0, sizeof *err);
    err->code = status;
    (void)snprintf(err->detail, sizeof err->detail, "%s", detail ? detail : names[status]);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    return status;
}

/* As hearth_fail for the two statuses that carry figures. */
HEARTH_PRINTF(5, 6)
static inline hearth_status hearth_fail_needed(hearth_error *err, hearth_status status, uint64_t needed, uint64_t available,
                                               const char *format, ...)
{
    if (!err)
        return status;
    va_list args;
    va_start(args, format);
    char message[sizeof err->message];
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    (void)hearth_fail(err, status, NULL, "%s", message);
    err->needed = needed;
    err->available = available;
    return status;
}

#ifdef __clang_analyzer__ /* it does not look into functions with variable arguments: tell it that they return their status */
#define hearth_fail(err, status, ...) ((void)hearth_fail(err, status, __VA_ARGS__), (status))
#define hearth_fail_needed(err, status, ...) ((void)hearth_fail_needed(err, status, __VA_ARGS__), (status))
#endif

#endif
