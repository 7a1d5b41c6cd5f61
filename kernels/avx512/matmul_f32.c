#include "avx512/matmul.h" /* vec16, UNROLL; ISA(name) is name##_avx512 */
#define KERNEL(operation) hearth_##operation##_f32_avx512
#define ELEMENT float
#define LOAD vec16_load
#include "avx512/matmul_float.h" /* defines the products, tile_bytes, pack and unpack */
