/* What hearth_hparams_read() makes of good files: values, defaults and relations. Bad files are in test_catalogue.c. */
#include "common/status.h"
#include "gguf_builder.h"
#include "hparams.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* Finish the file, read its hyper-parameters, give everything back. */
static struct hearth_hparams read_built(struct gguf_builder *builder)
{
    struct hearth_gguf gguf;
    struct hearth_hparams hparams;
    hearth_error err = {0};
    size_t size;
    uint8_t *file = gguf_builder_finish(builder, &size);
    cr_assert(hearth_gguf_parse(&gguf, file, size, size, "built", &err) == HEARTH_OK, "%s", err.message);
    cr_assert(hearth_hparams_read(&hparams, &gguf, &err) == HEARTH_OK, "%s", err.message);
    hearth_gguf_free(&gguf);
    gguf_builder_free(builder);
    free(file);
    return hparams;
}

Test(hparams, values_of_a_file)
{
    const struct gguf_shape shape = {
        .n_layer = 3, .n_embd = 96, .n_head = 6, .n_head_kv = 3, .n_ff = 128, .n_vocab = 270, .n_ctx_train = 77};
    struct gguf_builder builder;
    gguf_builder_init(&builder);
    gguf_builder_add_llama(&builder, &shape);
    gguf_builder_set_f32(&builder, "llama.rope.freq_base", 500000.0f);
    gguf_builder_set_string(&builder, "general.name",
                            "A \x1b[2J name that is longer than the sixty-four characters there are for it");
    const struct hearth_hparams h = read_built(&builder);
    cr_expect(h.arch == HEARTH_ARCH_LLAMA);
    cr_expect(h.n_layer == 3 && h.n_embd == 96 && h.n_head == 6 && h.n_head_kv == 3 && h.n_ff == 128);
    cr_expect(h.n_vocab == 270 && h.n_ctx_train == 77 && h.head_dim == 16 && h.n_rot == 16);
    cr_expect(h.norm_eps == 1e-5f && h.rope_freq_base == 500000.0f && h.rope_scale == 1.0f && h.attention_scale == 0.25f);
    cr_expect(strlen(h.name) == 64 && strncmp(h.name, "A \\x1b[2J name", 13) == 0, "%s", h.name);
}

Test(hparams, defaults)
{
    struct gguf_builder builder;
    gguf_builder_init(&builder);
    gguf_builder_add_llama(&builder, NULL);
    gguf_builder_drop(&builder, "llama.attention.head_count_kv");
    gguf_builder_drop(&builder, "llama.rope.dimension_count");
    gguf_builder_drop(&builder, "general.name");
    const struct hearth_hparams h = read_built(&builder);
    cr_expect(h.n_head_kv == h.n_head && h.n_rot == h.head_dim && h.rope_freq_base == 10000.0f);
    cr_expect_str_eq(h.name, "");
}

/* Heads whose width is not that of the embedding over their number. */
Test(hparams, explicit_head_width)
{
    struct gguf_builder builder;
    gguf_builder_init(&builder);
    gguf_builder_add_llama(&builder, NULL);
    gguf_builder_set_u32(&builder, "llama.attention.head_count", 3);
    gguf_builder_set_u32(&builder, "llama.attention.head_count_kv", 1);
    gguf_builder_set_u32(&builder, "llama.attention.key_length", 128);
    gguf_builder_set_u32(&builder, "llama.attention.value_length", 128);
    gguf_builder_set_f32(&builder, "llama.attention.scale", 0.5f);
    const struct hearth_hparams h = read_built(&builder);
    cr_expect(h.head_dim == 128 && h.n_rot == 16 && h.attention_scale == 0.5f);
}

static const struct {
    const char *type;
    float factor, old_factor, expected; /* 0: the key is left out */
} scalings[] = {
    {NULL, 0, 0, 1}, {NULL, 4, 0, 0.25f}, {"linear", 4, 0, 0.25f}, {"linear", 0, 8, 0.125f}, {NULL, 4, 8, 0.25f}, {"none", 4, 0, 1},
};

Test(hparams, rope_scaling)
{
    for (size_t i = 0; i < sizeof scalings / sizeof scalings[0]; i++) {
        struct gguf_builder builder;
        gguf_builder_init(&builder);
        gguf_builder_add_llama(&builder, NULL);
        if (scalings[i].type)
            gguf_builder_set_string(&builder, "llama.rope.scaling.type", scalings[i].type);
        if (scalings[i].factor > 0)
            gguf_builder_set_f32(&builder, "llama.rope.scaling.factor", scalings[i].factor);
        if (scalings[i].old_factor > 0)
            gguf_builder_set_f32(&builder, "llama.rope.scale_linear", scalings[i].old_factor);
        const struct hearth_hparams h = read_built(&builder);
        cr_expect(h.rope_scale == scalings[i].expected, "row %zu: %g", i, (double)h.rope_scale);
    }
}

/* What gemma2 and gemma3 have that no key says, and what keys say otherwise. */
Test(hparams, windows_and_soft_caps)
{
    struct gguf_builder builder;
    gguf_builder_init(&builder);
    gguf_builder_add_llama(&builder, &(struct gguf_shape){.arch = "gemma2", .n_layer = 4});
    struct hearth_hparams h = read_built(&builder);
    cr_expect(h.window == 4096 && h.windowed[0] && !h.windowed[1] && h.windowed[2] && !h.windowed[3] && !h.window_when_asked);
    cr_expect(h.attention_softcap == 50.0f && h.final_softcap == 30.0f && h.rope_local_base == 0 && h.attention_scale == 0.25f);

    gguf_builder_init(&builder);
    gguf_builder_add_llama(&builder, &(struct gguf_shape){.arch = "gemma2", .n_layer = 46});
    gguf_builder_set_u32(&builder, "gemma2.attention.key_length", 4);
    gguf_builder_set_u32(&builder, "gemma2.attention.value_length", 4);
    gguf_builder_set_u32(&builder, "gemma2.rope.dimension_count", 4);
    h = read_built(&builder);
    cr_expect(h.head_dim == 4 && h.attention_scale == 0.25f);

    gguf_builder_init(&builder);
    gguf_builder_add_llama(&builder, &(struct gguf_shape){.arch = "gemma3", .n_layer = 7});
    gguf_builder_set_u32(&builder, "gemma3.attention.sliding_window", 9);
    h = read_built(&builder);
    cr_expect(h.window == 9 && h.windowed[4] && !h.windowed[5] && h.windowed[6] && h.rope_local_base == 10000.0f);
    cr_expect(h.attention_softcap == 0 && h.final_softcap == 0);

    gguf_builder_init(&builder);
    gguf_builder_add_llama(&builder, &(struct gguf_shape){.arch = "gemma3", .n_layer = 3});
    h = read_built(&builder); /* no key: no window, one rotation */
    cr_expect(h.window == 0 && !h.windowed[0] && h.rope_local_base == 0);

    gguf_builder_init(&builder);
    gguf_builder_add_llama(&builder, &(struct gguf_shape){.arch = "gemma3", .n_layer = 3});
    gguf_builder_set_u32(&builder, "gemma3.attention.sliding_window", 9);
    gguf_builder_set_array(&builder, "gemma3.attention.sliding_window_pattern", HEARTH_GGUF_BOOL, (const uint8_t[]){0, 1, 1}, 3);
    h = read_built(&builder);
    cr_expect(!h.windowed[0] && h.windowed[1] && h.windowed[2]);

    gguf_builder_init(&builder);
    gguf_builder_add_llama(&builder, NULL);
    gguf_builder_set_u32(&builder, "llama.attention.sliding_window", 33);
    h = read_built(&builder);
    cr_expect(h.window == 33 && h.window_when_asked && h.windowed[0] && h.windowed[1]);
}

Test(hparams, arrays_of_equal_layers)
{
    struct gguf_builder builder;
    gguf_builder_init(&builder);
    gguf_builder_add_llama(&builder, NULL);
    gguf_builder_set_array(&builder, "llama.attention.head_count", HEARTH_GGUF_I32, (const int32_t[]){4, 4}, 2);
    gguf_builder_set_array(&builder, "llama.attention.head_count_kv", HEARTH_GGUF_U32, (const uint32_t[]){2, 2}, 2);
    gguf_builder_set_array(&builder, "llama.feed_forward_length", HEARTH_GGUF_I32, (const int32_t[]){96, 96}, 2);
    const struct hearth_hparams h = read_built(&builder);
    cr_expect(h.n_head == 4 && h.n_head_kv == 2 && h.n_ff == 96);
}

/* Names that only look like those of a layer are nobody's. */
Test(hparams, tensors_of_no_layer)
{
    static const char *const names[] = {"blk.", "blk..x", "blk.x.9", "blk.9", "blk.99x.y", "blk.99999999999999999999.x"};
    struct gguf_builder builder;
    gguf_builder_init(&builder);
    gguf_builder_add_llama(&builder, NULL);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        gguf_builder_append_tensor(&builder, names[i], HEARTH_F32, 1, (const uint64_t[]){8});
    cr_expect(read_built(&builder).n_layer == 2);
}
