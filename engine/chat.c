/* Conversations; see chat.h.
 *
 * Messages are the truth; the session is a cache of what they became. Each answer renders all of them, tokenizes the text as a
 * whole, and gives the ids to hearth_session_prompt(), which keeps what it has of them: a template may change what it wrote before,
 * an application may pop messages or feed the session in between, and the bits are still those of a fresh session. What does not
 * fit is found out before the session or a message is touched. */
#include "common/status.h"
#include "conversation.h"
#include "engine.h"
#include "state.h"
#include "template/messages.h"

/* Room, measured over 43 published templates: a tree of 4 to 12 bytes for each of the template's, the largest 144 KB; a rendering
 * of 4 to 8 bytes for each of the messages', copies and marks included; about 850 bytes for a message; 25 KB beside. Where a
 * template takes more, it is told so (E_LIMIT). */
enum {
    TREE_BYTES_PER_BYTE = 16,
    TREE_BYTES_MIN = 160 << 10, /* a template that is not the model's may have that, too */
    RENDERED_BYTES_PER_BYTE = 8,
    RENDERED_BYTES_PER_MESSAGE = 1 << 10,
    RENDERED_BYTES = 64 << 10,
    TEXT_BYTES_PER_POSITION = 16, /* four times what ordinary text has */
    POSITIONS_PER_MESSAGE = 8,
    MESSAGES_MIN = 32,
};

struct hearth_chat {
    struct hearth_session *session;
    struct hearth_conversation conversation;
    uint8_t *workspace; /* of the template */
    size_t workspace_bytes;
    struct hearth_template *template;
    struct hearth_rendering rendering;
    const char *stop;          /* the format's own stop string; NULL: none */
    int32_t *ids;              /* [context] the prompt */
    hearth_prompt_info prompt; /* of the last answer */
    hearth_chat_options options;
    bool is_open;
    _Atomic uint32_t in_use; /* caught misuse: another thread, or a callback of a call in progress */
};

/* ---- Memory and the model's format -------------------------------------------------------------------------------------- */

uint64_t hearth_chat_kept_bytes(const struct hearth_chat_format *format)
{
    return format->source_bytes <= HEARTH_TEMPLATE_SOURCE_MAX ? format->source_bytes : 0;
}

void hearth_chat_format_read(struct hearth_chat_format *format, const struct hearth_gguf *gguf, const struct hearth_vocab *vocab)
{
    const uint64_t kept = hearth_chat_kept_bytes(format);
    if (kept > 0)
        memcpy(format->source, vocab->chat_template.bytes, kept);
    else
        format->source = NULL;
    format->family = format->source_bytes == 0 ? hearth_family_of_model(gguf, vocab) : NULL;
    format->bos = vocab->bos;
    format->eos = vocab->eos;
}

/* Contexts have at most 2^24 positions and kept templates 2^20 bytes: no sum here is near its type's end. */
struct hearth_chat *hearth_chat_layout(const struct hearth_model *model, uint32_t context, struct hearth_arena *arena)
{
    const size_t tree = hearth_chat_kept_bytes(&model->chat_format) * TREE_BYTES_PER_BYTE;
    struct hearth_conversation c = {.capacity = MESSAGES_MIN + context / POSITIONS_PER_MESSAGE,
                                    .text_capacity = (size_t)context * TEXT_BYTES_PER_POSITION,
                                    .notes_capacity = HEARTH_CHAT_METADATA_BYTES};
    const size_t workspace = (tree > TREE_BYTES_MIN ? tree : TREE_BYTES_MIN) + RENDERED_BYTES +
                             c.text_capacity * RENDERED_BYTES_PER_BYTE + c.capacity * RENDERED_BYTES_PER_MESSAGE;
    struct hearth_chat *chat = hearth_arena_take(arena, HEARTH_PLAN_CHAT, 1, sizeof *chat);
    int32_t *ids = hearth_arena_take(arena, HEARTH_PLAN_CHAT, context, sizeof *ids);
    uint8_t *memory = hearth_arena_take(arena, HEARTH_PLAN_CHAT, workspace, 1);
    c.messages = hearth_arena_take(arena, HEARTH_PLAN_CHAT, c.capacity, sizeof *c.messages);
    c.text = hearth_arena_take(arena, HEARTH_PLAN_CHAT, c.text_capacity, 1);
    c.notes = hearth_arena_take(arena, HEARTH_PLAN_CHAT, c.notes_capacity, 1);
    if (chat)
        *chat = (struct hearth_chat){.conversation = c, .workspace = memory, .workspace_bytes = workspace, .ids = ids};
    return chat;
}

/* ---- One user at a time ------------------------------------------------------------------------------------------------- */

static hearth_status begin(struct hearth_chat *chat, hearth_error *err)
{
    uint32_t free_ = 0;
    if (!atomic_compare_exchange_strong(&chat->in_use, &free_, 1))
        return hearth_fail(err, HEARTH_E_BUSY, NULL, "chat: another thread, or a call whose callback this is, is using it");
    return HEARTH_OK;
}

static hearth_status leave(struct hearth_chat *chat, hearth_status status)
{
    atomic_store(&chat->in_use, 0);
    return status;
}

static hearth_status enter(struct hearth_chat *chat, hearth_error *err)
{
    HEARTH_NEED(chat, err);
    HEARTH_TRY(hearth_engine_check(chat->session->model->engine, err));
    HEARTH_TRY(begin(chat, err));
    atomic_fetch_add(&chat->session->n_calls, 1);
    if (chat->is_open)
        return HEARTH_OK;
    return leave(chat, hearth_fail(err, HEARTH_E_CONFIG, NULL, "chat: it has been closed"));
}

/* ---- Opening ------------------------------------------------------------------------------------------------------------ */

static struct hearth_str name_of(const struct hearth_model *m, int32_t id)
{
    const struct hearth_view text = hearth_tokenizer_text(m->tokenizer, id);
    return (struct hearth_str){text.size ? (const char *)text.bytes : "", NULL, text.size};
}

static hearth_status choose_template(struct hearth_chat *chat, const struct hearth_model *m, hearth_error *err)
{
    const hearth_chat_options *o = &chat->options;
    const struct hearth_family *family = o->family ? hearth_family_find(o->family) : m->chat_format.family;
    char quoted[HEARTH_QUOTE_MAX];
    chat->rendering =
        (struct hearth_rendering){.source = o->chat_template ? o->chat_template : m->chat_format.source,
                                  .source_bytes = o->chat_template ? o->chat_template_bytes : m->chat_format.source_bytes,
                                  .bos = name_of(m, m->chat_format.bos),
                                  .eos = name_of(m, m->chat_format.eos)};
    chat->stop = NULL;
    if (o->chat_template || (!o->family && m->chat_format.source_bytes > 0))
        return HEARTH_OK;
    if (!family && o->family)
        return hearth_fail(err, HEARTH_E_CONFIG, NULL, "chat: family: there is none of this name (got \"%s\")",
                           hearth_quote(quoted, o->family, strlen(o->family)));
    if (!family)
        return hearth_fail(err, HEARTH_E_UNSUPPORTED, "E_TEMPLATE",
                           "chat: the model has no chat template, and no known format fits: a base model");
    chat->rendering.source = family->source;
    chat->rendering.source_bytes = strlen(family->source);
    chat->stop = family->stop;
    return HEARTH_OK;
}

static hearth_status check_options(struct hearth_session *s, const hearth_chat_options *o, hearth_error *err)
{
    if (o->chat_template && o->family)
        return hearth_fail(err, HEARTH_E_CONFIG, NULL, "chat: options: chat_template and family (got both, need one)");
    if (o->when_full != HEARTH_CHAT_REFUSE && o->when_full != HEARTH_CHAT_DROP_OLDEST)
        return hearth_fail(err, HEARTH_E_CONFIG, NULL, "chat: options: no such when_full (got %" PRId32 ", need %d or %d)",
                           o->when_full, HEARTH_CHAT_REFUSE, HEARTH_CHAT_DROP_OLDEST);
    if (o->reserve >= s->limits.context)
        return hearth_fail(err, HEARTH_E_CONFIG, NULL,
                           "chat: options: reserve (got %" PRIu32 ", need less than the context, %" PRIu32 ")", o->reserve,
                           s->limits.context);
    return HEARTH_OK;
}

static hearth_status open_chat(struct hearth_chat *chat, struct hearth_session *s, const hearth_chat_options *options,
                               hearth_error *err)
{
    const uint32_t quarter = s->limits.context / 4;
    hearth_chat_options *o = &chat->options;
    if (chat->is_open)
        return hearth_fail(err, HEARTH_E_BUSY, NULL, "chat: the session has one already");
    HEARTH_TRY(check_options(s, options, err));
    *o = *options;
    o->reserve = o->reserve ? o->reserve : quarter < 256 ? quarter : 256;
    HEARTH_TRY(choose_template(chat, s->model, err));
    HEARTH_TRY(hearth_template_open(&chat->template, chat->workspace, chat->workspace_bytes, "chat template",
                                    chat->rendering.source, chat->rendering.source_bytes, err));
    chat->rendering.source = ""; /* the caller's; what it says of messages in other forms than ours does not matter */
    chat->rendering.source_bytes = 0;
    o->chat_template = NULL;
    o->family = NULL;
    (void)hearth_template_clock(); /* the C library reads the time zone now and not in the middle of an answer */
    chat->session = s;
    chat->prompt = (hearth_prompt_info){.struct_size = sizeof chat->prompt};
    hearth_conversation_reset(&chat->conversation);
    chat->is_open = true;
    return HEARTH_OK;
}

hearth_status hearth_chat_open(hearth_chat **out, hearth_session *s, const hearth_chat_options *options, hearth_error *error)
{
    hearth_chat_options known = {.struct_size = sizeof known};
    HEARTH_NEED(out, error);
    *out = NULL;
    HEARTH_NEED(s, error);
    HEARTH_TRY(hearth_engine_check(s->model->engine, error));
    if (options && options->struct_size < sizeof known)
        return hearth_fail(error, HEARTH_E_CONFIG, NULL, "chat options: struct_size is too small (got %" PRIu32 ", need %zu)",
                           options->struct_size, sizeof known);
    if (options)
        memcpy(&known, options, sizeof known);
    struct hearth_chat *chat = s->chat;
    if (!chat)
        return hearth_fail(error, HEARTH_E_CONFIG, NULL,
                           "chat: the session has no room for one; open it with limits that ask for it");
    HEARTH_TRY(begin(chat, error));
    const hearth_status status = open_chat(chat, s, &known, error);
    if (status == HEARTH_OK)
        *out = chat;
    return leave(chat, status);
}

/* In use it is left alone, as a session is by hearth_session_reset(). */
void hearth_chat_close(hearth_chat *chat)
{
    if (!chat || begin(chat, NULL) != HEARTH_OK)
        return;
    chat->is_open = false;
    (void)leave(chat, HEARTH_OK);
}

hearth_session *hearth_chat_session(hearth_chat *chat)
{
    return chat ? chat->session : NULL;
}

/* ---- Messages ----------------------------------------------------------------------------------------------------------- */

/* Tokens of a text alone. */
static uint32_t count_tokens(struct hearth_chat *chat, const char *text, size_t bytes)
{
    size_t n = 0;
    (void)hearth_tokenize(chat->session->model, text, bytes, 0, NULL, 0, &n, NULL); /* counts, and tells that nothing had room */
    return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

/* Where the next exchange begins: the first user's message behind `at`; n where there is none. */
static size_t next_exchange(const hearth_message *messages, size_t n, size_t at)
{
    do
        at++;
    while (at < n && messages[at].role != HEARTH_ROLE_USER);
    return at;
}

/* The oldest n messages beside the system's. */
static void drop(struct hearth_chat *chat, size_t n)
{
    struct hearth_conversation *c = &chat->conversation;
    size_t unused;
    for (size_t i = 0; i < n; i++) {
        const hearth_message *oldest = hearth_conversation_rest(c, &unused);
        if (chat->options.dropped)
            chat->options.dropped(oldest, chat->options.dropped_user);
        hearth_conversation_remove(c, (size_t)(oldest - c->messages));
    }
}

static hearth_status no_room(size_t bytes, size_t most, hearth_error *err)
{
    hearth_status status =
        hearth_fail_needed(err, HEARTH_E_CONTEXT_FULL, bytes, most,
                           "chat: no room for the text of one more message (got %zu bytes, need at most %zu)", bytes, most);
    if (err)
        (void)snprintf(err->detail, sizeof err->detail, "E_ROOM");
    return status;
}

/* For one more message, or one in place of `old`, the system's; drops older ones if that is allowed and enough. */
static hearth_status make_room(struct hearth_chat *chat, const hearth_message *old, size_t bytes, hearth_error *err)
{
    struct hearth_conversation *c = &chat->conversation;
    const hearth_message *system = hearth_conversation_system(c);
    const size_t stays = 1 + (system && !old ? system->text_bytes + 1 : 0);
    size_t most, n;
    if (hearth_conversation_has_room(c, old, bytes, &most))
        return HEARTH_OK;
    if (chat->options.when_full == HEARTH_CHAT_REFUSE || c->text_capacity < stays || bytes > c->text_capacity - stays)
        return no_room(bytes, most, err);
    while (!hearth_conversation_has_room(c, old, bytes, &most)) {
        const hearth_message *rest = hearth_conversation_rest(c, &n);
        drop(chat, next_exchange(rest, n, 0));
    }
    return HEARTH_OK;
}

static hearth_status insert(struct hearth_chat *chat, int32_t role, const char *text, size_t bytes, hearth_error *err)
{
    struct hearth_conversation *c = &chat->conversation;
    const bool is_system = role == HEARTH_ROLE_SYSTEM;
    const hearth_message *old = is_system ? hearth_conversation_system(c) : NULL;
    const uint32_t n_tokens = count_tokens(chat, text, bytes);
    const uint32_t context = chat->session->limits.context;
    if (n_tokens > context)
        return hearth_fail_needed(err, HEARTH_E_CONTEXT_FULL, n_tokens, context,
                                  "chat: message: more tokens than the context (got %" PRIu32 ", need at most %" PRIu32 ")",
                                  n_tokens, context);
    HEARTH_TRY(make_room(chat, old, bytes, err));
    if (old)
        hearth_conversation_remove(c, 0);
    hearth_conversation_insert(c, is_system ? 0 : c->n, role, text, bytes, n_tokens);
    return HEARTH_OK;
}

hearth_status hearth_chat_set_system(hearth_chat *chat, const char *text, size_t bytes, hearth_error *error)
{
    HEARTH_TRY(enter(chat, error));
    if (text)
        return leave(chat, insert(chat, HEARTH_ROLE_SYSTEM, text, bytes, error));
    if (hearth_conversation_system(&chat->conversation))
        hearth_conversation_remove(&chat->conversation, 0);
    return leave(chat, HEARTH_OK);
}

hearth_status hearth_chat_add(hearth_chat *chat, int32_t role, const char *text, size_t bytes, hearth_error *error)
{
    HEARTH_NEED_FOR(text, bytes, error);
    if (role != HEARTH_ROLE_USER && role != HEARTH_ROLE_ASSISTANT && role != HEARTH_ROLE_TOOL)
        return hearth_fail(error, HEARTH_E_CONFIG, NULL, "chat: message: role (got %" PRId32 ", need %d, %d or %d%s)", role,
                           HEARTH_ROLE_USER, HEARTH_ROLE_ASSISTANT, HEARTH_ROLE_TOOL,
                           role == HEARTH_ROLE_SYSTEM ? "; the system's is set by hearth_chat_set_system" : "");
    HEARTH_TRY(enter(chat, error));
    return leave(chat, insert(chat, role, text, bytes, error));
}

static hearth_status pop(struct hearth_chat *chat, hearth_error *err)
{
    size_t n;
    (void)hearth_conversation_rest(&chat->conversation, &n);
    if (n == 0)
        return hearth_fail(err, HEARTH_E_CONFIG, "E_EMPTY", "chat: there is no message (got 0, need 1)");
    hearth_conversation_remove(&chat->conversation, chat->conversation.n - 1);
    return HEARTH_OK;
}

hearth_status hearth_chat_pop(hearth_chat *chat, hearth_error *error)
{
    HEARTH_TRY(enter(chat, error));
    return leave(chat, pop(chat, error));
}

/* Likewise. */
void hearth_chat_clear(hearth_chat *chat)
{
    if (enter(chat, NULL) != HEARTH_OK)
        return;
    while (pop(chat, NULL) == HEARTH_OK)
        ;
    (void)leave(chat, HEARTH_OK);
}

size_t hearth_chat_count(const hearth_chat *chat)
{
    return chat ? chat->conversation.n : 0;
}

hearth_status hearth_chat_message(const hearth_chat *chat, size_t index, hearth_message *out, hearth_error *error)
{
    HEARTH_NEED(chat, error);
    HEARTH_NEED(out, error);
    const uint32_t struct_size = out->struct_size;
    if (struct_size < sizeof *out)
        return hearth_fail(error, HEARTH_E_CONFIG, NULL, "chat message: struct_size is too small (got %" PRIu32 ", need %zu)",
                           struct_size, sizeof *out);
    if (index >= chat->conversation.n)
        return hearth_fail(error, HEARTH_E_CONFIG, NULL, "chat: no such message (got %zu, need less than %zu)", index,
                           chat->conversation.n);
    *out = chat->conversation.messages[index];
    out->struct_size = struct_size;
    return HEARTH_OK;
}

hearth_status hearth_chat_set_metadata(hearth_chat *chat, const char *key, const char *value, size_t bytes, hearth_error *error)
{
    HEARTH_NEED(key, error);
    HEARTH_TRY(enter(chat, error));
    return leave(chat, hearth_conversation_note(&chat->conversation, key, value, bytes, error));
}

const char *hearth_chat_metadata(const hearth_chat *chat, const char *key, size_t *bytes)
{
    return chat && key ? hearth_conversation_find_note(&chat->conversation, key, bytes) : NULL;
}

/* ---- The prompt --------------------------------------------------------------------------------------------------------- */

/* Whether what is kept of the messages leaves room for an answer in the deque, as the reserve does in the context. */
static hearth_status check_room(const struct hearth_chat *chat, const hearth_message *messages, size_t n, hearth_error *err)
{
    const struct hearth_conversation *c = &chat->conversation;
    const hearth_message *system = hearth_conversation_system(c);
    const size_t answer = (size_t)chat->options.reserve * TEXT_BYTES_PER_POSITION;
    size_t bytes = system ? system->text_bytes + 1 : 0;
    for (size_t i = 0; i < n; i++)
        bytes += messages[i].text_bytes + 1;
    if ((system ? 1 : 0) + n < c->capacity && bytes + answer + 1 <= c->text_capacity)
        return HEARTH_OK;
    return no_room(answer, bytes < c->text_capacity ? c->text_capacity - bytes - 1 : 0, err);
}

/* The ids of the system's message and the others from `first` on, if so many positions stay free behind them. */
static hearth_status write_down(struct hearth_chat *chat, size_t first, uint32_t n_free, size_t *n_ids, hearth_error *err)
{
    const uint32_t context = chat->session->limits.context;
    const hearth_message *system = hearth_conversation_system(&chat->conversation);
    struct hearth_str text;
    size_t n;
    const hearth_message *rest = hearth_conversation_rest(&chat->conversation, &n);
    chat->rendering.now = chat->options.now ? chat->options.now : hearth_template_clock();
    HEARTH_TRY(hearth_conversation_render(chat->template, &chat->rendering, system, rest + first, n - first, &text, err));
    const hearth_status status =
        hearth_tokenize_marked(chat->session->model, text.bytes, text.origin, text.n, HEARTH_TOKENIZE_BOS | HEARTH_TOKENIZE_SPECIAL,
                               chat->ids, context, n_ids, err);
    const uint64_t needed = (uint64_t)*n_ids + n_free;
    if (needed > context)
        return hearth_fail_needed(err, HEARTH_E_CONTEXT_FULL, needed, context,
                                  "chat: the conversation and room for an answer do not fit the context (got %zu + %" PRIu32
                                  " tokens, need at most %" PRIu32 ")",
                                  *n_ids, n_free, context);
    HEARTH_TRY(status);
    return check_room(chat, rest + first, n - first, err);
}

/* Fewer messages might do. */
static bool is_full(hearth_status status, const hearth_error *err)
{
    return status == HEARTH_E_CONTEXT_FULL || (status == HEARTH_E_UNSUPPORTED && strcmp(err->detail, "E_LIMIT") == 0);
}

/* The message that the k-th exchange after the first begins with. */
static size_t exchange_at(const hearth_message *messages, size_t n, size_t k)
{
    size_t at = 0;
    while (k-- > 0)
        at = next_exchange(messages, n, at);
    return at;
}

/* The ids of what fits: all of it or, where that is allowed, what is left without the oldest exchanges, *n_dropped messages: as few
 * as leave a quarter of the context free, so that not every following turn drops some and has all of the rest read again, but never
 * the newest. What is left shrinks with each of them, so halving finds them, in as many renderings as their number has bits. */
static hearth_status fit(struct hearth_chat *chat, size_t *n_dropped, size_t *n_ids, hearth_error *err)
{
    const uint32_t reserve = chat->options.reserve;
    const uint32_t quarter = chat->session->limits.context / 4;
    size_t n, fails = 0, fits = 0;
    const hearth_message *rest = hearth_conversation_rest(&chat->conversation, &n);
    *n_dropped = 0;
    if (n == 0)
        return hearth_fail(err, HEARTH_E_CONFIG, "E_EMPTY", "chat: there is no message to answer (got 0, need 1)");
    hearth_status status = write_down(chat, 0, reserve, n_ids, err);
    if (!is_full(status, err) || chat->options.when_full == HEARTH_CHAT_REFUSE)
        return status;
    for (size_t at = next_exchange(rest, n, 0); at < n; at = next_exchange(rest, n, at))
        fits++;
    if (fits == 0)
        return status;
    HEARTH_TRY(write_down(chat, exchange_at(rest, n, fits), reserve, n_ids, err)); /* an error tells of the least that is needed */
    while (fits - fails > 1) {
        const size_t middle = fails + (fits - fails) / 2;
        status = write_down(chat, exchange_at(rest, n, middle), reserve > quarter ? reserve : quarter, n_ids, err);
        if (status != HEARTH_OK && !is_full(status, err))
            return status;
        if (status == HEARTH_OK)
            fits = middle;
        else
            fails = middle;
    }
    *n_dropped = exchange_at(rest, n, fits);
    return write_down(chat, *n_dropped, reserve, n_ids, err);
}

/* ---- The answer --------------------------------------------------------------------------------------------------------- */

/* An answer being written, and who else reads along. */
struct listener {
    struct hearth_conversation *conversation;
    hearth_text_fn *text;
    void *text_user;
    bool full;
};

static bool listen(const char *text, size_t bytes, void *user)
{
    struct listener *l = user;
    l->full = !hearth_conversation_write(l->conversation, text, bytes);
    return !l->full && (!l->text || l->text(text, bytes, l->text_user));
}

/* The caller's wishes, with the format's own stop string and us between the session and its callback. */
struct wishes {
    hearth_generation generation;
    const char *stops[HEARTH_STOP_STRINGS_MAX + 1];
    struct listener listener;
};

static hearth_status read_wishes(struct wishes *out, struct hearth_chat *chat, const hearth_generation *generation,
                                 const hearth_result *result, hearth_error *err)
{
    hearth_generation *g = &out->generation;
    HEARTH_TRY(hearth_generation_read(g, generation, result, err));
    out->listener = (struct listener){&chat->conversation, g->text, g->text_user, false};
    g->struct_size = sizeof *g;
    g->text = listen;
    g->text_user = &out->listener;
    if (chat->stop && g->n_stop_strings <= HEARTH_STOP_STRINGS_MAX) {
        for (uint32_t i = 0; i < g->n_stop_strings; i++)
            out->stops[i] = g->stop_strings ? g->stop_strings[i] : NULL;
        out->stops[g->n_stop_strings++] = chat->stop;
        g->stop_strings = out->stops;
    }
    return hearth_text_stream_check(g->stop_strings, g->n_stop_strings, err);
}

/* Give the session its prompt; a grammar begins again behind it, also after a failure. A session that somebody else is using is
 * left alone. */
static hearth_status prompt(struct hearth_chat *chat, size_t n_ids, hearth_error *err)
{
    struct hearth_session *s = chat->session;
    const bool constrained = s->constrained;
    const hearth_status status = hearth_session_prompt(s, chat->ids, n_ids, &chat->prompt, err);
    if (status == HEARTH_E_BUSY)
        return status;
    if (constrained)
        (void)hearth_matcher_start(s->matcher, s->grammar);
    s->constrained = constrained;
    return status;
}

/* *said: the answer has become a message, whole or in part. */
static hearth_status answer(struct hearth_chat *chat, const hearth_generation *generation, hearth_result *result, bool *said,
                            hearth_error *err)
{
    struct hearth_conversation *c = &chat->conversation;
    struct wishes wishes;
    size_t n_dropped, n_ids;
    *said = false;
    HEARTH_TRY(read_wishes(&wishes, chat, generation, result, err));
    *result = (hearth_result){.struct_size = result->struct_size, .stop = HEARTH_STOP_CANCELLED};
    HEARTH_TRY(fit(chat, &n_dropped, &n_ids, err));
    HEARTH_TRY(prompt(chat, n_ids, err));
    drop(chat, n_dropped);
    const hearth_status status = hearth_generate(chat->session, &wishes.generation, result, err);
    *said = status == HEARTH_OK || c->n_draft > 0;
    if (*said)
        hearth_conversation_finish(c, HEARTH_ROLE_ASSISTANT, count_tokens(chat, c->text + c->text_bytes, c->n_draft));
    if (wishes.listener.full && status == HEARTH_OK)
        result->stop = HEARTH_STOP_CONTEXT;
    return status;
}

/* A message of a user, if there is text, and its answer. */
static hearth_status send(struct hearth_chat *chat, const char *text, size_t bytes, const hearth_generation *generation,
                          hearth_result *result, hearth_error *err)
{
    hearth_result unseen = {.struct_size = sizeof unseen};
    hearth_error own;
    bool said;
    err = err ? err : &own; /* what kind of failure it is, its detail tells */
    if (text)
        HEARTH_TRY(insert(chat, HEARTH_ROLE_USER, text, bytes, err));
    const hearth_status status = answer(chat, generation, result ? result : &unseen, &said, err);
    if (text && !said) {
        hearth_conversation_remove(&chat->conversation, chat->conversation.n - 1);
        chat->conversation.next_number--;
    }
    return status;
}

hearth_status hearth_chat_answer(hearth_chat *chat, const hearth_generation *generation, hearth_result *result, hearth_error *error)
{
    HEARTH_NEED(generation, error);
    HEARTH_TRY(enter(chat, error));
    return leave(chat, send(chat, NULL, 0, generation, result, error));
}

hearth_status hearth_chat_send(hearth_chat *chat, const char *text, size_t bytes, const hearth_generation *generation,
                               hearth_result *result, hearth_error *error)
{
    HEARTH_NEED(generation, error);
    HEARTH_NEED_FOR(text, bytes, error);
    HEARTH_TRY(enter(chat, error));
    return leave(chat, send(chat, text ? text : "", bytes, generation, result, error));
}

hearth_status hearth_chat_prompt_info(const hearth_chat *chat, hearth_prompt_info *info, hearth_error *error)
{
    HEARTH_NEED(chat, error);
    HEARTH_NEED(info, error);
    const uint32_t struct_size = info->struct_size;
    if (struct_size < sizeof *info)
        return hearth_fail(error, HEARTH_E_CONFIG, NULL, "prompt info: struct_size is too small (got %" PRIu32 ", need %zu)",
                           struct_size, sizeof *info);
    *info = chat->prompt;
    info->struct_size = struct_size;
    return HEARTH_OK;
}

/* ---- States ------------------------------------------------------------------------------------------------------------- */

static hearth_status save(struct hearth_chat *chat, const char *path, hearth_error *err)
{
    const uint64_t n = hearth_conversation_packed_bytes(&chat->conversation);
    hearth_template_forget(chat->template);
    struct hearth_workspace *w = hearth_template_workspace(chat->template, err);
    void *bytes = hearth_workspace_take(w, n, 1);
    HEARTH_TRY(w->status);
    hearth_conversation_pack(&chat->conversation, bytes);
    return hearth_state_save(chat->session, path, bytes, n, err);
}

hearth_status hearth_chat_save(hearth_chat *chat, const char *path, hearth_error *error)
{
    HEARTH_NEED(path, error);
    HEARTH_TRY(enter(chat, error));
    return leave(chat, save(chat, path, error));
}

/* A conversation out of a file, in the template's memory, where nobody changes it any more. */
struct found {
    struct hearth_chat *chat;
    void *bytes;
};

static hearth_status take_found(const void *bytes, uint64_t n, void *user, hearth_error *err)
{
    struct found *f = user;
    if (n == 0)
        return hearth_fail(err, HEARTH_E_STATE, "E_CHAT", "chat: the state has no conversation, only a session's tokens");
    hearth_template_forget(f->chat->template);
    struct hearth_workspace *w = hearth_template_workspace(f->chat->template, NULL);
    f->bytes = hearth_workspace_take(w, n, 1);
    if (w->status != HEARTH_OK)
        return hearth_fail(err, HEARTH_E_STATE, "E_ROOM",
                           "chat: the conversation in the state has no room here (got %" PRIu64 " bytes)", n);
    memcpy(f->bytes, bytes, n);
    return hearth_conversation_check(&f->chat->conversation, f->bytes, n, err);
}

hearth_status hearth_chat_restore(hearth_chat *chat, const char *path, hearth_error *error)
{
    struct found found = {.chat = chat};
    HEARTH_NEED(path, error);
    HEARTH_TRY(enter(chat, error));
    const hearth_status status = hearth_state_restore(chat->session, path, take_found, &found, error);
    if (status == HEARTH_OK)
        hearth_conversation_unpack(&chat->conversation, found.bytes);
    return leave(chat, status);
}
