#include "avx512/matmul.h" /* vec16, UNROLL; ISA(name) is name##_avx512 */
#define KERNEL(operation) hearth_##operation##_bf16_avx512
#define ELEMENT uint16_t
#define LOAD vec16_load_bf16
#include "avx512/matmul_float.h" /* defines the products, tile_bytes, pack and unpack */
