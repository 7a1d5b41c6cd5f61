/* Known formats as templates, so that there is one way to render; and which of them a model without a template was trained on. */
#include "template/family.h"
#include <string.h>
#include <strings.h>

static const struct hearth_family families[] = {
    {"chatml",
     "{% for message in messages %}"
     "{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
     "{% endfor %}"
     "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
     NULL},
    /* The system's text stands inside the user turn that follows it. */
    {"llama2",
     "{% set ns = namespace(system='') %}"
     "{% for message in messages %}"
     "{% set content = message.content | trim %}"
     "{% if message.role == 'system' %}"
     "{% set ns.system = '<<SYS>>\\n' + content + '\\n<</SYS>>\\n\\n' %}"
     "{% elif message.role == 'user' %}"
     "{{ bos_token + '[INST] ' + ns.system + content + ' [/INST]' }}"
     "{% set ns.system = '' %}"
     "{% else %}"
     "{{ ' ' + content + ' ' + eos_token }}"
     "{% endif %}"
     "{% endfor %}",
     NULL},
    {"alpaca",
     "{% if messages[0].role != 'system' %}"
     "{{ 'Below is an instruction that describes a task. "
     "Write a response that appropriately completes the request.\\n\\n' }}"
     "{% endif %}"
     "{% for message in messages %}"
     "{% if message.role == 'user' %}{{ '### Instruction:\\n' }}"
     "{% elif message.role == 'assistant' %}{{ '### Response:\\n' }}{% endif %}"
     "{{ message.content + '\\n\\n' }}"
     "{% endfor %}"
     "{% if add_generation_prompt %}{{ '### Response:\\n' }}{% endif %}",
     "### Instruction:"},
    {"phi2",
     "{% for message in messages %}"
     "{% if message.role == 'user' %}{{ 'Instruct: ' }}"
     "{% elif message.role == 'assistant' %}{{ 'Output: ' }}{% endif %}"
     "{{ message.content + '\\n' }}"
     "{% endfor %}"
     "{% if add_generation_prompt %}{{ 'Output:' }}{% endif %}",
     "\nInstruct:"},
};

const struct hearth_family *hearth_family_find(const char *name)
{
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        if (strcmp(families[i].name, name) == 0)
            return &families[i];
    }
    return NULL;
}

static bool view_is(struct hearth_view view, const char *text)
{
    return view.size == strlen(text) && memcmp(view.bytes, text, view.size) == 0;
}

/* Without regard to the case of letters. */
static bool view_has(struct hearth_view view, const char *text)
{
    const size_t n = strlen(text);
    for (uint64_t at = 0; view.size >= n && at <= view.size - n; at++) {
        if (strncasecmp((const char *)view.bytes + at, text, n) == 0)
            return true;
    }
    return false;
}

static bool has_token(const struct hearth_vocab *vocab, const char *text)
{
    uint64_t cursor = 0;
    for (uint32_t i = 0; i < vocab->n_tokens; i++) {
        if (view_is(hearth_gguf_next_string(vocab->tokens, &cursor), text))
            return true;
    }
    return false;
}

const struct hearth_family *hearth_family_of_model(const struct hearth_gguf *gguf, const struct hearth_vocab *vocab)
{
    struct hearth_view architecture = {0};
    bool found;
    (void)hearth_gguf_get_string(gguf, "general.architecture", &architecture, &found, NULL);
    if (has_token(vocab, "<|im_start|>"))
        return hearth_family_find("chatml");
    if (view_is(architecture, "phi2"))
        return hearth_family_find("phi2");
    if (view_has(vocab->general_name, "alpaca"))
        return hearth_family_find("alpaca");
    const bool llama2 = view_has(vocab->general_name, "llama-2") || view_has(vocab->general_name, "llama 2");
    if (llama2 && view_has(vocab->general_name, "chat"))
        return hearth_family_find("llama2");
    return view_has(vocab->general_name, "codellama") && view_has(vocab->general_name, "instruct") ? hearth_family_find("llama2")
                                                                                                   : NULL;
}
