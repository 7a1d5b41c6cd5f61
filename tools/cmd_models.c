/* hearth models: the models that -m finds by name, or those of a folder, and whether they fit. Reads headers alone. A file that
 * cannot be used is a line like others: the list is of what is there. */
#include "commands.h"
#include "common/status.h"
#include "hparams.h"
#include "options.h"
#include "output.h"
#include "parts.h"
#include "places.h"
#include "recipe.h"
#include "report.h"
#include "text.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

static const struct argp_option table[] = {
    OPTION_OPERANDS("[DIR...]", "list these folders in place of those where -m looks"),
    OPTION_CONTEXT,
    OPTION_BATCH,
    OPTION_THREADS,
    OPTION_KV,
    OPTION_RAM_CAP,
    OPTION_JSON,
    OPTION_QUIET,
    OPTION_HELP,
    {0},
};

const struct options_command command_models = {"hearth models", "The models that -m finds by name, and whether they fit.", table};

/* Folders that were listed already: $HEARTH_MODELS may name one again. */
enum { FOLDERS_MAX = 64 };

struct listed {
    char name[PLACES_NAME_MAX], path[PLACES_PATH_MAX];
    char architecture[HEARTH_QUOTE_MAX];
    const char *quant;
    uint64_t bytes, parameters, trained_context;
    uint64_t plan_bytes, cap_bytes;
    uint32_t context;   /* 0: there is no plan */
    hearth_error error; /* why it cannot be used, or does not fit; code HEARTH_OK: it can */
};

struct list {
    const struct options *options;
    hearth_engine *engine;
    struct listed *models;
    size_t n, capacity;
    struct {
        dev_t device;
        ino_t inode;
    } folders[FOLDERS_MAX];
    size_t n_folders;
};

/* ---- One model ------------------------------------------------------------------------------------------------------- */

/* The recipe that the file names, else the format that most bytes have. */
static const char *quant_of(const struct hearth_gguf *gguf)
{
    uint64_t bytes[HEARTH_FORMAT_COUNT] = {0}, file_type;
    bool found = false;
    hearth_error unused;
    uint32_t most = 0;
    if (hearth_gguf_get_u64(gguf, "general.file_type", &file_type, &found, &unused) == HEARTH_OK && found &&
        hearth_recipe_of_file_type(file_type))
        return hearth_recipe_of_file_type(file_type);
    for (uint64_t i = 0; i < gguf->n_tensors; i++)
        bytes[gguf->tensors[i].format] += gguf->tensors[i].bytes;
    for (uint32_t format = 0; format < HEARTH_FORMAT_COUNT; format++)
        if (bytes[format] > bytes[most])
            most = format;
    return bytes[most] ? hearth_format_info(most)->name : NULL;
}

static hearth_status read_header(struct listed *model, const struct hearth_gguf *gguf, hearth_error *error)
{
    struct hearth_view architecture = {0};
    struct hearth_hparams hparams;
    bool found;
    for (uint64_t i = 0; i < gguf->n_tensors; i++) {
        const uint64_t *ne = gguf->tensors[i].ne;
        model->parameters += ne[0] * ne[1] * ne[2] * ne[3]; /* cannot overflow: the parser has checked the bytes they take */
    }
    model->bytes = gguf->file_size;
    model->quant = quant_of(gguf);
    HEARTH_TRY(hearth_gguf_get_string(gguf, "general.architecture", &architecture, &found, error));
    (void)hearth_quote(model->architecture, (const char *)architecture.bytes, (size_t)architecture.size);
    HEARTH_TRY(hearth_hparams_read(&hparams, gguf, error));
    model->trained_context = hparams.n_ctx_train;
    return HEARTH_OK;
}

static hearth_status make_plan(struct listed *model, const struct list *list, hearth_error *error)
{
    const hearth_limits limits = options_limits(list->options);
    hearth_plan *plan;
    HEARTH_TRY(hearth_plan_open(&plan, list->engine, model->path, &limits, error));
    model->plan_bytes = hearth_plan_private_bytes(plan);
    model->cap_bytes = hearth_plan_cap_bytes(plan);
    model->context = hearth_plan_context(plan);
    const hearth_status status = hearth_plan_check(plan, error);
    hearth_plan_close(plan);
    return status;
}

static void look_at(struct listed *model, const struct list *list)
{
    struct hearth_parts parts = {0};
    hearth_status status = hearth_parts_open(&parts, model->path, &model->error);
    if (status == HEARTH_OK)
        status = read_header(model, &parts.gguf, &model->error);
    hearth_parts_close(&parts);
    if (status == HEARTH_OK)
        status = make_plan(model, list, &model->error);
    model->error.code = status;
}

/* ---- Folders --------------------------------------------------------------------------------------------------------- */

static hearth_status add(struct list *list, const char *folder, const char *file, hearth_error *error)
{
    if (list->n == list->capacity) {
        const size_t capacity = 2 * list->capacity + 8;
        struct listed *more = reallocarray(list->models, capacity, sizeof *more);
        if (!more)
            return report_no_memory(error, "list of models");
        list->models = more;
        list->capacity = capacity;
    }
    struct listed *model = &list->models[list->n];
    memset(model, 0, sizeof *model);
    const int n = snprintf(model->path, sizeof model->path, "%s/%s", folder, file);
    if (n > 0 && (size_t)n < sizeof model->path && places_model_name(model->name, file)) {
        look_at(model, list);
        list->n++;
    }
    return HEARTH_OK;
}

static bool is_new(struct list *list, const char *folder)
{
    struct stat found;
    if (stat(folder, &found) != 0)
        return true; /* whoever opens it will say */
    for (size_t i = 0; i < list->n_folders; i++)
        if (list->folders[i].device == found.st_dev && list->folders[i].inode == found.st_ino)
            return false;
    if (list->n_folders < FOLDERS_MAX) {
        list->folders[list->n_folders].device = found.st_dev;
        list->folders[list->n_folders++].inode = found.st_ino;
    }
    return true;
}

static int is_model(const struct dirent *entry)
{
    char name[PLACES_NAME_MAX];
    return places_model_name(name, entry->d_name);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* needed: a folder that is not there is an error. */
static hearth_status list_folder(struct list *list, const char *folder, bool needed, hearth_error *error)
{
    struct dirent **entries;
    hearth_status status = HEARTH_OK;
    if (!is_new(list, folder))
        return HEARTH_OK;
    const int n = scandir(folder, &entries, is_model, by_name);
    if (n < 0)
        return needed ? report_errno(error, folder, "open") : HEARTH_OK;
    for (int i = 0; i < n; i++) {
        if (status == HEARTH_OK)
            status = add(list, folder, entries[i]->d_name, error);
        free(entries[i]);
    }
    free(entries);
    return status;
}

static hearth_status list_all(struct list *list, hearth_error *error)
{
    const struct options *o = list->options;
    char folder[PLACES_PATH_MAX];
    HEARTH_TRY(options_open_engine(&list->engine, o, o->threads, error));
    for (size_t i = 0; i < o->n_operands; i++)
        HEARTH_TRY(list_folder(list, o->operands[i], true, error));
    for (size_t i = 0; o->n_operands == 0 && places_models(folder, i); i++)
        HEARTH_TRY(list_folder(list, folder, false, error));
    return HEARTH_OK;
}

/* ---- Telling --------------------------------------------------------------------------------------------------------- */

static const char *parameters_text(char out[16], uint64_t n)
{
    if (n >= 1000000000)
        (void)snprintf(out, 16, "%.1f B", (double)n * 1e-9);
    else
        (void)snprintf(out, 16, "%.1f M", (double)n * 1e-6);
    return out;
}

static void print_row(const struct listed *model, int width)
{
    char name[HEARTH_QUOTE_MAX], parameters[16], bytes[TEXT_BYTES_MAX], plan[TEXT_BYTES_MAX];
    (void)printf("%-*s ", width, hearth_quote(name, model->name, strlen(model->name)));
    if (model->context == 0) {
        (void)printf(" %s\n", model->error.message);
        return;
    }
    (void)printf(" %-9s %8s  %-7s %10s %8" PRIu64 " %10s  %s\n", model->architecture,
                 parameters_text(parameters, model->parameters), model->quant ? model->quant : "-", text_bytes(bytes, model->bytes),
                 model->trained_context, text_bytes(plan, model->plan_bytes),
                 model->error.code == HEARTH_OK ? "fits" : "does not fit");
}

static int print_table(const struct list *list)
{
    char name[HEARTH_QUOTE_MAX];
    int width = 4;
    for (size_t i = 0; i < list->n; i++) {
        const int n = (int)strlen(hearth_quote(name, list->models[i].name, strlen(list->models[i].name)));
        width = n > width ? n : width;
    }
    if (list->n > 0)
        (void)printf("%-*s  %-9s %8s  %-7s %10s %8s %10s\n", width, "NAME", "ARCH", "PARAMS", "QUANT", "SIZE", "CONTEXT", "PLAN");
    for (size_t i = 0; i < list->n; i++)
        print_row(&list->models[i], width);
    if (list->n == 0)
        report_note("no models there (see hearth models --help)");
    return report_finish_output();
}

static json_t *json_model(const struct listed *model)
{
    const bool planned = model->context > 0;
    json_t *row =
        json_pack("{s:o, s:o, s:o, s:I, s:I, s:I}", "name", output_text(model->name, strlen(model->name)), "path",
                  output_text(model->path, strlen(model->path)), "architecture",
                  output_text(model->architecture, strlen(model->architecture)), "parameters", (json_int_t)model->parameters,
                  "bytes", (json_int_t)model->bytes, "trained_context", (json_int_t)model->trained_context);
    output_set(row, "quant", model->quant ? json_string(model->quant) : json_null());
    output_set(row, "context", planned ? json_integer(model->context) : json_null());
    output_set(row, "plan_bytes", planned ? json_integer((json_int_t)model->plan_bytes) : json_null());
    output_set(row, "cap_bytes", planned ? json_integer((json_int_t)model->cap_bytes) : json_null());
    output_set(row, "fits", json_boolean(model->error.code == HEARTH_OK));
    output_set(row, "error",
               model->error.code == HEARTH_OK ? json_null() : output_text(model->error.message, strlen(model->error.message)));
    return row;
}

static int print_json(const struct list *list)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < list->n; i++)
        output_append(rows, json_model(&list->models[i]));
    return output_json(rows, JSON_INDENT(2));
}

int cmd_models(int argc, char **argv)
{
    struct options options;
    int exit_code;
    if (!options_parse(&options, &exit_code, &command_models, argc, argv))
        return exit_code;
    struct list list = {.options = &options};
    hearth_error error = {0};
    if (list_all(&list, &error) != HEARTH_OK)
        exit_code = report_error(&error);
    else
        exit_code = (options.json ? print_json : print_table)(&list);
    hearth_engine_close(list.engine);
    free(list.models);
    return exit_code;
}
