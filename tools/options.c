/* Parsing with argp, made silent: every mistake is one line through report.h, in the same words for all commands. argp tells that
 * an argument was wrong but not what was wrong with it, so that is found by looking at the argument again. */
#include "options.h"

#include "common/status.h"
#include "places.h"
#include "process.h"
#include "refused.h"
#include "report.h"
#include "sampling.h"
#include "text.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

struct parse { /* what the handler of argp works on */
    struct options *options;
    const struct options_command *command;
    bool reported; /* the error line has been shown */
    bool help, help_all;
};

static const struct argp_option *find_option(const struct argp_option *table, int key)
{
    while (table->key != 0 && table->key != key)
        table++;
    return table;
}

static error_t bad_value(struct parse *parse, int key, const char *value, const char *need)
{
    char flag[32], quoted[HEARTH_QUOTE_MAX];
    if (key < OPTION_KEY_TEMP)
        (void)snprintf(flag, sizeof flag, "-%c", key);
    else
        (void)snprintf(flag, sizeof flag, "--%s", find_option(parse->command->table, key)->name);
    (void)report_usage("%s: wrong value (got '%s', need %s)", flag, hearth_quote(quoted, value, strlen(value)), need);
    parse->reported = true;
    return EINVAL;
}

static error_t take_u32(struct parse *parse, int key, const char *value, uint32_t *out, uint32_t min, uint32_t max)
{
    uint64_t number;
    if (text_parse_unsigned(&number, value, max) && number >= min) {
        *out = (uint32_t)number;
        return 0;
    }
    char need[64];
    (void)snprintf(need, sizeof need, "a whole number from %" PRIu32 " to %" PRIu32, min, max);
    return bad_value(parse, key, value, need);
}

/* -1 asks for as many tokens as there is room for. */
static error_t take_generate(struct parse *parse, int key, const char *value)
{
    int64_t number;
    if (!text_parse_signed(&number, value, -1, INT32_MAX))
        return bad_value(parse, key, value, "a whole number from 0 to 2147483647, or -1: until the context is full");
    parse->options->n_generate_given = true;
    parse->options->n_generate = number < 0 ? UINT32_MAX : (uint32_t)number;
    return 0;
}

static error_t take_seed(struct parse *parse, int key, const char *value)
{
    if (!text_parse_unsigned(&parse->options->sampling.seed, value, UINT64_MAX))
        return bad_value(parse, key, value, "a whole number from 0 to 18446744073709551615");
    parse->options->seed_given = true;
    return 0;
}

static error_t take_size(struct parse *parse, int key, const char *value, uint64_t *out)
{
    if (!text_parse_size(out, value) || *out == 0)
        return bad_value(parse, key, value, "bytes: digits and perhaps K, M, G or T");
    return 0;
}

const char *options_kv_name(int32_t kv_type)
{
    static const char *const names[] = {[HEARTH_KV_F16] = "f16", [HEARTH_KV_F32] = "f32", [HEARTH_KV_Q8_0] = "q8_0"};
    return kv_type >= 0 && (size_t)kv_type < sizeof names / sizeof names[0] ? names[kv_type] : NULL;
}

static error_t take_kv(struct parse *parse, int key, const char *value)
{
    for (int32_t type = 0; options_kv_name(type); type++)
        if (strcmp(value, options_kv_name(type)) == 0) {
            parse->options->kv_type = type;
            return 0;
        }
    return bad_value(parse, key, value, "f16, f32 or q8_0");
}

static error_t take_pages(struct parse *parse, int key, const char *value)
{
    static const char *const names[] = {
        [HEARTH_PAGES_AUTO] = "auto", [HEARTH_PAGES_4K] = "4k", [HEARTH_PAGES_2M] = "2m", [HEARTH_PAGES_1G] = "1g"};
    for (int32_t pages = HEARTH_PAGES_AUTO; pages <= HEARTH_PAGES_1G; pages++)
        if (strcmp(value, names[pages]) == 0) {
            parse->options->pages = pages;
            return 0;
        }
    return bad_value(parse, key, value, "auto, 4k, 2m or 1g");
}

static error_t take_float_gemm(struct parse *parse, int key, const char *value)
{
    const bool blas = strcmp(value, "blas") == 0;
    if (!blas && strcmp(value, "own") != 0)
        return bad_value(parse, key, value, "own or blas");
    parse->options->float_gemm = blas ? HEARTH_FLOAT_GEMM_BLAS : HEARTH_FLOAT_GEMM_OWN;
    return 0;
}

static error_t take_stop(struct parse *parse, int key, const char *value)
{
    struct options *o = parse->options;
    if (o->n_stops == OPTIONS_STOPS_MAX)
        return bad_value(parse, key, value, "at most 16 stop strings");
    o->stops[o->n_stops++] = value;
    return 0;
}

static error_t take_format(struct parse *parse, int key, const char *value)
{
    static const char *const names[] = {[OPTIONS_MD] = "md", [OPTIONS_CSV] = "csv", [OPTIONS_JSON] = "json"};
    for (int i = OPTIONS_MD; i <= OPTIONS_JSON; i++)
        if (strcmp(value, names[i]) == 0) {
            parse->options->format = (enum options_format)i;
            return 0;
        }
    return bad_value(parse, key, value, "md, csv or json");
}

static error_t take_list(struct parse *parse, int key, const char *value, struct options_list *out, uint32_t min)
{
    if (text_parse_list(out->values, &out->n, OPTIONS_LIST_MAX, value, min, OPTIONS_TOKENS_MAX))
        return 0;
    char need[96];
    (void)snprintf(need, sizeof need, "whole numbers from %" PRIu32 " to %d, such as 8, 1,8,512, 1-8+1 or 1-512*2", min,
                   OPTIONS_TOKENS_MAX);
    return bad_value(parse, key, value, need);
}

/* The options of bench, where -p and -n are numbers of tokens, as in other benchmarks. */
static error_t take_bench_option(struct parse *parse, int key, char *value)
{
    struct options *o = parse->options;
    switch (key) {
    case 'p':
    case OPTION_KEY_PP:
        return take_list(parse, key, value, &o->prompts, 0);
    case 'n':
    case OPTION_KEY_TG:
        return take_list(parse, key, value, &o->generations, 0);
    case 'd':
        return take_list(parse, key, value, &o->depths, 0);
    case 'b':
        return take_list(parse, key, value, &o->batches, 1);
    case 'r':
        return take_u32(parse, key, value, &o->repeats, 1, OPTIONS_REPEATS_MAX);
    case OPTION_KEY_SHAPE:
        o->shape = value;
        return 0;
    case OPTION_KEY_QUANT:
        o->quant = value;
        return 0;
    case OPTION_KEY_KERNEL:
        o->kernel = value;
        return 0;
    case OPTION_KEY_BLAS:
        o->blas = true;
        return 0;
    case OPTION_KEY_PROBE:
        o->probe = true;
        return 0;
    case OPTION_KEY_COMPARE:
        o->compare[0] = value;
        return 0;
    case OPTION_KEY_SVG:
        o->svg = value;
        return 0;
    case OPTION_KEY_FORMAT:
        return take_format(parse, key, value);
    case OPTION_KEY_JSON:
        o->format = OPTIONS_JSON;
        return 0;
    case ARGP_KEY_ARG: /* what follows --compare A */
        if (!o->compare[0] || o->compare[1])
            return ARGP_ERR_UNKNOWN;
        o->compare[1] = value;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* YYYY-MM-DDTHH:MM:SS, as it would be written by somebody in that place. */
static error_t take_now(struct parse *parse, int key, const char *value)
{
    static const char form[] = "dddd-dd-ddTdd:dd:dd";
    bool well_formed = strlen(value) == sizeof form - 1;
    for (size_t i = 0; well_formed && i < sizeof form - 1; i++)
        well_formed = form[i] == 'd' ? value[i] >= '0' && value[i] <= '9' : value[i] == form[i];
    struct tm given = {0};
    if (!well_formed || sscanf(value, "%4d-%2d-%2dT%2d:%2d:%2d", &given.tm_year, &given.tm_mon, &given.tm_mday, &given.tm_hour,
                               &given.tm_min, &given.tm_sec) != 6)
        return bad_value(parse, key, value, "a time such as 2026-01-15T12:00:00");
    given.tm_year -= 1900;
    given.tm_mon -= 1;
    struct tm normal = given; /* timegm() puts what is out of range into it, the 31st of a shorter month as the 1st */
    parse->options->now = (int64_t)timegm(&normal);
    parse->options->now_given = true;
    const bool same = normal.tm_mon == given.tm_mon && normal.tm_mday == given.tm_mday && normal.tm_hour == given.tm_hour &&
                      normal.tm_min == given.tm_min && normal.tm_sec == given.tm_sec;
    return same ? 0 : bad_value(parse, key, value, "a time such as 2026-01-15T12:00:00");
}

static error_t take_when_full(struct parse *parse, int key, const char *value)
{
    parse->options->refuse_when_full = strcmp(value, "refuse") == 0;
    return parse->options->refuse_when_full || strcmp(value, "drop") == 0 ? 0 : bad_value(parse, key, value, "drop or refuse");
}

static error_t take_verify(struct parse *parse, int key, const char *value)
{
    parse->options->verify = strcmp(value, "full") == 0;
    return parse->options->verify || strcmp(value, "off") == 0 ? 0 : bad_value(parse, key, value, "off or full");
}

static error_t take_verify_open(struct parse *parse, int key, const char *value)
{
    static const char *const names[] = {[HEARTH_VERIFY_FULL] = "full", [HEARTH_VERIFY_LAZY] = "lazy", [HEARTH_VERIFY_OFF] = "off"};
    for (int32_t when = HEARTH_VERIFY_FULL; when <= HEARTH_VERIFY_OFF; when++)
        if (strcmp(value, names[when]) == 0) {
            parse->options->verify_open = when;
            return 0;
        }
    return bad_value(parse, key, value, "full, lazy or off");
}

/* The options of template and chat. */
static error_t take_template_option(struct parse *parse, int key, char *value)
{
    struct options *o = parse->options;
    switch (key) {
    case OPTION_KEY_TEMPLATE:
        o->template = value;
        return 0;
    case OPTION_KEY_FAMILY: /* the names of engine/template/family.h, which options do not see */
        o->family = value;
        return strcmp(value, "chatml") == 0 || strcmp(value, "llama2") == 0 || strcmp(value, "alpaca") == 0 ||
                       strcmp(value, "phi2") == 0
                   ? 0
                   : bad_value(parse, key, value, "chatml, llama2, alpaca or phi2");
    case OPTION_KEY_CHAT:
        o->chat = true;
        return 0;
    case OPTION_KEY_SYSTEM:
        o->system = value;
        return 0;
    case OPTION_KEY_WHEN_FULL:
        return take_when_full(parse, key, value);
    case OPTION_KEY_NO_HISTORY:
        o->no_history = true;
        return 0;
    case OPTION_KEY_MESSAGES:
        o->messages = value;
        return 0;
    case OPTION_KEY_VARIABLES:
        o->variables = value;
        return 0;
    case OPTION_KEY_BOS:
        o->bos = value;
        return 0;
    case OPTION_KEY_EOS:
        o->eos = value;
        return 0;
    case OPTION_KEY_NOW:
        return take_now(parse, key, value);
    case OPTION_KEY_NO_GENERATION_PROMPT:
        o->no_generation_prompt = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t take_flag(struct parse *parse, int key)
{
    struct options *o = parse->options;
    switch (key) {
    case 'h':
        parse->help = true;
        return ECANCELED;
    case OPTION_KEY_HELP_ALL:
        parse->help = true;
        parse->help_all = true;
        return ECANCELED;
    case 'q':
        o->quiet = true;
        return 0;
    case OPTION_KEY_NO_ESCAPE:
        o->no_escape = true;
        return 0;
    case OPTION_KEY_JSON:
        o->json = true;
        return 0;
    case OPTION_KEY_NO_BOS:
        o->no_bos = true;
        return 0;
    case OPTION_KEY_SPECIAL:
        o->special = true;
        return 0;
    case OPTION_KEY_KEEP_SPECIAL:
        o->keep_special = true;
        return 0;
    case OPTION_KEY_IDS:
        o->ids = true;
        return 0;
    case OPTION_KEY_DECODE:
        o->decode = true;
        return 0;
    case OPTION_KEY_PURE:
        o->pure = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* The fewest and the most arguments that the row of operands stands for. */
static size_t count_operands(const char *names, size_t *most)
{
    size_t n = names != NULL;
    *most = OPTIONS_OPERANDS_MAX;
    if (names && names[0] == '[')
        return 0;
    while (names && (names = strchr(names, ' ')) != NULL) {
        names++;
        n++;
    }
    *most = n;
    return n;
}

static error_t take_operand(struct parse *parse, const char *value)
{
    struct options *o = parse->options;
    const char *operands = find_option(parse->command->table, OPTION_KEY_OPERANDS)->name;
    size_t most;
    (void)count_operands(operands, &most);
    if (o->n_operands < most) {
        o->operands[o->n_operands++] = value;
        return 0;
    }
    char quoted[HEARTH_QUOTE_MAX];
    (void)hearth_quote(quoted, value, strlen(value));
    if (operands)
        (void)report_usage("%s: one argument too many (got '%s', need %s)", parse->command->name, quoted, operands);
    else
        (void)report_usage("argument without an option (got '%s', need -m for a model, -p for a prompt)", quoted);
    parse->reported = true;
    return EINVAL;
}

static error_t take_option(int key, char *given, struct argp_state *argp)
{
    char nothing[1] = "";
    char *value = given ? given : nothing; /* options without one do not look at it */
    struct parse *parse = argp->input;
    struct options *o = parse->options;
    if (key != ARGP_KEY_ARG && key != 'p' && !text_is_utf8(value, strlen(value)))
        return bad_value(parse, key, value, "UTF-8");
    const bool is_bench = find_option(parse->command->table, OPTION_KEY_SHAPE)->key != 0;
    const error_t bench = is_bench ? take_bench_option(parse, key, value) : ARGP_ERR_UNKNOWN;
    if (bench != ARGP_ERR_UNKNOWN)
        return bench;
    char need[SAMPLING_NEED_MAX];
    const error_t sampling = sampling_take(o, key, value, need);
    if (sampling != ARGP_ERR_UNKNOWN)
        return sampling == 0 ? 0 : bad_value(parse, key, value, need);
    switch (key) {
    case ARGP_KEY_ARG:
        return take_operand(parse, value);
    case 'm':
        o->model = value;
        o->model_given = true;
        return 0;
    case 'p':
        o->prompt = value;
        return 0;
    case 'f':
        o->file = value;
        return 0;
    case OPTION_KEY_PREFIX_FILE:
        o->prefix_file = value;
        return 0;
    case OPTION_KEY_SUFFIX_FILE:
        o->suffix_file = value;
        return 0;
    case 'o':
        o->output = value;
        return 0;
    case 'n':
        return take_generate(parse, key, value);
    case 'c':
        return take_u32(parse, key, value, &o->context, 2, INT32_MAX);
    case 'b':
        return take_u32(parse, key, value, &o->batch, 1, INT32_MAX);
    case 't':
        return take_u32(parse, key, value, &o->threads, 1, OPTIONS_THREADS_MAX);
    case 's':
        return take_seed(parse, key, value);
    case 'r': /* as others call it */
    case OPTION_KEY_STOP:
        return take_stop(parse, key, value);
    case OPTION_KEY_RAM_CAP:
        return take_size(parse, key, value, &o->ram_cap);
    case OPTION_KEY_CACHE_BUDGET:
        return take_size(parse, key, value, &o->cache_budget);
    case OPTION_KEY_PAGES:
        return take_pages(parse, key, value);
    case OPTION_KEY_PACK_CACHE:
        o->pack_cache = value;
        return value[0] ? 0 : bad_value(parse, key, value, "a folder");
    case OPTION_KEY_KV:
        return take_kv(parse, key, value);
    case OPTION_KEY_SLIDING_WINDOW:
        o->sliding_window = true;
        return 0;
    case OPTION_KEY_FLOAT_GEMM:
        return take_float_gemm(parse, key, value);
    case OPTION_KEY_GRAMMAR:
        o->grammar = value;
        return 0;
    case OPTION_KEY_JSON_SCHEMA:
        o->json_schema = value;
        return 0;
    case OPTION_KEY_TOKENS:
        o->tokens = value;
        return 0;
    case OPTION_KEY_SAVE_LOGITS:
        o->save_logits = value;
        return 0;
    case OPTION_KEY_AGAINST:
        o->against = value;
        return 0;
    case OPTION_KEY_VERIFY:
        return take_verify(parse, key, value);
    case OPTION_KEY_VERIFY_OPEN:
        return take_verify_open(parse, key, value);
    case OPTION_KEY_IMATRIX:
        o->imatrix = value;
        return 0;
    case OPTION_KEY_LOGPROBS:
        o->logprobs = true;
        return take_u32(parse, key, value, &o->n_top_logprobs, 0, HEARTH_TOP_LOGPROBS_MAX);
    case OPTION_KEY_PARANOID:
        return take_u32(parse, key, value, &o->paranoid, 1, INT32_MAX);
    case OPTION_KEY_CHUNK:
        return take_u32(parse, key, value, &o->chunk, 1, INT32_MAX);
    default:
        break;
    }
    const error_t template = take_template_option(parse, key, value);
    return template == ARGP_ERR_UNKNOWN ? take_flag(parse, key) : template;
}

/* ---- What was wrong with an argument that getopt refused ---------------------------------------------------------- */

/* Entries that `name` of n bytes may mean: 1 for an exact name, else the number of names that begin with it. */
static size_t find_long(const struct argp_option *table, const char *name, size_t n, const struct argp_option **found)
{
    size_t matches = 0;
    for (; table->key != 0; table++) {
        if (!table->name || strncmp(table->name, name, n) != 0)
            continue;
        *found = table;
        if (table->name[n] == '\0')
            return 1;
        matches++;
    }
    return matches;
}

static void report_long(const struct options_command *command, const char *argument, const char *quoted)
{
    const char *name = argument + 2;
    const size_t n = strcspn(name, "=");
    const struct argp_option *option = NULL;
    const size_t matches = find_long(command->table, name, n, &option);
    if (matches == 0)
        (void)report_usage("%s: unknown option (got '%s', see %s --help)", command->name, quoted, command->name);
    else if (matches > 1)
        (void)report_usage("%s: option is short for several (got '%s', see %s --help)", command->name, quoted, command->name);
    else if (option->arg)
        (void)report_usage("--%s: value is missing (got nothing, need %s)", option->name, option->arg);
    else
        (void)report_usage("--%s: takes no value (got '%s')", option->name, quoted);
}

static void report_refused(const struct options_command *command, const char *argument)
{
    char quoted[HEARTH_QUOTE_MAX];
    (void)hearth_quote(quoted, argument, strlen(argument));
    if (argument[0] == '-' && argument[1] == '-') {
        report_long(command, argument, quoted);
        return;
    }
    for (const char *c = argument + 1; *c; c++) { /* a cluster of short options: the first that cannot stand there */
        const struct argp_option *option = find_option(command->table, (unsigned char)*c);
        if (option->key == 0)
            break;
        if (option->arg) {
            (void)report_usage("-%c: value is missing (got nothing, need %s)", *c, option->arg);
            return;
        }
    }
    (void)report_usage("%s: unknown option (got '%s', see %s --help)", command->name, quoted, command->name);
}

/* The row that an argument means: an exact name, the only one that begins so, or a short option alone. NULL: none, or several. */
static const struct argp_option *row_of(const struct options_command *command, const char *argument)
{
    const struct argp_option *row = NULL;
    if (argument[0] == '-' && argument[1] == '-')
        return find_long(command->table, argument + 2, strcspn(argument + 2, "="), &row) == 1 ? row : NULL;
    if (argument[0] == '-' && argument[1] != '\0' && argument[2] == '\0')
        row = find_option(command->table, (unsigned char)argument[1]);
    return row && row->key != 0 ? row : NULL;
}

/* Whether the next argument is this one's value. */
static bool takes_next(const struct options_command *command, const char *argument)
{
    const struct argp_option *row = row_of(command, argument);
    return row && row->arg && !(argument[1] == '-' && strchr(argument, '='));
}

/* Whether an argument is a switch of other programs that has its own line here. Values of options are passed over. */
static bool report_refused_by_name(const struct options_command *command, int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i += takes_next(command, argv[i]) ? 2 : 1) {
        const char *reason = row_of(command, argv[i]) ? NULL : refused_reason(argv[i]);
        char quoted[HEARTH_QUOTE_MAX];
        if (!reason)
            continue;
        (void)report_usage("%s: is not taken (%s)", hearth_quote(quoted, argv[i], strlen(argv[i])), reason);
        return true;
    }
    return false;
}

/* The argument that getopt stumbled over, which argp does not tell: the first option that is none, else the last of all. */
static const char *wrong_argument(const struct options_command *command, int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i += takes_next(command, argv[i]) ? 2 : 1) {
        const bool is_long = argv[i][0] == '-' && argv[i][1] == '-';
        const bool is_short = argv[i][0] == '-' && argv[i][1] != '\0' && !is_long;
        if ((is_long && !row_of(command, argv[i])) ||
            (is_short && find_option(command->table, (unsigned char)argv[i][1])->key == 0))
            return argv[i];
    }
    return argv[argc - 1];
}

/* ---- After parsing ------------------------------------------------------------------------------------------------ */

/* Process the escapes of a text that stands in argv, which belongs to the program. */
static int finish_string(const struct options *o, const char *flag, const char *text, size_t max)
{
    char *at = (char *)(uintptr_t)text;
    const size_t given = strlen(at);
    const size_t n = o->no_escape ? given : text_unescape(at, given);
    if (n == 0 || n > max || memchr(at, '\0', n) || !text_is_utf8(at, n))
        return report_usage("%s: wrong value (got %zu bytes, need 1 to %zu bytes of UTF-8 without NUL)", flag, n, max);
    at[n] = '\0';
    return 0;
}

static int finish_text(struct options *o)
{
    int exit_code = 0;
    if (o->prompt && o->file)
        return report_usage("-f: cannot stand beside -p (got both, need one prompt)");
    if ((o->prefix_file || o->suffix_file) && (o->prompt || o->file))
        return report_usage("--%s-file: cannot stand beside -p and -f (got both, need one prompt)",
                            o->prefix_file ? "prefix" : "suffix");
    if (o->prefix_file && o->suffix_file && strcmp(o->prefix_file, "-") == 0 && strcmp(o->suffix_file, "-") == 0)
        return report_usage("--suffix-file: standard input is the prefix already (got '-', need a file)");
    if (o->grammar && o->json_schema)
        return report_usage("--json-schema: cannot stand beside --grammar (got both, need one)");
    if (o->prompt) {
        const size_t n = strlen(o->prompt);
        o->prompt_bytes = o->no_escape ? n : text_unescape(o->prompt, n);
    }
    for (uint32_t i = 0; i < o->n_stops && exit_code == 0; i++)
        exit_code = finish_string(o, "--stop", o->stops[i], OPTIONS_STOP_BYTES_MAX);
    for (uint32_t i = 0; o->breakers_given && i < o->sampling.n_dry_breakers && exit_code == 0; i++)
        exit_code = finish_string(o, "--dry-sequence-breaker", o->breakers[i], OPTIONS_BREAKER_BYTES_MAX);
    return exit_code;
}

static uint64_t random_seed(void)
{
    uint64_t seed;
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) == (ssize_t)sizeof seed)
        return seed;
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void show_help(const struct argp *argp, const struct parse *parse)
{
    struct argp_option table[OPTIONS_TABLE_MAX] = {{0}};
    struct argp all = *argp;
    for (size_t i = 0; parse->help_all && i + 1 < OPTIONS_TABLE_MAX && argp->options[i].key != 0; i++) {
        table[i] = argp->options[i];
        if ((table[i].flags & OPTION_MORE) == OPTION_MORE)
            table[i].flags = 0;
        all.options = table;
    }
    (void)setenv("ARGP_HELP_FMT", "no-dup-args-note,rmargin=80,long-opt-col=6,opt-doc-col=29,short-opt-col=2", 0);
    char copy[64]; /* argp wants to write to it */
    (void)snprintf(copy, sizeof copy, "%s", parse->command->name);
    argp_help(&all, stdout, ARGP_HELP_SHORT_USAGE | ARGP_HELP_PRE_DOC | ARGP_HELP_LONG | ARGP_HELP_POST_DOC, copy);
}

bool options_parse(struct options *out, int *exit_code, const struct options_command *command, int argc, char **argv)
{
    *out = (struct options){.n_generate = OPTIONS_GENERATE_DEFAULT, .repeats = 3};
    hearth_sampling_init(&out->sampling, sizeof out->sampling);
    struct parse parse = {.options = out, .command = command};
    const char *operands = find_option(command->table, OPTION_KEY_OPERANDS)->name;
    const struct argp argp = {.options = command->table, .parser = take_option, .args_doc = operands, .doc = command->synopsis};
    *exit_code = REPORT_USAGE_EXIT;
    if (report_refused_by_name(command, argc, argv))
        return false;
    const error_t failed = argp_parse(&argp, argc, argv, ARGP_NO_EXIT | ARGP_NO_ERRS | ARGP_NO_HELP, NULL, &parse);
    report_set_quiet(out->quiet);
    if (parse.help) {
        show_help(&argp, &parse);
        *exit_code = report_finish_output();
        return false;
    }
    if (failed) {
        if (!parse.reported)
            report_refused(command, wrong_argument(command, argc, argv));
        return false;
    }
    sampling_finish(out);
    *exit_code = finish_text(out);
    size_t most;
    if (*exit_code == 0 && out->n_operands < count_operands(operands, &most))
        *exit_code = report_usage("%s: arguments are missing (got %zu, need %s)", command->name, out->n_operands, operands);
    if (*exit_code != 0)
        return false;
    if (!out->seed_given)
        out->sampling.seed = random_seed();
    out->model = out->model ? places_find_model(out->model) : places_default_model();
    return true;
}

hearth_limits options_limits(const struct options *options)
{
    return (hearth_limits){.struct_size = sizeof(hearth_limits),
                           .context = options->context,
                           .batch = options->batch,
                           .kv_type = options->kv_type,
                           .grammar = options->grammar || options->json_schema,
                           .sliding_window = options->sliding_window,
                           .chat = options->converses};
}

static bool on_load(uint64_t done, uint64_t total, void *user)
{
    (void)user;
    report_progress("loading", done, total);
    return !process_interrupted();
}

hearth_status options_open_engine(hearth_engine **out, const struct options *options, uint32_t threads, hearth_error *error)
{
    const hearth_engine_options engine = {.struct_size = sizeof engine,
                                          .threads = threads,
                                          .ram_cap = options->ram_cap,
                                          .log = report_log,
                                          .float_gemm = options->float_gemm,
                                          .pack_cache = options->pack_cache,
                                          .pages = options->pages,
                                          .cache_budget = options->cache_budget,
                                          .verify = options->verify_open,
                                          .progress = on_load};
    return hearth_engine_open(out, &engine, error);
}

hearth_status options_open_plan(hearth_engine **engine, hearth_plan **plan, const struct options *options, hearth_error *error)
{
    const hearth_limits limits = options_limits(options);
    HEARTH_TRY(options_open_engine(engine, options, options->threads, error));
    HEARTH_TRY(hearth_plan_open(plan, *engine, options->model, &limits, error));
    return hearth_plan_check(*plan, error);
}
