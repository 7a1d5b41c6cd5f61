/* What a target of this folder is made of, and what stands around it. A target is one file: it names the beginnings of its corpus,
 * runs one input, and changes one. Around it stands libFuzzer (driver/libfuzzer.c; `make fuzz`), or, where the compiler has none,
 * some thousand changed beginnings, the same ones every time (driver/plain.c; the normal test run). */
#ifndef HEARTH_TESTS_FUZZ_H
#define HEARTH_TESTS_FUZZ_H

#include "common/attributes.h"
#include "hearth.h"
#include "support/rng.h"

/* ---- By the target -------------------------------------------------------------------------------------------------- */

/* Called once: make what all inputs share, and name the beginnings with fuzz_seed(). */
void fuzz_start(void);
/* One input. Returns 0. Whatever is wrong ends the process (fuzz_need). */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Change data[0..size), which has room for `capacity`; returns the new size. Decided by the seed alone. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t capacity, unsigned int seed);

/* ---- By the driver -------------------------------------------------------------------------------------------------- */

#define FUZZ_INPUT_MAX ((size_t)64 << 10)

/* The driver copies the bytes. At most FUZZ_INPUT_MAX. */
void fuzz_seed(const void *bytes, size_t n);
/* Change bytes without knowing what they mean. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t capacity);

/* ---- For targets (driver/common.c) ---------------------------------------------------------------------------------- */

/* Unless `good`: print what was found, and end the process so that the driver keeps the input. */
HEARTH_PRINTF(2, 3)
void fuzz_need(bool good, const char *format, ...);
/* The answer to an input: HEARTH_OK, or a status with its one printable line. Counts them. */
void fuzz_answer(hearth_status status, const hearth_error *err);
/* Answers so far that were HEARTH_OK, and the others. */
void fuzz_tally(unsigned long *accepted, unsigned long *refused);

/* Replace up to `cut` bytes at `at` by n others, which do not lie in `data`; nothing where there is no room. Returns the size. */
size_t fuzz_splice(uint8_t *data, size_t size, size_t capacity, size_t at, size_t cut, const void *with, size_t n);
/* A mutator for texts: words of their language put in, pieces doubled and taken out, and LLVMFuzzerMutate(). */
size_t fuzz_mutate_text(uint8_t *data, size_t size, size_t capacity, unsigned int seed, const char *const *words, size_t n_words);
/* Numbers that tend to be one too many. */
uint64_t fuzz_extreme(struct rng *rng);

#endif
