#define FORMAT(op) op##_f16_avx2
#define ELEMENT uint16_t
#define ELEMENT_LOAD vec16_load_f16
#include "avx2/matmul_float.h" /* defines the products, tile_bytes, pack and unpack */
