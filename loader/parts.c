/* A model in one file or in parts. The first part has all the metadata and tells how many parts there are; the names of the others
 * follow from its own and from nothing else that a file says, so no file can make us open what lies elsewhere. Every part is
 * checked as a file of its own, then against the first one, and then their tensors are joined. */
#include "parts.h"
#include "common/checked.h"
#include "common/limits.h"
#include "common/status.h"
#include <stdlib.h>

#define SUFFIX_BYTES 20u /* "-00001-of-00003.gguf" */

/* What a part says about its place; without the keys, the only one. */
struct place {
    uint64_t number, count, tensors;
    bool has_number, has_tensors;
};

/* ---- Names ---------------------------------------------------------------------------------------------------------- */

static void make_suffix(char out[SUFFIX_BYTES + 1], uint64_t number, uint64_t count)
{
    (void)snprintf(out, SUFFIX_BYTES + 1, "-%05u-of-%05u.gguf", (unsigned)(number % 100000), (unsigned)(count % 100000));
}

/* Whether a path has the name of part `number` (from 1) of so many. */
static bool is_named(const char *path, uint64_t number, uint64_t count)
{
    char suffix[SUFFIX_BYTES + 1];
    const size_t n = strlen(path);
    make_suffix(suffix, number, count);
    return n > SUFFIX_BYTES && strcmp(path + n - SUFFIX_BYTES, suffix) == 0;
}

/* The name without folders; of a long one its end, which tells parts apart. */
static const char *quote_name(char out[HEARTH_QUOTE_MAX], const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    const size_t n = strlen(name);
    return hearth_quote(out, n > 60 ? name + n - 60 : name, n > 60 ? 60 : n);
}

/* The name of part 1 beside a path that is_named(). */
static const char *quote_first(char out[HEARTH_QUOTE_MAX], const char *path, uint64_t count)
{
    char end[61];
    const size_t n = strlen(path);
    (void)snprintf(end, sizeof end, "%s", n > 60 ? path + n - 60 : path);
    make_suffix(end + strlen(end) - SUFFIX_BYTES, 1, count);
    return quote_name(out, end);
}

/* ---- What a part says ----------------------------------------------------------------------------------------------- */

HEARTH_PRINTF(3, 4)
static hearth_status reject(const char *path, hearth_error *err, const char *format, ...)
{
    char file[HEARTH_QUOTE_MAX];
    char what[240];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return hearth_fail(err, HEARTH_E_FORMAT, "E_SPLIT", "%s: %s", hearth_quote(file, path, strlen(path)), what);
}

/* These keys have one type each, unlike others: a tool that writes another one is none whose parts are known to fit. */
static hearth_status take_key(const struct hearth_gguf *gguf, const char *key, enum hearth_gguf_type type, uint64_t *out,
                              bool *found, hearth_error *err)
{
    char file[HEARTH_QUOTE_MAX];
    const struct hearth_gguf_pair *pair = hearth_gguf_find(gguf, key);
    if (pair && pair->type != type)
        return hearth_fail(err, HEARTH_E_FORMAT, "E_KVTYPE", "%s: key '%s': the value has another type (need %s)",
                           hearth_quote(file, gguf->file_name, strlen(gguf->file_name)), key,
                           type == HEARTH_GGUF_U16 ? "uint16" : "int32");
    if (pair && hearth_gguf_is_negative(pair))
        return reject(gguf->file_name, err, "key '%s': the value is below zero", key);
    return hearth_gguf_get_u64(gguf, key, out, found, err);
}

static hearth_status read_place(struct place *out, const struct hearth_gguf *gguf, hearth_error *err)
{
    bool found;
    *out = (struct place){0};
    HEARTH_TRY(take_key(gguf, "split.count", HEARTH_GGUF_U16, &out->count, &found, err));
    if (out->count <= 1)
        return HEARTH_OK;
    HEARTH_TRY(take_key(gguf, "split.no", HEARTH_GGUF_U16, &out->number, &out->has_number, err));
    return take_key(gguf, "split.tensors.count", HEARTH_GGUF_I32, &out->tensors, &out->has_tensors, err);
}

/* A file that was opened must be whole or the first part. */
static hearth_status check_first(const char *path, const struct place *p, hearth_error *err)
{
    char name[HEARTH_QUOTE_MAX];
    char suffix[SUFFIX_BYTES + 1];
    if (p->count <= 1)
        return HEARTH_OK;
    if (p->count > HEARTH_PARTS_MAX)
        return reject(path, err, "key 'split.count': too many parts (got %" PRIu64 ", need at most %u)", p->count,
                      HEARTH_PARTS_MAX);
    if (!p->has_number || !p->has_tensors)
        return reject(path, err, "key '%s': a part of a split model must have it",
                      p->has_number ? "split.tensors.count" : "split.no");
    make_suffix(suffix, 1, p->count);
    if (p->number > 0 && is_named(path, p->number + 1, p->count))
        return reject(path, err, "this is part %" PRIu64 " of %" PRIu64 "; start with part 1: %s", p->number + 1, p->count,
                      quote_first(name, path, p->count));
    if (p->number > 0)
        return reject(path, err, "key 'split.no': this is not the first part (got %" PRIu64 ", need 0); start with part 1",
                      p->number);
    if (!is_named(path, 1, p->count))
        return reject(path, err, "name: of %" PRIu64 " parts the first must be called ...%s (got %s)", p->count, suffix,
                      quote_name(name, path));
    return HEARTH_OK;
}

/* A further part must be the one that its name says, and of the same model. */
static hearth_status check_further(const char *path, uint32_t number, const struct place *first, const struct place *p,
                                   hearth_error *err)
{
    if (p->count != first->count)
        return reject(path, err, "key 'split.count': differs from part 1 (got %" PRIu64 ", need %" PRIu64 ")", p->count,
                      first->count);
    if (!p->has_number || p->number != number)
        return reject(path, err, "key 'split.no': %s (got %" PRIu64 ", need %" PRIu32 ")",
                      p->has_number ? "this is another part" : "missing", p->number, number);
    if (!p->has_tensors || p->tensors != first->tensors)
        return reject(path, err, "key 'split.tensors.count': %s (got %" PRIu64 ", need %" PRIu64 ")",
                      p->has_tensors ? "differs from part 1" : "missing", p->tensors, first->tensors);
    return HEARTH_OK;
}

/* ---- Opening -------------------------------------------------------------------------------------------------------- */

/* Room for `count` parts and the names of all but the first, whose file moves in. */
static hearth_status make_room(struct hearth_parts *out, uint64_t count, const char *path, hearth_error *err)
{
    const size_t n = strlen(path);
    const uint64_t bytes = count * sizeof *out->parts + (count - 1) * (n + 1); /* count is at most HEARTH_PARTS_MAX */
    struct hearth_part *parts = realloc(out->parts, (size_t)bytes);
    if (!parts)
        return hearth_fail_needed(err, HEARTH_E_MEMORY, bytes, 0, "model file: no memory for its parts (need %" PRIu64 " bytes)",
                                  bytes);
    out->parts = parts;
    char *name = (char *)(parts + count);
    for (uint64_t i = 1; i < count; i++, name += n + 1) {
        memcpy(name, path, n + 1);
        make_suffix(name + n - SUFFIX_BYTES, i + 1, count);
        parts[i] = (struct hearth_part){.path = name};
    }
    return HEARTH_OK;
}

static hearth_status open_part(struct hearth_part *part, struct hearth_gguf *gguf, hearth_error *err)
{
    HEARTH_TRY(hearth_file_open(&part->file, part->path, err));
    return hearth_gguf_parse_file(gguf, &part->file, part->path, err);
}

/* Messages begin with a path, which may be long and therefore cut; say again which part it is. */
static hearth_status in_part(hearth_status status, uint32_t number, uint64_t count, hearth_error *err)
{
    if (status != HEARTH_OK && err) {
        const size_t n = strlen(err->message);
        (void)snprintf(err->message + n, sizeof err->message - n, " (part %" PRIu32 " of %" PRIu64 ")", number + 1, count);
    }
    return status;
}

static hearth_status open_further(struct hearth_parts *out, struct hearth_gguf *tables, const struct place *first,
                                  hearth_error *err)
{
    uint64_t n_tensors = tables[0].n_tensors;
    for (uint32_t i = 1; i < first->count; i++) {
        struct place place;
        hearth_status status = open_part(&out->parts[i], &tables[i], err);
        if (status == HEARTH_OK)
            status = read_place(&place, &tables[i], err);
        if (status == HEARTH_OK)
            status = check_further(out->parts[i].path, i, first, &place, err);
        HEARTH_TRY(in_part(status, i, first->count, err));
        out->parts[i].begin = out->parts[i - 1].begin + out->parts[i - 1].file.size;
        n_tensors += tables[i].n_tensors;
    }
    if (n_tensors != first->tensors)
        return reject(out->parts[0].path, err,
                      "key 'split.tensors.count': the parts have another number (got %" PRIu64 ", need %" PRIu64 ")", n_tensors,
                      first->tensors);
    return HEARTH_OK;
}

/* The first part is open and its tables are in out->gguf. */
static hearth_status open_split(struct hearth_parts *out, const struct place *first, hearth_error *err)
{
    struct hearth_gguf *tables = calloc((size_t)first->count, sizeof *tables);
    if (!tables)
        return hearth_fail_needed(err, HEARTH_E_MEMORY, first->count * sizeof *tables, 0,
                                  "model file: no memory for the tables of its parts (need %" PRIu64 " bytes)",
                                  first->count * sizeof *tables);
    tables[0] = out->gguf;
    out->gguf = (struct hearth_gguf){0};
    hearth_status status = make_room(out, first->count, out->parts[0].path, err);
    if (status == HEARTH_OK) {
        out->n = (uint32_t)first->count;
        status = open_further(out, tables, first, err);
    }
    if (status == HEARTH_OK)
        status = hearth_gguf_join(&out->gguf, tables, (uint32_t)first->count, err);
    for (uint64_t i = 0; i < first->count; i++)
        hearth_gguf_free(&tables[i]);
    free(tables);
    return status;
}

static hearth_status open_all(struct hearth_parts *out, const char *path, hearth_error *err)
{
    struct place place;
    HEARTH_TRY(make_room(out, 1, path, err));
    out->parts[0] = (struct hearth_part){.path = path};
    out->n = 1;
    HEARTH_TRY(open_part(&out->parts[0], &out->gguf, err));
    HEARTH_TRY(read_place(&place, &out->gguf, err));
    HEARTH_TRY(check_first(path, &place, err));
    return place.count > 1 ? open_split(out, &place, err) : HEARTH_OK;
}

hearth_status hearth_parts_open(struct hearth_parts *out, const char *path, hearth_error *err)
{
    *out = (struct hearth_parts){0};
    const hearth_status status = open_all(out, path, err);
    if (status != HEARTH_OK)
        hearth_parts_close(out);
    return status;
}

void hearth_parts_close(struct hearth_parts *parts)
{
    hearth_gguf_free(&parts->gguf);
    for (uint32_t i = 0; i < parts->n; i++)
        hearth_file_close(&parts->parts[i].file);
    free(parts->parts);
    *parts = (struct hearth_parts){0};
}

/* ---- Using ---------------------------------------------------------------------------------------------------------- */

const struct hearth_part *hearth_parts_at(const struct hearth_parts *parts, uint64_t offset)
{
    uint32_t at = 0;
    uint32_t end = parts->n; /* parts[at].begin <= offset < parts[end].begin */
    while (end - at > 1) {
        const uint32_t middle = at + (end - at) / 2;
        if (parts->parts[middle].begin <= offset)
            at = middle;
        else
            end = middle;
    }
    return &parts->parts[at];
}

hearth_status hearth_parts_read(const struct hearth_parts *parts, void *out, uint64_t offset, size_t n, hearth_error *err)
{
    const struct hearth_part *part = hearth_parts_at(parts, offset);
    return hearth_file_read(&part->file, part->path, out, offset - part->begin, n, err);
}

bool hearth_parts_identity(const struct hearth_parts *parts, struct hearth_parts_identity *out)
{
    *out = (struct hearth_parts_identity){.newest_change_s = INT64_MIN};
    for (uint32_t i = 0; i < parts->n; i++) {
        struct hearth_file_identity file;
        if (!hearth_file_identity(&parts->parts[i].file, &file))
            return false;
        hearth_hash_add(&out->files, &file, sizeof file);
        out->newest_change_s = file.ctime_s > out->newest_change_s ? file.ctime_s : out->newest_change_s;
    }
    return true;
}
