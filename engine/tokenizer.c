/* SentencePiece-style tokenization: merges by score, with a heap, in fixed scratch.
 *
 * Words and spaces. The algorithm writes U+2581 for every space; here both are kept as one byte 0x20, in the texts of tokens as in
 * the text being read, so that what a token shows is a plain view. A token that holds a true 0x20 can then never be a result of
 * merging (no symbol holds one in the original either), so it is left out of the table of merges.
 *
 * Cutting. Merging joins two neighbours only into the text of a token. A bitmap knows every pair (last byte of a character, first
 * byte of the next) that stands inside some token; at a border whose pair is not in it no merge can happen now or later, so what
 * lies left and right of it is merged independently with the same result. In usual vocabularies this cuts before every word,
 * and the heap stays small. What is left uncut after HEARTH_TOKENIZER_WORD_MAX bytes is cut there.
 *
 * Cost. A word of n bytes has at most n symbols, n - 1 first pairs, and n - 1 merges that each take one entry from the heap and
 * put back at most two: fewer than 2n entries at any time, O(n log n) in all. */
#include "tokenizer.h"
#include "common/checked.h"
#include "common/half.h"
#include "common/status.h"
#include "utf8.h"

#define KIND_TYPE 7u     /* enum hearth_token_type after the rules of tokenizers.md 7.3 */
#define KIND_END 8u      /* ends an answer */
#define KIND_STRIP 16u   /* white space after it is swallowed */
#define KIND_MERGE 32u   /* may be the result of merging */
#define KIND_SPECIAL 64u /* looked for in the text before anything else */

struct slot { /* of the hash table from text to id */
    uint32_t hash;
    int32_t id; /* HEARTH_TOKEN_NONE: free */
};

struct hearth_tokenizer {
    uint32_t n_tokens, n_special, max_piece;
    uint32_t slot_mask;
    int32_t bos, unk;
    int32_t infill[3]; /* before the prefix, the suffix, the answer; HEARTH_TOKEN_NONE */
    bool add_bos, add_space_prefix;
    bool special_begins[256];   /* a special token begins with this byte */
    int32_t byte_ids[256];      /* what stands for a byte that no token spells */
    uint64_t joins[65536 / 64]; /* see above; bit last * 256 + first */
    uint32_t *offsets;          /* [n_tokens + 1] into text */
    uint32_t *ranks;            /* [n_tokens] smaller is merged first */
    uint8_t *kinds;             /* [n_tokens] KIND_* */
    struct slot *slots;         /* [slot_mask + 1], at most half full */
    int32_t *special;           /* [n_special] ids in the order of their texts */
    uint8_t *text;              /* NORMAL: as shown; BYTE: the byte; special ones: as in the file; others: nothing */
};

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
    bool phi3;
    int32_t by_role[ROLE_COUNT]; /* from PAD on: the id, and the name it was found by */
    const struct name *name_of[ROLE_COUNT];
    uint32_t n_merge, n_special, n_slots;
    uint64_t text_bytes, max_piece;
    uint64_t at_offsets, at_ranks, at_kinds, at_slots, at_special, at_text, bytes; /* places in the block */
};

/* The character at p as merging sees it: a space or U+2581 is a single 0x20, a byte that is no UTF-8 stands alone. Writes it to
 * out[*out_n], returns the bytes read. */
static size_t next_symbol(const uint8_t *p, size_t n, uint8_t out[4], size_t *out_n)
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
        i += next_symbol(text.bytes + i, text.size - i, symbol, &n);
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

static uint8_t kind_of(const struct survey *survey, int32_t id, struct hearth_view text)
{
    bool end;
    const uint32_t type = type_after_rules(survey, find_name(text), id, text, &end);
    uint32_t kind = type | (end ? KIND_END : 0);
    const bool merges = type == HEARTH_TOKEN_NORMAL || type == HEARTH_TOKEN_USER_DEFINED;
    if (merges && text.size > 0 && !memchr(text.bytes, ' ', text.size))
        kind |= KIND_MERGE;
    const bool special = type == HEARTH_TOKEN_USER_DEFINED || type == HEARTH_TOKEN_CONTROL || type == HEARTH_TOKEN_UNKNOWN;
    if (special && text.size > 0)
        kind |= KIND_SPECIAL;
    if (special && survey->phi3 && !view_is(text, "<unk>") && !view_is(text, "<s>") && !view_is(text, "<|endoftext|>"))
        kind |= KIND_STRIP;
    return (uint8_t)kind;
}

static uint64_t kept_bytes(uint8_t kind, struct hearth_view text)
{
    switch (kind & KIND_TYPE) {
    case HEARTH_TOKEN_NORMAL:
        return symbols_bytes(text);
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
        const uint64_t kept = kept_bytes(kind, text);
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

static void survey_layout(struct survey *survey)
{
    const uint64_t n = survey->vocab->n_tokens;
    survey->n_slots = 16;
    while (survey->n_slots < 2 * (uint64_t)survey->n_merge)
        survey->n_slots *= 2;
    uint64_t end = (sizeof(struct hearth_tokenizer) + 63) & ~(uint64_t)63;
    survey->at_offsets = place(&end, n + 1, sizeof(uint32_t));
    survey->at_ranks = place(&end, n, sizeof(uint32_t));
    survey->at_slots = place(&end, survey->n_slots, sizeof(struct slot));
    survey->at_special = place(&end, survey->n_special, sizeof(int32_t));
    survey->at_kinds = place(&end, n, 1);
    survey->at_text = place(&end, survey->text_bytes, 1);
    survey->bytes = end;
}

static hearth_status take_survey(struct survey *survey, const struct hearth_vocab *vocab, const char *file_name, hearth_error *err)
{
    *survey = (struct survey){.vocab = vocab, .file_name = file_name ? file_name : "vocabulary"};
    char file[HEARTH_QUOTE_MAX], model[HEARTH_QUOTE_MAX];
    hearth_quote(file, survey->file_name, strlen(survey->file_name));
    if (vocab->model != HEARTH_VOCAB_SPM)
        return hearth_fail(err, HEARTH_E_UNSUPPORTED, NULL,
                           "%s: tokenizer.ggml.model: byte-level BPE tokenizers are not supported yet (got '%s', need llama)", file,
                           hearth_quote(model, vocab->model_name.bytes, vocab->model_name.size));
    if (vocab->n_tokens == 0 || vocab->n_tokens > INT32_MAX / 2)
        return hearth_fail(err, HEARTH_E_FORMAT, "E_VOCAB",
                           "%s: tokenizer.ggml.tokens: number of tokens (got %" PRIu32 ", need 1 to %d)", file, vocab->n_tokens,
                           INT32_MAX / 2);
    survey->phi3 = contains(vocab->general_name, "phi-3") || contains(vocab->general_name, "phi3");
    survey_names(survey);
    HEARTH_TRY(survey_tokens(survey, err));
    if (survey->text_bytes > UINT32_MAX)
        return hearth_fail(err, HEARTH_E_FORMAT, "E_VOCAB",
                           "%s: tokenizer.ggml.tokens: texts are too long (got %" PRIu64 " bytes, need at most %" PRIu32 ")", file,
                           survey->text_bytes, UINT32_MAX);
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

#define HASH_START 0xcbf29ce484222325u
static uint64_t hash_more(uint64_t hash, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
    return hash;
}

static uint32_t hash_done(uint64_t hash)
{
    return (uint32_t)((hash * 0x9E3779B97F4A7C15u) >> 32);
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
        i += next_symbol(text.bytes + i, text.size - i, symbol, &size);
        if (size > n - at || memcmp(symbol, bytes + at, size) != 0)
            return false;
        at += size;
    }
    return at == n;
}

/* The id of the token spelt by these symbols, or HEARTH_TOKEN_NONE. */
static int32_t look_up(const struct hearth_tokenizer *tokenizer, const uint8_t *bytes, size_t n)
{
    if (n > tokenizer->max_piece)
        return HEARTH_TOKEN_NONE; /* a text's symbols are never longer than the text */
    const uint32_t hash = hash_done(hash_more(HASH_START, bytes, n));
    for (uint32_t i = hash & tokenizer->slot_mask;; i = (i + 1) & tokenizer->slot_mask) {
        const struct slot slot = tokenizer->slots[i];
        if (slot.id == HEARTH_TOKEN_NONE || (slot.hash == hash && spells(tokenizer, slot.id, bytes, n)))
            return slot.id;
    }
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
        i += next_symbol(x.bytes + i, x.size - i, s, &n);
        j += next_symbol(y.bytes + j, y.size - j, t, &m);
        if (n != m || memcmp(s, t, n) != 0)
            return false;
    }
    return i == x.size && j == y.size;
}

/* Enter a token that merging may give, and its pairs of neighbours. Of equal texts the last id stays. */
static void enter(struct hearth_tokenizer *tokenizer, int32_t id)
{
    const struct hearth_view text = text_of(tokenizer, id);
    uint64_t hash = HASH_START;
    uint8_t last = 0;
    for (size_t i = 0; i < text.size;) {
        uint8_t symbol[4];
        size_t n;
        const bool first = i == 0;
        i += next_symbol(text.bytes + i, text.size - i, symbol, &n);
        const uint32_t pair = (uint32_t)last * 256 + symbol[0];
        if (!first)
            tokenizer->joins[pair / 64] |= (uint64_t)1 << pair % 64;
        hash = hash_more(hash, symbol, n);
        last = symbol[n - 1];
    }
    const uint32_t done = hash_done(hash);
    uint32_t i = done & tokenizer->slot_mask;
    while (tokenizer->slots[i].id != HEARTH_TOKEN_NONE &&
           !(tokenizer->slots[i].hash == done && same_symbols(tokenizer, tokenizer->slots[i].id, id)))
        i = (i + 1) & tokenizer->slot_mask;
    tokenizer->slots[i] = (struct slot){done, id};
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
        tokenizer->ranks[id] = rank_of(vocab->scores ? hearth_gguf_f32_at(vocab->scores, id) : 0.0f);
        const int value = byte_value(text);
        const bool upper = value >= 0 && text.bytes[3] < 'a' && text.bytes[4] < 'a';
        if (type == HEARTH_TOKEN_BYTE || (kind & KIND_MERGE && upper))
            tokenizer->byte_ids[value] = (int32_t)id;
        if (type == HEARTH_TOKEN_BYTE) {
            tokenizer->text[at++] = (uint8_t)value;
        } else if (type == HEARTH_TOKEN_NORMAL) {
            for (size_t i = 0; i < text.size;) {
                uint8_t symbol[4];
                size_t n;
                i += next_symbol(text.bytes + i, text.size - i, symbol, &n);
                memcpy(tokenizer->text + at, symbol, n);
                at += (uint32_t)n;
            }
        } else if (kind & KIND_SPECIAL) {
            memcpy(tokenizer->text + at, text.bytes, text.size);
            at += (uint32_t)text.size;
        }
        if (kind & KIND_SPECIAL)
            tokenizer->special[tokenizer->n_special++] = (int32_t)id;
    }
    tokenizer->offsets[vocab->n_tokens] = at;
}

/* By text, then by id. */
static bool special_less(const struct hearth_tokenizer *tokenizer, int32_t a, int32_t b)
{
    const struct hearth_view x = text_of(tokenizer, a);
    const struct hearth_view y = text_of(tokenizer, b);
    const int order = memcmp(x.bytes, y.bytes, x.size < y.size ? x.size : y.size);
    if (order != 0)
        return order < 0;
    return x.size != y.size ? x.size < y.size : a < b;
}

static void special_sink(struct hearth_tokenizer *tokenizer, uint32_t i, uint32_t n)
{
    int32_t *heap = tokenizer->special;
    const int32_t id = heap[i];
    for (uint32_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && special_less(tokenizer, heap[child], heap[child + 1]))
            child++;
        if (!special_less(tokenizer, id, heap[child]))
            break;
        heap[i] = heap[child];
    }
    heap[i] = id;
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

/* Heap sort (qsort may allocate). Of equal texts the last id counts: what is kept is the last user-defined one, for texts in which
 * control tokens are not looked for, and after it the last of all if that is another. */
static void sort_special(struct hearth_tokenizer *tokenizer)
{
    int32_t *ids = tokenizer->special;
    for (uint32_t i = tokenizer->n_special / 2; i-- > 0;)
        special_sink(tokenizer, i, tokenizer->n_special);
    for (uint32_t n = tokenizer->n_special; n-- > 1;) {
        const int32_t greatest = ids[0];
        ids[0] = ids[n];
        ids[n] = greatest;
        special_sink(tokenizer, 0, n);
    }
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
    tokenizer->add_space_prefix = vocab->add_space_prefix;
    tokenizer->offsets = (uint32_t *)(void *)(base + survey.at_offsets);
    tokenizer->ranks = (uint32_t *)(void *)(base + survey.at_ranks);
    tokenizer->kinds = base + survey.at_kinds;
    tokenizer->slots = (struct slot *)(void *)(base + survey.at_slots);
    tokenizer->special = (int32_t *)(void *)(base + survey.at_special);
    tokenizer->text = base + survey.at_text;
    for (uint32_t i = 0; i < 256; i++)
        tokenizer->byte_ids[i] = HEARTH_TOKEN_NONE;
    for (uint32_t i = 0; i < survey.n_slots; i++)
        tokenizer->slots[i] = (struct slot){0, HEARTH_TOKEN_NONE};

    copy_tokens(tokenizer, &survey);
    for (uint32_t id = 0; id < vocab->n_tokens; id++) {
        if (tokenizer->kinds[id] & KIND_MERGE)
            enter(tokenizer, (int32_t)id);
    }
    sort_special(tokenizer);
    for (uint32_t i = 0; i < 256; i++) {
        const uint8_t byte = (uint8_t)i;
        if (tokenizer->byte_ids[i] == HEARTH_TOKEN_NONE)
            tokenizer->byte_ids[i] = look_up(tokenizer, &byte, 1);
        if (tokenizer->byte_ids[i] == HEARTH_TOKEN_NONE)
            tokenizer->byte_ids[i] = tokenizer->unk;
    }
    *out = tokenizer;
    return HEARTH_OK;
}

/* ---- Merging a word ------------------------------------------------------------------------------------------------- */

/* A symbol stands at the offset of its first byte; the next one begins where it ends. */
struct symbol {
    uint32_t bytes; /* 0: no symbol begins here */
    uint32_t prev;  /* offset of the one before, NO_SYMBOL for the first */
};
#define NO_SYMBOL UINT32_MAX

struct work { /* an encode in progress: the scratch, and where ids go */
    const struct hearth_tokenizer *tokenizer;
    uint64_t *heap; /* rank << 32 | offset of the left symbol << 16 | bytes of both together - 1; smallest first */
    struct symbol *symbols;
    uint8_t *word;
    uint32_t n_heap, n_word;
    uint8_t last; /* last byte of the word */
    int32_t *ids;
    size_t capacity, n_ids;
};

static void emit(struct work *work, int32_t id)
{
    if (id == HEARTH_TOKEN_NONE)
        return;
    if (work->n_ids < work->capacity)
        work->ids[work->n_ids] = id;
    work->n_ids++;
}

static void heap_push(struct work *work, uint64_t entry)
{
    uint64_t *heap = work->heap;
    uint32_t i = work->n_heap++;
    for (uint32_t parent; i > 0 && heap[parent = (i - 1) / 2] > entry; i = parent)
        heap[i] = heap[parent];
    heap[i] = entry;
}

static uint64_t heap_pop(struct work *work)
{
    uint64_t *heap = work->heap;
    const uint64_t best = heap[0];
    const uint64_t entry = heap[--work->n_heap];
    uint32_t i = 0;
    for (uint32_t child; (child = 2 * i + 1) < work->n_heap; i = child) {
        if (child + 1 < work->n_heap && heap[child + 1] < heap[child])
            child++;
        if (heap[child] >= entry)
            break;
        heap[i] = heap[child];
    }
    heap[i] = entry;
    return best;
}

/* Note that the symbols at `left` and after it could merge. */
static void propose(struct work *work, uint32_t left)
{
    const uint32_t right = left + work->symbols[left].bytes;
    if (right == work->n_word)
        return;
    const uint32_t bytes = work->symbols[left].bytes + work->symbols[right].bytes;
    const int32_t id = look_up(work->tokenizer, work->word + left, bytes);
    if (id != HEARTH_TOKEN_NONE)
        heap_push(work, (uint64_t)work->tokenizer->ranks[id] << 32 | (uint64_t)left << 16 | (bytes - 1));
}

/* Symbols only grow, so a left symbol that still stands, with a neighbour that fills the recorded length, is the recorded pair. */
static void merge_all(struct work *work)
{
    struct symbol *symbols = work->symbols;
    while (work->n_heap > 0) {
        const uint64_t entry = heap_pop(work);
        const uint32_t left = (uint32_t)(entry >> 16) & 0xffffu;
        const uint32_t bytes = ((uint32_t)entry & 0xffffu) + 1;
        const uint32_t right = left + symbols[left].bytes;
        if (symbols[left].bytes == 0 || right == work->n_word || symbols[left].bytes + symbols[right].bytes != bytes)
            continue;
        symbols[left].bytes = bytes;
        symbols[right].bytes = 0;
        if (left + bytes < work->n_word)
            symbols[left + bytes].prev = left;
        if (symbols[left].prev != NO_SYMBOL)
            propose(work, symbols[left].prev);
        propose(work, left);
    }
}

static void emit_symbol(struct work *work, const uint8_t *bytes, uint32_t n)
{
    const int32_t id = look_up(work->tokenizer, bytes, n);
    if (id != HEARTH_TOKEN_NONE) {
        emit(work, id);
        return;
    }
    const bool space = bytes[0] == ' ';
    const uint8_t *spelling = space ? (const uint8_t *)"\xe2\x96\x81" : bytes;
    for (uint32_t i = 0; i < (space ? 3 : n); i++)
        emit(work, work->tokenizer->byte_ids[spelling[i]]);
}

/* Merge and emit the word gathered so far. */
static void end_word(struct work *work)
{
    for (uint32_t i = 0; i < work->n_word; i += work->symbols[i].bytes)
        propose(work, i);
    merge_all(work);
    for (uint32_t i = 0; i < work->n_word; i += work->symbols[i].bytes)
        emit_symbol(work, work->word + i, work->symbols[i].bytes);
    work->n_word = 0;
}

static void add_symbol(struct work *work, const uint8_t *symbol, size_t n, uint32_t *prev)
{
    const uint32_t pair = (uint32_t)work->last * 256 + symbol[0];
    const bool joins = work->tokenizer->joins[pair / 64] >> pair % 64 & 1;
    if (work->n_word > 0 && (!joins || work->n_word + n > HEARTH_TOKENIZER_WORD_MAX))
        end_word(work);
    const uint32_t at = work->n_word;
    work->symbols[at] = (struct symbol){(uint32_t)n, at == 0 ? NO_SYMBOL : *prev};
    for (size_t i = 1; i < n; i++)
        work->symbols[at + i].bytes = 0;
    memcpy(work->word + at, symbol, n);
    work->n_word += (uint32_t)n;
    work->last = symbol[n - 1];
    *prev = at;
}

/* A stretch of text without special tokens; goes_on: no space is put before it. */
static void encode_part(struct work *work, const uint8_t *text, size_t bytes, bool goes_on)
{
    if (bytes == 0)
        return;
    uint32_t prev = NO_SYMBOL;
    if (work->tokenizer->add_space_prefix && !goes_on)
        add_symbol(work, (const uint8_t *)" ", 1, &prev);
    for (size_t i = 0; i < bytes;) {
        uint8_t symbol[4];
        size_t n;
        i += next_symbol(text + i, bytes - i, symbol, &n);
        add_symbol(work, symbol, n, &prev);
    }
    end_word(work);
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
    struct work work = {.tokenizer = tokenizer, .ids = ids, .capacity = capacity, .heap = scratch};
    work.symbols = (struct symbol *)(void *)(work.heap + 2 * (size_t)HEARTH_TOKENIZER_WORD_MAX);
    work.word = (uint8_t *)(work.symbols + HEARTH_TOKENIZER_WORD_MAX);

    const uint8_t *at = (const uint8_t *)text;
    const bool control = (flags & HEARTH_TOKENIZE_SPECIAL) != 0;
    const bool goes_on = (flags & HEARTH_TOKENIZER_CONTINUE) != 0;
    const bool has_bos = bytes > 0 && match_marked(tokenizer, at, from_caller, bytes, control) == tokenizer->bos;
    if (flags & HEARTH_TOKENIZE_BOS && tokenizer->add_bos && !has_bos)
        emit(&work, tokenizer->bos);
    size_t begin = 0;
    for (size_t i = 0; i < bytes;) {
        const int32_t id = match_marked(tokenizer, at + i, from_caller ? from_caller + i : NULL, bytes - i, control);
        if (id == HEARTH_TOKEN_NONE) {
            i++;
            continue;
        }
        encode_part(&work, at + begin, i - begin, goes_on && begin == 0);
        emit(&work, id);
        i += text_of(tokenizer, id).size;
        while (tokenizer->kinds[id] & KIND_STRIP && i < bytes && is_space(at[i]))
            i++;
        begin = i;
    }
    if (begin < bytes)
        encode_part(&work, at + begin, bytes - begin, goes_on && begin == 0);
    *n_ids = work.n_ids;
    return work.n_ids > capacity ? HEARTH_E_CONFIG : HEARTH_OK;
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
