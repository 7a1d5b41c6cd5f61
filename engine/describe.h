/* What a model consists of, in the engine's words: every matrix and vector the forward pass uses, found in the file, shapes
 * checked, kernel chosen. Made from the header alone; the plan and the loader both work from it. */
#ifndef HEARTH_ENGINE_DESCRIBE_H
#define HEARTH_ENGINE_DESCRIBE_H

#include "arena.h"
#include "gguf.h"
#include "hparams.h"
#include "kernels.h"

/* y = W x (+ bias). Rows are outputs. rows == 0: the model has no such matrix. Experts are `count` matrices of one shape, one
 * behind the other in the file and in memory; else count is 1. */
struct hearth_matrix {
    const struct hearth_kernel *kernel; /* MATMUL row; its tile is the layout of `packed` */
    uint32_t format;
    uint32_t rows, k, count;
    uint64_t file_offset;
    bool part;         /* some rows of a larger tensor of the file, as Q, K and V of one fused matrix ... */
    uint32_t first;    /* ... and the rows before them */
    uint8_t *packed;   /* [count][ceil(rows / tile_rows)] tiles */
    const float *bias; /* [rows] or NULL */
};

/* A vector of floats: norm weights, biases. n == 0: absent. */
struct hearth_vector {
    uint32_t format; /* F32, F16 or BF16 in the file */
    uint32_t n;
    uint64_t file_offset;
    bool part;      /* some elements of a larger tensor of the file ... */
    uint32_t first; /* ... and the elements before them */
    float *values;
};

/* What a normalised x is multiplied with, and what LayerNorm adds. */
struct hearth_norm {
    struct hearth_vector weight, bias;
};

struct hearth_layer {
    struct hearth_norm attn_norm, ffn_norm;
    struct hearth_norm post_attn_norm, post_ffn_norm; /* of what is added to x */
    struct hearth_vector q_norm, k_norm;              /* [head_dim], of each head */
    struct hearth_matrix q, k, v, o;
    struct hearth_matrix router;         /* [n_expert], in a model with experts */
    struct hearth_matrix gate, up, down; /* of each of them there */
    struct hearth_vector q_bias, k_bias, v_bias, o_bias, gate_bias, up_bias, down_bias;
};

/* Rows of the embedding table as they lie in the file: looked up, never multiplied. rows == 0: tied, taken from the output matrix.
 */
struct hearth_table {
    uint32_t format;
    uint32_t rows, k;
    uint64_t file_offset;
    uint8_t *bytes;
};

struct hearth_description {
    struct hearth_hparams hparams;
    struct hearth_table embedding;
    struct hearth_norm output_norm;
    struct hearth_vector rope_freqs, output_bias;
    struct hearth_vector rope_short, rope_long; /* longrope: divisors for short and for long contexts */
    struct hearth_matrix output;
    bool uses[HEARTH_ACTIVATION_COUNT]; /* kinds of activation rows that some matrix takes */
    uint64_t n_tensors;                 /* of the file, that are used */
    uint64_t weight_bytes;              /* of these, as in the file */
    uint64_t n_parameters;              /* elements of all tensors used */
    uint64_t macs_per_token;            /* products of one decoded token, attention apart */
    struct hearth_layer *layers;        /* [n_layer] */
    uint8_t *image;                     /* the memory of all weights, once laid out over a reserved arena */
    uint64_t image_bytes;               /* its size, once laid out or counted */
};

/* Find and check the tensors that these hyper-parameters ask for. out->layers is malloc'ed: hearth_description_free(). Warns of
 * unused tensors.
 */
hearth_status hearth_describe(struct hearth_description *out, const struct hearth_hparams *hparams, const struct hearth_gguf *gguf,
                              const struct hearth_kernel_set *kernels, hearth_log_fn *log, void *log_user, hearth_error *err);
void hearth_description_free(struct hearth_description *description);

/* Take the memory of the description itself from `arena` and that of all weights, in one piece, from `weights`, which may be the
 * same (or count it). With memory, the layers move into the arena and the malloc'ed ones are freed. */
void hearth_description_layout(struct hearth_description *description, struct hearth_arena *arena, struct hearth_arena *weights);

/* Call fn for every matrix, vector and table in the order of the file's canonical names, until it returns false. One of the three
 * pointers is set. */
struct hearth_weight {
    struct hearth_matrix *matrix;
    struct hearth_vector *vector;
    struct hearth_table *table;
};
size_t hearth_weight_count(const struct hearth_description *description);
struct hearth_weight hearth_weight_at(struct hearth_description *description, size_t index);
/* The tensor's name in the file, for messages. */
void hearth_weight_name(const struct hearth_description *description, size_t index, char out[64]);

/* Bytes of the packed matrix; of all experts, and of one. */
uint64_t hearth_matrix_packed_bytes(const struct hearth_matrix *matrix);
uint64_t hearth_matrix_one_packed_bytes(const struct hearth_matrix *matrix);
/* How many of its matrices a pass over so many tokens uses, at most. */
uint32_t hearth_matrices_used(const struct hearth_hparams *hparams, const struct hearth_matrix *matrix, uint32_t n_tokens);
/* One expert's, for a product; it has no bias. */
struct hearth_matrix hearth_matrix_of_expert(const struct hearth_matrix *matrix, uint32_t expert);

#endif
