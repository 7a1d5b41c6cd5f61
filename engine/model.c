/* Opening and closing of models: the pipeline file -> header -> description -> plan -> arena -> packed weights. */
#include "common/status.h"
#include "pack.h"
#include "pack_cache.h"
#include "plan.h"
#include <stdlib.h>

void hearth_model_layout(struct hearth_model *m, struct hearth_arena *arena, uint64_t tokenizer_bytes, uint8_t **tokenizer_memory)
{
    struct hearth_arena mapped = hearth_pack_cache_arena(&m->cache);
    hearth_description_layout(&m->description, arena, mapped.base ? &mapped : arena);
    for (int rope = 0; rope < HEARTH_ROPE_COUNT; rope++)
        if (rope == HEARTH_ROPE_GLOBAL || m->description.hparams.rope_local_base > 0)
            m->rope_frequencies[rope] =
                hearth_arena_take(arena, HEARTH_PLAN_DESCRIPTION, m->description.hparams.n_rot / 2, sizeof(double));
    if (m->description.rope_long.n)
        m->rope_long = hearth_arena_take(arena, HEARTH_PLAN_DESCRIPTION, m->description.hparams.n_rot / 2, sizeof(double));
    uint8_t *tables = hearth_arena_take(arena, HEARTH_PLAN_TOKENIZER, tokenizer_bytes, 1);
    m->scratch = hearth_arena_take(arena, HEARTH_PLAN_TOKENIZER, HEARTH_TOKENIZER_SCRATCH, 1);
    m->chat_format.source = hearth_arena_take(arena, HEARTH_PLAN_TOKENIZER, hearth_chat_kept_bytes(&m->chat_format), 1);
    const uint32_t n_ordered = m->has_order ? m->description.hparams.n_vocab : 0;
    m->order.ids = hearth_arena_take(arena, HEARTH_PLAN_TOKENIZER, n_ordered, sizeof *m->order.ids);
    m->order.shared = hearth_arena_take(arena, HEARTH_PLAN_TOKENIZER, n_ordered, sizeof *m->order.shared);
    if (tokenizer_memory)
        *tokenizer_memory = tables;
}

/* Reserve exactly what the layout counts, lay out again over the memory, and fill the small tables. */
static hearth_status take_memory(struct hearth_model *m, const struct hearth_vocab *vocab, uint64_t tokenizer_bytes,
                                 const struct hearth_source *source, hearth_error *err)
{
    struct hearth_arena counting = {0};
    uint8_t *tables;
    m->chat_format.source_bytes = vocab->chat_template.size;
    hearth_model_layout(m, &counting, tokenizer_bytes, NULL);
    HEARTH_TRY(hearth_engine_reserve(m->engine, &m->arena, &counting, err));
    hearth_model_layout(m, &m->arena, tokenizer_bytes, &tables);
    if (m->arena.overflow)
        return hearth_fail_needed(err, HEARTH_E_MEMORY, counting.used, m->arena.bytes, "%s: memory: the layout exceeds its plan",
                                  source->shown);
    HEARTH_TRY(hearth_tokenizer_init(&m->tokenizer, tables, tokenizer_bytes, vocab, source->name, err));
    hearth_chat_format_read(&m->chat_format, source->gguf, vocab);
    m->vocabulary_identity = hearth_vocab_identity(vocab);
    if (m->has_order)
        hearth_piece_order_make(&m->order, m->tokenizer);
    return HEARTH_OK;
}

/* The page cache keeps the file, for the next start, where there is memory for it beside the plan; else it is told to forget what
 * has been packed, so that other programs' pages stay. The reading buffers live only while weights are read. */
static hearth_status load(struct hearth_model *m, const struct hearth_source *source, const struct hearth_plan *plan,
                          const hearth_model_options *options, hearth_error *err)
{
    const uint64_t available = hearth_machine_available_memory("");
    const bool forget = available < plan->total || available - plan->total < source->gguf->file_size;
    const uint64_t packed = hearth_weights_packed_bytes(&m->description);
    struct hearth_progress progress =
        hearth_progress_begin(m->engine, options, packed + hearth_pack_cache_bytes_to_write(&m->cache));
    struct hearth_arena counting = {0};
    struct hearth_arena buffers;
    (void)hearth_arena_take(&counting, HEARTH_PLAN_LOADING, m->engine->workers, hearth_pack_buffer_bytes(&m->description));
    HEARTH_TRY(hearth_engine_reserve(m->engine, &buffers, &counting, err));
    hearth_status status =
        hearth_weights_load(&m->description, source, m->engine->prefetch_window, forget, m->engine->verify != HEARTH_VERIFY_OFF,
                            m->engine->pool, buffers.base, &progress, &m->identity, err);
    progress.before = packed;
    if (status == HEARTH_OK)
        status = hearth_pack_cache_write(&m->cache, m->engine, source, &m->description, m->identity, buffers.base, buffers.bytes,
                                         &progress, err);
    hearth_engine_release(m->engine, &buffers);
    return status;
}

/* Angles are numbers of the contract, so they begin on a worker, whose rounding is defined. */
static void compute_rope(void *context, uint32_t worker, uint32_t workers)
{
    (void)workers;
    struct hearth_model *m = context;
    const struct hearth_description *d = &m->description;
    const float *divisors = d->rope_short.n ? d->rope_short.values : d->rope_freqs.n ? d->rope_freqs.values : NULL;
    if (worker != 0)
        return;
    for (int rope = 0; rope < HEARTH_ROPE_COUNT; rope++)
        if (m->rope_frequencies[rope])
            hearth_rope_frequencies(m->rope_frequencies[rope], &d->hparams, (enum hearth_rope)rope, divisors);
    if (m->rope_long)
        hearth_rope_frequencies(m->rope_long, &d->hparams, HEARTH_ROPE_GLOBAL, d->rope_long.values);
}

/* Factors from the file are divisors: zero or less would turn angles into nonsense, and so would very small ones. Without them
 * no frequency is above 8, the inverse of the least scaling factor that hparams.c takes. */
static hearth_status prepare_rope(struct hearth_model *m, const char *name, hearth_error *err)
{
    const struct {
        const char *name;
        const struct hearth_vector *divisors;
        const double *frequencies;
    } checks[] = {
        {"rope_factors_short", &m->description.rope_short, m->rope_frequencies[HEARTH_ROPE_GLOBAL]},
        {"rope_factors_long", &m->description.rope_long, m->rope_long},
        {"rope_freqs", &m->description.rope_freqs, m->description.rope_short.n ? NULL : m->rope_frequencies[HEARTH_ROPE_GLOBAL]},
    };
    hearth_pool_run(m->engine->pool, compute_rope, m);
    for (size_t c = 0; c < sizeof checks / sizeof checks[0]; c++)
        for (uint32_t i = 0; checks[c].frequencies && i < checks[c].divisors->n; i++)
            if (!(checks[c].frequencies[i] > 0.0 && checks[c].frequencies[i] <= HEARTH_ROPE_FREQUENCY_MAX))
                return hearth_fail(err, HEARTH_E_FORMAT, "E_NUM",
                                   "%s: tensor %s.weight: element %" PRIu32 " is no divisor of angles (got %.9g)", name,
                                   checks[c].name, i, (double)checks[c].divisors->values[i]);
    return HEARTH_OK;
}

static hearth_status new_model(hearth_model **out, struct hearth_engine *engine, const struct hearth_source *source,
                               hearth_error *err)
{
    void *handle;
    *out = NULL;
    HEARTH_TRY(hearth_handle_take(&handle, &engine->allocator, sizeof(struct hearth_model), source->shown, err));
    hearth_model *m = handle;
    m->engine = engine;
    atomic_store(&m->users, 1);
    (void)pthread_mutex_init(&m->lock, NULL);
    atomic_fetch_add(&engine->users, 1);
    *out = m;
    return HEARTH_OK;
}

static hearth_status open_planned(hearth_model *m, struct hearth_model_facts *facts, const struct hearth_source *source,
                                  const hearth_limits *limits, const hearth_model_options *options, hearth_error *err)
{
    struct hearth_session_limits resolved;
    struct hearth_plan plan;
    HEARTH_TRY(hearth_limits_resolve(&resolved, limits, m->engine, &facts->description.hparams, err));
    hearth_pack_cache_find(&facts->cache, m->engine, source, &facts->description);
    HEARTH_TRY(hearth_pack_cache_verify(&facts->cache, m->engine, source, options, err));
    hearth_plan_make(&plan, m->engine, facts, &resolved, 0);
    HEARTH_TRY(hearth_plan_check(&plan, err));
    HEARTH_TRY(hearth_engine_start_prefix_cache(m->engine, err));
    m->description = facts->description;
    m->has_order = resolved.grammar;
    facts->description.layers = NULL; /* the layers are the model's now, and the map of packed weights */
    m->cache = facts->cache;
    facts->cache.map = NULL;
    HEARTH_TRY(take_memory(m, &facts->vocab, facts->tokenizer_bytes, source, err));
    m->identity = m->cache.model;
    if (!m->cache.map)
        HEARTH_TRY(load(m, source, &plan, options, err));
    HEARTH_TRY(prepare_rope(m, source->shown, err));
    (void)hearth_engine_populate(m->engine, &m->arena);
    return HEARTH_OK;
}

hearth_status hearth_model_open_source(hearth_model **out, struct hearth_engine *engine, const struct hearth_source *source,
                                       const hearth_limits *limits, const hearth_model_options *options, hearth_error *error)
{
    *out = NULL;
    HEARTH_TRY(hearth_engine_check(engine, error));
    struct hearth_model_facts facts;
    HEARTH_TRY(hearth_model_facts_read(&facts, engine, source, error));
    hearth_model *m;
    hearth_status status = new_model(&m, engine, source, error);
    if (status == HEARTH_OK)
        status = open_planned(m, &facts, source, limits, options, error);
    hearth_model_facts_free(&facts);
    if (status != HEARTH_OK) {
        hearth_model_close(m);
        return status;
    }
    *out = m;
    return HEARTH_OK;
}

hearth_status hearth_model_open(hearth_model **out, hearth_engine *engine, const char *path, const hearth_limits *limits,
                                const hearth_model_options *options, hearth_error *error)
{
    struct hearth_source source;
    struct hearth_file_source file;
    HEARTH_NEED(out, error);
    *out = NULL;
    HEARTH_NEED(engine, error);
    HEARTH_NEED(path, error);
    if (options && options->struct_size < sizeof *options)
        return hearth_fail(error, HEARTH_E_CONFIG, NULL, "model options: struct_size is too small (got %" PRIu32 ", need %zu)",
                           options->struct_size, sizeof *options);
    HEARTH_TRY(hearth_source_open_file(&source, &file, path, error));
    const hearth_status status = hearth_model_open_source(out, engine, &source, limits, options, error);
    hearth_parts_close(&file.parts);
    return status;
}

static hearth_status open_vocabulary(hearth_model *m, const struct hearth_source *source, hearth_error *err)
{
    const struct hearth_gguf *gguf = source->gguf;
    struct hearth_vocab vocab;
    uint64_t bytes;
    const struct hearth_gguf_tensor *embedding = hearth_gguf_find_tensor(gguf, "token_embd.weight");
    HEARTH_TRY(hearth_vocab_read(&vocab, gguf, embedding ? embedding->ne[1] : 0, m->engine->log, m->engine->log_user, err));
    HEARTH_TRY(hearth_tokenizer_plan(&vocab, source->name, &bytes, err));
    HEARTH_TRY(take_memory(m, &vocab, bytes, source, err));
    (void)hearth_engine_populate(m->engine, &m->arena);
    m->description.hparams.n_vocab = vocab.n_tokens;
    return HEARTH_OK;
}

hearth_status hearth_model_open_vocabulary(hearth_model **out, hearth_engine *engine, const char *path, hearth_error *error)
{
    struct hearth_source source;
    struct hearth_file_source file;
    HEARTH_NEED(out, error);
    *out = NULL;
    HEARTH_NEED(engine, error);
    HEARTH_NEED(path, error);
    HEARTH_TRY(hearth_engine_check(engine, error));
    HEARTH_TRY(hearth_source_open_file(&source, &file, path, error));
    hearth_model *m;
    hearth_status status = new_model(&m, engine, &source, error);
    if (status == HEARTH_OK)
        status = open_vocabulary(m, &source, error);
    hearth_parts_close(&file.parts);
    if (status != HEARTH_OK) {
        hearth_model_close(m);
        return status;
    }
    *out = m;
    return HEARTH_OK;
}

void hearth_model_close(hearth_model *m)
{
    if (m)
        hearth_model_leave(m);
}

void hearth_model_leave(struct hearth_model *m)
{
    if (atomic_fetch_sub(&m->users, 1) != 1)
        return;
    struct hearth_engine *engine = m->engine;
    if (!m->arena.base)
        free(m->description.layers); /* not yet moved into the arena */
    hearth_engine_release(engine, &m->arena);
    hearth_pack_cache_close(&m->cache);
    (void)pthread_mutex_destroy(&m->lock);
    hearth_handle_release(&engine->allocator, m, sizeof *m);
    hearth_engine_leave(engine);
}

uint32_t hearth_model_vocabulary_size(const hearth_model *m)
{
    return m ? m->description.hparams.n_vocab : 0;
}

uint32_t hearth_model_trained_context(const hearth_model *m)
{
    return m ? m->description.hparams.n_ctx_train : 0;
}

uint64_t hearth_model_weight_bytes(const hearth_model *m)
{
    return m ? m->description.weight_bytes : 0;
}

bool hearth_model_is_end(const hearth_model *m, int32_t token)
{
    return m && hearth_tokenizer_is_end(m->tokenizer, token);
}

static hearth_status too_many(size_t capacity, size_t n_ids, hearth_error *err)
{
    return hearth_fail(err, HEARTH_E_CONFIG, NULL, "tokenize: ids: more than there is room for (got %zu, need %zu)", capacity,
                       n_ids);
}

hearth_status hearth_tokenize(hearth_model *m, const char *text, size_t text_bytes, uint32_t flags, int32_t *ids, size_t capacity,
                              size_t *n_ids, hearth_error *error)
{
    return hearth_tokenize_marked(m, text, NULL, text_bytes, flags, ids, capacity, n_ids, error);
}

hearth_status hearth_tokenize_marked(hearth_model *m, const char *text, const uint8_t *from_caller, size_t text_bytes,
                                     uint32_t flags, int32_t *ids, size_t capacity, size_t *n_ids, hearth_error *error)
{
    HEARTH_NEED(n_ids, error);
    *n_ids = 0;
    HEARTH_NEED(m, error);
    HEARTH_NEED_FOR(text, text_bytes, error);
    HEARTH_NEED_FOR(ids, capacity, error);
    HEARTH_TRY(hearth_engine_check(m->engine, error)); /* a child may have inherited the lock from a thread that is not there */
    (void)pthread_mutex_lock(&m->lock);
    const hearth_status status = hearth_tokenizer_encode_marked(m->tokenizer, m->scratch, text ? text : "", from_caller, text_bytes,
                                                                flags, ids, capacity, n_ids);
    (void)pthread_mutex_unlock(&m->lock);
    return status == HEARTH_OK ? HEARTH_OK : too_many(capacity, *n_ids, error);
}

/* Names every key that is missing. */
static hearth_status refuse_infill(const struct hearth_model *m, hearth_error *err)
{
    static const char *const keys[] = {"fim_pre", "fim_suf", "fim_mid"};
    char missing[128] = "";
    for (uint32_t i = 0; i < 3; i++) {
        const size_t at = strlen(missing);
        if (hearth_tokenizer_infill_id(m->tokenizer, i) == HEARTH_TOKEN_NONE)
            (void)snprintf(missing + at, sizeof missing - at, "%stokenizer.ggml.%s_token_id", at ? ", " : "", keys[i]);
    }
    return hearth_fail(err, HEARTH_E_UNSUPPORTED, NULL, "infill: the model has no tokens for it (missing keys: %s)", missing);
}

hearth_status hearth_tokenize_infill(hearth_model *m, const char *prefix, size_t prefix_bytes, const char *suffix,
                                     size_t suffix_bytes, int32_t *ids, size_t capacity, size_t *n_ids, hearth_error *error)
{
    HEARTH_NEED(n_ids, error);
    *n_ids = 0;
    HEARTH_NEED(m, error);
    HEARTH_NEED_FOR(prefix, prefix_bytes, error);
    HEARTH_NEED_FOR(suffix, suffix_bytes, error);
    HEARTH_NEED_FOR(ids, capacity, error);
    HEARTH_TRY(hearth_engine_check(m->engine, error)); /* as above */
    const struct hearth_view before = {(const uint8_t *)(prefix ? prefix : ""), prefix_bytes};
    const struct hearth_view after = {(const uint8_t *)(suffix ? suffix : ""), suffix_bytes};
    (void)pthread_mutex_lock(&m->lock);
    const hearth_status status = hearth_tokenizer_encode_infill(m->tokenizer, m->scratch, before, after, ids, capacity, n_ids);
    (void)pthread_mutex_unlock(&m->lock);
    if (status == HEARTH_E_UNSUPPORTED)
        return refuse_infill(m, error);
    return status == HEARTH_OK ? HEARTH_OK : too_many(capacity, *n_ids, error);
}

hearth_status hearth_detokenize(const hearth_model *m, const int32_t *ids, size_t n_ids, char *text, size_t capacity,
                                size_t *text_bytes, hearth_error *error)
{
    bool begins = true;
    size_t at = 0;
    HEARTH_NEED(text_bytes, error);
    *text_bytes = 0;
    HEARTH_NEED(m, error);
    HEARTH_NEED_FOR(ids, n_ids, error);
    HEARTH_NEED_FOR(text, capacity, error);
    for (size_t i = 0; i < n_ids; i++) {
        if (ids[i] < 0 || (uint32_t)ids[i] >= hearth_tokenizer_count(m->tokenizer))
            return hearth_fail(error, HEARTH_E_CONFIG, "E_TOKENID",
                               "detokenize: token %zu is not in the vocabulary (got %" PRId32 ", need 0 to %" PRIu32 ")", i, ids[i],
                               hearth_tokenizer_count(m->tokenizer) - 1);
        const struct hearth_view piece = hearth_tokenizer_next_piece(m->tokenizer, &begins, ids[i]);
        if (at < capacity)
            memcpy(text + at, piece.bytes, piece.size < capacity - at ? piece.size : capacity - at);
        at += piece.size;
    }
    *text_bytes = at;
    if (at <= capacity)
        return HEARTH_OK;
    return hearth_fail(error, HEARTH_E_CONFIG, NULL, "detokenize: text: longer than its buffer (got %zu, need %zu)", capacity, at);
}
