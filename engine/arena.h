/* Memory as planned: one reservation, cut into slices that each name a line of the plan.
 *
 * The same layout function runs twice. First over a counting arena (no memory), which is how the plan is made; then over a
 * reserved one, which is how the plan is executed. A slice beyond its line's planned bytes is refused, so plan and use cannot part.
 *
 * How large an arena becomes never depends on which pages the system has: below 2 MiB it is whole pages of 4 KiB, above whole pages
 * of 2 MiB, or of 4 KiB where the policy asks for those alone. Pages of 1 GiB are used for the whole GiB of an arena, and what is
 * left over takes those of 2 MiB. So a plan holds whatever falls back to what. */
#ifndef HEARTH_ENGINE_ARENA_H
#define HEARTH_ENGINE_ARENA_H

#include "hearth.h"

enum hearth_plan_item {
    HEARTH_PLAN_WEIGHTS,
    HEARTH_PLAN_DESCRIPTION,
    HEARTH_PLAN_TOKENIZER,
    HEARTH_PLAN_KV,
    HEARTH_PLAN_ACTIVATIONS,
    HEARTH_PLAN_LOGITS,
    HEARTH_PLAN_SCRATCH,
    HEARTH_PLAN_SESSION,
    HEARTH_PLAN_CHAT, /* messages, and what the template works in */
    HEARTH_PLAN_THREADS,
    HEARTH_PLAN_PREFIX_CACHE,
    HEARTH_PLAN_LOADING,  /* buffers while loading, where they exceed what the session takes later */
    HEARTH_PLAN_ROUNDING, /* to whole pages */
    HEARTH_PLAN_PROCESS,  /* libc, hwloc, the program: measured once */
    HEARTH_PLAN_BLAS,     /* OpenBLAS, where the engine uses it; the last line, left out where it does not */
    HEARTH_PLAN_ITEM_COUNT
};

struct hearth_arena {
    const hearth_allocator *allocator; /* that gave the memory; NULL: the system */
    uint8_t *base;                     /* NULL: counting only */
    uint64_t bytes;                    /* reserved, whole pages */
    uint64_t page;                     /* bytes; what populating steps by */
    uint64_t held;                     /* of `bytes`, in pages that the system keeps apart (hugetlb) */
    bool fell_back;                    /* some of those that the policy asks for were not there */
    uint64_t used;                     /* cut into slices so far */
    bool overflow;                     /* a size did not fit in 64 bits, or a slice exceeded its line */
    uint64_t planned[HEARTH_PLAN_ITEM_COUNT];
    uint64_t taken[HEARTH_PLAN_ITEM_COUNT];
};

/* Reserve memory for what `counted`, a counting arena that a layout function has run over, adds up to. pages: HEARTH_PAGES_*; pages
 * that the system does not have are replaced by the next smaller kind (out->fell_back tells). The pages are not touched yet.
 * E_MEMORY when the kernel refuses. */
hearth_status hearth_arena_reserve(struct hearth_arena *out, const struct hearth_arena *counted, int32_t pages, hearth_error *err);
/* The same from the host's allocator, which must outlive the arena. The memory is as dirty as it came: the caller wipes it. */
hearth_status hearth_arena_borrow(struct hearth_arena *out, const struct hearth_arena *counted, int32_t pages,
                                  const hearth_allocator *allocator, hearth_error *err);
/* Wipe the part'th of `parts` equal shares; as populate. */
void hearth_arena_wipe(const struct hearth_arena *arena, uint32_t part, uint32_t parts);
/* Whole pages for `bytes` under a policy. */
uint64_t hearth_arena_rounded(uint64_t bytes, int32_t pages);
/* Cut a slice of n * size bytes, 64-byte aligned and zeroed; NULL when counting, or when it is refused (overflow is then set). */
void *hearth_arena_take(struct hearth_arena *arena, enum hearth_plan_item item, uint64_t n, uint64_t size);
/* Touch the part'th of `parts` equal shares of the pages without changing their contents; call it from the worker that will use
 * them. false: the system has promised hugetlb pages that it now refuses (a limit of their cgroup); touching them would end the
 * process. */
bool hearth_arena_populate(const struct hearth_arena *arena, uint32_t part, uint32_t parts);
/* Give the whole pages of 4 KiB within a piece of a slice back to the system: they read as zeros, and come back when they are
 * written to. Returns their bytes. (Of a huge page, what is left keeps it together until the system needs the rest.)
 * 0, and nothing happens, where the memory is the host's, and where some of it is hugetlb pages: these would be missing later if
 * others took them meanwhile. */
uint64_t hearth_arena_discard(const struct hearth_arena *arena, void *slice, uint64_t bytes);
/* Give the memory back. A zeroed or counting arena is allowed. */
void hearth_arena_release(struct hearth_arena *arena);

#endif
