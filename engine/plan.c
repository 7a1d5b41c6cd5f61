/* The memory plan; see plan.h. */
#include "plan.h"
#include "common/checked.h"
#include "common/status.h"
#include "pack.h"
#include "pack_cache.h"

static const char *const line_names[HEARTH_PLAN_ITEM_COUNT] = {
    [HEARTH_PLAN_WEIGHTS] = "weights",
    [HEARTH_PLAN_DESCRIPTION] = "model description",
    [HEARTH_PLAN_TOKENIZER] = "tokenizer",
    [HEARTH_PLAN_KV] = "KV cache",
    [HEARTH_PLAN_ACTIVATIONS] = "activations",
    [HEARTH_PLAN_LOGITS] = "logits",
    [HEARTH_PLAN_SCRATCH] = "scratch",
    [HEARTH_PLAN_SESSION] = "session",
    [HEARTH_PLAN_CHAT] = "chat",
    [HEARTH_PLAN_THREADS] = "threads",
    [HEARTH_PLAN_PREFIX_CACHE] = "prefix cache",
    [HEARTH_PLAN_LOADING] = "loading buffers",
    [HEARTH_PLAN_ROUNDING] = "page rounding",
    [HEARTH_PLAN_PROCESS] = "process and libraries",
    [HEARTH_PLAN_BLAS] = "OpenBLAS",
};

/* Scales of attention and rotation are numbers of the contract, and come from divisions and a root: they are made on a worker,
 * whose rounding is defined. */
struct hparams_job {
    const struct hearth_gguf *gguf;
    struct hearth_hparams hparams;
    hearth_status status;
    hearth_error error;
};

static void read_hparams_on_worker(void *context, uint32_t worker, uint32_t workers)
{
    (void)workers;
    struct hparams_job *job = context;
    if (worker == 0)
        job->status = hearth_hparams_read(&job->hparams, job->gguf, &job->error);
}

static hearth_status read_hparams(struct hearth_hparams *out, struct hearth_engine *engine, const struct hearth_gguf *gguf,
                                  hearth_error *err)
{
    struct hparams_job job = {.gguf = gguf};
    hearth_pool_run(engine->pool, read_hparams_on_worker, &job);
    *out = job.hparams;
    if (job.status != HEARTH_OK && err)
        *err = job.error;
    return job.status;
}

hearth_status hearth_model_facts_read(struct hearth_model_facts *out, struct hearth_engine *engine,
                                      const struct hearth_source *source, hearth_error *err)
{
    struct hearth_hparams hparams;
    const struct hearth_gguf *gguf = source->gguf;
    *out = (struct hearth_model_facts){.gguf = gguf};
    if (gguf->n_tensors == 0)
        return hearth_fail(err, HEARTH_E_FORMAT, "E_MISSING", "%s: tensors: there are none; a vocabulary-only file cannot run",
                           source->shown);
    hearth_status s = read_hparams(&hparams, engine, gguf, err);
    if (s == HEARTH_OK)
        s = hearth_describe(&out->description, &hparams, gguf, &engine->kernels, engine->log, engine->log_user, err);
    if (s == HEARTH_OK)
        s = hearth_vocab_read(&out->vocab, gguf, out->description.hparams.n_vocab, engine->log, engine->log_user, err);
    if (s == HEARTH_OK)
        s = hearth_tokenizer_plan(&out->vocab, source->name, &out->tokenizer_bytes, err);
    if (s != HEARTH_OK)
        hearth_model_facts_free(out);
    return s;
}

void hearth_model_facts_free(struct hearth_model_facts *facts)
{
    hearth_pack_cache_close(&facts->cache);
    hearth_description_free(&facts->description);
}

/* Sums saturate: a plan that does not fit in 64 bits fits no machine. */
static void add(uint64_t *sum, uint64_t bytes)
{
    if (!hearth_add_u64(sum, *sum, bytes))
        *sum = UINT64_MAX;
}

static void add_arena(struct hearth_plan *plan, const struct hearth_arena *arena, int32_t pages)
{
    const uint64_t rounded = arena->overflow ? UINT64_MAX : hearth_arena_rounded(arena->used, pages);
    for (int i = 0; i < HEARTH_PLAN_ITEM_COUNT; i++)
        add(&plan->lines[i], arena->taken[i]);
    add(&plan->lines[HEARTH_PLAN_ROUNDING], rounded - arena->used);
}

/* What other models and sessions of the engine have taken is not there to be planned with. */
uint64_t hearth_plan_cap_left(const struct hearth_engine *engine, uint64_t given_back)
{
    const uint64_t taken = atomic_load(&engine->reserved) - hearth_engine_own_bytes(engine);
    const uint64_t others = taken > given_back ? taken - given_back : 0;
    return engine->cap > others ? engine->cap - others : 0;
}

/* Reading buffers; the file's header; and the tables of the loader, which live on the heap until the description has moved into its
 * arena. */
static uint64_t loading_bytes(const struct hearth_engine *engine, const struct hearth_model_facts *facts)
{
    const uint64_t buffers =
        facts->cache.map ? 0 : hearth_arena_rounded(engine->workers * hearth_pack_buffer_bytes(&facts->description), engine->pages);
    return buffers + hearth_file_fetched_bytes(facts->gguf->header.size) + facts->gguf->memory_bytes +
           facts->description.hparams.n_layer * sizeof(struct hearth_layer);
}

static void make(struct hearth_plan *out, const struct hearth_engine *engine, struct hearth_model_facts *facts,
                 const struct hearth_session_limits *limits, uint64_t given_back)
{
    *out = (struct hearth_plan){.allocator = engine->allocator,
                                .cap = hearth_plan_cap_left(engine, given_back),
                                .limits = *limits,
                                .weight_bytes = facts->description.weight_bytes,
                                .mapped = facts->cache.map ? (facts->cache.map_bytes + 4095) & ~(uint64_t)4095 : 0};
    add_arena(out, &engine->arena, HEARTH_PAGES_4K);
    add_arena(out, &engine->prefix_cache.counted, engine->pages);

    struct hearth_model model = {.description = facts->description,
                                 .cache = facts->cache,
                                 .has_order = limits->grammar,
                                 .chat_format.source_bytes = facts->vocab.chat_template.size};
    struct hearth_arena counting = {0};
    hearth_model_layout(&model, &counting, facts->tokenizer_bytes, NULL);
    add_arena(out, &counting, engine->pages);

    struct hearth_session session = {.limits = *limits};
    struct hearth_arena session_counting = {0};
    model.engine = (struct hearth_engine *)(uintptr_t)engine;
    hearth_session_layout(&session, &model, &session_counting);
    add_arena(out, &session_counting, engine->pages);

    /* The buffers are gone before the session takes its memory, so only their excess counts. */
    const uint64_t loading = loading_bytes(engine, facts);
    const uint64_t later = hearth_arena_rounded(session_counting.used, engine->pages);
    out->lines[HEARTH_PLAN_LOADING] = loading > later ? loading - later : 0;
    out->lines[HEARTH_PLAN_PROCESS] = HEARTH_PROCESS_BYTES;
    out->lines[HEARTH_PLAN_BLAS] = hearth_engine_blas_bytes(engine);
    for (int i = 0; i < HEARTH_PLAN_ITEM_COUNT; i++)
        add(&out->total, out->lines[i]);
}

/* ---- Ways to fit ---------------------------------------------------------------------------------------------------- */

static uint64_t total_with(const struct hearth_engine *engine, struct hearth_model_facts *facts,
                           struct hearth_session_limits limits)
{
    struct hearth_plan plan;
    limits.batch = limits.batch < limits.context ? limits.batch : limits.context;
    limits.logits_rows = limits.logits_rows < limits.batch ? limits.logits_rows : limits.batch;
    make(&plan, engine, facts, &limits, 0);
    return plan.total;
}

/* The largest multiple of 256 positions that fits `cap`; 0 when none does. The total grows with the context. */
static uint32_t largest_context(const struct hearth_engine *engine, struct hearth_model_facts *facts,
                                struct hearth_session_limits limits, uint64_t cap)
{
    uint32_t fits = 0;
    uint32_t fails = limits.context / 256 + 1;
    while (fails - fits > 1) {
        const uint32_t middle = fits + (fails - fits) / 2;
        limits.context = middle * 256;
        if (total_with(engine, facts, limits) <= cap)
            fits = middle;
        else
            fails = middle;
    }
    return fits * 256;
}

/* Add "WAY needs BYTES" to the advice. */
HEARTH_PRINTF(3, 4)
static void append(struct hearth_plan *plan, uint64_t bytes, const char *format, ...)
{
    char way[64];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(way, sizeof way, format, args);
    va_end(args);
    const size_t used = strlen(plan->advice);
    (void)snprintf(plan->advice + used, sizeof plan->advice - used, "%s%s needs %" PRIu64, used ? ", " : "", way, bytes);
}

static void advise(struct hearth_plan *plan, const struct hearth_engine *engine, struct hearth_model_facts *facts)
{
    struct hearth_session_limits limits = plan->limits;
    if (limits.kv_format == HEARTH_F32) {
        limits.kv_format = HEARTH_F16;
        const uint64_t total = total_with(engine, facts, limits);
        if (total <= plan->cap)
            append(plan, total, "an F16 cache");
    }
    limits = plan->limits;
    if (limits.kv_format != HEARTH_Q8_0) {
        limits.kv_format = HEARTH_Q8_0;
        const uint64_t total = total_with(engine, facts, limits);
        if (total <= plan->cap)
            append(plan, total, "a Q8_0 cache");
    }
    const uint64_t kept = hearth_arena_rounded(engine->prefix_cache.counted.used, engine->pages);
    if (kept && plan->total - kept <= plan->cap)
        append(plan, plan->total - kept, "no prefix cache");
    limits = plan->limits;
    for (limits.batch = 256; limits.batch >= 16; limits.batch /= 2) {
        const uint64_t total = total_with(engine, facts, limits);
        if (limits.batch < plan->limits.batch && total <= plan->cap) {
            append(plan, total, "-b %" PRIu32, limits.batch);
            break;
        }
    }
    limits = plan->limits;
    limits.context = largest_context(engine, facts, limits, plan->cap);
    if (limits.context)
        append(plan, total_with(engine, facts, limits), "-c %" PRIu32, limits.context);
    if (plan->advice[0])
        return;
    const uint32_t least = plan->limits.context < 256 ? plan->limits.context : 256;
    limits = (struct hearth_session_limits){.context = least, .batch = 16, .logits_rows = 1, .kv_format = HEARTH_F16};
    append(plan, total_with(engine, facts, limits), "the least, -c %" PRIu32 " with -b 16,", least);
}

void hearth_plan_make(struct hearth_plan *out, const struct hearth_engine *engine, struct hearth_model_facts *facts,
                      const struct hearth_session_limits *limits, uint64_t given_back)
{
    make(out, engine, facts, limits, given_back);
    if (out->total > out->cap)
        advise(out, engine, facts);
}

/* ---- Public --------------------------------------------------------------------------------------------------------- */

static hearth_status open_source(hearth_plan **out, struct hearth_engine *engine, const struct hearth_source *source,
                                 const hearth_limits *limits, uint64_t given_back, hearth_error *error)
{
    *out = NULL;
    HEARTH_TRY(hearth_engine_check(engine, error));
    struct hearth_model_facts facts;
    struct hearth_session_limits resolved;
    HEARTH_TRY(hearth_model_facts_read(&facts, engine, source, error));
    hearth_status status = hearth_limits_resolve(&resolved, limits, engine, &facts.description.hparams, error);
    void *handle = NULL;
    if (status == HEARTH_OK)
        status = hearth_handle_take(&handle, &engine->allocator, sizeof(struct hearth_plan), source->shown, error);
    struct hearth_plan *plan = handle;
    if (plan) {
        hearth_pack_cache_find(&facts.cache, engine, source, &facts.description);
        hearth_plan_make(plan, engine, &facts, &resolved, given_back);
    }
    hearth_model_facts_free(&facts);
    *out = plan;
    return status;
}

hearth_status hearth_plan_open_source(hearth_plan **out, struct hearth_engine *engine, const struct hearth_source *source,
                                      const hearth_limits *limits, hearth_error *error)
{
    return open_source(out, engine, source, limits, 0, error);
}

hearth_status hearth_plan_open_beside(hearth_plan **out, struct hearth_engine *engine, const char *path,
                                      const hearth_limits *limits, uint64_t given_back, hearth_error *error)
{
    struct hearth_source source;
    struct hearth_file_source file;
    *out = NULL;
    HEARTH_TRY(hearth_source_open_file(&source, &file, path, error));
    const hearth_status status = open_source(out, engine, &source, limits, given_back, error);
    hearth_parts_close(&file.parts);
    return status;
}

hearth_status hearth_plan_open(hearth_plan **out, hearth_engine *engine, const char *path, const hearth_limits *limits,
                               hearth_error *error)
{
    HEARTH_NEED(out, error);
    *out = NULL;
    HEARTH_NEED(engine, error);
    HEARTH_NEED(path, error);
    return hearth_plan_open_beside(out, engine, path, limits, 0, error);
}

void hearth_plan_close(hearth_plan *plan)
{
    if (!plan)
        return;
    const hearth_allocator allocator = plan->allocator;
    hearth_handle_release(&allocator, plan, sizeof *plan);
}

uint64_t hearth_plan_private_bytes(const hearth_plan *plan)
{
    return plan ? plan->total : 0;
}

uint64_t hearth_plan_mapped_bytes(const hearth_plan *plan)
{
    return plan ? plan->mapped : 0; /* the map of the model's header is closed when loading ends */
}

uint64_t hearth_plan_cap_bytes(const hearth_plan *plan)
{
    return plan ? plan->cap : 0;
}

uint32_t hearth_plan_context(const hearth_plan *plan)
{
    return plan ? plan->limits.context : 0;
}

uint32_t hearth_plan_batch(const hearth_plan *plan)
{
    return plan ? plan->limits.batch : 0;
}

size_t hearth_plan_line_count(const hearth_plan *plan)
{
    return plan && plan->lines[HEARTH_PLAN_BLAS] ? HEARTH_PLAN_ITEM_COUNT : HEARTH_PLAN_BLAS;
}

const char *hearth_plan_line_name(const hearth_plan *plan, size_t index)
{
    return index < hearth_plan_line_count(plan) ? line_names[index] : NULL;
}

uint64_t hearth_plan_line_bytes(const hearth_plan *plan, size_t index)
{
    return plan && index < HEARTH_PLAN_ITEM_COUNT ? plan->lines[index] : 0;
}

hearth_status hearth_plan_check(const hearth_plan *plan, hearth_error *error)
{
    HEARTH_NEED(plan, error);
    if (plan->total <= plan->cap)
        return HEARTH_OK;
    return hearth_fail_needed(error, HEARTH_E_MEMORY, plan->total, plan->cap,
                              "memory plan: does not fit the cap (got %" PRIu64 ", need %" PRIu64 "): %s", plan->cap, plan->total,
                              plan->advice);
}
