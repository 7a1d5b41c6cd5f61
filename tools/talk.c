/* Opening, asking, telling; see talk.h. */
#include "talk.h"

#include "common/status.h"
#include "process.h"
#include "report.h"
#include "text.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEMPLATE_BYTES_MAX = 1 << 20, QUOTED_BYTES = 60 };

/* ---- Opening --------------------------------------------------------------------------------------------------------- */

/* A message goes because the context is full. */
static void on_dropped(const hearth_message *message, void *user)
{
    static const char *const roles[] = {"system", "you", "model", "tool"};
    char quoted[HEARTH_QUOTE_MAX];
    (void)user;
    report_say("the context is full; dropped: %s, %" PRIu32 " tokens: %s",
               message->role >= 0 && message->role < 4 ? roles[message->role] : "other", message->n_tokens,
               hearth_quote(quoted, message->text, message->text_bytes));
}

static bool on_load(uint64_t done, uint64_t total, void *user)
{
    (void)user;
    report_progress("loading", done, total);
    return !process_interrupted();
}

static void name_model(struct talk *talk)
{
    const char *slash = strrchr(talk->options.model, '/'), *file = slash ? slash + 1 : talk->options.model;
    char name[PLACES_NAME_MAX], quoted[HEARTH_QUOTE_MAX];
    (void)hearth_quote(quoted, places_model_name(name, file) ? name : file, strlen(places_model_name(name, file) ? name : file));
    (void)snprintf(talk->name, sizeof talk->name, "%s", quoted);
}

static hearth_status open_model(struct talk *talk, hearth_error *error)
{
    const hearth_limits limits = options_limits(&talk->options);
    const hearth_model_options loading = {.struct_size = sizeof loading, .progress = on_load};
    HEARTH_TRY(hearth_model_open(&talk->model, talk->engine, talk->options.model, &limits, &loading, error));
    report_progress_end();
    HEARTH_TRY(hearth_session_open(&talk->session, talk->model, &limits, error));
    return hearth_session_set_sampling(talk->session, &talk->options.sampling, error);
}

static hearth_status open_chat(struct talk *talk, hearth_error *error)
{
    const struct options *o = &talk->options;
    if (o->template)
        HEARTH_TRY(process_read_file(&talk->template, &talk->template_bytes, o->template, TEMPLATE_BYTES_MAX, error));
    const hearth_chat_options options = {.struct_size = sizeof options,
                                         .chat_template = talk->template,
                                         .chat_template_bytes = talk->template_bytes,
                                         .family = o->family,
                                         .when_full = o->refuse_when_full ? HEARTH_CHAT_REFUSE : HEARTH_CHAT_DROP_OLDEST,
                                         .dropped = on_dropped};
    return hearth_chat_open(&talk->chat, talk->session, &options, error);
}

hearth_status talk_begin(struct talk *talk, hearth_error *error)
{
    const char *system = talk->options.system;
    hearth_chat_clear(talk->chat);
    return hearth_chat_set_system(talk->chat, system, system ? strlen(system) : 0, error);
}

hearth_status talk_open(struct talk *talk, hearth_error *error)
{
    hearth_plan *plan = NULL;
    const hearth_status status = options_open_plan(&talk->engine, &plan, &talk->options, error);
    if (plan) {
        talk->plan_bytes = hearth_plan_private_bytes(plan);
        talk->cap_bytes = hearth_plan_cap_bytes(plan);
    }
    hearth_plan_close(plan);
    HEARTH_TRY(status);
    stream_open(&talk->stream);
    name_model(talk);
    HEARTH_TRY(open_model(talk, error));
    HEARTH_TRY(open_chat(talk, error));
    return talk_begin(talk, error);
}

void talk_close(struct talk *talk)
{
    hearth_chat_close(talk->chat);
    hearth_session_close(talk->session);
    hearth_model_close(talk->model);
    hearth_engine_close(talk->engine);
    free(talk->template);
}

/* ---- Asking ---------------------------------------------------------------------------------------------------------- */

static bool on_text(const char *text, size_t n, void *user)
{
    return stream_write(user, text, n);
}

/* The answer's last line, and why it is one. A stop by the user is no failure. */
static hearth_status end_answer(struct talk *talk, hearth_status status, hearth_error *error)
{
    if (talk->stream.line_open || status == HEARTH_OK)
        (void)stream_write(&talk->stream, "\n", 1);
    if (status == HEARTH_E_CANCELLED && process_take_stop()) {
        report_say("stopped");
        return HEARTH_OK;
    }
    if (status == HEARTH_OK && talk->result.stop == HEARTH_STOP_CONTEXT)
        report_say("the context is full (/clear, or a larger -c)");
    else if (status == HEARTH_OK && talk->result.stop == HEARTH_STOP_LENGTH)
        report_say("after %" PRIu32 " tokens, as -n says", talk->result.n_generated);
    (void)error;
    return status;
}

hearth_status talk_ask(struct talk *talk, const char *text, size_t n, hearth_error *error)
{
    const struct options *o = &talk->options;
    const hearth_generation generation = {.struct_size = sizeof generation,
                                          .max_tokens = o->n_generate_given ? o->n_generate : UINT32_MAX,
                                          .stop_strings = o->stops,
                                          .n_stop_strings = o->n_stops,
                                          .text = on_text,
                                          .text_user = &talk->stream};
    const double begin = process_running_seconds();
    talk->stream.first_seconds = 0;
    talk->stream.line_open = false;
    talk->result = (hearth_result){.struct_size = sizeof talk->result};
    process_interrupts_cancel(talk->session);
    const hearth_status status = text ? hearth_chat_send(talk->chat, text, n, &generation, &talk->result, error)
                                      : hearth_chat_answer(talk->chat, &generation, &talk->result, error);
    process_interrupts_cancel(NULL);
    hearth_session_resume(talk->session);
    talk->n_answers++;
    talk->wait_seconds = talk->stream.first_seconds > 0 ? talk->stream.first_seconds - begin : 0;
    talk->prompt = (hearth_prompt_info){.struct_size = sizeof talk->prompt};
    (void)hearth_chat_prompt_info(talk->chat, &talk->prompt, NULL);
    return end_answer(talk, status, error);
}

/* ---- Telling --------------------------------------------------------------------------------------------------------- */

void talk_greet(const struct talk *talk)
{
    char plan[TEXT_BYTES_MAX], cap[TEXT_BYTES_MAX];
    report_release_log();
    report_note("%s: context %" PRIu32 ", plan %s of %s", talk->name, hearth_session_context(talk->session),
                text_bytes(plan, talk->plan_bytes), text_bytes(cap, talk->cap_bytes));
}

void talk_show_stats(const struct talk *talk)
{
    char plan[TEXT_BYTES_MAX], now[TEXT_BYTES_MAX], cap[TEXT_BYTES_MAX];
    const double seconds = talk->result.seconds;
    report_say("%s: %zu messages, %" PRIu32 " of %" PRIu32 " positions", talk->name, hearth_chat_count(talk->chat),
               hearth_session_position(talk->session), hearth_session_context(talk->session));
    if (talk->n_answers > 0)
        report_say("last answer: %" PRIu32 " tokens, %.1f t/s, the first after %.2f s; prompt: %" PRIu32 " computed, %" PRIu32
                   " kept, %" PRIu32 " from the cache",
                   talk->result.n_generated, seconds > 0 ? talk->result.n_generated / seconds : 0, talk->wait_seconds,
                   talk->prompt.n_computed, talk->prompt.n_kept, talk->prompt.n_restored);
    report_say("memory: plan %s, private now %s, cap %s", text_bytes(plan, talk->plan_bytes),
               text_bytes(now, process_private_bytes()), text_bytes(cap, talk->cap_bytes));
}
