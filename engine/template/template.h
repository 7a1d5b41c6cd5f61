/* Chat templates: the Jinja dialect in which models say how a conversation is written down (docs/chat.md). A template is a program
 * of a stranger: it can read what it is given and nothing else, and its memory, steps, depth and output are bounded.
 *
 *   hearth_template_open(&t, memory, bytes, "chat template", source, n, &err)
 *   values = ... with hearth_template_workspace(t) and the functions of value.h
 *   hearth_template_render(t, values, &n, &err)
 *   hearth_template_copy(t, text, origin)
 *
 * One thread at a time for each template. Nothing is allocated: everything lies in the caller's memory, which may be given back as
 * soon as the template is no longer used. */
#ifndef HEARTH_ENGINE_TEMPLATE_TEMPLATE_H
#define HEARTH_ENGINE_TEMPLATE_TEMPLATE_H

#include "template/value.h"

struct hearth_template;

/**
 * Read a template into `memory` (16-byte aligned).
 *
 * @param out    Receives the template, NULL on failure; it points into `memory` and needs no closing.
 * @param bytes  HEARTH_TEMPLATE_MEMORY is right for all; less serves where templates and messages are known to be small.
 * @param name   Stands in messages; kept.
 * @param source Not kept.
 * @return HEARTH_OK; HEARTH_E_FORMAT E_TEMPLATE for what is no template, with the line; HEARTH_E_UNSUPPORTED E_LIMIT.
 */
hearth_status hearth_template_open(struct hearth_template **out, void *memory, size_t bytes, const char *name, const char *source,
                                   size_t source_bytes, hearth_error *err);
/* Where values for the next rendering are made; they last until they are forgotten. Look at its status when they are complete. */
struct hearth_workspace *hearth_template_workspace(struct hearth_template *t, hearth_error *err);
/* Give back what values and renderings have taken of the memory: as after opening. */
void hearth_template_forget(struct hearth_template *t);
/**
 * Render. The text is kept for hearth_template_copy() until the next rendering.
 *
 * @param variables  A map of global variables, whose lists and maps the template may change; undefined for none.
 * @param now        Local time as seconds since 1970, for strftime_now().
 * @param text_bytes Receives the length of the text.
 * @return HEARTH_OK; HEARTH_E_CONFIG E_REFUSED where the template calls raise_exception(); HEARTH_E_FORMAT E_TEMPLATE where it does
 * what has no meaning; HEARTH_E_UNSUPPORTED E_LIMIT.
 */
hearth_status hearth_template_render(struct hearth_template *t, struct hearth_value variables, int64_t now, size_t *text_bytes,
                                     hearth_error *err);
/* The text rendered last, without a NUL; origin (may be NULL) receives for each byte 1 where it came from the caller's strings,
 * else 0: special tokens may be recognised only where there are zeros. */
void hearth_template_copy(const struct hearth_template *t, char *text, uint8_t *origin);
/* The same in the template's own memory, until it is forgotten. HEARTH_OK, or E_UNSUPPORTED E_LIMIT. */
hearth_status hearth_template_text(struct hearth_template *t, struct hearth_str *text, hearth_error *err);
/* The clock, as `now` above. */
int64_t hearth_template_clock(void);

#endif
