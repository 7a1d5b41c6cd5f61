/* The element types of GGUF tensors: numbers, names, sizes, and the blocks as they lie in a file (spec/quantization.md).
 * Blocks have alignment 1 and are only ever read with memcpy or unaligned loads. */
#ifndef HEARTH_COMMON_BLOCK_FORMAT_H
#define HEARTH_COMMON_BLOCK_FORMAT_H

#include <stddef.h>
#include <stdint.h>

/* Values are the type ids of the file format. */
enum hearth_format {
    HEARTH_F32 = 0,
    HEARTH_F16 = 1,
    HEARTH_Q4_0 = 2,
    HEARTH_Q4_1 = 3,
    HEARTH_Q5_0 = 6,
    HEARTH_Q5_1 = 7,
    HEARTH_Q8_0 = 8,
    HEARTH_Q2_K = 10,
    HEARTH_Q3_K = 11,
    HEARTH_Q4_K = 12,
    HEARTH_Q5_K = 13,
    HEARTH_Q6_K = 14,
    HEARTH_IQ4_NL = 20,
    HEARTH_IQ4_XS = 23,
    HEARTH_BF16 = 30,
    HEARTH_FORMAT_COUNT = 43 /* ids run below this */
};

/* How a product with this weight format takes its activations (arithmetic.md). */
enum hearth_activation {
    HEARTH_ACTIVATION_NONE, /* no product is defined here */
    HEARTH_ACTIVATION_F32,
    HEARTH_ACTIVATION_Q8_32,  /* int8 with one scale for each 32 */
    HEARTH_ACTIVATION_Q8_256, /* int8 with one scale for each 256 */
    HEARTH_ACTIVATION_COUNT
};

struct hearth_format_info {
    const char *name;     /* as in GGUF; NULL: unknown number; */
    uint16_t block_elems; /* 0: the number is known but the type was removed */
    uint16_t block_bytes;
    enum hearth_activation activation;
};

static inline const struct hearth_format_info *hearth_format_info(uint32_t format)
{
    static const struct hearth_format_info table[HEARTH_FORMAT_COUNT] = {
        [HEARTH_F32] = {"F32", 1, 4, HEARTH_ACTIVATION_F32},
        [HEARTH_F16] = {"F16", 1, 2, HEARTH_ACTIVATION_F32},
        [HEARTH_Q4_0] = {"Q4_0", 32, 18, HEARTH_ACTIVATION_Q8_32},
        [HEARTH_Q4_1] = {"Q4_1", 32, 20, HEARTH_ACTIVATION_Q8_32},
        [4] = {"Q4_2", 0, 0, HEARTH_ACTIVATION_NONE},
        [5] = {"Q4_3", 0, 0, HEARTH_ACTIVATION_NONE},
        [HEARTH_Q5_0] = {"Q5_0", 32, 22, HEARTH_ACTIVATION_Q8_32},
        [HEARTH_Q5_1] = {"Q5_1", 32, 24, HEARTH_ACTIVATION_Q8_32},
        [HEARTH_Q8_0] = {"Q8_0", 32, 34, HEARTH_ACTIVATION_Q8_32},
        [9] = {"Q8_1", 32, 36, HEARTH_ACTIVATION_NONE},
        [HEARTH_Q2_K] = {"Q2_K", 256, 84, HEARTH_ACTIVATION_Q8_256},
        [HEARTH_Q3_K] = {"Q3_K", 256, 110, HEARTH_ACTIVATION_Q8_256},
        [HEARTH_Q4_K] = {"Q4_K", 256, 144, HEARTH_ACTIVATION_Q8_256},
        [HEARTH_Q5_K] = {"Q5_K", 256, 176, HEARTH_ACTIVATION_Q8_256},
        [HEARTH_Q6_K] = {"Q6_K", 256, 210, HEARTH_ACTIVATION_Q8_256},
        [15] = {"Q8_K", 256, 292, HEARTH_ACTIVATION_NONE},
        [16] = {"IQ2_XXS", 256, 66, HEARTH_ACTIVATION_NONE},
        [17] = {"IQ2_XS", 256, 74, HEARTH_ACTIVATION_NONE},
        [18] = {"IQ3_XXS", 256, 98, HEARTH_ACTIVATION_NONE},
        [19] = {"IQ1_S", 256, 50, HEARTH_ACTIVATION_NONE},
        [HEARTH_IQ4_NL] = {"IQ4_NL", 32, 18, HEARTH_ACTIVATION_Q8_32},
        [21] = {"IQ3_S", 256, 110, HEARTH_ACTIVATION_NONE},
        [22] = {"IQ2_S", 256, 82, HEARTH_ACTIVATION_NONE},
        [HEARTH_IQ4_XS] = {"IQ4_XS", 256, 136, HEARTH_ACTIVATION_Q8_256},
        [24] = {"I8", 1, 1, HEARTH_ACTIVATION_NONE},
        [25] = {"I16", 1, 2, HEARTH_ACTIVATION_NONE},
        [26] = {"I32", 1, 4, HEARTH_ACTIVATION_NONE},
        [27] = {"I64", 1, 8, HEARTH_ACTIVATION_NONE},
        [28] = {"F64", 1, 8, HEARTH_ACTIVATION_NONE},
        [29] = {"IQ1_M", 256, 56, HEARTH_ACTIVATION_NONE},
        [HEARTH_BF16] = {"BF16", 1, 2, HEARTH_ACTIVATION_F32},
        [31] = {"Q4_0_4_4", 0, 0, HEARTH_ACTIVATION_NONE},
        [32] = {"Q4_0_4_8", 0, 0, HEARTH_ACTIVATION_NONE},
        [33] = {"Q4_0_8_8", 0, 0, HEARTH_ACTIVATION_NONE},
        [34] = {"TQ1_0", 256, 54, HEARTH_ACTIVATION_NONE},
        [35] = {"TQ2_0", 256, 66, HEARTH_ACTIVATION_NONE},
        [36] = {"IQ4_NL_4_4", 0, 0, HEARTH_ACTIVATION_NONE},
        [37] = {"IQ4_NL_4_8", 0, 0, HEARTH_ACTIVATION_NONE},
        [38] = {"IQ4_NL_8_8", 0, 0, HEARTH_ACTIVATION_NONE},
        [39] = {"MXFP4", 32, 17, HEARTH_ACTIVATION_NONE},
        [40] = {"NVFP4", 64, 36, HEARTH_ACTIVATION_NONE},
        [41] = {"Q1_0", 128, 18, HEARTH_ACTIVATION_NONE},
        [42] = {"Q2_0", 64, 18, HEARTH_ACTIVATION_NONE},
    };
    static const struct hearth_format_info unknown = {NULL, 0, 0, HEARTH_ACTIVATION_NONE};
    return format < HEARTH_FORMAT_COUNT ? &table[format] : &unknown;
}

/* Bytes of a row of k elements as it lies in the file; k is a multiple of the block length, and the format one that has blocks. */
static inline size_t hearth_row_bytes(uint32_t format, size_t k)
{
    const struct hearth_format_info *info = hearth_format_info(format);
    return k / info->block_elems * info->block_bytes; /* NOLINT(clang-analyzer-core.DivideZero) */
}

/* Blocks of 32: element i has its low bits in the low (i < 16) or high (i >= 16) nibble of qs[i % 16]; bit i of the
 * little-endian qh is its fifth bit. d and m are half floats. */
struct hearth_block_q4_0 {
    uint8_t d[2], qs[16];
};
struct hearth_block_q4_1 {
    uint8_t d[2], m[2], qs[16];
};
struct hearth_block_q5_0 {
    uint8_t d[2], qh[4], qs[16];
};
struct hearth_block_q5_1 {
    uint8_t d[2], m[2], qh[4], qs[16];
};
struct hearth_block_q8_0 {
    uint8_t d[2];
    int8_t qs[32];
};
struct hearth_block_iq4_nl {
    uint8_t d[2], qs[16];
};

/* Super-blocks of 256. */
struct hearth_block_q2_K {
    uint8_t scales[16], qs[64], d[2], dmin[2];
};
struct hearth_block_q3_K {
    uint8_t hmask[32], qs[64], scales[12], d[2];
};
struct hearth_block_q4_K {
    uint8_t d[2], dmin[2], scales[12], qs[128];
};
struct hearth_block_q5_K {
    uint8_t d[2], dmin[2], scales[12], qh[32], qs[128];
};
struct hearth_block_q6_K {
    uint8_t ql[128], qh[64];
    int8_t scales[16];
    uint8_t d[2];
};
struct hearth_block_iq4_xs {
    uint8_t d[2], scales_h[2], scales_l[4], qs[128];
};

static inline uint16_t hearth_load_u16(const uint8_t bytes[2])
{
    return (uint16_t)(bytes[0] | bytes[1] << 8);
}

#endif
