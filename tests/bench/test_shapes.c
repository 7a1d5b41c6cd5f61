/* The shapes of well-known models against totals that were counted elsewhere, from the files that people use: bytes that a token
 * reads (all tensors but the table of embeddings and the factors of the rotation), and bytes of all tensors. */
#include "common/status.h"
#include "recipe.h"
#include "shapes.h"

#include <criterion/criterion.h>
#include <stdlib.h>

struct totals {
    uint64_t all, per_token, parameters;
};

static bool is_named(const struct hearth_gguf_tensor *t, const char *name)
{
    return t->name.size == strlen(name) && memcmp(t->name.bytes, name, t->name.size) == 0;
}

static struct totals count(const char *shape_name, const char *recipe)
{
    const struct hearth_shape *shape = hearth_shape_find(shape_name);
    struct totals totals = {0};
    uint8_t *bytes;
    size_t size;
    uint64_t data_bytes;
    hearth_error err = {0};
    struct hearth_gguf gguf;
    cr_assert(shape, "no shape %s", shape_name);
    cr_assert(hearth_shape_header(shape, recipe, &bytes, &size, &data_bytes, &err) == HEARTH_OK, "%s %s: %s", shape_name, recipe,
              err.message);
    cr_assert(hearth_gguf_parse(&gguf, bytes, size, size + data_bytes, shape_name, &err) == HEARTH_OK, "%s %s: %s", shape_name,
              recipe, err.message);
    for (uint64_t i = 0; i < gguf.n_tensors; i++) {
        const struct hearth_gguf_tensor *t = &gguf.tensors[i];
        const bool factors = is_named(t, "rope_freqs.weight");
        totals.all += factors ? 0 : t->bytes;
        totals.parameters += factors ? 0 : t->ne[0] * t->ne[1];
        if (!factors && (shape->tied || !is_named(t, "token_embd.weight")))
            totals.per_token += t->bytes;
    }
    hearth_gguf_free(&gguf);
    free(bytes);
    return totals;
}

Test(shapes, bytes_of_a_token)
{
    static const struct {
        const char *shape, *recipe;
        uint64_t bytes;
    } rows[] = {
        {"llama-2-7b", "Q4_0", 3751337984},   {"llama-2-7b", "Q4_1", 4156088320},     {"llama-2-7b", "Q4_K_S", 3782270976},
        {"llama-2-7b", "Q4_K_M", 4006535168}, {"llama-2-7b", "Q5_0", 4560838656},     {"llama-2-7b", "Q5_1", 4965588992},
        {"llama-2-7b", "Q5_K_M", 4692303872}, {"llama-2-7b", "Q6_K", 5420933120},     {"llama-2-7b", "Q8_0", 7021084672},
        {"mistral-7b", "Q4_0", 4034453504},   {"mistral-7b", "Q4_K_S", 4065910784},   {"mistral-7b", "Q4_K_M", 4293976064},
        {"mistral-7b", "Q5_0", 4906868736},   {"mistral-7b", "Q5_K_M", 5040562176},   {"mistral-7b", "Q6_K", 5833809920},
        {"mistral-7b", "Q8_0", 7555858432},   {"llama-3.1-8b", "Q4_0", 4357873664},   {"llama-3.1-8b", "Q4_K_M", 4617396224},
        {"llama-3.1-8b", "Q5_0", 5230288896}, {"llama-3.1-8b", "Q5_K_M", 5363982336}, {"phi-2", "Q4_0", 1526927360},
        {"phi-2", "Q4_K_M", 1716162560},      {"phi-2", "Q5_0", 1841500160},          {"phi-2", "Q5_K_M", 1938984960},
        {"phi-2", "Q8_0", 2816962560},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cr_expect_eq(count(rows[i].shape, rows[i].recipe).per_token, rows[i].bytes, "%s %s: %llu bytes, not %llu", rows[i].shape,
                     rows[i].recipe, (unsigned long long)count(rows[i].shape, rows[i].recipe).per_token,
                     (unsigned long long)rows[i].bytes);
}

Test(shapes, bytes_of_all_tensors)
{
    static const char *const recipes[] = {"Q4_0", "Q4_K_S", "Q4_K_M", "Q5_0", "Q5_K_S", "Q5_K_M", "Q6_K", "Q8_0"};
    static const struct {
        const char *shape;
        uint64_t bytes[8]; /* by recipe */
    } rows[] = {
        {"llama-2-7b", {3825065984, 3855998976, 4080263168, 4650950656, 4650950656, 4782415872, 5528453120, 7160348672}},
        {"mistral-7b", {4108181504, 4139638784, 4367704064, 4996980736, 4996980736, 5130674176, 5941329920, 7695122432}},
        {"llama-3.1-8b", {4653375488, 4684832768, 4912898048, 5591457792, 5591457792, 5725151232, 6588170240, 8532934656}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (size_t j = 0; j < 8; j++)
            cr_expect_eq(count(rows[i].shape, recipes[j]).all, rows[i].bytes[j], "%s %s", rows[i].shape, recipes[j]);
    cr_expect_eq(count("phi-2", "Q4_K_M").all, 1789890560, "phi-2 Q4_K_M");
}

Test(shapes, parameters)
{
    static const struct {
        const char *shape;
        uint64_t parameters;
    } rows[] = {{"llama-2-7b", 6738415616},   {"mistral-7b", 7241732096},   {"phi-2", 2779683840},
                {"llama-3.1-8b", 8030261248}, {"llama-3.2-1b", 1235814400}, {"qwen3-4b", 4022468096}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cr_expect_eq(count(rows[i].shape, "F16").parameters, rows[i].parameters, "%s: %llu", rows[i].shape,
                     (unsigned long long)count(rows[i].shape, "F16").parameters);
}

/* Every pair gives a file that the reader accepts: no row is cut inside a block. */
Test(shapes, every_recipe_of_every_shape)
{
    char names[256];
    hearth_recipe_names(names, sizeof names, false);
    size_t n = 0;
    char *rest = names;
    for (char *name = strtok_r(rest, ", ", &rest); name; name = strtok_r(NULL, ", ", &rest), n++)
        for (size_t i = 0; i < hearth_shape_count; i++)
            cr_expect_gt(count(hearth_shapes[i].name, name).per_token, 0);
    cr_expect_geq(n, 16);
    hearth_shape_names(names, sizeof names);
    cr_expect(strstr(names, "qwen3-4b"));
}

/* The types that the recipe gives single tensors. */
Test(shapes, types_of_tensors)
{
    static const struct {
        const char *shape, *recipe, *tensor;
        uint32_t format;
    } rows[] = {
        {"llama-2-7b", "Q3_K_M", "blk.1.attn_v.weight", HEARTH_Q5_K},
        {"llama-2-7b", "Q3_K_M", "blk.2.attn_v.weight", HEARTH_Q4_K},
        {"llama-2-7b", "Q3_K_M", "blk.1.ffn_down.weight", HEARTH_Q5_K},
        {"llama-2-7b", "Q3_K_M", "blk.9.ffn_down.weight", HEARTH_Q4_K},
        {"llama-2-7b", "Q3_K_M", "blk.9.attn_output.weight", HEARTH_Q4_K},
        {"llama-2-7b", "Q3_K_M", "blk.9.attn_q.weight", HEARTH_Q3_K},
        {"llama-2-7b", "Q2_K", "blk.0.attn_v.weight", HEARTH_Q3_K},
        {"mistral-7b", "Q2_K", "blk.0.attn_v.weight", HEARTH_Q4_K},
        {"mistral-7b", "Q2_K", "blk.31.ffn_down.weight", HEARTH_Q3_K},
        {"mistral-7b", "IQ4_XS", "blk.31.attn_v.weight", HEARTH_Q5_K},
        {"mistral-7b", "IQ4_XS", "blk.3.ffn_down.weight", HEARTH_Q5_K},
        {"mistral-7b", "IQ4_XS", "blk.4.ffn_down.weight", HEARTH_IQ4_XS},
        {"llama-3.2-1b", "Q4_K_M", "token_embd.weight", HEARTH_Q6_K},
        {"phi-2", "Q4_K_M", "blk.0.attn_qkv.weight", HEARTH_Q6_K},
        {"phi-2", "Q4_K_M", "blk.4.attn_qkv.weight", HEARTH_Q4_K},
        {"qwen3-4b", "Q4_K_M", "blk.35.attn_k_norm.weight", HEARTH_F32},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t *bytes;
        size_t size;
        uint64_t data_bytes;
        struct hearth_gguf gguf;
        const struct hearth_shape *shape = hearth_shape_find(rows[i].shape);
        cr_assert(hearth_shape_header(shape, rows[i].recipe, &bytes, &size, &data_bytes, NULL) == HEARTH_OK);
        cr_assert(hearth_gguf_parse(&gguf, bytes, size, size + data_bytes, "shape", NULL) == HEARTH_OK);
        const struct hearth_gguf_tensor *t = hearth_gguf_find_tensor(&gguf, rows[i].tensor);
        cr_assert(t, "%s has no %s", rows[i].shape, rows[i].tensor);
        cr_expect_eq(t->format, rows[i].format, "%s %s %s", rows[i].shape, rows[i].recipe, rows[i].tensor);
        hearth_gguf_free(&gguf);
        free(bytes);
    }
}
