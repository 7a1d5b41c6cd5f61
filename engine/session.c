/* Sessions: one timeline of tokens over a model. Memory is laid out once; feeding, sampling and generating allocate nothing. */
#include "common/checked.h"
#include "common/limits.h"
#include "common/status.h"
#include "engine.h"
#include "logprobs.h"
#include "pack_cache.h"
#include "plan.h"
#include <math.h>
#include <time.h>

#define STREAM_PIECE 256 /* bytes of a token's text taken at once; longer ones in steps */

/* Of layer l; `at` is left open. */
static struct hearth_kv_layer cache_layer(const struct hearth_session_limits *limits, const struct hearth_hparams *h, uint32_t l)
{
    const uint32_t whole = (uint32_t)hearth_align(limits->context, HEARTH_KEY_BLOCK);
    const uint32_t window = h->windowed[l] ? limits->window : 0;
    const uint64_t ring = hearth_align((uint64_t)window + limits->batch - 1, HEARTH_SEGMENT);
    const uint32_t slots = window > 0 && ring < whole ? (uint32_t)ring : whole;
    return (struct hearth_kv_layer){.head_bytes =
                                        slots / HEARTH_KEY_BLOCK * hearth_cache_block_bytes(limits->kv_format, h->head_dim),
                                    .slots = slots,
                                    .window = window};
}

/* Whether every layer has a slot for every position: then position p lies in slot p, for good. */
static bool forgets_nothing(const struct hearth_session_limits *limits, const struct hearth_hparams *h)
{
    for (uint32_t i = 0; i < h->n_layer; i++)
        if (cache_layer(limits, h, i).slots < limits->context)
            return false;
    return true;
}

hearth_status hearth_limits_copy(hearth_limits *out, const hearth_limits *limits, hearth_error *err)
{
    const size_t least = offsetof(hearth_limits, grammar); /* of the first version */
    *out = (hearth_limits){0};
    if (limits && limits->struct_size < least)
        return hearth_fail(err, HEARTH_E_CONFIG, NULL, "limits: struct_size is too small (got %" PRIu32 ", need %zu)",
                           limits->struct_size, least);
    if (limits)
        memcpy(out, limits, limits->struct_size < sizeof *out ? limits->struct_size : sizeof *out);
    out->struct_size = sizeof *out;
    return HEARTH_OK;
}

hearth_status hearth_limits_resolve(struct hearth_session_limits *out, const hearth_limits *limits,
                                    const struct hearth_engine *engine, const struct hearth_hparams *hparams, hearth_error *err)
{
    hearth_limits known;
    HEARTH_TRY(hearth_limits_copy(&known, limits, err));
    limits = &known;
    if (limits->context > HEARTH_CONTEXT_MAX)
        return hearth_fail(err, HEARTH_E_CONFIG, NULL, "limits: context is too long (got %" PRIu32 ", need at most %u)",
                           limits->context, HEARTH_CONTEXT_MAX);
    if (limits->batch > HEARTH_BATCH_MAX)
        return hearth_fail(err, HEARTH_E_CONFIG, NULL, "limits: batch is too large (got %" PRIu32 ", need at most %u)",
                           limits->batch, HEARTH_BATCH_MAX);
    static const enum hearth_format kv_formats[] = {
        [HEARTH_KV_F16] = HEARTH_F16, [HEARTH_KV_F32] = HEARTH_F32, [HEARTH_KV_Q8_0] = HEARTH_Q8_0};
    if (limits->kv_type < 0 || (size_t)limits->kv_type >= sizeof kv_formats / sizeof kv_formats[0])
        return hearth_fail(err, HEARTH_E_CONFIG, NULL, "limits: no such kv_type (got %" PRId32 ", need %d to %d)", limits->kv_type,
                           HEARTH_KV_F16, HEARTH_KV_Q8_0);
    const uint32_t trained = hparams->n_ctx_train < 4096 ? hparams->n_ctx_train : 4096;
    out->context = limits->context ? limits->context : trained;
    out->batch = limits->batch ? limits->batch : 512;
    out->batch = out->batch < out->context ? out->batch : out->context;
    out->logits_rows = limits->logits_rows ? limits->logits_rows : 1;
    out->logits_rows = out->logits_rows < out->batch ? out->logits_rows : out->batch;
    out->kv_format = kv_formats[limits->kv_type];
    out->grammar = limits->grammar != 0;
    out->chat = limits->chat != 0;
    out->window = !hparams->window_when_asked || limits->sliding_window ? hparams->window : 0;
    if (!forgets_nothing(out, hparams))
        return HEARTH_OK;
    return hearth_prefix_cache_check(&engine->prefix_cache, hearth_prefix_unit_bytes(hparams, out->kv_format), err);
}

/* ---- Memory --------------------------------------------------------------------------------------------------------- */

static void layout_cache(struct hearth_session *s, const struct hearth_hparams *h, struct hearth_arena *arena)
{
    uint64_t bytes = 0; /* at most 512 layers * 4096 heads * 2^24 positions * 4096 dimensions * 4: below 2^59 */
    s->cache.format = s->limits.kv_format;
    s->cache.layers = hearth_arena_take(arena, HEARTH_PLAN_SESSION, h->n_layer, sizeof *s->cache.layers);
    for (uint32_t i = 0; i < h->n_layer; i++) {
        struct hearth_kv_layer layer = cache_layer(&s->limits, h, i);
        layer.at = bytes;
        bytes += h->n_head_kv * layer.head_bytes;
        if (s->cache.layers)
            s->cache.layers[i] = layer;
    }
    s->cache.keys = hearth_arena_take(arena, HEARTH_PLAN_KV, bytes, 1);
    s->cache.values = hearth_arena_take(arena, HEARTH_PLAN_KV, bytes, 1);
}

/* Segments that a batch may see, of any layer: those of its slots, and one more where they begin and end within one. */
static uint32_t most_segments(const struct hearth_session *s, const struct hearth_hparams *h)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < h->n_layer; i++) {
        const struct hearth_kv_layer layer = cache_layer(&s->limits, h, i);
        const uint32_t segments = (layer.slots + HEARTH_SEGMENT - 1) / HEARTH_SEGMENT + (layer.slots < s->limits.context);
        most = segments > most ? segments : most;
    }
    return most;
}

static float *take_floats(struct hearth_arena *arena, uint64_t rows, uint64_t columns)
{
    return hearth_arena_take(arena, HEARTH_PLAN_ACTIVATIONS, rows, columns * sizeof(float));
}

static void layout_experts(struct hearth_session *s, const struct hearth_description *d, struct hearth_arena *arena)
{
    const struct hearth_hparams *h = &d->hparams;
    struct hearth_buffers *b = &s->buffers;
    const uint64_t n = s->limits.batch;
    b->router_logits = take_floats(arena, n, h->n_expert);
    b->routes = hearth_arena_take(arena, HEARTH_PLAN_ACTIVATIONS, n * h->n_expert_used, sizeof *b->routes);
    for (int kind = 0; kind < HEARTH_ACTIVATION_COUNT; kind++)
        if (hearth_forward_experts_take(d, (enum hearth_activation)kind))
            b->expert_rows[kind] = hearth_arena_take(arena, HEARTH_PLAN_ACTIVATIONS, n * h->n_expert_used,
                                                     hearth_activation_bytes((enum hearth_activation)kind, h->n_embd));
}

static void layout_buffers(struct hearth_session *s, const struct hearth_model *model, struct hearth_arena *arena)
{
    const struct hearth_description *d = &model->description;
    const struct hearth_hparams *h = &d->hparams;
    struct hearth_buffers *b = &s->buffers;
    const uint64_t n = s->limits.batch, blocks = hearth_forward_whole_blocks(s->limits.batch);
    b->x = take_floats(arena, n, h->n_embd);
    if (d->layers[0].post_attn_norm.weight.n > 0) {
        b->x_next = take_floats(arena, n, h->n_embd);
        b->projected = take_floats(arena, n, h->n_embd);
    }
    b->q = take_floats(arena, n, (uint64_t)h->n_head * h->head_dim);
    b->attended = take_floats(arena, n, (uint64_t)h->n_head * h->head_dim);
    b->angles[HEARTH_ROPE_GLOBAL] = take_floats(arena, n, h->n_rot);
    if (h->rope_local_base > 0)
        b->angles[HEARTH_ROPE_LOCAL] = take_floats(arena, n, h->n_rot);
    for (int kind = 0; kind < HEARTH_ACTIVATION_COUNT; kind++)
        if (d->uses[kind])
            b->rows[kind] = hearth_arena_take(arena, HEARTH_PLAN_ACTIVATIONS, blocks,
                                              hearth_activation_bytes((enum hearth_activation)kind, hearth_forward_widest_of_x(d)));
    b->hidden = hearth_arena_take(arena, HEARTH_PLAN_ACTIVATIONS, hearth_forward_hidden_rows(d, s->limits.batch),
                                  hearth_activation_bytes(HEARTH_ACTIVATION_F32, h->n_ff));
    b->hidden_rows =
        hearth_arena_take(arena, HEARTH_PLAN_ACTIVATIONS, blocks * hearth_forward_slots(h), hearth_forward_hidden_row_bytes(d));
    if (h->n_expert)
        layout_experts(s, d, arena);
    b->logits = hearth_arena_take(arena, HEARTH_PLAN_LOGITS, s->limits.logits_rows,
                                  hearth_align(h->n_vocab, HEARTH_LOGITS_STEP) * sizeof(float));
    hearth_forward_scratch_layout(&b->scratch_layout, d, s->limits.batch, model->engine->blas.library != NULL);
    b->scratch = hearth_arena_take(arena, HEARTH_PLAN_SCRATCH, model->engine->workers, b->scratch_layout.bytes);
    b->attend_states =
        hearth_arena_take(arena, HEARTH_PLAN_SCRATCH, h->n_head_kv, hearth_attend_state_bytes(h, most_segments(s, h)));
    b->attend_done = hearth_arena_take(arena, HEARTH_PLAN_SCRATCH, h->n_head_kv, sizeof *b->attend_done);
    b->claims = hearth_arena_take(arena, HEARTH_PLAN_SCRATCH, model->engine->workers, sizeof *b->claims);
}

void hearth_session_layout(struct hearth_session *s, const struct hearth_model *model, struct hearth_arena *arena)
{
    const struct hearth_hparams *h = &model->description.hparams;
    layout_cache(s, h, arena);
    layout_buffers(s, model, arena); /* from here to the tokenizer's scratch, trim.c knows the order */
    s->scratch = hearth_arena_take(arena, HEARTH_PLAN_SCRATCH, HEARTH_TOKENIZER_SCRATCH, 1);
    s->ids = hearth_arena_take(arena, HEARTH_PLAN_SESSION, s->limits.context, sizeof(int32_t));
    s->pending = hearth_arena_take(arena, HEARTH_PLAN_SESSION, s->limits.context, sizeof(int32_t));
    void *sampler = hearth_arena_take(arena, HEARTH_PLAN_SESSION, hearth_sampler_bytes(h->n_vocab, s->limits.context), 1);
    void *stream = hearth_arena_take(arena, HEARTH_PLAN_SESSION, hearth_text_stream_bytes(STREAM_PIECE), 1);
    if (s->limits.grammar) {
        s->grammar = hearth_arena_take(arena, HEARTH_PLAN_SESSION, 1, sizeof *s->grammar);
        s->matcher = hearth_arena_take(arena, HEARTH_PLAN_SESSION, 1, hearth_matcher_bytes());
        s->allowed = hearth_arena_take(arena, HEARTH_PLAN_SESSION, ((uint64_t)h->n_vocab + 63) / 64, sizeof *s->allowed);
    }
    if (s->limits.chat)
        s->chat = hearth_chat_layout(model, s->limits.context, arena);
    if (!arena->base)
        return;
    s->sampler = sampler ? hearth_sampler_init(sampler, h->n_vocab, s->limits.context, model->tokenizer, s->scratch) : NULL;
    s->stream = stream ? hearth_text_stream_init(stream, STREAM_PIECE) : NULL;
}

/* The session's cache as the engine's prefix cache sees it; zeros where it cannot take part. */
static struct hearth_prefix_view prefix_view(const struct hearth_session *s)
{
    const struct hearth_hparams *h = &s->model->description.hparams;
    if (s->model->engine->prefix_cache.counted.used == 0 || !forgets_nothing(&s->limits, h))
        return (struct hearth_prefix_view){0};
    return (struct hearth_prefix_view){.scope = {.model = s->model->identity,
                                                 .tokenizer = s->model->vocabulary_identity,
                                                 .rope = hearth_session_rope(s),
                                                 .unit_bytes = hearth_prefix_unit_bytes(h, s->limits.kv_format),
                                                 .kv_format = s->limits.kv_format,
                                                 .window = s->limits.window},
                                       .cache = &s->cache,
                                       .n_layer = h->n_layer,
                                       .n_head_kv = h->n_head_kv,
                                       .piece_bytes = hearth_prefix_piece_bytes(s->limits.kv_format, h->head_dim)};
}

/* Give the engine's prefix cache what the session is about to lose; `next`: what it will be asked for instead. A restored state may
 * lack what layers with a window do not see. */
static void keep_prefix(struct hearth_session *s, const int32_t *next, size_t n_next)
{
    if (s->prefix.piece_bytes && s->position >= HEARTH_PREFIX_UNIT && s->held == 0)
        hearth_prefix_cache_keep(&s->model->engine->prefix_cache, &s->prefix, s->ids, s->position, next, (uint32_t)n_next);
}

static hearth_status take_memory(struct hearth_session *s, hearth_error *err)
{
    struct hearth_engine *e = s->model->engine;
    struct hearth_arena counting = {0};
    hearth_session_layout(s, s->model, &counting);
    HEARTH_TRY(hearth_engine_reserve(e, &s->arena, &counting, err));
    (void)hearth_engine_populate(e, &s->arena);
    hearth_session_layout(s, s->model, &s->arena);
    if (s->arena.overflow)
        return hearth_fail_needed(err, HEARTH_E_MEMORY, counting.used, s->arena.bytes,
                                  "session: memory: the layout exceeds its plan");
    s->prefix = prefix_view(s);
    return HEARTH_OK;
}

hearth_status hearth_session_open(hearth_session **out, hearth_model *model, const hearth_limits *limits, hearth_error *error)
{
    HEARTH_NEED(out, error);
    *out = NULL;
    HEARTH_NEED(model, error);
    HEARTH_TRY(hearth_engine_check(model->engine, error));
    if (model->description.hparams.n_layer == 0)
        return hearth_fail(error, HEARTH_E_CONFIG, NULL, "session: the model was opened for its vocabulary only");
    struct hearth_session_limits resolved;
    HEARTH_TRY(hearth_limits_resolve(&resolved, limits, model->engine, &model->description.hparams, error));
    if (resolved.grammar && !model->has_order)
        return hearth_fail(error, HEARTH_E_CONFIG, NULL, "session: limits: grammar: the model was opened without it");
    void *handle;
    HEARTH_TRY(hearth_handle_take(&handle, &model->engine->allocator, sizeof(struct hearth_session), "session", error));
    struct hearth_session *s = handle;
    s->model = model;
    s->limits = resolved;
    s->interrupt.should_stop = model->engine->should_stop;
    s->interrupt.stop_user = model->engine->stop_user;
    atomic_fetch_add(&model->users, 1);
    const hearth_status status = take_memory(s, error);
    if (status != HEARTH_OK) {
        hearth_session_close(s);
        return status;
    }
    *out = s;
    return HEARTH_OK;
}

void hearth_session_close(hearth_session *s)
{
    if (!s)
        return;
    struct hearth_model *model = s->model;
    if (!hearth_machine_forked(model->engine->fork_mark))
        keep_prefix(s, NULL, 0);
    hearth_engine_release(model->engine, &s->arena);
    hearth_handle_release(&model->engine->allocator, s, sizeof *s);
    hearth_model_leave(model);
}

static double seconds_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* ---- One user at a time --------------------------------------------------------------------------------------------- */

hearth_status hearth_session_enter(struct hearth_session *s, hearth_error *err)
{
    HEARTH_NEED(s, err);
    HEARTH_TRY(hearth_engine_check(s->model->engine, err));
    uint32_t free_ = 0;
    if (!atomic_compare_exchange_strong(&s->in_use, &free_, 1))
        return hearth_fail(err, HEARTH_E_BUSY, NULL, "session: another thread is using it");
    atomic_fetch_add(&s->n_calls, 1);
    return HEARTH_OK;
}

hearth_status hearth_session_leave(struct hearth_session *s, hearth_status status)
{
    atomic_store(&s->in_use, 0);
    return status;
}

/* ---- Feeding -------------------------------------------------------------------------------------------------------- */

/* The sampler knows no other text than what is left. `next`: the tokens that are wanted instead. */
static void forget_for(struct hearth_session *s, uint32_t position, const int32_t *next, size_t n_next)
{
    if (position < s->position)
        keep_prefix(s, next, n_next);
    s->position = position;
    s->n_unfed = 0;
    s->n_logits = 0;
    s->constrained = false;
    if (position == 0)
        s->written = s->held = 0;
    hearth_sampler_rewrite_history(s->sampler, s->ids, position);
}

void hearth_session_forget_from(struct hearth_session *s, uint32_t position)
{
    forget_for(s, position, NULL, 0);
}

static void restart(struct hearth_session *s)
{
    hearth_session_forget_from(s, 0);
    hearth_sampler_reset(s->sampler);
}

/* A session in use, by another thread or by the very call whose callback we are in, is left alone. */
void hearth_session_reset(hearth_session *s)
{
    if (hearth_session_enter(s, NULL) != HEARTH_OK)
        return;
    restart(s);
    (void)hearth_session_leave(s, HEARTH_OK);
}

void hearth_session_stand_at(struct hearth_session *s, uint32_t position)
{
    hearth_session_reset(s);
    hearth_session_forget_from(s, position);
}

/* One store, so that a signal handler may call it. */
void hearth_session_cancel(hearth_session *s)
{
    if (s)
        atomic_store(&s->interrupt.cancelled, 1);
}

void hearth_session_resume(hearth_session *s)
{
    if (s)
        atomic_store(&s->interrupt.cancelled, 0);
}

hearth_status hearth_session_set_deadline(hearth_session *s, double seconds, hearth_error *error)
{
    if (!(seconds >= 0.0))
        return hearth_fail(error, HEARTH_E_CONFIG, NULL, "session: the deadline is before now (got %g seconds, need 0 or more)",
                           seconds);
    HEARTH_TRY(hearth_session_enter(s, error));
    s->interrupt.deadline = seconds > 0.0 ? seconds_now() + seconds : 0.0;
    return hearth_session_leave(s, HEARTH_OK);
}

uint32_t hearth_session_position(const hearth_session *s)
{
    return s ? s->position : 0;
}

const int32_t *hearth_session_tokens(const hearth_session *s, uint32_t *n)
{
    if (n)
        *n = hearth_session_position(s);
    return s ? s->ids : NULL;
}

uint32_t hearth_session_context(const hearth_session *s)
{
    return s ? s->limits.context : 0;
}

/* For n tokens, and the one still owed. */
static hearth_status check_room(const struct hearth_session *s, size_t n, hearth_error *err)
{
    const uint32_t room = s->limits.context - s->position - s->n_unfed;
    if (n <= room)
        return HEARTH_OK;
    return hearth_fail_needed(err, HEARTH_E_CONTEXT_FULL, n, room,
                              "context: too many tokens (got %zu, need at most %" PRIu32 " of %" PRIu32 ")", n, room,
                              s->limits.context);
}

static hearth_status check_ids(const struct hearth_session *s, const int32_t *ids, size_t n, hearth_error *err)
{
    const uint32_t n_vocab = s->model->description.hparams.n_vocab;
    if (n == 0)
        return hearth_fail(err, HEARTH_E_CONFIG, "E_EMPTY", "prompt: it has no tokens (got 0, need 1)");
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (uint32_t)ids[i] >= n_vocab)
            return hearth_fail(err, HEARTH_E_CONFIG, "E_TOKENID",
                               "tokens: entry %zu is not in the vocabulary (got %" PRId32 ", need 0 to %" PRIu32 ")", i, ids[i],
                               n_vocab - 1);
    return HEARTH_OK;
}

uint32_t hearth_session_first_held(const struct hearth_session *s, uint32_t layer)
{
    const struct hearth_kv_layer *l = &s->cache.layers[layer];
    const uint32_t not_overwritten = s->written > l->slots ? s->written - l->slots : 0;
    if (l->window == 0)
        return 0;
    return s->held > not_overwritten ? s->held : not_overwritten;
}

uint32_t hearth_session_first_seen(const struct hearth_session *s, uint32_t layer, uint32_t position)
{
    const uint32_t window = s->cache.layers[layer].window;
    return window && position + 1 > window ? position + 1 - window : 0;
}

/* Whether a token at `position` would see positions before it that are not there any more. */
static bool has_lost(const struct hearth_session *s, uint32_t position)
{
    for (uint32_t i = 0; i < s->model->description.hparams.n_layer; i++) {
        const uint32_t first = hearth_session_first_seen(s, i, position);
        if (first < position && first < hearth_session_first_held(s, i))
            return true;
    }
    return false;
}

/* Chosen once for the whole context, so that no key has to be rotated again. */
static const double *global_rope(const struct hearth_session *s)
{
    const bool long_context = s->limits.context > s->model->description.hparams.rope_n_ctx;
    return long_context && s->model->rope_long ? s->model->rope_long : s->model->rope_frequencies[HEARTH_ROPE_GLOBAL];
}

struct hearth_hash hearth_session_rope(const struct hearth_session *s)
{
    const size_t bytes = s->model->description.hparams.n_rot / 2 * sizeof(double);
    const double *local = s->model->rope_frequencies[HEARTH_ROPE_LOCAL];
    struct hearth_hash hash = hearth_hash128(global_rope(s), bytes);
    if (local)
        hearth_hash_add(&hash, local, bytes);
    return hash;
}

/* Put at most a batch of tokens into the cache, from position `begin`; the session's own does not move. */
static hearth_status compute_batch_without(struct hearth_session *s, uint32_t left_out, uint32_t begin, const int32_t *ids,
                                           uint32_t n, uint32_t n_logits, hearth_error *err)
{
    struct hearth_batch batch = {.model = &s->model->description,
                                 .kernels = &s->model->engine->kernels,
                                 .rope_frequencies = {global_rope(s), s->model->rope_frequencies[HEARTH_ROPE_LOCAL]},
                                 .pool = s->model->engine->pool,
                                 .blas = s->model->engine->blas.library ? &s->model->engine->blas : NULL,
                                 .buffers = &s->buffers,
                                 .prefetch = s->model->prefetch,
                                 .cache = &s->cache,
                                 .interrupt = &s->interrupt,
                                 .left_out = left_out,
                                 .ids = ids,
                                 .n = n,
                                 .position = begin,
                                 .l1_bytes = s->model->engine->topology.l1d_bytes,
                                 .n_logits = n_logits};
    HEARTH_TRY(hearth_pack_cache_verify_late(&s->model->cache, s->model->engine, err));
    s->n_logits = 0;
    s->written = begin + n > s->written ? begin + n : s->written;
    HEARTH_TRY(hearth_forward(&batch, err));
    s->n_logits = n_logits;
    return HEARTH_OK;
}

static hearth_status compute_batch(struct hearth_session *s, uint32_t ahead, const int32_t *ids, uint32_t n, uint32_t n_logits,
                                   hearth_error *err)
{
    return compute_batch_without(s, 0, s->position + ahead, ids, n, n_logits, err);
}

/* The position moves on over tokens that have been computed. */
static void move_over(struct hearth_session *s, const int32_t *ids, size_t n)
{
    memmove(s->ids + s->position, ids, n * sizeof *ids); /* they may be these very ones, by hearth_session_tokens() */
    for (size_t i = 0; i < n; i++)
        hearth_sampler_accept(s->sampler, s->ids[s->position + i]);
    s->position += (uint32_t)n;
}

/* How many of the n tokens that are left make the next batch, and for how many of those there are logits: none before the last. */
static uint32_t next_batch(const struct hearth_session *s, size_t n, uint32_t *n_logits)
{
    const bool last = n <= s->limits.batch;
    const uint32_t now = last ? (uint32_t)n : s->limits.batch;
    *n_logits = !last ? 0 : now < s->limits.logits_rows ? now : s->limits.logits_rows;
    return now;
}

/* Batches from position upwards. The session moves only when all have succeeded; else it stands where it stood, or, if that is
 * gone, at the beginning. */
static hearth_status compute(struct hearth_session *s, const int32_t *ids, size_t n, hearth_error *err)
{
    uint32_t now;
    for (size_t done = 0; done < n; done += now) {
        uint32_t n_logits;
        now = next_batch(s, n - done, &n_logits);
        const hearth_status status = compute_batch(s, (uint32_t)done, ids + done, now, n_logits, err);
        if (status != HEARTH_OK && has_lost(s, s->position))
            restart(s);
        HEARTH_TRY(status);
    }
    move_over(s, ids, n);
    return HEARTH_OK;
}

static struct hearth_hash hash_logits(const struct hearth_session *s)
{
    return hearth_hash128(hearth_session_logits(s, 0), s->model->description.hparams.n_vocab * sizeof(float));
}

/* Compute the token at the position, whose logits are there, again, and compare their bits. One worker after the other is left out,
 * so that each has its results compared with those of others. One alone takes the token before as well, where that is possible: two
 * tokens go other ways than one. */
static hearth_status check_again(struct hearth_session *s, int32_t id, uint32_t n_checked, hearth_error *err)
{
    const uint32_t workers = s->model->engine->workers;
    const bool two = workers == 1 && s->position > 0 && s->limits.batch > 1 && !has_lost(s, s->position - 1);
    const int32_t ids[] = {two ? s->ids[s->position - 1] : id, id};
    const struct hearth_hash first = hash_logits(s);
    HEARTH_TRY(compute_batch_without(s, workers > 1 ? 1 + n_checked % workers : 0, s->position - two, ids, 1U + two, 1, err));
    if (hearth_hash_equal(first, hash_logits(s)))
        return HEARTH_OK;
    s->n_logits = 0;
    if (workers > 1)
        return hearth_fail(err, HEARTH_E_INFERENCE, NULL,
                           "inference: token %" PRIu32 ": logits differ between %" PRIu32 " and %" PRIu32
                           " threads: a fault of the machine, or a race",
                           s->position, workers, workers - 1);
    return hearth_fail(err, HEARTH_E_INFERENCE, NULL,
                       "inference: token %" PRIu32 ": logits differ when computed again: a fault of the machine", s->position);
}

/* compute() of one token of an answer, and again. */
static hearth_status compute_twice(struct hearth_session *s, int32_t id, uint32_t n_checked, hearth_error *err)
{
    hearth_status status = compute_batch(s, 0, &id, 1, 1, err);
    if (status == HEARTH_OK)
        status = check_again(s, id, n_checked, err);
    if (status != HEARTH_OK && has_lost(s, s->position))
        restart(s);
    HEARTH_TRY(status);
    move_over(s, &id, 1);
    return HEARTH_OK;
}

/* What an answer that was cut off still owes. */
static hearth_status compute_unfed(struct hearth_session *s, hearth_error *err)
{
    if (s->n_unfed == 0)
        return HEARTH_OK;
    HEARTH_TRY(compute(s, &s->unfed, 1, err));
    s->n_unfed = 0;
    return HEARTH_OK;
}

/* The text goes on with a token: one fed, or one chosen that will be. */
static void follow_grammar(struct hearth_session *s, int32_t id)
{
    const struct hearth_view piece = hearth_tokenizer_piece(s->model->tokenizer, id);
    if (s->constrained)
        hearth_matcher_advance(s->matcher, piece.bytes, piece.size);
}

static bool grammar_is_done(const struct hearth_session *s)
{
    return s->constrained && hearth_matcher_is_done(s->matcher);
}

static hearth_status feed(struct hearth_session *s, const int32_t *ids, size_t n, hearth_error *err)
{
    HEARTH_TRY(check_ids(s, ids, n, err));
    HEARTH_TRY(check_room(s, n, err));
    HEARTH_TRY(compute_unfed(s, err));
    HEARTH_TRY(compute(s, ids, n, err));
    for (size_t i = 0; i < n; i++)
        follow_grammar(s, ids[i]);
    return HEARTH_OK;
}

hearth_status hearth_session_feed(hearth_session *s, const int32_t *ids, size_t n_ids, hearth_error *error)
{
    HEARTH_NEED_FOR(ids, n_ids, error);
    HEARTH_TRY(hearth_session_enter(s, error));
    return hearth_session_leave(s, feed(s, ids, n_ids, error));
}

/* Ids of a text in s->pending; more than the context could ever hold is refused with the number it has. */
static hearth_status tokenize(struct hearth_session *s, const char *text, size_t text_bytes, uint32_t flags, size_t *n)
{
    return hearth_tokenizer_encode(s->model->tokenizer, s->scratch, text ? text : "", text_bytes, flags, s->pending,
                                   s->limits.context, n);
}

static hearth_status feed_text(struct hearth_session *s, const char *text, size_t text_bytes, uint32_t flags, size_t *n_ids,
                               hearth_error *err)
{
    size_t n = 0;
    const hearth_status status = tokenize(s, text, text_bytes, flags, &n);
    if (n_ids)
        *n_ids = n;
    HEARTH_TRY(check_room(s, n, err));
    if (status != HEARTH_OK)
        return hearth_fail(err, status, NULL, "prompt: it cannot be tokenized");
    return feed(s, s->pending, n, err);
}

hearth_status hearth_session_feed_text(hearth_session *s, const char *text, size_t text_bytes, uint32_t flags, size_t *n_ids,
                                       hearth_error *error)
{
    HEARTH_NEED_FOR(text, text_bytes, error);
    HEARTH_TRY(hearth_session_enter(s, error));
    return hearth_session_leave(s, feed_text(s, text, text_bytes, flags, n_ids, error));
}

/* ---- Going back ----------------------------------------------------------------------------------------------------- */

static hearth_status rewind_to(struct hearth_session *s, uint32_t position, hearth_error *err)
{
    if (position > s->position)
        return hearth_fail(err, HEARTH_E_CONFIG, NULL, "rewind: beyond the last token (got %" PRIu32 ", need at most %" PRIu32 ")",
                           position, s->position);
    if (has_lost(s, position))
        return hearth_fail(err, HEARTH_E_UNSUPPORTED, "E_WINDOW",
                           "rewind: layers with a window have forgotten what token %" PRIu32
                           " sees; only 0 and later ones can be gone back to",
                           position);
    hearth_session_forget_from(s, position);
    return HEARTH_OK;
}

hearth_status hearth_session_rewind(hearth_session *s, uint32_t position, hearth_error *error)
{
    HEARTH_TRY(hearth_session_enter(s, error));
    return hearth_session_leave(s, rewind_to(s, position, error));
}

/* How many tokens at the beginning of ids are in the context, and can be gone back to; not the last, whose logits are wanted. */
static uint32_t common_prefix(const struct hearth_session *s, const int32_t *ids, size_t n)
{
    uint32_t common = 0;
    while (common + 1 < n && common < s->position && s->ids[common] == ids[common])
        common++;
    return has_lost(s, common) ? 0 : common;
}

/* Take over what the prefix cache holds of ids, n tokens, beyond the position; not the last, whose logits are wanted. */
static uint32_t restore_prefix(struct hearth_session *s, const int32_t *ids, size_t n)
{
    const uint32_t from = s->position;
    if (!s->prefix.piece_bytes)
        return 0;
    uint32_t held = hearth_prefix_cache_restore(&s->model->engine->prefix_cache, &s->prefix, ids, (uint32_t)n, from);
    held = held < n ? held : (uint32_t)n - 1;
    s->written = held > s->written ? held : s->written;
    move_over(s, ids + from, held - from);
    return held - from;
}

/* Batch by batch, so that what was computed before a failure stays. */
static hearth_status prompt(struct hearth_session *s, const int32_t *ids, size_t n, hearth_prompt_info *info, hearth_error *err)
{
    HEARTH_TRY(check_ids(s, ids, n, err));
    if (n > s->limits.context)
        return hearth_fail_needed(err, HEARTH_E_CONTEXT_FULL, n, s->limits.context,
                                  "context: too many tokens (got %zu, need at most %" PRIu32 ")", n, s->limits.context);
    info->n_kept = common_prefix(s, ids, n);
    forget_for(s, info->n_kept, ids, n);
    info->n_restored = restore_prefix(s, ids, n);
    while (s->position < n) {
        uint32_t n_logits;
        const uint32_t now = next_batch(s, n - s->position, &n_logits);
        HEARTH_TRY(compute_batch(s, 0, ids + s->position, now, n_logits, err));
        move_over(s, ids + s->position, now);
        info->n_computed += now;
    }
    return HEARTH_OK;
}

hearth_status hearth_session_prompt(hearth_session *s, const int32_t *ids, size_t n_ids, hearth_prompt_info *info,
                                    hearth_error *error)
{
    hearth_prompt_info counted = {.struct_size = sizeof counted};
    HEARTH_NEED_FOR(ids, n_ids, error);
    if (info && info->struct_size < sizeof counted)
        return hearth_fail(error, HEARTH_E_CONFIG, NULL, "prompt info: struct_size is too small (got %" PRIu32 ", need %zu)",
                           info->struct_size, sizeof counted);
    HEARTH_TRY(hearth_session_enter(s, error));
    const hearth_status status = prompt(s, ids, n_ids, &counted, error);
    if (info) {
        counted.struct_size = info->struct_size;
        memcpy(info, &counted, sizeof counted);
    }
    return hearth_session_leave(s, status);
}

/* ---- What there is -------------------------------------------------------------------------------------------------- */

/* Bytes of keys and values of so many positions; more than 64 bits can say stays the largest number. */
static uint64_t cache_bytes(const struct hearth_session *s, uint64_t positions)
{
    const struct hearth_hparams *h = &s->model->description.hparams;
    const uint64_t position_bytes =
        2 * (uint64_t)h->n_head_kv * (hearth_cache_block_bytes(s->limits.kv_format, h->head_dim) / HEARTH_KEY_BLOCK);
    uint64_t total = 0;
    for (uint32_t i = 0; i < h->n_layer; i++) {
        const uint32_t slots = s->cache.layers[i].slots;
        uint64_t bytes;
        if (!hearth_mul_u64(&bytes, slots < s->limits.context && positions > slots ? slots : positions, position_bytes) ||
            !hearth_add_u64(&total, total, bytes))
            return UINT64_MAX;
    }
    return total;
}

hearth_status hearth_session_estimate(hearth_session *s, const char *text, size_t text_bytes, uint32_t flags, uint32_t n_answer,
                                      hearth_estimate *estimate, hearth_error *error)
{
    HEARTH_NEED(estimate, error);
    HEARTH_NEED_FOR(text, text_bytes, error);
    if (estimate->struct_size < sizeof *estimate)
        return hearth_fail(error, HEARTH_E_CONFIG, NULL, "estimate: struct_size is too small (got %" PRIu32 ", need %zu)",
                           estimate->struct_size, sizeof *estimate);
    HEARTH_TRY(hearth_session_enter(s, error));
    size_t n = 0;
    (void)tokenize(s, text, text_bytes, flags, &n); /* more ids than the context are counted all the same */
    const uint64_t needed = (uint64_t)s->position + s->n_unfed + n + n_answer;
    estimate->n_prompt = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
    estimate->n_needed = needed < UINT32_MAX ? (uint32_t)needed : UINT32_MAX;
    estimate->n_context = s->limits.context;
    estimate->kv_bytes = cache_bytes(s, needed);
    estimate->fits = needed <= s->limits.context;
    return hearth_session_leave(s, HEARTH_OK);
}

const float *hearth_session_logits(const hearth_session *s, uint32_t back)
{
    if (!s || back >= s->n_logits)
        return NULL;
    return s->buffers.logits +
           (size_t)(s->n_logits - 1 - back) * hearth_align(s->model->description.hparams.n_vocab, HEARTH_LOGITS_STEP);
}

/* ---- Choosing ------------------------------------------------------------------------------------------------------- */

hearth_status hearth_session_set_sampling(hearth_session *s, const hearth_sampling *sampling, hearth_error *error)
{
    HEARTH_NEED(sampling, error);
    HEARTH_TRY(hearth_session_enter(s, error));
    return hearth_session_leave(s, hearth_sampler_set(s->sampler, sampling, error));
}

static hearth_status set_grammar(struct hearth_session *s, const char *grammar, size_t bytes, hearth_error *err)
{
    s->constrained = false;
    if (!grammar)
        return HEARTH_OK;
    if (!s->limits.grammar)
        return hearth_fail(err, HEARTH_E_CONFIG, NULL,
                           "session: there is no room for a grammar; open it with limits that ask for one");
    HEARTH_TRY(hearth_grammar_compile(s->grammar, s->matcher, grammar, bytes, err));
    (void)hearth_matcher_start(s->matcher, s->grammar);
    s->constrained = true;
    return HEARTH_OK;
}

hearth_status hearth_session_set_grammar(hearth_session *s, const char *grammar, size_t bytes, hearth_error *error)
{
    HEARTH_NEED_FOR(grammar, bytes, error);
    HEARTH_TRY(hearth_session_enter(s, error));
    return hearth_session_leave(s, set_grammar(s, grammar, bytes, error));
}

struct choice {
    struct hearth_session *session;
    struct hearth_logprobs *logprobs; /* NULL: not asked for */
    uint32_t n_top;
    int32_t id;
    hearth_status status;
    hearth_error error;
};

static void choose_on_worker(void *context, uint32_t worker, uint32_t workers)
{
    (void)workers;
    struct choice *c = context;
    const struct hearth_model *model = c->session->model;
    const float *logits = hearth_session_logits(c->session, 0);
    if (worker != 0)
        return;
    c->status = hearth_sampler_choose(c->session->sampler, &model->engine->kernels, logits, &c->id, &c->error);
    if (c->status == HEARTH_OK && c->logprobs)
        hearth_logprobs_make(c->logprobs, &model->engine->kernels, logits, model->description.hparams.n_vocab, c->id, c->n_top);
}

/* logprobs may be NULL. */
static hearth_status sample(struct hearth_session *s, struct hearth_logprobs *logprobs, uint32_t n_top, int32_t *token,
                            hearth_error *err)
{
    if (s->n_logits == 0)
        return hearth_fail(err, HEARTH_E_CONFIG, "E_EMPTY", "sample: there are no logits; feed a token first");
    struct choice choice = {.session = s, .logprobs = logprobs, .n_top = n_top};
    if (s->constrained)
        HEARTH_TRY(hearth_matcher_allow(s->matcher, &s->model->order, s->model->tokenizer, s->allowed, err));
    hearth_sampler_allow(s->sampler, s->constrained ? s->allowed : NULL);
    hearth_pool_run(s->model->engine->pool, choose_on_worker, &choice);
    if (choice.status == HEARTH_OK)
        *token = choice.id;
    else if (err)
        *err = choice.error;
    return choice.status;
}

hearth_status hearth_session_sample(hearth_session *s, int32_t *token, hearth_error *error)
{
    HEARTH_NEED(token, error);
    HEARTH_TRY(hearth_session_enter(s, error));
    return hearth_session_leave(s, sample(s, NULL, 0, token, error));
}

/* ---- Generating ----------------------------------------------------------------------------------------------------- */

/* What a token adds to the answer. */
static struct hearth_view piece_of(const struct hearth_session *s, const hearth_generation *g, int32_t id)
{
    const struct hearth_tokenizer *tokenizer = s->model->tokenizer;
    if (g->keep_special)
        return hearth_tokenizer_text(tokenizer, id);
    return hearth_tokenizer_is_end(tokenizer, id) ? (struct hearth_view){(const uint8_t *)"", 0}
                                                  : hearth_tokenizer_piece(tokenizer, id);
}

/* false: stop. */
static bool tell(const hearth_generation *g, int32_t id, struct hearth_view piece, const struct hearth_logprobs *logprobs)
{
    if (!g->token)
        return true;
    const hearth_token token = {.struct_size = sizeof token,
                                .id = id,
                                .text = (const char *)piece.bytes,
                                .text_bytes = piece.size,
                                .logprob = logprobs ? logprobs->chosen : NAN,
                                .n_top = logprobs ? logprobs->n_top : 0,
                                .top = logprobs ? logprobs->top : NULL};
    return g->token(&token, g->token_user);
}

/* Why the answer ends with this token; HEARTH_STOP_NOT_YET when it goes on. */
#define HEARTH_STOP_NOT_YET (-1)
static int32_t show(struct hearth_session *s, const hearth_generation *g, int32_t id, const struct hearth_logprobs *logprobs,
                    bool last)
{
    const struct hearth_view piece = piece_of(s, g, id);
    const bool stopped = !tell(g, id, piece, logprobs);
    const enum hearth_stream_state state = hearth_text_stream_push(s->stream, piece.bytes, piece.size);
    if (hearth_tokenizer_is_end(s->model->tokenizer, id))
        return HEARTH_STOP_END;
    if (state == HEARTH_STREAM_STOPPED)
        return HEARTH_STOP_STRING;
    if (state == HEARTH_STREAM_CANCELLED || stopped)
        return HEARTH_STOP_CALLBACK;
    if (s->position == s->limits.context)
        return HEARTH_STOP_CONTEXT;
    return last ? HEARTH_STOP_LENGTH : HEARTH_STOP_NOT_YET;
}

/* One token: choose, show, compute. result->stop tells whether it was the last. */
static hearth_status generate_one(struct hearth_session *s, const hearth_generation *g, uint32_t max_tokens, hearth_result *result,
                                  hearth_error *err)
{
    int32_t id;
    struct hearth_logprobs room;
    struct hearth_logprobs *logprobs = g->token && g->logprobs ? &room : NULL;
    HEARTH_TRY(hearth_interrupt_check(&s->interrupt, err));
    HEARTH_TRY(sample(s, logprobs, g->n_top_logprobs, &id, err));
    if (g->ids && result->n_generated < g->ids_capacity)
        g->ids[result->n_generated] = id;
    result->n_generated++;
    result->stop = show(s, g, id, logprobs, result->n_generated == max_tokens);
    const bool belongs = result->stop != HEARTH_STOP_END && result->stop != HEARTH_STOP_STRING; /* to the text */
    if (belongs)
        follow_grammar(s, id);
    const bool goes_on = result->stop == HEARTH_STOP_NOT_YET && !grammar_is_done(s);
    const bool twice = goes_on && g->paranoid_every > 0 && result->n_generated % g->paranoid_every == 0;
    const hearth_status status = twice ? compute_twice(s, id, *g->n_checked, err) : goes_on ? compute(s, &id, 1, err) : HEARTH_OK;
    *g->n_checked += twice && status == HEARTH_OK;
    if (belongs && (!goes_on || status == HEARTH_E_CANCELLED) && s->position < s->limits.context) {
        s->unfed = id;
        s->n_unfed = 1;
    }
    if (belongs && result->stop != HEARTH_STOP_CALLBACK && !goes_on && grammar_is_done(s))
        result->stop = HEARTH_STOP_END;
    return status;
}

static hearth_status generate(struct hearth_session *s, const hearth_generation *g, hearth_result *result, hearth_error *err)
{
    const uint32_t max_tokens = g->max_tokens ? g->max_tokens : 256;
    const double begin = seconds_now();
    result->n_generated = *g->n_checked = 0;
    HEARTH_TRY(hearth_text_stream_begin(s->stream, g->stop_strings, g->n_stop_strings, g->text, g->text_user, err));
    hearth_status status = compute_unfed(s, err);
    result->stop = HEARTH_STOP_NOT_YET;
    while (status == HEARTH_OK && result->stop == HEARTH_STOP_NOT_YET)
        status = generate_one(s, g, max_tokens, result, err);
    if (hearth_text_stream_finish(s->stream) == HEARTH_STREAM_CANCELLED && status == HEARTH_OK)
        result->stop = HEARTH_STOP_CALLBACK;
    if (status == HEARTH_E_CANCELLED)
        result->stop = HEARTH_STOP_CANCELLED;
    result->seconds = seconds_now() - begin;
    return status;
}

hearth_status hearth_generation_read(hearth_generation *out, const hearth_generation *generation, const hearth_result *result,
                                     hearth_error *err)
{
    const size_t least = offsetof(hearth_generation, keep_special); /* of the first version */
    const uint32_t result_bytes = result ? result->struct_size : sizeof *result;
    if (generation->struct_size < least || result_bytes < sizeof *result)
        return hearth_fail(err, HEARTH_E_CONFIG, NULL,
                           "generate: a struct_size is too small (got %" PRIu32 " and %" PRIu32 ", need %zu and %zu)",
                           generation->struct_size, result_bytes, least, sizeof *result);
    *out = (hearth_generation){0};
    memcpy(out, generation, generation->struct_size < sizeof *out ? generation->struct_size : sizeof *out);
    if (out->n_top_logprobs > (out->logprobs ? HEARTH_TOP_LOGPROBS_MAX : 0))
        return hearth_fail(err, HEARTH_E_CONFIG, NULL,
                           "generate: n_top_logprobs: out of range (got %" PRIu32 ", need at most %d, and 0 without logprobs)",
                           out->n_top_logprobs, HEARTH_TOP_LOGPROBS_MAX);
    return HEARTH_OK;
}

hearth_status hearth_generate(hearth_session *s, const hearth_generation *generation, hearth_result *result, hearth_error *error)
{
    hearth_result unseen = {.struct_size = sizeof unseen};
    hearth_generation known;
    uint32_t uncounted;
    HEARTH_NEED(generation, error);
    HEARTH_TRY(hearth_generation_read(&known, generation, result, error));
    known.n_checked = known.n_checked ? known.n_checked : &uncounted;
    HEARTH_TRY(hearth_session_enter(s, error));
    return hearth_session_leave(s, generate(s, &known, result ? result : &unseen, error));
}
