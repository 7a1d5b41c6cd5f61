/* Floats to the blocks of a file (docs/quantization.md). Each format is a file of its own; this is the one door to them.
 *
 * The bytes are those of the definition: every sum runs over rising indices in one accumulator, each operation rounds once, nothing
 * is contracted. So every compiler, build type and number of threads makes the same file. */
#ifndef HEARTH_ENCODE_H
#define HEARTH_ENCODE_H

#include "common/block_format.h"
#include <stdbool.h>

/* Write the blocks of one row of k floats, k a multiple of the block length, to `row` (hearth_row_bytes; it overlaps no input).
 * importance: k finite weights >= 0 of the columns, or NULL for none. False when a scale does not fit a half float; the row is then
 * unspecified. x is finite: hearth_encode_finite(). Any alignment of `row`; no state; thread-safe. */
typedef bool hearth_encode_fn(uint8_t *row, const float *x, const float *importance, size_t k);

/* NULL when nothing is made in that format. */
hearth_encode_fn *hearth_encoder(uint32_t format);
/* Whether no element is an infinity or a NaN. */
bool hearth_encode_finite(const float *x, size_t k);

hearth_encode_fn hearth_encode_f32, hearth_encode_f16, hearth_encode_bf16, hearth_encode_q4_0, hearth_encode_q4_1,
    hearth_encode_q5_0, hearth_encode_q5_1, hearth_encode_q8_0, hearth_encode_q4_K, hearth_encode_q5_K, hearth_encode_q6_K;

#endif
