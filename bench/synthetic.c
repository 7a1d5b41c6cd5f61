/* A model without a file; see synthetic.h. Quants are random bits, scales are fixed and small, norms are one and biases small, so
 * that activations stay of ordinary size and logits finite. The bytes depend only on their offset. */
#include "synthetic.h"
#include "common/status.h"
#include <stdlib.h>

/* Where a block has its scale and, if any, its min, and the half floats with which random codes (and scales of sub-blocks) become
 * weights of mean 0 and deviation 0.02, as in trained models. Larger ones would spread the scores of attention so far that sums
 * with subnormal numbers appear, which no trained model shows and some processors take a hundred cycles for. */
struct scales {
    uint32_t format;
    uint8_t at;
    uint16_t d;
    uint8_t min_at; /* equal to `at`: there is none */
    uint16_t min;
};

/* clang-format off */
static const struct scales scales_of[] = {
    {HEARTH_Q4_0, 0, 0x1c00, 0, 0},
    {HEARTH_Q4_1, 0, 0x1c00, 2, 0xa780},   /* min: -7.5 d */
    {HEARTH_Q5_0, 0, 0x1800, 0, 0},
    {HEARTH_Q5_1, 0, 0x1800, 2, 0xa7c0},   /* -15.5 d */
    {HEARTH_Q8_0, 0, 0x0c00, 0, 0},
    {HEARTH_Q2_K, 80, 0x1600, 82, 0x1880}, /* 1.5 d */
    {HEARTH_Q3_K, 108, 0x1000, 108, 0},
    {HEARTH_Q4_K, 0, 0x0500, 2, 0x10b0},   /* 7.5 d */
    {HEARTH_Q5_K, 0, 0x0280, 2, 0x10d8},   /* 15.5 d */
    {HEARTH_Q6_K, 208, 0x00f5, 208, 0},
    {HEARTH_IQ4_NL, 0, 0x0c00, 0, 0},
    {HEARTH_IQ4_XS, 0, 0x0107, 0, 0},
};
/* clang-format on */

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static void put_half(uint8_t *at, uint32_t bits)
{
    at[0] = (uint8_t)bits;
    at[1] = (uint8_t)(bits >> 8);
}

static const struct scales *find_scales(uint32_t format)
{
    const struct scales *s = scales_of;
    while (s->format != format)
        s++; /* every quantized format that can be loaded has a row */
    return s;
}

/* Elements of float formats: sign and mantissa random, magnitude 2^-6 to 2^-5. */
static void fill_floats(uint32_t format, uint8_t *out, size_t n, uint64_t offset, bool ones)
{
    const size_t size = hearth_format_info(format)->block_bytes;
    for (size_t i = 0; i < n; i += size) {
        const uint32_t r = (uint32_t)mix(offset + i);
        if (format == HEARTH_F32) {
            const uint32_t bits = ones ? 0x3f800000u : (r & 0x807fffffu) | 0x3c800000u;
            memcpy(out + i, &bits, sizeof bits);
        } else {
            put_half(out + i, format == HEARTH_F16 ? (r & 0x83ffu) | 0x2400u : (r & 0x807fu) | 0x3c80u);
        }
    }
}

static const struct hearth_gguf_tensor *tensor_at(const struct hearth_gguf *gguf, uint64_t offset)
{
    for (uint64_t i = 0; i < gguf->n_tensors; i++)
        if (offset >= gguf->tensors[i].file_offset && offset < gguf->tensors[i].file_offset + gguf->tensors[i].bytes)
            return &gguf->tensors[i];
    return NULL;
}

void hearth_synthetic_fill(uint32_t format, uint8_t *out, size_t n, uint64_t offset, bool ones)
{
    if (hearth_format_info(format)->activation == HEARTH_ACTIVATION_F32) {
        fill_floats(format, out, n, offset, ones);
        return;
    }
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const uint64_t r = mix(offset + i);
        memcpy(out + i, &r, sizeof r);
    }
    for (; i < n; i++)
        out[i] = (uint8_t)mix(offset + i);
    const size_t block = hearth_format_info(format)->block_bytes;
    const struct scales *scales = find_scales(format);
    for (size_t at = 0; at < n; at += block) {
        put_half(out + at + scales->at, scales->d);
        if (scales->min_at != scales->at)
            put_half(out + at + scales->min_at, scales->min);
    }
}

static bool ends_with(struct hearth_view name, const char *end)
{
    const size_t n = strlen(end);
    return name.size >= n && memcmp(name.bytes + name.size - n, end, n) == 0;
}

static hearth_status read_made_up(void *context, void *out, uint64_t offset, size_t n, hearth_error *err)
{
    const struct hearth_synthetic *s = context;
    const struct hearth_gguf_tensor *t = tensor_at(&s->gguf, offset);
    if (!t || n > t->file_offset + t->bytes - offset)
        return hearth_fail(err, HEARTH_E_IO, NULL, "synthetic model: offset %" PRIu64 " belongs to no tensor", offset);
    hearth_synthetic_fill(t->format, out, n, offset, t->n_dims == 1 && !ends_with(t->name, "bias"));
    return HEARTH_OK;
}

hearth_status hearth_synthetic_open(struct hearth_synthetic *out, const struct hearth_shape *shape, const char *recipe,
                                    hearth_error *err)
{
    size_t size;
    uint64_t data_bytes;
    *out = (struct hearth_synthetic){0};
    HEARTH_TRY(hearth_shape_header(shape, recipe, &out->header, &size, &data_bytes, err));
    const hearth_status status = hearth_gguf_parse(&out->gguf, out->header, size, size + data_bytes, shape->name, err);
    if (status != HEARTH_OK) {
        hearth_synthetic_close(out);
        return status;
    }
    out->source =
        (struct hearth_source){.name = shape->name, .shown = shape->name, .gguf = &out->gguf, .read = read_made_up, .context = out};
    return HEARTH_OK;
}

void hearth_synthetic_close(struct hearth_synthetic *s)
{
    hearth_gguf_free(&s->gguf);
    free(s->header);
    *s = (struct hearth_synthetic){0};
}
