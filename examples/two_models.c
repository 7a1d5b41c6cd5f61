/* Talks with two models in turn under one memory cap, in which perhaps only one of them fits; each goes on as if it had never been
 * interrupted, the next time the program runs, too: two_models MEGABYTES STATES A.gguf B.gguf */
#include <hearth.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool show(const char *text, size_t bytes, void *user)
{
    (void)user;
    return fwrite(text, 1, bytes, stdout) == bytes;
}

static hearth_status talk(hearth_manager *manager, const char *name, const char *text, hearth_error *error)
{
    hearth_generation generation = {.struct_size = sizeof generation, .max_tokens = 24, .text = show};
    hearth_status status = hearth_manager_switch(manager, name, error); /* refused: the model before stays the current one */
    if (status != HEARTH_OK)
        return status;
    hearth_session *session = hearth_manager_session(manager); /* the manager's, until the next switch */
    const uint32_t position = hearth_session_position(session);
    printf("[%s, %" PRIu32 " tokens so far] %s", name, position, text);
    status = hearth_session_feed_text(session, text, strlen(text), position ? 0 : HEARTH_TOKENIZE_BOS, NULL, error);
    if (status == HEARTH_OK)
        status = hearth_generate(session, &generation, NULL, error);
    return puts(""), status;
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"first", "second"};
    const hearth_limits limits = {.struct_size = sizeof limits, .context = 512, .batch = 128, .kv_type = HEARTH_KV_Q8_0};
    hearth_engine_options options = {.struct_size = sizeof options};
    const hearth_manager_options folder = {.struct_size = sizeof folder, .state_folder = argc > 2 ? argv[2] : NULL};
    hearth_engine *engine = NULL;
    hearth_manager *manager = NULL;
    hearth_error error;
    if (argc != 5)
        return fprintf(stderr, "usage: two_models MEGABYTES STATES A B\n"), 2;

    options.ram_cap = strtoull(argv[1], NULL, 10) << 20;
    hearth_status status = hearth_engine_open(&engine, &options, &error);
    if (status == HEARTH_OK)
        status = hearth_manager_open(&manager, engine, &folder, &error);
    for (int i = 0; i < 2 && status == HEARTH_OK; i++)
        status = hearth_manager_register(manager, names[i], argv[3 + i], &limits, &error);
    for (int i = 0; i < 4 && status == HEARTH_OK; i++)
        status = talk(manager, names[i % 2], i < 2 ? "The hearth" : " And then", &error);
    if (status == HEARTH_OK) /* closing would save, too, but could not say that it failed */
        status = hearth_manager_save(manager, &error);
    if (status == HEARTH_E_MEMORY)
        fprintf(stderr, "needs %" PRIu64 " bytes of %" PRIu64 ": %s\n", error.needed, error.available, error.message);
    else if (status != HEARTH_OK)
        fprintf(stderr, "%s\n", error.message);

    hearth_manager_close(manager);
    hearth_engine_close(engine);
    return hearth_status_exit_code(status);
}
