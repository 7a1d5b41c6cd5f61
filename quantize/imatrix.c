/* Importance matrices; see imatrix.h. Values are read where they are wanted; only names and places are kept. */
#include "imatrix.h"
#include "common/half.h"
#include "common/status.h"
#include <math.h>
#include <stdlib.h>

#define NAME_MAX_BYTES 255
#define RECORD_BYTES_MIN 13 /* length and one character of a name, calls, number of values */
#define COUNTS_AT_ONCE 256

struct hearth_imatrix_record { /* an entry of the older form */
    struct hearth_view name;   /* first: the index looks for it there */
    uint64_t offset;
    uint32_t n;
    int32_t calls;
};

static hearth_status reject(const struct hearth_imatrix *m, hearth_status status, const char *detail, const char *what,
                            struct hearth_view name, uint64_t got, hearth_error *err)
{
    char file[HEARTH_QUOTE_MAX], tensor[HEARTH_QUOTE_MAX];
    return hearth_fail(err, status, detail, "%s: entry '%s': %s (got %" PRIu64 ")", hearth_quote(file, m->path, strlen(m->path)),
                       hearth_quote(tensor, name.bytes, (size_t)name.size), what, got);
}

/* ---- The older form -------------------------------------------------------------------------------------------------- */

/* i32 number of entries; for each i32 length and bytes of the name, i32 calls, i32 number of values, the values as f32; then
 * perhaps i32 chunks, i32 length and bytes of the name of the data. */
struct cursor {
    const struct hearth_imatrix *m;
    const uint8_t *at;
    uint64_t left;
};

/* Whether the next n bytes are there to be touched; what cannot be read is as if the file ended before it. */
static bool have(const struct cursor *c, uint64_t n)
{
    const uint64_t begin = c->m->file.size - c->left;
    return c->left >= n && hearth_file_fetch(&c->m->file, c->m->path, begin, begin + n, NULL) == HEARTH_OK;
}

static bool take_i32(struct cursor *c, int32_t *out)
{
    if (!have(c, sizeof *out))
        return false;
    memcpy(out, c->at, sizeof *out);
    c->at += sizeof *out;
    c->left -= sizeof *out;
    return true;
}

/* To be touched only by who asked have() before. */
static bool take_bytes(struct cursor *c, struct hearth_view *out, uint64_t n)
{
    if (c->left < n)
        return false;
    *out = (struct hearth_view){c->at, n};
    c->at += n;
    c->left -= n;
    return true;
}

static hearth_status read_record(struct hearth_imatrix *m, struct cursor *c, struct hearth_imatrix_record *out, hearth_error *err)
{
    int32_t length, calls, n;
    struct hearth_view values;
    const uint64_t at = m->file.size - c->left;
    if (!take_i32(c, &length) || length < 1 || length > NAME_MAX_BYTES || !have(c, (uint64_t)length) ||
        !take_bytes(c, &out->name, (uint64_t)length))
        return reject(m, HEARTH_E_FORMAT, "E_NAME", "no name of an entry at this offset", out->name, at, err);
    if (!take_i32(c, &calls) || !take_i32(c, &n) || n < 1 || !take_bytes(c, &values, 4 * (uint64_t)n))
        return reject(m, HEARTH_E_FORMAT, "E_TRUNC", "its values end behind the file, begun at this offset", out->name, at, err);
    out->offset = (uint64_t)(values.bytes - m->file.bytes);
    out->n = (uint32_t)n;
    out->calls = calls;
    return HEARTH_OK;
}

static void read_tail(struct hearth_imatrix *m, struct cursor *c)
{
    int32_t chunks, length;
    if (!take_i32(c, &chunks))
        return;
    m->n_chunks = chunks > 0 ? (uint64_t)chunks : 0;
    if (take_i32(c, &length) && length > 0 && length <= NAME_MAX_BYTES && have(c, (uint64_t)length))
        (void)take_bytes(c, &m->dataset, (uint64_t)length);
}

static hearth_status parse_older(struct hearth_imatrix *m, hearth_error *err)
{
    struct cursor c = {m, m->file.bytes, m->file.size};
    char file[HEARTH_QUOTE_MAX];
    int32_t n = 0;
    if (!take_i32(&c, &n) || n < 1 || (uint64_t)n > c.left / RECORD_BYTES_MIN)
        return hearth_fail(err, HEARTH_E_FORMAT, "E_MAGIC",
                           "%s: is no importance matrix (got %" PRId32 " entries in %" PRIu64 " bytes)",
                           hearth_quote(file, m->path, strlen(m->path)), n, m->file.size);
    const uint64_t records_bytes = (uint64_t)n * sizeof *m->records;
    const uint64_t bytes = records_bytes + hearth_name_index_slots((uint64_t)n) * sizeof(uint32_t); /* n < 2^31: no overflow */
    m->records = calloc(1, (size_t)bytes);
    if (!m->records)
        return hearth_fail_needed(err, HEARTH_E_MEMORY, bytes, 0, "importance matrix: no memory for its entries");
    hearth_name_index_init(&m->index, (uint32_t *)(void *)((uint8_t *)m->records + records_bytes), (uint64_t)n, m->records,
                           sizeof *m->records);
    for (uint32_t i = 0; i < (uint32_t)n; i++) {
        HEARTH_TRY(read_record(m, &c, &m->records[i], err));
        if (!hearth_name_index_insert(&m->index, i))
            return reject(m, HEARTH_E_FORMAT, "E_DUP", "stands there twice, the second as entry", m->records[i].name, i, err);
    }
    m->n_entries = (uint64_t)n;
    read_tail(m, &c);
    return HEARTH_OK;
}

/* ---- GGUF -------------------------------------------------------------------------------------------------------------- */

static bool ends_with(struct hearth_view name, const char *end)
{
    const size_t n = strlen(end);
    return name.size > n && memcmp(name.bytes + name.size - n, end, n) == 0;
}

static hearth_status parse_gguf(struct hearth_imatrix *m, hearth_error *err)
{
    struct hearth_view type = {0};
    const struct hearth_gguf_pair *datasets;
    bool found;
    char file[HEARTH_QUOTE_MAX], text[HEARTH_QUOTE_MAX];
    HEARTH_TRY(hearth_gguf_parse_file(&m->gguf, &m->file, m->path, err));
    HEARTH_TRY(hearth_gguf_get_string(&m->gguf, "general.type", &type, &found, err));
    if (type.size != 7 || memcmp(type.bytes, "imatrix", 7) != 0)
        return hearth_fail(err, HEARTH_E_UNSUPPORTED, NULL, "%s: general.type: is no importance matrix (got '%s', need 'imatrix')",
                           hearth_quote(file, m->path, strlen(m->path)), hearth_quote(text, type.bytes, (size_t)type.size));
    HEARTH_TRY(hearth_gguf_get_u64(&m->gguf, "imatrix.chunk_count", &m->n_chunks, &found, err));
    HEARTH_TRY(hearth_gguf_get_array(&m->gguf, "imatrix.datasets", HEARTH_GGUF_STRING, &datasets, err));
    uint64_t cursor = 0;
    if (datasets && datasets->count > 0)
        m->dataset = hearth_gguf_next_string(datasets, &cursor);
    for (uint64_t i = 0; i < m->gguf.n_tensors; i++)
        m->n_entries += ends_with(m->gguf.tensors[i].name, ".in_sum2");
    return HEARTH_OK;
}

static const struct hearth_gguf_tensor *find_part(const struct hearth_imatrix *m, struct hearth_view name, const char *part)
{
    char full[NAME_MAX_BYTES + 16];
    if (name.size > NAME_MAX_BYTES)
        return NULL;
    (void)snprintf(full, sizeof full, "%.*s%s", (int)name.size, (const char *)name.bytes, part);
    const struct hearth_gguf_tensor *t = hearth_gguf_find_tensor(&m->gguf, full);
    return t && t->format == HEARTH_F32 ? t : NULL;
}

/* ---- Both -------------------------------------------------------------------------------------------------------------- */

hearth_status hearth_imatrix_open(struct hearth_imatrix *out, const char *path, hearth_error *err)
{
    *out = (struct hearth_imatrix){.path = path};
    HEARTH_TRY(hearth_file_open(&out->file, path, err));
    HEARTH_TRY(hearth_file_fetch(&out->file, path, 0, out->file.size < 4 ? out->file.size : 4, err));
    out->is_gguf = out->file.size >= 4 && memcmp(out->file.bytes, "GGUF", 4) == 0;
    return out->is_gguf ? parse_gguf(out, err) : parse_older(out, err);
}

void hearth_imatrix_close(struct hearth_imatrix *m)
{
    hearth_gguf_free(&m->gguf);
    free(m->records);
    hearth_file_close(&m->file);
    *m = (struct hearth_imatrix){0};
}

bool hearth_imatrix_find(const struct hearth_imatrix *m, struct hearth_view name, struct hearth_imatrix_entry *out)
{
    if (m->is_gguf) {
        const struct hearth_gguf_tensor *sums = find_part(m, name, ".in_sum2");
        const struct hearth_gguf_tensor *counts = find_part(m, name, ".counts");
        if (!sums || !counts)
            return false;
        *out = (struct hearth_imatrix_entry){sums->bytes / 4, sums->file_offset, counts->bytes / 4, counts->file_offset, 0.0f};
        return true;
    }
    const struct hearth_imatrix_record *r = hearth_name_index_find(&m->index, name.bytes, name.size);
    if (r)
        *out = (struct hearth_imatrix_entry){r->n, r->offset, 0, 0, r->calls > 0 ? (float)r->calls : 1.0f};
    return r != NULL;
}

/* Divide the sums of one matrix. One that no token went through says nothing: all its columns weigh the same. */
static hearth_status divide(const struct hearth_imatrix *m, struct hearth_view name, float *sums, uint64_t n, float count,
                            hearth_error *err)
{
    bool sound = isfinite(count) && count >= 0.0f;
    for (uint64_t i = 0; i < n; i++) {
        sound &= isfinite(sums[i]) && sums[i] >= 0.0f;
        sums[i] = count > 0.0f ? sums[i] / count : 1.0f;
        sound &= isfinite(sums[i]);
    }
    return sound ? HEARTH_OK
                 : reject(m, HEARTH_E_FORMAT, "E_NUM", "a number that is negative or not finite, in a matrix of so many columns",
                          name, n, err);
}

hearth_status hearth_imatrix_read(const struct hearth_imatrix *m, const struct hearth_imatrix_entry *e, struct hearth_view name,
                                  uint64_t columns, uint64_t n_matrices, float *out, hearth_error *err)
{
    float counts[COUNTS_AT_ONCE];
    if (e->n / columns != n_matrices || e->n % columns != 0)
        return reject(m, HEARTH_E_FORMAT, "E_SHAPE", "its number of values is not that of the tensor's columns", name, e->n, err);
    if (m->is_gguf && e->n_counts != n_matrices)
        return reject(m, HEARTH_E_FORMAT, "E_SHAPE", "its number of counts is not that of the tensor's matrices", name, e->n_counts,
                      err);
    HEARTH_TRY(hearth_file_read(&m->file, m->path, out, e->offset, (size_t)(e->n * sizeof *out), err));
    for (uint64_t i = 0; i < n_matrices; i++) {
        const uint64_t left = n_matrices - i, n = left < COUNTS_AT_ONCE ? left : COUNTS_AT_ONCE;
        if (m->is_gguf && i % COUNTS_AT_ONCE == 0)
            HEARTH_TRY(hearth_file_read(&m->file, m->path, counts, e->counts_offset + i * sizeof *counts,
                                        (size_t)(n * sizeof *counts), err));
        HEARTH_TRY(divide(m, name, out + i * columns, columns, m->is_gguf ? counts[i % COUNTS_AT_ONCE] : e->count, err));
    }
    return HEARTH_OK;
}
