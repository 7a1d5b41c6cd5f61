/* The rows of the catalogue (docs: reliability, sections 2.1 to 2.6), one line each: see catalogue.h. Rows on shapes, chat
 * templates and numerics belong to the engine's tests and to tests/tools/corpus.c. */
#include "catalogue.h"
#include "gguf_builder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OK HEARTH_OK
#define FORMAT HEARTH_E_FORMAT
#define UNSUPPORTED HEARTH_E_UNSUPPORTED
#define ALL_ONES UINT64_MAX

struct image {
    uint8_t *bytes;
    size_t size;
};

struct expectation {
    hearth_status status;
    const char *detail, *mention;
};

/* Who walks, for the functions below. */
struct walk {
    catalogue_visit_fn *visit;
    void *user;
};

static void need(bool holds, const char *what)
{
    if (holds)
        return;
    (void)fprintf(stderr, "catalogue: %s\n", what);
    abort();
}

/* Hand a row over, and free the image. */
static void show(const struct walk *walk, const char *id, struct image *image, const struct expectation *want)
{
    const struct catalogue_row row = {id, image->bytes, image->size, want->status, want->detail, want->mention};
    walk->visit(&row, walk->user);
    free(image->bytes);
}

/* ---- The valid file --------------------------------------------------------------------------------------------------- */

static void make_base(struct gguf_builder *builder)
{
    gguf_builder_init(builder);
    gguf_builder_add_llama(builder, NULL);
    gguf_builder_set_string(builder, "zz.last", "a text");
    gguf_builder_append_tensor(builder, "extra.q8_0", HEARTH_Q8_0, 2, (const uint64_t[]){64, 2});
    gguf_builder_append_tensor(builder, "extra.q4_k", HEARTH_Q4_K, 2, (const uint64_t[]){256, 2}); /* 288 bytes: no tail */
}

static struct image finish(struct gguf_builder *builder)
{
    struct image image;
    image.bytes = gguf_builder_finish(builder, &image.size);
    gguf_builder_free(builder);
    return image;
}

static struct image base_image(void)
{
    struct gguf_builder builder;
    make_base(&builder);
    return finish(&builder);
}

/* ---- Raw patches ------------------------------------------------------------------------------------------------------ */

enum site {
    NOWHERE,
    MAGIC,
    VERSION,
    N_TENSORS,
    N_PAIRS,
    KEY_LENGTH,
    KEY_TYPE,
    STRING_LENGTH, /* of a string value, or of the first element of a string array */
    THIRD_LENGTH,  /* of the third element of a string array */
    ELEMENT_TYPE,
    ARRAY_COUNT,
    NAME_LENGTH,
    N_DIMS,
    NE0,
    NE1,
    TENSOR_TYPE,
    OFFSET
};

static size_t site_width(enum site site)
{
    const bool four =
        site == MAGIC || site == VERSION || site == KEY_TYPE || site == ELEMENT_TYPE || site == N_DIMS || site == TENSOR_TYPE;
    return four ? 4 : 8;
}

static uint64_t third_string(const struct hearth_gguf_pair *pair)
{
    uint64_t cursor = 0;
    (void)hearth_gguf_next_string(pair, &cursor);
    (void)hearth_gguf_next_string(pair, &cursor);
    return cursor;
}

static const uint8_t *find_in_pair(const struct hearth_gguf_pair *pair, enum site site)
{
    switch (site) {
    case KEY_LENGTH:
        return pair->key.bytes - 8;
    case KEY_TYPE:
        return pair->key.bytes + pair->key.size;
    case STRING_LENGTH:
        return pair->type == HEARTH_GGUF_STRING ? pair->value.bytes - 8 : pair->value.bytes;
    case THIRD_LENGTH:
        return pair->value.bytes + third_string(pair);
    case ELEMENT_TYPE:
        return pair->value.bytes - 12;
    default: /* ARRAY_COUNT */
        return pair->value.bytes - 8;
    }
}

static const uint8_t *find_in_tensor(const struct hearth_gguf_tensor *tensor, enum site site)
{
    const uint8_t *n_dims = tensor->name.bytes + tensor->name.size;
    const uint8_t *type = n_dims + 4 + 8 * tensor->n_dims;
    switch (site) {
    case NAME_LENGTH:
        return tensor->name.bytes - 8;
    case N_DIMS:
        return n_dims;
    case NE0:
        return n_dims + 4;
    case NE1:
        return n_dims + 12;
    case TENSOR_TYPE:
        return type;
    default: /* OFFSET */
        return type + 4;
    }
}

/* Where a named field lies in the valid file. */
static size_t find_site(const struct image *image, enum site site, const char *name)
{
    static const size_t header[] = {[MAGIC] = 0, [VERSION] = 4, [N_TENSORS] = 8, [N_PAIRS] = 16};
    if (site <= N_PAIRS)
        return header[site];
    struct hearth_gguf gguf;
    need(hearth_gguf_parse(&gguf, image->bytes, image->size, image->size, "base", NULL) == OK, "the base is damaged");
    const struct hearth_gguf_pair *pair = hearth_gguf_find(&gguf, name);
    const struct hearth_gguf_tensor *tensor = hearth_gguf_find_tensor(&gguf, name);
    need(site < NAME_LENGTH ? pair != NULL : tensor != NULL, name);
    const uint8_t *at = site < NAME_LENGTH ? find_in_pair(pair, site) : find_in_tensor(tensor, site);
    hearth_gguf_free(&gguf);
    return (size_t)(at - image->bytes);
}

enum operation {
    SET,
    ADD,
    LEFT_PLUS /* bytes that follow the field, divided by `value`, plus 1 */
};

struct patch {
    enum site site;
    const char *name;
    enum operation operation;
    uint64_t value;
};

static void apply(struct image *image, const struct patch *patch, size_t at)
{
    const size_t width = site_width(patch->site);
    uint64_t value = 0;
    memcpy(&value, image->bytes + at, width);
    if (patch->operation == SET)
        value = patch->value;
    else if (patch->operation == ADD)
        value += patch->value;
    else
        value = (image->size - at - width) / patch->value + 1;
    memcpy(image->bytes + at, &value, width);
}

static const struct {
    const char *id;
    struct patch patches[2];
    struct expectation want;
} raw_rows[] = {
    {"H06", {{MAGIC, "", SET, 0x6c6d6767}}, {FORMAT, "E_MAGIC", "old GGML format; convert to GGUF"}},
    {"H07", {{MAGIC, "", SET, 0x746a6767}}, {FORMAT, "E_MAGIC", "old GGML format; convert to GGUF"}},
    {"H08", {{MAGIC, "", SET, 0x4f44213c}}, {FORMAT, "E_MAGIC", "this is an HTML page; the download failed"}},
    {"F17", {{MAGIC, "", SET, 0}}, {FORMAT, "E_MAGIC", "zeroes"}},
    {"H11", {{VERSION, "", SET, 0}}, {FORMAT, "E_VERSION", NULL}},
    {"H12", {{VERSION, "", SET, 1}}, {FORMAT, "E_VERSION", "GGUF v1 not supported; re-convert"}},
    {"H13", {{VERSION, "", SET, 4}}, {UNSUPPORTED, "E_VERSION", "newer than 3"}},
    {"H14", {{VERSION, "", SET, 0xffffffff}}, {FORMAT, "E_VERSION", NULL}},
    {"H15", {{VERSION, "", SET, 0x03000000}}, {UNSUPPORTED, "E_ENDIAN", "big-endian file"}},
    {"H15 v2", {{VERSION, "", SET, 0x02000000}}, {FORMAT, "E_VERSION", NULL}},
    {"H17", {{N_TENSORS, "", SET, UINT64_C(1) << 63}}, {FORMAT, "E_COUNT", NULL}},
    {"H17 2^32", {{N_TENSORS, "", SET, UINT64_C(1) << 32}}, {FORMAT, "E_COUNT", NULL}},
    {"H18", {{N_TENSORS, "", ADD, 1}}, {FORMAT, "E_TNAME", "tensor 23"}},
    {"H20", {{N_PAIRS, "", SET, ALL_ONES}}, {FORMAT, "E_COUNT", NULL}},
    {"H21", {{N_PAIRS, "", SET, 0x0fffffff}}, {FORMAT, "E_COUNT", NULL}},
    {"H23", {{N_PAIRS, "", ADD, ALL_ONES}}, {FORMAT, "E_NDIMS", "tensor 0 'zz.last'"}},
    {"H24", {{VERSION, "", SET, 2}}, {OK, NULL, NULL}},
    {"K01", {{KEY_LENGTH, "general.architecture", SET, ALL_ONES}}, {FORMAT, "E_STRLEN", "pair 0"}},
    {"K02", {{KEY_LENGTH, "general.architecture", SET, INT64_MAX}}, {FORMAT, "E_STRLEN", "pair 0"}},
    {"K03", {{KEY_LENGTH, "general.architecture", LEFT_PLUS, 1}}, {FORMAT, "E_STRLEN", "pair 0"}},
    {"K03 zero", {{KEY_LENGTH, "general.architecture", SET, 0}}, {FORMAT, "E_KEY", "empty"}},
    {"K11", {{KEY_TYPE, "general.architecture", SET, 13}}, {FORMAT, "E_KVTYPE", "general.architecture"}},
    {"K12", {{KEY_TYPE, "general.architecture", SET, 0xffffffff}}, {FORMAT, "E_KVTYPE", NULL}},
    {"K13", {{STRING_LENGTH, "general.architecture", SET, ALL_ONES}}, {FORMAT, "E_STRLEN", NULL}},
    {"K14", {{STRING_LENGTH, "general.architecture", SET, UINT64_C(1) << 31}}, {FORMAT, "E_STRLEN", NULL}},
    {"K15", {{STRING_LENGTH, "general.architecture", ADD, 1}}, {FORMAT, NULL, "pair 1"}},
    {"K17 raw", {{ELEMENT_TYPE, "tokenizer.ggml.scores", SET, 9}}, {UNSUPPORTED, "E_ARR", NULL}},
    {"K19", {{ELEMENT_TYPE, "tokenizer.ggml.scores", SET, 13}}, {FORMAT, "E_ARR", NULL}},
    {"K20", {{ARRAY_COUNT, "tokenizer.ggml.scores", SET, ALL_ONES}}, {FORMAT, "E_ARR", NULL}},
    {"K21",
     {{ELEMENT_TYPE, "tokenizer.ggml.scores", SET, 10}, {ARRAY_COUNT, "tokenizer.ggml.scores", SET, UINT64_C(1) << 61}},
     {FORMAT, "E_ARR", NULL}},
    {"K23", {{ARRAY_COUNT, "tokenizer.ggml.scores", LEFT_PLUS, 4}}, {FORMAT, "E_ARR", NULL}},
    {"K24", {{ARRAY_COUNT, "tokenizer.ggml.tokens", SET, UINT64_C(1) << 40}}, {FORMAT, "E_ARR", NULL}},
    {"K25", {{THIRD_LENGTH, "tokenizer.ggml.tokens", SET, ALL_ONES}}, {FORMAT, "E_STRLEN", "element 2"}},
    {"T01", {{NAME_LENGTH, "token_embd.weight", SET, ALL_ONES}}, {FORMAT, "E_TNAME", NULL}},
    {"T01 zero", {{NAME_LENGTH, "token_embd.weight", SET, 0}}, {FORMAT, "E_TNAME", NULL}},
    {"T07", {{N_DIMS, "token_embd.weight", SET, 0}}, {FORMAT, "E_NDIMS", "token_embd.weight"}},
    {"T08", {{N_DIMS, "token_embd.weight", SET, 5}}, {FORMAT, "E_NDIMS", NULL}},
    {"T10", {{NE0, "token_embd.weight", SET, 0}}, {FORMAT, "E_DIM", NULL}},
    {"T11", {{NE1, "token_embd.weight", SET, 0}}, {FORMAT, "E_DIM", NULL}},
    {"T12", {{NE0, "token_embd.weight", SET, UINT64_C(1) << 63}}, {FORMAT, "E_DIM", NULL}},
    {"T13", {{NE0, "token_embd.weight", SET, ALL_ONES}}, {FORMAT, "E_DIM", NULL}},
    {"T14",
     {{NE0, "token_embd.weight", SET, UINT64_C(1) << 32}, {NE1, "token_embd.weight", SET, UINT64_C(1) << 32}},
     {FORMAT, "E_TSIZE", NULL}},
    {"T16", {{NE0, "token_embd.weight", SET, UINT64_C(1) << 62}, {NE1, "token_embd.weight", SET, 2}}, {FORMAT, "E_TSIZE", NULL}},
    {"T17", {{NE0, "output_norm.weight", SET, UINT64_C(1) << 61}}, {FORMAT, "E_TSIZE", NULL}},
    {"T19", {{TENSOR_TYPE, "token_embd.weight", SET, 4}}, {FORMAT, "E_TTYPE", "type 4 (Q4_2) was removed from GGUF"}},
    {"T20 31", {{TENSOR_TYPE, "token_embd.weight", SET, 31}}, {FORMAT, "E_TTYPE", "removed"}},
    {"T20 33", {{TENSOR_TYPE, "token_embd.weight", SET, 33}}, {FORMAT, "E_TTYPE", "removed"}},
    {"T20 36", {{TENSOR_TYPE, "token_embd.weight", SET, 36}}, {FORMAT, "E_TTYPE", "removed"}},
    {"T20 38", {{TENSOR_TYPE, "token_embd.weight", SET, 38}}, {FORMAT, "E_TTYPE", "removed"}},
    {"T22", {{TENSOR_TYPE, "token_embd.weight", SET, 0xffffffff}}, {FORMAT, "E_TTYPE", NULL}},
    {"T22 43", {{TENSOR_TYPE, "token_embd.weight", SET, 43}}, {FORMAT, "E_TTYPE", NULL}},
    {"T23", {{NE0, "extra.q4_k", SET, 255}}, {FORMAT, "E_BLOCK", "not a multiple of 256"}},
    {"T24", {{NE0, "extra.q8_0", SET, 33}}, {FORMAT, "E_BLOCK", "not a multiple of 32"}},
    {"T25", {{OFFSET, "blk.0.attn_q.weight", ADD, 1}}, {FORMAT, "E_TOFF", "not a multiple of 32"}},
    {"T26", {{OFFSET, "blk.0.attn_q.weight", SET, 0xffffffffffffffe0}}, {FORMAT, "E_EXTENT", "blk.0.attn_q.weight"}},
    {"T26 near", {{OFFSET, "blk.0.attn_q.weight", SET, INT64_MAX - 31}}, {FORMAT, "E_EXTENT", "blk.0.attn_q.weight"}},
    {"T30", {{OFFSET, "blk.0.attn_q.weight", SET, 0}}, {FORMAT, "E_OVERLAP", "blk.0.attn_q.weight"}},
    {"T31", {{OFFSET, "blk.0.attn_q.weight", ADD, 0u - UINT64_C(32)}}, {FORMAT, "E_OVERLAP", NULL}},
};

static void walk_raw_rows(const struct walk *walk)
{
    for (size_t i = 0; i < sizeof raw_rows / sizeof raw_rows[0]; i++) {
        struct image image = base_image();
        size_t at[2] = {0, 0};
        for (size_t k = 0; k < 2; k++) /* both sites first: a patched file no longer parses */
            if (raw_rows[i].patches[k].site != NOWHERE)
                at[k] = find_site(&image, raw_rows[i].patches[k].site, raw_rows[i].patches[k].name);
        for (size_t k = 0; k < 2; k++)
            if (raw_rows[i].patches[k].site != NOWHERE)
                apply(&image, &raw_rows[i].patches[k], at[k]);
        show(walk, raw_rows[i].id, &image, &raw_rows[i].want);
    }
}

/* ---- Files cut, grown, moved ------------------------------------------------------------------------------------------ */

static void find_data(const struct image *image, size_t *directory_end, size_t *data_start)
{
    struct hearth_gguf gguf;
    need(hearth_gguf_parse(&gguf, image->bytes, image->size, image->size, "base", NULL) == OK, "the base is damaged");
    const struct hearth_gguf_tensor *last = &gguf.tensors[gguf.n_tensors - 1];
    *directory_end = (size_t)(find_in_tensor(last, OFFSET) + 8 - image->bytes);
    *data_start = (size_t)gguf.data_start;
    hearth_gguf_free(&gguf);
}

static void become_text(struct image *image, const char *text)
{
    image->size = strlen(text);
    memcpy(image->bytes, text, image->size);
}

static void keep_0(struct image *image)
{
    image->size = 0;
}
static void keep_1(struct image *image)
{
    image->size = 1;
}
static void keep_4(struct image *image)
{
    image->size = 4;
}
static void keep_23(struct image *image)
{
    image->size = 23;
}
static void become_lfs_pointer(struct image *image)
{
    become_text(image, "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n");
}
static void cut_1(struct image *image)
{
    image->size--;
}
static void cut_at_data(struct image *image)
{
    size_t directory_end;
    find_data(image, &directory_end, &image->size);
}
static void delete_padding(struct image *image)
{
    size_t directory_end;
    size_t data_start;
    find_data(image, &directory_end, &data_start);
    need(data_start > directory_end, "the base needs padding");
    memmove(image->bytes + directory_end, image->bytes + data_start, image->size - data_start);
    image->size -= data_start - directory_end;
}
static void fill_padding(struct image *image)
{
    size_t directory_end;
    size_t data_start;
    find_data(image, &directory_end, &data_start);
    memset(image->bytes + directory_end, 0xaa, data_start - directory_end);
}
static void append_mebibyte(struct image *image)
{
    image->bytes = realloc(image->bytes, image->size + (1u << 20));
    memset(image->bytes + image->size, 0x55, 1u << 20);
    image->size += 1u << 20;
}
static void swap_offsets(struct image *image)
{
    const size_t k = find_site(image, OFFSET, "blk.0.attn_k.weight");
    const size_t v = find_site(image, OFFSET, "blk.0.attn_v.weight");
    uint8_t swap[8];
    memcpy(swap, image->bytes + k, 8);
    memcpy(image->bytes + k, image->bytes + v, 8);
    memcpy(image->bytes + v, swap, 8);
}

static const struct {
    const char *id;
    void (*change)(struct image *image);
    struct expectation want;
} image_rows[] = {
    {"H01", keep_0, {FORMAT, "E_TRUNC", "file is empty"}},
    {"H02", keep_1, {FORMAT, "E_TRUNC", "1 byte; header needs 24"}},
    {"H03", keep_4, {FORMAT, "E_TRUNC", "4 bytes; header needs 24"}},
    {"H05", keep_23, {FORMAT, "E_TRUNC", "23 bytes; header needs 24"}},
    {"H09", become_lfs_pointer, {FORMAT, "E_MAGIC", "git-lfs pointer, not the model"}},
    {"A08", delete_padding, {FORMAT, "E_EXTENT", "extra.q4_k"}},
    {"A09", fill_padding, {OK, NULL, NULL}},
    {"T28", cut_1, {FORMAT, "E_EXTENT", "short by 1 byte"}},
    {"T29", cut_at_data, {FORMAT, "E_EXTENT", "tensor 0"}},
    {"T32", swap_offsets, {OK, NULL, NULL}},
    {"T35", append_mebibyte, {OK, NULL, NULL}},
};

static void walk_image_rows(const struct walk *walk)
{
    for (size_t i = 0; i < sizeof image_rows / sizeof image_rows[0]; i++) {
        struct image image = base_image();
        image_rows[i].change(&image);
        show(walk, image_rows[i].id, &image, &image_rows[i].want);
    }
}

/* ---- One key of another value ----------------------------------------------------------------------------------------- */

enum { DROP = -1 };

struct value {
    int type; /* enum hearth_gguf_type or DROP */
    int64_t integer;
    double real;
    const char *text;
};
#define U32(n)                                                                                                                     \
    {                                                                                                                              \
        HEARTH_GGUF_U32, n, 0, NULL                                                                                                \
    }
#define U64(n)                                                                                                                     \
    {                                                                                                                              \
        HEARTH_GGUF_U64, n, 0, NULL                                                                                                \
    }
#define I32(n)                                                                                                                     \
    {                                                                                                                              \
        HEARTH_GGUF_I32, n, 0, NULL                                                                                                \
    }
#define I64(n)                                                                                                                     \
    {                                                                                                                              \
        HEARTH_GGUF_I64, n, 0, NULL                                                                                                \
    }
#define U16(n)                                                                                                                     \
    {                                                                                                                              \
        HEARTH_GGUF_U16, n, 0, NULL                                                                                                \
    }
#define BOOL(n)                                                                                                                    \
    {                                                                                                                              \
        HEARTH_GGUF_BOOL, n, 0, NULL                                                                                               \
    }
#define F32(x)                                                                                                                     \
    {                                                                                                                              \
        HEARTH_GGUF_F32, 0, x, NULL                                                                                                \
    }
#define F64(x)                                                                                                                     \
    {                                                                                                                              \
        HEARTH_GGUF_F64, 0, x, NULL                                                                                                \
    }
#define TEXT(s)                                                                                                                    \
    {                                                                                                                              \
        HEARTH_GGUF_STRING, 0, 0, s                                                                                                \
    }
#define DROPPED                                                                                                                    \
    {                                                                                                                              \
        DROP, 0, 0, NULL                                                                                                           \
    }

static void set_value(struct gguf_builder *builder, const char *key, const struct value *value)
{
    const float single = (float)value->real;
    if (value->type == DROP)
        gguf_builder_drop(builder, key);
    else if (value->type == HEARTH_GGUF_STRING)
        gguf_builder_set_string(builder, key, value->text);
    else if (value->type == HEARTH_GGUF_F32)
        gguf_builder_set_f32(builder, key, single);
    else if (value->type == HEARTH_GGUF_F64)
        gguf_builder_set(builder, key, HEARTH_GGUF_F64, &value->real);
    else /* little-endian: the low bytes come first */
        gguf_builder_set(builder, key, (enum hearth_gguf_type)value->type, &value->integer);
}

struct key_row {
    const char *id, *key;
    struct value value;
    struct expectation want;
};

static void walk_key_rows(const struct walk *walk, const struct key_row *rows, size_t n,
                          void (*prepare)(struct gguf_builder *builder))
{
    for (size_t i = 0; i < n; i++) {
        struct gguf_builder builder;
        make_base(&builder);
        if (prepare)
            prepare(&builder);
        set_value(&builder, rows[i].key, &rows[i].value);
        struct image image = finish(&builder);
        show(walk, rows[i].id, &image, &rows[i].want);
    }
}

static const struct key_row key_rows[] = {
    {"K26", "general.architecture", DROPPED, {FORMAT, "E_MISSING", "general.architecture"}},
    {"K27", "general.architecture", U32(1), {FORMAT, "E_KVTYPE", "general.architecture"}},
    {"K29", "general.architecture", TEXT("zzz"), {UNSUPPORTED, "E_ARCH", "zzz"}},
    {"K30", "general.architecture", TEXT("%n%s%x\x1b[2J"), {UNSUPPORTED, "E_ARCH", "%n%s%x\\x1b[2J"}},
    {"K31", "llama.embedding_length", TEXT("64"), {FORMAT, "E_KVTYPE", "llama.embedding_length"}},
    {"K32", "llama.embedding_length", F32(64), {FORMAT, "E_KVTYPE", "llama.embedding_length"}},
    {"K33", "llama.embedding_length", I64(-64), {FORMAT, "E_HPARAM", "llama.embedding_length"}},
    {"K33 i32", "llama.embedding_length", I32(64), {OK, NULL, NULL}},
    {"K33 u64", "llama.embedding_length", U64(64), {OK, NULL, NULL}},
    {"K37", "general.quantization_version", U32(999), {UNSUPPORTED, NULL, "general.quantization_version"}},
    {"A02", "general.alignment", U32(3), {FORMAT, "E_ALIGN", "not a power of two"}},
    {"A02 24", "general.alignment", U32(24), {FORMAT, "E_ALIGN", "not a power of two"}},
    {"A02 0", "general.alignment", U32(0), {FORMAT, "E_ALIGN", NULL}},
    {"A03", "general.alignment", U32(1), {FORMAT, "E_ALIGN", NULL}},
    {"A04", "general.alignment", U32(0x80000000), {FORMAT, "E_ALIGN", "larger than 65536"}},
    {"A05", "general.alignment", U32(0xffffffff), {FORMAT, "E_ALIGN", NULL}},
    {"A06 string", "general.alignment", TEXT("32"), {FORMAT, "E_KVTYPE", "general.alignment"}},
    {"A06 u64", "general.alignment", U64(32), {OK, NULL, NULL}}, /* any integer type that holds the value */
    {"A10 32", "general.alignment", U32(32), {OK, NULL, NULL}},
    {"P01", "llama.block_count", U32(0), {FORMAT, "E_HPARAM", "llama.block_count"}},
    {"P02 513", "llama.block_count", U32(513), {FORMAT, "E_HPARAM", NULL}},
    {"P02 100000", "llama.block_count", U32(100000), {FORMAT, "E_HPARAM", NULL}},
    {"P02 max", "llama.block_count", U32(0xffffffff), {FORMAT, "E_HPARAM", NULL}},
    {"P04", "llama.block_count", U32(1), {FORMAT, "E_HPARAM", "tensors for layer 1 exist"}},
    {"P05 0", "llama.embedding_length", U32(0), {FORMAT, "E_HPARAM", NULL}},
    {"P05 2^31", "llama.embedding_length", U32(0x80000000), {FORMAT, "E_HPARAM", NULL}},
    {"P07", "llama.attention.head_count", U32(0), {FORMAT, "E_HPARAM", "head_count"}},
    {"P08", "llama.attention.head_count", U32(7), {FORMAT, "E_HPARAM", "does not divide"}},
    {"P09", "llama.attention.head_count", U32(0xffffffff), {FORMAT, "E_HPARAM", NULL}},
    {"P10", "llama.attention.head_count_kv", U32(0), {FORMAT, "E_HPARAM", NULL}},
    {"P11", "llama.attention.head_count_kv", U32(3), {FORMAT, "E_HPARAM", "does not divide"}},
    {"P14 0", "llama.attention.key_length", U32(0), {FORMAT, "E_HPARAM", NULL}},
    {"P14 4097", "llama.attention.key_length", U32(4097), {FORMAT, "E_HPARAM", NULL}},
    {"P14 value", "llama.attention.value_length", U32(32), {UNSUPPORTED, "E_HPARAM", "different widths"}},
    {"P15 > d", "llama.rope.dimension_count", U32(18), {FORMAT, "E_HPARAM", NULL}},
    {"P15 odd", "llama.rope.dimension_count", U32(15), {FORMAT, "E_HPARAM", NULL}},
    {"P15 0", "llama.rope.dimension_count", U32(0), {FORMAT, "E_HPARAM", NULL}},
    {"P15 none", "llama.rope.dimension_count", DROPPED, {OK, NULL, NULL}},
    {"P16", "llama.feed_forward_length", U32(0), {FORMAT, "E_HPARAM", NULL}},
    {"P17", "llama.context_length", U32(0), {FORMAT, "E_HPARAM", NULL}},
    {"P19 NaN", "llama.attention.layer_norm_rms_epsilon", F32(NAN), {FORMAT, "E_HPARAM", NULL}},
    {"P19 Inf", "llama.attention.layer_norm_rms_epsilon", F32(INFINITY), {FORMAT, "E_HPARAM", NULL}},
    {"P19 0", "llama.attention.layer_norm_rms_epsilon", F32(0), {FORMAT, "E_HPARAM", NULL}},
    {"P19 -1", "llama.attention.layer_norm_rms_epsilon", F32(-1), {FORMAT, "E_HPARAM", NULL}},
    {"P19 f64", "llama.attention.layer_norm_rms_epsilon", F64(1e-300), {FORMAT, "E_HPARAM", NULL}},
    {"P20 0", "llama.rope.freq_base", F32(0), {FORMAT, "E_HPARAM", NULL}},
    {"P20 -1", "llama.rope.freq_base", F32(-1), {FORMAT, "E_HPARAM", NULL}},
    {"P20 NaN", "llama.rope.freq_base", F32(NAN), {FORMAT, "E_HPARAM", NULL}},
    {"P20 Inf", "llama.rope.freq_base", F32(INFINITY), {FORMAT, "E_HPARAM", NULL}},
    {"P20 1e6", "llama.rope.freq_base", F64(1e6), {OK, NULL, NULL}},
    {"P21 zzz", "llama.rope.scaling.type", TEXT("zzz"), {FORMAT, "E_HPARAM", "zzz"}},
    {"P21 0", "llama.rope.scaling.factor", F32(0), {FORMAT, "E_HPARAM", NULL}},
    {"P21 NaN", "llama.rope.scaling.factor", F32(NAN), {FORMAT, "E_HPARAM", NULL}},
    {"P21 yarn", "llama.rope.scaling.type", TEXT("yarn"), {OK, NULL, NULL}},
    {"yarn mix", "llama.rope.scaling.yarn_ext_factor", F32(2), {FORMAT, "E_HPARAM", "yarn_ext_factor"}},
    {"yarn beta", "llama.rope.scaling.yarn_beta_fast", F32(0), {FORMAT, "E_HPARAM", "yarn_beta_fast"}},
    {"P21 longrope", "llama.rope.scaling.type", TEXT("longrope"), {OK, NULL, NULL}},
    {"P21 none", "llama.rope.scaling.type", TEXT("none"), {OK, NULL, NULL}},
    {"P22 used 0", "llama.expert_count", U32(8), {FORMAT, "E_HPARAM", "expert_used_count"}},
    {"P23", "llama.expert_count", U32(100000), {FORMAT, "E_HPARAM", NULL}},
    {"P25 1", "llama.block_count", DROPPED, {FORMAT, "E_MISSING", "llama.block_count"}},
    {"P25 2", "llama.context_length", DROPPED, {FORMAT, "E_MISSING", "llama.context_length"}},
    {"P25 3", "llama.embedding_length", DROPPED, {FORMAT, "E_MISSING", "llama.embedding_length"}},
    {"P25 4", "llama.feed_forward_length", DROPPED, {FORMAT, "E_MISSING", "llama.feed_forward_length"}},
    {"P25 5", "llama.attention.head_count", DROPPED, {FORMAT, "E_MISSING", "llama.attention.head_count"}},
    {"P25 6", "llama.attention.layer_norm_rms_epsilon", DROPPED, {FORMAT, "E_MISSING", "layer_norm_rms_epsilon"}},
    {"P25 kv", "llama.attention.head_count_kv", DROPPED, {OK, NULL, NULL}},
    {"P33", "llama.attention.scale", F32(NAN), {FORMAT, "E_HPARAM", NULL}},
    {"P33 cap", "llama.attn_logit_softcapping", F32(NAN), {FORMAT, "E_HPARAM", NULL}},
    {"P33 cap 50", "llama.attn_logit_softcapping", F32(50), {UNSUPPORTED, NULL, "attn_logit_softcapping"}},
    {"P33 neutral", "llama.logit_scale", F32(1), {OK, NULL, NULL}},
    {"P34", "llama.nextn_predict_layers", U32(2), {FORMAT, "E_HPARAM", "nextn_predict_layers"}},
    {"P34 1", "llama.nextn_predict_layers", U32(1), {UNSUPPORTED, NULL, "nextn_predict_layers"}},
    {"causal", "llama.attention.causal", BOOL(0), {UNSUPPORTED, NULL, "attention.causal"}},
    {"window", "llama.attention.sliding_window", U32(4096), {OK, NULL, NULL}},
    {"adapter", "general.type", TEXT("adapter"), {UNSUPPORTED, NULL, "adapter"}},
    {"model", "general.type", TEXT("model"), {OK, NULL, NULL}},
    {"V01", "tokenizer.ggml.tokens", DROPPED, {FORMAT, "E_MISSING", "tokenizer.ggml.tokens"}},
    {"V07", "tokenizer.ggml.scores", DROPPED, {FORMAT, "E_MISSING", "tokenizer.ggml.scores"}},
    {"V09 none", "tokenizer.ggml.token_type", DROPPED, {OK, NULL, NULL}},
    {"V17", "tokenizer.ggml.bos_token_id", U32(300), {FORMAT, "E_TOKENID", "bos_token_id"}},
    {"V17 max", "tokenizer.ggml.bos_token_id", U32(0xffffffff), {FORMAT, "E_TOKENID", NULL}},
    {"V17 -1", "tokenizer.ggml.bos_token_id", I32(-1), {FORMAT, "E_TOKENID", NULL}},
    {"V17 text", "tokenizer.ggml.bos_token_id", TEXT("1"), {FORMAT, "E_KVTYPE", NULL}},
    {"V18 eos", "tokenizer.ggml.eos_token_id", U32(300), {FORMAT, "E_TOKENID", NULL}},
    {"V18 eot", "tokenizer.ggml.eot_token_id", U32(300), {FORMAT, "E_TOKENID", NULL}},
    {"V19 pad", "tokenizer.ggml.padding_token_id", U32(300), {OK, NULL, NULL}},
    {"V19 pad -1", "tokenizer.ggml.padding_token_id", I32(-1), {OK, NULL, NULL}},
    {"V19 unk", "tokenizer.ggml.unknown_token_id", U32(300), {OK, NULL, NULL}},
    {"V30", "tokenizer.ggml.model", DROPPED, {FORMAT, "E_MISSING", "tokenizer.ggml.model"}},
    {"V30 zzz", "tokenizer.ggml.model", TEXT("zzz"), {UNSUPPORTED, NULL, "zzz"}},
    {"V35", "tokenizer.ggml.eos_token_id", U32(260), {OK, NULL, NULL}},
    {"C01", "tokenizer.chat_template", U32(1), {FORMAT, "E_KVTYPE", "tokenizer.chat_template"}},
    {"add_bos", "tokenizer.ggml.add_bos_token", TEXT("yes"), {FORMAT, "E_KVTYPE", "add_bos_token"}},
    {"add_bos 2", "tokenizer.ggml.add_bos_token", BOOL(2), {FORMAT, "E_KVTYPE", "add_bos_token"}},
};

static void with_8_experts(struct gguf_builder *builder)
{
    gguf_builder_set_u32(builder, "llama.expert_count", 8);
    gguf_builder_set_u32(builder, "llama.expert_used_count", 2);
}

static const struct key_row expert_rows[] = {
    {"P22 0", "llama.expert_used_count", U32(0), {FORMAT, "E_HPARAM", "expert_used_count"}},
    {"P22 9", "llama.expert_used_count", U32(9), {FORMAT, "E_HPARAM", "expert_used_count"}},
    {"gating", "llama.expert_gating_func", U32(2), {UNSUPPORTED, "E_EXPERTS", "expert_gating_func"}},
    {"groups", "llama.expert_group_count", U32(4), {UNSUPPORTED, "E_EXPERTS", "expert_group_count"}},
    {"shared", "llama.expert_shared_count", U32(1), {UNSUPPORTED, "E_EXPERTS", "expert_shared_count"}},
    {"rows", "llama.expert_feed_forward_length", U32(1 << 20), {OK, NULL, NULL}},
};

/* The other vocabulary: 258 tokens, so that the embedding must have as many rows. */
static void with_bpe(struct gguf_builder *builder)
{
    gguf_builder_add_bpe_vocabulary(builder);
    gguf_builder_find_tensor(builder, "token_embd.weight")->ne[1] = 258;
    gguf_builder_find_tensor(builder, "output.weight")->ne[1] = 258;
}

static const struct key_row bpe_rows[] = {
    {"BPE", "general.name", TEXT("unchanged"), {OK, NULL, NULL}},
    {"V23", "tokenizer.ggml.merges", DROPPED, {FORMAT, "E_MISSING", "tokenizer.ggml.merges"}},
    {"V28 scalar", "tokenizer.ggml.merges", U32(1), {FORMAT, "E_KVTYPE", "tokenizer.ggml.merges"}},
    {"BPE bos", "tokenizer.ggml.bos_token_id", DROPPED, {OK, NULL, NULL}},
};

static const struct {
    const char *id, *merge;
} merge_rows[] = {{"V24", "ab"}, {"V25 1", " a"}, {"V25 2", "a "}, {"V25 3", "a b c"}, {"V25 4", ""}, {"V25 5", " "}};

static void walk_merge_rows(const struct walk *walk)
{
    for (size_t i = 0; i < sizeof merge_rows / sizeof merge_rows[0]; i++) {
        struct gguf_builder builder;
        make_base(&builder);
        with_bpe(&builder);
        gguf_builder_set_strings(&builder, "tokenizer.ggml.merges", (const char *const[]){"t h", merge_rows[i].merge}, 2);
        struct image image = finish(&builder);
        show(walk, merge_rows[i].id, &image, &(struct expectation){FORMAT, "E_MERGE", "merge 1 "});
    }
}

/* ---- Everything else, one small function each ------------------------------------------------------------------------- */

static void append_key(struct gguf_builder *builder, const void *key, size_t size)
{
    static const uint8_t value = 1;
    gguf_builder_append_pair(
        builder, &(struct hearth_gguf_pair){.key = {key, size}, .type = HEARTH_GGUF_U8, .count = 1, .value = {&value, 1}});
}

/* An array with this many elements of a type, copied from zeroes. */
static void set_zeroes(struct gguf_builder *builder, const char *key, enum hearth_gguf_type type, uint64_t count)
{
    void *zeroes = calloc((size_t)count + 1, 8);
    gguf_builder_set_array(builder, key, type, zeroes, count);
    free(zeroes);
}

static void no_tensors(struct gguf_builder *builder)
{
    builder->n_tensors = 0;
}
static void long_key(struct gguf_builder *builder)
{
    char *key = malloc(65536);
    memset(key, 'k', 65536);
    append_key(builder, key, 65536);
    free(key);
}
static void longest_key(struct gguf_builder *builder)
{
    char *key = malloc(65535);
    memset(key, 'k', 65535);
    append_key(builder, key, 65535);
    free(key);
}
static void key_with_nul(struct gguf_builder *builder)
{
    append_key(builder, "a\0b", 3);
}
static void key_with_escape(struct gguf_builder *builder)
{
    append_key(builder, "\x1b[2J\n", 5);
}
static void key_with_ff(struct gguf_builder *builder)
{
    append_key(builder, "a\xff", 2);
}
static void key_twice(struct gguf_builder *builder)
{
    append_key(builder, "same", 4);
    append_key(builder, "same", 4);
}
static void nested_array(struct gguf_builder *builder)
{
    set_zeroes(builder, "nested", HEARTH_GGUF_ARRAY, 3);
}
static void deeply_nested_array(struct gguf_builder *builder) /* each level: element type 9, one element */
{
    const size_t depth = 100000;
    uint8_t *levels = calloc(depth, 12);
    for (size_t i = 0; i < depth; i++)
        levels[12 * i] = HEARTH_GGUF_ARRAY, levels[12 * i + 4] = 1;
    gguf_builder_append_pair(builder, &(struct hearth_gguf_pair){.key = {(const uint8_t *)"deep", 4},
                                                                 .type = HEARTH_GGUF_ARRAY,
                                                                 .element_type = HEARTH_GGUF_ARRAY,
                                                                 .count = 1,
                                                                 .value = {levels, 12 * depth}});
    free(levels);
}
static void empty_array(struct gguf_builder *builder)
{
    set_zeroes(builder, "empty", HEARTH_GGUF_U32, 0);
}
static void million_empty_strings(struct gguf_builder *builder)
{
    uint8_t *lengths = calloc(1000000, 8);
    gguf_builder_append_pair(builder, &(struct hearth_gguf_pair){.key = {(const uint8_t *)"many", 4},
                                                                 .type = HEARTH_GGUF_ARRAY,
                                                                 .element_type = HEARTH_GGUF_STRING,
                                                                 .count = 1000000,
                                                                 .value = {lengths, 8000000}});
    free(lengths);
}
static void alignment_64(struct gguf_builder *builder)
{
    builder->alignment = 64;
}
static void name_of_64(struct gguf_builder *builder)
{
    gguf_builder_append_tensor(builder, "0123456789012345678901234567890123456789012345678901234567890123", HEARTH_F32, 1,
                               (const uint64_t[]){8});
}
static void name_of_65(struct gguf_builder *builder)
{
    gguf_builder_append_tensor(builder, "01234567890123456789012345678901234567890123456789012345678901234", HEARTH_F32, 1,
                               (const uint64_t[]){8});
}
static void name_with_escape(struct gguf_builder *builder)
{
    gguf_builder_append_tensor(builder, "a\x1b[2J", HEARTH_F32, 1, (const uint64_t[]){8});
}
static void tensor_twice(struct gguf_builder *builder)
{
    gguf_builder_append_tensor(builder, "output_norm.weight", HEARTH_F32, 1, (const uint64_t[]){64});
}
static void layer_array(struct gguf_builder *builder, const char *key, uint64_t count, uint32_t second)
{
    gguf_builder_set_array(builder, key, HEARTH_GGUF_I32, (const uint32_t[]){4, second, 4}, count);
}
static void heads_array_of_3(struct gguf_builder *builder)
{
    layer_array(builder, "llama.attention.head_count", 3, 4);
}
static void heads_array_equal(struct gguf_builder *builder)
{
    layer_array(builder, "llama.attention.head_count", 2, 4);
}
static void heads_array_unequal(struct gguf_builder *builder)
{
    layer_array(builder, "llama.attention.head_count", 2, 8);
}
static void heads_array_zero(struct gguf_builder *builder)
{
    layer_array(builder, "llama.attention.head_count", 2, 0);
}
static void context_array(struct gguf_builder *builder)
{
    layer_array(builder, "llama.context_length", 2, 4);
}
static void no_embedding(struct gguf_builder *builder)
{
    gguf_builder_drop_tensor(builder, "token_embd.weight");
}
static void tied(struct gguf_builder *builder)
{
    gguf_builder_drop_tensor(builder, "output.weight");
}
static void no_tokens(struct gguf_builder *builder)
{
    gguf_builder_set_strings(builder, "tokenizer.ggml.tokens", NULL, 0);
}
static void more_rows(struct gguf_builder *builder)
{
    gguf_builder_find_tensor(builder, "token_embd.weight")->ne[1] = 301;
}
static void fewer_rows(struct gguf_builder *builder)
{
    gguf_builder_find_tensor(builder, "token_embd.weight")->ne[1] = 299;
}
static void short_scores(struct gguf_builder *builder)
{
    set_zeroes(builder, "tokenizer.ggml.scores", HEARTH_GGUF_F32, 299);
}
static void byte_scores(struct gguf_builder *builder)
{
    set_zeroes(builder, "tokenizer.ggml.scores", HEARTH_GGUF_U8, 300);
}
static void nan_score(struct gguf_builder *builder)
{
    float scores[300] = {0};
    scores[7] = NAN;
    gguf_builder_set_array(builder, "tokenizer.ggml.scores", HEARTH_GGUF_F32, scores, 300);
}
static void short_types(struct gguf_builder *builder)
{
    set_zeroes(builder, "tokenizer.ggml.token_type", HEARTH_GGUF_I32, 299);
}
static void type_77(struct gguf_builder *builder)
{
    int32_t types[300] = {[9] = 77};
    gguf_builder_set_array(builder, "tokenizer.ggml.token_type", HEARTH_GGUF_I32, types, 300);
}
static void type_negative(struct gguf_builder *builder)
{
    int32_t types[300] = {[9] = -1};
    gguf_builder_set_array(builder, "tokenizer.ggml.token_type", HEARTH_GGUF_I32, types, 300);
}
static void wrong_types(struct gguf_builder *builder)
{
    set_zeroes(builder, "tokenizer.ggml.token_type", HEARTH_GGUF_F32, 300);
}
static void set_token(struct gguf_builder *builder, uint64_t id, const char *text)
{
    gguf_builder_replace_string(builder, "tokenizer.ggml.tokens", id, text, strlen(text));
}
static void equal_tokens(struct gguf_builder *builder)
{
    set_token(builder, 262, "a");
}
static void empty_token(struct gguf_builder *builder)
{
    set_token(builder, 262, "");
}
static void empty_control_token(struct gguf_builder *builder)
{
    set_token(builder, 1, "");
}
static void invalid_token(struct gguf_builder *builder)
{
    set_token(builder, 262, "\xff\xfe");
}
static void escape_token(struct gguf_builder *builder)
{
    set_token(builder, 262, "\x1b[2J");
}
static void byte_token_negative(struct gguf_builder *builder)
{
    set_token(builder, 3, "<0x-1>");
}
static void byte_token_zz(struct gguf_builder *builder)
{
    set_token(builder, 3, "<0xZZ>");
}
static void byte_token_short(struct gguf_builder *builder)
{
    set_token(builder, 3, "<0x1>");
}
static void no_byte_tokens(struct gguf_builder *builder)
{
    gguf_builder_drop(builder, "tokenizer.ggml.token_type");
    for (uint64_t id = 3; id < 259; id++) {
        char text[16];
        (void)snprintf(text, sizeof text, "b%u", (unsigned)id);
        set_token(builder, id, text);
    }
}
static void vocabulary_of(struct gguf_builder *builder, uint32_t n)
{
    gguf_builder_add_spm_vocabulary(builder, n);
    gguf_builder_drop(builder, "tokenizer.ggml.bos_token_id");
    gguf_builder_drop(builder, "tokenizer.ggml.eos_token_id");
    gguf_builder_find_tensor(builder, "token_embd.weight")->ne[1] = n;
}
static void one_token(struct gguf_builder *builder)
{
    vocabulary_of(builder, 1);
}
static void bos_wanted_but_none(struct gguf_builder *builder)
{
    vocabulary_of(builder, 1);
    gguf_builder_set_bool(builder, "tokenizer.ggml.add_bos_token", true);
}
static void merges_of_numbers(struct gguf_builder *builder)
{
    with_bpe(builder);
    set_zeroes(builder, "tokenizer.ggml.merges", HEARTH_GGUF_U32, 4);
}
static void merge_twice(struct gguf_builder *builder)
{
    with_bpe(builder);
    gguf_builder_set_strings(builder, "tokenizer.ggml.merges", (const char *const[]){"t h", "t h"}, 2);
}

static const struct {
    const char *id;
    void (*edit)(struct gguf_builder *builder);
    struct expectation want;
} built_rows[] = {
    {"H19", no_tensors, {FORMAT, "E_MISSING", "no tensors"}},
    {"K05", long_key, {FORMAT, "E_KEY", "longer than 65535"}},
    {"K05 65535", longest_key, {OK, NULL, NULL}},
    {"K06", key_with_nul, {FORMAT, "E_KEY", "a\\x00b"}},
    {"K07", key_with_escape, {FORMAT, "E_KEY", "\\x1b[2J\\x0a"}},
    {"K08", key_with_ff, {FORMAT, "E_KEY", "a\\xff"}},
    {"K09", key_twice, {FORMAT, "E_DUPKEY", "same"}},
    {"K17", nested_array, {UNSUPPORTED, "E_ARR", "nested"}},
    {"K18", deeply_nested_array, {UNSUPPORTED, "E_ARR", "deep"}},
    {"K36", million_empty_strings, {OK, NULL, NULL}},
    {"K39", empty_array, {OK, NULL, NULL}},
    {"A10 64", alignment_64, {OK, NULL, NULL}},
    {"T02", name_of_65, {FORMAT, "E_TNAME", "got 65"}},
    {"T02 64", name_of_64, {OK, NULL, NULL}},
    {"T04", name_with_escape, {FORMAT, "E_TNAME", "a\\x1b[2J"}},
    {"T05", tensor_twice, {FORMAT, "E_DUPTENSOR", "output_norm.weight"}},
    {"P13", heads_array_of_3, {FORMAT, "E_HPARAM", "head_count"}},
    {"P13 equal", heads_array_equal, {OK, NULL, NULL}},
    {"P13 unequal", heads_array_unequal, {UNSUPPORTED, "E_HPARAM", "layers that differ"}},
    {"P13 zero", heads_array_zero, {FORMAT, "E_HPARAM", "head_count"}},
    {"P13 context", context_array, {FORMAT, "E_KVTYPE", "context_length"}},
    {"P26", no_embedding, {FORMAT, "E_MISSING", "token_embd.weight"}},
    {"P31", tied, {OK, NULL, NULL}},
    {"V03", no_tokens, {FORMAT, "E_VOCAB", NULL}},
    {"V04 fewer", more_rows, {FORMAT, "E_VOCAB", NULL}},
    {"V04 more", fewer_rows, {FORMAT, "E_VOCAB", NULL}},
    {"V05", short_scores, {FORMAT, "E_VOCAB", "scores"}},
    {"V05 NaN", nan_score, {FORMAT, "E_VOCAB", "token 7"}},
    {"V06", byte_scores, {FORMAT, "E_KVTYPE", "scores"}},
    {"V09 short", short_types, {FORMAT, "E_VOCAB", "token_type"}},
    {"V09 77", type_77, {FORMAT, "E_VOCAB", "token 9"}},
    {"V09 -1", type_negative, {FORMAT, "E_VOCAB", "token 9"}},
    {"V09 type", wrong_types, {FORMAT, "E_KVTYPE", "token_type"}},
    {"V10", equal_tokens, {OK, NULL, NULL}}, /* the last id wins */
    {"V11", empty_token, {OK, NULL, NULL}},
    {"V12", empty_control_token, {FORMAT, "E_VOCAB", "token 1"}},
    {"V13", invalid_token, {OK, NULL, NULL}}, /* loads with a warning */
    {"V15 -1", byte_token_negative, {FORMAT, "E_VOCAB", "<0x-1>"}},
    {"V15 ZZ", byte_token_zz, {FORMAT, "E_VOCAB", "<0xZZ>"}},
    {"V15 1", byte_token_short, {FORMAT, "E_VOCAB", "<0x1>"}},
    {"V16", no_byte_tokens, {OK, NULL, NULL}},
    {"V21", bos_wanted_but_none, {FORMAT, "E_TOKENID", "add_bos_token"}},
    {"V22", one_token, {OK, NULL, NULL}},
    {"V27", merge_twice, {OK, NULL, NULL}},
    {"V28", merges_of_numbers, {FORMAT, "E_KVTYPE", "tokenizer.ggml.merges"}},
    {"V33", escape_token, {OK, NULL, NULL}},
};

static void walk_built_rows(const struct walk *walk)
{
    for (size_t i = 0; i < sizeof built_rows / sizeof built_rows[0]; i++) {
        struct gguf_builder builder;
        make_base(&builder);
        built_rows[i].edit(&builder);
        struct image image = finish(&builder);
        show(walk, built_rows[i].id, &image, &built_rows[i].want);
    }
}

/* ---- All of them -------------------------------------------------------------------------------------------------------- */

void catalogue_walk(catalogue_visit_fn *visit, void *user)
{
    const struct walk walk = {visit, user};
    struct image base = base_image();
    show(&walk, "base", &base, &(struct expectation){OK, NULL, NULL});
    walk_raw_rows(&walk);
    walk_image_rows(&walk);
    walk_key_rows(&walk, key_rows, sizeof key_rows / sizeof key_rows[0], NULL);
    walk_key_rows(&walk, expert_rows, sizeof expert_rows / sizeof expert_rows[0], with_8_experts);
    walk_key_rows(&walk, bpe_rows, sizeof bpe_rows / sizeof bpe_rows[0], with_bpe);
    walk_merge_rows(&walk);
    walk_built_rows(&walk);
}

uint8_t *catalogue_base(size_t *size, size_t *directory_end, size_t *data_start)
{
    const struct image image = base_image();
    find_data(&image, directory_end, data_start);
    *size = image.size;
    return image.bytes;
}
