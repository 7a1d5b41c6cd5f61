/* Saved sessions and chats: the sections of a state file, to which the sizes and checksums are made, so that what is behind them is
 * reached. Byte 0 chooses the session; the sections follow, less than the MiB that has one checksum (docs/states.md). */
#include "driver/fuzz.h"
#include "engine.h"
#include "gguf_builder.h"
#include "hash.h"
#include "memory_source.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONTEXT 64u
#define HEADER_BYTES 136u
#define FOOTER_BYTES (8u + 32u)

/* A session without a window, one with, and one with a chat. */
static struct {
    hearth_session *session;
    hearth_chat *chat;
} targets[3];
static char path[64], committed[8];

static void remove_file(void)
{
    (void)unlink(path);
}

static hearth_session *open_session(hearth_engine *engine, const char *arch, bool chat)
{
    static struct gguf_builder builder;
    static struct memory_source source;
    const hearth_limits limits = {
        .struct_size = sizeof limits, .context = CONTEXT, .batch = 8, .kv_type = HEARTH_KV_Q8_0, .chat = chat};
    hearth_error err = {0};
    hearth_model *model;
    hearth_session *session = NULL;
    size_t size;
    gguf_builder_init(&builder);
    gguf_builder_add_llama(&builder,
                           &(struct gguf_shape){.arch = arch, .n_layer = 2, .n_embd = 64, .n_head = 2, .n_head_kv = 1, .n_ff = 32});
    gguf_builder_set_u32(&builder, "gemma2.attention.sliding_window", 8);
    uint8_t *file = gguf_builder_finish(&builder, &size);
    hearth_status status = memory_source_open(&source, file, size, &err);
    if (status == HEARTH_OK)
        status = hearth_model_open_source(&model, engine, &source.source, &limits, NULL, &err);
    if (status == HEARTH_OK)
        status = hearth_session_open(&session, model, &limits, &err);
    fuzz_need(status == HEARTH_OK, "%s", err.message);
    memory_source_close(&source);
    gguf_builder_free(&builder);
    free(file);
    return session;
}

static void need(hearth_status status, const hearth_error *err)
{
    fuzz_need(status == HEARTH_OK, "%s", err->message);
}

/* The file that lies there as a beginning for `which`. */
static void seed_file(size_t which)
{
    static uint8_t bytes[FUZZ_INPUT_MAX];
    FILE *file = fopen(path, "rb");
    const size_t n = file ? fread(bytes + 1, 1, sizeof bytes - 1, file) : 0;
    fuzz_need(n > HEADER_BYTES + FOOTER_BYTES && n < sizeof bytes - 1, "a state of %zu bytes", n);
    (void)fclose(file);
    memcpy(committed, bytes + 1 + n - sizeof committed, sizeof committed);
    bytes[0] = (uint8_t)which;
    fuzz_seed(bytes, 1 + n - FOOTER_BYTES);
}

void fuzz_start(void)
{
    static const int32_t ids[3] = {5, 260, 270};
    static const hearth_chat_options options = {.struct_size = sizeof options, .family = "chatml"};
    const hearth_engine_options machine = {.struct_size = sizeof machine, .threads = 1};
    hearth_error err = {0};
    hearth_engine *engine;
    (void)snprintf(path, sizeof path, "%s/hearth-fuzz-%ld", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : ".", (long)getpid());
    (void)atexit(remove_file);
    need(hearth_engine_open(&engine, &machine, &err), &err);
    for (size_t i = 0; i < 3; i++) {
        hearth_session *s = targets[i].session = open_session(engine, i == 1 ? "gemma2" : "llama", i == 2);
        if (i == 2)
            need(hearth_chat_open(&targets[i].chat, s, &options, &err), &err);
        for (uint32_t n = 0; n < 20 && i < 2; n++) {
            if (n == 3 || n == 19) {
                need(hearth_session_save(s, path, &err), &err);
                seed_file(i);
            }
            need(hearth_session_feed(s, &ids[n % 3], 1, &err), &err);
        }
    }
    hearth_chat *chat = targets[2].chat;
    need(hearth_chat_set_system(chat, "Be brief.", 9, &err), &err);
    need(hearth_chat_add(chat, HEARTH_ROLE_USER, "Hi", 2, &err), &err);
    need(hearth_chat_add(chat, HEARTH_ROLE_ASSISTANT, "caf\xc3\xa9", 5, &err), &err);
    need(hearth_chat_set_metadata(chat, "title", "a\0b", 3, &err), &err);
    need(hearth_chat_save(chat, path, &err), &err);
    seed_file(2);
}

/* The file of n bytes of sections. */
static void forge(uint8_t *file, size_t n)
{
    const uint64_t sizes[2] = {n + FOOTER_BYTES, n};
    struct hearth_hash whole = {0, 0};
    if (n >= HEADER_BYTES)
        memcpy(file + 16, sizes, sizeof sizes);
    const uint64_t sum = hearth_hash64(file, n, 0);
    hearth_hash_add(&whole, file, n);
    memcpy(file + n, &sum, sizeof sum);
    memcpy(file + n + 8, &whole, sizeof whole);
    memcpy(file + n + 24, &sizes[0], sizeof sizes[0]);
    memcpy(file + n + 32, committed, sizeof committed);
}

static void write_file(const uint8_t *bytes, size_t n)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    fuzz_need(fd >= 0 && write(fd, bytes, n) == (ssize_t)n && close(fd) == 0, "%s: cannot be written", path);
}

static void check_chat(hearth_chat *chat)
{
    hearth_error err = {0};
    hearth_message message = {.struct_size = sizeof message};
    size_t n;
    volatile uint8_t sum = 0; /* so that the bytes are read */
    for (size_t i = 0; i < hearth_chat_count(chat); i++) {
        need(hearth_chat_message(chat, i, &message, &err), &err);
        for (size_t k = 0; k < message.text_bytes; k++)
            sum = (uint8_t)(sum + (uint8_t)message.text[k]);
    }
    (void)hearth_chat_metadata(chat, "title", &n);
    (void)hearth_chat_add(chat, HEARTH_ROLE_USER, "and?", 4, &err);
}

/* A session that took a state goes on. */
static void go_on(hearth_session *s)
{
    static const int32_t id = 7;
    hearth_error err = {0};
    int32_t next;
    if (hearth_session_logits(s, 0))
        (void)hearth_session_sample(s, &next, &err);
    (void)hearth_session_feed(s, &id, 1, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    const size_t which = data[0] % 3, n = size - 1;
    hearth_session *s = targets[which].session;
    hearth_chat *chat = targets[which].chat;
    hearth_error err = {0};
    uint8_t *file = malloc(n + FOOTER_BYTES);
    fuzz_need(file, "no memory");
    memcpy(file, data + 1, n);
    forge(file, n);
    write_file(file, n + FOOTER_BYTES);
    free(file);
    const uint32_t position = hearth_session_position(s);
    const size_t count = chat ? hearth_chat_count(chat) : 0;
    const hearth_status status = chat ? hearth_chat_restore(chat, path, &err) : hearth_session_restore(s, path, &err);
    fuzz_answer(status, &err);
    if (status != HEARTH_OK)
        fuzz_need(hearth_session_position(s) == position && (!chat || hearth_chat_count(chat) == count), "refused, yet changed: %s",
                  err.message);
    else if (chat)
        check_chat(chat);
    else
        go_on(s);
    return 0;
}

/* Numbers of the header, of the sampler and of the messages at the end; what moves everything else is seldom of use. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t capacity, unsigned int seed)
{
    struct rng rng = rng_from(seed);
    const uint32_t where = rng_below(&rng, 4);
    if (where == 0 || size < 1 + HEADER_BYTES + 256)
        return LLVMFuzzerMutate(data, size, capacity);
    size_t at = rng_below(&rng, HEADER_BYTES + 16);
    if (where == 2)
        at = rng_below(&rng, (uint32_t)size - 9);
    else if (where == 3)
        at = size - 9 - rng_below(&rng, 160);
    at = 1 + (at & ~(size_t)3); /* behind byte 0, where numbers are aligned */
    uint32_t value;
    memcpy(&value, data + at, sizeof value);
    value = rng_below(&rng, 2) ? (uint32_t)fuzz_extreme(&rng) : value + rng_below(&rng, 5) - 2;
    memcpy(data + at, &value, sizeof value);
    return size;
}
