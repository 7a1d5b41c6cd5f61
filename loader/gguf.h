/* GGUF, read and written (spec gguf.md): a checked table of views into somebody else's bytes. */
#ifndef HEARTH_LOADER_GGUF_H
#define HEARTH_LOADER_GGUF_H

#include "common/block_format.h"
#include "file.h"
#include "hearth.h"
#include <stdio.h>

struct hearth_view { /* bytes inside the file; not NUL-terminated */
    const uint8_t *bytes;
    uint64_t size;
};

enum hearth_gguf_type { /* value type codes of the file */
                        HEARTH_GGUF_U8,
                        HEARTH_GGUF_I8,
                        HEARTH_GGUF_U16,
                        HEARTH_GGUF_I16,
                        HEARTH_GGUF_U32,
                        HEARTH_GGUF_I32,
                        HEARTH_GGUF_F32,
                        HEARTH_GGUF_BOOL,
                        HEARTH_GGUF_STRING,
                        HEARTH_GGUF_ARRAY,
                        HEARTH_GGUF_U64,
                        HEARTH_GGUF_I64,
                        HEARTH_GGUF_F64,
                        HEARTH_GGUF_TYPE_COUNT
};

struct hearth_gguf_pair {
    struct hearth_view key;
    enum hearth_gguf_type type;
    enum hearth_gguf_type element_type; /* of arrays */
    uint64_t count;                     /* elements of an array; 1 otherwise */
    struct hearth_view value;           /* encoded value or elements; for a string its characters */
};

struct hearth_gguf_tensor {
    struct hearth_view name;
    uint32_t n_dims;
    uint64_t ne[4];       /* ne[0] contiguous; 1 beyond n_dims */
    uint32_t format;      /* a known enum hearth_format or another known id */
    uint64_t bytes;       /* checked against the file */
    uint64_t file_offset; /* from the start of the file, checked */
};

struct hearth_gguf {
    const char *file_name; /* for messages; the caller's, must outlive this */
    uint32_t version;
    uint64_t alignment;
    uint64_t data_start;
    uint64_t file_size;
    struct hearth_view header; /* from the beginning to the last entry of the tensor directory */
    uint64_t n_pairs, n_tensors;
    struct hearth_gguf_pair *pairs;
    struct hearth_gguf_tensor *tensors;
    void *name_index;      /* private: hash tables over keys and tensor names */
    void *memory;          /* private: one allocation holding all tables */
    uint64_t memory_bytes; /* its size, for the plan */
};

/* Parse and validate everything that can be validated without reading tensor data. `bytes` holds the first `size` bytes of a file
 * of `file_size` bytes (a header made in memory may stand before data that is made elsewhere).
 * The views point into `bytes`. One allocation, proportional to what the file proved to hold. On failure nothing is kept. */
hearth_status hearth_gguf_parse(struct hearth_gguf *out, const uint8_t *bytes, uint64_t size, uint64_t file_size,
                                const char *file_name, hearth_error *err);
/* The same of a file, whose header is fetched and stays in its memory; E_IO when it cannot be read. */
hearth_status hearth_gguf_parse_file(struct hearth_gguf *out, const struct hearth_file *file, const char *file_name,
                                     hearth_error *err);
void hearth_gguf_free(struct hearth_gguf *gguf);
/* The tables of one model in n >= 1 files: the first one's pairs, the tensors of all, their offsets as if the files lay one behind
 * the other. Views point where they did; the tables given are not needed afterwards. One allocation. E_FORMAT E_SPLIT for a tensor
 * that two files have, or more than there may be. */
hearth_status hearth_gguf_join(struct hearth_gguf *out, const struct hearth_gguf *files, uint32_t n, hearth_error *err);

/* Look-ups; NULL when absent. O(1). */
const struct hearth_gguf_pair *hearth_gguf_find(const struct hearth_gguf *gguf, const char *key);
const struct hearth_gguf_tensor *hearth_gguf_find_tensor(const struct hearth_gguf *gguf, const char *name);

/* Typed getters. `*found` tells whether the key is there; absent is no error and leaves *out alone. A value of another type, or an
 * integer that does not fit, is E_FORMAT E_KVTYPE naming the key. Integers accept all integer types and values that fit; floats
 * accept f32, f64. */
hearth_status hearth_gguf_get_u64(const struct hearth_gguf *gguf, const char *key, uint64_t *out, bool *found, hearth_error *err);
hearth_status hearth_gguf_get_f64(const struct hearth_gguf *gguf, const char *key, double *out, bool *found, hearth_error *err);
hearth_status hearth_gguf_get_bool(const struct hearth_gguf *gguf, const char *key, bool *out, bool *found, hearth_error *err);
hearth_status hearth_gguf_get_string(const struct hearth_gguf *gguf, const char *key, struct hearth_view *out, bool *found,
                                     hearth_error *err);
/* Whether the value is an integer below zero: what get_u64 refuses as E_KVTYPE although its type is right. */
bool hearth_gguf_is_negative(const struct hearth_gguf_pair *pair);
/* An array of `element_type`, checked; *out is its pair, NULL when absent. */
hearth_status hearth_gguf_get_array(const struct hearth_gguf *gguf, const char *key, enum hearth_gguf_type element_type,
                                    const struct hearth_gguf_pair **out, hearth_error *err);

/* Walk the strings of a string array: start with *cursor = 0; each call gives the next element and moves the cursor. Lengths were
 * checked when the file was parsed. */
struct hearth_view hearth_gguf_next_string(const struct hearth_gguf_pair *array, uint64_t *cursor);
/* Fixed-size elements, byte-wise, any alignment. index < count. */
uint32_t hearth_gguf_u32_at(const struct hearth_gguf_pair *array, uint64_t index);
bool hearth_gguf_bool_at(const struct hearth_gguf_pair *array, uint64_t index);
float hearth_gguf_f32_at(const struct hearth_gguf_pair *array, uint64_t index);

/* ---- Writing ------------------------------------------------------------------------------------------------------ */

/* A header under construction in growing memory. After an allocation failure every call does nothing and finish reports it. */
struct hearth_gguf_writer {
    uint8_t *pairs, *directory; /* private */
    size_t pairs_size, pairs_capacity, directory_size, directory_capacity;
    uint64_t n_pairs, n_tensors;
    uint64_t data_size; /* offset that the next tensor will get */
    uint32_t alignment;
    bool failed;
};

void hearth_gguf_writer_init(struct hearth_gguf_writer *writer, uint32_t alignment); /* alignment != 32 also writes the key */
/* Any pair, as the reader gives it: the way to copy pairs from file to file. */
void hearth_gguf_write_pair(struct hearth_gguf_writer *writer, const struct hearth_gguf_pair *pair);
void hearth_gguf_write_u32(struct hearth_gguf_writer *writer, const char *key, uint32_t value);
void hearth_gguf_write_f32(struct hearth_gguf_writer *writer, const char *key, float value);
void hearth_gguf_write_string(struct hearth_gguf_writer *writer, const char *key, const char *value);
void hearth_gguf_write_strings(struct hearth_gguf_writer *writer, const char *key, const struct hearth_view *values,
                               uint64_t count);
/* element_type of 4 bytes: U32, I32 or F32. */
void hearth_gguf_write_array32(struct hearth_gguf_writer *writer, const char *key, enum hearth_gguf_type element_type,
                               const void *values, uint64_t count);
/* Append a tensor; returns its offset in the data section. */
uint64_t hearth_gguf_write_tensor(struct hearth_gguf_writer *writer, const char *name, uint32_t format, uint32_t n_dims,
                                  const uint64_t *ne);
/* The header with its padding: *bytes (free with free()) of *size; the data section of writer->data_size bytes follows it.
 * Version 3. */
hearth_status hearth_gguf_writer_finish(struct hearth_gguf_writer *writer, uint8_t **bytes, size_t *size, hearth_error *err);
void hearth_gguf_writer_free(struct hearth_gguf_writer *writer);

#endif
