/* An open-addressing hash table with linear probing, at most half full. Names come from the file, so the hash is seeded with an
 * address, which the maker of a file cannot know: names made to collide would otherwise cost quadratic time. The seed changes
 * where a name lies in the table, never what is found. */
#include "name_index.h"
#include "hash.h"
#include <string.h>

uint64_t hearth_name_index_slots(uint64_t n)
{
    uint64_t slots = 4;
    while (slots < 2 * n)
        slots *= 2;
    return slots;
}

void hearth_name_index_init(struct hearth_name_index *index, uint32_t *slots, uint64_t n, const void *records, size_t record_bytes)
{
    *index = (struct hearth_name_index){
        .records = (const uint8_t *)records,
        .record_bytes = record_bytes,
        .slots = slots,
        .mask = hearth_name_index_slots(n) - 1,
        .seed = (uint64_t)(uintptr_t)slots * 0x9e3779b97f4a7c15u,
    };
}

static struct hearth_view name_of(const struct hearth_name_index *index, uint64_t record)
{
    struct hearth_view name;
    memcpy(&name, index->records + record * index->record_bytes, sizeof name);
    return name;
}

/* The slot that holds this name, or the free slot where it belongs. Ends, because half of the slots are free. */
static uint32_t *slot_of(const struct hearth_name_index *index, const void *name, uint64_t size)
{
    uint64_t i = hearth_hash64(name, (size_t)size, index->seed) & index->mask;
    while (index->slots[i] != 0) {
        const struct hearth_view there = name_of(index, index->slots[i] - 1);
        if (there.size == size && memcmp(there.bytes, name, (size_t)size) == 0)
            break;
        i = (i + 1) & index->mask;
    }
    return &index->slots[i];
}

bool hearth_name_index_insert(struct hearth_name_index *index, uint32_t record)
{
    const struct hearth_view name = name_of(index, record);
    uint32_t *slot = slot_of(index, name.bytes, name.size);
    if (*slot != 0)
        return false;
    *slot = record + 1;
    return true;
}

const void *hearth_name_index_find(const struct hearth_name_index *index, const void *name, uint64_t size)
{
    const uint32_t slot = *slot_of(index, name, size);
    return slot == 0 ? NULL : index->records + (size_t)(slot - 1) * index->record_bytes;
}
