/* What outside data may ask for at most: files, templates, grammars, arguments. Whoever checks a bound takes it from here, and
 * `hearth --limits` prints them all (tools/bounds.c, where a new one gets a row), so that SECURITY.md cannot promise another. */
#ifndef HEARTH_COMMON_LIMITS_H
#define HEARTH_COMMON_LIMITS_H

#include <stddef.h>
#include <stdint.h>

/* Files of models. */
#define HEARTH_PAIRS_MAX (UINT64_C(1) << 20)
#define HEARTH_TENSORS_MAX (UINT64_C(1) << 20)
#define HEARTH_HEADER_MAX (UINT64_C(1) << 27) /* bytes of all pairs and of the tensors' directory */
#define HEARTH_STRING_MAX (UINT64_C(1) << 30) /* bytes */
#define HEARTH_ARRAY_MAX (UINT64_C(1) << 30)  /* elements */
#define HEARTH_KEY_MAX 65535                  /* bytes */
#define HEARTH_TENSOR_NAME_MAX 64             /* bytes */
#define HEARTH_ALIGNMENT_MAX 65536
#define HEARTH_PARTS_MAX 9999u
#define HEARTH_LAYERS_MAX 512u
#define HEARTH_VOCAB_MAX (UINT64_C(1) << 24)

/* Sessions. */
#define HEARTH_CONTEXT_MAX (1u << 24) /* positions */
#define HEARTH_BATCH_MAX (1u << 16)

/* Chat templates. */
#define HEARTH_TEMPLATE_SOURCE_MAX ((size_t)1 << 20)
#define HEARTH_TEMPLATE_STEPS_MAX 1000000u
#define HEARTH_TEMPLATE_OUTPUT_MAX ((size_t)16 << 20)
/* Inside each other in its text: tags, brackets, prefix operators, conditions. */
#define HEARTH_TEMPLATE_NESTING_MAX 100u
/* Statements, expressions and values inside each other. Macros that call each other count with all that they consist of. */
#define HEARTH_TEMPLATE_DEPTH_MAX 256u
/* Enough for every template within the other limits; pages that are not needed are never touched. */
#define HEARTH_TEMPLATE_MEMORY ((size_t)64 << 20)

/* Grammars. */
#define HEARTH_GRAMMAR_TEXT_MAX (1u << 19) /* bytes of its text */
#define HEARTH_GRAMMAR_OPS_MAX 65536u      /* of its program */
#define HEARTH_GRAMMAR_RULES_MAX 8192u     /* named ones, and one for each item that is repeated a counted number of times */
#define HEARTH_GRAMMAR_REPEAT_MAX 2000u    /* {m,n} */
#define HEARTH_GRAMMAR_NESTING_MAX 64u     /* parentheses in parentheses */
#define HEARTH_GRAMMAR_DEPTH_MAX 1024u     /* rules in rules, while matching: what is nested deeper does not match */
#define HEARTH_GRAMMAR_FILE_MAX (1u << 17) /* bytes of a grammar's or a schema's file that the program reads */
#define HEARTH_SCHEMA_DEPTH_MAX 64u        /* schemas inside each other */

#endif
