/* The chat template of a command: where it comes from, what it makes of messages. */
#ifndef HEARTH_TOOLS_CHAT_H
#define HEARTH_TOOLS_CHAT_H

#include "common/status.h"
#include "file.h"
#include "options.h"
#include "template/family.h"
#include "template/template.h"

/* What was opened, to be closed in one place. Begin with zeros. */
struct chat {
    const struct options *options;
    struct hearth_file model; /* of a model */
    struct hearth_gguf gguf;
    char *file; /* of --template */
    char name[HEARTH_QUOTE_MAX];
    const char *source;
    size_t source_bytes;
    const struct hearth_family *family; /* NULL where the template is the model's or a file's */
    struct hearth_str bos, eos;
    void *memory;
    struct hearth_template *template;
    char *text; /* the last rendering, NUL behind it */
    uint8_t *from_caller;
    size_t text_bytes;
};

/* Read the template that the options name: a file's, a family's or the model's. */
hearth_status chat_open(struct chat *chat, const struct options *options, hearth_error *error);
/* Render messages, made in the workspace of the template, with more variables (a map), into chat->text. */
hearth_status chat_render(struct chat *chat, struct hearth_value variables, struct hearth_value messages, hearth_error *error);
/* Render one turn of a user, with a system text (may be NULL) before it; one that has no place in the template stands before the
 * user's words. */
hearth_status chat_render_turn(struct chat *chat, const char *system, const char *text, size_t text_bytes, hearth_error *error);
/* Give back everything but the text. */
void chat_keep_text(struct chat *chat);
void chat_close(struct chat *chat);

#endif
