/* Experts: who goes where, and the products of each with its own tokens; see forward.h. */
#include "common/checked.h"
#include "forward_parts.h"

uint32_t hearth_forward_slots(const struct hearth_hparams *h)
{
    return h->n_expert ? h->n_expert_used : 1;
}

bool hearth_forward_experts_take(const struct hearth_description *model, enum hearth_activation kind)
{
    for (uint32_t i = 0; model->hparams.n_expert && i < model->hparams.n_layer; i++)
        if (activation_of(&model->layers[i].gate) == kind || activation_of(&model->layers[i].up) == kind)
            return true;
    return false;
}

/* Tokens gathered by expert, as one worker sees them: see group(). */
struct groups {
    const struct hearth_route *routes; /* [n][slots]: those of all workers, or our own if few */
    struct hearth_route *own;          /* [FEW_TOKENS][slots] */
    uint32_t *begin;                   /* [n_expert + 1] of each expert's entries */
    uint32_t *entry;                   /* [n * slots] which route, expert by expert, tokens upwards */
    uint32_t *active;                  /* [n_active] experts that have entries, upwards */
    uint32_t n_active, n_entries, slots;
};

uint64_t hearth_forward_experts_scratch_bytes(const struct hearth_hparams *h, uint32_t batch)
{
    const uint64_t slots = hearth_forward_slots(h);
    if (h->n_expert == 0)
        return 0;
    return hearth_align(
        FEW_TOKENS * slots * sizeof(struct hearth_route) + (2 * (uint64_t)h->n_expert + 1 + batch * slots) * sizeof(uint32_t), 64);
}

/* The most probable experts of a token, the lower of equal ones first, and their weights, which add up to the model's scale (spec
 * architectures.md 6.1). */
static void choose_experts(struct hearth_step *s, const float *logits, struct hearth_route *routes)
{
    const struct hearth_hparams *h = &s->batch->model->hparams;
    float *probability = first_tile(s);
    float sum = 0.0f;
    if (!all_finite(logits, h->n_expert))
        hearth_step_report(s, ROUTER);
    s->batch->kernels->chosen[HEARTH_OP_SOFTMAX][0]->softmax(probability, logits, h->n_expert);
    for (uint32_t i = 0; i < h->n_expert_used; i++) {
        uint32_t best = 0;
        for (uint32_t e = 1; e < h->n_expert; e++)
            if (probability[e] > probability[best])
                best = e;
        routes[i] = (struct hearth_route){best, probability[best]};
        sum += probability[best];
        probability[best] = -1.0f;
    }
    for (uint32_t i = 0; i < h->n_expert_used; i++)
        routes[i].weight = routes[i].weight / (sum > 0x1p-14f ? sum : 0x1p-14f) * h->expert_scale;
}

static struct groups groups_of(const struct hearth_step *s)
{
    const struct hearth_hparams *h = &s->batch->model->hparams;
    struct groups g = {.slots = h->n_expert_used, .n_entries = s->batch->n * h->n_expert_used};
    g.own = (struct hearth_route *)(void *)(worker_scratch(s) + s->batch->buffers->scratch_layout.experts);
    g.begin = (uint32_t *)(void *)(g.own + FEW_TOKENS * g.slots);
    g.active = g.begin + h->n_expert + 1;
    g.entry = g.active + h->n_expert;
    return g;
}

/* Every worker for itself: sort the routes by expert. */
static void group(const struct hearth_step *s, struct groups *g)
{
    const uint32_t n_expert = s->batch->model->hparams.n_expert;
    memset(g->begin, 0, (n_expert + 1) * sizeof *g->begin);
    for (uint32_t i = 0; i < g->n_entries; i++)
        g->begin[g->routes[i].expert + 1]++;
    for (uint32_t e = 0; e < n_expert; e++) {
        if (g->begin[e + 1] > 0)
            g->active[g->n_active++] = e;
        g->begin[e + 1] += g->begin[e];
    }
    for (uint32_t i = g->n_entries; i-- > 0;) /* from behind: begin[e + 1] moves down from e's end to its begin */
        g->entry[--g->begin[g->routes[i].expert + 1]] = i;
    memmove(g->begin, g->begin + 1, n_expert * sizeof *g->begin);
    g->begin[n_expert] = g->n_entries;
}

/* Who goes where. Few tokens: the rows of the router are divided, then everybody chooses for all; many: the tokens are. */
static struct groups route(struct hearth_step *s, const struct hearth_matrix *router)
{
    const struct hearth_batch *b = s->batch;
    const uint32_t n_expert = router->rows;
    struct groups g = groups_of(s);
    struct hearth_range mine = {0, b->n};
    struct hearth_route *routes = g.own;
    if (is_few(b->n)) {
        struct hearth_claims claims = hearth_step_claims_of_rows(s, n_expert, HEARTH_ROW_UNIT, most_rows(s));
        struct hearth_range rows;
        while (next_rows(&claims, n_expert, HEARTH_ROW_UNIT, &rows))
            hearth_step_multiply(s, router, &s->input, b->buffers->router_logits + rows.begin, n_expert, mine, rows);
        hearth_step_barrier(s, NULL);
    } else {
        mine = hearth_share(b->n, s->worker, s->workers);
        routes = b->buffers->routes;
        struct hearth_range tokens = {mine.begin, mine.begin};
        while (next_block(&tokens, mine.end))
            hearth_step_multiply(s, router, &s->input, b->buffers->router_logits + (size_t)tokens.begin * n_expert, n_expert,
                                 tokens, (struct hearth_range){0, n_expert});
    }
    for (uint32_t t = mine.begin; t < mine.end; t++)
        choose_experts(s, b->buffers->router_logits + (size_t)t * n_expert, routes + (size_t)t * g.slots);
    if (!is_few(b->n))
        hearth_step_barrier(s, NULL);
    g.routes = routes;
    group(s, &g);
    return g;
}

/* A token's `bytes` of activations as an entry's: a row of floats, or unit by unit. */
static void copy_token(const struct hearth_rows *to, uint32_t entry, const struct hearth_rows *from, uint32_t t, size_t bytes)
{
    uint8_t *out = token_at(to, entry);
    const uint8_t *in = token_at(from, t);
    for (size_t n = bytes / to->step; n > 0; n--, out += to->stride, in += from->stride)
        memcpy(out, in, to->step);
}

/* Many tokens: the inputs of each expert beside each other, one for each entry. */
static struct hearth_input gather(struct hearth_step *s, const struct groups *g, const struct hearth_layer *l)
{
    const struct hearth_matrix *const takers[] = {&l->gate, &l->up};
    const struct hearth_range mine = hearth_share(g->n_entries, s->worker, s->workers);
    struct hearth_input out = s->input;
    bool wanted[HEARTH_ACTIVATION_COUNT];
    hearth_step_wanted_kinds(wanted, takers, 2);
    for (enum hearth_activation kind = 0; kind < HEARTH_ACTIVATION_COUNT; kind++) {
        if (!wanted[kind])
            continue;
        out.of[kind] = rows_together(s->batch->buffers->expert_rows[kind], kind, l->gate.k, g->n_entries);
        for (uint32_t i = mine.begin; i < mine.end; i++)
            copy_token(&out.of[kind], i, &s->input.of[kind], g->entry[i] / g->slots, hearth_activation_bytes(kind, l->gate.k));
    }
    hearth_step_barrier(s, NULL);
    return out;
}

/* Some rows of one expert's middle, for all of its entries. */
static void expert_middle(struct hearth_step *s, const struct groups *g, const struct middle *m, const struct hearth_layer *l,
                          const struct hearth_input *input, uint32_t expert, struct hearth_range rows)
{
    const struct hearth_matrix gate = hearth_matrix_of_expert(&l->gate, expert);
    const struct hearth_matrix up = hearth_matrix_of_expert(&l->up, expert);
    const uint32_t end = g->begin[expert + 1];
    for (uint32_t i = g->begin[expert]; i < end;) {
        struct hearth_range tokens = {i, end - i < BLOCK_TOKENS ? end : i + BLOCK_TOKENS};
        if (is_few(s->batch->n)) { /* the inputs are not gathered */
            tokens.begin = g->entry[i] / g->slots;
            tokens.end = tokens.begin + 1;
        }
        hearth_step_middle_block(s, m, &gate, &up, input, tokens, i, rows);
        i += tokens.end - tokens.begin;
    }
}

static void expert_middles(struct hearth_step *s, const struct groups *g, const struct middle *m, const struct hearth_layer *l,
                           const struct hearth_input *input)
{
    const uint32_t unit = middle_unit(m);
    const uint32_t share = g->n_active * m->width / s->workers / PIECES_PER_SHARE;
    const uint32_t most = !is_few(s->batch->n) || share < unit ? unit : share < most_rows(s) ? share / unit * unit : most_rows(s);
    const uint32_t pieces = (m->width + most - 1) / most; /* of an expert */
    struct hearth_claims claims = hearth_step_claims(s, g->n_active * pieces, 1);
    struct hearth_range range;
    while (hearth_claim_next(&claims, &range)) {
        const uint32_t begin = range.begin % pieces * most;
        const uint32_t end = m->width - begin < most ? m->width : begin + most;
        expert_middle(s, g, m, l, input, g->active[range.begin / pieces], (struct hearth_range){begin, end});
    }
}

/* x += weight * Down * hidden for one expert's entries, and some rows. */
static void add_expert(struct hearth_step *s, const struct groups *g, const struct hearth_matrix *down,
                       const struct hearth_input *hidden, uint32_t expert, struct hearth_range rows)
{
    const size_t n_embd = s->batch->model->hparams.n_embd;
    const struct hearth_matrix one = hearth_matrix_of_expert(down, expert);
    const uint32_t n_rows = rows.end - rows.begin;
    const uint32_t end = g->begin[expert + 1];
    for (uint32_t begin = g->begin[expert]; begin < end; begin += BLOCK_TOKENS) {
        const struct hearth_range entries = {begin, end - begin < BLOCK_TOKENS ? end : begin + BLOCK_TOKENS};
        hearth_step_multiply(s, &one, hidden, first_tile(s), n_rows, entries, rows);
        for (uint32_t i = entries.begin; i < entries.end; i++) {
            float *y = first_tile(s) + (size_t)(i - begin) * n_rows;
            const float weight = g->routes[g->entry[i]].weight;
            for (uint32_t r = 0; r < n_rows; r++)
                y[r] *= weight;
            s->batch->kernels->chosen[HEARTH_OP_ADD][0]->add(s->x + g->entry[i] / g->slots * n_embd + rows.begin, y, n_rows);
        }
    }
}

void hearth_step_experts(struct hearth_step *s, const struct hearth_layer *l, const struct hearth_matrix *next)
{
    const struct groups g = route(s, &l->router);
    const struct hearth_input input = is_few(s->batch->n) ? s->input : gather(s, &g, l);
    struct middle m = hearth_step_middle_before(s, &l->down);
    m.rows = rows_together(m.rows.first, kind_of_middle(&m), m.width, g.n_entries);
    struct hearth_input hidden = {0};
    expert_middles(s, &g, &m, l, &input);
    hearth_step_barrier(s, NULL);
    hearth_step_take_middle(s, &m, g.n_entries, &hidden);
    struct hearth_claims claims = hearth_step_claims_of_rows(s, l->down.rows, HEARTH_ROW_UNIT, most_rows(s));
    struct hearth_range rows;
    while (next_rows(&claims, l->down.rows, HEARTH_ROW_UNIT, &rows))
        for (uint32_t i = 0; i < g.n_active; i++) /* upwards, so that every token adds in the same order */
            add_expert(s, &g, &l->down, &hidden, g.active[i], rows);
    hearth_step_barrier(s, next);
}
