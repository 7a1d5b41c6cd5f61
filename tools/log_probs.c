/* Files of log-probabilities. The token ids are kept in them because distributions of different texts cannot be compared, however
 * well their sizes agree. */
#include "log_probs.h"

#include "common/status.h"
#include "process.h"
#include "report.h"
#include <errno.h>
#include <sys/stat.h>

#define VERSION 1

struct head {
    char magic[8];
    uint32_t version, n_vocab, context, n_windows;
};
_Static_assert(sizeof(struct head) == 24, "the file's head has no gaps");

static const char magic[8] = {'H', 'E', 'A', 'R', 'T', 'H', 'L', 'P'};

hearth_status log_probs_begin(struct target *target, const struct log_probs_shape *shape, const int32_t *ids, hearth_error *error)
{
    struct head head = {.version = VERSION, .n_vocab = shape->n_vocab, .context = shape->context, .n_windows = shape->n_windows};
    memcpy(head.magic, magic, sizeof magic);
    HEARTH_TRY(target_open(target, error));
    HEARTH_TRY(process_write_all(target->fd, &head, sizeof head, target->name, error));
    return process_write_all(target->fd, ids, (size_t)shape->n_windows * shape->context * sizeof *ids, target->name, error);
}

hearth_status log_probs_write(struct target *target, const float *row, uint32_t n_vocab, hearth_error *error)
{
    return process_write_all(target->fd, row, n_vocab * sizeof *row, target->name, error);
}

/* ---- Reading ------------------------------------------------------------------------------------------------------ */

static hearth_status read_exactly(void *out, size_t n, FILE *file, const char *name, hearth_error *error)
{
    char quoted[HEARTH_QUOTE_MAX];
    errno = 0;
    if (fread(out, 1, n, file) == n)
        return HEARTH_OK;
    if (process_interrupted())
        return hearth_fail(error, HEARTH_E_CANCELLED, NULL, "%s: read: interrupted", hearth_quote(quoted, name, strlen(name)));
    if (ferror(file))
        return report_errno(error, name, "read");
    return hearth_fail(error, HEARTH_E_FORMAT, "E_TRUNC", "%s: log-probabilities: file ends too early",
                       hearth_quote(quoted, name, strlen(name)));
}

static hearth_status check_number(const char *name, const char *what, uint64_t got, uint64_t need, hearth_error *error)
{
    char quoted[HEARTH_QUOTE_MAX];
    if (got == need)
        return HEARTH_OK;
    return hearth_fail(error, HEARTH_E_FORMAT, "E_MISMATCH", "%s: %s: is not ours (got %" PRIu64 ", need %" PRIu64 ")",
                       hearth_quote(quoted, name, strlen(name)), what, got, need);
}

static hearth_status check_head(FILE *file, const char *name, const struct log_probs_shape *need, hearth_error *error)
{
    struct head head;
    char quoted[HEARTH_QUOTE_MAX];
    HEARTH_TRY(read_exactly(&head, sizeof head, file, name, error));
    if (memcmp(head.magic, magic, sizeof magic) != 0)
        return hearth_fail(error, HEARTH_E_FORMAT, "E_MAGIC", "%s: head: is no file of log-probabilities",
                           hearth_quote(quoted, name, strlen(name)));
    HEARTH_TRY(check_number(name, "version", head.version, VERSION, error));
    HEARTH_TRY(check_number(name, "context", head.context, need->context, error));
    HEARTH_TRY(check_number(name, "vocabulary", head.n_vocab, need->n_vocab, error));
    HEARTH_TRY(check_number(name, "windows", head.n_windows, need->n_windows, error));
    const uint64_t ids = (uint64_t)need->n_windows * need->context;
    const uint64_t numbers = (uint64_t)need->n_windows * log_probs_scored(need->context) * need->n_vocab;
    struct stat found;
    if (fstat(fileno(file), &found) != 0)
        return report_errno(error, name, "stat");
    if (!S_ISREG(found.st_mode))
        return HEARTH_OK; /* a pipe has no size */
    return check_number(name, "bytes", (uint64_t)found.st_size, sizeof head + 4 * (ids + numbers), error);
}

static hearth_status check_ids(FILE *file, const char *name, const struct log_probs_shape *need, const int32_t *ids,
                               hearth_error *error)
{
    char quoted[HEARTH_QUOTE_MAX];
    const size_t n = (size_t)need->n_windows * need->context;
    for (size_t i = 0; i < n; i++) {
        int32_t id;
        HEARTH_TRY(read_exactly(&id, sizeof id, file, name, error));
        if (id != ids[i])
            return hearth_fail(error, HEARTH_E_FORMAT, "E_MISMATCH",
                               "%s: token %zu: is not ours, the text or the tokenizer is another (got %" PRId32 ", need %" PRId32
                               ")",
                               hearth_quote(quoted, name, strlen(name)), i, id, ids[i]);
    }
    return HEARTH_OK;
}

hearth_status log_probs_open(FILE **out, const char *name, const struct log_probs_shape *need, const int32_t *ids,
                             hearth_error *error)
{
    *out = fopen(name, "rbe");
    if (!*out)
        return report_errno(error, name, "open");
    HEARTH_TRY(check_head(*out, name, need, error));
    return check_ids(*out, name, need, ids, error);
}

hearth_status log_probs_read(float *row, FILE *file, const char *name, uint32_t n_vocab, hearth_error *error)
{
    return read_exactly(row, n_vocab * sizeof *row, file, name, error);
}
