/* A conversation on standard input, a line for each turn: chat MODEL.gguf [CONTEXT] */
#include <hearth.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool show(const char *text, size_t bytes, void *user)
{
    (void)user;
    return fwrite(text, 1, bytes, stdout) == bytes && fflush(stdout) == 0;
}

/* When the context is full; without this option the call would fail with HEARTH_E_CONTEXT_FULL. */
static void tell(const hearth_message *message, void *user)
{
    (void)user;
    printf("[forgotten: message %lu, %u tokens]\n", (unsigned long)message->number, (unsigned)message->n_tokens);
}

static hearth_status converse(hearth_chat *chat, hearth_error *error)
{
    const hearth_generation generation = {.struct_size = sizeof generation, .text = show};
    char line[2000];
    hearth_status status = hearth_chat_set_system(chat, "You are a home assistant.", 25, error);
    while (status == HEARTH_OK && fgets(line, sizeof line, stdin)) {
        status = hearth_chat_send(chat, line, strcspn(line, "\n"), &generation, NULL, error);
        putchar('\n');
    }
    return status;
}

int main(int argc, char **argv)
{
    hearth_engine *engine = NULL;
    hearth_model *model = NULL;
    hearth_session *session = NULL;
    hearth_chat *chat = NULL;
    hearth_error error;
    const hearth_chat_options options = {.struct_size = sizeof options, .when_full = HEARTH_CHAT_DROP_OLDEST, .dropped = tell};
    hearth_limits limits = {.struct_size = sizeof limits, .chat = 1};
    if (argc < 2)
        return fprintf(stderr, "usage: chat MODEL [CONTEXT]\n"), 2;
    limits.context = argc > 2 ? (uint32_t)atoi(argv[2]) : 0;

    hearth_status status = hearth_engine_open(&engine, NULL, &error);
    if (status == HEARTH_OK)
        status = hearth_model_open(&model, engine, argv[1], &limits, NULL, &error);
    if (status == HEARTH_OK)
        status = hearth_session_open(&session, model, &limits, &error);
    if (status == HEARTH_OK)
        status = hearth_chat_open(&chat, session, &options, &error);
    if (status != HEARTH_OK || (status = converse(chat, &error)) != HEARTH_OK)
        fprintf(stderr, "%s\n", error.message);

    hearth_chat_close(chat); /* lies in the session's memory: first */
    hearth_session_close(session);
    hearth_model_close(model);
    hearth_engine_close(engine);
    return hearth_status_exit_code(status);
}
