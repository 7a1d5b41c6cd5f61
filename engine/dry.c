/* DRY: how long the end of the text repeats what stands elsewhere, for every place at once, and where a breaker cuts that off.
 *
 * Read backwards from its end the window is a string r, and the repetition that ends at a place is as long as the beginning of r
 * that stands there again: the Z-function of r, linear.
 *
 * A breaker is a text, but the history holds tokens. A token whose text holds the breaker breaks by itself. A token whose text ends
 * with the beginning of one breaks when the tokens of the rest follow; these are computed once, for every place where a breaker can
 * be cut, and a bit for each token tells whether it need be looked at. */
#include "dry.h"
#include "common/real.h"
#include "common/status.h"
#include <float.h>

#define BREAKER_BYTES 40u
#define TAIL_MAX 20u /* tokens of a rest that are compared */

struct hearth_dry {
    const struct hearth_tokenizer *tokenizer;
    void *scratch;
    uint32_t n_vocab, n_breakers;
    uint32_t begins[HEARTH_DRY_BREAKERS_MAX + 1];
    uint8_t text[HEARTH_DRY_BREAKERS_BYTES];            /* breaker b is [begins[b], begins[b + 1]) */
    int32_t tails[HEARTH_DRY_BREAKERS_BYTES][TAIL_MAX]; /* tokens of what stands from this byte to the end of its breaker */
    uint32_t n_tail[HEARTH_DRY_BREAKERS_BYTES];
    uint64_t *heads;  /* [n_vocab] bits: the token holds a breaker or ends with the beginning of one */
    uint32_t *repeat; /* [n_context] the Z-function */
};

static size_t step(size_t bytes)
{
    return (bytes + 63) & ~(size_t)63;
}

static size_t head_words(uint32_t n_vocab)
{
    return ((size_t)n_vocab + 63) / 64;
}

size_t hearth_dry_bytes(uint32_t n_vocab, uint32_t n_context)
{
    return step(sizeof(struct hearth_dry)) + step(head_words(n_vocab) * sizeof(uint64_t)) + step(n_context * sizeof(uint32_t));
}

struct hearth_dry *hearth_dry_init(void *memory, uint32_t n_vocab, uint32_t n_context, const struct hearth_tokenizer *tokenizer,
                                   void *scratch)
{
    struct hearth_dry *dry = memory;
    char *at = (char *)memory + step(sizeof *dry);
    (void)n_context;
    memset(dry, 0, sizeof *dry);
    dry->tokenizer = tokenizer;
    dry->scratch = scratch;
    dry->n_vocab = n_vocab;
    dry->heads = (uint64_t *)(void *)at;
    memset(dry->heads, 0, head_words(n_vocab) * sizeof(uint64_t));
    dry->repeat = (uint32_t *)(void *)(at + step(head_words(n_vocab) * sizeof(uint64_t)));
    return dry;
}

/* ---- Breakers ------------------------------------------------------------------------------------------------------- */

static bool holds(struct hearth_view text, const uint8_t *part, uint32_t n)
{
    for (uint64_t i = 0; i + n <= text.size; i++)
        if (memcmp(text.bytes + i, part, n) == 0)
            return true;
    return false;
}

static bool ends_with(struct hearth_view text, const uint8_t *part, uint32_t n)
{
    return n <= text.size && memcmp(text.bytes + text.size - n, part, n) == 0;
}

/* Whether a token of this text breaks by itself. */
static bool is_breaker(const struct hearth_dry *dry, struct hearth_view text)
{
    for (uint32_t b = 0; b < dry->n_breakers; b++)
        if (holds(text, dry->text + dry->begins[b], dry->begins[b + 1] - dry->begins[b]))
            return true;
    return false;
}

static bool is_head(const struct hearth_dry *dry, struct hearth_view text)
{
    if (is_breaker(dry, text))
        return true;
    for (uint32_t b = 0; b < dry->n_breakers; b++)
        for (uint32_t cut = dry->begins[b] + 1; cut < dry->begins[b + 1]; cut++)
            if (ends_with(text, dry->text + dry->begins[b], cut - dry->begins[b]))
                return true;
    return false;
}

hearth_status hearth_dry_check_breakers(const char *const *breakers, uint32_t n_breakers, hearth_error *err)
{
    size_t total = 0;
    if (n_breakers > HEARTH_DRY_BREAKERS_MAX)
        return hearth_fail(err, HEARTH_E_CONFIG, NULL, "sampling: n_dry_breakers: too many (got %" PRIu32 ", need at most %d)",
                           n_breakers, HEARTH_DRY_BREAKERS_MAX);
    for (uint32_t b = 0; b < n_breakers; b++) {
        const size_t n = breakers && breakers[b] ? strnlen(breakers[b], BREAKER_BYTES + 1) : 0;
        if (n == 0 || n > BREAKER_BYTES)
            return hearth_fail(err, HEARTH_E_CONFIG, NULL,
                               "sampling: dry_breakers[%" PRIu32 "]: length (got %s, need 1 to %u bytes)", b, n == 0 ? "0" : "more",
                               BREAKER_BYTES);
        total += n;
    }
    if (total > HEARTH_DRY_BREAKERS_BYTES)
        return hearth_fail(err, HEARTH_E_CONFIG, NULL, "sampling: dry_breakers: too long together (got %zu, need at most %u bytes)",
                           total, (unsigned)HEARTH_DRY_BREAKERS_BYTES);
    return HEARTH_OK;
}

static void encode_tails(struct hearth_dry *dry)
{
    for (uint32_t b = 0; b < dry->n_breakers; b++)
        for (uint32_t cut = dry->begins[b] + 1; cut < dry->begins[b + 1]; cut++) {
            size_t n;
            (void)hearth_tokenizer_encode(dry->tokenizer, dry->scratch, (const char *)dry->text + cut, dry->begins[b + 1] - cut,
                                          HEARTH_TOKENIZER_CONTINUE, dry->tails[cut], TAIL_MAX, &n);
            dry->n_tail[cut] = n < TAIL_MAX ? (uint32_t)n : TAIL_MAX;
        }
}

hearth_status hearth_dry_set_breakers(struct hearth_dry *dry, const char *const *breakers, uint32_t n_breakers, hearth_error *err)
{
    HEARTH_TRY(hearth_dry_check_breakers(breakers, n_breakers, err));
    dry->n_breakers = n_breakers;
    for (uint32_t b = 0; b < n_breakers; b++) {
        const size_t n = strlen(breakers[b]);
        memcpy(dry->text + dry->begins[b], breakers[b], n);
        dry->begins[b + 1] = dry->begins[b] + (uint32_t)n;
    }
    memset(dry->heads, 0, head_words(dry->n_vocab) * sizeof(uint64_t));
    if (!dry->tokenizer)
        return HEARTH_OK;
    encode_tails(dry);
    for (uint32_t id = 0; id < dry->n_vocab; id++)
        if (is_head(dry, hearth_tokenizer_text(dry->tokenizer, (int32_t)id)))
            dry->heads[id / 64] |= (uint64_t)1 << id % 64;
    return HEARTH_OK;
}

void hearth_dry_get_breakers(const struct hearth_dry *dry, struct hearth_dry_breakers *out)
{
    *out = (struct hearth_dry_breakers){.n = dry->n_breakers};
    for (uint32_t b = 0; b < dry->n_breakers; b++)
        out->sizes[b] = dry->begins[b + 1] - dry->begins[b];
    memcpy(out->text, dry->text, dry->begins[dry->n_breakers]);
}

/* Whether the tail that begins at `cut` stands after the token `back` places back, and ends inside the history. */
static bool follows(const struct hearth_dry *dry, const struct hearth_history *history, uint32_t back, uint32_t cut)
{
    if (dry->n_tail[cut] > back)
        return false;
    for (uint32_t i = 0; i < dry->n_tail[cut]; i++)
        if (hearth_history_back(history, back - 1 - i) != dry->tails[cut][i])
            return false;
    return true;
}

/* Tokens after the breaker whose head stands `back` places back; of several the longest counts. UINT32_MAX: none begins there. */
static uint32_t tokens_after(const struct hearth_dry *dry, const struct hearth_history *history, uint32_t back)
{
    const struct hearth_view text = hearth_tokenizer_text(dry->tokenizer, hearth_history_back(history, back));
    uint32_t least = is_breaker(dry, text) ? back : UINT32_MAX;
    for (uint32_t b = 0; b < dry->n_breakers; b++)
        for (uint32_t cut = dry->begins[b] + 1; cut < dry->begins[b + 1]; cut++)
            if (ends_with(text, dry->text + dry->begins[b], cut - dry->begins[b]) && follows(dry, history, back, cut) &&
                back - dry->n_tail[cut] < least)
                least = back - dry->n_tail[cut];
    return least;
}

/* Tokens of the last n after the last breaker: no repetition is longer. */
static uint32_t longest_repeat(const struct hearth_dry *dry, const struct hearth_history *history, uint32_t n)
{
    for (uint32_t back = 0; back < n; back++) {
        const uint32_t id = (uint32_t)hearth_history_back(history, back);
        if (!(dry->heads[id / 64] >> id % 64 & 1))
            continue;
        const uint32_t after = tokens_after(dry, history, back);
        if (after != UINT32_MAX)
            return after;
    }
    return n;
}

/* ---- Repetitions ---------------------------------------------------------------------------------------------------- */

/* repeat[k], 1 <= k < n: how many tokens before the last k are the same as the last ones, read backwards. */
static void find_repeats(struct hearth_dry *dry, const struct hearth_history *history, uint32_t n)
{
    uint32_t *z = dry->repeat;
    uint32_t left = 0;
    uint32_t right = 0;
    for (uint32_t k = 1; k < n; k++) {
        uint32_t m = 0;
        if (k < right)
            m = z[k - left] < right - k ? z[k - left] : right - k;
        while (k + m < n && hearth_history_back(history, m) == hearth_history_back(history, k + m))
            m++;
        z[k] = m;
        if (k + m > right) {
            left = k;
            right = k + m;
        }
    }
}

/* multiplier * base^exponent; the exponent is held where a float could still hold the power. */
static double penalty(const hearth_sampling *options, uint32_t exponent)
{
    const double log_base = hearth_log64((double)options->dry_base);
    double x = (double)exponent * log_base;
    if ((double)options->dry_base > 1.000001) {
        const double most = hearth_log64((double)FLT_MAX);
        if (x > most)
            x = (double)(uint32_t)(most / log_base) * log_base;
    }
    return (double)options->dry_multiplier * hearth_exp64(x);
}

void hearth_dry_apply(struct hearth_dry *dry, const hearth_sampling *options, const struct hearth_history *history, float *values,
                      uint64_t *best)
{
    const uint32_t n = hearth_history_window(history, options->dry_last_n);
    const uint32_t allowed = (uint32_t)options->dry_allowed_length;
    if (!(options->dry_multiplier > 0.0f) || n <= allowed)
        return;
    const uint32_t limit = longest_repeat(dry, history, n);
    if (limit < allowed)
        return;
    find_repeats(dry, history, n);
    for (uint32_t k = 1; k < n; k++) /* the token after a place is the one that would continue the repetition */
        best[hearth_history_back(history, k - 1)] = 0;
    for (uint32_t k = 1; k < n; k++) {
        const uint32_t m = dry->repeat[k] < limit ? dry->repeat[k] : limit;
        uint64_t *found = &best[hearth_history_back(history, k - 1)]; /* 0: none, else length + 1 */
        if (m >= allowed && m + (uint64_t)1 > *found)
            *found = m + (uint64_t)1;
    }
    for (uint32_t k = 1; k < n; k++) {
        const int32_t id = hearth_history_back(history, k - 1);
        if (best[id] == 0 || values[id] < -FLT_MAX)
            continue;
        const uint32_t length = (uint32_t)(best[id] - 1);
        best[id] = 0;
        if (dry->tokenizer && dry->n_breakers > 0 && is_breaker(dry, hearth_tokenizer_text(dry->tokenizer, id)))
            continue;
        const double value = (double)values[id] - penalty(options, length - allowed);
        values[id] = value < -(double)FLT_MAX ? -FLT_MAX : (float)value + 0.0f;
    }
}
