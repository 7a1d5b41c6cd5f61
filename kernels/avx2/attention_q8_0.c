/* Attention over a cache of Q8_0: the dots of codes; the rest is template/attention_q8_0.h. */
#include "avx2/simd.h" /* vec16 and its operations; ISA(name) is name##_avx2 */

#include "template/attention_q8_0.h" /* defines ISA(hearth_attention_q8_0) */

/* Sums over four dimensions of eight positions: |q| times the code with q's sign. |code| <= 127, so that a pair is at most 32 258
 * and fits in 16 bits. */
HEARTH_ALWAYS_INLINE __m256i add_products(__m256i sum, __m256i codes, __m256i q, __m256i q_magnitude)
{
    const __m256i pairs = _mm256_maddubs_epi16(q_magnitude, _mm256_sign_epi8(codes, q));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

/* All positions of a block for one query: four registers of eight. */
static void scores_of_query(float *s, const struct hearth_q8_32 *units, const uint8_t *keys, size_t groups, float scale,
                            size_t ahead)
{
    __m256 dot[4];
    UNROLL
    for (size_t v = 0; v < 4; v++)
        dot[v] = _mm256_setzero_ps();
    for (size_t j = 0; j < groups; j++, keys += HEARTH_CACHE_GROUP_BYTES) {
        const int8_t *q = units[j / 8].q + 32 * (j % 8);
        __m256i sum[4];
        UNROLL
        for (size_t v = 0; v < 4; v++)
            sum[v] = _mm256_setzero_si256();
        for (size_t c = 0; c < 8; c++) {
            int32_t four;
            memcpy(&four, q + 4 * c, sizeof four);
            const __m256i x = _mm256_set1_epi32(four);
            const __m256i magnitude = _mm256_abs_epi8(x);
            const __m256i *codes = (const __m256i *)(const void *)(keys + c * 4 * BLOCK);
            if (ahead) {
                fetch_line((const uint8_t *)codes + ahead, false);
                fetch_line((const uint8_t *)codes + ahead + 64, false);
            }
            UNROLL
            for (size_t v = 0; v < 4; v++)
                sum[v] = add_products(sum[v], _mm256_loadu_si256(codes + v), x, magnitude);
        }
        const __m256 q_scale = _mm256_set1_ps(units[j / 8].s[j % 8]);
        const __m128i *d = (const __m128i *)(const void *)(keys + 32 * BLOCK);
        UNROLL
        for (size_t v = 0; v < 4; v++)
            dot[v] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[v]), _mm256_mul_ps(_mm256_cvtph_ps(_mm_loadu_si128(d + v)), q_scale),
                                     dot[v]);
    }
    UNROLL
    for (size_t v = 0; v < 4; v++)
        _mm256_storeu_ps(s + 8 * v, _mm256_mul_ps(dot[v], _mm256_set1_ps(scale)));
}

static void scores_q8_0(const struct group *g, const void *keys, size_t at, size_t head_dim, float scale)
{
    for (size_t i = 0; i < g->n; i++)
        scores_of_query(g->s + i * SEGMENT + at, g->query[i].q, keys, hearth_cache_groups(head_dim), scale,
                        i == 0 ? hearth_cache_block_bytes(HEARTH_Q8_0, head_dim) : 0);
}
