#include "avx2/simd.h" /* vec16 and its operations; ISA(name) is name##_avx2 */
#define ATTENTION ISA(hearth_attention_f16)
#define CACHE uint16_t
#define CACHE_LOAD vec16_load_f16
#define CACHE_LOAD_PARTIAL vec16_load_f16_partial
#include "template/attention.h"
