/* Asking for packed bytes ahead of a walk over them. */
#ifndef HEARTH_TEMPLATE_PREFETCH_H
#define HEARTH_TEMPLATE_PREFETCH_H

#include "common/attributes.h"
#include "kernels.h"
#include <immintrin.h>

#define PREFETCH_NEAR_BYTES 768u

/* A walk reads one stream, and hardware prefetchers stop at pages of 4 KB: fetch the `bytes` (whole lines) that lie prefetch_bytes
 * further. A core has few buffers for lines that are on their way into its first-level cache, ten to sixteen on Intel's, which does
 * not cover the memory's latency; on the way into the second-level cache it may have three times as many. With
 * HEARTH_PREFETCH_IN_STEPS lines therefore come there first, and from there, shortly before they are used, into the first. Beyond
 * the weights there may be nothing: a prefetch never faults. */
HEARTH_ALWAYS_INLINE void prefetch_ahead(const uint8_t *p, size_t bytes, size_t prefetch_bytes)
{
    const char *far = (const char *)p + prefetch_bytes, *near = (const char *)p + PREFETCH_NEAR_BYTES;
    if (prefetch_bytes & HEARTH_PREFETCH_IN_STEPS)
        for (size_t i = 0; i < bytes; i += 64) {
            _mm_prefetch(far + i, _MM_HINT_T1);
            _mm_prefetch(near + i, _MM_HINT_T0);
        }
    else
        for (size_t i = 0; i < bytes; i += 64)
            _mm_prefetch(far + i, _MM_HINT_T0);
}

#endif
