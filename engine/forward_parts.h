/* What the files of the forward pass share; nobody else sees it. Architectures take the steps of forward.h. */
#ifndef HEARTH_ENGINE_FORWARD_PARTS_H
#define HEARTH_ENGINE_FORWARD_PARTS_H

#include "common/real.h"
#include "forward.h"
#include "share.h"
#include <string.h>

/* What can fail, in the order it runs within a layer. */
enum operation { NORM, ATTENTION, ROUTER, FEED_FORWARD, OUTPUT, OPERATION_COUNT };

/* An operation of this layer has met a number that is not finite. */
void hearth_step_report(const struct hearth_step *s, enum operation operation);

/* Up to this many tokens every worker makes the inputs of the products for itself: it takes some microseconds, and the others need
 * not be waited for. For more the workers divide the tokens, and meet at a barrier. */
#define FEW_TOKENS 4u
/* Results that are worked on at once, in the worker's own memory: of many tokens a block, and of rows a group of activations, the
 * heads of a piece or PIECE_ROWS. For few tokens the weights are the work, and where a piece begins, what prefetches them does so
 * anew: more rows. */
#define BLOCK_TOKENS 256u
#define GROUP_ROWS 256u
#define PIECE_ROWS 128u
#define FEW_TOKENS_PIECE_ROWS 512u
/* OpenBLAS, where it is asked for: rows that are widened at once. */
#define BLAS_ROWS 64u

static inline bool is_few(uint32_t n_tokens)
{
    return n_tokens <= FEW_TOKENS;
}

static inline uint32_t block_tokens(uint32_t n_tokens)
{
    return n_tokens < BLOCK_TOKENS ? n_tokens : BLOCK_TOKENS;
}

/* ---- A worker's own memory (forward_scratch.c) ------------------------------------------------------------------------ */

/* Whole heads whose rows are whole units, PIECE_ROWS / 2 or more of them where there are as many heads. */
uint32_t hearth_forward_heads_of_piece(const struct hearth_hparams *hparams);

static inline uint8_t *worker_scratch(const struct hearth_step *s)
{
    return s->batch->buffers->scratch + s->worker * s->batch->buffers->scratch_layout.bytes;
}

/* Two areas for a row of floats, a row of file blocks, or a block of results. */
static inline float *first_tile(const struct hearth_step *s)
{
    return (float *)(void *)worker_scratch(s);
}

static inline float *second_tile(const struct hearth_step *s)
{
    return (float *)(void *)(worker_scratch(s) + s->batch->buffers->scratch_layout.tile);
}

/* ---- Inputs of products (forward_inputs.c) ---------------------------------------------------------------------------- */

static inline enum hearth_activation activation_of(const struct hearth_matrix *m)
{
    return hearth_format_info(m->format)->activation;
}

/* n tokens' activations of k elements as one block: few tokens, or entries of experts, each of whom begins anywhere. */
static inline struct hearth_rows rows_together(uint8_t *first, enum hearth_activation kind, size_t k, uint32_t n)
{
    const size_t stride = hearth_activation_stride(kind, k, n);
    return (struct hearth_rows){first, stride, hearth_activation_step(kind, stride), n, n * hearth_activation_bytes(kind, k)};
}

/* The same in blocks. */
static inline struct hearth_rows rows_at(uint8_t *first, enum hearth_activation kind, size_t k, uint32_t n)
{
    return rows_together(first, kind, k, block_tokens(n));
}

/* Where token t is. */
static inline uint8_t *token_at(const struct hearth_rows *rows, uint32_t t)
{
    return rows->first + t / rows->block_tokens * rows->block_bytes + t % rows->block_tokens * rows->step;
}

/* Which kinds of rows do these matrices take? Any of them may be NULL. */
void hearth_step_wanted_kinds(bool wanted[HEARTH_ACTIVATION_COUNT], const struct hearth_matrix *const *matrices, size_t n);
/* Elements begin ... end-1 of a token's units, whole groups, from x. */
void hearth_step_quantize(const struct hearth_step *s, enum hearth_activation kind, uint8_t *units, size_t stride, const float *x,
                          struct hearth_range part, enum operation operation);
/* Normalise n rows of x from `first` on, with what is still to be added to it, as the next input. Barrier, unless few. */
void hearth_step_norm_rows(struct hearth_step *s, const struct hearth_norm *norm, const bool wanted[HEARTH_ACTIVATION_COUNT],
                           uint32_t first, uint32_t n);
/* Make all rows of x, which all workers have finished, the input of `next`. Floats are taken where they lie. Barrier, unless few.
 */
void hearth_step_input_from(struct hearth_step *s, const float *x, size_t k, const struct hearth_matrix *next,
                            enum operation operation);

/* ---- Products (forward_products.c) ------------------------------------------------------------------------------------ */

#define PIECES_PER_SHARE 8u /* enough that who is late leaves little behind */

/* The most rows of a piece. */
static inline uint32_t most_rows(const struct hearth_step *s)
{
    return is_few(s->batch->n) ? FEW_TOKENS_PIECE_ROWS : PIECE_ROWS;
}

/* Begin to divide n things; a piece has at most `most`. */
struct hearth_claims hearth_step_claims(struct hearth_step *s, uint32_t n, uint32_t most);
/* Rows in units of `unit`, a multiple of HEARTH_ROW_UNIT: at most `most` rows at a time, or one unit. */
struct hearth_claims hearth_step_claims_of_rows(struct hearth_step *s, uint32_t rows, uint32_t unit, uint32_t most);
/* The next of these rows; false when all are taken. */
static inline bool next_rows(struct hearth_claims *c, uint32_t n_rows, uint32_t unit, struct hearth_range *rows)
{
    if (!hearth_claim_next(c, rows))
        return false;
    rows->begin *= unit;
    rows->end = rows->end * unit < n_rows ? rows->end * unit : n_rows;
    return true;
}

/* The next block of tokens below n; begin with {0, 0}, or {t, t} for those from t on. */
static inline bool next_block(struct hearth_range *tokens, uint32_t n)
{
    const uint32_t end = (tokens->end / BLOCK_TOKENS + 1) * BLOCK_TOKENS;
    tokens->begin = tokens->end;
    tokens->end = end < n ? end : n;
    return tokens->begin < n;
}

/* out[t * out_stride + r - rows.begin]: these rows of matrix * input, (+ bias), for these tokens of a block of the input. */
void hearth_step_multiply(const struct hearth_step *s, const struct hearth_matrix *m, const struct hearth_input *input, float *out,
                          size_t out_stride, struct hearth_range tokens, struct hearth_range rows);

/* ---- The feed-forward network's middle (forward_middle.c) ------------------------------------------------------------- */

/* Where the activations go, the input of `next`: `hidden` as floats, to be quantized by those who take them (few tokens), or
 * straight into the rows that `next` takes. */
struct middle {
    enum hearth_activation kind; /* of `next` */
    uint32_t width;              /* F */
    bool as_floats;
    struct hearth_rows rows; /* of floats or of `kind` */
};

static inline enum hearth_activation kind_of_middle(const struct middle *m)
{
    return m->as_floats ? HEARTH_ACTIVATION_F32 : m->kind;
}

/* Rows that belong together: whole groups of what is quantized at once. */
static inline uint32_t middle_unit(const struct middle *m)
{
    return m->as_floats ? HEARTH_ROW_UNIT : m->kind == HEARTH_ACTIVATION_Q8_32 ? PIECE_ROWS / 2 : GROUP_ROWS;
}

struct middle hearth_step_middle_before(const struct hearth_step *s, const struct hearth_matrix *next);
/* silu(gate * input) . (up * input), with gelu for silu as the architecture says, or without a gate gelu(up * input); for these
 * rows of the input, into rows of the middle from `first` on. */
void hearth_step_middle_block(struct hearth_step *s, const struct middle *m, const struct hearth_matrix *gate,
                              const struct hearth_matrix *up, const struct hearth_input *input, struct hearth_range tokens,
                              uint32_t first, struct hearth_range rows);
/* Behind a barrier: make its n rows the input `out`. */
void hearth_step_take_middle(struct hearth_step *s, const struct middle *m, uint32_t n, struct hearth_input *out);

/* ---- Experts (forward_experts.c) -------------------------------------------------------------------------------------- */

/* Bytes of a worker's scratch that they need; 0 where there are none. */
uint64_t hearth_forward_experts_scratch_bytes(const struct hearth_hparams *hparams, uint32_t batch);

/* ---- Numbers ---------------------------------------------------------------------------------------------------------- */

static inline bool all_finite(const float *x, size_t n)
{
    uint32_t most = 0;
    for (size_t i = 0; i < n; i++) {
        const uint32_t a = hearth_f32_bits(x[i]) & 0x7fffffffu;
        most = a > most ? a : most;
    }
    return most < 0x7f800000u;
}

#endif
