/* What targets have in common; see fuzz.h. */
#include "fuzz.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned long n_accepted, n_refused;

void fuzz_need(bool good, const char *format, ...)
{
    if (good)
        return;
    va_list args;
    va_start(args, format);
    (void)fprintf(stderr, "FAILED: ");
    (void)vfprintf(stderr, format, args);
    (void)fprintf(stderr, "\n");
    va_end(args);
    abort();
}

void fuzz_answer(hearth_status status, const hearth_error *err)
{
    n_accepted += status == HEARTH_OK;
    n_refused += status != HEARTH_OK;
    if (status == HEARTH_OK)
        return;
    bool line = strcmp(hearth_status_name(status), hearth_status_name(-1)) != 0 && err->code == status && err->message[0];
    for (const char *c = err->message; *c; c++)
        line = line && *c >= 0x20 && *c < 0x7f;
    fuzz_need(line, "status %d, '%s' [%s]", status, err->message, err->detail);
}

void fuzz_tally(unsigned long *accepted, unsigned long *refused)
{
    *accepted = n_accepted;
    *refused = n_refused;
}

uint64_t fuzz_extreme(struct rng *rng)
{
    static const uint64_t values[] = {
        0,          1,          2,          3,          0x7f,       0x80,          0xff,       0xffff,
        0x7bff,     0x7c00,     0x7fc00000, 0x7fffffff, 0x80000000, 0xffffffff,    1ull << 32, 1ull << 60,
        1ull << 61, 1ull << 62, 1ull << 63, INT64_MAX,  UINT64_MAX, UINT64_MAX - 7};
    return values[rng_below(rng, sizeof values / sizeof values[0])];
}

size_t fuzz_splice(uint8_t *data, size_t size, size_t capacity, size_t at, size_t cut, const void *with, size_t n)
{
    at = at < size ? at : size;
    cut = cut < size - at ? cut : size - at;
    if (n > capacity || size - cut > capacity - n)
        return size;
    memmove(data + at + n, data + at + cut, size - at - cut);
    if (n > 0)
        memcpy(data + at, with, n);
    return size + n - cut;
}

size_t fuzz_mutate_text(uint8_t *data, size_t size, size_t capacity, unsigned int seed, const char *const *words, size_t n_words)
{
    struct rng rng = rng_from(seed);
    uint8_t piece[128];
    const size_t at = rng_below(&rng, (uint32_t)size + 1);
    const size_t from = rng_below(&rng, (uint32_t)size + 1);
    const size_t left = size - from < sizeof piece ? size - from : sizeof piece;
    const size_t n = rng_below(&rng, (uint32_t)left + 1);
    const char *word = words[rng_below(&rng, (uint32_t)n_words)];
    switch (rng_below(&rng, 8)) {
    case 0:
        return fuzz_splice(data, size, capacity, at, rng_below(&rng, sizeof piece), NULL, 0);
    case 1:
        memcpy(piece, data + from, n);
        return fuzz_splice(data, size, capacity, at, 0, piece, n);
    case 2:
    case 3:
    case 4:
        return fuzz_splice(data, size, capacity, at, rng_below(&rng, 4) ? 0 : strlen(word), word, strlen(word));
    default:
        return LLVMFuzzerMutate(data, size, capacity);
    }
}
