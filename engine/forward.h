/* The forward pass: one batch of tokens through the layers, as one job of the pool.
 *
 * An architecture (engine/arch/) is a list of the steps below, written for one worker; every worker runs the same list and does its
 * share of each step. Steps that end with a barrier say so. One worker owns each output element, so the bits do not depend on their
 * number. */
#ifndef HEARTH_ENGINE_FORWARD_H
#define HEARTH_ENGINE_FORWARD_H

#include "blas.h"
#include "claim.h"
#include "describe.h"
#include "pool.h"
#include "prefetch.h"

#define HEARTH_ATTEND_SPLIT_TOKENS 4 /* tokens of a batch whose attention may be divided by segments too */
#define HEARTH_LOGITS_STEP 16        /* floats: rows of logits begin on cache lines */

/* One worker's own memory: two tiles of results, then inputs of products for few tokens, and a panel of widened weights
 * for OpenBLAS, at these byte offsets. */
struct hearth_scratch_layout {
    uint64_t tile;                          /* bytes of a tile */
    uint64_t rows[HEARTH_ACTIVATION_COUNT]; /* of width E or Q */
    uint64_t hidden;                        /* of width F */
    uint64_t panel;                         /* BLAS_ROWS rows of any width, and one as in the file */
    uint64_t experts;                       /* who goes where */
    uint64_t attend;                        /* attention's own */
    uint64_t bytes;
};

/* Rotations that a batch may need: of most layers, and of those with a window where these differ. */
enum hearth_rope { HEARTH_ROPE_GLOBAL, HEARTH_ROPE_LOCAL, HEARTH_ROPE_COUNT };

/* One of the experts of a token. */
struct hearth_route {
    uint32_t expert;
    float weight;
};

/* Everything a batch works on; sized for limits.batch tokens, made once by the session. E = n_embd, Q = n_head * head_dim, F =
 * n_ff. */
struct hearth_buffers {
    float *x;                               /* [batch][E] the residual stream */
    float *x_next, *projected;              /* [batch][E], for sums that are made with a norm; NULL in models without */
    float *q;                               /* [batch][Q], rotated */
    float *attended;                        /* [batch][Q] */
    float *angles[HEARTH_ROPE_COUNT];       /* [batch][2][n_rot / 2] cos, then sin; NULL where layers do not differ */
    uint8_t *rows[HEARTH_ACTIVATION_COUNT]; /* [batch] inputs of products of width E or Q, made by all workers */
    float *hidden;        /* silu(gate) . up, or gelu(up), as float rows: [batch] where Down takes floats, else for few tokens */
    uint8_t *hidden_rows; /* [batch] the same as integer rows */
    float *router_logits; /* [batch][n_expert]; this and the next: in models with experts, whose hidden rows are n_expert_used for
                             each token */
    struct hearth_route *routes;                   /* [batch][n_expert_used] */
    uint8_t *expert_rows[HEARTH_ACTIVATION_COUNT]; /* [batch][n_expert_used] inputs of experts, expert by expert */
    float *logits;                                 /* [logits_rows][n_vocab rounded up to HEARTH_LOGITS_STEP] */
    uint8_t *scratch;                              /* [workers] of scratch_layout.bytes */
    struct hearth_scratch_layout scratch_layout;
    float *attend_states;          /* [n_head_kv] of hearth_attend_state_bytes */
    _Atomic uint32_t *attend_done; /* [n_head_kv] runs of segments that have ended */
    struct hearth_claim *claims;   /* [workers] */
    uint64_t steps;                /* shared steps so far, for the claims; only ever grows */
};

/* One layer of a cache. Position p lies in slot p % slots. Where these are fewer than the context they are whole segments, at least
 * window + batch - 1: what a batch stores overwrites nothing that one of its tokens sees. */
struct hearth_kv_layer {
    uint64_t at;         /* of keys and of values alike: the first head's bytes ... */
    uint64_t head_bytes; /* ... and from one head to the next */
    uint32_t slots;
    uint32_t window; /* positions that a query sees, its own among them; 0: all */
};

/* Keys and values of one session: for each layer and KV head the layout of kernels.h. */
struct hearth_kv_cache {
    uint8_t *keys, *values;
    enum hearth_format format; /* F16, F32 or Q8_0 */
    struct hearth_kv_layer *layers;
};

/* Why a batch should not go on. */
struct hearth_interrupt {
    _Atomic uint32_t cancelled;   /* set by any thread, at any time */
    double deadline;              /* seconds of the monotonic clock; 0: none */
    hearth_abort_fn *should_stop; /* asked on a worker; NULL: nobody is */
    void *stop_user;
};
/* E_CANCELLED, detail E_DEADLINE where it was the deadline. The callback is not asked. */
hearth_status hearth_interrupt_check(const struct hearth_interrupt *interrupt, hearth_error *err);

struct hearth_batch {
    const struct hearth_description *model;
    const struct hearth_kernel_set *kernels;
    const double *rope_frequencies[HEARTH_ROPE_COUNT]; /* [n_rot / 2] radians for each position */
    struct hearth_pool *pool;
    const struct hearth_blas *blas; /* of float weights times many tokens; NULL: our own kernels */
    struct hearth_buffers *buffers;
    struct hearth_prefetch_search *prefetch; /* [HEARTH_PREFETCH_TOKENS] the model's, for passes of 1, 2, ... tokens */
    struct hearth_kv_cache *cache;
    const struct hearth_interrupt *interrupt;
    const int32_t *ids;
    uint32_t left_out;        /* of several workers, the one without a part in it, counted from 1; 0: none */
    uint32_t n;               /* tokens */
    uint32_t position;        /* of the first */
    size_t prefetch_bytes;    /* set by hearth_forward() */
    size_t l1_bytes;          /* as attention kernels take it */
    uint32_t n_logits;        /* the last n_logits of the batch get logits */
    _Atomic uint32_t end;     /* layers that are computed, all unless interrupted */
    _Atomic uint32_t failure; /* 0, or 1 + the earliest (layer, operation) that met a number that is not finite */
};

/* Compute the batch. E_INFERENCE names layer and operation when numbers are not finite; the cache beyond `position` is then
 * garbage, which nobody reads, as it is after E_CANCELLED: an interrupt is obeyed before the next layer. */
hearth_status hearth_forward(struct hearth_batch *batch, hearth_error *err);

/* What a batch of up to `batch` tokens needs of each worker. */
void hearth_forward_scratch_layout(struct hearth_scratch_layout *out, const struct hearth_description *model, uint32_t batch,
                                   bool blas);
/* Experts that a token passes through, one by one; 1 where there are none. */
uint32_t hearth_forward_slots(const struct hearth_hparams *hparams);
/* Whether some experts take rows of this kind. */
bool hearth_forward_experts_take(const struct hearth_description *model, enum hearth_activation kind);
/* Rows of `hidden` for such a batch, and bytes of a row of `hidden_rows`. */
uint32_t hearth_forward_hidden_rows(const struct hearth_description *model, uint32_t batch);
uint64_t hearth_forward_hidden_row_bytes(const struct hearth_description *model);
/* The widest input of a product that is not the feed-forward network's second; and the widest of all. */
uint32_t hearth_forward_widest_of_x(const struct hearth_description *model);
uint32_t hearth_forward_widest(const struct hearth_description *model);
/* For how many tokens rows need room, n_tokens >= 1: whole blocks of them. */
uint32_t hearth_forward_whole_blocks(uint32_t n_tokens);
/* Fill [n_rot / 2]; divisors, from the file, may be NULL. Source: spec architectures.md 4.2. */
void hearth_rope_frequencies(double *out, const struct hearth_hparams *hparams, enum hearth_rope rope, const float *divisors);

/* ---- Steps, for engine/arch ---------------------------------------------------------------------------------------- */

/* Activations of tokens, of one kind. Of many tokens, those that are multiplied together lie together: a block of them. */
struct hearth_rows {
    uint8_t *first;
    size_t stride;         /* the products' x_stride */
    size_t step;           /* from a token to the next of its block */
    uint32_t block_tokens; /* of a block, all but the last one are full */
    size_t block_bytes;    /* from a block to the next */
};

/* What a product takes. */
struct hearth_input {
    struct hearth_rows of[HEARTH_ACTIVATION_COUNT];
};

struct hearth_step {
    struct hearth_batch *batch;
    uint32_t worker, workers;
    uint32_t layer;
    uint32_t asked;                    /* layers that the callback has been asked about */
    uint64_t steps;                    /* shared steps so far: equal on all workers at every barrier */
    float *x, *x_next;                 /* of the buffers, in turn */
    const struct hearth_norm *pending; /* of `projected`, which is still to be added to x; NULL: nothing is */
    struct hearth_input input;         /* of the next products */
    struct hearth_input hidden;        /* of the second product that runs beside one of `input` */
};

/* `next` is the matrix whose product follows, NULL for none: its first bytes are fetched while a worker waits at a barrier. For few
 * tokens a layer of `llama` has five barriers, one behind each group of products and one behind attention; a layer of `phi2` three.
 */

/* Whether s->layer is to be computed: the condition of an architecture's loop over layers. False beyond the last one, and when the
 * batch has been interrupted. All workers get the same answer. */
bool hearth_step_has_layer(const struct hearth_step *s);
/* Look the tokens up and prepare their angles. Barrier. */
void hearth_step_embed(struct hearth_step *s);
/* Normalise x and turn it into the input of the given matrices; NULL where there are fewer than four. */
void hearth_step_norm(struct hearth_step *s, const struct hearth_norm *norm, const struct hearth_matrix *a,
                      const struct hearth_matrix *b, const struct hearth_matrix *c, const struct hearth_matrix *d);
/* Project the input to queries, keys and values; normalise the heads of queries and keys where the model does, rotate them, store
 * keys and values in the cache. No barrier: other products of the same input may follow. */
void hearth_step_queries_keys_values(struct hearth_step *s, const struct hearth_layer *l);
/* hidden = gelu(up * input), for hearth_step_project_both_and_add(). No barrier. */
void hearth_step_gelu(struct hearth_step *s, const struct hearth_matrix *up, const struct hearth_matrix *down);
/* Wait until all workers have finished the steps before. */
void hearth_step_barrier(struct hearth_step *s, const struct hearth_matrix *next);
/* attended = attention(q, cache), turned into the input of `next`. Barrier. */
void hearth_step_attend(struct hearth_step *s, const struct hearth_matrix *next);
/* silu(gate * input) . (up * input), with gelu for silu where the architecture has that, turned into the input of `next`. Barrier.
 */
void hearth_step_gated(struct hearth_step *s, const struct hearth_matrix *gate, const struct hearth_matrix *up,
                       const struct hearth_matrix *next);
/* x += matrix * input. Barrier. */
void hearth_step_project_and_add(struct hearth_step *s, const struct hearth_matrix *matrix, const struct hearth_matrix *next);
/* x += the experts of each token that the router chooses, times their weights: for the input, which the layer's router, gate and
 * up take. Barrier. */
void hearth_step_experts(struct hearth_step *s, const struct hearth_layer *l, const struct hearth_matrix *next);
/* x += norm(matrix * input). Barrier. The sum needs whole rows, so those make it who normalise x next. */
void hearth_step_project_norm_and_add(struct hearth_step *s, const struct hearth_matrix *matrix, const struct hearth_norm *norm,
                                      const struct hearth_matrix *next);
/* x += o * input, x += down * hidden. Barrier. */
void hearth_step_project_both_and_add(struct hearth_step *s, const struct hearth_matrix *o, const struct hearth_matrix *down,
                                      const struct hearth_matrix *next);
/* Final norm and output matrix for the positions asked for; nothing after an interrupted loop. */
void hearth_step_output(struct hearth_step *s);

/* ---- Attention (attend.c), for the steps above --------------------------------------------------------------------- */

/* Put the key, or the value, of one position into the cache of the layer. false: it is not finite, which only a quantized cache
 * sees. */
bool hearth_attend_store_key(const struct hearth_step *s, uint32_t kv_head, uint32_t position, const float *key);
bool hearth_attend_store_value(const struct hearth_step *s, uint32_t kv_head, uint32_t position, const float *value);
/* attended = attention(q, cache) for every token of the batch. No barrier. false: a query is not finite, as above. */
bool hearth_attend(struct hearth_step *s);
/* Bytes of a worker's scratch that these need, and of the states of segments of one KV head. */
uint64_t hearth_attend_scratch_bytes(const struct hearth_hparams *hparams);
uint64_t hearth_attend_state_bytes(const struct hearth_hparams *hparams, uint32_t n_segments);

void hearth_arch_gemma2(struct hearth_step *s);
void hearth_arch_llama(struct hearth_step *s);
void hearth_arch_phi2(struct hearth_step *s);

#endif
