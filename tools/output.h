/* JSON, written and read: the one door to Jansson. */
#ifndef HEARTH_TOOLS_OUTPUT_H
#define HEARTH_TOOLS_OUTPUT_H

#include "hearth.h"
#include <jansson.h>

/* Append to an array or set in an object, taking `value` over, which may be NULL after an allocation failure: then `container` is
 * left incomplete, which output_json() reports. */
void output_append(json_t *array, json_t *value);
void output_set(json_t *object, const char *key, json_t *value);
/* A JSON string of any bytes; those that are not UTF-8 become U+FFFD. */
json_t *output_text(const char *bytes, size_t n);
/* Whether nothing has been lost while `value` was built. */
bool output_complete(const json_t *value);
/* Print `value` and a newline, free it, flush. Returns the exit code. flags: of Jansson. */
int output_json(json_t *value, size_t flags);

/* Read a file of JSON ("-": standard input); *out is NULL on failure. E_CONFIG when it is none. */
hearth_status output_read(json_t **out, const char *path, hearth_error *error);

#endif
