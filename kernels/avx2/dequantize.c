/* File blocks to floats, 16 elements at a time, each operation rounded as the reference does: (d * scale) * code, less dmin * min
 * where the format has mins. Without a min, +0 is taken off, which changes no bit. */
#include "avx2/simd.h"
#include "common/block_format.h"
#include "reference/decode.h"

/* y = scale * code - min for 16 signed bytes. */
HEARTH_ALWAYS_INLINE void put_16(float *y, __m128i codes, float scale, float min)
{
    const __m256 low = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(codes));
    const __m256 high = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(codes, 8)));
    const vec16 products = vec16_mul(vec16_set1(scale), (vec16){low, high});
    vec16_store(y, vec16_sub(products, vec16_set1(min)));
}

HEARTH_ALWAYS_INLINE __m128i load_16(const void *p)
{
    return _mm_loadu_si128((const __m128i *)p);
}

HEARTH_ALWAYS_INLINE __m128i low_nibbles(__m128i bytes)
{
    return _mm_and_si128(bytes, _mm_set1_epi8(15));
}

HEARTH_ALWAYS_INLINE __m128i high_nibbles(__m128i bytes)
{
    return low_nibbles(_mm_srli_epi16(bytes, 4));
}

/* The bits of each byte from number `from` on, moved so that they begin at bit 4, under a mask; it hides what a shift of 16-bit
 * lanes brings over from the neighbouring byte. */
HEARTH_ALWAYS_INLINE __m128i upper_bits(__m128i bytes, int from, int8_t mask)
{
    const __m128i moved =
        from <= 4 ? _mm_sll_epi16(bytes, _mm_cvtsi32_si128(4 - from)) : _mm_srl_epi16(bytes, _mm_cvtsi32_si128(from - 4));
    return _mm_and_si128(moved, _mm_set1_epi8(mask));
}

HEARTH_ALWAYS_INLINE float half(const uint8_t bytes[2])
{
    return hearth_f16_to_f32(hearth_load_u16(bytes));
}

/* ---- Blocks of 32 ------------------------------------------------------------------------------------------------ */

void hearth_dequantize_q4_0_avx2(float *y, const void *file_row, size_t k)
{
    const struct hearth_block_q4_0 *block = file_row;
    const __m128i offset = _mm_set1_epi8(8);
    for (size_t j = 0; j < k / 32; j++, block++, y += 32) {
        const __m128i qs = load_16(block->qs);
        put_16(y, _mm_sub_epi8(low_nibbles(qs), offset), half(block->d), 0.0f);
        put_16(y + 16, _mm_sub_epi8(high_nibbles(qs), offset), half(block->d), 0.0f);
    }
}

/* Sixteen bits to bit 4 of sixteen bytes. */
HEARTH_ALWAYS_INLINE __m128i fifth_bits(const uint8_t bits[2])
{
    const uint64_t bit4 = 0x1010101010101010u;
    return _mm_set_epi64x((int64_t)_pdep_u64(bits[1], bit4), (int64_t)_pdep_u64(bits[0], bit4));
}

void hearth_dequantize_q5_0_avx2(float *y, const void *file_row, size_t k)
{
    const struct hearth_block_q5_0 *block = file_row;
    const __m128i offset = _mm_set1_epi8(16);
    for (size_t j = 0; j < k / 32; j++, block++, y += 32) {
        const __m128i qs = load_16(block->qs);
        const __m128i low = _mm_or_si128(low_nibbles(qs), fifth_bits(block->qh));
        const __m128i high = _mm_or_si128(high_nibbles(qs), fifth_bits(block->qh + 2));
        put_16(y, _mm_sub_epi8(low, offset), half(block->d), 0.0f);
        put_16(y + 16, _mm_sub_epi8(high, offset), half(block->d), 0.0f);
    }
}

/* Adding m is taking off -m: the same rounding. */
void hearth_dequantize_q4_1_avx2(float *y, const void *file_row, size_t k)
{
    const struct hearth_block_q4_1 *block = file_row;
    for (size_t j = 0; j < k / 32; j++, block++, y += 32) {
        const __m128i qs = load_16(block->qs);
        put_16(y, low_nibbles(qs), half(block->d), -half(block->m));
        put_16(y + 16, high_nibbles(qs), half(block->d), -half(block->m));
    }
}

void hearth_dequantize_q5_1_avx2(float *y, const void *file_row, size_t k)
{
    const struct hearth_block_q5_1 *block = file_row;
    for (size_t j = 0; j < k / 32; j++, block++, y += 32) {
        const __m128i qs = load_16(block->qs);
        const __m128i low = _mm_or_si128(low_nibbles(qs), fifth_bits(block->qh));
        const __m128i high = _mm_or_si128(high_nibbles(qs), fifth_bits(block->qh + 2));
        put_16(y, low, half(block->d), -half(block->m));
        put_16(y + 16, high, half(block->d), -half(block->m));
    }
}

void hearth_dequantize_q8_0_avx2(float *y, const void *file_row, size_t k)
{
    const struct hearth_block_q8_0 *block = file_row;
    for (size_t j = 0; j < k / 32; j++, block++, y += 32) {
        put_16(y, load_16(block->qs), half(block->d), 0.0f);
        put_16(y + 16, load_16(block->qs + 16), half(block->d), 0.0f);
    }
}

void hearth_dequantize_iq4_nl_avx2(float *y, const void *file_row, size_t k)
{
    const struct hearth_block_iq4_nl *block = file_row;
    const __m128i table = load_16(hearth_iq4_values);
    for (size_t j = 0; j < k / 32; j++, block++, y += 32) {
        const __m128i qs = load_16(block->qs);
        put_16(y, _mm_shuffle_epi8(table, low_nibbles(qs)), half(block->d), 0.0f);
        put_16(y + 16, _mm_shuffle_epi8(table, high_nibbles(qs)), half(block->d), 0.0f);
    }
}

/* ---- Super-blocks of 256 ----------------------------------------------------------------------------------------- */

/* Scale and min of sub-block j (spec, section 6.3). */
HEARTH_ALWAYS_INLINE void six_bits(int *scale, int *min, const uint8_t t[12], size_t j)
{
    *scale = j < 4 ? t[j] & 63 : (t[j + 4] & 15) | (t[j - 4] >> 6) << 4;
    *min = j < 4 ? t[j + 4] & 63 : (t[j + 4] >> 4) | (t[j] >> 6) << 4;
}

void hearth_dequantize_q4_K_avx2(float *y, const void *file_row, size_t k)
{
    const struct hearth_block_q4_K *block = file_row;
    for (size_t b = 0; b < k / 256; b++, block++)
        for (size_t j = 0; j < 8; j++, y += 32) {
            int scale, min;
            six_bits(&scale, &min, block->scales, j);
            for (size_t i = 0; i < 32; i += 16) {
                const __m128i qs = load_16(block->qs + j / 2 * 32 + i);
                const __m128i codes = j % 2 ? high_nibbles(qs) : low_nibbles(qs);
                put_16(y + i, codes, half(block->d) * (float)scale, half(block->dmin) * (float)min);
            }
        }
}

void hearth_dequantize_q5_K_avx2(float *y, const void *file_row, size_t k)
{
    const struct hearth_block_q5_K *block = file_row;
    for (size_t b = 0; b < k / 256; b++, block++)
        for (size_t j = 0; j < 8; j++, y += 32) {
            int scale, min;
            six_bits(&scale, &min, block->scales, j);
            for (size_t i = 0; i < 32; i += 16) {
                const __m128i qs = load_16(block->qs + j / 2 * 32 + i);
                const __m128i codes = j % 2 ? high_nibbles(qs) : low_nibbles(qs);
                const __m128i fifth = upper_bits(load_16(block->qh + i), (int)j, 16);
                put_16(y + i, _mm_or_si128(codes, fifth), half(block->d) * (float)scale, half(block->dmin) * (float)min);
            }
        }
}

void hearth_dequantize_q6_K_avx2(float *y, const void *file_row, size_t k)
{
    const struct hearth_block_q6_K *block = file_row;
    const __m128i offset = _mm_set1_epi8(32);
    for (size_t b = 0; b < k / 256; b++, block++)
        for (size_t s = 0; s < 16; s++, y += 16) { /* sub-block s: half s / 8, plane p of it, from lane l on */
            const size_t p = s / 2 % 4;
            const size_t l = s % 2 * 16;
            const __m128i ql = load_16(block->ql + s / 8 * 64 + p % 2 * 32 + l);
            const __m128i low = p < 2 ? low_nibbles(ql) : high_nibbles(ql);
            const __m128i codes = _mm_or_si128(low, upper_bits(load_16(block->qh + s / 8 * 32 + l), (int)(2 * p), 48));
            put_16(y, _mm_sub_epi8(codes, offset), half(block->d) * (float)block->scales[s], 0.0f);
        }
}

/* Sixteen 2-bit codes of sub-block s: half s / 8, plane p of it, from lane l on. */
HEARTH_ALWAYS_INLINE __m128i two_bits(const uint8_t qs[64], size_t s)
{
    const __m128i bytes = load_16(qs + s / 8 * 32 + s % 2 * 16);
    return _mm_and_si128(_mm_srl_epi16(bytes, _mm_cvtsi32_si128((int)(s / 2 % 4 * 2))), _mm_set1_epi8(3));
}

void hearth_dequantize_q2_K_avx2(float *y, const void *file_row, size_t k)
{
    const struct hearth_block_q2_K *block = file_row;
    for (size_t b = 0; b < k / 256; b++, block++)
        for (size_t s = 0; s < 16; s++, y += 16) {
            const float scale = half(block->d) * (float)(block->scales[s] & 15);
            put_16(y, two_bits(block->qs, s), scale, half(block->dmin) * (float)(block->scales[s] >> 4));
        }
}

void hearth_dequantize_q3_K_avx2(float *y, const void *file_row, size_t k)
{
    const struct hearth_block_q3_K *block = file_row;
    const __m128i offset = _mm_set1_epi8(4);
    for (size_t b = 0; b < k / 256; b++, block++)
        for (size_t s = 0; s < 16; s++, y += 16) { /* the third bit of sub-block s: bit s / 2 of 16 bytes */
            const int low = block->scales[s % 8] >> (s / 8 * 4) & 15;
            const int high = block->scales[8 + s % 4] >> (s / 4 * 2) & 3;
            const __m128i fifth = upper_bits(load_16(block->hmask + s % 2 * 16), (int)(s / 2), 16);
            const __m128i codes = _mm_or_si128(two_bits(block->qs, s), _mm_srli_epi16(fifth, 2));
            put_16(y, _mm_sub_epi8(codes, offset), half(block->d) * (float)((low | high << 4) - 32), 0.0f);
        }
}

void hearth_dequantize_iq4_xs_avx2(float *y, const void *file_row, size_t k)
{
    const struct hearth_block_iq4_xs *block = file_row;
    const __m128i table = load_16(hearth_iq4_values);
    for (size_t b = 0; b < k / 256; b++, block++)
        for (size_t j = 0; j < 8; j++, y += 32) {
            const int low = block->scales_l[j / 2] >> (j % 2 * 4) & 15;
            const int high = block->scales_h[j / 4] >> (j % 4 * 2) & 3;
            const float scale = half(block->d) * (float)((low | high << 4) - 32);
            const __m128i qs = load_16(block->qs + 16 * j);
            put_16(y, _mm_shuffle_epi8(table, low_nibbles(qs)), scale, 0.0f);
            put_16(y + 16, _mm_shuffle_epi8(table, high_nibbles(qs)), scale, 0.0f);
        }
}

/* ---- Floats ------------------------------------------------------------------------------------------------------ */

void hearth_dequantize_f32_avx2(float *y, const void *file_row, size_t k)
{
    memcpy(y, file_row, k * sizeof *y);
}

void hearth_dequantize_f16_avx2(float *y, const void *file_row, size_t k)
{
    const uint8_t *p = file_row;
    const size_t whole = k / 16 * 16;
    for (size_t i = 0; i < whole; i += 16)
        vec16_store(y + i, vec16_load_f16((const void *)(p + 2 * i)));
    if (whole < k)
        vec16_store_partial(y + whole, vec16_load_f16_partial((const void *)(p + 2 * whole), k - whole), k - whole);
}

void hearth_dequantize_bf16_avx2(float *y, const void *file_row, size_t k)
{
    const uint8_t *p = file_row;
    const size_t whole = k / 16 * 16;
    for (size_t i = 0; i < whole; i += 16)
        vec16_store(y + i, vec16_load_bf16((const void *)(p + 2 * i)));
    if (whole < k)
        vec16_store_partial(y + whole, vec16_load_bf16_partial((const void *)(p + 2 * whole), k - whole), k - whole);
}
