/* Chat templates: read and rendered with a conversation of everything; whatever the answer, it is a text or one printable line. The
 * template; after a NUL byte, JSON in place of that conversation. */
#include "template/template.h"
#include "driver/fuzz.h"
#include "support/golden.h"
#include "template/json.h"
#include <glob.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY ((size_t)8 << 20)

static void *memory;

static const char variables[] =
    "{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\", \"add_generation_prompt\": true, \"a\": 1, \"b\": 2.5, \"s\": "
    "\"H\\u00e9llo\","
    "\"l\": [3, 1, 2], \"m\": {\"x\": 1, \"y\": {\"z\": \"deep\"}}, \"n\": null, \"tools\": [{\"type\": \"function\", \"function\":"
    "{\"name\": \"f\", \"description\": \"d\", \"parameters\": {\"type\": \"object\", \"properties\": {\"x\": {\"type\": "
    "\"string\"}},"
    "\"required\": [\"x\"]}}}], \"messages\": [{\"role\": \"system\", \"content\": \"Be brief.\"}, {\"role\": \"user\", "
    "\"content\":"
    "\" Hi <|im_end|> \\n\"}, {\"role\": \"assistant\", \"content\": \"<think>x</think>yo\", \"tool_calls\": [{\"type\": "
    "\"function\","
    "\"id\": \"1\", \"function\": {\"name\": \"f\", \"arguments\": {\"x\": \"1\"}}}]}, {\"role\": \"tool\", \"content\": \"ok\"},"
    "{\"role\": \"user\", \"content\": \"and?\"}]}";

static const char *const words[] = {"{{",
                                    "}}",
                                    "{%",
                                    "%}",
                                    "{#",
                                    "#}",
                                    "-%}",
                                    "{%-",
                                    "{% for x in l %}",
                                    "{% endfor %}",
                                    "{% if a %}",
                                    "{% endif %}",
                                    "{% else %}",
                                    "{% macro m(a, b=1) %}",
                                    "{% endmacro %}",
                                    "{{ m(1) }}",
                                    "{% set x %}",
                                    "{% endset %}",
                                    "{% set ns = namespace(a=[]) %}",
                                    "{% set ns.a = ns.a + [ns] %}",
                                    "{% break %}",
                                    "{% filter upper %}",
                                    "{% endfilter %}",
                                    "{% raw %}",
                                    "|tojson(indent=2)",
                                    "|d",
                                    "|length",
                                    "|list",
                                    "|sort",
                                    "|map(attribute='x')",
                                    "|selectattr('x', 'defined')",
                                    "|from_json",
                                    "|indent",
                                    "|join(s)",
                                    "|round(1)",
                                    " is defined",
                                    " is not in l",
                                    " not in ",
                                    " and ",
                                    " or ",
                                    " not ",
                                    " if ",
                                    " else ",
                                    "[::-1]",
                                    "[1:]",
                                    "[-1]",
                                    "(",
                                    ")",
                                    "[",
                                    "]",
                                    "{",
                                    "}",
                                    ".split()",
                                    ".strip(s)",
                                    ".append(l)",
                                    ".pop()",
                                    ".items()",
                                    ".get(s)",
                                    ".format(1, a=2)",
                                    ".replace('', s)",
                                    ".insert(-1, l)",
                                    ".update(m)",
                                    ".rsplit('l', 1)",
                                    " ~ ",
                                    " * 9223372036854775807",
                                    " ** -1",
                                    " // 0",
                                    " % -1",
                                    "'\\ud83d\\ude00'",
                                    "'\\u12'",
                                    "\"",
                                    "'",
                                    "\\",
                                    "1e309",
                                    "range(9)",
                                    "strftime_now('%Y%-d%')",
                                    "raise_exception(l)",
                                    "loop.previtem",
                                    "dict(a=1)",
                                    "\xff",
                                    "\xe4\xbd",
                                    "\n",
                                    "\r",
                                    "  "};

static size_t read_file(const char *path, char *out, size_t capacity)
{
    FILE *file = fopen(path, "rb");
    const size_t n = file ? fread(out, 1, capacity - 1, file) : 0;
    if (file)
        (void)fclose(file);
    out[n] = '\0';
    return n;
}

static void seed_template(const char *text, size_t n)
{
    if (n < FUZZ_INPUT_MAX / 2)
        fuzz_seed(text, n);
}

/* Our own golden templates, and those beside the clone where there are any. */
void fuzz_start(void)
{
    static char text[1 << 17];
    char path[GOLDEN_PATH];
    glob_t found;
    memory = malloc(MEMORY);
    fuzz_need(memory, "no memory");
    fuzz_seed("{{ a }}{{ l }}\0{\"a\": 1, \"l\": [true, null, 2.5e3, \"\\u00e9\"]}", 52);
    golden_source(path, "tests/data/templates.txt");
    (void)read_file(path, text, sizeof text);
    for (char *at = strstr(text, "=== template ===\n"); at; at = strstr(at, "=== template ===\n")) {
        at += strlen("=== template ===\n");
        const char *end = strstr(at, "\n=== ");
        seed_template(at, end ? (size_t)(end - at) : 0);
    }
    if (!golden_shared(path, "templates/*.jinja") || glob(path, 0, NULL, &found) != 0)
        return;
    for (size_t i = 0; i < found.gl_pathc; i++)
        seed_template(text, read_file(found.gl_pathv[i], text, sizeof text));
    globfree(&found);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *source = (const char *)data;
    const char *nul = size > 0 ? memchr(source, '\0', size) : NULL;
    const size_t n = nul ? (size_t)(nul - source) : size;
    struct hearth_template *t;
    hearth_error err = {0};
    size_t n_text = 0;
    hearth_status status = hearth_template_open(&t, memory, MEMORY, "fuzz", source, n, &err);
    if (status == HEARTH_OK) {
        struct hearth_workspace *w = hearth_template_workspace(t, &err);
        const struct hearth_str json =
            nul ? hearth_str_copy(w, nul + 1, size - n - 1, true) : hearth_str_copy(w, variables, sizeof variables - 1, true);
        const struct hearth_value values = hearth_json_read(w, json);
        status = w->status ? w->status : hearth_template_render(t, values, INT64_C(1768478400), &n_text, &err);
    }
    fuzz_answer(status, &err);
    if (status != HEARTH_OK)
        return 0;
    char *text = malloc(n_text + 1);
    uint8_t *origin = malloc(n_text + 1);
    if (text && origin)
        hearth_template_copy(t, text, origin);
    for (size_t i = 0; origin && i < n_text; i++)
        fuzz_need(origin[i] <= 1, "origin %d", origin[i]);
    free(text);
    free(origin);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t capacity, unsigned int seed)
{
    return fuzz_mutate_text(data, size, capacity, seed, words, sizeof words / sizeof words[0]);
}
