/* The GGUF writer: pairs and directory grow in two buffers side by side, because the counts before them and the offsets after
 * them are known only at the end. Every value goes through hearth_gguf_write_pair(), which also copies pairs of a file read. */
#include "common/checked.h"
#include "common/status.h"
#include "gguf.h"

#include <stdlib.h>

#define HEADER_BYTES 24

static void append(struct hearth_gguf_writer *writer, uint8_t **buffer, size_t *size, size_t *capacity, const void *bytes,
                   uint64_t n)
{
    if (writer->failed)
        return;
    uint64_t need;
    if (!hearth_add_u64(&need, *size, n) || need > SIZE_MAX / 4) {
        writer->failed = true;
        return;
    }
    if (need > *capacity) {
        const size_t larger = (size_t)(need + need / 2 + 256);
        uint8_t *moved = realloc(*buffer, larger);
        if (!moved) {
            writer->failed = true;
            return;
        }
        *buffer = moved;
        *capacity = larger;
    }
    if (n > 0)
        memcpy(*buffer + *size, bytes, (size_t)n);
    *size = (size_t)need;
}

static void append_pair_bytes(struct hearth_gguf_writer *writer, const void *bytes, uint64_t n)
{
    append(writer, &writer->pairs, &writer->pairs_size, &writer->pairs_capacity, bytes, n);
}

static void append_directory_bytes(struct hearth_gguf_writer *writer, const void *bytes, uint64_t n)
{
    append(writer, &writer->directory, &writer->directory_size, &writer->directory_capacity, bytes, n);
}

void hearth_gguf_writer_init(struct hearth_gguf_writer *writer, uint32_t alignment)
{
    *writer = (struct hearth_gguf_writer){.alignment = alignment};
    writer->failed = alignment == 0 || (alignment & (alignment - 1)) != 0;
    if (alignment != 32)
        hearth_gguf_write_u32(writer, "general.alignment", alignment);
}

/* Numbers are stored as they lie in memory: this program runs on little-endian machines only. */
void hearth_gguf_write_pair(struct hearth_gguf_writer *writer, const struct hearth_gguf_pair *pair)
{
    const uint32_t type = (uint32_t)pair->type;
    const uint32_t element_type = (uint32_t)pair->element_type;
    append_pair_bytes(writer, &pair->key.size, 8);
    append_pair_bytes(writer, pair->key.bytes, pair->key.size);
    append_pair_bytes(writer, &type, 4);
    if (pair->type == HEARTH_GGUF_STRING) {
        append_pair_bytes(writer, &pair->value.size, 8);
    } else if (pair->type == HEARTH_GGUF_ARRAY) {
        append_pair_bytes(writer, &element_type, 4);
        append_pair_bytes(writer, &pair->count, 8);
    }
    append_pair_bytes(writer, pair->value.bytes, pair->value.size);
    writer->n_pairs++;
}

static void write_value(struct hearth_gguf_writer *writer, const char *key, enum hearth_gguf_type type, const void *value, size_t n)
{
    hearth_gguf_write_pair(
        writer, &(struct hearth_gguf_pair){
                    .key = {(const uint8_t *)key, strlen(key)}, .type = type, .count = 1, .value = {(const uint8_t *)value, n}});
}

void hearth_gguf_write_u32(struct hearth_gguf_writer *writer, const char *key, uint32_t value)
{
    write_value(writer, key, HEARTH_GGUF_U32, &value, sizeof value);
}

void hearth_gguf_write_f32(struct hearth_gguf_writer *writer, const char *key, float value)
{
    write_value(writer, key, HEARTH_GGUF_F32, &value, sizeof value);
}

void hearth_gguf_write_string(struct hearth_gguf_writer *writer, const char *key, const char *value)
{
    write_value(writer, key, HEARTH_GGUF_STRING, value, strlen(value));
}

void hearth_gguf_write_strings(struct hearth_gguf_writer *writer, const char *key, const struct hearth_view *values, uint64_t count)
{
    hearth_gguf_write_pair(writer, &(struct hearth_gguf_pair){.key = {(const uint8_t *)key, strlen(key)},
                                                              .type = HEARTH_GGUF_ARRAY,
                                                              .element_type = HEARTH_GGUF_STRING,
                                                              .count = count});
    for (uint64_t i = 0; i < count; i++) {
        append_pair_bytes(writer, &values[i].size, 8);
        append_pair_bytes(writer, values[i].bytes, values[i].size);
    }
}

void hearth_gguf_write_array32(struct hearth_gguf_writer *writer, const char *key, enum hearth_gguf_type element_type,
                               const void *values, uint64_t count)
{
    hearth_gguf_write_pair(writer, &(struct hearth_gguf_pair){.key = {(const uint8_t *)key, strlen(key)},
                                                              .type = HEARTH_GGUF_ARRAY,
                                                              .element_type = element_type,
                                                              .count = count,
                                                              .value = {(const uint8_t *)values, 4 * count}});
}

static bool tensor_bytes(uint64_t *out, uint32_t format, uint32_t n_dims, const uint64_t *ne)
{
    const struct hearth_format_info *info = hearth_format_info(format);
    if (info->block_elems == 0 || n_dims < 1 || n_dims > 4 || ne[0] % info->block_elems != 0)
        return false;
    *out = info->block_bytes;
    if (!hearth_mul_u64(out, *out, ne[0] / info->block_elems))
        return false;
    for (uint32_t i = 1; i < n_dims; i++)
        if (!hearth_mul_u64(out, *out, ne[i]))
            return false;
    return true;
}

uint64_t hearth_gguf_write_tensor(struct hearth_gguf_writer *writer, const char *name, uint32_t format, uint32_t n_dims,
                                  const uint64_t *ne)
{
    const uint64_t offset = writer->data_size;
    const uint64_t name_size = strlen(name);
    uint64_t bytes;
    if (writer->failed || !tensor_bytes(&bytes, format, n_dims, ne) || !hearth_add_u64(&bytes, bytes, offset) ||
        !hearth_round_up_u64(&bytes, bytes, writer->alignment)) {
        writer->failed = true;
        return offset;
    }
    append_directory_bytes(writer, &name_size, 8);
    append_directory_bytes(writer, name, name_size);
    append_directory_bytes(writer, &n_dims, 4);
    append_directory_bytes(writer, ne, 8 * (uint64_t)n_dims);
    append_directory_bytes(writer, &format, 4);
    append_directory_bytes(writer, &offset, 8);
    writer->n_tensors++;
    writer->data_size = bytes;
    return offset;
}

hearth_status hearth_gguf_writer_finish(struct hearth_gguf_writer *writer, uint8_t **bytes, size_t *size, hearth_error *err)
{
    *bytes = NULL;
    *size = 0;
    const size_t used = HEADER_BYTES + writer->pairs_size + writer->directory_size; /* each buffer is below SIZE_MAX / 4 */
    const size_t padded = writer->failed ? 0 : hearth_align(used, writer->alignment);
    uint8_t *out = writer->failed || padded < used ? NULL : calloc(1, padded);
    if (!out)
        return hearth_fail_needed(err, HEARTH_E_MEMORY, used, 0, "GGUF header: no memory, or a tensor that cannot be described");
    const uint32_t version = 3;
    memcpy(out, "GGUF", 4);
    memcpy(out + 4, &version, 4);
    memcpy(out + 8, &writer->n_tensors, 8);
    memcpy(out + 16, &writer->n_pairs, 8);
    if (writer->pairs_size > 0)
        memcpy(out + HEADER_BYTES, writer->pairs, writer->pairs_size);
    if (writer->directory_size > 0)
        memcpy(out + HEADER_BYTES + writer->pairs_size, writer->directory, writer->directory_size);
    *bytes = out;
    *size = padded;
    return HEARTH_OK;
}

void hearth_gguf_writer_free(struct hearth_gguf_writer *writer)
{
    free(writer->pairs);
    free(writer->directory);
    *writer = (struct hearth_gguf_writer){0};
}
