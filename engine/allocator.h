/* The host's allocator, where it has one; else the C library serves handles and the system arenas. What it hands out is checked and
 * wiped here, so that nobody else has to think of it. */
#ifndef HEARTH_ENGINE_ALLOCATOR_H
#define HEARTH_ENGINE_ALLOCATOR_H

#include "hearth.h"

#define HEARTH_HANDLE_ALIGNMENT 64u

/* Copy the options' allocator; NULL gives zeros, which mean that there is none. E_CONFIG for one without functions. */
hearth_status hearth_allocator_copy(hearth_allocator *out, const hearth_allocator *given, hearth_error *err);

/* Of an allocator with functions: *out is aligned and as dirty as it came. E_MEMORY; E_CONFIG when it is not aligned. */
hearth_status hearth_allocator_take(void **out, const hearth_allocator *allocator, uint64_t bytes, uint64_t alignment,
                                    hearth_error *err);

/* Memory for a handle, zeroed. `what` names it in the message of E_MEMORY. Release takes NULL. */
hearth_status hearth_handle_take(void **out, const hearth_allocator *allocator, size_t bytes, const char *what, hearth_error *err);
void hearth_handle_release(const hearth_allocator *allocator, void *handle, size_t bytes);

#endif
