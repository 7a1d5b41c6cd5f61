/* The forward pass as a job: its list of steps, what ends it early, what it reports; see forward.h. */
#include "common/status.h"
#include "forward_parts.h"
#include <time.h>

static const char *const operation_names[OPERATION_COUNT] = {"the normalised input", "the attention output",
                                                             "the choice of experts", "the feed-forward product", "the logits"};

/* Keep the earliest place, so that the message does not depend on the number of threads. */
void hearth_step_report(const struct hearth_step *s, enum operation operation)
{
    const uint32_t place = 1 + s->layer * OPERATION_COUNT + (uint32_t)operation;
    uint32_t seen = atomic_load(&s->batch->failure);
    while ((seen == 0 || place < seen) && !atomic_compare_exchange_weak(&s->batch->failure, &seen, place))
        ;
}

/* ---- What ends it early ---------------------------------------------------------------------------------------------- */

static double seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static bool is_cancelled(const struct hearth_interrupt *i)
{
    return atomic_load_explicit(&i->cancelled, memory_order_relaxed) != 0;
}

static bool is_late(const struct hearth_interrupt *i)
{
    return i->deadline > 0.0 && seconds() >= i->deadline;
}

hearth_status hearth_interrupt_check(const struct hearth_interrupt *i, hearth_error *err)
{
    if (is_cancelled(i))
        return hearth_fail(err, HEARTH_E_CANCELLED, NULL, "session: cancelled; hearth_session_resume() lets it go on");
    if (is_late(i))
        return hearth_fail(err, HEARTH_E_CANCELLED, "E_DEADLINE", "session: the deadline has passed");
    return HEARTH_OK;
}

bool hearth_step_has_layer(const struct hearth_step *s)
{
    return s->layer < atomic_load_explicit(&s->batch->end, memory_order_relaxed);
}

/* Before each layer: at the barrier behind the tokens' embedding, then at the first one of the layer before. */
static void ask_abort(struct hearth_step *s)
{
    struct hearth_batch *b = s->batch;
    const uint32_t next = s->asked == 0 ? 0 : s->layer + 1;
    if (!b->interrupt->should_stop || s->asked != next || next >= atomic_load_explicit(&b->end, memory_order_relaxed))
        return;
    s->asked++;
    if (b->interrupt->should_stop(b->interrupt->stop_user))
        atomic_store_explicit(&b->end, next, memory_order_relaxed);
}

/* Called by one worker at every barrier, so what it decides during a layer is known to all before the next one; and whoever still
 * asks about this layer gets the answer that all others got, whatever has been decided since. */
static void look_for_interrupt(struct hearth_step *s)
{
    struct hearth_batch *b = s->batch;
    ask_abort(s);
    if (s->layer + 1 < atomic_load_explicit(&b->end, memory_order_relaxed) && (is_cancelled(b->interrupt) || is_late(b->interrupt)))
        atomic_store_explicit(&b->end, s->layer + 1, memory_order_relaxed);
}

#define PREFETCH_BYTES 4096u /* of the next weights, before a barrier; a prefetch behind their end does no harm */

void hearth_step_barrier(struct hearth_step *s, const struct hearth_matrix *next)
{
    if (s->worker == 0)
        look_for_interrupt(s);
    if (next && next->rows && is_few(s->batch->n)) { /* its first bytes come while we wait */
        const struct hearth_range mine = hearth_share_rows(next->rows, s->worker, s->workers);
        const uint8_t *tiles =
            next->packed + mine.begin / next->kernel->matmul.tile_rows * next->kernel->matmul.tile_bytes(next->k);
        for (size_t i = 0; i < PREFETCH_BYTES; i += 64)
            __builtin_prefetch(tiles + i);
    }
    hearth_pool_barrier(s->batch->pool, s->worker);
}

/* ---- The job -------------------------------------------------------------------------------------------------------- */

#define STEPS_PER_LAYER 16u /* at least as many as any architecture shares among workers in a layer */

typedef void arch_fn(struct hearth_step *s);
static arch_fn *const arch_steps[HEARTH_ARCH_COUNT] = {
    [HEARTH_ARCH_LLAMA] = hearth_arch_llama,   [HEARTH_ARCH_GEMMA] = hearth_arch_llama, [HEARTH_ARCH_GEMMA2] = hearth_arch_gemma2,
    [HEARTH_ARCH_GEMMA3] = hearth_arch_gemma2, [HEARTH_ARCH_PHI2] = hearth_arch_phi2,   [HEARTH_ARCH_PHI3] = hearth_arch_llama,
    [HEARTH_ARCH_QWEN2] = hearth_arch_llama,   [HEARTH_ARCH_QWEN3] = hearth_arch_llama, [HEARTH_ARCH_QWEN3MOE] = hearth_arch_llama};

static void run_steps(void *context, uint32_t worker, uint32_t workers)
{
    struct hearth_batch *b = context;
    struct hearth_step step = {.batch = b,
                               .worker = worker,
                               .workers = workers,
                               .steps = b->buffers->steps,
                               .x = b->buffers->x,
                               .x_next = b->buffers->x_next};
    arch_steps[b->model->hparams.arch](&step);
}

hearth_status hearth_forward(struct hearth_batch *b, hearth_error *err)
{
    const uint32_t n_layer = b->model->hparams.n_layer;
    HEARTH_TRY(hearth_interrupt_check(b->interrupt, err));
    atomic_store(&b->failure, 0);
    atomic_store(&b->end, n_layer);
    struct hearth_prefetch_search *search = b->n <= HEARTH_PREFETCH_TOKENS ? &b->prefetch[b->n - 1] : NULL;
    const uint32_t way = search ? hearth_prefetch_choice(search) : 0;
    b->prefetch_bytes = search ? hearth_prefetch_way(way) : HEARTH_PREFETCH_BYTES;
    const double begin = seconds();
    hearth_pool_run_without(b->pool, b->left_out - 1, run_steps, b);
    const uint32_t end = atomic_load(&b->end);
    if (search && end == n_layer)
        hearth_prefetch_record(search, way, seconds() - begin);
    b->buffers->steps += STEPS_PER_LAYER * (n_layer + (uint64_t)1);
    if (end < n_layer) {
        const hearth_status status = hearth_interrupt_check(b->interrupt, err);
        return status != HEARTH_OK ? status : hearth_fail(err, HEARTH_E_CANCELLED, NULL, "session: cancelled while it computed");
    }
    const uint32_t failure = atomic_load(&b->failure);
    if (failure == 0)
        return HEARTH_OK;
    const uint32_t layer = (failure - 1) / OPERATION_COUNT;
    const uint32_t operation = (failure - 1) % OPERATION_COUNT;
    if (layer >= n_layer)
        return hearth_fail(err, HEARTH_E_INFERENCE, "E_NUM", "inference: %s are not finite at positions %" PRIu32 " to %" PRIu32,
                           operation_names[operation], b->position, b->position + b->n - 1);
    return hearth_fail(err, HEARTH_E_INFERENCE, "E_NUM",
                       "inference: layer %" PRIu32 ": %s is not finite at positions %" PRIu32 " to %" PRIu32, layer,
                       operation_names[operation], b->position, b->position + b->n - 1);
}
