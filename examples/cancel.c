/* Stops an answer from another thread, then finishes it: cancel MODEL.gguf MILLISECONDS. Compile with -pthread. */
#include <hearth.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/select.h>

static struct timeval patience;
static hearth_session *session;

static void *cancel(void *unused)
{
    select(0, NULL, NULL, NULL, &patience);
    hearth_session_cancel(session); /* thread-safe, and for signal handlers */
    return unused;
}

static bool show(const char *text, size_t bytes, void *user)
{
    (void)user;
    return fwrite(text, 1, bytes, stdout) == bytes;
}

int main(int argc, char **argv)
{
    hearth_engine *engine = NULL;
    hearth_model *model = NULL;
    hearth_error error;
    pthread_t thread;
    hearth_generation generation = {.struct_size = sizeof generation, .max_tokens = 200, .text = show};
    if (argc != 3)
        return fprintf(stderr, "usage: cancel MODEL MILLISECONDS\n"), 2;
    patience.tv_usec = atol(argv[2]) % 1000 * 1000;
    patience.tv_sec = atol(argv[2]) / 1000;

    if (hearth_engine_open(&engine, NULL, &error) || hearth_model_open(&model, engine, argv[1], NULL, NULL, &error) ||
        hearth_session_open(&session, model, NULL, &error) ||
        hearth_session_feed_text(session, "Once", 4, HEARTH_TOKENIZE_BOS, NULL, &error))
        return fprintf(stderr, "%s\n", error.message), 1; /* a short program: the system closes what is open */
    if (pthread_create(&thread, NULL, cancel, NULL))
        return fprintf(stderr, "no thread\n"), 1;

    hearth_status status = hearth_generate(session, &generation, NULL, &error);
    pthread_join(thread, NULL);
    printf("\n[%s]\n", hearth_status_name(status));
    hearth_session_resume(session); /* until here every call would be cancelled: none is missed */
    if (status == HEARTH_E_CANCELLED)
        status = hearth_generate(session, &generation, NULL, &error); /* from the token where it stopped */
    printf("\n[%s]\n", hearth_status_name(status));

    hearth_session_close(session);
    hearth_model_close(model);
    hearth_engine_close(engine);
    return hearth_status_exit_code(status);
}
