/* Every allocation and every thread that opening needs is refused once: the n-th of malloc, calloc, realloc, mmap and
 * pthread_create together, n = 1, 2, ... until nothing is left to refuse. Each time there is an error with a sentence, and what is
 * alive afterwards is what was alive before. So too with a file of packed weights, which then is done without. hwloc is left out:
 * it is not ours to test. Then the same with a host's allocator, which refuses each of its requests once: there the call that
 * failed is made again on the same objects, and succeeds. A plain program, because it replaces what a test framework would be
 * using. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#include <stdio.h>

int main(void)
{
    (void)puts("SKIPPED: sanitizers replace the allocator themselves");
    return 77;
}
#else
#include "folder.h"
#include "gguf_builder.h"
#include "golden.h"
#include <dlfcn.h>
#include <errno.h>
#include <hwloc.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define N_MAX 10000u

static _Atomic int64_t n_blocks;     /* alive */
static _Atomic int64_t mapped_bytes; /* alive */
static _Atomic int64_t countdown;    /* 0: nothing is refused; 1: the next one */
static _Atomic int paused;

static bool refused(void)
{
    if (atomic_load(&paused) || atomic_load(&countdown) == 0)
        return false;
    if (atomic_fetch_sub(&countdown, 1) != 1)
        return false;
    errno = ENOMEM;
    return true;
}

/* glibc's own names, so that no look-up is needed inside. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);
extern void __libc_free(void *p);

/* hwloc's blocks are not counted either: it keeps some from one time to the next. */
static void count(int64_t change)
{
    if (!atomic_load(&paused))
        atomic_fetch_add(&n_blocks, change);
}

static void *counted(void *p)
{
    if (p)
        count(1);
    return p;
}

/* Seen by libc and hwloc too, whose calls on our behalf count like our own; everything else is compiled hidden. */
#pragma GCC visibility push(default)

void *malloc(size_t size)
{
    return refused() ? NULL : counted(__libc_malloc(size));
}

void *calloc(size_t n, size_t size)
{
    return refused() ? NULL : counted(__libc_calloc(n, size));
}

void *realloc(void *p, size_t size)
{
    if (refused())
        return NULL;
    void *q = __libc_realloc(p, size);
    if (p && size == 0 && !q) /* glibc frees it */
        count(-1);
    return p ? q : counted(q);
}

void free(void *p)
{
    const int kept = errno;
    if (p)
        count(-1);
    __libc_free(p);
    errno = kept;
}

void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
    if (refused())
        return MAP_FAILED;
    void *p = (void *)syscall(SYS_mmap, address, length, protection, flags, fd, offset); /* NOLINT: the system call's own result */
    if (p != MAP_FAILED)
        atomic_fetch_add(&mapped_bytes, (int64_t)length);
    return p;
}

int munmap(void *address, size_t length)
{
    atomic_fetch_sub(&mapped_bytes, (int64_t)length);
    return (int)syscall(SYS_munmap, address, length);
}

/* ISO C has no cast from void * to a function. */
static void next_symbol(void *function, const char *name)
{
    void *symbol = dlsym(RTLD_NEXT, name);
    memcpy(function, &symbol, sizeof symbol);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument)
{
    static int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (!create)
        next_symbol(&create, "pthread_create");
    return refused() ? EAGAIN : create(thread, attributes, start, argument);
}

int hwloc_topology_init(hwloc_topology_t *out)
{
    static int (*init)(hwloc_topology_t *);
    if (!init)
        next_symbol(&init, "hwloc_topology_init");
    atomic_store(&paused, 1); /* until it is destroyed */
    return init(out);
}

void hwloc_topology_destroy(hwloc_topology_t topology)
{
    static void (*destroy)(hwloc_topology_t);
    if (!destroy)
        next_symbol(&destroy, "hwloc_topology_destroy");
    destroy(topology);
    atomic_store(&paused, 0);
}

#pragma GCC visibility pop

/* ---- The host's allocator -------------------------------------------------------------------------------------------- */

extern void *__libc_memalign(size_t alignment, size_t size);

static struct {
    uint32_t countdown; /* 0: nothing is refused; 1: the next request */
    bool refused;       /* since somebody asked */
    int64_t n, bytes;   /* given and not taken back */
} host;

static void *host_allocate(size_t bytes, size_t alignment, void *user)
{
    (void)user;
    if (host.countdown > 0 && --host.countdown == 0) {
        host.refused = true;
        return NULL;
    }
    void *p = __libc_memalign(alignment, bytes);
    if (!p)
        return NULL;
    memset(p, 0xff, bytes);
    host.n++;
    host.bytes += (int64_t)bytes;
    return p;
}

static void host_release(void *memory, size_t bytes, void *user)
{
    (void)user;
    host.n--;
    host.bytes -= (int64_t)bytes;
    __libc_free(memory);
}

static const hearth_allocator host_allocator = {
    .struct_size = sizeof host_allocator, .allocate = host_allocate, .release = host_release};

/* ---- Opening --------------------------------------------------------------------------------------------------------- */

static const char *pack_cache;            /* NULL: none */
static const char *states;                /* of a manager */
static const hearth_allocator *allocator; /* NULL: the system */
static bool host_failed;                  /* a refusal of the host's was not told as it should be */

/* Whether a call is to be made again: the host has refused it something, which it has told. */
static bool again(hearth_status status, const hearth_error *err)
{
    if (!host.refused)
        return false;
    host.refused = false;
    if (status == HEARTH_E_MEMORY && err->code == status && err->needed > 0 && err->message[0])
        return true;
    (void)fprintf(stderr, "FAILED: the host refused, and the call returned %d, '%s'\n", status, err->message);
    host_failed = true;
    return false;
}

static hearth_status use(hearth_session *session, hearth_error *err)
{
    static const int32_t ids[2] = {5, 260};
    const hearth_generation generation = {.struct_size = sizeof generation, .max_tokens = 4};
    const hearth_status status = hearth_session_feed(session, ids, 2, err);
    return status == HEARTH_OK ? hearth_generate(session, &generation, NULL, err) : status;
}

/* What cannot be saved when it is closed is a warning, which nobody hears here. */
static hearth_status manage_and_close(hearth_engine *engine, const char *path, const hearth_limits *limits, hearth_error *err)
{
    const hearth_manager_options options = {.struct_size = sizeof options, .state_folder = states};
    static const int32_t id = 5;
    hearth_manager *manager = NULL;
    hearth_status status;
    do
        status = hearth_manager_open(&manager, engine, &options, err);
    while (again(status, err));
    while (status == HEARTH_OK && again(status = hearth_manager_register(manager, "model", path, limits, err), err))
        status = HEARTH_OK;
    while (status == HEARTH_OK && again(status = hearth_manager_switch(manager, "model", err), err))
        status = HEARTH_OK;
    hearth_session_reset(hearth_manager_session(manager)); /* of the times before */
    if (status == HEARTH_OK)
        status = hearth_session_feed(hearth_manager_session(manager), &id, 1, err);
    if (status == HEARTH_OK)
        status = hearth_manager_unload(manager, "model", err);
    hearth_manager_close(manager);
    return status;
}

static hearth_status open_and_close(const char *path, hearth_error *err)
{
    static const hearth_limits limits = {.struct_size = sizeof limits, .context = 64, .batch = 8, .grammar = 1};
    const hearth_engine_options options = {
        .struct_size = sizeof options, .threads = 3, .pack_cache = pack_cache, .allocator = allocator};
    hearth_engine *engine = NULL;
    hearth_plan *plan = NULL;
    hearth_model *vocabulary = NULL;
    hearth_model *model = NULL;
    hearth_session *session = NULL;
    hearth_status status;
    do
        status = hearth_engine_open(&engine, &options, err);
    while (again(status, err));
    while (status == HEARTH_OK && again(status = hearth_plan_open(&plan, engine, path, &limits, err), err))
        status = HEARTH_OK;
    while (status == HEARTH_OK && again(status = hearth_model_open_vocabulary(&vocabulary, engine, path, err), err))
        status = HEARTH_OK;
    while (status == HEARTH_OK && again(status = hearth_model_open(&model, engine, path, &limits, NULL, err), err))
        status = HEARTH_OK;
    while (status == HEARTH_OK && again(status = hearth_session_open(&session, model, &limits, err), err))
        status = HEARTH_OK;
    if (status == HEARTH_OK)
        status = use(session, err);
    hearth_session_close(session);
    hearth_model_close(model);
    hearth_model_close(vocabulary);
    hearth_plan_close(plan);
    if (status == HEARTH_OK)
        status = manage_and_close(engine, path, &limits, err);
    hearth_engine_close(engine);
    return status;
}

static bool good_refusal(hearth_status status, const hearth_error *err, int64_t blocks, int64_t bytes)
{
    if (atomic_load(&n_blocks) != blocks || atomic_load(&mapped_bytes) != bytes) {
        (void)fprintf(stderr, "FAILED: %" PRId64 " blocks and %" PRId64 " mapped bytes are left behind\n",
                      atomic_load(&n_blocks) - blocks, atomic_load(&mapped_bytes) - bytes);
        return false;
    }
    if ((status == HEARTH_E_MEMORY || status == HEARTH_E_IO) && err->code == status && err->message[0])
        return true;
    (void)fprintf(stderr, "FAILED: status %d, '%s' [%s]\n", status, err->message, err->detail);
    return false;
}

/* false: something went wrong. */
static bool refuse_each(const char *path)
{
    hearth_error err = {0};
    for (int i = 0; i < 2; i++) /* what libraries take once and keep */
        if (open_and_close(path, &err) != HEARTH_OK)
            return good_refusal(HEARTH_OK, &err, atomic_load(&n_blocks), atomic_load(&mapped_bytes));
    const int64_t blocks = atomic_load(&n_blocks);
    const int64_t bytes = atomic_load(&mapped_bytes);
    for (uint32_t n = 1; n < N_MAX; n++) {
        atomic_store(&countdown, n);
        const hearth_status status = open_and_close(path, &err);
        const bool none_left = atomic_exchange(&countdown, 0) > 0;
        if (none_left && status == HEARTH_OK) {
            (void)printf("%" PRIu32 " allocations and threads, each refused once\n", n - 1);
            return n > 10;
        }
        if (status == HEARTH_OK) /* something could do without */
            continue;
        if (!good_refusal(status, &err, blocks, bytes)) {
            (void)fprintf(stderr, "... when number %" PRIu32 " was refused\n", n);
            return false;
        }
    }
    return false;
}

/* The same, by the host. */
static bool refuse_each_of_the_host(const char *path)
{
    hearth_error err = {0};
    allocator = &host_allocator;
    const int64_t blocks = atomic_load(&n_blocks);
    const int64_t bytes = atomic_load(&mapped_bytes);
    for (uint32_t n = 1; n < N_MAX; n++) {
        host.countdown = n;
        const hearth_status status = open_and_close(path, &err);
        const bool none_left = host.countdown > 0;
        host.countdown = 0;
        if (status != HEARTH_OK || host_failed || host.n != 0 || host.bytes != 0 || atomic_load(&n_blocks) != blocks ||
            atomic_load(&mapped_bytes) != bytes) {
            (void)fprintf(stderr,
                          "FAILED: request %" PRIu32 " refused: status %d, '%s'; kept: %" PRId64 " of the host's blocks, %" PRId64
                          " bytes\n",
                          n, status, err.message, host.n, host.bytes);
            return false;
        }
        if (none_left) {
            (void)printf("%" PRIu32 " requests to the host, each refused once\n", n - 1);
            return n > 8;
        }
    }
    return false;
}

int main(void)
{
    (void)puts("tiny model"); /* stdout takes its buffer now */
    static struct gguf_builder builder;
    gguf_builder_init(&builder);
    gguf_builder_add_llama(&builder, &(struct gguf_shape){.rope_freqs = true, .format = HEARTH_Q8_0});
    char path[] = "alloc_fail.XXXXXX";
    const int fd = mkstemp(path);
    if (fd < 0)
        return 1;
    (void)close(fd);
    gguf_builder_write_file(&builder, path);
    gguf_builder_free(&builder);
    char states_folder[] = "alloc_fail_states.XXXXXX";
    states = mkdtemp(states_folder);
    bool good = states && refuse_each(path) && refuse_each_of_the_host(path);
    allocator = NULL;
    char folder[] = "alloc_fail_packed.XXXXXX";
    pack_cache = mkdtemp(folder);
    (void)sleep(4); /* a model that changed just now is not kept */
    good = good && pack_cache && refuse_each(path) && rmdir(folder) != 0 && refuse_each_of_the_host(path); /* something is in it */
    folder_remove(folder);
    folder_remove(states_folder);
    (void)unlink(path);
    return good ? 0 : 1;
}
#endif
