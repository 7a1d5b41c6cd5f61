/* The forward pass: one batch of tokens through the layers, as one job of the pool.
 *
 * An architecture (engine/arch/) is a list of the steps below, written for one worker; every worker runs the same list and does its
 * share of each step. Steps that end with a barrier say so. One worker owns each output element, so the bits do not depend on their
 * number. */
#ifndef HEARTH_ENGINE_FORWARD_H
#define HEARTH_ENGINE_FORWARD_H

#include "claim.h"
#include "describe.h"
#include "pool.h"

#define HEARTH_LOGITS_STEP 16 /* floats: rows of logits begin on cache lines */

/* Everything a batch works on; sized for limits.batch tokens, made once by the session. E = n_embd, F = n_ff, Q = n_head *
 * head_dim, K = n_head_kv * head_dim. */
struct hearth_buffers {
    float *x;                               /* [batch][E] the residual stream */
    float *q, *k, *v;                       /* [batch][Q], [batch][K], [batch][K] */
    float *attended;                        /* [batch][Q] */
    float *gate, *up;                       /* [batch][F] */
    float *product;                         /* [batch][E] what is added to x next */
    float *angles;                          /* [batch][2][n_rot / 2] cos, then sin */
    uint8_t *rows[HEARTH_ACTIVATION_COUNT]; /* [batch] activation rows of the widest matrix */
    float *logits;                          /* [logits_rows][n_vocab rounded up to HEARTH_LOGITS_STEP] */
    uint8_t *scratch;                       /* [workers] of scratch_bytes */
    uint64_t scratch_bytes;
    struct hearth_claim *claims; /* [workers] */
    uint64_t steps;              /* shared steps so far, for the claims; only ever grows */
};

/* Keys and values of one session: for each layer and KV head the layout of kernels.h. */
struct hearth_kv_cache {
    uint8_t *keys, *values;
    enum hearth_format format; /* F16 or F32 */
    uint64_t head_bytes;       /* from one head to the next, of keys and of values alike */
};

struct hearth_batch {
    const struct hearth_description *model;
    const struct hearth_kernel_set *kernels;
    const double *rope_frequencies; /* [n_rot / 2] radians for each position */
    struct hearth_pool *pool;
    struct hearth_buffers *buffers;
    struct hearth_kv_cache *cache;
    const int32_t *ids;
    uint32_t n;               /* tokens */
    uint32_t position;        /* of the first */
    uint32_t n_logits;        /* the last n_logits of the batch get logits */
    _Atomic uint32_t failure; /* 0, or 1 + the earliest (layer, operation) that met a number that is not finite */
};

/* Compute the batch. E_INFERENCE names layer and operation when numbers are not finite; the cache beyond `position` is then
 * garbage, which nobody reads. */
hearth_status hearth_forward(struct hearth_batch *batch, hearth_error *err);

/* Bytes of one worker's scratch. */
uint64_t hearth_forward_scratch_bytes(const struct hearth_description *model);
/* The widest row any matrix of the model takes. */
uint32_t hearth_forward_widest(const struct hearth_description *model);
/* Fill [n_rot / 2]; rope_freqs may be NULL. Source: spec architectures.md 4.2. */
void hearth_rope_frequencies(double *out, const struct hearth_hparams *hparams, const float *rope_freqs);

/* ---- Steps, for engine/arch ---------------------------------------------------------------------------------------- */

struct hearth_step {
    struct hearth_batch *batch;
    uint32_t worker, workers;
    uint32_t layer;
    uint64_t steps;                             /* shared steps so far: equal on all workers at every barrier */
    const void *input[HEARTH_ACTIVATION_COUNT]; /* rows that the next products take, by kind */
    size_t input_stride[HEARTH_ACTIVATION_COUNT];
};

/* Look the tokens up and prepare their angles. Barrier. */
void hearth_step_embed(struct hearth_step *s);
/* Normalise x and turn it into the input of the given matrices (up to three; NULL where fewer). Barrier. */
void hearth_step_norm(struct hearth_step *s, const struct hearth_vector *weight, const struct hearth_matrix *a,
                      const struct hearth_matrix *b, const struct hearth_matrix *c);
/* out[t * out_stride + r] = matrix * input. No barrier: several may follow each other. */
void hearth_step_project(struct hearth_step *s, const struct hearth_matrix *matrix, float *out, size_t out_stride);
/* End a group of projections. */
void hearth_step_barrier(struct hearth_step *s);
/* Rotate q and k, store k and v in the cache. Barrier. */
void hearth_step_rope_and_store(struct hearth_step *s);
/* attended = attention(q, cache), turned into the input of `next`. Barrier. */
void hearth_step_attend(struct hearth_step *s, const struct hearth_matrix *next);
/* silu(gate * input) . (up * input), turned into the input of `next`. Barrier. */
void hearth_step_gated(struct hearth_step *s, const struct hearth_matrix *gate, const struct hearth_matrix *up,
                       const struct hearth_matrix *next);
/* x += matrix * input. Barrier. */
void hearth_step_project_and_add(struct hearth_step *s, const struct hearth_matrix *matrix);
/* Final norm and output matrix for the positions asked for. */
void hearth_step_output(struct hearth_step *s);

void hearth_arch_llama(struct hearth_step *s);

#endif
