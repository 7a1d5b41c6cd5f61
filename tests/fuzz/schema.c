/* JSON schemas (tools/json_schema.c): what is taken becomes a grammar that the engine takes. */
#include "driver/fuzz.h"
#include "grammar.h"
#include "json_schema.h"
#include <stdlib.h>
#include <string.h>

static const char *const words[] = {"{\"type\": \"object\"}",
                                    "{\"type\": [\"string\", \"null\"]}",
                                    "\"properties\": {}",
                                    "\"required\": []",
                                    "\"additionalProperties\": false",
                                    "\"items\": {}",
                                    "\"prefixItems\": [{}]",
                                    "\"minItems\": 1",
                                    "\"maxItems\": 3",
                                    "\"minLength\": 2",
                                    "\"maxLength\": 5",
                                    "\"enum\": [1, \"a\"]",
                                    "\"const\": null",
                                    "\"anyOf\": [{}, true]",
                                    "\"oneOf\": [{}]",
                                    "\"allOf\": [{}]",
                                    "\"$ref\": \"#/$defs/t\"",
                                    "\"$ref\": \"#\"",
                                    "\"$defs\": {\"t\": {}}",
                                    "\"pattern\": \"^a+$\"",
                                    "\"minimum\": 0",
                                    "\"maximum\": 1e3",
                                    "\"format\": \"date\"",
                                    "\"title\": \"t\"",
                                    ", ",
                                    "{",
                                    "}",
                                    "[",
                                    "]",
                                    "\"",
                                    ":",
                                    "\\u00e9",
                                    "\\ud83d",
                                    "4294967296",
                                    "-1",
                                    "0.5",
                                    "true",
                                    "\xff",
                                    "\xf0\x9f\x98\x80"};

static struct hearth_grammar grammar;
static void *scratch;

void fuzz_start(void)
{
    static const char *const texts[] = {
        "{}",
        "true",
        "{\"type\": \"boolean\"}",
        "{\"enum\": [1, \"a\\\"\", null, [1], {\"x\": 0.1}]}",
        "{\"type\": \"string\", \"minLength\": 1, \"maxLength\": 3}",
        "{\"type\": \"array\", \"items\": {\"type\": \"integer\"}, \"minItems\": 1, \"maxItems\": 3}",
        "{\"prefixItems\": [{\"type\": \"null\"}], \"items\": {\"type\": \"boolean\"}}",
        "{\"anyOf\": [{\"type\": \"null\"}, {\"const\": 5}]}",
        "{\"properties\": {\"a\": {}, \"ab\": true}, \"required\": [\"ab\"], \"additionalProperties\": false}",
        "{\"$ref\": \"#/$defs/t\", \"$defs\": {\"t\": {\"items\": {\"$ref\": \"#/$defs/t\"}, \"maxItems\": 2}}}",
    };
    scratch = aligned_alloc(64, hearth_matcher_bytes());
    fuzz_need(scratch, "no memory");
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        fuzz_seed(texts[i], strlen(texts[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hearth_error err = {0};
    char *text = NULL;
    size_t n = 0;
    const hearth_status status = json_schema_to_grammar(&text, &n, "fuzz.json", (const char *)data, size, &err);
    fuzz_answer(status, &err);
    fuzz_need((status == HEARTH_OK) == (text != NULL), "status %d, text %p", status, (void *)text);
    if (status == HEARTH_OK && hearth_grammar_compile(&grammar, scratch, text, n, &err) != HEARTH_OK)
        fuzz_need(false, "%s: %.*s", err.message, (int)n, text);
    free(text);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t capacity, unsigned int seed)
{
    return fuzz_mutate_text(data, size, capacity, seed, words, sizeof words / sizeof words[0]);
}
