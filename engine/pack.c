/* Weights from the source into the arena; see pack.h. One job of the pool for each tensor; each worker reads its rows in pieces
 * that fit its buffer, so that no tensor ever exists twice. */
#include "pack.h"
#include "common/half.h"
#include "common/status.h"
#include "share.h"
#include <stdatomic.h>

#define BUFFER_BYTES (1u << 20)

struct load_job {
    struct hearth_description *description;
    const struct hearth_source *source;
    uint8_t *buffers;
    uint64_t buffer_bytes;
    size_t index;            /* of the weight */
    _Atomic uint32_t failed; /* the lowest worker that failed; its error lies in its buffer */
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

/* Index of the first block (or element of a float format) with a scale that is not finite; n when all are (spec quantization.md
 * section 14). */
static uint64_t first_not_finite(uint32_t format, const uint8_t *bytes, uint64_t n)
{
    const size_t step = hearth_format_info(format)->block_bytes;
    uint8_t at[2];
    scale_offsets(format, at);
    for (uint64_t i = 0; i < n; i++, bytes += step) {
        uint32_t bad;
        if (format == HEARTH_F32) {
            uint32_t u;
            memcpy(&u, bytes, sizeof u);
            bad = (u & 0x7f800000u) == 0x7f800000u;
        } else if (format == HEARTH_BF16) {
            bad = (hearth_load_u16(bytes) & 0x7f80u) == 0x7f80u;
        } else {
            bad = (hearth_load_u16(bytes + at[0]) & 0x7c00u) == 0x7c00u;
            if (at[1] != 255)
                bad |= (hearth_load_u16(bytes + at[1]) & 0x7c00u) == 0x7c00u;
        }
        if (bad)
            return i;
    }
    return n;
}

static hearth_status check_finite(const struct load_job *job, uint32_t format, const uint8_t *bytes, uint64_t n_bytes,
                                  uint64_t first_block, hearth_error *err)
{
    const uint64_t n = n_bytes / hearth_format_info(format)->block_bytes;
    const uint64_t bad = first_not_finite(format, bytes, n);
    if (bad == n)
        return HEARTH_OK;
    char name[64];
    hearth_weight_name(job->description, job->index, name);
    return hearth_fail(err, HEARTH_E_FORMAT, "E_NUM", "%s: tensor %s: block %" PRIu64 " is not finite", job->source->shown, name,
                       first_block + bad);
}

static hearth_status load_range(const struct load_job *job, uint32_t format, uint64_t offset, uint8_t *out, uint64_t n,
                                uint64_t first_block, hearth_error *err)
{
    const struct hearth_source *s = job->source;
    HEARTH_TRY(s->read(s->context, out, offset, (size_t)n, err));
    HEARTH_TRY(check_finite(job, format, out, n, first_block, err));
    if (s->forget)
        s->forget(s->context, offset, n);
    return HEARTH_OK;
}

static hearth_status load_matrix(const struct load_job *job, const struct hearth_matrix *m, uint8_t *buffer,
                                 struct hearth_range rows, hearth_error *err)
{
    const uint64_t row_bytes = hearth_row_bytes(m->format, m->k);
    const uint64_t row_blocks = m->k / hearth_format_info(m->format)->block_elems;
    const uint32_t tile_rows = (uint32_t)m->kernel->matmul.tile_rows;
    const uint64_t tile_bytes = m->kernel->matmul.tile_bytes(m->k);
    const uint32_t rows_at_once = (uint32_t)(job->buffer_bytes / (row_bytes * tile_rows)) * tile_rows;
    for (uint32_t r = rows.begin; r < rows.end; r += rows_at_once) {
        const uint32_t n = rows.end - r < rows_at_once ? rows.end - r : rows_at_once;
        HEARTH_TRY(
            load_range(job, m->format, m->file_offset + r * row_bytes, buffer, n * row_bytes, (m->first + r) * row_blocks, err));
        for (uint32_t i = 0; i < n; i += tile_rows)
            m->kernel->matmul.pack(m->packed + (uint64_t)((r + i) / tile_rows) * tile_bytes, buffer + i * row_bytes,
                                   n - i < tile_rows ? n - i : tile_rows, m->k);
    }
    return HEARTH_OK;
}

static hearth_status load_table(const struct load_job *job, const struct hearth_table *t, struct hearth_range rows,
                                hearth_error *err)
{
    const uint64_t row_bytes = hearth_row_bytes(t->format, t->k);
    const uint64_t row_blocks = t->k / hearth_format_info(t->format)->block_elems;
    const uint32_t rows_at_once = (uint32_t)(job->buffer_bytes / row_bytes);
    for (uint32_t r = rows.begin; r < rows.end; r += rows_at_once) {
        const uint32_t n = rows.end - r < rows_at_once ? rows.end - r : rows_at_once;
        HEARTH_TRY(load_range(job, t->format, t->file_offset + r * row_bytes, t->bytes + r * row_bytes, n * row_bytes,
                              r * row_blocks, err));
    }
    return HEARTH_OK;
}

/* Vectors are small: one worker widens them to floats through its buffer. */
static hearth_status load_vector(const struct load_job *job, const struct hearth_vector *v, uint8_t *buffer, hearth_error *err)
{
    const uint32_t at_once = BUFFER_BYTES / sizeof(float);
    const uint32_t element_bytes = hearth_format_info(v->format)->block_bytes;
    for (uint32_t i = 0; i < v->n; i += at_once) {
        const uint32_t n = v->n - i < at_once ? v->n - i : at_once;
        HEARTH_TRY(load_range(job, v->format, v->file_offset + (uint64_t)i * element_bytes, buffer, (uint64_t)n * element_bytes,
                              v->first + i, err));
        for (uint32_t j = 0; j < n; j++) {
            const uint8_t *at = buffer + j * element_bytes;
            if (v->format == HEARTH_F32)
                memcpy(&v->values[i + j], at, sizeof(float));
            else
                v->values[i + j] =
                    v->format == HEARTH_F16 ? hearth_f16_to_f32(hearth_load_u16(at)) : hearth_bf16_to_f32(hearth_load_u16(at));
        }
    }
    return HEARTH_OK;
}

static void load_weight(void *context, uint32_t worker, uint32_t workers)
{
    struct load_job *job = context;
    const struct hearth_weight w = hearth_weight_at(job->description, job->index);
    uint8_t *buffer = job->buffers + worker * job->buffer_bytes;
    hearth_error err;
    hearth_status status = HEARTH_OK;
    if (w.matrix && w.matrix->rows)
        status = load_matrix(job, w.matrix, buffer, hearth_share_rows(w.matrix->rows, worker, workers), &err);
    else if (w.table && w.table->rows)
        status = load_table(job, w.table, hearth_share_rows(w.table->rows, worker, workers), &err);
    else if (w.vector && w.vector->n && worker == 0)
        status = load_vector(job, w.vector, buffer, &err);
    if (status == HEARTH_OK)
        return;
    memcpy(buffer, &err, sizeof err);
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

hearth_status hearth_weights_load(struct hearth_description *description, const struct hearth_source *source,
                                  struct hearth_pool *pool, uint8_t *buffers, hearth_progress_fn *progress, void *progress_user,
                                  hearth_error *err)
{
    struct load_job job = {.description = description,
                           .source = source,
                           .buffers = buffers,
                           .buffer_bytes = hearth_pack_buffer_bytes(description),
                           .failed = UINT32_MAX};
    const size_t n = hearth_weight_count(description);
    uint64_t total = 0;
    for (size_t i = 0; i < n; i++)
        total += weight_packed_bytes(hearth_weight_at(description, i));
    uint64_t done = 0;
    for (job.index = 0; job.index < n; job.index++) {
        const uint64_t bytes = weight_packed_bytes(hearth_weight_at(description, job.index));
        if (bytes == 0)
            continue;
        hearth_pool_run(pool, load_weight, &job);
        if (job.failed != UINT32_MAX)
            return first_failure(&job, err);
        done += bytes;
        if (progress && !progress(done, total, progress_user))
            return hearth_fail(err, HEARTH_E_CANCELLED, NULL, "%s: loading: cancelled", source->shown);
    }
    return HEARTH_OK;
}
