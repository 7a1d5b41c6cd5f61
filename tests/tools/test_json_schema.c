/* JSON schemas: what their grammars take and refuse, which schemas are refused, and answers of the bundled model against a
 * validator of our own. */
#include "engine.h"
#include "golden.h"
#include "json_schema.h"
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

static hearth_error err;
static char *text;
static size_t text_bytes;

static hearth_status compile(const char *schema)
{
    free(text);
    return json_schema_to_grammar(&text, &text_bytes, "test.json", schema, strlen(schema), &err);
}

/* ---- Documents ----------------------------------------------------------------------------------------------------------- */

#define TREE                                                                                                                       \
    "{\"$ref\": \"#/$defs/t\", \"$defs\": {\"t\": {\"type\": \"object\", \"properties\": {\"v\": {\"type\": \"integer\"}, "        \
    "\"c\": {\"type\": \"array\", \"items\": {\"$ref\": \"#/$defs/t\"}, \"maxItems\": 2}}, \"required\": [\"v\"]}}}"
#define OBJECT                                                                                                                     \
    "{\"properties\": {\"a\": {\"type\": \"null\"}, \"ab\": {\"type\": \"boolean\"}, \"é\\\"\": {\"const\": 1}}, "                \
    "\"required\": [\"ab\"], \"additionalProperties\": "

static const struct {
    const char *schema, *good, *bad; /* documents separated by ';' */
} cases[] = {
    {"{}", "1;\"x\";[1, {\"a\":null}];{};-0.5e+7;true", "01;1.;'x';[1,];{\"a\"};+1;.5;nul;\"\t\""},
    {"true", "{}", ""},
    {"{\"type\": \"boolean\", \"title\": \"t\", \"$comment\": \"c\"}", "true;false", "0;null;True"},
    {"{\"type\": [\"string\", \"null\"], \"maxLength\": 2}", "null;\"\";\"é😀\";\"\\n\\\"\"", "\"abc\";1"},
    {"{\"minLength\": 2}", "\"ab\";\"abcdefg\"", "\"a\";1;null"},
    {"{\"type\": \"string\", \"minLength\": 1, \"maxLength\": 1}", "\"a\"", "\"\";\"aa\""},
    {"{\"enum\": [1, \"a\\\"\\\\b\", null, [1, 2], {\"x\": 0.1}, 1e300, \"\xc3\xa9\"]}",
     "1;\"a\\\"\\\\b\";null;[1,2];{\"x\":0.1};\"\xc3\xa9\"", "2;\"a\";[1];10"},
    {"{\"type\": \"integer\", \"enum\": [1, \"a\", 2]}", "1;2", "\"a\""},
    {"{\"const\": {\"k\": [true]}}", "{\"k\":[true]}", "{};{\"k\":[false]}"},
    {"{\"type\": \"array\"}", "[];[1, \"x\"]", "{}"},
    {"{\"type\": \"array\", \"items\": {\"type\": \"integer\"}, \"minItems\": 1, \"maxItems\": 3}", "[1];[1,2];[1, 2,\n  3]",
     "[];[1,2,3,4];[\"x\"];[1,]"},
    {"{\"items\": {\"type\": \"null\"}, \"maxItems\": 0}", "[];[ ]", "[null]"},
    {"{\"items\": {\"type\": \"null\"}, \"minItems\": 2}", "[null,null];[null,null,null,null]", "[];[null]"},
    {"{\"items\": {\"type\": \"null\"}, \"minItems\": 2, \"maxItems\": 2}", "[null,null]", "[null];[null,null,null]"},
    {"{\"items\": {\"type\": \"null\"}, \"maxItems\": 1}", "[];[null]", "[null,null]"},
    {"{\"items\": false}", "[]", "[1]"},
    {"{\"prefixItems\": [{\"type\": \"null\"}, {\"type\": \"boolean\"}]}", "[null,true]", "[true,null];[null,true,1]"},
    {"{\"prefixItems\": [{\"type\": \"null\"}], \"items\": {\"type\": \"boolean\"}, \"maxItems\": 3}",
     "[null];[null,true];[null,true,false]", "[true];[null,null];[null,true,true,true]"},
    {"{\"prefixItems\": [{\"type\": \"null\"}], \"items\": {\"type\": \"boolean\"}, \"minItems\": 2}", "[null,true]",
     "[null];[null,true,1]"},
    {"{\"prefixItems\": [{\"type\": \"null\"}, true], \"maxItems\": 1}", "[null]", "[null,1]"},
    {"{\"prefixItems\": [{\"type\": \"null\"}], \"minItems\": 3}", "[null,1,2]", "[null];[null,1]"},
    {"{\"anyOf\": [{\"type\": \"null\"}, {\"const\": 5}]}", "null;5", "6;true"},
    {"{\"oneOf\": [{\"type\": \"null\"}, {\"type\": \"number\"}, {\"type\": \"string\"}]}", "null;5.5;\"x\"", "true"},
    {TREE, "{\"v\":1};{\"v\":1,\"c\":[]};{\"v\":1,\"c\":[{\"v\":2,\"c\":[{\"v\":3}]},{\"v\":4}]}",
     "{};{\"c\":[]};{\"v\":1,\"c\":[{}]}"},
    {"{\"items\": {\"$ref\": \"#\"}}", "[];[[],[[]]]", "[1]"},
    {"{\"type\": \"object\", \"additionalProperties\": false}", "{};{ }", "{\"a\":1}"},
    {"{\"additionalProperties\": {\"type\": \"null\"}}", "{};{\"a\":null, \"b\":null}", "{\"a\":1}"},
    {OBJECT "false}", "{\"ab\":true};{\"a\":null,\"ab\":false};{\"ab\":true,\"\xc3\xa9\\\"\":1}",
     "{};{\"ab\":true,\"a\":null};{\"ab\":1};{\"ab\":true,\"x\":1};{\"ab\":true,};{,\"ab\":true}"},
    {OBJECT "true}",
     "{\"ab\":true};{\"ab\":true,\"x\":1,\"abc\":[]};{\"ab\":true,\"\":1};{\"ab\":true,\"aa\":1,\"b\":2,\"\xc3\xa9\":3}",
     "{\"ab\":true,\"a\":1};{\"ab\":true,\"ab\":1};{\"x\":1}"},
    {"{\"type\": \"integer\"}", "0;-1;1234567890123456", "-0;01;1.0;1e2;12345678901234567"},
    {"{\"type\": \"number\"}", "0;-0;1.5E-3;12", "1.;e5"},
    {"{\"type\": [\"integer\", \"number\"]}", "1;1.5", "\"1\""},
};

Test(json_schema, documents)
{
    struct hearth_grammar *grammar = malloc(sizeof *grammar);
    void *memory = aligned_alloc(64, hearth_matcher_bytes());
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_assert_eq(compile(cases[i].schema), HEARTH_OK, "%s: %s", cases[i].schema, err.message);
        cr_assert_eq(hearth_grammar_compile(grammar, memory, text, text_bytes, &err), HEARTH_OK, "%s: %s\n%.*s", cases[i].schema,
                     err.message, (int)text_bytes, text);
        for (int good = 0; good <= 1; good++)
            for (const char *at = good ? cases[i].good : cases[i].bad; *at;) {
                const size_t n = strcspn(at, ";");
                struct hearth_matcher *m = hearth_matcher_start(memory, grammar);
                hearth_matcher_advance(m, (const uint8_t *)at, n);
                cr_expect_eq(hearth_matcher_accepts(m), good, "%s: %.*s", cases[i].schema, (int)n, at);
                at += n + (at[n] == ';');
            }
    }
    free(memory);
    free(grammar);
}

/* Bounds of integers, against counting. */
Test(json_schema, integers)
{
    static const int64_t bounds[][2] = {{0, 0},      {0, 9},         {0, 100},   {5, 30},     {10, 99},   {17, 17},
                                        {37, 4321},  {-5, 5},        {-120, -7}, {-1, 0},     {100, 999}, {-999, 1000},
                                        {899, 1101}, {-3000, -2999}, {998, 999}, {1, 100000}, {-37, 2048}};
    struct hearth_grammar *grammar = malloc(sizeof *grammar);
    void *memory = aligned_alloc(64, hearth_matcher_bytes());
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
        char schema[128];
        const bool exclusive = i % 2 == 1;
        (void)snprintf(schema, sizeof schema, "{\"type\": \"integer\", \"%s\": %" PRId64 ", \"%s\": %" PRId64 "}",
                       exclusive ? "exclusiveMinimum" : "minimum", bounds[i][0] - exclusive,
                       exclusive ? "exclusiveMaximum" : "maximum", bounds[i][1] + exclusive);
        cr_assert_eq(compile(schema), HEARTH_OK, "%s: %s", schema, err.message);
        cr_assert_eq(hearth_grammar_compile(grammar, memory, text, text_bytes, &err), HEARTH_OK, "%s", err.message);
        for (int64_t value = -5000; value <= 5000; value++) {
            char digits[32];
            const size_t n = (size_t)snprintf(digits, sizeof digits, "%" PRId64, value);
            struct hearth_matcher *m = hearth_matcher_start(memory, grammar);
            hearth_matcher_advance(m, (const uint8_t *)digits, n);
            cr_expect_eq(hearth_matcher_accepts(m), value >= bounds[i][0] && value <= bounds[i][1], "%s: %s", schema, digits);
        }
    }
    free(memory);
    free(grammar);
}

Test(json_schema, refusals)
{
    static const struct {
        const char *schema, *message;
    } refused[] = {
        {"", "schema: line"},
        {"{", "schema: line"},
        {"{\"type\": \"null\", \"type\": \"null\"}", "duplicate"},
        {"3", "need an object"},
        {"false", "no value is valid"},
        {"{\"type\": \"date\"}", "no such type: 'date'"},
        {"{\"type\": []}", "empty"},
        {"{\"properties\": {\"a\": {\"pattern\": \"x\"}}}", "schema #/properties/a: keyword is not supported: 'pattern'"},
        {"{\"items\": {\"anyOf\": [true, {\"format\": \"date\"}]}}", "#/items/anyOf/1: keyword is not supported: 'format'"},
        {"{\"not\": {}}", "'not'"},
        {"{\"allOf\": [{}]}", "'allOf'"},
        {"{\"uniqueItems\": true}", "'uniqueItems'"},
        {"{\"multipleOf\": 2}", "'multipleOf'"},
        {"{\"minProperties\": 2}", "'minProperties'"},
        {"{\"patternProperties\": {}}", "'patternProperties'"},
        {"{\"no-such-word\": 1}", "'no-such-word'"},
        {"{\"type\": \"number\", \"minimum\": 2}", "'minimum'"},
        {"{\"type\": \"integer\", \"minimum\": 2.5}", "whole number: 'minimum'"},
        {"{\"type\": \"integer\", \"minimum\": 5, \"maximum\": 4}", "no integer"},
        {"{\"type\": \"integer\", \"maximum\": 1e300}", "16 digits"},
        {"{\"type\": \"integer\", \"exclusiveMinimum\": true}", "need a number"},
        {"{\"maxLength\": -1}", "'maxLength'"},
        {"{\"maxLength\": 2001}", "'maxLength'"},
        {"{\"maxItems\": 1e300}", "'maxItems'"},
        {"{\"minLength\": 3, \"maxLength\": 2}", "less than"},
        {"{\"minItems\": 3, \"maxItems\": 2}", "less than"},
        {"{\"items\": false, \"minItems\": 1}", "more than there can be"},
        {"{\"enum\": []}", "need a list"},
        {"{\"enum\": [1], \"type\": \"string\"}", "no value"},
        {"{\"enum\": [1], \"minimum\": 0}", "beside"},
        {"{\"$ref\": \"#/a\", \"type\": \"null\"}", "beside"},
        {"{\"$ref\": \"#/a\"}", "need a place in this file"},
        {"{\"$ref\": \"#\"}", "stands for itself"},
        {"{\"anyOf\": [{\"type\": \"null\"}, {\"$ref\": \"#/$defs/a\"}], \"$defs\": {\"a\": {\"$ref\": \"#\"}}}",
         "stands for itself"},
        {"{\"anyOf\": [{\"items\": {\"$ref\": \"#/$defs/b\"}}, {\"$ref\": \"#/$defs/b\"}], \"$defs\": {\"b\": {\"$ref\": \"#\"}}}",
         "stands for itself"},
        {"{\"items\": {\"$ref\": \"#/a\"}, \"a\": {\"anyOf\": [{\"$ref\": \"#/b\"}, {\"const\": 1}]}, \"b\": {\"$ref\": \"#/a\"}}",
         "not supported: 'a'"},
        {"{\"items\": {\"$ref\": \"#/$defs/a\"},"
         " \"$defs\": {\"a\": {\"anyOf\": [{\"$ref\": \"#/$defs/b\"}, {\"const\": 1}]}, \"b\": {\"$ref\": \"#/$defs/a\"}}}",
         "stands for itself"},
        {"{\"$ref\": \"http://x/y\"}", "need a place in this file"},
        {"{\"$ref\": 3}", "need a place in this file"},
        {"{\"anyOf\": []}", "need a list"},
        {"{\"anyOf\": [{}], \"type\": \"null\"}", "beside"},
        {"{\"oneOf\": [{\"type\": \"integer\"}, {\"type\": \"number\"}]}", "oneOf"},
        {"{\"oneOf\": [{\"const\": 1}, {\"enum\": [2, 1.0]}]}", "oneOf"},
        {"{\"required\": [\"a\"]}", "no such property: 'a'"},
        {"{\"required\": [3], \"properties\": {}}", "not a string"},
        {"{\"properties\": []}", "need an object"},
        {"{\"prefixItems\": {}}", "need a list"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        cr_expect_eq(compile(refused[i].schema), HEARTH_E_CONFIG, "%s", refused[i].schema);
        cr_expect(strstr(err.message, refused[i].message) != NULL, "%s: %s", refused[i].schema, err.message);
        cr_expect_str_eq(err.detail, "E_SCHEMA");
        cr_expect_null(text);
    }
    char deep[4096] = "";
    for (int i = 0; i < 100; i++)
        strcat(deep, "{\"items\":");
    strcat(deep, "true");
    for (int i = 0; i < 100; i++)
        strcat(deep, "}");
    cr_expect_eq(compile(deep), HEARTH_E_CONFIG);
    cr_expect(strstr(err.message, "too deeply") != NULL, "%s", err.message);
}

/* ---- A validator ------------------------------------------------------------------------------------------------------- */

static json_t *whole; /* the schema that references point into */

static bool has_type(const json_t *value, const char *type)
{
    const double number = json_number_value(value);
    return strcmp(type, "object") == 0    ? json_is_object(value)
           : strcmp(type, "array") == 0   ? json_is_array(value)
           : strcmp(type, "string") == 0  ? json_is_string(value)
           : strcmp(type, "boolean") == 0 ? json_is_boolean(value)
           : strcmp(type, "null") == 0    ? json_is_null(value)
           : strcmp(type, "number") == 0  ? json_is_number(value)
                                          : json_is_number(value) && number == floor(number);
}

static bool is_one_type(const json_t *value, const json_t *type)
{
    bool one = json_is_string(type) && has_type(value, json_string_value(type));
    for (size_t i = 0; i < json_array_size(type); i++)
        one |= has_type(value, json_string_value(json_array_get(type, i)));
    return one;
}

static size_t characters(const char *string)
{
    size_t n = 0;
    for (; *string; string++)
        n += ((unsigned char)*string & 0xc0) != 0x80;
    return n;
}

static bool is_valid(const json_t *value, json_t *schema);

static int count_valid(const json_t *value, const json_t *list)
{
    int n = 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        n += is_valid(value, json_array_get(list, i));
    return n;
}

static bool object_is_valid(const json_t *value, const json_t *schema)
{
    const json_t *properties = json_object_get(schema, "properties"), *required = json_object_get(schema, "required");
    json_t *additional = json_object_get(schema, "additionalProperties"), *member;
    const char *key;
    for (size_t i = 0; i < json_array_size(required); i++)
        if (!json_object_get(value, json_string_value(json_array_get(required, i))))
            return false;
    json_object_foreach((json_t *)(uintptr_t)value, key, member)
    {
        json_t *property = json_object_get(properties, key);
        if (property ? !is_valid(member, property) : additional && !is_valid(member, additional))
            return false;
    }
    return true;
}

static bool array_is_valid(const json_t *value, const json_t *schema)
{
    const json_t *least = json_object_get(schema, "minItems"), *most = json_object_get(schema, "maxItems");
    const json_t *prefix = json_object_get(schema, "prefixItems");
    json_t *items = json_object_get(schema, "items");
    const size_t n = json_array_size(value);
    if ((least && n < (size_t)json_integer_value(least)) || (most && n > (size_t)json_integer_value(most)))
        return false;
    for (size_t i = 0; i < n; i++) {
        json_t *of = i < json_array_size(prefix) ? json_array_get(prefix, i) : items;
        if (of && !is_valid(json_array_get(value, i), of))
            return false;
    }
    return true;
}

static bool scalar_is_valid(const json_t *value, const json_t *schema)
{
    static const char *const names[] = {"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "minLength", "maxLength"};
    const double number = json_is_string(value) ? (double)characters(json_string_value(value)) : json_number_value(value);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const json_t *bound = json_object_get(schema, names[i]);
        const double b = json_number_value(bound);
        if (!bound || (i < 4 ? !json_is_number(value) : !json_is_string(value)))
            continue;
        if (!(i == 0 || i == 4 ? number >= b : i == 1 ? number > b : i == 3 ? number < b : number <= b))
            return false;
    }
    return true;
}

/* Keywords as the standard defines them, independent of what the grammar does with them. */
static bool is_valid(const json_t *value, json_t *schema)
{
    if (json_is_boolean(schema))
        return json_is_true(schema);
    const json_t *ref = json_object_get(schema, "$ref");
    if (ref)
        return is_valid(value, json_object_get(json_object_get(whole, "$defs"), json_string_value(ref) + strlen("#/$defs/")));
    const json_t *any = json_object_get(schema, "anyOf"), *one = json_object_get(schema, "oneOf");
    const json_t *list = json_object_get(schema, "enum"), *constant = json_object_get(schema, "const");
    const json_t *type = json_object_get(schema, "type");
    bool listed = !list;
    for (size_t i = 0; i < json_array_size(list); i++)
        listed |= json_equal(value, json_array_get(list, i)) == 1;
    return listed && (!any || count_valid(value, any) > 0) && (!one || count_valid(value, one) == 1) &&
           (!constant || json_equal(value, constant) == 1) && (!type || is_one_type(value, type)) &&
           (!json_is_object(value) || object_is_valid(value, schema)) && (!json_is_array(value) || array_is_valid(value, schema)) &&
           scalar_is_valid(value, schema);
}

/* ---- Answers ----------------------------------------------------------------------------------------------------------- */

struct answer {
    char bytes[16384];
    size_t n;
};

static bool collect(const char *bytes, size_t n, void *user)
{
    struct answer *answer = user;
    memcpy(answer->bytes + answer->n, bytes, n);
    answer->n += n;
    return true;
}

static void check_answers(hearth_session *session, const char *schema, int count)
{
    static const char prompt[] = "<|user|>\nTurn on the kitchen light.<|end|>\n<|assistant|>\n";
    cr_assert_eq(compile(schema), HEARTH_OK, "%s", err.message);
    whole = json_loads(schema, 0, NULL);
    for (int seed = 0; seed < count; seed++) {
        struct answer answer = {.n = 0};
        hearth_sampling sampling;
        hearth_sampling_init(&sampling, sizeof sampling);
        sampling.temperature = 1.5f;
        sampling.top_k = seed % 2 ? 40 : 0; /* the strangest answers, too */
        sampling.top_p = 1;
        sampling.min_p = 0;
        sampling.seed = (uint64_t)seed;
        hearth_session_reset(session);
        cr_assert_eq(hearth_session_set_sampling(session, &sampling, &err), HEARTH_OK);
        cr_assert_eq(
            hearth_session_feed_text(session, prompt, sizeof prompt - 1, HEARTH_TOKENIZE_BOS | HEARTH_TOKENIZE_SPECIAL, NULL, &err),
            HEARTH_OK, "%s", err.message);
        cr_assert_eq(hearth_session_set_grammar(session, text, text_bytes, &err), HEARTH_OK, "%s", err.message);
        const hearth_generation g = {.struct_size = sizeof g, .max_tokens = 2000, .text = collect, .text_user = &answer};
        hearth_result result = {.struct_size = sizeof result};
        cr_assert_eq(hearth_generate(session, &g, &result, &err), HEARTH_OK, "%s", err.message);
        cr_expect_eq(result.stop, HEARTH_STOP_END);
        json_t *value = json_loadb(answer.bytes, answer.n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
        cr_expect_not_null(value, "seed %d: no JSON: %.*s", seed, (int)answer.n, answer.bytes);
        cr_expect(value && is_valid(value, whole), "seed %d: not valid: %.*s", seed, (int)answer.n, answer.bytes);
        json_decref(value);
    }
    json_decref(whole);
}

/* Bounded strings, arrays, integers; every keyword once. */
#define EVERYTHING                                                                                                                 \
    "{\"type\": \"object\", \"properties\": {"                                                                                     \
    "\"id\": {\"type\": \"integer\", \"minimum\": -37, \"maximum\": 12345}, "                                                      \
    "\"odd\": {\"type\": \"integer\", \"exclusiveMinimum\": 999, \"exclusiveMaximum\": 1002}, "                                    \
    "\"n\": {\"type\": \"number\"}, \"name\": {\"type\": \"string\", \"minLength\": 2, \"maxLength\": 12}, "                       \
    "\"tags\": {\"type\": \"array\", \"items\": {\"type\": \"string\", \"maxLength\": 8}, \"minItems\": 2, \"maxItems\": 4}, "     \
    "\"at\": {\"prefixItems\": [{\"type\": \"integer\", \"minimum\": 0, \"maximum\": 9}, {\"type\": \"boolean\"}], "               \
    "\"items\": {\"type\": \"null\"}, \"maxItems\": 4}, "                                                                          \
    "\"e\": {\"enum\": [\"a\\\"b\", \"\xc3\xa4\", 0.1, 1e300, null, [1, {\"x\": 2}], true]}, "                                     \
    "\"u\": {\"oneOf\": [{\"type\": \"string\", \"maxLength\": 3}, {\"type\": \"null\"}, {\"$ref\": \"#/$defs/k\"}]}, "            \
    "\"o\": {\"anyOf\": [{\"$ref\": \"#/$defs/k\"}, {\"type\": [\"boolean\", \"null\"]}]}, "                                       \
    "\"tree\": {\"$ref\": \"#/$defs/t\"}}, "                                                                                       \
    "\"required\": [\"id\", \"n\", \"name\", \"tags\", \"at\", \"e\", \"u\", \"o\"], \"additionalProperties\": false, "            \
    "\"$defs\": {\"k\": {\"type\": \"object\", \"properties\": {\"k\": {\"const\": 1}}, \"required\": [\"k\"]}, "                  \
    "\"t\": {\"type\": \"object\", \"properties\": {\"v\": {\"type\": \"integer\", \"minimum\": 1}, "                              \
    "\"l\": {\"anyOf\": [{\"$ref\": \"#/$defs/k\"}, {\"type\": \"null\"}]}}, \"required\": [\"v\"]}}}"

Test(json_schema, answers_are_valid)
{
    char path[GOLDEN_PATH], example[8192];
    hearth_engine *engine;
    hearth_model *model;
    hearth_session *session;
    golden_source(path, "docs/examples/home.schema.json");
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file);
    example[fread(example, 1, sizeof example - 1, file)] = '\0';
    (void)fclose(file);
    golden_source(path, "models/hearth-home.Q4_K_M.gguf");
    const hearth_engine_options options = {.struct_size = sizeof options, .threads = 1};
    const hearth_limits limits = {.struct_size = sizeof limits, .context = 2048, .grammar = 1};
    cr_assert_eq(hearth_engine_open(&engine, &options, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_model_open(&model, engine, path, &limits, NULL, &err), HEARTH_OK, "%s", err.message);
    cr_assert_eq(hearth_session_open(&session, model, &limits, &err), HEARTH_OK, "%s", err.message);
    const bool sanitized = getenv("HEARTH_SANITIZE") && *getenv("HEARTH_SANITIZE");
    check_answers(session, example, sanitized ? 20 : 200);
    check_answers(session, EVERYTHING, sanitized ? 10 : 60);
    hearth_session_close(session);
    hearth_model_close(model);
    hearth_engine_close(engine);
}
