#include "avx512/simd.h" /* vec16 and its operations; ISA(name) is name##_avx512 */

#include "template/layer_norm.h" /* defines ISA(hearth_layer_norm) */
