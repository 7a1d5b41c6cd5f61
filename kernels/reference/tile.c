/* The reference's packed layout is the file's: a tile is one row, its bytes unchanged, followed by zeros up to a multiple of 64. */
#include "common/block_format.h"
#include "reference/reference.h"
#include <string.h>

static size_t tile_bytes(enum hearth_format format, size_t k)
{
    return (hearth_row_bytes(format, k) + 63) & ~(size_t)63;
}

/* rows is 1 … tile_rows, so 1; a tile without a row would be zeros, as in any layout. */
static void pack(enum hearth_format format, void *tile, const void *file_rows, size_t rows, size_t k)
{
    memset(tile, 0, tile_bytes(format, k));
    if (rows > 0)
        memcpy(tile, file_rows, hearth_row_bytes(format, k));
}

static void unpack(enum hearth_format format, void *file_row, const void *tile, size_t k)
{
    memcpy(file_row, tile, hearth_row_bytes(format, k));
}

/* The contract's function types name no format, so each format has its own thin wrappers. */
#define TILE_OF(name, format)                                                                                                      \
    size_t hearth_tile_bytes_##name##_reference(size_t k)                                                                          \
    {                                                                                                                              \
        return tile_bytes(format, k);                                                                                              \
    }                                                                                                                              \
    void hearth_pack_##name##_reference(void *tile, const void *file_rows, size_t rows, size_t k)                                  \
    {                                                                                                                              \
        pack(format, tile, file_rows, rows, k);                                                                                    \
    }                                                                                                                              \
    void hearth_unpack_##name##_reference(void *file_row, const void *tile, size_t row, size_t k)                                  \
    {                                                                                                                              \
        (void)row;                                                                                                                 \
        unpack(format, file_row, tile, k);                                                                                         \
    }

TILE_OF(q4_0, HEARTH_Q4_0)
TILE_OF(q4_1, HEARTH_Q4_1)
TILE_OF(q5_0, HEARTH_Q5_0)
TILE_OF(q5_1, HEARTH_Q5_1)
TILE_OF(q8_0, HEARTH_Q8_0)
TILE_OF(iq4_nl, HEARTH_IQ4_NL)
TILE_OF(q2_K, HEARTH_Q2_K)
TILE_OF(q3_K, HEARTH_Q3_K)
TILE_OF(q4_K, HEARTH_Q4_K)
TILE_OF(q5_K, HEARTH_Q5_K)
TILE_OF(q6_K, HEARTH_Q6_K)
TILE_OF(iq4_xs, HEARTH_IQ4_XS)
TILE_OF(f32, HEARTH_F32)
TILE_OF(f16, HEARTH_F16)
TILE_OF(bf16, HEARTH_BF16)
