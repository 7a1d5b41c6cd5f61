#include "avx2/simd.h" /* vec16 and its operations; ISA(name) is name##_avx2 */

#include "template/attention_f16.h" /* defines ISA(hearth_attention_f16) */
