/* One query head over one segment of the cache. Lanes are keys: the scores of two or more blocks of 32 positions grow side by side,
 * each one fma chain over the head's dimensions. Then block by block the running maximum, the sum and the outputs.
 *
 * A template: the including file has included the simd.h of its folder and defines
 *   ATTENTION            the function's name,
 *   CACHE                the type of a cache element,
 *   CACHE_LOAD(p)        sixteen elements as vec16,
 *   CACHE_LOAD_PARTIAL(p, n)  the first n < 16 of them, zero beyond. */
#include "template/unroll.h"

#define SEGMENT_BLOCKS (HEARTH_SEGMENT / HEARTH_KEY_BLOCK)
#define BLOCK_VECS (HEARTH_KEY_BLOCK / 16)

/* Scores of `blocks` key blocks; those of positions outside the range are rubbish, but each in its own lane. */
HEARTH_ALWAYS_INLINE void scores_of_blocks(float *scores, const float *q, const CACHE *k, size_t head_dim, float scale,
                                           size_t blocks)
{
    vec16 sum[SEGMENT_BLOCKS * BLOCK_VECS];
    UNROLL
    for (size_t i = 0; i < blocks * BLOCK_VECS; i++)
        sum[i] = vec16_zero();
    for (size_t d = 0; d < head_dim; d++) {
        const vec16 x = vec16_set1(q[d]);
        UNROLL
        for (size_t i = 0; i < blocks * BLOCK_VECS; i++) {
            const size_t block = i / BLOCK_VECS;
            sum[i] = vec16_fma(x, CACHE_LOAD(k + (block * head_dim + d) * HEARTH_KEY_BLOCK + i % BLOCK_VECS * 16), sum[i]);
        }
    }
    UNROLL
    for (size_t i = 0; i < blocks * BLOCK_VECS; i++)
        vec16_store(scores + i * 16, vec16_mul(sum[i], vec16_set1(scale)));
}

/* Scores of positions first ... end - 1, first a multiple of 32 at the start of k; -infinity outside [begin, end), so that
 * exp(score - maximum) is +0 there. */
static void segment_scores(float *scores, const float *q, const CACHE *k, size_t head_dim, size_t first, size_t begin, size_t end,
                           float scale)
{
    enum { AT_ONCE = VEC16_CHAINS / BLOCK_VECS };
    const size_t blocks = (end - first + HEARTH_KEY_BLOCK - 1) / HEARTH_KEY_BLOCK;
    size_t b = 0;
    for (; b + AT_ONCE <= blocks; b += AT_ONCE)
        scores_of_blocks(scores + b * HEARTH_KEY_BLOCK, q, k + b * head_dim * HEARTH_KEY_BLOCK, head_dim, scale, AT_ONCE);
    for (; b < blocks; b++)
        scores_of_blocks(scores + b * HEARTH_KEY_BLOCK, q, k + b * head_dim * HEARTH_KEY_BLOCK, head_dim, scale, 1);
    for (size_t p = first; p < begin; p++)
        scores[p - first] = -HUGE_VALF;
    for (size_t p = end; p < first + blocks * HEARTH_KEY_BLOCK; p++)
        scores[p - first] = -HUGE_VALF;
}

/* o += e[p] * v[p] for n positions, upwards, over 16 * VECS dimensions. */
HEARTH_ALWAYS_INLINE void add_values(float *o, const float *e, const CACHE *v, size_t head_dim, size_t n, size_t vecs)
{
    vec16 sum[VEC16_CHAINS];
    UNROLL
    for (size_t i = 0; i < vecs; i++)
        sum[i] = vec16_load(o + i * 16);
    for (size_t p = 0; p < n; p++) {
        const vec16 x = vec16_set1(e[p]);
        UNROLL
        for (size_t i = 0; i < vecs; i++)
            sum[i] = vec16_fma(x, CACHE_LOAD(v + p * head_dim + i * 16), sum[i]);
    }
    UNROLL
    for (size_t i = 0; i < vecs; i++)
        vec16_store(o + i * 16, sum[i]);
}

static void add_values_partial(float *o, const float *e, const CACHE *v, size_t head_dim, size_t n, size_t dims)
{
    vec16 sum = vec16_load_partial(o, dims);
    for (size_t p = 0; p < n; p++)
        sum = vec16_fma(vec16_set1(e[p]), CACHE_LOAD_PARTIAL(v + p * head_dim, dims), sum);
    vec16_store_partial(o, sum, dims);
}

static void add_block(float *o, const float *e, const CACHE *v, size_t head_dim, size_t n)
{
    size_t d = 0;
    for (; d + 16 * VEC16_CHAINS <= head_dim; d += 16 * VEC16_CHAINS)
        add_values(o + d, e, v + d, head_dim, n, VEC16_CHAINS);
    for (; d + 16 <= head_dim; d += 16)
        add_values(o + d, e, v + d, head_dim, n, 1);
    if (d < head_dim)
        add_values_partial(o + d, e, v + d, head_dim, n, head_dim - d);
}

static void scale_outputs(float *o, size_t head_dim, vec16 factor)
{
    const size_t whole = head_dim / 16 * 16;
    for (size_t d = 0; d < whole; d += 16)
        vec16_store(o + d, vec16_mul(vec16_load(o + d), factor));
    if (whole < head_dim)
        vec16_store_partial(o + whole, vec16_mul(vec16_load_partial(o + whole, head_dim - whole), factor), head_dim - whole);
}

void ATTENTION(float *o, float ml[2], const float *q, const void *k, const void *v, size_t head_dim, size_t begin, size_t end,
               float scale)
{
    float e[HEARTH_SEGMENT];
    const size_t first = begin / HEARTH_KEY_BLOCK * HEARTH_KEY_BLOCK;
    memset(o, 0, head_dim * sizeof *o);
    segment_scores(e, q, (const CACHE *)k + first * head_dim, head_dim, first, begin, end, scale);

    float max = -HUGE_VALF;
    vec16 sums = vec16_zero();
    for (size_t p = first; p < end; p += HEARTH_KEY_BLOCK) {
        float *s = e + (p - first);
        vec16 a = vec16_load(s);
        vec16 b = vec16_load(s + 16);
        const float block_max = vec16_greatest(vec16_max(a, b));
        if (block_max > max) {
            if (p > first) {
                const vec16 factor = vec16_exp(vec16_set1(max - block_max));
                sums = vec16_mul(sums, factor);
                scale_outputs(o, head_dim, factor);
            }
            max = block_max;
        }
        a = vec16_exp(vec16_sub(a, vec16_set1(max)));
        b = vec16_exp(vec16_sub(b, vec16_set1(max)));
        sums = vec16_add(vec16_add(sums, a), b); /* +0 from positions outside changes nothing */
        vec16_store(s, a);
        vec16_store(s + 16, b);
        const size_t from = p < begin ? begin : p;
        const size_t to = p + HEARTH_KEY_BLOCK < end ? p + HEARTH_KEY_BLOCK : end;
        add_block(o, s + (from - p), (const CACHE *)v + from * head_dim, head_dim, to - from);
    }
    ml[0] = max + 0.0f; /* zero is +0 whichever lane held it */
    ml[1] = vec16_sum(sums);
}
