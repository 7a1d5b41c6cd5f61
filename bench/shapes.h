/* Well-known models by their shapes; what a recipe gives their tensors is the business of quantize/recipe.h. */
#ifndef HEARTH_BENCH_SHAPES_H
#define HEARTH_BENCH_SHAPES_H

#include "gguf.h"

enum hearth_shape_architecture { HEARTH_SHAPE_LLAMA, HEARTH_SHAPE_PHI2, HEARTH_SHAPE_QWEN3 };

struct hearth_shape {
    const char *name;
    enum hearth_shape_architecture architecture;
    uint32_t n_layer, n_embd, n_ff, n_head, n_head_kv, head_dim, n_rot, n_vocab, n_ctx_train;
    float rope_freq_base;
    bool tied;       /* no output.weight */
    bool rope_freqs; /* the file has factors of the frequencies */
    uint32_t n_expert, n_expert_used;
};

extern const struct hearth_shape hearth_shapes[];
extern const size_t hearth_shape_count;

/* NULL when there is none of the name. */
const struct hearth_shape *hearth_shape_find(const char *name);
/* All names, separated by ", ", for messages. */
void hearth_shape_names(char *out, size_t capacity);

/* The header of a GGUF file of this shape and recipe: *bytes (free with free()) of *size; its data section has *data_bytes. The
 * vocabulary is made up. E_CONFIG for an unknown recipe. */
hearth_status hearth_shape_header(const struct hearth_shape *shape, const char *recipe, uint8_t **bytes, size_t *size,
                                  uint64_t *data_bytes, hearth_error *err);

#endif
