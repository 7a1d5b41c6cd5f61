/* Split models (rows S02 to S11 of the catalogue): three parts that fit give the tables of the whole file; with one defect, exactly
 * the error beside it, naming the part, and nothing is left open. */
#include "common/status.h"
#include "folder.h"
#include "gguf_builder.h"
#include "parts.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define N_PARTS 3

static char folder[64];

static const char *path_of(const char *name)
{
    static char path[400];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static const char *part_path(unsigned number, unsigned count)
{
    char name[64];
    (void)snprintf(name, sizeof name, "model-%05u-of-%05u.gguf", number, count);
    return path_of(name);
}

static void make_folder(void)
{
    (void)snprintf(folder, sizeof folder, "%s/hearth-parts-XXXXXX", P_tmpdir);
    cr_assert(mkdtemp(folder) != NULL);
}

static void remove_folder(void)
{
    folder_empty(folder);
    (void)rmdir(folder);
}

TestSuite(parts, .init = make_folder, .fini = remove_folder);

/* The builder is too large for the stack. */
static struct gguf_builder *part_builder(uint16_t number, uint16_t count)
{
    static struct gguf_builder builder;
    gguf_builder_free(&builder);
    gguf_builder_add_llama(&builder, NULL);
    gguf_builder_make_part(&builder, number, count);
    return &builder;
}

/* Part `number` of N_PARTS, from 1, after an edit, under its name. */
static void write_part(unsigned number, void (*edit)(struct gguf_builder *))
{
    struct gguf_builder *builder = part_builder((uint16_t)(number - 1), N_PARTS);
    if (edit)
        edit(builder);
    gguf_builder_write_file(builder, part_path(number, N_PARTS));
}

static unsigned open_descriptors(void)
{
    unsigned n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (d && readdir(d))
        n++;
    if (d)
        (void)closedir(d);
    return n;
}

static void expect_open(const char *id, const char *path, hearth_status status, const char *detail, const char *mention)
{
    struct hearth_parts parts;
    hearth_error err = {0};
    const unsigned before = open_descriptors();
    cr_expect_eq(hearth_parts_open(&parts, path, &err), status, "%s: '%s' [%s]", id, err.message, err.detail);
    if (status != HEARTH_OK) {
        cr_expect(err.code == status && parts.n == 0 && parts.gguf.memory == NULL, "%s", id);
        cr_expect_str_eq(err.detail, detail, "%s: '%s'", id, err.message);
        cr_expect(strstr(err.message, mention), "%s: '%s' is not in '%s'", id, mention, err.message);
        cr_expect(strlen(err.message) <= 280, "%s: message of %zu bytes", id, strlen(err.message));
    }
    hearth_parts_close(&parts);
    hearth_parts_close(&parts);
    cr_expect_eq(open_descriptors(), before, "%s", id);
}

/* ---- Parts that fit ------------------------------------------------------------------------------------------------- */

/* The joined tables have every tensor of the whole file, and reading gives its bytes. */
static void expect_whole(const char *id)
{
    static struct gguf_builder builder;
    struct hearth_parts parts;
    struct hearth_gguf whole;
    hearth_error err;
    size_t size;
    gguf_builder_init(&builder);
    gguf_builder_add_llama(&builder, NULL);
    uint8_t *file = gguf_builder_finish(&builder, &size);
    gguf_builder_free(&builder);
    cr_assert_eq(hearth_gguf_parse(&whole, file, size, size, "whole", &err), HEARTH_OK);
    cr_assert_eq(hearth_parts_open(&parts, part_path(1, N_PARTS), &err), HEARTH_OK, "%s: %s", id, err.message);
    cr_assert_eq(parts.gguf.n_tensors, whole.n_tensors);
    uint64_t end = 0;
    for (uint64_t i = 0; i < whole.n_tensors; i++) {
        char name[65] = "";
        memcpy(name, whole.tensors[i].name.bytes, (size_t)whole.tensors[i].name.size);
        const struct hearth_gguf_tensor *t = hearth_gguf_find_tensor(&parts.gguf, name);
        cr_assert(t && t->bytes == whole.tensors[i].bytes && t->format == whole.tensors[i].format, "%s: %s", id, name);
        cr_expect(t->file_offset >= end, "%s: %s lies over another one", id, name);
        end = t->file_offset + t->bytes;
        uint8_t *bytes = malloc((size_t)t->bytes);
        cr_assert_eq(hearth_parts_read(&parts, bytes, t->file_offset, (size_t)t->bytes, &err), HEARTH_OK, "%s", err.message);
        cr_expect(memcmp(bytes, file + whole.tensors[i].file_offset, (size_t)t->bytes) == 0, "%s: %s", id, name);
        free(bytes);
    }
    cr_expect_eq(hearth_parts_read(&parts, file, parts.gguf.file_size, 1, &err), HEARTH_E_IO);
    cr_expect(strstr(err.message, "read: past the end"), "%s", err.message);
    struct hearth_view arch;
    bool found;
    cr_expect(hearth_gguf_get_string(&parts.gguf, "general.architecture", &arch, &found, NULL) == HEARTH_OK && found);
    cr_expect(parts.n == N_PARTS && end <= parts.gguf.file_size);
    hearth_parts_close(&parts);
    hearth_gguf_free(&whole);
    free(file);
}

static void alignment_64(struct gguf_builder *builder)
{
    builder->alignment = 64;
}
static void metadata_again(struct gguf_builder *builder)
{
    gguf_builder_set_string(builder, "general.architecture", "another"); /* not looked at */
}
/* The first part without tensors: the second one takes them too. */
static void empty(struct gguf_builder *builder)
{
    for (size_t i = 0; i < builder->n_tensors; i++)
        builder->tensors[i].elsewhere = true;
}
static void first_two(struct gguf_builder *builder)
{
    for (size_t i = 0; i < builder->n_tensors; i++)
        builder->tensors[i].elsewhere = i * N_PARTS / builder->n_tensors > 1;
}

Test(parts, are_one_model)
{
    for (unsigned i = 1; i <= N_PARTS; i++)
        write_part(i, NULL);
    expect_whole("plain");
    write_part(2, alignment_64);
    expect_whole("S11");
    write_part(2, metadata_again);
    expect_whole("general.* again");
    write_part(1, empty);
    write_part(2, first_two);
    expect_whole("empty first part");
}

Test(parts, a_whole_file_is_one_part_whatever_its_name)
{
    static const uint16_t counts[] = {0, 1};
    struct hearth_parts parts;
    for (size_t i = 0; i < 2; i++) {
        struct gguf_builder *builder = part_builder(0, 1);
        gguf_builder_set(builder, "split.count", HEARTH_GGUF_U16, &counts[i]);
        gguf_builder_write_file(builder, part_path(2, N_PARTS));
        cr_assert_eq(hearth_parts_open(&parts, part_path(2, N_PARTS), NULL), HEARTH_OK);
        cr_expect_eq(parts.n, 1);
        hearth_parts_close(&parts);
    }
}

/* ---- Parts that do not ---------------------------------------------------------------------------------------------- */

static void set_u16(struct gguf_builder *builder, const char *key, uint16_t value)
{
    gguf_builder_set(builder, key, HEARTH_GGUF_U16, &value);
}
static void set_i32(struct gguf_builder *builder, const char *key, int32_t value)
{
    gguf_builder_set(builder, key, HEARTH_GGUF_I32, &value);
}
static void number_0(struct gguf_builder *builder)
{
    set_u16(builder, "split.no", 0);
}
static void number_2(struct gguf_builder *builder)
{
    set_u16(builder, "split.no", 2);
}
static void count_0(struct gguf_builder *builder)
{
    set_u16(builder, "split.count", 0);
}
static void count_2(struct gguf_builder *builder)
{
    set_u16(builder, "split.count", 2);
}
static void count_65535(struct gguf_builder *builder)
{
    set_u16(builder, "split.count", 65535);
}
static void tensors_5(struct gguf_builder *builder)
{
    set_i32(builder, "split.tensors.count", 5);
}
static void tensors_negative(struct gguf_builder *builder)
{
    set_i32(builder, "split.tensors.count", -1);
}
static void no_number(struct gguf_builder *builder)
{
    gguf_builder_drop(builder, "split.no");
}
static void no_count(struct gguf_builder *builder)
{
    gguf_builder_drop(builder, "split.count");
}
static void no_tensors(struct gguf_builder *builder)
{
    gguf_builder_drop(builder, "split.tensors.count");
}
static void number_u32(struct gguf_builder *builder)
{
    gguf_builder_set_u32(builder, "split.no", 1);
}
static void count_u32(struct gguf_builder *builder)
{
    gguf_builder_set_u32(builder, "split.count", 3);
}
static void another_model(struct gguf_builder *builder)
{
    gguf_builder_free(builder);
    gguf_builder_add_llama(builder, &(struct gguf_shape){.n_layer = 3});
    gguf_builder_make_part(builder, 1, N_PARTS);
}
/* Of as many tensors, but others. */
static void same_tensors(struct gguf_builder *builder)
{
    for (size_t i = 0; i < builder->n_tensors; i++)
        builder->tensors[i].elsewhere = i * N_PARTS / builder->n_tensors != 0;
}
static void alignment_3(struct gguf_builder *builder)
{
    gguf_builder_set_u32(builder, "general.alignment", 3);
}

static const struct {
    const char *id;
    unsigned part;
    void (*edit)(struct gguf_builder *builder);
    const char *detail, *mention;
} rows[] = {
    {"S03 part 1", 1, number_2, "E_SPLIT", "split.no': this is not the first part (got 2, need 0)"},
    {"S03 part 2", 2, number_2, "E_SPLIT", "split.no': this is another part (got 2, need 1) (part 2 of 3)"},
    {"S03 part 3", 3, number_0, "E_SPLIT", "(got 0, need 2) (part 3 of 3)"},
    {"S04 part 1", 1, count_2, "E_SPLIT", "the first must be called ...-00001-of-00002.gguf (got model-00001-of-00003.gguf)"},
    {"S04 part 3", 3, count_2, "E_SPLIT", "split.count': differs from part 1 (got 2, need 3)"},
    {"S05 0", 2, count_0, "E_SPLIT", "split.count': differs from part 1 (got 0, need 3)"},
    {"S05 65535", 1, count_65535, "E_SPLIT", "split.count': too many parts (got 65535, need at most 9999)"},
    {"S06 part 1", 1, tensors_5, "E_SPLIT", "split.tensors.count"},
    {"S06 part 2", 2, tensors_5, "E_SPLIT", "split.tensors.count': differs from part 1 (got 5, need 21) (part 2 of 3)"},
    {"S06 -1", 3, tensors_negative, "E_SPLIT", "split.tensors.count': the value is below zero (part 3 of 3)"},
    {"S08", 2, another_model, "E_SPLIT", "split.tensors.count"},
    {"S08 same number", 2, same_tensors, "E_SPLIT", "'token_embd.weight', offset"},
    {"S08 fewer", 2, empty, "E_SPLIT", "split.tensors.count': the parts have another number (got 14, need 21)"},
    {"S10", 2, number_u32, "E_KVTYPE", "split.no': the value has another type (need uint16) (part 2 of 3)"},
    {"S10 count", 1, count_u32, "E_KVTYPE", "split.count"},
    {"no split.no 1", 1, no_number, "E_SPLIT", "split.no': a part of a split model must have it"},
    {"no split.no 2", 2, no_number, "E_SPLIT", "split.no': missing"},
    {"no split.count 2", 2, no_count, "E_SPLIT", "split.count': differs"},
    {"no split.tensors.count 1", 1, no_tensors, "E_SPLIT", "split.tensors.count"},
    {"no split.tensors.count 2", 2, no_tensors, "E_SPLIT", "split.tensors.count': missing"},
    {"alignment of part 2", 2, alignment_3, "E_ALIGN", "(part 2 of 3)"},
};

Test(parts, one_defect)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (unsigned part = 1; part <= N_PARTS; part++)
            write_part(part, part == rows[i].part ? rows[i].edit : NULL);
        expect_open(rows[i].id, part_path(1, N_PARTS), HEARTH_E_FORMAT, rows[i].detail, rows[i].mention);
    }
}

Test(parts, files_of_wrong_names)
{
    for (unsigned part = 1; part <= N_PARTS; part++)
        write_part(part, NULL);
    expect_open("S02", part_path(2, N_PARTS), HEARTH_E_FORMAT, "E_SPLIT",
                "this is part 2 of 3; start with part 1: model-00001-of-00003.gguf");
    char name[400];
    (void)snprintf(name, sizeof name, "%s", path_of("model.gguf"));
    cr_assert(link(part_path(1, N_PARTS), name) == 0);
    expect_open("renamed", name, HEARTH_E_FORMAT, "E_SPLIT", "must be called ...-00001-of-00003.gguf (got model.gguf)");
    cr_assert(unlink(name) == 0 && link(part_path(2, N_PARTS), name) == 0);
    expect_open("part 2 renamed", name, HEARTH_E_FORMAT, "E_SPLIT", "not the first part (got 1, need 0)");

    char long_name[400];
    (void)snprintf(long_name, sizeof long_name, "%s/%0200d-00002-of-00003.gguf", folder, 0);
    cr_assert(link(part_path(2, N_PARTS), long_name) == 0);
    expect_open("S02 long", long_name, HEARTH_E_FORMAT, "E_SPLIT", "start with part 1: 0000000000");
    expect_open("S02 long", long_name, HEARTH_E_FORMAT, "E_SPLIT", "0-00001-of-00003.gguf");

    char third[400];
    (void)snprintf(third, sizeof third, "%s", part_path(3, N_PARTS));
    cr_assert(unlink(name) == 0 && rename(part_path(2, N_PARTS), name) == 0);
    expect_open("missing", part_path(1, N_PARTS), HEARTH_E_NOT_FOUND, "E_NOT_FOUND", "No such file or directory (part 2 of 3)");
    cr_assert(rename(third, part_path(2, N_PARTS)) == 0 && rename(name, third) == 0);
    expect_open("exchanged", part_path(1, N_PARTS), HEARTH_E_FORMAT, "E_SPLIT", "(got 2, need 1) (part 2 of 3)");
}

Test(parts, a_part_that_is_cut)
{
    struct stat info;
    for (unsigned part = 1; part <= N_PARTS; part++)
        write_part(part, NULL);
    cr_assert(stat(part_path(2, N_PARTS), &info) == 0);
    cr_assert(truncate(part_path(2, N_PARTS), info.st_size - 1) == 0);
    expect_open("S09", part_path(1, N_PARTS), HEARTH_E_FORMAT, "E_EXTENT", "short by 1 byte");
    expect_open("S09", part_path(1, N_PARTS), HEARTH_E_FORMAT, "E_EXTENT", "(part 2 of 3)");
    cr_assert(truncate(part_path(2, N_PARTS), 0) == 0);
    expect_open("empty", part_path(1, N_PARTS), HEARTH_E_FORMAT, "E_TRUNC", "file is empty");
}

/* The state of every part counts. */
Test(parts, identity)
{
    struct hearth_parts parts;
    struct hearth_parts_identity before;
    struct hearth_parts_identity after;
    for (unsigned part = 1; part <= N_PARTS; part++)
        write_part(part, NULL);
    cr_assert_eq(hearth_parts_open(&parts, part_path(1, N_PARTS), NULL), HEARTH_OK);
    cr_assert(hearth_parts_identity(&parts, &before) && hearth_parts_identity(&parts, &after));
    cr_expect(memcmp(&before, &after, sizeof before) == 0);
    const struct timespec times[2] = {{0}, {0}};
    cr_assert(utimensat(AT_FDCWD, part_path(3, N_PARTS), times, 0) == 0);
    cr_assert(hearth_parts_identity(&parts, &after));
    cr_expect_not(hearth_hash_equal(before.files, after.files));
    cr_expect(after.newest_change_s >= before.newest_change_s && before.newest_change_s > 0);
    hearth_parts_close(&parts);
}
