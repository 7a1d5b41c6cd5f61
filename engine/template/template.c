/* Opening and rendering templates; see template.h. */
#include "template/template.h"
#include "common/status.h"
#include "template/evaluate.h"
#include "template/parser.h"
#include "utf8.h"
#include <time.h>

struct hearth_template {
    struct hearth_workspace w;
    size_t tree_end; /* of the workspace: what is made for a rendering lies behind it */
    const struct hearth_stmt *body;
    struct hearth_builder text;
};

static void begin(struct hearth_template *t, hearth_error *err)
{
    t->w.status = HEARTH_OK;
    t->w.err = err;
    t->w.steps_left = HEARTH_TEMPLATE_STEPS_MAX;
    t->w.depth = 0;
    t->w.line = 0;
}

/* Other bytes are damage to the file: a template is its author's text. */
static bool is_text(struct hearth_workspace *w, const char *source, size_t n)
{
    size_t need;
    w->line = 1;
    for (size_t at = 0; at < n; at += need) {
        if (hearth_utf8_take((const uint8_t *)source + at, n - at, &need) != need)
            hearth_workspace_fail(w, HEARTH_E_FORMAT, "E_TEMPLATE", "bytes that are no UTF-8");
        if (w->status != HEARTH_OK)
            return false;
        w->line += source[at] == '\n';
    }
    return true;
}

hearth_status hearth_template_open(struct hearth_template **out, void *memory, size_t bytes, const char *name, const char *source,
                                   size_t source_bytes, hearth_error *err)
{
    *out = NULL;
    struct hearth_template *t = memory;
    if (bytes < sizeof *t + 16 || source_bytes > HEARTH_TEMPLATE_SOURCE_MAX)
        return hearth_fail(err, HEARTH_E_UNSUPPORTED, "E_LIMIT", "%s: size (got %zu bytes, need at most %zu)", name, source_bytes,
                           HEARTH_TEMPLATE_SOURCE_MAX);
    *t = (struct hearth_template){.w = {.memory = memory, .bytes = bytes, .used = (sizeof *t + 15) & ~(size_t)15, .name = name}};
    begin(t, err);
    if (!is_text(&t->w, source, source_bytes))
        return t->w.status;
    t->body = hearth_parser_read(&t->w, source, source_bytes);
    t->tree_end = t->w.used;
    if (t->w.status == HEARTH_OK)
        *out = t;
    return t->w.status;
}

struct hearth_workspace *hearth_template_workspace(struct hearth_template *t, hearth_error *err)
{
    begin(t, err);
    return &t->w;
}

void hearth_template_forget(struct hearth_template *t)
{
    t->w.used = t->tree_end;
    t->text = (struct hearth_builder){0};
}

hearth_status hearth_template_render(struct hearth_template *t, struct hearth_value variables, int64_t now, size_t *text_bytes,
                                     hearth_error *err)
{
    begin(t, err);
    t->w.now = now;
    t->text = (struct hearth_builder){0};
    hearth_evaluate(&t->w, t->body, variables, &t->text);
    if (t->w.status != HEARTH_OK)
        t->text = (struct hearth_builder){0};
    *text_bytes = t->text.n;
    return t->w.status;
}

void hearth_template_copy(const struct hearth_template *t, char *text, uint8_t *origin)
{
    hearth_builder_write(&t->text, text, origin);
}

hearth_status hearth_template_text(struct hearth_template *t, struct hearth_str *text, hearth_error *err)
{
    begin(t, err);
    *text = hearth_builder_finish(&t->w, &t->text);
    return t->w.status;
}

int64_t hearth_template_clock(void)
{
    const time_t now = time(NULL);
    struct tm local;
    return localtime_r(&now, &local) ? (int64_t)timegm(&local) : (int64_t)now;
}
