/* Scores of a group over a cache of floats or half floats. A template, for those who have included template/attention.h. */

/* Element `at` and the fifteen behind it. Pointers to these are constants of inlined functions. */
typedef vec16 load_keys_fn(const void *keys, size_t at);

/* `next`: what will be read after this block, fetched meanwhile; NULL for keys that are in a cache anyway. */
HEARTH_ALWAYS_INLINE void scores_of_group(const struct group *g, const void *keys, load_keys_fn *load, size_t element,
                                          const uint8_t *next, size_t at, size_t head_dim, float scale, const size_t n)
{
    const size_t vecs = tile_vecs(n) < BLOCK / 16 ? tile_vecs(n) : BLOCK / 16;
    for (size_t first = 0; first < BLOCK; first += 16 * vecs) {
        vec16 sum[VEC16_TILE];
        UNROLL
        for (size_t i = 0; i < n * vecs; i++)
            sum[i] = vec16_zero();
        const float *q = g->q;
        for (size_t d = 0; d < head_dim; d++) {
            vec16 key[BLOCK / 16];
            UNROLL
            for (size_t v = 0; v < vecs; v++)
                key[v] = load(keys, d * BLOCK + first + 16 * v);
            if (next)
                fetch_line(next + (first * head_dim + d * 16 * vecs) * element, g->second);
            UNROLL
            for (size_t i = 0; i < n; i++) {
                const vec16 x = vec16_set1(q[16 * i]);
                UNROLL
                for (size_t v = 0; v < vecs; v++)
                    sum[i * vecs + v] = vec16_fma(x, key[v], sum[i * vecs + v]);
            }
            q += d % 16 < 15 ? 1 : g->q_step - 15;
        }
        UNROLL
        for (size_t i = 0; i < n * vecs; i++)
            vec16_store(g->s + i / vecs * SEGMENT + at + first + i % vecs * 16, vec16_mul(sum[i], vec16_set1(scale)));
    }
}

HEARTH_ALWAYS_INLINE vec16 load_keys_f32(const void *keys, size_t at)
{
    return vec16_load((const float *)keys + at);
}

/* Floats, as they are or widened. */
static void scores_f32(const struct group *g, const void *keys, size_t at, size_t head_dim, float scale)
{
#define SCORES(n) scores_of_group(g, keys, load_keys_f32, sizeof(float), NULL, at, head_dim, scale, n)
    FOR_GROUP(g->n, SCORES)
#undef SCORES
}
