/* From the text of a template to tokens, one at a time (spec chat.md 4.1), white space around tags taken away as trim_blocks and
 * lstrip_blocks do. */
#ifndef HEARTH_ENGINE_TEMPLATE_LEXER_H
#define HEARTH_ENGINE_TEMPLATE_LEXER_H

#include "template/str.h"

enum hearth_token_kind {
    HEARTH_LEX_END,
    HEARTH_LEX_TEXT,
    HEARTH_LEX_OUTPUT,          /* {{ */
    HEARTH_LEX_OUTPUT_CLOSE,    /* }} */
    HEARTH_LEX_STATEMENT,       /* {% */
    HEARTH_LEX_STATEMENT_CLOSE, /* %} */
    HEARTH_LEX_NAME,
    HEARTH_LEX_NUMBER,
    HEARTH_LEX_STR, /* its meaning: without quotes and escapes */
    HEARTH_LEX_OPERATOR
};

struct hearth_template_token {
    enum hearth_token_kind kind;
    uint32_t line;
    struct hearth_str text;
};

struct hearth_lexer {
    struct hearth_workspace *w;
    struct hearth_str source;
    size_t at;
    uint32_t line;
    char tag;          /* '{' or '%' inside such a tag, else 0 */
    bool entering;     /* its opener has not been given yet */
    uint32_t brackets; /* open inside the tag */
    bool strip;        /* the closer before had a '-' */
    bool starts_line;  /* nothing but white space taken away stands before on the line */
    bool raw;          /* between {% raw %} and {% endraw %} */
};

/* The source is copied with its line ends as LF and without the last one. */
void hearth_lexer_init(struct hearth_lexer *lexer, struct hearth_workspace *w, const char *source, size_t n);
/* END after a failure. */
struct hearth_template_token hearth_lexer_next(struct hearth_lexer *lexer);

#endif
