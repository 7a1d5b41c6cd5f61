/* What becomes of each tensor of a file, and the header that says so. Reads the header alone. */
#ifndef HEARTH_QUANTIZE_SCHEME_H
#define HEARTH_QUANTIZE_SCHEME_H

#include "imatrix.h"
#include "recipe.h"

struct hearth_scheme_tensor {
    const struct hearth_gguf_tensor *in;
    enum hearth_tensor_class class;
    uint32_t format;         /* of the new file */
    uint32_t index;          /* for the recipe */
    uint64_t bytes, offset;  /* of the new data; the offset counts from the start of the file */
    const float *importance; /* [matrices][columns]; NULL: none */
};

struct hearth_scheme {
    uint64_t n_tensors;
    struct hearth_scheme_tensor *tensors; /* in the order of the file */
    float *importance;                    /* of all tensors that have one */
    uint8_t *header;
    size_t header_bytes;
    uint64_t file_bytes;                        /* header and data */
    uint64_t n_encoded, n_fallbacks, n_weighed; /* tensors that change; of these, with another format than the recipe's; with
                                                   importance */
    uint64_t elements;                          /* of the encoded tensors */
};

/* `gguf` and `imatrix` (NULL: none) stay open as long as the scheme. pure: the recipe's base format for every matrix. Errors:
 * E_FORMAT (no architecture, an importance matrix that does not fit), E_UNSUPPORTED (quantized already, split, no model), E_MEMORY.
 * Whatever is returned, free it. */
hearth_status hearth_scheme_make(struct hearth_scheme *out, const struct hearth_gguf *gguf, const struct hearth_recipe *recipe,
                                 bool pure, const struct hearth_imatrix *imatrix, hearth_error *err);
void hearth_scheme_free(struct hearth_scheme *scheme);

/* Whether the bytes of a tensor change. */
static inline bool hearth_scheme_encodes(const struct hearth_scheme_tensor *t)
{
    return t->format != t->in->format;
}

#endif
