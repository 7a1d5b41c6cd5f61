/* Golden data; see golden.h. */
#include "golden.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool golden_shared(char out[GOLDEN_PATH], const char *name)
{
    const char *root = getenv("HEARTH_SHARED");
    if (!root || !*root)
        return false;
    (void)snprintf(out, GOLDEN_PATH, "%s/%s", root, name);
    return true;
}

void golden_source(char out[GOLDEN_PATH], const char *name)
{
    const char *root = getenv("HEARTH_SOURCE_DIR");
    (void)snprintf(out, GOLDEN_PATH, "%s/%s", root ? root : ".", name);
}

bool golden_exists(const char *path)
{
    return access(path, R_OK) == 0;
}

size_t golden_tokens(const char *path, int32_t ids[GOLDEN_TOKENS_MAX])
{
    FILE *f = fopen(path, "r");
    size_t n = 0;
    while (f && n < GOLDEN_TOKENS_MAX && fscanf(f, "%d%*[, \n]", &ids[n]) == 1)
        n++;
    if (f)
        (void)fclose(f);
    return n;
}

float *golden_floats(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    (void)fseek(f, 0, SEEK_END);
    const long bytes = ftell(f);
    (void)fseek(f, 0, SEEK_SET);
    float *floats = bytes > 0 ? malloc((size_t)bytes) : NULL;
    *n = floats ? fread(floats, sizeof(float), (size_t)bytes / sizeof(float), f) : 0;
    (void)fclose(f);
    return floats;
}

static bool feed_all(hearth_session *session, const int32_t *ids, size_t n, uint32_t chunk, size_t n_vocab, float *out,
                     hearth_error *err)
{
    for (size_t i = 0; i < n; i += chunk) {
        const size_t now = n - i < chunk ? n - i : chunk;
        if (hearth_session_feed(session, ids + i, now, err) != HEARTH_OK)
            return false;
        for (size_t j = 0; j < now; j++)
            memcpy(out + (i + j) * n_vocab, hearth_session_logits(session, (uint32_t)(now - 1 - j)), n_vocab * sizeof(float));
    }
    return true;
}

hearth_engine *golden_engine(const char *level, uint32_t threads)
{
    hearth_error err = {0};
    hearth_engine *engine;
    const hearth_engine_options options = {.struct_size = sizeof options, .threads = threads};
    if (level)
        (void)setenv("HEARTH_CPU", level, 1);
    if (hearth_engine_open(&engine, &options, &err) != HEARTH_OK)
        (void)fprintf(stderr, "%s [%s]\n", err.message, err.detail);
    return engine;
}

float *golden_logits(hearth_engine *engine, const char *path, uint32_t chunk, int32_t kv_type, const int32_t *ids, size_t n,
                     size_t *n_vocab)
{
    hearth_error err = {0};
    hearth_model *model = NULL;
    hearth_session *session = NULL;
    float *out = NULL;
    const hearth_limits limits = {
        .struct_size = sizeof limits, .context = (uint32_t)n, .batch = chunk, .kv_type = kv_type, .logits_rows = chunk};
    bool done = hearth_model_open(&model, engine, path, &limits, NULL, &err) == HEARTH_OK &&
                hearth_session_open(&session, model, &limits, &err) == HEARTH_OK;
    if (done) {
        *n_vocab = hearth_model_vocabulary_size(model);
        out = malloc(n * *n_vocab * sizeof(float));
        done = out && feed_all(session, ids, n, chunk, *n_vocab, out, &err);
    }
    if (!done) {
        (void)fprintf(stderr, "%s: %s [%s]\n", path, err.message, err.detail);
        free(out);
        out = NULL;
    }
    hearth_session_close(session);
    hearth_model_close(model);
    return out;
}
