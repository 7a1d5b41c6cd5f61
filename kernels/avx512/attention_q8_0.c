/* Attention over a cache of Q8_0: the dots of codes; the rest is template/attention_q8_0.h. */
#include "avx512/simd.h" /* vec16 and its operations; ISA(name) is name##_avx512 */

#include "template/attention_q8_0.h" /* defines ISA(hearth_attention_q8_0) */

#define AT_ONCE 4 /* queries that share a load of codes: eight sums, eight dots */

/* All positions of a block for n queries: two registers of sixteen each. The codes plus 128 are unsigned, so the sum starts at -128
 * times the sum of the query's own codes; every step is exact. */
HEARTH_ALWAYS_INLINE void scores_of_queries(float *s, const struct hearth_attention_query *query, const uint8_t *keys,
                                            size_t groups, float scale, size_t ahead, const size_t n)
{
    const struct hearth_q8_32 *unit[AT_ONCE];
    __m512 dot[2 * AT_ONCE];
    UNROLL
    for (size_t i = 0; i < n; i++) {
        unit[i] = query[i].q;
        dot[2 * i] = dot[2 * i + 1] = _mm512_setzero_ps();
    }
    for (size_t j = 0; j < groups; j++, keys += HEARTH_CACHE_GROUP_BYTES) {
        __m512i sum[2 * AT_ONCE];
        UNROLL
        for (size_t i = 0; i < n; i++) {
            sum[2 * i] = sum[2 * i + 1] = _mm512_set1_epi32(-128 * unit[i][j / 8].sums[j % 8]);
        }
        for (size_t c = 0; c < 8; c++) {
            const uint8_t *codes = keys + c * 4 * BLOCK;
            const __m512i a = _mm512_xor_si512(_mm512_loadu_si512(codes), _mm512_set1_epi8(-128));
            const __m512i b = _mm512_xor_si512(_mm512_loadu_si512(codes + 64), _mm512_set1_epi8(-128));
            fetch_line(codes + ahead, false);
            fetch_line(codes + ahead + 64, false);
            UNROLL
            for (size_t i = 0; i < n; i++) {
                int32_t four;
                memcpy(&four, unit[i][j / 8].q + 32 * (j % 8) + 4 * c, sizeof four);
                const __m512i x = _mm512_set1_epi32(four);
                sum[2 * i] = _mm512_dpbusd_epi32(sum[2 * i], a, x);
                sum[2 * i + 1] = _mm512_dpbusd_epi32(sum[2 * i + 1], b, x);
            }
        }
        const uint16_t *d = (const uint16_t *)(const void *)(keys + 32 * BLOCK);
        fetch_line((const uint8_t *)d + ahead, false);
        UNROLL
        for (size_t i = 0; i < n; i++) {
            const vec16 x = vec16_set1(unit[i][j / 8].s[j % 8]);
            dot[2 * i] = vec16_fma(_mm512_cvtepi32_ps(sum[2 * i]), vec16_mul(vec16_load_f16(d), x), dot[2 * i]);
            dot[2 * i + 1] = vec16_fma(_mm512_cvtepi32_ps(sum[2 * i + 1]), vec16_mul(vec16_load_f16(d + 16), x), dot[2 * i + 1]);
        }
    }
    UNROLL
    for (size_t i = 0; i < 2 * n; i++)
        vec16_store(s + i / 2 * SEGMENT + i % 2 * 16, vec16_mul(dot[i], vec16_set1(scale)));
}

static void scores_q8_0(const struct group *g, const void *keys, size_t at, size_t head_dim, float scale)
{
    const size_t groups = hearth_cache_groups(head_dim);
    const size_t ahead = 2 * hearth_cache_block_bytes(HEARTH_Q8_0, head_dim);
    size_t i = 0;
#define SCORES(n) scores_of_queries(g->s + i * SEGMENT + at, g->query + i, keys, groups, scale, ahead, n)
    for (; i + AT_ONCE <= g->n; i += AT_ONCE)
        SCORES(AT_ONCE);
    switch (g->n - i) {
        GROUP_CASE(1, SCORES)
        GROUP_CASE(2, SCORES)
        GROUP_CASE(3, SCORES)
    }
#undef SCORES
}
