/* Sorting the vocabulary by its bytes; see piece_order.h. Heap sort: qsort may allocate, and quicksort has bad days. */
#include "piece_order.h"
#include <string.h>

static size_t shared_bytes(struct hearth_view a, struct hearth_view b)
{
    const size_t n = a.size < b.size ? a.size : b.size;
    size_t i = 0;
    while (i < n && a.bytes[i] == b.bytes[i])
        i++;
    return i;
}

/* By bytes, then by id. */
static bool less(const struct hearth_tokenizer *tokenizer, int32_t a, int32_t b)
{
    const struct hearth_view x = hearth_tokenizer_piece(tokenizer, a), y = hearth_tokenizer_piece(tokenizer, b);
    const int order = memcmp(x.bytes, y.bytes, x.size < y.size ? x.size : y.size);
    return order != 0 ? order < 0 : x.size != y.size ? x.size < y.size : a < b;
}

static void sift(const struct hearth_tokenizer *tokenizer, int32_t *heap, uint32_t at, uint32_t n)
{
    const int32_t id = heap[at];
    for (uint32_t child; (child = 2 * at + 1) < n; at = child) {
        child += child + 1 < n && less(tokenizer, heap[child], heap[child + 1]);
        if (!less(tokenizer, id, heap[child]))
            break;
        heap[at] = heap[child];
    }
    heap[at] = id;
}

void hearth_piece_order_make(struct hearth_piece_order *order, const struct hearth_tokenizer *tokenizer)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < hearth_tokenizer_count(tokenizer); i++) {
        const struct hearth_view piece = hearth_tokenizer_piece(tokenizer, (int32_t)i);
        if (piece.size > 0 && piece.size <= HEARTH_PIECE_ORDER_MAX && piece.bytes[0] != '\0' &&
            !hearth_tokenizer_is_end(tokenizer, (int32_t)i))
            order->ids[n++] = (int32_t)i;
    }
    order->n = n;
    for (uint32_t i = n / 2; i-- > 0;)
        sift(tokenizer, order->ids, i, n);
    while (n-- > 1) {
        const int32_t greatest = order->ids[0];
        order->ids[0] = order->ids[n];
        order->ids[n] = greatest;
        sift(tokenizer, order->ids, 0, n);
    }
    for (uint32_t i = 0; i < order->n; i++)
        order->shared[i] = i == 0 ? 0
                                  : (uint8_t)shared_bytes(hearth_tokenizer_piece(tokenizer, order->ids[i - 1]),
                                                          hearth_tokenizer_piece(tokenizer, order->ids[i]));
}
