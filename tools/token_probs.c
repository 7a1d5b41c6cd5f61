/* A record is a struct record and the bytes of its text; one of a chosen token is followed by the records of its likeliest. */
#include "token_probs.h"

#include "output.h"

struct record {
    int32_t id;
    float logprob;
    uint32_t n_text;
    uint32_t n_top; /* records that follow and belong to this one */
};

static void append_record(struct token_probs *p, int32_t id, float logprob, const char *text, size_t n_text, uint32_t n_top)
{
    const struct record record = {.id = id, .logprob = logprob, .n_text = (uint32_t)n_text, .n_top = n_top};
    bytes_append(&p->records, &record, sizeof record);
    bytes_append(&p->records, text, n_text);
}

/* A text loses the space before its first word, so the token is written twice: the second time it is whole. What is longer than the
 * buffer stays without text; no vocabulary has it. */
static void append_likely(struct token_probs *p, const hearth_model *model, const hearth_logprob *likely)
{
    const int32_t twice[2] = {likely->token, likely->token};
    char text[2048];
    size_t n = 0;
    if (hearth_detokenize(model, twice, 2, text, sizeof text, &n, NULL) != HEARTH_OK)
        n = 0;
    append_record(p, likely->token, likely->logprob, text + n / 2, n - n / 2, 0);
}

void token_probs_keep(struct token_probs *p, const hearth_model *model, const hearth_token *token)
{
    append_record(p, token->id, token->logprob, token->text, token->text_bytes, token->n_top);
    for (uint32_t i = 0; i < token->n_top; i++)
        append_likely(p, model, &token->top[i]);
}

/* The record at *at, which moves behind it. */
static json_t *next(const struct token_probs *p, size_t *at, uint32_t *n_top)
{
    struct record record;
    memcpy(&record, p->records.bytes + *at, sizeof record);
    const char *text = p->records.bytes + *at + sizeof record;
    *at += sizeof record + record.n_text;
    *n_top = record.n_top;
    return json_pack("{s:i, s:o, s:f}", "id", (int)record.id, "text", output_text(text, record.n_text), "logprob",
                     (double)record.logprob);
}

json_t *token_probs_json(const struct token_probs *p)
{
    json_t *tokens = json_array();
    for (size_t at = 0; at < p->records.n;) {
        uint32_t n_top;
        uint32_t none;
        json_t *token = next(p, &at, &n_top);
        json_t *top = json_array();
        for (uint32_t i = 0; i < n_top; i++)
            output_append(top, next(p, &at, &none));
        output_set(token, "top", top);
        output_append(tokens, token);
    }
    return tokens;
}

void token_probs_free(struct token_probs *p)
{
    free(p->records.bytes);
    *p = (struct token_probs){0};
}
