/* Memory as planned; see arena.h. */
#include "arena.h"
#include "allocator.h"
#include "common/checked.h"
#include "common/status.h"
#include <errno.h>
#include <sys/mman.h>

#define SLICE_STEP 64u /* a cache line, and the alignment the kernels' layouts want */
#define SMALL_PAGE 4096u
#define HUGE_PAGE ((uint64_t)2 << 20)
#define GIANT_PAGE ((uint64_t)1 << 30)

/* The system's numbers, where the C library's headers are older. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000 /* Linux 4.17; before, a hint */
#endif
#ifndef MAP_HUGE_SHIFT
#define MAP_HUGE_SHIFT 26
#endif

static uint64_t page_of(uint64_t bytes, int32_t pages)
{
    return bytes >= HUGE_PAGE && pages != HEARTH_PAGES_4K ? HUGE_PAGE : SMALL_PAGE;
}

uint64_t hearth_arena_rounded(uint64_t bytes, int32_t pages)
{
    uint64_t rounded;
    return hearth_round_up_u64(&rounded, bytes, page_of(bytes, pages)) ? rounded : UINT64_MAX;
}

/* mmap gives 4 KiB alignment; huge pages need theirs. Ask for one page more and give the ends back. What is left stays without
 * access, and so without weight: a limit on private memory (RLIMIT_DATA) never sees the surplus. */
static uint8_t *find_place(uint64_t bytes, uint64_t alignment)
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
    return p + skip;
}

static bool map_ordinary(struct hearth_arena *arena, uint64_t bytes, uint64_t alignment)
{
    uint8_t *p = find_place(bytes, alignment);
    if (p && mprotect(p, bytes, PROT_READ | PROT_WRITE) != 0) {
        (void)munmap(p, bytes);
        p = NULL;
    }
    arena->base = p;
    return p != NULL;
}

/* At this place and nowhere else, replacing nothing. */
static bool map_at(uint8_t *at, uint64_t bytes, int flags)
{
    uint8_t *p = mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | flags, -1, 0);
    if (p != at && p != MAP_FAILED)
        (void)munmap(p, bytes);
    return p == at;
}

/* In the largest pages up to `page` that can be had for all of it. Hugetlb pages are promised when they are mapped: none can be
 * missing later, but for a limit of the hugetlb cgroup, which populating meets. */
static bool map_stretch(struct hearth_arena *arena, uint8_t *at, uint64_t bytes, uint64_t page)
{
    const int giant = MAP_HUGETLB | 30 << MAP_HUGE_SHIFT;
    const int huge = MAP_HUGETLB | 21 << MAP_HUGE_SHIFT;
    const bool has_giant = page == GIANT_PAGE && map_at(at, bytes, giant);
    const bool has_huge = !has_giant && map_at(at, bytes, huge);
    arena->held += has_giant || has_huge ? bytes : 0;
    arena->fell_back |= page == GIANT_PAGE ? !has_giant : !has_huge;
    if (has_giant || has_huge)
        return true;
    if (!map_at(at, bytes, MAP_NORESERVE)) /* the cap is the promise, not the system's guess */
        return false;
    (void)madvise(at, bytes, MADV_HUGEPAGE);
    return true;
}

/* Whole GiB first, the rest behind them. A place is found and given up, and then taken by stretches that replace nothing: another
 * thread may have been faster, and then this fails like anything else. */
static bool map_with_held(struct hearth_arena *arena, uint64_t bytes, int32_t pages)
{
    const uint64_t giant = pages == HEARTH_PAGES_1G ? bytes / GIANT_PAGE * GIANT_PAGE : 0;
    uint8_t *at = find_place(bytes, giant ? GIANT_PAGE : HUGE_PAGE);
    if (!at)
        return false;
    (void)munmap(at, bytes);
    if (giant && !map_stretch(arena, at, giant, GIANT_PAGE))
        return false;
    if (bytes > giant && !map_stretch(arena, at + giant, bytes - giant, HUGE_PAGE)) {
        if (giant)
            (void)munmap(at, giant);
        return false;
    }
    arena->base = at;
    return true;
}

/* Bytes to be had for what has been counted; 0: nothing. */
static hearth_status begin(struct hearth_arena *out, const struct hearth_arena *counted, int32_t pages, uint64_t *bytes,
                           hearth_error *err)
{
    *out = (struct hearth_arena){0};
    *bytes = hearth_arena_rounded(counted->used, pages);
    if (counted->overflow || *bytes == UINT64_MAX)
        return hearth_fail(err, HEARTH_E_MEMORY, NULL, "memory plan: the sizes do not fit in 64 bits");
    return HEARTH_OK;
}

static void finish(struct hearth_arena *out, const struct hearth_arena *counted, uint64_t bytes, uint64_t page)
{
    out->bytes = bytes;
    out->page = page;
    memcpy(out->planned, counted->taken, sizeof out->planned);
}

hearth_status hearth_arena_reserve(struct hearth_arena *out, const struct hearth_arena *counted, int32_t pages, hearth_error *err)
{
    uint64_t bytes;
    HEARTH_TRY(begin(out, counted, pages, &bytes, err));
    if (bytes == 0)
        return HEARTH_OK;
    const uint64_t page = page_of(bytes, pages);
    const bool wanted = pages >= HEARTH_PAGES_2M && page == HUGE_PAGE;
    const bool held = wanted && map_with_held(out, bytes, pages);
    if (wanted && !held)
        *out = (struct hearth_arena){.fell_back = true};
    if (!held && !map_ordinary(out, bytes, page))
        return hearth_fail_needed(err, HEARTH_E_MEMORY, bytes, 0, "memory: the system refused %" PRIu64 " bytes of address space",
                                  bytes);
    if (!held && page == HUGE_PAGE)
        (void)madvise(out->base, bytes, MADV_HUGEPAGE); /* refused where huge pages are off: 4 KiB pages serve */
    else if (!held)
        (void)madvise(out->base, bytes, MADV_NOHUGEPAGE); /* a neighbour's huge page must not swallow it: counted at 4 KiB */
    finish(out, counted, bytes, page);
    return HEARTH_OK;
}

hearth_status hearth_arena_borrow(struct hearth_arena *out, const struct hearth_arena *counted, int32_t pages,
                                  const hearth_allocator *allocator, hearth_error *err)
{
    uint64_t bytes;
    void *base;
    HEARTH_TRY(begin(out, counted, pages, &bytes, err));
    if (bytes == 0)
        return HEARTH_OK;
    const uint64_t page = page_of(bytes, pages);
    HEARTH_TRY(hearth_allocator_take(&base, allocator, bytes, page, err));
    out->base = base;
    out->allocator = allocator;
    finish(out, counted, bytes, page);
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

struct span {
    uint64_t begin, end;
};

static struct span share_of(const struct hearth_arena *arena, uint32_t part, uint32_t parts)
{
    const uint64_t pages = arena->bytes / arena->page;
    return (struct span){pages * part / parts * arena->page, pages * (part + 1) / parts * arena->page};
}

void hearth_arena_wipe(const struct hearth_arena *arena, uint32_t part, uint32_t parts)
{
    if (!arena->base)
        return;
    const struct span share = share_of(arena, part, parts);
    memset(arena->base + share.begin, 0, share.end - share.begin);
}

bool hearth_arena_populate(const struct hearth_arena *arena, uint32_t part, uint32_t parts)
{
    if (!arena->base)
        return true;
    const struct span share = share_of(arena, part, parts);
    const uint64_t begin = share.begin;
    const uint64_t end = share.end;
    if (begin == end || madvise(arena->base + begin, end - begin, MADV_POPULATE_WRITE) == 0)
        return true;
    if (arena->held && errno != EINVAL)
        return false;
    for (uint64_t at = begin; at < end; at += SMALL_PAGE) { /* older kernels: write each page's first byte back to itself */
        volatile uint8_t *byte = arena->base + at;
        *byte = *byte;
    }
    return true;
}

uint64_t hearth_arena_discard(const struct hearth_arena *arena, void *slice, uint64_t bytes)
{
    const uint64_t at = (uint64_t)((uint8_t *)slice - arena->base);
    const uint64_t begin = hearth_align(at, SMALL_PAGE);
    const uint64_t end = (at + bytes) & ~(uint64_t)(SMALL_PAGE - 1);
    return begin < end && !arena->allocator && arena->held == 0 && madvise(arena->base + begin, end - begin, MADV_DONTNEED) == 0
               ? end - begin
               : 0;
}

void hearth_arena_release(struct hearth_arena *arena)
{
    if (arena->base && arena->allocator)
        arena->allocator->release(arena->base, (size_t)arena->bytes, arena->allocator->user);
    else if (arena->base)
        (void)munmap(arena->base, arena->bytes);
    *arena = (struct hearth_arena){0};
}
