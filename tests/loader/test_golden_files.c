/* Files that other programs wrote: each parses, and what the writer makes of its pairs and tensors is the same header byte for
 * byte. They lie in $HEARTH_SHARED; without it the tests are skipped, aloud. */
#include "common/status.h"
#include "file.h"
#include "hparams.h"
#include "vocab.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdlib.h>

struct opened {
    char path[512];
    struct hearth_file file;
    struct hearth_gguf gguf;
};

static void open_file(struct opened *file)
{
    hearth_error err = {0};
    cr_assert(hearth_file_open(&file->file, file->path, &err) == HEARTH_OK, "%s", err.message);
    const hearth_status status = hearth_gguf_parse_file(&file->gguf, &file->file, file->path, &err);
    cr_assert(status == HEARTH_OK, "%s", err.message);
}

static void close_file(struct opened *file)
{
    hearth_gguf_free(&file->gguf);
    hearth_file_close(&file->file);
}

/* Call `check` for every .gguf of a folder; fewer than expected is a failure. */
static void for_each_file(const char *folder, unsigned expected, void (*check)(struct opened *file))
{
    const char *shared = getenv("HEARTH_SHARED");
    char path[256];
    if (!shared || !*shared) {
        (void)fprintf(stderr, "SKIPPED: HEARTH_SHARED is not set, no golden files of %s\n", folder);
        cr_skip_test("HEARTH_SHARED is not set");
    }
    (void)snprintf(path, sizeof path, "%s/%s", shared, folder);
    DIR *directory = opendir(path);
    if (!directory) {
        (void)fprintf(stderr, "SKIPPED: %s is missing\n", path);
        cr_skip_test("%s is missing", path);
    }
    unsigned found = 0;
    for (const struct dirent *entry = readdir(directory); entry; entry = readdir(directory)) {
        const size_t n = strlen(entry->d_name);
        struct opened file;
        if (n < 5 || strcmp(entry->d_name + n - 5, ".gguf") != 0)
            continue;
        (void)snprintf(file.path, sizeof file.path, "%s/%s", path, entry->d_name);
        open_file(&file);
        check(&file);
        close_file(&file);
        found++;
    }
    (void)closedir(directory);
    cr_expect(found >= expected, "only %u files in %s, expected %u", found, path, expected);
}

static void write_tensors(struct hearth_gguf_writer *writer, const struct opened *file)
{
    const struct hearth_gguf *gguf = &file->gguf;
    for (uint64_t i = 0; i < gguf->n_tensors; i++) {
        const struct hearth_gguf_tensor *tensor = &gguf->tensors[i];
        char name[65] = {0};
        memcpy(name, tensor->name.bytes, tensor->name.size);
        const uint64_t offset = hearth_gguf_write_tensor(writer, name, tensor->format, tensor->n_dims, tensor->ne);
        cr_expect(gguf->data_start + offset == tensor->file_offset, "%s: offset of %s", file->path, name);
    }
}

/* Same header and same offsets: with the same data behind it, the same file. */
static void check_round_trip(struct opened *file)
{
    struct hearth_gguf_writer writer;
    uint8_t *header;
    size_t size;
    hearth_gguf_writer_init(&writer, 32);
    cr_assert(file->gguf.alignment == 32);
    for (uint64_t i = 0; i < file->gguf.n_pairs; i++)
        hearth_gguf_write_pair(&writer, &file->gguf.pairs[i]);
    write_tensors(&writer, file);
    cr_assert(hearth_gguf_writer_finish(&writer, &header, &size, NULL) == HEARTH_OK);
    cr_expect(size == file->gguf.data_start, "%s", file->path);
    const size_t common = size < file->file.size ? size : (size_t)file->file.size; /* no padding without tensors */
    cr_expect(memcmp(header + 8, file->file.bytes + 8, common - 8) == 0, "%s: another header", file->path);
    free(header);
    hearth_gguf_writer_free(&writer);
}

static void expect_vocabulary(struct opened *file, uint64_t rows)
{
    struct hearth_vocab vocab;
    hearth_error err = {0};
    cr_expect(hearth_vocab_read(&vocab, &file->gguf, rows, NULL, NULL, &err) == HEARTH_OK, "%s", err.message);
}

/* Of our architectures. */
static bool runs(const struct hearth_gguf *gguf)
{
    static const char *const archs[] = {"llama", "gemma", "gemma2", "gemma3", "phi2", "phi3", "qwen2", "qwen3", "qwen3moe"};
    struct hearth_view arch = {NULL, 0};
    bool found;
    (void)hearth_gguf_get_string(gguf, "general.architecture", &arch, &found, NULL);
    for (size_t i = 0; i < sizeof archs / sizeof archs[0]; i++)
        if (arch.size == strlen(archs[i]) && memcmp(arch.bytes, archs[i], (size_t)arch.size) == 0)
            return true;
    return false;
}

/* A model of ours to run, or a clear word why not. */
static void check_model(struct opened *file)
{
    struct hearth_hparams hparams = {0};
    hearth_error err = {0};
    const hearth_status status = hearth_hparams_read(&hparams, &file->gguf, &err);
    cr_expect(status == (runs(&file->gguf) ? HEARTH_OK : HEARTH_E_UNSUPPORTED), "%s: %s", file->path, err.message);
    expect_vocabulary(file, hparams.n_vocab);
    check_round_trip(file);
}

static void check_vocabulary(struct opened *file)
{
    struct hearth_hparams hparams;
    hearth_error err = {0};
    cr_expect(hearth_hparams_read(&hparams, &file->gguf, &err) == HEARTH_E_FORMAT, "%s", file->path);
    cr_expect_str_eq(err.detail, "E_MISSING");
    expect_vocabulary(file, 0);
    check_round_trip(file);
}

Test(golden_files, reference_models)
{
    for_each_file("ref", 39, check_model);
}

Test(golden_files, bundled_models)
{
    for_each_file("models", 11, check_model);
}

Test(golden_files, vocabularies)
{
    for_each_file("vocab", 4, check_vocabulary);
}
