/* Whole files: the data of the golden ones byte by byte, whatever the number of workers; mixtures, experts, importance; and what is
 * refused. Our files keep the order of the tensors they were made from, so tensors are compared by name. */
#include "gguf_builder.h"
#include "golden.h"
#include "quantize.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

struct image {
    uint8_t *bytes;
    size_t size;
    struct hearth_gguf gguf;
};

static hearth_engine *open_engine(uint32_t threads)
{
    hearth_engine *engine;
    hearth_error err = {0};
    const hearth_engine_options options = {.struct_size = sizeof options, .threads = threads};
    cr_assert_eq(hearth_engine_open(&engine, &options, &err), HEARTH_OK, "%s", err.message);
    return engine;
}

static void parse(struct image *out, const char *name)
{
    hearth_error err = {0};
    cr_assert_eq(hearth_gguf_parse(&out->gguf, out->bytes, out->size, out->size, name, &err), HEARTH_OK, "%s", err.message);
}

static void read_descriptor(struct image *out, int fd, const char *name)
{
    const off_t size = lseek(fd, 0, SEEK_END);
    *out = (struct image){.bytes = malloc((size_t)size + 1), .size = (size_t)size};
    cr_assert_eq(pread(fd, out->bytes, out->size, 0), size);
    parse(out, name);
}

static void read_image(struct image *out, const char *path)
{
    FILE *file = fopen(path, "rb");
    cr_assert(file, "%s", path);
    read_descriptor(out, fileno(file), path);
    (void)fclose(file);
}

static void free_image(struct image *image)
{
    hearth_gguf_free(&image->gguf);
    free(image->bytes);
}

/* Quantize a file; the result is parsed when the status is HEARTH_OK. `scheme` (may be NULL) gets the counts. */
static hearth_status quantize(struct image *out, const char *input, const char *recipe, bool pure, const char *imatrix,
                              uint32_t threads, struct hearth_scheme *scheme, hearth_error *err)
{
    struct hearth_quantize q;
    hearth_engine *engine = open_engine(threads);
    FILE *file = tmpfile();
    const struct hearth_quantize_options options = {input, imatrix, hearth_recipe_find(recipe), pure};
    cr_assert(file && options.recipe);
    hearth_status status = hearth_quantize_open(&q, engine, &options, err);
    if (status == HEARTH_OK)
        status = hearth_quantize_write(&q, fileno(file), "out.gguf", NULL, NULL, err);
    if (status == HEARTH_OK) {
        read_descriptor(out, fileno(file), "out.gguf");
        cr_expect_eq(out->size, q.scheme.file_bytes);
    }
    if (scheme)
        *scheme = q.scheme;
    hearth_quantize_close(&q);
    hearth_engine_close(engine);
    (void)fclose(file);
    return status;
}

static void quantize_well(struct image *out, const char *input, const char *recipe, bool pure, const char *imatrix,
                          uint32_t threads)
{
    hearth_error err = {0};
    cr_assert_eq(quantize(out, input, recipe, pure, imatrix, threads, NULL, &err), HEARTH_OK, "%s %s: %s", input, recipe,
                 err.message);
}

/* Tensors of b that a has not, or in another format; or, with data, with other bytes. */
static size_t count_different(const struct image *a, const struct image *b, bool data)
{
    size_t n = 0;
    for (uint64_t i = 0; i < b->gguf.n_tensors; i++) {
        char name[256];
        const struct hearth_gguf_tensor *y = &b->gguf.tensors[i];
        (void)snprintf(name, sizeof name, "%.*s", (int)y->name.size, (const char *)y->name.bytes);
        const struct hearth_gguf_tensor *x = hearth_gguf_find_tensor(&a->gguf, name);
        n += !x || x->format != y->format || memcmp(x->ne, y->ne, sizeof x->ne) != 0 ||
             (data && memcmp(a->bytes + x->file_offset, b->bytes + y->file_offset, (size_t)y->bytes) != 0);
    }
    return n + (a->gguf.n_tensors != b->gguf.n_tensors);
}

/* ---- Golden files ------------------------------------------------------------------------------------------------------- */

Test(quantize, golden_files)
{
    static const struct {
        const char *model, *recipe;
        bool pure;
    } rows[] = {
        {"llama", "Q4_0", true},    {"llama", "Q4_1", true},   {"llama", "Q5_0", true},   {"llama", "Q5_1", true},
        {"llama", "Q8_0", true},    {"llama", "Q4_K", true},   {"llama", "Q5_K", true},   {"llama", "Q6_K", true},
        {"llama", "F16", true},     {"llama", "BF16", true},   {"llama", "Q6_K", false},  {"llama", "Q4_K_M", false},
        {"llama", "Q5_K_M", false}, {"phi2", "Q4_K_M", false}, {"phi2", "Q5_K_M", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char name[128], source[GOLDEN_PATH], wanted[GOLDEN_PATH];
        struct image golden;
        (void)snprintf(name, sizeof name, "ref/%s.gguf", rows[i].model);
        if (!golden_shared(source, name))
            cr_skip_test("SKIPPED: no HEARTH_SHARED");
        (void)snprintf(name, sizeof name, "ref/%s-%s.gguf", rows[i].model, rows[i].recipe);
        (void)golden_shared(wanted, name);
        read_image(&golden, wanted);
        for (uint32_t threads = 1; threads <= 3; threads++) {
            struct image made;
            quantize_well(&made, source, rows[i].recipe, rows[i].pure, NULL, threads);
            cr_expect_eq(count_different(&made, &golden, true), 0, "%s, %u threads: %zu of %llu tensors differ", name, threads,
                         count_different(&made, &golden, true), (unsigned long long)golden.gguf.n_tensors);
            free_image(&made);
        }
        free_image(&golden);
    }
}

/* The mixtures of six layers; their data come from a source of more bits than the one here. */
Test(quantize, golden_formats)
{
    static const char *const recipes[] = {"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K"};
    for (size_t i = 0; i < sizeof recipes / sizeof recipes[0]; i++) {
        char name[128], source[GOLDEN_PATH], wanted[GOLDEN_PATH];
        struct image golden, made;
        if (!golden_shared(source, "models/hearth-home.F16.gguf"))
            cr_skip_test("SKIPPED: no HEARTH_SHARED");
        (void)snprintf(name, sizeof name, "models/hearth-home.%s.gguf", recipes[i]);
        (void)golden_shared(wanted, name);
        read_image(&golden, wanted);
        quantize_well(&made, source, recipes[i], false, NULL, 2);
        cr_expect_eq(count_different(&made, &golden, false), 0, "%s", recipes[i]);
        cr_expect_eq(made.size, golden.size, "%s", recipes[i]);
        free_image(&made);
        free_image(&golden);
    }
}

/* ---- Made files ---------------------------------------------------------------------------------------------------------- */

static void set_matrix(struct gguf_builder *b, const char *name, uint64_t k, uint64_t rows, uint64_t matrices)
{
    const uint64_t ne[] = {k, rows, matrices};
    gguf_builder_set_tensor(b, name, HEARTH_F32, matrices ? 3 : 2, ne);
}

/* Layers of a model with and without experts, of rows that take no super-blocks in places. */
static void build(struct gguf_builder *b, uint32_t n_layer, uint32_t n_expert)
{
    const uint64_t width = 256, vector[] = {256};
    gguf_builder_init(b);
    gguf_builder_set_string(b, "general.architecture", "llama");
    gguf_builder_set_u32(b, "llama.block_count", n_layer);
    gguf_builder_set_u32(b, "llama.attention.head_count", 4);
    gguf_builder_set_u32(b, "general.file_type", 0);
    if (n_expert)
        gguf_builder_set_u32(b, "llama.expert_count", n_expert);
    set_matrix(b, "token_embd.weight", width, 5, 0);
    for (uint32_t i = n_layer; i-- > 0;) { /* backwards: the order of the file is not that of the layers */
        char name[80];
#define NAME(rest) ((void)snprintf(name, sizeof name, "blk.%u." rest ".weight", i), name)
        gguf_builder_set_tensor(b, NAME("attn_norm"), HEARTH_F32, 1, vector);
        set_matrix(b, NAME("attn_q"), width, 4, 0);
        set_matrix(b, NAME("attn_k"), width, 4, 0);
        set_matrix(b, NAME("attn_v"), width, 4, 0);
        set_matrix(b, NAME("attn_output"), width, 4, 0);
        if (n_expert)
            set_matrix(b, NAME("ffn_gate_inp"), width, n_expert, 0);
        set_matrix(b, n_expert ? NAME("ffn_up_exps") : NAME("ffn_up"), width, 3, n_expert);
        set_matrix(b, n_expert ? NAME("ffn_down_exps") : NAME("ffn_down"), 96, 3, n_expert);
        set_matrix(b, NAME("ffn_gate"), 40, 3, 0);
#undef NAME
    }
}

static char *write_model(struct gguf_builder *b)
{
    static char path[] = "/tmp/hearth-test-XXXXXX";
    (void)snprintf(path, sizeof path, "/tmp/hearth-test-XXXXXX");
    const int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    (void)close(fd);
    gguf_builder_write_file(b, path);
    gguf_builder_free(b);
    return path;
}

static uint32_t format_of(const struct image *image, const char *name)
{
    const struct hearth_gguf_tensor *t = hearth_gguf_find_tensor(&image->gguf, name);
    cr_assert(t, "%s", name);
    return t->format;
}

Test(quantize, mixture_of_sixteen_layers)
{
    struct gguf_builder b;
    struct image made;
    build(&b, 16, 0);
    char *path = write_model(&b);
    quantize_well(&made, path, "Q4_K_M", false, NULL, 2);
    for (uint32_t i = 0; i < 16; i++) {
        char name[80];
        const bool more = i < 2 || i >= 14 || (i - 2) % 3 == 2;
        (void)snprintf(name, sizeof name, "blk.%u.attn_v.weight", i);
        cr_expect_eq(format_of(&made, name), more ? HEARTH_Q6_K : HEARTH_Q4_K, "%s", name);
        (void)snprintf(name, sizeof name, "blk.%u.ffn_down.weight", i); /* 96 is three blocks of 32 */
        cr_expect_eq(format_of(&made, name), more ? HEARTH_Q8_0 : HEARTH_Q5_0, "%s", name);
        (void)snprintf(name, sizeof name, "blk.%u.ffn_gate.weight", i); /* and 40 none */
        cr_expect_eq(format_of(&made, name), HEARTH_F16, "%s", name);
    }
    cr_expect_eq(format_of(&made, "token_embd.weight"), HEARTH_Q6_K, "no output: the embeddings are it");
    cr_expect_eq(format_of(&made, "blk.3.attn_norm.weight"), HEARTH_F32);
    cr_expect_eq(hearth_gguf_u32_at(hearth_gguf_find(&made.gguf, "general.file_type"), 0), 15);
    cr_expect_eq(hearth_gguf_u32_at(hearth_gguf_find(&made.gguf, "general.quantization_version"), 0), 2);
    free_image(&made);
    (void)unlink(path);
}

Test(quantize, eight_experts)
{
    struct gguf_builder b;
    struct image made;
    build(&b, 16, 8);
    char *path = write_model(&b);
    quantize_well(&made, path, "Q4_K_S", false, NULL, 2);
    cr_expect_eq(format_of(&made, "blk.9.attn_v.weight"), HEARTH_Q8_0);
    cr_expect_eq(format_of(&made, "blk.9.attn_k.weight"), HEARTH_Q8_0);
    cr_expect_eq(format_of(&made, "blk.9.attn_q.weight"), HEARTH_Q4_K);
    cr_expect_eq(format_of(&made, "blk.9.attn_output.weight"), HEARTH_Q5_K);
    cr_expect_eq(format_of(&made, "blk.9.ffn_up_exps.weight"), HEARTH_Q4_K);
    cr_expect_eq(format_of(&made, "blk.1.ffn_down_exps.weight"), HEARTH_Q5_1);
    cr_expect_eq(format_of(&made, "blk.2.ffn_down_exps.weight"), HEARTH_Q5_0);
    cr_expect_eq(format_of(&made, "blk.9.ffn_gate_inp.weight"), HEARTH_F32);
    const struct hearth_gguf_tensor *t = hearth_gguf_find_tensor(&made.gguf, "blk.9.ffn_up_exps.weight");
    cr_expect_eq(t->n_dims, 3);
    cr_expect_eq(t->ne[2], 8);
    free_image(&made);
    (void)unlink(path);
}

/* ---- Importance ---------------------------------------------------------------------------------------------------------- */

static void append_i32(FILE *f, int32_t value)
{
    (void)fwrite(&value, sizeof value, 1, f);
}

/* The older form: one entry for blk.0.ffn_up_exps.weight, n values of which the i'th is calls * (1 + i % 5). */
static void write_older(const char *path, int32_t n, int32_t calls)
{
    static const char name[] = "blk.0.ffn_up_exps.weight";
    FILE *f = fopen(path, "wb");
    append_i32(f, 1);
    append_i32(f, sizeof name - 1);
    (void)fwrite(name, 1, sizeof name - 1, f);
    append_i32(f, calls);
    append_i32(f, n);
    for (int32_t i = 0; i < n; i++) {
        const float value = (float)calls * (float)(1 + i % 5);
        (void)fwrite(&value, sizeof value, 1, f);
    }
    append_i32(f, 12);
    append_i32(f, 4);
    (void)fputs("text", f);
    (void)fclose(f);
}

static void fill(uint8_t *file, size_t size, const char *name, uint64_t n, float factor)
{
    struct hearth_gguf gguf;
    hearth_error err;
    cr_assert_eq(hearth_gguf_parse(&gguf, file, size, size, "im", &err), HEARTH_OK);
    const struct hearth_gguf_tensor *t = hearth_gguf_find_tensor(&gguf, name);
    for (uint64_t i = 0; i < n; i++) {
        const float value = n > 8 ? factor * (float)(1 + i % 5) : factor;
        memcpy(file + t->file_offset + 4 * i, &value, sizeof value);
    }
    hearth_gguf_free(&gguf);
}

/* The same in GGUF. */
static void write_gguf_imatrix(const char *path, uint64_t columns, uint64_t matrices, float count)
{
    struct gguf_builder b;
    size_t size;
    gguf_builder_init(&b);
    gguf_builder_set_string(&b, "general.type", "imatrix");
    gguf_builder_set_strings(&b, "imatrix.datasets", (const char *const[]){"text"}, 1);
    gguf_builder_set_u32(&b, "imatrix.chunk_count", 12);
    gguf_builder_set_tensor(&b, "blk.0.ffn_up_exps.weight.in_sum2", HEARTH_F32, 2, (const uint64_t[]){columns, matrices});
    gguf_builder_set_tensor(&b, "blk.0.ffn_up_exps.weight.counts", HEARTH_F32, 2, (const uint64_t[]){1, matrices});
    uint8_t *file = gguf_builder_finish(&b, &size);
    fill(file, size, "blk.0.ffn_up_exps.weight.in_sum2", columns * matrices, count);
    fill(file, size, "blk.0.ffn_up_exps.weight.counts", matrices, count);
    FILE *f = fopen(path, "wb");
    (void)fwrite(file, 1, size, f);
    (void)fclose(f);
    free(file);
    gguf_builder_free(&b);
}

Test(quantize, importance)
{
    struct gguf_builder b;
    struct image plain, older, gguf;
    struct hearth_scheme scheme;
    hearth_error err = {0};
    char imatrix[128];
    build(&b, 1, 4);
    char *path = write_model(&b);
    (void)snprintf(imatrix, sizeof imatrix, "%s.imatrix", path);
    quantize_well(&plain, path, "Q4_K_S", false, NULL, 1);
    write_older(imatrix, 256 * 4, 4);
    cr_assert_eq(quantize(&older, path, "Q4_K_S", false, imatrix, 2, &scheme, &err), HEARTH_OK, "%s", err.message);
    cr_expect_eq(scheme.n_weighed, 1);
    write_gguf_imatrix(imatrix, 256, 4, 4.0f);
    quantize_well(&gguf, path, "Q4_K_S", false, imatrix, 3);
    cr_expect_eq(count_different(&older, &plain, true), 1, "only the one tensor with an entry changes");
    cr_expect_eq(count_different(&older, &gguf, true), 0, "both forms say the same");
    const struct hearth_gguf_pair *dataset = hearth_gguf_find(&gguf.gguf, "quantize.imatrix.dataset");
    cr_expect(dataset && dataset->value.size == 4 && memcmp(dataset->value.bytes, "text", 4) == 0);
    cr_expect_eq(hearth_gguf_u32_at(hearth_gguf_find(&older.gguf, "quantize.imatrix.chunks_count"), 0), 12);
    free_image(&plain);
    free_image(&older);
    free_image(&gguf);
    (void)unlink(imatrix);
    (void)unlink(path);
}

/* An importance matrix with one defect. */
static void expect_imatrix(const char *model, const char *imatrix, hearth_status status, const char *detail)
{
    struct image made;
    hearth_error err = {0};
    const hearth_status got = quantize(&made, model, "Q4_K_S", false, imatrix, 1, NULL, &err);
    cr_expect_eq(got, status, "%s: %d %s", detail, got, err.message);
    cr_expect_str_eq(err.detail, detail, "%s", err.message);
    if (got == HEARTH_OK)
        free_image(&made);
}

Test(quantize, damaged_importance)
{
    struct gguf_builder b;
    char imatrix[128];
    build(&b, 1, 4);
    char *path = write_model(&b);
    (void)snprintf(imatrix, sizeof imatrix, "%s.imatrix", path);
    write_older(imatrix, 256, 4);
    expect_imatrix(path, imatrix, HEARTH_E_FORMAT, "E_SHAPE");
    write_gguf_imatrix(imatrix, 128, 4, 4.0f);
    expect_imatrix(path, imatrix, HEARTH_E_FORMAT, "E_SHAPE");
    write_gguf_imatrix(imatrix, 1024, 1, 4.0f);
    expect_imatrix(path, imatrix, HEARTH_E_FORMAT, "E_SHAPE");
    write_gguf_imatrix(imatrix, 256, 4, -1.0f);
    expect_imatrix(path, imatrix, HEARTH_E_FORMAT, "E_NUM");
    write_gguf_imatrix(imatrix, 256, 4, NAN);
    expect_imatrix(path, imatrix, HEARTH_E_FORMAT, "E_NUM");
    expect_imatrix(path, path, HEARTH_E_UNSUPPORTED, "E_UNSUPPORTED");
    write_older(imatrix, 256 * 4, 4);
    for (off_t size = 256 * 4 * 4 + 35; size >= 0; size -= size > 40 ? 97 : 1) { /* the values end at 4136 */
        cr_assert_eq(truncate(imatrix, size), 0);
        struct image made;
        hearth_error err = {0};
        cr_expect_eq(quantize(&made, path, "Q4_K_S", false, imatrix, 1, NULL, &err), HEARTH_E_FORMAT, "%lld: %s", (long long)size,
                     err.message);
    }
    (void)unlink(imatrix);
    (void)unlink(path);
}

/* ---- Refusals ------------------------------------------------------------------------------------------------------------ */

static void expect_refusal(struct gguf_builder *b, hearth_status status, const char *detail)
{
    struct image made;
    hearth_error err = {0};
    char *path = write_model(b);
    cr_expect_eq(quantize(&made, path, "Q8_0", false, NULL, 2, NULL, &err), status, "%s: %s", detail, err.message);
    cr_expect_str_eq(err.detail, detail, "%s", err.message);
    (void)unlink(path);
}

Test(quantize, refusals)
{
    struct gguf_builder b;
    const uint64_t ne[] = {256, 4};
    build(&b, 1, 0);
    gguf_builder_set_tensor(&b, "blk.0.attn_q.weight", HEARTH_Q8_0, 2, ne);
    expect_refusal(&b, HEARTH_E_UNSUPPORTED, "E_QUANTIZED");
    build(&b, 1, 0);
    gguf_builder_set_string(&b, "general.type", "adapter");
    expect_refusal(&b, HEARTH_E_UNSUPPORTED, "E_UNSUPPORTED");
    build(&b, 1, 0);
    gguf_builder_drop(&b, "general.architecture");
    expect_refusal(&b, HEARTH_E_FORMAT, "E_ARCH");
}

/* A model in parts gives the same file as the whole one. */
Test(quantize, split_models)
{
    enum { N_PARTS = 2 };
    struct gguf_builder b;
    struct image whole, joined;
    char parts[N_PARTS][160];
    build(&b, 2, 0);
    char *path = write_model(&b);
    for (uint16_t i = 0; i < N_PARTS; i++) {
        (void)snprintf(parts[i], sizeof parts[i], "%s-%05d-of-%05d.gguf", path, i + 1, N_PARTS);
        build(&b, 2, 0);
        gguf_builder_make_part(&b, i, N_PARTS);
        gguf_builder_write_file(&b, parts[i]);
        gguf_builder_free(&b);
    }
    quantize_well(&whole, path, "Q4_K_M", false, NULL, 2);
    quantize_well(&joined, parts[0], "Q4_K_M", false, NULL, 2);
    cr_expect_eq(joined.size, whole.size);
    cr_expect_eq(count_different(&whole, &joined, true), 0);
    cr_expect_eq(joined.gguf.n_pairs, whole.gguf.n_pairs);
    free_image(&whole);
    free_image(&joined);
    for (size_t i = 0; i < N_PARTS; i++)
        (void)unlink(parts[i]);
    (void)unlink(path);
}

/* The first bad row is told, whoever found it. */
Test(quantize, weights_that_are_not_finite)
{
    struct gguf_builder b;
    char first[sizeof((hearth_error){0}).message] = "";
    build(&b, 1, 0);
    gguf_builder_set_tensor(&b, "blk.0.attn_q.weight", HEARTH_F32, 2, (const uint64_t[]){256, 4000});
    size_t size;
    uint8_t *file = gguf_builder_finish(&b, &size);
    char *path = write_model(&b);
    struct image image = {.bytes = file, .size = size};
    parse(&image, "model");
    const uint64_t at = hearth_gguf_find_tensor(&image.gguf, "blk.0.attn_q.weight")->file_offset;
    for (uint64_t row = 1234; row < 4000; row++)
        memcpy(file + at + row * 1024, &(float){row % 2 ? INFINITY : NAN}, 4);
    FILE *f = fopen(path, "wb");
    (void)fwrite(file, 1, size, f);
    (void)fclose(f);
    for (uint32_t threads = 1; threads <= 4; threads++) {
        struct image made;
        hearth_error err = {0};
        cr_expect_eq(quantize(&made, path, "Q4_0", false, NULL, threads, NULL, &err), HEARTH_E_FORMAT);
        cr_expect_str_eq(err.detail, "E_NUM");
        cr_expect(strstr(err.message, "row 1234 "), "%s", err.message);
        cr_expect(threads == 1 || strcmp(first, err.message) == 0);
        (void)snprintf(first, sizeof first, "%s", err.message);
    }
    free_image(&image);
    (void)unlink(path);
}
