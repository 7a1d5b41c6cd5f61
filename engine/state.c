/* Sessions in files; see state.h and docs/states.md.
 *
 * One walk over the sections, in the order of the file, serves four times: it counts them, writes them, checks a file without
 * touching the session, and reads it. The bytes pass through one chunk, which lies in the session's scratch, so that nothing here
 * takes memory; a file is believed as far as its checksums have been met, and never asked how much memory something needs. */
#include "state.h"
#include "common/checked.h"
#include "common/status.h"
#include "engine.h"
#include "new_file.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <unistd.h>

#define FILE_VERSION 1u
#define ENDIAN_MARK 0x01020304u
#define CHUNK_BYTES (1u << 20)
#define COMMITTED UINT64_C(0x44455454494d4f43) /* "COMITTED", as bytes */
#define IDS_AT_ONCE 256u

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14 */
#endif

_Static_assert(HEARTH_TOKENIZER_SCRATCH >= CHUNK_BYTES, "a chunk lies in the tokenizer's scratch");

static const char magic[8] = {'H', 'E', 'A', 'R', 'T', 'H', 'S', 'T'};

/* Begins the file; the other sections, a checksum for each chunk of all of them, and the footer follow. Native byte order. */
struct header {
    char magic[8];
    uint32_t endian, version;
    uint64_t file_bytes, payload_bytes; /* of the whole file, of the sections with this header */
    struct hearth_hash model, vocabulary, rope;
    uint32_t arithmetic, kv_format, n_layer, n_head_kv, head_dim, n_vocab;
    uint32_t window, context; /* of the session that was saved; the latter for people only */
    uint32_t position, n_unfed;
    int32_t unfed;
    uint32_t n_logits;
    uint64_t extra_bytes;
};
_Static_assert(sizeof(struct header) == 136, "no padding");

struct footer {
    struct hearth_hash whole; /* of all chunks */
    uint64_t file_bytes, committed;
};

enum direction { COUNT, WRITE, CHECK, READ };

/* What the file says that is not the session's memory. */
struct facts {
    struct header header;
    uint32_t first[HEARTH_LAYERS_MAX]; /* position that each layer's keys and values begin with */
    struct hearth_sampler_state sampler;
};

struct walk {
    enum direction direction;
    struct hearth_session *session;
    const char *shown; /* the file, printable */
    struct hearth_new_file *out;
    int in;
    uint8_t *chunk;
    uint64_t at, payload_bytes;
    struct hearth_hash whole; /* of the chunks so far */
};

static uint64_t chunk_count(uint64_t payload_bytes)
{
    return payload_bytes / CHUNK_BYTES + (payload_bytes % CHUNK_BYTES != 0);
}

static uint64_t file_bytes(uint64_t payload_bytes)
{
    return payload_bytes + chunk_count(payload_bytes) * sizeof(uint64_t) + sizeof(struct footer);
}

HEARTH_PRINTF(4, 5)
static hearth_status refuse(const struct walk *w, const char *detail, hearth_error *err, const char *format, ...)
{
    char what[256];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return hearth_fail(err, HEARTH_E_STATE, detail, "%s: state: %s", w->shown, what);
}

static hearth_status fail_errno(const char *shown, const char *doing, int number, hearth_error *err)
{
    char reason[96];
    return hearth_fail(err, number == ENOENT ? HEARTH_E_NOT_FOUND : HEARTH_E_IO, NULL, "%s: %s: %s", shown, doing,
                       strerror_r(number, reason, sizeof reason));
}

/* ---- Chunks --------------------------------------------------------------------------------------------------------- */

static hearth_status read_at(const struct walk *w, void *out, uint64_t n, uint64_t offset, hearth_error *err)
{
    uint8_t *to = out;
    while (n > 0) {
        const ssize_t got = pread(w->in, to, (size_t)n, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_errno(w->shown, "read", errno, err);
        if (got == 0)
            return refuse(w, "E_TRUNC", err, "became shorter while it was read");
        to += got;
        offset += (uint64_t)got;
        n -= (uint64_t)got;
    }
    return HEARTH_OK;
}

static hearth_status write_failed(const struct walk *w, hearth_error *err)
{
    char doing[64];
    const int number = errno;
    (void)snprintf(doing, sizeof doing, "save: %s", w->out->doing);
    return fail_errno(w->shown, doing, number, err);
}

/* The chunk that begins at w->at. */
static hearth_status load_chunk(struct walk *w, hearth_error *err)
{
    const uint64_t number = w->at / CHUNK_BYTES;
    const uint64_t left = w->payload_bytes - w->at;
    const uint64_t n = left < CHUNK_BYTES ? left : CHUNK_BYTES;
    uint64_t expected;
    HEARTH_TRY(read_at(w, w->chunk, n, w->at, err));
    HEARTH_TRY(read_at(w, &expected, sizeof expected, w->payload_bytes + number * sizeof expected, err));
    if (hearth_hash64(w->chunk, (size_t)n, number) != expected)
        return refuse(w, "E_SUM", err, "is damaged between bytes %" PRIu64 " and %" PRIu64, w->at, w->at + n - 1);
    hearth_hash_add(&w->whole, w->chunk, (size_t)n);
    return HEARTH_OK;
}

/* The chunk that ends at w->at. */
static hearth_status store_chunk(struct walk *w, hearth_error *err)
{
    const uint64_t number = (w->at - 1) / CHUNK_BYTES;
    const uint64_t begin = number * CHUNK_BYTES;
    const uint64_t sum = hearth_hash64(w->chunk, (size_t)(w->at - begin), number);
    hearth_hash_add(&w->whole, w->chunk, (size_t)(w->at - begin));
    if (hearth_new_file_write(w->out, w->chunk, w->at - begin, begin) &&
        hearth_new_file_write(w->out, &sum, sizeof sum, w->payload_bytes + number * sizeof sum))
        return HEARTH_OK;
    return write_failed(w, err);
}

/* What becomes of the next bytes: nothing, or zeros in a file that is written; or they are written from, read into, or compared
 * with memory. */
enum action { PASS, PUT, GET, COMPARE };

static hearth_status move(struct walk *w, enum action action, void *bytes, uint64_t n, hearth_error *err)
{
    uint8_t *memory = bytes;
    if (w->direction == COUNT) {
        w->at += n; /* sizes of our own memory */
        return HEARTH_OK;
    }
    if (n > w->payload_bytes - w->at)
        return refuse(w, "E_SIZE", err, "the sections are longer than the file (at byte %" PRIu64 ")", w->at);
    while (n > 0) {
        const uint64_t within = w->at % CHUNK_BYTES;
        const uint64_t step = n < CHUNK_BYTES - within ? n : CHUNK_BYTES - within;
        if (within == 0 && w->direction != WRITE)
            HEARTH_TRY(load_chunk(w, err));
        if (action == PUT)
            memcpy(w->chunk + within, memory, (size_t)step);
        else if (action == GET)
            memcpy(memory, w->chunk + within, (size_t)step);
        else if (action == COMPARE && memcmp(memory, w->chunk + within, (size_t)step) != 0)
            return refuse(w, "E_CHANGED", err, "changed while it was read (at byte %" PRIu64 ")", w->at);
        else if (w->direction == WRITE)
            memset(w->chunk + within, 0, (size_t)step);
        memory = action == PASS ? NULL : memory + step;
        w->at += step;
        n -= step;
        if (w->direction == WRITE && (w->at % CHUNK_BYTES == 0 || w->at == w->payload_bytes))
            HEARTH_TRY(store_chunk(w, err));
    }
    return HEARTH_OK;
}

/* Facts: checking takes them from the file, and reading holds the file to them. */
static hearth_status walk_facts(struct walk *w, void *facts, uint64_t n, hearth_error *err)
{
    static const enum action actions[] = {[COUNT] = PASS, [WRITE] = PUT, [CHECK] = GET, [READ] = COMPARE};
    return move(w, actions[w->direction], facts, n, err);
}

/* The session's memory, or NULL for what it has no place for. */
static hearth_status walk_memory(struct walk *w, void *memory, uint64_t n, hearth_error *err)
{
    static const enum action actions[] = {[COUNT] = PASS, [WRITE] = PUT, [CHECK] = PASS, [READ] = GET};
    return move(w, memory ? actions[w->direction] : PASS, memory, n, err);
}

/* ---- Sections --------------------------------------------------------------------------------------------------------- */

static hearth_status walk_ids(struct walk *w, uint32_t n, hearth_error *err)
{
    int32_t ids[IDS_AT_ONCE];
    const uint32_t n_vocab = w->session->model->description.hparams.n_vocab;
    if (w->direction != CHECK)
        return walk_memory(w, w->session->ids, n * sizeof ids[0], err);
    for (uint32_t i = 0; i < n; i += IDS_AT_ONCE) {
        const uint32_t now = n - i < IDS_AT_ONCE ? n - i : IDS_AT_ONCE;
        HEARTH_TRY(walk_facts(w, ids, now * sizeof ids[0], err));
        for (uint32_t j = 0; j < now; j++)
            if (ids[j] < 0 || (uint32_t)ids[j] >= n_vocab)
                return refuse(w, "E_TOKENID", err,
                              "token %" PRIu32 " is not in the vocabulary (got %" PRId32 ", need 0 to %" PRIu32 ")", i + j, ids[j],
                              n_vocab - 1);
    }
    return HEARTH_OK;
}

/* Of the n rows the last ones, as many as the session keeps. */
static hearth_status walk_logits(struct walk *w, uint32_t n, hearth_error *err)
{
    const struct hearth_session *s = w->session;
    const uint64_t n_vocab = s->model->description.hparams.n_vocab;
    const uint32_t kept = n < s->limits.logits_rows ? n : s->limits.logits_rows;
    for (uint32_t i = 0; i < n; i++) {
        float *row = i < n - kept ? NULL : s->buffers.logits + (i - (n - kept)) * hearth_align(n_vocab, HEARTH_LOGITS_STEP);
        HEARTH_TRY(walk_memory(w, row, n_vocab * sizeof *row, err));
    }
    return HEARTH_OK;
}

/* Rows of HEARTH_KEY_BLOCK lanes; those from begin to end-1 are the session's. */
static hearth_status walk_lanes(struct walk *w, uint8_t *rows, uint64_t n_rows, uint64_t lane_bytes, uint32_t begin, uint32_t end,
                                hearth_error *err)
{
    for (uint64_t i = 0; i < n_rows; i++, rows += HEARTH_KEY_BLOCK * lane_bytes) {
        HEARTH_TRY(walk_memory(w, NULL, begin * lane_bytes, err));
        HEARTH_TRY(walk_memory(w, rows + begin * lane_bytes, (end - begin) * lane_bytes, err));
        HEARTH_TRY(walk_memory(w, NULL, (HEARTH_KEY_BLOCK - end) * lane_bytes, err));
    }
    return HEARTH_OK;
}

/* A block of keys or values, in the layout of kernels.h. */
static hearth_status walk_block(struct walk *w, uint8_t *block, bool keys, uint32_t begin, uint32_t end, hearth_error *err)
{
    const enum hearth_format format = w->session->cache.format;
    const size_t head_dim = w->session->model->description.hparams.head_dim;
    const size_t bytes = hearth_cache_block_bytes(format, head_dim);
    if (begin == end || end - begin == HEARTH_KEY_BLOCK)
        return walk_memory(w, begin == end ? NULL : block, bytes, err);
    if (!keys)
        return walk_lanes(w, block, 1, bytes / HEARTH_KEY_BLOCK, begin, end, err);
    if (format != HEARTH_Q8_0)
        return walk_lanes(w, block, head_dim, bytes / HEARTH_KEY_BLOCK / head_dim, begin, end, err);
    for (size_t g = 0; g < hearth_cache_groups(head_dim); g++, block += HEARTH_CACHE_GROUP_BYTES) {
        HEARTH_TRY(walk_lanes(w, block, 8, 4, begin, end, err));
        HEARTH_TRY(walk_lanes(w, block + HEARTH_KEY_BLOCK * 32, 1, 2, begin, end, err));
    }
    return HEARTH_OK;
}

/* Keys, or values, of one head of a layer. The file has whole blocks from `first` on, with zeros for other positions. A session
 * with fewer slots takes the last ones. */
static hearth_status walk_head(struct walk *w, const struct hearth_kv_layer *layer, uint8_t *head, bool keys, uint32_t first,
                               uint32_t position, hearth_error *err)
{
    const size_t block_bytes = hearth_cache_block_bytes(w->session->cache.format, w->session->model->description.hparams.head_dim);
    const uint32_t oldest = position > layer->slots ? position - layer->slots : 0;
    const uint32_t from = first > oldest ? first : oldest;
    for (uint32_t at = first / HEARTH_KEY_BLOCK * HEARTH_KEY_BLOCK; at < position; at += HEARTH_KEY_BLOCK) {
        const uint32_t end = position - at < HEARTH_KEY_BLOCK ? position - at : HEARTH_KEY_BLOCK;
        const uint32_t begin = from > at ? from - at : 0;
        uint8_t *block = head + at % layer->slots / HEARTH_KEY_BLOCK * block_bytes;
        HEARTH_TRY(walk_block(w, block, keys, begin < end ? begin : end, end, err));
    }
    return HEARTH_OK;
}

static hearth_status walk_cache(struct walk *w, const struct facts *facts, hearth_error *err)
{
    const struct hearth_kv_cache *cache = &w->session->cache;
    const struct hearth_hparams *h = &w->session->model->description.hparams;
    for (uint32_t i = 0; i < h->n_layer; i++) {
        const struct hearth_kv_layer *layer = &cache->layers[i];
        for (uint32_t head = 0; head < h->n_head_kv; head++) {
            const uint64_t at = layer->at + head * layer->head_bytes;
            HEARTH_TRY(walk_head(w, layer, cache->keys + at, true, facts->first[i], facts->header.position, err));
            HEARTH_TRY(walk_head(w, layer, cache->values + at, false, facts->first[i], facts->header.position, err));
        }
    }
    return HEARTH_OK;
}

/* ---- What fits the session -------------------------------------------------------------------------------------------- */

static struct header header_of(const struct hearth_session *s)
{
    const struct hearth_hparams *h = &s->model->description.hparams;
    struct header out = {.endian = ENDIAN_MARK,
                         .version = FILE_VERSION,
                         .model = s->model->identity,
                         .vocabulary = s->model->vocabulary_identity,
                         .rope = hearth_session_rope(s),
                         .arithmetic = HEARTH_ARITHMETIC,
                         .kv_format = (uint32_t)s->cache.format,
                         .n_layer = h->n_layer,
                         .n_head_kv = h->n_head_kv,
                         .head_dim = h->head_dim,
                         .n_vocab = h->n_vocab,
                         .window = s->limits.window,
                         .context = s->limits.context,
                         .position = s->position,
                         .n_unfed = s->n_unfed,
                         .unfed = s->n_unfed ? s->unfed : 0,
                         .n_logits = s->n_logits};
    memcpy(out.magic, magic, sizeof magic);
    return out;
}

/* Of the same model, computed in the same way. */
static hearth_status check_kind(const struct walk *w, const struct header *h, hearth_error *err)
{
    const struct header own = header_of(w->session);
    if (!hearth_hash_equal(h->model, own.model))
        return refuse(w, "E_MODEL", err, "is of another model");
    if (!hearth_hash_equal(h->vocabulary, own.vocabulary))
        return refuse(w, "E_TOKENIZER", err, "is of another vocabulary");
    if (h->arithmetic != own.arithmetic)
        return refuse(w, "E_ARITHMETIC", err, "is of another arithmetic (got %" PRIu32 ", need %" PRIu32 ")", h->arithmetic,
                      own.arithmetic);
    if (h->kv_format != own.kv_format) {
        const char *got = hearth_format_info(h->kv_format)->name;
        return refuse(w, "E_KV", err, "has another type of KV cache (got %s, need %s)", got ? got : "none",
                      hearth_format_info(own.kv_format)->name);
    }
    if (h->n_layer != own.n_layer || h->n_head_kv != own.n_head_kv || h->head_dim != own.head_dim || h->n_vocab != own.n_vocab)
        return refuse(w, "E_SHAPE", err, "has other dimensions");
    if (h->window != own.window)
        return refuse(w, "E_WINDOW", err, "has another sliding window (got %" PRIu32 ", need %" PRIu32 ")", h->window, own.window);
    if (!hearth_hash_equal(h->rope, own.rope))
        return refuse(w, "E_ROPE", err, "has other rotations: those of a context of %" PRIu32, h->context);
    return HEARTH_OK;
}

static hearth_status check_header(const struct walk *w, const struct header *h, hearth_error *err)
{
    const struct hearth_session *s = w->session;
    const uint64_t needed = (uint64_t)h->position + h->n_unfed;
    HEARTH_TRY(check_kind(w, h, err));
    if (h->n_unfed > 1 || h->n_logits > h->position || h->unfed < 0 || (uint32_t)h->unfed >= h->n_vocab ||
        h->position > HEARTH_CONTEXT_MAX)
        return refuse(w, "E_HEADER", err, "the header contradicts itself");
    if (needed > s->limits.context)
        return hearth_fail_needed(err, HEARTH_E_CONTEXT_FULL, needed, s->limits.context,
                                  "%s: state: too many tokens for this context (got %" PRIu64 ", need at most %" PRIu32 ")",
                                  w->shown, needed, s->limits.context);
    return HEARTH_OK;
}

/* Layers have what the next token sees. */
static hearth_status check_first(const struct walk *w, const struct facts *facts, hearth_error *err)
{
    for (uint32_t i = 0; i < facts->header.n_layer; i++) {
        const uint32_t seen = hearth_session_first_seen(w->session, i, facts->header.position);
        if (facts->first[i] > seen)
            return refuse(w, "E_LAYER", err, "layer %" PRIu32 " begins too late (got %" PRIu32 ", need at most %" PRIu32 ")", i,
                          facts->first[i], seen);
    }
    return HEARTH_OK;
}

static hearth_status check_sampler(const struct walk *w, const struct hearth_sampler_state *sampler, hearth_error *err)
{
    hearth_error why;
    if (hearth_sampler_check(w->session->sampler, sampler, &why) == HEARTH_OK)
        return HEARTH_OK;
    return refuse(w, "E_SAMPLER", err, "%s", why.message);
}

static hearth_status walk_all(struct walk *w, struct facts *facts, void *extra, hearth_error *err)
{
    struct header *h = &facts->header;
    HEARTH_TRY(walk_facts(w, h, sizeof *h, err));
    if (w->direction == CHECK)
        HEARTH_TRY(check_header(w, h, err));
    HEARTH_TRY(walk_facts(w, facts->first, h->n_layer * sizeof facts->first[0], err));
    if (w->direction == CHECK)
        HEARTH_TRY(check_first(w, facts, err));
    HEARTH_TRY(walk_facts(w, &facts->sampler, sizeof facts->sampler, err));
    if (w->direction == CHECK)
        HEARTH_TRY(check_sampler(w, &facts->sampler, err));
    HEARTH_TRY(walk_ids(w, h->position, err));
    HEARTH_TRY(walk_logits(w, h->n_logits, err));
    HEARTH_TRY(walk_cache(w, facts, err));
    return walk_memory(w, extra, h->extra_bytes, err);
}

/* ---- Saving ----------------------------------------------------------------------------------------------------------- */

static void facts_of(struct facts *out, const struct hearth_session *s, uint64_t extra_bytes)
{
    memset(out, 0, sizeof *out);
    out->header = header_of(s);
    out->header.extra_bytes = extra_bytes;
    for (uint32_t i = 0; i < out->header.n_layer; i++) {
        const uint32_t held = hearth_session_first_held(s, i);
        out->first[i] = held < s->position ? held : s->position;
    }
    hearth_sampler_save(s->sampler, &out->sampler);
}

/* The folder of a path, open, and its last part; -1 with errno. */
static int open_folder(const char *path, const char **name)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    const size_t n = slash ? (size_t)(slash - path) + 1 : 0;
    *name = path + n;
    errno = n >= sizeof folder ? ENAMETOOLONG : (*name)[0] == '\0' ? EISDIR : 0;
    if (errno != 0)
        return -1;
    memcpy(folder, path, n);
    memcpy(folder + n, n ? "" : ".", n ? 1 : 2);
    return open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* A state replaces a state, or any ordinary file, and nothing else. */
static hearth_status check_target(int folder, const char *name, const char *shown, hearth_error *err)
{
    struct stat info;
    if (fstatat(folder, name, &info, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? HEARTH_OK : fail_errno(shown, "save", errno, err);
    if (S_ISREG(info.st_mode))
        return HEARTH_OK;
    return hearth_fail(err, HEARTH_E_IO, NULL, "%s: save: there is %s of that name", shown,
                       S_ISDIR(info.st_mode)   ? "a folder"
                       : S_ISLNK(info.st_mode) ? "a symbolic link"
                                               : "something that is no file");
}

static hearth_status write_state(struct walk *w, struct facts *facts, const void *extra, hearth_error *err)
{
    void *bytes = (void *)(uintptr_t)extra; /* only read in this direction */
    HEARTH_TRY(walk_all(w, facts, bytes, err));
    w->payload_bytes = w->at;
    facts->header.payload_bytes = w->at;
    facts->header.file_bytes = file_bytes(w->at);
    if (!hearth_new_file_reserve(w->out, facts->header.file_bytes))
        return write_failed(w, err);
    w->at = 0;
    w->direction = WRITE;
    HEARTH_TRY(walk_all(w, facts, bytes, err));
    const struct footer footer = {.whole = w->whole, .file_bytes = facts->header.file_bytes, .committed = COMMITTED};
    if (hearth_new_file_write(w->out, &footer, sizeof footer, footer.file_bytes - sizeof footer) &&
        hearth_new_file_synchronize(w->out) && hearth_new_file_publish(w->out))
        return HEARTH_OK;
    return write_failed(w, err);
}

static hearth_status save(struct hearth_session *s, const char *path, const void *extra, uint64_t extra_bytes, hearth_error *err)
{
    char shown[HEARTH_QUOTE_MAX];
    const char *name;
    struct facts facts;
    struct hearth_new_file file;
    struct walk w = {.direction = COUNT, .session = s, .shown = shown, .out = &file, .in = -1, .chunk = s->scratch};
    (void)hearth_quote(shown, path, strlen(path));
    const int folder = open_folder(path, &name);
    if (folder < 0)
        return fail_errno(shown, "save: folder", errno, err);
    hearth_status status = check_target(folder, name, shown, err);
    if (status == HEARTH_OK) {
        facts_of(&facts, s, extra_bytes);
        if (hearth_new_file_open(&file, folder, name))
            status = write_state(&w, &facts, extra, err);
        else if (file.busy)
            status = hearth_fail(err, HEARTH_E_BUSY, NULL, "%s: save: another session is being saved to this file", shown);
        else
            status = write_failed(&w, err);
        hearth_new_file_close(&file);
    }
    (void)close(folder);
    return status;
}

hearth_status hearth_state_save(struct hearth_session *s, const char *path, const void *extra, uint64_t extra_bytes,
                                hearth_error *err)
{
    HEARTH_NEED(path, err);
    HEARTH_NEED_FOR(extra, extra_bytes, err);
    HEARTH_TRY(hearth_session_enter(s, err));
    return hearth_session_leave(s, save(s, path, extra, extra_bytes, err));
}

hearth_status hearth_session_save(hearth_session *s, const char *path, hearth_error *error)
{
    return hearth_state_save(s, path, NULL, 0, error);
}

/* ---- Restoring -------------------------------------------------------------------------------------------------------- */

/* What can be said before a checksum has been met: whether it is a whole state of this version. */
static hearth_status check_envelope(struct walk *w, const struct header *h, uint64_t size, hearth_error *err)
{
    if (memcmp(h->magic, magic, sizeof magic) != 0)
        return refuse(w, "E_MAGIC", err, "is no saved session");
    if (h->endian != ENDIAN_MARK)
        return refuse(w, "E_ENDIAN", err, "is of a machine with another byte order");
    if (h->version != FILE_VERSION)
        return refuse(w, "E_VERSION", err, "is of %s version (got %" PRIu32 ", need %u)",
                      h->version > FILE_VERSION ? "a newer" : "another", h->version, FILE_VERSION);
    if (h->file_bytes != size)
        return refuse(w, "E_TRUNC", err, "is not whole (got %" PRIu64 " bytes, need %" PRIu64 ")", size, h->file_bytes);
    if (h->payload_bytes < sizeof *h || h->payload_bytes > size || file_bytes(h->payload_bytes) != size)
        return refuse(w, "E_SIZE", err, "the header contradicts the size of the file");
    w->payload_bytes = h->payload_bytes;
    return HEARTH_OK;
}

static hearth_status open_state(struct walk *w, const char *path, hearth_error *err)
{
    struct stat info;
    struct header header;
    w->in = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (w->in < 0)
        return fail_errno(w->shown, errno == ELOOP ? "restore: a symbolic link" : "restore", errno, err);
    if (fstat(w->in, &info) != 0)
        return fail_errno(w->shown, "restore", errno, err);
    if (!S_ISREG(info.st_mode))
        return hearth_fail(err, HEARTH_E_IO, NULL, "%s: restore: is no regular file", w->shown);
    if ((uint64_t)info.st_size < sizeof header)
        return refuse(w, "E_TRUNC", err, "is not whole (got %jd bytes, need %zu for its header)", (intmax_t)info.st_size,
                      sizeof header);
    HEARTH_TRY(read_at(w, &header, sizeof header, 0, err));
    return check_envelope(w, &header, (uint64_t)info.st_size, err);
}

/* One pass over all sections, up to the footer. */
static hearth_status walk_file(struct walk *w, enum direction direction, struct facts *facts, hearth_error *err)
{
    struct footer footer;
    const struct hearth_hash before = w->whole;
    const uint64_t size = file_bytes(w->payload_bytes);
    w->direction = direction;
    w->at = 0;
    w->whole = (struct hearth_hash){0, 0};
    HEARTH_TRY(walk_all(w, facts, NULL, err));
    if (w->at != w->payload_bytes || facts->header.payload_bytes != w->payload_bytes)
        return refuse(w, "E_SIZE", err, "the sections are shorter than the file (at byte %" PRIu64 ")", w->at);
    HEARTH_TRY(read_at(w, &footer, sizeof footer, size - sizeof footer, err));
    if (footer.committed != COMMITTED || footer.file_bytes != size || !hearth_hash_equal(footer.whole, w->whole))
        return refuse(w, "E_SUM", err, "is damaged: the footer does not match");
    if (direction == READ && !hearth_hash_equal(before, w->whole))
        return refuse(w, "E_CHANGED", err, "changed while it was read");
    return HEARTH_OK;
}

/* The extra bytes end the sections; they are mapped, because there is no memory for as many as there may be. */
static hearth_status take_extra(const struct walk *w, uint64_t n, hearth_state_extra_fn *take, void *user, hearth_error *err)
{
    const uint64_t begin = w->payload_bytes - n;
    const uint64_t page = begin & ~(uint64_t)4095;
    if (n == 0)
        return take("", 0, user, err);
    uint8_t *map = mmap(NULL, (size_t)(w->payload_bytes - page), PROT_READ, MAP_PRIVATE, w->in, (off_t)page);
    if (map == MAP_FAILED)
        return fail_errno(w->shown, "restore: map", errno, err);
    hearth_status status;
    if (madvise(map, (size_t)(w->payload_bytes - page), MADV_POPULATE_READ) != 0 && errno != EINVAL)
        status = fail_errno(w->shown, "restore: read", errno, err);
    else
        status = take(map + (begin - page), n, user, err);
    (void)munmap(map, (size_t)(w->payload_bytes - page));
    return status;
}

/* Everything has been read into the empty session: it stands where the saved one stood. */
static void stand_there(struct hearth_session *s, const struct facts *facts)
{
    const struct header *h = &facts->header;
    s->position = h->position;
    s->written = h->position;
    for (uint32_t i = 0; i < h->n_layer; i++)
        s->held = facts->first[i] > s->held ? facts->first[i] : s->held;
    s->unfed = h->unfed;
    s->n_unfed = h->n_unfed;
    s->n_logits = h->n_logits < s->limits.logits_rows ? h->n_logits : s->limits.logits_rows;
    hearth_sampler_rewrite_history(s->sampler, s->ids, h->position);
    hearth_sampler_restore(s->sampler, &facts->sampler);
}

static hearth_status restore(struct hearth_session *s, const char *path, hearth_state_extra_fn *take, void *user, hearth_error *err)
{
    char shown[HEARTH_QUOTE_MAX];
    struct facts facts;
    struct walk w = {.session = s, .shown = shown, .in = -1, .chunk = s->scratch};
    (void)hearth_quote(shown, path, strlen(path));
    hearth_status status = open_state(&w, path, err);
    if (status == HEARTH_OK)
        status = walk_file(&w, CHECK, &facts, err);
    if (status == HEARTH_OK && take)
        status = take_extra(&w, facts.header.extra_bytes, take, user, err);
    if (status == HEARTH_OK) {
        hearth_session_forget_from(s, 0); /* from here on its cache is written over */
        status = walk_file(&w, READ, &facts, err);
    }
    if (status == HEARTH_OK)
        stand_there(s, &facts);
    if (w.in >= 0)
        (void)close(w.in);
    return status;
}

hearth_status hearth_state_restore(struct hearth_session *s, const char *path, hearth_state_extra_fn *take, void *user,
                                   hearth_error *err)
{
    HEARTH_NEED(path, err);
    HEARTH_TRY(hearth_session_enter(s, err));
    return hearth_session_leave(s, restore(s, path, take, user, err));
}

hearth_status hearth_session_restore(hearth_session *s, const char *path, hearth_error *error)
{
    return hearth_state_restore(s, path, NULL, NULL, error);
}
