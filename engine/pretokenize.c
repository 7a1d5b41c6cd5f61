/* Pre-tokenizers: families of patterns, the names of files that use them, and the walk over a text.
 *
 * Bounds. Every pattern is a choice of sequences of single characters and repeated classes; nothing repeated contains anything
 * repeated. So the interpreter's stack of frames stays within its first block, and one search does a few steps for each character
 * of its subject. What a search passes over without taking it (the rest of a run of white space, capitals that no small
 * letter follows) is taken by the next alternative, or excluded by a look back; so a window costs a few steps for each of its
 * characters, not a square. The limits are far above that, and reached only if this reasoning is wrong: then the rest of the piece
 * stays whole. */
#include "pretokenize.h"
#include "utf8.h"
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>

/* ---- Patterns ------------------------------------------------------------------------------------------------------- */

/* \s of PCRE2 is not White_Space: it takes U+180E, too. */
#define W "\\p{White_Space}"
#define CONTRACTION "'(?:[stmd]|re|ve|ll)"
#define CONTRACTION_ANY_CASE "'(?:[sStTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])"
#define TO_LAST_NEWLINE "[" W "]*[\\r\\n]+"
#define ALL_BUT_LAST_SPACE "[" W "]+(?![^" W "])"
#define SPACES TO_LAST_NEWLINE "|" ALL_BUT_LAST_SPACE "|[" W "]+"
#define PREFIXED_WORD "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
#define OTHERS " ?[^" W "\\p{L}\\p{N}]+"

#define GPT2 CONTRACTION "| ?\\p{L}+| ?\\p{N}+|" OTHERS "|" ALL_BUT_LAST_SPACE "|[" W "]+"
#define CL100K(digits) CONTRACTION_ANY_CASE "|" PREFIXED_WORD "|\\p{N}" digits "|" OTHERS "[\\r\\n]*|" SPACES

/* Words of capitals and small letters; letters without case, and marks, are both. */
#define CASED(upper, lower, ending)                                                                                                \
    "[^\\r\\n\\p{L}\\p{N}]?" upper "*" lower "+" ending "|[^\\r\\n\\p{L}\\p{N}]?" upper "+" lower "*" ending
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define O200K(digits, ending, tail) CASED(UPPER, LOWER, ending) "|\\p{N}" digits "|" OTHERS tail "*|" SPACES
/* The same classes by what is not in them, to take Chinese characters out. */
#define UPPER_NOT_HAN "[^\\p{Ll}\\p{N}\\p{P}\\p{S}\\p{Z}\\p{C}\\p{sc:Han}]"
#define LOWER_NOT_HAN "[^\\p{Lu}\\p{Lt}\\p{N}\\p{P}\\p{S}\\p{Z}\\p{C}\\p{sc:Han}]"
#define MAYBE_CONTRACTION "(?:" CONTRACTION_ANY_CASE ")?"

#define JAPANESE "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+"
#define DEEPSEEK_V3 "[!-/:-@\\[-`{-~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|" SPACES
#define DEEPSEEK_CJK "[\\x{800}-\\x{9fa5}\\x{ac00}-\\x{d7ff}]+"
/* The letters with case of an older Unicode. Asking first for any letter with case spares the list for others. */
#define DEEPSEEK_LETTERS                                                                                                           \
    "[" W "]?(?=[\\p{Lu}\\p{Ll}\\p{Lt}])"                                                                                          \
    "[A-Za-z\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}\\x{1c4}-\\x{293}\\x{295}-\\x{2af}"              \
    "\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37b}-\\x{37d}\\x{37f}\\x{386}\\x{388}-\\x{38a}\\x{38c}\\x{38e}-\\x{3a1}"                 \
    "\\x{3a3}-\\x{3f5}\\x{3f7}-\\x{481}\\x{48a}-\\x{52f}\\x{531}-\\x{556}\\x{10a0}-\\x{10c5}\\x{13a0}-\\x{13f5}"                   \
    "\\x{13f8}-\\x{13fd}\\x{1c90}-\\x{1cba}\\x{1cbd}-\\x{1cbf}\\x{1d00}-\\x{1d2b}\\x{1d6b}-\\x{1d77}\\x{1d79}-\\x{1d9a}"           \
    "\\x{1e00}-\\x{1f15}\\x{1f18}-\\x{1f1d}\\x{1f20}-\\x{1f45}\\x{1f48}-\\x{1f4d}\\x{1f50}-\\x{1f57}\\x{1f59}\\x{1f5b}\\x{1f5d}"   \
    "\\x{1f5f}-\\x{1f7d}\\x{1f80}-\\x{1fb4}\\x{1fb6}-\\x{1fbc}\\x{1fbe}\\x{1fc2}-\\x{1fc4}\\x{1fc6}-\\x{1fcc}"                     \
    "\\x{1fd0}-\\x{1fd3}\\x{1fd6}-\\x{1fdb}\\x{1fe0}-\\x{1fec}\\x{1ff2}-\\x{1ff4}\\x{1ff6}-\\x{1ffc}\\x{2102}\\x{2107}"            \
    "\\x{210a}-\\x{2113}\\x{2115}\\x{2119}-\\x{211d}\\x{2124}\\x{2126}\\x{2128}\\x{212a}-\\x{212d}\\x{212f}-\\x{2134}\\x{2139}"    \
    "\\x{213c}-\\x{213f}\\x{2145}-\\x{2149}\\x{214e}\\x{2183}\\x{2184}\\x{2c00}-\\x{2c7b}\\x{2c7e}-\\x{2ce4}"                      \
    "\\x{2ceb}-\\x{2cee}\\x{2cf2}\\x{2cf3}\\x{a640}-\\x{a66d}\\x{a680}-\\x{a69b}\\x{a722}-\\x{a76f}\\x{a771}-\\x{a787}"            \
    "\\x{a78b}-\\x{a78e}\\x{ab70}-\\x{abbf}\\x{fb00}-\\x{fb06}\\x{fb13}-\\x{fb17}\\x{ff21}-\\x{ff3a}\\x{ff41}-\\x{ff5a}"           \
    "\\x{10400}-\\x{1044f}\\x{104b0}-\\x{104d3}\\x{104d8}-\\x{104fb}\\x{10c80}-\\x{10cb2}\\x{10cc0}-\\x{10cf2}"                    \
    "\\x{118a0}-\\x{118df}\\x{1e900}-\\x{1e943}]+"
/* Blocks of Chinese, Japanese and Korean characters, of Thai, Lao, Khmer and Myanmar. */
#define AFMOE_BLOCKS                                                                                                               \
    "[\\x{4e00}-\\x{9fff}\\x{3400}-\\x{4dbf}\\x{f900}-\\x{faff}\\x{3040}-\\x{30ff}\\x{ff65}-\\x{ff9f}\\x{2f00}-\\x{2fdf}"          \
    "\\x{e00}-\\x{eff}\\x{1780}-\\x{17ff}\\x{1000}-\\x{109f}\\x{aa60}-\\x{aa7f}\\x{a9e0}-\\x{a9ff}\\x{ac00}-\\x{d7af}"             \
    "\\x{1100}-\\x{11ff}]+"
/* Ends of sentences and of their parts that bloom and its kin cut at. */
#define STOPS ".,!?\\x{2026}\\x{3002}\\x{ff0c}\\x{3001}\\x{964}\\x{6d4}\\x{60c}"

enum treatment {               /* of a match */
                 WHOLE,        /* one piece */
                 THREES,       /* pieces of three characters, counted from the right */
                 POWERS_OF_TWO /* pieces of 512, 256 … 4, 2, 1 characters, as large as possible */
};

struct stage {
    const char *pattern; /* NULL: there are no more */
    enum treatment treatment;
};

enum { STAGES_MAX = 6 };

struct hearth_pretokenizer_family {
    struct stage stages[STAGES_MAX];
};

#define O200K_3 O200K("{1,3}", MAYBE_CONTRACTION, "[\\r\\n/]")
#define LINES "[^\\n]+|\\n+"
#define BLOOM " ?[^(" W "|)" STOPS "]+"

typedef const struct hearth_pretokenizer_family family;
static family default_ = {{{"[\\p{P}$+<=>^~|]+", WHOLE}, {GPT2, WHOLE}, {"\\p{N}+", WHOLE}, {"[0-9]{3}", WHOLE}}};
static family gpt2 = {{{GPT2, WHOLE}}};
static family digit1_gpt2 = {{{"\\p{N}", WHOLE}, {GPT2, WHOLE}}};
static family falcon = {{{"[\\p{P}$+<=>^~|`]+", WHOLE}, {GPT2, WHOLE}, {"[0-9]{3}", WHOLE}}};
static family cl100k_1 = {{{CL100K(""), WHOLE}}}; /* of bailingmoe, too: its W* nl takes the same as W* nl+ */
static family cl100k_3 = {{{CL100K("{1,3}"), WHOLE}}};
static family qwen35 = {
    {{CONTRACTION_ANY_CASE "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^" W "\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" SPACES, WHOLE}}};
static family minicpm5 = {{{"\\p{N}{1,3}", WHOLE}, {CL100K("+"), WHOLE}}};
static family seed_coder = {{{CONTRACTION_ANY_CASE "|" PREFIXED_WORD "|\\p{N}| ?[^" W "\\p{L}\\p{N}\\r\\n]+|" SPACES, WHOLE}}};
static family laguna = {{{LINES, WHOLE}, {CL100K(""), WHOLE}}};
static family jais2 = {{{CL100K("{1,3}"), WHOLE}, {"\\A[" W "]++\\z(?<![\\r\\n])", POWERS_OF_TWO}}};
static family tekken = {{{O200K("", "", "[\\r\\n/]"), WHOLE}}};
static family o200k_3 = {{{O200K_3, WHOLE}}};
/* Digits that end a word, in threes. */
static family tiny_aya = {{{"(?<!\\p{Nd})\\p{Nd}++(?![\\p{L}\\p{M}\\p{Nl}\\p{Pc}])", THREES}, {O200K_3, WHOLE}}};
static family kimi_k2 = {
    {{"\\p{sc:Han}+|" CASED(UPPER_NOT_HAN, LOWER_NOT_HAN, MAYBE_CONTRACTION) "|\\p{N}{1,3}|" OTHERS "[\\r\\n]*|" SPACES, WHOLE}}};
static family deepseek_llm = {
    {{"[\\r\\n]", WHOLE},
     {DEEPSEEK_LETTERS, WHOLE},
     {"[" W "]?[!-/:-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}\\x{2018}-\\x{201f}\\x{3000}-\\x{3002}]+", WHOLE},
     {"(?<![" W "])[" W "]++\\z", WHOLE},
     {DEEPSEEK_CJK, WHOLE},
     {"\\p{N}+", WHOLE}}};
static family deepseek_coder = {
    {{"[\\r\\n]", WHOLE}, {"[" W "]?\\p{L}+", WHOLE}, {"[" W "]?\\p{P}+", WHOLE}, {DEEPSEEK_CJK, WHOLE}, {"\\p{N}", WHOLE}}};
static family deepseek_v3 = {{{"\\p{N}{1,3}", WHOLE}, {JAPANESE, WHOLE}, {DEEPSEEK_V3, WHOLE}}};
static family afmoe = {{{"\\p{N}+", THREES}, {AFMOE_BLOCKS, WHOLE}, {DEEPSEEK_V3, WHOLE}}};
static family bloom = {{{BLOOM, WHOLE}}};
static family viking = {{{BLOOM, WHOLE}, {"\\p{N}", WHOLE}}};
static family superbpe = {{{"\\p{N}+", THREES}}};

static const struct hearth_pretokenizer_name names[] = {
    {"default", &default_, false},
    {"gpt-2", &gpt2, false},
    {"phi-2", &gpt2, false},
    {"mpt", &gpt2, false},
    {"olmo", &gpt2, false},
    {"jais", &gpt2, false},
    {"trillion", &gpt2, false},
    {"exaone4", &gpt2, false},
    {"gigachat", &gpt2, false},
    {"mellum", &gpt2, false},
    {"modern-bert", &gpt2, false},
    {"a.x-4.0", &gpt2, false},
    {"granite-docling", &gpt2, false},
    {"jina-es", &gpt2, false},
    {"jina-de", &gpt2, false},
    {"jina-v2-es", &gpt2, false},
    {"jina-v2-de", &gpt2, false},
    {"jina-v1-en", &gpt2, false},
    {"jina-v2-code", &gpt2, false},
    {"roberta-bpe", &gpt2, false},
    {"starcoder", &digit1_gpt2, false},
    {"refact", &digit1_gpt2, false},
    {"command-r", &digit1_gpt2, false},
    {"smollm", &digit1_gpt2, false},
    {"codeshell", &digit1_gpt2, false},
    {"exaone", &digit1_gpt2, false},
    {"minerva-7b", &digit1_gpt2, false},
    {"mellum2", &digit1_gpt2, false},
    {"llama-bpe", &cl100k_3, true},
    {"llama3", &cl100k_3, true},
    {"llama-v3", &cl100k_3, true},
    {"falcon3", &cl100k_3, true},
    {"falcon-h1", &cl100k_3, true},
    {"pixtral", &cl100k_3, true},
    {"midm-2.0", &cl100k_3, true},
    {"lfm2", &cl100k_3, true},
    {"jina-v5-nano", &cl100k_3, true},
    {"dbrx", &cl100k_3, false},
    {"smaug-bpe", &cl100k_3, false},
    {"glm4", &cl100k_3, false},
    {"chatglm-bpe", &cl100k_3, false},
    {"qwen2", &cl100k_1, false},
    {"stablelm2", &cl100k_1, false},
    {"deepseek-r1-qwen", &cl100k_1, false},
    {"megrez", &cl100k_1, false},
    {"hunyuan", &cl100k_1, false},
    {"solar-open", &cl100k_1, false},
    {"grok-2", &cl100k_1, false},
    {"kormo", &cl100k_1, false},
    {"f2llmv2", &cl100k_1, false},
    {"bailingmoe", &cl100k_1, false},
    {"bailingmoe2", &cl100k_1, false},
    {"llada-moe", &cl100k_1, false},
    {"qwen35", &qwen35, false},
    {"tekken", &tekken, true},
    {"gpt-4o", &o200k_3, false},
    {"llama4", &o200k_3, false},
    {"minimax-m2", &o200k_3, false},
    {"kanana2", &o200k_3, false},
    {"talkie", &o200k_3, false},
    {"tiny_aya", &tiny_aya, false},
    {"cohere2moe", &tiny_aya, false},
    {"kimi-k2", &kimi_k2, false},
    {"falcon", &falcon, false},
    {"deepseek-llm", &deepseek_llm, false},
    {"deepseek-coder", &deepseek_coder, false},
    {"deepseek-v3", &deepseek_v3, false},
    {"hunyuan-dense", &deepseek_v3, false},
    {"joyai-llm", &deepseek_v3, false},
    {"minicpm5", &minicpm5, true},
    {"seed-coder", &seed_coder, false},
    {"laguna", &laguna, false},
    {"afmoe", &afmoe, false},
    {"poro-chat", &bloom, false},
    {"bloom", &bloom, false},
    {"gpt3-finnish", &bloom, false},
    {"viking", &viking, false},
    {"superbpe", &superbpe, false},
    {"jais-2", &jais2, false},
};

const struct hearth_pretokenizer_name *hearth_pretokenizer_at(size_t index)
{
    return index < sizeof names / sizeof names[0] ? &names[index] : NULL;
}

const struct hearth_pretokenizer_name *hearth_pretokenizer_find(struct hearth_view name)
{
    if (name.size == 0)
        return &names[0];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strlen(names[i].name) == name.size && memcmp(names[i].name, name.bytes, name.size) == 0)
            return &names[i];
    }
    return NULL;
}

/* ---- Memory --------------------------------------------------------------------------------------------------------- */

struct pile { /* of blocks that are never given back one by one */
    uint8_t *at;
    size_t left;
};

static void *pile_take(size_t bytes, void *user)
{
    struct pile *pile = user;
    const size_t rounded = (bytes + 15) & ~(size_t)15;
    if (bytes > pile->left || rounded > pile->left)
        return NULL;
    void *block = pile->at;
    pile->at += rounded;
    pile->left -= rounded;
    return block;
}

static void pile_leave(void *block, void *user)
{
    (void)block;
    (void)user;
}

/* ---- Compiling ------------------------------------------------------------------------------------------------------ */

struct hearth_pretokenizer {
    const struct stage *stages;
    uint32_t n_stages;
    const pcre2_code *codes[STAGES_MAX];
    const pcre2_code *last_border; /* from the beginning to the last place where a window may end */
};

static const pcre2_code *compile(struct pile *pile, const char *pattern)
{
    int error;
    PCRE2_SIZE at;
    pcre2_general_context *general = pcre2_general_context_create(pile_take, pile_leave, pile);
    pcre2_compile_context *context = general ? pcre2_compile_context_create(general) : NULL;
    return context ? pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_DOTALL, &error, &at, context)
                   : NULL;
}

struct hearth_pretokenizer *hearth_pretokenizer_init(void *memory, const struct hearth_pretokenizer_name *name)
{
    struct hearth_pretokenizer *p = memory;
    const size_t own = (sizeof *p + 63) & ~(size_t)63;
    struct pile pile = {(uint8_t *)memory + own, HEARTH_PRETOKENIZER_BYTES - own};
    *p = (struct hearth_pretokenizer){.stages = name->family->stages};
    p->last_border = compile(&pile, ".*\\p{L}(?=[" W STOPS "])");
    bool compiled = p->last_border != NULL;
    for (; compiled && p->n_stages < STAGES_MAX && p->stages[p->n_stages].pattern; p->n_stages++) {
        p->codes[p->n_stages] = compile(&pile, p->stages[p->n_stages].pattern);
        compiled = p->codes[p->n_stages] != NULL;
    }
    return compiled ? p : NULL;
}

/* ---- The walk ------------------------------------------------------------------------------------------------------- */

#define WINDOW HEARTH_PRETOKENIZER_WINDOW

struct walk {
    const struct hearth_pretokenizer *pretokenizer;
    pcre2_match_data *match;
    pcre2_match_context *context;
    const uint8_t *window; /* valid UTF-8 */
    size_t before;         /* bytes of the text before the window */
    hearth_piece_fn *fn;
    void *user;
};

/* The first match of `code` in [begin, end) at or after `from`. */
static bool find(const struct walk *walk, const pcre2_code *code, size_t begin, size_t end, size_t from, size_t found[2])
{
    const int n = pcre2_match(code, walk->window + begin, end - begin, from - begin, PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY,
                              walk->match, walk->context);
    if (n < 0)
        return false;
    const PCRE2_SIZE *offsets = pcre2_get_ovector_pointer(walk->match);
    found[0] = begin + offsets[0];
    found[1] = begin + offsets[1];
    return true;
}

static size_t skip_characters(const uint8_t *window, size_t at, size_t n)
{
    for (; n > 0; n--) {
        size_t need;
        at += hearth_utf8_take(window + at, 4, &need); /* whole: the window has three bytes more, and is valid */
    }
    return at;
}

static size_t count_characters(const uint8_t *window, size_t begin, size_t end)
{
    size_t n = 0;
    for (size_t i = begin; i < end; i++)
        n += (window[i] & 0xc0) != 0x80;
    return n;
}

static void run_stage(const struct walk *walk, uint32_t stage, size_t begin, size_t end);

static void treat(const struct walk *walk, uint32_t stage, size_t begin, size_t end)
{
    const enum treatment treatment = walk->pretokenizer->stages[stage].treatment;
    size_t left = treatment == WHOLE ? 0 : count_characters(walk->window, begin, end);
    while (left > 0) {
        size_t n = treatment == THREES ? (left - 1) % 3 + 1 : 512;
        while (n > left)
            n /= 2;
        const size_t next = skip_characters(walk->window, begin, n);
        run_stage(walk, stage + 1, begin, next);
        begin = next;
        left -= n;
    }
    run_stage(walk, stage + 1, begin, end);
}

/* Calls itself once for each stage. */
static void run_stage(const struct walk *walk, uint32_t stage, size_t begin, size_t end)
{
    if (begin == end)
        return;
    if (stage == walk->pretokenizer->n_stages) {
        walk->fn(walk->before + begin, walk->before + end, walk->user);
        return;
    }
    size_t found[2];
    for (size_t at = begin; at < end; at = found[1]) {
        if (!find(walk, walk->pretokenizer->codes[stage], begin, end, at, found))
            found[0] = found[1] = end;
        run_stage(walk, stage + 1, at, found[0]);
        treat(walk, stage, found[0], found[1]);
    }
}

/* Copy what fits a window, whole characters only, with a control character for each byte that is no UTF-8. Returns the bytes. */
static size_t fill_window(uint8_t *window, const uint8_t *text, size_t bytes)
{
    size_t at = 0;
    while (at < bytes) {
        size_t need;
        const size_t have = hearth_utf8_take(text + at, bytes - at, &need);
        if (have > WINDOW - at)
            break;
        if (have == need)
            memcpy(window + at, text + at, have);
        else
            memset(window + at, 1, have);
        at += have;
    }
    return at;
}

/* False when PCRE2's own structures do not fit, which the tests rule out for the version they run with. */
static bool begin_walk(struct walk *walk, struct pile *pile)
{
    pcre2_general_context *general = pcre2_general_context_create(pile_take, pile_leave, pile);
    walk->match = general ? pcre2_match_data_create(1, general) : NULL;
    walk->context = general ? pcre2_match_context_create(general) : NULL;
    if (!walk->match || !walk->context)
        return false;
    (void)pcre2_set_match_limit(walk->context, 16 * WINDOW);
    (void)pcre2_set_depth_limit(walk->context, 64);
    (void)pcre2_set_heap_limit(walk->context, 20); /* KiB: the first block of frames */
    return true;
}

void hearth_pretokenize(const struct hearth_pretokenizer *pretokenizer, void *scratch, const uint8_t *text, size_t bytes,
                        hearth_piece_fn *fn, void *user)
{
    uint8_t *window = scratch;
    struct pile pile = {window + WINDOW, HEARTH_PRETOKENIZER_SCRATCH - WINDOW};
    struct walk walk = {.pretokenizer = pretokenizer, .window = window, .fn = fn, .user = user};
    const bool ready = begin_walk(&walk, &pile);
    while (walk.before < bytes) {
        size_t n = fill_window(window, text + walk.before, bytes - walk.before);
        size_t found[2];
        if (ready && n < bytes - walk.before && find(&walk, pretokenizer->last_border, 0, n, 0, found))
            n = found[1];
        if (ready)
            run_stage(&walk, 0, 0, n);
        else
            fn(walk.before, walk.before + n, user);
        walk.before += n;
    }
}
