#include "avx512/simd.h" /* vec16 and its operations; ISA(name) is name##_avx512 */
#define ATTENTION ISA(hearth_attention_f32)
#define CACHE float
#define CACHE_LOAD vec16_load
#define CACHE_LOAD_PARTIAL vec16_load_partial
#include "template/attention.h"
