/* Conversations: messages, written down by a chat template, over a session (hearth.h, "Chat"). */
#ifndef HEARTH_ENGINE_CHAT_H
#define HEARTH_ENGINE_CHAT_H

#include "arena.h"
#include "template/family.h"

struct hearth_model;

/* What a model knows of chats. */
struct hearth_chat_format {
    char *source;                       /* of its template; NULL: none, or one that is too long to be of use */
    size_t source_bytes;                /* as in the file */
    const struct hearth_family *family; /* of a model without a template; NULL: a base model */
    int32_t bos, eos;                   /* tokens; HEARTH_TOKEN_NONE when there is none */
};

/* Bytes of `source` that a model of this format keeps. */
uint64_t hearth_chat_kept_bytes(const struct hearth_chat_format *format);
/* Fill a format whose memory has been taken. */
void hearth_chat_format_read(struct hearth_chat_format *format, const struct hearth_gguf *gguf, const struct hearth_vocab *vocab);

/* Take (or count) the memory of a chat on a session of the model; NULL when counting. */
struct hearth_chat *hearth_chat_layout(const struct hearth_model *model, uint32_t context, struct hearth_arena *arena);

#endif
