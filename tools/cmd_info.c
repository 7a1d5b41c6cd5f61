/* hearth info: what a file holds, and what this machine would do with it. Reads the header alone, so it answers at once for any
 * size, and works on files without tensors and on architectures that Hearth does not run. */
#include "commands.h"
#include "common/status.h"
#include "cpu.h"
#include "hparams.h"
#include "kernels.h"
#include "options.h"
#include "output.h"
#include "parts.h"
#include "report.h"
#include "text.h"
#include "vocab.h"
#include <stdlib.h>

static const struct argp_option table[] = {OPTION_MODEL, OPTION_THREADS, OPTION_FLOAT_GEMM, OPTION_JSON, OPTION_QUIET, OPTION_HELP,
                                           {0}};

const struct options_command command_info = {"hearth info", "Header, tensors by type, tokenizer, CPU, chosen kernels, threads.",
                                             table};

static const char *const op_names[HEARTH_OP_COUNT] = {
    [HEARTH_OP_MATMUL] = "matmul",
    [HEARTH_OP_DEQUANTIZE] = "dequantize",
    [HEARTH_OP_QUANTIZE_Q8_32] = "quantize_q8_32",
    [HEARTH_OP_QUANTIZE_Q8_256] = "quantize_q8_256",
    [HEARTH_OP_QUANTIZE_Q8_0] = "quantize_q8_0",
    [HEARTH_OP_RMS_NORM] = "rms_norm",
    [HEARTH_OP_LAYER_NORM] = "layer_norm",
    [HEARTH_OP_ROPE] = "rope",
    [HEARTH_OP_ROPE_NEOX] = "rope_neox",
    [HEARTH_OP_SILU_MUL] = "silu_mul",
    [HEARTH_OP_GELU] = "gelu",
    [HEARTH_OP_GELU_MUL] = "gelu_mul",
    [HEARTH_OP_SOFTCAP] = "softcap",
    [HEARTH_OP_ADD] = "add",
    [HEARTH_OP_SOFTMAX] = "softmax",
    [HEARTH_OP_EXP] = "exp",
    [HEARTH_OP_TO_F16] = "to_f16",
    [HEARTH_OP_ATTENTION] = "attention",
    [HEARTH_OP_ATTENTION_MERGE] = "attention_merge",
};

struct type_count {
    uint64_t tensors, bytes;
};

/* What is known of the file; parts that Hearth cannot use are absent, and `unsupported` says why. */
struct facts {
    const char *path;
    struct hearth_parts parts;
    const struct hearth_gguf *gguf; /* of all parts */
    struct hearth_hparams hparams;
    struct hearth_vocab vocab;
    bool has_hparams, has_vocab;
    struct hearth_view architecture, name;
    uint64_t parameters, weight_bytes;
    struct type_count types[HEARTH_FORMAT_COUNT];
    hearth_error unsupported; /* code HEARTH_OK when the file can be run, or needs no running */
};

/* What is known of the machine. */
struct machine {
    hearth_engine *engine;
    char brand[49];
    enum hearth_cpu_level detected, level;
    struct hearth_kernel_set kernels;
};

/* ---- Finding out -------------------------------------------------------------------------------------------------- */

static void count_tensors(struct facts *facts)
{
    for (uint64_t i = 0; i < facts->gguf->n_tensors; i++) {
        const struct hearth_gguf_tensor *tensor = &facts->gguf->tensors[i];
        uint64_t elements = 1; /* cannot overflow: the parser has checked the bytes they take */
        for (size_t d = 0; d < 4; d++)
            elements *= tensor->ne[d];
        facts->parameters += elements;
        facts->weight_bytes += tensor->bytes;
        facts->types[tensor->format].tensors++;
        facts->types[tensor->format].bytes += tensor->bytes;
    }
}

/* E_UNSUPPORTED is a fact about the file, kept; any other error ends the reading. */
static hearth_status keep_unsupported(struct facts *facts, hearth_status status, bool *has, const hearth_error *error)
{
    *has = status == HEARTH_OK;
    if (status != HEARTH_E_UNSUPPORTED)
        return status;
    if (facts->unsupported.code == HEARTH_OK)
        facts->unsupported = *error;
    return HEARTH_OK;
}

static hearth_status read_facts(struct facts *facts, const char *path, hearth_error *error)
{
    bool found;
    facts->path = path;
    HEARTH_TRY(hearth_parts_open(&facts->parts, path, error));
    facts->gguf = &facts->parts.gguf;
    HEARTH_TRY(hearth_gguf_get_string(facts->gguf, "general.architecture", &facts->architecture, &found, error));
    HEARTH_TRY(hearth_gguf_get_string(facts->gguf, "general.name", &facts->name, &found, error));
    count_tensors(facts);
    if (facts->gguf->n_tensors > 0) {
        const hearth_status status = hearth_hparams_read(&facts->hparams, facts->gguf, error);
        HEARTH_TRY(keep_unsupported(facts, status, &facts->has_hparams, error));
    }
    const hearth_status status =
        hearth_vocab_read(&facts->vocab, facts->gguf, facts->has_hparams ? facts->hparams.n_vocab : 0, report_log, NULL, error);
    return keep_unsupported(facts, status, &facts->has_vocab, error);
}

static void close_facts(struct facts *facts)
{
    hearth_parts_close(&facts->parts);
}

/* Kernels are chosen as the engine chooses them: of the rows that agree with the reference. */
static hearth_status read_machine(struct machine *machine, const struct options *options, hearth_error *error)
{
    HEARTH_TRY(options_open_engine(&machine->engine, options, options->threads, error));
    hearth_cpu_brand(machine->brand);
    machine->detected = hearth_cpu_detect();
    machine->level = machine->detected;
    (void)hearth_cpu_level_parse(&machine->level, hearth_engine_cpu_level(machine->engine));
    bool *refused = calloc(hearth_kernel_count, sizeof *refused);
    if (!refused)
        return report_no_memory(error, "kernels");
    for (size_t i = 0; i < hearth_kernel_count; i++) {
        const struct hearth_kernel *kernel = &hearth_kernels[i];
        refused[i] = kernel->level > machine->level || !hearth_cpu_runs(kernel->level) || !hearth_kernel_selftest(kernel);
    }
    hearth_kernels_choose(&machine->kernels, machine->level, refused);
    free(refused);
    return HEARTH_OK;
}

/* ---- Text --------------------------------------------------------------------------------------------------------- */

static void print_view(const char *label, struct hearth_view view)
{
    (void)printf("  %-14s ", label);
    text_print_quoted(stdout, (const char *)view.bytes, (size_t)view.size);
    (void)putchar('\n');
}

static uint32_t windowed_layers(const struct hearth_hparams *h)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < h->n_layer; i++)
        n += h->windowed[i];
    return n;
}

static void print_model(const struct facts *facts)
{
    char bytes[TEXT_BYTES_MAX], weights[TEXT_BYTES_MAX];
    (void)puts("model");
    (void)printf("  %-14s ", "file");
    text_print_quoted(stdout, facts->path, strlen(facts->path));
    (void)printf(" %s", text_bytes(bytes, facts->gguf->file_size));
    if (facts->parts.n > 1)
        (void)printf(" in %" PRIu32 " parts", facts->parts.n);
    (void)putchar('\n');
    (void)printf("  %-14s version %" PRIu32 ", %" PRIu64 " keys, %" PRIu64 " tensors, alignment %" PRIu64 "\n", "GGUF",
                 facts->gguf->version, facts->gguf->n_pairs, facts->gguf->n_tensors, facts->gguf->alignment);
    print_view("architecture", facts->architecture);
    if (facts->name.size > 0)
        print_view("name", facts->name);
    if (facts->gguf->n_tensors > 0)
        (void)printf("  %-14s %" PRIu64 " (%.1f million), %s\n", "parameters", facts->parameters, (double)facts->parameters * 1e-6,
                     text_bytes(weights, facts->weight_bytes));
    if (facts->has_hparams) {
        const struct hearth_hparams *h = &facts->hparams;
        (void)printf("  %-14s %" PRIu32 " layers of width %" PRIu32 ", feed-forward %" PRIu32 "\n", "shape", h->n_layer, h->n_embd,
                     h->n_ff);
        if (h->n_expert)
            (void)printf("  %-14s %" PRIu32 " of %" PRIu32 " for each token\n", "experts", h->n_expert_used, h->n_expert);
        (void)printf("  %-14s %" PRIu32 " heads of %" PRIu32 ", %" PRIu32 " for keys and values, %" PRIu32 " rotated\n",
                     "attention", h->n_head, h->head_dim, h->n_head_kv, h->n_rot);
        if (h->window)
            (void)printf("  %-14s %" PRIu32 " positions in %" PRIu32 " of the layers%s\n", "window", h->window, windowed_layers(h),
                         h->window_when_asked ? ", with --sliding-window" : "");
        (void)printf("  %-14s %" PRIu32 " positions, base %g\n", "trained", h->n_ctx_train, (double)h->rope_freq_base);
    }
    if (facts->unsupported.code != HEARTH_OK)
        (void)printf("  %-14s %s\n", "not supported", facts->unsupported.message);
}

static void print_types(const struct facts *facts)
{
    if (facts->gguf->n_tensors == 0)
        return;
    (void)puts("tensors");
    for (uint32_t format = 0; format < HEARTH_FORMAT_COUNT; format++) {
        char bytes[TEXT_BYTES_MAX];
        const struct type_count *type = &facts->types[format];
        if (type->tensors > 0)
            (void)printf("  %-14s %6" PRIu64 "  %10s\n", hearth_format_info(format)->name, type->tensors,
                         text_bytes(bytes, type->bytes));
    }
}

static void print_special(const char *label, int32_t id)
{
    if (id != HEARTH_TOKEN_NONE)
        (void)printf(" %s %d", label, id);
}

static void print_vocab(const struct facts *facts)
{
    if (!facts->has_vocab)
        return;
    const struct hearth_vocab *v = &facts->vocab;
    (void)puts("tokenizer");
    print_view("model", v->model_name);
    if (v->pre.size > 0)
        print_view("pre", v->pre);
    (void)printf("  %-14s %" PRIu32 ", %" PRIu64 " bytes of text\n  %-14s", "tokens", v->n_tokens, v->text_bytes, "special");
    print_special("bos", v->bos);
    print_special("eos", v->eos);
    print_special("eot", v->eot);
    print_special("eom", v->eom);
    print_special("unk", v->unk);
    print_special("pad", v->pad);
    (void)printf("\n  %-14s bos %s, eos %s, space %s\n  %-14s %s\n", "added", v->add_bos ? "yes" : "no", v->add_eos ? "yes" : "no",
                 v->add_space_prefix ? "yes" : "no", "chat template", v->chat_template.size > 0 ? "yes" : "no");
}

static void print_kernel(const struct machine *machine, enum hearth_op op, uint32_t format)
{
    const struct hearth_kernel *kernel = machine->kernels.chosen[op][format];
    if (!kernel)
        return;
    const char *name = hearth_op_has_format(op) ? hearth_format_info(format)->name : "";
    (void)printf("  %-16s %-7s %s%s%s\n", op_names[op], name, kernel->name, kernel->level == machine->level ? "" : ", missing for ",
                 kernel->level == machine->level ? "" : hearth_cpu_level_name(machine->level));
}

static void print_machine(const struct machine *machine)
{
    (void)printf("machine\n  %-14s %s\n  %-14s %s (this CPU has %s)\n  %-14s %s\n", "CPU", machine->brand, "level",
                 hearth_cpu_level_name(machine->level), hearth_cpu_level_name(machine->detected), "threads",
                 hearth_engine_summary(machine->engine));
    (void)puts("kernels");
    for (int op = 0; op < HEARTH_OP_COUNT; op++)
        for (uint32_t format = 0; format < HEARTH_FORMAT_COUNT; format++)
            print_kernel(machine, (enum hearth_op)op, format);
}

static int print_text(const struct facts *facts, const struct machine *machine)
{
    print_model(facts);
    print_types(facts);
    print_vocab(facts);
    print_machine(machine);
    return report_finish_output();
}

/* ---- JSON --------------------------------------------------------------------------------------------------------- */

static json_t *json_string_of(const char *text)
{
    return output_text(text, strlen(text));
}

static json_t *json_view(struct hearth_view view)
{
    return output_text((const char *)view.bytes, (size_t)view.size);
}

static json_t *json_types(const struct facts *facts)
{
    json_t *types = json_array();
    for (uint32_t format = 0; format < HEARTH_FORMAT_COUNT; format++)
        if (facts->types[format].tensors > 0)
            output_append(types,
                          json_pack("{s:s, s:I, s:I}", "type", hearth_format_info(format)->name, "count",
                                    (json_int_t)facts->types[format].tensors, "bytes", (json_int_t)facts->types[format].bytes));
    return types;
}

static json_t *json_hparams(const struct hearth_hparams *h)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f}", "n_vocab", (json_int_t)h->n_vocab,
                     "n_layer", (json_int_t)h->n_layer, "n_embd", (json_int_t)h->n_embd, "n_ff", (json_int_t)h->n_ff, "n_expert",
                     (json_int_t)h->n_expert, "n_expert_used", (json_int_t)h->n_expert_used, "n_head", (json_int_t)h->n_head,
                     "n_head_kv", (json_int_t)h->n_head_kv, "head_dim", (json_int_t)h->head_dim, "n_rot", (json_int_t)h->n_rot,
                     "n_ctx_train", (json_int_t)h->n_ctx_train, "window", (json_int_t)h->window, "norm_eps", (double)h->norm_eps,
                     "rope_freq_base", (double)h->rope_freq_base);
}

static json_t *json_vocab(const struct hearth_vocab *v)
{
    return json_pack("{s:o, s:o, s:I, s:i, s:i, s:i, s:i, s:i, s:i, s:b, s:b, s:b, s:b}", "model", json_view(v->model_name), "pre",
                     json_view(v->pre), "n_tokens", (json_int_t)v->n_tokens, "bos", v->bos, "eos", v->eos, "eot", v->eot, "eom",
                     v->eom, "unk", v->unk, "pad", v->pad, "add_bos", v->add_bos, "add_eos", v->add_eos, "add_space_prefix",
                     v->add_space_prefix, "chat_template", v->chat_template.size > 0);
}

static json_t *json_kernels(const struct machine *machine)
{
    json_t *kernels = json_array();
    for (int op = 0; op < HEARTH_OP_COUNT; op++)
        for (uint32_t format = 0; format < HEARTH_FORMAT_COUNT; format++) {
            const struct hearth_kernel *kernel = machine->kernels.chosen[op][format];
            if (!kernel)
                continue;
            json_t *row = json_pack("{s:s, s:s, s:s, s:b}", "op", op_names[op], "kernel", kernel->name, "level",
                                    hearth_cpu_level_name(kernel->level), "missing", kernel->level != machine->level);
            output_set(row, "format",
                       hearth_op_has_format((enum hearth_op)op) ? json_string(hearth_format_info(format)->name) : json_null());
            output_append(kernels, row);
        }
    return kernels;
}

static int print_json(const struct facts *facts, const struct machine *machine)
{
    json_t *root = json_pack("{s:o, s:I, s:i, s:I, s:I, s:I, s:o, s:o, s:I, s:I, s:o}", "file", json_string_of(facts->path),
                             "file_bytes", (json_int_t)facts->gguf->file_size, "gguf_version", (int)facts->gguf->version, "n_keys",
                             (json_int_t)facts->gguf->n_pairs, "n_tensors", (json_int_t)facts->gguf->n_tensors, "alignment",
                             (json_int_t)facts->gguf->alignment, "architecture", json_view(facts->architecture), "name",
                             json_view(facts->name), "parameters", (json_int_t)facts->parameters, "weight_bytes",
                             (json_int_t)facts->weight_bytes, "tensors", json_types(facts));
    output_set(root, "hparams", facts->has_hparams ? json_hparams(&facts->hparams) : json_null());
    output_set(root, "tokenizer", facts->has_vocab ? json_vocab(&facts->vocab) : json_null());
    output_set(root, "unsupported",
               facts->unsupported.code != HEARTH_OK ? json_string_of(facts->unsupported.message) : json_null());
    output_set(root, "cpu", json_string_of(machine->brand));
    output_set(root, "cpu_level", json_string(hearth_cpu_level_name(machine->level)));
    output_set(root, "cpu_level_detected", json_string(hearth_cpu_level_name(machine->detected)));
    output_set(root, "n_threads", json_integer(hearth_engine_threads(machine->engine)));
    output_set(root, "threads", json_string_of(hearth_engine_summary(machine->engine)));
    output_set(root, "kernels", json_kernels(machine));
    return output_json(root, JSON_INDENT(2));
}

int cmd_info(int argc, char **argv)
{
    struct options options;
    int exit_code;
    if (!options_parse(&options, &exit_code, &command_info, argc, argv))
        return exit_code;
    hearth_error error = {0};
    struct facts facts = {0};
    struct machine machine = {0};
    hearth_status status = read_facts(&facts, options.model, &error);
    if (status == HEARTH_OK)
        status = read_machine(&machine, &options, &error);
    if (status != HEARTH_OK) {
        exit_code = report_error(&error);
    } else {
        exit_code = options.json ? print_json(&facts, &machine) : print_text(&facts, &machine);
        if (exit_code == 0 && facts.unsupported.code != HEARTH_OK)
            exit_code = report_error(&facts.unsupported); /* scripts learn by the code that it cannot be run */
        report_release_log();
    }
    hearth_engine_close(machine.engine);
    close_facts(&facts);
    return exit_code;
}
