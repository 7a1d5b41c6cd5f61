/* Weights from the source into the arena; see pack.h. One job of the pool for each tensor; each worker reads its rows in pieces
 * that fit its buffer, so that no tensor ever exists twice. Before that it tells the source what it will read in later jobs: the
 * disk fetches those tensors while this one is packed. */
#include "pack.h"
#include "common/half.h"
#include "common/status.h"
#include "engine.h"
#include "share.h"
#include <stdatomic.h>

#define BUFFER_BYTES (256u << 10) /* a piece stays in the second-level cache from the copy to the packing */

struct load_job {
    struct hearth_description *description;
    const struct hearth_source *source;
    uint8_t *buffers;
    uint64_t buffer_bytes;
    bool forget;                        /* tell the source what will not be read again */
    bool verify;                        /* look at the numbers */
    size_t index;                       /* of the weight */
    size_t ahead, ahead_end;            /* weights to be requested now */
    _Atomic uint32_t failed;            /* the lowest worker that failed; its error lies in its buffer */
    _Atomic uint64_t sum_low, sum_high; /* of the hashes of all rows read so far */
};

/* One worker's part in it. */
struct reader {
    const struct load_job *job;
    uint8_t *buffer;
    struct hearth_hash sum; /* of the hashes of its rows, each with its place in the file: the same for every division of work */
};

static uint64_t tile_file_bytes(const struct hearth_matrix *m)
{
    return m->kernel->matmul.tile_rows * hearth_row_bytes(m->format, m->k);
}

uint64_t hearth_pack_buffer_bytes(const struct hearth_description *d)
{
    uint64_t most = BUFFER_BYTES;
    const size_t n = hearth_weight_count(d);
    for (size_t i = 0; i < n; i++) {
        const struct hearth_weight w = hearth_weight_at((struct hearth_description *)(uintptr_t)d, i);
        uint64_t need = 0;
        if (w.matrix && w.matrix->rows)
            need = tile_file_bytes(w.matrix);
        else if (w.table && w.table->rows)
            need = hearth_row_bytes(w.table->format, w.table->k);
        most = need > most ? need : most;
    }
    return (most + 4095) & ~(uint64_t)4095;
}

/* Where the half floats of a block's scales lie; second 255: only one. */
static void scale_offsets(uint32_t format, uint8_t out[2])
{
    out[0] = 0;
    out[1] = 255;
    if (format == HEARTH_Q4_1 || format == HEARTH_Q5_1 || format == HEARTH_Q4_K || format == HEARTH_Q5_K)
        out[1] = 2;
    else if (format == HEARTH_Q2_K)
        out[0] = 80, out[1] = 82;
    else if (format == HEARTH_Q3_K)
        out[0] = 108;
    else if (format == HEARTH_Q6_K)
        out[0] = 208;
}

/* The bits of a number without its sign are in the order of numbers; infinities and NaNs come last. */
uint64_t hearth_first_absurd(uint32_t format, const uint8_t *bytes, uint64_t n)
{
    const size_t step = hearth_format_info(format)->block_bytes;
    const uint32_t limit = format == HEARTH_F16 ? 0x7c00 : 0x7800; /* every half float is a weight; 2^15 is no scale */
    uint8_t at[2];
    scale_offsets(format, at);
    for (uint64_t i = 0; i < n; i++, bytes += step) {
        bool bad;
        if (format == HEARTH_F32) {
            uint32_t u;
            memcpy(&u, bytes, sizeof u);
            bad = (u & 0x7fffffffu) >= 0x71800000u; /* 2^100 */
        } else if (format == HEARTH_BF16) {
            bad = (hearth_load_u16(bytes) & 0x7fffu) >= 0x7180u;
        } else {
            bad = (hearth_load_u16(bytes + at[0]) & 0x7fffu) >= limit;
            if (at[1] != 255)
                bad |= (hearth_load_u16(bytes + at[1]) & 0x7fffu) >= limit;
        }
        if (bad)
            return i;
    }
    return n;
}

/* row_blocks: of a row of the tensor. */
static hearth_status check_numbers(const struct load_job *job, uint32_t format, const uint8_t *bytes, uint64_t n_bytes,
                                   uint64_t first_block, uint64_t row_blocks, hearth_error *err)
{
    const uint64_t n = n_bytes / hearth_format_info(format)->block_bytes; /* NOLINT(clang-analyzer-core.DivideZero): described */
    const uint64_t bad = hearth_first_absurd(format, bytes, n);
    if (bad == n)
        return HEARTH_OK;
    char name[64];
    hearth_weight_name(job->description, job->index, name);
    return hearth_fail(err, HEARTH_E_FORMAT, "E_NUM",
                       "%s: tensor %s: block %" PRIu64 " is not finite or absurdly large (row %" PRIu64 ")", job->source->shown,
                       name, first_block + bad, (first_block + bad) / row_blocks);
}

/* n bytes of the file to `out`, checked and hashed row by row. A vector is one row, hashed in pieces. */
static hearth_status load_range(struct reader *r, uint32_t format, uint64_t offset, uint8_t *out, uint64_t n, uint64_t row_bytes,
                                uint64_t first_block, uint64_t row_blocks, hearth_error *err)
{
    const struct hearth_source *s = r->job->source;
    HEARTH_TRY(s->read(s->context, out, offset, (size_t)n, err));
    if (r->job->verify)
        HEARTH_TRY(check_numbers(r->job, format, out, n, first_block, row_blocks, err));
    for (uint64_t at = 0; at < n; at += row_bytes)
        hearth_hash_sum(&r->sum, hearth_hash_at(out + at, (size_t)row_bytes, offset + at));
    if (s->forget && r->job->forget)
        s->forget(s->context, offset, n);
    return HEARTH_OK;
}

/* Rows in whole units; below 2^27 for all experts together (hparams.c). */
static uint32_t units_of(const struct hearth_matrix *m)
{
    return (m->rows + HEARTH_ROW_UNIT - 1) / HEARTH_ROW_UNIT * HEARTH_ROW_UNIT;
}

static hearth_status load_one_matrix(struct reader *reader, const struct hearth_matrix *m, uint32_t number,
                                     struct hearth_range rows, hearth_error *err)
{
    const uint64_t row_bytes = hearth_row_bytes(m->format, m->k);
    const uint64_t row_blocks = m->k / hearth_format_info(m->format)->block_elems;
    const uint32_t tile_rows = (uint32_t)m->kernel->matmul.tile_rows;
    const uint64_t tile_bytes = m->kernel->matmul.tile_bytes(m->k);
    const uint32_t rows_at_once = (uint32_t)(reader->job->buffer_bytes / (row_bytes * tile_rows)) * tile_rows;
    const uint64_t before = m->first + (uint64_t)number * m->rows; /* rows of the tensor */
    const uint64_t offset = m->file_offset + (uint64_t)number * m->rows * row_bytes;
    uint8_t *packed = m->packed + number * hearth_matrix_one_packed_bytes(m);
    for (uint32_t r = rows.begin; r < rows.end; r += rows_at_once) {
        const uint32_t n = rows.end - r < rows_at_once ? rows.end - r : rows_at_once;
        HEARTH_TRY(load_range(reader, m->format, offset + r * row_bytes, reader->buffer, n * row_bytes, row_bytes,
                              (before + r) * row_blocks, row_blocks, err));
        for (uint32_t i = 0; i < n; i += tile_rows)
            m->kernel->matmul.pack(packed + (uint64_t)((r + i) / tile_rows) * tile_bytes, reader->buffer + i * row_bytes,
                                   n - i < tile_rows ? n - i : tile_rows, m->k);
    }
    return HEARTH_OK;
}

/* A worker's part of a matrix, or of all experts as if they were one that has whole units of rows for each. */
static struct hearth_range share_of(const struct hearth_matrix *m, uint32_t worker, uint32_t workers)
{
    return hearth_share_rows(m->count > 1 ? m->count * units_of(m) : m->rows, worker, workers);
}

/* Of that part, the rows that belong to one matrix. */
static struct hearth_range rows_of(const struct hearth_matrix *m, struct hearth_range part, uint32_t number)
{
    const uint32_t first = number * units_of(m);
    struct hearth_range rows = {part.begin > first ? part.begin - first : 0, part.end > first ? part.end - first : 0};
    rows.begin = rows.begin < m->rows ? rows.begin : m->rows;
    rows.end = rows.end < m->rows ? rows.end : m->rows;
    return rows;
}

static hearth_status load_matrix(struct reader *r, const struct hearth_matrix *m, struct hearth_range part, hearth_error *err)
{
    for (uint32_t i = 0; i < m->count; i++)
        HEARTH_TRY(load_one_matrix(r, m, i, rows_of(m, part, i), err));
    return HEARTH_OK;
}

static hearth_status load_table(struct reader *reader, const struct hearth_table *t, struct hearth_range rows, hearth_error *err)
{
    const uint64_t row_bytes = hearth_row_bytes(t->format, t->k);
    const uint64_t row_blocks = t->k / hearth_format_info(t->format)->block_elems;
    const uint32_t rows_at_once = (uint32_t)(reader->job->buffer_bytes / row_bytes);
    for (uint32_t r = rows.begin; r < rows.end; r += rows_at_once) {
        const uint32_t n = rows.end - r < rows_at_once ? rows.end - r : rows_at_once;
        HEARTH_TRY(load_range(reader, t->format, t->file_offset + r * row_bytes, t->bytes + r * row_bytes, n * row_bytes, row_bytes,
                              r * row_blocks, row_blocks, err));
    }
    return HEARTH_OK;
}

/* Vectors are small: one worker widens them to floats through its buffer. */
static hearth_status load_vector(struct reader *r, const struct hearth_vector *v, hearth_error *err)
{
    const uint32_t at_once = BUFFER_BYTES / sizeof(float);
    const uint32_t element_bytes = hearth_format_info(v->format)->block_bytes;
    for (uint32_t i = 0; i < v->n; i += at_once) {
        const uint32_t n = v->n - i < at_once ? v->n - i : at_once;
        const uint64_t bytes = (uint64_t)n * element_bytes;
        HEARTH_TRY(load_range(r, v->format, v->file_offset + (uint64_t)i * element_bytes, r->buffer, bytes, bytes, v->first + i,
                              UINT64_MAX, err));
        for (uint32_t j = 0; j < n; j++) {
            const uint8_t *at = r->buffer + j * element_bytes;
            if (v->format == HEARTH_F32)
                memcpy(&v->values[i + j], at, sizeof(float));
            else
                v->values[i + j] =
                    v->format == HEARTH_F16 ? hearth_f16_to_f32(hearth_load_u16(at)) : hearth_bf16_to_f32(hearth_load_u16(at));
        }
    }
    return HEARTH_OK;
}

static void expect_rows(const struct hearth_source *s, uint64_t offset, uint64_t row_bytes, struct hearth_range rows)
{
    if (rows.begin < rows.end)
        s->expect(s->context, offset + rows.begin * row_bytes, (rows.end - rows.begin) * row_bytes);
}

/* Tell the source about this worker's rows of a weight. */
static void expect_weight(const struct load_job *job, struct hearth_weight w, uint32_t worker, uint32_t workers)
{
    const struct hearth_source *s = job->source;
    const struct hearth_matrix *m = w.matrix;
    if (w.vector && w.vector->n && worker == 0)
        s->expect(s->context, w.vector->file_offset, w.vector->n * hearth_format_info(w.vector->format)->block_bytes);
    if (w.table && w.table->rows)
        expect_rows(s, w.table->file_offset, hearth_row_bytes(w.table->format, w.table->k),
                    hearth_share_rows(w.table->rows, worker, workers));
    for (uint32_t i = 0; m && m->rows && i < m->count; i++) {
        const uint64_t row_bytes = hearth_row_bytes(m->format, m->k);
        expect_rows(s, m->file_offset + (uint64_t)i * m->rows * row_bytes, row_bytes, rows_of(m, share_of(m, worker, workers), i));
    }
}

static void load_weight(void *context, uint32_t worker, uint32_t workers)
{
    struct load_job *job = context;
    for (size_t i = job->ahead; job->source->expect && i < job->ahead_end; i++)
        expect_weight(job, hearth_weight_at(job->description, i), worker, workers);
    const struct hearth_weight w = hearth_weight_at(job->description, job->index);
    struct reader r = {.job = job, .buffer = job->buffers + worker * job->buffer_bytes};
    hearth_error err;
    hearth_status status = HEARTH_OK;
    if (w.matrix && w.matrix->rows)
        status = load_matrix(&r, w.matrix, share_of(w.matrix, worker, workers), &err);
    else if (w.table && w.table->rows)
        status = load_table(&r, w.table, hearth_share_rows(w.table->rows, worker, workers), &err);
    else if (w.vector && w.vector->n && worker == 0)
        status = load_vector(&r, w.vector, &err);
    atomic_fetch_add(&job->sum_low, r.sum.low);
    atomic_fetch_add(&job->sum_high, r.sum.high);
    if (status == HEARTH_OK)
        return;
    memcpy(r.buffer, &err, sizeof err);
    uint32_t seen = atomic_load(&job->failed);
    while (worker < seen && !atomic_compare_exchange_weak(&job->failed, &seen, worker))
        ;
}

/* Workers take rows in ascending order and stop at the first that is bad, so the lowest one tells the first of the tensor, however
 * many there are. */
static hearth_status first_failure(const struct load_job *job, hearth_error *err)
{
    hearth_error first;
    memcpy(&first, job->buffers + job->failed * job->buffer_bytes, sizeof first);
    if (err)
        *err = first;
    return first.code;
}

static uint64_t weight_packed_bytes(struct hearth_weight w)
{
    if (w.matrix)
        return hearth_matrix_packed_bytes(w.matrix);
    if (w.table && w.table->rows)
        return w.table->rows * hearth_row_bytes(w.table->format, w.table->k);
    return w.vector ? w.vector->n * sizeof(float) : 0;
}

/* Choose what the next job requests: everything up to `window` bytes beyond its own weight that was not requested before. */
static void plan_ahead(struct load_job *job, uint64_t *requested, uint64_t done, uint64_t window)
{
    const size_t n = hearth_weight_count(job->description);
    job->ahead = job->ahead_end;
    for (; job->ahead_end < n && (*requested < done || *requested - done < window); job->ahead_end++)
        *requested += weight_packed_bytes(hearth_weight_at(job->description, job->ahead_end));
}

hearth_status hearth_weights_load(struct hearth_description *description, const struct hearth_source *source,
                                  uint64_t prefetch_window, bool forget, bool verify, struct hearth_pool *pool, uint8_t *buffers,
                                  const struct hearth_progress *progress, struct hearth_hash *identity, hearth_error *err)
{
    struct load_job job = {.description = description,
                           .source = source,
                           .buffers = buffers,
                           .buffer_bytes = hearth_pack_buffer_bytes(description),
                           .forget = forget,
                           .verify = verify,
                           .failed = UINT32_MAX};
    const size_t n = hearth_weight_count(description);
    uint64_t done = 0;
    uint64_t requested = 0;
    for (job.index = 0; job.index < n; job.index++) {
        const uint64_t bytes = weight_packed_bytes(hearth_weight_at(description, job.index));
        if (bytes == 0)
            continue;
        plan_ahead(&job, &requested, done + bytes, prefetch_window);
        hearth_pool_run(pool, load_weight, &job);
        if (job.failed != UINT32_MAX)
            return first_failure(&job, err);
        done += bytes;
        HEARTH_TRY(hearth_progress_tell(progress, done, source->shown, err));
    }
    *identity = hearth_hash128(source->gguf->header.bytes, (size_t)source->gguf->header.size);
    hearth_hash_add(identity, (uint64_t[2]){job.sum_low, job.sum_high}, 2 * sizeof(uint64_t));
    return HEARTH_OK;
}

uint64_t hearth_weights_packed_bytes(const struct hearth_description *description)
{
    uint64_t total = 0;
    const size_t n = hearth_weight_count(description);
    for (size_t i = 0; i < n; i++)
        total += weight_packed_bytes(hearth_weight_at((struct hearth_description *)(uintptr_t)description, i));
    return total;
}

bool hearth_progress_go_on(uint64_t done_bytes, uint64_t total_bytes, void *user)
{
    (void)done_bytes, (void)total_bytes, (void)user;
    return true;
}

struct hearth_progress hearth_progress_begin(struct hearth_engine *engine, const hearth_model_options *options, uint64_t total)
{
    const bool own = options && options->progress;
    return (struct hearth_progress){.fn = own ? options->progress : engine->progress,
                                    .user = own ? options->progress_user : engine->progress_user,
                                    .engine = engine,
                                    .asks_abort = engine->should_stop && !(own && options->progress == hearth_progress_go_on),
                                    .total = total};
}

struct question {
    struct hearth_engine *engine;
    bool answer;
};

static void ask_abort(void *context, uint32_t worker, uint32_t workers)
{
    (void)workers;
    struct question *q = context;
    if (worker == 0)
        q->answer = q->engine->should_stop(q->engine->stop_user);
}

hearth_status hearth_progress_tell(const struct hearth_progress *p, uint64_t done, const char *shown, hearth_error *err)
{
    struct question question = {.engine = p->engine};
    if (p->fn && !p->fn(p->before + done, p->total, p->user))
        question.answer = true;
    else if (p->asks_abort)
        hearth_pool_run(p->engine->pool, ask_abort, &question);
    return question.answer ? hearth_fail(err, HEARTH_E_CANCELLED, NULL, "%s: loading: cancelled", shown) : HEARTH_OK;
}
