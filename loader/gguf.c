/* The GGUF reader. The file is taken to be written by an enemy: one cursor, which no read can carry past the end; checked
 * arithmetic on every number of the file; counts held against the bytes that are left before anything is allocated; one
 * allocation; and nothing handed out before everything is checked. Errors name the place by part, number, name and offset.
 *
 * Limits: at most 2^20 pairs and 2^20 tensors, and no more than the file has room for, so the allocation stays below
 * 5 times the size of the file plus a constant (64 bytes for each pair of 14, 100 for each tensor of 33). */
#include "common/checked.h"
#include "common/half.h"
#include "common/limits.h"
#include "common/status.h"
#include "file.h"
#include "name_index.h"

#include <fcntl.h>
#include <stdlib.h>

#define HEADER_BYTES 24
#define FIRST_BYTES 64u     /* enough to tell what kind of file it is */
#define PAIR_BYTES_MIN 14   /* length, one character, type, one byte */
#define TENSOR_BYTES_MIN 33 /* length, one character, n_dims, one dimension, type, offset */
#define ALIGNMENT_DEFAULT 32
#define ALIGNMENT_MIN 8

static const struct {
    const char *name;
    uint8_t bytes; /* of a value of fixed size; 8 for a string: its length alone */
} value_types[HEARTH_GGUF_TYPE_COUNT] = {
    [HEARTH_GGUF_U8] = {"uint8", 1},    [HEARTH_GGUF_I8] = {"int8", 1},    [HEARTH_GGUF_U16] = {"uint16", 2},
    [HEARTH_GGUF_I16] = {"int16", 2},   [HEARTH_GGUF_U32] = {"uint32", 4}, [HEARTH_GGUF_I32] = {"int32", 4},
    [HEARTH_GGUF_F32] = {"float32", 4}, [HEARTH_GGUF_BOOL] = {"bool", 1},  [HEARTH_GGUF_STRING] = {"string", 8},
    [HEARTH_GGUF_ARRAY] = {"array", 0}, [HEARTH_GGUF_U64] = {"uint64", 8}, [HEARTH_GGUF_I64] = {"int64", 8},
    [HEARTH_GGUF_F64] = {"float64", 8},
};

struct indexes {
    struct hearth_name_index keys, tensors;
};

/* ---- The cursor ---------------------------------------------------------------------------------------------------- */

/* Where we are in the file, and what to say when it goes wrong there. */
struct reader {
    const uint8_t *bytes;
    uint64_t size, position;
    const struct hearth_file *file; /* what has to be fetched from it before it is touched; NULL: bytes in memory */
    const char *file_name;
    const char *part;        /* "header", "pair", "tensor" */
    uint64_t number;         /* of the pair or tensor */
    struct hearth_view name; /* of the pair or tensor, once it is known */
    hearth_error *err;
};

HEARTH_PRINTF(4, 5)
static hearth_status reject(const struct reader *in, hearth_status status, const char *detail, const char *format, ...)
{
    char file[HEARTH_QUOTE_MAX];
    char name[HEARTH_QUOTE_MAX];
    char site[HEARTH_QUOTE_MAX + 48];
    char what[160];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(what, sizeof what, format, args);
    va_end(args);
    hearth_quote(name, in->name.bytes, (size_t)in->name.size);
    if (in->name.size > 0)
        (void)snprintf(site, sizeof site, "%s %" PRIu64 " '%s'", in->part, in->number, name);
    else
        (void)snprintf(site, sizeof site, "%s %" PRIu64, in->part, in->number);
    return hearth_fail(in->err, status, detail, "%s: %s, offset %" PRIu64 ": %s",
                       hearth_quote(file, in->file_name, strlen(in->file_name)), in->part[0] == 'h' ? in->part : site, in->position,
                       what);
}

static uint64_t bytes_left(const struct reader *in)
{
    return in->size - in->position;
}

static uint64_t load_le(const uint8_t *bytes, unsigned n)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < n; i++)
        value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

/* Have the next n bytes, which bytes_left() was asked about. */
static hearth_status fetch(const struct reader *in, uint64_t n)
{
    if (n > HEARTH_HEADER_MAX || in->position > HEARTH_HEADER_MAX - n)
        return reject(in, HEARTH_E_UNSUPPORTED, "E_LIMIT", "the header is too large (need at most %" PRIu64 " bytes)",
                      HEARTH_HEADER_MAX);
    return in->file ? hearth_file_fetch(in->file, in->file_name, in->position, in->position + n, in->err) : HEARTH_OK;
}

/* Take an integer of n bytes; 0 when they are not there. */
static hearth_status take_integer(struct reader *in, unsigned n, uint64_t *out, const char *what)
{
    *out = 0;
    if (n > bytes_left(in))
        return reject(in, HEARTH_E_FORMAT, "E_TRUNC", "the file ends within %s (got %" PRIu64 " bytes, need %u)", what,
                      bytes_left(in), n);
    HEARTH_TRY(fetch(in, n));
    *out = load_le(in->bytes + in->position, n);
    in->position += n;
    return HEARTH_OK;
}

static hearth_status take_u32(struct reader *in, uint32_t *out, const char *what)
{
    uint64_t value;
    HEARTH_TRY(take_integer(in, 4, &value, what));
    *out = (uint32_t)value;
    return HEARTH_OK;
}

/* Take n bytes that bytes_left() was asked about. */
static hearth_status take_view(struct reader *in, uint64_t n, struct hearth_view *out)
{
    HEARTH_TRY(fetch(in, n));
    *out = (struct hearth_view){in->bytes + in->position, n};
    in->position += n;
    return HEARTH_OK;
}

static bool is_printable(struct hearth_view text)
{
    for (uint64_t i = 0; i < text.size; i++)
        if (text.bytes[i] < 0x20 || text.bytes[i] > 0x7e)
            return false;
    return true;
}

/* ---- Header -------------------------------------------------------------------------------------------------------- */

/* People feed all sorts of files; say what theirs is. */
static const char *guess_file_kind(const uint8_t *bytes, uint64_t size)
{
    static const struct {
        const char *beginning, *kind;
    } kinds[] = {
        {"ggml", "old GGML format; convert to GGUF"},
        {"ggmf", "old GGML format; convert to GGUF"},
        {"ggjt", "old GGML format; convert to GGUF"},
        {"lmgg", "old GGML format; convert to GGUF"},
        {"fmgg", "old GGML format; convert to GGUF"},
        {"tjgg", "old GGML format; convert to GGUF"},
        {"<!DO", "this is an HTML page; the download failed"},
        {"<!do", "this is an HTML page; the download failed"},
        {"<htm", "this is an HTML page; the download failed"},
        {"version https://git-lfs", "git-lfs pointer, not the model"},
        {"PK\x03\x04", "this is a ZIP or PyTorch file; convert to GGUF"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const size_t n = strlen(kinds[i].beginning);
        if (n <= size && memcmp(bytes, kinds[i].beginning, n) == 0)
            return kinds[i].kind;
    }
    return load_le(bytes, 4) == 0 ? "the file begins with zeroes; the download is not complete" : "this is not a GGUF file";
}

static hearth_status check_version(const struct reader *in, uint32_t version)
{
    if (version == 2 || version == 3)
        return HEARTH_OK;
    if (version == 1)
        return reject(in, HEARTH_E_FORMAT, "E_VERSION", "GGUF v1 not supported; re-convert (got 1, need 2 or 3)");
    if (version == __builtin_bswap32(3))
        return reject(in, HEARTH_E_UNSUPPORTED, "E_ENDIAN", "big-endian file; convert it to little-endian");
    if (version > 3 && version < 256)
        return reject(in, HEARTH_E_UNSUPPORTED, "E_VERSION", "GGUF version newer than 3 (got %" PRIu32 ", need 2 or 3)", version);
    return reject(in, HEARTH_E_FORMAT, "E_VERSION", "no such GGUF version (got %" PRIu32 ", need 2 or 3)", version);
}

/* Hold the counts against the limits and against the smallest size that so many entries can have. Both are at most 2^20
 * afterwards, so no product of them with the size of a struct overflows. */
static hearth_status check_counts(const struct reader *in, uint64_t n_pairs, uint64_t n_tensors)
{
    if (n_tensors > HEARTH_TENSORS_MAX)
        return reject(in, HEARTH_E_FORMAT, "E_COUNT", "too many tensors (got %" PRIu64 ", need at most %" PRIu64 ")", n_tensors,
                      HEARTH_TENSORS_MAX);
    if (n_pairs > HEARTH_PAIRS_MAX)
        return reject(in, HEARTH_E_FORMAT, "E_COUNT", "too many key-value pairs (got %" PRIu64 ", need at most %" PRIu64 ")",
                      n_pairs, HEARTH_PAIRS_MAX);
    const uint64_t need = n_pairs * PAIR_BYTES_MIN + n_tensors * TENSOR_BYTES_MIN;
    if (need > bytes_left(in))
        return reject(in, HEARTH_E_FORMAT, "E_TRUNC",
                      "the file is too short for %" PRIu64 " pairs and %" PRIu64 " tensors (got %" PRIu64 " bytes, need %" PRIu64
                      ")",
                      n_pairs, n_tensors, bytes_left(in), need);
    return HEARTH_OK;
}

static hearth_status read_header(struct reader *in, struct hearth_gguf *out)
{
    const uint64_t first = in->size < FIRST_BYTES ? in->size : FIRST_BYTES;
    if (in->size == 0)
        return reject(in, HEARTH_E_FORMAT, "E_TRUNC", "file is empty (got 0 bytes, need %d)", HEADER_BYTES);
    HEARTH_TRY(fetch(in, first));
    if (in->size >= 4 && memcmp(in->bytes, "GGUF", 4) != 0)
        return reject(in, HEARTH_E_FORMAT, "E_MAGIC", "%s (got %02x %02x %02x %02x, need 47 47 55 46)",
                      guess_file_kind(in->bytes, first), in->bytes[0], in->bytes[1], in->bytes[2], in->bytes[3]);
    if (in->size < HEADER_BYTES)
        return reject(in, HEARTH_E_FORMAT, "E_TRUNC", "%" PRIu64 " byte%s; header needs %d", in->size, in->size == 1 ? "" : "s",
                      HEADER_BYTES);
    in->position = 4;
    HEARTH_TRY(take_u32(in, &out->version, "the version"));
    HEARTH_TRY(check_version(in, out->version));
    HEARTH_TRY(take_integer(in, 8, &out->n_tensors, "the number of tensors"));
    HEARTH_TRY(take_integer(in, 8, &out->n_pairs, "the number of pairs"));
    return check_counts(in, out->n_pairs, out->n_tensors);
}

/* ---- Key-value pairs ----------------------------------------------------------------------------------------------- */

static hearth_status take_key(struct reader *in, struct hearth_view *key)
{
    uint64_t size;
    HEARTH_TRY(take_integer(in, 8, &size, "the length of a key"));
    if (size > bytes_left(in))
        return reject(in, HEARTH_E_FORMAT, "E_STRLEN",
                      "the key is longer than the file (got %" PRIu64 ", need at most %" PRIu64 ")", size, bytes_left(in));
    if (size == 0)
        return reject(in, HEARTH_E_FORMAT, "E_KEY", "the key is empty");
    if (size > HEARTH_KEY_MAX)
        return reject(in, HEARTH_E_FORMAT, "E_KEY", "the key is longer than %d (got %" PRIu64 ")", HEARTH_KEY_MAX, size);
    HEARTH_TRY(take_view(in, size, key));
    in->name = *key;
    if (!is_printable(*key))
        return reject(in, HEARTH_E_FORMAT, "E_KEY", "the key holds bytes that are not printable ASCII");
    return HEARTH_OK;
}

static hearth_status take_string(struct reader *in, struct hearth_view *out)
{
    uint64_t size;
    HEARTH_TRY(take_integer(in, 8, &size, "the length of a string"));
    const uint64_t most = bytes_left(in) < HEARTH_STRING_MAX ? bytes_left(in) : HEARTH_STRING_MAX;
    if (size > most)
        return reject(in, HEARTH_E_FORMAT, "E_STRLEN", "the string is too long (got %" PRIu64 ", need at most %" PRIu64 ")", size,
                      most);
    return take_view(in, size, out);
}

/* Walk over the strings of an array, so that later readers need not look at lengths again. */
static hearth_status skip_strings(struct reader *in, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        uint64_t size;
        HEARTH_TRY(take_integer(in, 8, &size, "a string array"));
        if (size > bytes_left(in) || size > HEARTH_STRING_MAX)
            return reject(in, HEARTH_E_FORMAT, "E_STRLEN",
                          "element %" PRIu64 " is too long (got %" PRIu64 ", need at most %" PRIu64 ")", i, size, bytes_left(in));
        in->position += size;
    }
    return HEARTH_OK;
}

static hearth_status take_array(struct reader *in, struct hearth_gguf_pair *pair)
{
    uint32_t type;
    HEARTH_TRY(take_u32(in, &type, "the element type of an array"));
    if (type == HEARTH_GGUF_ARRAY)
        return reject(in, HEARTH_E_UNSUPPORTED, "E_ARR", "arrays of arrays are not supported");
    if (type >= HEARTH_GGUF_TYPE_COUNT)
        return reject(in, HEARTH_E_FORMAT, "E_ARR", "no such element type (got %" PRIu32 ", need at most %d)", type,
                      HEARTH_GGUF_TYPE_COUNT - 1);
    pair->element_type = (enum hearth_gguf_type)type;
    HEARTH_TRY(take_integer(in, 8, &pair->count, "the length of an array"));
    const uint64_t fit = bytes_left(in) / value_types[type].bytes;
    const uint64_t most = fit < HEARTH_ARRAY_MAX ? fit : HEARTH_ARRAY_MAX;
    if (pair->count > most)
        return reject(in, HEARTH_E_FORMAT, "E_ARR", "too many elements (got %" PRIu64 ", need at most %" PRIu64 ")", pair->count,
                      most);
    const uint64_t begin = in->position;
    if (type == HEARTH_GGUF_STRING)
        HEARTH_TRY(skip_strings(in, pair->count));
    else
        in->position += pair->count * value_types[type].bytes; /* at most bytes_left */
    pair->value = (struct hearth_view){in->bytes + begin, in->position - begin};
    return HEARTH_OK;
}

static hearth_status take_pair(struct reader *in, struct hearth_gguf_pair *pair)
{
    uint32_t type;
    HEARTH_TRY(take_key(in, &pair->key));
    HEARTH_TRY(take_u32(in, &type, "the type of a value"));
    if (type >= HEARTH_GGUF_TYPE_COUNT)
        return reject(in, HEARTH_E_FORMAT, "E_KVTYPE", "no such value type (got %" PRIu32 ", need at most %d)", type,
                      HEARTH_GGUF_TYPE_COUNT - 1);
    pair->type = (enum hearth_gguf_type)type;
    pair->count = 1;
    if (type == HEARTH_GGUF_STRING)
        return take_string(in, &pair->value);
    if (type == HEARTH_GGUF_ARRAY)
        return take_array(in, pair);
    uint64_t value;
    const uint64_t begin = in->position;
    HEARTH_TRY(take_integer(in, value_types[type].bytes, &value, "a value"));
    pair->value = (struct hearth_view){in->bytes + begin, in->position - begin};
    return HEARTH_OK;
}

static hearth_status read_pairs(struct reader *in, struct hearth_gguf *out, struct hearth_name_index *keys)
{
    in->part = "pair";
    for (uint64_t i = 0; i < out->n_pairs; i++) {
        in->number = i;
        in->name = (struct hearth_view){NULL, 0};
        HEARTH_TRY(take_pair(in, &out->pairs[i]));
        if (!hearth_name_index_insert(keys, (uint32_t)i))
            return reject(in, HEARTH_E_FORMAT, "E_DUPKEY", "the key is there twice");
    }
    return HEARTH_OK;
}

static hearth_status read_alignment(struct reader *in, struct hearth_gguf *out)
{
    static const char key[] = "general.alignment";
    bool found;
    uint64_t alignment = ALIGNMENT_DEFAULT;
    HEARTH_TRY(hearth_gguf_get_u64(out, key, &alignment, &found, in->err));
    out->alignment = alignment;
    in->part = "header";
    if (alignment > HEARTH_ALIGNMENT_MAX)
        return reject(in, HEARTH_E_FORMAT, "E_ALIGN", "%s is larger than %d (got %" PRIu64 ")", key, HEARTH_ALIGNMENT_MAX,
                      alignment);
    if (alignment == 0 || (alignment & (alignment - 1)) != 0)
        return reject(in, HEARTH_E_FORMAT, "E_ALIGN", "%s is not a power of two (got %" PRIu64 ")", key, alignment);
    if (alignment < ALIGNMENT_MIN)
        return reject(in, HEARTH_E_FORMAT, "E_ALIGN", "%s is not a multiple of 8 (got %" PRIu64 ")", key, alignment);
    return HEARTH_OK;
}

/* ---- Tensor directory ---------------------------------------------------------------------------------------------- */

static hearth_status take_tensor_name(struct reader *in, struct hearth_view *name)
{
    uint64_t size;
    HEARTH_TRY(take_integer(in, 8, &size, "the length of a tensor name"));
    if (size == 0 || size > HEARTH_TENSOR_NAME_MAX)
        return reject(in, HEARTH_E_FORMAT, "E_TNAME", "bad length of a tensor name (got %" PRIu64 ", need 1 to %d)", size,
                      HEARTH_TENSOR_NAME_MAX);
    if (size > bytes_left(in))
        return reject(in, HEARTH_E_FORMAT, "E_TRUNC",
                      "the file ends within a tensor name (got %" PRIu64 " bytes, need %" PRIu64 ")", bytes_left(in), size);
    HEARTH_TRY(take_view(in, size, name));
    in->name = *name;
    if (!is_printable(*name))
        return reject(in, HEARTH_E_FORMAT, "E_TNAME", "the name holds bytes that are not printable ASCII");
    return HEARTH_OK;
}

static hearth_status take_dimensions(struct reader *in, struct hearth_gguf_tensor *tensor)
{
    HEARTH_TRY(take_u32(in, &tensor->n_dims, "the number of dimensions"));
    if (tensor->n_dims < 1 || tensor->n_dims > 4)
        return reject(in, HEARTH_E_FORMAT, "E_NDIMS", "bad number of dimensions (got %" PRIu32 ", need 1 to 4)", tensor->n_dims);
    for (unsigned i = 0; i < 4; i++) {
        tensor->ne[i] = 1;
        if (i >= tensor->n_dims)
            continue;
        HEARTH_TRY(take_integer(in, 8, &tensor->ne[i], "a dimension"));
        if (tensor->ne[i] == 0 || tensor->ne[i] > INT64_MAX)
            return reject(in, HEARTH_E_FORMAT, "E_DIM", "dimension %u is out of range (got %" PRIu64 ", need 1 to 2^63-1)", i,
                          tensor->ne[i]);
    }
    return HEARTH_OK;
}

static hearth_status check_format(const struct reader *in, const struct hearth_gguf_tensor *tensor)
{
    const struct hearth_format_info *info = hearth_format_info(tensor->format);
    if (!info->name)
        return reject(in, HEARTH_E_FORMAT, "E_TTYPE", "unknown tensor type (got %" PRIu32 ", need below %d)", tensor->format,
                      HEARTH_FORMAT_COUNT);
    if (info->block_elems == 0)
        return reject(in, HEARTH_E_FORMAT, "E_TTYPE", "type %" PRIu32 " (%s) was removed from GGUF", tensor->format, info->name);
    if (tensor->ne[0] % info->block_elems != 0)
        return reject(in, HEARTH_E_FORMAT, "E_BLOCK", "rows of %s are not a multiple of %u (got %" PRIu64 ")", info->name,
                      (unsigned)info->block_elems, tensor->ne[0]);
    return HEARTH_OK;
}

/* Elements and bytes stay below 2^63, as signed 64-bit readers want them; so does the sum over all tensors, in *total. */
static hearth_status compute_bytes(const struct reader *in, struct hearth_gguf_tensor *tensor, uint64_t *total)
{
    const struct hearth_format_info *info = hearth_format_info(tensor->format);
    uint64_t elements = 1;
    bool fits = true;
    for (unsigned i = 0; i < 4; i++)
        fits = fits && hearth_mul_u64(&elements, elements, tensor->ne[i]) && elements <= INT64_MAX;
    fits = fits && hearth_mul_u64(&tensor->bytes, elements / info->block_elems, info->block_bytes) && tensor->bytes <= INT64_MAX;
    if (!fits)
        return reject(in, HEARTH_E_FORMAT, "E_TSIZE",
                      "the tensor is too large (got %" PRIu64 " x %" PRIu64 " x %" PRIu64 " x %" PRIu64 ", need below 2^63)",
                      tensor->ne[0], tensor->ne[1], tensor->ne[2], tensor->ne[3]);
    if (!hearth_add_u64(total, *total, tensor->bytes) || *total > INT64_MAX)
        return reject(in, HEARTH_E_FORMAT, "E_TSIZE", "all tensors together are too large (need below 2^63)");
    return HEARTH_OK;
}

static hearth_status take_tensor(struct reader *in, struct hearth_gguf_tensor *tensor, uint64_t alignment, uint64_t *total)
{
    HEARTH_TRY(take_tensor_name(in, &tensor->name));
    HEARTH_TRY(take_dimensions(in, tensor));
    HEARTH_TRY(take_u32(in, &tensor->format, "the type of a tensor"));
    HEARTH_TRY(check_format(in, tensor));
    HEARTH_TRY(compute_bytes(in, tensor, total));
    HEARTH_TRY(take_integer(in, 8, &tensor->file_offset, "the offset of a tensor"));
    if (tensor->file_offset % alignment != 0)
        return reject(in, HEARTH_E_FORMAT, "E_TOFF", "the data offset is not a multiple of %" PRIu64 " (got %" PRIu64 ")",
                      alignment, tensor->file_offset);
    return HEARTH_OK;
}

static hearth_status read_directory(struct reader *in, struct hearth_gguf *out, struct hearth_name_index *names)
{
    uint64_t total = 0;
    in->part = "tensor";
    for (uint64_t i = 0; i < out->n_tensors; i++) {
        in->number = i;
        in->name = (struct hearth_view){NULL, 0};
        HEARTH_TRY(take_tensor(in, &out->tensors[i], out->alignment, &total));
        if (!hearth_name_index_insert(names, (uint32_t)i))
            return reject(in, HEARTH_E_FORMAT, "E_DUPTENSOR", "the tensor is there twice");
    }
    return HEARTH_OK;
}

/* ---- Placement ----------------------------------------------------------------------------------------------------- */

/* Turn offsets within the data section into offsets within the file, all inside it. */
static hearth_status place_tensors(struct reader *in, struct hearth_gguf *out)
{
    if (!hearth_round_up_u64(&out->data_start, in->position, out->alignment))
        return reject(in, HEARTH_E_FORMAT, "E_EXTENT", "the data section begins past the end of the file");
    for (uint64_t i = 0; i < out->n_tensors; i++) {
        struct hearth_gguf_tensor *tensor = &out->tensors[i];
        in->number = i;
        in->name = tensor->name;
        uint64_t begin;
        uint64_t end;
        if (!hearth_add_u64(&begin, out->data_start, tensor->file_offset) || !hearth_add_u64(&end, begin, tensor->bytes))
            return reject(in, HEARTH_E_FORMAT, "E_EXTENT", "data offset out of range (got %" PRIu64 ", file has %" PRIu64 " bytes)",
                          tensor->file_offset, out->file_size);
        if (end > out->file_size)
            return reject(in, HEARTH_E_FORMAT, "E_EXTENT",
                          "data past the end of the file, short by %" PRIu64 " byte%s (got %" PRIu64 ", need %" PRIu64 ")",
                          end - out->file_size, end - out->file_size == 1 ? "" : "s", out->file_size, end);
        tensor->file_offset = begin;
    }
    return HEARTH_OK;
}

static void sift_down(uint32_t *heap, size_t root, size_t n, const struct hearth_gguf_tensor *tensors)
{
    for (size_t child = 2 * root + 1; child < n; child = 2 * root + 1) {
        if (child + 1 < n && tensors[heap[child + 1]].file_offset > tensors[heap[child]].file_offset)
            child++;
        if (tensors[heap[root]].file_offset >= tensors[heap[child]].file_offset)
            return;
        const uint32_t swap = heap[root];
        heap[root] = heap[child];
        heap[child] = swap;
        root = child;
    }
}

/* Heapsort: n log n on any input and no memory, where qsort() may allocate. */
static void sort_by_offset(uint32_t *order, size_t n, const struct hearth_gguf_tensor *tensors)
{
    for (size_t i = n / 2; i-- > 0;)
        sift_down(order, i, n, tensors);
    for (size_t end = n; end-- > 1;) {
        const uint32_t largest = order[0];
        order[0] = order[end];
        order[end] = largest;
        sift_down(order, 0, end, tensors);
    }
}

/* No tensor is empty, so ranges that share a byte include neighbours in the order of their offsets that do. */
static hearth_status check_overlaps(struct reader *in, const struct hearth_gguf *gguf, uint32_t *order)
{
    const size_t n = (size_t)gguf->n_tensors;
    bool sorted = true;
    for (size_t i = 0; i < n; i++) {
        order[i] = (uint32_t)i;
        sorted = sorted && (i == 0 || gguf->tensors[i - 1].file_offset <= gguf->tensors[i].file_offset);
    }
    if (!sorted)
        sort_by_offset(order, n, gguf->tensors);
    for (size_t i = 1; i < n; i++) {
        const struct hearth_gguf_tensor *before = &gguf->tensors[order[i - 1]];
        const struct hearth_gguf_tensor *tensor = &gguf->tensors[order[i]];
        if (tensor->file_offset - before->file_offset >= before->bytes)
            continue;
        char name[HEARTH_QUOTE_MAX];
        in->number = order[i];
        in->name = tensor->name;
        return reject(in, HEARTH_E_FORMAT, "E_OVERLAP", "shares bytes with tensor '%s'",
                      hearth_quote(name, before->name.bytes, (size_t)before->name.size));
    }
    return HEARTH_OK;
}

/* ---- The whole ----------------------------------------------------------------------------------------------------- */

/* One zeroed block: the indexes, the pairs, the tensors, the slots of both indexes, the order for the overlap check; each
 * after the ones with the stricter alignment. Pages that the file's contents never reach stay untouched. */
static hearth_status allocate_tables(struct hearth_gguf *out, uint32_t **order, hearth_error *err)
{
    const uint64_t key_slots = hearth_name_index_slots(out->n_pairs);
    const uint64_t tensor_slots = hearth_name_index_slots(out->n_tensors);
    out->memory_bytes = sizeof(struct indexes) + out->n_pairs * sizeof *out->pairs + out->n_tensors * sizeof *out->tensors +
                        (key_slots + tensor_slots + out->n_tensors) * sizeof(uint32_t);
    out->memory = calloc(1, (size_t)out->memory_bytes);
    if (!out->memory)
        return hearth_fail_needed(err, HEARTH_E_MEMORY, out->memory_bytes, 0,
                                  "file header: no memory for its tables (need %" PRIu64 " bytes)", out->memory_bytes);
    struct indexes *indexes = out->memory;
    out->pairs = (struct hearth_gguf_pair *)(indexes + 1);
    out->tensors = (struct hearth_gguf_tensor *)(out->pairs + out->n_pairs);
    uint32_t *slots = (uint32_t *)(out->tensors + out->n_tensors);
    *order = slots + key_slots + tensor_slots;
    out->name_index = indexes;
    hearth_name_index_init(&indexes->keys, slots, out->n_pairs, out->pairs, sizeof *out->pairs);
    hearth_name_index_init(&indexes->tensors, slots + key_slots, out->n_tensors, out->tensors, sizeof *out->tensors);
    return HEARTH_OK;
}

static hearth_status read_tables(struct reader *in, struct hearth_gguf *out, uint32_t *order)
{
    struct indexes *indexes = out->name_index;
    HEARTH_TRY(read_pairs(in, out, &indexes->keys));
    HEARTH_TRY(read_alignment(in, out));
    HEARTH_TRY(read_directory(in, out, &indexes->tensors));
    out->header = (struct hearth_view){in->bytes, in->position};
    if (in->file) /* what was passed over */
        HEARTH_TRY(hearth_file_fetch(in->file, in->file_name, 0, in->position, in->err));
    HEARTH_TRY(place_tensors(in, out));
    return check_overlaps(in, out, order);
}

static hearth_status parse(struct hearth_gguf *out, struct reader *in, uint64_t file_size)
{
    struct hearth_gguf gguf = {.file_name = in->file_name, .file_size = file_size};
    uint32_t *order = NULL;
    *out = (struct hearth_gguf){0};
    HEARTH_TRY(read_header(in, &gguf));
    HEARTH_TRY(allocate_tables(&gguf, &order, in->err));
    const hearth_status status = read_tables(in, &gguf, order);
    if (status == HEARTH_OK)
        *out = gguf;
    else
        free(gguf.memory);
    return status;
}

hearth_status hearth_gguf_parse(struct hearth_gguf *out, const uint8_t *bytes, uint64_t size, uint64_t file_size,
                                const char *file_name, hearth_error *err)
{
    struct reader in = {.bytes = bytes, .size = size, .file_name = file_name, .part = "header", .err = err};
    return parse(out, &in, file_size);
}

hearth_status hearth_gguf_parse_file(struct hearth_gguf *out, const struct hearth_file *file, const char *file_name,
                                     hearth_error *err)
{
    struct reader in = {
        .bytes = file->bytes, .size = file->size, .file = file, .file_name = file_name, .part = "header", .err = err};
    HEARTH_TRY(parse(out, &in, file->size));
    (void)posix_fadvise(file->fd, 0, 0, POSIX_FADV_NORMAL); /* what follows is read in order */
    return HEARTH_OK;
}

void hearth_gguf_free(struct hearth_gguf *gguf)
{
    free(gguf->memory);
    *gguf = (struct hearth_gguf){0};
}

/* ---- Several files ------------------------------------------------------------------------------------------------- */

/* Add the tensors of a file whose bytes begin at `begin`, as numbers `n` and up. */
static hearth_status join_tensors(struct hearth_gguf *out, uint64_t n, const struct hearth_gguf *file, uint64_t begin,
                                  hearth_error *err)
{
    struct reader in = {.file_name = file->file_name, .part = "tensor", .err = err};
    struct indexes *indexes = out->name_index;
    for (uint64_t i = 0; i < file->n_tensors; i++) {
        struct hearth_gguf_tensor *tensor = &out->tensors[n + i];
        *tensor = file->tensors[i];
        in.number = i;
        in.name = tensor->name;
        in.position = tensor->file_offset;
        tensor->file_offset += begin;
        if (!hearth_name_index_insert(&indexes->tensors, (uint32_t)(n + i)))
            return reject(&in, HEARTH_E_FORMAT, "E_SPLIT", "an earlier part has the tensor too");
    }
    return HEARTH_OK;
}

static hearth_status join_tables(struct hearth_gguf *out, const struct hearth_gguf *files, uint32_t n, hearth_error *err)
{
    struct indexes *indexes = out->name_index;
    uint64_t begin = 0;
    uint64_t n_tensors = 0;
    for (uint64_t i = 0; i < out->n_pairs; i++) {
        out->pairs[i] = files[0].pairs[i];
        (void)hearth_name_index_insert(&indexes->keys, (uint32_t)i);
    }
    for (uint32_t i = 0; i < n; i++) {
        HEARTH_TRY(join_tensors(out, n_tensors, &files[i], begin, err));
        begin += files[i].file_size;
        n_tensors += files[i].n_tensors;
    }
    return HEARTH_OK;
}

hearth_status hearth_gguf_join(struct hearth_gguf *out, const struct hearth_gguf *files, uint32_t n, hearth_error *err)
{
    const struct reader in = {.file_name = files[0].file_name, .part = "header", .err = err};
    struct hearth_gguf gguf = files[0];
    uint32_t *order;
    *out = (struct hearth_gguf){0};
    for (uint32_t i = 1; i < n; i++) {
        gguf.n_tensors += files[i].n_tensors; /* below 2^20 before, and what is added too */
        if (gguf.n_tensors > HEARTH_TENSORS_MAX)
            return reject(&in, HEARTH_E_FORMAT, "E_SPLIT", "too many tensors in all parts (need at most %" PRIu64 ")",
                          HEARTH_TENSORS_MAX);
        if (!hearth_add_u64(&gguf.file_size, gguf.file_size, files[i].file_size) || gguf.file_size > INT64_MAX)
            return reject(&in, HEARTH_E_FORMAT, "E_SPLIT", "all parts together are too large (need below 2^63 bytes)");
    }
    HEARTH_TRY(allocate_tables(&gguf, &order, err));
    const hearth_status status = join_tables(&gguf, files, n, err);
    if (status == HEARTH_OK)
        *out = gguf;
    else
        free(gguf.memory);
    return status;
}

/* ---- Look-ups ------------------------------------------------------------------------------------------------------ */

const struct hearth_gguf_pair *hearth_gguf_find(const struct hearth_gguf *gguf, const char *key)
{
    const struct indexes *indexes = gguf->name_index;
    return indexes ? hearth_name_index_find(&indexes->keys, key, strlen(key)) : NULL;
}

const struct hearth_gguf_tensor *hearth_gguf_find_tensor(const struct hearth_gguf *gguf, const char *name)
{
    const struct indexes *indexes = gguf->name_index;
    return indexes ? hearth_name_index_find(&indexes->tensors, name, strlen(name)) : NULL;
}

static hearth_status wrong_type(const struct hearth_gguf *gguf, const struct hearth_gguf_pair *pair, const char *need,
                                hearth_error *err)
{
    char file[HEARTH_QUOTE_MAX];
    char key[HEARTH_QUOTE_MAX];
    const bool is_array = pair->type == HEARTH_GGUF_ARRAY;
    return hearth_fail(err, HEARTH_E_FORMAT, "E_KVTYPE", "%s: key '%s': wrong type of value (got %s%s, need %s)",
                       hearth_quote(file, gguf->file_name, strlen(gguf->file_name)),
                       hearth_quote(key, pair->key.bytes, (size_t)pair->key.size), is_array ? "array of " : "",
                       value_types[is_array ? pair->element_type : pair->type].name, need);
}

static bool is_signed(enum hearth_gguf_type type)
{
    return type == HEARTH_GGUF_I8 || type == HEARTH_GGUF_I16 || type == HEARTH_GGUF_I32 || type == HEARTH_GGUF_I64;
}

static bool is_unsigned(enum hearth_gguf_type type)
{
    return type == HEARTH_GGUF_U8 || type == HEARTH_GGUF_U16 || type == HEARTH_GGUF_U32 || type == HEARTH_GGUF_U64;
}

bool hearth_gguf_is_negative(const struct hearth_gguf_pair *pair)
{
    return is_signed(pair->type) && pair->value.bytes[pair->value.size - 1] >= 0x80;
}

hearth_status hearth_gguf_get_u64(const struct hearth_gguf *gguf, const char *key, uint64_t *out, bool *found, hearth_error *err)
{
    const struct hearth_gguf_pair *pair = hearth_gguf_find(gguf, key);
    *found = pair != NULL;
    if (!pair)
        return HEARTH_OK;
    if ((!is_signed(pair->type) && !is_unsigned(pair->type)) || hearth_gguf_is_negative(pair))
        return wrong_type(gguf, pair, "an integer that is not negative", err);
    *out = load_le(pair->value.bytes, (unsigned)pair->value.size);
    return HEARTH_OK;
}

hearth_status hearth_gguf_get_f64(const struct hearth_gguf *gguf, const char *key, double *out, bool *found, hearth_error *err)
{
    const struct hearth_gguf_pair *pair = hearth_gguf_find(gguf, key);
    *found = pair != NULL;
    if (!pair)
        return HEARTH_OK;
    if (pair->type == HEARTH_GGUF_F32)
        *out = (double)hearth_f32_from_bits((uint32_t)load_le(pair->value.bytes, 4));
    else if (pair->type == HEARTH_GGUF_F64)
        memcpy(out, pair->value.bytes, sizeof *out);
    else
        return wrong_type(gguf, pair, "float32 or float64", err);
    return HEARTH_OK;
}

hearth_status hearth_gguf_get_bool(const struct hearth_gguf *gguf, const char *key, bool *out, bool *found, hearth_error *err)
{
    const struct hearth_gguf_pair *pair = hearth_gguf_find(gguf, key);
    *found = pair != NULL;
    if (!pair)
        return HEARTH_OK;
    if (pair->type != HEARTH_GGUF_BOOL && !is_signed(pair->type) && !is_unsigned(pair->type))
        return wrong_type(gguf, pair, "bool", err);
    const uint64_t value = load_le(pair->value.bytes, (unsigned)pair->value.size);
    if (value > 1)
        return wrong_type(gguf, pair, "bool of 0 or 1", err);
    *out = value == 1;
    return HEARTH_OK;
}

hearth_status hearth_gguf_get_string(const struct hearth_gguf *gguf, const char *key, struct hearth_view *out, bool *found,
                                     hearth_error *err)
{
    const struct hearth_gguf_pair *pair = hearth_gguf_find(gguf, key);
    *found = pair != NULL;
    if (!pair)
        return HEARTH_OK;
    if (pair->type != HEARTH_GGUF_STRING)
        return wrong_type(gguf, pair, "string", err);
    *out = pair->value;
    return HEARTH_OK;
}

hearth_status hearth_gguf_get_array(const struct hearth_gguf *gguf, const char *key, enum hearth_gguf_type element_type,
                                    const struct hearth_gguf_pair **out, hearth_error *err)
{
    const struct hearth_gguf_pair *pair = hearth_gguf_find(gguf, key);
    *out = NULL;
    if (!pair)
        return HEARTH_OK;
    if (pair->type != HEARTH_GGUF_ARRAY || pair->element_type != element_type) {
        char need[32];
        (void)snprintf(need, sizeof need, "array of %s", value_types[element_type].name);
        return wrong_type(gguf, pair, need, err);
    }
    *out = pair;
    return HEARTH_OK;
}

struct hearth_view hearth_gguf_next_string(const struct hearth_gguf_pair *array, uint64_t *cursor)
{
    if (*cursor >= array->value.size)
        return (struct hearth_view){NULL, 0};
    const uint8_t *at = array->value.bytes + *cursor;
    const struct hearth_view text = {at + 8, load_le(at, 8)};
    *cursor += 8 + text.size;
    return text;
}

uint32_t hearth_gguf_u32_at(const struct hearth_gguf_pair *array, uint64_t index)
{
    return (uint32_t)load_le(array->value.bytes + 4 * index, 4);
}

bool hearth_gguf_bool_at(const struct hearth_gguf_pair *array, uint64_t index)
{
    return array->value.bytes[index] != 0;
}

float hearth_gguf_f32_at(const struct hearth_gguf_pair *array, uint64_t index)
{
    return hearth_f32_from_bits(hearth_gguf_u32_at(array, index));
}
