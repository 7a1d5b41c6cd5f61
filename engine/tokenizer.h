/* Text to token ids and ids to text (spec tokenizers.md), for SentencePiece-style vocabularies and byte-level
 * BPE.
 *
 * All memory is the caller's: plan says how much, init fills it, encode works in a scratch of fixed size. Everything is copied out
 * of the vocabulary, whose file may be closed afterwards. A tokenizer is immutable once made and may be shared by threads, each
 * with a scratch of its own. */
#ifndef HEARTH_ENGINE_TOKENIZER_H
#define HEARTH_ENGINE_TOKENIZER_H

#include "pretokenize.h"
#include "vocab.h"

struct hearth_tokenizer;

/* A stretch of text that merges may connect is worked on as a whole up to this many bytes; a longer one is cut there, on a
 * character border, before the merging: its ids then differ from those of the uncut text around the cut. */
#define HEARTH_TOKENIZER_WORD_MAX HEARTH_PRETOKENIZER_WINDOW
/* Bytes of the scratch of encode: for each byte of a word a symbol of 8 bytes and two heap entries of 8, then what the
 * pre-tokenizer works in, or the text of the word. 64-byte aligned. */
#define HEARTH_TOKENIZER_SCRATCH ((size_t)HEARTH_TOKENIZER_WORD_MAX * (8 + 2 * 8) + HEARTH_PRETOKENIZER_SCRATCH)
/* Special tokens longer than this are refused: they are looked for at every byte of a text. */
#define HEARTH_TOKENIZER_SPECIAL_MAX 512u

/* The exact bytes of the tables of a vocabulary, a multiple of 64. `file_name` stands in messages.
 * E_UNSUPPORTED for a pre-tokenizer without a name here; E_FORMAT E_VOCAB for an empty control token and the like. Cost: walks the
 * tokens once. */
hearth_status hearth_tokenizer_plan(const struct hearth_vocab *vocab, const char *file_name, uint64_t *bytes, hearth_error *err);
/* Build the tables in `memory` (64-byte aligned, `bytes` as planned); *out points into it. Nothing needs to be destroyed.
 * Errors as plan. */
hearth_status hearth_tokenizer_init(struct hearth_tokenizer **out, void *memory, uint64_t bytes, const struct hearth_vocab *vocab,
                                    const char *file_name, hearth_error *err);

/* A flag of encode beside those of hearth.h: the text goes on where another one ended, so no space is put before it. */
#define HEARTH_TOKENIZER_CONTINUE 0x80000000u

/* Text to ids; flags are HEARTH_TOKENIZE_* of hearth.h and the one above. Counts all ids in *n_ids and writes the first `capacity`
 * (ids may be NULL when capacity is 0). HEARTH_OK, or HEARTH_E_CONFIG when there are more ids than capacity; nothing else. Bytes
 * that are not UTF-8 become byte tokens. A text that already begins with the BOS token gets no second one. Never adds an end token.
 */
hearth_status hearth_tokenizer_encode(const struct hearth_tokenizer *tokenizer, void *scratch, const char *text, size_t bytes,
                                      uint32_t flags, int32_t *ids, size_t capacity, size_t *n_ids);
/* The same for a text that not one person wrote: special tokens are found only where the bytes of from_caller (one for each of the
 * text) are all 0. NULL: all are. */
hearth_status hearth_tokenizer_encode_marked(const struct hearth_tokenizer *tokenizer, void *scratch, const char *text,
                                             const uint8_t *from_caller, size_t bytes, uint32_t flags, int32_t *ids,
                                             size_t capacity, size_t *n_ids);

/* The prompt [BOS] PREFIX prefix SUFFIX suffix MIDDLE of an infill model; special tokens in the texts are not looked for. The space
 * that stands for the beginning of a text is put before the prefix alone, as these models were trained. As encode, and
 * HEARTH_E_UNSUPPORTED when the vocabulary lacks one of the three tokens. */
hearth_status hearth_tokenizer_encode_infill(const struct hearth_tokenizer *tokenizer, void *scratch, struct hearth_view prefix,
                                             struct hearth_view suffix, int32_t *ids, size_t capacity, size_t *n_ids);
/* The token before the prefix (0), before the suffix (1), before the answer (2); HEARTH_TOKEN_NONE. */
int32_t hearth_tokenizer_infill_id(const struct hearth_tokenizer *tokenizer, uint32_t piece);

/* The bytes an id shows: empty for control, unknown and unused tokens and for ids that do not exist. Points into the tables. */
struct hearth_view hearth_tokenizer_piece(const struct hearth_tokenizer *tokenizer, int32_t id);
/* As piece, but control and unknown tokens have their names. */
struct hearth_view hearth_tokenizer_text(const struct hearth_tokenizer *tokenizer, int32_t id);
/* Sort ids of tokens by their bytes, then by id; control tokens and their like by their names. No memory; n log n comparisons. */
void hearth_tokenizer_sort(const struct hearth_tokenizer *tokenizer, int32_t *ids, uint32_t n);
/* As piece for a text read from its beginning, where the space that encode puts before the text is dropped again: set *begins
 * before the first token, call for each token in turn. For the continuation of a text use hearth_tokenizer_piece(). */
struct hearth_view hearth_tokenizer_next_piece(const struct hearth_tokenizer *tokenizer, bool *begins, int32_t id);
/* The longest piece of the vocabulary in bytes: what hearth_text_stream_bytes() wants to know. */
uint32_t hearth_tokenizer_max_piece(const struct hearth_tokenizer *tokenizer);

/* Whether an id ends an answer; false for ids that do not exist. */
bool hearth_tokenizer_is_end(const struct hearth_tokenizer *tokenizer, int32_t id);
uint32_t hearth_tokenizer_count(const struct hearth_tokenizer *tokenizer);

#endif
