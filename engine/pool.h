/* The worker threads: created once, pinned, asleep when idle. All arithmetic on floats runs on them.
 *
 * The pool lives in memory of the caller: its struct, the state of each worker, and the stacks. Below each stack lies a guard page
 * without access. Nothing is allocated here (libc takes some hundred bytes from the heap for each thread, at open only). */
#ifndef HEARTH_ENGINE_POOL_H
#define HEARTH_ENGINE_POOL_H

#include "hearth.h"
#include "topology.h"

#define HEARTH_POOL_PAGE 4096u
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define HEARTH_POOL_STACK_BYTES (2u << 20) /* gcc's TSan keeps 900 KB for each thread on its own stack; ASan makes frames larger   \
                                            */
#else
#define HEARTH_POOL_STACK_BYTES (256u << 10) /* thread-local variables of the process included */
#endif

struct hearth_pool;

/* Called once on each worker, 0 <= worker < workers. Must not call hearth_pool_run. */
typedef void hearth_pool_fn(void *job, uint32_t worker, uint32_t workers);

/* Bytes of memory to hand to hearth_pool_open: struct, worker states, stacks and guard pages; a multiple of the page. */
uint64_t hearth_pool_bytes(uint32_t workers);
/* Of these, the guard pages, which are never populated: address space, not memory. */
uint64_t hearth_pool_guard_bytes(uint32_t workers);

/**
 * Start the workers. When it returns each has pinned itself to its processor (failing to is no error), blocks all signals but
 * those that its own instructions raise (SIGSEGV, SIGBUS, ...), has its floating point set to the default (round to nearest even,
 * denormals kept, exceptions masked), and has populated its stack.
 *
 * @param memory  Private, anonymous, readable and writable, page aligned, and best not touched yet; it may be part of a larger
 * mapping. While the pool is open nothing else may touch it: in particular nobody may populate or madvise across the guard pages.
 *                Every page but those is populated here.
 * @param bytes   At least hearth_pool_bytes(workers).
 * @return HEARTH_OK; E_CONFIG (0 or more than HEARTH_WORKERS_MAX workers, memory too small or not aligned); E_IO (the system
 * refused a thread or a guard page); E_INFERENCE (floating point could not be set). On failure no thread is left and *out is NULL.
 */
hearth_status hearth_pool_open(struct hearth_pool **out, void *memory, uint64_t bytes, uint32_t workers,
                               const struct hearth_topology *topology, hearth_error *err);

/* Run fn on every worker and wait until all have returned. What the caller wrote before is seen by the workers, and what they wrote
 * is seen by the caller. Callers from several threads wait for each other. Not from a job; not in a child after fork. */
void hearth_pool_run(struct hearth_pool *pool, hearth_pool_fn *fn, void *job);

/* The same without one of them, who sleeps on: the others are numbered from 0 to workers - 2. */
void hearth_pool_run_without(struct hearth_pool *pool, uint32_t left_out, hearth_pool_fn *fn, void *job);

/* Inside a job: wait until every worker has come here. All workers must call it equally often. What was written before it is seen
 * by all after it. Spins for at most some tens of microseconds, then sleeps. */
void hearth_pool_barrier(struct hearth_pool *pool, uint32_t worker);

uint32_t hearth_pool_workers(const struct hearth_pool *pool);
/* Workers that could be pinned. */
uint32_t hearth_pool_pinned(const struct hearth_pool *pool);

/* Stop and join the workers; the memory is the caller's again, readable and writable throughout. NULL is allowed. No job may be
 * running or waiting. Not in a child after fork: the workers are not there to be joined; unmapping the memory is enough. */
void hearth_pool_close(struct hearth_pool *pool);

#endif
