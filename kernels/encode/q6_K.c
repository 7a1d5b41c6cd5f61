/* Q6_K: sixteen sub-blocks of 16 codes -32 … 31, each with a scale of 8 bits. */
#include "encode/encode.h"
#include "encode/search.h"

enum { BOUND = 32, SUB = 16, GROUPS = 16 / LANES }; /* sub-block LANES g + l is in lane l of group g */

static void gather(struct lanes *x, const float *in)
{
    for (int i = 0; i < SUB; i++)
        x->e[i] = _mm_setr_ps(in[i], in[SUB + i], in[2 * SUB + i], in[3 * SUB + i]);
}

/* Elements weigh their importance, or without it their square. */
static void weigh(struct lanes *w, const struct lanes *x, const float *importance)
{
    if (importance) {
        gather(w, importance);
        return;
    }
    for (int i = 0; i < SUB; i++)
        w->e[i] = x->e[i] * x->e[i];
}

/* Codes 0 … 63 for the scales as they were stored; where one became 0 those of the search stay. */
static void final_codes(struct lanes *codes, const struct lanes *x, vec scale)
{
    const vec is_scaled = _mm_cmpneq_ps(scale, vec_of(0.0f));
    for (int i = 0; i < SUB; i++) {
        const vec code = vec_nearest_within(x->e[i] / scale, vec_of(-BOUND), vec_of(BOUND - 1)) + vec_of(BOUND);
        codes->e[i] = vec_select(is_scaled, code, codes->e[i]);
    }
}

/* Halves h of 128: byte 64 h + 32 (p mod 2) + l has plane p < 2 in its low nibble and p + 2 in its high one; the two high bits of
 * the four planes stand side by side. */
static void pack(struct hearth_block_q6_K *b, const uint8_t codes[256])
{
    for (int h = 0; h < 2; h++)
        for (int l = 0; l < 32; l++) {
            const uint8_t *q = codes + 128 * h + l;
            b->ql[64 * h + l] = (uint8_t)((q[0] & 15) | (q[64] & 15) << 4);
            b->ql[64 * h + 32 + l] = (uint8_t)((q[32] & 15) | (q[96] & 15) << 4);
            b->qh[32 * h + l] = (uint8_t)(q[0] >> 4 | q[32] >> 4 << 2 | q[64] >> 4 << 4 | q[96] >> 4 << 6);
        }
}

static bool encode_block(struct hearth_block_q6_K *b, const float *in, const float *importance)
{
    struct lanes x[GROUPS], codes[GROUPS];
    float scales[16], peak = 0.0f;
    uint8_t packed[256];
    for (int g = 0; g < GROUPS; g++) {
        struct lanes w;
        gather(&x[g], in + SUB * LANES * g);
        weigh(&w, &x[g], importance ? importance + SUB * LANES * g : NULL);
        _mm_storeu_ps(scales + LANES * g, search_symmetric(&codes[g], &x[g], &w, SUB, BOUND));
    }
    for (int s = 0; s < 16; s++)
        peak = magnitude(scales[s]) > magnitude(peak) ? scales[s] : peak;
    if (!hearth_encode_finite(scales, 16)) /* squares beyond what a float holds */
        return false;
    if (magnitude(peak) < SCALE_LEAST) {
        memset(b, 0, sizeof *b);
        return true;
    }
    const float r = -128.0f / peak;
    const bool fits = store_half(b->d, 1.0f / r);
    for (int s = 0; s < 16; s++) {
        const float code = nearest_within(r * scales[s], -128.0f, 127.0f);
        b->scales[s] = (int8_t)code;
        scales[s] = load_half(b->d) * code;
    }
    for (int g = 0; g < GROUPS; g++) {
        final_codes(&codes[g], &x[g], _mm_loadu_ps(scales + LANES * g));
        codes_by_block(packed + SUB * LANES * g, &codes[g], SUB);
    }
    pack(b, packed);
    return fits;
}

bool hearth_encode_q6_K(uint8_t *row, const float *x, const float *importance, size_t k)
{
    bool fits = true;
    for (size_t i = 0; i < k; i += 256) {
        struct hearth_block_q6_K b;
        fits &= encode_block(&b, x + i, importance ? importance + i : NULL);
        memcpy(row + i / 256 * sizeof b, &b, sizeof b);
    }
    return fits;
}
