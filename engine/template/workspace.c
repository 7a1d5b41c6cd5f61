/* Bounded memory, steps and depth for templates; see workspace.h. */
#include "template/workspace.h"
#include "common/checked.h"
#include "common/status.h"

#define ALIGNMENT 16u

void hearth_workspace_fail(struct hearth_workspace *w, hearth_status status, const char *detail, const char *format, ...)
{
    if (w->status != HEARTH_OK)
        return;
    char what[sizeof w->err->message];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(what, sizeof what, format, args);
    va_end(args);
    w->status = hearth_fail(w->err, status, detail, "%s: line %" PRIu32 ": %s", w->name, w->line, what);
}

void *hearth_workspace_take(struct hearth_workspace *w, size_t n, size_t size)
{
    if (w->status != HEARTH_OK)
        return NULL;
    uint64_t bytes;
    if (!hearth_mul_u64(&bytes, n, size) || !hearth_round_up_u64(&bytes, bytes, ALIGNMENT) || bytes > w->bytes - w->used) {
        hearth_workspace_fail(w, HEARTH_E_UNSUPPORTED, "E_LIMIT", "memory: the template needs more than its %zu bytes", w->bytes);
        return NULL;
    }
    void *out = w->memory + w->used;
    w->used += bytes;
    return out;
}

bool hearth_workspace_charge(struct hearth_workspace *w, size_t steps)
{
    if (w->status != HEARTH_OK)
        return false;
    if (steps > w->steps_left) {
        hearth_workspace_fail(w, HEARTH_E_UNSUPPORTED, "E_LIMIT", "steps: the template takes more than %u",
                              HEARTH_TEMPLATE_STEPS_MAX);
        return false;
    }
    w->steps_left -= (uint32_t)steps;
    return true;
}

bool hearth_workspace_charge_bytes(struct hearth_workspace *w, size_t bytes)
{
    return hearth_workspace_charge(w, bytes / HEARTH_TEMPLATE_BYTES_PER_STEP);
}

bool hearth_workspace_charge_characters(struct hearth_workspace *w, size_t bytes)
{
    return hearth_workspace_charge(w, bytes / HEARTH_TEMPLATE_CHARACTERS_PER_STEP);
}

bool hearth_workspace_enter(struct hearth_workspace *w)
{
    if (!hearth_workspace_charge(w, 1))
        return false;
    if (w->depth == HEARTH_TEMPLATE_DEPTH_MAX) {
        hearth_workspace_fail(w, HEARTH_E_UNSUPPORTED, "E_LIMIT", "depth: more than %u inside each other",
                              HEARTH_TEMPLATE_DEPTH_MAX);
        return false;
    }
    w->depth++;
    return true;
}

void hearth_workspace_leave(struct hearth_workspace *w)
{
    w->depth--;
}
