/* One self-contained SVG: a panel for prompts and one for generations, each with the rates and, beside every rate, the limit that
 * the probes of the run set. Rows that form a list of three or more lengths, depths or batches become lines, others bars. Colours
 * follow the reader's choice of light or dark. */
#include "bench_chart.h"
#include "bench_report.h"
#include "common/status.h"
#include "process.h"
#include "report.h"
#include "text.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH 800
#define LEFT 200 /* of bars: room for the name of the test */
#define RIGHT 185
#define BAR 26
#define PLOT_HEIGHT 260
#define PLOT_LEFT 60
#define PLOT_RIGHT 30
#define COLOURS 6
#define LEGEND_COLUMNS 3
#define TICKS 5

static const char style[] =
    "<style>\n"
    "text{font:13px system-ui,sans-serif;fill:#1b1f24}.title{font-size:18px;font-weight:600}.head{font-size:14px;font-weight:600}\n"
    ".small{font-size:12px;fill:#57606a}.back{fill:#fff}.grid{stroke:#d8dee4}.spread{stroke:#1b1f24;stroke-width:1.5}\n"
    ".limit{stroke:#b3261e;stroke-width:3}.bar{fill:#2f6fb5}.line{fill:none;stroke-width:2.5}\n"
    "circle{stroke-width:2}.dash{fill:none;stroke-width:1.5;stroke-dasharray:5 4}\n"
    ".s0{stroke:#2f6fb5}.s1{stroke:#c2571a}.s2{stroke:#2a8f5b}.s3{stroke:#8a4fb3}.s4{stroke:#b0306a}.s5{stroke:#6b6b00}\n"
    ".f0{fill:#2f6fb5}.f1{fill:#c2571a}.f2{fill:#2a8f5b}.f3{fill:#8a4fb3}.f4{fill:#b0306a}.f5{fill:#6b6b00}\n"
    "@media (prefers-color-scheme:dark){text{fill:#e6edf3}.small{fill:#9aa4ae}.back{fill:#14171b}.grid{stroke:#30363d}\n"
    ".spread{stroke:#e6edf3}.limit{stroke:#ff7b72}.bar{fill:#4c8fd8}\n"
    ".s0{stroke:#4c8fd8}.s1{stroke:#f0883e}.s2{stroke:#4dbb82}.s3{stroke:#b98ce0}.s4{stroke:#ec6ea4}.s5{stroke:#c9c93a}\n"
    ".f0{fill:#4c8fd8}.f1{fill:#f0883e}.f2{fill:#4dbb82}.f3{fill:#b98ce0}.f4{fill:#ec6ea4}.f5{fill:#c9c93a}}\n"
    "</style>\n";

/* What a row can be drawn over. */
enum axis { OVER_NOTHING, OVER_LENGTH, OVER_DEPTH, OVER_BATCH };
static const char *const axis_names[] = {"", "tokens", "depth, tokens in the cache", "tokens of a forward pass"};

struct panel {
    const struct hearth_bench_row **rows; /* along the axis, when there is one */
    size_t n;
    bool prompts;
    enum axis axis;
    double top; /* the largest rate or limit */
    double x_min, x_max;
    bool x_log;
};

/* ---- Numbers and text ----------------------------------------------------------------------------------------------- */

static double value_on(const struct hearth_bench_row *row, enum axis axis)
{
    switch (axis) {
    case OVER_LENGTH:
        return row->n_prompt + row->n_gen;
    case OVER_DEPTH:
        return row->depth;
    case OVER_BATCH:
        return row->batch;
    default:
        return 0;
    }
}

static bool is_by_compute(const struct hearth_bench_row *row)
{
    return row->compute_share > row->bandwidth_share;
}

/* The rate at which the nearer limit would be reached. */
static double limit_of(const struct hearth_bench_row *row)
{
    return row->ts.median / (is_by_compute(row) ? row->compute_share : row->bandwidth_share);
}

/* Four digits, without an exponent. */
static int decimals(double value)
{
    return value >= 1000 ? 0 : value >= 100 ? 1 : 2;
}

static double nice_step(double top)
{
    const double rough = top / TICKS;
    const double power = pow(10, floor(log10(rough)));
    const double digit = rough / power;
    return power * (digit <= 1 ? 1 : digit <= 2 ? 2 : digit <= 5 ? 5 : 10);
}

static void put_text(FILE *out, const char *text)
{
    for (; *text; text++)
        switch (*text) {
        case '&':
            (void)fputs("&amp;", out);
            break;
        case '<':
            (void)fputs("&lt;", out);
            break;
        case '>':
            (void)fputs("&gt;", out);
            break;
        default:
            (void)putc((unsigned char)*text < 0x20 ? ' ' : *text, out);
        }
}

static void put_label(FILE *out, double x, double y, const char *attributes, const char *text)
{
    (void)fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" %s>", x, y, attributes);
    put_text(out, text);
    (void)fputs("</text>\n", out);
}

/* ---- Bars ----------------------------------------------------------------------------------------------------------- */

static void put_bar(FILE *out, const struct panel *p, const struct hearth_bench_row *row, double y)
{
    char name[BENCH_TEST_NAME_MAX];
    char label[96];
    const double scale = (WIDTH - LEFT - RIGHT) / p->top;
    double least = row->ts.values[0];
    double most = least;
    for (size_t i = 1; i < row->ts.n; i++) {
        least = row->ts.values[i] < least ? row->ts.values[i] : least;
        most = row->ts.values[i] > most ? row->ts.values[i] : most;
    }
    (void)bench_test_name(name, row->n_prompt, row->n_gen, row->depth);
    if (p->prompts)
        (void)snprintf(label, sizeof label, "%s, batch %" PRIu32, name, row->batch);
    else
        (void)snprintf(label, sizeof label, "%s", name);
    const double end = LEFT + row->ts.median * scale;
    const double limit = LEFT + limit_of(row) * scale;
    put_label(out, LEFT - 10, y + 16, "text-anchor=\"end\"", label);
    (void)fprintf(out, "<rect class=\"bar\" x=\"%d\" y=\"%.1f\" width=\"%.1f\" height=\"%d\"/>\n", LEFT, y + 3, end - LEFT,
                  BAR - 8);
    (void)fprintf(out, "<line class=\"spread\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", LEFT + least * scale, y + 12,
                  LEFT + most * scale, y + 12);
    (void)fprintf(out, "<line class=\"limit\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", limit, y + 1, limit,
                  y + BAR - 3);
    (void)snprintf(label, sizeof label, "%.*f t/s, %.0f %% of %s", decimals(row->ts.median), row->ts.median,
                   100 * row->ts.median / limit_of(row), is_by_compute(row) ? "dot" : "read");
    put_label(out, (limit > end ? limit : end) + 8, y + 16, "", label);
}

/* ---- Lines ---------------------------------------------------------------------------------------------------------- */

static double x_of(const struct panel *p, double value)
{
    const double low = p->x_log ? log2(p->x_min) : p->x_min;
    const double high = p->x_log ? log2(p->x_max) : p->x_max;
    return PLOT_LEFT + ((p->x_log ? log2(value) : value) - low) / (high - low) * (WIDTH - PLOT_LEFT - PLOT_RIGHT);
}

static double y_of(const struct panel *p, double rate, double y)
{
    return y + PLOT_HEIGHT - rate / p->top * PLOT_HEIGHT;
}

static bool in_series(const struct panel *p, const struct hearth_bench_row *a, const struct hearth_bench_row *b)
{
    for (enum axis axis = OVER_LENGTH; axis <= OVER_BATCH; axis++)
        if (axis != p->axis && value_on(a, axis) != value_on(b, axis))
            return false;
    return true;
}

/* Whether row i is the first of its line, and which line that is. */
static bool begins_series(const struct panel *p, size_t i, size_t *series)
{
    *series = 0;
    for (size_t k = 0; k < i; k++) {
        size_t first = 0;
        while (!in_series(p, p->rows[first], p->rows[k]))
            first++;
        if (in_series(p, p->rows[k], p->rows[i]))
            return false;
        *series += first == k;
    }
    return true;
}

static size_t count_series(const struct panel *p)
{
    size_t n = 0;
    size_t series;
    for (size_t i = 0; i < p->n; i++)
        n += begins_series(p, i, &series);
    return n;
}

static void series_name(const struct panel *p, const struct hearth_bench_row *row, char *out, size_t capacity)
{
    size_t n = 0;
    out[0] = '\0';
    if (p->axis != OVER_LENGTH)
        n += (size_t)snprintf(out, capacity, "%s%" PRIu32 " ", p->prompts ? "pp" : "tg", row->n_prompt + row->n_gen);
    if (p->axis != OVER_DEPTH && row->depth && n < capacity)
        n += (size_t)snprintf(out + n, capacity - n, "depth %" PRIu32 " ", row->depth);
    if (p->axis != OVER_BATCH && p->prompts && n < capacity)
        (void)snprintf(out + n, capacity - n, "batch %" PRIu32, row->batch);
}

/* Filled, and hollow for those whose colour is there already. */
static void put_dot(FILE *out, size_t series, double x, double y)
{
    (void)fprintf(out, "<circle class=\"%c%zu%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"4.5\"/>\n", series < COLOURS ? 'f' : 's',
                  series % COLOURS, series < COLOURS ? "" : " back", x, y);
}

static void put_line(FILE *out, const struct panel *p, const struct hearth_bench_row *row, size_t series, double y, bool limit)
{
    (void)fprintf(out, "<polyline class=\"%s s%zu\" points=\"", limit ? "dash" : "line", series % COLOURS);
    for (size_t i = 0; i < p->n; i++)
        if (in_series(p, row, p->rows[i]))
            (void)fprintf(out, "%.1f,%.1f ", x_of(p, value_on(p->rows[i], p->axis)),
                          y_of(p, limit ? limit_of(p->rows[i]) : p->rows[i]->ts.median, y));
    (void)fputs("\"/>\n", out);
    for (size_t i = 0; i < p->n && !limit; i++)
        if (in_series(p, row, p->rows[i]))
            put_dot(out, series, x_of(p, value_on(p->rows[i], p->axis)), y_of(p, p->rows[i]->ts.median, y));
}

static void put_axes(FILE *out, const struct panel *p, double y)
{
    char label[32];
    double last = -100;
    const double step = nice_step(p->top);
    for (double rate = 0; rate <= p->top; rate += step) {
        (void)fprintf(out, "<line class=\"grid\" x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\"/>\n", PLOT_LEFT, y_of(p, rate, y),
                      WIDTH - PLOT_RIGHT, y_of(p, rate, y));
        (void)snprintf(label, sizeof label, "%.6g", rate);
        put_label(out, PLOT_LEFT - 8, y_of(p, rate, y) + 4, "class=\"small\" text-anchor=\"end\"", label);
    }
    for (size_t i = 0; i < p->n; i++) {
        const double x = x_of(p, value_on(p->rows[i], p->axis));
        if (!in_series(p, p->rows[0], p->rows[i]) || fabs(x - last) < 45)
            continue;
        (void)snprintf(label, sizeof label, "%.0f", value_on(p->rows[i], p->axis));
        put_label(out, x, y + PLOT_HEIGHT + 18, "class=\"small\" text-anchor=\"middle\"", label);
        last = x;
    }
    put_label(out, WIDTH - PLOT_RIGHT, y + PLOT_HEIGHT + 34, "class=\"small\" text-anchor=\"end\"", axis_names[p->axis]);
}

static double put_lines(FILE *out, const struct panel *p, double y)
{
    char name[64];
    size_t series;
    const size_t legend_rows = (count_series(p) + LEGEND_COLUMNS - 1) / LEGEND_COLUMNS;
    const double top = y + 20.0 * (double)legend_rows + 6;
    put_axes(out, p, top);
    for (size_t i = 0; i < p->n; i++) {
        if (!begins_series(p, i, &series))
            continue;
        put_line(out, p, p->rows[i], series, top, true);
        put_line(out, p, p->rows[i], series, top, false);
        const double x = PLOT_LEFT + (double)(series % LEGEND_COLUMNS) * (WIDTH - PLOT_LEFT) / LEGEND_COLUMNS;
        const double line = y + 20.0 * (double)(series / LEGEND_COLUMNS) + 4;
        series_name(p, p->rows[i], name, sizeof name);
        put_dot(out, series, x + 5, line - 4);
        put_label(out, x + 16, line, "", name);
    }
    return top + PLOT_HEIGHT + 50;
}

/* ---- Panels --------------------------------------------------------------------------------------------------------- */

static size_t count_values(const struct panel *p, enum axis axis)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++) {
        size_t k = 0;
        while (k < i && value_on(p->rows[k], axis) != value_on(p->rows[i], axis))
            k++;
        n += k == i;
    }
    return n;
}

/* Along the axis, so that a line goes from left to right however its list was written; rows at one place keep their order. */
static void sort_rows(struct panel *p)
{
    for (size_t i = 1; i < p->n; i++) {
        const struct hearth_bench_row *row = p->rows[i];
        size_t at = i;
        for (; at > 0 && value_on(p->rows[at - 1], p->axis) > value_on(row, p->axis); at--)
            p->rows[at] = p->rows[at - 1];
        p->rows[at] = row;
    }
}

static void choose_axis(struct panel *p)
{
    size_t most = 2;
    for (enum axis axis = OVER_LENGTH; axis <= OVER_BATCH; axis++) {
        const size_t n = count_values(p, axis);
        if (n > most) {
            most = n;
            p->axis = axis;
        }
    }
    sort_rows(p);
    p->x_min = p->x_max = value_on(p->rows[0], p->axis);
    for (size_t i = 0; i < p->n; i++) {
        const double x = value_on(p->rows[i], p->axis);
        const double limit = limit_of(p->rows[i]);
        p->x_min = x < p->x_min ? x : p->x_min;
        p->x_max = x > p->x_max ? x : p->x_max;
        p->top = limit > p->top ? limit : p->top;
        p->top = p->rows[i]->ts.median > p->top ? p->rows[i]->ts.median : p->top;
    }
    p->x_log = p->x_min > 0 && p->x_max / p->x_min >= 8;
}

/* Draw the panel from y downwards; returns where it ends. */
static double put_panel(FILE *out, struct panel *p, double y)
{
    if (p->n == 0)
        return y;
    choose_axis(p);
    put_label(out, 20, y + 16, "class=\"head\"", p->prompts ? "Reading a prompt, tokens/s" : "Answering, tokens/s");
    put_label(out, WIDTH - 20, y + 16, "class=\"small\" text-anchor=\"end\"",
              p->axis ? "dashed: the nearer limit, by the probes of the run" : "red: the nearer limit, by the probes of the run");
    y += 34;
    if (p->axis)
        return put_lines(out, p, y + 8);
    for (size_t i = 0; i < p->n; i++, y += BAR)
        put_bar(out, p, p->rows[i], y);
    return y + 20;
}

static double put_head(FILE *out, const struct options *o, const hearth_engine *engine, const struct hearth_bench_result *r)
{
    char line[256];
    char size[TEXT_BYTES_MAX];
    (void)snprintf(line, sizeof line, "%s%s%s, %s", r->model_name, o->shape ? " " : "", o->shape ? o->quant : "",
                   text_bytes(size, r->model_bytes));
    put_label(out, 20, 32, "class=\"title\"", line);
    (void)snprintf(line, sizeof line, "%s, %s kernels, %" PRIu32 " threads; median of %" PRIu32 ", hearth %s", r->cpu,
                   hearth_engine_cpu_level(engine), hearth_engine_threads(engine), o->repeats, hearth_version());
    put_label(out, 20, 54, "class=\"small\"", line);
    (void)snprintf(line, sizeof line, "read %.1f GB/s, integer dot %.0f GMAC/s, f32 %.0f GMAC/s; %s: the probes differ by %.0f %%",
                   r->read.median / 1e9, r->dot.median / 1e9, r->fma.median / 1e9,
                   r->noise > HEARTH_BENCH_NOISE ? "a noisy run" : "a quiet run", 100 * r->noise);
    put_label(out, 20, 72, "class=\"small\"", line);
    return 92;
}

/* Everything between the frame's two tags; returns its height. */
static double put_body(FILE *out, const struct options *o, const hearth_engine *engine, const struct hearth_bench_result *r,
                       const struct hearth_bench_row **rows)
{
    struct panel prompts = {.rows = rows, .prompts = true};
    for (size_t i = 0; i < r->n_rows; i++) {
        rows[i] = &r->rows[i];
        prompts.n += r->rows[i].n_prompt > 0; /* they stand first */
    }
    struct panel generations = {.rows = rows + prompts.n, .n = r->n_rows - prompts.n};
    double y = put_head(out, o, engine, r);
    y = put_panel(out, &prompts, y);
    return put_panel(out, &generations, y);
}

/* The frame needs the height, which is known when the body has been made. */
static hearth_status write_picture(const struct target *target, const char *body, size_t body_bytes, double height,
                                   hearth_error *error)
{
    char frame[256];
    const int n = snprintf(frame, sizeof frame,
                           "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%.0f\" viewBox=\"0 0 %d %.0f\">\n",
                           WIDTH, height, WIDTH, height);
    static const char back[] = "<rect class=\"back\" width=\"100%\" height=\"100%\"/>\n";
    static const char end[] = "</svg>\n";
    HEARTH_TRY(process_write_all(target->fd, frame, (size_t)n, target->name, error));
    HEARTH_TRY(process_write_all(target->fd, style, sizeof style - 1, target->name, error));
    HEARTH_TRY(process_write_all(target->fd, back, sizeof back - 1, target->name, error));
    HEARTH_TRY(process_write_all(target->fd, body, body_bytes, target->name, error));
    return process_write_all(target->fd, end, sizeof end - 1, target->name, error);
}

hearth_status bench_chart_write(const struct target *target, const struct options *options, const hearth_engine *engine,
                                const struct hearth_bench_result *result, hearth_error *error)
{
    char *body = NULL;
    size_t body_bytes = 0;
    double height = 0;
    const struct hearth_bench_row **rows = malloc(result->n_rows * sizeof *rows);
    FILE *out = rows ? open_memstream(&body, &body_bytes) : NULL;
    if (out)
        height = put_body(out, options, engine, result, rows);
    const bool made = out && !ferror(out);
    const bool closed = out && fclose(out) == 0;
    const hearth_status status =
        made && closed ? write_picture(target, body, body_bytes, height, error) : report_no_memory(error, "the picture");
    free(body);
    free(rows);
    return status;
}
