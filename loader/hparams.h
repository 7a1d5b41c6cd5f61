/* The hyper-parameters of a model: one table of keys with ranges and relations decides what is accepted. */
#ifndef HEARTH_LOADER_HPARAMS_H
#define HEARTH_LOADER_HPARAMS_H

#include "gguf.h"

enum hearth_arch {
    HEARTH_ARCH_LLAMA,
    HEARTH_ARCH_GEMMA,
    HEARTH_ARCH_PHI2,
    HEARTH_ARCH_PHI3,
    HEARTH_ARCH_QWEN2,
    HEARTH_ARCH_QWEN3,
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
    uint32_t n_layer, n_embd, n_ff;
    uint32_t n_head, n_head_kv; /* n_head % n_head_kv == 0 */
    uint32_t head_dim;          /* key_length == value_length */
    uint32_t n_rot;             /* even, <= head_dim */
    uint32_t n_ctx_train;
    float norm_eps;
    float embedding_multiplier; /* 1, or sqrt(n_embd) for gemma */
    float rope_freq_base;
    float rope_scale;      /* linear: positions are multiplied by 1 / factor; 1 when unscaled */
    float attention_scale; /* 1 / sqrt(head_dim) unless the file says otherwise */
};

/* Read and check. Errors: E_FORMAT with E_MISSING, E_KVTYPE, E_HPARAM naming the key; E_UNSUPPORTED with E_ARCH for an unknown
 * architecture, and for features this version does not run (experts, YaRN and longrope scaling, sliding windows). */
hearth_status hearth_hparams_read(struct hearth_hparams *out, const struct hearth_gguf *gguf, hearth_error *err);

#endif
