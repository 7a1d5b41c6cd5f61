#include "avx2/simd.h" /* vec16 and its operations; ISA(name) is name##_avx2 */

#include "template/layer_norm.h" /* defines ISA(hearth_layer_norm) */
