/* The table of bounds, as SECURITY.md has it (tests/tools/bounds.sh compares), or as JSON. */
#include "bounds.h"
#include "common/limits.h"
#include "common/status.h"
#include "output.h"
#include "report.h"
#include <string.h>

static const struct {
    const char *name; /* for scripts */
    uint64_t most;
    const char *what, *unit;
} limits[] = {
    {"model.parts", HEARTH_PARTS_MAX, "parts of a split model file", "files"},
    {"model.pairs", HEARTH_PAIRS_MAX, "metadata of a model file", "pairs"},
    {"model.tensors", HEARTH_TENSORS_MAX, "tensors of a model file", "tensors"},
    {"model.key", HEARTH_KEY_MAX, "a key", "bytes"},
    {"model.tensor_name", HEARTH_TENSOR_NAME_MAX, "a tensor's name", "bytes"},
    {"model.header", HEARTH_HEADER_MAX, "a header: all pairs and the directory of tensors", "bytes"},
    {"model.string", HEARTH_STRING_MAX, "a string, and never more than the file has", "bytes"},
    {"model.array", HEARTH_ARRAY_MAX, "an array, and never more than the file has", "elements"},
    {"model.alignment", HEARTH_ALIGNMENT_MAX, "alignment of tensors", "bytes"},
    {"model.layers", HEARTH_LAYERS_MAX, "layers", "layers"},
    {"model.vocabulary", HEARTH_VOCAB_MAX, "vocabulary", "tokens"},
    {"session.context", HEARTH_CONTEXT_MAX, "context", "positions"},
    {"session.batch", HEARTH_BATCH_MAX, "tokens computed together", "tokens"},
    {"template.source", HEARTH_TEMPLATE_SOURCE_MAX, "source of a chat template", "bytes"},
    {"template.nesting", HEARTH_TEMPLATE_NESTING_MAX, "things inside each other in it", "levels"},
    {"template.depth", HEARTH_TEMPLATE_DEPTH_MAX, "the same while it runs", "levels"},
    {"template.steps", HEARTH_TEMPLATE_STEPS_MAX, "what it does for one prompt", "steps"},
    {"template.output", HEARTH_TEMPLATE_OUTPUT_MAX, "what it writes", "bytes"},
    {"template.memory", HEARTH_TEMPLATE_MEMORY, "memory it takes", "bytes"},
    {"grammar.file", HEARTH_GRAMMAR_FILE_MAX, "file of a grammar or JSON schema, for the program", "bytes"},
    {"grammar.text", HEARTH_GRAMMAR_TEXT_MAX, "text of a grammar", "bytes"},
    {"grammar.rules", HEARTH_GRAMMAR_RULES_MAX, "its rules", "rules"},
    {"grammar.operations", HEARTH_GRAMMAR_OPS_MAX, "the program made of it", "operations"},
    {"grammar.repetitions", HEARTH_GRAMMAR_REPEAT_MAX, "counted repetitions", "times"},
    {"grammar.nesting", HEARTH_GRAMMAR_NESTING_MAX, "parentheses inside each other", "levels"},
    {"grammar.depth", HEARTH_GRAMMAR_DEPTH_MAX, "rules inside each other while matching", "levels"},
    {"schema.depth", HEARTH_SCHEMA_DEPTH_MAX, "JSON schemas inside each other", "levels"},
};
enum { LIMITS = sizeof limits / sizeof limits[0], DIGITS_BYTES = 32 };

/* With commas between groups of three digits; returns where in `out` it begins. */
static const char *grouped(char out[DIGITS_BYTES], uint64_t n)
{
    char *at = out + DIGITS_BYTES - 1;
    *at = '\0';
    for (int digits = 0; n > 0 || digits == 0; digits++, n /= 10) {
        if (digits > 0 && digits % 3 == 0)
            *--at = ',';
        *--at = (char)('0' + n % 10);
    }
    return at;
}

static int print_table(void)
{
    (void)printf("| %-49s | %24s |\n|%.51s|%.25s:|\n", "what", "at most", "---------------------------------------------------",
                 "-------------------------");
    for (size_t i = 0; i < LIMITS; i++) {
        char digits[DIGITS_BYTES];
        (void)printf("| %-49s | %13s %-10s |\n", limits[i].what, grouped(digits, limits[i].most), limits[i].unit);
    }
    return report_finish_output();
}

static int print_json(void)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < LIMITS; i++)
        output_append(rows, json_pack("{s:s, s:s, s:I, s:s}", "name", limits[i].name, "what", limits[i].what, "at_most",
                                      (json_int_t)limits[i].most, "unit", limits[i].unit));
    return output_json(json_pack("{s:o}", "limits", rows), JSON_INDENT(2));
}

int bounds_show(int argc, char **argv)
{
    if (argc == 2)
        return print_table();
    if (argc == 3 && strcmp(argv[2], "--json") == 0)
        return print_json();
    char quoted[HEARTH_QUOTE_MAX];
    return report_usage("--limits: takes --json and nothing else (got '%s')",
                        hearth_quote(quoted, argv[argc - 1], strlen(argv[argc - 1])));
}
