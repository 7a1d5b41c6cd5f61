/* Hyper-parameters. One table says which keys there are, where they go, and which values are sane; one loop walks it. Everything
 * that is later a divisor, an index or the end of a loop has passed through here. What the file asks for and this version would
 * compute wrongly is refused by name instead of being ignored. */
#include "hparams.h"
#include "common/limits.h"
#include "common/real.h"
#include "common/status.h"

#include <float.h>
#include <math.h>

#define KEY_BYTES 128
#define ARCH_NAME_BYTES 64
/* Rotation angles are at most position / factor, since the base is at least 1: below 2^27 * 2^3 = 2^30, where hearth_sincos64()
 * is good. */
#define CONTEXT_MAX 134217728.0
#define ROPE_FACTOR_MIN 0.125

static const struct {
    const char *name;
    enum hearth_norm_kind norm;
    enum hearth_rope_pairs rope_pairs;
    enum hearth_gate gate;
    bool scales_embedding;
    /* Layer l has a window unless l mod period is period - 1; with period 0 all have one, with 1 none. */
    enum { NO_WINDOWS, WINDOWS_WHEN_ASKED, WINDOWS } windows;
    uint32_t window_period, window;
    float attention_softcap, final_softcap; /* where the file has no keys for them */
    float rope_local_base;
    enum { NO_EXPERTS, MAYBE_EXPERTS, EXPERTS } experts;
    uint32_t layers_of_wide_heads; /* models of so many layers scale attention by 1 / sqrt(n_embd / n_head) */
} archs[HEARTH_ARCH_COUNT] = {
    [HEARTH_ARCH_LLAMA] = {.name = "llama", .windows = WINDOWS_WHEN_ASKED, .experts = MAYBE_EXPERTS},
    [HEARTH_ARCH_GEMMA] = {.name = "gemma", .rope_pairs = HEARTH_ROPE_HALVES, .gate = HEARTH_GATE_GELU, .scales_embedding = true},
    [HEARTH_ARCH_GEMMA2] = {.name = "gemma2",
                            .rope_pairs = HEARTH_ROPE_HALVES,
                            .gate = HEARTH_GATE_GELU,
                            .scales_embedding = true,
                            .windows = WINDOWS,
                            .window_period = 2,
                            .window = 4096,
                            .attention_softcap = 50.0f,
                            .final_softcap = 30.0f,
                            .layers_of_wide_heads = 46},
    [HEARTH_ARCH_GEMMA3] = {.name = "gemma3",
                            .rope_pairs = HEARTH_ROPE_HALVES,
                            .gate = HEARTH_GATE_GELU,
                            .scales_embedding = true,
                            .windows = WINDOWS,
                            .window_period = 6,
                            .rope_local_base = 10000.0f,
                            .layers_of_wide_heads = 62},
    [HEARTH_ARCH_PHI2] = {.name = "phi2", .norm = HEARTH_NORM_LAYER, .rope_pairs = HEARTH_ROPE_HALVES},
    [HEARTH_ARCH_PHI3] = {.name = "phi3", .rope_pairs = HEARTH_ROPE_HALVES},
    [HEARTH_ARCH_QWEN2] = {.name = "qwen2", .rope_pairs = HEARTH_ROPE_HALVES},
    [HEARTH_ARCH_QWEN3] = {.name = "qwen3", .rope_pairs = HEARTH_ROPE_HALVES},
    [HEARTH_ARCH_QWEN3MOE] = {.name = "qwen3moe", .rope_pairs = HEARTH_ROPE_HALVES, .experts = EXPERTS},
};

/* All that the table reads: what is handed out, and what is only looked at. Zero means that the key is absent. */
struct values {
    struct hearth_hparams out;
    uint32_t key_length, value_length;
    uint32_t expert_ff, gating, n_groups, n_shared, shared_ff, n_draft_layers;
    float rope_factor, rope_factor_old;
    float yarn_log_multiplier, yarn_beta_fast, yarn_beta_slow, yarn_ext_factor;
    float attn_factor, clamp_kqv, max_alibi_bias, logit_scale, residual_scale, embedding_scale;
};

enum kind { COUNT, PER_LAYER, REAL }; /* PER_LAYER: a count, or an array of one count for each layer */
enum presence { OPTIONAL, REQUIRED, REQUIRED_BY_RMS_NORM, REQUIRED_BY_LAYER_NORM }; /* the last two: not looked at by others */

struct field {
    const char *key; /* after the name of the architecture and a point */
    size_t offset;   /* in struct values */
    enum kind kind;
    enum presence presence;
    double min, max;
};

#define AT(member) offsetof(struct values, member)
/* block_count stands first: lengths of arrays are compared with it. */
static const struct field fields[] = {
    {"block_count", AT(out.n_layer), COUNT, REQUIRED, 1, HEARTH_LAYERS_MAX},
    {"context_length", AT(out.n_ctx_train), COUNT, REQUIRED, 1, CONTEXT_MAX},
    {"embedding_length", AT(out.n_embd), COUNT, REQUIRED, 1, 1 << 20},
    {"feed_forward_length", AT(out.n_ff), PER_LAYER, OPTIONAL, 1, 1 << 20},
    {"attention.head_count", AT(out.n_head), PER_LAYER, REQUIRED, 1, 4096},
    {"attention.head_count_kv", AT(out.n_head_kv), PER_LAYER, OPTIONAL, 1, 4096},
    {"attention.key_length", AT(key_length), COUNT, OPTIONAL, 1, 4096},
    {"attention.value_length", AT(value_length), COUNT, OPTIONAL, 1, 4096},
    {"attention.layer_norm_rms_epsilon", AT(out.norm_eps), REAL, REQUIRED_BY_RMS_NORM, (double)FLT_MIN, 1},
    {"attention.layer_norm_epsilon", AT(out.norm_eps), REAL, REQUIRED_BY_LAYER_NORM, (double)FLT_MIN, 1},
    {"attention.scale", AT(out.attention_scale), REAL, OPTIONAL, 0, 1e6},
    {"rope.dimension_count", AT(out.n_rot), COUNT, OPTIONAL, 2, 4096},
    {"rope.freq_base", AT(out.rope_freq_base), REAL, OPTIONAL, 1, (double)FLT_MAX},
    {"rope.freq_base_swa", AT(out.rope_local_base), REAL, OPTIONAL, 1, (double)FLT_MAX},
    {"attention.sliding_window", AT(out.window), COUNT, OPTIONAL, 0, CONTEXT_MAX},
    {"rope.scaling.factor", AT(rope_factor), REAL, OPTIONAL, ROPE_FACTOR_MIN, 1e6},
    {"rope.scale_linear", AT(rope_factor_old), REAL, OPTIONAL, ROPE_FACTOR_MIN, 1e6},
    {"rope.scaling.attn_factor", AT(attn_factor), REAL, OPTIONAL, 0, 1e6},
    {"rope.scaling.original_context_length", AT(out.rope_n_ctx), COUNT, OPTIONAL, 1, CONTEXT_MAX},
    {"rope.scaling.yarn_log_multiplier", AT(yarn_log_multiplier), REAL, OPTIONAL, 0, 1e6},
    {"rope.scaling.yarn_beta_fast", AT(yarn_beta_fast), REAL, OPTIONAL, 1e-6, 1e6},
    {"rope.scaling.yarn_beta_slow", AT(yarn_beta_slow), REAL, OPTIONAL, 1e-6, 1e6},
    {"rope.scaling.yarn_ext_factor", AT(yarn_ext_factor), REAL, OPTIONAL, 0, 1},
    {"attn_logit_softcapping", AT(out.attention_softcap), REAL, OPTIONAL, 0, 1e6},
    {"final_logit_softcapping", AT(out.final_softcap), REAL, OPTIONAL, 0, 1e6},
    {"attention.clamp_kqv", AT(clamp_kqv), REAL, OPTIONAL, 0, 1e6},
    {"attention.max_alibi_bias", AT(max_alibi_bias), REAL, OPTIONAL, 0, 1e6},
    {"logit_scale", AT(logit_scale), REAL, OPTIONAL, 0, 1e6},
    {"residual_scale", AT(residual_scale), REAL, OPTIONAL, 0, 1e6},
    {"embedding_scale", AT(embedding_scale), REAL, OPTIONAL, 0, 1e6},
    {"expert_count", AT(out.n_expert), COUNT, OPTIONAL, 0, 4096},
    {"expert_used_count", AT(out.n_expert_used), COUNT, OPTIONAL, 0, 256},
    {"expert_feed_forward_length", AT(expert_ff), COUNT, OPTIONAL, 1, 1 << 20},
    {"expert_weights_scale", AT(out.expert_scale), REAL, OPTIONAL, 0, 1e6},
    {"expert_gating_func", AT(gating), COUNT, OPTIONAL, 0, 4096},
    {"expert_group_count", AT(n_groups), COUNT, OPTIONAL, 0, 4096},
    {"expert_shared_count", AT(n_shared), COUNT, OPTIONAL, 0, 4096},
    {"expert_shared_feed_forward_length", AT(shared_ff), COUNT, OPTIONAL, 0, 1 << 20},
    {"nextn_predict_layers", AT(n_draft_layers), COUNT, OPTIONAL, 0, HEARTH_LAYERS_MAX},
};

/* Features that are not computed, but for some architectures: the value must be one of two at which they do nothing. */
#define NOWHERE 0u
#define IN(arch) (1u << HEARTH_ARCH_##arch)
static const struct {
    const char *key;
    size_t offset;
    float neutral, also_neutral;
    uint32_t computed; /* by these architectures */
} neutral_fields[] = {
    {"attn_logit_softcapping", AT(out.attention_softcap), 0, 0, IN(GEMMA2)},
    {"final_logit_softcapping", AT(out.final_softcap), 0, 0, IN(GEMMA2) | IN(GEMMA3)},
    {"attention.clamp_kqv", AT(clamp_kqv), 0, 0, NOWHERE},
    {"attention.max_alibi_bias", AT(max_alibi_bias), 0, 0, NOWHERE},
    {"logit_scale", AT(logit_scale), 0, 1, NOWHERE},
    {"residual_scale", AT(residual_scale), 0, 1, NOWHERE},
    {"embedding_scale", AT(embedding_scale), 0, 1, NOWHERE},
};
#undef AT

/* ---- Saying no ----------------------------------------------------------------------------------------------------- */

/* What we read, from where, and the key that is being looked at. */
struct reader {
    const struct hearth_gguf *gguf;
    char arch[ARCH_NAME_BYTES];
    char key[KEY_BYTES];
    hearth_error *err;
};

/* A failure at the key that was set last. */
HEARTH_PRINTF(4, 5)
static hearth_status reject(const struct reader *in, hearth_status status, const char *detail, const char *format, ...)
{
    char file[HEARTH_QUOTE_MAX];
    char key[HEARTH_QUOTE_MAX];
    char what[200];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return hearth_fail(in->err, status, detail, "%s: key '%s': %s",
                       hearth_quote(file, in->gguf->file_name, strlen(in->gguf->file_name)),
                       hearth_quote(key, in->key, strlen(in->key)), what);
}

/* Look at "ARCH.suffix" from now on. */
static const char *set_key(struct reader *in, const char *suffix)
{
    (void)snprintf(in->key, sizeof in->key, "%s.%s", in->arch, suffix);
    return in->key;
}

static const char *set_plain_key(struct reader *in, const char *key)
{
    (void)snprintf(in->key, sizeof in->key, "%s", key);
    return in->key;
}

/* ---- The loop over the table --------------------------------------------------------------------------------------- */

static hearth_status check_range(const struct reader *in, const struct field *field, double value)
{
    if (value >= field->min && value <= field->max) /* false for a NaN */
        return HEARTH_OK;
    return reject(in, HEARTH_E_FORMAT, "E_HPARAM", "out of range (got %.9g, need %.9g to %.9g)", value, field->min, field->max);
}

static hearth_status read_count(const struct reader *in, const struct field *field, uint32_t *out, bool *found)
{
    const struct hearth_gguf_pair *pair = hearth_gguf_find(in->gguf, in->key);
    if (pair && hearth_gguf_is_negative(pair))
        return reject(in, HEARTH_E_FORMAT, "E_HPARAM", "out of range (negative, need %.9g to %.9g)", field->min, field->max);
    uint64_t value = 0;
    HEARTH_TRY(hearth_gguf_get_u64(in->gguf, in->key, &value, found, in->err));
    if (!*found)
        return HEARTH_OK;
    HEARTH_TRY(check_range(in, field, (double)value));
    *out = (uint32_t)value; /* no maximum of the table is above 2^27 */
    return HEARTH_OK;
}

/* One entry for each layer. Models whose layers differ need another engine. */
static hearth_status read_layer_counts(const struct reader *in, const struct field *field, const struct hearth_gguf_pair *array,
                                       uint32_t n_layer, uint32_t *out)
{
    if (array->element_type != HEARTH_GGUF_U32 && array->element_type != HEARTH_GGUF_I32)
        return reject(in, HEARTH_E_FORMAT, "E_KVTYPE", "wrong type of array elements (need uint32 or int32)");
    if (array->count != n_layer)
        return reject(in, HEARTH_E_FORMAT, "E_HPARAM", "wrong number of entries (got %" PRIu64 ", need %" PRIu32 ")", array->count,
                      n_layer);
    for (uint32_t i = 0; i < n_layer; i++)
        HEARTH_TRY(check_range(in, field, (double)hearth_gguf_u32_at(array, i)));
    *out = hearth_gguf_u32_at(array, 0);
    for (uint32_t i = 1; i < n_layer; i++)
        if (hearth_gguf_u32_at(array, i) != *out)
            return reject(in, HEARTH_E_UNSUPPORTED, "E_HPARAM",
                          "layers that differ are not supported (layer 0 has %" PRIu32 ", layer %" PRIu32 " has %" PRIu32 ")", *out,
                          i, hearth_gguf_u32_at(array, i));
    return HEARTH_OK;
}

static hearth_status read_real(const struct reader *in, const struct field *field, float *out, bool *found)
{
    double value = 0;
    HEARTH_TRY(hearth_gguf_get_f64(in->gguf, in->key, &value, found, in->err));
    if (!*found)
        return HEARTH_OK;
    HEARTH_TRY(check_range(in, field, value));
    *out = (float)value; /* inside the range of float */
    return HEARTH_OK;
}

/* Whether the architecture knows this key. */
static bool applies(const struct field *field, enum hearth_norm_kind norm)
{
    return !(field->presence == REQUIRED_BY_RMS_NORM && norm != HEARTH_NORM_RMS) &&
           !(field->presence == REQUIRED_BY_LAYER_NORM && norm != HEARTH_NORM_LAYER);
}

static hearth_status read_field(struct reader *in, const struct field *field, struct values *values)
{
    if (!applies(field, values->out.norm))
        return HEARTH_OK;
    void *out = (char *)values + field->offset;
    const struct hearth_gguf_pair *pair = hearth_gguf_find(in->gguf, set_key(in, field->key));
    bool found = pair != NULL;
    if (field->kind == REAL)
        HEARTH_TRY(read_real(in, field, out, &found));
    else if (field->kind == PER_LAYER && pair && pair->type == HEARTH_GGUF_ARRAY)
        HEARTH_TRY(read_layer_counts(in, field, pair, values->out.n_layer, out));
    else
        HEARTH_TRY(read_count(in, field, out, &found));
    if (!found && field->presence != OPTIONAL)
        return reject(in, HEARTH_E_FORMAT, "E_MISSING", "the key is missing");
    return HEARTH_OK;
}

/* ---- What must fit together ---------------------------------------------------------------------------------------- */

/* A file that is no whole model says so before its numbers are looked at. */
static hearth_status check_kind_of_file(struct reader *in)
{
    uint64_t quantization = 2;
    struct hearth_view type = {NULL, 0};
    char text[HEARTH_QUOTE_MAX];
    bool found;
    HEARTH_TRY(hearth_gguf_get_string(in->gguf, set_plain_key(in, "general.type"), &type, &found, in->err));
    if (found && (type.size != 5 || memcmp(type.bytes, "model", 5) != 0))
        return reject(in, HEARTH_E_UNSUPPORTED, NULL, "the file is no model to run (got '%s', need 'model')",
                      hearth_quote(text, type.bytes, (size_t)type.size));
    HEARTH_TRY(hearth_gguf_get_u64(in->gguf, set_plain_key(in, "general.quantization_version"), &quantization, &found, in->err));
    if (quantization != 2)
        return reject(in, HEARTH_E_UNSUPPORTED, NULL, "blocks of another generation (got %" PRIu64 ", need 2)", quantization);
    return HEARTH_OK;
}

/* "'llama', 'phi2', ..." */
static const char *all_archs(char *out, size_t size)
{
    size_t used = 0;
    out[0] = 0;
    for (int i = 0; i < HEARTH_ARCH_COUNT && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s'%s'", i > 0 ? ", " : "", archs[i].name);
    return out;
}

static hearth_status read_arch(struct reader *in, struct hearth_hparams *out)
{
    struct hearth_view name;
    bool found;
    HEARTH_TRY(hearth_gguf_get_string(in->gguf, set_plain_key(in, "general.architecture"), &name, &found, in->err));
    if (!found)
        return reject(in, HEARTH_E_FORMAT, "E_MISSING", "the key is missing");
    for (int i = 0; i < HEARTH_ARCH_COUNT; i++) {
        if (name.size != strlen(archs[i].name) || memcmp(name.bytes, archs[i].name, (size_t)name.size) != 0)
            continue;
        (void)snprintf(in->arch, sizeof in->arch, "%s", archs[i].name);
        out->arch = (enum hearth_arch)i;
        out->norm = archs[i].norm;
        out->rope_pairs = archs[i].rope_pairs;
        out->gate = archs[i].gate;
        out->window = archs[i].window;
        out->window_when_asked = archs[i].windows == WINDOWS_WHEN_ASKED;
        out->attention_softcap = archs[i].attention_softcap;
        out->final_softcap = archs[i].final_softcap;
        out->rope_local_base = archs[i].rope_local_base;
        return HEARTH_OK;
    }
    char text[HEARTH_QUOTE_MAX];
    char known[160];
    return reject(in, HEARTH_E_UNSUPPORTED, "E_ARCH", "unknown architecture '%s' (need one of %s)",
                  hearth_quote(text, name.bytes, (size_t)name.size), all_archs(known, sizeof known));
}

/* Routing that is not computed: the value must be at most this. */
static hearth_status check_routing(struct reader *in, const char *key, uint32_t value, uint32_t most)
{
    set_key(in, key);
    if (value <= most)
        return HEARTH_OK;
    return reject(in, HEARTH_E_UNSUPPORTED, "E_EXPERTS",
                  "this feature is not supported (got %" PRIu32 ", need at most %" PRIu32 ")", value, most);
}

/* The rows of all experts of a layer are counted in 32 bits, and shared in pieces of 16 and more (claim.h). */
#define EXPERT_ROWS_MAX (UINT64_C(1) << 26)

static hearth_status check_experts(struct reader *in, struct values *values)
{
    struct hearth_hparams *out = &values->out;
    set_key(in, "expert_used_count");
    if (out->n_expert_used < 1 || out->n_expert_used > out->n_expert)
        return reject(in, HEARTH_E_FORMAT, "E_HPARAM", "out of range (got %" PRIu32 ", need 1 to %" PRIu32 ")", out->n_expert_used,
                      out->n_expert);
    HEARTH_TRY(check_routing(in, "expert_gating_func", values->gating, 1));
    HEARTH_TRY(check_routing(in, "expert_group_count", values->n_groups, 1));
    HEARTH_TRY(check_routing(in, "expert_shared_count", values->n_shared, 0));
    HEARTH_TRY(check_routing(in, "expert_shared_feed_forward_length", values->shared_ff, 0));
    if (values->expert_ff > 0)
        out->n_ff = values->expert_ff;
    else if (archs[out->arch].experts == EXPERTS) /* feed_forward_length is that of all that a token uses */
        out->n_ff /= out->n_expert_used;
    if (!(out->expert_scale > 0))
        out->expert_scale = 1.0f;
    set_key(in, "expert_count");
    const uint64_t rows = (uint64_t)out->n_expert * (out->n_ff > out->n_embd ? out->n_ff : out->n_embd);
    if (rows > EXPERT_ROWS_MAX)
        return reject(in, HEARTH_E_FORMAT, "E_HPARAM", "too many rows of experts (got %" PRIu64 ", need at most %" PRIu64 ")", rows,
                      EXPERT_ROWS_MAX);
    return HEARTH_OK;
}

static hearth_status check_feed_forward(struct reader *in, struct values *values)
{
    struct hearth_hparams *out = &values->out;
    set_key(in, "expert_count");
    if (archs[out->arch].experts == EXPERTS && out->n_expert == 0)
        return reject(in, HEARTH_E_FORMAT, "E_HPARAM", "a model of experts has none (got 0, need 1 or more)");
    if (archs[out->arch].experts == NO_EXPERTS && out->n_expert > 0)
        return reject(in, HEARTH_E_UNSUPPORTED, "E_EXPERTS",
                      "experts of this architecture are not supported (got %" PRIu32 ", need 0)", out->n_expert);
    if (out->n_expert > 0)
        HEARTH_TRY(check_experts(in, values));
    set_key(in, "feed_forward_length");
    if (out->n_ff == 0)
        return reject(in, HEARTH_E_FORMAT, "E_MISSING", "the key is missing");
    return HEARTH_OK;
}

static hearth_status check_features(struct reader *in, const struct values *values)
{
    set_key(in, "nextn_predict_layers");
    if (values->n_draft_layers >= values->out.n_layer)
        return reject(in, HEARTH_E_FORMAT, "E_HPARAM", "as many as there are layers (got %" PRIu32 ", need below %" PRIu32 ")",
                      values->n_draft_layers, values->out.n_layer);
    if (values->n_draft_layers > 0)
        return reject(in, HEARTH_E_UNSUPPORTED, NULL, "draft layers are not supported (got %" PRIu32 ", need 0)",
                      values->n_draft_layers);
    for (size_t i = 0; i < sizeof neutral_fields / sizeof neutral_fields[0]; i++) {
        float value;
        memcpy(&value, (const char *)values + neutral_fields[i].offset, sizeof value);
        set_key(in, neutral_fields[i].key);
        const bool computed = neutral_fields[i].computed & 1u << values->out.arch;
        if (!computed && value != neutral_fields[i].neutral && value != neutral_fields[i].also_neutral)
            return reject(in, HEARTH_E_UNSUPPORTED, NULL, "this feature is not supported (got %.9g)", (double)value);
    }
    bool causal = true;
    bool found;
    HEARTH_TRY(hearth_gguf_get_bool(in->gguf, set_key(in, "attention.causal"), &causal, &found, in->err));
    if (!causal)
        return reject(in, HEARTH_E_UNSUPPORTED, NULL, "attention to later positions is not supported (got false)");
    return HEARTH_OK;
}

/* Fill in a head width that the file leaves out. */
static hearth_status default_head_width(struct reader *in, const struct hearth_hparams *hparams, uint32_t *width)
{
    set_key(in, "attention.head_count");
    if (*width == 0 && hparams->n_embd % hparams->n_head != 0)
        return reject(in, HEARTH_E_FORMAT, "E_HPARAM", "does not divide the embedding length (got %" PRIu32 ", of %" PRIu32 ")",
                      hparams->n_head, hparams->n_embd);
    if (*width == 0)
        *width = hparams->n_embd / hparams->n_head;
    return HEARTH_OK;
}

static hearth_status check_heads(struct reader *in, struct values *values)
{
    struct hearth_hparams *out = &values->out;
    if (out->n_head_kv == 0)
        out->n_head_kv = out->n_head;
    if (out->n_head % out->n_head_kv != 0) {
        set_key(in, "attention.head_count_kv");
        return reject(in, HEARTH_E_FORMAT, "E_HPARAM", "does not divide the number of heads (got %" PRIu32 ", of %" PRIu32 ")",
                      out->n_head_kv, out->n_head);
    }
    HEARTH_TRY(default_head_width(in, out, &values->key_length));
    HEARTH_TRY(default_head_width(in, out, &values->value_length));
    set_key(in, "attention.key_length");
    if (values->key_length > 4096)
        return reject(in, HEARTH_E_FORMAT, "E_HPARAM", "heads are too wide (got %" PRIu32 ", need at most 4096)",
                      values->key_length);
    if (values->key_length != values->value_length)
        return reject(in, HEARTH_E_UNSUPPORTED, "E_HPARAM",
                      "keys and values of different widths are not supported (got %" PRIu32 " and %" PRIu32 ")", values->key_length,
                      values->value_length);
    out->head_dim = values->key_length;
    const bool wide = archs[out->arch].layers_of_wide_heads == out->n_layer;
    if (!(out->attention_scale > 0))
        out->attention_scale = (float)(1.0 / sqrt(wide ? (double)out->n_embd / (double)out->n_head : (double)out->head_dim));
    return HEARTH_OK;
}

/* One truth value for each layer: whether it has a window. */
static hearth_status read_windowed(const struct reader *in, const struct hearth_gguf_pair *array, struct hearth_hparams *out)
{
    if (array->element_type != HEARTH_GGUF_BOOL)
        return reject(in, HEARTH_E_FORMAT, "E_KVTYPE", "wrong type of array elements (need bool)");
    if (array->count != out->n_layer)
        return reject(in, HEARTH_E_FORMAT, "E_HPARAM", "wrong number of entries (got %" PRIu64 ", need %" PRIu32 ")", array->count,
                      out->n_layer);
    for (uint32_t i = 0; i < out->n_layer; i++)
        out->windowed[i] = hearth_gguf_bool_at(array, i);
    return HEARTH_OK;
}

/* Which layers see only the last positions, and whether they rotate in their own way. */
static hearth_status check_windows(struct reader *in, struct hearth_hparams *out)
{
    uint64_t period = archs[out->arch].window_period;
    bool found;
    if (archs[out->arch].windows == NO_WINDOWS)
        out->window = 0;
    if (out->window == 0 || !(archs[out->arch].rope_local_base > 0))
        out->rope_local_base = 0;
    if (out->window == 0)
        return HEARTH_OK;
    const struct hearth_gguf_pair *pair = hearth_gguf_find(in->gguf, set_key(in, "attention.sliding_window_pattern"));
    if (pair && pair->type == HEARTH_GGUF_ARRAY)
        return read_windowed(in, pair, out);
    HEARTH_TRY(hearth_gguf_get_u64(in->gguf, in->key, &period, &found, in->err));
    for (uint32_t i = 0; i < out->n_layer; i++)
        out->windowed[i] = period == 0 || i % period < period - 1;
    return HEARTH_OK;
}

static bool view_is(struct hearth_view view, const char *text)
{
    return view.size == strlen(text) && memcmp(view.bytes, text, (size_t)view.size) == 0;
}

/* The pair that turns this often while the positions pass that the model was first trained with. */
static double yarn_pair(const struct values *values, float turns)
{
    const double rotated = hearth_log64((double)values->out.rope_n_ctx / (2 * 0x1.921fb54442d18p+1 * (double)turns));
    return (double)values->out.n_rot * rotated / (2 * hearth_log64((double)values->out.rope_freq_base));
}

/* Below 2^53, and without libm. */
static double floor_of(double x)
{
    const double whole = (double)(int64_t)x;
    return whole > x ? whole - 1 : whole;
}

/* Source: spec architectures.md 4.2. */
static hearth_status set_yarn(struct reader *in, struct values *values, double factor)
{
    struct hearth_hparams *out = &values->out;
    set_key(in, "rope.scaling.factor");
    if (factor < 1)
        return reject(in, HEARTH_E_FORMAT, "E_HPARAM", "out of range with yarn (got %.9g, need 1 or more)", factor);
    set_key(in, "rope.freq_base");
    if (out->rope_freq_base < 1.001f)
        return reject(in, HEARTH_E_FORMAT, "E_HPARAM", "out of range with yarn (got %.9g, need 1.001 or more)",
                      (double)out->rope_freq_base);
    const double low = floor_of(yarn_pair(values, values->yarn_beta_fast));
    const double high = -floor_of(-yarn_pair(values, values->yarn_beta_slow));
    const double last = (double)out->n_rot - 1;
    out->yarn_low = low > 0 ? low : 0;
    out->yarn_high = high < last ? high : last;
    out->yarn_mix = (double)values->yarn_ext_factor;
    const double log_factor = hearth_log64(factor);
    out->rope_magnitude *= (1 + 0.1 * log_factor) / (1 + 0.1 * (double)values->yarn_log_multiplier * log_factor);
    return HEARTH_OK;
}

static hearth_status check_rope(struct reader *in, struct values *values)
{
    struct hearth_hparams *out = &values->out;
    if (out->n_rot == 0)
        out->n_rot = out->head_dim;
    set_key(in, "rope.dimension_count");
    if (out->n_rot > out->head_dim || out->n_rot % 2 != 0)
        return reject(in, HEARTH_E_FORMAT, "E_HPARAM", "must be even and at most the head width (got %" PRIu32 ", of %" PRIu32 ")",
                      out->n_rot, out->head_dim);
    if (!(out->rope_freq_base > 0))
        out->rope_freq_base = 10000.0f;

    struct hearth_view type = {(const uint8_t *)"linear", 6};
    bool found;
    char text[HEARTH_QUOTE_MAX];
    HEARTH_TRY(hearth_gguf_get_string(in->gguf, set_key(in, "rope.scaling.type"), &type, &found, in->err));
    hearth_quote(text, type.bytes, (size_t)type.size);
    const bool yarn = view_is(type, "yarn");
    if (!yarn && !view_is(type, "none") && !view_is(type, "linear") && !view_is(type, "longrope"))
        return reject(in, HEARTH_E_FORMAT, "E_HPARAM", "no such scaling (got '%s', need 'none', 'linear', 'yarn' or 'longrope')",
                      text);
    const float factor = values->rope_factor > 0       ? values->rope_factor
                         : values->rope_factor_old > 0 ? values->rope_factor_old
                                                       : 1.0f;
    out->rope_scale = yarn || view_is(type, "linear") ? 1.0f / factor : 1.0f;
    out->rope_magnitude = values->attn_factor > 0 ? (double)values->attn_factor : 1.0;
    if (out->rope_n_ctx == 0)
        out->rope_n_ctx = out->n_ctx_train;
    return yarn ? set_yarn(in, values, (double)factor) : HEARTH_OK;
}

/* The N of a name "blk.N.", or -1. */
static int64_t layer_of(struct hearth_view name)
{
    int64_t layer = 0;
    if (name.size < 6 || memcmp(name.bytes, "blk.", 4) != 0 || name.bytes[4] == '.')
        return -1;
    for (uint64_t i = 4; i < name.size && i < 14; i++) {
        if (name.bytes[i] == '.')
            return layer;
        if (name.bytes[i] < '0' || name.bytes[i] > '9')
            return -1;
        layer = layer * 10 + (name.bytes[i] - '0');
    }
    return -1;
}

static hearth_status check_layers(struct reader *in, uint32_t n_layer)
{
    set_key(in, "block_count");
    for (uint64_t i = 0; i < in->gguf->n_tensors; i++) {
        const int64_t layer = layer_of(in->gguf->tensors[i].name);
        if (layer >= (int64_t)n_layer)
            return reject(in, HEARTH_E_FORMAT, "E_HPARAM", "tensors for layer %" PRId64 " exist (got %" PRIu32 " layers)", layer,
                          n_layer);
    }
    return HEARTH_OK;
}

static hearth_status read_vocabulary_size(struct reader *in, uint32_t *n_vocab)
{
    static const char name[] = "token_embd.weight";
    char file[HEARTH_QUOTE_MAX];
    hearth_quote(file, in->gguf->file_name, strlen(in->gguf->file_name));
    const struct hearth_gguf_tensor *tensor = hearth_gguf_find_tensor(in->gguf, name);
    if (!tensor)
        return hearth_fail(in->err, HEARTH_E_FORMAT, "E_MISSING", "%s: tensor '%s': the tensor is missing", file, name);
    if (tensor->ne[1] > HEARTH_VOCAB_MAX)
        return hearth_fail(in->err, HEARTH_E_FORMAT, "E_HPARAM",
                           "%s: tensor '%s': too many rows (got %" PRIu64 ", need at most %" PRIu64 ")", file, name, tensor->ne[1],
                           HEARTH_VOCAB_MAX);
    *n_vocab = (uint32_t)tensor->ne[1];
    return HEARTH_OK;
}

static hearth_status read_name(struct reader *in, char *out, size_t size)
{
    struct hearth_view name = {(const uint8_t *)"", 0};
    char text[HEARTH_QUOTE_MAX];
    bool found;
    HEARTH_TRY(hearth_gguf_get_string(in->gguf, "general.name", &name, &found, in->err));
    (void)snprintf(out, size, "%.*s", (int)size - 1, hearth_quote(text, name.bytes, (size_t)name.size));
    return HEARTH_OK;
}

hearth_status hearth_hparams_read(struct hearth_hparams *out, const struct hearth_gguf *gguf, hearth_error *err)
{
    struct reader in = {.gguf = gguf, .err = err};
    struct values values = {.yarn_beta_fast = 32.0f, .yarn_beta_slow = 1.0f, .yarn_ext_factor = 1.0f};
    *out = (struct hearth_hparams){0};
    HEARTH_TRY(check_kind_of_file(&in));
    if (gguf->n_tensors == 0) {
        char file[HEARTH_QUOTE_MAX];
        return hearth_fail(err, HEARTH_E_FORMAT, "E_MISSING", "%s: header: no tensors, so there is nothing to run",
                           hearth_quote(file, gguf->file_name, strlen(gguf->file_name)));
    }
    HEARTH_TRY(read_arch(&in, &values.out));
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        HEARTH_TRY(read_field(&in, &fields[i], &values));
    values.out.embedding_multiplier = archs[values.out.arch].scales_embedding ? sqrtf((float)values.out.n_embd) : 1.0f;
    HEARTH_TRY(check_feed_forward(&in, &values));
    HEARTH_TRY(check_features(&in, &values));
    HEARTH_TRY(check_heads(&in, &values));
    HEARTH_TRY(check_rope(&in, &values));
    HEARTH_TRY(check_windows(&in, &values.out));
    HEARTH_TRY(check_layers(&in, values.out.n_layer));
    HEARTH_TRY(read_vocabulary_size(&in, &values.out.n_vocab));
    HEARTH_TRY(read_name(&in, values.out.name, sizeof values.out.name));
    *out = values.out;
    return HEARTH_OK;
}
