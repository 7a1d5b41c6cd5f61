/* From the old directory to the new one; see scheme.h. */
#include "scheme.h"
#include "common/checked.h"
#include "common/status.h"
#include <stdlib.h>

/* ---- The model as recipes see it ------------------------------------------------------------------------------------- */

static hearth_status reject(const struct hearth_gguf *gguf, hearth_status status, const char *detail, const char *what,
                            struct hearth_view got, hearth_error *err)
{
    char file[HEARTH_QUOTE_MAX], text[HEARTH_QUOTE_MAX];
    return hearth_fail(err, status, detail, "%s: %s (got '%s')", hearth_quote(file, gguf->file_name, strlen(gguf->file_name)), what,
                       hearth_quote(text, got.bytes, (size_t)got.size));
}

/* `out` stays where the key is missing. Of a number for each layer the first counts. */
static hearth_status read_count(uint32_t *out, const struct hearth_gguf *gguf, struct hearth_view architecture, const char *key,
                                hearth_error *err)
{
    char name[128];
    uint64_t value = *out;
    bool found;
    (void)snprintf(name, sizeof name, "%.*s.%s", (int)architecture.size, (const char *)architecture.bytes, key);
    const struct hearth_gguf_pair *pair = hearth_gguf_find(gguf, name);
    if (pair && pair->type == HEARTH_GGUF_ARRAY && pair->count > 0 &&
        (pair->element_type == HEARTH_GGUF_U32 || pair->element_type == HEARTH_GGUF_I32))
        value = hearth_gguf_u32_at(pair, 0);
    else
        HEARTH_TRY(hearth_gguf_get_u64(gguf, name, &value, &found, err));
    if (value > UINT32_MAX)
        return reject(gguf, HEARTH_E_FORMAT, "E_RANGE", "a count is beyond 32 bits",
                      (struct hearth_view){(uint8_t *)name, strlen(name)}, err);
    *out = (uint32_t)value;
    return HEARTH_OK;
}

static bool is_text(struct hearth_view view, const char *text)
{
    return view.size == strlen(text) && memcmp(view.bytes, text, view.size) == 0;
}

static hearth_status check_kind(const struct hearth_gguf *gguf, struct hearth_view *architecture, hearth_error *err)
{
    struct hearth_view type = {(const uint8_t *)"model", 5};
    bool found;
    HEARTH_TRY(hearth_gguf_get_string(gguf, "general.type", &type, &found, err));
    if (!is_text(type, "model"))
        return reject(gguf, HEARTH_E_UNSUPPORTED, NULL, "general.type: is no model", type, err);
    HEARTH_TRY(hearth_gguf_get_string(gguf, "general.architecture", architecture, &found, err));
    if (!found || architecture->size > 64)
        return reject(gguf, HEARTH_E_FORMAT, "E_ARCH", "general.architecture: is missing or too long", *architecture, err);
    return HEARTH_OK;
}

static hearth_status read_model(struct hearth_recipe_model *out, const struct hearth_gguf *gguf, bool importance, hearth_error *err)
{
    struct hearth_view architecture = {0};
    *out = (struct hearth_recipe_model){.importance = importance, .tied = !hearth_gguf_find_tensor(gguf, "output.weight")};
    HEARTH_TRY(check_kind(gguf, &architecture, err));
    HEARTH_TRY(read_count(&out->n_layer, gguf, architecture, "block_count", err));
    HEARTH_TRY(read_count(&out->n_head, gguf, architecture, "attention.head_count", err));
    out->n_head_kv = out->n_head;
    HEARTH_TRY(read_count(&out->n_head_kv, gguf, architecture, "attention.head_count_kv", err));
    HEARTH_TRY(read_count(&out->n_expert, gguf, architecture, "expert_count", err));
    out->large_grouped =
        out->n_layer == 80 && ((is_text(architecture, "llama") && out->n_head != out->n_head_kv) || is_text(architecture, "qwen2"));
    return HEARTH_OK;
}

/* ---- Layers ------------------------------------------------------------------------------------------------------------ */

/* The number N of a name "blk.N.…"; -1 for others. */
static int64_t layer_of(struct hearth_view name)
{
    int64_t layer = 0;
    uint64_t i = 4;
    if (name.size < 6 || memcmp(name.bytes, "blk.", 4) != 0)
        return -1;
    for (; i < name.size && i < 13 && name.bytes[i] >= '0' && name.bytes[i] <= '9'; i++)
        layer = 10 * layer + (name.bytes[i] - '0');
    return i > 4 && i < name.size && name.bytes[i] == '.' ? layer : -1;
}

/* The order in which recipes count: what belongs to no layer first, then layer by layer, names in the order of their bytes. */
static int compare_canonical(const void *a, const void *b)
{
    const struct hearth_view x = (*(struct hearth_scheme_tensor *const *)a)->in->name;
    const struct hearth_view y = (*(struct hearth_scheme_tensor *const *)b)->in->name;
    const int64_t p = layer_of(x), q = layer_of(y);
    if (p != q)
        return p < q ? -1 : 1;
    const int order = memcmp(x.bytes, y.bytes, (size_t)(x.size < y.size ? x.size : y.size));
    return order ? order : (x.size > y.size) - (x.size < y.size);
}

/* Values and down projections get their numbers; with experts, whose layers may have several, a down projection that of its layer.
 */
static hearth_status count_layers(struct hearth_scheme *s, struct hearth_recipe_model *model, hearth_error *err)
{
    struct hearth_scheme_tensor **sorted = malloc((s->n_tensors + 1) * sizeof *sorted);
    uint32_t n_down = 0;
    if (!sorted)
        return hearth_fail(err, HEARTH_E_MEMORY, NULL, "quantize: no memory for the order of %" PRIu64 " tensors", s->n_tensors);
    for (uint64_t i = 0; i < s->n_tensors; i++)
        sorted[i] = &s->tensors[i];
    qsort(sorted, (size_t)s->n_tensors, sizeof(struct hearth_scheme_tensor *), compare_canonical);
    for (uint64_t i = 0; i < s->n_tensors; i++) {
        struct hearth_scheme_tensor *t = sorted[i];
        const int64_t layer = layer_of(t->in->name);
        if (t->class == HEARTH_CLASS_VALUE)
            t->index = model->n_value++;
        else if (t->class == HEARTH_CLASS_DOWN)
            t->index = model->n_expert == 0 ? n_down++ : layer < 0 ? 0 : (uint32_t)layer;
    }
    free(sorted);
    return HEARTH_OK;
}

/* ---- Formats ----------------------------------------------------------------------------------------------------------- */

static bool is_float(uint32_t format)
{
    return format == HEARTH_F32 || format == HEARTH_F16 || format == HEARTH_BF16;
}

static hearth_status choose_format(struct hearth_scheme *s, struct hearth_scheme_tensor *t, const struct hearth_gguf *gguf,
                                   const struct hearth_recipe *recipe, const struct hearth_recipe_model *model, bool pure,
                                   hearth_error *err)
{
    const struct hearth_gguf_tensor *in = t->in;
    t->format = in->format;
    t->bytes = in->bytes;
    if (t->class == HEARTH_CLASS_FIXED)
        return HEARTH_OK;
    if (!is_float(in->format)) {
        if (hearth_format_info(in->format)->block_elems == 1)
            return HEARTH_OK; /* integers are no weights */
        return reject(gguf, HEARTH_E_UNSUPPORTED, "E_QUANTIZED",
                      "is quantized already, and twice would lose more than once; begin with F32, F16 or BF16", in->name, err);
    }
    const enum hearth_format wanted = pure ? hearth_recipe_base(recipe) : hearth_recipe_choose(recipe, model, t->class, t->index);
    const uint64_t rows = in->ne[1] * in->ne[2] * in->ne[3]; /* checked by the parser, as are the bytes: 4 at most for an element */
    t->format = hearth_recipe_fallback(wanted, in->ne[0]);
    t->bytes = rows * hearth_row_bytes(t->format, in->ne[0]);
    s->n_fallbacks += t->format != wanted;
    if (hearth_scheme_encodes(t)) {
        s->n_encoded++;
        s->elements += rows * in->ne[0];
    }
    return HEARTH_OK;
}

static hearth_status choose_formats(struct hearth_scheme *s, const struct hearth_gguf *gguf, const struct hearth_recipe *recipe,
                                    bool pure, bool importance, hearth_error *err)
{
    struct hearth_recipe_model model;
    HEARTH_TRY(read_model(&model, gguf, importance, err));
    s->tensors = calloc(gguf->n_tensors + 1, sizeof *s->tensors); /* at most as many as bytes in the file */
    if (!s->tensors)
        return hearth_fail(err, HEARTH_E_MEMORY, NULL, "quantize: no memory for a list of %" PRIu64 " tensors", gguf->n_tensors);
    s->n_tensors = gguf->n_tensors;
    for (uint64_t i = 0; i < s->n_tensors; i++) {
        s->tensors[i].in = &gguf->tensors[i];
        s->tensors[i].class = hearth_recipe_class(gguf->tensors[i].name, gguf->tensors[i].n_dims);
    }
    HEARTH_TRY(count_layers(s, &model, err));
    for (uint64_t i = 0; i < s->n_tensors; i++)
        HEARTH_TRY(choose_format(s, &s->tensors[i], gguf, recipe, &model, pure, err));
    return HEARTH_OK;
}

/* ---- Importance -------------------------------------------------------------------------------------------------------- */

/* Of the table of embeddings, whose rows are looked up and meet no activations, another size is passed over. */
static bool find_importance(const struct hearth_imatrix *imatrix, const struct hearth_scheme_tensor *t,
                            struct hearth_imatrix_entry *entry)
{
    return hearth_scheme_encodes(t) && hearth_imatrix_find(imatrix, t->in->name, entry) &&
           (t->class != HEARTH_CLASS_EMBEDDING || entry->n == t->in->ne[0] * t->in->ne[2]);
}

static hearth_status read_importance(struct hearth_scheme *s, const struct hearth_imatrix *imatrix, hearth_error *err)
{
    struct hearth_imatrix_entry entry;
    uint64_t n = 0;
    for (uint64_t i = 0; i < s->n_tensors; i++)
        if (find_importance(imatrix, &s->tensors[i], &entry))
            n += entry.n; /* each entry's numbers lie in the file: no overflow */
    s->importance = malloc(n * sizeof *s->importance + 1);
    if (!s->importance)
        return hearth_fail_needed(err, HEARTH_E_MEMORY, n * sizeof *s->importance, 0,
                                  "quantize: no memory for the importance matrix");
    float *at = s->importance;
    for (uint64_t i = 0; i < s->n_tensors; i++) {
        struct hearth_scheme_tensor *t = &s->tensors[i];
        if (!find_importance(imatrix, t, &entry))
            continue;
        HEARTH_TRY(hearth_imatrix_read(imatrix, &entry, t->in->name, t->in->ne[0], t->in->ne[2], at, err));
        t->importance = at;
        at += entry.n;
        s->n_weighed++;
    }
    return HEARTH_OK;
}

/* ---- The header -------------------------------------------------------------------------------------------------------- */

static bool begins_with(struct hearth_view view, const char *text)
{
    return view.size >= strlen(text) && memcmp(view.bytes, text, strlen(text)) == 0;
}

/* Keys that the new file has from us, or no longer. */
static bool is_replaced(struct hearth_view key)
{
    return is_text(key, "general.alignment") || is_text(key, "general.quantization_version") || is_text(key, "general.file_type") ||
           begins_with(key, "split.") || begins_with(key, "quantize.imatrix.");
}

static void write_view(struct hearth_gguf_writer *w, const char *key, struct hearth_view value)
{
    hearth_gguf_write_pair(w,
                           &(struct hearth_gguf_pair){
                               .key = {(const uint8_t *)key, strlen(key)}, .type = HEARTH_GGUF_STRING, .count = 1, .value = value});
}

static void write_imatrix_keys(struct hearth_gguf_writer *w, const struct hearth_imatrix *m)
{
    const char *slash = strrchr(m->path, '/');
    hearth_gguf_write_string(w, "quantize.imatrix.file", slash ? slash + 1 : m->path);
    if (m->dataset.size > 0)
        write_view(w, "quantize.imatrix.dataset", m->dataset);
    hearth_gguf_write_u32(w, "quantize.imatrix.entries_count", (uint32_t)m->n_entries); /* both parsers allow fewer */
    if (m->n_chunks <= UINT32_MAX)
        hearth_gguf_write_u32(w, "quantize.imatrix.chunks_count", (uint32_t)m->n_chunks);
}

static hearth_status write_header(struct hearth_scheme *s, const struct hearth_gguf *gguf, const struct hearth_recipe *recipe,
                                  const struct hearth_imatrix *imatrix, hearth_error *err)
{
    struct hearth_gguf_writer w;
    hearth_gguf_writer_init(&w, (uint32_t)gguf->alignment);
    for (uint64_t i = 0; i < gguf->n_pairs; i++)
        if (!is_replaced(gguf->pairs[i].key))
            hearth_gguf_write_pair(&w, &gguf->pairs[i]);
    hearth_gguf_write_u32(&w, "general.quantization_version", 2);
    hearth_gguf_write_u32(&w, "general.file_type", hearth_recipe_file_type(recipe));
    if (imatrix)
        write_imatrix_keys(&w, imatrix);
    for (uint64_t i = 0; i < s->n_tensors; i++) {
        struct hearth_scheme_tensor *t = &s->tensors[i];
        char name[256];
        (void)snprintf(name, sizeof name, "%.*s", (int)t->in->name.size, (const char *)t->in->name.bytes); /* 64 at most, no NUL */
        t->offset = hearth_gguf_write_tensor(&w, name, t->format, t->in->n_dims, t->in->ne);
    }
    const uint64_t data_bytes = w.data_size;
    const hearth_status status = hearth_gguf_writer_finish(&w, &s->header, &s->header_bytes, err);
    hearth_gguf_writer_free(&w);
    HEARTH_TRY(status);
    for (uint64_t i = 0; i < s->n_tensors; i++)
        s->tensors[i].offset += s->header_bytes;
    s->file_bytes = s->header_bytes + data_bytes;
    return HEARTH_OK;
}

hearth_status hearth_scheme_make(struct hearth_scheme *out, const struct hearth_gguf *gguf, const struct hearth_recipe *recipe,
                                 bool pure, const struct hearth_imatrix *imatrix, hearth_error *err)
{
    *out = (struct hearth_scheme){0};
    HEARTH_TRY(choose_formats(out, gguf, recipe, pure, imatrix != NULL, err));
    if (imatrix)
        HEARTH_TRY(read_importance(out, imatrix, err));
    return write_header(out, gguf, recipe, imatrix, err);
}

void hearth_scheme_free(struct hearth_scheme *s)
{
    free(s->tensors);
    free(s->importance);
    free(s->header);
    *s = (struct hearth_scheme){0};
}
