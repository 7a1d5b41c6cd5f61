/* A model without a file; see synthetic.h. Quants are random bits, scales are fixed and small, norms are one and biases small, so
 * that activations stay of ordinary size and logits finite. The bytes depend only on their offset. */
#include "synthetic.h"
#include "common/status.h"
#include <stdlib.h>

/* Half floats: weights come out at about 0.02 for the 4-bit types. */
#define HALF_D 0x0c00u     /* 2^-12 */
#define HALF_D_MIN 0x1800u /* 2^-9: takes the mean off scale * code of the K-quants */
#define HALF_D_LEGACY 0x1800u

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

static void set_scales(uint32_t format, uint8_t *block)
{
    switch (format) {
    case HEARTH_Q4_K:
    case HEARTH_Q5_K:
        put_half(block, HALF_D);
        put_half(block + 2, HALF_D_MIN);
        break;
    case HEARTH_Q6_K:
        put_half(block + 208, 0x0400u);
        break;
    case HEARTH_Q3_K:
        put_half(block + 108, HALF_D);
        break;
    case HEARTH_Q2_K:
        put_half(block + 80, HALF_D);
        put_half(block + 82, HALF_D_MIN);
        break;
    case HEARTH_Q4_1:
    case HEARTH_Q5_1:
        put_half(block, HALF_D_LEGACY);
        put_half(block + 2, HALF_D_LEGACY | 0x8000u);
        break;
    default:
        put_half(block, HALF_D_LEGACY);
        break;
    }
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
    for (size_t at = 0; at < n; at += block)
        set_scales(format, out + at);
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
