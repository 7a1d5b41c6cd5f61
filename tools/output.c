/* Building and printing JSON. Jansson answers an exhausted memory with NULL everywhere; that is remembered here once, so that
 * callers build without looking, and an incomplete object is never printed. */
#include "output.h"

#include "common/status.h"
#include "process.h"
#include "report.h"
#include "text.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool incomplete;

void output_append(json_t *array, json_t *value)
{
    if (json_array_append_new(array, value) != 0)
        incomplete = true;
}

void output_set(json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new(object, key, value) != 0)
        incomplete = true;
}

json_t *output_text(const char *bytes, size_t n)
{
    char *clean = malloc(3 * n + 1);
    json_t *string = clean ? json_stringn(clean, text_to_utf8(clean, bytes, n)) : NULL;
    free(clean);
    return string;
}

bool output_complete(const json_t *value)
{
    return value && !incomplete;
}

int output_json(json_t *value, size_t flags)
{
    if (!output_complete(value)) {
        json_decref(value);
        hearth_error error;
        (void)report_no_memory(&error, "JSON output");
        return report_error(&error);
    }
    errno = 0;
    const bool written = json_dumpf(value, stdout, flags | JSON_REAL_PRECISION(7)) == 0 && putc('\n', stdout) != EOF;
    const int code = errno;
    json_decref(value);
    return written ? report_finish_output() : report_output_failed(code ? code : EIO);
}

hearth_status output_read(json_t **out, const char *path, hearth_error *error)
{
    char *bytes = NULL;
    size_t size = 0;
    char quoted[HEARTH_QUOTE_MAX];
    json_error_t found;
    *out = NULL;
    HEARTH_TRY(process_read_file(&bytes, &size, path, (size_t)64 << 20, error));
    *out = json_loadb(bytes, size, 0, &found);
    free(bytes);
    if (*out)
        return HEARTH_OK;
    return hearth_fail(error, HEARTH_E_CONFIG, NULL, "%s: not JSON (line %d, column %d)", hearth_quote(quoted, path, strlen(path)),
                       found.line, found.column);
}
