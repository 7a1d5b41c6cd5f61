/* Formats of models that bring no template, written as templates themselves (spec chat.md chapter 2). */
#ifndef HEARTH_ENGINE_TEMPLATE_FAMILY_H
#define HEARTH_ENGINE_TEMPLATE_FAMILY_H

#include "vocab.h"

struct hearth_family {
    const char *name;
    const char *source; /* a template */
    const char *stop;   /* text that ends an answer beside the end token; NULL: none */
};

/* By name: chatml, llama2, alpaca, phi2; NULL for others. */
const struct hearth_family *hearth_family_find(const char *name);
/* For a model without a template, by what else its file says; NULL when nothing does: a base model. */
const struct hearth_family *hearth_family_of_model(const struct hearth_gguf *gguf, const struct hearth_vocab *vocab);

#endif
