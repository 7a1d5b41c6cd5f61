/* The host's allocator; see allocator.h. */
#include "allocator.h"
#include "common/status.h"
#include <stdlib.h>

hearth_status hearth_allocator_copy(hearth_allocator *out, const hearth_allocator *given, hearth_error *err)
{
    *out = (hearth_allocator){.struct_size = sizeof *out};
    if (!given)
        return HEARTH_OK;
    if (given->struct_size < sizeof *out)
        return hearth_fail(err, HEARTH_E_CONFIG, NULL, "allocator: struct_size is too small (got %" PRIu32 ", need %zu)",
                           given->struct_size, sizeof *out);
    if (!given->allocate || !given->release)
        return hearth_fail(err, HEARTH_E_CONFIG, NULL, "allocator: it needs both functions (got NULL for %s)",
                           given->allocate ? "release" : "allocate");
    memcpy(out, given, sizeof *out);
    return HEARTH_OK;
}

hearth_status hearth_allocator_take(void **out, const hearth_allocator *a, uint64_t bytes, uint64_t alignment, hearth_error *err)
{
    *out = bytes <= SIZE_MAX ? a->allocate((size_t)bytes, (size_t)alignment, a->user) : NULL;
    if (!*out)
        return hearth_fail_needed(err, HEARTH_E_MEMORY, bytes, 0, "memory: the allocator refused %" PRIu64 " bytes", bytes);
    const uint64_t beyond = (uintptr_t)*out % alignment;
    if (beyond == 0)
        return HEARTH_OK;
    a->release(*out, (size_t)bytes, a->user);
    *out = NULL;
    return hearth_fail(err, HEARTH_E_CONFIG, NULL,
                       "allocator: memory is not aligned (got %" PRIu64 " bytes beyond a multiple, need multiples of %" PRIu64 ")",
                       beyond, alignment);
}

hearth_status hearth_handle_take(void **out, const hearth_allocator *a, size_t bytes, const char *what, hearth_error *err)
{
    hearth_error inner = {0};
    hearth_status status = HEARTH_OK;
    if (a->allocate)
        status = hearth_allocator_take(out, a, bytes, HEARTH_HANDLE_ALIGNMENT, &inner);
    else if (!(*out = calloc(1, bytes)))
        status = HEARTH_E_MEMORY;
    if (status == HEARTH_OK && a->allocate)
        memset(*out, 0, bytes);
    if (status == HEARTH_E_MEMORY)
        return hearth_fail_needed(err, status, bytes, 0, "%s: no memory for the handle (need %zu bytes)", what, bytes);
    if (status != HEARTH_OK && err)
        *err = inner;
    return status;
}

void hearth_handle_release(const hearth_allocator *a, void *handle, size_t bytes)
{
    if (!handle)
        return;
    if (a->allocate)
        a->release(handle, bytes, a->user);
    else
        free(handle);
}
