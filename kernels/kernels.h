/* The contract of the kernels: what each operation computes, over which memory, and the one table of all implementations.
 *
 * Kernels know blocks and rows, never a file, thread, heap or model. They never allocate, never fail (quantization reports
 * numbers that are not finite) and keep no state. Every kernel of an operation gives the same bits as its reference
 * (docs/arithmetic.md). No pointer needs alignment unless said; outputs overlap no input unless said. */
#ifndef HEARTH_KERNELS_H
#define HEARTH_KERNELS_H

#include "common/block_format.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- Quantized activations --------------------------------------------------------------------------------------- */

/* A token's activations are k floats (F32), or units of 256 elements, aligned to 64 bytes, the last one filled as far as k reaches.
 *
 * Units of tokens that are multiplied together lie token by token, and only then by k: unit c of token t is c * x_stride + t *
 * HEARTH_UNIT_BYTES bytes from the first. What meets the same weights is then one stretch of memory, which hardware fetches ahead
 * as a whole (docs/performance.md). Floats of token t are t * x_stride bytes from the first. */
enum { HEARTH_UNIT_ELEMS = 256, HEARTH_UNIT_BYTES = 320 };

struct hearth_spans {
    uint16_t of32; /* the largest, over each 32 of the 256, of the sum of positive q and that of negative q without sign */
    uint16_t of16; /* the largest sum of |q| over each 16 */
    uint16_t of8;  /* as of32, but over the eight of each 16 whose k % 4 is below 2, and over the other eight */
};

/* A unit of Q8_256; |q| <= 127. */
struct hearth_q8_256 {
    int8_t q[256];
    int16_t sums16[16]; /* of q over each 16 */
    int16_t sums32[8];  /* and over each 32 */
    float s;            /* q * s is the value */
    struct hearth_spans spans;
    uint8_t unused[6];
};

/* A unit of Q8_32; |q| <= 127. */
struct hearth_q8_32 {
    int8_t q[256];
    float s[8];      /* of each 32 */
    int32_t sums[8]; /* of q over each 32 */
};

_Static_assert(sizeof(struct hearth_q8_256) == HEARTH_UNIT_BYTES && sizeof(struct hearth_q8_32) == HEARTH_UNIT_BYTES, "units");

/* Memory that one token's activations take; a multiple of 64. */
static inline size_t hearth_activation_bytes(enum hearth_activation activation, size_t k)
{
    if (activation == HEARTH_ACTIVATION_F32)
        return (k * sizeof(float) + 63) & ~(size_t)63;
    return (k + HEARTH_UNIT_ELEMS - 1) / HEARTH_UNIT_ELEMS * HEARTH_UNIT_BYTES;
}

/* x_stride of n_tokens tokens that lie together without gaps. */
static inline size_t hearth_activation_stride(enum hearth_activation activation, size_t k, size_t n_tokens)
{
    return activation == HEARTH_ACTIVATION_F32 ? hearth_activation_bytes(activation, k) : n_tokens * HEARTH_UNIT_BYTES;
}

/* Bytes from a token to the next. */
static inline size_t hearth_activation_step(enum hearth_activation activation, size_t x_stride)
{
    return activation == HEARTH_ACTIVATION_F32 ? x_stride : HEARTH_UNIT_BYTES;
}

/* ---- Operations -------------------------------------------------------------------------------------------------- */

enum hearth_op {
    HEARTH_OP_MATMUL,         /* weights of `format` times activations */
    HEARTH_OP_DEQUANTIZE,     /* file blocks of `format` to floats */
    HEARTH_OP_QUANTIZE_Q8_32, /* floats to activations */
    HEARTH_OP_QUANTIZE_Q8_256,
    HEARTH_OP_RMS_NORM,
    HEARTH_OP_LAYER_NORM,
    HEARTH_OP_ROPE,      /* pairs (2i, 2i + 1) */
    HEARTH_OP_ROPE_NEOX, /* pairs (i, i + n_rot / 2) */
    HEARTH_OP_SILU_MUL,
    HEARTH_OP_GELU,
    HEARTH_OP_GELU_MUL,
    HEARTH_OP_SOFTCAP,
    HEARTH_OP_ADD,
    HEARTH_OP_SOFTMAX,
    HEARTH_OP_EXP,
    HEARTH_OP_TO_F16,
    HEARTH_OP_QUANTIZE_Q8_0, /* floats to file blocks of Q8_0, for the cache */
    HEARTH_OP_ATTENTION,     /* heads over one segment of a cache of `format` F32, F16 or Q8_0 */
    HEARTH_OP_ATTENTION_MERGE,
    HEARTH_OP_COUNT
};

/* y[t * y_stride + r] = dot(row r of the weights, activations of token t), r < rows, t < tokens. w: packed tiles; rows need not be
 * a multiple of the tile (the last tile's surplus rows are zero weights and are not written). x: activations of the kind that the
 * format takes, as above. Up to 16 tokens read each packed byte once. tokens >= 1, k >= 1 block.
 * prefetch_bytes: how far ahead a walk of few tokens asks for the packed bytes it will read, beyond the end of w too, a multiple of
 * 64; 0: no further than the lines that are read next, the rest is left to the CPU. Plus what is said below of the way. It never
 * changes a result. */
typedef void hearth_matmul_fn(float *y, size_t y_stride, const void *w, const void *x, size_t x_stride, size_t rows, size_t k,
                              size_t tokens, size_t prefetch_bytes);
/* The distance for those who have not measured a better one. */
#define HEARTH_PREFETCH_BYTES ((size_t)8192)
/* Added to a distance: in two steps (template/prefetch.h); and one token walks two tiles side by side, so that two streams come. */
#define HEARTH_PREFETCH_IN_STEPS ((size_t)1)
#define HEARTH_PREFETCH_TWO_STREAMS ((size_t)2)
/* Bytes of one packed tile (tile_rows rows of k elements); a multiple of 64. */
typedef size_t hearth_tile_bytes_fn(size_t k);
/* Pack `rows` (1 … tile_rows) file rows lying back to back into one tile; missing rows become zero weights. */
typedef void hearth_pack_fn(void *tile, const void *file_rows, size_t rows, size_t k);
/* The inverse for one row: the file's bytes again. */
typedef void hearth_unpack_fn(void *file_row, const void *tile, size_t row, size_t k);

/* y[0..k): the values of one file row. */
typedef void hearth_dequantize_fn(float *y, const void *file_row, size_t k);
/* Fill elements begin ... end-1, whole groups, of one token's units, which lie `stride` bytes apart, or of a row of blocks of Q8_0,
 * which takes no stride; from x[0 .. end-begin): their codes, scales, sums and spans, nothing else. false when one is not finite,
 * or too large for a block's half scale (those groups are then unspecified). */
typedef bool hearth_quantize_fn(void *to, size_t stride, const float *x, size_t begin, size_t end);
/* y = x / sqrt(mean(x^2) + eps) * weight. y may be x. */
typedef void hearth_rms_norm_fn(float *y, const float *x, const float *weight, size_t n, float eps);
/* y = (x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps) * weight + bias. y may be x. */
typedef void hearth_layer_norm_fn(float *y, const float *x, const float *weight, const float *bias, size_t n, float eps);
/* Rotate in place, for each of `heads` heads of head_dim elements, the first n_rot elements: pair i is (2i, 2i+1), or (i, i +
 * n_rot/2) for ROPE_NEOX; cos and sin have n_rot/2. */
typedef void hearth_rope_fn(float *x, size_t heads, size_t head_dim, size_t n_rot, const float *cos, const float *sin);
/* y[i] = gate[i] / (1 + exp(-gate[i])) * up[i]. y may be gate or up. */
typedef void hearth_silu_mul_fn(float *y, const float *gate, const float *up, size_t n);
/* y[i] = x[i] / (1 + exp(-2 u)), u = sqrt(2 / pi) (x[i] + 0.044715 x[i]^3): the tanh form of GELU. y may be x. */
typedef void hearth_gelu_fn(float *y, const float *x, size_t n);
/* y[i] = gelu(gate[i]) * up[i]. y may be gate or up. */
typedef void hearth_gelu_mul_fn(float *y, const float *gate, const float *up, size_t n);
/* y[i] = cap * tanh(x[i] / cap), cap > 0. y may be x. */
typedef void hearth_softcap_fn(float *y, const float *x, float cap, size_t n);
/* y[i] += x[i]. */
typedef void hearth_add_fn(float *y, const float *x, size_t n);
/* y = exp(x - max x) / sum; n >= 1. y may be x. */
typedef void hearth_softmax_fn(float *y, const float *x, size_t n);
/* y[i] = exp(x[i]). y may be x. */
typedef void hearth_exp_fn(float *y, const float *x, size_t n);
/* y[i] = half float of x[i]. */
typedef void hearth_to_f16_fn(uint16_t *y, const float *x, size_t n);

/* The cache of one KV head, keys and values apart, lies in blocks of 32 positions; block p/32 of either begins at p/32 *
 * hearth_cache_block_bytes. G = groups of 32 of the head's dimensions, with zeros behind the last one.
 *   F32, F16   keys [head_dim][32 positions], values [32 positions][head_dim]
 *   Q8_0       keys [G]{int8 [8][32 positions][4 dimensions], half [32 positions]},
 *              values [32 positions]{int8 [32 G], half [G]}; code times scale is the number
 * Keys are mapped to the end of their block, values to the end of their position. Positions outside [begin, end) of a query are
 * never used for it, whatever they hold. */
#define HEARTH_KEY_BLOCK 32
#define HEARTH_SEGMENT 256          /* positions; begin and end-1 of all queries of a tile lie in one segment */
#define HEARTH_ATTENTION_QUERIES 48 /* most queries of a tile */
#define HEARTH_CACHE_GROUP_BYTES (HEARTH_KEY_BLOCK * (32 + 2))

static inline size_t hearth_cache_groups(size_t head_dim)
{
    return (head_dim + 31) / 32;
}
static inline size_t hearth_cache_block_bytes(enum hearth_format format, size_t head_dim)
{
    if (format == HEARTH_Q8_0)
        return hearth_cache_groups(head_dim) * HEARTH_CACHE_GROUP_BYTES;
    return HEARTH_KEY_BLOCK * head_dim * (format == HEARTH_F32 ? sizeof(float) : sizeof(uint16_t));
}

/* One head of one token. */
struct hearth_attention_query {
    const void *q; /* float [head_dim]; with a Q8_0 cache 32 G elements in units of Q8_32, zeros behind head_dim */
    float *o;      /* float [head_dim]: outputs not yet divided by l */
    float *ml;     /* the maximum m and the sum l */
    size_t begin, end;
};
static inline size_t hearth_attention_query_floats(size_t head_dim)
{
    return (head_dim + 15) / 16 * 16;
}
/* For n queries: their scores, they themselves in another order, and a block of keys or a slice of values as floats. */
static inline size_t hearth_attention_scratch_bytes(size_t head_dim, size_t n)
{
    const size_t keys = HEARTH_KEY_BLOCK * head_dim;
    const size_t values = HEARTH_SEGMENT * 32;
    return (n * (HEARTH_SEGMENT + hearth_attention_query_floats(head_dim)) + (keys > values ? keys : values)) * sizeof(float);
}
/* The state of each of n <= HEARTH_ATTENTION_QUERIES queries over its positions, of one segment, in one walk over k and v. Queries
 * that stand near each other in time should stand beside each other. Scores are softcap * tanh(score / softcap), or with 0 as they
 * are. l1_bytes: of the first-level data cache, which is asked for what comes next if it has room; 0: unknown. It never changes a
 * result. scratch: hearth_attention_scratch_bytes, 64-byte aligned. */
typedef void hearth_attention_fn(const struct hearth_attention_query *queries, size_t n, const void *k, const void *v,
                                 size_t head_dim, float scale, float softcap, size_t l1_bytes, void *scratch);
/* Merge segment b, the later one, into a. With b NULL: divide a's outputs by its sum, the end of the walk. */
typedef void hearth_attention_merge_fn(float *o_a, float ml_a[2], const float *o_b, const float *ml_b, size_t head_dim);

/* ---- The registry ------------------------------------------------------------------------------------------------ */

/* A level admits the rows below it, but AVX512 none of AVXVNNI: hearth_cpu_runs(). */
enum hearth_cpu_level {
    HEARTH_CPU_REFERENCE,
    HEARTH_CPU_AVX2,    /* AVX2, FMA, F16C, BMI2 */
    HEARTH_CPU_AVXVNNI, /* and AVX-VNNI */
    HEARTH_CPU_AVX512,  /* and AVX-512 F, BW, VL, DQ, VNNI */
    HEARTH_CPU_LEVEL_COUNT
};

struct hearth_kernel {
    const char *name; /* as printed by bench, tests and hearth info: op_format_level */
    enum hearth_op op;
    enum hearth_format format; /* of weights (MATMUL, DEQUANTIZE) or cache (ATTENTION); else HEARTH_F32 */
    enum hearth_cpu_level level;
    union {
        struct {
            hearth_matmul_fn *run;
            size_t tile_rows;
            hearth_tile_bytes_fn *tile_bytes;
            hearth_pack_fn *pack;
            hearth_unpack_fn *unpack;
        } matmul;
        hearth_dequantize_fn *dequantize;
        hearth_quantize_fn *quantize;
        hearth_rms_norm_fn *rms_norm;
        hearth_layer_norm_fn *layer_norm;
        hearth_rope_fn *rope; /* both pairings */
        hearth_silu_mul_fn *silu_mul;
        hearth_gelu_fn *gelu;
        hearth_gelu_mul_fn *gelu_mul;
        hearth_softcap_fn *softcap;
        hearth_add_fn *add;
        hearth_softmax_fn *softmax;
        hearth_exp_fn *exp;
        hearth_to_f16_fn *to_f16;
        hearth_attention_fn *attention;
        hearth_attention_merge_fn *attention_merge;
    };
};

/* Reference first, then faster and faster: of the rows this CPU can run, the last one wins. */
extern const struct hearth_kernel hearth_kernels[];
extern const size_t hearth_kernel_count;

/* Whether an operation has one kernel for each format. */
static inline bool hearth_op_has_format(enum hearth_op op)
{
    return op == HEARTH_OP_MATMUL || op == HEARTH_OP_DEQUANTIZE || op == HEARTH_OP_ATTENTION;
}

/* The chosen rows: [op][format], format 0 for operations without one; NULL where nothing is defined. */
struct hearth_kernel_set {
    enum hearth_cpu_level level;
    const struct hearth_kernel *chosen[HEARTH_OP_COUNT][HEARTH_FORMAT_COUNT];
};

/* Choose for `level`; rows whose index is set in `refused` (may be NULL, hearth_kernel_count entries) are passed over. */
void hearth_kernels_choose(struct hearth_kernel_set *out, enum hearth_cpu_level level, const bool *refused);
/* The reference row of the same operation and format. */
const struct hearth_kernel *hearth_kernel_reference(const struct hearth_kernel *kernel);
/* Run a kernel and its reference on a few fixed blocks, odd sizes included; true when every bit agrees. Stack only, microseconds.
 */
bool hearth_kernel_selftest(const struct hearth_kernel *kernel);

#endif
