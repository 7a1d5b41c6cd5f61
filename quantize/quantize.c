/* Reading, encoding and writing; see quantize.h. */
#include "quantize.h"
#include "common/checked.h"
#include "encode/encode.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define PIECE_ELEMENTS (64u << 10)
#define COPY_BYTES (256u << 10)
#define PIECES_A_RUN 256 /* between two tellings of the progress */

/* ---- Pieces ------------------------------------------------------------------------------------------------------------ */

/* A tensor is cut into pieces of `step` units, the last may be shorter: rows that are encoded, or bytes that are copied. */
struct pieces {
    uint64_t n_units, step, n;
};

static struct pieces cut(const struct hearth_scheme_tensor *t)
{
    struct pieces p = {t->in->bytes, COPY_BYTES, 0};
    if (hearth_scheme_encodes(t)) {
        p.n_units = t->in->ne[1] * t->in->ne[2] * t->in->ne[3];
        p.step = t->in->ne[0] < PIECE_ELEMENTS ? PIECE_ELEMENTS / t->in->ne[0] : 1;
    }
    p.step = p.step < p.n_units ? p.step : p.n_units;
    p.n = (p.n_units + p.step - 1) / p.step;
    return p;
}

/* What a worker needs for the largest piece: [what is read][a row of floats][what is written]. */
struct buffer_bytes {
    uint64_t read, row, write;
};

static struct buffer_bytes measure_buffers(const struct hearth_quantize *q)
{
    struct buffer_bytes b = {0};
    for (uint64_t i = 0; i < q->scheme.n_tensors; i++) {
        const struct hearth_scheme_tensor *t = &q->scheme.tensors[i];
        const struct pieces p = cut(t);
        const bool encodes = hearth_scheme_encodes(t);
        const uint64_t read = p.step * (encodes ? t->in->bytes / p.n_units : 1); /* at most the tensor's bytes */
        const uint64_t write = encodes ? p.step * (t->bytes / p.n_units) : 0;
        const uint64_t row = encodes ? t->in->ne[0] * sizeof(float) : 0;
        b.read = read > b.read ? read : b.read;
        b.write = write > b.write ? write : b.write;
        b.row = row > b.row ? row : b.row;
    }
    b.read = hearth_align(b.read, 64);
    b.row = hearth_align(b.row, 64);
    b.write = hearth_align(b.write, 64);
    return b;
}

struct job {
    const struct hearth_quantize *q;
    const struct hearth_scheme_tensor *tensor;
    struct pieces pieces;
    struct buffer_bytes sizes;
    uint8_t *buffers;
    uint64_t buffer_bytes; /* of a worker */
    uint64_t end;          /* of this run: a piece */
    int fd;
    const char *name;
    _Atomic uint64_t next;   /* piece */
    _Atomic uint64_t failed; /* the first piece that failed; UINT64_MAX: none */
    pthread_mutex_t lock;    /* of what follows */
    hearth_error failure;
};

static hearth_status fail_write(const struct job *j, hearth_error *err)
{
    char file[HEARTH_QUOTE_MAX];
    char reason[128];
    const int number = errno;
    return hearth_fail(err, HEARTH_E_IO, NULL, "%s: write: %s", hearth_quote(file, j->name, strlen(j->name)),
                       strerror_r(number, reason, sizeof reason));
}

static hearth_status write_at(const struct job *j, const uint8_t *bytes, uint64_t n, uint64_t offset, hearth_error *err)
{
    while (n > 0) {
        const ssize_t written = pwrite(j->fd, bytes, (size_t)n, (off_t)offset);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return fail_write(j, err);
        bytes += written;
        offset += (uint64_t)written;
        n -= (uint64_t)written;
    }
    return HEARTH_OK;
}

/* ---- On the workers ---------------------------------------------------------------------------------------------------- */

static hearth_status fail_row(const struct job *j, uint64_t row, const char *what, hearth_error *err)
{
    char tensor[HEARTH_QUOTE_MAX];
    const struct hearth_view name = j->tensor->in->name;
    return hearth_fail(err, HEARTH_E_FORMAT, "E_NUM", "%s: tensor '%s': row %" PRIu64 " %s %s", j->q->source.shown,
                       hearth_quote(tensor, name.bytes, (size_t)name.size), row, what, hearth_format_info(j->tensor->format)->name);
}

static hearth_status encode_rows(const struct job *j, uint64_t begin, uint64_t n, uint8_t *buffer, hearth_error *err)
{
    const struct hearth_scheme_tensor *t = j->tensor;
    const struct hearth_gguf_tensor *in = t->in;
    const uint64_t k = in->ne[0];
    const size_t in_bytes = hearth_row_bytes(in->format, k), out_bytes = hearth_row_bytes(t->format, k);
    const struct hearth_source *source = &j->q->source;
    hearth_dequantize_fn *decode = j->q->engine->kernels.chosen[HEARTH_OP_DEQUANTIZE][in->format]->dequantize;
    hearth_encode_fn *encode = hearth_encoder(t->format);
    float *row = (float *)(void *)(buffer + j->sizes.read);
    uint8_t *out = buffer + j->sizes.read + j->sizes.row;
    HEARTH_TRY(source->read(source->context, buffer, in->file_offset + begin * in_bytes, n * in_bytes, err));
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t matrix = (begin + i) / in->ne[1] % in->ne[2];
        decode(row, buffer + i * in_bytes, k);
        if (!hearth_encode_finite(row, k))
            return fail_row(j, begin + i, "has a number that is not finite: it cannot become", err);
        if (!encode(out + i * out_bytes, row, t->importance ? t->importance + matrix * k : NULL, k))
            return fail_row(j, begin + i, "has numbers too large for", err);
    }
    return write_at(j, out, n * out_bytes, t->offset + begin * out_bytes, err);
}

static hearth_status copy_bytes(const struct job *j, uint64_t begin, uint64_t n, uint8_t *buffer, hearth_error *err)
{
    const struct hearth_source *source = &j->q->source;
    HEARTH_TRY(source->read(source->context, buffer, j->tensor->in->file_offset + begin, (size_t)n, err));
    return write_at(j, buffer, n, j->tensor->offset + begin, err);
}

/* Of several failures that of the first piece is kept. Pieces are taken in order, and one that was taken is finished: so it is the
 * same for every number of workers. */
static void keep_failure(struct job *j, uint64_t piece, const hearth_error *err)
{
    (void)pthread_mutex_lock(&j->lock);
    if (piece < atomic_load(&j->failed)) {
        j->failure = *err;
        atomic_store(&j->failed, piece);
    }
    (void)pthread_mutex_unlock(&j->lock);
}

static void work(void *context, uint32_t worker, uint32_t workers)
{
    struct job *j = context;
    uint8_t *buffer = j->buffers + worker * j->buffer_bytes;
    const bool encodes = hearth_scheme_encodes(j->tensor);
    (void)workers;
    while (atomic_load(&j->failed) == UINT64_MAX) {
        const uint64_t piece = atomic_fetch_add(&j->next, 1);
        if (piece >= j->end)
            return;
        hearth_error err;
        const uint64_t begin = piece * j->pieces.step, left = j->pieces.n_units - begin;
        const uint64_t n = left < j->pieces.step ? left : j->pieces.step;
        if ((encodes ? encode_rows : copy_bytes)(j, begin, n, buffer, &err) != HEARTH_OK)
            keep_failure(j, piece, &err);
    }
}

/* ---- One after the other ----------------------------------------------------------------------------------------------- */

/* The zeros behind a tensor. */
static hearth_status write_padding(const struct job *j, hearth_error *err)
{
    static const uint8_t zeros[4096];
    uint64_t at = j->tensor->offset + j->tensor->bytes;
    const uint64_t end =
        (at + j->q->source.gguf->alignment - 1) & ~(j->q->source.gguf->alignment - 1); /* the writer has checked the sum */
    while (at < end) {
        const uint64_t n = end - at < sizeof zeros ? end - at : sizeof zeros;
        HEARTH_TRY(write_at(j, zeros, n, at, err));
        at += n;
    }
    return HEARTH_OK;
}

static hearth_status write_tensor(struct job *j, hearth_progress_fn *progress, void *user, hearth_error *err)
{
    const struct hearth_scheme_tensor *t = j->tensor;
    j->pieces = cut(t);
    for (uint64_t done = 0; done < j->pieces.n; done = j->end) {
        const uint64_t left = j->pieces.n - done;
        j->end = done + (left < PIECES_A_RUN ? left : PIECES_A_RUN);
        atomic_store(&j->next, done);
        hearth_pool_run(j->q->engine->pool, work, j);
        if (atomic_load(&j->failed) != UINT64_MAX) {
            if (err)
                *err = j->failure;
            return j->failure.code;
        }
        const uint64_t written = t->offset + (uint64_t)((double)t->bytes * (double)j->end / (double)j->pieces.n);
        if (progress && !progress(written, j->q->scheme.file_bytes, user))
            return hearth_fail(err, HEARTH_E_CANCELLED, NULL, "%s: quantize: interrupted", j->q->source.shown);
    }
    return write_padding(j, err);
}

static hearth_status write_tensors(struct job *j, hearth_progress_fn *progress, void *user, hearth_error *err)
{
    const struct hearth_scheme *s = &j->q->scheme;
    HEARTH_TRY(write_at(j, s->header, s->header_bytes, 0, err));
    for (uint64_t i = 0; i < s->n_tensors; i++) {
        j->tensor = &s->tensors[i];
        HEARTH_TRY(write_tensor(j, progress, user, err));
    }
    return HEARTH_OK;
}

/* Where the system can tell before the work that there is no room, let it. */
static hearth_status reserve_room(const struct job *j, hearth_error *err)
{
    if (fallocate(j->fd, 0, 0, (off_t)j->q->scheme.file_bytes) == 0)
        return HEARTH_OK;
    return errno == ENOSPC || errno == EFBIG || errno == EDQUOT ? fail_write(j, err) : HEARTH_OK;
}

hearth_status hearth_quantize_write(struct hearth_quantize *q, int fd, const char *name, hearth_progress_fn *progress, void *user,
                                    hearth_error *err)
{
    struct job j = {.q = q, .sizes = measure_buffers(q), .fd = fd, .name = name, .failed = UINT64_MAX};
    struct hearth_arena counting = {0}, arena;
    const uint32_t workers = hearth_pool_workers(q->engine->pool);
    j.buffer_bytes = j.sizes.read + j.sizes.row + j.sizes.write;
    HEARTH_TRY(reserve_room(&j, err));
    (void)hearth_arena_take(&counting, HEARTH_PLAN_SCRATCH, workers, j.buffer_bytes);
    HEARTH_TRY(hearth_engine_reserve(q->engine, &arena, &counting, err));
    j.buffers = hearth_arena_take(&arena, HEARTH_PLAN_SCRATCH, workers, j.buffer_bytes);
    (void)pthread_mutex_init(&j.lock, NULL); /* one without attributes cannot fail */
    const hearth_status status = write_tensors(&j, progress, user, err);
    (void)pthread_mutex_destroy(&j.lock);
    hearth_engine_release(q->engine, &arena);
    return status;
}

/* ---- Opening and closing ----------------------------------------------------------------------------------------------- */

static hearth_status open_files(struct hearth_quantize *q, const struct hearth_quantize_options *o, hearth_error *err)
{
    HEARTH_TRY(hearth_source_open_file(&q->source, &q->file, o->input, err));
    return o->imatrix ? hearth_imatrix_open(&q->imatrix, o->imatrix, err) : HEARTH_OK;
}

static hearth_status check_encoders(const struct hearth_quantize *q, hearth_error *err)
{
    for (uint64_t i = 0; i < q->scheme.n_tensors; i++) {
        const struct hearth_scheme_tensor *t = &q->scheme.tensors[i];
        if (hearth_scheme_encodes(t) && !hearth_encoder(t->format))
            return hearth_fail(err, HEARTH_E_UNSUPPORTED, NULL, "quantize: nothing encodes %s",
                               hearth_format_info(t->format)->name);
    }
    return HEARTH_OK;
}

hearth_status hearth_quantize_open(struct hearth_quantize *out, struct hearth_engine *engine,
                                   const struct hearth_quantize_options *options, hearth_error *err)
{
    *out = (struct hearth_quantize){.engine = engine};
    HEARTH_TRY(open_files(out, options, err));
    HEARTH_TRY(hearth_scheme_make(&out->scheme, out->source.gguf, options->recipe, options->pure,
                                  options->imatrix ? &out->imatrix : NULL, err));
    return check_encoders(out, err);
}

void hearth_quantize_close(struct hearth_quantize *q)
{
    hearth_scheme_free(&q->scheme);
    hearth_imatrix_close(&q->imatrix);
    hearth_parts_close(&q->file.parts);
}
