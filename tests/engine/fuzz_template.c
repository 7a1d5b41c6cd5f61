/* Some thousand damaged templates, the same ones every time: bytes changed, pieces taken out, doubled, exchanged between templates,
 * and words of the language put in. Each is read and rendered; whatever the answer, it is a text or one printable line. Worth most
 * under sanitizers; a plain program, because they want to stop it where it stands. HEARTH_FUZZ_CASES asks for more. */
#include "support/golden.h"
#include "support/rng.h"
#include "template/json.h"
#include "template/template.h"
#include <glob.h>
#include <stdlib.h>
#include <string.h>

#define CASES 4000u
#define MEMORY ((size_t)8 << 20)
#define SEEDS_MAX 256u
#define SIZE_MAX_BYTES ((size_t)64 << 10)

struct seeds {
    char *text[SEEDS_MAX];
    size_t n[SEEDS_MAX];
    uint32_t count;
};

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

static void add_seed(struct seeds *seeds, const char *text, size_t n)
{
    char *copy = seeds->count < SEEDS_MAX && n < SIZE_MAX_BYTES / 2 ? malloc(n + 1) : NULL;
    if (!copy)
        return;
    memcpy(copy, text, n);
    seeds->text[seeds->count] = copy;
    seeds->n[seeds->count++] = n;
}

static size_t read_file(const char *path, char *out, size_t capacity)
{
    FILE *file = fopen(path, "rb");
    const size_t n = file ? fread(out, 1, capacity - 1, file) : 0;
    if (file)
        (void)fclose(file);
    out[n] = '\0';
    return n;
}

static void find_seeds(struct seeds *seeds)
{
    static char text[1 << 17];
    char path[GOLDEN_PATH];
    glob_t found;
    golden_source(path, "tests/data/templates.txt");
    (void)read_file(path, text, sizeof text);
    for (char *at = strstr(text, "=== template ===\n"); at; at = strstr(at, "=== template ===\n")) {
        at += strlen("=== template ===\n");
        const char *end = strstr(at, "\n=== ");
        add_seed(seeds, at, end ? (size_t)(end - at) : 0);
    }
    if (!golden_shared(path, "templates/*.jinja") || glob(path, 0, NULL, &found) != 0)
        return;
    for (size_t i = 0; i < found.gl_pathc; i++)
        add_seed(seeds, text, read_file(found.gl_pathv[i], text, sizeof text));
    globfree(&found);
}

/* Replace `cut` bytes at `at` by n others. */
static void splice(char *text, size_t *size, size_t at, size_t cut, const char *with, size_t n)
{
    if (cut > *size - at)
        cut = *size - at;
    if (*size - cut + n > SIZE_MAX_BYTES)
        return;
    memmove(text + at + n, text + at + cut, *size - at - cut);
    memcpy(text + at, with, n);
    *size += n - cut;
}

static void damage(struct rng *rng, const struct seeds *seeds, char *text, size_t *size)
{
    static char piece[256];
    const size_t at = rng_below(rng, (uint32_t)*size + 1);
    const uint32_t other = rng_below(rng, seeds->count);
    const char *word = words[rng_below(rng, sizeof words / sizeof words[0])];
    const char byte = (char)rng_below(rng, 256);
    size_t n = rng_below(rng, sizeof piece);
    size_t from = rng_below(rng, (uint32_t)seeds->n[other] + 1);
    switch (rng_below(rng, 6)) {
    case 0:
        splice(text, size, at, 1, &byte, 1);
        break;
    case 1:
        splice(text, size, at, n, "", 0);
        break;
    case 2: /* from another template */
        n = n < seeds->n[other] - from ? n : seeds->n[other] - from;
        splice(text, size, at, rng_below(rng, 2) ? n : 0, seeds->text[other] + from, n);
        break;
    case 3: /* from here */
        from = rng_below(rng, (uint32_t)*size + 1);
        n = n < *size - from ? n : *size - from;
        memcpy(piece, text + from, n);
        splice(text, size, at, 0, piece, n);
        break;
    default:
        splice(text, size, at, rng_below(rng, 4) ? 0 : strlen(word), word, strlen(word));
    }
}

static bool is_line(const hearth_error *err, hearth_status status)
{
    bool printable = err->code == status && err->message[0] && err->detail[0];
    for (const char *c = err->message; *c; c++)
        printable = printable && *c >= 0x20 && *c < 0x7f;
    return printable;
}

static bool try_one(void *memory, const char *source, size_t n, unsigned by_status[16])
{
    struct hearth_template *t;
    hearth_error err = {0};
    size_t n_text = 0;
    hearth_status status = hearth_template_open(&t, memory, MEMORY, "fuzz", source, n, &err);
    if (status == HEARTH_OK) {
        struct hearth_workspace *w = hearth_template_workspace(t, &err);
        const struct hearth_value values = hearth_json_read(w, hearth_str_copy(w, variables, sizeof variables - 1, true));
        status = w->status ? w->status : hearth_template_render(t, values, INT64_C(1768478400), &n_text, &err);
    }
    char *text = status == HEARTH_OK ? malloc(n_text + 1) : NULL;
    uint8_t *origin = status == HEARTH_OK ? malloc(n_text + 1) : NULL;
    if (text && origin)
        hearth_template_copy(t, text, origin);
    free(text);
    free(origin);
    by_status[status & 15]++;
    if (status == HEARTH_OK || is_line(&err, status))
        return true;
    (void)fprintf(stderr, "FAILED: status %d, '%s' [%s]\n%.*s\n", status, err.message, err.detail, (int)n, source);
    return false;
}

int main(void)
{
    static struct seeds seeds;
    static char text[SIZE_MAX_BYTES];
    unsigned by_status[16] = {0};
    const char *asked = getenv("HEARTH_FUZZ_CASES");
    const unsigned long cases = asked ? strtoul(asked, NULL, 10) : CASES;
    struct rng rng = rng_start();
    void *memory = malloc(MEMORY);
    find_seeds(&seeds);
    bool good = memory && seeds.count > 70;
    for (unsigned long i = 0; good && i < cases; i++) {
        const uint32_t seed = rng_below(&rng, seeds.count);
        size_t n = seeds.n[seed];
        memcpy(text, seeds.text[seed], n);
        for (uint32_t k = rng_below(&rng, 6); k > 0; k--)
            damage(&rng, &seeds, text, &n);
        char *exact = malloc(n ? n : 1); /* so that a byte too many is a byte outside */
        if (!exact)
            break;
        memcpy(exact, text, n);
        good = try_one(memory, exact, n, by_status);
        free(exact);
    }
    (void)printf("%u seeds; %u rendered, %u refused, %u no templates, %u beyond a limit\n", seeds.count, by_status[HEARTH_OK],
                 by_status[HEARTH_E_CONFIG], by_status[HEARTH_E_FORMAT], by_status[HEARTH_E_UNSUPPORTED]);
    for (uint32_t i = 0; i < seeds.count; i++)
        free(seeds.text[i]);
    free(memory);
    return good && by_status[HEARTH_OK] > 0 && by_status[HEARTH_E_FORMAT] > 0 ? 0 : 1;
}
