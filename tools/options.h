/* The command line: one table entry for each option, one parser for all commands. */
#ifndef HEARTH_TOOLS_OPTIONS_H
#define HEARTH_TOOLS_OPTIONS_H

#include "hearth.h"
#include <argp.h>

#define OPTIONS_STOPS_MAX 16
#define OPTIONS_STOP_BYTES_MAX 256
#define OPTIONS_BREAKER_BYTES_MAX 40
#define OPTIONS_TABLE_MAX 96 /* rows of a command, more than any has */
#define OPTIONS_THREADS_MAX 1024
#define OPTIONS_GENERATE_DEFAULT 256
#define OPTIONS_REPEATS_MAX 64

#define OPTIONS_LIST_MAX 64
#define OPTIONS_TOKENS_MAX 1048576
#define OPTIONS_OPERANDS_MAX 16

struct options_list {
    size_t n; /* 0 when not given */
    uint32_t values[OPTIONS_LIST_MAX];
};

enum options_format { OPTIONS_MD, OPTIONS_CSV, OPTIONS_JSON };

struct options {
    const char *model; /* never NULL after parsing */
    char *prompt;      /* NULL when not given; escapes are done */
    size_t prompt_bytes;
    const char *file;
    const char *prefix_file, *suffix_file; /* NULL when not given */
    uint32_t n_generate;                   /* UINT32_MAX: as many as the context holds */
    bool n_generate_given;
    uint32_t context, batch, threads; /* 0 when not given */
    hearth_sampling sampling;         /* its pointers name the two below, or what the library has */
    hearth_logit_bias biases[HEARTH_LOGIT_BIAS_MAX];
    const char *breakers[HEARTH_DRY_BREAKERS_MAX];
    const char *stops[OPTIONS_STOPS_MAX];
    uint32_t n_stops;
    uint64_t ram_cap;       /* 0 when not given */
    uint64_t cache_budget;  /* 0 when not given */
    int32_t pages;          /* HEARTH_PAGES_* */
    const char *pack_cache; /* NULL when not given */
    int32_t kv_type;
    int32_t float_gemm;
    bool sliding_window;
    const char *grammar, *json_schema; /* names of files, NULL when not given */
    const char *tokens, *output;       /* logits */
    uint32_t chunk;                    /* 0 when not given */
    bool seed_given, breakers_given, no_escape, keep_special, json, quiet;
    bool no_bos, special, ids, decode; /* tokenize */
    const char *shape, *quant;         /* bench, from here; strings NULL when not given */
    const char *kernel, *svg, *compare[2];
    struct options_list prompts, generations, depths, batches;
    uint32_t repeats;
    enum options_format format;
    bool probe, blas;
    const char *save_logits, *against;          /* perplexity; NULL when not given */
    const char *operands[OPTIONS_OPERANDS_MAX]; /* of commands that have some */
    size_t n_operands;
    const char *imatrix; /* quantize; NULL when not given */
    bool pure;
    bool verify;         /* check: the weights too */
    int32_t verify_open; /* HEARTH_VERIFY_* of models that are opened */
    bool model_given;
    const char *template, *family; /* template, from here; NULL when not given */
    const char *messages, *variables, *bos, *eos;
    int64_t now; /* local time in seconds since 1970 */
    bool now_given, no_generation_prompt;
    bool chat; /* run, from here; system is NULL when not given */
    const char *system;
    bool refuse_when_full, no_history;
    bool converses; /* chat: sessions have room for a conversation */
    bool logprobs;
    uint32_t n_top_logprobs;
    uint32_t paranoid; /* 0: off */
};

/* Keys of options without a short form. */
enum option_key {
    OPTION_KEY_TEMP = 256,
    OPTION_KEY_TOP_K,
    OPTION_KEY_TOP_P,
    OPTION_KEY_MIN_P,
    OPTION_KEY_REPEAT_PENALTY,
    OPTION_KEY_STOP,
    OPTION_KEY_RAM_CAP,
    OPTION_KEY_KV,
    OPTION_KEY_SLIDING_WINDOW,
    OPTION_KEY_FLOAT_GEMM,
    OPTION_KEY_NO_ESCAPE,
    OPTION_KEY_JSON,
    OPTION_KEY_TOKENS,
    OPTION_KEY_CHUNK,
    OPTION_KEY_NO_BOS,
    OPTION_KEY_SPECIAL,
    OPTION_KEY_IDS,
    OPTION_KEY_DECODE,
    OPTION_KEY_SHAPE,
    OPTION_KEY_QUANT,
    OPTION_KEY_PP,
    OPTION_KEY_TG,
    OPTION_KEY_FORMAT,
    OPTION_KEY_KERNEL,
    OPTION_KEY_PROBE,
    OPTION_KEY_BLAS,
    OPTION_KEY_COMPARE,
    OPTION_KEY_SVG,
    OPTION_KEY_SAVE_LOGITS,
    OPTION_KEY_AGAINST,
    OPTION_KEY_PACK_CACHE,
    OPTION_KEY_PAGES,
    OPTION_KEY_CACHE_BUDGET,
    OPTION_KEY_REPEAT_LAST_N,
    OPTION_KEY_FREQUENCY_PENALTY,
    OPTION_KEY_PRESENCE_PENALTY,
    OPTION_KEY_DRY_MULTIPLIER,
    OPTION_KEY_DRY_BASE,
    OPTION_KEY_DRY_ALLOWED_LENGTH,
    OPTION_KEY_DRY_LAST_N,
    OPTION_KEY_DRY_BREAKER,
    OPTION_KEY_TYPICAL,
    OPTION_KEY_TOP_N_SIGMA,
    OPTION_KEY_XTC_PROBABILITY,
    OPTION_KEY_XTC_THRESHOLD,
    OPTION_KEY_DYNATEMP_RANGE,
    OPTION_KEY_DYNATEMP_EXPONENT,
    OPTION_KEY_MIROSTAT,
    OPTION_KEY_MIROSTAT_TAU,
    OPTION_KEY_MIROSTAT_ETA,
    OPTION_KEY_MIN_KEEP,
    OPTION_KEY_SAMPLERS,
    OPTION_KEY_IGNORE_EOS,
    OPTION_KEY_KEEP_SPECIAL,
    OPTION_KEY_PREFIX_FILE,
    OPTION_KEY_SUFFIX_FILE,
    OPTION_KEY_HELP_ALL,
    OPTION_KEY_GRAMMAR,
    OPTION_KEY_JSON_SCHEMA,
    OPTION_KEY_TEMPLATE,
    OPTION_KEY_FAMILY,
    OPTION_KEY_MESSAGES,
    OPTION_KEY_VARIABLES,
    OPTION_KEY_BOS,
    OPTION_KEY_EOS,
    OPTION_KEY_NOW,
    OPTION_KEY_NO_GENERATION_PROMPT,
    OPTION_KEY_CHAT,
    OPTION_KEY_SYSTEM,
    OPTION_KEY_LOGPROBS,
    OPTION_KEY_PARANOID,
    OPTION_KEY_PURE,
    OPTION_KEY_IMATRIX,
    OPTION_KEY_WHEN_FULL,
    OPTION_KEY_NO_HISTORY,
    OPTION_KEY_VERIFY,
    OPTION_KEY_VERIFY_OPEN,
    OPTION_KEY_OPERANDS,
    OPTION_KEY_COUNT
};

/* A hidden entry without a text gives another name to the entry before; the manual has it there. */

/* Flags of an entry that --help-all shows and --help does not. (argp has the second for its line of usage, which is not shown.) */
#define OPTION_MORE (OPTION_HIDDEN | OPTION_NO_USAGE)

/* The entry of a command whose arguments stand without an option. names: "IN OUT", one space between two, all of them needed; or
 * "[WHAT...]", none to OPTIONS_OPERANDS_MAX. */
#define OPTION_OPERANDS(names, doc)                                                                                                \
    {                                                                                                                              \
        names, OPTION_KEY_OPERANDS, NULL, OPTION_DOC, doc, 1                                                                       \
    }

/* Entries shared by the tables of several commands. The number at the end is the group: help lists groups in order, and the options
 * of one by name: 1 model, 2 input, 3 what to do, 4 sampling, 5 more of it, 6 resources, 7 output, 8 help. */
/* clang-format off */
#define OPTION_MODEL   {"model", 'm', "MODEL", 0, "GGUF file (default: the bundled model)", 1}
#define OPTION_CONTEXT {"ctx", 'c', "CTX", 0, "positions (default: as trained, at most 4096)", 6}
#define OPTION_BATCH   {"batch", 'b', "BATCH", 0, "prompt tokens computed together (512)", 6}
#define OPTION_THREADS {"threads", 't', "THREADS", 0, "workers (default: usable physical cores)", 6}
#define OPTION_RAM_CAP {"ram-cap", OPTION_KEY_RAM_CAP, "SIZE", 0, "refuse to take more memory; K, M, G, T", 6}
#define OPTION_KV      {"kv", OPTION_KEY_KV, "TYPE", 0, "cache in f16 (default), f32 or q8_0", 6}
#define OPTION_SLIDING_WINDOW                                                                                                      \
    {"sliding-window", OPTION_KEY_SLIDING_WINDOW, NULL, 0, "keep to the window that a llama file states", 6}
#define OPTION_FLOAT_GEMM {"float-gemm", OPTION_KEY_FLOAT_GEMM, "WHO", 0, "float weights by own kernels (default) or blas", 6}
#define OPTION_PAGES   {"pages", OPTION_KEY_PAGES, "KIND", 0, "memory in pages of auto (default), 4k, 2m or 1g", 6}
#define OPTION_CACHE_BUDGET {"cache-budget", OPTION_KEY_CACHE_BUDGET, "SIZE", 0, "keep what conversations computed; K, M, G, T", 6}
#define OPTION_PACK_CACHE {"pack-cache", OPTION_KEY_PACK_CACHE, "DIR", 0, "keep packed weights in a folder; map them", 6}
#define OPTION_VERIFY  {"verify", OPTION_KEY_VERIFY_OPEN, "WHEN", OPTION_MORE, "look at weights: full (default), lazy or off", 6}
#define OPTIONS_RESOURCES /* of commands that generate; the rarer ones marked */                                                   \
    OPTION_CONTEXT,                                                                                                                \
    {"ctx-size", 'c', "CTX", OPTION_HIDDEN, NULL, 6},                                                                              \
    {"batch", 'b', "BATCH", OPTION_MORE, "prompt tokens computed together (512)", 6},                                              \
    {"batch-size", 'b', "BATCH", OPTION_HIDDEN, NULL, 6},                                                                          \
    OPTION_THREADS,                                                                                                                \
    OPTION_RAM_CAP,                                                                                                                \
    {"pages", OPTION_KEY_PAGES, "KIND", OPTION_MORE, "memory in pages of auto (default), 4k, 2m or 1g", 6},                        \
    {"pack-cache", OPTION_KEY_PACK_CACHE, "DIR", OPTION_MORE, "keep packed weights in a folder; map them", 6},                     \
    OPTION_VERIFY,                                                                                                                 \
    OPTION_KV,                                                                                                                     \
    {"sliding-window", OPTION_KEY_SLIDING_WINDOW, NULL, OPTION_MORE, "keep to the window that a llama file states", 6},            \
    {"float-gemm", OPTION_KEY_FLOAT_GEMM, "WHO", OPTION_MORE, "float weights by own kernels (default) or blas", 6}
#define OPTION_JSON    {"json", OPTION_KEY_JSON, NULL, 0, "JSON on standard output", 7}
#define OPTION_QUIET   {"quiet", 'q', NULL, 0, "only errors on standard error", 7}
#define OPTION_HELP    {"help", 'h', NULL, 0, "show this and end", 8}
#define OPTION_HELP_ALL {"help-all", OPTION_KEY_HELP_ALL, NULL, 0, "show the rarer options too", 8}
/* clang-format on */

struct options_command {
    const char *name;     /* "hearth run" */
    const char *synopsis; /* one line, what it does */
    const struct argp_option *table;
};

/* Parse the arguments of a command; argv[0] is its name. True: go on. False: end with *exit_code; help or the error was shown. */
bool options_parse(struct options *out, int *exit_code, const struct options_command *command, int argc, char **argv);

/* "f16", "f32" or "q8_0" for a kv_type of hearth.h; NULL when there is no such type. */
const char *options_kv_name(int32_t kv_type);
/* Limits of the session that the options ask for. */
hearth_limits options_limits(const struct options *options);
/* Open an engine with `threads` workers, the options' cap, the log of report.h, and progress while models are loaded, which an
 * interrupt stops. */
hearth_status options_open_engine(hearth_engine **out, const struct options *options, uint32_t threads, hearth_error *error);
/* Open an engine and plan the options' model and session on it. E_MEMORY also when the plan does not fit its cap; then *plan is
 * there to be shown, if it could be made. The caller closes both, whatever is returned. */
hearth_status options_open_plan(hearth_engine **engine, hearth_plan **plan, const struct options *options, hearth_error *error);

#endif
