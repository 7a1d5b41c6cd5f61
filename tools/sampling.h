/* The options that decide how the next token is chosen: their rows for a command's table, and their values. */
#ifndef HEARTH_TOOLS_SAMPLING_H
#define HEARTH_TOOLS_SAMPLING_H

#include "options.h"

/* For a table: the everyday ones, and the others. */
/* clang-format off */
#define OPTIONS_SAMPLING                                                                                                           \
    {"temp", OPTION_KEY_TEMP, "T", 0, "temperature (0.8); 0 takes the likeliest token", 4},                                        \
    {"temperature", OPTION_KEY_TEMP, "T", OPTION_HIDDEN, NULL, 4},                                                                 \
    {"top-k", OPTION_KEY_TOP_K, "K", 0, "keep the K likeliest tokens (40); 0 is off", 4},                                          \
    {"top-p", OPTION_KEY_TOP_P, "P", 0, "keep the likeliest with this share (0.95); 1: off", 4},                                   \
    {"min-p", OPTION_KEY_MIN_P, "P", 0, "drop below this share of the best (0.05); 0: off", 4},                                    \
    {"repeat-penalty", OPTION_KEY_REPEAT_PENALTY, "R", 0, "hold back the last 64 tokens (1, off)", 4},                             \
    {"seed", 's', "S", 0, "the same seed gives the same text (random)", 4}
#define OPTIONS_SAMPLING_MORE                                                                                                      \
    {"repeat-last-n", OPTION_KEY_REPEAT_LAST_N, "N", OPTION_MORE, "tokens that penalties look back (64); -1: all", 5},            \
    {"frequency-penalty", OPTION_KEY_FREQUENCY_PENALTY, "F", OPTION_MORE, "subtract for each time one stands there (0)", 5},      \
    {"presence-penalty", OPTION_KEY_PRESENCE_PENALTY, "F", OPTION_MORE, "subtract once if it stands there (0)", 5},               \
    {"dry-multiplier", OPTION_KEY_DRY_MULTIPLIER, "F", OPTION_MORE, "hold back repetitions of more than one (0, off)", 5},         \
    {"dry-base", OPTION_KEY_DRY_BASE, "F", OPTION_MORE, "more by this for each token (1.75)", 5},                                  \
    {"dry-allowed-length", OPTION_KEY_DRY_ALLOWED_LENGTH, "N", OPTION_MORE, "from this length on (2)", 5},                         \
    {"dry-penalty-last-n", OPTION_KEY_DRY_LAST_N, "N", OPTION_MORE, "tokens it looks back (64); -1: all", 5},                     \
    {"dry-sequence-breaker", OPTION_KEY_DRY_BREAKER, "STR", OPTION_MORE, "not across this (\\n : \" *); or none", 5},              \
    {"typical", OPTION_KEY_TYPICAL, "P", OPTION_MORE, "keep the least remarkable with this share (1, off)", 5},                    \
    {"typical-p", OPTION_KEY_TYPICAL, "P", OPTION_HIDDEN, NULL, 5},                                                                \
    {"top-nsigma", OPTION_KEY_TOP_N_SIGMA, "N", OPTION_MORE, "keep N deviations from the best (-1, off)", 5},                      \
    {"top-n-sigma", OPTION_KEY_TOP_N_SIGMA, "N", OPTION_HIDDEN, NULL, 5},                                                          \
    {"xtc-probability", OPTION_KEY_XTC_PROBABILITY, "P", OPTION_MORE, "chance to drop the best but one of them (0)", 5},           \
    {"xtc-threshold", OPTION_KEY_XTC_THRESHOLD, "P", OPTION_MORE, "which are those above this (0.1)", 5},                          \
    {"dynatemp-range", OPTION_KEY_DYNATEMP_RANGE, "T", OPTION_MORE, "temperature +- T by entropy (0, off)", 5},                    \
    {"dynatemp-exp", OPTION_KEY_DYNATEMP_EXPONENT, "F", OPTION_MORE, "to this power (1)", 5},                                      \
    {"mirostat", OPTION_KEY_MIROSTAT, "N", OPTION_MORE, "1 or 2 in place of all filters (0, off)", 5},                             \
    {"mirostat-ent", OPTION_KEY_MIROSTAT_TAU, "BITS", OPTION_MORE, "surprise aimed at (5)", 5},                                    \
    {"mirostat-lr", OPTION_KEY_MIROSTAT_ETA, "F", OPTION_MORE, "how fast (0.1)", 5},                                               \
    {"min-keep", OPTION_KEY_MIN_KEEP, "N", OPTION_MORE, "tokens that every filter leaves (1)", 5},                                 \
    {"logit-bias", 'l', "ID+-BIAS", OPTION_MORE, "add to a logit: 29905-1,17-inf", 5},                                             \
    {"samplers", OPTION_KEY_SAMPLERS, "LIST", OPTION_MORE, "filters in order: top_k;min_p;temperature", 5},                        \
    {"ignore-eos", OPTION_KEY_IGNORE_EOS, NULL, OPTION_MORE, "never choose the end of the answer", 5}
/* clang-format on */

/* What a wrong value should have been. */
#define SAMPLING_NEED_MAX 128

/* Take an option of sampling into o->sampling: 0; EINVAL with `need` filled in; ARGP_ERR_UNKNOWN when the key is of another kind.
 */
error_t sampling_take(struct options *o, int key, const char *value, char need[SAMPLING_NEED_MAX]);
/* After all have been taken: let the pointers of o->sampling point to what was. */
void sampling_finish(struct options *o);

#endif
