/* hearth tokenize: text on standard input to token ids, or ids back to the exact bytes. */
#include "commands.h"
#include "common/status.h"
#include "options.h"
#include "process.h"
#include "report.h"
#include "text.h"
#include <stdlib.h>
#include <unistd.h>

static const struct argp_option table[] = {
    OPTION_MODEL,
    {"ids", OPTION_KEY_IDS, NULL, 0, "one line of numbers instead of a line for each token", 3},
    {"no-bos", OPTION_KEY_NO_BOS, NULL, 0, "do not begin with the beginning-of-text token", 3},
    {"special", OPTION_KEY_SPECIAL, NULL, 0, "recognise special tokens spelt in the text", 3},
    {"decode", OPTION_KEY_DECODE, NULL, 0, "ids on standard input to text", 3},
    OPTION_HELP,
    {0},
};

const struct options_command command_tokenize = {"hearth tokenize", "Text on standard input to token ids, or ids to text.", table};

enum { INPUT_BYTES_MAX = 1 << 30, PIECE_BYTES_MAX = 4096 };

static hearth_status tokenize(hearth_model *model, const char *text, size_t n, uint32_t flags, int32_t **ids, size_t *n_ids,
                              hearth_error *error)
{
    size_t capacity = n + 8; /* a token has at least one byte; room for a prefix and the tokens around the text */
    for (;;) {
        free(*ids);
        *ids = malloc(capacity * sizeof **ids);
        if (!*ids)
            return report_no_memory(error, "token ids");
        const hearth_status status = hearth_tokenize(model, text, n, flags, *ids, capacity, n_ids, error);
        if (status != HEARTH_E_CONFIG || *n_ids <= capacity)
            return status;
        capacity = *n_ids;
    }
}

/* The bytes of one token as it stands inside a text. At the beginning of a text a space may be left out, so the token is written
 * twice and the second copy taken. */
static hearth_status print_piece(const hearth_model *model, int32_t id, hearth_error *error)
{
    char text[PIECE_BYTES_MAX];
    const int32_t twice[2] = {id, id};
    size_t first = 0, both = 0;
    const hearth_status counted = hearth_detokenize(model, twice, 1, text, sizeof text, &first, error);
    const hearth_status status = hearth_detokenize(model, twice, 2, text, sizeof text, &both, error);
    const bool cut = both > sizeof text; /* no vocabulary in use has tokens so long */
    if (!cut && (counted != HEARTH_OK || status != HEARTH_OK))
        return status;
    (void)printf("%6d  ", id);
    if (cut)
        (void)printf("(%zu bytes)", both - first);
    else if (both == first)
        (void)printf("(special)"); /* shows nothing */
    else
        text_print_quoted(stdout, text + first, both - first);
    (void)putchar('\n');
    return HEARTH_OK;
}

static hearth_status encode(hearth_model *model, const struct options *o, const char *text, size_t n, hearth_error *error)
{
    const uint32_t flags = (o->no_bos ? 0 : HEARTH_TOKENIZE_BOS) | (o->special ? HEARTH_TOKENIZE_SPECIAL : 0);
    int32_t *ids = NULL;
    size_t n_ids = 0;
    hearth_status status = tokenize(model, text, n, flags, &ids, &n_ids, error);
    for (size_t i = 0; status == HEARTH_OK && i < n_ids; i++) {
        if (o->ids)
            (void)printf(i > 0 ? " %d" : "%d", ids[i]);
        else
            status = print_piece(model, ids[i], error);
    }
    if (status == HEARTH_OK && o->ids)
        (void)putchar('\n');
    free(ids);
    return status;
}

static hearth_status parse_ids(const char *text, size_t n, int32_t **ids, size_t *n_ids, hearth_error *error)
{
    const char *end = text + n;
    *ids = malloc((n / 2 + 1) * sizeof **ids); /* an id takes a digit and a separator */
    if (!*ids)
        return report_no_memory(error, "token ids");
    int found;
    while ((found = text_next_id(*ids + *n_ids, &text, end)) > 0)
        ++*n_ids;
    if (found < 0)
        return hearth_fail(error, HEARTH_E_CONFIG, NULL, "standard input: id %zu: is no token id (need numbers)", *n_ids);
    return HEARTH_OK;
}

static hearth_status print_text(const hearth_model *model, const int32_t *ids, size_t n_ids, hearth_error *error)
{
    size_t n = 0, written = 0;
    const hearth_status counted = hearth_detokenize(model, ids, n_ids, NULL, 0, &n, error);
    if (n == 0)
        return counted; /* E_CONFIG only tells that nothing had room */
    char *text = malloc(n);
    if (!text)
        return report_no_memory(error, "text");
    const hearth_status status = hearth_detokenize(model, ids, n_ids, text, n, &written, error);
    if (status == HEARTH_OK)
        (void)fwrite(text, 1, written < n ? written : n, stdout);
    free(text);
    return status;
}

static hearth_status decode(const hearth_model *model, const char *text, size_t n, hearth_error *error)
{
    int32_t *ids = NULL;
    size_t n_ids = 0;
    hearth_status status = parse_ids(text, n, &ids, &n_ids, error);
    if (status == HEARTH_OK)
        status = print_text(model, ids, n_ids, error);
    free(ids);
    return status;
}

int cmd_tokenize(int argc, char **argv)
{
    struct options options;
    int exit_code;
    if (!options_parse(&options, &exit_code, &command_tokenize, argc, argv))
        return exit_code;
    hearth_error error = {0};
    hearth_engine *engine = NULL;
    hearth_model *model = NULL;
    char *text = NULL;
    size_t n = 0;
    hearth_status status = options_open_engine(&engine, &options, 1, &error);
    if (status == HEARTH_OK)
        status = hearth_model_open_vocabulary(&model, engine, options.model, &error);
    if (status == HEARTH_OK)
        status = process_read_all(&text, &n, STDIN_FILENO, INPUT_BYTES_MAX, "standard input", &error);
    if (status == HEARTH_OK)
        status = options.decode ? decode(model, text, n, &error) : encode(model, &options, text, n, &error);
    exit_code = status == HEARTH_OK ? report_finish_output() : report_error(&error);
    free(text);
    hearth_model_close(model);
    hearth_engine_close(engine);
    return exit_code;
}
