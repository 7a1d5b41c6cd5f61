/* Recipes: which tensor of a model gets which format (docs/quantization.md). One table for what `hearth quantize` writes and for
 * what `hearth bench` makes up. Pure functions. */
#ifndef HEARTH_QUANTIZE_RECIPE_H
#define HEARTH_QUANTIZE_RECIPE_H

#include "gguf.h"

struct hearth_recipe; /* a row of the table */

/* What a recipe asks about a model. */
struct hearth_recipe_model {
    uint32_t n_layer, n_head, n_head_kv, n_expert;
    uint32_t n_value;   /* tensors that hearth_recipe_class() calls VALUE */
    bool tied;          /* no output.weight: token_embd.weight is the output */
    bool large_grouped; /* the 80 layers with grouped heads of Llama-2-70B and its kin */
    bool importance;    /* an importance matrix weighs the errors */
};

enum hearth_tensor_class {
    HEARTH_CLASS_FIXED, /* stays as it is: a vector, a norm, a router */
    HEARTH_CLASS_OUTPUT,
    HEARTH_CLASS_EMBEDDING,
    HEARTH_CLASS_VALUE, /* attn_v, and what holds it: attn_qkv, attn_kv_b */
    HEARTH_CLASS_KEY,
    HEARTH_CLASS_ATTENTION_OUTPUT,
    HEARTH_CLASS_DOWN,
    HEARTH_CLASS_OTHER
};

/* What a tensor of that name and number of dimensions is to the recipes. */
enum hearth_tensor_class hearth_recipe_class(struct hearth_view name, uint32_t n_dims);

/* NULL when there is none of the name. */
const struct hearth_recipe *hearth_recipe_find(const char *name);
/* All names, or only of those whose formats all have an encoder, separated by ", ", for messages. */
void hearth_recipe_names(char *out, size_t capacity, bool makeable);
/* Whether all its formats have an encoder. */
bool hearth_recipe_is_makeable(const struct hearth_recipe *recipe);
/* The most common format of its tensors. */
enum hearth_format hearth_recipe_base(const struct hearth_recipe *recipe);
/* For general.file_type. */
uint32_t hearth_recipe_file_type(const struct hearth_recipe *recipe);
/* The name of the recipe that a file of that type was made by; NULL when there is none. */
const char *hearth_recipe_of_file_type(uint64_t file_type);
/* Whether it is only a format, for --pure, and chooses nothing. */
bool hearth_recipe_is_format(const struct hearth_recipe *recipe);

/* The format of a tensor of that class; index counts VALUE and DOWN tensors by layers, from 0. Not for FIXED. */
enum hearth_format hearth_recipe_choose(const struct hearth_recipe *recipe, const struct hearth_recipe_model *model,
                                        enum hearth_tensor_class class, uint32_t index);
/* `format`, or where rows of k elements are no whole blocks of it the nearest that has whole ones, in the end F16. */
enum hearth_format hearth_recipe_fallback(enum hearth_format format, uint64_t k);

#endif
