/* Kept keys and values; see prefix_cache.h. Units are cut into blocks of one size, chained through a table, so that whatever is
 * given up makes room for whatever comes. */
#include "prefix_cache.h"
#include "common/status.h"

#define BLOCK_BYTES (64u << 10)
#define NONE UINT32_MAX

struct hearth_prefix_entry {
    struct hearth_prefix_scope scope;
    uint64_t hash; /* of all tokens up to the unit's end */
    uint64_t used; /* the call that used it last */
    uint32_t parent;
    uint32_t first_block;
    uint32_t next_in_bucket; /* or in the list of free ones */
    uint32_t newer, older;
    int32_t ids[HEARTH_PREFIX_UNIT];
};

/* ---- Memory --------------------------------------------------------------------------------------------------------- */

static uint64_t bytes_of_blocks(uint64_t n)
{
    return n * (BLOCK_BYTES + sizeof(struct hearth_prefix_entry) + 2 * sizeof(uint32_t));
}

void hearth_prefix_cache_init(struct hearth_prefix_cache *c, uint64_t budget)
{
    (void)pthread_mutex_init(&c->lock, NULL);
    (void)pthread_mutex_init(&c->starting, NULL);
    const uint64_t n = budget / bytes_of_blocks(1);
    c->n_blocks = n < NONE ? (uint32_t)n : NONE - 1;
    c->hash_mask = UINT64_MAX;
    (void)hearth_arena_take(&c->counted, HEARTH_PLAN_PREFIX_CACHE, budget, 1);
}

static void make_empty(struct hearth_prefix_cache *c)
{
    for (uint32_t i = 0; i < c->n_blocks; i++) {
        c->next[i] = c->entries[i].next_in_bucket = i + 1 < c->n_blocks ? i + 1 : NONE;
        c->buckets[i] = NONE;
    }
    c->n_free = c->n_blocks;
    c->free_block = c->free_entry = c->n_blocks ? 0 : NONE;
    c->newest = c->oldest = NONE;
}

/* Blocks first, then what is aligned less and less. */
void hearth_prefix_cache_start(struct hearth_prefix_cache *c, const struct hearth_arena *arena)
{
    (void)pthread_mutex_lock(&c->lock); /* somebody may be forgetting */
    c->arena = *arena;
    c->blocks = hearth_arena_take(&c->arena, HEARTH_PLAN_PREFIX_CACHE, c->counted.used, 1);
    c->entries = (struct hearth_prefix_entry *)(void *)(c->blocks + (uint64_t)c->n_blocks * BLOCK_BYTES);
    c->next = (uint32_t *)(void *)(c->entries + c->n_blocks);
    c->buckets = c->next + c->n_blocks;
    make_empty(c);
    (void)pthread_mutex_unlock(&c->lock);
}

uint64_t hearth_prefix_cache_forget(struct hearth_prefix_cache *c)
{
    uint64_t bytes = 0;
    (void)pthread_mutex_lock(&c->lock);
    if (c->arena.base) {
        make_empty(c);
        bytes = hearth_arena_discard(&c->arena, c->blocks, (uint64_t)c->n_blocks * BLOCK_BYTES);
    }
    (void)pthread_mutex_unlock(&c->lock);
    return bytes;
}

void hearth_prefix_cache_close(struct hearth_prefix_cache *c)
{
    hearth_arena_release(&c->arena);
    (void)pthread_mutex_destroy(&c->lock);
    (void)pthread_mutex_destroy(&c->starting);
}

static uint64_t blocks_of(uint64_t unit_bytes)
{
    return (unit_bytes + BLOCK_BYTES - 1) / BLOCK_BYTES;
}

uint64_t hearth_prefix_piece_bytes(enum hearth_format kv_format, uint32_t head_dim)
{
    return HEARTH_PREFIX_UNIT / HEARTH_KEY_BLOCK * hearth_cache_block_bytes(kv_format, head_dim);
}

uint64_t hearth_prefix_unit_bytes(const struct hearth_hparams *h, enum hearth_format kv_format)
{
    return 2 * (uint64_t)h->n_layer * h->n_head_kv * hearth_prefix_piece_bytes(kv_format, h->head_dim); /* below 2^46 */
}

hearth_status hearth_prefix_cache_check(const struct hearth_prefix_cache *c, uint64_t unit_bytes, hearth_error *err)
{
    const uint64_t blocks = blocks_of(unit_bytes);
    if (c->counted.used == 0 || blocks <= c->n_blocks)
        return HEARTH_OK;
    return hearth_fail(err, HEARTH_E_CONFIG, NULL,
                       "engine options: cache_budget is too small for %u positions of this model (got %" PRIu64 ", need %" PRIu64
                       ")",
                       HEARTH_PREFIX_UNIT, c->counted.used, bytes_of_blocks(blocks));
}

/* ---- Copying -------------------------------------------------------------------------------------------------------- */

/* A place in the chain of a unit's blocks. */
struct cursor {
    struct hearth_prefix_cache *cache;
    uint32_t block;
    uint32_t at;
};

static void copy_piece(struct cursor *cursor, uint8_t *piece, uint64_t n, bool into_blocks)
{
    while (n > 0) {
        if (cursor->at == BLOCK_BYTES)
            *cursor = (struct cursor){cursor->cache, cursor->cache->next[cursor->block], 0};
        uint8_t *stored = cursor->cache->blocks + (uint64_t)cursor->block * BLOCK_BYTES + cursor->at;
        const uint32_t room = BLOCK_BYTES - cursor->at;
        const uint32_t now = n < room ? (uint32_t)n : room;
        memcpy(into_blocks ? stored : piece, into_blocks ? piece : stored, now);
        cursor->at += now;
        piece += now;
        n -= now;
    }
}

/* Unit number `unit` of a session from its cache into the blocks, or back. */
static void copy_unit(struct hearth_prefix_cache *c, const struct hearth_prefix_view *view, uint32_t unit, uint32_t first_block,
                      bool into_blocks)
{
    struct cursor cursor = {c, first_block, 0};
    for (uint32_t l = 0; l < view->n_layer; l++) {
        const struct hearth_kv_layer *layer = &view->cache->layers[l];
        for (uint32_t head = 0; head < view->n_head_kv; head++) {
            const uint64_t at = layer->at + head * layer->head_bytes + unit * view->piece_bytes;
            copy_piece(&cursor, view->cache->keys + at, view->piece_bytes, into_blocks);
            copy_piece(&cursor, view->cache->values + at, view->piece_bytes, into_blocks);
        }
    }
}

/* ---- The order of use ----------------------------------------------------------------------------------------------- */

static void unlink_entry(struct hearth_prefix_cache *c, uint32_t i)
{
    const struct hearth_prefix_entry *e = &c->entries[i];
    *(e->newer == NONE ? &c->newest : &c->entries[e->newer].older) = e->older;
    *(e->older == NONE ? &c->oldest : &c->entries[e->older].newer) = e->newer;
}

static void link_newest(struct hearth_prefix_cache *c, uint32_t i)
{
    c->entries[i].newer = NONE;
    c->entries[i].older = c->newest;
    *(c->newest == NONE ? &c->oldest : &c->entries[c->newest].newer) = i;
    c->newest = i;
}

/* The end of a chain first, its beginning last: a unit is always older than the one before it, so that the oldest of all has no
 * children. */
static void touch_chain(struct hearth_prefix_cache *c, uint32_t end)
{
    for (uint32_t i = end; i != NONE; i = c->entries[i].parent) {
        unlink_entry(c, i);
        link_newest(c, i);
        c->entries[i].used = c->calls;
    }
}

/* ---- Finding -------------------------------------------------------------------------------------------------------- */

static uint64_t hash_of(const struct hearth_prefix_cache *c, const struct hearth_prefix_scope *scope, uint64_t before,
                        const int32_t *ids)
{
    const uint64_t seed = before ? before : hearth_hash64(scope, sizeof *scope, 0);
    return hearth_hash64(ids, HEARTH_PREFIX_UNIT * sizeof *ids, seed) & c->hash_mask;
}

static uint32_t *bucket_of(struct hearth_prefix_cache *c, uint64_t hash)
{
    return &c->buckets[hash % c->n_blocks];
}

/* The unit with these ids behind `parent`; NONE: it is not kept. */
static uint32_t find(struct hearth_prefix_cache *c, const struct hearth_prefix_scope *scope, uint64_t hash, uint32_t parent,
                     const int32_t *ids)
{
    uint32_t i = *bucket_of(c, hash);
    for (; i != NONE; i = c->entries[i].next_in_bucket) {
        const struct hearth_prefix_entry *e = &c->entries[i];
        if (e->hash == hash && e->parent == parent && memcmp(e->ids, ids, sizeof e->ids) == 0 &&
            memcmp(&e->scope, scope, sizeof *scope) == 0)
            break;
    }
    return i;
}

/* The longest chain that is kept of n tokens: how many units, its last one (NONE: none) and that one's hash. */
struct chain {
    uint32_t n_units, end;
    uint64_t hash;
};

static struct chain find_chain(struct hearth_prefix_cache *c, const struct hearth_prefix_scope *scope, const int32_t *ids,
                               uint32_t n)
{
    struct chain chain = {.end = NONE};
    while (n - chain.n_units * HEARTH_PREFIX_UNIT >= HEARTH_PREFIX_UNIT) {
        const int32_t *unit = ids + chain.n_units * HEARTH_PREFIX_UNIT;
        const uint64_t hash = hash_of(c, scope, chain.hash, unit);
        const uint32_t found = find(c, scope, hash, chain.end, unit);
        if (found == NONE)
            break;
        chain = (struct chain){chain.n_units + 1, found, hash};
    }
    touch_chain(c, chain.end);
    return chain;
}

/* ---- Room ----------------------------------------------------------------------------------------------------------- */

/* Give up the unit that was used longest ago; false: this very call needs all that are left. */
static bool evict(struct hearth_prefix_cache *c)
{
    const uint32_t i = c->oldest;
    if (i == NONE || c->entries[i].used == c->calls)
        return false;
    struct hearth_prefix_entry *e = &c->entries[i];
    uint32_t *link = bucket_of(c, e->hash);
    while (*link != i)
        link = &c->entries[*link].next_in_bucket;
    *link = e->next_in_bucket;
    unlink_entry(c, i);
    uint32_t *last = &e->first_block;
    for (; *last != NONE; last = &c->next[*last])
        c->n_free++;
    *last = c->free_block;
    c->free_block = e->first_block;
    e->next_in_bucket = c->free_entry;
    c->free_entry = i;
    return true;
}

/* A unit of its own behind `parent`, with a chain of blocks; NONE: there is no room. */
static uint32_t insert(struct hearth_prefix_cache *c, const struct hearth_prefix_scope *scope, uint64_t hash, uint32_t parent,
                       const int32_t *ids)
{
    const uint64_t need = blocks_of(scope->unit_bytes);
    while (c->n_free < need)
        if (!evict(c))
            return NONE;
    const uint32_t i = c->free_entry; /* there is one: each has a block at least */
    struct hearth_prefix_entry *e = &c->entries[i];
    c->free_entry = e->next_in_bucket;
    *e = (struct hearth_prefix_entry){.scope = *scope,
                                      .hash = hash,
                                      .used = c->calls,
                                      .parent = parent,
                                      .first_block = c->free_block,
                                      .next_in_bucket = *bucket_of(c, hash)};
    memcpy(e->ids, ids, sizeof e->ids);
    uint32_t *last = &c->free_block;
    for (uint64_t n = 0; n < need; n++)
        last = &c->next[*last];
    c->free_block = *last;
    *last = NONE;
    c->n_free -= (uint32_t)need;
    *bucket_of(c, hash) = i;
    link_newest(c, i);
    return i;
}

/* ---- Keeping and restoring ------------------------------------------------------------------------------------------ */

void hearth_prefix_cache_keep(struct hearth_prefix_cache *c, const struct hearth_prefix_view *view, const int32_t *ids, uint32_t n,
                              const int32_t *next, uint32_t n_next)
{
    (void)pthread_mutex_lock(&c->lock);
    c->calls++;
    (void)find_chain(c, &view->scope, next, n_next);
    struct chain chain = find_chain(c, &view->scope, ids, n);
    const uint32_t n_units = n / HEARTH_PREFIX_UNIT;
    while (chain.n_units < n_units) {
        const int32_t *unit = ids + chain.n_units * HEARTH_PREFIX_UNIT;
        const uint64_t hash = hash_of(c, &view->scope, chain.hash, unit);
        const uint32_t made = insert(c, &view->scope, hash, chain.end, unit);
        if (made == NONE)
            break;
        copy_unit(c, view, chain.n_units, c->entries[made].first_block, true);
        chain = (struct chain){chain.n_units + 1, made, hash};
    }
    touch_chain(c, chain.end);
    (void)pthread_mutex_unlock(&c->lock);
}

uint32_t hearth_prefix_cache_restore(struct hearth_prefix_cache *c, const struct hearth_prefix_view *view, const int32_t *ids,
                                     uint32_t n, uint32_t from)
{
    (void)pthread_mutex_lock(&c->lock);
    c->calls++;
    const struct chain chain = find_chain(c, &view->scope, ids, n);
    uint32_t i = chain.end;
    for (uint32_t unit = chain.n_units; unit-- > from / HEARTH_PREFIX_UNIT; i = c->entries[i].parent)
        copy_unit(c, view, unit, c->entries[i].first_block, false);
    (void)pthread_mutex_unlock(&c->lock);
    const uint32_t restored = chain.n_units * HEARTH_PREFIX_UNIT;
    return restored > from ? restored : from;
}
