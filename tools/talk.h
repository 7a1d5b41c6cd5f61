/* A conversation with a model, for hearth chat: what is open, and what was answered last. */
#ifndef HEARTH_TOOLS_TALK_H
#define HEARTH_TOOLS_TALK_H

#include "options.h"
#include "places.h"
#include "stream.h"

/* Begin with zeros and options. */
struct talk {
    struct options options;
    struct stream stream;
    hearth_engine *engine;
    hearth_manager *manager;
    hearth_chat_options chat_options; /* of all models */
    char *template;                   /* of --template */
    char folder[PLACES_PATH_MAX];     /* of the conversations of models that had to leave; gone at the end */
    hearth_session *session;          /* of the current model; the manager's */
    hearth_chat *chat;                /* likewise */
    uint64_t plan_bytes, cap_bytes;   /* of the process with this model */
    uint32_t n_answers;               /* of these the last: */
    hearth_result result;
    hearth_prompt_info prompt;
    double wait_seconds; /* to the first text */
};

/* Open all that the options name, with progress. */
hearth_status talk_open(struct talk *talk, hearth_error *error);
/* Go on with another model, by its name, or as -m takes it: with the conversation that it had, or a new one. After a failure the
 * current model goes on, unless talk->chat is NULL. */
hearth_status talk_switch(struct talk *talk, const char *model, hearth_error *error);
/* Ask, and show the answer on standard output, a newline behind it. text NULL: answer once more what was asked last. What stopped
 * an answer early is told on standard error. E_CANCELLED: the program is to end. A failed write is in talk->stream. */
hearth_status talk_ask(struct talk *talk, const char *text, size_t n, hearth_error *error);
/* Forget the conversation, and begin with the system message of the options. */
hearth_status talk_begin(struct talk *talk, hearth_error *error);
void talk_close(struct talk *talk);

/* Lines on standard error: what was opened; where the conversation stands; the models that were. */
void talk_greet(const struct talk *talk);
void talk_show_stats(const struct talk *talk);
void talk_show_models(const struct talk *talk);

#endif
