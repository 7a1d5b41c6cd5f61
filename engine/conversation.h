/* The messages of a conversation and what an application notes beside them, in memory of fixed size.
 *
 * Messages stand in an array, oldest first, the system's before all others; their texts one behind the other in one buffer, in the
 * same order, each with a NUL behind it. Adding and removing moves what comes later, so nothing is ever fragmented: a few hundred
 * kilobytes at most, beside the seconds that an answer takes. Notes are records of key and value, likewise. */
#ifndef HEARTH_ENGINE_CONVERSATION_H
#define HEARTH_ENGINE_CONVERSATION_H

#include "hearth.h"

struct hearth_conversation {
    hearth_message *messages;
    size_t n, capacity;
    char *text;
    size_t text_bytes, text_capacity;
    size_t n_draft; /* bytes of a message being written behind the last text */
    uint64_t next_number;
    char *notes;
    size_t notes_bytes, notes_capacity;
};

/* Neither messages nor notes; numbers begin at 0. */
void hearth_conversation_reset(struct hearth_conversation *c);

/* The system's message; NULL: there is none. */
const hearth_message *hearth_conversation_system(const struct hearth_conversation *c);
/* The oldest of the others, and how many those are. */
const hearth_message *hearth_conversation_rest(const struct hearth_conversation *c, size_t *n);

/* Whether there is room for one more message of so many bytes, or in place of `old` (NULL: of none); *most receives how many there
 * is room for. */
bool hearth_conversation_has_room(const struct hearth_conversation *c, const hearth_message *old, size_t bytes, size_t *most);
/* Put a copy of a text, for which there is room, at place `at` <= n. */
void hearth_conversation_insert(struct hearth_conversation *c, size_t at, int32_t role, const char *text, size_t bytes,
                                uint32_t n_tokens);
void hearth_conversation_remove(struct hearth_conversation *c, size_t at);
/* Write on at the draft; false where the room ends, and then nothing is written. No other change until it is finished. */
bool hearth_conversation_write(struct hearth_conversation *c, const char *text, size_t bytes);
/* The draft becomes the newest message. There was room for a message when it was begun. */
void hearth_conversation_finish(struct hearth_conversation *c, int32_t role, uint32_t n_tokens);

/* Set a note, or with a NULL value delete it. E_CONFIG: the key has no, or more than HEARTH_CHAT_KEY_MAX, bytes, or there is no
 * room; nothing is changed. */
hearth_status hearth_conversation_note(struct hearth_conversation *c, const char *key, const char *value, size_t bytes,
                                       hearth_error *err);
/* The value of a note, a NUL behind it; NULL where there is none. */
const char *hearth_conversation_find_note(const struct hearth_conversation *c, const char *key, size_t *bytes);

/* The whole of it as bytes, and back: for states. What a file of outside has is checked, with E_STATE and the reason, before
 * anything is read from it; `bytes` are 8-byte aligned and do not change in between. */
uint64_t hearth_conversation_packed_bytes(const struct hearth_conversation *c);
void hearth_conversation_pack(const struct hearth_conversation *c, void *bytes);
hearth_status hearth_conversation_check(const struct hearth_conversation *c, const void *bytes, uint64_t n, hearth_error *err);
void hearth_conversation_unpack(struct hearth_conversation *c, const void *bytes);

#endif
