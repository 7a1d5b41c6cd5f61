/* Files of log-probabilities, by which two models are compared on one text. Little-endian:
 *
 *   8 bytes   "HEARTHLP"
 *   uint32    version, 1
 *   uint32    n_vocab
 *   uint32    context, tokens in a window
 *   uint32    n_windows
 *   int32     token ids [n_windows][context], as the model was given them
 *   float32   natural logarithms of probabilities [n_windows][log_probs_scored(context)][n_vocab]
 *
 * and nothing behind them. Row i of a window is the distribution of its token context / 2 + 1 + i. */
#ifndef HEARTH_TOOLS_LOG_PROBS_H
#define HEARTH_TOOLS_LOG_PROBS_H

#include "target.h"
#include <stdio.h>

struct log_probs_shape {
    uint32_t n_vocab, context, n_windows;
};

/* Predictions scored in a window: those of its second half that have a next token in it. */
static inline uint32_t log_probs_scored(uint32_t context)
{
    return context - context / 2 - 1;
}

/* Write the head of a file; then rows by log_probs_write(), then target_publish(). `ids` as above. */
hearth_status log_probs_begin(struct target *target, const struct log_probs_shape *shape, const int32_t *ids, hearth_error *error);
hearth_status log_probs_write(struct target *target, const float *row, uint32_t n_vocab, hearth_error *error);

/* Open a file of another run. E_FORMAT when it is damaged, or was made for another vocabulary, context or text. The caller closes
 * *out with fclose(), unless it is NULL. */
hearth_status log_probs_open(FILE **out, const char *name, const struct log_probs_shape *need, const int32_t *ids,
                             hearth_error *error);
/* Read the next row. */
hearth_status log_probs_read(float *row, FILE *file, const char *name, uint32_t n_vocab, hearth_error *error);

#endif
