/* The recipes of the published files; see recipe.h. */
#include "recipe.h"
#include "common/status.h"
#include "encode/encode.h"

/* Which of n layers get the better format: none; all of a model whose key heads serve four query heads or more; the first two,
 * four, eighth or sixteenth; the first eighth only with or only without an importance matrix; or the first and last eighth and
 * every third between. */
enum layers { NO_LAYER, GROUPED, FIRST_2, FIRST_4, EIGHTH, EIGHTH_IF_WEIGHED, EIGHTH_IF_NOT, SIXTEENTH, MORE };

struct choice {
    enum hearth_format usual, better;
    enum layers where;
};

/* base: every matrix that is not named here. v also says what a fused attn_qkv gets, as the tools have done since March 2026. */
struct hearth_recipe {
    const char *name;
    uint32_t file_type;
    enum hearth_format base, output, attn_output;
    struct choice v, down;
    bool is_format;
};

#define SAME(f)                                                                                                                    \
    {                                                                                                                              \
        (f), (f), NO_LAYER                                                                                                         \
    }
#define PLAIN(name, type, f, output)                                                                                               \
    {                                                                                                                              \
        name, type, f, output, f, SAME(f), SAME(f), false                                                                          \
    }
/* A 32-element format whose first layers of ffn_down get a min as well when they are weighed. */
#define WEIGHED(name, type, f, better)                                                                                             \
    {                                                                                                                              \
        name, type, f, HEARTH_Q6_K, f, SAME(f), {f, better, EIGHTH_IF_WEIGHED}, false                                              \
    }
#define MIXED(name, type, f, attn_output, v, v_better, v_where, down, down_better, down_where)                                     \
    {                                                                                                                              \
        name, type, f, HEARTH_Q6_K, attn_output, {v, v_better, v_where}, {down, down_better, down_where}, false                    \
    }
#define FORMAT(name, type, f)                                                                                                      \
    {                                                                                                                              \
        name, type, f, f, f, SAME(f), SAME(f), true                                                                                \
    }
/* clang-format off */
static const struct hearth_recipe recipes[] = {
    WEIGHED("Q4_0", 2, HEARTH_Q4_0, HEARTH_Q4_1),
    PLAIN("Q4_1", 3, HEARTH_Q4_1, HEARTH_Q6_K),
    WEIGHED("Q5_0", 8, HEARTH_Q5_0, HEARTH_Q5_1),
    PLAIN("Q5_1", 9, HEARTH_Q5_1, HEARTH_Q6_K),
    PLAIN("Q8_0", 7, HEARTH_Q8_0, HEARTH_Q8_0),
    MIXED("Q2_K", 10, HEARTH_Q2_K, HEARTH_Q3_K, HEARTH_Q3_K, HEARTH_Q4_K, GROUPED, HEARTH_Q3_K, HEARTH_Q3_K, NO_LAYER),
    MIXED("Q3_K_M", 12, HEARTH_Q3_K, HEARTH_Q4_K, HEARTH_Q4_K, HEARTH_Q5_K, FIRST_2, HEARTH_Q4_K, HEARTH_Q5_K, SIXTEENTH),
    MIXED("Q4_K_S", 14, HEARTH_Q4_K, HEARTH_Q4_K, HEARTH_Q4_K, HEARTH_Q5_K, FIRST_4, HEARTH_Q4_K, HEARTH_Q5_K, EIGHTH),
    MIXED("Q4_K_M", 15, HEARTH_Q4_K, HEARTH_Q4_K, HEARTH_Q4_K, HEARTH_Q6_K, MORE, HEARTH_Q4_K, HEARTH_Q6_K, MORE),
    PLAIN("Q5_K_S", 16, HEARTH_Q5_K, HEARTH_Q6_K),
    MIXED("Q5_K_M", 17, HEARTH_Q5_K, HEARTH_Q5_K, HEARTH_Q5_K, HEARTH_Q6_K, MORE, HEARTH_Q5_K, HEARTH_Q6_K, MORE),
    PLAIN("Q6_K", 18, HEARTH_Q6_K, HEARTH_Q6_K),
    MIXED("IQ4_NL", 25, HEARTH_IQ4_NL, HEARTH_IQ4_NL,
          HEARTH_IQ4_NL, HEARTH_Q5_K, GROUPED, HEARTH_IQ4_NL, HEARTH_Q5_K, EIGHTH_IF_NOT),
    MIXED("IQ4_XS", 30, HEARTH_IQ4_XS, HEARTH_IQ4_XS,
          HEARTH_IQ4_XS, HEARTH_Q5_K, GROUPED, HEARTH_IQ4_XS, HEARTH_Q5_K, EIGHTH_IF_NOT),
    PLAIN("F16", 1, HEARTH_F16, HEARTH_F16),
    PLAIN("BF16", 32, HEARTH_BF16, HEARTH_BF16),
    PLAIN("F32", 0, HEARTH_F32, HEARTH_F32),
    FORMAT("Q4_K", 14, HEARTH_Q4_K),
    FORMAT("Q5_K", 16, HEARTH_Q5_K),
};
/* clang-format on */

#define N_RECIPES (sizeof recipes / sizeof recipes[0])

bool hearth_recipe_is_makeable(const struct hearth_recipe *r)
{
    const enum hearth_format all[] = {r->base, r->output, r->attn_output, r->v.usual, r->v.better, r->down.usual, r->down.better};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (!hearth_encoder(all[i]))
            return false;
    return true;
}

void hearth_recipe_names(char *out, size_t capacity, bool makeable)
{
    size_t used = 0;
    if (capacity > 0)
        out[0] = '\0';
    for (size_t i = 0; i < N_RECIPES && used < capacity; i++)
        if (!makeable || hearth_recipe_is_makeable(&recipes[i]))
            used += (size_t)snprintf(out + used, capacity - used, "%s%s", used ? ", " : "", recipes[i].name);
}

const struct hearth_recipe *hearth_recipe_find(const char *name)
{
    for (size_t i = 0; i < N_RECIPES; i++)
        if (strcmp(recipes[i].name, name) == 0)
            return &recipes[i];
    return NULL;
}

enum hearth_format hearth_recipe_base(const struct hearth_recipe *r)
{
    return r->base;
}

uint32_t hearth_recipe_file_type(const struct hearth_recipe *r)
{
    return r->file_type;
}

const char *hearth_recipe_of_file_type(uint64_t file_type)
{
    for (size_t i = 0; i < N_RECIPES; i++)
        if (recipes[i].file_type == file_type)
            return recipes[i].name;
    return NULL;
}

bool hearth_recipe_is_format(const struct hearth_recipe *r)
{
    return r->is_format;
}

/* ---- Classes -------------------------------------------------------------------------------------------------------- */

static bool is_name(struct hearth_view name, const char *text)
{
    return name.size == strlen(text) && memcmp(name.bytes, text, name.size) == 0;
}

static bool contains(struct hearth_view name, const char *text)
{
    return memmem(name.bytes, (size_t)name.size, text, strlen(text)) != NULL;
}

static bool ends_in_weight(struct hearth_view name)
{
    return name.size >= 6 && memcmp(name.bytes + name.size - 6, "weight", 6) == 0;
}

/* Small matrices that the whole model leans on, or that are no operands of a product. */
static bool is_kept(struct hearth_view name)
{
    static const char *const parts[] = {
        "_norm.weight",
        "ffn_gate_inp.weight",
        "position_embd.weight",
        "token_types.weight",
        "ssm_conv1d",
        "shortconv.conv.weight",
        "attn_rel_b.weight",
        "time_mix_first.weight",
        "time_mix_w0.weight",
        "time_mix_w1.weight",
        "time_mix_w2.weight",
        "time_mix_v0.weight",
        "time_mix_v1.weight",
        "time_mix_v2.weight",
        "time_mix_a0.weight",
        "time_mix_a1.weight",
        "time_mix_a2.weight",
        "time_mix_g1.weight",
        "time_mix_g2.weight",
        "time_mix_decay_w1.weight",
        "time_mix_decay_w2.weight",
        "time_mix_lerp_fused.weight",
        "altup",
        "laurel",
        "per_layer_model_proj",
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (contains(name, parts[i]))
            return true;
    return false;
}

enum hearth_tensor_class hearth_recipe_class(struct hearth_view name, uint32_t n_dims)
{
    if (n_dims < 2 || !ends_in_weight(name) || is_kept(name))
        return HEARTH_CLASS_FIXED;
    if (is_name(name, "output.weight"))
        return HEARTH_CLASS_OUTPUT;
    if (is_name(name, "token_embd.weight"))
        return HEARTH_CLASS_EMBEDDING;
    if (contains(name, "attn_v.weight") || contains(name, "attn_qkv.weight") || contains(name, "attn_kv_b.weight"))
        return HEARTH_CLASS_VALUE;
    if (contains(name, "attn_k.weight"))
        return HEARTH_CLASS_KEY;
    if (contains(name, "attn_output.weight"))
        return HEARTH_CLASS_ATTENTION_OUTPUT;
    return contains(name, "ffn_down") ? HEARTH_CLASS_DOWN : HEARTH_CLASS_OTHER;
}

/* ---- Formats -------------------------------------------------------------------------------------------------------- */

static bool is_better(const struct hearth_recipe_model *m, enum layers where, uint32_t i, uint32_t n)
{
    switch (where) {
    case GROUPED:
        return m->n_head_kv > 0 && m->n_head / m->n_head_kv >= 4;
    case FIRST_2:
        return i < 2;
    case FIRST_4:
        return i < 4;
    case EIGHTH:
        return i < n / 8;
    case EIGHTH_IF_WEIGHED:
        return m->importance && i < n / 8;
    case EIGHTH_IF_NOT:
        return !m->importance && i < n / 8;
    case SIXTEENTH:
        return i < n / 16;
    case MORE:
        return i < n / 8 || i >= 7 * (uint64_t)n / 8 || (i - n / 8) % 3 == 2;
    default:
        return false;
    }
}

static enum hearth_format choose(const struct hearth_recipe_model *m, const struct choice *choice, uint32_t i, uint32_t n)
{
    return is_better(m, choice->where, i, n) ? choice->better : choice->usual;
}

static bool is_float(enum hearth_format format)
{
    return hearth_format_info(format)->block_elems == 1;
}

/* Values are few and matter much where many heads, or eight experts, share them. */
static enum hearth_format choose_value(const struct hearth_recipe *r, const struct hearth_recipe_model *m, uint32_t i)
{
    if (m->n_expert == 8 && !is_float(r->base))
        return HEARTH_Q8_0;
    const enum hearth_format f = choose(m, &r->v, i, m->n_value);
    return m->large_grouped && (f == HEARTH_Q3_K || f == HEARTH_Q4_K) ? HEARTH_Q5_K : f;
}

static enum hearth_format choose_attention_output(const struct hearth_recipe *r, const struct hearth_recipe_model *m)
{
    if (m->n_expert != 8)
        return r->attn_output;
    switch (r->base) {
    case HEARTH_Q2_K:
    case HEARTH_Q3_K:
    case HEARTH_Q4_K:
    case HEARTH_IQ4_NL:
    case HEARTH_IQ4_XS:
        return HEARTH_Q5_K;
    default:
        return r->base;
    }
}

enum hearth_format hearth_recipe_choose(const struct hearth_recipe *r, const struct hearth_recipe_model *m,
                                        enum hearth_tensor_class class, uint32_t index)
{
    switch (class) {
    case HEARTH_CLASS_OUTPUT:
        return r->output;
    case HEARTH_CLASS_EMBEDDING:
        return m->tied ? r->output : r->base;
    case HEARTH_CLASS_VALUE:
        return choose_value(r, m, index);
    case HEARTH_CLASS_KEY:
        return m->n_expert == 8 && !is_float(r->base) ? HEARTH_Q8_0 : r->base;
    case HEARTH_CLASS_ATTENTION_OUTPUT:
        return choose_attention_output(r, m);
    case HEARTH_CLASS_DOWN:
        return choose(m, &r->down, index, m->n_layer);
    default:
        return r->base;
    }
}

enum hearth_format hearth_recipe_fallback(enum hearth_format format, uint64_t k)
{
    if (k % hearth_format_info(format)->block_elems == 0) /* NOLINT(clang-analyzer-core.DivideZero): recipes name formats */
        return format;
    switch (format) {
    case HEARTH_Q2_K:
    case HEARTH_Q3_K:
        return hearth_recipe_fallback(HEARTH_Q4_0, k);
    case HEARTH_Q4_K:
        return hearth_recipe_fallback(HEARTH_Q5_0, k);
    case HEARTH_Q5_K:
        return hearth_recipe_fallback(HEARTH_Q5_1, k);
    case HEARTH_Q6_K:
        return hearth_recipe_fallback(HEARTH_Q8_0, k);
    case HEARTH_IQ4_XS:
        return hearth_recipe_fallback(HEARTH_IQ4_NL, k);
    default:
        return HEARTH_F16;
    }
}
