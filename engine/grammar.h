/* Grammars: which tokens may come next (spec sampling.md section 8).
 *
 * grammar_parse.c turns the text (GBNF) into a small program over bytes; grammar.c runs that program over the bytes of an answer.
 * All memory is the caller's and of fixed size; whatever a grammar asks for beyond it is an error, never growth. */
#ifndef HEARTH_ENGINE_GRAMMAR_H
#define HEARTH_ENGINE_GRAMMAR_H

#include "common/limits.h"
#include "piece_order.h"

/* Targets of SPLIT and JUMP are relative, so that a stretch of the program can be moved and copied. */
enum hearth_grammar_kind {
    HEARTH_GRAMMAR_RANGE,  /* a byte of low … high, then on */
    HEARTH_GRAMMAR_SPLIT,  /* on, or at target */
    HEARTH_GRAMMAR_JUMP,   /* at target */
    HEARTH_GRAMMAR_CALL,   /* rule number `target`, then on */
    HEARTH_GRAMMAR_RETURN, /* the rule is complete */
};

struct hearth_grammar_op {
    uint8_t kind, low, high;
    int32_t target;
};

struct hearth_grammar {
    uint32_t root;      /* place of the start rule */
    uint32_t n_classes; /* bytes that no RANGE tells apart are one class */
    uint8_t class_of[256], byte_of[256];
    uint32_t rules[HEARTH_GRAMMAR_RULES_MAX]; /* place of each rule */
    struct hearth_grammar_op ops[HEARTH_GRAMMAR_OPS_MAX];
};

/* Bytes of the scratch of compile, 8-byte aligned. */
size_t hearth_grammar_scratch_bytes(void);
/* Compile a text of outside. E_CONFIG with detail E_GRAMMAR names the line. Linear in the text and the program. */
hearth_status hearth_grammar_compile(struct hearth_grammar *out, void *scratch, const char *text, size_t bytes, hearth_error *err);

struct hearth_matcher;

/* Bytes of a matcher; never less than the scratch above, so that one block serves both in turn. A multiple of 64. */
size_t hearth_matcher_bytes(void);
/* A matcher in `memory` (64-byte aligned), at the beginning of a text. The grammar must outlive it. Returns `memory`. */
struct hearth_matcher *hearth_matcher_start(void *memory, const struct hearth_grammar *grammar);
/* The text goes on with these bytes. When they do not follow the grammar, nothing will be allowed any more. */
void hearth_matcher_advance(struct hearth_matcher *matcher, const uint8_t *bytes, size_t n);
/* Whether the text may end here; whether it can only end here; whether it can neither end nor go on. */
bool hearth_matcher_accepts(const struct hearth_matcher *matcher);
bool hearth_matcher_is_done(const struct hearth_matcher *matcher);
bool hearth_matcher_is_dead(const struct hearth_matcher *matcher);
/* Set the bits of allowed[0 … (n_vocab + 63) / 64) for the tokens that may come next: those of `order` whose bytes the grammar
 * takes, ends of an answer exactly where it accepts. E_CONFIG E_GRAMMAR when there is none, or when finding out would take more
 * work or memory than a token is given (some 10 ms). The result depends on the grammar and the text so far alone. */
hearth_status hearth_matcher_allow(struct hearth_matcher *matcher, const struct hearth_piece_order *order,
                                   const struct hearth_tokenizer *tokenizer, uint64_t *allowed, hearth_error *err);

#endif
