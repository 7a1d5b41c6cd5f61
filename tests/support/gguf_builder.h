/* GGUF files made in memory, for tests: a small valid model to begin with, changed one thing at a time, then written with every
 * length, offset and padding right again. What goes wrong in here (no memory, a table too small) ends the program. */
#ifndef HEARTH_TESTS_GGUF_BUILDER_H
#define HEARTH_TESTS_GGUF_BUILDER_H

#include "gguf.h"

#define GGUF_BUILDER_PAIRS 96
#define GGUF_BUILDER_TENSORS 512

struct gguf_builder_tensor {
    char name[80];
    uint32_t format, n_dims;
    uint64_t ne[4];
    bool elsewhere; /* in another part of a split model: not written */
};

struct gguf_builder {
    uint32_t alignment; /* 32 */
    uint64_t seed;      /* of the weights; 1 */
    size_t n_pairs, n_tensors;
    struct hearth_gguf_pair pairs[GGUF_BUILDER_PAIRS]; /* keys and values are the builder's own copies */
    struct gguf_builder_tensor tensors[GGUF_BUILDER_TENSORS];
    void *memory; /* private: list of those copies */
};

/* Zero fields take the value in brackets. Rows that are no multiple of the format's block are stored as F16. */
struct gguf_shape {
    const char *arch;          /* ["llama"], or "gemma", "gemma2", "gemma3", "phi2", "phi3", "qwen2", "qwen3", "qwen3moe" */
    uint32_t n_layer;          /* [2] */
    uint32_t n_embd;           /* [64] */
    uint32_t n_head;           /* [4] */
    uint32_t n_head_kv;        /* [2] */
    uint32_t n_ff;             /* [96] */
    uint32_t n_rot;            /* [n_embd / n_head] */
    uint32_t n_vocab;          /* [300], at least 259 */
    uint32_t n_ctx_train;      /* [128] */
    enum hearth_format format; /* of the matrices [F32] */
    bool tied;                 /* no output.weight [false] */
    bool rope_freqs;           /* with rope_freqs.weight [false] */
    uint32_t n_expert;         /* [0], n_expert_used of them for each token */
    uint32_t n_expert_used;
};

/* An empty file: no pairs, no tensors. */
void gguf_builder_init(struct gguf_builder *builder);
void gguf_builder_free(struct gguf_builder *builder);

/* A whole llama, or what shape->arch says: hyper-parameters, tensors and an SPM vocabulary. NULL takes all defaults. */
void gguf_builder_add_llama(struct gguf_builder *builder, const struct gguf_shape *shape);
/* 0 <unk>, 1 <s>, 2 </s>, 3 to 258 the bytes, then the space mark, letters, pairs of letters, fillers. Replaces another one. */
void gguf_builder_add_spm_vocabulary(struct gguf_builder *builder, uint32_t n_tokens);
/* 0 to 255 the byte alphabet of byte-level BPE, 256 <|endoftext|>, 257 "th" with its merge. Replaces another one. */
void gguf_builder_add_bpe_vocabulary(struct gguf_builder *builder);

/* Set a key, replacing its value where the key is there. Numbers are given as they lie in memory. */
void gguf_builder_set(struct gguf_builder *builder, const char *key, enum hearth_gguf_type type, const void *value);
void gguf_builder_set_u32(struct gguf_builder *builder, const char *key, uint32_t value);
void gguf_builder_set_f32(struct gguf_builder *builder, const char *key, float value);
void gguf_builder_set_bool(struct gguf_builder *builder, const char *key, bool value);
void gguf_builder_set_string(struct gguf_builder *builder, const char *key, const char *value);
void gguf_builder_set_array(struct gguf_builder *builder, const char *key, enum hearth_gguf_type element_type, const void *values,
                            uint64_t count);
void gguf_builder_set_strings(struct gguf_builder *builder, const char *key, const char *const *values, uint64_t count);
/* Change one string of a string array. */
void gguf_builder_replace_string(struct gguf_builder *builder, const char *key, uint64_t index, const void *text, size_t size);
/* Append a pair whatever is there already: duplicates and impossible keys included. */
void gguf_builder_append_pair(struct gguf_builder *builder, const struct hearth_gguf_pair *pair);
void gguf_builder_drop(struct gguf_builder *builder, const char *key);
struct hearth_gguf_pair *gguf_builder_find(struct gguf_builder *builder, const char *key);

void gguf_builder_set_tensor(struct gguf_builder *builder, const char *name, uint32_t format, uint32_t n_dims, const uint64_t *ne);
void gguf_builder_append_tensor(struct gguf_builder *builder, const char *name, uint32_t format, uint32_t n_dims,
                                const uint64_t *ne);
void gguf_builder_drop_tensor(struct gguf_builder *builder, const char *name);
struct gguf_builder_tensor *gguf_builder_find_tensor(struct gguf_builder *builder, const char *name);

/* Turn a whole model into part `number` (from 0) of one split into `count` parts: only its share of the tensors, which have the
 * weights that they have in the whole, and only the first part keeps the pairs. Sets the split keys. */
void gguf_builder_make_part(struct gguf_builder *builder, uint16_t number, uint16_t count);

/* The file: *size bytes, to be given to free(). Weights are small, finite and a function of the seed alone. */
uint8_t *gguf_builder_finish(const struct gguf_builder *builder, size_t *size);
/* The same, into a file that did not exist or is replaced. */
void gguf_builder_write_file(const struct gguf_builder *builder, const char *path);

#endif
