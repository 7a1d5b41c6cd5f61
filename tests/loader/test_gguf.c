/* The GGUF reader and writer: the worked example of the format's specification, every way of cutting and flipping it, getters,
 * placement, and time. The catalogue of malformed files is test_catalogue.c. */
#include "common/status.h"
#include "gguf_builder.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <time.h>

#define EXAMPLE_DATA 320       /* where the data section begins */
#define EXAMPLE_END 420        /* behind the last byte of the last tensor; what follows is padding */
#define EXAMPLE_HEADER_END 306 /* behind the directory */

/* clang-format off */
static const uint8_t example[448] = {
    0x47, 0x47, 0x55, 0x46, 0x03, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x04, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x67, 0x65, 0x6e, 0x65, 0x72, 0x61, 0x6c, 0x2e, 0x61, 0x72, 0x63, 0x68, 0x69, 0x74, 0x65, 0x63,
    0x74, 0x75, 0x72, 0x65, 0x08, 0x00, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x6c, 0x6c, 0x61, 0x6d, 0x61, 0x11, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x67, 0x65, 0x6e,
    0x65, 0x72, 0x61, 0x6c, 0x2e, 0x61, 0x6c, 0x69, 0x67, 0x6e, 0x6d, 0x65, 0x6e, 0x74, 0x04, 0x00,
    0x00, 0x00, 0x20, 0x00, 0x00, 0x00, 0x11, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x6c, 0x6c,
    0x61, 0x6d, 0x61, 0x2e, 0x62, 0x6c, 0x6f, 0x63, 0x6b, 0x5f, 0x63, 0x6f, 0x75, 0x6e, 0x74, 0x04,
    0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x15, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x74,
    0x6f, 0x6b, 0x65, 0x6e, 0x69, 0x7a, 0x65, 0x72, 0x2e, 0x67, 0x67, 0x6d, 0x6c, 0x2e, 0x74, 0x6f,
    0x6b, 0x65, 0x6e, 0x73, 0x09, 0x00, 0x00, 0x00, 0x08, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x61, 0x02, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x62, 0x63, 0x12, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x6f,
    0x75, 0x74, 0x70, 0x75, 0x74, 0x5f, 0x6e, 0x6f, 0x72, 0x6d, 0x2e, 0x77, 0x65, 0x69, 0x67, 0x68,
    0x74, 0x01, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x11, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x74, 0x6f, 0x6b, 0x65, 0x6e, 0x5f, 0x65, 0x6d, 0x62, 0x64, 0x2e, 0x77, 0x65, 0x69, 0x67,
    0x68, 0x74, 0x02, 0x00, 0x00, 0x00, 0x20, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x08, 0x00, 0x00, 0x00, 0x20, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x80, 0x3f, 0x00, 0x00, 0x00, 0x40, 0x00, 0x00, 0x00, 0x3f, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x3c, 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d,
    0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d,
    0x1e, 0x1f, 0x00, 0x38, 0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0xfa, 0xf9, 0xf8, 0xf7, 0xf6, 0xf5,
    0xf4, 0xf3, 0xf2, 0xf1, 0xf0, 0xef, 0xee, 0xed, 0xec, 0xeb, 0xea, 0xe9, 0xe8, 0xe7, 0xe6, 0xe5,
    0xe4, 0xe3, 0xe2, 0xe1, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
};
/* clang-format on */

static hearth_status parse(struct hearth_gguf *gguf, const uint8_t *bytes, size_t size, hearth_error *err)
{
    return hearth_gguf_parse(gguf, bytes, size, size, "test.gguf", err);
}

/* Parse a copy whose allocation ends where the file ends, so that a sanitizer sees a step beyond. */
static hearth_status parse_exact(const uint8_t *bytes, size_t size, hearth_error *err)
{
    struct hearth_gguf gguf;
    uint8_t *copy = malloc(size > 0 ? size : 1);
    memcpy(copy, bytes, size);
    const hearth_status status = parse(&gguf, copy, size, err);
    if (status != HEARTH_OK)
        cr_expect(gguf.memory == NULL && gguf.pairs == NULL, "something is kept after a failure");
    hearth_gguf_free(&gguf);
    free(copy);
    return status;
}

static bool view_is(struct hearth_view view, const char *text)
{
    return view.size == strlen(text) && memcmp(view.bytes, text, strlen(text)) == 0;
}

static double seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- The worked example ----------------------------------------------------------------------------------------------- */

Test(gguf, example_header_and_pairs)
{
    struct hearth_gguf gguf;
    cr_assert(parse(&gguf, example, sizeof example, NULL) == HEARTH_OK);
    cr_expect(gguf.version == 3 && gguf.alignment == 32 && gguf.data_start == EXAMPLE_DATA && gguf.file_size == sizeof example);
    cr_assert(gguf.n_pairs == 4 && gguf.n_tensors == 2);
    cr_expect(view_is(gguf.pairs[0].key, "general.architecture") && view_is(gguf.pairs[0].value, "llama"));
    cr_expect(hearth_gguf_find(&gguf, "llama.block_count") == &gguf.pairs[2]);
    cr_expect(hearth_gguf_find(&gguf, "llama.block_coun") == NULL && hearth_gguf_find(&gguf, "") == NULL);

    const struct hearth_gguf_pair *tokens;
    cr_assert(hearth_gguf_get_array(&gguf, "tokenizer.ggml.tokens", HEARTH_GGUF_STRING, &tokens, NULL) == HEARTH_OK);
    cr_assert(tokens == &gguf.pairs[3] && tokens->count == 2);
    uint64_t cursor = 0;
    cr_expect(view_is(hearth_gguf_next_string(tokens, &cursor), "a"));
    cr_expect(view_is(hearth_gguf_next_string(tokens, &cursor), "bc"));
    cr_expect(hearth_gguf_next_string(tokens, &cursor).size == 0 && cursor == tokens->value.size, "a walk ends at the end");
    hearth_gguf_free(&gguf);
    hearth_gguf_free(&gguf); /* twice is allowed */
}

Test(gguf, example_tensors)
{
    struct hearth_gguf gguf;
    cr_assert(parse(&gguf, example, sizeof example, NULL) == HEARTH_OK);
    const struct hearth_gguf_tensor *norm = hearth_gguf_find_tensor(&gguf, "output_norm.weight");
    const struct hearth_gguf_tensor *embd = hearth_gguf_find_tensor(&gguf, "token_embd.weight");
    cr_assert(norm == &gguf.tensors[0] && embd == &gguf.tensors[1]);
    cr_expect(norm->n_dims == 1 && norm->ne[0] == 3 && norm->ne[1] == 1 && norm->ne[2] == 1 && norm->ne[3] == 1);
    cr_expect(norm->format == HEARTH_F32 && norm->bytes == 12 && norm->file_offset == 320);
    cr_expect(embd->n_dims == 2 && embd->ne[0] == 32 && embd->ne[1] == 2);
    cr_expect(embd->format == HEARTH_Q8_0 && embd->bytes == 68 && embd->file_offset == 352);
    cr_expect(hearth_gguf_find_tensor(&gguf, "output.weight") == NULL);
    float values[3];
    memcpy(values, example + norm->file_offset, sizeof values);
    cr_expect(values[0] == 1.0f && values[1] == 2.0f && values[2] == 0.5f);
    hearth_gguf_free(&gguf);
}

static void write_example(struct hearth_gguf_writer *writer)
{
    const struct hearth_view tokens[] = {{(const uint8_t *)"a", 1}, {(const uint8_t *)"bc", 2}};
    hearth_gguf_writer_init(writer, 32);
    hearth_gguf_write_string(writer, "general.architecture", "llama");
    hearth_gguf_write_u32(writer, "general.alignment", 32);
    hearth_gguf_write_u32(writer, "llama.block_count", 1);
    hearth_gguf_write_strings(writer, "tokenizer.ggml.tokens", tokens, 2);
    cr_expect(hearth_gguf_write_tensor(writer, "output_norm.weight", HEARTH_F32, 1, (const uint64_t[]){3}) == 0);
    cr_expect(hearth_gguf_write_tensor(writer, "token_embd.weight", HEARTH_Q8_0, 2, (const uint64_t[]){32, 2}) == 32);
}

Test(gguf, example_written_byte_for_byte)
{
    struct hearth_gguf_writer writer;
    uint8_t *header;
    size_t size;
    write_example(&writer);
    cr_expect(writer.data_size == sizeof example - EXAMPLE_DATA);
    cr_assert(hearth_gguf_writer_finish(&writer, &header, &size, NULL) == HEARTH_OK);
    cr_assert(size == EXAMPLE_DATA);
    cr_expect(memcmp(header, example, size) == 0);
    free(header);
    hearth_gguf_writer_free(&writer);
}

Test(gguf, example_cut_at_every_length)
{
    for (size_t size = 0; size <= sizeof example; size++) {
        hearth_error err = {0};
        const hearth_status status = parse_exact(example, size, &err);
        cr_expect(status == (size < EXAMPLE_END ? HEARTH_E_FORMAT : HEARTH_OK), "cut to %zu bytes: %d %s", size, status,
                  err.message);
        cr_expect(size >= EXAMPLE_END || err.message[0] != '\0');
    }
}

/* The header alone in memory, the data elsewhere: extents are held against the size of the file. */
Test(gguf, header_before_its_file)
{
    struct hearth_gguf gguf;
    hearth_error err;
    for (uint64_t size = EXAMPLE_HEADER_END; size <= EXAMPLE_DATA; size++) {
        cr_expect(hearth_gguf_parse(&gguf, example, size, EXAMPLE_END, "test.gguf", NULL) == HEARTH_OK);
        hearth_gguf_free(&gguf);
    }
    cr_expect(hearth_gguf_parse(&gguf, example, EXAMPLE_HEADER_END - 1, EXAMPLE_END, "test.gguf", &err) == HEARTH_E_FORMAT);
    cr_expect_str_eq(err.detail, "E_TRUNC");
    cr_expect(hearth_gguf_parse(&gguf, example, EXAMPLE_DATA, EXAMPLE_END - 1, "test.gguf", &err) == HEARTH_E_FORMAT);
    cr_expect_str_eq(err.detail, "E_EXTENT");
}

/* Whatever a byte of the header becomes: an answer, no crash, and a message of one printable line. */
Test(gguf, example_every_byte_flipped)
{
    static const uint8_t flips[] = {0x00, 0xff, 0x80, 0x01};
    for (size_t at = 0; at < EXAMPLE_DATA; at++)
        for (size_t k = 0; k < sizeof flips; k++) {
            uint8_t copy[sizeof example];
            hearth_error err = {0};
            memcpy(copy, example, sizeof copy);
            copy[at] = k < 2 ? flips[k] : copy[at] ^ flips[k];
            const hearth_status status = parse_exact(copy, sizeof copy, &err);
            cr_expect(status == HEARTH_OK || status == HEARTH_E_FORMAT || status == HEARTH_E_UNSUPPORTED, "byte %zu", at);
            for (const char *c = err.message; *c; c++)
                cr_expect(*c >= 0x20 && *c < 0x7f, "byte %zu: unprintable message", at);
        }
}

/* ---- Getters ---------------------------------------------------------------------------------------------------------- */

static void make_values(struct gguf_builder *builder)
{
    gguf_builder_init(builder);
    gguf_builder_set(builder, "u8", HEARTH_GGUF_U8, &(uint8_t){200});
    gguf_builder_set(builder, "i8", HEARTH_GGUF_I8, &(int8_t){-2});
    gguf_builder_set(builder, "u16", HEARTH_GGUF_U16, &(uint16_t){60000});
    gguf_builder_set(builder, "i16", HEARTH_GGUF_I16, &(int16_t){30000});
    gguf_builder_set_u32(builder, "u32", 4000000000u);
    gguf_builder_set(builder, "i32", HEARTH_GGUF_I32, &(int32_t){-1});
    gguf_builder_set(builder, "u64", HEARTH_GGUF_U64, &(uint64_t){UINT64_MAX});
    gguf_builder_set(builder, "i64", HEARTH_GGUF_I64, &(int64_t){INT64_MAX});
    gguf_builder_set_f32(builder, "f32", 0.5f);
    gguf_builder_set(builder, "f64", HEARTH_GGUF_F64, &(double){0.1});
    gguf_builder_set_bool(builder, "yes", true);
    gguf_builder_set_bool(builder, "no", false);
    gguf_builder_set_string(builder, "text", "some text");
    gguf_builder_set_array(builder, "array", HEARTH_GGUF_F32, (const float[]){1, 2, -3}, 3);
}

static const struct {
    const char *key;
    bool is_integer, is_negative, is_real, is_bool, is_string;
    uint64_t integer;
} values[] = {
    {"u8", true, false, false, false, false, 200},          {"i8", true, true, false, false, false, 0},
    {"u16", true, false, false, false, false, 60000},       {"i16", true, false, false, false, false, 30000},
    {"u32", true, false, false, false, false, 4000000000u}, {"i32", true, true, false, false, false, 0},
    {"u64", true, false, false, false, false, UINT64_MAX},  {"i64", true, false, false, false, false, INT64_MAX},
    {"f32", false, false, true, false, false, 0},           {"f64", false, false, true, false, false, 0},
    {"yes", false, false, false, true, false, 0},           {"no", false, false, false, true, false, 0},
    {"text", false, false, false, false, true, 0},          {"array", false, false, false, false, false, 0},
};

Test(gguf, getters_take_their_types_only)
{
    struct gguf_builder builder;
    struct hearth_gguf gguf;
    size_t size;
    make_values(&builder);
    uint8_t *file = gguf_builder_finish(&builder, &size);
    cr_assert(parse(&gguf, file, size, NULL) == HEARTH_OK);
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        uint64_t integer = 7;
        double real = 7;
        bool boolean = false;
        bool found = false;
        struct hearth_view text;
        hearth_error err = {0};
        const char *key = values[i].key;
        const bool fits = values[i].is_integer && !values[i].is_negative;
        cr_expect((hearth_gguf_get_u64(&gguf, key, &integer, &found, &err) == HEARTH_OK) == fits, "%s", key);
        cr_expect(found && integer == (fits ? values[i].integer : 7), "%s", key);
        cr_expect(fits || (strcmp(err.detail, "E_KVTYPE") == 0 && strstr(err.message, key)), "%s: %s", key, err.message);
        cr_expect(hearth_gguf_is_negative(hearth_gguf_find(&gguf, key)) == values[i].is_negative, "%s", key);
        cr_expect((hearth_gguf_get_f64(&gguf, key, &real, &found, &err) == HEARTH_OK) == values[i].is_real, "%s", key);
        cr_expect((hearth_gguf_get_bool(&gguf, key, &boolean, &found, &err) == HEARTH_OK) == values[i].is_bool, "%s", key);
        cr_expect((hearth_gguf_get_string(&gguf, key, &text, &found, &err) == HEARTH_OK) == values[i].is_string, "%s", key);
    }
    hearth_gguf_free(&gguf);
    gguf_builder_free(&builder);
    free(file);
}

Test(gguf, getters_give_values)
{
    struct gguf_builder builder;
    struct hearth_gguf gguf;
    size_t size;
    make_values(&builder);
    uint8_t *file = gguf_builder_finish(&builder, &size);
    cr_assert(parse(&gguf, file, size, NULL) == HEARTH_OK);
    double real = 0;
    bool boolean = false;
    bool found = false;
    struct hearth_view text = {NULL, 0};
    const struct hearth_gguf_pair *array;
    cr_expect(hearth_gguf_get_f64(&gguf, "f32", &real, &found, NULL) == HEARTH_OK && found && real == 0.5);
    cr_expect(hearth_gguf_get_f64(&gguf, "f64", &real, &found, NULL) == HEARTH_OK && found && real == 0.1);
    cr_expect(hearth_gguf_get_bool(&gguf, "yes", &boolean, &found, NULL) == HEARTH_OK && found && boolean);
    cr_expect(hearth_gguf_get_bool(&gguf, "no", &boolean, &found, NULL) == HEARTH_OK && found && !boolean);
    cr_expect(hearth_gguf_get_string(&gguf, "text", &text, &found, NULL) == HEARTH_OK && view_is(text, "some text"));
    cr_expect(hearth_gguf_get_array(&gguf, "array", HEARTH_GGUF_I32, &array, NULL) == HEARTH_E_FORMAT && !array);
    cr_assert(hearth_gguf_get_array(&gguf, "array", HEARTH_GGUF_F32, &array, NULL) == HEARTH_OK && array);
    cr_expect(hearth_gguf_f32_at(array, 0) == 1 && hearth_gguf_f32_at(array, 2) == -3);
    cr_expect(hearth_gguf_u32_at(array, 1) == 0x40000000);

    real = 9;
    cr_expect(hearth_gguf_get_f64(&gguf, "absent", &real, &found, NULL) == HEARTH_OK && !found && real == 9);
    cr_expect(hearth_gguf_get_array(&gguf, "absent", HEARTH_GGUF_F32, &array, NULL) == HEARTH_OK && !array);
    hearth_gguf_free(&gguf);
    gguf_builder_free(&builder);
    free(file);
}

/* ---- Placement -------------------------------------------------------------------------------------------------------- */

#define N_PLACED 700

/* Write the data offset of tensor i into the directory of a header. */
static void set_offset(uint8_t *header, const struct hearth_gguf *gguf, size_t i, uint64_t offset)
{
    const struct hearth_gguf_tensor *tensor = &gguf->tensors[i];
    const size_t at = (size_t)(tensor->name.bytes - header) + tensor->name.size + 4 + 8 * tensor->n_dims + 4;
    memcpy(header + at, &offset, 8);
}

/* Tensors of 32 bytes with offsets in the order step, 2 step, 3 step, ... modulo their number. */
static uint8_t *make_placed(struct hearth_gguf *gguf, size_t *size, uint64_t step)
{
    struct hearth_gguf_writer writer;
    uint8_t *header;
    hearth_gguf_writer_init(&writer, 32);
    for (unsigned i = 0; i < N_PLACED; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "t%u", i);
        (void)hearth_gguf_write_tensor(&writer, name, 24, 1, (const uint64_t[]){32}); /* 24: I8 */
    }
    cr_assert(hearth_gguf_writer_finish(&writer, &header, size, NULL) == HEARTH_OK);
    cr_assert(hearth_gguf_parse(gguf, header, *size, *size + 32 * N_PLACED, "placed", NULL) == HEARTH_OK);
    for (size_t i = 0; i < N_PLACED; i++)
        set_offset(header, gguf, i, 32 * (i * step % N_PLACED));
    hearth_gguf_writer_free(&writer);
    return header;
}

Test(gguf, any_order_of_offsets)
{
    static const uint64_t steps[] = {1, N_PLACED - 1, 3, 101, 333}; /* none shares a factor with 700 */
    for (size_t k = 0; k < sizeof steps / sizeof steps[0]; k++) {
        struct hearth_gguf before;
        struct hearth_gguf gguf;
        hearth_error err = {0};
        size_t size;
        uint8_t *header = make_placed(&before, &size, steps[k]);
        cr_expect(hearth_gguf_parse(&gguf, header, size, size + 32 * N_PLACED, "placed", &err) == HEARTH_OK, "%s", err.message);
        hearth_gguf_free(&gguf);

        set_offset(header, &before, 400, 32 * (123 * steps[k] % N_PLACED)); /* now two lie on one place */
        cr_expect(hearth_gguf_parse(&gguf, header, size, size + 32 * N_PLACED, "placed", &err) == HEARTH_E_FORMAT);
        cr_expect_str_eq(err.detail, "E_OVERLAP");
        hearth_gguf_free(&before);
        free(header);
    }
}

/* T18: each of two tensors fits 63 bits, both together do not. */
Test(gguf, total_size_wraps)
{
    struct hearth_gguf_writer writer;
    struct hearth_gguf gguf;
    uint8_t *header;
    size_t size;
    hearth_error err = {0};
    hearth_gguf_writer_init(&writer, 32);
    (void)hearth_gguf_write_tensor(&writer, "a", 24, 1, (const uint64_t[]){0x7FFFFFFFFFFFFFC0});
    (void)hearth_gguf_write_tensor(&writer, "b", 24, 1, (const uint64_t[]){0x7FFFFFFFFFFFFFC0});
    cr_assert(hearth_gguf_writer_finish(&writer, &header, &size, NULL) == HEARTH_OK);
    cr_expect(hearth_gguf_parse(&gguf, header, size, INT64_MAX, "t18", &err) == HEARTH_E_FORMAT);
    cr_expect_str_eq(err.detail, "E_TSIZE");
    hearth_gguf_writer_free(&writer);
    free(header);
}

/* T37, T38: sizes and offsets of 64 bits; only the header is in memory. */
Test(gguf, a_file_of_a_terabyte)
{
    struct hearth_gguf_writer writer;
    struct hearth_gguf gguf;
    uint8_t *header;
    size_t size;
    hearth_gguf_writer_init(&writer, 32);
    (void)hearth_gguf_write_tensor(&writer, "a", HEARTH_F16, 2, (const uint64_t[]){UINT64_C(1) << 20, UINT64_C(1) << 19});
    const uint64_t offset = hearth_gguf_write_tensor(&writer, "b", HEARTH_F32, 1, (const uint64_t[]){5});
    cr_assert(hearth_gguf_writer_finish(&writer, &header, &size, NULL) == HEARTH_OK);
    cr_expect(offset == UINT64_C(1) << 40);
    cr_assert(hearth_gguf_parse(&gguf, header, size, size + writer.data_size, "t38", NULL) == HEARTH_OK);
    cr_expect(gguf.tensors[1].file_offset == size + offset && gguf.tensors[0].bytes == offset);
    hearth_gguf_free(&gguf);
    hearth_gguf_writer_free(&writer);
    free(header);
}

/* ---- The writer ------------------------------------------------------------------------------------------------------- */

Test(gguf, writer_alignment)
{
    struct hearth_gguf_writer writer;
    struct hearth_gguf gguf;
    uint8_t *header;
    size_t size;
    hearth_gguf_writer_init(&writer, 256);
    (void)hearth_gguf_write_tensor(&writer, "a", HEARTH_F32, 1, (const uint64_t[]){5});
    cr_expect(hearth_gguf_write_tensor(&writer, "b", HEARTH_F32, 1, (const uint64_t[]){5}) == 256);
    cr_assert(hearth_gguf_writer_finish(&writer, &header, &size, NULL) == HEARTH_OK);
    cr_expect(size % 256 == 0 && writer.data_size == 512);
    cr_assert(hearth_gguf_parse(&gguf, header, size, size + 512, "aligned", NULL) == HEARTH_OK);
    cr_expect(gguf.alignment == 256 && gguf.data_start == size);
    hearth_gguf_free(&gguf);
    hearth_gguf_writer_free(&writer);
    free(header);
}

static void expect_refused(struct hearth_gguf_writer *writer, const char *why)
{
    uint8_t *header = (uint8_t *)writer;
    size_t size = 1;
    hearth_error err = {0};
    cr_expect(hearth_gguf_writer_finish(writer, &header, &size, &err) == HEARTH_E_MEMORY, "%s", why);
    cr_expect(header == NULL && size == 0 && err.message[0] != '\0', "%s", why);
    hearth_gguf_writer_free(writer);
}

Test(gguf, writer_refuses_what_it_cannot_describe)
{
    struct hearth_gguf_writer writer;
    hearth_gguf_writer_init(&writer, 24);
    expect_refused(&writer, "alignment");
    hearth_gguf_writer_init(&writer, 32);
    (void)hearth_gguf_write_tensor(&writer, "a", HEARTH_Q8_0, 1, (const uint64_t[]){33});
    hearth_gguf_write_u32(&writer, "ignored", 1);
    expect_refused(&writer, "block");
    hearth_gguf_writer_init(&writer, 32);
    (void)hearth_gguf_write_tensor(&writer, "a", HEARTH_F32, 2, (const uint64_t[]){UINT64_C(1) << 32, UINT64_C(1) << 32});
    expect_refused(&writer, "size");
    hearth_gguf_writer_init(&writer, 32);
    (void)hearth_gguf_write_tensor(&writer, "a", 4, 1, (const uint64_t[]){32});
    expect_refused(&writer, "type");
}

Test(gguf, no_tensors_and_no_pairs)
{
    struct hearth_gguf_writer writer;
    struct hearth_gguf gguf;
    uint8_t *header;
    size_t size;
    hearth_gguf_writer_init(&writer, 32);
    cr_assert(hearth_gguf_writer_finish(&writer, &header, &size, NULL) == HEARTH_OK);
    cr_expect(size == 32);
    cr_expect(parse(&gguf, header, 24, NULL) == HEARTH_OK, "a file may end behind its pairs");
    cr_expect(gguf.n_pairs == 0 && gguf.n_tensors == 0 && hearth_gguf_find(&gguf, "a") == NULL);
    hearth_gguf_free(&gguf);
    free(header);
}

/* ---- Time ------------------------------------------------------------------------------------------------------------- */

/* K35: unknown keys by the hundred thousand. */
Test(gguf, many_keys_take_no_quadratic_time)
{
    const unsigned n = 300000;
    struct hearth_gguf_writer writer;
    struct hearth_gguf gguf;
    uint8_t *header;
    size_t size;
    hearth_gguf_writer_init(&writer, 32);
    for (unsigned i = 0; i < n; i++) {
        char key[16];
        const uint8_t value = 1;
        (void)snprintf(key, sizeof key, "k%u", i);
        hearth_gguf_write_pair(
            &writer, &(struct hearth_gguf_pair){
                         .key = {(const uint8_t *)key, strlen(key)}, .type = HEARTH_GGUF_U8, .count = 1, .value = {&value, 1}});
    }
    cr_assert(hearth_gguf_writer_finish(&writer, &header, &size, NULL) == HEARTH_OK);
    const double begin = seconds();
    cr_assert(parse(&gguf, header, size, NULL) == HEARTH_OK);
    for (unsigned i = 0; i < n; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "k%u", i);
        cr_assert(hearth_gguf_find(&gguf, key) == &gguf.pairs[i]);
    }
    cr_expect(seconds() - begin < 1.0, "%g s", seconds() - begin);
    cr_expect(gguf.memory_bytes < 6 * size, "tables in proportion to the file");
    hearth_gguf_free(&gguf);
    hearth_gguf_writer_free(&writer);
    free(header);
}

/* T36: tensors by the hundred thousand, in the worst order for the overlap check. */
Test(gguf, many_tensors_take_no_quadratic_time)
{
    const unsigned n = 100000;
    struct hearth_gguf_writer writer;
    struct hearth_gguf gguf;
    uint8_t *header;
    size_t size;
    hearth_gguf_writer_init(&writer, 32);
    for (unsigned i = 0; i < n; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "t%u", i);
        (void)hearth_gguf_write_tensor(&writer, name, HEARTH_F32, 1, (const uint64_t[]){1});
    }
    cr_assert(hearth_gguf_writer_finish(&writer, &header, &size, NULL) == HEARTH_OK);
    cr_assert(hearth_gguf_parse(&gguf, header, size, size + writer.data_size, "many", NULL) == HEARTH_OK);
    for (unsigned i = 0; i < n; i++)
        set_offset(header, &gguf, i, 32 * (uint64_t)(n - 1 - i));
    hearth_gguf_free(&gguf);
    const double begin = seconds();
    cr_assert(hearth_gguf_parse(&gguf, header, size, size + writer.data_size, "many", NULL) == HEARTH_OK);
    cr_expect(seconds() - begin < 1.0, "%g s", seconds() - begin);
    hearth_gguf_free(&gguf);
    hearth_gguf_writer_free(&writer);
    free(header);
}
