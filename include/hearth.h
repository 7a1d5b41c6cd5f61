/* Hearth: run quantized language models on x86-64 CPUs.
 *
 * The life of things: an engine owns the threads and the memory cap; a model is one opened GGUF file, immutable and shared;
 * a session is one timeline of tokens over a model. Close them in the opposite order.
 *
 * Every function that can fail returns a hearth_status and fills the caller's hearth_error (which may be NULL). A failure
 * leaves every object usable. The library never prints, exits, aborts, installs signal handlers or keeps global state.
 *
 * Threads are documented in four words: "thread-safe" (any thread, any time), "engine-lock" (safe, but calls on one engine wait for
 * each other), "session-bound" (one thread at a time for each session), "init-only" (not while anything else uses the object).
 * Every call is content with a thread of 256 KiB of stack.
 *
 * Option structs begin with struct_size: set it to sizeof, leave what you do not care about zero; zero means default.
 * Sizes are bytes, positions and lengths are tokens, text is UTF-8 and need not end in NUL where a length stands beside it. */
#ifndef HEARTH_H
#define HEARTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(HEARTH_BUILD)
#define HEARTH_API __attribute__((visibility("default")))
#else
#define HEARTH_API
#endif

#define HEARTH_VERSION "0.1.0"
#define HEARTH_ABI 1
#define HEARTH_ARITHMETIC 1 /* version of the bit contract: equal numbers give equal logits (docs/arithmetic.md) */

/** Version of the library in use, for example "0.1.0". Thread-safe. */
HEARTH_API const char *hearth_version(void);
/** ABI number of the library in use; compare with HEARTH_ABI. Thread-safe. */
HEARTH_API int32_t hearth_abi(void);

/* ---- Status and errors ------------------------------------------------------------------------------------------ */

typedef int32_t hearth_status;
#define HEARTH_OK 0
#define HEARTH_E_NOT_FOUND 1    /* no such file, or no model of this name in a manager */
#define HEARTH_E_MEMORY 2       /* does not fit the cap: needed and available are filled in */
#define HEARTH_E_CONFIG 3       /* an option or argument is out of its range */
#define HEARTH_E_INFERENCE 4    /* numbers are not finite, or a kernel failed its self-test */
#define HEARTH_E_FORMAT 5       /* the model file is damaged or contradicts itself */
#define HEARTH_E_UNSUPPORTED 6  /* the file is valid, but this version does not run it */
#define HEARTH_E_IO 7           /* reading or mapping failed */
#define HEARTH_E_STATE 8        /* a saved state is invalid */
#define HEARTH_E_CONTEXT_FULL 9 /* more tokens than the context holds: needed and available are filled in */
#define HEARTH_E_CANCELLED 10   /* a callback asked to stop, or hearth_session_cancel(), or a deadline (detail E_DEADLINE) */
#define HEARTH_E_BUSY 11        /* the object is in use by another thread, or still has users */
#define HEARTH_E_FORKED 12      /* the process has forked since the engine was opened */

/** What went wrong, owned by the caller. `message` is one printable line "FILE: SITE: WHAT (got G, need N)", without a
 * newline; `detail` names the check that failed, for example "E_TRUNC". */
typedef struct hearth_error {
    hearth_status code;
    char detail[20];
    uint64_t needed;    /* bytes or tokens, for E_MEMORY and E_CONTEXT_FULL; else 0 */
    uint64_t available; /* likewise */
    char message[400];
} hearth_error;

/** "E_MEMORY" and the like; "E_UNKNOWN" for a number that is no status. Static text. Thread-safe. */
HEARTH_API const char *hearth_status_name(hearth_status status);
/** The exit code that the hearth program gives for a status: 0, 1, 2, 3, 4, 5, 6, 7, 8 or 130. Thread-safe. */
HEARTH_API int32_t hearth_status_exit_code(hearth_status status);

/* ---- Engine ----------------------------------------------------------------------------------------------------- */

typedef struct hearth_engine hearth_engine;

/** Receives one line of information (no newline). level: 0 information, 1 warning. Called on the thread that called us. */
typedef void hearth_log_fn(int32_t level, const char *message, void *user);

/** Progress of loading; false cancels. Called on the thread that called us. */
typedef bool hearth_progress_fn(uint64_t done_bytes, uint64_t total_bytes, void *user);

/** Whether to stop: true ends the call in progress, whichever session's or model's, with HEARTH_E_CANCELLED. Asked on a worker,
 * while the calling thread waits: before each layer of a batch, and between the tensors of a model being opened. Sessions stay
 * usable, as after hearth_session_cancel(), and need no hearth_session_resume(). It must be quick, need little stack, and call
 * nothing of this library but hearth_session_cancel(). */
typedef bool hearth_abort_fn(void *user);

/** Memory from the host. `allocate` gives `bytes` > 0, aligned to `alignment`, a power of two (64 for handles; for arenas, which
 * are whole pages, 4096, or 2 MiB from 2 MiB up), or NULL, which becomes HEARTH_E_MEMORY; what it holds does not matter, it is
 * zeroed. `release` takes back what `allocate` gave, with the same number of bytes. Both are called on threads that call us, on
 * several at once where several do. Memory must be private, readable and writable; its pages may be advised about (madvise) and
 * locked by us.
 *
 * All handles and all that lives as long as models and sessions pass through it; huge pages are then the allocator's business. What
 * does not: the worker threads with their stacks (one mapping, the line "threads" of the plan), a file's header and its tables
 * while a model is opened, memory while kernels are tested, a pack cache's mapping, and what hwloc, OpenBLAS and the C library take
 * for themselves. */
typedef struct hearth_allocator {
    uint32_t struct_size;
    void *(*allocate)(size_t bytes, size_t alignment, void *user);
    void (*release)(void *memory, size_t bytes, void *user);
    void *user;
} hearth_allocator;

#define HEARTH_FLOAT_GEMM_OWN 0
#define HEARTH_FLOAT_GEMM_BLAS 1

/* Pages for the memory of models and sessions. What an engine takes does not depend on which of them the system has: memory of 2
 * MiB or more is whole pages of 2 MiB, but for HEARTH_PAGES_4K. Hugetlb pages come from pools that the administrator fills
 * (/sys/kernel/mm/hugepages); where these are too small the next smaller kind serves, with a warning in the log. They are private
 * memory as any other, counted in the plan, held against the cap and seen by RLIMIT_DATA, but the kernel counts them as
 * Private_Hugetlb, not as Anonymous or Rss, and not as MemAvailable: with large pools, set ram_cap. */
#define HEARTH_PAGES_AUTO 0 /* 2 MiB where the system gives transparent huge pages */
#define HEARTH_PAGES_4K 1   /* 4 KiB alone: a little less memory, slower */
#define HEARTH_PAGES_2M 2   /* hugetlb pages of 2 MiB */
#define HEARTH_PAGES_1G 3   /* hugetlb pages of 1 GiB for whole GiB, of 2 MiB for the rest */

/* When the numbers of weights are looked at: one that is not finite, or larger than any weight's, is HEARTH_E_FORMAT from
 * hearth_model_open() and names tensor, block and row. Unseen, it makes the computation that it meets end with HEARTH_E_INFERENCE.
 * Damage to a pack cache that is found late is HEARTH_E_IO from the call that computes, and from each later one. What is packed
 * unseen is not written to a pack cache. */
#define HEARTH_VERIFY_FULL 0 /* while they are packed; a pack cache is held against its checksums before the model is open */
#define HEARTH_VERIFY_LAZY 1 /* while they are packed; a pack cache only before its model first computes */
#define HEARTH_VERIFY_OFF 2  /* never */

typedef struct hearth_engine_options {
    uint32_t struct_size;
    uint32_t threads; /* workers; 0: one for each physical core within affinity and cgroup quota; at most 1024 */
    uint64_t ram_cap; /* bytes this engine may take in all; 0: what the machine and its cgroup have available now, less a margin of
                         1/16 of that, at least 256 MiB, at most one half */
    hearth_log_fn *log;
    void *log_user;
    int32_t float_gemm; /* HEARTH_FLOAT_GEMM_BLAS: F32, F16 and BF16 weights times 32 tokens or more by OpenBLAS, whose results are
                           outside the bit contract; HEARTH_E_UNSUPPORTED where it is not installed */
    const char *pack_cache; /* folder for files of packed weights, written once and then mapped; NULL: none. Not kept. Make it a
                               folder that only this user can write to, on a local disk (docs/architecture.md, "Pack cache") */
    hearth_progress_fn *progress; /* of models that are opened without one of their own */
    void *progress_user;
    hearth_abort_fn *abort;
    void *abort_user;
    int32_t pages;                     /* HEARTH_PAGES_* */
    uint64_t prefetch_window;          /* bytes of a file that the system is asked for ahead of what is being packed; 0: 64 MiB */
    const hearth_allocator *allocator; /* NULL: the system; not kept, but what it names must live as long as the last handle */
    uint64_t cache_budget; /* bytes for keys and values that sessions give up and hearth_session_prompt() takes up again, a line of
                              the plan, taken with the first model; 0: none. HEARTH_E_CONFIG from a plan, model or session of
                              whose cache not even 64 positions have room (docs/architecture.md, "Prefix cache") */
    int32_t verify;        /* HEARTH_VERIFY_* */
} hearth_engine_options;

/**
 * Find out about the machine, choose kernels, check each of them against the reference, start the pinned workers.
 * The environment variable HEARTH_CPU=reference|avx2|avxvnni|avx512 lowers the kernel level.
 *
 * @param out  Receives the engine, NULL on failure. Owned by the caller: hearth_engine_close().
 * @return HEARTH_OK, HEARTH_E_CONFIG, HEARTH_E_MEMORY, HEARTH_E_IO, HEARTH_E_UNSUPPORTED.
 * Cost: some milliseconds. Threads: thread-safe.
 */
HEARTH_API hearth_status hearth_engine_open(hearth_engine **out, const hearth_engine_options *options, hearth_error *error);
/** Stop the workers and give everything back. NULL is allowed. All models and sessions must be closed. Init-only. */
HEARTH_API void hearth_engine_close(hearth_engine *engine);
/** One sentence on the threads and kernels chosen, and why. Owned by the engine. Thread-safe. */
HEARTH_API const char *hearth_engine_summary(const hearth_engine *engine);
/** Number of workers. Thread-safe. */
HEARTH_API uint32_t hearth_engine_threads(const hearth_engine *engine);
/** "reference", "avx2", "avxvnni" or "avx512". Static text. Thread-safe. */
HEARTH_API const char *hearth_engine_cpu_level(const hearth_engine *engine);

/* ---- Memory plan ------------------------------------------------------------------------------------------------ */

#define HEARTH_KV_F16 0
#define HEARTH_KV_F32 1
#define HEARTH_KV_Q8_0 2 /* 34 bytes for 32 elements: half of F16, and faster over long contexts */

/** What a session may hold. */
typedef struct hearth_limits {
    uint32_t struct_size;
    uint32_t context;     /* positions; 0: min(4096, trained context) */
    uint32_t batch;       /* tokens computed together while reading a prompt; 0: 512 */
    int32_t kv_type;      /* HEARTH_KV_F16, HEARTH_KV_F32 or HEARTH_KV_Q8_0 */
    uint32_t logits_rows; /* positions of one batch whose logits are kept; 0: 1, the last */
    uint32_t grammar; /* not 0: room for a grammar, 2 MiB and 5 bytes for each token of the vocabulary; not in the first version */
    uint32_t sliding_window; /* 1: keep to the window that a file of architecture llama states, as Mistral 7B v0.1 was trained; 0:
                                see everything, as common practice is. Other architectures have windows, or none, in any case.
                                Not in the first version */
    uint32_t chat; /* not 0: room for a hearth_chat, 266 KiB and 282 bytes for each position, more for templates above 10 KiB. Not
                      in the first versions */
} hearth_limits;

typedef struct hearth_plan hearth_plan;

/**
 * What opening this file and one session on it will take, computed from the file's header alone.
 * Succeeds even where the plan does not fit: ask hearth_plan_check().
 *
 * @param out     Receives the plan; owned by the caller: hearth_plan_close().
 * @param limits  NULL for defaults.
 * Cost: reads the header only, milliseconds. Threads: thread-safe.
 */
HEARTH_API hearth_status hearth_plan_open(hearth_plan **out, hearth_engine *engine, const char *path, const hearth_limits *limits,
                                          hearth_error *error);
HEARTH_API void hearth_plan_close(hearth_plan *plan);
/** Bytes of private (anonymous) memory the whole process will take: the sum of all lines. Thread-safe. */
HEARTH_API uint64_t hearth_plan_private_bytes(const hearth_plan *plan);
/** Bytes of file mapping kept while the model is open: of packed weights, where the engine's pack cache has them; else 0. They are
 * shared between processes, may be dropped and read again by the system, and are not held against the cap. A file that turns out
 * damaged when the model is opened is not used: then the weights are private memory, and the plan is made and checked anew.
 * Thread-safe. */
HEARTH_API uint64_t hearth_plan_mapped_bytes(const hearth_plan *plan);
/** The cap the plan is held against: the engine's, less what its other models and sessions have taken. A limit on the private
 * memory of the process (RLIMIT_DATA: `ulimit -d`, `prlimit --data`) lowers the engine's cap, given or not, to what it leaves.
 * Thread-safe. */
HEARTH_API uint64_t hearth_plan_cap_bytes(const hearth_plan *plan);
/** Context and batch after defaults. Thread-safe. */
HEARTH_API uint32_t hearth_plan_context(const hearth_plan *plan);
HEARTH_API uint32_t hearth_plan_batch(const hearth_plan *plan);
/** Lines of the plan: index 0 … count-1; NULL name past the end. Names are owned by the plan. Thread-safe. */
HEARTH_API size_t hearth_plan_line_count(const hearth_plan *plan);
HEARTH_API const char *hearth_plan_line_name(const hearth_plan *plan, size_t index);
HEARTH_API uint64_t hearth_plan_line_bytes(const hearth_plan *plan, size_t index);
/** HEARTH_OK if the plan fits its cap; else HEARTH_E_MEMORY with needed, available and the cheapest ways to fit. Thread-safe. */
HEARTH_API hearth_status hearth_plan_check(const hearth_plan *plan, hearth_error *error);

/* ---- Model ------------------------------------------------------------------------------------------------------ */

typedef struct hearth_model hearth_model;

typedef struct hearth_model_options {
    uint32_t struct_size;
    hearth_progress_fn *progress;
    void *progress_user;
} hearth_model_options;

/**
 * Open a GGUF model and make it ready to run on this machine: header checked, plan held against the cap, weights packed
 * into memory. The file is untrusted: a damaged or hostile one gives an error, never undefined behaviour.
 *
 * @param out      Receives the model, NULL on failure. Owned by the caller: hearth_model_close().
 * @param path     File name; of a split model that of its first part, "...-00001-of-00003.gguf". Not kept.
 * @param limits   The session that will be opened on it, so that both are refused together before a weight is read. NULL for
 * defaults.
 * @param options  NULL for defaults. Not kept.
 * @return HEARTH_OK, E_NOT_FOUND, E_IO, E_FORMAT, E_UNSUPPORTED, E_CONFIG, E_MEMORY, E_CANCELLED, E_INFERENCE.
 * Cost: reads the file once. Threads: engine-lock; the model is immutable once open and shared freely by sessions, which it must
 * outlive.
 */
HEARTH_API hearth_status hearth_model_open(hearth_model **out, hearth_engine *engine, const char *path, const hearth_limits *limits,
                                           const hearth_model_options *options, hearth_error *error);
/** Open only the tokenizer of a file: enough for hearth_tokenize() and hearth_detokenize(), also for files without tensors. */
HEARTH_API hearth_status hearth_model_open_vocabulary(hearth_model **out, hearth_engine *engine, const char *path,
                                                      hearth_error *error);
/** NULL is allowed. Sessions on it must be closed. Engine-lock. */
HEARTH_API void hearth_model_close(hearth_model *model);
HEARTH_API uint32_t hearth_model_vocabulary_size(const hearth_model *model);
HEARTH_API uint32_t hearth_model_trained_context(const hearth_model *model);
HEARTH_API uint64_t hearth_model_weight_bytes(const hearth_model *model);
/** Whether a token ends an answer (end of text, end of turn, ...). Thread-safe. */
HEARTH_API bool hearth_model_is_end(const hearth_model *model, int32_t token);

/* ---- Text and tokens -------------------------------------------------------------------------------------------- */

#define HEARTH_TOKENIZE_BOS 1u     /* begin with the model's beginning-of-text token, where it wants one */
#define HEARTH_TOKENIZE_SPECIAL 2u /* recognise special tokens spelt in the text; never for text of strangers */

/**
 * Text to token ids. Bytes that are not UTF-8 become byte tokens.
 *
 * @param ids       Receives at most `capacity` ids; may be NULL when capacity is 0.
 * @param n_ids     Receives the number of ids the whole text has, also when that is more than capacity.
 * @return HEARTH_OK, HEARTH_E_CONFIG (more ids than capacity; the first ones are written), HEARTH_E_MEMORY.
 * Cost: n log n in the longest word. Threads: engine-lock (one scratch buffer for each model).
 */
HEARTH_API hearth_status hearth_tokenize(hearth_model *model, const char *text, size_t text_bytes, uint32_t flags, int32_t *ids,
                                         size_t capacity, size_t *n_ids, hearth_error *error);
/**
 * The prompt of a fill-in-the-middle model: beginning of text where the model wants one, the prefix token, the text before the gap,
 * the suffix token, the text after it, the middle token; what the model generates then belongs into the gap. Special tokens in the
 * two texts are not recognised. Parameters, cost and threads as of hearth_tokenize().
 * @return HEARTH_OK, HEARTH_E_UNSUPPORTED (the model has no such tokens; the message names the keys), HEARTH_E_CONFIG (as above).
 */
HEARTH_API hearth_status hearth_tokenize_infill(hearth_model *model, const char *prefix, size_t prefix_bytes, const char *suffix,
                                                size_t suffix_bytes, int32_t *ids, size_t capacity, size_t *n_ids,
                                                hearth_error *error);
/**
 * As hearth_tokenize(), for a text that not one person wrote, such as a chat template's: with HEARTH_TOKENIZE_SPECIAL, special
 * tokens are recognised only where no byte is marked as coming from somebody else. Marks do not part the text otherwise.
 *
 * @param from_caller  A byte for each of the text, 0 or 1; NULL: all 0.
 */
HEARTH_API hearth_status hearth_tokenize_marked(hearth_model *model, const char *text, const uint8_t *from_caller,
                                                size_t text_bytes, uint32_t flags, int32_t *ids, size_t capacity, size_t *n_ids,
                                                hearth_error *error);
/**
 * Token ids to bytes of text; special tokens give nothing. The result is not NUL-terminated and may end inside a character.
 * @param text_bytes  Receives the length of the whole text, also when it is more than capacity.
 * Thread-safe.
 */
HEARTH_API hearth_status hearth_detokenize(const hearth_model *model, const int32_t *ids, size_t n_ids, char *text, size_t capacity,
                                           size_t *text_bytes, hearth_error *error);

/* ---- Session ---------------------------------------------------------------------------------------------------- */

typedef struct hearth_session hearth_session;

/** Added to the logit of a token before it is compared with others; -INFINITY forbids the token. */
typedef struct hearth_logit_bias {
    int32_t token;
    float bias; /* not NaN, not +INFINITY */
} hearth_logit_bias;

#define HEARTH_LOGIT_BIAS_MAX 256
#define HEARTH_DRY_BREAKERS_MAX 16 /* together at most 256 bytes, each of 1 to 40 */

/* Steps of hearth_sampling.order. */
#define HEARTH_SAMPLER_TOP_N_SIGMA 1
#define HEARTH_SAMPLER_TOP_K 2
#define HEARTH_SAMPLER_TYPICAL 3
#define HEARTH_SAMPLER_TOP_P 4
#define HEARTH_SAMPLER_MIN_P 5
#define HEARTH_SAMPLER_XTC 6
#define HEARTH_SAMPLER_TEMPERATURE 7
#define HEARTH_SAMPLER_STEPS 7

/** How the next token is chosen (docs/sampling.md). Begin with hearth_sampling_init(), which gives the defaults. What the pointers
 * name is copied when it is set. Structures that end behind `seed`, as the first version's did, are taken: the rest is off. One of
 * a size between two versions is taken as the smaller. */
typedef struct hearth_sampling {
    uint32_t struct_size;
    int32_t top_k;         /* 40; <= 0 off */
    float temperature;     /* 0.8; 0 takes the most likely token */
    float top_p;           /* 0.95; 1 off */
    float min_p;           /* 0.05; 0 off */
    float repeat_penalty;  /* 1, off */
    int32_t repeat_last_n; /* tokens that the three penalties look back: 64; 0 off; -1 the whole context */
    uint64_t seed;         /* the same seed gives the same answer */

    float frequency_penalty;         /* 0, off; subtracted for each time a token stands there */
    float presence_penalty;          /* 0, off; subtracted once */
    float dry_multiplier;            /* 0, off; what would continue a repetition loses multiplier * base^(its length - allowed) */
    float dry_base;                  /* 1.75; >= 1 */
    int32_t dry_allowed_length;      /* 2 */
    int32_t dry_last_n;              /* 64 tokens; 0 off; -1 the whole context */
    const char *const *dry_breakers; /* texts that no repetition is followed across: line feed, ':', '"', '*' */
    uint32_t n_dry_breakers;
    float typical_p;         /* 1, off */
    float top_n_sigma;       /* -1; <= 0 off */
    float xtc_probability;   /* 0, off */
    float xtc_threshold;     /* 0.1; > 0.5 off */
    float dynatemp_range;    /* 0, off; temperature +- range, by how sure the model is */
    float dynatemp_exponent; /* 1 */
    int32_t mirostat;        /* 0, off; 1 and 2 replace every filter */
    float mirostat_tau;      /* 5 bits of surprise are aimed at */
    float mirostat_eta;      /* 0.1; how fast */
    uint32_t min_keep;       /* 0; no filter leaves fewer tokens */
    uint32_t n_logit_bias;   /* at most HEARTH_LOGIT_BIAS_MAX */
    const hearth_logit_bias *logit_bias;
    int32_t order[8]; /* HEARTH_SAMPLER_* from first to last, then zeros; all zero: in the order of their numbers */
    bool ignore_end;  /* never choose a token that ends an answer */
} hearth_sampling;

/** Fill in the defaults, and struct_size with what is given: hearth_sampling_init(&s, sizeof s). Nothing is written behind it, so a
 * program built with an older, shorter structure is safe with a newer library. Thread-safe. */
HEARTH_API void hearth_sampling_init(hearth_sampling *sampling, size_t struct_size);

/**
 * Begin a timeline on a model. After this call nothing allocates until hearth_session_close().
 * @param limits  NULL for defaults.
 * @return HEARTH_OK, HEARTH_E_CONFIG, HEARTH_E_MEMORY (needed and available filled in).
 * Threads: engine-lock.
 */
HEARTH_API hearth_status hearth_session_open(hearth_session **out, hearth_model *model, const hearth_limits *limits,
                                             hearth_error *error);
HEARTH_API void hearth_session_close(hearth_session *session);
/** Set the samplers and restart the random stream from the seed. E_CONFIG for a value out of range. Session-bound. */
HEARTH_API hearth_status hearth_session_set_sampling(hearth_session *session, const hearth_sampling *sampling, hearth_error *error);
/**
 * From here on the text must follow a grammar in GBNF (docs/sampling.md); set it when the prompt has been fed. Tokens that would
 * break it are never chosen, tokens that end an answer exactly where it may end; tokens fed count as text too. hearth_generate()
 * ends with HEARTH_STOP_END as soon as nothing else can follow. The grammar is dropped by NULL and by hearth_session_reset().
 *
 * @param grammar  UTF-8 of outside: a bad or hostile one is an error that names the line. Not kept.
 * @return HEARTH_OK; HEARTH_E_CONFIG: detail E_GRAMMAR for the text, or the limits of model and session have no room for one. After
 *         a failure there is no grammar. Choosing a token fails with E_CONFIG, E_GRAMMAR when no token can follow, or when the
 *         grammar is so ambiguous that finding out takes too much work.
 * Cost: linear in the text. Nothing allocates. Threads: session-bound.
 */
HEARTH_API hearth_status hearth_session_set_grammar(hearth_session *session, const char *grammar, size_t bytes,
                                                    hearth_error *error);
/** Forget all tokens, and the grammar; the memory stays. Session-bound. */
HEARTH_API void hearth_session_reset(hearth_session *session);
/** Tokens in the context, and how many it can hold. Session-bound. */
HEARTH_API uint32_t hearth_session_position(const hearth_session *session);
HEARTH_API uint32_t hearth_session_context(const hearth_session *session);
/** The tokens in the context, first to last; *n (may be NULL) receives their number, the position. The last token of an answer that
 * was cut off is among them once it has been computed. Owned by the session, valid until it changes. Session-bound. */
HEARTH_API const int32_t *hearth_session_tokens(const hearth_session *session, uint32_t *n);
/**
 * Forget the tokens from `position` on, as if they had never been fed: what is fed next gives the bits that it would have given
 * then. The logits are gone (feed before sampling), and so are the last token of an answer that was cut off and the grammar. The
 * penalties know only the text that is left; random stream and mirostat go on.
 *
 * @return HEARTH_OK; HEARTH_E_CONFIG beyond hearth_session_position(); HEARTH_E_UNSUPPORTED, detail E_WINDOW, where layers with a
 *         window have overwritten what the next token would see: later positions, and 0, can still be gone back to. After a
 *         failure nothing has changed.
 * Cost: linear in the text that is left, microseconds; with a prefix cache, copying what is given up. Threads: session-bound.
 */
HEARTH_API hearth_status hearth_session_rewind(hearth_session *session, uint32_t position, hearth_error *error);

/**
 * Stop what the session computes: the call in progress returns HEARTH_E_CANCELLED before its next layer, and so do all that begin
 * later, until hearth_session_resume(). A cancellation is therefore never lost, however closely it races with a call. A call that
 * waits for another session's batch, in the same engine, waits on. One store: a signal handler may do it. NULL is allowed.
 * Thread-safe, while the session is open.
 */
HEARTH_API void hearth_session_cancel(hearth_session *session);
/** Let a cancelled session go on from where it stands. NULL is allowed. Thread-safe. */
HEARTH_API void hearth_session_resume(hearth_session *session);
/**
 * Calls that still compute so many seconds from now, or begin after that, return HEARTH_E_CANCELLED with the detail "E_DEADLINE",
 * as by hearth_session_cancel(). Holds until it is set again; 0: none. E_CONFIG for less than 0 or NaN. Session-bound.
 */
HEARTH_API hearth_status hearth_session_set_deadline(hearth_session *session, double seconds, hearth_error *error);

typedef struct hearth_estimate {
    uint32_t struct_size;
    uint32_t n_prompt;  /* tokens of the prompt */
    uint32_t n_needed;  /* positions in use + prompt + answer */
    uint32_t n_context; /* positions there are */
    uint64_t kv_bytes;  /* KV cache that those positions fill, out of memory the plan already holds */
    bool fits;
} hearth_estimate;

/** What a prompt and an answer of n_answer tokens would need in this session, before anything is computed. Session-bound. */
HEARTH_API hearth_status hearth_session_estimate(hearth_session *session, const char *text, size_t text_bytes, uint32_t flags,
                                                 uint32_t n_answer, hearth_estimate *estimate, hearth_error *error);

/**
 * Append tokens and compute them, in batches. E_CONTEXT_FULL before anything is computed when they do not fit.
 * On E_INFERENCE and E_CANCELLED the session stands where it stood before the call, but for the logits, which are gone; the last
 * token of an answer (hearth_session_tokens()) may be among the tokens by then. Where layers have a window, earlier batches of the
 * same call may have overwritten what is needed there; then it is reset, and its position 0. Session-bound.
 */
HEARTH_API hearth_status hearth_session_feed(hearth_session *session, const int32_t *ids, size_t n_ids, hearth_error *error);
/** Tokenize and feed. n_ids (may be NULL) receives the number of tokens. Session-bound. */
HEARTH_API hearth_status hearth_session_feed_text(hearth_session *session, const char *text, size_t text_bytes, uint32_t flags,
                                                  size_t *n_ids, hearth_error *error);
typedef struct hearth_prompt_info {
    uint32_t struct_size;
    uint32_t n_kept;     /* tokens that were in the session already */
    uint32_t n_restored; /* taken from the engine's prefix cache; 0 where it has none */
    uint32_t n_computed;
} hearth_prompt_info;

/**
 * Make `ids` the whole content of the session and compute only what is new: the longest beginning that the session has already is
 * kept, the rest of its tokens are forgotten as by hearth_session_rewind(), what the engine's prefix cache has of the rest of ids
 * is copied, and what is left is fed; at least the last token, so that there are logits. The logits have the bits of
 * hearth_session_reset() and hearth_session_feed(). The random stream goes on; hearth_session_set_sampling() restarts it. Where a
 * window forbids going back, everything is computed.
 *
 * @param info  Receives what was done, also on failure; may be NULL.
 * @return HEARTH_OK; before anything is changed HEARTH_E_CONFIG and HEARTH_E_CONTEXT_FULL; HEARTH_E_CANCELLED and
 *         HEARTH_E_INFERENCE: the session holds a beginning of ids, hearth_session_position() long, without logits. The same call
 *         goes on from there.
 * Threads: session-bound.
 */
HEARTH_API hearth_status hearth_session_prompt(hearth_session *session, const int32_t *ids, size_t n_ids, hearth_prompt_info *info,
                                               hearth_error *error);
/**
 * Write the session to a file, so that hearth_session_restore() goes on from there with the same bits: tokens, keys and values, the
 * logits there are, the token still owed, and everything that hearth_session_set_sampling() sets, with the random stream. Not the
 * grammar, nor cancellation and deadline. The file is written beside its place, synchronized and renamed, mode 0600: whatever
 * happens meanwhile, there is the old file or the new one, whole. Symbolic links are not followed. Format: docs/states.md.
 *
 * @return HEARTH_OK; HEARTH_E_NOT_FOUND (the folder), HEARTH_E_IO (the reason in the message: no room, no permission),
 * HEARTH_E_BUSY (somebody else is writing this file). After a failure the old file is as it was; only when the system fails to
 * synchronize the folder, at the very end, the new one is there already (HEARTH_E_IO, and a power cut may bring the old one back).
 * Cost: the size of the file, about hearth_estimate.kv_bytes of the tokens there are, and waits for the disk; takes no memory.
 * Threads: session-bound.
 */
HEARTH_API hearth_status hearth_session_save(hearth_session *session, const char *path, hearth_error *error);
/**
 * Become what was saved. The context may have another length, if the tokens fit, and batch, threads and CPU level may be others.
 * The file is verified to the last byte before anything is changed: a damaged, cut or foreign one leaves the session as it was.
 * Checksums find accidents; whoever can forge them can put other numbers into the session, and nothing worse.
 *
 * @return HEARTH_OK; HEARTH_E_NOT_FOUND, HEARTH_E_IO; HEARTH_E_CONTEXT_FULL (needed and available in tokens); HEARTH_E_STATE, with
 *         detail E_MAGIC, E_VERSION, E_ENDIAN, E_TRUNC, E_SIZE, E_SUM (damaged), E_MODEL, E_TOKENIZER, E_ARITHMETIC, E_KV, E_SHAPE,
 *         E_WINDOW, E_ROPE (of another model, or computed otherwise), E_HEADER, E_LAYER, E_TOKENID, E_SAMPLER (contradicts itself),
 *         E_CHANGED. After a failure the session is as it was; only a file that was verified, and then can be read no longer or is
 *         changed at that moment, leaves it empty, at position 0.
 * Cost: reads the file twice. Threads: session-bound.
 */
HEARTH_API hearth_status hearth_session_restore(hearth_session *session, const char *path, hearth_error *error);
/**
 * Logits of the position `back` places before the last one fed (0: the last). Vocabulary-size floats, owned by the session, valid
 * until the next feed. NULL where logits were not kept (see hearth_limits.logits_rows). Session-bound.
 */
HEARTH_API const float *hearth_session_logits(const hearth_session *session, uint32_t back);
/** Choose the next token from the last logits; it is not fed. Session-bound. */
HEARTH_API hearth_status hearth_session_sample(hearth_session *session, int32_t *token, hearth_error *error);

/** Receives text as it comes: whole UTF-8 characters only. false stops. Called on the thread that called hearth_generate(). */
typedef bool hearth_text_fn(const char *text, size_t bytes, void *user);

#define HEARTH_TOP_LOGPROBS_MAX 20

typedef struct hearth_logprob {
    int32_t token;
    float logprob; /* natural logarithm of its probability */
} hearth_logprob;

/** A token that has been chosen. What the pointers name is valid during the callback alone. */
typedef struct hearth_token {
    uint32_t struct_size; /* of the library's version; fields are appended */
    int32_t id;
    const char *text; /* its piece of the answer; may begin or end within a character, and is empty for a special token */
    size_t text_bytes;
    float logprob; /* by the model's own logits, before grammar, biases and samplers; NaN unless asked for */
    uint32_t n_top;
    const hearth_logprob *top; /* the likeliest n_top by the same logits, likeliest first, of equal ones the lower id */
} hearth_token;

/** Receives each token as it is chosen, before its text is shown: the one that ends the answer too, and those of a stop string.
 * false stops; the token still belongs to the answer. Called on the thread that called hearth_generate(). */
typedef bool hearth_token_fn(const hearth_token *token, void *user);

#define HEARTH_STOP_END 0       /* the model ended its answer, or its grammar did */
#define HEARTH_STOP_STRING 1    /* a stop string appeared; it and what follows is not shown */
#define HEARTH_STOP_LENGTH 2    /* max_tokens were generated */
#define HEARTH_STOP_CONTEXT 3   /* the context is full */
#define HEARTH_STOP_CALLBACK 4  /* a callback returned false */
#define HEARTH_STOP_CANCELLED 5 /* the call returned HEARTH_E_CANCELLED */

typedef struct hearth_generation {
    uint32_t struct_size;
    uint32_t max_tokens;             /* 0: 256; UINT32_MAX: until the context is full */
    const char *const *stop_strings; /* at most 16, each of 1 … 256 bytes; NUL-terminated; found across token borders */
    uint32_t n_stop_strings;
    hearth_text_fn *text; /* may be NULL */
    void *text_user;
    int32_t *ids; /* receives the tokens chosen, at most ids_capacity; may be NULL */
    size_t ids_capacity;
    bool keep_special;      /* show special tokens by their names, the ending one included; not in the first version */
    hearth_token_fn *token; /* may be NULL; this and what follows: not in the first two versions */
    void *token_user;
    bool logprobs;           /* tell `token` logarithms of probabilities: two passes over the logits for each token */
    uint32_t n_top_logprobs; /* likeliest tokens told with each; at most HEARTH_TOP_LOGPROBS_MAX, and 0 without logprobs */
    uint32_t paranoid_every; /* compute each so-manieth token of the answer again, divided otherwise among the threads, and compare
                                the bits of its logits; 0: none. A difference is E_INFERENCE: a fault of the machine, or a race */
    uint32_t *n_checked;     /* receives how many were compared and found equal; may be NULL */
} hearth_generation;

typedef struct hearth_result {
    uint32_t struct_size;
    uint32_t n_generated; /* tokens chosen, the ending one included */
    int32_t stop;         /* HEARTH_STOP_* */
    double seconds;       /* wall time of the whole call */
} hearth_result;

/**
 * Continue the text: choose a token, show it, compute it, until something stops it. Needs logits of a position fed before.
 * The last token before HEARTH_STOP_LENGTH, HEARTH_STOP_CALLBACK or HEARTH_STOP_CANCELLED is computed by the next feed or generate:
 * an answer in pieces is the answer in one. result may be NULL; it is filled in on HEARTH_E_CANCELLED, too. Session-bound.
 */
HEARTH_API hearth_status hearth_generate(hearth_session *session, const hearth_generation *generation, hearth_result *result,
                                         hearth_error *error);

/* ---- Chat ------------------------------------------------------------------------------------------------------- */

/* A conversation over a session: messages are kept here, written down by the model's chat template for each answer, and what the
 * session has of that text already is not computed again. An answer has the bits that a fresh session would give. */

typedef struct hearth_chat hearth_chat;

#define HEARTH_ROLE_SYSTEM 0
#define HEARTH_ROLE_USER 1
#define HEARTH_ROLE_ASSISTANT 2
#define HEARTH_ROLE_TOOL 3

/* When the conversation leaves no room for an answer: HEARTH_E_CONTEXT_FULL; or the oldest messages go, answers with their
 * questions, until a quarter of the context is free. */
#define HEARTH_CHAT_REFUSE 0
#define HEARTH_CHAT_DROP_OLDEST 1

#define HEARTH_CHAT_KEY_MAX 255         /* bytes of a metadata key */
#define HEARTH_CHAT_METADATA_BYTES 8192 /* for all keys and values, with 6 bytes beside each pair */

/** One message. Owned by the chat, valid until it changes. */
typedef struct hearth_message {
    uint32_t struct_size;
    int32_t role;      /* HEARTH_ROLE_* */
    uint64_t number;   /* 0, 1, 2, ... over the life of the chat: its name */
    uint32_t n_tokens; /* of its text alone */
    const char *text;  /* UTF-8, a NUL behind it */
    size_t text_bytes;
} hearth_message;

/** Told of each message that is about to be dropped, oldest first; may not call functions of this chat or its session. */
typedef void hearth_dropped_fn(const hearth_message *message, void *user);

typedef struct hearth_chat_options {
    uint32_t struct_size;
    const char *chat_template; /* Jinja (docs/chat.md); NULL: the model's. Not kept */
    size_t chat_template_bytes;
    const char *family; /* "chatml", "llama2", "alpaca" or "phi2" in place of a template; NULL: by the model */
    int32_t when_full;  /* HEARTH_CHAT_* */
    uint32_t reserve; /* positions that a prompt leaves free for its answer; 0: 256, or a quarter of the context if that is less */
    hearth_dropped_fn *dropped; /* may be NULL */
    void *dropped_user;
    int64_t now; /* local time as seconds since 1970, for templates that tell the date; 0: the clock, at each answer */
} hearth_chat_options;

/**
 * Begin a conversation on a session, which is the chat's until hearth_chat_close(): set its samplers, deadline and cancellation
 * through hearth_chat_session(), but feed it nothing. A grammar that is set on it governs each answer from its beginning.
 *
 * @param out      Receives the chat, NULL on failure. It lies in the session's memory: close it before the session.
 * @param options  NULL for defaults. Not kept.
 * @return HEARTH_OK; HEARTH_E_CONFIG: the session's limits have no `chat`, or an option is out of range; HEARTH_E_UNSUPPORTED:
 *         detail E_TEMPLATE for a base model, without a template and of no known format, E_LIMIT for a template too large;
 *         HEARTH_E_FORMAT: the template is none; HEARTH_E_BUSY: the session has a chat.
 * Cost: reads the template, under a millisecond; nothing allocates later. Threads: session-bound, like all functions of a chat.
 */
HEARTH_API hearth_status hearth_chat_open(hearth_chat **out, hearth_session *session, const hearth_chat_options *options,
                                          hearth_error *error);
/** NULL is allowed. The session stays, with the tokens it has. */
HEARTH_API void hearth_chat_close(hearth_chat *chat);
/** The session it is held on. */
HEARTH_API hearth_session *hearth_chat_session(hearth_chat *chat);

/**
 * What the model is told first: one message, before all others and never dropped. A template that has no place for it gets it
 * before the first user's words.
 * @param text  UTF-8, copied; not one that this chat has given out. NULL takes the message away.
 * @return HEARTH_OK, HEARTH_E_CONTEXT_FULL as of hearth_chat_add(); then the old one stays.
 */
HEARTH_API hearth_status hearth_chat_set_system(hearth_chat *chat, const char *text, size_t bytes, hearth_error *error);
/**
 * Append a message. Special tokens spelt in it stay text.
 *
 * @param role  HEARTH_ROLE_USER, HEARTH_ROLE_ASSISTANT or HEARTH_ROLE_TOOL.
 * @param text  UTF-8, copied; not one that this chat has given out.
 * @return HEARTH_OK; HEARTH_E_CONFIG for another role; HEARTH_E_CONTEXT_FULL: the text alone has more tokens than the context, or,
 *         with the detail E_ROOM and needed and available in bytes, the chat's memory is full: 16 bytes of text for each position
 *         and 32 messages and one more for each 8 positions. With HEARTH_CHAT_DROP_OLDEST older messages make room first.
 * Cost: tokenizes the text, to count. Session-bound.
 */
HEARTH_API hearth_status hearth_chat_add(hearth_chat *chat, int32_t role, const char *text, size_t bytes, hearth_error *error);
/**
 * Let the model answer the conversation, and append the answer to it: also one cut short by a stop, a cancellation or an error, as
 * far as it came. Neighbouring messages of one role are joined by a blank line where the template insists on turns.
 *
 * @param generation  As of hearth_generate(); to its stop strings comes the text that begins the next turn, where the format ends
 *                    turns with no token. With keep_special the names of special tokens become part of the message.
 * @param result      May be NULL. HEARTH_STOP_CONTEXT also where the room for texts is full.
 * @return HEARTH_OK; before anything is changed: HEARTH_E_CONFIG: there is no message, or, with the detail E_REFUSED, the template
 *         refuses the messages, in its own words; HEARTH_E_FORMAT, HEARTH_E_UNSUPPORTED: it fails; HEARTH_E_CONTEXT_FULL:
 *         needed are the tokens of the prompt and the reserve, available is the context. HEARTH_E_CANCELLED and
 *         HEARTH_E_INFERENCE: while nothing was said, the messages are as they were, but for those that were dropped.
 * Cost: what is new in the prompt, and the answer. Session-bound.
 */
HEARTH_API hearth_status hearth_chat_answer(hearth_chat *chat, const hearth_generation *generation, hearth_result *result,
                                            hearth_error *error);
/** hearth_chat_add() of a user's message and hearth_chat_answer(). After a failure before anything was said, the message is taken
 * back. */
HEARTH_API hearth_status hearth_chat_send(hearth_chat *chat, const char *text, size_t bytes, const hearth_generation *generation,
                                          hearth_result *result, hearth_error *error);
/** How the last prompt was made: what of it the session had, and what was computed. HEARTH_E_CONFIG: the struct is too small. */
HEARTH_API hearth_status hearth_chat_prompt_info(const hearth_chat *chat, hearth_prompt_info *info, hearth_error *error);
/** Take the newest message away, but not the system's; this and hearth_chat_answer() answer once more. HEARTH_E_CONFIG, detail
 * E_EMPTY: there is none. */
HEARTH_API hearth_status hearth_chat_pop(hearth_chat *chat, hearth_error *error);
/** Take all messages away but the system's. Metadata stays. */
HEARTH_API void hearth_chat_clear(hearth_chat *chat);
/** How many messages there are, the system's included. */
HEARTH_API size_t hearth_chat_count(const hearth_chat *chat);
/** A message by its place: the system's first, if there is one, then oldest to newest. HEARTH_E_CONFIG: there is none. */
HEARTH_API hearth_status hearth_chat_message(const hearth_chat *chat, size_t index, hearth_message *out, hearth_error *error);

/**
 * Note something beside the conversation, such as a title.
 * @param key    NUL-terminated, 1 to HEARTH_CHAT_KEY_MAX bytes.
 * @param value  Any bytes, copied; not one that this chat has given out. NULL deletes the key.
 * @return HEARTH_OK; HEARTH_E_CONFIG: no such key can be, or there is no room; nothing has changed.
 */
HEARTH_API hearth_status hearth_chat_set_metadata(hearth_chat *chat, const char *key, const char *value, size_t bytes,
                                                  hearth_error *error);
/** A value noted, a NUL behind it; NULL where there is none. `bytes` may be NULL. Owned by the chat, valid until it changes. */
HEARTH_API const char *hearth_chat_metadata(const hearth_chat *chat, const char *key, size_t *bytes);

/**
 * Write session, messages and metadata to a file, as hearth_session_save(). Not saved: the template, the options, a grammar.
 */
HEARTH_API hearth_status hearth_chat_save(hearth_chat *chat, const char *path, hearth_error *error);
/**
 * Go on with a conversation that was saved, also in another process: what the model answers next has the bits that it would have
 * had without the interruption. As hearth_session_restore(); HEARTH_E_STATE also for a state of a session without a chat, and, with
 * the detail E_ROOM, for more messages than there is room for. After a failure messages and metadata are as they were.
 */
HEARTH_API hearth_status hearth_chat_restore(hearth_chat *chat, const char *path, hearth_error *error);

/* ---- Manager ---------------------------------------------------------------------------------------------------- */

/** Several models by name under the engine's cap, one of them current. A resident model has its session beside it, so switching
 * between resident models costs nothing. Where memory is needed, idle ones (resident, not current) leave, least recently used
 * first, and no more of them than needed. Their conversations lie in state files and go on, when they are back, with the bits of
 * one that was never interrupted; what hearth_session_save() does not save (grammar, deadline, cancellation) is off then.
 *
 * Threads: "manager-bound", one at a time for each manager; a second one, or a callback of one of its calls, gets E_BUSY, NULL or
 * 0. */
typedef struct hearth_manager hearth_manager;

typedef struct hearth_manager_options {
    uint32_t struct_size;
    const char *state_folder; /* required; NAME.state lies there, mode 0600. Made with mode 0700 where it is missing. Not kept */
    const hearth_chat_options *chat; /* of the chats of all models; NULL: defaults. What it points to must outlive the manager */
} hearth_manager_options;

/**
 * @param out  Receives the manager, NULL on failure. Owned by the caller: hearth_manager_close().
 * @return HEARTH_OK, E_CONFIG, E_MEMORY, E_IO (the folder cannot be made or written to, is another user's, or others may write to
 *         it), E_BUSY (another manager has the folder). Thread-safe.
 */
HEARTH_API hearth_status hearth_manager_open(hearth_manager **out, hearth_engine *engine, const hearth_manager_options *options,
                                             hearth_error *error);
/** Save what has not been saved, and close all. What cannot be saved is lost with a warning in the engine's log: call
 * hearth_manager_save() before to know. NULL is allowed. Init-only. */
HEARTH_API void hearth_manager_close(hearth_manager *manager);

/**
 * Make a model known. Reads its header, so that what cannot run is refused here; what only does not fit is not.
 * A state of that name which lies in the folder, from an earlier process perhaps, is its conversation when it is loaded.
 *
 * @param name    1 to 64 of A-Z a-z 0-9 . _ -, not "." or "..". Copied.
 * @param path    As hearth_model_open() takes it; a relative one is looked up at each load. Copied.
 * @param limits  Of its session; NULL for defaults. Copied. With `chat` it has a chat as well; that a model has no format for one
 *                is found when it is loaded.
 * @return HEARTH_OK, E_CONFIG (detail E_NAME: no name, or taken; limits out of range), E_NOT_FOUND, E_IO, E_FORMAT, E_UNSUPPORTED.
 * Threads: manager-bound.
 */
HEARTH_API hearth_status hearth_manager_register(hearth_manager *manager, const char *name, const char *path,
                                                 const hearth_limits *limits, hearth_error *error);
/** Unload it, and take its name back. Its state stays in the folder: it is the caller's to delete. Manager-bound. */
HEARTH_API hearth_status hearth_manager_forget(hearth_manager *manager, const char *name, hearth_error *error);

/**
 * Make a model current, and load it first where it is not resident. What may fail comes before what cannot be taken back:
 * 1. The plan, from the header, is held against what the cap leaves when idle models go, and the current one too where these are
 *    not enough. E_MEMORY (needed, available), E_NOT_FOUND, E_IO, E_FORMAT, E_UNSUPPORTED: nothing has changed.
 * 2. The conversations of those that must leave are saved. E_IO (the disk is full), E_BUSY (a session is in use): none has left.
 * 3. They leave. A model on which the caller has opened sessions of its own never does.
 * 4. The weights are read, with the engine's progress and abort callbacks, then the conversation. E_IO, E_FORMAT (the weights are
 *    damaged), E_CANCELLED: the current model is current still. If it was among those that left it is loaded again, nobody may stop
 *    that, and its conversation goes on with the same bits; the message says so. Only if that fails as well there is no current
 *    model, as hearth_manager_current() tells; even then its conversation is safe in its state.
 *
 * A state that is damaged, of other weights, or not for these limits (E_STATE, E_CONTEXT_FULL) does not stop a switch: the
 * conversation begins anew, hearth_manager_info() and a warning in the log say so, and the file is kept as NAME.state.bad, in place
 * of an older one.
 *
 * After a call, whatever it returned, ask anew for hearth_manager_session() and the others. Manager-bound.
 */
HEARTH_API hearth_status hearth_manager_switch(hearth_manager *manager, const char *name, hearth_error *error);
/** Make a model resident, not current, so that a later switch is quick. As hearth_manager_switch(), but the current model never
 * leaves. Manager-bound. */
HEARTH_API hearth_status hearth_manager_load(hearth_manager *manager, const char *name, hearth_error *error);
/** Save a model's conversation and close it; when it is current, none is then. Not resident: nothing to do. On failure (E_IO,
 * E_BUSY) it stays. Manager-bound. */
HEARTH_API hearth_status hearth_manager_unload(hearth_manager *manager, const char *name, hearth_error *error);
/** Save every resident conversation that has changed. Goes on after a failure; the first is returned, all are in the log.
 * Manager-bound. */
HEARTH_API hearth_status hearth_manager_save(hearth_manager *manager, hearth_error *error);

/** The current model's name, session, chat (where its limits have one) and handle (for hearth_tokenize() and the like); NULL where
 * none is current. Owned by the manager, valid until its next hearth_manager_switch(), _unload(), _forget() or _close().
 * Manager-bound. */
HEARTH_API const char *hearth_manager_current(hearth_manager *manager);
HEARTH_API hearth_session *hearth_manager_session(hearth_manager *manager);
HEARTH_API hearth_chat *hearth_manager_chat(hearth_manager *manager);
HEARTH_API hearth_model *hearth_manager_model(hearth_manager *manager);

#define HEARTH_MODEL_REGISTERED 0 /* in no memory */
#define HEARTH_MODEL_RESIDENT 1
#define HEARTH_MODEL_CURRENT 2

#define HEARTH_CONVERSATION_NEW 0      /* there was no state when the model was loaded last, or it never was */
#define HEARTH_CONVERSATION_RESTORED 1 /* it goes on from its state */
#define HEARTH_CONVERSATION_LOST 2     /* its state did not serve, and is kept as NAME.state.bad */

typedef struct hearth_model_info {
    uint32_t struct_size;
    int32_t state;    /* HEARTH_MODEL_* */
    const char *name; /* this and the path: owned by the manager, until the model is forgotten */
    const char *path;
    int32_t conversation;    /* HEARTH_CONVERSATION_* */
    bool saved;              /* the conversation as it stands lies in NAME.state */
    uint64_t resident_bytes; /* of the cap, held by model and session now */
    uint64_t plan_bytes;     /* the most they take of it, loading included */
    uint64_t last_used;      /* the larger, the later; 0: never */
} hearth_model_info;

/** How many models are registered. Manager-bound. */
HEARTH_API size_t hearth_manager_count(hearth_manager *manager);
/** One of them, index 0 ... count-1, in the order of registration. E_CONFIG past the end. Manager-bound. */
HEARTH_API hearth_status hearth_manager_info(hearth_manager *manager, size_t index, hearth_model_info *out, hearth_error *error);

typedef struct hearth_optimized {
    uint32_t struct_size;
    uint32_t n_unloaded;  /* idle models that left */
    uint64_t bytes_freed; /* private memory of the process by the kernel's count, before less after; 0 where it tells none */
    uint64_t weights;     /* what was given up, by the plan: models, keys and values, ... */
    uint64_t kv;
    uint64_t cache;   /* ... the prefix cache, ... */
    uint64_t scratch; /* ... and the rest of sessions */
} hearth_optimized;

/**
 * Give memory back to the system: idle models leave (saved), and of the current one keys and values beyond its position,
 * activations and scratch, and all of the prefix cache. The plan still holds these: the next answers take them again, with the same
 * bits.
 * @return HEARTH_OK; E_IO, E_BUSY: of the first model whose conversation could not be saved, or whose session is in use, and which
 *         stayed as it was; out is filled in.
 * Cost: some milliseconds, and writing states. Threads: manager-bound.
 */
HEARTH_API hearth_status hearth_manager_optimize(hearth_manager *manager, hearth_optimized *out, hearth_error *error);

#ifdef __cplusplus
}
#endif
#endif
