/* What reading and rendering a template may use: memory cut from one piece that the caller owns, steps, depth of recursion; and the
 * first error, which ends everything.
 *
 * A template is a program of a stranger, so each of the three is bounded, and nothing here allocates. After a failure every
 * operation gives an empty result and charging refuses, so that loops end; who called looks at `status` once, at the end. */
#ifndef HEARTH_ENGINE_TEMPLATE_WORKSPACE_H
#define HEARTH_ENGINE_TEMPLATE_WORKSPACE_H

#include "common/attributes.h"
#include "common/limits.h"
#include "hearth.h"

/* Statements, expressions, elements looked at, and stretches of this many bytes: one step each, which is some tens of nanoseconds.
 */
#define HEARTH_TEMPLATE_BYTES_PER_STEP 64u
#define HEARTH_TEMPLATE_CHARACTERS_PER_STEP 8u

struct hearth_workspace {
    uint8_t *memory;
    size_t bytes, used;
    uint32_t steps_left;
    uint32_t depth;
    uint32_t line;    /* of the template, being worked on; 0 before there is one */
    int64_t now;      /* seconds of local time since 1970-01-01 00:00:00 local time */
    const char *name; /* of the template, for messages */
    hearth_status status;
    hearth_error *err; /* may be NULL */
};

/* Note the first failure: "NAME: line N: WHAT". Later ones change nothing. */
HEARTH_PRINTF(4, 5)
void hearth_workspace_fail(struct hearth_workspace *w, hearth_status status, const char *detail, const char *format, ...);
/* n * size bytes, not zeroed, aligned for any type; NULL after a failure, which a full workspace is. */
void *hearth_workspace_take(struct hearth_workspace *w, size_t n, size_t size);
/* Account for work before doing it; false after a failure, which the end of the steps is. */
bool hearth_workspace_charge(struct hearth_workspace *w, size_t steps);
bool hearth_workspace_charge_bytes(struct hearth_workspace *w, size_t bytes);      /* copied, compared or searched */
bool hearth_workspace_charge_characters(struct hearth_workspace *w, size_t bytes); /* looked at one by one */
/* Around everything that recurses; no leave after a false. */
bool hearth_workspace_enter(struct hearth_workspace *w);
void hearth_workspace_leave(struct hearth_workspace *w);

#endif
