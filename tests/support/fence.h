/* Memory between two pages that nobody may touch: its last byte is the last before the guard page, so that reading or writing one
 * byte too far ends the test. What lies between the first guard page and the data is filled with a pattern that can be checked. */
#ifndef HEARTH_TESTS_FENCE_H
#define HEARTH_TESTS_FENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fence {
    uint8_t *map;
    size_t map_bytes;
    uint8_t *data; /* aligned as far as `bytes` is a multiple of the alignment */
    size_t bytes;
};

/* Ends the process when there is no memory. The data starts as bytes 0xa5: as floats, small and recognisable. */
struct fence fence_make(size_t bytes);
/* Make the data read-only, for inputs. */
void fence_protect(const struct fence *fence);
/* Whether the bytes before the data are as they were. */
bool fence_intact(const struct fence *fence);
void fence_free(struct fence *fence);

#endif
