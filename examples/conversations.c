/* Two conversations take turns in one session, and the engine keeps what the other one computed: conversations MODEL.gguf [TOKENS]
 */
#include <hearth.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Any tokens do: every fourth of the vocabulary, beginning elsewhere for each conversation. */
static void write_conversation(int32_t *ids, size_t n, size_t first, uint32_t n_vocab)
{
    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)((first + 4 * i) % n_vocab);
}

int main(int argc, char **argv)
{
    hearth_engine_options options = {0};
    hearth_limits limits = {0};
    hearth_engine *engine = NULL;
    hearth_model *model = NULL;
    hearth_session *session = NULL;
    hearth_error error;
    if (argc != 4)
        return fprintf(stderr, "usage: conversations MODEL TOKENS MEGABYTES\n"), 2;
    const size_t n = strtoul(argv[2], NULL, 10) % 65536;
    int32_t *ids = malloc((n + 1) * sizeof *ids);
    options.struct_size = sizeof options;
    options.cache_budget = strtoull(argv[3], NULL, 10) << 20; /* a line of the plan, like everything else */
    limits.struct_size = sizeof limits;
    limits.context = (uint32_t)n + 2;
    hearth_status status = ids ? hearth_engine_open(&engine, &options, &error) : HEARTH_E_MEMORY;
    if (status == HEARTH_OK)
        status = hearth_model_open(&model, engine, argv[1], &limits, NULL, &error);
    if (status == HEARTH_OK)
        status = hearth_session_open(&session, model, &limits, &error);
    for (size_t turn = 0; turn < 6 && status == HEARTH_OK; turn++) {
        hearth_prompt_info info = {0};
        info.struct_size = sizeof info;
        write_conversation(ids, n, 1 + turn % 2, hearth_model_vocabulary_size(model));
        const double begin = seconds();
        status = hearth_session_prompt(session, ids, n, &info, &error);
        printf("conversation %c: %" PRIu32 " tokens restored, %" PRIu32 " computed, %.2f ms\n", turn % 2 ? 'B' : 'A',
               info.n_restored, info.n_computed, 1e3 * (seconds() - begin));
    }
    if (status != HEARTH_OK)
        fprintf(stderr, "%s\n", ids ? error.message : "no memory");
    hearth_session_close(session);
    hearth_model_close(model);
    hearth_engine_close(engine);
    free(ids);
    return hearth_status_exit_code(status);
}
