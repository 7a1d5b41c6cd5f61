/* hearth perplexity: how well a model predicts a text, and how far it is from another model that read the same text.
 *
 * The procedure is the usual one, so that numbers can be compared with other programs'. The text is tokenized whole, special tokens
 * not recognised, the beginning-of-text token in front where the model wants one, and cut into windows of CTX tokens without
 * overlap; what is left over is not used. Each window is read from an empty cache, its first token replaced by the
 * beginning-of-text token. The first half of a window is context only: scored are the predictions made at positions CTX/2 ...
 * CTX-2, each of the token behind it. */
#include "commands.h"
#include "common/real.h"
#include "common/status.h"
#include "log_probs.h"
#include "options.h"
#include "output.h"
#include "process.h"
#include "report.h"
#include <stdlib.h>

static const struct argp_option table[] = {
    OPTION_MODEL,
    {"file", 'f', "FILE", 0, "the text, - is standard input", 2},
    {"ctx", 'c', "CTX", 0, "tokens in a window (512, at most as trained)", 3},
    {"save-logits", OPTION_KEY_SAVE_LOGITS, "FILE", 0, "write the log-probabilities of all scored positions", 3},
    {"against", OPTION_KEY_AGAINST, "FILE", 0, "compare with those that another model has saved", 3},
    OPTION_BATCH,
    OPTION_THREADS,
    OPTION_KV,
    OPTION_SLIDING_WINDOW,
    OPTION_FLOAT_GEMM,
    OPTION_RAM_CAP,
    OPTION_PACK_CACHE,
    OPTION_JSON,
    OPTION_QUIET,
    OPTION_HELP,
    {0},
};

const struct options_command command_perplexity = {
    "hearth perplexity", "Measure how well a model predicts a text; compare it with another model on the same text.", table};

enum { CONTEXT_DEFAULT = 512, CONTEXT_MIN = 8, BATCH_DEFAULT = 512, TEXT_BYTES_LIMIT = 1 << 28 };

/* Below this the exponential is taken as zero: 1e-304 of the largest term, and the bound of hearth_exp64(). */
#define EXP_LEAST (-700.0)

/* The probabilities in a sound row add up to 1 but for the rounding of float logarithms, |l| 2^-24 each. */
#define SUM_TOLERANCE 1e-4

struct tally {
    uint64_t n;          /* predictions */
    double sum, squares; /* of -log p(next token) */
    double kl_sum, kl_max;
    uint64_t same_top;
};

struct run {
    struct options options;
    hearth_limits limits;
    hearth_engine *engine;
    hearth_model *model;
    hearth_session *session;
    struct log_probs_shape shape;
    int32_t *ids;        /* [n_windows][context] */
    float *ours, *other; /* log-probabilities of one position; NULL when not needed */
    struct target target;
    FILE *against;
    struct tally tally;
    double seconds; /* of computing, without scoring */
};

/* ---- Opening ------------------------------------------------------------------------------------------------------ */

static hearth_status choose_limits(struct run *run, hearth_error *error)
{
    const struct options *o = &run->options;
    hearth_limits *limits = &run->limits;
    *limits = options_limits(o);
    if (limits->context == 0) {
        hearth_plan *plan = NULL;
        HEARTH_TRY(hearth_plan_open(&plan, run->engine, o->model, limits, error));
        const uint32_t trained = hearth_plan_context(plan);
        hearth_plan_close(plan);
        limits->context = trained < CONTEXT_DEFAULT ? trained : CONTEXT_DEFAULT;
    }
    if (limits->context < CONTEXT_MIN)
        return hearth_fail(error, HEARTH_E_CONFIG, NULL, "-c: windows are too short (got %" PRIu32 ", need at least %d)",
                           limits->context, CONTEXT_MIN);
    const uint32_t batch = limits->batch ? limits->batch : BATCH_DEFAULT;
    const uint32_t scored = log_probs_scored(limits->context);
    limits->batch = batch < limits->context ? batch : limits->context;
    limits->logits_rows = scored < limits->batch ? scored : limits->batch;
    return HEARTH_OK;
}

static hearth_status tokenize_text(struct run *run, const char *text, size_t text_bytes, hearth_error *error)
{
    size_t n = 0;
    const hearth_status counted = hearth_tokenize(run->model, text, text_bytes, HEARTH_TOKENIZE_BOS, NULL, 0, &n, error);
    if (counted != HEARTH_OK && (counted != HEARTH_E_CONFIG || n == 0))
        return counted;
    const uint32_t context = run->shape.context;
    char quoted[HEARTH_QUOTE_MAX];
    if (n < context || n > INT32_MAX)
        return hearth_fail(error, HEARTH_E_CONFIG, NULL, "%s: text: %s (got %zu tokens, need at %s %" PRIu32 ")",
                           hearth_quote(quoted, run->options.file, strlen(run->options.file)),
                           n < context ? "is shorter than one window" : "is too long", n, n < context ? "least" : "most",
                           n < context ? context : (uint32_t)INT32_MAX);
    run->shape.n_windows = (uint32_t)(n / context);
    run->ids = malloc(n * sizeof *run->ids);
    if (!run->ids)
        return report_no_memory(error, "token ids");
    return hearth_tokenize(run->model, text, text_bytes, HEARTH_TOKENIZE_BOS, run->ids, n, &n, error);
}

/* Put the beginning-of-text token in the place of the first token of each window. */
static hearth_status begin_windows(struct run *run, hearth_error *error)
{
    int32_t bos;
    size_t n = 0;
    HEARTH_TRY(hearth_tokenize(run->model, "", 0, HEARTH_TOKENIZE_BOS, &bos, 1, &n, error));
    for (uint32_t w = 0; n == 1 && w < run->shape.n_windows; w++)
        run->ids[(size_t)w * run->shape.context] = bos;
    return HEARTH_OK;
}

static hearth_status read_text(struct run *run, hearth_error *error)
{
    char *text;
    size_t text_bytes;
    HEARTH_TRY(process_read_file(&text, &text_bytes, run->options.file, TEXT_BYTES_LIMIT, error));
    const hearth_status status = tokenize_text(run, text, text_bytes, error);
    free(text);
    HEARTH_TRY(status);
    return begin_windows(run, error);
}

static hearth_status open_files(struct run *run, hearth_error *error)
{
    const struct options *o = &run->options;
    if (!o->save_logits && !o->against)
        return HEARTH_OK;
    run->ours = malloc(run->shape.n_vocab * sizeof *run->ours);
    run->other = malloc(run->shape.n_vocab * sizeof *run->other);
    if (!run->ours || !run->other)
        return report_no_memory(error, "log-probabilities");
    if (o->against)
        HEARTH_TRY(log_probs_open(&run->against, o->against, &run->shape, run->ids, error));
    run->target.name = o->save_logits;
    return o->save_logits ? log_probs_begin(&run->target, &run->shape, run->ids, error) : HEARTH_OK;
}

static hearth_status open_all(struct run *run, hearth_error *error)
{
    const struct options *o = &run->options;
    HEARTH_TRY(options_open_engine(&run->engine, o, o->threads, error));
    HEARTH_TRY(choose_limits(run, error));
    HEARTH_TRY(hearth_model_open(&run->model, run->engine, o->model, &run->limits, NULL, error));
    run->shape = (struct log_probs_shape){.n_vocab = hearth_model_vocabulary_size(run->model), .context = run->limits.context};
    HEARTH_TRY(read_text(run, error));
    HEARTH_TRY(hearth_session_open(&run->session, run->model, &run->limits, error));
    HEARTH_TRY(open_files(run, error));
    report_progress_end();
    return HEARTH_OK;
}

/* ---- Scoring ------------------------------------------------------------------------------------------------------ */

static uint32_t find_top(const float *row, uint32_t n)
{
    uint32_t top = 0;
    for (uint32_t i = 1; i < n; i++)
        top = row[i] > row[top] ? i : top;
    return top;
}

static double exponential(double x)
{
    return x < EXP_LEAST ? 0.0 : hearth_exp64(x);
}

/* log of the sum of exp(row): the largest is taken out first, so that nothing overflows and the sum is at least 1. */
static double log_sum(const float *row, uint32_t n)
{
    const double top = (double)row[find_top(row, n)];
    double sum = 0.0;
    for (uint32_t i = 0; i < n; i++)
        sum += exponential((double)row[i] - top);
    return top + hearth_log64(sum);
}

/* Add the divergence of the saved distribution p from ours q, sum p (log p - log q). Both are float here, so that a model has none
 * from itself. */
static hearth_status compare(struct run *run, hearth_error *error)
{
    const uint32_t n = run->shape.n_vocab;
    const float *p = run->other, *q = run->ours;
    HEARTH_TRY(log_probs_read(run->other, run->against, run->options.against, n, error));
    double sum = 0.0, divergence = 0.0;
    bool sound = true;
    for (uint32_t i = 0; i < n && sound; i++) {
        sound = p[i] < 1.0f; /* false for NaN as well; rounding may leave a little above zero */
        const double share = sound ? exponential((double)p[i]) : 0.0;
        sum += share;
        divergence += share > 0.0 ? share * ((double)p[i] - (double)q[i]) : 0.0;
    }
    char quoted[HEARTH_QUOTE_MAX];
    if (!sound || !(fabs(sum - 1.0) < SUM_TOLERANCE))
        return hearth_fail(error, HEARTH_E_FORMAT, "E_DAMAGED", "%s: row %" PRIu64 ": is no distribution (got a sum of %g, need 1)",
                           hearth_quote(quoted, run->options.against, strlen(run->options.against)), run->tally.n, sum);
    divergence = divergence > 0.0 ? divergence : 0.0; /* it cannot be negative but by rounding */
    run->tally.kl_sum += divergence;
    run->tally.kl_max = divergence > run->tally.kl_max ? divergence : run->tally.kl_max;
    run->tally.same_top += find_top(p, n) == find_top(q, n);
    return HEARTH_OK;
}

static hearth_status score(struct run *run, const float *logits, int32_t next, hearth_error *error)
{
    const uint32_t n = run->shape.n_vocab;
    const double log_total = log_sum(logits, n);
    const double loss = log_total - (double)logits[next];
    for (uint32_t i = 0; run->ours && i < n; i++)
        run->ours[i] = (float)((double)logits[i] - log_total);
    if (run->against)
        HEARTH_TRY(compare(run, error));
    if (run->options.save_logits)
        HEARTH_TRY(log_probs_write(&run->target, run->ours, n, error));
    run->tally.n++;
    run->tally.sum += loss;
    run->tally.squares += loss * loss;
    return HEARTH_OK;
}

/* Feed positions [at, at + n) of a window and score those of them that are scored. */
static hearth_status read_batch(struct run *run, const int32_t *window, uint32_t at, uint32_t n, hearth_error *error)
{
    if (process_interrupted())
        return hearth_fail(error, HEARTH_E_CANCELLED, NULL, "perplexity: interrupted (got %" PRIu64 " predictions)", run->tally.n);
    const double begin = process_seconds();
    HEARTH_TRY(hearth_session_feed(run->session, window + at, n, error));
    run->seconds += process_seconds() - begin;
    const uint32_t first = run->shape.context / 2;
    for (uint32_t i = at < first ? first - at : 0; i < n; i++) {
        const float *logits = hearth_session_logits(run->session, n - 1 - i);
        if (!logits)
            return hearth_fail(error, HEARTH_E_INFERENCE, NULL, "session: logits: were not kept %" PRIu32 " positions back",
                               n - 1 - i);
        HEARTH_TRY(score(run, logits, window[at + i + 1], error));
    }
    return HEARTH_OK;
}

/* The last token of a window is only predicted, not fed. */
static hearth_status read_window(struct run *run, const int32_t *window, hearth_error *error)
{
    hearth_session_reset(run->session);
    for (uint32_t at = 0; at + 1 < run->shape.context;) {
        const uint32_t left = run->shape.context - 1 - at, n = left < run->limits.batch ? left : run->limits.batch;
        HEARTH_TRY(read_batch(run, window, at, n, error));
        at += n;
    }
    return HEARTH_OK;
}

/* e^(mean loss). The mean of a broken model may be beyond what hearth_exp64() can do. */
static double perplexity(const struct tally *tally)
{
    const double mean = tally->sum / (double)tally->n;
    return mean < -EXP_LEAST ? hearth_exp64(mean) : HUGE_VAL;
}

/* Standard error of the perplexity, by that of the mean loss: the derivative of e^x is e^x. */
static double standard_error(const struct tally *tally)
{
    const double n = (double)tally->n, mean = tally->sum / n;
    const double variance = tally->squares / n - mean * mean;
    return variance > 0.0 ? sqrt(variance / (n - 1.0)) * perplexity(tally) : 0.0;
}

static hearth_status read_windows(struct run *run, hearth_error *error)
{
    for (uint32_t w = 0; w < run->shape.n_windows; w++) {
        HEARTH_TRY(read_window(run, run->ids + (size_t)w * run->shape.context, error));
        char what[40];
        (void)snprintf(what, sizeof what, "perplexity %.4f", perplexity(&run->tally));
        report_progress(what, w + 1, run->shape.n_windows);
    }
    report_progress_end();
    return run->options.save_logits ? target_publish(&run->target, error) : HEARTH_OK;
}

/* ---- Telling ------------------------------------------------------------------------------------------------------ */

static double speed(const struct run *run)
{
    const double tokens = (double)run->shape.n_windows * (run->shape.context - 1);
    return run->seconds > 0 ? tokens / run->seconds : 0;
}

static int print_json(const struct run *run)
{
    const struct tally *t = &run->tally;
    const double n = (double)t->n;
    const bool compared = run->against != NULL;
    json_t *object = json_object();
    output_set(object, "perplexity", json_real(perplexity(t)));
    output_set(object, "stderr", json_real(standard_error(t)));
    output_set(object, "n_tokens", json_integer((json_int_t)t->n));
    output_set(object, "n_windows", json_integer(run->shape.n_windows));
    output_set(object, "ctx", json_integer(run->shape.context));
    output_set(object, "prompt_ts", json_real(speed(run)));
    output_set(object, "model", output_text(run->options.model, strlen(run->options.model)));
    output_set(object, "kl_mean", compared ? json_real(t->kl_sum / n) : json_null());
    output_set(object, "kl_max", compared ? json_real(t->kl_max) : json_null());
    output_set(object, "same_top", compared ? json_real((double)t->same_top / n) : json_null());
    return output_json(object, 0);
}

static int print_text(const struct run *run)
{
    const struct tally *t = &run->tally;
    (void)printf("perplexity %.4f ± %.4f, %" PRIu64 " tokens scored in %" PRIu32 " windows of %" PRIu32 "\n", perplexity(t),
                 standard_error(t), t->n, run->shape.n_windows, run->shape.context);
    if (run->against)
        (void)printf("KL divergence mean %.6f, max %.6f; same top token %.3f %%\n", t->kl_sum / (double)t->n, t->kl_max,
                     100 * (double)t->same_top / (double)t->n);
    return report_finish_output();
}

static int tell(const struct run *run)
{
    report_release_log();
    const int exit_code = (run->options.json ? print_json : print_text)(run);
    if (exit_code == 0)
        report_note("%s; %.1f t/s", hearth_engine_summary(run->engine), speed(run));
    return exit_code;
}

static void close_all(struct run *run)
{
    target_close(&run->target);
    if (run->against)
        (void)fclose(run->against);
    hearth_session_close(run->session);
    hearth_model_close(run->model);
    hearth_engine_close(run->engine);
    free(run->ids);
    free(run->ours);
    free(run->other);
}

int cmd_perplexity(int argc, char **argv)
{
    struct run run = {.target = {.fd = -1}};
    int exit_code;
    if (!options_parse(&run.options, &exit_code, &command_perplexity, argc, argv))
        return exit_code;
    if (!run.options.file)
        return report_usage("-f: is missing (need a file of text)");
    process_catch_interrupts();
    hearth_error error = {0};
    hearth_status status = open_all(&run, &error);
    if (status == HEARTH_OK)
        status = read_windows(&run, &error);
    exit_code = status == HEARTH_OK ? tell(&run) : report_error(&error);
    close_all(&run);
    return exit_code;
}
