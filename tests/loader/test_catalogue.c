/* The catalogue of malformed files (tests/support/catalogue.h), as the loader sees them: each must give exactly the status and
 * detail that its row says, and one printable line. */
#include "catalogue.h"
#include "common/status.h"
#include "hparams.h"
#include "vocab.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* All that the loader can say about a file; from an allocation of exactly its size, so that a sanitizer sees every byte beyond. */
static hearth_status load(const uint8_t *bytes, size_t size, hearth_error *err)
{
    struct hearth_gguf gguf;
    struct hearth_hparams hparams;
    struct hearth_vocab vocab;
    uint8_t *exact = malloc(size > 0 ? size : 1);
    if (size > 0)
        memcpy(exact, bytes, size);
    hearth_status status = hearth_gguf_parse(&gguf, exact, size, size, "row.gguf", err);
    if (status == HEARTH_OK)
        status = hearth_hparams_read(&hparams, &gguf, err);
    if (status == HEARTH_OK)
        status = hearth_vocab_read(&vocab, &gguf, hparams.n_vocab, NULL, NULL, err);
    hearth_gguf_free(&gguf);
    free(exact);
    return status;
}

static void expect_one_line(const char *id, const char *message)
{
    cr_expect(strlen(message) <= 280, "%s: message of %zu bytes", id, strlen(message));
    cr_expect(strncmp(message, "row.gguf: ", 10) == 0, "%s: no file name: %s", id, message);
    for (const char *c = message; *c; c++)
        cr_expect(*c >= 0x20 && *c < 0x7f, "%s: unprintable byte %d", id, *c);
}

static void expect_load(const struct catalogue_row *row, void *user)
{
    hearth_error err = {0};
    const hearth_status status = load(row->bytes, row->size, &err);
    ++*(size_t *)user;
    cr_expect(status == row->status, "%s: got %d '%s' [%s], expected %d [%s]", row->id, status, err.message, err.detail,
              row->status, row->detail ? row->detail : "any");
    if (status == HEARTH_OK)
        return;
    cr_expect(err.code == status, "%s: code and status differ", row->id);
    expect_one_line(row->id, err.message);
    if (row->detail)
        cr_expect_str_eq(err.detail, row->detail, "%s: detail %s, expected %s (%s)", row->id, err.detail, row->detail, err.message);
    if (row->mention)
        cr_expect(strstr(err.message, row->mention) != NULL, "%s: '%s' is not in '%s'", row->id, row->mention, err.message);
}

Test(catalogue, every_row)
{
    size_t n = 0;
    catalogue_walk(expect_load, &n);
    cr_expect_gt(n, 200);
}

/* K38. Inside an array the elements are what is missing (K23), inside a string the characters. */
Test(catalogue, cut_at_every_byte_of_the_header)
{
    size_t whole;
    size_t directory_end;
    size_t data_start;
    uint8_t *bytes = catalogue_base(&whole, &directory_end, &data_start);
    for (size_t size = 0; size < data_start; size++) {
        hearth_error err = {0};
        const hearth_status status = load(bytes, size, &err);
        const bool expected = strcmp(err.detail, "E_TRUNC") == 0 || strcmp(err.detail, "E_STRLEN") == 0 ||
                              strcmp(err.detail, "E_ARR") == 0 || (size >= directory_end && strcmp(err.detail, "E_EXTENT") == 0);
        cr_expect(status == HEARTH_E_FORMAT && expected, "cut to %zu bytes: %d '%s' [%s]", size, status, err.message, err.detail);
    }
    free(bytes);
}
