/* Values of the sampling options: one table for numbers, and the few that are lists. What lies in range here is in range for the
 * library too, but for token ids, which only the model knows. */
#include "sampling.h"

#include "text.h"
#include <errno.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct number {
    int key;
    bool whole;
    size_t offset; /* of a float, or of an integer of 32 bits, in hearth_sampling */
    double min, max;
} numbers[] = {
#define FLOAT(key, field, min, max)                                                                                                \
    {                                                                                                                              \
        OPTION_KEY_##key, false, offsetof(hearth_sampling, field), min, max                                                        \
    }
#define WHOLE(key, field, min, max)                                                                                                \
    {                                                                                                                              \
        OPTION_KEY_##key, true, offsetof(hearth_sampling, field), min, max                                                         \
    }
    FLOAT(TEMP, temperature, 0, 100),
    WHOLE(TOP_K, top_k, -1, INT32_MAX),
    FLOAT(TOP_P, top_p, 0, 1),
    FLOAT(MIN_P, min_p, 0, 1),
    FLOAT(REPEAT_PENALTY, repeat_penalty, 0.01, 100),
    WHOLE(REPEAT_LAST_N, repeat_last_n, -1, INT32_MAX),
    FLOAT(FREQUENCY_PENALTY, frequency_penalty, -100, 100),
    FLOAT(PRESENCE_PENALTY, presence_penalty, -100, 100),
    FLOAT(DRY_MULTIPLIER, dry_multiplier, 0, 100),
    FLOAT(DRY_BASE, dry_base, 1, 100),
    WHOLE(DRY_ALLOWED_LENGTH, dry_allowed_length, 0, INT32_MAX),
    WHOLE(DRY_LAST_N, dry_last_n, -1, INT32_MAX),
    FLOAT(TYPICAL, typical_p, 0, 1),
    FLOAT(TOP_N_SIGMA, top_n_sigma, -1, 100),
    FLOAT(XTC_PROBABILITY, xtc_probability, 0, 1),
    FLOAT(XTC_THRESHOLD, xtc_threshold, 0, 1),
    FLOAT(DYNATEMP_RANGE, dynatemp_range, 0, 100),
    FLOAT(DYNATEMP_EXPONENT, dynatemp_exponent, 0, 100),
    WHOLE(MIROSTAT, mirostat, 0, 2),
    FLOAT(MIROSTAT_TAU, mirostat_tau, 0, 100),
    FLOAT(MIROSTAT_ETA, mirostat_eta, 0, 100),
    WHOLE(MIN_KEEP, min_keep, 0, INT32_MAX),
#undef FLOAT
#undef WHOLE
};

static error_t take_number(hearth_sampling *sampling, const struct number *number, const char *value, char need[SAMPLING_NEED_MAX])
{
    char *field = (char *)sampling + number->offset;
    int64_t whole;
    float real;
    if (number->whole && text_parse_signed(&whole, value, (int64_t)number->min, (int64_t)number->max)) {
        const int32_t narrow = (int32_t)whole;
        memcpy(field, &narrow, sizeof narrow);
        return 0;
    }
    if (!number->whole && text_parse_float(&real, value, number->min, number->max)) {
        memcpy(field, &real, sizeof real);
        return 0;
    }
    (void)snprintf(need, SAMPLING_NEED_MAX, "a %s from %.10g to %.10g", number->whole ? "whole number" : "number", number->min,
                   number->max);
    return EINVAL;
}

/* ID+BIAS or ID-BIAS, where BIAS may be inf behind a minus. */
static bool parse_bias(hearth_logit_bias *out, const char *text)
{
    const size_t n_digits = strspn(text, "0123456789");
    const char *bias = text + n_digits;
    char id[16];
    uint64_t token;
    if (n_digits >= sizeof id || (*bias != '+' && *bias != '-') || bias[1] == '-')
        return false;
    memcpy(id, text, n_digits);
    id[n_digits] = '\0';
    if (!text_parse_unsigned(&token, id, INT32_MAX))
        return false;
    out->token = (int32_t)token;
    out->bias = -INFINITY;
    return strcmp(bias, "-inf") == 0 || text_parse_float(&out->bias, bias + (*bias == '+'), -FLT_MAX, FLT_MAX);
}

static error_t take_biases(struct options *o, const char *value, char need[SAMPLING_NEED_MAX])
{
    (void)snprintf(need, SAMPLING_NEED_MAX, "ID+BIAS, ID-BIAS or ID-inf, separated by commas, at most %d", HEARTH_LOGIT_BIAS_MAX);
    for (;; value++) {
        const size_t n = strcspn(value, ",");
        char item[64];
        if (n >= sizeof item || o->sampling.n_logit_bias == HEARTH_LOGIT_BIAS_MAX)
            return EINVAL;
        memcpy(item, value, n);
        item[n] = '\0';
        if (!parse_bias(&o->biases[o->sampling.n_logit_bias], item))
            return EINVAL;
        o->sampling.n_logit_bias++;
        value += n;
        if (*value == '\0')
            return 0;
    }
}

/* The first one takes the place of the usual ones. */
static error_t take_breaker(struct options *o, const char *value, char need[SAMPLING_NEED_MAX])
{
    if (!o->breakers_given)
        o->sampling.n_dry_breakers = 0;
    o->breakers_given = true;
    if (strcmp(value, "none") == 0) {
        o->sampling.n_dry_breakers = 0;
        return 0;
    }
    (void)snprintf(need, SAMPLING_NEED_MAX, "at most %d of them", HEARTH_DRY_BREAKERS_MAX);
    if (o->sampling.n_dry_breakers == HEARTH_DRY_BREAKERS_MAX)
        return EINVAL;
    o->breakers[o->sampling.n_dry_breakers++] = value;
    return 0;
}

static int32_t step_named(const char *name, size_t n)
{
    static const struct {
        const char *name;
        int32_t step;
    } steps[] = {{"top_n_sigma", HEARTH_SAMPLER_TOP_N_SIGMA},
                 {"top_k", HEARTH_SAMPLER_TOP_K},
                 {"typ_p", HEARTH_SAMPLER_TYPICAL},
                 {"typical_p", HEARTH_SAMPLER_TYPICAL},
                 {"top_p", HEARTH_SAMPLER_TOP_P},
                 {"min_p", HEARTH_SAMPLER_MIN_P},
                 {"xtc", HEARTH_SAMPLER_XTC},
                 {"temperature", HEARTH_SAMPLER_TEMPERATURE}};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
        if (strlen(steps[i].name) == n && memcmp(steps[i].name, name, n) == 0)
            return steps[i].step;
    return 0;
}

/* Penalties and DRY come first whatever is said, so they may be named there and nowhere else. */
static error_t take_samplers(struct options *o, const char *value, char need[SAMPLING_NEED_MAX])
{
    uint32_t n_steps = 0;
    (void)snprintf(need, SAMPLING_NEED_MAX, "top_n_sigma, top_k, typ_p, top_p, min_p, xtc, temperature in any order, at most %d",
                   HEARTH_SAMPLER_STEPS);
    memset(o->sampling.order, 0, sizeof o->sampling.order);
    for (;; value++) {
        const size_t n = strcspn(value, ";,");
        const bool before = (n == 9 && memcmp(value, "penalties", n) == 0) || (n == 3 && memcmp(value, "dry", n) == 0);
        const int32_t step = step_named(value, n);
        if (!(before && n_steps == 0) && (step == 0 || n_steps == HEARTH_SAMPLER_STEPS))
            return EINVAL;
        if (step != 0)
            o->sampling.order[n_steps++] = step;
        value += n;
        if (*value == '\0')
            return n_steps > 0 ? 0 : EINVAL;
    }
}

error_t sampling_take(struct options *o, int key, const char *value, char need[SAMPLING_NEED_MAX])
{
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (numbers[i].key == key)
            return take_number(&o->sampling, &numbers[i], value, need);
    switch (key) {
    case 'l':
        return take_biases(o, value, need);
    case OPTION_KEY_DRY_BREAKER:
        return take_breaker(o, value, need);
    case OPTION_KEY_SAMPLERS:
        return take_samplers(o, value, need);
    case OPTION_KEY_IGNORE_EOS:
        o->sampling.ignore_end = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

void sampling_finish(struct options *o)
{
    if (o->sampling.n_logit_bias > 0)
        o->sampling.logit_bias = o->biases;
    if (o->breakers_given)
        o->sampling.dry_breakers = o->breakers;
}
