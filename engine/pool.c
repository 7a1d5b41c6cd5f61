/* The worker threads; see pool.h.
 *
 * Three gates do all the waiting: `start` lets the workers into a job, `done` lets the caller out of it, `barrier` holds the
 * workers together inside. A gate is a generation number that one thread advances and the others watch, first by spinning, then in
 * a futex.
 *
 * No wake-up is lost: who goes to sleep first counts itself in `sleepers` and then lets the kernel compare the generation; who
 * opens the gate first advances the generation and then reads `sleepers`. Both pairs are sequentially consistent, so either the
 * opener sees the sleeper and wakes it, or the kernel sees the new generation and does not put it to sleep.
 *
 * A generation cannot come round unnoticed: it advances only after all that watch it have passed the one before. */
#include "pool.h"
#include "common/checked.h"
#include "common/status.h"
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <xmmintrin.h>

#define APART 128 /* bytes between words of different writers: processors fetch cache lines in pairs */
#define PAUSES_PER_LOOK 32
#define BARRIER_SPIN_NS 30000
#define IDLE_SPIN_NS 300000 /* outlasts the choice of a token between two forward passes */
#define CALLER_SPIN_NS 30000
#define SPINS_FAILED_MAX 2
#define MXCSR_DEFAULT 0x1f80u     /* round to nearest even, FTZ and DAZ off, exceptions masked */
#define MXCSR_CONTROL 0x0000ffc0u /* without the six sticky exception flags */

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

/* The stress test defines this to lose time between any two steps that other threads can see. */
#ifndef HEARTH_POOL_SYNC_POINT
#define HEARTH_POOL_SYNC_POINT() ((void)0)
#endif

struct gate {
    alignas(APART) _Atomic uint32_t generation; /* the futex word */
    _Atomic uint32_t sleepers;
};

struct worker {
    alignas(APART) struct hearth_pool *pool;
    uint8_t *stack; /* its lowest byte, above the guard page */
    pthread_t thread;
    uint32_t index;
    uint32_t pu;
    uint32_t failed_spins; /* in a row, in this job */
    bool pinned;
    bool float_default;
};

struct hearth_pool {
    uint32_t workers;
    bool spin;        /* each worker has a processor to itself */
    bool caller_spin; /* and so has the caller; if not, it sleeps at once */
    pthread_mutex_t callers;
    hearth_pool_fn *fn; /* NULL: leave */
    void *job;
    uint32_t left_out; /* index of the worker that has no part in the job; UINT32_MAX: all have */
    uint32_t parts;    /* workers that have one */
    struct gate start;
    struct gate done;
    struct gate barrier;
    alignas(APART) _Atomic uint32_t working; /* workers that have not finished the job */
    alignas(APART) _Atomic uint32_t arrived; /* workers at the barrier */
    struct worker worker[];
};

/* ---- Gates ------------------------------------------------------------------------------------------------------ */

static uint64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static bool moved_on(struct gate *g, uint32_t seen)
{
    return atomic_load_explicit(&g->generation, memory_order_acquire) != seen;
}

/* Look again and again; false when the budget is used up. `yield`: let others have the processor between looks. Inside a job nobody
 * else should want it. Between jobs the scheduler may well have put the caller and a worker, which cannot move, on the same one. */
static bool gate_spin(struct gate *g, uint32_t seen, uint64_t budget_ns, bool yield)
{
    uint64_t begin = 0;
    for (;;) {
        for (int i = 0; i < PAUSES_PER_LOOK; i++) {
            if (moved_on(g, seen))
                return true;
            _mm_pause();
        }
        const uint64_t now = now_ns();
        if (begin == 0)
            begin = now;
        else if (now - begin > budget_ns)
            return false;
        if (yield)
            (void)sched_yield();
    }
}

static void gate_sleep(struct gate *g, uint32_t seen)
{
    atomic_fetch_add_explicit(&g->sleepers, 1, memory_order_seq_cst);
    HEARTH_POOL_SYNC_POINT();
    while (!moved_on(g, seen)) {
        HEARTH_POOL_SYNC_POINT();
        (void)syscall(SYS_futex, &g->generation, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
    }
    atomic_fetch_sub_explicit(&g->sleepers, 1, memory_order_seq_cst);
}

/* One thread at a time. */
static void gate_open(struct gate *g)
{
    const uint32_t next = atomic_load_explicit(&g->generation, memory_order_relaxed) + 1;
    HEARTH_POOL_SYNC_POINT();
    atomic_store_explicit(&g->generation, next, memory_order_seq_cst);
    HEARTH_POOL_SYNC_POINT();
    if (atomic_load_explicit(&g->sleepers, memory_order_seq_cst) > 0)
        (void)syscall(SYS_futex, &g->generation, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/* ---- Jobs ------------------------------------------------------------------------------------------------------- */

void hearth_pool_run_without(struct hearth_pool *p, uint32_t left_out, hearth_pool_fn *fn, void *job)
{
    (void)pthread_mutex_lock(&p->callers);
    p->fn = fn;
    p->job = job;
    p->left_out = left_out;
    p->parts = p->workers - (left_out < p->workers);
    const uint32_t seen = atomic_load_explicit(&p->done.generation, memory_order_relaxed);
    atomic_store_explicit(&p->working, p->workers, memory_order_relaxed);
    gate_open(&p->start);
    if (!p->caller_spin || !gate_spin(&p->done, seen, CALLER_SPIN_NS, true))
        gate_sleep(&p->done, seen);
    (void)pthread_mutex_unlock(&p->callers);
}

void hearth_pool_run(struct hearth_pool *p, hearth_pool_fn *fn, void *job)
{
    hearth_pool_run_without(p, UINT32_MAX, fn, job);
}

void hearth_pool_barrier(struct hearth_pool *p, uint32_t worker)
{
    if (p->parts == 1)
        return;
    struct worker *w = &p->worker[worker + (worker >= p->left_out)];
    const uint32_t seen = atomic_load_explicit(&p->barrier.generation, memory_order_relaxed); /* cannot move before we arrive */
    HEARTH_POOL_SYNC_POINT();
    if (atomic_fetch_add_explicit(&p->arrived, 1, memory_order_acq_rel) + 1 == p->parts) {
        atomic_store_explicit(&p->arrived, 0, memory_order_relaxed); /* seen by all before they arrive again */
        gate_open(&p->barrier);
        return;
    }
    HEARTH_POOL_SYNC_POINT();
    if (p->spin && w->failed_spins < SPINS_FAILED_MAX) {
        if (gate_spin(&p->barrier, seen, BARRIER_SPIN_NS, false)) {
            w->failed_spins = 0;
            return;
        }
        w->failed_spins++;
    }
    gate_sleep(&p->barrier, seen);
}

/* ---- Workers ---------------------------------------------------------------------------------------------------- */

static bool pin_self(uint32_t pu)
{
    uint64_t mask[HEARTH_PU_WORDS] = {0};
    mask[pu / 64] = UINT64_C(1) << (pu % 64);
    return pthread_setaffinity_np(pthread_self(), sizeof mask, (const cpu_set_t *)(const void *)mask) == 0;
}

/* Every page of the own stack, from the processor that will use it. Older kernels: write each page's first byte back to itself; at
 * and above this frame all pages have been written. Nobody else knows these bytes, and signals are blocked, so none can change in
 * between. */
__attribute__((no_sanitize_address)) static void populate_stack(uint8_t *stack)
{
    if (madvise(stack, HEARTH_POOL_STACK_BYTES, MADV_POPULATE_WRITE) == 0)
        return;
    const uintptr_t end = (uintptr_t)__builtin_frame_address(0);
    for (volatile uint8_t *at = stack; (uintptr_t)at < end; at += HEARTH_POOL_PAGE)
        *at = *at;
}

/* A new thread inherits its creator's floating point control, whatever the host has made of it. */
static bool reset_float(void)
{
    _mm_setcsr(MXCSR_DEFAULT);
    return (_mm_getcsr() & MXCSR_CONTROL) == MXCSR_DEFAULT;
}

static void prepare(struct worker *w)
{
    char name[16];
    (void)snprintf(name, sizeof name, "hearth-%" PRIu32, w->index);
    (void)pthread_setname_np(pthread_self(), name);
    w->pinned = pin_self(w->pu);
    populate_stack(w->stack);
    w->float_default = reset_float();
}

static void *work(void *argument)
{
    struct worker *w = argument;
    struct hearth_pool *p = w->pool;
    prepare(w);
    for (uint32_t seen = 0;; seen++) {
        HEARTH_POOL_SYNC_POINT();
        if (!p->spin || !gate_spin(&p->start, seen, IDLE_SPIN_NS, true))
            gate_sleep(&p->start, seen);
        if (!p->fn)
            return NULL;
        w->failed_spins = 0;
        if (w->index != p->left_out)
            p->fn(p->job, w->index - (w->index > p->left_out), p->parts);
        HEARTH_POOL_SYNC_POINT();
        if (atomic_fetch_sub_explicit(&p->working, 1, memory_order_acq_rel) == 1)
            gate_open(&p->done);
    }
}

/* ---- Open and close --------------------------------------------------------------------------------------------- */

static uint64_t header_bytes(uint32_t workers)
{
    return hearth_align(sizeof(struct hearth_pool) + workers * sizeof(struct worker), HEARTH_POOL_PAGE);
}

uint64_t hearth_pool_guard_bytes(uint32_t workers)
{
    return (uint64_t)workers * HEARTH_POOL_PAGE;
}

uint64_t hearth_pool_bytes(uint32_t workers)
{
    return header_bytes(workers) + (uint64_t)workers * HEARTH_POOL_STACK_BYTES + hearth_pool_guard_bytes(workers);
}

uint32_t hearth_pool_workers(const struct hearth_pool *pool)
{
    return pool->workers;
}

uint32_t hearth_pool_pinned(const struct hearth_pool *pool)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < pool->workers; i++)
        n += pool->worker[i].pinned;
    return n;
}

/* Of the first n workers. */
static void guards_remove(struct hearth_pool *p, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        (void)mprotect(p->worker[i].stack - HEARTH_POOL_PAGE, HEARTH_POOL_PAGE, PROT_READ | PROT_WRITE);
}

static hearth_status guards_set(struct hearth_pool *p, hearth_error *err)
{
    for (uint32_t i = 0; i < p->workers; i++)
        if (mprotect(p->worker[i].stack - HEARTH_POOL_PAGE, HEARTH_POOL_PAGE, PROT_NONE) != 0) {
            const int error = errno;
            guards_remove(p, i);
            return hearth_fail(err, HEARTH_E_IO, NULL,
                               "threads: guard page: refused for worker %" PRIu32 " of %" PRIu32 " (error %d)", i, p->workers,
                               error);
        }
    return HEARTH_OK;
}

static int start_worker(struct worker *w)
{
    pthread_attr_t attributes;
    int error = pthread_attr_init(&attributes);
    if (error)
        return error;
    error = pthread_attr_setstack(&attributes, w->stack, HEARTH_POOL_STACK_BYTES);
    if (!error)
        error = pthread_create(&w->thread, &attributes, work, w);
    (void)pthread_attr_destroy(&attributes);
    return error;
}

/* Send the first n workers home. */
static void stop(struct hearth_pool *p, uint32_t n)
{
    p->fn = NULL;
    gate_open(&p->start);
    for (uint32_t i = 0; i < n; i++)
        (void)pthread_join(p->worker[i].thread, NULL);
}

/* Signals are blocked around the creation, so that a worker never runs with the host's mask. */
static hearth_status start_all(struct hearth_pool *p, hearth_error *err)
{
    static const int of_the_thread[] = {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGSYS}; /* blocked they end the process */
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    for (size_t i = 0; i < sizeof of_the_thread / sizeof of_the_thread[0]; i++)
        (void)sigdelset(&all, of_the_thread[i]);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = 0;
    uint32_t n = 0;
    while (n < p->workers && (error = start_worker(&p->worker[n])) == 0)
        n++;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!error)
        return HEARTH_OK;
    stop(p, n);
    return hearth_fail(err, HEARTH_E_IO, NULL, "threads: the system refused worker %" PRIu32 " of %" PRIu32 " (error %d)", n,
                       p->workers, error);
}

static void do_nothing(void *job, uint32_t worker, uint32_t workers)
{
    (void)job, (void)worker, (void)workers;
}

/* Workers prepare themselves before their first job, so after an empty one all are ready. */
static hearth_status check_all(struct hearth_pool *p, hearth_error *err)
{
    hearth_pool_run(p, do_nothing, NULL);
    for (uint32_t i = 0; i < p->workers; i++)
        if (!p->worker[i].float_default) {
            stop(p, p->workers);
            return hearth_fail(err, HEARTH_E_INFERENCE, NULL,
                               "threads: worker %" PRIu32 ": rounding mode and denormals cannot be set", i);
        }
    return HEARTH_OK;
}

static void lay_out(struct hearth_pool *p, uint32_t workers, const struct hearth_topology *t)
{
    uint8_t *at = (uint8_t *)p + header_bytes(workers);
    memset(p, 0, header_bytes(workers));
    p->workers = workers;
    p->spin = !hearth_topology_oversubscribed(t, workers);
    p->caller_spin = !hearth_topology_oversubscribed(t, workers + 1);
    for (uint32_t i = 0; i < workers; i++, at += HEARTH_POOL_PAGE + HEARTH_POOL_STACK_BYTES)
        p->worker[i] = (struct worker){.pool = p, .index = i, .stack = at + HEARTH_POOL_PAGE, .pu = t->pu[i % t->n_pus]};
}

hearth_status hearth_pool_open(struct hearth_pool **out, void *memory, uint64_t bytes, uint32_t workers,
                               const struct hearth_topology *topology, hearth_error *err)
{
    *out = NULL;
    if (workers == 0 || workers > HEARTH_WORKERS_MAX)
        return hearth_fail(err, HEARTH_E_CONFIG, NULL, "threads: number out of range (got %" PRIu32 ", need 1 to %u)", workers,
                           HEARTH_WORKERS_MAX);
    if ((uintptr_t)memory % HEARTH_POOL_PAGE != 0 || bytes < hearth_pool_bytes(workers))
        return hearth_fail(err, HEARTH_E_CONFIG, NULL,
                           "threads: memory not page aligned or too small (got %" PRIu64 ", need %" PRIu64 ")", bytes,
                           hearth_pool_bytes(workers));
    struct hearth_pool *p = memory;
    lay_out(p, workers, topology);
    const int error = pthread_mutex_init(&p->callers, NULL);
    if (error)
        return hearth_fail(err, HEARTH_E_IO, NULL, "threads: the system refused a lock (error %d)", error);
    hearth_status s = guards_set(p, err);
    if (s == HEARTH_OK) {
        s = start_all(p, err);
        if (s == HEARTH_OK)
            s = check_all(p, err);
        if (s != HEARTH_OK)
            guards_remove(p, workers);
    }
    if (s != HEARTH_OK) {
        (void)pthread_mutex_destroy(&p->callers);
        return s;
    }
    *out = p;
    return HEARTH_OK;
}

void hearth_pool_close(struct hearth_pool *pool)
{
    if (!pool)
        return;
    stop(pool, pool->workers);
    guards_remove(pool, pool->workers);
    (void)pthread_mutex_destroy(&pool->callers);
}
