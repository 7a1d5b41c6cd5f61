/* A few thousand damaged copies of tiny models, the same ones every time: bytes flipped, ranges overwritten, the end cut off, in
 * the header and in the data. Each is opened, and fed two tokens when it opens; whatever the answer, it is an answer, and the
 * engine serves the next. Worth most under sanitizers; a plain program, because they want to stop it where it stands. */
#include "engine.h"
#include "gguf_builder.h"
#include "memory_source.h"
#include "support/rng.h" /* engine/ has one of its own */
#include <stdlib.h>
#include <string.h>

#define CASES 6000u
#define KEYS_BYTES 1024u    /* about where the hyper-parameters lie, at the beginning of the header */
#define TENSORS_BYTES 1400u /* and the table of tensors, at its end */
#define RAM_CAP (64u << 20)

struct tally {
    unsigned by_status[16];
    unsigned fed;
};

static const uint64_t extremes[] = {0,          1,           2,          0x7f,       0x80,       0xff,       0x7fffffff, 0x80000000,
                                    0xffffffff, 0x100000000, 1ull << 61, 1ull << 62, 1ull << 63, UINT64_MAX, 0x7bff,     0x7c00};

/* Anywhere, but most often where the numbers of the header lie and seldom in the vocabulary. */
static size_t place(struct rng *rng, size_t size, size_t header_size)
{
    switch (rng_below(rng, 4)) {
    case 0:
        return rng_below(rng, (uint32_t)size);
    case 1:
        return rng_below(rng, (uint32_t)header_size);
    case 2:
        return rng_below(rng, KEYS_BYTES);
    default:
        return header_size - 1 - rng_below(rng, TENSORS_BYTES);
    }
}

/* Damage a copy of `size` bytes. Returns the size that is left. */
static size_t damage(struct rng *rng, uint8_t *file, size_t size, size_t header_size)
{
    const uint32_t n = 1 + rng_below(rng, 3);
    for (uint32_t i = 0; i < n; i++) {
        const size_t at = place(rng, size, header_size);
        const size_t width = (size_t)1 << rng_below(rng, 4);
        const uint64_t value = extremes[rng_below(rng, sizeof extremes / sizeof extremes[0])];
        switch (rng_below(rng, 4)) {
        case 0:
            file[at] ^= (uint8_t)(1u << rng_below(rng, 8));
            break;
        case 1:
            file[at] = (uint8_t)rng_below(rng, 256);
            break;
        default:
            memcpy(file + at, &value, at + width <= size ? width : 1);
        }
    }
    return rng_below(rng, 8) ? size : rng_below(rng, (uint32_t)size + 1);
}

static bool well_formed(const hearth_error *err, hearth_status status)
{
    bool printable = err->code == status && err->message[0] && err->detail[0];
    for (const char *c = err->message; *c; c++)
        printable = printable && *c >= 0x20 && *c < 0x7f;
    return printable;
}

/* false when an answer is malformed. */
static bool try_one(hearth_engine *engine, const uint8_t *file, size_t size, struct tally *tally)
{
    static const int32_t ids[2] = {5, 260};
    const hearth_limits limits = {.struct_size = sizeof limits, .context = 40, .batch = 4};
    struct memory_source source = {0};
    hearth_error err = {0};
    hearth_model *model = NULL;
    hearth_session *session = NULL;
    hearth_status status = memory_source_open(&source, file, size, &err);
    if (status == HEARTH_OK)
        status = hearth_model_open_source(&model, engine, &source.source, &limits, NULL, &err);
    if (status == HEARTH_OK)
        status = hearth_session_open(&session, model, &limits, &err);
    if (status == HEARTH_OK)
        status = hearth_session_feed(session, ids, 2, &err);
    if (status == HEARTH_OK)
        tally->fed++;
    hearth_session_close(session);
    hearth_model_close(model);
    memory_source_close(&source);
    if (status < 0 || status > 12 || (status != HEARTH_OK && !well_formed(&err, status))) {
        (void)fprintf(stderr, "FAILED: status %d, '%s' [%s]\n", status, err.message, err.detail);
        return false;
    }
    tally->by_status[status]++;
    return true;
}

static bool fuzz(hearth_engine *engine, const struct gguf_shape *shape, uint64_t seed, struct tally *tally)
{
    static struct gguf_builder builder;
    gguf_builder_init(&builder);
    gguf_builder_add_llama(&builder, shape);
    size_t size;
    uint8_t *file = gguf_builder_finish(&builder, &size);
    gguf_builder_free(&builder);
    uint64_t ignored;
    const size_t header_size = (size_t)(memory_source_tensor(file, size, "token_embd.weight", &ignored) - file);
    bool good = try_one(engine, file, size, tally) && tally->by_status[HEARTH_OK] > 0;
    struct rng rng = rng_from(seed);
    for (uint32_t i = 0; good && i < CASES / 3; i++) {
        uint8_t *copy = malloc(size);
        if (!copy)
            break;
        memcpy(copy, file, size);
        const size_t left = damage(&rng, copy, size, header_size);
        uint8_t *exact = malloc(left ? left : 1); /* so that a byte too many is a byte outside */
        if (exact)
            memcpy(exact, copy, left);
        free(copy);
        good = exact && try_one(engine, exact, left, tally);
        free(exact);
        if (!good)
            (void)fprintf(stderr, "FAILED: seed %lu, case %u\n", (unsigned long)seed, i);
    }
    free(file);
    return good;
}

int main(void)
{
    static const struct gguf_shape shapes[] = {
        {.n_layer = 2, .rope_freqs = true, .format = HEARTH_Q8_0},
        {.n_layer = 1, .n_embd = 256, .n_ff = 256, .n_vocab = 300, .tied = true, .format = HEARTH_Q4_K},
        {.n_layer = 1, .format = HEARTH_F16},
    };
    hearth_error err = {0};
    hearth_engine *engine;
    const hearth_engine_options options = {.struct_size = sizeof options, .threads = 2, .ram_cap = RAM_CAP};
    if (hearth_engine_open(&engine, &options, &err) != HEARTH_OK) {
        (void)fprintf(stderr, "FAILED: %s\n", err.message);
        return 1;
    }
    bool good = true;
    struct tally tally = {.fed = 0};
    for (uint32_t i = 0; good && i < sizeof shapes / sizeof shapes[0]; i++)
        good = fuzz(engine, &shapes[i], i + 1, &tally);
    hearth_engine_close(engine);
    for (int32_t s = 0; s <= 12; s++)
        if (tally.by_status[s])
            (void)printf("%-16s %u\n", hearth_status_name(s), tally.by_status[s]);
    (void)printf("fed and answered %u\n", tally.fed);
    return good ? 0 : 1;
}
