/* Chat templates: the dialect against what Jinja2 renders, known formats, who wrote which byte, hostile templates against the
 * clock, and, where the golden data is, the templates of real models to the byte. */
#include "common/status.h"
#include "support/golden.h"
#include "template/family.h"
#include "template/json.h"
#include "template/messages.h"
#include "template/template.h"
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SECONDS_MAX 1.0 /* ten times the target: machines are busy */
#define GOLDEN_SECONDS_MAX 0.1
#define NOW INT64_C(1767604023) /* 2026-01-05 09:07:03 */

static double cpu_seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Bounds on time hold for code as it is shipped. */
static bool is_timed(void)
{
    const char *sanitize = getenv("HEARTH_SANITIZE");
    return !sanitize || !sanitize[0];
}

static void *memory(void)
{
    void *out = malloc(HEARTH_TEMPLATE_MEMORY);
    cr_assert(out);
    return out;
}

/* Variables from JSON, as the caller's. */
static struct hearth_value from_json(struct hearth_workspace *w, const char *json, size_t n)
{
    return hearth_json_read(w, hearth_str_copy(w, json, n, true));
}

/* One rendering from text to text; text and origin are the caller's to free, NULL after a failure. */
static hearth_status render(const char *source, size_t n, const char *json, int64_t now, char **text, uint8_t **origin,
                            size_t *n_text, hearth_error *err)
{
    struct hearth_template *t;
    void *m = memory();
    *text = NULL;
    *origin = NULL;
    hearth_status status = hearth_template_open(&t, m, HEARTH_TEMPLATE_MEMORY, "test", source, n, err);
    if (status == HEARTH_OK) {
        struct hearth_workspace *w = hearth_template_workspace(t, err);
        const struct hearth_value values = from_json(w, json, strlen(json));
        status = w->status;
        if (status == HEARTH_OK)
            status = hearth_template_render(t, values, now, n_text, err);
    }
    if (status == HEARTH_OK) {
        *text = calloc(*n_text + 1, 1);
        *origin = calloc(*n_text + 1, 1);
        hearth_template_copy(t, *text, *origin);
    }
    free(m);
    return status;
}

static void expect_text(const char *source, const char *json, const char *want)
{
    char *text;
    uint8_t *origin;
    size_t n;
    hearth_error err = {0};
    cr_expect_eq(render(source, strlen(source), json, NOW, &text, &origin, &n, &err), HEARTH_OK, "%s: %s", source, err.message);
    cr_expect(text && strcmp(text, want) == 0, "%s\n gives %s\n  need %s", source, text ? text : "", want);
    free(text);
    free(origin);
}

/* The text fails with this status and detail, and says where. */
static void expect_failure(const char *source, hearth_status want, const char *detail, const char *site)
{
    char *text;
    uint8_t *origin;
    size_t n;
    hearth_error err = {0};
    cr_expect_eq(render(source, strlen(source), "{}", NOW, &text, &origin, &n, &err), want, "%.60s", source);
    cr_expect_str_eq(err.detail, detail, "%.60s: %s", source, err.message);
    cr_expect(strstr(err.message, site), "%.60s: '%s' lacks '%s'", source, err.message, site);
    free(text);
    free(origin);
}

/* ---- The dialect ----------------------------------------------------------------------------------------------------- */

static char *read_file(const char *path, size_t *n)
{
    FILE *file = fopen(path, "rb");
    cr_assert(file, "%s", path);
    char *text = calloc(1, 1 << 20);
    *n = fread(text, 1, (1 << 20) - 1, file);
    (void)fclose(file);
    return text;
}

static size_t check_case(const char *source, char *verdict, const char *json)
{
    static const char gives[] = "=== gives ===\n";
    char *text;
    uint8_t *origin;
    size_t n;
    hearth_error err = {0};
    const size_t n_source = (size_t)(verdict - source) - 1;
    const hearth_status status = render(source, n_source, json, NOW, &text, &origin, &n, &err);
    char *end = strstr(verdict + 1, "\n=== "); /* of what it gives, or of the line "fails" */
    cr_assert(end);
    if (strncmp(verdict, gives, sizeof gives - 1) == 0) {
        const char *want = verdict + sizeof gives - 1;
        const size_t n_want = end > want ? (size_t)(end - want) : 0;
        cr_expect(text && n == n_want && memcmp(text, want, n) == 0, "%.*s\n gives %s%s\n  need %.*s", (int)n_source, source,
                  text ? text : "", err.message, (int)n_want, want);
    } else {
        cr_expect_neq(status, HEARTH_OK, "%.*s\n gives %s instead of failing", (int)n_source, source, text ? text : "");
    }
    free(text);
    free(origin);
    return (size_t)(end - source) + 1;
}

Test(template, gives_what_jinja2_gives)
{
    static const char mark[] = "=== template ===\n";
    char path[GOLDEN_PATH];
    size_t n;
    size_t cases = 0;
    golden_source(path, "tests/data/templates.txt");
    char *all = read_file(path, &n);
    char *json = strstr(all, "\n{") + 1;
    char *at = strstr(json, mark);
    at[-1] = '\0';
    while (strncmp(at, mark, sizeof mark - 1) == 0) {
        char *source = at + sizeof mark - 1;
        char *verdict = strstr(source, "\n=== ") + 1;
        at = source + check_case(source, verdict, json);
        cases++;
    }
    cr_expect_geq(cases, 70);
    free(all);
}

Test(template, errors_name_their_line_and_kind)
{
    expect_failure("a\nb\n{{ 1 + }}", HEARTH_E_FORMAT, "E_TEMPLATE", "line 3: syntax");
    expect_failure("\n{{ none + 'a' }}", HEARTH_E_FORMAT, "E_TEMPLATE", "line 2: sum of none and string");
    expect_failure("{{ x\n(1) }}", HEARTH_E_FORMAT, "E_TEMPLATE", "'x' is not defined");
    expect_failure("{{ raise_exception('no\n\"' ~ 'way ' * 30) }}", HEARTH_E_CONFIG, "E_REFUSED", "no\\x0a\"way way");
    expect_failure("{% for a in [1] %}\n{% if a %}", HEARTH_E_FORMAT, "E_TEMPLATE", "line 2: syntax (got 'the end', need endif)");
    expect_failure("{% break %}", HEARTH_E_FORMAT, "E_TEMPLATE", "loop");
    expect_failure("{% extends 'x' %}", HEARTH_E_FORMAT, "E_TEMPLATE", "extends");
    expect_failure("{{ 'a'|nothing }}", HEARTH_E_FORMAT, "E_TEMPLATE", "filter: there is no 'nothing'");
    expect_failure("{{ 'a'|trim(1, 2) }}", HEARTH_E_FORMAT, "E_TEMPLATE", "too many arguments");
    expect_failure("{{ 'a'|indent(depth=2) }}", HEARTH_E_FORMAT, "E_TEMPLATE", "no parameter 'depth'");
    expect_failure("{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", HEARTH_E_FORMAT, "E_TEMPLATE", "'m'");
}

/* Less strict than Jinja2 on purpose: what is undefined has undefined parts. */
Test(template, undefined_has_undefined_parts)
{
    expect_text("[{{ a.b.c[1] }}][{% for x in a.b %}x{% endfor %}][{{ a[1:] }}]", "{}", "[][][]");
}

Test(template, bytes_of_messages_need_not_be_text)
{
    char *text;
    uint8_t *origin;
    size_t n = 0;
    static const char source[] = "{{ a }}\0{{ a|upper|length }}{{ b[0]|length }}{{ b[1] }}";
    cr_assert_eq(
        render(source, sizeof source - 1, "{\"a\": \"\xff\\u0000\xc3\", \"b\": \"\xe4\xbd\"}", NOW, &text, &origin, &n, NULL),
        HEARTH_OK);
    cr_expect_eq(n, 7);
    cr_expect(memcmp(text,
                     "\xff\0\xc3\0"
                     "31\xbd",
                     7) == 0);
    free(text);
    free(origin);
    expect_failure("x\n{{ '\xff\xfe' }}", HEARTH_E_FORMAT, "E_TEMPLATE", "line 2: bytes that are no UTF-8");
    expect_failure("x\xe4\xbd", HEARTH_E_FORMAT, "E_TEMPLATE", "line 1: bytes that are no UTF-8");
}

/* ---- Known formats ---------------------------------------------------------------------------------------------------- */

static const char conversation[] =
    "{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\", \"add_generation_prompt\": true, \"messages\": ["
    "{\"role\": \"system\", \"content\": \"You are a helpful assistant.\"}, {\"role\": \"user\", \"content\": \"Hello!\"},"
    "{\"role\": \"assistant\", \"content\": \"Hi there.\"}, {\"role\": \"user\", \"content\": \"How are you?\"}]}";

Test(template, known_formats)
{
    expect_text(hearth_family_find("chatml")->source, conversation,
                "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nHello!<|im_end|>\n"
                "<|im_start|>assistant\nHi there.<|im_end|>\n<|im_start|>user\nHow are you?<|im_end|>\n<|im_start|>assistant\n");
    expect_text(hearth_family_find("llama2")->source, conversation,
                "<s>[INST] <<SYS>>\nYou are a helpful assistant.\n<</SYS>>\n\nHello! [/INST] Hi there. </s>"
                "<s>[INST] How are you? [/INST]");
    expect_text(hearth_family_find("alpaca")->source, conversation,
                "You are a helpful assistant.\n\n### Instruction:\nHello!\n\n### Response:\nHi there.\n\n"
                "### Instruction:\nHow are you?\n\n### Response:\n");
    expect_text(hearth_family_find("phi2")->source, conversation,
                "You are a helpful assistant.\nInstruct: Hello!\nOutput: Hi there.\nInstruct: How are you?\nOutput:");
    cr_expect_null(hearth_family_find("none"));
}

static void expect_prepared(const char *source, const char *want)
{
    static const char json[] = "[{\"role\": \"developer\", \"content\": null}, {\"role\": \"user\", \"content\": [{\"type\":"
                               "\"text\", \"text\": \"a\"}, {\"type\": \"image\"}, {\"type\": \"text\", \"text\": \"b\"}]}, 7]";
    char text[256] = "";
    size_t n = 0;
    struct hearth_template *t;
    void *m = memory();
    cr_assert_eq(hearth_template_open(&t, m, HEARTH_TEMPLATE_MEMORY, "test", source, strlen(source), NULL), HEARTH_OK);
    struct hearth_workspace *w = hearth_template_workspace(t, NULL);
    const struct hearth_value values = hearth_value_new(w, HEARTH_VALUE_MAP);
    const struct hearth_value messages = from_json(w, json, sizeof json - 1);
    hearth_messages_prepare(w, messages, source, strlen(source));
    hearth_value_set_named(w, values, "messages", messages);
    cr_assert_eq(hearth_template_render(t, values, NOW, &n, NULL), HEARTH_OK);
    cr_assert_lt(n, sizeof text);
    hearth_template_copy(t, text, NULL);
    cr_expect_str_eq(text, want);
    free(m);
}

Test(template, messages_are_prepared)
{
    expect_prepared("{% for m in messages[:2] %}{{ m.role }}={{ m.content }};{% endfor %}", "system=;user=a\nb;");
    expect_prepared("{% for m in messages[:2] %}{{ m.role }}={{ m.content is string }};{% endfor %}{# developer #}",
                    "developer=True;user=False;");
}

/* ---- Who wrote it ------------------------------------------------------------------------------------------------------ */

static void expect_origin(const char *source, const char *want_text, const char *want_origin)
{
    char *text;
    uint8_t *origin;
    size_t n = 0;
    hearth_error err = {0};
    cr_assert_eq(render(source, strlen(source), "{\"u\": \"<User>\", \"l\": [\"a\", \"b\"]}", NOW, &text, &origin, &n, &err),
                 HEARTH_OK, "%s: %s", source, err.message);
    cr_expect_str_eq(text, want_text, "%s", source);
    for (size_t i = 0; i < n; i++)
        cr_expect_eq(origin[i], want_origin[i] - '0', "%s: byte %zu", source, i);
    free(text);
    free(origin);
}

Test(template, text_keeps_who_wrote_it)
{
    expect_origin("<|{{ u }}|>", "<|<User>|>", "0011111100");
    expect_origin("{{ '<' ~ u[1:3] ~ '>' }}", "<Us>", "0110");
    expect_origin("{{ '<' + u + '>' }}", "<<User>>", "01111110");
    expect_origin("{{ ('  ' + u)|trim|upper }}", "<USER>", "111111");
    expect_origin("{{ u.replace('User', 'xy') }}", "<xy>", "1001");
    expect_origin("{{ l|join('-') }}", "a-b", "101");
    expect_origin("{{ u|tojson }}", "\"<User>\"", "01111110");
    expect_origin("{{ '[{}]'.format(u) }}", "[<User>]", "01111110");
    expect_origin("{{ u.split('s')|join }}", "<Uer>", "11111");
    expect_origin("{% set x %}a{{ u }}{% endset %}{{ x[:3] }}", "a<U", "011");
    expect_origin("{% macro m(x) %}[{{ x }}]{% endmacro %}{{ m(l[0]) }}", "[a]", "010");
    expect_origin("{{ ('\"' ~ '\\\\' ~ u[0:0] ~ 'u0041\"')|from_json }}", "A", "0");
    expect_origin("{{ u[::-1] }}", ">resU<", "111111");
    expect_origin("{{ {u: 1} }}", "{'<User>': 1}", "0011111100000");
}

/* Escapes that the caller wrote stay the caller's when they are decoded. */
Test(template, decoded_escapes_are_the_callers)
{
    char *text;
    uint8_t *origin;
    size_t n = 0;
    static const char source[] = "{{ u|from_json }}";
    cr_assert_eq(render(source, sizeof source - 1, "{\"u\": \"\\\"\\\\u003c\\\\n\\\"\"}", NOW, &text, &origin, &n, NULL),
                 HEARTH_OK);
    cr_expect_str_eq(text, "<\n");
    cr_expect(origin[0] == 1 && origin[1] == 1);
    free(text);
    free(origin);
}

/* ---- Hostile templates --------------------------------------------------------------------------------------------------- */

/* A failure or a text, but soon. */
static hearth_status timed(const char *source, size_t n)
{
    char *text;
    uint8_t *origin;
    size_t n_text;
    hearth_error err = {0};
    hearth_status status = HEARTH_OK;
    double seconds = SECONDS_MAX;
    for (int attempt = 0; attempt < 3 && seconds >= SECONDS_MAX; attempt++) { /* neighbours on the machine cost time, too */
        const double begin = cpu_seconds();
        status = render(source, n, "{}", NOW, &text, &origin, &n_text, &err);
        seconds = cpu_seconds() - begin;
        free(text);
        free(origin);
    }
    if (is_timed())
        cr_expect_lt(seconds, SECONDS_MAX, "%.70s: %.0f ms (%s)", source, seconds * 1e3, err.message);
    return status;
}

static void expect_limit(const char *source)
{
    cr_expect_eq(timed(source, strlen(source)), HEARTH_E_UNSUPPORTED, "%.70s", source);
}

Test(template, endless_work_ends)
{
    expect_limit("{% for a in range(100000) %}{% for b in range(100000) %}{{ a }}{% endfor %}{% endfor %}");
    expect_limit("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}");
    expect_limit("{% macro m(n) %}{{ m(n + 1) }}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}");
    expect_limit("{% macro a(n) %}{% if n > 0 %}{{ a(n - 1) }}{{ a(n - 1) }}{% endif %}{% endmacro %}{{ a(40) }}");
    expect_limit("{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}");
    expect_limit("{{ ('a' * 10**9)|length }}");
    expect_limit("{{ 'a' * 9223372036854775807 }}");
    expect_limit("{{ ([1] * 10**9)|length }}");
    expect_limit("{% set l = [1, 2, 3] * 1000 %}{% set l = l * 1000 %}{% set l = l * 1000 %}{{ l|length }}");
    expect_limit("{{ range(10**12)|length }}");
    expect_limit("{% set ns = namespace(s='ab') %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}");
    expect_limit("{% set ns = namespace(s=[1]) %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}");
    expect_limit(
        "{% set ns = namespace(s='x' * 99) %}{% for i in range(99) %}{% set ns.s %}{{ ns.s }}{{ ns.s }}{% endset %}{% endfor %}");
    expect_limit("{% set s = 'x' * 1000000 %}{% for i in range(10000) %}{{ s }}{% endfor %}");
    expect_limit("{{ (range(100000)|list|sort|reverse|sort)|length }}");
    expect_limit("{{ range(100000)|list|unique|list|length }}");
    expect_limit("{% set d = {} %}{% for i in range(100000) %}{% set _ = d.update({'k' ~ i: 1}) %}{% endfor %}");
    expect_limit("{% set l = [] %}{% for i in range(100000) %}{% set _ = l.insert(0, i) %}{% endfor %}");
}

/* Values inside each other, and inside themselves. */
Test(template, deep_values_end)
{
    expect_limit("{% set ns = namespace(s=[1]) %}{% for i in range(9999) %}{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s }}");
    expect_limit("{% set ns = namespace(s=[1], t=[1]) %}{% for i in range(60) %}{% set ns.s = [ns.s, ns.s] %}"
                 "{% set ns.t = [ns.t, ns.t] %}{% endfor %}{{ ns.s == ns.t }}");
    expect_limit(
        "{% set ns = namespace(s=[1]) %}{% for i in range(60) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s|tojson }}");
    expect_limit("{% set l = [] %}{% set _ = l.append(l) %}{{ l }}");
    expect_limit("{% set l = [] %}{% set _ = l.append(l) %}{% set k = [] %}{% set _ = k.append(k) %}{{ k == l }}");
    expect_limit("{{ ('[' * 100000)|from_json }}");
}

/* Every operation that reads a long text pays for it. */
Test(template, long_texts_are_paid_for)
{
    static const char *const uses[] = {"s.count('y')",    "'y' in s",
                                       "s|length",        "s.find('y')",
                                       "s.rsplit(t, 2)",  "s.replace('a', 'b')",
                                       "s == t",          "s < t",
                                       "s.startswith(t)", "s.endswith((t, t))",
                                       "s[399999]",       "s[399990:]",
                                       "s[::2]",          "s.split('b')",
                                       "s.split()",       "s.splitlines()",
                                       "s|int",           "s|from_json",
                                       "s is lower",      "s.format()",
                                       "strftime_now(s)", "[1]|map(attribute=s)|list",
                                       "s|indent",        "m[s]",
                                       "s|upper",         "s|title",
                                       "s|tojson",        "[s]|string",
                                       "s.strip(t)",      "[s, t]|sort",
                                       "s|list",          "s.rstrip('a')"};
    for (size_t i = 0; i < sizeof uses / sizeof uses[0]; i++) {
        char source[400];
        (void)snprintf(source, sizeof source,
                       "{%% set s = 'a' * 400000 %%}{%% set t = 'a' * 400000 %%}{%% set m = {t: 1} %%}"
                       "{%% for i in range(100000) %%}{%% if %s %%}{%% endif %%}{%% endfor %%}",
                       uses[i]);
        cr_expect_neq(timed(source, strlen(source)), HEARTH_OK, "%s", uses[i]);
    }
}

/* before * n + middle + after * n, as long as a template may be. */
static void repeated(const char *before, const char *middle, const char *after)
{
    const size_t each = strlen(before) + strlen(after);
    const size_t n = (HEARTH_TEMPLATE_SOURCE_MAX - 64) / each;
    char *source = malloc(HEARTH_TEMPLATE_SOURCE_MAX);
    size_t at = 0;
    if (before[0] != '{' || before[1] != '%')
        at += (size_t)sprintf(source, "{{ ");
    for (size_t i = 0; i < n; i++)
        at += (size_t)sprintf(source + at, "%s", before);
    at += (size_t)sprintf(source + at, "%s", middle);
    for (size_t i = 0; i < n; i++)
        at += (size_t)sprintf(source + at, "%s", after);
    if (before[0] != '{' || before[1] != '%')
        at += (size_t)sprintf(source + at, " }}");
    cr_expect_eq(timed(source, at), HEARTH_E_UNSUPPORTED, "%s %s %s", before, middle, after);
    free(source);
}

Test(template, deep_nesting_ends)
{
    repeated("(", "1", ")");
    repeated("[", "", "]");
    repeated("{1:", "1", "}");
    repeated("not ", "1", "");
    repeated("-", "1", "");
    repeated("a[", "0", "]");
    repeated("f(", "0", ")");
    repeated("x|default(", "0", ")");
    repeated("1 if 1 else ", "1", "");
    repeated("", "1", " if 1");
    repeated("{% if 1 %}", "", "{% endif %}");
    repeated("{% for a in [1] %}", "", "{% endfor %}");
    repeated("{% set x %}", "", "{% endset %}");
    repeated("{% macro m() %}", "", "{% endmacro %}");
    repeated("{%filter d%}", "", "{%endfilter%}");
}

/* Long, but not deep: read in linear time, and rendered where the memory is enough. */
Test(template, long_templates_are_read_soon)
{
    static const struct {
        const char *begin, *piece, *end;
    } cases[] = {{"{{ 1", "+1", "}}"},
                 {"{{ 1", "==1", "}}"},
                 {"{{ a", ".b", "}}"},
                 {"{{ a", "|d", "}}"},
                 {"{{ a", "()", "}}"},
                 {"{{ ", "\"a\" ", "}}"},
                 {"", "{{a}}", ""},
                 {"", "{#", ""},
                 {"", "{{", ""},
                 {"", "{%", ""},
                 {"", "{# #}", ""},
                 {"{% raw %}", "{%", ""},
                 {"{% raw %}", "{% ", ""},
                 {"{{", " ", "}}"},
                 {"a{%- if 1 -%}", " ", "{%- endif -%}"},
                 {"", "  {% set a=1 %}\n", ""},
                 {"{% if 0 %}", "{% elif 0 %}", "{% endif %}"},
                 {"{{ \"", "\\", "\" }}"},
                 {"{{ [", "1,", "] }}"},
                 {"{{ m(", "a=1,", ") }}"},
                 {"{% macro m(", "a,", ") %}{% endmacro %}{{ m() }}"},
                 {"", "\r\n", ""},
                 {"{{ 1", "0", " }}"},
                 {"{{ 0.1", "0", " }}"},
                 {"{{ 1e", "9", " }}"}};
    char *source = malloc(HEARTH_TEMPLATE_SOURCE_MAX + 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t n = (size_t)sprintf(source, "%s", cases[i].begin);
        while (n + strlen(cases[i].piece) + strlen(cases[i].end) < HEARTH_TEMPLATE_SOURCE_MAX / 2)
            n += (size_t)sprintf(source + n, "%s", cases[i].piece);
        n += (size_t)sprintf(source + n, "%s", cases[i].end);
        (void)timed(source, n);
    }
    memset(source, 'a', HEARTH_TEMPLATE_SOURCE_MAX + 1);
    cr_expect_eq(timed(source, HEARTH_TEMPLATE_SOURCE_MAX), HEARTH_OK);
    cr_expect_eq(timed(source, HEARTH_TEMPLATE_SOURCE_MAX + 1), HEARTH_E_UNSUPPORTED);
    free(source);
}

/* What the arithmetic of templates must not do to ours. */
Test(template, extreme_numbers)
{
    expect_failure("{{ (-9223372036854775807 - 1) // -1 }}", HEARTH_E_FORMAT, "E_TEMPLATE", "64 bits");
    expect_failure("{{ -(-9223372036854775807 - 1) }}", HEARTH_E_FORMAT, "E_TEMPLATE", "64 bits");
    expect_failure("{{ 2 ** 63 }}", HEARTH_E_FORMAT, "E_TEMPLATE", "64 bits");
    expect_failure("{{ [1]|tojson(indent=4294967298) }}", HEARTH_E_FORMAT, "E_TEMPLATE", "indent");
    expect_text("{{ (-9223372036854775807 - 1) % -1 }} {{ 1 ** 9223372036854775807 }} {{ (2.0 ** 2147483646) }} {{ 1e999|int(5) }}",
                "{}", "0 1 inf 5");
    expect_text("{{ 'abc'[9223372036854775807] }}{{ 'abc'[-9223372036854775807:9223372036854775807:9223372036854775807] }}"
                "{{ [1,2][::-9223372036854775807] }}{{ range(9223372036854775800, 9223372036854775807, 5) }}",
                "{}", "a[2][9223372036854775800, 9223372036854775805]");
}

/* The deepest recursion fits on a small stack. */
static void *recurse(void *unused)
{
    (void)unused;
    expect_limit("{% macro m() %}{% for a in [1] %}{% if 1 %}{% set x %}{{ (1 and [m()|trim])|string }}{% endset %}{% endif %}"
                 "{% endfor %}{% endmacro %}{{ m() }}");
    expect_limit(
        "{% set ns = namespace(s=[1]) %}{% for i in range(9999) %}{% set ns.s = {1: ns.s} %}{% endfor %}{{ ns.s|tojson }}");
    repeated("(not [-", "1", "])");
    return NULL;
}

Test(template, recursion_fits_a_small_stack)
{
    pthread_attr_t attributes;
    pthread_t thread;
    cr_assert_eq(pthread_attr_init(&attributes), 0);
    if (is_timed()) /* sanitizers make frames several times as large */
        cr_assert_eq(pthread_attr_setstacksize(&attributes, 256 << 10), 0);
    cr_assert_eq(pthread_create(&thread, &attributes, recurse, NULL), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    (void)pthread_attr_destroy(&attributes);
}

/* Whatever the memory is, a failure is an error. */
Test(template, any_memory_is_enough_or_an_error)
{
    const char *source = hearth_family_find("llama2")->source;
    char *m = malloc(1 << 16);
    bool enough = false;
    for (size_t bytes = 0; bytes < 1 << 16; bytes += 48) {
        struct hearth_template *t;
        size_t n;
        if (hearth_template_open(&t, m, bytes, "test", source, strlen(source), NULL) != HEARTH_OK)
            continue;
        struct hearth_workspace *w = hearth_template_workspace(t, NULL);
        const struct hearth_value values = from_json(w, conversation, sizeof conversation - 1);
        enough = w->status == HEARTH_OK && hearth_template_render(t, values, NOW, &n, NULL) == HEARTH_OK;
    }
    cr_expect(enough);
    free(m);
}

/* ---- Real templates ------------------------------------------------------------------------------------------------------- */

struct golden {
    struct hearth_workspace *w;
    struct hearth_value root;
    void *memory;
    size_t renderings, correct;
    double slowest;
};

static struct hearth_value member(struct golden *g, struct hearth_value of, struct hearth_str key)
{
    return hearth_value_at(g->w, of, hearth_value_str(key));
}

/* The variables of one case, made anew in the memory of the template, which may change them. */
static struct hearth_value case_values(struct golden *g, struct hearth_workspace *w, struct hearth_str name)
{
    static const struct hearth_json_style style = {
        .indent = -1, .item_separator = {", ", NULL, 2}, .key_separator = {": ", NULL, 2}};
    const size_t slash = hearth_str_find(name, HEARTH_STR("/"), 0);
    const struct hearth_value messages =
        member(g, member(g, g->root, HEARTH_STR("conversations")), hearth_str_part(name, 0, slash));
    const struct hearth_str json = hearth_json_write(w, messages, &style).str;
    const struct hearth_value out = hearth_value_new(w, HEARTH_VALUE_MAP);
    hearth_value_set_named(w, out, "messages", hearth_json_read(w, json));
    hearth_value_set_named(w, out, "bos_token", hearth_value_str(HEARTH_STR("<s>")));
    hearth_value_set_named(w, out, "eos_token", hearth_value_str(HEARTH_STR("</s>")));
    hearth_value_set_named(w, out, "add_generation_prompt",
                           hearth_value_bool(hearth_str_is(hearth_str_part(name, slash, name.n), "/gen")));
    return out;
}

static void check_golden(struct golden *g, const char *file, const char *source, size_t n_source, struct hearth_pair expected)
{
    static char text[1 << 20];
    struct hearth_template *t;
    hearth_error err = {0};
    size_t n = 0;
    const double begin = cpu_seconds();
    hearth_status status = hearth_template_open(&t, g->memory, HEARTH_TEMPLATE_MEMORY, file, source, n_source, &err);
    if (status == HEARTH_OK) {
        const struct hearth_value values = case_values(g, hearth_template_workspace(t, &err), expected.key.str);
        status = hearth_template_render(t, values, INT64_C(1768478400), &n, &err);
    }
    const double seconds = cpu_seconds() - begin;
    g->slowest = seconds > g->slowest ? seconds : g->slowest;
    g->renderings++;
    const bool wants_error = expected.value.type == HEARTH_VALUE_MAP;
    bool correct = wants_error == (status != HEARTH_OK);
    if (correct && !wants_error) {
        cr_assert_lt(n, sizeof text);
        hearth_template_copy(t, text, NULL);
        correct = n == expected.value.str.n && memcmp(text, expected.value.str.bytes, n) == 0;
    }
    g->correct += correct;
    cr_expect(correct, "%s %.*s: %s", file, (int)expected.key.str.n, expected.key.str.bytes, err.message);
}

static void check_file(struct golden *g, struct hearth_pair file)
{
    char path[GOLDEN_PATH], name[256];
    size_t n;
    (void)snprintf(name, sizeof name, "templates/%.*s", (int)file.key.str.n, file.key.str.bytes);
    cr_assert(golden_shared(path, name));
    char *source = read_file(path, &n);
    for (size_t i = 0; i < file.value.map->n; i++)
        check_golden(g, name, source, n, file.value.map->pairs[i]);
    free(source);
}

Test(template, renders_the_templates_of_real_models)
{
    char path[GOLDEN_PATH];
    if (!golden_shared(path, "templates/expected.json") || !golden_exists(path))
        cr_skip_test("no golden templates (HEARTH_SHARED)");
    struct golden g = {.memory = memory()};
    struct hearth_template *t;
    size_t n;
    char *json = read_file(path, &n);
    void *m = memory();
    cr_assert_eq(hearth_template_open(&t, m, HEARTH_TEMPLATE_MEMORY, "expected.json", "", 0, NULL), HEARTH_OK);
    g.w = hearth_template_workspace(t, NULL);
    g.root = from_json(g.w, json, n);
    const struct hearth_value expected = member(&g, g.root, HEARTH_STR("expected"));
    cr_assert_eq(expected.type, HEARTH_VALUE_MAP);
    for (size_t i = 0; i < expected.map->n; i++)
        check_file(&g, expected.map->pairs[i]);
    cr_expect_eq(g.correct, g.renderings);
    cr_expect_geq(g.renderings, 344);
    if (is_timed())
        cr_expect_lt(g.slowest, GOLDEN_SECONDS_MAX, "%.1f ms", g.slowest * 1e3);
    cr_log_info("%zu of %zu renderings, the slowest in %.2f ms", g.correct, g.renderings, g.slowest * 1e3);
    free(json);
    free(m);
    free(g.memory);
}
