/* The memory plan: the layout functions of engine, model and session run over counting arenas. Pure arithmetic. */
#ifndef HEARTH_ENGINE_PLAN_H
#define HEARTH_ENGINE_PLAN_H

#include "engine.h"

/* Private memory of the process that no arena holds: program and library data, the C library's heap, the main stack, what hwloc
 * leaves behind. Measured for the hearth program on Debian 12: 0.3 to 0.5 MiB; the rest is room for larger machines, whose topology
 * is larger. tests/engine/plan_peak.c holds the plan against the kernel's count. */
#define HEARTH_PROCESS_BYTES ((uint64_t)1536 << 10)

struct hearth_plan {
    hearth_allocator allocator; /* that the handle came from: a plan may outlive its engine */
    uint64_t lines[HEARTH_PLAN_ITEM_COUNT];
    uint64_t total, cap;
    uint64_t mapped; /* of a file of packed weights: no private memory */
    struct hearth_session_limits limits;
    uint64_t weight_bytes;
    char advice[256]; /* the cheapest ways to fit, when it does not */
};

/* Everything needed before memory: description and tokenizer size, from a checked header. */
struct hearth_model_facts {
    const struct hearth_gguf *gguf; /* the source's */
    struct hearth_description description;
    struct hearth_vocab vocab;
    uint64_t tokenizer_bytes;
    struct hearth_pack_cache cache; /* zeros, until somebody looks for one */
};
hearth_status hearth_model_facts_read(struct hearth_model_facts *out, struct hearth_engine *engine,
                                      const struct hearth_source *source, hearth_error *err);
void hearth_model_facts_free(struct hearth_model_facts *facts);

/* What the cap leaves to a plan once models and sessions that hold `given_back` bytes of it have gone. */
uint64_t hearth_plan_cap_left(const struct hearth_engine *engine, uint64_t given_back);
void hearth_plan_make(struct hearth_plan *out, const struct hearth_engine *engine, struct hearth_model_facts *facts,
                      const struct hearth_session_limits *limits, uint64_t given_back);
/* hearth_plan_open() of a file, held against that. */
hearth_status hearth_plan_open_beside(hearth_plan **out, struct hearth_engine *engine, const char *path,
                                      const hearth_limits *limits, uint64_t given_back, hearth_error *error);

#endif
