/* Arenas under each policy of pages: the plan's sizes, what the kernel counts, and falling back. Pools of hugetlb pages are the
 * administrator's; where they are empty, what is tested is that nothing but the kind of page changes. */
#include "arena.h"
#include "engine.h"
#include "gguf_builder.h"
#include "memory_source.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

static hearth_error err;

static struct hearth_arena counting_of(uint64_t bytes)
{
    struct hearth_arena counting = {0};
    (void)hearth_arena_take(&counting, HEARTH_PLAN_KV, bytes, 1);
    return counting;
}

Test(arena, rounding_by_policy)
{
    for (int32_t pages = HEARTH_PAGES_AUTO; pages <= HEARTH_PAGES_1G; pages++) {
        const bool small_only = pages == HEARTH_PAGES_4K;
        cr_expect_eq(hearth_arena_rounded(0, pages), 0);
        cr_expect_eq(hearth_arena_rounded(1, pages), 4 * KIB);
        cr_expect_eq(hearth_arena_rounded(2 * MIB - 1, pages), 2 * MIB);
        cr_expect_eq(hearth_arena_rounded(2 * MIB + 1, pages), small_only ? 2 * MIB + 4 * KIB : 4 * MIB);
        cr_expect_eq(hearth_arena_rounded(5 * GIB / 4 + 1, pages), 5 * GIB / 4 + (small_only ? 4 * KIB : 2 * MIB),
                     "the rest behind whole GiB is in smaller pages");
        cr_expect_eq(hearth_arena_rounded(UINT64_MAX - 5, pages), UINT64_MAX, "what does not fit in 64 bits fits no machine");
    }
}

/* Reserved, written and counted, with no more private writable memory allowed than the plan has. */
static int use_arena(uint64_t bytes, int32_t pages)
{
    const struct hearth_arena counting = counting_of(bytes);
    struct hearth_arena arena;
    struct rlimit limit;
    const uint64_t before = hearth_machine_private_bytes();
    if (hearth_arena_reserve(&arena, &counting, pages, &err) != HEARTH_OK || arena.bytes != hearth_arena_rounded(bytes, pages))
        return 1;
    uint8_t *slice = hearth_arena_take(&arena, HEARTH_PLAN_KV, bytes, 1);
    for (uint64_t i = 0; i < bytes; i += 4096)
        if (slice[i] != 0)
            return 2;
    memset(slice, 7, bytes);
    for (uint32_t part = 0; part < 3; part++)
        if (!hearth_arena_populate(&arena, part, 3))
            return 3;
    for (uint64_t i = 0; i < bytes; i++)
        if (slice[i] != 7)
            return 4;
    const uint64_t grown = hearth_machine_private_bytes() - before;
    if (before && (grown + 64 * KIB < arena.bytes || grown > arena.bytes + 64 * KIB))
        return 5;
    hearth_arena_release(&arena);
    /* What is left of the limit is one page short. */
    limit.rlim_cur = limit.rlim_max = hearth_arena_rounded(bytes, pages) - 4096;
    if (setrlimit(RLIMIT_DATA, &limit) != 0 || hearth_arena_reserve(&arena, &counting, pages, &err) != HEARTH_E_MEMORY)
        return 6;
    return err.needed == hearth_arena_rounded(bytes, pages) && arena.base == NULL ? 0 : 7;
}

Test(arena, every_policy_takes_what_it_says)
{
    const uint64_t sizes[] = {64, 300 * KIB, 2 * MIB, 5 * MIB + 64};
    for (int32_t pages = HEARTH_PAGES_AUTO; pages <= HEARTH_PAGES_1G; pages++)
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            const pid_t child = fork(); /* a limit cannot be taken back */
            cr_assert(child >= 0);
            if (child == 0)
                _exit(use_arena(sizes[i], pages));
            int state;
            cr_assert_eq(waitpid(child, &state, 0), child);
            cr_expect(WIFEXITED(state) && WEXITSTATUS(state) == 0, "policy %d, %llu bytes: state %x", pages,
                      (unsigned long long)sizes[i], (unsigned)state);
        }
}

/* More than any pool has. */
Test(arena, whole_gibibytes_and_the_rest_fall_back)
{
    const uint64_t bytes = 64 * GIB + 3 * MIB;
    const struct hearth_arena counting = counting_of(bytes);
    struct hearth_arena arena;
    if (hearth_arena_reserve(&arena, &counting, HEARTH_PAGES_1G, &err) != HEARTH_OK)
        cr_skip_test("the system does not promise 64 GiB");
    cr_expect_eq(arena.bytes, 64 * GIB + 4 * MIB);
    cr_expect(arena.held < arena.bytes && arena.fell_back);
    arena.base[0] = arena.base[64 * GIB - 1] = arena.base[64 * GIB] = arena.base[arena.bytes - 1] = 1;
    cr_expect_eq((uintptr_t)arena.base % GIB, 0);
    hearth_arena_release(&arena);
}

/* ---- An engine ------------------------------------------------------------------------------------------------------ */

static struct gguf_builder builder;
static unsigned n_told;
static uint64_t most_ahead, n_asked, n_read; /* bytes */

static void count_fallback(int32_t level, const char *message, void *user)
{
    (void)user;
    n_told += level == 1 && strstr(message, "hugetlb") != NULL;
}

/* A model and a session of more than 2 MiB. What they took, and what was planned. */
static void open_and_close(const hearth_engine_options *options, struct memory_source *source, uint64_t *taken, uint64_t *planned)
{
    const hearth_limits limits = {.struct_size = sizeof limits, .context = 8192};
    hearth_engine *engine;
    hearth_model *model;
    hearth_session *session;
    hearth_plan *plan;
    const int32_t ids[] = {3, 1, 4};
    cr_assert_eq(hearth_engine_open(&engine, options, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_plan_open_source(&plan, engine, &source->source, &limits, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_model_open_source(&model, engine, &source->source, &limits, NULL, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_session_open(&session, model, &limits, &err), HEARTH_OK, "%s", err.message);
    cr_expect_eq(hearth_session_feed(session, ids, 3, &err), HEARTH_OK, "%s", err.message);
    *taken = atomic_load(&engine->reserved);
    *planned = hearth_plan_private_bytes(plan) - hearth_plan_line_bytes(plan, HEARTH_PLAN_LOADING);
    hearth_plan_close(plan);
    hearth_session_close(session);
    hearth_model_close(model);
    hearth_engine_close(engine);
}

Test(arena, an_engine_takes_what_it_plans_and_tells_once)
{
    struct memory_source source = {0};
    size_t size;
    gguf_builder_init(&builder);
    gguf_builder_add_llama(&builder, NULL);
    uint8_t *file = gguf_builder_finish(&builder, &size);
    cr_assert_eq(memory_source_open(&source, file, size, &err), HEARTH_OK, "%s", err.message);
    uint64_t before = 0;
    for (int32_t pages = HEARTH_PAGES_AUTO; pages <= HEARTH_PAGES_1G; pages++) {
        const hearth_engine_options options = {.struct_size = sizeof options, .threads = 2, .pages = pages, .log = count_fallback};
        uint64_t taken;
        uint64_t planned;
        n_told = 0;
        open_and_close(&options, &source, &taken, &planned);
        cr_expect_eq(taken, planned, "policy %d", pages);
        cr_expect(pages <= HEARTH_PAGES_4K ? n_told == 0 : n_told <= 1, "told %u times", n_told);
        if (pages >= HEARTH_PAGES_2M)
            cr_expect_eq(planned, before, "the kind of huge page changes no size");
        if (pages != HEARTH_PAGES_4K)
            before = planned;
        else
            cr_expect_leq(planned, before);
    }
    hearth_engine *engine;
    for (int32_t pages = -1; pages <= HEARTH_PAGES_1G + 1; pages += HEARTH_PAGES_1G + 2) {
        const hearth_engine_options options = {.struct_size = sizeof options, .threads = 1, .pages = pages};
        cr_expect_eq(hearth_engine_open(&engine, &options, &err), HEARTH_E_CONFIG);
        cr_expect(strstr(err.message, "pages"), "%s", err.message);
    }
    memory_source_close(&source);
    free(file);
    gguf_builder_free(&builder);
}

/* ---- What is asked for ahead ---------------------------------------------------------------------------------------- */

/* One worker, so that what has been asked for and not yet read is the difference of two sums. */
static void note_expect(void *context, uint64_t offset, uint64_t n)
{
    (void)context;
    (void)offset;
    n_asked += n;
}

static hearth_status note_read(void *context, void *out, uint64_t offset, size_t n, hearth_error *error)
{
    const struct memory_source *source = context;
    (void)error;
    n_read += n;
    const uint64_t ahead = n_asked > n_read ? n_asked - n_read : 0;
    most_ahead = ahead > most_ahead ? ahead : most_ahead;
    memcpy(out, source->bytes + offset, n);
    return HEARTH_OK;
}

static uint64_t ahead_with(struct memory_source *source, uint64_t window)
{
    const hearth_engine_options options = {.struct_size = sizeof options, .threads = 1, .prefetch_window = window};
    uint64_t taken;
    uint64_t planned;
    most_ahead = n_asked = n_read = 0;
    open_and_close(&options, source, &taken, &planned);
    cr_expect_gt(n_read, 0);
    cr_expect_eq(n_asked, n_read, "all that is read is asked for, once");
    return most_ahead;
}

Test(arena, the_prefetch_window_bounds_what_is_asked_for_ahead)
{
    struct memory_source source = {0};
    size_t size;
    const struct gguf_shape shape = {.n_layer = 12};
    gguf_builder_init(&builder);
    gguf_builder_add_llama(&builder, &shape);
    uint8_t *file = gguf_builder_finish(&builder, &size);
    cr_assert_eq(memory_source_open(&source, file, size, &err), HEARTH_OK, "%s", err.message);
    source.source.expect = note_expect;
    source.source.read = note_read;
    const uint64_t narrow = ahead_with(&source, 1);
    const uint64_t wide = ahead_with(&source, 64 * KIB);
    const uint64_t all = ahead_with(&source, 0);
    cr_expect(narrow < wide && wide < all, "ahead: %llu, %llu, %llu bytes", (unsigned long long)narrow, (unsigned long long)wide,
              (unsigned long long)all);
    memory_source_close(&source);
    free(file);
    gguf_builder_free(&builder);
}
