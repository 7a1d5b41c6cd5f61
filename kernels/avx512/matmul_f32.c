#include "avx512/matmul.h"
#include "avx512/simd.h"
#define KERNEL(operation) hearth_##operation##_f32_avx512
#define ELEMENT float
#define LOAD vec16_load
#include "avx512/matmul_float.h"
