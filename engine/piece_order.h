/* The vocabulary in the order of its bytes, with how many each token shares with the one before: a trie in five bytes a token. A
 * walk from front to back meets every beginning once, and leaves out all tokens behind a beginning that leads nowhere. */
#ifndef HEARTH_ENGINE_PIECE_ORDER_H
#define HEARTH_ENGINE_PIECE_ORDER_H

#include "tokenizer.h"

/* Longer pieces are left out: no grammar will choose them. So are empty ones, those that begin with NUL, and ends of an answer. */
#define HEARTH_PIECE_ORDER_MAX 255u

struct hearth_piece_order {
    uint32_t n;
    int32_t *ids;    /* [n_vocab], n of them in use */
    uint8_t *shared; /* [n_vocab] bytes shared with the piece before */
};

/* Fill in; the arrays are there. No memory beside them; n log n comparisons. Immutable afterwards. */
void hearth_piece_order_make(struct hearth_piece_order *order, const struct hearth_tokenizer *tokenizer);

#endif
