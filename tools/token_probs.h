/* The tokens of an answer with their probabilities: kept in few bytes while the model answers, told as JSON afterwards, when it has
 * been closed. */
#ifndef HEARTH_TOOLS_TOKEN_PROBS_H
#define HEARTH_TOOLS_TOKEN_PROBS_H

#include "bytes.h"
#include "hearth.h"
#include <jansson.h>

/* Zeros are an empty one. */
struct token_probs {
    struct bytes records; /* one after the other, see token_probs.c */
};

/* Keep a token and the likeliest ones beside it, with their texts; special tokens have none. */
void token_probs_keep(struct token_probs *probs, const hearth_model *model, const hearth_token *token);
/* [{"id", "text", "logprob", "top": [{"id", "text", "logprob"}, ...]}, ...] */
json_t *token_probs_json(const struct token_probs *probs);
void token_probs_free(struct token_probs *probs);

#endif
