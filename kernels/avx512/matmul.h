/* What the products of quantized weights share: tiles of 16 rows, the dot instruction, and the bytes of packed codes.
 *
 * A vector of 64 bytes of a tile holds 4 consecutive k of 16 rows: byte 4r + b is k = 4n + b of row r, so that a dword of
 * activations broadcast to all lanes meets it in one vpdpbusd (weights unsigned, activations signed), without a shuffle. Nibbles
 * hold two such vectors: low ones k = 8v + b, high ones k = 8v + 4 + b. */
#ifndef HEARTH_AVX512_MATMUL_H
#define HEARTH_AVX512_MATMUL_H

#include "avx512/simd.h"
#include "template/unroll.h"

#ifdef __SANITIZE_ADDRESS__ /* instrumented and unrolled, each file would take gcc most of a minute */
#undef UNROLL
#define UNROLL
#endif

enum { TILE_ROWS = 16, MANY_TOKENS = 17, JOINED_TOKENS = 4 };

/* ---- The vocabulary of template/dot_*.h: a lane for each row of a tile -------------------------------------------------- */

typedef __m512i veci; /* int32 */
typedef __m512 vecf;

HEARTH_ALWAYS_INLINE veci veci_zero(void)
{
    return _mm512_setzero_si512();
}

HEARTH_ALWAYS_INLINE veci veci_set1(int32_t i)
{
    return _mm512_set1_epi32(i);
}

HEARTH_ALWAYS_INLINE veci veci_add(veci a, veci b)
{
    return _mm512_add_epi32(a, b);
}

HEARTH_ALWAYS_INLINE veci veci_mul(veci a, veci b)
{
    return _mm512_mullo_epi32(a, b);
}

/* The lower 16 bits of each lane as its upper ones. */
HEARTH_ALWAYS_INLINE veci veci_to_upper(veci a)
{
    return _mm512_slli_epi32(a, 16);
}

/* Of each lane, the lower 16 bits of a and the upper ones of b. */
HEARTH_ALWAYS_INLINE veci blend16(veci a, veci b)
{
    return _mm512_mask_blend_epi16(0xaaaaaaaa, a, b);
}

HEARTH_ALWAYS_INLINE vecf veci_to_f(veci a)
{
    return _mm512_cvtepi32_ps(a);
}

HEARTH_ALWAYS_INLINE vecf vecf_zero(void)
{
    return _mm512_setzero_ps();
}

HEARTH_ALWAYS_INLINE vecf vecf_set1(float x)
{
    return _mm512_set1_ps(x);
}

HEARTH_ALWAYS_INLINE vecf vecf_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

HEARTH_ALWAYS_INLINE void vecf_store(float *p, vecf a)
{
    _mm512_storeu_ps(p, a);
}

HEARTH_ALWAYS_INLINE vecf vecf_mul(vecf a, vecf b)
{
    return _mm512_mul_ps(a, b);
}

/* a * b + c, and c - a * b. */
HEARTH_ALWAYS_INLINE vecf vecf_fma(vecf a, vecf b, vecf c)
{
    return _mm512_fmadd_ps(a, b, c);
}

HEARTH_ALWAYS_INLINE vecf vecf_fnma(vecf a, vecf b, vecf c)
{
    return _mm512_fnmadd_ps(a, b, c);
}

/* ---- Arithmetic -------------------------------------------------------------------------------------------------- */

HEARTH_ALWAYS_INLINE __m512i load512(const void *p)
{
    return _mm512_loadu_si512(p);
}

/* sum + 4 products of unsigned w and signed x in each lane, in int32 without saturation. */
HEARTH_ALWAYS_INLINE veci add_dot(veci sum, veci w, veci x)
{
    return _mm512_dpbusd_epi32(sum, w, x);
}

/* The same of 2 products of signed 16-bit numbers. */
HEARTH_ALWAYS_INLINE veci add_dot16(veci sum, veci a, veci b)
{
    return _mm512_dpwssd_epi32(sum, a, b);
}

HEARTH_ALWAYS_INLINE __m512 load_halves(const uint8_t *p)
{
    return vec16_load_f16((const uint16_t *)(const void *)p);
}

/* Two vectors of nibbles. */
HEARTH_ALWAYS_INLINE void split_nibbles(__m512i w[2], const uint8_t *p)
{
    const __m512i low = _mm512_set1_epi8(15);
    const __m512i v = load512(p);
    w[0] = _mm512_and_si512(v, low);
    w[1] = _mm512_and_si512(_mm512_srli_epi16(v, 4), low);
}

/* Four vectors of 2-bit codes. */
HEARTH_ALWAYS_INLINE void split_two_bits(__m512i w[4], const uint8_t *p)
{
    const __m512i low = _mm512_set1_epi8(3);
    const __m512i v = load512(p);
    w[0] = _mm512_and_si512(v, low);
    w[1] = _mm512_and_si512(_mm512_srli_epi16(v, 2), low);
    w[2] = _mm512_and_si512(_mm512_srli_epi16(v, 4), low);
    w[3] = _mm512_and_si512(_mm512_srli_epi16(v, 6), low);
}

/* w + 16 in the bytes whose bit of the mask at p is set. */
HEARTH_ALWAYS_INLINE __m512i add_fifth_bits(__m512i w, const uint8_t *p)
{
    uint64_t bits;
    memcpy(&bits, p, sizeof bits);
    return _mm512_mask_add_epi8(w, _cvtu64_mask64(bits), w, _mm512_set1_epi8(16));
}

/* Of a tile's results, those of the rows that exist, of `rows` left. */
HEARTH_ALWAYS_INLINE void store_rows(float *y, vecf v, size_t rows)
{
    _mm512_mask_storeu_ps(y, (__mmask16)(rows < TILE_ROWS ? (1u << rows) - 1 : 0xffff), v);
}

#include "template/dot.h"

/* ---- Codes of one row in and out of a tile, for pack and unpack ---------------------------------------------------- */

/* `n` codes of 0 ... 15 (upper bits are ignored) of row r to the vectors of nibbles at `to`; n is a multiple of 8. */
static inline void put_nibbles(uint8_t *to, const uint8_t *codes, size_t n, size_t r)
{
    for (size_t v = 0; v < n / 8; v++) {
        uint64_t c;
        memcpy(&c, codes + 8 * v, sizeof c);
        c &= 0x0f0f0f0f0f0f0f0fu;
        const uint32_t both = (uint32_t)(c | c >> 28);
        memcpy(to + 64 * v + 4 * r, &both, sizeof both);
    }
}

static inline void get_nibbles(uint8_t *codes, const uint8_t *from, size_t n, size_t r)
{
    for (size_t v = 0; v < n / 8; v++) {
        uint32_t both;
        memcpy(&both, from + 64 * v + 4 * r, sizeof both);
        const uint64_t c = (uint64_t)(both & 0x0f0f0f0fu) | (uint64_t)(both >> 4 & 0x0f0f0f0fu) << 32;
        memcpy(codes + 8 * v, &c, sizeof c);
    }
}

/* One bit of `n` codes of row r, number `bit`, to the masks at `to`, which hold zeros for this row; n is a multiple of 4. */
static inline void put_bit(uint8_t *to, const uint8_t *codes, size_t n, int bit, size_t r)
{
    for (size_t m = 0; m < n / 4; m++) {
        uint32_t c;
        memcpy(&c, codes + 4 * m, sizeof c);
        to[8 * m + r / 2] |= (uint8_t)(_pext_u32(c, 0x01010101u << bit) << (r % 2 * 4));
    }
}

/* The inverse: set that bit of codes where it is clear. */
static inline void get_bit(uint8_t *codes, const uint8_t *from, size_t n, int bit, size_t r)
{
    for (size_t m = 0; m < n / 4; m++) {
        uint32_t c;
        memcpy(&c, codes + 4 * m, sizeof c);
        c |= _pdep_u32((uint32_t)from[8 * m + r / 2] >> (r % 2 * 4), 0x01010101u << bit);
        memcpy(codes + 4 * m, &c, sizeof c);
    }
}

static inline void put_fifth_bits(uint8_t *to, const uint8_t *codes, size_t n, size_t r)
{
    put_bit(to, codes, n, 4, r);
}

static inline void get_fifth_bits(uint8_t *codes, const uint8_t *from, size_t n, size_t r)
{
    get_bit(codes, from, n, 4, r);
}

/* Two bits, `bit` and the next, of n codes of row r to vectors: byte 4r + b of vector h holds those of k = 16h + 4i + b at bits 2i;
 * n is a multiple of 16. */
static inline void put_two_bits(uint8_t *to, const uint8_t *codes, size_t n, int bit, size_t r)
{
    for (size_t h = 0; h < n / 16; h++) {
        uint32_t bits = 0;
        for (size_t i = 0; i < 4; i++) {
            uint32_t c;
            memcpy(&c, codes + 16 * h + 4 * i, sizeof c);
            bits |= (c >> bit & 0x03030303u) << 2 * i;
        }
        memcpy(to + 64 * h + 4 * r, &bits, sizeof bits);
    }
}

/* The inverse: set those bits of codes where they are clear. */
static inline void get_two_bits(uint8_t *codes, const uint8_t *from, size_t n, int bit, size_t r)
{
    for (size_t h = 0; h < n / 16; h++) {
        uint32_t bits;
        memcpy(&bits, from + 64 * h + 4 * r, sizeof bits);
        for (size_t i = 0; i < 4; i++) {
            uint32_t c;
            memcpy(&c, codes + 16 * h + 4 * i, sizeof c);
            c |= (bits >> 2 * i & 0x03030303u) << bit;
            memcpy(codes + 16 * h + 4 * i, &c, sizeof c);
        }
    }
}

#endif
