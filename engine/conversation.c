/* Messages and notes in buffers of fixed size; see conversation.h. */
#include "conversation.h"
#include "common/status.h"

/* ---- Messages ----------------------------------------------------------------------------------------------------------- */

void hearth_conversation_reset(struct hearth_conversation *c)
{
    c->n = 0;
    c->text_bytes = 0;
    c->n_draft = 0;
    c->next_number = 0;
    c->notes_bytes = 0;
}

const hearth_message *hearth_conversation_system(const struct hearth_conversation *c)
{
    return c->n > 0 && c->messages[0].role == HEARTH_ROLE_SYSTEM ? c->messages : NULL;
}

const hearth_message *hearth_conversation_rest(const struct hearth_conversation *c, size_t *n)
{
    const size_t first = hearth_conversation_system(c) ? 1 : 0;
    *n = c->n - first;
    return c->messages + first;
}

bool hearth_conversation_has_room(const struct hearth_conversation *c, const hearth_message *old, size_t bytes, size_t *most)
{
    const size_t left = c->text_capacity - c->text_bytes + (old ? old->text_bytes + 1 : 0);
    const bool has_place = old || c->n < c->capacity;
    *most = has_place && left > 0 ? left - 1 : 0; /* a NUL */
    return has_place && left > 0 && bytes <= *most;
}

/* The texts from message `at` on lie `by` bytes further up, or down. */
static void shift_texts(struct hearth_conversation *c, size_t at, ptrdiff_t by)
{
    for (size_t i = at; i < c->n; i++)
        c->messages[i].text += by;
}

void hearth_conversation_insert(struct hearth_conversation *c, size_t at, int32_t role, const char *text, size_t bytes,
                                uint32_t n_tokens)
{
    char *place = at < c->n ? c->text + (c->messages[at].text - c->text) : c->text + c->text_bytes;
    memmove(place + bytes + 1, place, (size_t)(c->text + c->text_bytes - place));
    if (bytes > 0)
        memmove(place, text, bytes); /* a draft lies there already */
    place[bytes] = '\0';
    c->text_bytes += bytes + 1;
    memmove(c->messages + at + 1, c->messages + at, (c->n - at) * sizeof *c->messages);
    c->n++;
    shift_texts(c, at + 1, (ptrdiff_t)(bytes + 1));
    c->messages[at] = (hearth_message){.struct_size = sizeof *c->messages,
                                       .role = role,
                                       .number = c->next_number++,
                                       .n_tokens = n_tokens,
                                       .text = place,
                                       .text_bytes = bytes};
}

void hearth_conversation_remove(struct hearth_conversation *c, size_t at)
{
    const size_t bytes = c->messages[at].text_bytes + 1;
    char *place = c->text + (c->messages[at].text - c->text);
    c->text_bytes -= bytes;
    memmove(place, place + bytes, (size_t)(c->text + c->text_bytes - place));
    c->n--;
    memmove(c->messages + at, c->messages + at + 1, (c->n - at) * sizeof *c->messages);
    shift_texts(c, at, -(ptrdiff_t)bytes);
}

bool hearth_conversation_write(struct hearth_conversation *c, const char *text, size_t bytes)
{
    size_t most;
    if (!hearth_conversation_has_room(c, NULL, c->n_draft + bytes, &most))
        return false;
    memcpy(c->text + c->text_bytes + c->n_draft, text, bytes);
    c->n_draft += bytes;
    return true;
}

void hearth_conversation_finish(struct hearth_conversation *c, int32_t role, uint32_t n_tokens)
{
    hearth_conversation_insert(c, c->n, role, c->text + c->text_bytes, c->n_draft, n_tokens);
    c->n_draft = 0;
}

/* ---- Notes -------------------------------------------------------------------------------------------------------------- */

/* A record: the length of the value, the key, a NUL, the value, a NUL. */
struct note {
    size_t begin, end; /* of the record */
    const char *value;
    uint32_t bytes;
};

static bool find(const struct hearth_conversation *c, const char *key, struct note *out)
{
    for (size_t at = 0; at < c->notes_bytes; at = out->end) {
        const char *name = c->notes + at + sizeof out->bytes;
        memcpy(&out->bytes, c->notes + at, sizeof out->bytes);
        out->begin = at;
        out->value = name + strlen(name) + 1;
        out->end = (size_t)(out->value - c->notes) + out->bytes + 1;
        if (strcmp(name, key) == 0)
            return true;
    }
    return false;
}

hearth_status hearth_conversation_note(struct hearth_conversation *c, const char *key, const char *value, size_t bytes,
                                       hearth_error *err)
{
    struct note old = {0};
    const size_t key_bytes = strnlen(key, HEARTH_CHAT_KEY_MAX + 1);
    if (key_bytes == 0 || key_bytes > HEARTH_CHAT_KEY_MAX)
        return hearth_fail(err, HEARTH_E_CONFIG, NULL, "chat: metadata: length of the key (got %s, need 1 to %d bytes)",
                           key_bytes == 0 ? "0" : "more", HEARTH_CHAT_KEY_MAX);
    const size_t freed = find(c, key, &old) ? old.end - old.begin : 0;
    const size_t room = c->notes_capacity - c->notes_bytes + freed;
    const size_t around = sizeof old.bytes + key_bytes + 2;
    if (value && (room < around || bytes > room - around))
        return hearth_fail(err, HEARTH_E_CONFIG, NULL, "chat: metadata: too large (got %zu bytes, need at most %zu)", bytes,
                           room < around ? 0 : room - around);
    if (freed > 0) {
        memmove(c->notes + old.begin, c->notes + old.end, c->notes_bytes - old.end);
        c->notes_bytes -= freed;
    }
    if (!value)
        return HEARTH_OK;
    char *record = c->notes + c->notes_bytes;
    const uint32_t n = (uint32_t)bytes; /* below notes_capacity */
    memcpy(record, &n, sizeof n);
    memcpy(record + sizeof n, key, key_bytes + 1);
    memcpy(record + sizeof n + key_bytes + 1, value, bytes);
    record[around + bytes - 1] = '\0';
    c->notes_bytes += around + bytes;
    return HEARTH_OK;
}

const char *hearth_conversation_find_note(const struct hearth_conversation *c, const char *key, size_t *bytes)
{
    struct note note;
    if (!find(c, key, &note))
        return NULL;
    if (bytes)
        *bytes = note.bytes;
    return note.value;
}

/* ---- In a state --------------------------------------------------------------------------------------------------------- */

/* This, the messages, their texts, the notes: what is in memory, but for the places of texts. */
#define PACKED_VERSION 1
struct packed {
    uint64_t version, n, next_number, text_bytes, notes_bytes;
};

struct packed_message {
    int32_t role;
    uint32_t n_tokens;
    uint64_t number, text_bytes;
};

uint64_t hearth_conversation_packed_bytes(const struct hearth_conversation *c)
{
    return sizeof(struct packed) + c->n * sizeof(struct packed_message) + c->text_bytes + c->notes_bytes;
}

void hearth_conversation_pack(const struct hearth_conversation *c, void *bytes)
{
    struct packed *head = bytes;
    struct packed_message *messages = (struct packed_message *)(head + 1);
    *head = (struct packed){PACKED_VERSION, c->n, c->next_number, c->text_bytes, c->notes_bytes};
    for (size_t i = 0; i < c->n; i++) {
        const hearth_message *m = &c->messages[i];
        messages[i] = (struct packed_message){m->role, m->n_tokens, m->number, m->text_bytes};
    }
    char *text = (char *)(messages + c->n);
    memcpy(text, c->text, c->text_bytes);
    memcpy(text + c->text_bytes, c->notes, c->notes_bytes);
}

static hearth_status damaged(const char *what, hearth_error *err)
{
    return hearth_fail(err, HEARTH_E_STATE, "E_CHAT", "chat: the conversation in the state is damaged: %s", what);
}

/* Texts stand one behind the other, a NUL behind each, and fill text_bytes. */
static hearth_status check_messages(const struct packed *head, const struct packed_message *messages, const char *text,
                                    hearth_error *err)
{
    uint64_t at = 0;
    for (uint64_t i = 0; i < head->n; i++) {
        const struct packed_message *m = &messages[i];
        if (m->role < (i == 0 ? HEARTH_ROLE_SYSTEM : HEARTH_ROLE_USER) || m->role > HEARTH_ROLE_TOOL)
            return damaged("role of a message", err);
        if (m->number >= head->next_number)
            return damaged("number of a message", err);
        if (m->text_bytes >= head->text_bytes - at || text[at + m->text_bytes] != '\0')
            return damaged("length of a message", err);
        at += m->text_bytes + 1;
    }
    return at == head->text_bytes ? HEARTH_OK : damaged("length of the texts", err);
}

static hearth_status check_notes(const char *notes, size_t n, hearth_error *err)
{
    for (size_t at = 0; at < n;) {
        uint32_t bytes;
        if (n - at < sizeof bytes)
            return damaged("length of the metadata", err);
        memcpy(&bytes, notes + at, sizeof bytes);
        at += sizeof bytes;
        const size_t key = strnlen(notes + at, n - at);
        if (key == 0 || key > HEARTH_CHAT_KEY_MAX || key >= n - at)
            return damaged("key of the metadata", err);
        at += key + 1;
        if (bytes >= n - at || notes[at + bytes] != '\0')
            return damaged("value of the metadata", err);
        at += (size_t)bytes + 1;
    }
    return HEARTH_OK;
}

hearth_status hearth_conversation_check(const struct hearth_conversation *c, const void *bytes, uint64_t n, hearth_error *err)
{
    const struct packed *head = bytes;
    if (n < sizeof *head)
        return damaged("length", err);
    if (head->version != PACKED_VERSION)
        return hearth_fail(err, HEARTH_E_STATE, "E_VERSION",
                           "chat: the conversation in the state has an unknown version (got %" PRIu64 ", need %d)", head->version,
                           PACKED_VERSION);
    if (head->n > c->capacity || head->text_bytes > c->text_capacity || head->notes_bytes > c->notes_capacity)
        return hearth_fail(err, HEARTH_E_STATE, "E_ROOM",
                           "chat: the conversation in the state has no room here (got %" PRIu64 " messages of %" PRIu64
                           " bytes, need at most %zu of %zu)",
                           head->n, head->text_bytes, c->capacity, c->text_capacity);
    if (n != sizeof *head + head->n * sizeof(struct packed_message) + head->text_bytes + head->notes_bytes)
        return damaged("length", err);
    const struct packed_message *messages = (const struct packed_message *)(head + 1);
    const char *text = (const char *)(messages + head->n);
    HEARTH_TRY(check_messages(head, messages, text, err));
    return check_notes(text + head->text_bytes, (size_t)head->notes_bytes, err);
}

void hearth_conversation_unpack(struct hearth_conversation *c, const void *bytes)
{
    const struct packed *head = bytes;
    const struct packed_message *messages = (const struct packed_message *)(head + 1);
    const char *text = (const char *)(messages + head->n);
    size_t at = 0;
    c->n = (size_t)head->n;
    c->text_bytes = (size_t)head->text_bytes;
    c->notes_bytes = (size_t)head->notes_bytes;
    c->next_number = head->next_number;
    memcpy(c->text, text, c->text_bytes);
    memcpy(c->notes, text + c->text_bytes, c->notes_bytes);
    for (size_t i = 0; i < c->n; i++) {
        const struct packed_message *m = &messages[i];
        c->messages[i] = (hearth_message){.struct_size = sizeof *c->messages,
                                          .role = m->role,
                                          .number = m->number,
                                          .n_tokens = m->n_tokens,
                                          .text = c->text + at,
                                          .text_bytes = (size_t)m->text_bytes};
        at += (size_t)m->text_bytes + 1;
    }
}
