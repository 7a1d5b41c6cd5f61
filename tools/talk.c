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

enum { TEMPLATE_BYTES_MAX = 1 << 20, NAME_BYTES = 65, NUMBER_BYTES = 12 };

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

/* A new folder, below the user's own or, where there is none to write to, below /tmp. */
static hearth_status make_folder(struct talk *talk, hearth_error *error)
{
    static const char name[] = "/switch-XXXXXX";
    if (places_own(talk->folder, PLACE_STATE) && strlen(talk->folder) + sizeof name <= sizeof talk->folder) {
        places_remove_abandoned(talk->folder, "switch-");
        memcpy(talk->folder + strlen(talk->folder), name, sizeof name);
        if (places_make(talk->folder) && mkdtemp(talk->folder))
            return HEARTH_OK;
    }
    (void)strcpy(talk->folder, "/tmp/hearth-XXXXXX");
    if (mkdtemp(talk->folder))
        return HEARTH_OK;
    talk->folder[0] = '\0'; /* nothing to remove */
    return report_errno(error, "/tmp", "make a folder");
}

static hearth_status open_manager(struct talk *talk, hearth_error *error)
{
    const struct options *o = &talk->options;
    hearth_chat_options *chat = &talk->chat_options;
    *chat = (hearth_chat_options){.struct_size = sizeof *chat,
                                  .family = o->family,
                                  .when_full = o->refuse_when_full ? HEARTH_CHAT_REFUSE : HEARTH_CHAT_DROP_OLDEST,
                                  .dropped = on_dropped};
    if (o->template)
        HEARTH_TRY(process_read_file(&talk->template, &chat->chat_template_bytes, o->template, TEMPLATE_BYTES_MAX, error));
    chat->chat_template = talk->template;
    HEARTH_TRY(make_folder(talk, error));
    const hearth_manager_options manager = {.struct_size = sizeof manager, .state_folder = talk->folder, .chat = chat};
    return hearth_manager_open(&talk->manager, talk->engine, &manager, error);
}

hearth_status talk_begin(struct talk *talk, hearth_error *error)
{
    const char *system = talk->options.system;
    hearth_chat_clear(talk->chat);
    return hearth_chat_set_system(talk->chat, system, system ? strlen(system) : 0, error);
}

/* The current model's conversation. One that is new is marked, so that one that comes back is not begun again. */
static hearth_status take_current(struct talk *talk, hearth_error *error)
{
    static const char mark[] = "begun";
    talk->session = hearth_manager_session(talk->manager);
    talk->chat = hearth_manager_chat(talk->manager);
    talk->n_answers = 0;
    if (!talk->chat || hearth_chat_metadata(talk->chat, mark, NULL))
        return HEARTH_OK;
    HEARTH_TRY(hearth_session_set_sampling(talk->session, &talk->options.sampling, error));
    HEARTH_TRY(talk_begin(talk, error));
    return hearth_chat_set_metadata(talk->chat, mark, "", 0, error);
}

hearth_status talk_open(struct talk *talk, hearth_error *error)
{
    hearth_plan *plan = NULL;
    const hearth_status status = options_open_plan(&talk->engine, &plan, &talk->options, error);
    hearth_plan_close(plan); /* one line for what does not fit, before anything else */
    HEARTH_TRY(status);
    stream_open(&talk->stream);
    HEARTH_TRY(open_manager(talk, error));
    return talk_switch(talk, talk->options.model, error);
}

/* The folder goes first, so that conversations are not written down only to be removed. */
void talk_close(struct talk *talk)
{
    if (talk->folder[0])
        places_remove(talk->folder);
    hearth_manager_close(talk->manager);
    hearth_engine_close(talk->engine);
    free(talk->template);
}

/* ---- Models ---------------------------------------------------------------------------------------------------------- */

static bool find_registered(const struct talk *talk, const char *name, const char *path, hearth_model_info *out)
{
    out->struct_size = sizeof *out;
    for (size_t i = 0; hearth_manager_info(talk->manager, i, out, NULL) == HEARTH_OK; i++)
        if ((name && strcmp(out->name, name) == 0) || (path && strcmp(out->path, path) == 0))
            return true;
    return false;
}

/* A name for the manager: that of the file, of letters that are allowed, and none that is taken. */
static void make_name(const struct talk *talk, char out[NAME_BYTES], const char *path)
{
    const char *slash = strrchr(path, '/'), *file = slash ? slash + 1 : path;
    char name[PLACES_NAME_MAX];
    hearth_model_info taken;
    (void)snprintf(out, NAME_BYTES - NUMBER_BYTES, "%s", places_model_name(name, file) ? name : file);
    for (char *c = out; *c; c++)
        if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-", *c))
            *c = '_';
    if (out[strspn(out, ".")] == '\0') /* a path that ends in '/' */
        (void)snprintf(out, NAME_BYTES, "model");
    const size_t n = strlen(out);
    for (uint32_t i = 2; find_registered(talk, out, NULL, &taken); i++)
        (void)snprintf(out + n, NAME_BYTES - n, "-%" PRIu32, i);
}

static void take_plan(struct talk *talk, const char *path, const hearth_limits *limits)
{
    hearth_plan *plan = NULL;
    if (hearth_plan_open(&plan, talk->engine, path, limits, NULL) == HEARTH_OK) {
        talk->plan_bytes = hearth_plan_private_bytes(plan);
        talk->cap_bytes = hearth_plan_cap_bytes(plan);
    }
    hearth_plan_close(plan);
}

hearth_status talk_switch(struct talk *talk, const char *model, hearth_error *error)
{
    const hearth_limits limits = options_limits(&talk->options);
    hearth_model_info known;
    hearth_error unused;
    char name[NAME_BYTES], path[PLACES_PATH_MAX];
    (void)snprintf(path, sizeof path, "%s", places_find_model(model));
    const bool is_known = find_registered(talk, model, path, &known);
    if (is_known) {
        (void)snprintf(name, sizeof name, "%s", known.name);
        (void)snprintf(path, sizeof path, "%s", known.path);
    } else {
        make_name(talk, name, path);
        HEARTH_TRY(hearth_manager_register(talk->manager, name, path, &limits, error));
    }
    hearth_status status = hearth_manager_switch(talk->manager, name, error);
    report_progress_end();
    if (status != HEARTH_OK && !is_known)
        (void)hearth_manager_forget(talk->manager, name, NULL);
    const hearth_status taken = take_current(talk, status == HEARTH_OK ? error : &unused);
    if (status == HEARTH_OK)
        take_plan(talk, path, &limits);
    return status == HEARTH_OK ? taken : status;
}

/* ---- Asking ---------------------------------------------------------------------------------------------------------- */

static bool on_text(const char *text, size_t n, void *user)
{
    return stream_write(user, text, n);
}

/* The answer's last line, and why it is one. A stop by the user is no failure. */
static hearth_status end_answer(struct talk *talk, hearth_status status)
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
    return end_answer(talk, status);
}

/* ---- Telling --------------------------------------------------------------------------------------------------------- */

void talk_greet(const struct talk *talk)
{
    char plan[TEXT_BYTES_MAX], cap[TEXT_BYTES_MAX];
    report_release_log();
    report_note("%s: context %" PRIu32 ", plan %s of %s", hearth_manager_current(talk->manager),
                hearth_session_context(talk->session), text_bytes(plan, talk->plan_bytes), text_bytes(cap, talk->cap_bytes));
}

void talk_show_models(const struct talk *talk)
{
    hearth_model_info model = {.struct_size = sizeof model};
    char bytes[TEXT_BYTES_MAX];
    for (size_t i = 0; hearth_manager_info(talk->manager, i, &model, NULL) == HEARTH_OK; i++)
        report_say("  %s: %s, holds %s", model.name,
                   model.state == HEARTH_MODEL_CURRENT    ? "current"
                   : model.state == HEARTH_MODEL_RESIDENT ? "ready"
                                                          : "to be loaded",
                   text_bytes(bytes, model.resident_bytes));
}

void talk_show_stats(const struct talk *talk)
{
    char plan[TEXT_BYTES_MAX], now[TEXT_BYTES_MAX], cap[TEXT_BYTES_MAX];
    const double seconds = talk->result.seconds;
    report_say("%s: %zu messages, %" PRIu32 " of %" PRIu32 " positions", hearth_manager_current(talk->manager),
               hearth_chat_count(talk->chat), hearth_session_position(talk->session), hearth_session_context(talk->session));
    if (talk->n_answers > 0)
        report_say("last answer: %" PRIu32 " tokens, %.1f t/s, the first after %.2f s; prompt: %" PRIu32 " computed, %" PRIu32
                   " kept, %" PRIu32 " from the cache",
                   talk->result.n_generated, seconds > 0 ? talk->result.n_generated / seconds : 0, talk->wait_seconds,
                   talk->prompt.n_computed, talk->prompt.n_kept, talk->prompt.n_restored);
    report_say("memory: plan %s, private now %s, cap %s; seed of new conversations %" PRIu64, text_bytes(plan, talk->plan_bytes),
               text_bytes(now, process_private_bytes()), text_bytes(cap, talk->cap_bytes), talk->options.sampling.seed);
}
