/* What the files of the tokenizer share; nobody else sees it. */
#ifndef HEARTH_ENGINE_TOKENIZER_PARTS_H
#define HEARTH_ENGINE_TOKENIZER_PARTS_H

#include "pretokenize.h"
#include "tokenizer.h"

#define KIND_TYPE 7u     /* enum hearth_token_type after the rules of tokenizers.md 7.3 */
#define KIND_END 8u      /* ends an answer */
#define KIND_STRIP 16u   /* white space after it is swallowed */
#define KIND_MERGE 32u   /* may be the result of merging */
#define KIND_SPECIAL 64u /* looked for in the text before anything else */

struct hearth_slot { /* of a hash table over texts */
    uint32_t hash;
    int32_t id; /* HEARTH_TOKEN_NONE: free */
};

/* The merges of byte-level BPE. The key is the text of both parts together and where it is divided, so that a part need not be a
 * token. */
struct hearth_merges {
    uint32_t n, n_slots; /* n_slots 0: there are none, scores decide */
    uint32_t longest;    /* text in bytes */
    struct hearth_slot *slots;
    uint32_t *offsets; /* [n + 1] into text, by rank */
    uint16_t *lefts;   /* [n] bytes of the left part */
    uint8_t *text;
};

struct hearth_tokenizer {
    uint32_t n_tokens, n_special, max_piece;
    uint32_t slot_mask;
    int32_t bos, unk;
    int32_t infill[3]; /* before the prefix, the suffix, the answer; HEARTH_TOKEN_NONE */
    bool byte_level, ignore_merges;
    bool add_bos, add_space_prefix;
    bool special_begins[256];   /* a special token begins with this byte */
    int32_t byte_ids[256];      /* what stands for a byte that no token spells */
    uint64_t joins[65536 / 64]; /* see tokenizer_spm.c; bit last * 256 + first */
    uint32_t *offsets;          /* [n_tokens + 1] into text */
    uint32_t *ranks;            /* [n_tokens] smaller is merged first; NULL: the merges decide */
    uint8_t *kinds;             /* [n_tokens] KIND_* */
    struct hearth_slot *slots;  /* [slot_mask + 1], at most half full */
    int32_t *special;           /* [n_special] ids in the order of their texts */
    uint8_t *text;              /* NORMAL: as shown; BYTE: the byte; special ones: as in the file; others: nothing */
    struct hearth_merges merges;
    struct hearth_pretokenizer *pretokenizer; /* NULL: SentencePiece */
};

/* A symbol stands at the offset of its first byte; the next one begins where it ends. */
struct hearth_symbol {
    uint32_t bytes; /* 0: no symbol begins here */
    uint32_t prev;  /* offset of the one before, HEARTH_NO_SYMBOL for the first */
};
#define HEARTH_NO_SYMBOL UINT32_MAX

/* An encode in progress: the scratch, and where ids go. */
struct hearth_encoding {
    const struct hearth_tokenizer *tokenizer;
    uint64_t *heap; /* rank << 32 | offset of the left symbol << 16 | bytes of both together - 1; smallest first */
    struct hearth_symbol *symbols;
    uint8_t *buffer;     /* SentencePiece: of the word; BPE: scratch of the pre-tokenizer */
    const uint8_t *word; /* what the symbols divide: n_word bytes, at most HEARTH_TOKENIZER_WORD_MAX */
    uint32_t n_heap, n_word;
    int32_t *ids;
    size_t capacity, n_ids;
};

/* One step of FNV-1a for each byte, and the end of it. */
#define HEARTH_HASH_START UINT64_C(0xcbf29ce484222325)
static inline uint64_t hearth_hash_more(uint64_t hash, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}
static inline uint32_t hearth_hash_done(uint64_t hash)
{
    return (uint32_t)((hash * UINT64_C(0x9E3779B97F4A7C15)) >> 32);
}

/* tokenizer.c: add an id; the token that merging gives for these bytes, or HEARTH_TOKEN_NONE; the character at p as
 * SentencePiece sees it, written to out[*out_n], the bytes read returned. */
void hearth_tokenizer_emit(struct hearth_encoding *encoding, int32_t id);
int32_t hearth_tokenizer_find(const struct hearth_tokenizer *tokenizer, const uint8_t *bytes, size_t n);
size_t hearth_tokenizer_next_symbol(const uint8_t *p, size_t n, uint8_t out[4], size_t *out_n);

/* tokenizer_merge.c: merge neighbours among the symbols of the word, best rank first, leftmost first, until none can be. */
void hearth_tokenizer_merge(struct hearth_encoding *encoding);

/* tokenizer_spm.c, tokenizer_bpe.c: a stretch of text without special tokens; goes_on: no space is put before it. */
void hearth_spm_encode(struct hearth_encoding *encoding, const uint8_t *text, size_t bytes, bool goes_on);
void hearth_bpe_encode(struct hearth_encoding *encoding, const uint8_t *text, size_t bytes);

/* tokenizer_bpe.c: the bytes that a text in the byte alphabet stands for; characters outside of it stay as they are. Returns their
 * number, at most that of the text; *pure tells whether all were of the alphabet. */
size_t hearth_bpe_bytes(struct hearth_view text, uint8_t *out, bool *pure);
/* Build the table of merges; n, n_slots and the pointers are set. Text takes at most the bytes of the merges in the file. */
void hearth_bpe_build(struct hearth_merges *merges, const struct hearth_vocab *vocab);
/* The rank of merging bytes[0, left) with bytes[left, n); false when there is no such merge. */
bool hearth_bpe_rank(const struct hearth_merges *merges, const uint8_t *bytes, size_t n, size_t left, uint32_t *rank);

#endif
