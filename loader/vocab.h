/* The vocabulary section of a file, checked: views and numbers, no algorithm (that is engine/tokenizer.c). */
#ifndef HEARTH_LOADER_VOCAB_H
#define HEARTH_LOADER_VOCAB_H

#include "gguf.h"
#include "hash.h"

enum hearth_vocab_model { HEARTH_VOCAB_SPM, HEARTH_VOCAB_BPE };

enum hearth_token_type { /* as in the file */
                         HEARTH_TOKEN_UNDEFINED,
                         HEARTH_TOKEN_NORMAL,
                         HEARTH_TOKEN_UNKNOWN,
                         HEARTH_TOKEN_CONTROL,
                         HEARTH_TOKEN_USER_DEFINED,
                         HEARTH_TOKEN_UNUSED,
                         HEARTH_TOKEN_BYTE
};

#define HEARTH_TOKEN_NONE (-1)

struct hearth_vocab {
    enum hearth_vocab_model model;
    struct hearth_view model_name, pre, chat_template, general_name; /* size 0 when absent */
    uint32_t n_tokens;
    uint64_t text_bytes;                        /* sum of the lengths of all token texts */
    const struct hearth_gguf_pair *tokens;      /* string array, n_tokens */
    const struct hearth_gguf_pair *scores;      /* f32 array, NULL when absent (BPE) */
    const struct hearth_gguf_pair *token_types; /* i32 array, NULL: all normal */
    const struct hearth_gguf_pair *merges;      /* string array, BPE only */
    int32_t bos, eos, eot, eom, unk, pad;       /* HEARTH_TOKEN_NONE when there is none; after defaults, before look-up by text */
    int32_t fim_prefix, fim_suffix, fim_middle; /* likewise */
    bool add_bos, add_eos, add_space_prefix;
};

/* Read and check (catalogue 2.6 of the reliability spec). Warnings (out-of-range pad id and the like) go to log, which may be NULL.
 * `n_embedding_rows` is 0 for a vocabulary-only file. Errors: E_FORMAT with E_MISSING, E_VOCAB, E_KVTYPE, E_TOKENID, E_MERGE;
 * E_UNSUPPORTED. */
hearth_status hearth_vocab_read(struct hearth_vocab *out, const struct hearth_gguf *gguf, uint64_t n_embedding_rows,
                                hearth_log_fn *log, void *log_user, hearth_error *err);

/* Hash of everything in it that decides which ids a text has and what an id means. */
struct hearth_hash hearth_vocab_identity(const struct hearth_vocab *vocab);

#endif
