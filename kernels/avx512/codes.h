/* The codes of file blocks as bytes, in the order of their elements, and back; scales stay where they are. A code is unsigned: the
 * value before the format's offset is taken away. Packing and dequantization both start here. */
#ifndef HEARTH_AVX512_CODES_H
#define HEARTH_AVX512_CODES_H

#include "common/block_format.h"
#include "reference/decode.h"
#include <immintrin.h>
#include <string.h>

static inline __m256i load32(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

static inline void store32(uint8_t *p, __m256i v)
{
    _mm256_storeu_si256((__m256i *)(void *)p, v);
}

static inline __m256i low_nibbles(__m256i v)
{
    return _mm256_and_si256(v, _mm256_set1_epi8(15));
}

static inline __m256i high_nibbles(__m256i v)
{
    return low_nibbles(_mm256_srli_epi16(v, 4));
}

/* Low nibbles of a and of b as one vector, b's in the high places. */
static inline __m256i join_nibbles(__m256i a, __m256i b)
{
    return _mm256_or_si256(low_nibbles(a), _mm256_slli_epi16(low_nibbles(b), 4));
}

/* ---- Blocks of 32: byte i holds element i low and element i + 16 high ---------------------------------------------- */

static inline __m256i nibbles32(const uint8_t qs[16])
{
    const __m128i v = _mm_loadu_si128((const __m128i *)(const void *)qs);
    const __m128i low = _mm_set1_epi8(15);
    return _mm256_set_m128i(_mm_and_si128(_mm_srli_epi16(v, 4), low), _mm_and_si128(v, low));
}

static inline void put_nibbles32(uint8_t qs[16], __m256i codes)
{
    const __m256i joined = join_nibbles(codes, _mm256_permute2x128_si256(codes, codes, 0x11));
    _mm_storeu_si128((__m128i *)(void *)qs, _mm256_castsi256_si128(joined));
}

static inline void codes_of_q4_0(uint8_t codes[32], const struct hearth_block_q4_0 *block)
{
    store32(codes, nibbles32(block->qs));
}

static inline void q4_0_of_codes(struct hearth_block_q4_0 *block, const uint8_t codes[32])
{
    put_nibbles32(block->qs, load32(codes));
}

static inline void codes_of_q4_1(uint8_t codes[32], const struct hearth_block_q4_1 *block)
{
    store32(codes, nibbles32(block->qs));
}

static inline void q4_1_of_codes(struct hearth_block_q4_1 *block, const uint8_t codes[32])
{
    put_nibbles32(block->qs, load32(codes));
}

/* With fifth bits: bit i of qh is that of element i. */
static inline __m256i five_bits32(const uint8_t qs[16], const uint8_t qh[4])
{
    uint32_t fifth;
    memcpy(&fifth, qh, sizeof fifth);
    const __m256i v = nibbles32(qs);
    return _mm256_mask_add_epi8(v, fifth, v, _mm256_set1_epi8(16));
}

static inline void put_five_bits32(uint8_t qs[16], uint8_t qh[4], __m256i codes)
{
    const uint32_t fifth = _mm256_test_epi8_mask(codes, _mm256_set1_epi8(16));
    memcpy(qh, &fifth, sizeof fifth);
    put_nibbles32(qs, codes);
}

static inline void codes_of_q5_0(uint8_t codes[32], const struct hearth_block_q5_0 *block)
{
    store32(codes, five_bits32(block->qs, block->qh));
}

static inline void q5_0_of_codes(struct hearth_block_q5_0 *block, const uint8_t codes[32])
{
    put_five_bits32(block->qs, block->qh, load32(codes));
}

static inline void codes_of_q5_1(uint8_t codes[32], const struct hearth_block_q5_1 *block)
{
    store32(codes, five_bits32(block->qs, block->qh));
}

static inline void q5_1_of_codes(struct hearth_block_q5_1 *block, const uint8_t codes[32])
{
    put_five_bits32(block->qs, block->qh, load32(codes));
}

/* q + 128. */
static inline void codes_of_q8_0(uint8_t codes[32], const struct hearth_block_q8_0 *block)
{
    store32(codes, _mm256_xor_si256(load32((const uint8_t *)block->qs), _mm256_set1_epi8(-128)));
}

static inline void q8_0_of_codes(struct hearth_block_q8_0 *block, const uint8_t codes[32])
{
    store32((uint8_t *)block->qs, _mm256_xor_si256(load32(codes), _mm256_set1_epi8(-128)));
}

/* What the nibbles of IQ4_NL and IQ4_XS stand for, plus 128: 1 ... 241, a table of 16 bytes for vpshufb. */
static inline __m128i iq4_codes(void)
{
    return _mm_xor_si128(_mm_loadu_si128((const __m128i *)(const void *)hearth_iq4_values), _mm_set1_epi8(-128));
}

/* Value + 128. The way back is packing's, from the nibbles, which are in the order of Q4_0's. */
static inline void codes_of_iq4_nl(uint8_t codes[32], const struct hearth_block_iq4_nl *block)
{
    store32(codes, _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(iq4_codes()), nibbles32(block->qs)));
}

/* ---- Super-blocks of 256 ------------------------------------------------------------------------------------------- */

/* Four-bit planes: byte 32 g + l holds element 64 g + l low and 64 g + 32 + l high. */
static inline void codes_of_planes(uint8_t codes[256], const uint8_t qs[128])
{
    for (size_t g = 0; g < 4; g++) {
        const __m256i v = load32(qs + 32 * g);
        store32(codes + 64 * g, low_nibbles(v));
        store32(codes + 64 * g + 32, high_nibbles(v));
    }
}

static inline void planes_of_codes(uint8_t qs[128], const uint8_t codes[256])
{
    for (size_t g = 0; g < 4; g++)
        store32(qs + 32 * g, join_nibbles(load32(codes + 64 * g), load32(codes + 64 * g + 32)));
}

static inline void codes_of_q4_K(uint8_t codes[256], const struct hearth_block_q4_K *block)
{
    codes_of_planes(codes, block->qs);
}

static inline void q4_K_of_codes(struct hearth_block_q4_K *block, const uint8_t codes[256])
{
    planes_of_codes(block->qs, codes);
}

/* Bit j of byte l of qh is the fifth bit of element 32 j + l. */
static inline void codes_of_q5_K(uint8_t codes[256], const struct hearth_block_q5_K *block)
{
    codes_of_planes(codes, block->qs);
    const __m256i qh = load32(block->qh);
    for (int j = 0; j < 8; j++) {
        const __m256i v = load32(codes + 32 * j);
        const __mmask32 fifth = _mm256_test_epi8_mask(qh, _mm256_set1_epi8((char)(1 << j)));
        store32(codes + 32 * j, _mm256_mask_add_epi8(v, fifth, v, _mm256_set1_epi8(16)));
    }
}

static inline void q5_K_of_codes(struct hearth_block_q5_K *block, const uint8_t codes[256])
{
    __m256i qh = _mm256_setzero_si256();
    for (int j = 0; j < 8; j++) {
        const __mmask32 fifth = _mm256_test_epi8_mask(load32(codes + 32 * j), _mm256_set1_epi8(16));
        qh = _mm256_or_si256(qh, _mm256_maskz_set1_epi8(fifth, (char)(1 << j)));
    }
    store32(block->qh, qh);
    planes_of_codes(block->qs, codes);
}

/* Byte 32 h + l of qs holds the two bits of elements 128 h + 32 p + l at bits 2p. */
static inline void codes_of_two_bits(uint8_t codes[256], const uint8_t qs[64])
{
    const __m256i two = _mm256_set1_epi8(3);
    for (size_t h = 0; h < 2; h++) {
        __m256i v = load32(qs + 32 * h);
        for (size_t p = 0; p < 4; p++, v = _mm256_srli_epi16(v, 2))
            store32(codes + 128 * h + 32 * p, _mm256_and_si256(v, two));
    }
}

static inline void two_bits_of_codes(uint8_t qs[64], const uint8_t codes[256])
{
    const __m256i two = _mm256_set1_epi8(3);
    for (size_t h = 0; h < 2; h++) {
        __m256i v = _mm256_setzero_si256();
        for (size_t p = 4; p-- > 0;)
            v = _mm256_or_si256(_mm256_slli_epi16(v, 2), _mm256_and_si256(load32(codes + 128 * h + 32 * p), two));
        store32(qs + 32 * h, v);
    }
}

static inline void codes_of_q2_K(uint8_t codes[256], const struct hearth_block_q2_K *block)
{
    codes_of_two_bits(codes, block->qs);
}

static inline void q2_K_of_codes(struct hearth_block_q2_K *block, const uint8_t codes[256])
{
    two_bits_of_codes(block->qs, codes);
}

/* Bit j of byte l of hmask is the third bit of element 32 j + l. */
static inline void codes_of_q3_K(uint8_t codes[256], const struct hearth_block_q3_K *block)
{
    codes_of_two_bits(codes, block->qs);
    const __m256i hmask = load32(block->hmask);
    for (int j = 0; j < 8; j++) {
        const __m256i v = load32(codes + 32 * j);
        const __mmask32 third = _mm256_test_epi8_mask(hmask, _mm256_set1_epi8((char)(1 << j)));
        store32(codes + 32 * j, _mm256_mask_add_epi8(v, third, v, _mm256_set1_epi8(4)));
    }
}

static inline void q3_K_of_codes(struct hearth_block_q3_K *block, const uint8_t codes[256])
{
    __m256i hmask = _mm256_setzero_si256();
    for (int j = 0; j < 8; j++) {
        const __mmask32 third = _mm256_test_epi8_mask(load32(codes + 32 * j), _mm256_set1_epi8(4));
        hmask = _mm256_or_si256(hmask, _mm256_maskz_set1_epi8(third, (char)(1 << j)));
    }
    store32(block->hmask, hmask);
    two_bits_of_codes(block->qs, codes);
}

/* In each half of 128: planes 0 and 2 are the nibbles of 32 bytes, planes 1 and 3 those of the next 32; byte l of qh holds the
 * upper two bits of elements l, 32 + l, 64 + l and 96 + l, lowest first. */
static inline void codes_of_q6_K(uint8_t codes[256], const struct hearth_block_q6_K *block)
{
    const __m256i upper = _mm256_set1_epi8(0x30);
    for (size_t h = 0; h < 2; h++) {
        const __m256i a = load32(block->ql + 64 * h);
        const __m256i b = load32(block->ql + 64 * h + 32);
        const __m256i qh = load32(block->qh + 32 * h);
        uint8_t *to = codes + 128 * h;
        store32(to, _mm256_or_si256(low_nibbles(a), _mm256_and_si256(_mm256_slli_epi16(qh, 4), upper)));
        store32(to + 32, _mm256_or_si256(low_nibbles(b), _mm256_and_si256(_mm256_slli_epi16(qh, 2), upper)));
        store32(to + 64, _mm256_or_si256(high_nibbles(a), _mm256_and_si256(qh, upper)));
        store32(to + 96, _mm256_or_si256(high_nibbles(b), _mm256_and_si256(_mm256_srli_epi16(qh, 2), upper)));
    }
}

static inline void q6_K_of_codes(struct hearth_block_q6_K *block, const uint8_t codes[256])
{
    const __m256i two = _mm256_set1_epi8(3);
    for (size_t h = 0; h < 2; h++) {
        __m256i plane[4];
        for (size_t p = 0; p < 4; p++)
            plane[p] = load32(codes + 128 * h + 32 * p);
        store32(block->ql + 64 * h, join_nibbles(plane[0], plane[2]));
        store32(block->ql + 64 * h + 32, join_nibbles(plane[1], plane[3]));
        __m256i qh = _mm256_setzero_si256();
        for (size_t p = 4; p-- > 0;)
            qh = _mm256_or_si256(_mm256_slli_epi16(qh, 2), _mm256_and_si256(_mm256_srli_epi16(plane[p], 4), two));
        store32(block->qh + 32 * h, qh);
    }
}

/* Value + 128, as in IQ4_NL. */
static inline void codes_of_iq4_xs(uint8_t codes[256], const struct hearth_block_iq4_xs *block)
{
    const __m256i table = _mm256_broadcastsi128_si256(iq4_codes());
    for (size_t j = 0; j < 8; j++)
        store32(codes + 32 * j, _mm256_shuffle_epi8(table, nibbles32(block->qs + 16 * j)));
}

#endif
