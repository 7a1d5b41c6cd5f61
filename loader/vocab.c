/* The vocabulary section: which arrays there are, whether they have the right types and lengths, which ids mean what. Views and
 * numbers only. What would make a tokenizer read out of bounds, loop or emit an id that does not exist is an error; what merely
 * makes it poorer is a warning. */
#include "vocab.h"
#include "common/limits.h"
#include "common/status.h"

#define PREFIX "tokenizer.ggml."

struct reader {
    const struct hearth_gguf *gguf;
    hearth_log_fn *log;
    void *log_user;
    hearth_error *err;
};

/* "KEY: WHAT" with the file before it. */
HEARTH_PRINTF(5, 6)
static hearth_status reject(const struct reader *in, hearth_status status, const char *detail, const char *key, const char *format,
                            ...)
{
    char file[HEARTH_QUOTE_MAX];
    char what[200];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return hearth_fail(in->err, status, detail, "%s: key '%s': %s",
                       hearth_quote(file, in->gguf->file_name, strlen(in->gguf->file_name)), key, what);
}

HEARTH_PRINTF(2, 3)
static void warn(const struct reader *in, const char *format, ...)
{
    char message[300];
    if (!in->log)
        return;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    in->log(1, message, in->log_user);
}

static bool view_is(struct hearth_view view, const char *text)
{
    return view.size == strlen(text) && memcmp(view.bytes, text, (size_t)view.size) == 0;
}

/* ---- Arrays -------------------------------------------------------------------------------------------------------- */

static hearth_status read_model(const struct reader *in, struct hearth_vocab *out)
{
    char name[HEARTH_QUOTE_MAX];
    bool found;
    HEARTH_TRY(hearth_gguf_get_string(in->gguf, PREFIX "model", &out->model_name, &found, in->err));
    if (!found)
        return reject(in, HEARTH_E_FORMAT, "E_MISSING", PREFIX "model", "the key is missing");
    if (view_is(out->model_name, "llama"))
        out->model = HEARTH_VOCAB_SPM;
    else if (view_is(out->model_name, "gpt2"))
        out->model = HEARTH_VOCAB_BPE;
    else
        return reject(in, HEARTH_E_UNSUPPORTED, NULL, PREFIX "model", "unknown tokenizer (got '%s', need 'llama' or 'gpt2')",
                      hearth_quote(name, out->model_name.bytes, (size_t)out->model_name.size));
    HEARTH_TRY(hearth_gguf_get_string(in->gguf, PREFIX "pre", &out->pre, &found, in->err));
    if (out->model == HEARTH_VOCAB_BPE && out->pre.size == 0)
        warn(in, "the file names no pre-tokenizer; the default one may give other tokens than the model was trained with");
    HEARTH_TRY(hearth_gguf_get_string(in->gguf, "tokenizer.chat_template", &out->chat_template, &found, in->err));
    return hearth_gguf_get_string(in->gguf, "general.name", &out->general_name, &found, in->err);
}

static hearth_status read_tokens(const struct reader *in, struct hearth_vocab *out, uint64_t n_embedding_rows)
{
    static const char key[] = PREFIX "tokens";
    HEARTH_TRY(hearth_gguf_get_array(in->gguf, key, HEARTH_GGUF_STRING, &out->tokens, in->err));
    if (!out->tokens)
        return reject(in, HEARTH_E_FORMAT, "E_MISSING", key, "the key is missing");
    const uint64_t n = out->tokens->count;
    if (n < 1 || n > HEARTH_VOCAB_MAX)
        return reject(in, HEARTH_E_FORMAT, "E_VOCAB", key, "bad number of tokens (got %" PRIu64 ", need 1 to %" PRIu64 ")", n,
                      HEARTH_VOCAB_MAX);
    if (n_embedding_rows != 0 && n != n_embedding_rows)
        return reject(in, HEARTH_E_FORMAT, "E_VOCAB", key,
                      "not one token for each embedding row (got %" PRIu64 ", need %" PRIu64 ")", n, n_embedding_rows);
    out->n_tokens = (uint32_t)n;
    out->text_bytes = out->tokens->value.size - 8 * n; /* each string has a length of 8 bytes before it */
    return HEARTH_OK;
}

/* Merging compares scores, so a NaN among them would leave the order undefined. */
static hearth_status read_scores(const struct reader *in, struct hearth_vocab *out)
{
    static const char key[] = PREFIX "scores";
    if (out->model != HEARTH_VOCAB_SPM)
        return HEARTH_OK;
    HEARTH_TRY(hearth_gguf_get_array(in->gguf, key, HEARTH_GGUF_F32, &out->scores, in->err));
    if (!out->scores)
        return reject(in, HEARTH_E_FORMAT, "E_MISSING", key, "the key is missing");
    if (out->scores->count < out->n_tokens)
        return reject(in, HEARTH_E_FORMAT, "E_VOCAB", key, "fewer scores than tokens (got %" PRIu64 ", need %" PRIu32 ")",
                      out->scores->count, out->n_tokens);
    for (uint32_t i = 0; i < out->n_tokens; i++) {
        const float score = hearth_gguf_f32_at(out->scores, i);
        if (score != score)
            return reject(in, HEARTH_E_FORMAT, "E_VOCAB", key, "the score of token %" PRIu32 " is not a number", i);
    }
    return HEARTH_OK;
}

static hearth_status read_token_types(const struct reader *in, struct hearth_vocab *out)
{
    static const char key[] = PREFIX "token_type";
    const struct hearth_gguf_pair *pair = hearth_gguf_find(in->gguf, key);
    const bool is_unsigned = pair && pair->type == HEARTH_GGUF_ARRAY && pair->element_type == HEARTH_GGUF_U32;
    HEARTH_TRY(hearth_gguf_get_array(in->gguf, key, is_unsigned ? HEARTH_GGUF_U32 : HEARTH_GGUF_I32, &out->token_types, in->err));
    if (!out->token_types)
        return HEARTH_OK;
    if (out->token_types->count < out->n_tokens)
        return reject(in, HEARTH_E_FORMAT, "E_VOCAB", key, "fewer types than tokens (got %" PRIu64 ", need %" PRIu32 ")",
                      out->token_types->count, out->n_tokens);
    for (uint32_t i = 0; i < out->n_tokens; i++)
        if (hearth_gguf_u32_at(out->token_types, i) > HEARTH_TOKEN_BYTE)
            return reject(in, HEARTH_E_FORMAT, "E_VOCAB", key, "no such type of token %" PRIu32 " (got %" PRId32 ", need 0 to %d)",
                          i, (int32_t)hearth_gguf_u32_at(out->token_types, i), HEARTH_TOKEN_BYTE);
    return HEARTH_OK;
}

/* A merge is two parts with one space between them. */
static bool is_merge(struct hearth_view text)
{
    const uint8_t *space = text.size > 0 ? memchr(text.bytes, ' ', (size_t)text.size) : NULL;
    if (!space || space == text.bytes)
        return false;
    const size_t right = (size_t)(text.bytes + text.size - space) - 1;
    return right > 0 && !memchr(space + 1, ' ', right);
}

static hearth_status read_merges(const struct reader *in, struct hearth_vocab *out)
{
    static const char key[] = PREFIX "merges";
    if (out->model != HEARTH_VOCAB_BPE)
        return HEARTH_OK;
    HEARTH_TRY(hearth_gguf_get_array(in->gguf, key, HEARTH_GGUF_STRING, &out->merges, in->err));
    if (!out->merges)
        return reject(in, HEARTH_E_FORMAT, "E_MISSING", key, "the key is missing");
    uint64_t cursor = 0;
    for (uint64_t i = 0; i < out->merges->count; i++) {
        char quoted[HEARTH_QUOTE_MAX];
        const struct hearth_view text = hearth_gguf_next_string(out->merges, &cursor);
        if (!is_merge(text))
            return reject(in, HEARTH_E_FORMAT, "E_MERGE", key, "merge %" PRIu64 " is not two parts with one space (got '%s')", i,
                          hearth_quote(quoted, text.bytes, (size_t)text.size));
    }
    return HEARTH_OK;
}

/* ---- Texts of tokens ----------------------------------------------------------------------------------------------- */

/* The length of the UTF-8 character at the beginning of n > 0 bytes, 0 when there is none: no overlong forms, no surrogates,
 * nothing above U+10FFFF. */
static size_t utf8_length(const uint8_t *bytes, uint64_t n)
{
    const uint8_t first = bytes[0];
    if (first < 0x80)
        return 1;
    const size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || n < length)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
    const bool overlong = (first == 0xe0 && bytes[1] < 0xa0) || (first == 0xf0 && bytes[1] < 0x90);
    const bool too_large = (first == 0xed && bytes[1] >= 0xa0) || (first == 0xf4 && bytes[1] >= 0x90);
    return overlong || too_large ? 0 : length;
}

static bool is_utf8(struct hearth_view text)
{
    for (uint64_t i = 0; i < text.size;) {
        const size_t length = utf8_length(text.bytes + i, text.size - i);
        if (length == 0)
            return false;
        i += length;
    }
    return true;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The value of "<0xNN>", or -1. */
static int byte_token_value(struct hearth_view text)
{
    if (text.size != 6 || memcmp(text.bytes, "<0x", 3) != 0 || text.bytes[5] != '>')
        return -1;
    const int high = hex_digit(text.bytes[3]);
    const int low = hex_digit(text.bytes[4]);
    return high < 0 || low < 0 ? -1 : 16 * high + low;
}

struct text_findings {
    uint32_t n_empty, n_invalid;
    uint32_t first_empty, first_invalid;
    bool has_byte[256];
};

static hearth_status check_text(const struct reader *in, const struct hearth_vocab *vocab, uint32_t id, struct hearth_view text,
                                struct text_findings *findings)
{
    const uint32_t type = vocab->token_types ? hearth_gguf_u32_at(vocab->token_types, id) : HEARTH_TOKEN_NORMAL;
    char quoted[HEARTH_QUOTE_MAX];
    if (text.size == 0 && type == HEARTH_TOKEN_CONTROL)
        return reject(in, HEARTH_E_FORMAT, "E_VOCAB", PREFIX "tokens", "control token %" PRIu32 " is empty", id);
    if (text.size == 0 && findings->n_empty++ == 0)
        findings->first_empty = id;
    if (!is_utf8(text) && findings->n_invalid++ == 0)
        findings->first_invalid = id;
    if (type != HEARTH_TOKEN_BYTE || vocab->model != HEARTH_VOCAB_SPM)
        return HEARTH_OK;
    const int value = byte_token_value(text);
    if (value < 0)
        return reject(in, HEARTH_E_FORMAT, "E_VOCAB", PREFIX "tokens",
                      "byte token %" PRIu32 " is not of the form <0xNN> (got '%s')", id,
                      hearth_quote(quoted, text.bytes, (size_t)text.size));
    findings->has_byte[value] = true;
    return HEARTH_OK;
}

static hearth_status check_texts(const struct reader *in, const struct hearth_vocab *vocab)
{
    struct text_findings findings = {0};
    uint64_t cursor = 0;
    for (uint32_t i = 0; i < vocab->n_tokens; i++)
        HEARTH_TRY(check_text(in, vocab, i, hearth_gguf_next_string(vocab->tokens, &cursor), &findings));
    if (findings.n_empty > 0)
        warn(in, "%" PRIu32 " tokens have no text and are never matched (the first is %" PRIu32 ")", findings.n_empty,
             findings.first_empty);
    if (findings.n_invalid > 0)
        warn(in, "%" PRIu32 " tokens are not valid UTF-8 (the first is %" PRIu32 ")", findings.n_invalid, findings.first_invalid);
    int n_bytes = 0;
    for (int i = 0; i < 256; i++)
        n_bytes += findings.has_byte[i];
    if (vocab->model == HEARTH_VOCAB_SPM && n_bytes < 256)
        warn(in, "the vocabulary has %d of 256 byte tokens; other unknown bytes become the unknown token", n_bytes);
    return HEARTH_OK;
}

/* ---- Special ids --------------------------------------------------------------------------------------------------- */

static const struct {
    const char *key;
    size_t offset;       /* of an int32_t in struct hearth_vocab */
    int32_t defaults[2]; /* by enum hearth_vocab_model */
    bool required;       /* an id that does not exist is an error, not a warning */
} special_ids[] = {
    {PREFIX "bos_token_id", offsetof(struct hearth_vocab, bos), {1, 11}, true},
    {PREFIX "eos_token_id", offsetof(struct hearth_vocab, eos), {2, 11}, true},
    {PREFIX "eot_token_id", offsetof(struct hearth_vocab, eot), {HEARTH_TOKEN_NONE, HEARTH_TOKEN_NONE}, true},
    {PREFIX "eom_token_id", offsetof(struct hearth_vocab, eom), {HEARTH_TOKEN_NONE, HEARTH_TOKEN_NONE}, true},
    {PREFIX "unknown_token_id", offsetof(struct hearth_vocab, unk), {0, HEARTH_TOKEN_NONE}, false},
    {PREFIX "padding_token_id", offsetof(struct hearth_vocab, pad), {HEARTH_TOKEN_NONE, HEARTH_TOKEN_NONE}, false},
    {PREFIX "prefix_token_id", offsetof(struct hearth_vocab, fim_prefix), {HEARTH_TOKEN_NONE, HEARTH_TOKEN_NONE}, false},
    {PREFIX "suffix_token_id", offsetof(struct hearth_vocab, fim_suffix), {HEARTH_TOKEN_NONE, HEARTH_TOKEN_NONE}, false},
    {PREFIX "middle_token_id", offsetof(struct hearth_vocab, fim_middle), {HEARTH_TOKEN_NONE, HEARTH_TOKEN_NONE}, false},
    {PREFIX "fim_pre_token_id", offsetof(struct hearth_vocab, fim_prefix), {HEARTH_TOKEN_NONE, HEARTH_TOKEN_NONE}, false},
    {PREFIX "fim_suf_token_id", offsetof(struct hearth_vocab, fim_suffix), {HEARTH_TOKEN_NONE, HEARTH_TOKEN_NONE}, false},
    {PREFIX "fim_mid_token_id", offsetof(struct hearth_vocab, fim_middle), {HEARTH_TOKEN_NONE, HEARTH_TOKEN_NONE}, false},
};

/* A negative number, -1 above all, is an id that does not exist. A row without a default leaves alone what one before it found. */
static hearth_status read_id(const struct reader *in, const struct hearth_vocab *vocab, size_t row, int32_t *out)
{
    const char *key = special_ids[row].key;
    const struct hearth_gguf_pair *pair = hearth_gguf_find(in->gguf, key);
    const int32_t fallback = special_ids[row].defaults[vocab->model];
    uint64_t id = UINT64_MAX;
    bool found = true;
    if (!pair || !hearth_gguf_is_negative(pair))
        HEARTH_TRY(hearth_gguf_get_u64(in->gguf, key, &id, &found, in->err));
    if (!found && fallback != HEARTH_TOKEN_NONE)
        *out = fallback < (int32_t)vocab->n_tokens ? fallback : HEARTH_TOKEN_NONE;
    if (!found)
        return HEARTH_OK;
    *out = HEARTH_TOKEN_NONE;
    if (id < vocab->n_tokens)
        *out = (int32_t)id;
    else if (special_ids[row].required)
        return reject(in, HEARTH_E_FORMAT, "E_TOKENID", key, "no such token (got %" PRId64 ", need below %" PRIu32 ")", (int64_t)id,
                      vocab->n_tokens);
    else
        warn(in, "%s names no token (got %" PRId64 ", need below %" PRIu32 ") and is ignored", key, (int64_t)id, vocab->n_tokens);
    return HEARTH_OK;
}

static hearth_status read_ids(const struct reader *in, struct hearth_vocab *out)
{
    static const size_t n = sizeof special_ids / sizeof special_ids[0];
    int32_t id = HEARTH_TOKEN_NONE;
    for (size_t i = 0; i < n; i++)
        memcpy((char *)out + special_ids[i].offset, &id, sizeof id);
    for (size_t i = 0; i < n; i++) {
        memcpy(&id, (char *)out + special_ids[i].offset, sizeof id);
        HEARTH_TRY(read_id(in, out, i, &id));
        memcpy((char *)out + special_ids[i].offset, &id, sizeof id);
    }
    return HEARTH_OK;
}

/* Families of byte-level BPE whose texts begin with the beginning-of-text token although the file does not say so. */
static bool adds_bos_by_default(const struct hearth_vocab *vocab)
{
    static const char *const names[] = {"llama-bpe", "llama3", "llama-v3",     "falcon3", "falcon-h1", "pixtral",
                                        "midm-2.0",  "lfm2",   "jina-v5-nano", "tekken",  "chameleon"};
    if (vocab->model == HEARTH_VOCAB_SPM)
        return true;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (view_is(vocab->pre, names[i]))
            return true;
    return false;
}

/* A switch that adds a special token needs one. */
static hearth_status read_adding(const struct reader *in, const char *key, int32_t id, bool *out)
{
    bool found;
    HEARTH_TRY(hearth_gguf_get_bool(in->gguf, key, out, &found, in->err));
    if (*out && id == HEARTH_TOKEN_NONE)
        return reject(in, HEARTH_E_FORMAT, "E_TOKENID", key, "is true, but there is no such token");
    return HEARTH_OK;
}

static hearth_status read_switches(const struct reader *in, struct hearth_vocab *out)
{
    bool found;
    out->add_bos = adds_bos_by_default(out) && out->bos != HEARTH_TOKEN_NONE;
    HEARTH_TRY(read_adding(in, PREFIX "add_bos_token", out->bos, &out->add_bos));
    HEARTH_TRY(read_adding(in, PREFIX "add_eos_token", out->eos, &out->add_eos));
    out->add_space_prefix = out->model == HEARTH_VOCAB_SPM;
    return hearth_gguf_get_bool(in->gguf, PREFIX "add_space_prefix", &out->add_space_prefix, &found, in->err);
}

hearth_status hearth_vocab_read(struct hearth_vocab *out, const struct hearth_gguf *gguf, uint64_t n_embedding_rows,
                                hearth_log_fn *log, void *log_user, hearth_error *err)
{
    const struct reader in = {.gguf = gguf, .log = log, .log_user = log_user, .err = err};
    struct hearth_vocab vocab = {0};
    *out = (struct hearth_vocab){0};
    HEARTH_TRY(read_model(&in, &vocab));
    HEARTH_TRY(read_tokens(&in, &vocab, n_embedding_rows));
    HEARTH_TRY(read_scores(&in, &vocab));
    HEARTH_TRY(read_token_types(&in, &vocab));
    HEARTH_TRY(read_merges(&in, &vocab));
    HEARTH_TRY(check_texts(&in, &vocab));
    HEARTH_TRY(read_ids(&in, &vocab));
    HEARTH_TRY(read_switches(&in, &vocab));
    if (vocab.eos == HEARTH_TOKEN_NONE && vocab.eot == HEARTH_TOKEN_NONE && vocab.eom == HEARTH_TOKEN_NONE)
        warn(&in, "the file names no token that ends a text");
    *out = vocab;
    return HEARTH_OK;
}

static void add_array(struct hearth_hash *hash, const struct hearth_gguf_pair *pair)
{
    hearth_hash_add(hash, pair ? pair->value.bytes : (const uint8_t *)"", pair ? (size_t)pair->value.size : 0);
}

struct hearth_hash hearth_vocab_identity(const struct hearth_vocab *v)
{
    struct hearth_hash hash = {0, 0};
    const int32_t numbers[] = {(int32_t)v->model,
                               v->bos,
                               v->eos,
                               v->eot,
                               v->eom,
                               v->unk,
                               v->pad,
                               v->fim_prefix,
                               v->fim_suffix,
                               v->fim_middle,
                               v->add_bos,
                               v->add_eos,
                               v->add_space_prefix};
    hearth_hash_add(&hash, numbers, sizeof numbers);
    hearth_hash_add(&hash, v->pre.bytes ? v->pre.bytes : (const uint8_t *)"", (size_t)v->pre.size);
    add_array(&hash, v->tokens);
    add_array(&hash, v->scores);
    add_array(&hash, v->token_types);
    add_array(&hash, v->merges);
    return hash;
}
