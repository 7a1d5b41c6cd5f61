/* The engine: machine, kernels, workers and the memory cap. */
#include "engine.h"
#include "common/checked.h"
#include "common/status.h"
#include "cpu.h"
#include "plan.h"
#include <stdlib.h>

#define PREFETCH_WINDOW ((uint64_t)64 << 20)
#define CACHE_BUDGET_MAX ((uint64_t)1 << 48) /* as much as addresses have */

const char *hearth_version(void)
{
    return HEARTH_VERSION;
}

int32_t hearth_abi(void)
{
    return HEARTH_ABI;
}

static const struct {
    const char *name;
    int32_t exit_code;
} statuses[] = {
#define STATUS_ROW(name, exit_code) {#name, exit_code},
    HEARTH_STATUS_LIST(STATUS_ROW)
#undef STATUS_ROW
};

#define N_STATUSES ((int32_t)(sizeof statuses / sizeof statuses[0]))

const char *hearth_status_name(hearth_status status)
{
    return status >= 0 && status < N_STATUSES ? statuses[status].name : "E_UNKNOWN";
}

int32_t hearth_status_exit_code(hearth_status status)
{
    return status >= 0 && status < N_STATUSES ? statuses[status].exit_code : 1;
}

/* ---- Memory under the cap ------------------------------------------------------------------------------------------- */

struct populate_job {
    const struct hearth_arena *arena;
    _Atomic bool refused;
};

static void populate_share(void *context, uint32_t worker, uint32_t workers)
{
    struct populate_job *job = context;
    if (!hearth_arena_populate(job->arena, worker, workers))
        atomic_store(&job->refused, true);
}

bool hearth_engine_populate(struct hearth_engine *e, const struct hearth_arena *arena)
{
    struct populate_job job = {.arena = arena};
    hearth_pool_run(e->pool, populate_share, &job);
    return !job.refused;
}

static void tell_fallback(struct hearth_engine *e, const struct hearth_arena *arena)
{
    char line[192];
    if (!e->log || !arena->fell_back || atomic_exchange(&e->told_pages, true))
        return;
    (void)snprintf(line, sizeof line,
                   "memory: too few free hugetlb pages, smaller ones serve: %" PRIu64 " of %" PRIu64
                   " bytes are in such pages (pools: /sys/kernel/mm/hugepages)",
                   arena->held, arena->bytes);
    e->log(1, line, e->log_user);
}

static void wipe_share(void *context, uint32_t worker, uint32_t workers)
{
    hearth_arena_wipe(context, worker, workers);
}

static hearth_status borrow(struct hearth_engine *e, struct hearth_arena *out, const struct hearth_arena *counted,
                            hearth_error *err)
{
    HEARTH_TRY(hearth_arena_borrow(out, counted, e->pages, &e->allocator, err));
    hearth_pool_run(e->pool, wipe_share, out);
    return HEARTH_OK;
}

/* Hugetlb pages are touched at once, by all workers: one that the system would refuse later would end the process. */
static hearth_status reserve(struct hearth_engine *e, struct hearth_arena *out, const struct hearth_arena *counted,
                             hearth_error *err)
{
    if (e->allocator.allocate)
        return borrow(e, out, counted, err);
    HEARTH_TRY(hearth_arena_reserve(out, counted, e->pages, err));
    if (out->held && !hearth_engine_populate(e, out)) {
        hearth_arena_release(out);
        HEARTH_TRY(hearth_arena_reserve(out, counted, HEARTH_PAGES_AUTO, err));
        out->fell_back = true;
    }
    tell_fallback(e, out);
    return HEARTH_OK;
}

hearth_status hearth_engine_reserve(struct hearth_engine *e, struct hearth_arena *out, const struct hearth_arena *counted,
                                    hearth_error *err)
{
    const uint64_t bytes = hearth_arena_rounded(counted->used, e->pages);
    *out = (struct hearth_arena){0};
    uint64_t seen = atomic_load(&e->reserved);
    uint64_t sum;
    do {
        const uint64_t left = e->cap > seen ? e->cap - seen : 0;
        if (counted->overflow || bytes > left)
            return hearth_fail_needed(err, HEARTH_E_MEMORY, bytes, left,
                                      "memory: the cap is reached (got %" PRIu64 " left, need %" PRIu64 ")", left, bytes);
        sum = seen + bytes;
    } while (!atomic_compare_exchange_weak(&e->reserved, &seen, sum));
    const hearth_status status = reserve(e, out, counted, err);
    if (status != HEARTH_OK)
        atomic_fetch_sub(&e->reserved, bytes);
    return status;
}

uint64_t hearth_engine_blas_bytes(const struct hearth_engine *e)
{
    return e->blas.library ? HEARTH_BLAS_BYTES + e->workers * HEARTH_BLAS_WORKER_BYTES : 0;
}

uint64_t hearth_engine_own_bytes(const struct hearth_engine *e)
{
    return HEARTH_PROCESS_BYTES + hearth_engine_blas_bytes(e) + e->arena.bytes +
           hearth_arena_rounded(e->prefix_cache.counted.used, e->pages);
}

hearth_status hearth_engine_start_prefix_cache(struct hearth_engine *e, hearth_error *err)
{
    struct hearth_prefix_cache *c = &e->prefix_cache;
    struct hearth_arena arena;
    hearth_status status = HEARTH_OK;
    (void)pthread_mutex_lock(&c->starting);
    if (c->counted.used && !c->arena.base) {
        status = reserve(e, &arena, &c->counted, err);
        if (status == HEARTH_OK) {
            (void)hearth_engine_populate(e, &arena);
            hearth_prefix_cache_start(c, &arena);
        }
    }
    (void)pthread_mutex_unlock(&c->starting);
    return status;
}

void hearth_engine_release(struct hearth_engine *e, struct hearth_arena *arena)
{
    atomic_fetch_sub(&e->reserved, arena->bytes);
    hearth_arena_release(arena);
}

/* ---- Kernels -------------------------------------------------------------------------------------------------------- */

static hearth_status wanted_level(enum hearth_cpu_level *out, hearth_error *err)
{
    *out = hearth_cpu_detect();
    const char *name = getenv("HEARTH_CPU");
    if (!name || !*name)
        return HEARTH_OK;
    enum hearth_cpu_level wanted;
    char quoted[HEARTH_QUOTE_MAX];
    if (!hearth_cpu_level_parse(&wanted, name))
        return hearth_fail(err, HEARTH_E_CONFIG, "E_CPU",
                           "HEARTH_CPU: no such level (got %s, need reference, avx2, avxvnni or avx512)",
                           hearth_quote(quoted, name, strlen(name)));
    if (!hearth_cpu_runs(wanted))
        return hearth_fail(err, HEARTH_E_CONFIG, "E_CPU", "HEARTH_CPU: this CPU does not have the level (got %s, need %s or lower)",
                           hearth_cpu_level_name(wanted), hearth_cpu_level_name(*out));
    *out = wanted;
    return HEARTH_OK;
}

/* Runs on a worker, where rounding is defined. Marks chosen kernels that disagree with the reference. */
struct selftest_job {
    const struct hearth_kernel_set *set;
    bool *refused;
    bool any;
};

static void selftest(void *context, uint32_t worker, uint32_t workers)
{
    (void)workers;
    struct selftest_job *job = context;
    if (worker != 0)
        return;
    for (size_t i = 0; i < hearth_kernel_count; i++) {
        const struct hearth_kernel *k = &hearth_kernels[i];
        if (job->set->chosen[k->op][hearth_op_has_format(k->op) ? k->format : 0] != k || k->level == HEARTH_CPU_REFERENCE)
            continue;
        if (!hearth_kernel_selftest(k))
            job->refused[i] = job->any = true;
    }
}

/* Choose, test, and where a kernel fails choose again without it. */
static hearth_status choose_kernels(struct hearth_engine *e, enum hearth_cpu_level level, hearth_error *err)
{
    bool *refused = calloc(hearth_kernel_count, sizeof *refused);
    if (!refused)
        return hearth_fail_needed(err, HEARTH_E_MEMORY, hearth_kernel_count * sizeof *refused, 0,
                                  "engine: no memory for the kernel self-test (need %zu bytes)",
                                  hearth_kernel_count * sizeof *refused);
    struct selftest_job job = {.set = &e->kernels, .refused = refused};
    do {
        job.any = false;
        hearth_kernels_choose(&e->kernels, level, refused);
        hearth_pool_run(e->pool, selftest, &job);
    } while (job.any);
    for (size_t i = 0; i < hearth_kernel_count && e->log; i++) {
        char line[128];
        (void)snprintf(line, sizeof line, "kernel %s disagrees with the reference on this CPU and is not used",
                       hearth_kernels[i].name);
        if (refused[i])
            e->log(1, line, e->log_user);
    }
    free(refused);
    return HEARTH_OK;
}

/* ---- Opening and closing -------------------------------------------------------------------------------------------- */

static hearth_status start_threads(struct hearth_engine *e, hearth_error *err)
{
    struct hearth_arena counting = {0};
    (void)hearth_arena_take(&counting, HEARTH_PLAN_THREADS, HEARTH_FORK_MARK_BYTES, 1);
    (void)hearth_arena_take(&counting, HEARTH_PLAN_THREADS, hearth_pool_bytes(e->workers), 1);
    HEARTH_TRY(hearth_arena_reserve(&e->arena, &counting, HEARTH_PAGES_4K, err)); /* guard pages lie between the stacks */
    atomic_store(&e->reserved, hearth_engine_own_bytes(e));                       /* not held against the cap: the first plan is */
    e->fork_mark = hearth_arena_take(&e->arena, HEARTH_PLAN_THREADS, HEARTH_FORK_MARK_BYTES, 1);
    void *memory = hearth_arena_take(&e->arena, HEARTH_PLAN_THREADS, hearth_pool_bytes(e->workers), 1);
    hearth_machine_fork_mark(e->fork_mark);
    return hearth_pool_open(&e->pool, memory, hearth_pool_bytes(e->workers), e->workers, &e->topology, err);
}

static hearth_status open_blas(struct hearth_engine *e, int32_t float_gemm, hearth_error *err)
{
    if (float_gemm == HEARTH_FLOAT_GEMM_OWN)
        return HEARTH_OK;
    if (float_gemm != HEARTH_FLOAT_GEMM_BLAS)
        return hearth_fail(err, HEARTH_E_CONFIG, NULL, "engine options: no such float_gemm (got %" PRId32 ", need %d or %d)",
                           float_gemm, HEARTH_FLOAT_GEMM_OWN, HEARTH_FLOAT_GEMM_BLAS);
    return hearth_blas_open(&e->blas, err);
}

static hearth_status take_pages(struct hearth_engine *e, int32_t pages, hearth_error *err)
{
    if (pages < HEARTH_PAGES_AUTO || pages > HEARTH_PAGES_1G)
        return hearth_fail(err, HEARTH_E_CONFIG, NULL, "engine options: no such pages (got %" PRId32 ", need %d to %d)", pages,
                           HEARTH_PAGES_AUTO, HEARTH_PAGES_1G);
    e->pages = pages;
    return HEARTH_OK;
}

static uint64_t choose_cap(uint64_t given)
{
    const uint64_t cap = given ? given : hearth_machine_default_cap(hearth_machine_available_memory(""));
    const uint64_t limit = hearth_machine_data_limit(HEARTH_PROCESS_BYTES);
    return cap < limit ? cap : limit;
}

static hearth_status copy_text(struct hearth_engine *e, char **out, const char *text, hearth_error *err)
{
    void *copy;
    const size_t bytes = strlen(text) + 1;
    HEARTH_TRY(hearth_handle_take(&copy, &e->allocator, bytes, "engine: pack cache", err));
    *out = memcpy(copy, text, bytes);
    return HEARTH_OK;
}

static hearth_status take_cache_budget(struct hearth_engine *e, uint64_t budget, hearth_error *err)
{
    hearth_prefix_cache_init(&e->prefix_cache, budget <= CACHE_BUDGET_MAX ? budget : 0);
    return budget <= CACHE_BUDGET_MAX
               ? HEARTH_OK
               : hearth_fail(err, HEARTH_E_CONFIG, NULL,
                             "engine options: cache_budget is too large (got %" PRIu64 ", need at most %" PRIu64 ")", budget,
                             CACHE_BUDGET_MAX);
}

static hearth_status open_engine(struct hearth_engine *e, const hearth_engine_options *options, hearth_error *err)
{
    HEARTH_TRY(take_cache_budget(e, options->cache_budget, err));
    e->log = options->log;
    e->log_user = options->log_user;
    e->progress = options->progress;
    e->progress_user = options->progress_user;
    e->should_stop = options->abort;
    e->stop_user = options->abort_user;
    enum hearth_cpu_level level;
    if (options->pack_cache && options->pack_cache[0])
        HEARTH_TRY(copy_text(e, &e->pack_cache, options->pack_cache, err));
    HEARTH_TRY(wanted_level(&level, err));
    HEARTH_TRY(hearth_topology_read(&e->topology, err));
    HEARTH_TRY(hearth_topology_choose(&e->topology, options->threads, &e->workers, err));
    e->cap = choose_cap(options->ram_cap);
    e->prefetch_window = options->prefetch_window ? options->prefetch_window : PREFETCH_WINDOW;
    HEARTH_TRY(take_pages(e, options->pages, err));
    if (options->verify < HEARTH_VERIFY_FULL || options->verify > HEARTH_VERIFY_OFF)
        return hearth_fail(err, HEARTH_E_CONFIG, NULL, "engine options: verify is unknown (got %" PRId32 ")", options->verify);
    e->verify = options->verify;
    HEARTH_TRY(open_blas(e, options->float_gemm, err));
    HEARTH_TRY(start_threads(e, err));
    HEARTH_TRY(choose_kernels(e, level, err));
    char threads[HEARTH_TOPOLOGY_TEXT];
    char loose[64] = "";
    const uint32_t pinned = hearth_pool_pinned(e->pool);
    hearth_topology_explain(&e->topology, e->workers, threads);
    if (pinned < e->workers)
        (void)snprintf(loose, sizeof loose, "; the system let only %" PRIu32 " be pinned", pinned);
    (void)snprintf(e->summary, sizeof e->summary, "%s kernels%s; %s%s%s", hearth_cpu_level_name(level),
                   level < hearth_cpu_detect() ? " (lowered by HEARTH_CPU)" : "", threads, loose,
                   e->blas.library ? "; float weights of prompts by OpenBLAS, outside the bit contract" : "");
    return HEARTH_OK;
}

hearth_status hearth_engine_open(hearth_engine **out, const hearth_engine_options *options, hearth_error *error)
{
    hearth_engine_options known = {.struct_size = sizeof known};
    const size_t least = offsetof(hearth_engine_options, float_gemm); /* of the first version */
    HEARTH_NEED(out, error);
    *out = NULL;
    if (options && options->struct_size < least)
        return hearth_fail(error, HEARTH_E_CONFIG, NULL, "engine options: struct_size is too small (got %" PRIu32 ", need %zu)",
                           options->struct_size, least);
    if (options)
        memcpy(&known, options, options->struct_size < sizeof known ? options->struct_size : sizeof known);
    hearth_allocator allocator;
    void *handle;
    HEARTH_TRY(hearth_allocator_copy(&allocator, known.allocator, error));
    HEARTH_TRY(hearth_handle_take(&handle, &allocator, sizeof(struct hearth_engine), "engine", error));
    struct hearth_engine *e = handle;
    e->allocator = allocator;
    atomic_store(&e->users, 1);
    const hearth_status status = open_engine(e, &known, error);
    if (status != HEARTH_OK) {
        hearth_engine_close(e);
        return status;
    }
    *out = e;
    return HEARTH_OK;
}

void hearth_engine_close(hearth_engine *e)
{
    if (e)
        hearth_engine_leave(e);
}

void hearth_engine_leave(struct hearth_engine *e)
{
    if (atomic_fetch_sub(&e->users, 1) != 1)
        return;
    if (e->pool && !hearth_machine_forked(e->fork_mark))
        hearth_pool_close(e->pool);
    hearth_prefix_cache_close(&e->prefix_cache);
    hearth_arena_release(&e->arena);
    hearth_blas_close(&e->blas);
    const hearth_allocator allocator = e->allocator;
    hearth_handle_release(&allocator, e->pack_cache, e->pack_cache ? strlen(e->pack_cache) + 1 : 0);
    hearth_handle_release(&allocator, e, sizeof *e);
}

hearth_status hearth_engine_check(struct hearth_engine *e, hearth_error *err)
{
    if (hearth_machine_forked(e->fork_mark))
        return hearth_fail(err, HEARTH_E_FORKED, NULL,
                           "engine: the process has forked since it was opened; open a new one in the child");
    return HEARTH_OK;
}

const char *hearth_engine_summary(const hearth_engine *e)
{
    return e ? e->summary : "";
}

uint32_t hearth_engine_threads(const hearth_engine *e)
{
    return e ? e->workers : 0;
}

const char *hearth_engine_cpu_level(const hearth_engine *e)
{
    return e ? hearth_cpu_level_name(e->kernels.level) : "";
}
