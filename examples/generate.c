/* Continues a text: generate MODEL.gguf "Once upon a time" */
#include <hearth.h>
#include <stdio.h>
#include <string.h>

static bool show(const char *text, size_t bytes, void *user)
{
    (void)user;
    return fwrite(text, 1, bytes, stdout) == bytes && fflush(stdout) == 0; /* false ends the answer */
}

static hearth_status generate(hearth_session *session, const char *prompt, hearth_error *error)
{
    hearth_generation generation = {0};
    generation.struct_size = sizeof generation;
    generation.max_tokens = 100;
    generation.text = show;
    const hearth_status status = hearth_session_feed_text(session, prompt, strlen(prompt), HEARTH_TOKENIZE_BOS, NULL, error);
    return status != HEARTH_OK ? status : hearth_generate(session, &generation, NULL, error);
}

int main(int argc, char **argv)
{
    hearth_engine *engine = NULL;
    hearth_model *model = NULL;
    hearth_session *session = NULL;
    hearth_error error;
    if (argc != 3)
        return fprintf(stderr, "usage: generate MODEL PROMPT\n"), 2;

    hearth_status status = hearth_engine_open(&engine, NULL, &error);
    if (status == HEARTH_OK)
        status = hearth_model_open(&model, engine, argv[1], NULL, NULL, &error);
    if (status == HEARTH_OK)
        status = hearth_session_open(&session, model, NULL, &error);
    if (status == HEARTH_OK)
        status = generate(session, argv[2], &error);
    if (status != HEARTH_OK)
        fprintf(stderr, "%s\n", error.message);
    else
        putchar('\n');

    hearth_session_close(session); /* NULL is allowed */
    hearth_model_close(model);
    hearth_engine_close(engine);
    return hearth_status_exit_code(status);
}
