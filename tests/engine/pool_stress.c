/* The thread pool under stress: a plain program for TSan and valgrind, exit 0 or 1. Arguments: seed, rounds.
 *
 * pool.c is included here, so that time can be lost between any two of its steps that other threads see, at random but by the seed,
 * and so that the system can be made to refuse threads and guard pages. */
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static void lose_time(void);
static int refusing_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument);
static int refusing_mprotect(void *address, size_t length, int protection);
#define HEARTH_POOL_SYNC_POINT() lose_time()
#define pthread_create refusing_create
#define mprotect refusing_mprotect
#include "pool.c"
#undef pthread_create
#undef mprotect
#include <dirent.h>

#define CHECK(condition)                                                                                                           \
    do {                                                                                                                           \
        if (!(condition)) {                                                                                                        \
            fprintf(stderr, "pool_stress: line %d: %s (seed %llu)\n", __LINE__, #condition, (unsigned long long)seed);             \
            exit(1);                                                                                                               \
        }                                                                                                                          \
    } while (0)

#define NEVER UINT32_MAX

static uint64_t seed = 1;
static unsigned lose_one_in; /* 0: lose no time */
static _Atomic uint64_t threads_seen;
static uint32_t refuse_create_at = NEVER;
static uint32_t refuse_mprotect_at = NEVER;

/* ---- Chance and refusals ---------------------------------------------------------------------------------------- */

static uint64_t chance(void)
{
    static _Thread_local uint64_t state;
    if (state == 0)
        state = seed * 0x9e3779b97f4a7c15u + atomic_fetch_add(&threads_seen, 1) * 0xbf58476d1ce4e5b9u + 1;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void lose_time(void)
{
    if (lose_one_in == 0 || chance() % lose_one_in != 0)
        return;
    switch (chance() % 4) {
    case 0:
        (void)usleep((useconds_t)(chance() % 100));
        break;
    case 1:
        for (uint64_t i = chance() % 2000; i > 0; i--)
            _mm_pause();
        break;
    default:
        (void)sched_yield();
    }
}

static int refusing_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument)
{
    if (refuse_create_at != NEVER && refuse_create_at-- == 0)
        return EAGAIN;
    return pthread_create(thread, attributes, start, argument);
}

static int refusing_mprotect(void *address, size_t length, int protection)
{
    if (refuse_mprotect_at != NEVER && refuse_mprotect_at-- == 0) {
        errno = ENOMEM;
        return -1;
    }
    return mprotect(address, length, protection);
}

/* ---- A pool to test --------------------------------------------------------------------------------------------- */

static struct hearth_topology topology; /* what this process may run on */

static void read_affinity(void)
{
    cpu_set_t set;
    CHECK(sched_getaffinity(0, sizeof set, &set) == 0);
    for (uint32_t pu = 0; pu < CPU_SETSIZE && topology.n_pus < HEARTH_WORKERS_MAX; pu++)
        if (CPU_ISSET(pu, &set))
            topology.pu[topology.n_pus++] = (uint16_t)pu;
    topology.n_cores = topology.n_performance = topology.n_pus;
}

struct fixture {
    struct hearth_pool *pool;
    uint8_t *memory;
    uint64_t bytes;
};

static struct fixture memory_make(uint32_t workers)
{
    struct fixture f = {.bytes = hearth_pool_bytes(workers)};
    f.memory = mmap(NULL, f.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(f.memory != MAP_FAILED);
    return f;
}

/* `processors`: how many the pool is told there are, which decides who spins and who sleeps. */
static struct fixture pool_make(uint32_t workers, uint32_t processors)
{
    struct hearth_topology told = topology;
    for (uint32_t i = 0; i < processors; i++)
        told.pu[i] = topology.pu[i % topology.n_pus];
    told.n_pus = processors;
    struct fixture f = memory_make(workers);
    hearth_error err;
    CHECK(hearth_pool_open(&f.pool, f.memory, f.bytes, workers, &told, &err) == HEARTH_OK);
    CHECK(hearth_pool_workers(f.pool) == workers && hearth_pool_pinned(f.pool) == workers);
    return f;
}

static void pool_drop(struct fixture *f)
{
    hearth_pool_close(f->pool);
    memset(f->memory, 0xa5, f->bytes); /* all of it is ours again */
    CHECK(munmap(f->memory, f->bytes) == 0);
}

static uint32_t thread_count(void)
{
    uint32_t n = 0;
    DIR *tasks = opendir("/proc/self/task");
    CHECK(tasks);
    for (struct dirent *e; (e = readdir(tasks)) != NULL;)
        n += e->d_name[0] != '.';
    (void)closedir(tasks);
    return n;
}

/* A joined thread may stay listed for a moment. */
static void expect_threads(uint32_t n)
{
    for (int tries = 0; thread_count() != n && tries < 1000; tries++)
        (void)usleep(1000);
    CHECK(thread_count() == n);
}

/* ---- Jobs and barriers ------------------------------------------------------------------------------------------ */

#define WORKERS_TESTED 9

/* Plain variables only: that no two threads touch one at a time is the pool's doing, and TSan is the judge. */
struct relay {
    struct hearth_pool *pool;
    uint32_t steps;
    uint32_t slot[WORKERS_TESTED];
    uint32_t errors[WORKERS_TESTED];
    uint32_t visits[WORKERS_TESTED];
};

static void relay_run(void *job, uint32_t worker, uint32_t workers)
{
    struct relay *r = job;
    r->visits[worker]++;
    for (uint32_t step = 1; step <= r->steps; step++) {
        r->slot[worker] = step + worker;
        lose_time();
        hearth_pool_barrier(r->pool, worker);
        for (uint32_t other = 0; other < workers; other++)
            r->errors[worker] += r->slot[other] != step + other;
        hearth_pool_barrier(r->pool, worker);
    }
}

static void relay_check(const struct relay *r, uint32_t workers, uint32_t visits)
{
    for (uint32_t i = 0; i < workers; i++)
        CHECK(r->visits[i] == visits && r->errors[i] == 0);
}

static void test_jobs_and_barriers(uint32_t workers, uint32_t processors, uint32_t rounds)
{
    struct fixture f = pool_make(workers, processors);
    struct relay r = {.pool = f.pool};
    for (uint32_t i = 0; i < rounds; i++) {
        r.steps = (uint32_t)(chance() % 20);
        hearth_pool_run(f.pool, relay_run, &r);
        if (chance() % 16 == 0)
            (void)usleep((useconds_t)(chance() % 700)); /* around the time that idle workers spin */
    }
    relay_check(&r, workers, rounds);
    pool_drop(&f);
}

/* ---- Several callers -------------------------------------------------------------------------------------------- */

#define CALLERS 4

struct caller {
    pthread_t thread;
    struct relay relay;
    uint32_t rounds;
};

static void *call(void *argument)
{
    struct caller *c = argument;
    for (uint32_t i = 0; i < c->rounds; i++) {
        hearth_pool_run(c->relay.pool, relay_run, &c->relay);
        lose_time();
    }
    return NULL;
}

static void test_several_callers(uint32_t workers, uint32_t processors, uint32_t rounds)
{
    struct fixture f = pool_make(workers, processors);
    struct caller callers[CALLERS];
    for (int i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){.relay = {.pool = f.pool, .steps = 3}, .rounds = rounds};
        CHECK(pthread_create(&callers[i].thread, NULL, call, &callers[i]) == 0);
    }
    for (int i = 0; i < CALLERS; i++) {
        CHECK(pthread_join(callers[i].thread, NULL) == 0);
        relay_check(&callers[i].relay, workers, rounds);
    }
    pool_drop(&f);
}

/* ---- What a worker finds ---------------------------------------------------------------------------------------- */

struct environment {
    struct fixture *f;
    uint32_t processor[WORKERS_TESTED];
    bool right[WORKERS_TESTED];
};

/* All but those that a thread's own instruction raises. */
static bool signals_blocked(void)
{
    sigset_t set;
    if (pthread_sigmask(SIG_BLOCK, NULL, &set) != 0)
        return false;
    for (int s = 1; s < 32; s++)
        if (s != SIGKILL && s != SIGSTOP &&
            (sigismember(&set, s) == 1) ==
                (s == SIGBUS || s == SIGSEGV || s == SIGFPE || s == SIGILL || s == SIGTRAP || s == SIGSYS))
            return false;
    return true;
}

static void look_around(void *job, uint32_t worker, uint32_t workers)
{
    struct environment *e = job;
    const uint8_t *here = __builtin_frame_address(0);
    const uint8_t *stack =
        e->f->memory + e->f->bytes - (uint64_t)(workers - worker) * (HEARTH_POOL_STACK_BYTES + HEARTH_POOL_PAGE) + HEARTH_POOL_PAGE;
    const bool in_stack = here > stack && here < stack + HEARTH_POOL_STACK_BYTES;
    const volatile float smallest = 0x1p-126f;
    const volatile float half = smallest * 0.5f; /* a denormal, 0 under FTZ */
    e->processor[worker] = (uint32_t)sched_getcpu();
    e->right[worker] = in_stack && signals_blocked() && (_mm_getcsr() & MXCSR_CONTROL) == MXCSR_DEFAULT && half > 0.0f;
}

/* The guard page must refuse even the kernel's own reading of it. */
static bool readable(const void *address)
{
    int ends[2];
    CHECK(pipe(ends) == 0);
    const bool ok = write(ends[1], address, 1) == 1;
    (void)close(ends[0]), (void)close(ends[1]);
    return ok;
}

static void check_pages(const struct fixture *f, uint32_t workers)
{
    const uint64_t slot = HEARTH_POOL_STACK_BYTES + HEARTH_POOL_PAGE;
    const uint64_t header = f->bytes - workers * slot;
    uint64_t guards = 0;
    for (uint64_t at = 0; at < f->bytes; at += HEARTH_POOL_PAGE) {
        const bool guard = at >= header && (at - header) % slot == 0;
        unsigned char resident = 0;
        CHECK(mincore(f->memory + at, HEARTH_POOL_PAGE, &resident) == 0);
        CHECK(readable(f->memory + at) == !guard);
        CHECK((resident & 1) == !guard);
        guards += guard;
    }
    CHECK(guards * HEARTH_POOL_PAGE == hearth_pool_guard_bytes(workers));
}

static void test_environment(uint32_t workers)
{
    const unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0xe040u); /* the host flushes denormals and truncates */
    struct fixture f = pool_make(workers, topology.n_pus);
    struct environment e = {.f = &f};
    hearth_pool_run(f.pool, look_around, &e);
    CHECK((_mm_getcsr() & MXCSR_CONTROL) == ((before | 0xe040u) & MXCSR_CONTROL));
    _mm_setcsr(before);
    for (uint32_t i = 0; i < workers; i++)
        CHECK(e.right[i] && e.processor[i] == topology.pu[i % topology.n_pus]);
    check_pages(&f, workers);
    pool_drop(&f);
}

/* ---- Signals and idleness --------------------------------------------------------------------------------------- */

static pthread_t main_thread;
static volatile sig_atomic_t caught;
static volatile sig_atomic_t caught_elsewhere;

static void on_signal(int number)
{
    (void)number;
    caught++;
    caught_elsewhere |= !pthread_equal(pthread_self(), main_thread);
}

static void *storm(void *argument)
{
    _Atomic bool *stop_now = argument;
    sigset_t set;
    (void)sigfillset(&set);
    (void)pthread_sigmask(SIG_SETMASK, &set, NULL);
    while (!atomic_load(stop_now)) {
        (void)kill(getpid(), SIGUSR1);
        (void)usleep(50);
    }
    return NULL;
}

/* Signals of the process interrupt the waiting caller's futex, and never reach a worker. */
static void test_signals(uint32_t rounds)
{
    main_thread = pthread_self();
    CHECK(signal(SIGUSR1, on_signal) != SIG_ERR);
    struct fixture f = pool_make(3, topology.n_pus);
    pthread_t sender;
    _Atomic bool stop_now = false;
    CHECK(pthread_create(&sender, NULL, storm, &stop_now) == 0);
    struct relay r = {.pool = f.pool, .steps = 10};
    uint32_t runs = 0;
    for (; runs < rounds || caught < 20; runs++)
        hearth_pool_run(f.pool, relay_run, &r);
    atomic_store(&stop_now, true);
    CHECK(pthread_join(sender, NULL) == 0);
    relay_check(&r, 3, runs);
    CHECK(!caught_elsewhere);
    pool_drop(&f);
}

static uint64_t cpu_ns(void)
{
    struct timespec t;
    CHECK(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) == 0);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void test_idle_takes_no_time(void)
{
    struct fixture f = pool_make(2, 16);
    hearth_pool_run(f.pool, do_nothing, NULL);
    (void)usleep(20000);
    const uint64_t before = cpu_ns();
    (void)usleep(200000);
    CHECK(cpu_ns() - before < 10000000u); /* spinning would take 400 ms; the sanitizers have a thread of their own */
    pool_drop(&f);
}

/* ---- Opening and failing ---------------------------------------------------------------------------------------- */

static void test_cycles(uint32_t rounds)
{
    const uint32_t before = thread_count();
    for (uint32_t i = 0; i < rounds; i++) {
        struct fixture f = pool_make(1 + i % 4, 1 + i % 6);
        pool_drop(&f);
    }
    expect_threads(before);
}

static void test_refusals(void)
{
    const uint32_t workers = 5;
    const uint32_t before = thread_count();
    for (uint32_t i = 0; i < 2 * workers; i++) {
        struct fixture f = memory_make(workers);
        hearth_error err;
        (i < workers ? (refuse_create_at = i) : (refuse_mprotect_at = i - workers));
        CHECK(hearth_pool_open(&f.pool, f.memory, f.bytes, workers, &topology, &err) == HEARTH_E_IO);
        CHECK(!f.pool && err.code == HEARTH_E_IO && err.message[0] != '\0');
        refuse_create_at = refuse_mprotect_at = NEVER;
        expect_threads(before);
        pool_drop(&f);
    }
}

static void test_arguments(void)
{
    struct fixture f = memory_make(2);
    hearth_error err;
    CHECK(hearth_pool_open(&f.pool, f.memory, f.bytes, 0, &topology, &err) == HEARTH_E_CONFIG && !f.pool);
    CHECK(hearth_pool_open(&f.pool, f.memory, f.bytes, HEARTH_WORKERS_MAX + 1, &topology, &err) == HEARTH_E_CONFIG);
    CHECK(hearth_pool_open(&f.pool, f.memory, f.bytes, 3, &topology, &err) == HEARTH_E_CONFIG);
    CHECK(hearth_pool_open(&f.pool, f.memory + 64, f.bytes, 1, &topology, NULL) == HEARTH_E_CONFIG);
    CHECK(hearth_pool_open(&f.pool, f.memory, f.bytes - 1, 2, &topology, NULL) == HEARTH_E_CONFIG);
    pool_drop(&f);
    for (uint32_t n = 1; n <= HEARTH_WORKERS_MAX; n *= 2)
        CHECK(hearth_pool_bytes(n) % HEARTH_POOL_PAGE == 0 && hearth_pool_bytes(n) > (uint64_t)n * HEARTH_POOL_STACK_BYTES);
}

int main(int argc, char **argv)
{
    seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    const uint32_t rounds = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 50;
    (void)alarm(300); /* a lost wake-up ends here */
    read_affinity();
    test_arguments();
    test_environment(1);
    test_environment(3);
    test_refusals();
    test_idle_takes_no_time();
    static const unsigned losses[] = {0, 3, 50};
    static const uint32_t processors[] = {1, 2, 4, 16}; /* everyone sleeps at once ... everyone spins, the caller too */
    for (size_t l = 0; l < sizeof losses / sizeof losses[0]; l++)
        for (size_t p = 0; p < sizeof processors / sizeof processors[0]; p++) {
            lose_one_in = losses[l];
            for (uint32_t workers = 1; workers <= WORKERS_TESTED; workers += 1 + workers / 3)
                test_jobs_and_barriers(workers, processors[p], rounds);
            test_several_callers(3, processors[p], rounds / 4);
        }
    test_signals(rounds);
    test_cycles(rounds);
    printf("pool_stress: passed, seed %llu, %u rounds\n", (unsigned long long)seed, rounds);
    return 0;
}
