/* Importance matrices: for each column of a weight matrix the mean square of the activations that meet it, measured by other tools.
 * Two forms of file: GGUF, and the older binary one. Both are taken to be hostile. */
#ifndef HEARTH_QUANTIZE_IMATRIX_H
#define HEARTH_QUANTIZE_IMATRIX_H

#include "gguf.h"
#include "file.h"
#include "name_index.h"

struct hearth_imatrix {
    const char *path; /* the caller's */
    struct hearth_file file;
    bool is_gguf;
    struct hearth_gguf gguf;
    struct hearth_imatrix_record *records; /* of the older form */
    struct hearth_name_index index;
    struct hearth_view dataset; /* empty where the file does not tell */
    uint64_t n_entries, n_chunks;
};

/* Where the numbers of one tensor lie. */
struct hearth_imatrix_entry {
    uint64_t n, offset;               /* sums: floats, and where in the file */
    uint64_t n_counts, counts_offset; /* GGUF: floats that divide them, one for each matrix */
    float count;                      /* the older form: one for all */
};

/* Errors: as hearth_file_open() and hearth_gguf_parse(); E_FORMAT for what is damaged, E_UNSUPPORTED for a GGUF file that is no
 * importance matrix. Whatever is returned, close it. */
hearth_status hearth_imatrix_open(struct hearth_imatrix *out, const char *path, hearth_error *err);
void hearth_imatrix_close(struct hearth_imatrix *imatrix);

/* False: nothing is known of the tensor. */
bool hearth_imatrix_find(const struct hearth_imatrix *imatrix, struct hearth_view name, struct hearth_imatrix_entry *out);
/* The importance of the columns, out[n_matrices][columns], all finite and >= 0. E_FORMAT when the entry is not of that size, or has
 * other numbers. */
hearth_status hearth_imatrix_read(const struct hearth_imatrix *imatrix, const struct hearth_imatrix_entry *entry,
                                  struct hearth_view name, uint64_t columns, uint64_t n_matrices, float *out, hearth_error *err);

#endif
