#include "avx512/matmul.h"
#include "avx512/simd.h"
#define KERNEL(operation) hearth_##operation##_bf16_avx512
#define ELEMENT uint16_t
#define LOAD vec16_load_bf16
#include "avx512/matmul_float.h"
