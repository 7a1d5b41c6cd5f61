/* A JSON schema as a grammar: every text of the grammar is JSON that the schema accepts (docs/sampling.md). */
#ifndef HEARTH_TOOLS_JSON_SCHEMA_H
#define HEARTH_TOOLS_JSON_SCHEMA_H

#include "hearth.h"

/* Compile. *grammar receives the text in GBNF, which the caller frees; NULL on failure. A keyword that constrains and is not known
 * here is an E_CONFIG that names it, never ignored. `name` of the file stands in messages. */
hearth_status json_schema_to_grammar(char **grammar, size_t *grammar_bytes, const char *name, const char *schema,
                                     size_t schema_bytes, hearth_error *error);

#endif
