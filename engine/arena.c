/* Memory as planned; see arena.h. */
#include "arena.h"
#include "common/checked.h"
#include "common/status.h"
#include <errno.h>
#include <sys/mman.h>

#define SLICE_STEP 64u /* a cache line, and the alignment the kernels' layouts want */
#define SMALL_PAGE 4096u
#define HUGE_PAGE (2u << 20)

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

uint64_t hearth_arena_rounded(uint64_t bytes)
{
    const uint64_t page = bytes >= HUGE_PAGE ? HUGE_PAGE : SMALL_PAGE;
    uint64_t rounded;
    return hearth_round_up_u64(&rounded, bytes, page) ? rounded : UINT64_MAX;
}

/* mmap gives 4 KiB alignment; huge pages need 2 MiB. Ask for one huge page more and give the ends back. Only what is left becomes
 * writable, so that a limit on private memory (RLIMIT_DATA) never sees the surplus. */
static uint8_t *map_aligned(uint64_t bytes, uint64_t alignment)
{
    uint64_t span;
    if (!hearth_add_u64(&span, bytes, alignment) || span > SIZE_MAX)
        return NULL;
    uint8_t *p = mmap(NULL, span, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    const uint64_t skip = (alignment - (uintptr_t)p % alignment) % alignment;
    if (skip)
        (void)munmap(p, skip);
    if (alignment - skip)
        (void)munmap(p + skip + bytes, alignment - skip);
    if (mprotect(p + skip, bytes, PROT_READ | PROT_WRITE) == 0)
        return p + skip;
    (void)munmap(p + skip, bytes);
    return NULL;
}

hearth_status hearth_arena_reserve(struct hearth_arena *out, const struct hearth_arena *counted, hearth_error *err)
{
    *out = (struct hearth_arena){0};
    const uint64_t bytes = hearth_arena_rounded(counted->used);
    if (counted->overflow || bytes == UINT64_MAX)
        return hearth_fail(err, HEARTH_E_MEMORY, NULL, "memory plan: the sizes do not fit in 64 bits");
    if (bytes == 0)
        return HEARTH_OK;
    const uint64_t alignment = bytes >= HUGE_PAGE ? HUGE_PAGE : SMALL_PAGE;
    uint8_t *base = map_aligned(bytes, alignment);
    if (!base)
        return hearth_fail_needed(err, HEARTH_E_MEMORY, bytes, 0, "memory: the system refused %" PRIu64 " bytes of address space",
                                  bytes);
    if (alignment == HUGE_PAGE)
        (void)madvise(base, bytes, MADV_HUGEPAGE); /* refused where huge pages are off: 4 KiB pages serve */
    else
        (void)madvise(base, bytes, MADV_NOHUGEPAGE); /* a neighbour's huge page must not swallow it: counted at 4 KiB */
    out->base = base;
    out->bytes = bytes;
    memcpy(out->planned, counted->taken, sizeof out->planned);
    return HEARTH_OK;
}

void *hearth_arena_take(struct hearth_arena *arena, enum hearth_plan_item item, uint64_t n, uint64_t size)
{
    uint64_t bytes;
    uint64_t taken;
    uint64_t used;
    const bool fits = hearth_mul_u64(&bytes, n, size) && hearth_round_up_u64(&bytes, bytes, SLICE_STEP) &&
                      hearth_add_u64(&taken, arena->taken[item], bytes) && hearth_add_u64(&used, arena->used, bytes);
    if (!fits || (arena->base && (taken > arena->planned[item] || used > arena->bytes))) {
        arena->overflow = true;
        return NULL;
    }
    void *slice = arena->base ? arena->base + arena->used : NULL;
    arena->taken[item] = taken;
    arena->used = used;
    return slice;
}

void hearth_arena_populate(const struct hearth_arena *arena, uint32_t part, uint32_t parts)
{
    const uint64_t page = arena->bytes >= HUGE_PAGE ? HUGE_PAGE : SMALL_PAGE;
    const uint64_t pages = arena->bytes / page;
    const uint64_t begin = pages * part / parts * page;
    const uint64_t end = pages * (part + 1) / parts * page;
    if (begin == end || madvise(arena->base + begin, end - begin, MADV_POPULATE_WRITE) == 0)
        return;
    for (uint64_t at = begin; at < end; at += SMALL_PAGE) { /* older kernels: write each page's first byte back to itself */
        volatile uint8_t *byte = arena->base + at;
        *byte = *byte;
    }
}

void hearth_arena_release(struct hearth_arena *arena)
{
    if (arena->base)
        (void)munmap(arena->base, arena->bytes);
    *arena = (struct hearth_arena){0};
}
