/* What all tokenizers have in common: the kinds of tokens, the tables, special tokens in a text, ids to text.
 *
 * Everything a token shows is kept as it is shown, so that a piece is a plain view: U+2581 as a space, the byte alphabet as
 * bytes. The algorithms are in tokenizer_spm.c and tokenizer_bpe.c, the merging itself in tokenizer_merge.c. */
#include "common/checked.h"
#include "common/half.h"
#include "common/status.h"
#include "tokenizer_parts.h"
#include "utf8.h"

/* ---- Names with a meaning ----------------------------------------------------------------------------------------- */

enum role {
    ROLE_NONE,
    ROLE_END,
    ROLE_END_HARMONY, /* an end, except where <|return|> and <|call|> are: there it only ends a message */
    ROLE_END_LLAMA,   /* an end, except where <|tool_response> is */
    ROLE_SHOWN,
    ROLE_PAD, /* fill-in-the-middle: the first name of each that exists is an end */
    ROLE_REPO,
    ROLE_SEPARATOR,
    ROLE_PREFIX, /* the three pieces of an infill prompt */
    ROLE_SUFFIX,
    ROLE_MIDDLE,
    ROLE_COUNT
};

static const struct name {
    const char *text;
    enum role role;
} names[] = {
    {"<|eot_id|>", ROLE_END},
    {"<|im_end|>", ROLE_END},
    {"<|end|>", ROLE_END_HARMONY},
    {"<|return|>", ROLE_END},
    {"<|call|>", ROLE_END},
    {"<|calls|>", ROLE_END},
    {"<|flush|>", ROLE_END},
    {"<end_of_turn>", ROLE_END},
    {"<|endoftext|>", ROLE_END},
    {"<|end_of_text|>", ROLE_END},
    {"</s>", ROLE_END_LLAMA},
    {"<|eom_id|>", ROLE_END},
    {"<EOT>", ROLE_END},
    {"_<EOT>", ROLE_END},
    {"[EOT]", ROLE_END},
    {"[EOS]", ROLE_END},
    {"<end_of_utterance>", ROLE_END},
    {"<eos>", ROLE_END},
    {"<turn|>", ROLE_END},
    {"<|tool_response>", ROLE_END},
    {"<\xef\xbd\x9c"
     "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>",
     ROLE_END},
    {"[e~[", ROLE_END},
    {"<|channel|>", ROLE_SHOWN},
    {"<|message|>", ROLE_SHOWN},
    {"<|start|>", ROLE_SHOWN},
    {"<|constrain|>", ROLE_SHOWN},
    {"<|fim_pad|>", ROLE_PAD},
    {"<fim-pad>", ROLE_PAD},
    {"<fim_pad>", ROLE_PAD},
    {"<PAD>", ROLE_PAD},
    {"[PAD]", ROLE_PAD},
    {"<|fim_repo|>", ROLE_REPO},
    {"<|repo_name|>", ROLE_REPO},
    {"<fim-repo>", ROLE_REPO},
    {"<REPO>", ROLE_REPO},
    {"<reponame>", ROLE_REPO},
    {"<|file_sep|>", ROLE_SEPARATOR},
    {"<|fim_prefix|>", ROLE_PREFIX},
    {"<fim-prefix>", ROLE_PREFIX},
    {"<fim_prefix>", ROLE_PREFIX},
    {"<\xef\xbd\x9c"
     "fim\xe2\x96\x81"
     "begin\xef\xbd\x9c>",
     ROLE_PREFIX},
    {"<PRE>", ROLE_PREFIX},
    {"\xe2\x96\x81<PRE>", ROLE_PREFIX},
    {"<|code_prefix|>", ROLE_PREFIX},
    {"<|prefix|>", ROLE_PREFIX},
    {"<|fim_suffix|>", ROLE_SUFFIX},
    {"<fim-suffix>", ROLE_SUFFIX},
    {"<fim_suffix>", ROLE_SUFFIX},
    {"<\xef\xbd\x9c"
     "fim\xe2\x96\x81hole\xef\xbd\x9c>",
     ROLE_SUFFIX},
    {"<SUF>", ROLE_SUFFIX},
    {"\xe2\x96\x81<SUF>", ROLE_SUFFIX},
    {"<|code_suffix|>", ROLE_SUFFIX},
    {"<|suffix|>", ROLE_SUFFIX},
    {"<|fim_middle|>", ROLE_MIDDLE},
    {"<fim-middle>", ROLE_MIDDLE},
    {"<fim_middle>", ROLE_MIDDLE},
    {"<\xef\xbd\x9c"
     "fim\xe2\x96\x81"
     "end\xef\xbd\x9c>",
     ROLE_MIDDLE},
    {"<MID>", ROLE_MIDDLE},
    {"\xe2\x96\x81<MID>", ROLE_MIDDLE},
    {"<|code_middle|>", ROLE_MIDDLE},
    {"<|middle|>", ROLE_MIDDLE},
};
#define NAME_COUNT (sizeof names / sizeof names[0])

static bool view_is(struct hearth_view view, const char *text)
{
    const size_t n = strlen(text);
    return view.size == n && memcmp(view.bytes, text, n) == 0;
}

static const struct name *find_name(struct hearth_view text)
{
    if (text.size < 4 || !strchr("<[_\xe2", text.bytes[0]))
        return NULL;
    for (size_t i = 0; i < NAME_COUNT; i++) {
        if (view_is(text, names[i].text))
            return &names[i];
    }
    return NULL;
}

static bool contains(struct hearth_view view, const char *lower_case_text)
{
    const size_t n = strlen(lower_case_text);
    for (size_t i = 0; i + n <= view.size; i++) {
        size_t j = 0;
        while (j < n && (view.bytes[i + j] >= 'A' && view.bytes[i + j] <= 'Z' ? view.bytes[i + j] + 32 : view.bytes[i + j]) ==
                            (uint8_t)lower_case_text[j])
            j++;
        if (j == n)
            return true;
    }
    return false;
}

/* ---- The survey: every token's kind, every table's size ------------------------------------------------------------ */

struct survey {
    const struct hearth_vocab *vocab;
    const char *file_name;
    bool harmony, tool_response; /* exceptions of 7.3 */
    bool phi3, byte_level;
    const struct hearth_pretokenizer_name *pretokenizer; /* byte-level BPE */
    struct hearth_merges merges;
    int32_t by_role[ROLE_COUNT]; /* from PAD on: the id, and the name it was found by */
    const struct name *name_of[ROLE_COUNT];
    uint32_t n_merge, n_special, n_slots;
    uint64_t text_bytes, max_piece;
    uint64_t merge_text_bytes;
    /* Places in the block. */
    uint64_t at_offsets, at_ranks, at_kinds, at_slots, at_special, at_text, bytes;
    uint64_t at_merge_slots, at_merge_offsets, at_merge_lefts, at_merge_text, at_pretokenizer;
};

/* The character at p as merging sees it: a space or U+2581 is a single 0x20, a byte that is no UTF-8 stands alone. Writes it to
 * out[*out_n], returns the bytes read. */
size_t hearth_tokenizer_next_symbol(const uint8_t *p, size_t n, uint8_t out[4], size_t *out_n)
{
    size_t need;
    const size_t have = hearth_utf8_take(p, n, &need);
    if (have == 3 && need == 3 && memcmp(p, "\xe2\x96\x81", 3) == 0) {
        out[0] = ' ';
        *out_n = 1;
        return 3;
    }
    *out_n = have == need ? have : 1;
    memcpy(out, p, *out_n);
    return *out_n;
}

static size_t symbols_bytes(struct hearth_view text)
{
    size_t total = 0;
    for (size_t i = 0; i < text.size;) {
        uint8_t symbol[4];
        size_t n;
        i += hearth_tokenizer_next_symbol(text.bytes + i, text.size - i, symbol, &n);
        total += n;
    }
    return total;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

/* The value of "<0xHH>", or -1. */
static int byte_value(struct hearth_view text)
{
    if (text.size != 6 || memcmp(text.bytes, "<0x", 3) != 0 || text.bytes[5] != '>')
        return -1;
    const int high = hex_digit(text.bytes[3]);
    const int low = hex_digit(text.bytes[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static uint32_t type_after_rules(const struct survey *survey, const struct name *name, int32_t id, struct hearth_view text,
                                 bool *end)
{
    const struct hearth_vocab *vocab = survey->vocab;
    uint32_t type = vocab->token_types ? hearth_gguf_u32_at(vocab->token_types, (uint64_t)id) : HEARTH_TOKEN_NORMAL;
    if (type > HEARTH_TOKEN_BYTE)
        type = HEARTH_TOKEN_UNDEFINED;
    if (type == HEARTH_TOKEN_BYTE && survey->byte_level)
        type = HEARTH_TOKEN_NORMAL; /* the alphabet has all bytes */
    if (type == HEARTH_TOKEN_CONTROL && contains(text, "unused"))
        type = HEARTH_TOKEN_UNUSED;
    *end = id == vocab->eos || id == vocab->eot || id == vocab->eom;
    if (!name)
        return type;
    switch (name->role) {
    case ROLE_SHOWN:
        return HEARTH_TOKEN_USER_DEFINED;
    case ROLE_END_HARMONY:
        *end = !survey->harmony;
        return *end ? HEARTH_TOKEN_CONTROL : HEARTH_TOKEN_USER_DEFINED;
    case ROLE_END_LLAMA:
        *end = !survey->tool_response;
        return *end ? HEARTH_TOKEN_CONTROL : HEARTH_TOKEN_NORMAL;
    case ROLE_PREFIX:
    case ROLE_SUFFIX:
    case ROLE_MIDDLE:
        return type;
    case ROLE_PAD:
    case ROLE_REPO:
    case ROLE_SEPARATOR:
        if (id != survey->by_role[name->role])
            return type;
        break;
    default:
        break;
    }
    *end = true;
    return HEARTH_TOKEN_CONTROL;
}

/* Byte-level: a user-defined token stands for itself and has been found before anything merges. */
static bool may_merge(const struct survey *survey, uint32_t type, struct hearth_view text)
{
    if (survey->byte_level)
        return type == HEARTH_TOKEN_NORMAL;
    return (type == HEARTH_TOKEN_NORMAL || type == HEARTH_TOKEN_USER_DEFINED) && !memchr(text.bytes, ' ', text.size);
}

static uint8_t kind_of(const struct survey *survey, int32_t id, struct hearth_view text)
{
    bool end;
    const uint32_t type = type_after_rules(survey, find_name(text), id, text, &end);
    uint32_t kind = type | (end ? KIND_END : 0);
    if (text.size > 0 && may_merge(survey, type, text))
        kind |= KIND_MERGE;
    const bool special = type == HEARTH_TOKEN_USER_DEFINED || type == HEARTH_TOKEN_CONTROL || type == HEARTH_TOKEN_UNKNOWN;
    if (special && text.size > 0)
        kind |= KIND_SPECIAL;
    if (special && survey->phi3 && !view_is(text, "<unk>") && !view_is(text, "<s>") && !view_is(text, "<|endoftext|>"))
        kind |= KIND_STRIP;
    return (uint8_t)kind;
}

/* At most. */
static uint64_t kept_bytes(const struct survey *survey, uint8_t kind, struct hearth_view text)
{
    switch (kind & KIND_TYPE) {
    case HEARTH_TOKEN_NORMAL:
        return survey->byte_level ? text.size : symbols_bytes(text);
    case HEARTH_TOKEN_BYTE:
        return 1;
    default:
        return kind & KIND_SPECIAL ? text.size : 0;
    }
}

/* Which names exist: they decide over each other's kind. */
static void survey_names(struct survey *survey)
{
    bool returns = false;
    bool calls = false;
    uint64_t cursor = 0;
    for (uint32_t i = 0; i < survey->vocab->n_tokens; i++) {
        const struct name *name = find_name(hearth_gguf_next_string(survey->vocab->tokens, &cursor));
        if (!name)
            continue;
        returns |= strcmp(name->text, "<|return|>") == 0;
        calls |=
            strcmp(name->text, "<|call|>") == 0 || strcmp(name->text, "<|calls|>") == 0 || strcmp(name->text, "<|flush|>") == 0;
        survey->tool_response |= strcmp(name->text, "<|tool_response>") == 0;
        if (!survey->name_of[name->role] || name <= survey->name_of[name->role]) {
            survey->name_of[name->role] = name;
            survey->by_role[name->role] = (int32_t)i;
        }
    }
    survey->harmony = returns && calls;
}

static hearth_status check_token(const struct survey *survey, uint32_t id, uint8_t kind, struct hearth_view text, hearth_error *err)
{
    char file[HEARTH_QUOTE_MAX], quoted[HEARTH_QUOTE_MAX];
    hearth_quote(file, survey->file_name, strlen(survey->file_name));
    const uint32_t type = kind & KIND_TYPE;
    if (type == HEARTH_TOKEN_CONTROL && text.size == 0)
        return hearth_fail(err, HEARTH_E_FORMAT, "E_VOCAB", "%s: tokenizer.ggml.tokens[%" PRIu32 "]: control token has no text",
                           file, id);
    if (type == HEARTH_TOKEN_BYTE && byte_value(text) < 0)
        return hearth_fail(err, HEARTH_E_FORMAT, "E_VOCAB",
                           "%s: tokenizer.ggml.tokens[%" PRIu32 "]: byte token is malformed (got '%s', need <0xHH>)", file, id,
                           hearth_quote(quoted, text.bytes, text.size));
    if (kind & KIND_SPECIAL && text.size > HEARTH_TOKENIZER_SPECIAL_MAX)
        return hearth_fail(err, HEARTH_E_UNSUPPORTED, "E_VOCAB",
                           "%s: tokenizer.ggml.tokens[%" PRIu32 "]: special token is too long (got %" PRIu64
                           " bytes, need at most %u)",
                           file, id, text.size, HEARTH_TOKENIZER_SPECIAL_MAX);
    return HEARTH_OK;
}

static hearth_status survey_tokens(struct survey *survey, hearth_error *err)
{
    uint64_t cursor = 0;
    for (uint32_t i = 0; i < survey->vocab->n_tokens; i++) {
        const struct hearth_view text = hearth_gguf_next_string(survey->vocab->tokens, &cursor);
        const uint8_t kind = kind_of(survey, (int32_t)i, text);
        HEARTH_TRY(check_token(survey, i, kind, text, err));
        const uint64_t kept = kept_bytes(survey, kind, text);
        survey->text_bytes += kept; /* at most the size of the file, cannot overflow */
        if (kept > survey->max_piece)
            survey->max_piece = kept;
        survey->n_merge += (kind & KIND_MERGE) != 0;
        survey->n_special += (kind & KIND_SPECIAL) != 0;
    }
    return HEARTH_OK;
}

static uint64_t place(uint64_t *end, uint64_t count, uint64_t size)
{
    const uint64_t at = *end;
    *end = (at + count * size + 63) & ~(uint64_t)63; /* counts are below 2^33: no overflow */
    return at;
}

static void layout_merges(struct survey *survey, uint64_t *end)
{
    const uint64_t n = survey->merges.n;
    survey->merges.n_slots = (uint32_t)(n + n / 2 + 1);
    survey->at_merge_slots = place(end, survey->merges.n_slots, sizeof(struct hearth_slot));
    survey->at_merge_offsets = place(end, n + 1, sizeof(uint32_t));
    survey->at_merge_lefts = place(end, n, sizeof(uint16_t));
    survey->at_merge_text = place(end, survey->merge_text_bytes, 1);
    survey->at_pretokenizer = place(end, HEARTH_PRETOKENIZER_BYTES, 1);
}

static void survey_layout(struct survey *survey)
{
    const uint64_t n = survey->vocab->n_tokens;
    survey->n_slots = 16;
    while (survey->n_slots < 2 * (uint64_t)survey->n_merge)
        survey->n_slots *= 2;
    uint64_t end = (sizeof(struct hearth_tokenizer) + 63) & ~(uint64_t)63;
    survey->at_offsets = place(&end, n + 1, sizeof(uint32_t));
    survey->at_ranks = place(&end, survey->byte_level ? 0 : n, sizeof(uint32_t));
    survey->at_slots = place(&end, survey->n_slots, sizeof(struct hearth_slot));
    survey->at_special = place(&end, survey->n_special, sizeof(int32_t));
    survey->at_kinds = place(&end, n, 1);
    survey->at_text = place(&end, survey->text_bytes, 1);
    if (survey->byte_level)
        layout_merges(survey, &end);
    survey->bytes = end;
}

#define MERGES_MAX (1u << 30) /* the slots of their table are counted in 32 bits */

static hearth_status survey_bpe(struct survey *survey, hearth_error *err)
{
    const struct hearth_vocab *vocab = survey->vocab;
    char file[HEARTH_QUOTE_MAX], pre[HEARTH_QUOTE_MAX];
    hearth_quote(file, survey->file_name, strlen(survey->file_name));
    survey->pretokenizer = hearth_pretokenizer_find(vocab->pre);
    if (!survey->pretokenizer)
        return hearth_fail(err, HEARTH_E_UNSUPPORTED, NULL, "%s: tokenizer.ggml.pre: unknown pre-tokenizer (got '%s')", file,
                           hearth_quote(pre, vocab->pre.bytes, vocab->pre.size));
    survey->merge_text_bytes = vocab->merges->value.size - 8 * vocab->merges->count; /* at most; lengths of 8 bytes lie between */
    if (vocab->merges->count > MERGES_MAX || survey->merge_text_bytes > UINT32_MAX)
        return hearth_fail(err, HEARTH_E_UNSUPPORTED, "E_VOCAB",
                           "%s: tokenizer.ggml.merges: too many (got %" PRIu64 " of %" PRIu64 " bytes, need at most %u of %u)",
                           file, vocab->merges->count, survey->merge_text_bytes, MERGES_MAX, UINT32_MAX);
    survey->merges.n = (uint32_t)vocab->merges->count;
    return HEARTH_OK;
}

static hearth_status take_survey(struct survey *survey, const struct hearth_vocab *vocab, const char *file_name, hearth_error *err)
{
    *survey = (struct survey){.vocab = vocab, .file_name = file_name ? file_name : "vocabulary"};
    char file[HEARTH_QUOTE_MAX];
    hearth_quote(file, survey->file_name, strlen(survey->file_name));
    if (vocab->n_tokens == 0 || vocab->n_tokens > INT32_MAX / 2)
        return hearth_fail(err, HEARTH_E_FORMAT, "E_VOCAB",
                           "%s: tokenizer.ggml.tokens: number of tokens (got %" PRIu32 ", need 1 to %d)", file, vocab->n_tokens,
                           INT32_MAX / 2);
    survey->byte_level = vocab->model == HEARTH_VOCAB_BPE;
    survey->phi3 = contains(vocab->general_name, "phi-3") || contains(vocab->general_name, "phi3");
    survey_names(survey);
    HEARTH_TRY(survey_tokens(survey, err));
    if (survey->text_bytes > UINT32_MAX)
        return hearth_fail(err, HEARTH_E_FORMAT, "E_VOCAB",
                           "%s: tokenizer.ggml.tokens: texts are too long (got %" PRIu64 " bytes, need at most %" PRIu32 ")", file,
                           survey->text_bytes, UINT32_MAX);
    if (survey->byte_level)
        HEARTH_TRY(survey_bpe(survey, err));
    survey_layout(survey);
    return HEARTH_OK;
}

hearth_status hearth_tokenizer_plan(const struct hearth_vocab *vocab, const char *file_name, uint64_t *bytes, hearth_error *err)
{
    struct survey survey;
    HEARTH_TRY(take_survey(&survey, vocab, file_name, err));
    *bytes = survey.bytes;
    return HEARTH_OK;
}

/* ---- Building the tables -------------------------------------------------------------------------------------------- */

/* Floats in descending order become integers in ascending order; NaN comes last. */
static uint32_t rank_of(float score)
{
    if (score != score)
        return UINT32_MAX;
    const uint32_t bits = hearth_f32_bits(score + 0.0f); /* -0 becomes +0 */
    return bits >> 31 ? bits : 0x7fffffffu - bits;
}

static struct hearth_view text_of(const struct hearth_tokenizer *tokenizer, int32_t id)
{
    const uint32_t begin = tokenizer->offsets[id];
    return (struct hearth_view){tokenizer->text + begin, tokenizer->offsets[id + 1] - begin};
}

/* Whether the token's symbols spell these bytes. */
static bool spells(const struct hearth_tokenizer *tokenizer, int32_t id, const uint8_t *bytes, size_t n)
{
    const struct hearth_view text = text_of(tokenizer, id);
    if ((tokenizer->kinds[id] & KIND_TYPE) == HEARTH_TOKEN_NORMAL) /* kept as symbols */
        return text.size == n && memcmp(text.bytes, bytes, n) == 0;
    size_t at = 0;
    for (size_t i = 0; i < text.size;) {
        uint8_t symbol[4];
        size_t size;
        i += hearth_tokenizer_next_symbol(text.bytes + i, text.size - i, symbol, &size);
        if (size > n - at || memcmp(symbol, bytes + at, size) != 0)
            return false;
        at += size;
    }
    return at == n;
}

/* The id of the token spelt by these symbols, or HEARTH_TOKEN_NONE. */
int32_t hearth_tokenizer_find(const struct hearth_tokenizer *tokenizer, const uint8_t *bytes, size_t n)
{
    if (n > tokenizer->max_piece)
        return HEARTH_TOKEN_NONE; /* a text's symbols are never longer than the text */
    const uint32_t hash = hearth_hash_done(hearth_hash_more(HEARTH_HASH_START, bytes, n));
    for (uint32_t i = hash & tokenizer->slot_mask;; i = (i + 1) & tokenizer->slot_mask) {
        const struct hearth_slot slot = tokenizer->slots[i];
        if (slot.id == HEARTH_TOKEN_NONE || (slot.hash == hash && spells(tokenizer, slot.id, bytes, n)))
            return slot.id;
    }
}

/* The symbol at p of a text that is kept. */
static size_t kept_symbol(const struct hearth_tokenizer *tokenizer, const uint8_t *p, size_t n, uint8_t out[4], size_t *out_n)
{
    if (!tokenizer->byte_level)
        return hearth_tokenizer_next_symbol(p, n, out, out_n);
    out[0] = p[0];
    *out_n = 1;
    return 1;
}

static bool same_symbols(const struct hearth_tokenizer *tokenizer, int32_t a, int32_t b)
{
    const struct hearth_view x = text_of(tokenizer, a);
    const struct hearth_view y = text_of(tokenizer, b);
    size_t i = 0;
    size_t j = 0;
    while (i < x.size && j < y.size) {
        uint8_t s[4], t[4];
        size_t n, m;
        i += kept_symbol(tokenizer, x.bytes + i, x.size - i, s, &n);
        j += kept_symbol(tokenizer, y.bytes + j, y.size - j, t, &m);
        if (n != m || memcmp(s, t, n) != 0)
            return false;
    }
    return i == x.size && j == y.size;
}

/* Enter a token that merging may give, and its pairs of neighbours. Of equal texts the last id stays. */
static void enter(struct hearth_tokenizer *tokenizer, int32_t id)
{
    const struct hearth_view text = text_of(tokenizer, id);
    uint64_t hash = HEARTH_HASH_START;
    uint8_t last = 0;
    for (size_t i = 0; i < text.size;) {
        uint8_t symbol[4];
        size_t n;
        const bool first = i == 0;
        i += kept_symbol(tokenizer, text.bytes + i, text.size - i, symbol, &n);
        const uint32_t pair = (uint32_t)last * 256 + symbol[0];
        if (!first)
            tokenizer->joins[pair / 64] |= (uint64_t)1 << pair % 64;
        hash = hearth_hash_more(hash, symbol, n);
        last = symbol[n - 1];
    }
    const uint32_t done = hearth_hash_done(hash);
    uint32_t i = done & tokenizer->slot_mask;
    while (tokenizer->slots[i].id != HEARTH_TOKEN_NONE &&
           !(tokenizer->slots[i].hash == done && same_symbols(tokenizer, tokenizer->slots[i].id, id)))
        i = (i + 1) & tokenizer->slot_mask;
    tokenizer->slots[i] = (struct hearth_slot){done, id};
}

/* What a token shows; returns its bytes. A byte-level token that is not written in the byte alphabet cannot come of merging. */
static uint32_t keep_text(const struct hearth_tokenizer *tokenizer, uint8_t *kind, struct hearth_view text, uint8_t *out)
{
    bool pure;
    size_t at = 0;
    switch (*kind & KIND_TYPE) {
    case HEARTH_TOKEN_BYTE:
        out[at++] = (uint8_t)byte_value(text);
        break;
    case HEARTH_TOKEN_NORMAL:
        if (tokenizer->byte_level) {
            at = hearth_bpe_bytes(text, out, &pure);
            if (!pure)
                *kind &= (uint8_t)~KIND_MERGE;
            break;
        }
        for (size_t i = 0; i < text.size;) {
            uint8_t symbol[4];
            size_t n;
            i += hearth_tokenizer_next_symbol(text.bytes + i, text.size - i, symbol, &n);
            memcpy(out + at, symbol, n);
            at += n;
        }
        break;
    default:
        if (*kind & KIND_SPECIAL) {
            memcpy(out, text.bytes, text.size);
            at = text.size;
        }
    }
    return (uint32_t)at;
}

/* Text, offset, rank and kind of every token. */
static void copy_tokens(struct hearth_tokenizer *tokenizer, const struct survey *survey)
{
    const struct hearth_vocab *vocab = survey->vocab;
    uint64_t cursor = 0;
    uint32_t at = 0;
    for (uint32_t id = 0; id < vocab->n_tokens; id++) {
        const struct hearth_view text = hearth_gguf_next_string(vocab->tokens, &cursor);
        const uint8_t kind = kind_of(survey, (int32_t)id, text);
        const uint32_t type = kind & KIND_TYPE;
        tokenizer->kinds[id] = kind;
        tokenizer->offsets[id] = at;
        if (tokenizer->ranks)
            tokenizer->ranks[id] = rank_of(vocab->scores ? hearth_gguf_f32_at(vocab->scores, id) : 0.0f);
        const int value = tokenizer->byte_level ? -1 : byte_value(text);
        const bool upper = value >= 0 && text.bytes[3] < 'a' && text.bytes[4] < 'a';
        if (value >= 0 && (type == HEARTH_TOKEN_BYTE || (kind & KIND_MERGE && upper)))
            tokenizer->byte_ids[value] = (int32_t)id;
        at += keep_text(tokenizer, &tokenizer->kinds[id], text, tokenizer->text + at);
        if (kind & KIND_SPECIAL)
            tokenizer->special[tokenizer->n_special++] = (int32_t)id;
    }
    tokenizer->offsets[vocab->n_tokens] = at;
}

/* By text, then by id. */
static bool text_less(const struct hearth_tokenizer *tokenizer, int32_t a, int32_t b)
{
    const struct hearth_view x = text_of(tokenizer, a);
    const struct hearth_view y = text_of(tokenizer, b);
    const int order = memcmp(x.bytes, y.bytes, x.size < y.size ? x.size : y.size);
    if (order != 0)
        return order < 0;
    return x.size != y.size ? x.size < y.size : a < b;
}

static void sink(const struct hearth_tokenizer *tokenizer, int32_t *heap, uint32_t i, uint32_t n)
{
    const int32_t id = heap[i];
    for (uint32_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && text_less(tokenizer, heap[child], heap[child + 1]))
            child++;
        if (!text_less(tokenizer, id, heap[child]))
            break;
        heap[i] = heap[child];
    }
    heap[i] = id;
}

/* Heap sort: qsort may allocate, and quicksort has bad days. */
void hearth_tokenizer_sort(const struct hearth_tokenizer *tokenizer, int32_t *ids, uint32_t n)
{
    for (uint32_t i = n / 2; i-- > 0;)
        sink(tokenizer, ids, i, n);
    while (n-- > 1) {
        const int32_t greatest = ids[0];
        ids[0] = ids[n];
        ids[n] = greatest;
        sink(tokenizer, ids, 0, n);
    }
}

static bool same_text(const struct hearth_tokenizer *tokenizer, int32_t a, int32_t b)
{
    const struct hearth_view x = text_of(tokenizer, a);
    const struct hearth_view y = text_of(tokenizer, b);
    return x.size == y.size && memcmp(x.bytes, y.bytes, x.size) == 0;
}

static bool is_user_defined(const struct hearth_tokenizer *tokenizer, int32_t id)
{
    return (tokenizer->kinds[id] & KIND_TYPE) == HEARTH_TOKEN_USER_DEFINED;
}

/* Of equal texts the last id counts: what is kept is the last user-defined one, for texts in which control tokens are not looked
 * for, and after it the last of all if that is another. */
static void sort_special(struct hearth_tokenizer *tokenizer)
{
    int32_t *ids = tokenizer->special;
    hearth_tokenizer_sort(tokenizer, ids, tokenizer->n_special);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < tokenizer->n_special; i++) {
        const int32_t id = ids[i];
        while (kept > 0 && same_text(tokenizer, ids[kept - 1], id) &&
               (is_user_defined(tokenizer, id) || !is_user_defined(tokenizer, ids[kept - 1])))
            kept--;
        ids[kept++] = id;
        tokenizer->special_begins[text_of(tokenizer, id).bytes[0]] = true;
    }
    tokenizer->n_special = kept;
}

static int32_t id_or_none(int32_t id, uint32_t n_tokens)
{
    return id >= 0 && (uint32_t)id < n_tokens ? id : HEARTH_TOKEN_NONE;
}

/* The id of a key, or of the names that stand for it where the key is missing. */
static int32_t id_or_named(const struct survey *survey, int32_t id, enum role role)
{
    if (id == HEARTH_TOKEN_NONE && survey->name_of[role])
        return survey->by_role[role];
    return id_or_none(id, survey->vocab->n_tokens);
}

static hearth_status init_bpe(struct hearth_tokenizer *tokenizer, const struct survey *survey, uint8_t *base, hearth_error *err)
{
    struct hearth_merges *merges = &tokenizer->merges;
    *merges = survey->merges;
    merges->slots = (struct hearth_slot *)(void *)(base + survey->at_merge_slots);
    merges->offsets = (uint32_t *)(void *)(base + survey->at_merge_offsets);
    merges->lefts = (uint16_t *)(void *)(base + survey->at_merge_lefts);
    merges->text = base + survey->at_merge_text;
    hearth_bpe_build(merges, survey->vocab);
    tokenizer->ignore_merges = survey->pretokenizer->ignore_merges;
    tokenizer->pretokenizer = hearth_pretokenizer_init(base + survey->at_pretokenizer, survey->pretokenizer);
    if (!tokenizer->pretokenizer)
        return hearth_fail(err, HEARTH_E_UNSUPPORTED, NULL, "tokenizer: PCRE2 does not compile the patterns of '%s'",
                           survey->pretokenizer->name);
    return HEARTH_OK;
}

hearth_status hearth_tokenizer_init(struct hearth_tokenizer **out, void *memory, uint64_t bytes, const struct hearth_vocab *vocab,
                                    const char *file_name, hearth_error *err)
{
    struct survey survey;
    *out = NULL;
    HEARTH_TRY(take_survey(&survey, vocab, file_name, err));
    if (bytes < survey.bytes)
        return hearth_fail_needed(err, HEARTH_E_MEMORY, survey.bytes, bytes,
                                  "tokenizer: tables do not fit (got %" PRIu64 " bytes, need %" PRIu64 ")", bytes, survey.bytes);
    struct hearth_tokenizer *tokenizer = memory;
    uint8_t *base = memory;
    memset(tokenizer, 0, sizeof *tokenizer);
    tokenizer->n_tokens = vocab->n_tokens;
    tokenizer->max_piece = (uint32_t)survey.max_piece;
    tokenizer->slot_mask = survey.n_slots - 1;
    tokenizer->bos = id_or_none(vocab->bos, vocab->n_tokens);
    tokenizer->unk = id_or_none(vocab->unk, vocab->n_tokens);
    tokenizer->infill[0] = id_or_named(&survey, vocab->fim_prefix, ROLE_PREFIX);
    tokenizer->infill[1] = id_or_named(&survey, vocab->fim_suffix, ROLE_SUFFIX);
    tokenizer->infill[2] = id_or_named(&survey, vocab->fim_middle, ROLE_MIDDLE);
    tokenizer->add_bos = vocab->add_bos && tokenizer->bos != HEARTH_TOKEN_NONE;
    tokenizer->byte_level = survey.byte_level;
    tokenizer->add_space_prefix = vocab->add_space_prefix && !survey.byte_level;
    tokenizer->offsets = (uint32_t *)(void *)(base + survey.at_offsets);
    if (!survey.byte_level)
        tokenizer->ranks = (uint32_t *)(void *)(base + survey.at_ranks);
    tokenizer->kinds = base + survey.at_kinds;
    tokenizer->slots = (struct hearth_slot *)(void *)(base + survey.at_slots);
    tokenizer->special = (int32_t *)(void *)(base + survey.at_special);
    tokenizer->text = base + survey.at_text;
    for (uint32_t i = 0; i < 256; i++)
        tokenizer->byte_ids[i] = HEARTH_TOKEN_NONE;
    for (uint32_t i = 0; i < survey.n_slots; i++)
        tokenizer->slots[i] = (struct hearth_slot){0, HEARTH_TOKEN_NONE};

    copy_tokens(tokenizer, &survey);
    for (uint32_t id = 0; id < vocab->n_tokens; id++) {
        if (tokenizer->kinds[id] & KIND_MERGE)
            enter(tokenizer, (int32_t)id);
    }
    sort_special(tokenizer);
    for (uint32_t i = 0; i < 256; i++) {
        const uint8_t byte = (uint8_t)i;
        if (tokenizer->byte_ids[i] == HEARTH_TOKEN_NONE)
            tokenizer->byte_ids[i] = hearth_tokenizer_find(tokenizer, &byte, 1);
        if (tokenizer->byte_ids[i] == HEARTH_TOKEN_NONE && !survey.byte_level)
            tokenizer->byte_ids[i] = tokenizer->unk;
    }
    if (survey.byte_level)
        HEARTH_TRY(init_bpe(tokenizer, &survey, base, err));
    *out = tokenizer;
    return HEARTH_OK;
}

/* ---- Special tokens -------------------------------------------------------------------------------------------------- */

/* The first place in special[low, high), all alike in the first `depth` bytes, whose next byte is at least `byte`. */
static uint32_t special_bound(const struct hearth_tokenizer *tokenizer, uint32_t low, uint32_t high, size_t depth, unsigned byte)
{
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        const struct hearth_view text = text_of(tokenizer, tokenizer->special[middle]);
        if (text.size <= depth || text.bytes[depth] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The longest special token at the beginning of the text, or HEARTH_TOKEN_NONE. */
static int32_t match_special(const struct hearth_tokenizer *tokenizer, const uint8_t *text, size_t bytes, bool control)
{
    if (!tokenizer->special_begins[text[0]])
        return HEARTH_TOKEN_NONE;
    int32_t found = HEARTH_TOKEN_NONE;
    uint32_t low = 0;
    uint32_t high = tokenizer->n_special;
    for (size_t depth = 0; depth < bytes && low < high; depth++) {
        low = special_bound(tokenizer, low, high, depth, text[depth]);
        high = special_bound(tokenizer, low, high, depth, text[depth] + 1u);
        if (low == high)
            break;
        const int32_t *ids = tokenizer->special + low; /* the shortest of them comes first, twice at most */
        if (text_of(tokenizer, ids[0]).size != depth + 1)
            continue;
        if (control)
            found = low + 1 < high && text_of(tokenizer, ids[1]).size == depth + 1 ? ids[1] : ids[0];
        else if (is_user_defined(tokenizer, ids[0]))
            found = ids[0];
    }
    return found;
}

/* As above at a place of a marked text: a control token that a marked byte takes part in is none. */
static int32_t match_marked(const struct hearth_tokenizer *tokenizer, const uint8_t *text, const uint8_t *from_caller, size_t bytes,
                            bool control)
{
    const int32_t id = match_special(tokenizer, text, bytes, control);
    if (id == HEARTH_TOKEN_NONE || !control || !from_caller)
        return id;
    const uint8_t *marked = memchr(from_caller, 1, text_of(tokenizer, id).size);
    if (!marked)
        return id;
    const size_t before = (size_t)(marked - from_caller);
    const int32_t shorter = before > 0 ? match_special(tokenizer, text, before, true) : HEARTH_TOKEN_NONE;
    return shorter != HEARTH_TOKEN_NONE ? shorter : match_special(tokenizer, text, bytes, false);
}

void hearth_tokenizer_emit(struct hearth_encoding *encoding, int32_t id)
{
    if (id == HEARTH_TOKEN_NONE)
        return;
    if (encoding->n_ids < encoding->capacity)
        encoding->ids[encoding->n_ids] = id;
    encoding->n_ids++;
}

/* A stretch of text without special tokens; goes_on: no space is put before it. */
static void encode_part(struct hearth_encoding *encoding, const uint8_t *text, size_t bytes, bool goes_on)
{
    if (encoding->tokenizer->byte_level)
        hearth_bpe_encode(encoding, text, bytes);
    else
        hearth_spm_encode(encoding, text, bytes, goes_on);
}

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

hearth_status hearth_tokenizer_encode(const struct hearth_tokenizer *tokenizer, void *scratch, const char *text, size_t bytes,
                                      uint32_t flags, int32_t *ids, size_t capacity, size_t *n_ids)
{
    return hearth_tokenizer_encode_marked(tokenizer, scratch, text, NULL, bytes, flags, ids, capacity, n_ids);
}

hearth_status hearth_tokenizer_encode_marked(const struct hearth_tokenizer *tokenizer, void *scratch, const char *text,
                                             const uint8_t *from_caller, size_t bytes, uint32_t flags, int32_t *ids,
                                             size_t capacity, size_t *n_ids)
{
    struct hearth_encoding encoding = {.tokenizer = tokenizer, .ids = ids, .capacity = capacity, .heap = scratch};
    encoding.symbols = (struct hearth_symbol *)(void *)(encoding.heap + 2 * (size_t)HEARTH_TOKENIZER_WORD_MAX);
    encoding.buffer = (uint8_t *)(encoding.symbols + HEARTH_TOKENIZER_WORD_MAX);

    const uint8_t *at = (const uint8_t *)text;
    const bool control = (flags & HEARTH_TOKENIZE_SPECIAL) != 0;
    const bool goes_on = (flags & HEARTH_TOKENIZER_CONTINUE) != 0;
    const bool has_bos = bytes > 0 && match_marked(tokenizer, at, from_caller, bytes, control) == tokenizer->bos;
    if (flags & HEARTH_TOKENIZE_BOS && tokenizer->add_bos && !has_bos)
        hearth_tokenizer_emit(&encoding, tokenizer->bos);
    size_t begin = 0;
    for (size_t i = 0; i < bytes;) {
        const int32_t id = match_marked(tokenizer, at + i, from_caller ? from_caller + i : NULL, bytes - i, control);
        if (id == HEARTH_TOKEN_NONE) {
            i++;
            continue;
        }
        encode_part(&encoding, at + begin, i - begin, goes_on && begin == 0);
        hearth_tokenizer_emit(&encoding, id);
        i += text_of(tokenizer, id).size;
        while (tokenizer->kinds[id] & KIND_STRIP && i < bytes && is_space(at[i]))
            i++;
        begin = i;
    }
    if (begin < bytes)
        encode_part(&encoding, at + begin, bytes - begin, goes_on && begin == 0);
    *n_ids = encoding.n_ids;
    return encoding.n_ids > capacity ? HEARTH_E_CONFIG : HEARTH_OK;
}

struct infill { /* ids gathered so far */
    int32_t *ids;
    size_t capacity, n;
};

static void add_id(struct infill *out, int32_t id)
{
    if (out->n < out->capacity)
        out->ids[out->n] = id;
    out->n++;
}

static void add_text(struct infill *out, const struct hearth_tokenizer *tokenizer, void *scratch, struct hearth_view text,
                     uint32_t flags)
{
    const size_t room = out->n < out->capacity ? out->capacity - out->n : 0;
    size_t n;
    (void)hearth_tokenizer_encode(tokenizer, scratch, (const char *)text.bytes, text.size, flags, room ? out->ids + out->n : NULL,
                                  room, &n);
    out->n += n;
}

hearth_status hearth_tokenizer_encode_infill(const struct hearth_tokenizer *tokenizer, void *scratch, struct hearth_view prefix,
                                             struct hearth_view suffix, int32_t *ids, size_t capacity, size_t *n_ids)
{
    struct infill out = {.ids = ids, .capacity = capacity};
    for (size_t i = 0; i < 3; i++)
        if (tokenizer->infill[i] == HEARTH_TOKEN_NONE)
            return HEARTH_E_UNSUPPORTED;
    add_text(&out, tokenizer, scratch, (struct hearth_view){prefix.bytes, 0}, HEARTH_TOKENIZE_BOS);
    add_id(&out, tokenizer->infill[0]);
    add_text(&out, tokenizer, scratch, prefix, 0);
    add_id(&out, tokenizer->infill[1]);
    add_text(&out, tokenizer, scratch, suffix, HEARTH_TOKENIZER_CONTINUE);
    add_id(&out, tokenizer->infill[2]);
    *n_ids = out.n;
    return out.n > capacity ? HEARTH_E_CONFIG : HEARTH_OK;
}

int32_t hearth_tokenizer_infill_id(const struct hearth_tokenizer *tokenizer, uint32_t piece)
{
    return tokenizer->infill[piece];
}

/* ---- Ids to text ------------------------------------------------------------------------------------------------------ */

static uint32_t kind_at(const struct hearth_tokenizer *tokenizer, int32_t id)
{
    return id >= 0 && (uint32_t)id < tokenizer->n_tokens ? tokenizer->kinds[id] : HEARTH_TOKEN_UNDEFINED;
}

struct hearth_view hearth_tokenizer_piece(const struct hearth_tokenizer *tokenizer, int32_t id)
{
    switch (kind_at(tokenizer, id) & KIND_TYPE) {
    case HEARTH_TOKEN_NORMAL:
    case HEARTH_TOKEN_USER_DEFINED:
    case HEARTH_TOKEN_BYTE:
        return text_of(tokenizer, id);
    default:
        return (struct hearth_view){tokenizer->text, 0};
    }
}

struct hearth_view hearth_tokenizer_text(const struct hearth_tokenizer *tokenizer, int32_t id)
{
    const uint32_t type = kind_at(tokenizer, id) & KIND_TYPE;
    if (type == HEARTH_TOKEN_CONTROL || type == HEARTH_TOKEN_UNKNOWN)
        return text_of(tokenizer, id);
    return hearth_tokenizer_piece(tokenizer, id);
}

struct hearth_view hearth_tokenizer_next_piece(const struct hearth_tokenizer *tokenizer, bool *begins, int32_t id)
{
    struct hearth_view piece = hearth_tokenizer_piece(tokenizer, id);
    if (!*begins || id == tokenizer->bos)
        return piece;
    *begins = false;
    const bool normal = (kind_at(tokenizer, id) & KIND_TYPE) == HEARTH_TOKEN_NORMAL;
    if (tokenizer->add_space_prefix && normal && piece.size > 0 && piece.bytes[0] == ' ')
        piece = (struct hearth_view){piece.bytes + 1, piece.size - 1};
    return piece;
}

uint32_t hearth_tokenizer_max_piece(const struct hearth_tokenizer *tokenizer)
{
    return tokenizer->max_piece;
}

bool hearth_tokenizer_is_end(const struct hearth_tokenizer *tokenizer, int32_t id)
{
    return (kind_at(tokenizer, id) & KIND_END) != 0;
}

uint32_t hearth_tokenizer_count(const struct hearth_tokenizer *tokenizer)
{
    return tokenizer->n_tokens;
}
