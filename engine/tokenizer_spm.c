/* SentencePiece-style tokenization: merges by score.
 *
 * Words and spaces. The algorithm writes U+2581 for every space; here both are kept as one byte 0x20, in the texts of tokens as in
 * the text being read, so that what a token shows is a plain view. A token that holds a true 0x20 can then never be a result of
 * merging (no symbol holds one in the original either), so it is left out of the table of merges.
 *
 * Cutting. Merging joins two neighbours only into the text of a token. A bitmap knows every pair (last byte of a character, first
 * byte of the next) that stands inside some token; at a border whose pair is not in it no merge can happen now or later, so what
 * lies left and right of it is merged independently with the same result. In usual vocabularies this cuts before every word,
 * and the heap stays small. What is left uncut after HEARTH_TOKENIZER_WORD_MAX bytes is cut there.
 */
#include "tokenizer_parts.h"
#include <string.h>

static void emit_symbol(struct hearth_encoding *encoding, const uint8_t *bytes, uint32_t n)
{
    const int32_t id = hearth_tokenizer_find(encoding->tokenizer, bytes, n);
    if (id != HEARTH_TOKEN_NONE) {
        hearth_tokenizer_emit(encoding, id);
        return;
    }
    const bool space = bytes[0] == ' ';
    const uint8_t *spelling = space ? (const uint8_t *)"\xe2\x96\x81" : bytes;
    for (uint32_t i = 0; i < (space ? 3 : n); i++)
        hearth_tokenizer_emit(encoding, encoding->tokenizer->byte_ids[spelling[i]]);
}

/* Merge and emit the word gathered so far. */
static void end_word(struct hearth_encoding *encoding)
{
    hearth_tokenizer_merge(encoding);
    for (uint32_t i = 0; i < encoding->n_word; i += encoding->symbols[i].bytes)
        emit_symbol(encoding, encoding->word + i, encoding->symbols[i].bytes);
    encoding->n_word = 0;
}

static void add_symbol(struct hearth_encoding *encoding, const uint8_t *symbol, size_t n, uint32_t *prev, uint8_t *last)
{
    const uint32_t pair = (uint32_t)*last * 256 + symbol[0];
    const bool joins = encoding->tokenizer->joins[pair / 64] >> pair % 64 & 1;
    if (encoding->n_word > 0 && (!joins || encoding->n_word + n > HEARTH_TOKENIZER_WORD_MAX))
        end_word(encoding);
    const uint32_t at = encoding->n_word;
    encoding->symbols[at] = (struct hearth_symbol){(uint32_t)n, at == 0 ? HEARTH_NO_SYMBOL : *prev};
    for (size_t i = 1; i < n; i++)
        encoding->symbols[at + i].bytes = 0;
    memcpy(encoding->buffer + at, symbol, n);
    encoding->n_word += (uint32_t)n;
    *last = symbol[n - 1];
    *prev = at;
}

void hearth_spm_encode(struct hearth_encoding *encoding, const uint8_t *text, size_t bytes, bool goes_on)
{
    if (bytes == 0)
        return;
    uint32_t prev = HEARTH_NO_SYMBOL;
    uint8_t last = 0; /* byte of the word */
    encoding->word = encoding->buffer;
    if (encoding->tokenizer->add_space_prefix && !goes_on)
        add_symbol(encoding, (const uint8_t *)" ", 1, &prev, &last);
    for (size_t i = 0; i < bytes;) {
        uint8_t symbol[4];
        size_t n;
        i += hearth_tokenizer_next_symbol(text + i, bytes - i, symbol, &n);
        add_symbol(encoding, symbol, n, &prev, &last);
    }
    end_word(encoding);
}
