/* The matcher: the program of a grammar run over bytes, all ways at once.
 *
 * A thread is a place in the program and a frame: where to go on when its rule is complete, and the frame below. Frames are made
 * once and shared, so equal threads are equal numbers. A state is the list of threads that wait for a byte; what a state becomes
 * with a byte is computed once and then looked up, for all bytes of a class together. So walking over a whole vocabulary costs a
 * table look-up for each byte, but where the grammar is met in a new place.
 *
 * The tables are of fixed size. When one is full, everything but the state of the text is forgotten and found again as needed: that
 * changes how long a step takes, never what it gives. What a single token cannot find out within the tables, or within its fuel,
 * is an error.
 *
 * A call in the last place of a rule leaves no frame, so lists written by right recursion do not grow. What is nested deeper than
 * HEARTH_GRAMMAR_DEPTH_MAX does not match. */
#include "grammar.h"
#include "common/status.h"

#define FRAMES 16384u
#define THREADS 65536u
#define STATES 4096u
#define TRANSITIONS (256u * 1024u)
#define VISITS 8192u             /* of one step: more ways at once are not followed */
#define FUEL (UINT32_C(1) << 21) /* visits and comparisons of one token */
#define FORGET_FUEL 16384u       /* what forgetting costs, in the same coin */
#define UNKNOWN UINT16_MAX       /* a transition not computed yet; STATES is below it */
#define DEAD 0u                  /* the state without threads that does not accept */

struct frame {
    uint32_t place, below, depth;
};

struct thread {
    uint32_t place, frame; /* frame 0: the text is complete when this rule is */
};

struct state {
    uint32_t first, n; /* in threads */
    bool accepts;
};

struct hearth_matcher {
    const struct hearth_grammar *grammar;
    uint32_t current; /* state */
    bool exhausted;   /* the text itself was too much */
    uint32_t fuel;
    uint32_t n_frames, n_threads, n_states, n_visits, most_states;
    struct frame frames[FRAMES];
    struct thread threads[THREADS];
    struct state states[STATES];
    struct thread visits[VISITS];
    uint32_t frame_slots[2 * FRAMES]; /* hash tables: number, 0 is free */
    uint16_t state_slots[2 * STATES];
    uint16_t visit_slots[2 * VISITS]; /* number + 1; empty between steps */
    uint16_t next[TRANSITIONS];       /* [n_states][n_classes] */
    uint16_t path[HEARTH_PIECE_ORDER_MAX + 1];
};

enum step { STEP_OK, STEP_FULL, STEP_EXHAUSTED };

/* Hand a step upwards that is not STEP_OK. */
#define STEP_TRY(call)                                                                                                             \
    do {                                                                                                                           \
        const enum step try_step_ = (call);                                                                                        \
        if (try_step_ != STEP_OK)                                                                                                  \
            return try_step_;                                                                                                      \
    } while (0)

size_t hearth_matcher_bytes(void)
{
    const size_t scratch = hearth_grammar_scratch_bytes();
    return ((scratch > sizeof(struct hearth_matcher) ? scratch : sizeof(struct hearth_matcher)) + 63) & ~(size_t)63;
}

static uint32_t hash_pair(uint32_t a, uint32_t b)
{
    return (uint32_t)((((uint64_t)a << 32 | b) * 0x9E3779B97F4A7C15u) >> 40);
}

/* ---- Threads that wait for nothing ------------------------------------------------------------------------------------- */

static enum step visit(struct hearth_matcher *m, uint32_t place, uint32_t frame)
{
    uint32_t i = hash_pair(place, frame) % (2 * VISITS);
    for (; m->visit_slots[i]; i = (i + 1) % (2 * VISITS)) {
        const struct thread seen = m->visits[m->visit_slots[i] - 1];
        if (seen.place == place && seen.frame == frame)
            return STEP_OK;
    }
    if (m->n_visits == VISITS || m->fuel == 0)
        return STEP_EXHAUSTED;
    m->fuel--;
    m->visits[m->n_visits++] = (struct thread){place, frame};
    m->visit_slots[i] = (uint16_t)m->n_visits;
    return STEP_OK;
}

static void clear_visits(struct hearth_matcher *m)
{
    for (uint32_t i = 0; i < m->n_visits; i++) {
        uint32_t slot = hash_pair(m->visits[i].place, m->visits[i].frame) % (2 * VISITS);
        for (; m->visit_slots[slot]; slot = (slot + 1) % (2 * VISITS))
            m->visit_slots[slot] = 0; /* a whole run: all of it goes in the end */
    }
    m->n_visits = 0;
}

static enum step enter_frame(struct hearth_matcher *m, uint32_t place, uint32_t below, uint32_t *out)
{
    uint32_t i = hash_pair(place, below) % (2 * FRAMES);
    for (; m->frame_slots[i]; i = (i + 1) % (2 * FRAMES)) {
        *out = m->frame_slots[i];
        if (m->frames[*out].place == place && m->frames[*out].below == below)
            return STEP_OK;
    }
    if (m->n_frames == FRAMES)
        return STEP_FULL;
    *out = m->n_frames++;
    m->frames[*out] = (struct frame){place, below, m->frames[below].depth + 1};
    m->frame_slots[i] = *out;
    return STEP_OK;
}

static enum step call(struct hearth_matcher *m, uint32_t place, uint32_t frame)
{
    const struct hearth_grammar_op *ops = m->grammar->ops;
    uint32_t after = place + 1;
    while (ops[after].kind == HEARTH_GRAMMAR_JUMP && ops[after].target > 0)
        after += (uint32_t)ops[after].target;
    if (ops[after].kind != HEARTH_GRAMMAR_RETURN) {
        if (m->frames[frame].depth == HEARTH_GRAMMAR_DEPTH_MAX)
            return STEP_OK;
        STEP_TRY(enter_frame(m, after, frame, &frame));
    }
    return visit(m, m->grammar->rules[ops[place].target], frame);
}

/* Follow the thread until it waits for a byte; then it is one of the state being made. */
static enum step follow(struct hearth_matcher *m, struct thread t, bool *accepts)
{
    const struct hearth_grammar_op op = m->grammar->ops[t.place];
    const uint32_t target = t.place + (uint32_t)op.target;
    switch (op.kind) {
    case HEARTH_GRAMMAR_RANGE:
        if (m->n_threads == THREADS)
            return STEP_FULL;
        m->threads[m->n_threads++] = t;
        return STEP_OK;
    case HEARTH_GRAMMAR_SPLIT:
        STEP_TRY(visit(m, t.place + 1, t.frame));
        return visit(m, target, t.frame);
    case HEARTH_GRAMMAR_JUMP:
        return visit(m, target, t.frame);
    case HEARTH_GRAMMAR_CALL:
        return call(m, t.place, t.frame);
    default:
        break;
    }
    if (t.frame != 0)
        return visit(m, m->frames[t.frame].place, m->frames[t.frame].below);
    *accepts = true;
    return STEP_OK;
}

/* ---- States ----------------------------------------------------------------------------------------------------------- */

/* Number of the state of threads[first, n_threads), which are taken back if it is known already. */
static enum step enter_state(struct hearth_matcher *m, uint32_t first, bool accepts, uint32_t *out)
{
    const uint32_t n = m->n_threads - first;
    const uint32_t n_classes = m->grammar->n_classes;
    uint32_t hash = accepts;
    *out = DEAD;
    if (n == 0 && !accepts)
        return STEP_OK;
    for (uint32_t i = first; i < m->n_threads; i++)
        hash = hash_pair(hash ^ m->threads[i].place, m->threads[i].frame);
    uint32_t i = hash % (2 * STATES);
    for (; m->state_slots[i]; i = (i + 1) % (2 * STATES)) {
        const struct state *s = &m->states[m->state_slots[i]];
        if (s->n == n && s->accepts == accepts && memcmp(m->threads + s->first, m->threads + first, n * sizeof *m->threads) == 0) {
            *out = m->state_slots[i];
            m->n_threads = first;
            return STEP_OK;
        }
    }
    if (m->n_states == m->most_states)
        return STEP_FULL;
    *out = m->n_states++;
    m->states[*out] = (struct state){first, n, accepts};
    m->state_slots[i] = (uint16_t)*out;
    memset(m->next + (size_t)*out * n_classes, 0xff, n_classes * sizeof *m->next);
    return STEP_OK;
}

/* The state that the visits begun lead to. On failure its threads are taken back. */
static enum step close_visits(struct hearth_matcher *m, uint32_t *out)
{
    const uint32_t first = m->n_threads;
    bool accepts = false;
    enum step step = STEP_OK;
    for (uint32_t i = 0; i < m->n_visits && step == STEP_OK; i++)
        step = follow(m, m->visits[i], &accepts);
    clear_visits(m);
    if (step == STEP_OK)
        step = enter_state(m, first, accepts, out);
    if (step != STEP_OK)
        m->n_threads = first;
    return step;
}

static enum step find_next(struct hearth_matcher *m, uint32_t from, uint32_t class, uint32_t *out)
{
    const struct state s = m->states[from];
    const uint8_t byte = m->grammar->byte_of[class];
    if (m->fuel < s.n)
        return STEP_EXHAUSTED;
    m->fuel -= s.n;
    for (uint32_t i = 0; i < s.n; i++) {
        const struct thread t = m->threads[s.first + i];
        const struct hearth_grammar_op op = m->grammar->ops[t.place];
        if (byte >= op.low && byte <= op.high) {
            const enum step step = visit(m, t.place + 1, t.frame);
            if (step != STEP_OK) {
                clear_visits(m);
                return step;
            }
        }
    }
    return close_visits(m, out);
}

static inline enum step step_byte(struct hearth_matcher *m, uint32_t from, uint8_t byte, uint32_t *out)
{
    const uint32_t class = m->grammar->class_of[byte];
    uint16_t *next = &m->next[(size_t)from * m->grammar->n_classes + class];
    if (*next != UNKNOWN) {
        *out = *next;
        return STEP_OK;
    }
    STEP_TRY(find_next(m, from, class, out));
    *next = (uint16_t)*out;
    return STEP_OK;
}

/* ---- Forgetting ------------------------------------------------------------------------------------------------------- */

static void clear_states(struct hearth_matcher *m)
{
    memset(m->state_slots, 0, sizeof m->state_slots);
    memset(m->next, 0, m->grammar->n_classes * sizeof *m->next); /* DEAD stays dead */
    m->states[DEAD] = (struct state){0};
    m->n_states = 1;
    m->n_threads = 0;
}

/* Keep the frames that the state needs, and number them anew. A frame comes after the one below it. */
static void keep_frames(struct hearth_matcher *m, const struct state *kept)
{
    uint32_t *number = m->frame_slots;
    memset(m->frame_slots, 0, sizeof m->frame_slots);
    for (uint32_t i = 0; i < kept->n; i++)
        for (uint32_t f = m->threads[kept->first + i].frame; f != 0 && !number[f]; f = m->frames[f].below)
            number[f] = 1;
    uint32_t n = 1;
    for (uint32_t f = 1; f < m->n_frames; f++) {
        if (!number[f])
            continue;
        m->frames[n] = (struct frame){m->frames[f].place, number[m->frames[f].below], m->frames[f].depth};
        number[f] = n++;
    }
    for (uint32_t i = 0; i < kept->n; i++)
        m->threads[kept->first + i].frame = number[m->threads[kept->first + i].frame];
    memset(m->frame_slots, 0, sizeof m->frame_slots);
    const uint32_t n_kept = n;
    m->n_frames = 1;
    for (uint32_t f = 1; f < n_kept; f++) { /* no two are alike, so each gets its own number again */
        uint32_t same;
        (void)enter_frame(m, m->frames[f].place, m->frames[f].below, &same);
    }
}

/* Forget everything but the state; it gets a new number. */
static void forget(struct hearth_matcher *m, uint32_t *state)
{
    const struct state kept = m->states[*state];
    m->fuel = m->fuel > FORGET_FUEL ? m->fuel - FORGET_FUEL : 0;
    keep_frames(m, &kept);
    clear_states(m);
    memmove(m->threads, m->threads + kept.first, kept.n * sizeof *m->threads);
    m->n_threads = kept.n;
    (void)enter_state(m, 0, kept.accepts, state); /* the first one fits */
}

/* ---- The text ----------------------------------------------------------------------------------------------------------- */

struct hearth_matcher *hearth_matcher_start(void *memory, const struct hearth_grammar *grammar)
{
    struct hearth_matcher *m = memory;
    const uint32_t most = TRANSITIONS / grammar->n_classes;
    m->grammar = grammar;
    m->exhausted = false;
    m->fuel = FUEL;
    m->most_states = most < STATES ? most : STATES;
    m->frames[0] = (struct frame){0};
    m->n_frames = 1;
    m->n_visits = 0;
    memset(m->frame_slots, 0, sizeof m->frame_slots);
    memset(m->visit_slots, 0, sizeof m->visit_slots);
    clear_states(m);
    m->current = DEAD;
    enum step step = visit(m, grammar->root, 0);
    if (step == STEP_OK)
        step = close_visits(m, &m->current);
    m->exhausted = step != STEP_OK;
    return m;
}

void hearth_matcher_advance(struct hearth_matcher *m, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n && m->current != DEAD; i++) {
        uint32_t next;
        m->fuel = FUEL;
        enum step step = step_byte(m, m->current, bytes[i], &next);
        if (step == STEP_FULL) {
            forget(m, &m->current);
            step = step_byte(m, m->current, bytes[i], &next);
        }
        m->exhausted |= step != STEP_OK;
        m->current = step == STEP_OK ? next : DEAD;
    }
}

bool hearth_matcher_accepts(const struct hearth_matcher *m)
{
    return m->states[m->current].accepts;
}

bool hearth_matcher_is_done(const struct hearth_matcher *m)
{
    return m->states[m->current].accepts && m->states[m->current].n == 0;
}

bool hearth_matcher_is_dead(const struct hearth_matcher *m)
{
    return m->current == DEAD;
}

/* ---- The vocabulary ------------------------------------------------------------------------------------------------------- */

/* Follow a piece from where its path[0 … *alive] has come from. Afterwards *alive bytes of it can follow the text. */
static enum step follow_piece(struct hearth_matcher *m, struct hearth_view piece, uint32_t *alive)
{
    for (bool again = false;; again = true) {
        enum step step = STEP_OK;
        uint32_t next = m->path[*alive];
        while (step == STEP_OK && *alive < piece.size) {
            step = step_byte(m, next, piece.bytes[*alive], &next);
            if (step == STEP_OK && next == DEAD)
                return STEP_OK;
            if (step == STEP_OK)
                m->path[++*alive] = (uint16_t)next;
        }
        if (step != STEP_FULL || again)
            return step == STEP_FULL ? STEP_EXHAUSTED : step;
        forget(m, &m->current);
        m->path[0] = (uint16_t)m->current;
        *alive = 0;
    }
}

static void set_bit(uint64_t *bits, uint32_t i)
{
    bits[i / 64] |= (uint64_t)1 << i % 64;
}

hearth_status hearth_matcher_allow(struct hearth_matcher *m, const struct hearth_piece_order *order,
                                   const struct hearth_tokenizer *tokenizer, uint64_t *allowed, hearth_error *err)
{
    const uint32_t n_vocab = hearth_tokenizer_count(tokenizer);
    bool any = false;
    enum step step = m->exhausted ? STEP_EXHAUSTED : STEP_OK;
    memset(allowed, 0, ((size_t)n_vocab + 63) / 64 * sizeof *allowed);
    m->fuel = FUEL;
    m->path[0] = (uint16_t)m->current;
    uint32_t alive = 0;
    for (uint32_t i = 0; i < order->n && step == STEP_OK && m->current != DEAD; i++) {
        if (order->shared[i] > alive)
            continue; /* begins with what has led nowhere */
        alive = order->shared[i];
        const struct hearth_view piece = hearth_tokenizer_piece(tokenizer, order->ids[i]);
        step = follow_piece(m, piece, &alive);
        if (step == STEP_OK && alive == piece.size) {
            set_bit(allowed, (uint32_t)order->ids[i]);
            any = true;
        }
    }
    if (m->current == DEAD && !m->exhausted)
        return hearth_fail(err, HEARTH_E_CONFIG, "E_GRAMMAR", "grammar: the tokens fed do not follow it");
    if (step != STEP_OK)
        return hearth_fail(err, HEARTH_E_CONFIG, "E_GRAMMAR", "grammar: too many ways to go on at this place of the answer");
    for (uint32_t id = 0; id < n_vocab && hearth_matcher_accepts(m); id++)
        if (hearth_tokenizer_is_end(tokenizer, (int32_t)id)) {
            set_bit(allowed, id);
            any = true;
        }
    return any ? HEARTH_OK
               : hearth_fail(err, HEARTH_E_CONFIG, "E_GRAMMAR", "grammar: no token of the vocabulary can follow this text");
}
