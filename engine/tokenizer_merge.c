/* Merging the symbols of a word, with a heap, in fixed scratch; what ranks a pair is the only difference between the algorithms.
 *
 * Cost. A word of n bytes has at most n symbols, n - 1 first pairs, and n - 1 merges that each take one entry from the heap and
 * put back at most two: fewer than 2n entries at any time, O(n log n) in all. */
#include "tokenizer_parts.h"

static void heap_push(struct hearth_encoding *encoding, uint64_t entry)
{
    uint64_t *heap = encoding->heap;
    uint32_t i = encoding->n_heap++;
    for (uint32_t parent; i > 0 && heap[parent = (i - 1) / 2] > entry; i = parent)
        heap[i] = heap[parent];
    heap[i] = entry;
}

static uint64_t heap_pop(struct hearth_encoding *encoding)
{
    uint64_t *heap = encoding->heap;
    const uint64_t best = heap[0];
    const uint64_t entry = heap[--encoding->n_heap];
    uint32_t i = 0;
    for (uint32_t child; (child = 2 * i + 1) < encoding->n_heap; i = child) {
        if (child + 1 < encoding->n_heap && heap[child + 1] < heap[child])
            child++;
        if (heap[child] >= entry)
            break;
        heap[i] = heap[child];
    }
    heap[i] = entry;
    return best;
}

/* How early the two symbols merge, the left one being `left` bytes long; false when they do not. */
static bool find_rank(const struct hearth_tokenizer *tokenizer, const uint8_t *bytes, size_t n, size_t left, uint32_t *rank)
{
    if (!tokenizer->ranks)
        return hearth_bpe_rank(&tokenizer->merges, bytes, n, left, rank);
    const int32_t id = hearth_tokenizer_find(tokenizer, bytes, n);
    if (id != HEARTH_TOKEN_NONE)
        *rank = tokenizer->ranks[id];
    return id != HEARTH_TOKEN_NONE;
}

/* Note that the symbols at `left` and after it could merge. */
static void propose(struct hearth_encoding *encoding, uint32_t left)
{
    const uint32_t right = left + encoding->symbols[left].bytes;
    if (right == encoding->n_word)
        return;
    const uint32_t bytes = encoding->symbols[left].bytes + encoding->symbols[right].bytes;
    uint32_t rank;
    if (find_rank(encoding->tokenizer, encoding->word + left, bytes, encoding->symbols[left].bytes, &rank))
        heap_push(encoding, (uint64_t)rank << 32 | (uint64_t)left << 16 | (bytes - 1));
}

/* Symbols only grow, so a left symbol that still stands, with a neighbour that fills the recorded length, is the recorded pair. */
void hearth_tokenizer_merge(struct hearth_encoding *encoding)
{
    for (uint32_t i = 0; i < encoding->n_word; i += encoding->symbols[i].bytes)
        propose(encoding, i);
    struct hearth_symbol *symbols = encoding->symbols;
    while (encoding->n_heap > 0) {
        const uint64_t entry = heap_pop(encoding);
        const uint32_t left = (uint32_t)(entry >> 16) & 0xffffu;
        const uint32_t bytes = ((uint32_t)entry & 0xffffu) + 1;
        const uint32_t right = left + symbols[left].bytes;
        if (symbols[left].bytes == 0 || right == encoding->n_word || symbols[left].bytes + symbols[right].bytes != bytes)
            continue;
        symbols[left].bytes = bytes;
        symbols[right].bytes = 0;
        if (left + bytes < encoding->n_word)
            symbols[left + bytes].prev = left;
        if (symbols[left].prev != HEARTH_NO_SYMBOL)
            propose(encoding, symbols[left].prev);
        propose(encoding, left);
    }
}
