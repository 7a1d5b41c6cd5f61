/* Every call of the system, and of malloc and its kin, that the library makes while it opens, loads, generates, saves, restores,
 * holds a conversation, switches models and keeps packed weights fails in turn: the n-th of its kind, n = 1, 2, ... until there is
 * no n-th, once and from then on; reads and writes are interrupted and cut short, too. What is done succeeds with the same bits or
 * fails with one line; nothing is left behind; and done again on the same objects, undisturbed, it succeeds with the same bits.
 *
 * alloc_fail.c takes the place of the C library's functions and so sees what libraries allocate for us; here the linker puts
 * functions of our own before those that the library itself calls (--wrap, in CMakeLists.txt), which sanitizers do not mind. Not
 * refused: unlinkat and posix_fadvise, whose failure the library does not ask about, and what hwloc does. */
#include "folder.h"
#include "gguf_builder.h"
#include "hash.h"
#include "hearth.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define N_MAX 2000u
#define N_VOCAB 300u
#define FILE_MAX (1u << 20)
#define CAP (UINT64_C(1) << 28)

/* ---- Calls ------------------------------------------------------------------------------------------------------------ */

enum call {
    MALLOC,
    CALLOC,
    REALLOC,
    OPEN,
    OPENAT,
    FSTAT,
    FSTATAT,
    LSTAT,
    MMAP,
    MPROTECT,
    MADVISE,
    READ,
    PREAD,
    PWRITE,
    FSYNC,
    FALLOCATE,
    RENAMEAT,
    FLOCK,
    MKDIR,
    REALPATH,
    FACCESSAT,
    PTHREAD_CREATE,
    N_CALLS
};

static const struct {
    const char *name;
    int number;      /* errno */
    bool interrupts; /* EINTR is no failure */
    bool transfers;  /* neither are fewer bytes */
} calls[N_CALLS] = {[MALLOC] = {"malloc", ENOMEM, false, false},
                    [CALLOC] = {"calloc", ENOMEM, false, false},
                    [REALLOC] = {"realloc", ENOMEM, false, false},
                    [OPEN] = {"open", EMFILE, false, false},
                    [OPENAT] = {"openat", EMFILE, false, false},
                    [FSTAT] = {"fstat", EIO, false, false},
                    [FSTATAT] = {"fstatat", EIO, false, false},
                    [LSTAT] = {"lstat", EIO, false, false},
                    [MMAP] = {"mmap", ENOMEM, false, false},
                    [MPROTECT] = {"mprotect", ENOMEM, false, false},
                    [MADVISE] = {"madvise", ENOMEM, false, false},
                    [READ] = {"read", EIO, true, true},
                    [PREAD] = {"pread", EIO, true, true},
                    [PWRITE] = {"pwrite", ENOSPC, true, true},
                    [FSYNC] = {"fsync", EIO, false, false},
                    [FALLOCATE] = {"fallocate", ENOSPC, true, false},
                    [RENAMEAT] = {"renameat", EIO, false, false},
                    [FLOCK] = {"flock", ENOLCK, false, false},
                    [MKDIR] = {"mkdir", EIO, false, false},
                    [REALPATH] = {"realpath", EIO, false, false},
                    [FACCESSAT] = {"faccessat", EACCES, false, false},
                    [PTHREAD_CREATE] = {"pthread_create", EAGAIN, false, false}};

enum mode { ONCE, FOR_EVER, INTERRUPTED, ALL_BUT_ONE, ONE_BYTE, N_MODES };

static const char *const mode_names[N_MODES] = {"once", "for ever", "interrupted", "all bytes but one, for ever", "one byte, once"};

static struct {
    enum call call;
    enum mode mode;
    uint32_t n;
    _Atomic uint32_t seen;
    _Atomic bool armed;
} plan;

static _Atomic int64_t n_blocks;     /* alive */
static _Atomic int64_t mapped_bytes; /* alive */

/* Whether this call is one of those that the plan is about. */
static bool is_meant(enum call call)
{
    if (!atomic_load(&plan.armed) || call != plan.call)
        return false;
    const uint32_t seen = atomic_fetch_add(&plan.seen, 1) + 1;
    return seen == plan.n || (seen > plan.n && (plan.mode == FOR_EVER || plan.mode == ALL_BUT_ONE));
}

static bool refused(enum call call)
{
    if (!is_meant(call))
        return false;
    errno = plan.mode == INTERRUPTED ? EINTR : calls[call].number;
    return true;
}

/* The same of a call that moves bytes: how many it shall move, 0 for a failure. */
static size_t allowed(enum call call, size_t n)
{
    if (plan.mode != ALL_BUT_ONE && plan.mode != ONE_BYTE)
        return refused(call) ? 0 : n;
    if (n < 2 || !is_meant(call))
        return n;
    return plan.mode == ONE_BYTE ? 1 : n - 1;
}

/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp): the linker's names */
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void __real_free(void *p);
int __real_open(const char *path, int flags, ...);
int __real_openat(int folder, const char *path, int flags, ...);
int __real_fstat(int fd, struct stat *out);
int __real_fstatat(int folder, const char *path, struct stat *out, int flags);
int __real_lstat(const char *path, struct stat *out);
void *__real_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset);
int __real_munmap(void *address, size_t length);
int __real_mprotect(void *address, size_t length, int protection);
int __real_madvise(void *address, size_t length, int advice);
ssize_t __real_read(int fd, void *out, size_t n);
ssize_t __real_pread(int fd, void *out, size_t n, off_t offset);
ssize_t __real_pwrite(int fd, const void *bytes, size_t n, off_t offset);
int __real_fallocate(int fd, int mode, off_t offset, off_t n);
int __real_renameat(int from_folder, const char *from, int to_folder, const char *to);
int __real_flock(int fd, int operation);
int __real_mkdir(const char *path, mode_t mode);
char *__real_realpath(const char *path, char *out);
int __real_faccessat(int folder, const char *path, int mode, int flags);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void __wrap_free(void *p);
int __wrap_open(const char *path, int flags, mode_t mode);
int __wrap_openat(int folder, const char *path, int flags, mode_t mode);
int __wrap_fstat(int fd, struct stat *out);
int __wrap_fstatat(int folder, const char *path, struct stat *out, int flags);
int __wrap_lstat(const char *path, struct stat *out);
void *__wrap_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset);
int __wrap_munmap(void *address, size_t length);
int __wrap_mprotect(void *address, size_t length, int protection);
int __wrap_madvise(void *address, size_t length, int advice);
ssize_t __wrap_read(int fd, void *out, size_t n);
ssize_t __wrap_pread(int fd, void *out, size_t n, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t n, off_t offset);
int __wrap_fsync(int fd);
int __wrap_fallocate(int fd, int mode, off_t offset, off_t n);
int __wrap_renameat(int from_folder, const char *from, int to_folder, const char *to);
int __wrap_flock(int fd, int operation);
int __wrap_mkdir(const char *path, mode_t mode);
char *__wrap_realpath(const char *path, char *out);
int __wrap_faccessat(int folder, const char *path, int mode, int flags);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument);

static void *counted(void *p)
{
    if (p)
        atomic_fetch_add(&n_blocks, 1);
    return p;
}

void *__wrap_malloc(size_t size)
{
    return refused(MALLOC) ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t n, size_t size)
{
    return refused(CALLOC) ? NULL : counted(__real_calloc(n, size));
}

void *__wrap_realloc(void *p, size_t size)
{
    if (refused(REALLOC))
        return NULL;
    return p ? __real_realloc(p, size) : counted(__real_realloc(NULL, size));
}

void __wrap_free(void *p)
{
    if (p)
        atomic_fetch_sub(&n_blocks, 1);
    __real_free(p);
}

int __wrap_open(const char *path, int flags, mode_t mode)
{
    return refused(OPEN) ? -1 : __real_open(path, flags, mode);
}

int __wrap_openat(int folder, const char *path, int flags, mode_t mode)
{
    return refused(OPENAT) ? -1 : __real_openat(folder, path, flags, mode);
}

int __wrap_fstat(int fd, struct stat *out)
{
    return refused(FSTAT) ? -1 : __real_fstat(fd, out);
}

int __wrap_fstatat(int folder, const char *path, struct stat *out, int flags)
{
    return refused(FSTATAT) ? -1 : __real_fstatat(folder, path, out, flags);
}

int __wrap_lstat(const char *path, struct stat *out)
{
    return refused(LSTAT) ? -1 : __real_lstat(path, out);
}

void *__wrap_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
    void *p = refused(MMAP) ? MAP_FAILED : __real_mmap(address, length, protection, flags, fd, offset);
    if (p != MAP_FAILED)
        atomic_fetch_add(&mapped_bytes, (int64_t)length);
    return p;
}

int __wrap_munmap(void *address, size_t length)
{
    atomic_fetch_sub(&mapped_bytes, (int64_t)length);
    return __real_munmap(address, length);
}

int __wrap_mprotect(void *address, size_t length, int protection)
{
    return refused(MPROTECT) ? -1 : __real_mprotect(address, length, protection);
}

int __wrap_madvise(void *address, size_t length, int advice)
{
    return refused(MADVISE) ? -1 : __real_madvise(address, length, advice);
}

ssize_t __wrap_read(int fd, void *out, size_t n)
{
    const size_t now = allowed(READ, n);
    return now == 0 && n > 0 ? -1 : __real_read(fd, out, now);
}

ssize_t __wrap_pread(int fd, void *out, size_t n, off_t offset)
{
    const size_t now = allowed(PREAD, n);
    return now == 0 && n > 0 ? -1 : __real_pread(fd, out, now, offset);
}

ssize_t __wrap_pwrite(int fd, const void *bytes, size_t n, off_t offset)
{
    const size_t now = allowed(PWRITE, n);
    return now == 0 && n > 0 ? -1 : __real_pwrite(fd, bytes, now, offset);
}

int __wrap_fsync(int fd)
{
    (void)fd; /* waiting for the disk would show nothing here */
    return refused(FSYNC) ? -1 : 0;
}

int __wrap_fallocate(int fd, int mode, off_t offset, off_t n)
{
    return refused(FALLOCATE) ? -1 : __real_fallocate(fd, mode, offset, n);
}

int __wrap_renameat(int from_folder, const char *from, int to_folder, const char *to)
{
    return refused(RENAMEAT) ? -1 : __real_renameat(from_folder, from, to_folder, to);
}

int __wrap_flock(int fd, int operation)
{
    return refused(FLOCK) ? -1 : __real_flock(fd, operation);
}

int __wrap_mkdir(const char *path, mode_t mode)
{
    return refused(MKDIR) ? -1 : __real_mkdir(path, mode);
}

char *__wrap_realpath(const char *path, char *out)
{
    return refused(REALPATH) ? NULL : __real_realpath(path, out);
}

int __wrap_faccessat(int folder, const char *path, int mode, int flags)
{
    return refused(FACCESSAT) ? -1 : __real_faccessat(folder, path, mode, flags);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument)
{
    return refused(PTHREAD_CREATE) ? EAGAIN : __real_pthread_create(thread, attributes, start, argument);
}
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */

/* ---- Files ------------------------------------------------------------------------------------------------------------ */

static char folder[] = "call_fail.XXXXXX";
static char model_path[64], state_path[64], packed[64], states[64];

struct content {
    size_t n;
    uint8_t bytes[FILE_MAX];
};

static void read_file(struct content *out)
{
    FILE *f = fopen(state_path, "rb");
    out->n = f ? fread(out->bytes, 1, sizeof out->bytes, f) : 0;
    if (f)
        (void)fclose(f);
}

static void write_file(const struct content *content)
{
    FILE *f = fopen(state_path, "wb");
    if (!f || fwrite(content->bytes, 1, content->n, f) != content->n || fclose(f) != 0)
        exit(1);
}

static bool equal(const struct content *a, const struct content *b)
{
    return a->n == b->n && memcmp(a->bytes, b->bytes, a->n) == 0;
}

/* How many entries a folder has whose names end like this. */
static uint32_t count_entries(const char *path, const char *end)
{
    uint32_t n = 0;
    DIR *d = opendir(path);
    for (struct dirent *entry; d && (entry = readdir(d)) != NULL;) {
        const size_t length = strlen(entry->d_name);
        n += length >= strlen(end) && strcmp(entry->d_name + length - strlen(end), end) == 0;
    }
    if (d)
        (void)closedir(d);
    return n;
}

/* ---- Stages ----------------------------------------------------------------------------------------------------------- */

static const hearth_limits limits = {.struct_size = sizeof limits, .context = 64, .batch = 8, .kv_type = HEARTH_KV_F32, .chat = 1};
static const int32_t text[3] = {5, 260, 7};
static const int32_t other_text[2] = {9, 11};

static hearth_engine *engine, *packing_engine, *narrow_engine; /* the last has two threads, and room for one model */
static hearth_model *model;
static hearth_session *session, *other; /* the latter is restored into */
static struct content old_state, new_state, content;
static uint64_t digest; /* of what a stage gave */

static void add(const void *bytes, size_t n)
{
    digest = hearth_hash64(bytes, n, digest);
}

static void add_logits(const hearth_session *s)
{
    const float *logits = hearth_session_logits(s, 0);
    add(logits ? (const void *)logits : "", logits ? N_VOCAB * sizeof *logits : 0);
}

static void put_text(hearth_session *s, const int32_t *ids, size_t n)
{
    hearth_session_reset(s);
    if (hearth_session_feed(s, ids, n, NULL) != HEARTH_OK)
        exit(1);
}

static hearth_status open_on(hearth_engine *e, hearth_error *err)
{
    hearth_plan *estimate = NULL;
    hearth_model *m = NULL;
    hearth_session *s = NULL;
    hearth_status status = hearth_plan_open(&estimate, e, model_path, &limits, err);
    if (status == HEARTH_OK)
        status = hearth_model_open(&m, e, model_path, &limits, NULL, err);
    if (status == HEARTH_OK)
        status = hearth_session_open(&s, m, &limits, err);
    if (status == HEARTH_OK)
        status = hearth_session_feed(s, text, 3, err);
    if (status == HEARTH_OK)
        add_logits(s);
    hearth_session_close(s);
    hearth_model_close(m);
    hearth_plan_close(estimate);
    return status;
}

static hearth_status open_engine(hearth_engine **out, const char *pack_cache, uint32_t threads, uint64_t cap, hearth_error *err)
{
    const hearth_engine_options options = {
        .struct_size = sizeof options, .threads = threads, .pages = HEARTH_PAGES_4K, .ram_cap = cap, .pack_cache = pack_cache};
    return hearth_engine_open(out, &options, err);
}

static hearth_status run_open(hearth_error *err)
{
    hearth_engine *e = NULL;
    const hearth_status status = open_engine(&e, NULL, 1, CAP, err);
    if (status == HEARTH_OK)
        add(hearth_engine_cpu_level(e), strlen(hearth_engine_cpu_level(e)));
    hearth_engine_close(e);
    return status;
}

static hearth_status run_load(hearth_error *err)
{
    return open_on(engine, err);
}

static hearth_status run_generate(hearth_error *err)
{
    const hearth_generation generation = {.struct_size = sizeof generation, .max_tokens = 8};
    uint32_t n = 0;
    hearth_session_reset(session);
    hearth_status status = hearth_session_feed(session, text, 3, err);
    if (status == HEARTH_OK)
        status = hearth_generate(session, &generation, NULL, err);
    const int32_t *ids = hearth_session_tokens(session, &n);
    add(ids, n * sizeof *ids);
    add_logits(session);
    return status;
}

static void before_save(void)
{
    put_text(session, text, 3);
    write_file(&old_state);
}

static hearth_status run_save(hearth_error *err)
{
    const hearth_status status = hearth_session_save(session, state_path, err);
    read_file(&content);
    if (status == HEARTH_OK)
        add(content.bytes, content.n);
    return status;
}

/* Once the file has its name, only that the folder is not on the disk can go wrong. */
static bool kept_state(void)
{
    return equal(&content, &old_state) || (plan.call == FSYNC && plan.n == 2 && equal(&content, &new_state));
}

static void before_restore(void)
{
    put_text(other, other_text, 2);
    write_file(&new_state);
}

static hearth_status run_restore(hearth_error *err)
{
    hearth_status status = hearth_session_restore(other, state_path, err);
    if (status != HEARTH_OK)
        return status;
    add_logits(other);
    status = hearth_session_feed(other, other_text, 1, err);
    add_logits(other);
    return status;
}

/* As it was, which its next logits tell of the cache; or empty, when the file could be read the first time and not the second. */
static bool kept_session(void)
{
    float expected[N_VOCAB];
    if (plan.call == PREAD && hearth_session_position(other) == 0)
        return plan.n > 1;
    if (hearth_session_position(other) != 2 || hearth_session_feed(other, text, 1, NULL) != HEARTH_OK)
        return false;
    memcpy(expected, hearth_session_logits(other, 0), sizeof expected);
    put_text(other, other_text, 2);
    return hearth_session_feed(other, text, 1, NULL) == HEARTH_OK &&
           memcmp(expected, hearth_session_logits(other, 0), sizeof expected) == 0;
}

static hearth_status run_packed(hearth_error *err)
{
    return open_on(packing_engine, err);
}

static void before_pack(void)
{
    folder_empty(packed);
}

/* Messages to a file and back, and an answer. */
static hearth_status run_chat(hearth_error *err)
{
    const hearth_chat_options options = {.struct_size = sizeof options, .family = "chatml", .reserve = 8};
    const hearth_generation generation = {.struct_size = sizeof generation, .max_tokens = 4};
    hearth_message message = {.struct_size = sizeof message};
    hearth_chat *chat = NULL;
    hearth_session_reset(other);
    hearth_status status = hearth_chat_open(&chat, other, &options, err);
    if (status == HEARTH_OK)
        status = hearth_chat_add(chat, HEARTH_ROLE_USER, "a", 1, err);
    if (status == HEARTH_OK)
        status = hearth_chat_save(chat, state_path, err);
    hearth_chat_clear(chat);
    if (status == HEARTH_OK)
        status = hearth_chat_restore(chat, state_path, err);
    if (status == HEARTH_OK)
        status = hearth_chat_answer(chat, &generation, NULL, err);
    for (size_t i = 0; i < hearth_chat_count(chat) && status == HEARTH_OK; i++) {
        status = hearth_chat_message(chat, i, &message, err);
        add(message.text, message.text_bytes);
    }
    add_logits(other);
    hearth_chat_close(chat);
    return status;
}

static hearth_status talk(hearth_manager *manager, const char *name, const int32_t *ids, size_t n, hearth_error *err)
{
    hearth_status status = hearth_manager_switch(manager, name, err);
    if (status == HEARTH_OK)
        status = hearth_session_feed(hearth_manager_session(manager), ids, n, err);
    if (status == HEARTH_OK)
        add_logits(hearth_manager_session(manager));
    return status;
}

/* Two models of which one has to leave for the other, three times; the conversation of the first goes on. */
static hearth_status run_manager(hearth_error *err)
{
    const hearth_manager_options options = {.struct_size = sizeof options, .state_folder = states};
    hearth_limits plain = limits;
    hearth_manager *manager = NULL;
    plain.chat = 0;
    hearth_status status = hearth_manager_open(&manager, narrow_engine, &options, err);
    if (status == HEARTH_OK)
        status = hearth_manager_register(manager, "a", model_path, &plain, err);
    if (status == HEARTH_OK)
        status = hearth_manager_register(manager, "b", model_path, &plain, err);
    if (status == HEARTH_OK)
        status = talk(manager, "a", text, 3, err);
    if (status == HEARTH_OK)
        status = talk(manager, "b", other_text, 2, err);
    if (status == HEARTH_OK)
        status = talk(manager, "a", other_text, 1, err);
    hearth_manager_close(manager);
    return status;
}

static void before_manager(void)
{
    folder_empty(states);
}

/* Whatever was saved is whole, and no conversation was lost. */
static bool kept_states(void)
{
    char path[80];
    (void)snprintf(path, sizeof path, "%s/a.state", states);
    return count_entries(states, ".bad") == 0 &&
           (access(path, F_OK) != 0 || hearth_session_restore(other, path, NULL) == HEARTH_OK);
}

static hearth_status open_narrow_engine(hearth_error *err)
{
    hearth_engine *wide = NULL;
    hearth_plan *plan_of_one = NULL;
    hearth_limits plain = limits;
    plain.chat = 0;
    hearth_status status = open_engine(&wide, NULL, 2, CAP, err);
    if (status == HEARTH_OK)
        status = hearth_plan_open(&plan_of_one, wide, model_path, &plain, err);
    const uint64_t bytes = hearth_plan_private_bytes(plan_of_one);
    hearth_plan_close(plan_of_one);
    hearth_engine_close(wide);
    return status == HEARTH_OK ? open_engine(&narrow_engine, NULL, 2, bytes + (64u << 10), err) : status;
}

static const struct stage {
    const char *name;
    void (*before)(void); /* NULL: nothing to prepare */
    hearth_status (*run)(hearth_error *err);
    bool (*kept)(void); /* after a failure; NULL: nothing is changed */
} stages[] = {{"open", NULL, run_open, NULL},
              {"load", NULL, run_load, NULL},
              {"generate", NULL, run_generate, NULL},
              {"save", before_save, run_save, kept_state},
              {"restore", before_restore, run_restore, kept_session},
              {"chat", NULL, run_chat, NULL},
              {"manager", before_manager, run_manager, kept_states},
              {"pack", before_pack, run_packed, NULL},
              {"map packed", NULL, run_packed, NULL}};

/* ---- Failures --------------------------------------------------------------------------------------------------------- */

struct alive {
    int64_t blocks, bytes;
    uint32_t descriptors, second_files;
};

static struct alive count_alive(void)
{
    return (struct alive){.blocks = atomic_load(&n_blocks),
                          .bytes = atomic_load(&mapped_bytes),
                          .descriptors = count_entries("/proc/self/fd", ""),
                          .second_files =
                              count_entries(folder, ".new") + count_entries(packed, ".new") + count_entries(states, ".new")};
}

static hearth_status undisturbed(const struct stage *stage, hearth_error *err)
{
    if (stage->before)
        stage->before();
    digest = 0;
    return stage->run(err);
}

static hearth_status disturbed(const struct stage *stage, hearth_error *err)
{
    if (stage->before)
        stage->before();
    digest = 0;
    atomic_store(&plan.seen, 0);
    atomic_store(&plan.armed, true);
    const hearth_status status = stage->run(err);
    atomic_store(&plan.armed, false);
    return status;
}

static bool is_told(hearth_status status, const hearth_error *err)
{
    return (status == HEARTH_E_MEMORY || status == HEARTH_E_IO) && err->code == status && err->message[0] &&
           !strchr(err->message, '\n');
}

/* What is wrong after the plan was carried out; NULL: nothing. */
static const char *judge(const struct stage *stage, const struct alive *before, uint64_t expected, hearth_error *err)
{
    const hearth_status status = disturbed(stage, err);
    const struct alive after = count_alive();
    if (status == HEARTH_OK && digest != expected)
        return "succeeded with other bits";
    if (status != HEARTH_OK && plan.mode > FOR_EVER)
        return "this is no failure";
    if (status != HEARTH_OK && !is_told(status, err))
        return "not the error that it should be";
    if (after.blocks != before->blocks || after.bytes != before->bytes)
        return "memory is left behind";
    if (after.descriptors != before->descriptors)
        return "descriptors are left behind";
    if (after.second_files != before->second_files)
        return "files are left behind";
    if (status != HEARTH_OK && stage->kept && !stage->kept())
        return "what should be kept is not";
    if (atomic_load(&plan.seen) < plan.n)
        return status == HEARTH_OK ? NULL : "fails by itself";
    if (undisturbed(stage, err) != HEARTH_OK)
        return "does not succeed afterwards";
    return digest == expected ? NULL : "other bits afterwards";
}

static bool is_possible(enum call call, enum mode mode)
{
    if (mode == INTERRUPTED)
        return calls[call].interrupts;
    return mode <= FOR_EVER || calls[call].transfers;
}

/* Each n of one call and mode; adds to the number of points. */
static bool fail_each(const struct stage *stage, const struct alive *before, uint64_t expected, uint32_t *points)
{
    for (plan.n = 1; plan.n < N_MAX; plan.n++) {
        hearth_error err = {0};
        const char *wrong = judge(stage, before, expected, &err);
        if (wrong) {
            (void)printf("FAILED: %s, %s number %" PRIu32 ", %s: %s (%d '%s')\n", stage->name, calls[plan.call].name, plan.n,
                         mode_names[plan.mode], wrong, err.code, err.message);
            return false;
        }
        if (atomic_load(&plan.seen) < plan.n)
            return true;
        ++*points;
    }
    return false;
}

static bool try_stage(const struct stage *stage)
{
    bool good = true;
    uint32_t points = 0;
    hearth_error err = {0};
    for (int i = 0; i < 2; i++) /* what libraries take once and keep */
        if (undisturbed(stage, &err) != HEARTH_OK)
            return printf("FAILED: %s, undisturbed: %s\n", stage->name, err.message) < 0;
    const uint64_t expected = digest;
    const struct alive before = count_alive();
    for (plan.call = 0; plan.call < N_CALLS; plan.call++)
        for (plan.mode = 0; plan.mode < N_MODES; plan.mode++)
            if (is_possible(plan.call, plan.mode))
                good = fail_each(stage, &before, expected, &points) && good;
    (void)printf("%s: %" PRIu32 " points\n", stage->name, points);
    (void)fflush(stdout);
    return good;
}

/* ---- All of it -------------------------------------------------------------------------------------------------------- */

static void write_model(void)
{
    static struct gguf_builder builder;
    gguf_builder_init(&builder);
    gguf_builder_add_llama(&builder, &(struct gguf_shape){.n_vocab = N_VOCAB, .format = HEARTH_Q8_0});
    gguf_builder_write_file(&builder, model_path);
    gguf_builder_free(&builder);
}

static bool set_up(hearth_error *err)
{
    if (!mkdtemp(folder))
        return false;
    (void)snprintf(model_path, sizeof model_path, "%s/model.gguf", folder);
    (void)snprintf(state_path, sizeof state_path, "%s/state", folder);
    (void)snprintf(packed, sizeof packed, "%s/packed", folder);
    (void)snprintf(states, sizeof states, "%s/states", folder);
    write_model();
    if (open_engine(&engine, NULL, 1, CAP, err) != HEARTH_OK || open_engine(&packing_engine, packed, 1, CAP, err) != HEARTH_OK ||
        open_narrow_engine(err) != HEARTH_OK || hearth_model_open(&model, engine, model_path, &limits, NULL, err) != HEARTH_OK ||
        hearth_session_open(&session, model, &limits, err) != HEARTH_OK ||
        hearth_session_open(&other, model, &limits, err) != HEARTH_OK)
        return false;
    put_text(session, other_text, 2);
    if (hearth_session_save(session, state_path, err) != HEARTH_OK)
        return false;
    read_file(&old_state);
    put_text(session, text, 3);
    if (hearth_session_save(session, state_path, err) != HEARTH_OK)
        return false;
    read_file(&new_state);
    return true;
}

static void tear_down(void)
{
    hearth_session_close(other);
    hearth_session_close(session);
    hearth_model_close(model);
    hearth_engine_close(narrow_engine);
    hearth_engine_close(packing_engine);
    hearth_engine_close(engine);
    folder_remove(packed);
    folder_remove(states);
    folder_remove(folder);
}

/* With the name of a stage: that one alone. */
int main(int argc, char **argv)
{
    hearth_error err = {0};
    const bool set = set_up(&err);
    bool good = set;
    if (!set)
        (void)printf("FAILED: %s\n", err.message);
    (void)sleep(4); /* a model that changed just now is not kept */
    for (size_t i = 0; set && i < sizeof stages / sizeof stages[0]; i++)
        if (argc < 2 || strcmp(argv[1], stages[i].name) == 0)
            good = try_stage(&stages[i]) && good;
    tear_down();
    return good ? 0 : 1;
}
