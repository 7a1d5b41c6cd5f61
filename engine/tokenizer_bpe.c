/* Byte-level BPE: the byte alphabet, the table of merges, and pieces to ids.
 *
 * Tokens and merges are written in an alphabet with one visible character for each byte; here both are kept as the bytes they stand
 * for, so that text needs no translation. */
#include "tokenizer_parts.h"
#include "utf8.h"
#include <string.h>

/* ---- The byte alphabet ---------------------------------------------------------------------------------------------- */

static bool is_visible(uint32_t byte)
{
    return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
}

/* The byte of a character of the alphabet, or -1. U+0100 to U+0143 are the invisible bytes in their order: 00 to 20, 7F to A0, AD.
 */
static int byte_of(uint32_t character)
{
    if (character < 0x100)
        return is_visible(character) ? (int)character : -1;
    if (character <= 0x120)
        return (int)character - 0x100;
    if (character <= 0x142)
        return (int)character - 0x121 + 0x7f;
    return character == 0x143 ? 0xad : -1;
}

/* The byte of the character at p[0..n), or -1; *have receives the bytes of the character, or of what is none. */
static inline int take_character(const uint8_t *p, size_t n, size_t *have)
{
    *have = 1;
    if (p[0] < 0x80)
        return byte_of(p[0]);
    size_t need;
    *have = hearth_utf8_take(p, n, &need);
    return *have == 2 && need == 2 ? byte_of((uint32_t)(p[0] & 0x1f) << 6 | (p[1] & 0x3f)) : -1;
}

size_t hearth_bpe_bytes(struct hearth_view text, uint8_t *out, bool *pure)
{
    size_t n = 0;
    bool all = true;
    for (size_t i = 0, have; i < text.size; i += have) {
        const int byte = take_character(text.bytes + i, text.size - i, &have);
        if (byte >= 0)
            out[n] = (uint8_t)byte;
        else
            memcpy(out + n, text.bytes + i, have);
        n += byte >= 0 ? 1 : have;
        all &= byte >= 0;
    }
    *pure = all;
    return n;
}

/* ---- Merges --------------------------------------------------------------------------------------------------------- */

/* The two parts, one after the other; false when a part is not of the alphabet or they are longer than any word. The loader has
 * seen to it that there is one space, between two parts. */
static bool read_merge(struct hearth_view merge, uint8_t *out, size_t *n, size_t *left)
{
    bool pure[2];
    const uint8_t *space = memchr(merge.bytes, ' ', merge.size);
    const size_t at = space ? (size_t)(space - merge.bytes) : merge.size;
    const struct hearth_view right = {merge.bytes + at + (space != NULL), merge.size - at - (space != NULL)};
    *left = hearth_bpe_bytes((struct hearth_view){merge.bytes, at}, out, &pure[0]);
    *n = *left + hearth_bpe_bytes(right, out + *left, &pure[1]);
    return pure[0] && pure[1] && *left > 0 && *left < *n && *n <= HEARTH_TOKENIZER_WORD_MAX;
}

static uint32_t hash_of(const uint8_t *bytes, size_t n, size_t left)
{
    return hearth_hash_done(hearth_hash_more(HEARTH_HASH_START ^ left, bytes, n));
}

static uint32_t first_slot(const struct hearth_merges *merges, uint32_t hash)
{
    return (uint32_t)((uint64_t)hash * merges->n_slots >> 32);
}

/* The slot of this merge, or the free one where it belongs. */
static struct hearth_slot *find_slot(const struct hearth_merges *merges, uint32_t hash, const uint8_t *bytes, size_t n, size_t left)
{
    for (uint32_t i = first_slot(merges, hash);; i = i + 1 < merges->n_slots ? i + 1 : 0) {
        struct hearth_slot *slot = &merges->slots[i];
        if (slot->id == HEARTH_TOKEN_NONE)
            return slot;
        const uint32_t begin = merges->offsets[slot->id];
        if (slot->hash == hash && merges->lefts[slot->id] == left && merges->offsets[slot->id + 1] - begin == n &&
            memcmp(merges->text + begin, bytes, n) == 0)
            return slot;
    }
}

/* Of equal merges the first counts. */
void hearth_bpe_build(struct hearth_merges *merges, const struct hearth_vocab *vocab)
{
    uint64_t cursor = 0;
    uint32_t at = 0;
    for (uint32_t i = 0; i < merges->n_slots; i++)
        merges->slots[i] = (struct hearth_slot){0, HEARTH_TOKEN_NONE};
    for (uint32_t rank = 0; rank < merges->n; rank++) {
        size_t n, left;
        const struct hearth_view merge = hearth_gguf_next_string(vocab->merges, &cursor);
        merges->offsets[rank] = at;
        merges->offsets[rank + 1] = at;
        if (!read_merge(merge, merges->text + at, &n, &left))
            continue;
        const uint32_t hash = hash_of(merges->text + at, n, left);
        struct hearth_slot *slot = find_slot(merges, hash, merges->text + at, n, left);
        merges->lefts[rank] = (uint16_t)left;
        if (slot->id == HEARTH_TOKEN_NONE)
            *slot = (struct hearth_slot){hash, (int32_t)rank};
        at += (uint32_t)n;
        merges->offsets[rank + 1] = at;
        if (n > merges->longest)
            merges->longest = (uint32_t)n;
    }
}

bool hearth_bpe_rank(const struct hearth_merges *merges, const uint8_t *bytes, size_t n, size_t left, uint32_t *rank)
{
    if (n > merges->longest)
        return false;
    const struct hearth_slot *slot = find_slot(merges, hash_of(bytes, n, left), bytes, n, left);
    *rank = (uint32_t)slot->id;
    return slot->id != HEARTH_TOKEN_NONE;
}

/* ---- Pieces --------------------------------------------------------------------------------------------------------- */

struct part {
    struct hearth_encoding *encoding;
    const uint8_t *text;
};

static void encode_piece(size_t begin, size_t end, void *user)
{
    const struct part *part = user;
    struct hearth_encoding *encoding = part->encoding;
    const struct hearth_tokenizer *tokenizer = encoding->tokenizer;
    encoding->word = part->text + begin;
    encoding->n_word = (uint32_t)(end - begin);
    const int32_t whole =
        tokenizer->ignore_merges ? hearth_tokenizer_find(tokenizer, encoding->word, encoding->n_word) : HEARTH_TOKEN_NONE;
    if (whole != HEARTH_TOKEN_NONE) {
        hearth_tokenizer_emit(encoding, whole);
        return;
    }
    for (uint32_t i = 0; i < encoding->n_word; i++)
        encoding->symbols[i] = (struct hearth_symbol){1, i == 0 ? HEARTH_NO_SYMBOL : i - 1};
    hearth_tokenizer_merge(encoding);
    for (uint32_t i = 0; i < encoding->n_word; i += encoding->symbols[i].bytes) {
        const int32_t id = hearth_tokenizer_find(tokenizer, encoding->word + i, encoding->symbols[i].bytes);
        if (id != HEARTH_TOKEN_NONE)
            hearth_tokenizer_emit(encoding, id);
        for (uint32_t j = 0; id == HEARTH_TOKEN_NONE && j < encoding->symbols[i].bytes; j++)
            hearth_tokenizer_emit(encoding, tokenizer->byte_ids[encoding->word[i + j]]);
    }
}

void hearth_bpe_encode(struct hearth_encoding *encoding, const uint8_t *text, size_t bytes)
{
    struct part part = {encoding, text};
    hearth_pretokenize(encoding->tokenizer->pretokenizer, encoding->buffer, text, bytes, encode_piece, &part);
}
