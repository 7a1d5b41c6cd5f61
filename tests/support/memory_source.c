/* A model that lies in memory; see memory_source.h. */
#include "memory_source.h"
#include "common/status.h"

static hearth_status read_memory(void *context, void *out, uint64_t offset, size_t n, hearth_error *err)
{
    struct memory_source *m = context;
    atomic_fetch_add(&m->n_reads, 1);
    if (offset > m->size || n > m->size - offset)
        return hearth_fail(err, HEARTH_E_IO, NULL, "tiny.gguf: read: past the end (got %" PRIu64 " bytes)", m->size);
    memcpy(out, m->bytes + offset, n);
    return HEARTH_OK;
}

hearth_status memory_source_open(struct memory_source *m, const void *bytes, uint64_t size, hearth_error *err)
{
    memory_source_close(m);
    m->bytes = bytes;
    m->size = size;
    atomic_store(&m->n_reads, 0);
    m->source =
        (struct hearth_source){.name = "tiny.gguf", .shown = "tiny.gguf", .gguf = &m->gguf, .read = read_memory, .context = m};
    return hearth_gguf_parse(&m->gguf, bytes, size, size, m->source.name, err);
}

void memory_source_close(struct memory_source *m)
{
    hearth_gguf_free(&m->gguf);
}

uint8_t *memory_source_tensor(uint8_t *bytes, uint64_t size, const char *name, uint64_t *n_bytes)
{
    struct hearth_gguf gguf;
    if (hearth_gguf_parse(&gguf, bytes, size, size, "tiny.gguf", NULL) != HEARTH_OK)
        return NULL;
    const struct hearth_gguf_tensor *t = hearth_gguf_find_tensor(&gguf, name);
    uint8_t *data = t ? bytes + t->file_offset : NULL;
    *n_bytes = t ? t->bytes : 0;
    hearth_gguf_free(&gguf);
    return data;
}
