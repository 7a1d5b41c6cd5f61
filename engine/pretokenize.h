/* Cutting a text into the pieces inside which byte-level BPE merges (spec tokenizers.md chapter 5), with PCRE2's interpreter.
 *
 * A pre-tokenizer is a list of stages. A stage makes a piece of every match of its pattern in the pieces of the stage before, and
 * pieces of what lies between. The patterns are ours, the text is anybody's: no pattern looks at a character more than a few times
 * for each match that takes it, what one search may do is limited, and all memory is handed in. */
#ifndef HEARTH_ENGINE_PRETOKENIZE_H
#define HEARTH_ENGINE_PRETOKENIZE_H

#include "gguf.h"

struct hearth_pretokenizer;

/* A text is worked on in windows of so many bytes. A longer one is cut where a letter is followed by white space, a comma or the
 * end of a sentence, which is a border of pieces in all that cut at words; where there is no such place, the window ends with
 * its last whole character. */
#define HEARTH_PRETOKENIZER_WINDOW 65536u
/* Bytes of the compiled patterns, at most, and of the scratch; both 64-byte aligned. */
#define HEARTH_PRETOKENIZER_BYTES ((size_t)24 << 10)
#define HEARTH_PRETOKENIZER_SCRATCH ((size_t)HEARTH_PRETOKENIZER_WINDOW + ((size_t)24 << 10))

/* One row of the table of names (tokenizer.ggml.pre). An empty name is the one called "default". */
struct hearth_pretokenizer_name {
    const char *name;
    const struct hearth_pretokenizer_family *family;
    bool ignore_merges; /* a piece that is a token stays whole */
};
/* NULL when there is no such name. */
const struct hearth_pretokenizer_name *hearth_pretokenizer_find(struct hearth_view name);
/* All names, for tests: NULL from the first index on that there is not. */
const struct hearth_pretokenizer_name *hearth_pretokenizer_at(size_t index);

/* Compile the patterns into `memory` (HEARTH_PRETOKENIZER_BYTES). Immutable from then on; nothing needs to be destroyed. NULL when
 * PCRE2 refuses, which the tests rule out for the version they run with. */
struct hearth_pretokenizer *hearth_pretokenizer_init(void *memory, const struct hearth_pretokenizer_name *name);

/* Call fn for each piece [begin, end) of the text, from left to right; together they are the text, none is empty or longer than a
 * window. Bytes that are not UTF-8 count as control characters. */
typedef void hearth_piece_fn(size_t begin, size_t end, void *user);
void hearth_pretokenize(const struct hearth_pretokenizer *pretokenizer, void *scratch, const uint8_t *text, size_t bytes,
                        hearth_piece_fn *fn, void *user);

#endif
