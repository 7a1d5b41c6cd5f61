#define FORMAT(op) op##_f32_avx2
#define ELEMENT float
#define ELEMENT_LOAD vec16_load
#include "avx2/matmul_float.h" /* defines the products, tile_bytes, pack and unpack */
