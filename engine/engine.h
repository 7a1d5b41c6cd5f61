/* The objects behind the public handles. */
#ifndef HEARTH_ENGINE_ENGINE_H
#define HEARTH_ENGINE_ENGINE_H

#include "allocator.h"
#include "arena.h"
#include "blas.h"
#include "chat.h"
#include "common/limits.h"
#include "common/status.h"
#include "describe.h"
#include "forward.h"
#include "grammar.h"
#include "hash.h"
#include "machine.h"
#include "pool.h"
#include "prefix_cache.h"
#include "sampler.h"
#include "source.h"
#include "text_stream.h"
#include "tokenizer.h"
#include "topology.h"
#include <pthread.h>

/* What HEARTH_CONTEXT_MAX means for a rotation: angles stay below 2^30, where hearth_sincos64() is good. */
#define HEARTH_ROPE_FREQUENCY_MAX 64.0

/* For arguments of the public functions that must be there: a host's slip is an error with a name, not a crash. */
#define HEARTH_NEED(pointer, err) HEARTH_NEED_FOR(pointer, 1, err)
/* The same for a pointer to n things, which may be NULL when there are none. */
#define HEARTH_NEED_FOR(pointer, n, err)                                                                                           \
    do {                                                                                                                           \
        if (!(pointer) && (n) > 0)                                                                                                 \
            return hearth_fail(err, HEARTH_E_CONFIG, "E_ARG", "%s: argument '%s': is NULL (need a pointer)", __func__, #pointer);  \
    } while (0)

struct hearth_engine {
    hearth_allocator allocator; /* zeros: the system */
    struct hearth_topology topology;
    struct hearth_kernel_set kernels;
    struct hearth_arena arena; /* the fork mark, the threads and their stacks */
    struct hearth_pool *pool;
    struct hearth_blas blas; /* open where the options ask for it */
    uint32_t workers;
    uint64_t cap;
    int32_t pages;            /* HEARTH_PAGES_* of the arenas of models and sessions */
    _Atomic bool told_pages;  /* that the system had fewer; said once */
    uint64_t prefetch_window; /* bytes of a file asked for ahead */
    struct hearth_prefix_cache prefix_cache;
    _Atomic uint64_t reserved; /* bytes of all arenas of this engine */
    _Atomic uint32_t users;    /* the handle and the models; the last to leave takes everything down */
    hearth_log_fn *log;
    void *log_user;
    hearth_progress_fn *progress; /* where a model's own options name none */
    void *progress_user;
    hearth_abort_fn *should_stop; /* the abort callback */
    void *stop_user;
    char *pack_cache; /* folder; NULL: none */
    int32_t verify;   /* HEARTH_VERIFY_* */
    void *fork_mark;  /* a page that a child sees as zeros */
    char summary[640];
};

/* A file of packed weights (pack_cache.h): the one to be mapped, or to be written. */
struct hearth_pack_cache {
    const uint8_t *map; /* the whole file; NULL: there is none that serves */
    uint64_t map_bytes;
    uint64_t image_bytes;     /* of the weights */
    struct hearth_hash model; /* what the file knows of the identity of the model, once mapped */
    bool wanted;              /* to be written where there is none: a folder, a file that can be recognised, verified weights */
    _Atomic bool unchecked;   /* mapped, to be held against its checksums before it is used */
    char name[48];            /* of the file in the folder */
    struct hearth_hash key;
    struct hearth_parts_identity identity; /* of the model when the key was made */
};

struct hearth_model {
    struct hearth_engine *engine;
    struct hearth_arena arena;
    struct hearth_pack_cache cache;        /* map set: the weights lie there, not in the arena */
    struct hearth_description description; /* n_layer 0: vocabulary only */
    struct hearth_tokenizer *tokenizer;
    struct hearth_chat_format chat_format;
    struct hearth_hash identity;            /* of header and weights; zeros when opened for the vocabulary only */
    struct hearth_hash vocabulary_identity; /* of tokens, merges and so on */
    bool has_order;                         /* the limits ask for grammars */
    struct hearth_piece_order order;
    double *rope_frequencies[HEARTH_ROPE_COUNT]; /* [n_rot / 2]; NULL where layers do not differ */
    double *rope_long;                           /* instead of the first, of long contexts; NULL: the same */
    uint8_t *scratch;                            /* of hearth_tokenize() */
    pthread_mutex_t lock;                        /* of that scratch */
    _Atomic uint32_t users;                      /* the handle and the sessions; the last to leave frees the model */
    struct hearth_prefetch_search prefetch[HEARTH_PREFETCH_TOKENS];
};

/* Limits with every default filled in. */
struct hearth_session_limits {
    uint32_t context, batch, logits_rows;
    uint32_t window; /* of layers that have one; 0: none has */
    enum hearth_format kv_format;
    bool grammar, chat;
};

struct hearth_session {
    struct hearth_model *model;
    struct hearth_arena arena;
    struct hearth_session_limits limits;
    struct hearth_buffers buffers;
    struct hearth_kv_cache cache;
    struct hearth_sampler *sampler;
    struct hearth_text_stream *stream;
    struct hearth_grammar *grammar; /* room; NULL where the limits ask for none */
    struct hearth_matcher *matcher; /* the same */
    uint64_t *allowed;              /* [n_vocab] bits */
    bool constrained;               /* a grammar is set */
    struct hearth_chat *chat;       /* room; NULL where the limits ask for none */
    uint8_t *scratch;               /* of the tokenizer */
    int32_t *ids;                   /* [context] the tokens fed */
    int32_t *pending;               /* [context] a prompt being tokenized */
    uint32_t position;              /* tokens fed */
    uint32_t written;               /* the end of the furthest batch that was begun since position 0: what it overwrote is gone */
    uint32_t held;                  /* the first position that layers with a window have, after a state was restored; else 0 */
    int32_t unfed;                  /* the last token of an answer that was cut off: shown, not computed yet */
    uint32_t n_unfed;               /* 1 when there is one */
    uint32_t n_logits;              /* positions, counted back from the last, whose logits are valid */
    struct hearth_interrupt interrupt;
    struct hearth_prefix_view prefix; /* of the cache, for the engine's; piece_bytes 0: it is not used */
    _Atomic uint32_t in_use;          /* caught misuse from two threads */
    _Atomic uint64_t n_calls;         /* begun so far that may change something, those of a chat on it too */
};

/* Give arenas their memory within the engine's cap, populate them, and take them back. What lies in hugetlb pages is populated at
 * once; only then can populating be refused. */
hearth_status hearth_engine_reserve(struct hearth_engine *engine, struct hearth_arena *out, const struct hearth_arena *counted,
                                    hearth_error *err);
/* The memory of the prefix cache, which is reserved from the beginning; once, however often it is asked for. */
hearth_status hearth_engine_start_prefix_cache(struct hearth_engine *engine, hearth_error *err);
bool hearth_engine_populate(struct hearth_engine *engine, const struct hearth_arena *arena);
void hearth_engine_release(struct hearth_engine *engine, struct hearth_arena *arena);
/* What the engine alone takes: every byte reserved beyond it belongs to models and sessions. */
uint64_t hearth_engine_own_bytes(const struct hearth_engine *engine);
/* Of that, what OpenBLAS takes; 0 where it is not used. */
uint64_t hearth_engine_blas_bytes(const struct hearth_engine *engine);
/* Give up one use of an engine or a model. Handles closed in the wrong order therefore do no harm. */
void hearth_engine_leave(struct hearth_engine *engine);
void hearth_model_leave(struct hearth_model *model);
/* HEARTH_E_FORKED in a child of the process that opened the engine: its threads are not here. */
hearth_status hearth_engine_check(struct hearth_engine *engine, hearth_error *err);

/* Open from any source; hearth_model_open() is this over a file. */
hearth_status hearth_model_open_source(hearth_model **out, struct hearth_engine *engine, const struct hearth_source *source,
                                       const hearth_limits *limits, const hearth_model_options *options, hearth_error *error);
hearth_status hearth_plan_open_source(hearth_plan **out, struct hearth_engine *engine, const struct hearth_source *source,
                                      const hearth_limits *limits, hearth_error *error);

/* Take (or count) the memory of a model whose description has been read, and of a session on it. */
void hearth_model_layout(struct hearth_model *model, struct hearth_arena *arena, uint64_t tokenizer_bytes,
                         uint8_t **tokenizer_memory);
void hearth_session_layout(struct hearth_session *session, const struct hearth_model *model, struct hearth_arena *arena);

/* A caller's options of hearth_generate(), with those of later versions than the caller's off; result is what it gave. E_CONFIG for
 * what is out of range. */
hearth_status hearth_generation_read(hearth_generation *out, const hearth_generation *generation, const hearth_result *result,
                                     hearth_error *err);

/* One user at a time: HEARTH_E_BUSY for another; leave hands the status on. */
hearth_status hearth_session_enter(struct hearth_session *session, hearth_error *err);
hearth_status hearth_session_leave(struct hearth_session *session, hearth_status status);

/* Every loss of tokens goes through here: the context ends at `position`, there are no logits, no token owed, no grammar. */
void hearth_session_forget_from(struct hearth_session *session, uint32_t position);

/* The first position before the session's own that a layer still has, and the first that a token at `position` sees in it. */
uint32_t hearth_session_first_held(const struct hearth_session *session, uint32_t layer);
uint32_t hearth_session_first_seen(const struct hearth_session *session, uint32_t layer, uint32_t position);

/* The rotations that this session's keys have: their frequencies, which follow from the model and the length of the context. */
struct hearth_hash hearth_session_rope(const struct hearth_session *session);

/* For measurements: stand at `position`, whatever came after. The session has been fed so far before, and what it was fed there is
 * still the content of the cache, but where layers with a window have gone on over it: there are then other, ordinary numbers. No
 * logits, no history beyond it. */
void hearth_session_stand_at(struct hearth_session *session, uint32_t position);

/* Give the system what lies idle between two calls: keys and values beyond the position, activations and scratch. They stay in the
 * plan; the next call that computes takes them again, page by page, and gives the same bits. Adds the bytes of the pages to both
 * sums. E_BUSY. */
hearth_status hearth_session_trim(struct hearth_session *session, uint64_t *kv_bytes, uint64_t *scratch_bytes, hearth_error *err);

/* All fields known today, of limits of whatever version; NULL gives zeros. E_CONFIG for a struct_size that is too small. */
hearth_status hearth_limits_copy(hearth_limits *out, const hearth_limits *limits, hearth_error *err);
/* Fill in defaults and check ranges against the model, and the budget of the prefix cache against the cache they ask for. */
hearth_status hearth_limits_resolve(struct hearth_session_limits *out, const hearth_limits *limits,
                                    const struct hearth_engine *engine, const struct hearth_hparams *hparams, hearth_error *err);

#endif
