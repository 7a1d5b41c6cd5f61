/* Guard pages by mmap and mprotect; AddressSanitizer would not see what vector code reads in its own allocations, pages do. */
#include "fence.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SLACK 0xc7

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static void require(bool good)
{
    if (!good) {
        perror("fence");
        abort();
    }
}

struct fence fence_make(size_t bytes)
{
    const size_t page = page_bytes();
    const size_t inner = (bytes + page - 1) / page * page;
    struct fence f = {.map_bytes = inner + 2 * page, .bytes = bytes};
    f.map = mmap(NULL, f.map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    require(f.map != MAP_FAILED);
    if (inner > 0)
        require(mprotect(f.map + page, inner, PROT_READ | PROT_WRITE) == 0);
    f.data = f.map + page + inner - bytes;
    memset(f.map + page, SLACK, inner - bytes);
    memset(f.data, 0xa5, bytes);
    return f;
}

void fence_protect(const struct fence *fence)
{
    const size_t page = page_bytes();
    if (fence->map_bytes > 2 * page)
        require(mprotect(fence->map + page, fence->map_bytes - 2 * page, PROT_READ) == 0);
}

bool fence_intact(const struct fence *fence)
{
    for (const uint8_t *p = fence->map + page_bytes(); p < fence->data; p++)
        if (*p != SLACK)
            return false;
    return true;
}

void fence_free(struct fence *fence)
{
    require(munmap(fence->map, fence->map_bytes) == 0);
    *fence = (struct fence){0};
}
