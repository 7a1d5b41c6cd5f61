/* Several models by name under one cap; hearth.h says what is promised.
 *
 * A change of what is resident goes from what can be refused to what cannot be taken back: the plan, from the file's header; the
 * states of those that must leave; their memory, idle ones first; the weights. Whatever fails before the third has changed
 * nothing, and after it the current model is brought back if it had to leave. */
#include "common/status.h"
#include "engine.h"
#include "pack.h"
#include "plan.h"
#include "state.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_BYTES 65u /* of a model, its NUL included */

/* A registered model. Resident: model and session are there, and the chat where the limits ask for one. */
struct entry {
    struct entry *next;
    char name[NAME_BYTES];
    hearth_limits limits;
    uint64_t plan_bytes;
    uint64_t last_used; /* the manager's clock; 0: never */
    hearth_model *model;
    hearth_session *session;
    hearth_chat *chat;
    int32_t conversation; /* HEARTH_CONVERSATION_* */
    bool has_state;       /* the state file holds its conversation as it was ... */
    uint64_t state_calls; /* ... when the session had seen so many calls; without a state, it was empty then */
    bool leaves;          /* chosen to make room */
    size_t path_bytes;    /* its NUL included */
    char path[];
};

struct hearth_manager {
    struct hearth_engine *engine;
    struct entry *first; /* in the order of registration */
    struct entry *current;
    hearth_chat_options chat_options;
    uint64_t clock;          /* of uses */
    _Atomic uint32_t in_use; /* caught misuse from two threads, and from callbacks */
    int folder_fd;           /* of states; locked: two managers would overwrite each other's; -1: not open */
    char folder[PATH_MAX];   /* absolute */
};

static void tell(const struct hearth_manager *m, int32_t level, const struct entry *e, const char *what)
{
    char line[512];
    if (!m->engine->log)
        return;
    (void)snprintf(line, sizeof line, "manager: %s: %s", e->name, what);
    m->engine->log(level, line, m->engine->log_user);
}

/* ---- One user at a time --------------------------------------------------------------------------------------------- */

static bool take(hearth_manager *m)
{
    uint32_t free_ = 0;
    return m && atomic_compare_exchange_strong(&m->in_use, &free_, 1);
}

static hearth_status enter(hearth_manager *m, hearth_error *err)
{
    HEARTH_NEED(m, err);
    HEARTH_TRY(hearth_engine_check(m->engine, err));
    if (!take(m))
        return hearth_fail(err, HEARTH_E_BUSY, NULL, "manager: another thread is using it, or a call whose callback this is");
    return HEARTH_OK;
}

static hearth_status leave(hearth_manager *m, hearth_status status)
{
    atomic_store(&m->in_use, 0);
    return status;
}

/* ---- Names ---------------------------------------------------------------------------------------------------------- */

/* A name becomes a file's: no path, and nothing that a shell or a terminal would take for more than it is. */
static bool is_name(const char *name)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    const size_t n = strnlen(name, NAME_BYTES);
    return n > 0 && n < NAME_BYTES && strspn(name, allowed) == n && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* The link that leads to the entry, so that it can be taken out; *link is NULL when there is none. */
static struct entry **find(hearth_manager *m, const char *name)
{
    struct entry **link = &m->first;
    while (*link && strcmp((*link)->name, name) != 0)
        link = &(*link)->next;
    return link;
}

static hearth_status look_up(struct entry **out, hearth_manager *m, const char *name, hearth_error *err)
{
    char quoted[HEARTH_QUOTE_MAX];
    *out = *find(m, name);
    if (*out)
        return HEARTH_OK;
    return hearth_fail(err, HEARTH_E_NOT_FOUND, NULL, "manager: no model of this name is registered (got '%s')",
                       hearth_quote(quoted, name, strnlen(name, NAME_BYTES)));
}

/* ---- Conversations -------------------------------------------------------------------------------------------------- */

static void state_path(const hearth_manager *m, const struct entry *e, const char *suffix, char out[PATH_MAX])
{
    (void)snprintf(out, PATH_MAX, "%s/%s.state%s", m->folder, e->name, suffix); /* open_folder() has seen that it fits */
}

/* What cannot be looked at may be there: reading it will tell. */
static bool has_state_file(const hearth_manager *m, const struct entry *e)
{
    char path[PATH_MAX];
    struct stat info;
    state_path(m, e, "", path);
    return lstat(path, &info) == 0 || errno != ENOENT;
}

static hearth_status folder_failed(const char *folder, const char *what, hearth_error *err)
{
    char quoted[HEARTH_QUOTE_MAX];
    return hearth_fail(err, HEARTH_E_IO, NULL, "%s: state folder: %s", hearth_quote(quoted, folder, strlen(folder)), what);
}

/* Nothing has been called since the conversation was saved, restored or found to be new. */
static bool is_unchanged(const struct entry *e)
{
    return atomic_load(&e->session->n_calls) == e->state_calls;
}

static void remember_state(struct entry *e, bool has_state)
{
    e->has_state = has_state;
    e->state_calls = atomic_load(&e->session->n_calls);
}

static hearth_status save_conversation(hearth_manager *m, struct entry *e, hearth_error *err)
{
    char path[PATH_MAX];
    if (is_unchanged(e) && (!e->has_state || has_state_file(m, e)))
        return HEARTH_OK;
    state_path(m, e, "", path);
    const hearth_status status = e->chat ? hearth_chat_save(e->chat, path, err) : hearth_session_save(e->session, path, err);
    if (status == HEARTH_E_NOT_FOUND) /* the folder; for us that status is of models */
        return folder_failed(m->folder, "is not there any more", err);
    if (status == HEARTH_OK)
        remember_state(e, true);
    return status;
}

/* A state that does not serve is kept beside, out of the way of the next one. */
static hearth_status put_aside(hearth_manager *m, struct entry *e, const char *path, const hearth_error *why, hearth_error *err)
{
    char aside[PATH_MAX];
    char reason[96];
    state_path(m, e, ".bad", aside);
    if (rename(path, aside) != 0)
        return hearth_fail(err, HEARTH_E_IO, NULL, "manager: %s: its state does not serve and cannot be renamed: %s", e->name,
                           strerror_r(errno, reason, sizeof reason));
    e->conversation = HEARTH_CONVERSATION_LOST;
    tell(m, 1, e, why->message);
    tell(m, 1, e, "begins anew; the state that does not serve is now called .state.bad");
    return HEARTH_OK;
}

/* Restoring only the tokens would lose the messages when they are saved next. */
static hearth_status refuse_messages(const void *bytes, uint64_t n, void *user, hearth_error *err)
{
    const struct entry *e = user;
    (void)bytes;
    if (n == 0)
        return HEARTH_OK;
    return hearth_fail(err, HEARTH_E_STATE, "E_CHAT", "manager: %s: its state is of a chat, for which its limits have no room",
                       e->name);
}

static hearth_status restore_conversation(hearth_manager *m, struct entry *e, hearth_error *err)
{
    char path[PATH_MAX];
    hearth_error why = {0};
    hearth_status status = HEARTH_E_NOT_FOUND;
    state_path(m, e, "", path);
    if (has_state_file(m, e))
        status =
            e->chat ? hearth_chat_restore(e->chat, path, &why) : hearth_state_restore(e->session, path, refuse_messages, e, &why);
    e->conversation = status == HEARTH_OK ? HEARTH_CONVERSATION_RESTORED : HEARTH_CONVERSATION_NEW;
    remember_state(e, status == HEARTH_OK);
    if (status == HEARTH_OK || status == HEARTH_E_NOT_FOUND)
        return HEARTH_OK;
    if (status == HEARTH_E_STATE || status == HEARTH_E_CONTEXT_FULL)
        return put_aside(m, e, path, &why, err);
    if (err)
        *err = why;
    return status;
}

/* ---- Coming and going ----------------------------------------------------------------------------------------------- */

static uint64_t resident_bytes(const struct entry *e)
{
    return e->model ? e->model->arena.bytes + e->session->arena.bytes : 0;
}

static void use(hearth_manager *m, struct entry *e)
{
    e->last_used = ++m->clock;
}

static void close_entry(struct entry *e)
{
    hearth_chat_close(e->chat);
    hearth_session_close(e->session);
    hearth_model_close(e->model);
    e->chat = NULL;
    e->session = NULL;
    e->model = NULL;
}

static hearth_status open_entry(hearth_manager *m, struct entry *e, const hearth_model_options *options, hearth_error *err)
{
    hearth_status status = hearth_model_open(&e->model, m->engine, e->path, &e->limits, options, err);
    if (status == HEARTH_OK)
        status = hearth_session_open(&e->session, e->model, &e->limits, err);
    if (status == HEARTH_OK && e->limits.chat)
        status = hearth_chat_open(&e->chat, e->session, &m->chat_options, err);
    if (status == HEARTH_OK)
        status = restore_conversation(m, e, err);
    if (status != HEARTH_OK)
        close_entry(e);
    return status;
}

/* Whether closing it would free its memory: nobody has another session on it than we. */
static bool can_leave(const struct entry *e)
{
    return e->model && atomic_load(&e->model->users) == 2; /* the handle and our session */
}

static bool is_idle(const hearth_manager *m, const struct entry *e)
{
    return e != m->current && can_leave(e);
}

static hearth_status check_can_leave(const struct entry *e, hearth_error *err)
{
    if (!e->model || can_leave(e))
        return HEARTH_OK;
    return hearth_fail(err, HEARTH_E_BUSY, NULL, "manager: %s: other sessions are open on the model", e->name);
}

/* ---- Making room ---------------------------------------------------------------------------------------------------- */

/* The idle entry used last (or first) of those that are marked to leave (or not). */
static struct entry *pick(const hearth_manager *m, bool leaves, bool latest, uint64_t before)
{
    struct entry *best = NULL;
    for (struct entry *e = m->first; e; e = e->next)
        if (is_idle(m, e) && e->leaves == leaves && e->last_used < before && (!best || (e->last_used > best->last_used) == latest))
            best = e;
    return best;
}

static bool fits(const hearth_manager *m, uint64_t needed, uint64_t given_back)
{
    return needed <= hearth_plan_cap_left(m->engine, given_back);
}

/* Mark who must leave: idle ones, least recently used first, then, where it may, the current one; then spare, most recently used
 * first, whoever is not needed beside larger ones that were marked later. A plan that has fitted may not fit any more when another
 * thread has opened something on the engine. */
static hearth_status choose_leaving(hearth_manager *m, uint64_t needed, bool current_may_leave, hearth_error *err)
{
    uint64_t given_back = 0;
    struct entry *e;
    for (e = m->first; e; e = e->next)
        e->leaves = false;
    while (!fits(m, needed, given_back) && (e = pick(m, false, false, UINT64_MAX)) != NULL) {
        e->leaves = true;
        given_back += resident_bytes(e);
    }
    if (!fits(m, needed, given_back) && current_may_leave && m->current && can_leave(m->current)) {
        m->current->leaves = true;
        given_back += resident_bytes(m->current);
    }
    const uint64_t available = hearth_plan_cap_left(m->engine, given_back);
    if (needed > available)
        return hearth_fail_needed(err, HEARTH_E_MEMORY, needed, available,
                                  "manager: does not fit the cap any more (got %" PRIu64 ", need %" PRIu64 ")", available, needed);
    for (e = pick(m, true, true, UINT64_MAX); e; e = pick(m, true, true, e->last_used))
        if (fits(m, needed, given_back - resident_bytes(e))) {
            e->leaves = false;
            given_back -= resident_bytes(e);
        }
    return HEARTH_OK;
}

/* What could leave at most. */
static uint64_t evictable(const hearth_manager *m, bool current_too)
{
    uint64_t bytes = 0;
    for (const struct entry *e = m->first; e; e = e->next)
        if (is_idle(m, e) || (current_too && e == m->current && can_leave(e)))
            bytes += resident_bytes(e);
    return bytes;
}

static hearth_status plan_entry(hearth_manager *m, struct entry *e, uint64_t given_back, uint64_t *needed, hearth_error *err)
{
    hearth_plan *plan;
    HEARTH_TRY(hearth_plan_open_beside(&plan, m->engine, e->path, &e->limits, given_back, err));
    *needed = plan->total;
    e->plan_bytes = plan->total - hearth_engine_own_bytes(m->engine);
    const hearth_status status = hearth_plan_check(plan, err);
    hearth_plan_close(plan);
    return status;
}

static hearth_status save_leaving(hearth_manager *m, hearth_error *err)
{
    for (struct entry *e = m->first; e; e = e->next)
        if (e->leaves)
            HEARTH_TRY(save_conversation(m, e, err));
    return HEARTH_OK;
}

static void close_leaving(hearth_manager *m)
{
    for (struct entry *e = m->first; e; e = e->next)
        if (e->leaves) {
            close_entry(e);
            tell(m, 0, e, "left memory to make room");
        }
}

/* Loading has failed, or was stopped, when the current model had left already: it comes back, and who stopped the other has no say
 * in that. Says in the message what came of it. */
static void bring_back(hearth_manager *m, hearth_error *err)
{
    const hearth_model_options options = {.struct_size = sizeof options, .progress = hearth_progress_go_on};
    hearth_error again = {0};
    const struct entry *e = m->current;
    const bool back = open_entry(m, m->current, &options, &again) == HEARTH_OK;
    if (!back) {
        tell(m, 1, e, again.message);
        m->current = NULL;
    }
    if (!err)
        return;
    const size_t n = strlen(err->message);
    (void)snprintf(err->message + n, sizeof err->message - n, "; %s, which had left memory, %s", e->name,
                   back ? "was loaded again" : "could not be loaded again: no model is current");
}

static hearth_status make_resident(hearth_manager *m, struct entry *e, bool current_may_leave, hearth_error *err)
{
    uint64_t needed;
    if (e->model)
        return HEARTH_OK;
    HEARTH_TRY(plan_entry(m, e, evictable(m, current_may_leave), &needed, err));
    HEARTH_TRY(choose_leaving(m, needed, current_may_leave, err));
    HEARTH_TRY(save_leaving(m, err));
    close_leaving(m);
    const hearth_status status = open_entry(m, e, NULL, err);
    if (status != HEARTH_OK && m->current && !m->current->model)
        bring_back(m, err);
    return status;
}

/* ---- One model ------------------------------------------------------------------------------------------------------ */

typedef hearth_status entry_fn(hearth_manager *m, struct entry *e, hearth_error *err);

static hearth_status do_with(hearth_manager *m, const char *name, entry_fn *what, hearth_error *err)
{
    struct entry *e = NULL;
    HEARTH_TRY(enter(m, err));
    const hearth_status status = look_up(&e, m, name, err);
    return leave(m, status == HEARTH_OK ? what(m, e, err) : status);
}

static hearth_status load(hearth_manager *m, struct entry *e, hearth_error *err)
{
    HEARTH_TRY(make_resident(m, e, false, err));
    use(m, e);
    return HEARTH_OK;
}

static hearth_status make_current(hearth_manager *m, struct entry *e, hearth_error *err)
{
    if (m->current)
        use(m, m->current); /* until now */
    HEARTH_TRY(make_resident(m, e, true, err));
    use(m, e);
    m->current = e;
    return HEARTH_OK;
}

static hearth_status unload(hearth_manager *m, struct entry *e, hearth_error *err)
{
    if (!e->model)
        return HEARTH_OK;
    HEARTH_TRY(check_can_leave(e, err));
    HEARTH_TRY(save_conversation(m, e, err));
    close_entry(e);
    if (e == m->current)
        m->current = NULL;
    return HEARTH_OK;
}

static void free_entry(const hearth_manager *m, struct entry *e)
{
    hearth_handle_release(&m->engine->allocator, e, sizeof *e + e->path_bytes);
}

static hearth_status forget(hearth_manager *m, struct entry *e, hearth_error *err)
{
    HEARTH_TRY(unload(m, e, err));
    *find(m, e->name) = e->next;
    free_entry(m, e);
    return HEARTH_OK;
}

hearth_status hearth_manager_load(hearth_manager *m, const char *name, hearth_error *error)
{
    HEARTH_NEED(name, error);
    return do_with(m, name, load, error);
}

hearth_status hearth_manager_switch(hearth_manager *m, const char *name, hearth_error *error)
{
    HEARTH_NEED(name, error);
    return do_with(m, name, make_current, error);
}

hearth_status hearth_manager_unload(hearth_manager *m, const char *name, hearth_error *error)
{
    HEARTH_NEED(name, error);
    return do_with(m, name, unload, error);
}

hearth_status hearth_manager_forget(hearth_manager *m, const char *name, hearth_error *error)
{
    HEARTH_NEED(name, error);
    return do_with(m, name, forget, error);
}

/* ---- Registering ---------------------------------------------------------------------------------------------------- */

static hearth_status new_entry(struct entry **out, const hearth_manager *m, const char *name, const char *path,
                               const hearth_limits *limits, hearth_error *err)
{
    void *handle;
    hearth_limits known;
    const size_t path_bytes = strlen(path) + 1;
    HEARTH_TRY(hearth_limits_copy(&known, limits, err));
    HEARTH_TRY(hearth_handle_take(&handle, &m->engine->allocator, sizeof(struct entry) + path_bytes, "manager: model", err));
    struct entry *e = handle;
    memcpy(e->name, name, strlen(name));
    memcpy(e->path, path, path_bytes);
    e->path_bytes = path_bytes;
    e->limits = known;
    *out = e;
    return HEARTH_OK;
}

static hearth_status register_model(hearth_manager *m, const char *name, const char *path, const hearth_limits *limits,
                                    hearth_error *err)
{
    struct entry *e = NULL;
    uint64_t needed = 0; /* no plan was made */
    char quoted[HEARTH_QUOTE_MAX];
    if (!is_name(name))
        return hearth_fail(err, HEARTH_E_CONFIG, "E_NAME",
                           "manager: this is no name for a model (got '%s', need 1 to %u of A-Z a-z 0-9 . _ -, not . or ..)",
                           hearth_quote(quoted, name, strnlen(name, NAME_BYTES)), NAME_BYTES - 1);
    struct entry **link = find(m, name);
    if (*link)
        return hearth_fail(err, HEARTH_E_CONFIG, "E_NAME", "manager: a model of this name is registered already (got '%s')", name);
    HEARTH_TRY(new_entry(&e, m, name, path, limits, err));
    const hearth_status status = plan_entry(m, e, 0, &needed, err);
    if (status == HEARTH_OK || (status == HEARTH_E_MEMORY && needed > 0)) { /* what does not fit is refused when it is asked for */
        *link = e;
        return HEARTH_OK;
    }
    free_entry(m, e);
    return status;
}

hearth_status hearth_manager_register(hearth_manager *m, const char *name, const char *path, const hearth_limits *limits,
                                      hearth_error *error)
{
    HEARTH_NEED(name, error);
    HEARTH_NEED(path, error);
    HEARTH_TRY(enter(m, error));
    return leave(m, register_model(m, name, path, limits, error));
}

/* ---- Opening and closing -------------------------------------------------------------------------------------------- */

static hearth_status folder_errno(const char *folder, hearth_error *err)
{
    char reason[96];
    return folder_failed(folder, strerror_r(errno, reason, sizeof reason), err);
}

/* Conversations are private: the folder is this user's own, and no other can put a file there. */
static hearth_status open_folder(hearth_manager *m, const char *folder, hearth_error *err)
{
    struct stat info;
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        return folder_errno(folder, err);
    if (!realpath(folder, m->folder))
        return folder_errno(folder, err);
    m->folder_fd = open(m->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (m->folder_fd < 0 || fstat(m->folder_fd, &info) != 0)
        return folder_errno(folder, err);
    if (info.st_uid != geteuid())
        return folder_failed(folder, "belongs to another user", err);
    if (info.st_mode & (S_IWGRP | S_IWOTH))
        return folder_failed(folder, "others may write to it", err);
    if (faccessat(AT_FDCWD, m->folder, W_OK | X_OK, AT_EACCESS) != 0)
        return folder_errno(folder, err);
    if (strlen(m->folder) + NAME_BYTES + 32 > PATH_MAX) /* '/', ".state" and what is put behind it */
        return folder_failed(folder, "its path is too long", err);
    if (flock(m->folder_fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) /* some file systems have no locks */
        return hearth_fail(err, HEARTH_E_BUSY, NULL, "manager: another one, of this or another process, has this state folder");
    return HEARTH_OK;
}

hearth_status hearth_manager_open(hearth_manager **out, hearth_engine *engine, const hearth_manager_options *options,
                                  hearth_error *error)
{
    HEARTH_NEED(out, error);
    *out = NULL;
    HEARTH_NEED(engine, error);
    HEARTH_NEED(options, error);
    if (options->struct_size < sizeof *options)
        return hearth_fail(error, HEARTH_E_CONFIG, NULL, "manager options: struct_size is too small (got %" PRIu32 ", need %zu)",
                           options->struct_size, sizeof *options);
    HEARTH_NEED(options->state_folder, error);
    if (options->chat && options->chat->struct_size < sizeof *options->chat)
        return hearth_fail(error, HEARTH_E_CONFIG, NULL,
                           "manager options: chat: struct_size is too small (got %" PRIu32 ", need %zu)",
                           options->chat->struct_size, sizeof *options->chat);
    HEARTH_TRY(hearth_engine_check(engine, error));
    void *handle;
    HEARTH_TRY(hearth_handle_take(&handle, &engine->allocator, sizeof(struct hearth_manager), "manager", error));
    struct hearth_manager *m = handle;
    m->engine = engine;
    m->chat_options = options->chat ? *options->chat : (hearth_chat_options){.struct_size = sizeof m->chat_options};
    m->folder_fd = -1;
    atomic_fetch_add(&engine->users, 1);
    const hearth_status status = open_folder(m, options->state_folder, error);
    if (status != HEARTH_OK) {
        hearth_manager_close(m);
        return status;
    }
    *out = m;
    return HEARTH_OK;
}

/* Every conversation, whatever came of the ones before; the first failure is told. */
static hearth_status save_all(hearth_manager *m, hearth_error *err)
{
    hearth_status first = HEARTH_OK;
    hearth_error why = {0};
    for (struct entry *e = m->first; e; e = e->next) {
        const hearth_status status = e->model ? save_conversation(m, e, &why) : HEARTH_OK;
        if (status == HEARTH_OK)
            continue;
        tell(m, 1, e, why.message);
        if (first == HEARTH_OK && err)
            *err = why;
        first = first == HEARTH_OK ? status : first;
    }
    return first;
}

hearth_status hearth_manager_save(hearth_manager *m, hearth_error *error)
{
    HEARTH_TRY(enter(m, error));
    return leave(m, save_all(m, error));
}

void hearth_manager_close(hearth_manager *m)
{
    if (!m)
        return;
    struct hearth_engine *engine = m->engine;
    const bool is_child = hearth_engine_check(engine, NULL) != HEARTH_OK;
    if (!is_child) /* a child does not write into its parent's states, and leaves it the folder */
        (void)save_all(m, NULL);
    for (struct entry *e = m->first, *next; e; e = next) {
        next = e->next;
        close_entry(e);
        free_entry(m, e);
    }
    if (!is_child && m->folder_fd >= 0)
        (void)flock(m->folder_fd, LOCK_UN); /* children may still have it open */
    if (m->folder_fd >= 0)
        (void)close(m->folder_fd);
    hearth_handle_release(&engine->allocator, m, sizeof *m);
    hearth_engine_leave(engine);
}

/* ---- What there is -------------------------------------------------------------------------------------------------- */

/* Of the current model, copied out while nobody changes them; NULLs where none is current, or somebody may. */
struct handles {
    const char *name;
    hearth_model *model;
    hearth_session *session;
    hearth_chat *chat;
};

static struct handles current_handles(hearth_manager *m)
{
    struct handles handles = {0};
    if (!take(m))
        return handles;
    if (m->current)
        handles = (struct handles){m->current->name, m->current->model, m->current->session, m->current->chat};
    (void)leave(m, HEARTH_OK);
    return handles;
}

const char *hearth_manager_current(hearth_manager *m)
{
    return current_handles(m).name;
}

hearth_session *hearth_manager_session(hearth_manager *m)
{
    return current_handles(m).session;
}

hearth_chat *hearth_manager_chat(hearth_manager *m)
{
    return current_handles(m).chat;
}

hearth_model *hearth_manager_model(hearth_manager *m)
{
    return current_handles(m).model;
}

size_t hearth_manager_count(hearth_manager *m)
{
    size_t n = 0;
    if (!take(m))
        return 0;
    for (const struct entry *e = m->first; e; e = e->next)
        n++;
    (void)leave(m, HEARTH_OK);
    return n;
}

static hearth_status describe(hearth_manager *m, size_t index, hearth_model_info *out, hearth_error *err)
{
    const struct entry *e = m->first;
    for (size_t i = 0; e && i < index; i++)
        e = e->next;
    if (!e)
        return hearth_fail(err, HEARTH_E_CONFIG, NULL, "manager: there is no model of this number (got %zu)", index);
    *out = (hearth_model_info){.struct_size = out->struct_size,
                               .name = e->name,
                               .path = e->path,
                               .state = e == m->current ? HEARTH_MODEL_CURRENT
                                        : e->model      ? HEARTH_MODEL_RESIDENT
                                                        : HEARTH_MODEL_REGISTERED,
                               .conversation = e->conversation,
                               .resident_bytes = resident_bytes(e),
                               .plan_bytes = e->plan_bytes,
                               .last_used = e->last_used,
                               .saved = has_state_file(m, e) && (!e->model || (e->has_state && is_unchanged(e)))};
    return HEARTH_OK;
}

hearth_status hearth_manager_info(hearth_manager *m, size_t index, hearth_model_info *out, hearth_error *error)
{
    HEARTH_NEED(out, error);
    if (out->struct_size < sizeof *out)
        return hearth_fail(error, HEARTH_E_CONFIG, NULL, "model info: struct_size is too small (got %" PRIu32 ", need %zu)",
                           out->struct_size, sizeof *out);
    HEARTH_TRY(enter(m, error));
    return leave(m, describe(m, index, out, error));
}

/* ---- Giving memory back --------------------------------------------------------------------------------------------- */

/* Save an idle model's conversation and close it. */
static hearth_status give_up(hearth_manager *m, struct entry *e, hearth_optimized *out, hearth_error *err)
{
    HEARTH_TRY(save_conversation(m, e, err));
    const uint64_t kv = e->session->arena.taken[HEARTH_PLAN_KV];
    out->weights += e->model->arena.bytes;
    out->kv += kv;
    out->scratch += e->session->arena.bytes - kv;
    out->n_unloaded++;
    close_entry(e);
    tell(m, 0, e, "left memory to give it back");
    return HEARTH_OK;
}

/* Goes on after a failure, which leaves its model as it was. */
static hearth_status optimize(hearth_manager *m, hearth_optimized *out, hearth_error *err)
{
    hearth_status first = HEARTH_OK;
    const uint64_t before = hearth_machine_private_bytes();
    *out = (hearth_optimized){.struct_size = out->struct_size};
    for (struct entry *e = m->first; e; e = e->next) {
        hearth_error why = {0};
        hearth_status status = HEARTH_OK;
        if (is_idle(m, e))
            status = give_up(m, e, out, &why);
        if (e->model && status == HEARTH_OK)
            status = hearth_session_trim(e->session, &out->kv, &out->scratch, &why);
        if (status != HEARTH_OK && first == HEARTH_OK && err)
            *err = why;
        first = first == HEARTH_OK ? status : first;
    }
    out->cache = hearth_prefix_cache_forget(&m->engine->prefix_cache);
    const uint64_t after = hearth_machine_private_bytes();
    out->bytes_freed = before > after ? before - after : 0;
    return first;
}

hearth_status hearth_manager_optimize(hearth_manager *m, hearth_optimized *out, hearth_error *error)
{
    HEARTH_NEED(out, error);
    if (out->struct_size < sizeof *out)
        return hearth_fail(error, HEARTH_E_CONFIG, NULL, "optimized: struct_size is too small (got %" PRIu32 ", need %zu)",
                           out->struct_size, sizeof *out);
    HEARTH_TRY(enter(m, error));
    return leave(m, optimize(m, out, error));
}
