/* Sessions in files, with bytes of the caller's beside them: what hearth_session_save() and hearth_session_restore() are made of.
 * The format is described in docs/states.md. */
#ifndef HEARTH_ENGINE_STATE_H
#define HEARTH_ENGINE_STATE_H

#include "hearth.h"

struct hearth_session;

/* As hearth_session_save(), with a section of `extra`. */
hearth_status hearth_state_save(struct hearth_session *session, const char *path, const void *extra, uint64_t extra_bytes,
                                hearth_error *err);

/* Called once a state has been verified, before the session is changed: with its section of extra bytes, n 0 where it has none. The
 * bytes have met their checksum, but are of outside all the same; they are there during the call only. What is returned but
 * HEARTH_OK is what hearth_state_restore() returns, and leaves the session as it was. */
typedef hearth_status hearth_state_extra_fn(const void *bytes, uint64_t n, void *user, hearth_error *err);

/* As hearth_session_restore(). take NULL: the extra bytes are not wanted. After take has returned HEARTH_OK, only a file that can
 * be read no longer, or is changed at that moment, makes it fail; the session is then empty. */
hearth_status hearth_state_restore(struct hearth_session *session, const char *path, hearth_state_extra_fn *take, void *user,
                                   hearth_error *err);

#endif
