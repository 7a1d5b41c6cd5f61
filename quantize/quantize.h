/* A model file with float weights becomes a smaller one: `hearth quantize`. First everything that the headers tell is decided and
 * checked, then tensor by tensor is read, encoded and written by the engine's workers.
 *
 * Memory: the two headers, the importance matrix, and for each worker a piece of the old file, one of the new, and a row of floats;
 * a piece is 64 Ki elements, or a row where that is longer. The bytes written do not depend on the number of workers. */
#ifndef HEARTH_QUANTIZE_QUANTIZE_H
#define HEARTH_QUANTIZE_QUANTIZE_H

#include "engine.h"
#include "scheme.h"

struct hearth_quantize {
    struct hearth_engine *engine; /* the caller's */
    struct hearth_source source;
    struct hearth_file_source file;
    struct hearth_imatrix imatrix;
    struct hearth_scheme scheme;
};

struct hearth_quantize_options {
    const char *input, *imatrix; /* paths; imatrix NULL: none */
    const struct hearth_recipe *recipe;
    bool pure; /* the recipe's base format for every matrix */
};

/* Decide. Errors: those of the files, of hearth_scheme_make(), E_UNSUPPORTED for a recipe with a format that nothing encodes. Paths
 * stay with the caller. Whatever is returned, close it. */
hearth_status hearth_quantize_open(struct hearth_quantize *out, struct hearth_engine *engine,
                                   const struct hearth_quantize_options *options, hearth_error *err);
void hearth_quantize_close(struct hearth_quantize *quantize);

/* Write the whole file, scheme.file_bytes, to a descriptor that can be written at any place; `name` stands in messages. Progress is
 * told in bytes of the new file, from the calling thread. Errors: E_IO, E_MEMORY, E_CANCELLED, E_FORMAT E_NUM for a weight that is
 * not finite or too large for its format. */
hearth_status hearth_quantize_write(struct hearth_quantize *quantize, int fd, const char *name, hearth_progress_fn *progress,
                                    void *user, hearth_error *err);

#endif
