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
