/* The hyper-parameters of a model: one table of keys with ranges and relations decides what is accepted. */
#ifndef HEARTH_LOADER_HPARAMS_H
#define HEARTH_LOADER_HPARAMS_H

#include "gguf.h"

enum hearth_arch { HEARTH_ARCH_LLAMA, HEARTH_ARCH_COUNT };

struct hearth_hparams {
    enum hearth_arch arch;
    char name[65];    /* general.name, printable, for people */
    uint32_t n_vocab; /* rows of token_embd.weight */
    uint32_t n_layer, n_embd, n_ff;
    uint32_t n_head, n_head_kv; /* n_head % n_head_kv == 0 */
    uint32_t head_dim;          /* key_length == value_length */
    uint32_t n_rot;             /* even, <= head_dim */
    uint32_t n_ctx_train;
    float rms_eps;
    float rope_freq_base;
    float rope_scale;      /* linear: positions are multiplied by 1 / factor; 1 when unscaled */
    float attention_scale; /* 1 / sqrt(head_dim) unless the file says otherwise */
};

/* Read and check. Errors: E_FORMAT with E_MISSING, E_KVTYPE, E_HPARAM naming the key; E_UNSUPPORTED with E_ARCH for an unknown
 * architecture, E_SPLIT for a split file, and for features this version does not run (experts, YaRN and longrope scaling, sliding
 * windows). */
hearth_status hearth_hparams_read(struct hearth_hparams *out, const struct hearth_gguf *gguf, hearth_error *err);

#endif
