/* Golden data: where it lies, and reading it. */
#ifndef HEARTH_TESTS_GOLDEN_H
#define HEARTH_TESTS_GOLDEN_H

#include "hearth.h"
#include <stdio.h>

#define GOLDEN_PATH 4096
#define GOLDEN_TOKENS_MAX 1024

/* FOLDER/NAME under $HEARTH_SHARED; false where that is not set. */
bool golden_shared(char out[GOLDEN_PATH], const char *name);
/* A file of the source tree ($HEARTH_SOURCE_DIR, or the current folder). */
void golden_source(char out[GOLDEN_PATH], const char *name);
bool golden_exists(const char *path);
/* Numbers separated by commas or blanks. Returns how many; 0 when the file cannot be read. */
size_t golden_tokens(const char *path, int32_t ids[GOLDEN_TOKENS_MAX]);
/* A whole file of floats (free with free()); NULL when it cannot be read. */
float *golden_floats(const char *path, size_t *n);

/* An engine at a CPU level (NULL: as the environment says). NULL after printing why. */
hearth_engine *golden_engine(const char *level, uint32_t threads);

/* Logits of all tokens of `ids` on a model, fed in chunks: float [n][n_vocab], free with free(). NULL after printing why. */
float *golden_logits(hearth_engine *engine, const char *model, uint32_t chunk, int32_t kv_type, const int32_t *ids, size_t n,
                     size_t *n_vocab);

#endif
