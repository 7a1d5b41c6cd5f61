/* Packed weights in a file; see pack_cache.h.
 *
 * One file for each path of a model and each CPU level, named after a hash of both; a changed model replaces its own. What makes a
 * file serve is the key in it, a hash over everything that the packed bytes follow from:
 *   - the model: all of its header, and size, inode, time of modification and time of change of its file, of each of its files
 *     if it is a split one. The last cannot be set at will, so whoever writes to the model changes the key. Only the tick of the
 * file system's clock could hide a change: a file that changed within the last seconds is therefore packed, but not kept;
 *   - the layout: HEARTH_PACK_LAYOUT, and of each chosen kernel the name and what it makes of a sample, so that a pack function
 *     that was changed, or a kernel refused by its self-test, never meets bytes of another;
 *   - the weights: format, shape, place and size of each.
 *
 * The file is never written to again once it has its name (new_file.h), so a process that has it mapped keeps what it checked. Who
 * finds another process writing it leaves that to it. */
#include "pack_cache.h"
#include "common/status.h"
#include "cpu.h"
#include "new_file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define HEARTH_PACK_LAYOUT 3u /* raise with any change of what the weights' part of the arena holds or how it is ordered */
#define FILE_VERSION 3u
#define PIECE_BYTES (4u << 20)   /* of a checksum */
#define PIECES_AT_ONCE 32u       /* between two calls of progress */
#define WRITE_BEHIND (64u << 20) /* dirty pages while writing */
#define READ_AHEAD_STEP (128 << 10)
#define YOUNG_SECONDS 2
#define SAMPLE_COLUMNS 768u /* of a sample row: an odd number of super-blocks, and even and odd numbers of each smaller block */

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14 */
#endif

/* Begins the file; a checksum for each piece follows, then zeros up to a whole page, then the image. Native byte order. */
struct file_header {
    char magic[8];
    uint32_t version, piece_bytes;
    uint64_t image_at, image_bytes;
    struct hearth_hash key;
    struct hearth_hash model; /* the identity that reading all weights gives */
    struct hearth_hash self;  /* of the header, with zeros here, and of the checksums */
};

static const char magic[8] = {'H', 'E', 'A', 'R', 'T', 'H', 'P', 'K'};

static uint64_t piece_count(uint64_t image_bytes)
{
    return image_bytes / PIECE_BYTES + (image_bytes % PIECE_BYTES != 0);
}

static uint64_t header_bytes(uint64_t image_bytes)
{
    return sizeof(struct file_header) + piece_count(image_bytes) * sizeof(struct hearth_hash);
}

static uint64_t image_at(uint64_t image_bytes)
{
    return (header_bytes(image_bytes) + 4095) & ~(uint64_t)4095;
}

static uint64_t piece_size(uint64_t image_bytes, uint64_t piece)
{
    const uint64_t left = image_bytes - piece * PIECE_BYTES;
    return left < PIECE_BYTES ? left : PIECE_BYTES;
}

/* One line of the log: "pack cache: FOLDER/NAME: WHAT". */
static void tell(const struct hearth_engine *e, int32_t level, const char *name, const char *what)
{
    char line[256];
    char folder[HEARTH_QUOTE_MAX];
    if (!e->log)
        return;
    (void)hearth_quote(folder, e->pack_cache, strlen(e->pack_cache));
    (void)snprintf(line, sizeof line, "pack cache: %s/%s: %s", folder, name, what);
    e->log(level, line, e->log_user);
}

static void tell_errno(const struct hearth_engine *e, const char *name, const char *what, int number)
{
    char reason[96];
    char text[128];
    (void)snprintf(text, sizeof text, "%s: %s", what, strerror_r(number, reason, sizeof reason));
    tell(e, 1, name, text);
}

/* ---- The key -------------------------------------------------------------------------------------------------------- */

/* What a kernel's pack function makes of bytes that are always the same, and its name. */
static bool add_kernel(struct hearth_hash *key, const struct hearth_kernel *k)
{
    const size_t rows = k->matmul.tile_rows;
    const size_t file_bytes = rows * hearth_row_bytes(k->format, SAMPLE_COLUMNS);
    const size_t tile_bytes = k->matmul.tile_bytes(SAMPLE_COLUMNS);
    uint8_t *sample = malloc(file_bytes + tile_bytes);
    if (!sample)
        return false;
    uint32_t x = 1;
    for (size_t i = 0; i < file_bytes; i++) {
        x = x * 1664525u + 1013904223u;
        sample[i] = (uint8_t)(x >> 24);
    }
    k->matmul.pack(sample + file_bytes, sample, rows, SAMPLE_COLUMNS);
    hearth_hash_add(key, k->name, strlen(k->name));
    hearth_hash_add(key, sample + file_bytes, tile_bytes);
    free(sample);
    return true;
}

static void add_weight(struct hearth_hash *key, struct hearth_weight w)
{
    const struct hearth_matrix *m = w.matrix;
    const struct hearth_table *t = w.table;
    const struct hearth_vector *v = w.vector;
    uint64_t facts[5];
    if (m)
        memcpy(facts, (uint64_t[5]){m->format, m->rows, m->k, m->file_offset, hearth_matrix_packed_bytes(m)}, sizeof facts);
    else if (t)
        memcpy(facts, (uint64_t[5]){t->format, t->rows, t->k, t->file_offset, 0}, sizeof facts);
    else
        memcpy(facts, (uint64_t[5]){v->format, v->n, 1, v->file_offset, 0}, sizeof facts);
    hearth_hash_add(key, facts, sizeof facts);
}

static bool make_key(struct hearth_pack_cache *out, const struct hearth_engine *e, const struct hearth_source *source,
                     struct hearth_description *d)
{
    struct hearth_hash key = {0, 0};
    const uint64_t versions[2] = {FILE_VERSION, HEARTH_PACK_LAYOUT};
    if (!source->identify(source->context, &out->identity))
        return false;
    hearth_hash_add(&key, versions, sizeof versions);
    hearth_hash_add(&key, &out->identity, sizeof out->identity);
    hearth_hash_add(&key, source->gguf->header.bytes, source->gguf->header.size);
    for (uint32_t f = 0; f < HEARTH_FORMAT_COUNT; f++) {
        const struct hearth_kernel *k = e->kernels.chosen[HEARTH_OP_MATMUL][f];
        if (k && !add_kernel(&key, k))
            return false;
    }
    for (size_t i = 0; i < hearth_weight_count(d); i++)
        add_weight(&key, hearth_weight_at(d, i));
    hearth_hash_add(&key, &out->image_bytes, sizeof out->image_bytes);
    out->key = key;
    return true;
}

static bool make_name(struct hearth_pack_cache *out, const struct hearth_engine *e, const struct hearth_source *source)
{
    char path[PATH_MAX];
    if (!realpath(source->name, path))
        return false;
    (void)snprintf(out->name, sizeof out->name, "%016" PRIx64 ".%s.pack", hearth_hash64(path, strlen(path), 0),
                   hearth_cpu_level_name(e->kernels.level));
    return true;
}

static uint64_t count_image(const struct hearth_description *d)
{
    struct hearth_description copy = *d;
    struct hearth_arena rest = {0};
    struct hearth_arena weights = {0};
    hearth_description_layout(&copy, &rest, &weights);
    return weights.overflow ? 0 : copy.image_bytes;
}

/* ---- Finding -------------------------------------------------------------------------------------------------------- */

static int open_folder(const struct hearth_engine *e)
{
    return open(e->pack_cache, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static struct hearth_hash hash_header(const uint8_t *header, uint64_t bytes)
{
    struct file_header h;
    struct hearth_hash hash = {0, 0};
    memcpy(&h, header, sizeof h);
    h.self = (struct hearth_hash){0, 0};
    hearth_hash_add(&hash, &h, sizeof h);
    hearth_hash_add(&hash, header + sizeof h, bytes - sizeof h);
    return hash;
}

/* Why the mapped file does not serve; NULL when it does. Its size has been checked. */
static const char *check_header(struct hearth_pack_cache *c)
{
    struct file_header h;
    memcpy(&h, c->map, sizeof h);
    const bool whole = memcmp(h.magic, magic, sizeof magic) == 0 && h.version == FILE_VERSION && h.piece_bytes == PIECE_BYTES &&
                       h.image_bytes == c->image_bytes && h.image_at == image_at(c->image_bytes) &&
                       hearth_hash_equal(h.self, hash_header(c->map, header_bytes(c->image_bytes)));
    if (!whole)
        return "header is damaged or of another version; packing again";
    c->model = h.model;
    return hearth_hash_equal(h.key, c->key) ? NULL : "of another state of the model or other kernels; packing again";
}

static void map_file(struct hearth_pack_cache *c, const struct hearth_engine *e, int fd)
{
    struct stat info;
    if (fstat(fd, &info) != 0) {
        tell_errno(e, c->name, "stat", errno);
        return;
    }
    const char *why = hearth_file_distrust(&info);
    const uint64_t expected = image_at(c->image_bytes) + c->image_bytes;
    if (!why && (uint64_t)info.st_size != expected)
        why = "size is not the expected one; packing again";
    if (why) {
        tell(e, 1, c->name, why);
        return;
    }
    void *map = mmap(NULL, (size_t)expected, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        tell_errno(e, c->name, "map", errno);
        return;
    }
    c->map = map;
    c->map_bytes = expected;
    (void)madvise(map, (size_t)expected, MADV_HUGEPAGE); /* where the file system can, as tmpfs */
    why = check_header(c);
    if (!why)
        return;
    hearth_pack_cache_close(c);
    tell(e, 1, c->name, why);
}

void hearth_pack_cache_find(struct hearth_pack_cache *out, struct hearth_engine *e, const struct hearth_source *source,
                            const struct hearth_description *d)
{
    *out = (struct hearth_pack_cache){0};
    if (!e->pack_cache || !source->identify)
        return;
    out->image_bytes = count_image(d);
    out->wanted =
        out->image_bytes && make_name(out, e, source) && make_key(out, e, source, (struct hearth_description *)(uintptr_t)d);
    if (!out->wanted)
        return;
    out->wanted = e->verify != HEARTH_VERIFY_OFF; /* to be written */
    const int folder = open_folder(e);
    const int fd = folder < 0 ? -1 : openat(folder, out->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 && errno != ENOENT) {
        tell_errno(e, out->name, folder < 0 ? "open folder" : "open", errno);
        out->wanted &= folder >= 0; /* else writing would fail for the same reason, and say so again */
    }
    if (folder >= 0)
        (void)close(folder);
    if (fd < 0)
        return;
    map_file(out, e, fd);
    (void)close(fd);
}

void hearth_pack_cache_close(struct hearth_pack_cache *c)
{
    if (c->map)
        (void)munmap((void *)(uintptr_t)c->map, (size_t)c->map_bytes);
    c->map = NULL;
    c->map_bytes = 0;
}

struct hearth_arena hearth_pack_cache_arena(const struct hearth_pack_cache *c)
{
    struct hearth_arena arena = {0};
    if (c->map) {
        arena.base = (uint8_t *)(uintptr_t)c->map + image_at(c->image_bytes);
        arena.bytes = c->image_bytes;
        arena.planned[HEARTH_PLAN_WEIGHTS] = c->image_bytes;
    }
    return arena;
}

/* ---- Checksums, made and met by the workers ---------------------------------------------------------------------------- */

struct checksum_job {
    const uint8_t *image;
    uint64_t image_bytes;
    struct hearth_hash *made;     /* to be filled in; or NULL: */
    const uint8_t *expected;      /* hashes to be met */
    uint64_t begin, end;          /* pieces */
    _Atomic uint64_t first_wrong; /* the lowest piece that is damaged or cannot be read */
};

/* A page that the disk cannot deliver is an error here; at the first use it would end the process. */
static bool readable(const uint8_t *at, uint64_t n)
{
    const uintptr_t page = (uintptr_t)at & ~(uintptr_t)4095;
    return madvise((void *)page, (uintptr_t)at + n - page, MADV_POPULATE_READ) == 0 || errno == EINVAL;
}

/* Ask for a piece that a later job will read; in steps, as in source.c. */
static void expect(const struct checksum_job *job, uint64_t piece)
{
    if (piece >= piece_count(job->image_bytes))
        return;
    const uint8_t *begin = job->image + piece * PIECE_BYTES;
    const uint8_t *end = begin + piece_size(job->image_bytes, piece);
    for (const uint8_t *at = begin; at < end; at += READ_AHEAD_STEP)
        (void)madvise((void *)(uintptr_t)at, (size_t)(end - at < READ_AHEAD_STEP ? end - at : READ_AHEAD_STEP), MADV_WILLNEED);
}

static void checksum_pieces(void *context, uint32_t worker, uint32_t workers)
{
    struct checksum_job *job = context;
    for (uint64_t i = job->begin + worker; i < job->end; i += workers) {
        const uint8_t *at = job->image + i * PIECE_BYTES;
        const uint64_t n = piece_size(job->image_bytes, i);
        if (job->made) {
            job->made[i] = hearth_hash128(at, (size_t)n);
            continue;
        }
        struct hearth_hash expected;
        expect(job, i + PIECES_AT_ONCE);
        memcpy(&expected, job->expected + i * sizeof expected, sizeof expected);
        if (readable(at, n) && hearth_hash_equal(hearth_hash128(at, (size_t)n), expected))
            continue;
        uint64_t seen = atomic_load(&job->first_wrong);
        while (i < seen && !atomic_compare_exchange_weak(&job->first_wrong, &seen, i))
            ;
    }
}

/* *wrong: where the first damaged piece lies in the file; 0: all are as they were written. progress may be NULL. */
static hearth_status check_pieces(const struct hearth_pack_cache *c, struct hearth_engine *e,
                                  const struct hearth_progress *progress, const char *shown, uint64_t *wrong, hearth_error *err)
{
    const uint64_t n = piece_count(c->image_bytes);
    struct checksum_job job = {.image = c->map + image_at(c->image_bytes),
                               .image_bytes = c->image_bytes,
                               .expected = c->map + sizeof(struct file_header),
                               .first_wrong = UINT64_MAX};
    *wrong = 0;
    while (job.end < n) {
        job.begin = job.end;
        job.end = n - job.begin < PIECES_AT_ONCE ? n : job.begin + PIECES_AT_ONCE;
        hearth_pool_run(e->pool, checksum_pieces, &job);
        if (job.first_wrong != UINT64_MAX) {
            *wrong = image_at(c->image_bytes) + job.first_wrong * PIECE_BYTES;
            return HEARTH_OK;
        }
        const uint64_t done = job.end == n ? c->image_bytes : job.end * PIECE_BYTES;
        if (progress)
            HEARTH_TRY(hearth_progress_tell(progress, done, shown, err));
    }
    return HEARTH_OK;
}

hearth_status hearth_pack_cache_verify(struct hearth_pack_cache *c, struct hearth_engine *e, const struct hearth_source *source,
                                       const hearth_model_options *options, hearth_error *err)
{
    uint64_t wrong;
    if (!c->map)
        return HEARTH_OK;
    if (e->verify != HEARTH_VERIFY_FULL) {
        c->unchecked = e->verify == HEARTH_VERIFY_LAZY;
        tell(e, 0, c->name, c->unchecked ? "serves, will be checked before it is used" : "serves, unchecked");
        return HEARTH_OK;
    }
    const struct hearth_progress progress = hearth_progress_begin(e, options, c->image_bytes);
    HEARTH_TRY(check_pieces(c, e, &progress, source->shown, &wrong, err));
    if (wrong) {
        char what[96];
        (void)snprintf(what, sizeof what, "is damaged at byte %" PRIu64 " or after it; packing again", wrong);
        hearth_pack_cache_close(c);
        tell(e, 1, c->name, what);
        return HEARTH_OK;
    }
    tell(e, 0, c->name, "serves");
    return HEARTH_OK;
}

hearth_status hearth_pack_cache_verify_late(struct hearth_pack_cache *c, struct hearth_engine *e, hearth_error *err)
{
    uint64_t wrong;
    char folder[HEARTH_QUOTE_MAX];
    if (!c->unchecked)
        return HEARTH_OK;
    HEARTH_TRY(check_pieces(c, e, NULL, "", &wrong, err));
    if (wrong)
        return hearth_fail(err, HEARTH_E_IO, NULL,
                           "pack cache: %s/%s: is damaged at byte %" PRIu64 " or after it; remove it and open the model again",
                           hearth_quote(folder, e->pack_cache, strlen(e->pack_cache)), c->name, wrong);
    c->unchecked = false;
    return HEARTH_OK;
}

/* ---- Writing ---------------------------------------------------------------------------------------------------------- */

uint64_t hearth_pack_cache_bytes_to_write(const struct hearth_pack_cache *c)
{
    return c->wanted && !c->map ? c->image_bytes : 0;
}

struct writer {
    const struct hearth_pack_cache *cache;
    struct hearth_engine *engine;
    struct hearth_new_file file;
    int folder; /* -1: not open */
};

/* A file that changed just now may change again within the same tick of the clock. */
static bool is_young(const struct hearth_parts_identity *identity)
{
    struct timespec now;
    return clock_gettime(CLOCK_REALTIME, &now) != 0 || now.tv_sec - identity->newest_change_s <= YOUNG_SECONDS;
}

/* Where another process is at it, that is nothing to warn of. */
static bool open_file(struct writer *w)
{
    w->file = (struct hearth_new_file){.fd = -1, .doing = "open folder"};
    if (mkdir(w->engine->pack_cache, 0700) != 0 && errno != EEXIST)
        return false;
    w->folder = open_folder(w->engine);
    return w->folder >= 0 && hearth_new_file_open(&w->file, w->folder, w->cache->name);
}

/* Header, checksums, image; to the disk at its pace, so that progress tells the truth. *status is E_CANCELLED or OK. */
static bool write_file(struct writer *w, const struct hearth_description *d, const uint8_t *header,
                       const struct hearth_source *source, const struct hearth_progress *progress, hearth_status *status,
                       hearth_error *err)
{
    const uint64_t at = image_at(d->image_bytes);
    if (!hearth_new_file_reserve(&w->file, at + d->image_bytes) || !hearth_new_file_write(&w->file, header, at, 0))
        return false;
    for (uint64_t done = 0; done < d->image_bytes;) {
        const uint64_t n = piece_size(d->image_bytes, done / PIECE_BYTES);
        if (!hearth_new_file_write(&w->file, d->image + done, n, at + done))
            return false;
        (void)sync_file_range(w->file.fd, (off_t)(at + done), (off_t)n, SYNC_FILE_RANGE_WRITE);
        if (done >= WRITE_BEHIND)
            (void)sync_file_range(w->file.fd, (off_t)(at + done - WRITE_BEHIND), (off_t)n,
                                  SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
        done += n;
        *status = hearth_progress_tell(progress, done, source->shown, err);
        if (*status != HEARTH_OK)
            return false;
    }
    return true;
}

static bool publish(struct writer *w, const struct hearth_source *source)
{
    struct hearth_parts_identity now;
    if (!hearth_new_file_synchronize(&w->file))
        return false;
    w->file.doing = "the model changed while it was read";
    errno = ESTALE;
    return source->identify(source->context, &now) && memcmp(&now, &w->cache->identity, sizeof now) == 0 &&
           hearth_new_file_publish(&w->file);
}

/* Header and checksums to `out`, zeros up to the image. */
static void make_header(uint8_t *out, const struct hearth_pack_cache *c, struct hearth_engine *e,
                        const struct hearth_description *d, struct hearth_hash model)
{
    struct file_header h = {.version = FILE_VERSION,
                            .piece_bytes = PIECE_BYTES,
                            .image_at = image_at(d->image_bytes),
                            .image_bytes = d->image_bytes,
                            .key = c->key,
                            .model = model};
    struct checksum_job job = {.image = d->image,
                               .image_bytes = d->image_bytes,
                               .made = (struct hearth_hash *)(void *)(out + sizeof h),
                               .end = piece_count(d->image_bytes)};
    memset(out, 0, image_at(d->image_bytes));
    memcpy(h.magic, magic, sizeof magic);
    hearth_pool_run(e->pool, checksum_pieces, &job);
    memcpy(out, &h, sizeof h);
    h.self = hash_header(out, header_bytes(d->image_bytes));
    memcpy(out, &h, sizeof h);
}

hearth_status hearth_pack_cache_write(const struct hearth_pack_cache *c, struct hearth_engine *e,
                                      const struct hearth_source *source, const struct hearth_description *d,
                                      struct hearth_hash model, uint8_t *table, uint64_t table_bytes,
                                      const struct hearth_progress *progress, hearth_error *err)
{
    hearth_status status = HEARTH_OK;
    if (!c->wanted || c->map || d->image_bytes != c->image_bytes)
        return HEARTH_OK;
    if (is_young(&c->identity)) {
        tell(e, 0, c->name, "not written: the model file changed just now");
        return HEARTH_OK;
    }
    if (image_at(d->image_bytes) > table_bytes) {
        tell(e, 1, c->name, "not written: the file would be too large");
        return HEARTH_OK;
    }
    struct writer w = {.cache = c, .engine = e, .folder = -1};
    bool written = open_file(&w);
    if (written) {
        make_header(table, c, e, d, model);
        written = write_file(&w, d, table, source, progress, &status, err) && publish(&w, source);
    }
    const int number = errno;
    hearth_new_file_close(&w.file);
    if (w.folder >= 0)
        (void)close(w.folder);
    if (written)
        tell(e, 0, c->name, "written");
    else if (status == HEARTH_OK && !w.file.busy)
        tell_errno(e, c->name, w.file.doing, number);
    return status;
}
