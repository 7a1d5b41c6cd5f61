/* The hyper-parameters of a model: one table of keys with ranges and relations decides what is accepted. */
#ifndef HEARTH_LOADER_HPARAMS_H
#define HEARTH_LOADER_HPARAMS_H

#include "common/limits.h"
#include "gguf.h"

enum hearth_arch {
    HEARTH_ARCH_LLAMA,
    HEARTH_ARCH_GEMMA,
    HEARTH_ARCH_GEMMA2,
    HEARTH_ARCH_GEMMA3,
    HEARTH_ARCH_PHI2,
    HEARTH_ARCH_PHI3,
    HEARTH_ARCH_QWEN2,
    HEARTH_ARCH_QWEN3,
    HEARTH_ARCH_QWEN3MOE,
    HEARTH_ARCH_COUNT
};

/* What an architecture's name says and no key does. */
enum hearth_norm_kind { HEARTH_NORM_RMS, HEARTH_NORM_LAYER };
enum hearth_gate { HEARTH_GATE_SILU, HEARTH_GATE_GELU };             /* of a gated feed-forward network */
enum hearth_rope_pairs { HEARTH_ROPE_ADJACENT, HEARTH_ROPE_HALVES }; /* (2i, 2i + 1), or (i, i + n_rot / 2) as in GPT-NeoX */

struct hearth_hparams {
    enum hearth_arch arch;
    enum hearth_norm_kind norm; /* of every normalisation over n_embd */
    enum hearth_rope_pairs rope_pairs;
    enum hearth_gate gate;
    char name[65];    /* general.name, printable, for people */
    uint32_t n_vocab; /* rows of token_embd.weight */
    uint32_t n_layer, n_embd;
    uint32_t n_ff;                    /* of each expert, where there are experts */
    uint32_t n_expert, n_expert_used; /* of each layer, and of them for each token; 0: no experts */
    float expert_scale;               /* what the weights of a token's experts are multiplied by */
    uint32_t n_head, n_head_kv;       /* n_head % n_head_kv == 0 */
    uint32_t head_dim;                /* key_length == value_length */
    uint32_t n_rot;                   /* even, <= head_dim */
    uint32_t n_ctx_train;
    float norm_eps;
    float embedding_multiplier; /* 1, or sqrt(n_embd) for gemma, gemma2 and gemma3 */
    float rope_freq_base;
    float rope_local_base; /* of layers with a window, which then have no scaling; 0: they are like the others */
    float rope_scale;      /* linear and yarn: positions are multiplied by 1 / factor; 1 when unscaled */
    /* yarn: pairs up to yarn_low keep their frequency, from yarn_high on they are scaled, between them they are mixed; this much of
     * it: 0 for all other scalings. */
    double yarn_low, yarn_high, yarn_mix;
    double rope_magnitude;                  /* cos and sin are multiplied by it */
    uint32_t rope_n_ctx;                    /* longrope: contexts beyond it take the long factors */
    float attention_scale;                  /* 1 / sqrt(head_dim) unless the file says otherwise */
    float attention_softcap, final_softcap; /* of scores, of logits; 0: none */
    uint32_t window;        /* positions that a query sees in layers with a window, its own among them; 0: all of them */
    bool window_when_asked; /* it is in the file, but common practice is to see everything */
    bool windowed[HEARTH_LAYERS_MAX];
};

/* Read and check. Errors: E_FORMAT with E_MISSING, E_KVTYPE, E_HPARAM naming the key; E_UNSUPPORTED with E_ARCH for an unknown
 * architecture, and for features this version does not run (shared experts). */
hearth_status hearth_hparams_read(struct hearth_hparams *out, const struct hearth_gguf *gguf, hearth_error *err);

#endif
