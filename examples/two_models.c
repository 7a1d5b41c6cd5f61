/* Two models under one memory cap, each refused before it takes anything if it does not fit: two_models MEGABYTES A.gguf B.gguf */
#include <hearth.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const hearth_limits limits = {.struct_size = sizeof limits, .context = 512, .batch = 128, .kv_type = HEARTH_KV_Q8_0};

/* Say what a model will take, then take it. */
static hearth_status open_one(hearth_engine *engine, const char *path, hearth_model **model, hearth_session **session,
                              hearth_error *error)
{
    hearth_plan *plan;
    hearth_status status = hearth_plan_open(&plan, engine, path, &limits, error);
    if (status != HEARTH_OK)
        return status;
    printf("%s: plan %" PRIu64 " bytes, %" PRIu64 " are left\n", path, hearth_plan_private_bytes(plan),
           hearth_plan_cap_bytes(plan));
    hearth_plan_close(plan);
    status = hearth_model_open(model, engine, path, &limits, NULL, error);
    return status != HEARTH_OK ? status : hearth_session_open(session, *model, &limits, error);
}

int main(int argc, char **argv)
{
    hearth_engine_options options = {0};
    hearth_engine *engine = NULL;
    hearth_model *models[2] = {NULL, NULL};
    hearth_session *sessions[2] = {NULL, NULL};
    hearth_error error;
    if (argc != 4)
        return fprintf(stderr, "usage: two_models MEGABYTES A B\n"), 2;

    options.struct_size = sizeof options;
    options.ram_cap = strtoull(argv[1], NULL, 10) << 20;
    hearth_status status = hearth_engine_open(&engine, &options, &error);
    for (int i = 0; i < 2 && status == HEARTH_OK; i++)
        status = open_one(engine, argv[i + 2], &models[i], &sessions[i], &error);
    if (status == HEARTH_E_MEMORY)
        fprintf(stderr, "needs %" PRIu64 " bytes of %" PRIu64 ": %s\n", error.needed, error.available, error.message);
    else if (status != HEARTH_OK)
        fprintf(stderr, "%s\n", error.message);
    else
        puts("both are open");

    for (int i = 0; i < 2; i++) {
        hearth_session_close(sessions[i]);
        hearth_model_close(models[i]);
    }
    hearth_engine_close(engine);
    return hearth_status_exit_code(status);
}
