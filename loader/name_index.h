/* Finding a record by its name: a hash table over an array of records that begin with a struct hearth_view.
 * The table is memory of the caller's, so that the loader's one allocation can hold it. */
#ifndef HEARTH_LOADER_NAME_INDEX_H
#define HEARTH_LOADER_NAME_INDEX_H

#include "gguf.h"

struct hearth_name_index {
    const uint8_t *records;
    size_t record_bytes;
    uint32_t *slots; /* record number + 1; 0: free */
    uint64_t mask;   /* number of slots - 1, a power of two of at least twice the records */
    uint64_t seed;
};

/* Slots to provide for n <= 2^30 records. */
uint64_t hearth_name_index_slots(uint64_t n);
/* `slots` are hearth_name_index_slots(n) zeroes; `records` may still be empty: only inserted ones are read. */
void hearth_name_index_init(struct hearth_name_index *index, uint32_t *slots, uint64_t n, const void *records, size_t record_bytes);
/* Add record number `record`; false, and nothing is added, when a record of the same name is there. */
bool hearth_name_index_insert(struct hearth_name_index *index, uint32_t record);
/* The record of that name, or NULL. */
const void *hearth_name_index_find(const struct hearth_name_index *index, const void *name, uint64_t size);

#endif
