/* Sorting the vocabulary by its bytes; see piece_order.h. */
#include "piece_order.h"

static size_t shared_bytes(struct hearth_view a, struct hearth_view b)
{
    const size_t n = a.size < b.size ? a.size : b.size;
    size_t i = 0;
    while (i < n && a.bytes[i] == b.bytes[i])
        i++;
    return i;
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
    hearth_tokenizer_sort(tokenizer, order->ids, n);
    for (uint32_t i = 0; i < order->n; i++)
        order->shared[i] = i == 0 ? 0
                                  : (uint8_t)shared_bytes(hearth_tokenizer_piece(tokenizer, order->ids[i - 1]),
                                                          hearth_tokenizer_piece(tokenizer, order->ids[i]));
}
